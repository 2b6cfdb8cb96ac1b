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
    SG_W_NORM1, /* before attention */
    SG_W_NORM1_BIAS,
    SG_W_Q, /* [H*K,D] */
    SG_W_Q_BIAS,
    SG_W_K,
    SG_W_K_BIAS,
    SG_W_V,
    SG_W_V_BIAS,
    SG_W_QKV, /* the three in one, see sg_qkv_layout */
    SG_W_QKV_BIAS,
    SG_W_Q_NORM, /* of one head [K], or of all [H*K], see sg_qk_norm */
    SG_W_K_NORM,
    SG_W_O,
    SG_W_O_BIAS,
    SG_W_NORM1_POST, /* of what attention gives */
    SG_W_NORM2,      /* before the MLP */
    SG_W_NORM2_BIAS,
    SG_W_GATE,
    SG_W_GATE_BIAS,
    SG_W_GATE_UP, /* the two in one, rows of the gate first */
    SG_W_UP,
    SG_W_UP_BIAS,
    SG_W_DOWN,
    SG_W_DOWN_BIAS,
    SG_W_NORM2_POST, /* of what the MLP gives */
    SG_W_NORM_FINAL,
    SG_W_NORM_FINAL_BIAS,
    SG_W_UNEMBED,
    SG_W_UNEMBED_BIAS,
    SG_N_WEIGHTS
} sg_weight_role;

typedef enum sg_activation { SG_ACT_SILU, SG_ACT_GELU, SG_ACT_GELU_TANH, SG_ACT_RELU, SG_ACT_GELU_QUICK } sg_activation;

/* Where a block's norms are. */
typedef enum sg_norm_place {
    SG_NORM_PRE,      /* x + f(norm(x)) */
    SG_NORM_SANDWICH, /* x + norm'(f(norm(x))): gemma2 */
    SG_NORM_OUTPUT    /* x + norm'(f(x)): olmo2 */
} sg_norm_place;

/* Blocks whose MLP reads what attention reads: x + attention(norm1(x)) + mlp(...). */
typedef enum sg_parallel {
    SG_SERIAL,
    SG_PARALLEL_TWO_NORMS, /* mlp(norm2(x)): gpt_neox */
    SG_PARALLEL_ONE_NORM   /* mlp(norm1(x)): gptj */
} sg_parallel;

typedef enum sg_qkv_layout {
    SG_QKV_ROWS, /* all queries, all keys, all values: gpt2, phi3 */
    SG_QKV_HEADS /* for each head its query, key and value: gpt_neox */
} sg_qkv_layout;

/* RMS norms of queries and keys, before they turn. */
typedef enum sg_qk_norm {
    SG_QK_NORM_NONE,
    SG_QK_NORM_HEAD, /* of each head: qwen3 */
    SG_QK_NORM_ALL   /* of all heads together: olmo2 */
} sg_qk_norm;

typedef enum sg_rope_kind {
    SG_ROPE_PLAIN,
    SG_ROPE_LINEAR,  /* positions divided by `factor` (Chen et al. 2023) */
    SG_ROPE_LLAMA3,  /* slow pairs divided, fast ones kept, between them blended (Llama 3.1) */
    SG_ROPE_YARN,    /* the same by turns within the original context (Peng et al. 2023) */
    SG_ROPE_LONGROPE /* each pair divided by a number of its own, one list for short texts and one for long (Ding et al. 2024) */
} sg_rope_kind;

enum { SG_MOST_PAIRS = 256, SG_MOST_LAYERS = 4096 };

/* How the angles of rotary positions differ from position * theta^(-2k/R). */
typedef struct sg_rope_scaling {
    sg_rope_kind kind;
    double factor, low, high; /* llama3's low_freq_factor and high_freq_factor; yarn's beta_slow and beta_fast */
    bool truncate;            /* yarn: the blend begins and ends at whole pairs */
    sg_dim original;          /* context that the model was first trained with; longrope's texts are short up to this */
    double scale;             /* what turns is also multiplied by this (1) */
    double shorter[SG_MOST_PAIRS], longer[SG_MOST_PAIRS]; /* longrope */
} sg_rope_scaling;

typedef struct sg_arch {
    const char *family;
    bool layer_norm;    /* else RMS norm */
    bool learned_positions; /* else rotary */
    bool gated;         /* post = act(gate) * up */
    bool in_out;        /* matrices are stored [in,out] */
    sg_activation act;
    sg_norm_place norms;
    sg_parallel parallel;
    sg_qkv_layout qkv;
    sg_qk_norm qk_norm;
    double norm_offset; /* gains are this + the weight: 1 in gemma (0) */
    bool attention_bias; /* a new model has the optional biases */
    double eps, rope_theta;
    double deviation, residual; /* of a new model's matrices, and of those that write to the residual stream */
    sg_dim rotary; /* numbers of each head that turn */
    sg_rope_layout rope_layout;
    sg_rope_scaling rope;
    double query_scale;   /* of the scores: 1 / sqrt(K) unless the family says otherwise */
    bool scale_by_layer;  /* and 1 / (layer + 1): an option of gpt2 */
    double embed_scale;   /* of the token embeddings (1) */
    double attention_cap; /* scores become cap tanh(score / cap); infinite: they do not */
    double logit_cap;     /* the same for the logits */
    double qkv_cap;       /* queries, keys and values are kept within +- this; infinite: they are not */
    sg_dim window;        /* of layers that are windowed: a position sees this many, itself among them; 0: none is */
    uint64_t windowed[SG_MOST_LAYERS / 64];
    const char *names[SG_N_WEIGHTS]; /* with %d for the layer; NULL: the family has none */
    bool optional[SG_N_WEIGHTS];     /* biases that some models of the family have */
    const char *prefix;              /* that some files put before every name, "" or "transformer." */
} sg_arch;

static inline bool sg_arch_windowed(const sg_arch *arch, int layer)
{
    return arch->window > 0 && (arch->windowed[layer / 64] >> (layer % 64) & 1);
}

/* What a family's table leaves out: rotary positions in halves that nothing scales, no caps, no windows. Before the config is
 * read. */
void sg_arch_defaults(sg_arch *arch);
/* Layer by layer whether it is windowed. */
void sg_arch_set_window(sg_arch *arch, int layer, bool on);

/* Fills arch and info from a config. */
typedef sg_status (*sg_family_fn)(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err);

#define SG_FAMILY(name, model_type, architectures) \
    sg_status sg_family_##name(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err);
#include "models/models.def"
#undef SG_FAMILY

/* Config keys, with the path and what was found in the error. A key that was asked for by one of these counts as read. */
sg_status sg_config_int(const json_t *config, const char *path, const char *key, sg_dim least, sg_dim most, sg_dim *out,
                        sg_error *err) SG_MUST_CHECK;
bool sg_config_has(const json_t *config, const char *key); /* there and not null */
sg_status sg_config_real(const json_t *config, const char *path, const char *key, double fallback, double *out,
                         sg_error *err) SG_MUST_CHECK;
sg_status sg_config_act(const json_t *config, const char *path, const char *key, sg_arch *arch, sg_error *err) SG_MUST_CHECK;
/* As sg_config_int where the key is there and not null, else `fallback`. */
sg_status sg_config_int_or(const json_t *config, const char *path, const char *key, sg_dim fallback, sg_dim least, sg_dim most,
                           sg_dim *out, sg_error *err) SG_MUST_CHECK;
bool sg_config_bool(const json_t *config, const char *key, bool fallback); /* what is neither true nor false is the fallback */
/* rope_theta and rope_scaling, or both in rope_parameters; arch->rotary and info->n_context are known. */
sg_status sg_config_rope(const json_t *config, const char *path, double theta, sg_arch *arch, sg_model_info *info,
                         sg_error *err) SG_MUST_CHECK;
/* The part of each head that turns, under `key` or partial_rotary_factor. */
sg_status sg_config_rotary(const json_t *config, const char *path, const char *key, double fallback, sg_arch *arch,
                           const sg_model_info *info, sg_error *err) SG_MUST_CHECK;
/* layer_types: which layers are windowed. False: the config has none. */
sg_status sg_config_layers(const json_t *config, const char *path, sg_dim n_layers, sg_arch *arch, bool *found,
                           sg_error *err) SG_MUST_CHECK;
/* Keys that were not read. Those that would change what is computed are an error (SG_EUNSUPPORTED, with the key's name);
 * *unknown, freed by the caller, lists those of which we know nothing, or is NULL. */
sg_status sg_config_rest(const json_t *config, const char *path, const char *family, char **unknown, sg_error *err) SG_MUST_CHECK;

/* The names, sizes and switches of llama, which most later families changed in a few lines. `head` is the width of a head where
 * the config does not say it; 0: what is left when the heads share the width. */
sg_status sg_family_like_llama(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_dim head,
                               sg_error *err) SG_MUST_CHECK;
/* sliding_window, for all layers: `fallback` where the key is not there (0: none), none where it is null. */
sg_status sg_config_window(const json_t *config, const char *path, sg_dim fallback, sg_arch *arch, const sg_model_info *info,
                           sg_error *err) SG_MUST_CHECK;

/* What qwen2 and qwen3 have in common, and gemma and gemma2. */
sg_status sg_config_qwen_window(const json_t *config, const char *path, sg_arch *arch, const sg_model_info *info,
                                sg_error *err) SG_MUST_CHECK;
sg_status sg_config_gemma(sg_arch *arch, sg_model_info *info, const json_t *config, const char *path, sg_error *err) SG_MUST_CHECK;

/* ---- rotary angles ---- */

/* Angle per position of pair k, 0 to R/2-1, for texts up to the original context or (longrope) for longer ones. */
double sg_rope_frequency(const sg_arch *arch, sg_dim k, bool longer);

/* A bound weight. */
typedef struct sg_weight {
    char *name; /* in the file */
    sg_tensor tensor; /* in the compute type or packed, as stored ([in,out] stays so); without data in a new model */
} sg_weight;

typedef struct sg_encoder sg_encoder;

struct sg_model {
    sg_arena *arena;
    sg_model_opts opts;
    sg_model_info info;
    sg_arch arch;
    sg_encoder *encoder;  /* what an encoder has instead of arch and weights, see encoder.h; NULL: a decoder */
    sg_safetensors *file; /* NULL in a new model, which has a config and may have a tokenizer's path instead */
    struct sg_gguf_model *gguf; /* owner of file and tokenizer, or NULL */
    sg_file *config, *tokenizer_file;
    sg_tokenizer *tokenizer;
    sg_dim n_stored[SG_N_DTYPES]; /* how many numbers of a decoder's weights are stored as what */
    size_t file_bytes; /* of all tensors: whether opening reads them, in search of NaN */
    sg_weight *weights[SG_N_WEIGHTS]; /* by layer (one entry for those outside the blocks); NULL: none */
    const char **warnings;
    int n_warnings;
    struct sg_adapters *adapters; /* adapt.h; NULL: none */
    bool new_biases; /* attention has biases that its config.json does not speak of (adapt_bias.c) */
};

/* A run of rows at different lengths. */
typedef struct sg_apart {
    sg_dim first, n_rows, time, keys;
    const int32_t *tokens, *positions, *reach; /* [n_rows,time] */
    const int32_t *places;                     /* [n_rows] */
    const int32_t *key_positions;              /* [n_rows,keys]; sliding */
    const uint8_t *key_mask;                   /* [n_rows,keys] */
    const sg_dim *pasts, *prompts, *steps;     /* [n_rows] for edits */
    sg_dim most_keys;                          /* > 0: one plan for up to so many; 0: a plan for these */
} sg_apart;

/* Splices edits whose numbers each row has for itself: the list's structure counts. */
sg_status sg_glass_edit_apart(sg_glass *glass, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
sg_status sg_glass_run_apart(sg_glass *glass, const sg_apart *rows, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                             sg_error *err) SG_MUST_CHECK;
sg_state *sg_glass_state(sg_glass *glass); /* NULL before it is ready */

/* Fills arch and info of a model that has an arena from the bytes of a config.json; `path` is for errors. */
sg_status sg_config_parse(sg_model *m, const char *json, size_t n_bytes, const char *path, sg_error *err) SG_MUST_CHECK;

/* The parts that opening and making share. */
sg_status sg_config_read(sg_model *m, const sg_file *file, sg_error *err) SG_MUST_CHECK;
/* In the arena, with the prefix; NULL when memory is out. */
char *sg_weight_name(const sg_model *m, sg_weight_role role, int layer);
/* How a new model's weight starts. */
sg_init sg_weight_init(const sg_model *m, sg_weight_role role);

/* Takes a tensor of the file as a weight that has a name: its shape is checked, its numbers are converted where need be, its
 * size is counted. */
sg_status sg_weight_load(sg_model *m, const sg_tensor *t, int n_dims, const sg_dim *dims, bool may_stay, sg_weight *w,
                         sg_error *err) SG_MUST_CHECK;

/* Shape of a weight: rank and extents. */
int sg_weight_shape(const sg_model *m, sg_weight_role role, sg_dim dims[2]);
bool sg_weight_in_block(sg_weight_role role);

#endif
