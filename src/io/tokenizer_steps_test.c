/* Each normalizer, pre-tokenizer and decoder by hand.  Expected pieces end in a bar, see showing_tokenizer(). */
#include "io/tokenizer_test.h"

#define NORMALIZER(json)    "\"normalizer\": " json
#define PRETOKENIZER(json)  "\"pre_tokenizer\": " json
#define SPLIT(pattern, how) PRETOKENIZER("{\"type\": \"Split\", \"pattern\": {" pattern "}, \"behavior\": \"" how "\"}")
#define MARK                "\xE2\x96\x81" /* U+2581 */

static void normalizers_rewrite_the_text(void **state)
{
    (void)state;
    CHECK_SHOWN(NORMALIZER("null"), "ab c", "ab c|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Prepend\", \"prepend\": \"_\"}"), "ab", "_ab|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Strip\"}, {\"type\": \"Prepend\", "
                           "\"prepend\": \"_\"}]}"),
                "  ", ""); /* nothing stays nothing */
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Replace\", \"pattern\": {\"String\": \"a.\"}, \"content\": \"X\"}"), "a.ab.a.",
                "Xab.X|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a.\"}, \"content\": \"X\"}"), "a.ab.a.",
                "XX.X|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"b*\"}, \"content\": \"-\"}"), "abbc",
                "-a-c-|"); /* an empty match right after a match is none */
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Lowercase\"}"), "AB\xC3\x89\xC4\xB0", "ab\xC3\xA9i\xCC\x87|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": false}"), " \t a ", "a |");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Strip\", \"strip_left\": false, \"strip_right\": true}"), " a\xE3\x80\x80\n",
                " a|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"StripAccents\"}"), "e\xCC\x81z\xC3\xA9", "ez\xC3\xA9|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"Sequence\", "
                           "\"normalizers\": [{\"type\": \"StripAccents\"}]}, {\"type\": \"Lowercase\"}]}"),
                "\xC3\x89t\xC3\xA9", "ete|");
}

static void berts_normalizer_cleans(void **state)
{
    (void)state;
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\"}"),
                "\x01"
                "A\tb\xC2\xAD\xC3\x89\xEF\xBF\xBD\xE2\x80\x83"
                "c\xCC\x81",
                "a be c|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\"}"),
                "a\xE4\xB8\xAD"
                "b",
                "a ~ b|"); /* an ideograph stands alone */
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\", \"handle_chinese_chars\": false}"),
                "a\xE4\xB8\xAD"
                "b",
                "a~b|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\", \"lowercase\": false}"), "A\xC3\x89", "A\xC3\x89|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\", \"lowercase\": false, \"strip_accents\": true}"),
                "A\xC3\x89", "AE|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\", \"strip_accents\": false}"), "A\xC3\x89", "a\xC3\xA9|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"BertNormalizer\", \"clean_text\": false}"), "A\t", "a\t|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"Nmt\"}"),
                "a\x01"
                "b\tc\xE2\x80\x8B"
                "d\xE2\x96\x81",
                "ab c d |");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"BertPreTokenizer\"}"), " Hi,  a_b$ c\xC3\xA9", "Hi|,|a|_|b|$|c\xC3\xA9|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"CharDelimiterSplit\", \"delimiter\": \"-\"}"), "a-b--c d", "a|b|c d|");
}

static void normal_forms_compose_and_decompose(void **state)
{
    (void)state;
    /* e and a combining acute, then a one half, between ASCII; UAX 15 gives the four results. */
    const char *text = "ae\xCC\x81 \xC3\xA9\xC2\xBD"
                       "b";
    CHECK_SHOWN(NORMALIZER("{\"type\": \"NFC\"}"), text,
                "a\xC3\xA9 \xC3\xA9\xC2\xBD"
                "b|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"NFD\"}"), text,
                "ae\xCC\x81 e\xCC\x81\xC2\xBD"
                "b|");
    CHECK_SHOWN(NORMALIZER("{\"type\": \"NFKC\"}"), text,
                "a\xC3\xA9 \xC3\xA9"
                "1~2b|"); /* U+2044 is unknown here */
    CHECK_SHOWN(NORMALIZER("{\"type\": \"NFKD\"}"), text,
                "ae\xCC\x81 e\xCC\x81"
                "1~2b|");
    /* Jamo compose to a syllable. */
    CHECK_SHOWN(NORMALIZER("{\"type\": \"NFC\"}"), "\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80|");
}

static void a_split_treats_matches_as_told(void **state)
{
    (void)state;
    CHECK_SHOWN(SPLIT("\"String\": \"-\"", "Isolated"), "-a--b-", "-|a|-|-|b|-|");
    CHECK_SHOWN(SPLIT("\"String\": \"-\"", "Removed"), "-a--b-", "a|b|");
    CHECK_SHOWN(SPLIT("\"String\": \"-\"", "MergedWithPrevious"), "-a--b-", "-|a-|-|b-|");
    CHECK_SHOWN(SPLIT("\"String\": \"-\"", "MergedWithNext"), "-a--b-", "-a|-|-b|-|");
    CHECK_SHOWN(SPLIT("\"String\": \"-\"", "Contiguous"), "-a--b-", "-|a|--|b|-|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"[a-c]+\"", "Removed\", \"invert\": true, \"x\": \""), "-ab--c", "ab|c|");
}

static void patterns_mean_what_their_writers_meant(void **state)
{
    (void)state;
    /* GPT-2's splitter: a space goes with the word after it, the last space of several too. */
    CHECK_SHOWN(SPLIT("\"Regex\": \"'s|'t| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+\"",
                      "Isolated"),
                "it's  12 ok!\n", "it|'s| | 12| ok|!|\n|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"(?i:'S)|\\\\p{N}{1,3}\"", "Isolated"), "a's'S1234", "a|'s|'S|123|4|");
    /* White space is Unicode's: U+0085 is in, U+180E is not. */
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\s\"", "Removed"),
                "a\xC2\x85"
                "b\xE1\xA0\x8E"
                "c",
                "a|b~c|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\S+\"", "Isolated"), "a \xE1\xA0\x8E", "a| |~");
    /* A combining mark is part of a word; \h is a hexadecimal digit; a set inside a set is a union. */
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\w+\"", "Isolated"), "e\xCC\x81_a+b", "e\xCC\x81_a|+|b|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\h+\"", "Isolated"), "xF9z", "x|F9|z|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"[^(\\\\s|[.,]z)]+\"", "Isolated"), "ab.,z c", "ab|.,z |c|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"[\\\\s-]+\"", "Removed"), "a -b", "a|b|");
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\u00e9\"", "Isolated"),
                "a\xC3\xA9"
                "b",
                "a|\xC3\xA9|b|");
    /* A script is the script alone: U+3001 extends to Han, and is not of it. */
    CHECK_SHOWN(SPLIT("\"Regex\": \"\\\\p{Han}\"", "Removed"),
                "a\xE4\xB8\xAD"
                "b\xE3\x80\x81"
                "c",
                "a|b~c|");
    /* Lines, as in Ruby. */
    CHECK_SHOWN(SPLIT("\"Regex\": \"^a|b$\"", "Isolated"), "ab\nab", "a|b|\n|a|b|");
}

static void byte_level_writes_bytes_as_characters(void **state)
{
    (void)state;
    /* The space becomes U+0120, the two bytes of U+00E9 become U+00C3 and U+00A9. */
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"), "a \xC3\xA9",
                "a|\xC4\xA0\xC3\x83\xC2\xA9|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"), "a b",
                "\xC4\xA0"
                "a|\xC4\xA0"
                "b|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"), " a",
                "\xC4\xA0"
                "a|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"), "", "");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"), "a b c",
                "a\xC4\xA0"
                "b\xC4\xA0"
                "c|");
    /* Steps may follow it, and see characters. */
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\", "
                             "\"add_prefix_space\": false}, {\"type\": \"Digits\", \"individual_digits\": true}]}"),
                "a 12", "a|\xC4\xA0|1|2|");
}

#define METASPACE(more) PRETOKENIZER("{\"type\": \"Metaspace\", \"replacement\": \"" MARK "\"" more "}")

static void metaspace_marks_words(void **state)
{
    (void)state;
    CHECK_SHOWN(METASPACE(", \"prepend_scheme\": \"always\""), "ab  c", MARK "ab|" MARK "|" MARK "c|");
    CHECK_SHOWN(METASPACE(", \"prepend_scheme\": \"always\""), " ab", MARK "ab|");
    CHECK_SHOWN(METASPACE(", \"prepend_scheme\": \"never\""), "ab c", "ab|" MARK "c|");
    CHECK_SHOWN(METASPACE(", \"prepend_scheme\": \"always\", \"split\": false"), "ab c", MARK "ab" MARK "c|");
    CHECK_SHOWN(METASPACE(", \"add_prefix_space\": false"), "a b",
                "a|" MARK "b|"); /* files before there were schemes */
    CHECK_SHOWN(METASPACE(", \"add_prefix_space\": true"), "a b", MARK "a|" MARK "b|");
    /* "first" marks the text's own beginning, and not what follows an added token. */
    const char *first = METASPACE(", \"prepend_scheme\": \"first\"") ", \"added_tokens\": [{\"id\": 999, \"content\": "
                                                                     "\"<x>\", \"special\": true}]";
    CHECK_SHOWN(first, "a<x>b", MARK "a|<x>b|");
    CHECK_SHOWN(first, "<x>b", "<x>b|");
}

static void other_pretokenizers_cut_at_classes(void **state)
{
    (void)state;
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Whitespace\"}"), "Hi, a_b  c!?", "Hi|,|a_b|c|!?|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"WhitespaceSplit\"}"), " Hi,\ta_b ", "Hi,|a_b|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Digits\", \"individual_digits\": false}"), "a12b3", "a|12|b|3|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Digits\", \"individual_digits\": true}"), "a12\xC2\xBD", "a|1|2|\xC2\xBD|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Punctuation\"}"), "a,b$+c", "a|,|b|$|+|c|");
    CHECK_SHOWN(PRETOKENIZER("{\"type\": \"Punctuation\", \"behavior\": \"Contiguous\"}"), "a,b$+c", "a|,|b|$+|c|");
}

/* ---- decoders ---- */

/* Tokens a, of b's, marks, bytes; ids from 0. */
#define VOCAB                                                                                                          \
    "\"model\": {\"merges\": [], \"ignore_merges\": true, \"vocab\": {\"" MARK "a\": 0, \"b\": 1, \"<0xC3>\": 2, "     \
    "\"<0xA9>\": 3, \"" MARK MARK "\": 4, \"\xC3\x83\": 5, \"\xC2\xA9\": 6, \"\xC4\xA0\": 7, \"c</w>\": 8, "           \
    "\"<0x00>\": 9, \"<s>\": 10, \"\": 11, \" \": 12}}, \"added_tokens\": [{\"id\": 10, \"content\": \"<s>\", "        \
    "\"special\": true}]"

static void check_decoder(const char *decoder, const int32_t *ids, int64_t n, const char *want)
{
    sg_str json = {0};
    sg_str_printf(&json, "{" VOCAB ", \"decoder\": %s}", decoder);
    sg_tokenizer *t = tokenizer_of(json.text);
    check_decoded(t, ids, n, want);
    sg_tokenizer_free(t);
    sg_str_free(&json);
}

#define DECODE(decoder, want, ...)                                                                                     \
    check_decoder((decoder), (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4, (want))

static void decoders_give_text_back(void **state)
{
    (void)state;
    DECODE("null", "b b c</w>", 1, 10, 1, 8);
    DECODE("{\"type\": \"Fuse\"}", "bbc</w>", 1, 1, 8);
    DECODE("{\"type\": \"Replace\", \"pattern\": {\"String\": \"b\"}, \"content\": \"xy\"}", "xyxy", 1, 1);
    DECODE("{\"type\": \"ByteLevel\"}",
           "b \xC3\xA9"
           "b",
           1, 7, 5, 6, 1);
    DECODE("{\"type\": \"ByteLevel\"}",
           "b\xEF\xBF\xBD"
           "b\xEF\xBF\xBD",
           1, 5, 1, 5); /* C3 alone, twice */
    DECODE("{\"type\": \"ByteFallback\"}",
           "b\xC3\xA9"
           "b",
           1, 2, 3, 1);
    /* A run that is not UTF-8 gives one U+FFFD for each of its bytes. */
    DECODE("{\"type\": \"ByteFallback\"}",
           "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
           "b",
           2, 3, 3, 1);
    DECODE("{\"type\": \"ByteFallback\"}",
           "b\xEF\xBF\xBD"
           "b",
           1, 9, 1); /* a NUL */
    DECODE("{\"type\": \"Metaspace\", \"replacement\": \"" MARK "\", \"prepend_scheme\": \"always\"}", "a a  b", 0, 0,
           4, 1);
    DECODE("{\"type\": \"Metaspace\", \"replacement\": \"" MARK "\", \"prepend_scheme\": \"never\"}", " a a", 0, 0);
    DECODE("{\"type\": \"Metaspace\"}", "a a", 10, 0, 0); /* a special token left out is no first token */
    DECODE("{\"type\": \"BPEDecoder\"}", "bc bc", 1, 8, 1, 8);
    DECODE("{\"type\": \"Strip\", \"content\": \"b\", \"start\": 1, \"stop\": 0}", " \xC3\x83", 12, 1, 5);
    /* Llama's: marks to spaces, bytes to characters, all in one, and the first space away. */
    const char *llama =
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"" MARK
        "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": "
        "\"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}";
    DECODE(llama, "a a\xC3\xA9", 10, 0, 0, 2, 3);
    DECODE(llama, " b", 4, 1);
    /* Both ends of the whole text, which a stream learns only at its end. */
    const char *ends =
        "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": "
        "\"b\", \"start\": 1, \"stop\": 2}]}";
    DECODE(ends, "b" MARK "ab", 1, 1, 0, 1, 1, 1);
    DECODE(ends, "", 1, 1);
    DECODE(ends, "", 11);
}

static void word_pieces_become_words(void **state)
{
    (void)state;
    static const char vocab[] = "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0, \"##b\": 1, \".\": 2, "
                                "\"n't\": 3, \"do\": 4, \"'s\": 5, "
                                "\"##\": 6}}, \"decoder\": {\"type\": \"WordPiece\"";
    const int32_t ids[] = {1, 0, 1, 1, 2, 4, 3, 0, 5, 6};
    for (int cleanup = 0; cleanup < 2; cleanup++) {
        sg_str json = {0};
        sg_str_puts(&json, vocab);
        sg_str_puts(&json, cleanup ? "}}" : ", \"cleanup\": false}}");
        sg_tokenizer *t = tokenizer_of(json.text);
        check_decoded(t, ids, 10, cleanup ? "##b abb. don't a's" : "##b abb . do n't a 's");
        sg_tokenizer_free(t);
        sg_str_free(&json);
    }
}

static void ids_without_a_token_are_left_out(void **state)
{
    (void)state;
    DECODE("{\"type\": \"Fuse\"}", "bb", 1, 1000, 1);
    sg_tokenizer *t = tokenizer_of("{" VOCAB "}");
    char *text;
    CHECK_STATUS(sg_tokenizer_decode(t, (const int32_t[]){-1}, 1, true, &text, NULL), SG_EARG);
    CHECK_OK(sg_tokenizer_decode(t, (const int32_t[]){10}, 1, false, &text, NULL), NULL);
    assert_string_equal(text, "<s>");
    free(text);
    sg_tokenizer_free(t);
}

/* A character appears with the token that completes it, and no earlier. */
static void a_stream_gives_whole_characters(void **state)
{
    (void)state;
    sg_tokenizer *t = tokenizer_of("{" VOCAB ", \"decoder\": {\"type\": \"ByteLevel\"}}");
    const int32_t ids[] = {1, 5, 6, 5};
    const char *const want[] = {"b", "", "\xC3\xA9", ""};
    sg_stream s = {0};
    char *piece;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(sg_stream_push(t, &s, ids[i], &piece, NULL), NULL);
        assert_string_equal(piece, want[i]);
        free(piece);
    }
    CHECK_OK(sg_stream_finish(t, &s, &piece, NULL), NULL);
    assert_string_equal(piece, "\xEF\xBF\xBD");
    free(piece);
    CHECK_OK(sg_stream_push(t, &s, 1, &piece, NULL), NULL); /* a new stream */
    assert_string_equal(piece, "b");
    free(piece);
    sg_stream_free(&s);
    sg_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalizers_rewrite_the_text),
        cmocka_unit_test(berts_normalizer_cleans),
        cmocka_unit_test(word_pieces_become_words),
        cmocka_unit_test(normal_forms_compose_and_decompose),
        cmocka_unit_test(a_split_treats_matches_as_told),
        cmocka_unit_test(patterns_mean_what_their_writers_meant),
        cmocka_unit_test(byte_level_writes_bytes_as_characters),
        cmocka_unit_test(metaspace_marks_words),
        cmocka_unit_test(other_pretokenizers_cut_at_classes),
        cmocka_unit_test(decoders_give_text_back),
        cmocka_unit_test(ids_without_a_token_are_left_out),
        cmocka_unit_test(a_stream_gives_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
