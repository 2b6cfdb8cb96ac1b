#include "sightglass/convert.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/gguf.h"
#include "sightglass/model.h"

#define DATA SG_SOURCE_DIR "/test/data/"

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-convert-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static const char *in_folder(char buf[600], const char *name)
{
    snprintf(buf, 600, "%s/%s", folder, name);
    return buf;
}

static int n_entries(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n - 2;
}

/* ---- packing ---- */

static void each_type_is_written_and_its_loss_told(void **state)
{
    (void)state;
    char from[1024];
    SKIP_WITHOUT(sg_test_shared(from, "models/stories260K"), "stories260K");
    static const struct {
        sg_dtype type, matrices, embedding; /* asked for; rows of 64 numbers are no blocks of 256 */
        double least, most;
    } cases[] = {{SG_Q8_0, SG_Q8_0, SG_Q8_0, 0.002, 0.01}, {SG_Q6_K, SG_Q8_0, SG_Q8_0, 0.002, 0.01},
                 {SG_Q5_1, SG_Q5_1, SG_Q8_0, 0.01, 0.05},  {SG_Q4_K, SG_Q5_0, SG_Q8_0, 0.01, 0.05},
                 {SG_Q4_0, SG_Q4_0, SG_Q8_0, 0.02, 0.09},  {SG_IQ4_NL, SG_IQ4_NL, SG_Q8_0, 0.02, 0.09}};
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char to[600];
        sg_error err;
        sg_conversion *c;
        sg_gguf *g;
        sg_convert_opts opts = sg_convert_defaults();
        opts.as_stored = false;
        opts.dtype = cases[i].type;
        opts.mix = true;
        opts.n_threads = (int)i % 3 + 1;
        in_folder(to, "packed.gguf");
        CHECK_OK(sg_convert_model(&c, from, to, &opts, &err), &err);
        CHECK(sg_conversion_count(c) == 47 && !sg_conversion_warning(c, 0));
        CHECK(sg_conversion_error(c) > cases[i].least && sg_conversion_error(c) < cases[i].most);
        CHECK(sg_conversion_bytes_from(c) == 260032 * 4 && sg_conversion_bytes_to(c) < 260032 * 4 / 3);
        CHECK_OK(sg_gguf_open(&g, to, &err), &err);
        CHECK(sg_gguf_find(g, "token_embd.weight")->dtype == cases[i].embedding);
        CHECK(sg_gguf_find(g, "blk.3.attn_v.weight")->dtype == cases[i].matrices);
        CHECK(sg_gguf_find(g, "blk.3.ffn_down.weight")->dtype == SG_F16); /* rows of 172 */
        CHECK(sg_gguf_find(g, "blk.3.ffn_norm.weight")->dtype == SG_F32);
        double error = 0, squares = 0; /* of one tensor, again by hand */
        sg_safetensors *st;
        char plain[1100];
        snprintf(plain, sizeof plain, "%s/model.safetensors", from);
        CHECK_OK(sg_safetensors_open(&st, plain, &err), &err);
        const sg_tensor *x = sg_safetensors_find(st, "model.layers.3.self_attn.v_proj.weight"),
                        *y = sg_gguf_find(g, "blk.3.attn_v.weight");
        for (sg_dim k = 0; k < sg_tensor_count(x); k++) {
            const double e = sg_tensor_get(y, k) - sg_tensor_get(x, k);
            error += e * e;
            squares += sg_tensor_get(x, k) * sg_tensor_get(x, k);
        }
        for (int k = 0; k < 47; k++)
            if (strcmp(sg_conversion_at(c, k)->name, "blk.3.attn_v.weight") == 0)
                CHECK_NEAR(sg_conversion_at(c, k)->error, sqrt(error / squares), 0, 1e-6);
        sg_safetensors_close(st);
        sg_gguf_close(g);
        sg_conversion_free(c);
    }
}

/* Published scales of the format are the nearest to ours: packing by the search errs no more than the file that others
 * wrote. */
static void packing_loses_no_more_than_others_do(void **state)
{
    (void)state;
    static const struct {
        const char *theirs;
        sg_dtype type;
    } cases[] = {{"models/stories260K/stories260K-q8_0.gguf", SG_Q8_0},
                 {"models/stories260K/stories260K-q4_0.gguf", SG_Q4_0}};
    char theirs[1024], plain[1024];
    SKIP_WITHOUT(sg_test_shared(plain, "models/stories260K/stories260K-f32.gguf"), "stories260K");
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char to[600];
        sg_error err;
        sg_conversion *c;
        sg_gguf *a, *b, *x;
        sg_convert_opts opts = sg_convert_defaults();
        opts.as_stored = false;
        opts.dtype = cases[i].type;
        CHECK_OK(sg_convert_model(&c, plain, in_folder(to, "ours.gguf"), &opts, &err), &err);
        sg_conversion_free(c);
        CHECK(sg_test_shared(theirs, cases[i].theirs));
        CHECK_OK(sg_gguf_open(&a, to, &err), &err);
        CHECK_OK(sg_gguf_open(&b, theirs, &err), &err);
        CHECK_OK(sg_gguf_open(&x, plain, &err), &err);
        double ours = 0, others = 0;
        for (int k = 0; k < sg_gguf_count(x); k++) {
            const sg_tensor *t = sg_gguf_at(x, k), *p = sg_gguf_find(a, sg_gguf_name(x, k)),
                            *q = sg_gguf_find(b, sg_gguf_name(x, k));
            for (sg_dim n = 0; n < sg_tensor_count(t); n++) {
                const double w = sg_tensor_get(t, n);
                ours += pow(sg_tensor_get(p, n) - w, 2);
                others += pow(sg_tensor_get(q, n) - w, 2);
            }
        }
        print_message("%s: squared error %.6g, theirs %.6g\n", sg_dtype_name(cases[i].type), ours, others);
        CHECK(ours > 0 && ours <= others * 1.001);
        sg_gguf_close(a);
        sg_gguf_close(b);
        sg_gguf_close(x);
    }
}

static void rules_choose_types_by_either_name(void **state)
{
    (void)state;
    char to[600];
    sg_error err;
    sg_conversion *c;
    sg_gguf *g;
    sg_convert_opts opts = sg_convert_defaults();
    const sg_convert_rule rules[] = {
        {"blk.*.attn_q.weight", SG_F16}, {"model.layers.1.mlp.*", SG_Q8_0}, {"output.weight", SG_BF16}};
    opts.as_stored = false;
    opts.dtype = SG_F32;
    opts.n_rules = 3;
    opts.rules = rules;
    CHECK_OK(sg_convert_model(&c, DATA "gguf/packed.gguf", in_folder(to, "rules.gguf"), &opts, &err), &err);
    sg_conversion_free(c);
    CHECK_OK(sg_gguf_open(&g, to, &err), &err);
    CHECK(sg_gguf_find(g, "blk.0.attn_q.weight")->dtype == SG_F16 &&
          sg_gguf_find(g, "blk.1.ffn_up.weight")->dtype == SG_Q8_0);
    CHECK(sg_gguf_find(g, "blk.0.ffn_up.weight")->dtype == SG_F32 &&
          sg_gguf_find(g, "output.weight")->dtype == SG_BF16);
    sg_gguf_close(g);
    opts.n_rules = 1;
    opts.rules = &(sg_convert_rule){"blk.*.attn_qq.weight", SG_F16};
    in_folder(to, "none.gguf");
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/packed.gguf", to, &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "no tensor's name fits blk.*.attn_qq.weight");
    CHECK(access(to, F_OK) != 0);
}

/* ---- what does not work out ---- */

static bool stop_later(void *context, const char *tensor, double done)
{
    int *left = context;
    (void)tensor;
    CHECK(done >= 0 && done <= 1);
    return --*left > 0;
}

static void a_stopped_conversion_leaves_nothing(void **state)
{
    (void)state;
    static const char *const targets[] = {"stopped.gguf", "stopped"};
    for (size_t i = 0; i < SG_COUNT_OF(targets); i++) {
        char to[600];
        sg_error err;
        sg_conversion *c;
        int left = 10;
        sg_convert_opts opts = sg_convert_defaults();
        const int before = n_entries(folder);
        opts.progress = stop_later;
        opts.context = &left;
        CHECK_STATUS(sg_convert_model(&c, DATA "families/llama", in_folder(to, targets[i]), &opts, &err),
                     SG_ECANCELLED);
        CHECK(left == 0 && n_entries(folder) == before);
    }
}

static void wrong_requests_are_refused(void **state)
{
    (void)state;
    char to[600];
    sg_error err;
    sg_conversion *c;
    sg_convert_opts opts = sg_convert_defaults();
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/llama.gguf", DATA "gguf/llama.gguf", &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "is the model itself");
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/llama.gguf", DATA "families/llama", &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "there is a model already");
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/absent.gguf", in_folder(to, "x.gguf"), &opts, &err), SG_ENOTFOUND);
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/llama.gguf", "/no/such/folder/x.gguf", &opts, &err), SG_ENOTFOUND);
    opts.as_stored = false;
    opts.dtype = SG_Q8_0;
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/packed.gguf", in_folder(to, "x"), &opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "folders hold f32, f16 and bf16");
    opts.dtype = SG_I32;
    CHECK_STATUS(sg_convert_model(&c, DATA "gguf/packed.gguf", in_folder(to, "x.gguf"), &opts, &err), SG_EARG);
    CHECK(n_entries(folder) >= 0 && access(to, F_OK) != 0);
}

/* ---- tokenizers ---- */

/* Encodes the same before and after, and decodes too. */
static void check_tokenizer(const char *before, const char *after)
{
    static const char *const texts[] = {"Once upon a time, there were 12 figs.\n\n  It's  so!",
                                        "Zo\xc3\xab \xe4\xbd\xa0\xe5\xa5\xbd <s> </s>", ""};
    sg_error err;
    sg_model *a, *b;
    sg_model_opts opts = sg_model_defaults();
    opts.only_sizes = true;
    CHECK_OK(sg_model_open(&a, before, opts, &err), &err);
    CHECK_OK(sg_model_open(&b, after, opts, &err), &err);
    const sg_tokenizer *x = sg_model_tokenizer(a), *y = sg_model_tokenizer(b);
    CHECK(x && y);
    for (size_t i = 0; i < SG_COUNT_OF(texts); i++) {
        sg_tokens p = {0}, q = {0};
        char *one, *two;
        CHECK_OK(sg_tokenizer_encode(x, texts[i], sg_encode_defaults(), &p, &err), &err);
        CHECK_OK(sg_tokenizer_encode(y, texts[i], sg_encode_defaults(), &q, &err), &err);
        CHECK(p.n == q.n && (p.n == 0 || memcmp(p.ids, q.ids, (size_t)p.n * sizeof *p.ids) == 0));
        CHECK_OK(sg_tokenizer_decode(x, p.ids, p.n, true, &one, &err), &err);
        CHECK_OK(sg_tokenizer_decode(y, p.ids, p.n, true, &two, &err), &err);
        assert_string_equal(one, two);
        free(one);
        free(two);
        sg_tokens_free(&p);
        sg_tokens_free(&q);
    }
    sg_model_close(a);
    sg_model_close(b);
}

static void sentencepiece_s_tokenizers_go_there_and_back(void **state)
{
    (void)state;
    char from[1024], file[600], back[600];
    sg_error err;
    sg_conversion *c;
    sg_convert_opts opts = sg_convert_defaults();
    SKIP_WITHOUT(sg_test_shared(from, "models/stories260K"), "stories260K");
    CHECK_OK(sg_convert_model(&c, from, in_folder(file, "sp.gguf"), &opts, &err), &err);
    CHECK(!sg_conversion_warning(c, 0));
    sg_conversion_free(c);
    check_tokenizer(from, file);
    CHECK_OK(sg_convert_model(&c, file, in_folder(back, "sp"), &opts, &err), &err);
    CHECK(!sg_conversion_warning(c, 0));
    sg_conversion_free(c);
    check_tokenizer(from, back);
}

/* A byte-level vocabulary of 256 bytes, some merges and a special token, with the pre-tokenizer of GPT-2 or of Llama 3.
 */
static void write_byte_level(const char *dir, bool llama3)
{
    char path[1400];
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    fputs("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":259,\"content\":\"<|end|"
          ">\","
          "\"special\":true,\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
          "\"normalizer\":null,"
          "\"pre_tokenizer\":",
          f);
    if (llama3)
        fputs("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'"
              "ve|'m|'ll|'d)|"
              "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
              "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"
              "\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_"
              "prefix_space\":"
              "false,\"trim_offsets\":true,\"use_regex\":false}]}",
              f);
    else
        fputs("{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}", f);
    fputs(",\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[\"1 "
          "2\",\"\\u0120 "
          "\\u0120\",\"s o\"],\"vocab\":{",
          f);
    int next = 256;
    for (int b = 0; b < 256; b++) {
        const bool shown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        fprintf(f, "%s\"\\u%04x\":%d", b ? "," : "", (unsigned)(shown ? b : next), b);
        next += !shown;
    }
    fputs(",\"12\":256,\"\\u0120\\u0120\":257,\"so\":258}}}", f);
    CHECK(fclose(f) == 0);
}

static void byte_level_tokenizers_find_their_name(void **state)
{
    (void)state;
    for (int llama3 = 0; llama3 < 2; llama3++) {
        char dir[600], file[600], back[600], path[1400], config[600];
        sg_error err;
        sg_conversion *c;
        sg_model *m;
        sg_gguf *g;
        sg_convert_opts opts = sg_convert_defaults();
        in_folder(dir, llama3 ? "bytes3" : "bytes2");
        in_folder(file, llama3 ? "bytes3.gguf" : "bytes2.gguf");
        in_folder(back, llama3 ? "bytes3-back" : "bytes2-back");
        in_folder(config, "bytes-config.json");
        FILE *f = fopen(config, "wb");
        CHECK(f != NULL);
        fputs("{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_"
              "attention_heads\":2,"
              "\"vocab_size\":262,\"max_position_embeddings\":16,\"hidden_act\":\"silu\",\"tie_word_embeddings\":true,"
              "\"eos_token_id\":259}",
              f);
        CHECK(fclose(f) == 0);
        mkdir(dir, 0777);
        write_byte_level(dir, llama3);
        snprintf(path, sizeof path, "%s/tokenizer.json", dir);
        CHECK_OK(sg_model_new(&m, config, path, sg_model_defaults(), &err), &err);
        sg_graph *graph;
        sg_state *s;
        CHECK_OK(sg_model_graph(&graph, m, 0, 1, &err), &err);
        CHECK_OK(sg_state_new(&s, graph, &err), &err);
        CHECK_OK(sg_state_init(s, 1, &err), &err);
        snprintf(path, sizeof path, "%s/model", dir);
        CHECK_OK(sg_model_save(m, graph, s, "", SG_F32, path, &err), &err);
        sg_state_free(s);
        sg_graph_free(graph);
        sg_model_close(m);
        CHECK_OK(sg_convert_model(&c, path, file, &opts, &err), &err);
        if (sg_conversion_warning(c, 0))
            print_error("%s\n", sg_conversion_warning(c, 0));
        CHECK(!sg_conversion_warning(c, 0));
        sg_conversion_free(c);
        CHECK_OK(sg_gguf_open(&g, file, &err), &err);
        assert_string_equal(sg_gguf_text(g, "tokenizer.ggml.pre"), llama3 ? "llama-bpe" : "gpt-2");
        sg_gguf_close(g);
        check_tokenizer(path, file);
        CHECK_OK(sg_convert_model(&c, file, back, &opts, &err), &err);
        CHECK(!sg_conversion_warning(c, 0));
        sg_conversion_free(c);
        check_tokenizer(path, back);
    }
}

/* ---- files that lie ---- */

/* Opened as a model each header with a flipped bit is refused or is a model: nothing crashes, whatever the names, sizes
 * and types have become. */
static void each_flipped_bit_of_a_model_is_survived(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_file *file;
    CHECK_OK(sg_file_open(&file, DATA "gguf/packed.gguf", &err), &err);
    const size_t n = sg_file_bytes(file);
    unsigned char *bytes = malloc(n);
    memcpy(bytes, sg_file_data(file), n);
    sg_file_close(file);
    in_folder(path, "flipped.gguf");
    int n_good = 0, n_bad = 0;
    for (size_t i = 0; i < 2400; i += 1 + i % 3) { /* the header ends at 2.4 KB */
        const unsigned char bit = (unsigned char)(1 << i % 8);
        bytes[i] ^= bit;
        FILE *f = fopen(path, "wb");
        CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
        bytes[i] ^= bit;
        sg_model *m;
        sg_graph *g;
        err.text[0] = 0;
        if (sg_model_open(&m, path, sg_model_defaults(), &err) != SG_OK) {
            CHECK(err.text[0] != 0);
            n_bad++;
            continue;
        }
        if (sg_model_graph(&g, m, 0, 1, &err) == SG_OK)
            sg_graph_free(g);
        sg_model_close(m);
        n_good++;
    }
    CHECK(n_bad > 200);
    for (size_t cut = 0; cut < n; cut += 97) {
        sg_model *m;
        FILE *f = fopen(path, "wb");
        CHECK(f && fwrite(bytes, 1, cut, f) == cut && fclose(f) == 0);
        CHECK(sg_model_open(&m, path, sg_model_defaults(), &err) != SG_OK);
    }
    unlink(path);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_written_and_its_loss_told),
        cmocka_unit_test(packing_loses_no_more_than_others_do),
        cmocka_unit_test(rules_choose_types_by_either_name),
        cmocka_unit_test(a_stopped_conversion_leaves_nothing),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(sentencepiece_s_tokenizers_go_there_and_back),
        cmocka_unit_test(byte_level_tokenizers_find_their_name),
        cmocka_unit_test(each_flipped_bit_of_a_model_is_survived),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
