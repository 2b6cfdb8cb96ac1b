/* Ops with indices: embed, scatter_add, rows_sum and its kin, take_along, put_along, top_k, one_hot, and what is composed of them. */
#include "values.h"

static const double nan_ = (double)NAN;

static void rows_by_id(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *table = NUMBERS(g, SG_F32, DIMS(3, 2), 1, 2, 3, 4, 5, 6);
    sg_value *ids = NUMBERS(g, SG_I32, DIMS(2, 2), 2, 0, 2, 1);
    sg_value *y = sg_embed(g, table, ids);

    CHECK_DIMS(y, DIMS(2, 2, 2));
    CHECK_VALUES(g, y, 0, 5, 6, 1, 2, 5, 6, 3, 4);
    CHECK_VALUES(g, sg_embed(g, sg_swap_axes(g, table, 0, 1), NUMBERS(g, SG_I32, NO_DIMS, 1)), 0, 2, 4, 6);
    CHECK_VALUES(g, sg_embed(g, NUMBERS(g, SG_BOOL, DIMS(2, 1), 0, 1), NUMBERS(g, SG_I32, DIMS(3), 1, 0, 1)), 0, 1, 0,
                 1);
    sg_graph_free(g);
}

static void rows_added_at_ids(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *ids = NUMBERS(g, SG_I32, DIMS(3), 2, 0, 2);
    sg_value *rows = NUMBERS(g, SG_F64, DIMS(3, 2), 1, 2, 3, 4, 10, 20);

    CHECK_VALUES(g, sg_scatter_add(g, ids, rows, 4), 0, 3, 4, 0, 0, 11, 22, 0, 0);
    sg_graph_free(g);
}

/* Runs v on one thread and on three, expects the same bytes, and returns the sum of its numbers. */
static double sum_on_threads(sg_graph *g, sg_value *v)
{
    sg_session *s[2];
    sg_tensor t[2];
    sg_error err;
    double sum = 0;

    for (int r = 0; r < 2; r++) {
        CHECK_OK(sg_session_new(&s[r], g, NULL, values_opts(r ? 3 : 1), &err), &err);
        CHECK_OK(sg_session_run(s[r], 0, NULL, 1, &v, &t[r], &err), &err);
    }
    CHECK(memcmp(t[0].data, t[1].data, sg_tensor_bytes(&t[0])) == 0);
    for (sg_dim i = 0; i < sg_tensor_count(&t[0]); i++)
        sum += sg_tensor_get(&t[0], i);
    sg_session_free(s[0]);
    sg_session_free(s[1]);
    return sum;
}

/* sin(i) for i < n, and ids in 0..6 in no order, both large enough for threads to share the work. */
static sg_value *waves(sg_graph *g, sg_dim n, double *sum)
{
    *sum = 0;
    for (sg_dim i = 0; i < n; i++)
        *sum += (double)(float)sin((double)i);
    return sg_cast(g, sg_sin(g, sg_iota(g, SG_F64, n)), SG_F32);
}

static sg_value *scattered_ids(sg_graph *g, sg_dim n)
{
    sg_value *wave = sg_sin(g, sg_square(g, sg_iota(g, SG_F64, n)));

    return sg_cast(g, sg_mul_scalar(g, sg_add_scalar(g, wave, 1), 3.49), SG_I32);
}

static void scattered_sums_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const sg_dim sizes[][2] = {{20000, 3}, {3000, 100}}; /* shared out by rows and by columns */

    for (int k = 0; k < 2; k++) {
        sg_graph *g = sg_graph_new();
        const sg_dim n = sizes[k][0], d = sizes[k][1];
        double want;
        sg_value *rows = sg_reshape(g, waves(g, n * d, &want), DIMS(n, d)), *ids = scattered_ids(g, n);
        /* sums of up to 20000 terms in f32: a walk of roundings of 2^-24 of sums that stay below 10 */
        CHECK_NEAR(sum_on_threads(g, sg_scatter_add(g, ids, rows, 7)), want, 5e-3, 0);
        sg_value *back = sg_embed(g, sg_scatter_add(g, sg_iota(g, SG_I32, n), rows, n), sg_iota(g, SG_I32, n));
        CHECK_NEAR(sum_on_threads(g, back), want, 1e-9, 0);
        sg_graph_free(g);
    }
}

static void gathering_does_not_depend_on_threads(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    double want;
    sg_value *x = sg_reshape(g, waves(g, 60000, &want), DIMS(300, 40, 5));
    sg_value *index = sg_reshape(g, scattered_ids(g, 60000), DIMS(300, 40, 5));

    CHECK_NEAR(sum_on_threads(g, sg_put_along(g, index, x, 1, 7)), want, 1e-3, 0);
    sg_value *reverse = sg_sub(g, sg_scalar(g, SG_I32, 39), sg_iota(g, SG_I32, 40));
    sg_value *all = sg_identity(g, sg_broadcast(g, sg_expand(g, reverse, 1), DIMS(300, 40, 5)));
    CHECK_NEAR(sum_on_threads(g, sg_take_along(g, x, all, 1)), want, 1e-9, 0);
    CHECK_NEAR(sum_on_threads(g, sg_top_k(g, x, 5)), 300 * 40 * 10, 0, 0); /* 0..4 in some order each */
    sg_graph_free(g);
}

static void few_rows_of_a_table(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *table = NUMBERS(g, SG_F32, DIMS(3, 2), 1, 2, 3, 4, 5, 6);
    sg_value *ids = NUMBERS(g, SG_I32, DIMS(2, 2), 2, 0, 1, 1);
    sg_value *w = NUMBERS(g, SG_F32, DIMS(2, 2), 10, 1, 2, -3), *x = NUMBERS(g, SG_F32, DIMS(2, 2), 1, 0, 1, -1);

    CHECK_VALUES(g, sg_rows_sum(g, table, ids, w), 0, 51, 62, -3, -4);
    CHECK_VALUES(g, sg_rows_dot(g, table, ids, x), 0, 5, 1, -1, -1);
    CHECK_VALUES(g, sg_rows_outer(g, ids, w, x, 3), 0, 1, 0, -1, 1, 10, 0);
    CHECK_RUN_FAILS(g, sg_rows_sum(g, table, NUMBERS(g, SG_I32, DIMS(2, 2), 0, 1, 3, 0), w), SG_EARG,
                    "rows_sum: id 3 (element 2 of the ids) is outside 0..2");
    CHECK_RUN_FAILS(g, sg_rows_outer(g, ids, w, x, 2), SG_EARG, "rows_outer: id 2");
    sg_graph_free(g);
}

/* What they stand for: products with codes that are mostly zero, [40,6] by [50,6] and back. */
static void few_rows_are_a_product_with_sparse_codes(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_random from = {.seed = 5, .stream = 1}, other = {.seed = 5, .stream = 2}, third = {.seed = 5, .stream = 3};
    sg_value *step = sg_scalar(g, SG_I32, 0);
    sg_value *x = sg_random_normal(g, SG_F64, DIMS(40, 21), from, step);
    sg_value *table = sg_random_normal(g, SG_F64, DIMS(50, 21), other, step);
    sg_value *scores = sg_random_normal(g, SG_F64, DIMS(40, 50), third, step);
    sg_value *ids = sg_top_k(g, scores, 6), *w = sg_take_along(g, scores, ids, -1);
    sg_value *codes = sg_put_along(g, ids, w, -1, 50);
    sg_value *off[3] = {
        sg_sub(g, sg_rows_sum(g, table, ids, w), sg_matmul(g, codes, table, false, false)),
        sg_sub(g, sg_rows_dot(g, table, ids, x), sg_take_along(g, sg_matmul(g, x, table, false, true), ids, -1)),
        sg_sub(g, sg_rows_outer(g, ids, w, x, 50), sg_matmul(g, codes, x, true, false))};
    for (int i = 0; i < 3; i++)
        CHECK_VALUES(g, sg_max_axes(g, sg_abs(g, off[i]), SG_ALL_AXES, false), 1e-12, 0);
    sg_graph_free(g);
}

static void elements_by_index(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);

    CHECK_VALUES(g, sg_take_along(g, x, NUMBERS(g, SG_I32, DIMS(2, 2), 2, 2, 0, 1), -1), 0, 3, 3, 4, 5);
    CHECK_VALUES(g, sg_take_along(g, x, NUMBERS(g, SG_I32, DIMS(1, 3), 1, 0, 1), 0), 0, 4, 2, 6);
    CHECK_VALUES(g, sg_put_along(g, NUMBERS(g, SG_I32, DIMS(2, 3), 3, 0, 3, 1, 1, 1), x, 1, 4), 0, 2, 0, 0, 4, 0, 15, 0,
                 0);
    CHECK_VALUES(g, sg_put_along(g, NUMBERS(g, SG_I32, DIMS(2, 3), 0, 2, 2, 0, 1, 2), x, 0, 3), 0, 5, 0, 0, 0, 5, 0, 0,
                 2, 9);
    CHECK_VALUES(g, sg_take_along(g, NUMBERS(g, SG_F64, DIMS(1, 2), 0.1, 0.2), NUMBERS(g, SG_I32, DIMS(1, 1), 1), 1), 0,
                 0.2);
    CHECK_VALUES(g, sg_take_along(g, NUMBERS(g, SG_BOOL, DIMS(2), 1, 0), NUMBERS(g, SG_I32, DIMS(3), 1, 0, 1), 0), 0, 0,
                 1, 0);
    CHECK_VALUES(g, sg_put_along(g, NUMBERS(g, SG_I32, DIMS(2), 1, 1), NUMBERS(g, SG_I32, DIMS(2), 5, -7), 0, 2), 0, 0,
                 -2);
    sg_graph_free(g);
}

static void ids_outside_are_named(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *table = NUMBERS(g, SG_F32, DIMS(3, 1), 1, 2, 3);
    sg_value *high = NUMBERS(g, SG_I32, DIMS(3), 0, 2, 3), *low = NUMBERS(g, SG_I32, DIMS(3), 0, -1, 3);
    sg_value *x = NUMBERS(g, SG_F32, DIMS(3), 1, 2, 3);

    CHECK_RUN_FAILS(g, sg_embed(g, table, high), SG_EARG, "embed: id 3 (element 2 of the ids) is outside 0..2");
    CHECK_RUN_FAILS(g, sg_embed(g, table, low), SG_EARG, "id -1 (element 1");
    CHECK_RUN_FAILS(g, sg_scatter_add(g, high, table, 3), SG_EARG,
                    "scatter_add: id 3 (element 2 of the ids) is outside 0..2");
    CHECK_RUN_FAILS(g, sg_take_along(g, x, high, 0), SG_EARG,
                    "take_along: index 3 (element 2 of the indices) is outside 0..2");
    CHECK_RUN_FAILS(g, sg_put_along(g, low, x, 0, 9), SG_EARG,
                    "put_along: index -1 (element 1 of the indices) is outside 0..8");
    sg_value *logits = NUMBERS(g, SG_F32, DIMS(1, 2), 0, 0);
    CHECK_RUN_FAILS(g, sg_cross_entropy(g, logits, NUMBERS(g, SG_I32, DIMS(1), 2)), SG_EARG, "index 2");
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
#define WRONG(status, words, expression)                                                                               \
    do {                                                                                                               \
        sg_graph *g = sg_graph_new();                                                                                  \
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3)), *i = sg_input(g, "i", SG_I32, DIMS(2));                    \
        (void)x;                                                                                                       \
        (void)i;                                                                                                       \
        (void)(expression);                                                                                            \
        CHECK_BUILD_FAILS(g, status, words);                                                                           \
        sg_graph_free(g);                                                                                              \
    } while (0)

    WRONG(SG_ETYPE, "embed: i32 ids were wanted (given f32 [2,3], f32 [2,3])", sg_embed(g, x, x));
    WRONG(SG_ESHAPE, "a table [V,D]", sg_embed(g, sg_expand(g, x, 0), i));
    WRONG(SG_ESHAPE, "scatter_add: rows of the ids' shape", sg_scatter_add(g, i, sg_swap_axes(g, x, 0, 1), 4));
    WRONG(SG_ETYPE, "scatter_add: rows of f32", sg_scatter_add(g, i, sg_expand(g, i, 1), 4));
    WRONG(SG_ESHAPE, "take_along: the index has 1 axes", sg_take_along(g, x, i, 0));
    WRONG(SG_ESHAPE, "take_along: axis 1 of the index", sg_take_along(g, x, sg_expand(g, i, 1), 0));
    WRONG(SG_ETYPE, "an i32 index", sg_take_along(g, x, x, 0));
    WRONG(SG_ESHAPE, "axis 2 of 2", sg_take_along(g, x, sg_expand(g, i, 1), 2));
    WRONG(SG_ESHAPE, "put_along: axis 1 of the index", sg_put_along(g, sg_expand(g, i, 1), x, 1, 9));
    WRONG(SG_ESHAPE, "top_k: the 4 largest", sg_top_k(g, x, 4));
    WRONG(SG_ESHAPE, "top_k: an axis", sg_top_k(g, sg_scalar(g, SG_F32, 1), 1));
    WRONG(SG_ETYPE, "one_hot: i32 ids", sg_one_hot(g, x, 4, SG_F32));
    WRONG(SG_ETYPE, "not bf16", sg_one_hot(g, i, 4, SG_BF16));
#undef WRONG
}

static void the_largest_in_order(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const double inf = (double)INFINITY;
    sg_value *x = NUMBERS(g, SG_F32, DIMS(3, 5), 3, 1, 4, 1, 5, 2, 2, 2, 2, 2, -inf, nan_, inf, 0, nan_);

    CHECK_VALUES(g, sg_top_k(g, x, 3), 0, 4, 2, 0, 0, 1, 2, 1, 4, 2);
    CHECK_VALUES(g, sg_top_k(g, x, 5), 0, 4, 2, 0, 1, 3, 0, 1, 2, 3, 4, 1, 4, 2, 3, 0);
    CHECK_VALUES(g, sg_top_k(g, x, 1), 0, 4, 0, 1);
    CHECK_DIMS(sg_top_k(g, x, 0), DIMS(3, 0));
    CHECK_VALUES(g, sg_top_k(g, NUMBERS(g, SG_I32, DIMS(4), -5, 7, 7, 0), 3), 0, 1, 2, 3);
    sg_graph_free(g);
}

/* Against a full sort by repeated search, over rows with many ties. */
static void the_largest_of_many(void **state)
{
    (void)state;
    double x[200], want[200];
    bool used[200] = {false};

    for (int i = 0; i < 200; i++)
        x[i] = (i * 37 % 61) - 30;
    for (int k = 0; k < 200; k++) {
        int best = -1;
        for (int i = 0; i < 200; i++)
            if (!used[i] && (best < 0 || x[i] > x[best]))
                best = i;
        used[best] = true;
        want[k] = best;
    }
    static const int counts[] = {1, 2, 3, 50, 199, 200};
    for (int c = 0; c < 12; c++) { /* f32 has a way of its own */
        sg_graph *g = sg_graph_new();
        sg_value *y = sg_top_k(g, numbers_of(g, c < 6 ? SG_F64 : SG_F32, DIMS(200), 200, x), counts[c % 6]);
        check_values(g, y, 0, counts[c % 6], want, "top_k", __FILE__, __LINE__);
        sg_graph_free(g);
    }
}

static void one_at_each_id(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *ids = NUMBERS(g, SG_I32, DIMS(4), 2, 0, -1, 3);

    CHECK_VALUES(g, sg_one_hot(g, ids, 3, SG_F32), 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_VALUES(g, sg_one_hot(g, ids, 3, SG_BOOL), 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    sg_graph_free(g);
}

static void nats_per_position(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *logits = NUMBERS(g, SG_F64, DIMS(2, 1, 3), 0, 0, 0, 1000, 0, log(3));
    sg_value *targets = NUMBERS(g, SG_I32, DIMS(2, 1), 1, 0);
    sg_value *y = sg_cross_entropy(g, logits, targets);

    CHECK_DIMS(y, DIMS(2, 1));
    CHECK_VALUES(g, y, 1e-15, log(3), 0);
    sg_graph_free(g);
}

static void masks(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();

    CHECK_VALUES(g, sg_causal_mask(g, 3, 3), 0, 1, 0, 0, 1, 1, 0, 1, 1, 1);
    /* two new queries behind two cached keys */
    CHECK_VALUES(g, sg_causal_mask(g, 2, 4), 0, 1, 1, 1, 0, 1, 1, 1, 1);
    /* fewer keys than queries: the first query sees none */
    CHECK_VALUES(g, sg_causal_mask(g, 2, 1), 0, 0, 1);
    CHECK_VALUES(g, sg_window_mask(g, 3, 3, 2), 0, 1, 1, 1, 1, 1, 1, 0, 1, 1);
    CHECK_VALUES(g, sg_window_mask(g, 2, 4, 1), 0, 0, 0, 1, 1, 0, 0, 0, 1);
    CHECK_VALUES(g, sg_length_mask(g, NUMBERS(g, SG_I32, DIMS(3), 2, 0, 5), 3), 0, 1, 1, 0, 0, 0, 0, 1, 1, 1);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_by_id),
        cmocka_unit_test(rows_added_at_ids),
        cmocka_unit_test(scattered_sums_do_not_depend_on_threads),
        cmocka_unit_test(gathering_does_not_depend_on_threads),
        cmocka_unit_test(few_rows_of_a_table),
        cmocka_unit_test(few_rows_are_a_product_with_sparse_codes),
        cmocka_unit_test(elements_by_index),
        cmocka_unit_test(ids_outside_are_named),
        cmocka_unit_test(wrong_shapes_say_so),
        cmocka_unit_test(the_largest_in_order),
        cmocka_unit_test(the_largest_of_many),
        cmocka_unit_test(one_at_each_id),
        cmocka_unit_test(nats_per_position),
        cmocka_unit_test(masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
