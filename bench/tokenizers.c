/* Rows of tokenizers: how fast the text of a megabyte becomes ids, for each kind of model, on one core.
 *
 * The vocabularies are those in the folder of shared data: GPT-NeoX', Llama-2's, BERT's; there is none of a Unigram
 * model, so that row has Llama-2's tokens with the logarithm of their rank for a score. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef enum { BYTES, SCORES, WORDS, UNIGRAM, LETTERS } row_kind;

typedef struct reading {
    sg_tokenizer *t;
    char *text;
    size_t n;
} reading;

static void close_reading(void *self)
{
    reading *r = self;
    if (!r)
        return;
    sg_tokenizer_free(r->t);
    free(r->text);
    free(r);
}

static void shared(char path[1024], const char *relative)
{
    const char *folder = getenv("SIGHTGLASS_SHARED");
    if (folder)
        snprintf(path, 1024, "%s/%s", folder, relative);
    else
        snprintf(path, 1024, "%s/../shared/%s", SG_SOURCE_DIR, relative);
}

/* With a NUL behind it; the caller frees. */
static sg_status read_text(char **out, size_t *n, const char *relative, sg_error *err)
{
    char path[1024];
    sg_file *file;
    shared(path, relative);
    if (sg_file_open(&file, path, err) != SG_OK)
        return sg_fail(err, SG_EUNSUPPORTED, "%s is not here", relative);
    *n = sg_file_bytes(file);
    *out = calloc(*n + 1, 1);
    if (*out && *n)
        memcpy(*out, sg_file_data(file), *n);
    sg_file_close(file);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a row");
}

static sg_status open_neox(sg_tokenizer **out, sg_error *err)
{
    size_t n;
    char *list, *lines;
    SG_TRY(read_text(&list, &n, "data/tokenizers/gpt_neox/tokens.json", err));
    json_t *json = json_loadb(list, n, 0, NULL);
    free(list);
    sg_status status = read_text(&lines, &n, "data/tokenizers/gpt_neox/merges.txt", err);
    if (status != SG_OK) {
        json_decref(json);
        return status;
    }
    sg_tokenizer_vocab v = sg_tokenizer_vocab_defaults();
    const char **tokens = calloc(json_array_size(json) + 1, sizeof *tokens);
    const char **merges = calloc(n + 1, sizeof *merges);
    if (tokens && merges) {
        for (size_t i = 0; i < json_array_size(json); i++)
            tokens[i] = json_string_value(json_array_get(json, i));
        for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
            if (strncmp(line, "#version", 8) != 0)
                merges[v.n_merges++] = line;
        v.kind = SG_TOKENIZER_BPE;
        v.n = (int32_t)json_array_size(json);
        v.tokens = tokens;
        v.merges = merges;
        v.pre = "gpt-neox";
        status = sg_tokenizer_new(out, &v, err);
    } else {
        status = sg_fail(err, SG_ENOMEM, "out of memory for a row");
    }
    free(tokens);
    free(merges);
    free(lines);
    json_decref(json);
    return status;
}

static sg_status open_folder(sg_tokenizer **out, const char *relative, sg_error *err)
{
    char path[1024];
    shared(path, relative);
    const sg_status status = sg_tokenizer_open_folder(out, path, err);
    return status == SG_ENOTFOUND ? sg_fail(err, SG_EUNSUPPORTED, "%s is not here", relative) : status;
}

static sg_status open_unigram(sg_tokenizer **out, sg_error *err)
{
    sg_tokenizer *llama;
    SG_TRY(open_folder(&llama, "data/tokenizers/llama2", err));
    const int32_t n = sg_tokenizer_size(llama);
    sg_tokenizer_vocab v = sg_tokenizer_vocab_defaults();
    const char **tokens = calloc((size_t)n + 1, sizeof *tokens);
    float *scores = calloc((size_t)n + 1, sizeof *scores);
    sg_status status = tokens && scores ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a row");
    for (int32_t i = 0; i < n && status == SG_OK; i++) {
        tokens[i] = sg_tokenizer_token(llama, i);
        scores[i] = -logf((float)(i + 1));
    }
    v.kind = SG_TOKENIZER_UNIGRAM;
    v.n = n;
    v.tokens = tokens;
    v.scores = scores;
    v.unk = 0;
    if (status == SG_OK)
        status = sg_tokenizer_new(out, &v, err);
    free(tokens);
    free(scores);
    sg_tokenizer_free(llama);
    return status;
}

static sg_status open_reading(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const row_kind kind = *(const row_kind *)row->shape;
    reading *r = *self = calloc(1, sizeof *r);
    (void)b;
    if (!r)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    SG_TRY(read_text(&r->text, &r->n, "data/texts/tinyshakespeare.txt", err));
    if (kind == LETTERS)
        memset(r->text, 'a', r->n);
    switch (kind) {
    case BYTES:
        return open_neox(&r->t, err);
    case WORDS:
        return open_folder(&r->t, "data/tokenizers/bert_uncased", err);
    case UNIGRAM:
        return open_unigram(&r->t, err);
    default:
        return open_folder(&r->t, "data/tokenizers/llama2", err);
    }
}

/* Seconds for a million bytes. */
static sg_status run_reading(void *self, double *seconds, sg_error *err)
{
    const reading *r = self;
    sg_tokens ids = {0};
    const double start = sg_now();
    const sg_status status = sg_tokenizer_encode(r->t, r->text, sg_encode_defaults(), &ids, err);
    *seconds = (sg_now() - start) / ((double)r->n / 1e6);
    sg_tokens_free(&ids);
    return status;
}

static const row_kind kinds[] = {BYTES, SCORES, WORDS, UNIGRAM, LETTERS};

#define ROW(title, kind)                                                                                               \
    {                                                                                                                  \
        title, .unit = "MB/s", .scale = 1, .rate = true, .open = open_reading, .run = run_reading,                     \
               .close = close_reading, .shape = &kinds[kind]                                                           \
    }

const bench_row bench_tokenizer_rows[] = {
    ROW("tokenize_bpe", BYTES),       ROW("tokenize_spm", SCORES),      ROW("tokenize_wordpiece", WORDS),
    ROW("tokenize_unigram", UNIGRAM), ROW("tokenize_letters", LETTERS),
};
const int bench_n_tokenizer_rows = (int)SG_COUNT_OF(bench_tokenizer_rows);
