#include "values.h"

#include "ops/ops.h"
#include "sightglass/rng.h"

static void products_by_hand(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *a = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);
    sg_value *b = NUMBERS(g, SG_F32, DIMS(3, 2), 1, -1, 0, 2, 3, 1);
    sg_value *bt = sg_swap_axes(g, b, 0, 1), *at = sg_swap_axes(g, a, 0, 1);

    CHECK_VALUES(g, sg_matmul(g, a, b, false, false), 0, 10, 6, 22, 12);
    CHECK_VALUES(g, sg_matmul(g, at, b, true, false), 0, 10, 6, 22, 12);
    CHECK_VALUES(g, sg_matmul(g, a, bt, false, true), 0, 10, 6, 22, 12);
    CHECK_VALUES(g, sg_matmul(g, at, bt, true, true), 0, 10, 6, 22, 12);
    CHECK_VALUES(g, sg_matmul(g, a, a, true, false), 0, 17, 22, 27, 22, 29, 36, 27, 36, 45);
    /* No inner elements: an empty sum. */
    sg_value *none = sg_slice(g, a, 1, 0, 0, 1);
    CHECK_VALUES(g, sg_matmul(g, none, none, false, true), 0, 0, 0, 0, 0);
    sg_graph_free(g);
}

static void leading_axes_broadcast(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *a = NUMBERS(g, SG_F64, DIMS(2, 1, 1, 2), 1, 2, 3, 4);
    sg_value *b = NUMBERS(g, SG_F64, DIMS(3, 2, 1), 1, 1, 10, 0, 0, 10);
    sg_value *y = sg_matmul(g, a, b, false, false);

    CHECK_DIMS(y, DIMS(2, 3, 1, 1));
    CHECK_VALUES(g, y, 0, 3, 10, 20, 7, 30, 40);
    sg_graph_free(g);
}

static void linear_maps(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *w = NUMBERS(g, SG_F32, DIMS(3, 2), 1, 0, 0, 1, 1, 1);
    sg_value *b = NUMBERS(g, SG_F32, DIMS(3), 100, 200, 300);
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 1, 2), 1, 2, 3, 4);

    CHECK_VALUES(g, sg_linear(g, x, w, b), 0, 101, 202, 303, 103, 204, 307);
    CHECK_DIMS(sg_linear(g, x, w, NULL), DIMS(2, 1, 3));
    sg_value *one = sg_linear(g, NUMBERS(g, SG_F32, DIMS(2), 5, 7), w, NULL);
    CHECK_DIMS(one, DIMS(3));
    CHECK_VALUES(g, one, 0, 5, 7, 12);
    /* A matrix meets all leading axes as one product. */
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time");
    sg_value *flat = sg_value_in(sg_linear(g, sg_input(g, "x", SG_F32, DIMS(batch, time, 2)), w, NULL), 0);
    CHECK(strcmp(sg_value_op(flat), "matmul") == 0 && sg_value_dim(flat, 0) == sg_dim_mul(g, batch, time));
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    static const struct {
        sg_dim a[3], b[3];
        int n_a, n_b;
        bool ta, tb;
        const char *words;
    } cases[] = {
        {{2, 3}, {2, 3}, 2, 2, false, false, "[2,3]"},
        {{2, 3}, {3, 2}, 2, 2, true, false, "inner extents"},
        {{3}, {3, 2}, 1, 2, false, false, "matri"},
        {{2, 2, 3}, {3, 3, 2}, 3, 3, false, false, "broadcast"},
    };

    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_graph *g = sg_graph_new();
        sg_value *a = sg_input(g, "a", SG_F32, cases[i].n_a, cases[i].a);
        sg_value *b = sg_input(g, "b", SG_F32, cases[i].n_b, cases[i].b);
        (void)sg_matmul(g, a, b, cases[i].ta, cases[i].tb);
        CHECK_BUILD_FAILS(g, SG_ESHAPE, "matmul");
        CHECK_BUILD_FAILS(g, SG_ESHAPE, cases[i].words);
        sg_graph_free(g);
    }
    sg_graph *g = sg_graph_new();
    (void)sg_matmul(g, sg_input(g, "a", SG_F32, DIMS(2, 2)), sg_input(g, "b", SG_F64, DIMS(2, 2)), false, false);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "f64");
    sg_graph_free(g);
}

/* ---- the kernel by itself, over extents on both sides of every block size ---- */

#define ROOM 160000

static double number(const void *x, sg_dtype dtype, sg_dim i)
{
    return dtype == SG_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* One product of strided operands against sums in long double. `gap` elements lie between rows. */
static void one_product(sg_dtype dtype, sg_dim batch, sg_dim m, sg_dim n, sg_dim k, bool ta, bool tb, bool whole,
                        sg_dim gap)
{
    static double a_room[ROOM], b_room[ROOM], c_room[2][ROOM];
    sg_view a = {.data = a_room, .dtype = dtype, .n_dims = 3}, b = a, c = a;
    sg_rng rng = sg_rng_new(3, (uint32_t)(m * n + k));
    const sg_dim a_row = ta ? m : k, b_row = tb ? k : n;

    /* whole: the transposed operand lies so that its first axis is the unit one */
    a = (sg_view){a_room, dtype, 3, {batch, ta ? k : m, a_row}, {0, a_row + gap, 1}};
    b = (sg_view){b_room, dtype, 3, {batch, tb ? n : k, b_row}, {0, b_row + gap, 1}};
    if (whole) {
        a.strides[1] = 1;
        a.strides[2] = a.dims[1] + gap;
        b.strides[1] = 2;
        b.strides[2] = 2 * b.dims[1] + gap;
    }
    a.strides[0] = batch > 1 ? a.dims[1] * a.strides[1] * a.strides[2] : 0; /* far enough in either layout */
    for (int i = 0; i < ROOM; i++) {
        const double x = sg_rng_uniform(&rng) - 0.5, y = sg_rng_uniform(&rng) - 0.5;
        if (dtype == SG_F32) {
            ((float *)a.data)[i] = (float)x;
            ((float *)b.data)[i] = (float)y;
        } else {
            a_room[i] = x;
            b_room[i] = y;
        }
    }
    CHECK((batch - 1) * a.strides[0] + (a.dims[1] - 1) * a.strides[1] + a.dims[2] * a.strides[2] < ROOM);
    CHECK(b.dims[1] * b.strides[1] + b.dims[2] * b.strides[2] < ROOM && batch * m * n < ROOM);
    c.n_dims = 3;
    c.dims[0] = batch;
    c.dims[1] = m;
    c.dims[2] = n;
    c.strides[0] = m * n;
    c.strides[1] = n;
    c.strides[2] = 1;
    const sg_view *in[] = {&a, &b};
    const int64_t attrs[] = {ta, tb};
    for (int r = 0; r < 2; r++) {
        sg_error err;
        c.data = c_room[r];
        memset(c_room[r], 0xff, sizeof c_room[r]); /* NaN: whatever is not written is seen */
        sg_kernel_args args = {.op = &sg_op_matmul, .n_in = 2, .in = in, .out = &c, .i = attrs, .n_threads = r == 0 ? 1 : 3};
        CHECK_OK(args.op->run(&args, &err), &err);
    }
    CHECK(memcmp(c_room[0], c_room[1], (size_t)(batch * m * n) * sg_dtype_bytes(dtype)) == 0);
    /* k roundings of sums that stay below k / 4: a walk of about sqrt(k) steps is far below this bound. */
    const double tol = (dtype == SG_F32 ? 6e-8 : 1.2e-16) * (double)(k + 1);
    for (sg_dim s = 0; s < batch; s++)
        for (sg_dim i = 0; i < m; i++)
            for (sg_dim j = 0; j < n; j++) {
                long double sum = 0;
                for (sg_dim p = 0; p < k; p++)
                    sum +=
                        (long double)number(a.data, dtype,
                                            s * a.strides[0] + (ta ? p : i) * a.strides[1] +
                                                (ta ? i : p) * a.strides[2]) *
                        (long double)number(b.data, dtype, (tb ? j : p) * b.strides[1] + (tb ? p : j) * b.strides[2]);
                CHECK_NEAR(number(c.data, dtype, (s * m + i) * n + j), (double)sum, tol, 0);
            }
}

static void every_path_agrees_with_plain_sums(void **state)
{
    (void)state;
    static const sg_dim sizes[][4] = {
        /* batch, M, N, K */
        {1, 1, 1, 1},   {1, 1, 7, 100},  {1, 1, 300, 70},  {1, 3, 65, 130}, {1, 5, 1, 300},  {2, 70, 3, 17},
        {1, 9, 2, 5},   {3, 4, 16, 9},   {1, 6, 17, 260},  {1, 4, 64, 256}, {1, 5, 65, 257}, {2, 7, 130, 33},
        {1, 257, 5, 8}, {1, 260, 40, 3}, {1, 258, 1, 270}, {1, 2, 270, 12},
    };

    for (size_t i = 0; i < SG_COUNT_OF(sizes); i++)
        for (int bits = 0; bits < 16; bits++)
            one_product(bits & 8 ? SG_F64 : SG_F32, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], bits & 1,
                        bits >> 1 & 1, bits >> 2 & 1, bits & 4 ? 3 : 0);
}

static void a_nan_stays_in_its_row(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    double x[5 * 20];
    for (int i = 0; i < 100; i++)
        x[i] = i == 43 ? (double)NAN : 0;
    sg_value *a = numbers_of(g, SG_F32, DIMS(5, 20), 100, x);

    for (int i = 0; i < 20; i++)
        x[i] = 0; /* 0 * NaN is NaN */
    sg_value *b = numbers_of(g, SG_F32, DIMS(20, 1), 20, x);
    CHECK_VALUES(g, sg_matmul(g, a, b, false, false), 0, 0, 0, (double)NAN, 0, 0);
    sg_graph_free(g);
}

/* Products of few rows, m at once, into y [m,n]: with what backends are there and the option that asks for same rows. */
static void few_rows(const float *a, const float *b, const float *bias, sg_dim m, sg_dim n, sg_dim inner, bool turned, float *y)
{
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(m, inner));
    sg_value *w = sg_input(g, "w", SG_F32, DIMS(turned ? n : inner, turned ? inner : n));
    sg_value *product = sg_matmul(g, x, w, false, turned), *c = bias ? sg_input(g, "c", SG_F32, 1, &n) : NULL;
    sg_value *out = bias ? sg_add(g, product, c) : product;
    sg_exec_opts opts = sg_exec_defaults();
    sg_session *s;
    sg_tensor t;
    sg_error err;

    opts.n_threads = 1;
    opts.same_rows = true;
    const sg_feed feeds[3] = {{x, sg_tensor_of(SG_F32, DIMS(m, inner), (void *)(uintptr_t)a)},
                              {w, sg_tensor_of(SG_F32, 2, sg_value_dims(w), (void *)(uintptr_t)b)},
                              {c, sg_tensor_of(SG_F32, 1, &n, (void *)(uintptr_t)bias)}};
    CHECK_OK(sg_session_new(&s, g, NULL, opts, &err), &err);
    CHECK_OK(sg_session_run(s, bias ? 3 : 2, feeds, 1, &out, &t, &err), &err);
    memcpy(y, t.data, (size_t)(m * n) * sizeof *y);
    sg_session_free(s);
    sg_graph_free(g);
}

static void a_row_does_not_depend_on_the_rows_beside_it(void **state)
{
    (void)state;
    enum { M = SG_MATMUL_FEW_ROWS, MOST = 300 };
    static float a[M * MOST], b[MOST * MOST], bias[MOST], together[M * MOST], alone[MOST];
    static const sg_dim shapes[][2] = {{64, 48}, {300, 67}, {5, 300}, {129, 16}, {1, 7}, {256, 3}}; /* n, inner */
    sg_rng r = sg_rng_new(4, 0);

    for (int i = 0; i < M * MOST; i++)
        a[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < MOST * MOST; i++)
        b[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < MOST; i++)
        bias[i] = (float)sg_rng_normal(&r);
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int form = 0; form < 4; form++) {
            const sg_dim n = shapes[k][0], inner = shapes[k][1];
            const bool turned = form & 1;
            const float *c = form & 2 ? bias : NULL;
            for (sg_dim m = 1; m <= M; m += m < 6 ? 1 : 5) {
                few_rows(a, b, c, m, n, inner, turned, together);
                for (sg_dim i = 0; i < m; i++) {
                    few_rows(a + i * inner, b, c, 1, n, inner, turned, alone);
                    CHECK(memcmp(alone, together + i * n, (size_t)n * sizeof *alone) == 0);
                    for (sg_dim x = 0; x < n; x++) {
                        double sum = c ? (double)c[x] : 0, size = 1;
                        for (sg_dim p = 0; p < inner; p++) {
                            const double one = (double)a[i * inner + p] * (double)b[turned ? x * inner + p : p * n + x];
                            sum += one;
                            size += fabs(one);
                        }
                        CHECK_NEAR(alone[x], sum, 1e-6 * size, 0);
                    }
                }
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_by_hand),
        cmocka_unit_test(leading_axes_broadcast),
        cmocka_unit_test(linear_maps),
        cmocka_unit_test(wrong_shapes_say_so),
        cmocka_unit_test(every_path_agrees_with_plain_sums),
        cmocka_unit_test(a_nan_stays_in_its_row),
        cmocka_unit_test(a_row_does_not_depend_on_the_rows_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
