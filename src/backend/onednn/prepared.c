/* Making and executing primitives. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/onednn/prepared.h"

typedef struct context {
    atomic_flag busy;
    struct context *next; /* fixed once the context is in the list */
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[SG_ONEDNN_MAX_ARGS + 1]; /* the scratchpad last */
} context;

typedef struct pool {
    _Atomic(context *) first; /* contexts are added in front and leave with the pool */
} pool;

typedef struct prepared {
    dnnl_engine_t engine;
    dnnl_primitive_t primitive;
    pool *pool;
    int n_threads;
    int n_args; /* without the scratchpad */
    sg_onednn_arg args[SG_ONEDNN_MAX_ARGS];
    dnnl_memory_desc_t scratchpad;
    bool has_scratchpad;
} prepared;

/* oneDNN asks OpenMP for the number of threads, when a primitive is made and again when it runs; the scratchpad is
 * sized by the first, so the second must be the same. The number belongs to the calling thread: it is set and put back.
 */
static int set_threads(int n)
{
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    if (n != before)
        omp_set_num_threads(SG_MAX(n, 1));
    return before;
#else
    return n;
#endif
}

/* ---- contexts ---- */

static void context_free(context *c)
{
    for (int i = 0; i <= SG_ONEDNN_MAX_ARGS; i++)
        if (c->args[i].memory)
            dnnl_memory_destroy(c->args[i].memory);
    if (c->stream)
        dnnl_stream_destroy(c->stream);
    free(c);
}

static context *context_new(const prepared *p)
{
    context *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    atomic_flag_clear(&c->busy);
    bool ok = dnnl_stream_create(&c->stream, p->engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; i < p->n_args + p->has_scratchpad && ok; i++) {
        c->args[i].arg = i < p->n_args ? p->args[i].name : DNNL_ARG_SCRATCHPAD;
        ok = dnnl_memory_create(&c->args[i].memory, i < p->n_args ? &p->args[i].md : &p->scratchpad, p->engine,
                                DNNL_MEMORY_NONE) == dnnl_success;
    }
    if (!ok) {
        context_free(c);
        return NULL;
    }
    return c;
}

static context *context_take(const prepared *p)
{
    for (context *c = atomic_load_explicit(&p->pool->first, memory_order_acquire); c; c = c->next)
        if (!atomic_flag_test_and_set_explicit(&c->busy, memory_order_acquire))
            return c;

    context *c = context_new(p);
    if (c) {
        atomic_flag_test_and_set(&c->busy);
        c->next = atomic_load(&p->pool->first);
        while (!atomic_compare_exchange_weak(&p->pool->first, &c->next, c))
            ;
    }
    return c;
}

static void context_give(context *c)
{
    atomic_flag_clear_explicit(&c->busy, memory_order_release);
}

/* ---- the kernel ---- */

static sg_status execute(const sg_kernel_args *k, sg_error *err)
{
    const prepared *p = k->self;
    context *c = context_take(p);
    bool ok = true;

    if (!c)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for a oneDNN context", k->op->name);
    for (int i = 0; i < p->n_args + p->has_scratchpad && ok; i++) {
        const int view = i < p->n_args ? p->args[i].view : 0;
        void *data = i == p->n_args ? k->scratch : view == SG_ONEDNN_OUT ? k->out->data : k->in[view]->data;
        ok = dnnl_memory_set_data_handle_v2(c->args[i].memory, data, c->stream) == dnnl_success;
    }
    const int before = set_threads(p->n_threads);
    ok = ok &&
         dnnl_primitive_execute(p->primitive, c->stream, p->n_args + p->has_scratchpad, c->args) == dnnl_success &&
         dnnl_stream_wait(c->stream) == dnnl_success;
    set_threads(before);
    context_give(c);
    return ok ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: oneDNN failed to execute it", k->op->name);
}

static void release(void *self)
{
    prepared *p = self;

    for (context *c = p->pool ? atomic_load(&p->pool->first) : NULL; c;) {
        context *next = c->next;
        context_free(c);
        c = next;
    }
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    if (p->engine)
        dnnl_engine_destroy(p->engine);
    free(p->pool);
    free(p);
}

/* ---- preparing ---- */

/* oneDNN 2.6 generates code as it makes a primitive and ends in a signal when that finds no memory. So it is only let
 * near it while there is plenty, which is asked of the system as it would ask (and costs 2 us). */
static bool memory_to_spare(void)
{
    const size_t bytes = (size_t)16 << 20;
    void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return probe != MAP_FAILED && munmap(probe, bytes) == 0;
}

static bool is_reference(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;

    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) != dnnl_success || !name ||
           strncmp(name, "ref", 3) == 0;
}

static bool make(prepared *p, const_dnnl_op_desc_t desc, size_t *scratch_bytes)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bool ok = dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success &&
              dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
              dnnl_primitive_desc_create(&pd, desc, attr, p->engine, NULL) == dnnl_success && !is_reference(pd) &&
              dnnl_primitive_create(&p->primitive, pd) == dnnl_success;

    if (ok) {
        const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        *scratch_bytes = md ? dnnl_memory_desc_get_size(md) : 0;
        p->has_scratchpad = *scratch_bytes > 0;
        if (md)
            p->scratchpad = *md;
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return ok;
}

bool sg_onednn_prepare(const_dnnl_op_desc_t desc, int n_args, const sg_onednn_arg *args, int n_threads,
                       sg_prepared *out)
{
    prepared *p = calloc(1, sizeof *p);
    size_t scratch_bytes = 0;

    SG_ASSERT(n_args <= SG_ONEDNN_MAX_ARGS);
    if (!p)
        return false;
    p->n_threads = n_threads;
    p->n_args = n_args;
    memcpy(p->args, args, (size_t)n_args * sizeof *args);
    p->pool = calloc(1, sizeof *p->pool);
    const int before = set_threads(n_threads);
    const bool made = p->pool && memory_to_spare() && make(p, desc, &scratch_bytes);
    set_threads(before);
    context *c = made ? context_new(p) : NULL;
    if (!c) {
        release(p);
        return false;
    }
    atomic_init(&p->pool->first, c);
    *out = (sg_prepared){.run = execute, .self = p, .release = release, .scratch_bytes = scratch_bytes};
    return true;
}
