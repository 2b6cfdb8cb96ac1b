/* The loop. A step is one of two things. With one batch: a run that computes everything, with the loss among its
 * fetches or, where it is read only now and then, without. With several: a run per batch that gathers gradients, then
 * one that updates. Each of these is a kind, with a plan and a run that are made when it is first wanted.
 *
 * With ranks the sums over them lie between the two runs, and each is begun while the last gathering run goes on. All
 * ranks call MPI alike in every step whatever befalls one of them: who fails takes part with the numbers that happen to
 * be there, says so beside the loss, and then all turn back, before anything is updated. */
#include "sightglass/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "exec/backend.h"
#include "graph/op.h"
#include "train/reduce.h"

typedef enum kind { QUIET, READ, GATHER, APPLY, N_KINDS } kind;

/* Feeds of every plan, in this order; those that the graph does not have are left out. */
enum { MAX_FEEDS = 3 + SG_SOURCE_FIELDS };

typedef struct prepared {
    sg_value **fetches;                /* first what is assigned, then loss, weight and norm as far as there are such */
    int n_fetches, loss, weight, norm; /* places among the fetches; -1: not there */
    sg_plan *plan;
    sg_run *run;
} prepared;

struct sg_train {
    sg_arena *arena;
    const sg_graph *g;
    sg_state *state;
    sg_train_graph what;
    sg_train_opts opts;
    prepared kinds[N_KINDS];
    kind last;
    sg_prefetch *prefetch;
    sg_dim next_batch; /* that the prefetch gives */
    sg_dim step;
    double loss, norm;
    /* what runs are fed from */
    sg_value *feeds[MAX_FEEDS];
    sg_tensor fed[MAX_FEEDS];
    int n_feeds, first_input;
    sg_dim n_batches; /* of a step */
    int32_t step_number;
    float lr;
    uint8_t is_first;
    /* what is summed over ranks */
    sg_value **sums;
    int n_sums;
    sg_reduce *reduce;           /* NULL where alone */
    bool ranks_ready, ranks_end; /* all have made their plans; one of them is to stop */
};

sg_train_opts sg_train_defaults(void)
{
    return (sg_train_opts){.lr = 1e-3, .read_every = 100, .overlap = true, .exec = sg_exec_defaults()};
}

/* ---- making one ---- */

static sg_status check_inputs(const sg_train_graph *what, const sg_source *source, sg_error *err)
{
    const int n = source ? source->n_fields : 0;
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    if (what->n_inputs != n)
        return sg_fail(err, SG_EARG, "train: %d inputs, the source has %d fields", what->n_inputs, n);
    for (int i = 0; i < n; i++) {
        const sg_value *v = what->inputs[i];
        const sg_tensor *t = &source->field[i];
        bool fits = sg_value_dtype(v) == t->dtype && sg_value_n_dims(v) == t->n_dims;
        for (int k = 0; fits && k < t->n_dims; k++)
            fits = sg_value_dim(v, k) < 0 || sg_value_dim(v, k) == t->dims[k];
        if (!fits)
            return sg_fail(err, SG_ESHAPE, "train: the source's field %d is %s %s, %s wants %s %s", i,
                           sg_dtype_name(t->dtype), sg_shape_text(found, t->n_dims, t->dims), sg_value_name(v),
                           sg_dtype_name(sg_value_dtype(v)), sg_value_shape_text(v, wanted));
    }
    return SG_OK;
}

static sg_status check(const sg_train_graph *what, const sg_train_opts *opts, sg_error *err)
{
    if (!what->step || sg_value_dtype(what->step) != SG_I32 || sg_value_n_dims(what->step) != 0)
        return sg_fail(err, SG_EARG, "train: step wants to be an i32 scalar");
    if (what->lr && (sg_value_dtype(what->lr) != SG_F32 || sg_value_n_dims(what->lr) != 0))
        return sg_fail(err, SG_EARG, "train: lr wants to be an f32 scalar");
    if (!what->loss || sg_value_n_dims(what->loss) != 0)
        return sg_fail(err, SG_EARG, "train: the loss wants to be a scalar");
    if (what->n_updates < 1)
        return sg_fail(err, SG_EARG, "train: nothing is updated");
    if (opts->read_every < 1)
        return sg_fail(err, SG_EARG, "train: read_every is %" PRId64 ", wanted at least 1", opts->read_every);
    if (what->made && what->made->n_batches > 1 && !opts->source)
        return sg_fail(err, SG_EARG, "train: steps of several batches want a source");
    if (opts->ranks && (!what->made || !what->made->n_gathers || !opts->source))
        return sg_fail(err, SG_EARG, "train: ranks want a source, and updates that are made apart");
    if (opts->ranks && opts->exec.n_backends && opts->exec.backends[0]->device) /* sums are of numbers here */
        return sg_fail(err, SG_EUNSUPPORTED, "train: several processes on %s, one was wanted", sg_exec_name(&opts->exec));
    if (opts->schedule)
        SG_TRY(sg_schedule_check(opts->schedule, err));
    return check_inputs(what, opts->source, err);
}

static bool list_fetches(sg_train *t, kind k, int n, sg_value *const *values, sg_value *loss, sg_value *weight,
                         sg_value *norm)
{
    prepared *p = &t->kinds[k];
    p->fetches = sg_arena_array(t->arena, (size_t)n + 3, sizeof *p->fetches);
    if (!p->fetches)
        return false;
    memcpy(p->fetches, values, (size_t)n * sizeof *values);
    p->n_fetches = n;
    sg_value *const more[3] = {loss, weight, norm};
    int *const places[3] = {&p->loss, &p->weight, &p->norm};
    for (int i = 0; i < 3; i++) {
        *places[i] = more[i] ? p->n_fetches : -1;
        if (more[i])
            p->fetches[p->n_fetches++] = more[i];
    }
    return true;
}

static bool list_all(sg_train *t)
{
    const sg_train_graph *w = &t->what;
    const sg_updates *u = w->made;
    sg_value *norm = u ? u->norm : NULL;
    if (!u || !u->n_gathers)
        return list_fetches(t, QUIET, w->n_updates, w->updates, NULL, NULL, NULL) &&
               list_fetches(t, READ, w->n_updates, w->updates, w->loss, NULL, norm);
    t->n_sums = u->n_gathers;
    t->sums = sg_arena_array(t->arena, (size_t)t->n_sums, sizeof *t->sums);
    if (!t->sums)
        return false;
    memcpy(t->sums, u->sums, (size_t)t->n_sums * sizeof *t->sums);
    return list_fetches(t, GATHER, u->n_gathers, u->gathers, w->loss, w->weight, NULL) &&
           list_fetches(t, APPLY, w->n_updates, w->updates, NULL, NULL, norm);
}

static void add_feed(sg_train *t, sg_value *v, sg_dtype dtype, void *number)
{
    t->feeds[t->n_feeds] = v;
    t->fed[t->n_feeds++] = sg_tensor_of(dtype, 0, NULL, number);
}

static void list_feeds(sg_train *t)
{
    add_feed(t, t->what.step, SG_I32, &t->step_number);
    if (t->what.lr)
        add_feed(t, t->what.lr, SG_F32, &t->lr);
    if (t->what.made && t->what.made->first)
        add_feed(t, t->what.made->first, SG_BOOL, &t->is_first);
    t->first_input = t->n_feeds;
    for (int i = 0; i < t->what.n_inputs; i++)
        t->feeds[t->n_feeds++] = t->what.inputs[i];
}

sg_status sg_train_new(sg_train **out, const sg_graph *g, sg_state *state, sg_train_graph what, sg_train_opts opts,
                       sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_graph_status(g, err));
    if (what.made) {
        what.n_updates = what.made->n_updates;
        what.updates = what.made->updates;
    }
    SG_TRY(check(&what, &opts, err));
    sg_arena *arena = sg_arena_new();
    sg_train *t = arena ? sg_arena_alloc(arena, sizeof *t) : NULL;
    if (t) {
        t->arena = arena;
        t->g = g;
        t->state = state;
        t->what = what;
        t->opts = opts;
        t->loss = t->norm = nan("");
        t->last = N_KINDS;
        t->n_batches = what.made ? what.made->n_batches : 1;
        if (sg_ranks_index(opts.ranks) > 0)
            t->opts.progress = NULL;
    }
    if (!t || !list_all(t)) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "train: out of memory");
    }
    list_feeds(t);
    /* What the caller's arrays said is all copied by now. */
    t->what.inputs = t->feeds + t->first_input;
    t->what.made = NULL;
    t->what.updates = NULL;
    *out = t;
    return SG_OK;
}

void sg_train_free(sg_train *t)
{
    if (!t)
        return;
    sg_prefetch_free(t->prefetch);
    sg_reduce_free(t->reduce);
    for (int k = 0; k < N_KINDS; k++) {
        sg_run_free(t->kinds[k].run);
        sg_plan_free(t->kinds[k].plan);
    }
    sg_arena_free(t->arena);
}

/* ---- plans ---- */

/* Extents follow from the source's fields. */
static sg_status plan(sg_train *t, kind k, sg_error *err)
{
    prepared *p = &t->kinds[k];
    sg_extent_value extents[SG_SOURCE_FIELDS * SG_MAX_DIMS];
    int n = 0;
    if (p->plan)
        return SG_OK;
    for (int i = 0; i < t->what.n_inputs; i++)
        for (int d = 0; d < t->opts.source->field[i].n_dims; d++) {
            const int symbol = sg_dim_symbol(t->g, sg_value_dim(t->what.inputs[i], d));
            const char *name = symbol >= 0 ? sg_graph_symbol(t->g, symbol) : NULL;
            bool known = !name;
            for (int e = 0; e < n && !known; e++)
                known = strcmp(extents[e].symbol, name) == 0;
            if (!known)
                extents[n++] = (sg_extent_value){.symbol = name, .value = t->opts.source->field[i].dims[d]};
        }
    /* An update has nothing to do with the batches. */
    const int n_feeds = k == APPLY ? t->first_input : t->n_feeds;
    return sg_plan_new(&p->plan, t->g, n_feeds, t->feeds, p->n_fetches, p->fetches, n, extents, t->opts.exec, err);
}

/* The variables that are summed, with their numbers where they have some; to be freed. NULL: memory is out. */
static sg_tensor *list_sums(sg_train *t)
{
    sg_tensor *tensors = calloc((size_t)t->n_sums + 1, sizeof *tensors);
    for (int i = 0; tensors && i < t->n_sums; i++) {
        const sg_value *v = t->sums[i];
        const sg_tensor *numbers = sg_state_tensor(t->state, v);
        tensors[i] = numbers ? *numbers : sg_tensor_of(sg_value_dtype(v), sg_value_n_dims(v), sg_value_dims(v), NULL);
    }
    return tensors;
}

sg_status sg_train_plan_memory(sg_train *t, sg_train_memory *out, sg_error *err)
{
    size_t hidden = 0;

    *out = (sg_train_memory){0};
    for (int k = 0; k < N_KINDS; k++) {
        if (!t->kinds[k].fetches || (k == QUIET && t->opts.read_every == 1))
            continue;
        SG_TRY(plan(t, (kind)k, err));
        out->blocks += sg_plan_bytes(t->kinds[k].plan);
        hidden = SG_MAX(hidden, sg_plan_hidden_bytes(t->kinds[k].plan));
    }
    out->blocks += hidden;
    if (t->opts.source)
        out->batches = SG_PREFETCH_BUFFERS * sg_source_bytes(t->opts.source);
    sg_tensor *tensors = t->opts.ranks ? list_sums(t) : NULL;
    if (tensors)
        out->blocks += sg_reduce_bytes(t->n_sums, tensors);
    free(tensors);
    return SG_OK;
}

static sg_status make_run(sg_train *t, kind k, sg_error *err)
{
    prepared *p = &t->kinds[k];
    if (p->run)
        return SG_OK;
    SG_TRY(plan(t, k, err));
    return sg_run_new(&p->run, p->plan, t->state, err);
}

static sg_status execute(sg_train *t, kind k, sg_error *err)
{
    prepared *p = &t->kinds[k];
    SG_TRY(make_run(t, k, err));
    const int n = k == APPLY ? t->first_input : t->n_feeds;
    for (int i = 0; i < n; i++)
        SG_TRY(sg_run_feed(p->run, i, &t->fed[i], err));
    SG_TRY(sg_run_execute(p->run, err));
    t->last = k;
    return SG_OK;
}

static double number(const sg_train *t, kind k, int place)
{
    return sg_tensor_get(sg_run_fetch(t->kinds[k].run, place), 0);
}

/* ---- steps ---- */

/* Batch i as the inputs of the next run. */
static sg_status take_batch(sg_train *t, sg_dim i, sg_error *err)
{
    const sg_tensor *field;
    if (t->prefetch && t->next_batch != i) { /* the step was set, or the run before ended within a step */
        sg_prefetch_free(t->prefetch);
        t->prefetch = NULL;
    }
    if (!t->prefetch)
        SG_TRY(sg_prefetch_new(&t->prefetch, t->opts.source, i, err));
    t->next_batch = i + 1;
    SG_TRY(sg_prefetch_next(t->prefetch, &field, err));
    for (int f = 0; f < t->what.n_inputs; f++)
        t->fed[t->first_input + f] = field[f];
    return SG_OK;
}

static bool cancelled(const sg_train *t)
{
    return t->opts.cancel && *t->opts.cancel;
}

static sg_status stopped(const sg_train *t, sg_error *err)
{
    return sg_fail(err, SG_ECANCELLED, "train: stopped at step %" PRId64, t->step);
}

static sg_status check_loss(sg_train *t, double loss, sg_error *err)
{
    t->loss = loss;
    return isfinite(loss) ? SG_OK
                          : sg_fail(err, SG_ENUMERIC, "train: the loss is %g at step %" PRIi32, loss, t->step_number);
}

static sg_status one_batch(sg_train *t, bool read, sg_error *err)
{
    const kind k = read ? READ : QUIET;
    if (t->opts.source)
        SG_TRY(take_batch(t, t->step, err));
    SG_TRY(execute(t, k, err));
    t->step++;
    if (!read)
        return SG_OK;
    t->norm = t->kinds[READ].norm >= 0 ? number(t, READ, t->kinds[READ].norm) : t->norm;
    return check_loss(t, number(t, READ, t->kinds[READ].loss), err);
}

static void on_gathered(void *context, int fetch, const sg_tensor *value)
{
    sg_train *t = context;
    (void)value; /* the variable that the reduction knows */
    if (fetch < t->n_sums)
        sg_reduce_ready(t->reduce, fetch);
}

/* What all ranks or this process alone adds up: the loss times its weight, the weight, who failed, who is to stop. */
typedef struct tally {
    double loss, weight, failed, cancelled;
} tally;

static sg_status gather(sg_train *t, tally *sum, sg_error *err)
{
    const sg_dim n = t->n_batches;
    const prepared *p = &t->kinds[GATHER];
    for (sg_dim i = 0; i < n; i++) {
        if (!t->reduce && cancelled(t))
            return stopped(t, err);
        if (t->opts.source)
            SG_TRY(take_batch(t, t->step * n + i, err));
        t->is_first = i == 0;
        if (t->reduce)
            sg_run_observe(p->run, i == n - 1 && t->opts.overlap ? on_gathered : NULL, t);
        SG_TRY(execute(t, GATHER, err));
        const double weight = p->weight >= 0 ? number(t, GATHER, p->weight) : 1;
        sum->loss += weight * number(t, GATHER, p->loss);
        sum->weight += weight;
    }
    return SG_OK;
}

static sg_status several_batches(sg_train *t, sg_error *err)
{
    tally sum = {0};
    if (t->reduce)
        sg_reduce_begin(t->reduce);
    sg_status status = gather(t, &sum, err);
    if (t->reduce) {
        sg_reduce_end(t->reduce);
        double all[] = {sum.loss, sum.weight, status != SG_OK, cancelled(t)};
        sg_ranks_sum(t->opts.ranks, (int)SG_COUNT_OF(all), all);
        sum = (tally){all[0], all[1], all[2], all[3]};
        t->ranks_end = sum.cancelled > 0;
        if (sum.failed > 0)
            status = sg_ranks_agree(t->opts.ranks, status, err);
    }
    SG_TRY(status);
    SG_TRY(check_loss(t, sum.loss / sum.weight, err));
    SG_TRY(execute(t, APPLY, err));
    t->norm = number(t, APPLY, t->kinds[APPLY].norm);
    t->step++;
    return SG_OK;
}

static double rate_of(const sg_train *t, sg_dim step)
{
    return t->opts.schedule ? sg_schedule_lr(t->opts.schedule, step) : t->opts.lr;
}

static sg_status one_step(sg_train *t, bool read, sg_error *err)
{
    if (t->step > INT32_MAX)
        return sg_fail(err, SG_EARG, "train: step %" PRId64 " does not fit an i32", t->step);
    t->step_number = (int32_t)t->step;
    t->lr = (float)rate_of(t, t->step);
    return t->kinds[GATHER].fetches ? several_batches(t, err) : one_batch(t, read, err);
}

/* Takes what a step takes, so that between its sums nothing is left that could fail on one rank alone. */
static sg_status make_all(sg_train *t, sg_error *err)
{
    SG_TRY(make_run(t, GATHER, err));
    SG_TRY(make_run(t, APPLY, err));
    if (t->reduce)
        return SG_OK;
    sg_tensor *tensors = list_sums(t);
    if (!tensors)
        return sg_fail(err, SG_ENOMEM, "train: out of memory");
    const sg_status status = sg_reduce_new(&t->reduce, t->opts.ranks, t->n_sums, tensors, err);
    free(tensors);
    return status;
}

static sg_status meet_ranks(sg_train *t, sg_error *err)
{
    if (!t->ranks_ready)
        SG_TRY(sg_ranks_agree(t->opts.ranks, make_all(t, err), err));
    t->ranks_ready = true;
    double n = cancelled(t);
    sg_ranks_sum(t->opts.ranks, 1, &n);
    t->ranks_end = n > 0;
    return SG_OK;
}

sg_status sg_train_run(sg_train *t, sg_dim n_steps, sg_error *err)
{
    if (t->opts.ranks)
        SG_TRY(meet_ranks(t, err));
    const double began = sg_now();
    double planned = began; /* when the first step, which plans, was over */
    for (sg_dim i = 1; i <= n_steps; i++) {
        if (t->opts.ranks ? t->ranks_end : cancelled(t))
            return stopped(t, err);
        const bool read = i == n_steps || i % t->opts.read_every == 0;
        SG_TRY(one_step(t, read, err));
        const double now = sg_now();
        if (i == 1)
            planned = now;
        if (!read || !t->opts.progress)
            continue;
        const double rate = i > 1 ? (double)(i - 1) / fmax(now - planned, 1e-9) : 1 / fmax(now - began, 1e-9);
        const sg_train_progress at = {.step = i,
                                      .n_steps = n_steps,
                                      .loss = t->loss,
                                      .seconds = now - began,
                                      .seconds_left = (double)(n_steps - i) / rate,
                                      .steps_done = t->step,
                                      .lr = rate_of(t, t->step - 1),
                                      .norm = t->norm,
                                      .rate = rate};
        t->opts.progress(t->opts.context, &at);
    }
    return SG_OK;
}

void sg_train_set_lr(sg_train *t, double lr)
{
    t->opts.lr = lr;
}

void sg_train_set_step(sg_train *t, sg_dim step)
{
    t->step = step;
}

sg_dim sg_train_step(const sg_train *t)
{
    return t->step;
}

double sg_train_loss(const sg_train *t)
{
    return t->loss;
}

const sg_plan *sg_train_plan(const sg_train *t)
{
    return t->last < N_KINDS ? t->kinds[t->last == APPLY ? GATHER : t->last].plan : NULL;
}
