/* Texts from small files made here, plain and packed. */
#include "sightglass/texts.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/base.h"
#include "check.h"

static char folder[200];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-texts-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void write_file(char path[300], const char *name, const char *bytes, size_t n)
{
    snprintf(path, 300, "%s/%s", folder, name);
    gzFile f = gzopen(path, strstr(name, ".gz") ? "wb" : "wbT");
    CHECK(f && gzwrite(f, bytes, (unsigned)n) == (int)n && gzclose(f) == Z_OK);
}

static void lines_of_json_are_texts(void **state)
{
    (void)state;
    static const char *const names[] = {"a.jsonl", "a.jsonl.gz", "a.ndjson"};
    static const char lines[] =
        "{\"text\": \"one \\u00e9\", \"n\": 1}\n\n  \r\n{\"text\": \"\"}\n{\"n\": 2, \"text\": \"two\"}";
    char path[300];
    sg_texts *t;
    sg_text text;
    sg_error err;
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        write_file(path, names[i], lines, strlen(lines));
        CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
        CHECK_OK(sg_texts_next(t, &text, &err), &err);
        CHECK(text.n == 6 && strcmp(text.bytes, "one \xc3\xa9") == 0 && text.offset == 0);
        CHECK_OK(sg_texts_next(t, &text, &err), &err);
        const int64_t second = text.offset;
        CHECK(strcmp(text.bytes, "two") == 0 && strncmp(lines + second, "{\"n\": 2", 7) == 0);
        CHECK_OK(sg_texts_next(t, &text, &err), &err);
        CHECK(!text.bytes && sg_texts_done(t) > 0.99);
        CHECK_OK(sg_texts_seek(t, second, &err), &err);
        CHECK_OK(sg_texts_next(t, &text, &err), &err);
        CHECK(strcmp(text.bytes, "two") == 0 && text.offset == second);
        sg_texts_close(t);
        unlink(path);
    }
}

/* Whatever the pieces are, one after another they are the file. */
static void pieces_are_the_file(void **state)
{
    (void)state;
    enum { N = 300000 };
    static const char *const names[] = {"a.txt", "a.txt.gz"};
    static char whole[N];
    char path[300];
    sg_texts *t;
    sg_text text;
    sg_error err;
    for (int kind = 0; kind < 3; kind++) { /* lines; words; nothing to cut at but characters of two bytes */
        for (int i = 0; i < N; i++)
            whole[i] = kind == 2                   ? (i % 2 ? '\xa9' : '\xc3')
                       : kind == 0 && i % 71 == 70 ? '\n'
                       : i % 7 == 6                ? ' '
                                                   : 'a';
        for (size_t name = 0; name < 2; name++) {
            size_t at = 0;
            int n = 0;
            write_file(path, names[name], whole, N);
            CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
            for (;; n++) {
                CHECK_OK(sg_texts_next(t, &text, &err), &err);
                if (!text.bytes)
                    break;
                CHECK(text.offset == (int64_t)at && at + text.n <= N && text.n <= 65536 &&
                      strlen(text.bytes) == text.n);
                CHECK(memcmp(text.bytes, whole + at, text.n) == 0);
                at += text.n;
                CHECK(at == N || kind != 0 || whole[at - 1] == '\n');
                CHECK(at == N || kind != 1 || whole[at] == ' ');
                CHECK(at == N || kind != 2 || at % 2 == 0);
                if (n == 1)
                    CHECK_OK(sg_texts_seek(t, (int64_t)at, &err), &err);
            }
            CHECK(at == N && n >= 5);
            sg_texts_close(t);
            unlink(path);
        }
    }
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *words;
    } cases[] = {
        {"b.jsonl", "{\"text\": \"a\"}\n{\"text\": 3}\n", 26, "byte 14 has no text \"text\""},
        {"b.jsonl", "{\"text\": \"a\"\n", 13, "byte 0 is no JSON object"},
        {"b.jsonl", "[1]\n", 4, "no JSON object"},
        {"b.txt", "ab\0c", 4, "byte 2 is 0"},
        {"b.jsonl", "{\"text\": \"\0\"}", 13, "is 0"},
    };
    char path[300];
    sg_texts *t;
    sg_text text;
    sg_error err;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_status status;
        write_file(path, cases[i].name, cases[i].bytes, cases[i].n);
        CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
        do
            status = sg_texts_next(t, &text, &err);
        while (status == SG_OK && text.bytes);
        CHECK(status == SG_EFORMAT && strstr(err.text, cases[i].words) && strstr(err.text, cases[i].name));
        sg_texts_close(t);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/none.txt", folder);
    CHECK(sg_texts_open(&t, path, "text", &err) == SG_ENOTFOUND && !t);

    /* A gz file that ends too early. */
    char noise[5000];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)('a' + i * i * 7919 % 26);
    write_file(path, "c.txt.gz", noise, sizeof noise);
    CHECK(truncate(path, 60) == 0);
    CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
    CHECK(sg_texts_next(t, &text, &err) == SG_EFORMAT && strstr(err.text, "end too early"));
    sg_texts_close(t);
    unlink(path);
    write_file(path, "last.jsonl", "{\"text\": \"\"}\n", 13); /* an empty text at the end is none either */
    CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
    CHECK_OK(sg_texts_next(t, &text, &err), &err);
    CHECK(!text.bytes && text.n == 0);
    sg_texts_close(t);
    unlink(path);
    write_file(path, "empty.txt", "", 0);
    CHECK_OK(sg_texts_open(&t, path, "text", &err), &err);
    CHECK_OK(sg_texts_next(t, &text, &err), &err);
    CHECK(!text.bytes);
    sg_texts_close(t);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_json_are_texts),
        cmocka_unit_test(pieces_are_the_file),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
