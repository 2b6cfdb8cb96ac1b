/* Moments are those of Dirichlet's distribution; tolerances are five standard errors or more. */
#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

#define COUNT 20000

static sg_sample *draw(int n, const sg_setting *settings)
{
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("minkowski", NULL), n, settings, COUNT, 3, &err), &err);
    return s;
}

static void items_are_their_weights_times_the_vertices(void **state)
{
    (void)state;
    static const sg_setting settings[][2] = {{{"noise", "0"}, {"cloud", "sum"}},
                                             {{"noise", "0"}, {"cloud", "gaussian"}}};
    for (int c = 0; c < 2; c++) {
        sg_sample *s = draw(2, settings[c]);
        const sg_tensor *x = sg_sample_find(s, "x"), *w = sg_sample_find(s, "weights"),
                        *v = sg_sample_find(s, "vertices"), *factor = sg_sample_find(s, "factor");
        CHECK(x->dims[1] == 32 && v->dims[0] == 12 && sg_tensor_get(factor, 2) == 0 && sg_tensor_get(factor, 3) == 1 &&
              sg_tensor_get(factor, 11) == 2);
        for (sg_dim n = 0; n < 50; n++) {
            double sum[3] = {0};
            for (sg_dim i = 0; i < 12; i++) {
                const double weight = sg_tensor_get(w, n * 12 + i);
                CHECK(c == 1 || weight >= 0);
                sum[(int)sg_tensor_get(factor, i)] += weight;
            }
            for (int f = 0; f < 3; f++)
                CHECK_NEAR(sum[f], 1, 1e-6, 0);
            for (sg_dim j = 0; j < 32; j++) {
                double want = 0;
                for (sg_dim i = 0; i < 12; i++)
                    want += sg_tensor_get(w, n * 12 + i) * sg_tensor_get(v, i * 32 + j);
                CHECK_NEAR(sg_tensor_get(x, n * 32 + j), want, 1e-6, 1e-6);
            }
        }
        sg_sample_free(s);
    }
}

/* Mean 1/n, variance (1/n)(1 - 1/n)/(n a + 1), covariance -1/n^2/(n a + 1) within a factor, none between factors: of
 * both clouds. */
static void weights_have_the_moments_of_dirichlet_in_both_clouds(void **state)
{
    (void)state;
    static const sg_setting settings[][2] = {{{"concentration", "1"}, {"cloud", "sum"}},
                                             {{"concentration", "1"}, {"cloud", "gaussian"}},
                                             {{"concentration", "0.3"}, {"cloud", "sum"}},
                                             {{"concentration", "4"}, {"cloud", "sum"}}};
    static const double concentration[] = {1, 1, .3, 4};
    for (int c = 0; c < 4; c++) {
        sg_sample *s = draw(2, settings[c]);
        const sg_tensor *w = sg_sample_find(s, "weights");
        double mean[12] = {0}, both[12 * 12] = {0};
        for (sg_dim n = 0; n < COUNT; n++)
            for (sg_dim i = 0; i < 12; i++) {
                mean[i] += sg_tensor_get(w, n * 12 + i) / COUNT;
                for (sg_dim j = 0; j < 12; j++)
                    both[i * 12 + j] += sg_tensor_get(w, n * 12 + i) * sg_tensor_get(w, n * 12 + j) / COUNT;
            }
        for (int i = 0; i < 12; i++)
            for (int j = 0; j < 12; j++) {
                const double n = i < 3 ? 3 : i < 7 ? 4 : 5, m = j < 3 ? 3 : j < 7 ? 4 : 5;
                const double want = n != m ? 0 : ((i == j) / n - 1 / (n * n)) / (n * concentration[c] + 1);
                CHECK_NEAR(mean[i], 1 / n, .01, 0);
                CHECK_NEAR(both[i * 12 + j] - mean[i] * mean[j], want, .005, 0);
            }
        sg_sample_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_their_weights_times_the_vertices),
        cmocka_unit_test(weights_have_the_moments_of_dirichlet_in_both_clouds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
