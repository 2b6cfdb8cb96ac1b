/* What is always added to the heads' outputs, as a bias of the projection behind them: b_O += W_O z. */
#include <string.h>

#include "models/adapt.h"

static sg_status no_memory(const sg_model *m, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory for biases", m->info.path);
}

/* Biases of 0 in all layers, where the family knows some and this model has none. Hugging Face's config has one switch
 * for those of queries, keys, values and output, so all of them are made. */
static sg_status make_biases(sg_model *m, sg_error *err)
{
    static const sg_weight_role roles[] = {SG_W_Q_BIAS, SG_W_K_BIAS, SG_W_V_BIAS, SG_W_O_BIAS};
    for (size_t r = 0; r < SG_COUNT_OF(roles); r++) {
        const sg_weight_role role = roles[r];
        if (m->weights[role] || !m->arch.names[role])
            continue;
        sg_weight *w = sg_arena_array(m->arena, (size_t)m->info.n_layers, sizeof *w);
        if (!w)
            return no_memory(m, err);
        for (int i = 0; i < (int)m->info.n_layers; i++) {
            sg_dim dims[2];
            const int n = sg_weight_shape(m, role, dims);
            w[i] = (sg_weight){sg_weight_name(m, role, i), sg_tensor_of(m->opts.dtype, n, dims, NULL)};
            w[i].tensor.data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&w[i].tensor), 1)); /* zeros */
            if (!w[i].name || !w[i].tensor.data)
                return no_memory(m, err);
            m->info.n_parameters += sg_tensor_count(&w[i].tensor);
        }
        m->weights[role] = w;
    }
    m->arch.attention_bias = true;
    m->new_biases = true;
    return SG_OK;
}

sg_status sg_model_bake_attention(sg_model *m, int layer, const double *z, sg_error *err)
{
    const sg_dim d = m->info.d_model, inner = m->info.n_heads * m->info.d_head;
    if (m->encoder || !m->arch.names[SG_W_O_BIAS])
        return sg_fail(err, SG_EUNSUPPORTED, "%s: models of the family %s have no bias behind their heads",
                       m->info.path, m->info.family);
    if (layer < 0 || layer >= m->info.n_layers)
        return sg_fail(err, SG_EARG, "%s: layer %d of %lld", m->info.path, layer, (long long)m->info.n_layers);
    if (!m->weights[SG_W_O] || !m->weights[SG_W_O][layer].tensor.data)
        return sg_fail(err, SG_EARG, "%s: its weights were not read, so nothing is baked into them", m->info.path);
    if (!m->weights[SG_W_O_BIAS])
        SG_TRY(make_biases(m, err));
    const sg_tensor *w = &m->weights[SG_W_O][layer].tensor;
    sg_weight *b = &m->weights[SG_W_O_BIAS][layer];
    sg_tensor to = sg_tensor_of(m->opts.dtype, 1, &d, NULL);
    double *numbers = sg_arena_array(m->arena, (size_t)(d * inner), sizeof *numbers);
    to.data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&to), 1));
    if (!numbers || !to.data)
        return no_memory(m, err);
    sg_convert(numbers, SG_F64, w->data, w->dtype, d * inner);
    for (sg_dim i = 0; i < d; i++) {
        double sum = sg_tensor_get(&b->tensor, i);
        for (sg_dim k = 0; k < inner; k++)
            sum += z[k] * numbers[m->arch.in_out ? k * d + i : i * inner + k];
        sg_tensor_set(&to, i, sum);
    }
    b->tensor = to;
    return SG_OK;
}
