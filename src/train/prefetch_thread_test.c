/* A source that counts: batch i is all i, and it fails where it is told to. Run under the thread sanitizer too. */
#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/source.h"

enum { N = 64 };

typedef struct counter {
    sg_dim fails_at; /* -1: never */
    int n_filled;    /* one thread at a time writes it, and the test reads it after the end */
    bool slow;
} counter;

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    counter *c = self;
    if (i == c->fails_at)
        return sg_fail(err, SG_EIO, "batch %lld is not there", (long long)i);
    if (c->slow)
        usleep(2000);
    c->n_filled++;
    for (int k = 0; k < N; k++) {
        ((int32_t *)field[0].data)[k] = (int32_t)i;
        ((float *)field[1].data)[k] = (float)i;
    }
    return SG_OK;
}

static sg_source source_of(counter *c)
{
    return (sg_source){
        .n_fields = 2,
        .field = {sg_tensor_of(SG_I32, 2, (sg_dim[]){4, N / 4}, NULL), sg_tensor_of(SG_F32, 1, (sg_dim[]){N}, NULL)},
        .fill = fill,
        .self = c};
}

static void expect(sg_prefetch *p, sg_dim i)
{
    const sg_tensor *field;
    sg_error err;
    CHECK_OK(sg_prefetch_next(p, &field, &err), &err);
    CHECK(field[0].n_dims == 2 && field[1].dims[0] == N);
    for (int k = 0; k < N; k++)
        CHECK(((int32_t *)field[0].data)[k] == (int32_t)i && ((float *)field[1].data)[k] == (float)i);
}

static void batches_come_in_order_and_stay_until_the_next(void **state)
{
    (void)state;
    for (int slow = 0; slow < 3; slow++) { /* neither, the thread, the reader */
        counter c = {.fails_at = -1, .slow = slow == 1};
        const sg_source source = source_of(&c);
        sg_prefetch *p;
        sg_error err;
        CHECK(sg_source_bytes(&source) == 8 * N);
        CHECK_OK(sg_prefetch_new(&p, &source, 1700, &err), &err);
        for (sg_dim i = 1700; i < 1700 + (slow ? 20 : 500); i++) {
            expect(p, i);
            if (slow == 2)
                usleep(1000);
        }
        sg_prefetch_free(p);
    }
}

/* At most two buffers beyond what was used: the third fill waits. */
static void no_more_is_filled_than_there_are_buffers(void **state)
{
    (void)state;
    counter c = {.fails_at = -1};
    const sg_source source = source_of(&c);
    sg_prefetch *p;
    sg_error err;
    CHECK_OK(sg_prefetch_new(&p, &source, 0, &err), &err);
    expect(p, 0);
    usleep(30000);
    sg_prefetch_free(p);
    CHECK(c.n_filled == SG_PREFETCH_BUFFERS);
}

static void a_failure_comes_after_the_batches_before_it_and_stays(void **state)
{
    (void)state;
    counter c = {.fails_at = 3};
    const sg_source source = source_of(&c);
    const sg_tensor *field;
    sg_prefetch *p;
    sg_error err;
    CHECK_OK(sg_prefetch_new(&p, &source, 0, &err), &err);
    for (sg_dim i = 0; i < 3; i++)
        expect(p, i);
    for (int again = 0; again < 2; again++) {
        CHECK_STATUS(sg_prefetch_next(p, &field, &err), SG_EIO);
        CHECK_TEXT(err.text, "batch 3 is not there");
        CHECK(field == NULL);
    }
    sg_prefetch_free(p);
}

static void it_can_be_ended_at_any_time(void **state)
{
    (void)state;
    for (int n = 0; n < 50; n++) {
        counter c = {.fails_at = n % 5 == 4 ? 2 : -1, .slow = n % 3 == 0};
        const sg_source source = source_of(&c);
        sg_prefetch *p;
        sg_error err;
        CHECK_OK(sg_prefetch_new(&p, &source, 0, &err), &err);
        for (sg_dim i = 0; i < n % 3; i++)
            expect(p, i);
        sg_prefetch_free(p);
    }
    sg_prefetch_free(NULL);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    counter c = {.fails_at = -1};
    const sg_source source = source_of(&c);
    sg_error err;
    for (long n = 0;; n++) {
        sg_prefetch *p;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_prefetch_new(&p, &source, 0, &err);
        const bool fired = sg_faults_end();
        sg_prefetch_free(p);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM && p == NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_in_order_and_stay_until_the_next),
        cmocka_unit_test(no_more_is_filled_than_there_are_buffers),
        cmocka_unit_test(a_failure_comes_after_the_batches_before_it_and_stays),
        cmocka_unit_test(it_can_be_ended_at_any_time),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
