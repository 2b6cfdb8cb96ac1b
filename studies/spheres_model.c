/* Quadratic nets of several seeds are one graph, whose first axis is the seed; ReLU nets are trained one by one. */
#include "spheres_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/image.h"

enum { K = SPHERES_SEEDS };

typedef struct trained {
    sg_graph *g;
    sg_state *state;
    sg_train *train;
    sg_value *step, *lr, *loss;
    float *points; /* [K,train,d] */
} trained;

static sg_status out_of_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "spheres: out of memory");
}

static void release(trained *t)
{
    sg_train_free(t->train);
    sg_state_free(t->state);
    sg_graph_free(t->g);
    free(t->points);
}

/* x [n,B,d] and the sign of each label, -1 inner and 1 outer, [n,B]. */
static sg_status data(trained *t, const spheres_job *job, sg_dim n, sg_value **x, sg_value **sign, sg_error *err)
{
    const sg_spheres *s = &job->world;
    sg_value *outer;
    sg_tensor points = sg_tensor_of(SG_F32, 3, (sg_dim[]){n, s->train, s->d}, NULL);
    t->g = sg_graph_new();
    if (!t->g)
        return out_of_memory(err);
    if (s->train) {
        points.data = t->points = malloc(sg_tensor_bytes(&points));
        if (!t->points)
            return out_of_memory(err);
        for (sg_dim k = 0; k < n; k++) {
            sg_tensor of = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->train, s->d}, t->points + k * s->train * s->d);
            SG_TRY(sg_spheres_points(&of, s, job->seed + (uint64_t)k, err));
        }
    }
    t->step = sg_input(t->g, "step", SG_I32, 0, NULL);
    t->lr = sg_input(t->g, "lr", SG_F32, 0, NULL);
    *x = sg_spheres_value(t->g, s, n, job->batch, s->train ? &points : NULL, (sg_random){.seed = job->seed}, t->step,
                          &outer);
    *sign = sg_add_scalar(t->g, sg_mul_scalar(t->g, outer, 2), -1);
    return SG_OK;
}

/* Logistic loss, summed over nets: each has its own gradient. */
static void lose(trained *t, const spheres_job *job, sg_value *logit, sg_value *sign)
{
    sg_value *each = sg_softplus(t->g, sg_neg(t->g, sg_mul(t->g, logit, sign)));
    t->loss = sg_mul_scalar(t->g, sg_sum_all(t->g, each), 1.0 / (double)job->batch);
}

static sg_status start(trained *t, const spheres_job *job, sg_error *err)
{
    SG_TRY(sg_graph_status(t->g, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    return sg_state_init(t->state, job->seed, err);
}

static sg_status train(trained *t, const spheres_job *job, int n_updates, sg_value *const *updates, sg_study_part *part,
                       sg_report *report, sg_error *err)
{
    sg_train_opts opts = sg_study_training(part);
    opts.lr = job->lr;
    opts.read_every = 250;
    const sg_train_graph what = {
        .step = t->step, .lr = t->lr, .loss = t->loss, .n_updates = n_updates, .updates = updates};
    SG_TRY(sg_train_new(&t->train, t->g, t->state, what, opts, err));
    SG_TRY(sg_train_run(t->train, job->n_steps - job->n_steps / 3, err));
    sg_train_set_lr(t->train, job->lr / 10);
    SG_TRY(sg_train_run(t->train, job->n_steps / 3, err));
    return sg_study_ran_on(report, sg_train_plan(t->train), opts.exec.n_threads, err);
}

static sg_status copied(float **out, const float *from, sg_dim n, sg_error *err)
{
    *out = malloc((size_t)n * sizeof **out);
    if (!*out)
        return out_of_memory(err);
    memcpy(*out, from, (size_t)n * sizeof **out);
    return SG_OK;
}

/* ---- quadratic ---- */

static sg_status quadratic(trained *t, spheres_net *net, const spheres_job *job, sg_study_part *part, sg_report *report,
                           sg_error *err)
{
    const sg_dim d = job->world.d, h = job->h;
    sg_value *x = NULL, *sign = NULL, *updates[3];
    SG_TRY(data(t, job, K, &x, &sign, err));
    sg_graph *g = t->g;
    sg_value *w1 = sg_variable(g, "w1", SG_F32, 3, (sg_dim[]){K, h, d}, sg_init_normal(1 / sqrt((double)d)));
    sg_value *w = sg_variable(g, "w", SG_F32, 2, (sg_dim[]){K, 1}, sg_init_constant(1));
    /* Half way between the squares of the radii, in units of what w sum (W1 x)^2 is at first. */
    const double middle = (1 + job->world.outer * job->world.outer) / 2 * (double)h / (double)d;
    sg_value *b = sg_variable(g, "b", SG_F32, 2, (sg_dim[]){K, 1}, sg_init_constant(-middle));
    sg_value *squares = sg_sum(g, sg_square(g, sg_matmul(g, x, w1, false, true)), 2, false); /* [K,B] */
    lose(t, job, sg_add(g, sg_mul(g, w, squares), b), sign);
    sg_train_adam(g, t->loss, 3, (sg_value *[]){w1, w, b}, t->lr, t->step, sg_adam_defaults(), updates);
    SG_TRY(start(t, job, err));
    SG_TRY(train(t, job, 3, updates, part, report, err));
    for (sg_dim k = 0; k < K; k++) {
        net[k] = (spheres_net){.d = d,
                               .h = h,
                               .w = ((const float *)sg_state_tensor(t->state, w)->data)[k],
                               .b = ((const float *)sg_state_tensor(t->state, b)->data)[k]};
        SG_TRY(copied(&net[k].w1, (const float *)sg_state_tensor(t->state, w1)->data + k * h * d, h * d, err));
    }
    return SG_OK;
}

sg_status spheres_train(spheres_net net[SPHERES_SEEDS], const spheres_job *job, const sg_study_opts *opts,
                        const char *part, sg_report *report, sg_error *err)
{
    trained t = {.g = NULL};
    sg_study_part as_part = {opts, part};
    const sg_status status = quadratic(&t, net, job, &as_part, report, err);
    release(&t);
    return status;
}

sg_status spheres_net_of(spheres_net *net, sg_dim d, const double *alpha, const double *vectors, sg_error *err)
{
    *net = (spheres_net){.d = d, .h = d, .w = 1, .b = -1, .w1 = malloc((size_t)(d * d) * sizeof(float))};
    if (!net->w1)
        return out_of_memory(err);
    for (sg_dim i = 0; i < d * d; i++)
        net->w1[i] = (float)(sqrt(alpha[i / d]) * vectors[i]);
    return SG_OK;
}

sg_status spheres_quadric(sg_quadric **out, const spheres_net *net, sg_error *err)
{
    const sg_tensor w1 = sg_tensor_of(SG_F32, 2, (sg_dim[]){net->h, net->d}, net->w1);
    return sg_quadric_new(out, &w1, (double)net->w, (double)net->b, err);
}

/* ---- two ReLU layers with batch normalisation ---- */

typedef struct normed {
    sg_value *w, *gain, *bias, *mean, *var; /* mean and var run along */
} normed;

enum { RELU_PARAMETERS = 8 };

static sg_value *layer(trained *t, normed *n, sg_value *x, sg_dim h, sg_dim d, const char *name, sg_value **assigned)
{
    static const char *const parts[] = {"w", "gain", "bias", "mean", "var"};
    char named[5][16];
    sg_batch_stats stats;
    sg_graph *g = t->g;
    for (int i = 0; i < 5; i++)
        snprintf(named[i], sizeof named[i], "%s.%s", name, parts[i]);
    n->w = sg_variable(g, named[0], SG_F32, 2, (sg_dim[]){h, d}, sg_init_normal(sqrt(2 / (double)d)));
    n->gain = sg_variable(g, named[1], SG_F32, 1, &h, sg_init_constant(1));
    n->bias = sg_variable(g, named[2], SG_F32, 1, &h, sg_init_constant(0));
    n->mean = sg_variable(g, named[3], SG_F32, 1, &h, sg_init_constant(0));
    n->var = sg_variable(g, named[4], SG_F32, 1, &h, sg_init_constant(1));
    sg_value *y = sg_batch_norm(g, sg_linear(g, x, n->w, NULL), n->gain, n->bias, 1e-5, &stats);
    assigned[0] = sg_assign(g, n->mean, sg_add(g, sg_mul_scalar(g, n->mean, .99), sg_mul_scalar(g, stats.mean, .01)));
    assigned[1] = sg_assign(g, n->var, sg_add(g, sg_mul_scalar(g, n->var, .99), sg_mul_scalar(g, stats.var, .01)));
    return sg_relu(g, y);
}

/* gain (w x - mean) / sqrt(var + eps) + bias as one weight and one bias. */
static sg_status folded(float **w, float **b, const trained *t, const normed *n, sg_dim h, sg_dim d, sg_error *err)
{
    const float *gain = sg_state_tensor(t->state, n->gain)->data, *bias = sg_state_tensor(t->state, n->bias)->data;
    const float *mean = sg_state_tensor(t->state, n->mean)->data, *var = sg_state_tensor(t->state, n->var)->data;
    SG_TRY(copied(w, sg_state_tensor(t->state, n->w)->data, h * d, err));
    SG_TRY(copied(b, bias, h, err));
    for (sg_dim i = 0; i < h; i++) {
        const float by = gain[i] / sqrtf(var[i] + 1e-5f);
        for (sg_dim k = 0; k < d; k++)
            (*w)[i * d + k] *= by;
        (*b)[i] -= by * mean[i];
    }
    return SG_OK;
}

static sg_status relu(trained *t, spheres_net *net, const spheres_job *job, sg_study_part *part, sg_report *report,
                      sg_error *err)
{
    const sg_dim d = job->world.d, h = job->h;
    sg_value *x = NULL, *sign = NULL, *updates[RELU_PARAMETERS + 4];
    normed one, two;
    SG_TRY(data(t, job, 1, &x, &sign, err));
    sg_graph *g = t->g;
    x = sg_reshape(g, x, 2, (sg_dim[]){job->batch, d});
    sg_value *y = layer(t, &one, x, h, d, "one", updates + RELU_PARAMETERS);
    y = layer(t, &two, y, h, h, "two", updates + RELU_PARAMETERS + 2);
    sg_value *w3 = sg_variable(g, "w3", SG_F32, 2, (sg_dim[]){1, h}, sg_init_normal(sqrt(1 / (double)h)));
    sg_value *b3 = sg_variable(g, "b3", SG_F32, 1, (sg_dim[]){1}, sg_init_constant(0));
    lose(t, job, sg_linear(g, y, w3, b3), sg_reshape(g, sign, 2, (sg_dim[]){job->batch, 1}));
    sg_value *params[RELU_PARAMETERS] = {one.w, one.gain, one.bias, two.w, two.gain, two.bias, w3, b3};
    sg_train_adam(g, t->loss, RELU_PARAMETERS, params, t->lr, t->step, sg_adam_defaults(), updates);
    SG_TRY(start(t, job, err));
    SG_TRY(train(t, job, RELU_PARAMETERS + 4, updates, part, report, err));
    *net = (spheres_net){.d = d, .h = h, .b = *(const float *)sg_state_tensor(t->state, b3)->data};
    SG_TRY(folded(&net->w1, &net->b1, t, &one, h, d, err));
    SG_TRY(folded(&net->w2, &net->b2, t, &two, h, h, err));
    return copied(&net->w3, sg_state_tensor(t->state, w3)->data, h, err);
}

sg_status spheres_train_relu(spheres_net *net, const spheres_job *job, const sg_study_opts *opts, const char *part,
                             sg_report *report, sg_error *err)
{
    trained t = {.g = NULL};
    sg_study_part as_part = {opts, part};
    const sg_status status = relu(&t, net, job, &as_part, report, err);
    release(&t);
    return status;
}

void spheres_net_free(spheres_net *net)
{
    free(net->w1);
    free(net->b1);
    free(net->w2);
    free(net->b2);
    free(net->w3);
    *net = (spheres_net){0};
}

/* ---- asking ---- */

static sg_value *matrix(sg_graph *g, float *w, sg_dim rows, sg_dim columns)
{
    const sg_tensor t = sg_tensor_of(SG_F32, columns ? 2 : 1, (sg_dim[]){rows, columns}, w);
    return sg_const(g, &t);
}

sg_status spheres_ask(spheres_asked *a, const spheres_net *net, bool outer, const sg_study_opts *opts, sg_error *err)
{
    *a = (spheres_asked){.g = sg_graph_new()};
    sg_graph *g = a->g;
    if (!g)
        return out_of_memory(err);
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){sg_extent(g, "batch"), net->d}), *y;
    if (net->w2) {
        y = sg_relu(g, sg_linear(g, x, matrix(g, net->w1, net->h, net->d), matrix(g, net->b1, net->h, 0)));
        y = sg_relu(g, sg_linear(g, y, matrix(g, net->w2, net->h, net->h), matrix(g, net->b2, net->h, 0)));
        y = sg_linear(g, y, matrix(g, net->w3, 1, net->h), NULL);
    } else {
        y = sg_square(g, sg_linear(g, x, matrix(g, net->w1, net->h, net->d), NULL));
        y = sg_mul_scalar(g, sg_sum(g, y, 1, true), (double)net->w);
    }
    a->logit = sg_add_scalar(g, sg_squeeze(g, y, 1), (double)net->b);
    sg_value *loss = outer ? sg_neg(g, a->logit) : a->logit;
    a->ask = (sg_attack_session){
        .x = x, .gradient = sg_grad(g, sg_sum_all(g, loss), x), .wrong = sg_greater(g, loss, sg_scalar(g, SG_F32, 0))};
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_state_new(&a->state, g, err);
    if (status == SG_OK)
        status = sg_session_new(&a->session, g, a->state, opts->exec, err);
    if (status != SG_OK) {
        spheres_asked_free(a);
        return status;
    }
    a->ask.session = a->session;
    return SG_OK;
}

void spheres_asked_free(spheres_asked *a)
{
    sg_session_free(a->session);
    sg_state_free(a->state);
    sg_graph_free(a->g);
    *a = (spheres_asked){0};
}
