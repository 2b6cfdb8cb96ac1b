/* Layouts: planted groups come apart, exact gradients, the same bytes for any threads, and ranks counted by sorting. */
#include "sightglass/layout.h"

#include "check.h"
#include "methods/layout_internal.h"
#include "sightglass/rng.h"

enum { N = 180, D = 10, GROUPS = 3 };

/* Three groups far apart, or with `apart` 0 one cloud. */
static void draw(float *x, double apart)
{
    sg_rng r = sg_rng_new(1, 1);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D; c++)
            x[i * D + c] = (float)(sg_rng_normal(&r) + (c == i % GROUPS ? apart : 0));
}

static sg_tensor table(float *x, sg_dim n, sg_dim d)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x);
}

static double apart2(const float *y, int i, int j)
{
    const double dx = (double)(y[2 * i] - y[2 * j]), dy = (double)(y[2 * i + 1] - y[2 * j + 1]);
    return dx * dx + dy * dy;
}

static void groups_come_apart_in_every_kind(void **state)
{
    (void)state;
    float x[N * D], y[2 * N];
    sg_error err;
    draw(x, 20);
    const sg_tensor tx = table(x, N, D), ty = table(y, N, 2);
    for (int kind = 0; kind < SG_N_LAYOUTS; kind++) {
        sg_layout_opts opts = sg_layout_defaults();
        opts.kind = (sg_layout_kind)kind;
        opts.n_steps = kind == SG_LAYOUT_TSNE ? 400 : 200;
        opts.perplexity = 15;
        CHECK_OK(sg_layout_make(&ty, &tx, opts, &err), &err);
        for (int i = 0; i < N; i++) { /* the nearest in the picture is of the same group */
            int nearest = -1;
            for (int j = 0; j < N; j++)
                if (j != i && (nearest < 0 || apart2(y, i, j) < apart2(y, i, nearest)))
                    nearest = j;
            CHECK(nearest % GROUPS == i % GROUPS);
        }
    }
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    float x[N * D], y[2][2 * N];
    sg_error err;
    draw(x, 2);
    const sg_tensor tx = table(x, N, D);
    for (int kind = 0; kind < SG_N_LAYOUTS; kind++) {
        for (int k = 0; k < 2; k++) {
            const sg_tensor ty = table(y[k], N, 2);
            sg_layout_opts opts = sg_layout_defaults();
            opts.kind = (sg_layout_kind)kind;
            opts.n_steps = 60;
            opts.n_threads = 1 + 2 * k;
            CHECK_OK(sg_layout_make(&ty, &tx, opts, &err), &err);
        }
        CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0);
    }
}

/* The seed moves UMAP's draws; the others draw nothing. */
static void a_seed_is_a_layout(void **state)
{
    (void)state;
    float x[N * D], y[3][2 * N];
    sg_error err;
    draw(x, 2);
    const sg_tensor tx = table(x, N, D);
    for (int k = 0; k < 3; k++) {
        const sg_tensor ty = table(y[k], N, 2);
        sg_layout_opts opts = sg_layout_defaults();
        opts.kind = SG_LAYOUT_UMAP;
        opts.n_steps = 30;
        opts.seed = k == 2 ? 9 : 4;
        CHECK_OK(sg_layout_make(&ty, &tx, opts, &err), &err);
    }
    CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0 && memcmp(y[0], y[2], sizeof y[0]) != 0);
}

static void components_are_those_of_largest_variance(void **state)
{
    (void)state;
    float x[N * D], y[2 * N], wide[6 * 40], flat[2 * 6];
    sg_rng r = sg_rng_new(2, 1);
    sg_error err;
    for (int i = 0; i < N * D; i++) /* deviations 8 and 4 along two components, .1 along the rest */
        x[i] = (float)(sg_rng_normal(&r) * (i % D == 3 ? 8 : i % D == 6 ? 4 : .1)) + 100;
    sg_layout_opts opts = sg_layout_defaults();
    opts.kind = SG_LAYOUT_PCA;
    const sg_tensor tx = table(x, N, D), ty = table(y, N, 2);
    CHECK_OK(sg_layout_make(&ty, &tx, opts, &err), &err);
    double mean[2] = {0, 0}, xy[2] = {0, 0}, xx[2] = {0, 0}, yy[2] = {0, 0};
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 2; k++)
            mean[k] += (double)x[i * D + (k ? 6 : 3)] / N;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 2; k++) {
            const double a = (double)x[i * D + (k ? 6 : 3)] - mean[k], b = (double)y[2 * i + k];
            xy[k] += a * b, xx[k] += a * a, yy[k] += b * b;
        }
    for (int k = 0; k < 2; k++)
        CHECK(fabs(xy[k]) / sqrt(xx[k] * yy[k]) > .99);
    /* More components than points go by the other product, and distances of points in a plane are kept. */
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < 40; c++)
            wide[i * 40 + c] = (float)((c % 3 == 0) * i * i + (c % 5 == 1) * (i % 3));
    const sg_tensor tw = table(wide, 6, 40), tf = table(flat, 6, 2);
    CHECK_OK(sg_layout_make(&tf, &tw, opts, &err), &err);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++) {
            double want = 0;
            for (int c = 0; c < 40; c++)
                want += pow((double)(wide[i * 40 + c] - wide[j * 40 + c]), 2);
            CHECK_NEAR(apart2(flat, i, j), want, 1e-3, 1e-4);
        }
}

/* One step of t-SNE is -rate * gain * gradient; with theta 0 that is the gradient of the divergence by plain loops. */
static double divergence(const double *y, const layout_weights *p, sg_dim n)
{
    double z = 0, sum = 0;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < n; j++)
            if (i != j)
                z += 1 / (1 + pow(y[2 * i] - y[2 * j], 2) + pow(y[2 * i + 1] - y[2 * j + 1], 2));
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim l = p->first[i]; l < p->first[i + 1]; l++) {
            const sg_dim j = p->to[l];
            const double q = 1 / (1 + pow(y[2 * i] - y[2 * j], 2) + pow(y[2 * i + 1] - y[2 * j + 1], 2)) / z;
            sum += p->weight[l] * log(p->weight[l] / q);
        }
    return sum;
}

static void a_step_of_tsne_goes_down_the_exact_gradient(void **state)
{
    (void)state;
    enum { FEW = 40, K = 12 };
    float x[N * D];
    double p[FEW * K], y[2 * FEW], start[2 * FEW], sum = 0;
    sg_neighbours *near;
    layout_weights w;
    sg_error err;
    draw(x, 2);
    const sg_tensor tx = table(x, FEW, D);
    CHECK_OK(sg_neighbours_new(&near, &tx, NULL, K, sg_neighbours_defaults(), &err), &err);
    sg_layout_opts opts = sg_layout_defaults();
    opts.perplexity = 4;
    opts.n_steps = 1; /* too few for exaggeration */
    opts.theta = 0;
    opts.rate = 1e5;
    sg_rng r = sg_rng_new(3, 1);
    for (int i = 0; i < 2 * FEW; i++)
        y[i] = sg_rng_normal(&r);
    /* As the layout starts: of deviation 1e-4 in the first component. */
    for (int i = 0; i < FEW; i++)
        sum += y[2 * i] * y[2 * i];
    for (int i = 0; i < 2 * FEW; i++)
        start[i] = y[i] * 1e-4 / sqrt(sum / FEW);
    CHECK_OK(layout_tsne(y, near, &opts, &err), &err);
    /* p(j|i) anew, by a finer search than the layout's. */
    for (int i = 0; i < FEW; i++) {
        double low = 1e-9, high = 1e9;
        for (int round = 0; round < 300; round++) {
            const double beta = sqrt(low * high);
            double z = 0, entropy = 0;
            for (int j = 0; j < K; j++)
                z += p[i * K + j] = exp(-beta * pow(near->distance[i * K + j], 2));
            for (int j = 0; j < K; j++) {
                p[i * K + j] /= z;
                if (p[i * K + j] > 0)
                    entropy -= p[i * K + j] * log(p[i * K + j]);
            }
            if (z > 0 && entropy > log(4))
                low = beta;
            else
                high = beta;
        }
    }
    CHECK_OK(layout_unite(&w, near, p, false, &err), &err);
    for (sg_dim l = 0; l < w.first[FEW]; l++)
        w.weight[l] /= 2 * FEW;
    double mean[2] = {0, 0}, grad[2 * FEW], most = 0;
    for (int i = 0; i < 2 * FEW; i++) {
        const double h = 1e-6, kept = start[i];
        start[i] = kept + h;
        const double above = divergence(start, &w, FEW);
        start[i] = kept - h;
        const double below = divergence(start, &w, FEW);
        start[i] = kept;
        grad[i] = (above - below) / (2 * h);
        most = fmax(most, fabs(grad[i]));
    }
    CHECK(most > 1e-6);
    for (int i = 0; i < 2 * FEW; i++) { /* the first gain is .8 along the last speed's sign, else 1.2 */
        const double gain = grad[i] > 0 ? 1.2 : .8;
        mean[i % 2] += (start[i] - opts.rate * gain * grad[i]) / FEW;
    }
    for (int i = 0; i < 2 * FEW; i++) {
        const double gain = grad[i] > 0 ? 1.2 : .8, want = start[i] - opts.rate * gain * grad[i] - mean[i % 2];
        CHECK_NEAR(y[i], want, 2e-4 * opts.rate * most, 0);
    }
    layout_weights_free(&w);
    sg_neighbours_free(near);
}

static void weights_of_both_ends_meet(void **state)
{
    (void)state;
    int32_t index[3] = {1, 2, 1};
    double far[3] = {1, 1, 1}, p[3] = {.5, .25, 1};
    sg_neighbours near = {3, 1, index, far};
    layout_weights w;
    sg_error err;
    CHECK_OK(layout_unite(&w, &near, p, false, &err), &err);
    static const sg_dim first[4] = {0, 1, 3, 4};
    CHECK(memcmp(w.first, first, sizeof first) == 0);
    CHECK(w.to[0] == 1 && w.to[1] == 2 && w.to[2] == 0 && w.to[3] == 1);
    CHECK(w.weight[0] == .5 && w.weight[1] == 1.25 && w.weight[2] == .5 && w.weight[3] == 1.25);
    layout_weights_free(&w);
    CHECK_OK(layout_unite(&w, &near, p, true, &err), &err);
    CHECK(w.weight[1] == 1 && w.weight[3] == 1); /* p + q - pq of 1 and anything */
    layout_weights_free(&w);
}

/* umap-learn's own fit gives these for its defaults and for min_dist .001 (find_ab_params). */
static void the_curve_is_the_authors(void **state)
{
    (void)state;
    double a, b;
    layout_umap_curve(&a, &b, .1, 1);
    CHECK_NEAR(a, 1.577, .01, 0);
    CHECK_NEAR(b, .8951, .005, 0);
    layout_umap_curve(&a, &b, .001, 1);
    CHECK_NEAR(a, 1.929, .01, 0);
    CHECK_NEAR(b, .7915, .005, 0);
}

/* ---- quality ---- */

typedef struct ranked {
    double far;
    int which;
} ranked;

static int by_distance(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->far != y->far ? (x->far < y->far ? -1 : 1) : x->which - y->which;
}

static void ranks_of(int *rank, const float *x, int n, int d, int i)
{
    ranked all[N];
    int m = 0;
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int c = 0; c < d; c++)
            sum += pow((double)x[i * d + c] - (double)x[j * d + c], 2);
        if (j != i)
            all[m++] = (ranked){sum, j};
    }
    qsort(all, (size_t)m, sizeof *all, by_distance);
    for (int j = 0; j < m; j++)
        rank[all[j].which] = j + 1;
}

static void trust_and_continuity_are_those_of_sorted_ranks(void **state)
{
    (void)state;
    enum { SOME = 50, K = 6 };
    float x[N * D], y[2 * SOME];
    int in_data[N], in_picture[N];
    sg_layout_quality found;
    sg_error err;
    draw(x, 1);
    for (int i = 0; i < SOME; i++) { /* whole numbers, so that there are ties */
        y[2 * i] = roundf(x[i * D]);
        y[2 * i + 1] = roundf(x[i * D + 1]);
    }
    double trust = 0, continuity = 0, kept = 0;
    for (int i = 0; i < SOME; i++) {
        ranks_of(in_data, x, SOME, D, i);
        ranks_of(in_picture, y, SOME, 2, i);
        for (int j = 0; j < SOME; j++) {
            if (j == i)
                continue;
            trust += in_picture[j] <= K && in_data[j] > K ? in_data[j] - K : 0;
            continuity += in_data[j] <= K && in_picture[j] > K ? in_picture[j] - K : 0;
            kept += in_data[j] <= K && in_picture[j] <= K;
        }
    }
    const double scale = 2. / (SOME * K * (2. * SOME - 3 * K - 1));
    sg_layout_judge_opts opts = sg_layout_judge_defaults();
    opts.k = K;
    opts.n_threads = 2;
    const sg_tensor tx = table(x, SOME, D), ty = table(y, SOME, 2);
    CHECK_OK(sg_layout_judge(&found, &tx, &ty, opts, &err), &err);
    CHECK_NEAR(found.trust, 1 - scale * trust, 1e-12, 0);
    CHECK_NEAR(found.continuity, 1 - scale * continuity, 1e-12, 0);
    CHECK_NEAR(found.kept, kept / (SOME * K), 1e-12, 0);
    /* A picture of itself is perfect; one of other points is not. */
    CHECK_OK(sg_layout_judge(&found, &ty, &ty, opts, &err), &err);
    CHECK(found.trust == 1 && found.continuity == 1 && found.kept == 1);
    opts.k = SOME;
    CHECK_STATUS(sg_layout_judge(&found, &tx, &ty, opts, &err), SG_EARG);
}

/* ---- odd input ---- */

static void copies_and_few_points_are_laid_out(void **state)
{
    (void)state;
    float same[20 * 3] = {0}, few[4 * 2] = {0, 0, 1, 0, 0, 1, 5, 5}, y[2 * 20];
    sg_error err;
    for (int kind = 0; kind < SG_N_LAYOUTS; kind++) {
        sg_layout_opts opts = sg_layout_defaults();
        opts.kind = (sg_layout_kind)kind;
        opts.n_steps = 50;
        const sg_tensor ts = table(same, 20, 3), ty = table(y, 20, 2), tf = table(few, 4, 2), tz = table(y, 4, 2);
        CHECK_OK(sg_layout_make(&ty, &ts, opts, &err), &err);
        for (int i = 0; i < 2 * 20; i++)
            CHECK(isfinite(y[i]));
        CHECK_OK(sg_layout_make(&tz, &tf, opts, &err), &err);
        for (int i = 0; i < 2 * 4; i++)
            CHECK(isfinite(y[i]));
    }
}

static void bad_input_is_refused_and_cancel_stops(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    float x[N * D], y[2 * N];
    sg_error err;
    draw(x, 1);
    const sg_tensor tx = table(x, N, D), ty = table(y, N, 2), three = table(x, 3, D), y3 = table(y, 3, 2);
    sg_layout_opts opts = sg_layout_defaults();
    CHECK_STATUS(sg_layout_make(&y3, &three, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "3 points");
    CHECK_STATUS(sg_layout_make(&y3, &tx, opts, &err), SG_ESHAPE);
    opts.perplexity = 0;
    CHECK_STATUS(sg_layout_make(&ty, &tx, opts, &err), SG_EARG);
    opts = sg_layout_defaults();
    for (int kind = SG_LAYOUT_TSNE; kind < SG_N_LAYOUTS; kind++) {
        opts.kind = (sg_layout_kind)kind;
        opts.cancel = &stop;
        CHECK_STATUS(sg_layout_make(&ty, &tx, opts, &err), SG_ECANCELLED);
    }
    x[7] = NAN;
    CHECK_STATUS(sg_layout_make(&ty, &tx, sg_layout_defaults(), &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "x[0,");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_come_apart_in_every_kind),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(a_seed_is_a_layout),
        cmocka_unit_test(components_are_those_of_largest_variance),
        cmocka_unit_test(a_step_of_tsne_goes_down_the_exact_gradient),
        cmocka_unit_test(weights_of_both_ends_meet),
        cmocka_unit_test(the_curve_is_the_authors),
        cmocka_unit_test(trust_and_continuity_are_those_of_sorted_ranks),
        cmocka_unit_test(copies_and_few_points_are_laid_out),
        cmocka_unit_test(bad_input_is_refused_and_cancel_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
