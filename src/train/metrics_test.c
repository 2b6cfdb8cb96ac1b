/* Streams that are begun, continued, cut off in the middle of a line, and not streams at all. */
#include "sightglass/metrics.h"

#include <sys/stat.h>

#include "check.h"

static char path[300];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/sightglass-metrics-XXXXXX", tmp ? tmp : "/tmp");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int finish(void **state)
{
    (void)state;
    return unlink(path);
}

static void slurp(char text[4000])
{
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    text[fread(text, 1, 3999, f)] = 0;
    fclose(f);
}

static void write_steps(sg_dim after, sg_dim last)
{
    sg_metrics *m;
    sg_error err;
    CHECK_OK(sg_metrics_open(&m, path, after, &err), &err);
    for (sg_dim step = after + 1; step <= last; step++) {
        const sg_train_progress at = {.steps_done = step,
                                      .loss = 0.5,
                                      .lr = 0.25,
                                      .norm = (double)NAN,
                                      .rate = 2,
                                      .seconds = (double)(step - after)};
        sg_metrics_write(m, &at, 100);
    }
    CHECK_OK(sg_metrics_close(m, &err), &err);
}

static const char four[] =
    "{\"step\":1,\"loss\":0.5,\"lr\":0.25,\"grad_norm\":null,\"tokens_per_second\":200,\"seconds\":1}\n"
    "{\"step\":2,\"loss\":0.5,\"lr\":0.25,\"grad_norm\":null,\"tokens_per_second\":200,\"seconds\":2}\n"
    "{\"step\":3,\"loss\":0.5,\"lr\":0.25,\"grad_norm\":null,\"tokens_per_second\":200,\"seconds\":3}\n"
    "{\"step\":4,\"loss\":0.5,\"lr\":0.25,\"grad_norm\":null,\"tokens_per_second\":200,\"seconds\":4}\n";

static void a_continued_stream_is_one_stream(void **state)
{
    (void)state;
    char text[4000];
    write_steps(0, 9); /* replaced by the next */
    write_steps(0, 4);
    slurp(text);
    CHECK_TEXT(text, four);
    CHECK(strlen(text) == strlen(four));
    for (sg_dim after = 1; after <= 4; after++) { /* the later lines are written again, not twice; seconds go on */
        write_steps(after, 4);
        slurp(text);
        CHECK(strcmp(text, four) == 0);
    }
}

static void a_line_that_was_cut_off_is_removed(void **state)
{
    (void)state;
    char text[4000];
    const size_t line = strlen(four) / 4;
    for (size_t cut = 0; cut <= line; cut++) {
        write_steps(0, 4);
        CHECK(truncate(path, (off_t)(2 * line + cut)) == 0);
        write_steps(2, 4);
        slurp(text);
        CHECK(strcmp(text, four) == 0);
    }
}

static void what_is_no_stream_is_left_alone(void **state)
{
    (void)state;
    char text[4000];
    sg_metrics *m;
    sg_error err;
    FILE *f = fopen(path, "wb");
    CHECK(f && fputs("my notes\n", f) >= 0 && fclose(f) == 0);
    CHECK_STATUS(sg_metrics_open(&m, path, 3, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "line 1");
    slurp(text);
    CHECK(strcmp(text, "my notes\n") == 0);
    CHECK_STATUS(sg_metrics_open(&m, "no/such/folder.jsonl", 0, &err), SG_ENOTFOUND);
    CHECK(m == NULL);
    CHECK_OK(sg_metrics_close(NULL, &err), &err);
}

static void a_full_disk_is_told_at_the_end(void **state)
{
    (void)state;
    sg_metrics *m;
    sg_error err;
    const char *full = "/dev/full";
    SKIP_WITHOUT(full, full);
    CHECK_OK(sg_metrics_open(&m, full, 0, &err), &err);
    sg_metrics_write(m, &(sg_train_progress){.steps_done = 1}, 1);
    CHECK_STATUS(sg_metrics_close(m, &err), SG_EIO);
    CHECK_TEXT(err.text, "/dev/full");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_continued_stream_is_one_stream),
        cmocka_unit_test(a_line_that_was_cut_off_is_removed),
        cmocka_unit_test(what_is_no_stream_is_left_alone),
        cmocka_unit_test(a_full_disk_is_told_at_the_end),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
