/* Matrix products, batched and transposed, and linear maps. Attributes: i = trans_a, trans_b.
 *
 * The reference kernel multiplies rows of A by blocks of B that are packed on the stack. Few rows (decoding), and by
 * transposing few columns, take a path that reads the large operand once, as it lies. Sums over K run in the operands'
 * type, in an order that depends on extents and strides but not on threads. */
#include <string.h>

#include "ops/iter.h"
#include "ops/packed.h"

/* a [M,K] beside packed weights, which no other operation has touched. */
static sg_status infer_packed(sg_infer *s, sg_error *err)
{
    const sg_value *a = s->in[0], *b = s->in[1];
    const bool tb = s->attrs->i[1] != 0;

    if (a->dtype != SG_F32 && a->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64 beside packed weights");
    if (!(b->op->flags & SG_OP_LEAF))
        return sg_infer_fail(s, err, SG_ETYPE, "packed weights are a variable or a constant, cast what was computed");
    if (a->n_dims != 2 || b->n_dims != 2 || s->attrs->i[0] != 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "wanted a [M,K] beside packed weights [N,K] or [K,N]");
    if (a->dims[1] != b->dims[tb ? 1 : 0])
        return sg_infer_fail(s, err, SG_ESHAPE, "inner extents differ");
    s->dtype = a->dtype;
    s->n_dims = 2;
    s->dims[0] = a->dims[0];
    s->dims[1] = b->dims[tb ? 0 : 1];
    return SG_OK;
}

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *a = s->in[0], *b = s->in[1];
    const bool ta = s->attrs->i[0] != 0, tb = s->attrs->i[1] != 0;

    if (sg_is_packed(b->dtype) && b->dtype != a->dtype)
        return infer_packed(s, err);
    if (a->dtype != b->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "types differ");
    if (a->dtype != SG_F32 && a->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted f32 or f64");
    if (a->n_dims < 2 || b->n_dims < 2)
        return sg_infer_fail(s, err, SG_ESHAPE, "wanted matrices");
    const sg_dim m = a->dims[a->n_dims - (ta ? 1 : 2)], ka = a->dims[a->n_dims - (ta ? 2 : 1)];
    const sg_dim kb = b->dims[b->n_dims - (tb ? 1 : 2)], n = b->dims[b->n_dims - (tb ? 2 : 1)];
    if (ka != kb)
        return sg_infer_fail(s, err, SG_ESHAPE, "inner extents differ%s%s", ta ? ", a transposed" : "",
                             tb ? ", b transposed" : "");
    s->dtype = a->dtype;
    s->n_dims = SG_MAX(a->n_dims, b->n_dims);
    for (int k = 0; k < s->n_dims - 2; k++)
        s->dims[k] = 1;
    for (int i = 0; i < 2; i++) {
        const int shift = s->n_dims - s->in[i]->n_dims;
        for (int k = 0; k < s->in[i]->n_dims - 2; k++) {
            const sg_dim d = s->in[i]->dims[k];
            if (d == 1 || d == s->dims[shift + k])
                continue;
            if (s->dims[shift + k] != 1)
                return sg_infer_fail(s, err, SG_ESHAPE, "leading extents do not broadcast");
            s->dims[shift + k] = d;
        }
    }
    s->dims[s->n_dims - 2] = m;
    s->dims[s->n_dims - 1] = n;
    return SG_OK;
}

/* One operand as seen by a batch: strides of its two matrix axes, and of each leading axis of out (0: broadcast). */
typedef struct operand {
    const char *data;
    sg_dim row, col; /* of op(a) [M,K] or op(b) [K,N] */
    sg_dim lead[SG_MAX_DIMS];
} operand;

static operand operand_of(const sg_view *x, bool transposed, int n_dims)
{
    operand o = {.data = x->data};
    const int shift = n_dims - x->n_dims;

    o.row = x->strides[x->n_dims - (transposed ? 1 : 2)];
    o.col = x->strides[x->n_dims - (transposed ? 2 : 1)];
    for (int k = 0; k < n_dims - 2; k++)
        o.lead[k] = k < shift || x->dims[k - shift] == 1 ? 0 : x->strides[k - shift];
    return o;
}

/* Columns of a block; the order of sums does not depend on it. WebAssembly's registers hold 16 bytes, and V8 keeps MR
 * rows of 8 sums in them: with 64 columns a product took 1.5 times as long there. Native code of that width is as fast
 * with 64. */
#ifndef __wasm_simd128__
enum { WIDE_F32 = 64, NARROW_F32 = 16, WIDE_F64 = 32, NARROW_F64 = 8 };
#else
enum { WIDE_F32 = 8, NARROW_F32 = 4, WIDE_F64 = 4, NARROW_F64 = 2 };
#endif

#define KB      256 /* rows of B packed together; how many columns depends on the type and on N */
#define MR      4   /* rows of A at a time */
#define COLUMNS 256 /* columns of B read together where A has few rows */
#define STRIPE  256 /* rows of A in one piece of work: a multiple of MR, enough to make packing cheap */

typedef struct job {
    operand a, b;
    void *c;
    sg_dim c_row, c_col;
    sg_dim m, n, k_extent, n_panels, n_stripes;
    sg_dim width; /* of a panel of few rows */
    sg_dim lead[SG_MAX_DIMS];
    int n_lead;
} job;

static sg_dim lead_offset(const job *j, const operand *o, sg_dim batch)
{
    sg_dim at = 0;

    for (int d = j->n_lead - 1; d >= 0; d--) {
        at += batch % j->lead[d] * o->lead[d];
        batch /= j->lead[d];
    }
    return at;
}

/* Piece number `piece`: STRIPE rows by WIDTH columns of one batch's product. */
#define FIND_PIECE(T, WIDTH)                                                                                           \
    const sg_dim at = piece % j->n_panels * (WIDTH), top = piece / j->n_panels % j->n_stripes * STRIPE;                \
    const sg_dim batch = piece / j->n_panels / j->n_stripes;                                                           \
    const sg_dim nb = SG_MIN((sg_dim)(WIDTH), j->n - at), mb = SG_MIN((sg_dim)STRIPE, j->m - top);                     \
    const T *a = (const T *)(const void *)j->a.data + lead_offset(j, &j->a, batch) + top * j->a.row;                   \
    const T *b = (const T *)(const void *)j->b.data + lead_offset(j, &j->b, batch) + at * j->b.col;                    \
    T *c = (T *)j->c + batch * j->m * j->n + top * j->c_row + at * j->c_col

/* MR x NB sums stay in registers. block: c [m, nb] (+)= a [m, kb] * packed [kb, NB]. */
#define DEFINE_PRODUCT(T, NAME, NB)                                                                                    \
    static void block_##NAME(sg_dim m, sg_dim nb, sg_dim kb, const T *a, sg_dim row, sg_dim col, const T *packed,      \
                             T *c, sg_dim ldc, bool first)                                                             \
    {                                                                                                                  \
        for (sg_dim i = 0; i < m; i += MR) {                                                                           \
            const sg_dim rows = SG_MIN((sg_dim)MR, m - i);                                                             \
            T acc[MR][NB] = {{0}};                                                                                     \
            for (sg_dim r = 0; r < rows && !first; r++)                                                                \
                for (sg_dim x = 0; x < nb; x++)                                                                        \
                    acc[r][x] = c[(i + r) * ldc + x];                                                                  \
            const T *a0 = a + i * row, *a1 = a + SG_MIN(i + 1, m - 1) * row;                                           \
            const T *a2 = a + SG_MIN(i + 2, m - 1) * row, *a3 = a + SG_MIN(i + 3, m - 1) * row;                        \
            for (sg_dim p = 0; p < kb; p++) {                                                                          \
                const T *b = packed + p * NB;                                                                          \
                const T x0 = a0[p * col], x1 = a1[p * col], x2 = a2[p * col], x3 = a3[p * col];                        \
                SG_SIMD                                                                                                \
                for (int x = 0; x < NB; x++) {                                                                         \
                    acc[0][x] += x0 * b[x];                                                                            \
                    acc[1][x] += x1 * b[x];                                                                            \
                    acc[2][x] += x2 * b[x];                                                                            \
                    acc[3][x] += x3 * b[x];                                                                            \
                }                                                                                                      \
            }                                                                                                          \
            for (sg_dim r = 0; r < rows; r++)                                                                          \
                for (sg_dim x = 0; x < nb; x++)                                                                        \
                    c[(i + r) * ldc + x] = acc[r][x];                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    static void part_##NAME(void *context, sg_dim first, sg_dim last)                                                  \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        T packed[KB * NB];                                                                                             \
        for (sg_dim piece = first; piece < last; piece++) {                                                            \
            FIND_PIECE(T, NB);                                                                                         \
            for (sg_dim k0 = 0; k0 < j->k_extent; k0 += KB) {                                                          \
                const sg_dim kb = SG_MIN((sg_dim)KB, j->k_extent - k0);                                                \
                for (sg_dim p = 0; p < kb; p++) {                                                                      \
                    for (sg_dim x = 0; x < nb; x++)                                                                    \
                        packed[p * NB + x] = b[(k0 + p) * j->b.row + x * j->b.col];                                    \
                    for (sg_dim x = nb; x < NB; x++)                                                                   \
                        packed[p * NB + x] = 0;                                                                        \
                }                                                                                                      \
                block_##NAME(mb, nb, kb, a + k0 * j->a.col, j->a.row, j->a.col, packed, c, j->c_row, k0 == 0);         \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_PRODUCT(float, f32_wide, WIDE_F32)
DEFINE_PRODUCT(float, f32_narrow, NARROW_F32)
DEFINE_PRODUCT(double, f64_wide, WIDE_F64)
DEFINE_PRODUCT(double, f64_narrow, NARROW_F64)

/* Few rows: every element of B is read once, as it lies. Where K is B's unit stride a product is a dot product in
 * lanes; elsewhere rows of B are added up, four at a time. */
#define DEFINE_ROWS(T)                                                                                                 \
    static T dot_##T(const T *restrict a, const T *restrict b, sg_dim n)                                               \
    {                                                                                                                  \
        T lanes[64] = {0}, sum = 0;                                                                                    \
        sg_dim i = 0;                                                                                                  \
        for (; i + 64 <= n; i += 64)                                                                                   \
            SG_SIMD                                                                                                    \
        for (int l = 0; l < 64; l++)                                                                                   \
            lanes[l] += a[i + l] * b[i + l];                                                                           \
        for (; i < n; i++)                                                                                             \
            sum += a[i] * b[i];                                                                                        \
        if (n >= 64)                                                                                                   \
            for (int w = 32; w > 0; w /= 2)                                                                            \
                for (int l = 0; l < w; l++)                                                                            \
                    lanes[l] += lanes[l + w];                                                                          \
        return sum + lanes[0];                                                                                         \
    }                                                                                                                  \
    static void dots_##T(const job *j, const T *a, const T *b, T *c, sg_dim nb)                                        \
    {                                                                                                                  \
        T line[KB * 4]; /* of a, where it is not contiguous */                                                         \
        const sg_dim most = j->a.col == 1 ? j->k_extent : KB * 4;                                                      \
        for (sg_dim k0 = 0; k0 < j->k_extent; k0 += most) {                                                            \
            const sg_dim kb = SG_MIN(most, j->k_extent - k0);                                                          \
            const T *row = a + k0;                                                                                     \
            if (j->a.col != 1) {                                                                                       \
                for (sg_dim p = 0; p < kb; p++)                                                                        \
                    line[p] = a[(k0 + p) * j->a.col];                                                                  \
                row = line;                                                                                            \
            }                                                                                                          \
            for (sg_dim x = 0; x < nb; x++) {                                                                          \
                const T y = dot_##T(row, b + k0 + x * j->b.col, kb);                                                   \
                c[x * j->c_col] = k0 == 0 ? y : c[x * j->c_col] + y;                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void sums_##T(const job *j, const T *a, const T *b, T *c, sg_dim nb)                                        \
    {                                                                                                                  \
        const sg_dim sa = j->a.col, row = j->b.row, col = j->b.col;                                                    \
        T acc[COLUMNS] = {0};                                                                                          \
        sg_dim p = 0;                                                                                                  \
        for (; p + 4 <= j->k_extent && col == 1; p += 4) {                                                             \
            const T *b0 = b + p * row, *b1 = b0 + row, *b2 = b1 + row, *b3 = b2 + row;                                 \
            const T s0 = a[p * sa], s1 = a[(p + 1) * sa], s2 = a[(p + 2) * sa], s3 = a[(p + 3) * sa];                  \
            SG_SIMD                                                                                                    \
            for (sg_dim x = 0; x < nb; x++)                                                                            \
                acc[x] = acc[x] + s0 * b0[x] + s1 * b1[x] + s2 * b2[x] + s3 * b3[x];                                   \
        }                                                                                                              \
        for (; p < j->k_extent; p++)                                                                                   \
            for (sg_dim x = 0; x < nb; x++)                                                                            \
                acc[x] += a[p * sa] * b[p * row + x * col];                                                            \
        for (sg_dim x = 0; x < nb; x++)                                                                                \
            c[x * j->c_col] = acc[x];                                                                                  \
    }                                                                                                                  \
    static void rows_##T(void *context, sg_dim first, sg_dim last)                                                     \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        for (sg_dim piece = first; piece < last; piece++) {                                                            \
            FIND_PIECE(T, j->width);                                                                                   \
            for (sg_dim i = 0; i < mb; i++)                                                                            \
                (j->b.row == 1 ? dots_##T : sums_##T)(j, a + i * j->a.row, b, c + i * j->c_row, nb);                   \
        }                                                                                                              \
    }

DEFINE_ROWS(float)
DEFINE_ROWS(double)

/* C' = B' A': what is said of few rows then holds of few columns. */
static void swap_sides(job *j)
{
    const job was = *j;

    j->a = was.b;
    j->a.row = was.b.col;
    j->a.col = was.b.row;
    j->b = was.a;
    j->b.row = was.a.col;
    j->b.col = was.a.row;
    j->m = was.n;
    j->n = was.m;
    j->c_row = was.c_col;
    j->c_col = was.c_row;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *out = k->out;
    const bool f32 = out->dtype == SG_F32;
    job j = {.c = out->data, .n_lead = out->n_dims - 2};
    sg_dim batches = 1, width = COLUMNS;
    sg_range_fn fn = f32 ? rows_float : rows_double;

    (void)err;
    if (k->in[1]->dtype != out->dtype)
        return sg_packed_product(k);
    j.a = operand_of(k->in[0], k->i[0] != 0, out->n_dims);
    j.b = operand_of(k->in[1], k->i[1] != 0, out->n_dims);
    j.m = out->dims[out->n_dims - 2];
    j.n = out->dims[out->n_dims - 1];
    j.c_row = j.n;
    j.c_col = 1;
    j.k_extent = k->in[0]->dims[k->in[0]->n_dims - (k->i[0] ? 2 : 1)];
    for (int d = 0; d < j.n_lead; d++) {
        j.lead[d] = out->dims[d];
        batches *= out->dims[d];
    }
    if (batches * j.m * j.n == 0)
        return SG_OK;
    if (j.k_extent == 0) {
        memset(out->data, 0, (size_t)(batches * j.m * j.n) * sg_dtype_bytes(out->dtype));
        return SG_OK;
    }
    const sg_dim wide = f32 ? WIDE_F32 : WIDE_F64, narrow = f32 ? NARROW_F32 : NARROW_F64;
    if (j.n < MR && j.m > j.n && j.k_extent >= 16) {
        swap_sides(&j);
    } else if (j.m >= MR && j.n <= narrow) {
        width = narrow;
        fn = f32 ? part_f32_narrow : part_f64_narrow;
    } else if (j.m >= MR) {
        width = wide;
        fn = f32 ? part_f32_wide : part_f64_wide;
    }
    j.n_panels = (j.n + width - 1) / width;
    j.n_stripes = (j.m + STRIPE - 1) / STRIPE;
    if (width == COLUMNS && batches * j.n_stripes == 1 && k->n_threads > 1) { /* as many panels for each thread */
        const sg_dim panels = (j.n_panels + k->n_threads - 1) / k->n_threads * k->n_threads;
        width = SG_MIN(((j.n + panels - 1) / panels + 15) / 16 * 16, (sg_dim)COLUMNS);
        j.n_panels = (j.n + width - 1) / width;
    }
    j.width = width;
    sg_split(batches * j.n_stripes * j.n_panels, SG_MIN(STRIPE, j.m) * j.k_extent * SG_MIN(width, j.n) / 4,
             k->n_threads, fn, &j);
    return SG_OK;
}

/* C = A B: dA = dC B', dB = A' dC, each transposed as its operand was, summed over broadcast leading axes. Packed
 * weights are read and not learnt: they have no gradient. */
static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    sg_value *a = y->in[0], *b = y->in[1];
    const bool ta = y->attrs.i[0] != 0, tb = y->attrs.i[1] != 0;
    sg_value *da = ta ? sg_matmul(g, b, dy, tb, true) : sg_matmul(g, dy, b, false, !tb);

    dx[0] = sg_sum_to(g, da, a->n_dims, a->dims);
    if (b->dtype != a->dtype)
        return;
    sg_value *db = tb ? sg_matmul(g, dy, a, true, ta) : sg_matmul(g, a, dy, !ta, false);
    dx[1] = sg_sum_to(g, db, b->n_dims, b->dims);
}

const sg_op sg_op_matmul = {.name = "matmul",
                            .min_in = 2,
                            .max_in = 2,
                            .flags = SG_OP_STRIDED | SG_OP_PACKED,
                            .infer = infer,
                            .run = run,
                            .grad = grad};

sg_value *sg_matmul(sg_graph *g, sg_value *a, sg_value *b, bool trans_a, bool trans_b)
{
    if (!sg_graph_failed(g) && trans_a && a->n_dims == 2 && b->dtype != a->dtype && sg_is_packed(b->dtype))
        return sg_matmul(g, sg_swap_axes(g, a, 0, 1), b, false, trans_b);
    const sg_attrs attrs = {.n_i = 2, .i = {trans_a, trans_b}};

    if (sg_graph_failed(g) || b->n_dims != 2 || a->n_dims <= 2 || trans_a)
        return sg_node(g, &sg_op_matmul, 2, (sg_value *[]){a, b}, &attrs);

    /* One big product instead of many: [...,M,K] becomes [rows,K]. */
    sg_dim dims[SG_MAX_DIMS];
    const int n = a->n_dims;
    memcpy(dims, a->dims, (size_t)n * sizeof dims[0]);
    sg_value *flat = sg_reshape(g, a, 2, (sg_dim[]){sg_dims_product(g, n - 1, dims), dims[n - 1]});
    sg_value *y = sg_node(g, &sg_op_matmul, 2, (sg_value *[]){flat, b}, &attrs);
    dims[n - 1] = sg_value_dim(y, 1);
    return sg_reshape(g, y, n, dims);
}

sg_value *sg_linear(sg_graph *g, sg_value *x, sg_value *w, sg_value *b)
{
    sg_value *y;

    if (x->n_dims == 1 && !sg_graph_failed(g))
        y = sg_squeeze(g, sg_matmul(g, sg_expand(g, x, 0), w, false, true), 0);
    else
        y = sg_matmul(g, x, w, false, true);
    return b ? sg_add(g, y, b) : y;
}
