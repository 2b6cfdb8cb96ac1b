/* The parts of sightglass probe: what was asked, what is printed, and saved probes. */
#ifndef SG_TOOLS_PROBE_PARTS_H
#define SG_TOOLS_PROBE_PARTS_H

#include "adapted.h"
#include "cli.h"
#include "sightglass/probe.h"
#include "sightglass/world.h"

typedef struct probe_request {
    const char *model, *at, *labels, *kind, *data, *out, *dir;
    const sg_world *world;
    sg_setting *settings;
    int n_settings;
    long long hidden, epochs, rows, games, seed, untrained_seed, memory;
    double lambda, lr, decay;
    bool parity, map, json, has_seed;
    adapted added;
} probe_request;

/* Names that own their texts. */
typedef struct probe_names {
    char **list;
    int n;
} probe_names;
sg_status probe_names_add(probe_names *n, const char *text, size_t bytes, sg_error *err);
void probe_names_free(probe_names *n);

/* Progress on a terminal, and Ctrl-C, for a job; at: when it began and was last shown. */
void probe_watch(sg_probe_job *job, double at[2]);
void probe_end_progress(void);
/* The episodes of --data as those of the job, whose n_fit is 0 where nothing is fitted; file, part and data outlive it.
 */
sg_status probe_read_file(const probe_request *r, sg_probe_job *job, sg_world_file *file, sg_tensor part[2],
                          char data[300], sg_error *err);

int probe_eval(const probe_request *r);
int probe_show(const probe_request *r);

/* ---- printing ---- */

extern const char probe_legend[]; /* what the columns are */
void probe_print_head(const char *first);
void probe_print_result(const sg_probe_result *x);
/* Of a table with two labels: how much better the first is read than the second. */
sg_status probe_print_gaps(const sg_probe_table *t, sg_error *err);
sg_status probe_gaps_json(json_t *root, const sg_probe_table *t, sg_error *err);
/* The accuracy of each task where tasks are the squares of a board, of the label's best site beside its untrained
 * network. */
sg_status probe_print_map(const sg_probe_table *t, int label, sg_error *err);

json_t *probe_real_json(double x); /* null for NaN */
json_t *probe_reals_json(const double *x, sg_dim n);
json_t *probe_result_json(const sg_probe_result *x);

#endif
