/* Edits become splices: each is a little graph between the site and its readers, chosen by a gate. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph_internal.h"
#include "sightglass/edit.h"
#include "sightglass/ops.h"

#define MAX_DIRECTIONS 64

/* The numbers of an edit: those of all rows, or of one. */
typedef struct own {
    sg_edit e;
    sg_tensor numbers;              /* value in the graph's type; project: orthonormal rows */
    sg_tensor direction_numbers;
    uint8_t *heads, *features;
    bool open; /* by rows: false where a row has no edits */
} own;

/* One edit in a graph: its inputs and the numbers that go there. */
typedef struct splice {
    sg_edit e; /* as it was spliced: site, op, parts */
    own *rows; /* [n_rows], or one for all */
    const char *axes;
    sg_dtype dtype;
    int n_feature;                  /* axes of the site behind row and position */
    sg_dim feature[SG_MAX_DIMS];    /* their extents, head axis included */
    sg_value *gate, *value, *strength, *low, *high, *heads, *features, *keys;
    sg_value *direction, *above, *below;
    sg_dim places;                  /* of a site that has as many in every run, as images do; -1: one for each token */
    sg_dim n_keys;                  /* the same of keys */
    bool of_images;                 /* its rows are images */
    int n_lead;                     /* 0: one value for all; 1: by position; 2: by row and position */
    double *strength_room, *low_room, *high_room, *above_room, *below_room; /* [rows] in the graph's type */
    uint8_t *gate_room, *heads_room, *features_room, *keys_room;
    size_t gate_capacity, keys_capacity, window_capacity, directions_capacity;
    char *window;                   /* value by position, for the positions of a run; by rows: the rows' values */
    char *directions;               /* by rows */
} splice;

struct sg_edits {
    sg_arena *arena;
    splice *splices;
    int n;
    int n_feeds;
    sg_dim n_rows; /* that have numbers of their own; 0: all rows have the same */
};

static const char *const op_names[SG_N_EDIT_OPS] = {"set", "add", "scale", "ablate", "project", "clamp", "patch", "mask"};

const char *sg_edit_op_name(sg_edit_op op)
{
    return op >= 0 && op < SG_N_EDIT_OPS ? op_names[op] : "?";
}

sg_edit sg_edit_defaults(void)
{
    return (sg_edit){.strength = 1,
                     .low = -(double)INFINITY,
                     .high = (double)INFINITY,
                     .when = {.index = -1, .low = -(double)INFINITY, .high = (double)INFINITY}};
}

static bool holds(const sg_spans *s, sg_dim x)
{
    for (int i = 0; i < s->n; i++)
        if (x >= s->spans[i].first && x <= s->spans[i].last)
            return true;
    return s->n == 0;
}

/* 1 where the spans hold, else 0. A list may name many of very many, so spans are filled one by one. */
static void fill(uint8_t *room, sg_dim n, const sg_spans *s)
{
    memset(room, s->n == 0, (size_t)n);
    for (int i = 0; i < s->n; i++)
        memset(room + s->spans[i].first, 1, (size_t)(s->spans[i].last - s->spans[i].first + 1));
}

static const char *label(char buf[160], int i, const sg_edit *e)
{
    snprintf(buf, 160, "edit %d (%s at %.80s)", i, sg_edit_op_name(e->op), e->site ? e->site : "no site");
    return buf;
}

static sg_value *input(sg_graph *g, int i, const char *what, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    char name[64];

    snprintf(name, sizeof name, "edit.%d.%s", i, what);
    return sg_input(g, name, dtype, n_dims, dims);
}

/* dims [axes of the site] with 1 everywhere but at the letters of `keep`, for a value that has just those axes. */
static sg_value *spread(sg_graph *g, const splice *p, sg_value *v, const sg_value *x, const char *keep)
{
    sg_dim dims[SG_MAX_DIMS];

    for (int k = 0; k < x->n_dims; k++)
        dims[k] = strchr(keep, p->axes[k]) ? x->dims[k] : 1;
    return sg_reshape(g, v, x->n_dims, dims);
}

/* [batch,1,...,1], one number for each row that has its own; else a scalar. */
static sg_value *number_input(const sg_edits *es, sg_graph *g, int i, const char *what, const sg_value *x, int n_dims)
{
    sg_dim dims[SG_MAX_DIMS] = {x->dims[0]};

    for (int k = 1; k < n_dims; k++)
        dims[k] = 1;
    return input(g, i, what, x->dtype, es->n_rows ? n_dims : 0, dims);
}

/* Direction k of v [k,D], or [batch,k,D] by rows: as it is multiplied with x. */
static sg_value *direction_of(const splice *p, bool by_row, sg_graph *g, sg_value *x, sg_dim k)
{
    sg_dim dims[SG_MAX_DIMS] = {x->dims[0]};

    if (!by_row)
        return sg_squeeze(g, sg_slice(g, p->value, 0, k, k + 1, 1), 0);
    for (int d = 1; d < x->n_dims; d++)
        dims[d] = d + 1 == x->n_dims ? x->dims[d] : 1;
    return sg_reshape(g, sg_slice(g, p->value, 1, k, k + 1, 1), x->n_dims, dims);
}

/* Converts to the graph's type, in the arena. */
static sg_status numbers_of(sg_edits *es, const sg_tensor *from, sg_dtype dtype, sg_tensor *to, sg_error *err)
{
    *to = *from;
    to->dtype = dtype;
    to->data = sg_arena_alloc(es->arena, SG_MAX(sg_tensor_bytes(to), 1));
    if (!to->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    sg_convert(to->data, dtype, from->data, from->dtype, sg_tensor_count(from));
    return SG_OK;
}

/* Rows of v become orthonormal (Gram-Schmidt in double, twice for accuracy). */
static sg_status orthonormalise(sg_tensor *v, const char *who, sg_error *err)
{
    const sg_dim d = v->dims[v->n_dims - 1], n = sg_tensor_count(v) / d;

    for (sg_dim a = 0; a < n; a++)
        for (int pass = 0; pass < 2; pass++) {
            double before = 0, after = 0;
            for (sg_dim i = 0; i < d; i++)
                before += sg_tensor_get(v, a * d + i) * sg_tensor_get(v, a * d + i);
            for (sg_dim b = 0; b < a; b++) {
                double dot = 0;
                for (sg_dim i = 0; i < d; i++)
                    dot += sg_tensor_get(v, a * d + i) * sg_tensor_get(v, b * d + i);
                for (sg_dim i = 0; i < d; i++)
                    sg_tensor_set(v, a * d + i, sg_tensor_get(v, a * d + i) - dot * sg_tensor_get(v, b * d + i));
            }
            for (sg_dim i = 0; i < d; i++)
                after += sg_tensor_get(v, a * d + i) * sg_tensor_get(v, a * d + i);
            if (!(after > before * 1e-10) || !isfinite(after))
                return sg_fail(err, SG_EARG, "%s: direction %lld is zero, not finite, or depends on the ones before it", who,
                               (long long)a);
            for (sg_dim i = 0; i < d; i++)
                sg_tensor_set(v, a * d + i, sg_tensor_get(v, a * d + i) / sqrt(after));
        }
    return SG_OK;
}

static sg_status check_places(const sg_span *places, const char *what, sg_dim n, const char *who, sg_error *err)
{
    if (places->first < 0 || places->last >= n)
        return sg_fail(err, SG_EARG, "%s: %s %lld to %lld, there are %lld (from 0)", who, what, (long long)places->first,
                       (long long)places->last, (long long)n);
    return SG_OK;
}

/* How the value's axes lie on the site: feature axes it ends with, and what leads. */
static sg_status fit_value(splice *p, const char *who, const sg_value *x, sg_error *err)
{
    const sg_tensor *v = &p->e.value;
    char found[SG_SHAPE_TEXT], site[SG_SHAPE_TEXT];

    for (int lead = 0; lead <= 2; lead++) {
        const int n = v->n_dims - lead;
        bool fits = n >= 0 && n <= p->n_feature;
        for (int k = 0; k < n && fits; k++)
            fits = v->dims[lead + k] == p->feature[p->n_feature - n + k];
        /* By position the value has every feature axis, else [T,D] and [H,K] could be confused. */
        if (fits && (lead == 0 || (n == p->n_feature && strchr(p->axes, 't')))) {
            p->n_lead = lead;
            return SG_OK;
        }
    }
    return sg_fail(err, SG_ESHAPE, "%s: the value is %s, the site %s", who, sg_shape_text(found, v->n_dims, v->dims),
                   sg_value_shape_text(x, site));
}

/* The condition as bool [batch,time]. */
static sg_status condition(sg_edits *es, splice *p, sg_graph *g, int i, const sg_value *x, sg_value **out, const char *who,
                           sg_error *err)
{
    const sg_edit_when *w = &p->e.when;
    sg_value *c = sg_graph_find(g, w->site);

    if (!c) {
        const char *nearest = sg_graph_nearest(g, w->site);
        return sg_fail(err, SG_ENOTFOUND, "%s: when: no value is named %.80s; the nearest name is %s", who, w->site,
                       nearest ? nearest : "none");
    }
    if (strcmp(sg_value_axes(c), "btd") != 0)
        return sg_fail(err, SG_EARG, "%s: when: %s has axes \"%s\", btd were wanted", who, w->site, sg_value_axes(c));
    if (c->dims[0] != x->dims[0] || c->dims[1] != x->dims[strchr(p->axes, 't') - p->axes])
        return sg_fail(err, SG_EARG, "%s: when: %s has other rows or positions than the site", who, w->site);
    bool *behind = calloc((size_t)sg_graph_size(g), sizeof *behind);
    const bool ok = behind && sg_graph_ancestors(g, c, behind);
    const bool circular = ok && behind[x->id];
    free(behind);
    if (!ok)
        return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    if (circular)
        return sg_fail(err, SG_EARG, "%s: when: %s is computed from the edited site", who, w->site);
    sg_value *r;
    if (w->index >= 0) {
        if (w->index >= c->dims[2])
            return sg_fail(err, SG_ESHAPE, "%s: when: index %lld of %lld", who, (long long)w->index, (long long)c->dims[2]);
        r = sg_squeeze(g, sg_slice(g, c, 2, w->index, w->index + 1, 1), 2);
    } else {
        if (!w->direction.data || w->direction.n_dims != 1 || w->direction.dims[0] != c->dims[2])
            return sg_fail(err, SG_ESHAPE, "%s: when: neither an index nor a direction of %lld numbers", who, (long long)c->dims[2]);
        SG_TRY(numbers_of(es, &w->direction, c->dtype, &p->rows[0].direction_numbers, err));
        p->direction = es->n_rows ? input(g, i, "when.direction", c->dtype, 3, (sg_dim[]){c->dims[0], 1, c->dims[2]})
                                  : input(g, i, "when.direction", c->dtype, 1, &c->dims[2]);
        r = sg_sum(g, sg_mul(g, c, p->direction), 2, false);
    }
    p->above = number_input(es, g, i, "when.above", c, 2);
    p->below = number_input(es, g, i, "when.below", c, 2);
    *out = sg_and(g, sg_greater(g, r, p->above), sg_less_equal(g, r, p->below));
    return SG_OK;
}

/* sum over the last axis of x times direction u [.., D] */
static sg_value *along(sg_graph *g, sg_value *x, sg_value *u)
{
    return sg_sum(g, sg_mul(g, x, u), -1, true);
}

static sg_value *mix(sg_graph *g, sg_value *x, sg_value *s, sg_value *v)
{
    sg_value *rest = sg_mul(g, x, sg_sub(g, sg_scalar_like(g, x, 1), s));

    return v ? sg_add(g, rest, sg_mul(g, v, s)) : rest;
}

static bool at_scores(const splice *p)
{
    const size_t n = strlen(p->e.site);

    return n >= 11 && strcmp(p->e.site + n - 11, "attn_scores") == 0;
}

static sg_value *edited(sg_graph *g, splice *p, sg_value *x, bool by_row)
{
    sg_value *v = p->value, *s = p->strength;

    switch (p->e.op) {
    case SG_EDIT_SET:
    case SG_EDIT_PATCH:
    case SG_EDIT_ABLATE:
        return mix(g, x, s, v);
    case SG_EDIT_ADD:
        return sg_add(g, x, sg_mul(g, v, s));
    case SG_EDIT_SCALE:
        return sg_mul(g, x, v ? sg_mul(g, v, s) : s);
    case SG_EDIT_PROJECT: {
        sg_value *y = x;
        for (sg_dim k = 0; k < p->rows[0].numbers.dims[0]; k++) {
            sg_value *u = direction_of(p, by_row, g, x, k);
            y = sg_sub(g, y, sg_mul(g, sg_mul(g, along(g, x, u), s), u));
        }
        return y;
    }
    case SG_EDIT_CLAMP: {
        sg_value *u = v ? direction_of(p, by_row, g, x, 0) : NULL, *c = u ? along(g, x, u) : x;
        sg_value *held = sg_minimum(g, sg_maximum(g, c, p->low), p->high);
        sg_value *change = sg_mul(g, sg_sub(g, held, c), s);
        return sg_add(g, x, u ? sg_mul(g, change, u) : change);
    }
    case SG_EDIT_MASK: {
        const bool scores = at_scores(p);
        sg_value *off = p->keys ? spread(g, p, p->keys, x, "bs") : sg_equal(g, v, sg_scalar_like(g, x, 0));
        if (scores || p->keys)
            return sg_where(g, off, sg_scalar_like(g, x, scores ? -(double)INFINITY : 0), x);
        return sg_mul(g, x, v);
    }
    default:
        return x;
    }
}

static sg_status add_splice(sg_edits *es, sg_graph *g, int i, sg_error *err)
{
    splice *p = &es->splices[i];
    const sg_edit *e = &p->e;
    char who_room[160];
    const char *who = label(who_room, i, e);
    sg_value *x = e->site ? sg_graph_find(g, e->site) : NULL;

    if (!e->site || e->op < 0 || e->op >= SG_N_EDIT_OPS)
        return sg_fail(err, SG_EARG, "%s: a site and an op are needed", who);
    if (!x) {
        const char *nearest = sg_graph_nearest(g, e->site);
        return sg_fail(err, SG_ENOTFOUND, "%s: no value has this name; the nearest is %s", who, nearest ? nearest : "none");
    }
    p->axes = sg_value_axes(x);
    p->dtype = x->dtype;
    if (!sg_dtype_is_float(x->dtype) || !strchr(p->axes, 'b') || (!strchr(p->axes, 't') && strchr(p->axes, 's')))
        return sg_fail(err, SG_EARG, "%s: its site has no rows and positions of floats", who);
    const bool whole = !strchr(p->axes, 't'); /* one vector a row */
    const sg_dim places = whole ? 1 : x->dims[strchr(p->axes, 't') - p->axes];
    if (places < 0 && sg_dim_symbol(g, places) < 0)
        return sg_fail(err, SG_EARG, "%s: its site has not one place for each token", who);
    const bool pairs = strchr(p->axes, 's') != NULL; /* attention: rows, heads, queries, keys */
    p->of_images = x->dims[0] < 0 && x->dims[0] == sg_extent(g, "images");
    p->places = whole || p->of_images ? places : -1;
    p->n_keys = pairs && p->of_images ? x->dims[strchr(p->axes, 's') - p->axes] : -1;
    if (whole && (e->positions.n || e->when.site))
        return sg_fail(err, SG_EARG, "%s: its site has no positions", who);
    if (p->axes[0] != 'b' || (!pairs && !whole && p->axes[1] != 't')) /* gates and values are laid out so */
        return sg_fail(err, SG_EARG, "%s: its site has axes \"%s\", rows and positions come first", who, p->axes);
    for (int k = 0; k < x->n_dims && !pairs; k++)
        if (p->axes[k] != 'b' && p->axes[k] != 't') {
            if (x->dims[k] < 0)
                return sg_fail(err, SG_EARG, "%s: its site has an extent that is not known before a run", who);
            p->feature[p->n_feature++] = x->dims[k];
        }

    const bool has_value = e->value.data != NULL, masks_keys = e->op == SG_EDIT_MASK && e->keys.n > 0;
    if (!has_value && !masks_keys && e->op != SG_EDIT_SCALE && e->op != SG_EDIT_ABLATE && e->op != SG_EDIT_CLAMP)
        return sg_fail(err, SG_EARG, "%s: a value is needed%s", who, e->op == SG_EDIT_MASK ? " (or keys)" : "");
    if (masks_keys && !pairs)
        return sg_fail(err, SG_EARG, "%s: keys are masked at attn.hook_attn_scores or attn.hook_pattern", who);
    if (has_value && !sg_dtype_is_float(e->value.dtype) && e->value.dtype != SG_I32 && e->value.dtype != SG_BOOL)
        return sg_fail(err, SG_ETYPE, "%s: the value is %s", who, sg_dtype_name(e->value.dtype));

    /* The value's input. */
    if (has_value && !masks_keys) {
        const sg_dim width = p->n_feature ? p->feature[p->n_feature - 1] : 0;
        sg_dim dims[SG_MAX_DIMS];
        sg_tensor *numbers = &p->rows[0].numbers;
        SG_TRY(numbers_of(es, &e->value, x->dtype, numbers, err));
        if (e->op == SG_EDIT_PROJECT || e->op == SG_EDIT_CLAMP) {
            sg_tensor *v = numbers;
            if (v->n_dims < 1 || v->n_dims > 2 || v->dims[v->n_dims - 1] != width || sg_tensor_count(v) == 0 ||
                sg_tensor_count(v) / width > (e->op == SG_EDIT_CLAMP ? 1 : MAX_DIRECTIONS))
                return sg_fail(err, SG_ESHAPE, "%s: wanted directions of %lld numbers, [D]%s", who, (long long)width,
                               e->op == SG_EDIT_PROJECT ? " or [k,D] with k up to 64" : "");
            *v = sg_tensor_of(v->dtype, 2, (sg_dim[]){sg_tensor_count(v) / width, width}, v->data);
            SG_TRY(orthonormalise(v, who, err));
            p->value = es->n_rows ? input(g, i, "value", x->dtype, 3, (sg_dim[]){x->dims[0], v->dims[0], width})
                                  : input(g, i, "value", x->dtype, 2, v->dims);
        } else if (pairs) {
            if (e->value.n_dims != 0 && e->value.n_dims != x->n_dims)
                return sg_fail(err, SG_ESHAPE, "%s: at this site a value is a number or has all of row, head, query and key", who);
            if (es->n_rows && e->value.n_dims)
                return sg_fail(err, SG_EUNSUPPORTED, "%s: rows with edits of their own take one number here", who);
            p->value = es->n_rows ? number_input(es, g, i, "value", x, x->n_dims)
                                  : input(g, i, "value", x->dtype, e->value.n_dims, x->dims);
        } else {
            SG_TRY(fit_value(p, who, x, err));
            if (p->n_lead == 0 && es->n_rows) {
                for (int k = 0; k < x->n_dims; k++)
                    dims[k] = k == 0 ? x->dims[0] : 1;
                for (int k = 0; k < numbers->n_dims; k++)
                    dims[x->n_dims - numbers->n_dims + k] = numbers->dims[k];
                p->value = input(g, i, "value", x->dtype, x->n_dims, dims);
            } else if (p->n_lead == 0) {
                p->value = input(g, i, "value", x->dtype, numbers->n_dims, numbers->dims);
            } else {
                for (int k = 0; k < 2; k++)
                    dims[k] = x->dims[k];
                memcpy(dims + 2, p->feature, (size_t)p->n_feature * sizeof dims[0]);
                p->value = input(g, i, "value", x->dtype, 2 + p->n_feature, dims);
            }
        }
        es->n_feeds++;
    }
    p->strength = number_input(es, g, i, "strength", x, x->n_dims);
    es->n_feeds++;
    if (e->op == SG_EDIT_CLAMP) {
        p->low = number_input(es, g, i, "low", x, x->n_dims);
        p->high = number_input(es, g, i, "high", x, x->n_dims);
        es->n_feeds += 2;
    }

    /* The gate: where the edit applies. */
    sg_dim batch = 1, time = 1, n_heads = 0, keys = 0;
    for (int k = 0; k < x->n_dims; k++) {
        const char a = p->axes[k];
        *(a == 'b' ? &batch : a == 't' ? &time : a == 'h' ? &n_heads : &keys) = x->dims[k];
    }
    if (e->heads.n && !n_heads)
        return sg_fail(err, SG_EARG, "%s: heads were given, but its site has no head axis", who);
    if (masks_keys) {
        p->keys = input(g, i, "keys", SG_BOOL, 2, (sg_dim[]){batch, keys});
        es->n_feeds++;
    }
    p->gate = input(g, i, "gate", SG_BOOL, 2, (sg_dim[]){batch, time});
    es->n_feeds++;
    sg_value *open = p->gate;
    if (e->when.site) {
        sg_value *c = NULL;
        SG_TRY(condition(es, p, g, i, x, &c, who, err));
        open = sg_and(g, open, c);
        es->n_feeds += p->direction ? 3 : 2;
    }
    sg_value *gate = spread(g, p, open, x, "bt");
    if (e->heads.n) {
        p->heads = es->n_rows ? input(g, i, "heads", SG_BOOL, 2, (sg_dim[]){batch, n_heads})
                              : input(g, i, "heads", SG_BOOL, 1, &n_heads);
        p->heads_room = sg_arena_alloc(es->arena, (size_t)(SG_MAX(es->n_rows, 1) * n_heads));
        p->rows[0].heads = sg_arena_alloc(es->arena, (size_t)n_heads);
        if (!p->heads_room || !p->rows[0].heads)
            return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        for (int s = 0; s < e->heads.n; s++)
            SG_TRY(check_places(&e->heads.spans[s], "heads", n_heads, who, err));
        fill(p->rows[0].heads, n_heads, &e->heads);
        es->n_feeds++;
        gate = sg_and(g, gate, spread(g, p, p->heads, x, es->n_rows ? "bh" : "h"));
    }
    if (e->features.n) {
        const sg_dim n = p->n_feature ? p->feature[p->n_feature - 1] : 0;
        if (!n || p->axes[x->n_dims - 1] != 'd')
            return sg_fail(err, SG_EARG, "%s: features were given, but its site has no axis of them", who);
        sg_dim dims[SG_MAX_DIMS] = {batch};
        for (int k = 1; k < x->n_dims; k++)
            dims[k] = k + 1 == x->n_dims ? n : 1;
        p->features = es->n_rows ? input(g, i, "features", SG_BOOL, x->n_dims, dims) : input(g, i, "features", SG_BOOL, 1, &n);
        p->features_room = sg_arena_alloc(es->arena, (size_t)(SG_MAX(es->n_rows, 1) * n));
        p->rows[0].features = sg_arena_alloc(es->arena, (size_t)n);
        if (!p->features_room || !p->rows[0].features)
            return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        for (int s = 0; s < e->features.n; s++)
            SG_TRY(check_places(&e->features.spans[s], "features", n, who, err));
        fill(p->rows[0].features, n, &e->features);
        es->n_feeds++;
        gate = sg_and(g, gate, p->features); /* the last axis, as it lies */
    }
    sg_scope(g, "edit.%d", i);
    /* What is masked stays so: arithmetic with -inf would give NaN, and a finite score a look ahead. */
    if (at_scores(p))
        gate = sg_and(g, gate, sg_greater(g, x, sg_scalar_like(g, x, -(double)INFINITY)));
    sg_replace(g, x, sg_where(g, gate, edited(g, p, x, es->n_rows > 0), x));
    sg_scope(g, "%s", "");
    return sg_graph_status(g, err);
}

/* Room for the numbers of each row, shaped as those of the first. */
static sg_status room_for_rows(sg_edits *es, splice *p, sg_error *err)
{
    const sg_dim n_heads = p->heads ? sg_value_dim(p->heads, 1) : 0;
    const sg_dim n_features = p->features ? sg_value_dim(p->features, p->features->n_dims - 1) : 0;

    for (sg_dim r = 0; r < es->n_rows; r++) {
        own *o = &p->rows[r];
        if (r > 0) {
            *o = (own){.e = p->e, .numbers = p->rows[0].numbers, .direction_numbers = p->rows[0].direction_numbers};
            if (p->value && !(o->numbers.data = sg_arena_alloc(es->arena, SG_MAX(sg_tensor_bytes(&o->numbers), 1))))
                return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
            if (p->direction &&
                !(o->direction_numbers.data = sg_arena_alloc(es->arena, sg_tensor_bytes(&o->direction_numbers))))
                return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
            if ((p->heads && !(o->heads = sg_arena_alloc(es->arena, (size_t)n_heads))) ||
                (p->features && !(o->features = sg_arena_alloc(es->arena, (size_t)n_features))))
                return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        }
        o->open = false;
    }
    return SG_OK;
}

static sg_status splice_all(sg_edits **out, sg_graph *g, sg_dim n_rows, int n, const sg_edit *edits, sg_error *err)
{
    sg_edits *es = calloc(1, sizeof *es);

    if (es)
        es->n_rows = n_rows;
    if (!es || !(es->arena = sg_arena_new()) ||
        !(es->splices = sg_arena_array(es->arena, (size_t)SG_MAX(n, 1), sizeof *es->splices))) {
        sg_edits_free(es);
        return sg_fail(err, SG_ENOMEM, "out of memory for %d edits", n);
    }
    for (int i = 0; i < n; i++) {
        splice *p = &es->splices[i];
        const size_t rows = (size_t)SG_MAX(n_rows, 1);
        p->e = edits[i];
        es->n++;
        double **const rooms[] = {&p->strength_room, &p->low_room, &p->high_room, &p->above_room, &p->below_room};
        bool ok = (p->rows = sg_arena_array(es->arena, rows, sizeof *p->rows)) != NULL;
        for (size_t k = 0; k < SG_COUNT_OF(rooms) && ok; k++)
            ok = (*rooms[k] = sg_arena_array(es->arena, rows, sizeof **rooms[k])) != NULL;
        if (ok)
            p->rows[0].e = edits[i];
        sg_status status =
            ok ? add_splice(es, g, i, err) : sg_fail(err, SG_ENOMEM, "out of memory for %d edits", n);
        if (status == SG_OK)
            status = room_for_rows(es, p, err);
        if (status != SG_OK) {
            sg_edits_free(es);
            return status;
        }
    }
    *out = es;
    return SG_OK;
}

sg_status sg_edits_splice(sg_edits **out, sg_graph *g, int n, const sg_edit *edits, sg_error *err)
{
    return splice_all(out, g, 0, n, edits, err);
}

sg_status sg_edits_splice_rows(sg_edits **out, sg_graph *g, sg_dim n_rows, int n, const sg_edit *edits, sg_error *err)
{
    SG_ASSERT(n_rows > 0);
    return splice_all(out, g, n_rows, n, edits, err);
}

void sg_edits_free(sg_edits *es)
{
    if (!es)
        return;
    for (int i = 0; i < es->n; i++) {
        free(es->splices[i].gate_room);
        free(es->splices[i].keys_room);
        free(es->splices[i].window);
        free(es->splices[i].directions);
    }
    sg_arena_free(es->arena);
    free(es);
}

sg_status sg_edits_strength(sg_edits *es, int i, double strength, sg_error *err)
{
    if (i < 0 || i >= es->n)
        return sg_fail(err, SG_EARG, "edit %d of %d", i, es->n);
    es->splices[i].rows[0].e.strength = strength;
    return SG_OK;
}

/* ---- the same structure with other numbers ---- */

static void add_shape(sg_str *s, const char *what, const sg_tensor *t)
{
    char shape[SG_SHAPE_TEXT];

    sg_str_printf(s, " %s %s%s", what, sg_dtype_name(t->dtype), sg_shape_text(shape, t->n_dims, t->dims));
}

static void add_structure(sg_str *s, const sg_edit *e)
{
    sg_str_printf(s, "%s %s", sg_edit_op_name(e->op), e->site ? e->site : "");
    if (e->op == SG_EDIT_MASK && e->keys.n)
        sg_str_puts(s, " keys");
    else if (e->value.data)
        add_shape(s, "value", &e->value);
    if (e->heads.n)
        sg_str_puts(s, " heads");
    if (e->features.n)
        sg_str_puts(s, " features");
    if (e->when.site && e->when.index >= 0)
        sg_str_printf(s, " when %s %lld", e->when.site, (long long)e->when.index);
    else if (e->when.site) {
        sg_str_printf(s, " when %s", e->when.site);
        add_shape(s, "along", &e->when.direction);
    }
    sg_str_puts(s, "\n");
}

char *sg_edits_structure(int n, const sg_edit *edits)
{
    sg_str s = {0};

    sg_str_puts(&s, "");
    for (int i = 0; i < n; i++)
        add_structure(&s, &edits[i]);
    if (s.failed)
        sg_str_free(&s);
    return s.text;
}

static sg_status replace(splice *p, own *o, int i, const sg_edit *e, sg_error *err)
{
    char who_room[160];
    const char *who = label(who_room, i, e);
    const sg_dim n_heads = p->heads ? sg_value_dim(p->heads, sg_value_n_dims(p->heads) - 1) : 0;
    const sg_dim n_features = p->features ? sg_value_dim(p->features, sg_value_n_dims(p->features) - 1) : 0;

    for (int s = 0; s < e->heads.n; s++)
        SG_TRY(check_places(&e->heads.spans[s], "heads", n_heads, who, err));
    for (int s = 0; s < e->features.n; s++)
        SG_TRY(check_places(&e->features.spans[s], "features", n_features, who, err));
    if (p->value) {
        sg_tensor t = o->numbers;
        t.data = malloc(SG_MAX(sg_tensor_bytes(&t), 1));
        if (!t.data)
            return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        sg_convert(t.data, t.dtype, e->value.data, e->value.dtype, sg_tensor_count(&t));
        const bool directions = e->op == SG_EDIT_PROJECT || e->op == SG_EDIT_CLAMP;
        const sg_status status = directions ? orthonormalise(&t, who, err) : SG_OK;
        if (status == SG_OK)
            memcpy(o->numbers.data, t.data, sg_tensor_bytes(&t));
        free(t.data);
        if (status != SG_OK)
            return status;
    }
    if (p->direction)
        sg_convert(o->direction_numbers.data, o->direction_numbers.dtype, e->when.direction.data, e->when.direction.dtype,
                   sg_tensor_count(&e->when.direction));
    if (p->heads)
        fill(o->heads, n_heads, &e->heads);
    if (p->features)
        fill(o->features, n_features, &e->features);
    o->e = *e;
    return SG_OK;
}

/* Gives row `row` (0 where all have the same) the numbers of a list of the same structure. */
static sg_status replace_all(sg_edits *es, sg_dim row, int n, const sg_edit *edits, sg_error *err)
{
    sg_str was = {0}, is = {0};
    char who[160];

    if (n != es->n)
        return sg_fail(err, SG_ESHAPE, "%d edits in the place of %d", n, es->n);
    sg_status status = SG_OK;
    for (int i = 0; i < n && status == SG_OK; i++) {
        was.bytes = is.bytes = 0;
        add_structure(&was, &es->splices[i].e);
        add_structure(&is, &edits[i]);
        if (was.failed || is.failed)
            status = sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        else if (strcmp(was.text, is.text) != 0)
            status = sg_fail(err, SG_ESHAPE, "%s: of another structure than the edit in whose place it is put",
                             label(who, i, &edits[i]));
    }
    for (int i = 0; i < n && status == SG_OK; i++)
        status = replace(&es->splices[i], &es->splices[i].rows[row], i, &edits[i], err);
    for (int i = 0; i < n && status == SG_OK; i++) {
        es->splices[i].rows[row].open = true;
        if (!es->n_rows) /* the list before this one is not needed any longer */
            es->splices[i].e = edits[i];
    }
    sg_str_free(&was);
    sg_str_free(&is);
    return status;
}

sg_status sg_edits_replace(sg_edits *es, int n, const sg_edit *edits, sg_error *err)
{
    return replace_all(es, 0, n, edits, err);
}

sg_status sg_edits_set_row(sg_edits *es, sg_dim row, int n, const sg_edit *edits, sg_error *err)
{
    SG_ASSERT(row >= 0 && row < es->n_rows);
    return replace_all(es, row, n, edits, err);
}

sg_status sg_edits_copy_row(sg_edits *es, sg_dim from, sg_dim to, sg_error *err)
{
    SG_ASSERT(from >= 0 && from < es->n_rows && to >= 0 && to < es->n_rows);
    for (int i = 0; i < es->n && from != to; i++) {
        own *x = &es->splices[i].rows[from], *y = &es->splices[i].rows[to];
        y->open = x->open;
        if (x->open)
            SG_TRY(replace(&es->splices[i], y, i, &x->e, err));
    }
    return SG_OK;
}

void sg_edits_clear_row(sg_edits *es, sg_dim row)
{
    SG_ASSERT(!es || (row >= 0 && row < es->n_rows));
    for (int i = 0; es && i < es->n; i++) { /* what was borrowed may go */
        es->splices[i].rows[row].open = false;
        es->splices[i].rows[row].e = es->splices[i].e;
    }
}

int sg_edits_n_feeds(const sg_edits *es)
{
    return es ? es->n_feeds : 0;
}

static bool room(void **p, size_t *capacity, size_t wanted)
{
    if (*p && wanted <= *capacity)
        return true;
    void *more = realloc(*p, SG_MAX(wanted, 1));
    if (!more)
        return false;
    *p = more;
    *capacity = wanted;
    return true;
}

/* The own numbers of row r of a run. */
static const own *own_of(const sg_edits *es, const splice *p, const sg_edit_window *w, sg_dim r)
{
    return &p->rows[es->n_rows ? w->first + r : 0];
}

/* A number, or one for each row: at `offset` in the rows' edits. */
static sg_feed number(const sg_edits *es, const splice *p, const sg_edit_window *w, sg_value *v, size_t offset, double *store)
{
    sg_dim dims[SG_MAX_DIMS] = {w->n_rows};

    for (int k = 1; k < v->n_dims; k++)
        dims[k] = 1;
    sg_tensor t = sg_tensor_of(v->dtype, v->n_dims, dims, store);
    for (sg_dim r = 0; r < (es->n_rows ? w->n_rows : 1); r++) {
        double x;
        memcpy(&x, (const char *)&own_of(es, p, w, r)->e + offset, sizeof x);
        sg_tensor_set(&t, r, x);
    }
    return (sg_feed){v, t};
}

/* What each row has of one tensor, one after another, as v is shaped. */
static sg_status gather(const sg_edits *es, const splice *p, const sg_edit_window *w, sg_value *v, size_t offset, char **room_at,
                        size_t *capacity, sg_feed *feed, sg_error *err)
{
    sg_dim dims[SG_MAX_DIMS] = {w->n_rows};
    sg_tensor first;

    memcpy(&first, (const char *)own_of(es, p, w, 0) + offset, sizeof first);
    const size_t bytes = sg_tensor_bytes(&first);
    void *buffer = *room_at;
    if (!room(&buffer, capacity, (size_t)w->n_rows * bytes))
        return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    *room_at = buffer;
    for (sg_dim r = 0; r < w->n_rows; r++) {
        sg_tensor t;
        memcpy(&t, (const char *)own_of(es, p, w, r) + offset, sizeof t);
        memcpy(*room_at + (size_t)r * bytes, t.data, bytes);
    }
    for (int k = 1; k < v->n_dims; k++)
        dims[k] = v->dims[k];
    *feed = (sg_feed){v, sg_tensor_of(v->dtype, v->n_dims, dims, *room_at)};
    return SG_OK;
}

/* Which heads or features each row takes, of n there are. */
static sg_feed chosen(const sg_edits *es, const splice *p, const sg_edit_window *w, sg_value *v, size_t offset, uint8_t *to)
{
    const sg_dim n = sg_value_dim(v, v->n_dims - 1), rows = es->n_rows ? w->n_rows : 1;
    sg_dim dims[SG_MAX_DIMS];

    for (int k = 0; k < v->n_dims; k++)
        dims[k] = k + 1 == v->n_dims ? n : k == 0 ? rows : 1;
    for (sg_dim r = 0; r < rows; r++) {
        const uint8_t *from;
        memcpy(&from, (const char *)own_of(es, p, w, r) + offset, sizeof from);
        memcpy(to + r * n, from, (size_t)n);
    }
    return (sg_feed){v, sg_tensor_of(SG_BOOL, v->n_dims, dims, to)};
}

/* What of a run a splice lies in: rows and places of its texts, or of its images. */
typedef struct reach {
    sg_dim n_rows, time, keys;
} reach;

static sg_dim keys_of(const sg_edit_window *w)
{
    return w->keys ? w->keys : w->past + w->time;
}

static reach reach_of(const splice *p, const sg_edit_window *w)
{
    return (reach){p->of_images ? w->n_images : w->n_rows, p->places < 0 ? w->time : p->places,
                   p->n_keys < 0 ? keys_of(w) : p->n_keys};
}

static sg_dim position_of(const splice *p, const sg_edit_window *w, sg_dim r, sg_dim t)
{
    return p->places < 0 ? w->positions[r * w->time + t] : t;
}

static bool is_real(const splice *p, const sg_edit_window *w, sg_dim r, sg_dim key)
{
    return p->places >= 0 || w->real[r * keys_of(w) + key];
}

/* The value's numbers for the positions of this run, from a tensor [T,...] or [B,T,...]. */
static sg_status window_of(const sg_edits *es, splice *p, int i, const sg_edit_window *run, sg_feed *feed, sg_error *err)
{
    const sg_tensor *v = &p->rows[0].numbers;
    const reach lies = reach_of(p, run), *w = &lies;
    sg_dim dims[SG_MAX_DIMS] = {w->n_rows, w->time}, each = 1;
    char who[160];

    for (int k = 0; k < p->n_feature; k++)
        each *= dims[2 + k] = p->feature[k];
    const size_t bytes = (size_t)each * sg_dtype_bytes(v->dtype);
    const sg_dim rows = p->n_lead == 2 ? v->dims[0] : 1, positions = v->dims[p->n_lead - 1];
    void *buffer = p->window;
    if (!room(&buffer, &p->window_capacity, (size_t)(w->n_rows * w->time) * bytes))
        return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    p->window = buffer;
    if (p->n_lead == 2 && rows != 1 && (rows != w->n_rows || es->n_rows))
        return sg_fail(err, SG_ESHAPE, "%s: its value has %lld rows, the run %lld", label(who, i, &p->e), (long long)rows,
                       (long long)w->n_rows);
    for (sg_dim r = 0; r < w->n_rows; r++)
        for (sg_dim t = 0; t < w->time; t++) {
            const sg_dim at = position_of(p, run, r, t), row = rows == 1 ? 0 : r;
            char *to = p->window + (size_t)(r * w->time + t) * bytes;
            if (at < positions) {
                memcpy(to, (const char *)own_of(es, p, run, r)->numbers.data + (size_t)(row * positions + at) * bytes, bytes);
                continue;
            }
            memset(to, 0, bytes); /* a position the value does not have is not edited */
            p->gate_room[r * w->time + t] = 0;
        }
    *feed = (sg_feed){p->value, sg_tensor_of(v->dtype, 2 + p->n_feature, dims, p->window)};
    return SG_OK;
}

sg_status sg_edits_feeds(sg_edits *es, const sg_edit_window *w, sg_feed *feeds, sg_error *err)
{
    int n = 0;

    for (int i = 0; es && i < es->n; i++) {
        splice *p = &es->splices[i];
        const reach lies = reach_of(p, w);
        void *gate = p->gate_room, *key_room = p->keys_room;
        const bool ok = room(&gate, &p->gate_capacity, (size_t)(lies.n_rows * lies.time)) &&
                        (!p->keys || room(&key_room, &p->keys_capacity, (size_t)(lies.n_rows * lies.keys)));
        p->gate_room = gate;
        p->keys_room = key_room;
        if (!ok)
            return sg_fail(err, SG_ENOMEM, "out of memory for an edit");
        for (sg_dim r = 0; r < lies.n_rows; r++) {
            const own *o = own_of(es, p, w, r);
            const sg_edit *e = &o->e;
            const sg_dim past = p->places >= 0 ? 0 : w->pasts ? w->pasts[r] : w->past, step = w->steps ? w->steps[r] : w->step;
            const bool open = (!es->n_rows || o->open) && holds(&e->rows, es->n_rows ? 0 : r) && holds(&e->steps, step);
            for (sg_dim t = 0; t < lies.time; t++) {
                const sg_dim at = position_of(p, w, r, t), from_end = at - (p->places < 0 ? w->prompt[r] : p->places);
                bool here = holds(&e->positions, at);
                for (int s = 0; s < e->positions.n && !here && from_end < 0; s++)
                    here = from_end >= e->positions.spans[s].first && from_end <= e->positions.spans[s].last;
                p->gate_room[r * lies.time + t] = here && open && is_real(p, w, r, past + t);
            }
        }
        if (p->value && p->n_lead) {
            SG_TRY(window_of(es, p, i, w, &feeds[n++], err));
        } else if (p->value && es->n_rows) {
            SG_TRY(gather(es, p, w, p->value, offsetof(own, numbers), &p->window, &p->window_capacity, &feeds[n++], err));
        } else if (p->value) {
            feeds[n++] = (sg_feed){p->value, p->rows[0].numbers};
        }
        feeds[n++] = number(es, p, w, p->strength, offsetof(sg_edit, strength), p->strength_room);
        if (p->low) {
            feeds[n++] = number(es, p, w, p->low, offsetof(sg_edit, low), p->low_room);
            feeds[n++] = number(es, p, w, p->high, offsetof(sg_edit, high), p->high_room);
        }
        if (p->keys) {
            for (sg_dim r = 0; r < lies.n_rows; r++) {
                sg_dim position = 0;
                for (sg_dim k = 0; k < lies.keys; k++) {
                    p->keys_room[r * lies.keys + k] =
                        is_real(p, w, r, k) && holds(&own_of(es, p, w, r)->e.keys, position);
                    position += is_real(p, w, r, k);
                }
            }
            feeds[n++] = (sg_feed){p->keys, sg_tensor_of(SG_BOOL, 2, (sg_dim[]){lies.n_rows, lies.keys}, p->keys_room)};
        }
        feeds[n++] = (sg_feed){p->gate, sg_tensor_of(SG_BOOL, 2, (sg_dim[]){lies.n_rows, lies.time}, p->gate_room)};
        if (p->direction && es->n_rows)
            SG_TRY(gather(es, p, w, p->direction, offsetof(own, direction_numbers), &p->directions, &p->directions_capacity,
                          &feeds[n++], err));
        else if (p->direction)
            feeds[n++] = (sg_feed){p->direction, p->rows[0].direction_numbers};
        if (p->above) {
            feeds[n++] = number(es, p, w, p->above, offsetof(sg_edit, when.low), p->above_room);
            feeds[n++] = number(es, p, w, p->below, offsetof(sg_edit, when.high), p->below_room);
        }
        if (p->features)
            feeds[n++] = chosen(es, p, w, p->features, offsetof(own, features), p->features_room);
        if (p->heads)
            feeds[n++] = chosen(es, p, w, p->heads, offsetof(own, heads), p->heads_room);
    }
    SG_ASSERT(!es || n == es->n_feeds);
    return SG_OK;
}
