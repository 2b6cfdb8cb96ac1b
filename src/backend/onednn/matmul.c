/* Matrix products. Leading axes are joined as far as their strides allow: into the rows of A where B is the same for
 * all of them (a linear map over a batch is then one product), else with each other. */
#include "backend/onednn/prepared.h"

/* Where oneDNN beats the reference kernel, as measured in docs/decisions/0002-onednn-thresholds.md; products are counts
 * of multiplications. */
#define LEAST_PRODUCT          32768
#define FEW_ROWS               3 /* up to here the reference kernel is slow only where B is transposed and K short */
#define LEAST_PRODUCT_FEW_ROWS 4096
#define LEAST_COLUMNS_FEW_ROWS 64
#define MOST_INNER_ONE_ROW     64
#define MOST_INNER_FEW_ROWS    256
#define LEAST_PRODUCT_SGEMM    4194304
#define LEAST_ROWS_SGEMM       32
#define LEAST_PRODUCT_BF16     2097152 /* below, rounding the operands takes longer than it saves */
#define LEAST_ROWS_BF16        16
#define LEAST_PRODUCT_THREADS  524288 /* below, threads take longer to meet than to multiply */

/* op(a) or op(b): its two matrix axes and, for each leading axis of out, a stride (0: broadcast). */
typedef struct operand {
    sg_dim row, col;
    sg_dim lead[SG_MAX_DIMS];
} operand;

static operand operand_of(const sg_view *x, bool transposed, int n_out)
{
    operand o;
    const int shift = n_out - x->n_dims;

    o.row = x->strides[x->n_dims - (transposed ? 1 : 2)];
    o.col = x->strides[x->n_dims - (transposed ? 2 : 1)];
    for (int d = 0; d < n_out - 2; d++)
        o.lead[d] = d < shift || x->dims[d - shift] == 1 ? 0 : x->strides[d - shift];
    return o;
}

/* Gives axes of extent 1 the stride that a plain matrix would have. False unless one of the axes has unit stride and
 * the other steps over all of it. */
static bool is_plain(operand *o, sg_dim rows, sg_dim cols)
{
    if (cols == 1 || o->col == 1) {
        o->col = 1;
        if (rows == 1)
            o->row = cols;
        return o->row >= cols;
    }
    if (rows == 1 || o->row == 1) {
        o->row = 1;
        return o->col >= rows;
    }
    return false;
}

static bool describe(dnnl_memory_desc_t *md, int n_lead, const sg_dim *lead_dims, const sg_dim *lead, sg_dim rows,
                     sg_dim cols, sg_dim row, sg_dim col)
{
    dnnl_dims_t dims, strides;

    for (int d = 0; d < n_lead; d++) { /* innermost first here, last there */
        dims[n_lead - 1 - d] = lead[d] == 0 ? 1 : lead_dims[d];
        strides[n_lead - 1 - d] = lead[d] == 0 ? rows * cols : lead[d];
    }
    dims[n_lead] = rows;
    dims[n_lead + 1] = cols;
    strides[n_lead] = row;
    strides[n_lead + 1] = col;
    return dnnl_memory_desc_init_by_strides(md, n_lead + 2, dims, dnnl_f32, strides) == dnnl_success;
}

/* m: rows of each product; `product`: of all of them. */
static bool pays(sg_dim m, sg_dim n, sg_dim inner, sg_dim product, bool b_transposed)
{
    if (m > FEW_ROWS)
        return product >= LEAST_PRODUCT;
    return b_transposed && product >= LEAST_PRODUCT_FEW_ROWS && n >= LEAST_COLUMNS_FEW_ROWS &&
           inner <= (m == 1 ? MOST_INNER_ONE_ROW : MOST_INNER_FEW_ROWS);
}

bool sg_onednn_matmul(const sg_kernel_args *k, sg_prepared *out)
{
    const sg_view *x = k->in[0], *y = k->out;
    const bool ta = k->i[0] != 0, tb = k->i[1] != 0;
    const int n_out = y->n_dims;
    operand a = operand_of(x, ta, n_out), b = operand_of(k->in[1], tb, n_out);
    const sg_dim inner = x->dims[x->n_dims - (ta ? 2 : 1)], n = y->dims[n_out - 1];
    sg_dim m = y->dims[n_out - 2], batches = 1;
    sg_dim dims[SG_MAX_DIMS], lead_a[SG_MAX_DIMS], lead_b[SG_MAX_DIMS], lead_c[SG_MAX_DIMS];
    int n_lead = 0;

    for (int d = n_out - 3; d >= 0; d--) {
        const sg_dim extent = y->dims[d];
        if (extent == 1)
            continue;
        if (n_lead == 0 && b.lead[d] == 0 && a.lead[d] != 0 && (m == 1 || a.lead[d] == m * a.row)) {
            if (m == 1)
                a.row = a.lead[d];
            m *= extent;
            continue;
        }
        batches *= extent;
        if (n_lead > 0 && a.lead[d] == lead_a[n_lead - 1] * dims[n_lead - 1] &&
            b.lead[d] == lead_b[n_lead - 1] * dims[n_lead - 1]) {
            dims[n_lead - 1] *= extent;
            continue;
        }
        dims[n_lead] = extent;
        lead_a[n_lead] = a.lead[d];
        lead_b[n_lead++] = b.lead[d];
    }
    for (int d = 0; d < n_lead; d++)
        if (lead_a[d] == 0 && lead_b[d] == 0) /* oneDNN has no broadcast of both */
            return false;
    if (!is_plain(&a, m, inner) || !is_plain(&b, inner, n) || n_lead + 2 > DNNL_MAX_NDIMS)
        return false;
    const sg_dim product = m * n * inner * batches;
    if (!pays(m, n, inner, product, b.col != 1))
        return false;
    sg_dim size = m * n;
    for (int d = 0; d < n_lead; d++) {
        lead_c[d] = size;
        size *= dims[d];
    }
    sg_onednn_arg args[4] = {{.name = DNNL_ARG_SRC, .view = 0},
                             {.name = DNNL_ARG_WEIGHTS, .view = 1},
                             {.name = DNNL_ARG_DST, .view = SG_ONEDNN_OUT},
                             {.name = DNNL_ARG_BIAS, .view = 2}};
    const bool biased = k->n_in == 3;
    dnnl_dims_t row;
    for (int d = 0; d < n_lead + 2; d++)
        row[d] = d == n_lead + 1 ? n : 1;
    if (biased && dnnl_memory_desc_init_by_strides(&args[3].md, n_lead + 2, row, dnnl_f32, NULL) != dnnl_success)
        return false;
    if (!describe(&args[0].md, n_lead, dims, lead_a, m, inner, a.row, a.col) ||
        !describe(&args[1].md, n_lead, dims, lead_b, inner, n, b.row, b.col) ||
        !describe(&args[2].md, n_lead, dims, lead_c, m, n, n, 1))
        return false;
    const dnnl_memory_desc_t *bias = biased ? &args[3].md : NULL;
    const int n_threads = product < LEAST_PRODUCT_THREADS ? 1 : k->n_threads;
    dnnl_matmul_desc_t desc;
    if (k->compute == SG_BF16 && product >= LEAST_PRODUCT_BF16 && m >= LEAST_ROWS_BF16 && n_lead == 0) {
        /* The operands are rounded on the way into the layout that oneDNN likes best; sums and result stay f32. */
        dnnl_memory_desc_t low[2];
        bool ok = true;
        for (int i = 0; i < 2; i++)
            ok = ok && dnnl_memory_desc_init_by_tag(&low[i], 2, args[i].md.dims, dnnl_bf16, dnnl_format_tag_any) ==
                           dnnl_success;
        if (ok && dnnl_matmul_desc_init(&desc, &low[0], &low[1], bias, &args[2].md) == dnnl_success &&
            sg_onednn_prepare_any(&desc, NULL, biased ? 4 : 3, args, n_threads, out))
            return true;
    }
    if (n_lead == 0 && product >= LEAST_PRODUCT_SGEMM && m >= LEAST_ROWS_SGEMM && n >= LEAST_ROWS_SGEMM) {
        const sg_onednn_gemm shape = {.m = m,
                                      .n = n,
                                      .inner = inner,
                                      .lda = a.col == 1 ? a.row : a.col,
                                      .ldb = b.col == 1 ? b.row : b.col,
                                      .turned_a = a.col != 1,
                                      .turned_b = b.col != 1};
        return sg_onednn_sgemm(&shape, biased, n_threads, out);
    }
    return dnnl_matmul_desc_init(&desc, &args[0].md, &args[1].md, bias, &args[2].md) == dnnl_success &&
           sg_onednn_prepare(&desc, biased ? 4 : 3, args, n_threads, out);
}
