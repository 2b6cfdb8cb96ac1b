/* Every mechanism's truth makes its vectors again; what a mechanism loses is lost to the bit. */
#include "base/base.h"
#include "check.h"
#include "sightglass/linalg.h"
#include "sightglass/world.h"

static const char *const mechanisms[] = {"bag", "matrix", "tensor", "slot", "tag", "pointer", "multi-token"};

static sg_sample *draw(const char *mechanism, const char *option, const char *value, sg_dim count)
{
    const sg_setting settings[] = {{"mechanism", mechanism}, {"noise", "0"}, {"features", "6"}, {"d", "24"},
                                   {"items", "1"},           {option, value}};
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("binding", NULL), 6, settings, count, 5, &err), &err);
    return s;
}

static void the_truth_makes_the_vectors_again(void **state)
{
    (void)state;
    for (size_t m = 0; m < SG_COUNT_OF(mechanisms); m++)
        for (int low = 0; low < 3; low++) {
            sg_sample *s = low == 2 ? draw(mechanisms[m], "items", m < 4 ? "3" : "1", 40)
                                    : draw(mechanisms[m], "maps", low ? "low-rank" : "orthogonal", 40);
            const sg_tensor *x = sg_sample_find(s, "x"), *bound = sg_sample_find(s, "bound"),
                            *mark = sg_sample_find(s, "mark"), *features = sg_sample_find(s, "features"),
                            *maps = sg_sample_find(s, "maps"), *marker = sg_sample_find(s, "marker");
            const sg_dim tokens = x->dims[1], d = x->dims[2], items = bound->dims[1], roles = bound->dims[2],
                         width = features->dims[1], marks = mark->dims[2];
            CHECK(x->dims[0] == 40 && maps->dims[0] == roles && maps->dims[1] == width && maps->dims[2] == d);
            for (sg_dim n = 0; n < 40; n++)
                for (sg_dim t = 0; t < tokens; t++)
                    for (sg_dim j = 0; j < d; j++) {
                        double want = 0;
                        for (sg_dim i = 0; i < items; i++)
                            for (sg_dim r = 0; (i == t || tokens == 1 || items == 1) && r < roles; r++) {
                                const sg_dim f = (sg_dim)sg_tensor_get(bound, (n * items + i) * roles + r);
                                for (sg_dim w = 0; w < width; w++)
                                    want += sg_tensor_get(features, f * width + w) *
                                            sg_tensor_get(maps, (r * width + w) * d + j);
                            }
                        for (sg_dim i = 0; i < marks; i++)
                            want +=
                                sg_tensor_get(mark, (n * tokens + t) * marks + i) * sg_tensor_get(marker, i * d + j);
                        CHECK_NEAR(sg_tensor_get(x, (n * tokens + t) * d + j), want, 1e-6, 0);
                    }
            sg_sample_free(s);
        }
}

static void a_bag_has_the_same_bytes_with_roles_exchanged_and_others_do_not(void **state)
{
    (void)state;
    for (size_t m = 0; m < 4; m++) {
        sg_sample *s = draw(mechanisms[m], "items", "1", 300);
        const float *x = sg_sample_find(s, "x")->data;
        const int32_t *bound = sg_sample_find(s, "bound")->data;
        int swapped = 0;
        for (int a = 0; a < 300; a++)
            for (int b = 0; b < a; b++)
                if (bound[2 * a] == bound[2 * b + 1] && bound[2 * a + 1] == bound[2 * b]) {
                    const bool same = memcmp(x + 24 * a, x + 24 * b, 24 * sizeof *x) == 0;
                    CHECK(same == (m == 0));
                    swapped++;
                }
        CHECK(swapped > 100);
        sg_sample_free(s);
    }
}

static void orthogonal_maps_and_directions_are(void **state)
{
    (void)state;
    sg_sample *s = draw("matrix", "directions", "orthonormal", 1);
    const sg_tensor *f = sg_sample_find(s, "features"), *maps = sg_sample_find(s, "maps");
    for (int which = 0; which < 3; which++) {
        const sg_tensor rows =
            which < 2 ? sg_tensor_of(SG_F32, 2, (sg_dim[]){24, 24}, (float *)maps->data + which * 576) : *f;
        float gram[576];
        const sg_tensor out = sg_tensor_of(SG_F32, 2, (sg_dim[]){rows.dims[0], rows.dims[0]}, gram);
        CHECK_OK(sg_product(&out, &rows, false, &rows, true, 1, 0, NULL), NULL);
        for (sg_dim i = 0; i < rows.dims[0] * rows.dims[0]; i++)
            CHECK_NEAR(gram[i], i % (rows.dims[0] + 1) == 0, 1e-6, 0);
    }
    sg_sample_free(s);
    s = draw("matrix", "maps", "low-rank", 1); /* rank 8 */
    const sg_tensor map = sg_tensor_of(SG_F32, 2, (sg_dim[]){24, 24}, sg_sample_find(s, "maps")->data);
    sg_svd *svd;
    CHECK_OK(sg_svd_new(&svd, &map, SG_FACTORS_THIN, NULL), NULL);
    CHECK(sg_svd_rank(svd, 1e-5) == 8);
    sg_svd_free(svd);
    sg_sample_free(s);
}

/* Six orthonormal features in two roles are twelve vectors of 24 dimensions. They are independent, so that a linear map
 * tells each of them apart; under one map for both roles they are six. */
static void roles_are_linearly_separable_unless_they_share_a_map(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        const sg_setting settings[] = {{"mechanism", "matrix"},
                                       {"noise", "0"},
                                       {"features", "6"},
                                       {"d", "24"},
                                       {"directions", "orthonormal"},
                                       {"maps", shared ? "shared" : "orthogonal"}};
        sg_sample *s;
        sg_svd *svd;
        float rows[12 * 24];
        CHECK_OK(sg_world_sample(&s, sg_world_find("binding", NULL), 6, settings, 1, 5, NULL), NULL);
        for (int r = 0; r < 2; r++) {
            const sg_tensor map = sg_tensor_of(SG_F32, 2, (sg_dim[]){24, 24},
                                               (float *)sg_sample_find(s, "maps")->data + r * 576),
                            out = sg_tensor_of(SG_F32, 2, (sg_dim[]){6, 24}, rows + r * 144);
            CHECK_OK(sg_product(&out, sg_sample_find(s, "features"), false, &map, false, 1, 0, NULL), NULL);
        }
        const sg_tensor all = sg_tensor_of(SG_F32, 2, (sg_dim[]){12, 24}, rows);
        CHECK_OK(sg_svd_new(&svd, &all, SG_FACTORS_THIN, NULL), NULL);
        CHECK(sg_svd_rank(svd, 1e-5) == (shared ? 6 : 12));
        sg_svd_free(svd);
        sg_sample_free(s);
    }
}

/* A vector of multi-token is as likely with the roles exchanged: its mark is an even coin, whatever the order. */
static void a_single_vector_of_multi_token_says_nothing_of_the_order(void **state)
{
    (void)state;
    sg_sample *s = draw("multi-token", "items", "1", 4000);
    const int32_t *bound = sg_sample_find(s, "bound")->data;
    const float *mark = sg_sample_find(s, "mark")->data;
    int with[2] = {0}, product = 0;
    for (int n = 0; n < 4000; n++) {
        const bool ascending = bound[2 * n] < bound[2 * n + 1];
        for (int t = 0; t < 2; t++)
            with[t] += (mark[2 * n + t] > 0) == ascending;
        product += (mark[2 * n] * mark[2 * n + 1] > 0) == ascending;
    }
    CHECK_NEAR(with[0] / 4000.0, .5, .04, 0);
    CHECK_NEAR(with[1] / 4000.0, .5, .04, 0);
    CHECK(product == 4000);
    sg_sample_free(s);
}

static void partners_are_mutual_and_share_what_marks_them(void **state)
{
    (void)state;
    for (size_t m = 4; m < 6; m++) {
        sg_sample *s = draw(mechanisms[m], "tokens", "6", 50);
        const int32_t *partner = sg_sample_find(s, "partner")->data;
        const sg_tensor *mark = sg_sample_find(s, "mark");
        const sg_dim marks = mark->dims[2];
        for (int n = 0; n < 50; n++)
            for (int t = 0; t < 6; t++) {
                const int32_t p = partner[6 * n + t];
                const float *of = (const float *)mark->data + (6 * n + t) * marks;
                CHECK(p >= 0 && p < 6 && p != t && partner[6 * n + p] == t);
                for (sg_dim i = 0; i < marks; i++)
                    CHECK(m == 4 ? of[i] == ((const float *)mark->data)[(6 * n + p) * marks + i] : of[i] == (i == p));
            }
        sg_sample_free(s);
    }
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    static const sg_setting bad[][2] = {{{"mechanism", "slot"}, {"roles", "3"}},
                                        {{"mechanism", "bag"}, {"features", "2"}},
                                        {{"directions", "orthonormal"}, {"features", "200"}},
                                        {{"mechanism", "multi-token"}, {"roles", "3"}},
                                        {{"mechanism", "tag"}, {"tokens", "5"}}};
    const sg_world *w = sg_world_find("binding", NULL);
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        sg_setting three[3] = {bad[i][0], bad[i][1], {"roles", "3"}};
        sg_sample *s;
        sg_error err;
        CHECK_STATUS(sg_world_sample(&s, w, i == 1 ? 3 : 2, three, 1, 0, &err), SG_EARG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_makes_the_vectors_again),
        cmocka_unit_test(a_bag_has_the_same_bytes_with_roles_exchanged_and_others_do_not),
        cmocka_unit_test(orthogonal_maps_and_directions_are),
        cmocka_unit_test(roles_are_linearly_separable_unless_they_share_a_map),
        cmocka_unit_test(a_single_vector_of_multi_token_says_nothing_of_the_order),
        cmocka_unit_test(partners_are_mutual_and_share_what_marks_them),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
