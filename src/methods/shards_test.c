/* Harvests of a shipped model on random tokens, and of a text model where one is at hand. */
#include "sightglass/shards.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/npy.h"
#include "sightglass/rng.h"

enum { ROWS = 70, TIME = 32, D = 128 };
static char folder[200];
static sg_model *othello;
static int32_t ids[ROWS * TIME];

static const char *in_folder(char path[300], const char *name)
{
    snprintf(path, 300, "%s/%s", folder, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    char path[300];
    sg_error err;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-shards-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    sg_rng r = sg_rng_new(1, 2);
    for (int i = 0; i < ROWS * TIME; i++)
        ids[i] = (int32_t)sg_rng_below(&r, 33);
    const sg_tensor t = sg_tensor_of(SG_I32, 2, (sg_dim[]){ROWS, TIME}, ids);
    return sg_npy_save(in_folder(path, "tokens.npy"), &t, &err) == SG_OK &&
                   sg_model_open(&othello, SG_SOURCE_DIR "/models/othello6", sg_model_defaults(), &err) == SG_OK
               ? 0
               : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_model_close(othello);
    sg_test_remove_all(folder);
    return access(folder, F_OK) == 0 ? -1 : 0;
}

static const char *const sites[] = {"blocks.1.hook_resid_post", "blocks.0.attn.hook_z"};

static sg_shards_opts small(void)
{
    sg_shards_opts o = sg_shards_defaults();
    o.batch = 4;
    o.context = 20; /* so that a row of 32 is two sequences */
    o.shard_bytes = 300 * (2 * D * 4 + 16);
    return o;
}

static sg_status harvest(sg_shards_report *r, const char *dir, sg_shards_opts o, sg_error *err)
{
    char tokens[300], path[300];
    const char *const files[] = {in_folder(tokens, "tokens.npy")};
    return sg_shards_harvest(r, in_folder(path, dir), othello, 2, sites, 1, files, o, err);
}

static sg_shards *open_harvest(const char *dir)
{
    char path[300];
    sg_shards *s;
    sg_error err;
    CHECK_OK(sg_shards_open(&s, in_folder(path, dir), &err), &err);
    return s;
}

static void rows_are_what_a_run_fetches(void **state)
{
    (void)state;
    static float got[2][ROWS * TIME * D];
    sg_shards_report r;
    sg_error err;
    char path[300];
    CHECK_OK(harvest(&r, "a", small(), &err), &err);
    CHECK(r.rows == ROWS * TIME && r.tokens == r.rows && r.sequences == 2 * ROWS && r.finished && !r.resumed &&
          r.shards > 5);
    sg_shards *s = open_harvest("a");
    CHECK(sg_shards_n_rows(s) == ROWS * TIME && sg_shards_n_sites(s) == 2 && sg_shards_width(s, 0) == D &&
          sg_shards_width(s, 1) == D && strcmp(sg_shards_site(s, 1), sites[1]) == 0);
    for (int k = 0; k < 2; k++)
        CHECK_OK(sg_shards_read(s, k, 0, ROWS * TIME, got[k], &err), &err);

    sg_glass *glass;
    sg_value *v[2];
    sg_tensor out[2];
    CHECK_OK(sg_glass_new(&glass, othello, sg_glass_defaults(), &err), &err);
    for (int k = 0; k < 2; k++)
        CHECK_OK(sg_glass_find(glass, sites[k], &v[k], &err), &err);
    for (int row = 0; row < ROWS; row += 23)
        for (int half = 0; half < 2; half++) {
            const int32_t *tokens = ids + row * TIME + half * 20;
            const sg_dim n = half ? 12 : 20;
            const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, v, out, &err), &err);
            for (int k = 0; k < 2; k++)
                for (sg_dim i = 0; i < n * D; i++)
                    CHECK_NEAR(got[k][(row * TIME + half * 20) * D + i], ((const float *)out[k].data)[i], 1e-4, 1e-4);
        }
    sg_glass_free(glass);
    for (sg_dim i = 0; i < ROWS * TIME; i += 97) {
        sg_shards_row at;
        CHECK_OK(sg_shards_row_at(s, i, &at, &err), &err);
        CHECK(at.token == ids[i] && at.position == (i % TIME) % 20 && at.text == i / TIME && at.file == 0 &&
              at.offset == -1);
        CHECK(strcmp(at.path, in_folder(path, "tokens.npy")) == 0);
    }
    CHECK(sg_shards_read(s, 0, ROWS * TIME - 1, 2, got[0], &err) == SG_EARG);
    sg_shards_close(s);

    /* Once more: nothing is left to do. */
    CHECK_OK(harvest(&r, "a", small(), &err), &err);
    CHECK(r.resumed && r.finished && r.tokens == 0 && r.rows == ROWS * TIME);
    sg_test_remove_all(in_folder(path, "a"));
}

static volatile sig_atomic_t stop;

static void stop_soon(void *context, const sg_shards_progress *p)
{
    int *left = context;
    CHECK(p->done > 0 && p->done <= 1 && p->rows > 0);
    stop = --*left <= 0;
}

/* Stopped again and again, the rows are the same bytes. */
static void a_harvest_that_was_stopped_goes_on(void **state)
{
    (void)state;
    static float whole[ROWS * TIME * D], parts[ROWS * TIME * D];
    sg_shards_report r;
    sg_error err;
    char path[300];
    int left, runs = 0;
    CHECK_OK(harvest(&r, "whole", small(), &err), &err);
    sg_shards_opts o = small();
    o.progress = stop_soon;
    o.context_of_progress = &left;
    o.cancel = &stop;
    for (sg_dim before = 0;; runs++, before = r.rows) {
        stop = 0;
        left = runs % 2 ? 1 : 7;
        const sg_status status = harvest(&r, "parts", o, &err);
        CHECK(status == SG_OK || status == SG_ECANCELLED);
        CHECK(r.resumed == (runs > 0));
        if (status == SG_OK)
            break;
        CHECK(r.rows > before && !r.finished);
    }
    CHECK(runs > 3 && r.finished && r.rows == ROWS * TIME);
    sg_shards *a = open_harvest("whole"), *b = open_harvest("parts");
    for (int k = 0; k < 2; k++) {
        CHECK_OK(sg_shards_read(a, k, 0, ROWS * TIME, whole, &err), &err);
        CHECK_OK(sg_shards_read(b, k, 0, ROWS * TIME, parts, &err), &err);
        CHECK(memcmp(whole, parts, sizeof whole) == 0);
    }
    sg_shards_close(a);
    sg_shards_close(b);

    /* Another harvest does not go on in its place. */
    sg_shards_opts other = small();
    other.stored = SG_BF16;
    CHECK(harvest(&r, "parts", other, &err) == SG_EARG && strstr(err.text, "dtype is \"f32\", asked for is \"bf16\""));
    sg_test_remove_all(in_folder(path, "whole"));
    sg_test_remove_all(in_folder(path, "parts"));
}

static void rows_are_limited_skipped_and_rounded_as_asked(void **state)
{
    (void)state;
    static float exact[ROWS * TIME * D], rounded[ROWS * TIME * D];
    sg_shards_report r;
    sg_error err;
    char path[300];
    sg_shards_opts o = small();
    o.skip = 3;
    o.most_rows = 500;
    CHECK_OK(harvest(&r, "few", o, &err), &err);
    CHECK(r.finished && r.rows >= 500 && r.rows < 500 + o.batch * o.context);
    sg_shards *s = open_harvest("few");
    sg_shards_row at;
    CHECK_OK(sg_shards_row_at(s, 0, &at, &err), &err);
    CHECK(at.position == 3 && at.token == ids[3]);
    CHECK_OK(sg_shards_row_at(s, 17, &at, &err), &err);
    CHECK(at.position == 3 && at.token == ids[23]);
    CHECK_OK(sg_shards_read(s, 0, 0, 500, exact, &err), &err);
    sg_shards_close(s);
    o.most_rows = INT64_MAX; /* more are asked for */
    CHECK_OK(harvest(&r, "few", o, &err), &err);
    CHECK(r.resumed && r.finished && r.rows == ROWS * (TIME - 2 * 3));
    o.stored = SG_BF16;
    CHECK_OK(harvest(&r, "half", o, &err), &err);
    CHECK(r.bytes == (size_t)r.rows * (2 * D * 2 + 16));
    s = open_harvest("half");
    CHECK_OK(sg_shards_read(s, 0, 0, 500, rounded, &err), &err);
    for (int i = 0; i < 500 * D; i++)
        CHECK_NEAR(rounded[i], exact[i], 1e-6, 1.0 / 256);
    sg_shards_close(s);
    sg_test_remove_all(in_folder(path, "few"));
    sg_test_remove_all(in_folder(path, "half"));

    sg_shards_forecast f;
    char tokens[300];
    const char *const files[] = {in_folder(tokens, "tokens.npy")};
    CHECK_OK(sg_shards_foresee(&f, othello, 2, sites, 1, files, o, &err), &err);
    CHECK_NEAR(f.rows, ROWS * (TIME - 2 * 3), 0, 0.1);
    CHECK(f.row_bytes == 2 * D * 2 + 16 && f.seconds > 0 && f.tokens_per_second > 0);
}

static void texts_are_found_again_by_their_offsets(void **state)
{
    (void)state;
    static const char *const texts[] = {"Once upon a time there was a caf\xc3\xa9 in the wood.", "Lily ran.",
                                        "Tom had a red ball. He threw it, and it fell into the sea \xf0\x9f\x8c\x8a!"};
    static const char *const site[] = {"blocks.0.hook_resid_post"};
    char model[1024], path[300], file[300];
    sg_model *m;
    sg_error err;
    sg_shards_report r;
    SKIP_WITHOUT(sg_test_shared(model, "models/stories260K"), "models/stories260K");
    CHECK_OK(sg_model_open(&m, model, sg_model_defaults(), &err), &err);
    FILE *f = fopen(in_folder(file, "t.jsonl"), "wb");
    long starts[3];
    for (int i = 0; f && i < 3; i++) {
        starts[i] = ftell(f);
        fprintf(f, "{\"id\": %d, \"story\": \"%s\"}\n", i, texts[i]);
    }
    CHECK(f && fclose(f) == 0);
    sg_shards_opts o = sg_shards_defaults();
    o.context = 8;
    o.batch = 3;
    o.field = "story";
    const char *const files[] = {file};
    CHECK_OK(sg_shards_harvest(&r, in_folder(path, "t"), m, 1, site, 1, files, o, &err), &err);
    sg_shards *s = open_harvest("t");
    int known = 0, first = 0;
    for (sg_dim i = 0; i < sg_shards_n_rows(s); i++) {
        sg_shards_row at;
        char *word;
        int text = 0;
        CHECK_OK(sg_shards_row_at(s, i, &at, &err), &err);
        while (text < 3 && starts[text] != at.text)
            text++;
        CHECK(text < 3);
        first += at.position == 0;
        CHECK((at.position == 0) == (at.token == 1)); /* each sequence begins with <s> */
        if (at.offset < 0)
            continue;
        known++;
        CHECK_OK(sg_tokenizer_decode(sg_model_tokenizer(m), &at.token, 1, false, &word, &err), &err);
        const char *here = texts[text] + at.offset, *bare = word;
        here += here[0] == ' '; /* a token by itself is written without the blank before it */
        bare += bare[0] == ' ';
        CHECK((unsigned char)bare[0] >= 0x80 || strncmp(here, bare, strlen(bare)) == 0);
        free(word);
    }
    CHECK(first > 6 && known > 40);
    sg_shards_close(s);
    o.field = "text";
    CHECK(sg_shards_harvest(&r, in_folder(path, "u"), m, 1, site, 1, files, o, &err) == SG_EFORMAT &&
          strstr(err.text, "\"text\""));
    sg_model_close(m);
    sg_test_remove_all(in_folder(path, "t"));
    sg_test_remove_all(in_folder(path, "u"));
}

static void wrong_questions_and_damaged_folders_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"blocks.0.hook_resid_pots"}, *const scalar[] = {"loss"},
                             *const pattern[] = {"blocks.0.attn.hook_pattern"};
    char path[300], tokens[300], none[300];
    const char *const files[] = {in_folder(tokens, "tokens.npy")}, *const absent[] = {in_folder(none, "none.txt")};
    sg_shards_report r;
    sg_shards *s;
    sg_error err;
    in_folder(path, "bad");
    CHECK(sg_shards_harvest(&r, path, othello, 1, wrong, 1, files, small(), &err) == SG_ENOTFOUND &&
          strstr(err.text, "nearest"));
    CHECK(sg_shards_harvest(&r, path, othello, 1, scalar, 1, files, small(), &err) == SG_EARG &&
          strstr(err.text, "loss"));
    CHECK(sg_shards_harvest(&r, path, othello, 1, pattern, 1, files, small(), &err) == SG_EARG);
    CHECK(sg_shards_harvest(&r, path, othello, 2, sites, 1, absent, small(), &err) == SG_ENOTFOUND &&
          strstr(err.text, "none.txt"));
    sg_shards_opts o = small();
    o.context = 33;
    CHECK(sg_shards_harvest(&r, path, othello, 2, sites, 1, files, o, &err) == SG_EARG && strstr(err.text, "33"));
    FILE *f = fopen(none, "wb");
    CHECK(f && fputs("text", f) >= 0 && fclose(f) == 0);
    CHECK(sg_shards_harvest(&r, path, othello, 2, sites, 1, absent, small(), &err) == SG_EARG &&
          strstr(err.text, "no tokenizer"));

    CHECK_OK(harvest(&r, "bad", small(), &err), &err);
    char shard[400];
    snprintf(shard, sizeof shard, "%s/shard-00001.safetensors", path);
    CHECK(truncate(shard, 100) == 0);
    CHECK(sg_shards_open(&s, path, &err) != SG_OK && !s && strstr(err.text, "shard-00001"));
    snprintf(shard, sizeof shard, "%s/index.json", path);
    CHECK(truncate(shard, 30) == 0);
    CHECK(sg_shards_open(&s, path, &err) == SG_EFORMAT && strstr(err.text, "index.json"));
    CHECK(harvest(&r, "bad", small(), &err) == SG_EFORMAT); /* what is there is not written over */
    CHECK(sg_shards_open(&s, folder, &err) == SG_ENOTFOUND);
    sg_test_remove_all(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_a_run_fetches),
        cmocka_unit_test(a_harvest_that_was_stopped_goes_on),
        cmocka_unit_test(rows_are_limited_skipped_and_rounded_as_asked),
        cmocka_unit_test(texts_are_found_again_by_their_offsets),
        cmocka_unit_test(wrong_questions_and_damaged_folders_are_refused),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
