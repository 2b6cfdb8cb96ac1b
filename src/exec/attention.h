/* What attention and its gradient have in common: small products in registers, masks, and how their operands lie. */
#ifndef SG_EXEC_ATTENTION_H
#define SG_EXEC_ATTENTION_H

#include <math.h>
#include <string.h>

#include "exec/planner.h"
#include "ops/exp.h"

typedef float lanes __attribute__((vector_size(64)));

enum {
    LANES = 16,
    QUERIES = 8,       /* rows of a product in registers */
    MOST_QUERIES = 64, /* of a block, whose scores lie in near memory */
    CHUNK = 256,       /* queries for which keys and values are packed once */
    KEYS = 64,         /* of a block */
    MOST_WIDTH = 256,  /* of a head */
};
#define LEAST_WORK 262144 /* multiplications; below, threads take longer to meet */

/* An operand [lead..., rows, columns]: where the matrix of a lead index begins, and its row stride. */
typedef struct matrices {
    int n_lead;
    sg_dim extents[SG_MAX_DIMS], strides[SG_MAX_DIMS]; /* innermost first */
    sg_dim row;
} matrices;

static inline sg_dim begin_of(const matrices *m, sg_dim lead)
{
    sg_dim at = 0;

    for (int a = 0; a < m->n_lead; a++) {
        at += lead % m->extents[a] * m->strides[a];
        lead /= m->extents[a];
    }
    return at;
}

/* c[i][0..32) (+)= sum_p a[i][p] b[p][0..32) for eight rows; a[i][p] is at i * a_stride + p * a_step, b has `stride`
 * numbers a row, c `c_stride`. */
static inline void product_8x32(const float *a, sg_dim a_stride, sg_dim a_step, const float *b, sg_dim stride, float *c,
                                sg_dim c_stride, sg_dim inner, bool add)
{
    lanes acc[QUERIES][2];

    for (int i = 0; i < QUERIES; i++)
        for (int x = 0; x < 2; x++)
            if (add)
                memcpy(&acc[i][x], c + i * c_stride + x * LANES, sizeof(lanes));
            else
                acc[i][x] = (lanes){0};
    for (sg_dim p = 0; p < inner; p++) {
        lanes b0, b1;
        memcpy(&b0, b + p * stride, sizeof b0);
        memcpy(&b1, b + p * stride + LANES, sizeof b1);
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) {
            const float s = a[i * a_stride + p * a_step];
            acc[i][0] += s * b0;
            acc[i][1] += s * b1;
        }
    }
    for (int i = 0; i < QUERIES; i++)
        for (int x = 0; x < 2; x++)
            memcpy(c + i * c_stride + x * LANES, &acc[i][x], sizeof(lanes));
}

static inline void product_8x16(const float *a, sg_dim a_stride, sg_dim a_step, const float *b, sg_dim stride, float *c,
                                sg_dim c_stride, sg_dim inner, bool add)
{
    lanes acc[QUERIES];

    for (int i = 0; i < QUERIES; i++)
        if (add)
            memcpy(&acc[i], c + i * c_stride, sizeof(lanes));
        else
            acc[i] = (lanes){0};
    for (sg_dim p = 0; p < inner; p++) {
        lanes b0;
        memcpy(&b0, b + p * stride, sizeof b0);
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++)
            acc[i] += a[i * a_stride + p * a_step] * b0;
    }
    for (int i = 0; i < QUERIES; i++)
        memcpy(c + i * c_stride, &acc[i], sizeof(lanes));
}

/* rows (a multiple of 8) x columns (a multiple of 16) */
static inline void product(const float *a, sg_dim a_stride, sg_dim a_step, const float *b, sg_dim stride, float *c,
                           sg_dim c_stride, sg_dim rows, sg_dim columns, sg_dim inner, bool add)
{
    for (sg_dim x = 0; x < columns; x += 2 * LANES)
        for (sg_dim i = 0; i < rows; i += QUERIES)
            if (x + 2 * LANES <= columns)
                product_8x32(a + i * a_stride, a_stride, a_step, b + x, stride, c + i * c_stride + x, c_stride, inner,
                             add);
            else
                product_8x16(a + i * a_stride, a_stride, a_step, b + x, stride, c + i * c_stride + x, c_stride, inner,
                             add);
}

typedef enum seen { NONE, SOME, ALL } seen;

/* What of keys [first, first + n) is seen by queries [row, row + rows). */
static inline seen look(const uint8_t *mask, sg_dim stride, sg_dim rows, sg_dim first, sg_dim n)
{
    bool any = false, all = true;

    if (!mask)
        return ALL;
    for (sg_dim r = 0; r < rows; r++) {
        unsigned sum = 0;
        SG_SIMD
        for (sg_dim s = 0; s < n; s++)
            sum += mask[r * stride + first + s] != 0;
        any |= sum > 0;
        all &= sum == (unsigned)n;
    }
    return all ? ALL : any ? SOME : NONE;
}

/* How many of keys [first, first + n) there are up to the last that a query of [row, row + rows) sees. */
static inline uint8_t reach_of(const uint8_t *mask, sg_dim stride, sg_dim rows, sg_dim first, sg_dim n)
{
    unsigned reach = 0;

    for (sg_dim r = 0; r < rows; r++) {
        unsigned last = 0;
        for (unsigned s = 0; s < (unsigned)n; s++)
            last = mask[r * stride + first + s] ? s + 1 : last;
        reach = last > reach ? last : reach;
    }
    return (uint8_t)reach;
}

/* What every block of queries sees of every block of keys, for the mask at hand; and how far, eight queries at a time:
 * a causal mask leaves half of the blocks on the diagonal to be passed over too. */
enum { GROUPS = MOST_QUERIES / QUERIES };
typedef struct mask_table {
    const uint8_t *of;
    uint8_t *seen;  /* [blocks of queries][blocks of keys] */
    uint8_t *reach; /* [blocks of queries][blocks of keys][GROUPS] */
} mask_table;

static inline size_t mask_blocks(sg_dim n_queries, sg_dim n_keys)
{
    return (size_t)((n_queries + MOST_QUERIES - 1) / MOST_QUERIES) * (size_t)((n_keys + KEYS - 1) / KEYS);
}

static inline size_t mask_table_bytes(sg_dim n_queries, sg_dim n_keys)
{
    return mask_blocks(n_queries, n_keys) * (1 + GROUPS);
}

static inline void look_at_all(mask_table *t, const uint8_t *mask, sg_dim row, sg_dim n_queries, sg_dim n_keys)
{
    const sg_dim n_blocks = (n_keys + KEYS - 1) / KEYS;

    if (t->of == mask)
        return;
    t->of = mask;
    for (sg_dim q = 0; q < n_queries; q += MOST_QUERIES)
        for (sg_dim s = 0; s < n_keys; s += KEYS) {
            const sg_dim at = q / MOST_QUERIES * n_blocks + s / KEYS, n = SG_MIN((sg_dim)KEYS, n_keys - s);
            const seen what = look(mask + q * row, row, SG_MIN((sg_dim)MOST_QUERIES, n_queries - q), s, n);
            t->seen[at] = (uint8_t)what;
            for (sg_dim g = 0; g < GROUPS; g++) {
                const sg_dim rows = SG_MIN((sg_dim)QUERIES, n_queries - q - g * QUERIES);
                t->reach[at * GROUPS + g] = what == SOME && rows > 0
                                                ? reach_of(mask + (q + g * QUERIES) * row, row, rows, s, n)
                                                : (uint8_t)(what == NONE ? 0 : n);
            }
        }
}

/* n to whole vectors */
static inline sg_dim whole_lanes(sg_dim n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* 16 x 16 numbers turned about the diagonal: halves change places, then quarters, ... */
#define TURN_STEP(d, ...)                                                                                              \
    for (int i = 0; i < LANES; i++)                                                                                    \
        if (!(i & (d))) {                                                                                              \
            const lanes a = r[i], b = r[i + (d)];                                                                      \
            r[i] = __builtin_shufflevector(a, b, __VA_ARGS__);                                                         \
            r[i + (d)] = TURN_OTHER_##d;                                                                               \
        }
#define TURN_OTHER_8 __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define TURN_OTHER_4 __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define TURN_OTHER_2 __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define TURN_OTHER_1 __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)

static inline void turn_16x16(lanes r[LANES])
{
    TURN_STEP(8, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
    TURN_STEP(4, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
    TURN_STEP(2, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
    TURN_STEP(1, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
}

/* n <= KEYS rows of `width` become to[width][KEYS], filled up with zeros. */
static inline void lay_turned(float *to, const float *from, sg_dim row, sg_dim n, sg_dim width)
{
    lanes r[LANES];

    for (sg_dim s = 0; s < KEYS; s += LANES)
        for (sg_dim p = 0; p < width; p += LANES) {
            const sg_dim rows = SG_MIN((sg_dim)LANES, n - s), columns = SG_MIN((sg_dim)LANES, width - p);
            for (int i = 0; i < LANES; i++) {
                r[i] = (lanes){0};
                if (i < rows && columns == LANES)
                    memcpy(&r[i], from + (s + i) * row + p, sizeof r[i]);
                else if (i < rows)
                    memcpy(&r[i], from + (s + i) * row + p, (size_t)columns * sizeof(float));
            }
            turn_16x16(r);
            for (int i = 0; i < LANES; i++)
                if (i < columns)
                    memcpy(to + (p + i) * KEYS + s, &r[i], sizeof r[i]);
        }
}

/* Folded in halves. */
static inline float sum_of_lanes(float x[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        SG_SIMD
    for (int l = 0; l < half; l++)
        x[l] += x[l + half];
    return x[0];
}

static inline float most_of_lanes(float x[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        SG_SIMD
    for (int l = 0; l < half; l++)
        x[l] = x[l + half] > x[l] || x[l + half] != x[l + half] ? x[l + half] : x[l];
    return x[0];
}

/* Where a mask is small it is laid out once for all heads: 0 where a key is seen, -inf where not and behind the last.
 */
#define SMALL_MASK (MOST_QUERIES * 2 * KEYS)

typedef struct open_mask {
    const uint8_t *of; /* what lies in bias */
    float *bias;       /* [queries][wide] */
} open_mask;

static inline bool mask_is_small(sg_dim n_queries, sg_dim wide)
{
    return n_queries <= MOST_QUERIES && wide <= 2 * KEYS;
}

static inline void lay_mask(open_mask *m, const uint8_t *mask, sg_dim row, sg_dim n_queries, sg_dim n_keys, sg_dim wide)
{
    if (m->of == mask)
        return;
    m->of = mask;
    for (sg_dim q = 0; q < n_queries; q++)
        for (sg_dim s = 0; s < wide; s++)
            m->bias[q * wide + s] = s < n_keys && mask[q * row + s] ? 0 : -INFINITY;
}

/* Scores of keys not seen become -inf, whatever they were. */
static inline void hide(float *x, const float *bias, sg_dim n)
{
    SG_SIMD
    for (sg_dim s = 0; s < n; s++)
        x[s] = bias[s] < 0 ? -INFINITY : x[s];
}

/* rows x width, times scale, into whole x padded, filled up with zeros. */
static inline void lay_rows(float *to, sg_dim whole, sg_dim padded, const float *from, sg_dim row, sg_dim rows,
                            sg_dim width, float scale)
{
    for (sg_dim r = 0; r < rows; r++) {
        float *y = to + r * padded;
        const float *x = from + r * row;
        SG_SIMD
        for (sg_dim p = 0; p < width; p++)
            y[p] = x[p] * scale;
        if (width < padded)
            memset(y + width, 0, (size_t)(padded - width) * sizeof *y);
    }
    memset(to + rows * padded, 0, (size_t)((whole - rows) * padded) * sizeof *to);
}

/* ---- recognising ---- */

/* The forward chain matmul, mul by a number, [tanh, mul by a number,] where, softmax, matmul, as values; those that are not
 * there are -1. */
typedef struct chain {
    int scores, scaled, bounded, capped, masked, pattern, z;
    float scale, cap; /* cap 0: none */
} chain;

/* Whether the f32 constant number behind input i of value a is there, and which it is. */
bool sg_attention_scalar(const sg_planner *pl, int a, int i, float *x);

/* x as matrices over the lead axes `dims`; false if a matrix' rows are not in one piece. */
bool sg_attention_matrices(const sg_view *x, int n_lead, const sg_dim *dims, bool broadcast_rows, matrices *m);

/* The place of a value among a step's inputs; -1 for -1. */
int sg_attention_index(const sg_plan_step *step, int value);

/* Where the rows of a result are written. */
typedef struct written {
    int value; /* of which it is a part */
    sg_dim offset, rows, width;
    matrices at;
} written;

/* [dims..., rows, width] in one piece. */
void sg_attention_written(int value, int n_lead, const sg_dim *dims, sg_dim rows, sg_dim width, written *w);

/* If all that follows is a copy in another order, w is where that copy has the numbers. Returns the copy, or -1. */
int sg_attention_copied(const sg_planner *pl, const int *readers, written *w);

/* If the results, or some of them, are joined along the last axis with nothing else, they are written there. Returns
 * the value that joins them, or -1. n <= 3. */
int sg_attention_joined(const sg_planner *pl, const int *readers, int n, written *w);

/* Joins the gradient of a chain, if all of it is there and nobody else reads what lies between. */
sg_status sg_attention_grad_find(sg_planner *pl, const int *readers, const chain *c, bool *found);

#endif
