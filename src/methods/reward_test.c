/* Rewards by hand. */
#include "sightglass/reward.h"

#include "base/base.h"
#include "check.h"

static double of(const char *what, const char *prompt, const char *completion)
{
    sg_reward *r;
    sg_error err;
    double out;
    CHECK_OK(sg_reward_open(&r, what, &err), &err);
    CHECK_OK(sg_reward_of(r, prompt, completion, &out, &err), &err);
    sg_reward_free(r);
    return out;
}

static void refused(const char *what, const char *words)
{
    sg_reward *r;
    sg_error err;
    CHECK(sg_reward_open(&r, what, &err) != SG_OK && r == NULL);
    CHECK_TEXT(err.text, words);
}

static void patterns_are_looked_for_in_the_completion_alone(void **state)
{
    (void)state;
    CHECK(of("regex:\\b(cat|dog)s?\\b", "the cat", " sat") == 0);
    CHECK(of("regex:\\b(cat|dog)s?\\b", "the", " dogs sat") == 1);
    CHECK(of("regex:^\\s*\xc3\xa9", "", " \xc3\xa9t\xc3\xa9") == 1);
    CHECK(of("regex:a", "", "\xff\xfe a") == 1); /* what is no UTF-8 does not matter */
    refused("regex:(", "regex");
    refused("regex", "wanted regex:PATTERN");
    refused("poetry:x", "no reward is called \"poetry\"");
}

static void sums_are_exact(void **state)
{
    (void)state;
    CHECK(of("arithmetic", "12 + 30 =", " 42") == 1);
    CHECK(of("arithmetic", "12 + 30 =", " 43") == 0);
    CHECK(of("arithmetic", "12 + 30 =", " 420") == 0);
    CHECK(of("arithmetic", "7*-8=", "-56.") == 1);
    CHECK(of("arithmetic", "1 + 1 = 2, 2 - 5 =", " -3") == 1);
    CHECK(of("arithmetic", "1 + 1 = 2, 2 - 5 =", " 3") == 0); /* the last decides */
    CHECK(of("arithmetic", "99999999999 * 99999999999 = ", "9999999999800000000001") == 1);
    CHECK(of("arithmetic", "99999999999 * 99999999999 = ", "9999999999800000000002") == 0);
    CHECK(of("arithmetic", "99999999999999999999999999999999999999 * 99999999999999999999999999999999999999 = ", "1") ==
          0);
    CHECK(of("arithmetic", "", "") == 0 && of("arithmetic", "two and two", " is four") == 0);
    refused("arithmetic:7", "arithmetic alone");
}

static void brackets_fit_or_do_not(void **state)
{
    (void)state;
    CHECK(of("brackets", "([", "]{})") == 1);
    CHECK(of("brackets", "([", ")]") == 0);
    CHECK(of("brackets", "(", "") == 0 && of("brackets", "", ")") == 0 && of("brackets", "a", "b") == 0);
}

static void words_are_counted_or_weighed(void **state)
{
    (void)state;
    FILE *f = fopen("reward_words.txt", "w");
    CHECK(f && fputs("# animals\ncat\nDog\n", f) >= 0 && fclose(f) == 0);
    CHECK(of("words:reward_words.txt", "cat", "A DOG, I think") == 1);
    CHECK(of("words:reward_words.txt", "cat", "a dogma") == 0);
    f = fopen("reward_words.txt", "w");
    CHECK(f && fputs("*\t-1\ngood\t2\nbad\t-2.5\r\n", f) >= 0 && fclose(f) == 0);
    CHECK_NEAR(of("words:reward_words.txt", "bad", "good, good film"), 1 / (1 + exp(-3.0)), 1e-12, 0);
    CHECK_NEAR(of("words:reward_words.txt", "", ""), 1 / (1 + exp(1.0)), 1e-12, 0);
    f = fopen("reward_words.txt", "w");
    CHECK(f && fputs("good\t2\nbad\n", f) >= 0 && fclose(f) == 0);
    refused("words:reward_words.txt", "line 2");
    f = fopen("reward_words.txt", "w");
    CHECK(f && fclose(f) == 0);
    refused("words:reward_words.txt", "holds no words");
    unlink("reward_words.txt");
    refused("words:reward_words.txt", "reward_words.txt");
}

static void a_command_is_asked(void **state)
{
    (void)state;
    double out;
    sg_reward *r;
    sg_error err;
    CHECK(of("command:wc -c", "a", "b") == (double)strlen("{\"prompt\":\"a\",\"completion\":\"b\"}\n"));
    CHECK(of("command:echo 3.5", "a", "b") == 3.5); /* one that does not read */
    CHECK_OK(sg_reward_open(&r, "command:echo none", &err), &err);
    CHECK_STATUS(sg_reward_of(r, "", "", &out, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "wanted a number");
    sg_reward_free(r);
    CHECK_OK(sg_reward_open(&r, "command:exit 3", &err), &err);
    CHECK_STATUS(sg_reward_of(r, "", "", &out, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "status 3");
    sg_reward_free(r);
}

static void the_table_names_all(void **state)
{
    (void)state;
    CHECK(sg_reward_kind_count() == 5 && !sg_reward_kind_at(5) && !sg_reward_kind_at(-1));
    for (int i = 0; i < 5; i++)
        CHECK(sg_reward_kind_at(i)->name && sg_reward_kind_at(i)->help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_looked_for_in_the_completion_alone),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(brackets_fit_or_do_not),
        cmocka_unit_test(words_are_counted_or_weighed),
        cmocka_unit_test(a_command_is_asked),
        cmocka_unit_test(the_table_names_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
