/* Probes: planted answers are recovered, the closed form solves its equations, and what is saved is what is opened. */
#include "sightglass/probe.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "methods/probe_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { N = 1200, D = 12, S = 3, C = 3 };

/* x normal; the class of task s is where x lies along direction s, which is unit vector s with a bit of the next: below
 * -.5, between, above .5, but for a row in seven, whose label is missing. */
typedef struct data {
    float x[N * D];
    int32_t label[N * S];
    sg_store_row rows[N];
    sg_tensor acts, labels;
} data;

static void plant(data *d, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);
    for (int i = 0; i < N; i++) {
        float *x = d->x + i * D;
        for (int k = 0; k < D; k++)
            x[k] = (float)sg_rng_normal(&r);
        for (int s = 0; s < S; s++) {
            const double along = (double)x[s] + 0.3 * (double)x[s + 1];
            d->label[i * S + s] = i % 7 == 3 ? -1 : along < -0.5 ? 0 : along < 0.5 ? 1 : 2;
        }
        d->rows[i] = (sg_store_row){i / 20, i % 20, 0};
    }
    d->acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, d->x);
    d->labels = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, d->label);
}

static double accuracy(const sg_probe *p, const data *d)
{
    static int32_t read[N * S];
    sg_error err;
    int good = 0, n = 0;
    CHECK_OK(sg_probe_read(p, &d->acts, read, &err), &err);
    for (int i = 0; i < N * S; i++) {
        n += d->label[i] >= 0;
        good += d->label[i] >= 0 && read[i] == d->label[i];
    }
    return (double)good / n;
}

static sg_probe *fit(const data *d, sg_probe_opts opts)
{
    sg_probe *p;
    sg_error err;
    opts.n_classes = C;
    CHECK_OK(sg_probe_fit(&p, &d->acts, &d->labels, opts, &err), &err);
    return p;
}

/* A middle class between two others cannot be read by least squares well (it is masked, Hastie et al. 2009, 4.2), so
 * that only the outer ones count for ridge. */
static void each_kind_reads_a_planted_label_on_rows_it_has_not_seen(void **state)
{
    (void)state;
    static data train, test;
    static const double least[SG_N_PROBE_KINDS] = {0.6, 0.93, 0.85, 0.8};
    plant(&train, 1);
    plant(&test, 2);
    for (int k = 0; k < SG_N_PROBE_KINDS; k++) {
        sg_probe_opts opts = sg_probe_defaults();
        opts.kind = (sg_probe_kind)k;
        opts.batch = 64;
        opts.hidden = 32;
        opts.n_epochs = 40;
        sg_probe *p = fit(&train, opts);
        const double got = accuracy(p, &test);
        if (got < least[k])
            print_error("%s reads %.3f\n", sg_probe_kind_name(opts.kind), got);
        CHECK(got >= least[k]);
        CHECK(sg_probe_get_kind(p) == opts.kind && sg_probe_width(p) == D && sg_probe_n_tasks(p) == S);
        sg_probe_free(p);
    }
}

/* What is trained does not depend on where activations lie and how large they are: an untrained network's are small. */
static void a_trained_probe_is_as_good_on_small_and_shifted_activations(void **state)
{
    (void)state;
    static data d, moved;
    plant(&d, 8);
    plant(&moved, 8);
    for (int i = 0; i < N * D; i++)
        moved.x[i] = 0.01f * d.x[i] + (i % D == 2 ? 3.0f : 0.5f);
    for (int k = SG_PROBE_SOFTMAX; k <= SG_PROBE_MLP; k++) {
        sg_probe_opts opts = sg_probe_defaults();
        opts.kind = (sg_probe_kind)k;
        opts.batch = 64;
        opts.hidden = 32;
        opts.n_epochs = 20;
        sg_probe *p = fit(&d, opts), *q = fit(&moved, opts);
        CHECK_NEAR(accuracy(p, &d), accuracy(q, &moved), 0.02, 0);
        sg_probe_free(p);
        sg_probe_free(q);
    }
}

static void ridge_solves_its_normal_equations_in_double(void **state)
{
    (void)state;
    static data d;
    plant(&d, 3);
    sg_probe_opts opts = sg_probe_defaults();
    opts.lambda = 0.02;
    sg_probe *p = fit(&d, opts);
    /* (X'X + lambda v N I) w = X'y with means taken off and v the mean variance of a feature, over the rows that have
     * labels: the residual, beside X'y. */
    const float *w = sg_probe_weights(p)->data;
    opts.exec.n_threads = 2; /* of which it knows nothing: the same bytes */
    sg_probe *again = fit(&d, opts);
    CHECK(memcmp(w, sg_probe_weights(again)->data, sg_tensor_bytes(sg_probe_weights(p))) == 0);
    sg_probe_free(again);
    double mean_x[D] = {0}, mean_y[S * C] = {0}, n = 0, variance = 0;
    for (int i = 0; i < N; i++) {
        if (d.label[i * S] < 0)
            continue;
        n++;
        for (int k = 0; k < D; k++)
            mean_x[k] += (double)d.x[i * D + k];
        for (int s = 0; s < S; s++)
            mean_y[s * C + d.label[i * S + s]]++;
    }
    for (int i = 0; i < N * D; i++)
        if (d.label[i / D * S] >= 0)
            variance += pow((double)d.x[i] - mean_x[i % D] / n, 2) / (n * D);
    for (int j = 0; j < S * C; j++) {
        double left[D] = {0}, right[D] = {0};
        for (int i = 0; i < N; i++) {
            if (d.label[i * S] < 0)
                continue;
            double fitted = 0;
            for (int k = 0; k < D; k++)
                fitted += ((double)d.x[i * D + k] - mean_x[k] / n) * (double)w[k * S * C + j];
            for (int k = 0; k < D; k++) {
                const double x = (double)d.x[i * D + k] - mean_x[k] / n;
                left[k] += x * fitted;
                right[k] += x * ((d.label[i * S + j / C] == j % C) - mean_y[j] / n);
            }
        }
        for (int k = 0; k < D; k++)
            CHECK_NEAR((left[k] + 0.02 * variance * n * (double)w[k * S * C + j]) / n, right[k] / n, 1e-5, 0);
    }
    sg_probe_free(p);
}

static void a_probe_as_graph_is_the_probe(void **state)
{
    (void)state;
    static data d;
    static float logits[N * S * C];
    plant(&d, 4);
    for (int k = 0; k < SG_N_PROBE_KINDS; k++) {
        sg_probe_opts opts = sg_probe_defaults();
        opts.kind = (sg_probe_kind)k;
        opts.n_epochs = 2;
        opts.hidden = 8;
        sg_probe *p = fit(&d, opts);
        sg_error err;
        CHECK_OK(sg_probe_logits(p, &d.acts, logits, &err), &err);
        sg_graph *g = sg_graph_new();
        sg_value *x = sg_input(g, "x", SG_F32, 3, (sg_dim[]){2, 5, D}), *y = sg_probe_graph(g, p, x);
        sg_value *grad = sg_grad(g, sg_sum_all(g, y), x);
        CHECK_OK(sg_graph_status(g, &err), &err);
        CHECK(sg_value_n_dims(y) == 4 && sg_value_dim(y, 2) == S && sg_value_dim(y, 3) == C);
        sg_session *session;
        sg_tensor out[2];
        CHECK_OK(sg_session_new(&session, g, NULL, sg_exec_defaults(), &err), &err);
        const sg_feed feed = {x, sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 5, D}, d.x)};
        CHECK_OK(sg_session_run(session, 1, &feed, 2, (sg_value *[]){y, grad}, out, &err), &err);
        for (int i = 0; i < 10 * S * C; i++)
            CHECK_NEAR(((float *)out[0].data)[i], logits[i], 1e-5, 1e-5);
        if (k != SG_PROBE_MLP) { /* its gradient is the sum of its columns */
            double sum = 0;
            for (int j = 0; j < S * C; j++)
                sum += (double)((float *)sg_probe_weights(p)->data)[j];
            CHECK_NEAR(((float *)out[1].data)[0], sum, 1e-5, 1e-4);
        } else {
            CHECK(sg_probe_weights(p)->data == NULL);
            CHECK_STATUS(sg_probe_direction(p, 0, 1, -1, (float[D]){0}, &err), SG_EUNSUPPORTED);
        }
        sg_session_free(session);
        sg_graph_free(g);
        sg_probe_free(p);
    }
}

static void a_direction_is_a_class_less_the_others(void **state)
{
    (void)state;
    /* [2,1,3]: columns (3,0), (1,4), (1,0) */
    float w[6] = {3, 1, 1, 0, 4, 0}, out[2];
    const sg_tensor t = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 1, 3}, w);
    sg_probe *p;
    sg_error err;
    CHECK_OK(sg_probe_of(&p, &t, NULL, &err), &err);
    CHECK_OK(sg_probe_direction(p, 0, 0, -1, out, &err), &err); /* (3,0) - (1,2) = (2,-2) */
    CHECK_NEAR(out[0], sqrt(0.5), 1e-6, 0);
    CHECK_NEAR(out[1], -sqrt(0.5), 1e-6, 0);
    CHECK_OK(sg_probe_direction(p, 0, 1, 2, out, &err), &err); /* (0,4) */
    CHECK_NEAR(out[0], 0, 0, 0);
    CHECK_NEAR(out[1], 1, 1e-6, 0);
    CHECK_STATUS(sg_probe_direction(p, 0, 1, 1, out, &err), SG_EARG);
    CHECK_STATUS(sg_probe_direction(p, 1, 1, -1, out, &err), SG_EARG);
    sg_probe_free(p);
}

static void what_is_saved_is_what_is_opened(void **state)
{
    (void)state;
    static data d;
    static float before[N * S * C], after[N * S * C];
    plant(&d, 5);
    char folder[64] = "/tmp/sightglass-probe-XXXXXX", dir[80], path[120];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(dir, sizeof dir, "%s/made", folder);
    for (int k = 0; k < SG_N_PROBE_KINDS; k++) {
        sg_probe_opts opts = sg_probe_defaults();
        opts.kind = (sg_probe_kind)k;
        opts.n_epochs = 1;
        opts.hidden = 8;
        sg_probe *p = fit(&d, opts), *q;
        sg_error err;
        const sg_probe_manifest said = {.site = "blocks.3.hook_resid_post",
                                        .label = "board_rel",
                                        .world = "othello size 6",
                                        .model_hash = UINT64_C(0xfedcba9876543210),
                                        .data_seed = 7,
                                        .untrained_seed = 11,
                                        .n_fit = 3,
                                        .n_test = 1,
                                        .accuracy = 0.75,
                                        .hard_accuracy = (double)NAN,
                                        .control = {0.5, 0.25, 0.125, 0}};
        sg_probe_manifest read;
        CHECK_OK(sg_probe_save(p, &said, dir, "one", &err), &err);
        CHECK_OK(sg_probe_open(&q, &read, dir, "one", &err), &err);
        CHECK(strcmp(read.site, said.site) == 0 && strcmp(read.label, said.label) == 0);
        CHECK(strcmp(read.world, said.world) == 0 && read.model_hash == said.model_hash);
        CHECK(read.data_seed == 7 && read.untrained_seed == 11 && read.data == NULL && read.n_fit == 3 &&
              read.n_test == 1 && read.accuracy == 0.75);
        CHECK(isnan(read.hard_accuracy) && read.control[1] == 0.25);
        CHECK_OK(sg_probe_logits(p, &d.acts, before, &err), &err);
        CHECK_OK(sg_probe_logits(q, &d.acts, after, &err), &err);
        CHECK(memcmp(before, after, sizeof before) == 0);
        sg_probe_free(p);
        sg_probe_free(q);
    }
    sg_probe *q;
    sg_error err;
    CHECK_STATUS(sg_probe_open(&q, NULL, dir, "two", &err), SG_ENOTFOUND);
    CHECK_STATUS(sg_probe_open(&q, NULL, dir, "../made/one", &err), SG_EARG);
    /* a manifest that lies about sizes, and one that is none */
    static const char *const bad[] = {
        "{\"kind\": \"ridge\", \"width\": 11, \"tasks\": 3, \"classes\": 3, \"hidden\": 0}",
        "{\"kind\": \"ridge\", \"width\": -1, \"tasks\": 3, \"classes\": 3, \"hidden\": 0}",
        "{\"kind\": \"deep\"}",
        "[1",
        "[]",
        ""};
    snprintf(path, sizeof path, "%s/one.json", dir);
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        FILE *f = fopen(path, "wb");
        CHECK(f && fputs(bad[i], f) >= 0 && fclose(f) == 0);
        CHECK_STATUS(sg_probe_open(&q, NULL, dir, "one", &err), SG_EFORMAT);
    }
    unlink(path);
    snprintf(path, sizeof path, "%s/one.safetensors", dir);
    unlink(path);
    CHECK(rmdir(dir) == 0 && rmdir(folder) == 0);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    static data d;
    plant(&d, 6);
    sg_probe *p = NULL;
    sg_error err;
    sg_probe_opts opts = sg_probe_defaults(); /* of two classes, and there are three */
    CHECK_STATUS(sg_probe_fit(&p, &d.acts, &d.labels, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "label 2");
    opts.n_classes = 3;
    const sg_tensor fewer = sg_rows_of(&d.labels, 0, N - 1);
    CHECK_STATUS(sg_probe_fit(&p, &d.acts, &fewer, opts, &err), SG_ESHAPE);
    d.x[5 * D + 2] = (float)NAN;
    CHECK_STATUS(sg_probe_fit(&p, &d.acts, &d.labels, opts, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "row 5");
    d.x[5 * D + 2] = 0;
    for (int i = 0; i < N * S; i++)
        d.label[i] = -1;
    CHECK_STATUS(sg_probe_fit(&p, &d.acts, &d.labels, opts, &err), SG_EARG);
    CHECK(p == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_reads_a_planted_label_on_rows_it_has_not_seen),
        cmocka_unit_test(a_trained_probe_is_as_good_on_small_and_shifted_activations),
        cmocka_unit_test(ridge_solves_its_normal_equations_in_double),
        cmocka_unit_test(a_probe_as_graph_is_the_probe),
        cmocka_unit_test(a_direction_is_a_class_less_the_others),
        cmocka_unit_test(what_is_saved_is_what_is_opened),
        cmocka_unit_test(what_does_not_fit_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
