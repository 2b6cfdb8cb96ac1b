/* Control vectors: files by another hand (test/make_models/adapters.py), there and back, and files that are none. */
#include "check.h"

#include <string.h>

#include "base/base.h"
#include "sightglass/control_vector.h"
#include "sightglass/gguf.h"

#define DATA SG_SOURCE_DIR "/test/data/adapters/control/"

static sg_error err;

static sg_edit_list *list_of(const char *json)
{
    sg_edit_list *list;

    CHECK_OK(sg_edit_list_parse(&list, json, strlen(json), "here", &err), &err);
    return list;
}

static void directions_become_edits_behind_their_layers(void **state)
{
    sg_control_vector *cv;
    sg_edit_list *list = list_of("[]");
    (void)state;
    CHECK_OK(sg_control_vector_open(&cv, DATA "two.gguf", &err), &err);
    CHECK(sg_control_vector_count(cv) == 2 && sg_control_vector_layer(cv, 1) == 5 && !sg_control_vector_model(cv));
    CHECK_OK(sg_control_vector_edits(cv, 1.5, (sg_span){0, 100}, list, &err), &err);
    CHECK_OK(sg_control_vector_edits(cv, -2, (sg_span){5, 5}, list, &err), &err);
    CHECK(sg_edit_list_count(list) == 3);
    const sg_edit *e = sg_edit_list_at(list, 0), *last = sg_edit_list_at(list, 2);
    CHECK(strcmp(e->site, "blocks.1.hook_resid_post") == 0 && e->op == SG_EDIT_ADD && e->strength == 1.5);
    CHECK(strcmp(last->site, "blocks.5.hook_resid_post") == 0 && last->strength == -2 && last->value.dims[0] == 16);
    const double first = sg_tensor_get(sg_control_vector_direction(cv, 0), 0);
    CHECK_STATUS(sg_control_vector_edits(cv, 1, (sg_span){2, 4}, list, &err), SG_EARG);
    sg_control_vector_close(cv); /* the list has copies */
    CHECK_NEAR(sg_tensor_get(&e->value, 0), first, 0, 0);
    sg_edit_list_free(list);
}

static void a_list_is_written_and_comes_back(void **state)
{
    char path[64] = "/tmp/sg_control_XXXXXX";
    sg_control_vector *cv;
    sg_gguf *g;
    int64_t n = 0;
    (void)state;
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    sg_edit_list *list =
        list_of("[{\"site\": \"blocks.3.hook_resid_post\", \"op\": \"add\", \"value\": [1, 2, 3], \"strength\": 2},"
                " {\"site\": \"blocks.4.hook_resid_pre\", \"op\": \"add\", \"value\": [0, 0, 1]},"
                " {\"site\": \"blocks.7.hook_resid_pre\", \"op\": \"add\", \"value\": [5, 0, 0]}]");
    CHECK_OK(sg_control_vector_save(path, list, "llama", &err), &err);
    CHECK_OK(sg_gguf_open(&g, path, &err), &err);
    CHECK(sg_gguf_whole(g, "controlvector.layer_count", &n) && n == 2);
    sg_gguf_close(g);
    CHECK_OK(sg_control_vector_open(&cv, path, &err), &err);
    CHECK(sg_control_vector_count(cv) == 2 && strcmp(sg_control_vector_model(cv), "llama") == 0);
    CHECK(sg_control_vector_layer(cv, 0) == 3 && sg_control_vector_layer(cv, 1) == 6);
    const sg_tensor *d = sg_control_vector_direction(cv, 0); /* 2 (1, 2, 3) + (0, 0, 1) */
    CHECK(sg_tensor_get(d, 0) == 2 && sg_tensor_get(d, 1) == 4 && sg_tensor_get(d, 2) == 7);
    sg_control_vector_close(cv);
    sg_edit_list_free(list);
    unlink(path);
}

static void what_the_format_cannot_say_is_not_written(void **state)
{
    static const struct {
        const char *json, *words;
    } cases[] = {
        {"[]", "no edits"},
        {"[{\"site\": \"blocks.0.hook_resid_post\", \"op\": \"add\", \"value\": [1]}]", "i from 1"},
        {"[{\"site\": \"blocks.2.mlp.hook_post\", \"op\": \"add\", \"value\": [1]}]", "blocks.2.mlp.hook_post"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"set\", \"value\": [1]}]", "does not add"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": [[1]]}]", "does not add"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": {\"run\": {\"tokens\": [1]}}}]",
         "does not add"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": [1], \"positions\": [3]}]", "for some"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": [1], \"features\": [0]}]", "for some"},
        {"[{\"site\": \"blocks.2.hook_resid_post\", \"op\": \"add\", \"value\": [1]},"
         " {\"site\": \"blocks.3.hook_resid_post\", \"op\": \"add\", \"value\": [1, 2]}]",
         "edit 1 adds 2"}};
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_edit_list *list = list_of(cases[i].json);
        CHECK(sg_control_vector_save("/tmp/sg_control_never.gguf", list, NULL, &err) != SG_OK);
        CHECK_TEXT(err.text, cases[i].words);
        CHECK(access("/tmp/sg_control_never.gguf", F_OK) != 0);
        sg_edit_list_free(list);
    }
}

static void files_that_are_none_say_what_is_wrong(void **state)
{
    static const char *const cases[][2] = {{"other.gguf", "general.architecture is llama"},
                                           {"uneven.gguf", "direction.2 is f32 [17]"},
                                           {"misnamed.gguf", "direction.x is no direction"},
                                           {"golden.safetensors", "golden.safetensors"}};
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char path[1024];
        sg_control_vector *cv = NULL;
        snprintf(path, sizeof path, DATA "%s", cases[i][0]);
        CHECK(sg_control_vector_open(&cv, path, &err) != SG_OK);
        CHECK_TEXT(err.text, cases[i][1]);
        CHECK(!cv);
    }
}

static void an_added_edit_is_a_copy_of_all_its_parts(void **state)
{
    sg_edit_list *list;
    double numbers[2] = {1, 2}, along[1] = {3};
    char site[] = "a.b", when[] = "c.d";
    sg_span span = {4, 9};
    (void)state;
    CHECK_OK(sg_edit_list_new(&list, "made", &err), &err);
    sg_edit e = sg_edit_defaults();
    e.site = site;
    e.op = SG_EDIT_SET;
    e.value = sg_tensor_of(SG_F64, 1, (sg_dim[]){2}, numbers);
    e.rows = e.positions = e.features = e.heads = e.steps = e.keys = (sg_spans){1, &span};
    e.when = (sg_edit_when){
        .site = when, .index = -1, .direction = sg_tensor_of(SG_F64, 1, (sg_dim[]){1}, along), .low = 1, .high = 2};
    for (int i = 0; i < 5; i++)
        CHECK_OK(sg_edit_list_add(list, &e, &err), &err);
    numbers[1] = along[0] = 99;
    site[0] = when[0] = 'x';
    span.first = 0;
    for (int i = 0; i < 5; i++) {
        const sg_edit *c = sg_edit_list_at(list, i);
        CHECK(strcmp(c->site, "a.b") == 0 && strcmp(c->when.site, "c.d") == 0 && sg_tensor_get(&c->value, 1) == 2 &&
              sg_tensor_get(&c->when.direction, 0) == 3);
        CHECK(c->rows.spans[0].first == 4 && c->features.spans[0].first == 4 && c->keys.spans[0].last == 9);
        CHECK(!sg_edit_list_source(list, i));
    }
    sg_edit_list_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directions_become_edits_behind_their_layers),
        cmocka_unit_test(a_list_is_written_and_comes_back),
        cmocka_unit_test(what_the_format_cannot_say_is_not_written),
        cmocka_unit_test(files_that_are_none_say_what_is_wrong),
        cmocka_unit_test(an_added_edit_is_a_copy_of_all_its_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
