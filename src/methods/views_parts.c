/* Direct attribution: v is, at each position, the direction in which the probe reads the true classes there, and each
 * part that writes to the stream is multiplied by it. A head's share is taken by a gradient: of (attention's output) .
 * v by the head's z, times z, which is z W_o v whatever the family calls W_o. What is left of attention is its bias. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/views_internal.h"
#include "sightglass/bootstrap.h"
#include "sightglass/ops.h"

typedef struct viewing {
    const sg_tensor *tokens, *counts;
    const sg_label *label;
    const sg_probe *probe;
    const sg_views_opts *opts;
    int trivial, n_heads;
    int last;    /* the last block that writes to the site */
    bool middle; /* of it only attention */
    sg_dim *other;
    sg_glass *glass;
    int n_values;
    sg_value **values; /* fetched: of true and shuffled labels in turn, [batch], of heads [batch,H] */
    sg_tensor *got;
    double *sum[2]; /* [parts,E] of true and of shuffled labels; the whole comes last */
    double *n;      /* [E] labels */
} viewing;

static sg_dim n_places(const sg_tensor *t)
{
    return t->n_dims == 3 ? t->dims[2] : 1;
}

/* Which blocks write to the site. */
static sg_status find_site(viewing *v, const sg_model *m, const char *site, sg_error *err)
{
    int block, end = 0;
    const int n_layers = (int)sg_model_get_info(m)->n_layers;
    if (sscanf(site, "blocks.%d.hook_resid_%n", &block, &end) != 1 || !end || block < 0 || block >= n_layers)
        return sg_fail(err, SG_EARG, "view: %.80s is no value of the residual stream, such as blocks.0.hook_resid_post",
                       site);
    const char *which = site + end;
    v->middle = strcmp(which, "mid") == 0;
    v->last = strcmp(which, "pre") == 0 ? block - 1 : block;
    if (!v->middle && strcmp(which, "pre") != 0 && strcmp(which, "post") != 0)
        return sg_fail(err, SG_EARG, "view: %.80s is no value of the residual stream, such as blocks.0.hook_resid_post",
                       site);
    return SG_OK;
}

/* ---- the graph ---- */

/* x . direction, at all positions of an episode together. */
static sg_value *along(sg_graph *g, sg_value *x, sg_value *direction)
{
    return sg_sum_axes(g, sg_mul(g, x, direction), 6u, false); /* [batch] */
}

static sg_status add_part(viewing *v, sg_parts *out, const char *value, const char *name, int layer,
                          sg_value *const direction[2], sg_error *err)
{
    sg_graph *g = sg_glass_graph(v->glass);
    sg_value *x;
    SG_TRY(sg_glass_find(v->glass, value, &x, err));
    for (int set = 0; set < 2; set++)
        v->values[v->n_values++] = along(g, x, direction[set]);
    snprintf(out->parts[out->n].name, sizeof out->parts[0].name, "%s", name);
    out->parts[out->n].layer = layer;
    out->parts[out->n++].head = -1;
    return SG_OK;
}

static sg_status add_heads(viewing *v, sg_parts *out, int layer, sg_value *const direction[2], sg_error *err)
{
    sg_graph *g = sg_glass_graph(v->glass);
    sg_value *z, *written;
    char name[64];
    snprintf(name, sizeof name, "blocks.%d.attn.hook_z", layer);
    SG_TRY(sg_glass_find(v->glass, name, &z, err));
    snprintf(name, sizeof name, "blocks.%d.hook_attn_out", layer);
    SG_TRY(sg_glass_find(v->glass, name, &written, err));
    for (int set = 0; set < 2; set++) {
        sg_value *by_z;
        sg_gradients(g, written, direction[set], 1, &z, &by_z);
        v->values[v->n_values++] = sg_sum_axes(g, sg_mul(g, z, by_z), 10u, false); /* [batch,H] */
    }
    for (int h = 0; h < v->n_heads; h++, out->n++) {
        snprintf(out->parts[out->n].name, sizeof out->parts[0].name, "blocks.%d.attn head %d", layer, h);
        out->parts[out->n].layer = layer;
        out->parts[out->n].head = h;
    }
    return SG_OK;
}

static sg_status build(viewing *v, sg_parts *out, const sg_model *m, const char *site, sg_error *err)
{
    static const char *const inputs[2] = {"views.true", "views.shuffled"};
    sg_glass_opts how = sg_glass_defaults();
    sg_value *at, *direction[2];
    char name[64], part[64];
    how.exec = v->opts->exec;
    SG_TRY(sg_glass_new(&v->glass, m, how, err));
    SG_TRY(sg_glass_find(v->glass, site, &at, err));
    sg_graph *g = sg_glass_graph(v->glass);
    const sg_tensor *w = sg_probe_weights(v->probe);
    const sg_tensor flat = sg_tensor_of(SG_F32, 2, (sg_dim[]){w->dims[0], w->dims[1] * w->dims[2]}, w->data);
    sg_value *weights = sg_const(g, &flat); /* [D,S*C] */
    for (int set = 0; set < 2; set++) {
        sg_value *wanted =
            sg_input(g, inputs[set], SG_F32, 3, (sg_dim[]){sg_value_dim(at, 0), sg_value_dim(at, 1), flat.dims[1]});
        direction[set] = sg_matmul(g, wanted, weights, false, true); /* [batch,time,D] */
    }
    SG_TRY(add_part(v, out, "hook_embed", "embedding", -1, direction, err));
    if (sg_graph_find(g, "hook_pos_embed"))
        SG_TRY(add_part(v, out, "hook_pos_embed", "positions", -1, direction, err));
    for (int l = 0; l <= v->last; l++) {
        SG_TRY(add_heads(v, out, l, direction, err));
        snprintf(name, sizeof name, "blocks.%d.hook_attn_out", l);
        snprintf(part, sizeof part, "blocks.%d.attn bias", l);
        SG_TRY(
            add_part(v, out, name, part, l, direction, err)); /* all of attention; less its heads when it is summed */
        snprintf(name, sizeof name, "blocks.%d.hook_mlp_out", l);
        snprintf(part, sizeof part, "blocks.%d.mlp", l);
        if (l < v->last || !v->middle)
            SG_TRY(add_part(v, out, name, part, l, direction, err));
    }
    for (int set = 0; set < 2; set++)
        v->values[v->n_values++] = along(g, at, direction[set]);
    return sg_graph_status(g, err);
}

/* ---- labels ---- */

/* coef [S*C]: 1 for the class, -1 / (C - 1) for the others. Returns how many labels there are. */
static sg_dim want(const viewing *v, sg_dim e, sg_dim t, float *coef)
{
    const sg_tensor *is = v->label->values;
    const sg_dim places = n_places(is), c = sg_probe_n_classes(v->probe), at = (e * v->tokens->dims[1] + t) * places;
    sg_dim n = 0;
    for (sg_dim p = 0; p < places; p++) {
        const double y = sg_tensor_get(is, at + p);
        if (y < 0 || (int)y == v->trivial || y >= (double)c)
            continue;
        for (sg_dim k = 0; k < c; k++)
            coef[p * c + k] = (sg_dim)y == k ? 1.0f : -1.0f / (float)(c - 1);
        n++;
    }
    return n;
}

static void add(viewing *v, sg_parts *out, sg_dim first, sg_dim n)
{
    const sg_dim episodes = v->tokens->dims[0];
    int value = 0;
    for (int i = 0; i <= out->n;) {
        const int width = i < out->n && out->parts[i].head == 0 ? v->n_heads : 1;
        for (int set = 0; set < 2; set++) {
            const float *x = v->got[value + set].data;
            for (sg_dim e = 0; e < n; e++)
                for (int h = 0; h < width; h++)
                    v->sum[set][(i + h) * episodes + first + e] = (double)x[e * width + h];
        }
        value += 2;
        i += width;
    }
}

static sg_status gather(viewing *v, sg_parts *out, sg_error *err)
{
    const sg_dim episodes = v->tokens->dims[0], time = v->tokens->dims[1];
    const sg_dim width = sg_probe_n_tasks(v->probe) * sg_probe_n_classes(v->probe);
    float *coef[2];
    for (int set = 0; set < 2; set++)
        coef[set] = malloc((size_t)(v->opts->batch * time * width) * sizeof(float));
    sg_status status = coef[0] && coef[1] ? SG_OK : sg_fail(err, SG_ENOMEM, "view: out of memory for labels");
    for (sg_dim first = 0; first < episodes && status == SG_OK; first += v->opts->batch) {
        const sg_dim n = SG_MIN(v->opts->batch, episodes - first);
        for (int set = 0; set < 2; set++)
            memset(coef[set], 0, (size_t)(n * time * width) * sizeof(float));
        for (sg_dim i = 0; i < n * time; i++) {
            const sg_dim e = first + i / time, t = i % time;
            if (!sg_views_asked(v->tokens, v->counts, v->opts->first, e, t) ||
                !sg_views_asked(v->tokens, v->counts, v->opts->first, v->other[e], t))
                continue;
            v->n[e] += (double)want(v, e, t, coef[0] + i * width);
            (void)want(v, v->other[e], t, coef[1] + i * width);
            out->n_rows++;
        }
        const sg_dim dims[3] = {n, time, width};
        const sg_named_feed feeds[2] = {{"views.true", sg_tensor_of(SG_F32, 3, dims, coef[0])},
                                        {"views.shuffled", sg_tensor_of(SG_F32, 3, dims, coef[1])}};
        status = sg_views_run(v->glass, v->tokens, first, n, 2, feeds, v->n_values, v->values, v->got, err);
        if (status == SG_OK)
            add(v, out, first, n);
        if (status == SG_OK)
            status = sg_views_tell(v->opts, "attribution", (double)(first + n) / (double)episodes, err);
    }
    free(coef[0]);
    free(coef[1]);
    return status;
}

static sg_status rate(sg_rate *out, const viewing *v, const double *part, sg_error *err)
{
    sg_bootstrap_opts how = sg_bootstrap_defaults();
    sg_interval interval;
    double sum = 0, n = 0;
    how.n_resamples = v->opts->n_resamples;
    how.seed = v->opts->seed;
    for (sg_dim e = 0; e < v->tokens->dims[0]; e++) {
        sum += part[e];
        n += v->n[e];
    }
    SG_TRY(sg_bootstrap_ratio(&interval, v->tokens->dims[0], part, v->n, how, err));
    *out = (sg_rate){sum / n, interval.low, interval.high, (sg_dim)n};
    return SG_OK;
}

/* Of attention as a whole its heads are taken off: what stays is its bias. */
static void leave_the_bias(viewing *v, const sg_parts *out)
{
    const sg_dim episodes = v->tokens->dims[0];
    for (int i = 0; i < out->n; i++)
        for (int h = 1; i >= v->n_heads && strstr(out->parts[i].name, "bias") && h <= v->n_heads; h++)
            for (int set = 0; set < 2; set++)
                for (sg_dim e = 0; e < episodes; e++)
                    v->sum[set][i * episodes + e] -= v->sum[set][(i - h) * episodes + e];
}

static sg_status view(sg_parts *out, viewing *v, const sg_model *m, const char *site, sg_error *err)
{
    const sg_dim episodes = v->tokens->dims[0];
    const size_t most = 3 + (size_t)(v->last + 1) * ((size_t)v->n_heads + 2);
    SG_TRY(sg_views_others(&v->other, episodes, v->opts->seed, err));
    out->parts = calloc(most, sizeof *out->parts);
    v->values = calloc(2 * most, sizeof *v->values);
    v->got = calloc(2 * most, sizeof *v->got);
    v->n = calloc((size_t)episodes, sizeof *v->n);
    for (int set = 0; set < 2; set++)
        v->sum[set] = calloc(most * (size_t)episodes, sizeof(double));
    if (!out->parts || !v->values || !v->got || !v->n || !v->sum[0] || !v->sum[1])
        return sg_fail(err, SG_ENOMEM, "view: out of memory for %zu parts", most);
    SG_TRY(build(v, out, m, site, err));
    SG_TRY(gather(v, out, err));
    if (out->n_rows == 0)
        return sg_fail(err, SG_EARG, "view: no position from %lld on is followed by a token that counts",
                       (long long)v->opts->first);
    leave_the_bias(v, out);
    for (int i = 0; i <= out->n; i++) {
        sg_part *p = i < out->n ? &out->parts[i] : &out->whole;
        SG_TRY(rate(&p->toward, v, v->sum[0] + i * episodes, err));
        SG_TRY(rate(&p->shuffled, v, v->sum[1] + i * episodes, err));
    }
    snprintf(out->whole.name, sizeof out->whole.name, "%.60s", site);
    out->whole.layer = out->whole.head = -1;
    out->n_episodes = episodes;
    return SG_OK;
}

sg_status sg_parts_view(sg_parts **out, const sg_model *m, const char *site, const sg_probe *probe,
                        const sg_tensor *tokens, const sg_tensor *counts, const sg_label *label, int trivial,
                        sg_views_opts opts, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = NULL;
    SG_TRY(sg_views_check(m, tokens, counts, &opts, err));
    viewing v = {.tokens = tokens,
                 .counts = counts,
                 .label = label,
                 .probe = probe,
                 .opts = &opts,
                 .trivial = trivial,
                 .n_heads = (int)sg_model_get_info(m)->n_heads};
    SG_TRY(find_site(&v, m, site, err));
    const sg_tensor *t = label->values;
    if (!sg_probe_weights(probe)->data)
        return sg_fail(err, SG_EUNSUPPORTED, "view: a probe of kind %s does not read a sum as a sum of readings",
                       sg_probe_kind_name(sg_probe_get_kind(probe)));
    if (t->n_dims < 2 || t->n_dims > 3 || t->dims[0] != tokens->dims[0] || t->dims[1] != tokens->dims[1] ||
        n_places(t) != sg_probe_n_tasks(probe) || sg_probe_width(probe) != sg_model_get_info(m)->d_model ||
        sg_probe_n_classes(probe) < 2)
        return sg_fail(err, SG_ESHAPE,
                       "view: the probe is of %lld numbers and %lld tasks; the model's width is %lld, and %s is %s",
                       (long long)sg_probe_width(probe), (long long)sg_probe_n_tasks(probe),
                       (long long)sg_model_get_info(m)->d_model, label->name, sg_shape_text(shape, t->n_dims, t->dims));
    sg_parts *p = calloc(1, sizeof *p);
    if (!p)
        return sg_fail(err, SG_ENOMEM, "view: out of memory");
    const sg_status status = view(p, &v, m, site, err);
    sg_glass_free(v.glass);
    free(v.other);
    free(v.values);
    free(v.got);
    free(v.n);
    free(v.sum[0]);
    free(v.sum[1]);
    if (status != SG_OK) {
        sg_parts_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

void sg_parts_free(sg_parts *p)
{
    if (p)
        free(p->parts);
    free(p);
}
