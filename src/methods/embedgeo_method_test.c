/* The commands over embeddings and layouts, as methods: what they find, beside what, and what they refuse. */
#include "sightglass/method.h"

#include <math.h>

#include "check.h"
#include "folder.h"
#include "sightglass/edit.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"

#define MODELS SG_SOURCE_DIR "/models/shared-geometry/"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/sg-geometry-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    static char path[4][160];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

static sg_status ask(sg_result **out, const char *name, const char *action, int n_inputs, const char *const *inputs,
                     int n_settings, const sg_setting *settings, const char *to, sg_error *err)
{
    sg_method_ask a = sg_method_ask_defaults();
    a.n_inputs = n_inputs;
    a.inputs = inputs;
    a.n_settings = n_settings;
    a.settings = settings;
    a.out = to;
    a.exec.n_threads = 1;
    return sg_method_do(out, sg_method_find(name, action), &a, err);
}

static const sg_finding *finding(const sg_result *r, const char *id)
{
    for (int i = 0; i < sg_result_n_findings(r); i++)
        if (strcmp(sg_result_finding(r, i)->id, id) == 0)
            return sg_result_finding(r, i);
    print_error("no finding is called %s\n", id);
    CHECK(false);
    return NULL;
}

static void save(const char *name, sg_dim n, sg_dim d, float *x)
{
    sg_error err;
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x);
    CHECK_OK(sg_npy_save(in_folder(name), &t, &err), &err);
}

static void write_text(const char *name, const char *text)
{
    FILE *to = fopen(in_folder(name), "w");
    CHECK(to && fputs(text, to) >= 0 && fclose(to) == 0);
}

static void two_models_are_compared_beside_permuted_tokens(void **state)
{
    (void)state;
    const char *inputs[2] = {MODELS "w64-1", MODELS "w64-2"};
    const sg_setting sample = {"sample", "300"};
    sg_result *r;
    sg_error err;
    CHECK_OK(ask(&r, "embeddings", "compare", 2, inputs, 1, &sample, NULL, &err), &err);
    CHECK(finding(r, "cosines")->n == 300);
    static const char *const ids[] = {"cosines", "cosines-centred", "lle", "local-dimension", "orientation"};
    for (int i = 0; i < 5; i++)
        CHECK(finding(r, ids[i])->value > .3 && finding(r, ids[i])->control_value < .2);
    CHECK(sg_result_n_tables(r) == 1);
    sg_result_free(r);
    /* No tokenizer in the second: by ids, which are the same here. */
    inputs[1] = MODELS "shuffled";
    CHECK_OK(ask(&r, "embeddings", "compare", 2, inputs, 1, &sample, NULL, &err), &err);
    CHECK(finding(r, "cosines")->value > .3);
    sg_result_free(r);
}

static void a_subspace_has_its_dimension_and_shuffled_components_more(void **state)
{
    (void)state;
    enum { N = 300, D = 12 };
    static float x[N * D];
    sg_rng g = sg_rng_new(1, 1);
    sg_result *r;
    sg_error err;
    for (int i = 0; i < N; i++) {
        const double a = sg_rng_normal(&g), b = sg_rng_normal(&g);
        for (int c = 0; c < D; c++)
            x[i * D + c] = (float)(a * sin(c + 1) + b * cos(3 * c));
    }
    save("plane.npy", N, D, x);
    const char *input = in_folder("plane.npy");
    CHECK_OK(ask(&r, "embeddings", "localdim", 1, &input, 0, NULL, NULL, &err), &err);
    CHECK_NEAR(finding(r, "local-dimension")->value, 2, .1, 0);
    CHECK(finding(r, "local-dimension")->control_value > 5);
    sg_result_free(r);
    CHECK_OK(ask(&r, "embeddings", "dimension", 1, &input, 0, NULL, NULL, &err), &err);
    CHECK_NEAR(finding(r, "two-nn")->value, 2, .4, 0);
    CHECK(finding(r, "two-nn")->control_value > 4 && finding(r, "likelihood")->control_value > 4);
    sg_result_free(r);
    input = "/nowhere/rows.npy";
    CHECK(ask(&r, "embeddings", "localdim", 1, &input, 0, NULL, NULL, &err) != SG_OK && r == NULL);
}

static void energy_is_low_on_a_ring_and_bad_edges_are_named(void **state)
{
    (void)state;
    enum { N = 15 };
    float x[2 * N];
    char text[400] = "from,to\n";
    sg_result *r;
    sg_error err;
    for (int i = 0; i < N; i++) {
        x[2 * i] = (float)cos(2 * acos(-1) * i / N);
        x[2 * i + 1] = (float)sin(2 * acos(-1) * i / N);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%d\n", i, (i + 1) % N);
    }
    save("ring.npy", N, 2, x);
    write_text("ring.csv", text);
    const char *inputs[2] = {in_folder("ring.npy"), in_folder("ring.csv")};
    CHECK_OK(ask(&r, "embeddings", "energy", 2, inputs, 0, NULL, NULL, &err), &err);
    CHECK_NEAR(finding(r, "energy")->value, .0807, 1e-3, 0);
    CHECK(finding(r, "energy")->control_low > .5 && finding(r, "energy")->control_high < 1.6);
    sg_result_free(r);
    write_text("bad.csv", "from,to\n0,1\n2,15\n");
    inputs[1] = in_folder("bad.csv");
    CHECK_STATUS(ask(&r, "embeddings", "energy", 2, inputs, 0, NULL, NULL, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "edge 1 ends at \"15\"");
}

static void trees_are_read_on_sentences_held_out(void **state)
{
    (void)state;
    enum { SENTENCES = 100, WORDS = 6, WIDE = 12 };
    static float x[SENTENCES * WORDS * WIDE];
    static char text[8000];
    sg_rng g = sg_rng_new(3, 1);
    sg_result *r;
    sg_error err;
    strcpy(text, "sentence,head\n");
    for (int s = 0; s < SENTENCES; s++) { /* every link has a component of its own, beside larger noise */
        float *rows = x + s * WORDS * WIDE;
        for (int i = 0; i < WORDS; i++) {
            const int head = i ? (int)sg_rng_below(&g, (uint32_t)i) : -1;
            if (i)
                memcpy(rows + i * WIDE, rows + head * WIDE, WORDS * sizeof *x);
            rows[i * WIDE + i] += i > 0;
            for (int c = WORDS; c < WIDE; c++)
                rows[i * WIDE + c] = (float)(2 * sg_rng_normal(&g));
            snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%d\n", s, head);
        }
    }
    save("words.npy", SENTENCES * WORDS, WIDE, x);
    write_text("trees.csv", text);
    const char *inputs[2] = {in_folder("words.npy"), in_folder("trees.csv")};
    const sg_setting settings[] = {{"epochs", "300"}, {"lr", "0.005"}, {"rank", "12"}};
    CHECK_OK(ask(&r, "embeddings", "trees", 2, inputs, 3, settings, NULL, &err), &err);
    CHECK(finding(r, "attached")->value > .95 && finding(r, "attached")->control_value < finding(r, "attached")->value);
    CHECK(finding(r, "spearman")->value > .85 && finding(r, "spearman")->control_value < finding(r, "spearman")->value);
    sg_result_free(r);
    write_text("short.csv", "sentence,head\n0,-1\n");
    inputs[1] = in_folder("short.csv");
    CHECK_STATUS(ask(&r, "embeddings", "trees", 2, inputs, 0, NULL, NULL, &err), SG_ESHAPE);
}

static void a_layout_is_written_with_its_picture(void **state)
{
    (void)state;
    enum { N = 90, D = 5 };
    float x[N * D];
    static char text[1000], svg[20000];
    sg_rng g = sg_rng_new(2, 1);
    sg_result *r;
    sg_error err;
    strcpy(text, "id,kind\n");
    for (int i = 0; i < N; i++) {
        for (int c = 0; c < D; c++)
            x[i * D + c] = (float)(sg_rng_normal(&g) + (c == i % 3 ? 20 : 0));
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,%c\n", i, "a<b"[i % 3]);
    }
    save("points.npy", N, D, x);
    write_text("labels.csv", text);
    const char *input = in_folder("points.npy");
    char labels[160], out[160];
    snprintf(labels, sizeof labels, "%s/labels.csv", folder);
    snprintf(out, sizeof out, "%s/map", folder);
    const sg_setting settings[] = {
        {"kind", "umap"}, {"labels", labels}, {"column", "kind"}, {"judge-k", "10"}, {"steps", "200"}};
    CHECK_OK(ask(&r, "layout", NULL, 1, &input, 5, settings, out, &err), &err);
    CHECK(finding(r, "trustworthiness")->value > .8 && finding(r, "trustworthiness")->control_value < .7);
    sg_result_free(r);
    sg_npy *xy;
    CHECK_OK(sg_npy_open(&xy, in_folder("map/coordinates.npy"), &err), &err);
    CHECK(sg_npy_tensor(xy)->dims[0] == N && sg_npy_tensor(xy)->dims[1] == 2);
    sg_npy_close(xy);
    FILE *from = fopen(in_folder("map/layout.svg"), "r");
    CHECK(from != NULL);
    svg[fread(svg, 1, sizeof svg - 1, from)] = 0;
    fclose(from);
    int circles = 0;
    for (const char *at = svg; (at = strstr(at, "<circle")); at++)
        circles++;
    CHECK(circles == N + 3); /* and three in the key */
    CHECK_TEXT(svg, "&lt;</text>");
    CHECK(access(in_folder("map/manifest.json"), R_OK) == 0);
    const sg_setting wrong = {"labels", in_folder("ring.csv")};
    CHECK(ask(&r, "layout", NULL, 1, &input, 1, &wrong, NULL, &err) != SG_OK);
}

static void edits_are_carried_into_a_file_that_opens(void **state)
{
    (void)state;
    char text[900] = "[{\"site\": \"blocks.1.hook_resid_post\", \"op\": \"add\", \"strength\": 3, \"value\": [1";
    sg_result *r;
    sg_edit_list *list;
    sg_error err;
    for (int i = 1; i < 64; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ", %d", i % 3 - 1);
    strcat(text, "]}]");
    write_text("edits.json", text);
    const char *inputs[3] = {MODELS "w64-1", MODELS "w96-1", in_folder("edits.json")};
    char out[160];
    snprintf(out, sizeof out, "%s/carried.json", folder);
    CHECK_OK(ask(&r, "steer", "transfer", 3, inputs, 0, NULL, out, &err), &err);
    CHECK(finding(r, "map")->value > .1 && finding(r, "map")->control_value < 0);
    sg_result_free(r);
    CHECK_OK(sg_edit_list_open(&list, out, &err), &err);
    const sg_edit *e = sg_edit_list_at(list, 0);
    CHECK(sg_edit_list_count(list) == 1 && e->value.dims[0] == 96 && e->strength == 3);
    sg_edit_list_free(list);
    write_text("heads.json", "[{\"site\": \"blocks.1.attn.hook_z\", \"op\": \"ablate\"}]");
    inputs[2] = in_folder("heads.json");
    CHECK_STATUS(ask(&r, "steer", "transfer", 3, inputs, 0, NULL, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "edit 0: blocks.1.attn.hook_z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_models_are_compared_beside_permuted_tokens),
        cmocka_unit_test(a_subspace_has_its_dimension_and_shuffled_components_more),
        cmocka_unit_test(energy_is_low_on_a_ring_and_bad_edges_are_named),
        cmocka_unit_test(trees_are_read_on_sentences_held_out),
        cmocka_unit_test(a_layout_is_written_with_its_picture),
        cmocka_unit_test(edits_are_carried_into_a_file_that_opens),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
