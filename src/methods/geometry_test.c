/* Numbers of dictionaries, graphs and clouds that geometry knows. */
#include "sightglass/geometry.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/rng.h"

static void hoyer_is_one_for_one_number_and_none_for_equal_ones(void **state)
{
    (void)state;
    CHECK_NEAR(sg_hoyer(5, (double[]){0, 0, -3, 0, 0}), 1, 1e-15, 0);
    CHECK_NEAR(sg_hoyer(5, (double[]){2, 2, -2, 2, 2}), 0, 1e-15, 0);
    CHECK_NEAR(sg_hoyer(4, (double[]){1, 1, 0, 0}), 2 - sqrt(2), 1e-15, 0);
    CHECK(isnan(sg_hoyer(3, (double[]){0, 0, 0})));
}

/* Six lines in space can have a common angle whose cosine is 1/sqrt 5, the diagonals of an icosahedron, and no smaller
 * one: also Welch's bound, sqrt((6 - 3) / (3 * 5)). */
static void six_lines_in_space_become_an_icosahedron(void **state)
{
    (void)state;
    double atoms[18];
    sg_rng r = sg_rng_new(1, 0);
    for (int i = 0; i < 18; i++)
        atoms[i] = sg_rng_normal(&r);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){6, 3}, atoms);
    sg_dict_geometry *g;
    sg_error err;
    CHECK_OK(sg_dict_geometry_new(&g, &t, NULL, sg_dict_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->welch, 1 / sqrt(5), 1e-12, 0);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_LOW].coherence, 1 / sqrt(5), .01, 0);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_LOW].rms, 1 / sqrt(5), .01, 0);
    CHECK(g->of[SG_DICT_GEOMETRY_OWN].coherence > .6 && g->of[SG_DICT_GEOMETRY_GAUSSIAN].coherence > .6);
    CHECK(isnan(g->of[SG_DICT_GEOMETRY_OWN].hoyer));
    for (int w = 0; w < SG_N_DICT_GEOMETRIES; w++) {
        double sum = 0;
        for (int b = 0; b < SG_DICT_GEOMETRY_BINS; b++)
            sum += g->histogram[w][b];
        CHECK_NEAR(sum, 1, 1e-12, 0);
    }
    sg_dict_geometry_free(g);
}

/* e_1 .. e_4 and -e_1: one antipodal pair of five atoms; |cosines| 1, 0, ..., 0. */
static void axes_have_no_coherence_but_for_an_antipode(void **state)
{
    (void)state;
    float atoms[20] = {0};
    for (int i = 0; i < 4; i++)
        atoms[5 * i] = (float)(i + 1); /* brought to length 1 */
    atoms[16] = -2;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 4}, atoms);
    sg_dict_geometry *g;
    sg_error err;
    CHECK_OK(sg_dict_geometry_new(&g, &t, NULL, sg_dict_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_OWN].coherence, 0, 1e-7, 0);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_OWN].effective_rank, 4, 1e-6, 0);
    sg_dict_geometry_free(g);
    t.dims[0] = 5;
    CHECK_OK(sg_dict_geometry_new(&g, &t, NULL, sg_dict_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_OWN].antipodal, 200, 1e-9, 0);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_OWN].coherence, 1, 1e-6, 0);
    CHECK_NEAR(g->of[SG_DICT_GEOMETRY_OWN].rms, sqrt(.1), 1e-6, 0);
    sg_dict_geometry_free(g);
}

/* Atoms in two bundles; rows are made of one bundle each, so that near atoms fire together. Atom 8 never fires. */
static void near_atoms_that_fire_together_show(void **state)
{
    (void)state;
    enum { M = 9, D = 6, N = 300 };
    static float atoms[M * D], codes[N * M];
    sg_rng r = sg_rng_new(2, 0);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < D; j++)
            atoms[i * D + j] = (float)((j == (i < 4 ? 0 : 3)) + .3 * sg_rng_normal(&r));
    for (int n = 0; n < N; n++)
        for (int i = 0; i < 8; i++)
            codes[n * M + i] = (i < 4) == n % 2 && sg_rng_below(&r, 2) ? (float)sg_rng_uniform(&r) : 0;
    const sg_tensor a = sg_tensor_of(SG_F32, 2, (sg_dim[]){M, D}, atoms),
                    z = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, M}, codes);
    sg_dict_geometry *g;
    sg_error err;
    CHECK_OK(sg_dict_geometry_new(&g, &a, &z, sg_dict_geometry_defaults(), &err), &err);
    CHECK(g->n_dead == 1 && g->n_atoms == 8);
    CHECK(g->of[SG_DICT_GEOMETRY_OWN].together > .6);
    CHECK(g->of[SG_DICT_GEOMETRY_OWN].hoyer > .2 && g->of[SG_DICT_GEOMETRY_OWN].hoyer < 1 &&
          isfinite(g->of[SG_DICT_GEOMETRY_LOW].hoyer));
    sg_dict_geometry_free(g);

    double weight[M * M];
    const sg_tensor w = sg_tensor_of(SG_F64, 2, (sg_dim[]){M, M}, weight);
    CHECK_OK(sg_blocks_weight(&w, &z, &err), &err);
    CHECK(weight[1] > 0 && weight[4] == 0 && weight[0] == 0 && weight[8] == 0);
}

/* w reads component 0; atom 0 is (2,0), atom 1 (0,1). The object is in rows 0 and 1. */
static void use_by_hand(void **state)
{
    (void)state;
    double atoms[4] = {2, 0, -1, 1}, codes[8] = {3, 0, 1, 1, 1, 2, 0, 1};
    const sg_tensor a = sg_tensor_of(SG_F64, 2, (sg_dim[]){2, 2}, atoms),
                    z = sg_tensor_of(SG_F64, 2, (sg_dim[]){4, 2}, codes);
    sg_task_use *u;
    sg_error err;
    CHECK_OK(sg_task_use_new(&u, &a, &z, (double[]){1, 0}, (bool[]){true, true, false, false}, &err), &err);
    CHECK_NEAR(u->use[0], 1.25 * 2, 1e-12, 0);
    CHECK_NEAR(u->use[1], 1 * -1, 1e-12, 0);
    CHECK_NEAR(u->on[0], 2 * 2, 1e-12, 0);
    CHECK_NEAR(u->off[0], .5 * 2, 1e-12, 0);
    CHECK_NEAR(u->elsewhere[0], .25, 1e-12, 0);
    CHECK(isnan(u->elsewhere[1])); /* it contributes against */
    sg_task_use_free(u);
    CHECK_OK(sg_task_use_new(&u, &a, &z, (double[]){1, 0}, NULL, &err), &err);
    CHECK(isnan(u->elsewhere[0]) && isnan(u->on[0]));
    CHECK_NEAR(u->use[0], 2.5, 1e-12, 0);
    sg_task_use_free(u);
}

/* Two triangles: each block has half of the links and half of the degrees, Q = 2 (1/2 - 1/4). */
static void two_triangles_are_two_blocks_and_a_ring_of_cliques_beats_its_shuffles(void **state)
{
    (void)state;
    enum { C = 6, S = 5, N = C * S };
    double two[36] = {0}, ring[N * N] = {0};
    sg_blocks *b;
    sg_error err;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            two[i * 6 + j] = i != j && i / 3 == j / 3;
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){6, 6}, two),
                    u = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, N}, ring);
    CHECK_OK(sg_blocks_new(&b, &t, 100, 0, 0, &err), &err);
    CHECK(b->n_blocks == 2 && b->n_links == 6 && b->block[0] == b->block[2] && b->block[3] != b->block[2]);
    CHECK_NEAR(b->modularity, .5, 1e-12, 0);
    sg_blocks_free(b);

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            ring[i * N + j] =
                i != j && (i / S == j / S || (i % S == 0 && j == (i + S) % N) || (j % S == 0 && i == (j + S) % N));
    CHECK_OK(sg_blocks_new(&b, &u, 1000, 40, 0, &err), &err);
    CHECK(b->n_blocks == C && b->n_links == C * 10 + C);
    CHECK_NEAR(b->modularity, 60.0 / 66 - 1.0 / 6, 1e-12, 0);
    CHECK(b->null_high < b->modularity - .2 && b->p < .05);
    sg_blocks_free(b);

    sg_rng r = sg_rng_new(3, 0); /* a graph by chance is as its shuffles are */
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            ring[i * N + j] = ring[j * N + i] = i != j ? sg_rng_uniform(&r) : 0;
    CHECK_OK(sg_blocks_new(&b, &u, 66, 40, 0, &err), &err);
    CHECK(b->p > .05);
    sg_blocks_free(b);
}

/* On a circle the way is the arc: over random pairs arc / chord averages to some 1.36, and no chord runs near rows. */
static void ways_around_a_circle_are_arcs_and_those_through_a_cloud_are_not_far_from_chords(void **state)
{
    (void)state;
    enum { N = 400 };
    static double x[N * 3], cloud[N * 3];
    for (int i = 0; i < N; i++) {
        x[3 * i] = cos(2 * 3.14159265358979 * i / N);
        x[3 * i + 1] = sin(2 * 3.14159265358979 * i / N);
    }
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, 3}, x),
                    g = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, 3}, cloud);
    sg_ways w, flat;
    sg_error err;
    CHECK_OK(sg_ways_against_chords(&w, &t, 4, 60, 0, &err), &err);
    CHECK(w.n_pairs > 55 && w.nearer > .95 && w.longer > 1.15 && w.longer < 1.6);
    CHECK_OK(sg_gaussian_like(&g, &t, 0, &err), &err);
    double mean = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        mean += cloud[3 * i] / N;
        squares += cloud[3 * i] * cloud[3 * i] / N;
        CHECK_NEAR(cloud[3 * i + 2], 0, 1e-9, 0);
    }
    CHECK_NEAR(mean, 0, .15, 0);
    CHECK_NEAR(squares, .5, .15, 0);
    CHECK_OK(sg_ways_against_chords(&flat, &g, 8, 60, 0, &err), &err);
    CHECK(flat.nearer < w.nearer && flat.longer < w.longer);
}

/* Rows of noise with a bend along which their position lies: of the three targets two show in it. */
static void position_is_at_chance_once_it_is_removed(void **state)
{
    (void)state;
    enum { N = 2000, D = 12 };
    static double x[N * D], y[N * 3];
    static int32_t position[N];
    sg_rng r = sg_rng_new(5, 0);
    for (int i = 0; i < N; i++) {
        position[i] = (int32_t)sg_rng_below(&r, 20);
        for (int j = 0; j < D; j++)
            x[i * D + j] = sg_rng_normal(&r) +
                           (j == 2   ? 4 * cos(.157 * position[i])
                            : j == 7 ? 3 * sin(.157 * position[i])
                                     : 0) +
                           9;
    }
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, D}, x),
                    targets = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, 3}, y);
    sg_position p;
    sg_error err;
    CHECK_OK(sg_position_targets(&targets, position, &err), &err);
    CHECK_NEAR(y[0], cos(3.14159265358979 * (position[0] + .5) / 20), 1e-12, 0);
    CHECK_OK(sg_position_remove(&p, &t, &targets, 1500, &err), &err);
    CHECK(p.removed == 3 && p.before > .3);
    CHECK_NEAR(p.after, 0, .01, 0);
    CHECK_STATUS(sg_position_remove(&p, &t, &targets, N, &err), SG_EARG);
}

static void what_makes_no_sense_is_refused_and_it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    float atoms[8] = {1, 2, 3, 4, 0, 0, 0, 0};
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 2}, atoms);
    sg_dict_geometry_opts opts = sg_dict_geometry_defaults();
    sg_dict_geometry *g;
    sg_error err;
    CHECK_STATUS(sg_dict_geometry_new(&g, &t, NULL, opts, &err), SG_EARG); /* two atoms have a length */
    CHECK_TEXT(err.text, "2 atoms");
    CHECK_STATUS(sg_dict_geometry_new(&g, &t, &t, opts, &err), SG_ESHAPE);
    atoms[5] = 1;
    opts.cancel = &stop;
    CHECK_STATUS(sg_dict_geometry_new(&g, &t, NULL, opts, &err), SG_ECANCELLED);
    atoms[0] = NAN;
    CHECK_STATUS(sg_dict_geometry_new(&g, &t, NULL, opts, &err), SG_ENUMERIC);
    CHECK(g == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hoyer_is_one_for_one_number_and_none_for_equal_ones),
        cmocka_unit_test(six_lines_in_space_become_an_icosahedron),
        cmocka_unit_test(axes_have_no_coherence_but_for_an_antipode),
        cmocka_unit_test(near_atoms_that_fire_together_show),
        cmocka_unit_test(use_by_hand),
        cmocka_unit_test(two_triangles_are_two_blocks_and_a_ring_of_cliques_beats_its_shuffles),
        cmocka_unit_test(ways_around_a_circle_are_arcs_and_those_through_a_cloud_are_not_far_from_chords),
        cmocka_unit_test(position_is_at_chance_once_it_is_removed),
        cmocka_unit_test(what_makes_no_sense_is_refused_and_it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
