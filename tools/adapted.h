/* What commands share that put adapters into the model that they open: options, and what autoencoders see. */
#ifndef SG_TOOLS_ADAPTED_H
#define SG_TOOLS_ADAPTED_H

#include "cli.h"
#include "sightglass/adapt.h"

enum { ADAPTED_LORA = 0x2000, ADAPTED_SAE, ADAPTED_VECTOR, ADAPTED_LAYERS, ADAPTED_MOST = 16 };

#define ADAPTED_OPTIONS                                                                                                \
    {"lora", required_argument, NULL, ADAPTED_LORA}, {"sae", required_argument, NULL, ADAPTED_SAE},                    \
        {"control-vector", required_argument, NULL, ADAPTED_VECTOR},                                                   \
    {                                                                                                                  \
        "control-vector-layers", required_argument, NULL, ADAPTED_LAYERS                                               \
    }

#define ADAPTED_HELP                                                                                                   \
    "  --lora DIR[=STRENGTH] a low-rank adapter in PEFT's layout (1); may be repeated\n"                               \
    "  --sae DIR[=look|keep|replace]  a sparse autoencoder in SAELens' layout at its hook: looked at (look), its\n"    \
    "                        reconstruction and its error in the value's place (keep), the reconstruction alone\n"

#define ADAPTED_VECTOR_HELP                                                                                            \
    "  --control-vector FILE.gguf[=STRENGTH]  directions that are added behind layers (1); may be repeated\n"          \
    "  --control-vector-layers FIRST-LAST     of those layers only these, from 0\n"

typedef struct adapted {
    const char *loras[ADAPTED_MOST], *saes[ADAPTED_MOST], *vectors[ADAPTED_MOST], *layers;
    int n_loras, n_saes, n_vectors;
    bool too_many;
} adapted;

/* Takes an option if it is one of these. */
bool adapted_option(adapted *a, int option, const char *text);

/* Opens the model with its adapters; all of a model's graphs then have them. With `through`, autoencoders that are only
 * looked at are kept instead, so that gradients reach their features; the numbers are the same. */
sg_status adapted_open(sg_model **out, const char *path, sg_model_opts opts, const adapted *a, bool through,
                       sg_error *err) SG_MUST_CHECK;

/* The edits of a file and of control vectors: *out is NULL where there are neither. */
sg_status adapted_edits(sg_edit_list **out, const char *path, const adapted *a, sg_error *err) SG_MUST_CHECK;

/* "DIR=2.5" -> DIR (to be freed; NULL when memory is out) and 2.5; as it is, and the number left, where no number
 * follows the last '='. */
char *adapted_split(const char *text, double *number);
/* The same with look, keep or replace. */
char *adapted_split_use(const char *text, sg_sae_use *use);
const char *adapted_use_name(sg_sae_use use);

/* ---- for people and for machines ---- */

/* A line for each adapter of a model. */
void adapted_print(const sg_model *m);
json_t *adapted_json(const sg_model *m); /* {"loras": [...], "saes": [...]} */

/* The name of autoencoder i's features, into buf. */
const char *adapted_features(const sg_model *m, int i, char buf[256]);
/* The k strongest features of autoencoder i at each token: acts [batch,time,features]. */
void adapted_print_top(const sg_model *m, int i, const sg_tensor *acts, const cli_rows *rows, bool pad_left, int k);
json_t *adapted_top_json(const sg_model *m, int i, const sg_tensor *acts, const cli_rows *rows, bool pad_left, int k);

#endif
