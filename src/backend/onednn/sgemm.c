/* Large plain products in f32 by oneDNN's sgemm, which is ahead of its matmul primitive there: docs/decisions/0002. */
#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/onednn/prepared.h"
#include "ops/iter.h"

#define CODE_BYTES ((size_t)16 * 327680)

typedef struct sgemm {
    sg_onednn_gemm shape;
    bool biased;
    int n_threads;
} sgemm;

typedef struct job {
    float *y;
    const float *bias;
    sg_dim n;
} job;

static void add_rows(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim r = first; r < last; r++) {
        float *y = j->y + r * j->n;
        SG_SIMD
        for (sg_dim i = 0; i < j->n; i++)
            y[i] += j->bias[i];
    }
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sgemm *s = k->self;
    const sg_onednn_gemm *g = &s->shape;
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    if (before != s->n_threads)
        omp_set_num_threads(s->n_threads);
#endif
    const dnnl_status_t status = dnnl_sgemm(g->turned_a ? 'T' : 'N', g->turned_b ? 'T' : 'N', g->m, g->n, g->inner, 1,
                                            k->in[0]->data, g->lda, k->in[1]->data, g->ldb, 0, k->out->data, g->n);
#ifdef _OPENMP
    if (before != s->n_threads)
        omp_set_num_threads(before);
#endif
    if (status != dnnl_success)
        return sg_fail(err, SG_ENOMEM, "%s: oneDNN failed to multiply", k->op->name);
    if (s->biased) {
        job j = {k->out->data, k->in[2]->data, g->n};
        sg_split(g->m, g->n, s->n_threads, add_rows, &j);
    }
    return SG_OK;
}

bool sg_onednn_sgemm(const sg_onednn_gemm *shape, bool biased, int n_threads, sg_prepared *out)
{
    sgemm *s = malloc(sizeof *s);

    if (!s)
        return false;
    *s = (sgemm){*shape, biased, n_threads};
    /* It writes its code at the first call and copies blocks of both operands: as measured, not as documented. */
    const sg_dim share = (shape->n + n_threads - 1) / n_threads;
    const size_t b = (size_t)SG_MIN(share, (sg_dim)12288) * (size_t)SG_MIN(shape->inner, (sg_dim)320);
    const size_t a = (size_t)SG_MIN(shape->m, (sg_dim)2048) * (size_t)SG_MIN(shape->inner, (sg_dim)384);
    *out = (sg_prepared){.run = run,
                         .self = s,
                         .release = free,
                         .hidden_bytes = (b + a) * (size_t)n_threads * sizeof(float),
                         .code_bytes = CODE_BYTES};
    return true;
}
