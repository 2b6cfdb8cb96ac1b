/* CAVs against planted directions, the test against chance. */
#include "sightglass/tcav.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/attribute.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { D = 12, M = 20 };

/* n rows of noise, moved by `shift` along component 2. */
static float *rows_of(int n, double shift, uint64_t seed)
{
    float *x = malloc((size_t)n * D * sizeof *x);
    sg_rng r = sg_rng_new(seed, 4);
    CHECK(x);
    for (int i = 0; i < n * D; i++)
        x[i] = (float)(sg_rng_normal(&r) + (i % D == 2 ? shift : 0));
    return x;
}

static void a_planted_direction_is_found(void **state)
{
    (void)state;
    float *with = rows_of(300, 6, 1), *without = rows_of(400, 0, 2);
    const sg_tcav_set concept = {"planted", 300, with}, other = {"other", 400, without};
    sg_error err;
    for (int kind = 0; kind < 2; kind++) {
        sg_cav_opts opts = sg_cav_defaults();
        sg_cav *c, *back;
        opts.kind = (sg_cav_kind)kind;
        CHECK_OK(sg_cav_fit(&c, D, &concept, &other, &opts, &err), &err);
        CHECK(c->n_each == 300 && c->accuracy > 0.97);
        CHECK(c->v[2] > 0.95f);
        double squares = 0;
        for (int d = 0; d < D; d++)
            squares += (double)c->v[d] * (double)c->v[d];
        CHECK_NEAR(squares, 1, 1e-5, 0);
        CHECK_OK(sg_cav_fit(&back, D, &other, &concept, &opts, &err), &err);
        CHECK(sg_cav_cosine(c, back) < -0.95);
        /* Sorted by it, rows of the concept come first. */
        float mixed[4 * D];
        memcpy(mixed, without, 2 * D * sizeof *mixed);
        memcpy(mixed + 2 * D, with, 2 * D * sizeof *mixed);
        const sg_tcav_set four = {"four", 4, mixed};
        sg_dim order[4];
        double along[4];
        CHECK_OK(sg_cav_sort(order, along, c, &four, &err), &err);
        CHECK(order[0] >= 2 && order[1] >= 2 && along[order[0]] >= along[order[1]]);
        sg_cav_free(c);
        sg_cav_free(back);
    }
    free(with);
    free(without);
}

/* The logistic fit's gradient is 0 where it ended: alpha w + mean of -y sigmoid(-y f) x, and the same of the bias. */
static void the_logistic_fit_is_where_its_loss_is_least(void **state)
{
    (void)state;
    float *with = rows_of(M, 0.7, 3), *without = rows_of(M, 0, 4);
    const sg_tcav_set concept = {"a", M, with}, other = {"b", M, without};
    sg_cav_opts opts = sg_cav_defaults();
    sg_cav *c;
    sg_error err;
    opts.kind = SG_CAV_LOGISTIC;
    opts.held_out = 0;
    opts.alpha = 0.1;
    CHECK_OK(sg_cav_fit(&c, D, &concept, &other, &opts, &err), &err);
    CHECK(isnan(c->accuracy)); /* nothing was held out */
    /* v is w / |w|, bias b / |w|: the length along which the gradient by length vanishes is found first. */
    double low = 1e-3, high = 1e3;
    for (int k = 0; k < 200; k++) {
        const double length = sqrt(low * high);
        double slope = opts.alpha * length;
        for (int i = 0; i < 2 * M; i++) {
            const float *x = i < M ? with + i * D : without + (i - M) * D;
            const double y = i < M ? 1 : -1;
            double f = c->bias;
            for (int d = 0; d < D; d++)
                f += (double)c->v[d] * (double)x[d];
            slope += -y * f / (1 + exp(y * length * f)) / (2 * M);
        }
        if (slope > 0)
            high = length;
        else
            low = length;
    }
    double gradient[D], bias = 0;
    for (int d = 0; d < D; d++)
        gradient[d] = opts.alpha * low * (double)c->v[d];
    for (int i = 0; i < 2 * M; i++) {
        const float *x = i < M ? with + i * D : without + (i - M) * D;
        const double y = i < M ? 1 : -1;
        double f = c->bias;
        for (int d = 0; d < D; d++)
            f += (double)c->v[d] * (double)x[d];
        const double pull = -y / (1 + exp(y * low * f)) / (2 * M);
        bias += pull;
        for (int d = 0; d < D; d++)
            gradient[d] += pull * (double)x[d];
    }
    CHECK_NEAR(bias, 0, 1e-5, 0);
    for (int d = 0; d < D; d++)
        CHECK_NEAR(gradient[d], 0, 1e-5, 0);
    sg_cav_free(c);
    free(with);
    free(without);
}

/* Of logits W a the gradient at every input is row k: S = w_k . v, and the score 0 or 1. */
static void of_a_linear_model_every_sensitivity_is_the_same(void **state)
{
    (void)state;
    float w[3 * D], *x = rows_of(50, 0, 5), gradients[50 * D];
    int32_t index[50];
    double s[50], scores[50];
    sg_attribute_target target = sg_attribute_target_defaults();
    sg_attributer *a;
    sg_state *numbers;
    sg_error err;
    sg_rng r = sg_rng_new(6, 0);
    for (int i = 0; i < 3 * D; i++)
        w[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < 50; i++)
        index[i] = 1;
    sg_graph *g = sg_graph_new();
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, D}, w);
    sg_value *in = sg_input(g, "x", SG_F32, 2, (sg_dim[]){sg_extent(g, "batch"), D});
    sg_name(g, sg_linear(g, sg_name(g, sg_identity(g, in), "site", NULL), sg_const(g, &t), NULL), "class_logits", NULL);
    CHECK_OK(sg_state_new(&numbers, g, &err), &err);
    CHECK_OK(sg_attributer_new(&a, g, numbers, "site", &target, sg_exec_defaults(), &err), &err);
    const sg_attribute_rows rows = {.n = 50,
                                    .n_feeds = 1,
                                    .feeds = &(sg_named_feed){"x", sg_tensor_of(SG_F32, 2, (sg_dim[]){50, D}, x)},
                                    .index = index,
                                    .batch = 16};
    CHECK_OK(sg_attributer_run(a, &rows, INT64_MAX, NULL, gradients, scores, NULL, &err), &err);
    float *with = rows_of(M, 2, 7);
    const sg_tcav_set concept = {"a", M, with}, other = {"b", M, x};
    const sg_cav_opts opts = sg_cav_defaults();
    sg_cav *c;
    CHECK_OK(sg_cav_fit(&c, D, &concept, &other, &opts, &err), &err);
    double want = 0;
    for (int d = 0; d < D; d++)
        want += (double)w[D + d] * (double)c->v[d];
    sg_cav_sensitivities(s, c, 50, gradients);
    for (int i = 0; i < 50; i++)
        CHECK_NEAR(s[i], want, 1e-5, 0);
    CHECK(sg_cav_score(50, s) == (want > 0 ? 1 : 0));
    CHECK_NEAR(sg_cav_weighted_score(50, s), want > 0 ? 1 : 0, 1e-12, 0);
    for (int d = 0; d < D; d++)
        c->v[d] = -c->v[d];
    sg_cav_sensitivities(s, c, 50, gradients);
    CHECK(sg_cav_score(50, s) == (want > 0 ? 0 : 1));
    sg_cav_free(c);
    free(with);
    free(x);
    sg_attributer_free(a);
    sg_state_free(numbers);
    sg_graph_free(g);
}

/* Two classes whose logits are z and 0: the loss falls where logit 1 rises, at every input. With three it need not:
 * raising all logits alike leaves the loss as it is. */
static void the_loss_has_the_logits_signs_where_there_is_one_class(void **state)
{
    (void)state;
    for (int n_classes = 2; n_classes <= 3; n_classes++) {
        float w[3 * D] = {0}, *x = rows_of(200, 0, 8), logit[200 * D], probability[200 * D];
        int32_t index[200] = {0};
        sg_state *numbers;
        sg_error err;
        sg_rng r = sg_rng_new(9, 0);
        for (int i = 0; i < (n_classes == 2 ? D : 3 * D); i++) /* the second class's row stays 0 */
            w[i] = (float)sg_rng_normal(&r) / 3;
        sg_graph *g = sg_graph_new();
        const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){n_classes, D}, w);
        sg_value *in = sg_input(g, "x", SG_F32, 2, (sg_dim[]){sg_extent(g, "batch"), D});
        sg_name(g, sg_linear(g, sg_tanh(g, in), sg_const(g, &t), NULL), "class_logits", NULL);
        CHECK_OK(sg_state_new(&numbers, g, &err), &err);
        const sg_attribute_rows rows = {.n = 200,
                                        .n_feeds = 1,
                                        .feeds = &(sg_named_feed){"x", sg_tensor_of(SG_F32, 2, (sg_dim[]){200, D}, x)},
                                        .index = index};
        for (int form = 0; form < 2; form++) {
            sg_attribute_target target = sg_attribute_target_defaults();
            sg_attributer *a;
            target.probability = form == 1; /* the loss is -log of it, so its gradient points the other way */
            CHECK_OK(sg_attributer_new(&a, g, numbers, "x", &target, sg_exec_defaults(), &err), &err);
            CHECK_OK(sg_attributer_run(a, &rows, INT64_MAX, NULL, form ? probability : logit, NULL, NULL, &err), &err);
            sg_attributer_free(a);
        }
        float v[D];
        for (int d = 0; d < D; d++)
            v[d] = (float)sg_rng_normal(&r);
        sg_cav c = {.width = D, .v = v};
        double a[200], b[200];
        int differ = 0;
        sg_cav_sensitivities(a, &c, 200, logit);
        sg_cav_sensitivities(b, &c, 200, probability);
        for (int i = 0; i < 200; i++)
            differ += (a[i] > 0) != (b[i] > 0);
        CHECK(n_classes == 2 ? differ == 0 : differ > 0);
        /* -v turns the score around. */
        const double score = sg_cav_score(200, a);
        for (int d = 0; d < D; d++)
            v[d] = -v[d];
        sg_cav_sensitivities(a, &c, 200, logit);
        CHECK_NEAR(sg_cav_score(200, a), 1 - score, 1e-12, 0);
        free(x);
        sg_state_free(numbers);
        sg_graph_free(g);
    }
}

static sg_tcav_job job_of(const sg_tcav_set *concept, int n_concepts, const float *pool, int n_pool,
                          const float *gradients, int n_class, int set_size, int n_repeats)
{
    sg_tcav_job j = sg_tcav_defaults();
    j.width = D;
    j.concepts = concept;
    j.n_concepts = n_concepts;
    j.random = (sg_tcav_set){"random", n_pool, pool};
    j.gradients = gradients;
    j.n_class = n_class;
    j.set_size = set_size;
    j.n_repeats = n_repeats;
    j.n_resamples = 50;
    return j;
}

/* Concepts that are random themselves, with rows of their own for each repeat: p is uniform. */
static void of_random_concepts_p_is_uniform(void **state)
{
    (void)state;
    enum { TESTS = 200, R = 8, SET = 10 };
    float *gradients = rows_of(101, 0, 10); /* odd, so that scores of a half do not tie */
    double p[TESTS];
    sg_test ks;
    sg_error err;
    for (int k = 0; k < TESTS; k++) {
        float *own = rows_of(R * SET, 0, (uint64_t)(1000 + 2 * k)),
              *pool = rows_of(3 * R * SET, 0, (uint64_t)(1001 + 2 * k));
        const sg_tcav_set concept = {"random", R * SET, own};
        sg_tcav_job j = job_of(&concept, 1, pool, 3 * R * SET, gradients, 101, SET, R);
        sg_tcav_result *r;
        j.cav.kind = SG_CAV_LOGISTIC;
        CHECK_OK(sg_tcav_test(&r, &j, &err), &err);
        CHECK(r->n_repeats == R && r->concepts[0].fresh);
        p[k] = r->concepts[0].p;
        sg_tcav_free(r);
        free(own);
        free(pool);
    }
    CHECK_OK(sg_test_uniform(&ks, TESTS, p, &err), &err);
    CHECK(ks.p > 0.01);
    free(gradients);
}

static void a_concept_that_is_used_is_found(void **state)
{
    (void)state;
    enum { R = 6, SET = 15, N = 60 };
    /* Gradients that lean to component 2, and concepts: along it, along 5, and both together against the pool. */
    float *gradients = rows_of(N, 3, 20), *used = rows_of(R * SET, 3, 21), *unused = rows_of(SET, 0, 22);
    float *pool = rows_of(3 * R * SET, 0, 23);
    sg_error err;
    for (int i = 0; i < SET; i++)
        unused[i * D + 5] += 5;
    const sg_tcav_set concepts[2] = {{"used", R * SET, used}, {"unused", SET, unused}};
    const sg_tcav_job j = job_of(concepts, 2, pool, 3 * R * SET, gradients, N, SET, 100);
    sg_tcav_result *r;
    CHECK_OK(sg_tcav_test(&r, &j, &err), &err);
    CHECK(r->n_repeats == R); /* what the pool allows */
    const sg_tcav_concept *a = &r->concepts[0], *b = &r->concepts[1];
    CHECK(a->score > 0.9 && a->low <= a->score && a->high >= a->score && a->significant && a->fresh);
    CHECK_NEAR(a->corrected_p, fmin(2 * a->p, 1), 1e-15, 0); /* of two concepts */
    CHECK(a->sensitivity > 0 && a->weighted > a->score - 0.05 && a->accuracy > 0.8 && a->v[2] > 0.8f);
    CHECK(!b->fresh && b->score < a->score && b->v[5] > 0.8f);
    CHECK(r->random_low <= r->random_score && r->random_score <= r->random_high);
    CHECK_NEAR(r->cosines[0], 1, 1e-5, 0);
    CHECK_NEAR(r->cosines[1], r->cosines[2], 1e-12, 0);
    CHECK(fabs(r->cosines[1]) < 0.6);
    sg_tcav_free(r);

    sg_tcav_job bad = j;
    bad.random.n = 5 * SET;
    CHECK_STATUS(sg_tcav_test(&r, &bad, &err), SG_EARG);
    CHECK_TEXT(err.text, "6 sets, 90 inputs");
    bad = j;
    bad.set_size = SET + 1;
    CHECK_STATUS(sg_tcav_test(&r, &bad, &err), SG_EARG);
    CHECK_TEXT(err.text, "unused has 15");
    volatile sig_atomic_t stop = 1;
    bad = j;
    bad.cancel = &stop;
    CHECK_STATUS(sg_tcav_test(&r, &bad, &err), SG_ECANCELLED);
    float *same = calloc(2 * SET * D, sizeof *same);
    const sg_tcav_set flat = {"flat", SET, same};
    const sg_cav_opts opts = sg_cav_defaults();
    sg_cav *c;
    CHECK_STATUS(sg_cav_fit(&c, D, &flat, &flat, &opts, &err), SG_ENUMERIC);
    free(same);
    free(gradients);
    free(used);
    free(unused);
    free(pool);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    float *gradients = rows_of(9, 3, 20), *used = rows_of(4, 3, 21), *pool = rows_of(24, 0, 23);
    const sg_tcav_set concept = {"used", 4, used};
    sg_tcav_job j = job_of(&concept, 1, pool, 24, gradients, 9, 4, 2);
    sg_error err;
    j.cav.kind = SG_CAV_LOGISTIC;
    for (long n = 0;; n++) {
        sg_tcav_result *r;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_tcav_test(&r, &j, &err);
        const bool fired = sg_faults_end();
        sg_tcav_free(status == SG_OK ? r : NULL);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM || status == SG_OK);
    }
    free(gradients);
    free(used);
    free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_direction_is_found),
        cmocka_unit_test(the_logistic_fit_is_where_its_loss_is_least),
        cmocka_unit_test(of_a_linear_model_every_sensitivity_is_the_same),
        cmocka_unit_test(the_loss_has_the_logits_signs_where_there_is_one_class),
        cmocka_unit_test(of_random_concepts_p_is_uniform),
        cmocka_unit_test(a_concept_that_is_used_is_found),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
