/* A model as a network cut at a site. Its values are harvested as everywhere; what is added to the site when an edit is
 * made is a splice of its own, one vector for each row at that row's position, so that one plan serves all edits.
 *
 * The state of a position is asked where the token counts and one that counts follows, as harvests have it. Features of
 * the input are built here without the columns that no fitted row has: such get no weight whatever the penalty. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/ops.h"

#define CHUNK 256 /* episodes that are harvested at once */
#define MOST_OUT                                                                                                       \
    4096 /* of more logits the last normalised residual, which they are a linear map of, stands for them               \
          */

typedef struct cut {
    const sg_model *m;
    const char *site;
    const sg_worldmodel_data *data;
    sg_worldmodel_opts opts;
    sg_dim n_rows, n_fit; /* n_fit: rows that are fitted on */
    sg_store_row *rows;
    sg_tensor state;              /* [N,S] */
    sg_tensor embedding, outputs; /* harvested with the site, until they are asked for */
    /* f2. */
    sg_glass *glass;
    sg_value *logits;
    sg_dim width;
    float *shift, *place; /* [batch,D], [batch,time] */
    sg_dim capacity;
} cut;

/* ---- rows ---- */

static bool counts_at(const sg_worldmodel_data *d, sg_dim e, sg_dim t)
{
    const sg_dim time = d->tokens.dims[1];
    return t < time && (!d->counts.data || ((const uint8_t *)d->counts.data)[e * time + t]);
}

static sg_dim n_tasks(const sg_worldmodel_data *d)
{
    return d->state.n_dims == 3 ? d->state.dims[2] : 1;
}

static bool is_known(const sg_worldmodel_data *d, sg_dim e, sg_dim t)
{
    const sg_dim s = n_tasks(d), at = (e * d->tokens.dims[1] + t) * s;
    for (sg_dim i = 0; i < s; i++) {
        const double x = sg_tensor_get(&d->state, at + i);
        if (d->n_classes ? x >= 0 : !isnan(x))
            return true;
    }
    return false;
}

/* Of each episode at most `per` positions, drawn, in order; rows NULL: only counted. */
static sg_dim list_rows(const cut *c, sg_dim per, sg_store_row *rows, sg_dim *place)
{
    const sg_worldmodel_data *d = c->data;
    const sg_dim time = d->tokens.dims[1];
    sg_dim n = 0;
    for (sg_dim e = 0; e < d->tokens.dims[0]; e++) {
        sg_rng r = sg_rng_new(c->opts.seed, 0x70e5u);
        sg_dim left = 0;
        r.step = (uint64_t)e;
        for (sg_dim t = 0; t < time; t++)
            if (counts_at(d, e, t) && counts_at(d, e, t + 1) && is_known(d, e, t))
                place[left++] = t;
        for (sg_dim wanted = SG_MIN(per, left), i = 0; wanted > 0; i++, left--) {
            if ((sg_dim)sg_rng_below(&r, (uint32_t)left) >= wanted)
                continue;
            if (rows)
                rows[n] = (sg_store_row){(int32_t)e, (int32_t)place[i],
                                         ((const int32_t *)d->tokens.data)[e * time + place[i]]};
            n++;
            wanted--;
        }
    }
    return n;
}

static sg_status take_rows(cut *c, sg_error *err)
{
    const sg_worldmodel_data *d = c->data;
    const sg_dim episodes = d->tokens.dims[0], time = d->tokens.dims[1], s = n_tasks(d);
    const sg_dim per = SG_MAX(c->opts.n_rows / SG_MAX(episodes, 1), 1);
    sg_dim *place = malloc((size_t)time * sizeof *place + 1);
    if (!place)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for rows");
    c->n_rows = list_rows(c, per, NULL, place);
    c->rows = malloc((size_t)c->n_rows * sizeof *c->rows + 1);
    void *numbers = malloc((size_t)(c->n_rows * s) * 4 + 1);
    c->state = sg_tensor_of(d->n_classes ? SG_I32 : SG_F32, 2, (sg_dim[]){c->n_rows, s}, numbers);
    if (c->rows && numbers)
        list_rows(c, per, c->rows, place);
    free(place);
    if (!c->rows || !numbers)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld rows", (long long)c->n_rows);
    const size_t size = sg_dtype_bytes(d->state.dtype);
    for (sg_dim i = 0; i < c->n_rows; i++)
        sg_convert((char *)numbers + i * s * 4, c->state.dtype,
                   (const char *)d->state.data + (size_t)((c->rows[i].episode * time + c->rows[i].position) * s) * size,
                   d->state.dtype, s);
    return SG_OK;
}

/* The first row of an episode from `e` on. */
static sg_dim row_of(const cut *c, sg_dim e)
{
    sg_dim i = 0;
    while (i < c->n_rows && c->rows[i].episode < e)
        i++;
    return i;
}

/* ---- values of the model ---- */

/* Gathers the rows of sites, each into out[i] [N,D], data the caller's. */
static sg_status harvest(const cut *c, const sg_model *m, uint64_t weights, int n, const char *const *sites,
                         sg_tensor *out, sg_error *err)
{
    const sg_worldmodel_data *d = c->data;
    sg_harvest_opts how = sg_harvest_defaults();
    how.seed = weights;
    how.exec = c->opts.exec;
    how.cancel = c->opts.cancel;
    /* Every harvest begins with a graph, plans and, of an untrained network, weights: few and large ones are better. */
    const sg_model_info *info = sg_model_get_info(m);
    const sg_dim bytes = d->tokens.dims[1] * 4 * (n * info->d_model + (n > 1 ? SG_MIN(info->n_vocab, MOST_OUT) : 0));
    const sg_dim chunk = SG_MAX(CHUNK / bytes, 64);
    sg_dim next = 0;
    while (next < c->n_rows) {
        const sg_dim first = c->rows[next].episode, count = SG_MIN(chunk, d->tokens.dims[0] - first);
        const sg_tensor tokens = sg_rows_of(&d->tokens, first, count);
        const sg_tensor counts = d->counts.data ? sg_rows_of(&d->counts, first, count) : (sg_tensor){0};
        sg_store *s;
        SG_TRY(sg_harvest(&s, m, n, sites, &tokens, d->counts.data ? &counts : NULL, how, err));
        sg_status status = SG_OK;
        for (int i = 0; i < n && status == SG_OK; i++) {
            const sg_dim width = sg_store_acts(s, i)->dims[1];
            if (out[i].data)
                continue;
            out[i] = sg_tensor_of(SG_F32, 2, (sg_dim[]){c->n_rows, width},
                                  malloc((size_t)(c->n_rows * width) * sizeof(float) + 1));
            if (!out[i].data)
                status = sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld rows of %s", (long long)c->n_rows,
                                 sites[i]);
        }
        const sg_store_row *has = sg_store_rows(s);
        for (sg_dim k = 0; k < sg_store_n_rows(s) && next < c->n_rows && status == SG_OK; k++) {
            if (has[k].episode + first != c->rows[next].episode || has[k].position != c->rows[next].position)
                continue;
            for (int i = 0; i < n; i++) {
                const sg_dim width = out[i].dims[1];
                memcpy((float *)out[i].data + next * width, (const float *)sg_store_acts(s, i)->data + k * width,
                       (size_t)width * sizeof(float));
            }
            next++;
        }
        sg_store_free(s);
        SG_TRY(status);
        SG_ASSERT(next == c->n_rows || c->rows[next].episode >= first + count);
    }
    return SG_OK;
}

/* Keys are long mixed, so that networks differ from each other and from the one in question. */
static uint64_t fresh_seed(const cut *c, int k)
{
    const uint64_t from[3] = {c->opts.seed, c->opts.weights, (uint64_t)k};
    return sg_hash(from, sizeof from, 1);
}

static sg_status read_untrained(const cut *c, int seed, sg_tensor *out, sg_error *err)
{
    sg_model *fresh;
    SG_TRY(sg_model_untrained(&fresh, c->m, err));
    const sg_status status = harvest(c, fresh, fresh_seed(c, seed), 1, &c->site, out, err);
    sg_model_close(fresh);
    return status;
}

static sg_status read_site(cut *c, sg_tensor *out, sg_error *err)
{
    const bool large = sg_model_get_info(c->m)->n_vocab > MOST_OUT;
    const char *const sites[3] = {c->site, "blocks.0.hook_resid_pre", large ? "ln_final.hook_normalized" : "logits"};
    sg_tensor all[3] = {0};
    const sg_status status = harvest(c, c->m, c->opts.weights, 3, sites, all, err);
    if (status != SG_OK) {
        for (int i = 0; i < 3; i++)
            free(all[i].data);
        return status;
    }
    *out = all[0];
    c->width = all[0].dims[1];
    c->embedding = all[1];
    c->outputs = all[2];
    return SG_OK;
}

/* ---- the input ---- */

/* Calls `at` with each (column, row) that is to be counted. */
static void columns_of(const cut *c, sg_worldmodel_reading what, sg_dim row, sg_dim v,
                       void (*at)(void *to, sg_dim row, sg_dim column), void *to)
{
    const int32_t *token = (const int32_t *)c->data->tokens.data + c->rows[row].episode * c->data->tokens.dims[1];
    const sg_dim last = c->rows[row].position;
    if (what == SG_READING_LABEL) {
        at(to, row, token[last + 1]);
        return;
    }
    for (sg_dim t = 0; t <= last; t++)
        if (counts_at(c->data, c->rows[row].episode, t))
            at(to, row, what == SG_READING_PLACES ? t * v + token[t] : token[t]);
}

typedef struct columns {
    int32_t *place; /* of a column among those kept; -1: not kept */
    int32_t n;
    float *x; /* [N,n] */
} columns;

static void keep(void *to, sg_dim row, sg_dim column)
{
    columns *k = to;
    (void)row;
    if (k->place[column] < 0)
        k->place[column] = k->n++;
}

static void count(void *to, sg_dim row, sg_dim column)
{
    columns *k = to;
    if (k->place[column] >= 0)
        k->x[row * k->n + k->place[column]] += 1;
}

static sg_status read_input(const cut *c, sg_worldmodel_reading what, sg_tensor *out, sg_error *err)
{
    const sg_dim v = sg_model_get_info(c->m)->n_vocab,
                 all = what == SG_READING_PLACES ? v * c->data->tokens.dims[1] : v;
    columns k = {.place = malloc((size_t)all * sizeof *k.place)};
    for (sg_dim i = 0; k.place && i < all; i++)
        k.place[i] = -1;
    for (sg_dim r = 0; k.place && r < c->n_fit; r++)
        columns_of(c, what, r, v, keep, &k);
    k.x = k.place ? calloc((size_t)(c->n_rows * k.n) + 1, sizeof *k.x) : NULL;
    for (sg_dim r = 0; k.x && r < c->n_rows; r++)
        columns_of(c, what, r, v, count, &k);
    free(k.place);
    *out = sg_tensor_of(SG_F32, 2, (sg_dim[]){c->n_rows, k.n}, k.x);
    return k.x ? SG_OK
               : sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld rows of the input", (long long)c->n_rows);
}

static sg_status read(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err)
{
    cut *c = self;
    sg_tensor *held = what == SG_READING_EMBEDDING ? &c->embedding : &c->outputs;
    switch (what) {
    case SG_READING_SITE:
        return read_site(c, out, err);
    case SG_READING_UNTRAINED:
        return read_untrained(c, seed, out, err);
    case SG_READING_EMBEDDING:
    case SG_READING_OUTPUT:
        *out = *held;
        held->data = NULL;
        return SG_OK;
    default:
        return read_input(c, what, out, err);
    }
}

/* ---- what follows the site ---- */

/* x + place * shift: the vector of a row goes where its place is 1. */
static sg_status splice(cut *c, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    sg_value *x;
    how.exec = c->opts.exec;
    how.seed = c->opts.weights;
    SG_TRY(sg_glass_new(&c->glass, c->m, how, err));
    SG_TRY(sg_glass_find(c->glass, c->site, &x, err));
    SG_TRY(sg_glass_find(c->glass, "logits", &c->logits, err));
    sg_graph *g = sg_glass_graph(c->glass);
    const sg_dim batch = sg_value_dim(x, 0), time = sg_value_dim(x, 1);
    sg_value *shift = sg_input(g, "worldmodel.shift", SG_F32, 3, (sg_dim[]){batch, 1, c->width});
    sg_value *place = sg_input(g, "worldmodel.place", SG_F32, 3, (sg_dim[]){batch, time, 1});
    sg_value *moved = sg_cast(g, sg_mul(g, place, shift), sg_value_dtype(x));
    sg_replace(g, x, sg_add(g, x, sg_reshape(g, moved, sg_value_n_dims(x), sg_value_dims(x))));
    if (strcmp(c->site, "logits") == 0)
        c->logits = sg_graph_find(g, "logits");
    return sg_graph_status(g, err);
}

static sg_status run(void *self, sg_dim n, const sg_dim *rows, const float *shift, float *outputs, sg_error *err)
{
    cut *c = self;
    const sg_dim time = c->data->tokens.dims[1], v = sg_model_get_info(c->m)->n_vocab;
    if (!c->glass)
        SG_TRY(splice(c, err));
    if (n > c->capacity) {
        free(c->shift);
        free(c->place);
        c->shift = malloc((size_t)(n * c->width) * sizeof(float));
        c->place = malloc((size_t)(n * time) * sizeof(float));
        c->capacity = c->shift && c->place ? n : 0;
    }
    const int32_t **tokens = malloc((size_t)n * sizeof *tokens);
    sg_dim *lengths = malloc((size_t)n * sizeof *lengths);
    sg_status status = tokens && lengths && c->capacity >= n
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld edits", (long long)n);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        tokens[i] = (const int32_t *)c->data->tokens.data + c->rows[rows[i]].episode * time;
        lengths[i] = c->rows[rows[i]].position + 1;
        for (sg_dim t = 0; t < time; t++)
            c->place[i * time + t] = t + 1 == lengths[i] ? 1 : 0;
    }
    if (status == SG_OK && shift)
        memcpy(c->shift, shift, (size_t)(n * c->width) * sizeof(float));
    else if (status == SG_OK)
        memset(c->shift, 0, (size_t)(n * c->width) * sizeof(float));
    const sg_named_feed feeds[2] = {
        {"worldmodel.shift", sg_tensor_of(SG_F32, 3, (sg_dim[]){n, 1, c->width}, c->shift)},
        {"worldmodel.place", sg_tensor_of(SG_F32, 3, (sg_dim[]){n, time, 1}, c->place)},
    };
    const sg_rows what = {.n_rows = (int)n, .tokens = tokens, .lengths = lengths, .time = time};
    sg_tensor logits;
    if (status == SG_OK)
        status = sg_glass_run(c->glass, &what, 2, feeds, 1, &c->logits, &logits, err);
    for (sg_dim i = 0; status == SG_OK && i < n; i++)
        sg_convert(outputs + i * v, SG_F32,
                   (const char *)logits.data + (size_t)((i * time + lengths[i] - 1) * v) * sg_dtype_bytes(logits.dtype),
                   logits.dtype, v);
    free(tokens);
    free(lengths);
    return status;
}

/* ---- the check ---- */

static sg_status check_data(const sg_model *m, const sg_worldmodel_data *d, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    const sg_tensor *t = &d->tokens, *s = &d->state;
    if (t->dtype != SG_I32 || t->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "world model: tokens are %s %s, wanted [episodes,time] i32",
                       sg_dtype_name(t->dtype), sg_shape_text(one, t->n_dims, t->dims));
    if ((s->n_dims != 2 && s->n_dims != 3) || s->dims[0] != t->dims[0] || s->dims[1] != t->dims[1] ||
        sg_dtype_is_float(s->dtype) != (d->n_classes == 0))
        return sg_fail(err, SG_ESHAPE, "world model: the state is %s %s, wanted a value for each of %s tokens",
                       sg_dtype_name(s->dtype), sg_shape_text(one, s->n_dims, s->dims),
                       sg_shape_text(other, 2, t->dims));
    if (d->counts.data && (d->counts.dtype != SG_BOOL || d->counts.n_dims != 2 || d->counts.dims[0] != t->dims[0] ||
                           d->counts.dims[1] != t->dims[1]))
        return sg_fail(err, SG_ESHAPE, "world model: counts are %s %s, wanted bool %s as tokens are",
                       sg_dtype_name(d->counts.dtype), sg_shape_text(one, d->counts.n_dims, d->counts.dims),
                       sg_shape_text(other, 2, t->dims));
    if (t->dims[1] > info->n_context)
        return sg_fail(err, SG_EARG, "world model: sequences of %lld tokens, the model's context is %lld",
                       (long long)t->dims[1], (long long)info->n_context);
    if (d->n_test < 0 || d->n_test > t->dims[0])
        return sg_fail(err, SG_EARG, "world model: %lld of %lld episodes to judge on", (long long)d->n_test,
                       (long long)t->dims[0]);
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        if (((const int32_t *)t->data)[i] < 0 || ((const int32_t *)t->data)[i] >= info->n_vocab)
            return sg_fail(err, SG_EARG, "world model: token %d of episode %lld is outside the vocabulary 0 to %lld",
                           ((const int32_t *)t->data)[i], (long long)(i / t->dims[1]), (long long)info->n_vocab - 1);
    return SG_OK;
}

static sg_status check(sg_worldmodel *out, cut *c, sg_error *err)
{
    const sg_worldmodel_data *d = c->data;
    const sg_worldmodel_opts *o = &c->opts;
    const double episodes = (double)d->tokens.dims[0];
    SG_TRY(take_rows(c, err));
    /* Where the episodes to judge on are given, the others keep the proportion of the shares. */
    const double rest = d->n_test ? episodes - (double)d->n_test : episodes * (o->share_fit + o->share_choose);
    const sg_dim choose = row_of(c, (sg_dim)(rest * o->share_fit / (o->share_fit + o->share_choose)));
    const sg_dim judge = row_of(c, (sg_dim)rest);
    sg_wm_board board = {d, c->rows, &c->state};
    const sg_worldmodel_effect on_board = sg_wm_board_effect(&board);
    const sg_worldmodel_network net = {
        .site = c->site,
        .name = d->name,
        .self = c,
        .n_rows = c->n_rows,
        .rows = c->rows,
        .first_choose = c->n_fit = choose,
        .first_judge = judge,
        .state = c->state,
        .n_classes = d->n_classes,
        .trivial = d->trivial,
        .n_outputs = sg_model_get_info(c->m)->n_vocab,
        .read = read,
        .run = run,
        .effect = d->board && d->kind != SG_STATE_OTHER ? &on_board : NULL,
    };
    return sg_worldmodel_judge(out, &net, *o, err);
}

sg_status sg_worldmodel_check(sg_worldmodel *out, const sg_model *m, const char *site, const sg_worldmodel_data *data,
                              sg_worldmodel_opts opts, sg_error *err)
{
    memset(out, 0, sizeof *out);
    if (!(opts.share_fit > 0) || !(opts.share_choose > 0) || !(opts.share_fit + opts.share_choose < 1) ||
        opts.n_rows < 1)
        return sg_fail(err, SG_EARG, "world model: shares %g and %g of the episodes, %lld rows, do not make a split",
                       opts.share_fit, opts.share_choose, (long long)opts.n_rows);
    SG_TRY(check_data(m, data, err));
    cut c = {.m = m, .site = site, .data = data, .opts = opts};
    const sg_status status = check(out, &c, err);
    sg_glass_free(c.glass);
    free(c.rows);
    free(c.state.data);
    free(c.embedding.data);
    free(c.outputs.data);
    free(c.shift);
    free(c.place);
    return status;
}
