/* Rotary embedding against multiplication of complex numbers: the pair is x1 + i x2, and turning it by an angle is
 * multiplying by e^(i angle). */
#include <complex.h>

#include "values.h"

#include "sightglass/rng.h"

#define B 2
#define T 3
#define H 2

static const double position[B * T] = {0, 1, 2, 7, 100000, 3};

static void turned(double *y, const double *x, int width, int n_pairs, const double *frequency, bool halves)
{
    const double complex i = (double complex)I;

    memcpy(y, x, (size_t)(B * T * H * width) * sizeof *y);
    for (int row = 0; row < B * T * H; row++)
        for (int r = 0; r < n_pairs; r++) {
            const int first = row * width + (halves ? r : 2 * r), second = first + (halves ? n_pairs : 1);
            const double angle = position[row / H] * frequency[r];
            const double complex z = (x[first] + i * x[second]) * cexp(i * angle);
            y[first] = creal(z);
            y[second] = cimag(z);
        }
}

static void check_layout(sg_dtype dtype, int width, int n_pairs, sg_rope_layout layout)
{
    const double frequencies[] = {1, 0.125, 0.03125}; /* exact in f32, as the angles then are in double */
    double x[B * T * H * 8], want[B * T * H * 8];
    sg_rng rng = sg_rng_new(1, 2);
    const int n = B * T * H * width;
    sg_graph *g = sg_graph_new();

    for (int i = 0; i < n; i++)
        x[i] = (double)(float)(sg_rng_uniform(&rng) - 0.5);
    turned(want, x, width, n_pairs, frequencies, layout == SG_ROPE_HALF);
    sg_value *v = numbers_of(g, dtype, DIMS(B, T, H, width), n, x);
    sg_value *p = numbers_of(g, SG_I32, DIMS(B, T), B * T, position);
    sg_value *f = numbers_of(g, dtype, DIMS(n_pairs), n_pairs, frequencies);
    const double tol = dtype == SG_F32 ? 1.2e-7 : 1e-15; /* a few roundings of numbers below 1 */
    sg_value *y = sg_rope(g, v, p, f, layout);
    check_values(g, y, tol, n, want, "rope", __FILE__, __LINE__);

    /* The same from a strided input: heads stored outermost. */
    sg_value *stored =
        sg_identity(g, sg_reshape(g, sg_transpose(g, v, (const int[]){2, 0, 1, 3}), DIMS(H * B * T * width)));
    sg_value *back = sg_transpose(g, sg_reshape(g, stored, DIMS(H, B, T, width)), (const int[]){1, 2, 0, 3});
    check_values(g, sg_rope(g, back, p, f, layout), tol, n, want, "rope of strided", __FILE__, __LINE__);
    sg_graph_free(g);
}

static void both_layouts_match_complex_multiplication(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        const sg_dtype dtype = d ? SG_F64 : SG_F32;
        check_layout(dtype, 6, 3, SG_ROPE_HALF);
        check_layout(dtype, 6, 3, SG_ROPE_INTERLEAVED);
        /* partial: four of seven numbers turn */
        check_layout(dtype, 7, 2, SG_ROPE_HALF);
        check_layout(dtype, 7, 2, SG_ROPE_INTERLEAVED);
    }
}

static void a_quarter_turn_by_hand(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(1, 1, 1, 5), 1, 2, 3, 4, 5);
    sg_value *p = NUMBERS(g, SG_I32, DIMS(1, 1), 1), *f = NUMBERS(g, SG_F64, DIMS(2), acos(0), 0);

    CHECK_VALUES(g, sg_rope(g, x, p, f, SG_ROPE_HALF), 1e-15, -3, 2, 1, 4, 5);
    CHECK_VALUES(g, sg_rope(g, x, p, f, SG_ROPE_INTERLEAVED), 1e-15, -2, 1, 3, 4, 5);
    sg_graph_free(g);
}

static void no_frequency_turns_nothing(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    /* [2,300,4,32]: above the size from which threads share the positions */
    const sg_dim n = (sg_dim)2 * 300 * 4 * 32;
    sg_value *x = sg_reshape(g, sg_cast(g, sg_sin(g, sg_iota(g, SG_F64, n)), SG_F32), DIMS(2, 300, 4, 32));
    sg_value *p = sg_broadcast(g, sg_iota(g, SG_I32, 300), DIMS(2, 300)), *f = sg_full(g, SG_F32, DIMS(8), 0);

    CHECK_VALUES(g, sg_max_axes(g, sg_abs(g, sg_sub(g, x, sg_rope(g, x, p, f, SG_ROPE_HALF))), 15u, false), 0, 0);
    sg_graph_free(g);
}

static void wrong_shapes_say_so(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3, 2, 4)), *p = sg_input(g, "p", SG_I32, DIMS(2, 3));
    (void)sg_rope(g, x, p, sg_input(g, "f", SG_F32, DIMS(3)), SG_ROPE_HALF);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "rope: pairs do not fit");
    sg_graph_free(g);

    g = sg_graph_new();
    x = sg_input(g, "x", SG_F32, DIMS(2, 3, 2, 4));
    (void)sg_rope(g, x, sg_input(g, "p", SG_I32, DIMS(3, 2)), sg_input(g, "f", SG_F32, DIMS(2)), SG_ROPE_HALF);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "positions [B,T]");
    sg_graph_free(g);

    g = sg_graph_new();
    x = sg_input(g, "x", SG_F32, DIMS(2, 3, 2, 4));
    (void)sg_rope(g, x, sg_input(g, "p", SG_F32, DIMS(2, 3)), sg_input(g, "f", SG_F32, DIMS(2)), SG_ROPE_HALF);
    CHECK_BUILD_FAILS(g, SG_ETYPE, "positions i32");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_layouts_match_complex_multiplication),
        cmocka_unit_test(a_quarter_turn_by_hand),
        cmocka_unit_test(no_frequency_turns_nothing),
        cmocka_unit_test(wrong_shapes_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
