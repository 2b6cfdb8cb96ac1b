/* A planted map is found with all its pairs, and where there is none the score is one of the nulls'. */
#include "sightglass/echo.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

/* n random unit vectors of d numbers, and behind them, in another order, the same turned by one orthogonal map: atom n
 * + place(i) is the echo of atom i. */
static void plant(double *atoms, double *map, sg_dim n, sg_dim d, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);
    double noise[16 * 16];
    for (sg_dim i = 0; i < d * d; i++)
        noise[i] = sg_rng_normal(&r);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){d, d}, noise);
    sg_qr *qr;
    CHECK_OK(sg_qr_new(&qr, &t, SG_FACTORS_THIN, NULL), NULL);
    memcpy(map, qr->q.data, (size_t)(d * d) * sizeof *map);
    sg_qr_free(qr);
    for (sg_dim i = 0; i < n; i++) {
        double sum = 0;
        for (sg_dim j = 0; j < d; j++)
            sum += pow(atoms[i * d + j] = sg_rng_normal(&r), 2);
        for (sg_dim j = 0; j < d; j++)
            atoms[i * d + j] /= sqrt(sum);
        const sg_dim to = n + (i * 5 + 3) % n;
        for (sg_dim j = 0; j < d; j++) {
            atoms[to * d + j] = 0;
            for (sg_dim k = 0; k < d; k++)
                atoms[to * d + j] += atoms[i * d + k] * map[k * d + j];
        }
    }
}

static void a_planted_map_is_recovered_with_all_its_pairs(void **state)
{
    (void)state;
    enum { N = 16, D = 8 }; /* 2 d pairs */
    for (uint64_t seed = 0; seed < 5; seed++) {
        double atoms[2 * N * D], map[D * D];
        int32_t side[2 * N];
        plant(atoms, map, N, D, seed);
        for (int i = 0; i < 2 * N; i++)
            side[i] = i >= N;
        const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){2 * N, D}, atoms);
        sg_echo_opts opts = sg_echo_defaults();
        sg_echo *e;
        sg_error err;
        opts.ridge = 1e-6;
        opts.same = 1; /* in eight dimensions some are near each other by chance */
        opts.n_nulls = 10;
        CHECK_OK(sg_echo_search(&e, &t, NULL, side, opts, &err), &err);
        CHECK(e->n_pairs == N && e->n_side[0] == N && e->n_side[1] == N && e->rank == D);
        for (sg_dim i = 0; i < e->n_pairs; i++)
            CHECK(e->pairs[i].to == N + (e->pairs[i].from * 5 + 3) % N);
        for (int i = 0; i < D * D; i++)
            CHECK_NEAR(sg_tensor_get(&e->map, i), map[i], 1e-3, 0);
        CHECK(e->score > .999 && e->null_high < .95 && e->p < .1);
        sg_echo_free(e);
    }
}

static void atoms_that_may_go_anywhere_never_go_to_themselves_and_half_of_the_pairs_count(void **state)
{
    (void)state;
    enum { N = 16, D = 6 };
    double atoms[2 * N * D], map[D * D];
    for (uint64_t seed = 0; seed < 3; seed++) {
        plant(atoms, map, N, D, 20 + seed);
        const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){2 * N, D}, atoms);
        sg_echo_opts opts = sg_echo_defaults();
        sg_echo *e;
        sg_error err;
        opts.n_nulls = 0;
        opts.n_restarts = 30;
        opts.same = 1;
        CHECK_OK(sg_echo_search(&e, &t, NULL, NULL, opts, &err), &err);
        CHECK(e->n_pairs == N && isnan(e->null_high)); /* the better half */
        for (sg_dim i = 0; i < e->n_pairs; i++) {
            CHECK(e->pairs[i].from != e->pairs[i].to);
        }
        sg_echo_free(e);
    }
}

/* On atoms that have nothing to do with each other the score is one more of the nulls: above 95 of 100 in a twentieth
 * of the runs. */
static void independent_atoms_score_as_the_nulls_do(void **state)
{
    (void)state;
    enum { N = 10, D = 12, RUNS = 30 };
    int below = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        double atoms[2 * N * D];
        int32_t side[2 * N];
        sg_rng r = sg_rng_new(100 + seed, 0);
        for (int i = 0; i < 2 * N * D; i++)
            atoms[i] = sg_rng_normal(&r);
        for (int i = 0; i < 2 * N; i++)
            side[i] = i >= N;
        const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){2 * N, D}, atoms);
        sg_echo_opts opts = sg_echo_defaults();
        sg_echo *e;
        sg_error err;
        opts.n_nulls = 100;
        opts.same = 1;
        opts.n_restarts = 1;
        opts.n_rounds = 5;
        opts.seed = seed;
        CHECK_OK(sg_echo_search(&e, &t, NULL, side, opts, &err), &err);
        below += e->score < e->null_high;
        CHECK(e->n_nulls == 100 && e->nulls[0] <= e->null_mean && e->null_mean <= e->nulls[99]);
        sg_echo_free(e);
    }
    CHECK(below >= RUNS * 9 / 10);
}

/* Codes of two roles, each filled by one of four: atoms 0, 2, 4, 6 in the one and 1, 3, 5, 7 in the other; atom 8
 * never. */
static void sides_follow_from_what_fires_together(void **state)
{
    (void)state;
    enum { N = 200, M = 9 };
    static float codes[N * M];
    sg_rng r = sg_rng_new(1, 0);
    for (int i = 0; i < N; i++) {
        codes[i * M + 2 * (int)sg_rng_below(&r, 4)] = 1;
        codes[i * M + 2 * (int)sg_rng_below(&r, 4) + 1] = .5f;
    }
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, M}, codes);
    int32_t side[M];
    sg_error err;
    CHECK_OK(sg_echo_sides(side, &t, &err), &err);
    for (int i = 0; i < 8; i++)
        CHECK(side[i] == (i % 2 ? !side[0] : side[0]));
    CHECK(side[8] == -1);
}

static void what_makes_no_sense_is_refused_and_it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    double atoms[32] = {0};
    int32_t side[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){8, 4}, atoms),
                    thin = sg_tensor_of(SG_F64, 2, (sg_dim[]){8, 3}, atoms);
    sg_echo_opts opts = sg_echo_defaults();
    sg_echo *e;
    sg_error err;
    CHECK_STATUS(sg_echo_search(&e, &t, NULL, NULL, opts, &err), SG_EARG); /* none has a length */
    for (int i = 0; i < 32; i++)
        atoms[i] = i % 5 - 2.5;
    CHECK_STATUS(sg_echo_search(&e, &t, NULL, side, opts, &err), SG_EARG); /* one on a side */
    CHECK_STATUS(sg_echo_search(&e, &t, &thin, NULL, opts, &err), SG_ESHAPE);
    opts.cancel = &stop;
    CHECK_STATUS(sg_echo_search(&e, &t, NULL, NULL, opts, &err), SG_ECANCELLED);
    atoms[3] = (double)INFINITY;
    CHECK_STATUS(sg_echo_search(&e, &t, NULL, NULL, opts, &err), SG_ENUMERIC);
    CHECK(e == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_map_is_recovered_with_all_its_pairs),
        cmocka_unit_test(atoms_that_may_go_anywhere_never_go_to_themselves_and_half_of_the_pairs_count),
        cmocka_unit_test(independent_atoms_score_as_the_nulls_do),
        cmocka_unit_test(sides_follow_from_what_fires_together),
        cmocka_unit_test(what_makes_no_sense_is_refused_and_it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
