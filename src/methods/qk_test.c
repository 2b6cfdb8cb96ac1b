/* Contrasts, subspaces and shares against sums by hand, planted heads and the closed form of the world `recall`. */
#include "sightglass/qk.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/recall.h"
#include "sightglass/rng.h"

enum { K = 8, N = 3000 };

static float q[N * K], k[N * K];
static bool match[N];

/* Numbers with means, so that what centring does shows. */
static void random_pairs(uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 0);
    for (int i = 0; i < N; i++) {
        match[i] = sg_rng_below(&r, 3) == 0;
        for (int d = 0; d < K; d++) {
            q[i * K + d] = (float)(sg_rng_normal(&r) + .5 * d);
            k[i * K + d] = (float)(sg_rng_normal(&r) - 1 + (match[i] ? (double)q[i * K + d] : 0));
        }
    }
}

static sg_qk_factor *contrast(sg_dim width, const float *of_q, const float *of_k, const bool *is, int n, int step,
                              bool centred)
{
    sg_qk_sums *s;
    sg_qk_factor *f;
    sg_error err;
    sg_qk_factor_opts opts = sg_qk_factor_defaults();
    opts.centred = centred;
    CHECK_OK(sg_qk_sums_new(&s, width, 1, sg_exec_defaults(), &err), &err);
    for (int j = 0; j < n; j++) {
        const int i = (int)((long long)j * step % n);
        CHECK_OK(sg_qk_add(s, is[i], of_q + i * width, of_k + i * width, &err), &err);
    }
    CHECK_OK(sg_qk_factor_new(&f, "z", s, opts, &err), &err);
    sg_qk_sums_free(s);
    return f;
}

static void by_hand(double *delta, bool centred)
{
    double mean_q[2][K] = {{0}}, mean_k[2][K] = {{0}}, n[2] = {0};
    memset(delta, 0, K * K * sizeof *delta);
    for (int i = 0; i < N; i++) {
        n[match[i]]++;
        for (int d = 0; d < K; d++) {
            mean_q[match[i]][d] += (double)q[i * K + d];
            mean_k[match[i]][d] += (double)k[i * K + d];
        }
    }
    for (int i = 0; i < N; i++) {
        const int c = match[i];
        for (int a = 0; a < K; a++)
            for (int b = 0; b < K; b++)
                delta[a * K + b] += (c ? 1 : -1) * ((double)q[i * K + a] - (centred ? mean_q[c][a] / n[c] : 0)) *
                                    ((double)k[i * K + b] - (centred ? mean_k[c][b] / n[c] : 0)) / n[c];
    }
}

static void streaming_is_two_passes_in_double_in_any_order(void **state)
{
    (void)state;
    random_pairs(3);
    for (int centred = 0; centred < 2; centred++) {
        double want[K * K], scale = 0;
        by_hand(want, centred);
        for (int i = 0; i < K * K; i++)
            scale = fmax(scale, fabs(want[i]));
        sg_qk_factor *f = contrast(K, q, k, match, N, 1, centred), *other = contrast(K, q, k, match, N, 1009, centred);
        for (int i = 0; i < K * K; i++) {
            CHECK_NEAR(f->delta[i], want[i], 1e-6 * scale, 0);
            CHECK_NEAR(other->delta[i], f->delta[i], 1e-6 * scale, 0);
        }
        /* D = U S V', with what is given as rows. */
        for (int a = 0; a < K; a++)
            for (int b = 0; b < K; b++) {
                double sum = 0;
                for (int i = 0; i < K; i++)
                    sum += f->left[i * K + a] * f->sigma[i] * f->right[i * K + b];
                CHECK_NEAR(sum, f->delta[a * K + b], 1e-9 * scale, 0);
            }
        CHECK(f->n_match + f->n_differ == N && f->centred == (bool)centred);
        sg_qk_factor_free(f);
        sg_qk_factor_free(other);
    }
    sg_qk_factor *f = contrast(K, q, k, match, N, 1, false), *c = contrast(K, q, k, match, N, 1, true);
    for (int i = 0; i < K; i++)
        CHECK_NEAR(f->sigma_other[i], c->sigma[i], 1e-9, 1e-9);
    sg_qk_factor_free(f);
    sg_qk_factor_free(c);
}

/* Here D is the identity in the mean. Pairs that are shuffled keep nothing of it: entries have a deviation of some
 * sqrt(2 / 1000), so that the largest singular value is about .25. */
static void shuffled_pairs_keep_nothing(void **state)
{
    (void)state;
    random_pairs(4);
    sg_qk_factor *f = contrast(K, q, k, match, N, 1, true);
    CHECK(f->sigma[0] > .9 && f->sigma_shuffled[0] < .5 && f->sigma_shuffled[0] > 0);
    sg_qk_factor_free(f);
}

/* D of the world's pairs lies within 3 standard errors of its closed form, entry by entry, as often as normal numbers
 * do (99.7 %; of 2 x 256 entries at most 9 beyond has p < 1e-4), and the form of the other factor does not. */
static void sampled_contrasts_agree_with_the_closed_form(void **state)
{
    (void)state;
    enum { HEAD = 16, PAIRS = 20000, W = 32 };
    float *x[3], *at[2], wq[HEAD * W], wk[HEAD * W];
    sg_rng r = sg_rng_new(8, 0);
    sg_error err;
    for (int i = 0; i < HEAD * W; i++) {
        wq[i] = (float)(sg_rng_normal(&r) / sqrt(W));
        wk[i] = (float)(sg_rng_normal(&r) / sqrt(W));
    }
    for (int i = 0; i < 3; i++)
        CHECK((x[i] = malloc(PAIRS * W * sizeof(float))) != NULL);
    for (int i = 0; i < 2; i++)
        CHECK((at[i] = malloc((size_t)2 * PAIRS * HEAD * sizeof(float))) != NULL);
    bool *is = malloc((size_t)2 * PAIRS);
    CHECK(is != NULL);
    for (int latents = 0; latents < 2; latents++)
        for (int factor = 0; factor < 2; factor++) {
            sg_recall world = sg_recall_defaults();
            double want[HEAD * HEAD], wrong[HEAD * HEAD];
            world.latents = (sg_recall_latents)latents;
            /* Matching and differing pairs of their own, so that errors are independent. */
            for (int c = 0; c < 2; c++) {
                CHECK_OK(sg_recall_pairs(x[0], x[1], x[2], &world, factor, false, PAIRS,
                                         (sg_origin){.seed = 77, .stream = (uint32_t)c}, &err),
                         &err);
                for (int i = 0; i < PAIRS; i++) {
                    is[c * PAIRS + i] = c == 1;
                    for (int h = 0; h < HEAD; h++) {
                        double of_q = 0, of_k = 0;
                        for (int d = 0; d < W; d++) {
                            of_q += (double)wq[h * W + d] * (double)x[0][i * W + d];
                            of_k += (double)wk[h * W + d] * (double)x[c ? 1 : 2][i * W + d];
                        }
                        at[0][(c * PAIRS + i) * HEAD + h] = (float)of_q;
                        at[1][(c * PAIRS + i) * HEAD + h] = (float)of_k;
                    }
                }
            }
            sg_qk_factor *f = contrast(HEAD, at[0], at[1], is, 2 * PAIRS, 1, false);
            CHECK_OK(sg_recall_contrast(want, &world, factor, HEAD, wq, wk, &err), &err);
            CHECK_OK(sg_recall_contrast(wrong, &world, 1 - factor, HEAD, wq, wk, &err), &err);
            int beyond = 0, beyond_wrong = 0;
            for (int i = 0; i < HEAD * HEAD; i++) {
                beyond += fabs(f->delta[i] - want[i]) > 3 * f->error[i];
                beyond_wrong += fabs(f->delta[i] - wrong[i]) > 3 * f->error[i];
            }
            CHECK(beyond <= 5 && beyond_wrong > 150);
            CHECK(f->rank == (factor ? 5 : 3) || f->rank == (factor ? 4 : 3));
            sg_qk_factor_free(f);
        }
    for (int i = 0; i < 3; i++)
        free(x[i]);
    free(at[0]);
    free(at[1]);
    free(is);
}

/* q = U z + noise, k = V z' + noise with two latents each: both planes are found, to within a degree. */
static void planted_planes_are_found(void **state)
{
    (void)state;
    enum { PAIRS = 20000, W = 12 };
    double planted[2][2 * W], angle;
    sg_error err;
    sg_rng r = sg_rng_new(2, 0);
    for (uint32_t side = 0; side < 2; side++)
        CHECK_OK(sg_qk_random(planted[side], 2, W, 6, side, &err), &err);
    float *of[2];
    bool *is = malloc(PAIRS);
    for (int i = 0; i < 2; i++)
        CHECK((of[i] = malloc(PAIRS * W * sizeof(float))) != NULL && is);
    for (int i = 0; i < PAIRS; i++) {
        const int z = (int)sg_rng_below(&r, 4), other = (z + 1 + (int)sg_rng_below(&r, 3)) % 4;
        is[i] = i % 2 == 0;
        for (int side = 0; side < 2; side++) {
            const int value = side && !is[i] ? other : z;
            for (int d = 0; d < W; d++)
                of[side][i * W + d] = (float)(.1 * sg_rng_normal(&r) + (value & 1 ? 1 : -1) * planted[side][d] +
                                              (value & 2 ? 2 : -2) * planted[side][W + d]);
        }
    }
    sg_qk_factor *f = contrast(W, of[0], of[1], is, PAIRS, 1, false);
    CHECK(f->rank == 2);
    const double *found[2] = {f->left, f->right};
    for (int side = 0; side < 2; side++) {
        CHECK_OK(sg_qk_angle(&angle, &(sg_qk_basis){2, found[side]}, &(sg_qk_basis){2, planted[side]}, W, &err), &err);
        CHECK(angle < 1);
        CHECK_OK(sg_qk_angle(&angle, &(sg_qk_basis){2, found[side]}, &(sg_qk_basis){2, planted[!side]}, W, &err), &err);
        CHECK(angle > 30);
    }
    sg_qk_factor_free(f);
    free(of[0]);
    free(of[1]);
    free(is);
}

static void keys_are_exchanged_within_a_subspace(void **state)
{
    (void)state;
    double rows[K * K];
    float o[K], t[K], before[2][K];
    sg_error err;
    random_pairs(5);
    CHECK_OK(sg_qk_random(rows, K, K, 1, 0, &err), &err);
    for (int rank = 0; rank <= K; rank++) {
        memcpy(before[0], q, sizeof o);
        memcpy(before[1], k, sizeof t);
        memcpy(o, q, sizeof o);
        memcpy(t, k, sizeof t);
        sg_qk_exchange(o, t, &(sg_qk_basis){rank, rows}, K);
        if (rank == 0)
            CHECK(memcmp(o, before[0], sizeof o) == 0 && memcmp(t, before[1], sizeof t) == 0);
        if (rank == K)
            CHECK(memcmp(o, before[1], sizeof o) == 0 && memcmp(t, before[0], sizeof t) == 0);
        for (int d = 0; d < K; d++) { /* o + VV'(t - o), from the definition */
            double want = (double)before[0][d];
            for (int i = 0; i < rank; i++)
                for (int e = 0; e < K; e++)
                    want += rows[i * K + d] * rows[i * K + e] * ((double)before[1][e] - (double)before[0][e]);
            CHECK_NEAR(o[d], want, 1e-5, 0);
        }
        sg_qk_exchange(o, t, &(sg_qk_basis){rank, rows}, K);
        for (int d = 0; d < K; d++) {
            CHECK_NEAR(o[d], before[0][d], 1e-5, 0);
            CHECK_NEAR(t[d], before[1][d], 1e-5, 0);
        }
    }
}

static void subspaces_are_made_orthogonal_in_the_order_given(void **state)
{
    (void)state;
    double first[2 * K] = {0}, second[2 * K] = {0}, rows[K * K];
    int ranks[2];
    sg_error err;
    first[0] = first[K + 1] = 1; /* e_0, e_1 */
    second[0] = 1;               /* e_0 again, and (e_1 + e_2) / sqrt 2 */
    second[K + 1] = second[K + 2] = sqrt(.5);
    const sg_qk_basis bases[2] = {{2, first}, {2, second}}, turned[2] = {{2, second}, {2, first}};
    CHECK_OK(sg_qk_orthogonal(rows, ranks, 2, bases, K, &err), &err);
    CHECK(ranks[0] == 2 && ranks[1] == 1);
    CHECK_NEAR(fabs(rows[2 * K + 2]), 1, 1e-12, 0); /* all that is new is e_2 */
    CHECK_OK(sg_qk_orthogonal(rows, ranks, 2, turned, K, &err), &err);
    CHECK(ranks[0] == 2 && ranks[1] == 1);
    CHECK_NEAR(fabs(rows[2 * K + 2]), sqrt(.5), 1e-12, 0);
}

static void shares_and_rest_sum_to_the_centred_score(void **state)
{
    (void)state;
    enum { Q = 5, KEYS = 7 };
    double rows[2][3 * K];
    uint8_t seen[Q * KEYS];
    sg_qk_shares *s;
    sg_error err;
    random_pairs(6);
    for (uint32_t i = 0; i < 2; i++)
        CHECK_OK(sg_qk_random(rows[i], 3, K, 9, i, &err), &err);
    for (int i = 0; i < Q * KEYS; i++)
        seen[i] = i % KEYS <= i / KEYS + 1;
    for (int masked = 0; masked < 2; masked++) {
        const uint8_t *visible = masked ? seen : NULL;
        CHECK_OK(sg_qk_explain(&s, 2, (sg_qk_basis[]){{3, rows[0]}, {3, rows[1]}}, Q, q, KEYS, k, K, visible, .5,
                               sg_exec_defaults(), &err),
                 &err);
        double all = 0;
        for (int i = 0; i < Q; i++) {
            double score[KEYS], mean = 0, n = 0;
            for (int j = 0; j < KEYS; j++) {
                score[j] = 0;
                for (int d = 0; d < K; d++)
                    score[j] += .5 * (double)q[i * K + d] * (double)k[j * K + d];
                if (!visible || seen[i * KEYS + j]) {
                    mean += score[j];
                    n++;
                }
            }
            for (int j = 0; j < KEYS; j++) {
                const int at = i * KEYS + j;
                const bool here = !visible || seen[at];
                CHECK_NEAR(s->score[at], here ? score[j] - mean / n : 0, 1e-9, 0);
                CHECK_NEAR(s->share[at] + s->share[Q * KEYS + at] + s->rest[at], s->score[at], 1e-5, 0);
                all += s->score[at] * s->score[at];
            }
        }
        CHECK_NEAR(s->score_square, all, 1e-9, 1e-12);
        CHECK(s->rest_square > 0 && s->rest_square != s->score_square && s->square[1] > 0);
        sg_qk_shares_free(s);
    }
    /* All of the space leaves no rest. */
    double whole[K * K];
    CHECK_OK(sg_qk_random(whole, K, K, 9, 5, &err), &err);
    CHECK_OK(sg_qk_explain(&s, 1, &(sg_qk_basis){K, whole}, Q, q, KEYS, k, K, NULL, 1, sg_exec_defaults(), &err), &err);
    CHECK(s->rest_square < 1e-18 * s->score_square);
    sg_qk_shares_free(s);
}

/* In a plane nothing is lost: products of the points are those of queries and keys within it. */
static void products_stay_in_the_joint_plane(void **state)
{
    (void)state;
    enum { Q = 20, KEYS = 30 };
    double rows[2 * K], points[(Q + KEYS) * 2], c, of[2] = {0};
    sg_error err;
    random_pairs(7);
    CHECK_OK(sg_qk_random(rows, 2, K, 3, 0, &err), &err);
    CHECK_OK(sg_qk_joint(points, &c, &(sg_qk_basis){2, rows}, Q, q, KEYS, k, K, &err), &err);
    for (int i = 0; i < Q; i++)
        for (int j = 0; j < KEYS; j++) {
            double want = 0;
            for (int r = 0; r < 2; r++) {
                double a = 0, b = 0;
                for (int d = 0; d < K; d++) {
                    a += rows[r * K + d] * (double)q[i * K + d];
                    b += rows[r * K + d] * (double)k[j * K + d];
                }
                want += a * b;
            }
            const double *x = points + 2 * i, *y = points + 2 * (Q + j);
            CHECK_NEAR(x[0] * y[0] + x[1] * y[1], want, 1e-9, 1e-9);
        }
    for (int i = 0; i < Q + KEYS; i++)
        of[i >= Q] += (points[2 * i] * points[2 * i] + points[2 * i + 1] * points[2 * i + 1]) / (i < Q ? Q : KEYS);
    CHECK_NEAR(of[0], of[1], 1e-9, 1e-9); /* as long in the mean */
}

static void what_cannot_be_is_said(void **state)
{
    (void)state;
    sg_qk_sums *s;
    sg_qk_factor *f;
    sg_error err;
    const float nan[2] = {NAN, 0}, fine[2] = {1, 0};
    CHECK_STATUS(sg_qk_sums_new(&s, 0, 0, sg_exec_defaults(), &err), SG_EARG);
    CHECK_OK(sg_qk_sums_new(&s, 2, 0, sg_exec_defaults(), &err), &err);
    CHECK_STATUS(sg_qk_add(s, true, nan, fine, &err), SG_ENUMERIC);
    for (int i = 0; i < 3; i++)
        CHECK_OK(sg_qk_add(s, true, fine, fine, &err), &err);
    CHECK_STATUS(sg_qk_factor_new(&f, "colour", s, sg_qk_factor_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "colour: 3 pairs match and 0 differ");
    sg_qk_sums_free(s);
    const double sigma[] = {3, 4, 0};
    CHECK(sg_qk_rank(sigma, 3, .99) == 2 && sg_qk_rank(sigma, 3, .3) == 1 && sg_qk_rank(sigma + 2, 1, .99) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streaming_is_two_passes_in_double_in_any_order),
        cmocka_unit_test(shuffled_pairs_keep_nothing),
        cmocka_unit_test(sampled_contrasts_agree_with_the_closed_form),
        cmocka_unit_test(planted_planes_are_found),
        cmocka_unit_test(keys_are_exchanged_within_a_subspace),
        cmocka_unit_test(subspaces_are_made_orthogonal_in_the_order_given),
        cmocka_unit_test(shares_and_rest_sum_to_the_centred_score),
        cmocka_unit_test(products_stay_in_the_joint_plane),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
