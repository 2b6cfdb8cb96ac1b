/* Heads of small models with fresh weights: what is fetched is what the model computes, of one head alone, and
 * exchanges do to attention what they are to do. */
#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/method.h"
#include "sightglass/ops.h"
#include "sightglass/qk.h"
#include "sightglass/rng.h"

enum { TEXTS = 6, T = 9, V = 17, HEADS = 4, GROUPS = 2, WIDTH = 8, LAYER = 1 };

static int32_t ids[TEXTS][T];

static sg_model *open_config(const char *config)
{
    FILE *f = fopen("qk_config.json", "w");
    sg_model *m;
    sg_error err;
    CHECK(f && fputs(config, f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "qk_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("qk_config.json");
    return m;
}

/* Four heads of queries in two groups of keys, with rotary positions. */
static sg_model *llama(void)
{
    return open_config(
        "{\"model_type\": \"llama\", \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 16, "
        "\"vocab_size\": 17, \"initializer_range\": 0.4, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5}");
}

/* One query a text, at its end; keys at 1 and 4 match and differ on `z`, the other way round in every other text. */
static sg_qk_pairs *pairs_of(const sg_model *m)
{
    FILE *f = fopen("qk_pairs.jsonl", "w");
    sg_rng r = sg_rng_new(4, 0);
    sg_qk_pairs *p;
    sg_error err;
    CHECK(f != NULL);
    for (int i = 0; i < TEXTS; i++) {
        fputs("{\"tokens\": [", f);
        for (int t = 0; t < T; t++) {
            ids[i][t] = (int32_t)sg_rng_below(&r, V);
            fprintf(f, "%s%d", t ? ", " : "", (int)ids[i][t]);
        }
        fprintf(
            f,
            "], \"query\": -1, \"keys\": [{\"at\": 1, \"z\": %s, \"y\": [\"a\", \"b\"]}, {\"at\": 4, \"z\": %s}]}\n\n",
            i % 2 ? "true" : "false", i % 2 ? "false" : "true");
    }
    CHECK(fclose(f) == 0);
    CHECK_OK(sg_qk_pairs_read(&p, m, "qk_pairs.jsonl", &err), &err);
    unlink("qk_pairs.jsonl");
    return p;
}

static sg_qk_job job_of(const sg_model *m, const sg_qk_pairs *p, int head)
{
    static const int first = 0;
    sg_qk_job j = sg_qk_job_defaults();
    j.model = m;
    j.layer = LAYER;
    j.head = head;
    j.pairs = p;
    j.n_factors = 1;
    j.factors = &first;
    j.batch = 4;
    return j;
}

/* Value `name` of a text, in a glass with edits or without. */
static float *value_of(const sg_model *m, int text, const char *name, int n, const sg_edit *edits)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_error err;
    const int32_t *row = ids[text];
    const sg_dim length = T;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    if (n)
        CHECK_OK(sg_glass_edit(glass, n, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, name, &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, &err), &err);
    float *copy = malloc(sg_tensor_bytes(&t));
    CHECK(copy != NULL);
    memcpy(copy, t.data, sg_tensor_bytes(&t));
    sg_glass_free(glass);
    return copy;
}

static void pairs_are_read_as_they_are_written(void **state)
{
    (void)state;
    sg_model *m = llama();
    sg_qk_pairs *p = pairs_of(m), *none;
    sg_error err;
    int f;
    CHECK(p->n_texts == TEXTS && p->n_pairs == 2 * TEXTS && p->n_factors == 2);
    CHECK(p->pairs[0].query == T - 1 && p->pairs[0].key == 1 && p->pairs[1].key == 4 && p->pairs[3].text == 1);
    CHECK(p->pairs[0].match[0] == 0 && p->pairs[1].match[0] == 1 && p->pairs[0].match[1] == 0 &&
          p->pairs[1].match[1] == -1);
    CHECK(strcmp(p->pairs[0].of_query[1], "a") == 0 && strcmp(p->pairs[0].of_key[1], "b") == 0);
    CHECK_STATUS(sg_qk_pairs_find(&f, p, "x", &err), SG_ENOTFOUND);
    CHECK_OK(sg_qk_pairs_find(&f, p, "y", &err), &err);
    CHECK(f == 1);
    sg_qk_pairs_free(p);
    static const struct {
        const char *line, *words;
    } wrong[] = {
        {"{\"tokens\": [1, 2], \"query\": 1, \"keys\": [{\"at\": 2, \"z\": true}]}", "line 1: at is 2, of 2 tokens"},
        {"{\"tokens\": [1, 2], \"query\": 0, \"keys\": [{\"at\": 1, \"z\": true}]}", "lies behind the query"},
        {"{\"tokens\": [1, 2], \"query\": 1, \"keys\": [{\"at\": 1, \"z\": 3}]}", "z is neither true"},
        {"{\"text\": \"one\", \"query\": 1, \"keys\": []}", "no tokenizer"},
        {"[1]", "line 1 is no JSON object"},
        {"{\"tokens\": [1, 2], \"query\": \"one\", \"keys\": []}", "no tokenizer"},
        {"{\"tokens\": [], \"query\": 0, \"keys\": []}", "0 tokens, the model reads 1 to 16"},
        {"", "holds no pairs"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        FILE *file = fopen("qk_wrong.jsonl", "w");
        CHECK(file && fputs(wrong[i].line, file) >= 0 && fclose(file) == 0);
        CHECK_STATUS(sg_qk_pairs_read(&none, m, "qk_wrong.jsonl", &err), SG_EFORMAT);
        CHECK(none == NULL);
        CHECK_TEXT(err.text, wrong[i].words);
    }
    unlink("qk_wrong.jsonl");
    sg_model_close(m);
}

/* q of each head, and k of its group; plain or turned; nothing depends on batches. */
static void vectors_are_those_of_the_head_and_its_group(void **state)
{
    (void)state;
    sg_model *m = llama();
    sg_qk_pairs *p = pairs_of(m);
    sg_error err;
    static const char *const names[2][2] = {{"blocks.1.attn.hook_q", "blocks.1.attn.hook_k"},
                                            {"blocks.1.attn.hook_rot_q", "blocks.1.attn.hook_rot_k"}};
    for (int place = 0; place < 2; place++)
        for (int head = 0; head < HEADS; head++) {
            sg_qk_job j = job_of(m, p, head);
            float *q, *k;
            j.place = (sg_qk_place)place;
            CHECK_OK(sg_qk_vectors(&q, &k, &j, &err), &err);
            for (int i = 0; i < 2 * TEXTS; i++) {
                float *all_q = value_of(m, i / 2, names[place][0], 0, NULL),
                      *all_k = value_of(m, i / 2, names[place][1], 0, NULL);
                for (int d = 0; d < WIDTH; d++) {
                    CHECK_NEAR(q[i * WIDTH + d], all_q[((T - 1) * HEADS + head) * WIDTH + d], 1e-5, 1e-5);
                    CHECK_NEAR(k[i * WIDTH + d], all_k[((i % 2 ? 4 : 1) * GROUPS + head / 2) * WIDTH + d], 1e-5, 1e-5);
                }
                free(all_q);
                free(all_k);
            }
            free(q);
            free(k);
        }
    sg_qk_pairs_free(p);
    sg_model_close(m);
}

/* Of the layer's projections one head's rows, of the blocks before all, and nothing behind: no scores, no other head. A
 * plan that fetches the whole of hook_q and hook_k holds more by the heads that are not asked for. */
static void one_head_materialises_no_other(void **state)
{
    (void)state;
    sg_model *m = llama();
    sg_error err;
    sg_tensor got[2];
    const sg_dim length = T;
    const int32_t *row = ids[0];
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    size_t fetched[2];
    for (int whole = 0; whole < 2; whole++) {
        sg_glass *glass;
        sg_value *v[2];
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        sg_graph *g = sg_glass_graph(glass);
        CHECK_OK(sg_glass_find(glass, "blocks.0.attn.hook_q", &v[0], &err), &err);
        CHECK_OK(sg_glass_find(glass, "blocks.0.attn.hook_k", &v[1], &err), &err);
        for (int i = 0; i < 2 && !whole; i++)
            v[i] = sg_slice(g, v[i], 2, 1, 2, 1);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, v, got, &err), &err);
        const sg_plan *plan = sg_session_plan(sg_glass_session(glass));
        fetched[whole] = sg_plan_fetched_bytes(plan);
        for (int i = 0; i < sg_plan_n_steps(plan); i++) {
            const char *name = sg_plan_step_name(plan, i);
            CHECK(!strstr(name, "pattern") && !strstr(name, "attn_scores") && !strstr(name, "mlp") &&
                  !strstr(name, "blocks.1"));
            /* The values of all heads are not among the steps. */
            CHECK(whole || (strcmp(name, "blocks.0.attn.hook_q") != 0 && strcmp(name, "blocks.0.attn.hook_k") != 0));
        }
        sg_glass_free(glass);
    }
    CHECK(fetched[1] >= 3 * fetched[0]); /* 6 heads to 2 */
    sg_model_close(m);
}

/* Exchanging whole keys moves all of the attention, in no subspace none; and the edit does the same to the logits as
 * feeding the exchanged keys. */
static void exchanges_move_attention(void **state)
{
    (void)state;
    sg_model *m = llama();
    sg_qk_pairs *p = pairs_of(m);
    sg_qk_job j = job_of(m, p, 3);
    sg_qk *qk;
    sg_error err;
    double rows[WIDTH * WIDTH], before[2];
    int64_t n;
    sg_qk_moved moved[4];
    j.place = SG_QK_TURNED;
    CHECK_OK(sg_qk_contrast(&qk, &j, &err), &err);
    CHECK(qk->group == 1 && qk->width == WIDTH && qk->least_offset == 4 && qk->most_offset == 7 && qk->n_steps > 0);
    CHECK(strcmp(qk->key_site, "blocks.1.attn.hook_rot_k") == 0);
    CHECK_OK(sg_qk_random(rows, WIDTH, WIDTH, 1, 0, &err), &err);
    const sg_qk_basis bases[4] = {{WIDTH, rows}, {0, rows}, {3, rows}, {WIDTH - 3, rows + 3 * WIDTH}};
    CHECK_OK(sg_qk_swaps(moved, before, &n, &j, qk, 0, 4, bases, &err), &err);
    CHECK(n == TEXTS && before[0] > 0 && before[1] > 0);
    CHECK_NEAR(moved[0].attention, 1, 1e-4, 0);
    CHECK_NEAR(moved[0].scores, 1, 1e-4, 0);
    CHECK(moved[1].attention == 0 && moved[1].scores == 0); /* bit for bit */
    /* Scores are linear in keys: the parts in a subspace and in what is orthogonal to it are all. */
    CHECK_NEAR(moved[2].scores + moved[3].scores, 1, 1e-4, 0);
    CHECK(fabs(moved[2].scores) > 1e-3);

    float *keys = value_of(m, 2, qk->key_site, 0, NULL), of_group[T * WIDTH], *plain, *edited, *back;
    for (int t = 0; t < T; t++)
        memcpy(of_group + t * WIDTH, keys + (t * GROUPS + 1) * WIDTH, WIDTH * sizeof(float));
    sg_qk_swap *swap, *again, *none;
    CHECK_OK(sg_qk_swap_new(&swap, qk, GROUPS, &bases[2], T, of_group, 1, 4, &err), &err);
    CHECK_OK(sg_qk_swap_new(&none, qk, GROUPS, &bases[1], T, of_group, 1, 4, &err), &err);
    for (int t = 0; t < T; t++) /* the keys as they are with the edit, exchanged once more */
        memcpy(of_group + t * WIDTH, swap->value + (t * GROUPS + 1) * WIDTH, WIDTH * sizeof(float));
    CHECK_OK(sg_qk_swap_new(&again, qk, GROUPS, &bases[2], T, of_group, 1, 4, &err), &err);
    static const char scores[] = "blocks.1.attn.hook_attn_scores";
    plain = value_of(m, 2, scores, 0, NULL);
    edited = value_of(m, 2, scores, 1, &swap->edit);
    back = value_of(m, 2, scores, 2, (sg_edit[]){swap->edit, again->edit});
    float *same = value_of(m, 2, scores, 1, &none->edit);
    double changed = 0;
    for (int i = 0; i < HEADS * T * T; i++) {
        if (isinf(plain[i]))
            continue;
        const int head = i / (T * T), key = i % T;
        const bool touched = head >= 2 && (key == 1 || key == 4); /* the group's heads, the two keys */
        CHECK(touched || edited[i] == plain[i]);
        CHECK(same[i] == plain[i]);
        CHECK_NEAR(back[i], plain[i], 1e-5, 1e-5);
        changed = fmax(changed, fabs((double)edited[i] - (double)plain[i]));
    }
    CHECK(changed > 1e-2);
    sg_qk_swap_free(none);
    CHECK_STATUS(sg_qk_swap_new(&none, qk, GROUPS, &bases[1], T, of_group, 1, T, &err), SG_EARG);
    sg_qk_swap_free(swap);
    sg_qk_swap_free(again);
    free(keys);
    free(plain);
    free(edited);
    free(back);
    free(same);
    sg_qk_free(qk);
    sg_qk_pairs_free(p);
    sg_model_close(m);
}

/* In all of the space nothing is left, in a part of it something is. */
static void all_of_the_space_explains_all(void **state)
{
    (void)state;
    sg_model *m = llama();
    sg_qk_pairs *p = pairs_of(m);
    const sg_qk_job j = job_of(m, p, 0);
    double rows[WIDTH * WIDTH], explained, by_random, share[2];
    sg_error err;
    CHECK_OK(sg_qk_random(rows, WIDTH, WIDTH, 1, 0, &err), &err);
    CHECK_OK(
        sg_qk_explained(&explained, &by_random, share, &j, 2, (sg_qk_basis[]){{3, rows}, {5, rows + 3 * WIDTH}}, &err),
        &err);
    CHECK_NEAR(explained, 1, 1e-9, 0);
    CHECK_NEAR(by_random, 1, 1e-9, 0);
    CHECK_OK(sg_qk_explained(&explained, &by_random, share, &j, 1, (sg_qk_basis[]){{3, rows}}, &err), &err);
    CHECK(explained < 1 - 1e-3 && share[0] > 0);
    sg_qk_pairs_free(p);
    sg_model_close(m);
}

static void families_without_rotation_and_with_norms_are_told_apart(void **state)
{
    (void)state;
    sg_error err;
    float *q, *k;
    sg_model *gpt2 =
        open_config("{\"model_type\": \"gpt2\", \"n_embd\": 32, \"n_layer\": 2, \"n_head\": 4, \"n_positions\": 16, "
                    "\"vocab_size\": 17}");
    sg_qk_pairs *p = pairs_of(gpt2);
    sg_qk_job j = job_of(gpt2, p, 2);
    j.place = SG_QK_TURNED; /* nothing turns: hook_k it is */
    sg_qk *qk;
    CHECK_OK(sg_qk_contrast(&qk, &j, &err), &err);
    CHECK(strcmp(qk->key_site, "blocks.1.attn.hook_k") == 0 && qk->group == 2);
    sg_qk_free(qk);
    j.head = 4;
    CHECK_STATUS(sg_qk_contrast(&qk, &j, &err), SG_EARG);
    CHECK_TEXT(err.text, "head 1.4 of a model with 2 layers of 4 heads");
    sg_qk_pairs_free(p);
    sg_model_close(gpt2);
    sg_model *qwen = open_config(
        "{\"model_type\": \"qwen3\", \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8, "
        "\"max_position_embeddings\": 16, \"vocab_size\": 17, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6}");
    p = pairs_of(qwen);
    j = job_of(qwen, p, 2);
    CHECK_STATUS(sg_qk_vectors(&q, &k, &j, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "taken turned");
    j.place = SG_QK_TURNED;
    CHECK_OK(sg_qk_vectors(&q, &k, &j, &err), &err);
    free(q);
    free(k);
    static const volatile sig_atomic_t stop = 1;
    j.cancel = &stop;
    CHECK_STATUS(sg_qk_contrast(&qk, &j, &err), SG_ECANCELLED);
    sg_qk_pairs_free(p);
    sg_model_close(qwen);
}

/* The command on a model of stories: where a name comes again, a head of its second layer looks at the same name by two
 * directions of eight. Every number has its control; what cannot be is said. */
static void the_command_finds_a_head_that_looks_at_the_same_name(void **state)
{
    (void)state;
    char path[1024];
    sg_result *r;
    sg_error err;
    sg_method_ask ask = sg_method_ask_defaults();
    const char *input = sg_test_shared(path, "models/stories260K");
    SKIP_WITHOUT(input, "shared/models/stories260K");
    sg_setting settings[] = {{"head", "2.4"},
                             {"pairs", SG_SOURCE_DIR "/examples/qk-pairs.jsonl"},
                             {"factor", "same,first"},
                             {"centred", "yes"},
                             {"draws", "2"}};
    ask.n_inputs = 1;
    ask.inputs = &input;
    ask.n_settings = 5;
    ask.settings = settings;
    ask.out = "qk_artefact";
    ask.exec.n_threads = 1;
    CHECK_OK(sg_method_do(&r, sg_method_find("qk", NULL), &ask, &err), &err);
    CHECK(sg_result_n_findings(r) == 4 + 8 + 2);
    for (int i = 0; i < sg_result_n_findings(r); i++) {
        const sg_finding *f = sg_result_finding(r, i);
        if (strcmp(f->where, "same") == 0 && strcmp(f->id, "sigma") == 0)
            CHECK(f->value > 10 * f->control_value);
        if (strcmp(f->where, "same") == 0 && strcmp(f->id, "rank") == 0)
            CHECK(f->value == 2);
        if (strcmp(f->where, "same, keys exchanged in its subspace") == 0 && strcmp(f->id, "moved-scores") == 0)
            CHECK(f->value > .7 && f->value > f->control_value);
    }
    sg_result_free(r);
    CHECK(access("qk_artefact/qk.safetensors", R_OK) == 0 && access("qk_artefact/manifest.json", R_OK) == 0);
    sg_test_remove_all("qk_artefact");
    ask.out = NULL;
    settings[2].value = "sama";
    CHECK_STATUS(sg_method_do(&r, sg_method_find("qk", NULL), &ask, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "the nearest is same");
    settings[0].value = "two";
    CHECK_STATUS(sg_method_do(&r, sg_method_find("qk", NULL), &ask, &err), SG_EARG);
    CHECK_TEXT(err.text, "LAYER.HEAD");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_read_as_they_are_written),
        cmocka_unit_test(vectors_are_those_of_the_head_and_its_group),
        cmocka_unit_test(one_head_materialises_no_other),
        cmocka_unit_test(exchanges_move_attention),
        cmocka_unit_test(all_of_the_space_explains_all),
        cmocka_unit_test(families_without_rotation_and_with_norms_are_told_apart),
        cmocka_unit_test(the_command_finds_a_head_that_looks_at_the_same_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
