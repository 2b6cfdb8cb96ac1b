/* Models whose weights are set by hand, so that it is known where a head looks and when a neuron fires. */
#include "sightglass/views.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

enum { D = 32, HEADS = 2, F = 16, V = 33, TIME = 32, EPISODES = 40 };

static const char text[] = "{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":1,\"n_head\":2,\"vocab_size\":33,"
                           "\"n_positions\":32,\"n_inner\":16,\"initializer_range\":0.3}";
static char folder[200];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-views-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static void path_of(char path[260], const char *name)
{
    snprintf(path, 260, "%s/%s", folder, name);
}

static int finish(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "m/config.json", "m/model.safetensors"};
    char path[260];
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        path_of(path, names[i]);
        unlink(path);
    }
    path_of(path, "m");
    rmdir(path);
    return rmdir(folder);
}

/* All weights 0 but the gains, then those that `set` sets; saved and opened again. */
static sg_model *make(void (*set)(sg_graph *g, sg_state *s))
{
    char config[260], dir[260];
    sg_model *m, *opened;
    sg_graph *g;
    sg_state *s;
    sg_error err;
    path_of(config, "config.json");
    path_of(dir, "m");
    FILE *to = fopen(config, "wb");
    CHECK(to && fputs(text, to) >= 0 && fclose(to) == 0);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 1, &err), &err);
    for (int i = 0; sg_model_get_weight(m, i).name; i++) {
        sg_tensor *w = sg_state_tensor(s, sg_graph_find(g, sg_model_get_weight(m, i).name));
        if (!strstr(sg_model_get_weight(m, i).name, "ln_"))
            memset(w->data, 0, sg_tensor_bytes(w));
    }
    set(g, s);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, dir, &err), &err);
    CHECK_OK(sg_model_open(&opened, dir, sg_model_defaults(), &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    return opened;
}

static float *weight(sg_graph *g, sg_state *s, const char *name)
{
    const sg_value *v = sg_graph_find(g, name);
    CHECK(v != NULL);
    return sg_state_tensor(s, v)->data;
}

/* Positions alternate between a vector and its negative, and head 0 scores the opposite of its own highest: it looks at
 * every second move before, evenly. Head 1 has no weights and looks at all alike. */
static void set_parity_head(sg_graph *g, sg_state *s)
{
    float *wpe = weight(g, s, "transformer.wpe.weight"), *qkv = weight(g, s, "transformer.h.0.attn.c_attn.weight");
    for (int t = 0; t < TIME; t++) {
        wpe[t * D] = t % 2 ? 1 : -1;
        wpe[t * D + 1] = -wpe[t * D];
    }
    qkv[0] = 8;
    qkv[D] = -8;
}

static void a_head_is_called_by_what_it_looks_at(void **state)
{
    (void)state;
    sg_model *m = make(set_parity_head);
    const sg_setting six = {"size", "6"};
    sg_sample *games;
    sg_heads *h;
    sg_error err;
    CHECK_OK(sg_world_sample(&games, sg_world_find("othello", NULL), 1, &six, EPISODES, 5, &err), &err);
    const sg_tensor *tokens = sg_sample_find(games, "tokens"), *counts = sg_sample_find(games, "counts");
    const sg_tensor *mover = sg_sample_find(games, "mover");
    sg_views_opts opts = sg_views_defaults();
    opts.batch = 16;
    opts.n_resamples = 200;
    CHECK_OK(sg_heads_view(&h, m, tokens, counts, mover, opts, &err), &err);
    CHECK(h->n == 2 && h->n_episodes == EPISODES);
    const sg_head *first = &h->heads[0], *second = &h->heads[1];
    CHECK(first->head == 0 && first->kind == SG_GAZE_PARITY);
    CHECK_NEAR(first->gaze[SG_GAZE_PARITY].share, 1, 1e-4, 0);
    CHECK_NEAR(first->gaze[SG_GAZE_SELF].share, 0, 1e-4, 0);
    CHECK_NEAR(first->gaze[SG_GAZE_MINE].share + first->gaze[SG_GAZE_YOURS].share, 1, 1e-6, 0);
    CHECK(second->head == 1 && second->kind == -1);
    CHECK_NEAR(second->gaze[SG_GAZE_MINE].excess.value, 0, 1e-6, 0);

    /* The same shares from the games alone. */
    const int32_t *next = mover->data;
    const uint8_t *is = counts->data;
    double mine = 0, even = 0, all = 0;
    for (int e = 0; e < EPISODES; e++)
        for (int t = 4; t + 1 < TIME; t++) {
            double n_mine = 0, n_opposite = 0, mine_opposite = 0;
            if (!is[e * TIME + t + 1])
                continue;
            for (int j = 0; j < t; j++) {
                const bool by_mover = (j ? next[e * TIME + j - 1] : 0) == next[e * TIME + t];
                n_mine += by_mover;
                n_opposite += (t - j) % 2;
                mine_opposite += by_mover && (t - j) % 2;
            }
            mine += mine_opposite / n_opposite;
            even += n_mine / t;
            all += 1;
        }
    CHECK_NEAR(first->gaze[SG_GAZE_MINE].share, mine / all, 1e-4, 0);
    CHECK_NEAR(first->gaze[SG_GAZE_MINE].uniform, even / all, 1e-4, 0);
    CHECK(first->gaze[SG_GAZE_MINE].share < 0.999); /* passes, which parity knows nothing of */
    CHECK(h->n_positions == (sg_dim)all);
    sg_heads_free(h);

    CHECK_OK(sg_heads_view(&h, m, tokens, counts, NULL, opts, &err), &err);
    CHECK(isnan(h->heads[0].gaze[SG_GAZE_MINE].share) && h->heads[0].kind == SG_GAZE_PARITY);
    sg_heads_free(h);
    sg_sample_free(games);
    sg_model_close(m);
}

/* Positions lie on a circle. Head 0 turns its question back by one place, head 1 by a period less one. */
enum { PERIOD = 12 };
static void set_copying_heads(sg_graph *g, sg_state *s)
{
    const double step = 2 * acos(-1) / TIME, sharp = 300;
    float *wpe = weight(g, s, "transformer.wpe.weight"), *qkv = weight(g, s, "transformer.h.0.attn.c_attn.weight");
    for (int t = 0; t < TIME; t++) {
        wpe[t * D] = (float)cos(step * t);
        wpe[t * D + 1] = -wpe[t * D];
        wpe[t * D + 2] = (float)sin(step * t);
        wpe[t * D + 3] = -wpe[t * D + 2];
    }
    for (int h = 0; h < 2; h++) {
        const double back = step * (h ? PERIOD - 1 : 1);
        float *q = qkv + h * D / 2, *k = q + D;
        q[0] = q[2 * 3 * D + 1] = (float)(sharp * cos(back));
        q[2 * 3 * D] = (float)(sharp * sin(back));
        q[1] = (float)(-sharp * sin(back));
        k[0] = k[2 * 3 * D + 1] = 1;
    }
}

static void heads_that_copy_are_told_from_others(void **state)
{
    (void)state;
    sg_model *m = make(set_copying_heads);
    sg_copy_heads *h;
    sg_error err;
    sg_views_opts opts = sg_views_defaults();
    opts.n_resamples = 200;
    CHECK_OK(sg_copy_heads_view(&h, m, 10, PERIOD, opts, &err), &err);
    CHECK(h->n == 2 && h->n_sequences == 10 && h->period == PERIOD);
    CHECK(h->heads[0].kind == SG_COPY_PREVIOUS && h->heads[1].kind == SG_COPY_INDUCTION);
    CHECK_NEAR(h->heads[0].score[SG_COPY_PREVIOUS].value, 1, 1e-3, 0);
    CHECK_NEAR(h->heads[0].score[SG_COPY_INDUCTION].value, 0, 1e-3, 0);
    CHECK_NEAR(h->heads[1].score[SG_COPY_INDUCTION].value, 1, 1e-3, 0);
    CHECK_NEAR(h->heads[1].score[SG_COPY_DUPLICATE].value, 0, 1e-3, 0);
    CHECK_NEAR(h->heads[0].score[SG_COPY_FIRST].value, 1.0 / (2 * PERIOD - 1), 1e-3, 0); /* from the second token */
    double even = 0;
    for (int t = PERIOD; t < 2 * PERIOD; t++)
        even += 1.0 / (t + 1) / PERIOD;
    CHECK_NEAR(h->even[SG_COPY_INDUCTION], even, 1e-9, 0);
    CHECK_NEAR(h->nll[0], log(V), 1e-4, 0); /* nothing is written, so all tokens are as likely */
    CHECK_NEAR(h->nll[1], log(V), 1e-4, 0);
    sg_copy_heads_free(h);
    CHECK(sg_copy_heads_view(&h, m, 10, 17, opts, &err) == SG_EARG && strstr(err.text, "17"));
    CHECK(sg_copy_heads_view(&h, m, 1, PERIOD, opts, &err) == SG_EARG);
    sg_model_close(m);
}

/* Token k has a direction of its own, which neuron k reads and writes. */
static void set_token_neurons(sg_graph *g, sg_state *s)
{
    float *wte = weight(g, s, "transformer.wte.weight"), *up = weight(g, s, "transformer.h.0.mlp.c_fc.weight");
    float *down = weight(g, s, "transformer.h.0.mlp.c_proj.weight");
    for (int k = 0; k < 8; k++) {
        wte[k * D + 2 * k] = 1;
        wte[k * D + 2 * k + 1] = -1;
        up[2 * k * F + k] = 1;
        up[(2 * k + 1) * F + k] = -1;
        down[k * D + 2 * k] = k == 3 ? -1 : 1;
        down[k * D + 2 * k + 1] = k == 3 ? 1 : -1;
    }
}

typedef struct planted {
    int32_t token[EPISODES * TIME], is[EPISODES * TIME * 4], noise[EPISODES * TIME];
    sg_tensor tokens, truth, unknown;
} planted;

/* The label's place k asks whether the token is k; another label is noise. */
static planted *plant(void)
{
    planted *p = calloc(1, sizeof *p);
    sg_rng r = sg_rng_new(3, 0);
    for (int i = 0; i < EPISODES * TIME; i++) {
        p->token[i] = (int32_t)sg_rng_below(&r, 8);
        p->noise[i] = (int32_t)sg_rng_below(&r, 2);
        for (int k = 0; k < 4; k++)
            p->is[i * 4 + k] = p->token[i] == k;
    }
    p->tokens = sg_tensor_of(SG_I32, 2, (sg_dim[]){EPISODES, TIME}, p->token);
    p->truth = sg_tensor_of(SG_I32, 3, (sg_dim[]){EPISODES, TIME, 4}, p->is);
    p->unknown = sg_tensor_of(SG_I32, 2, (sg_dim[]){EPISODES, TIME}, p->noise);
    return p;
}

static void a_neuron_is_told_with_the_feature_that_it_fires_on(void **state)
{
    (void)state;
    sg_model *m = make(set_token_neurons);
    planted *p = plant();
    const sg_label labels[2] = {{"token", &p->truth}, {"noise", &p->unknown}};
    float w[D * 4 * 2] = {0};
    for (int k = 0; k < 4; k++) {
        w[(2 * k * 4 + k) * 2 + 1] = 1;
        w[((2 * k + 1) * 4 + k) * 2 + 1] = -1;
    }
    const sg_tensor directions = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, 4, 2}, w);
    sg_probe *probe;
    sg_neurons *n;
    sg_error err;
    sg_views_opts opts = sg_views_defaults();
    opts.batch = 16;
    CHECK_OK(sg_probe_of(&probe, &directions, NULL, &err), &err);
    CHECK_OK(sg_neurons_view(&n, m, &p->tokens, NULL, 2, labels, probe, 6, opts, &err), &err);
    CHECK(n->n == 6 && n->n_features == 5 && n->n_in_layer == F && n->n_episodes == EPISODES / 2);
    CHECK(n->n_rows == EPISODES / 2 * (TIME - 5)); /* from position 4 to the last but one */
    bool seen[4] = {false};
    for (int i = 0; i < 4; i++) {
        const sg_neuron *u = &n->neurons[i];
        CHECK(u->index < 4 && u->feature.label == 0 && u->feature.place == u->index && u->feature.class_id == 1);
        CHECK_NEAR(u->r.value, 1, 1e-5, 0);
        CHECK(u->r.low <= u->r.value && u->r.low > 0.99 && u->r.n == EPISODES / 2);
        CHECK(fabs(u->shuffled) < 0.2 && u->untrained < 0.95);
        CHECK(u->on > 0.5 && fabs(u->off) < 1e-5);
        CHECK_NEAR(u->cos_in, 1, 1e-5, 0);
        CHECK_NEAR(u->cos_out, u->index == 3 ? -1 : 1, 1e-5, 0);
        seen[u->index] = true;
    }
    CHECK(seen[0] && seen[1] && seen[2] && seen[3]);
    CHECK(n->neurons[4].r.value < 0.1); /* tokens 4 to 7 are no features: what is left correlates with nothing */
    CHECK(n->above[0] >= 4 && n->above[0] <= 8 && n->untrained_above[0] < F && n->bar < 0.2);
    sg_neurons_free(n);
    sg_probe_free(probe);

    const sg_tensor short_directions = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, 2, 4}, w);
    CHECK_OK(sg_probe_of(&probe, &short_directions, NULL, &err), &err);
    CHECK_STATUS(sg_neurons_view(&n, m, &p->tokens, NULL, 2, labels, probe, 6, opts, &err), SG_ESHAPE);
    CHECK_STATUS(sg_neurons_view(&n, m, &p->tokens, NULL, 0, labels, NULL, 6, opts, &err), SG_EARG);
    sg_tensor few = p->tokens;
    few.dims[0] = 3;
    CHECK_STATUS(sg_neurons_view(&n, m, &few, NULL, 2, labels, NULL, 6, opts, &err), SG_EARG);
    sg_probe_free(probe);
    free(p);
    sg_model_close(m);
}

/* Shuffled labels carry nothing, so that no more neurons stand out of them than of the control. */
static void features_of_other_episodes_are_no_features(void **state)
{
    (void)state;
    sg_model *m = make(set_token_neurons);
    planted *p = plant();
    for (int i = 0; i < EPISODES * TIME * 4; i++)
        p->is[i] = (int32_t)(sg_hash(&i, sizeof i, 7) % 2);
    const sg_label labels[1] = {{"token", &p->truth}};
    sg_neurons *n;
    sg_error err;
    CHECK_OK(sg_neurons_view(&n, m, &p->tokens, NULL, 1, labels, NULL, 3, sg_views_defaults(), &err), &err);
    CHECK(n->above[0] <= 4 && n->neurons[0].r.value < 0.15);
    CHECK(isnan(n->neurons[0].cos_in));
    sg_neurons_free(n);
    free(p);
    sg_model_close(m);
}

static void leave_weights(sg_graph *g, sg_state *s)
{
    for (int i = 0; i < sg_graph_n_names(g); i++) {
        sg_value *v = sg_graph_named(g, i);
        sg_tensor *t = strcmp(sg_value_op(v), "variable") == 0 ? sg_state_tensor(s, v) : NULL;
        sg_rng r = sg_rng_new(8, (uint32_t)i);
        for (sg_dim k = 0; t && k < sg_tensor_count(t); k++)
            sg_tensor_set(t, k, 0.3 * sg_rng_normal(&r));
    }
}

/* What the parts give sums to what the probe reads off the site, computed without any of this. */
static void the_parts_sum_to_what_the_probe_reads(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid",
                                        "blocks.0.hook_resid_post"};
    static const int n_parts[] = {2, 2 + HEADS + 1, 2 + HEADS + 2};
    sg_model *m = make(leave_weights);
    planted *p = plant();
    const sg_label label = {"token", &p->truth};
    float w[D * 4 * 2];
    sg_rng r = sg_rng_new(6, 0);
    for (int i = 0; i < D * 4 * 2; i++)
        w[i] = (float)sg_rng_normal(&r);
    const sg_tensor directions = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, 4, 2}, w);
    sg_probe *probe;
    sg_parts *parts;
    sg_store *store;
    sg_error err;
    sg_views_opts opts = sg_views_defaults();
    opts.batch = 16;
    opts.n_resamples = 50;
    CHECK_OK(sg_probe_of(&probe, &directions, NULL, &err), &err);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(sg_parts_view(&parts, m, sites[i], probe, &p->tokens, NULL, &label, -1, opts, &err), &err);
        CHECK(parts->n == n_parts[i]);
        double sum[2] = {0, 0}, want = 0, size = 0;
        for (int k = 0; k < parts->n; k++) {
            sum[0] += parts->parts[k].toward.value;
            sum[1] += parts->parts[k].shuffled.value;
            size = fmax(size, fabs(parts->parts[k].toward.value));
        }
        CHECK_NEAR(sum[0], parts->whole.toward.value, 1e-4, 0);
        CHECK_NEAR(sum[1], parts->whole.shuffled.value, 1e-4, 0);
        CHECK(size > 0.01); /* of parts that are there */

        sg_harvest_opts how = sg_harvest_defaults();
        how.positions.first = opts.first;
        CHECK_OK(sg_harvest(&store, m, 1, &sites[i], &p->tokens, NULL, how, &err), &err);
        const sg_dim n = sg_store_n_rows(store);
        float *logits = malloc((size_t)n * 8 * sizeof *logits);
        CHECK_OK(sg_probe_logits(probe, sg_store_acts(store, 0), logits, &err), &err);
        for (sg_dim k = 0; k < n * 4; k++) {
            const sg_store_row at = sg_store_rows(store)[k / 4];
            const int is = p->is[(at.episode * TIME + at.position) * 4 + k % 4];
            want += ((double)logits[2 * k + is] - (double)logits[2 * k + !is]) / (double)(n * 4);
        }
        CHECK(parts->n_rows == n && parts->whole.toward.n == n * 4);
        CHECK_NEAR(parts->whole.toward.value, want, 1e-4, 1e-4);
        free(logits);
        sg_store_free(store);
        sg_parts_free(parts);
    }
    CHECK_STATUS(sg_parts_view(&parts, m, "blocks.0.mlp.hook_post", probe, &p->tokens, NULL, &label, -1, opts, &err),
                 SG_EARG);
    CHECK_STATUS(sg_parts_view(&parts, m, "blocks.1.hook_resid_post", probe, &p->tokens, NULL, &label, -1, opts, &err),
                 SG_EARG);
    const sg_label wrong = {"noise", &p->unknown};
    CHECK_STATUS(sg_parts_view(&parts, m, sites[2], probe, &p->tokens, NULL, &wrong, -1, opts, &err), SG_ESHAPE);
    sg_probe_free(probe);
    free(p);
    sg_model_close(m);
}

static volatile sig_atomic_t stop;

static void stop_at_once(void *context, const char *part, double done)
{
    (void)part;
    CHECK(done > 0 && done <= 1);
    ++*(int *)context;
    stop = 1;
}

static void a_view_stops_when_asked(void **state)
{
    (void)state;
    sg_model *m = make(set_token_neurons);
    planted *p = plant();
    const sg_label labels[1] = {{"token", &p->truth}};
    int told = 0;
    sg_neurons *n;
    sg_heads *h;
    sg_error err;
    sg_views_opts opts = sg_views_defaults();
    opts.batch = 4;
    opts.progress = stop_at_once;
    opts.context = &told;
    opts.cancel = &stop;
    CHECK_STATUS(sg_neurons_view(&n, m, &p->tokens, NULL, 1, labels, NULL, 3, opts, &err), SG_ECANCELLED);
    CHECK_STATUS(sg_heads_view(&h, m, &p->tokens, NULL, NULL, opts, &err), SG_ECANCELLED);
    CHECK(n == NULL && h == NULL && told == 1);
    stop = 0;
    free(p);
    sg_model_close(m);
}

static void memory_that_runs_out_leaves_nothing_behind(void **state)
{
    (void)state;
    sg_model *m = make(set_token_neurons);
    planted *p = plant();
    const sg_label labels[1] = {{"token", &p->truth}};
    sg_views_opts opts = sg_views_defaults();
    sg_tensor tokens = p->tokens;
    tokens.dims[0] = 4;
    p->truth.dims[0] = 4;
    opts.exec.n_threads = 1;
    opts.n_resamples = 2;
    float w[D * 4 * 2] = {1, 2, 3};
    const sg_tensor directions = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, 4, 2}, w);
    sg_probe *probe;
    CHECK(sg_probe_of(&probe, &directions, NULL, NULL) == SG_OK);
    for (int what = 0; what < 3; what++)
        for (long n = 0;; n += 1 + n / 16) { /* there are some thousands */
            sg_heads *h = NULL;
            sg_neurons *u = NULL;
            sg_parts *q = NULL;
            sg_error err;
            sg_faults_begin(n, SG_FAULT_ONCE);
            const sg_status status = what == 0   ? sg_neurons_view(&u, m, &tokens, NULL, 1, labels, NULL, 3, opts, &err)
                                     : what == 1 ? sg_heads_view(&h, m, &tokens, NULL, NULL, opts, &err)
                                                 : sg_parts_view(&q, m, "blocks.0.hook_resid_post", probe, &tokens,
                                                                 NULL, labels, -1, opts, &err);
            const bool failed = sg_faults_end();
            sg_heads_free(h);
            sg_neurons_free(u);
            sg_parts_free(q);
            if (!failed) {
                CHECK_OK(status, &err);
                break;
            }
            CHECK(status == SG_ENOMEM || status == SG_OK); /* a backend may leave its part to the reference kernels */
        }
    sg_probe_free(probe);
    free(p);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_called_by_what_it_looks_at),
        cmocka_unit_test(heads_that_copy_are_told_from_others),
        cmocka_unit_test(a_neuron_is_told_with_the_feature_that_it_fires_on),
        cmocka_unit_test(features_of_other_episodes_are_no_features),
        cmocka_unit_test(the_parts_sum_to_what_the_probe_reads),
        cmocka_unit_test(a_view_stops_when_asked),
        cmocka_unit_test(memory_that_runs_out_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
