/* The net: a group of points goes through it side by side, in double, and every number is made of the same operations
 * in the same order as in the original, which takes one point after the other. On a spiral less would not do: what is
 * off by the last bit at first is off in the third decimal of the loss 300 epochs later.
 *
 * Points go side by side in pairs (play_lanes.h): a pair's numbers of all units lie beside each other, so that a block
 * of units and inputs finds everything at fixed distances. Most happens in each lane by itself. Sums over points are
 * added up point after point, two sums side by side. Blocks of up to 2 units by 4 inputs keep what they work on in
 * registers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "play/play_internal.h"
#include "play/play_lanes.h"
#include "play/play_math.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- making one ---- */

static int n_inputs_of(const sg_play_state *s)
{
    int n = 0;
    for (int i = 0; i < SG_PLAY_INPUTS; i++)
        n += s->inputs[i];
    return n;
}

void play_inputs(double *out, const sg_play_state *s, double x, double y)
{
    const double all[SG_PLAY_INPUTS] = {x, y, x * x, y * y, x * y, play_sin(x), play_sin(y)};
    for (int i = 0; i < SG_PLAY_INPUTS; i++)
        if (s->inputs[i])
            *out++ = all[i];
}

static void lay_out(play_net *net, const sg_play_state *s)
{
    net->n_inputs = n_inputs_of(s);
    net->n_layers = s->n_layers + 1;
    int from = net->n_inputs;
    for (int l = 0; l < net->n_layers; l++) {
        const bool last = l == s->n_layers;
        play_layer *layer = &net->layers[l];
        *layer = (play_layer){.units = last ? 1 : s->shape[l],
                              .from = from,
                              .weight = net->n_weights,
                              .out = net->n_units,
                              .activation = !last                              ? s->activation
                                            : s->problem == SG_PLAY_REGRESSION ? SG_PLAY_LINEAR
                                                                               : SG_PLAY_TANH};
        net->n_weights += layer->units * from;
        net->n_units += layer->units;
        from = layer->units;
    }
    net->n_biases = net->n_units;
    net->n_parameters = net->n_weights + net->n_biases;
    for (int l = 0; l < net->n_layers; l++)
        net->layers[l].bias = net->n_weights + net->layers[l].out;
}

sg_status play_net_new(play_net *net, const sg_play_state *s, sg_play_stream *stream, sg_error *err)
{
    *net = (play_net){.quick = s->quick};
    lay_out(net, s);
    const size_t n = (size_t)net->n_parameters + 2; /* pairs may reach one number past the last */
    net->parameters = calloc(n, sizeof(double));
    net->sums = calloc(n, sizeof(double));
    net->dead = calloc((size_t)net->n_weights + 1, sizeof *net->dead);
    net->work = calloc((size_t)net->n_units * 2 * PLAY_GROUP, sizeof(double));
    if (s->optimizer != SG_PLAY_SGD)
        net->first = calloc(n, sizeof(double));
    if (s->optimizer == SG_PLAY_ADAM)
        net->second = calloc(n, sizeof(double));
    if (!net->parameters || !net->sums || !net->dead || !net->work || (s->optimizer != SG_PLAY_SGD && !net->first) ||
        (s->optimizer == SG_PLAY_ADAM && !net->second))
        return sg_fail(err, SG_ENOMEM, "out of memory for a net of %d parameters", net->n_parameters);
    for (int i = 0; i < net->n_biases; i++)
        net->parameters[net->n_weights + i] = s->init_zero ? 0 : 0.1;
    for (int i = 0; i < net->n_weights; i++) {
        const double w = sg_play_stream_next(stream) - 0.5;
        net->parameters[i] = s->init_zero ? 0 : w;
    }
    return SG_OK;
}

void play_net_free(play_net *net)
{
    free(net->parameters);
    free(net->sums);
    free(net->first);
    free(net->second);
    free(net->dead);
    free(net->work);
    *net = (play_net){0};
}

/* ---- points in pairs ---- */

sg_status play_columns_new(play_columns *c, const sg_play_state *s, const sg_play_point *points, int n, int batch,
                           sg_error *err)
{
    const int n_inputs = n_inputs_of(s), most = n / PLAY_GROUP + n / batch + 2;
    *c = (play_columns){.n = n, .n_inputs = n_inputs};
    c->groups = calloc((size_t)most, sizeof *c->groups);
    const size_t pairs = (size_t)(n + most) / 2 + 1; /* each group may have an odd point */
    c->inputs = calloc(pairs * 2 * (size_t)(n_inputs + 1), sizeof(double));
    c->labels = calloc(pairs * 2, sizeof(double));
    if (!c->groups || !c->inputs || !c->labels)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d points", n);
    double values[SG_PLAY_INPUTS], *inputs = c->inputs, *labels = c->labels;
    for (int i = 0; i < n;) {
        const int count = SG_MIN(SG_MIN(batch - i % batch, n - i), PLAY_GROUP);
        SG_ASSERT(c->n_groups < most);
        c->groups[c->n_groups++] = (play_group){count, (i + count) % batch == 0};
        /* An odd last point stands twice, and counts once. */
        for (int k = 0; k < (count + 1) / 2 * 2; k++) {
            const sg_play_point *p = &points[i + SG_MIN(k, count - 1)];
            play_inputs(values, s, p->x, p->y);
            for (int f = 0; f < n_inputs; f++)
                inputs[k / 2 * 2 * n_inputs + 2 * f + k % 2] = values[f];
            *labels++ = p->label;
        }
        inputs += (count + 1) / 2 * 2 * n_inputs;
        i += count;
    }
    return SG_OK;
}

void play_columns_free(play_columns *c)
{
    free(c->groups);
    free(c->inputs);
    free(c->labels);
    *c = (play_columns){0};
}

/* ---- forward ---- */

/* Numbers of one row in a pair, and what lies between two pairs. */
typedef struct rows {
    double *at;
    int step;
} rows;

static rows rows_from(rows r, int row)
{
    return (rows){r.at + 2 * row, r.step};
}

/* out[u] = start + sum over i of w[u][i] in[i], for U units and I inputs. start: the biases, or what out holds. */
INLINE void forward_block(rows out, rows in, int pairs, const double *w, int from, const double *bias, const int U,
                          const int I)
{
    v2 weights[2][4], biases[2];
    for (int u = 0; u < U; u++) {
        biases[u] = v2_of(bias ? bias[u] : 0);
        for (int i = 0; i < I; i++)
            weights[u][i] = v2_of(w[u * from + i]);
    }
    double *to = out.at;
    const double *x = in.at;
    for (int p = 0; p < pairs; p++, to += out.step, x += in.step)
        for (int u = 0; u < U; u++) {
            v2 sum = bias ? biases[u] : v2_load(to + 2 * u);
            for (int i = 0; i < I; i++)
                sum += weights[u][i] * v2_load(x + 2 * i);
            v2_store(to + 2 * u, sum);
        }
}

INLINE void forward_units(rows out, rows in, int pairs, const double *w, int from, const double *bias, const int U)
{
    int i = 0;
    if (from == 0)
        forward_block(out, in, pairs, w, from, bias, U, 0);
    for (; i + 4 <= from; i += 4)
        forward_block(out, rows_from(in, i), pairs, w + i, from, i ? NULL : bias, U, 4);
    if (i + 2 <= from) {
        forward_block(out, rows_from(in, i), pairs, w + i, from, i ? NULL : bias, U, 2);
        i += 2;
    }
    if (i < from)
        forward_block(out, rows_from(in, i), pairs, w + i, from, i ? NULL : bias, U, 1);
}

#define EACH(function)                                                                                                 \
    for (int p = 0; p < pairs; p++, x += z.step)                                                                       \
        for (int u = 0; u < units; u++)                                                                                \
    v2_store(x + 2 * u, function(v2_load(x + 2 * u)))

static void activate(rows z, int units, int pairs, sg_play_activation activation, bool quick)
{
    double *x = z.at;
    if (activation == SG_PLAY_TANH && quick)
        EACH(v2_tanh_quick);
    else if (activation == SG_PLAY_TANH)
        EACH(v2_tanh_exact);
    else if (activation == SG_PLAY_SIGMOID && quick)
        EACH(v2_sigmoid_quick);
    else if (activation == SG_PLAY_SIGMOID)
        EACH(v2_sigmoid_exact);
    else if (activation == SG_PLAY_RELU)
        EACH(v2_relu);
}

const double *play_net_forward(play_net *net, const double *inputs, int pairs)
{
    rows in = {(double *)(uintptr_t)inputs, 2 * net->n_inputs};
    for (int l = 0; l < net->n_layers; l++) {
        const play_layer *layer = &net->layers[l];
        const double *w = net->parameters + layer->weight, *bias = net->parameters + layer->bias;
        const rows out = {net->work + 2 * layer->out, 2 * net->n_units};
        int u = 0;
        for (; u + 2 <= layer->units; u += 2)
            forward_units(rows_from(out, u), in, pairs, w + u * layer->from, layer->from, bias + u, 2);
        if (u < layer->units)
            forward_units(rows_from(out, u), in, pairs, w + u * layer->from, layer->from, bias + u, 1);
        activate(out, layer->units, pairs, layer->activation, net->quick);
        in = out;
    }
    return net->work;
}

/* ---- backward ---- */

/* What becomes of the errors of a layer's inputs: below the first layer there are none; where the layer below has tanh,
 * they become slopes as soon as they are complete; for others slopes() makes them. */
typedef enum errors { NO_ERRORS, ERRORS, TANH_SLOPES } errors;

/* sums[u][i] += sum over points of d[u] in[i]; with bias sums, sums of d[u] as well; and with e, the errors of the
 * inputs e[i] = sum over u of w[u][i] d[u], added to what e holds unless it is fresh. Two terms of one point become one
 * pair, which is added to two sums at once. */
INLINE void backward_block(double *sums, double *bias, rows e, bool fresh, rows d, rows in, int pairs, const double *w,
                           int from, const errors kind, const bool with_bias, const int U, const int I)
{
    enum { MOST = 2 * 5 };
    v2 total[MOST / 2] = {{0}}, term[MOST] = {{0}}, weights[2][4];
    double *place[MOST], spare = 0;
    int m = 0;
    for (int u = 0; u < U; u++) {
        if (with_bias)
            place[m++] = bias + u;
        for (int i = 0; i < I; i++) {
            place[m++] = sums + u * from + i;
            weights[u][i] = v2_of(w[u * from + i]);
        }
    }
    if (m % 2)
        place[m] = &spare;
    for (int k = 0; k < m; k += 2)
        total[k / 2] = (v2){*place[k], *place[k + 1]};
    const double *slope = d.at, *x = in.at;
    double *error = e.at;
    for (int p = 0; p < pairs; p++, slope += d.step, x += in.step, error += e.step) {
        int at = 0;
        for (int u = 0; u < U; u++) {
            if (with_bias)
                term[at++] = v2_load(slope + 2 * u);
            for (int i = 0; i < I; i++)
                term[at++] = v2_load(slope + 2 * u) * v2_load(x + 2 * i);
        }
        for (int k = 0; k < m; k += 2) {
            total[k / 2] += __builtin_shufflevector(term[k], term[k + 1], 0, 2);
            total[k / 2] += __builtin_shufflevector(term[k], term[k + 1], 1, 3);
        }
        for (int i = 0; kind != NO_ERRORS && i < I; i++) {
            v2 sum = fresh ? v2_of(0) : v2_load(error + 2 * i);
            for (int u = 0; u < U; u++)
                sum += weights[u][i] * v2_load(slope + 2 * u);
            if (kind == TANH_SLOPES) {
                const v2 o = v2_load(x + 2 * i);
                sum *= v2_of(1) - o * o;
            }
            v2_store(error + 2 * i, sum);
        }
    }
    for (int k = 0; k < m; k += 2) {
        *place[k] = total[k / 2][0];
        *place[k + 1] = total[k / 2][1];
    }
}

INLINE void backward_units(double *sums, double *bias, rows e, bool fresh, rows d, rows in, int pairs, const double *w,
                           int from, const errors kind, const int U)
{
    int i = 0;
#define BLOCK(with_bias, I)                                                                                            \
    backward_block(sums + i, bias, rows_from(e, i), fresh, d, rows_from(in, i), pairs, w + i, from, kind, with_bias,   \
                   U, I)
    if (from >= 4) {
        BLOCK(true, 4);
        for (i = 4; i + 4 <= from; i += 4)
            BLOCK(false, 4);
        if (i + 2 <= from) {
            BLOCK(false, 2);
            i += 2;
        }
        if (i < from)
            BLOCK(false, 1);
    } else if (from >= 2) {
        BLOCK(true, 2);
        i = 2;
        if (i < from)
            BLOCK(false, 1);
    } else if (from == 1) {
        BLOCK(true, 1);
    } else {
        BLOCK(true, 0);
    }
#undef BLOCK
}

/* Errors become slopes: times the activation's derivative, which the output o tells. */
static void slopes(rows e, rows o, int units, int pairs, sg_play_activation activation)
{
    double *x = e.at;
    const double *y = o.at;
    for (int p = 0; p < pairs; p++, x += e.step, y += o.step) {
        if (activation == SG_PLAY_TANH)
            for (int u = 0; u < 2 * units; u += 2)
                v2_store(x + u, v2_load(x + u) * (v2_of(1) - v2_load(y + u) * v2_load(y + u)));
        else if (activation == SG_PLAY_SIGMOID)
            for (int u = 0; u < 2 * units; u += 2)
                v2_store(x + u, v2_load(x + u) * (v2_load(y + u) * (v2_of(1) - v2_load(y + u))));
        else if (activation == SG_PLAY_RELU)
            for (int u = 0; u < 2 * units; u += 2)
                v2_store(x + u, v2_load(x + u) * v2_masked(v2_load(y + u) > v2_of(0), v2_of(1)));
    }
}

/* All units of a layer; `kind` is of the last block of units, with which errors are complete. */
INLINE void backward_layer(play_net *net, const play_layer *layer, rows e, rows d, rows in, int pairs,
                           const errors kind)
{
    const int from = layer->from, units = layer->units;
    const errors before = kind == NO_ERRORS ? NO_ERRORS : ERRORS;
    const double *w = net->parameters + layer->weight;
    double *sums = net->sums + layer->weight, *bias = net->sums + layer->bias;
    int u = 0;
    for (; u + 2 < units; u += 2)
        backward_units(sums + u * from, bias + u, e, u == 0, rows_from(d, u), in, pairs, w + u * from, from, before, 2);
    if (u + 2 == units)
        backward_units(sums + u * from, bias + u, e, u == 0, rows_from(d, u), in, pairs, w + u * from, from, kind, 2);
    else
        backward_units(sums + u * from, bias + u, e, u == 0, rows_from(d, u), in, pairs, w + u * from, from, kind, 1);
}

static void learn(play_net *net, const double *inputs, const double *labels, int count)
{
    const int pairs = (count + 1) / 2, step = 2 * net->n_units;
    double *all = net->work + PLAY_GROUP * net->n_units; /* errors, then slopes, of every unit */
    const play_layer *last = &net->layers[net->n_layers - 1];
    const int top = 2 * last->out;

    play_net_forward(net, inputs, pairs);
    for (int p = 0; p < pairs; p++)
        v2_store(all + p * step + top, v2_load(net->work + p * step + top) - v2_load(labels + 2 * p));
    slopes((rows){all + top, step}, (rows){net->work + top, step}, 1, pairs, last->activation);
    if (count % 2) /* a point that stands twice counts once */
        all[(pairs - 1) * step + top + 1] = 0;
    for (int l = net->n_layers - 1; l > 0; l--) {
        const play_layer *layer = &net->layers[l], *below = &net->layers[l - 1];
        const rows d = {all + 2 * layer->out, step}, in = {net->work + 2 * below->out, step},
                   e = {all + 2 * below->out, step};
        if (below->activation == SG_PLAY_TANH) {
            backward_layer(net, layer, e, d, in, pairs, TANH_SLOPES);
        } else {
            backward_layer(net, layer, e, d, in, pairs, ERRORS);
            slopes(e, in, below->units, pairs, below->activation);
        }
    }
    const rows in = {(double *)(uintptr_t)inputs, 2 * net->n_inputs};
    backward_layer(net, &net->layers[0], in, (rows){all + 2 * net->layers[0].out, step}, in, pairs, NO_ERRORS);
    net->n_summed += count;
}

/* ---- the update ---- */

/* What replaces the mean derivative times the rate. The original knows only the first. */
static void momentum_step(play_net *net, const play_rule *r, double count)
{
    for (int i = 0; i < net->n_parameters; i++) {
        net->first[i] = r->momentum * net->first[i] + net->sums[i] / count;
        net->sums[i] = r->rate * net->first[i];
    }
}

static void adam_step(play_net *net, const play_rule *r, double count)
{
    const double b1 = 0.9, b2 = 0.999, epsilon = 1e-8;
    double p1 = 1, p2 = 1;
    /* b^t by squaring: the same bytes everywhere, and no library's pow. */
    double f1 = b1, f2 = b2;
    for (int64_t t = (int64_t)net->n_updates + 1; t; t >>= 1, f1 *= f1, f2 *= f2)
        if (t & 1) {
            p1 *= f1;
            p2 *= f2;
        }
    for (int i = 0; i < net->n_parameters; i++) {
        const double g = net->sums[i] / count;
        net->first[i] = b1 * net->first[i] + (1 - b1) * g;
        net->second[i] = b2 * net->second[i] + (1 - b2) * (g * g);
        net->sums[i] = r->rate * (net->first[i] / (1 - p1)) / (sqrt(net->second[i] / (1 - p2)) + epsilon);
    }
}

static void penalise(play_net *net, const play_rule *r, double scale)
{
    double *w = net->parameters, *sums = net->sums;
    const double shrink = r->rate * r->penalty_rate;
    if (r->penalty == SG_PLAY_NO_PENALTY) {
        for (int i = 0; i < net->n_weights; i++)
            w[i] -= scale * sums[i];
        return;
    }
    if (r->penalty == SG_PLAY_L2) {
        for (int i = 0; i < net->n_weights; i++)
            w[i] = (w[i] - scale * sums[i]) - shrink * w[i];
        return;
    }
    for (int i = 0; i < net->n_weights; i++) {
        if (net->dead[i])
            continue;
        const double sign = w[i] < 0 ? -1 : w[i] > 0 ? 1 : 0, w1 = w[i] - scale * sums[i], w2 = w1 - shrink * sign;
        if (w1 * w2 < 0) { /* crossed zero by the penalty: the link is dead */
            w[i] = 0;
            net->dead[i] = 1;
        } else {
            w[i] = w2;
        }
    }
}

static void update(play_net *net, const play_rule *r)
{
    const double count = net->n_summed;
    double scale = r->rate / count;
    double *bias = net->parameters + net->n_weights;
    const double *sums = net->sums + net->n_weights;
    if (r->optimizer == SG_PLAY_SGD) {
        for (int i = 0; i < net->n_biases; i++)
            bias[i] -= r->rate * sums[i] / count;
    } else {
        if (r->optimizer == SG_PLAY_MOMENTUM)
            momentum_step(net, r, count);
        else
            adam_step(net, r, count);
        scale = 1;
        for (int i = 0; i < net->n_biases; i++)
            bias[i] -= sums[i];
    }
    penalise(net, r, scale);
    memset(net->sums, 0, (size_t)net->n_parameters * sizeof *net->sums);
    net->n_summed = 0;
    net->n_updates++;
}

void play_net_epoch(play_net *net, const play_columns *c, const play_rule *rule)
{
    const double *inputs = c->inputs, *labels = c->labels;
    for (int g = 0; g < c->n_groups; g++) {
        const int n = (c->groups[g].count + 1) / 2 * 2;
        learn(net, inputs, labels, c->groups[g].count);
        inputs += n * c->n_inputs;
        labels += n;
        if (c->groups[g].ends_batch)
            update(net, rule);
    }
}

double play_net_loss(play_net *net, const play_columns *c)
{
    const double *inputs = c->inputs, *labels = c->labels;
    const int top = 2 * net->layers[net->n_layers - 1].out, step = 2 * net->n_units;
    double sum = 0;
    for (int g = 0; g < c->n_groups; g++) {
        const int count = c->groups[g].count, n = (count + 1) / 2 * 2;
        const double *o = play_net_forward(net, inputs, n / 2) + top;
        for (int i = 0; i < count; i++) {
            const double d = o[i / 2 * step + i % 2] - labels[i];
            sum += 0.5 * (d * d);
        }
        inputs += n * c->n_inputs;
        labels += n;
    }
    return sum / c->n;
}
