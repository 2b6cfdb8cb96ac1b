/* Probes that are trained: softmax and mlp, by AdamW, on rows in an order drawn anew for each epoch. The rows held back
 * are the last, so that with rows in order of episodes they are of others; every quarter of an epoch the loss on them
 * says whether these are the best numbers so far, which are kept. Where they are not, the rate falls to .75 of itself;
 * after ten times in a row the training ends (Li et al. 2022; Nanda et al. 2023).
 *
 * Features are brought to deviation 1 first, and with a bias to mean 0, which is folded into the numbers at the end: an
 * untrained network's activations are a tenth as large as a trained one's, and at one learning rate a probe of them
 * would be worse for that alone. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "methods/probe_internal.h"
#include "sightglass/train.h"

enum { W, B, FIRST, FIRST_BIAS, N_PARAMS };
enum { PATIENCE = 10, CHECKS = 4 /* in an epoch */ };
#define ROWS 4096 /* that are judged at once */
#define FALL 0.75

/* A batch's rows, copied from the caller's tensors. */
typedef struct rows {
    const sg_tensor *acts, *labels;
    sg_dim n; /* that are trained on */
    sg_shuffle order;
} rows;

typedef struct trainer {
    sg_probe *p;
    const sg_probe_opts *opts;
    rows rows;
    sg_source source;
    sg_graph *g;
    sg_state *state;
    sg_session *judge;
    sg_train *train;
    sg_value *param[N_PARAMS]; /* NULL: this probe has none */
    sg_value *x, *label, *total, *count;
    float *mean, *per; /* [D] what is taken off and what is then multiplied with */
    double best;
} trainer;

static bool has_bias(const trainer *t)
{
    return t->p->hidden || t->opts->bias;
}

/* Of the rows that are trained on. */
static sg_status standardise(trainer *t, sg_error *err)
{
    const sg_dim width = t->p->width, n = t->rows.n;
    const float *x = t->rows.acts->data;
    double *sum = calloc((size_t)width + 1, sizeof *sum), *squares = calloc((size_t)width + 1, sizeof *squares);
    t->mean = calloc((size_t)width + 1, sizeof *t->mean);
    t->per = calloc((size_t)width + 1, sizeof *t->per);
    const bool good = sum && squares && t->mean && t->per;
    for (sg_dim i = 0; i < n && good; i++)
        for (sg_dim d = 0; d < width; d++)
            sum[d] += (double)x[i * width + d];
    for (sg_dim i = 0; i < n && good; i++)
        for (sg_dim d = 0; d < width; d++) {
            const double off = (double)x[i * width + d] - sum[d] / (double)n;
            squares[d] += off * off;
        }
    for (sg_dim d = 0; d < width && good; d++) {
        const double deviation = sqrt(squares[d] / (double)n);
        t->mean[d] = has_bias(t) ? (float)(sum[d] / (double)n) : 0;
        t->per[d] = deviation > 0 ? (float)(1 / deviation) : 0; /* what never varies tells nothing */
    }
    free(sum);
    free(squares);
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "probe: out of memory");
}

/* The numbers that were trained read (x - mean) * per; from here on they read x. */
static void fold(trainer *t)
{
    sg_tensor *w = t->p->hidden ? &t->p->first : &t->p->w, *b = t->p->hidden ? &t->p->first_bias : &t->p->b;
    const sg_dim width = t->p->width, n = sg_tensor_count(b);
    for (sg_dim k = 0; k < n; k++) {
        double less = 0;
        for (sg_dim d = 0; d < width; d++) {
            float *at = (float *)w->data + d * n + k;
            *at *= t->per[d];
            less += (double)*at * (double)t->mean[d];
        }
        ((float *)b->data)[k] -= (float)less;
    }
}

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    const rows *r = self;
    const sg_dim n = field[0].dims[0];
    (void)err;
    for (sg_dim i = 0; i < n; i++) {
        const sg_dim at = batch * n + i, row = sg_shuffle_at(&r->order, at / r->n, at % r->n);
        for (int f = 0; f < 2; f++) {
            const sg_tensor from = sg_rows_of(f ? r->labels : r->acts, row, 1), to = sg_rows_of(&field[f], i, 1);
            memcpy(to.data, from.data, sg_tensor_bytes(&from));
        }
    }
    return SG_OK;
}

static sg_value *variable(trainer *t, int i, const char *name, const sg_tensor *like, double deviation)
{
    t->param[i] = sg_variable(t->g, name, SG_F32, like->n_dims, like->dims,
                              deviation > 0 ? sg_init_normal(deviation) : sg_init_constant(0));
    return t->param[i];
}

static sg_tensor *number(sg_probe *p, int i)
{
    return i == W ? &p->w : i == B ? &p->b : i == FIRST ? &p->first : &p->first_bias;
}

/* Summed over tasks, a mean over the rows that have a label of it. */
static sg_value *build(trainer *t)
{
    const sg_probe *p = t->p;
    sg_graph *g = t->g;
    const sg_dim batch = sg_extent(g, "batch");
    t->x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){batch, p->width});
    t->label = sg_input(g, "labels", SG_I32, 2, (sg_dim[]){batch, p->tasks});
    if (p->hidden) {
        variable(t, FIRST, "first", &p->first, 1 / sqrt((double)p->width));
        variable(t, FIRST_BIAS, "first_bias", &p->first_bias, 0);
    }
    variable(t, W, "w", &p->w, 1 / sqrt((double)p->w.dims[0]));
    if (has_bias(t))
        variable(t, B, "b", &p->b, 0);
    const sg_tensor mean = sg_tensor_of(SG_F32, 1, &p->width, t->mean),
                    per = sg_tensor_of(SG_F32, 1, &p->width, t->per);
    sg_value *x = sg_mul(g, sg_sub(g, t->x, sg_const(g, &mean)), sg_const(g, &per));
    sg_value *logits =
        sg_probe_formula(g, x, t->param[FIRST], t->param[FIRST_BIAS], t->param[W], t->param[B], p->tasks, p->classes);
    sg_value *zero = sg_scalar(g, SG_I32, 0);
    sg_value *known = sg_cast(g, sg_greater_equal(g, t->label, zero), SG_F32);
    sg_value *nats = sg_cross_entropy(g, logits, sg_maximum(g, t->label, zero));
    t->total = sg_sum_all(g, sg_mul(g, nats, known));
    t->count = sg_sum_all(g, known);
    return sg_mul_scalar(g, sg_div(g, t->total, sg_maximum(g, t->count, sg_scalar(g, SG_F32, 1))), (double)p->tasks);
}

static double rate_of(const trainer *t)
{
    return t->opts->lr > 0 ? t->opts->lr : t->p->hidden ? 3e-3 : 1e-2;
}

static sg_status prepare(trainer *t, sg_error *err)
{
    const sg_probe_opts *opts = t->opts;
    const bool mlp = t->p->hidden > 0;
    const sg_dim batch = SG_MIN(opts->batch, t->rows.n);
    t->g = sg_graph_new();
    if (!t->g)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    sg_value *step = sg_input(t->g, "step", SG_I32, 0, NULL), *lr = sg_input(t->g, "lr", SG_F32, 0, NULL);
    sg_value *loss = build(t), *params[N_PARAMS], *updates[N_PARAMS];
    int n = 0;
    for (int i = 0; i < N_PARAMS; i++)
        if (t->param[i])
            params[n++] = t->param[i];
    sg_adam_opts adam = sg_adam_defaults();
    adam.beta2 = mlp ? 0.999 : 0.99;
    adam.weight_decay = opts->weight_decay;
    sg_train_adam(t->g, loss, n, params, lr, step, adam, updates);
    SG_TRY(sg_graph_status(t->g, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    SG_TRY(sg_state_init(t->state, opts->seed, err));
    t->source = (sg_source){.n_fields = 2,
                            .field = {sg_tensor_of(SG_F32, 2, (sg_dim[]){batch, t->p->width}, NULL),
                                      sg_tensor_of(SG_I32, 2, (sg_dim[]){batch, t->p->tasks}, NULL)},
                            .fill = fill,
                            .self = &t->rows};
    sg_train_opts how = sg_train_defaults();
    how.lr = rate_of(t);
    how.source = &t->source;
    how.cancel = opts->cancel;
    how.exec = opts->exec;
    const sg_train_graph what = {.step = step,
                                 .lr = lr,
                                 .loss = loss,
                                 .n_updates = n,
                                 .updates = updates,
                                 .n_inputs = 2,
                                 .inputs = (sg_value *[]){t->x, t->label}};
    SG_TRY(sg_train_new(&t->train, t->g, t->state, what, how, err));
    return sg_session_new(&t->judge, t->g, t->state, opts->exec, err);
}

/* nats per label over the rows held back */
static sg_status held_loss(trainer *t, double *out, sg_error *err)
{
    const sg_dim all = t->rows.acts->dims[0];
    sg_value *fetches[2] = {t->total, t->count};
    double total = 0, count = 0;
    for (sg_dim i = t->rows.n; i < all; i += ROWS) {
        const sg_dim n = SG_MIN(ROWS, all - i);
        const sg_feed feeds[2] = {{t->x, sg_rows_of(t->rows.acts, i, n)}, {t->label, sg_rows_of(t->rows.labels, i, n)}};
        sg_tensor read[2];
        SG_TRY(sg_session_run(t->judge, 2, feeds, 2, fetches, read, err));
        total += sg_tensor_get(&read[0], 0);
        count += sg_tensor_get(&read[1], 0);
    }
    *out = total / SG_MAX(count, 1);
    return SG_OK;
}

static void keep(trainer *t)
{
    for (int i = 0; i < N_PARAMS; i++)
        if (t->param[i])
            memcpy(number(t->p, i)->data, sg_state_tensor(t->state, t->param[i])->data,
                   sg_tensor_bytes(number(t->p, i)));
}

static sg_status run(trainer *t, sg_error *err)
{
    const sg_probe_opts *opts = t->opts;
    const sg_dim batch = t->source.field[0].dims[0], n_steps = (opts->n_epochs * t->rows.n + batch - 1) / batch;
    const sg_dim between = SG_MAX(t->rows.n / batch / CHECKS, 1);
    double lr = rate_of(t);
    int worse = 0;
    for (sg_dim step = 0; step < n_steps && worse < PATIENCE;) {
        const sg_dim n = SG_MIN(between, n_steps - step);
        SG_TRY(sg_train_run(t->train, n, err));
        step += n;
        double loss = sg_train_loss(t->train);
        if (t->rows.n < t->rows.acts->dims[0])
            SG_TRY(held_loss(t, &loss, err));
        if (!isfinite(loss))
            return sg_fail(err, SG_ENUMERIC, "probe: the loss is %g after step %" PRId64, loss, step);
        if (loss < t->best || t->rows.n == t->rows.acts->dims[0]) {
            t->best = loss;
            worse = 0;
            keep(t);
        } else {
            worse++;
            sg_train_set_lr(t->train, lr *= FALL);
        }
        if (opts->progress)
            opts->progress(opts->context, worse == PATIENCE ? 1 : (double)step / (double)n_steps, loss);
    }
    return SG_OK;
}

sg_status sg_probe_fit_trained(sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts,
                               sg_error *err)
{
    const sg_dim all = acts->dims[0], n = all - (opts->n_held < 0 ? all / 10 : opts->n_held);
    trainer t = {.p = p, .opts = opts, .best = (double)INFINITY};
    t.rows = (rows){.acts = acts, .labels = labels, .n = n, .order = sg_shuffle_new(opts->seed, n)};
    sg_status status = standardise(&t, err);
    if (status == SG_OK)
        status = prepare(&t, err);
    if (status == SG_OK)
        status = run(&t, err);
    if (status == SG_OK)
        fold(&t);
    sg_session_free(t.judge);
    sg_train_free(t.train);
    sg_state_free(t.state);
    sg_graph_free(t.g);
    free(t.mean);
    free(t.per);
    return status;
}
