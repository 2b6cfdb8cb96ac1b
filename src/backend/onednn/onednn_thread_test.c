/* One plan, run by several threads at once. */
#include <pthread.h>

#include "backend/backends.h"
#include "check.h"
#include "sightglass/ops.h"

enum { N = 48, N_THREADS = 4, N_TURNS = 50 };

typedef struct worker {
    const sg_plan *plan;
    float numbers[N * N];
    float result[N * N]; /* of the first turn */
    bool same;           /* every other turn gave the same */
    sg_status status;
} worker;

static sg_status work(worker *w)
{
    sg_run *r;
    sg_error err;

    SG_TRY(sg_run_new(&r, w->plan, NULL, &err));
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (const sg_dim[]){N, N}, w->numbers);
    sg_status status = sg_run_feed(r, 0, &x, &err);
    w->same = true;
    for (int turn = 0; turn < N_TURNS && status == SG_OK; turn++) {
        status = sg_run_execute(r, &err);
        if (turn == 0)
            memcpy(w->result, sg_run_fetch(r, 0)->data, sizeof w->result);
        w->same = w->same && memcmp(w->result, sg_run_fetch(r, 0)->data, sizeof w->result) == 0;
    }
    sg_run_free(r);
    return status;
}

static void *start(void *w)
{
    ((worker *)w)->status = work(w);
    return NULL;
}

static void threads_share_a_plan(void **state)
{
    (void)state;
    static const sg_backend *const onednn[] = {&sg_backend_onednn};
    static worker workers[N_THREADS];
    sg_exec_opts opts = sg_exec_defaults();
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){N, N});
    sg_value *y = sg_gelu(g, sg_matmul(g, x, x, false, true));
    sg_plan *plan;
    pthread_t threads[N_THREADS];

    CHECK_OK(sg_graph_status(g, &err), &err);
    opts.backends = onednn;
    opts.n_backends = 1;
    opts.n_threads = 1;
    CHECK_OK(sg_plan_new(&plan, g, 1, &x, 1, &y, 0, NULL, opts, &err), &err);
    CHECK(sg_plan_n_steps(plan) == 2);
    for (int s = 0; s < 2; s++)
        assert_string_equal(sg_plan_step_backend(plan, s), "onednn");
    for (int t = 0; t < N_THREADS; t++) {
        workers[t].plan = plan;
        for (int i = 0; i < N * N; i++)
            workers[t].numbers[i] = (float)((i * 31 + t * 17) % 97) / 97.0f - 0.5f;
        CHECK(pthread_create(&threads[t], NULL, start, &workers[t]) == 0);
    }
    for (int t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);

    for (int t = 0; t < N_THREADS; t++) {
        worker alone = {.plan = plan};
        memcpy(alone.numbers, workers[t].numbers, sizeof alone.numbers);
        CHECK(workers[t].status == SG_OK && workers[t].same);
        CHECK(work(&alone) == SG_OK);
        CHECK(memcmp(alone.result, workers[t].result, sizeof alone.result) == 0);
    }
    sg_plan_free(plan);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
