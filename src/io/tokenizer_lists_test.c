/* Tokenizers from lists of tokens: real vocabularies against known ids, and lists that do not fit together. */
#include <jansson.h>

#include "faults.h"
#include "io/tokenizer_test.h"

static const sg_encode_opts plain = {.add_special = false, .parse_special = true};

/* ---- real vocabularies ---- */

/* Llama-2's pieces from tokenizer.bin: an int, then for each a score, a length, the bytes. In it a mark is a space, and
 * <s> and </s> stand between line ends. */
static sg_tokenizer *open_llama2(void)
{
    enum { N = 32000 };
    size_t n_bin, at = 4;
    char *bin = read_shared("data/tokenizers/llama2/tokenizer.bin", &n_bin);
    sg_str *texts = calloc(N, sizeof *texts);
    const char **tokens = calloc(N, sizeof *tokens);
    float *scores = calloc(N, sizeof *scores);
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
        tokens[i] = texts[i].text;
    }
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    in.kind = SG_TOKENIZER_SPM;
    in.n = N;
    in.tokens = tokens;
    in.scores = scores;
    in.unk = 0;
    in.bos = 1;
    in.eos = 2;
    in.add_bos = true;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    for (int i = 0; i < N; i++)
        sg_str_free(&texts[i]);
    free(texts);
    free(tokens);
    free(scores);
    free(bin);
    return t;
}

/* phi-3 has Llama-2's vocabulary. */
static void llama2_from_scores_gives_its_reference_ids(void **state)
{
    (void)state;
    sg_tokenizer *t = open_llama2();
    check_vectors(t, VECTORS "llama-spm.gguf.inp", VECTORS "llama-spm.gguf.out", true);
    check_vectors(t, VECTORS "phi-3.gguf.inp", VECTORS "phi-3.gguf.out", true);
    check_ids(t, "Hello", sg_encode_defaults(), "1 15043");
    CHECK(sg_tokenizer_specials(t).eos == 2 && sg_tokenizer_specials(t).sep == -1);
    CHECK(sg_tokenizer_is_special(t, 1) && !sg_tokenizer_is_special(t, 13));
    sg_tokenizer_free(t);
}

/* The lines of a merges.txt but its heading, in place. */
static const char **lines_of(char *text, int64_t *n)
{
    const char **lines = calloc(strlen(text) + 1, sizeof *lines);
    *n = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, "#version", 8) != 0)
            lines[(*n)++] = line;
    return lines;
}

/* tokens [n] are borrowed. */
static sg_tokenizer *open_byte_level(const char *const *tokens, const int32_t *types, int32_t n,
                                     const char *merges_path, const char *pre)
{
    size_t n_bytes;
    char *text = read_shared(merges_path, &n_bytes);
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    const char **merges = lines_of(text, &in.n_merges);
    in.kind = SG_TOKENIZER_BPE;
    in.n = n;
    in.tokens = tokens;
    in.types = types;
    in.merges = merges;
    in.pre = pre;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    free(merges);
    free(text);
    return t;
}

static void gpt2_from_lists_gives_its_reference_ids(void **state)
{
    (void)state;
    enum { N = 50257 };
    size_t n;
    char *vocab = read_shared("data/tokenizers/gpt2/gpt2_vocab.json", &n);
    const char **tokens = calloc(N, sizeof *tokens);
    json_t *json = json_loadb(vocab, n, 0, NULL), *id;
    const char *text;
    json_object_foreach(json, text, id) tokens[json_integer_value(id)] = text;
    sg_tokenizer *t = open_byte_level(tokens, NULL, N, "data/tokenizers/gpt2/gpt2_merges.txt", "gpt-2");
    check_vectors(t, VECTORS "gpt-2.gguf.inp", VECTORS "gpt-2.gguf.out", true);
    sg_tokenizer_free(t);
    json_decref(json);
    free(tokens);
    free(vocab);
}

/* MPT has GPT-NeoX' vocabulary, whose runs of spaces from 50254 on were added to what was learnt. */
static void gpt_neox_from_lists_gives_its_reference_ids(void **state)
{
    (void)state;
    size_t n;
    char *text = read_shared("data/tokenizers/gpt_neox/tokens.json", &n);
    json_t *json = json_loadb(text, n, 0, NULL);
    const size_t n_tokens = json_array_size(json);
    const char **tokens = calloc(n_tokens + 1, sizeof *tokens);
    int32_t *types = calloc(n_tokens + 1, sizeof *types);
    for (size_t i = 0; i < n_tokens; i++) {
        types[i] = i < 2 ? SG_TOKEN_CONTROL : i < 50254 ? SG_TOKEN_NORMAL : SG_TOKEN_USER;
        tokens[i] = json_string_value(json_array_get(json, i));
    }
    sg_tokenizer *t = open_byte_level(tokens, types, (int32_t)n_tokens, "data/tokenizers/gpt_neox/merges.txt", "mpt");
    check_vectors(t, VECTORS "mpt.gguf.inp", VECTORS "mpt.gguf.out", true);
    sg_tokenizer_free(t);
    json_decref(json);
    free(types);
    free(tokens);
    free(text);
}

/* ---- small ones ---- */

#define MARK "\xE2\x96\x81"

/* Neighbours that make one token are merged from the left, whichever way the token may be cut. */
static void equal_scores_go_from_left_to_right(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>", "a", "b", "aa", "aaa", "bb"};
    static const float scores[] = {0, -3, -3, -1, -2, -1};
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    in.kind = SG_TOKENIZER_SPM;
    in.n = 6;
    in.tokens = tokens;
    in.scores = scores;
    in.unk = 0;
    in.add_space_prefix = false;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    check_ids(t, "aaaa", plain, "3 3");
    check_ids(t, "aaaaa", plain, "3 4"); /* aa aa a: of the two ways to an aaa only the second is there */
    check_ids(t, "abba", plain, "1 5 1");
    check_ids(t, "aczb", plain, "1 0 2"); /* what is unknown is fused */
    sg_tokenizer_free(t);
}

static void types_say_what_text_may_give(void **state)
{
    (void)state;
    static const char *const tokens[] = {"<unk>", "<s>", "</s>",   "<0x0A>", "<0xC3>", "<0xA9>",
                                         "a",     MARK,  MARK "a", "<mask>", "aa",     "aa"};
    static const float scores[] = {0, 0, 0, 0, 0, 0, -1, -2, -3, 0, -4, -4};
    static const int32_t types[] = {2, 3, 3, 6, 6, 6, 1, 1, 1, 4, 5, 1};
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    in.kind = SG_TOKENIZER_SPM;
    in.n = 12;
    in.tokens = tokens;
    in.scores = scores;
    in.types = types;
    in.unk = 0;
    in.bos = 1;
    in.eos = 2;
    in.add_bos = in.add_eos = true;
    in.chat_template = "{{ messages }}";
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    check_ids(t,
              "a\n\xC3\xA9"
              "a",
              sg_encode_defaults(), "1 8 3 4 5 6 2");
    check_ids(t, "a<mask>a", plain, "8 9 8"); /* each part of a text gets its space, as where the format comes from */
    check_ids(t, "<s>", plain, "1");
    check_ids(t, "aa", plain, "8 6"); /* "aa" is unused, and its copy never made */
    check_decoded(t, (int32_t[]){1, 8, 3, 4, 5, 10, 11, 2}, 8,
                  "a\n\xC3\xA9"
                  "aaaa");
    assert_string_equal(sg_tokenizer_chat_template(t), "{{ messages }}");
    sg_tokenizer_free(t);
}

static void lists_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const char *const tokens[] = {"a", "b", "ab"};
    static const char *const merges[] = {"a b"}, *const absent[] = {"b a"}, *const joined[] = {"ab"};
    static const float scores[] = {0, 0, NAN};
    static const int32_t types[] = {1, 1, 7};
    sg_tokenizer_vocab good = sg_tokenizer_vocab_defaults(), in;
    good.kind = SG_TOKENIZER_BPE;
    good.n = 3;
    good.tokens = tokens;
    good.merges = merges;
    good.n_merges = 1;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &good, &err), &err);
    check_ids(t, "abb", plain, "2 1");
    sg_tokenizer_free(t);
#define CHECK_REFUSED(change, status, words)                                                                           \
    do {                                                                                                               \
        in = good;                                                                                                     \
        change;                                                                                                        \
        CHECK_STATUS(sg_tokenizer_new(&t, &in, &err), (status));                                                       \
        CHECK_TEXT(err.text, (words));                                                                                 \
        CHECK(t == NULL);                                                                                              \
    } while (0)
    CHECK_REFUSED(in.merges = absent, SG_EFORMAT, "merge 0 needs the token \"ba\"");
    CHECK_REFUSED(in.merges = joined, SG_EFORMAT, "is not two tokens");
    CHECK_REFUSED(in.pre = "no-such", SG_EUNSUPPORTED, "\"no-such\" is not known");
    CHECK_REFUSED(in.bos = 3, SG_EFORMAT, "the bos token is 3, of 3 tokens");
    CHECK_REFUSED(in.n = -1, SG_EFORMAT, "a list of -1 tokens");
    CHECK_REFUSED(in.types = types, SG_EFORMAT, "the type of token 2 is 7");
    CHECK_REFUSED(in.kind = SG_TOKENIZER_SPM, SG_EFORMAT, "no scores");
    CHECK_REFUSED(in.scores = scores, SG_EFORMAT, "the score of token 2");
}

/* Every name's patterns compile, and cut a text so that nothing of it is lost. */
static void every_pattern_with_a_name_is_sound(void **state)
{
    (void)state;
    static const char *const names[] = {
        "default", "gpt-2",     "llama-bpe", "qwen2",       "starcoder",   "falcon", "deepseek-llm", "deepseek-coder",
        "bloom",   "viking",    "tekken",    "gpt-4o",      "deepseek-v3", "mpt",    "olmo",         "command-r",
        "smollm",  "stablelm2", "dbrx",      "chatglm-bpe", "poro-chat",   "refact", "llama4",
    };
    static const char text[] = "Hello WORLD's 1234567 \xE6\x88\x91\xE6\x83\xB3"
                               "apple\xE5\xB7\xA5 \n\n\t x=[1,2];  \xD0\xBD\xD0\xB5 'Re\r\n";
    char store[256][3];
    const char *tokens[256];
    for (int i = 0; i < 256; i++) {
        store[i][sg_byte_to_char((unsigned char)i, store[i])] = '\0';
        tokens[i] = store[i];
    }
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
        in.kind = SG_TOKENIZER_BPE;
        in.n = 256;
        in.tokens = tokens;
        in.pre = names[i];
        sg_tokenizer *t;
        sg_tokens ids = {0};
        sg_error err;
        CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
        CHECK_OK(sg_tokenizer_encode(t, text, plain, &ids, &err), &err);
        check_decoded(t, ids.ids, ids.n, text);
        sg_tokens_free(&ids);
        sg_tokenizer_free(t);
    }
}

/* Of each kind: opens, encodes, decodes; frees all whatever happens. */
static sg_status use_kind(sg_tokenizer_kind kind, sg_error *err)
{
    static const char *const pieces[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", MARK, MARK "ab"};
    static const char *const words[] = {"[UNK]", "[CLS]", "[SEP]", "a", "##b", "ab", "b", "."};
    static const char *const merges[] = {"a b"};
    static const float scores[] = {0, 0, 0, -5, -6, -2, -3, -1};
    static const int32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1};
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    sg_tokenizer *t;
    sg_tokens ids = {0};
    char *text = NULL;
    in.kind = kind;
    in.n = 8;
    in.tokens = kind == SG_TOKENIZER_WORDPIECE ? words : pieces;
    in.scores = scores;
    in.types = types;
    in.merges = merges;
    in.n_merges = 1;
    in.unk = 0;
    in.bos = in.cls = 1;
    in.eos = in.sep = 2;
    in.add_bos = in.add_eos = in.remove_extra_whitespaces = true;
    in.chat_template = "{{ bos_token }}";
    sg_status status = sg_tokenizer_new(&t, &in, err);
    if (status == SG_OK)
        status = sg_tokenizer_encode(t, " ab  zab<s>.", sg_encode_defaults(), &ids, err);
    if (status == SG_OK)
        status = sg_tokenizer_decode(t, ids.ids, ids.n, true, &text, err);
    free(text);
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
    return status;
}

/* jansson keeps its own allocator, see tokenizer_test.c. */
static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (int kind = SG_TOKENIZER_BPE; kind <= SG_TOKENIZER_UNIGRAM; kind++) {
        for (int fault = SG_FAULT_ONCE; fault <= SG_FAULT_ONWARD; fault++) {
            long n_faults = 0;
            for (;; n_faults++) {
                sg_error err = {.text = ""};
                sg_faults_begin(n_faults, (sg_fault_kind)fault);
                const sg_status status = use_kind((sg_tokenizer_kind)kind, &err);
                if (!sg_faults_end()) {
                    CHECK_OK(status, &err);
                    break;
                }
                /* Machine code for a pattern is an extra, so doing without is no failure. */
                CHECK(status == SG_ENOMEM || (status == SG_OK && fault == SG_FAULT_ONCE));
            }
            CHECK(n_faults > 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama2_from_scores_gives_its_reference_ids),
        cmocka_unit_test(gpt2_from_lists_gives_its_reference_ids),
        cmocka_unit_test(gpt_neox_from_lists_gives_its_reference_ids),
        cmocka_unit_test(equal_scores_go_from_left_to_right),
        cmocka_unit_test(types_say_what_text_may_give),
        cmocka_unit_test(lists_that_do_not_fit_are_refused),
        cmocka_unit_test(every_pattern_with_a_name_is_sound),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
