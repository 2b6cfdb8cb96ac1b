/* A look: a model, a prompt and edits, and whatever has been read of their run so far.
 *
 *     look *l;
 *     SG_TRY(look_new(&l, (look_of){.model = m, .exec = exec, .n = n, .tokens = ids, .edits = edits}, err));
 *     SG_TRY(look_pattern(l, 3, 0, 1, 0, 256, &rows, err)); // layer 3, head 0, queries 0 to 255
 *     look_free(l);
 *
 * Its numbers never change, so a hash of what it is of names it: whoever asks again gets the same bytes. What enters
 * each block is kept after the first need, and whatever is read later runs no more than the part of one block that it
 * is computed from. Threads may share a look; one of them computes at a time. */
#ifndef SG_SERVE_LOOK_H
#define SG_SERVE_LOOK_H

#include <jansson.h>

#include "sightglass/model.h"

typedef struct look look;

typedef struct look_of {
    const sg_model *model; /* outlives the look */
    sg_exec_opts exec;
    sg_dim n;
    const int32_t *tokens; /* [n] */
    uint64_t hash; /* of the model's weights, part of the name: reading them all anew would cost more than a run */
    const json_t *edits; /* a list as edit.h has it, without rows; NULL or empty: none */
} look_of;

/* No run takes a block of more bytes than this, and no look keeps more. */
#define LOOK_MOST_BYTES ((size_t)1 << 30)
#define LOOK_MOST_EDITS 64

/* SG_EARG: no tokens, too many, or some outside the vocabulary; edits that name rows or a file. Whether edits fit the
 * model is seen by what is read first. */
sg_status look_new(look **out, look_of of, sg_error *err) SG_MUST_CHECK;
void look_free(look *l);            /* NULL is fine */
const char *look_id(const look *l); /* 16 hexadecimal digits */
const look_of *look_get_of(const look *l);
size_t look_bytes(look *l); /* that it keeps */

/* Whether edits from outside may be run here: a list of objects, none with rows, none that names a file. */
sg_status look_check_edits(const json_t *edits, sg_error *err) SG_MUST_CHECK;

/* ---- values ---- */

/* Which part of a value, per axis behind the row: places from `first` to before `stop`. */
typedef struct look_part {
    int n_axes; /* told; the axes behind them are whole */
    struct {
        sg_dim first, stop; /* below 0: the axis is whole */
    } axis[SG_MAX_DIMS];
} look_part;

/* Numbers of a site without the row, [T,...]; f32, the caller frees data. SG_ENOTFOUND suggests the nearest name. */
sg_status look_value(look *l, const char *site, const look_part *part, sg_tensor *out, char axes[SG_MAX_DIMS + 1],
                     sg_error *err) SG_MUST_CHECK;

#define LOOK_BINS 40
typedef struct look_stats {
    sg_dim count, finite;
    double least, greatest, mean, deviation, norm; /* of those that are finite */
    sg_dim bins[LOOK_BINS];                        /* even from least to greatest */
} look_stats;
look_stats look_stats_of(const sg_tensor *t);

/* ---- what a layer writes ---- */

enum { LOOK_RESID, LOOK_ATTN, LOOK_MLP, LOOK_N_WRITES }; /* hook_resid_post, hook_attn_out, hook_mlp_out */
/* norm[w*T+t]: the Euclidean norm at position t. changed[w*T+t]: the norm of what differs from `other`'s, over other's
 * norm; other is a look of as many tokens, or NULL. */
sg_status look_writes(look *l, look *other, int layer, float *norm, float *changed, sg_error *err) SG_MUST_CHECK;

/* ---- attention ---- */

/* Rows of patterns [heads,stop-first,T] f32, queries from `first` to before `stop`; the caller frees. */
sg_status look_pattern(look *l, int layer, int head, int n_heads, sg_dim first, sg_dim stop, float **out,
                       sg_error *err) SG_MUST_CHECK;

typedef enum look_measure {
    LOOK_ENTROPY,  /* of a query's attention, nats */
    LOOK_MOST,     /* its greatest weight */
    LOOK_SELF,     /* on the token itself */
    LOOK_PREVIOUS, /* on the one before it; 0 at the first */
    LOOK_FIRST,    /* on the first of all */
    LOOK_DISTANCE, /* how far back it looks, in tokens, on average */
    LOOK_OUT,      /* Euclidean norm of what the head adds to the residual stream */
    LOOK_N_MEASURES
} look_measure;
extern const char *const look_measures[LOOK_N_MEASURES];

#define LOOK_THUMB 64
/* Every head of a layer at a glance. */
typedef struct look_scan {
    int n_heads, side; /* side: min(T, LOOK_THUMB) */
    float *measure;    /* [LOOK_N_MEASURES,H,T] */
    uint16_t *thumb;   /* [H,side,side] f16: the greatest weight under the pixel */
} look_scan;
sg_status look_heads(look *l, int layer, const look_scan **out, sg_error *err) SG_MUST_CHECK; /* borrowed from l */

#define LOOK_TILE 256
/* A pattern at level k is pooled from 2^k x 2^k weights: level 0 has the weights themselves, the last one fits a tile.
 */
int look_levels(sg_dim n);
sg_dim look_level_size(sg_dim n, int level);
/* f16 in *out [rows,columns], the caller frees; mean: pooled by mean, else by greatest. */
sg_status look_tile(look *l, int layer, int head, int level, sg_dim row, sg_dim column, bool mean, uint16_t **out,
                    sg_dim *rows, sg_dim *columns, sg_error *err) SG_MUST_CHECK;

/* ---- the logit lens ---- */

typedef struct look_guess {
    int32_t token;
    double logit, p;
} look_guess;

/* What the last norm and the unembedding make of the residual stream: before block 0, and after each block. */
typedef struct look_lens {
    int n_rows; /* layers + 1 */
    sg_dim n;   /* positions */
    int k;
    look_guess *top;    /* [rows,n,k] */
    int32_t *wanted;    /* [n] */
    look_guess *target; /* [rows,n] of the wanted tokens */
    double *rank;       /* [rows,n] tokens that are likelier */
    double *entropy;    /* [rows,n] nats */
} look_lens;
/* Positions from `first`, n of them, and per position the k likeliest and what becomes of a token: `token` at all of
 * them if it is not below 0, else LOOK_NEXT the one that follows, at the last (and with LOOK_FINAL everywhere) what the
 * last layer finds likeliest. Edits behind the last block have no part in it. */
enum { LOOK_NEXT = -1, LOOK_FINAL = -2 };
sg_status look_at_lens(look *l, sg_dim first, sg_dim n, int k, int32_t token, look_lens **out,
                       sg_error *err) SG_MUST_CHECK;
void look_lens_free(look_lens *lens); /* NULL is fine */

/* ---- what a run predicts, edited beside unedited ---- */

typedef struct look_prediction {
    int n_rows;      /* 1, or 2 with edits: the second is edited */
    sg_dim first, n; /* positions */
    int k, n_tracked;
    look_guess *top;     /* [rows,n,k] */
    look_guess *tracked; /* [rows,n,tracked] */
    double *entropy;     /* [rows,n] nats */
    double *loss, *rank; /* [rows,n] of the token that follows; NaN at the prompt's last */
    double *divergence;  /* [n] KL divergence of the edited from the unedited, nats; NULL without edits */
} look_prediction;

typedef struct look_question {
    sg_dim first, n; /* n 0: as many as can be at once, to the end */
    int k, n_tracked;
    const int32_t *tracked;
} look_question;

/* Both rows in one batch. A glass for the same model, prompt length, structure of edits and question is taken from
 * `glasses` and goes back there, so that other strengths plan nothing anew. */
typedef struct look_glasses look_glasses;
sg_status look_glasses_new(look_glasses **out, int most, sg_error *err) SG_MUST_CHECK;
void look_glasses_free(look_glasses *g);                        /* NULL is fine */
void look_glasses_drop(look_glasses *g, const sg_model *model); /* before a model is closed */
sg_status look_predict(look_glasses *glasses, look_of of, look_question q, look_prediction **out,
                       sg_error *err) SG_MUST_CHECK;
void look_prediction_free(look_prediction *p); /* NULL is fine */

#endif
