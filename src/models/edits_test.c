/* What must hold of any edit: random ones, at random sites of a real model, against the same thing done another way. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/model.h"
#include "sightglass/rng.h"

#define MAX_ROWS    4
#define MAX_TIME    16
#define MAX_VOCAB   512
#define MAX_FEATURE 256
#define ROUNDS      30

/* Logits are near 10; what reorders sums (another batch, the cache) moves them in the seventh digit. */
#define NEAR 3e-4

typedef struct made {
    sg_edit e;
    char site[64];
    sg_span heads, positions[2], rows;
    float value[MAX_TIME * MAX_FEATURE];
} made;

typedef struct answer {
    sg_dim time, vocab;
    float logits[MAX_ROWS * MAX_TIME * MAX_VOCAB];
} answer;

static answer a, b; /* too large for the stack */

static int32_t ids[MAX_ROWS][MAX_TIME];
static const int32_t *const id_rows[MAX_ROWS] = {ids[0], ids[1], ids[2], ids[3]};

static sg_model *open_model(void)
{
    char path[1024];
    sg_error err;
    sg_model *m;

    if (!sg_test_shared(path, "models/stories260K")) {
        print_message("skipped: the model stories260K is not here\n");
        skip();
        return NULL;
    }
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK(sg_model_get_info(m)->n_vocab <= MAX_VOCAB && sg_model_get_info(m)->d_mlp <= MAX_FEATURE);
    return m;
}

static void draw_tokens(sg_rng *r)
{
    for (int i = 0; i < MAX_ROWS; i++)
        for (int t = 0; t < MAX_TIME; t++)
            ids[i][t] = t ? 3 + (int32_t)sg_rng_below(r, 509) : 1;
}

static sg_rows one_row(const sg_dim *n)
{
    return (sg_rows){.n_rows = 1, .tokens = id_rows, .lengths = n};
}

static void fill(sg_rng *r, float *x, sg_dim n)
{
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)sg_rng_normal(r);
}

/* Any of the ops that take a vector, at any of five kinds of sites. The edit points into *m. */
static void draw_edit(sg_rng *r, const sg_model_info *info, sg_dim time, made *m)
{
    static const struct {
        const char *name;
        bool heads;
    } kinds[] = {{"hook_resid_pre", false}, {"hook_resid_post", false}, {"attn.hook_z", true},
                 {"mlp.hook_post", false},  {"hook_attn_out", false}};
    const uint32_t kind = sg_rng_below(r, SG_COUNT_OF(kinds));
    const bool heads = kinds[kind].heads;
    const sg_dim width = heads ? info->d_head : strcmp(kinds[kind].name, "mlp.hook_post") == 0 ? info->d_mlp : info->d_model;
    const sg_dim h = info->n_heads;
    sg_edit *e = &m->e;

    *e = sg_edit_defaults();
    snprintf(m->site, sizeof m->site, "blocks.%d.%s", (int)sg_rng_below(r, (uint32_t)info->n_layers), kinds[kind].name);
    e->site = m->site;
    e->op = (sg_edit_op)sg_rng_below(r, SG_EDIT_CLAMP + 1);
    e->strength = sg_rng_below(r, 4) == 0 ? 1 : 3 * sg_rng_uniform(r) - 1;
    fill(r, m->value, time * width * (heads ? h : 1));
    if (e->op == SG_EDIT_CLAMP) {
        e->low = -sg_rng_uniform(r);
        e->high = sg_rng_uniform(r);
    }
    if (e->op == SG_EDIT_PROJECT) {
        e->value = sg_tensor_of(SG_F32, 2, (sg_dim[]){1 + sg_rng_below(r, 3), width}, m->value);
    } else if (e->op == SG_EDIT_SET || e->op == SG_EDIT_ADD || sg_rng_below(r, 2)) {
        const uint32_t form = e->op == SG_EDIT_CLAMP ? 0 : sg_rng_below(r, 4);
        if (form == 1)
            e->value = sg_tensor_of(SG_F32, 0, NULL, m->value);
        else if (form == 2 && heads)
            e->value = sg_tensor_of(SG_F32, 2, (sg_dim[]){h, width}, m->value);
        else if (form == 3 && heads)
            e->value = sg_tensor_of(SG_F32, 3, (sg_dim[]){time, h, width}, m->value);
        else if (form == 3)
            e->value = sg_tensor_of(SG_F32, 2, (sg_dim[]){time, width}, m->value);
        else
            e->value = sg_tensor_of(SG_F32, 1, &width, m->value);
    }
    if (heads && sg_rng_below(r, 2)) {
        m->heads.first = sg_rng_below(r, (uint32_t)h);
        m->heads.last = m->heads.first + sg_rng_below(r, (uint32_t)(h - m->heads.first));
        e->heads = (sg_spans){1, &m->heads};
    }
    if (sg_rng_below(r, 2)) {
        m->positions[0].first = sg_rng_below(r, (uint32_t)time);
        m->positions[0].last = m->positions[0].first + sg_rng_below(r, (uint32_t)(time - m->positions[0].first));
        m->positions[1] = (sg_span){-1, -1};
        e->positions = (sg_spans){1 + (int)sg_rng_below(r, 2), m->positions};
    }
}

static const char *describe(const sg_edit *e)
{
    static char text[160];

    snprintf(text, sizeof text, "%s at %s, strength %.4g, %d axes, %d positions, %d heads", sg_edit_op_name(e->op), e->site,
             e->strength, e->value.data ? e->value.n_dims : -1, e->positions.n, e->heads.n);
    return text;
}

static void keep(answer *to, const sg_tensor *logits, sg_dim before)
{
    const size_t count = (size_t)sg_tensor_count(logits);

    to->vocab = logits->dims[2];
    to->time = before + logits->dims[1];
    CHECK((size_t)(before * to->vocab) + count <= SG_COUNT_OF(to->logits));
    memcpy(to->logits + before * to->vocab, logits->data, count * sizeof(float));
}

static void run_glass(sg_glass *glass, const sg_rows *rows, answer *to)
{
    sg_error err;
    sg_value *logits;
    sg_tensor out;

    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    CHECK_OK(sg_glass_run(glass, rows, 0, NULL, 1, &logits, &out, &err), &err);
    keep(to, &out, 0);
}

static sg_glass *edited_glass(const sg_model *m, int n, const sg_edit *edits)
{
    sg_error err;
    sg_glass *glass;

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    if (n)
        CHECK_OK(sg_glass_edit(glass, n, edits, &err), &err);
    return glass;
}

static void whole(const sg_model *m, int n, const sg_edit *edits, const sg_rows *rows, answer *to)
{
    sg_glass *glass = edited_glass(m, n, edits);

    run_glass(glass, rows, to);
    sg_glass_free(glass);
}

/* The prompt in one piece, then token by token. */
static void by_cache(const sg_model *m, int n, const sg_edit *edits, sg_dim prompt, sg_dim time, answer *to)
{
    sg_error err;
    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;
    sg_glass_opts opts = sg_glass_defaults();

    opts.capacity = time;
    CHECK_OK(sg_glass_new(&glass, m, opts, &err), &err);
    CHECK_OK(sg_glass_edit(glass, n, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    for (sg_dim at = 0; at < time;) {
        const sg_dim length = at ? 1 : prompt;
        const int32_t *piece = ids[0] + at;
        const sg_rows rows = {.n_rows = 1, .tokens = &piece, .lengths = &length};
        CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
        keep(to, &out, at);
        at += length;
    }
    sg_glass_free(glass);
}

/* n positions from `from` of a row in one answer, and from `from_y` of row_y in the other. */
static void same_at(const answer *x, sg_dim row, sg_dim from, const answer *y, sg_dim row_y, sg_dim from_y, sg_dim n,
                    double tol, const char *what)
{
    double worst = 0;

    CHECK(x->vocab == y->vocab);
    for (sg_dim i = 0; i < n * x->vocab; i++) {
        const double p = (double)x->logits[(row * x->time + from) * x->vocab + i];
        const double q = (double)y->logits[(row_y * y->time + from_y) * x->vocab + i];
        worst = isfinite(p) && isfinite(q) ? fmax(worst, fabs(p - q)) : (double)INFINITY;
    }
    if (worst > tol)
        print_error("%s\n", what);
    CHECK_NEAR(worst, 0, tol, 0);
}

static bool bit_equal(const answer *x, const answer *y, sg_dim rows)
{
    return x->time == y->time && x->vocab == y->vocab &&
           memcmp(x->logits, y->logits, (size_t)(rows * x->time * x->vocab) * sizeof(float)) == 0;
}

/* An edit has to do something for these tests to mean anything: what it changed at most. */
static double moved(const answer *x, const answer *y)
{
    double most = 0;

    for (sg_dim i = 0; i < x->time * x->vocab; i++)
        most = fmax(most, fabs((double)x->logits[i] - (double)y->logits[i]));
    return most;
}

static void through_the_cache_an_edit_is_the_same(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(1, 0);
    static made edit[2];
    sg_edit both[2];

    for (int round = 0; round < ROUNDS; round++) {
        const sg_dim time = 6 + sg_rng_below(&r, MAX_TIME - 6), prompt = 1 + sg_rng_below(&r, (uint32_t)time - 2);
        const sg_rows rows = one_row(&time);
        draw_tokens(&r);
        for (int k = 0; k < 2; k++) {
            draw_edit(&r, sg_model_get_info(m), time, &edit[k]);
            both[k] = edit[k].e;
        }
        by_cache(m, 2, both, prompt, time, &a);
        /* Without a cache the whole is the prompt, so its last token is another one. */
        edit[0].positions[1] = edit[1].positions[1] = (sg_span){prompt - 1, prompt - 1};
        whole(m, 2, both, &rows, &b);
        same_at(&a, 0, 0, &b, 0, 0, time, NEAR, describe(&both[1]));
    }
    sg_model_close(m);
}

/* Step 0 is the prompt, step k the k-th token after it; a run without a cache is all step 0. */
static void steps_are_positions_behind_the_prompt(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(2, 0);
    const sg_dim time = 10, prompt = 4;
    const sg_rows rows = one_row(&time);
    static made edit;
    static const sg_span steps[] = {{0, 0}, {1, 1}, {2, 4}}, places[] = {{0, 3}, {4, 4}, {5, 7}};

    draw_tokens(&r);
    for (int round = 0; round < 12; round++) {
        draw_edit(&r, sg_model_get_info(m), time, &edit);
        edit.e.positions = (sg_spans){0};
        edit.e.steps = (sg_spans){1, &steps[round % 3]};
        by_cache(m, 1, &edit.e, prompt, time, &a);
        edit.e.steps = (sg_spans){0};
        edit.e.positions = (sg_spans){1, &places[round % 3]};
        whole(m, 1, &edit.e, &rows, &b);
        same_at(&a, 0, 0, &b, 0, 0, time, NEAR, describe(&edit.e));
    }
    edit.e.positions = (sg_spans){0};
    edit.e.steps = (sg_spans){1, &steps[1]};
    whole(m, 1, &edit.e, &rows, &a);
    whole(m, 0, NULL, &rows, &b);
    CHECK(bit_equal(&a, &b, 1));
    sg_model_close(m);
}

static void an_edit_of_one_row_is_that_row_alone(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(3, 0);
    static made edit[MAX_ROWS];
    sg_edit all[MAX_ROWS];

    for (int round = 0; round < ROUNDS / 3; round++) {
        const sg_dim time = 5 + sg_rng_below(&r, MAX_TIME - 5), lengths[MAX_ROWS] = {time, time, time, time};
        const sg_rows rows = {.n_rows = MAX_ROWS, .tokens = id_rows, .lengths = lengths};
        draw_tokens(&r);
        for (int k = 0; k < MAX_ROWS; k++) {
            draw_edit(&r, sg_model_get_info(m), time, &edit[k]);
            all[k] = edit[k].e;
            edit[k].rows = (sg_span){k, k};
            all[k].rows = (sg_spans){1, &edit[k].rows};
        }
        whole(m, MAX_ROWS, all, &rows, &a);
        for (int k = 0; k < MAX_ROWS; k++) {
            const sg_rows alone = {.n_rows = 1, .tokens = &id_rows[k], .lengths = &time};
            whole(m, 1, &edit[k].e, &alone, &b);
            same_at(&a, k, 0, &b, 0, 0, time, NEAR, describe(&edit[k].e));
        }
    }
    sg_model_close(m);
}

static void a_value_by_row_is_that_value_for_each_row(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(4, 0);
    const sg_dim time = 5, d = sg_model_get_info(m)->d_model, lengths[3] = {5, 5, 5};
    const sg_rows rows = {.n_rows = 3, .tokens = id_rows, .lengths = lengths};
    static float value[3 * 5 * MAX_FEATURE];
    sg_edit e = sg_edit_defaults();
    sg_error err;

    draw_tokens(&r);
    fill(&r, value, 3 * time * d);
    e.site = "blocks.1.hook_resid_mid";
    e.op = SG_EDIT_ADD;
    e.value = sg_tensor_of(SG_F32, 3, (sg_dim[]){3, time, d}, value);
    whole(m, 1, &e, &rows, &a);
    for (int k = 0; k < 3; k++) {
        const sg_rows alone = {.n_rows = 1, .tokens = &id_rows[k], .lengths = &time};
        sg_edit mine = e;
        mine.value = sg_tensor_of(SG_F32, 2, (sg_dim[]){time, d}, value + k * time * d);
        whole(m, 1, &mine, &alone, &b);
        same_at(&a, k, 0, &b, 0, 0, time, NEAR, "a value [B,T,D]");
    }
    sg_glass *glass = edited_glass(m, 1, &e);
    sg_value *logits;
    sg_tensor out;
    const sg_rows two = {.n_rows = 2, .tokens = id_rows, .lengths = lengths};
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    CHECK_STATUS(sg_glass_run(glass, &two, 0, NULL, 1, &logits, &out, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "edit 0");
    CHECK_TEXT(err.text, "3 rows");
    sg_glass_free(glass);
    sg_model_close(m);
}

static void padding_does_not_show(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(5, 0);
    static made edit;

    for (int round = 0; round < ROUNDS / 2; round++) {
        sg_dim lengths[3], most = 0;
        for (int k = 0; k < 3; k++) {
            lengths[k] = 2 + sg_rng_below(&r, MAX_TIME - 2);
            most = SG_MAX(most, lengths[k]);
        }
        draw_tokens(&r);
        draw_edit(&r, sg_model_get_info(m), most, &edit);
        sg_rows rows = {.n_rows = 3, .tokens = id_rows, .lengths = lengths};
        for (int left = 0; left < 2; left++) {
            rows.pad_left = left;
            whole(m, 1, &edit.e, &rows, &a);
            for (int k = 0; k < 3; k++) {
                const sg_rows alone = {.n_rows = 1, .tokens = &id_rows[k], .lengths = &lengths[k]};
                whole(m, 1, &edit.e, &alone, &b);
                same_at(&a, k, left ? most - lengths[k] : 0, &b, 0, 0, lengths[k], NEAR, describe(&edit.e));
            }
        }
    }
    sg_model_close(m);
}

static void strength_is_a_number_of_each_run_and_0_adds_nothing(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(6, 0);
    const sg_dim time = 9;
    const sg_rows rows = one_row(&time);
    static made edit;
    static answer c;
    sg_error err;

    draw_tokens(&r);
    whole(m, 0, NULL, &rows, &b);
    for (int round = 0; round < ROUNDS / 2; round++) {
        draw_edit(&r, sg_model_get_info(m), time, &edit);
        edit.e.op = SG_EDIT_ADD;
        edit.e.strength = 0;
        if (!edit.e.value.data)
            edit.e.value = sg_tensor_of(SG_F32, 0, NULL, edit.value);
        if (edit.e.value.n_dims > 1) /* directions of `project` */
            edit.e.value = sg_tensor_of(SG_F32, 1, &edit.e.value.dims[edit.e.value.n_dims - 1], edit.value);
        sg_glass *glass = edited_glass(m, 1, &edit.e);
        run_glass(glass, &rows, &a);
        CHECK(bit_equal(&a, &b, 1));
        const sg_plan *plan = sg_session_plan(sg_glass_session(glass));
        CHECK_OK(sg_edits_strength(sg_glass_edits(glass), 0, 2.5, &err), &err);
        run_glass(glass, &rows, &a);
        CHECK(sg_session_plan(sg_glass_session(glass)) == plan);
        CHECK(moved(&a, &b) > 1e-6);
        edit.e.strength = 2.5;
        whole(m, 1, &edit.e, &rows, &c);
        CHECK(bit_equal(&a, &c, 1));
        CHECK_STATUS(sg_edits_strength(sg_glass_edits(glass), 1, 0, &err), SG_EARG);
        sg_glass_free(glass);
    }
    sg_model_close(m);
}

/* Edits of one site come after one another, in the order of the list. */
static void edits_of_one_site_are_made_in_order(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(7, 0);
    const sg_dim time = 6, d = sg_model_get_info(m)->d_model;
    const sg_rows rows = one_row(&time);
    static float value[MAX_FEATURE], doubled[MAX_FEATURE];
    sg_edit e[2] = {sg_edit_defaults(), sg_edit_defaults()};

    draw_tokens(&r);
    fill(&r, value, d);
    for (sg_dim i = 0; i < d; i++)
        doubled[i] = 2 * value[i];
    e[0].site = e[1].site = "blocks.2.hook_resid_post";
    e[0].op = SG_EDIT_ADD;
    e[0].value = sg_tensor_of(SG_F32, 1, &d, value);
    e[1].op = SG_EDIT_SCALE;
    e[1].strength = 2;
    whole(m, 2, e, &rows, &a);
    e[0] = e[1];
    e[1] = sg_edit_defaults();
    e[1].site = e[0].site;
    e[1].op = SG_EDIT_ADD;
    e[1].value = sg_tensor_of(SG_F32, 1, &d, doubled);
    whole(m, 2, e, &rows, &b);
    CHECK(bit_equal(&a, &b, 1)); /* 2 (x + v) and 2 x + 2 v round alike */
    whole(m, 0, NULL, &rows, &b);
    CHECK(moved(&a, &b) > 1e-3);
    sg_model_close(m);
}

/* At every site that has rows and positions, attention included. */
static void setting_what_was_there_changes_nothing(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(8, 0);
    const sg_dim time = 8;
    const sg_rows rows = one_row(&time);
    static const char *const sites[] = {"hook_embed", "blocks.0.hook_resid_pre", "blocks.1.ln1.hook_normalized",
                                        "blocks.1.attn.hook_q", "blocks.1.attn.hook_rot_k", "blocks.3.attn.hook_v",
                                        "blocks.3.attn.hook_attn_scores", "blocks.3.attn.hook_pattern", "blocks.2.attn.hook_z",
                                        "blocks.2.hook_attn_out", "blocks.2.hook_resid_mid", "blocks.4.mlp.hook_pre",
                                        "blocks.4.mlp.hook_post", "blocks.4.hook_mlp_out", "blocks.4.hook_resid_post"};
    sg_error err;

    draw_tokens(&r);
    whole(m, 0, NULL, &rows, &b);
    for (size_t s = 0; s < SG_COUNT_OF(sites); s++) {
        sg_glass *plain = edited_glass(m, 0, NULL);
        sg_value *site;
        sg_tensor out;
        CHECK_OK(sg_glass_find(plain, sites[s], &site, &err), &err);
        CHECK_OK(sg_glass_run(plain, &rows, 0, NULL, 1, &site, &out, &err), &err);
        sg_edit e = sg_edit_defaults();
        e.site = sites[s];
        e.op = SG_EDIT_SET;
        e.value = strchr(sg_value_axes(site), 's') ? out : sg_tensor_of(out.dtype, out.n_dims - 1, out.dims + 1, out.data);
        whole(m, 1, &e, &rows, &a);
        /* Within attention a splice has it computed step by step, which rounds otherwise; elsewhere the bytes are the same. */
        const double tol = strchr(sg_value_axes(site), 's') ? NEAR : 0;
        same_at(&a, 0, 0, &b, 0, 0, time, tol, sites[s]);
        sg_glass_free(plain);

        /* The same from a list that names a run of the same tokens. */
        sg_str json = {0};
        sg_edit_list *list;
        sg_str_printf(&json, "[{\"site\": \"%s\", \"op\": \"patch\", \"value\": {\"run\": {\"tokens\": [", sites[s]);
        for (sg_dim t = 0; t < time; t++)
            sg_str_printf(&json, "%s%d", t ? ", " : "", ids[0][t]);
        sg_str_puts(&json, "]}}}]");
        CHECK(!json.failed);
        CHECK_OK(sg_edit_list_parse(&list, json.text, json.bytes, "patch", &err), &err);
        sg_str_free(&json);
        sg_glass *glass = edited_glass(m, 0, NULL);
        CHECK_OK(sg_glass_edit_list(glass, list, &err), &err);
        run_glass(glass, &rows, &a);
        same_at(&a, 0, 0, &b, 0, 0, time, tol, sites[s]);
        sg_glass_free(glass);
        sg_edit_list_free(list);
    }
    sg_model_close(m);
}

static void a_patch_from_a_run_of_the_same_text_changes_nothing(void **state)
{
    (void)state;
    sg_model *m = open_model();
    static const char text[] = "Once upon a time there was a";
    static const char json[] = "[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"patch\", \"value\": {\"run\": {\"text\":"
                               " \"Once upon a time there was a\"}}},"
                               " {\"site\": \"blocks.3.attn.hook_z\", \"op\": \"patch\", \"positions\": [-1], \"value\": {\"run\":"
                               " {\"text\": \"Once upon a time there was a\"}, \"position\": -1}}]";
    sg_tokens tokens = {0};
    sg_edit_list *list;
    sg_error err;

    if (!sg_model_tokenizer(m)) {
        print_message("skipped: the model has no tokenizer\n");
        skip();
    }
    CHECK_OK(sg_tokenizer_encode(sg_model_tokenizer(m), text, sg_encode_defaults(), &tokens, &err), &err);
    const int32_t *row = tokens.ids;
    const sg_dim n = tokens.n;
    CHECK(n <= MAX_TIME);
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
    whole(m, 0, NULL, &rows, &b);
    CHECK_OK(sg_edit_list_parse(&list, json, strlen(json), "patch", &err), &err);
    sg_glass *glass = edited_glass(m, 0, NULL);
    CHECK_OK(sg_glass_edit_list(glass, list, &err), &err);
    run_glass(glass, &rows, &a);
    CHECK(bit_equal(&a, &b, 1));
    sg_glass_free(glass);
    sg_edit_list_free(list);
    sg_tokens_free(&tokens);
    sg_model_close(m);
}

/* The pattern is 0 at a masked key, and what is left of each row sums to 1; with a cache too. */
static void masked_keys_are_not_looked_at(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(9, 0);
    const sg_dim time = 9, h = sg_model_get_info(m)->n_heads;
    const sg_rows rows = one_row(&time);
    static const sg_span keys[] = {{2, 3}, {6, 6}}, head = {1, 4};
    sg_edit e = sg_edit_defaults();
    sg_value *pattern;
    sg_tensor out;
    sg_error err;

    draw_tokens(&r);
    e.site = "blocks.1.attn.hook_attn_scores";
    e.op = SG_EDIT_MASK;
    e.keys = (sg_spans){2, keys};
    e.heads = (sg_spans){1, &head};
    sg_glass *glass = edited_glass(m, 1, &e);
    CHECK_OK(sg_glass_find(glass, "blocks.1.attn.hook_pattern", &pattern, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &pattern, &out, &err), &err);
    for (sg_dim head_at = 0; head_at < h; head_at++)
        for (sg_dim q = 0; q < time; q++) {
            double sum = 0;
            for (sg_dim k = 0; k < time; k++) {
                const double p = sg_tensor_get(&out, (head_at * time + q) * time + k);
                const bool masked = (k == 2 || k == 3 || k == 6) && head_at >= 1 && head_at <= 4;
                CHECK((p == 0) == (masked || k > q));
                sum += p;
            }
            CHECK_NEAR(sum, 1, 1e-6, 0);
        }
    run_glass(glass, &rows, &a);
    sg_glass_free(glass);
    by_cache(m, 1, &e, 4, time, &b);
    same_at(&a, 0, 0, &b, 0, 0, time, NEAR, "mask of keys");

    /* At the pattern the rest is left as it was. */
    e.site = "blocks.1.attn.hook_pattern";
    glass = edited_glass(m, 1, &e);
    sg_value *both[2];
    sg_tensor outs[2];
    CHECK_OK(sg_glass_find(glass, "blocks.1.attn.hook_pattern", &both[0], &err), &err);
    CHECK_OK(sg_glass_find(glass, "blocks.1.attn.hook_pattern.unedited", &both[1], &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, both, outs, &err), &err);
    for (sg_dim i = 0; i < sg_tensor_count(&outs[0]); i++) {
        const sg_dim k = i % time, at = i / time / time;
        const bool masked = (k == 2 || k == 3 || k == 6) && at >= 1 && at <= 4;
        CHECK(sg_tensor_get(&outs[0], i) == (masked ? 0 : sg_tensor_get(&outs[1], i)));
    }
    sg_glass_free(glass);
    sg_model_close(m);
}

/* Attention looks back only, whatever is done to its scores: -inf stays -inf, and nothing becomes NaN. */
static void edited_scores_stay_causal(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(10, 0);
    const sg_dim time = 7;
    const sg_rows rows = one_row(&time);
    float number = 0.5f;
    sg_error err;

    draw_tokens(&r);
    for (int op = 0; op <= SG_EDIT_CLAMP; op++)
        for (int half = 0; half < 2; half++) {
            if (op == SG_EDIT_PROJECT)
                continue;
            sg_edit e = sg_edit_defaults();
            e.site = "blocks.1.attn.hook_attn_scores";
            e.op = (sg_edit_op)op;
            e.strength = half ? -0.5 : op == SG_EDIT_SCALE ? 0 : 1;
            e.low = -0.25;
            e.high = 0.25;
            if (op == SG_EDIT_SET || op == SG_EDIT_ADD)
                e.value = sg_tensor_of(SG_F32, 0, NULL, &number);
            sg_glass *glass = edited_glass(m, 1, &e);
            sg_value *pattern;
            sg_tensor out;
            CHECK_OK(sg_glass_find(glass, "blocks.1.attn.hook_pattern", &pattern, &err), &err);
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &pattern, &out, &err), &err);
            for (sg_dim i = 0; i < sg_tensor_count(&out); i++) {
                const double p = sg_tensor_get(&out, i);
                const sg_dim k = i % time, q = i / time % time;
                if ((k > q) != (p == 0))
                    print_error("%s\n", describe(&e));
                CHECK(isfinite(p) && (k > q) == (p == 0));
            }
            sg_glass_free(glass);
        }
    sg_model_close(m);
}

static void put_spans(sg_str *json, const char *key, const sg_spans *s)
{
    for (int i = 0; i < s->n; i++)
        sg_str_printf(json, "%s[%lld, %lld]", i ? ", " : key, (long long)s->spans[i].first, (long long)s->spans[i].last);
    sg_str_puts(json, s->n ? "]" : "");
}

static void put_array(sg_str *json, const sg_tensor *t, int axis, sg_dim *at)
{
    if (axis == t->n_dims) {
        sg_str_printf(json, "%.9g", sg_tensor_get(t, (*at)++));
        return;
    }
    for (sg_dim i = 0; i < t->dims[axis]; i++) {
        sg_str_puts(json, i ? ", " : "[");
        put_array(json, t, axis + 1, at);
    }
    sg_str_puts(json, "]");
}

static void json_says_the_same_as_c(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(11, 0);
    const sg_dim time = 7;
    const sg_rows rows = one_row(&time);
    static made edit;
    sg_error err;

    draw_tokens(&r);
    for (int round = 0; round < ROUNDS; round++) {
        sg_str json = {0};
        sg_dim at = 0;
        sg_edit_list *list;
        draw_edit(&r, sg_model_get_info(m), time, &edit);
        edit.e.rows = (sg_spans){1, &edit.rows};
        if (round % 3 == 0) {
            edit.e.when.site = "hook_embed";
            edit.e.when.index = round;
            edit.e.when.low = -0.125;
        }
        const sg_edit *e = &edit.e;
        whole(m, 1, e, &rows, &a);
        sg_str_printf(&json, "{\"edits\": [{\"site\": \"%s\", \"op\": \"%s\", \"strength\": %.17g", e->site, sg_edit_op_name(e->op),
                      e->strength);
        if (e->op == SG_EDIT_CLAMP)
            sg_str_printf(&json, ", \"low\": %.17g, \"high\": %.17g", e->low, e->high);
        if (e->value.data) {
            sg_str_puts(&json, ", \"value\": ");
            put_array(&json, &e->value, 0, &at);
        }
        put_spans(&json, ", \"heads\": [", &e->heads);
        put_spans(&json, ", \"positions\": [", &e->positions);
        put_spans(&json, ", \"rows\": [", &e->rows);
        if (e->when.site)
            sg_str_printf(&json, ", \"when\": {\"site\": \"hook_embed\", \"index\": %d, \"above\": -0.125}", round);
        sg_str_puts(&json, "}]}");
        CHECK(!json.failed);
        CHECK_OK(sg_edit_list_parse(&list, json.text, json.bytes, "edits", &err), &err);
        CHECK(sg_edit_list_count(list) == 1 && sg_edit_list_source(list, 0) == NULL);
        sg_glass *glass = edited_glass(m, 0, NULL);
        CHECK_OK(sg_glass_edit_list(glass, list, &err), &err);
        run_glass(glass, &rows, &b);
        if (!bit_equal(&a, &b, 1))
            print_error("%s\n", describe(e));
        CHECK(bit_equal(&a, &b, 1));
        sg_glass_free(glass);
        sg_edit_list_free(list);
        sg_str_free(&json);
    }
    sg_model_close(m);
}

/* low < r <= high, by one component and by a direction that is that component. */
static void a_condition_gates_by_position(void **state)
{
    (void)state;
    sg_model *m = open_model();
    sg_rng r = sg_rng_new(12, 0);
    const sg_dim time = 12, d = sg_model_get_info(m)->d_model;
    const sg_rows rows = one_row(&time);
    sg_error err;

    for (int round = 0; round < 10; round++) {
        static float direction[MAX_FEATURE], value[MAX_FEATURE];
        const sg_dim index = sg_rng_below(&r, (uint32_t)d);
        double x[MAX_TIME];
        sg_edit e = sg_edit_defaults();
        sg_value *embed, *both[2];
        sg_tensor out, outs[2];
        int n_passed = 0;

        draw_tokens(&r);
        fill(&r, value, d);
        sg_glass *glass = edited_glass(m, 0, NULL);
        CHECK_OK(sg_glass_find(glass, "hook_embed", &embed, &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &embed, &out, &err), &err);
        for (sg_dim t = 0; t < time; t++)
            x[t] = sg_tensor_get(&out, t * d + index);
        sg_glass_free(glass);

        e.site = "blocks.2.hook_resid_mid";
        e.op = SG_EDIT_SET;
        e.value = sg_tensor_of(SG_F32, 1, &d, value);
        e.when.site = "hook_embed";
        e.when.low = fmin(x[1], x[2]); /* a value that occurs: itself not above */
        e.when.high = fmax(x[1], x[2]);
        if (round % 2) {
            memset(direction, 0, sizeof direction);
            direction[index] = 1;
            e.when.direction = sg_tensor_of(SG_F32, 1, &d, direction);
        } else {
            e.when.index = index;
        }
        glass = edited_glass(m, 1, &e);
        CHECK_OK(sg_glass_find(glass, e.site, &both[0], &err), &err);
        CHECK_OK(sg_glass_find(glass, "blocks.2.hook_resid_mid.unedited", &both[1], &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, both, outs, &err), &err);
        for (sg_dim t = 0; t < time; t++) {
            const bool passes = x[t] > e.when.low && x[t] <= e.when.high;
            n_passed += passes;
            for (sg_dim i = 0; i < d; i++)
                CHECK(sg_tensor_get(&outs[0], t * d + i) == (passes ? (double)value[i] : sg_tensor_get(&outs[1], t * d + i)));
        }
        CHECK(n_passed < time && (n_passed > 0) == (x[1] != x[2]));
        sg_glass_free(glass);
        by_cache(m, 1, &e, 5, time, &a);
        whole(m, 1, &e, &rows, &b);
        same_at(&a, 0, 0, &b, 0, 0, time, NEAR, "a condition, with a cache");
    }
    sg_model_close(m);
}

/* The status that an edit is refused with; its text is in err. */
static sg_status refused(const sg_model *m, const sg_edit *e, sg_error *err)
{
    sg_glass *glass;

    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), err), err);
    const sg_status status = sg_glass_edit(glass, 1, e, err);
    sg_glass_free(glass);
    return status;
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    sg_model *m = open_model();
    static float value[7 * 63];
    static const sg_span ninth = {8, 8}, below = {-1, 0};
    const sg_dim d = 64, wrong[2] = {7, 63};
    sg_edit good = sg_edit_defaults(), e;
    sg_error err;

    good.site = "blocks.2.hook_resid_post";
    good.op = SG_EDIT_ADD;
    good.value = sg_tensor_of(SG_F32, 1, &d, value);

    e = good;
    e.site = "blocks.2.hook_resid_pots";
    CHECK_STATUS(refused(m, &e, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "edit 0");
    CHECK_TEXT(err.text, "the nearest is blocks.2.hook_resid_post");

    e = good;
    e.value = sg_tensor_of(SG_F32, 2, wrong, value);
    CHECK_STATUS(refused(m, &e, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "[7,63]");
    CHECK_TEXT(err.text, "[batch,time,64]");

    e = good;
    e.op = SG_EDIT_PROJECT;
    e.value = sg_tensor_of(SG_F32, 1, wrong, value);
    CHECK_STATUS(refused(m, &e, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "64");
    e.value = good.value; /* a direction of zeros */
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "direction 0 is zero");

    e = good;
    e.value = (sg_tensor){0};
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "a value is needed");

    e = good;
    e.heads = (sg_spans){1, &below};
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "no head axis");
    e.site = "blocks.2.attn.hook_z";
    e.value = sg_tensor_of(SG_F32, 0, NULL, value);
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    e.heads = (sg_spans){1, &ninth};
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "heads 8 to 8");
    CHECK_TEXT(err.text, "there are 8");

    e = good;
    e.op = SG_EDIT_MASK;
    e.keys = (sg_spans){1, &ninth};
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "attn.hook_attn_scores");

    /* A condition on what the edit itself changes: behind the site, and the site itself. */
    e = good;
    e.when.index = 0;
    e.when.site = "blocks.3.hook_resid_pre";
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    CHECK_TEXT(err.text, "is computed from the edited site");
    e.when.site = good.site;
    CHECK_STATUS(refused(m, &e, &err), SG_EARG);
    e.when.site = "hook_embde";
    CHECK_STATUS(refused(m, &e, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "the nearest name is hook_embed");
    e.when.site = "hook_embed";
    e.when.index = 64;
    CHECK_STATUS(refused(m, &e, &err), SG_ESHAPE);
    e.when.index = -1;
    CHECK_STATUS(refused(m, &e, &err), SG_ESHAPE);

    sg_glass *glass = edited_glass(m, 1, &good);
    CHECK_STATUS(sg_glass_edit(glass, 1, &good, &err), SG_EARG);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void json_that_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *words[2];
    } cases[] = {
        {"[{\"site\": \"x\", \"op\": \"add\", \"strenth\": 2}]", {"strenth", "the nearest is \"strength\""}},
        {"[{\"site\": \"x\", \"op\": \"add\",\n \"value\": [1, }]", {"line 2", "column"}},
        {"", {"line 1", "column 0"}},
        {"[{\"site\": \"x\", \"op\": \"add\"}, {\"site\": \"x\", \"op\": \"plus\"}]", {"edit 1", "plus"}},
        {"[{\"op\": \"add\"}]", {"edit 0", "site is missing"}},
        {"[{\"site\": \"x\"}]", {"edit 0", "op is missing"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"value\": [[1, 2], [3]]}]", {"value", "rows of different lengths"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"value\": [1, \"2\"]}]", {"value", "not a number"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"value\": null}]", {"value", "neither"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"heads\": []}]", {"heads", "empty"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"heads\": [[3, 1]]}]", {"heads", "[first, last]"}},
        {"[{\"site\": \"x\", \"op\": \"clamp\", \"low\": 2, \"high\": 1}]", {"low 2", "high 1"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"value\": {\"run\": {}}}]", {"value.run", "neither text nor tokens"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"value\": {\"run\": {\"token\": [1]}}}]", {"token", "the nearest is \"tokens\""}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"when\": {\"site\": \"y\", \"above\": 1}}]", {"when", "index or a direction"}},
        {"[{\"site\": \"x\", \"op\": \"set\", \"when\": {\"site\": \"y\", \"index\": 1}}]", {"when", "above, below"}},
        {"{\"edit\": []}", {"a list of edits", "edits.json"}},
        {"[7]", {"edit 0", "not an object"}},
    };

    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_edit_list *list = NULL;
        sg_error err;
        CHECK_STATUS(sg_edit_list_parse(&list, cases[i].json, strlen(cases[i].json), "edits.json", &err), SG_EFORMAT);
        CHECK(list == NULL);
        CHECK_TEXT(err.text, "edits.json");
        CHECK_TEXT(err.text, cases[i].words[0]);
        CHECK_TEXT(err.text, cases[i].words[1]);
    }
}

/* [[[0, ..1500..], 0, ..1500..], 0, ..1500..] says that it is 1500 times 1500 lists of 1500. */
static void few_bytes_do_not_claim_much_memory(void **state)
{
    (void)state;
    sg_edit_list *list = NULL;
    sg_error err;
    sg_str json = {0};

    sg_str_puts(&json, "[{\"site\": \"x\", \"op\": \"set\", \"value\": [[[0");
    for (int depth = 0; depth < 3; depth++) {
        for (int i = 1; i < 1500; i++)
            sg_str_puts(&json, ",0");
        sg_str_puts(&json, "]");
    }
    sg_str_puts(&json, "}]");
    CHECK_STATUS(sg_edit_list_parse(&list, json.text, json.bytes, "edits.json", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "rows of different lengths");
    sg_str_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_the_cache_an_edit_is_the_same),
        cmocka_unit_test(steps_are_positions_behind_the_prompt),
        cmocka_unit_test(an_edit_of_one_row_is_that_row_alone),
        cmocka_unit_test(a_value_by_row_is_that_value_for_each_row),
        cmocka_unit_test(padding_does_not_show),
        cmocka_unit_test(strength_is_a_number_of_each_run_and_0_adds_nothing),
        cmocka_unit_test(edits_of_one_site_are_made_in_order),
        cmocka_unit_test(setting_what_was_there_changes_nothing),
        cmocka_unit_test(a_patch_from_a_run_of_the_same_text_changes_nothing),
        cmocka_unit_test(masked_keys_are_not_looked_at),
        cmocka_unit_test(edited_scores_stay_causal),
        cmocka_unit_test(json_says_the_same_as_c),
        cmocka_unit_test(a_condition_gates_by_position),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(json_that_is_wrong_is_refused),
        cmocka_unit_test(few_bytes_do_not_claim_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
