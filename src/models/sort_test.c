/* A second real transformer, of the family gpt2: three layers that sort six letters. Its file has the layout of the program that
 * trained it, so the test writes it anew as a Hugging Face folder. */
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/model.h"
#include "sightglass/safetensors.h"

#define LETTERS 6
#define INPUTS 729

static const char config[] = "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"n_embd\": 48, \"n_head\": 3, "
                             "\"n_layer\": 3, \"vocab_size\": 3, \"n_positions\": 11, \"layer_norm_epsilon\": 1e-5, "
                             "\"activation_function\": \"gelu_new\", \"tie_word_embeddings\": false}";

/* Matrices of linear maps are turned to [in,out]; the rest is kept. */
static void write_folder(const char *folder, const sg_safetensors *from)
{
    static const char *const turned[] = {"c_attn.weight", "c_proj.weight", "c_fc.weight"};
    const int n = sg_safetensors_count(from);
    sg_named_tensor *list = calloc((size_t)n, sizeof *list);
    char path[1200];
    sg_error err;

    for (int i = 0; i < n; i++) {
        const char *name = sg_safetensors_name(from, i);
        list[i] = (sg_named_tensor){name, *sg_safetensors_at(from, i)};
        for (size_t k = 0; k < SG_COUNT_OF(turned); k++) {
            const size_t m = strlen(turned[k]);
            if (strlen(name) < m || strcmp(name + strlen(name) - m, turned[k]) != 0)
                continue;
            sg_tensor *t = &list[i].tensor;
            const sg_dim rows = t->dims[0], cols = t->dims[1];
            const float *x = t->data;
            float *y = malloc(sg_tensor_bytes(t));
            for (sg_dim r = 0; r < rows; r++)
                for (sg_dim c = 0; c < cols; c++)
                    y[c * rows + r] = x[r * cols + c];
            *t = sg_tensor_of(SG_F32, 2, (sg_dim[]){cols, rows}, y);
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(sg_safetensors_save(path, list, n, NULL, 0, &err), &err);
    for (int i = 0; i < n; i++)
        if (list[i].tensor.data != sg_safetensors_at(from, i)->data)
            free(list[i].tensor.data);
    free(list);
    sg_writer *w;
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(sg_writer_begin(&w, path, &err), &err);
    fputs(config, sg_writer_stream(w));
    CHECK_OK(sg_writer_commit(w, &err), &err);
}

static void all_729_inputs_are_sorted(void **state)
{
    (void)state;
    char path[1024], folder[] = "/tmp/sightglass-sort-XXXXXX", file[1200];
    SKIP_WITHOUT(sg_test_shared(path, "data/gpt-nano-sort/gpt-nano-sort.safetensors"), "the model gpt-nano-sort");
    static int32_t ids[INPUTS][2 * LETTERS];
    const int32_t *rows[INPUTS];
    sg_dim lengths[INPUTS];
    sg_error err;
    sg_safetensors *st;
    sg_model *m;
    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;

    CHECK(mkdtemp(folder) != NULL);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    write_folder(folder, st);
    sg_safetensors_close(st);
    CHECK_OK(sg_model_open(&m, folder, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    for (int i = 0; i < INPUTS; i++) {
        for (int k = 0, rest = i; k < LETTERS; k++, rest /= 3)
            ids[i][k] = rest % 3;
        rows[i] = ids[i];
    }
    for (int k = 0; k < LETTERS; k++) {
        for (int i = 0; i < INPUTS; i++)
            lengths[i] = LETTERS + k;
        const sg_rows batch = {.n_rows = INPUTS, .tokens = rows, .lengths = lengths};
        CHECK_OK(sg_glass_run(glass, &batch, 0, NULL, 1, &logits, &out, &err), &err);
        for (int i = 0; i < INPUTS; i++) {
            const float *x = (const float *)out.data + ((sg_dim)i * lengths[i] + lengths[i] - 1) * 3;
            ids[i][LETTERS + k] = x[0] >= x[1] && x[0] >= x[2] ? 0 : x[1] >= x[2] ? 1 : 2;
        }
    }
    int sorted = 0;
    for (int i = 0; i < INPUTS; i++) {
        int count[3] = {0}, at = 0;
        bool right = true;
        for (int k = 0; k < LETTERS; k++)
            count[ids[i][k]]++;
        for (int v = 0; v < 3; v++)
            for (int c = 0; c < count[v]; c++)
                right &= ids[i][LETTERS + at++] == v;
        sorted += right;
    }
    CHECK(sorted == INPUTS);
    sg_glass_free(glass);
    sg_model_close(m);
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    unlink(file);
    snprintf(file, sizeof file, "%s/config.json", folder);
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_729_inputs_are_sorted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
