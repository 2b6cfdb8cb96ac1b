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

/* ---- copies of a bound weight that are kept with the state ---- */

enum { ROWS = 64, COLUMNS = 160, INNER = 256 };

typedef struct reader {
    const sg_plan *plan;
    sg_state *state;
    float result[ROWS * COLUMNS];
    sg_status status;
} reader;

static float kept_x[ROWS * INNER], kept_w[INNER * COLUMNS];

static sg_status read_kept(reader *r)
{
    sg_run *run;
    sg_error err;

    SG_TRY(sg_run_new(&run, r->plan, r->state, &err));
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (const sg_dim[]){ROWS, INNER}, kept_x);
    sg_status status = sg_run_feed(run, 0, &x, &err);
    for (int turn = 0; turn < 10 && status == SG_OK; turn++)
        status = sg_run_execute(run, &err);
    if (status == SG_OK)
        memcpy(r->result, sg_run_fetch(run, 0)->data, sizeof r->result);
    sg_run_free(run);
    return status;
}

static void *start_reading(void *r)
{
    ((reader *)r)->status = read_kept(r);
    return NULL;
}

/* All of them want the copy at their first run: one makes it, and everyone reads it. */
static void threads_share_kept_copies(void **state)
{
    (void)state;
    static const sg_backend *const onednn[] = {&sg_backend_onednn};
    static reader readers[N_THREADS];
    const sg_dim w_dims[2] = {INNER, COLUMNS};
    sg_exec_opts opts = sg_exec_defaults();
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){ROWS, INNER});
    sg_value *w = sg_variable(g, "w", SG_F32, 2, w_dims, sg_init_constant(0)), *y = sg_matmul(g, x, w, false, false);
    sg_state *s;
    sg_plan *plan;
    pthread_t threads[N_THREADS];

    for (int i = 0; i < ROWS * INNER; i++)
        kept_x[i] = (float)(i % 13) / 13;
    for (int i = 0; i < INNER * COLUMNS; i++)
        kept_w[i] = (float)(i % 17) / 17;
    const sg_tensor numbers = sg_tensor_of(SG_F32, 2, w_dims, kept_w);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_bind(s, w, &numbers, &err), &err);
    opts.backends = onednn;
    opts.n_backends = 1;
    opts.n_threads = 1;
    opts.compute = SG_BF16;
    CHECK_OK(sg_plan_new(&plan, g, 1, &x, 1, &y, 0, NULL, opts, &err), &err);
    for (int t = 0; t < N_THREADS; t++) {
        readers[t].plan = plan;
        readers[t].state = s;
        CHECK(pthread_create(&threads[t], NULL, start_reading, &readers[t]) == 0);
    }
    for (int t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);
    for (int t = 0; t < N_THREADS; t++) {
        CHECK(readers[t].status == SG_OK);
        assert_memory_equal(readers[t].result, readers[0].result, sizeof readers[0].result);
    }
    double want = 0;
    for (int k = 0; k < INNER; k++)
        want += (double)kept_x[k] * (double)kept_w[k * COLUMNS];
    CHECK_NEAR(readers[0].result[0], want, 0.5, 0); /* each factor off by 2^-9, of a sum near 60 */
    sg_plan_free(plan);
    sg_state_free(s);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_plan),
                                       cmocka_unit_test(threads_share_kept_copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
