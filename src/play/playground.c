/* A playground: the state, the stream it draws from, points and net, and what follows from each change. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "play/play_internal.h"

enum { LOSS_GROUP = PLAY_GROUP };

static play_rule rule_of(const sg_play_state *s)
{
    return (play_rule){.penalty = s->regularization,
                       .rate = s->learning_rate,
                       .penalty_rate = s->regularization_rate,
                       .optimizer = s->optimizer,
                       .momentum = s->momentum};
}

/* The columns of all three sets, made whole before the old ones go. */
static sg_status arrange(sg_play *p, const sg_play_state *s, const sg_play_point *points, int n, int n_train,
                         sg_error *err)
{
    play_columns batches = {0}, train = {0}, test = {0};
    sg_status status = play_columns_new(&batches, s, points, n_train, s->batch_size, err);
    if (status == SG_OK)
        status = play_columns_new(&train, s, points, n_train, LOSS_GROUP, err);
    if (status == SG_OK)
        status = play_columns_new(&test, s, points + n_train, n - n_train, LOSS_GROUP, err);
    if (status != SG_OK) {
        play_columns_free(&batches);
        play_columns_free(&train);
        play_columns_free(&test);
        return status;
    }
    play_columns_free(&p->batches);
    play_columns_free(&p->train);
    play_columns_free(&p->test);
    p->batches = batches;
    p->train = train;
    p->test = test;
    return SG_OK;
}

static int part_of(int n, double percent)
{
    return (int)floor(n * percent / 100);
}

/* Puts points in that order and parts them; takes the points. */
static sg_status take_points(sg_play *p, sg_play_point *points, int n, int n_train, bool own, sg_error *err)
{
    const sg_status status = arrange(p, &p->state, points, n, n_train, err);
    if (status != SG_OK) {
        free(points);
        return status;
    }
    free(p->points);
    p->points = points;
    p->n_points = n;
    p->n_train = n_train;
    p->own = own;
    return SG_OK;
}

/* Points of the state's data set: seeds the stream, draws, shuffles, parts. */
static sg_status draw_points(sg_play *p, const sg_play_state *s, sg_error *err)
{
    const sg_play_dataset d = play_dataset(s);
    const int n = play_n_points(d), n_train = part_of(n, s->train_percent);
    sg_play_stream stream;
    sg_play_point *points = calloc((size_t)n, sizeof *points);
    if (!points)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d points", n);
    sg_play_stream_seed(&stream, s->seed);
    play_draw(points, n, d, s->noise, &stream);
    play_shuffle(points, n, &stream);
    const sg_play_state before = p->state;
    p->state = *s;
    const sg_status status = take_points(p, points, n, n_train, false, err);
    p->state = before;
    if (status == SG_OK)
        p->stream = stream;
    return status;
}

static sg_status draw_net(sg_play *p, const sg_play_state *s, sg_error *err)
{
    play_net net;
    sg_play_stream stream = p->stream;
    const sg_status status = play_net_new(&net, s, &stream, err);
    if (status != SG_OK) {
        play_net_free(&net);
        return status;
    }
    play_net_free(&p->net);
    p->net = net;
    p->stream = stream;
    p->epoch = 0;
    for (int l = 0; l < net.n_layers; l++) {
        snprintf(p->names[l][0], sizeof p->names[l][0], "layers.%d.weight", l);
        snprintf(p->names[l][1], sizeof p->names[l][1], "layers.%d.bias", l);
    }
    return SG_OK;
}

sg_status sg_play_new(sg_play **out, const sg_play_state *state, sg_error *err)
{
    *out = NULL;
    if (!state->seed[0])
        return sg_fail(err, SG_EARG, "the state has no seed");
    sg_play *p = calloc(1, sizeof *p);
    if (!p)
        return sg_fail(err, SG_ENOMEM, "out of memory for a playground");
    p->state = *state;
    sg_status status = draw_points(p, state, err);
    if (status == SG_OK)
        status = draw_net(p, state, err);
    if (status != SG_OK) {
        sg_play_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

void sg_play_free(sg_play *p)
{
    if (!p)
        return;
    play_net_free(&p->net);
    play_columns_free(&p->batches);
    play_columns_free(&p->train);
    play_columns_free(&p->test);
    free(p->points);
    free(p);
}

const sg_play_state *sg_play_get_state(const sg_play *p)
{
    return &p->state;
}

/* ---- changes ---- */

/* A number of the running stream, with five decimals, is the next seed. */
static void next_seed(sg_play *p, sg_play_state *s)
{
    snprintf(s->seed, sizeof s->seed, "%.5f", sg_play_stream_next(&p->stream));
}

sg_status sg_play_regenerate(sg_play *p, sg_error *err)
{
    sg_play_state s = p->state;
    next_seed(p, &s);
    SG_TRY(draw_points(p, &s, err));
    p->state = s;
    return SG_OK;
}

sg_status sg_play_reset(sg_play *p, sg_error *err)
{
    return draw_net(p, &p->state, err);
}

static bool same_source(const sg_play_state *a, const sg_play_state *b)
{
    return a->problem == b->problem && play_dataset(a) == play_dataset(b) && a->noise == b->noise &&
           a->train_percent == b->train_percent;
}

static bool same_net(const sg_play_state *a, const sg_play_state *b)
{
    return a->activation == b->activation && a->regularization == b->regularization &&
           a->regularization_rate == b->regularization_rate && a->batch_size == b->batch_size &&
           a->n_layers == b->n_layers && memcmp(a->shape, b->shape, (size_t)a->n_layers * sizeof *a->shape) == 0 &&
           memcmp(a->inputs, b->inputs, sizeof a->inputs) == 0 && a->init_zero == b->init_zero &&
           a->optimizer == b->optimizer;
}

sg_status sg_play_change(sg_play *p, const sg_play_state *wanted, sg_error *err)
{
    sg_play_state s = *wanted;
    const bool same_points = same_source(&s, &p->state) && strcmp(s.seed, p->state.seed) == 0;
    const bool ratio_alone = p->own && s.problem == p->state.problem && play_dataset(&s) == play_dataset(&p->state) &&
                             s.noise == p->state.noise && s.train_percent != p->state.train_percent;
    if (ratio_alone) { /* points of one's own are parted anew, not drawn */
        const int n_train = part_of(p->n_points, s.train_percent);
        SG_TRY(arrange(p, &s, p->points, p->n_points, n_train, err));
        p->n_train = n_train;
    } else if (!same_points) {
        if (strcmp(s.seed, p->state.seed) == 0)
            next_seed(p, &s);
        SG_TRY(draw_points(p, &s, err));
    } else if (!same_net(&s, &p->state)) {
        SG_TRY(arrange(p, &s, p->points, p->n_points, p->n_train, err));
    } else {
        p->state = s;
        p->net.quick = s.quick;
        return SG_OK;
    }
    SG_TRY(draw_net(p, &s, err));
    p->state = s;
    return SG_OK;
}

sg_status sg_play_own(sg_play *p, int n, const sg_play_point *points, sg_error *err)
{
    bool zeros_and_ones = p->state.problem == SG_PLAY_CLASSIFICATION;
    if (n < 1 || n > PLAY_OWN_MOST)
        return sg_fail(err, SG_EARG, "%d points; from 1 to %d were wanted", n, PLAY_OWN_MOST);
    for (int i = 0; i < n; i++) {
        if (!isfinite(points[i].x) || !isfinite(points[i].y) || !isfinite(points[i].label))
            return sg_fail(err, SG_EARG, "point %d is not finite", i + 1);
        zeros_and_ones = zeros_and_ones && (points[i].label == 0 || points[i].label == 1);
    }
    sg_play_point *copy = malloc((size_t)n * sizeof *copy);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d points", n);
    memcpy(copy, points, (size_t)n * sizeof *copy);
    for (int i = 0; zeros_and_ones && i < n; i++)
        copy[i].label = copy[i].label > 0 ? 1 : -1;
    sg_play_stream stream;
    sg_play_stream_seed(&stream, p->state.seed);
    play_shuffle(copy, n, &stream);
    SG_TRY(take_points(p, copy, n, part_of(n, p->state.train_percent), true, err));
    p->stream = stream;
    return draw_net(p, &p->state, err);
}

bool sg_play_is_own(const sg_play *p)
{
    return p->own;
}

const sg_play_point *sg_play_points(const sg_play *p, sg_play_part part, int *n)
{
    *n = part == SG_PLAY_TRAIN ? p->n_train : p->n_points - p->n_train;
    return part == SG_PLAY_TRAIN ? p->points : p->points + p->n_train;
}

/* ---- training ---- */

void sg_play_train(sg_play *p, int64_t n_epochs)
{
    const play_rule rule = rule_of(&p->state);
    for (int64_t i = 0; i < n_epochs; i++)
        play_net_epoch(&p->net, &p->batches, &rule);
    p->epoch += (double)n_epochs;
}

int64_t sg_play_epoch(const sg_play *p)
{
    return (int64_t)p->epoch;
}

double sg_play_loss(sg_play *p, sg_play_part part)
{
    return play_net_loss(&p->net, part == SG_PLAY_TRAIN ? &p->train : &p->test);
}

/* ---- the net ---- */

int sg_play_n_layers(const sg_play *p)
{
    return p->net.n_layers;
}

int sg_play_n_units(const sg_play *p, int layer)
{
    return layer < 0 ? p->net.n_inputs : p->net.layers[layer].units;
}

static int place_of_weight(const sg_play *p, int layer, int unit, int from)
{
    SG_ASSERT(layer >= 0 && layer < p->net.n_layers);
    const play_layer *l = &p->net.layers[layer];
    SG_ASSERT(unit >= 0 && unit < l->units && from >= 0 && from < l->from);
    return l->weight + unit * l->from + from;
}

static int place_of_bias(const sg_play *p, int layer, int unit)
{
    SG_ASSERT(layer >= 0 && layer < p->net.n_layers && unit >= 0 && unit < p->net.layers[layer].units);
    return p->net.layers[layer].bias + unit;
}

double sg_play_weight(const sg_play *p, int layer, int unit, int from)
{
    return p->net.parameters[place_of_weight(p, layer, unit, from)];
}

double sg_play_bias(const sg_play *p, int layer, int unit)
{
    return p->net.parameters[place_of_bias(p, layer, unit)];
}

void sg_play_set_weight(sg_play *p, int layer, int unit, int from, double w)
{
    p->net.parameters[place_of_weight(p, layer, unit, from)] = w;
}

void sg_play_set_bias(sg_play *p, int layer, int unit, double b)
{
    p->net.parameters[place_of_bias(p, layer, unit)] = b;
}

bool sg_play_is_dead(const sg_play *p, int layer, int unit, int from)
{
    return p->net.dead[place_of_weight(p, layer, unit, from)] != 0;
}

int sg_play_n_dead(const sg_play *p)
{
    int n = 0;
    for (int i = 0; i < p->net.n_weights; i++)
        n += p->net.dead[i] != 0;
    return n;
}

int sg_play_n_parameters(const sg_play *p)
{
    return p->net.n_parameters;
}

double sg_play_output(sg_play *p, double x, double y)
{
    double values[SG_PLAY_INPUTS], columns[2 * SG_PLAY_INPUTS];
    play_inputs(values, &p->state, x, y);
    for (int i = 0; i < p->net.n_inputs; i++)
        columns[2 * i] = columns[2 * i + 1] = values[i];
    return play_net_forward(&p->net, columns, 1)[2 * (p->net.n_units - 1)];
}

int sg_play_n_maps(const sg_play *p)
{
    return p->net.n_inputs + p->net.n_units;
}

void sg_play_fields(sg_play *p, int resolution, double *out)
{
    double values[SG_PLAY_INPUTS], columns[SG_PLAY_INPUTS * PLAY_GROUP];
    const int n_inputs = p->net.n_inputs, n_units = p->net.n_units;
    SG_ASSERT(resolution >= 2 && resolution <= 400);
    const size_t map = (size_t)resolution * (size_t)resolution;
    for (int row = 0; row < resolution; row++)
        for (int at = 0; at < resolution; at += PLAY_GROUP) {
            const int count = SG_MIN(PLAY_GROUP, resolution - at), pairs = (count + 1) / 2;
            double *to = out + (size_t)row * (size_t)resolution + at;
            for (int k = 0; k < 2 * pairs; k++) {
                const int column = at + SG_MIN(k, count - 1);
                play_inputs(values, &p->state, -6 + 12.0 * column / (resolution - 1),
                            6 - 12.0 * row / (resolution - 1));
                for (int i = 0; i < n_inputs; i++)
                    columns[(k / 2 * n_inputs + i) * 2 + k % 2] = values[i];
            }
            const double *units = play_net_forward(&p->net, columns, pairs);
            for (int k = 0; k < count; k++) {
                for (int i = 0; i < n_inputs; i++)
                    to[(size_t)i * map + (size_t)k] = columns[(k / 2 * n_inputs + i) * 2 + k % 2];
                for (int u = 0; u < n_units; u++)
                    to[(size_t)(n_inputs + u) * map + (size_t)k] = units[(k / 2 * n_units + u) * 2 + k % 2];
            }
        }
}

/* ---- all that a run is made of ---- */

static sg_tensor vector(sg_dtype dtype, sg_dim n, void *data)
{
    return sg_tensor_of(dtype, 1, &n, data);
}

bool sg_play_tensor(sg_play *p, int i, const char **name, sg_tensor *out)
{
    play_net *net = &p->net;
    if (i < 2 * net->n_layers) {
        const play_layer *l = &net->layers[i / 2];
        *name = p->names[i / 2][i % 2];
        *out = i % 2 ? vector(SG_F64, l->units, net->parameters + l->bias)
                     : sg_tensor_of(SG_F64, 2, (sg_dim[]){l->units, l->from}, net->parameters + l->weight);
        return true;
    }
    /* Wider types first, so that in a file all lie aligned. */
    const struct {
        const char *name;
        sg_tensor tensor;
    } rest[] = {
        {"sums", vector(SG_F64, net->n_parameters, net->sums)},
        {"points", sg_tensor_of(SG_F64, 2, (sg_dim[]){p->n_points, 3}, p->points)},
        {"progress.epoch", vector(SG_F64, 1, &p->epoch)},
        {"progress.summed", vector(SG_F64, 1, &net->n_summed)},
        {"progress.updates", vector(SG_F64, 1, &net->n_updates)},
        {"moments.first", vector(SG_F64, net->n_parameters, net->first)},
        {"moments.second", vector(SG_F64, net->n_parameters, net->second)},
        {"stream", vector(SG_I32, 258, &p->stream)},
        {"dead", vector(SG_I32, net->n_weights, net->dead)},
    };
    i -= 2 * net->n_layers;
    for (size_t k = 0; k < SG_COUNT_OF(rest); k++) {
        if (!rest[k].tensor.data) /* moments that the optimizer has not */
            continue;
        if (i-- == 0) {
            *name = rest[k].name;
            *out = rest[k].tensor;
            return true;
        }
    }
    return false;
}

sg_status sg_play_restore(sg_play **out, const sg_play_state *state, int n, const sg_play_point *points, int n_train,
                          bool own, sg_error *err)
{
    sg_play *p = NULL;
    *out = NULL;
    if (n < 1 || n > PLAY_OWN_MOST || n_train < 0 || n_train > n)
        return sg_fail(err, SG_EFORMAT, "%d of %d points to train on; at most %d points were wanted", n_train, n,
                       PLAY_OWN_MOST);
    sg_play_point *copy = malloc((size_t)n * sizeof *copy);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d points", n);
    memcpy(copy, points, (size_t)n * sizeof *copy);
    sg_status status = sg_play_new(&p, state, err);
    if (status != SG_OK)
        free(copy);
    else
        status = take_points(p, copy, n, n_train, own, err);
    if (status != SG_OK) {
        sg_play_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

sg_status sg_play_check(const sg_play *p, sg_error *err)
{
    const double counts[] = {p->epoch, p->net.n_summed, p->net.n_updates};
    for (int i = 0; i < 256; i++)
        if (p->stream.s[i] < 0 || p->stream.s[i] > 255)
            return sg_fail(err, SG_EFORMAT, "the random stream holds %d, which is no byte", (int)p->stream.s[i]);
    if (p->stream.i < 0 || p->stream.i > 255 || p->stream.j < 0 || p->stream.j > 255)
        return sg_fail(err, SG_EFORMAT, "the random stream stands at %d and %d, which are no bytes", (int)p->stream.i,
                       (int)p->stream.j);
    for (size_t i = 0; i < SG_COUNT_OF(counts); i++)
        if (!(counts[i] >= 0 && counts[i] <= 0x1p53))
            return sg_fail(err, SG_EFORMAT, "%g is no count of epochs, points or updates", counts[i]);
    return SG_OK;
}
