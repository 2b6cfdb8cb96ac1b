/* Any bytes as a config.json: refused in one line, or sizes from which every weight's shape follows. */
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_layers(const sg_model *m)
{
    const sg_conv_net *net = m->encoder->conv;

    SG_ASSERT(net->n_layers > 0 && m->info.n_layers > 0 && m->info.n_labels > 0 && m->info.image_side > 0);
    for (int i = 0; i < net->n_layers; i++) {
        const sg_conv_layer *l = &net->layers[i];
        sg_dim count;
        SG_ASSERT(l->channels > 0 && l->in_channels > 0 && l->side >= 0 && l->from < i);
        SG_ASSERT(!__builtin_mul_overflow(l->channels, l->in_channels, &count) &&
                  !__builtin_mul_overflow(count, SG_MAX(l->kernel * l->kernel, 1), &count));
    }
}

static void check_sizes(const sg_model *m)
{
    const sg_model_info *in = &m->info;

    SG_ASSERT(in->family && in->architecture);
    if (m->encoder && m->encoder->conv) { /* so do those of its weights */
        check_layers(m);
        return;
    }
    if (m->encoder) { /* whose weights are not told by roles */
        SG_ASSERT(in->d_model > 0 && in->n_layers > 0 && in->n_heads > 0 && in->d_head > 0 && in->n_context > 0);
        SG_ASSERT(in->n_vocab > 0 || in->image_side > 0);
        return;
    }
    SG_ASSERT(in->d_model > 0 && in->n_layers > 0 && in->n_heads > 0 && in->n_kv_heads > 0 && in->d_head > 0);
    SG_ASSERT(in->d_mlp > 0 && in->n_vocab > 0 && in->n_context > 0 && in->n_heads % in->n_kv_heads == 0);
    SG_ASSERT(m->arch.eps > 0 && (m->arch.learned_positions || m->arch.rope_theta > 0));
    SG_ASSERT(in->bos >= -1 && in->bos < in->n_vocab);
    for (int i = 0; i < in->n_eos; i++)
        SG_ASSERT(in->eos[i] >= 0 && in->eos[i] < in->n_vocab);
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        sg_dim dims[2] = {0, 1}, count;
        if (!m->arch.names[role])
            continue;
        const int n_dims = sg_weight_shape(m, (sg_weight_role)role, dims);
        SG_ASSERT((n_dims == 1 || n_dims == 2) && dims[0] > 0 && dims[1] > 0);
        SG_ASSERT(!__builtin_mul_overflow(dims[0], dims[1], &count));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_model m = {.arena = sg_arena_new(), .opts = sg_model_defaults()};
    sg_error err = {SG_OK, ""};

    if (m.arena && sg_config_parse(&m, n ? (const char *)bytes : "", n, "input", &err) == SG_OK)
        check_sizes(&m);
    else
        SG_ASSERT(err.text[0] && !strchr(err.text, '\n'));
    sg_arena_free(m.arena);
    return 0;
}
