/* Folders of GPT-2's layout with random weights, written once into the temporary folder. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"
#include "sightglass/safetensors.h"

const bench_gpt bench_gpt2 = {"gpt2", 12, 768, 12, 3072, 50257, 1024};
const bench_gpt bench_gpt_512 = {"train_512", 8, 512, 8, 2048, 61, 64};
const bench_gpt bench_gpt_128 = {"train_128", 4, 128, 8, 512, 61, 64};
const bench_gpt bench_gpt_othello = {"train_othello", 8, 256, 8, 1024, 61, 60};

int32_t bench_token(sg_dim i, int n_vocab)
{
    return (int32_t)((i * i % 7919 * 31 + i * 13 + 5) % n_vocab);
}

static const struct {
    const char *name;
    int rows, cols; /* 1, 2, 3: d, hidden, 3 d; cols 0: a vector */
    float start;    /* vectors start there; matrices are drawn */
} in_block[] = {{"ln_1.weight", 1, 0, 1},      {"ln_1.bias", 1, 0, 0},          {"attn.c_attn.weight", 1, 3, 0},
                {"attn.c_attn.bias", 3, 0, 0}, {"attn.c_proj.weight", 1, 1, 0}, {"attn.c_proj.bias", 1, 0, 0},
                {"ln_2.weight", 1, 0, 1},      {"ln_2.bias", 1, 0, 0},          {"mlp.c_fc.weight", 1, 2, 0},
                {"mlp.c_fc.bias", 2, 0, 0},    {"mlp.c_proj.weight", 2, 1, 0},  {"mlp.c_proj.bias", 1, 0, 0}};

/* Uniform numbers of deviation 0.02, GPT-2's; a linear congruence, since there are 124 million. */
static void draw(float *x, sg_dim n, uint64_t *seed)
{
    for (sg_dim i = 0; i < n; i++) {
        *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        x[i] = (float)((int32_t)(*seed >> 32)) * (0.02f * 1.7320508f / 2147483648.0f);
    }
}

typedef struct list {
    sg_named_tensor *at;
    char (*names)[64];
    int n;
    uint64_t seed;
} list;

static sg_status add(list *l, sg_dim rows, sg_dim cols, float start, sg_error *err)
{
    sg_tensor t = sg_tensor_of(SG_F32, cols ? 2 : 1, (sg_dim[]){rows, cols}, NULL);
    float *x = t.data = malloc(sg_tensor_bytes(&t));
    if (!x)
        return sg_fail(err, SG_ENOMEM, "out of memory for %s", l->names[l->n]);
    if (cols)
        draw(x, rows * cols, &l->seed);
    for (sg_dim i = 0; !cols && i < rows; i++)
        x[i] = start;
    l->at[l->n] = (sg_named_tensor){l->names[l->n], t};
    l->n++;
    return SG_OK;
}

static sg_status fill(list *l, const bench_gpt *s, sg_error *err)
{
    const sg_dim extents[] = {0, s->d, s->hidden, 3 * s->d};

    snprintf(l->names[l->n], 64, "transformer.wte.weight");
    SG_TRY(add(l, s->n_vocab, s->d, 0, err));
    snprintf(l->names[l->n], 64, "transformer.wpe.weight");
    SG_TRY(add(l, s->n_context, s->d, 0, err));
    for (int layer = 0; layer < s->n_layers; layer++)
        for (size_t i = 0; i < SG_COUNT_OF(in_block); i++) {
            snprintf(l->names[l->n], 64, "transformer.h.%d.%s", layer, in_block[i].name);
            SG_TRY(add(l, extents[in_block[i].rows], extents[in_block[i].cols], in_block[i].start, err));
        }
    snprintf(l->names[l->n], 64, "transformer.ln_f.weight");
    SG_TRY(add(l, s->d, 0, 1, err));
    snprintf(l->names[l->n], 64, "transformer.ln_f.bias");
    return add(l, s->d, 0, 0, err);
}

static sg_status write_config(const bench_gpt *s, const char *path, sg_error *err)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return sg_fail(err, SG_EIO, "%s cannot be written", path);
    fprintf(f,
            "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"n_embd\": %d, \"n_layer\": %d, "
            "\"n_head\": %d, \"n_inner\": %d, \"vocab_size\": %d, \"n_positions\": %d, \"layer_norm_epsilon\": 1e-05, "
            "\"activation_function\": \"gelu_new\", \"tie_word_embeddings\": true}\n",
            s->d, s->n_layers, s->n_heads, s->hidden, s->n_vocab, s->n_context);
    return fclose(f) == 0 ? SG_OK : sg_fail(err, SG_EIO, "%s cannot be written", path);
}

sg_status bench_gpt_folder(const bench *b, const bench_gpt *shape, char path[512], sg_error *err)
{
    char file[600];
    struct stat there;

    snprintf(path, 512, "%s/%s", b->folder, shape->folder);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    if (stat(file, &there) == 0)
        return SG_OK;
    if (mkdir(path, 0700) != 0)
        return sg_fail(err, SG_EIO, "%s cannot be made", path);
    const int most = 4 + shape->n_layers * (int)SG_COUNT_OF(in_block);
    list l = {.at = calloc((size_t)most, sizeof *l.at), .names = calloc((size_t)most, sizeof *l.names), .seed = 1};
    sg_status status = l.at && l.names ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a model");
    if (status == SG_OK)
        status = fill(&l, shape, err);
    if (status == SG_OK)
        status = sg_safetensors_save(file, l.at, l.n, NULL, 0, err);
    snprintf(file, sizeof file, "%s/config.json", path);
    if (status == SG_OK)
        status = write_config(shape, file, err);
    for (int i = 0; i < l.n; i++)
        free(l.at[i].tensor.data);
    free(l.at);
    free(l.names);
    return status;
}
