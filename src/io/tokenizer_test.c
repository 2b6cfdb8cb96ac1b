/* The tokenizer as a whole: real vocabularies against known ids, merging against a plain search, hostile files. */
#include <jansson.h>

#include "faults.h"
#include "io/tokenizer_test.h"

static const sg_encode_opts plain = {.add_special = false, .parse_special = true};

/* ---- real tokenizers ---- */

static void expected_ids(sg_str *out, const json_t *list)
{
    out->bytes = 0;
    sg_str_puts(out, "");
    for (size_t i = 0; i < json_array_size(list); i++)
        sg_str_printf(out, i ? " %d" : "%d", (int)json_integer_value(json_array_get(list, i)));
}

static void stories260k_gives_its_reference_ids_and_text(void **state)
{
    (void)state;
    char path[1024];
    sg_tokenizer *t;
    sg_error err;
    size_t n;
    char *text = read_shared("golden/stories260K.json", &n);
    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K/tokenizer.json"), "stories260K");
    CHECK_OK(sg_tokenizer_open(&t, path, &err), &err);
    json_t *golden = json_loadb(text, n, 0, NULL);
    const json_t *cases = json_object_get(golden, "tokenizer_cases");
    CHECK(json_array_size(cases) >= 7);
    sg_str want = {0};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        expected_ids(&want, json_object_get(one, "tokens"));
        check_ids(t, json_string_value(json_object_get(one, "text")), sg_encode_defaults(), want.text);
    }
    const json_t *greedy = json_object_get(golden, "greedy_from_bos_tokens");
    int32_t *ids = calloc(json_array_size(greedy) + 1, sizeof *ids);
    for (size_t i = 0; i < json_array_size(greedy); i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(greedy, i));
    check_decoded(t, ids, (int64_t)json_array_size(greedy), json_string_value(json_object_get(golden, "greedy_text")));

    CHECK(sg_tokenizer_size(t) == 512);
    assert_string_equal(sg_tokenizer_token(t, 1), "<s>");
    CHECK(sg_tokenizer_token(t, 512) == NULL && sg_tokenizer_token(t, -1) == NULL);
    CHECK(sg_tokenizer_id(t, "</s>") == 2 && sg_tokenizer_id(t, "no such token") == -1);
    CHECK(sg_tokenizer_is_special(t, 2) && !sg_tokenizer_is_special(t, 400) && !sg_tokenizer_is_special(t, 9999));
    free(ids);
    free(text);
    json_decref(golden);
    sg_str_free(&want);
    sg_tokenizer_free(t);
}

/* Lines of a merges.txt as a list of JSON strings. */
static void put_merges(sg_str *out, const char *lines)
{
    bool first = true;
    sg_str_puts(out, "[");
    for (size_t n; *lines != '\0'; lines += n + (lines[n] == '\n')) {
        n = strcspn(lines, "\n");
        if (n == 0 || strncmp(lines, "#version", 8) == 0)
            continue;
        sg_str_puts(out, first ? "" : ",");
        put_json(out, lines, n);
        first = false;
    }
    sg_str_puts(out, "]");
}

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true}"

static sg_tokenizer *open_byte_level(const char *vocab, const char *merges)
{
    sg_str json = {0};
    sg_str_puts(&json,
                "{\"pre_tokenizer\": " BYTE_LEVEL ", \"decoder\": " BYTE_LEVEL ", \"model\": {\"type\": \"BPE\", "
                "\"vocab\": ");
    sg_str_puts(&json, vocab);
    sg_str_puts(&json, ", \"merges\": ");
    put_merges(&json, merges);
    sg_str_puts(&json, "}}");
    CHECK(!json.failed);
    sg_tokenizer *t = tokenizer_of(json.text);
    sg_str_free(&json);
    return t;
}

static sg_tokenizer *open_gpt2(void)
{
    size_t n;
    char *vocab = read_shared("data/tokenizers/gpt2/gpt2_vocab.json", &n);
    char *merges = read_shared("data/tokenizers/gpt2/gpt2_merges.txt", &n);
    sg_tokenizer *t = open_byte_level(vocab, merges);
    free(vocab);
    free(merges);
    return t;
}

static void gpt2_gives_its_reference_ids(void **state)
{
    (void)state;
    sg_tokenizer *t = open_gpt2();
    check_vectors(t, VECTORS "gpt-2.gguf.inp", VECTORS "gpt-2.gguf.out", true);
    sg_tokenizer_free(t);
}

struct piece {
    float score;
    size_t left, right; /* bytes of the two halves of a merge */
    const char *text;
};

/* The order in which a SentencePiece vocabulary becomes merges: the best score first, then the longer halves. */
static int by_score(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->score < y->score || x->score > y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left != y->left)
        return x->left > y->left ? -1 : 1;
    return 0;
}

/* Llama-2's pieces from tokenizer.bin: an int, then for each a score, a length, the bytes. In it a mark is a space, and
 * <s> and </s> stand between line ends. */
static sg_str llama2_json(const char *bin, size_t n_bin)
{
    enum { N = 32000 };
    sg_str *texts = calloc(N, sizeof *texts);
    float *scores = calloc(N, sizeof *scores);
    sg_map *map = sg_map_new(N);
    size_t at = 4;
    for (int i = 0; i < N; i++) {
        int32_t n;
        CHECK(at + 8 <= n_bin);
        memcpy(&scores[i], bin + at, 4);
        memcpy(&n, bin + at + 4, 4);
        at += 8;
        for (int32_t k = 0; k < n; k++, at++) {
            if (bin[at] == ' ')
                sg_str_puts(&texts[i], "\xE2\x96\x81");
            else if (i > 2 || bin[at] != '\n')
                sg_str_append(&texts[i], bin + at, 1);
        }
        CHECK_OK(sg_map_put(map, texts[i].text, texts[i].bytes, i), NULL);
    }
    size_t n_merges = 0;
    struct piece *merges = calloc(200000, sizeof *merges);
    for (int i = 259; i < N; i++) /* after the three controls and the 256 bytes */
        for (size_t left = 1; left < texts[i].bytes; left++)
            if (sg_map_get(map, texts[i].text, left) >= 0 &&
                sg_map_get(map, texts[i].text + left, texts[i].bytes - left) >= 0) {
                CHECK(n_merges < 200000);
                merges[n_merges++] = (struct piece){scores[i], left, texts[i].bytes - left, texts[i].text};
            }
    qsort(merges, n_merges, sizeof *merges, by_score);

    sg_str json = {0};
    sg_str_puts(&json,
                "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
                "\"\xE2\x96\x81\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
                "\"\xE2\x96\x81\"}]}, \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                "\"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, "
                "{\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}, "
                "\"model\": {\"byte_fallback\": true, \"fuse_unk\": true, \"unk_token\": \"<unk>\", \"vocab\": {");
    for (int i = 0; i < N; i++) {
        sg_str_puts(&json, i ? "," : "");
        put_json(&json, texts[i].text, texts[i].bytes);
        sg_str_printf(&json, ":%d", i);
    }
    sg_str_puts(&json, "}, \"merges\": [");
    for (size_t i = 0; i < n_merges; i++) {
        sg_str_puts(&json, i ? ",[" : "[");
        put_json(&json, merges[i].text, merges[i].left);
        sg_str_puts(&json, ",");
        put_json(&json, merges[i].text + merges[i].left, merges[i].right);
        sg_str_puts(&json, "]");
    }
    sg_str_puts(&json, "]}}");
    for (int i = 0; i < N; i++)
        sg_str_free(&texts[i]);
    free(texts);
    free(scores);
    free(merges);
    sg_map_free(map);
    CHECK(!json.failed);
    return json;
}

static void llama2_gives_its_reference_ids(void **state)
{
    (void)state;
    size_t n;
    char *bin = read_shared("data/tokenizers/llama2/tokenizer.bin", &n);
    sg_str json = llama2_json(bin, n);
    sg_tokenizer *t = tokenizer_of(json.text);
    check_vectors(t, VECTORS "llama-spm.gguf.inp", VECTORS "llama-spm.gguf.out", true);
    sg_tokenizer_free(t);
    sg_str_free(&json);
    free(bin);
}

/* A valid text of random characters of all lengths, ASCII the most frequent. */
static void random_text(sg_str *out, uint64_t seed)
{
    static const char *const common[] = {" ", " ", "e", "t", "the", "\n", "1", "'s", "  ", "."};
    const uint64_t n = sg_hash(&seed, sizeof seed, 1) % 60;
    out->bytes = 0;
    sg_str_puts(out, "");
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t x = sg_hash(&i, sizeof i, seed);
        uint32_t c = (uint32_t)(x >> 8);
        switch (x % 8) {
        case 0:
            c = 0x80 + c % 0x780;
            sg_str_append(out, (char[]){(char)(0xC0 | c >> 6), (char)(0x80 | (c & 63))}, 2);
            break;
        case 1:
            c = 0x800 + c % 0xC800;
            sg_str_append(out, (char[]){(char)(0xE0 | c >> 12), (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63))},
                          3);
            break;
        case 2:
            c = 0x10000 + c % 0x100000;
            sg_str_append(out,
                          (char[]){(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 63)), (char)(0x80 | (c >> 6 & 63)),
                                   (char)(0x80 | (c & 63))},
                          4);
            break;
        case 3:
            sg_str_append(out, &(char){(char)(1 + c % 127)}, 1);
            break;
        default:
            sg_str_puts(out, common[c % SG_COUNT_OF(common)]);
        }
    }
}

static void check_round_trips(const sg_tokenizer *t)
{
    sg_str text = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        random_text(&text, seed);
        sg_tokens ids = {0};
        CHECK_OK(sg_tokenizer_encode(t, text.text, plain, &ids, NULL), NULL);
        check_decoded(t, ids.ids, ids.n, text.text);
        /* Ids that no text gives: cut characters everywhere, and still the stream is the whole. */
        for (int64_t i = 0; i < ids.n; i++)
            ids.ids[i] = (int32_t)(sg_hash(&i, sizeof i, seed) % (uint64_t)(sg_tokenizer_size(t) + 5));
        check_decoded(t, ids.ids, ids.n, NULL);
        sg_tokens_free(&ids);
    }
    sg_str_free(&text);
}

static void gpt2_gives_random_texts_back(void **state)
{
    (void)state;
    sg_tokenizer *t = open_gpt2();
    check_round_trips(t);
    sg_tokenizer_free(t);
}

/* The shared vocabulary is a list in the order of ids. */
static void gpt_neox_gives_random_texts_back(void **state)
{
    (void)state;
    size_t n;
    char *tokens = read_shared("data/tokenizers/gpt_neox/tokens.json", &n);
    char *merges = read_shared("data/tokenizers/gpt_neox/merges.txt", &n);
    json_t *list = json_loads(tokens, 0, NULL);
    sg_str vocab = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        sg_str_puts(&vocab, i ? "," : "{");
        put_json(&vocab, json_string_value(json_array_get(list, i)), json_string_length(json_array_get(list, i)));
        sg_str_printf(&vocab, ":%zu", i);
    }
    sg_str_puts(&vocab, "}");
    sg_tokenizer *t = open_byte_level(vocab.text, merges);
    check_round_trips(t);
    sg_tokenizer_free(t);
    sg_str_free(&vocab);
    json_decref(list);
    free(tokens);
    free(merges);
}

/* ---- merging ---- */

static void merges_go_by_rank_then_place(void **state)
{
    (void)state;
    sg_tokenizer *t =
        tokenizer_of("{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4, \"aa\": 5}, "
                     "\"merges\": [\"b c\", \"a b\", [\"a\", \"a\"]]}}");
    check_ids(t, "abc", plain, "0 4"); /* b c was learnt first */
    check_ids(t, "aab", plain, "0 3");
    check_ids(t, "aaa", plain, "5 0");
    check_ids(t, "xax", plain, "0"); /* without an unknown token what is unknown is left out */
    sg_tokenizer_free(t);
}

static void unknown_characters_are_fused_or_fall_back_to_bytes(void **state)
{
    (void)state;
    const char *vocab =
        "\"vocab\": {\"a\": 0, \"?\": 1, \"<0xC3>\": 2, \"<0xA9>\": 3}, \"merges\": [], \"unk_token\": \"?\"";
    static const struct {
        const char *more, *want;
    } cases[] = {{"", "1 1 0 1 0"},
                 {", \"fuse_unk\": true", "1 0 1 0"},
                 {", \"byte_fallback\": true, \"fuse_unk\": true", "1 0 2 3 0"}}; /* x has no byte's token */
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_str json = {0};
        sg_str_printf(&json, "{\"model\": {%s%s}}", vocab, cases[i].more);
        sg_tokenizer *t = tokenizer_of(json.text);
        check_ids(t,
                  "xya\xC3\xA9"
                  "a",
                  plain, cases[i].want);
        sg_tokenizer_free(t);
        sg_str_free(&json);
    }
}

static void affixes_tell_where_in_a_word_a_character_is(void **state)
{
    (void)state;
    sg_tokenizer *t =
        tokenizer_of("{\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"model\": {\"continuing_subword_prefix\": "
                     "\"##\", \"end_of_word_suffix\": \"$\", \"vocab\": {\"a\": 0, \"##b\": 1, \"##c$\": 2, "
                     "\"a$\": 3, \"ab\": 4, \"abc$\": 5, \"##b$\": 6}, \"merges\": [\"a ##b\", \"ab ##c$\"]}}");
    check_ids(t, "abc a ab abb", plain, "5 3 0 6 4 6");
    sg_tokenizer_free(t);
}

static void a_whole_piece_may_precede_merges(void **state)
{
    (void)state;
    for (int ignore = 0; ignore < 2; ignore++) {
        sg_str json = {0};
        sg_str_printf(&json,
                      "{\"pre_tokenizer\": " BYTE_LEVEL ", \"model\": {\"ignore_merges\": %s, \"merges\": [\"a b\"], "
                      "\"vocab\": {\"a\": 0, \"b\": 1, \"\xC4\xA0\": 2, \"ab\": 3, \"\xC4\xA0"
                      "ba\": 4}}}",
                      ignore ? "true" : "false");
        sg_tokenizer *t = tokenizer_of(json.text);
        check_ids(t, "ab ba", plain, ignore ? "3 4" : "3 2 1 0");
        sg_tokenizer_free(t);
        sg_str_free(&json);
    }
}

/* A model over a, b, c with random merges, each of two tokens that there are by then. */
enum { N_RANDOM = 40, MOST_SYMBOLS = 400 };

struct random_model {
    char text[3 + N_RANDOM][64];
    int left[N_RANDOM], right[N_RANDOM];
    int n;
};

static sg_tokenizer *random_model(struct random_model *m, uint64_t seed)
{
    sg_str vocab = {0}, merges = {0}, json = {0};
    *m = (struct random_model){.text = {"a", "b", "c"}};
    const int most = 1 + (int)(seed % N_RANDOM); /* with few merges most neighbours never join */
    sg_str_puts(&vocab, "\"a\":0,\"b\":1,\"c\":2");
    sg_str_puts(&merges, "");
    for (uint64_t i = 0; i < 4 * N_RANDOM && m->n < most; i++) {
        const uint64_t x = sg_hash(&i, sizeof i, seed);
        const int l = (int)(x % (uint64_t)(3 + m->n)), r = (int)(x / 1000 % (uint64_t)(3 + m->n));
        char text[160];
        if (strlen(m->text[l]) + strlen(m->text[r]) > 12)
            continue;
        snprintf(text, sizeof text, "%s%s", m->text[l], m->text[r]);
        bool known = false;
        for (int k = 0; k < 3 + m->n; k++)
            known |= strcmp(m->text[k], text) == 0;
        if (known)
            continue;
        sg_str_printf(&vocab, ",\"%s\":%d", text, 3 + m->n);
        sg_str_printf(&merges, "%s\"%s %s\"", m->n ? "," : "", m->text[l], m->text[r]);
        memcpy(m->text[3 + m->n], text, sizeof m->text[0]);
        m->left[m->n] = l;
        m->right[m->n++] = r;
    }
    sg_str_printf(&json, "{\"model\": {\"vocab\": {%s}, \"merges\": [%s]}}", vocab.text, merges.text);
    sg_tokenizer *t = tokenizer_of(json.text);
    sg_str_free(&vocab);
    sg_str_free(&merges);
    sg_str_free(&json);
    return t;
}

/* The definition: merge the pair of lowest rank, the leftmost of those, until there is none. */
static int merge_plainly(const struct random_model *m, int *ids, int n)
{
    for (;;) {
        int best = m->n, at = -1;
        for (int i = 0; i + 1 < n; i++)
            for (int rank = 0; rank < best; rank++)
                if (ids[i] == m->left[rank] && ids[i + 1] == m->right[rank]) {
                    best = rank;
                    at = i;
                }
        if (at < 0)
            return n;
        ids[at] = 3 + best;
        memmove(ids + at + 1, ids + at + 2, (size_t)(--n - at - 1) * sizeof *ids);
    }
}

static void merging_equals_its_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct random_model m;
        sg_tokenizer *t = random_model(&m, seed);
        char text[MOST_SYMBOLS + 1] = "";
        int ids[MOST_SYMBOLS], n = (int)(sg_hash(&seed, sizeof seed, 7) % MOST_SYMBOLS);
        for (int i = 0; i < n; i++) {
            ids[i] = (int)(sg_hash(&i, sizeof i, seed) % 3);
            text[i] = (char)('a' + ids[i]);
        }
        sg_str want = {0};
        n = merge_plainly(&m, ids, n);
        sg_str_puts(&want, "");
        for (int i = 0; i < n; i++)
            sg_str_printf(&want, i ? " %d" : "%d", ids[i]);
        check_ids(t, text, plain, want.text);
        sg_str_free(&want);
        sg_tokenizer_free(t);
    }
}

/* One piece of a million characters, in which every merge is stale many times over.  Quadratic work would take hours.
 */
static void a_long_piece_takes_its_length_times_a_logarithm(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    sg_tokenizer *t =
        tokenizer_of("{\"model\": {\"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2, \"aaaaaaaa\": 3, \"b\": 4}, "
                     "\"merges\": [\"a a\", \"aa aa\", \"aaaa aaaa\"]}}");
    char *text = malloc(N + 1);
    memset(text, 'a', N);
    text[N - 1] = 'b';
    text[N] = '\0';
    sg_tokens ids = {0};
    CHECK_OK(sg_tokenizer_encode(t, text, plain, &ids, NULL), NULL);
    CHECK(ids.n == N / 8 - 1 + 3 + 1); /* the last 7 are 4 + 2 + 1 */
    CHECK(ids.ids[0] == 3 && ids.ids[ids.n - 4] == 2 && ids.ids[ids.n - 2] == 0 && ids.ids[ids.n - 1] == 4);
    sg_tokens_free(&ids);
    free(text);
    sg_tokenizer_free(t);
}

/* ---- what surrounds the model ---- */

#define LETTERS                                                                                                        \
    "\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \" \": 3, \"x\": 4, \"<\": 5, \">\": 6}, \"merges\": []}"
#define ADDED(id, text, more) "{\"id\": " #id ", \"content\": \"" text "\", \"normalized\": false" more "}"

static void added_tokens_are_cut_out_whole(void **state)
{
    (void)state;
    sg_tokenizer *t =
        tokenizer_of("{" LETTERS ", \"added_tokens\": [" ADDED(10, "ab", "") "," ADDED(11, "abc", "") "," ADDED(
            12, "<x>",
            ", \"special\": true, \"lstrip\": true, \"rstrip\": true") "," ADDED(13, "ca",
                                                                                 ", \"single_word\": true") "]}");
    check_ids(t, "abcab", plain, "11 10");
    check_ids(t, "aab", plain, "0 10");
    check_ids(t, " <x>  a", plain, "12 0");
    check_ids(t, "a <x><x> <x>", plain, "0 12 12 12");
    check_ids(t, "ca", plain, "13");
    check_ids(t, "a ca aca", plain, "0 3 13 3 0 2 0");
    sg_encode_opts opts = sg_encode_defaults();
    opts.parse_special = false;
    check_ids(t, "<x>ab", opts, "5 4 6 10"); /* others than special tokens are still cut out */
    CHECK(sg_tokenizer_size(t) == 14 && sg_tokenizer_token(t, 8) == NULL && sg_tokenizer_id(t, "<x>") == 12);
    CHECK(sg_tokenizer_is_special(t, 12) && !sg_tokenizer_is_special(t, 11));
    sg_tokenizer_free(t);
}

static void normalized_added_tokens_meet_the_normalized_text(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of(
        "{" LETTERS ", \"normalizer\": {\"type\": \"Lowercase\"}, \"added_tokens\": [{\"id\": 10, \"content\": "
        "\"AB\", \"normalized\": true}, " ADDED(11, "BC", "") "]}");
    check_ids(t, "aB Ab", plain, "10 3 10");
    check_ids(t, "aBC abc bc", plain, "0 11 3 10 2 3 1 2");
    sg_tokenizer_free(t);
}

static void a_post_processor_adds_ids_around(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of(
        "{" LETTERS
        ", \"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, {\"type\": "
        "\"BertProcessing\", \"sep\": [\"s\", 21], \"cls\": [\"c\", 20]}, {\"type\": \"TemplateProcessing\", "
        "\"single\": "
        "[{\"SpecialToken\": {\"id\": \"two\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
        "\"special_tokens\": {\"two\": {\"id\": \"two\", \"ids\": [30, 31]}}}]}}");
    check_ids(t, "ab", sg_encode_defaults(), "30 31 20 0 1 21");
    check_ids(t, "", sg_encode_defaults(), "30 31 20 21");
    check_ids(t, "ab", plain, "0 1");
    sg_tokenizer_free(t);
}

static void bytes_that_are_not_utf8_become_replacement_characters(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of("{\"model\": {\"vocab\": {\"a\": 0, \"\xEF\xBF\xBD\": 1}, \"merges\": []}}");
    /* One for each maximal part: the first three bytes of F0 9F 98 80 are one, a surrogate's three bytes are three. */
    check_ids(t,
              "a\xF0\x9F\x98"
              "a\xED\xA0\x80"
              "a\xC0\xAF\xFF",
              plain, "0 1 0 1 1 1 0 1 1 1");
    check_ids(t, "\xE2\x82", plain, "1");
    sg_tokenizer_free(t);
}

/* ---- files that are not what they should be ---- */

#define MODEL(members) "{\"model\": {" members "}}"
#define WITH(members)  "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}, " members "}"

static void bad_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        sg_status status;
        const char *words;
    } cases[] = {
        {"", SG_EFORMAT, "line 1"},
        {"[1]", SG_EFORMAT, "not a JSON object"},
        {"{}", SG_EFORMAT, "\"model\" is missing"},
        {"{\"model\": 3}", SG_EFORMAT, "\"model\" is not an object"},
        {MODEL("\"type\": \"WordLevel\", \"vocab\": {}"), SG_EUNSUPPORTED, "WordLevel"},
        {MODEL("\"type\": 1"), SG_EFORMAT, "\"type\" is not a text"},
        {MODEL("\"merges\": []"), SG_EFORMAT, "model.vocab is missing"},
        {MODEL("\"vocab\": {\"a\": 0}"), SG_EFORMAT, "model.merges is missing"},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": {}"), SG_EFORMAT, "model.merges is not a list"},
        {MODEL("\"vocab\": {\"a\": 0, \"ab\": 1}, \"merges\": []"), SG_EFORMAT, "has no merges"},
        {MODEL("\"vocab\": {\"a\": -1}, \"merges\": []"), SG_EFORMAT, "id of \"a\" is -1"},
        {MODEL("\"vocab\": {\"a\": 16777216}, \"merges\": []"), SG_EFORMAT, "id of \"a\" is 16777216"},
        {MODEL("\"vocab\": {\"a\": 1.5}, \"merges\": []"), SG_EFORMAT, "id of \"a\" is not a whole number"},
        {MODEL("\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []"), SG_EFORMAT, "id 0 is used by both \"a\" and \"b\""},
        {MODEL("\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []"), SG_EFORMAT, "duplicate"},
        {MODEL("\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]"), SG_EFORMAT, "merge 0 needs the token \"ab\""},
        {MODEL("\"vocab\": {\"a\": 0, \"ab\": 1}, \"merges\": [\"a b\"]"), SG_EFORMAT, "merge 0 needs the token \"b\""},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"ab\"]"), SG_EFORMAT, "merge 0, \"ab\", is not two tokens"},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]"), SG_EFORMAT, "is not two tokens"},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]"), SG_EFORMAT, "merge 0 is neither"},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1"), SG_EUNSUPPORTED, "dropout of 0.1"},
        {MODEL("\"vocab\": {\"a\": 0}, \"merges\": [], \"fuse_unk\": 1"), SG_EFORMAT,
         "\"fuse_unk\" is not true or false"},
        {MODEL("\"vocab\": {\"##\": 0, \"a\": 1}, \"merges\": [\"a a\"], \"continuing_subword_prefix\": \"##\""),
         SG_EFORMAT, "shorter than \"##\""},
        {WITH("\"added_tokens\": {}"), SG_EFORMAT, "\"added_tokens\" is not a list"},
        {WITH("\"added_tokens\": [{\"id\": 1}]"), SG_EFORMAT, "added token 0 has no \"content\""},
        {WITH("\"added_tokens\": [{\"id\": 0, \"content\": \"b\"}]"), SG_EFORMAT, "id 0 is used by both"},
        {WITH("\"added_tokens\": [{\"id\": 1, \"content\": \"a\"}]"), SG_EFORMAT, "\"a\" has the two ids 0 and 1"},
        {WITH("\"normalizer\": {\"type\": \"Odd\"}"), SG_EUNSUPPORTED, "normalizer of type \"Odd\""},
        {WITH("\"normalizer\": {\"type\": \"Precompiled\"}"), SG_EFORMAT, "\"precompiled_charsmap\" is missing"},
        {WITH("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"A*\"}"), SG_EFORMAT,
         "not base64"},
        {WITH("\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"CAAAAA==\"}"), SG_EFORMAT,
         "its table has 8 of 4 bytes"},
        {MODEL("\"type\": \"Unigram\", \"vocab\": [[\"a\"]]"), SG_EFORMAT, "item 0 of model.vocab has no score"},
        {MODEL("\"vocab\": [3]"), SG_EFORMAT, "item 0 of model.vocab is not [text, score]"},
        {MODEL("\"type\": \"Unigram\", \"vocab\": [[\"a\", 0]], \"unk_id\": 1"), SG_EFORMAT,
         "unk_id is 1, of 1 tokens"},
        {MODEL("\"type\": \"Unigram\", \"vocab\": {}"), SG_EFORMAT, "not a list, as a Unigram"},
        {MODEL("\"type\": \"BPE\", \"vocab\": []"), SG_EFORMAT, "as only a Unigram"},
        {WITH("\"normalizer\": {}"), SG_EFORMAT, "normalizer has no \"type\""},
        {WITH("\"normalizer\": {\"type\": \"Sequence\"}"), SG_EFORMAT, "no list \"normalizers\""},
        {WITH("\"normalizer\": {\"type\": \"Prepend\"}"), SG_EFORMAT, "\"prepend\" is missing"},
        {WITH("\"normalizer\": {\"type\": \"Replace\", \"content\": \"\", \"pattern\": {}}"), SG_EFORMAT,
         "\"pattern\" is neither"},
        {WITH("\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}"), SG_EUNSUPPORTED, "UnicodeScripts"},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}"),
         SG_EFORMAT, "pattern \"(\""},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}, \"behavior\": "
              "\"Isolated\"}"),
         SG_EUNSUPPORTED, "an intersection of sets"},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a[^b]]\"}, \"behavior\": "
              "\"Isolated\"}"),
         SG_EUNSUPPORTED, "a negated set inside a set"},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a\\\\S]\"}, \"behavior\": "
              "\"Isolated\"}"),
         SG_EUNSUPPORTED, "a negated class inside a set"},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, \"behavior\": \"Isolated\"}"),
         SG_EFORMAT, "a pattern is empty"},
        {WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Odd\"}"),
         SG_EUNSUPPORTED, "behavior \"Odd\""},
        {WITH("\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}"), SG_EFORMAT,
         "not a single character"},
        {WITH("\"decoder\": {\"type\": \"CTC\"}"), SG_EUNSUPPORTED, "decoder of type \"CTC\""},
        {WITH("\"decoder\": {\"type\": \"Strip\", \"content\": \"a\", \"start\": -1}"), SG_EFORMAT, "\"start\" is not"},
        {WITH("\"post_processor\": {\"type\": \"Other\"}"), SG_EUNSUPPORTED, "post_processor of type \"Other\""},
        {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}"), SG_EFORMAT,
         "lacks the sequence A"},
        {WITH("\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
              "\"q\"}}]}"),
         SG_EFORMAT, "names \"q\" without giving its ids"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_tokenizer *t = NULL;
        sg_error err = {.status = SG_OK};
        const sg_status status = sg_tokenizer_parse(&t, cases[i].json, strlen(cases[i].json), "test", &err);
        if (status != cases[i].status)
            print_error("%s\n", cases[i].json);
        CHECK_OK(status == cases[i].status ? SG_OK : status, &err);
        CHECK(t == NULL && err.status == status);
        CHECK_TEXT(err.text, cases[i].words);
        CHECK_TEXT(err.text, "test: ");
    }
    sg_tokenizer *t;
    CHECK_STATUS(sg_tokenizer_open(&t, "/no/such/file", NULL), SG_ENOTFOUND);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    sg_str json = {0};
    sg_error err;
    sg_tokenizer *t;
    sg_str_puts(&json, "{\"model\": {\"vocab\": {}, \"merges\": []}, \"decoder\": ");
    for (int i = 0; i < 20; i++)
        sg_str_puts(&json, "{\"type\": \"Sequence\", \"decoders\": [");
    for (int i = 0; i < 20; i++)
        sg_str_puts(&json, "]}");
    sg_str_puts(&json, "}");
    CHECK_STATUS(sg_tokenizer_parse(&t, json.text, json.bytes, "test", &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "nests");
    sg_str_free(&json);
}

static void a_pattern_that_explodes_is_stopped(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of(WITH("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": "
                                        "\"(a+)+(?=b)\"}, \"behavior\": \"Isolated\"}"));
    sg_tokens ids = {0};
    sg_error err;
    CHECK_STATUS(sg_tokenizer_encode(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", plain, &ids, &err),
                 SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "too many steps");
    CHECK(ids.n == 0);
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
}

static void an_absent_unknown_token_is_reported_when_needed(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of(MODEL("\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"<unk>\""));
    sg_tokens ids = {0};
    sg_error err;
    check_ids(t, "aa", plain, "0 0");
    CHECK_STATUS(sg_tokenizer_encode(t, "ab", plain, &ids, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "\"<unk>\"");
    CHECK(ids.n == 0); /* nothing of a text that failed */
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
}

/* Every part, each as small as can be. */
static const char whole[] =
    "{\"added_tokens\": [{\"id\": 20, \"content\": \"<s>\", \"special\": true}, {\"id\": 21, \"content\": \"Q\", "
    "\"normalized\": true}], \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, "
    "{\"type\": "
    "\"Replace\", \"pattern\": {\"Regex\": \"z+\"}, \"content\": \"a\"}, {\"type\": \"Prepend\", \"prepend\": "
    "\"_\"}]}, "
    "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Metaspace\", \"replacement\": \"_\", "
    "\"prepend_scheme\": \"first\"}, {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\w+\"}, \"behavior\": "
    "\"MergedWithNext\"}]}, \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
    "{\"id\": "
    "\"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}], \"special_tokens\": {\"<s>\": {\"ids\": [20]}}}, \"decoder\": "
    "{\"type\": "
    "\"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"_\"}, \"content\": \" \"}, "
    "{\"type\": "
    "\"ByteFallback\"}, {\"type\": \"BPEDecoder\", \"suffix\": \"!\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
    "\"content\": \" \", \"start\": 1, \"stop\": 1}]}, \"model\": {\"type\": \"BPE\", \"unk_token\": \"?\", "
    "\"byte_fallback\": true, \"vocab\": {\"a\": 0, \"b\": 1, \"_\": 2, \"ab\": 3, \"?\": 4, \"<0xC3>\": 5, "
    "\"<0xA9>\": 6, "
    "\"_ab\": 7}, \"merges\": [\"a b\", \"_ ab\"]}}";

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    for (size_t n = 0; n + 1 < sizeof whole; n++) {
        sg_tokenizer *t;
        char *part = malloc(n + 1); /* exactly as long, so that a sanitizer sees a read past it */
        memcpy(part, whole, n);
        CHECK_STATUS(sg_tokenizer_parse(&t, part, n, "test", NULL), SG_EFORMAT);
        free(part);
    }
}

/* Opens, encodes, decodes and streams; frees all whatever happens. */
static sg_status use_all(sg_error *err)
{
    sg_tokenizer *t;
    sg_tokens ids = {0};
    sg_stream stream = {0};
    char *text = NULL, *piece = NULL;
    sg_status status = sg_tokenizer_parse(&t, whole, sizeof whole - 1, "test", err);
    if (status == SG_OK)
        status = sg_tokenizer_encode(t, "ab zb\xC3\xA9 e\xCC\x81Q<s>ab", sg_encode_defaults(), &ids, err);
    if (status == SG_OK)
        status = sg_tokenizer_decode(t, ids.ids, ids.n, true, &text, err);
    for (int64_t i = 0; status == SG_OK && i < ids.n; i++) {
        status = sg_stream_push(t, &stream, ids.ids[i], &piece, err);
        free(piece);
    }
    if (status == SG_OK) {
        status = sg_stream_finish(t, &stream, &piece, err);
        free(piece);
    }
    free(text);
    sg_stream_free(&stream);
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
    return status;
}

/* jansson keeps its own allocator: version 2.14 frees twice when its memory runs out while it parses. */
static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (int kind = SG_FAULT_ONCE; kind <= SG_FAULT_ONWARD; kind++) {
        long n_faults = 0;
        for (;; n_faults++) {
            sg_error err = {.text = ""};
            sg_faults_begin(n_faults, (sg_fault_kind)kind);
            const sg_status status = use_all(&err);
            if (!sg_faults_end()) {
                CHECK_OK(status, &err);
                break;
            }
            /* Machine code for a pattern is an extra, so doing without is no failure. */
            CHECK(status == SG_ENOMEM || (status == SG_OK && kind == SG_FAULT_ONCE));
        }
        CHECK(n_faults > 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories260k_gives_its_reference_ids_and_text),
        cmocka_unit_test(gpt2_gives_its_reference_ids),
        cmocka_unit_test(llama2_gives_its_reference_ids),
        cmocka_unit_test(gpt2_gives_random_texts_back),
        cmocka_unit_test(gpt_neox_gives_random_texts_back),
        cmocka_unit_test(merges_go_by_rank_then_place),
        cmocka_unit_test(unknown_characters_are_fused_or_fall_back_to_bytes),
        cmocka_unit_test(affixes_tell_where_in_a_word_a_character_is),
        cmocka_unit_test(a_whole_piece_may_precede_merges),
        cmocka_unit_test(merging_equals_its_definition),
        cmocka_unit_test(a_long_piece_takes_its_length_times_a_logarithm),
        cmocka_unit_test(added_tokens_are_cut_out_whole),
        cmocka_unit_test(normalized_added_tokens_meet_the_normalized_text),
        cmocka_unit_test(a_post_processor_adds_ids_around),
        cmocka_unit_test(bytes_that_are_not_utf8_become_replacement_characters),
        cmocka_unit_test(bad_files_are_refused_by_name),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_pattern_that_explodes_is_stopped),
        cmocka_unit_test(an_absent_unknown_token_is_reported_when_needed),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
