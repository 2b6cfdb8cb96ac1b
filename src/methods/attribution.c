/* Direct logit attribution. One run gives the logit, its gradient by what leaves the last block, and that stream; from
 * them follows the direction in which the logit reads it while the final norm's divisor is held. A second run gives
 * what every part wrote along that direction. Nothing here knows what kind of norm there is, or sees a weight. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/lens.h"
#include "sightglass/ops.h"

sg_attribution_opts sg_attribution_defaults(void)
{
    return (sg_attribution_opts){
        .position = -1, .token = SG_LENS_FINAL, .versus = SG_VERSUS_MEAN, .neurons = 10, .exec = sg_exec_defaults()};
}

typedef struct asking {
    const sg_model_info *info;
    const int32_t *tokens;
    sg_dim n, d; /* n: up to the position that is asked about */
    sg_glass *glass;
    char last[64];
    float *weights;   /* [vocab] of the logits in what is asked */
    float *direction; /* [d] */
    float *stream;    /* [d] what leaves the last block */
    sg_attribution *a;
} asking;

/* The last position of a value [batch,time,...]. */
static sg_value *at_last(sg_graph *g, sg_value *v)
{
    const sg_dim time = sg_value_dim(v, 1);
    return sg_slice(g, v, 1, sg_dim_sub(g, time, 1), time, 1);
}

static sg_status run(asking *q, int n_feeds, const sg_named_feed *feeds, int n_fetches, sg_value *const *fetches,
                     sg_tensor *out, sg_error *err)
{
    const sg_rows rows = {.n_rows = 1, .tokens = &q->tokens, .lengths = &q->n};
    return sg_glass_run(q->glass, &rows, n_feeds, feeds, n_fetches, fetches, out, err);
}

/* ---- the direction ---- */

/* The logit is y = y0 + v (x - m): with the divisor held, v is what is sought, and m the mean where the norm takes it
 * off. The gradient by x lacks of v what the divisor's own change takes, which lies along x - m; and v must give
 * y - y0 of x - m. That settles it. */
static void direct(const asking *q, double y, double y0, bool centred)
{
    double mean = 0, along = 0, length = 0;
    for (sg_dim i = 0; i < q->d && centred; i++)
        mean += (double)q->stream[i] / (double)q->d;
    for (sg_dim i = 0; i < q->d; i++) {
        const double x = (double)q->stream[i] - mean;
        along += x * (double)q->direction[i];
        length += x * x;
    }
    const double missing = length > 0 ? (y - y0 - along) / length : 0;
    for (sg_dim i = 0; i < q->d; i++)
        q->direction[i] = (float)((double)q->direction[i] + missing * ((double)q->stream[i] - mean));
}

static sg_status find_direction(asking *q, sg_error *err)
{
    sg_graph *g = sg_glass_graph(q->glass);
    sg_value *logits = NULL, *last = NULL;
    SG_TRY(sg_glass_find(q->glass, "logits", &logits, err));
    SG_TRY(sg_glass_find(q->glass, q->last, &last, err));
    const sg_dtype type = sg_value_dtype(logits);
    sg_value *weights = sg_input(g, "lens.weights", SG_F32, 1, (sg_dim[]){q->info->n_vocab});
    sg_value *here = at_last(g, logits);
    sg_value *y = sg_sum_all(g, sg_mul(g, here, sg_cast(g, weights, type)));
    sg_value *slope = at_last(g, sg_grad(g, y, last));
    sg_value *stream = at_last(g, last);
    SG_TRY(sg_graph_status(g, err));

    sg_named_feed feeds[2] = {
        {"lens.weights", sg_tensor_of(SG_F32, 1, (sg_dim[]){q->info->n_vocab}, q->weights)},
        {q->last, sg_tensor_of(type, 3, (sg_dim[]){1, q->n, q->d}, NULL)},
    };
    sg_tensor got[3];
    sg_value *asked[3] = {y, slope, stream};
    SG_TRY(run(q, 1, feeds, 3, asked, got, err));
    const double logit = sg_tensor_get(&got[0], 0);
    sg_convert(q->direction, SG_F32, got[1].data, got[1].dtype, q->d);
    sg_convert(q->stream, SG_F32, got[2].data, got[2].dtype, q->d);

    /* An empty stream, and one with a constant added, to which only a norm that takes the mean off is blind. */
    double size = 0;
    for (sg_dim i = 0; i < q->d; i++)
        size += (double)q->stream[i] * (double)q->stream[i] / (double)q->d;
    feeds[1].tensor.data = calloc((size_t)(q->n * q->d), sg_dtype_bytes(type));
    if (!feeds[1].tensor.data)
        return sg_fail(err, SG_ENOMEM, "attribution: out of memory");
    sg_status status = run(q, 2, feeds, 1, &y, got, err);
    const double empty = status == SG_OK ? sg_tensor_get(&got[0], 0) : 0;
    double shifted = 0;
    for (sg_dim i = 0; i < q->d && status == SG_OK; i++)
        sg_tensor_set(&feeds[1].tensor, (q->n - 1) * q->d + i, (double)q->stream[i] + 4 * sqrt(size));
    if (status == SG_OK)
        status = run(q, 2, feeds, 1, &y, got, err);
    if (status == SG_OK)
        shifted = sg_tensor_get(&got[0], 0);
    free(feeds[1].tensor.data);
    SG_TRY(status);
    q->a->logit = logit;
    q->a->constant = empty;
    direct(q, logit, empty, fabs(shifted - logit) < 1e-3 * (fabs(logit) + fabs(empty) + 1e-3));
    return SG_OK;
}

/* ---- the parts ---- */

/* Of one layer: what attention and MLP wrote, and their shares by head and neuron. */
enum { ATTENTION, HEADS, MLP, NEURONS, ACTIVATIONS, PER_LAYER };

static sg_status layer_values(asking *q, int layer, sg_value *direction, sg_value **out, sg_error *err)
{
    static const char *const wrote[2] = {"hook_attn_out", "hook_mlp_out"}, *const from[2] = {"attn.hook_z",
                                                                                             "mlp.hook_post"};
    sg_graph *g = sg_glass_graph(q->glass);
    for (int k = 0; k < 2; k++) {
        char name[64];
        sg_value *v = NULL, *parts = NULL;
        snprintf(name, sizeof name, "blocks.%d.%s", layer, wrote[k]);
        SG_TRY(sg_glass_find(q->glass, name, &v, err));
        snprintf(name, sizeof name, "blocks.%d.%s", layer, from[k]);
        SG_TRY(sg_glass_find(q->glass, name, &parts, err));
        sg_value *whole = sg_sum_all(g, sg_mul(g, at_last(g, v), sg_cast(g, direction, sg_value_dtype(v))));
        sg_value *each = sg_mul(g, at_last(g, parts), at_last(g, sg_grad(g, whole, parts)));
        out[2 * k] = whole;
        out[2 * k + 1] = k == 0 ? sg_sum(g, each, -1, false) : each; /* over a head's width */
        if (k == 1)
            out[ACTIVATIONS] = at_last(g, parts);
    }
    return sg_graph_status(g, err);
}

static void add(sg_attribution *a, sg_writer_kind kind, int layer, sg_dim index, double value)
{
    a->parts[a->n++] = (sg_attributed){kind, layer, index, value, nan("")};
    a->unexplained -= value;
}

static int by_magnitude(const void *x, const void *y)
{
    const sg_attributed *a = x, *b = y;
    const double p = fabs(a->value), q = fabs(b->value);
    if (p != q)
        return p < q ? 1 : -1;
    return a->layer != b->layer ? (a->layer < b->layer ? -1 : 1) : a->index < b->index ? -1 : a->index > b->index;
}

/* Keeps a neuron if it is among the greatest so far; the list is sorted at the end. */
static void offer(sg_attribution *a, int most, const sg_attributed *w)
{
    if (a->n_neurons < most) {
        a->neurons[a->n_neurons++] = *w;
        return;
    }
    int least = 0;
    for (int i = 1; i < most; i++)
        if (by_magnitude(&a->neurons[i], &a->neurons[least]) > 0)
            least = i;
    if (by_magnitude(w, &a->neurons[least]) < 0)
        a->neurons[least] = *w;
}

static void take(asking *q, const sg_tensor *got, int n_outside, const bool *has, int neurons)
{
    sg_attribution *a = q->a;
    const int layers = (int)q->info->n_layers;
    a->unexplained = a->logit - a->constant;
    for (int i = 0, k = 0; i < 2; i++)
        if (has[i])
            add(a, i == 0 ? SG_WROTE_EMBED : SG_WROTE_POSITION, -1, -1, sg_tensor_get(&got[k++], 0));
    for (int l = 0; l < layers; l++) {
        const sg_tensor *of = got + n_outside + l * PER_LAYER;
        const sg_dim heads = sg_tensor_count(&of[HEADS]), width = sg_tensor_count(&of[NEURONS]);
        double rest = sg_tensor_get(&of[ATTENTION], 0);
        for (sg_dim h = 0; h < heads; h++) {
            const double x = sg_tensor_get(&of[HEADS], h);
            add(a, SG_WROTE_HEAD, l, h, x);
            rest -= x;
        }
        add(a, SG_WROTE_ATTENTION, l, -1, rest);
        add(a, SG_WROTE_MLP, l, -1, sg_tensor_get(&of[MLP], 0));
        for (sg_dim i = 0; i < width && neurons > 0; i++) {
            const sg_attributed w = {SG_WROTE_NEURON, l, i, sg_tensor_get(&of[NEURONS], i),
                                     sg_tensor_get(&of[ACTIVATIONS], i)};
            offer(a, neurons, &w);
        }
    }
    qsort(a->neurons, (size_t)a->n_neurons, sizeof *a->neurons, by_magnitude);
}

static sg_status find_parts(asking *q, int neurons, sg_error *err)
{
    static const char *const outside[2] = {"hook_embed", "hook_pos_embed"};
    sg_graph *g = sg_glass_graph(q->glass);
    const int layers = (int)q->info->n_layers, most = 2 + layers * PER_LAYER;
    sg_value **fetches = calloc((size_t)most, sizeof *fetches);
    sg_tensor *got = calloc((size_t)most, sizeof *got);
    sg_value *direction = sg_input(g, "lens.direction", SG_F32, 1, &q->d);
    bool has[2] = {false, false};
    int n = 0;
    sg_status status = fetches && got ? sg_graph_status(g, err) : sg_fail(err, SG_ENOMEM, "attribution: out of memory");
    for (int i = 0; i < 2 && status == SG_OK; i++) {
        sg_value *v = sg_graph_find(g, outside[i]);
        has[i] = v != NULL;
        if (v)
            fetches[n++] = sg_sum_all(g, sg_mul(g, at_last(g, v), sg_cast(g, direction, sg_value_dtype(v))));
    }
    const int n_outside = n;
    for (int l = 0; l < layers && status == SG_OK; l++, n += PER_LAYER)
        status = layer_values(q, l, direction, fetches + n, err);
    if (status == SG_OK) {
        const sg_named_feed feed = {"lens.direction", sg_tensor_of(SG_F32, 1, &q->d, q->direction)};
        status = run(q, 1, &feed, n, fetches, got, err);
    }
    q->a->parts = calloc((size_t)layers * ((size_t)q->info->n_heads + 2) + 2, sizeof *q->a->parts);
    q->a->neurons = calloc((size_t)neurons + 1, sizeof *q->a->neurons);
    if (status == SG_OK && (!q->a->parts || !q->a->neurons))
        status = sg_fail(err, SG_ENOMEM, "attribution: out of memory");
    if (status == SG_OK)
        take(q, got, n_outside, has, neurons);
    free(fetches);
    free(got);
    return status;
}

/* ---- what is asked ---- */

static sg_status check(const sg_model_info *info, sg_dim n, const int32_t *tokens, const sg_attribution_opts *o,
                       sg_error *err)
{
    if (n < 1 || n > info->n_context)
        return sg_fail(err, SG_EARG, "attribution: %" PRId64 " tokens, wanted 1 to %" PRId64, n, info->n_context);
    if (o->position < -1 || o->position >= n)
        return sg_fail(err, SG_EARG, "attribution: position %" PRId64 " of %" PRId64, o->position, n);
    if (o->token < SG_LENS_NEXT || o->token >= info->n_vocab || o->versus < SG_VERSUS_MEAN ||
        o->versus >= info->n_vocab)
        return sg_fail(err, SG_EARG, "attribution: token %" PRId32 " is outside 0 to %" PRId64,
                       o->token < SG_LENS_NEXT || o->token >= info->n_vocab ? o->token : o->versus, info->n_vocab - 1);
    if (o->neurons < 0 || o->neurons > 1 << 20)
        return sg_fail(err, SG_EARG, "attribution: %d neurons", o->neurons);
    for (sg_dim i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= info->n_vocab)
            return sg_fail(err, SG_EARG, "attribution: token %" PRId32 " at place %" PRId64 " is outside 0 to %" PRId64,
                           tokens[i], i, info->n_vocab - 1);
    return SG_OK;
}

static sg_status choose_token(asking *q, sg_dim n, const sg_attribution_opts *o, sg_error *err)
{
    sg_attribution *a = q->a;
    a->token = o->token == SG_LENS_NEXT && q->n < n ? q->tokens[q->n] : o->token;
    if (a->token < 0) {
        sg_value *logits = NULL;
        sg_tensor got;
        SG_TRY(sg_glass_find(q->glass, "logits", &logits, err));
        logits = sg_argmax(sg_glass_graph(q->glass), at_last(sg_glass_graph(q->glass), logits), -1, false);
        SG_TRY(sg_graph_status(sg_glass_graph(q->glass), err));
        SG_TRY(run(q, 0, NULL, 1, &logits, &got, err));
        a->token = (int32_t)sg_tensor_get(&got, 0);
    }
    if (a->token == a->versus)
        return sg_fail(err, SG_EARG, "attribution: token %" PRId32 " against itself", a->token);
    for (sg_dim i = 0; i < q->info->n_vocab && a->versus < 0; i++)
        q->weights[i] = -1 / (float)q->info->n_vocab;
    if (a->versus >= 0)
        q->weights[a->versus] = -1;
    q->weights[a->token] += 1;
    return SG_OK;
}

/* Values are added to a graph before its first run, so each step has a glass of its own. */
static sg_status renew(asking *q, const sg_model *m, const sg_exec_opts *exec, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    how.exec = *exec;
    sg_glass_free(q->glass);
    q->glass = NULL;
    return sg_glass_new(&q->glass, m, how, err);
}

sg_status sg_attribution_view(sg_attribution **out, const sg_model *m, sg_dim n, const int32_t *tokens,
                              sg_attribution_opts opts, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    *out = NULL;
    SG_TRY(check(info, n, tokens, &opts, err));
    asking q = {.info = info,
                .tokens = tokens,
                .n = opts.position < 0 ? n : opts.position + 1,
                .d = info->d_model,
                .weights = calloc((size_t)info->n_vocab, sizeof(float)),
                .direction = calloc((size_t)info->d_model, sizeof(float)),
                .stream = calloc((size_t)info->d_model, sizeof(float)),
                .a = calloc(1, sizeof(sg_attribution))};
    snprintf(q.last, sizeof q.last, "blocks.%" PRId64 ".hook_resid_post", info->n_layers - 1);
    sg_status status = q.weights && q.direction && q.stream && q.a
                           ? renew(&q, m, &opts.exec, err)
                           : sg_fail(err, SG_ENOMEM, "attribution: out of memory");
    if (status == SG_OK) {
        q.a->position = q.n - 1;
        q.a->versus = opts.versus;
        status = choose_token(&q, n, &opts, err);
    }
    if (status == SG_OK)
        status = renew(&q, m, &opts.exec, err);
    if (status == SG_OK)
        status = find_direction(&q, err);
    if (status == SG_OK)
        status = renew(&q, m, &opts.exec, err);
    if (status == SG_OK)
        status = find_parts(&q, opts.neurons, err);
    sg_glass_free(q.glass);
    free(q.weights);
    free(q.direction);
    free(q.stream);
    if (status != SG_OK) {
        sg_attribution_free(q.a);
        return status;
    }
    *out = q.a;
    return SG_OK;
}

void sg_attribution_free(sg_attribution *a)
{
    if (!a)
        return;
    free(a->parts);
    free(a->neurons);
    free(a);
}
