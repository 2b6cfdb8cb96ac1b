/* What this machine does at best, in the same run and under the same load as the rows. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "sightglass/ops.h"

#ifdef SG_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

#define EXTENT 2048
#define TRIES  4 /* each time; the best of all counts */
#define BYTES  ((size_t)512 << 20)

#ifdef SG_HAVE_ONEDNN
/* A product of two matrices in whatever layout oneDNN likes best; their numbers are all zero, which it does not notice.
 */
static double best_matmul(dnnl_data_type_t type)
{
    const dnnl_dims_t dims = {EXTENT, EXTENT};
    dnnl_engine_t engine = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_desc_t md[3];
    dnnl_matmul_desc_t desc;
    dnnl_exec_arg_t args[3] = {{.arg = DNNL_ARG_SRC}, {.arg = DNNL_ARG_WEIGHTS}, {.arg = DNNL_ARG_DST}};
    static const dnnl_query_t what[3] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
    double best = 0;
    bool ok = dnnl_engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
              dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;

    for (int i = 0; i < 3; i++)
        ok = ok && dnnl_memory_desc_init_by_tag(&md[i], 2, dims, type, dnnl_format_tag_any) == dnnl_success;
    ok = ok && dnnl_matmul_desc_init(&desc, &md[0], &md[1], NULL, &md[2]) == dnnl_success &&
         dnnl_primitive_desc_create(&pd, &desc, NULL, engine, NULL) == dnnl_success &&
         dnnl_primitive_create(&primitive, pd) == dnnl_success;
    for (int i = 0; i < 3; i++)
        ok = ok && dnnl_memory_create(&args[i].memory, dnnl_primitive_desc_query_md(pd, what[i], 0), engine,
                                      DNNL_MEMORY_ALLOCATE) == dnnl_success;
    for (int i = 0; ok && i < 2; i++) { /* any bytes do, but zeros might be cheaper: 1e-3 in f32 */
        void *numbers;
        ok = dnnl_memory_get_data_handle(args[i].memory, &numbers) == dnnl_success;
        for (size_t k = 0; ok && k < dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, what[i], 0)) / 4; k++)
            ((uint32_t *)numbers)[k] = 0x3a803d90u + (uint32_t)(k % 64);
    }
    for (int i = 0; ok && i < TRIES; i++) {
        const double start = sg_now();
        ok = dnnl_primitive_execute(primitive, stream, 3, args) == dnnl_success &&
             dnnl_stream_wait(stream) == dnnl_success;
        best = SG_MAX(best, 2.0 * EXTENT * EXTENT * EXTENT / (sg_now() - start));
    }
    for (int i = 0; i < 3; i++)
        if (args[i].memory)
            dnnl_memory_destroy(args[i].memory);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (stream)
        dnnl_stream_destroy(stream);
    if (engine)
        dnnl_engine_destroy(engine);
    return ok ? best : 0;
}
#endif

/* The same by the kernel that the engine itself chooses. */
static sg_status own_matmul(double *best, sg_error *err)
{
    const sg_dim dims[2] = {EXTENT, EXTENT};
    float *x = malloc((size_t)EXTENT * EXTENT * sizeof *x);
    sg_graph *g = sg_graph_new();
    sg_session *s = NULL;
    sg_tensor out;

    sg_value *a = sg_input(g, "a", SG_F32, 2, dims), *b = sg_input(g, "b", SG_F32, 2, dims);
    sg_value *c = sg_matmul(g, a, b, false, false);
    sg_status status = x ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a matrix");
    if (status == SG_OK)
        status = sg_session_new(&s, g, NULL, sg_exec_defaults(), err);
    const sg_feed feeds[2] = {{a, sg_tensor_of(SG_F32, 2, dims, x)}, {b, sg_tensor_of(SG_F32, 2, dims, x)}};
    for (int i = 0; x && i < EXTENT * EXTENT; i++)
        x[i] = (float)(i % 64) * 0.01f;
    for (int i = 0; i < TRIES && status == SG_OK; i++) {
        const double start = sg_now();
        status = sg_session_run(s, 2, feeds, 1, &c, &out, err);
        *best = SG_MAX(*best, 2.0 * EXTENT * EXTENT * EXTENT / (sg_now() - start));
    }
    sg_session_free(s);
    sg_graph_free(g);
    free(x);
    return status;
}

/* One stream of whole lines for each thread, asked for ahead: the processor's own prefetching stops at each page. */
static uint64_t sum_of(const uint64_t *x, size_t n)
{
    uint64_t sums[32] = {0}, sum = 0;

    for (size_t i = 0; i < n; i += 32) {
        for (int line = 0; line < 4; line++)
            __builtin_prefetch(x + i + 512 + 8 * line);
        for (int k = 0; k < 32; k++)
            sums[k] += x[i + (size_t)k];
    }
    for (int k = 0; k < 32; k++)
        sum += sums[k];
    return sum;
}

static double best_reading(int n_threads)
{
    const size_t n = BYTES / sizeof(uint64_t), parts = (size_t)SG_MAX(n_threads, 1);
    uint64_t *x = malloc(BYTES), found = 0;
    double best = 0;

    if (!x)
        return 0;
    memset(x, 1, BYTES);
    for (int t = 0; t < TRIES; t++) {
        const double start = sg_now();
        uint64_t sum = 0;
#ifdef _OPENMP
#pragma omp parallel for reduction(+ : sum) num_threads(n_threads) schedule(static, 1)
#endif
        for (size_t p = 0; p < parts; p++) {
            const size_t first = n / 32 * p / parts * 32, last = n / 32 * (p + 1) / parts * 32;
            sum += sum_of(x + first, last - first);
        }
        best = SG_MAX(best, (double)BYTES / (sg_now() - start));
        found += sum;
    }
    *(volatile uint64_t *)x = found; /* so that the sums are wanted */
    free(x);
    return best;
}

sg_status bench_measure_peaks(bench *b, sg_error *err)
{
    SG_TRY(own_matmul(&b->peak[BENCH_F32], err));
#ifdef SG_HAVE_ONEDNN
    b->peak[BENCH_F32] = SG_MAX(b->peak[BENCH_F32], best_matmul(dnnl_f32));
    b->peak[BENCH_BF16] = SG_MAX(b->peak[BENCH_BF16], best_matmul(dnnl_bf16));
#endif
    b->peak[BENCH_MEMORY] = SG_MAX(b->peak[BENCH_MEMORY], best_reading(b->n_threads));
    return SG_OK;
}
