/* What a run predicts: read off the logits inside the graph, so that what comes out is small. And the logit lens, which
 * reads the same off the residual stream of every layer. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/look_internal.h"
#include "sightglass/ops.h"

/* Logits that are there at once. */
#define MOST_LOGITS ((size_t)1 << 24)

/* x where the condition holds, 0 elsewhere: p log p is 0 where p is. */
static sg_value *where_there(sg_graph *g, sg_value *p, sg_value *x)
{
    return sg_where(g, sg_greater(g, p, sg_scalar_like(g, p, 0)), x, sg_zeros_like(g, x));
}

look_readout look_read_logits(sg_graph *g, sg_value *logits, int k, sg_value *targets)
{
    look_readout r = {0};
    r.ids = sg_top_k(g, logits, k);
    r.tops = sg_take_along(g, logits, r.ids, 2);
    r.sum = sg_logsumexp(g, logits, 2, false);
    sg_value *p = sg_softmax(g, logits, 2);
    r.entropy = sg_neg(g, sg_sum(g, where_there(g, p, sg_mul(g, p, sg_log_softmax(g, logits, 2))), 2, false));
    if (targets) {
        sg_value *at = sg_take_along(g, logits, sg_expand(g, targets, 2), 2); /* [B,n,1] */
        r.wanted = sg_squeeze(g, at, 2);
        r.rank = sg_sum(g, sg_cast(g, sg_greater(g, logits, at), sg_value_dtype(logits)), 2, false);
    }
    return r;
}

static void guess(look_guess *to, int32_t token, double logit, double sum)
{
    *to = (look_guess){token, logit, exp(logit - sum)};
}

/* ---- glasses that are kept ---- */

typedef struct kept {
    struct kept *next;
    const sg_model *model;
    char *key;
    sg_glass *glass;
    sg_edit_list *list;
    sg_value *fetches[16];
    int n_fetches;
} kept;

struct look_glasses {
    pthread_mutex_t lock;
    kept *first; /* last used first */
    int most;
};

static void free_kept(kept *k)
{
    if (!k)
        return;
    sg_glass_free(k->glass);
    sg_edit_list_free(k->list);
    free(k->key);
    free(k);
}

sg_status look_glasses_new(look_glasses **out, int most, sg_error *err)
{
    look_glasses *g = calloc(1, sizeof *g);
    if (!g || pthread_mutex_init(&g->lock, NULL) != 0) {
        free(g);
        return sg_fail(err, SG_ENOMEM, "out of memory for glasses");
    }
    g->most = most;
    *out = g;
    return SG_OK;
}

void look_glasses_free(look_glasses *g)
{
    if (!g)
        return;
    for (kept *k = g->first, *next; k; k = next) {
        next = k->next;
        free_kept(k);
    }
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void look_glasses_drop(look_glasses *g, const sg_model *model)
{
    pthread_mutex_lock(&g->lock);
    for (kept **at = &g->first; *at;) {
        kept *k = *at;
        if (k->model == model) {
            *at = k->next;
            free_kept(k);
        } else {
            at = &k->next;
        }
    }
    pthread_mutex_unlock(&g->lock);
}

static kept *take(look_glasses *g, const sg_model *model, const char *key)
{
    kept *found = NULL;
    pthread_mutex_lock(&g->lock);
    for (kept **at = &g->first; *at && !found; at = &(*at)->next)
        if ((*at)->model == model && strcmp((*at)->key, key) == 0) {
            found = *at;
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&g->lock);
    return found;
}

static void give(look_glasses *g, kept *k)
{
    kept *gone = NULL;
    pthread_mutex_lock(&g->lock);
    k->next = g->first;
    g->first = k;
    int n = 0;
    for (kept **at = &g->first; *at; at = &(*at)->next)
        if (++n > g->most) {
            gone = *at;
            *at = NULL;
            break;
        }
    pthread_mutex_unlock(&g->lock);
    while (gone) {
        kept *next = gone->next;
        free_kept(gone);
        gone = next;
    }
}

/* The structure of what is asked: everything but strengths and bounds. */
static char *key_of(const look_of *of, const look_question *q, const json_t *edits)
{
    json_t *shape = edits ? json_deep_copy(edits) : json_array(), *e;
    size_t i;
    sg_str s = {0};
    json_array_foreach(shape, i, e)
    {
        json_object_del(e, "strength");
        json_object_del(e, "low");
        json_object_del(e, "high");
    }
    char *text = shape ? json_dumps(shape, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(shape);
    sg_str_printf(&s, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%d", of->n, q->first, q->n, q->k);
    for (int t = 0; t < q->n_tracked; t++)
        sg_str_printf(&s, ",%" PRId32, q->tracked[t]);
    if (text)
        sg_str_puts(&s, text);
    if (!text || s.failed)
        sg_str_free(&s);
    free(text);
    return s.text;
}

/* Edits apply to the second row. */
static sg_status edits_of_second(kept *k, const json_t *edits, sg_error *err)
{
    json_t *both = json_deep_copy(edits), *e;
    size_t i;
    json_array_foreach(both, i, e) json_object_set_new(e, "rows", json_pack("[i]", 1));
    char *text = both ? json_dumps(both, JSON_COMPACT) : NULL;
    json_decref(both);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    const sg_status status = sg_edit_list_parse(&k->list, text, strlen(text), "edits", err);
    free(text);
    return status;
}

enum { IDS, TOPS, SUM, ENTROPY, WANTED, RANK, TRACKED, DIVERGENCE, N_ASKED };

static sg_status build(kept *k, const look_of *of, const look_question *q, int n_rows, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_value *logits = NULL;
    opts.exec = of->exec;
    SG_TRY(sg_glass_new(&k->glass, of->model, opts, err));
    if (n_rows == 2) {
        SG_TRY(edits_of_second(k, of->edits, err));
        SG_TRY(sg_glass_edit_list(k->glass, k->list, err));
    }
    SG_TRY(sg_glass_find(k->glass, "logits", &logits, err));
    sg_graph *g = sg_glass_graph(k->glass);
    if (q->n < of->n)
        logits = sg_slice(g, logits, 1, q->first, q->first + q->n, 1);
    const sg_dim batch = sg_value_dim(logits, 0), n = sg_value_dim(logits, 1);
    sg_value *targets = sg_input(g, "look.targets", SG_I32, 2, (sg_dim[]){batch, n});
    const look_readout r = look_read_logits(g, logits, q->k, targets);
    k->fetches[IDS] = r.ids;
    k->fetches[TOPS] = r.tops;
    k->fetches[SUM] = r.sum;
    k->fetches[ENTROPY] = r.entropy;
    k->fetches[WANTED] = r.wanted;
    k->fetches[RANK] = r.rank;
    k->n_fetches = TRACKED;
    if (q->n_tracked) {
        sg_value *some[LOOK_MOST_EDITS];
        for (int t = 0; t < q->n_tracked; t++)
            some[t] = sg_slice(g, logits, 2, q->tracked[t], q->tracked[t] + 1, 1);
        k->fetches[k->n_fetches++] = q->n_tracked > 1 ? sg_concat(g, q->n_tracked, some, 2) : some[0];
    }
    if (n_rows == 2) {
        sg_value *lp = sg_log_softmax(g, logits, 2);
        sg_value *base = sg_slice(g, lp, 0, 0, 1, 1), *edited = sg_slice(g, lp, 0, 1, 2, 1), *p = sg_exp(g, base);
        k->fetches[k->n_fetches++] = sg_sum(g, where_there(g, p, sg_mul(g, p, sg_sub(g, base, edited))), 2, false);
    }
    return sg_graph_status(g, err);
}

static look_prediction *new_prediction(int n_rows, const look_question *q)
{
    const size_t places = (size_t)(n_rows * q->n);
    look_prediction *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (look_prediction){.n_rows = n_rows, .first = q->first, .n = q->n, .k = q->k, .n_tracked = q->n_tracked};
    p->top = calloc(places * (size_t)q->k, sizeof *p->top);
    p->tracked = calloc(places * (size_t)q->n_tracked + 1, sizeof *p->tracked);
    p->entropy = calloc(places, sizeof *p->entropy);
    p->loss = calloc(places, sizeof *p->loss);
    p->rank = calloc(places, sizeof *p->rank);
    p->divergence = n_rows == 2 ? calloc((size_t)q->n, sizeof *p->divergence) : NULL;
    if (!p->top || !p->tracked || !p->entropy || !p->loss || !p->rank || (n_rows == 2 && !p->divergence)) {
        look_prediction_free(p);
        return NULL;
    }
    return p;
}

void look_prediction_free(look_prediction *p)
{
    if (!p)
        return;
    free(p->top);
    free(p->tracked);
    free(p->entropy);
    free(p->loss);
    free(p->rank);
    free(p->divergence);
    free(p);
}

static sg_status run_pair(kept *k, const look_of *of, const look_question *q, look_prediction *p, bool fresh,
                          sg_error *err)
{
    const int32_t *rows[2] = {of->tokens, of->tokens};
    const sg_dim lengths[2] = {of->n, of->n};
    const sg_rows both = {.n_rows = p->n_rows, .tokens = rows, .lengths = lengths};
    sg_tensor got[N_ASKED];
    int32_t *targets = calloc((size_t)(p->n_rows * q->n), sizeof *targets);
    if (!targets)
        return sg_fail(err, SG_ENOMEM, "out of memory for a prompt");
    for (int r = 0; r < p->n_rows; r++)
        for (sg_dim t = 0; t < q->n; t++) /* the last has no successor: its target is not looked at */
            targets[r * q->n + t] = of->tokens[SG_MIN(q->first + t + 1, of->n - 1)];
    const sg_named_feed feed = {"look.targets", sg_tensor_of(SG_I32, 2, (sg_dim[]){p->n_rows, q->n}, targets)};
    /* What a glass takes is asked once: the same question takes the same again. */
    const sg_status status = fresh ? look_run_rows(k->glass, &both, 1, &feed, k->n_fetches, k->fetches, got, err)
                                   : sg_glass_run(k->glass, &both, 1, &feed, k->n_fetches, k->fetches, got, err);
    free(targets);
    SG_TRY(status);
    for (int r = 0; r < p->n_rows; r++)
        for (sg_dim t = 0; t < q->n; t++) {
            const sg_dim at = r * q->n + t;
            const double sum = sg_tensor_get(&got[SUM], at);
            const bool last = q->first + t + 1 == of->n;
            for (int i = 0; i < q->k; i++)
                guess(&p->top[at * q->k + i], (int32_t)sg_tensor_get(&got[IDS], at * q->k + i),
                      sg_tensor_get(&got[TOPS], at * q->k + i), sum);
            for (int i = 0; i < q->n_tracked; i++)
                guess(&p->tracked[at * q->n_tracked + i], q->tracked[i],
                      sg_tensor_get(&got[TRACKED], at * q->n_tracked + i), sum);
            p->entropy[at] = sg_tensor_get(&got[ENTROPY], at);
            p->loss[at] = last ? (double)NAN : sum - sg_tensor_get(&got[WANTED], at);
            p->rank[at] = last ? (double)NAN : sg_tensor_get(&got[RANK], at);
        }
    for (sg_dim t = 0; t < q->n && p->divergence; t++)
        p->divergence[t] = sg_tensor_get(&got[k->n_fetches - 1], t);
    return SG_OK;
}

static sg_status check(const look_of *of, look_question *q, int n_rows, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(of->model);
    const sg_dim most = SG_MAX(1, (sg_dim)(MOST_LOGITS / (size_t)(n_rows * in->n_vocab)));
    if (of->n < 1 || of->n > in->n_context)
        return sg_fail(err, SG_EARG, "the prompt has %" PRId64 " tokens, the model's context is 1 to %" PRId64, of->n,
                       in->n_context);
    if (q->n == 0) {
        q->n = SG_MIN(most, of->n);
        q->first = of->n - q->n;
    }
    if (q->first < 0 || q->n < 1 || q->first + q->n > of->n)
        return sg_fail(err, SG_EARG, "positions %" PRId64 " to %" PRId64 " of %" PRId64, q->first, q->first + q->n - 1,
                       of->n);
    if (q->n > most)
        return sg_fail(err, SG_EARG, "predictions at %" PRId64 " positions, at most %" PRId64 " at once", q->n, most);
    if (q->k < 1 || q->k > SG_MIN(in->n_vocab, 64))
        return sg_fail(err, SG_EARG, "%d likeliest tokens, 1 to %" PRId64 " can be told", q->k,
                       SG_MIN(in->n_vocab, 64));
    if (q->n_tracked < 0 || q->n_tracked > LOOK_MOST_EDITS)
        return sg_fail(err, SG_EARG, "%d tokens to follow, at most %d", q->n_tracked, LOOK_MOST_EDITS);
    for (int i = 0; i < q->n_tracked; i++)
        if (q->tracked[i] < 0 || q->tracked[i] >= in->n_vocab)
            return sg_fail(err, SG_EARG, "token %" PRId32 " is outside the vocabulary 0 to %" PRId64, q->tracked[i],
                           in->n_vocab - 1);
    return look_check_edits(of->edits, err);
}

static sg_status read_number(const json_t *edit, size_t i, const char *key, double *out, sg_error *err)
{
    const json_t *v = json_object_get(edit, key);
    if (v && !json_is_number(v))
        return sg_fail(err, SG_EFORMAT, "edits: edit %zu: %s is not a number", i, key);
    if (v)
        *out = json_number_value(v);
    return SG_OK;
}

/* The request's strengths and bounds, in the place of those that the glass was made or last run with. */
static sg_status numbers_of(kept *k, const json_t *edits, sg_error *err)
{
    const int n = sg_edit_list_count(k->list);
    for (int i = 0; i < n; i++) {
        const json_t *edit = json_array_get(edits, (size_t)i);
        const sg_edit usual = sg_edit_defaults();
        sg_edit *e = sg_edit_list_at(k->list, i);
        e->strength = usual.strength;
        e->low = usual.low;
        e->high = usual.high;
        SG_TRY(read_number(edit, (size_t)i, "strength", &e->strength, err));
        SG_TRY(read_number(edit, (size_t)i, "low", &e->low, err));
        SG_TRY(read_number(edit, (size_t)i, "high", &e->high, err));
        if (e->low > e->high)
            return sg_fail(err, SG_EFORMAT, "edits: edit %d: low %g is above high %g", i, e->low, e->high);
    }
    return sg_edits_replace(sg_glass_edits(k->glass), n, sg_edit_list_at(k->list, 0), err);
}

sg_status look_predict(look_glasses *glasses, look_of of, look_question q, look_prediction **out, sg_error *err)
{
    const int n_rows = json_array_size(of.edits) ? 2 : 1;
    *out = NULL;
    SG_TRY(check(&of, &q, n_rows, err));
    look_prediction *p = new_prediction(n_rows, &q);
    char *key = key_of(&of, &q, of.edits);
    kept *k = p && key ? take(glasses, of.model, key) : NULL;
    const bool fresh = !k;
    sg_status status = p && key ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for predictions");
    if (status == SG_OK && fresh) {
        k = calloc(1, sizeof *k);
        status = k ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a glass");
        if (k) {
            k->model = of.model;
            k->key = key;
            key = NULL;
            status = build(k, &of, &q, n_rows, err);
        }
    }
    if (status == SG_OK && n_rows == 2)
        status = numbers_of(k, of.edits, err);
    if (status == SG_OK)
        status = run_pair(k, &of, &q, p, fresh, err);
    if (status == SG_OK)
        give(glasses, k);
    else
        free_kept(k);
    free(key);
    if (status != SG_OK) {
        look_prediction_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

/* ---- the logit lens ---- */

void look_lens_free(look_lens *lens)
{
    if (!lens)
        return;
    free(lens->top);
    free(lens->wanted);
    free(lens->target);
    free(lens->rank);
    free(lens->entropy);
    free(lens);
}

static look_lens *new_lens(int n_rows, sg_dim n, int k)
{
    const size_t places = (size_t)(n_rows * n);
    look_lens *lens = calloc(1, sizeof *lens);
    if (!lens)
        return NULL;
    *lens = (look_lens){.n_rows = n_rows, .n = n, .k = k};
    lens->top = calloc(places * (size_t)k, sizeof *lens->top);
    lens->wanted = calloc((size_t)n, sizeof *lens->wanted);
    lens->target = calloc(places, sizeof *lens->target);
    lens->rank = calloc(places, sizeof *lens->rank);
    lens->entropy = calloc(places, sizeof *lens->entropy);
    if (!lens->top || !lens->wanted || !lens->target || !lens->rank || !lens->entropy) {
        look_lens_free(lens);
        return NULL;
    }
    return lens;
}

/* Rows of the residual stream are fed in the place of what leaves the last block. */
static sg_status lens_rows(look *l, sg_glass *glass, const look_readout *r, look_lens *lens, sg_dim first, int row,
                           int n_rows, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const sg_dim n = lens->n, d = in->d_model;
    float *fed = malloc((size_t)(n_rows * n * d) * sizeof *fed);
    int32_t *targets = malloc((size_t)(n_rows * n) * sizeof *targets);
    const int32_t **rows = malloc((size_t)n_rows * sizeof *rows);
    sg_dim *lengths = malloc((size_t)n_rows * sizeof *lengths);
    sg_status status =
        fed && targets && rows && lengths ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for the lens");
    for (int i = 0; i < n_rows && status == SG_OK; i++) {
        memcpy(fed + i * n * d, look_entering(l, row + i) + first * d, (size_t)(n * d) * sizeof *fed);
        memcpy(targets + i * n, lens->wanted, (size_t)n * sizeof *targets);
        rows[i] = l->tokens;
        lengths[i] = n;
    }
    if (status == SG_OK) {
        char name[48];
        look_feed(l, (int)in->n_layers, name);
        sg_value *fetches[] = {r->ids, r->tops, r->sum, r->entropy, r->wanted, r->rank};
        sg_tensor got[SG_COUNT_OF(fetches)];
        const sg_rows rs = {.n_rows = n_rows, .tokens = rows, .lengths = lengths};
        const sg_named_feed feeds[2] = {{name, sg_tensor_of(SG_F32, 3, (sg_dim[]){n_rows, n, d}, fed)},
                                        {"look.targets", sg_tensor_of(SG_I32, 2, (sg_dim[]){n_rows, n}, targets)}};
        status = look_run_rows(glass, &rs, 2, feeds, (int)SG_COUNT_OF(fetches), fetches, got, err);
        for (sg_dim at = 0; at < n_rows * n && status == SG_OK; at++) {
            const sg_dim to = row * n + at;
            const double sum = sg_tensor_get(&got[2], at);
            for (int i = 0; i < lens->k; i++)
                guess(&lens->top[to * lens->k + i], (int32_t)sg_tensor_get(&got[0], at * lens->k + i),
                      sg_tensor_get(&got[1], at * lens->k + i), sum);
            lens->entropy[to] = sg_tensor_get(&got[3], at);
            guess(&lens->target[to], targets[at], sg_tensor_get(&got[4], at), sum);
            lens->rank[to] = sg_tensor_get(&got[5], at);
        }
    }
    free(fed);
    free(targets);
    free(rows);
    free(lengths);
    return status;
}

static sg_status at_lens(look *l, sg_dim first, sg_dim n, int k, int32_t token, look_lens **out, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const int n_rows = (int)in->n_layers + 1;
    const sg_dim at_once = (sg_dim)MOST_LOGITS / (n * in->n_vocab);
    sg_glass *glass = NULL;
    sg_value *logits = NULL;

    if (first < 0 || n < 1 || first + n > l->of.n)
        return sg_fail(err, SG_EARG, "positions %" PRId64 " to %" PRId64 " of %" PRId64, first, first + n - 1, l->of.n);
    if (k < 1 || k > SG_MIN(in->n_vocab, 64))
        return sg_fail(err, SG_EARG, "%d likeliest tokens, 1 to %" PRId64 " can be told", k, SG_MIN(in->n_vocab, 64));
    if (at_once < 1)
        return sg_fail(err, SG_EARG, "the lens at %" PRId64 " positions, at most %" PRId64 " at once", n,
                       SG_MAX((sg_dim)MOST_LOGITS / in->n_vocab, 1));
    if (token < LOOK_FINAL || token >= in->n_vocab)
        return sg_fail(err, SG_EARG, "token %" PRId32 " is outside the vocabulary 0 to %" PRId64, token,
                       in->n_vocab - 1);
    SG_TRY(look_enter(l, err));
    look_lens *lens = new_lens(n_rows, n, k);
    sg_status status = lens ? look_glass(l, false, &glass, err) : sg_fail(err, SG_ENOMEM, "out of memory for the lens");
    if (status == SG_OK)
        status = sg_glass_find(glass, "logits", &logits, err);
    if (status == SG_OK) {
        sg_graph *g = sg_glass_graph(glass);
        sg_value *targets =
            sg_input(g, "look.targets", SG_I32, 2, (sg_dim[]){sg_value_dim(logits, 0), sg_value_dim(logits, 1)});
        const look_readout r = look_read_logits(g, logits, k, targets);
        status = sg_graph_status(g, err);
        /* Which tokens are wanted may depend on the last row, so that goes first; then all rows. */
        if (status == SG_OK)
            status = lens_rows(l, glass, &r, lens, first, n_rows - 1, 1, err);
        for (sg_dim t = 0; t < n && status == SG_OK; t++) {
            const bool follows = token == LOOK_NEXT && first + t + 1 < l->of.n;
            lens->wanted[t] = token >= 0 ? token
                              : follows  ? l->tokens[first + t + 1]
                                         : lens->top[((n_rows - 1) * n + t) * k].token;
        }
        for (int row = 0; row < n_rows && status == SG_OK; row += (int)at_once)
            status = lens_rows(l, glass, &r, lens, first, row, (int)SG_MIN(at_once, n_rows - row), err);
    }
    sg_glass_free(glass);
    if (status != SG_OK) {
        look_lens_free(lens);
        return status;
    }
    *out = lens;
    return SG_OK;
}

sg_status look_at_lens(look *l, sg_dim first, sg_dim n, int k, int32_t token, look_lens **out, sg_error *err)
{
    pthread_mutex_lock(&l->lock);
    const sg_status status =
        n > 0 ? at_lens(l, first, n, k, token, out, err) : sg_fail(err, SG_EARG, "the lens at no position");
    pthread_mutex_unlock(&l->lock);
    return status;
}
