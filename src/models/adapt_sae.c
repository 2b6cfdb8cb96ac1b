/* A sparse autoencoder in a graph. Everything of it reads `seen`, so that the model's own readers of the site can be
 * led past it. Its features are computed twice where the model reads them: as they are, and as edits leave them. What
 * the model reads then is x and what the difference decodes to, which is nothing, bit for bit, where nothing was
 * edited. */
#include <math.h>
#include <string.h>

#include "graph/op.h"
#include "models/adapt.h"

typedef struct sae_build {
    const sg_added_sae *of;
    const sg_sae *s;
    sg_graph *g;
    sg_value *x;     /* the site */
    sg_value *seen;  /* [...,d_in] */
    sg_value *scale; /* of what is undone behind, NULL: 1 */
    sg_value *mean;  /* NULL: 0 */
    char axes[SG_MAX_DIMS + 1];
} sae_build;

static sg_value *variable(const sae_build *b, int which)
{
    const sg_adapted *of = &b->of->tensors[which];
    sg_value *v = sg_graph_find(b->g, of->name);

    return v ? v
             : sg_variable(b->g, of->name, of->tensor.dtype, of->tensor.n_dims, of->tensor.dims, sg_init_constant(0));
}

static const char *part_name(const sae_build *b, const char *what, char buf[256])
{
    snprintf(buf, 256, "%.200s.%s", b->s->hook, what);
    return buf;
}

static sg_value *named(const sae_build *b, sg_value *v, const char *what)
{
    char name[256];

    return sg_name(b->g, sg_identity(b->g, v), part_name(b, what, name), b->axes);
}

static sg_value *part(const sae_build *b, const char *what)
{
    char name[256];

    return sg_graph_find(b->g, part_name(b, what, name));
}

/* The site's value as [...,d_in] and its axes. */
static sg_status look_at(sae_build *b, sg_error *err)
{
    const char *path = b->s->path ? b->s->path : "autoencoder";
    char shape[SG_SHAPE_TEXT];
    sg_dim dims[SG_MAX_DIMS];

    b->x = sg_graph_find(b->g, b->s->hook);
    if (!b->x) {
        const char *nearest = sg_graph_nearest(b->g, b->s->hook);
        return sg_fail(err, SG_ENOTFOUND, "%s: the model has no value %.120s; the nearest name is %s", path, b->s->hook,
                       nearest ? nearest : "none");
    }
    const bool heads = b->x->n_dims >= 2 && strchr(sg_value_axes(b->x), 'h') && b->s->by_heads;
    const int n = b->x->n_dims - heads;
    memcpy(dims, b->x->dims, sizeof dims);
    if (heads)
        dims[n - 1] = sg_dim_mul(b->g, b->x->dims[n - 1], b->x->dims[n]);
    if (b->x->n_dims < 1 || b->x->dtype != b->of->tensors[SG_SAE_W_ENC].tensor.dtype || dims[n - 1] != b->s->d_in)
        return sg_fail(err, SG_EFORMAT, "%s: it reads %lld numbers, %s is %s %s", path, (long long)b->s->d_in,
                       b->s->hook, sg_dtype_name(b->x->dtype), sg_value_shape_text(b->x, shape));
    memcpy(b->axes, sg_value_axes(b->x), (size_t)n);
    b->axes[n - 1] = 'd';
    b->axes[n] = '\0';
    b->seen = sg_identity(b->g, b->x);
    if (heads)
        b->seen = sg_reshape(b->g, b->seen, n, dims);
    return SG_OK;
}

static sg_value *as_site(const sae_build *b, sg_value *v)
{
    return v->n_dims == b->x->n_dims ? v : sg_reshape(b->g, v, b->x->n_dims, b->x->dims);
}

/* norm(x) - b_dec */
static sg_value *prepared(sae_build *b)
{
    sg_graph *g = b->g;
    sg_value *z = b->seen;

    if (b->s->norm == SG_SAE_NORM_LAYER) {
        b->mean = sg_mean(g, z, -1, true);
        sg_value *c = sg_sub(g, z, b->mean);
        b->scale = sg_sqrt(g, sg_mul_scalar(g, sg_sum(g, sg_square(g, c), -1, true), 1 / ((double)b->s->d_in - 1)));
        z = sg_div(g, c, sg_add_scalar(g, b->scale, 1e-5));
    } else if (b->s->norm == SG_SAE_NORM_CONSTANT) {
        b->scale = sg_mul_scalar(g, sg_sqrt(g, sg_sum(g, sg_square(g, z), -1, true)), 1 / sqrt((double)b->s->d_in));
        z = sg_div(g, z, b->scale);
    }
    return b->s->apply_b_dec ? sg_sub(g, z, variable(b, SG_SAE_B_DEC)) : z;
}

/* Features of p; in a gated one `gate` says which are on. */
static sg_value *activate(const sae_build *b, sg_value *p, sg_value *gate)
{
    sg_graph *g = b->g;
    sg_value *zero = sg_scalar_like(g, p, 0);

    switch (b->s->kind) {
    case SG_SAE_JUMPRELU:
        return sg_where(g, sg_greater(g, p, variable(b, SG_SAE_THRESHOLD)), sg_relu(g, p), zero);
    case SG_SAE_GATED:
        return sg_where(g, gate, sg_relu(g, p), zero);
    case SG_SAE_TOPK: {
        sg_value *index = sg_top_k(g, p, b->s->k);
        return sg_put_along(g, index, sg_relu(g, sg_take_along(g, p, index, -1)), -1, b->s->d_sae);
    }
    default:
        return sg_relu(g, p);
    }
}

static sg_value *decoded(const sae_build *b, sg_value *features)
{
    return sg_matmul(b->g, features, variable(b, SG_SAE_W_DEC), false, false);
}

/* unnorm(r), as the site has it */
static sg_value *undone(const sae_build *b, sg_value *r, bool with_mean)
{
    if (b->scale)
        r = sg_mul(b->g, r, b->scale);
    if (b->mean && with_mean)
        r = sg_add(b->g, r, b->mean);
    return as_site(b, r);
}

/* All of its values; *clean are the features that no edit reaches. */
static sg_status build(sae_build *b, sg_value **clean, sg_error *err)
{
    sg_graph *g = b->g;

    SG_TRY(look_at(b, err));
    sg_value *p = sg_matmul(g, prepared(b), variable(b, SG_SAE_W_ENC), false, false), *gate = NULL;
    if (b->s->kind == SG_SAE_GATED) {
        gate = sg_greater(g, sg_add(g, p, variable(b, SG_SAE_B_GATE)), sg_scalar_like(g, p, 0));
        p = sg_add(g, sg_mul(g, p, sg_exp(g, variable(b, SG_SAE_R_MAG))), variable(b, SG_SAE_B_MAG));
    } else {
        p = sg_add(g, p, variable(b, SG_SAE_B_ENC));
    }
    *clean = activate(b, p, gate);
    if (!part(b, "hook_sae_acts_pre")) { /* else only the values are wanted, of a graph that has the names */
        sg_value *pre = named(b, p, "hook_sae_acts_pre");
        sg_value *post = named(b, activate(b, pre, gate), "hook_sae_acts_post");
        named(b, sg_add(g, decoded(b, post), variable(b, SG_SAE_B_DEC)), "hook_sae_recons");
        sg_value *r = sg_add(g, decoded(b, *clean), variable(b, SG_SAE_B_DEC));
        sg_value *error = sg_sub(g, as_site(b, b->seen), undone(b, r, true));
        char name[256];
        sg_name(g, sg_identity(g, error), part_name(b, "hook_sae_error", name), sg_value_axes(b->x));
    }
    return sg_graph_status(g, err);
}

/* The model reads `out`. */
static sg_status lead_past(sae_build *b, sg_value *out, sg_error *err)
{
    char name[256];

    out = sg_name(b->g, sg_identity(b->g, out), part_name(b, "hook_sae_output", name), sg_value_axes(b->x));
    sg_graph_redirect(b->g, b->x, out);
    return sg_graph_status(b->g, err);
}

/* x + what edits of the features decode to. */
static sg_value *kept(const sae_build *b, sg_value *clean)
{
    sg_value *change = decoded(b, sg_sub(b->g, part(b, "hook_sae_acts_post"), clean));

    return sg_add(b->g, as_site(b, b->seen), undone(b, change, false));
}

sg_status sg_adapt_sae_graph(const sg_model *m, int i, sg_graph *g, sg_error *err)
{
    sae_build b = {.of = &m->adapters->saes[i], .s = m->adapters->saes[i].s, .g = g};
    sg_value *clean = NULL;

    sg_scope(g, "sae.%d", i);
    SG_TRY(build(&b, &clean, err));
    if (b.of->use == SG_SAE_KEEP)
        SG_TRY(lead_past(&b, kept(&b, clean), err));
    if (b.of->use == SG_SAE_REPLACE)
        SG_TRY(lead_past(&b, undone(&b, part(&b, "hook_sae_recons"), true), err));
    sg_scope(g, "%s", "");
    return SG_OK;
}

/* What an edited value differs by from what it is computed as: named() put an identity between the two. */
static sg_value *change_of(const sae_build *b, sg_value *v)
{
    return sg_sub(b->g, v, v->in[0]);
}

sg_status sg_adapt_sae_edits(const sg_model *m, int i, sg_graph *g, int n, const sg_edit *edits, sg_error *err)
{
    sae_build b = {.of = &m->adapters->saes[i], .s = m->adapters->saes[i].s, .g = g};
    const size_t hook = strlen(b.s->hook);
    bool features = false, recons = false, error = false;

    for (int k = 0; k < n; k++) {
        const char *site = edits[k].site;
        if (!site || strncmp(site, b.s->hook, hook) != 0 || strncmp(site + hook, ".hook_sae_", 10) != 0)
            continue;
        features |= strncmp(site + hook, ".hook_sae_acts_", 15) == 0;
        recons |= strcmp(site + hook, ".hook_sae_recons") == 0;
        error |= strcmp(site + hook, ".hook_sae_error") == 0;
    }
    if (error && b.of->use == SG_SAE_REPLACE)
        return sg_fail(err, SG_EARG,
                       "edits at %s.hook_sae_error change nothing: the model reads the reconstruction alone",
                       b.s->hook);
    if (b.of->use == SG_SAE_REPLACE || (!recons && !error && !(features && b.of->use == SG_SAE_LOOK)))
        return SG_OK;
    sg_scope(g, "sae.%d", i);
    sg_value *clean = NULL;
    SG_TRY(build(&b, &clean, err));
    sg_value *out = b.of->use == SG_SAE_KEEP ? part(&b, "hook_sae_output") : as_site(&b, b.seen), *was = out;
    if (b.of->use == SG_SAE_LOOK && features)
        out = kept(&b, clean);
    if (recons)
        out = sg_add(g, out, undone(&b, change_of(&b, part(&b, "hook_sae_recons")), false));
    if (error)
        out = sg_add(g, out, change_of(&b, part(&b, "hook_sae_error")));
    if (b.of->use == SG_SAE_LOOK)
        SG_TRY(lead_past(&b, out, err));
    else
        sg_graph_substitute(g, was, out);
    sg_scope(g, "%s", "");
    return sg_graph_status(g, err);
}
