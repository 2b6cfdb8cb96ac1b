/* What adapt.c and its halves share: the adapters of a model, and how they get into its graphs. */
#ifndef SG_MODELS_ADAPT_H
#define SG_MODELS_ADAPT_H

#include "models/arch.h"
#include "sightglass/adapt.h"

#define SG_MAX_ADAPTERS 16

/* A tensor in what is computed in, under the name of its variable in graphs. */
typedef struct sg_adapted {
    const char *name;
    sg_tensor tensor;
} sg_adapted;

typedef struct sg_added_lora {
    sg_lora *l;
    double strength;
    sg_adapted number;          /* the strength, a scalar */
    sg_adapted *a, *b, *b_bias; /* by part; b_bias without data where there is none; an embedding's a is [V,r] */
    sg_adapted *biases;         /* by bias: what has to be added to the base's */
} sg_added_lora;

enum {
    SG_SAE_W_ENC,
    SG_SAE_W_DEC,
    SG_SAE_B_ENC,
    SG_SAE_B_DEC,
    SG_SAE_THRESHOLD,
    SG_SAE_R_MAG,
    SG_SAE_B_MAG,
    SG_SAE_B_GATE,
    SG_N_SAE_TENSORS
};

typedef struct sg_added_sae {
    const sg_sae *s;
    sg_sae *owned; /* NULL where it is borrowed */
    sg_sae_use use;
    sg_adapted tensors[SG_N_SAE_TENSORS]; /* without data where its kind has none */
} sg_added_sae;

struct sg_adapters {
    int n_loras, n_saes;
    sg_added_lora loras[SG_MAX_ADAPTERS];
    sg_added_sae saes[SG_MAX_ADAPTERS];
};

/* ---- adapt_lora.c, adapt_sae.c: one of them in a graph ---- */

sg_status sg_adapt_lora_graph(const sg_model *m, int i, sg_graph *g, sg_error *err) SG_MUST_CHECK;
sg_status sg_adapt_sae_graph(const sg_model *m, int i, sg_graph *g, sg_error *err) SG_MUST_CHECK;
/* Lets the model read what edits change of autoencoder i. */
sg_status sg_adapt_sae_edits(const sg_model *m, int i, sg_graph *g, int n, const sg_edit *edits,
                             sg_error *err) SG_MUST_CHECK;
/* The weight that the model has under a name of PEFT's, perhaps with another prefix; NULL: none. */
sg_weight *sg_adapt_weight(const sg_model *m, const char *name, sg_weight_role *role, int *layer);

/* ---- adapt.c: all of them ---- */

sg_status sg_adapt_graph(const sg_model *m, sg_graph *g, sg_error *err) SG_MUST_CHECK;
sg_status sg_adapt_bind(const sg_model *m, const sg_graph *g, sg_state *s, sg_error *err) SG_MUST_CHECK;
sg_status sg_adapt_edits(const sg_model *m, sg_graph *g, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
uint64_t sg_adapt_hash(const sg_model *m, uint64_t hash);
void sg_adapt_close(sg_model *m);

#endif
