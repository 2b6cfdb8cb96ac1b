#include <sys/wait.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(WITH_ASAN)
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void objects_are_aligned_and_zeroed(void **state)
{
    (void)state;
    sg_arena *arena = sg_arena_new();
    size_t asked = 0;
    for (size_t bytes = 0; bytes < 3000; bytes += 7) {
        unsigned char *p = sg_arena_alloc(arena, bytes);
        CHECK(p != NULL);
        CHECK((uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < bytes; i++)
            CHECK(p[i] == 0);
        memset(p, 0xAB, bytes); /* a later object that overlapped would not be zero */
        asked += bytes;
    }
    CHECK(sg_arena_used(arena) >= asked);
    sg_arena_free(arena);
}

static void large_objects_do_not_waste_the_chunk_being_filled(void **state)
{
    (void)state;
    sg_arena *arena = sg_arena_new();
    char *a = sg_arena_alloc(arena, 64);
    unsigned char *large = sg_arena_alloc(arena, (size_t)5 << 20);
    char *b = sg_arena_alloc(arena, 64);
    CHECK(a && large && b);
    CHECK(b - a >= 64 && b - a <= 256);
    CHECK(large[0] == 0 && large[((size_t)5 << 20) - 1] == 0);
    sg_arena_free(arena);
}

static void impossible_sizes_give_null(void **state)
{
    (void)state;
    sg_arena *arena = sg_arena_new();
    CHECK(sg_arena_alloc(arena, SIZE_MAX) == NULL);
    CHECK(sg_arena_alloc(arena, SIZE_MAX - 200) == NULL);
    CHECK(sg_arena_array(arena, SIZE_MAX / 4, 8) == NULL);
    CHECK(sg_arena_strndup(arena, "x", SIZE_MAX) == NULL);
    CHECK(sg_arena_array(arena, 4, 8) != NULL);
    sg_arena_free(arena);
}

static void texts_are_copied(void **state)
{
    (void)state;
    sg_arena *arena = sg_arena_new();
    assert_string_equal(sg_arena_strdup(arena, "glass"), "glass");
    assert_string_equal(sg_arena_strndup(arena, "glass", 2), "gl");
    assert_string_equal(sg_arena_printf(arena, "%s-%d", "blocks", 12), "blocks-12");
    sg_arena_free(arena);
}

struct log {
    char text[8];
    size_t n;
};

struct entry {
    struct log *log;
    char letter;
};

static void note(void *object)
{
    const struct entry *e = object;
    e->log->text[e->log->n++] = e->letter;
}

static void deferred_calls_run_newest_first(void **state)
{
    (void)state;
    struct log log = {.n = 0};
    struct entry a = {&log, 'a'}, b = {&log, 'b'};
    sg_arena *arena = sg_arena_new();
    struct entry *c = sg_arena_alloc(arena, sizeof *c); /* lives in the arena, is still whole when called */
    *c = (struct entry){&log, 'c'};
    CHECK_OK(sg_arena_defer(arena, note, &a), NULL);
    CHECK_OK(sg_arena_defer(arena, note, &b), NULL);
    CHECK_OK(sg_arena_defer(arena, note, c), NULL);
    CHECK(log.n == 0);
    sg_arena_free(arena);
    assert_string_equal(log.text, "cba");
    sg_arena_free(NULL);
}

static void what_cannot_be_deferred_is_done_at_once(void **state)
{
    (void)state;
    struct log log = {.n = 0};
    struct entry a = {&log, 'a'};
    sg_arena *arena = sg_arena_new();
    sg_faults_begin(0, SG_FAULT_ONCE);
    const sg_status status = sg_arena_defer(arena, note, &a); /* the first object: needs a chunk */
    CHECK(sg_faults_end());
    CHECK(status == SG_ENOMEM);
    assert_string_equal(log.text, "a");
    sg_arena_free(arena);
    assert_string_equal(log.text, "a");
}

static void running_out_of_memory_gives_null(void **state)
{
    (void)state;
    sg_faults_begin(0, SG_FAULT_ONWARD);
    sg_arena *none = sg_arena_new();
    CHECK(sg_faults_end());
    CHECK(none == NULL);

    sg_arena *arena = sg_arena_new();
    sg_faults_begin(0, SG_FAULT_ONCE);
    void *p = sg_arena_alloc(arena, 16);
    CHECK(sg_faults_end());
    CHECK(p == NULL);
    CHECK(sg_arena_alloc(arena, 16) != NULL); /* and the arena is as good as before */
    sg_arena_free(arena);
}

static void an_overrun_meets_a_poisoned_gap(void **state)
{
    (void)state;
#ifdef WITH_ASAN
    sg_arena *arena = sg_arena_new();
    char *a = sg_arena_alloc(arena, 13);
    char *b = sg_arena_alloc(arena, 64); /* fills its lines exactly: only the gap parts it from the next */
    char *c = sg_arena_alloc(arena, 1);
    CHECK(!__asan_region_is_poisoned(a, 13) && !__asan_region_is_poisoned(b, 64) && !__asan_region_is_poisoned(c, 1));
    CHECK(__asan_address_is_poisoned(a + 13));
    for (int i = 0; i < 64; i++)
        CHECK(__asan_address_is_poisoned(b + 64 + i));
    CHECK(__asan_address_is_poisoned(c + 1));

    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        ((volatile char *)b)[64] = 1; /* stops the child */
        _exit(0);
    }
    int how = 0;
    CHECK(waitpid(child, &how, 0) == child);
    CHECK(!(WIFEXITED(how) && (WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == 2)));
    sg_arena_free(arena);
#else
    print_message("skipped: this build has no address sanitizer\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_aligned_and_zeroed),
        cmocka_unit_test(large_objects_do_not_waste_the_chunk_being_filled),
        cmocka_unit_test(impossible_sizes_give_null),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(deferred_calls_run_newest_first),
        cmocka_unit_test(what_cannot_be_deferred_is_done_at_once),
        cmocka_unit_test(running_out_of_memory_gives_null),
        cmocka_unit_test(an_overrun_meets_a_poisoned_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
