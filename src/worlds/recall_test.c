/* Tokens are what their latents say, queries are of the target's, and pairs differ in what they are to differ in. */
#include "sightglass/recall.h"

#include "base/base.h"
#include "check.h"

enum { COUNT = 400 };

static sg_sample *draw(int n, const sg_setting *settings)
{
    sg_sample *s;
    sg_error err;
    const sg_world *w = sg_world_find("recall", &err);
    CHECK(w != NULL);
    CHECK_OK(sg_world_sample(&s, w, n, settings, COUNT, 5, &err), &err);
    return s;
}

static float *encoder(const sg_recall *r, sg_recall_part part, sg_dim rows)
{
    float *out = malloc((size_t)(rows * r->width) * sizeof *out);
    CHECK(out != NULL);
    sg_recall_encoder(out, r, part);
    return out;
}

static double made(const float *z, const float *rows, sg_dim n, sg_dim width, sg_dim d)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)z[i] * (double)rows[i * width + d];
    return sum;
}

/* Without noise every token and query is the sum of its parts; the answer is what the target carries. */
static void a_token_is_the_sum_of_its_parts(void **state)
{
    (void)state;
    sg_recall r = sg_recall_defaults();
    sg_sample *s = draw(1, &(sg_setting){"noise", "0"});
    float *a1 = encoder(&r, SG_RECALL_KEY_FIRST, r.n), *a2 = encoder(&r, SG_RECALL_KEY_SECOND, r.m),
          *b1 = encoder(&r, SG_RECALL_QUERY_FIRST, r.n), *b2 = encoder(&r, SG_RECALL_QUERY_SECOND, r.m),
          *e = encoder(&r, SG_RECALL_PAYLOAD, r.payloads);
    const float *x = sg_sample_find(s, "x")->data, *query = sg_sample_find(s, "query")->data,
                *z1 = sg_sample_find(s, "z1")->data, *z2 = sg_sample_find(s, "z2")->data;
    const int32_t *payload = sg_sample_find(s, "payload")->data, *target = sg_sample_find(s, "target")->data,
                  *answer = sg_sample_find(s, "answer")->data;
    double ones = 0;
    for (sg_dim i = 0; i < COUNT; i++) {
        const sg_dim at = i * r.context + target[i];
        CHECK(target[i] >= 0 && target[i] < r.context && answer[i] == payload[at]);
        for (sg_dim d = 0; d < r.width; d++) {
            CHECK_NEAR(x[at * r.width + d],
                       made(z1 + at * r.n, a1, r.n, r.width, d) + made(z2 + at * r.m, a2, r.m, r.width, d) +
                           (double)e[answer[i] * r.width + d],
                       1e-5, 0);
            CHECK_NEAR(query[i * r.width + d],
                       made(z1 + at * r.n, b1, r.n, r.width, d) + made(z2 + at * r.m, b2, r.m, r.width, d), 1e-5, 0);
        }
    }
    const sg_dim n = COUNT * r.context * r.m;
    for (sg_dim i = 0; i < n; i++) {
        CHECK(z2[i] == 1.0f || z2[i] == -1.0f);
        ones += z2[i] > 0;
    }
    CHECK_NEAR(ones / (double)n, .5, 5 * .5 / sqrt((double)n), 0);
    sg_sample_free(s);
    free(a1);
    free(a2);
    free(b1);
    free(b2);
    free(e);
}

/* In a pair the keys differ by A (z - z') of the factor alone, so that noise and payload go out but for the noise. */
static void pairs_differ_in_the_factor_alone(void **state)
{
    (void)state;
    enum { N = 300, W = 32 };
    static float q[N * W], match[N * W], differ[N * W];
    sg_recall r = sg_recall_defaults();
    sg_error err;
    r.noise = 0;
    float *a2 = encoder(&r, SG_RECALL_KEY_SECOND, r.m), *a1 = encoder(&r, SG_RECALL_KEY_FIRST, r.n);
    CHECK_OK(sg_recall_pairs(q, match, differ, &r, 0, false, N, (sg_origin){.seed = 1}, &err), &err);
    for (int i = 0; i < N; i++) {
        /* One of the 2^3 - 1 sums of +-2 A rows. */
        double least = HUGE_VAL;
        for (int signs = 0; signs < 27; signs++) {
            double off = 0;
            for (sg_dim d = 0; d < W; d++) {
                double sum = 0;
                for (int l = 0, s = signs; l < 3; l++, s /= 3)
                    sum += 2 * (s % 3 - 1) * (double)a1[l * W + d];
                off += fabs(sum - (double)(match[i * W + d] - differ[i * W + d]));
            }
            least = off < least ? off : least;
            CHECK(signs != 13 || off > .1); /* all zero: they would be the same */
        }
        CHECK(least < 1e-4);
    }
    free(a1);
    free(a2);
    CHECK_STATUS(sg_recall_pairs(q, match, differ, &r, 2, false, N, (sg_origin){.seed = 1}, &err), SG_EARG);
}

/* Row r of a source is the same whatever batches it is cut into. */
static void rows_do_not_depend_on_batches(void **state)
{
    (void)state;
    sg_recall r = sg_recall_defaults();
    sg_error err;
    sg_source four, two;
    static float x[2][4 * 16 * 32], q[2][4 * 32];
    int32_t y[2][4];
    CHECK_OK(sg_recall_source(&four, &r, 4, 9, &err), &err);
    CHECK_OK(sg_recall_source(&two, &r, 2, 9, &err), &err);
    sg_tensor a[3], b[3];
    for (int i = 0; i < 3; i++) {
        a[i] = four.field[i];
        b[i] = two.field[i];
    }
    a[0].data = x[0], a[1].data = q[0], a[2].data = y[0];
    CHECK_OK(four.fill(four.self, 0, a, &err), &err);
    for (int k = 0; k < 2; k++) {
        b[0].data = x[1] + k * 2 * 16 * 32, b[1].data = q[1] + k * 2 * 32, b[2].data = y[1] + k * 2;
        CHECK_OK(two.fill(two.self, k, b, &err), &err);
    }
    CHECK(memcmp(x[0], x[1], sizeof x[0]) == 0 && memcmp(q[0], q[1], sizeof q[0]) == 0 &&
          memcmp(y[0], y[1], sizeof y[0]) == 0);
    sg_source_free(&four);
    sg_source_free(&two);
    r.n = 31;
    CHECK_STATUS(sg_recall_source(&four, &r, 4, 9, &err), SG_EARG);
    CHECK_TEXT(err.text, "n 31");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_the_sum_of_its_parts),
        cmocka_unit_test(pairs_differ_in_the_factor_alone),
        cmocka_unit_test(rows_do_not_depend_on_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
