/* Fitting a tensor-product probe to labels: a graph with the loss, trained on rows in an order drawn anew for each
 * epoch. The last tenth of the rows is not trained on; it is looked at now and then, and the best numbers so far are
 * kept. */
#include "methods/tpr_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "sightglass/train.h"

enum { U, R, ROWS = R, COLUMNS, F, BIAS, N_PARTS }; /* variables; COLUMNS and BIAS may be absent */
enum { ACTS, LABELS, N_FIELDS };
enum { CHUNK = 8192 }; /* rows whose loss is computed at once */
/* Steps of fewer products than this run on one thread: a second saves little where the other processor is idle, and
 * costs several times the step where it is not. */
enum { QUIET = 1 << 24 };

sg_tpr_opts sg_tpr_defaults(void)
{
    return (sg_tpr_opts){.form = SG_TPR_BILINEAR,
                         .n_classes = 2,
                         .role_dim = 16,
                         .filler_dim = 2,
                         .n_rows = 8,
                         .row_dim = 8,
                         .column_dim = 8,
                         .lr = 1e-2,
                         .weight_decay = 1e-2,
                         .n_epochs = 16,
                         .batch = 1024,
                         .patience = 10,
                         .exec = sg_exec_defaults()};
}

/* ---- rows as a source ---- */

typedef struct rows {
    const sg_tensor *from[N_FIELDS];
    sg_dim batch;
    sg_shuffle order; /* of the rows that are trained on */
} rows;

static sg_status fill_batch(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    const rows *r = self;
    (void)err;
    for (sg_dim k = 0; k < r->batch; k++) {
        const sg_dim at = i * r->batch + k;
        const sg_dim row = sg_shuffle_at(&r->order, at / r->order.n_rows, at % r->order.n_rows);
        for (int f = 0; f < N_FIELDS; f++) {
            const sg_tensor from = sg_rows_of(r->from[f], row, 1), to = sg_rows_of(&field[f], k, 1);
            memcpy(to.data, from.data, sg_tensor_bytes(&from));
        }
    }
    return SG_OK;
}

/* ---- the graph ---- */

typedef struct fitting {
    sg_graph *g;
    sg_state *state;
    sg_session *look;
    sg_train *train;
    sg_updates *updates;
    sg_value *part[N_PARTS], *input[N_FIELDS], *step, *lr, *loss, *sum, *count;
    sg_tensor best[N_PARTS]; /* the caller's to free() */
    sg_tensor mean, per;     /* [D] what is taken off features, and what they are then multiplied with */
    rows rows;
    sg_source source;
} fitting;

/* sum: of -log p over the labels that are there, count: how many are. */
static void build_loss(fitting *t, sg_value *logits, sg_dim S)
{
    sg_graph *g = t->g;
    sg_value *none = sg_scalar(g, SG_I32, 0), *one = sg_scalar(g, SG_F32, 1);
    sg_value *there = sg_cast(g, sg_greater_equal(g, t->input[LABELS], none), SG_F32);
    sg_value *nll = sg_cross_entropy(g, logits, sg_maximum(g, t->input[LABELS], none));
    t->sum = sg_sum_all(g, sg_mul(g, nll, there));
    t->count = sg_sum_all(g, there);
    t->loss = sg_mul_scalar(g, sg_div(g, t->sum, sg_maximum(g, t->count, one)), (double)S);
}

static void build_inputs(fitting *t, sg_dim D, sg_dim S)
{
    const sg_dim n = sg_extent(t->g, "rows");
    t->input[ACTS] = sg_input(t->g, "acts", SG_F32, 2, (sg_dim[]){n, D});
    t->input[LABELS] = sg_input(t->g, "labels", SG_I32, 2, (sg_dim[]){n, S});
}

static sg_value *normal(sg_graph *g, const char *name, int n_dims, const sg_dim *dims, sg_dim variance)
{
    return sg_variable(g, name, SG_F32, n_dims, dims, sg_init_normal(1 / sqrt((double)variance)));
}

static void build(fitting *t, const sg_tpr_opts *o, sg_dim D, sg_dim S)
{
    const bool trilinear = o->form == SG_TPR_TRILINEAR;
    const sg_dim a = o->row_dim, b = o->column_dim, r = trilinear ? a * b : o->role_dim, f = o->filler_dim;
    const sg_dim C = o->n_classes, I = o->n_rows, J = S / I;
    sg_graph *g = t->g;
    build_inputs(t, D, S);
    t->step = sg_input(g, "step", SG_I32, 0, NULL);
    t->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    t->part[U] = normal(g, "binding", 3, (sg_dim[]){D, r, f}, D);
    t->part[F] = normal(g, "fillers", 2, (sg_dim[]){C, f}, f);
    sg_value *roles = NULL;
    if (trilinear) {
        t->part[ROWS] = normal(g, "rows", 2, (sg_dim[]){I, a}, a);
        t->part[COLUMNS] = normal(g, "columns", 2, (sg_dim[]){J, b}, b);
        roles = sg_mul(g, sg_reshape(g, t->part[ROWS], 4, (sg_dim[]){I, 1, a, 1}),
                       sg_reshape(g, t->part[COLUMNS], 4, (sg_dim[]){1, J, 1, b}));
        roles = sg_reshape(g, roles, 2, (sg_dim[]){S, r});
    } else {
        roles = t->part[R] = normal(g, "roles", 2, (sg_dim[]){S, r}, r);
    }
    if (o->bias)
        t->part[BIAS] = sg_variable(g, "bias", SG_F32, 2, (sg_dim[]){S, C}, sg_init_constant(0));
    sg_value *even = sg_mul(g, sg_sub(g, t->input[ACTS], sg_const(g, &t->mean)), sg_const(g, &t->per));
    build_loss(t, sg_tpr_logits(g, even, t->part[U], roles, t->part[F], t->part[BIAS]), S);
}

/* ---- looking at rows ---- */

/* The loss of rows from `first` on. */
static sg_status look(double *out, fitting *t, const sg_tensor *acts, const sg_tensor *labels, sg_dim first,
                      sg_error *err)
{
    const sg_dim n = acts->dims[0];
    sg_value *const fetches[] = {t->sum, t->count};
    double sum = 0, count = 0;
    for (sg_dim at = first; at < n; at += CHUNK) {
        const sg_dim now = SG_MIN((sg_dim)CHUNK, n - at);
        const sg_feed feeds[] = {{t->input[ACTS], sg_rows_of(acts, at, now)},
                                 {t->input[LABELS], sg_rows_of(labels, at, now)}};
        sg_tensor got[2];
        SG_TRY(sg_session_run(t->look, N_FIELDS, feeds, 2, fetches, got, err));
        sum += sg_tensor_get(&got[0], 0);
        count += sg_tensor_get(&got[1], 0);
    }
    *out = (double)labels->dims[1] * sum / SG_MAX(count, 1);
    return SG_OK;
}

static sg_status check_rows(const sg_tensor *acts, const sg_tensor *labels, sg_dim C, sg_error *err)
{
    char a[SG_SHAPE_TEXT], l[SG_SHAPE_TEXT];
    if (acts->dtype != SG_F32 || labels->dtype != SG_I32)
        return sg_fail(err, SG_ETYPE, "tpr: activations are %s and labels %s, wanted f32 and i32",
                       sg_dtype_name(acts->dtype), sg_dtype_name(labels->dtype));
    if (acts->n_dims != 2 || labels->n_dims != 2 || acts->dims[0] != labels->dims[0] || acts->dims[1] < 1 ||
        labels->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "tpr: activations %s and labels %s, wanted [rows,D] and [rows,roles]",
                       sg_shape_text(a, acts->n_dims, acts->dims), sg_shape_text(l, labels->n_dims, labels->dims));
    const int32_t *label = labels->data;
    const sg_dim n = sg_tensor_count(labels);
    bool any = false;
    for (sg_dim i = 0; i < n; i++) {
        if (label[i] >= C)
            return sg_fail(err, SG_EARG,
                           "tpr: label %" PRId32 " at row %" PRId64 ", role %" PRId64 ", with %" PRId64 " classes",
                           label[i], i / labels->dims[1], i % labels->dims[1], C);
        any = any || label[i] >= 0;
    }
    return any ? SG_OK : sg_fail(err, SG_EARG, "tpr: no row of %" PRId64 " has a label", acts->dims[0]);
}

static void release(fitting *t)
{
    for (int i = 0; i < N_PARTS; i++)
        free(t->best[i].data);
    free(t->mean.data);
    free(t->per.data);
    sg_train_free(t->train);
    sg_session_free(t->look);
    sg_updates_free(t->updates);
    sg_state_free(t->state);
    sg_graph_free(t->g);
}

sg_status sg_tpr_loss(double *out, const sg_tpr *p, const sg_tensor *acts, const sg_tensor *labels, sg_error *err)
{
    const sg_tpr_parts *q = &p->parts;
    const sg_dim D = q->binding.dims[0], S = q->roles.dims[0];
    SG_TRY(check_rows(acts, labels, q->fillers.dims[0], err));
    if (acts->dims[1] != D || labels->dims[1] != S)
        return sg_fail(err, SG_ESHAPE,
                       "tpr: width %" PRId64 " and %" PRId64 " roles, the probe has %" PRId64 " and %" PRId64,
                       acts->dims[1], labels->dims[1], D, S);
    fitting t = {.g = sg_graph_new()};
    if (!t.g)
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    build_inputs(&t, D, S);
    build_loss(&t, sg_tpr_graph(t.g, p, t.input[ACTS]), S);
    sg_status status = sg_graph_status(t.g, err);
    if (status == SG_OK)
        status = sg_session_new(&t.look, t.g, NULL, sg_exec_defaults(), err);
    if (status == SG_OK)
        status = look(out, &t, acts, labels, 0, err);
    release(&t);
    return status;
}

/* ---- training ---- */

static sg_status check_opts(const sg_tpr_opts *o, sg_dim S, sg_error *err)
{
    const bool trilinear = o->form == SG_TPR_TRILINEAR;
    if (o->n_classes < 2 || o->filler_dim < 1 || (trilinear ? o->row_dim < 1 || o->column_dim < 1 : o->role_dim < 1))
        return sg_fail(err, SG_EARG, "tpr: at least 2 classes and 1 dimension of each kind are wanted");
    if (trilinear && (o->n_rows < 1 || S % o->n_rows != 0))
        return sg_fail(err, SG_EARG, "tpr: %" PRId64 " roles do not lie in %" PRId64 " rows", S, o->n_rows);
    if (o->n_epochs < 1 || o->batch < 1 || o->patience < 1 || !(o->lr > 0) || !(o->weight_decay >= 0))
        return sg_fail(err, SG_EARG, "tpr: epochs, batch, patience and rate are to be above 0");
    return SG_OK;
}

/* Features to deviation 1, and with a bias to mean 0: of the first n rows. */
static sg_status standardise(fitting *t, const sg_tensor *acts, sg_dim n, bool bias, sg_error *err)
{
    const sg_dim D = acts->dims[1];
    const float *x = acts->data;
    bool varies = false;
    SG_TRY(tpr_room(&t->mean, SG_F32, 1, &D, err));
    SG_TRY(tpr_room(&t->per, SG_F32, 1, &D, err));
    for (sg_dim d = 0; d < D; d++) {
        double sum = 0, squares = 0;
        for (sg_dim i = 0; i < n; i++)
            sum += (double)x[i * D + d];
        for (sg_dim i = 0; i < n; i++) {
            const double off = (double)x[i * D + d] - sum / (double)n;
            squares += off * off;
        }
        ((float *)t->mean.data)[d] = bias ? (float)(sum / (double)n) : 0;
        ((float *)t->per.data)[d] = squares > 0 ? (float)sqrt((double)n / squares) : 0; /* else it tells nothing */
        varies = varies || squares > 0;
    }
    return varies ? SG_OK : sg_fail(err, SG_EARG, "tpr: all activations are the same");
}

/* The numbers that were trained read (x - mean) * per; from here on they read x. */
static sg_status finish(sg_tpr **out, fitting *t, const sg_tpr_opts *o, sg_error *err)
{
    const sg_dim D = t->per.dims[0], each = sg_tensor_count(&t->best[U]) / D;
    for (sg_dim i = 0; i < D * each; i++)
        ((float *)t->best[U].data)[i] *= ((const float *)t->per.data)[i / each];
    sg_tpr_parts parts = {.binding = t->best[U], .fillers = t->best[F], .bias = t->best[BIAS]};
    if (o->form == SG_TPR_TRILINEAR)
        parts.rows = t->best[ROWS], parts.columns = t->best[COLUMNS];
    else
        parts.roles = t->best[R];
    SG_TRY(sg_tpr_of(out, &parts, err));
    if (!o->bias)
        return SG_OK;
    sg_tpr *const centred = *out;
    sg_tensor w, less = {0};
    *out = NULL;
    sg_status status = sg_tpr_linear(&w, centred, err);
    if (status == SG_OK) {
        const sg_dim n = sg_tensor_count(&parts.bias);
        const sg_tensor mean = tpr_as(&t->mean, 2, (sg_dim[]){1, D}), flat = tpr_as(&w, 2, (sg_dim[]){D, n});
        status = tpr_product(&less, &mean, false, &flat, false, err);
        for (sg_dim i = 0; status == SG_OK && i < n; i++)
            ((float *)parts.bias.data)[i] -= ((const float *)less.data)[i];
        free(w.data);
    }
    if (status == SG_OK)
        status = sg_tpr_of(out, &parts, err);
    free(less.data);
    sg_tpr_free(centred);
    return status;
}

static sg_status keep_best(fitting *t, sg_error *err)
{
    for (int i = 0; i < N_PARTS; i++) {
        if (!t->part[i])
            continue;
        const sg_tensor *now = sg_state_tensor(t->state, t->part[i]);
        if (!t->best[i].data)
            SG_TRY(tpr_room(&t->best[i], SG_F32, now->n_dims, now->dims, err));
        memcpy(t->best[i].data, now->data, sg_tensor_bytes(now));
    }
    return SG_OK;
}

static sg_status prepare(fitting *t, const sg_tpr_opts *o, sg_dim n_train, sg_dim n_steps, sg_schedule *falling,
                         sg_error *err)
{
    const sg_dim D = t->rows.from[ACTS]->dims[1], S = t->rows.from[LABELS]->dims[1], n = t->rows.batch;
    sg_value *trained[N_PARTS];
    int n_trained = 0;
    build(t, o, D, S);
    for (int i = 0; i < N_PARTS; i++)
        if (t->part[i])
            trained[n_trained++] = t->part[i];
    sg_update_opts update = sg_update_defaults();
    update.adam.weight_decay = o->weight_decay;
    SG_TRY(sg_updates_new(&t->updates, t->g, t->loss, NULL, n_trained, trained, t->lr, t->step, update, err));
    SG_TRY(sg_graph_status(t->g, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    SG_TRY(sg_state_init(t->state, o->seed, err));
    SG_TRY(sg_session_new(&t->look, t->g, t->state, o->exec, err));
    t->rows.order = sg_shuffle_new(o->seed, n_train);
    t->source = (sg_source){
        .n_fields = N_FIELDS,
        .field = {sg_tensor_of(SG_F32, 2, (sg_dim[]){n, D}, NULL), sg_tensor_of(SG_I32, 2, (sg_dim[]){n, S}, NULL)},
        .fill = fill_batch,
        .self = &t->rows};
    *falling = sg_schedule_defaults();
    falling->kind = SG_SCHEDULE_LINEAR;
    falling->lr = o->lr;
    falling->n_steps = n_steps;
    sg_train_opts train = sg_train_defaults();
    train.schedule = falling;
    train.source = &t->source;
    train.read_every = INT64_MAX; /* at the end of each run alone */
    train.cancel = o->cancel;
    train.exec = o->exec;
    const sg_train_graph what = {
        .step = t->step, .lr = t->lr, .loss = t->loss, .made = t->updates, .n_inputs = N_FIELDS, .inputs = t->input};
    return sg_train_new(&t->train, t->g, t->state, what, train, err);
}

static sg_status train(fitting *t, const sg_tpr_opts *o, const sg_tensor *acts, const sg_tensor *labels, sg_error *err)
{
    const sg_dim n = acts->dims[0], n_kept = n / 10, n_train = n - n_kept;
    t->rows.batch = SG_MIN(o->batch, n_train);
    const sg_dim n_steps = SG_MAX((n_train * o->n_epochs + t->rows.batch - 1) / t->rows.batch, 1);
    const sg_dim every = SG_MAX(n_train / t->rows.batch / 2, 1);
    sg_schedule falling;
    double lowest = (double)INFINITY;
    int n_in_vain = 0;
    sg_tpr_opts own = *o;
    const sg_dim r = o->form == SG_TPR_TRILINEAR ? o->row_dim * o->column_dim : o->role_dim;
    if ((double)t->rows.batch * (double)(r * o->filler_dim) * (double)(acts->dims[1] + labels->dims[1] * o->n_classes) <
        QUIET)
        own.exec.n_threads = 1;
    SG_TRY(standardise(t, acts, n_train, o->bias, err));
    SG_TRY(prepare(t, &own, n_train, n_steps, &falling, err));
    for (sg_dim done = 0; done < n_steps && n_in_vain < o->patience;) {
        const sg_dim now = SG_MIN(every, n_steps - done);
        double loss;
        SG_TRY(sg_train_run(t->train, now, err));
        done += now;
        /* With fewer than ten rows there is nothing apart to look at. */
        SG_TRY(look(&loss, t, acts, labels, n_kept ? n_train : 0, err));
        if (!isfinite(loss))
            return sg_fail(err, SG_ENUMERIC, "tpr: the loss is %g after step %" PRId64, loss, done);
        n_in_vain = loss < lowest ? 0 : n_in_vain + 1;
        if (loss < lowest) {
            lowest = loss;
            SG_TRY(keep_best(t, err));
        }
        if (o->progress)
            o->progress(o->context, n_in_vain < o->patience ? (double)done / (double)n_steps : 1, loss);
    }
    return SG_OK;
}

sg_status sg_tpr_fit(sg_tpr **out, const sg_tensor *acts, const sg_tensor *labels, sg_tpr_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check_rows(acts, labels, opts.n_classes, err));
    SG_TRY(check_opts(&opts, labels->dims[1], err));
    SG_TRY(tpr_check_finite(acts, "the activations", err));
    fitting t = {.g = sg_graph_new(), .rows = {.from = {acts, labels}}};
    sg_status status = t.g ? SG_OK : sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    if (status == SG_OK)
        status = train(&t, &opts, acts, labels, err);
    if (status == SG_OK)
        status = finish(out, &t, &opts, err);
    release(&t);
    return status;
}
