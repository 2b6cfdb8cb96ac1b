/* Every operation that the CUDA backend takes, against the reference kernels, and training on both. Skipped aloud where
 * there is no GPU. */
#include "check.h"
#include "sightglass/learner.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/run.h"

static sg_exec_opts gpu, cpu;
static const char *only_gpu; /* why there is none */
static sg_error absent;

#define NEEDS_GPU                                                                                                      \
    do {                                                                                                               \
        (void)state;                                                                                                   \
        if (only_gpu) {                                                                                                \
            print_message("skipped: %s\n", only_gpu);                                                                  \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- comparing ---- */

enum { MOST = 40 };

/* A graph with its inputs' numbers, and values that are to be the same on both. */
typedef struct bench {
    sg_graph *g;
    int n_feeds, n_values;
    sg_feed feeds[MOST];
    sg_value *values[MOST];
    bool loose[MOST]; /* may have steps on the processor */
    sg_rng rng;
} bench;

static bench begin(void)
{
    return (bench){.g = sg_graph_new(), .rng = sg_rng_new(7, 1)};
}

static sg_value *add_input(bench *b, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    char name[20];
    snprintf(name, sizeof name, "x%d", b->n_feeds);
    sg_value *v = sg_input(b->g, name, dtype, n_dims, dims);
    sg_tensor t = sg_tensor_of(dtype, n_dims, dims, NULL);
    CHECK((t.data = malloc(sg_tensor_bytes(&t) + 1)) != NULL);
    b->feeds[b->n_feeds++] = (sg_feed){v, t};
    return v;
}

/* About 0, both signs, none tiny. */
static sg_value *reals(bench *b, int n_dims, const sg_dim *dims)
{
    sg_value *v = add_input(b, SG_F32, n_dims, dims);
    sg_tensor *t = &b->feeds[b->n_feeds - 1].tensor;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        ((float *)t->data)[i] = (float)sg_rng_normal(&b->rng) * 1.5f;
    return v;
}

static sg_value *wholes(bench *b, int n_dims, const sg_dim *dims, int n)
{
    sg_value *v = add_input(b, SG_I32, n_dims, dims);
    sg_tensor *t = &b->feeds[b->n_feeds - 1].tensor;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        ((int32_t *)t->data)[i] = (int32_t)(sg_rng_uniform(&b->rng) * n);
    return v;
}

static sg_value *truths(bench *b, int n_dims, const sg_dim *dims)
{
    sg_value *v = add_input(b, SG_BOOL, n_dims, dims);
    sg_tensor *t = &b->feeds[b->n_feeds - 1].tensor;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        ((uint8_t *)t->data)[i] = sg_rng_uniform(&b->rng) < 0.5;
    return v;
}

static void same(bench *b, sg_value *v)
{
    CHECK(b->n_values < MOST);
    b->values[b->n_values++] = v;
}

/* Each element within `tolerance` of the reference, relative to the larger of it and the root mean square of all. */
static void compare_values(const char *what, const sg_tensor *got, const sg_tensor *want, double tolerance)
{
    const sg_dim n = sg_tensor_count(want);
    double squares = 0;
    CHECK(got->data != NULL && sg_tensor_count(got) == n && got->dtype == want->dtype);
    for (sg_dim i = 0; i < n; i++)
        if (isfinite(sg_tensor_get(want, i)))
            squares += sg_tensor_get(want, i) * sg_tensor_get(want, i);
    const double scale = n ? sqrt(squares / (double)n) : 0;
    for (sg_dim i = 0; i < n; i++) {
        const double x = sg_tensor_get(got, i), y = sg_tensor_get(want, i);
        if (x == y || (x != x && y != y))
            continue;
        if (!(fabs(x - y) <= tolerance * fmax(fabs(y), scale))) {
            print_error("%s: element %lld is %.9g, the reference has %.9g\n", what, (long long)i, x, y);
            CHECK(false);
        }
    }
}

static void finish(bench *b, sg_dtype compute, double tolerance)
{
    sg_error err;
    sg_session *on, *off;
    sg_tensor got[MOST], want[MOST];
    sg_exec_opts there = gpu;
    there.compute = compute;
    CHECK_OK(sg_graph_status(b->g, &err), &err);
    CHECK_OK(sg_session_new(&on, b->g, NULL, there, &err), &err);
    CHECK_OK(sg_session_new(&off, b->g, NULL, cpu, &err), &err);
    for (int round = 0; round < 2; round++)
        CHECK_OK(sg_session_run(on, b->n_feeds, b->feeds, b->n_values, b->values, got, &err), &err);
    CHECK_OK(sg_session_run(off, b->n_feeds, b->feeds, b->n_values, b->values, want, &err), &err);
    const sg_plan *p = sg_session_plan(on);
    for (int i = 0; i < sg_plan_n_steps(p); i++)
        if (strcmp(sg_plan_step_backend(p, i), "cuda") != 0) {
            print_error("%s runs on the processor\n", sg_plan_step_op(p, i));
            CHECK(false);
        }
    for (int i = 0; i < b->n_values; i++) {
        char what[80];
        snprintf(what, sizeof what, "value %d (%s)", i, sg_value_name(b->values[i]));
        compare_values(what, &got[i], &want[i], tolerance);
    }
    sg_session_free(on);
    sg_session_free(off);
    for (int i = 0; i < b->n_feeds; i++)
        free(b->feeds[i].tensor.data);
    sg_graph_free(b->g);
}

/* ---- operations ---- */

static void functions_of_one_number(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *x = reals(&b, 3, (sg_dim[]){7, 5, 13}), *turned = sg_transpose(g, x, (int[]){2, 0, 1});
    sg_value *positive = sg_add_scalar(g, sg_square(g, x), 0.1);
    sg_value *(*const ops[])(sg_graph *, sg_value *) = {
        sg_neg,  sg_abs,     sg_sign, sg_exp,  sg_reciprocal, sg_square,          sg_sin,  sg_cos,     sg_erf,
        sg_tanh, sg_sigmoid, sg_relu, sg_gelu, sg_gelu_tanh,  sg_gelu_tanh_slope, sg_silu, sg_softplus};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        same(&b, ops[i](g, i % 2 ? turned : x));
    same(&b, sg_log(g, positive));
    same(&b, sg_sqrt(g, positive));
    same(&b, sg_rsqrt(g, positive));
    finish(&b, SG_F32, 3e-6);
}

static void functions_of_two_numbers_broadcast(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *x = reals(&b, 3, (sg_dim[]){4, 6, 12}), *y = reals(&b, 3, (sg_dim[]){4, 6, 12});
    sg_value *row = reals(&b, 1, (sg_dim[]){12}), *column = reals(&b, 2, (sg_dim[]){6, 1});
    sg_value *scalar = reals(&b, 0, NULL), *outer = reals(&b, 3, (sg_dim[]){4, 1, 12});
    sg_value *(*const ops[])(sg_graph *, sg_value *, sg_value *) = {sg_add, sg_sub,     sg_mul,
                                                                    sg_div, sg_maximum, sg_minimum};
    sg_value *with[] = {y, row, column, scalar, outer};
    for (int i = 0; i < 6; i++)
        for (int k = i % 2; k < 5; k += 2)
            same(&b, ops[i](g, x, with[k]));
    same(&b, sg_sub(g, row, column));
    same(&b, sg_pow(g, sg_abs(g, x), row));
    same(&b, sg_add(g, sg_slice(g, x, 2, 1, 12, 2), sg_slice(g, column, 0, 1, 2, 1)));
    sg_value *i = wholes(&b, 2, (sg_dim[]){5, 9}, 100), *j = wholes(&b, 1, (sg_dim[]){9}, 100);
    same(&b, sg_sub(g, i, j));
    same(&b, sg_mul(g, i, j));
    same(&b, sg_maximum(g, i, j));
    same(&b, sg_minimum(g, i, j));
    finish(&b, SG_F32, 3e-6);
}

static void comparisons_and_choices(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *i = wholes(&b, 2, (sg_dim[]){6, 8}, 4), *j = wholes(&b, 1, (sg_dim[]){8}, 4);
    sg_value *x = reals(&b, 2, (sg_dim[]){6, 8}), *y = reals(&b, 2, (sg_dim[]){6, 1}),
             *p = truths(&b, 2, (sg_dim[]){6, 8});
    sg_value *q = truths(&b, 2, (sg_dim[]){1, 8});
    sg_value *(*const ops[])(sg_graph *, sg_value *, sg_value *) = {sg_equal,      sg_not_equal, sg_less,
                                                                    sg_less_equal, sg_greater,   sg_greater_equal};
    for (int k = 0; k < 6; k++) {
        same(&b, ops[k](g, i, j));
        same(&b, ops[k](g, x, y));
    }
    same(&b, sg_equal(g, p, q));
    same(&b, sg_and(g, p, q));
    same(&b, sg_or(g, p, q));
    same(&b, sg_not(g, p));
    same(&b, sg_where(g, p, x, y));
    same(&b, sg_where(g, q, y, sg_scalar(g, SG_F32, -1)));
    same(&b, sg_where(g, p, i, j));
    same(&b, sg_cast(g, p, SG_F32));
    same(&b, sg_cast(g, p, SG_I32));
    same(&b, sg_cast(g, i, SG_F32));
    finish(&b, SG_F32, 0);
}

static void shapes_are_copied(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *x = reals(&b, 4, (sg_dim[]){3, 5, 4, 6}), *p = truths(&b, 2, (sg_dim[]){5, 7});
    sg_value *turned = sg_transpose(g, x, (int[]){0, 2, 1, 3});
    same(&b, turned);
    same(&b, sg_reshape(g, turned, 2, (sg_dim[]){12, 30}));
    same(&b, sg_slice(g, x, 3, 1, 6, 2));
    same(&b, sg_broadcast(g, sg_slice(g, x, 1, 2, 3, 1), 4, (sg_dim[]){3, 7, 4, 6}));
    same(&b, sg_concat(g, 3, (sg_value *[]){x, turned = sg_slice(g, x, 2, 0, 1, 1), x}, 2));
    same(&b, sg_pad(g, x, 1, 2, 1, 0, 0));
    same(&b, sg_pad(g, x, 3, 0, 3, 2, -1.5));
    same(&b, sg_transpose(g, p, (int[]){1, 0}));
    same(&b, sg_iota(g, SG_I32, 300));
    same(&b, sg_iota(g, SG_F32, 11));
    finish(&b, SG_F32, 0);
}

static void sums_over_any_axes(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *x = reals(&b, 3, (sg_dim[]){40, 30, 24}), *turned = sg_transpose(g, x, (int[]){2, 1, 0});
    sg_value *long_one = reals(&b, 1, (sg_dim[]){70001}), *tall = reals(&b, 2, (sg_dim[]){9000, 20});
    sg_value *wide = reals(&b, 2, (sg_dim[]){3, 5000});
    for (int k = 0; k < 3; k++) {
        same(&b, sg_sum(g, x, k, k != 1));
        same(&b, sg_mean(g, turned, k, k == 1));
        same(&b, sg_max(g, k == 1 ? turned : x, k, true));
        same(&b, sg_min(g, x, k, false));
    }
    same(&b, sg_sum_to(g, x, 1, (sg_dim[]){24}));
    same(&b, sg_sum_to(g, x, 3, (sg_dim[]){40, 1, 24}));
    same(&b, sg_sum_to(g, turned, 3, (sg_dim[]){1, 30, 1}));
    same(&b, sg_sum_all(g, long_one));
    same(&b, sg_sum_all(g, turned));
    same(&b, sg_sum(g, tall, 0, false));
    same(&b, sg_mean(g, tall, 1, true));
    same(&b, sg_sum(g, wide, 1, false));
    same(&b, sg_max(g, wide, 1, false));
    finish(&b, SG_F32, 1e-6);
}

static void rows_are_normed(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *x = reals(&b, 3, (sg_dim[]){9, 7, 61}), *w = reals(&b, 1, (sg_dim[]){61}),
             *c = reals(&b, 1, (sg_dim[]){61});
    sg_value *far = sg_add_scalar(g, x, 1000), *wide = reals(&b, 2, (sg_dim[]){3, 700});
    sg_value *hidden =
        sg_where(g, sg_greater(g, w, sg_scalar(g, SG_F32, 0)), x, sg_scalar(g, SG_F32, -(double)INFINITY));
    same(&b, sg_softmax(g, x, -1));
    same(&b, sg_softmax(g, hidden, -1));
    same(&b, sg_softmax(g, sg_mul(g, wide, wide), -1));
    same(&b, sg_softmax(g, sg_where(g, sg_less(g, x, x), x, sg_scalar(g, SG_F32, -(double)INFINITY)), -1));
    same(&b, sg_log_softmax(g, x, 2));
    same(&b, sg_logsumexp(g, far, 2, false));
    same(&b, sg_layer_norm(g, x, w, c, 1e-5));
    same(&b, sg_layer_norm(g, far, NULL, NULL, 1e-5));
    same(&b, sg_rms_norm(g, wide, 1e-6));
    finish(&b, SG_F32, 3e-6);
}

static void products(bench *b)
{
    sg_graph *g = b->g;
    sg_value *x = reals(b, 3, (sg_dim[]){4, 30, 24}), *w = reals(b, 2, (sg_dim[]){24, 36}),
             *v = reals(b, 2, (sg_dim[]){36, 24});
    sg_value *qkv = reals(b, 3, (sg_dim[]){4, 10, 96}); /* heads of 8 within q, k, v of 32 */
    sg_value *part[3];
    for (int i = 0; i < 3; i++)
        part[i] =
            sg_transpose(g, sg_reshape(g, sg_slice(g, qkv, 2, 32 * i, 32 * i + 32, 1), 4, (sg_dim[]){4, 10, 4, 8}),
                         (int[]){0, 2, 1, 3});
    same(b, sg_matmul(g, x, w, false, false));
    same(b, sg_matmul(g, x, v, false, true));
    sg_value *flat = sg_reshape(g, x, 2, (sg_dim[]){120, 24});
    same(b, sg_matmul(g, flat, sg_matmul(g, flat, w, false, false), true, false));
    same(b, sg_matmul(g, w, v, true, true));
    sg_value *scores = sg_matmul(g, part[0], part[1], false, true);
    same(b, scores);
    same(b, sg_matmul(g, scores, part[2], false, false));
    same(b, sg_matmul(g, scores, part[2], true, false));
    same(b, sg_matmul(g, sg_transpose(g, x, (int[]){0, 2, 1}), x, false, false));
    same(b, sg_matmul(g, sg_slice(g, w, 1, 0, 36, 3), sg_slice(g, v, 0, 4, 16, 1), false, false)); /* no unit stride */
    same(b, sg_matmul(g, x, sg_broadcast(g, sg_slice(g, x, 0, 1, 2, 1), 3, (sg_dim[]){4, 30, 24}), false, true));
    same(b, sg_matmul(g, sg_slice(g, w, 0, 3, 4, 1), v, false, false)); /* one row */
    same(b, sg_matmul(g, w, sg_slice(g, v, 1, 2, 3, 1), false, false)); /* one column */
    sg_value *lead = reals(b, 4, (sg_dim[]){2, 1, 5, 6}), *other = reals(b, 4, (sg_dim[]){2, 3, 6, 7});
    same(b, sg_matmul(g, lead, other, false, false)); /* leading axes broadcast */
}

static void matrix_products_of_any_strides(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    products(&b);
    finish(&b, SG_F32, 1e-5);
}

static void matrix_products_in_bf16(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    products(&b);
    finish(&b, SG_BF16, 6e-2); /* several in a row, each rounding its operands to 8 bits */
}

static void tables(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    sg_value *table = reals(&b, 2, (sg_dim[]){13, 20}), *ids = wholes(&b, 2, (sg_dim[]){70, 60}, 13);
    sg_value *rows = reals(&b, 3, (sg_dim[]){70, 60, 20}), *wide = reals(&b, 2, (sg_dim[]){30, 600});
    sg_value *few = wholes(&b, 1, (sg_dim[]){30}, 5), *x = reals(&b, 3, (sg_dim[]){6, 7, 9});
    sg_value *last = wholes(&b, 3, (sg_dim[]){6, 7, 2}, 9), *mid = wholes(&b, 3, (sg_dim[]){6, 4, 9}, 7);
    same(&b, sg_embed(g, table, ids));
    same(&b, sg_scatter_add(g, ids, rows, 13));
    same(&b, sg_scatter_add(g, few, wide, 5));
    same(&b, sg_take_along(g, x, last, 2));
    same(&b, sg_take_along(g, x, mid, 1));
    same(&b, sg_put_along(g, last, sg_take_along(g, x, last, 2), 2, 9));
    same(&b, sg_put_along(g, mid, sg_take_along(g, x, mid, 1), 1, 7));
    finish(&b, SG_F32, 3e-6);
}

/* As attention and norms do, forward and back. */
static void rows_in_a_chain(void **state)
{
    NEEDS_GPU;
    bench b = begin();
    sg_graph *g = b.g;
    const sg_dim dims[4] = {3, 4, 60, 60};
    sg_value *scores = reals(&b, 4, dims), *mask = truths(&b, 4, (sg_dim[]){3, 1, 60, 60}), *d = reals(&b, 4, dims);
    sg_value *hidden = sg_where(g, mask, sg_mul_scalar(g, scores, 0.3), sg_scalar(g, SG_F32, -(double)INFINITY));
    sg_value *pattern = sg_softmax(g, hidden, -1), *product = sg_mul(g, d, pattern);
    sg_value *back = sg_sub(g, product, sg_mul(g, pattern, sg_sum(g, product, -1, true)));
    same(&b, pattern);
    same(&b, sg_mul_scalar(g, sg_where(g, mask, back, sg_scalar(g, SG_F32, 0)), 0.3));

    sg_value *x = reals(&b, 3, (sg_dim[]){50, 20, 48}), *w = reals(&b, 1, (sg_dim[]){48}),
             *c = reals(&b, 1, (sg_dim[]){48});
    sg_value *bias = reals(&b, 1, (sg_dim[]){48}), *dy = reals(&b, 3, (sg_dim[]){50, 20, 48}), *dx[3];
    sg_value *in = sg_gelu_tanh(g, sg_add(g, x, bias)), *y = sg_layer_norm(g, in, w, c, 1e-5);
    sg_gradients(g, y, dy, 3, (sg_value *[]){x, w, bias}, dx);
    same(&b, y);
    for (int i = 0; i < 3; i++)
        same(&b, dx[i]);

    sg_value *turned = sg_transpose(g, reals(&b, 3, (sg_dim[]){40, 70, 30}), (int[]){1, 0, 2});
    sg_value *less = sg_sub(g, turned, sg_max(g, turned, -1, true));
    same(&b, sg_logsumexp(g, sg_neg(g, less), -1, false));
    same(&b, sg_log_softmax(g, sg_silu(g, less), -1));
    same(&b, sg_mean(g, sg_rms_norm(g, sg_square(g, less), 1e-6), -1, false));

    sg_value *wide = reals(&b, 2, (sg_dim[]){90, 1500}), *one = reals(&b, 2, (sg_dim[]){90, 1});
    sg_value *both = sg_maximum(g, sg_add(g, wide, one), sg_tanh(g, wide));
    same(&b, sg_sum_to(g, sg_mul(g, both, both), 1, (sg_dim[]){1500}));
    same(&b, sg_sum_to(g, both, 1, (sg_dim[]){1500}));
    same(&b, sg_min(g, both, -1, false));
    finish(&b, SG_F32, 1e-5);
}

static void an_index_out_of_range_is_an_error(void **state)
{
    NEEDS_GPU;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *table = sg_input(g, "table", SG_F32, 2, (sg_dim[]){3, 2}),
             *ids = sg_input(g, "ids", SG_I32, 1, (sg_dim[]){2});
    sg_value *y = sg_embed(g, table, ids);
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    int32_t at[2] = {1, 3};
    sg_tensor out;
    sg_session *s;
    const sg_feed feeds[2] = {{table, sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, numbers)},
                              {ids, sg_tensor_of(SG_I32, 1, (sg_dim[]){2}, at)}};
    CHECK_OK(sg_session_new(&s, g, NULL, gpu, &err), &err);
    CHECK_STATUS(sg_session_run(s, 2, feeds, 1, &y, &out, &err), SG_EARG);
    CHECK_TEXT(err.text, "3 (element 1");
    at[1] = 2; /* and it is over then */
    CHECK_OK(sg_session_run(s, 2, feeds, 1, &y, &out, &err), &err);
    CHECK_NEAR(((float *)out.data)[3], 6, 0, 0);
    sg_session_free(s);
    sg_graph_free(g);
}

/* ---- training ---- */

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    (void)self;
    (void)err;
    sg_rng r = sg_rng_new(11, (uint32_t)i);
    const sg_dim time = field[0].dims[1];
    int32_t *tokens = field[0].data;
    for (sg_dim k = 0; k < sg_tensor_count(&field[0]); k++) /* mostly one more than before */
        tokens[k] =
            k % time && sg_rng_uniform(&r) < 0.8 ? (tokens[k - 1] + 1) % 61 : (int32_t)(sg_rng_uniform(&r) * 61);
    return SG_OK;
}

enum { STEPS = 20 };

static void learn(sg_exec_opts exec, double *losses)
{
    sg_error err;
    sg_model *m;
    sg_learner *l;
    char config[] = "/tmp/sg_cuda_XXXXXX";
    static const char text[] =
        "{\"model_type\":\"gpt2\",\"n_embd\":48,\"n_layer\":2,\"n_head\":4,\"n_positions\":20,\"n_ctx\":20,"
        "\"vocab_size\":61,\"activation_function\":\"gelu_new\",\"layer_norm_epsilon\":1e-5,"
        "\"tie_word_embeddings\":false}";
    const int fd = mkstemp(config);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    unlink(config);
    const sg_source source = {
        .n_fields = 1, .field = {sg_tensor_of(SG_I32, 2, (sg_dim[]){32, 20}, NULL)}, .fill = fill};
    sg_learner_opts opts = sg_learner_defaults();
    opts.exec = exec;
    opts.seed = 3;
    opts.update.clip = 1;
    opts.update.adam.weight_decay = 0.1;
    opts.schedule.lr = 0.01;
    CHECK_OK(sg_learner_new(&l, m, &source, opts, &err), &err);
    for (int i = 0; i < STEPS; i++) {
        CHECK_OK(sg_learner_run(l, 1, &err), &err);
        losses[i] = sg_learner_loss(l);
    }
    sg_learner_free(l);
    sg_model_close(m);
}

static void training_is_that_of_the_processor(void **state)
{
    NEEDS_GPU;
    double there[STEPS], here[STEPS], again[STEPS], half[STEPS];
    sg_exec_opts bf16 = gpu;
    bf16.compute = SG_BF16;
    learn(cpu, here);
    learn(gpu, there);
    learn(gpu, again);
    learn(bf16, half);
    for (int i = 0; i < STEPS; i++) {
        CHECK_NEAR(there[i], here[i], 0, i < 5 ? 1e-5 : 1e-3); /* rounding grows from step to step */
        CHECK_NEAR(again[i], there[i], 0, 0);
        CHECK_NEAR(half[i], here[i], 0, 2e-2);
    }
    CHECK(there[STEPS - 1] < 0.9 * there[0]);
    print_message("loss %.6f to %.6f, on the processor %.6f, in bf16 %.6f\n", there[0], there[STEPS - 1],
                  here[STEPS - 1], half[STEPS - 1]);
}

int main(void)
{
    gpu = cpu = sg_exec_defaults();
    cpu.n_backends = 0;
    if (sg_exec_use(&gpu, "cuda", &absent) != SG_OK)
        only_gpu = absent.text;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_one_number),
        cmocka_unit_test(functions_of_two_numbers_broadcast),
        cmocka_unit_test(comparisons_and_choices),
        cmocka_unit_test(shapes_are_copied),
        cmocka_unit_test(sums_over_any_axes),
        cmocka_unit_test(rows_are_normed),
        cmocka_unit_test(matrix_products_of_any_strides),
        cmocka_unit_test(matrix_products_in_bf16),
        cmocka_unit_test(tables),
        cmocka_unit_test(rows_in_a_chain),
        cmocka_unit_test(an_index_out_of_range_is_an_error),
        cmocka_unit_test(training_is_that_of_the_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
