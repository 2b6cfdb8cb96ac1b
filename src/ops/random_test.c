/* Random values: each is the number that rng.h gives for its place, and they have the moments they should. */
#include "sightglass/rng.h"
#include "values.h"

enum { UNIFORM, NORMAL, BERNOULLI, N_KINDS };

#define P 0.3

static sg_value *draw(sg_graph *g, int kind, sg_dtype type, int n_dims, const sg_dim *dims, sg_random from, double step)
{
    sg_value *at = sg_scalar(g, SG_I32, step);

    return kind == UNIFORM  ? sg_random_uniform(g, type, n_dims, dims, from, at)
           : kind == NORMAL ? sg_random_normal(g, type, n_dims, dims, from, at)
                            : sg_random_bernoulli(g, P, n_dims, dims, from, at);
}

/* Element e of a stream, from the definition. */
static double number_at(int kind, sg_dtype type, uint64_t seed, uint32_t stream, uint64_t step, uint32_t e)
{
    uint32_t words[4];
    double pair[2];

    sg_philox_block(words, seed, stream, step, e / 4);
    if (kind == NORMAL) {
        sg_words_normal(words[e % 4 / 2 * 2], words[e % 4 / 2 * 2 + 1], &pair[0], &pair[1]);
        return type == SG_F32 ? (double)(float)pair[e % 2] : pair[e % 2];
    }
    const double u = (double)sg_word_uniform(words[e % 4]);
    return kind == UNIFORM ? u : u < P;
}

static void numbers_are_those_of_their_place(void **state)
{
    static const sg_dim dims[] = {5, 7};
    const sg_random one = {0xfedcba9876543210u, 0xfffffffeu, false}, rows = {1, 0xfffffffeu, true};

    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int t = 0; t < 2; t++) {
            const sg_dtype type = t ? SG_F64 : SG_F32;
            double flat[35], by_row[35];
            for (uint32_t e = 0; e < 35; e++) {
                flat[e] = number_at(kind, type, one.seed, one.stream, 3, e);
                by_row[e] = number_at(kind, type, rows.seed, rows.stream + e / 7, 4, e % 7); /* streams wrap at 2^32 */
            }
            sg_graph *g = sg_graph_new();
            check_values(g, draw(g, kind, type, 2, dims, one, 3), 0, 35, flat, "flat", __FILE__, __LINE__);
            check_values(g, draw(g, kind, type, 2, dims, rows, 4), 0, 35, by_row, "by row", __FILE__, __LINE__);
            check_values(g, draw(g, kind, type, NO_DIMS, one, 3), 0, 1, flat, "scalar", __FILE__, __LINE__);
            check_values(g, draw(g, kind, type, DIMS(0, 3), rows, 3), 0, 0, NULL, "none", __FILE__, __LINE__);
            sg_graph_free(g);
        }
}

enum { N = 40000 }; /* cut among threads */

static const double *numbers_of_draw(int kind, sg_random from, double step, int n_threads)
{
    static double x[2][N];
    static int turn;
    sg_graph *g = sg_graph_new();
    sg_value *y = sg_cast(g, draw(g, kind, SG_F32, DIMS(N / 100, 100), from, step), SG_F64);
    sg_session *s;
    sg_tensor t;
    sg_error err;

    turn = !turn;
    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(n_threads), &err), &err);
    CHECK_OK(sg_session_run(s, 0, NULL, 1, &y, &t, &err), &err);
    memcpy(x[turn], t.data, sizeof x[turn]);
    sg_session_free(s);
    sg_graph_free(g);
    return x[turn];
}

static void threads_change_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++)
        for (int by_row = 0; by_row < 2; by_row++) {
            const sg_random from = {5, 6, by_row};
            const double *a = numbers_of_draw(kind, from, 1, 1), *b = numbers_of_draw(kind, from, 1, 4);
            CHECK(memcmp(a, b, N * sizeof *a) == 0);
        }
}

static void moments(void **state)
{
    static const double mean[] = {0.5, 0, P}, variance[] = {1.0 / 12, 1, P * (1 - P)};

    (void)state;
    for (int kind = 0; kind < N_KINDS; kind++) {
        const double *x = numbers_of_draw(kind, (sg_random){7, 8, true}, 9, 2);
        double m = 0, v = 0, neighbours = 0;
        for (int i = 0; i < N; i++)
            m += x[i] / N;
        for (int i = 0; i < N; i++)
            v += (x[i] - m) * (x[i] - m) / N;
        for (int i = 1; i < N; i++)
            neighbours += (x[i] - m) * (x[i - 1] - m) / N;
        /* Five standard errors; a square's deviation is at most sqrt(2) times the variance here. */
        CHECK_NEAR(m, mean[kind], 5 * sqrt(variance[kind] / N), 0);
        CHECK_NEAR(v, variance[kind], 5 * variance[kind] * sqrt(2.0 / N), 0);
        CHECK_NEAR(neighbours, 0, 5 * variance[kind] / sqrt((double)N), 0);
    }
}

static int n_equal(const double *a, const double *b)
{
    int n = 0;

    for (int i = 0; i < N; i++)
        n += a[i] == b[i];
    return n;
}

static void seeds_streams_and_steps_differ(void **state)
{
    (void)state;
    const sg_random from = {7, 8, false};
    const struct {
        sg_random from;
        double step;
    } others[] = {{{7, 8, false}, 2},
                  {{7, 9, false}, 1},
                  {{6, 8, false}, 1},
                  {{7 + (1ull << 32), 8, false}, 1},
                  {{7, 8, false}, -1}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        for (int kind = UNIFORM; kind <= NORMAL; kind++) {
            const double *a = numbers_of_draw(kind, from, 1, 1),
                         *b = numbers_of_draw(kind, others[i].from, others[i].step, 1);
            CHECK(n_equal(a, b) < 10); /* by chance N / 2^24 */
        }
}

static void certain_and_impossible(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *step = sg_scalar(g, SG_I32, 0);
    const sg_random from = {1, 2, false};
    CHECK_VALUES(g, sg_random_bernoulli(g, 0, DIMS(3), from, step), 0, 0, 0, 0);
    CHECK_VALUES(g, sg_random_bernoulli(g, 1, DIMS(3), from, step), 0, 1, 1, 1);
    sg_random_bernoulli(g, 1.5, DIMS(3), from, step);
    CHECK_BUILD_FAILS(g, SG_EARG, "random_bernoulli: probability 1.5");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_random_normal(g, SG_F32, DIMS(3), from, sg_scalar(g, SG_F32, 0));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "random_normal: the step is not an i32 scalar (given f32 [])");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_random_uniform(g, SG_I32, DIMS(3), from, sg_scalar(g, SG_I32, 0));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "random_uniform: wanted f32 or f64");
    sg_graph_free(g);
}

/* What is kept is scaled, so that the mean stays; another step drops others; what is dropped is 0 whatever it was. */
static void dropout_keeps_the_mean(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *step = sg_scalar(g, SG_I32, 4), *x = sg_ones_like(g, sg_iota(g, SG_F32, 4096));
    const sg_random from = {7, 0, false};
    sg_value *y = sg_dropout(g, x, 0.2, from, step), *mask = sg_random_bernoulli(g, 0.2, DIMS(4096), from, step);

    /* sqrt(.2 .8 / 4096) / .8 = .0078; four of those */
    CHECK_VALUES(g, sg_sub(g, sg_mean_all(g, y), sg_scalar(g, SG_F32, 1)), 0.032, 0);
    sg_value *want = sg_where(g, mask, sg_scalar(g, SG_F32, 0), sg_scalar(g, SG_F32, 1.25));
    CHECK_VALUES(g, sg_max_axes(g, sg_abs(g, sg_sub(g, y, want)), SG_ALL_AXES, false), 0, 0);
    sg_value *other = sg_dropout(g, x, 0.2, from, sg_scalar(g, SG_I32, 5));
    CHECK_VALUES(g, sg_max_axes(g, sg_abs(g, sg_sub(g, y, other)), SG_ALL_AXES, false), 0, 1.25);
    y = sg_dropout(g, sg_full(g, SG_F32, DIMS(64), (double)INFINITY), 0.9, from, step);
    CHECK_VALUES(g, sg_min_axes(g, y, SG_ALL_AXES, false), 0, 0);
    CHECK(sg_dropout(g, x, 0, from, step) == x);
    sg_dropout(g, x, 1, from, step);
    CHECK_BUILD_FAILS(g, SG_EARG, "dropout: probability 1");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_their_place),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(moments),
        cmocka_unit_test(seeds_streams_and_steps_differ),
        cmocka_unit_test(certain_and_impossible),
        cmocka_unit_test(dropout_keeps_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
