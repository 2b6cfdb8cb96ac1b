/* Any bytes as a model file of TensorFlow.js, and what it makes as a model of GAN Lab: up to a NUL it is the JSON, what
 * follows is every file of numbers. Refused in one line, or all its numbers can be read and its GAN does an iteration.
 */
#include <string.h>

#include "base/base.h"
#include "sightglass/gan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

typedef struct rest {
    const uint8_t *bytes;
    size_t n;
} rest;

static sg_status find(void *context, const char *name, const void **bytes, size_t *n_bytes, sg_error *err)
{
    const rest *r = context;
    (void)err;
    SG_ASSERT(name[0] && !strchr(name, '/') && strcmp(name, "..") != 0);
    *bytes = r->bytes;
    *n_bytes = r->n;
    return SG_OK;
}

static void check_refusal(sg_status status, const sg_error *err)
{
    SG_ASSERT(status != SG_OK && err->text[0] && !strchr(err->text, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err = {SG_OK, ""};
    sg_tfjs *t = NULL;
    sg_gan *gan = NULL;
    const uint8_t *end = n ? memchr(bytes, 0, n) : NULL;
    const size_t n_text = end ? (size_t)(end - bytes) : n;
    rest numbers = {end ? end + 1 : bytes + n, end ? n - n_text - 1 : 0};
    double sum = 0;
    sg_status status = sg_tfjs_parse(&t, n ? (const char *)bytes : "", n_text, "input", find, &numbers, &err);
    if (status != SG_OK) {
        check_refusal(status, &err);
        return 0;
    }
    for (int i = 0; i < sg_tfjs_count(t); i++) {
        const sg_tensor *w = sg_tfjs_weight(t, i);
        for (sg_dim k = 0; k < sg_tensor_count(w); k++)
            sum += sg_tensor_get(w, k);
        SG_ASSERT(sg_tfjs_find(t, sg_tfjs_weight_name(t, i)) == w);
    }
    status = sg_gan_from(&gan, t, 1, &err);
    if (status != SG_OK)
        check_refusal(status, &err);
    else if ((status = sg_gan_step(gan, SG_GAN_BOTH, &err)) != SG_OK)
        check_refusal(status, &err);
    volatile double sink = sum;
    (void)sink;
    sg_gan_free(gan);
    sg_tfjs_free(t);
    return 0;
}
