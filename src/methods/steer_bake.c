/* Edits that are the same at every position are a bias. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/adapt.h"
#include "sightglass/steer.h"

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
