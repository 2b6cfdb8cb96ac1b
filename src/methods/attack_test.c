/* Against boundaries whose nearest point is known: a plane, in three measures of length, and a quadric on the sphere.
 */
#include "sightglass/attack.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/method.h"
#include "sightglass/npy.h"
#include "sightglass/ops.h"
#include "sightglass/spheres.h"

typedef struct net {
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_attack_session ask;
    sg_feed feed;
    double least, most; /* lengths of all rows that were asked */
    sg_attack_asked inner;
} net;

static void ready(net *n, sg_value *x, sg_value *loss, sg_value *wrong)
{
    sg_error err;
    CHECK_OK(sg_graph_status(n->g, &err), &err);
    n->ask = (sg_attack_session){.x = x, .gradient = sg_grad(n->g, sg_sum_all(n->g, loss), x), .wrong = wrong};
    CHECK_OK(sg_state_new(&n->state, n->g, &err), &err);
    CHECK_OK(sg_state_init(n->state, 1, &err), &err);
    CHECK_OK(sg_session_new(&n->session, n->g, n->state, sg_exec_defaults(), &err), &err);
    n->ask.session = n->session;
}

/* Errs where w . x > c. */
static net plane(sg_dim d, float *w, double c)
{
    net n = {.g = sg_graph_new()};
    sg_value *x = sg_input(n.g, "x", SG_F32, 2, (sg_dim[]){sg_extent(n.g, "batch"), d});
    const sg_tensor t = sg_tensor_of(SG_F32, 1, &d, w);
    sg_value *loss = sg_sum(n.g, sg_mul(n.g, x, sg_const(n.g, &t)), 1, false);
    ready(&n, x, loss, sg_greater(n.g, loss, sg_scalar(n.g, SG_F32, c)));
    return n;
}

/* Errs where sum_j (W1 x)_j^2 > 1, on the inner sphere. */
static net inside(sg_dim d, float *w1)
{
    net n = {.g = sg_graph_new()};
    sg_value *x = sg_input(n.g, "x", SG_F32, 2, (sg_dim[]){sg_extent(n.g, "batch"), d});
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){d, d}, w1);
    sg_value *s = sg_sum(n.g, sg_square(n.g, sg_linear(n.g, x, sg_const(n.g, &t), NULL)), 1, false);
    ready(&n, x, s, sg_greater(n.g, s, sg_scalar(n.g, SG_F32, 1)));
    return n;
}

static void net_free(net *n)
{
    sg_session_free(n->session);
    sg_state_free(n->state);
    sg_graph_free(n->g);
}

static void the_nearest_point_of_a_plane_is_found_in_each_measure(void **state)
{
    (void)state;
    enum { N = 3, D = 4 };
    float w[D] = {1, -2, .5f, 3}, x[N * D] = {0, 0, 0, 0, .1f, .2f, -.3f, .1f, 3, 0, 0, 0};
    const double l2 = sqrt(1 + 4 + .25 + 9), l1 = 6.5;
    net n = plane(D, w, 2);
    const sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    const sg_attack_ball ball = {10, -100, 100};
    for (int kind = 0; kind < 2; kind++) {
        sg_attack_opts opts = sg_attack_defaults();
        sg_attack *a;
        sg_error err;
        opts.region = kind ? sg_attack_linf(&ball) : sg_attack_l2(&ball);
        CHECK_OK(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), &err);
        CHECK(a->n == N && a->n_found == N);
        for (int i = 0; i < N; i++) {
            double gap = 2;
            for (int k = 0; k < D; k++)
                gap -= (double)w[k] * (double)x[i * D + k];
            gap = fmax(gap, 0);
            CHECK_NEAR(kind ? a->most[i] : a->distance[i], gap / (kind ? l1 : l2), 1e-5, 0);
            CHECK((a->steps[i] == 0) == (i == 2)); /* the third errs where it starts */
        }
        sg_attack_free(a);
    }
    net_free(&n);
}

static void what_lies_outside_the_ball_is_not_found(void **state)
{
    (void)state;
    enum { D = 3 };
    float w[D] = {1, 1, 1}, x[2 * D] = {0, 0, 0, .5f, .5f, .5f};
    net n = plane(D, w, 2);
    const sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, D}, x);
    const sg_attack_ball ball = {.4, -1, 1}, box = {10, -1, .6};
    sg_attack_opts opts = sg_attack_defaults();
    sg_attack *a;
    sg_error err;
    opts.region = sg_attack_linf(&ball);
    opts.n_restarts = 2;
    CHECK_OK(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), &err);
    CHECK(a->n_found == 1 && !a->found[0] && a->found[1] && isnan(a->distance[0]));
    for (int k = 0; k < D; k++)
        CHECK(fabs((double)a->x[k]) <= .4 + 1e-7);
    sg_attack_free(a);
    opts.region = sg_attack_linf(&box); /* a box that holds no error */
    CHECK_OK(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), &err);
    CHECK(a->n_found == 0);
    for (int k = 0; k < 2 * D; k++)
        CHECK((double)a->x[k] <= .6 + 1e-7);
    sg_attack_free(a);
    net_free(&n);
}

static sg_status ask_and_measure(void *self, const sg_tensor *x, const float **gradient, const uint8_t **wrong,
                                 sg_error *err)
{
    net *n = self;
    for (sg_dim i = 0; i < x->dims[0]; i++) {
        double square = 0;
        for (sg_dim k = 0; k < x->dims[1]; k++)
            square += pow((double)((const float *)x->data)[i * x->dims[1] + k], 2);
        n->least = fmin(n->least, sqrt(square));
        n->most = fmax(n->most, sqrt(square));
    }
    return n->inner.ask(n->inner.self, x, gradient, wrong, err);
}

static void random_quadric(sg_dim d, float *w1, double low, double high, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 3);
    memset(w1, 0, (size_t)(d * d) * sizeof *w1);
    for (sg_dim i = 0; i < d; i++)
        w1[i * d + i] = (float)sqrt(low + (high - low) * sg_rng_uniform(&r));
}

static void on_the_sphere_it_is_never_nearer_than_the_nearest_and_three_percent_from_it(void **state)
{
    (void)state;
    enum { N = 60, D = 40 };
    static float w1[D * D], x[N * D];
    random_quadric(D, w1, .6, 1.15, 1);
    net n = inside(D, w1);
    const sg_tensor w = sg_tensor_of(SG_F32, 2, (sg_dim[]){D, D}, w1);
    sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, x);
    sg_quadric *q;
    sg_error err;
    CHECK_OK(sg_quadric_new(&q, &w, 1, -1, &err), &err);
    CHECK_OK(sg_spheres_on(&starts, 1, (sg_origin){.seed = 8}, &err), &err);
    sg_attack_opts opts = sg_attack_defaults();
    opts.region = sg_attack_sphere();
    opts.n_steps = 300;
    opts.n_refine = 8;
    sg_attack *a;
    n.least = n.most = 1;
    n.inner = sg_attack_ask_session(&n.ask);
    CHECK_OK(sg_attack_run(&a, (sg_attack_asked){ask_and_measure, &n}, &starts, opts, &err), &err);
    CHECK(a->n_found == N);
    double excess = 0;
    for (int i = 0; i < N; i++) {
        const double exact = sg_quadric_nearest(q, x + i * D, false, NULL);
        CHECK(a->distance[i] >= exact - 1e-5);
        excess += exact > 0 ? (a->distance[i] / exact - 1) / N : 0;
    }
    CHECK(excess < .03);
    CHECK(n.least > 1 - 1e-6 && n.most < 1 + 1e-6); /* wherever it went, it stayed on the sphere */
    sg_attack_free(a);
    sg_quadric_free(q);
    net_free(&n);
}

static void where_no_error_exists_none_is_found_and_a_random_way_finds_the_measure(void **state)
{
    (void)state;
    enum { N = 2000, D = 20 };
    static float w1[D * D], x[N * D];
    double length[N];
    sg_error err;
    sg_attack *a;
    sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){20, D}, x);
    sg_attack_opts opts = sg_attack_defaults();
    random_quadric(D, w1, 1 / 1.69, 1, 2);
    net n = inside(D, w1);
    opts.region = sg_attack_sphere();
    opts.n_steps = 200;
    opts.n_restarts = 3;
    CHECK_OK(sg_spheres_on(&starts, 1, (sg_origin){.seed = 8}, &err), &err);
    CHECK_OK(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), &err);
    CHECK(a->n_found == 0);
    sg_attack_free(a);
    net_free(&n);

    random_quadric(D, w1, .7, 1.3, 3);
    n = inside(D, w1);
    starts.dims[0] = N;
    CHECK_OK(sg_spheres_on(&starts, 1, (sg_origin){.seed = 9}, &err), &err);
    const sg_tensor w = sg_tensor_of(SG_F32, 2, (sg_dim[]){D, D}, w1);
    sg_quadric *q;
    CHECK_OK(sg_quadric_new(&q, &w, 1, -1, &err), &err);
    sg_dim wrong, before = 0;
    for (int i = 0; i < N; i++) {
        length[i] = .2;
        before += sg_quadric_value(q, x + i * D) > 1;
    }
    CHECK_OK(sg_attack_random(&wrong, sg_attack_ask_session(&n.ask), &starts, length, opts.region, 4, &err), &err);
    const double p = (double)before / N;
    CHECK(p > .2 && p < .8);
    CHECK_NEAR((double)wrong / N, p, 5 * sqrt(2 * p * (1 - p) / N), 0); /* two draws of one rate */
    sg_quadric_free(q);
    net_free(&n);
}

static void it_says_what_is_wrong_and_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    float w[2] = {1, 0}, x[2] = {0, 0}, none[2] = {(float)NAN, 0};
    net n = plane(2, w, 1), broken = plane(2, none, 1);
    const sg_tensor starts = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 2}, x),
                    flat = sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, x);
    const sg_attack_ball ball = {1, -5, 5};
    sg_attack_opts opts = sg_attack_defaults();
    sg_attack *a;
    sg_error err;
    CHECK_STATUS(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "no region");
    opts.region = sg_attack_l2(&ball);
    CHECK_STATUS(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &flat, opts, &err), SG_ESHAPE);
    CHECK_STATUS(sg_attack_run(&a, sg_attack_ask_session(&broken.ask), &starts, opts, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "row 0 at step 0");
    opts.cancel = &stop;
    CHECK_STATUS(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), SG_ECANCELLED);
    opts.cancel = NULL;
    opts.step = 0;
    CHECK_STATUS(sg_attack_run(&a, sg_attack_ask_session(&n.ask), &starts, opts, &err), SG_EARG);
    CHECK(a == NULL);
    net_free(&n);
    net_free(&broken);
}

/* ---- as a method ---- */

/* The value that is written errs where it is fed, and no larger change was made than was allowed. */
static void as_a_method_it_writes_pixels_that_the_model_errs_on(void **state)
{
    (void)state;
    const char *const model = SG_SOURCE_DIR "/test/data/encoders/vit_labels", *const picture = SG_SOURCE_DIR
                                                                              "/test/data/encoders/pictures/rgb.png";
    const sg_setting settings[] = {{"size", "0.001,2"}, {"region", "l2"}, {"steps", "30"}};
    sg_method_ask ask = sg_method_ask_defaults();
    sg_result *r;
    sg_error err;
    ask.n_inputs = 2;
    ask.inputs = (const char *const[]){model, picture};
    ask.n_settings = 3;
    ask.settings = settings;
    ask.out = "attack_test.npy";
    CHECK_OK(sg_method_do(&r, sg_method_find("attack", NULL), &ask, &err), &err);
    CHECK(sg_result_n_findings(r) == 2);
    const sg_finding *small = sg_result_finding(r, 0), *large = sg_result_finding(r, 1);
    CHECK(small->value == 1 && small->control_value == 1); /* next to nothing changes nothing */
    CHECK(large->value == 0);
    sg_npy *moved;
    sg_model *m;
    sg_glass *glass;
    sg_value *logits;
    sg_tensor out;
    sg_bitmap *b;
    sg_tensor pixels;
    CHECK_OK(sg_npy_open(&moved, ask.out, &err), &err);
    CHECK_OK(sg_model_open(&m, model, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_bitmap_open(&b, picture, &err), &err);
    CHECK_OK(sg_model_pixels(m, 1, (const sg_bitmap *const[]){b}, &pixels, &err), &err);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, "class_logits", &logits, &err), &err);
    int answer[2];
    double square = 0, own = 0;
    for (int k = 0; k < 2; k++) {
        const sg_named_feed feed = {"pixels", k ? *sg_npy_tensor(moved) : pixels};
        CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, 1, &logits, &out, &err), &err);
        answer[k] = 0;
        for (int i = 1; i < out.dims[1]; i++)
            if (sg_tensor_get(&out, i) > sg_tensor_get(&out, answer[k]))
                answer[k] = i;
    }
    CHECK(answer[0] != answer[1]);
    for (sg_dim i = 0; i < sg_tensor_count(&pixels); i++) {
        square += pow(sg_tensor_get(sg_npy_tensor(moved), i) - sg_tensor_get(&pixels, i), 2);
        own += pow(sg_tensor_get(&pixels, i), 2);
    }
    CHECK(square > 0 && sqrt(square) <= 2 * sqrt(own));
    free(pixels.data);
    sg_bitmap_free(b);
    sg_glass_free(glass);
    sg_model_close(m);
    sg_npy_close(moved);
    sg_result_free(r);
    remove(ask.out);
}

static void what_cannot_be_attacked_is_said(void **state)
{
    (void)state;
    const char *const model = SG_SOURCE_DIR "/test/data/encoders/vit_labels";
    static const struct {
        const char *model, *name, *value, *says;
    } cases[] = {{"vit_labels", "size", "0", "more than 0"},
                 {"vit_labels", "size", "x", "--size"},
                 {"vit_labels", "labels", "1,2", "2 labels for 1 inputs"},
                 {"vit_labels", "labels", "77777", "label 77777"},
                 {"vit_labels", "site", "embeddings", "pixels are moved"},
                 {"bert_labels", "steps", "1", "neither labels images nor writes"}};
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char path[1024];
        const sg_setting setting = {cases[i].name, cases[i].value};
        sg_method_ask ask = sg_method_ask_defaults();
        sg_result *r;
        sg_error err;
        snprintf(path, sizeof path, "%.*s%s", (int)(strlen(model) - strlen("vit_labels")), model, cases[i].model);
        ask.n_inputs = 2;
        ask.inputs = (const char *const[]){path, SG_SOURCE_DIR "/test/data/encoders/pictures/rgb.png"};
        ask.n_settings = 1;
        ask.settings = &setting;
        CHECK(sg_method_do(&r, sg_method_find("attack", NULL), &ask, &err) != SG_OK);
        CHECK_TEXT(err.text, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_point_of_a_plane_is_found_in_each_measure),
        cmocka_unit_test(what_lies_outside_the_ball_is_not_found),
        cmocka_unit_test(on_the_sphere_it_is_never_nearer_than_the_nearest_and_three_percent_from_it),
        cmocka_unit_test(where_no_error_exists_none_is_found_and_a_random_way_finds_the_measure),
        cmocka_unit_test(it_says_what_is_wrong_and_stops_when_asked),
        cmocka_unit_test(as_a_method_it_writes_pixels_that_the_model_errs_on),
        cmocka_unit_test(what_cannot_be_attacked_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
