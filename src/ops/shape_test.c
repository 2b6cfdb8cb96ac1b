/* Ops that move numbers without changing them: reshape, transpose, broadcast, slice, pad, concat and what is composed
 * of them; iota and extents; and the copies underneath, when a view is not possible. */
#include "values.h"

#include "ops/copy.h"

static void reshapes(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);
    sg_value *y = sg_reshape(g, x, DIMS(3, 1, 2));

    CHECK_DIMS(y, DIMS(3, 1, 2));
    CHECK_VALUES(g, y, 0, 1, 2, 3, 4, 5, 6);
    CHECK_VALUES(g, sg_reshape(g, sg_swap_axes(g, x, 0, 1), DIMS(6)), 0, 1, 4, 2, 5, 3, 6);
    CHECK_VALUES(g, sg_reshape(g, sg_broadcast(g, sg_slice(g, x, 0, 0, 1, 1), DIMS(2, 3)), DIMS(6)), 0, 1, 2, 3, 1, 2,
                 3);
    CHECK_VALUES(g, sg_reshape(g, sg_slice(g, x, 1, 0, 3, 2), DIMS(2, 2, 1)), 0, 1, 3, 4, 6);
    CHECK_DIMS(sg_reshape(g, NUMBERS(g, SG_F32, DIMS(1, 1), 7), NO_DIMS), NO_DIMS);
    sg_value *none = sg_reshape(g, sg_slice(g, x, 0, 1, 1, 1), DIMS(3, 0, 5));
    CHECK_DIMS(none, DIMS(3, 0, 5));
    CHECK_VALUES(g, sg_sum_all(g, none), 0, 0);
    CHECK_DIMS(sg_expand(g, x, -1), DIMS(2, 3, 1));
    CHECK_DIMS(sg_expand(g, x, 0), DIMS(1, 2, 3));
    CHECK_DIMS(sg_squeeze(g, sg_expand(g, x, 1), 1), DIMS(2, 3));
    CHECK(sg_reshape(g, x, DIMS(2, 3)) == x); /* nothing to do */
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

/* Which reshapes are views: strides say, not extents. */
static void reshapes_that_are_views(void **state)
{
    (void)state;
    static const struct {
        int n_in, n_out;
        sg_dim in[4], strides[4], out[4], want[4];
        bool view;
    } cases[] = {
        {2, 1, {2, 3}, {3, 1}, {6}, {1}, true},
        {2, 1, {2, 3}, {4, 1}, {6}, {0}, false},
        {2, 3, {2, 6}, {8, 1}, {2, 2, 3}, {8, 3, 1}, true},
        {2, 3, {6, 2}, {1, 6}, {2, 3, 2}, {3, 1, 6}, true},
        {3, 2, {2, 3, 4}, {12, 4, 1}, {6, 4}, {4, 1}, true},
        {3, 2, {2, 3, 4}, {24, 4, 1}, {2, 12}, {24, 1}, true},
        {3, 2, {2, 3, 4}, {24, 4, 1}, {6, 4}, {0}, false},
        {3, 2, {2, 1, 4}, {4, 99, 1}, {4, 2}, {2, 1}, true}, /* strides of extent 1 do not count */
        {2, 2, {4, 3}, {0, 1}, {4, 3}, {0, 1}, true},
        {2, 3, {4, 3}, {0, 1}, {2, 2, 3}, {0, 0, 1}, true}, /* a broadcast axis splits */
        {2, 1, {4, 3}, {0, 1}, {12}, {0}, false},
        {1, 1, {5}, {-1}, {5}, {-1}, true},
        {0, 2, {0}, {0}, {1, 1}, {0, 0}, true},
    };

    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_view x = {.dtype = SG_F32, .n_dims = cases[i].n_in}, y = {.dtype = SG_F32, .n_dims = cases[i].n_out};
        memcpy(x.dims, cases[i].in, sizeof cases[i].in);
        memcpy(x.strides, cases[i].strides, sizeof cases[i].strides);
        memcpy(y.dims, cases[i].out, sizeof cases[i].out);
        const sg_view *in[] = {&x};
        const sg_kernel_args k = {.op = &sg_op_reshape, .n_in = 1, .in = in, .out = &y, .i = y.dims};
        CHECK(sg_op_reshape.view(&k) == cases[i].view);
        for (int a = 0; cases[i].view && a < y.n_dims; a++)
            CHECK(y.dims[a] == 1 || y.strides[a] == cases[i].want[a]);
    }
}

static void transposes(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_I32, DIMS(2, 3, 2), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    sg_value *y = sg_transpose(g, x, (const int[]){2, 0, 1});

    CHECK_DIMS(y, DIMS(2, 2, 3));
    CHECK_VALUES(g, y, 0, 0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11);
    CHECK_VALUES(g, sg_transpose(g, x, (const int[]){-1, 0, 1}), 0, 0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11);
    CHECK_VALUES(g, sg_swap_axes(g, x, 0, 1), 0, 0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11);
    CHECK(sg_transpose(g, x, (const int[]){0, 1, 2}) == x);
    sg_graph_free(g);
}

static void broadcasts_and_repeats(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 1), 1, 2);

    CHECK_VALUES(g, sg_broadcast(g, x, DIMS(2, 2, 3)), 0, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2);
    CHECK_VALUES(g, sg_broadcast(g, sg_scalar(g, SG_BOOL, 1), DIMS(3)), 0, 1, 1, 1);
    CHECK_VALUES(g, sg_repeat(g, x, 0, 3), 0, 1, 1, 1, 2, 2, 2);
    CHECK_VALUES(g, sg_repeat(g, NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4), -1, 2), 0, 1, 1, 2, 2, 3, 3, 4, 4);
    CHECK_VALUES(g, sg_repeat(g, NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4), 0, 2), 0, 1, 2, 1, 2, 3, 4, 3, 4);
    sg_graph_free(g);
}

static void slices(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2, 5), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9);

    CHECK_VALUES(g, sg_slice(g, x, 1, 1, 4, 1), 0, 1, 2, 3, 6, 7, 8);
    CHECK_VALUES(g, sg_slice(g, x, -1, 0, 5, 2), 0, 0, 2, 4, 5, 7, 9);
    CHECK_VALUES(g, sg_slice(g, x, -1, 1, 4, 2), 0, 1, 3, 6, 8);
    CHECK_VALUES(g, sg_slice(g, sg_slice(g, x, 1, 1, 5, 2), 0, 1, 2, 1), 0, 6, 8);
    CHECK_DIMS(sg_slice(g, x, 1, 5, 5, 1), DIMS(2, 0));
    CHECK_DIMS(sg_slice(g, x, 1, 2, 2, 3), DIMS(2, 0));
    CHECK(sg_slice(g, x, 1, 0, 5, 1) == x);
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

static void pads(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4);

    CHECK_VALUES(g, sg_pad(g, x, 1, 1, 2, 0, 9), 0, 9, 1, 2, 9, 9, 9, 3, 4, 9, 9);
    CHECK_VALUES(g, sg_pad(g, x, 0, 1, 0, 2, 0), 0, 0, 0, 1, 2, 0, 0, 0, 0, 3, 4);
    CHECK_VALUES(g, sg_pad(g, sg_swap_axes(g, x, 0, 1), -1, 0, 1, 0, -1), 0, 1, 3, -1, 2, 4, -1);
    CHECK_VALUES(g, sg_pad(g, sg_slice(g, x, 0, 1, 1, 1), 0, 1, 1, 3, 5), 0, 5, 5, 5, 5); /* nothing to pad */
    CHECK_VALUES(g, sg_pad(g, NUMBERS(g, SG_BOOL, DIMS(1), 0), 0, 1, 0, 0, 1), 0, 1, 0);
    CHECK_VALUES(g, sg_pad(g, NUMBERS(g, SG_F32, DIMS(1), 1), 0, 1, 0, 0, (double)-INFINITY), 0, (double)-INFINITY, 1);
    sg_graph_free(g);
}

static void concats(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *a = NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4), *b = NUMBERS(g, SG_F32, DIMS(2, 1), 8, 9);
    sg_value *none = sg_slice(g, a, 1, 0, 0, 1);

    CHECK_VALUES(g, sg_concat(g, 4, (sg_value *const[]){a, none, b, a}, 1), 0, 1, 2, 8, 1, 2, 3, 4, 9, 3, 4);
    CHECK_VALUES(g, sg_concat(g, 2, (sg_value *const[]){a, sg_swap_axes(g, a, 0, 1)}, 0), 0, 1, 2, 3, 4, 1, 3, 2, 4);
    CHECK(sg_concat(g, 1, &a, 0) == a);
    sg_graph_free(g);
}

static void counting(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();

    CHECK_VALUES(g, sg_iota(g, SG_I32, 4), 0, 0, 1, 2, 3);
    CHECK_VALUES(g, sg_iota(g, SG_F64, 2), 0, 0, 1);
    CHECK_VALUES(g, sg_extent_of(g, SG_F32, 5), 0, 5);
    (void)sg_iota(g, SG_BF16, 3);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "not bf16");
    sg_graph_free(g);
}

/* ---- symbolic extents ---- */

typedef struct runner {
    sg_session *s;
    sg_feed feed;
    float x[64];
} runner;

static sg_status run_one(runner *r, sg_value *v, sg_tensor *t, sg_error *err)
{
    return sg_session_run(r->s, 1, &r->feed, 1, &v, t, err);
}

static void symbols_become_numbers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time"), one_less = sg_dim_sub(g, time, 1);
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(batch, time));
    sg_value *flat = sg_reshape(g, x, DIMS(sg_dim_mul(g, time, batch)));
    sg_value *next = sg_slice(g, x, 1, 1, time, 1);
    sg_value *both = sg_concat(g, 2, (sg_value *const[]){next, x}, 1);
    sg_value *spread = sg_pad(g, x, 1, 0, 1, 1, 0);
    sg_value *count = sg_extent_of(g, SG_F32, sg_dim_mul(g, batch, time));
    sg_value *diagonal = sg_causal_mask(g, time, time);
    runner r = {NULL, {x, sg_tensor_of(SG_F32, DIMS(2, 3), r.x)}, {1, 2, 3, 4, 5, 6}};
    sg_tensor t;
    sg_error err;

    CHECK_DIMS(next, DIMS(batch, one_less));
    CHECK(sg_value_dim(both, 1) == sg_dim_sub(g, sg_dim_add(g, time, time), 1));
    CHECK_OK(sg_session_new(&r.s, g, NULL, values_opts(1), &err), &err);
    CHECK_OK(run_one(&r, flat, &t, &err), &err);
    CHECK(t.n_dims == 1 && t.dims[0] == 6 && sg_tensor_get(&t, 4) == 5);
    CHECK_OK(run_one(&r, next, &t, &err), &err);
    CHECK(t.dims[1] == 2 && sg_tensor_get(&t, 0) == 2 && sg_tensor_get(&t, 2) == 5);
    CHECK_OK(run_one(&r, both, &t, &err), &err);
    CHECK(t.dims[1] == 5 && sg_tensor_get(&t, 5) == 5 && sg_tensor_get(&t, 7) == 4);
    CHECK_OK(run_one(&r, spread, &t, &err), &err);
    CHECK(t.dims[1] == 6 && sg_tensor_get(&t, 2) == 2 && sg_tensor_get(&t, 1) == 0 && sg_tensor_get(&t, 5) == 0);
    CHECK_OK(run_one(&r, count, &t, &err), &err);
    CHECK(sg_tensor_get(&t, 0) == 6);
    CHECK_OK(run_one(&r, diagonal, &t, &err), &err);
    CHECK(t.dims[0] == 3 && sg_tensor_get(&t, 1) == 0 && sg_tensor_get(&t, 3) == 1);
    sg_session_free(r.s);
    sg_graph_free(g);
}

static void symbolic_bounds_are_checked_when_known(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim time = sg_extent(g, "time");
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(time));
    sg_value *tail = sg_slice(g, x, 0, 2, sg_dim_add(g, time, 1), 1), *head = sg_slice(g, x, 0, 0, 4, 1);
    runner r = {NULL, {x, sg_tensor_of(SG_F32, DIMS(3), r.x)}, {1, 2, 3}};
    sg_tensor t;
    sg_error err;

    CHECK_OK(sg_session_new(&r.s, g, NULL, values_opts(1), &err), &err);
    CHECK_STATUS(run_one(&r, tail, &t, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "slice: 2 : 4 does not lie in 0 : 3, the extent of axis 0");
    CHECK_STATUS(run_one(&r, head, &t, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "slice: 0 : 4 does not lie in 0 : 3");
    sg_session_free(r.s);
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
#define WRONG(status, words, expression)                                                                               \
    do {                                                                                                               \
        sg_graph *g = sg_graph_new();                                                                                  \
        const sg_dim time = sg_extent(g, "time");                                                                      \
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3)), *y = sg_input(g, "y", SG_F32, DIMS(time, 3));              \
        (void)y;                                                                                                       \
        (void)x;                                                                                                       \
        (void)(expression);                                                                                            \
        CHECK_BUILD_FAILS(g, status, words);                                                                           \
        sg_graph_free(g);                                                                                              \
    } while (0)

    WRONG(SG_ESHAPE, "reshape: 6 elements cannot become 8 (given f32 [2,3])", sg_reshape(g, x, DIMS(2, 4)));
    WRONG(SG_ESHAPE, "reshape: 3*time elements cannot become 6", sg_reshape(g, y, DIMS(2, 3)));
    WRONG(SG_ESHAPE, "reshape: 9 axes", sg_reshape(g, x, DIMS(1, 1, 1, 1, 1, 1, 1, 2, 3)));
    WRONG(SG_ESHAPE, "transpose: axis 1 appears twice", sg_transpose(g, x, (const int[]){1, 1}));
    WRONG(SG_ESHAPE, "transpose: axis 2 of 2", sg_transpose(g, x, (const int[]){0, 2}));
    WRONG(SG_ESHAPE, "swap_axes: axis -3", sg_swap_axes(g, x, 0, -3));
    WRONG(SG_ESHAPE, "broadcast: axis 0 cannot become 4 long", sg_broadcast(g, x, DIMS(4, 3)));
    WRONG(SG_ESHAPE, "broadcast: axis 0 cannot become time long", sg_broadcast(g, x, DIMS(time, 3)));
    WRONG(SG_ESHAPE, "broadcast: 2 axes cannot become 1", sg_broadcast(g, x, DIMS(3)));
    WRONG(SG_ESHAPE, "slice: 1 : 4 does not lie in 0 : 3", sg_slice(g, x, 1, 1, 4, 1));
    WRONG(SG_ESHAPE, "slice: 2 : 1 does not lie in 0 : 3", sg_slice(g, x, 1, 2, 1, 1));
    WRONG(SG_ESHAPE, "slice: step 0", sg_slice(g, x, 1, 0, 2, 0));
    WRONG(SG_ESHAPE, "slice: axis 2", sg_slice(g, x, 2, 0, 1, 1));
    WRONG(SG_EUNSUPPORTED, "slice: step 2 over time elements", sg_slice(g, y, 0, 0, time, 2));
    WRONG(SG_ESHAPE, "pad: axis 5", sg_pad(g, x, 5, 1, 1, 0, 0));
    WRONG(SG_ESHAPE, "concat: axis 0 of input 1 does not fit (given f32 [2,3], f32 [time,3])",
          sg_concat(g, 2, (sg_value *const[]){x, y}, 1));
    WRONG(SG_ETYPE, "concat: the types differ", sg_concat(g, 2, (sg_value *const[]){x, sg_cast(g, x, SG_F64)}, 0));
    WRONG(SG_ESHAPE, "concat: the numbers of axes", sg_concat(g, 2, (sg_value *const[]){x, sg_expand(g, x, 0)}, 0));
    WRONG(SG_ESHAPE, "squeeze: axis 0 of [2,3] is not 1", sg_squeeze(g, x, 0));
    WRONG(SG_ESHAPE, "expand: axis 4 of 3", sg_expand(g, x, 4));
    WRONG(SG_ESHAPE, "repeat: axis 2 of 2", sg_repeat(g, x, 2, 2));
#undef WRONG
}

/* ---- the copy by itself: every element size, merged and tiled axes, with and without threads ---- */

static void copies_put_every_element_in_its_place(void **state)
{
    (void)state;
    static const sg_dim sizes[][3] = {{1, 1, 1}, {2, 3, 4}, {5, 17, 33}, {3, 130, 100}, {1, 40, 1}, {2, 0, 3}};
    static const int perms[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const sg_dtype types[] = {SG_BOOL, SG_BF16, SG_F32, SG_F64};
    static unsigned char from[40000 * 8], to[2][40000 * 8];

    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (unsigned char)((i * 2654435761u) >> 7);
    for (size_t s = 0; s < SG_COUNT_OF(sizes); s++)
        for (size_t p = 0; p < SG_COUNT_OF(perms); p++)
            for (size_t d = 0; d < SG_COUNT_OF(types); d++) {
                const size_t size = sg_dtype_bytes(types[d]);
                sg_view x = {from, types[d], 3, {sizes[s][0], sizes[s][1], sizes[s][2]}, {0}}, shown = x, y = x;
                sg_view_row_major(&x);
                for (int a = 0; a < 3; a++) {
                    shown.dims[a] = y.dims[a] = x.dims[perms[p][a]];
                    shown.strides[a] = x.strides[perms[p][a]];
                }
                sg_view_row_major(&y);
                for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
                    y.data = to[n_threads / 2];
                    memset(y.data, 0xee, sizeof to[0]);
                    sg_view_copy(&y, &shown, n_threads);
                    const unsigned char *got = y.data;
                    for (sg_dim a = 0; a < y.dims[0]; a++)
                        for (sg_dim b = 0; b < y.dims[1]; b++)
                            for (sg_dim c = 0; c < y.dims[2]; c++, got += size)
                                if (memcmp(got,
                                           from + (size_t)(a * shown.strides[0] + b * shown.strides[1] +
                                                           c * shown.strides[2]) *
                                                      size,
                                           size) != 0)
                                    fail_msg("size %zu, order %zu, type %zu: element %d,%d,%d", s, p, d, (int)a, (int)b,
                                             (int)c);
                    CHECK(*got == 0xee); /* and nothing after them */
                }
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshapes),
        cmocka_unit_test(reshapes_that_are_views),
        cmocka_unit_test(transposes),
        cmocka_unit_test(broadcasts_and_repeats),
        cmocka_unit_test(slices),
        cmocka_unit_test(pads),
        cmocka_unit_test(concats),
        cmocka_unit_test(counting),
        cmocka_unit_test(symbols_become_numbers),
        cmocka_unit_test(symbolic_bounds_are_checked_when_known),
        cmocka_unit_test(wrong_shapes_say_so),
        cmocka_unit_test(copies_put_every_element_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
