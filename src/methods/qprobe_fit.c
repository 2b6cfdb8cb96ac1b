/* Fitting a Q-probe: a linear map or a small network on standardised embeddings, by graph like any other training.
 * Samples come in chunks of one group, drawn anew for each epoch. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/qprobe.h"
#include "sightglass/safetensors.h"
#include "sightglass/train.h"

enum { MOST_LAYERS = 3 };

struct sg_qprobe {
    sg_dim d;
    int n_layers; /* of weights: hidden ones and the last */
    sg_tensor mean, scale, w[MOST_LAYERS], b[MOST_LAYERS];
    int n_epochs;
    double held_out;
    char *texts[4]; /* of a probe that was opened: site, model, reward, loss */
};

static const char *const loss_names[SG_N_QPROBE_LOSSES] = {"mse", "bce", "pg", "cpg"};

const char *sg_qprobe_loss_name(sg_qprobe_loss loss)
{
    return loss_names[loss];
}

sg_value *sg_qprobe_loss_value(sg_graph *g, sg_qprobe_loss loss, sg_value *q, sg_value *r, double tau)
{
    switch (loss) {
    case SG_QPROBE_MSE:
        return sg_mean_all(g, sg_square(g, sg_sub(g, q, r)));
    case SG_QPROBE_BCE: /* softplus(Q) - r Q: -r log s - (1 - r) log(1 - s), s = sigmoid(Q) */
        return sg_mean_all(g, sg_sub(g, sg_softplus(g, q), sg_mul(g, r, q)));
    case SG_QPROBE_CPG:
        r = sg_sub(g, r, sg_mean(g, r, -1, true));
        break;
    default:
        break;
    }
    sg_value *p = sg_softmax(g, sg_mul_scalar(g, q, 1 / tau), -1);
    return sg_neg(g, sg_mean_all(g, sg_sum(g, sg_mul(g, r, p), -1, false)));
}

sg_qprobe_opts sg_qprobe_defaults(void)
{
    return (sg_qprobe_opts){.loss = SG_QPROBE_PG,
                            .width = 256,
                            .tau = 1,
                            .chunk = 10,
                            .batch = 1000,
                            .n_epochs = 150,
                            .lr = 5e-5,
                            .held_out = .2,
                            .exec = sg_exec_defaults()};
}

/* ---- a probe ---- */

static bool make(sg_tensor *t, int n_dims, sg_dim rows, sg_dim columns)
{
    *t = sg_tensor_of(SG_F32, n_dims, (sg_dim[]){rows, columns}, NULL);
    t->data = calloc((size_t)sg_tensor_count(t) + 1, sizeof(float));
    return t->data != NULL;
}

static sg_status probe_new(sg_qprobe **out, sg_dim d, int n_hidden, sg_dim width, sg_error *err)
{
    *out = NULL;
    sg_qprobe *q = calloc(1, sizeof *q);
    bool ok = q && make(&q->mean, 1, d, 0) && make(&q->scale, 1, d, 0);
    if (q)
        *q = (sg_qprobe){.d = d, .n_layers = n_hidden + 1, .mean = q->mean, .scale = q->scale, .held_out = (double)NAN};
    for (int i = 0; i <= n_hidden && ok; i++) {
        const sg_dim in = i ? width : d, rows = i < n_hidden ? width : 1;
        ok = make(&q->w[i], 2, rows, in) && make(&q->b[i], 1, rows, 0);
    }
    if (!ok) {
        sg_qprobe_free(q);
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    }
    *out = q;
    return SG_OK;
}

void sg_qprobe_free(sg_qprobe *q)
{
    if (!q)
        return;
    free(q->mean.data);
    free(q->scale.data);
    for (int i = 0; i < MOST_LAYERS; i++) {
        free(q->w[i].data);
        free(q->b[i].data);
    }
    for (size_t i = 0; i < SG_COUNT_OF(q->texts); i++)
        free(q->texts[i]);
    free(q);
}

sg_dim sg_qprobe_width(const sg_qprobe *q)
{
    return q->d;
}

int sg_qprobe_n_epochs(const sg_qprobe *q)
{
    return q->n_epochs;
}

double sg_qprobe_held_out(const sg_qprobe *q)
{
    return q->held_out;
}

/* Layers on x [...,D] -> [...]. */
static sg_value *forward(sg_graph *g, sg_value *x, int n, sg_value *const *w, sg_value *const *b)
{
    for (int i = 0; i < n; i++) {
        x = sg_linear(g, x, w[i], b[i]);
        x = i < n - 1 ? sg_relu(g, x) : x;
    }
    return sg_squeeze(g, x, sg_value_n_dims(x) - 1);
}

sg_value *sg_qprobe_value(sg_graph *g, const sg_qprobe *q, sg_value *x)
{
    sg_value *w[MOST_LAYERS], *b[MOST_LAYERS];
    for (int i = 0; i < q->n_layers; i++) {
        w[i] = sg_const(g, &q->w[i]);
        b[i] = sg_const(g, &q->b[i]);
    }
    x = sg_mul(g, sg_sub(g, x, sg_const(g, &q->mean)), sg_const(g, &q->scale));
    return forward(g, x, q->n_layers, w, b);
}

sg_status sg_qprobe_score(const sg_qprobe *q, const sg_tensor *embeddings, double *out, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (embeddings->dtype != SG_F32 || embeddings->n_dims != 2 || embeddings->dims[1] != q->d)
        return sg_fail(err, SG_ESHAPE, "q-probe: embeddings are %s %s, wanted f32 [N,%" PRId64 "]",
                       sg_dtype_name(embeddings->dtype), sg_shape_text(shape, embeddings->n_dims, embeddings->dims),
                       q->d);
    if (embeddings->dims[0] == 0)
        return SG_OK;
    sg_session *session = NULL;
    sg_exec_opts exec = sg_exec_defaults();
    exec.n_threads = 1;
    sg_graph *g = sg_graph_new();
    if (!g)
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    sg_value *x = sg_input(g, "x", SG_F32, 2, embeddings->dims), *y = sg_qprobe_value(g, q, x);
    sg_tensor got;
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_session_new(&session, g, NULL, exec, err);
    if (status == SG_OK)
        status = sg_session_run(session, 1, &(sg_feed){x, *embeddings}, 1, &y, &got, err);
    for (sg_dim i = 0; i < embeddings->dims[0] && status == SG_OK; i++)
        out[i] = sg_tensor_get(&got, i);
    sg_session_free(session);
    sg_graph_free(g);
    return status;
}

/* ---- samples as chunks ---- */

typedef struct fitting {
    const sg_qprobe_opts *opts;
    sg_dim n, d, n_rows, n_held;        /* samples; those fitted and held out, rows of x in this order */
    float *x;                           /* standardised [n,d] */
    float *reward;                      /* [n] */
    int32_t *group;                     /* [n] */
    sg_dim per_step, n_steps, n_chunks; /* chunks of a step, steps of an epoch */
    sg_dim epoch;                       /* whose order this is */
    sg_dim *order;                      /* [n_rows] samples, chunk after chunk */
    sg_qprobe *probe;
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *in, *r, *held, *held_q, *step, *lr, *w[2 * MOST_LAYERS], *updates[2 * MOST_LAYERS], *loss;
} fitting;

static sg_dim end_of(const int32_t *group, sg_dim n, sg_dim first)
{
    sg_dim end = first;
    while (end < n && group[end] == group[first])
        end++;
    return end;
}

/* Samples of each group in another order, cut into chunks, and the chunks in another order. */
static void order_of(fitting *f, sg_dim epoch)
{
    const sg_dim chunk = f->opts->chunk;
    sg_rng r = sg_rng_new(f->opts->seed, (uint32_t)epoch + 1);
    sg_dim n = 0;
    for (sg_dim first = 0, end; first < f->n_rows; first = end) {
        end = end_of(f->group, f->n_rows, first);
        for (sg_dim i = first; i < end; i++) { /* Fisher and Yates, from the inside out */
            const sg_dim at = sg_rng_below(&r, (uint32_t)(i - first + 1));
            if (at != i - first)
                f->order[n + i - first] = f->order[n + at];
            f->order[n + at] = i;
        }
        n += (end - first) / chunk * chunk;
    }
    for (sg_dim c = n / chunk - 1; c > 0; c--) {
        const sg_dim at = sg_rng_below(&r, (uint32_t)c + 1);
        for (sg_dim i = 0; i < chunk; i++) {
            const sg_dim kept = f->order[c * chunk + i];
            f->order[c * chunk + i] = f->order[at * chunk + i];
            f->order[at * chunk + i] = kept;
        }
    }
    f->epoch = epoch;
}

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    fitting *f = self;
    const sg_dim n = f->per_step * f->opts->chunk, first = i % f->n_steps * n;
    float *x = field[0].data, *r = field[1].data;
    (void)err;
    if (i / f->n_steps != f->epoch)
        order_of(f, i / f->n_steps);
    for (sg_dim k = 0; k < n; k++) {
        const sg_dim at = f->order[first + k];
        memcpy(x + k * f->d, f->x + at * f->d, (size_t)f->d * sizeof *x);
        r[k] = f->reward[at];
    }
    return SG_OK;
}

/* ---- preparing ---- */

static sg_status check(const sg_tensor *x, const double *reward, const sg_qprobe_opts *o, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 || x->n_dims != 2 || x->dims[0] < 1 || x->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "q-probe: embeddings are %s %s, wanted f32 [N,D]", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (o->loss < 0 || o->loss >= SG_N_QPROBE_LOSSES || o->n_hidden < 0 || o->n_hidden > MOST_LAYERS - 1 ||
        o->width < 1 || !(o->tau > 0) || o->chunk < 1 || o->batch < 1 || o->n_epochs < 1 || !(o->lr > 0) ||
        !(o->held_out >= 0 && o->held_out < 1))
        return sg_fail(err, SG_EARG,
                       "q-probe: %d hidden layers of %" PRId64 ", tau %g, chunks of %" PRId64 ", %" PRId64
                       " epochs, lr %g, %g held "
                       "out do not go together",
                       o->n_hidden, o->width, o->tau, o->chunk, o->n_epochs, o->lr, o->held_out);
    const float *at = x->data;
    for (sg_dim i = 0; i < x->dims[0]; i++) {
        for (sg_dim d = 0; d < x->dims[1]; d++)
            if (!isfinite(at[i * x->dims[1] + d]))
                return sg_fail(err, SG_ENUMERIC, "q-probe: embedding %" PRId64 " is not finite", i);
        if (!isfinite(reward[i]) || (o->loss == SG_QPROBE_BCE && !(reward[i] >= 0 && reward[i] <= 1)))
            return sg_fail(err, SG_EARG, "q-probe: reward %" PRId64 " is %g%s", i, reward[i],
                           isfinite(reward[i]) ? ", and bce wants 0 to 1" : "");
    }
    return SG_OK;
}

/* Groups that are held out go behind the others. */
static void part(fitting *f, const sg_tensor *x, const double *reward, const int32_t *group)
{
    sg_dim n_groups = 0, at[2] = {0, 0}, wanted;
    sg_rng r = sg_rng_new(f->opts->seed, 0);
    for (sg_dim i = 0, end; i < f->n; i = end, n_groups++)
        end = end_of(group, f->n, i);
    wanted =
        n_groups > 1 && f->opts->held_out > 0 ? SG_MAX((sg_dim)1, (sg_dim)(f->opts->held_out * (double)n_groups)) : 0;
    for (int pass = 0; pass < 2; pass++) { /* sizes first */
        sg_dim left = wanted, of = n_groups;
        r = sg_rng_new(f->opts->seed, 0);
        at[0] = 0;
        at[1] = f->n_rows;
        for (sg_dim i = 0, end; i < f->n; i = end, of--) {
            end = end_of(group, f->n, i);
            const bool out = sg_rng_below(&r, (uint32_t)of) < (uint32_t)left; /* `wanted` of them, all alike likely */
            left -= out;
            for (sg_dim k = i; k < end; k++) {
                if (pass) {
                    memcpy(f->x + at[out] * f->d, (const float *)x->data + k * f->d, (size_t)f->d * sizeof *f->x);
                    f->reward[at[out]] = (float)reward[k];
                    f->group[at[out]] = group[k];
                }
                at[out]++;
            }
        }
        if (!pass)
            f->n_rows = at[0];
    }
    f->n_held = f->n - f->n_rows;
}

static void standardise(fitting *f)
{
    float *mean = f->probe->mean.data, *scale = f->probe->scale.data;
    for (sg_dim d = 0; d < f->d; d++) {
        double sum = 0, squares = 0;
        for (sg_dim i = 0; i < f->n_rows; i++)
            sum += (double)f->x[i * f->d + d] / (double)f->n_rows;
        for (sg_dim i = 0; i < f->n_rows; i++) {
            const double off = (double)f->x[i * f->d + d] - sum;
            squares += off * off / (double)f->n_rows;
        }
        mean[d] = (float)sum;
        scale[d] = squares > 1e-24 ? (float)(1 / sqrt(squares)) : 0;
    }
    for (sg_dim i = 0; i < f->n * f->d; i++)
        f->x[i] = (f->x[i] - mean[i % f->d]) * scale[i % f->d];
}

static sg_status cut(fitting *f, sg_error *err)
{
    const sg_dim chunk = f->opts->chunk;
    f->n_chunks = 0;
    for (sg_dim i = 0, end; i < f->n_rows; i = end) {
        end = end_of(f->group, f->n_rows, i);
        f->n_chunks += (end - i) / chunk;
    }
    if (f->n_chunks < 1)
        return sg_fail(err, SG_EARG, "q-probe: no group that is fitted has the %" PRId64 " samples of a chunk", chunk);
    f->per_step = SG_MIN(f->n_chunks, SG_MAX(f->opts->batch / chunk, (sg_dim)1));
    f->n_steps = f->n_chunks / f->per_step;
    f->epoch = -1;
    return SG_OK;
}

static sg_status build(fitting *f, sg_error *err)
{
    sg_graph *g = f->g = sg_graph_new();
    const int n = f->probe->n_layers;
    sg_value *w[MOST_LAYERS], *b[MOST_LAYERS];
    char name[8];
    if (!g)
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory");
    for (int i = 0; i < n; i++) {
        const sg_tensor *t = &f->probe->w[i];
        snprintf(name, sizeof name, "w%d", i);
        /* A linear probe begins at nothing; hidden layers as He et al. 2015 have it. */
        w[i] = f->w[2 * i] = sg_variable(g, name, SG_F32, 2, t->dims,
                                         n > 1 ? sg_init_normal(sqrt(2.0 / (double)t->dims[1])) : sg_init_constant(0));
        snprintf(name, sizeof name, "b%d", i);
        b[i] = f->w[2 * i + 1] = sg_variable(g, name, SG_F32, 1, f->probe->b[i].dims, sg_init_constant(0));
    }
    const sg_dim dims[3] = {f->per_step, f->opts->chunk, f->d};
    f->in = sg_input(g, "x", SG_F32, 3, dims);
    f->r = sg_input(g, "r", SG_F32, 2, dims);
    f->step = sg_input(g, "step", SG_I32, 0, NULL);
    f->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    f->loss = sg_qprobe_loss_value(g, f->opts->loss, forward(g, f->in, n, w, b), f->r, f->opts->tau);
    sg_train_adam(g, f->loss, 2 * n, f->w, f->lr, f->step, sg_adam_defaults(), f->updates);
    f->held = sg_input(g, "held", SG_F32, 2, (sg_dim[]){f->n_held, f->d});
    f->held_q = forward(g, f->held, n, w, b);
    SG_TRY(sg_graph_status(g, err));
    SG_TRY(sg_state_new(&f->state, g, err));
    return sg_state_init(f->state, f->opts->seed, err);
}

/* ---- fitting ---- */

static sg_status keep(fitting *f, int epoch, double held_out)
{
    for (int i = 0; i < f->probe->n_layers; i++)
        for (int bias = 0; bias < 2; bias++) {
            sg_tensor *to = bias ? &f->probe->b[i] : &f->probe->w[i];
            memcpy(to->data, sg_state_tensor(f->state, f->w[2 * i + bias])->data, sg_tensor_bytes(to));
        }
    f->probe->n_epochs = epoch;
    f->probe->held_out = held_out;
    return SG_OK;
}

/* The mean reward of the best by Q of each group held out. */
static sg_status best_of_groups(fitting *f, double *out, sg_error *err)
{
    sg_tensor q;
    double sum = 0, n = 0;
    const sg_tensor held = sg_tensor_of(SG_F32, 2, (sg_dim[]){f->n_held, f->d}, f->x + f->n_rows * f->d);
    SG_TRY(sg_session_run(f->session, 1, &(sg_feed){f->held, held}, 1, &f->held_q, &q, err));
    for (sg_dim first = 0, end; first < f->n_held; first = end, n++) {
        sg_dim best = first;
        end = end_of(f->group + f->n_rows, f->n_held, first);
        for (sg_dim i = first; i < end; i++)
            best = sg_tensor_get(&q, i) > sg_tensor_get(&q, best) ? i : best;
        sum += (double)f->reward[f->n_rows + best];
    }
    *out = sum / n;
    return SG_OK;
}

static sg_status train(fitting *f, sg_train *t, sg_error *err)
{
    double best = -HUGE_VAL, now = (double)NAN;
    for (int epoch = 1; epoch <= f->opts->n_epochs; epoch++) {
        SG_TRY(sg_train_run(t, f->n_steps, err));
        if (f->n_held)
            SG_TRY(best_of_groups(f, &now, err));
        if (!f->n_held || now > best) {
            best = f->n_held ? now : best;
            SG_TRY(keep(f, epoch, now));
        }
        if (f->opts->progress)
            f->opts->progress(f->opts->context, (double)epoch / (double)f->opts->n_epochs);
    }
    return SG_OK;
}

static sg_status fit(fitting *f, const sg_tensor *x, const double *reward, const int32_t *group, sg_error *err)
{
    sg_train *t = NULL;
    sg_train_opts how = sg_train_defaults();
    const size_t n = (size_t)f->n;
    SG_TRY(probe_new(&f->probe, f->d, f->opts->n_hidden, f->opts->width, err));
    f->x = malloc(n * (size_t)f->d * sizeof *f->x);
    f->reward = malloc(n * sizeof *f->reward);
    f->group = malloc(n * sizeof *f->group);
    f->order = malloc(n * sizeof *f->order);
    if (!f->x || !f->reward || !f->group || !f->order)
        return sg_fail(err, SG_ENOMEM, "q-probe: out of memory for %zu samples", n);
    part(f, x, reward, group);
    standardise(f);
    SG_TRY(cut(f, err));
    SG_TRY(build(f, err));
    const sg_source data = {.n_fields = 2,
                            .field = {sg_tensor_of(SG_F32, 3, (sg_dim[]){f->per_step, f->opts->chunk, f->d}, NULL),
                                      sg_tensor_of(SG_F32, 2, (sg_dim[]){f->per_step, f->opts->chunk}, NULL)},
                            .fill = fill,
                            .self = f};
    const sg_train_graph what = {.step = f->step,
                                 .lr = f->lr,
                                 .loss = f->loss,
                                 .n_updates = 2 * f->probe->n_layers,
                                 .updates = f->updates,
                                 .n_inputs = 2,
                                 .inputs = (sg_value *[]){f->in, f->r}};
    how.lr = f->opts->lr;
    how.source = &data;
    how.cancel = f->opts->cancel;
    how.exec = f->opts->exec;
    SG_TRY(sg_session_new(&f->session, f->g, f->state, f->opts->exec, err));
    sg_status status = sg_train_new(&t, f->g, f->state, what, how, err);
    if (status == SG_OK)
        status = train(f, t, err);
    sg_train_free(t);
    return status;
}

sg_status sg_qprobe_fit(sg_qprobe **out, const sg_tensor *embeddings, const double *reward, const int32_t *group,
                        sg_qprobe_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(embeddings, reward, &opts, err));
    fitting f = {.opts = &opts, .n = embeddings->dims[0], .d = embeddings->dims[1]};
    const sg_status status = fit(&f, embeddings, reward, group, err);
    sg_session_free(f.session);
    sg_state_free(f.state);
    sg_graph_free(f.g);
    free(f.x);
    free(f.reward);
    free(f.group);
    free(f.order);
    if (status != SG_OK) {
        sg_qprobe_free(f.probe);
        return status;
    }
    *out = f.probe;
    return SG_OK;
}

/* ---- files ---- */

sg_status sg_qprobe_save(const sg_qprobe *q, const sg_qprobe_about *about, const char *path, sg_error *err)
{
    static const char *const names[2 * MOST_LAYERS] = {"w0", "b0", "w1", "b1", "w2", "b2"};
    sg_named_tensor list[2 + 2 * MOST_LAYERS] = {{"mean", q->mean}, {"scale", q->scale}};
    char hash[24], epochs[24];
    int n = 2;
    for (int i = 0; i < q->n_layers; i++) {
        list[n++] = (sg_named_tensor){names[2 * i], q->w[i]};
        list[n++] = (sg_named_tensor){names[2 * i + 1], q->b[i]};
    }
    snprintf(hash, sizeof hash, "%016" PRIx64, about->model_hash);
    snprintf(epochs, sizeof epochs, "%d", q->n_epochs);
    const sg_pair metadata[] = {{"kind", "qprobe"},
                                {"site", about->site ? about->site : ""},
                                {"model", about->model ? about->model : ""},
                                {"reward", about->reward ? about->reward : ""},
                                {"loss", about->loss ? about->loss : ""},
                                {"model_hash", hash},
                                {"epochs", epochs}};
    return sg_safetensors_save(path, list, n, metadata, (int)SG_COUNT_OF(metadata), err);
}

static sg_status take(sg_tensor *to, const sg_safetensors *st, const char *path, const char *name, sg_error *err)
{
    const sg_tensor *t;
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    SG_TRY(sg_safetensors_get(&t, st, name, err));
    if (t->dtype != SG_F32 || t->n_dims != to->n_dims ||
        memcmp(t->dims, to->dims, (size_t)t->n_dims * sizeof t->dims[0]) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %s %s, wanted f32 %s", path, name, sg_dtype_name(t->dtype),
                       sg_shape_text(found, t->n_dims, t->dims), sg_shape_text(wanted, to->n_dims, to->dims));
    memcpy(to->data, t->data, sg_tensor_bytes(t));
    return SG_OK;
}

static sg_status read(sg_qprobe **out, sg_qprobe_about *about, const sg_safetensors *st, const char *path,
                      sg_error *err)
{
    static const char *const keys[4] = {"site", "model", "reward", "loss"};
    const char *kind = sg_safetensors_metadata(st, "kind"), *hash = sg_safetensors_metadata(st, "model_hash"),
               *epochs = sg_safetensors_metadata(st, "epochs");
    const sg_tensor *mean, *w0;
    char name[8];
    if (!kind || strcmp(kind, "qprobe") != 0)
        return sg_fail(err, SG_EFORMAT, "%s is no Q-probe", path);
    SG_TRY(sg_safetensors_get(&mean, st, "mean", err));
    SG_TRY(sg_safetensors_get(&w0, st, "w0", err));
    const int n_hidden = sg_safetensors_find(st, "w2") ? 2 : sg_safetensors_find(st, "w1") ? 1 : 0;
    if (mean->n_dims != 1 || mean->dims[0] < 1 || mean->dims[0] > 1 << 24 || w0->n_dims != 2 || w0->dims[0] < 1 ||
        w0->dims[0] > 1 << 20)
        return sg_fail(err, SG_EFORMAT, "%s: mean and w0 have not the shapes of a Q-probe", path);
    SG_TRY(probe_new(out, mean->dims[0], n_hidden, w0->dims[0], err));
    sg_qprobe *q = *out;
    SG_TRY(take(&q->mean, st, path, "mean", err));
    SG_TRY(take(&q->scale, st, path, "scale", err));
    for (int i = 0; i <= n_hidden; i++) {
        snprintf(name, sizeof name, "w%d", i);
        SG_TRY(take(&q->w[i], st, path, name, err));
        name[0] = 'b';
        SG_TRY(take(&q->b[i], st, path, name, err));
    }
    q->n_epochs = epochs ? (int)strtol(epochs, NULL, 10) : 0;
    for (int i = 0; i < 4; i++) {
        const char *text = sg_safetensors_metadata(st, keys[i]);
        q->texts[i] = strdup(text ? text : "");
        if (!q->texts[i])
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    if (about)
        *about = (sg_qprobe_about){.site = q->texts[0],
                                   .model = q->texts[1],
                                   .reward = q->texts[2],
                                   .loss = q->texts[3],
                                   .model_hash = hash ? strtoull(hash, NULL, 16) : 0};
    return SG_OK;
}

sg_status sg_qprobe_open(sg_qprobe **out, sg_qprobe_about *about, const char *path, sg_error *err)
{
    sg_safetensors *st;
    *out = NULL;
    SG_TRY(sg_safetensors_open(&st, path, err));
    const sg_status status = read(out, about, st, path, err);
    sg_safetensors_close(st);
    if (status != SG_OK) {
        sg_qprobe_free(*out);
        *out = NULL;
    }
    return status;
}
