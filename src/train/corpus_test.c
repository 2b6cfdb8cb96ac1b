/* Rows are told apart by their numbers: token i of a stream is i, row r of a file of rows is all r. */
#include "sightglass/corpus.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

static char folder[200], path[300];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-corpus-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static const char *const names[] = {"a.npy", "b.npy", "c.safetensors", "rows.npy", "wide.npy", "text.txt"};

static int finish(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int32_t ids[4096];

/* Numbers first, first + 1, ... as [n], or as [n / time, time] with a row's number in all its places. */
static void make(const char *name, sg_dim first, sg_dim n, sg_dim time)
{
    sg_error err;
    for (sg_dim i = 0; i < n; i++)
        ids[i] = (int32_t)(first + (time ? i / time : i));
    const sg_tensor t = sg_tensor_of(SG_I32, time ? 2 : 1, time ? (sg_dim[]){n / time, time} : &n, ids);
    if (strstr(name, ".npy"))
        CHECK_OK(sg_npy_save(at(name), &t, &err), &err);
    else
        CHECK_OK(sg_safetensors_save(at(name), &(sg_named_tensor){"ids", t}, 1, NULL, 0, &err), &err);
}

static sg_corpus *open_all(const char *a, const char *b, const char *c)
{
    const char *const list[3] = {a, b, c};
    sg_corpus *corpus;
    sg_error err;
    CHECK_OK(sg_corpus_new(&corpus, &err), &err);
    for (int i = 0; i < 3 && list[i]; i++)
        CHECK_OK(sg_corpus_add(corpus, at(list[i]), NULL, &err), &err);
    return corpus;
}

/* Rows first, ..., first + n - 1 of a source in batches of `rows`. */
static void draw(const sg_corpus *c, sg_dim rows, sg_dim time, uint64_t seed, sg_dim first, sg_dim n, int32_t *out)
{
    sg_source s;
    sg_error err;
    CHECK_OK(sg_corpus_source(&s, c, rows, time, seed, &err), &err);
    CHECK(first % rows == 0 && n % rows == 0 && s.n_fields == 1 && s.field[0].dims[1] == time);
    for (sg_dim b = 0; b < n / rows; b++) {
        s.field[0].data = out + b * rows * time;
        CHECK_OK(s.fill(s.self, first / rows + b, s.field, &err), &err);
    }
    sg_source_free(&s);
}

/* 100 tokens in rows of 7: 13 an epoch, each begins 7 after another, so that together they are 91 tokens in a row. */
static void an_epoch_takes_each_row_of_a_stream_once(void **state)
{
    (void)state;
    make("a.npy", 0, 30, 0);
    make("b.npy", 30, 1, 0);
    make("c.safetensors", 31, 69, 0);
    sg_corpus *c = open_all("a.npy", "b.npy", "c.safetensors");
    const sg_corpus_info info = sg_corpus_get_info(c);
    CHECK(info.n_tokens == 100 && info.time == 100 && info.greatest == 99);
    bool offsets[7] = {false};
    int in_place = 0;
    for (sg_dim epoch = 0; epoch < 60; epoch++) {
        int32_t rows[13][7], least = 100;
        bool seen[13] = {false};
        draw(c, 13, 7, 3, 13 * epoch, 13, rows[0]);
        for (int r = 0; r < 13; r++)
            least = SG_MIN(least, rows[r][0]);
        CHECK(least < 7);
        offsets[least] = true;
        for (int r = 0; r < 13; r++) {
            for (int t = 1; t < 7; t++)
                CHECK(rows[r][t] == rows[r][0] + t);
            CHECK((rows[r][0] - least) % 7 == 0 && !seen[(rows[r][0] - least) / 7]);
            seen[(rows[r][0] - least) / 7] = true;
            in_place += (rows[r][0] - least) / 7 == r;
        }
    }
    for (int o = 0; o < 7; o++)
        CHECK(offsets[o]);
    CHECK_NEAR(in_place / 60.0, 1, 5 * sqrt(1 / 60.0), 0); /* fixed points of a permutation: mean 1, variance 1 */
    sg_corpus_free(c);
}

static void an_epoch_takes_each_row_of_its_own_once(void **state)
{
    (void)state;
    make("rows.npy", 0, 30, 6);
    make("wide.npy", 5, 24, 8);
    sg_corpus *c = open_all("rows.npy", "wide.npy", NULL);
    CHECK(sg_corpus_get_info(c).time == 6);
    for (sg_dim epoch = 0; epoch < 20; epoch++) {
        int32_t rows[8][5];
        bool seen[8] = {false};
        draw(c, 4, 5, 11, 8 * epoch, 8, rows[0]);
        for (int r = 0; r < 8; r++) {
            for (int t = 0; t < 5; t++)
                CHECK(rows[r][t] == rows[r][0]);
            CHECK(!seen[rows[r][0]]);
            seen[rows[r][0]] = true;
        }
    }
    sg_corpus_free(c);
}

static void rows_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    int32_t whole[24][7], parts[24][7];
    make("a.npy", 0, 100, 0);
    sg_corpus *c = open_all("a.npy", NULL, NULL);
    draw(c, 24, 7, 5, 0, 24, whole[0]);
    for (sg_dim rows = 1; rows <= 12; rows++)
        if (24 % rows == 0) {
            draw(c, rows, 7, 5, 0, 24, parts[0]);
            CHECK(memcmp(whole, parts, sizeof whole) == 0);
        }
    draw(c, 4, 7, 5, 12, 12, parts[0]); /* begun in the middle */
    CHECK(memcmp(whole[12], parts, sizeof whole / 2) == 0);
    draw(c, 24, 7, 6, 0, 24, parts[0]);
    CHECK(memcmp(whole, parts, sizeof whole) != 0); /* another seed */
    sg_corpus_free(c);
}

/* The least that will do: one row, wherever it begins. */
static void short_streams_are_used_to_the_last_token(void **state)
{
    (void)state;
    for (sg_dim n = 7; n < 16; n++) {
        int32_t rows[40][7], last = 0;
        make("a.npy", 0, n, 0);
        sg_corpus *c = open_all("a.npy", NULL, NULL);
        draw(c, 40, 7, 1, 0, 40, rows[0]);
        for (int r = 0; r < 40; r++)
            last = SG_MAX(last, rows[r][6]);
        CHECK(last < n && last >= (n < 14 ? n - 1 : 12));
        sg_corpus_free(c);
    }
}

static void text_is_encoded(void **state)
{
    (void)state;
    char tokenizer[1024];
    sg_tokenizer *t;
    sg_corpus *c;
    sg_error err;
    FILE *f = fopen(at("text.txt"), "wb");
    CHECK(f && fputs("Once upon a time", f) >= 0 && fclose(f) == 0);
    CHECK_OK(sg_corpus_new(&c, &err), &err);
    CHECK_STATUS(sg_corpus_add(c, at("text.txt"), NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "tokenizer");
    sg_corpus_free(c);
    SKIP_WITHOUT(sg_test_shared(tokenizer, "models/stories260K/tokenizer.json"), "stories260K");
    CHECK_OK(sg_corpus_new(&c, &err), &err);
    CHECK_OK(sg_tokenizer_open(&t, tokenizer, &err), &err);
    CHECK_OK(sg_corpus_add(c, at("text.txt"), t, &err), &err);
    CHECK(sg_corpus_get_info(c).n_tokens == 5); /* <s> Once upon a time */
    f = fopen(at("text.txt"), "wb");
    CHECK(f && fwrite("a\0b", 1, 3, f) == 3 && fclose(f) == 0);
    CHECK_STATUS(sg_corpus_add(c, at("text.txt"), t, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "byte 1");
    sg_corpus_free(c);
    sg_tokenizer_free(t);
}

static void what_is_no_corpus_is_refused(void **state)
{
    (void)state;
    sg_corpus *c;
    sg_source s;
    sg_error err;
    float x[4] = {0};
    CHECK_OK(sg_corpus_new(&c, &err), &err);
    CHECK_STATUS(sg_corpus_add(c, at("nowhere.npy"), NULL, &err), SG_ENOTFOUND);
    const sg_tensor reals = sg_tensor_of(SG_F32, 1, (sg_dim[]){4}, x);
    CHECK_OK(sg_npy_save(at("a.npy"), &reals, &err), &err);
    CHECK_STATUS(sg_corpus_add(c, path, NULL, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "f32 [4]");
    make("a.npy", -3, 10, 0);
    CHECK_STATUS(sg_corpus_add(c, path, NULL, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "token -3");
    make("a.npy", 0, 10, 0);
    CHECK_OK(sg_corpus_add(c, path, NULL, &err), &err);
    make("rows.npy", 0, 10, 5);
    CHECK_STATUS(sg_corpus_add(c, path, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "do not mix");
    CHECK_STATUS(sg_corpus_source(&s, c, 4, 11, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "have 10");
    CHECK_STATUS(sg_corpus_source(&s, c, 0, 5, 0, &err), SG_EARG);
    sg_source_free(&s);
    sg_corpus_free(c);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    make("a.npy", 0, 100, 0);
    make("c.safetensors", 0, 100, 0);
    for (long n = 0;; n++) {
        sg_corpus *c = NULL;
        sg_source s = {0};
        sg_error err;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_corpus_new(&c, &err);
        if (status == SG_OK)
            status = sg_corpus_add(c, at("a.npy"), NULL, &err);
        if (status == SG_OK)
            status = sg_corpus_add(c, at("c.safetensors"), NULL, &err);
        if (status == SG_OK)
            status = sg_corpus_source(&s, c, 4, 7, 0, &err);
        const bool fired = sg_faults_end();
        sg_source_free(&s);
        sg_corpus_free(c);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_takes_each_row_of_a_stream_once),
        cmocka_unit_test(an_epoch_takes_each_row_of_its_own_once),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
        cmocka_unit_test(short_streams_are_used_to_the_last_token),
        cmocka_unit_test(text_is_encoded),
        cmocka_unit_test(what_is_no_corpus_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
