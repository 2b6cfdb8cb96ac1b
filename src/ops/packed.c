/* Products over packed weights, the reference: y = a W' or y = a W, with W [N,K] as it is stored and a in f32 or f64.
 *
 * A stretch of a row of W is unpacked into the type of a, and used for every row of a. What each number of y is summed
 * from, and in which order, does not depend on threads: they share out rows of W, or columns where W is not turned. */
#include "ops/packed.h"

#include <string.h>

#include "ops/iter.h"

enum { STRETCH = 256 }; /* numbers unpacked at once: whole blocks of every type */

typedef struct job {
    const void *a;
    void *y;
    sg_dim m, a_row, a_col, n_rows, n_cols;
    const char *w;
    sg_dtype type, to;
} job;

static void unpack(const job *j, sg_dim row, sg_dim first, sg_dim n, void *to)
{
    const sg_dim block = sg_dtype_block(j->type), at = row * (j->n_cols / block) + first / block;

    sg_convert(to, j->to, j->w + (size_t)at * sg_dtype_block_bytes(j->type), j->type, n);
}

/* dots: y[m,n] over rows n of W. sums: y[m,k] over columns k, stretch by stretch. */
#define DEFINE_PRODUCT(T)                                                                                              \
    static void dots_##T(void *context, sg_dim first, sg_dim last)                                                     \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        T w[STRETCH], *y = j->y;                                                                                       \
        for (sg_dim n = first; n < last; n++)                                                                          \
            for (sg_dim k = 0; k < j->n_cols; k += STRETCH) {                                                          \
                const sg_dim width = SG_MIN((sg_dim)STRETCH, j->n_cols - k);                                           \
                unpack(j, n, k, width, w);                                                                             \
                for (sg_dim m = 0; m < j->m; m++) {                                                                    \
                    const T *a = (const T *)j->a + m * j->a_row + k * j->a_col;                                        \
                    T sum = 0;                                                                                         \
                    for (sg_dim i = 0; i < width; i++)                                                                 \
                        sum += a[i * j->a_col] * w[i];                                                                 \
                    y[m * j->n_rows + n] = k == 0 ? sum : y[m * j->n_rows + n] + sum;                                  \
                }                                                                                                      \
            }                                                                                                          \
    }                                                                                                                  \
    static void sums_##T(void *context, sg_dim first, sg_dim last)                                                     \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        T w[STRETCH], *y = j->y;                                                                                       \
        for (sg_dim s = first; s < last; s++) {                                                                        \
            const sg_dim k = s * STRETCH, width = SG_MIN((sg_dim)STRETCH, j->n_cols - k);                              \
            for (sg_dim n = 0; n < j->n_rows; n++) {                                                                   \
                unpack(j, n, k, width, w);                                                                             \
                for (sg_dim m = 0; m < j->m; m++) {                                                                    \
                    const T a = ((const T *)j->a)[m * j->a_row + n * j->a_col];                                        \
                    T *to = y + m * j->n_cols + k;                                                                     \
                    for (sg_dim i = 0; i < width; i++)                                                                 \
                        to[i] += a * w[i];                                                                             \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_PRODUCT(float)
DEFINE_PRODUCT(double)

sg_status sg_packed_product(const sg_kernel_args *k)
{
    const sg_view *a = k->in[0], *w = k->in[1];
    const bool turned = k->i[1] != 0, f32 = a->dtype == SG_F32;
    const job j = {.a = a->data,
                   .y = k->out->data,
                   .m = a->dims[0],
                   .a_row = a->strides[0],
                   .a_col = a->strides[1],
                   .n_rows = w->dims[0],
                   .n_cols = w->dims[1],
                   .w = w->data,
                   .type = w->dtype,
                   .to = a->dtype};
    job own = j;
    const sg_dim work = j.n_rows * j.n_cols * (j.m + 4);

    if (!turned || j.n_cols == 0)
        memset(j.y, 0, (size_t)sg_view_count(k->out) * sg_dtype_bytes(a->dtype));
    if (work == 0)
        return SG_OK;
    if (turned) {
        sg_split(j.n_rows, work / j.n_rows, k->n_threads, f32 ? dots_float : dots_double, &own);
    } else {
        const sg_dim n = (j.n_cols + STRETCH - 1) / STRETCH;
        sg_split(n, work / n, k->n_threads, f32 ? sums_float : sums_double, &own);
    }
    return SG_OK;
}
