/* Maps where mathematics knows them: of linear and quadratic functions exactly, of a network against finite differences
 * and a backward pass by hand. */
#include "sightglass/attribute.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { D = 6 };

typedef struct bench {
    sg_graph *g;
    sg_state *state;
    sg_attributer *a;
} bench;

static void open_bench(bench *b, const char *site, const char *score)
{
    sg_attribute_target target = sg_attribute_target_defaults();
    sg_error err;
    target.site = score;
    CHECK_OK(sg_graph_status(b->g, &err), &err);
    CHECK_OK(sg_state_new(&b->state, b->g, &err), &err);
    CHECK_OK(sg_state_init(b->state, 3, &err), &err);
    CHECK_OK(sg_attributer_new(&b->a, b->g, b->state, site, &target, sg_exec_defaults(), &err), &err);
}

static void close_bench(bench *b)
{
    sg_attributer_free(b->a);
    sg_state_free(b->state);
    sg_graph_free(b->g);
}

static sg_attribute_map *map_of(const bench *b, const sg_attribute_input *in, const sg_attribute_opts *opts)
{
    sg_attribute_map *m;
    sg_error err;
    CHECK_OK(sg_attribute(&m, b->a, in, opts, &err), &err);
    return m;
}

static const float w[D] = {1, -2, 0.5f, 3, 0, -1}, x0[D] = {0.3f, -0.7f, 1, 0.2f, 2, -1};

/* scores [batch,2]: w.x, and -w.x */
static void linear(bench *b, sg_dtype type)
{
    float both[2 * D];
    b->g = sg_graph_new();
    for (int i = 0; i < D; i++) {
        both[i] = w[i];
        both[D + i] = -w[i];
    }
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, D}, both);
    sg_value *x = sg_input(b->g, "x", type, 2, (sg_dim[]){sg_extent(b->g, "batch"), D});
    sg_name(b->g, sg_linear(b->g, x, sg_cast(b->g, sg_const(b->g, &t), type), NULL), "class_logits", NULL);
    open_bench(b, "x", NULL);
}

static sg_attribute_input input_of(sg_named_feed *f, const char *name, int n_dims, const sg_dim *dims, const float *x)
{
    *f = (sg_named_feed){name, sg_tensor_of(SG_F32, n_dims, dims, (void *)(uintptr_t)x)};
    return (sg_attribute_input){.n_feeds = 1, .feeds = f};
}

static void of_a_linear_function_smooth_is_the_gradient(void **state)
{
    (void)state;
    bench b;
    sg_named_feed f;
    linear(&b, SG_F32);
    sg_attribute_input in = input_of(&f, "x", 2, (sg_dim[]){1, D}, x0);
    sg_attribute_opts opts = sg_attribute_defaults();
    for (int k = 0; k < 12; k++) {
        opts.kind = SG_ATTRIBUTE_SMOOTH;
        opts.noise = 0.05 * k * k;
        opts.n = 1 + 7 * k;
        opts.seed = (uint64_t)k;
        in.index = k % 2;
        sg_attribute_map *m = map_of(&b, &in, &opts);
        CHECK(m->n == D && m->n_dims == 1);
        double s = 0;
        for (int i = 0; i < D; i++) {
            CHECK_NEAR(m->map[i], in.index ? -w[i] : w[i], 1e-6, 0);
            s += (double)w[i] * (double)x0[i];
        }
        CHECK_NEAR(m->score, in.index ? -s : s, 1e-6, 0);
        CHECK_NEAR(m->sigma, opts.noise * 3, 1e-6, 0); /* from -1 to 2 */
        sg_attribute_map_free(m);
    }
    /* Of every kind the linear function's map is known. */
    in.index = 0;
    for (int kind = 0; kind < SG_N_ATTRIBUTE_KINDS; kind++) {
        if (kind == SG_ATTRIBUTE_GUIDED)
            continue;
        opts.kind = (sg_attribute_kind)kind;
        sg_attribute_map *m = map_of(&b, &in, &opts);
        for (int i = 0; i < D; i++) {
            const double want = kind == SG_ATTRIBUTE_GRADIENT || kind == SG_ATTRIBUTE_SMOOTH ? (double)w[i]
                                : kind == SG_ATTRIBUTE_SMOOTH2 ? (double)w[i] * (double)w[i]
                                : kind == SG_ATTRIBUTE_VARGRAD
                                    ? 0
                                    : (double)w[i] * (double)x0[i]; /* x0 is zeros for all three */
            CHECK_NEAR(m->map[i], want, 1e-6, 0);
        }
        if (kind == SG_ATTRIBUTE_INTEGRATED) {
            CHECK_NEAR(m->residual, 0, 1e-6, 0);
            CHECK_NEAR(m->baseline_score, 0, 1e-6, 0);
        }
        sg_attribute_map_free(m);
    }
    sg_error err;
    sg_attribute_map *m;
    opts.kind = SG_ATTRIBUTE_GUIDED;
    CHECK_STATUS(sg_attribute(&m, b.a, &in, &opts, &err), SG_EUNSUPPORTED); /* no ReLU */
    in.index = 2;
    opts.kind = SG_ATTRIBUTE_GRADIENT;
    CHECK_STATUS(sg_attribute(&m, b.a, &in, &opts, &err), SG_EARG);
    opts.n = 0;
    CHECK_STATUS(sg_attribute(&m, b.a, &in, &opts, &err), SG_EARG);
    close_bench(&b);
}

/* S = sum a_i x_i^2 / 2 + x_0 x_1: the gradient is linear in x, so noise averages out as 1 / sqrt(n). */
static void of_a_quadratic_function_the_error_shrinks_as_the_root_of_n(void **state)
{
    (void)state;
    bench b = {.g = sg_graph_new()};
    sg_named_feed f;
    const sg_tensor t = sg_tensor_of(SG_F32, 1, (sg_dim[]){D}, (void *)(uintptr_t)w);
    sg_value *x = sg_input(b.g, "x", SG_F32, 2, (sg_dim[]){sg_extent(b.g, "batch"), D});
    sg_value *s = sg_sum(b.g, sg_mul_scalar(b.g, sg_mul(b.g, sg_square(b.g, x), sg_const(b.g, &t)), 0.5), 1, false);
    s = sg_add(b.g, s, sg_squeeze(b.g, sg_mul(b.g, sg_slice(b.g, x, 1, 0, 1, 1), sg_slice(b.g, x, 1, 1, 2, 1)), 1));
    sg_name(b.g, s, "score", NULL);
    open_bench(&b, "x", "score");
    const sg_attribute_input in = input_of(&f, "x", 2, (sg_dim[]){1, D}, x0);
    sg_attribute_opts opts = sg_attribute_defaults();
    sg_attribute_map *exact = map_of(&b, &in, &opts);
    for (int i = 0; i < D; i++)
        CHECK_NEAR(exact->map[i],
                   (double)w[i] * (double)x0[i] + (double)(i == 0   ? x0[1]
                                                           : i == 1 ? x0[0]
                                                                    : 0),
                   1e-6, 0);

    double log_n[5], log_error[5];
    opts.kind = SG_ATTRIBUTE_SMOOTH;
    for (int k = 0; k < 5; k++) {
        double squares = 0;
        opts.n = 4 << (2 * k);
        for (int repeat = 0; repeat < 40; repeat++) {
            opts.seed = (uint64_t)(100 * k + repeat);
            sg_attribute_map *m = map_of(&b, &in, &opts);
            for (int i = 0; i < D; i++)
                squares += (m->map[i] - exact->map[i]) * (m->map[i] - exact->map[i]);
            sg_attribute_map_free(m);
        }
        log_n[k] = log(opts.n);
        log_error[k] = 0.5 * log(squares / 40);
    }
    const double slope =
        sg_stats_pearson(5, log_n, log_error) * sg_stats_deviation(5, log_error) / sg_stats_deviation(5, log_n);
    CHECK_NEAR(slope, -0.5, 0.1, 0);
    sg_attribute_map_free(exact);
    close_bench(&b);
}

/* A small convolutional network with everything that MobileNet has, in double: conv, batch norm as at inference, ReLU6,
 * depthwise, pooling. hidden is an inner site. */
static void convolutions(bench *b, sg_dtype type)
{
    enum { C = 4 };
    sg_graph *g = b->g = sg_graph_new();
    sg_value *x = sg_input(g, "pixels", type, 4, (sg_dim[]){sg_extent(g, "images"), 2, 8, 8});
    sg_value *v1 = sg_variable(g, "conv", type, 4, (sg_dim[]){C, 2, 3, 3}, sg_init_normal(0.6));
    sg_value *v2 = sg_variable(g, "depthwise", type, 4, (sg_dim[]){C, 1, 3, 3}, sg_init_normal(0.8));
    sg_value *v3 = sg_variable(g, "dense", type, 2, (sg_dim[]){3, C * 4}, sg_init_normal(1));
    sg_value *mean = sg_variable(g, "mean", type, 1, (sg_dim[]){C}, sg_init_normal(0.3));
    sg_value *var = sg_variable(g, "var", type, 1, (sg_dim[]){C}, sg_init_uniform(0.5, 1.5));
    sg_value *gain = sg_variable(g, "gain", type, 1, (sg_dim[]){C}, sg_init_uniform(1, 2));
    sg_conv2d_opts depthwise = sg_conv2d_strided(1, 1);
    depthwise.groups = C;
    sg_value *h =
        sg_batch_norm_given(g, sg_conv2d(g, x, v1, NULL, sg_conv2d_strided(1, 1)), mean, var, gain, NULL, 1e-3);
    h = sg_name(g, sg_clamp(g, h, 0, 6), "hidden", NULL);
    h = sg_clamp(g, sg_conv2d(g, h, v2, NULL, depthwise), 0, 6);
    h = sg_max_pool2d(g, h, sg_pool2d_strided(2, 2));
    h = sg_avg_pool2d(g, h, sg_pool2d_strided(2, 2));
    h = sg_reshape(g, h, 2, (sg_dim[]){sg_value_dim(h, 0), C * 4});
    sg_name(g, sg_linear(g, h, v3, NULL), "class_logits", NULL);
}

static void random_numbers(float *x, int n, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 1);
    for (int i = 0; i < n; i++)
        x[i] = (float)sg_rng_normal(&r);
}

enum { PIXELS = 128 };

/* In double, at a step of 1e-6 that crosses no kink of this input: central differences of S, which is fed and run anew.
 */
static void pixels_and_inner_sites_agree_with_finite_differences(void **state)
{
    (void)state;
    static const char *const sites[2] = {"pixels", "hidden"};
    float x[PIXELS];
    double pixels[PIXELS];
    random_numbers(x, PIXELS, 5);
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = (double)x[i];
    for (int s = 0; s < 2; s++) {
        bench b;
        convolutions(&b, SG_F64);
        open_bench(&b, sites[s], NULL);
        sg_named_feed f[2] = {{"pixels", sg_tensor_of(SG_F64, 4, (sg_dim[]){1, 2, 8, 8}, pixels)}};
        sg_attribute_input in = {.n_feeds = 1, .feeds = f, .index = 1};
        sg_attribute_opts opts = sg_attribute_defaults();
        sg_attribute_map *m = map_of(&b, &in, &opts);
        double *moved = malloc((size_t)m->n * sizeof *moved);
        f[s] = (sg_named_feed){sites[s],
                               sg_tensor_of(SG_F64, 4, (sg_dim[]){1, m->dims[0], m->dims[1], m->dims[2]}, moved)};
        in.n_feeds = s + 1;
        int some = 0;
        for (sg_dim i = 0; i < m->n; i += 3) {
            double up, down;
            const double step = 1e-6;
            memcpy(moved, m->x, (size_t)m->n * sizeof *moved);
            if (s == 1 && moved[i] == 0)
                moved[i] += 1e-3; /* off the kink of nothing: hidden is behind its ReLU6, and S is smooth in it */
            opts.kind = SG_ATTRIBUTE_GRADIENT;
            sg_attribute_map *at = map_of(&b, &in, &opts);
            moved[i] += step;
            sg_attribute_map *more = map_of(&b, &in, &opts);
            up = more->score;
            moved[i] -= 2 * step;
            sg_attribute_map *less = map_of(&b, &in, &opts);
            down = less->score;
            CHECK_NEAR(at->map[i], (up - down) / (2 * step), 1e-7, 1e-5);
            some += fabs(at->map[i]) > 1e-3;
            sg_attribute_map_free(at);
            sg_attribute_map_free(more);
            sg_attribute_map_free(less);
        }
        CHECK(some > 10);
        free(moved);
        sg_attribute_map_free(m);
        close_bench(&b);
    }
}

static void smooth2_is_smooth_squared_and_vargrad(void **state)
{
    (void)state;
    bench b;
    sg_named_feed f;
    float x[PIXELS];
    random_numbers(x, PIXELS, 6);
    convolutions(&b, SG_F32);
    open_bench(&b, "pixels", NULL);
    const sg_attribute_input in = input_of(&f, "pixels", 4, (sg_dim[]){1, 2, 8, 8}, x);
    sg_attribute_opts opts = sg_attribute_defaults();
    sg_attribute_map *m[3];
    for (int k = 0; k < 3; k++) {
        opts.kind = (sg_attribute_kind)(SG_ATTRIBUTE_SMOOTH + k);
        m[k] = map_of(&b, &in, &opts);
    }
    double varied = 0;
    for (sg_dim i = 0; i < PIXELS; i++) {
        CHECK(m[1]->map[i] >= 0);
        CHECK_NEAR(m[1]->map[i], m[0]->map[i] * m[0]->map[i] + m[2]->map[i], 1e-5, 0);
        varied += m[2]->map[i];
    }
    CHECK(varied > 0.01);
    /* One by one, or as one batch. */
    opts.kind = SG_ATTRIBUTE_SMOOTH;
    opts.batch = 1;
    sg_attribute_map *single = map_of(&b, &in, &opts);
    opts.batch = 25;
    sg_attribute_map *all = map_of(&b, &in, &opts);
    opts.seed = 1;
    sg_attribute_map *other = map_of(&b, &in, &opts);
    double differs = 0;
    for (sg_dim i = 0; i < PIXELS; i++) {
        CHECK_NEAR(single->map[i], all->map[i], 1e-6, 0);
        differs = fmax(differs, fabs(other->map[i] - all->map[i]));
    }
    CHECK(differs > 1e-3);
    /* Without noise it is the gradient. */
    opts.noise = 0;
    sg_attribute_map *still = map_of(&b, &in, &opts);
    opts.kind = SG_ATTRIBUTE_GRADIENT;
    sg_attribute_map *gradient = map_of(&b, &in, &opts);
    for (sg_dim i = 0; i < PIXELS; i++)
        CHECK_NEAR(still->map[i], gradient->map[i], 1e-6, 0);
    sg_attribute_map *const maps[] = {m[0], m[1], m[2], single, all, other, still, gradient};
    for (size_t k = 0; k < SG_COUNT_OF(maps); k++)
        sg_attribute_map_free(maps[k]);
    close_bench(&b);
}

/* A network of tanh, whose path has curvature: the parts add up to the difference ever better. */
static void integrated_gradients_add_up(void **state)
{
    (void)state;
    bench b = {.g = sg_graph_new()};
    sg_named_feed f;
    sg_value *x = sg_input(b.g, "x", SG_F32, 2, (sg_dim[]){sg_extent(b.g, "batch"), D});
    sg_value *v1 = sg_variable(b.g, "v1", SG_F32, 2, (sg_dim[]){16, D}, sg_init_normal(0.8));
    sg_value *v2 = sg_variable(b.g, "v2", SG_F32, 2, (sg_dim[]){2, 16}, sg_init_normal(0.8));
    sg_name(b.g, sg_linear(b.g, sg_tanh(b.g, sg_linear(b.g, x, v1, NULL)), v2, NULL), "class_logits", NULL);
    open_bench(&b, "x", NULL);
    const sg_attribute_input in = input_of(&f, "x", 2, (sg_dim[]){1, D}, x0);
    const double baseline[D] = {0.5, 0.5, -1, 0, 0, 0.25};
    sg_attribute_opts opts = sg_attribute_defaults();
    opts.kind = SG_ATTRIBUTE_INTEGRATED;
    for (int k = 0; k < 4; k++) {
        opts.baseline = k % 2 ? baseline : NULL;
        opts.n = k < 2 ? 50 : 300;
        sg_attribute_map *m = map_of(&b, &in, &opts);
        const double difference = fabs(m->score - m->baseline_score);
        CHECK(difference > 0.05);
        CHECK(fabs(m->residual) <= (k < 2 ? 0.01 : 0.001) * difference);
        sg_attribute_map_free(m);
    }
    close_bench(&b);
}

/* S = v . relu(W x): the guided rule keeps hidden units that are on and have v > 0, the gradient all that are on. */
static void guided_passes_what_is_positive_and_says_so(void **state)
{
    (void)state;
    enum { H = 8 };
    bench b = {.g = sg_graph_new()};
    sg_named_feed f;
    float first[H * D], second[H];
    random_numbers(first, H * D, 8);
    random_numbers(second, H, 9);
    const sg_tensor t1 = sg_tensor_of(SG_F32, 2, (sg_dim[]){H, D}, first),
                    t2 = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, H}, second);
    sg_value *x = sg_input(b.g, "x", SG_F32, 2, (sg_dim[]){sg_extent(b.g, "batch"), D});
    sg_value *h = sg_relu(b.g, sg_linear(b.g, x, sg_const(b.g, &t1), NULL));
    sg_value *h2 = sg_clamp(b.g, sg_add_scalar(b.g, h, -0.2), 0, 6); /* a second one, as ReLU6 */
    sg_name(b.g, sg_linear(b.g, h2, sg_const(b.g, &t2), NULL), "class_logits", NULL);
    open_bench(&b, "x", NULL);
    const sg_attribute_input in = input_of(&f, "x", 2, (sg_dim[]){1, D}, x0);
    sg_attribute_opts opts = sg_attribute_defaults();
    sg_attribute_map *plain = map_of(&b, &in, &opts);
    opts.kind = SG_ATTRIBUTE_GUIDED;
    sg_attribute_map *guided = map_of(&b, &in, &opts);
    double gradient[D] = {0}, passed[D] = {0};
    int kept = 0, cut = 0;
    for (int k = 0; k < H; k++) {
        double in_k = 0;
        for (int i = 0; i < D; i++)
            in_k += (double)first[k * D + i] * (double)x0[i];
        if (in_k <= 0.2 || in_k >= 6.2)
            continue;
        kept += second[k] > 0;
        cut += second[k] < 0;
        for (int i = 0; i < D; i++) {
            gradient[i] += (double)second[k] * (double)first[k * D + i];
            passed[i] += second[k] > 0 ? (double)second[k] * (double)first[k * D + i] : 0;
        }
    }
    CHECK(kept > 0 && cut > 0);
    for (int i = 0; i < D; i++) {
        CHECK_NEAR(plain->map[i], gradient[i], 1e-5, 0);
        CHECK_NEAR(guided->map[i], passed[i], 1e-5, 0);
    }
    CHECK_TEXT(sg_attribute_kind_text(SG_ATTRIBUTE_GUIDED), "not a gradient");
    CHECK_TEXT(sg_attribute_kind_text(SG_ATTRIBUTE_SMOOTH2), "squared");
    sg_attribute_map_free(plain);
    sg_attribute_map_free(guided);
    close_bench(&b);
}

/* A sum of pixels weighted by place: whatever window covers a pixel, what it takes away is known. */
static void occlusion_and_curves_of_a_weighted_sum(void **state)
{
    (void)state;
    enum { S = 4 };
    bench b = {.g = sg_graph_new()};
    sg_named_feed f;
    float weight[S * S], x[S * S];
    double places[S * S];
    sg_error err;
    for (int i = 0; i < S * S; i++) {
        weight[i] = (float)(i + 1);
        x[i] = i % 2 ? 1 : -1; /* mean 0, so that filling is clearing */
        places[i] = (double)weight[i];
    }
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, S * S}, weight);
    sg_value *v = sg_input(b.g, "pixels", SG_F32, 4, (sg_dim[]){sg_extent(b.g, "images"), 1, S, S});
    sg_value *flat = sg_reshape(b.g, v, 2, (sg_dim[]){sg_value_dim(v, 0), S * S});
    sg_name(b.g, sg_linear(b.g, flat, sg_const(b.g, &t), NULL), "class_logits", NULL);
    open_bench(&b, "pixels", NULL);
    const sg_attribute_input in = input_of(&f, "pixels", 4, (sg_dim[]){1, 1, S, S}, x);
    sg_attribute_opts opts = sg_attribute_defaults();
    opts.kind = SG_ATTRIBUTE_OCCLUSION;
    opts.window = opts.stride = 2;
    sg_attribute_map *m = map_of(&b, &in, &opts);
    for (int i = 0; i < S * S; i++) {
        const int top = i / S / 2 * 2, left = i % S / 2 * 2;
        double fall = 0;
        for (int y = top; y < top + 2; y++)
            for (int k = left; k < left + 2; k++)
                fall += (double)weight[y * S + k] * (double)x[y * S + k];
        CHECK_NEAR(m->map[i], fall, 1e-5, 0);
    }
    sg_dim height, width;
    sg_attribute_size(m, &height, &width);
    CHECK(height == S && width == S);
    sg_attribute_curve *c;
    CHECK_OK(sg_attribute_curves(&c, b.a, &in, places, S * S, &opts, &err), &err);
    double left = 0, whole = 0;
    for (int i = 0; i < S * S; i++)
        whole += (double)weight[i] * (double)x[i];
    left = whole;
    for (int k = 0; k <= S * S; k++) {
        CHECK_NEAR(c->deletion[k], left, 1e-4, 0);
        CHECK_NEAR(c->insertion[k], whole - left, 1e-4, 0);
        if (k < S * S) /* the largest weight goes first */
            left -= (double)weight[S * S - 1 - k] * (double)x[S * S - 1 - k];
    }
    CHECK_NEAR(c->deletion_area + c->insertion_area, whole, 1e-4, 0);
    sg_attribute_curve_free(c);
    sg_attribute_map_free(m);
    close_bench(&b);
}

static void shuffled_weights_from_the_top(void **state)
{
    (void)state;
    bench b;
    sg_named_feed f;
    sg_error err;
    float x[PIXELS];
    random_numbers(x, PIXELS, 7);
    convolutions(&b, SG_F32);
    open_bench(&b, "pixels", NULL);
    CHECK(sg_attributer_n_weights(b.a) == 3);
    assert_string_equal(sg_attributer_weight(b.a, 0), "dense");
    assert_string_equal(sg_attributer_weight(b.a, 1), "depthwise");
    assert_string_equal(sg_attributer_weight(b.a, 2), "conv");
    CHECK(!sg_attributer_weight(b.a, 3));
    const sg_attribute_input in = input_of(&f, "pixels", 4, (sg_dim[]){1, 2, 8, 8}, x);
    const sg_attribute_opts opts = sg_attribute_defaults();
    sg_attribute_map *own = map_of(&b, &in, &opts), *last = NULL;
    for (int n = 0; n <= 3; n++) {
        sg_attributer *s;
        sg_attribute_map *m;
        CHECK_OK(sg_attributer_shuffled(&s, b.a, n, 4, &err), &err);
        CHECK_OK(sg_attribute(&m, s, &in, &opts, &err), &err);
        double differs = 0;
        for (sg_dim i = 0; i < m->n; i++)
            differs = fmax(differs, fabs(m->map[i] - (last ? last : own)->map[i]));
        CHECK(n == 0 ? differs == 0 : differs > 1e-4); /* each layer changes it anew */
        sg_attribute_map_free(last);
        last = m;
        sg_attributer_free(s);
    }
    sg_attribute_map *again = map_of(&b, &in, &opts); /* the network itself is as it was */
    CHECK(memcmp(own->map, again->map, (size_t)own->n * sizeof *own->map) == 0);
    sg_attribute_map_free(again);
    sg_attribute_map_free(last);
    sg_attribute_map_free(own);
    close_bench(&b);
}

static void a_cap_keeps_the_order_below_it(void **state)
{
    (void)state;
    enum { N = 200 };
    double x[N], capped[N];
    sg_rng r = sg_rng_new(2, 0);
    for (int i = 0; i < N; i++)
        capped[i] = x[i] = sg_rng_normal(&r) * (i == 3 ? 100 : 1);
    const double cap = sg_attribute_cap(N, capped, 0.99);
    int cut = 0;
    for (int i = 0; i < N; i++) {
        cut += fabs(x[i]) > cap;
        CHECK(fabs(capped[i]) <= 1);
        for (int j = 0; j < N; j++)
            if (fabs(x[i]) < cap && fabs(x[j]) < cap)
                CHECK((x[i] < x[j]) == (capped[i] < capped[j]));
    }
    CHECK(cut == 2); /* 1 % of 200 */
    double zeros[4] = {0};
    CHECK(sg_attribute_cap(4, zeros, 0.99) == 0 && zeros[0] == 0);
}

/* A text's gradient by hook_embed, and what a run of many rows gives of it. */
static void tokens_of_a_language_model(void **state)
{
    (void)state;
    static const char config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"n_layer\": 2, \"n_head\": 2, "
                                 "\"n_positions\": 8, \"vocab_size\": 13, \"tie_word_embeddings\": false, "
                                 "\"initializer_range\": 0.3}";
    const int32_t tokens[5] = {3, 1, 4, 1, 5}, other[3] = {9, 2, 6};
    sg_attribute_target target = sg_attribute_target_defaults();
    sg_model *m;
    sg_attributer *a;
    sg_attribute_map *map;
    sg_error err;
    FILE *file = fopen("attribute_config.json", "w");
    CHECK(file && fwrite(config, 1, sizeof config - 1, file) == sizeof config - 1 && fclose(file) == 0);
    CHECK_OK(sg_model_new(&m, "attribute_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("attribute_config.json");
    target.less_other = true;
    CHECK_OK(sg_attributer_model(&a, m, "blocks.1.hook_resid_pre", &target, 1, sg_exec_defaults(), &err), &err);
    const sg_attribute_input in = {.tokens = tokens, .n_tokens = 5, .index = 2, .other = 7};
    sg_attribute_opts opts = sg_attribute_defaults();
    CHECK_OK(sg_attribute(&map, a, &in, &opts, &err), &err);
    CHECK(map->n_dims == 2 && map->dims[0] == 5 && map->dims[1] == 16);
    sg_dim height, width;
    double places[5];
    sg_attribute_size(map, &height, &width);
    CHECK(height == 5 && width == 1);
    sg_attribute_places(places, map, SG_REDUCE_L2);
    for (int t = 0; t < 5; t++) {
        double squares = 0;
        for (int d = 0; d < 16; d++)
            squares += map->map[t * 16 + d] * map->map[t * 16 + d];
        CHECK_NEAR(places[t], sqrt(squares), 1e-12, 0);
    }
    /* The same gradient where the site is computed, beside a shorter text that is filled up on its left. */
    float acts[2 * 16], gradients[2 * 16];
    double scores[2];
    const int32_t *texts[2] = {tokens, other}, index[2] = {2, 2}, less[2] = {7, 7};
    const sg_dim lengths[2] = {5, 3};
    sg_attribute_rows rows = {.n = 2, .tokens = texts, .lengths = lengths, .index = index, .other = less};
    CHECK(sg_attributer_width(a, -1) == 16);
    CHECK_OK(sg_attributer_run(a, &rows, -1, acts, gradients, scores, NULL, &err), &err);
    for (int d = 0; d < 16; d++) {
        CHECK_NEAR(gradients[d], map->map[4 * 16 + d], 1e-5, 0);
        CHECK_NEAR(acts[d], map->x[4 * 16 + d], 1e-5, 0);
    }
    CHECK_NEAR(scores[0], map->score, 1e-5, 0);
    sg_attribute_map *alone;
    const sg_attribute_input in2 = {.tokens = other, .n_tokens = 3, .index = 2, .other = 7};
    CHECK_OK(sg_attribute(&alone, a, &in2, &opts, &err), &err);
    CHECK_NEAR(scores[1], alone->score, 1e-5, 0);
    for (int d = 0; d < 16; d++)
        CHECK_NEAR(gradients[16 + d], alone->map[2 * 16 + d], 1e-5, 0);
    /* Moving along the gradient raises the score as far as it says. */
    float moved[5 * 16];
    double along = 0;
    for (int i = 0; i < 5 * 16; i++) {
        moved[i] = (float)(map->x[i] + 1e-3 * map->map[i]);
        along += 1e-3 * map->map[i] * map->map[i];
    }
    sg_named_feed f;
    sg_attribute_input there = input_of(&f, "blocks.1.hook_resid_pre", 3, (sg_dim[]){1, 5, 16}, moved);
    there.tokens = tokens, there.n_tokens = 5, there.index = 2, there.other = 7;
    sg_attribute_map *far;
    CHECK_OK(sg_attribute(&far, a, &there, &opts, &err), &err);
    CHECK_NEAR(far->score - map->score, along, 0.02 * along + 2e-6, 0);
    sg_attribute_map_free(far);
    sg_attribute_map_free(alone);
    sg_attribute_map_free(map);
    sg_attributer_free(a);
    CHECK_STATUS(sg_attributer_model(&a, m, "blocks.7.hook_resid_pre", &target, 1, sg_exec_defaults(), &err),
                 SG_ENOTFOUND);
    sg_model_close(m);
}

static void a_picture_is_written_and_read_back(void **state)
{
    (void)state;
    const double places[4] = {0, 1, -1, 0.5};
    sg_bitmap *signs, *plain, *over, *sheet, *back;
    sg_error err;
    CHECK_OK(sg_attribute_picture(&signs, 2, 2, places, true, 3, NULL, &err), &err);
    CHECK_OK(sg_attribute_picture(&plain, 2, 2, places, false, 3, NULL, &err), &err);
    CHECK_OK(sg_attribute_picture(&over, 2, 2, places, true, 2, plain, &err), &err);
    CHECK(signs->height == 6 && signs->rgb[0] == 255 && signs->rgb[2] == 255); /* 0 is white */
    CHECK(signs->rgb[9] > signs->rgb[11] && plain->rgb[0] == 0 && plain->rgb[9] == 255);
    CHECK(signs->rgb[3 * 18] < signs->rgb[3 * 18 + 2]); /* below 0 is blue */
    const sg_bitmap *const pictures[3] = {signs, plain, over};
    CHECK_OK(sg_bitmap_beside(&sheet, 3, pictures, 2, 1, &err), &err);
    CHECK(sheet->width == 15 && sheet->height == 15);
    CHECK(sheet->rgb[(1 * 15 + 8) * 3] == 0);       /* the second picture's corner */
    CHECK(sheet->rgb[(1 * 15 + 7) * 3 + 2] == 255); /* the gap before it */
    CHECK_OK(sg_bitmap_save(sheet, "attribute_test.png", &err), &err);
    CHECK_OK(sg_bitmap_open(&back, "attribute_test.png", &err), &err);
    CHECK(back->width == 15 && memcmp(back->rgb, sheet->rgb, 15 * 15 * 3) == 0);
    unlink("attribute_test.png");
    CHECK_STATUS(sg_bitmap_save(sheet, "no/such/folder/x.png", &err), SG_ENOTFOUND);
    CHECK_STATUS(sg_attribute_picture(&signs, 0, 2, places, true, 3, NULL, &err), SG_EARG);
    for (int i = 0; i < 3; i++)
        sg_bitmap_free((sg_bitmap *)(uintptr_t)pictures[i]);
    sg_bitmap_free(sheet);
    sg_bitmap_free(back);

    const double x[4] = {0, 1, 0, 1};
    double edges[4];
    const bool mask[4] = {false, true, true, false};
    sg_attribute_edges(edges, 1, 2, 2, x);
    CHECK(edges[0] == 1 && edges[3] == 1);
    CHECK_NEAR(sg_attribute_inside(4, places, mask), 0.8, 1e-15, 0);
    CHECK_NEAR(sg_attribute_variation(2, 2, places), (1 + 1 + 0.5 + 1.5) / 2.5, 1e-15, 0);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    bench b;
    sg_named_feed f;
    float x[PIXELS];
    random_numbers(x, PIXELS, 7);
    convolutions(&b, SG_F32);
    open_bench(&b, "pixels", NULL);
    sg_attributer_free(b.a);
    const sg_attribute_input in = input_of(&f, "pixels", 4, (sg_dim[]){1, 2, 8, 8}, x);
    sg_attribute_opts opts = sg_attribute_defaults();
    const sg_attribute_target target = sg_attribute_target_defaults();
    opts.kind = SG_ATTRIBUTE_GUIDED;
    opts.n = 2;
    sg_error err;
    for (long n = 0;; n = n < 40 ? n + 1 : n + 1 + n / 10) {
        sg_attribute_map *m = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_attributer_new(&b.a, b.g, b.state, "pixels", &target, sg_exec_defaults(), &err);
        if (status == SG_OK)
            status = sg_attribute(&m, b.a, &in, &opts, &err);
        const bool fired = sg_faults_end();
        sg_attribute_map_free(m);
        sg_attributer_free(b.a);
        b.a = NULL;
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM || status == SG_OK); /* a cache that could not be kept is no failure */
    }
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_linear_function_smooth_is_the_gradient),
        cmocka_unit_test(of_a_quadratic_function_the_error_shrinks_as_the_root_of_n),
        cmocka_unit_test(pixels_and_inner_sites_agree_with_finite_differences),
        cmocka_unit_test(smooth2_is_smooth_squared_and_vargrad),
        cmocka_unit_test(integrated_gradients_add_up),
        cmocka_unit_test(guided_passes_what_is_positive_and_says_so),
        cmocka_unit_test(occlusion_and_curves_of_a_weighted_sum),
        cmocka_unit_test(shuffled_weights_from_the_top),
        cmocka_unit_test(a_cap_keeps_the_order_below_it),
        cmocka_unit_test(tokens_of_a_language_model),
        cmocka_unit_test(a_picture_is_written_and_read_back),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
