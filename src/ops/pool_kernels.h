/* The reference kernels of pooling for one type: pool.c includes this once for float and once for double, with T the
 * type and NAME(x) a name for it. A piece is a plane of H by W. For each row of windows, elements are met tap by tap
 * over up to CHUNK windows together, which vectorises. */

/* Largest and where it is. NaN is larger than all; the first of equals stays. */
static void NAME(max_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];

    for (sg_dim plane = first; plane < last; plane++)
        for (sg_dim t = 0; t < j->y[0]; t++)
            for (sg_dim u0 = 0; u0 < j->y[1]; u0 += CHUNK) {
                const sg_dim n = SG_MIN((sg_dim)CHUNK, j->y[1] - u0), top = t * down->stride - down->before;
                const T *x = (const T *)j->x_data + plane * j->x[0] * j->x[1];
                T best[CHUNK];
                int32_t at[CHUNK];
                for (sg_dim u = 0; u < n; u++) {
                    best[u] = -(T)INFINITY;
                    at[u] = (int32_t)(SG_MAX(top, 0) * j->x[1] + SG_MAX((u0 + u) * across->stride - across->before, 0));
                }
                for (sg_dim i = SG_MAX(-top, 0); i < SG_MIN(down->kernel, j->x[0] - top); i++)
                    for (sg_dim k = 0; k < across->kernel; k++) {
                        const range inside = windows_inside(across, k, j->x[1], u0, n);
                        const sg_dim from = (top + i) * j->x[1] + u0 * across->stride - across->before + k;
                        SG_SIMD
                        for (sg_dim u = inside.first; u < inside.last; u++) {
                            const T v = x[from + u * across->stride];
                            const bool more = v > best[u] || (v != v && best[u] == best[u]);
                            best[u] = more ? v : best[u];
                            at[u] = more ? (int32_t)(from + u * across->stride) : at[u];
                        }
                    }
                const sg_dim to = (plane * j->y[0] + t) * j->y[1] + u0;
                if (j->index)
                    memcpy((int32_t *)j->y_data + to, at, (size_t)n * sizeof at[0]);
                else
                    memcpy((T *)j->y_data + to, best, (size_t)n * sizeof best[0]);
            }
}

static void NAME(mean_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];

    for (sg_dim plane = first; plane < last; plane++)
        for (sg_dim t = 0; t < j->y[0]; t++)
            for (sg_dim u0 = 0; u0 < j->y[1]; u0 += CHUNK) {
                const sg_dim n = SG_MIN((sg_dim)CHUNK, j->y[1] - u0), top = t * down->stride - down->before;
                const T *x = (const T *)j->x_data + plane * j->x[0] * j->x[1];
                T *y = (T *)j->y_data + (plane * j->y[0] + t) * j->y[1] + u0, sum[CHUNK] = {0};
                for (sg_dim i = SG_MAX(-top, 0); i < SG_MIN(down->kernel, j->x[0] - top); i++)
                    for (sg_dim k = 0; k < across->kernel; k++) {
                        const range inside = windows_inside(across, k, j->x[1], u0, n);
                        const T *from = x + (top + i) * j->x[1] + u0 * across->stride - across->before + k;
                        SG_SIMD
                        for (sg_dim u = inside.first; u < inside.last; u++)
                            sum[u] += from[u * across->stride];
                    }
                for (sg_dim u = 0; u < n; u++)
                    y[u] = sum[u] / (T)counted(j, t, u0 + u);
            }
}

/* The adjoint of the mean: each window's number is shared out among its elements. x is what comes out. */
static void NAME(share_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];

    for (sg_dim plane = first; plane < last; plane++) {
        T *x = (T *)j->x_out + plane * j->x[0] * j->x[1];
        memset(x, 0, (size_t)(j->x[0] * j->x[1]) * sizeof(T));
        for (sg_dim t = 0; t < j->y[0]; t++)
            for (sg_dim u0 = 0; u0 < j->y[1]; u0 += CHUNK) {
                const sg_dim n = SG_MIN((sg_dim)CHUNK, j->y[1] - u0), top = t * down->stride - down->before;
                const T *y = (const T *)j->y_in + (plane * j->y[0] + t) * j->y[1] + u0;
                T share[CHUNK];
                for (sg_dim u = 0; u < n; u++)
                    share[u] = y[u] / (T)counted(j, t, u0 + u);
                for (sg_dim i = SG_MAX(-top, 0); i < SG_MIN(down->kernel, j->x[0] - top); i++)
                    for (sg_dim k = 0; k < across->kernel; k++) {
                        const range inside = windows_inside(across, k, j->x[1], u0, n);
                        T *to = x + (top + i) * j->x[1] + u0 * across->stride - across->before + k;
                        SG_SIMD
                        for (sg_dim u = inside.first; u < inside.last; u++)
                            to[u * across->stride] += share[u];
                    }
            }
    }
}
