/* Rows over weights as they are stored: a Llama of 1.1 billion random parameters written on from and read, gradients
 * through a packed GPT-2, and opening a large file. The models are made in memory, of random blocks with scales that
 * keep numbers in range. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "bench.h"
#include "models/arch.h"
#include "sightglass/ops.h"

#define LLAMA_LAYERS 22
#define LLAMA_D      2048.0
#define LLAMA_KV     256.0
#define LLAMA_MLP    5632.0
#define LLAMA_VOCAB  32000
#define WRITTEN      64
#define READ         512
#define GPT_D        768
#define GPT_LAYERS   12
#define GPT_VOCAB    50257
#define TRACED       128 /* tokens whose gradients are taken */

/* Weights that a token meets: all matrices but the embedding, of which it takes a row. */
#define LLAMA_WEIGHTS                                                                                                  \
    (LLAMA_LAYERS * (2 * LLAMA_D * (LLAMA_D + LLAMA_KV) + 3 * LLAMA_D * LLAMA_MLP) + LLAMA_D * LLAMA_VOCAB)
#define GPT_FLOPS (BENCH_GPT_FLOPS(1, (double)TRACED, GPT_LAYERS, GPT_D, 4.0 * GPT_D, GPT_VOCAB))

typedef struct shape {
    const char *config;
    sg_dtype type;
    int n_vocab;
    bool bf16;      /* computed in bf16 */
    sg_dim n;       /* tokens that are read at once; 0: written one by one */
    bool gradients; /* of the last logit by what enters each block, beside that logit */
    bool as_f32;    /* the same weights unpacked */
} shape;

typedef struct work {
    const shape *s;
    sg_model *model;
    void **weights;
    int n_weights;
    sg_glass *glass;
    sg_value *fetches[1 + GPT_LAYERS];
    sg_tensor out[1 + GPT_LAYERS];
    int n_fetches;
    int32_t ids[READ], written;
} work;

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_glass_free(w->glass);
    sg_model_close(w->model);
    for (int i = 0; i < w->n_weights; i++)
        free(w->weights[i]);
    free(w->weights);
    free(w);
}

static sg_session *session(void *self)
{
    work *w = self;
    return sg_glass_session(w->glass);
}

/* ---- random weights ---- */

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 16;
}

/* Levels of all kinds under scales that give a deviation of about 0.02. */
static void draw_blocks(void *data, sg_dtype type, size_t bytes, uint64_t *seed)
{
    unsigned char *at = data;
    const size_t block = sg_dtype_block_bytes(type);
    const uint16_t q8 = sg_f32_to_f16(0.02f / 73), q4 = sg_f32_to_f16(1.4e-4f), least = sg_f32_to_f16(1.05e-3f);

    for (size_t i = 0; i + 8 <= bytes; i += 6) {
        const uint64_t x = next(seed);
        memcpy(at + i, &x, 8);
    }
    for (size_t i = 0; i < bytes && type == SG_Q8_0; i += block)
        memcpy(at + i, &q8, sizeof q8);
    for (size_t i = 0; i < bytes && type == SG_Q4_K; i += block) {
        memcpy(at + i, &q4, sizeof q4);
        memcpy(at + i + 2, &least, sizeof least);
    }
    for (size_t i = 0; i < bytes && type == SG_BF16; i += 2) { /* signs and fractions about 2^-6 */
        at[i + 1] = (unsigned char)((at[i + 1] & 0x80) | 0x3C);
        at[i] = (unsigned char)(at[i] & 0xFF);
    }
}

static sg_status add_weight(work *w, sg_tensor *t, sg_dtype type, uint64_t *seed, sg_error *err)
{
    const bool matrix = t->n_dims == 2;
    t->dtype = matrix ? type : SG_F32;
    t->data = w->weights[w->n_weights++] = aligned_alloc(64, (sg_tensor_bytes(t) + 63) / 64 * 64);
    if (!t->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    if (matrix)
        draw_blocks(t->data, type, sg_tensor_bytes(t), seed);
    for (sg_dim i = 0; !matrix && i < sg_tensor_count(t); i++)
        ((float *)t->data)[i] = 1;
    if (!matrix || !w->s->as_f32)
        return SG_OK;
    float *numbers = malloc((size_t)sg_tensor_count(t) * sizeof *numbers);
    if (!numbers)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    sg_convert(numbers, SG_F32, t->data, type, sg_tensor_count(t));
    free(t->data);
    *t = sg_tensor_of(SG_F32, t->n_dims, t->dims, w->weights[w->n_weights - 1] = numbers);
    return SG_OK;
}

static sg_status open_model(work *w, const bench *b, sg_error *err)
{
    char path[512];
    uint64_t seed = 1;

    snprintf(path, sizeof path, "%s/packed.json", b->folder);
    FILE *f = fopen(path, "w");
    if (!f || fputs(w->s->config, f) < 0 || fclose(f) != 0)
        return sg_fail(err, SG_EIO, "%s cannot be written", path);
    const sg_status status = sg_model_new(&w->model, path, NULL, sg_model_defaults(), err);
    unlink(path);
    SG_TRY(status);
    w->model->arch.in_out = false; /* packed matrices are [out,in], whatever the family's own files have */
    w->weights = calloc((size_t)SG_N_WEIGHTS * GPT_LAYERS * 2, sizeof *w->weights);
    if (!w->weights)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)w->model->info.n_layers : 1;
        for (int i = 0; w->model->weights[role] && i < n; i++) {
            sg_tensor *t = &w->model->weights[role][i].tensor;
            t->n_dims = sg_weight_shape(w->model, (sg_weight_role)role, t->dims);
            SG_TRY(add_weight(w, t, w->s->type, &seed, err));
        }
    }
    return SG_OK;
}

static sg_status open_shape(void **self, bench *b, const bench_row *row, sg_error *err)
{
    work *w = *self = calloc(1, sizeof *w);
    sg_glass_opts opts = sg_glass_defaults();

    if (!w)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    w->s = row->shape;
    for (int i = 0; i < READ; i++)
        w->ids[i] = bench_token(i, w->s->n_vocab);
    SG_TRY(open_model(w, b, err));
    opts.capacity = w->s->n ? 0 : WRITTEN + 1;
    opts.exec.compute = w->s->bf16 ? SG_BF16 : SG_F32;
    SG_TRY(sg_glass_new(&w->glass, w->model, opts, err));
    SG_TRY(sg_glass_find(w->glass, "logits", &w->fetches[w->n_fetches++], err));
    if (!w->s->gradients)
        return SG_OK;
    sg_graph *g = sg_glass_graph(w->glass);
    sg_value *xs[GPT_LAYERS], *logit = w->fetches[0];
    for (int i = 0; i < GPT_LAYERS; i++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.hook_resid_pre", i);
        SG_TRY(sg_glass_find(w->glass, name, &xs[i], err));
    }
    logit = sg_slice(g, sg_slice(g, logit, 1, TRACED - 1, TRACED, 1), 2, 42, 43, 1);
    sg_gradients(g, sg_sum_all(g, logit), NULL, GPT_LAYERS, xs, w->fetches);
    w->n_fetches = GPT_LAYERS;
    return sg_graph_status(g, err);
}

/* ---- written on, or read ---- */

static sg_status extend(work *w, int32_t id, sg_error *err)
{
    const sg_dim n = 1;
    const int32_t *ids = &id;
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &n};

    SG_TRY(sg_glass_extend(w->glass, &rows, 1, w->fetches, w->out, err));
    const float *x = w->out[0].data;
    w->written = 0;
    for (int32_t v = 1; v < w->s->n_vocab; v++)
        w->written = x[v] > x[w->written] ? v : w->written;
    return SG_OK;
}

static sg_status run_decode(void *self, double *seconds, sg_error *err)
{
    work *w = self;

    sg_glass_forget(w->glass);
    SG_TRY(extend(w, w->ids[0], err));
    const double start = sg_now();
    for (int i = 0; i < WRITTEN; i++)
        SG_TRY(extend(w, w->written, err));
    *seconds = (sg_now() - start) / WRITTEN;
    return SG_OK;
}

static sg_status run_pass(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const int32_t *ids = w->ids;
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &w->s->n};
    const double start = sg_now();

    SG_TRY(sg_glass_run(w->glass, &rows, 0, NULL, w->n_fetches, w->fetches, w->out, err));
    *seconds = sg_now() - start;
    return SG_OK;
}

/* ---- opening ---- */

/* Eight layers and a vocabulary, 500 MB of f32. */
static const bench_gpt large = {"large", 13, 1024, 16, 4096, 32000, 1024};

typedef struct command {
    char model[512];
} command;

static void close_open(void *self)
{
    command *c = self;
    char path[600];

    if (!c)
        return;
    snprintf(path, sizeof path, "%s/model.safetensors", c->model);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", c->model);
    unlink(path);
    rmdir(c->model);
    free(c);
}

static sg_status open_open(void **self, bench *b, const bench_row *row, sg_error *err)
{
    command *c = *self = calloc(1, sizeof *c);
    (void)row;
    if (!c)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    return bench_gpt_folder(b, &large, c->model, err);
}

static sg_status run_open(void *self, double *seconds, sg_error *err)
{
    const command *c = self;
    const char *const argv[] = {SG_COMMAND, "inspect", c->model, NULL};
    return bench_time_command(argv, seconds, err);
}

/* ---- the rows ---- */

#define LLAMA_CONFIG                                                                                                   \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 2048, "                   \
    "\"intermediate_size\": 5632, \"num_hidden_layers\": 22, \"num_attention_heads\": 32, \"num_key_value_heads\": "   \
    "4, "                                                                                                              \
    "\"vocab_size\": 32000, \"max_position_embeddings\": 2048, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, "     \
    "\"hidden_act\": \"silu\", \"tie_word_embeddings\": false}\n"
#define GPT_CONFIG                                                                                                     \
    "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"n_embd\": 768, \"n_layer\": 12, "          \
    "\"n_head\": 12, \"n_inner\": 3072, \"vocab_size\": 50257, \"n_positions\": 1024, \"layer_norm_epsilon\": 1e-05, " \
    "\"activation_function\": \"gelu_new\", \"tie_word_embeddings\": true}\n"

static const shape decode_q8_0 = {LLAMA_CONFIG, SG_Q8_0, LLAMA_VOCAB, .n = 0};
static const shape decode_q4_k = {LLAMA_CONFIG, SG_Q4_K, LLAMA_VOCAB, .n = 0};
static const shape decode_bf16 = {LLAMA_CONFIG, SG_BF16, LLAMA_VOCAB, .n = 0};
static const shape prefill_q8_0 = {LLAMA_CONFIG, SG_Q8_0, LLAMA_VOCAB, .n = READ, .bf16 = true};
static const shape prefill_bf16 = {LLAMA_CONFIG, SG_BF16, LLAMA_VOCAB, .n = READ, .bf16 = true};
static const shape prefill_old = {LLAMA_CONFIG, SG_BF16, LLAMA_VOCAB, .n = READ, .bf16 = true, .as_f32 = true};
static const shape prefill_q8_0_f32 = {LLAMA_CONFIG, SG_Q8_0, LLAMA_VOCAB, .n = READ};
static const shape forward_q8 = {GPT_CONFIG, SG_Q8_0, GPT_VOCAB, .n = TRACED};
static const shape grad_q8 = {GPT_CONFIG, SG_Q8_0, GPT_VOCAB, .n = TRACED, .gradients = true};

#define DECODE(bytes)                                                                                                  \
    .unit = "ms/token", .scale = 1e3, .open = open_shape, .run = run_decode, .close = close_work, .session = session,  \
    .work = LLAMA_WEIGHTS * (bytes), .peak = BENCH_MEMORY
#define PASS        .unit = "ms", .scale = 1e3, .open = open_shape, .run = run_pass, .close = close_work, .session = session
#define LLAMA_FLOPS (2.0 * READ * LLAMA_WEIGHTS + 4.0 * READ * READ * LLAMA_D * LLAMA_LAYERS)

const bench_row bench_packed_rows[] = {
    /* per token: every weight is read once */
    {"decode_q8_0", DECODE(34.0 / 32), .shape = &decode_q8_0},
    {"decode_q4_k", DECODE(144.0 / 256), .shape = &decode_q4_k},
    {"decode_bf16", DECODE(2), .shape = &decode_bf16},
    /* both multiply in bf16; in f32 the same weights at the end */
    {"prefill_q8_0", PASS, .shape = &prefill_q8_0, .work = LLAMA_FLOPS, .peak = BENCH_BF16},
    {"prefill_bf16", PASS, .shape = &prefill_bf16, .work = LLAMA_FLOPS, .peak = BENCH_BF16},
    {"prefill_unpacked", PASS, .shape = &prefill_old, .work = LLAMA_FLOPS, .peak = BENCH_BF16},
    {"prefill_q8_0_f32", PASS, .shape = &prefill_q8_0_f32, .work = LLAMA_FLOPS, .peak = BENCH_F32},
    {"forward_q8", PASS, .shape = &forward_q8, .work = GPT_FLOPS, .peak = BENCH_F32},
    {"grad_q8", PASS, .shape = &grad_q8},
    {"open", .unit = "ms", .scale = 1e3, .open = open_open, .run = run_open, .close = close_open},
};
const int bench_n_packed_rows = (int)SG_COUNT_OF(bench_packed_rows);
