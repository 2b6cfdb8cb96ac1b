/* Tokenizers from the files of a model's folder: real ones against known ids, small ones written here, broken ones. */
#include <sys/stat.h>

#include "io/tokenizer_test.h"

static const sg_encode_opts plain = {.add_special = false, .parse_special = true};

/* ---- real ones ---- */

static sg_tokenizer *open_shared_folder(const char *folder)
{
    char path[1024];
    sg_tokenizer *t;
    sg_error err;
    SKIP_WITHOUT(sg_test_shared(path, folder), folder);
    CHECK_OK(sg_tokenizer_open_folder(&t, path, &err), &err);
    return t;
}

static void bert_gives_its_reference_ids(void **state)
{
    (void)state;
    sg_tokenizer *t = open_shared_folder("data/tokenizers/bert_uncased");
    check_vectors(t, VECTORS "bert-bge.gguf.inp", VECTORS "bert-bge.gguf.out", false);
    check_ids(t, "Hello world", sg_encode_defaults(), "101 7592 2088 102");
    check_ids(t, "a [MASK].", plain, "1037 103 1012");
    check_decoded(t, (int32_t[]){101, 7592, 1010, 2088, 999, 6207, 2015, 102}, 8, "hello, world! apples");
    CHECK(sg_tokenizer_specials(t).cls == 101 && sg_tokenizer_specials(t).mask == 103 &&
          sg_tokenizer_specials(t).bos == -1);
    sg_tokenizer_free(t);
}

/* The same vocabulary as GGUF has it: a mark before what begins a word. */
static void bert_as_gguf_has_it_gives_its_reference_ids(void **state)
{
    (void)state;
    enum { N = 30522 };
    size_t n;
    char *text = read_shared("data/tokenizers/bert_uncased/vocab.txt", &n);
    char(*store)[64] = calloc(N, sizeof *store);
    const char **tokens = calloc(N, sizeof *tokens);
    int i = 0;
    for (char *line = strtok(text, "\n"); line && i < N; line = strtok(NULL, "\n"), i++) {
        const bool bracketed = line[0] == '[' && line[strlen(line) - 1] == ']';
        snprintf(store[i], sizeof store[i], "%s%.60s", bracketed || strncmp(line, "##", 2) == 0 ? "" : "\xE2\x96\x81",
                 strncmp(line, "##", 2) == 0 ? line + 2 : line);
        tokens[i] = store[i];
    }
    CHECK(i == N);
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    in.kind = SG_TOKENIZER_WORDPIECE;
    in.n = N;
    in.tokens = tokens;
    in.unk = 100;
    in.cls = 101;
    in.sep = 102;
    in.add_bos = in.add_eos = true;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    check_vectors(t, VECTORS "bert-bge.gguf.inp", VECTORS "bert-bge.gguf.out", false);
    check_ids(t, "Hello world", sg_encode_defaults(), "101 7592 2088 102");
    sg_tokenizer_free(t);
    free(tokens);
    free(store);
    free(text);
}

static void llama2_from_its_protobuf_gives_its_reference_ids(void **state)
{
    (void)state;
    sg_tokenizer *t = open_shared_folder("data/tokenizers/llama2");
    check_vectors(t, VECTORS "llama-spm.gguf.inp", VECTORS "llama-spm.gguf.out", true);
    check_ids(t, "Hello", sg_encode_defaults(), "1 15043");
    check_ids(t, "</s>", plain, "2");
    CHECK(sg_tokenizer_specials(t).bos == 1 && sg_tokenizer_specials(t).unk == 0);
    sg_tokenizer_free(t);
}

/* ---- small ones, written to a folder ---- */

static char folder[] = "/tmp/sg_tokenizer_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void clear_folder(void)
{
    static const char *const names[] = {
        "tokenizer.json",        "tokenizer.model",   "vocab.json",          "merges.txt",   "vocab.txt",
        "tokenizer_config.json", "added_tokens.json", "chat_template.jinja", "spiece.model", "special_tokens_map.json"};
    char path[512];
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
}

static int remove_folder(void **state)
{
    (void)state;
    clear_folder();
    return rmdir(folder);
}

static void put_file(const char *name, const void *bytes, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

static void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

static sg_tokenizer *open_folder(void)
{
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_open_folder(&t, folder, &err), &err);
    return t;
}

static void check_refused(sg_status status, const char *words)
{
    sg_tokenizer *t;
    sg_error err;
    CHECK_STATUS(sg_tokenizer_open_folder(&t, folder, &err), status);
    CHECK_TEXT(err.text, words);
    CHECK(t == NULL);
}

static void gpt2_from_its_two_files_gives_its_reference_ids(void **state)
{
    (void)state;
    size_t n_vocab, n_merges;
    char *vocab = read_shared("data/tokenizers/gpt2/gpt2_vocab.json", &n_vocab);
    char *merges = read_shared("data/tokenizers/gpt2/gpt2_merges.txt", &n_merges);
    clear_folder();
    put_file("vocab.json", vocab, n_vocab);
    put_file("merges.txt", merges, n_merges);
    put_text(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"GPT2Tokenizer\", \"bos_token\": {\"content\": \"<|endoftext|>\"}, \"add_bos_token\": "
        "false, \"eos_token\": \"<|endoftext|>\", \"added_tokens_decoder\": {\"50256\": {\"content\": "
        "\"<|endoftext|>\", \"special\": true}, \"50257\": {\"content\": \"<pad>\", \"special\": true}}}");
    sg_tokenizer *t = open_folder();
    check_vectors(t, VECTORS "gpt-2.gguf.inp", VECTORS "gpt-2.gguf.out", true);
    check_ids(t, "Hello<|endoftext|><pad>", sg_encode_defaults(), "15496 50256 50257");
    CHECK(sg_tokenizer_specials(t).bos == 50256 && sg_tokenizer_specials(t).eos == 50256);
    CHECK(sg_tokenizer_size(t) == 50258 && sg_tokenizer_is_special(t, 50257));
    sg_tokenizer_free(t);
    free(vocab);
    free(merges);
}

static void words_of_clip_end_in_a_suffix(void **state)
{
    (void)state;
    clear_folder();
    put_text("vocab.json",
             "{\"h\": 0, \"i\": 1, \"h</w>\": 2, \"i</w>\": 3, \"hi</w>\": 4, \"!</w>\": 5, \"1</w>\": 6, "
             "\"\xC3\x83\": 7, \"\xC2\xA9</w>\": 8, \"<|startoftext|>\": 9, \"<|endoftext|>\": 10}");
    put_text("merges.txt", "#version: 0.2\nh i</w>\n");
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"CLIPTokenizer\", \"bos_token\": \"<|startoftext|>\", "
                                      "\"eos_token\": \"<|endoftext|>\", \"unk_token\": \"<|endoftext|>\"}");
    sg_tokenizer *t = open_folder();
    check_ids(t, " Hi  hih!1", sg_encode_defaults(), "9 4 0 1 2 5 6 10");
    check_ids(t, "\xC3\xA9", plain, "7 8");
    check_decoded(t, (int32_t[]){4, 7, 8, 5}, 4, "hi \xC3\xA9 !");
    sg_tokenizer_free(t);
}

static void a_class_says_how_texts_are_cut(void **state)
{
    (void)state;
    static const char letters[] = "{\"a\": 0, \"1\": 1, \"\xC4\xA0\": 2, \"11\": 3, \"\xC4\xA0"
                                  "a\": 4, \"<s>\": 5, \"</s>\": 6}";
    clear_folder();
    put_text("vocab.json", letters);
    put_text("merges.txt", "1 1\n\xC4\xA0 a\n");
    sg_tokenizer *t = open_folder();
    check_ids(t, "a a11", sg_encode_defaults(), "0 4 3");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"Qwen2Tokenizer\"}"); /* digits stand alone */
    t = open_folder();
    check_ids(t, "a a11", sg_encode_defaults(), "0 4 1 1");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"RobertaTokenizer\", \"add_prefix_space\": true}");
    t = open_folder();
    check_ids(t, "a a11", sg_encode_defaults(), "5 4 4 3 6");
    sg_tokenizer_free(t);
    put_text("merges.txt", "1 1\n1 a\n");
    check_refused(SG_EFORMAT, "merge 1 needs the token \"1a\"");
    put_text("vocab.json", "[]");
    check_refused(SG_EFORMAT, "not a JSON object");
    put_text("vocab.json", letters);
    clear_folder();
    check_refused(SG_ENOTFOUND, "no tokenizer.json");
}

static void what_lies_beside_a_tokenizer_is_heeded(void **state)
{
    (void)state;
    clear_folder();
    put_text("tokenizer.json", "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}}");
    put_text("tokenizer_config.json", "{\"bos_token\": \"b\", \"chat_template\": \"one\"}");
    put_text("special_tokens_map.json",
             "{\"bos_token\": \"a\", \"eos_token\": {\"content\": \"a\"}, \"pad_token\": \"q\"}");
    sg_tokenizer *t = open_folder();
    CHECK(sg_tokenizer_specials(t).bos == 1 && sg_tokenizer_specials(t).eos == 0 && sg_tokenizer_specials(t).pad == -1);
    assert_string_equal(sg_tokenizer_chat_template(t), "one");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"two\"}, {\"name\": "
                                      "\"default\", \"template\": \"three\"}]}");
    t = open_folder();
    assert_string_equal(sg_tokenizer_chat_template(t), "three");
    sg_tokenizer_free(t);
    put_text("chat_template.jinja", "four");
    t = open_folder();
    assert_string_equal(sg_tokenizer_chat_template(t), "four");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json", "{");
    check_refused(SG_EFORMAT, "tokenizer_config.json: line 1");
    put_text("tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {}}}");
    check_refused(SG_EFORMAT, "added_tokens_decoder");
}

static void a_word_list_is_in_lower_case_if_it_looks_so(void **state)
{
    (void)state;
    static const char lower[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nab\n##c\na\n.\n\xE4\xB8\xAD\n##\n";
    clear_folder();
    put_text("vocab.txt", lower);
    sg_tokenizer *t = open_folder();
    check_ids(t,
              "ABC abc.a \xC3\x81\xE4\xB8\xAD"
              "ax a\xC2\xAD",
              sg_encode_defaults(), "2 4 5 4 5 7 6 6 8 1 6 3");
    check_decoded(t, (int32_t[]){2, 4, 5, 6, 7, 3}, 6, "abc a.");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json", "{\"do_lower_case\": false}");
    t = open_folder();
    check_ids(t, "AB ab", plain, "1 4");
    sg_tokenizer_free(t);
    put_text("tokenizer_config.json",
             "{\"do_lower_case\": true, \"strip_accents\": false, \"tokenize_chinese_chars\": false}");
    t = open_folder();
    check_ids(t, "\xC3\xA1 \xE4\xB8\xAD\xE4\xB8\xAD", plain, "1 1");
    sg_tokenizer_free(t);
    clear_folder();
    put_text("vocab.txt", "[UNK]\r\nAb\r\na\r\n");
    t = open_folder();
    check_ids(t, "Ab a b", sg_encode_defaults(), "1 2 0");
    sg_tokenizer_free(t);
}

/* A word of too many characters is unknown, which costs no time, and one of many tokens is not quadratic for long. */
static void long_words_are_unknown(void **state)
{
    (void)state;
    sg_tokenizer *t =
        tokenizer_of("{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"?\", \"max_input_chars_per_word\": 5, "
                     "\"vocab\": {\"?\": 0, \"a\": 1, \"##a\": 2, \"\xC3\xA9\": 3, \"##\xC3\xA9\xC3\xA9\": 4}}, "
                     "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}}");
    check_ids(t, "aaaaa aaaaaa \xC3\xA9\xC3\xA9\xC3\xA9 \xC3\xA9\xC3\xA9", plain, "1 2 2 2 2 0 3 4 0");
    sg_tokenizer_free(t);
    t = tokenizer_of("{\"model\": {\"max_input_chars_per_word\": 5, \"vocab\": {\"a\": 1}}}");
    sg_tokens ids = {0};
    sg_error err;
    CHECK_STATUS(sg_tokenizer_encode(t, "b", plain, &ids, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "unk_token \"[UNK]\" is needed");
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
}

/* ---- Unigram ---- */

static const char *const units[] = {"a", "b", "ab", "ba", "aab", "bb", "abab", "\xC3\xA9"};
static const double unit_scores[] = {-2.11, -2.53, -3.07, -4.41, -4.7, -3.9, -5.3, -1.0};

/* The best score of any way to cut the text, tried one by one; what is unknown costs 10 more than the worst token. */
static double best_cut(const char *text)
{
    double best = *text ? -1e9 : 0;
    bool single = false;
    const size_t n_char = *text ? sg_utf8_length(*text) : 0;
    for (size_t i = 0; *text && i < SG_COUNT_OF(units); i++) {
        const size_t n = strlen(units[i]);
        if (strncmp(text, units[i], n) != 0)
            continue;
        single |= n == n_char;
        best = fmax(best, unit_scores[i] + best_cut(text + n));
    }
    if (*text && !single)
        best = fmax(best, -15.3 + best_cut(text + n_char));
    return best;
}

static void the_most_probable_cut_is_found(void **state)
{
    (void)state;
    sg_str json = {0};
    sg_str_puts(&json, "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 8, \"vocab\": [");
    for (size_t i = 0; i < SG_COUNT_OF(units); i++)
        sg_str_printf(&json, "[\"%s\", %g], ", units[i], unit_scores[i]);
    sg_str_puts(&json, "[\"?\", 0]]}}");
    sg_tokenizer *t = tokenizer_of(json.text);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        static const char *const letters[] = {"a", "b", "a", "b", "\xC3\xA9", "z"};
        sg_str text = {0};
        sg_tokens ids = {0};
        sg_str_puts(&text, "");
        for (uint64_t i = 0; i < seed % 14; i++)
            sg_str_puts(&text, letters[sg_hash(&i, sizeof i, seed) % (seed % 3 ? 4 : 6)]);
        CHECK_OK(sg_tokenizer_encode(t, text.text, plain, &ids, NULL), NULL);
        double score = 0;
        size_t at = 0;
        for (int64_t i = 0; i < ids.n; i++) {
            if (ids.ids[i] < 8) {
                const char *unit = units[ids.ids[i]];
                CHECK(strncmp(text.text + at, unit, strlen(unit)) == 0);
                score += unit_scores[ids.ids[i]];
                at += strlen(unit);
            } else { /* unknown ones in a row are one */
                CHECK(text.text[at] == 'z' && (i == 0 || ids.ids[i - 1] != 8));
                for (; text.text[at] == 'z'; at++)
                    score -= 15.3;
            }
        }
        CHECK(at == text.bytes);
        CHECK_NEAR(score, best_cut(text.text), 1e-5, 0); /* scores are kept as floats */
        sg_str_free(&text);
        sg_tokens_free(&ids);
    }
    sg_tokenizer_free(t);
    sg_str_free(&json);
}

static void unknown_characters_of_unigram_fall_back_to_bytes(void **state)
{
    (void)state;
    sg_tokenizer *t =
        tokenizer_of("{\"model\": {\"vocab\": [[\"<unk>\", 0], [\"a\", -1], [\"<0xC3>\", -9], [\"<0xA9>\", -9]], "
                     "\"unk_id\": 0, \"byte_fallback\": true}}");
    check_ids(t,
              "a\xC3\xA9"
              "a\xC3\xA9\xC3\xA9zz",
              plain, "1 2 3 1 0");
    check_ids(t, "\xC3\xA9\xC3\xA9", plain, "2 3 2 3");
    sg_tokenizer_free(t);
    t = tokenizer_of("{\"model\": {\"vocab\": [[\"a\", -1]]}}");
    sg_tokens ids = {0};
    sg_error err;
    CHECK_STATUS(sg_tokenizer_encode(t, "b", plain, &ids, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "unk_id is needed");
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
}

/* ---- SentencePiece's models, written as protobuf ---- */

static void put_varint(sg_str *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        sg_str_append(out, &(char){(char)(value | 0x80)}, 1);
    sg_str_append(out, &(char){(char)value}, 1);
}

static void put_number(sg_str *out, unsigned field, uint64_t value)
{
    put_varint(out, field << 3);
    put_varint(out, value);
}

static void put_bytes(sg_str *out, unsigned field, const void *bytes, size_t n)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, n);
    sg_str_append(out, bytes, n);
}

static void put_piece(sg_str *out, const char *text, float score, int type)
{
    sg_str piece = {0};
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    sg_str_append(&piece, (const char *)&score, 4); /* of a machine that is little-endian, as the format */
    if (type != 1)
        put_number(&piece, 3, (uint64_t)type);
    put_bytes(out, 1, piece.text, piece.bytes);
    sg_str_free(&piece);
}

/* A double array of a few keys, built by trying places: unit 0 is the root, a key's end is the child 0. */
#define N_UNITS 4096
struct table {
    uint32_t units[N_UNITS];
    bool used[N_UNITS], base[N_UNITS]; /* places taken; bases taken, since a place does not name its parent */
};

static void place(struct table *t, uint32_t at, const char *const *keys, const uint32_t *values, int n, size_t depth)
{
    bool child[256] = {false};
    uint32_t base = 1;
    for (int i = 0; i < n; i++)
        child[(unsigned char)keys[i][depth]] = true;
    for (bool free_here = false; !free_here; base += !free_here) {
        free_here = !t->base[base];
        for (uint32_t c = 0; c < 256 && free_here; c++)
            free_here = !child[c] || (!t->used[base ^ c] && (base ^ c) != 0);
    }
    for (uint32_t c = 0; c < 256; c++)
        t->used[base ^ c] |= child[c];
    t->base[base] = true;
    t->units[at] |= (at ^ base) << 10 | (uint32_t)child[0] << 8;
    for (uint32_t c = 0; c < 256; c++) {
        int first = 0, count = 0;
        while (child[c] && first < n && (unsigned char)keys[first][depth] != c)
            first++;
        while (child[c] && first + count < n && (unsigned char)keys[first + count][depth] == c)
            count++;
        if (!child[c])
            continue;
        if (c == 0) {
            t->units[base] = values[first] | 0x80000000u;
        } else {
            t->units[base ^ c] = c;
            place(t, base ^ c, keys + first, values + first, count, depth + 1);
        }
    }
}

/* "A" to "a", a ligature to "fi", a combined accent, a wide space to a space, and a longer key that begins as another.
 */
static sg_str small_charsmap(void)
{
    static const char *const keys[] = {"A", "ABC", "a\xCC\x81", "\xE3\x80\x80", "\xEF\xAC\x81"};
    static const char texts[] = "a\0x\0\xC3\xA1\0 \0fi";
    static const uint32_t values[] = {0, 2, 4, 7, 9};
    struct table *t = calloc(1, sizeof *t);
    place(t, 0, keys, values, 5, 0);
    sg_str out = {0};
    const uint32_t bytes = sizeof t->units;
    sg_str_append(&out, (const char *)&bytes, 4);
    sg_str_append(&out, (const char *)t->units, sizeof t->units);
    sg_str_append(&out, texts, sizeof texts);
    free(t);
    return out;
}

#define MARK "\xE2\x96\x81"

/* Every member that is read. */
static sg_str small_model(int type, bool remove_extra, const sg_str *charsmap)
{
    sg_str out = {0}, spec = {0};
    put_piece(&out, "<unk>", 0, 2);
    put_piece(&out, "<s>", 0, 3);
    put_piece(&out, "</s>", 0, 3);
    put_piece(&out, "<0xC3>", 0, 6);
    put_piece(&out, "<0xA9>", 0, 6);
    put_piece(&out, MARK, -3, 1);
    put_piece(&out, "a", -2, 1);
    put_piece(&out, MARK "a", -2.5F, 1);
    put_piece(&out, "fi", -2.75F, 1);
    put_piece(&out, "f", -8, 1);
    put_piece(&out, "i", -8, 1);
    put_piece(&out, "x", -8, 1);
    put_piece(&out, "<mask>", 0, 4);
    put_piece(&out, "aa", -9, 5);
    put_number(&spec, 3, (uint64_t)type);
    put_number(&spec, 40, 0);
    put_number(&spec, 41, 1);
    put_number(&spec, 42, 2);
    put_number(&spec, 43, UINT64_MAX); /* pad: -1 */
    put_bytes(&out, 2, spec.text, spec.bytes);
    spec.bytes = 0;
    put_bytes(&spec, 1, "nmt", 3);
    if (charsmap)
        put_bytes(&spec, 2, charsmap->text, charsmap->bytes);
    put_number(&spec, 3, 1);
    put_number(&spec, 4, remove_extra);
    put_bytes(&out, 3, spec.text, spec.bytes);
    sg_str_free(&spec);
    return out;
}

static sg_tokenizer *parse_model(const sg_str *model)
{
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_parse_sentencepiece(&t, model->text, model->bytes, "test", &err), &err);
    return t;
}

static void a_sentencepiece_model_is_read_from_its_message(void **state)
{
    (void)state;
    sg_str map = small_charsmap(), model = small_model(1, true, &map);
    sg_tokenizer *t = parse_model(&model);
    check_ids(t, "  A\xE3\x80\x80  \xEF\xAC\x81 ", sg_encode_defaults(), "1 7 5 8"); /* "a fi" */
    check_ids(t, "ABC", plain, "5 11");                                              /* the longest key: "x" */
    check_ids(t, "a\xCC\x81", plain, "5 0"); /* \xC3\xA1, of which one byte has no token */
    check_ids(t, "\xC3\xA9", plain, "5 3 4");
    check_ids(t, "   ", plain, "");
    check_ids(t, "a<mask>aa", plain, "7 12 7 6");
    check_decoded(t, (int32_t[]){1, 7, 5, 8, 3, 4, 2}, 7, "a fi\xC3\xA9");
    sg_tokenizer_free(t);
    sg_str_free(&model);
    model = small_model(2, false, NULL);
    t = parse_model(&model);
    check_ids(t, " fi  ai", sg_encode_defaults(), "1 5 5 8 5 7 10"); /* pairs, and every space stays */
    check_decoded(t, (int32_t[]){1, 5, 5, 8, 5, 7, 10}, 7, " fi  ai");
    sg_tokenizer_free(t);

    /* In a folder, with what lies beside it. */
    clear_folder();
    put_file("tokenizer.model", model.text, model.bytes);
    put_text("tokenizer_config.json",
             "{\"add_bos_token\": false, \"add_eos_token\": true, \"add_prefix_space\": false, "
             "\"added_tokens_decoder\": {\"1\": {\"content\": \"<s>\", \"special\": true}, "
             "\"14\": {\"content\": \"<|end|>\", \"special\": true, \"rstrip\": true}}}");
    put_text("added_tokens.json", "{\"<|end|>\": 14, \"<extra>\": 15}");
    t = open_folder();
    check_ids(t, "a<|end|>  a<extra><s>", sg_encode_defaults(), "6 14 6 15 1 2");
    CHECK(sg_tokenizer_size(t) == 16);
    sg_tokenizer_free(t);
    sg_str_free(&model);
    sg_str_free(&map);
}

static void sentencepiece_models_that_are_not_supported_say_so(void **state)
{
    (void)state;
    const struct {
        unsigned outer, field;
        uint64_t value;
        const char *words;
    } cases[] = {
        {2, 3, 3, "model_type 3"},
        {2, 24, 1, "treat_whitespace_as_suffix"},
        {3, 5, 0, "escape_whitespaces"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_str model = small_model(1, true, NULL), spec = {0};
        sg_tokenizer *t;
        sg_error err;
        put_number(&spec, cases[i].field, cases[i].value);
        put_bytes(&model, cases[i].outer, spec.text, spec.bytes);
        CHECK_STATUS(sg_tokenizer_parse_sentencepiece(&t, model.text, model.bytes, "test", &err), SG_EUNSUPPORTED);
        CHECK_TEXT(err.text, cases[i].words);
        sg_str_free(&model);
        sg_str_free(&spec);
    }
    sg_tokenizer *t;
    sg_error err;
    CHECK_STATUS(sg_tokenizer_parse_sentencepiece(&t, "", 0, "test", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "test: not a SentencePiece model: the message has no pieces");
    CHECK_STATUS(sg_tokenizer_parse_sentencepiece(&t, "\x0A\x05", 2, "test", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "ends inside a field");
}

/* Whatever a bit does, the model is refused or works. */
static void truncated_and_flipped_sentencepiece_models_do_no_harm(void **state)
{
    (void)state;
    sg_str map = small_charsmap(), model = small_model(1, true, &map);
    const size_t n_start = 200; /* the pieces; behind them the map */
    for (size_t n = 0; n < model.bytes; n += n < n_start || n + 200 > model.bytes ? 1 : 97) {
        sg_tokenizer *t;
        char *part = malloc(n + 1); /* exactly as long, so that a sanitizer sees a read past it */
        memcpy(part, model.text, n);
        if (sg_tokenizer_parse_sentencepiece(&t, part, n, "test", NULL) == SG_OK)
            sg_tokenizer_free(t);
        free(part);
    }
    for (size_t i = 0; i < model.bytes * 8; i += i < n_start * 8 ? 1 : 331) {
        sg_tokenizer *t;
        sg_tokens ids = {0};
        model.text[i / 8] ^= (char)(1 << i % 8);
        if (sg_tokenizer_parse_sentencepiece(&t, model.text, model.bytes, "test", NULL) == SG_OK) {
            if (sg_tokenizer_encode(t, "ABC a\xCC\x81 \xEF\xAC\x81 <s>", sg_encode_defaults(), &ids, NULL) == SG_OK)
                check_decoded(t, ids.ids, ids.n, NULL);
            sg_tokenizer_free(t);
        }
        sg_tokens_free(&ids);
        model.text[i / 8] ^= (char)(1 << i % 8);
    }
    sg_str_free(&model);
    sg_str_free(&map);
}

/* As tokenizer.json's readers look up: by clusters, the shortest key. */
static void a_precompiled_map_of_a_tokenizer_json_is_applied(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    sg_str map = small_charsmap(), parts = {0};
    sg_str_puts(&parts, "\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"");
    for (size_t i = 0; i < map.bytes; i += 3) {
        uint32_t three = 0;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < map.bytes ? (unsigned char)map.text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            sg_str_append(&parts, i + k <= map.bytes ? &digits[three >> (18 - 6 * k) & 63] : "=", 1);
    }
    sg_str_puts(&parts, "\"}");
    CHECK_SHOWN(parts.text, "AB \xEF\xAC\x81", "aB fi|");
    sg_str_free(&parts);
    sg_str_free(&map);
}

/* A megabyte of one letter, and one of one word without spaces, take their length. */
static void long_texts_take_their_length(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    sg_tokenizer *t =
        tokenizer_of("{\"model\": {\"vocab\": [[\"?\", 0], [\"a\", -1], [\"aa\", -1.5], [\"aaaaaaaa\", -2]], "
                     "\"unk_id\": 0}}");
    char *text = malloc(N + 1);
    memset(text, 'a', N);
    text[N] = '\0';
    sg_tokens ids = {0};
    CHECK_OK(sg_tokenizer_encode(t, text, plain, &ids, NULL), NULL);
    CHECK(ids.n == N / 8 && ids.ids[0] == 3 && ids.ids[ids.n - 1] == 3);
    ids.n = 0;
    memset(text, 'z', N);
    CHECK_OK(sg_tokenizer_encode(t, text, plain, &ids, NULL), NULL);
    CHECK(ids.n == 1 && ids.ids[0] == 0);
    sg_tokens_free(&ids);
    free(text);
    sg_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert_gives_its_reference_ids),
        cmocka_unit_test(bert_as_gguf_has_it_gives_its_reference_ids),
        cmocka_unit_test(llama2_from_its_protobuf_gives_its_reference_ids),
        cmocka_unit_test(gpt2_from_its_two_files_gives_its_reference_ids),
        cmocka_unit_test(words_of_clip_end_in_a_suffix),
        cmocka_unit_test(a_class_says_how_texts_are_cut),
        cmocka_unit_test(what_lies_beside_a_tokenizer_is_heeded),
        cmocka_unit_test(a_word_list_is_in_lower_case_if_it_looks_so),
        cmocka_unit_test(long_words_are_unknown),
        cmocka_unit_test(the_most_probable_cut_is_found),
        cmocka_unit_test(unknown_characters_of_unigram_fall_back_to_bytes),
        cmocka_unit_test(a_sentencepiece_model_is_read_from_its_message),
        cmocka_unit_test(sentencepiece_models_that_are_not_supported_say_so),
        cmocka_unit_test(truncated_and_flipped_sentencepiece_models_do_no_harm),
        cmocka_unit_test(a_precompiled_map_of_a_tokenizer_json_is_applied),
        cmocka_unit_test(long_texts_take_their_length),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
