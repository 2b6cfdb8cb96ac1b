/* Several threads run one plan, each through its own run. */
#include <pthread.h>

#include "check.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

#define THREADS 4
#define ROUNDS  50
#define N       16

typedef struct job {
    const sg_plan *plan;
    sg_state *state;
    float x[N * N], y[ROUNDS];
    int failed;
} job;

static void *work(void *context)
{
    job *j = context;
    sg_run *run;
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, N}, j->x);

    if (sg_run_new(&run, j->plan, j->state, NULL) != SG_OK) {
        j->failed = 1;
        return NULL;
    }
    for (int r = 0; r < ROUNDS; r++) {
        j->x[r] += 0.5f;
        if (sg_run_feed(run, 0, &x, NULL) != SG_OK || sg_run_execute(run, NULL) != SG_OK)
            j->failed = 1;
        else
            j->y[r] = *(const float *)sg_run_fetch(run, 0)->data;
    }
    sg_run_free(run);
    return NULL;
}

static void threads_share_a_plan(void **state)
{
    (void)state;
    static job jobs[THREADS], alone;
    sg_error err;
    sg_graph *g = sg_graph_new();
    const sg_dim dims[2] = {N, N};
    sg_value *x = sg_input(g, "x", SG_F32, 2, dims);
    sg_value *w = sg_variable(g, "w", SG_F32, 2, dims, sg_init_normal(0.3));
    sg_value *loss = sg_mean_all(g, sg_square(g, sg_tanh(g, sg_matmul(g, x, w, false, true))));
    sg_value *y = sg_sum_all(g, sg_square(g, sg_grad(g, loss, w)));
    sg_state *s;
    sg_plan *plan;
    sg_exec_opts opts = sg_exec_defaults();
    pthread_t threads[THREADS];

    opts.n_threads = 1;
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 3, &err), &err);
    CHECK_OK(sg_plan_new(&plan, g, 1, &x, 1, &y, 0, NULL, opts, &err), &err);
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (job){.plan = plan, .state = s};
        jobs[t].x[0] = (float)t;
        CHECK(pthread_create(&threads[t], NULL, work, &jobs[t]) == 0);
    }
    for (int t = 0; t < THREADS; t++)
        CHECK(pthread_join(threads[t], NULL) == 0);
    for (int t = 0; t < THREADS; t++) {
        alone = (job){.plan = plan, .state = s};
        alone.x[0] = (float)t;
        work(&alone);
        CHECK(!alone.failed && !jobs[t].failed);
        CHECK(alone.y[0] != alone.y[ROUNDS - 1]);
        for (int r = 0; r < ROUNDS; r++)
            CHECK(alone.y[r] == jobs[t].y[r]);
    }
    sg_plan_free(plan);
    sg_state_free(s);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_a_plan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
