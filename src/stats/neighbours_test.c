/* Neighbours and graphs of them, against sorting all pairs and against Floyd and Warshall. */
#include "sightglass/neighbours.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/rng.h"

/* Small whole numbers, so that many distances are equal. */
static void draw(float *x, sg_dim count, uint64_t seed, bool ties)
{
    sg_rng r = sg_rng_new(seed, 1);
    for (sg_dim i = 0; i < count; i++)
        x[i] = ties ? (float)sg_rng_below(&r, 3) : (float)sg_rng_normal(&r);
}

static double apart(const float *a, const float *b, sg_dim d, sg_metric metric)
{
    double sum = 0, aa = 0, bb = 0;
    for (sg_dim c = 0; c < d; c++) {
        const double x = (double)a[c], y = (double)b[c];
        sum += metric == SG_METRIC_COSINE ? x * y : (x - y) * (x - y);
        aa += x * x;
        bb += y * y;
    }
    if (metric == SG_METRIC_EUCLIDEAN)
        return sqrt(sum);
    return aa > 0 && bb > 0 ? 1 - sum / sqrt(aa * bb) : 1;
}

typedef struct pair {
    double far;
    int32_t which;
} pair;

static int by_distance(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->far != y->far)
        return x->far < y->far ? -1 : 1;
    return x->which < y->which ? -1 : 1;
}

static void compare(sg_dim n, sg_dim d, sg_dim k, sg_metric metric, bool ties, bool others)
{
    enum { MOST = 150 * 8 };
    float x[MOST], y[MOST];
    pair all[150];
    sg_neighbours *near;
    sg_error err;
    draw(x, n * d, 3, ties);
    draw(y, n * d, 4, ties);
    const sg_tensor tx = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x),
                    ty = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, y);
    sg_neighbours_opts opts = sg_neighbours_defaults();
    opts.metric = metric;
    opts.n_threads = 2;
    CHECK_OK(sg_neighbours_new(&near, &tx, others ? &ty : NULL, k, opts, &err), &err);
    CHECK(near->n == n && near->k == k);
    for (sg_dim i = 0; i < n; i++) {
        sg_dim m = 0;
        for (sg_dim j = 0; j < n; j++)
            if (others || j != i)
                all[m++] = (pair){apart((others ? y : x) + i * d, x + j * d, d, metric), (int32_t)j};
        qsort(all, (size_t)m, sizeof *all, by_distance);
        for (sg_dim j = 0; j < k; j++) {
            CHECK_NEAR(near->distance[i * k + j], all[j].far, 1e-12, 0);
            if (metric == SG_METRIC_EUCLIDEAN || !ties) /* rounding parts equal cosines in another order */
                CHECK(near->index[i * k + j] == all[j].which);
        }
    }
    sg_neighbours_free(near);
}

static void neighbours_are_those_of_sorting_all_pairs_ties_by_index(void **state)
{
    (void)state;
    for (int ties = 0; ties < 2; ties++)
        for (int others = 0; others < 2; others++) {
            compare(150, 8, 7, SG_METRIC_EUCLIDEAN, ties, others);
            compare(33, 3, 32, SG_METRIC_EUCLIDEAN, ties, others);
            compare(150, 8, 20, SG_METRIC_COSINE, ties, others);
            compare(2, 1, 1, SG_METRIC_COSINE, ties, others);
        }
}

static void equal_cosines_go_by_index(void **state)
{
    (void)state;
    enum { N = 70 };
    float x[2 * N] = {0};
    sg_neighbours *near;
    sg_error err;
    for (int i = 0; i < N; i++)
        x[2 * i + i % 2] = 1; /* two directions, taken in turns */
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, 2}, x);
    sg_neighbours_opts opts = sg_neighbours_defaults();
    opts.metric = SG_METRIC_COSINE;
    CHECK_OK(sg_neighbours_new(&near, &t, NULL, 3, opts, &err), &err);
    for (int i = 6; i < N; i++)
        for (int j = 0; j < 3; j++)
            CHECK(near->index[3 * i + j] == 2 * j + i % 2 && near->distance[3 * i + j] == 0);
    sg_neighbours_free(near);
}

static void bad_points_are_refused_with_a_text(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, NAN, 5, 6};
    sg_neighbours *near;
    sg_error err;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, x);
    CHECK_STATUS(sg_neighbours_new(&near, &t, NULL, 1, sg_neighbours_defaults(), &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "x[1,1] is nan");
    x[3] = 4;
    CHECK_STATUS(sg_neighbours_new(&near, &t, NULL, 3, sg_neighbours_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "1 to 2");
    CHECK_STATUS(sg_neighbours_new(&near, &t, NULL, 0, sg_neighbours_defaults(), &err), SG_EARG);
    t.n_dims = 1;
    CHECK_STATUS(sg_neighbours_new(&near, &t, NULL, 1, sg_neighbours_defaults(), &err), SG_ESHAPE);
    CHECK(near == NULL);
}

/* ---- graphs ---- */

enum { POINTS = 40 };

static sg_links *drawn_graph(double all[POINTS][POINTS], double scale)
{
    int32_t edges[2 * 90];
    double weights[90];
    sg_rng r = sg_rng_new(5, 1);
    sg_links *links;
    sg_error err;
    sg_dim n = 0;
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++)
            all[i][j] = i == j ? 0 : (double)INFINITY;
    while (n < 90) {
        const int a = (int)sg_rng_below(&r, POINTS - 2), b = (int)sg_rng_below(&r, POINTS - 2); /* two stay alone */
        const double w = scale > 0 ? scale * (1 + sg_rng_below(&r, 9)) : sg_rng_uniform(&r);
        if (a == b || isfinite(all[a][b]))
            continue;
        all[a][b] = all[b][a] = w;
        edges[2 * n] = a;
        edges[2 * n + 1] = b;
        weights[n++] = w;
    }
    CHECK_OK(sg_links_new(&links, POINTS, n, edges, weights, &err), &err);
    CHECK(links->n_links == 90);
    return links;
}

static void shortest_ways_are_those_of_floyd_and_warshall(void **state)
{
    (void)state;
    double all[POINTS][POINTS], far[POINTS];
    int32_t before[POINTS];
    sg_error err;
    sg_links *links = drawn_graph(all, 0);
    for (int k = 0; k < POINTS; k++)
        for (int i = 0; i < POINTS; i++)
            for (int j = 0; j < POINTS; j++)
                all[i][j] = fmin(all[i][j], all[i][k] + all[k][j]);
    for (int from = 0; from < POINTS; from++) {
        CHECK_OK(sg_links_paths(far, before, links, from, &err), &err);
        for (int i = 0; i < POINTS; i++) {
            CHECK_NEAR(far[i], all[from][i], 1e-12, 0);
            CHECK((before[i] == -1) == (i == from || !isfinite(far[i])));
            if (before[i] >= 0)
                CHECK(far[before[i]] < far[i]);
        }
    }
    CHECK_STATUS(sg_links_paths(far, NULL, links, POINTS, &err), SG_EARG);
    sg_links_free(links);
}

static void parts_are_told_apart(void **state)
{
    (void)state;
    const int32_t edges[] = {4, 1, 1, 4, 2, 5, 5, 0};
    int32_t part[6];
    sg_dim n_parts;
    sg_links *links;
    sg_error err;
    CHECK_OK(sg_links_new(&links, 6, 4, edges, NULL, &err), &err);
    CHECK(links->n_links == 3); /* 4-1 came twice */
    CHECK_OK(sg_links_parts(part, &n_parts, links, &err), &err);
    static const int32_t want[6] = {0, 1, 0, 2, 1, 0};
    CHECK(n_parts == 3 && memcmp(part, want, sizeof want) == 0);
    sg_links_free(links);
    CHECK_STATUS(sg_links_new(&links, 6, 1, (int32_t[]){3, 3}, NULL, &err), SG_EARG);
    CHECK_STATUS(sg_links_new(&links, 6, 1, (int32_t[]){3, 6}, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "from 3 to 6");
    CHECK_STATUS(sg_links_new(&links, 6, 1, edges, (double[]){-1}, &err), SG_EARG);
}

static void a_laplacian_sums_squares_over_links(void **state)
{
    (void)state;
    double all[POINTS][POINTS], cells[POINTS * POINTS], x[POINTS], sum = 0, form = 0, rows = 0;
    sg_error err;
    sg_rng r = sg_rng_new(6, 1);
    sg_links *links = drawn_graph(all, .5);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){POINTS, POINTS}, cells);
    CHECK_OK(sg_links_laplacian(&t, links, false, &err), &err);
    for (int i = 0; i < POINTS; i++)
        x[i] = sg_rng_normal(&r);
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++) {
            rows += cells[i * POINTS + j];
            form += x[i] * cells[i * POINTS + j] * x[j];
            if (i < j && isfinite(all[i][j]))
                sum += all[i][j] * (x[i] - x[j]) * (x[i] - x[j]);
        }
    CHECK_NEAR(form, sum, 0, 1e-12);
    CHECK_NEAR(rows, 0, 1e-12, 0);
    CHECK_OK(sg_links_laplacian(&t, links, true, &err), &err);
    CHECK_NEAR(cells[0], 1, 0, 0);
    CHECK_NEAR(cells[POINTS * POINTS - 1], 0, 0, 0); /* the last has no links */
    const int other = links->to[links->first[0]];
    double degree[2] = {0, 0};
    for (int j = 0; j < POINTS; j++) {
        degree[0] += isfinite(all[0][j]) ? all[0][j] : 0;
        degree[1] += isfinite(all[other][j]) ? all[other][j] : 0;
    }
    CHECK_NEAR(cells[other], -all[0][other] / sqrt(degree[0] * degree[1]), 1e-14, 0);
    sg_links_free(links);
}

static void links_of_neighbours_go_both_ways(void **state)
{
    (void)state;
    float x[4] = {0, 1, 3, 7};
    sg_neighbours *near;
    sg_links *links;
    sg_error err;
    double far[4];
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 1}, x);
    CHECK_OK(sg_neighbours_new(&near, &t, NULL, 1, sg_neighbours_defaults(), &err), &err);
    CHECK_OK(sg_links_of_neighbours(&links, near, &err), &err);
    CHECK(links->n_links == 3);
    CHECK_OK(sg_links_paths(far, NULL, links, 3, &err), &err);
    CHECK_NEAR(far[0], 7, 0, 0);
    CHECK_NEAR(far[2], 4, 0, 0);
    sg_links_free(links);
    sg_neighbours_free(near);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_those_of_sorting_all_pairs_ties_by_index),
        cmocka_unit_test(equal_cosines_go_by_index),
        cmocka_unit_test(bad_points_are_refused_with_a_text),
        cmocka_unit_test(shortest_ways_are_those_of_floyd_and_warshall),
        cmocka_unit_test(parts_are_told_apart),
        cmocka_unit_test(a_laplacian_sums_squares_over_links),
        cmocka_unit_test(links_of_neighbours_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
