#include "serve/fetched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* One step: the positions that were kept, and per value their numbers. */
typedef struct step {
    sg_dim n;
    sg_dim *positions;
    sg_tensor *values; /* [n_values], owned */
} step;

/* Of a value what outlives its graph, which goes when its glass is given back. */
typedef struct label {
    char *name, *axes;
    sg_dtype dtype;
} label;

struct fetched {
    int n_values;
    sg_value **values;
    label *labels;
    int n_spans;
    sg_span *spans; /* none: all positions */
    sg_dim n_prompt;
    bool numbers;
    int n_steps, capacity;
    step *steps;
};

/* ---- what is asked ---- */

static sg_status read_positions(fetched *f, const json_t *list, sg_error *err)
{
    const size_t n = json_array_size(list);

    if (!list || json_is_null(list))
        return SG_OK;
    if (n == 0 || n > 4096)
        return sg_fail(err, SG_EARG, "fetch.positions: a list of 1 to 4096 was wanted");
    f->spans = calloc(n, sizeof *f->spans);
    if (!f->spans)
        return sg_fail(err, SG_ENOMEM, "out of memory for positions");
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(list, i);
        const json_t *a = json_is_array(e) ? json_array_get(e, 0) : e, *b = json_is_array(e) ? json_array_get(e, 1) : e;
        if ((json_is_array(e) && json_array_size(e) != 2) || !json_is_integer(a) || !json_is_integer(b) ||
            json_integer_value(a) > json_integer_value(b))
            return sg_fail(err, SG_EARG, "fetch.positions[%zu]: a whole number or [first, last] was wanted", i);
        f->spans[f->n_spans++] = (sg_span){json_integer_value(a), json_integer_value(b)};
    }
    return SG_OK;
}

static bool wanted(const fetched *f, sg_dim at)
{
    const sg_dim from_end = at - f->n_prompt;

    for (int i = 0; i < f->n_spans; i++)
        if ((at >= f->spans[i].first && at <= f->spans[i].last) ||
            (from_end < 0 && from_end >= f->spans[i].first && from_end <= f->spans[i].last))
            return true;
    return f->n_spans == 0;
}

static sg_status add_value(fetched *f, sg_value *v, sg_error *err)
{
    for (int i = 0; i < f->n_values; i++)
        if (f->values[i] == v)
            return SG_OK;
    if (f->n_values == FETCHED_MOST_VALUES)
        return sg_fail(err, SG_EARG, "fetch: more than %d values", FETCHED_MOST_VALUES);
    label *l = &f->labels[f->n_values];
    f->values[f->n_values++] = v;
    *l = (label){strdup(sg_value_name(v)), strdup(sg_value_axes(v)), sg_value_dtype(v)};
    return l->name && l->axes ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for values");
}

static bool has_positions(const sg_value *v)
{
    return sg_value_axes(v)[0] == 'b' && strchr(sg_value_axes(v), 't');
}

static sg_status add_names(fetched *f, const sg_graph *g, const char *pattern, sg_error *err)
{
    const sg_value *without = NULL;
    const int before = f->n_values;

    for (int i = 0; i < sg_graph_n_names(g); i++) {
        sg_value *v = sg_graph_named(g, i);
        if (!sg_match(pattern, sg_value_name(v)))
            continue;
        if (has_positions(v))
            SG_TRY(add_value(f, v, err));
        else
            without = v; /* weights do not go along with positions */
    }
    if (f->n_values > before)
        return SG_OK;
    if (without)
        return sg_fail(err, SG_EARG, "fetch: %.120s has no positions", sg_value_name(without));
    for (int i = 0; i < f->n_values; i++) /* asked for twice */
        if (sg_match(pattern, sg_value_name(f->values[i])))
            return SG_OK;
    const char *nearest = sg_graph_nearest(g, pattern);
    return sg_fail(err, SG_EARG, "fetch: no value is named %.120s; the nearest name is %s", pattern,
                   nearest ? nearest : "none");
}

static sg_status check_bounds(const fetched *f, sg_dim most, int n_choices, sg_error *err)
{
    double bytes = 0, numbers = 0;
    sg_dim n = 0;

    for (sg_dim t = 0; t < most; t++)
        n += wanted(f, t);
    for (int i = 0; i < f->n_values; i++) {
        const sg_value *v = f->values[i];
        double count = n_choices;
        for (int k = 0; k < sg_value_n_dims(v); k++) {
            const char a = sg_value_axes(v)[k];
            count *= a == 'b'   ? 1
                     : a == 't' ? (double)n
                     : a == 's' ? (double)most
                                : (double)SG_MAX(sg_value_dim(v, k), 1);
        }
        numbers += count;
        bytes += count * (double)sg_dtype_bytes(sg_value_dtype(v));
    }
    if (bytes > (double)FETCHED_MOST_BYTES)
        return sg_fail(err, SG_EARG,
                       "fetch: up to %.0f bytes would come back, at most %zu do; ask for fewer names or positions",
                       bytes, FETCHED_MOST_BYTES);
    if (f->numbers && numbers > (double)FETCHED_MOST_NUMBERS)
        return sg_fail(err, SG_EARG,
                       "fetch: up to %.0f numbers would come back, at most %zu do; ask for them as base64", numbers,
                       FETCHED_MOST_NUMBERS);
    return SG_OK;
}

static sg_status read_ask(fetched *f, const sg_graph *g, const json_t *ask, sg_error *err)
{
    const json_t *names = json_is_object(ask) ? json_object_get(ask, "names") : ask;
    const char *as = json_string_value(json_object_get(ask, "as"));

    f->numbers = as && strcmp(as, "numbers") == 0;
    SG_TRY(read_positions(f, json_object_get(ask, "positions"), err));
    f->values = calloc(FETCHED_MOST_VALUES, sizeof *f->values);
    f->labels = calloc(FETCHED_MOST_VALUES, sizeof *f->labels);
    if (!f->values || !f->labels)
        return sg_fail(err, SG_ENOMEM, "out of memory for values");
    if (json_is_string(names))
        return add_names(f, g, json_string_value(names), err);
    if (json_array_size(names) > FETCHED_MOST_VALUES)
        return sg_fail(err, SG_EARG, "fetch: more than %d names", FETCHED_MOST_VALUES);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        SG_TRY(name ? add_names(f, g, name, err) : sg_fail(err, SG_EARG, "fetch[%zu]: a name was wanted", i));
    }
    return SG_OK;
}

sg_status fetched_new(fetched **out, const sg_graph *g, const json_t *ask, sg_dim n, sg_dim most, int n_choices,
                      sg_error *err)
{
    *out = NULL;
    if (!ask || json_is_null(ask))
        return SG_OK;
    fetched *f = calloc(1, sizeof *f);
    if (!f)
        return sg_fail(err, SG_ENOMEM, "out of memory for values");
    f->n_prompt = n;
    sg_status status = read_ask(f, g, ask, err);
    if (status == SG_OK)
        status = check_bounds(f, most, n_choices, err);
    if (status != SG_OK) {
        fetched_free(f);
        return status;
    }
    *out = f;
    return SG_OK;
}

static void release(const fetched *f, step *s)
{
    for (int i = 0; s->values && i < f->n_values; i++)
        free(s->values[i].data);
    free(s->values);
    free(s->positions);
}

void fetched_free(fetched *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_steps; i++)
        release(f, &f->steps[i]);
    for (int i = 0; i < f->n_values; i++) {
        free(f->labels[i].name);
        free(f->labels[i].axes);
    }
    free(f->steps);
    free(f->values);
    free(f->labels);
    free(f->spans);
    free(f);
}

int fetched_count(const fetched *f)
{
    return f ? f->n_values : 0;
}

sg_value *const *fetched_values(const fetched *f)
{
    return f ? f->values : NULL;
}

int fetched_steps(const fetched *f)
{
    return f ? f->n_steps : 0;
}

/* ---- what is kept ---- */

/* Of a value [1, .., time, ..] the places `at` along axis t, without the row. */
static sg_status pick(const sg_tensor *from, int t, sg_dim n, const sg_dim *at, sg_tensor *to, sg_error *err)
{
    size_t outer = 1, inner = sg_dtype_bytes(from->dtype);

    *to = sg_tensor_of(from->dtype, from->n_dims - 1, from->dims + 1, NULL);
    to->dims[t - 1] = n;
    for (int k = 1; k < t; k++)
        outer *= (size_t)from->dims[k];
    for (int k = t + 1; k < from->n_dims; k++)
        inner *= (size_t)from->dims[k];
    to->data = malloc(SG_MAX(outer * inner * (size_t)n, 1));
    if (!to->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for values");
    for (size_t o = 0; o < outer; o++)
        for (sg_dim i = 0; i < n; i++)
            memcpy((char *)to->data + (o * (size_t)n + (size_t)i) * inner,
                   (const char *)from->data + (o * (size_t)from->dims[t] + (size_t)at[i]) * inner, inner);
    return SG_OK;
}

static int axis_of(const label *l, char letter)
{
    const char *at = strchr(l->axes, letter);

    return at ? (int)(at - l->axes) : -1;
}

sg_status fetched_keep(fetched *f, sg_dim first, sg_dim time, const sg_tensor *values, sg_error *err)
{
    if (!f)
        return SG_OK;
    step s = {.positions = malloc((size_t)time * sizeof *s.positions),
              .values = calloc((size_t)f->n_values + 1, sizeof *s.values)};
    sg_status status = s.positions && s.values ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for values");
    for (sg_dim i = 0; i < time && status == SG_OK; i++)
        if (wanted(f, first + i))
            s.positions[s.n++] = i;
    for (int i = 0; i < f->n_values && status == SG_OK && s.n; i++)
        status = pick(&values[i], axis_of(&f->labels[i], 't'), s.n, s.positions, &s.values[i], err);
    for (sg_dim i = 0; i < s.n; i++)
        s.positions[i] += first;
    if (status == SG_OK && f->n_steps == f->capacity) {
        const int capacity = f->capacity ? f->capacity * 2 : 64;
        step *more = realloc(f->steps, (size_t)capacity * sizeof *more);
        if (more) {
            f->steps = more;
            f->capacity = capacity;
        } else {
            status = sg_fail(err, SG_ENOMEM, "out of memory for values");
        }
    }
    if (status == SG_OK)
        f->steps[f->n_steps++] = s;
    else
        release(f, &s);
    return status;
}

/* ---- what is given back ---- */

/* The steps' pieces side by side along the position axis; key positions that a step did not have yet are 0. */
static bool join(const fetched *f, int value, int from, sg_tensor *out)
{
    const int t = axis_of(&f->labels[value], 't') - 1, s = axis_of(&f->labels[value], 's') - 1;
    bool any = false;
    sg_dim start = 0;

    for (int i = from; i < f->n_steps; i++) {
        const sg_tensor *p = &f->steps[i].values[value];
        if (!p->data)
            continue;
        if (!any) {
            *out = *p;
            out->dims[t] = 0;
        }
        any = true;
        out->dims[t] += p->dims[t];
        if (s >= 0)
            out->dims[s] = SG_MAX(out->dims[s], p->dims[s]);
    }
    if (!any) { /* no position of these steps was asked for */
        *out = sg_tensor_of(f->labels[value].dtype, 1, (sg_dim[]){0}, NULL);
    }
    out->data = calloc(SG_MAX(sg_tensor_bytes(out), 1), 1);
    if (!out->data || !any)
        return out->data != NULL;
    const size_t size = sg_dtype_bytes(out->dtype);
    for (int i = from; i < f->n_steps; i++) {
        const sg_tensor *p = &f->steps[i].values[value];
        const sg_dim n = p->data ? sg_tensor_count(p) : 0, run = p->data ? p->dims[p->n_dims - 1] : 1;
        for (sg_dim e = 0; e < n; e += run) { /* the last axis in one piece */
            sg_dim rest = e, at = 0, stride = 1;
            for (int k = p->n_dims - 1; k >= 0; k--) {
                at += (rest % p->dims[k] + (k == t ? start : 0)) * stride;
                rest /= p->dims[k];
                stride *= out->dims[k];
            }
            memcpy((char *)out->data + (size_t)at * size, (const char *)p->data + (size_t)e * size, (size_t)run * size);
        }
        start += p->data ? p->dims[t] : 0;
    }
    return true;
}

json_t *fetched_base64(const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    char *text = malloc((n + 2) / 3 * 4 + 1), *to = text;

    if (!text)
        return NULL;
    for (size_t i = 0; i < n; i += 3) {
        const unsigned x =
            (unsigned)b[i] << 16 | (i + 1 < n ? (unsigned)b[i + 1] << 8 : 0) | (i + 2 < n ? b[i + 2] : 0);
        *to++ = digits[x >> 18];
        *to++ = digits[x >> 12 & 63];
        *to++ = i + 1 < n ? digits[x >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[x & 63] : '=';
    }
    *to = '\0';
    json_t *j = json_stringn_nocheck(text, (size_t)(to - text));
    free(text);
    return j;
}

json_t *fetched_numbers(const sg_tensor *t)
{
    json_t *list = json_array();

    for (sg_dim i = 0; i < sg_tensor_count(t); i++) {
        const double x = sg_tensor_get(t, i);
        json_array_append_new(list, isfinite(x) ? json_real(x) : json_null());
    }
    return list;
}

static json_t *value_json(const fetched *f, int i, int from)
{
    const label *l = &f->labels[i];
    json_t *shape = json_array(), *positions = json_array();
    sg_tensor t = {0};

    const bool ok = join(f, i, from, &t);
    for (int k = 0; k < t.n_dims; k++)
        json_array_append_new(shape, json_integer(t.dims[k]));
    for (int k = from; k < f->n_steps; k++)
        for (sg_dim p = 0; p < f->steps[k].n; p++)
            json_array_append_new(positions, json_integer(f->steps[k].positions[p]));
    json_t *data = !ok ? NULL : f->numbers ? fetched_numbers(&t) : fetched_base64(t.data, sg_tensor_bytes(&t));
    free(t.data);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "name", l->name, "axes", l->axes + 1, "dtype",
                     sg_dtype_name(l->dtype), "shape", shape, "positions", positions, f->numbers ? "numbers" : "base64",
                     data);
}

json_t *fetched_json(const fetched *f, int from)
{
    if (!f)
        return NULL;
    json_t *list = json_array();
    for (int i = 0; i < f->n_values && list; i++)
        if (json_array_append_new(list, value_json(f, i, from)) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}
