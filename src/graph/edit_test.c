/* Edits on a graph of a few values, against numbers computed here. On a real model: src/models/edits_test.c. */
#include "faults.h"
#include "graph/op.h"
#include "sightglass/edit.h"
#include "values.h"

#define INF  ((double)INFINITY)
#define B    2
#define T    3
#define D    4
#define N    (B * T * D)
#define S    (B * 2 * T * T) /* scores: [B,2,T,T] */
#define PAST 2

/* f32: a few roundings of numbers up to 123. */
#define NEAR 2e-5

/* site [batch,time,4] is x; z is the same as two heads of two; after = 10 site and far = after + 1 read it. scores
 * [batch,2,time,keys] are masked ahead of the query, pattern is their softmax, flat [batch,time] is
 * site's first number, beside = 2 x does not read site. */
typedef struct desk {
    sg_graph *g;
    sg_edits *edits;
    sg_session *s;
    sg_value *x, *scores;
    float x_numbers[N], score_numbers[B * 2 * T * (PAST + T)];
    int32_t positions[B * T];
    uint8_t real[B * T];
    sg_dim prompt[B];
    sg_edit_window w;
    sg_error err;
} desk;

static double given(int r, int t, int d)
{
    return 60 * r + 20 * t + d - 10;
}

static void open_desk(desk *d)
{
    memset(d, 0, sizeof *d);
    sg_graph *g = d->g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time"), past = sg_extent(g, "past");
    const sg_dim keys = sg_dim_add(g, past, time);
    d->x = sg_input(g, "x", SG_F32, DIMS(batch, time, D));
    d->scores = sg_input(g, "s", SG_F32, DIMS(batch, 2, time, keys));
    sg_value *site = sg_name(g, sg_mul_scalar(g, d->x, 1), "site", "btd");
    sg_value *after = sg_name(g, sg_mul_scalar(g, site, 10), "after", "btd");
    sg_name(g, sg_add_scalar(g, after, 1), "far", "btd");
    sg_name(g, sg_reshape(g, site, DIMS(batch, time, 2, 2)), "z", "bthd");
    sg_name(g, sg_mul_scalar(g, sg_slice(g, sg_reshape(g, site, DIMS(batch, time, D)), 2, 0, 1, 1), 1), "narrow",
            "btd");
    sg_name(g, sg_squeeze(g, sg_graph_find(g, "narrow"), 2), "flat", "bt");
    sg_name(g, sg_mul_scalar(g, d->x, 2), "beside", "btd");
    sg_value *seen = sg_where(g, sg_causal_mask(g, time, keys), d->scores, sg_scalar(g, SG_F32, -INF));
    sg_name(g, sg_softmax(g, sg_name(g, seen, "attn_scores", "bhts"), -1), "pattern", "bhts");
    CHECK_OK(sg_graph_status(g, &d->err), &d->err);

    for (int i = 0; i < N; i++)
        d->x_numbers[i] = (float)given(i / (T * D), i / D % T, i % D);
    for (int i = 0; i < B * 2 * T * (PAST + T); i++)
        d->score_numbers[i] = (float)sin(i);
    for (int i = 0; i < B * T; i++) {
        d->positions[i] = i % T;
        d->real[i] = 1;
    }
    d->prompt[0] = d->prompt[1] = T;
    d->w = (sg_edit_window){.n_rows = B, .time = T, .positions = d->positions, .real = d->real, .prompt = d->prompt};
}

static void splice(desk *d, int n, const sg_edit *edits)
{
    CHECK_OK(sg_edits_splice(&d->edits, d->g, n, edits, &d->err), &d->err);
}

static sg_status run(desk *d, const char *name, sg_tensor *out)
{
    sg_feed feeds[64];
    const int n = 2 + sg_edits_n_feeds(d->edits);
    sg_value *v = sg_graph_find(d->g, name);

    CHECK(n <= 64 && v);
    feeds[0] = (sg_feed){d->x, sg_tensor_of(SG_F32, DIMS(B, d->w.time, D), d->x_numbers)};
    feeds[1] =
        (sg_feed){d->scores, sg_tensor_of(SG_F32, DIMS(B, 2, d->w.time, d->w.past + d->w.time), d->score_numbers)};
    SG_TRY(sg_edits_feeds(d->edits, &d->w, feeds + 2, &d->err));
    if (!d->s)
        SG_TRY(sg_session_new(&d->s, d->g, NULL, values_opts(1), &d->err));
    SG_TRY(sg_session_extent(d->s, "past", d->w.past, 0, &d->err));
    return sg_session_run(d->s, n, feeds, 1, &v, out, &d->err);
}

static void fetch(desk *d, const char *name, int n, double *out)
{
    sg_tensor t;

    CHECK_OK(run(d, name, &t), &d->err);
    CHECK(sg_tensor_count(&t) == n);
    for (int i = 0; i < n; i++)
        out[i] = sg_tensor_get(&t, i);
}

static void close_desk(desk *d)
{
    sg_session_free(d->s);
    sg_edits_free(d->edits);
    sg_graph_free(d->g);
}

static sg_edit edit_of(const char *site, sg_edit_op op, double strength, sg_tensor value)
{
    sg_edit e = sg_edit_defaults();

    e.site = site;
    e.op = op;
    e.strength = strength;
    e.value = value;
    return e;
}

#define NONE           ((sg_tensor){0})
#define VALUE(n, ...)  sg_tensor_of(SG_F32, 1, (sg_dim[]){n}, (float[]){__VA_ARGS__})
#define SCALAR(number) sg_tensor_of(SG_F64, 0, NULL, (double[]){number})
#define SPANS(...)                                                                                                     \
    ((sg_spans){(int)(sizeof((sg_span[]){__VA_ARGS__}) / sizeof(sg_span)), (const sg_span[]){__VA_ARGS__}})

/* Where `where` holds the site is `want`, elsewhere what was given. */
typedef double want_fn(int r, int t, int d, double x);
typedef bool where_fn(int r, int t, int d);

static void check_edit(const char *what, const sg_edit *e, want_fn *want, where_fn *where)
{
    desk d;
    double got[N];

    open_desk(&d);
    splice(&d, 1, e);
    fetch(&d, e->site, N, got);
    for (int i = 0; i < N; i++) {
        const int r = i / (T * D), t = i / D % T, k = i % D;
        const double x = given(r, t, k), wanted = !where || where(r, t, k) ? want(r, t, k, x) : x;
        if (!(fabs(got[i] - wanted) <= NEAR)) {
            print_error("%s: row %d, position %d, number %d is %.9g, wanted %.9g\n", what, r, t, k, got[i], wanted);
            fail();
        }
    }
    close_desk(&d);
}

/* ---- what an edit is to its graph ---- */

static void defaults_and_names(void **state)
{
    (void)state;
    static const char *const names[] = {"set", "add", "scale", "ablate", "project", "clamp", "patch", "mask"};
    const sg_edit e = sg_edit_defaults();
    for (int i = 0; i < SG_N_EDIT_OPS; i++)
        assert_string_equal(sg_edit_op_name((sg_edit_op)i), names[i]);
    assert_string_equal(sg_edit_op_name(SG_N_EDIT_OPS), "?");
    CHECK(e.strength == 1 && e.low == -INF && e.high == INF && !e.value.data && !e.site);
    CHECK(!e.when.site && e.when.index == -1 && e.when.low == -INF && e.when.high == INF);
    CHECK(!e.heads.n && !e.positions.n && !e.rows.n && !e.steps.n && !e.keys.n);
}

static void readers_see_the_edit(void **state)
{
    (void)state;
    desk d;
    double at[N], before[N], after[N], far[N], flat[B * T];
    open_desk(&d);
    sg_value *original = sg_graph_find(d.g, "site");
    const sg_edit e = edit_of("site", SG_EDIT_ADD, 2, VALUE(4, 1, 10, 100, 1000));
    splice(&d, 1, &e);
    CHECK(sg_graph_find(d.g, "site.unedited") == original && sg_graph_find(d.g, "site") != original);
    assert_string_equal(sg_value_axes(sg_graph_find(d.g, "site")), "btd");
    fetch(&d, "site", N, at);
    fetch(&d, "site.unedited", N, before);
    fetch(&d, "after", N, after);
    fetch(&d, "far", N, far);
    fetch(&d, "flat", B * T, flat);
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(before[i], d.x_numbers[i], 0, 0);
        CHECK_NEAR(at[i], before[i] + 2 * pow(10, i % D), NEAR, 0);
        CHECK_NEAR(after[i], 10 * at[i], NEAR, 1e-6);
        CHECK_NEAR(far[i], 10 * at[i] + 1, NEAR, 1e-6);
    }
    for (int i = 0; i < B * T; i++)
        CHECK_NEAR(flat[i], at[i * D], 0, 0);
    close_desk(&d);
}

static void no_edits_feed_nothing(void **state)
{
    (void)state;
    desk d;
    double at[N];
    open_desk(&d);
    const int size = sg_graph_size(d.g);
    splice(&d, 0, NULL);
    CHECK(sg_edits_n_feeds(d.edits) == 0 && sg_edits_n_feeds(NULL) == 0 && sg_graph_size(d.g) == size);
    CHECK_OK(sg_edits_feeds(NULL, &d.w, NULL, &d.err), &d.err);
    fetch(&d, "site", N, at);
    CHECK(at[N - 1] == given(1, 2, 3));
    CHECK_STATUS(sg_edits_strength(d.edits, 0, 1, &d.err), SG_EARG);
    sg_edits_free(NULL);
    close_desk(&d);
}

/* ---- each op ---- */

static const double v4[4] = {3, -4, 0, 12};

static double set_half(int r, int t, int d, double x)
{
    (void)r, (void)t;
    return 0.25 * x + 0.75 * v4[d];
}

static double set_whole(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)x;
    return v4[d];
}

static double add_minus_3(int r, int t, int d, double x)
{
    (void)r, (void)t;
    return x - 3 * v4[d];
}

static double scale_half(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d;
    return 0.5 * x;
}

static double scale_by_value(int r, int t, int d, double x)
{
    (void)r, (void)t;
    return 0.5 * v4[d] * x;
}

static double ablate_some(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d;
    return 0.75 * x;
}

static double to_seven(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d, (void)x;
    return 7;
}

/* u = v / 13 */
static double along_v(int r, int t)
{
    double sum = 0;

    for (int k = 0; k < D; k++)
        sum += given(r, t, k) * v4[k] / 13;
    return sum;
}

static double without_v(int r, int t, int d, double x)
{
    return x - 0.5 * along_v(r, t) * v4[d] / 13;
}

/* The rows [1 1 0 0], [0 2 0 0] span the first two axes. */
static double without_plane(int r, int t, int d, double x)
{
    (void)r, (void)t;
    return d < 2 ? -x : x; /* strength 2 reflects */
}

static double clamped_along_v(int r, int t, int d, double x)
{
    const double c = along_v(r, t), held = fmin(fmax(c, 5), 30);

    return x + 2 * (held - c) * v4[d] / 13;
}

static double clamped(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d;
    return x + 0.5 * (fmin(fmax(x, -3), 44) - x);
}

static double clamped_below(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d;
    return fmax(x, 12);
}

static double unchanged(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d;
    return x;
}

static double masked(int r, int t, int d, double x)
{
    (void)r, (void)t;
    return x * v4[d];
}

static void each_op_does_what_its_formula_says(void **state)
{
    (void)state;
    const sg_tensor v = VALUE(4, 3, -4, 0, 12);
    const sg_tensor plane = sg_tensor_of(SG_F64, 2, (sg_dim[]){2, 4}, (double[]){1, 1, 0, 0, 0, 2, 0, 0});
    const sg_tensor whole = sg_tensor_of(SG_I32, 1, (sg_dim[]){4}, (int32_t[]){3, -4, 0, 12});
    const struct {
        const char *what;
        sg_edit_op op;
        double strength;
        sg_tensor value;
        double low, high;
        want_fn *want;
    } ops[] = {
        {"set", SG_EDIT_SET, 1, v, -INF, INF, set_whole},
        {"set by three quarters", SG_EDIT_SET, 0.75, v, -INF, INF, set_half},
        {"set to a number", SG_EDIT_SET, 1, SCALAR(7), -INF, INF, to_seven},
        {"set to whole numbers", SG_EDIT_SET, 1, whole, -INF, INF, set_whole},
        {"patch", SG_EDIT_PATCH, 0.75, v, -INF, INF, set_half},
        {"add", SG_EDIT_ADD, -3, v, -INF, INF, add_minus_3},
        {"scale", SG_EDIT_SCALE, 0.5, NONE, -INF, INF, scale_half},
        {"scale by a value", SG_EDIT_SCALE, 0.5, v, -INF, INF, scale_by_value},
        {"ablate a quarter", SG_EDIT_ABLATE, 0.25, NONE, -INF, INF, ablate_some},
        {"ablate to a mean", SG_EDIT_ABLATE, 0.75, v, -INF, INF, set_half},
        {"project", SG_EDIT_PROJECT, 0.5, v, -INF, INF, without_v},
        {"project a plane", SG_EDIT_PROJECT, 2, plane, -INF, INF, without_plane},
        {"clamp along a direction", SG_EDIT_CLAMP, 2, v, 5, 30, clamped_along_v},
        {"clamp", SG_EDIT_CLAMP, 0.5, NONE, -3, 44, clamped},
        {"clamp from below", SG_EDIT_CLAMP, 1, NONE, 12, INF, clamped_below},
        {"clamp to nothing", SG_EDIT_CLAMP, 1, v, -INF, INF, unchanged},
        {"mask", SG_EDIT_MASK, 1, v, -INF, INF, masked},
        {"add by nothing", SG_EDIT_ADD, 0, v, -INF, INF, unchanged},
        {"project by nothing", SG_EDIT_PROJECT, 0, v, -INF, INF, unchanged},
    };
    for (size_t i = 0; i < SG_COUNT_OF(ops); i++) {
        sg_edit e = edit_of("site", ops[i].op, ops[i].strength, ops[i].value);
        e.low = ops[i].low;
        e.high = ops[i].high;
        check_edit(ops[i].what, &e, ops[i].want, NULL);
    }
}

/* The value is converted to the site's type, and s and v are numbers of that type. */
static void sites_of_f64_are_edited_in_f64(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_error err;
    sg_edits *edits;
    sg_session *s;
    sg_feed feeds[4];
    sg_tensor out;
    sg_name(g, NUMBERS(g, SG_F64, DIMS(1, 1, 1), 1), "site", "btd");
    const sg_edit e = edit_of("site", SG_EDIT_ADD, 1e-12, VALUE(1, 3));
    CHECK_OK(sg_edits_splice(&edits, g, 1, &e, &err), &err);
    CHECK(sg_edits_n_feeds(edits) == 3); /* value, strength, gate */
    const sg_edit_window w = {
        .n_rows = 1, .time = 1, .positions = (int32_t[]){0}, .real = (uint8_t[]){1}, .prompt = (sg_dim[]){1}};
    CHECK_OK(sg_edits_feeds(edits, &w, feeds, &err), &err);
    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(1), &err), &err);
    CHECK_OK(sg_session_run(s, 3, feeds, 1, (sg_value *[]){sg_graph_find(g, "site")}, &out, &err), &err);
    CHECK(out.dtype == SG_F64);
    CHECK_NEAR(sg_tensor_get(&out, 0), 1 + 3e-12, 1e-15, 0);
    sg_session_free(s);
    sg_edits_free(edits);
    sg_graph_free(g);
}

/* ---- where ---- */

static bool row_1(int r, int t, int d)
{
    (void)t, (void)d;
    return r == 1;
}

static bool outer_positions(int r, int t, int d)
{
    (void)r, (void)d;
    return t != 1;
}

static bool last_of_prompt(int r, int t, int d)
{
    (void)d;
    return r == 0 ? t == 1 : t == 2;
}

static bool last_two_of_row_0(int r, int t, int d)
{
    (void)d;
    return r == 0 && t <= 1; /* its prompt has two tokens */
}

static bool nowhere(int r, int t, int d)
{
    (void)r, (void)t, (void)d;
    return false;
}

static bool head_1(int r, int t, int d)
{
    (void)r, (void)t;
    return d >= 2;
}

static bool head_1_there(int r, int t, int d)
{
    return d >= 2 && r == 1 && t == 2;
}

/* Numbers that arithmetic would change: outside, each keeps its bits. */
static void outside_nothing_changes(void **state)
{
    (void)state;
    const struct {
        const char *what, *site;
        sg_spans heads, positions, rows, steps;
        where_fn *where;
    } places[] = {
        {"a row", "site", .rows = SPANS({1, 5}), .where = row_1},
        {"no such row", "site", .rows = SPANS({2, 9}), .where = nowhere},
        {"positions", "site", .positions = SPANS({0, 0}, {2, 2}), .where = outer_positions},
        {"from the end", "site", .positions = SPANS({-1, -1}), .where = last_of_prompt},
        {"from the end, in a row", "site", .positions = SPANS({-2, -1}), .rows = SPANS({0, 0}),
         .where = last_two_of_row_0},
        {"a head", "z", .heads = SPANS({1, 1}), .where = head_1},
        {"a head at a place", "z", SPANS({1, 1}), SPANS({2, 2}), SPANS({1, 1}), SPANS({3, 3}), head_1_there},
        {"another step", "site", .steps = SPANS({0, 2}, {4, 9}), .where = nowhere},
        {"this step", "site", .steps = SPANS({0, 0}, {3, 3}), .rows = SPANS({1, 1}), .where = row_1},
    };
    static const sg_edit_op each[] = {SG_EDIT_SET,     SG_EDIT_ADD,   SG_EDIT_SCALE,
                                      SG_EDIT_PROJECT, SG_EDIT_CLAMP, SG_EDIT_MASK};
    for (size_t i = 0; i < SG_COUNT_OF(places); i++)
        for (size_t k = 0; k < SG_COUNT_OF(each); k++) {
            desk d;
            sg_tensor out;
            open_desk(&d);
            d.prompt[0] = 2;
            d.w.step = 3;
            for (int j = 0; j < N; j++)
                if (!places[i].where(j / (T * D), j / D % T, j % D))
                    d.x_numbers[j] = (float)(j % 3 == 0 ? -0.0 : j % 3 == 1 ? INF : (double)NAN);
            const bool wide = strcmp(places[i].site, "site") == 0;
            sg_edit e = edit_of(places[i].site, each[k], 3, wide ? VALUE(4, 2, 3, 4, 5) : VALUE(2, 2, 3));
            e.high = -50;
            e.heads = places[i].heads;
            e.positions = places[i].positions;
            e.rows = places[i].rows;
            e.steps = places[i].steps;
            splice(&d, 1, &e);
            CHECK_OK(run(&d, places[i].site, &out), &d.err);
            for (int j = 0; j < N; j++) {
                const bool same = memcmp((float *)out.data + j, &d.x_numbers[j], sizeof(float)) == 0;
                const bool inside = places[i].where(j / (T * D), j / D % T, j % D);
                if (same == inside && (!inside || d.x_numbers[j] != 0)) {
                    print_error("%s, %s: number %d is %g, it was %g\n", places[i].what, sg_edit_op_name(each[k]), j,
                                sg_tensor_get(&out, j), (double)d.x_numbers[j]);
                    fail();
                }
            }
            close_desk(&d);
        }
}

static void padding_is_not_edited_and_not_counted(void **state)
{
    (void)state;
    desk d;
    double at[N];
    open_desk(&d);
    /* Row 0 is padded on the left by one: its tokens are positions 0 and 1. */
    memcpy(d.real, (uint8_t[]){0, 1, 1, 1, 1, 1}, sizeof d.real);
    memcpy(d.positions, (int32_t[]){0, 0, 1, 0, 1, 2}, sizeof d.positions);
    d.prompt[0] = 2;
    sg_edit e[2] = {edit_of("site", SG_EDIT_SET, 1, SCALAR(1000)), edit_of("after", SG_EDIT_SET, 1, SCALAR(2000))};
    e[0].positions = SPANS({0, 0});
    e[1].positions = SPANS({-1, -1});
    splice(&d, 2, e);
    fetch(&d, "site", N, at);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(at[i], i / D == 1 || i / D == 3 ? 1000 : d.x_numbers[i], 0, 0);
    fetch(&d, "after", N, at);
    for (int i = 0; i < N; i++)
        CHECK(((i / D) == 2 || i / D == 5) == (at[i] == 2000));
    close_desk(&d);
}

/* ---- shapes of values ---- */

static double by_feature(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)x;
    return 1 + d;
}

static double by_key(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)x;
    return 1 + d % 2;
}

static double by_position(int r, int t, int d, double x)
{
    (void)r, (void)x;
    return 1 + t * D + d;
}

static double by_row(int r, int t, int d, double x)
{
    (void)x;
    return 1 + r * T * D + t * D + d;
}

static double of_one(int r, int t, int d, double x)
{
    (void)r, (void)t, (void)d, (void)x;
    return 1;
}

static bool before_2(int r, int t, int d)
{
    (void)r, (void)d;
    return t < 2;
}

static void values_of_each_shape_are_spread(void **state)
{
    (void)state;
    float numbers[N];
    for (int i = 0; i < N; i++)
        numbers[i] = (float)(1 + i);
    static const struct {
        const char *site;
        int n_dims;
        sg_dim dims[4];
        want_fn *want;
        where_fn *where;
    } shapes[] = {
        {"site", 0, {0}, of_one, NULL},
        {"site", 1, {D}, by_feature, NULL},
        {"site", 2, {T, D}, by_position, NULL},
        {"site", 2, {2, D}, by_position, before_2}, /* positions that the value does not have stay */
        {"site", 3, {1, T, D}, by_position, NULL},
        {"site", 3, {B, T, D}, by_row, NULL},
        {"z", 0, {0}, of_one, NULL},
        {"z", 1, {2}, by_key, NULL},
        {"z", 2, {2, 2}, by_feature, NULL},
        {"z", 3, {T, 2, 2}, by_position, NULL},
        {"z", 4, {B, T, 2, 2}, by_row, NULL},
    };
    for (size_t i = 0; i < SG_COUNT_OF(shapes); i++) {
        char what[64];
        snprintf(what, sizeof what, "shape %d", (int)i);
        const sg_edit e =
            edit_of(shapes[i].site, SG_EDIT_SET, 1, sg_tensor_of(SG_F32, shapes[i].n_dims, shapes[i].dims, numbers));
        check_edit(what, &e, shapes[i].want, shapes[i].where);
    }
}

static void flat_sites_take_values_by_position(void **state)
{
    (void)state;
    static const struct {
        int n_dims;
        sg_dim dims[2];
        double want[B * T];
    } shapes[] = {{0, {0}, {1, 1, 1, 1, 1, 1}}, {1, {T}, {1, 2, 3, 1, 2, 3}}, {2, {B, T}, {1, 2, 3, 4, 5, 6}}};
    for (size_t i = 0; i < SG_COUNT_OF(shapes); i++) {
        desk d;
        double got[B * T];
        float numbers[B * T] = {1, 2, 3, 4, 5, 6};
        open_desk(&d);
        const sg_edit e =
            edit_of("flat", SG_EDIT_SET, 1, sg_tensor_of(SG_F32, shapes[i].n_dims, shapes[i].dims, numbers));
        splice(&d, 1, &e);
        fetch(&d, "flat", B * T, got);
        for (int k = 0; k < B * T; k++)
            CHECK_NEAR(got[k], shapes[i].want[k], 0, 0);
        close_desk(&d);
    }
}

/* With two positions in a cache, the run's are 2, 3 and 4. */
static void values_by_position_follow_the_past(void **state)
{
    (void)state;
    desk d;
    double got[N];
    float numbers[4 * D];
    uint8_t real[B * (PAST + T)];
    open_desk(&d);
    for (int i = 0; i < 4 * D; i++)
        numbers[i] = (float)(1000 + i);
    memset(real, 1, sizeof real);
    for (int i = 0; i < B * T; i++)
        d.positions[i] = 2 + i % T;
    d.w.past = PAST;
    d.w.real = real;
    d.w.step = 1;
    const sg_edit e = edit_of("site", SG_EDIT_SET, 1, sg_tensor_of(SG_F32, DIMS(4, D), numbers));
    splice(&d, 1, &e);
    fetch(&d, "site", N, got);
    for (int i = 0; i < N; i++) {
        const int t = i / D % T;
        CHECK_NEAR(got[i], t < 2 ? 1000 + (2 + t) * D + i % D : (double)d.x_numbers[i], 0, 0);
    }
    close_desk(&d);
}

static void a_value_of_other_rows_is_refused_in_the_run(void **state)
{
    (void)state;
    desk d;
    sg_tensor out;
    float numbers[3 * T * D] = {0};
    open_desk(&d);
    const sg_edit e = edit_of("site", SG_EDIT_SET, 1, sg_tensor_of(SG_F32, DIMS(3, T, D), numbers));
    splice(&d, 1, &e);
    CHECK_STATUS(run(&d, "site", &out), SG_ESHAPE);
    CHECK_TEXT(d.err.text, "edit 0 (set at site): its value has 3 rows, the run 2");
    close_desk(&d);
}

/* ---- several edits ---- */

static void edits_of_one_site_come_in_order(void **state)
{
    (void)state;
    static const struct {
        int order[3];
        double plus; /* the site is 6 x + plus */
    } lists[] = {{{0, 1, 2}, 18}, {{1, 0, 2}, 9}, {{2, 1, 0}, 3}, {{0, 2, 1}, 18}, {{2, 0, 1}, 6}};
    const sg_edit edits[3] = {edit_of("site", SG_EDIT_ADD, 1, SCALAR(3)), edit_of("site", SG_EDIT_SCALE, 2, NONE),
                              edit_of("site", SG_EDIT_SCALE, 3, NONE)};
    for (size_t i = 0; i < SG_COUNT_OF(lists); i++) {
        desk d;
        double got[N], before[N];
        open_desk(&d);
        sg_value *original = sg_graph_find(d.g, "site");
        sg_edit list[3];
        for (int k = 0; k < 3; k++)
            list[k] = edits[lists[i].order[k]];
        splice(&d, 3, list);
        CHECK(sg_graph_find(d.g, "site.unedited") == original);
        fetch(&d, "site.unedited", N, before);
        fetch(&d, "site", N, got);
        for (int k = 0; k < N; k++) {
            CHECK_NEAR(before[k], d.x_numbers[k], 0, 0);
            CHECK_NEAR(got[k], 6 * before[k] + lists[i].plus, NEAR, 1e-6);
        }
        fetch(&d, "after", N, before);
        CHECK_NEAR(before[5], 10 * got[5], NEAR, 1e-6);
        close_desk(&d);
    }
}

/* Each through its own gate and numbers; the second site sees what the first edit did. */
static void edits_of_several_sites_add_up(void **state)
{
    (void)state;
    desk d;
    double far[N];
    open_desk(&d);
    sg_edit e[3] = {edit_of("after", SG_EDIT_ADD, 1, SCALAR(7)), edit_of("site", SG_EDIT_SET, 1, SCALAR(5)),
                    edit_of("far", SG_EDIT_SCALE, -1, NONE)};
    e[0].positions = SPANS({1, 2});
    e[1].rows = SPANS({1, 1});
    e[2].positions = SPANS({0, 1});
    splice(&d, 3, e);
    CHECK(sg_edits_n_feeds(d.edits) == 3 + 3 + 2);
    fetch(&d, "far", N, far);
    for (int i = 0; i < N; i++) {
        const int r = i / (T * D), t = i / D % T;
        const double want = 10 * (r == 1 ? 5 : (double)d.x_numbers[i]) + (t >= 1 ? 7 : 0) + 1;
        CHECK_NEAR(far[i], t <= 1 ? -want : want, NEAR, 1e-6);
    }
    close_desk(&d);
}

/* ---- conditions ---- */

static void a_condition_looks_at_another_site(void **state)
{
    (void)state;
    /* beside = 2 x; its component 1 at (r, t) is 120 r + 40 t - 18: -18 22 62, 102 142 182. */
    const struct {
        sg_dim index;
        double low, high;
        bool want[B * T];
    } cases[] = {
        {1, -INF, INF, {1, 1, 1, 1, 1, 1}},   {1, 22, 142, {0, 0, 1, 1, 1, 0}}, /* above 22, up to 142 */
        {1, 21.9, 141.9, {0, 1, 1, 1, 0, 0}}, {1, 1000, INF, {0, 0, 0, 0, 0, 0}},
        {-1, 19, 99, {0, 0, 1, 1, 0, 0}}, /* along (3, -1, 0, 0) / 2: -21 19 59, 99 139 179 */
        {-1, 18.9, 98.9, {0, 1, 1, 0, 0, 0}}, {-1, 100, INF, {0, 0, 0, 0, 1, 1}},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        desk d;
        double got[N];
        const sg_tensor direction = VALUE(4, 1.5F, -0.5F, 0, 0);
        open_desk(&d);
        sg_edit e = edit_of("site", SG_EDIT_SET, 1, SCALAR(5000));
        e.when.site = "beside";
        e.when.index = cases[i].index;
        e.when.low = cases[i].low;
        e.when.high = cases[i].high;
        if (e.when.index < 0)
            e.when.direction = direction;
        splice(&d, 1, &e);
        fetch(&d, "site", N, got);
        for (int k = 0; k < N; k++)
            CHECK_NEAR(got[k], cases[i].want[k / D] ? 5000 : d.x_numbers[k], 0, 0);
        close_desk(&d);
    }
}

/* Behind the site, the site itself, and round by way of another edit's condition. */
static void circles_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *first, *first_when, *second, *second_when; /* first: NULL, one edit */
    } circles[] = {{NULL, NULL, "site", "after"},          {NULL, NULL, "site", "far"},
                   {NULL, NULL, "site", "site"},           {"site", "beside", "beside", "site"},
                   {"beside", "site", "site", "beside"},   {"after", "beside", "beside", "far"},
                   {"site", NULL, "site", "site.unedited"}};
    for (size_t i = 0; i < SG_COUNT_OF(circles); i++) {
        desk d;
        double got[N];
        open_desk(&d);
        sg_edit e[2] = {edit_of(circles[i].first, SG_EDIT_ADD, 1, SCALAR(1)),
                        edit_of(circles[i].second, SG_EDIT_ADD, 1, SCALAR(100))};
        e[0].when.site = circles[i].first_when;
        e[1].when.site = circles[i].second_when;
        e[0].when.index = e[1].when.index = 0;
        const bool one = circles[i].first == NULL, fine = i == 6;
        const sg_status status = sg_edits_splice(&d.edits, d.g, one ? 1 : 2, one ? e + 1 : e, &d.err);
        if (fine) { /* what was there before the first edit does not depend on it */
            CHECK_OK(status, &d.err);
            fetch(&d, "site", N, got);
            CHECK_NEAR(got[N - 1], given(1, 2, 3) + 101, NEAR, 0);
        } else {
            CHECK_STATUS(status, SG_EARG);
            CHECK_TEXT(d.err.text, one ? "edit 0 (" : "edit 1 (");
            CHECK_TEXT(d.err.text, "is computed from the edited site");
            CHECK(!d.edits);
        }
        close_desk(&d);
    }
}

/* ---- nothing changes ---- */

static void setting_what_is_there_changes_no_bit(void **state)
{
    (void)state;
    static const char *const sites[] = {"site", "after", "z", "flat", "attn_scores", "pattern"};
    for (size_t i = 0; i < SG_COUNT_OF(sites); i++)
        for (int k = 0; k < 3; k++) {
            desk plain, d;
            sg_tensor was, is, v;
            const sg_spans row_0 = SPANS({0, 0});
            open_desk(&plain);
            open_desk(&d);
            CHECK_OK(run(&plain, sites[i], &was), &plain.err);
            v = was;
            const bool pairs = i >= 4;
            if (!pairs && k == 2) /* the first row's by position; both rows' numbers only where row 0 is */
                v = sg_tensor_of(was.dtype, was.n_dims - 1, was.dims + 1, was.data);
            sg_edit e = k == 1 ? edit_of(sites[i], SG_EDIT_ADD, 1, SCALAR(0)) : edit_of(sites[i], SG_EDIT_SET, 1, v);
            if (k == 2)
                e.rows = row_0;
            splice(&d, 1, &e);
            CHECK_OK(run(&d, sites[i], &is), &d.err);
            CHECK(sg_tensor_bytes(&is) == sg_tensor_bytes(&was) &&
                  memcmp(is.data, was.data, sg_tensor_bytes(&is)) == 0);
            close_desk(&d);
            close_desk(&plain);
        }
}

/* ---- attention ---- */

/* Scores of a head: what may be seen is edited, what lies ahead stays -inf. */
static void scores_stay_causal(void **state)
{
    (void)state;
    for (int k = 0; k < 5; k++) {
        desk d;
        double got[S], pattern[S];
        float numbers[S];
        open_desk(&d);
        for (int i = 0; i < S; i++)
            numbers[i] = (float)(i % 4 == 0 ? 0 : 1);
        const sg_tensor full = sg_tensor_of(SG_F32, DIMS(B, 2, T, T), numbers);
        sg_edit e = edit_of("attn_scores",
                            (sg_edit_op[]){SG_EDIT_ADD, SG_EDIT_SCALE, SG_EDIT_SET, SG_EDIT_ABLATE, SG_EDIT_MASK}[k], 2,
                            k == 0 || k == 2 ? SCALAR(3)
                            : k == 4         ? full
                                             : NONE);
        e.heads = SPANS({1, 1});
        e.positions = SPANS({1, 2});
        splice(&d, 1, &e);
        fetch(&d, "attn_scores", S, got);
        fetch(&d, "pattern", S, pattern);
        for (int i = 0; i < S; i++) {
            const int h = i / (T * T) % 2, q = i / T % T, key = i % T;
            const double s = (double)d.score_numbers[i];
            const double want[5] = {s + 6, 2 * s, 6 - s, -s, i % 4 == 0 ? -INF : s};
            CHECK_NEAR(got[i], key > q ? -INF : h == 1 && q >= 1 ? want[k] : s, 1e-6, 1e-6);
            CHECK((pattern[i] == 0) == (got[i] == -INF));
        }
        close_desk(&d);
    }
}

/* Component 3 and components 0 to 1 of the last axis, of heads too; the rest keeps its bits, and other numbers need no plan. */
static void features_are_components_of_the_last_axis(void **state)
{
    desk d;
    double got[N];
    (void)state;
    open_desk(&d);
    sg_edit e = edit_of("site", SG_EDIT_SET, 1, SCALAR(7)), other;
    e.features = SPANS({3, 3}, {0, 1});
    splice(&d, 1, &e);
    fetch(&d, "site", N, got);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(got[i], i % D == 2 ? given(i / (T * D), i / D % T, 2) : 7, 0, 0);
    other = e;
    other.features = SPANS({2, 2});
    CHECK_OK(sg_edits_replace(d.edits, 1, &other, &d.err), &d.err);
    fetch(&d, "site", N, got);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(got[i], i % D == 2 ? 7 : given(i / (T * D), i / D % T, i % D), 0, 0);
    other.features = SPANS({2, 4});
    CHECK_STATUS(sg_edits_replace(d.edits, 1, &other, &d.err), SG_EARG);
    CHECK_TEXT(d.err.text, "features 2 to 4, there are 4 (from 0)");
    close_desk(&d);

    open_desk(&d);
    e = edit_of("z", SG_EDIT_SCALE, 0, NONE);
    e.features = SPANS({1, 1});
    e.heads = SPANS({0, 0});
    splice(&d, 1, &e);
    fetch(&d, "z", N, got);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(got[i], i % D == 1 ? 0 : given(i / (T * D), i / D % T, i % D), 0, 0);
    close_desk(&d);

    open_desk(&d);
    e = edit_of("flat", SG_EDIT_SCALE, 0, NONE);
    e.features = SPANS({0, 0});
    CHECK_STATUS(sg_edits_splice(&d.edits, d.g, 1, &e, &d.err), SG_EARG);
    CHECK_TEXT(d.err.text, "no axis of them");
    d.edits = NULL;
    close_desk(&d);
}

/* Key positions count tokens, not places: row 0 is padded by one on the left. */
static void keys_are_masked_by_position(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        desk d;
        double got[S], was[S];
        open_desk(&d);
        memcpy(d.real, (uint8_t[]){0, 1, 1, 1, 1, 1}, sizeof d.real);
        memcpy(d.positions, (int32_t[]){0, 0, 1, 0, 1, 2}, sizeof d.positions);
        d.prompt[0] = 2;
        fetch(&d, k ? "pattern" : "attn_scores", S, was);
        sg_session_free(d.s);
        d.s = NULL;
        sg_edit e = edit_of(k ? "pattern" : "attn_scores", SG_EDIT_MASK, 1, NONE);
        e.keys = SPANS({0, 0}, {7, 9});
        e.heads = SPANS({0, 0});
        splice(&d, 1, &e);
        CHECK(sg_edits_n_feeds(d.edits) == 4); /* strength, keys, gate, heads */
        fetch(&d, k ? "pattern" : "attn_scores", S, got);
        for (int i = 0; i < S; i++) {
            const int r = i / (2 * T * T), h = i / (T * T) % 2, q = i / T % T, key = i % T;
            const bool off = h == 0 && (r == 0 ? key == 1 && q > 0 : key == 0);
            CHECK_NEAR(got[i], off ? (k ? 0 : -INF) : was[i], 0, 0);
        }
        close_desk(&d);
    }
}

/* ---- mistakes ---- */

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    float numbers[N] = {1};
    const sg_tensor v = VALUE(4, 1, 2, 3, 4);
    const sg_edit good = edit_of("site", SG_EDIT_ADD, 1, v);
    const struct {
        const char *site;
        sg_edit_op op;
        sg_tensor value;
        sg_spans heads, keys;
        sg_status status;
        const char *words;
    } cases[] = {
        {NULL, SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "a site and an op are needed"},
        {"site", SG_N_EDIT_OPS, v, {0}, {0}, SG_EARG, "a site and an op are needed"},
        {"sites", SG_EDIT_ADD, v, {0}, {0}, SG_ENOTFOUND, "the nearest is site"},
        {"ids", SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "has no rows and positions of floats"},
        {"x", SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "has no rows and positions of floats"},
        {"turned", SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "has axes \"tbd\", rows and positions come first"},
        {"by_head", SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "has axes \"bhtd\", rows and positions come first"},
        {"wide", SG_EDIT_ADD, v, {0}, {0}, SG_EARG, "an extent that is not known before a run"},
        {"site", SG_EDIT_SET, NONE, {0}, {0}, SG_EARG, "a value is needed"},
        {"site", SG_EDIT_PATCH, NONE, {0}, {0}, SG_EARG, "a value is needed"},
        {"site", SG_EDIT_PROJECT, NONE, {0}, {0}, SG_EARG, "a value is needed"},
        {"attn_scores", SG_EDIT_MASK, NONE, {0}, {0}, SG_EARG, "a value is needed (or keys)"},
        {"site",
         SG_EDIT_ADD,
         sg_tensor_of(SG_F32, DIMS(5), numbers),
         {0},
         {0},
         SG_ESHAPE,
         "the value is [5], the site [batch,time,4]"},
        {"z",
         SG_EDIT_ADD,
         sg_tensor_of(SG_F32, DIMS(3, 2), numbers),
         {0},
         {0},
         SG_ESHAPE,
         "[3,2], the site [batch,time,2,2]"},
        {"site",
         SG_EDIT_ADD,
         sg_tensor_of(SG_F32, DIMS(1, 1, 3, 4), numbers),
         {0},
         {0},
         SG_ESHAPE,
         "the value is [1,1,3,4]"},
        {"site",
         SG_EDIT_PROJECT,
         sg_tensor_of(SG_F32, DIMS(2, 3, 4), numbers),
         {0},
         {0},
         SG_ESHAPE,
         "directions of 4 numbers"},
        {"site",
         SG_EDIT_CLAMP,
         sg_tensor_of(SG_F32, DIMS(2, 4), numbers),
         {0},
         {0},
         SG_ESHAPE,
         "directions of 4 numbers, [D]"},
        {"site", SG_EDIT_PROJECT, VALUE(4, 0, 0, 0, 0), {0}, {0}, SG_EARG, "direction 0 is zero"},
        {"site", SG_EDIT_CLAMP, VALUE(4, 1, NAN, 0, 0), {0}, {0}, SG_EARG, "direction 0 is zero, not finite"},
        {"site",
         SG_EDIT_PROJECT,
         sg_tensor_of(SG_F32, DIMS(2, 4), (float[]){1, 2, 3, 4, 2, 4, 6, 8}),
         {0},
         {0},
         SG_EARG,
         "direction 1 is zero, not finite, or depends"},
        {"z", SG_EDIT_SCALE, NONE, SPANS({0, 2}), {0}, SG_EARG, "heads 0 to 2, there are 2 (from 0)"},
        {"site", SG_EDIT_SCALE, NONE, SPANS({0, 0}), {0}, SG_EARG, "no head axis"},
        {"site", SG_EDIT_MASK, NONE, {0}, SPANS({0, 0}), SG_EARG, "keys are masked at"},
        {"attn_scores", SG_EDIT_ADD, v, {0}, {0}, SG_ESHAPE, "a number or has all of row, head, query and key"},
        {"attn_scores", SG_EDIT_PROJECT, v, {0}, {0}, SG_ESHAPE, "edit 1 (project at attn_scores)"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        desk d;
        open_desk(&d);
        const sg_dim batch = sg_extent(d.g, "batch"), time = sg_extent(d.g, "time");
        sg_name(d.g, sg_cast(d.g, d.x, SG_I32), "ids", "btd");
        sg_name(d.g, sg_transpose(d.g, d.x, (const int[]){1, 0, 2}), "turned", "tbd");
        sg_name(d.g, sg_broadcast(d.g, sg_expand(d.g, d.x, 1), DIMS(batch, 3, time, D)), "by_head", "bhtd");
        sg_name(d.g, sg_broadcast(d.g, sg_expand(d.g, d.x, 3), DIMS(batch, time, D, time)), "wide", "btdd");
        sg_edit e[2] = {good, edit_of(cases[i].site, cases[i].op, 1, cases[i].value)};
        e[1].heads = cases[i].heads;
        e[1].keys = cases[i].keys;
        const sg_status status = sg_edits_splice(&d.edits, d.g, 2, e, &d.err);
        if (status != cases[i].status || !strstr(d.err.text, cases[i].words) || !strstr(d.err.text, "edit 1 (")) {
            print_error("case %d: \"%s\", wanted \"%s\" of edit 1\n", (int)i, status ? d.err.text : "no error",
                        cases[i].words);
            fail();
        }
        CHECK(!d.edits);
        close_desk(&d);
    }
}

/* ---- memory that runs out ---- */

/* Five edits with every part that has numbers; k chooses which. */
static void many_numbers(sg_edit e[5], int k)
{
    static const float values[2][4] = {{1, -2, 3, -4}, {5, 0.5f, -1, 2}}, planes[2][4] = {{1, 2, 0, 1}, {0, 1, 1, -1}};
    static float rows[2][T * D], looks[2][4] = {{1, 0, 0, 0}, {0, 1, -1, 0}};
    static const sg_span spans[2][2] = {{{0, 0}}, {{1, 1}, {-1, -1}}}, heads[2] = {{0, 1}, {1, 1}};
    static const sg_span keys[2] = {{2, 2}, {1, 1}};

    for (int i = 0; i < T * D; i++)
        rows[k][i] = (float)(i * (k + 1) % 7);
    e[0] = edit_of("site", SG_EDIT_ADD, k ? 2 : 0.5, sg_tensor_of(SG_F32, DIMS(D), (float *)(uintptr_t)values[k]));
    e[0].positions = (sg_spans){1 + k, spans[k]};
    e[1] = edit_of("z", SG_EDIT_PROJECT, k ? 1 : 2, sg_tensor_of(SG_F32, DIMS(2, 2), (float *)(uintptr_t)planes[k]));
    e[1].heads = (sg_spans){1, &heads[k]};
    e[2] = edit_of("site", SG_EDIT_PATCH, 1, sg_tensor_of(SG_F32, DIMS(T, D), rows[k]));
    e[2].when = (sg_edit_when){"beside", -1, sg_tensor_of(SG_F32, DIMS(D), looks[k]), k ? -3 : -20, k ? 100 : 40};
    e[3] = edit_of("attn_scores", SG_EDIT_MASK, 1, NONE);
    e[3].keys = (sg_spans){1, &keys[k]};
    e[4] = edit_of("site", SG_EDIT_CLAMP, 1, sg_tensor_of(SG_F32, DIMS(D), (float *)(uintptr_t)values[!k]));
    e[4].low = k ? -2 : -1;
    e[4].high = k ? 3 : 1;
    e[4].rows = (sg_spans){1, &spans[k][0]};
}

static void other_numbers_need_no_new_plan(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        desk d, fresh;
        sg_edit a[5], b[5];
        double was[N + S], is[N + S], wanted[N + S];
        many_numbers(a, first);
        many_numbers(b, !first);
        open_desk(&d);
        splice(&d, 5, a);
        fetch(&d, "far", N, was);
        const sg_plan *plan = sg_session_plan(d.s);
        CHECK_OK(sg_edits_replace(d.edits, 5, b, &d.err), &d.err);
        fetch(&d, "far", N, is);
        CHECK(sg_session_plan(d.s) == plan);
        fetch(&d, "pattern", S, is + N);
        open_desk(&fresh);
        splice(&fresh, 5, b);
        fetch(&fresh, "far", N, wanted);
        fetch(&fresh, "pattern", S, wanted + N);
        CHECK(memcmp(is, wanted, sizeof is) == 0);
        CHECK(memcmp(is, was, N * sizeof *is) != 0);
        CHECK(sg_session_bytes(d.s) > sg_plan_bytes(plan));
        close_desk(&d);
        close_desk(&fresh);
    }
}

static void another_structure_takes_no_place(void **state)
{
    (void)state;
    float wide[2 * T * D] = {0};
    for (int k = 0; k < 7; k++) {
        desk d;
        sg_edit a[5], b[5];
        double was[N], is[N];
        many_numbers(a, 0);
        many_numbers(b, 1);
        open_desk(&d);
        splice(&d, 5, a);
        fetch(&d, "far", N, was);
        if (k == 0)
            b[0].op = SG_EDIT_SET;
        else if (k == 1)
            b[0].site = "beside";
        else if (k == 2)
            b[1].heads.n = 0;
        else if (k == 3)
            b[2].value = sg_tensor_of(SG_F32, DIMS(2 * T, D), wide);
        else if (k == 4)
            b[2].when.index = 1;
        else if (k == 5)
            b[4].value.data = NULL;
        char *one = sg_edits_structure(5, a), *other = sg_edits_structure(k == 6 ? 4 : 5, b);
        CHECK(strcmp(one, other) != 0);
        CHECK_STATUS(sg_edits_replace(d.edits, k == 6 ? 4 : 5, b, &d.err), SG_ESHAPE);
        fetch(&d, "far", N, is);
        CHECK(memcmp(is, was, sizeof is) == 0);
        free(one);
        free(other);
        close_desk(&d);
    }
    desk d;
    sg_edit e = edit_of("z", SG_EDIT_PROJECT, 1, VALUE(2, 1, 2));
    const sg_span beyond = {0, 2};
    e.heads = SPANS({0, 0});
    open_desk(&d);
    splice(&d, 1, &e);
    e.value = VALUE(2, 0, 0);
    CHECK_STATUS(sg_edits_replace(d.edits, 1, &e, &d.err), SG_EARG);
    CHECK_TEXT(d.err.text, "direction 0 is zero");
    e.value = VALUE(2, 1, 2);
    e.heads.spans = &beyond;
    CHECK_STATUS(sg_edits_replace(d.edits, 1, &e, &d.err), SG_EARG);
    CHECK_TEXT(d.err.text, "heads 0 to 2, there are 2");
    close_desk(&d);
}

static void running_out_of_memory_is_reported(void **state)
{
    (void)state;
    for (int kind = SG_FAULT_ONCE; kind <= SG_FAULT_ONWARD; kind++)
        for (long n = 0;; n++) {
            desk d;
            float numbers[T * D] = {0};
            sg_feed feeds[64];
            sg_edit e[4] = {edit_of("site", SG_EDIT_PATCH, 1, sg_tensor_of(SG_F32, DIMS(T, D), numbers)),
                            edit_of("z", SG_EDIT_PROJECT, 1, VALUE(2, 1, 2)),
                            edit_of("attn_scores", SG_EDIT_MASK, 1, NONE), edit_of("site", SG_EDIT_CLAMP, 1, NONE)};
            e[1].heads = e[2].keys = SPANS({0, 0});
            e[3].when.site = "beside";
            e[3].when.direction = VALUE(4, 1, 2, 3, 4);
            open_desk(&d);
            sg_faults_begin(n, (sg_fault_kind)kind);
            sg_status status = sg_edits_splice(&d.edits, d.g, 4, e, &d.err);
            if (status == SG_OK)
                status = sg_edits_feeds(d.edits, &d.w, feeds, &d.err);
            if (status == SG_OK)
                status = sg_edits_replace(d.edits, 4, e, &d.err);
            const bool fired = sg_faults_end();
            if (fired) {
                CHECK_STATUS(status, SG_ENOMEM);
                CHECK_TEXT(d.err.text, "out of memory");
            } else {
                CHECK_OK(status, &d.err);
            }
            close_desk(&d);
            if (!fired) {
                CHECK(n > 10);
                break;
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_names),
        cmocka_unit_test(readers_see_the_edit),
        cmocka_unit_test(no_edits_feed_nothing),
        cmocka_unit_test(each_op_does_what_its_formula_says),
        cmocka_unit_test(sites_of_f64_are_edited_in_f64),
        cmocka_unit_test(outside_nothing_changes),
        cmocka_unit_test(padding_is_not_edited_and_not_counted),
        cmocka_unit_test(values_of_each_shape_are_spread),
        cmocka_unit_test(flat_sites_take_values_by_position),
        cmocka_unit_test(values_by_position_follow_the_past),
        cmocka_unit_test(a_value_of_other_rows_is_refused_in_the_run),
        cmocka_unit_test(edits_of_one_site_come_in_order),
        cmocka_unit_test(edits_of_several_sites_add_up),
        cmocka_unit_test(a_condition_looks_at_another_site),
        cmocka_unit_test(circles_are_refused),
        cmocka_unit_test(setting_what_is_there_changes_no_bit),
        cmocka_unit_test(scores_stay_causal),
        cmocka_unit_test(features_are_components_of_the_last_axis),
        cmocka_unit_test(keys_are_masked_by_position),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(other_numbers_need_no_new_plan),
        cmocka_unit_test(another_structure_takes_no_place),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
