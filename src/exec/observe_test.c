/* Observed runs: each fetch is told once, with the numbers that it keeps, while later steps are still to come. */
#include "check.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

#define N 16
enum { LAYERS = 4, FETCHES = LAYERS + 3 };

typedef struct seen {
    int n, order[FETCHES];
    float sum[FETCHES];
} seen;

static float sum_of(const sg_tensor *t)
{
    float sum = 0;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        sum += ((const float *)t->data)[i];
    return sum;
}

static void on_value(void *context, int fetch, const sg_tensor *value)
{
    seen *s = context;
    CHECK(s->n < FETCHES);
    s->order[s->n++] = fetch;
    s->sum[fetch] = sum_of(value);
}

typedef struct fixture {
    sg_graph *g;
    sg_state *state;
    sg_plan *plan;
    sg_run *run;
    float x[N * N];
    sg_tensor fed;
} fixture;

/* Layers in a row. Fetched are the gradients of their weights, put into variables, the last layer's first as the
 * backward pass goes; a view of the last layer; x itself; the loss. */
static fixture make(bool fuse)
{
    static const sg_dim dims[2] = {N, N};
    fixture f = {.g = sg_graph_new()};
    sg_error err;
    sg_value *x = sg_input(f.g, "x", SG_F32, 2, dims), *h = x, *w[LAYERS], *sums[LAYERS], *fetches[FETCHES];
    for (int l = LAYERS - 1; l >= 0; l--) {
        char name[20];
        snprintf(name, sizeof name, "w%d", l);
        w[l] = sg_variable(f.g, name, SG_F32, 2, dims, sg_init_normal(0.3));
        snprintf(name, sizeof name, "sum%d", l);
        sums[l] = sg_variable(f.g, name, SG_F32, 2, dims, sg_init_constant(0));
        h = sg_tanh(f.g, sg_matmul(f.g, h, w[l], false, false));
    }
    sg_value *loss = sg_mean_all(f.g, sg_square(f.g, h));
    sg_gradients(f.g, loss, NULL, LAYERS, w, fetches);
    for (int l = 0; l < LAYERS; l++)
        fetches[l] = sg_assign(f.g, sums[l], fetches[l]);
    fetches[LAYERS] = sg_reshape(f.g, h, 1, (sg_dim[]){N * N});
    fetches[LAYERS + 1] = x;
    fetches[LAYERS + 2] = loss;
    CHECK_OK(sg_graph_status(f.g, &err), &err);
    CHECK_OK(sg_state_new(&f.state, f.g, &err), &err);
    CHECK_OK(sg_state_init(f.state, 3, &err), &err);
    sg_exec_opts opts = sg_exec_defaults();
    opts.fuse = fuse;
    opts.n_threads = 1;
    CHECK_OK(sg_plan_new(&f.plan, f.g, 1, &x, FETCHES, fetches, 0, NULL, opts, &err), &err);
    CHECK_OK(sg_run_new(&f.run, f.plan, f.state, &err), &err);
    for (int i = 0; i < N * N; i++)
        f.x[i] = (float)(i % 7) * 0.1f;
    return f;
}

static void end(fixture *f)
{
    sg_run_free(f->run);
    sg_plan_free(f->plan);
    sg_state_free(f->state);
    sg_graph_free(f->g);
}

static void execute(fixture *f)
{
    sg_error err;
    f->fed = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, N}, f->x);
    CHECK_OK(sg_run_feed(f->run, 0, &f->fed, &err), &err);
    CHECK_OK(sg_run_execute(f->run, &err), &err);
}

static int place(const seen *s, int fetch)
{
    for (int i = 0; i < s->n; i++)
        if (s->order[i] == fetch)
            return i;
    fail_msg("fetch %d was not told", fetch);
    return -1;
}

static void fetches_are_told_when_they_are_final(void **state)
{
    (void)state;
    for (int fuse = 0; fuse < 2; fuse++) {
        fixture f = make(fuse);
        for (int round = 0; round < 2; round++) {
            seen s = {0};
            sg_run_observe(f.run, on_value, &s);
            execute(&f);
            CHECK(s.n == FETCHES);
            for (int i = 0; i < FETCHES; i++)
                CHECK(s.sum[i] == sum_of(sg_run_fetch(f.run, i))); /* nothing changed it afterwards */
            CHECK(place(&s, LAYERS + 1) == 0);                     /* a feed is there before the first step */
            CHECK(place(&s, LAYERS) < place(&s, 0));               /* the last layer before its gradient */
            for (int l = 1; l < LAYERS; l++)
                CHECK(place(&s, l - 1) < place(&s, l));
        }
        sg_run_observe(f.run, NULL, NULL);
        execute(&f);
        end(&f);
    }
}

static void a_guarded_run_tells_too(void **state)
{
    (void)state;
    fixture f = make(false);
    seen s = {0};
    sg_error err;
    sg_run_observe(f.run, on_value, &s);
    sg_run_guard(f.run, true);
    execute(&f);
    CHECK(s.n == FETCHES);
    f.x[0] = nanf("");
    s = (seen){0};
    CHECK_STATUS(sg_run_execute(f.run, &err), SG_ENUMERIC);
    CHECK(s.n == 1); /* the feed; what failed is not told */
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_are_told_when_they_are_final),
        cmocka_unit_test(a_guarded_run_tells_too),
    };
    return cmocka_run_group_tests_name("exec/observe", tests, NULL, NULL);
}
