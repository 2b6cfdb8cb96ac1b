/* The reference kernels of pooling for one type: pool.c includes this once for float and once for double, with T the
 * type and NAME(x) a name for it. A piece is a plane of H by W. */

/* Of a row of windows, first the rows under them become one row of BUFFER elements at most, padding included, then
 * windows are read off it: twice the kernel's extent of work for each window, rather than its square. */

/* to[0..n) = f(to[u], from[u * step]), `step` being a number the compiler sees where it is 1 or 2. */
#define ALONG(n, step, ...)                                                                                            \
    do {                                                                                                               \
        if ((step) == 1) {                                                                                             \
            SG_SIMD                                                                                                    \
            for (sg_dim u = 0; u < (n); u++) {                                                                         \
                const sg_dim v = u;                                                                                    \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        } else if ((step) == 2) {                                                                                      \
            SG_SIMD                                                                                                    \
            for (sg_dim u = 0; u < (n); u++) {                                                                         \
                const sg_dim v = 2 * u;                                                                                \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        } else {                                                                                                       \
            SG_SIMD                                                                                                    \
            for (sg_dim u = 0; u < (n); u++) {                                                                         \
                const sg_dim v = (step)*u;                                                                             \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* b, or a if that is larger or NaN. */
static inline T NAME(larger)(T a, T b)
{
    return a > b || a != a ? a : b;
}

/* The largest or the sum of each window. */
static inline void NAME(pool_planes)(const job *j, sg_dim first, sg_dim last, bool largest)
{
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];
    const T neutral = largest ? -(T)INFINITY : 0;

    for (sg_dim row = first * j->y[0]; row < last * j->y[0]; row++) {
        const sg_dim t = row % j->y[0], top = t * down->stride - down->before;
        const T *x = (const T *)j->x_data + row / j->y[0] * j->x[0] * j->x[1];
        const sg_dim low = SG_MAX(top, 0), high = SG_MIN(top + down->kernel, j->x[0]);
        for (sg_dim u0 = 0, n; u0 < j->y[1]; u0 += n) {
            T buffer[BUFFER], result[CHUNK];
            n = windows_together(across, j->y[1] - u0);
            for (sg_dim u = 0; u < n; u++)
                result[u] = neutral;
            for (sg_dim k0 = 0; k0 < across->kernel; k0 += TAPS) {
                const sg_dim taps = SG_MIN((sg_dim)TAPS, across->kernel - k0);
                const columns c = columns_under(across, u0, n, k0, taps, j->x[1]);
                for (sg_dim i = 0; i < c.n; i++)
                    buffer[i] = neutral;
                for (sg_dim r = low; r < high; r++) {
                    const T *from = x + r * j->x[1] + c.at;
                    T *to = buffer + c.skip;
                    if (largest)
                        ALONG(c.n_inside, 1, to[u] = NAME(larger)(from[v], to[u]));
                    else
                        ALONG(c.n_inside, 1, to[u] += from[v]);
                }
                for (sg_dim k = 0; k < taps; k++) {
                    const T *from = buffer + k;
                    if (largest)
                        ALONG(n, across->stride, result[u] = NAME(larger)(from[v], result[u]));
                    else
                        ALONG(n, across->stride, result[u] += from[v]);
                }
            }
            T *y = (T *)j->y_data + row * j->y[1] + u0;
            if (largest || j->count_padding) {
                const T by = largest ? 1 : (T)counted(j, 0, 0);
                for (sg_dim u = 0; u < n; u++)
                    y[u] = result[u] / by;
            } else {
                for (sg_dim u = 0; u < n; u++)
                    y[u] = result[u] / (T)counted(j, t, u0 + u);
            }
        }
    }
}

static void NAME(max_part)(void *context, sg_dim first, sg_dim last)
{
    NAME(pool_planes)(context, first, last, true);
}

static void NAME(mean_part)(void *context, sg_dim first, sg_dim last)
{
    NAME(pool_planes)(context, first, last, false);
}

/* The adjoint of the mean: each window's number is shared out among its elements, by the same two steps turned round. x
 * is what comes out. */
static void NAME(share_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];

    memset((T *)j->x_out + first * j->x[0] * j->x[1], 0, (size_t)((last - first) * j->x[0] * j->x[1]) * sizeof(T));
    for (sg_dim row = first * j->y[0]; row < last * j->y[0]; row++) {
        const sg_dim t = row % j->y[0], top = t * down->stride - down->before;
        T *x = (T *)j->x_out + row / j->y[0] * j->x[0] * j->x[1];
        const sg_dim low = SG_MAX(top, 0), high = SG_MIN(top + down->kernel, j->x[0]);
        for (sg_dim u0 = 0, n; u0 < j->y[1]; u0 += n) {
            const T *y = (const T *)j->y_in + row * j->y[1] + u0;
            T buffer[BUFFER], share[CHUNK];
            n = windows_together(across, j->y[1] - u0);
            if (j->count_padding) {
                const T by = (T)counted(j, 0, 0);
                for (sg_dim u = 0; u < n; u++)
                    share[u] = y[u] / by;
            } else {
                for (sg_dim u = 0; u < n; u++)
                    share[u] = y[u] / (T)counted(j, t, u0 + u);
            }
            for (sg_dim k0 = 0; k0 < across->kernel; k0 += TAPS) {
                const sg_dim taps = SG_MIN((sg_dim)TAPS, across->kernel - k0);
                const columns c = columns_under(across, u0, n, k0, taps, j->x[1]);
                memset(buffer, 0, (size_t)c.n * sizeof(T));
                for (sg_dim k = 0; k < taps; k++) {
                    T *to = buffer + k;
                    ALONG(n, across->stride, to[v] += share[u]);
                }
                for (sg_dim r = low; r < high; r++) {
                    T *to = x + r * j->x[1] + c.at;
                    const T *from = buffer + c.skip;
                    ALONG(c.n_inside, 1, to[u] += from[v]);
                }
            }
        }
    }
}

/* Whether a, in row i, comes before b, in row j: it is larger, NaN being largest, or as large and further up. */
static inline bool NAME(before)(T a, int32_t i, T b, int32_t j)
{
    const bool nan_a = a != a, nan_b = b != b;

    return (a > b) | (nan_a & !nan_b) | (((a == b) | (nan_a & nan_b)) & (i < j));
}

/* Where each window's first largest element is: the same two steps with the row beside the number. What was no element
 * yet is in row INT32_MAX, so that any element comes before it. */
static void NAME(index_part)(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    const sg_window_axis *down = &j->window[0], *across = &j->window[1];

    for (sg_dim row = first * j->y[0]; row < last * j->y[0]; row++) {
        const sg_dim top = row % j->y[0] * down->stride - down->before;
        const T *x = (const T *)j->x_data + row / j->y[0] * j->x[0] * j->x[1];
        const sg_dim low = SG_MAX(top, 0), high = SG_MIN(top + down->kernel, j->x[0]);
        for (sg_dim u0 = 0, n; u0 < j->y[1]; u0 += n) {
            T buffer[BUFFER], best[CHUNK];
            int32_t rows[BUFFER], at_row[CHUNK], at_column[CHUNK];
            n = windows_together(across, j->y[1] - u0);
            for (sg_dim u = 0; u < n; u++) {
                best[u] = -(T)INFINITY;
                at_row[u] = INT32_MAX;
                at_column[u] = 0;
            }
            for (sg_dim k0 = 0; k0 < across->kernel; k0 += TAPS) {
                const sg_dim taps = SG_MIN((sg_dim)TAPS, across->kernel - k0);
                const columns c = columns_under(across, u0, n, k0, taps, j->x[1]);
                for (sg_dim i = 0; i < c.n; i++) {
                    buffer[i] = -(T)INFINITY;
                    rows[i] = INT32_MAX;
                }
                for (sg_dim r = low; r < high; r++) {
                    const T *from = x + r * j->x[1] + c.at;
                    T *to = buffer + c.skip;
                    int32_t *to_row = rows + c.skip;
                    const int32_t this_row = (int32_t)r;
                    ALONG(c.n_inside, 1, {
                        const bool more = NAME(before)(from[v], this_row, to[u], to_row[u]);
                        to[u] = more ? from[v] : to[u];
                        to_row[u] = more ? this_row : to_row[u];
                    });
                }
                for (sg_dim k = 0; k < taps; k++) {
                    const T *from = buffer + k;
                    const int32_t *from_row = rows + k;
                    const int32_t column = (int32_t)(u0 * across->stride - across->before + k0 + k);
                    const int32_t stride = (int32_t)across->stride;
                    ALONG(n, across->stride, {
                        const bool more = NAME(before)(from[v], from_row[v], best[u], at_row[u]);
                        best[u] = more ? from[v] : best[u];
                        at_row[u] = more ? from_row[v] : at_row[u];
                        at_column[u] = more ? column + (int32_t)u * stride : at_column[u];
                    });
                }
            }
            for (sg_dim u = 0; u < n; u++)
                ((int32_t *)j->y_data)[row * j->y[1] + u0 + u] = at_row[u] * (int32_t)j->x[1] + at_column[u];
        }
    }
}
#undef ALONG
