/* Products over packed weights, by the reference kernel and with each set of instructions, against the numbers that
 * sg_convert gives for the weights, multiplied and summed in f64. */
#include <math.h>

#include "backend/backends.h"
#include "check.h"
#include "ops/packed.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

static const sg_dtype types[] = {SG_BF16, SG_F16,  SG_Q8_0, SG_Q4_0, SG_Q4_1,  SG_Q5_0,
                                 SG_Q5_1, SG_Q4_K, SG_Q5_K, SG_Q6_K, SG_IQ4_NL};

/* The reference; AVX2; the best there is. */
static sg_exec_opts by(int way, int n_threads)
{
    static const sg_backend *const ways[2] = {&sg_backend_packed_avx2, &sg_backend_packed};
    sg_exec_opts opts = sg_exec_defaults();

    opts.n_backends = way > 0;
    opts.backends = way > 0 ? &ways[way - 1] : NULL;
    opts.n_threads = n_threads;
    return opts;
}

typedef struct shape {
    sg_dim m, n_rows, n_cols; /* of x, of the weights as they lie */
    bool turned;              /* y = x w' */
} shape;

typedef struct product {
    shape s;
    sg_dtype type;
    sg_graph *g;
    sg_value *x, *w, *b, *y;
    sg_tensor tx, tw, tb;
    double *want, *size; /* the products, and their sums without signs: what errors are measured by */
} product;

static void *room(size_t bytes)
{
    void *p = calloc(bytes + 64, 1);
    CHECK(p != NULL);
    return p;
}

static product product_new(sg_dtype type, shape s, bool biased, uint64_t seed)
{
    const sg_dim depth = s.turned ? s.n_cols : s.n_rows, n = s.turned ? s.n_rows : s.n_cols;
    const sg_dim count = s.n_rows * s.n_cols;
    float *w = room((size_t)count * sizeof *w), *x = room((size_t)(s.m * depth) * sizeof *x);
    float *b = room((size_t)n * sizeof *b);
    double *unpacked = room((size_t)count * sizeof *unpacked);
    product p = {.s = s, .type = type, .g = sg_graph_new()};
    sg_rng r = sg_rng_new(seed, 0);

    for (sg_dim i = 0; i < count; i++)
        w[i] = (float)(sg_rng_normal(&r) * (i % 7 == 0 ? 0.3 : 0.05) + 0.02);
    for (sg_dim i = 0; i < s.m * depth; i++)
        x[i] = (float)(sg_rng_normal(&r) * (i % 11 == 0 ? 5 : 0.5));
    for (sg_dim i = 0; i < n; i++)
        b[i] = (float)sg_rng_normal(&r);
    p.tw = sg_tensor_of(type, 2, (sg_dim[]){s.n_rows, s.n_cols}, NULL);
    p.tw.data = room(sg_tensor_bytes(&p.tw));
    sg_convert(p.tw.data, type, w, SG_F32, count);
    sg_convert(unpacked, SG_F64, p.tw.data, type, count);
    p.tx = sg_tensor_of(SG_F32, 2, (sg_dim[]){s.m, depth}, x);
    p.tb = sg_tensor_of(SG_F32, 1, &n, b);
    p.want = room((size_t)(s.m * n) * sizeof *p.want);
    p.size = room((size_t)(s.m * n) * sizeof *p.size);
    for (sg_dim i = 0; i < s.m; i++)
        for (sg_dim j = 0; j < n; j++) {
            double sum = biased ? (double)b[j] : 0, size = fabs(sum);
            for (sg_dim k = 0; k < depth; k++) {
                const double one =
                    (double)x[i * depth + k] * (s.turned ? unpacked[j * s.n_cols + k] : unpacked[k * s.n_cols + j]);
                sum += one;
                size += fabs(one);
            }
            p.want[i * n + j] = sum;
            p.size[i * n + j] = size;
        }
    p.x = sg_input(p.g, "x", SG_F32, 2, p.tx.dims);
    p.w = sg_variable(p.g, "w", type, 2, p.tw.dims, sg_init_constant(0));
    p.b = sg_variable(p.g, "b", SG_F32, 1, p.tb.dims, sg_init_constant(0));
    p.y = sg_matmul(p.g, p.x, p.w, false, s.turned);
    if (biased)
        p.y = sg_add(p.g, p.y, p.b);
    free(w);
    free(unpacked);
    return p;
}

static void product_free(product *p)
{
    sg_graph_free(p->g);
    free(p->tw.data);
    free(p->tx.data);
    free(p->tb.data);
    free(p->want);
    free(p->size);
}

/* The result of value y, copied into memory of the caller's. */
static float *run(const product *p, sg_value *y, sg_exec_opts opts, bool expect_packed)
{
    sg_error err;
    sg_state *state;
    sg_session *session;
    sg_tensor out;

    CHECK_OK(sg_state_new(&state, p->g, &err), &err);
    CHECK_OK(sg_state_bind(state, p->w, &p->tw, &err), &err);
    CHECK_OK(sg_state_bind(state, p->b, &p->tb, &err), &err);
    CHECK_OK(sg_session_new(&session, p->g, state, opts, &err), &err);
    CHECK_OK(sg_session_run(session, 1, &(sg_feed){p->x, p->tx}, 1, &y, &out, &err), &err);
    bool packed = false;
    for (int i = 0; i < sg_plan_n_steps(sg_session_plan(session)); i++)
        packed |= strcmp(sg_plan_step_backend(sg_session_plan(session), i), "packed") == 0;
    CHECK(packed == expect_packed);
    float *copy = room(sg_tensor_bytes(&out));
    memcpy(copy, out.data, sg_tensor_bytes(&out));
    sg_session_free(session);
    sg_state_free(state);
    return copy;
}

/* The largest error of a product, in parts of the sum of its terms' sizes. */
static double error_of(const product *p, const float *y)
{
    const sg_dim n = p->s.m * (p->s.turned ? p->s.n_rows : p->s.n_cols);
    double worst = 0;

    for (sg_dim i = 0; i < n; i++) {
        const double off = fabs((double)y[i] - p->want[i]) / (p->size[i] + 1e-30);
        if (!(off <= worst))
            worst = off;
    }
    return worst;
}

/* Sums of up to 768 terms in f32, whatever their order, and a rounding or two of each weight: some ten units of 2^-24.
 */
#define CLOSE 2e-6

static bool has_packed(int way)
{
#ifdef SG_HAVE_PACKED
    const char *isa = getenv("SIGHTGLASS_ISA");
    return way > 0 && !(isa && strcmp(isa, "reference") == 0) && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static void check_all_ways(sg_dtype type, shape s, bool biased)
{
    product p = product_new(type, s, biased, (uint64_t)(s.m + 71 * s.n_rows + 7 * s.n_cols) + type);

    for (int way = 0; way < 3; way++) {
        float *one = run(&p, p.y, by(way, 1), has_packed(way)), *two = run(&p, p.y, by(way, 2), has_packed(way));
        const double off = error_of(&p, one);
        if (!(off <= CLOSE))
            print_error("%s [%d,%d] m %d turned %d way %d: off by %g\n", sg_dtype_name(type), (int)s.n_rows,
                        (int)s.n_cols, (int)s.m, s.turned, way, off);
        CHECK(off <= CLOSE);
        CHECK(memcmp(one, two, (size_t)(s.m * (s.turned ? s.n_rows : s.n_cols)) * sizeof *one) == 0);
        free(one);
        free(two);
    }
    product_free(&p);
}

static void products_are_those_of_the_unpacked_weights(void **state)
{
    static const sg_dim rows[] = {1, 2, 3, 4, 7, 8, 9, 17, 49, 70};

    (void)state;
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        const sg_dim block = SG_MAX(sg_dtype_block(types[t]), (sg_dim)11);
        for (size_t r = 0; r < SG_COUNT_OF(rows); r++) {
            const sg_dim blocks = 1 + (sg_dim)r % 3;
            check_all_ways(types[t], (shape){rows[r], 67, blocks * block, true}, r % 2);
            check_all_ways(types[t], (shape){rows[r], 35, blocks * block, false}, r % 2 == 0);
        }
        check_all_ways(types[t], (shape){1, 1, block, true}, false);
    }
}

static void long_rows_are_taken_in_parts(void **state)
{
    (void)state;
    product p = product_new(SG_Q8_0, (shape){50, 9, 4640, true}, true, 5);
    product q =
        product_new(SG_Q4_K, (shape){1030, 300, 256, false}, true, 5); /* and more rows than are laid out at once */
    for (int way = 1; way < 3; way++) {
        float *y = run(&p, p.y, by(way, 2), has_packed(way)), *z = run(&q, q.y, by(way, 2), has_packed(way));
        CHECK(error_of(&p, y) <= 2 * CLOSE); /* six times as many terms */
        CHECK(error_of(&q, z) <= CLOSE);
        free(y);
        free(z);
    }
    product_free(&p);
    product_free(&q);
}

/* Both factors are rounded to 2^-9 of themselves. */
static void products_in_bf16_are_as_exact_as_bf16(void **state)
{
    (void)state;
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        product p = product_new(types[t], (shape){70, 67, sg_dtype_block(types[t]) == 1 ? 333 : 768, true}, true, 3);
        sg_exec_opts opts = by(2, 2);
        opts.compute = SG_BF16;
        float *y = run(&p, p.y, opts, has_packed(2));
        CHECK(error_of(&p, y) <= 1.0 / 256);
        free(y);
        product_free(&p);
    }
}

/* dx = dy W, and what is behind it: the gradient of the sum of squares of y. */
static void gradients_reach_the_activations_alone(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++)
        for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
            const shape s = {11, turned ? 32 : 64, 256, turned != 0};
            product p = product_new(types[t], s, true, 9);
            const sg_dim depth = p.tx.dims[1], n = turned ? s.n_rows : s.n_cols;
            sg_value *dx = sg_grad(p.g, sg_sum_all(p.g, sg_square(p.g, p.y)), p.x);
            double *w = room((size_t)(s.n_rows * s.n_cols) * sizeof *w);
            sg_convert(w, SG_F64, p.tw.data, types[t], s.n_rows * s.n_cols);
            CHECK_OK(sg_graph_status(p.g, NULL), NULL);
            for (int way = 0; way < 3; way++) {
                float *got = run(&p, dx, by(way, 2), has_packed(way));
                for (sg_dim i = 0; i < s.m; i++)
                    for (sg_dim k = 0; k < depth; k++) {
                        double sum = 0, size = 0;
                        for (sg_dim j = 0; j < n; j++) {
                            const double at = turned ? w[j * s.n_cols + k] : w[k * s.n_cols + j];
                            sum += 2 * p.want[i * n + j] * at;
                            size += fabs(2 * p.size[i * n + j] * at);
                        }
                        CHECK_NEAR(got[i * depth + k], sum, CLOSE * size, 0);
                    }
                free(got);
            }
            free(w);
            product_free(&p);
        }
    for (int t = 0; t < 2; t++) {
        product p = product_new(t ? SG_Q8_0 : SG_BF16, (shape){2, 3, 32, true}, false, 1);
        sg_error err;
        sg_grad(p.g, sg_sum_all(p.g, p.y), p.w);
        CHECK_STATUS(sg_graph_status(p.g, &err), SG_ETYPE);
        CHECK_TEXT(err.text,
                   t ? "gradient by w, which is q8_0" : "gradient by w: weights that are read as bf16 have none");
        product_free(&p);
    }
}

/* In f64 the reference is as exact as f64. */
static void f64_activations_are_multiplied_in_f64(void **state)
{
    (void)state;
    product p = product_new(SG_Q5_K, (shape){3, 5, 512, true}, false, 2);
    sg_value *y = sg_matmul(p.g, sg_cast(p.g, p.x, SG_F64), p.w, false, true);
    double *got = (double *)(void *)run(&p, y, by(2, 1), false);
    for (int i = 0; i < 15; i++)
        CHECK_NEAR(got[i], p.want[i], 1e-14 * p.size[i], 0);
    free(got);
    product_free(&p);
}

static void what_is_not_finite_stays_visible(void **state)
{
    (void)state;
    for (size_t t = 0; t < SG_COUNT_OF(types); t++)
        for (int many = 0; many < 2; many++) {
            product p = product_new(types[t], (shape){many ? 20 : 2, 6, 256, true}, false, 4);
            float *x = p.tx.data;
            uint16_t scale = 0x7E00; /* NaN as f16, and as bf16 once more bits are set */
            x[256 + 7] = NAN;
            if (types[t] == SG_BF16 || types[t] == SG_Q6_K)
                scale = types[t] == SG_BF16 ? 0x7FC0 : scale;
            const size_t row = sg_tensor_bytes(&p.tw) / 6, at = types[t] == SG_Q6_K ? 208 : 0;
            memcpy((char *)p.tw.data + 3 * row + at, &scale, sizeof scale);
            for (int way = 0; way < 3; way++) {
                float *y = run(&p, p.y, by(way, 1), has_packed(way));
                for (int r = 0; r < p.s.m; r++)
                    for (int n = 0; n < 6; n++)
                        CHECK(!isnan(y[r * 6 + n]) == (r != 1 && n != 3));
                free(y);
            }
            product_free(&p);
        }
}

static void wrong_products_are_refused(void **state)
{
    (void)state;
    sg_error err;
    for (int i = 0; i < 4; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *w = sg_variable(g, "w", i == 3 ? SG_BF16 : SG_Q8_0, 2, (sg_dim[]){4, 64}, sg_init_constant(0));
        sg_value *x = sg_input(g, "x", i == 0 ? SG_BF16 : SG_F32, 2, (sg_dim[]){2, i == 1 ? 32 : 64});
        sg_value *y = sg_matmul(g, i == 2 ? w : x, i == 2 ? x : i == 3 ? sg_swap_axes(g, w, 0, 1) : w, false, i != 3);
        static const char *const words[] = {"wanted f32 or f64 beside packed weights", "inner extents differ",
                                            "types differ", "a variable or a constant"};
        (void)y;
        CHECK(sg_graph_status(g, &err) != SG_OK);
        CHECK_TEXT(err.text, words[i]);
        sg_graph_free(g);
    }
}

/* Rows of activations that are cut from a wider value, of more axes, or turned. */
static void activations_may_lie_anyhow(void **state)
{
    (void)state;
    product p = product_new(SG_Q4_K, (shape){6, 10, 256, true}, false, 8);
    sg_value *padded = sg_slice(p.g, sg_pad(p.g, p.x, 1, 3, 5, 0, 7.0), 1, 3, 259, 1);
    sg_value *cube = sg_matmul(p.g, sg_reshape(p.g, p.x, 3, (sg_dim[]){2, 3, 256}), p.w, false, true);
    sg_value *ways[3] = {sg_matmul(p.g, padded, p.w, false, true), cube,
                         sg_matmul(p.g, sg_swap_axes(p.g, p.x, 0, 1), p.w, true, true)};
    CHECK_OK(sg_graph_status(p.g, NULL), NULL);
    for (int i = 0; i < 3; i++) {
        float *y = run(&p, ways[i], by(2, 1), has_packed(2));
        CHECK(error_of(&p, y) <= CLOSE);
        free(y);
    }
    /* The last row alone: the product is of that row, by weights that nobody cuts. */
    sg_value *last = sg_slice(p.g, p.y, 0, 5, 6, 1), *some = sg_slice(p.g, p.y, 1, 2, 4, 1);
    float *row = run(&p, last, by(2, 1), has_packed(2)), *columns = run(&p, some, by(2, 1), has_packed(2));
    for (int n = 0; n < 10; n++)
        CHECK_NEAR(row[n], p.want[50 + n], CLOSE * p.size[50 + n], 0);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(columns[2 * i + 1], p.want[10 * i + 3], CLOSE * p.size[10 * i + 3], 0);
    free(row);
    free(columns);
    product_free(&p);
}

static void tables_are_gathered_as_they_are_stored(void **state)
{
    (void)state;
    const sg_dim n_ids = 3;
    int32_t ids[3] = {4, 0, 4};
    for (size_t t = 0; t < SG_COUNT_OF(types); t++) {
        product p = product_new(types[t], (shape){1, 5, 256, true}, false, 6);
        sg_tensor t_ids = sg_tensor_of(SG_I32, 1, &n_ids, ids);
        sg_value *at = sg_const(p.g, &t_ids);
        float rows[5 * 256];
        double exact[5 * 256];
        sg_convert(rows, SG_F32, p.tw.data, types[t], 5 * 256);
        sg_convert(exact, SG_F64, p.tw.data, types[t], 5 * 256);
        float *got = run(&p, sg_embed_as(p.g, p.w, at, SG_F32), by(2, 2), false);
        double *wide = (double *)(void *)run(&p, sg_embed_as(p.g, p.w, at, SG_F64), by(2, 2), false);
        float *cut = run(&p, sg_slice(p.g, sg_embed_as(p.g, p.w, at, SG_F32), 0, 0, 1, 1), by(2, 2), false);
        for (int i = 0; i < 3; i++) {
            CHECK(memcmp(got + i * 256, rows + ids[i] * 256, sizeof(float[256])) == 0);
            CHECK(memcmp(wide + i * 256, exact + ids[i] * 256, sizeof(double[256])) == 0);
        }
        CHECK(memcmp(cut, rows + 4 * 256, sizeof(float[256])) == 0);
        free(got);
        free(wide);
        free(cut);
        if (types[t] > SG_BOOL) {
            sg_error err;
            sg_embed(p.g, p.w, at);
            CHECK_STATUS(sg_graph_status(p.g, &err), SG_ETYPE);
            CHECK_TEXT(err.text, "sg_embed_as");
        }
        product_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_unpacked_weights),
        cmocka_unit_test(long_rows_are_taken_in_parts),
        cmocka_unit_test(products_in_bf16_are_as_exact_as_bf16),
        cmocka_unit_test(gradients_reach_the_activations_alone),
        cmocka_unit_test(f64_activations_are_multiplied_in_f64),
        cmocka_unit_test(what_is_not_finite_stays_visible),
        cmocka_unit_test(wrong_products_are_refused),
        cmocka_unit_test(activations_may_lie_anyhow),
        cmocka_unit_test(tables_are_gathered_as_they_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
