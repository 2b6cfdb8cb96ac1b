/* On small networks with fresh weights: what a look reads is what a run of the whole gives. */
#include "serve/look.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { T = 11, V = 23 };

static int32_t ids[700];

static sg_model *model_of(const char *config)
{
    sg_model *m;
    sg_error err;
    FILE *f = fopen("look_config.json", "w");
    CHECK(f && fputs(config, f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "look_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("look_config.json");
    sg_rng r = sg_rng_new(3, 0);
    for (size_t i = 0; i < SG_COUNT_OF(ids); i++)
        ids[i] = (int32_t)sg_rng_below(&r, V);
    return m;
}

static sg_model *llama(void)
{
    return model_of(
        "{\"model_type\": \"llama\", \"hidden_size\": 16, \"intermediate_size\": 20, \"num_hidden_layers\": 3, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"vocab_size\": 23, "
        "\"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000, \"hidden_act\": \"silu\", "
        "\"initializer_range\": 0.4}");
}

/* One head, one layer, room for more than two tiles in each direction. */
static sg_model *long_gpt2(void)
{
    return model_of("{\"model_type\": \"gpt2\", \"n_embd\": 8, \"n_layer\": 2, \"n_head\": 1, \"n_positions\": 700, "
                    "\"vocab_size\": 23, \"tie_word_embeddings\": false, \"initializer_range\": 0.9}");
}

static json_t *json(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK(j != NULL);
    return j;
}

static look *look_at(const sg_model *m, sg_dim n, json_t *edits)
{
    look *l;
    sg_error err;
    CHECK_OK(look_new(&l, (look_of){m, sg_exec_defaults(), n, ids, 0, edits}, &err), &err);
    json_decref(edits);
    return l;
}

/* A site's numbers from a run of everything, [1,T,...]; the caller frees. */
static float *whole(const sg_model *m, sg_dim n, const char *edits, const char *site, sg_dim *count)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_error err;
    sg_edit_list *list = NULL;
    const int32_t *row = ids;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    if (edits) {
        CHECK_OK(sg_edit_list_parse(&list, edits, strlen(edits), "edits", &err), &err);
        CHECK_OK(sg_glass_edit_list(glass, list, &err), &err);
    }
    CHECK_OK(sg_glass_find(glass, site, &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, &err), &err);
    float *out = malloc(sg_tensor_bytes(&t));
    memcpy(out, t.data, sg_tensor_bytes(&t));
    *count = sg_tensor_count(&t);
    sg_glass_free(glass);
    sg_edit_list_free(list);
    return out;
}

static void every_value_is_what_a_run_of_the_whole_gives(void **state)
{
    (void)state;
    static const char *const sites[] = {"hook_embed",
                                        "blocks.0.hook_resid_pre",
                                        "blocks.1.attn.hook_rot_q",
                                        "blocks.1.attn.hook_k",
                                        "blocks.2.attn.hook_attn_scores",
                                        "blocks.2.attn.hook_pattern",
                                        "blocks.1.attn.hook_z",
                                        "blocks.0.hook_attn_out",
                                        "blocks.2.mlp.hook_post",
                                        "blocks.2.hook_resid_post",
                                        "ln_final.hook_normalized",
                                        "logits",
                                        "nll",
                                        "loss"};
    const char *const edits[2] = {
        NULL,
        "[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": -2, \"positions\": [3, -1]},"
        " {\"site\": \"blocks.0.hook_attn_out\", \"op\": \"patch\", \"value\": {\"run\": {\"tokens\": [1, 2, 3]}}},"
        " {\"site\": \"blocks.2.attn.hook_attn_scores\", \"op\": \"mask\", \"keys\": [0]}]"};
    sg_model *m = llama();
    for (int e = 0; e < 2; e++) {
        look *l = look_at(m, T, edits[e] ? json(edits[e]) : NULL);
        for (size_t i = 0; i < SG_COUNT_OF(sites); i++) {
            sg_tensor t;
            char axes[SG_MAX_DIMS + 1];
            sg_dim n;
            sg_error err;
            float *want = whole(m, T, edits[e], sites[i], &n);
            CHECK_OK(look_value(l, sites[i], NULL, &t, axes, &err), &err);
            CHECK(sg_tensor_count(&t) == n);
            for (sg_dim k = 0; k < n; k++)
                CHECK_NEAR(((float *)t.data)[k], want[k], 2e-5, 1e-5);
            free(t.data);
            free(want);
        }
        look_free(l);
    }
    sg_model_close(m);
}

static void a_part_of_a_value_is_that_part(void **state)
{
    (void)state;
    sg_model *m = llama();
    look *l = look_at(m, T, NULL);
    look_part part = {.n_axes = 3};
    sg_tensor all, some;
    char axes[SG_MAX_DIMS + 1];
    sg_error err;
    part.axis[0].first = 2, part.axis[0].stop = 5;
    part.axis[1].first = -1;
    part.axis[2].first = 1, part.axis[2].stop = 2;
    CHECK_OK(look_value(l, "blocks.1.attn.hook_z", NULL, &all, axes, &err), &err);
    CHECK_OK(look_value(l, "blocks.1.attn.hook_z", &part, &some, axes, &err), &err);
    CHECK(strcmp(axes, "thd") == 0);
    CHECK(some.n_dims == 3 && some.dims[0] == 3 && some.dims[1] == 4 && some.dims[2] == 1);
    for (int t = 0; t < 3; t++)
        for (int h = 0; h < 4; h++)
            CHECK_NEAR(((float *)some.data)[t * 4 + h], ((float *)all.data)[((t + 2) * 4 + h) * 4 + 1], 1e-6, 1e-6);
    free(all.data);
    free(some.data);
    part.axis[0].stop = T + 1;
    CHECK_STATUS(look_value(l, "blocks.1.attn.hook_z", &part, &some, axes, &err), SG_EARG);
    CHECK_TEXT(err.text, "it has 11");
    CHECK_STATUS(look_value(l, "blocks.1.hook_resid_pots", NULL, &some, axes, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.1.hook_resid_post");
    CHECK_STATUS(look_value(l, "key_mask", NULL, &some, axes, &err), SG_OK);
    free(some.data);
    look_free(l);
    sg_model_close(m);
}

static void statistics_are_those_of_the_finite_numbers(void **state)
{
    (void)state;
    float x[5] = {1, 2, 3, (float)INFINITY, 6};
    const sg_tensor t = sg_tensor_of(SG_F32, 1, (sg_dim[]){5}, x);
    const look_stats s = look_stats_of(&t);
    CHECK(s.count == 5 && s.finite == 4);
    CHECK_NEAR(s.mean, 3, 1e-12, 0);
    CHECK_NEAR(s.deviation, sqrt(3.5), 1e-12, 0); /* (4+1+0+9)/4 */
    CHECK_NEAR(s.norm, sqrt(50), 1e-12, 0);
    CHECK(s.bins[0] == 1 && s.bins[LOOK_BINS - 1] == 1 && s.bins[LOOK_BINS / 5] == 1);
}

static void what_a_layer_writes_has_these_norms_and_changes(void **state)
{
    (void)state;
    sg_model *m = llama();
    look *plain = look_at(m, T, NULL);
    look *edited =
        look_at(m, T, json("[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"ablate\", \"positions\": [4]}]"));
    float norm[LOOK_N_WRITES * T], changed[LOOK_N_WRITES * T];
    sg_dim n;
    sg_error err;
    float *want = whole(m, T, NULL, "blocks.1.hook_attn_out", &n);
    CHECK_OK(look_writes(plain, NULL, 1, norm, changed, &err), &err);
    for (int t = 0; t < T; t++) {
        double sum = 0;
        for (int d = 0; d < 16; d++)
            sum += (double)want[t * 16 + d] * (double)want[t * 16 + d];
        CHECK_NEAR(norm[LOOK_ATTN * T + t], sqrt(sum), 1e-5, 1e-5);
    }
    CHECK_OK(look_writes(edited, plain, 1, norm, changed, &err), &err);
    for (int t = 0; t < T; t++) {
        CHECK_NEAR(changed[LOOK_MLP * T + t], t == 4, 1e-6, 0); /* all of what was written there is gone */
        CHECK((changed[LOOK_RESID * T + t] > 0) == (t == 4));
    }
    CHECK_OK(look_writes(edited, plain, 2, norm, changed, &err), &err);
    for (int t = 0; t < T; t++)
        CHECK((changed[LOOK_RESID * T + t] > 1e-6f) == (t >= 4)); /* attention carries it forward, never back */
    free(want);
    look_free(plain);
    look_free(edited);
    sg_model_close(m);
}

static float half(uint16_t x)
{
    return sg_f16_to_f32(x);
}

static void tiles_are_the_pattern_and_what_is_pooled_from_it(void **state)
{
    (void)state;
    enum { N = 601 };
    sg_model *m = long_gpt2();
    look *l = look_at(m, N, json("[{\"site\": \"blocks.1.attn.hook_attn_scores\", \"op\": \"mask\", \"keys\": [7]}]"));
    sg_dim count;
    sg_error err;
    float *p = whole(m, N, "[{\"site\": \"blocks.1.attn.hook_attn_scores\", \"op\": \"mask\", \"keys\": [7]}]",
                     "blocks.1.attn.hook_pattern", &count);
    CHECK(count == (sg_dim)N * N && p[7 * N + 7] == 0);
    CHECK(look_levels(N) == 3 && look_level_size(N, 1) == 301 && look_level_size(N, 2) == 151);
    CHECK(look_levels(256) == 1 && look_levels(257) == 2);
    for (int level = 0; level < 3; level++) {
        const sg_dim size = look_level_size(N, level), tiles = (size + LOOK_TILE - 1) / LOOK_TILE;
        const int side = 1 << level;
        for (sg_dim row = 0; row < tiles; row++)
            for (sg_dim column = 0; column < tiles; column++)
                for (int mean = 0; mean < 2; mean++) {
                    uint16_t *tile;
                    sg_dim rows, columns;
                    CHECK_OK(look_tile(l, 1, 0, level, row, column, mean, &tile, &rows, &columns, &err), &err);
                    CHECK(rows == SG_MIN(LOOK_TILE, size - row * LOOK_TILE) &&
                          columns == SG_MIN(LOOK_TILE, size - column * LOOK_TILE));
                    for (sg_dim i = 0; i < rows; i += 5)
                        for (sg_dim j = 0; j < columns; j += 3) {
                            const sg_dim y = (row * LOOK_TILE + i) * side, x = (column * LOOK_TILE + j) * side;
                            if (mean && (y + side > N || x + side > N))
                                continue;
                            double most = 0, sum = 0;
                            for (sg_dim a = y; a < SG_MIN(y + side, N); a++)
                                for (sg_dim b = x; b < SG_MIN(x + side, N); b++) {
                                    most = fmax(most, (double)p[a * N + b]);
                                    sum += (double)p[a * N + b];
                                }
                            CHECK_NEAR(half(tile[i * columns + j]), mean ? sum / (side * side) : most, 1e-6, 1e-3);
                        }
                    free(tile);
                }
    }
    uint16_t *tile;
    sg_dim rows, columns;
    CHECK_STATUS(look_tile(l, 1, 0, 3, 0, 0, false, &tile, &rows, &columns, &err), SG_EARG);
    CHECK_STATUS(look_tile(l, 1, 0, 2, 1, 0, false, &tile, &rows, &columns, &err), SG_EARG);
    CHECK_STATUS(look_tile(l, 2, 0, 0, 0, 0, false, &tile, &rows, &columns, &err), SG_EARG);
    CHECK_STATUS(look_tile(l, 1, 1, 0, 0, 0, false, &tile, &rows, &columns, &err), SG_EARG);
    free(p);
    look_free(l);
    sg_model_close(m);
}

static void heads_are_measured_by_their_patterns_and_by_what_they_write(void **state)
{
    (void)state;
    sg_model *m = llama();
    look *l = look_at(m, T, NULL);
    const look_scan *s;
    sg_dim n;
    sg_error err;
    float *p = whole(m, T, NULL, "blocks.1.attn.hook_pattern", &n), *z = whole(m, T, NULL, "blocks.1.attn.hook_z", &n);
    CHECK_OK(look_heads(l, 1, &s, &err), &err);
    CHECK(s->n_heads == 4 && s->side == T);
    for (int h = 0; h < 4; h++)
        for (int t = 0; t < T; t++) {
            const float *w = p + (h * T + t) * T;
            double entropy = 0, distance = 0;
            for (int j = 0; j <= t; j++) {
                entropy -= (double)w[j] * log((double)w[j]);
                distance += (double)w[j] * (t - j);
            }
            const float *got = s->measure + h * T + t;
            CHECK_NEAR(got[LOOK_ENTROPY * 4 * T], entropy, 1e-5, 1e-5);
            CHECK_NEAR(got[LOOK_DISTANCE * 4 * T], distance, 1e-5, 1e-5);
            CHECK_NEAR(got[LOOK_SELF * 4 * T], w[t], 1e-6, 1e-5);
            CHECK_NEAR(got[LOOK_PREVIOUS * 4 * T], t ? w[t - 1] : 0, 1e-6, 1e-5);
            CHECK_NEAR(got[LOOK_FIRST * 4 * T], w[0], 1e-6, 1e-5);
            CHECK_NEAR(half(s->thumb[(h * T + t) * T + t]), w[t], 1e-6, 1e-3);
        }
    /* What one head writes: the run in which only its z is left, without biases (this family has none there). */
    for (int h = 0; h < 4; h++) {
        sg_glass *glass;
        sg_value *v;
        sg_tensor out;
        float only[T * 16] = {0};
        const int32_t *row = ids;
        const sg_dim length = T;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
        for (int t = 0; t < T; t++)
            memcpy(only + t * 16 + h * 4, z + t * 16 + h * 4, 4 * sizeof *z);
        const sg_named_feed feed = {"blocks.1.attn.hook_z", sg_tensor_of(SG_F32, 4, (sg_dim[]){1, T, 4, 4}, only)};
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        CHECK_OK(sg_glass_find(glass, "blocks.1.hook_attn_out", &v, &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 1, &feed, 1, &v, &out, &err), &err);
        for (int t = 0; t < T; t++) {
            double sum = 0;
            for (int d = 0; d < 16; d++)
                sum += sg_tensor_get(&out, t * 16 + d) * sg_tensor_get(&out, t * 16 + d);
            CHECK_NEAR(s->measure[(LOOK_OUT * 4 + h) * T + t], sqrt(sum), 1e-5, 1e-5);
        }
        sg_glass_free(glass);
    }
    free(p);
    free(z);
    look_free(l);
    sg_model_close(m);
}

static void the_lens_ends_at_the_logits(void **state)
{
    (void)state;
    sg_model *m = llama();
    look *l = look_at(m, T, json("[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": 3}]"));
    look_lens *lens;
    sg_dim n;
    sg_error err;
    float *logits =
        whole(m, T, "[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": 3}]", "logits", &n);
    CHECK_OK(look_at_lens(l, 2, 9, 4, LOOK_NEXT, &lens, &err), &err);
    CHECK(lens->n_rows == 4 && lens->n == 9 && lens->k == 4);
    for (int t = 0; t < 9; t++) {
        const look_guess *top = lens->top + (3 * 9 + t) * 4;
        const float *x = logits + (t + 2) * V;
        double sum = 0;
        int above = 0;
        for (int v = 0; v < V; v++)
            sum += exp((double)x[v]);
        for (int i = 0; i < 4; i++) {
            CHECK_NEAR(top[i].logit, x[top[i].token], 1e-5, 1e-5);
            CHECK_NEAR(top[i].p, exp((double)x[top[i].token]) / sum, 1e-6, 1e-4);
            CHECK(i == 0 || top[i].p <= top[i - 1].p);
        }
        const int32_t wanted = t + 3 < T ? ids[t + 3] : top[0].token;
        CHECK(lens->wanted[t] == wanted && lens->target[3 * 9 + t].token == wanted);
        for (int v = 0; v < V; v++)
            above += x[v] > x[wanted];
        CHECK(lens->rank[3 * 9 + t] == above);
    }
    look_lens_free(lens);
    CHECK_OK(look_at_lens(l, 0, T, 1, 5, &lens, &err), &err);
    CHECK(lens->wanted[3] == 5);
    look_lens_free(lens);
    CHECK_STATUS(look_at_lens(l, 5, T, 1, LOOK_NEXT, &lens, &err), SG_EARG);
    CHECK_STATUS(look_at_lens(l, 0, T, 1, V, &lens, &err), SG_EARG);
    free(logits);
    look_free(l);
    sg_model_close(m);
}

static look_prediction *predict(look_glasses *glasses, const sg_model *m, const char *edits, look_question q)
{
    look_prediction *p;
    sg_error err;
    json_t *e = edits ? json(edits) : NULL;
    CHECK_OK(look_predict(glasses, (look_of){m, sg_exec_defaults(), T, ids, 0, e}, q, &p, &err), &err);
    json_decref(e);
    return p;
}

static void the_edited_run_stands_beside_the_unedited(void **state)
{
    (void)state;
    sg_model *m = llama();
    look_glasses *glasses;
    sg_error err;
    const int32_t tracked[2] = {4, 9};
    CHECK_OK(look_glasses_new(&glasses, 2, &err), &err);
    for (int strength = 1; strength <= 3; strength++) { /* the second and third time in the glass of the first */
        char edits[200];
        snprintf(edits, sizeof edits,
                 "[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": %d, \"positions\": [4]}]",
                 strength - 2);
        look_prediction *p = predict(glasses, m, edits, (look_question){.k = 3, .n_tracked = 2, .tracked = tracked});
        sg_dim n;
        float *logits[2] = {whole(m, T, NULL, "logits", &n), whole(m, T, edits, "logits", &n)};
        CHECK(p->n_rows == 2 && p->first == 0 && p->n == T);
        for (int r = 0; r < 2; r++)
            for (int t = 0; t < T; t++) {
                const float *x = logits[r] + t * V;
                double sum = 0, entropy = 0;
                for (int v = 0; v < V; v++)
                    sum += exp((double)x[v]);
                for (int v = 0; v < V; v++)
                    entropy -= exp((double)x[v]) / sum * ((double)x[v] - log(sum));
                CHECK_NEAR(p->entropy[r * T + t], entropy, 1e-5, 1e-5);
                for (int i = 0; i < 3; i++)
                    CHECK_NEAR(p->top[(r * T + t) * 3 + i].logit, x[p->top[(r * T + t) * 3 + i].token], 1e-5, 1e-5);
                for (int i = 0; i < 2; i++)
                    CHECK_NEAR(p->tracked[(r * T + t) * 2 + i].logit, x[tracked[i]], 1e-5, 1e-5);
                if (t + 1 < T)
                    CHECK_NEAR(p->loss[r * T + t], log(sum) - (double)x[ids[t + 1]], 1e-5, 1e-5);
                else
                    CHECK(isnan(p->loss[r * T + t]));
            }
        for (int t = 0; t < T; t++) {
            double want = 0, sum[2] = {0};
            for (int r = 0; r < 2; r++)
                for (int v = 0; v < V; v++)
                    sum[r] += exp((double)logits[r][t * V + v]);
            for (int v = 0; v < V; v++)
                want += exp((double)logits[0][t * V + v]) / sum[0] *
                        ((double)logits[0][t * V + v] - log(sum[0]) - (double)logits[1][t * V + v] + log(sum[1]));
            CHECK_NEAR(p->divergence[t], want, 1e-5, 1e-4);
        }
        free(logits[0]);
        free(logits[1]);
        look_prediction_free(p);
    }
    look_prediction *some = predict(glasses, m, NULL, (look_question){.first = 3, .n = 2, .k = 1});
    CHECK(some->n_rows == 1 && some->n == 2 && !some->divergence);
    look_prediction_free(some);
    look_glasses_drop(glasses, m);
    look_glasses_free(glasses);
    sg_model_close(m);
}

static void a_name_stands_for_the_numbers(void **state)
{
    (void)state;
    sg_model *m = llama();
    const char *const a = "[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": 2}]";
    const char *const b = "[{\"op\": \"scale\", \"strength\": 2, \"site\": \"blocks.1.hook_mlp_out\"}]"; /* the same */
    const char *const c = "[{\"site\": \"blocks.1.hook_mlp_out\", \"op\": \"scale\", \"strength\": 2.5}]";
    look *l[5] = {look_at(m, T, NULL), look_at(m, T, json(a)), look_at(m, T, json(b)), look_at(m, T, json(c)),
                  look_at(m, T - 1, NULL)};
    CHECK(strlen(look_id(l[0])) == 16);
    CHECK(strcmp(look_id(l[1]), look_id(l[2])) == 0);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < i; k++)
            CHECK((strcmp(look_id(l[i]), look_id(l[k])) == 0) == (i == 2 && k == 1));
    for (int i = 0; i < 5; i++)
        look_free(l[i]);
    sg_model_close(m);
}

static void what_makes_no_sense_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *edits, *text;
    } bad[] = {
        {"[{\"site\": \"blocks.0.hook_mlp_out\", \"op\": \"set\", \"value\": {\"file\": \"/etc/passwd\"}}]", "file"},
        {"[{\"site\": \"blocks.0.hook_mlp_out\", \"op\": \"scale\", \"rows\": [0]}]", "rows"},
        {"[{\"site\": \"blocks.0.hook_mlp_uot\", \"op\": \"scale\"}]", "nearest"},
        {"[{\"site\": \"blocks.0.hook_mlp_out\", \"op\": \"add\"}]", "value is needed"},
        {"[7]", "no object"},
        {"{}", "a list"},
    };
    sg_model *m = llama();
    look_glasses *glasses;
    look_prediction *p;
    look *l;
    sg_error err;
    CHECK_OK(look_glasses_new(&glasses, 2, &err), &err);
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        json_t *e = json(bad[i].edits);
        sg_tensor t;
        char axes[SG_MAX_DIMS + 1];
        const bool made = look_new(&l, (look_of){m, sg_exec_defaults(), T, ids, 0, e}, &err) == SG_OK;
        CHECK(!made || look_value(l, "logits", NULL, &t, axes, &err) != SG_OK);
        CHECK_TEXT(err.text, bad[i].text);
        if (made)
            look_free(l);
        if (json_is_array(e)) {
            CHECK(look_predict(glasses, (look_of){m, sg_exec_defaults(), T, ids, 0, e}, (look_question){.k = 3}, &p,
                               &err) != SG_OK);
            CHECK_TEXT(err.text, bad[i].text);
        }
        json_decref(e);
    }
    CHECK_STATUS(look_new(&l, (look_of){m, sg_exec_defaults(), 33, ids, 0, NULL}, &err), SG_EARG);
    CHECK_TEXT(err.text, "context is 1 to 32");
    CHECK_STATUS(
        look_predict(glasses, (look_of){m, sg_exec_defaults(), T, ids, 0, NULL}, (look_question){.k = 0}, &p, &err),
        SG_EARG);
    CHECK_STATUS(look_predict(glasses, (look_of){m, sg_exec_defaults(), T, ids, 0, NULL},
                              (look_question){.first = 9, .n = 3, .k = 1}, &p, &err),
                 SG_EARG);
    look_glasses_free(glasses);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_what_a_run_of_the_whole_gives),
        cmocka_unit_test(a_part_of_a_value_is_that_part),
        cmocka_unit_test(statistics_are_those_of_the_finite_numbers),
        cmocka_unit_test(what_a_layer_writes_has_these_norms_and_changes),
        cmocka_unit_test(tiles_are_the_pattern_and_what_is_pooled_from_it),
        cmocka_unit_test(heads_are_measured_by_their_patterns_and_by_what_they_write),
        cmocka_unit_test(the_lens_ends_at_the_logits),
        cmocka_unit_test(the_edited_run_stands_beside_the_unedited),
        cmocka_unit_test(a_name_stands_for_the_numbers),
        cmocka_unit_test(what_makes_no_sense_is_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
