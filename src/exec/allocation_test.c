/* Memory: what a run takes before it begins, that it takes no more, and that it is said when there is none. */
#include "faults.h"

#include "sightglass/model.h"
#include "sightglass/train.h"
#include "values.h"

#define D         7
#define F         11
#define MOST_ROWS 9
#define FOR_EVER  1000000L /* allocations before the first that fails: none does */

/* A small net with all that a training step has: random numbers, gradients, stores into variables. */
typedef struct net {
    sg_graph *g;
    sg_state *state;
    sg_value *x, *step, *lr, *fetches[3]; /* the loss, then parameters after the step */
} net;

static void open_net(net *n)
{
    sg_error err;
    sg_graph *g = n->g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch");
    sg_value *x = n->x = sg_input(g, "x", SG_F32, DIMS(batch, D));
    n->step = sg_input(g, "step", SG_I32, NO_DIMS);
    n->lr = sg_input(g, "lr", SG_F32, NO_DIMS);
    sg_value *w[2] = {sg_variable(g, "w", SG_F32, DIMS(F, D), sg_init_normal(0.3)),
                      sg_variable(g, "v", SG_F32, DIMS(D, F), sg_init_normal(0.3))};
    sg_value *noise = sg_random_normal(g, SG_F32, DIMS(batch, D), (sg_random){.seed = 3}, n->step);
    sg_value *h = sg_softmax(g, sg_gelu(g, sg_linear(g, sg_add(g, x, noise), w[0], NULL)), -1);
    sg_name(g, h, "hidden", "bd");
    sg_value *y = sg_layer_norm(g, sg_linear(g, h, w[1], NULL), NULL, NULL, 1e-5);

    n->fetches[0] = sg_mean_all(g, sg_square(g, sg_sub(g, y, x)));
    sg_train_adam(g, n->fetches[0], 2, w, n->lr, n->step, sg_adam_defaults(), n->fetches + 1);
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_state_new(&n->state, g, &err), &err);
    CHECK_OK(sg_state_init(n->state, 5, &err), &err);
}

static void close_net(net *n)
{
    sg_state_free(n->state);
    sg_graph_free(n->g);
}

/* One step over `rows` rows; the loss goes to *loss. */
static sg_status step_net(net *n, sg_session *s, int32_t step, sg_dim rows, float *loss, sg_error *err)
{
    static float x[MOST_ROWS * D];
    float lr = 1e-2f;
    sg_tensor out[3];

    for (int i = 0; i < MOST_ROWS * D; i++)
        x[i] = (float)((i * 37 + 11) % 29) / 29;
    const sg_feed feeds[3] = {{n->x, sg_tensor_of(SG_F32, DIMS(rows, D), x)},
                              {n->step, sg_tensor_of(SG_I32, NO_DIMS, &step)},
                              {n->lr, sg_tensor_of(SG_F32, NO_DIMS, &lr)}};
    const sg_status status = sg_session_run(s, 3, feeds, 3, n->fetches, out, err);
    *loss = status == SG_OK ? *(const float *)out[0].data : NAN;
    return status;
}

static void a_session_that_repeats_itself_allocates_nothing(void **state)
{
    (void)state;
    net n;
    sg_session *s = NULL;
    sg_error err;
    float loss = 0, first = 0;

    open_net(&n);
    CHECK_OK(sg_session_new(&s, n.g, n.state, sg_exec_defaults(), &err), &err);
    for (sg_dim rows = 1; rows <= MOST_ROWS; rows += 4)
        CHECK_OK(step_net(&n, s, (int32_t)rows, rows, &first, &err), &err);
    sg_faults_begin(0, SG_FAULT_ONWARD);
    for (int32_t step = 0; step < 200; step++)
        for (sg_dim rows = 1; rows <= MOST_ROWS; rows += 4)
            CHECK_OK(step_net(&n, s, step, rows, &loss, &err), &err);
    CHECK(!sg_faults_end());
    CHECK(loss < first); /* it did train meanwhile */
    sg_session_free(s);
    close_net(&n);
}

static void a_run_allocates_nothing_once_made(void **state)
{
    (void)state;
    net n;
    sg_plan *plan = NULL;
    sg_run *run = NULL;
    sg_error err;
    float x[MOST_ROWS * D] = {0.5f}, lr = 1e-2f;
    int32_t step = 1;

    open_net(&n);
    sg_value *feeds[3] = {n.x, n.step, n.lr};
    const sg_extent_value batch = {"batch", MOST_ROWS, true};
    CHECK_OK(sg_plan_new(&plan, n.g, 3, feeds, 3, n.fetches, 1, &batch, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_run_new(&run, plan, n.state, &err), &err);
    sg_faults_begin(0, SG_FAULT_ONWARD);
    for (sg_dim rows = 1; rows <= MOST_ROWS; rows++) { /* the first execution included */
        const sg_tensor t = sg_tensor_of(SG_F32, DIMS(rows, D), x), s = sg_tensor_of(SG_I32, NO_DIMS, &step),
                        r = sg_tensor_of(SG_F32, NO_DIMS, &lr);
        CHECK_OK(sg_run_extent(run, "batch", rows, &err), &err);
        CHECK_OK(sg_run_feed(run, 0, &t, &err), &err);
        CHECK_OK(sg_run_feed(run, 1, &s, &err), &err);
        CHECK_OK(sg_run_feed(run, 2, &r, &err), &err);
        CHECK_OK(sg_run_execute(run, &err), &err);
        CHECK(isfinite(*(const float *)sg_run_fetch(run, 0)->data));
    }
    CHECK(!sg_faults_end());
    sg_run_free(run);
    sg_plan_free(plan);
    close_net(&n);
}

/* One token after the other through a model with its cache. */
static void a_model_that_writes_on_allocates_nothing(void **state)
{
    (void)state;
    char path[1024];
    sg_model *m = NULL;
    sg_glass *glass = NULL;
    sg_value *logits = NULL;
    sg_tensor out;
    sg_error err;
    int32_t token = 1;
    const int32_t *row = &token;
    const sg_dim one = 1;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &one};

    SKIP_WITHOUT(sg_test_shared(path, "models/stories260K"), "models/stories260K");
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    sg_glass_opts opts = sg_glass_defaults();
    opts.capacity = 64;
    opts.n_rows = 1;
    CHECK_OK(sg_glass_new(&glass, m, opts, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    for (int i = 0; i < 64; i++) {
        if (i == 2)
            sg_faults_begin(0, SG_FAULT_ONWARD);
        CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
        const float *x = out.data;
        for (int32_t v = token = 0; v < 512; v++)
            token = x[v] > x[token] ? v : token;
    }
    CHECK(!sg_faults_end());
    sg_glass_free(glass);
    sg_model_close(m);
}

/* Every allocation of planning and of the first run fails in turn: that is said, nothing is left behind (the address
 * sanitizer looks), the variables are as before, and the same session then gives the number it would have given. */
static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    net n;
    sg_session *s = NULL;
    sg_error err;
    float want = 0, got = 0;
    long failed = 0;

    for (int turn = 0; turn < 4; turn++) {
        const bool onward = turn % 2;
        sg_exec_opts opts = sg_exec_defaults();
        opts.keep = turn > 1 ? "hidden" : NULL; /* the rest is computed again */
        open_net(&n);
        CHECK_OK(sg_session_new(&s, n.g, n.state, opts, &err), &err);
        CHECK_OK(step_net(&n, s, 1, 3, &want, &err), &err);
        sg_session_free(s);
        close_net(&n);

        open_net(&n);
        for (long i = 0; i < FOR_EVER; i++) {
            s = NULL;
            sg_faults_begin(i, onward ? SG_FAULT_ONWARD : SG_FAULT_ONCE);
            sg_status status = sg_session_new(&s, n.g, n.state, opts, &err);
            if (status == SG_OK)
                status = step_net(&n, s, 1, 3, &got, &err);
            if (!sg_faults_end()) {
                CHECK_OK(status, &err);
                break;
            }
            /* A backend without memory declines, and the reference kernel does the work. */
            if (status == SG_OK) {
                sg_session_free(s);
                close_net(&n);
                open_net(&n);
                continue;
            }
            failed++;
            CHECK(status == SG_ENOMEM);
            CHECK_TEXT(err.text, "memory");
            if (s && i % 7 == 0) {
                CHECK_OK(step_net(&n, s, 1, 3, &got, &err), &err);
                CHECK_NEAR(got, want, 1e-6, 1e-6);
                sg_session_free(s);
                close_net(&n);
                open_net(&n);
                continue;
            }
            sg_session_free(s);
        }
        CHECK_NEAR(got, want, 1e-6, 1e-6);
        sg_session_free(s);
        close_net(&n);
    }
    CHECK(failed > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_that_repeats_itself_allocates_nothing),
        cmocka_unit_test(a_run_allocates_nothing_once_made),
        cmocka_unit_test(a_model_that_writes_on_allocates_nothing),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
