/* The head as a graph whose values have the names that heads of models have, so that edits reach them. */
#include "qk_head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { BATCH = 256, TEST = 4096, HELD_OUT = 1000003 };

static sg_status build(qk_head *h, sg_error *err)
{
    sg_graph *g = h->g;
    const sg_dim d = h->world.width, K = h->width, batch = sg_extent(g, "batch"), time = sg_extent(g, "time");
    static const char *const names[4] = {"W_Q", "W_K", "W_V", "W_O"};
    for (int i = 0; i < 4; i++)
        h->w[i] = sg_variable(g, names[i], SG_F32, 2, i < 3 ? (sg_dim[]){K, d} : (sg_dim[]){h->world.payloads, K},
                              sg_init_normal(1 / sqrt((double)(i < 3 ? d : K))));
    h->x = sg_input(g, "x", SG_F32, 3, (sg_dim[]){batch, time, d});
    h->query = sg_input(g, "query", SG_F32, 2, (sg_dim[]){batch, d});
    h->answer = sg_input(g, "answer", SG_I32, 1, &batch);
    h->q = sg_name(g, sg_linear(g, h->query, h->w[0], NULL), "hook_q", "bd");
    h->k = sg_name(g, sg_linear(g, h->x, h->w[1], NULL), "hook_k", "btd");
    sg_value *v = sg_name(g, sg_linear(g, h->x, h->w[2], NULL), "hook_v", "btd");
    sg_value *scores = sg_matmul(g, sg_expand(g, h->q, 1), h->k, false, true); /* [batch,1,time] */
    scores = sg_name(g, sg_mul_scalar(g, scores, 1 / sqrt((double)K)), "hook_attn_scores", "bts");
    h->pattern = sg_name(g, sg_softmax(g, scores, -1), "hook_pattern", "bts");
    sg_value *z = sg_name(g, sg_squeeze(g, sg_matmul(g, h->pattern, v, false, false), 1), "hook_z", "bd");
    sg_value *logits = sg_name(g, sg_linear(g, z, h->w[3], NULL), "logits", "bd");
    h->loss = sg_mean_all(g, sg_cross_entropy(g, logits, h->answer));
    h->right = sg_mean_all(g, sg_cast(g, sg_equal(g, sg_argmax(g, logits, -1, false), h->answer), SG_F32));
    h->step = sg_input(g, "step", SG_I32, 0, NULL);
    h->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    sg_adam_opts adam = sg_adam_defaults();
    adam.weight_decay = .01;
    sg_train_adam(g, h->loss, 4, h->w, h->lr, h->step, adam, h->updates);
    return sg_graph_status(g, err);
}

sg_status qk_head_new(qk_head *h, const sg_recall *world, sg_dim width, uint64_t seed, const sg_study_opts *opts,
                      sg_error *err)
{
    *h = (qk_head){.world = *world, .width = width, .seed = seed, .exec = opts->exec, .g = sg_graph_new()};
    h->world.encoders = seed;
    h->exec.n_threads = 1; /* all of it is small */
    if (!h->g)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    SG_TRY(build(h, err));
    SG_TRY(sg_state_new(&h->state, h->g, err));
    return sg_state_init(h->state, seed, err);
}

void qk_head_free(qk_head *h)
{
    sg_session_free(h->session);
    sg_state_free(h->state);
    sg_graph_free(h->g);
    *h = (qk_head){.g = NULL};
}

sg_status qk_head_train(qk_head *h, sg_dim n_steps, double lr, const sg_study_opts *opts, sg_report *report,
                        sg_error *err)
{
    sg_source data;
    sg_train *t = NULL;
    sg_study_part part = {opts, "heads"};
    sg_train_opts how = sg_study_training(&part);
    sg_schedule schedule = sg_schedule_defaults();
    schedule.kind = SG_SCHEDULE_LINEAR;
    schedule.lr = lr;
    schedule.end = .1;
    schedule.n_steps = n_steps;
    how.schedule = &schedule;
    how.source = &data;
    how.exec = h->exec;
    const sg_train_graph what = {.step = h->step,
                                 .lr = h->lr,
                                 .loss = h->loss,
                                 .n_updates = 4,
                                 .updates = h->updates,
                                 .n_inputs = 3,
                                 .inputs = (sg_value *[]){h->x, h->query, h->answer}};
    SG_TRY(sg_recall_source(&data, &h->world, BATCH, h->seed, err));
    sg_status status = sg_train_new(&t, h->g, h->state, what, how, err);
    if (status == SG_OK)
        status = sg_train_run(t, n_steps, err);
    if (status == SG_OK)
        status = sg_study_ran_on(report, sg_train_plan(t), h->exec.n_threads, err);
    sg_train_free(t);
    sg_source_free(&data);
    return status;
}

/* ---- looking ---- */

static sg_status run(qk_head *h, int n_feeds, const sg_feed *feeds, int n, sg_value *const *fetches, sg_tensor *out,
                     sg_error *err)
{
    if (!h->session)
        SG_TRY(sg_session_new(&h->session, h->g, h->state, h->exec, err));
    return sg_session_run(h->session, n_feeds, feeds, n, fetches, out, err);
}

/* Contexts that no training has seen, with what is asked of them. */
typedef struct contexts {
    sg_sample *s;
    sg_feed feeds[3];
} contexts;

static sg_status draw(contexts *c, const qk_head *h, sg_dim n, sg_error *err)
{
    const sg_recall *r = &h->world;
    char text[6][24];
    snprintf(text[0], sizeof text[0], "%d", (int)r->n);
    snprintf(text[1], sizeof text[1], "%d", (int)r->m);
    snprintf(text[2], sizeof text[2], "%d", (int)r->context);
    snprintf(text[3], sizeof text[3], "%d", (int)r->width);
    snprintf(text[4], sizeof text[4], "%llu", (unsigned long long)r->encoders);
    const sg_setting settings[] = {
        {"n", text[0]},     {"m", text[1]},        {"context", text[2]},
        {"width", text[3]}, {"encoders", text[4]}, {"latents", r->latents == SG_RECALL_BINARY ? "binary" : "gaussian"}};
    SG_TRY(sg_world_sample(&c->s, sg_world_find("recall", NULL), 6, settings, n, h->seed + HELD_OUT, err));
    c->feeds[0] = (sg_feed){h->x, *sg_sample_find(c->s, "x")};
    c->feeds[1] = (sg_feed){h->query, *sg_sample_find(c->s, "query")};
    c->feeds[2] = (sg_feed){h->answer, *sg_sample_find(c->s, "answer")};
    return SG_OK;
}

sg_status qk_head_accuracy(qk_head *h, double *out, sg_error *err)
{
    contexts c = {.s = NULL};
    sg_tensor got;
    sg_status status = draw(&c, h, TEST, err);
    if (status == SG_OK)
        status = run(h, 3, c.feeds, 1, &h->right, &got, err);
    if (status == SG_OK)
        *out = sg_tensor_get(&got, 0);
    sg_sample_free(c.s);
    return status;
}

/* ---- contrasts ---- */

static sg_status add_pairs(qk_head *h, sg_qk_sums *s, float *room, int factor, bool along, sg_dim n, sg_dim first,
                           sg_error *err)
{
    const sg_dim d = h->world.width, K = h->width;
    float *query = room, *match = query + n * d, *differ = match + n * d, *keys = differ + n * d;
    sg_tensor got[2];
    SG_TRY(sg_recall_pairs(
        query, match, differ, &h->world, factor, along, n,
        (sg_origin){.seed = h->seed + HELD_OUT, .stream = 1 + (uint32_t)factor, .step = (uint64_t)first}, err));
    for (sg_dim i = 0; i < n; i++) {
        memcpy(keys + 2 * i * d, match + i * d, (size_t)d * sizeof *keys);
        memcpy(keys + (2 * i + 1) * d, differ + i * d, (size_t)d * sizeof *keys);
    }
    const sg_feed feeds[2] = {{h->query, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, query)},
                              {h->x, sg_tensor_of(SG_F32, 3, (sg_dim[]){n, 2, d}, keys)}};
    SG_TRY(run(h, 2, feeds, 2, (sg_value *[]){h->q, h->k}, got, err));
    const float *q = got[0].data, *k = got[1].data;
    for (sg_dim i = 0; i < n; i++)
        for (int differs = 0; differs < 2; differs++)
            SG_TRY(sg_qk_add(s, !differs, q + i * K, k + (2 * i + differs) * K, err));
    return SG_OK;
}

sg_status qk_head_contrast(qk_head *h, sg_qk_factor **out, int factor, bool along, sg_dim n, uint64_t shuffle,
                           sg_error *err)
{
    enum { AT_ONCE = 512 };
    sg_qk_sums *s = NULL;
    float *room = malloc((size_t)(5 * AT_ONCE * h->world.width) * sizeof *room);
    sg_status status =
        room ? sg_qk_sums_new(&s, h->width, shuffle, h->exec, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    *out = NULL;
    for (sg_dim i = 0; i < n && status == SG_OK; i += AT_ONCE)
        status = add_pairs(h, s, room, factor, along, n - i < AT_ONCE ? n - i : AT_ONCE, i, err);
    if (status == SG_OK)
        status = sg_qk_factor_new(out, factor ? "z2" : "z1", s, sg_qk_factor_defaults(), err);
    sg_qk_sums_free(s);
    free(room);
    return status;
}

sg_status qk_head_closed_form(qk_head *h, double *out, int factor, sg_error *err)
{
    return sg_recall_contrast(out, &h->world, factor, h->width, sg_state_tensor(h->state, h->w[0])->data,
                              sg_state_tensor(h->state, h->w[1])->data, err);
}

sg_status qk_head_meeting(qk_head *h, double *out, sg_error *err)
{
    const sg_recall *r = &h->world;
    const sg_dim n = r->n + r->m, d = r->width;
    float *rows = malloc((size_t)(2 * n * d) * sizeof *rows);
    if (!rows)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_recall_encoder(rows, r, SG_RECALL_QUERY_FIRST);
    sg_recall_encoder(rows + r->n * d, r, SG_RECALL_QUERY_SECOND);
    sg_recall_encoder(rows + n * d, r, SG_RECALL_KEY_FIRST);
    sg_recall_encoder(rows + (n + r->n) * d, r, SG_RECALL_KEY_SECOND);
    const sg_feed feeds[2] = {{h->query, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, rows)},
                              {h->x, sg_tensor_of(SG_F32, 3, (sg_dim[]){1, n, d}, rows + n * d)}};
    sg_tensor q, k;
    sg_status status = run(h, 1, feeds, 1, &h->q, &q, err);
    float *of_q = malloc((size_t)(n * h->width) * sizeof *of_q);
    if (status == SG_OK && !of_q)
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK) {
        memcpy(of_q, q.data, sg_tensor_bytes(&q));
        status = run(h, 1, feeds + 1, 1, &h->k, &k, err);
    }
    for (sg_dim i = 0; i < n * n && status == SG_OK; i++) {
        out[i] = 0;
        for (sg_dim e = 0; e < h->width; e++)
            out[i] += (double)of_q[i / n * h->width + e] * sg_tensor_get(&k, i % n * h->width + e);
    }
    free(of_q);
    free(rows);
    return status;
}

/* ---- exchanges ---- */

typedef struct swapping {
    contexts c;
    sg_graph *g;
    sg_session *session;
    sg_edits *edits;
    sg_edit edit;
    float *keys, *value;
    int32_t *positions;
    uint8_t *real;
    sg_dim *prompt;
    double *before;
} swapping;

static sg_status prepare(swapping *s, qk_head *h, sg_dim n, sg_error *err)
{
    const sg_dim C = h->world.context, K = h->width;
    sg_tensor got[2];
    s->keys = malloc((size_t)(n * C * K) * sizeof *s->keys);
    s->value = malloc((size_t)(n * C * K) * sizeof *s->value);
    s->positions = malloc((size_t)(n * C) * sizeof *s->positions);
    s->real = malloc((size_t)(n * C));
    s->prompt = malloc((size_t)n * sizeof *s->prompt);
    s->before = malloc((size_t)(n * C) * sizeof *s->before);
    if (!s->keys || !s->value || !s->positions || !s->real || !s->prompt || !s->before)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < n * C; i++) {
        s->positions[i] = (int32_t)(i % C);
        s->real[i] = 1;
        s->prompt[i / C] = C;
    }
    SG_TRY(draw(&s->c, h, n, err));
    SG_TRY(run(h, 2, s->c.feeds, 2, (sg_value *[]){h->k, h->pattern}, got, err));
    memcpy(s->keys, got[0].data, sg_tensor_bytes(&got[0]));
    for (sg_dim i = 0; i < n * C; i++)
        s->before[i] = sg_tensor_get(&got[1], i);
    memcpy(s->value, s->keys, (size_t)(n * C * K) * sizeof *s->value);
    s->edit = sg_edit_defaults();
    s->edit.site = "hook_k";
    s->edit.op = SG_EDIT_PATCH;
    s->edit.value = sg_tensor_of(SG_F32, 3, (sg_dim[]){n, C, K}, s->value);
    SG_TRY(sg_graph_fork(&s->g, h->g, err));
    SG_TRY(sg_edits_splice(&s->edits, s->g, 1, &s->edit, err));
    return sg_session_new(&s->session, s->g, h->state, h->exec, err);
}

/* Sum of what arrives at the other token over the sum of what the target had more than it. */
static sg_status swap(swapping *s, qk_head *h, double *moved, const sg_qk_basis *basis, sg_dim n, sg_error *err)
{
    const sg_dim C = h->world.context, K = h->width;
    const int32_t *target = sg_sample_find(s->c.s, "target")->data;
    sg_rng r = sg_rng_new(h->seed, 9);
    sg_feed feeds[16] = {s->c.feeds[0], s->c.feeds[1]};
    const sg_edit_window w = {.n_rows = n, .time = C, .positions = s->positions, .real = s->real, .prompt = s->prompt};
    int32_t *other = malloc((size_t)n * sizeof *other);
    if (!other)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    memcpy(s->value, s->keys, (size_t)(n * C * K) * sizeof *s->value);
    for (sg_dim i = 0; i < n; i++) {
        other[i] = (int32_t)((target[i] + 1 + (int32_t)sg_rng_below(&r, (uint32_t)C - 1)) % C);
        sg_qk_exchange(s->value + (i * C + target[i]) * K, s->value + (i * C + other[i]) * K, basis, K);
    }
    sg_tensor got;
    for (int i = 0; i < 2; i++)
        feeds[i].value = sg_graph_at(s->g, sg_value_id(feeds[i].value));
    sg_status status = sg_edits_replace(s->edits, 1, &s->edit, err);
    if (status == SG_OK && sg_edits_n_feeds(s->edits) > 14)
        status = sg_fail(err, SG_EUNSUPPORTED, "an edit of %d inputs", sg_edits_n_feeds(s->edits));
    if (status == SG_OK)
        status = sg_edits_feeds(s->edits, &w, feeds + 2, err);
    if (status == SG_OK)
        status = sg_session_run(s->session, 2 + sg_edits_n_feeds(s->edits), feeds, 1,
                                (sg_value *[]){sg_graph_find(s->g, "hook_pattern")}, &got, err);
    double sum = 0, all = 0;
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        sum += sg_tensor_get(&got, i * C + other[i]) - s->before[i * C + other[i]];
        all += s->before[i * C + target[i]] - s->before[i * C + other[i]];
    }
    *moved = sum / all;
    free(other);
    return status;
}

sg_status qk_head_swaps(qk_head *h, double *moved, int n_bases, const sg_qk_basis *bases, sg_dim n, sg_error *err)
{
    swapping s = {.g = NULL};
    sg_status status = prepare(&s, h, n, err);
    for (int b = 0; b < n_bases && status == SG_OK; b++)
        status = swap(&s, h, &moved[b], &bases[b], n, err);
    sg_session_free(s.session);
    sg_edits_free(s.edits);
    sg_graph_free(s.g);
    sg_sample_free(s.c.s);
    free(s.keys);
    free(s.value);
    free(s.positions);
    free(s.real);
    free(s.prompt);
    free(s.before);
    return status;
}

sg_status qk_head_explained(qk_head *h, double *out, int n_bases, const sg_qk_basis *bases, sg_dim n, sg_error *err)
{
    const sg_dim C = h->world.context;
    contexts c = {.s = NULL};
    sg_tensor got[2];
    sg_qk_shares *s = NULL;
    uint8_t *visible = calloc((size_t)(n * n * C), 1);
    sg_status status = visible ? draw(&c, h, n, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < n && visible; i++)
        memset(visible + i * n * C + i * C, 1, (size_t)C); /* its own context */
    if (status == SG_OK)
        status = run(h, 2, c.feeds, 2, (sg_value *[]){h->q, h->k}, got, err);
    if (status == SG_OK)
        status =
            sg_qk_explain(&s, n_bases, bases, n, got[0].data, n * C, got[1].data, h->width, visible, 1, h->exec, err);
    if (status == SG_OK)
        *out = 1 - s->rest_square / s->score_square;
    sg_qk_shares_free(s);
    sg_sample_free(c.s);
    free(visible);
    return status;
}
