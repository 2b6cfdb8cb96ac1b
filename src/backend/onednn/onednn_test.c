/* The oneDNN backend against the reference kernels, through sessions. */
#include "backend/backends.h"
#include "check.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"

static const sg_backend *const onednn[] = {&sg_backend_onednn};

static sg_exec_opts options(int n_backends)
{
    sg_exec_opts opts = sg_exec_defaults();

    opts.backends = onednn;
    opts.n_backends = n_backends;
    opts.fuse = false;
    return opts;
}

/* Numbers in [-1, 1), the same on every machine. */
static float *noise(sg_dim n, uint32_t seed)
{
    float *x = malloc((size_t)n * sizeof *x);

    CHECK(x);
    for (sg_dim i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

static const char *backend_of(const sg_session *s, const char *op)
{
    const sg_plan *p = sg_session_plan(s);

    for (int i = 0; i < sg_plan_n_steps(p); i++)
        if (strcmp(sg_plan_step_op(p, i), op) == 0)
            return sg_plan_step_backend(p, i);
    return "none";
}

/* Runs y with and without the backend: within `tolerance` of each other, infinities and NaNs in the same places, and op
 * computed by `backend`. Twice, since the second run takes a context that the first has used. */
static void compare(sg_graph *g, sg_value *y, int n_feeds, const sg_feed *feeds, const char *op, const char *backend,
                    double tolerance)
{
    sg_error err;
    sg_session *plain, *fast;
    sg_tensor want, got;

    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_session_new(&plain, g, NULL, options(0), &err), &err);
    CHECK_OK(sg_session_new(&fast, g, NULL, options(1), &err), &err);
    for (int turn = 0; turn < 2; turn++) {
        CHECK_OK(sg_session_run(plain, n_feeds, feeds, 1, &y, &want, &err), &err);
        CHECK_OK(sg_session_run(fast, n_feeds, feeds, 1, &y, &got, &err), &err);
        assert_string_equal(backend_of(plain, op), "reference");
        assert_string_equal(backend_of(fast, op), backend);
        for (sg_dim i = 0; i < sg_tensor_count(&want); i++) {
            const double w = sg_tensor_get(&want, i), x = sg_tensor_get(&got, i);
            if (w != w)
                CHECK(x != x);
            else
                CHECK_NEAR(x, w, tolerance, 1e-6);
        }
    }
    sg_session_free(plain);
    sg_session_free(fast);
}

/* Sums of K products of numbers in [-1, 1), each rounded a few times: sqrt(K) epsilon is typical, this is 8 times that.
 */
static double sum_tolerance(sg_dim inner)
{
    return 1e-6 * sqrt((double)inner);
}

typedef struct product {
    int n_a, n_b;
    sg_dim a[5], b[5]; /* as fed */
    bool trans_a, trans_b;
    const char *backend;
} product;

static void multiply(const product *p)
{
    sg_graph *g = sg_graph_new();
    sg_value *a = sg_input(g, "a", SG_F32, p->n_a, p->a), *b = sg_input(g, "b", SG_F32, p->n_b, p->b);
    sg_value *y = sg_matmul(g, a, b, p->trans_a, p->trans_b);
    sg_feed feeds[2] = {{a, sg_tensor_of(SG_F32, p->n_a, p->a, NULL)}, {b, sg_tensor_of(SG_F32, p->n_b, p->b, NULL)}};

    for (uint32_t i = 0; i < 2; i++)
        feeds[i].tensor.data = noise(sg_tensor_count(&feeds[i].tensor), i + 1);
    compare(g, y, 2, feeds, "matmul", p->backend, sum_tolerance(p->a[p->n_a - (p->trans_a ? 2 : 1)]));
    sg_graph_free(g);
    for (int i = 0; i < 2; i++)
        free(feeds[i].tensor.data);
}

static void products_agree_with_the_reference(void **state)
{
    (void)state;
    static const product products[] = {
        {2, 2, {128, 64}, {64, 96}, false, false, "onednn"},
        {2, 2, {128, 64}, {96, 64}, false, true, "onednn"},
        {2, 2, {64, 128}, {64, 96}, true, false, "onednn"},
        {2, 2, {64, 128}, {96, 64}, true, true, "onednn"},
        {2, 2, {67, 131}, {131, 43}, false, false, "onednn"}, /* nothing divides anything */
        {2, 2, {131, 67}, {43, 131}, true, true, "onednn"},
        {2, 2, {200, 200}, {200, 200}, false, false, "onednn"}, /* enough for threads */
        {2, 2, {300, 1}, {1, 300}, false, false, "onednn"},
        {2, 2, {1, 300}, {300, 1}, true, true, "onednn"},
        {2, 2, {400, 300}, {300, 1}, false, false, "onednn"},
        {2, 2, {400, 300}, {1, 300}, false, true, "onednn"},
        {2, 2, {1, 64}, {512, 64}, false, true, "onednn"},
        {2, 2, {3, 256}, {100, 256}, false, true, "onednn"},
        {2, 2, {21, 64}, {64, 172}, false, false, "onednn"},
        {3, 3, {6, 40, 30}, {6, 30, 50}, false, false, "onednn"},
        {3, 3, {6, 30, 40}, {6, 50, 30}, true, true, "onednn"},
        {3, 3, {6, 40, 30}, {1, 30, 50}, false, false, "onednn"}, /* one B: becomes one product */
        {3, 3, {6, 30, 40}, {1, 30, 50}, true, false, "onednn"},  /* one B, but A's columns do not join */
        {3, 3, {1, 40, 30}, {6, 30, 50}, false, false, "onednn"}, /* one A */
        {3, 2, {60, 1, 30}, {30, 50}, false, false, "onednn"},
        {2, 3, {40, 30}, {6, 30, 50}, false, false, "onednn"},
        {4, 4, {2, 3, 40, 30}, {2, 3, 30, 50}, false, false, "onednn"},
        {4, 4, {2, 3, 40, 30}, {2, 1, 30, 50}, false, false, "onednn"},
        {4, 4, {2, 3, 40, 30}, {1, 3, 50, 30}, false, true, "onednn"},
        {4, 3, {2, 3, 40, 30}, {3, 30, 50}, false, false, "onednn"},
        {4, 4, {2, 1, 40, 30}, {1, 3, 30, 50}, false, false, "onednn"},
        {5, 5, {2, 1, 3, 40, 30}, {1, 4, 3, 30, 50}, false, false, "onednn"},
        {5, 5, {2, 4, 3, 40, 30}, {2, 1, 3, 30, 50}, false, false, "onednn"},
        {2, 2, {8, 8}, {8, 8}, false, false, "reference"},       /* too little to do */
        {2, 2, {1, 512}, {512, 512}, false, false, "reference"}, /* one row reads B once */
        {2, 2, {1, 512}, {512, 512}, false, true, "reference"},
        {2, 2, {64, 0}, {0, 64}, false, false, "reference"},
        {2, 2, {0, 64}, {64, 64}, false, false, "reference"},
        {3, 3, {0, 64, 64}, {0, 64, 64}, false, false, "reference"},
    };

    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        multiply(&products[i]);
}

/* Heads lie beside each other in [B,T,H,K] and are multiplied as [B,H,T,K]. */
static void views_are_multiplied_where_they_lie(void **state)
{
    (void)state;
    const sg_dim dims[] = {2, 40, 4, 24};
    sg_graph *g = sg_graph_new();
    sg_value *q = sg_input(g, "q", SG_F32, 4, dims), *k = sg_input(g, "k", SG_F32, 4, dims);
    sg_value *heads_q = sg_swap_axes(g, q, 1, 2), *heads_k = sg_swap_axes(g, k, 1, 2);
    float *numbers[2] = {noise(2 * 40 * 4 * 24, 1), noise(2 * 40 * 4 * 24, 2)};
    const sg_feed feeds[2] = {{q, sg_tensor_of(SG_F32, 4, dims, numbers[0])},
                              {k, sg_tensor_of(SG_F32, 4, dims, numbers[1])}};
    sg_value *scores = sg_matmul(g, heads_q, heads_k, false, true);
    sg_value *mixed = sg_matmul(g, scores, heads_k, false, false);

    compare(g, scores, 2, feeds, "matmul", "onednn", sum_tolerance(24));
    compare(g, mixed, 2, feeds, "matmul", "onednn", sum_tolerance(40 * 24 * 8));

    /* Parts of a matrix; every second column has no unit stride and is left to the reference. */
    sg_value *rows = sg_reshape(g, q, 2, (sg_dim[]){80, 96}), *cols = sg_reshape(g, k, 2, (sg_dim[]){96, 80});
    sg_value *part = sg_matmul(g, sg_slice(g, rows, 0, 3, 73, 1), sg_slice(g, cols, 1, 5, 70, 1), false, false);
    compare(g, part, 2, feeds, "matmul", "onednn", sum_tolerance(96));
    part = sg_matmul(g, sg_slice(g, rows, 0, 0, 80, 2), cols, false, false);
    compare(g, part, 2, feeds, "matmul", "onednn", sum_tolerance(96));
    part = sg_matmul(g, rows, sg_slice(g, cols, 1, 0, 80, 2), false, false);
    compare(g, part, 2, feeds, "matmul", "reference", sum_tolerance(96));
    /* One row of each of 40 matrices, which lie 192 apart: they become the rows of one product. */
    sg_value *apart = sg_slice(g, sg_reshape(g, q, 3, (sg_dim[]){40, 2, 96}), 1, 0, 1, 1);
    part = sg_matmul(g, apart, sg_reshape(g, k, 3, (sg_dim[]){1, 96, 80}), false, false);
    compare(g, part, 2, feeds, "matmul", "onednn", sum_tolerance(96));
    const sg_dim wide[] = {3, 96, 80};
    part = sg_matmul(g, rows, sg_broadcast(g, cols, 3, wide), false, false);
    compare(g, part, 2, feeds, "matmul", "reference", sum_tolerance(96)); /* an axis that neither operand has */
    sg_graph_free(g);
    free(numbers[0]);
    free(numbers[1]);
}

/* NaN and infinity reach the rows and columns they belong to, and no others; 0 * inf is NaN. */
static void a_product_keeps_nan_where_it_belongs(void **state)
{
    (void)state;
    const sg_dim dims[] = {40, 40};
    sg_graph *g = sg_graph_new();
    sg_value *a = sg_input(g, "a", SG_F32, 2, dims), *b = sg_input(g, "b", SG_F32, 2, dims);
    float *numbers[2] = {noise(1600, 1), noise(1600, 2)};
    const sg_feed feeds[2] = {{a, sg_tensor_of(SG_F32, 2, dims, numbers[0])},
                              {b, sg_tensor_of(SG_F32, 2, dims, numbers[1])}};

    numbers[0][39 * 40 + 39] = NAN;
    numbers[0][7 * 40 + 3] = INFINITY;
    numbers[1][3 * 40 + 38] = 0.0f;
    compare(g, sg_matmul(g, a, b, false, false), 2, feeds, "matmul", "onednn", sum_tolerance(40));
    sg_graph_free(g);
    free(numbers[0]);
    free(numbers[1]);
}

static void f64_is_left_to_the_reference(void **state)
{
    (void)state;
    enum { N = 64 };
    static double numbers[N * N];
    const sg_dim dims[] = {N, N};
    sg_graph *g = sg_graph_new();
    sg_value *a = sg_input(g, "a", SG_F64, 2, dims);

    for (int i = 0; i < N * N; i++)
        numbers[i] = (i * 37 % 101) / 101.0;
    compare(g, sg_matmul(g, a, a, false, true), 1, &(sg_feed){a, sg_tensor_of(SG_F64, 2, dims, numbers)}, "matmul",
            "reference", 0);
    sg_graph_free(g);
}

/* Each operand is rounded to 8 bits: products of numbers below 1 err by at most 2^-8, and their sums like a random
 * walk. The same again with the operands turned, and with a bias. */
static void products_in_bf16_are_near(void **state)
{
    (void)state;
    enum { M = 150, N = 170, K = 190 };
    const sg_dim a_dims[2] = {M, K}, b_dims[2] = {K, N}, t_dims[2] = {N, K}, bias_dims[1] = {N};
    float *a = noise(M * K, 1), *b = noise(K * N, 2), *bias = noise(N, 3);
    double worst = 0;

    for (int turned = 0; turned < 2; turned++)
        for (int biased = 0; biased < 2; biased++) {
            sg_graph *g = sg_graph_new();
            sg_error err;
            sg_value *x = sg_input(g, "a", SG_F32, 2, a_dims),
                     *w = sg_input(g, "b", SG_F32, 2, turned ? t_dims : b_dims);
            sg_value *y = sg_matmul(g, x, w, false, turned), *c = sg_input(g, "bias", SG_F32, 1, bias_dims);
            if (biased)
                y = sg_add(g, y, c);
            const sg_feed feeds[3] = {{x, sg_tensor_of(SG_F32, 2, a_dims, a)},
                                      {w, sg_tensor_of(SG_F32, 2, turned ? t_dims : b_dims, b)},
                                      {c, sg_tensor_of(SG_F32, 1, bias_dims, bias)}};
            sg_session *plain, *low;
            sg_tensor want, got;
            sg_exec_opts opts = options(1);
            opts.fuse = true;
            opts.compute = SG_BF16;
            CHECK_OK(sg_session_new(&plain, g, NULL, options(0), &err), &err);
            CHECK_OK(sg_session_new(&low, g, NULL, opts, &err), &err);
            for (int turn = 0; turn < 2; turn++) {
                CHECK_OK(sg_session_run(plain, 2 + biased, feeds, 1, &y, &want, &err), &err);
                CHECK_OK(sg_session_run(low, 2 + biased, feeds, 1, &y, &got, &err), &err);
                for (sg_dim i = 0; i < M * N; i++) {
                    CHECK_NEAR(sg_tensor_get(&got, i), sg_tensor_get(&want, i), 0.15, 0);
                    worst = fmax(worst, fabs(sg_tensor_get(&got, i) - sg_tensor_get(&want, i)));
                }
            }
            sg_session_free(plain);
            sg_session_free(low);
            sg_graph_free(g);
        }
    print_message("bf16: off by at most %.3g\n", worst); /* 0 where the processor has no bf16, and f32 does the work */
    free(a);
    free(b);
    free(bias);
}

/* What is bound is rounded once, and kept with the state: for every plan of it, and until something else is bound. What
 * a state owns may change at any time, and is rounded at every run. */
static void kept_copies_follow_their_variables(void **state)
{
    (void)state;
    enum { M = 64, N = 160, K = 256 };
    const sg_dim w_dims[2] = {N, K};
    float *a = noise(2 * M * K, 1), *b = noise(N * K, 2), *c = noise(N * K, 3);

    for (int bound = 0; bound < 2; bound++) {
        sg_graph *g = sg_graph_new();
        sg_error err;
        sg_state *s;
        sg_session *low;
        const sg_dim rows = sg_extent(g, "rows");
        sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){rows, K});
        sg_value *w = sg_variable(g, "w", SG_F32, 2, w_dims, sg_init_constant(0)), *y = sg_matmul(g, x, w, false, true);
        sg_exec_opts opts = options(1);
        opts.compute = SG_BF16;
        const sg_tensor first = sg_tensor_of(SG_F32, 2, w_dims, b), second = sg_tensor_of(SG_F32, 2, w_dims, c);
        CHECK_OK(sg_state_new(&s, g, &err), &err);
        if (bound)
            CHECK_OK(sg_state_bind(s, w, &first, &err), &err);
        CHECK_OK(sg_state_init(s, 1, &err), &err);
        if (!bound)
            memcpy(sg_state_tensor(s, w)->data, b, sizeof(float) * N * K);
        CHECK_OK(sg_session_new(&low, g, s, opts, &err), &err);
        for (int turn = 0; turn < 6; turn++) {
            const sg_dim m = turn % 2 ? M : 2 * M;
            const float *numbers = turn < 3 ? b : c;
            sg_tensor out;
            if (turn == 3 && bound)
                CHECK_OK(sg_state_bind(s, w, &second, &err), &err);
            else if (turn == 3)
                memcpy(sg_state_tensor(s, w)->data, c, sizeof(float) * N * K);
            const sg_feed feed = {x, sg_tensor_of(SG_F32, 2, (sg_dim[]){m, K}, a)};
            CHECK_OK(sg_session_run(low, 1, &feed, 1, &y, &out, &err), &err);
            for (sg_dim i = 0; i < m * N; i += 37) {
                double want = 0;
                for (int p = 0; p < K; p++)
                    want += (double)a[i / N * K + p] * (double)numbers[i % N * K + p];
                CHECK_NEAR(sg_tensor_get(&out, i), want, 0.15, 0);
            }
        }
        sg_session_free(low);
        sg_state_free(s);
        sg_graph_free(g);
    }
    free(a);
    free(b);
    free(c);
}

/* Also in place: the value between is needed by nobody else. 5e-7 is oneDNN's error in gelu, 4 units in the last place
 * at 1. */
static void gelu_and_sigmoid_agree_with_the_reference(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sg_value *(*build)(sg_graph *g, sg_value *x);
        sg_dim least;
    } ops[] = {{"gelu", sg_gelu, 64}, {"sigmoid", sg_sigmoid, 4096}};
    static const float extremes[] = {NAN,    INFINITY, -INFINITY, 0.0f,   -0.0f, 1e-40f, -1e-40f, 3e38f, -3e38f,
                                     100.0f, -100.0f,  20.0f,     -20.0f, -5.0f, 0.5f,   88.0f,   -88.0f};

    for (size_t o = 0; o < 2; o++) {
        for (int size = 0; size < 4; size++) {
            const sg_dim n = size == 0 ? ops[o].least - 1 : size == 1 ? ops[o].least : size == 2 ? 5003 : 70001;
            sg_graph *g = sg_graph_new();
            sg_value *x = sg_input(g, "x", SG_F32, 1, &n);
            sg_value *y = ops[o].build(g, sg_mul_scalar(g, x, 2.0));
            float *numbers = noise(n, 3);
            for (sg_dim i = 0; i < n; i++)
                numbers[i] *= 6.0f;
            memcpy(numbers, extremes, sizeof extremes);
            compare(g, y, 1, &(sg_feed){x, sg_tensor_of(SG_F32, 1, &n, numbers)}, ops[o].name,
                    n < ops[o].least ? "reference" : "onednn", 5e-7);
            sg_graph_free(g);
            free(numbers);
        }
    }
}

/* What oneDNN would get wrong, in the words of onednn.c, is not given to it. */
static void masked_rows_and_far_rows_keep_their_meaning(void **state)
{
    (void)state;
    enum { R = 64, C = 256 };
    const sg_dim dims[] = {R, C};
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 2, dims);
    sg_value *gain = sg_full(g, SG_F32, 1, &dims[1], 1.0), *bias = sg_full(g, SG_F32, 1, &dims[1], 0.0);
    sg_value *builds[] = {sg_softmax(g, x, -1), sg_layer_norm(g, x, gain, bias, 1e-5), sg_exp(g, x), sg_log(g, x),
                          sg_softplus(g, x)};
    static const char *const names[] = {"softmax", "layer_norm", "exp", "log", "softplus"};
    float *numbers = noise(R * C, 5);

    for (int i = 0; i < C; i++)
        numbers[i] = -INFINITY;
    for (int i = 0; i < C; i++)
        numbers[C + i] += 10000.0f;
    numbers[2 * C] = NAN;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare(g, builds[i], 1, &(sg_feed){x, sg_tensor_of(SG_F32, 2, dims, numbers)}, names[i], "reference", 0);
    sg_graph_free(g);
    free(numbers);
}

/* Runs v, which is computed by op, over inputs filled with noise. */
static void compare_over(sg_graph *g, sg_value *v, int n_in, sg_value *const *in, const char *op, const char *backend,
                         double tolerance)
{
    sg_feed feeds[3];

    for (int i = 0; i < n_in; i++) {
        feeds[i] = (sg_feed){in[i], sg_tensor_of(SG_F32, sg_value_n_dims(in[i]), sg_value_dims(in[i]), NULL)};
        feeds[i].tensor.data = noise(sg_tensor_count(&feeds[i].tensor), (uint32_t)i + 1);
    }
    compare(g, v, n_in, feeds, op, backend, tolerance);
    for (int i = 0; i < n_in; i++)
        free(feeds[i].tensor.data);
}

typedef struct image {
    sg_dim b, c, h, w, o, kh, kw;
    sg_conv2d_opts opts;
    const char *backend;
} image;

static void convolve(const image *s)
{
    sg_graph *g = sg_graph_new();
    const sg_dim each = s->c / s->opts.groups, n = s->b * s->o * s->h * s->w;
    sg_value *in[3] = {sg_input(g, "x", SG_F32, 4, (sg_dim[]){s->b, s->c, s->h, s->w}),
                       sg_input(g, "w", SG_F32, 4, (sg_dim[]){s->o, each, s->kh, s->kw})};
    sg_value *y = sg_conv2d(g, in[0], in[1], NULL, s->opts), *back[2];
    in[2] = sg_input(g, "y", SG_F32, 4, sg_value_dims(y));
    sg_gradients(g, y, in[2], 2, in, back);
    compare_over(g, y, 2, in, "conv2d", s->backend, sum_tolerance(each * s->kh * s->kw));
    compare_over(g, back[0], 2, (sg_value *[]){in[1], in[2]}, "conv2d_transpose", s->backend,
                 sum_tolerance(s->o * s->kh * s->kw));
    compare_over(g, back[1], 2, (sg_value *[]){in[0], in[2]}, "conv2d_weight", s->backend, sum_tolerance(n));
    sg_graph_free(g);
}

static void convolutions_agree_with_the_reference(void **state)
{
    (void)state;
    static const image images[] = {
        {2, 16, 14, 14, 32, 3, 3, {{1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, {0, 0}}, "onednn"},
        {4, 32, 24, 24, 32, 3, 3, {{1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, {0, 0}}, "onednn"}, /* enough for threads */
        {2, 17, 13, 11, 19, 3, 3, {{1, 1}, {1, 0}, {0, 1}, {1, 1}, 1, {0, 0}}, "onednn"}, /* nothing divides anything */
        {2, 32, 17, 18, 24, 4, 4, {{2, 2}, {1, 1}, {1, 1}, {1, 1}, 1, {0, 0}}, "onednn"},
        {1, 16, 20, 20, 16, 3, 3, {{1, 1}, {2, 2}, {2, 2}, {2, 2}, 1, {0, 0}}, "onednn"},
        {1, 16, 21, 20, 16, 3, 2, {{3, 2}, {2, 0}, {1, 3}, {2, 3}, 1, {0, 0}}, "onednn"},
        {2, 64, 9, 9, 64, 1, 1, {{1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, {0, 0}}, "onednn"},
        {2, 32, 12, 12, 64, 3, 3, {{1, 1}, {1, 1}, {1, 1}, {1, 1}, 4, {0, 0}}, "onednn"},
        {2, 32, 16, 16, 32, 3, 3, {{1, 1}, {1, 1}, {1, 1}, {1, 1}, 32, {0, 0}}, "onednn"}, /* depthwise */
        {2, 32, 16, 16, 32, 3, 3, {{2, 2}, {1, 1}, {1, 1}, {1, 1}, 32, {0, 0}}, "onednn"},
        {1, 1, 5, 5, 1, 3, 3, {{1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, {0, 0}}, "reference"}, /* too little to do */
        {4, 3, 16, 16, 3, 1, 1, {{1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, {0, 0}}, "reference"},
    };

    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        convolve(&images[i]);
}

/* NaN and infinity reach the windows they are in, and no others. */
static void a_convolution_keeps_nan_where_it_belongs(void **state)
{
    (void)state;
    const sg_dim dims[2][4] = {{2, 17, 10, 10}, {19, 17, 3, 3}};
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 4, dims[0]), *w = sg_input(g, "w", SG_F32, 4, dims[1]);
    float *numbers[2] = {noise(2 * 17 * 100, 1), noise(19 * 17 * 9, 2)};
    const sg_feed feeds[2] = {{x, sg_tensor_of(SG_F32, 4, dims[0], numbers[0])},
                              {w, sg_tensor_of(SG_F32, 4, dims[1], numbers[1])}};

    numbers[0][345] = NAN;
    numbers[0][17 * 100 + 55] = INFINITY;
    numbers[1][7 * 17 * 9 + 4] = 0.0f; /* the middle tap on channel 0: 0 * inf */
    compare(g, sg_conv2d(g, x, w, NULL, sg_conv2d_strided(1, 1)), 2, feeds, "conv2d", "onednn", sum_tolerance(153));
    sg_graph_free(g);
    free(numbers[0]);
    free(numbers[1]);
}

static void means_of_windows_agree_with_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        sg_graph *g = sg_graph_new();
        const bool uneven = i & 1;
        const sg_dim dims[] = {i < 8 ? 2 : 12, i < 4 ? 3 : 16, 21, 22};
        const sg_pool2d_opts o = {{uneven ? 3 : 2, 2}, {2, uneven ? 1 : 2}, {uneven, 0}, {uneven, uneven}, i & 2};
        sg_value *x = sg_input(g, "x", SG_F32, 4, dims), *y = sg_avg_pool2d(g, x, o), *dx;
        sg_value *dy = sg_input(g, "dy", SG_F32, 4, sg_value_dims(y));
        sg_gradients(g, y, dy, 1, &x, &dx);
        compare_over(g, y, 1, &x, "avg_pool2d", "onednn", 1e-6);
        compare_over(g, dx, 1, &dy, "avg_pool2d_back", "onednn", 1e-6);
        compare_over(g, sg_max_pool2d(g, x, o), 1, &x, "max_pool2d", "reference", 0);
        sg_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_the_reference),
        cmocka_unit_test(views_are_multiplied_where_they_lie),
        cmocka_unit_test(a_product_keeps_nan_where_it_belongs),
        cmocka_unit_test(products_in_bf16_are_near),
        cmocka_unit_test(kept_copies_follow_their_variables),
        cmocka_unit_test(f64_is_left_to_the_reference),
        cmocka_unit_test(gelu_and_sigmoid_agree_with_the_reference),
        cmocka_unit_test(masked_rows_and_far_rows_keep_their_meaning),
        cmocka_unit_test(convolutions_agree_with_the_reference),
        cmocka_unit_test(a_convolution_keeps_nan_where_it_belongs),
        cmocka_unit_test(means_of_windows_agree_with_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
