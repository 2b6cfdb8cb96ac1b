/* On a small network with fresh weights and probes that are made here: what an intervention does is compared with the
 * formulas, with edits made by hand, and with the same through a cache. */
#include "sightglass/intervene.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { D = 16, S = 5, C = 3, V = 13, T = 12, L = 3, ROWS = 6 };

static const char *const sites[L] = {"blocks.0.hook_resid_post", "blocks.1.hook_resid_post",
                                     "blocks.2.hook_resid_post"};
static int32_t tokens[ROWS][T];
static sg_change changes[ROWS][2];
static sg_rewrite rows[ROWS];

static sg_model *tiny(void)
{
    static const char config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"n_layer\": 3, \"n_head\": 2, "
                                 "\"n_positions\": 12, \"vocab_size\": 13, \"tie_word_embeddings\": false, "
                                 "\"initializer_range\": 0.3}";
    FILE *f = fopen("intervene_config.json", "w");
    sg_model *m;
    sg_error err;
    CHECK(f && fwrite(config, 1, sizeof config - 1, f) == sizeof config - 1 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "intervene_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("intervene_config.json");
    return m;
}

/* Rows of 3, 4, ... tokens, with two changes each. */
static void draw_rows(void)
{
    sg_rng r = sg_rng_new(3, 0);
    for (int i = 0; i < ROWS; i++) {
        for (int t = 0; t < T; t++)
            tokens[i][t] = (int32_t)sg_rng_below(&r, V);
        changes[i][0] = (sg_change){i % S, i % C, (i + 1) % C};
        changes[i][1] = (sg_change){(i + 2) % S, 2, 0};
        rows[i] = (sg_rewrite){tokens[i], 3 + i, 2, changes[i]};
    }
}

static sg_probe *planted(uint64_t seed)
{
    static float w[D * S * C], b[S * C];
    sg_rng r = sg_rng_new(seed, 1);
    for (int i = 0; i < D * S * C; i++)
        w[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < S * C; i++)
        b[i] = (float)sg_rng_normal(&r);
    const sg_tensor tw = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, S, C}, w);
    const sg_tensor tb = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, C}, b);
    sg_probe *p;
    sg_error err;
    CHECK_OK(sg_probe_of(&p, &tw, &tb, &err), &err);
    return p;
}

typedef struct scene {
    sg_model *m;
    sg_probe *probes[L];
    sg_intervener *iv;
    int n;
} scene;

static scene begin(int n)
{
    scene s = {.m = tiny(), .n = n};
    sg_error err;
    draw_rows();
    for (int i = 0; i < n; i++)
        s.probes[i] = planted(10 + (uint64_t)i);
    CHECK_OK(sg_intervener_new(&s.iv, s.m, n, sites, (const sg_probe *const *)s.probes, sg_exec_defaults(), &err),
             &err);
    return s;
}

static void end(scene *s)
{
    sg_intervener_free(s->iv);
    for (int i = 0; i < s->n; i++)
        sg_probe_free(s->probes[i]);
    sg_model_close(s->m);
}

static sg_intervention *run(const scene *s, sg_dim n, const sg_rewrite *what, sg_intervene_opts opts)
{
    sg_intervention *r;
    sg_error err;
    CHECK_OK(sg_intervener_run(&r, s->iv, n, what, opts, &err), &err);
    return r;
}

static sg_intervene_opts of(sg_intervene_kind kind, sg_intervene_scale scale, double strength)
{
    sg_intervene_opts opts = sg_intervene_defaults();
    opts.kind = kind;
    opts.scale = scale;
    opts.strength = strength;
    return opts;
}

static bool same(const sg_intervention *a, const sg_intervention *b)
{
    return memcmp(a->logits, b->logits, (size_t)(a->n_rows * a->n_vocab) * sizeof(float)) == 0;
}

static double apart(const float *a, const float *b, sg_dim n)
{
    double most = 0;
    for (sg_dim i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* A site at the last token of a row of a run in which nothing is changed. */
static void activation(const scene *s, const sg_rewrite *row, int site, float *out)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor t;
    sg_error err;
    const sg_rows one = {.n_rows = 1, .tokens = &row->tokens, .lengths = &row->n_tokens};
    CHECK_OK(sg_glass_new(&glass, s->m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, sites[site], &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &one, 0, NULL, 1, &v, &t, &err), &err);
    memcpy(out, (const float *)t.data + (row->n_tokens - 1) * D, D * sizeof *out);
    sg_glass_free(glass);
}

/* logit_from - logit_to */
static double margin(const sg_probe *p, const float *x, const sg_change *c)
{
    float logits[S * C], copy[D];
    sg_error err;
    memcpy(copy, x, sizeof copy);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, D}, copy);
    CHECK_OK(sg_probe_logits(p, &t, logits, &err), &err);
    return (double)logits[c->task * C + c->from] - (double)logits[c->task * C + c->to];
}

static void strength_0_changes_no_bit(void **state)
{
    (void)state;
    scene s = begin(L);
    sg_intervention *none = run(&s, ROWS, rows, of(SG_INTERVENE_NONE, SG_SCALE_UNIT, 1));
    for (int scale = 0; scale < SG_N_INTERVENE_SCALES; scale++) {
        sg_intervention *r = run(&s, ROWS, rows, of(SG_INTERVENE_DIRECTION, (sg_intervene_scale)scale, 0));
        CHECK(same(r, none));
        sg_intervention_free(r);
        r = run(&s, ROWS, rows, of(SG_INTERVENE_DIRECTION, (sg_intervene_scale)scale, 0.5));
        CHECK(!same(r, none));
        sg_intervention_free(r);
    }
    /* Nor does a change of something into itself, or none. */
    sg_rewrite quiet[2] = {rows[0], rows[1]};
    const sg_change itself = {1, 2, 2};
    quiet[0].n_changes = 0;
    quiet[1].n_changes = 1;
    quiet[1].changes = &itself;
    sg_intervention *a = run(&s, 2, quiet, of(SG_INTERVENE_NONE, SG_SCALE_UNIT, 1));
    sg_intervention *b = run(&s, 2, quiet, of(SG_INTERVENE_DIRECTION, SG_SCALE_MIRROR, 1));
    CHECK(same(a, b) && b->norm[0] == 0 && isnan(b->loss_before[0]));
    sg_intervention_free(a);
    sg_intervention_free(b);
    sg_intervention_free(none);
    end(&s);
}

static void rows_do_not_know_of_each_other(void **state)
{
    (void)state;
    static const sg_intervene_kind kinds[] = {SG_INTERVENE_DIRECTION, SG_INTERVENE_WRONG, SG_INTERVENE_GRADIENT};
    scene s = begin(2);
    for (size_t k = 0; k < SG_COUNT_OF(kinds); k++) {
        sg_intervene_opts opts = of(kinds[k], SG_SCALE_MIRROR, 1);
        opts.n_steps = 8;
        opts.batch = 4; /* the last batch is a part of one */
        sg_intervention *all = run(&s, ROWS, rows, opts);
        for (int i = 0; i < ROWS; i++) {
            sg_intervention *one = run(&s, 1, &rows[i], opts);
            CHECK_NEAR(apart(one->logits, all->logits + i * V, V), 0, 1e-5, 0);
            CHECK_NEAR(one->loss_after[1], all->loss_after[2 * i + 1], 1e-5, 0);
            sg_intervention_free(one);
        }
        sg_intervention_free(all);
    }
    end(&s);
}

/* x + s u and x + s |x| u, with u the sum of the probe's unit directions. */
static void a_direction_is_added_in_the_unit_that_was_asked_for(void **state)
{
    (void)state;
    scene s = begin(1);
    sg_error err;
    for (int scale = SG_SCALE_RAW; scale <= SG_SCALE_NORM; scale++) {
        sg_intervention *r = run(&s, ROWS, rows, of(SG_INTERVENE_DIRECTION, (sg_intervene_scale)scale, 0.75));
        for (int i = 0; i < ROWS; i++) {
            float u[D], x[D], want[D] = {0};
            const float *w = sg_probe_weights(s.probes[0])->data;
            double size = 0;
            activation(&s, &rows[i], 0, x);
            for (int d = 0; d < D; d++)
                size += (double)x[d] * (double)x[d];
            for (int k = 0; k < 2; k++) {
                const sg_change *c = &changes[i][k];
                CHECK_OK(sg_probe_direction(s.probes[0], c->task, c->to, c->from, u, &err), &err);
                for (int d = 0; d < D; d++) {
                    const float raw = w[(d * S + c->task) * C + c->to] - w[(d * S + c->task) * C + c->from];
                    want[d] += 0.75f * (scale == SG_SCALE_RAW    ? raw
                                        : scale == SG_SCALE_NORM ? u[d] * (float)sqrt(size)
                                                                 : u[d]);
                }
            }
            CHECK_NEAR(apart(r->change + i * D, want, D), 0, 2e-5, 0);
        }
        sg_intervention_free(r);
    }
    end(&s);
}

/* At every site, whatever earlier ones did: both margins are (1 - 2 s) times what they were without any change. */
static void mirrored_margins_are_those_of_the_run_as_it_was(void **state)
{
    (void)state;
    scene s = begin(2);
    for (int k = 0; k < 2; k++) {
        const double strength = k ? 1 : 0.25;
        sg_intervention *r = run(&s, ROWS, rows, of(SG_INTERVENE_DIRECTION, SG_SCALE_MIRROR, strength));
        sg_edit edits[2];
        sg_glass *glass;
        sg_value *v[2];
        sg_tensor out[2];
        sg_error err;
        int n_there = 0;
        for (int i = 0; i < ROWS; i++) {
            const sg_rows one = {.n_rows = 1, .tokens = &rows[i].tokens, .lengths = &rows[i].n_tokens};
            sg_intervention_edits(edits, r, i);
            CHECK_OK(sg_glass_new(&glass, s.m, sg_glass_defaults(), &err), &err);
            CHECK_OK(sg_glass_edit(glass, 2, edits, &err), &err);
            for (int l = 0; l < 2; l++)
                CHECK_OK(sg_glass_find(glass, sites[l], &v[l], &err), &err);
            CHECK_OK(sg_glass_run(glass, &one, 0, NULL, 2, v, out, &err), &err);
            for (int l = 0; l < 2; l++)
                for (int c = 0; c < 2; c++) {
                    float was[D];
                    activation(&s, &rows[i], l, was);
                    const float *is = (const float *)out[l].data + (rows[i].n_tokens - 1) * D;
                    const double m = margin(s.probes[l], was, &changes[i][c]);
                    n_there += m < 0; /* the probe reads `to` already, and goes on to */
                    CHECK_NEAR(margin(s.probes[l], is, &changes[i][c]), m > 0 ? (1 - 2 * strength) * m : m, 2e-4, 1e-4);
                }
            sg_glass_free(glass);
        }
        CHECK(n_there > 0 && n_there < 4 * ROWS);
        sg_intervention_free(r);
    }
    end(&s);
}

static void a_random_direction_is_as_long_as_what_it_is_compared_with(void **state)
{
    (void)state;
    scene s = begin(2);
    sg_intervention *r = run(&s, ROWS, rows, of(SG_INTERVENE_DIRECTION, SG_SCALE_MIRROR, 1));
    sg_intervene_opts opts = of(SG_INTERVENE_RANDOM, SG_SCALE_MIRROR, 7);
    opts.norms = r->norm;
    sg_intervention *a = run(&s, ROWS, rows, opts), *b = run(&s, ROWS, rows, opts);
    opts.seed = 1;
    sg_intervention *other = run(&s, ROWS, rows, opts);
    for (int i = 0; i < ROWS * 2; i++) {
        double dot = 0;
        CHECK_NEAR(a->norm[i], r->norm[i], 1e-5, 1e-5);
        for (int d = 0; d < D; d++)
            dot += (double)a->change[i * D + d] * (double)r->change[i * D + d];
        CHECK(fabs(dot) <= 0.95 * (double)r->norm[i] * (double)r->norm[i]);
    }
    CHECK(same(a, b) && !same(a, other));
    opts.kind = SG_INTERVENE_WRONG; /* towards the class that is neither, as long */
    sg_intervention *wrong = run(&s, ROWS, rows, opts);
    for (int i = 0; i < ROWS; i++) {
        float want[D] = {0}, u[D];
        sg_error err;
        for (int k = 0; k < 2; k++) {
            const sg_change *c = &changes[i][k];
            CHECK_OK(sg_probe_direction(s.probes[0], c->task, 3 - c->from - c->to, c->from, u, &err), &err);
            for (int d = 0; d < D; d++)
                want[d] += u[d];
        }
        double size = 0;
        for (int d = 0; d < D; d++)
            size += (double)want[d] * (double)want[d];
        for (int d = 0; d < D; d++)
            want[d] *= r->norm[2 * i] / (float)sqrt(size);
        CHECK_NEAR(apart(wrong->change + 2 * i * D, want, D), 0, 2e-5, 0);
    }
    sg_intervention_free(wrong);
    sg_intervention_free(other);
    sg_intervention_free(b);
    sg_intervention_free(a);
    sg_intervention_free(r);
    end(&s);
}

/* The best so far never gets worse as steps are added, since the first steps are the same ones. */
static void gradient_steps_lower_the_probes_loss(void **state)
{
    (void)state;
    scene s = begin(1);
    double last[ROWS];
    for (int steps = 0; steps <= 24; steps += 4) {
        sg_intervene_opts opts = of(SG_INTERVENE_GRADIENT, SG_SCALE_UNIT, 1);
        opts.n_steps = steps;
        opts.lr = 0.1;
        sg_intervention *r = run(&s, ROWS, rows, opts);
        int n_moved = 0;
        for (int i = 0; i < ROWS; i++) {
            CHECK(steps > 0 || (r->norm[i] == 0 && r->loss_after[i] == r->loss_before[i]));
            CHECK(steps == 0 || r->loss_after[i] <= last[i] + 1e-6);
            last[i] = r->loss_after[i];
            if (r->norm[i] == 0) /* the probe reads both changes already */
                continue;
            n_moved++;
            CHECK(steps < 24 || r->loss_after[i] < 0.7 * r->loss_before[i]);
        }
        CHECK(steps == 0 || n_moved >= ROWS / 2);
        sg_intervention_free(r);
    }
    end(&s);
}

/* What each kind did is the same as edits, with and without a cache, and at the last token alone. */
static void as_edits_it_is_the_same_through_a_cache(void **state)
{
    (void)state;
    static const sg_intervene_kind kinds[] = {SG_INTERVENE_DIRECTION, SG_INTERVENE_GRADIENT};
    scene s = begin(2);
    sg_error err;
    for (size_t k = 0; k < SG_COUNT_OF(kinds); k++) {
        sg_intervene_opts opts = of(kinds[k], SG_SCALE_MIRROR, 1);
        opts.n_steps = 10;
        sg_intervention *r = run(&s, ROWS, rows, opts);
        for (int i = 0; i < ROWS; i++) {
            const sg_dim n = rows[i].n_tokens;
            const sg_rows one = {.n_rows = 1, .tokens = &rows[i].tokens, .lengths = &n};
            sg_edit edits[2];
            sg_intervention_edits(edits, r, i);
            float was[L * T * D];
            for (int way = 0; way < 3; way++) { /* unedited; edited; edited with a cache, the prompt in one piece */
                sg_glass_opts how = sg_glass_defaults();
                sg_glass *glass;
                sg_value *v[L + 1];
                sg_tensor out[L + 1];
                how.capacity = way == 2 ? T : 0;
                CHECK_OK(sg_glass_new(&glass, s.m, how, &err), &err);
                if (way)
                    CHECK_OK(sg_glass_edit(glass, 2, edits, &err), &err);
                for (int l = 0; l <= L; l++)
                    CHECK_OK(sg_glass_find(glass, l < L ? sites[l] : "logits", &v[l], &err), &err);
                if (way == 2)
                    CHECK_OK(sg_glass_extend(glass, &one, L + 1, v, out, &err), &err);
                else
                    CHECK_OK(sg_glass_run(glass, &one, 0, NULL, L + 1, v, out, &err), &err);
                for (int l = 0; l < L; l++) {
                    const size_t bytes = (size_t)((n - 1) * D) * sizeof(float); /* all but the last token */
                    if (way == 0)
                        memcpy(was + l * T * D, out[l].data, bytes);
                    CHECK(way != 1 || memcmp(was + l * T * D, out[l].data, bytes) == 0);
                }
                if (way)
                    CHECK_NEAR(apart((const float *)out[L].data + (n - 1) * V, r->logits + i * V, V), 0, 1e-4, 0);
                sg_glass_free(glass);
            }
        }
        sg_intervention_free(r);
    }
    end(&s);
}

static void a_probe_that_is_not_linear_is_moved_by_its_gradient(void **state)
{
    (void)state;
    enum { N = 200 };
    static float acts[N * D];
    static int32_t labels[N];
    sg_rng r = sg_rng_new(8, 0);
    for (int i = 0; i < N; i++) {
        for (int d = 0; d < D; d++)
            acts[i * D + d] = (float)sg_rng_normal(&r);
        labels[i] = acts[i * D] * acts[i * D + 1] > 0;
    }
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, acts),
                    y = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, 1}, labels);
    sg_probe_opts fit = sg_probe_defaults();
    fit.kind = SG_PROBE_MLP;
    fit.hidden = 24;
    fit.batch = 50;
    fit.n_epochs = 20;
    sg_probe *p;
    sg_error err;
    sg_model *m = tiny();
    sg_intervener *iv;
    sg_intervention *result;
    draw_rows();
    CHECK_OK(sg_probe_fit(&p, &x, &y, fit, &err), &err);
    CHECK_OK(sg_intervener_new(&iv, m, 1, sites, (const sg_probe *const *)&p, sg_exec_defaults(), &err), &err);
    const sg_change turn = {0, 0, 1};
    const sg_rewrite row = {tokens[0], 5, 1, &turn};
    CHECK_STATUS(sg_intervener_run(&result, iv, 1, &row, of(SG_INTERVENE_DIRECTION, SG_SCALE_UNIT, 1), &err),
                 SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "gradient");
    CHECK_STATUS(sg_intervener_run(&result, iv, 1, &row, of(SG_INTERVENE_WRONG, SG_SCALE_UNIT, 1), &err), SG_EARG);
    /* To either class: one of them it reads already, and that row is left alone. */
    const sg_change back = {0, 1, 0};
    const sg_rewrite both[2] = {row, {tokens[0], 5, 1, &back}};
    sg_intervene_opts steps = of(SG_INTERVENE_GRADIENT, SG_SCALE_UNIT, 1);
    steps.lr = 0.2; /* what the probe was fitted to is larger than what the network holds */
    CHECK_OK(sg_intervener_run(&result, iv, 2, both, steps, &err), &err);
    const int moved = result->norm[0] == 0;
    CHECK(result->norm[!moved] == 0 && result->norm[moved] > 0);
    CHECK(result->loss_before[!moved] < log(2) && result->loss_before[moved] > log(2));
    CHECK(result->loss_after[moved] < 0.5 * result->loss_before[moved]);
    sg_intervention_free(result);
    sg_intervener_free(iv);
    sg_probe_free(p);
    sg_model_close(m);
}

/* x is a sum of parts, so they are found; labels that go together do not matter, as they would for means. */
static void parts_of_an_activation_are_found(void **state)
{
    (void)state;
    enum { N = 600 };
    static float acts[N * D], part[S * C * D];
    static int32_t labels[N * S];
    sg_rng r = sg_rng_new(4, 0);
    sg_error err;
    sg_probe *p;
    for (int i = 0; i < S * C * D; i++)
        part[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < S; k++) {
            const bool follows = k > 0 && sg_rng_below(&r, 2);
            const int32_t c = labels[i * S + k] = follows ? labels[i * S + k - 1] : (int32_t)sg_rng_below(&r, C);
            for (int d = 0; d < D; d++)
                acts[i * D + d] += part[(k * C + c) * D + d];
        }
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, acts),
                    y = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, labels);
    CHECK_OK(sg_parts_fit(&p, &x, &y, C, 1e-9, &err), &err);
    const float *w = sg_probe_weights(p)->data;
    for (int k = 0; k < S; k++)
        for (int d = 0; d < D; d++) /* differences: what all classes of a task share may go to the intercept */
            for (int c = 1; c < C; c++)
                CHECK_NEAR(w[(d * S + k) * C + c] - w[(d * S + k) * C], part[(k * C + c) * D + d] - part[k * C * D + d],
                           1e-3, 0);
    sg_probe_free(p);
    labels[7] = C;
    CHECK_STATUS(sg_parts_fit(&p, &x, &y, C, 1e-9, &err), SG_EARG);
    CHECK_TEXT(err.text, "row 1 has label 3");
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    scene s = begin(2);
    sg_error err;
    sg_intervener *iv;
    sg_intervention *r;
    const char *wrong[1] = {"blocks.0.hook_resid_pots"}, *narrow[1] = {"blocks.0.mlp.hook_post"};
    const sg_probe *const *probes = (const sg_probe *const *)s.probes;
    const sg_exec_opts exec = sg_exec_defaults();
    CHECK_STATUS(sg_intervener_new(&iv, s.m, 1, wrong, probes, exec, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.0.hook_resid_post");
    CHECK_STATUS(sg_intervener_new(&iv, s.m, 1, narrow, probes, exec, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "[batch,time,64]");
    CHECK_STATUS(sg_intervener_new(&iv, s.m, 0, sites, probes, exec, &err), SG_EARG);
    CHECK(iv == NULL);

    sg_change bad = {S, 0, 1};
    sg_rewrite row = {tokens[0], 4, 1, &bad};
    const sg_intervene_opts good = sg_intervene_defaults();
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, &row, good, &err), SG_EARG);
    CHECK_TEXT(err.text, "row 0 changes task 5");
    bad = (sg_change){0, 0, C};
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, &row, good, &err), SG_EARG);
    bad.to = 1;
    row.n_tokens = T + 1;
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, &row, good, &err), SG_EARG);
    CHECK_TEXT(err.text, "context");
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 0, NULL, good, &err), SG_EARG);
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, rows, of(SG_INTERVENE_DIRECTION, SG_SCALE_UNIT, (double)NAN), &err),
                 SG_EARG);
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, rows, of(SG_INTERVENE_RANDOM, SG_SCALE_MIRROR, 1), &err), SG_EARG);
    CHECK_TEXT(err.text, "lengths");
    sg_intervene_opts opts = good;
    opts.norms = (const float[]){1, 1};
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, rows, opts, &err), SG_EARG);
    static volatile sig_atomic_t stop = 1;
    opts = good;
    opts.cancel = &stop;
    CHECK_STATUS(sg_intervener_run(&r, s.iv, 1, rows, opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
    end(&s);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    scene s = begin(1);
    sg_error err;
    sg_intervene_opts opts = of(SG_INTERVENE_GRADIENT, SG_SCALE_UNIT, 1);
    opts.n_steps = 1;
    for (int kind = 0; kind < 2; kind++) {
        opts.kind = kind ? SG_INTERVENE_DIRECTION : SG_INTERVENE_GRADIENT;
        for (long n = 0;; n += 1 + n / 40) { /* there are some thousands of allocations */
            sg_intervener *iv = NULL;
            sg_intervention *r = NULL;
            sg_faults_begin(n, SG_FAULT_ONCE);
            sg_status status =
                sg_intervener_new(&iv, s.m, 1, sites, (const sg_probe *const *)s.probes, sg_exec_defaults(), &err);
            if (status == SG_OK)
                status = sg_intervener_run(&r, iv, 1, rows, opts, &err);
            const bool failed = sg_faults_end();
            sg_intervention_free(r);
            sg_intervener_free(iv);
            if (!failed) {
                CHECK_OK(status, &err);
                break;
            }
            CHECK(status == SG_ENOMEM || status == SG_OK); /* some allocations can be done without */
        }
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strength_0_changes_no_bit),
        cmocka_unit_test(rows_do_not_know_of_each_other),
        cmocka_unit_test(a_direction_is_added_in_the_unit_that_was_asked_for),
        cmocka_unit_test(mirrored_margins_are_those_of_the_run_as_it_was),
        cmocka_unit_test(a_random_direction_is_as_long_as_what_it_is_compared_with),
        cmocka_unit_test(gradient_steps_lower_the_probes_loss),
        cmocka_unit_test(as_edits_it_is_the_same_through_a_cache),
        cmocka_unit_test(a_probe_that_is_not_linear_is_moved_by_its_gradient),
        cmocka_unit_test(parts_of_an_activation_are_found),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
