/* A first line that says how long a configuration is, the configuration, and any bytes as the weights: the adapter is
 * refused, or every number of every part can be read and its shapes fit together. The same as an autoencoder. */
#include <stdlib.h>
#include <string.h>

#include "sightglass/lora.h"
#include "sightglass/sae.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static double sum;

static void read_all(const sg_tensor *t)
{
    for (sg_dim i = 0; t->data && i < sg_tensor_count(t); i++)
        sum += sg_tensor_get(t, i) > 0;
}

static void as_lora(const char *config, size_t n_config, const void *weights, size_t n_weights)
{
    sg_error err;
    sg_lora *l;

    if (sg_lora_parse(&l, config, n_config, weights, n_weights, "input", &err) != SG_OK)
        return;
    for (int i = 0; i < sg_lora_count(l); i++) {
        const sg_lora_part *p = sg_lora_at(l, i);
        if (!p->a.data || !p->b.data || p->a.n_dims != 2 || p->b.n_dims != 2 || p->a.dims[0] != p->b.dims[1] ||
            (p->b_bias.data && p->b_bias.dims[0] != p->b.dims[0]))
            abort();
        read_all(&p->a);
        read_all(&p->b);
        read_all(&p->b_bias);
    }
    for (int i = 0; i < sg_lora_n_biases(l); i++)
        read_all(&sg_lora_bias_at(l, i)->tensor);
    sg_lora_close(l);
}

static void as_sae(const char *config, size_t n_config, const void *weights, size_t n_weights)
{
    sg_error err;
    sg_sae *s;

    if (sg_sae_parse(&s, config, n_config, weights, n_weights, "input", &err) != SG_OK)
        return;
    if (!s->hook || !s->w_enc.data || s->w_enc.dims[1] != s->d_sae ||
        (s->kind == SG_SAE_TOPK && (s->k < 1 || s->k > s->d_sae)))
        abort();
    const sg_tensor *const all[] = {&s->w_enc,     &s->w_dec, &s->b_enc, &s->b_dec,
                                    &s->threshold, &s->r_mag, &s->b_mag, &s->b_gate};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        read_all(all[i]);
    sg_sae_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *end = n ? memchr(bytes, '\n', n) : NULL;
    if (!end)
        return 0;
    const size_t at = (size_t)(end - bytes) + 1;
    size_t n_config = 0;
    for (size_t i = 0; i + 1 < at && bytes[i] >= '0' && bytes[i] <= '9' && n_config < n; i++)
        n_config = 10 * n_config + (size_t)(bytes[i] - '0');
    if (n_config > n - at)
        n_config = n - at;
    const size_t n_weights = n - at - n_config;
    void *weights = NULL; /* where a mapped file would be: aligned */
    if (posix_memalign(&weights, 64, n_weights ? n_weights : 1) != 0)
        return 0;
    if (n_weights)
        memcpy(weights, bytes + at + n_config, n_weights);
    as_lora((const char *)bytes + at, n_config, weights, n_weights);
    as_sae((const char *)bytes + at, n_config, weights, n_weights);
    free(weights);
    volatile double sink = sum;
    (void)sink;
    return 0;
}
