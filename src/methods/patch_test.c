/* On a small network with fresh weights: against what must hold of any network, and against the same patches made by
 * edits. */
#include "sightglass/patch.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { D = 16, H = 2, V = 13, T = 7, L = 2 };

static int32_t base[T], source[T];

static sg_model *tiny(void)
{
    static const char config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"n_layer\": 2, \"n_head\": 2, "
                                 "\"n_positions\": 8, \"vocab_size\": 13, \"tie_word_embeddings\": false, "
                                 "\"initializer_range\": 0.3}";
    FILE *f = fopen("patch_config.json", "w");
    sg_model *m;
    sg_error err;
    CHECK(f && fwrite(config, 1, sizeof config - 1, f) == sizeof config - 1 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "patch_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("patch_config.json");
    sg_rng r = sg_rng_new(1, 0);
    for (int t = 0; t < T; t++) {
        base[t] = (int32_t)sg_rng_below(&r, V);
        source[t] = t == 2 || t == 5 ? (base[t] + 1) % V : base[t]; /* they differ at two positions */
    }
    return m;
}

static sg_patch_job job_of(const sg_model *m, int n, const char *const *sites)
{
    sg_patch_job j = sg_patch_defaults();
    j.model = m;
    j.n_sites = n;
    j.sites = sites;
    j.base = base;
    j.source = source;
    j.n_tokens = T;
    j.metric.token = 3;
    return j;
}

static sg_patch_table *patch(const sg_patch_job *j)
{
    sg_patch_table *t;
    sg_error err;
    CHECK_OK(sg_patch_run(&t, j, &err), &err);
    return t;
}

/* Logits [T,V] of the base with edits, or of another row without. */
static void logits_of(const sg_model *m, const int32_t *row, int n, const sg_edit *edits, float *out)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_error err;
    const sg_dim length = T;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    if (n)
        CHECK_OK(sg_glass_edit(glass, n, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &t, &err), &err);
    memcpy(out, t.data, sg_tensor_bytes(&t));
    sg_glass_free(glass);
}

/* What is known of any network that looks back only: what enters it differs where tokens do, what leaves the last block
 * at a position decides the logits there and no others. */
static void what_must_hold_of_any_network_holds(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.0.hook_resid_pre", "blocks.1.hook_resid_post"};
    sg_model *m = tiny();
    const sg_patch_job j = job_of(m, 2, sites);
    sg_patch_table *t = patch(&j);
    CHECK(t->n_sites == 2 && t->n_positions == T && t->n_heads == 1 && fabs(t->base - t->source) > 1e-3);
    for (int p = 0; p < T; p++) {
        if (p != 2 && p != 5)
            CHECK_NEAR(t->effect[p], 0, 1e-4, 0);
        else
            CHECK(fabs(t->effect[p]) > 1e-3);
        CHECK_NEAR(t->effect[T + p], p == T - 1, 1e-4, 0);
        CHECK_NEAR(t->metric[T + p], p == T - 1 ? t->source : t->base, 1e-5, 0);
    }
    sg_patch_table_free(t);
    sg_model_close(m);
}

/* Each place against a run of its own, in which an edit puts the source's values there; one place at a time and many
 * give the same. */
static void places_are_what_edits_make_of_them(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.1.attn.hook_z", "blocks.0.attn.hook_v"};
    sg_model *m = tiny();
    sg_error err;
    for (int by_head = 0; by_head < 2; by_head++) {
        sg_patch_job j = job_of(m, 2, sites);
        static const sg_dim positions[] = {6, 2, 5};
        j.n_positions = 3;
        j.positions = positions;
        j.by_head = by_head;
        j.batch = 4;
        sg_patch_table *t = patch(&j);
        j.batch = 1;
        sg_patch_table *single = patch(&j);
        CHECK(t->n_heads == (by_head ? H : 1));
        for (int i = 0; i < 2; i++) {
            sg_glass *glass;
            sg_value *v;
            sg_tensor from;
            const sg_dim length = T;
            const int32_t *row = source;
            const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
            CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
            CHECK_OK(sg_glass_find(glass, sites[i], &v, &err), &err);
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &from, &err), &err);
            for (int p = 0; p < 3; p++)
                for (int h = 0; h < t->n_heads; h++) {
                    float logits[T * V];
                    const sg_span place = {positions[p], positions[p]}, head = {h, h};
                    sg_edit e = sg_edit_defaults();
                    e.site = sites[i];
                    e.op = SG_EDIT_PATCH;
                    e.value = sg_tensor_of(SG_F32, 3, from.dims + 1, from.data);
                    e.positions = (sg_spans){1, &place};
                    e.heads = (sg_spans){by_head, &head};
                    logits_of(m, base, 1, &e, logits);
                    const int at = (i * 3 + p) * t->n_heads + h;
                    CHECK_NEAR(t->metric[at], logits[(T - 1) * V + 3], 1e-5, 0);
                    CHECK_NEAR(single->metric[at], t->metric[at], 1e-5, 0);
                }
            sg_glass_free(glass);
        }
        sg_patch_table_free(single);
        sg_patch_table_free(t);
    }
    sg_model_close(m);
}

static sg_value *sum_of_squares(sg_graph *g, void *context)
{
    (void)context;
    sg_value *x = sg_graph_find(g, "logits");
    return sg_sum_axes(g, sg_square(g, x), 6, false);
}

static void metrics_are_what_they_are_called(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.1.hook_attn_out"};
    sg_model *m = tiny();
    float logits[T * V];
    double sum = 0, squares = 0;
    logits_of(m, base, 0, NULL, logits);
    const float *y = logits + 4 * V;
    for (int v = 0; v < V; v++)
        sum += exp((double)y[v]);
    for (int i = 0; i < T * V; i++)
        squares += (double)logits[i] * (double)logits[i];
    const struct {
        sg_patch_metric metric;
        double want;
    } cases[] = {
        {{.kind = SG_METRIC_LOGIT, .token = 3, .position = 4}, (double)y[3]},
        {{.kind = SG_METRIC_LOGIT, .token = 3, .position = -3}, (double)y[3]},
        {{.kind = SG_METRIC_LOGIT_DIFF, .token = 3, .other = 9, .position = 4}, (double)y[3] - (double)y[9]},
        {{.kind = SG_METRIC_PROB, .token = 3, .position = 4}, exp((double)y[3]) / sum},
        {{.kind = SG_METRIC_LOGPROB, .token = 3, .position = 4}, (double)y[3] - log(sum)},
        {{.kind = SG_METRIC_VALUE, .site = "logits", .index = 7, .position = 4}, (double)y[7]},
        {{.kind = SG_METRIC_BUILT, .build = sum_of_squares}, squares},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_patch_job j = job_of(m, 1, sites);
        j.metric = cases[i].metric;
        sg_patch_table *t = patch(&j);
        CHECK_NEAR(t->base, cases[i].want, 1e-5, 1e-5);
        sg_patch_table_free(t);
    }
    sg_patch_job j = job_of(m, 1, sites);
    j.source = base; /* nothing differs, so there is nothing to be explained */
    sg_patch_table *t = patch(&j);
    CHECK(isnan(t->effect[0]) && t->base == t->source);
    CHECK_NEAR(t->metric[0], t->base, 1e-5, 0);
    sg_patch_table_free(t);
    sg_model_close(m);
}

static void what_is_not_there_is_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"blocks.1.hook_attn_out"}, *const wrong[] = {"blocks.1.hook_atn_out"},
                             *const flat[] = {"loss"},
                             *const heads[] = {"blocks.1.attn.hook_z", "blocks.1.hook_attn_out"};
    sg_model *m = tiny();
    sg_patch_table *t;
    sg_error err;
    sg_patch_job j = job_of(m, 1, wrong);
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.1.hook_attn_out");
    j = job_of(m, 1, flat);
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_ESHAPE);
    j = job_of(m, 2, heads);
    j.by_head = true;
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "0 heads");
    j = job_of(m, 1, good);
    j.metric.token = V;
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_EARG);
    CHECK_TEXT(err.text, "token 13");
    j = job_of(m, 1, good);
    j.metric.position = T;
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_EARG);
    j = job_of(m, 1, good);
    j.n_positions = 1;
    j.positions = (const sg_dim[]){T};
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_EARG);
    CHECK_TEXT(err.text, "position 7 of 7");
    j = job_of(m, 0, good);
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_EARG);
    static volatile sig_atomic_t stop = 1;
    j = job_of(m, 1, good);
    j.cancel = &stop;
    CHECK_STATUS(sg_patch_run(&t, &j, &err), SG_ECANCELLED);
    CHECK(t == NULL);
    sg_model_close(m);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char *const sites[] = {"blocks.1.hook_attn_out"};
    sg_model *m = tiny();
    sg_error err;
    sg_patch_job j = job_of(m, 1, sites);
    for (long n = 0;; n += 1 + n / 40) {
        sg_patch_table *t;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_patch_run(&t, &j, &err);
        const bool failed = sg_faults_end();
        CHECK(!failed || status == SG_ENOMEM || status == SG_OK);
        sg_patch_table_free(t);
        if (!failed) {
            CHECK_OK(status, &err);
            break;
        }
    }
    sg_model_close(m);
}

/* Where the metric is linear in the site the estimate is the patch: numbers of the residual stream in what writes to
 * it. */
static void estimates_are_exact_where_the_metric_is_linear(void **state)
{
    (void)state;
    static const char *const heads[] = {"blocks.1.attn.hook_z"}, *const writers[] = {"blocks.1.hook_resid_mid",
                                                                                     "blocks.1.hook_mlp_out"};
    sg_model *m = tiny();
    sg_error err;
    for (int by_head = 0; by_head < 2; by_head++) {
        sg_patch_job j = job_of(m, by_head ? 1 : 2, by_head ? heads : writers);
        sg_patch_table *estimate, *patched;
        sg_patch_agreement a;
        j.by_head = by_head;
        j.metric = (sg_patch_metric){.kind = SG_METRIC_VALUE,
                                     .site = by_head ? "blocks.1.hook_attn_out" : "blocks.1.hook_resid_post",
                                     .index = 3,
                                     .position = 5};
        /* The stream behind the MLP is linear in what the MLP adds, and not in what it reads: its own site comes
         * second. */
        j.n_sites = 1;
        j.sites = by_head ? heads : writers + 1;
        CHECK_OK(sg_patch_estimate(&estimate, &j, &err), &err);
        patched = patch(&j);
        CHECK_OK(sg_patch_compare(&a, estimate, patched, &err), &err);
        CHECK(a.n == T * (by_head ? H : 1) && a.error < 1e-5 && a.error_of_nothing > 1e-3);
        CHECK_NEAR(a.correlation, 1, 1e-5, 0);
        CHECK_NEAR(estimate->base, patched->base, 1e-6, 0);
        CHECK_NEAR(estimate->source, patched->source, 1e-6, 0);
        sg_patch_table_free(estimate);
        sg_patch_table_free(patched);
    }
    /* Elsewhere it is not, but knows something. */
    sg_patch_job j = job_of(m, 2, writers);
    sg_patch_table *estimate, *patched = patch(&j);
    sg_patch_agreement a;
    CHECK_OK(sg_patch_estimate(&estimate, &j, &err), &err);
    CHECK_OK(sg_patch_compare(&a, estimate, patched, &err), &err);
    CHECK(a.error > 1e-4 && a.worst >= a.error && a.correlation > 0.3);
    CHECK_NEAR(a.worst, fabs(estimate->effect[a.worst_at] - patched->effect[a.worst_at]), 1e-12, 0);
    patched->n_positions--;
    CHECK_STATUS(sg_patch_compare(&a, estimate, patched, &err), SG_ESHAPE);
    patched->n_positions++;
    const volatile sig_atomic_t stop = 1;
    j.cancel = &stop;
    sg_patch_table *none;
    CHECK_STATUS(sg_patch_estimate(&none, &j, &err), SG_ECANCELLED);
    sg_patch_table_free(estimate);
    sg_patch_table_free(patched);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_must_hold_of_any_network_holds),
        cmocka_unit_test(places_are_what_edits_make_of_them),
        cmocka_unit_test(metrics_are_what_they_are_called),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(estimates_are_exact_where_the_metric_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
