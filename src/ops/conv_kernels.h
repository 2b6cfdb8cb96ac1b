/* The reference kernels of convolution for one type: conv.c includes this once for float and once for double, with T
 * the type, NB how many columns of a product stay in registers, and NAME(x) a name for it.
 *
 * A product multiplies rows of weights by columns that are gathered from the image as they are needed, KB by NB at a
 * time on the stack, so the columns of all positions (im2col) never exist. Sums run in T over KB products at most and
 * are then added up, in an order that depends on the extents but not on threads. */

/* Columns at..at+nb-1 (positions, over the whole batch) of rows k0..k0+kb-1 (a channel and a tap each): row k goes to
 * to + k * to_k, a column to_pos after the one before it. */
static inline void NAME(gather)(const gathering *j, const phase *p, const T *src, sg_dim k0, sg_dim kb, sg_dim at,
                                sg_dim nb, T *to, sg_dim to_k, sg_dim to_pos)
{
    const axis *y = &p->axis[0], *x = &p->axis[1];
    const sg_dim u0 = at % x->n, t0 = at / x->n % y->n, b0 = at / x->n / y->n;
    sg_dim channel = k0 / (y->n_taps * x->n_taps), down = k0 / x->n_taps % y->n_taps, across = k0 % x->n_taps;

    for (sg_dim k = 0; k < kb; k++) {
        const sg_dim off_y = tap_offset(y, down), off_x = tap_offset(x, across);
        const range inside = columns_inside(x, off_x);
        const T *plane = src + b0 * j->src_image + channel * j->src_plane;
        T *c = to + k * to_k;
        sg_dim u = u0, t = t0;
        for (sg_dim left = nb; left > 0;) {
            const sg_dim run = SG_MIN(x->n - u, left), row = t * y->step + off_y;
            sg_dim low = SG_MIN(SG_MAX(inside.first - u, 0), run), high = SG_MIN(SG_MAX(inside.last - u, low), run);
            if (row < 0 || row >= y->n_src)
                low = high = 0;
            for (sg_dim i = 0; i < low; i++)
                c[i * to_pos] = 0;
            if (low < high) {
                const T *from = plane + row * x->n_src + u * x->step + off_x;
                if (x->step == 1)
                    for (sg_dim i = low; i < high; i++)
                        c[i * to_pos] = from[i];
                else
                    for (sg_dim i = low; i < high; i++)
                        c[i * to_pos] = from[i * x->step];
            }
            for (sg_dim i = high; i < run; i++)
                c[i * to_pos] = 0;
            c += run * to_pos;
            left -= run;
            u = 0;
            if (++t == y->n) {
                t = 0;
                plane += j->src_image;
            }
        }
        if (++across == x->n_taps) {
            across = 0;
            if (++down == y->n_taps) {
                down = 0;
                channel++;
            }
        }
    }
}

/* tile [m,NB] += a [m,kb] * columns [kb,NB]; rows of a lie `row` apart. */
static void NAME(block)(sg_dim m, sg_dim kb, const T *a, sg_dim row, const T *columns, T *tile)
{
    for (sg_dim i = 0; i < m; i += MR) {
        const sg_dim rows = SG_MIN((sg_dim)MR, m - i);
        const T *a0 = a + i * row, *a1 = a + SG_MIN(i + 1, m - 1) * row;
        const T *a2 = a + SG_MIN(i + 2, m - 1) * row, *a3 = a + SG_MIN(i + 3, m - 1) * row;
        T acc[MR][NB] = {{0}};
        for (sg_dim p = 0; p < kb; p++) {
            const T *b = columns + p * NB;
            const T x0 = a0[p], x1 = a1[p], x2 = a2[p], x3 = a3[p];
            SG_SIMD
            for (int x = 0; x < NB; x++) {
                acc[0][x] += x0 * b[x];
                acc[1][x] += x1 * b[x];
                acc[2][x] += x2 * b[x];
                acc[3][x] += x3 * b[x];
            }
        }
        for (sg_dim r = 0; r < rows; r++)
            for (sg_dim x = 0; x < NB; x++)
                tile[(i + r) * NB + x] += acc[r][x];
    }
}

/* ---- outputs from sources: conv2d and conv2d_transpose ---- */

/* Where output (b, channel, t, u) of a phase lies. */
static inline T *NAME(out_row)(const gathering *j, const phase *p, sg_dim b, sg_dim channel, sg_dim t)
{
    return (T *)j->out + b * j->out_image + channel * j->out_plane +
           (p->axis[0].first + t * p->axis[0].every) * j->out_row + p->axis[1].first;
}

static void NAME(product_part)(void *context, sg_dim first, sg_dim last)
{
    const gathering *j = context;
    T columns[KB * NB], tile[STRIPE * NB];

    for (sg_dim piece = first; piece < last; piece++) {
        const sg_dim at = piece % j->n_panels * NB, top = piece / j->n_panels % j->n_stripes * STRIPE;
        const sg_dim rest = piece / j->n_panels / j->n_stripes, group = rest / j->n_phases;
        const phase p = j->phase(j, rest % j->n_phases);
        const axis *y = &p.axis[0], *x = &p.axis[1];
        const sg_dim count = j->batch * y->n * x->n, inner = j->channels * y->n_taps * x->n_taps;
        if (at >= count)
            continue;
        const sg_dim nb = SG_MIN((sg_dim)NB, count - at), m = SG_MIN((sg_dim)STRIPE, j->rows - top);
        const T *src = (const T *)j->src + group * j->channels * j->src_plane;
        const T *a = (const T *)j->weights + group * j->group_weights + p.weights + top * inner;
        memset(tile, 0, (size_t)(m * NB) * sizeof(T));
        if (nb < NB)
            memset(columns, 0, sizeof columns);
        for (sg_dim k0 = 0; k0 < inner; k0 += KB) {
            const sg_dim kb = SG_MIN((sg_dim)KB, inner - k0);
            NAME(gather)(j, &p, src, k0, kb, at, nb, columns, NB, 1);
            NAME(block)(m, kb, a + k0, inner, columns, tile);
        }
        sg_dim u = at % x->n, t = at / x->n % y->n, b = at / x->n / y->n;
        for (sg_dim done = 0; done < nb;) {
            const sg_dim run = SG_MIN(x->n - u, nb - done);
            for (sg_dim r = 0; r < m; r++) {
                T *to = NAME(out_row)(j, &p, b, group * j->rows + top + r, t) + u * x->every;
                const T *from = tile + r * NB + done;
                if (x->every == 1)
                    memcpy(to, from, (size_t)run * sizeof(T));
                else
                    for (sg_dim i = 0; i < run; i++)
                        to[i * x->every] = from[i];
            }
            done += run;
            u = 0;
            if (++t == y->n) {
                t = 0;
                b++;
            }
        }
    }
}

/* Few channels per group come out, as when each channel has a kernel of its own: what is gathered would be used once or
 * twice, so sources are added where they lie. A piece is a row of the output. */
static void NAME(row_part)(void *context, sg_dim first, sg_dim last)
{
    const gathering *j = context;
    sg_dim i_phase = 0;
    phase p = j->phase(j, 0);

    for (sg_dim piece = first; piece < last; piece++) {
        const sg_dim t = piece % j->most_rows, channel = piece / j->most_rows % (j->groups * j->rows);
        const sg_dim n = piece / j->most_rows / (j->groups * j->rows), b = n % j->batch;
        if (i_phase != n / j->batch)
            p = j->phase(j, i_phase = n / j->batch);
        const axis *y = &p.axis[0], *x = &p.axis[1];
        const sg_dim inner = j->channels * y->n_taps * x->n_taps, group = channel / j->rows;
        if (t >= y->n)
            continue;
        const T *src = (const T *)j->src + b * j->src_image + group * j->channels * j->src_plane;
        const T *a = (const T *)j->weights + group * j->group_weights + p.weights + channel % j->rows * inner;
        T *out = NAME(out_row)(j, &p, b, channel, t);
        for (sg_dim u = 0; u < x->n; u += CHUNK) {
            const sg_dim nu = SG_MIN((sg_dim)CHUNK, x->n - u);
            T acc[CHUNK] = {0};
            for (sg_dim c = 0; c < j->channels; c++)
                for (sg_dim i = 0; i < y->n_taps; i++) {
                    const sg_dim row = t * y->step + tap_offset(y, i);
                    if (row < 0 || row >= y->n_src)
                        continue;
                    for (sg_dim k = 0; k < x->n_taps; k++) {
                        const sg_dim off = tap_offset(x, k);
                        const range inside = columns_inside(x, off);
                        const sg_dim low = SG_MAX(inside.first - u, 0), high = SG_MIN(inside.last - u, nu);
                        const T w = a[(c * y->n_taps + i) * x->n_taps + k];
                        const T *from = src + c * j->src_plane + row * x->n_src + u * x->step + off;
                        if (x->step == 1) {
                            SG_SIMD
                            for (sg_dim l = low; l < high; l++)
                                acc[l] += w * from[l];
                        } else {
                            SG_SIMD
                            for (sg_dim l = low; l < high; l++)
                                acc[l] += w * from[l * x->step];
                        }
                    }
                }
            for (sg_dim l = 0; l < nu; l++)
                out[(u + l) * x->every] = acc[l];
        }
    }
}

/* ---- weights from sources and outputs: conv2d_weight ---- */

/* Rows are output channels, columns are weights of one of them, and what is summed over is positions. */
static void NAME(weight_part)(void *context, sg_dim first, sg_dim last)
{
    const gathering *j = context;
    const phase p = j->phase(j, 0);
    const sg_dim n = j->channels * p.axis[0].n_taps * p.axis[1].n_taps, positions = p.axis[0].n * p.axis[1].n;
    T columns[KB * NB], tile[WEIGHT_STRIPE * NB];

    for (sg_dim piece = first; piece < last; piece++) {
        const sg_dim at = piece % j->n_panels * NB, top = piece / j->n_panels % j->n_stripes * WEIGHT_STRIPE;
        const sg_dim group = piece / j->n_panels / j->n_stripes;
        const sg_dim nb = SG_MIN((sg_dim)NB, n - at), m = SG_MIN((sg_dim)WEIGHT_STRIPE, j->rows - top);
        const T *src = (const T *)j->src + group * j->channels * j->src_plane;
        T *out = (T *)j->out + (group * j->rows + top) * n + at;
        memset(tile, 0, (size_t)(m * NB) * sizeof(T));
        if (nb < NB)
            memset(columns, 0, sizeof columns);
        for (sg_dim b = 0; b < j->batch; b++) {
            const T *dy = (const T *)j->weights + ((b * j->groups + group) * j->rows + top) * positions;
            for (sg_dim k0 = 0; k0 < positions; k0 += KB) {
                const sg_dim kb = SG_MIN((sg_dim)KB, positions - k0);
                NAME(gather)(j, &p, src, at, nb, b * positions + k0, kb, columns, 1, NB);
                NAME(block)(m, kb, dy + k0, positions, columns, tile);
            }
        }
        for (sg_dim r = 0; r < m; r++)
            memcpy(out + r * n, tile + r * NB, (size_t)nb * sizeof(T));
    }
}

/* Few rows: each weight is a sum of products of rows of the image, taken where they lie. A piece is an output channel
 * and a channel of its group. */
static void NAME(weight_row_part)(void *context, sg_dim first, sg_dim last)
{
    const gathering *j = context;
    const phase p = j->phase(j, 0);
    const axis *y = &p.axis[0], *x = &p.axis[1];
    const sg_dim taps = y->n_taps * x->n_taps, positions = y->n * x->n;

    for (sg_dim piece = first; piece < last; piece++) {
        const sg_dim channel = piece / j->channels, group = channel / j->rows;
        const sg_dim from_channel = group * j->channels + piece % j->channels;
        for (sg_dim tap = 0; tap < taps; tap++) {
            const sg_dim off_y = tap_offset(y, tap / x->n_taps), off_x = tap_offset(x, tap % x->n_taps);
            const range inside = columns_inside(x, off_x);
            double total = 0;
            for (sg_dim b = 0; b < j->batch; b++) {
                const T *dy = (const T *)j->weights + (b * j->groups * j->rows + channel) * positions;
                const T *src = (const T *)j->src + b * j->src_image + from_channel * j->src_plane;
                T lanes[LANES] = {0}, sum = 0;
                for (sg_dim t = 0; t < y->n; t++) {
                    const sg_dim row = t * y->step + off_y;
                    if (row < 0 || row >= y->n_src)
                        continue;
                    const T *d = dy + t * x->n, *s = src + row * x->n_src + off_x;
                    sg_dim u = inside.first;
                    if (x->step == 1) {
                        for (; u + LANES <= inside.last; u += LANES)
                            SG_SIMD
                        for (int l = 0; l < LANES; l++)
                            lanes[l] += d[u + l] * s[u + l];
                    }
                    for (; u < inside.last; u++)
                        sum += d[u] * s[u * x->step];
                }
                for (int l = 0; l < LANES; l++)
                    sum += lanes[l];
                total += (double)sum;
            }
            ((T *)j->out)[piece * taps + tap] = (T)total;
        }
    }
}

/* The weights of a transposed convolution in the order in which its products read them: for each phase one matrix, a
 * row for each channel that comes out. A piece is a channel that comes out. */
static void NAME(turn_part)(void *context, sg_dim first, sg_dim last)
{
    const gathering *j = context;
    const sg_dim taps = j->kernel[0] * j->kernel[1];

    for (sg_dim piece = first; piece < last; piece++) {
        const sg_dim group = piece / j->rows, c = piece % j->rows;
        const T *w = (const T *)j->plain_weights + (group * j->channels * j->rows + c) * taps;
        for (sg_dim i = 0; i < j->n_phases; i++) {
            const phase p = j->phase(j, i);
            const axis *y = &p.axis[0], *x = &p.axis[1];
            T *to = (T *)j->turned + group * j->group_weights + p.weights + c * j->channels * y->n_taps * x->n_taps;
            for (sg_dim o = 0; o < j->channels; o++)
                for (sg_dim a = 0; a < y->n_taps; a++)
                    for (sg_dim b = 0; b < x->n_taps; b++)
                        *to++ = w[o * j->rows * taps + (y->tap + a * y->tap_step) * j->kernel[1] + x->tap +
                                  b * x->tap_step];
        }
    }
}
