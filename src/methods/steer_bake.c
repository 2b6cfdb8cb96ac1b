/* Edits that are the same at every position are a bias. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/steer_internal.h"
#include "sightglass/adapt.h"
#include "sightglass/rng.h"

static const double nan_ = (double)NAN;

/* The layer whose hook_z an edit adds to everywhere, or the error that says why it is no bias. */
static sg_status layer_of(const sg_model *m, sg_edit_list *list, int i, int *layer, sg_error *err)
{
    const sg_edit *e = sg_edit_list_at(list, i);
    const sg_model_info *in = sg_model_get_info(m);
    char site[64];
    const sg_dim n = sg_tensor_count(&e->value), all = in->n_heads * in->d_head;
    *layer = -1;
    for (int k = 0; k < (int)in->n_layers; k++) {
        snprintf(site, sizeof site, "blocks.%d.attn.hook_z", k);
        if (e->site && !strcmp(e->site, site))
            *layer = k;
    }
    const char *why = *layer < 0                                             ? "is not at blocks.{i}.attn.hook_z"
                      : e->op != SG_EDIT_ADD || sg_edit_list_source(list, i) ? "does not add numbers of its own"
                      : e->positions.n || e->rows.n || e->steps.n || e->features.n || e->when.site
                          ? "is not made at every position of every row"
                      : !e->value.data || e->value.n_dims > 2 || (n != 1 && n != in->d_head && n != all)
                          ? "has a value that is neither one head's nor all heads'"
                          : NULL;
    return why ? sg_fail(err, SG_EARG, "edit %d %s, so it is no bias of the model", i, why) : SG_OK;
}

static bool within(const sg_spans *s, sg_dim k)
{
    for (int i = 0; i < s->n; i++)
        if (k >= s->spans[i].first && k <= s->spans[i].last)
            return true;
    return s->n == 0;
}

sg_status sg_steer_bake(sg_model *m, sg_edit_list *list, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    const sg_dim all = in->n_heads * in->d_head;
    double *z = calloc((size_t)(in->n_layers * all), sizeof *z);
    bool *any = calloc((size_t)in->n_layers + 1, sizeof *any);
    sg_status status = z && any ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory");
    for (int i = 0; i < sg_edit_list_count(list) && status == SG_OK; i++) {
        const sg_edit *e = sg_edit_list_at(list, i);
        int layer;
        status = layer_of(m, list, i, &layer, err);
        if (status != SG_OK)
            break;
        const sg_dim n = sg_tensor_count(&e->value);
        any[layer] = true;
        for (sg_dim k = 0; k < all; k++)
            if (within(&e->heads, k / in->d_head))
                z[layer * all + k] += e->strength * sg_tensor_get(&e->value, k % n);
    }
    for (sg_dim layer = 0; layer < in->n_layers && status == SG_OK; layer++)
        if (any[layer])
            status = sg_model_bake_attention(m, (int)layer, z + layer * all, err);
    free(z);
    free(any);
    return status;
}

/* ---- sightglass steer bake ---- */

static sg_status logits_of(const sg_model *m, sg_edit_list *list, const int32_t *tokens, sg_dim n, sg_exec_opts exec,
                           float **out, sg_dim *count, sg_error *err)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_glass_opts opts = sg_glass_defaults();
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    opts.exec = exec;
    SG_TRY(sg_glass_new(&glass, m, opts, err));
    sg_status status = list ? sg_glass_edit_list(glass, list, err) : SG_OK;
    if (status == SG_OK)
        status = sg_glass_find(glass, "logits", &v, err);
    if (status == SG_OK)
        status = sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, err);
    if (status == SG_OK) {
        *count = sg_tensor_count(&t);
        *out = malloc(sg_tensor_bytes(&t));
        if (*out)
            memcpy(*out, t.data, sg_tensor_bytes(&t));
        else
            status = sg_fail(err, SG_ENOMEM, "steer: out of memory");
    }
    sg_glass_free(glass);
    return status;
}

static sg_status run_bake(sg_method_run *r, sg_error *err)
{
    enum { T = 16 };
    sg_model *m, *baked = NULL;
    sg_edit_list *list = NULL;
    const char *dir = sg_method_out(r);
    float *logits[3] = {NULL};
    sg_dim n = 0;
    int32_t tokens[T];
    double off = 0, moved = 0;
    if (!dir)
        return sg_fail(err, SG_EARG, "steer bake: -o names the folder that the model is written to");
    SG_TRY(sg_method_model(r, 0, &m, err));
    SG_TRY(sg_method_data(r, sg_method_input_at(r, 1), err));
    SG_TRY(sg_steer_edits(&list, sg_method_input_at(r, 1), err));
    sg_status status = sg_model_open(&baked, sg_method_input_at(r, 0), sg_model_defaults(), err);
    if (status == SG_OK)
        status = sg_steer_bake(baked, list, err);
    sg_rng rng = sg_rng_new(sg_method_seed(r), 9);
    for (int i = 0; i < T; i++)
        tokens[i] = (int32_t)sg_rng_below(&rng, (uint32_t)sg_model_get_info(m)->n_vocab);
    const sg_dim length = SG_MIN((sg_dim)T, sg_model_get_info(m)->n_context);
    if (status == SG_OK)
        status = logits_of(m, NULL, tokens, length, sg_method_exec(r), &logits[0], &n, err);
    if (status == SG_OK)
        status = logits_of(m, list, tokens, length, sg_method_exec(r), &logits[1], &n, err);
    if (status == SG_OK)
        status = logits_of(baked, NULL, tokens, length, sg_method_exec(r), &logits[2], &n, err);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        off = fmax(off, fabs((double)logits[2][i] - (double)logits[1][i]));
        moved = fmax(moved, fabs((double)logits[0][i] - (double)logits[1][i]));
    }
    for (int k = 0; k < 3; k++)
        free(logits[k]);
    if (status == SG_OK)
        status =
            sg_result_add(sg_method_result(r),
                          &(sg_finding){.id = "difference",
                                        .text = "largest difference of a logit, baked less edited, on random tokens",
                                        .value = off,
                                        .low = nan_,
                                        .high = nan_,
                                        .n = length,
                                        .control = "the model as it was, less edited",
                                        .control_value = moved,
                                        .control_low = nan_,
                                        .control_high = nan_},
                          err);
    if (status == SG_OK)
        status = sg_model_write(baked, sg_model_get_info(m)->stored == SG_BF16 ? SG_BF16 : SG_F32, dir, err);
    if (status == SG_OK)
        status = sg_result_add_file(sg_method_result(r), dir, "the model with the edits in its biases", err);
    sg_edit_list_free(list);
    sg_model_close(baked);
    return status;
}

static const sg_method_input bake_inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1,
     "a model's folder, of a family with biases behind its heads (llama, gpt2, gpt_neox)"},
    {"EDITS", SG_METHOD_FILE, 1, 1, "edits that add to blocks.{i}.attn.hook_z at every position (steer fit --heads K)"},
};

const sg_method sg_method_steer_bake = {
    .name = "steer",
    .action = "bake",
    .help = "work edits of heads into a model's biases",
    .about = "b_O += strength W_O v, which is the edit made at every position. What is made at some positions alone is "
             "refused.",
    .artefact = "DIR: the model",
    .n_inputs = SG_COUNT_OF(bake_inputs),
    .inputs = bake_inputs,
    .run = run_bake,
};
