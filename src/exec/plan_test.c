/* What is in a plan, what is not, and that running it gives the right numbers whatever was left out. */
#include <jansson.h>

#include "sightglass/rng.h"
#include "values.h"

static sg_exec_opts plain(bool share, bool fold)
{
    sg_exec_opts opts = sg_exec_defaults();

    opts.n_backends = 0;
    opts.n_threads = 1;
    opts.share = share;
    opts.fold = fold;
    opts.fuse = false;
    return opts;
}

static sg_plan *plan_of(const sg_graph *g, int n_feeds, sg_value *const *feeds, int n_fetches, sg_value *const *fetches,
                        sg_exec_opts opts)
{
    sg_plan *plan = NULL;
    sg_error err;

    CHECK_OK(sg_plan_new(&plan, g, n_feeds, feeds, n_fetches, fetches, 0, NULL, opts, &err), &err);
    return plan;
}

/* Steps of the plan that gives y from x. */
static int steps_of(const sg_graph *g, sg_value *x, sg_value *y, sg_exec_opts opts)
{
    sg_plan *plan = plan_of(g, x ? 1 : 0, &x, 1, &y, opts);
    const int n = sg_plan_n_steps(plan);

    sg_plan_free(plan);
    return n;
}

/* One graph with its state and session. */
typedef struct desk {
    sg_graph *g;
    sg_state *state;
    sg_session *s;
    sg_error err;
} desk;

static void open_desk(desk *d)
{
    CHECK_OK(sg_state_new(&d->state, d->g, &d->err), &d->err);
    CHECK_OK(sg_state_init(d->state, 5, &d->err), &d->err);
    CHECK_OK(sg_session_new(&d->s, d->g, d->state, plain(true, true), &d->err), &d->err);
}

static void close_desk(desk *d)
{
    sg_session_free(d->s);
    sg_state_free(d->state);
    sg_graph_free(d->g);
}

static sg_status ask(desk *d, sg_value *x, sg_tensor t, sg_value *y, sg_tensor *out)
{
    return sg_session_run(d->s, x ? 1 : 0, &(sg_feed){x, t}, 1, &y, out, &d->err);
}

static void check_numbers(const sg_tensor *t, int n, const double *want)
{
    CHECK(sg_tensor_count(t) == n);
    for (int i = 0; i < n; i++)
        CHECK_NEAR(sg_tensor_get(t, i), want[i], 1e-6, 1e-6);
}

/* ---- what is in a plan ---- */

static void only_what_is_asked_is_computed(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(3));
    sg_value *unused = sg_input(g, "unused", SG_F32, DIMS(3));
    sg_value *h = sg_name(g, sg_tanh(g, x), "h", NULL);
    sg_value *y = sg_exp(g, h);
    sg_value *z = sg_add(g, sg_sin(g, y), unused);
    (void)z;
    sg_plan *plan = plan_of(g, 1, &x, 1, &y, plain(true, true));
    CHECK(sg_plan_n_steps(plan) == 2);
    CHECK(strcmp(sg_plan_step_name(plan, 0), "h") == 0);
    CHECK(strcmp(sg_plan_step_op(plan, 1), "exp") == 0);
    CHECK(strcmp(sg_plan_step_backend(plan, 1), "reference") == 0);
    sg_plan_free(plan);
    sg_graph_free(g);
}

static void a_fed_value_cuts_off_what_is_behind_it(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[3] = {0, 1, 2};
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(3));
    sg_value *h = sg_tanh(d.g, x), *y = sg_square(d.g, h);
    CHECK(steps_of(d.g, h, y, plain(true, true)) == 1);
    open_desk(&d);
    CHECK_OK(ask(&d, h, sg_tensor_of(SG_F32, DIMS(3), numbers), y, &out), &d.err);
    check_numbers(&out, DOUBLES(0, 1, 4));
    CHECK_OK(ask(&d, h, sg_tensor_of(SG_F32, DIMS(3), numbers), h, &out), &d.err); /* fed and fetched */
    check_numbers(&out, DOUBLES(0, 1, 2));
    close_desk(&d);
}

static void equal_nodes_are_computed_once(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(3));
    sg_value *y = sg_mul(g, sg_add_scalar(g, sg_tanh(g, x), 2), sg_add_scalar(g, sg_tanh(g, x), 2));
    sg_value *other = sg_mul(g, sg_add_scalar(g, sg_tanh(g, x), 2), sg_add_scalar(g, sg_tanh(g, x), 3));
    sg_value *axes = sg_add(g, sg_cumsum(g, x, 0), sg_cumsum_reverse(g, x, 0));
    CHECK(steps_of(g, x, y, plain(true, true)) == 3);
    CHECK(steps_of(g, x, y, plain(false, true)) == 5);
    CHECK(steps_of(g, x, other, plain(true, true)) == 4); /* 2 is not 3 */
    CHECK(steps_of(g, x, axes, plain(true, true)) == 3);
    sg_graph_free(g);
}

static void constants_are_computed_with_the_plan(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[2] = {10, 20};
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(2));
    sg_value *c = NUMBERS(d.g, SG_F32, DIMS(2, 2), 1, 2, 3, 4);
    sg_value *row = sg_sum(d.g, sg_transpose(d.g, sg_square(d.g, c), (const int[]){1, 0}), 0, false);
    sg_value *y = sg_add(d.g, x, row);
    CHECK(steps_of(d.g, x, y, plain(true, true)) == 1);
    CHECK(steps_of(d.g, x, y, plain(true, false)) == 3);
    CHECK(steps_of(d.g, NULL, row, plain(true, true)) == 0);
    open_desk(&d);
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(2), numbers), y, &out), &d.err);
    check_numbers(&out, DOUBLES(15, 45)); /* 1 + 4, 9 + 16 */
    CHECK_OK(ask(&d, NULL, (sg_tensor){0}, row, &out), &d.err);
    check_numbers(&out, DOUBLES(5, 25));
    close_desk(&d);
}

/* Planning does not fail for what a run may never reach; the run names the error. */
static void a_constant_that_cannot_be_computed_fails_in_the_run(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    sg_tensor out;
    sg_value *y = sg_div(d.g, NUMBERS(d.g, SG_I32, DIMS(2), 1, 2), NUMBERS(d.g, SG_I32, DIMS(2), 1, 0));
    CHECK(steps_of(d.g, NULL, y, plain(true, true)) == 1);
    open_desk(&d);
    CHECK(ask(&d, NULL, (sg_tensor){0}, y, &out) == SG_ENUMERIC);
    CHECK_TEXT(d.err.text, "div");
    close_desk(&d);
}

/* ---- views ---- */

static void views_cost_no_step(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(2, 3));
    sg_value *turned = sg_transpose(d.g, x, (const int[]){1, 0});
    sg_value *flat = sg_reshape(d.g, x, DIMS(3, 2));
    sg_value *sum = sg_add(d.g, turned, flat);
    sg_value *product = sg_matmul(d.g, turned, sg_slice(d.g, x, 1, 1, 3, 1), false, false);
    sg_value *every = sg_neg(d.g, sg_slice(d.g, turned, 0, 0, 3, 2));
    CHECK(steps_of(d.g, x, sum, plain(true, true)) == 1);
    CHECK(steps_of(d.g, x, product, plain(true, true)) == 1);
    CHECK(steps_of(d.g, x, every, plain(true, true)) == 1);
    open_desk(&d);
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(2, 3), numbers);
    CHECK_OK(ask(&d, x, t, sum, &out), &d.err);
    check_numbers(&out, DOUBLES(1 + 1, 4 + 2, 2 + 3, 5 + 4, 3 + 5, 6 + 6));
    CHECK_OK(ask(&d, x, t, product, &out), &d.err);
    check_numbers(&out, DOUBLES(22, 27, 29, 36, 36, 45)); /* [1 4; 2 5; 3 6] [2 3; 5 6] */
    CHECK_OK(ask(&d, x, t, every, &out), &d.err);
    check_numbers(&out, DOUBLES(-1, -4, -3, -6));
    close_desk(&d);
}

static void a_fetched_view_is_in_one_piece(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    sg_tensor out;
    sg_value *from[3] = {sg_input(d.g, "x", SG_F32, DIMS(2, 3)), NUMBERS(d.g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6),
                         sg_variable(d.g, "v", SG_F32, DIMS(2, 3), sg_init_constant(0))};
    sg_value *turned[3], *cut[3], *wide[3];
    for (int i = 0; i < 3; i++) {
        turned[i] = sg_transpose(d.g, from[i], (const int[]){1, 0});
        cut[i] = sg_reshape(d.g, sg_slice(d.g, turned[i], 0, 1, 3, 1), DIMS(4));
        wide[i] = sg_broadcast(d.g, sg_slice(d.g, from[i], 0, 1, 2, 1), DIMS(2, 3));
    }
    open_desk(&d);
    memcpy(sg_state_tensor(d.state, from[2])->data, numbers, sizeof numbers);
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(2, 3), numbers);
    for (int i = 0; i < 3; i++) {
        sg_value *x = i ? NULL : from[0];
        CHECK_OK(ask(&d, x, t, turned[i], &out), &d.err);
        CHECK(out.dims[0] == 3 && out.dims[1] == 2);
        check_numbers(&out, DOUBLES(1, 4, 2, 5, 3, 6));
        CHECK_OK(ask(&d, x, t, cut[i], &out), &d.err);
        check_numbers(&out, DOUBLES(2, 5, 3, 6));
        CHECK_OK(ask(&d, x, t, wide[i], &out), &d.err);
        check_numbers(&out, DOUBLES(4, 5, 6, 4, 5, 6));
        CHECK_OK(ask(&d, x, t, from[i], &out), &d.err);
        check_numbers(&out, DOUBLES(1, 2, 3, 4, 5, 6));
    }
    close_desk(&d);
}

/* Rows of a variable, as many as `n` says: in one piece when all are there, and not when fewer. */
static void a_view_holds_for_every_extent_of_its_plan(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    sg_tensor out;
    const sg_dim n = sg_extent(d.g, "n");
    sg_value *v = sg_variable(d.g, "v", SG_F32, DIMS(2, 4), sg_init_constant(0));
    sg_value *part = sg_slice(d.g, v, 1, 0, n, 1); /* [2,n] */
    sg_value *flat = sg_reshape(d.g, part, DIMS(sg_dim_mul(d.g, 2, n)));
    sg_value *y[4] = {sg_neg(d.g, flat), flat, sg_neg(d.g, sg_expand(d.g, part, 1)),
                      sg_neg(d.g, sg_transpose(d.g, part, (const int[]){1, 0}))};
    open_desk(&d);
    for (int i = 0; i < 8; i++)
        sg_tensor_set(sg_state_tensor(d.state, v), i, i + 1);
    for (int k = 0; k < 4; k++) {
        const sg_plan *first = NULL;
        for (int times = 0; times < 9; times++) {
            const int count = (4 + 3 * times) % 5; /* 4 2 0 3 1 4 ... */
            CHECK_OK(sg_session_extent(d.s, "n", count, 4, &d.err), &d.err);
            CHECK_OK(ask(&d, NULL, (sg_tensor){0}, y[k], &out), &d.err);
            CHECK(sg_tensor_count(&out) == 2 * count);
            for (int i = 0; i < 2 * count; i++) {
                const int row = k == 3 ? i % 2 : i / count, column = k == 3 ? i / 2 : i % count;
                CHECK_NEAR(sg_tensor_get(&out, i), (k == 1 ? 1 : -1) * (4 * row + column + 1), 0, 0);
            }
            CHECK(!first || first == sg_session_plan(d.s));
            first = sg_session_plan(d.s);
        }
    }
    CHECK(sg_session_extent(d.s, "n", 5, 4, &d.err) == SG_EARG);
    close_desk(&d);
}

/* ---- memory ---- */

static void a_chain_takes_two_buffers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(64, 64)), *y = x, *z = x;
    for (int i = 0; i < 100; i++) {
        y = sg_cumsum(g, y, i % 2);
        z = sg_tanh(g, z);
    }
    sg_plan *plan = plan_of(g, 1, &x, 1, &y, plain(true, true));
    CHECK(sg_plan_n_steps(plan) == 100);
    CHECK(sg_plan_bytes(plan) == 2 * 64 * 64 * 4);
    sg_plan_free(plan);
    plan = plan_of(g, 1, &x, 1, &z, plain(true, true)); /* element by element: over itself */
    CHECK(sg_plan_bytes(plan) == 64 * 64 * 4);
    sg_plan_free(plan);
    sg_graph_free(g);
}

#define DAG 40

/* Random values of [4,4]. Their numbers stay within 1 or so. */
static void random_graph(sg_graph *g, sg_rng *rng, sg_value *v[DAG])
{
    v[0] = sg_input(g, "x", SG_F32, DIMS(4, 4));
    v[1] = sg_input(g, "y", SG_F32, DIMS(4, 4));
    v[2] = NUMBERS(g, SG_F32, DIMS(4, 4), 1, -1, .5, 0, .25, 1, -.5, 2, 0, 0, 1, 1, -1, 3, .1, .2);
    for (int i = 3; i < DAG; i++) {
        sg_value *a = v[sg_rng_below(rng, (uint32_t)i)],
                 *b = v[i - 1 - (int)sg_rng_below(rng, (uint32_t)(i < 6 ? i : 6))];
        switch (sg_rng_below(rng, 12)) {
        case 0:
            v[i] = sg_tanh(g, sg_add(g, a, b));
            break;
        case 1:
            v[i] = sg_sin(g, sg_mul(g, a, b));
            break;
        case 2:
            v[i] = sg_sub(g, sg_tanh(g, b), a);
            break;
        case 3:
            v[i] = sg_transpose(g, b, (const int[]){1, 0});
            break;
        case 4:
            v[i] = sg_tanh(g, sg_matmul(g, a, b, false, true));
            break;
        case 5:
            v[i] = sg_add(g, b, sg_mean(g, a, 0, true));
            break;
        case 6:
            v[i] = sg_maximum(g, b, sg_broadcast(g, sg_slice(g, a, 1, 2, 3, 1), DIMS(4, 4)));
            break;
        case 7:
            v[i] = sg_reshape(g, sg_neg(g, sg_reshape(g, b, DIMS(2, 8))), DIMS(4, 4));
            break;
        case 8:
            v[i] = sg_concat(g, 2, (sg_value *[]){sg_slice(g, a, 0, 0, 2, 1), sg_slice(g, b, 0, 0, 4, 2)}, 0);
            break;
        case 9:
            v[i] = sg_where(g, sg_less(g, a, b), b, sg_neg(g, a));
            break;
        case 10:
            v[i] = sg_softmax(g, b, (int)sg_rng_below(rng, 2));
            break;
        default:
            v[i] = sg_rms_norm(g, sg_transpose(g, a, (const int[]){1, 0}), 1);
            break;
        }
    }
}

/* A run that fetches every value can store none over another and share no memory: it is what the others are held to. */
static void reuse_of_memory_changes_no_number(void **state)
{
    (void)state;
    static float all[DAG][16];
    sg_error err;

    for (uint32_t seed = 0; seed < 300; seed++) {
        sg_rng rng = sg_rng_new(seed, 7);
        sg_graph *g = sg_graph_new();
        sg_value *v[DAG];
        float x[16], y[16];
        random_graph(g, &rng, v);
        CHECK_OK(sg_graph_status(g, &err), &err);
        for (int i = 0; i < 16; i++) {
            x[i] = (float)sg_rng_normal(&rng);
            y[i] = (float)sg_rng_normal(&rng);
        }
        const sg_tensor feeds[2] = {sg_tensor_of(SG_F32, DIMS(4, 4), x), sg_tensor_of(SG_F32, DIMS(4, 4), y)};
        for (int round = 0; round < 8; round++) {
            sg_value *fetches[DAG];
            int at[DAG], n = round ? 1 + (int)sg_rng_below(&rng, 3) : DAG;
            for (int i = 0; i < n; i++) {
                at[i] = round == 0 ? i : round == 1 && i == 0 ? DAG - 1 : (int)sg_rng_below(&rng, DAG);
                fetches[i] = v[at[i]];
            }
            sg_plan *plan = plan_of(g, 2, v, n, fetches, plain(round && round % 2, round && round / 2 % 2));
            sg_run *run;
            CHECK_OK(sg_run_new(&run, plan, NULL, &err), &err);
            for (int i = 0; i < 2; i++)
                CHECK_OK(sg_run_feed(run, i, &feeds[i], &err), &err);
            for (int times = 0; times < 2; times++) /* the second finds what the first left behind */
                CHECK_OK(sg_run_execute(run, &err), &err);
            for (int i = 0; i < n; i++) {
                const sg_tensor *t = sg_run_fetch(run, i);
                CHECK(sg_tensor_count(t) == 16);
                if (round == 0)
                    memcpy(all[i], t->data, sizeof all[i]);
                else if (memcmp(all[at[i]], t->data, sizeof all[0]) != 0) {
                    print_error("graph %u, round %d: value %d (%s) differs\n", seed, round, at[i],
                                sg_value_op(fetches[i]));
                    CHECK(false);
                }
            }
            sg_run_free(run);
            sg_plan_free(plan);
        }
        sg_graph_free(g);
    }
}

/* ---- variables ---- */

static void a_store_is_seen_through_its_result_alone(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[2] = {7, 8};
    sg_tensor out[5];
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(2));
    sg_value *v = sg_variable(d.g, "v", SG_F32, DIMS(2), sg_init_constant(1));
    sg_value *after = sg_assign(d.g, v, x);
    sg_value *fetches[5] = {sg_neg(d.g, after), after, v, sg_neg(d.g, v), sg_slice(d.g, v, 0, 1, 2, 1)};
    open_desk(&d);
    const sg_feed feed = {x, sg_tensor_of(SG_F32, DIMS(2), numbers)};
    CHECK_OK(sg_session_run(d.s, 1, &feed, 5, fetches, out, &d.err), &d.err);
    check_numbers(&out[0], DOUBLES(-7, -8));
    check_numbers(&out[1], DOUBLES(7, 8));
    check_numbers(&out[2], DOUBLES(1, 1));
    check_numbers(&out[3], DOUBLES(-1, -1));
    check_numbers(&out[4], DOUBLES(1));
    CHECK_OK(sg_session_run(d.s, 1, &feed, 5, fetches, out, &d.err), &d.err);
    check_numbers(&out[2], DOUBLES(7, 8)); /* what the first run stored */
    CHECK_OK(ask(&d, NULL, (sg_tensor){0}, v, &out[0]), &d.err);
    check_numbers(&out[0], DOUBLES(7, 8));
    close_desk(&d);
}

static void one_run_stores_into_a_variable_once(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    sg_tensor out[2];
    sg_value *v = sg_variable(d.g, "v", SG_F32, DIMS(2), sg_init_constant(1));
    sg_value *a = sg_assign(d.g, v, sg_neg(d.g, v)), *b = sg_assign(d.g, v, sg_square(d.g, v));
    sg_value *circle = sg_add(d.g, v, sg_exp(d.g, a)); /* needs the old v after the store */
    open_desk(&d);
    CHECK(sg_session_run(d.s, 0, NULL, 2, (sg_value *[]){a, b}, out, &d.err) == SG_EARG);
    CHECK_TEXT(d.err.text, "store into v twice");
    CHECK(ask(&d, NULL, (sg_tensor){0}, circle, out) == SG_EARG);
    CHECK_TEXT(d.err.text, "assign");
    CHECK_TEXT(d.err.text, "old value");
    CHECK_OK(ask(&d, NULL, (sg_tensor){0}, a, out), &d.err); /* each alone is fine */
    CHECK_OK(ask(&d, NULL, (sg_tensor){0}, b, out), &d.err);
    check_numbers(out, DOUBLES(1, 1));
    close_desk(&d);
}

static void bound_memory_is_never_written(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    float weights[2] = {3, 4};
    sg_error err;
    sg_state *s;
    sg_session *session;
    sg_tensor out;
    sg_value *v = sg_variable(g, "v", SG_F32, DIMS(2), sg_init_constant(1));
    sg_value *a = sg_assign(g, v, sg_neg(g, v)), *y = sg_neg(g, v);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_session_new(&session, g, s, plain(true, true), &err), &err);
    CHECK(sg_session_run(session, 0, NULL, 1, &y, &out, &err) == SG_EARG);
    CHECK_TEXT(err.text, "variable v has no numbers yet");
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(2), weights);
    CHECK_OK(sg_state_bind(s, v, &t, &err), &err);
    CHECK_OK(sg_session_run(session, 0, NULL, 1, &y, &out, &err), &err);
    check_numbers(&out, DOUBLES(-3, -4));
    float others[2] = {5, 6}; /* bound anew: runs that were there take notice */
    const sg_tensor u = sg_tensor_of(SG_F32, DIMS(2), others);
    CHECK_OK(sg_state_bind(s, v, &u, &err), &err);
    CHECK_OK(sg_session_run(session, 0, NULL, 1, &y, &out, &err), &err);
    check_numbers(&out, DOUBLES(-5, -6));
    CHECK(sg_session_run(session, 0, NULL, 1, &a, &out, &err) == SG_EARG);
    CHECK_TEXT(err.text, "read-only");
    CHECK(others[0] == 5);
    sg_session_free(session);
    sg_state_free(s);
    sg_graph_free(g);
}

/* A cache of 6 rows; x adds one row at `past`, and y is the sum of all rows so far. One plan serves every step. */
static void a_cache_grows_under_one_plan(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    sg_tensor out;
    const sg_dim past = sg_extent(d.g, "past"), time = sg_extent(d.g, "time");
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(time, 3));
    sg_value *cache = sg_variable(d.g, "cache", SG_F32, DIMS(6, 3), sg_init_constant(1000));
    sg_value *rows = sg_slice(d.g, sg_assign_slice(d.g, cache, x, 0, past), 0, 0, sg_dim_add(d.g, past, time), 1);
    sg_value *y = sg_sum(d.g, sg_square(d.g, rows), 0, false);
    const sg_plan *plan = NULL;
    double sum = 0;
    open_desk(&d);
    for (int step = 0; step < 6; step++) {
        float row[3] = {(float)step, 1, -1};
        sum += step * step;
        CHECK_OK(sg_session_extent(d.s, "past", step, 6, &d.err), &d.err);
        CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(1, 3), row), y, &out), &d.err);
        check_numbers(&out, DOUBLES(sum, step + 1, step + 1));
        CHECK(!plan || plan == sg_session_plan(d.s));
        plan = sg_session_plan(d.s);
    }
    float row[3] = {0};
    CHECK_OK(sg_session_extent(d.s, "past", 6, 6, &d.err), &d.err);
    CHECK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(1, 3), row), y, &out) != SG_OK); /* full */
    CHECK_OK(sg_session_extent(d.s, "past", 1, 6, &d.err), &d.err); /* and usable afterwards, from any place */
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(1, 3), row), y, &out), &d.err);
    check_numbers(&out, DOUBLES(0, 1, 1));
    close_desk(&d);
}

/* ---- what is wrong is named ---- */

static void what_is_missing_is_named(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[6] = {0};
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(sg_extent(d.g, "batch"), 3));
    sg_value *z = sg_input(d.g, "z", SG_F32, DIMS(3));
    sg_value *y = sg_add(d.g, x, z);
    sg_value *u = sg_name(d.g, sg_iota(d.g, SG_F32, sg_extent(d.g, "rows")), "u", NULL);
    open_desk(&d);
    CHECK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(2, 3), numbers), y, &out) == SG_EARG);
    CHECK_TEXT(d.err.text, "z is needed and was not fed");
    CHECK(ask(&d, NULL, (sg_tensor){0}, u, &out) == SG_EARG);
    CHECK_TEXT(d.err.text, "u depends on the extent 'rows'");
    CHECK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(2, 2), numbers), sg_neg(d.g, x), &out) == SG_ESHAPE);
    CHECK_TEXT(d.err.text, "feed of x is [2,2], wanted [batch,3]");
    CHECK(ask(&d, x, sg_tensor_of(SG_F64, DIMS(0, 3), numbers), sg_neg(d.g, x), &out) == SG_ETYPE);
    CHECK_TEXT(d.err.text, "feed of x is f64, wanted f32");
    sg_graph *other = sg_graph_new();
    sg_value *stranger = sg_input(other, "x", SG_F32, DIMS(3));
    CHECK(ask(&d, stranger, sg_tensor_of(SG_F32, DIMS(3), numbers), y, &out) == SG_EARG);
    CHECK(ask(&d, NULL, (sg_tensor){0}, stranger, &out) == SG_EARG);
    CHECK(ask(&d, NULL, (sg_tensor){0}, NULL, &out) == SG_EARG);
    const sg_feed twice[2] = {{z, sg_tensor_of(SG_F32, DIMS(3), numbers)}, {z, sg_tensor_of(SG_F32, DIMS(3), numbers)}};
    CHECK(sg_session_run(d.s, 2, twice, 1, &z, &out, &d.err) == SG_EARG);
    CHECK_TEXT(d.err.text, "z is fed twice");
    CHECK(sg_session_extent(d.s, "nothing", 1, 0, &d.err) == SG_EARG);
    CHECK_TEXT(d.err.text, "nothing");
    sg_graph_free(other);
    close_desk(&d);
}

/* The address alone does not say that a feed is as it was. */
static void feeds_that_disagree_are_refused_every_time(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 4};
    sg_tensor out;
    const sg_dim batch = sg_extent(d.g, "batch");
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(batch)), *y = sg_input(d.g, "y", SG_F32, DIMS(batch));
    sg_value *sum = sg_add(d.g, x, y);
    open_desk(&d);
    sg_feed feeds[2] = {{x, sg_tensor_of(SG_F32, DIMS(4), a)}, {y, sg_tensor_of(SG_F32, DIMS(4), b)}};
    CHECK_OK(sg_session_run(d.s, 2, feeds, 1, &sum, &out, &d.err), &d.err);
    feeds[1].tensor.dims[0] = 2; /* the same address */
    CHECK(sg_session_run(d.s, 2, feeds, 1, &sum, &out, &d.err) == SG_ESHAPE);
    CHECK_TEXT(d.err.text, "feed of y is [2], wanted [4]");
    CHECK(sg_session_run(d.s, 2, feeds, 1, &sum, &out, &d.err) == SG_ESHAPE);
    feeds[1].tensor.dims[0] = 4;
    CHECK_OK(sg_session_run(d.s, 2, feeds, 1, &sum, &out, &d.err), &d.err);
    check_numbers(&out, DOUBLES(2, 4, 6, 8));
    close_desk(&d);
}

static void the_guard_names_the_first_nan(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[3] = {1, 2, -3};
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(3));
    sg_value *bad = sg_name(d.g, sg_log(d.g, x), "bad", NULL);
    sg_value *y = sg_exp(d.g, sg_neg(d.g, bad));
    open_desk(&d);
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(3), numbers);
    CHECK_OK(ask(&d, x, t, y, &out), &d.err);
    sg_session_guard(d.s, true);
    CHECK(ask(&d, x, t, y, &out) == SG_ENUMERIC);
    CHECK_TEXT(d.err.text, "the first NaN is in bad, element 2");
    numbers[2] = 0; /* log 0 is -inf, which is no NaN */
    CHECK_OK(ask(&d, x, t, y, &out), &d.err);
    CHECK(isinf(sg_tensor_get(&out, 2)));
    close_desk(&d);
}

/* ---- traces ---- */

static void a_trace_has_an_event_per_step(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    const char *folder = getenv("TMPDIR");
    char path[512];
    float numbers[6] = {0};
    sg_tensor out;
    sg_trace *trace;
    json_error_t where;
    snprintf(path, sizeof path, "%s/sightglass-trace-XXXXXX", folder ? folder : "/tmp");
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(2, 3));
    sg_value *h = sg_name(d.g, sg_tanh(d.g, x), "a \"quoted\"\\\n\tname", NULL);
    sg_scope(d.g, "block.%d", 3);
    sg_value *y = sg_sum_all(d.g, sg_square(d.g, h));
    open_desk(&d);
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(2, 3), numbers);
    CHECK_OK(sg_trace_new(&trace, &d.err), &d.err);
    sg_session_trace(d.s, trace);
    for (int i = 0; i < 2; i++)
        CHECK_OK(ask(&d, x, t, y, &out), &d.err);
    sg_session_trace(d.s, NULL);
    CHECK_OK(ask(&d, x, t, y, &out), &d.err); /* not recorded */
    const int n = sg_plan_n_steps(sg_session_plan(d.s));
    CHECK_OK(sg_trace_save(trace, path, &d.err), &d.err);
    json_t *root = json_load_file(path, 0, &where);
    if (!root)
        print_error("line %d: %s\n", where.line, where.text);
    CHECK(root);
    const json_t *events = json_object_get(root, "traceEvents");
    CHECK(n == 3 && json_array_size(events) == (size_t)(2 * n));
    double before = 0;
    for (int i = 0; i < 2 * n; i++) {
        const json_t *e = json_array_get(events, (size_t)i), *args = json_object_get(e, "args");
        const char *name = json_string_value(json_object_get(e, "name"));
        const double ts = json_number_value(json_object_get(e, "ts"));
        CHECK(strcmp(name, sg_plan_step_name(sg_session_plan(d.s), i % n)) == 0);
        CHECK(strcmp(json_string_value(json_object_get(args, "op")), sg_plan_step_op(sg_session_plan(d.s), i % n)) ==
              0);
        CHECK(strcmp(json_string_value(json_object_get(e, "ph")), "X") == 0);
        CHECK(ts >= before && json_number_value(json_object_get(e, "dur")) >= 0);
        before = ts;
    }
    const json_t *first = json_object_get(json_array_get(events, 0), "args");
    CHECK(strcmp(json_string_value(json_object_get(first, "shape")), "[2,3]") == 0);
    CHECK(json_number_value(json_object_get(first, "bytes")) == 48); /* 6 numbers in, 6 out */
    CHECK(strncmp(sg_plan_step_name(sg_session_plan(d.s), 1), "block.3/square", 14) == 0);
    json_decref(root);
    unlink(path);
    CHECK(sg_trace_save(trace, "/nowhere/at/all.json", &d.err) != SG_OK);
    sg_trace_free(trace);
    close_desk(&d);
}

/* ---- sessions ---- */

static void plans_are_kept_by_what_was_asked(void **state)
{
    (void)state;
    desk d = {.g = sg_graph_new()};
    float numbers[100];
    sg_tensor out;
    sg_value *x = sg_input(d.g, "x", SG_F32, DIMS(sg_extent(d.g, "n")));
    sg_value *y = sg_sum_all(d.g, x), *z = sg_mean_all(d.g, x);
    for (int i = 0; i < 100; i++)
        numbers[i] = 1;
    open_desk(&d);
    CHECK(sg_session_plan(d.s) == NULL);
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(4), numbers), y, &out), &d.err);
    const sg_plan *four = sg_session_plan(d.s);
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(5), numbers), y, &out), &d.err);
    CHECK(sg_session_plan(d.s) != four);
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(4), numbers), z, &out), &d.err);
    CHECK(sg_session_plan(d.s) != four);
    CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(4), numbers + 9), y, &out), &d.err);
    CHECK(sg_session_plan(d.s) == four);
    /* More requests than are kept, and failing ones between them. */
    for (int times = 0; times < 3; times++)
        for (int n = 0; n < 100; n++) {
            CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(n), numbers), y, &out), &d.err);
            CHECK_NEAR(sg_tensor_get(&out, 0), n, 0, 0);
            CHECK(ask(&d, NULL, (sg_tensor){0}, y, &out) == SG_EARG);
            CHECK_OK(ask(&d, x, sg_tensor_of(SG_F32, DIMS(n), numbers), y, &out), &d.err);
            CHECK_NEAR(sg_tensor_get(&out, 0), n, 0, 0);
        }
    close_desk(&d);
}

static void a_step_may_have_many_inputs(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *xs[40];
    for (int i = 0; i < 40; i++)
        xs[i] = sg_expand(g, sg_scalar(g, SG_F32, i), 0);
    sg_value *all = sg_sum_all(g, sg_concat(g, 40, xs, 0));
    CHECK_VALUES(g, all, 0, 780);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_asked_is_computed),
        cmocka_unit_test(a_fed_value_cuts_off_what_is_behind_it),
        cmocka_unit_test(equal_nodes_are_computed_once),
        cmocka_unit_test(constants_are_computed_with_the_plan),
        cmocka_unit_test(a_constant_that_cannot_be_computed_fails_in_the_run),
        cmocka_unit_test(views_cost_no_step),
        cmocka_unit_test(a_fetched_view_is_in_one_piece),
        cmocka_unit_test(a_view_holds_for_every_extent_of_its_plan),
        cmocka_unit_test(a_chain_takes_two_buffers),
        cmocka_unit_test(reuse_of_memory_changes_no_number),
        cmocka_unit_test(a_store_is_seen_through_its_result_alone),
        cmocka_unit_test(one_run_stores_into_a_variable_once),
        cmocka_unit_test(bound_memory_is_never_written),
        cmocka_unit_test(a_cache_grows_under_one_plan),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(feeds_that_disagree_are_refused_every_time),
        cmocka_unit_test(the_guard_names_the_first_nan),
        cmocka_unit_test(a_trace_has_an_event_per_step),
        cmocka_unit_test(a_step_may_have_many_inputs),
        cmocka_unit_test(plans_are_kept_by_what_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
