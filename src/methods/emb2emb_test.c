/* Maps between embeddings: a planted one is found again, and what it carries does the same. */
#include "sightglass/emb2emb.h"

#include "check.h"
#include "folder.h"
#include "sightglass/linalg.h"
#include "sightglass/model.h"
#include "sightglass/rng.h"

enum { N = 80, D = 6, E = 9 };

static void draw(float *x, sg_dim count, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 1);
    for (sg_dim i = 0; i < count; i++)
        x[i] = (float)sg_rng_normal(&r);
}

static sg_tensor table(float *x, sg_dim n, sg_dim d)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x);
}

static void multiply(float *to, const float *x, const float *by, sg_dim n, sg_dim d, sg_dim e)
{
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < e; j++) {
            double sum = 0;
            for (sg_dim c = 0; c < d; c++)
                sum += (double)x[i * d + c] * (double)by[c * e + j];
            to[i * e + j] = (float)sum;
        }
}

static void a_planted_map_is_found(void **state)
{
    (void)state;
    float x[N * D], a[D * E], y[N * E];
    int32_t forward[N], permuted[N];
    sg_emb2emb *map, *null, *random;
    sg_error err;
    draw(x, N * D, 1);
    draw(a, D * E, 2);
    multiply(y, x, a, N, D, E);
    for (int i = 0; i < N; i++) {
        forward[i] = N - 1 - i;
        permuted[i] = (i * 7 + 3) % N;
    }
    const sg_tensor tx = table(x, N, D), ty = table(y, N, E);
    CHECK_OK(sg_emb2emb_fit(&map, &tx, &ty, forward, forward, N - 5, sg_emb2emb_defaults(), &err), &err);
    for (int i = 0; i < D * E; i++)
        CHECK_NEAR(((float *)map->a.data)[i], a[i], 1e-4, 0);
    CHECK_NEAR(map->fit, 1, 1e-6, 0);
    CHECK_OK(sg_emb2emb_fit(&null, &tx, &ty, NULL, permuted, N, sg_emb2emb_defaults(), &err), &err);
    CHECK(null->fit < .4);
    /* A random map has the same singular values and is another one. */
    CHECK_OK(sg_emb2emb_random(&random, map, 3, &err), &err);
    sg_svd *one, *other;
    CHECK_OK(sg_svd_new(&one, &map->a, SG_FACTORS_THIN, &err), &err);
    CHECK_OK(sg_svd_new(&other, &random->a, SG_FACTORS_THIN, &err), &err);
    double same = 0, whole = 0;
    for (int i = 0; i < D; i++)
        CHECK_NEAR(((float *)one->s.data)[i], ((float *)other->s.data)[i], 1e-4, 1e-4);
    for (int i = 0; i < D * E; i++) {
        same += (double)((float *)map->a.data)[i] * (double)((float *)random->a.data)[i];
        whole += (double)a[i] * (double)a[i];
    }
    CHECK(fabs(same / whole) < .6);
    sg_svd_free(one);
    sg_svd_free(other);
    sg_emb2emb_free(random);
    sg_emb2emb_free(null);
    sg_emb2emb_free(map);
    forward[3] = N;
    CHECK_STATUS(sg_emb2emb_fit(&map, &tx, &ty, forward, permuted, N, sg_emb2emb_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "token 80 of the source");
    CHECK(map == NULL);
    CHECK_STATUS(sg_emb2emb_fit(&map, &tx, &ty, NULL, NULL, 0, sg_emb2emb_defaults(), &err), SG_EARG);
}

static void layers_keep_their_share_of_the_depth(void **state)
{
    (void)state;
    CHECK(sg_emb2emb_layer(0, 4, 8) == 0 && sg_emb2emb_layer(1, 4, 8) == 2 && sg_emb2emb_layer(3, 4, 8) == 6);
    CHECK(sg_emb2emb_layer(5, 8, 4) == 3); /* 2.5 is rounded up */
    CHECK(sg_emb2emb_layer(7, 8, 2) == 1 && sg_emb2emb_layer(2, 3, 3) == 2);
}

static void edits_are_carried_or_refused_by_name(void **state)
{
    (void)state;
    float x[N * D], a[D * E], y[N * E], v[2 * D];
    sg_emb2emb *map;
    sg_edit_list *from, *to;
    sg_error err;
    draw(x, N * D, 1);
    draw(a, D * E, 2);
    draw(v, 2 * D, 3);
    multiply(y, x, a, N, D, E);
    const sg_tensor tx = table(x, N, D), ty = table(y, N, E);
    CHECK_OK(sg_emb2emb_fit(&map, &tx, &ty, NULL, NULL, N, sg_emb2emb_defaults(), &err), &err);
    CHECK_OK(sg_edit_list_new(&from, "from", &err), &err);
    CHECK_OK(sg_edit_list_new(&to, "to", &err), &err);
    sg_edit e = sg_edit_defaults();
    e.site = "blocks.1.hook_resid_post";
    e.op = SG_EDIT_ADD;
    e.strength = 2.5;
    e.value = sg_tensor_of(SG_F32, 1, (sg_dim[]){D}, v);
    e.positions = (sg_spans){1, &(sg_span){-1, -1}};
    CHECK_OK(sg_edit_list_add(from, &e, &err), &err);
    e.op = SG_EDIT_PROJECT;
    e.site = "hook_embed";
    e.value = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, D}, v);
    CHECK_OK(sg_edit_list_add(from, &e, &err), &err);
    CHECK_OK(sg_emb2emb_apply(map, 2, from, 6, to, &err), &err);
    CHECK(sg_edit_list_count(to) == 2);
    const sg_edit *one = sg_edit_list_at(to, 0), *two = sg_edit_list_at(to, 1);
    CHECK(strcmp(one->site, "blocks.3.hook_resid_post") == 0 && one->op == SG_EDIT_ADD && one->strength == 2.5);
    CHECK(one->value.dims[0] == E && one->positions.n == 1 && one->positions.spans[0].first == -1);
    CHECK(strcmp(two->site, "hook_embed") == 0 && two->value.dims[0] == 2 && two->value.dims[1] == E);
    float want[2 * E];
    multiply(want, v, a, 2, D, E);
    for (int i = 0; i < 2 * E; i++) {
        CHECK_NEAR(((float *)two->value.data)[i], want[i], 1e-3, 0);
        if (i < E)
            CHECK_NEAR(((float *)one->value.data)[i], want[i], 1e-3, 0);
    }
    sg_edit_list_free(to);
    /* What cannot be carried is named. */
    static const struct {
        const char *site, *text;
        sg_edit_op op;
        sg_dim width;
    } bad[] = {{"blocks.0.attn.hook_z", "no site of the residual stream", SG_EDIT_ADD, D},
               {"blocks.2.hook_resid_pre", "the source has 2 layers", SG_EDIT_ADD, D},
               {"blocks.0.hook_resid_pre", "clamp depends", SG_EDIT_CLAMP, D},
               {"blocks.0.hook_resid_pre", "takes vectors of 6", SG_EDIT_SET, D - 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sg_edit_list *list;
        CHECK_OK(sg_edit_list_new(&list, "bad", &err), &err);
        CHECK_OK(sg_edit_list_new(&to, "to", &err), &err);
        e.site = bad[i].site;
        e.op = bad[i].op;
        e.value = sg_tensor_of(SG_F32, 1, &bad[i].width, v);
        CHECK_OK(sg_edit_list_add(list, &e, &err), &err);
        CHECK(sg_emb2emb_apply(map, 2, list, 2, to, &err) != SG_OK);
        CHECK_TEXT(err.text, bad[i].text);
        CHECK_TEXT(err.text, "edit 0");
        sg_edit_list_free(list);
        sg_edit_list_free(to);
    }
    sg_edit_list_free(from);
    sg_emb2emb_free(map);
}

/* ---- steering across models that are one model, turned ---- */

static void write_file(const char *path, const char *text)
{
    FILE *to = fopen(path, "wb");
    CHECK(to && fputs(text, to) >= 0 && fclose(to) == 0);
}

/* Signs of the first components turned about is a rotation that RMS norm with gains of 1 does not see: the model whose
 * residual stream is so turned is another set of weights and the same function. */
static void turn_model(sg_graph *g, sg_state *s, const sg_model *m)
{
    for (int i = 0; sg_model_get_weight(m, i).name; i++) {
        const char *name = sg_model_get_weight(m, i).name;
        sg_tensor *w = sg_state_tensor(s, sg_graph_find(g, name));
        float *x = w->data;
        if (w->n_dims != 2)
            continue;
        const bool writes = strstr(name, "o_proj") || strstr(name, "down_proj"); /* [D,.]: rows are of the stream */
        for (sg_dim r = 0; r < w->dims[0]; r++)
            for (sg_dim c = 0; c < w->dims[1]; c++)
                if ((writes ? r : c) % 2)
                    x[r * w->dims[1] + c] = -x[r * w->dims[1] + c];
    }
}

static void steering_of_a_turned_model_is_exact(void **state)
{
    (void)state;
    static const char config[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 16, "
        "\"intermediate_size\": 20,"
        " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"vocab_size\": 40,"
        " \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"tie_word_embeddings\": "
        "true}";
    char folder[] = "/tmp/sg-emb2emb-XXXXXX", path[128], dir[2][128];
    sg_model *fresh, *m[2];
    sg_graph *g;
    sg_state *s;
    sg_error err;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_file(path, config);
    CHECK_OK(sg_model_new(&fresh, path, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, fresh, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 1, &err), &err);
    for (int k = 0; k < 2; k++) {
        snprintf(dir[k], sizeof dir[k], "%s/%d", folder, k);
        if (k)
            turn_model(g, s, fresh);
        CHECK_OK(sg_model_save(fresh, g, s, "", SG_F32, dir[k], &err), &err);
        CHECK_OK(sg_model_open(&m[k], dir[k], sg_model_defaults(), &err), &err);
    }
    sg_tensor source = *sg_state_tensor(s, sg_graph_find(g, "model.embed_tokens.weight")); /* the turned one's */
    float back[40 * 16], v[16];
    for (int i = 0; i < 40 * 16; i++)
        back[i] = ((float *)source.data)[i] * (i % 2 ? -1 : 1);
    const sg_tensor first = table(back, 40, 16);
    sg_emb2emb *map;
    sg_edit_list *list[2];
    CHECK_OK(sg_emb2emb_fit(&map, &first, &source, NULL, NULL, 40, sg_emb2emb_defaults(), &err), &err);
    for (int i = 0; i < 16 * 16; i++)
        CHECK_NEAR(((float *)map->a.data)[i], i / 16 != i % 16 ? 0 : i % 2 ? -1 : 1, 1e-4, 0);
    for (int k = 0; k < 2; k++)
        CHECK_OK(sg_edit_list_new(&list[k], "edits", &err), &err);
    draw(v, 16, 4);
    sg_edit e = sg_edit_defaults();
    e.site = "blocks.0.hook_resid_post";
    e.op = SG_EDIT_ADD;
    e.value = sg_tensor_of(SG_F32, 1, (sg_dim[]){16}, v);
    CHECK_OK(sg_edit_list_add(list[0], &e, &err), &err);
    CHECK_OK(sg_emb2emb_apply(map, 2, list[0], 2, list[1], &err), &err);
    static const int32_t ids[5] = {3, 17, 30, 2, 9};
    float logits[2][5 * 40], plain[5 * 40];
    for (int k = 0; k < 3; k++) { /* the first, its turned copy, the first as it is */
        sg_glass *glass;
        sg_value *value;
        sg_tensor out;
        CHECK_OK(sg_glass_new(&glass, m[k == 1], sg_glass_defaults(), &err), &err);
        if (k < 2)
            CHECK_OK(sg_glass_edit_list(glass, list[k], &err), &err);
        CHECK_OK(sg_glass_find(glass, "logits", &value, &err), &err);
        const sg_rows rows = {.n_rows = 1, .tokens = (const int32_t *const[]){ids}, .lengths = (const sg_dim[]){5}};
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &value, &out, &err), &err);
        memcpy(k < 2 ? logits[k] : plain, out.data, sizeof plain);
        sg_glass_free(glass);
    }
    double most = 0;
    for (int i = 0; i < 5 * 40; i++) {
        CHECK_NEAR(logits[1][i], logits[0][i], 1e-4, 0);
        most = fmax(most, fabs((double)(logits[0][i] - plain[i])));
    }
    CHECK(most > .01); /* the edit does something */
    for (int k = 0; k < 2; k++) {
        sg_edit_list_free(list[k]);
        sg_model_close(m[k]);
    }
    sg_test_remove_all(folder);
    sg_emb2emb_free(map);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_map_is_found),
        cmocka_unit_test(layers_keep_their_share_of_the_depth),
        cmocka_unit_test(edits_are_carried_or_refused_by_name),
        cmocka_unit_test(steering_of_a_turned_model_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
