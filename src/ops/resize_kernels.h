/* The reference kernels of resizing for one type: resize.c includes this once for float and once for double, with T the
 * type and NAME(x) a name for it. A piece is a plane. */

static void NAME(resize_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_dim w = j->from[1], ow = j->to[1];
    const mix *down = j->mix, *across = j->mix + j->to[0];

    for (sg_dim plane = first; plane < last; plane++)
        for (sg_dim t = 0; t < j->to[0]; t++) {
            const T *x = (const T *)j->src + plane * j->from[0] * w;
            const T *a = x + down[t].low * w, *b = x + down[t].high * w;
            const T q = (T)down[t].part, p = 1 - q;
            T *y = (T *)j->dst + (plane * j->to[0] + t) * ow;
            if (!j->linear)
                for (sg_dim u = 0; u < ow; u++)
                    y[u] = a[across[u].low];
            else
                for (sg_dim u = 0; u < ow; u++) {
                    const T s = (T)across[u].part, r = 1 - s;
                    const sg_dim low = across[u].low, high = across[u].high;
                    y[u] = p * (r * a[low] + s * a[high]) + q * (r * b[low] + s * b[high]);
                }
        }
}

static void NAME(back_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_dim w = j->from[1], ow = j->to[1];
    const mix *down = j->mix, *across = j->mix + j->to[0];

    for (sg_dim plane = first; plane < last; plane++) {
        T *x = (T *)j->dst + plane * j->from[0] * w;
        memset(x, 0, (size_t)(j->from[0] * w) * sizeof(T));
        for (sg_dim t = 0; t < j->to[0]; t++) {
            T *a = x + down[t].low * w, *b = x + down[t].high * w;
            const T q = (T)down[t].part, p = 1 - q;
            const T *y = (const T *)j->src + (plane * j->to[0] + t) * ow;
            if (!j->linear)
                for (sg_dim u = 0; u < ow; u++)
                    a[across[u].low] += y[u];
            else
                for (sg_dim u = 0; u < ow; u++) {
                    const T s = (T)across[u].part * y[u], r = y[u] - s;
                    const sg_dim low = across[u].low, high = across[u].high;
                    a[low] += p * r;
                    a[high] += p * s;
                    b[low] += q * r;
                    b[high] += q * s;
                }
        }
    }
}
