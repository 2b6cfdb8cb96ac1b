/* What the tokenizer's tests share: tokenizers written in place, and ids shown as texts. */
#ifndef SG_TOKENIZER_TEST_H
#define SG_TOKENIZER_TEST_H

#include "base/base.h"
#include "check.h"
#include "io/tokenizer_internal.h"
#include "sightglass/tokenizer.h"

static inline sg_tokenizer *tokenizer_of(const char *json)
{
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_parse(&t, json, strlen(json), "test", &err), &err);
    return t;
}

/* Appends the text as a JSON string. */
static inline void put_json(sg_str *out, const char *text, size_t n)
{
    sg_str_append(out, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20) {
            sg_str_printf(out, "\\u%04x", (unsigned)text[i]);
        } else {
            if (text[i] == '"' || text[i] == '\\')
                sg_str_append(out, "\\", 1);
            sg_str_append(out, text + i, 1);
        }
    }
    sg_str_append(out, "\"", 1);
}

/* A model that shows what reaches it: every character is a token, and the last one of a piece is another token whose
 * text ends in '|', so the tokens' texts one after another are the pieces with a bar after each. What is not in
 * `characters` becomes '~'. */
static inline sg_tokenizer *showing_tokenizer(const char *parts, const char *characters)
{
    sg_str json = {0};
    int id = 1;
    sg_str_printf(&json, "{%s, \"model\": {\"unk_token\": \"~\", \"end_of_word_suffix\": \"|\", \"merges\": [], ",
                  parts);
    sg_str_puts(&json, "\"vocab\": {\"~\": 0");
    for (const char *c = characters; *c != '\0';) {
        size_t n = 1;
        while (((unsigned char)c[n] & 0xC0) == 0x80)
            n++;
        char text[8] = "";
        memcpy(text, c, n);
        for (int last = 0; last < 2; last++) {
            sg_str_puts(&json, ", ");
            text[n] = last ? '|' : '\0';
            put_json(&json, text, n + (size_t)last);
            sg_str_printf(&json, ": %d", id++);
        }
        c += n;
    }
    sg_str_puts(&json, "}}}");
    sg_tokenizer *t = tokenizer_of(json.text);
    sg_str_free(&json);
    return t;
}

/* The tokens' texts one after another; the caller frees. */
static inline char *shown(const sg_tokenizer *t, const char *text)
{
    sg_tokens ids = {0};
    sg_str out = {0};
    sg_error err;
    CHECK_OK(sg_tokenizer_encode(t, text, sg_encode_defaults(), &ids, &err), &err);
    sg_str_puts(&out, "");
    for (int64_t i = 0; i < ids.n; i++)
        sg_str_puts(&out, sg_tokenizer_token(t, ids.ids[i]));
    sg_tokens_free(&ids);
    return out.text;
}

#define CHARACTERS                                                                                                     \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?'_-+$\t\n"                                     \
    "\xC3\xA9\xC3\x89\xE2\x96\x81\xCC\x81\xCC\x87\xC4\xA0\xC3\x83\xC2\xA9\xC2\xBD\xE1\x84\x80\xEA\xB0\x80"

#define CHECK_SHOWN(parts, text, want)                                                                                 \
    do {                                                                                                               \
        sg_tokenizer *shower_ = showing_tokenizer((parts), CHARACTERS);                                                \
        char *got_ = shown(shower_, (text));                                                                           \
        assert_string_equal(got_, (want));                                                                             \
        free(got_);                                                                                                    \
        sg_tokenizer_free(shower_);                                                                                    \
    } while (0)

/* The ids are these, "1 2 3". */
static inline void check_ids(const sg_tokenizer *t, const char *text, sg_encode_opts opts, const char *want)
{
    sg_tokens ids = {0};
    sg_str got = {0};
    sg_error err;
    CHECK_OK(sg_tokenizer_encode(t, text, opts, &ids, &err), &err);
    sg_str_puts(&got, "");
    for (int64_t i = 0; i < ids.n; i++)
        sg_str_printf(&got, i ? " %d" : "%d", (int)ids.ids[i]);
    assert_string_equal(got.text, want);
    sg_str_free(&got);
    sg_tokens_free(&ids);
}

/* The ids decode to this text, special tokens left out, at once and as a stream. */
static inline void check_decoded(const sg_tokenizer *t, const int32_t *ids, int64_t n, const char *want)
{
    char *text, *piece;
    sg_str streamed = {0};
    sg_stream stream = {0};
    sg_error err;
    CHECK_OK(sg_tokenizer_decode(t, ids, n, true, &text, &err), &err);
    if (want)
        assert_string_equal(text, want);
    for (int64_t i = 0; i < n; i++) {
        CHECK_OK(sg_stream_push(t, &stream, ids[i], &piece, &err), &err);
        sg_str_puts(&streamed, piece);
        free(piece);
    }
    CHECK_OK(sg_stream_finish(t, &stream, &piece, &err), &err);
    sg_str_puts(&streamed, piece);
    free(piece);
    assert_string_equal(streamed.text, text);
    sg_str_free(&streamed);
    free(text);
}

/* ---- shared data ---- */

/* The file's bytes and a NUL; the caller frees. */
static inline char *read_shared(const char *relative, size_t *n)
{
    char path[1024];
    sg_file *file;
    sg_error err;
    SKIP_WITHOUT(sg_test_shared(path, relative), relative);
    CHECK_OK(sg_file_open(&file, path, &err), &err);
    *n = sg_file_bytes(file);
    char *bytes = calloc(*n + 1, 1);
    CHECK(bytes != NULL);
    memcpy(bytes, sg_file_data(file), *n);
    sg_file_close(file);
    return bytes;
}

/* The texts of NAME.inp give the ids of NAME.out, and where the tokenizer keeps every byte come back. */
static inline void check_vectors(const sg_tokenizer *t, const char *inputs, const char *outputs, bool lossless)
{
    static const char between[] = "\n__ggml_vocab_test__\n";
    size_t n;
    int n_cases = 0;
    char *in = read_shared(inputs, &n), *out = read_shared(outputs, &n);
    char *text = in, *line = out;
    for (bool last = false; !last; n_cases++) {
        char *end = strstr(text, between);
        last = end == NULL;
        if (end)
            *end = '\0';
        const size_t n_line = strcspn(line, "\n");
        line[n_line] = '\0';
        check_ids(t, text, (sg_encode_opts){.parse_special = true}, line + strspn(line, " "));
        sg_tokens ids = {0};
        CHECK_OK(sg_tokenizer_encode(t, text, (sg_encode_opts){.parse_special = true}, &ids, NULL), NULL);
        check_decoded(t, ids.ids, ids.n, lossless ? text : NULL);
        sg_tokens_free(&ids);
        text = end ? end + strlen(between) : text;
        line += n_line + 1;
    }
    CHECK(n_cases == 47);
    free(in);
    free(out);
}

#define VECTORS "data/tokenizers/llama_cpp_test_vectors/ggml-vocab-"

#endif
