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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert_gives_its_reference_ids),
        cmocka_unit_test(bert_as_gguf_has_it_gives_its_reference_ids),
        cmocka_unit_test(llama2_from_its_protobuf_gives_its_reference_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
