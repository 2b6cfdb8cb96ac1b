/* Planted answers, and the identities that each kind is made of. */
#include "sightglass/dictionary.h"

#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "methods/dictionary_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

enum { D = 16, G = 24, N = 6000, ACTIVE = 2 };

static float atoms[G * D], rows[N * D], active[N * G];

/* Rows are sums of ACTIVE of G random directions, each .5 to 1.5 times. */
static sg_tensor planted(uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 9);
    memset(rows, 0, sizeof rows);
    memset(active, 0, sizeof active);
    dict_random_rows(atoms, G, D, seed, 3);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < ACTIVE;) {
            const uint32_t g = sg_rng_below(&r, G);
            if (active[i * G + (int)g] > 0)
                continue;
            const float z = active[i * G + (int)g] = (float)(0.5 + sg_rng_uniform(&r));
            for (int d = 0; d < D; d++)
                rows[i * D + d] += z * atoms[g * D + (uint32_t)d];
            k++;
        }
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, rows);
}

static sg_dict_opts small(sg_dict_kind kind)
{
    sg_dict_opts o = sg_dict_defaults();
    o.kind = kind;
    o.width = 2 * G;
    o.k = ACTIVE;
    o.batch = 256;
    o.n_steps = 2000;
    o.lr = 5e-3;
    o.lr_end = 5e-5;
    o.n_points = 200;
    o.centre = false;
    o.aux = 0; /* half of so few codes, reconstructing what is left, keeps them from settling */
    o.l1 = 0.5;
    o.l0 = 0.03;
    o.bandwidth = 0.2;
    o.exec.n_threads = 1;
    return o;
}

static sg_dict *fitted(const sg_tensor *x, sg_dict_opts o)
{
    sg_dict_data data;
    sg_dict *d;
    sg_error err;
    CHECK_OK(sg_dict_rows(&data, x, &err), &err);
    CHECK_OK(sg_dict_fit(&d, &data, o, &err), &err);
    sg_dict_data_free(&data);
    return d;
}

static double r2_of(const sg_dict *d, const sg_tensor *x, double *l0)
{
    sg_dict_data data;
    sg_dict_report *r;
    CHECK_OK(sg_dict_rows(&data, x, NULL), NULL);
    CHECK_OK(sg_dict_report_new(&r, d, &data, x->dims[0], sg_exec_defaults(), NULL), NULL);
    const double r2 = r->r2;
    *l0 = r->l0;
    sg_dict_report_free(r);
    sg_dict_data_free(&data);
    return r2;
}

static void planted_atoms_are_recovered_by_every_kind_and_not_from_shuffled_rows(void **state)
{
    (void)state;
    const sg_tensor x = planted(1), truth = sg_tensor_of(SG_F32, 2, (sg_dim[]){G, D}, atoms),
                    codes = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, G}, active);
    const struct {
        sg_dict_kind kind;
        double cosine, r2, f1;
    } wanted[] = {{SG_DICT_TOPK, .95, .95, .9},
                  {SG_DICT_RELU, .95, .75, .85},
                  {SG_DICT_GATED, .95, .9, .85},
                  {SG_DICT_BATCHTOPK, .9, .9, .8},
                  {SG_DICT_JUMPRELU, .95, .9, .9}};
    for (size_t i = 0; i < SG_COUNT_OF(wanted); i++) {
        sg_dict_opts o = small(wanted[i].kind);
        o.resample = wanted[i].kind == SG_DICT_RELU ? 300 : 0;
        sg_dict *d = fitted(&x, o);
        sg_dict_identified found;
        double l0;
        CHECK_OK(sg_dict_identify(&found, d, &truth, &x, &codes, 1, NULL), NULL);
        const double r2 = r2_of(d, &x, &l0);
        print_message("%-10s cosine %.3f (random %.3f) R2 %.3f L0 %.2f F1 %.2f\n", sg_dict_kind_name(o.kind),
                      found.cosine, found.null, r2, l0, found.f1);
        CHECK(found.cosine >= wanted[i].cosine);
        CHECK(r2 >= wanted[i].r2);
        CHECK(found.f1 >= wanted[i].f1);
        sg_dict_free(d);
    }
    sg_rng r = sg_rng_new(2, 0); /* each number of a row from a row of its own: same marginals, no atoms */
    static float shuffled[N * D];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++)
            shuffled[i * D + k] = rows[(int)sg_rng_below(&r, N) * D + k];
    const sg_tensor none = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, shuffled);
    sg_dict *d = fitted(&none, small(SG_DICT_TOPK));
    sg_dict_identified found;
    CHECK_OK(sg_dict_identify(&found, d, &truth, NULL, NULL, 1, NULL), NULL);
    print_message("shuffled   cosine %.3f\n", found.cosine);
    CHECK(found.cosine < 0.8);
    sg_dict_free(d);
}

/* ---- codes ---- */

static void topk_keeps_the_k_largest_that_are_positive_and_of_equals_the_first(void **state)
{
    (void)state;
    float dec[5 * 5] = {0}, x[3 * 5] = {3, 1, 2, -1, 5, 2, 2, 2, 2, 2, -1, -2, 4, -3, 0}, codes[3 * 5];
    for (int i = 0; i < 5; i++)
        dec[i * 6] = 1;
    const sg_tensor atoms5 = sg_tensor_of(SG_F32, 2, (sg_dim[]){5, 5}, dec),
                    t = sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 5}, x);
    const float want[3 * 5] = {3, 0, 2, 0, 5, 2, 2, 2, 0, 0, 0, 0, 4, 0, 0}; /* the last row has one that is positive */
    sg_dict *d;
    CHECK_OK(sg_dict_of(&d, SG_DICT_TOPK, 3, &atoms5, NULL, NULL, NULL, NULL), NULL);
    CHECK_OK(sg_dict_encode(codes, d, &t, NULL), NULL);
    assert_memory_equal(codes, want, sizeof want);
    sg_dict_free(d);
}

/* Rows of the encoder that no code came from get no gradient, whichever way codes are worked out; the others get that
 * of finite differences. */
static void gradients_go_through_kept_codes_alone(void **state)
{
    (void)state;
    enum { W = 6, M = 40, ROWS = 3 };
    for (sg_dim k = 2; k <= 20; k += 18) { /* few, and so many that whole matrices are multiplied */
        sg_graph *g = sg_graph_new();
        const sg_random from = {.seed = 3, .stream = 1}, other = {.seed = 3, .stream = 2};
        sg_value *step = sg_scalar(g, SG_I32, 0), *zero = sg_scalar(g, SG_F64, 0);
        sg_value *x = sg_random_normal(g, SG_F64, 2, (sg_dim[]){ROWS, W}, from, step);
        sg_value *enc = sg_input(g, "enc", SG_F64, 2, (sg_dim[]){M, W});
        sg_value *weight = sg_random_normal(g, SG_F64, 2, (sg_dim[]){ROWS, M}, other, step);
        const dict_values v = {.kind = SG_DICT_TOPK,
                               .m = M,
                               .k = k,
                               .training = true,
                               .enc = enc,
                               .b_enc = sg_full(g, SG_F64, 1, (sg_dim[]){M}, 0.1),
                               .b_dec = zero};
        dict_codes c;
        dict_encode(g, x, &v, &c);
        sg_value *z = dict_dense(g, &v, &c), *y = sg_sum_all(g, sg_mul(g, sg_square(g, z), weight));
        sg_value *fetches[3] = {y, sg_grad(g, y, enc), z};
        CHECK_OK(sg_graph_status(g, NULL), NULL);
        sg_state *s;
        sg_session *session;
        CHECK_OK(sg_state_new(&s, g, NULL), NULL);
        CHECK_OK(sg_session_new(&session, g, s, sg_exec_defaults(), NULL), NULL);
        double numbers[M * W], slope[M * W], codes[ROWS * M];
        sg_rng r = sg_rng_new(5, 0);
        for (int i = 0; i < M * W; i++)
            numbers[i] = sg_rng_normal(&r);
        const sg_feed feed = {enc, sg_tensor_of(SG_F64, 2, (sg_dim[]){M, W}, numbers)};
        sg_tensor got[3];
        CHECK_OK(sg_session_run(session, 1, &feed, 3, fetches, got, NULL), NULL);
        memcpy(slope, got[1].data, sizeof slope);
        memcpy(codes, got[2].data, sizeof codes);
        int untouched = 0;
        for (int i = 0; i < M * W; i++) {
            bool fires = false;
            for (int row = 0; row < ROWS; row++)
                fires |= codes[row * M + i / W] > 0;
            if (!fires) {
                CHECK(slope[i] == 0);
                untouched++;
                continue;
            }
            const double was = numbers[i], h = 1e-6;
            double side[2];
            for (int k2 = 0; k2 < 2; k2++) {
                numbers[i] = was + (k2 ? h : -h);
                CHECK_OK(sg_session_run(session, 1, &feed, 1, fetches, got, NULL), NULL);
                side[k2] = sg_tensor_get(&got[0], 0);
            }
            numbers[i] = was;
            CHECK_NEAR(slope[i], (side[1] - side[0]) / (2 * h), 1e-6, 1e-6);
        }
        CHECK(untouched > 0);
        sg_session_free(session);
        sg_state_free(s);
        sg_graph_free(g);
    }
}

/* ---- archetypes ---- */

static void mixtures_stay_on_the_simplex_and_slack_within_delta(void **state)
{
    (void)state;
    const sg_tensor x = planted(4);
    sg_dict_opts o = small(SG_DICT_RELAXED);
    o.delta = 0.05;
    o.width = 220; /* more than there are points: the last rows start on points that are drawn */
    for (o.n_steps = 0; o.n_steps <= 40; o.n_steps += 20) {
        sg_dict *d = fitted(&x, o);
        double most = 0;
        for (sg_dim i = 0; i < d->m; i++) {
            double sum = 0;
            for (sg_dim p = 0; p < o.n_points; p++) {
                const double w = (double)((float *)d->mix.data)[i * o.n_points + p];
                CHECK(w >= 0);
                sum += w;
            }
            CHECK_NEAR(sum, 1, 1e-6, 0);
            most = fmax(most, dict_length((const float *)d->slack.data + i * D, D));
        }
        double length = 0; /* delta is in units in which rows have the mean length sqrt(D) */
        for (int i = 0; i < N; i++)
            length += dict_length(rows + i * D, D) / N;
        CHECK(most <= (0.05 + 1e-6) * length / sqrt(D));
        CHECK(o.n_steps == 0 || most > 0);
        sg_dict_free(d);
    }
}

static void relaxed_without_slack_and_scale_is_archetypal_bit_for_bit(void **state)
{
    (void)state;
    const sg_tensor x = planted(5);
    sg_dict_opts o = small(SG_DICT_RELAXED);
    o.delta = 0;
    o.rescale = false;
    o.aux = 0.1;
    o.n_steps = 30;
    sg_dict *relaxed = fitted(&x, o);
    o.kind = SG_DICT_ARCHETYPAL;
    sg_dict *plain = fitted(&x, o);
    assert_memory_equal(relaxed->mix.data, plain->mix.data, sg_tensor_bytes(&plain->mix));
    assert_memory_equal(relaxed->enc.data, plain->enc.data, sg_tensor_bytes(&plain->enc));
    assert_memory_equal(relaxed->dec.data, plain->dec.data, sg_tensor_bytes(&plain->dec));
    for (sg_dim i = 0; i < D; i++) { /* and an atom is its mixture of the points, less the origin */
        double sum = -(double)((float *)plain->origin.data)[i];
        for (sg_dim p = 0; p < o.n_points; p++)
            sum += (double)((float *)plain->mix.data)[p] * (double)((float *)plain->points.data)[p * D + i];
        CHECK_NEAR(((float *)plain->dec.data)[i], sum, 1e-5, 0);
    }
    sg_dict_free(relaxed);
    sg_dict_free(plain);
}

/* ---- baselines ---- */

static void baselines_are_what_their_mathematics_says(void **state)
{
    (void)state;
    const sg_tensor x = planted(6);
    double l0;
    sg_dict_opts o = small(SG_DICT_PCA);
    o.centre = true;
    o.width = D;
    sg_dict *d = fitted(&x, o);
    CHECK_NEAR(r2_of(d, &x, &l0), 1, 1e-6, 0); /* all components are all there is */
    sg_dict_free(d);
    o.width = D / 2;
    d = fitted(&x, o);
    CHECK(r2_of(d, &x, &l0) < 0.95);
    sg_dict_free(d);
    o.kind = SG_DICT_KMEANS;
    o.width = G;
    d = fitted(&x, o);
    const double r2 = r2_of(d, &x, &l0);
    CHECK(l0 == 1 && r2 > 0.1 && r2 < 1);
    static float codes[N * G];
    CHECK_OK(sg_dict_encode(codes, d, &x, NULL), NULL);
    for (int i = 0; i < 50; i++) { /* the code is 1 at the nearest centroid */
        int best = 0;
        double least = 1e9;
        for (int j = 0; j < G; j++) {
            double off = 0;
            for (int c = 0; c < D; c++)
                off += pow((double)rows[i * D + c] - (double)((float *)d->dec.data)[j * D + c] -
                               (double)((float *)d->b_dec.data)[c],
                           2);
            if (off < least) {
                least = off;
                best = j;
            }
        }
        CHECK(codes[i * G + best] == 1);
    }
    sg_dict_free(d);
    for (int i = 0; i < N * D; i++)
        rows[i] = fabsf(rows[i]);
    o.kind = SG_DICT_NMF;
    o.width = 12;
    d = fitted(&x, o);
    for (sg_dim i = 0; i < 12 * D; i++)
        CHECK(((float *)d->dec.data)[i] >= 0);
    CHECK_OK(sg_dict_encode(codes, d, &x, NULL), NULL);
    for (int i = 0; i < N * 12; i++)
        CHECK(codes[i] >= 0);
    CHECK(r2_of(d, &x, &l0) > 0.6);
    sg_dict_free(d);
}

/* ---- reports and matches ---- */

static void a_report_is_a_plain_double_loop(void **state)
{
    (void)state;
    const sg_tensor x = planted(7);
    sg_dict_opts o = small(SG_DICT_TOPK);
    o.n_steps = 50;
    o.centre = true;
    sg_dict *d = fitted(&x, o);
    static float codes[N * 2 * G], back[N * D];
    const sg_tensor z = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, d->m}, codes);
    CHECK_OK(sg_dict_encode(codes, d, &x, NULL), NULL);
    CHECK_OK(sg_dict_decode(back, d, &z, NULL), NULL);
    double sse = 0, sst = 0, mean[D] = {0}, on = 0, l0;
    for (int i = 0; i < N * D; i++)
        mean[i % D] += (double)rows[i] / N;
    for (int i = 0; i < N * D; i++) {
        sse += pow((double)rows[i] - (double)back[i], 2);
        sst += pow((double)rows[i] - mean[i % D], 2);
    }
    for (int i = 0; i < N * 2 * G; i++)
        on += codes[i] != 0;
    CHECK_NEAR(r2_of(d, &x, &l0), 1 - sse / sst, 1e-6, 0);
    CHECK_NEAR(l0, on / N, 1e-12, 0);
    sg_dict_free(d);
}

static void a_dictionary_matches_itself_permuted_exactly_and_chance_is_told(void **state)
{
    (void)state;
    float a[G * D], b[G * D], half[4 * D];
    dict_random_rows(a, G, D, 1, 1);
    for (int i = 0; i < G; i++)
        for (int c = 0; c < D; c++)
            b[(i * 5 + 2) % G * D + c] = 3 * a[i * D + c];
    const sg_tensor one = sg_tensor_of(SG_F32, 2, (sg_dim[]){G, D}, a),
                    two = sg_tensor_of(SG_F32, 2, (sg_dim[]){G, D}, b);
    sg_dict_match *m;
    CHECK_OK(sg_dict_match_new(&m, &one, &one, 1, NULL), NULL);
    CHECK(m->stability == 1);
    sg_dict_match_free(m);
    CHECK_OK(sg_dict_match_new(&m, &one, &two, 1, NULL), NULL);
    CHECK_NEAR(m->stability, 1, 1e-7, 0); /* three times an f32 is rounded */
    for (int i = 0; i < G; i++)
        CHECK(m->pair[i] == (i * 5 + 2) % G);
    CHECK(m->null > 0.3 && m->null < 0.6); /* far from 0: 24 directions in 16 dimensions */
    CHECK(m->absolute_null > m->null);
    sg_dict_match_free(m);
    memcpy(half, a, sizeof half);
    const sg_tensor few = sg_tensor_of(SG_F32, 2, (sg_dim[]){4, D}, half);
    CHECK_OK(sg_dict_match_new(&m, &one, &few, 1, NULL), NULL);
    CHECK_NEAR(m->stability, 1, 1e-12, 0);
    CHECK(m->pair[3] == 3 && m->pair[4] == -1 && isnan(m->cosine[4]));
    sg_dict_match_free(m);
}

/* ---- the same bytes ---- */

typedef struct stopper {
    volatile sig_atomic_t cancel;
    int told;
} stopper;

static void stop(void *context, double done, double left, double loss)
{
    stopper *s = context;
    (void)left;
    (void)loss;
    s->told++;
    if (done >= 0)
        s->cancel = 1;
}

static void a_fit_that_was_cancelled_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    const sg_tensor x = planted(8);
    char dir[] = "/tmp/sightglass-dict-XXXXXX";
    CHECK(mkdtemp(dir));
    for (int kind = SG_DICT_RELU; kind <= SG_DICT_RELAXED; kind += 3) { /* relu with resampling, batchtopk, relaxed */
        sg_dict_opts o = small((sg_dict_kind)kind);
        o.n_steps = 400;
        o.resample = 20;
        sg_dict *whole = fitted(&x, o), *again = fitted(&x, o), *parts = NULL;
        assert_memory_equal(whole->enc.data, again->enc.data, sg_tensor_bytes(&whole->enc));
        sg_dict_free(again);
        stopper s = {0};
        o.checkpoint = dir;
        o.checkpoint_every = 30;
        o.cancel = &s.cancel;
        o.progress = stop;
        o.context = &s;
        sg_dict_data data;
        sg_error err = {0};
        CHECK_OK(sg_dict_rows(&data, &x, &err), &err);
        int turns = 0;
        sg_status status = SG_ECANCELLED;
        for (; status == SG_ECANCELLED; turns++) {
            s.cancel = 0;
            if (turns == 2)
                o.progress = NULL;
            status = sg_dict_fit(&parts, &data, o, &err);
        }
        CHECK_OK(status, &err);
        CHECK(turns == 3);
        s.cancel = 0;
        assert_memory_equal(whole->enc.data, parts->enc.data, sg_tensor_bytes(&whole->enc));
        assert_memory_equal(whole->dec.data, parts->dec.data, sg_tensor_bytes(&whole->dec));
        o.seed = 1; /* another run is not taken for a part of this one */
        CHECK(sg_dict_fit(&again, &data, o, &err) == SG_EARG);
        sg_dict_data_free(&data);
        sg_dict_free(whole);
        sg_dict_free(parts);
        sg_test_remove_all(dir);
        CHECK(mkdir(dir, 0700) == 0);
    }
    sg_test_remove_all(dir);
}

/* ---- files ---- */

static void every_kind_is_saved_and_opened_with_the_same_codes(void **state)
{
    (void)state;
    const sg_tensor x = planted(9), few = sg_tensor_of(SG_F32, 2, (sg_dim[]){64, D}, rows);
    char dir[] = "/tmp/sightglass-dict-XXXXXX";
    CHECK(mkdtemp(dir));
    for (int kind = 0; kind < SG_N_DICT_KINDS; kind++) {
        sg_dict_opts o = small((sg_dict_kind)kind);
        o.n_steps = 60;
        o.width = kind == SG_DICT_PCA ? 12 : G;
        sg_dict *d = fitted(&x, o), *back;
        sg_error err;
        float codes[64 * G], again[64 * G];
        CHECK_OK(sg_dict_save(d, dir, &err), &err);
        CHECK_OK(sg_dict_open(&back, dir, &err), &err);
        CHECK(back->kind == d->kind && back->k == d->k && back->m == d->m && back->log_scale == d->log_scale);
        CHECK_OK(sg_dict_encode(codes, d, &few, &err), &err);
        CHECK_OK(sg_dict_encode(again, back, &few, &err), &err);
        assert_memory_equal(codes, again, (size_t)(64 * d->m) * sizeof *codes);
        CHECK(!d->mix.data == !back->mix.data && !d->slack.data == !back->slack.data);
        sg_dict_free(d);
        sg_dict_free(back);
    }
    sg_dict *d;
    sg_error err;
    char path[64];
    snprintf(path, sizeof path, "%s/dictionary.json", dir);
    FILE *f = fopen(path, "w");
    CHECK(f &&
          fputs("{\"format\": \"sightglass-dictionary-1\", \"kind\": \"topk\", \"width\": 16, \"atoms\": 3, \"k\": 9}",
                f) > 0);
    fclose(f);
    CHECK(sg_dict_open(&d, dir, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "k is 9 of 3 atoms");
    sg_test_remove_all(dir);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sg_tensor x = planted(10);
    sg_dict_data data;
    sg_dict *d;
    sg_error err;
    CHECK_OK(sg_dict_rows(&data, &x, &err), &err);
    sg_dict_opts o = small(SG_DICT_TOPK);
    o.k = 100;
    CHECK(sg_dict_fit(&d, &data, o, &err) == SG_EARG && !d);
    CHECK_TEXT(err.text, "k is 100 of 48 atoms");
    o = small(SG_DICT_ARCHETYPAL);
    o.n_points = N + 1;
    CHECK(sg_dict_fit(&d, &data, o, &err) == SG_EARG);
    CHECK_TEXT(err.text, "points of");
    o = small(SG_DICT_PCA);
    CHECK(sg_dict_fit(&d, &data, o, &err) == SG_EARG);
    CHECK_TEXT(err.text, "48 principal components of 16 numbers");
    rows[37] = NAN;
    CHECK(sg_dict_fit(&d, &data, small(SG_DICT_TOPK), &err) == SG_ENUMERIC);
    CHECK_TEXT(err.text, "not finite");
    sg_dict_data_free(&data);
    x.n_dims = 1;
    CHECK_STATUS(sg_dict_rows(&data, &x, NULL), SG_ESHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_atoms_are_recovered_by_every_kind_and_not_from_shuffled_rows),
        cmocka_unit_test(topk_keeps_the_k_largest_that_are_positive_and_of_equals_the_first),
        cmocka_unit_test(gradients_go_through_kept_codes_alone),
        cmocka_unit_test(mixtures_stay_on_the_simplex_and_slack_within_delta),
        cmocka_unit_test(relaxed_without_slack_and_scale_is_archetypal_bit_for_bit),
        cmocka_unit_test(baselines_are_what_their_mathematics_says),
        cmocka_unit_test(a_report_is_a_plain_double_loop),
        cmocka_unit_test(a_dictionary_matches_itself_permuted_exactly_and_chance_is_told),
        cmocka_unit_test(a_fit_that_was_cancelled_goes_on_to_the_same_bytes),
        cmocka_unit_test(every_kind_is_saved_and_opened_with_the_same_codes),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
