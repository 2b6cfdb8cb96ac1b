/* Gradient steps on an activation against a probe (Li et al. 2022, section 4): Adam on x, for all rows of a batch at
 * once, since a row's loss depends on that row alone and Adam is element by element.
 *
 * x is x_0 + r z with r the root mean square of x_0 and z what is learnt: the rate then means the same in every layer.
 * Each run of the graph is one step; beside it the graph keeps the best x so far of each row. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "methods/intervene_internal.h"
#include "sightglass/ops.h"

struct sg_mover {
    sg_arena *arena;
    sg_dim n, width, tasks;
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *x, *labels, *weights, *lr, *step;
    sg_value *z, *m, *v, *best_x, *best_loss;
    sg_value *fetches[3]; /* the step, both records */
};

static void drop_session(void *s)
{
    sg_session_free(s);
}
static void drop_state(void *s)
{
    sg_state_free(s);
}
static void drop_graph(void *g)
{
    sg_graph_free(g);
}

/* Weighted mean over tasks, [n]; a row without weight has 0. */
static sg_value *loss_of(sg_graph *g, const sg_probe *probe, sg_value *x, sg_value *labels, sg_value *weights)
{
    sg_value *nats = sg_cross_entropy(g, sg_probe_graph(g, probe, x), labels);
    sg_value *sum = sg_maximum(g, sg_sum(g, weights, 1, false), sg_scalar(g, SG_F32, 1e-20));
    return sg_div(g, sg_sum(g, sg_mul(g, nats, weights), 1, false), sum);
}

static void build(sg_mover *o, const sg_probe *probe)
{
    sg_graph *g = o->g;
    const sg_dim of_x[2] = {o->n, o->width}, of_labels[2] = {o->n, o->tasks};
    o->x = sg_input(g, "x", SG_F32, 2, of_x);
    o->labels = sg_input(g, "labels", SG_I32, 2, of_labels);
    o->weights = sg_input(g, "weights", SG_F32, 2, of_labels);
    o->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    o->step = sg_input(g, "step", SG_F32, 0, NULL);
    o->z = sg_variable(g, "z", SG_F32, 2, of_x, sg_init_constant(0));
    o->m = sg_variable(g, "m", SG_F32, 2, of_x, sg_init_constant(0));
    o->v = sg_variable(g, "v", SG_F32, 2, of_x, sg_init_constant(0));
    o->best_x = sg_variable(g, "best_x", SG_F32, 2, of_x, sg_init_constant(0));
    o->best_loss = sg_variable(g, "best_loss", SG_F32, 1, &o->n, sg_init_constant((double)INFINITY));

    sg_value *size = sg_sqrt(g, sg_mean(g, sg_square(g, o->x), 1, true));
    sg_value *x = sg_add(g, o->x, sg_mul(g, size, o->z));
    sg_value *loss = loss_of(g, probe, x, o->labels, o->weights);
    sg_value *slope = sg_grad(g, sg_sum_all(g, loss), o->z);
    sg_value *better = sg_less(g, loss, o->best_loss);
    o->fetches[0] = sg_adam(g, o->z, o->m, o->v, slope, o->lr, o->step, sg_adam_defaults());
    o->fetches[1] = sg_assign(g, o->best_x, sg_where(g, sg_expand(g, better, 1), x, o->best_x));
    o->fetches[2] = sg_assign(g, o->best_loss, sg_where(g, better, loss, o->best_loss));
}

static sg_status make(sg_mover *o, const sg_probe *probe, sg_exec_opts exec, sg_error *err)
{
    o->g = sg_graph_new();
    if (!o->g)
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    SG_TRY(sg_arena_defer(o->arena, drop_graph, o->g));
    build(o, probe);
    SG_TRY(sg_graph_status(o->g, err));
    SG_TRY(sg_state_new(&o->state, o->g, err));
    SG_TRY(sg_arena_defer(o->arena, drop_state, o->state));
    SG_TRY(sg_state_init(o->state, 0, err));
    SG_TRY(sg_session_new(&o->session, o->g, o->state, exec, err));
    return sg_arena_defer(o->arena, drop_session, o->session);
}

sg_status sg_mover_new(sg_mover **out, const sg_probe *probe, sg_dim n, sg_exec_opts exec, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_mover *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    *out = NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    }
    *o = (sg_mover){.arena = arena, .n = n, .width = sg_probe_width(probe), .tasks = sg_probe_n_tasks(probe)};
    const sg_status status = make(o, probe, exec, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = o;
    return SG_OK;
}

void sg_mover_free(sg_mover *o)
{
    if (o)
        sg_arena_free(o->arena);
}

sg_dim sg_mover_n_rows(const sg_mover *o)
{
    return o->n;
}

static void begin(sg_mover *o)
{
    sg_value *const zeros[] = {o->z, o->m, o->v};
    for (size_t i = 0; i < SG_COUNT_OF(zeros); i++) {
        sg_tensor *t = sg_state_tensor(o->state, zeros[i]);
        memset(t->data, 0, sg_tensor_bytes(t));
    }
    float *best = sg_state_tensor(o->state, o->best_loss)->data;
    for (sg_dim i = 0; i < o->n; i++)
        best[i] = INFINITY;
}

sg_status sg_mover_run(sg_mover *o, sg_aim aim, int n_steps, double lr, const volatile sig_atomic_t *cancel,
                       sg_error *err)
{
    float rate = (float)lr, step = 0;
    const sg_feed feeds[] = {
        {o->x, sg_tensor_of(SG_F32, 2, (sg_dim[]){o->n, o->width}, aim.x)},
        {o->labels, sg_tensor_of(SG_I32, 2, (sg_dim[]){o->n, o->tasks}, aim.labels)},
        {o->weights, sg_tensor_of(SG_F32, 2, (sg_dim[]){o->n, o->tasks}, aim.weights)},
        {o->lr, sg_tensor_of(SG_F32, 0, NULL, &rate)},
        {o->step, sg_tensor_of(SG_F32, 0, NULL, &step)},
    };
    sg_tensor out[3];
    begin(o);
    /* One more run than steps: it looks at where the last step led. */
    for (int k = 0; k <= n_steps; k++) {
        if (cancel && *cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped after %d of %d gradient steps", k, n_steps);
        step = (float)(k + 1);
        SG_TRY(sg_session_run(o->session, (int)SG_COUNT_OF(feeds), feeds, 3, o->fetches, out, err));
    }
    /* A row without weight had no gradient, and is what it was. */
    memcpy(aim.x, sg_state_tensor(o->state, o->best_x)->data, (size_t)(o->n * o->width) * sizeof(float));
    return SG_OK;
}

sg_status sg_aim_loss(const sg_probe *probe, sg_aim aim, sg_dim n, double *loss, sg_error *err)
{
    const sg_dim tasks = sg_probe_n_tasks(probe), width = sg_probe_width(probe);
    sg_graph *g = sg_graph_new();
    sg_session *session = NULL;
    sg_tensor out;
    if (!g)
        return sg_fail(err, SG_ENOMEM, "intervene: out of memory");
    const sg_dim rows = sg_extent(g, "batch"), of_x[2] = {n, width}, of_labels[2] = {n, tasks};
    sg_value *in[3] = {sg_input(g, "x", SG_F32, 2, (sg_dim[]){rows, width}),
                       sg_input(g, "labels", SG_I32, 2, (sg_dim[]){rows, tasks}),
                       sg_input(g, "weights", SG_F32, 2, (sg_dim[]){rows, tasks})};
    sg_value *y = loss_of(g, probe, in[0], in[1], in[2]);
    const sg_feed feeds[3] = {{in[0], sg_tensor_of(SG_F32, 2, of_x, aim.x)},
                              {in[1], sg_tensor_of(SG_I32, 2, of_labels, aim.labels)},
                              {in[2], sg_tensor_of(SG_F32, 2, of_labels, aim.weights)}};
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_session_new(&session, g, NULL, sg_exec_defaults(), err);
    if (status == SG_OK)
        status = sg_session_run(session, 3, feeds, 1, &y, &out, err);
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        bool any = false;
        for (sg_dim s = 0; s < tasks; s++)
            any = any || aim.weights[i * tasks + s] > 0;
        loss[i] = any ? sg_tensor_get(&out, i) : (double)NAN;
    }
    sg_session_free(session);
    sg_graph_free(g);
    return status;
}
