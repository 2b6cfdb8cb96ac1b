#include "values.h"

typedef struct store {
    sg_graph *g;
    sg_state *state;
    sg_session *s;
    sg_value *v, *x;
    float numbers[16];
} store;

/* A variable [2,4] of ones, and an input x [2,n]. */
static void store_begin(store *c, sg_dim n)
{
    memset(c, 0, sizeof *c);
    c->g = sg_graph_new();
    c->v = sg_variable(c->g, "v", SG_F32, DIMS(2, 4), sg_init_constant(1));
    c->x = sg_input(c->g, "x", SG_F32, DIMS(2, n));
    for (int i = 0; i < 16; i++)
        c->numbers[i] = (float)(10 + i);
}

static void store_end(store *c)
{
    sg_session_free(c->s);
    sg_state_free(c->state);
    sg_graph_free(c->g);
}

static void store_open(store *c)
{
    sg_error err;

    CHECK_OK(sg_state_new(&c->state, c->g, &err), &err);
    CHECK_OK(sg_state_init(c->state, 1, &err), &err);
    CHECK_OK(sg_session_new(&c->s, c->g, c->state, values_opts(1), &err), &err);
}

static void check_stored(store *c, const double *want)
{
    const sg_tensor *t = sg_state_tensor(c->state, c->v);

    for (int i = 0; i < 8; i++)
        CHECK_NEAR(sg_tensor_get(t, i), want[i], 0, 0);
}

static void a_variable_is_stored_whole(void **state)
{
    (void)state;
    store c;
    sg_error err;
    sg_tensor t[2];

    store_begin(&c, 4);
    sg_value *after = sg_assign(c.g, c.v, sg_square(c.g, c.x));
    sg_value *fetches[] = {sg_sum_all(c.g, after), sg_sum_all(c.g, c.v)};
    store_open(&c);
    const sg_feed feed = {c.x, sg_tensor_of(SG_F32, DIMS(2, 4), c.numbers)};
    CHECK_OK(sg_session_run(c.s, 1, &feed, 2, fetches, t, &err), &err);
    CHECK_NEAR(sg_tensor_get(&t[0], 0), 1500, 0, 0); /* 10^2 + ... + 17^2 */
    CHECK_NEAR(sg_tensor_get(&t[1], 0), 8, 0, 0);    /* who reads the variable itself sees what it held before */
    check_stored(&c, (const double[]){100, 121, 144, 169, 196, 225, 256, 289});
    store_end(&c);
}

static void slices_are_stored_in_their_place(void **state)
{
    (void)state;
    store c;
    sg_error err;
    sg_tensor t;

    store_begin(&c, 2);
    sg_value *after = sg_assign_slice(c.g, c.v, c.x, -1, 1);
    store_open(&c);
    const sg_feed feed = {c.x, sg_tensor_of(SG_F32, DIMS(2, 2), c.numbers)};
    CHECK_OK(sg_session_run(c.s, 1, &feed, 1, &after, &t, &err), &err);
    check_stored(&c, (const double[]){1, 10, 11, 1, 1, 12, 13, 1});
    CHECK(t.dims[1] == 4 && sg_tensor_get(&t, 2) == 11);
    store_end(&c);
}

/* A key/value cache: `time` new columns behind `past` old ones, the reader seeing past + time. */
static void a_cache_fills_step_by_step(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim time = sg_extent(g, "time"), past = sg_extent(g, "past");
    sg_value *v = sg_variable(g, "v", SG_F32, DIMS(2, 4), sg_init_constant(0));
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, time));
    sg_value *seen = sg_slice(g, sg_assign_slice(g, v, x, 1, past), 1, 0, sg_dim_add(g, past, time), 1);
    sg_value *sum = sg_sum_all(g, seen);
    sg_state *kept;
    sg_session *s;
    sg_tensor t;
    sg_error err;
    float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    CHECK_OK(sg_state_new(&kept, g, &err), &err);
    CHECK_OK(sg_state_init(kept, 1, &err), &err);
    CHECK_OK(sg_session_new(&s, g, kept, values_opts(1), &err), &err);
    CHECK_OK(sg_session_extent(s, "past", 0, 4, &err), &err);
    sg_feed feed = {x, sg_tensor_of(SG_F32, DIMS(2, 2), numbers)};
    CHECK_OK(sg_session_run(s, 1, &feed, 1, &sum, &t, &err), &err);
    CHECK_NEAR(sg_tensor_get(&t, 0), 10, 0, 0);
    CHECK_OK(sg_session_extent(s, "past", 2, 4, &err), &err);
    feed.tensor = sg_tensor_of(SG_F32, DIMS(2, 1), numbers + 4);
    CHECK_OK(sg_session_run(s, 1, &feed, 1, &sum, &t, &err), &err);
    CHECK_NEAR(sg_tensor_get(&t, 0), 21, 0, 0);
    const double want[] = {1, 2, 5, 0, 3, 4, 6, 0};
    for (int i = 0; i < 8; i++)
        CHECK_NEAR(sg_tensor_get(sg_state_tensor(kept, v), i), want[i], 0, 0);

    feed.tensor = sg_tensor_of(SG_F32, DIMS(2, 3), numbers);
    CHECK_STATUS(sg_session_run(s, 1, &feed, 1, &sum, &t, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "assign_slice: 3 elements at 2 do not fit the 4 of axis 1");
    for (int i = 0; i < 8; i++)
        CHECK_NEAR(sg_tensor_get(sg_state_tensor(kept, v), i), want[i], 0, 0);
    sg_session_free(s);
    sg_state_free(kept);
    sg_graph_free(g);
}

/* Rows go to places of their own, the variable's other rows stay, and f32 is rounded to what the variable holds. */
static void rows_are_stored_each_in_its_place(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim first = sg_extent(g, "first"), batch = sg_extent(g, "batch");
    sg_value *v = sg_variable(g, "v", SG_BF16, DIMS(3, 4, 1), sg_init_constant(0));
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(batch, 2, 1)), *places = sg_input(g, "places", SG_I32, 1, &batch);
    sg_value *after = sg_assign_rows(g, v, x, places, first);
    sg_value *seen = sg_cast(g, sg_slice(g, after, 0, first, sg_dim_add(g, first, batch), 1), SG_F32);
    float numbers[4] = {1, 2, 3, 1.00390625f}; /* the last lies halfway between two of bf16 */
    int32_t at[2] = {2, 0};
    sg_state *kept;
    sg_session *s;
    sg_tensor t;
    sg_error err;

    CHECK_OK(sg_state_new(&kept, g, &err), &err);
    CHECK_OK(sg_state_init(kept, 1, &err), &err);
    CHECK_OK(sg_session_new(&s, g, kept, values_opts(1), &err), &err);
    CHECK_OK(sg_session_extent(s, "first", 1, 1, &err), &err);
    const sg_feed feeds[2] = {{x, sg_tensor_of(SG_F32, DIMS(2, 2, 1), numbers)}, {places, sg_tensor_of(SG_I32, DIMS(2), at)}};
    CHECK_OK(sg_session_run(s, 2, feeds, 1, &seen, &t, &err), &err);
    const double want[12] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 1, 0, 0};
    for (int i = 0; i < 12; i++)
        CHECK_NEAR(sg_tensor_get(sg_state_tensor(kept, v), i), want[i], 0, 0);
    CHECK(t.dims[0] == 2 && sg_tensor_get(&t, 2) == 1);
    at[0] = 3;
    CHECK_STATUS(sg_session_run(s, 2, feeds, 1, &seen, &t, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "assign_rows: row 0: 2 elements at 3 do not fit the 4 of axis 1");
    sg_session_free(s);
    sg_state_free(kept);
    sg_graph_free(g);
}

/* Shifting a variable along itself: what is stored is read from where it is stored. */
static void a_variable_moves_along_itself(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *v = sg_variable(g, "v", SG_F32, DIMS(1, 5), sg_init_constant(0));
    sg_value *shifted = sg_assign_slice(g, v, sg_slice(g, v, 1, 0, 4, 1), 1, 1);
    sg_value *w = sg_variable(g, "w", SG_F32, DIMS(2, 2), sg_init_constant(0));
    sg_value *turned = sg_assign(g, w, sg_swap_axes(g, w, 0, 1));
    sg_value *row = sg_reshape(g, sg_slice(g, w, 0, 0, 1, 1), DIMS(2, 1));
    sg_value *tangled = sg_assign_slice(g, w, row, 1, 1);
    sg_value *fetches[] = {shifted, turned};
    sg_state *kept;
    sg_session *s;
    sg_tensor t[2];
    sg_error err;

    CHECK_OK(sg_state_new(&kept, g, &err), &err);
    CHECK_OK(sg_state_init(kept, 1, &err), &err);
    CHECK_OK(sg_session_new(&s, g, kept, values_opts(1), &err), &err);
    for (int i = 0; i < 5; i++)
        sg_tensor_set(sg_state_tensor(kept, v), i, i + 1);
    for (int i = 0; i < 4; i++)
        sg_tensor_set(sg_state_tensor(kept, w), i, i + 1);
    CHECK_OK(sg_session_run(s, 0, NULL, 2, fetches, t, &err), &err);
    const double want_v[] = {1, 1, 2, 3, 4}, want_w[] = {1, 3, 2, 4};
    for (int i = 0; i < 5; i++)
        CHECK_NEAR(sg_tensor_get(&t[0], i), want_v[i], 0, 0);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(sg_tensor_get(&t[1], i), want_w[i], 0, 0);
    /* w's first row becomes its last column: either refused or right, never half overwritten. */
    const sg_status status = sg_session_run(s, 0, NULL, 1, &tangled, t, &err);
    CHECK(status == SG_OK || status == SG_EUNSUPPORTED);
    if (status == SG_OK) {
        const double want[] = {1, 1, 2, 3};
        for (int i = 0; i < 4; i++)
            CHECK_NEAR(sg_tensor_get(&t[0], i), want[i], 0, 0);
    }
    sg_session_free(s);
    sg_state_free(kept);
    sg_graph_free(g);
}

static void wrong_stores_say_so(void **state)
{
    (void)state;
    store c;

    store_begin(&c, 2);
    (void)sg_assign(c.g, c.v, c.x);
    CHECK_BUILD_FAILS(c.g, SG_ESHAPE, "assign: the shapes differ (given f32 [2,4], f32 [2,2])");
    store_end(&c);

    store_begin(&c, 4);
    (void)sg_assign(c.g, c.x, c.x);
    CHECK_BUILD_FAILS(c.g, SG_EARG, "assign: x is no variable");
    store_end(&c);

    store_begin(&c, 4);
    (void)sg_assign(c.g, c.v, sg_cast(c.g, c.x, SG_F64));
    CHECK_BUILD_FAILS(c.g, SG_ETYPE, "assign: the types differ");
    store_end(&c);

    store_begin(&c, 2);
    (void)sg_assign_slice(c.g, c.v, c.x, 1, 3);
    CHECK_BUILD_FAILS(c.g, SG_ESHAPE, "assign_slice: 2 elements at 3 do not fit the 4 of axis 1");
    store_end(&c);

    store_begin(&c, 2);
    (void)sg_assign_slice(c.g, c.v, c.x, 0, 0);
    CHECK_BUILD_FAILS(c.g, SG_ESHAPE, "differ in more than axis 0");
    store_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variable_is_stored_whole), cmocka_unit_test(slices_are_stored_in_their_place),
        cmocka_unit_test(a_cache_fills_step_by_step), cmocka_unit_test(rows_are_stored_each_in_its_place), cmocka_unit_test(a_variable_moves_along_itself),
        cmocka_unit_test(wrong_stores_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
