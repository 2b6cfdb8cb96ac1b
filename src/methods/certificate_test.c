/* Which model it is, and what is kept about it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/certificate.h"

static char folder[] = "/tmp/certificate_test_XXXXXX", model[64], weights[96], data[96];

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    CHECK(f && fseek(f, at, SEEK_SET) == 0);
    const int c = fgetc(f);
    CHECK(c != EOF && fseek(f, at, SEEK_SET) == 0 && fputc(c ^ 1, f) != EOF && fclose(f) == 0);
}

static int begin(void **state)
{
    char path[128];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(model, sizeof model, "%s/model", folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", model);
    snprintf(data, sizeof data, "%s/data", folder);
    if (mkdir(model, 0777) != 0)
        return -1;
    setenv("XDG_DATA_HOME", data, 1);
    snprintf(path, sizeof path, "%s/config.json", model);
    FILE *c = fopen(path, "w"), *w = fopen(weights, "w");
    return c && w && fputs("{}", c) >= 0 && fputs("the weights", w) >= 0 && fclose(c) == 0 && fclose(w) == 0 ? 0 : -1;
}

static int end(void **state)
{
    char line[256];
    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static sg_file_identity *identify(const char *path, bool full)
{
    sg_file_identity_opts opts = sg_file_identity_defaults();
    sg_file_identity *id;
    sg_error err;

    opts.full = full;
    CHECK_OK(sg_file_identity_of(&id, path, opts, &err), &err);
    return id;
}

static void a_model_is_known_by_its_bytes(void **state)
{
    (void)state;
    sg_file_identity *a = identify(model, true), *quick = identify(model, false);

    CHECK(a->n_files == 2 && strcmp(a->files[0].name, "config.json") == 0 && a->files[1].bytes == 11);
    /* printf 'the weights' | sha256sum */
    CHECK(strcmp(a->files[1].sha256, "f38329d231164082b94f28edf29bff349b44403e09fc4057d65b31051f4ae6b5") == 0);
    CHECK(strlen(a->hash) == 64 && strcmp(a->fingerprint, quick->fingerprint) == 0 && quick->hash[0] == '\0');
    for (int where = 0; where < 2; where++) {
        char config[128];
        snprintf(config, sizeof config, "%s/config.json", model);
        flip(where ? config : weights, where ? 1 : 4);
        sg_file_identity *b = identify(model, true);
        CHECK(strcmp(a->hash, b->hash) != 0 && strcmp(a->fingerprint, b->fingerprint) != 0);
        sg_file_identity_free(b);
        flip(where ? config : weights, where ? 1 : 4);
    }
    sg_file_identity_free(a);
    sg_file_identity_free(quick);
}

/* Of a file of 4 MB the ends and pages between are looked at, its length always, every byte only in full. */
static void a_fingerprint_sees_samples_and_a_hash_sees_all(void **state)
{
    (void)state;
    char path[128];
    const size_t n = 4 << 20;
    unsigned char *bytes = calloc(1, n);

    CHECK(bytes != NULL);
    snprintf(path, sizeof path, "%s/large.gguf", folder);
    write_file(path, bytes, n);
    sg_file_identity *a = identify(path, true);
    static const long seen[] = {0, 65535, (4 << 20) - 1};
    for (size_t i = 0; i < SG_COUNT_OF(seen); i++) {
        flip(path, seen[i]);
        sg_file_identity *b = identify(path, false);
        CHECK(strcmp(a->fingerprint, b->fingerprint) != 0);
        sg_file_identity_free(b);
        flip(path, seen[i]);
    }
    /* How many of the bytes count: a page of 4096 in each 16 kB or so. */
    int noticed = 0;
    for (long at = 70000; at < 4000000; at += 40009) {
        flip(path, at);
        sg_file_identity *quick = identify(path, false);
        noticed += strcmp(a->fingerprint, quick->fingerprint) != 0;
        sg_file_identity_free(quick);
        flip(path, at);
    }
    CHECK(noticed > 10 && noticed < 60);
    for (long at = 70000; at < 4000000; at += 900007) {
        flip(path, at);
        sg_file_identity *b = identify(path, true);
        CHECK(strcmp(a->hash, b->hash) != 0);
        sg_file_identity_free(b);
        flip(path, at);
    }
    write_file(path, bytes, n - 1);
    sg_file_identity *shorter = identify(path, false);
    CHECK(strcmp(a->fingerprint, shorter->fingerprint) != 0);
    sg_file_identity_free(shorter);
    sg_file_identity_free(a);
    free(bytes);
}

static void shards_are_read_by_their_index(void **state)
{
    (void)state;
    char dir[80], path[128];
    sg_file_identity *id;
    sg_error err;

    snprintf(dir, sizeof dir, "%s/sharded", folder);
    CHECK(mkdir(dir, 0777) == 0);
    static const char *const names[] = {"config.json", "b.safetensors", "a.safetensors", "unused.bin"};
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        write_text(path, names[i]);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    write_text(path,
               "{\"weight_map\": {\"x\": \"b.safetensors\", \"y\": \"a.safetensors\", \"z\": \"b.safetensors\"}}");
    id = identify(dir, true);
    CHECK(id->n_files == 3 && strcmp(id->files[1].name, "a.safetensors") == 0 &&
          strcmp(id->files[2].name, "b.safetensors") == 0);
    sg_file_identity_free(id);
    static const char *const bad[] = {"{\"weight_map\": {\"x\": \"../b.safetensors\"}}", "{\"weight_map\": {\"x\": 3}}",
                                      "{}", "{", ""};
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        write_text(path, bad[i]);
        CHECK_STATUS(sg_file_identity_of(&id, dir, sg_file_identity_defaults(), &err), SG_EFORMAT);
    }
    CHECK_STATUS(sg_file_identity_of(&id, "/nowhere/at/all", sg_file_identity_defaults(), &err), SG_ENOTFOUND);
}

/* ---- certificates ---- */

static const sg_verify_row rows[] = {{.site = "hook_embed",
                                      .n = 60,
                                      .max_abs = .5,
                                      .mean_abs = .25,
                                      .max_rel = .125,
                                      .mean_rel = .0625,
                                      .at_prompt = 1,
                                      .at_position = 2,
                                      .holds = true},
                                     {.site = "logits", .n = 90, .max_abs = 3, .max_rel = 2, .n_bad = 4}};
static const sg_verify_run one = {.backend = "onednn",
                                  .compute = "bf16",
                                  .stored = "q8_0",
                                  .n_rows = 2,
                                  .rows = rows,
                                  .next = {.n = 15,
                                           .top1 = .5,
                                           .n_clear = 3,
                                           .top1_clear = 1,
                                           .tv_mean = .25,
                                           .tv_max = 1,
                                           .kl_mean = (double)INFINITY,
                                           .kl_max = (double)INFINITY},
                                  .tolerance = {.1, .02, .2, "products of 16 bits"},
                                  .first_bad = "logits",
                                  .seconds = .5};
static const sg_verify_run *const runs[] = {&one};

static sg_certificate sample(const sg_file_identity *id)
{
    return (sg_certificate){.program = "sightglass test",
                            .date = "2026-11-27T00:00:00Z",
                            .cpu = "a processor",
                            .model = "model",
                            .hash = id->hash,
                            .fingerprint = id->fingerprint,
                            .against = "golden",
                            .reference = "g.safetensors",
                            .n_prompts = 2,
                            .n_positions = 15,
                            .n_runs = 1,
                            .runs = runs};
}

static void what_is_kept_beside_a_model_is_found_and_goes_stale(void **state)
{
    (void)state;
    sg_file_identity *id = identify(model, true);
    const sg_certificate c = sample(id);
    sg_certificate *found;
    sg_error err;
    char *where;

    CHECK_OK(sg_certificate_find(&found, model, &err), &err);
    CHECK(found == NULL);
    CHECK_OK(sg_certificate_save(&c, model, NULL, &where, &err), &err);
    CHECK_TEXT(where, "/model/sightglass-certificate.json");
    CHECK_OK(sg_certificate_find(&found, model, &err), &err);
    CHECK(found && !found->stale && !found->holds && strcmp(found->path, where) == 0);
    const sg_verify_run *r = found->runs[0];
    CHECK(found->n_runs == 1 && r->n_rows == 2 && r->rows[0].max_rel == .125 && r->rows[0].at_position == 2 &&
          r->rows[0].holds);
    CHECK(r->rows[1].n_bad == 4 && !r->rows[1].holds && strcmp(r->first_bad, "logits") == 0 && r->note == NULL);
    CHECK(r->next.n == 15 && r->next.kl_max == (double)INFINITY && r->next.tv_mean == .25 && r->tolerance.lead == .2);
    CHECK(strstr(sg_certificate_meaning(found), "another program") != NULL);

    /* Read and written again it is the same text. */
    found->path = NULL;
    char *a = sg_certificate_text(&c), *b = sg_certificate_text(found);
    CHECK(a && b && strcmp(a, b) == 0);
    free(a);
    free(b);
    sg_certificate_free(found);

    flip(weights, 2);
    CHECK_OK(sg_certificate_find(&found, model, &err), &err);
    CHECK(found && found->stale);
    sg_certificate_free(found);
    flip(weights, 2);
    CHECK(unlink(where) == 0);
    free(where);
    sg_file_identity_free(id);
}

/* A folder that cannot be written, here because the name is taken by a folder (root may write anywhere else). */
static void where_the_folder_cannot_be_written_the_workspace_holds_it(void **state)
{
    (void)state;
    sg_file_identity *id = identify(model, true);
    const sg_certificate c = sample(id);
    sg_certificate *found;
    sg_error err;
    char *where, taken[128];

    snprintf(taken, sizeof taken, "%s/sightglass-certificate.json", model);
    CHECK(mkdir(taken, 0777) == 0);
    CHECK_OK(sg_certificate_save(&c, model, NULL, &where, &err), &err);
    CHECK(strncmp(where, data, strlen(data)) == 0);
    CHECK(rmdir(taken) == 0);
    CHECK_OK(sg_certificate_find(&found, model, &err), &err);
    CHECK(found && strcmp(found->path, where) == 0 && !found->stale);
    sg_certificate_free(found);
    flip(weights, 2); /* found by its path, so it is seen to be stale */
    CHECK_OK(sg_certificate_find(&found, model, &err), &err);
    CHECK(found && found->stale);
    sg_certificate_free(found);
    flip(weights, 2);
    CHECK(unlink(where) == 0);
    free(where);
    CHECK_STATUS(sg_certificate_save(&c, model, "/nowhere/at/all.json", NULL, &err), SG_ENOTFOUND);
    sg_file_identity_free(id);
}

static void a_file_of_weights_has_its_certificate_beside_it(void **state)
{
    (void)state;
    char path[128], *where;
    sg_certificate *found;
    sg_error err;

    snprintf(path, sizeof path, "%s/tiny.gguf", folder);
    write_text(path, "GGUF");
    sg_file_identity *id = identify(path, true);
    const sg_certificate c = sample(id);
    CHECK_OK(sg_certificate_save(&c, path, NULL, &where, &err), &err);
    CHECK_TEXT(where, "/tiny.gguf.certificate.json");
    CHECK_OK(sg_certificate_find(&found, path, &err), &err);
    CHECK(found && !found->stale);
    sg_certificate_free(found);
    sg_file_identity_free(id);
    free(where);
}

static void no_bytes_in_its_place_do_harm(void **state)
{
    (void)state;
    sg_file_identity *id = identify(model, true);
    const sg_certificate c = sample(id);
    char path[128], *text = sg_certificate_text(&c);
    sg_certificate *found;
    sg_error err;

    CHECK(text != NULL);
    snprintf(path, sizeof path, "%s/sightglass-certificate.json", model);
    const size_t n = strlen(text);
    for (size_t cut = 0; cut + 1 < n; cut += 7) {
        write_file(path, text, cut);
        CHECK_STATUS(sg_certificate_find(&found, model, &err), SG_EFORMAT);
    }
    /* Each key in turn is called otherwise, or its value is of another kind. */
    for (size_t at = 0; at < n; at++)
        if (text[at] == ':') {
            const char was = text[at - 2];
            text[at - 2] = '~';
            write_file(path, text, n);
            const sg_status status = sg_certificate_find(&found, model, &err);
            CHECK(status == SG_OK || status == SG_EFORMAT || status == SG_EUNSUPPORTED);
            sg_certificate_free(found);
            text[at - 2] = was;
        }
    static const char *const bad[] = {"[]",
                                      "3",
                                      "{}",
                                      "{\"format\": \"sightglass-certificate\", \"version\": 1}",
                                      "{\"format\": \"sightglass-certificate\", \"version\": 2}",
                                      "null"};
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        write_text(path, bad[i]);
        const sg_status status = sg_certificate_find(&found, model, &err);
        CHECK(status == SG_EFORMAT || status == SG_EUNSUPPORTED);
    }
    char *against = strstr(text, "\"golden\"");
    CHECK(against != NULL);
    memcpy(against, "\"nobody\"", 8);
    write_file(path, text, n);
    CHECK_STATUS(sg_certificate_find(&found, model, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "against");
    CHECK(unlink(path) == 0);
    free(text);
    sg_file_identity_free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_known_by_its_bytes),
        cmocka_unit_test(a_fingerprint_sees_samples_and_a_hash_sees_all),
        cmocka_unit_test(shards_are_read_by_their_index),
        cmocka_unit_test(what_is_kept_beside_a_model_is_found_and_goes_stale),
        cmocka_unit_test(where_the_folder_cannot_be_written_the_workspace_holds_it),
        cmocka_unit_test(a_file_of_weights_has_its_certificate_beside_it),
        cmocka_unit_test(no_bytes_in_its_place_do_harm),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
