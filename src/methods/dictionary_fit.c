/* Training a dictionary. One step is one run of a graph: codes, reconstruction, the kind's loss, its gradient, Adam.
 * What a kind demands of its numbers (decoder rows of length 1, mixtures on the simplex, slack no longer than delta) is
 * seen to between steps, on the numbers themselves; the decoder's gradient is freed of its radial part first, so that
 * Adam's moments hold none. Everything a step does depends on its number and the state, so a run that was cut in two is
 * the same run.
 *
 * Codes that are kept are few. Where they are, neither the decoder nor any gradient multiplies whole matrices: single
 * rows are gathered, and gradients go through kept codes alone (ops/rows.c, docs/decisions/0012-sparse-codes.md). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/shuffle.h"
#include "methods/dictionary_internal.h"
#include "ops/iter.h"
#include "sightglass/checkpoint.h"
#include "sightglass/kmeans.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/train.h"

enum { SAMPLE = 131072, SAMPLE_LIVE = 16384, MAX_PARAMS = 8, RESAMPLED_FROM = 8192 };
enum { STREAM_ENC = 1, STREAM_DEC, STREAM_MIX, STREAM_POINTS, STREAM_RESAMPLE };

struct sg_dict_trainer {
    const sg_dict_data *data;
    sg_dict_opts opts;
    sg_dim d, m;
    float *mean, *points; /* [D]; [P,D], as the data has them */
    double scale;
    sg_shuffle order;
    pthread_mutex_t reading;
    sg_graph *g;
    sg_state *state;
    sg_source source;
    sg_schedule schedule;
    sg_train *train;
    sg_session *judge; /* resampling: what the reconstruction is off by */
    /* variables; NULL: the kind has none */
    sg_value *enc, *b_enc, *dec, *b_dec, *threshold, *r_mag, *b_mag, *mix, *slack, *log_scale, *fired;
    sg_value *x, *off; /* input [batch,D]; normalised rows less their reconstruction */
    sg_value *whole;   /* the decoder [M,D], whatever it is made of */
};

sg_dict_opts sg_dict_defaults(void)
{
    return (sg_dict_opts){.kind = SG_DICT_TOPK,
                          .width = 512,
                          .k = 8,
                          .l1 = 0.3,
                          .l0 = 0.02,
                          .bandwidth = 0.1,
                          .aux = 0.1,
                          .n_aux = INT64_MAX,
                          .points = SG_DICT_CENTROIDS,
                          .n_points = 512,
                          .delta = 1,
                          .rescale = true,
                          .centre = true,
                          .batch = 2048,
                          .n_steps = 1000,
                          .lr = 1e-3,
                          .lr_end = 1e-5,
                          .checkpoint_every = 500,
                          .exec = sg_exec_defaults()};
}

static sg_status check(const sg_dict_opts *o, const sg_dict_data *data, sg_error *err)
{
    if (o->kind < 0 || o->kind >= SG_N_DICT_KINDS || o->width < 1 || o->width > INT32_MAX)
        return sg_fail(err, SG_EARG, "dictionary: %" PRId64 " atoms of kind %d", o->width, (int)o->kind);
    if ((dict_is_topk(o->kind) || o->kind == SG_DICT_BATCHTOPK) && (o->k < 1 || o->k > o->width))
        return sg_fail(err, SG_EARG, "dictionary: k is %" PRId64 " of %" PRId64 " atoms", o->k, o->width);
    if (o->batch < 1 || o->n_steps < 0 || o->resample < 0 || o->checkpoint_every < 1 || o->n_aux < 1)
        return sg_fail(err, SG_EARG, "dictionary: batches of %" PRId64 " rows, %" PRId64 " steps", o->batch,
                       o->n_steps);
    if (!(o->l1 >= 0) || !(o->l0 >= 0) || !(o->bandwidth > 0) || !(o->aux >= 0) || !(o->delta >= 0) ||
        !(o->weight_decay >= 0))
        return sg_fail(err, SG_EARG, "dictionary: a penalty, weight, width or decay below 0");
    if (!(o->lr > 0) || !(o->lr_end >= 0) || o->lr_end > o->lr)
        return sg_fail(err, SG_EARG, "dictionary: a learning rate from %g to %g", o->lr, o->lr_end);
    if (data->width < 1 || data->n_rows < 1)
        return sg_fail(err, SG_EARG, "dictionary: there are no rows");
    return SG_OK;
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
}

/* ---- before the first step: the frame, and what atoms are mixed of ---- */

static sg_status find_points(sg_dict_trainer *t, const float *rows, sg_dim n, sg_error *err)
{
    const sg_dim p = t->opts.n_points, width = t->d;
    const sg_tensor all = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, width}, (float *)(uintptr_t)rows);

    const sg_tensor *given = t->opts.given;
    char shape[SG_SHAPE_TEXT];
    if (t->opts.points == SG_DICT_GIVEN &&
        (!given || given->dtype != SG_F32 || given->n_dims != 2 || given->dims[0] != p || given->dims[1] != width))
        return sg_fail(err, SG_ESHAPE, "dictionary: points are %s, f32 [%" PRId64 ",%" PRId64 "] were wanted",
                       given ? sg_shape_text(shape, given->n_dims, given->dims) : "not given", p, width);
    if (p < 1 || (p > n && t->opts.points != SG_DICT_GIVEN))
        return sg_fail(err, SG_EARG, "dictionary: %" PRId64 " points of %" PRId64 " rows", p, n);
    t->points = malloc((size_t)(p * width) * sizeof *t->points);
    if (!t->points)
        return no_memory(err);
    if (t->opts.points == SG_DICT_GIVEN) {
        memcpy(t->points, t->opts.given->data, sg_tensor_bytes(t->opts.given));
        return SG_OK;
    }
    if (t->opts.points == SG_DICT_CENTROIDS) {
        sg_kmeans_opts how = sg_kmeans_defaults();
        how.k = p;
        how.seed = t->opts.points_seed;
        how.most_steps = 30;
        how.cancel = t->opts.cancel;
        sg_kmeans *fit;
        SG_TRY(sg_kmeans_fit(&fit, &all, how, err));
        memcpy(t->points, fit->centroids.data, sg_tensor_bytes(&fit->centroids));
        sg_kmeans_free(fit);
        return SG_OK;
    }
    const sg_shuffle order = sg_shuffle_new(t->opts.points_seed ^ STREAM_POINTS, n);
    if (t->opts.points == SG_DICT_RANDOM)
        dict_random_rows(t->points, p, width, t->opts.points_seed, STREAM_POINTS);
    for (sg_dim i = 0; i < p; i++) {
        const float *row = rows + sg_shuffle_at(&order, 0, i) * width;
        double length = 0;
        for (sg_dim d = 0; d < width; d++)
            length += ((double)row[d] - (double)t->mean[d]) * ((double)row[d] - (double)t->mean[d]);
        for (sg_dim d = 0; d < width; d++) {
            float *at = &t->points[i * width + d];
            *at = t->opts.points == SG_DICT_SAMPLE ? row[d] : (float)((double)*at * sqrt(length) + (double)t->mean[d]);
        }
    }
    return SG_OK;
}

static sg_status look_at_data(sg_dict_trainer *t, sg_error *err)
{
    const sg_dim most = t->data->n_rows == INT64_MAX ? SAMPLE_LIVE : SAMPLE;
    float *rows;
    sg_dim n;

    t->mean = calloc((size_t)t->d, sizeof *t->mean);
    if (!t->mean)
        return no_memory(err);
    SG_TRY(dict_sample(&rows, &n, t->data, most, t->opts.points_seed, err));
    dict_standard(t->mean, &t->scale, rows, n, t->d, t->opts.centre);
    const sg_status status = dict_is_archetypal(t->opts.kind) ? find_points(t, rows, n, err) : SG_OK;
    free(rows);
    return status;
}

/* ---- the graph ---- */

static sg_value *variable(sg_dict_trainer *t, const char *name, int n_dims, sg_dim d0, sg_dim d1, double start)
{
    return sg_variable(t->g, name, SG_F32, n_dims, (sg_dim[]){d0, d1}, sg_init_constant(start));
}

/* 1 where |p - threshold| is less than half a bandwidth, over the bandwidth: what a jump's derivative is taken for. */
static sg_value *near(sg_graph *g, sg_value *p, sg_value *threshold, double bandwidth)
{
    sg_value *inside = sg_less(g, sg_abs(g, sg_sub(g, p, threshold)), sg_scalar_like(g, p, bandwidth / 2));
    return sg_mul_scalar(g, sg_cast(g, inside, SG_F32), 1 / bandwidth);
}

/* What is added to a loss so that thresholds learn, 0 itself: a jump in p at the threshold has the derivative -near
 * times what it jumps by (Rajamanoharan et al. 2024b, equations 11 and 12). */
static sg_value *learns(sg_graph *g, sg_value *threshold, sg_value *slope)
{
    return sg_mul(g, sg_sub(g, threshold, sg_stop_gradient(g, threshold)), sg_stop_gradient(g, slope));
}

static sg_value *mean_square(sg_graph *g, sg_value *x)
{
    return sg_mean_all(g, sg_square(g, x));
}

/* What is left, reconstructed by the best of the codes that were not kept (Gao et al. 2024, appendix A.2; with half of
 * all codes and not only dead ones, as the authors of archetypal dictionaries have it). */
static sg_value *auxiliary(sg_dict_trainer *t, const dict_values *v, const dict_codes *c)
{
    sg_graph *g = t->g;
    const sg_dim n = SG_MIN(t->opts.n_aux, SG_MAX(t->m / 2, 1));
    sg_value *kept = c->ids ? sg_put_along(g, c->ids, sg_ones_like(g, c->kept), -1, t->m)
                            : sg_cast(g, sg_greater(g, c->codes, sg_scalar(g, SG_F32, 0)), SG_F32);
    sg_value *open = sg_add_scalar(g, sg_neg(g, kept), 1);
    sg_value *rest = sg_mul(g, sg_relu(g, c->pre), sg_stop_gradient(g, open));
    sg_value *ids = sg_top_k(g, rest, n), *best = sg_take_along(g, rest, ids, -1), *guess;

    if (dict_few(n, t->m))
        guess = sg_rows_sum(g, v->dec, ids, best);
    else
        guess = sg_matmul(g, sg_put_along(g, ids, best, -1, t->m), v->dec, false, false);
    return mean_square(g, sg_sub(g, sg_stop_gradient(g, t->off), guess));
}

/* The k largest a row on average: what the last of them is, all over the batch, becomes a running threshold too. */
static void batch_top(sg_dict_trainer *t, dict_codes *c, sg_value **update)
{
    sg_graph *g = t->g;
    const sg_dim batch = t->opts.batch, all = batch * t->m;
    sg_value *on = sg_relu(g, c->pre), *flat = sg_reshape(g, on, 1, &all);
    sg_value *ids = sg_top_k(g, flat, batch * t->opts.k);
    sg_value *values = sg_stop_gradient(g, sg_take_along(g, flat, ids, 0));
    sg_value *last = sg_min_axes(g, values, SG_ALL_AXES, false), *zero = sg_scalar(g, SG_F32, 0);
    sg_value *first = sg_equal(g, t->threshold, zero);

    c->codes = sg_where(g, sg_greater_equal(g, on, last), on, zero);
    sg_value *slow = sg_add(g, sg_mul_scalar(g, t->threshold, 0.99), sg_mul_scalar(g, last, 0.01));
    *update = sg_assign(g, t->threshold, sg_where(g, first, last, slow));
}

static void build_decoder(sg_dict_trainer *t)
{
    sg_graph *g = t->g;
    const sg_dim p = t->opts.n_points;

    if (!dict_is_archetypal(t->opts.kind)) {
        t->whole = t->dec = variable(t, "dec", 2, t->m, t->d, 0);
        return;
    }
    float *framed = malloc((size_t)(p * t->d) * sizeof *framed);
    if (!framed)
        return;
    for (sg_dim i = 0; i < p * t->d; i++)
        framed[i] = (float)(((double)t->points[i] - (double)t->mean[i % t->d]) * t->scale);
    const sg_tensor points = sg_tensor_of(SG_F32, 2, (sg_dim[]){p, t->d}, framed);
    t->mix = variable(t, "mix", 2, t->m, p, 0);
    t->whole = sg_matmul(g, t->mix, sg_const(g, &points), false, false);
    free(framed);
    if (t->opts.kind == SG_DICT_RELAXED) {
        t->slack = variable(t, "slack", 2, t->m, t->d, 0);
        t->log_scale = variable(t, "log_scale", 0, 0, 0, 0);
        t->whole = sg_mul(g, sg_add(g, t->whole, t->slack), sg_exp(g, t->log_scale));
    }
}

/* The loss; *more is what a step assigns beside its parameters, or NULL. */
static sg_value *build_loss(sg_dict_trainer *t, sg_value *x, sg_value **more)
{
    sg_graph *g = t->g;
    const sg_dict_opts *o = &t->opts;
    const double batch = (double)o->batch, root = sqrt((double)t->d);
    dict_values v = {.kind = o->kind,
                     .m = t->m,
                     .k = o->k,
                     .training = true,
                     .dec = t->whole,
                     .b_dec = t->b_dec,
                     .enc = t->enc,
                     .b_enc = t->b_enc,
                     .r_mag = t->r_mag,
                     .b_mag = t->b_mag};
    dict_codes c;

    if (o->kind == SG_DICT_JUMPRELU)
        v.threshold = sg_exp(g, t->threshold);
    else if (o->kind == SG_DICT_BATCHTOPK)
        v.threshold = t->threshold;
    dict_encode(g, x, &v, &c);
    if (o->kind == SG_DICT_BATCHTOPK)
        batch_top(t, &c, more);
    sg_value *codes = c.codes, *penalty = NULL;
    if (o->kind == SG_DICT_JUMPRELU) {
        const double width = o->bandwidth * root;
        sg_value *slope = near(g, c.pre, v.threshold, width), *on = sg_greater(g, c.pre, v.threshold);
        codes = sg_add(g, codes, learns(g, v.threshold, sg_neg(g, sg_mul(g, slope, v.threshold))));
        sg_value *count = sg_add(g, sg_cast(g, on, SG_F32), learns(g, v.threshold, sg_neg(g, slope)));
        penalty = sg_mul_scalar(g, sg_sum_all(g, count), o->l0 / batch);
    }
    sg_value *recons;
    if (c.ids && dict_few(o->k, t->m))
        recons = sg_add(g, sg_rows_sum(g, t->whole, c.ids, c.kept), t->b_dec);
    else
        recons = dict_decode(g, &v, c.ids ? dict_dense(g, &v, &c) : codes);
    t->off = sg_sub(g, x, recons);
    sg_value *loss = mean_square(g, t->off);
    if (o->kind == SG_DICT_RELU)
        penalty = sg_mul_scalar(g, sg_sum_all(g, codes), o->l1 / batch / root);
    if (o->kind == SG_DICT_GATED) { /* the gate is to reconstruct too, through a decoder that it does not move */
        sg_value *gate = sg_relu(g, c.pre);
        sg_value *frozen = sg_matmul(g, gate, sg_stop_gradient(g, t->whole), false, false);
        frozen = sg_sub(g, sg_sub(g, x, frozen), sg_stop_gradient(g, t->b_dec));
        penalty = sg_add(g, sg_mul_scalar(g, sg_sum_all(g, gate), o->l1 / batch / root), mean_square(g, frozen));
    }
    if ((c.ids || o->kind == SG_DICT_BATCHTOPK) && o->aux > 0)
        penalty = sg_mul_scalar(g, auxiliary(t, &v, &c), o->aux);
    if (t->fired) {
        sg_value *on = sg_cast(g, sg_greater(g, codes, sg_scalar(g, SG_F32, 0)), SG_F32);
        *more = sg_assign(g, t->fired, sg_add(g, t->fired, sg_sum(g, on, 0, false)));
    }
    return penalty ? sg_add(g, loss, penalty) : loss;
}

static sg_value *beside(sg_graph *g, const char *what, const sg_value *w)
{
    char name[64];

    snprintf(name, sizeof name, "adam.%s.%s", what, sg_value_name(w));
    return sg_variable(g, name, SG_F32, sg_value_n_dims(w), sg_value_dims(w), sg_init_constant(0));
}

static sg_status build(sg_dict_trainer *t, sg_train_graph *what, sg_value **updates, sg_error *err)
{
    sg_graph *g = t->g;
    const sg_dict_opts *o = &t->opts;
    const sg_tensor mean = sg_tensor_of(SG_F32, 1, &t->d, t->mean);
    sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL), *more = NULL;

    t->x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){o->batch, t->d});
    t->enc = variable(t, "enc", 2, t->m, t->d, 0);
    t->b_enc = variable(t, "b_enc", 1, t->m, 0, 0);
    t->b_dec = variable(t, "b_dec", 1, t->d, 0, 0);
    build_decoder(t);
    if (!t->whole)
        return no_memory(err);
    if (o->kind == SG_DICT_GATED) {
        t->r_mag = variable(t, "r_mag", 1, t->m, 0, 0);
        t->b_mag = variable(t, "b_mag", 1, t->m, 0, 0);
    }
    if (o->kind == SG_DICT_JUMPRELU) /* its logarithm, so that it stays above 0 */
        t->threshold = variable(t, "threshold", 1, t->m, 0, log(o->bandwidth * sqrt((double)t->d)));
    if (o->kind == SG_DICT_BATCHTOPK)
        t->threshold = variable(t, "threshold", 0, 0, 0, 0);
    if (o->resample && (o->kind == SG_DICT_RELU || o->kind == SG_DICT_GATED))
        t->fired = variable(t, "fired", 1, t->m, 0, 0);
    sg_value *x = sg_mul_scalar(g, sg_sub(g, t->x, sg_const(g, &mean)), t->scale);
    what->loss = build_loss(t, x, &more);
    sg_value *const all[] = {t->enc,
                             t->b_enc,
                             t->b_dec,
                             t->dec,
                             t->r_mag,
                             t->b_mag,
                             t->mix,
                             t->slack,
                             o->rescale ? t->log_scale : NULL,
                             o->kind == SG_DICT_JUMPRELU ? t->threshold : NULL};
    sg_value *params[SG_COUNT_OF(all)], *grads[SG_COUNT_OF(all)];
    int n = 0;
    for (size_t i = 0; i < SG_COUNT_OF(all); i++)
        if (all[i])
            params[n++] = all[i];
    sg_gradients(g, what->loss, NULL, n, params, grads);
    sg_value *from_one = sg_add_scalar(g, sg_cast(g, step, SG_F32), 1);
    for (int i = 0; i < n; i++) {
        sg_adam_opts adam = sg_adam_defaults();
        adam.weight_decay = params[i] == t->enc ? o->weight_decay : 0;
        if (params[i] == t->dec) {
            sg_value *radial = sg_sum(g, sg_mul(g, grads[i], t->dec), 1, true);
            grads[i] = sg_sub(g, grads[i], sg_mul(g, radial, t->dec));
        }
        updates[i] =
            sg_adam(g, params[i], beside(g, "m", params[i]), beside(g, "v", params[i]), grads[i], lr, from_one, adam);
    }
    if (more)
        updates[n++] = more;
    what->step = step;
    what->lr = lr;
    what->n_updates = n;
    what->updates = updates;
    return sg_graph_status(g, err);
}

/* ---- numbers: where they start, what they are held to ---- */

static float *numbers(sg_dict_trainer *t, const sg_value *v)
{
    return sg_state_tensor(t->state, v)->data;
}

typedef struct held {
    float *rows;
    sg_dim width;
    double most; /* rows longer than this are cut to it; 0: all are brought to 1 */
} held;

/* Lengths are added up in parts, so that the loop runs as fast as memory. */
static void hold_lengths(void *context, sg_dim first, sg_dim last)
{
    const held *h = context;

    for (sg_dim i = first; i < last; i++) {
        float *row = h->rows + i * h->width;
        float part[16] = {0};
        double sum = 0;
        sg_dim d = 0;
        for (; d + 16 <= h->width; d += 16)
            for (int l = 0; l < 16; l++)
                part[l] += row[d + l] * row[d + l];
        for (; d < h->width; d++)
            part[0] += row[d] * row[d];
        for (int l = 0; l < 16; l++)
            sum += (double)part[l];
        const double length = sqrt(sum);
        if (h->most > 0 ? length <= h->most : !(length > 0))
            continue;
        const float by = (float)((h->most > 0 ? h->most : 1) / length);
        for (sg_dim c = 0; c < h->width; c++)
            row[c] *= by;
    }
}

/* mix <- max(mix, 0) over its row sums. */
static void hold_mixtures(void *context, sg_dim first, sg_dim last)
{
    const held *h = context;

    for (sg_dim i = first; i < last; i++) {
        float *row = h->rows + i * h->width;
        double sum = 1e-8; /* the authors' */
        for (sg_dim d = 0; d < h->width; d++)
            sum += (double)(row[d] = row[d] > 0 ? row[d] : 0);
        for (sg_dim d = 0; d < h->width; d++)
            row[d] = (float)((double)row[d] / sum);
    }
}

static void hold(sg_dict_trainer *t)
{
    const int n_threads = t->opts.exec.n_threads;

    if (t->dec)
        sg_split(t->m, 2 * t->d, n_threads, hold_lengths, &(held){numbers(t, t->dec), t->d, 0});
    if (t->mix)
        sg_split(t->m, 2 * t->opts.n_points, n_threads, hold_mixtures,
                 &(held){numbers(t, t->mix), t->opts.n_points, 0});
    if (t->slack && t->opts.delta > 0)
        sg_split(t->m, 2 * t->d, n_threads, hold_lengths, &(held){numbers(t, t->slack), t->d, t->opts.delta});
    else if (t->slack)
        memset(numbers(t, t->slack), 0, (size_t)(t->m * t->d) * sizeof(float));
}

static void start(sg_dict_trainer *t)
{
    dict_random_rows(numbers(t, t->enc), t->m, t->d, t->opts.seed, STREAM_ENC);
    if (t->dec)
        memcpy(numbers(t, t->dec), numbers(t, t->enc), (size_t)(t->m * t->d) * sizeof(float));
    if (t->mix) { /* the identity; further rows are drawn, since an empty one would be an atom that never lives */
        sg_rng r = sg_rng_new(t->opts.seed, STREAM_MIX);
        for (sg_dim i = 0; i < t->m; i++) {
            const sg_dim at = i < t->opts.n_points ? i : (sg_dim)sg_rng_below(&r, (uint32_t)t->opts.n_points);
            numbers(t, t->mix)[i * t->opts.n_points + at] = 1;
        }
    }
}

/* ---- rows of a batch ---- */

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    sg_dict_trainer *t = self;
    const sg_dim n = field[0].dims[0];
    float *out = field[0].data;
    sg_status status = SG_OK;

    pthread_mutex_lock(&t->reading);
    if (t->data->n_rows == INT64_MAX)
        status = t->data->read(t->data->self, batch * n, n, out, err);
    else
        for (sg_dim i = 0; i < n && status == SG_OK; i++) {
            const sg_dim at = batch * n + i;
            status = t->data->read(t->data->self, sg_shuffle_at(&t->order, at / t->data->n_rows, at % t->data->n_rows),
                                   1, out + i * t->d, err);
        }
    pthread_mutex_unlock(&t->reading);
    return status;
}

/* ---- resampling (Bricken et al. 2023, "Neuron resampling") ---- */

/* Atoms that have not fired since the last time take the place of what is reconstructed worst: rows are drawn with a
 * probability in proportion to their squared loss, and become an atom, with an encoder of a fifth of the mean length.
 */
static sg_status resample(sg_dict_trainer *t, sg_error *err)
{
    const sg_dim batch = t->opts.batch, n_batches = (RESAMPLED_FROM + batch - 1) / batch, n = n_batches * batch;
    float *fired = numbers(t, t->fired), *enc = numbers(t, t->enc), *dec = numbers(t, t->dec);
    const float *b = numbers(t, t->b_dec);
    float *rows = malloc((size_t)(n * t->d) * sizeof *rows);
    double *loss = malloc((size_t)n * sizeof *loss), total = 0, length = 0;
    sg_dim alive = 0;
    sg_status status = rows && loss ? SG_OK : no_memory(err);

    for (sg_dim k = 0; k < n_batches && status == SG_OK; k++) {
        sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){batch, t->d}, rows + k * batch * t->d), off;
        status = fill(t, sg_dict_trainer_step(t) + k, &x, err);
        if (status == SG_OK)
            status = sg_session_run(t->judge, 1, &(sg_feed){t->x, x}, 1, &t->off, &off, err);
        for (sg_dim i = 0; i < batch && status == SG_OK; i++) {
            const double own = dict_length((const float *)off.data + i * t->d, t->d);
            total += loss[k * batch + i] = own * own * own * own;
        }
    }
    for (sg_dim i = 0; i < t->m; i++)
        if (fired[i] > 0) {
            length += dict_length(enc + i * t->d, t->d);
            alive++;
        }
    sg_rng r = sg_rng_new(t->opts.seed ^ (uint64_t)sg_dict_trainer_step(t), STREAM_RESAMPLE);
    sg_value *const params[4] = {t->enc, t->dec, t->b_enc, t->r_mag};
    for (sg_dim i = 0; i < t->m && status == SG_OK && total > 0; i++) {
        if (fired[i] > 0)
            continue;
        double left = sg_rng_uniform(&r) * total;
        sg_dim row = 0;
        for (; row + 1 < n && (left -= loss[row]) >= 0; row++)
            ;
        float *own = dec + i * t->d;
        for (sg_dim d = 0; d < t->d; d++)
            own[d] = (float)(((double)rows[row * t->d + d] - (double)t->mean[d]) * t->scale - (double)b[d]);
        const double size = dict_length(own, t->d);
        const double in = alive ? 0.2 * length / (double)alive : 1;
        for (sg_dim d = 0; d < t->d; d++) {
            own[d] = (float)((double)own[d] / (size > 0 ? size : 1));
            enc[i * t->d + d] = (float)(in * (double)own[d]);
        }
        for (int p = 0; p < 4; p++) { /* their moments are another atom's */
            if (!params[p])
                continue;
            const sg_dim width = sg_value_n_dims(params[p]) > 1 ? t->d : 1;
            if (width == 1)
                numbers(t, params[p])[i] = 0;
            for (int which = 0; which < 2; which++) {
                char name[64];
                snprintf(name, sizeof name, "adam.%s.%s", which ? "v" : "m", sg_value_name(params[p]));
                memset(numbers(t, sg_graph_find(t->g, name)) + i * width, 0, (size_t)width * sizeof(float));
            }
        }
    }
    memset(fired, 0, (size_t)t->m * sizeof *fired);
    free(rows);
    free(loss);
    return status;
}

/* ---- the trainer ---- */

static sg_status prepare(sg_dict_trainer *t, sg_error *err)
{
    sg_value *updates[MAX_PARAMS + 4];
    sg_train_graph what = {0};

    SG_TRY(look_at_data(t, err));
    t->g = sg_graph_new();
    if (!t->g)
        return no_memory(err);
    SG_TRY(build(t, &what, updates, err));
    SG_TRY(sg_state_new(&t->state, t->g, err));
    SG_TRY(sg_state_init(t->state, t->opts.seed, err));
    start(t);
    hold(t);
    t->order = sg_shuffle_new(t->opts.seed, SG_MIN(t->data->n_rows, (sg_dim)1 << 60));
    t->source = (sg_source){.n_fields = 1,
                            .field = {sg_tensor_of(SG_F32, 2, (sg_dim[]){t->opts.batch, t->d}, NULL)},
                            .fill = fill,
                            .self = t};
    t->schedule = sg_schedule_defaults();
    t->schedule.kind = SG_SCHEDULE_COSINE;
    t->schedule.lr = t->opts.lr;
    t->schedule.end = t->opts.lr_end / t->opts.lr;
    t->schedule.n_steps = SG_MAX(t->opts.n_steps, 1);
    sg_train_opts how = sg_train_defaults();
    how.schedule = &t->schedule;
    how.source = &t->source;
    how.read_every = 1;
    how.cancel = t->opts.cancel;
    how.exec = t->opts.exec;
    what.n_inputs = 1;
    what.inputs = &t->x;
    SG_TRY(sg_train_new(&t->train, t->g, t->state, what, how, err));
    return t->fired ? sg_session_new(&t->judge, t->g, t->state, t->opts.exec, err) : SG_OK;
}

sg_status sg_dict_trainer_new(sg_dict_trainer **out, const sg_dict_data *data, sg_dict_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(&opts, data, err));
    if (dict_is_closed(opts.kind))
        return sg_fail(err, SG_EARG, "dictionary: %s is not trained by steps", sg_dict_kind_name(opts.kind));
    sg_dict_trainer *t = calloc(1, sizeof *t);
    if (!t)
        return no_memory(err);
    *t = (sg_dict_trainer){.data = data, .opts = opts, .d = data->width, .m = opts.width};
    pthread_mutex_init(&t->reading, NULL);
    const sg_status status = prepare(t, err);
    if (status != SG_OK) {
        sg_dict_trainer_free(t);
        return status;
    }
    *out = t;
    return SG_OK;
}

void sg_dict_trainer_free(sg_dict_trainer *t)
{
    if (!t)
        return;
    sg_train_free(t->train); /* its thread reads */
    sg_session_free(t->judge);
    sg_state_free(t->state);
    sg_graph_free(t->g);
    pthread_mutex_destroy(&t->reading);
    free(t->mean);
    free(t->points);
    free(t);
}

sg_status sg_dict_trainer_run(sg_dict_trainer *t, sg_dim n_steps, sg_error *err)
{
    for (sg_dim i = 0; i < n_steps; i++) {
        SG_TRY(sg_train_run(t->train, 1, err));
        hold(t);
        const sg_dim step = sg_train_step(t->train);
        if (t->fired && step % t->opts.resample == 0 &&
            4 * step <= 3 * t->opts.n_steps) /* then there is time to settle */
            SG_TRY(resample(t, err));
    }
    return SG_OK;
}

sg_dim sg_dict_trainer_step(const sg_dict_trainer *t)
{
    return sg_train_step(t->train);
}

double sg_dict_trainer_loss(const sg_dict_trainer *t)
{
    return sg_train_loss(t->train);
}

const sg_plan *sg_dict_trainer_plan(const sg_dict_trainer *t)
{
    return sg_train_plan(t->train);
}

/* ---- the result ---- */

/* to = from * by + add */
static void scaled(sg_tensor *to, const float *from, double by, const float *add)
{
    float *out = to->data;

    for (sg_dim i = 0; i < sg_tensor_count(to); i++)
        out[i] = (float)((double)from[i] * by + (add ? (double)add[i] : 0));
}

static sg_status take_archetypal(sg_dict *d, sg_dict_trainer *t, sg_error *err)
{
    const sg_dim p = t->opts.n_points, whole[2] = {d->m, d->d};
    float *dec = d->dec.data;

    SG_TRY(dict_tensor(d, &d->points, 2, (sg_dim[]){p, d->d}, err));
    SG_TRY(dict_tensor(d, &d->mix, 2, (sg_dim[]){d->m, p}, err));
    SG_TRY(dict_tensor(d, &d->origin, 1, &d->d, err));
    scaled(&d->points, t->points, 1, NULL);
    scaled(&d->mix, numbers(t, t->mix), 1, NULL);
    scaled(&d->origin, t->mean, 1, NULL);
    if (t->slack) {
        SG_TRY(dict_tensor(d, &d->slack, 2, whole, err));
        scaled(&d->slack, numbers(t, t->slack), 1 / t->scale, NULL);
        d->log_scale = (double)numbers(t, t->log_scale)[0];
    }
    SG_TRY(sg_product(&d->dec, &d->mix, false, &d->points, false, 1, 0, err));
    for (sg_dim i = 0; i < d->m * d->d; i++) {
        dec[i] -= t->mean[i % d->d];
        if (t->slack)
            dec[i] = (float)(((double)dec[i] + (double)((float *)d->slack.data)[i]) * exp(d->log_scale));
    }
    return SG_OK;
}

/* The fit saw s (x - mean). Decoders of length 1 stay, and codes and biases become a part 1/s of themselves; atoms of
 * archetypal kinds go back to where the data are, and codes stay. */
static sg_status take(sg_dict *d, sg_dict_trainer *t, sg_error *err)
{
    const sg_dim whole[2] = {d->m, d->d};
    const bool hull = dict_is_archetypal(d->kind);
    const double by = hull ? 1 : 1 / t->scale;

    d->k = dict_is_topk(d->kind) || d->kind == SG_DICT_BATCHTOPK ? t->opts.k : 0;
    SG_TRY(dict_note(d, t->data->site, t->data->model, err));
    SG_TRY(dict_tensor(d, &d->dec, 2, whole, err));
    SG_TRY(dict_tensor(d, &d->enc, 2, whole, err));
    SG_TRY(dict_tensor(d, &d->b_enc, 1, &d->m, err));
    SG_TRY(dict_tensor(d, &d->b_dec, 1, &d->d, err));
    scaled(&d->enc, numbers(t, t->enc), hull ? t->scale : 1, NULL);
    scaled(&d->b_enc, numbers(t, t->b_enc), by, NULL);
    scaled(&d->b_dec, numbers(t, t->b_dec), 1 / t->scale, t->mean);
    if (hull)
        return take_archetypal(d, t, err);
    scaled(&d->dec, numbers(t, t->dec), 1, NULL);
    if (d->kind == SG_DICT_GATED) {
        SG_TRY(dict_tensor(d, &d->r_mag, 1, &d->m, err));
        SG_TRY(dict_tensor(d, &d->b_mag, 1, &d->m, err));
        scaled(&d->r_mag, numbers(t, t->r_mag), 1, NULL);
        scaled(&d->b_mag, numbers(t, t->b_mag), by, NULL);
    }
    if (t->threshold) {
        SG_TRY(dict_tensor(d, &d->threshold, 1, &d->m, err));
        const float *own = numbers(t, t->threshold);
        const bool each = d->kind == SG_DICT_JUMPRELU;
        for (sg_dim i = 0; i < d->m; i++)
            ((float *)d->threshold.data)[i] = (float)((each ? exp((double)own[i]) : (double)own[0]) * by);
    }
    return SG_OK;
}

sg_status sg_dict_trainer_take(sg_dict **out, sg_dict_trainer *t, sg_error *err)
{
    SG_TRY(dict_begin(out, t->opts.kind, t->d, t->m, err));
    const sg_status status = take(*out, t, err);
    if (status != SG_OK) {
        sg_dict_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- the whole of it, with checkpoints ---- */

/* What has to be the same for the continued run to be the same run. */
static void facts_text(const sg_dict_trainer *t, char *text, size_t room)
{
    const sg_dict_opts *o = &t->opts;
    uint64_t frame = sg_hash(t->mean, (size_t)t->d * sizeof *t->mean, 0);

    frame = sg_hash(&t->scale, sizeof t->scale, frame);
    if (t->points)
        frame = sg_hash(t->points, (size_t)(o->n_points * t->d) * sizeof *t->points, frame);
    snprintf(text, room,
             "%s width %" PRId64 " k %" PRId64 " l1 %g l0 %g bandwidth %g aux %g of %" PRId64 " resample %" PRId64
             " delta %g%s batch %" PRId64 " steps %" PRId64 " lr %g to %g decay %g seed %" PRIu64 " rows %" PRId64
             " of %016" PRIx64,
             sg_dict_kind_name(o->kind), o->width, o->k, o->l1, o->l0, o->bandwidth, o->aux, o->n_aux, o->resample,
             o->delta, o->rescale ? " rescaled" : "", o->batch, o->n_steps, o->lr, o->lr_end, o->weight_decay, o->seed,
             t->data->n_rows, frame);
}

static sg_status train(sg_dict_trainer *t, sg_error *err)
{
    const sg_dict_opts *o = &t->opts;
    char text[512];
    facts_text(t, text, sizeof text);
    const sg_pair fact = {"dictionary", text};
    sg_dim step = 0;
    if (o->checkpoint) {
        if (mkdir(o->checkpoint, 0777) != 0 && errno != EEXIST)
            return sg_fail(err, SG_EIO, "%s: cannot be made: %s", o->checkpoint, strerror(errno));
        const sg_status status = sg_checkpoint_load(o->checkpoint, t->g, t->state, &step, &fact, 1, NULL, NULL, err);
        if (status != SG_OK && status != SG_ENOTFOUND)
            return status;
        if (status == SG_OK)
            sg_train_set_step(t->train, step);
    }
    const double began = sg_now();
    const sg_dim first = step;
    double told = began;
    sg_status status = SG_OK;
    while (step < o->n_steps && status == SG_OK) {
        status = sg_dict_trainer_run(t, 1, err);
        step = sg_dict_trainer_step(t);
        const double now = sg_now();
        if (o->progress && status == SG_OK && (now - told > 0.2 || step == first + 1 || step == o->n_steps)) {
            o->progress(o->context, (double)step / (double)o->n_steps,
                        (now - began) * (double)(o->n_steps - step) / (double)(step - first), sg_dict_trainer_loss(t));
            told = now;
        }
        const bool stop = status == SG_ECANCELLED;
        if (o->checkpoint && step > first &&
            (stop || (status == SG_OK && (step % o->checkpoint_every == 0 || step == o->n_steps)))) {
            const sg_status kept =
                sg_checkpoint_save(o->checkpoint, t->g, t->state, step, &fact, 1, 1, stop ? NULL : err);
            status = stop ? status : kept;
        }
    }
    return status;
}

sg_status sg_dict_fit(sg_dict **out, const sg_dict_data *data, sg_dict_opts opts, sg_error *err)
{
    sg_dict_trainer *t;

    *out = NULL;
    SG_TRY(check(&opts, data, err));
    if (dict_is_closed(opts.kind))
        return dict_fit_closed(out, data, &opts, err);
    SG_TRY(sg_dict_trainer_new(&t, data, opts, err));
    sg_status status = train(t, err);
    if (status == SG_OK)
        status = sg_dict_trainer_take(out, t, err);
    sg_dict_trainer_free(t);
    return status;
}
