/* Encoders: a transformer that looks both ways, over tokens (bert) or over the patches of an image (vit), or one of
 * each that meet (clip). As with decoders a family is a table: a small file that fills the switches and sizes of its
 * towers from a config.json and names their weights; encoder.c finds and checks the weights, encoder_graph.c builds the
 * graph. */
#ifndef SG_MODELS_ENCODER_H
#define SG_MODELS_ENCODER_H

#include "models/arch.h"

/* What weights do in a tower. Each bias follows its weight. */
typedef enum sg_part {
    SG_P_TOKEN,
    SG_P_TYPE,
    SG_P_PATCH,
    SG_P_PATCH_BIAS,
    SG_P_CLASS,
    SG_P_DISTILLATION,
    SG_P_REGISTERS,
    SG_P_POSITION,
    SG_P_NORM_INPUT, /* of the sum of the embeddings */
    SG_P_NORM_INPUT_BIAS,
    SG_P_NORM1, /* the first of a block: what it is before attention in a pre-norm tower, it is after it in a post-norm
                   one */
    SG_P_NORM1_BIAS,
    SG_P_Q,
    SG_P_Q_BIAS,
    SG_P_K,
    SG_P_K_BIAS,
    SG_P_V,
    SG_P_V_BIAS,
    SG_P_O,
    SG_P_O_BIAS,
    SG_P_SCALE1, /* layer scale of attention's result */
    SG_P_NORM2,
    SG_P_NORM2_BIAS,
    SG_P_UP, /* of a gated MLP: rows of the gate, then of what it is multiplied with */
    SG_P_UP_BIAS,
    SG_P_DOWN,
    SG_P_DOWN_BIAS,
    SG_P_SCALE2,
    SG_P_NORM_FINAL,
    SG_P_NORM_FINAL_BIAS,
    SG_P_POOL,
    SG_P_POOL_BIAS,
    SG_P_FIRST_HEAD, /* from here on names have no prefix */
    SG_P_HEAD = SG_P_FIRST_HEAD,
    SG_P_HEAD_BIAS,
    SG_P_HEAD_NORM,
    SG_P_HEAD_NORM_BIAS,
    SG_P_UNEMBED, /* where it is not the embedding */
    SG_P_UNEMBED_BIAS,
    SG_P_NEXT_SENTENCE,
    SG_P_NEXT_SENTENCE_BIAS,
    SG_P_BEFORE_LABELS,
    SG_P_BEFORE_LABELS_BIAS,
    SG_P_LABELS,
    SG_P_LABELS_BIAS,
    SG_P_LABELS2, /* read off the distillation token */
    SG_P_LABELS2_BIAS,
    SG_P_PROJECTION,
    SG_P_LOGIT_SCALE,
    SG_N_PARTS
} sg_part;

/* A weight of a family: its name in the file, with %d for the layer (NULL: the family has none), and a letter for each
 * axis: V vocabulary, T places, Y token types, D width, F hidden width, G twice that, C channels, P patch, R registers,
 * L labels, E what labels are read off, J width of the projection, 1, 2. A question mark before them: some models have
 * it. */
typedef struct sg_slot {
    const char *name, *shape;
} sg_slot;

typedef enum sg_pool {
    SG_POOL_DENSE,      /* tanh of a matrix times the first place, where the file has the matrix */
    SG_POOL_FIRST,      /* the first place */
    SG_POOL_NORM_FIRST, /* the last norm is of the first place alone */
    SG_POOL_END         /* the place where the text ends */
} sg_pool;

typedef enum sg_label_source {
    SG_LABELS_OF_POOLED,
    SG_LABELS_OF_FIRST,
    SG_LABELS_OF_EACH, /* place */
    SG_LABELS_OF_MEAN  /* the first place and the mean of the patches, side by side */
} sg_label_source;

typedef struct sg_tower {
    const char *prefix; /* before the names of most weights; a file may lack it */
    const char *scope;  /* before the names of values: "", "text.", "vision." */
    bool image;         /* else tokens */
    bool post_norm;     /* a block's norms come after its sums */
    bool causal;
    bool gated;
    bool antialias; /* position embeddings are smoothed before they are made smaller */
    sg_activation act, head_act;
    sg_pool pool;
    sg_label_source labels_of;
    double eps;
    sg_dim n_layers, d_model, n_heads, d_head, d_mlp;
    sg_dim n_vocab, n_places, n_types;    /* of tokens */
    sg_dim channels, patch, side, stored; /* pixels along an image, and along those that the file's positions are of */
    sg_dim n_first, n_registers;          /* places before the patches that have positions, and that have none */
    sg_dim n_labels, d_projection;
    int32_t end; /* the token that ends a text; -1: the largest id */
    sg_slot slots[SG_N_PARTS];
    sg_weight *weights[SG_N_PARTS]; /* by layer; NULL: the file has none */
} sg_tower;

typedef struct sg_preprocess sg_preprocess;

typedef struct sg_encoder {
    sg_arena *arena; /* the model's */
    int n_towers;
    sg_tower towers[2];
    const char *const *unused; /* ends of names of tensors that files carry along, up to a NULL */
    bool tied;
    const char **labels; /* [n_labels] or NULL */
    sg_dim n_labels;
    sg_weight *weights; /* all of them */
    int n_weights;
    const sg_preprocess *preprocess; /* of images */
    struct sg_conv_net *conv;        /* of a convolutional network, which has no towers (conv.h); else NULL */
} sg_encoder;

/* Fills towers from a config. */
typedef sg_status (*sg_encoder_fn)(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                                   sg_error *err);

#define SG_ENCODER(name, model_type, of)                                                                               \
    sg_status sg_encoder_##name(sg_encoder *e, const json_t *config, const char *architecture, const char *path,       \
                                sg_error *err);
#include "models/encoders.def"
#undef SG_ENCODER

/* Whether a config is of an encoder; then m has its towers and info. */
sg_status sg_encoder_choose(sg_model *m, const json_t *config, const char *path, bool *found,
                            sg_error *err) SG_MUST_CHECK;
/* Finds the weights in m's file. A tensor that has no place is SG_EFORMAT, by name. */
sg_status sg_encoder_load(sg_model *m, sg_error *err) SG_MUST_CHECK;
sg_status sg_encoder_graph(sg_graph **out, const sg_model *m, sg_error *err) SG_MUST_CHECK;

/* What is done to pictures, from a folder's preprocessor_config.json where there is one. */
sg_status sg_preprocess_open(sg_model *m, const char *dir, sg_error *err) SG_MUST_CHECK;

/* The same for images of so many channels that are stretched to a square, where a folder says nothing. */
sg_status sg_preprocess_stretch(sg_model *m, const double mean[3], const double deviation[3],
                                sg_error *err) SG_MUST_CHECK;

/* Places of a tower over an image: n_first, registers, patches. */
sg_dim sg_tower_places(const sg_tower *t);
/* Sets the slot of a matrix and that of its bias. */
void sg_tower_linear(sg_tower *t, sg_part part, const char *weight, const char *bias, const char *shape);

/* Width, layers, heads, hidden width under these keys; activation. A fallback of 0: the key has to be there. */
typedef struct sg_size_keys {
    const char *width, *layers, *heads, *hidden; /* hidden NULL: the family sets it */
    const char *act;
    sg_dim fallback[4];
    sg_activation fallback_act;
} sg_size_keys;
sg_status sg_tower_sizes(sg_tower *t, const json_t *config, const char *path, const sg_size_keys *keys,
                         sg_error *err) SG_MUST_CHECK;
/* image_size, patch_size (with a fallback), num_channels: positions are of that size. */
sg_status sg_tower_image(sg_tower *t, const json_t *config, const char *path, sg_dim patch,
                         sg_error *err) SG_MUST_CHECK;

#endif
