/* Files by hand, each cut short and each lied about. */
#include "sightglass/tfjs.h"

#include <sys/stat.h>

#include "base/base.h"
#include "check.h"

static const unsigned char numbers[] = {0, 0, 128, 63, 0, 0, 0, 192, /* 1, -2 */ 7, 0, 0, 0, 1, 0};

/* The bytes of "a.bin", cut into shards of 6 and 8. */
static sg_status shards(void *context, const char *name, const void **bytes, size_t *n, sg_error *err)
{
    (void)context;
    if (strcmp(name, "a.bin") == 0)
        *bytes = numbers, *n = 6;
    else if (strcmp(name, "b.bin") == 0)
        *bytes = numbers + 6, *n = 8;
    else
        return sg_fail(err, SG_ENOTFOUND, "%s: there is no such file", name);
    return SG_OK;
}

static sg_status parse(sg_tfjs **t, const char *json, sg_error *err)
{
    return sg_tfjs_parse(t, json, strlen(json), "model.json", shards, NULL, err);
}

#define TOPOLOGY                                                                                                       \
    "\"modelTopology\":{\"shape_name\":\"ring\",\"n\":3,\"config\":{\"rate\":0.1,\"on\":true,\"list\":[1]}}"
#define WEIGHTS                                                                                                        \
    "\"weights\":[{\"name\":\"w\",\"shape\":[1,2],\"dtype\":\"float32\"},{\"name\":\"i\",\"shape\":[],\"dtype\":"      \
    "\"int32\"},{\"name\":\"b\",\"shape\":[2],\"dtype\":\"bool\"}]"
#define WHOLE "{" TOPOLOGY ",\"weightsManifest\":[{\"paths\":[\"x/../a.bin\",\"./b.bin\"]," WEIGHTS "}]}"

static void facts_and_weights_are_found(void **state)
{
    (void)state;
    sg_error err;
    sg_tfjs *t = NULL;
    CHECK_OK(parse(&t, WHOLE, &err), &err);
    CHECK_TEXT(sg_tfjs_fact(t, "shape_name"), "ring");
    CHECK_TEXT(sg_tfjs_fact(t, "n"), "3");
    CHECK(strtod(sg_tfjs_fact(t, "config.rate"), NULL) == 0.1);
    CHECK_TEXT(sg_tfjs_fact(t, "config.on"), "true");
    CHECK(!sg_tfjs_fact(t, "config.list") && !sg_tfjs_fact(t, "rate"));
    CHECK(sg_tfjs_count(t) == 3);
    const sg_tensor *w = sg_tfjs_find(t, "w"), *i = sg_tfjs_find(t, "i"), *b = sg_tfjs_weight(t, 2);
    CHECK(w->n_dims == 2 && w->dims[1] == 2 && sg_tensor_get(w, 0) == 1 && sg_tensor_get(w, 1) == -2);
    CHECK(i->dtype == SG_I32 && i->n_dims == 0 && sg_tensor_get(i, 0) == 7);
    CHECK(b->dtype == SG_BOOL && sg_tensor_get(b, 0) == 1 && sg_tensor_get(b, 1) == 0);
    CHECK_TEXT(sg_tfjs_weight_name(t, 2), "b");
    CHECK(sg_tfjs_find(t, "d") == NULL);
    sg_tfjs_free(t);
}

static sg_status add_one(sg_tfjs *t, const char *packed, double scale, double min, sg_dim n, const void *bytes,
                         size_t n_bytes, sg_error *err)
{
    const sg_tfjs_entry e = {
        .name = packed, .dtype = "float32", .n_dims = 1, .dims = {n}, .packed = packed, .scale = scale, .min = min};
    return sg_tfjs_add_group(t, 1, &e, bytes, n_bytes, err);
}

static void quantised_numbers_are_widened(void **state)
{
    (void)state;
    sg_error err;
    sg_tfjs *t = NULL;
    CHECK_OK(sg_tfjs_new(&t, "x", &err), &err);
    const unsigned char bytes[3] = {0, 128, 255}, words[4] = {0, 1, 255, 255}, halves[4] = {0, 0x3c, 0, 0xc0};
    CHECK_OK(add_one(t, "uint8", 0.1, -1, 3, bytes, 3, &err), &err);
    const float *x = sg_tfjs_find(t, "uint8")->data; /* the golden of the specification: -1, 11.8, 24.5 */
    CHECK(x[0] == -1.0f && x[1] == 11.8f && x[2] == 24.5f);
    CHECK_OK(add_one(t, "uint16", 2, 1, 2, words, 4, &err), &err);
    x = sg_tfjs_find(t, "uint16")->data;
    CHECK(x[0] == 513 && x[1] == 131071);
    CHECK_OK(add_one(t, "float16", (double)NAN, (double)NAN, 2, halves, 4, &err), &err);
    x = sg_tfjs_find(t, "float16")->data;
    CHECK(x[0] == 1 && x[1] == -2);
    CHECK(add_one(t, "uint8", 0.1, -1, 3, bytes, 3, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "twice");
    sg_tfjs_free(t);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct {
        sg_status status;
        const char *json, *words;
    } bad[] = {
        {SG_EFORMAT, "[]", "wanted an object"},
        {SG_EFORMAT, "{}", "weightsManifest"},
        {SG_EFORMAT, "{\"weightsManifest\":[{}]}", "lacks its lists"},
        {SG_EFORMAT, "{\"weightsManifest\":[{\"paths\":[\"..\"]," WEIGHTS "}]}", "names no file"},
        {SG_EFORMAT, "{\"weightsManifest\":[{\"paths\":[\"a.bin\"]," WEIGHTS "}]}", "ends at byte 8 of 6"},
        {SG_EFORMAT, "{\"weightsManifest\":[{\"paths\":[\"a.bin\",\"b.bin\",\"b.bin\"]," WEIGHTS "}]}", "14 bytes"},
        {SG_ENOTFOUND, "{\"weightsManifest\":[{\"paths\":[\"c.bin\"]," WEIGHTS "}]}", "c.bin"},
        {SG_EUNSUPPORTED,
         "{\"weightsManifest\":[{\"paths\":[],\"weights\":[{\"name\":\"s\",\"shape\":[0],\"dtype\":\"string\"}]}]}",
         "\"s\" is string"},
        {SG_EFORMAT,
         "{\"weightsManifest\":[{\"paths\":[],\"weights\":[{\"name\":\"s\",\"shape\":[0.5],\"dtype\":\"bool\"}]}]}",
         "no whole number"},
        {SG_EFORMAT,
         "{\"weightsManifest\":[{\"paths\":[],\"weights\":[{\"name\":\"s\",\"shape\":[4294967296,4294967296],\"dtype\":"
         "\"bool\"}]}]}",
         "a shape that no weight has"},
        {SG_EFORMAT,
         "{\"weightsManifest\":[{\"paths\":[],\"weights\":[{\"name\":\"s\",\"shape\":[-1],\"dtype\":\"bool\"}]}]}",
         "a shape that no weight has"},
        {SG_EFORMAT,
         "{\"weightsManifest\":[{\"paths\":[],\"weights\":[{\"name\":\"s\",\"shape\":[0],\"dtype\":\"float32\","
         "\"quantization\":{\"dtype\":\"uint8\",\"scale\":1}}]}]}",
         "no finite scale and min"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        sg_error err = {SG_OK, ""};
        sg_tfjs *t = NULL;
        CHECK(parse(&t, bad[i].json, &err) == bad[i].status && !t);
        CHECK_TEXT(err.text, bad[i].words);
    }
}

static void no_truncation_of_the_text_is_taken_for_a_whole(void **state)
{
    (void)state;
    char *copy = malloc(sizeof WHOLE);
    CHECK(copy != NULL);
    for (size_t n = 0; n < strlen(WHOLE); n++) {
        sg_error err = {SG_OK, ""};
        sg_tfjs *t = NULL;
        memcpy(copy, WHOLE, n);
        CHECK(sg_tfjs_parse(&t, copy, n, "cut.json", shards, NULL, &err) == SG_EFORMAT);
    }
    free(copy);
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void a_path_never_leaves_the_folder_of_the_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/sg-tfjs-XXXXXX", path[200], inside[100];
    sg_error err;
    sg_tfjs *t = NULL;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(inside, sizeof inside, "%s/in", folder);
    CHECK(mkdir(inside, 0700) == 0);
    snprintf(path, sizeof path, "%s/secret.bin", folder); /* outside, and there */
    write_bytes(path, numbers, 8);
    snprintf(path, sizeof path, "%s/m.json", inside);
    const char *json =
        "{\"weightsManifest\":[{\"paths\":[\"../secret.bin\"],\"weights\":[{\"name\":\"w\",\"shape\":[2],"
        "\"dtype\":\"float32\"}]}]}";
    write_bytes(path, json, strlen(json));
    CHECK(sg_tfjs_open(&t, path, &err) == SG_ENOTFOUND);
    CHECK_TEXT(err.text, "/in/secret.bin");
    snprintf(path, sizeof path, "%s/secret.bin", inside);
    write_bytes(path, numbers, 8);
    snprintf(path, sizeof path, "%s/m.json", inside);
    CHECK_OK(sg_tfjs_open(&t, path, &err), &err);
    CHECK(sg_tensor_get(sg_tfjs_find(t, "w"), 1) == -2);
    sg_tfjs_free(t);
    snprintf(path, sizeof path, "rm -r %s", folder);
    CHECK(system(path) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_and_weights_are_found),
        cmocka_unit_test(quantised_numbers_are_widened),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(no_truncation_of_the_text_is_taken_for_a_whole),
        cmocka_unit_test(a_path_never_leaves_the_folder_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
