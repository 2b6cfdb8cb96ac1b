/* What the commands share: options, errors and exit statuses, names and patterns, numbers for people and for machines.
 */
#ifndef SG_TOOLS_CLI_H
#define SG_TOOLS_CLI_H

#include <getopt.h>
#include <jansson.h>

#include "base/base.h"
#include "sightglass/model.h"
#include "sightglass/ranks.h"
#include "sightglass/safetensors.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* The commands. argv[0] is the full name, as in "sightglass run": getopt begins its complaints with it. Each returns
 * the exit status. */
int cmd_inspect(int argc, char **argv);
int cmd_patch(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_saliency(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_gan(int argc, char **argv);
int cmd_tpr(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_study(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_world(int argc, char **argv);
int cmd_net(int argc, char **argv);
int cmd_othello(int argc, char **argv);
int cmd_worldmodel(int argc, char **argv);
int cmd_heads(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_edits(int argc, char **argv);
int cmd_neurons(int argc, char **argv);
int cmd_attribution(int argc, char **argv);
int cmd_lens(int argc, char **argv);
int cmd_golden(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_harvest(int argc, char **argv);
int cmd_pull(int argc, char **argv);

/* "sightglass: TEXT" on stderr; returns EXIT_USAGE for wrong use and EXIT_FAILED for the rest. */
int cli_fail(const sg_error *err);
int cli_status(const sg_error *err); /* that exit status alone */
int cli_usage(const char *command, const char *fmt, ...) SG_PRINTF(2, 3);

/* Where several processes read the same options, one is to complain: nothing is written to stdout and stderr until end.
 * NULL where nothing is hushed. */
typedef struct cli_hush cli_hush;
cli_hush *cli_hush_begin(bool hush);
void cli_hush_end(cli_hush *h);

/* From here on signals come to a thread of their own, whatever they then do. oneDNN's products keep numbers below the
 * stack pointer, where a handler's frame would overwrite them, so threads that compute take none. Called before
 * anything is computed, since threads inherit it; more than once is fine. */
void cli_signals_apart(void);
/* The same, and SIGINT and SIGTERM call `handler` once; a second one ends the program. */
void cli_catch(void (*handler)(int signal_number));

/* Names that fit a name or pattern, appended to *out (a malloc'd array). SG_EARG if none does, with the nearest name.
 */
sg_status cli_match(const sg_graph *g, const char *pattern, sg_value ***out, int *n, sg_error *err);

/* A whole number or a real in [least, most] from an option's text. */
sg_status cli_whole(const char *option, const char *text, long long least, long long most, long long *out,
                    sg_error *err);
sg_status cli_real(const char *option, const char *text, double least, double most, double *out, sg_error *err);

/* A tensor from FILE.npy or FILE.safetensors:NAME, copied; free(out->data). */
sg_status cli_tensor(const char *where, sg_tensor *out, sg_error *err);

/* Prompts: rows of token ids, owned. */
typedef struct cli_rows {
    int n, capacity;
    int32_t **tokens;
    sg_dim *lengths;
} cli_rows;
sg_status cli_rows_text(cli_rows *r, const sg_model *m, const char *text, sg_error *err);
sg_status cli_rows_file(cli_rows *r, const char *path,
                        sg_error *err); /* lines of ids, JSON, .npy or .safetensors:NAME */
void cli_rows_free(cli_rows *r);

/* Bytes of this process in memory; 0 where the system does not say. */
size_t cli_resident(void);

/* Writes tensors whose rows (the first axis) are shared out over ranks, n_rows in all, as one file. Called by all ranks
 * with their own part; returns the same everywhere. */
sg_status cli_save_dealt(sg_ranks *ranks, const char *path, sg_dim n_rows, int n, const sg_named_tensor *tensors,
                         sg_error *err);

/* Finite count, least, greatest, mean and deviation of a tensor. */
typedef struct cli_stats {
    sg_dim count, finite;
    double least, greatest, mean, deviation;
} cli_stats;
cli_stats cli_stats_of(const sg_tensor *t);

json_t *cli_shape(int n_dims, const sg_dim *dims);
/* One token as people read it: control characters escaped, in quotes. */
const char *cli_token(char buf[64], const sg_tokenizer *t, int32_t id);
/* Prints JSON to stdout with a newline and frees it. */
int cli_print_json(json_t *root);
void cli_warnings(const sg_model *m);

/* Colours where stdout is a terminal and NO_COLOR is not set: "" otherwise. */
typedef struct cli_paint {
    const char *bold, *dim, *off;
} cli_paint;
cli_paint cli_colours(void);

#endif
