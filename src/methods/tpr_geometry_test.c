/* Factors and geometry: of planted numbers, and of the probes that Nanda, Lee and Wattenberg published. */
#include "sightglass/tpr.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/zip.h"

static void normals(float *x, sg_dim n, double deviation, uint32_t stream)
{
    sg_rng r = sg_rng_new(6, stream);
    for (sg_dim i = 0; i < n; i++)
        x[i] = (float)(deviation * sg_rng_normal(&r));
}

enum { D = 12, S = 16, C = 5, RD = 6, FD = 2, N = 40 };

static sg_tensor random_weights(float *to)
{
    normals(to, D * S * C, 1, 1);
    return sg_tensor_of(SG_F32, 3, (sg_dim[]){D, S, C}, to);
}

/* ---- factoring ---- */

static void alternating_least_squares_never_rises(void **state)
{
    (void)state;
    float w[D * S * C];
    const sg_tensor t = random_weights(w);
    sg_error err;
    sg_tpr_factored *f;
    double last[2];
    for (int random = 0; random < 2; random++) {
        sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
        opts.role_dim = RD;
        opts.random = random;
        opts.tolerance = 0;
        opts.n_rounds = 60;
        CHECK_OK(sg_tpr_factor(&f, &t, opts, &err), &err);
        CHECK(f->n_rounds > 10);
        for (int i = 1; i < f->n_rounds; i++)
            CHECK(f->error[i] <= f->error[i - 1] + 1e-14);
        CHECK(f->error[0] - f->error[f->n_rounds - 1] > 1e-4); /* it had something to do */
        last[random] = f->error[f->n_rounds - 1];
        sg_tpr_factored_free(f);
    }
    CHECK(last[0] < 1 && last[1] < 1);
    CHECK_NEAR(last[0], last[1], 0.05, 0); /* two starts, much the same end */
}

static void the_error_told_is_that_of_the_probe(void **state)
{
    (void)state;
    float w[D * S * C];
    const sg_tensor t = random_weights(w);
    sg_error err;
    sg_tpr_factored *f;
    sg_tensor made, cut;
    sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
    opts.role_dim = RD;
    CHECK_OK(sg_tpr_factor(&f, &t, opts, &err), &err);
    CHECK_OK(sg_tpr_linear(&made, f->probe, &err), &err);
    double apart = 0, norm = 0, cut_apart = 0;
    float centred[D * S * C];
    for (int i = 0; i < D * S; i++) {
        float mean = 0;
        for (int c = 0; c < C; c++)
            mean += w[i * C + c] / C;
        for (int c = 0; c < C; c++)
            centred[i * C + c] = w[i * C + c] - mean;
    }
    const sg_tensor by_hand = sg_tensor_of(SG_F32, 3, t.dims, centred);
    CHECK_OK(sg_tpr_truncated(&cut, &by_hand, f->rank, &err), &err);
    for (int i = 0; i < D * S * C; i++) {
        const double e = (double)centred[i] - sg_tensor_get(&made, i), b = (double)centred[i] - sg_tensor_get(&cut, i);
        apart += e * e, cut_apart += b * b, norm += (double)centred[i] * (double)centred[i];
    }
    CHECK_NEAR(f->error[f->n_rounds - 1], sqrt(apart / norm), 1e-5, 0);
    CHECK_NEAR(f->by_rank, sqrt(cut_apart / norm), 1e-5, 0);
    const sg_dim n_parameters = D * RD * FD + S * RD + C * FD;
    CHECK(f->rank == n_parameters / (D + S * C) && sg_tpr_n_parameters(f->probe) == n_parameters);
    /* On random numbers there is no structure to be found: the SVD of the same size is no worse. */
    CHECK(f->by_rank < f->error[f->n_rounds - 1] + 0.1);
    free(made.data);
    free(cut.data);
    sg_tpr_factored_free(f);
}

static void with_all_dimensions_nothing_is_left(void **state)
{
    (void)state;
    float w[D * S * C];
    const sg_tensor t = random_weights(w);
    sg_error err;
    sg_tpr_factored *f;
    sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
    opts.role_dim = S;
    opts.filler_dim = C - 1; /* centred, C classes span C - 1 dimensions */
    CHECK_OK(sg_tpr_factor(&f, &t, opts, &err), &err);
    CHECK(f->error[f->n_rounds - 1] < 1e-6);
    sg_tpr_factored_free(f);
    opts.filler_dim = C + 1;
    CHECK_STATUS(sg_tpr_factor(&f, &t, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "16 and 6 dimensions for 16 roles and 5 fillers");
    CHECK(f == NULL);
    memset(w, 0, sizeof w);
    opts.filler_dim = 2;
    CHECK_STATUS(sg_tpr_factor(&f, &t, opts, &err), SG_EARG);
    w[7] = NAN;
    CHECK_STATUS(sg_tpr_factor(&f, &t, opts, &err), SG_ENUMERIC);
}

/* ---- the gauge ---- */

static float U[D * RD * FD], R[S * RD], F[C * FD];

static sg_tpr *plant(void)
{
    sg_tpr *p;
    sg_error err;
    normals(U, D * RD * FD, 1, 2);
    normals(R, S * RD, 1, 3);
    normals(F, C * FD, 1, 4);
    const sg_tpr_parts parts = {.binding = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, RD, FD}, U),
                                .roles = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, RD}, R),
                                .fillers = sg_tensor_of(SG_F32, 2, (sg_dim[]){C, FD}, F)};
    CHECK_OK(sg_tpr_of(&p, &parts, &err), &err);
    return p;
}

/* R M, U M^-T by role and F K, U K^-T by filler: the same probe. M and K have a condition of some tens. */
static sg_tpr *regauged(const sg_tpr *p)
{
    float m[RD * RD], k[FD * FD] = {2, -1, 0.5f, 3};
    float u[D * RD * FD], half[D * RD * FD], r[S * RD], f[C * FD];
    sg_pinv *mi, *ki;
    sg_tpr *q;
    sg_error err;
    normals(m, RD * RD, 1, 5);
    for (int i = 0; i < RD; i++)
        m[i * RD + i] += 2;
    const sg_tensor mt = sg_tensor_of(SG_F32, 2, (sg_dim[]){RD, RD}, m);
    const sg_tensor kt = sg_tensor_of(SG_F32, 2, (sg_dim[]){FD, FD}, k);
    CHECK_OK(sg_pinv_new(&mi, &mt, sg_pinv_defaults(), &err), &err);
    CHECK_OK(sg_pinv_new(&ki, &kt, sg_pinv_defaults(), &err), &err);
    memset(r, 0, sizeof r);
    memset(f, 0, sizeof f);
    memset(u, 0, sizeof u);
    memset(half, 0, sizeof half);
    for (int s = 0; s < S; s++)
        for (int i = 0; i < RD; i++)
            for (int j = 0; j < RD; j++)
                r[s * RD + j] += R[s * RD + i] * m[i * RD + j];
    for (int c = 0; c < C; c++)
        for (int i = 0; i < FD; i++)
            for (int j = 0; j < FD; j++)
                f[c * FD + j] += F[c * FD + i] * k[i * FD + j];
    for (int d = 0; d < D; d++)
        for (int j = 0; j < RD; j++)
            for (int i = 0; i < RD; i++)
                for (int l = 0; l < FD; l++)
                    half[(d * RD + j) * FD + l] += ((float *)mi->inverse.data)[j * RD + i] * U[(d * RD + i) * FD + l];
    for (int d = 0; d < D * RD; d++)
        for (int j = 0; j < FD; j++)
            for (int l = 0; l < FD; l++)
                u[d * FD + j] += ((float *)ki->inverse.data)[j * FD + l] * half[d * FD + l];
    sg_tpr_parts parts = *sg_tpr_get_parts(p);
    parts.binding.data = u;
    parts.roles.data = r;
    parts.fillers.data = f;
    CHECK_OK(sg_tpr_of(&q, &parts, &err), &err);
    sg_pinv_free(mi);
    sg_pinv_free(ki);
    return q;
}

static sg_geometry *geometry_of(const sg_tensor *vectors)
{
    uint8_t board[S * S];
    sg_geometry *g;
    sg_error err;
    sg_tpr_board(board, 4, 4);
    CHECK_OK(sg_geometry_new(&g, vectors, board, sg_geometry_defaults(), &err), &err);
    return g;
}

static void a_change_of_gauge_changes_nothing_that_is_told(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p = plant(), *q = regauged(p), *fixed[2];
    sg_tensor w[2];
    CHECK_OK(sg_tpr_linear(&w[0], p, &err), &err);
    CHECK_OK(sg_tpr_linear(&w[1], q, &err), &err);
    for (int i = 0; i < D * S * C; i++)
        CHECK_NEAR(((float *)w[1].data)[i], ((float *)w[0].data)[i], 1e-4, 1e-4);
    CHECK_OK(sg_tpr_fix_gauge(&fixed[0], p, &err), &err);
    CHECK_OK(sg_tpr_fix_gauge(&fixed[1], q, &err), &err);
    sg_geometry *a = geometry_of(&sg_tpr_get_parts(fixed[0])->roles),
                *b = geometry_of(&sg_tpr_get_parts(fixed[1])->roles);
    sg_geometry *raw[2] = {geometry_of(&sg_tpr_get_parts(p)->roles), geometry_of(&sg_tpr_get_parts(q)->roles)};
    double apart = 0;
    for (int i = 0; i < S * S; i++) {
        CHECK_NEAR(b->cosine[i], a->cosine[i], 1e-3, 0);
        CHECK_NEAR(b->gram[i], a->gram[i], 1e-3 * a->gram[0], 1e-3);
        apart = SG_MAX(apart, fabs(raw[0]->cosine[i] - raw[1]->cosine[i]));
    }
    CHECK(apart > 0.1); /* without the gauge it would not have been so */
    CHECK_NEAR(b->agreement, a->agreement, 0, 0);
    for (int i = 0; i < 2; i++) {
        sg_geometry_free(raw[i]);
        sg_tpr_free(fixed[i]);
        free(w[i].data);
    }
    sg_geometry_free(a);
    sg_geometry_free(b);
    sg_tpr_free(p);
    sg_tpr_free(q);
}

static void in_the_gauge_roles_have_the_geometry_of_the_directions(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p = plant(), *fixed;
    sg_tensor w, w_fixed, rows;
    CHECK_OK(sg_tpr_fix_gauge(&fixed, p, &err), &err);
    CHECK_OK(sg_tpr_linear(&w, p, &err), &err);
    CHECK_OK(sg_tpr_linear(&w_fixed, fixed, &err), &err);
    CHECK_OK(sg_tpr_role_rows(&rows, &w, &err), &err);
    sg_geometry *a = geometry_of(&rows), *b = geometry_of(&sg_tpr_get_parts(fixed)->roles);
    for (int i = 0; i < S * S; i++)
        CHECK_NEAR(a->cosine[i], b->cosine[i], 1e-5, 0);
    for (int i = 0; i < D * S; i++) /* logits differ by what all fillers share */
        for (int c = 1; c < C; c++)
            CHECK_NEAR(((float *)w_fixed.data)[i * C + c] - ((float *)w_fixed.data)[i * C],
                       ((float *)w.data)[i * C + c] - ((float *)w.data)[i * C], 1e-4, 1e-4);
    /* The gauge itself: mean U_d U_d' = 1, F orthonormal, R'R diagonal. */
    const sg_tpr_parts *q = sg_tpr_get_parts(fixed);
    const float *u = q->binding.data, *f = q->fillers.data, *r = q->roles.data;
    for (int i = 0; i < RD; i++)
        for (int j = 0; j < RD; j++) {
            double sum = 0, along = 0;
            for (int d = 0; d < D; d++)
                for (int l = 0; l < FD; l++)
                    sum += (double)(u[(d * RD + i) * FD + l] * u[(d * RD + j) * FD + l]) / D;
            for (int s = 0; s < S; s++)
                along += (double)(r[s * RD + i] * r[s * RD + j]);
            CHECK_NEAR(sum, i == j, 1e-5, 0);
            if (i != j)
                CHECK_NEAR(along, 0, 1e-3, 0);
        }
    for (int i = 0; i < FD; i++)
        for (int j = 0; j < FD; j++) {
            double sum = 0;
            for (int c = 0; c < C; c++)
                sum += (double)(f[c * FD + i] * f[c * FD + j]);
            CHECK_NEAR(sum, i == j, 1e-5, 0);
        }
    sg_geometry_free(a);
    sg_geometry_free(b);
    free(w.data);
    free(w_fixed.data);
    free(rows.data);
    sg_tpr_free(p);
    sg_tpr_free(fixed);
}

/* Dimensions that are not used: two equal columns of R's binding. */
static void what_no_binding_uses_is_left_out_of_the_gauge(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr *p = plant(), *thin, *fixed;
    sg_tpr_parts parts = *sg_tpr_get_parts(p);
    float u[D * RD * FD];
    memcpy(u, U, sizeof u);
    for (int d = 0; d < D; d++)
        memcpy(u + (d * RD + 1) * FD, u + d * RD * FD, FD * sizeof *u);
    parts.binding.data = u;
    CHECK_OK(sg_tpr_of(&thin, &parts, &err), &err);
    CHECK_OK(sg_tpr_fix_gauge(&fixed, thin, &err), &err);
    CHECK(sg_tpr_get_parts(fixed)->roles.dims[1] == RD - 1 && sg_tpr_get_parts(fixed)->binding.dims[1] == RD - 1);
    sg_tensor a, b;
    CHECK_OK(sg_tpr_linear(&a, thin, &err), &err);
    CHECK_OK(sg_tpr_linear(&b, fixed, &err), &err);
    double alike;
    CHECK_OK(sg_tpr_likeness(&alike, NULL, &a, &b, &err), &err);
    CHECK_NEAR(alike, 1, 1e-6, 0);
    free(a.data);
    free(b.data);
    sg_tpr_free(p);
    sg_tpr_free(thin);
    sg_tpr_free(fixed);
}

/* ---- neighbours ---- */

static void a_board_laid_out_flat_agrees_and_noise_does_not(void **state)
{
    (void)state;
    float place[S * 3], noise[S * 30];
    for (int s = 0; s < S; s++) { /* on a large sphere, where cosine is distance */
        place[s * 3] = (float)(s / 4) - 1.5f;
        place[s * 3 + 1] = (float)(s % 4) - 1.5f;
        place[s * 3 + 2] = 20;
    }
    normals(noise, S * 30, 1, 9);
    const sg_tensor flat = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, 3}, place);
    const sg_tensor none = sg_tensor_of(SG_F32, 2, (sg_dim[]){S, 30}, noise);
    sg_geometry *g = geometry_of(&flat);
    /* A corner has 3 neighbours, an edge 5, of which all are nearest; an edge's fifth is a diagonal at sqrt 2,
     * before 2. */
    CHECK_NEAR(g->agreement, 1, 0, 0);
    /* By chance a neighbour is among k of 15: sum k^2 / 15 over sum k, k = 3, 5, 8 for 4, 8, 4 squares. */
    CHECK_NEAR(g->permuted, (4 * 9 + 8 * 25 + 4 * 64) / 15.0 / 84, 0.02, 0);
    CHECK(g->permuted_low < g->permuted && g->permuted < g->permuted_high && g->permuted_high < 0.7);
    CHECK(g->near > g->far);
    sg_geometry_free(g);
    g = geometry_of(&none);
    CHECK(g->agreement >= g->permuted_low - 0.1 && g->agreement <= g->permuted_high + 0.1);
    sg_geometry_free(g);
}

/* Four roles in a ring, each with two neighbours; by hand. */
static void agreement_is_counted_over_pairs(void **state)
{
    (void)state;
    const uint8_t ring[16] = {0, 1, 0, 1, /**/ 1, 0, 1, 0, /**/ 0, 1, 0, 1, /**/ 1, 0, 1, 0};
    float x[8] = {1, 0, /**/ 0.9f, 0.1f, /**/ 0, 1, /**/ 0.1f, 0.9f}; /* 0 and 1 near, 2 and 3 near */
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 2}, x);
    sg_geometry *g;
    sg_error err;
    /* Nearest two of 0: 1, 3 (both neighbours); of 1: 0, 3 (one of two); of 2: 3, 1 (both); of 3: 2, 1 (one). */
    CHECK_OK(sg_geometry_new(&g, &t, ring, sg_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->agreement, 6.0 / 8, 1e-12, 0);
    sg_geometry_free(g);
    const uint8_t none[16] = {0};
    CHECK_STATUS(sg_geometry_new(&g, &t, none, sg_geometry_defaults(), &err), SG_EARG);
    x[0] = 0;
    CHECK_STATUS(sg_geometry_new(&g, &t, ring, sg_geometry_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "the vector of role 0 is 0");
    CHECK(g == NULL);
}

static void likeness_is_the_cosine_of_differences(void **state)
{
    (void)state;
    float a[2 * 1 * 2] = {1, 0, /**/ 0, 0}, b[2 * 1 * 2] = {1, 0, /**/ 1, 0}; /* (1,0) and (1,1) */
    const sg_tensor ta = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 1, 2}, a);
    const sg_tensor tb = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 1, 2}, b);
    sg_tensor v;
    sg_error err;
    double alike, by_role[1];
    CHECK_OK(sg_tpr_likeness(&alike, by_role, &ta, &tb, &err), &err);
    CHECK_NEAR(alike, sqrt(0.5), 1e-7, 0);
    CHECK_NEAR(by_role[0], alike, 0, 0);
    CHECK_OK(sg_tpr_differences(&v, &tb, 1, 0, &err), &err);
    CHECK(v.dims[0] == 1 && v.dims[1] == 2 && ((float *)v.data)[0] == -1 && ((float *)v.data)[1] == -1);
    free(v.data);
    CHECK_STATUS(sg_tpr_differences(&v, &tb, 2, 0, &err), SG_EARG);
    const sg_tensor wide = sg_tensor_of(SG_F32, 3, (sg_dim[]){1, 2, 2}, a);
    CHECK_STATUS(sg_tpr_likeness(&alike, NULL, &ta, &wide, &err), SG_ESHAPE);
}

/* Rows 0 and 1 of a board point the same way; columns do not. */
static void rows_and_columns_have_a_geometry_of_their_own(void **state)
{
    (void)state;
    float along[4 * 2] = {1, 2, /**/ 2, 4, /**/ -2, 1, /**/ 0, 1}, across[4 * 2];
    sg_error err;
    sg_tpr *p = plant(), *q;
    sg_tensor w, rows, columns;
    float binding[D * 4 * FD];
    normals(across, 8, 1, 12);
    normals(binding, D * 4 * FD, 1, 13);
    sg_tpr_parts parts = *sg_tpr_get_parts(p);
    parts.binding = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, 4, FD}, binding);
    parts.rows = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 2}, along);
    parts.columns = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, 2}, across);
    CHECK_OK(sg_tpr_of(&q, &parts, &err), &err);
    CHECK_OK(sg_tpr_linear(&w, q, &err), &err);
    CHECK_OK(sg_tpr_axis_rows(&rows, &columns, &w, 4, &err), &err);
    const uint8_t line[16] = {0, 1, 0, 0, /**/ 1, 0, 1, 0, /**/ 0, 1, 0, 1, /**/ 0, 0, 1, 0};
    sg_geometry *g;
    CHECK_OK(sg_geometry_new(&g, &rows, line, sg_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->cosine[1], 1, 1e-5, 0);
    CHECK(fabs(g->cosine[2]) < 0.99);
    sg_geometry_free(g);
    CHECK_OK(sg_geometry_new(&g, &columns, line, sg_geometry_defaults(), &err), &err);
    CHECK(fabs(g->cosine[1]) < 0.999);
    sg_geometry_free(g);
    free(rows.data);
    free(columns.data);
    CHECK_STATUS(sg_tpr_axis_rows(&rows, &columns, &w, 5, &err), SG_EARG);
    CHECK(rows.data == NULL && columns.data == NULL);
    free(w.data);
    sg_tpr_free(p);
    sg_tpr_free(q);
}

/* ---- synthetic activations ---- */

static void synthetic_activations_hold_their_labels_and_no_board(void **state)
{
    (void)state;
    enum { ROWS = 2000 };
    static int32_t y[ROWS * S];
    sg_error err;
    sg_tpr_synthetic s;
    sg_tpr *p;
    sg_rng rng = sg_rng_new(1, 1);
    for (int i = 0; i < ROWS * S; i++) /* a role is like the one before it: what statistics of play are */
        y[i] = i % S && sg_rng_uniform(&rng) < 0.8 ? y[i - 1] : (int32_t)sg_rng_below(&rng, 3);
    const sg_tensor labels = sg_tensor_of(SG_I32, 2, (sg_dim[]){ROWS, S}, y);
    sg_tpr_synthetic_opts opts = sg_tpr_synthetic_defaults();
    opts.n_classes = 3;
    opts.width = 48;
    sg_tpr_opts fit = sg_tpr_defaults();
    fit.n_classes = 3;
    fit.batch = 128;
    fit.n_epochs = 20;
    fit.exec.n_threads = 1;
    double line[2]; /* how often a role's nearest are those beside it in the line */
    for (int independent = 0; independent < 2; independent++) {
        uint8_t beside[S * S] = {0};
        sg_tensor w, rows;
        sg_geometry *g;
        double loss;
        opts.independent = independent;
        CHECK_OK(sg_tpr_synthesize(&s, &labels, opts, &err), &err);
        sg_dim changed = 0;
        for (int i = 0; i < ROWS * S; i++)
            changed += ((int32_t *)s.labels.data)[i] != y[i];
        CHECK(independent ? changed > ROWS * S / 3 : changed == 0);
        CHECK_OK(sg_tpr_fit(&p, &s.acts, &s.labels, fit, &err), &err);
        CHECK_OK(sg_tpr_loss(&loss, p, &s.acts, &s.labels, &err), &err);
        CHECK(loss < 0.35 * S * log(3)); /* what is there can be read */
        CHECK_OK(sg_tpr_linear(&w, p, &err), &err);
        CHECK_OK(sg_tpr_role_rows(&rows, &w, &err), &err);
        for (int i = 0; i + 1 < S; i++)
            beside[i * S + i + 1] = beside[(i + 1) * S + i] = 1;
        CHECK_OK(sg_geometry_new(&g, &rows, beside, sg_geometry_defaults(), &err), &err);
        line[independent] = g->agreement;
        CHECK(!independent || g->agreement <= g->permuted_high + 0.05);
        sg_geometry_free(g);
        free(rows.data);
        free(w.data);
        sg_tpr_free(p);
        sg_tpr_synthetic_free(&s);
    }
    /* Neighbours in the embeddings of independent random numbers: labels that go together make them, which is why a
     * probe's geometry is judged against both of these. */
    CHECK(line[0] > 0.8 && line[1] < 0.4);
}

/* ---- the published probes ---- */

static void published_probes_have_the_geometry_of_the_board(void **state)
{
    (void)state;
    char path[1024];
    sg_zip *z;
    sg_error err;
    sg_tensor w, v;
    sg_geometry *g;
    uint8_t board[64 * 64];
    const char *found = sg_test_shared(path, "data/othello_probes/mech_int/probes/linear/resid_6_linear.pth");
    SKIP_WITHOUT(found, "data/othello_probes");
    CHECK_OK(sg_zip_open(&z, path, &err), &err);
    CHECK_OK(sg_zip_numbers(&w, z, "*data/0", SG_F32, 3, (sg_dim[]){512, 64, 3}, &err), &err);
    CHECK_OK(sg_tpr_differences(&v, &w, 2, 1, &err), &err);
    sg_tpr_board(board, 8, 8);
    CHECK_OK(sg_geometry_new(&g, &v, board, sg_geometry_defaults(), &err), &err);
    CHECK_NEAR(g->agreement, 0.807, 0.002, 0); /* ../shared/spec/othello-linear.md, measured on the file */
    CHECK(g->permuted <= 0.15 && g->permuted_high <= 0.15);
    CHECK_NEAR(g->near, 0.149, 0.001, 0);
    CHECK_NEAR(g->far, 0.008, 0.001, 0);
    sg_geometry_free(g);
    free(v.data);
    sg_tpr_factored *f;
    CHECK_OK(sg_tpr_factor(&f, &w, sg_tpr_factor_defaults(), &err), &err);
    CHECK(f->error[f->n_rounds - 1] < 1 && f->rank == 24); /* (512 * 32 + 64 * 16 + 6) / (512 + 192) = 24.7 */
    sg_tpr_factored_free(f);
    sg_zip_close(z);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    float w[2 * 3 * 2];
    int32_t y[4 * 3] = {0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1};
    uint8_t line[9] = {0, 1, 0, 1, 0, 1, 0, 1, 0};
    normals(w, 12, 1, 1);
    const sg_tensor t = sg_tensor_of(SG_F32, 3, (sg_dim[]){2, 3, 2}, w);
    const sg_tensor labels = sg_tensor_of(SG_I32, 2, (sg_dim[]){4, 3}, y);
    sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
    opts.role_dim = 2;
    opts.filler_dim = 1;
    opts.n_rounds = 1;
    for (long n = 0;; n++) {
        sg_error err;
        sg_tpr_factored *f = NULL;
        sg_tpr *fixed = NULL;
        sg_tensor rows = {0}, cut = {0};
        sg_geometry *g = NULL;
        sg_tpr_synthetic s = {0};
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_tpr_factor(&f, &t, opts, &err);
        if (status == SG_OK)
            status = sg_tpr_fix_gauge(&fixed, f->probe, &err);
        if (status == SG_OK)
            status = sg_tpr_role_rows(&rows, &t, &err);
        if (status == SG_OK)
            status = sg_tpr_truncated(&cut, &t, 1, &err);
        if (status == SG_OK)
            status = sg_geometry_new(&g, &rows, line, sg_geometry_defaults(), &err);
        if (status == SG_OK)
            status = sg_tpr_synthesize(&s, &labels, sg_tpr_synthetic_defaults(), &err);
        const bool fired = sg_faults_end();
        if (!fired)
            CHECK_OK(status, &err);
        else
            CHECK(status == SG_ENOMEM || status == SG_OK);
        sg_tpr_factored_free(f);
        sg_tpr_free(fixed);
        sg_geometry_free(g);
        sg_tpr_synthetic_free(&s);
        free(rows.data);
        free(cut.data);
        if (!fired)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alternating_least_squares_never_rises),
        cmocka_unit_test(the_error_told_is_that_of_the_probe),
        cmocka_unit_test(with_all_dimensions_nothing_is_left),
        cmocka_unit_test(a_change_of_gauge_changes_nothing_that_is_told),
        cmocka_unit_test(in_the_gauge_roles_have_the_geometry_of_the_directions),
        cmocka_unit_test(what_no_binding_uses_is_left_out_of_the_gauge),
        cmocka_unit_test(a_board_laid_out_flat_agrees_and_noise_does_not),
        cmocka_unit_test(agreement_is_counted_over_pairs),
        cmocka_unit_test(likeness_is_the_cosine_of_differences),
        cmocka_unit_test(rows_and_columns_have_a_geometry_of_their_own),
        cmocka_unit_test(synthetic_activations_hold_their_labels_and_no_board),
        cmocka_unit_test(published_probes_have_the_geometry_of_the_board),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
