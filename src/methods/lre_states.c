/* What a model holds and says on prompts; which samples of a relation it knows; and what it says of states. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/lre_internal.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { STREAM_OF_SAMPLES = 11 };

/* ---- states ---- */

typedef struct owned_states {
    sg_lre_states face;
    sg_arena *arena;
    int32_t *top;
    float *p, *o, **s;
    sg_dim *width;
} owned_states;

typedef struct look {
    sg_glass *glass;
    sg_value **fetches; /* of the last token: likeliest token, log-probabilities; then sites, then the target */
    sg_tensor *out;
    int n_fetches;
    const int32_t **rows;
    sg_dim *lengths;
} look;

static sg_status width_of(const sg_value *v, const char *name, sg_dim *out, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (strncmp(sg_value_axes(v), "bt", 2) != 0)
        return sg_fail(err, SG_ESHAPE, "lre: %s is %s, wanted floats by row and position", name,
                       sg_value_shape_text(v, shape));
    *out = 1;
    for (int k = 2; k < sg_value_n_dims(v); k++)
        *out *= sg_value_dim(v, k);
    return SG_OK;
}

static sg_status prepare(owned_states *st, look *l, const sg_model *m, int n, bool keep_o, sg_lre_opts opts,
                         sg_error *err)
{
    char last[48];
    sg_glass_opts how = sg_glass_defaults();
    sg_value *logits;
    const size_t n_sites = (size_t)opts.n_sites, most = n_sites + 3;
    how.exec = opts.exec;
    SG_TRY(sg_glass_new(&l->glass, m, how, err));
    sg_graph *g = sg_glass_graph(l->glass);
    l->fetches = sg_arena_array(st->arena, most, sizeof *l->fetches);
    l->out = sg_arena_array(st->arena, most, sizeof *l->out);
    l->rows = sg_arena_array(st->arena, (size_t)opts.batch, sizeof *l->rows);
    l->lengths = sg_arena_array(st->arena, (size_t)opts.batch, sizeof *l->lengths);
    st->top = sg_arena_array(st->arena, (size_t)n, sizeof *st->top);
    st->p = sg_arena_array(st->arena, (size_t)n, sizeof *st->p);
    st->width = sg_arena_array(st->arena, n_sites + 1, sizeof *st->width);
    st->s = sg_arena_array(st->arena, n_sites + 1, sizeof *st->s);
    if (!l->fetches || !l->out || !l->rows || !l->lengths || !st->top || !st->p || !st->width || !st->s)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory for %d prompts", n);
    SG_TRY(sg_glass_find(l->glass, "logits", &logits, err));
    l->fetches[l->n_fetches++] = sg_argmax(g, logits, -1, false);
    l->fetches[l->n_fetches++] = sg_log_softmax(g, logits, -1);
    for (int i = 0; i < opts.n_sites; i++) {
        SG_TRY(sg_glass_find(l->glass, opts.sites[i], &l->fetches[l->n_fetches], err));
        SG_TRY(width_of(l->fetches[l->n_fetches++], opts.sites[i], &st->width[i], err));
        st->s[i] = sg_arena_array(st->arena, (size_t)(n * st->width[i]), sizeof(float));
        if (!st->s[i])
            return sg_fail(err, SG_ENOMEM, "lre: out of memory for %d prompts", n);
    }
    if (keep_o) {
        sg_lre_last(last, m);
        const char *target = opts.target ? opts.target : last;
        SG_TRY(sg_glass_find(l->glass, target, &l->fetches[l->n_fetches], err));
        SG_TRY(width_of(l->fetches[l->n_fetches++], target, &st->face.d_o, err));
        st->o = sg_arena_array(st->arena, (size_t)(n * st->face.d_o), sizeof(float));
        if (!st->o)
            return sg_fail(err, SG_ENOMEM, "lre: out of memory for %d prompts", n);
    }
    return sg_graph_status(g, err);
}

static void take(float *to, const sg_tensor *from, sg_dim row, sg_dim place, sg_dim width)
{
    const sg_dim at = (row * from->dims[1] + place) * width;
    for (sg_dim i = 0; i < width; i++)
        to[i] = (float)sg_tensor_get(from, at + i);
}

static sg_status run_states(owned_states *st, look *l, int n, const sg_fact_prompt *prompts, bool keep_o,
                            sg_lre_opts opts, sg_error *err)
{
    for (int first = 0; first < n; first += (int)opts.batch) {
        const int count = (int)SG_MIN((sg_dim)(n - first), opts.batch);
        if (opts.cancel && *opts.cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped at prompt %d of %d", first, n);
        for (int i = 0; i < count; i++) {
            l->rows[i] = prompts[first + i].tokens;
            l->lengths[i] = prompts[first + i].n;
        }
        const sg_rows rows = {.n_rows = count, .tokens = l->rows, .lengths = l->lengths};
        SG_TRY(sg_glass_run(l->glass, &rows, 0, NULL, l->n_fetches, l->fetches, l->out, err));
        for (int i = 0; i < count; i++) {
            const sg_fact_prompt *p = &prompts[first + i];
            const sg_dim time = l->out[0].dims[1], vocab = l->out[1].dims[2], last = i * time + p->n - 1;
            st->top[first + i] = (int32_t)sg_tensor_get(&l->out[0], last);
            st->p[first + i] = p->object >= 0 && p->object < vocab
                                   ? (float)exp(sg_tensor_get(&l->out[1], last * vocab + p->object))
                                   : 0;
            for (int k = 0; k < opts.n_sites; k++)
                take(st->s[k] + (first + i) * st->width[k], &l->out[2 + k], i, p->subject, st->width[k]);
            if (keep_o)
                take(st->o + (first + i) * st->face.d_o, &l->out[2 + opts.n_sites], i, p->n - 1, st->face.d_o);
        }
    }
    return SG_OK;
}

sg_status sg_lre_states_new(sg_lre_states **out, const sg_model *m, int n, const sg_fact_prompt *prompts, bool keep_o,
                            sg_lre_opts opts, sg_error *err)
{
    *out = NULL;
    if (n < 1 || opts.batch < 1)
        return sg_fail(err, SG_EARG, "lre: %d prompts in batches of %" PRId64, n, opts.batch);
    if (sg_model_get_info(m)->task != SG_TASK_NEXT)
        return sg_fail(err, SG_EUNSUPPORTED, "lre: %s does not go on with a text", sg_model_get_info(m)->path);
    sg_arena *arena = sg_arena_new();
    owned_states *st = arena ? sg_arena_alloc(arena, sizeof *st) : NULL;
    if (!st) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    }
    look l = {.glass = NULL};
    st->arena = arena;
    sg_status status = prepare(st, &l, m, n, keep_o, opts, err);
    if (status == SG_OK)
        status = run_states(st, &l, n, prompts, keep_o, opts, err);
    sg_glass_free(l.glass);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    st->face.n = n;
    st->face.n_sites = opts.n_sites;
    st->face.width = st->width;
    st->face.s = st->s;
    st->face.o = st->o;
    st->face.top = st->top;
    st->face.p = st->p;
    *out = &st->face;
    return SG_OK;
}

void sg_lre_states_free(sg_lre_states *s)
{
    if (s)
        sg_arena_free(((owned_states *)s)->arena);
}

/* ---- data ---- */

typedef struct owned_data {
    sg_lre_data face;
    int *order, *train, *tests;
    uint8_t *known;
} owned_data;

void sg_lre_data_free(sg_lre_data *d)
{
    owned_data *o = (owned_data *)d;
    if (!o)
        return;
    sg_prompts_free(d->train);
    sg_prompts_free(d->tests);
    sg_lre_states_free(d->states);
    free(o->order);
    free(o->train);
    free(o->tests);
    free(o->known);
    free(o);
}

static void shuffle(int *order, int n, uint64_t seed)
{
    sg_rng g = sg_rng_new(seed, STREAM_OF_SAMPLES);
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        const int other = (int)sg_rng_below(&g, (uint32_t)i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

/* Adds the prompts of samples, each behind the shots but itself; at most `most` shots. */
static sg_status add_prompts(sg_prompts *to, const sg_lre_source *source, int n, const int *samples, int n_shots,
                             const int *shots, sg_error *err)
{
    int *others = malloc((size_t)SG_MAX(n_shots, 1) * sizeof *others);
    sg_status status = others ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        int count = 0;
        for (int k = 0; k < n_shots; k++)
            if (shots[k] != samples[i])
                others[count++] = shots[k];
        /* As many shots as a prompt that is fitted has, so that both are prompts of one kind. */
        status = source->prompt(source->self, to, SG_MIN(count, n_shots - 1), others, samples[i], err);
    }
    free(others);
    return status;
}

/* Which of samples the model completes rightly, behind the first n of them. */
static sg_status ask(uint8_t *right, const sg_model *m, const sg_lre_source *source, int n_samples, const int *samples,
                     sg_lre_opts opts, sg_error *err)
{
    sg_prompts *p;
    sg_lre_states *states = NULL;
    sg_lre_opts how = opts;
    how.n_sites = 0;
    SG_TRY(sg_prompts_new(&p, err));
    sg_status status = add_prompts(p, source, n_samples, samples, opts.n, samples, err);
    if (status == SG_OK)
        status = sg_lre_states_new(&states, m, p->n, p->at, false, how, err);
    for (int i = 0; i < n_samples && status == SG_OK; i++)
        right[i] = states->top[i] == p->at[i].object;
    sg_lre_states_free(states);
    sg_prompts_free(p);
    return status;
}

static sg_status split(owned_data *o, const sg_model *m, const sg_lre_source *source, sg_lre_opts opts, sg_error *err)
{
    sg_lre_data *d = &o->face;
    const int n = source->n_samples, looked_at = SG_MIN(n, opts.n_tests + 4 * opts.n);
    shuffle(o->order, n, opts.seed);
    SG_TRY(ask(o->known, m, source, looked_at, o->order, opts, err));
    int n_train = 0, n_right = 0;
    for (int i = 0; i < looked_at; i++)
        n_right += o->known[i];
    d->fits_known = n_right >= opts.n;
    for (int i = 0; i < looked_at; i++) {
        if (n_train < opts.n && (o->known[i] || !d->fits_known))
            o->train[n_train++] = o->order[i];
        else if (d->n_tests < opts.n_tests)
            o->tests[d->n_tests++] = o->order[i];
    }
    SG_TRY(sg_prompts_new(&d->train, err));
    SG_TRY(sg_prompts_new(&d->tests, err));
    SG_TRY(add_prompts(d->train, source, opts.n, o->train, opts.n, o->train, err));
    SG_TRY(add_prompts(d->tests, source, d->n_tests, o->tests, opts.n, o->train, err));
    SG_TRY(sg_lre_states_new(&d->states, m, d->n_tests, d->tests->at, true, opts, err));
    for (int i = 0; i < d->n_tests; i++)
        d->n_known += o->known[i] = d->states->top[i] == d->tests->at[i].object;
    d->known = o->known;
    d->train_samples = o->train;
    d->test_samples = o->tests;
    return SG_OK;
}

sg_status sg_lre_data_new(sg_lre_data **out, const sg_model *m, const sg_lre_source *source, sg_lre_opts opts,
                          sg_error *err)
{
    *out = NULL;
    if (opts.n < 1 || opts.n_tests < 1 || source->n_samples < opts.n + 1)
        return sg_fail(err, SG_EARG,
                       "lre: %d samples, %d prompts to fit and %d tests, wanted one sample more than prompts at least",
                       source->n_samples, opts.n, opts.n_tests);
    owned_data *o = calloc(1, sizeof *o);
    const size_t n = (size_t)source->n_samples;
    if (!o)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    o->order = malloc(n * sizeof *o->order);
    o->train = malloc((size_t)opts.n * sizeof *o->train);
    o->tests = malloc((size_t)opts.n_tests * sizeof *o->tests);
    o->known = malloc(n);
    const sg_status status = o->order && o->train && o->tests && o->known
                                 ? split(o, m, source, opts, err)
                                 : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    if (status != SG_OK) {
        sg_lre_data_free(&o->face);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

/* ---- the reader ---- */

enum { READ = 128 }; /* states at once */

struct sg_lre_reader {
    sg_glass *glass;
    char target[48];
    sg_value *logits, *top, *fed, *seed, *pulled;
    sg_dim width, n_vocab;
    const int32_t *rows[READ];
    sg_dim lengths[READ];
    void *numbers; /* [READ,1,width] of what the model computes in */
    void *seeds;   /* [1,1,V] */
};

sg_status sg_lre_reader_new(sg_lre_reader **out, const sg_model *m, const char *target, sg_exec_opts exec,
                            sg_error *err)
{
    static const int32_t any = 0;
    sg_lre_reader *r = calloc(1, sizeof *r);
    sg_glass_opts how = sg_glass_defaults();
    *out = NULL;
    if (!r)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    how.exec = exec;
    sg_lre_last(r->target, m);
    sg_status status = sg_glass_new(&r->glass, m, how, err);
    if (status == SG_OK && target && strcmp(target, r->target) != 0)
        status = sg_fail(err, SG_EUNSUPPORTED, "lre: states of %s are not what the unembedding reads, %s is", target,
                         r->target);
    if (status == SG_OK)
        status = sg_glass_find(r->glass, r->target, &r->fed, err);
    if (status == SG_OK)
        status = sg_glass_find(r->glass, "logits", &r->logits, err);
    if (status == SG_OK) {
        sg_graph *g = sg_glass_graph(r->glass);
        r->width = sg_value_dim(r->fed, -1);
        r->n_vocab = sg_value_dim(r->logits, -1);
        r->top = sg_argmax(g, r->logits, -1, false);
        r->seed = sg_input(g, "lre.seed", sg_value_dtype(r->logits), 3, sg_value_dims(r->logits));
        sg_gradients(g, r->logits, r->seed, 1, &r->fed, &r->pulled);
        status = sg_graph_status(g, err);
        r->numbers = calloc((size_t)(READ * r->width), sizeof(double));
        r->seeds = calloc((size_t)r->n_vocab, sizeof(double));
        if (status == SG_OK && (!r->numbers || !r->seeds))
            status = sg_fail(err, SG_ENOMEM, "lre: out of memory");
    }
    for (int i = 0; i < READ; i++) {
        r->rows[i] = &any;
        r->lengths[i] = 1;
    }
    if (status != SG_OK) {
        sg_lre_reader_free(r);
        return status;
    }
    *out = r;
    return SG_OK;
}

void sg_lre_reader_free(sg_lre_reader *r)
{
    if (!r)
        return;
    sg_glass_free(r->glass);
    free(r->numbers);
    free(r->seeds);
    free(r);
}

static sg_tensor put(sg_lre_reader *r, sg_dim n, const float *o)
{
    sg_tensor t = sg_tensor_of(sg_value_dtype(r->fed), 3, (sg_dim[]){n, 1, r->width}, r->numbers);
    for (sg_dim i = 0; i < n * r->width; i++)
        sg_tensor_set(&t, i, (double)o[i]);
    return t;
}

sg_status sg_lre_read(sg_lre_reader *r, sg_dim n, const float *o, int32_t *top, const int32_t *token, int32_t *rank,
                      sg_error *err)
{
    for (sg_dim first = 0; first < n; first += READ) {
        const sg_dim count = SG_MIN(n - first, (sg_dim)READ);
        sg_value *const fetches[2] = {r->top, r->logits};
        sg_tensor got[2];
        const sg_rows rows = {.n_rows = (int)count, .tokens = r->rows, .lengths = r->lengths};
        const sg_named_feed feed = {r->target, put(r, count, o + first * r->width)};
        SG_TRY(sg_glass_run(r->glass, &rows, 1, &feed, rank ? 2 : 1, fetches, got, err));
        for (sg_dim i = 0; i < count; i++) {
            top[first + i] = (int32_t)sg_tensor_get(&got[0], i);
            if (!rank)
                continue;
            const int32_t which = token[first + i];
            rank[first + i] = -1;
            if (which < 0 || which >= r->n_vocab)
                continue;
            const double own = sg_tensor_get(&got[1], i * r->n_vocab + which);
            int32_t above = 0;
            for (sg_dim t = 0; t < r->n_vocab; t++)
                above += sg_tensor_get(&got[1], i * r->n_vocab + t) > own;
            rank[first + i] = above;
        }
    }
    return SG_OK;
}

sg_status sg_lre_word(float *direction, sg_lre_reader *r, const float *o, int32_t token, sg_error *err)
{
    if (token < 0 || token >= r->n_vocab)
        return sg_fail(err, SG_EARG, "lre: token %" PRId32 " is outside the vocabulary", token);
    sg_tensor seed = sg_tensor_of(sg_value_dtype(r->logits), 3, (sg_dim[]){1, 1, r->n_vocab}, r->seeds);
    const sg_named_feed feeds[2] = {{r->target, put(r, 1, o)}, {"lre.seed", seed}};
    const sg_rows rows = {.n_rows = 1, .tokens = r->rows, .lengths = r->lengths};
    sg_tensor got;
    sg_tensor_set(&seed, token, 1);
    const sg_status status = sg_glass_run(r->glass, &rows, 2, feeds, 1, &r->pulled, &got, err);
    sg_tensor_set(&seed, token, 0);
    SG_TRY(status);
    for (sg_dim i = 0; i < r->width; i++)
        direction[i] = (float)sg_tensor_get(&got, i);
    return SG_OK;
}
