/* Steps that compute several values together: whoever looks at what, the numbers are those of the values alone. */
#include "sightglass/model.h"
#include "sightglass/rng.h"
#include "sightglass/train.h"
#include "values.h"

#define MOST 2600 /* values of a graph here */

static sg_exec_opts with(bool fuse, int n_threads)
{
    sg_exec_opts opts = sg_exec_defaults();

    opts.fuse = fuse;
    opts.n_threads = n_threads;
    return opts;
}

/* |a - b| against what the whole value is like: what cancels in a number may not have cancelled before. */
static void agree(const sg_tensor *a, const sg_tensor *b, double tolerance, const char *name)
{
    double size = 0;

    CHECK(a->n_dims == b->n_dims && sg_tensor_count(a) == sg_tensor_count(b));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++)
        if (fabs(sg_tensor_get(a, i)) < (double)INFINITY)
            size = fmax(size, fabs(sg_tensor_get(a, i)));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++) {
        const double x = sg_tensor_get(a, i), y = sg_tensor_get(b, i);
        if (!(fabs(x - y) <= tolerance * (size + 1e-3)) && !(x == y) && !(x != x && y != y)) {
            print_error("%s, number %lld: %.9g alone, %.9g fused (largest %.3g)\n", name, (long long)i, x, y, size);
            fail();
        }
    }
}

static int fused_steps(const sg_plan *plan)
{
    int n = 0;

    for (int i = 0; i < sg_plan_n_steps(plan); i++)
        n += strcmp(sg_plan_step_backend(plan, i), "fused") == 0;
    return n;
}

/* Runs random sets of `values` both ways. Returns how many fused steps there were in all. */
static int compare_sets(const sg_graph *g, sg_state *state, int n_feeds, const sg_feed *feeds, int n,
                        sg_value *const *values, int rounds, uint64_t seed, double tolerance)
{
    sg_rng rng = sg_rng_new(seed, 0);
    sg_error err;
    int fused = 0;

    for (int r = 0; r < rounds; r++) {
        sg_session *alone, *together;
        sg_value *set[8];
        sg_tensor a[8], b[8];
        const int count = 1 + (int)(sg_rng_word(&rng) % 8);
        for (int i = 0; i < count; i++)
            set[i] = values[sg_rng_word(&rng) % (unsigned)n];
        CHECK_OK(sg_session_new(&alone, g, state, with(false, 1), &err), &err);
        CHECK_OK(sg_session_new(&together, g, state, with(true, r % 2 ? 1 : 3), &err), &err);
        CHECK_OK(sg_session_run(alone, n_feeds, feeds, count, set, a, &err), &err);
        CHECK_OK(sg_session_run(together, n_feeds, feeds, count, set, b, &err), &err);
        fused += fused_steps(sg_session_plan(together));
        CHECK(fused_steps(sg_session_plan(alone)) == 0);
        for (int i = 0; i < count; i++)
            agree(&a[i], &b[i], tolerance, sg_value_name(set[i]));
        sg_session_free(alone);
        sg_session_free(together);
    }
    return fused;
}

/* ---- random graphs of row-wise operations ---- */

enum { R1 = 6, R2 = 11, COLUMNS = 96, PER_GRAPH = 60 };

typedef struct pool {
    bool exact; /* the numbers are to be the same bytes */
    int n_whole, n_row, n_column;
    sg_value *whole[PER_GRAPH * 2], *per_row[PER_GRAPH * 2], *per_column[PER_GRAPH];
} pool;

static sg_value *pick(sg_rng *rng, sg_value *const *from, int n)
{
    return from[n - 1 - (int)(sg_rng_word(rng) % (unsigned)(n < 6 ? n : 6))];
}

/* Keeps numbers of either sign within reach. */
static sg_value *tame(sg_graph *g, sg_value *x)
{
    return sg_tanh(g, x);
}

static void grow(sg_graph *g, sg_rng *rng, pool *p)
{
    sg_value *x = pick(rng, p->whole, p->n_whole), *y = pick(rng, p->whole, p->n_whole);
    sg_value *r = pick(rng, p->per_row, p->n_row), *c = pick(rng, p->per_column, p->n_column), *z = NULL;

    const uint32_t what = sg_rng_word(rng) % 18;
    /* Sums over all rows, and of parts, are rounded in another order, which a comparison would blow up: one or the
     * other. */
    if (p->exact ? what == 12 || what == 15 || what == 16 : what == 7 || what == 17)
        return;
    switch (what) {
    case 0:
        z = sg_add(g, x, y);
        break;
    case 1:
        z = sg_mul(g, x, tame(g, y));
        break;
    case 2:
        z = sg_sub(g, x, r);
        break;
    case 3:
        z = sg_mul(g, c, x);
        break;
    case 4:
        z = sg_gelu_tanh(g, x);
        break;
    case 5:
        z = sg_softmax(g, x, -1);
        break;
    case 6:
        z = sg_layer_norm(g, x, NULL, NULL, 1e-5);
        break;
    case 7:
        z = sg_where(g, sg_greater(g, x, y), x, sg_scalar_like(g, x, 0.5));
        break;
    case 8:
        p->per_row[p->n_row++] = sg_mean(g, x, -1, true);
        return;
    case 9:
        p->per_row[p->n_row++] = sg_max(g, x, -1, true);
        return;
    case 10:
        p->per_row[p->n_row++] = sg_tanh(g, sg_add(g, r, sg_sum(g, tame(g, x), -1, true)));
        return;
    case 11: /* per row, without its axis, and back */
        p->per_row[p->n_row++] = sg_expand(g, sg_mean(g, x, 2, false), 2);
        return;
    case 12: /* over all rows */
        p->per_column[p->n_column++] = sg_mul_scalar(g, sg_sum_axes(g, x, 3, false), 0.02);
        return;
    case 13: /* the same rows in other axes */
        z = sg_reshape(g, sg_tanh(g, sg_reshape(g, x, 2, (sg_dim[]){R1 * R2, COLUMNS})), 3,
                       (sg_dim[]){R1, R2, COLUMNS});
        break;
    case 14:
        z = sg_broadcast(g, r, 3, (sg_dim[]){R1, R2, COLUMNS});
        break;
    case 15: /* a row of the outer axis for all of the inner */
        z = sg_add(g, x, sg_slice(g, y, 1, 3, 4, 1));
        break;
    case 16:
        z = sg_matmul(g, x, sg_slice(g, sg_reshape(g, y, 2, (sg_dim[]){R1 * R2, COLUMNS}), 0, 0, 1, 1), false, true);
        z = sg_mul(g, tame(g, z), x);
        break;
    default:
        z = sg_cast(g, sg_less(g, x, y), SG_F32);
        break;
    }
    p->whole[p->n_whole++] = z;
}

static void random_graphs_agree(void **state)
{
    (void)state;
    float numbers[R1 * R2 * COLUMNS], columns[COLUMNS];
    int fused = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        sg_rng rng = sg_rng_new(seed, 1);
        sg_graph *g = sg_graph_new();
        sg_error err;
        pool p = {.exact = seed % 2 == 0};
        for (int i = 0; i < R1 * R2 * COLUMNS; i++)
            numbers[i] = (float)sg_rng_normal(&rng);
        for (int i = 0; i < COLUMNS; i++)
            columns[i] = (float)sg_rng_normal(&rng);
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(R1, R2, COLUMNS)), *c = sg_input(g, "c", SG_F32, DIMS(COLUMNS));
        p.whole[p.n_whole++] = x;
        p.per_column[p.n_column++] = c;
        p.per_row[p.n_row++] = sg_mean(g, x, -1, true);
        for (int i = 0; i < PER_GRAPH; i++)
            grow(g, &rng, &p);
        CHECK_OK(sg_graph_status(g, &err), &err);
        const sg_feed feeds[2] = {{x, sg_tensor_of(SG_F32, DIMS(R1, R2, COLUMNS), numbers)},
                                  {c, sg_tensor_of(SG_F32, DIMS(COLUMNS), columns)}};
        sg_value *all[PER_GRAPH * 5];
        int n = 0;
        for (int i = 0; i < p.n_whole; i++)
            all[n++] = p.whole[i];
        for (int i = 0; i < p.n_row; i++)
            all[n++] = p.per_row[i];
        for (int i = 1; i < p.n_column; i++)
            all[n++] = p.per_column[i];
        fused += compare_sets(g, NULL, 2, feeds, n, all, 4, seed, p.exact ? 0 : 2e-5);
        sg_graph_free(g);
    }
    CHECK(fused > 300);
}

/* ---- parts of values ---- */

/* A slice of v along each of some axes, small enough to be worth narrowing. */
static sg_value *some_part(sg_graph *g, sg_rng *rng, sg_value *v, const sg_dim *extents)
{
    for (int a = 0; a < sg_value_n_dims(v); a++) {
        if (sg_rng_below(rng, 2) || extents[a] < 2)
            continue;
        const sg_dim n = 1 + (sg_dim)sg_rng_below(rng, (uint32_t)extents[a] / 2);
        const sg_dim start = (sg_dim)sg_rng_below(rng, (uint32_t)(extents[a] - n + 1));
        v = sg_slice(g, v, a, start, start + n, 1);
    }
    return v;
}

/* ---- a transformer, forward and backward ---- */

static void a_transformer_agrees(void **state)
{
    (void)state;
    enum { ROWS = 3, LONG = 21 };
    char path[1024];
    int32_t tokens[ROWS * LONG], positions[ROWS * LONG];
    uint8_t mask[ROWS * LONG];
    sg_model *m = NULL;
    sg_graph *g = NULL;
    sg_state *s = NULL;
    sg_error err;

    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    for (int i = 0; i < ROWS * LONG; i++) {
        tokens[i] = i % LONG ? (i * 131 + 7) % 512 : 1;
        positions[i] = i % LONG;
        mask[i] = i / LONG != 1 || i % LONG < 13; /* one row is shorter */
    }
    const sg_feed feeds[3] = {{sg_graph_find(g, "tokens"), sg_tensor_of(SG_I32, DIMS(ROWS, LONG), tokens)},
                              {sg_graph_find(g, "positions"), sg_tensor_of(SG_I32, DIMS(ROWS, LONG), positions)},
                              {sg_graph_find(g, "key_mask"), sg_tensor_of(SG_BOOL, DIMS(ROWS, LONG), mask)}};
    sg_value *values[300], *xs[300], *grads[300];
    int n = 0, n_x = 0;
    for (int i = 0; i < sg_graph_n_names(g) && n < 140; i++) {
        sg_value *v = sg_graph_named(g, i);
        const bool weight = strstr(sg_value_name(v), "weight") != NULL;
        if (sg_value_dtype(v) != SG_F32)
            continue;
        if (!weight)
            values[n++] = v;
        if (weight || strstr(sg_value_name(v), "hook_resid") || strstr(sg_value_name(v), "hook_q") ||
            strstr(sg_value_name(v), "hook_pattern"))
            xs[n_x++] = v;
    }
    sg_value *loss = sg_graph_find(g, "loss");
    sg_gradients(g, loss, NULL, n_x, xs, grads);
    CHECK_OK(sg_graph_status(g, &err), &err);
    for (int i = 0; i < n_x; i++)
        values[n++] = grads[i];
    values[n++] = sg_grad(g, sg_sum_all(g, sg_square(g, grads[0])), sg_graph_find(g, "blocks.2.hook_resid_pre"));
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_model_bind(m, g, s, &err), &err);
    CHECK_OK(sg_state_init(s, 0, &err), &err);
    CHECK(compare_sets(g, s, 3, feeds, n, values, 60, 5, 5e-5) > 60);
    /* Parts of everything that has rows and positions. */
    sg_rng rng = sg_rng_new(11, 0);
    sg_value *parts[300];
    int n_parts = 0;
    for (int i = 0; i < n - n_x - 1; i++) {
        sg_dim extents[8];
        const char *axes = sg_value_axes(values[i]);
        for (int a = 0; a < sg_value_n_dims(values[i]); a++)
            extents[a] = sg_value_dim(values[i], a) >= 0 ? sg_value_dim(values[i], a) : axes[a] == 'b' ? ROWS : LONG;
        if (strcmp(sg_value_name(values[i]), "nll") != 0)
            parts[n_parts++] = some_part(g, &rng, values[i], extents);
    }
    CHECK_OK(sg_graph_status(g, &err), &err);
    (void)compare_sets(g, s, 3, feeds, n_parts, parts, 150, 6, 5e-5);
    /* The last, which has nearly everything in it. */
    CHECK(compare_sets(g, s, 3, feeds, 1, values + n - 1, 2, 5, 5e-4) > 2);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
}

/* ---- attention by itself, in blocks that are whole, ragged, hidden in part and hidden ---- */

static void attention_agrees(void **state)
{
    (void)state;
    enum { HEADS = 3, MOST_LONG = 200, MOST_WIDE = 40 };
    static const struct {
        sg_dim queries, keys, width;
        int mask; /* 0 none, 1 causal, 2 random, 3 some rows see nothing, 4 a window of 70 */
        double cap;
    } cases[] = {{200, 200, 40, 1, 0}, {130, 200, 16, 2, 0}, {64, 64, 8, 0, 0},   {5, 190, 33, 3, 0},
                 {150, 70, 17, 2, 0},  {59, 59, 16, 1, 0},   {1, 1, 1, 0, 0},     {200, 200, 16, 4, 0},
                 {3, 200, 8, 4, 0},    {130, 150, 17, 1, 2}, {9, 70, 8, 0, 0.7},  {200, 200, 16, 4, 3}};
    static float numbers[4][2 * HEADS * MOST_LONG * MOST_WIDE];
    static uint8_t mask[2 * MOST_LONG * MOST_LONG];
    sg_rng rng = sg_rng_new(21, 0);

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const sg_dim t = cases[c].queries, s = cases[c].keys, d = cases[c].width;
        sg_graph *g = sg_graph_new();
        sg_error err;
        for (int i = 0; i < 4; i++)
            for (size_t k = 0; k < sizeof numbers[0] / sizeof numbers[0][0]; k++)
                numbers[i][k] = (float)sg_rng_normal(&rng);
        for (sg_dim b = 0; b < 2; b++)
            for (sg_dim i = 0; i < t; i++)
                for (sg_dim k = 0; k < s; k++)
                    mask[(b * t + i) * s + k] = cases[c].mask == 1   ? k <= i + s - t
                                                : cases[c].mask == 4 ? k <= i + s - t && k > i + s - t - 70
                                                : cases[c].mask == 2 ? sg_rng_below(&rng, 3) > 0 && (k < 64 || i > 20)
                                                                     : i % 3 != 1 && k > 5;
        /* As models lay them out: heads beside each other, turned by views. */
        sg_value *q = sg_input(g, "q", SG_F32, DIMS(2, t, HEADS, d)),
                 *k = sg_input(g, "k", SG_F32, DIMS(2, s, HEADS, d));
        sg_value *v = sg_input(g, "v", SG_F32, DIMS(2, s, HEADS, d)),
                 *w = sg_input(g, "w", SG_F32, DIMS(2, HEADS, t, d));
        sg_value *m = sg_input(g, "m", SG_BOOL, DIMS(2, 1, t, s));
        sg_value *tq = sg_swap_axes(g, q, 1, 2), *tk = sg_swap_axes(g, k, 1, 2), *tv = sg_swap_axes(g, v, 1, 2);
        const double cap = cases[c].cap;
        sg_value *scores = sg_mul_scalar(g, sg_matmul(g, tq, tk, false, true), cap > 0 ? 0.3 / cap : 0.3);
        if (cap > 0)
            scores = sg_mul_scalar(g, sg_tanh(g, scores), cap);
        if (cases[c].mask)
            scores = sg_where(g, m, scores, sg_scalar_like(g, scores, -(double)INFINITY));
        sg_value *pattern = sg_softmax(g, scores, -1), *z = sg_matmul(g, pattern, tv, false, false);
        sg_value *loss = sg_sum_all(g, sg_mul(g, z, w)), *values[6] = {z, loss, NULL, NULL, NULL, pattern};
        sg_gradients(g, loss, NULL, 3, (sg_value *[]){q, k, v}, values + 2);
        CHECK_OK(sg_graph_status(g, &err), &err);
        const sg_feed feeds[5] = {{q, sg_tensor_of(SG_F32, DIMS(2, t, HEADS, d), numbers[0])},
                                  {k, sg_tensor_of(SG_F32, DIMS(2, s, HEADS, d), numbers[1])},
                                  {v, sg_tensor_of(SG_F32, DIMS(2, s, HEADS, d), numbers[2])},
                                  {w, sg_tensor_of(SG_F32, DIMS(2, HEADS, t, d), numbers[3])},
                                  {m, sg_tensor_of(SG_BOOL, DIMS(2, 1, t, s), mask)}};
        CHECK(compare_sets(g, NULL, 4 + (cases[c].mask > 0), feeds, 1, values, 2, c, 2e-5) == 2);
        (void)compare_sets(g, NULL, 4 + (cases[c].mask > 0), feeds, 6, values, 12, c, 5e-5);
        /* All gradients at once are one step, and nobody stores the pattern. */
        sg_session *session;
        sg_tensor out[4];
        CHECK_OK(sg_session_new(&session, g, NULL, with(true, 2), &err), &err);
        CHECK_OK(sg_session_run(session, 4 + (cases[c].mask > 0), feeds, 4, values + 1, out, &err), &err);
        const sg_plan *plan = sg_session_plan(session);
        int attention = 0, gradient = 0;
        for (int i = 0; i < sg_plan_n_steps(plan); i++) {
            attention += strcmp(sg_plan_step_op(plan, i), "attention") == 0;
            gradient += strcmp(sg_plan_step_op(plan, i), "attention gradient") == 0;
        }
        CHECK(cap > 0 ? attention == 0 && gradient == 0 : attention == 1 && gradient == 1); /* a cap's gradient reads the scores */
        sg_session_free(session);
        sg_graph_free(g);
    }
}

/* ---- attention between linear maps: what only turns or joins its results is written in place ---- */

static void attention_writes_where_it_is_read(void **state)
{
    (void)state;
    enum { ROWS = 2, LONG = 70, HEADS = 3, MOST_WIDE = 40, WIDE = 24 };
    static float numbers[3][ROWS * LONG * HEADS * MOST_WIDE * 4];
    sg_rng rng = sg_rng_new(22, 0);

    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < sizeof numbers[0] / sizeof numbers[0][0]; k++)
            numbers[i][k] = 0.3f * (float)sg_rng_normal(&rng);
    for (int width = 1; width <= MOST_WIDE; width += 13) {
        const sg_dim d = width, all = HEADS * d;
        sg_graph *g = sg_graph_new();
        sg_error err;
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(ROWS, LONG, WIDE)),
                 *w = sg_input(g, "w", SG_F32, DIMS(3 * all, WIDE)), *o = sg_input(g, "o", SG_F32, DIMS(WIDE, all)),
                 *part[3], *values[8];
        sg_value *qkv = sg_matmul(g, x, w, false, true);
        for (int i = 0; i < 3; i++)
            part[i] = sg_swap_axes(
                g, sg_reshape(g, sg_slice(g, qkv, 2, i * all, (i + 1) * all, 1), DIMS(ROWS, LONG, HEADS, d)), 1, 2);
        sg_value *at = sg_iota(g, SG_I32, LONG);
        sg_value *m = sg_less_equal(g, sg_reshape(g, at, DIMS(1, LONG)), sg_reshape(g, at, DIMS(LONG, 1)));
        sg_value *scores = sg_matmul(g, part[0], part[1], false, true);
        scores = sg_where(g, m, scores, sg_scalar_like(g, scores, -(double)INFINITY));
        sg_value *z = sg_matmul(g, sg_softmax(g, scores, -1), part[2], false, false);
        sg_value *flat = sg_reshape(g, sg_swap_axes(g, z, 1, 2), DIMS(ROWS, LONG, all));
        sg_value *y = sg_matmul(g, flat, o, false, true), *loss = sg_sum_all(g, sg_square(g, y));
        sg_gradients(g, loss, NULL, 3, (sg_value *[]){x, w, o}, values + 3);
        values[0] = y;
        values[1] = z;
        values[2] = flat;
        values[6] = sg_grad(g, loss, qkv);
        values[7] = sg_grad(g, loss, part[1]);
        CHECK_OK(sg_graph_status(g, &err), &err);
        const sg_feed feeds[3] = {{x, sg_tensor_of(SG_F32, DIMS(ROWS, LONG, WIDE), numbers[0])},
                                  {w, sg_tensor_of(SG_F32, DIMS(3 * all, WIDE), numbers[1])},
                                  {o, sg_tensor_of(SG_F32, DIMS(WIDE, all), numbers[2])}};
        (void)compare_sets(g, NULL, 3, feeds, 8, values, 40, (uint64_t)width, 5e-5);
        /* The weights' gradients alone: no step is left that only moves numbers. */
        sg_session *session;
        sg_tensor out[2];
        int moves = 0;
        CHECK_OK(sg_session_new(&session, g, NULL, with(true, 2), &err), &err);
        CHECK_OK(sg_session_run(session, 3, feeds, 2, values + 4, out, &err), &err);
        const sg_plan *plan = sg_session_plan(session);
        for (int i = 0; i < sg_plan_n_steps(plan); i++)
            moves +=
                strcmp(sg_plan_step_op(plan, i), "reshape") == 0 || strcmp(sg_plan_step_op(plan, i), "concat") == 0;
        CHECK(width == 1 || moves == 0); /* of width 1 the turned heads are views, which are joined as they are */
        sg_session_free(session);
        sg_graph_free(g);
    }
}

/* The same bytes twice, and on any plan of the same threads. */
static void the_same_threads_give_the_same_bytes(void **state)
{
    (void)state;
    enum { N = 500, C = 33 };
    static float x[N * C];
    sg_graph *g = sg_graph_new();
    sg_error err;
    sg_value *v = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "batch"), C));
    sg_value *y = sg_tanh(g, sg_add_scalar(g, sg_square(g, v), 0.25));
    sg_value *sum = sg_sum_axes(g, y, 1, false), *outs[2] = {y, sum};
    float first[C];

    for (int i = 0; i < N * C; i++)
        x[i] = (float)((i * 7919) % 1000) / 500 - 1;
    for (int turn = 0; turn < 6; turn++) {
        sg_session *s;
        sg_tensor out[2];
        CHECK_OK(sg_session_new(&s, g, NULL, with(true, 3), &err), &err);
        CHECK_OK(sg_session_run(s, 1, &(sg_feed){v, sg_tensor_of(SG_F32, DIMS(N, C), x)}, 2, outs, out, &err), &err);
        CHECK(fused_steps(sg_session_plan(s)) == 1);
        if (turn == 0)
            memcpy(first, out[1].data, sizeof first);
        assert_memory_equal(first, out[1].data, sizeof first);
        sg_session_free(s);
    }
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_graphs_agree),
        cmocka_unit_test(a_transformer_agrees),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(attention_writes_where_it_is_read),
        cmocka_unit_test(the_same_threads_give_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
