/* The attributer: a fork of the network's graph to which S and its gradient are added. Which class or token is asked
 * about is a run input, and so is the site's value: noise, baselines and paths never need another plan. */
#include "sightglass/attribute.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "methods/attribute_internal.h"
#include "sightglass/ops.h"

sg_attribute_target sg_attribute_target_defaults(void)
{
    return (sg_attribute_target){.position = -1};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
}

/* ---- S ---- */

static sg_status find(const sg_graph *g, const char *name, sg_value **out, sg_error *err)
{
    const char *near = sg_graph_nearest(g, name);
    *out = sg_graph_find(g, name);
    if (*out)
        return SG_OK;
    return near ? sg_fail(err, SG_ENOTFOUND, "attribute: there is no value '%s'; the nearest name is '%s'", name, near)
                : sg_fail(err, SG_ENOTFOUND, "attribute: there is no value '%s'", name);
}

static sg_value *picked(sg_attributer *a, sg_value *t, const char *name, sg_value **input)
{
    sg_graph *g = a->g;
    *input = sg_input(g, name, SG_I32, 2, (sg_dim[]){sg_value_dim(t, 0), 1});
    return sg_squeeze(g, sg_take_along(g, t, *input, 1), 1);
}

static sg_status build_score(sg_attributer *a, sg_error *err)
{
    sg_graph *g = a->g;
    const sg_attribute_target *target = &a->target;
    char shape[SG_SHAPE_TEXT];
    sg_value *t = NULL;
    if (target->build) {
        a->score = target->build(g, target->context);
        SG_TRY(sg_graph_status(g, err));
        return sg_value_n_dims(a->score) == 1
                   ? SG_OK
                   : sg_fail(err, SG_ESHAPE, "attribute: what was built is %s, wanted a number for each row",
                             sg_value_shape_text(a->score, shape));
    }
    const char *name = a->target_site ? a->target_site : sg_graph_find(g, "class_logits") ? "class_logits" : "logits";
    SG_TRY(find(g, name, &t, err));
    const int n_dims = sg_value_n_dims(t);
    if (n_dims < 1 || n_dims > 3 || !sg_dtype_is_float(sg_value_dtype(t)))
        return sg_fail(err, SG_ESHAPE, "attribute: %s is %s, wanted floats [rows,n] or [rows,positions,n]", name,
                       sg_value_shape_text(t, shape));
    if (n_dims == 1) {
        a->score = t;
        return SG_OK;
    }
    if (n_dims == 3) {
        const sg_dim time = sg_value_dim(t, 1), p = target->position;
        const sg_dim from = p < 0 ? sg_dim_sub(g, time, -p) : p;
        t = sg_squeeze(g, sg_slice(g, t, 1, from, sg_dim_add(g, from, 1), 1), 1);
    }
    if (target->probability)
        t = sg_softmax(g, t, -1);
    a->score = picked(a, t, "attribute.index", &a->index);
    if (target->less_other)
        a->score = sg_sub(g, a->score, picked(a, t, "attribute.other", &a->other));
    return sg_graph_status(g, err);
}

sg_status sg_attributer_build(sg_attributer *a, sg_error *err)
{
    sg_guided_cuts cuts = {0};
    char shape[SG_SHAPE_TEXT];
    SG_TRY(sg_graph_fork(&a->g, a->from, err));
    sg_graph *g = a->g;
    sg_status status = a->is_guided ? sg_guided_cut(&cuts, g, err) : SG_OK;
    if (status == SG_OK)
        status = find(g, a->site_name, &a->site, err);
    if (status == SG_OK &&
        (sg_value_n_dims(a->site) < 2 || (sg_value_dtype(a->site) != SG_F32 && sg_value_dtype(a->site) != SG_F64)))
        status = sg_fail(err, SG_ESHAPE, "attribute: %s is %s %s, wanted f32 or f64 with rows first", a->site_name,
                         sg_dtype_name(sg_value_dtype(a->site)), sg_value_shape_text(a->site, shape));
    if (status == SG_OK)
        status = build_score(a, err);
    if (status == SG_OK) {
        a->gradient = a->is_guided ? sg_guided_gradient(g, &cuts, a->score, a->site)
                                   : sg_grad(g, sg_sum_all(g, a->score), a->site);
        a->tokens = sg_graph_find(g, "tokens");
        a->positions = sg_graph_find(g, "positions");
        a->key_mask = sg_graph_find(g, "key_mask");
        a->types = sg_graph_find(g, "token_types");
        status = sg_graph_status(g, err);
    }
    sg_guided_free(&cuts);
    return status == SG_OK ? sg_session_new(&a->session, g, a->state, a->exec, err) : status;
}

static sg_status create(sg_attributer **out, const char *site, const sg_attribute_target *target, sg_exec_opts exec,
                        sg_error *err)
{
    sg_attributer *a = calloc(1, sizeof *a);
    *out = a;
    if (!a)
        return no_memory(err);
    a->target = *target;
    a->exec = exec;
    a->site_name = strdup(site);
    a->target_site = target->site ? strdup(target->site) : NULL;
    return a->site_name && (a->target_site || !target->site) ? SG_OK : no_memory(err);
}

static sg_status finish(sg_attributer **out, sg_status status, sg_error *err)
{
    if (status == SG_OK)
        status = sg_attributer_build(*out, err);
    if (status != SG_OK) {
        sg_attributer_free(*out);
        *out = NULL;
    }
    return status;
}

sg_status sg_attributer_new(sg_attributer **out, const sg_graph *g, sg_state *state, const char *site,
                            const sg_attribute_target *target, sg_exec_opts exec, sg_error *err)
{
    const sg_status status = create(out, site, target, exec, err);
    if (status == SG_OK) {
        (*out)->from = g;
        (*out)->state = state;
    }
    return finish(out, status, err);
}

sg_status sg_attributer_model(sg_attributer **out, const sg_model *m, const char *site,
                              const sg_attribute_target *target, uint64_t seed, sg_exec_opts exec, sg_error *err)
{
    sg_status status = create(out, site, target, exec, err);
    sg_attributer *a = *out;
    if (status == SG_OK)
        status = sg_model_graph(&a->own_graph, m, 0, 1, err);
    if (status == SG_OK)
        status = sg_state_new(&a->own_state, a->own_graph, err);
    if (status == SG_OK)
        status = sg_model_bind(m, a->own_graph, a->own_state, err);
    if (status == SG_OK)
        status = sg_state_init(a->own_state, seed, err);
    if (status == SG_OK) {
        a->from = a->own_graph;
        a->state = a->own_state;
    }
    return finish(out, status, err);
}

void sg_attributer_free(sg_attributer *a)
{
    if (!a)
        return;
    sg_attributer_free(a->guided);
    sg_session_free(a->session);
    sg_graph_free(a->g);
    sg_state_free(a->own_state);
    sg_graph_free(a->own_graph);
    for (int i = 0; i < a->n_own; i++)
        free(a->own_numbers[i]);
    free(a->own_numbers);
    free(a->weights);
    free(a->site_name);
    free(a->target_site);
    free(a->ids);
    free(a->real);
    free(a);
}

sg_dim sg_attributer_n_rows_run(const sg_attributer *a, bool back)
{
    const sg_dim own = back ? a->rows_back : a->rows_forward;
    return own + (a->guided ? sg_attributer_n_rows_run(a->guided, back) : 0);
}

sg_session *sg_attributer_session(const sg_attributer *a)
{
    return a->session;
}

/* ---- running rows ---- */

/* Tokens of rows first.. filled up on the left, so that the last is everyone's last; which are real, and where they
 * stand. */
static sg_status text_feeds(sg_attributer *a, const sg_attribute_rows *rows, sg_dim first, sg_dim n, sg_feed *feeds,
                            int *n_feeds, sg_error *err)
{
    sg_dim time = 0;
    for (sg_dim r = 0; r < n; r++)
        time = SG_MAX(time, rows->lengths[first + r]);
    const size_t count = (size_t)(n * time);
    if (count < 1)
        return sg_fail(err, SG_EARG, "attribute: a text without tokens");
    if (3 * count > a->ids_room) {
        int32_t *more = realloc(a->ids, 3 * count * sizeof *more);
        if (!more)
            return no_memory(err);
        a->ids = more;
        a->ids_room = 3 * count;
    }
    if (count > a->real_room) {
        uint8_t *more = realloc(a->real, count);
        if (!more)
            return no_memory(err);
        a->real = more;
        a->real_room = count;
    }
    int32_t *places = a->ids + count, *types = places + count;
    memset(types, 0, count * sizeof *types);
    for (sg_dim r = 0; r < n; r++) {
        const sg_dim length = rows->lengths[first + r], pad = time - length;
        for (sg_dim t = 0; t < time; t++) {
            a->ids[r * time + t] = t < pad ? 0 : rows->tokens[first + r][t - pad];
            places[r * time + t] = t < pad ? 0 : (int32_t)(t - pad);
            a->real[r * time + t] = t >= pad;
        }
    }
    const sg_dim dims[2] = {n, time};
    feeds[(*n_feeds)++] = (sg_feed){a->tokens, sg_tensor_of(SG_I32, 2, dims, a->ids)};
    if (a->positions)
        feeds[(*n_feeds)++] = (sg_feed){a->positions, sg_tensor_of(SG_I32, 2, dims, places)};
    if (a->key_mask)
        feeds[(*n_feeds)++] = (sg_feed){a->key_mask, sg_tensor_of(SG_BOOL, 2, dims, a->real)};
    if (a->types)
        feeds[(*n_feeds)++] = (sg_feed){a->types, sg_tensor_of(SG_I32, 2, dims, types)};
    return SG_OK;
}

static sg_tensor rows_of(const sg_tensor *t, sg_dim first, sg_dim n)
{
    sg_tensor part = *t;
    part.dims[0] = 1;
    const size_t each = sg_tensor_bytes(&part);
    part.dims[0] = n;
    part.data = (char *)t->data + (size_t)first * each;
    return part;
}

sg_status sg_attributer_batch(sg_attributer *a, const sg_attribute_rows *rows, sg_dim first, sg_dim n,
                              const sg_tensor *site, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                              sg_error *err)
{
    sg_feed feeds[SG_ATTRIBUTE_FEEDS + 8];
    int n_feeds = 0;
    if (rows->n_feeds > SG_ATTRIBUTE_FEEDS)
        return sg_fail(err, SG_EARG, "attribute: %d feeds, at most %d", rows->n_feeds, SG_ATTRIBUTE_FEEDS);
    for (int i = 0; i < rows->n_feeds; i++) {
        sg_value *v;
        SG_TRY(find(a->g, rows->feeds[i].name, &v, err));
        if (rows->feeds[i].tensor.n_dims < 1)
            return sg_fail(err, SG_ESHAPE, "attribute: the feed of %s has no rows", rows->feeds[i].name);
        if (!(site && v == a->site))
            feeds[n_feeds++] = (sg_feed){v, rows_of(&rows->feeds[i].tensor, first, n)};
    }
    if (rows->tokens) {
        if (!a->tokens)
            return sg_fail(err, SG_EARG, "attribute: this network reads no tokens");
        SG_TRY(text_feeds(a, rows, first, n, feeds, &n_feeds, err));
    }
    if (site)
        feeds[n_feeds++] = (sg_feed){a->site, rows_of(site, 0, n)};
    const sg_dim dims[2] = {n, 1};
    int32_t *const indices[2] = {(int32_t *)(uintptr_t)rows->index, (int32_t *)(uintptr_t)rows->other};
    sg_value *const inputs[2] = {a->index, a->other};
    for (int i = 0; i < 2; i++)
        if (inputs[i])
            feeds[n_feeds++] = (sg_feed){inputs[i], sg_tensor_of(SG_I32, 2, dims, indices[i] + first)};
    bool back = false;
    for (int i = 0; i < n_fetches; i++)
        back |= fetches[i] == a->gradient;
    a->rows_forward += n;
    a->rows_back += back ? n : 0;
    return sg_session_run(a->session, n_feeds, feeds, n_fetches, fetches, out, err);
}

/* ---- many inputs ---- */

sg_dim sg_attributer_width(const sg_attributer *a, sg_dim position)
{
    sg_dim n = 1;
    for (int k = position == INT64_MAX ? 1 : 2; k < sg_value_n_dims(a->site); k++)
        n *= SG_MAX(sg_value_dim(a->site, k), 0); /* a symbol is below 0 */
    return n;
}

/* What is wanted of one fetched row. */
static sg_status take(const sg_tensor *t, sg_dim row, sg_dim position, float *to, sg_error *err)
{
    sg_dim each = sg_tensor_count(t) / t->dims[0], from = row * each;
    if (position != INT64_MAX) {
        const sg_dim time = t->dims[1], p = position < 0 ? time + position : position;
        if (p < 0 || p >= time)
            return sg_fail(err, SG_EARG, "attribute: position %" PRId64 " of %" PRId64, position, time);
        each /= time;
        from += p * each;
    }
    sg_convert(to, SG_F32, (const char *)t->data + (size_t)from * sg_dtype_bytes(t->dtype), t->dtype, each);
    return SG_OK;
}

sg_status sg_attributer_run(sg_attributer *a, const sg_attribute_rows *rows, sg_dim position, float *acts,
                            float *gradients, double *scores, const volatile sig_atomic_t *cancel, sg_error *err)
{
    const sg_dim batch = rows->batch > 0 ? rows->batch : 32;
    if (position != INT64_MAX && sg_value_n_dims(a->site) < 3)
        return sg_fail(err, SG_ESHAPE, "attribute: %s has no positions", a->site_name);
    if ((a->index && !rows->index) || (a->other && !rows->other))
        return sg_fail(err, SG_EARG, "attribute: which class or token of each row is not said");
    for (sg_dim first = 0, n; first < rows->n; first += n) {
        sg_value *fetches[3];
        sg_tensor out[3];
        int n_fetches = 0;
        n = SG_MIN(batch, rows->n - first);
        if (cancel && *cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped at row %" PRId64 " of %" PRId64, first, rows->n);
        const int at_acts = acts ? n_fetches++ : -1, at_gradients = gradients ? n_fetches++ : -1,
                  at_scores = scores ? n_fetches++ : -1;
        sg_value *const values[3] = {a->site, a->gradient, a->score};
        const int places[3] = {at_acts, at_gradients, at_scores};
        for (int i = 0; i < 3; i++)
            if (places[i] >= 0)
                fetches[places[i]] = values[i];
        SG_TRY(sg_attributer_batch(a, rows, first, n, NULL, n_fetches, fetches, out, err));
        for (int i = 0; i < 2; i++) {
            float *to = i == 0 ? acts : gradients;
            if (!to)
                continue;
            sg_dim each = sg_tensor_count(&out[places[i]]) / n;
            if (position != INT64_MAX)
                each /= out[places[i]].dims[1];
            for (sg_dim r = 0; r < n; r++)
                SG_TRY(take(&out[places[i]], r, position, to + (first + r) * each, err));
        }
        for (sg_dim r = 0; r < n && scores; r++)
            scores[first + r] = sg_tensor_get(&out[at_scores], r);
    }
    return SG_OK;
}
