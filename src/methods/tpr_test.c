/* A probe whose parts are known is to be found again: from its logits by least squares, from labels by training. */
#include "sightglass/tpr.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "gradcheck.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/train.h"

static void normals(float *x, sg_dim n, double deviation, uint32_t stream)
{
    sg_rng r = sg_rng_new(5, stream);
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)(deviation * sg_rng_normal(&r));
}

/* ---- a planted probe ---- */

enum { D = 24, S = 9, C = 3, RD = 4, FD = 2, N = 1200 };

static float U[D * RD * FD], R[S * RD], F[C * FD], X[N * D], L[N * S * C];
static int32_t Y[N * S];
static sg_tensor acts, labels;
static sg_tpr *planted;

static sg_tensor logits_of(const sg_tpr *p, const sg_tensor *x)
{
    sg_tensor out, t;
    sg_session *s;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *in = sg_input(g, "x", SG_F32, 2, (sg_dim[]){sg_extent(g, "rows"), D}), *y = sg_tpr_graph(g, p, in);
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_session_new(&s, g, NULL, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_session_run(s, 1, &(sg_feed){in, *x}, 1, &y, &t, &err), &err);
    out = t;
    out.data = malloc(sg_tensor_bytes(&t));
    memcpy(out.data, t.data, sg_tensor_bytes(&t));
    sg_session_free(s);
    sg_graph_free(g);
    return out;
}

static int best_of(const float *logit)
{
    int best = 0;
    for (int c = 1; c < C; c++)
        best = logit[c] > logit[best] ? c : best;
    return best;
}

static char folder[256];

static char *in_folder(char to[320], const char *name)
{
    snprintf(to, 320, "%s/%s", folder, name);
    return to;
}

static int plant(void **state)
{
    (void)state;
    sg_error err;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-tpr-test-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    normals(U, D * RD * FD, 1, 1);
    normals(R, S * RD, 1, 2);
    normals(F, C * FD, 1, 3);
    normals(X, N * D, 1, 4);
    acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, X);
    labels = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, Y);
    const sg_tpr_parts parts = {.binding = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, RD, FD}, U),
                                .roles = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, RD}, R),
                                .fillers = sg_tensor_of(SG_F32, 2, (sg_dim[]){C, FD}, F)};
    CHECK_OK(sg_tpr_of(&planted, &parts, &err), &err);
    sg_tensor y = logits_of(planted, &acts);
    memcpy(L, y.data, sizeof L);
    free(y.data);
    for (int i = 0; i < N * S; i++)
        Y[i] = best_of(L + i * C);
    return 0;
}

static int unplant(void **state)
{
    (void)state;
    static const char *const left[] = {"new/one.safetensors", "new/one.json",    "new/two.safetensors",
                                       "new/two.json",        "bad.safetensors", "bad.json"};
    char path[320];
    sg_tpr_free(planted);
    for (size_t i = 0; i < SG_COUNT_OF(left); i++)
        unlink(in_folder(path, left[i]));
    rmdir(in_folder(path, "new"));
    return rmdir(folder);
}

static double accuracy(const sg_tensor *y, const int32_t *want, sg_dim n)
{
    sg_dim right = 0, all = 0;
    for (sg_dim i = 0; i < n; i++) {
        all += want[i] >= 0;
        right += want[i] >= 0 && best_of((const float *)y->data + i * C) == want[i];
    }
    return (double)right / (double)all;
}

/* Relative distance of two linear probes, less what all classes share. */
static double distance(const sg_tensor *a, const sg_tensor *b)
{
    double apart = 0, norm = 0;
    for (sg_dim i = 0; i < D * S; i++) {
        double x[C], y[C], mx = 0, my = 0;
        for (int c = 0; c < C; c++) {
            x[c] = sg_tensor_get(a, i * C + c), mx += x[c] / C;
            y[c] = sg_tensor_get(b, i * C + c), my += y[c] / C;
        }
        for (int c = 0; c < C; c++) {
            apart += (x[c] - mx - y[c] + my) * (x[c] - mx - y[c] + my);
            norm += (y[c] - my) * (y[c] - my);
        }
    }
    return sqrt(apart / norm);
}

static void a_planted_probe_is_found_by_least_squares(void **state)
{
    (void)state;
    sg_error err;
    sg_ridge *fit;
    sg_tpr_factored *found;
    sg_tensor w, want;
    const double lambda = 0;
    sg_ridge_opts no_bias = sg_ridge_defaults();
    no_bias.intercept = false;
    const sg_tensor y = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, S * C}, L);
    CHECK_OK(sg_ridge_new(&fit, &acts, &y, &lambda, 1, no_bias, &err), &err);
    const sg_tensor linear = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, S, C}, fit->weights.data);
    sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
    opts.role_dim = RD;
    for (int random = 0; random < 2; random++) {
        opts.random = random;
        CHECK_OK(sg_tpr_factor(&found, &linear, opts, &err), &err);
        CHECK_OK(sg_tpr_linear(&w, found->probe, &err), &err);
        CHECK_OK(sg_tpr_linear(&want, planted, &err), &err);
        CHECK(distance(&w, &want) < 1e-3);
        CHECK(found->error[found->n_rounds - 1] < 1e-3 && found->by_rank > 0.05); /* an SVD of that size cannot */
        sg_tensor got = logits_of(found->probe, &acts);
        CHECK_NEAR(accuracy(&got, Y, N * S), 1, 0, 0);
        free(got.data);
        free(w.data);
        free(want.data);
        sg_tpr_factored_free(found);
    }
    sg_ridge_free(fit);
}

static sg_tpr_opts small_opts(void)
{
    sg_tpr_opts opts = sg_tpr_defaults();
    opts.n_classes = C;
    opts.role_dim = RD;
    opts.batch = 128;
    opts.n_epochs = 60;
    opts.exec.n_threads = 1;
    return opts;
}

/* Cases that a hair decides are left without a label, which also tries that. */
static void training_finds_what_labels_a_planted_probe_gives(void **state)
{
    (void)state;
    static int32_t clear[N * S];
    sg_error err;
    sg_tpr *p;
    sg_dim n_left = 0;
    for (int i = 0; i < N * S; i++) {
        const float *l = L + i * C;
        float second = -INFINITY;
        for (int c = 0; c < C; c++)
            second = c != Y[i] && l[c] > second ? l[c] : second;
        clear[i] = l[Y[i]] - second > 2 ? Y[i] : -1;
        n_left += clear[i] >= 0;
    }
    CHECK(n_left > N * S / 2 && n_left < N * S);
    const sg_tensor some = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, clear);
    sg_tensor want;
    CHECK_OK(sg_tpr_linear(&want, planted, &err), &err);
    CHECK_OK(sg_tpr_fit(&p, &acts, &some, small_opts(), &err), &err);
    sg_tensor got = logits_of(p, &acts), w;
    CHECK(accuracy(&got, clear, N * S) > 0.999);
    CHECK(accuracy(&got, Y, N * S) < 1); /* of the rest not all */
    CHECK_OK(sg_tpr_linear(&w, p, &err), &err);
    double alike;
    CHECK_OK(sg_tpr_likeness(&alike, NULL, &w, &want, &err), &err);
    CHECK(alike > 0.95);
    free(got.data);
    free(w.data);
    sg_tpr_free(p);

    /* Labels of other rows are not found: the control. */
    int32_t *other = malloc(sizeof clear);
    for (int i = 0; i < N; i++)
        memcpy(other + i * S, clear + ((i + N / 2) % N) * S, S * sizeof *other);
    const sg_tensor shuffled = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, other);
    CHECK_OK(sg_tpr_fit(&p, &acts, &shuffled, small_opts(), &err), &err);
    CHECK_OK(sg_tpr_linear(&w, p, &err), &err);
    CHECK_OK(sg_tpr_likeness(&alike, NULL, &w, &want, &err), &err);
    CHECK(fabs(alike) < 0.3);
    free(w.data);
    free(want.data);
    free(other);
    sg_tpr_free(p);
}

static void the_same_seed_gives_the_same_probe(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p[3];
    sg_tpr_opts opts = small_opts();
    opts.n_epochs = 2;
    for (int i = 0; i < 3; i++) {
        opts.seed = (uint64_t)(i / 2);
        CHECK_OK(sg_tpr_fit(&p[i], &acts, &labels, opts, &err), &err);
    }
    const size_t n = sizeof U;
    CHECK(memcmp(sg_tpr_get_parts(p[0])->binding.data, sg_tpr_get_parts(p[1])->binding.data, n) == 0);
    CHECK(memcmp(sg_tpr_get_parts(p[0])->binding.data, sg_tpr_get_parts(p[2])->binding.data, n) != 0);
    for (int i = 0; i < 3; i++)
        sg_tpr_free(p[i]);
}

/* By a power of two, so that every number but the binding's is the same to the last bit. */
static void the_scale_of_activations_does_not_matter(void **state)
{
    (void)state;
    static float large[N * D];
    sg_error err;
    sg_tpr *p, *q;
    sg_tpr_opts opts = small_opts();
    opts.n_epochs = 2;
    for (int i = 0; i < N * D; i++)
        large[i] = 64 * X[i];
    const sg_tensor scaled = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, large);
    CHECK_OK(sg_tpr_fit(&p, &acts, &labels, opts, &err), &err);
    CHECK_OK(sg_tpr_fit(&q, &scaled, &labels, opts, &err), &err);
    const float *a = sg_tpr_get_parts(p)->binding.data, *b = sg_tpr_get_parts(q)->binding.data;
    for (int i = 0; i < D * RD * FD; i++)
        CHECK_NEAR(64 * b[i], a[i], 1e-5, 1e-4);
    double one, other;
    CHECK_OK(sg_tpr_loss(&one, p, &acts, &labels, &err), &err);
    CHECK_OK(sg_tpr_loss(&other, q, &scaled, &labels, &err), &err);
    CHECK_NEAR(one, other, 0, 1e-4);
    sg_tpr_free(p);
    sg_tpr_free(q);
}

/* With a bias a mean is no obstacle, and it is folded in. */
static void a_bias_takes_up_what_all_activations_share(void **state)
{
    (void)state;
    static float off[N * D];
    sg_error err;
    sg_tpr *p;
    sg_tpr_opts opts = small_opts();
    opts.n_epochs = 20;
    for (int i = 0; i < N * D; i++)
        off[i] = X[i] + (float)(10 * (i % D == 3) - 5 * (i % D == 7));
    const sg_tensor moved = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, off);
    double rate[2];
    for (int bias = 0; bias < 2; bias++) {
        opts.bias = bias;
        CHECK_OK(sg_tpr_fit(&p, &moved, &labels, opts, &err), &err);
        CHECK((sg_tpr_get_parts(p)->bias.data != NULL) == bias);
        sg_tensor y = logits_of(p, &moved);
        rate[bias] = accuracy(&y, Y, N * S);
        free(y.data);
        sg_tpr_free(p);
    }
    CHECK(rate[1] > 0.9 && rate[0] < rate[1] - 0.02);
}

/* ---- what holds of any probe ---- */

static sg_value *as_graph(sg_graph *g, sg_value *const *x)
{
    return sg_tpr_logits(g, x[0], x[1], x[2], x[3], NULL);
}

static void its_gradients_are_those_of_differences(void **state)
{
    (void)state;
    const gradcheck_case c = {.op = "tpr",
                              .build = as_graph,
                              .n_in = 4,
                              .in = {{.n_dims = 2, .dims = {2, 3}, .low = -1, .high = 1},
                                     {.n_dims = 3, .dims = {3, 2, 2}, .low = -1, .high = 1},
                                     {.n_dims = 2, .dims = {4, 2}, .low = -1, .high = 1},
                                     {.n_dims = 2, .dims = {3, 2}, .low = -1, .high = 1}}};
    char text[GRADCHECK_TEXT];
    if (!gradcheck(&c, text)) {
        print_error("%s\n", text);
        CHECK(false);
    }
}

static void its_linear_probe_says_the_same_and_has_its_rank(void **state)
{
    (void)state;
    sg_error err;
    sg_tensor w, by_linear;
    sg_svd *svd;
    CHECK_OK(sg_tpr_linear(&w, planted, &err), &err);
    const sg_tensor flat = sg_tensor_of(SG_F32, 2, (sg_dim[]){D, S * C}, w.data);
    CHECK_OK(sg_svd_new(&svd, &flat, SG_FACTORS_THIN, &err), &err);
    CHECK(sg_svd_rank(svd, 1e-5) == RD * FD);
    sg_svd_free(svd);
    sg_graph *g = sg_graph_new();
    sg_value *y = sg_matmul(g, sg_const(g, &acts), sg_const(g, &flat), false, false);
    sg_session *s;
    CHECK_OK(sg_session_new(&s, g, NULL, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_session_run(s, 0, NULL, 1, &y, &by_linear, &err), &err);
    for (int i = 0; i < N * S * C; i++)
        CHECK_NEAR(((float *)by_linear.data)[i], L[i], 1e-5 * 20, 1e-5); /* logits go to 20 and more */
    sg_session_free(s);
    sg_graph_free(g);
    free(w.data);
    CHECK(sg_tpr_n_parameters(planted) == D * RD * FD + S * RD + C * FD);
}

static void it_takes_values_of_any_rank(void **state)
{
    (void)state;
    sg_error err;
    sg_tensor t[2];
    sg_session *s;
    sg_graph *g = sg_graph_new();
    const sg_tensor one = sg_tensor_of(SG_F32, 1, (sg_dim[]){D}, X);
    const sg_tensor three = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 5, D}, X);
    sg_value *y[2] = {sg_tpr_graph(g, planted, sg_const(g, &one)), sg_tpr_graph(g, planted, sg_const(g, &three))};
    CHECK_OK(sg_session_new(&s, g, NULL, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_session_run(s, 0, NULL, 2, y, t, &err), &err);
    CHECK(t[0].n_dims == 2 && t[0].dims[0] == S && t[0].dims[1] == C);
    CHECK(t[1].n_dims == 4 && t[1].dims[1] == 5 && t[1].dims[2] == S);
    CHECK_NEAR(((float *)t[0].data)[4], L[4], 1e-4, 1e-4);
    CHECK_NEAR(((float *)t[1].data)[7 * S * C], L[7 * S * C], 1e-4, 1e-4);
    sg_session_free(s);
    sg_graph_free(g);
}

/* U' delta = R_s x (F_to - F_from), so logit[s',c] moves by R_s'. R_s (F_to - F_from) . F_c. */
static void an_edit_moves_logits_as_the_parts_say(void **state)
{
    (void)state;
    sg_error err;
    float delta[D], moved[D];
    static const int from = 2, to = 1, role = 4;
    CHECK_OK(sg_tpr_delta(delta, planted, role, from, to, &err), &err);
    for (int d = 0; d < D; d++)
        moved[d] = X[d] + delta[d];
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, D}, moved);
    sg_tensor y = logits_of(planted, &x);
    for (int s = 0; s < S; s++)
        for (int c = 0; c < C; c++) {
            double roles = 0, fillers = 0;
            for (int k = 0; k < RD; k++)
                roles += (double)(R[s * RD + k] * R[role * RD + k]);
            for (int k = 0; k < FD; k++)
                fillers += (double)((F[to * FD + k] - F[from * FD + k]) * F[c * FD + k]);
            CHECK_NEAR(((float *)y.data)[s * C + c] - L[s * C + c], roles * fillers, 1e-4, 1e-4);
        }
    free(y.data);
}

static void an_edit_to_the_same_filler_is_exactly_nothing(void **state)
{
    (void)state;
    sg_error err;
    float delta[D];
    for (int c = 0; c < C; c++)
        for (int s = 0; s < S; s++) {
            memset(delta, 0xff, sizeof delta);
            CHECK_OK(sg_tpr_delta(delta, planted, s, c, c, &err), &err);
            for (int d = 0; d < D; d++)
                CHECK(delta[d] == 0);
        }
    CHECK_STATUS(sg_tpr_delta(delta, planted, S, 0, 1, &err), SG_EARG);
    CHECK_STATUS(sg_tpr_delta(delta, planted, 0, 0, C, &err), SG_EARG);
    CHECK_TEXT(err.text, "from filler 0 to 3, there are 3");
}

/* Activations that lie in a plane: an edit by ridge keeps to it, one by the pseudo-inverse does not. */
static void an_edit_fitted_to_activations_keeps_to_where_they_lie(void **state)
{
    (void)state;
    static float in_plane[N * D];
    sg_error err;
    float plain[D], fitted[D];
    double off_plain = 0, off_fitted = 0;
    sg_tpr *p;
    for (int i = 0; i < N; i++)
        in_plane[i * D + 3] = X[i * D], in_plane[i * D + 8] = X[i * D + 1];
    const sg_tensor plane = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, in_plane);
    CHECK_OK(sg_tpr_of(&p, sg_tpr_get_parts(planted), &err), &err);
    CHECK_OK(sg_tpr_delta(plain, p, 1, 0, 1, &err), &err);
    CHECK_OK(sg_tpr_fit_delta(p, &plane, 1e-4, &err), &err);
    CHECK_OK(sg_tpr_delta(fitted, p, 1, 0, 1, &err), &err);
    for (int d = 0; d < D; d++)
        if (d != 3 && d != 8)
            off_plain += (double)fabsf(plain[d]), off_fitted += (double)fabsf(fitted[d]);
    CHECK(off_plain > 0.1 && off_fitted < 1e-6);
    CHECK(fabsf(fitted[3]) + fabsf(fitted[8]) > 1e-3f);
    CHECK_STATUS(sg_tpr_fit_delta(p, &labels, 1e-4, &err), SG_ESHAPE);
    sg_tpr_free(p);
}

/* ---- the two forms and the linear probe ---- */

enum { TD = 6, TS = 4, TN = 2000 };

/* Labels drawn from a softmax, so that the lowest loss is far above 0 and one. */
static void draw_labels(int32_t *y, const float *x, const float *w)
{
    sg_rng rng = sg_rng_new(8, 8);
    for (int i = 0; i < TN; i++)
        for (int s = 0; s < TS; s++) {
            double p[C], sum = 0;
            for (int c = 0; c < C; c++) {
                double logit = 0;
                for (int d = 0; d < TD; d++)
                    logit += (double)(x[i * TD + d] * w[(d * TS + s) * C + c]);
                p[c] = exp(logit), sum += p[c];
            }
            double at = sg_rng_uniform(&rng) * sum;
            int c = 0;
            while (c + 1 < C && (at -= p[c]) > 0)
                c++;
            y[i * TS + s] = c;
        }
}

/* The lowest loss of a linear probe, by many steps of Adam over all rows. */
static double linear_loss(const sg_tensor *x, const sg_tensor *y)
{
    sg_error err;
    sg_state *state;
    sg_train *t;
    sg_graph *g = sg_graph_new();
    sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL), *update;
    sg_value *w = sg_variable(g, "w", SG_F32, 2, (sg_dim[]){TD, TS * C}, sg_init_constant(0));
    sg_value *logits = sg_reshape(g, sg_matmul(g, sg_const(g, x), w, false, false), 3, (sg_dim[]){TN, TS, C});
    sg_value *loss = sg_mul_scalar(g, sg_mean_all(g, sg_cross_entropy(g, logits, sg_const(g, y))), TS);
    sg_train_adam(g, loss, 1, &w, lr, step, sg_adam_defaults(), &update);
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_state_new(&state, g, &err), &err);
    CHECK_OK(sg_state_init(state, 0, &err), &err);
    sg_train_opts opts = sg_train_defaults();
    opts.lr = 0.03;
    opts.exec.n_threads = 1;
    const sg_train_graph what = {.step = step, .lr = lr, .loss = loss, .n_updates = 1, .updates = &update};
    CHECK_OK(sg_train_new(&t, g, state, what, opts, &err), &err);
    CHECK_OK(sg_train_run(t, 400, &err), &err);
    const double lowest = sg_train_loss(t);
    sg_train_free(t);
    sg_state_free(state);
    sg_graph_free(g);
    return lowest;
}

static void with_all_dimensions_it_is_the_linear_probe(void **state)
{
    (void)state;
    static float x[TN * TD], w[TD * TS * C];
    static int32_t y[TN * TS];
    sg_error err;
    sg_tpr *p;
    double full, few, chance;
    normals(x, TN * TD, 1, 20);
    normals(w, TD * TS * C, 1, 21);
    draw_labels(y, x, w);
    const sg_tensor a = sg_tensor_of(SG_F32, 2, (sg_dim[]){TN, TD}, x);
    const sg_tensor l = sg_tensor_of(SG_I32, 2, (sg_dim[]){TN, TS}, y);
    sg_tpr_opts opts = small_opts();
    opts.role_dim = TS;
    opts.filler_dim = C;
    opts.weight_decay = 0;
    CHECK_OK(sg_tpr_fit(&p, &a, &l, opts, &err), &err);
    CHECK_OK(sg_tpr_loss(&full, p, &a, &l, &err), &err);
    sg_tpr_free(p);
    opts.role_dim = 1;
    CHECK_OK(sg_tpr_fit(&p, &a, &l, opts, &err), &err);
    CHECK_OK(sg_tpr_loss(&few, p, &a, &l, &err), &err);
    sg_tpr_free(p);
    const double lowest = linear_loss(&a, &l);
    chance = TS * log(C);
    CHECK(full < 1.01 * lowest && full > 0.99 * lowest);
    CHECK(few > 1.05 * lowest &&
          few < chance); /* with one dimension for roles it is not, so the check above can fail */
}

/* Rows and columns that are products: the trilinear form finds them with fewer numbers. */
static void a_trilinear_probe_is_a_bilinear_one_of_products(void **state)
{
    (void)state;
    float rows[3 * 2], columns[3 * 2], product[S * 4];
    sg_error err;
    sg_tpr *p, *same, *fitted;
    normals(rows, 6, 1, 30);
    normals(columns, 6, 1, 31);
    for (int s = 0; s < S; s++)
        for (int k = 0; k < 4; k++)
            product[s * 4 + k] = rows[s / 3 * 2 + k / 2] * columns[s % 3 * 2 + k % 2];
    sg_tpr_parts parts = *sg_tpr_get_parts(planted);
    parts.rows = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, rows);
    parts.columns = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, columns);
    CHECK_OK(sg_tpr_of(&p, &parts, &err), &err);
    parts.rows.data = parts.columns.data = NULL;
    parts.roles.data = product;
    CHECK_OK(sg_tpr_of(&same, &parts, &err), &err);
    sg_tensor a = logits_of(p, &acts), b = logits_of(same, &acts);
    CHECK(memcmp(a.data, b.data, sg_tensor_bytes(&a)) == 0);
    CHECK(sg_tpr_n_parameters(p) == D * RD * FD + 12 + C * FD);

    int32_t *y = malloc(N * S * sizeof *y);
    for (int i = 0; i < N * S; i++)
        y[i] = best_of((const float *)a.data + i * C);
    const sg_tensor l = sg_tensor_of(SG_I32, 2, (sg_dim[]){N, S}, y);
    sg_tpr_opts opts = small_opts();
    opts.form = SG_TPR_TRILINEAR;
    opts.n_rows = 3;
    opts.row_dim = opts.column_dim = 2;
    CHECK_OK(sg_tpr_fit(&fitted, &acts, &l, opts, &err), &err);
    CHECK(sg_tpr_get_parts(fitted)->rows.data && sg_tpr_get_parts(fitted)->roles.dims[1] == 4);
    sg_tensor got = logits_of(fitted, &acts);
    CHECK(accuracy(&got, y, N * S) > 0.97);
    free(got.data);
    sg_tpr_free(fitted);
    opts.n_rows = 4;
    CHECK_STATUS(sg_tpr_fit(&fitted, &acts, &l, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "9 roles do not lie in 4 rows");
    free(a.data);
    free(b.data);
    free(y);
    sg_tpr_free(p);
    sg_tpr_free(same);
}

/* ---- what is refused ---- */

static volatile sig_atomic_t stop;

static void stop_at_once(void *context, double done, double loss)
{
    CHECK(done > 0 && done <= 1 && isfinite(loss));
    ++*(int *)context;
    stop = 1;
}

static void fits_that_make_no_sense_are_refused_and_one_can_be_stopped(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p;
    sg_tpr_opts opts = small_opts();
    int n_told = 0;
    int32_t none[S], high[S] = {0, 0, C};
    const sg_tensor few = sg_tensor_of(SG_I32, 2, (sg_dim[]){N - 1, S}, Y);
    CHECK_STATUS(sg_tpr_fit(&p, &acts, &few, opts, &err), SG_ESHAPE);
    CHECK_STATUS(sg_tpr_fit(&p, &labels, &labels, opts, &err), SG_ETYPE);
    memset(none, 0xff, sizeof none);
    sg_tensor one = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, D}, X), l = sg_tensor_of(SG_I32, 2, (sg_dim[]){1, S}, none);
    CHECK_STATUS(sg_tpr_fit(&p, &one, &l, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "no row of 1 has a label");
    l.data = high;
    CHECK_STATUS(sg_tpr_fit(&p, &one, &l, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "label 3 at row 0, role 2");
    opts.role_dim = 0;
    CHECK_STATUS(sg_tpr_fit(&p, &acts, &labels, opts, &err), SG_EARG);
    opts = small_opts();
    float bad[D] = {0};
    one.data = bad;
    l.data = Y;
    CHECK_STATUS(sg_tpr_fit(&p, &one, &l, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "all activations are the same");
    bad[2] = NAN;
    CHECK_STATUS(sg_tpr_fit(&p, &one, &l, opts, &err), SG_ENUMERIC);
    opts.lr = 1e30;
    CHECK_STATUS(sg_tpr_fit(&p, &acts, &labels, opts, &err), SG_ENUMERIC);
    opts = small_opts();
    opts.progress = stop_at_once;
    opts.context = &n_told;
    opts.cancel = &stop;
    CHECK_STATUS(sg_tpr_fit(&p, &acts, &labels, opts, &err), SG_ECANCELLED);
    CHECK(p == NULL && n_told == 1);
}

static void parts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p;
    sg_tpr_parts parts = *sg_tpr_get_parts(planted);
    parts.roles.dims[1] = RD - 1;
    CHECK_STATUS(sg_tpr_of(&p, &parts, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "binding [24,4,2] does not bind roles [9,3] and fillers [3,2]");
    parts = *sg_tpr_get_parts(planted);
    parts.fillers.data = NULL;
    CHECK_STATUS(sg_tpr_of(&p, &parts, &err), SG_EARG);
    parts = *sg_tpr_get_parts(planted);
    parts.bias = sg_tensor_of(SG_F32, 2, (sg_dim[]){C, S}, L);
    CHECK_STATUS(sg_tpr_of(&p, &parts, &err), SG_ESHAPE);
    float bad[C * FD] = {1, INFINITY};
    parts = *sg_tpr_get_parts(planted);
    parts.fillers.data = bad;
    CHECK_STATUS(sg_tpr_of(&p, &parts, &err), SG_ENUMERIC);
    CHECK(p == NULL);
}

/* ---- files ---- */

static void spill(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void what_was_saved_is_opened_again(void **state)
{
    (void)state;
    const sg_tpr_manifest m = {.site = "blocks.2.hook_resid_post",
                               .label = "board_rel",
                               .world = "othello size 6",
                               .model_hash = 0xfedcba9876543210u,
                               .data_seed = 7,
                               .n_fit = 10,
                               .n_test = 3,
                               .hard_accuracy = 0.75,
                               .linear = 0.8,
                               .truncated = (double)NAN,
                               .untrained = 0.5,
                               .agreement = 0.7,
                               .permuted = 0.1};
    char path[320];
    sg_error err;
    sg_tpr *p, *q;
    sg_tpr_manifest found;
    float a[D], b[D];
    CHECK_OK(sg_tpr_of(&p, sg_tpr_get_parts(planted), &err), &err);
    CHECK_OK(sg_tpr_fit_delta(p, &acts, 0.1, &err), &err); /* which is to be kept */
    CHECK_OK(sg_tpr_save(p, &m, in_folder(path, "new"), "one", &err), &err);
    CHECK_OK(sg_tpr_open(&q, &found, path, "one", &err), &err);
    CHECK(strcmp(found.site, m.site) == 0 && strcmp(found.label, m.label) == 0 && strcmp(found.world, m.world) == 0);
    CHECK(found.model_hash == m.model_hash && found.data_seed == 7 && found.n_fit == 10 && found.n_test == 3);
    CHECK(found.hard_accuracy == 0.75 && isnan(found.truncated) && found.permuted == 0.1);
    sg_tensor y = logits_of(q, &acts);
    CHECK(memcmp(y.data, L, sizeof L) == 0);
    CHECK_OK(sg_tpr_delta(a, p, 2, 0, 1, &err), &err);
    CHECK_OK(sg_tpr_delta(b, q, 2, 0, 1, &err), &err);
    CHECK(memcmp(a, b, sizeof a) == 0);
    free(y.data);
    sg_tpr_free(p);
    sg_tpr_free(q);
    CHECK_STATUS(sg_tpr_save(planted, &m, folder, "a/b", &err), SG_EARG);
    CHECK_STATUS(sg_tpr_open(&q, NULL, folder, "none", &err), SG_ENOTFOUND);
    CHECK(q == NULL);
}

static void a_trilinear_probe_with_bias_is_kept_as_it_is(void **state)
{
    (void)state;
    char path[320];
    sg_error err;
    sg_tpr *p, *q;
    sg_tpr_parts parts = *sg_tpr_get_parts(planted);
    parts.rows = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, X);
    parts.columns = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, X + 10);
    parts.bias = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, C}, X + 20);
    CHECK_OK(sg_tpr_of(&p, &parts, &err), &err);
    CHECK_OK(sg_tpr_save(p, &(sg_tpr_manifest){0}, in_folder(path, "new"), "two", &err), &err);
    CHECK_OK(sg_tpr_open(&q, NULL, path, "two", &err), &err);
    sg_tensor a = logits_of(p, &acts), b = logits_of(q, &acts);
    CHECK(sg_tpr_get_parts(q)->rows.data && memcmp(a.data, b.data, sg_tensor_bytes(&a)) == 0);
    /* The bias is there: an activation of 0 gives it. */
    const float none[D] = {0};
    const sg_tensor zero = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, D}, (float *)(uintptr_t)none);
    sg_tensor c = logits_of(q, &zero);
    CHECK(memcmp(c.data, X + 20, S * C * sizeof(float)) == 0);
    free(a.data);
    free(b.data);
    free(c.data);
    sg_tpr_free(p);
    sg_tpr_free(q);
}

static void files_that_are_no_probes_are_refused(void **state)
{
    (void)state;
    char numbers[320], beside[320];
    sg_error err;
    sg_tpr *p;
    sg_file *file;
    CHECK_OK(sg_tpr_save(planted, &(sg_tpr_manifest){0}, folder, "bad", &err), &err);
    in_folder(numbers, "bad.safetensors");
    in_folder(beside, "bad.json");
    CHECK_OK(sg_file_open(&file, beside, &err), &err);
    const size_t n_json = sg_file_bytes(file);
    char *json = malloc(n_json);
    memcpy(json, sg_file_data(file), n_json);
    sg_file_close(file);
    for (size_t n = 0; n + 2 < n_json; n += 7) { /* but for the last brace and newline */
        spill(beside, json, n);
        CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_EFORMAT);
    }
    spill(beside, "{\"kind\": \"ridge\"}", 17);
    CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "kind is \"ridge\", wanted tpr");
    spill(beside, "{\"kind\": \"tpr\", \"n_fit\": -1}", 28);
    CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "n_fit is to be a whole number");
    const sg_tpr_parts *q = sg_tpr_get_parts(planted);
    const sg_named_tensor wrong[] = {
        {"binding", q->binding}, {"roles", q->fillers}, {"fillers", q->fillers}, {"lift", q->roles}};
    CHECK_OK(sg_safetensors_save(numbers, wrong, 4, NULL, 0, &err), &err);
    CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "does not bind roles");
    const sg_named_tensor lacking[] = {
        {"binding", q->binding}, {"roles", q->roles}, {"fillers", q->fillers}, {"lift", q->roles}};
    CHECK_OK(sg_safetensors_save(numbers, lacking, 4, NULL, 0, &err), &err);
    CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "lift does not fit");
    CHECK_OK(sg_safetensors_save(numbers, lacking, 2, NULL, 0, &err), &err);
    CHECK_STATUS(sg_tpr_open(&p, NULL, folder, "bad", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "fillers");
    CHECK(p == NULL);
    free(json);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p;
    sg_tensor w;
    sg_tpr_opts opts = small_opts();
    opts.n_epochs = 1;
    opts.role_dim = 1;
    const sg_tensor few = sg_tensor_of(SG_F32, 2, (sg_dim[]){20, D}, X);
    const sg_tensor l = sg_tensor_of(SG_I32, 2, (sg_dim[]){20, S}, Y);
    for (long n = 0;; n++) {
        w.data = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_tpr_fit(&p, &few, &l, opts, &err);
        if (status == SG_OK)
            status = sg_tpr_linear(&w, p, &err);
        const bool fired = sg_faults_end();
        if (!fired)
            CHECK_OK(status, &err);
        else
            CHECK(status == SG_ENOMEM || status == SG_OK); /* kernels may do without a buffer of theirs */
        sg_tpr_free(p);
        if (status == SG_OK)
            free(w.data);
        if (!fired)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_probe_is_found_by_least_squares),
        cmocka_unit_test(training_finds_what_labels_a_planted_probe_gives),
        cmocka_unit_test(the_same_seed_gives_the_same_probe),
        cmocka_unit_test(the_scale_of_activations_does_not_matter),
        cmocka_unit_test(a_bias_takes_up_what_all_activations_share),
        cmocka_unit_test(its_gradients_are_those_of_differences),
        cmocka_unit_test(its_linear_probe_says_the_same_and_has_its_rank),
        cmocka_unit_test(it_takes_values_of_any_rank),
        cmocka_unit_test(an_edit_moves_logits_as_the_parts_say),
        cmocka_unit_test(an_edit_to_the_same_filler_is_exactly_nothing),
        cmocka_unit_test(an_edit_fitted_to_activations_keeps_to_where_they_lie),
        cmocka_unit_test(with_all_dimensions_it_is_the_linear_probe),
        cmocka_unit_test(a_trilinear_probe_is_a_bilinear_one_of_products),
        cmocka_unit_test(fits_that_make_no_sense_are_refused_and_one_can_be_stopped),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(what_was_saved_is_opened_again),
        cmocka_unit_test(a_trilinear_probe_with_bias_is_kept_as_it_is),
        cmocka_unit_test(files_that_are_no_probes_are_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, plant, unplant);
}
