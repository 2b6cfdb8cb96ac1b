/* The world `recall`: a query describes one of several tokens by two factors, and asks what that token carries.
 *
 *     sg_recall r = sg_recall_defaults();
 *     sg_source data;
 *     SG_TRY(sg_recall_source(&data, &r, 256, seed, err)); // x [256,16,32], query [256,32], answer [256]
 *
 * A token of the context is x = A_1 z_1 + A_2 z_2 + e(y) + noise, with latents z_1 (n numbers) and z_2 (m numbers) and
 * a payload y. The query is B_1 z_1 + B_2 z_2 + noise of the latents of one token, by encoders of its own; the answer
 * is that token's payload (Lee, Belinkov, Viegas, Wattenberg 2026). So a head that solves it has to meet z_1 of the
 * query with z_1 of the key, and z_2 with z_2, and it is known where in either they lie. */
#ifndef SIGHTGLASS_RECALL_H
#define SIGHTGLASS_RECALL_H

#include "sightglass/source.h"
#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_recall_latents {
    SG_RECALL_BINARY,  /* each -1 or 1 */
    SG_RECALL_GAUSSIAN /* standard normal */
} sg_recall_latents;

typedef struct sg_recall {
    sg_dim n, m;     /* 3, 5; latents of the two factors */
    sg_dim context;  /* 16; tokens */
    sg_dim payloads; /* 10; different ones */
    sg_dim width;    /* 32; numbers of a token */
    double noise; /* .01; its deviation. It is cut out of a table of 65,536 normal numbers at places drawn at random */
    sg_recall_latents latents; /* binary. Two tokens may have the same; then the query is ambiguous */
    uint64_t encoders;         /* 0; seed of A, B and e, whose entries are normal: of variance 1/n, 1/m and 1 */
} sg_recall;
sg_recall sg_recall_defaults(void);
sg_status sg_recall_check(const sg_recall *r, sg_error *err) SG_MUST_CHECK;

typedef enum sg_recall_part {
    SG_RECALL_KEY_FIRST,    /* A_1 [n,width] */
    SG_RECALL_KEY_SECOND,   /* A_2 [m,width] */
    SG_RECALL_QUERY_FIRST,  /* B_1 [n,width] */
    SG_RECALL_QUERY_SECOND, /* B_2 [m,width] */
    SG_RECALL_PAYLOAD,      /* e [payloads,width] */
    SG_RECALL_PARTS
} sg_recall_part;
/* Rows of an encoder, one for each latent: out has room for them. */
void sg_recall_encoder(float *out, const sg_recall *r, sg_recall_part part);

/* A source of x [rows,context,width], query [rows,width] f32, answer [rows] i32: what a head is trained on. */
sg_status sg_recall_source(sg_source *out, const sg_recall *r, sg_dim rows, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* Pairs for a contrast of factor 0 or 1: item i has a query, a key that matches it on the factor, and the same key with
 * another value of the factor; all else is drawn independently of the query. Each [count,width]. With `along` the other
 * factor matches and differs too, which is how it must not be done: the two are then not told apart. */
sg_status sg_recall_pairs(float *query, float *match, float *differ, const sg_recall *r, int factor, bool along,
                          sg_dim count, sg_origin from, sg_error *err) SG_MUST_CHECK;

/* What such a contrast is in the limit of many pairs, for a head whose queries are W_Q x and keys W_K x, each
 * [head,width]: out [head,head] = c (B W_Q')' (A W_K'), where c is 1 - E[z z'] of pairs that differ: 1 + 1/(2^n - 1)
 * for binary latents (no two that differ are equal, so they lie opposite in the mean), 1 for Gaussian ones. */
sg_status sg_recall_contrast(double *out, const sg_recall *r, int factor, sg_dim head, const float *wq, const float *wk,
                             sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
