/* What the commands patch and saliency share: probes of a model, by layer, and the options of an intervention. */
#ifndef SG_TOOLS_INTERVENTIONS_H
#define SG_TOOLS_INTERVENTIONS_H

#include "cli.h"
#include "sightglass/intervene.h"
#include "sightglass/world.h"

typedef struct cli_probes {
    int n; /* in the order of the model */
    char **sites;
    sg_probe **probes;
    int n_tasks, n_classes;
} cli_probes;

/* Saved probes: DIR/NAME, or those of DIR whose names begin with the label ("board_rel"). Each is of a block's site;
 * layers first..last alone are taken. SG_EFORMAT: two of one site, or tasks that differ. */
sg_status cli_probes_open(cli_probes *out, const sg_model *m, int n_paths, const char *const *paths, const char *label,
                          long long first, long long last, sg_error *err);

/* Fitted now: KIND is ridge, softmax, mlp, mean or parts, at blocks.N.SITE, on n_games sequences of the world. */
sg_status cli_probes_fit(cli_probes *out, const sg_model *m, const sg_world *world, int n_settings,
                         const sg_setting *settings, const char *kind, const char *site, const char *label,
                         sg_dim n_games, uint64_t seed, long long first, long long last,
                         const volatile sig_atomic_t *cancel, sg_error *err);
void cli_probes_free(cli_probes *p);

/* The numbers of an intervention as options: --kind --scale --strength --steps --lr --keep. SG_EARG. */
sg_status cli_intervene_word(sg_intervene_opts *opts, const char *name, const char *value, bool *known, sg_error *err);
/* "a-b" or "a". */
sg_status cli_layers(const char *text, long long *first, long long *last, sg_error *err);

/* A line on a terminal that is written over; context: [2] when it began, when it was last shown. */
void cli_show_done(void *context, double done);
void cli_end_line(void);

#endif
