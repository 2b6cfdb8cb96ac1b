/* The backend for products over packed weights: which it takes, with which instructions, and how threads share them.
 *
 * Up to SG_PACKED_FEW rows of activations, a step of decoding, the time is that of reading the weights once. More rows
 * are laid out side by side, some weights are unpacked into near memory, and tiles of the result are summed from both.
 * Threads share out weights' rows, or whole blocks of columns where W is not turned: no number's sum depends on how
 * many there are. */
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"
#include "backend/packed/packed.h"
#include "ops/iter.h"
#include "ops/packed.h"

typedef struct product {
    const sg_packed_kernels *kernels;
    sg_packed_weights w;
    sg_dim m, ldx;
    bool turned, biased, low, fixed;
    int n_threads;
    size_t tiles; /* where in scratch the tiles of threads begin */
} product;

/* One product of a run, and what its threads do: parts of the whole, or of what is laid out for it. */
typedef struct job {
    const product *p;
    sg_packed_weights w;
    const float *x, *bias;
    float *y;
    sg_dim m, n_out, unit; /* rows at hand; results in a row, and how many of them stay together */
    int n_parts;
    void *laid;
    unsigned char *tiles;
} job;

static sg_dim part_of(const job *j, sg_dim part)
{
    const sg_dim units = (j->n_out + j->unit - 1) / j->unit;
    return SG_MIN(units * part / j->n_parts * j->unit, j->n_out);
}

static void few(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const product *p = j->p;
    const sg_dim from = part_of(j, first), to = part_of(j, last);

    if (p->turned)
        p->kernels->dots(&j->w, j->x, p->ldx, j->laid, j->m, j->bias, j->y, j->n_out, from, to);
    else
        p->kernels->sums(&j->w, j->x, p->ldx, j->m, j->bias, j->y, j->n_out, from, to);
}

static void lay_out(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const product *p = j->p;

    p->kernels->lay_out(j->x, p->ldx, j->m, p->turned ? p->w.n_cols : p->w.n_rows, p->low, j->laid, first, last);
}

static void tiles(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const product *p = j->p;

    for (sg_dim part = first; part < last; part++) {
        const sg_dim from = part_of(j, part), to = part_of(j, part + 1);
        void *tile = j->tiles + (size_t)part * SG_PACKED_TILE;
        if (p->turned)
            p->kernels->dot_tiles(&j->w, j->laid, j->m, p->low, j->bias, j->y, j->n_out, tile, from, to);
        else
            p->kernels->sum_tiles(&j->w, j->laid, j->m, j->bias, j->y, j->n_out, tile, from, to);
    }
}

static bool fix_rows(const product *p, const float *x, sg_packed_fixed *to)
{
    for (sg_dim r = 0; r < p->m; r++)
        if (!p->kernels->fix(x + r * p->ldx, p->w.n_cols, to + r * (p->w.n_cols / 256)))
            return false;
    return true;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const product *p = k->self;
    job j = {.p = p,
             .w = p->w,
             .x = k->in[0]->data,
             .bias = p->biased ? k->in[2]->data : NULL,
             .y = k->out->data,
             .m = p->m,
             .n_out = p->turned ? p->w.n_rows : p->w.n_cols,
             .n_parts = p->n_threads,
             .tiles = (unsigned char *)k->scratch + p->tiles};
    const sg_dim depth = p->turned ? p->w.n_cols : p->w.n_rows;

    (void)err;
    j.w.data = k->in[1]->data;
    j.unit = p->turned ? 8 : SG_MAX(sg_dtype_block(p->w.type), (sg_dim)32);
    if (p->m <= SG_PACKED_FEW) {
        if (p->fixed && fix_rows(p, j.x, k->scratch))
            j.laid = k->scratch;
        sg_split(j.n_parts, p->m * depth * j.n_out / j.n_parts, p->n_threads, few, &j);
        return SG_OK;
    }
    j.laid = k->scratch;
    for (sg_dim r = 0; r < p->m; r += SG_PACKED_ROWS) {
        j.m = SG_MIN((sg_dim)SG_PACKED_ROWS, p->m - r);
        j.x = (const float *)k->in[0]->data + r * p->ldx;
        j.y = (float *)k->out->data + r * j.n_out;
        const sg_dim groups = (j.m + p->kernels->tile_rows - 1) / p->kernels->tile_rows;
        sg_split(groups, p->kernels->tile_rows * depth, p->n_threads, lay_out, &j);
        sg_split(j.n_parts, j.m * depth * j.n_out / j.n_parts, p->n_threads, tiles, &j);
    }
    return SG_OK;
}

/* ---- choosing ---- */

/* What this processor has, or less where SIGHTGLASS_ISA says so; NULL: nothing beyond the reference. */
static const sg_packed_kernels *choose(const sg_backend *self, bool *low)
{
    const char *most = getenv("SIGHTGLASS_ISA");
    const bool named = most && most[0];

    __builtin_cpu_init();
    *low = __builtin_cpu_supports("avx512bf16") != 0;
    if (self == &sg_backend_packed && (!named || strcmp(most, "avx512") == 0) && *low &&
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
        return &sg_packed_avx512;
    if ((!named || strcmp(most, "reference") != 0) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma")) /* and so F16C, which clang cannot ask for */
        return &sg_packed_avx2;
    return NULL;
}

static bool prepare(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out)
{
    bool has_low;

    if (strcmp(k->op->name, "matmul") != 0 || !sg_is_packed(k->in[1]->dtype) || k->out->dtype != SG_F32)
        return false;
    const sg_view *x = k->in[0], *w = k->in[1];
    const sg_packed_kernels *kernels = choose(self, &has_low);
    if (!kernels || x->dtype != SG_F32 || (x->dims[1] > 1 && x->strides[1] != 1) || sg_view_count(k->out) == 0 ||
        x->dims[1] == 0)
        return false;
    product *p = malloc(sizeof *p);
    if (!p)
        return false;
    *p = (product){.kernels = kernels,
                   .w = {.type = w->dtype,
                         .n_rows = w->dims[0],
                         .n_cols = w->dims[1],
                         .row_bytes = (size_t)(w->dims[1] / sg_dtype_block(w->dtype)) * sg_dtype_block_bytes(w->dtype)},
                   .m = x->dims[0],
                   .ldx = x->dims[0] > 1 ? x->strides[0] : x->dims[1],
                   .turned = k->i[1] != 0,
                   .biased = k->n_in == 3,
                   .n_threads = SG_MAX(k->n_threads, 1)};
    const size_t depth = (size_t)(p->turned ? p->w.n_cols : p->w.n_rows);
    size_t bytes = 0;
    if (p->m > SG_PACKED_FEW) {
        const size_t tile_rows = (size_t)kernels->tile_rows;
        p->low = k->compute == SG_BF16 && kernels->low && has_low && p->turned;
        const size_t units = p->low ? (depth + 1) / 2 : depth;
        const size_t rows = ((size_t)SG_MIN(p->m, (sg_dim)SG_PACKED_ROWS) + tile_rows - 1) / tile_rows * tile_rows;
        p->tiles = (rows * units * sizeof(float) + 63) / 64 * 64;
        bytes = p->tiles + (size_t)p->n_threads * SG_PACKED_TILE;
    } else if (kernels->fix && p->w.type == SG_Q4_K && p->turned && p->m <= SG_PACKED_FIXED) {
        p->fixed = true;
        bytes = (size_t)p->m * (depth / 256) * sizeof(sg_packed_fixed);
    }
    *out = (sg_prepared){.run = run, .self = p, .release = free, .scratch_bytes = bytes};
    return true;
}

const sg_backend sg_backend_packed = {.name = "packed", .prepare = prepare};
const sg_backend sg_backend_packed_avx2 = {.name = "packed", .prepare = prepare};
