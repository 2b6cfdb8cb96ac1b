/* Making and executing primitives. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/onednn/prepared.h"
#include "exec/packs.h"

/* The primitive, and one to change the layout of each of its arguments; each may want a scratchpad. */
#define MAX_STAGES (SG_ONEDNN_MAX_ARGS + 1)
#define MAX_PLACES (2 * SG_ONEDNN_MAX_ARGS + MAX_STAGES)
#define IN_SCRATCH (-2)

/* Memory of some layout: one of the step's views, or a part of its scratch. */
typedef struct place {
    dnnl_memory_desc_t md;
    int view; /* index into k->in, SG_ONEDNN_OUT or IN_SCRATCH */
    size_t offset;
} place;

typedef struct stage {
    dnnl_primitive_t primitive;
    bool copies; /* from one layout into another */
    int n_args;
    int name[SG_ONEDNN_MAX_ARGS + 1], place[SG_ONEDNN_MAX_ARGS + 1];
} stage;

typedef struct context {
    atomic_flag busy;
    struct context *next; /* fixed once the context is in the list */
    dnnl_stream_t stream;
    dnnl_memory_t memory[MAX_PLACES];
    dnnl_exec_arg_t args[MAX_STAGES][SG_ONEDNN_MAX_ARGS + 1];
} context;

typedef struct pool {
    _Atomic(context *) first; /* contexts are added in front and leave with the pool */
} pool;

typedef struct prepared {
    dnnl_engine_t engine;
    pool *pool;
    int n_threads, n_stages, n_places;
    stage stages[MAX_STAGES];
    place places[MAX_PLACES];
    size_t scratch_bytes;
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
    for (int i = 0; i < MAX_PLACES; i++)
        if (c->memory[i])
            dnnl_memory_destroy(c->memory[i]);
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
    for (int i = 0; i < p->n_places && ok; i++)
        ok = dnnl_memory_create(&c->memory[i], &p->places[i].md, p->engine, DNNL_MEMORY_NONE) == dnnl_success;
    for (int s = 0; s < p->n_stages; s++)
        for (int i = 0; i < p->stages[s].n_args; i++)
            c->args[s][i] = (dnnl_exec_arg_t){p->stages[s].name[i], c->memory[p->stages[s].place[i]]};
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

typedef struct copying {
    const prepared *p;
    context *c;
    int stage;
} copying;

static bool fill(void *at, void *to)
{
    const copying *f = at;
    context *c = f->c;
    const stage *s = &f->p->stages[f->stage];

    return dnnl_memory_set_data_handle_v2(c->memory[s->place[1]], to, c->stream) == dnnl_success &&
           dnnl_primitive_execute(s->primitive, c->stream, s->n_args, c->args[f->stage]) == dnnl_success &&
           dnnl_stream_wait(c->stream) == dnnl_success;
}

/* Whether stage s copies what never changes into another layout, and a copy of it is at hand now. */
static bool copied_before(const prepared *p, const sg_kernel_args *k, context *c, int s)
{
    const stage *at = &p->stages[s];
    const place *from = &p->places[at->place[0]], *to = &p->places[at->place[1]];
    copying f = {p, c, s};

    if (!at->copies || from->view < 0 || !(k->fixed >> from->view & 1) || !k->packs)
        return false;
    const uint64_t layout = sg_hash(&to->md, sizeof to->md, sg_hash(&from->md, sizeof from->md, 0));
    void *data = sg_packs_get(k->packs, k->in[from->view]->data, layout, dnnl_memory_desc_get_size(&to->md), fill, &f);
    return data && dnnl_memory_set_data_handle_v2(c->memory[at->place[1]], data, c->stream) == dnnl_success;
}

static sg_status execute(const sg_kernel_args *k, sg_error *err)
{
    const prepared *p = k->self;
    context *c = context_take(p);
    bool ok = true;

    if (!c)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for a oneDNN context", k->op->name);
    for (int i = 0; i < p->n_places && ok; i++) {
        const place *at = &p->places[i];
        void *data = at->view == IN_SCRATCH      ? (char *)k->scratch + at->offset
                     : at->view == SG_ONEDNN_OUT ? k->out->data
                                                 : k->in[at->view]->data;
        ok = dnnl_memory_set_data_handle_v2(c->memory[i], data, c->stream) == dnnl_success;
    }
    const int before = set_threads(p->n_threads);
    for (int s = 0; s < p->n_stages && ok; s++)
        ok = copied_before(p, k, c, s) ||
             dnnl_primitive_execute(p->stages[s].primitive, c->stream, p->stages[s].n_args, c->args[s]) == dnnl_success;
    ok = ok && dnnl_stream_wait(c->stream) == dnnl_success;
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
    for (int s = 0; s < MAX_STAGES; s++)
        if (p->stages[s].primitive)
            dnnl_primitive_destroy(p->stages[s].primitive);
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

static int add_place(prepared *p, const dnnl_memory_desc_t *md, int view)
{
    const size_t bytes = dnnl_memory_desc_get_size(md);

    p->places[p->n_places] = (place){.md = *md, .view = view, .offset = p->scratch_bytes};
    if (view == IN_SCRATCH)
        p->scratch_bytes += (bytes + 63) / 64 * 64;
    return p->n_places++;
}

/* Adds a stage that runs pd, whose arguments s tells so far; takes pd. */
static bool add_stage(prepared *p, dnnl_primitive_desc_t pd, stage s)
{
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    stage *to = &p->stages[p->n_stages];

    if (pad && dnnl_memory_desc_get_size(pad) > 0) {
        s.name[s.n_args] = DNNL_ARG_SCRATCHPAD;
        s.place[s.n_args++] = add_place(p, pad, IN_SCRATCH);
    }
    *to = s;
    const bool ok = !is_reference(pd) && dnnl_primitive_create(&to->primitive, pd) == dnnl_success;
    p->n_stages += ok;
    dnnl_primitive_desc_destroy(pd);
    return ok;
}

/* A stage that copies from one place to another. */
static bool add_copy(prepared *p, const_dnnl_primitive_attr_t attr, int from, int to)
{
    dnnl_primitive_desc_t pd = NULL;

    return dnnl_reorder_primitive_desc_create(&pd, &p->places[from].md, p->engine, &p->places[to].md, p->engine,
                                              attr) == dnnl_success &&
           add_stage(p, pd,
                     (stage){.copies = true, .n_args = 2, .name = {DNNL_ARG_FROM, DNNL_ARG_TO}, .place = {from, to}});
}

/* The stages around pd, which it takes. */
static bool make_stages(prepared *p, dnnl_primitive_desc_t pd, const_dnnl_primitive_attr_t attr, int n_args,
                        const sg_onednn_arg *args)
{
    stage own = {.n_args = n_args};
    int given = -1, made = -1; /* the result's place, and where it is made if that is another */
    bool ok = true;

    for (int i = 0; i < n_args && ok; i++) {
        const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, args[i].name);
        int at = add_place(p, &args[i].md, args[i].view);
        ok = md != NULL;
        if (ok && !dnnl_memory_desc_equal(md, &args[i].md)) {
            const int other = add_place(p, md, IN_SCRATCH);
            if (args[i].view == SG_ONEDNN_OUT) {
                given = at;
                made = other;
            } else {
                ok = add_copy(p, attr, at, other);
            }
            at = other;
        }
        own.name[i] = args[i].name;
        own.place[i] = at;
    }
    if (!ok) {
        dnnl_primitive_desc_destroy(pd);
        return false;
    }
    return add_stage(p, pd, own) && (given < 0 || add_copy(p, attr, made, given));
}

static bool make(prepared *p, const_dnnl_op_desc_t desc, const_dnnl_op_desc_t hint, int n_args,
                 const sg_onednn_arg *args)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL, hint_pd = NULL;
    const bool ok = dnnl_engine_create(&p->engine, dnnl_cpu, 0) == dnnl_success &&
                    dnnl_primitive_attr_create(&attr) == dnnl_success &&
                    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
                    (!hint || dnnl_primitive_desc_create(&hint_pd, hint, attr, p->engine, NULL) == dnnl_success) &&
                    dnnl_primitive_desc_create(&pd, desc, attr, p->engine, hint_pd) == dnnl_success &&
                    make_stages(p, pd, attr, n_args, args);

    if (hint_pd)
        dnnl_primitive_desc_destroy(hint_pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return ok;
}

bool sg_onednn_prepare_any(const_dnnl_op_desc_t desc, const_dnnl_op_desc_t hint, int n_args, const sg_onednn_arg *args,
                           int n_threads, sg_prepared *out)
{
    prepared *p = calloc(1, sizeof *p);

    SG_ASSERT(n_args <= SG_ONEDNN_MAX_ARGS);
    if (!p)
        return false;
    p->n_threads = n_threads;
    p->pool = calloc(1, sizeof *p->pool);
    const int before = set_threads(n_threads);
    const bool made = p->pool && memory_to_spare() && make(p, desc, hint, n_args, args);
    set_threads(before);
    context *c = made ? context_new(p) : NULL;
    if (!c) {
        release(p);
        return false;
    }
    atomic_init(&p->pool->first, c);
    *out = (sg_prepared){.run = execute, .self = p, .release = release, .scratch_bytes = p->scratch_bytes};
    for (int s = 0; s < p->n_stages; s++) {
        const int view = p->stages[s].copies ? p->places[p->stages[s].place[0]].view : -1;
        if (view >= 0 && view < (int)SG_COUNT_OF(out->packed_bytes))
            out->packed_bytes[view] += dnnl_memory_desc_get_size(&p->places[p->stages[s].place[1]].md);
    }
    return true;
}

bool sg_onednn_prepare(const_dnnl_op_desc_t desc, int n_args, const sg_onednn_arg *args, int n_threads,
                       sg_prepared *out)
{
    return sg_onednn_prepare_any(desc, NULL, n_args, args, n_threads, out);
}
