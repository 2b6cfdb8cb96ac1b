/* Numbers by PyTorch 1.13. */
#include "sightglass/image.h"

#include "values.h"

static void batches_as_pytorch_has_them(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2, 2, 2, 2), -2, 5, 1, -3, 4, 0, -4, 3, -1, -5, 2, -2, 5, 1, -3, 4);
    sg_value *w = NUMBERS(g, SG_F64, DIMS(2), 2, -1), *b = NUMBERS(g, SG_F64, DIMS(2), 0.5, 1);
    sg_batch_stats stats;

    CHECK_VALUES(g, sg_batch_norm(g, x, w, b, 0.5, &stats), 1e-14, -0.4049590767686999, 4.202105314053772,
                 1.5694970907266452, -1.0631111326004816, 0.14879444421244958, 1.3869116162670685, 2.6250287883216874,
                 0.4583237372261043, 0.2531929790630818, -2.3794152442640453, 2.227649146558427, -0.4049590767686999,
                 -0.16073484880120514, 1.0773823232534139, 2.315499495308033, 0.14879444421244958);
    CHECK_VALUES(g, stats.mean, 1e-15, -0.625, 1.25);
    CHECK_VALUES(g, stats.var, 1e-15, 9.982142857142858, 11.357142857142858);
    sg_value *mean = NUMBERS(g, SG_F64, DIMS(2), 1, 2), *var = NUMBERS(g, SG_F64, DIMS(2), 3.5, 0.5);
    CHECK_VALUES(g, sg_batch_norm_given(g, x, mean, var, w, b, 0.5), 1e-15, -2.5, 4.5, 0.5, -3.5, -1, 3, 7, 0, -1.5,
                 -5.5, 1.5, -2.5, -2, 2, 6, -1);
    sg_graph_free(g);
}

static void groups_as_pytorch_has_them(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(1, 4, 1, 2), -2, 5, 1, -3, 4, 0, -4, 3);
    sg_value *w = NUMBERS(g, SG_F64, DIMS(4), -2, 5, 1, -3), *b = NUMBERS(g, SG_F64, DIMS(4), 0, 1, 2, 3);

    CHECK_VALUES(g, sg_group_norm(g, x, 1, w, b, 0.5), 1e-14, 1.5617376188860608, -2.8111277139949093,
                 1.7808688094430303, -4.466081666101212, 3.0932163332202425, 1.843826238111394, 7.216691570992364,
                 0.657393571670909);
    CHECK_VALUES(g, sg_group_norm(g, x, 2, w, b, 0.5), 1e-14, 1.4098688099783232, -2.9763897099542382,
                 2.174890674981936, -4.091192924921723, 3.0182385849843447, 1.7650218650036127, 7.464584564931357,
                 0.8851967850325151);
    CHECK_VALUES(g, sg_group_norm(g, x, 4, w, b, 0.5), 1e-14, 1.9603921176392136, -1.9603921176392136,
                 5.714045207910317, -3.714045207910317, 2.9428090415820636, 1.0571909584179364, 5.940588176458821,
                 0.059411823541179354);
    /* Without gain and bias: the groups of (1, 3) and (-5, -5). */
    x = NUMBERS(g, SG_F32, DIMS(1, 4), 1, 3, -5, -5);
    CHECK_VALUES(g, sg_group_norm(g, x, 2, NULL, NULL, 0), 1e-7, -1, 1, (double)NAN, (double)NAN);
    CHECK_VALUES(g, sg_group_norm(g, x, 2, NULL, NULL, 1), 1e-7, -sqrt(0.5), sqrt(0.5), 0, 0);
    sg_graph_free(g);
}

/* Running averages move by assignment, one run after the other; the batch may have any size, also one image. */
static void running_averages_follow_the_batches(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "batch"), 1));
    sg_value *mean = sg_variable(g, "mean", SG_F32, DIMS(1), sg_init_constant(0));
    sg_value *var = sg_variable(g, "var", SG_F32, DIMS(1), sg_init_constant(1)), *fetches[3];
    sg_batch_stats stats;
    fetches[0] = sg_batch_norm(g, x, NULL, NULL, 0, &stats);
    fetches[1] = sg_assign(g, mean, sg_mul_scalar(g, sg_add(g, mean, stats.mean), 0.5));
    fetches[2] = sg_assign(g, var, sg_mul_scalar(g, sg_add(g, var, stats.var), 0.5));
    sg_state *running;
    sg_session *s;
    sg_tensor t[3];
    sg_error err;
    float batch[] = {6, 2};

    CHECK_OK(sg_state_new(&running, g, &err), &err);
    CHECK_OK(sg_state_init(running, 0, &err), &err);
    CHECK_OK(sg_session_new(&s, g, running, values_opts(1), &err), &err);
    CHECK_OK(sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F32, DIMS(2, 1), batch)}, 3, fetches, t, &err), &err);
    CHECK(sg_tensor_get(&t[0], 0) == 1 && sg_tensor_get(&t[0], 1) == -1);
    CHECK(sg_tensor_get(&t[1], 0) == 2 && sg_tensor_get(&t[2], 0) == 4.5); /* (1 + 8) / 2 */
    CHECK_OK(sg_session_run(s, 1, &(sg_feed){x, sg_tensor_of(SG_F32, DIMS(1, 1), batch)}, 3, fetches, t, &err), &err);
    CHECK(sg_tensor_get(&t[1], 0) == 4 && sg_tensor_get(&t[2], 0) == 2.25);
    sg_session_free(s);
    sg_state_free(running);
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    (void)sg_group_norm(g, sg_input(g, "x", SG_F32, DIMS(2, 6, 3)), 4, NULL, NULL, 1e-5);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "group_norm: 4 groups do not divide the channels");
    sg_graph_free(g);
    g = sg_graph_new();
    (void)sg_batch_norm(g, sg_input(g, "x", SG_F32, DIMS(2)), NULL, NULL, 1e-5, NULL);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "batch_norm: channels along axis 1");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 6, 3));
    (void)sg_batch_norm(g, x, sg_input(g, "w", SG_F32, DIMS(3)), NULL, 1e-5, NULL);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "mul");
    sg_graph_free(g);
    g = sg_graph_new();
    x = sg_input(g, "x", SG_F32, DIMS(2, 6, 3));
    (void)sg_batch_norm(g, x, x, NULL, 1e-5, NULL);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "one number for each channel");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_as_pytorch_has_them),
        cmocka_unit_test(groups_as_pytorch_has_them),
        cmocka_unit_test(running_averages_follow_the_batches),
        cmocka_unit_test(wrong_shapes_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
