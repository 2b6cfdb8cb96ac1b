/* Products of few rows whose results do not depend on how many rows there are: each row's sums run in one order, so
 * that what is written for one request is bit for bit the same whoever's rows are beside it.
 *
 * Where K is B's unit stride, a sum has sixteen lanes along K; four rows meet four columns in registers. Elsewhere rows
 * of B are added up, four at a time, onto a stripe of columns. */
#include <string.h>

#include "ops/iter.h"
#include "ops/ops.h"

typedef float lanes __attribute__((vector_size(64)));

enum { LANES = 16, SIDE = 4, STRIPE = 256, DEEP = 4, NEAR = 24 };

typedef struct job {
    const float *a, *b;
    const float *bias; /* NULL: none */
    float *c;
    sg_dim m, n, inner;
    sg_dim a_row, b_in, b_out; /* strides of A's rows, and of B's axes K and N */
    sg_dim width;              /* of a piece of work */
} job;

/* By address: wide vectors as arguments would make the call's convention depend on the processor. */
static inline void load(lanes *v, const float *x, sg_dim n)
{
    *v = (lanes){0};
    memcpy(v, x, (size_t)(n < LANES ? n : LANES) * sizeof *x);
}

static inline float total(const lanes *v)
{
    float x[LANES];

    memcpy(x, v, sizeof x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            x[l] += x[l + half];
    return x[0];
}

/* `rows` and `columns` are numbers where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void dots(const job *j, sg_dim row, sg_dim column, const int rows,
                                                       const int columns)
{
    const float *a = j->a + row * j->a_row, *b = j->b + column * j->b_out;
    lanes acc[SIDE][SIDE];

    for (int r = 0; r < rows; r++)
        for (int x = 0; x < columns; x++)
            acc[r][x] = (lanes){0};
    sg_dim p = 0;
    for (; p + LANES <= j->inner; p += LANES) {
        lanes y[SIDE];
        for (int x = 0; x < columns; x++)
            memcpy(&y[x], b + x * j->b_out + p, sizeof y[x]);
        for (int r = 0; r < rows; r++) {
            lanes v;
            memcpy(&v, a + r * j->a_row + p, sizeof v);
            for (int x = 0; x < columns; x++)
                acc[r][x] += v * y[x];
        }
    }
    if (p < j->inner)
        for (int r = 0; r < rows; r++)
            for (int x = 0; x < columns; x++) {
                lanes v, y;
                load(&v, a + r * j->a_row + p, j->inner - p);
                load(&y, b + x * j->b_out + p, j->inner - p);
                acc[r][x] += v * y;
            }
    for (int r = 0; r < rows; r++)
        for (int x = 0; x < columns; x++) {
            const float y = total(&acc[r][x]);
            j->c[(row + r) * j->n + column + x] = j->bias ? y + j->bias[column + x] : y;
        }
}

static inline __attribute__((always_inline)) void dots_of(const job *j, sg_dim column, const int columns)
{
    sg_dim row = 0;

    for (; row + SIDE <= j->m; row += SIDE)
        dots(j, row, column, SIDE, columns);
    switch (j->m - row) {
    case 3:
        dots(j, row, column, 3, columns);
        break;
    case 2:
        dots(j, row, column, 2, columns);
        break;
    case 1:
        dots(j, row, column, 1, columns);
        break;
    default:
        break;
    }
}

static void along_inner(const job *j, sg_dim first, sg_dim last)
{
    sg_dim column = first;

    for (; column + SIDE <= last; column += SIDE)
        dots_of(j, column, SIDE);
    for (; column < last; column++)
        dots_of(j, column, 1);
}

/* Four rows of A by 64 columns in registers, in the order of sums_of_few: what elements [from, to) of K add. */
static void sums_of_four(const job *j, sg_dim row, sg_dim first, sg_dim from, sg_dim to)
{
    const float *a = j->a + row * j->a_row, *b = j->b + from * j->b_in + first;
    lanes acc[SIDE][SIDE];

    for (int r = 0; r < SIDE; r++)
        if (from > 0)
            memcpy(acc[r], j->c + (row + r) * j->n + first, sizeof acc[r]);
        else
            for (int x = 0; x < SIDE; x++)
                acc[r][x] = (lanes){0};
    for (sg_dim p = from; p < to; p++, b += j->b_in) {
        lanes y[SIDE];
        memcpy(y, b, sizeof y);
        for (int r = 0; r < SIDE; r++) {
            const float s = a[r * j->a_row + p];
            for (int x = 0; x < SIDE; x++)
                acc[r][x] += s * y[x];
        }
    }
    for (int r = 0; r < SIDE; r++) {
        float *c = j->c + (row + r) * j->n + first;
        memcpy(c, acc[r], sizeof acc[r]);
        for (int x = 0; x < SIDE * LANES && j->bias && to == j->inner; x++)
            c[x] += j->bias[first + x];
    }
}

/* Rows of A one by one, onto a stripe of columns, which is read as it lies. */
static void sums_of_few(const job *j, sg_dim row, sg_dim rows, sg_dim first, sg_dim n)
{
    float acc[SIDE][STRIPE];

    memset(acc, 0, sizeof acc);
    for (sg_dim p = 0; p < j->inner; p += DEEP) {
        const sg_dim deep = SG_MIN((sg_dim)DEEP, j->inner - p);
        const float *b = j->b + p * j->b_in + first;
        for (sg_dim r = 0; r < rows; r++) {
            const float *s = j->a + (row + r) * j->a_row + p;
            float *y = acc[r];
            if (deep == DEEP) {
                const float *b1 = b + j->b_in, *b2 = b1 + j->b_in, *b3 = b2 + j->b_in;
                const float s0 = s[0], s1 = s[1], s2 = s[2], s3 = s[3];
                SG_SIMD
                for (sg_dim x = 0; x < n; x++)
                    y[x] = y[x] + s0 * b[x] + s1 * b1[x] + s2 * b2[x] + s3 * b3[x];
                continue;
            }
            for (sg_dim d = 0; d < deep; d++) {
                const float *bd = b + d * j->b_in;
                const float sd = s[d];
                SG_SIMD
                for (sg_dim x = 0; x < n; x++)
                    y[x] += sd * bd[x];
            }
        }
    }
    for (sg_dim r = 0; r < rows; r++) {
        float *c = j->c + (row + r) * j->n + first;
        for (sg_dim x = 0; x < n; x++)
            c[x] = j->bias ? acc[r][x] + j->bias[first + x] : acc[r][x];
    }
}

/* Rows of B lie in one piece. */
static void along_columns(const job *j, sg_dim first, sg_dim last)
{
    enum { WIDE = SIDE * LANES };
    const sg_dim fours = j->m / SIDE * SIDE, whole = first + (last - first) / WIDE * WIDE;

    /* A stripe is read a few rows at a time, each in one piece, and then used from near memory. */
    for (sg_dim p = 0; fours && p < j->inner; p += NEAR) {
        for (sg_dim d = p + NEAR; d < SG_MIN(p + 2 * NEAR, j->inner); d++)
            for (sg_dim x = first; x < last; x += LANES)
                __builtin_prefetch(j->b + d * j->b_in + x);
        for (sg_dim column = first; column < whole; column += WIDE)
            for (sg_dim row = 0; row < fours; row += SIDE)
                sums_of_four(j, row, column, p, SG_MIN(p + NEAR, j->inner));
    }
    if (fours && whole < last)
        for (sg_dim row = 0; row < fours; row += SIDE)
            sums_of_few(j, row, SIDE, whole, last - whole);
    if (fours < j->m)
        sums_of_few(j, fours, j->m - fours, first, last - first);
}

static void part(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim piece = first; piece < last; piece++)
        (j->b_in == 1 ? along_inner : along_columns)(j, piece * j->width, SG_MIN((piece + 1) * j->width, j->n));
}

bool sg_matmul_rows_fit(const sg_kernel_args *k)
{
    const sg_view *a = k->in[0], *b = k->in[1], *y = k->out;
    const int n = a->n_dims;

    if (k->i[0] || y->dtype != SG_F32 || b->dtype != SG_F32 || b->n_dims != 2 || n < 2 || a->strides[n - 1] != 1 ||
        (b->strides[0] != 1 && b->strides[1] != 1) || a->dims[n - 1] < 1)
        return false;
    for (int d = 0; d + 2 < n; d++) /* leading axes are more rows where they lie so */
        if (a->dims[d] != 1 && a->strides[d] != a->strides[d + 1] * a->dims[d + 1])
            return false;
    const sg_dim rows = sg_view_count(y) / SG_MAX(y->dims[y->n_dims - 1], 1);
    return rows >= 1 && rows <= SG_MATMUL_FEW_ROWS;
}

static void multiply(const sg_kernel_args *k, bool turned)
{
    const sg_view *a = k->in[0], *b = k->in[1];
    const int last = a->n_dims - 1;
    job j = {.a = a->data, .b = b->data, .c = k->out->data, .bias = k->n_in == 3 ? k->in[2]->data : NULL};

    j.n = k->out->dims[k->out->n_dims - 1];
    j.m = sg_view_count(k->out) / j.n;
    j.inner = a->dims[last];
    j.a_row = a->strides[last - 1];
    for (int d = last - 1; d >= 0 && a->dims[last - 1] == 1; d--) /* the rows may be a leading axis */
        if (a->dims[d] != 1) {
            j.a_row = a->strides[d];
            break;
        }
    j.b_in = b->strides[turned ? 1 : 0];
    j.b_out = b->strides[turned ? 0 : 1];
    if (b->dims[turned ? 1 : 0] == 1)
        j.b_in = j.b_out == 1 ? b->dims[turned ? 0 : 1] : 1;
    j.width = j.b_in == 1 ? 16 : STRIPE;
    sg_split((j.n + j.width - 1) / j.width, j.m * j.inner * j.width / 4, k->n_threads, part, &j);
}

sg_status sg_matmul_rows(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    multiply(k, false);
    return SG_OK;
}

sg_status sg_matmul_rows_turned(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    multiply(k, true);
    return SG_OK;
}
