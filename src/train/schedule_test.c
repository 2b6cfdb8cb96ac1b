/* Rates worked out by hand. */
#include "sightglass/schedule.h"

#include "check.h"

static sg_schedule of(sg_schedule_kind kind)
{
    sg_schedule s = sg_schedule_defaults();
    s.kind = kind;
    s.lr = 2;
    s.end = 0.25;
    s.warmup = 4;
    s.n_steps = 12;
    s.decay = 4;
    return s;
}

static void warm_up_climbs_in_equal_steps(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const sg_schedule s = of((sg_schedule_kind)kind);
        CHECK_NEAR(sg_schedule_lr(&s, 0), 0.5, 1e-15, 0);
        CHECK_NEAR(sg_schedule_lr(&s, 2), 1.5, 1e-15, 0);
        CHECK_NEAR(sg_schedule_lr(&s, 3), 2, 1e-15, 0);
        CHECK_NEAR(sg_schedule_lr(&s, 4), 2, 1e-15, 0); /* the descent begins at its top */
    }
}

/* Half way down: 2 (1/4 + 3/4 * 1/2); a quarter of the way the cosine has fallen by (1 - cos 45 degrees) / 2. */
static void the_descent_is_straight_or_a_cosine(void **state)
{
    (void)state;
    const sg_schedule constant = of(SG_SCHEDULE_CONSTANT), linear = of(SG_SCHEDULE_LINEAR),
                      cosine = of(SG_SCHEDULE_COSINE);
    CHECK_NEAR(sg_schedule_lr(&constant, 1000000), 2, 0, 0);
    CHECK_NEAR(sg_schedule_lr(&linear, 8), 1.25, 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&linear, 6), 2 * (0.25 + 0.75 * 0.75), 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&cosine, 8), 1.25, 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&cosine, 6), 2 * (0.25 + 0.75 * (1 + sqrt(0.5)) / 2), 1e-15, 0);
    const sg_schedule wsd = of(SG_SCHEDULE_WSD); /* at 2 up to step 8, then down to 1/2 in four steps */
    CHECK_NEAR(sg_schedule_lr(&wsd, 7), 2, 0, 0);
    CHECK_NEAR(sg_schedule_lr(&wsd, 8), 2, 0, 0);
    CHECK_NEAR(sg_schedule_lr(&wsd, 9), 2 - 1.5 / 4, 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&wsd, 40), 0.5, 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&linear, 12), 0.5, 1e-15, 0);
    CHECK_NEAR(sg_schedule_lr(&cosine, 5000), 0.5, 1e-15, 0);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_schedule s = of(SG_SCHEDULE_COSINE);
    CHECK_OK(sg_schedule_check(&s, &err), &err);
    s.warmup = 13;
    CHECK_STATUS(sg_schedule_check(&s, &err), SG_EARG);
    CHECK_TEXT(err.text, "13");
    s = of(SG_SCHEDULE_WSD);
    s.decay = 9;
    CHECK_STATUS(sg_schedule_check(&s, &err), SG_EARG);
    CHECK_TEXT(err.text, "a decay of 9 steps behind a warm-up of 4, there are 12");
    s = of(SG_SCHEDULE_LINEAR);
    s.lr = (double)NAN;
    CHECK_STATUS(sg_schedule_check(&s, &err), SG_EARG);
    s = of(SG_SCHEDULE_LINEAR);
    s.end = 2;
    CHECK_STATUS(sg_schedule_check(&s, &err), SG_EARG);
    sg_schedule_kind kind;
    CHECK_OK(sg_schedule_kind_of(&kind, "linear", &err), &err);
    CHECK(kind == SG_SCHEDULE_LINEAR);
    CHECK_STATUS(sg_schedule_kind_of(&kind, "liner", &err), SG_EARG);
    CHECK_TEXT(err.text, "liner");
}

/* A constant schedule is the same one however many steps are taken of it, and so is wsd up to its decay. */
static void texts_tell_schedules_apart(void **state)
{
    (void)state;
    char a[SG_SCHEDULE_TEXT], b[SG_SCHEDULE_TEXT];
    for (int kind = 0; kind < 4; kind++) {
        sg_schedule s = of((sg_schedule_kind)kind), t = s;
        t.n_steps++;
        CHECK((strcmp(sg_schedule_text(&s, a), sg_schedule_text(&t, b)) == 0) ==
              (kind == SG_SCHEDULE_CONSTANT || kind == SG_SCHEDULE_WSD));
        t = s;
        t.decay++;
        CHECK((strcmp(sg_schedule_text(&s, a), sg_schedule_text(&t, b)) == 0) == (kind != SG_SCHEDULE_WSD));
        t = s;
        t.lr = 2.0000000000000004;
        CHECK(strcmp(sg_schedule_text(&s, a), sg_schedule_text(&t, b)) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warm_up_climbs_in_equal_steps),
        cmocka_unit_test(the_descent_is_straight_or_a_cosine),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(texts_tell_schedules_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
