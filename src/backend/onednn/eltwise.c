/* Operations on one float, element by element: the few where oneDNN is faster and as good.
 *
 * oneDNN's others were tried and are left out. exp gives infinity for NaN; log(1) is -1.4e-6; softplus falls below 0
 * for arguments under -14 or so; tanh, gelu_tanh, silu, relu, sqrt, square and abs gain nothing over the reference
 * kernels. */
#include <string.h>

#include "backend/onednn/prepared.h"

#define LEAST_FOR_THREADS 65536

static const struct {
    const char *name;
    dnnl_alg_kind_t alg;
    sg_dim least; /* elements for which it pays, docs/decisions/0002-onednn-thresholds.md */
} table[] = {
    {"gelu", dnnl_eltwise_gelu_erf, 64},
    {"sigmoid", dnnl_eltwise_logistic, 4096},
};

bool sg_onednn_eltwise(const sg_kernel_args *k, sg_prepared *out)
{
    const sg_view *x = k->in[0];
    dnnl_dim_t n = 1;
    size_t row = 0;

    while (row < SG_COUNT_OF(table) && strcmp(table[row].name, k->op->name) != 0)
        row++;
    for (int d = x->n_dims - 1; d >= 0; d--) {
        if (x->dims[d] != 1 && x->strides[d] != n)
            return false;
        n *= x->dims[d];
    }
    if (row == SG_COUNT_OF(table) || n < table[row].least)
        return false;
    sg_onednn_arg args[2] = {{.name = DNNL_ARG_SRC, .view = 0}, {.name = DNNL_ARG_DST, .view = SG_ONEDNN_OUT}};
    const dnnl_dims_t dims = {n}, strides = {1};
    dnnl_eltwise_desc_t desc;
    if (dnnl_memory_desc_init_by_strides(&args[0].md, 1, dims, dnnl_f32, strides) != dnnl_success)
        return false;
    args[1].md = args[0].md;
    return dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_inference, table[row].alg, &args[0].md, 0, 0) ==
               dnnl_success &&
           sg_onednn_prepare(&desc, 2, args, n < LEAST_FOR_THREADS ? 1 : k->n_threads, out);
}
