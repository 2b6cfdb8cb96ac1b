/* A transformer as a table of switches, and its weights as a table of names. A family is one small file that fills both from
 * a config.json; transformer.c builds the graph from them. */
#ifndef SG_MODELS_ARCH_H
#define SG_MODELS_ARCH_H

#include <jansson.h>

#include "base/base.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

typedef enum sg_weight_role {
    SG_W_EMBED,
    SG_W_POSITION,
    SG_W_NORM1,
    SG_W_NORM1_BIAS,
    SG_W_Q, /* [H*K,D] */
    SG_W_Q_BIAS,
    SG_W_K,
    SG_W_K_BIAS,
    SG_W_V,
    SG_W_V_BIAS,
    SG_W_QKV, /* the three in one, rows q, k, v */
    SG_W_QKV_BIAS,
    SG_W_O,
    SG_W_O_BIAS,
    SG_W_NORM2,
    SG_W_NORM2_BIAS,
    SG_W_GATE,
    SG_W_UP,
    SG_W_UP_BIAS,
    SG_W_DOWN,
    SG_W_DOWN_BIAS,
    SG_W_NORM_FINAL,
    SG_W_NORM_FINAL_BIAS,
    SG_W_UNEMBED,
    SG_N_WEIGHTS
} sg_weight_role;

typedef enum sg_activation { SG_ACT_SILU, SG_ACT_GELU, SG_ACT_GELU_TANH, SG_ACT_RELU } sg_activation;

typedef struct sg_arch {
    const char *family;
    bool layer_norm;    /* else RMS norm */
    bool learned_positions; /* else rotary */
    bool gated;         /* post = act(gate) * up */
    bool in_out;        /* matrices are stored [in,out] */
    sg_activation act;
    bool attention_bias; /* a new model has the optional biases */
    double eps, rope_theta;
    double deviation, residual; /* of a new model's matrices, and of those that write to the residual stream */
    sg_dim rotary; /* numbers of each head that turn */
    const char *names[SG_N_WEIGHTS]; /* with %d for the layer; NULL: the family has none */
    bool optional[SG_N_WEIGHTS];     /* biases that some models of the family have */
    const char *prefix;              /* that some files put before every name, "" or "transformer." */
} sg_arch;

/* Fills arch and info from a config. */
typedef sg_status (*sg_family_fn)(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err);

#define SG_FAMILY(name, model_type, architecture) \
    sg_status sg_family_##name(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err);
#include "models/models.def"
#undef SG_FAMILY

/* Config keys, with the path and what was found in the error. */
sg_status sg_config_int(const json_t *config, const char *path, const char *key, sg_dim least, sg_dim most, sg_dim *out,
                        sg_error *err) SG_MUST_CHECK;
bool sg_config_has(const json_t *config, const char *key); /* there and not null */
sg_status sg_config_real(const json_t *config, const char *path, const char *key, double fallback, double *out,
                         sg_error *err) SG_MUST_CHECK;
sg_status sg_config_act(const json_t *config, const char *path, const char *key, sg_arch *arch, sg_error *err) SG_MUST_CHECK;

/* A bound weight. */
typedef struct sg_weight {
    char *name; /* in the file */
    sg_tensor tensor; /* in the compute type, as stored ([in,out] stays so); without data in a new model */
} sg_weight;

struct sg_model {
    sg_arena *arena;
    sg_model_opts opts;
    sg_model_info info;
    sg_arch arch;
    sg_safetensors *file; /* NULL in a new model, which has a config and may have a tokenizer's path instead */
    sg_file *config, *tokenizer_file;
    sg_tokenizer *tokenizer;
    sg_weight *weights[SG_N_WEIGHTS]; /* by layer (one entry for those outside the blocks); NULL: none */
    const char **warnings;
    int n_warnings;
    struct sg_adapters *adapters; /* adapt.h; NULL: none */
};

/* Fills arch and info of a model that has an arena from the bytes of a config.json; `path` is for errors. */
sg_status sg_config_parse(sg_model *m, const char *json, size_t n_bytes, const char *path, sg_error *err) SG_MUST_CHECK;

/* The parts that opening and making share. */
sg_status sg_config_read(sg_model *m, const sg_file *file, sg_error *err) SG_MUST_CHECK;
/* In the arena, with the prefix; NULL when memory is out. */
char *sg_weight_name(const sg_model *m, sg_weight_role role, int layer);
/* How a new model's weight starts. */
sg_init sg_weight_init(const sg_model *m, sg_weight_role role);

/* Shape of a weight: rank and extents. */
int sg_weight_shape(const sg_model *m, sg_weight_role role, sg_dim dims[2]);
bool sg_weight_in_block(sg_weight_role role);

#endif
