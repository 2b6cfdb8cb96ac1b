/* The oneDNN backend: which operations it takes.
 *
 * Only f32, and only what keeps the meaning of the reference kernels. Softmax does not: a row that is all -inf becomes
 * NaN where ours is zeros, and a row with a NaN comes out as zeros in part, which hides it. Nor does layer_norm: oneDNN
 * takes means in f32, and a row about 1000 with a deviation near 1 is off by 3e-4, where ours is exact to rounding.
 * Both are a hundredth of a transformer's time. */
#include <string.h>

#include "backend/backends.h"
#include "backend/onednn/prepared.h"

static bool is_full_f32(const sg_view *v)
{
    bool full = v->dtype == SG_F32;

    for (int d = 0; d < v->n_dims; d++)
        full = full && v->dims[d] > 0;
    return full;
}

static bool prepare(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out)
{
    (void)self;
    if (!is_full_f32(k->out))
        return false;
    for (int i = 0; i < k->n_in; i++)
        if (!is_full_f32(k->in[i]))
            return false;
    if (strcmp(k->op->name, "matmul") == 0)
        return sg_onednn_matmul(k, out);
    if (strncmp(k->op->name, "conv2d", 6) == 0)
        return sg_onednn_conv(k, out);
    if (strstr(k->op->name, "_pool2d"))
        return sg_onednn_pool(k, out);
    return k->n_in == 1 && sg_onednn_eltwise(k, out);
}

const sg_backend sg_backend_onednn = {.name = "onednn", .prepare = prepare};
