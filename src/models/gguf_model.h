/* GGUF's word for things, and Hugging Face's: architectures, hyper-parameters, names of tensors and how their rows lie.
 *
 * gguf_names.c holds the tables, for both ways. gguf_model.c makes of a GGUF file what a Hugging Face folder is: the
 * text of a config.json, tensors by Hugging Face's names, and a tokenizer. */
#ifndef SG_MODELS_GGUF_MODEL_H
#define SG_MODELS_GGUF_MODEL_H

#include <jansson.h>

#include "base/base.h"
#include "sightglass/gguf.h"
#include "sightglass/tokenizer.h"

/* What the conversion to GGUF did to a tensor. */
typedef enum sg_gguf_move {
    SG_MOVE_NONE,
    SG_MOVE_QUERY,  /* rows of each head: pairs that turn together lie side by side, not half a head apart */
    SG_MOVE_KEY,    /* the same, for the heads of keys */
    SG_MOVE_QKV,    /* rows of all queries, keys, values, where Hugging Face has them head by head */
    SG_MOVE_TURNED, /* stored [out,in], where Hugging Face has [in,out] */
    SG_MOVE_ONE     /* 1 was added */
} sg_gguf_move;

typedef struct sg_name_pair {
    const char *gguf, *hf; /* without ".weight" and ".bias"; %d is the layer */
    sg_gguf_move move;
} sg_name_pair;

typedef enum sg_name_kind { SG_KEY_WHOLE, SG_KEY_REAL, SG_KEY_BOOL } sg_name_kind;

typedef struct sg_key_pair {
    const char *gguf, *hf; /* without the architecture and the dot before it */
    sg_name_kind kind;
    bool required;
} sg_key_pair;

typedef struct sg_gguf_family {
    const char *gguf, *model_type, *architecture;
    const sg_name_pair *names[3]; /* lists that end in NULL */
    const sg_key_pair *keys[3];
    const char *act_key, *act; /* the activation, which GGUF leaves to the architecture */
} sg_gguf_family;

/* By general.architecture; NULL: unknown. */
const sg_gguf_family *sg_gguf_family_of(const char *gguf);
/* By the first of config.json's architectures, else its model_type. */
const sg_gguf_family *sg_gguf_family_for(const char *architecture, const char *model_type);
/* All that there are, for errors: "llama, qwen2, ..." */
void sg_gguf_families(char *text, size_t n);

/* "blk.3.attn_q.weight" as "model.layers.3.self_attn.q_proj.weight", or back; false if the tables have no such name. */
bool sg_gguf_name_to_hf(const sg_gguf_family *f, const char *name, char *out, size_t n, sg_gguf_move *move);
bool sg_gguf_name_from_hf(const sg_gguf_family *f, const char *name, char *out, size_t n, sg_gguf_move *move);

/* Heads and widths by which rows are moved. */
typedef struct sg_gguf_heads {
    sg_dim n_heads, n_kv_heads;
} sg_gguf_heads;

/* Where the row lies in the GGUF file that is row `row` of n in Hugging Face's, for moves of rows. */
sg_dim sg_gguf_row(sg_gguf_move move, const sg_gguf_heads *heads, sg_dim n, sg_dim row);

/* A GGUF file as a Hugging Face folder. */
typedef struct sg_gguf_model {
    sg_arena *arena;
    sg_gguf *file;
    const sg_gguf_family *family;
    char *config;            /* text of a config.json */
    sg_safetensors *weights; /* in the file, or moved copies */
    size_t moved_bytes;      /* of the copies */
    sg_tokenizer *tokenizer; /* NULL: the file has none */
} sg_gguf_model;

/* only_sizes: nothing is copied. Tensors that the tables do not know keep their names. */
sg_status sg_gguf_model_open(sg_gguf_model **out, const char *path, bool only_sizes, sg_error *err) SG_MUST_CHECK;
void sg_gguf_model_close(sg_gguf_model *m); /* NULL is fine */

/* ---- the other way ---- */

struct sg_model;

/* Metadata of a model: sizes and switches. SG_EUNSUPPORTED names what GGUF has no word for. */
sg_status sg_gguf_describe(sg_gguf_meta *meta, const sg_gguf_family *f, const struct sg_model *m,
                           sg_error *err) SG_MUST_CHECK;

/* Factors of rotary angles that are a tensor in GGUF; *n of them in t, names static, numbers in the arena. */
sg_status sg_gguf_factors(sg_named_tensor t[2], int *n, sg_arena *arena, const struct sg_model *m,
                          sg_error *err) SG_MUST_CHECK;

/* Whether two models compute the same from the same weights: NULL, or the name of a switch in which they differ. */
const char *sg_gguf_differs(const struct sg_model *a, const struct sg_model *b);

/* The lists as they lie in the file; v->n is 0 if there are none. */
sg_status sg_gguf_vocab(sg_tokenizer_vocab *v, sg_gguf_model *m, const char *path, sg_error *err) SG_MUST_CHECK;

#endif
