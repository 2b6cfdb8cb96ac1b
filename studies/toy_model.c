/* One graph for all instances: the first axis of every value is the instance, and no operation mixes along it. */
#include "toy_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/features.h"
#include "sightglass/rng.h"

toy_model toy_defaults(void)
{
    return (toy_model){.n_steps = 10000, .batch = 1024, .lr = 1e-3, .lr_end = 1e-3};
}

/* Values of fewer numbers than this run on one thread: a second saves a fifth of the time where the other processor is
 * idle, and costs several times it where it is not. */
#define QUIET 262144

typedef struct built {
    sg_graph *g;
    sg_state *state;
    sg_train *train;
    sg_value *w, *b, *step, *lr, *loss, *updates[2];
} built;

static void build(built *t, const toy_model *m)
{
    const sg_dim K = m->n_instances, n = m->n_features;
    sg_graph *g = t->g;
    sg_features world = sg_features_defaults();
    world.n = n;
    float *p = (float *)(uintptr_t)m->p, *importance = (float *)(uintptr_t)m->importance; /* only read */
    const sg_tensor p_of = sg_tensor_of(SG_F32, 3, (sg_dim[]){K, 1, 1}, p);
    const sg_tensor importance_of = sg_tensor_of(SG_F32, 3, (sg_dim[]){K, 1, n}, importance);
    const sg_random from = {.seed = m->seed, .stream = m->stream, .row_streams = true};
    t->step = sg_input(g, "step", SG_I32, 0, NULL);
    t->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    t->w = sg_variable(g, "w", SG_F32, 3, (sg_dim[]){K, m->n_dims, n}, sg_init_constant(0));
    t->b = sg_variable(g, "b", SG_F32, 3, (sg_dim[]){K, 1, n}, sg_init_constant(0));
    sg_value *x = sg_name(g, sg_features_value(g, &world, sg_const(g, &p_of), K, m->batch, from, t->step), "x", "dbd");
    sg_value *h = sg_name(g, sg_matmul(g, x, t->w, false, true), "h", "dbd"); /* [K,B,m] */
    sg_value *y = sg_add(g, sg_matmul(g, h, t->w, false, false), t->b);       /* [K,B,n] */
    y = sg_name(g, m->linear ? y : sg_relu(g, y), "y", "dbd");
    sg_value *error = sg_mul(g, sg_const(g, &importance_of), sg_square(g, sg_sub(g, y, x)));
    t->loss = sg_mul_scalar(g, sg_sum_all(g, error),
                            1.0 / (double)m->batch); /* summed over instances: each has its own gradient */
    sg_train_adam(g, t->loss, 2, (sg_value *[]){t->w, t->b}, t->lr, t->step, sg_adam_defaults(), t->updates);
}

/* Xavier-normal, from the same stream as the instance's data, at a step that training does not reach. */
static void start(float *w, const toy_model *m)
{
    const sg_dim count = m->n_dims * m->n_features;
    const double deviation = sqrt(2.0 / (double)(m->n_dims + m->n_features));
    for (sg_dim k = 0; k < m->n_instances; k++) {
        sg_rng r = sg_rng_new(m->seed, m->stream + (uint32_t)k);
        r.step = UINT64_C(1) << 40;
        for (sg_dim i = 0; i < count; i++)
            w[k * count + i] = (float)(deviation * sg_rng_normal(&r));
    }
}

static sg_status copy(float **out, const sg_tensor *t, sg_error *err)
{
    *out = malloc(sg_tensor_bytes(t));
    if (!*out)
        return sg_fail(err, SG_ENOMEM, "toy model: out of memory");
    memcpy(*out, t->data, sg_tensor_bytes(t));
    return SG_OK;
}

static sg_status train(toy_trained *out, built *t, const toy_model *m, sg_study_part *part, sg_report *report,
                       sg_error *err)
{
    build(t, m);
    SG_TRY(sg_graph_status(t->g, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    SG_TRY(sg_state_init(t->state, m->seed, err));
    const sg_tensor *w = sg_state_tensor(t->state, t->w), *b = sg_state_tensor(t->state, t->b);
    start(w->data, m);
    SG_TRY(sg_superposition_report(&out->start, w, err));
    SG_TRY(copy(&out->start_w, w, err));
    sg_train_opts opts = sg_study_training(part);
    opts.lr = m->lr;
    if (m->n_instances * m->batch * m->n_features < QUIET)
        opts.exec.n_threads = 1;
    const sg_train_graph what = {.step = t->step, .lr = t->lr, .loss = t->loss, .n_updates = 2, .updates = t->updates};
    SG_TRY(sg_train_new(&t->train, t->g, t->state, what, opts, err));
    SG_TRY(sg_train_run(t->train, m->n_steps - m->n_steps / 3, err));
    sg_train_set_lr(t->train, m->lr_end);
    SG_TRY(sg_train_run(t->train, m->n_steps / 3, err));
    if (report)
        SG_TRY(sg_study_ran_on(report, sg_train_plan(t->train), opts.exec.n_threads, err));
    SG_TRY(sg_superposition_report(&out->shape, w, err));
    SG_TRY(copy(&out->w, w, err));
    return copy(&out->b, b, err);
}

sg_status toy_train(toy_trained *out, const toy_model *m, const sg_study_opts *opts, const char *part,
                    sg_report *report, sg_error *err)
{
    *out = (toy_trained){0};
    built t = {.g = sg_graph_new()};
    sg_study_part as_part = {opts, part};
    const sg_status status =
        t.g ? train(out, &t, m, &as_part, report, err) : sg_fail(err, SG_ENOMEM, "toy model: out of memory");
    sg_train_free(t.train);
    sg_state_free(t.state);
    sg_graph_free(t.g);
    return status;
}

void toy_free(toy_trained *t)
{
    free(t->w);
    free(t->b);
    free(t->start_w);
    sg_superposition_free(t->start);
    sg_superposition_free(t->shape);
    *t = (toy_trained){0};
}
