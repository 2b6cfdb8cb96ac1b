#include "base/blocks.h"
#include "values.h"

/* A variable [4,512] of a packed type, cast to f32 and f64, gives the numbers of its blocks; fused or not, on one
 * thread or more. */
static void packed_variables_are_cast_to_their_numbers(void **state)
{
    (void)state;
    for (int type = SG_Q8_0; type < SG_N_DTYPES; type++)
        for (int threads = 1; threads <= 3; threads += 2) {
            sg_error err;
            static float x[2048], want[2048];
            static char packed[4096];
            for (int i = 0; i < 2048; i++)
                x[i] = (float)((i * 37) % 101 - 50) * 0.01f;
            sg_convert(packed, (sg_dtype)type, x, SG_F32, 2048);
            sg_convert(want, SG_F32, packed, (sg_dtype)type, 2048);

            sg_graph *g = sg_graph_new();
            sg_value *w = sg_variable(g, "w", (sg_dtype)type, DIMS(4, 512), sg_init_constant(0));
            sg_value *fetches[2] = {sg_square(g, sg_cast(g, w, SG_F32)), sg_cast(g, w, SG_F64)};
            sg_state *s;
            sg_session *session;
            sg_tensor out[2];
            const sg_tensor t = sg_tensor_of((sg_dtype)type, DIMS(4, 512), packed);
            CHECK_OK(sg_state_new(&s, g, &err), &err);
            CHECK_OK(sg_state_bind(s, w, &t, &err), &err);
            CHECK_OK(sg_state_init(s, 1, &err), &err);
            sg_exec_opts opts = sg_exec_defaults();
            opts.n_threads = threads;
            CHECK_OK(sg_session_new(&session, g, s, opts, &err), &err);
            CHECK_OK(sg_session_run(session, 0, NULL, 2, fetches, out, &err), &err);
            for (int i = 0; i < 2048; i++) {
                CHECK(sg_tensor_get(&out[0], i) == (double)(want[i] * want[i]));
                CHECK(sg_tensor_get(&out[1], i) == (double)want[i]);
            }
            sg_session_free(session);
            sg_state_free(s);
            sg_graph_free(g);
        }
}

static void packed_variables_start_as_others_do(void **state)
{
    (void)state;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *w = sg_variable(g, "w", SG_Q8_0, DIMS(8, 32), sg_init_normal(1));
    sg_value *same = sg_variable(g, "v", SG_Q5_K, DIMS(256), sg_init_constant(0.5));
    sg_state *s;
    double squares = 0;
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 1, &err), &err);
    for (int i = 0; i < 256; i++) {
        const double x = sg_tensor_get(sg_state_tensor(s, w), i);
        squares += x * x / 256;
        CHECK_NEAR(sg_tensor_get(sg_state_tensor(s, same), i), 0.5, 0, 0.01);
    }
    CHECK_NEAR(squares, 1, 0.3, 0); /* 256 draws: deviation .09 */
    sg_state_free(s);
    sg_graph_free(g);
}

static void other_operations_do_not_take_packed_numbers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_add(g, sg_variable(g, "w", SG_Q4_0, DIMS(2, 32), sg_init_constant(0)), sg_scalar(g, SG_F32, 1));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "w is packed as q4_0");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_cast(g, sg_scalar(g, SG_F32, 1), SG_Q4_0);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "nothing is cast to q4_0");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_variable(g, "w", SG_Q4_K, DIMS(256, 32), sg_init_constant(0));
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "whole blocks of 256");
    sg_graph_free(g);
    g = sg_graph_new();
    sg_input(g, "w", SG_Q4_K, DIMS(256));
    CHECK_BUILD_FAILS(g, SG_ETYPE, "q4_k is how weights are stored");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_variables_are_cast_to_their_numbers),
        cmocka_unit_test(packed_variables_start_as_others_do),
        cmocka_unit_test(other_operations_do_not_take_packed_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
