/* Figures and their pieces: ink, places, exact turns. */
#include "sightglass/kanizsa.h"

#include "base/base.h"
#include "check.h"

enum { SIZE = 32, N = SIZE * SIZE, CONFIGURATIONS = 40 };

static sg_kanizsa configuration(int i)
{
    return sg_kanizsa_random(i % 2 ? SG_KANIZSA_OPEN : SG_KANIZSA_TRIANGLE, SIZE, 0, (sg_origin){3, 0, (uint64_t)i});
}

static void pieces_that_are_turned_have_the_same_ink_and_the_same_mean(void **state)
{
    (void)state;
    static float in_place[N], turned[N];
    for (int i = 0; i < CONFIGURATIONS; i++) {
        const sg_kanizsa k = configuration(i);
        double turns[SG_KANIZSA_MOST], a = 0, b = 0;
        sg_kanizsa_turns(turns, &k, (sg_origin){4, 0, (uint64_t)i});
        for (int p = 0; p < sg_kanizsa_n_pieces(&k); p++)
            CHECK(turns[p] >= 0.7853 && turns[p] <= (i % 2 ? 2.3562 : 5.4978));
        const double ink = sg_kanizsa_ink(&k, SG_KANIZSA_PIECES, NULL);
        CHECK_NEAR(sg_kanizsa_ink(&k, SG_KANIZSA_PIECES, turns), ink, 0, 0.01);
        CHECK(ink > 5 && sg_kanizsa_ink(&k, SG_KANIZSA_WHOLE, NULL) > ink);
        sg_kanizsa_draw(in_place, &k, SG_KANIZSA_PIECES, NULL);
        sg_kanizsa_draw(turned, &k, SG_KANIZSA_PIECES, turns);
        for (int p = 0; p < N; p++) {
            a += (double)in_place[p] / N;
            b += (double)turned[p] / N;
        }
        CHECK_NEAR(a, b, 1e-6, 0);
        CHECK(memcmp(in_place, turned, sizeof turned) != 0);
    }
}

/* The middle of a piece by its definition, whatever it was turned by: of its ink, it is where the ink's is. */
static void pieces_stay_where_they_are(void **state)
{
    (void)state;
    for (int i = 0; i < CONFIGURATIONS; i += 2) {
        sg_kanizsa k = configuration(i);
        double sum[2] = {0}, c[2];
        for (int p = 0; p < 3; p++) {
            sg_kanizsa_centre(c, &k, p);
            sum[0] += c[0] / 3;
            sum[1] += c[1] / 3;
            /* An arm's middle is half an arm from the corner; the corner is edge / sqrt(3) from the middle of all. */
            const double arm = (1 - k.gap) / 2 * k.edge, far = k.edge / sqrt(3) - arm / 2 * sqrt(3) / 2;
            CHECK_NEAR(sqrt((c[0] - k.x) * (c[0] - k.x) + (c[1] - k.y) * (c[1] - k.y)), far, 1e-6, 0);
        }
        CHECK_NEAR(sum[0], k.x, 1e-6, 0);
        CHECK_NEAR(sum[1], k.y, 1e-6, 0);
    }
    /* Turned by half a turn, the ink's middle is still the centre, to what points in pixels leave open. */
    static float pixels[N];
    sg_kanizsa k = sg_kanizsa_defaults(SIZE);
    double mean[2] = {0}, all = 0;
    sg_kanizsa_draw(pixels, &k, SG_KANIZSA_PIECES, (const double[]){2, 4, 1});
    for (int p = 0; p < N; p++) {
        mean[0] += (double)pixels[p] * (p % SIZE + 0.5);
        mean[1] += (double)pixels[p] * (p / SIZE + 0.5);
        all += (double)pixels[p];
    }
    CHECK_NEAR(mean[0] / all, k.x, 0.2, 0); /* where arms meet, ink counts once */
    CHECK_NEAR(mean[1] / all, k.y, 0.2, 0);
}

static void pieces_turned_by_nothing_are_the_pieces(void **state)
{
    (void)state;
    static float a[N], b[N];
    static const double none[SG_KANIZSA_MOST] = {0};
    for (int i = 0; i < CONFIGURATIONS; i++) {
        const sg_kanizsa k = configuration(i);
        sg_kanizsa_draw(a, &k, SG_KANIZSA_PIECES, NULL);
        sg_kanizsa_draw(b, &k, SG_KANIZSA_PIECES, none);
        CHECK(memcmp(a, b, sizeof a) == 0);
        sg_kanizsa_draw(b, &k, SG_KANIZSA_PIECES, NULL);
        CHECK(memcmp(a, b, sizeof a) == 0); /* and the same each time */
    }
}

static void a_quarter_turn_permutes_pixels_exactly(void **state)
{
    (void)state;
    static float was[N], is[N];
    for (int i = 0; i < CONFIGURATIONS; i++) {
        sg_kanizsa k = configuration(i);
        double turns[SG_KANIZSA_MOST];
        sg_kanizsa_turns(turns, &k, (sg_origin){4, 0, (uint64_t)i});
        for (int what = 0; what < 3; what++) {
            const sg_kanizsa_part part = what ? SG_KANIZSA_PIECES : SG_KANIZSA_WHOLE;
            k.quarters = 0;
            sg_kanizsa_draw(was, &k, part, what == 2 ? turns : NULL);
            k.quarters = 1;
            sg_kanizsa_draw(is, &k, part, what == 2 ? turns : NULL);
            for (int y = 0; y < SIZE; y++)
                for (int x = 0; x < SIZE; x++)
                    CHECK(is[y * SIZE + x] == was[(SIZE - 1 - x) * SIZE + y]); /* clockwise */
        }
    }
}

static void nothing_is_cut_off_and_gaps_take_ink_away(void **state)
{
    (void)state;
    double before = 1e9;
    for (int g = 2; g <= 8; g++) {
        sg_kanizsa k = sg_kanizsa_defaults(SIZE);
        k.gap = g / 10.0;
        const double ink = sg_kanizsa_ink(&k, SG_KANIZSA_PIECES, NULL);
        CHECK(ink < before);
        before = ink;
    }
    static float pixels[N];
    for (int i = 0; i < CONFIGURATIONS; i++) {
        const sg_kanizsa k = configuration(i);
        double turns[SG_KANIZSA_MOST];
        sg_kanizsa_turns(turns, &k, (sg_origin){4, 0, (uint64_t)i});
        for (int what = 0; what < 2; what++) {
            sg_kanizsa_draw(pixels, &k, what ? SG_KANIZSA_PIECES : SG_KANIZSA_WHOLE, what ? turns : NULL);
            double edge = 0, all = 0;
            for (int p = 0; p < N; p++) {
                const double ink = fabs((double)pixels[p] - k.paper);
                all += ink;
                edge += p < SIZE || p >= N - SIZE || p % SIZE == 0 || p % SIZE == SIZE - 1 ? ink : 0;
            }
            CHECK(edge < 0.12 * all);
        }
    }
}

static void the_world_draws_them(void **state)
{
    (void)state;
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("kanizsa", &err), 1, &(sg_setting){"draws", "3"}, 14, 2, &err), &err);
    const sg_tensor *gap = sg_sample_find(s, "gap"), *pieces = sg_sample_find(s, "pieces"),
                    *turned = sg_sample_find(s, "turned");
    CHECK(turned->dims[1] == 3);
    for (int i = 0; i < 14; i++) {
        CHECK_NEAR(sg_tensor_get(gap, i), 0.2 + 0.1 * (i % 7), 1e-6, 0);
        for (int d = 0; d < 3; d++) {
            double a = 0, b = 0;
            for (int p = 0; p < N; p++) {
                a += sg_tensor_get(pieces, i * N + p) / N;
                b += sg_tensor_get(turned, (i * 3 + d) * N + p) / N;
            }
            CHECK_NEAR(a, b, 1e-6, 0);
        }
    }
    sg_sample_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_that_are_turned_have_the_same_ink_and_the_same_mean),
        cmocka_unit_test(pieces_stay_where_they_are),
        cmocka_unit_test(pieces_turned_by_nothing_are_the_pieces),
        cmocka_unit_test(a_quarter_turn_permutes_pixels_exactly),
        cmocka_unit_test(nothing_is_cut_off_and_gaps_take_ink_away),
        cmocka_unit_test(the_world_draws_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
