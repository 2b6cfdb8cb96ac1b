/* Geometry of embeddings: identities that hold exactly, against plain loops over all pairs. */
#include "sightglass/embedgeo.h"

#include <jansson.h>

#include "check.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

enum { N = 60, D = 7 };

static void draw(float *x, sg_dim count, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 1);
    for (sg_dim i = 0; i < count; i++)
        x[i] = (float)sg_rng_normal(&r);
}

static sg_tensor table(float *x, sg_dim n, sg_dim d)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x);
}

/* An orthogonal matrix, f32 [d,d]. */
static void turn(float *to, sg_dim d, uint64_t seed)
{
    float drawn[64 * 64];
    sg_qr *qr;
    sg_error err;
    draw(drawn, d * d, seed);
    const sg_tensor t = table(drawn, d, d);
    CHECK_OK(sg_qr_new(&qr, &t, SG_FACTORS_THIN, &err), &err);
    memcpy(to, qr->q.data, (size_t)(d * d) * sizeof(float));
    sg_qr_free(qr);
}

static void multiply(float *to, const float *x, const float *by, sg_dim n, sg_dim d, sg_dim e, double scale,
                     double shift)
{
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < e; j++) {
            double sum = 0;
            for (sg_dim c = 0; c < d; c++)
                sum += (double)x[i * d + c] * (double)by[c * e + j];
            to[i * e + j] = (float)(scale * sum + shift);
        }
}

/* ---- globally alike ---- */

static double two_pass(const float *a, sg_dim da, const float *b, sg_dim db, const int32_t *ids_a, const int32_t *ids_b,
                       sg_dim n, bool centred)
{
    const float *of[2] = {a, b};
    const int32_t *ids[2] = {ids_a, ids_b};
    const sg_dim d[2] = {da, db};
    static double rows[2][N][64], cosine[2][N * N];
    sg_dim m = 0;
    for (int k = 0; k < 2; k++)
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim c = 0; c < d[k]; c++) {
                double mean = 0;
                for (sg_dim j = 0; j < n; j++)
                    mean += (double)of[k][(ids[k] ? ids[k][j] : j) * d[k] + c] / (double)n;
                rows[k][i][c] = (double)of[k][(ids[k] ? ids[k][i] : i) * d[k] + c] - (centred ? mean : 0);
            }
    for (int k = 0; k < 2; k++) {
        m = 0;
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = i + 1; j < n; j++) {
                double xy = 0, xx = 0, yy = 0;
                for (sg_dim c = 0; c < d[k]; c++) {
                    xy += rows[k][i][c] * rows[k][j][c];
                    xx += rows[k][i][c] * rows[k][i][c];
                    yy += rows[k][j][c] * rows[k][j][c];
                }
                cosine[k][m++] = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
            }
    }
    double mean[2] = {0, 0}, xy = 0, xx = 0, yy = 0;
    for (sg_dim i = 0; i < m; i++)
        for (int k = 0; k < 2; k++)
            mean[k] += cosine[k][i] / (double)m;
    for (sg_dim i = 0; i < m; i++) {
        const double x = cosine[0][i] - mean[0], y = cosine[1][i] - mean[1];
        xy += x * y, xx += x * x, yy += y * y;
    }
    return xy / sqrt(xx * yy);
}

static void streamed_correlations_are_those_of_two_passes(void **state)
{
    (void)state;
    float a[N * D], b[N * 11];
    int32_t ids_a[N], ids_b[N];
    sg_geo_alike alike;
    sg_error err;
    draw(a, N * D, 1);
    draw(b, N * 11, 2);
    for (int i = 0; i < N; i++) {
        for (int c = 0; c < D; c++) /* something in common, and a mean */
            b[i * 11 + c] += 2 * a[i * D + c] + 1;
        ids_a[i] = (i * 7) % N;
        ids_b[i] = (i * 7) % N;
    }
    memset(b + 5 * 11, 0, 11 * sizeof *b); /* a token without a direction */
    const sg_tensor ta = table(a, N, D), tb = table(b, N, 11);
    for (int with = 0; with < 2; with++)
        for (sg_dim n = 3; n <= N; n += 19) {
            const int32_t *one = with ? ids_a : NULL, *other = with ? ids_b : NULL;
            CHECK_OK(sg_geo_pearson(&alike, &ta, &tb, one, other, n, &err), &err);
            CHECK_NEAR(alike.r, two_pass(a, D, b, 11, one, other, n, false), 1e-9, 0);
            CHECK_NEAR(alike.centred, two_pass(a, D, b, 11, one, other, n, true), 1e-9, 0);
            CHECK(alike.n == n);
        }
}

static void a_turned_and_scaled_table_is_the_same_geometry(void **state)
{
    (void)state;
    float a[N * D], by[D * D], b[N * D];
    int32_t permuted[N];
    sg_geo_alike alike;
    sg_error err;
    draw(a, N * D, 3);
    turn(by, D, 4);
    multiply(b, a, by, N, D, D, 3, 0);
    for (int i = 0; i < N; i++)
        permuted[i] = (i * 7 + 3) % N;
    const sg_tensor ta = table(a, N, D), tb = table(b, N, D);
    CHECK_OK(sg_geo_pearson(&alike, &ta, &tb, NULL, NULL, N, &err), &err);
    CHECK_NEAR(alike.r, 1, 1e-6, 0);
    CHECK_NEAR(alike.centred, 1, 1e-6, 0);
    CHECK_NEAR(alike.turned, 1, 1e-6, 0);
    CHECK_OK(sg_geo_pearson(&alike, &ta, &tb, NULL, permuted, N, &err), &err);
    CHECK(fabs(alike.r) < .1 && alike.turned < .5);
    permuted[0] = N;
    CHECK_STATUS(sg_geo_pearson(&alike, &ta, &tb, NULL, permuted, N, &err), SG_EARG);
    CHECK_TEXT(err.text, "token 60");
    CHECK_STATUS(sg_geo_pearson(&alike, &ta, &tb, NULL, NULL, 2, &err), SG_EARG);
}

/* ---- locally alike ---- */

static sg_neighbours *nearest(float *x, sg_dim n, sg_dim d, sg_dim k)
{
    sg_neighbours *near;
    sg_error err;
    const sg_tensor t = table(x, n, d);
    CHECK_OK(sg_neighbours_new(&near, &t, NULL, k, sg_neighbours_defaults(), &err), &err);
    return near;
}

static void weights_do_not_change_when_points_are_turned_moved_and_scaled(void **state)
{
    (void)state;
    enum { K = 5 };
    float x[N * D], by[D * D], y[N * D];
    double w[N * K], v[N * K], cosine[N];
    sg_error err;
    draw(x, N * D, 5);
    turn(by, D, 6);
    multiply(y, x, by, N, D, D, 2.5, .75);
    sg_neighbours *one = nearest(x, N, D, K), *other = nearest(y, N, D, K);
    CHECK(memcmp(one->index, other->index, sizeof(int32_t) * N * K) == 0);
    const sg_tensor tx = table(x, N, D), ty = table(y, N, D);
    const sg_tensor tw = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, K}, w),
                    tv = sg_tensor_of(SG_F64, 2, (sg_dim[]){N, K}, v);
    CHECK_OK(sg_geo_lle(&tw, &tx, one, SG_GEO_REGULARISE, &err), &err);
    CHECK_OK(sg_geo_lle(&tv, &ty, other, SG_GEO_REGULARISE, &err), &err);
    for (int i = 0; i < N * K; i++)
        CHECK_NEAR(w[i], v[i], 1e-5, 0);
    CHECK_OK(sg_geo_lle_alike(cosine, one, &tw, other, &tv, &err), &err);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(cosine[i], 1, 1e-5, 0);
    sg_neighbours_free(other);
    CHECK_OK(sg_neighbours_random(&other, N, K, 9, &err), &err);
    CHECK_OK(sg_geo_lle(&tv, &ty, other, SG_GEO_REGULARISE, &err), &err);
    CHECK_OK(sg_geo_lle_alike(cosine, one, &tw, other, &tv, &err), &err);
    double mean = 0;
    for (int i = 0; i < N; i++)
        mean += cosine[i] / N;
    CHECK(fabs(mean) < .25);
    sg_neighbours_free(one);
    sg_neighbours_free(other);
}

/* A point in the middle of its neighbours, and one of which all neighbours are copies. */
static void weights_by_hand_and_of_copies(void **state)
{
    (void)state;
    float line[3] = {0, 1, 3}, same[5 * 2] = {1, 2, 1, 2, 1, 2, 1, 2, 1, 2};
    double w[3 * 2], v[5 * 3];
    sg_error err;
    sg_neighbours *near = nearest(line, 3, 1, 2);
    const sg_tensor tl = table(line, 3, 1), tw = sg_tensor_of(SG_F64, 2, (sg_dim[]){3, 2}, w);
    CHECK_OK(sg_geo_lle(&tw, &tl, near, 1e-9, &err), &err);
    CHECK(near->index[2] == 0 && near->index[3] == 2);
    CHECK_NEAR(w[2], 2. / 3, 1e-6, 0); /* 1 = 2/3 of 0 and 1/3 of 3 */
    CHECK_NEAR(w[3], 1. / 3, 1e-6, 0);
    sg_neighbours_free(near);
    near = nearest(same, 5, 2, 3);
    const sg_tensor ts = table(same, 5, 2), tv = sg_tensor_of(SG_F64, 2, (sg_dim[]){5, 3}, v);
    CHECK_OK(sg_geo_lle(&tv, &ts, near, SG_GEO_REGULARISE, &err), &err);
    for (int i = 0; i < 5 * 3; i++)
        CHECK_NEAR(v[i], 1. / 3, 1e-12, 0);
    sg_neighbours_free(near);
    /* Two neighbours that are one point: G is singular, and the regulariser shares alike. */
    float pair[4 * 2] = {0, 0, 1, 0, 1, 0, 0, 3};
    double u[4 * 3];
    near = nearest(pair, 4, 2, 3);
    const sg_tensor tp = table(pair, 4, 2), tu = sg_tensor_of(SG_F64, 2, (sg_dim[]){4, 3}, u);
    CHECK_OK(sg_geo_lle(&tu, &tp, near, SG_GEO_REGULARISE, &err), &err);
    CHECK_NEAR(u[0], u[1], 1e-9, 0);
    for (int i = 0; i < 4; i++) {
        CHECK(isfinite(u[3 * i]));
        CHECK_NEAR(u[3 * i] + u[3 * i + 1] + u[3 * i + 2], 1, 1e-12, 0);
    }
    sg_neighbours_free(near);
}

/* ---- dimension ---- */

static void local_dimension_is_that_of_the_subspace(void **state)
{
    (void)state;
    enum { MANY = 300, WIDE = 20, K = 60 };
    static float x[MANY * WIDE], inner[MANY * 8], out[WIDE * WIDE];
    int32_t dim[MANY], again[MANY];
    sg_error err;
    for (sg_dim p = 1; p <= 8; p += 3) {
        sg_rng r = sg_rng_new(7, 2);
        for (sg_dim i = 0; i < MANY * p; i++)
            inner[i] = (float)sg_rng_uniform(&r);
        turn(out, WIDE, 9); /* its first p rows are orthonormal */
        multiply(x, inner, out, MANY, p, WIDE, 1, 5);
        for (int i = 0; i < MANY * WIDE; i++)
            x[i] += (float)(1e-3 * sg_rng_normal(&r));
        sg_neighbours *near = nearest(x, MANY, WIDE, K);
        const sg_tensor t = table(x, MANY, WIDE);
        CHECK_OK(sg_geo_localdim(dim, &t, near, .99, 1, NULL, &err), &err);
        CHECK_OK(sg_geo_localdim(again, &t, near, .99, 3, NULL, &err), &err);
        CHECK(memcmp(dim, again, sizeof dim) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(dim[i] == p);
        sg_neighbours_free(near);
    }
}

/* Of k draws of a Gaussian in D dimensions, simulated beside: neighbours far from the middle are nearly that. */
static void local_dimension_of_a_gaussian_is_near_its_simulation(void **state)
{
    (void)state;
    enum { MANY = 200, WIDE = 30 };
    static float x[MANY * WIDE], drawn[MANY * WIDE];
    int32_t dim[MANY], want;
    sg_error err;
    const sg_dim ks[2] = {12, MANY - 1}; /* bounded by k - 1; by d */
    draw(x, MANY * WIDE, 10);
    for (int which = 0; which < 2; which++) {
        const sg_dim k = ks[which];
        sg_neighbours *near = nearest(x, MANY, WIDE, k);
        const sg_tensor t = table(x, MANY, WIDE);
        CHECK_OK(sg_geo_localdim(dim, &t, near, .95, 1, NULL, &err), &err);
        sg_neighbours_free(near);
        /* k fresh draws: singular values of the centred k x d matrix by another routine. */
        draw(drawn, k * WIDE, 11);
        double mean[WIDE] = {0}, total = 0, sum = 0;
        for (sg_dim i = 0; i < k * WIDE; i++)
            mean[i % WIDE] += (double)drawn[i] / (double)k;
        for (sg_dim i = 0; i < k * WIDE; i++)
            drawn[i] -= (float)mean[i % WIDE];
        const sg_tensor td = table(drawn, k, WIDE);
        sg_svd *svd;
        CHECK_OK(sg_svd_new(&svd, &td, SG_FACTORS_THIN, &err), &err);
        const float *s = svd->s.data;
        for (sg_dim i = 0; i < svd->s.dims[0]; i++)
            total += (double)(s[i] * s[i]);
        for (want = 0; sum < .95 * total; want++)
            sum += (double)(s[want] * s[want]);
        sg_svd_free(svd);
        double average = 0;
        for (int i = 0; i < MANY; i++)
            average += (double)dim[i] / MANY;
        CHECK_NEAR(average, want, 1, 0);
        CHECK(average <= (double)(k - 1 < WIDE ? k - 1 : WIDE));
    }
}

static void intrinsic_dimension_is_that_of_a_cube(void **state)
{
    (void)state;
    enum { MANY = 1500, WIDE = 6 };
    static float x[MANY * WIDE], mixed[MANY * WIDE];
    float by[WIDE * WIDE];
    sg_geo_dimension found;
    sg_error err;
    turn(by, WIDE, 12);
    for (int p = 2; p <= 3; p++) { /* a square, a cube in six dimensions */
        sg_rng r = sg_rng_new(13, (uint32_t)p);
        for (int i = 0; i < MANY; i++)
            for (int c = 0; c < WIDE; c++)
                x[i * WIDE + c] = c < p ? (float)sg_rng_uniform(&r) : 0;
        multiply(mixed, x, by, MANY, WIDE, WIDE, 1, 0);
        sg_neighbours *near = nearest(mixed, MANY, WIDE, 10);
        CHECK_OK(sg_geo_dimension_of(&found, near, &err), &err);
        sg_neighbours_free(near);
        CHECK_NEAR(found.two_nn, p, .25, 0);
        CHECK_NEAR(found.likely, p, .25, 0);
        CHECK(found.n == MANY);
        /* Dealt out anew, the components fill what they span. */
        const sg_tensor from = table(mixed, MANY, WIDE), to = table(x, MANY, WIDE);
        CHECK_OK(sg_geo_shuffle(&to, &from, 14, &err), &err);
        near = nearest(x, MANY, WIDE, 10);
        sg_geo_dimension null;
        CHECK_OK(sg_geo_dimension_of(&null, near, &err), &err);
        sg_neighbours_free(near);
        CHECK(null.two_nn > found.two_nn + 1 && null.likely > found.likely + 1);
    }
}

/* ---- on a graph ---- */

static sg_links *ring(sg_dim n)
{
    int32_t edges[2 * 64];
    sg_links *links;
    sg_error err;
    for (sg_dim i = 0; i < n; i++) {
        edges[2 * i] = (int32_t)i;
        edges[2 * i + 1] = (int32_t)((i + 1) % n);
    }
    CHECK_OK(sg_links_new(&links, n, n, edges, NULL, &err), &err);
    return links;
}

/* (lambda_2 + lambda_3)(n - 1) / (4 |edges|) for eigenvectors 2 and 3 of the Laplacian of an odd ring: both are 2 - 2
 * cos(2 pi/n). */
static void a_planted_ring_has_the_energy_of_its_eigenvalues(void **state)
{
    (void)state;
    enum { RING = 15 };
    float x[RING * 2];
    double cells[RING * RING], trace = 0;
    sg_dirichlet found, scaled;
    sg_error err;
    sg_links *links = ring(RING);
    const double pi = acos(-1);
    for (int i = 0; i < RING; i++) {
        x[2 * i] = (float)(sqrt(2. / RING) * cos(2 * pi * i / RING));
        x[2 * i + 1] = (float)(sqrt(2. / RING) * sin(2 * pi * i / RING));
    }
    sg_tensor t = table(x, RING, 2);
    CHECK_OK(sg_dirichlet_energy(&found, &t, links, sg_dirichlet_defaults(), &err), &err);
    CHECK_NEAR(found.ratio, 2 * (2 - 2 * cos(2 * pi / RING)) * (RING - 1) / (4. * RING), 1e-5, 0);
    CHECK_NEAR(found.ratio, .0807, 1e-4, 0); /* as the specification has it */
    CHECK_NEAR(found.null, 1, .05, 0);
    CHECK(found.null_low < 1 && found.null_high > 1 && found.null_low > found.ratio);
    CHECK(found.n_points == RING && found.n_links == RING);
    /* Edge sum = tr(X'LX). */
    const sg_tensor l = sg_tensor_of(SG_F64, 2, (sg_dim[]){RING, RING}, cells);
    CHECK_OK(sg_links_laplacian(&l, links, false, &err), &err);
    for (int c = 0; c < 2; c++)
        for (int i = 0; i < RING; i++)
            for (int j = 0; j < RING; j++)
                trace += (double)x[2 * i + c] * cells[i * RING + j] * (double)x[2 * j + c];
    CHECK_NEAR(found.edges * RING, trace, 0, 1e-6);
    for (int i = 0; i < RING; i++) { /* turned, scaled, moved */
        const float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = 3 * (.6f * a - .8f * b) + 1;
        x[2 * i + 1] = 3 * (.8f * a + .6f * b) - 2;
    }
    CHECK_OK(sg_dirichlet_energy(&scaled, &t, links, sg_dirichlet_defaults(), &err), &err);
    CHECK_NEAR(scaled.ratio, found.ratio, 0, 1e-5);
    /* A missing point takes its links with it. */
    x[0] = NAN;
    CHECK_OK(sg_dirichlet_energy(&scaled, &t, links, sg_dirichlet_defaults(), &err), &err);
    CHECK(scaled.n_points == RING - 1 && scaled.n_links == RING - 2 && scaled.ratio < .1);
    CHECK_NEAR(scaled.null, 1, .1, 0);
    sg_links_free(links);
}

static void a_complete_graph_has_energy_one(void **state)
{
    (void)state;
    enum { ALL = 9 };
    float x[ALL * D];
    int32_t edges[ALL * ALL];
    sg_links *links;
    sg_dirichlet found;
    sg_error err;
    sg_dim n = 0;
    for (int i = 0; i < ALL; i++)
        for (int j = i + 1; j < ALL; j++, n++) {
            edges[2 * n] = i;
            edges[2 * n + 1] = j;
        }
    CHECK_OK(sg_links_new(&links, ALL, n, edges, NULL, &err), &err);
    draw(x, ALL * D, 15);
    const sg_tensor t = table(x, ALL, D);
    CHECK_OK(sg_dirichlet_energy(&found, &t, links, sg_dirichlet_defaults(), &err), &err);
    CHECK_NEAR(found.ratio, 1, 1e-12, 0);
    CHECK_NEAR(found.null, 1, 1e-12, 0);
    sg_links_free(links);
    CHECK_OK(sg_links_new(&links, ALL, 0, NULL, NULL, &err), &err);
    CHECK_STATUS(sg_dirichlet_energy(&found, &t, links, sg_dirichlet_defaults(), &err), SG_EARG);
    sg_links_free(links);
}

/* ---- tokens ---- */

static void tokens_stand_for_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *vocabulary, *want; /* of token 1 */
        sg_token_escape how;
    } cases[] = {
        {"[[\"a\", 0], [\"\xC4\xA0the\xC4\x8A\", 0]]", " the\n", SG_ESCAPE_BYTE_LEVEL},
        {"[[\"\xC4\xA0\", 0], [\"\xC3\x83\xC2\xA9\", 0]]", "\xC3\xA9", SG_ESCAPE_BYTE_LEVEL},
        {"[[\"\xE2\x96\x81of\", 0], [\"<0x0A>\", 0]]", "\n", SG_ESCAPE_METASPACE},
        {"[[\"\xE2\x96\x81of\", 0], [\"\xE2\x96\x81\xE2\x96\x81z\xC3\xA9\", 0]]", "  z\xC3\xA9", SG_ESCAPE_METASPACE},
        {"[[\"x\", 0], [\"##ing\", 0]]", "ing", SG_ESCAPE_WORDPIECE},
        {"[[\"##x\", 0], [\"ing\", 0]]", " ing", SG_ESCAPE_WORDPIECE},
        {"[[\"x\", 0], [\"y\", 0]]", "y", SG_ESCAPE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[300], *bytes;
        size_t n;
        sg_tokenizer *t;
        sg_error err;
        snprintf(json, sizeof json, "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": %s}}",
                 cases[i].vocabulary);
        CHECK_OK(sg_tokenizer_parse(&t, json, strlen(json), "test", &err), &err);
        CHECK(sg_token_escape_of(t) == cases[i].how);
        CHECK_OK(sg_token_bytes(&bytes, &n, t, cases[i].how, 1, &err), &err);
        CHECK(n == strlen(cases[i].want) && memcmp(bytes, cases[i].want, n) == 0);
        free(bytes);
        CHECK_OK(sg_token_bytes(&bytes, &n, t, cases[i].how, 2, &err), &err);
        CHECK(bytes == NULL);
        sg_tokenizer_free(t);
    }
}

/* A vocabulary as its file has it, a list or a map to ids, without what encodes. */
static sg_tokenizer *vocabulary(const char *path)
{
    json_error_t why;
    const char *text;
    json_t *json = json_load_file(path, 0, &why), *id;
    CHECK(json != NULL);
    const size_t n = json_is_array(json) ? json_array_size(json) : json_object_size(json);
    const char **tokens = calloc(n, sizeof *tokens);
    float *scores = calloc(n, sizeof *scores);
    for (size_t i = 0; json_is_array(json) && i < n; i++)
        tokens[i] = json_string_value(json_array_get(json, i));
    json_object_foreach(json, text, id) tokens[json_integer_value(id)] = text;
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    sg_tokenizer *t;
    sg_error err;
    in.kind = SG_TOKENIZER_UNIGRAM;
    in.n = (int32_t)n;
    in.tokens = tokens;
    in.scores = scores;
    in.unk = 0;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    free(scores);
    free(tokens);
    json_decref(json);
    return t;
}

/* GPT-2 and GPT-NeoX write bytes alike, so here their tokens can be compared as they stand. */
static void shared_tokens_of_two_vocabularies_are_counted(void **state)
{
    (void)state;
    char path[1024];
    sg_tokenizer *t[2];
    sg_token_match *both;
    sg_error err;
    static const char *const files[2] = {"data/tokenizers/gpt2/gpt2_vocab.json",
                                         "data/tokenizers/gpt_neox/tokens.json"};
    for (int k = 0; k < 2; k++) {
        SKIP_WITHOUT(sg_test_shared(path, files[k]), files[k]);
        t[k] = vocabulary(path);
        CHECK(sg_token_escape_of(t[k]) == SG_ESCAPE_BYTE_LEVEL);
    }
    CHECK_OK(sg_token_match_new(&both, t[0], t[1], &err), &err);
    sg_dim n = 0;
    for (int32_t id = 0; id < sg_tokenizer_size(t[0]); id++) {
        const char *text = sg_tokenizer_token(t[0], id);
        const int32_t other = text && !sg_tokenizer_is_special(t[0], id) ? sg_tokenizer_id(t[1], text) : -1;
        if (other < 0 || sg_tokenizer_is_special(t[1], other))
            continue;
        CHECK(n < both->n && both->ids[0][n] == id && both->ids[1][n] == other);
        n++;
    }
    print_message("GPT-2 and GPT-NeoX share %lld tokens\n", (long long)n);
    CHECK(n == both->n && n > 10000);
    sg_token_match_free(both);
    for (int k = 0; k < 2; k++)
        sg_tokenizer_free(t[k]);
}

static void a_models_tables_are_its_weights(void **state)
{
    (void)state;
    char path[1024];
    sg_model *m;
    sg_embedding *in, *out;
    sg_error err;
    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_embedding_new(&in, m, false, &err), &err);
    CHECK_OK(sg_embedding_new(&out, m, true, &err), &err);
    CHECK(in->tied && in->table.dims[0] == 512 && in->table.dims[1] == 64);
    CHECK(memcmp(in->table.data, out->table.data, sg_tensor_bytes(&in->table)) == 0);
    sg_embedding_free(in);
    sg_embedding_free(out);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streamed_correlations_are_those_of_two_passes),
        cmocka_unit_test(a_turned_and_scaled_table_is_the_same_geometry),
        cmocka_unit_test(weights_do_not_change_when_points_are_turned_moved_and_scaled),
        cmocka_unit_test(weights_by_hand_and_of_copies),
        cmocka_unit_test(local_dimension_is_that_of_the_subspace),
        cmocka_unit_test(local_dimension_of_a_gaussian_is_near_its_simulation),
        cmocka_unit_test(intrinsic_dimension_is_that_of_a_cube),
        cmocka_unit_test(a_planted_ring_has_the_energy_of_its_eigenvalues),
        cmocka_unit_test(a_complete_graph_has_energy_one),
        cmocka_unit_test(tokens_stand_for_bytes),
        cmocka_unit_test(shared_tokens_of_two_vocabularies_are_counted),
        cmocka_unit_test(a_models_tables_are_its_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
