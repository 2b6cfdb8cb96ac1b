/* Updates of a small regression, against the same arithmetic in double. */
#include "sightglass/update.h"

#include <stdatomic.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/rng.h"
#include "sightglass/train.h"

enum { D = 3, P = D + 1, ROWS = 12, STEPS = 7 };
static const double lr = 0.05;

/* Row r of endless data: D numbers, what is to be predicted, and whether the row counts (two in three do). */
static void row(sg_dim r, double *x, double *y, bool *counts)
{
    sg_rng g = sg_rng_new(7, (uint32_t)r);
    for (int d = 0; d < D; d++)
        x[d] = sg_rng_normal(&g);
    *y = x[0] - 2 * x[1] + 0.1 * sg_rng_normal(&g);
    *counts = r % 3 != 1;
}

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    const sg_dim rows = field[0].dims[0];
    if (self && i >= *(sg_dim *)self)
        return sg_fail(err, SG_EIO, "batch %lld cannot be read", (long long)i);
    for (sg_dim r = 0; r < rows; r++) {
        double x[D], y;
        bool counts;
        row(i * rows + r, x, &y, &counts);
        for (int d = 0; d < D; d++)
            sg_tensor_set(&field[0], r * D + d, x[d]);
        sg_tensor_set(&field[1], r, y);
        sg_tensor_set(&field[2], r, counts);
    }
    return SG_OK;
}

typedef struct fixture {
    sg_graph *g;
    sg_state *state;
    sg_value *w, *b;
    sg_updates *updates;
    sg_source source;
    sg_train *t;
} fixture;

/* loss = mean of (w x + b - y)^2 over the rows that count */
static void begin(fixture *f, sg_update_opts opts)
{
    sg_graph *g = f->g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), n = ROWS / opts.n_batches;
    sg_error err;
    sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *rate = sg_input(g, "lr", SG_F32, 0, NULL);
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){batch, D}), *y = sg_input(g, "y", SG_F32, 1, &batch);
    sg_value *counts = sg_input(g, "counts", SG_F32, 1, &batch);
    f->w = sg_variable(g, "w", SG_F32, 2, (sg_dim[]){1, D}, sg_init_constant(0.5));
    f->b = sg_variable(g, "b", SG_F32, 1, (sg_dim[]){1}, sg_init_constant(0.5));
    sg_value *error = sg_sub(g, sg_squeeze(g, sg_linear(g, x, f->w, f->b), 1), y);
    sg_value *weight = sg_sum_all(g, counts);
    sg_value *loss = sg_div(g, sg_sum_all(g, sg_mul(g, counts, sg_square(g, error))), weight);
    sg_value *params[2] = {f->w, f->b}, *inputs[3] = {x, y, counts};
    CHECK_OK(sg_updates_new(&f->updates, g, loss, weight, 2, params, rate, step, opts, &err), &err);
    CHECK_OK(sg_state_new(&f->state, g, &err), &err);
    CHECK_OK(sg_state_init(f->state, 0, &err), &err);
    f->source.n_fields = 3;
    f->source.field[0] = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, D}, NULL);
    f->source.field[1] = f->source.field[2] = sg_tensor_of(SG_F32, 1, &n, NULL);
    f->source.fill = fill;
    sg_train_opts how = sg_train_defaults();
    how.lr = lr;
    how.source = &f->source;
    how.read_every = 1;
    const sg_train_graph what = {
        .step = step, .lr = rate, .loss = loss, .made = f->updates, .weight = weight, .n_inputs = 3, .inputs = inputs};
    CHECK_OK(sg_train_new(&f->t, g, f->state, what, how, &err), &err);
}

static void end(fixture *f)
{
    sg_train_free(f->t);
    sg_updates_free(f->updates);
    sg_state_free(f->state);
    sg_graph_free(f->g);
    *f = (fixture){0};
}

static void run(fixture *f, sg_dim n)
{
    sg_error err;
    CHECK_OK(sg_train_run(f->t, n, &err), &err);
}

/* All P parameters, of the weights themselves or of what lies beside them under a name. */
static void numbers(const fixture *f, const char *beside, double *out)
{
    for (int i = 0; i < P; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s%s", beside, i < D ? "w" : "b");
        const sg_value *v = sg_graph_find(f->g, name);
        CHECK(v != NULL);
        out[i] = sg_tensor_get(sg_state_tensor(f->state, v), i < D ? i : 0);
    }
}

/* The same training by plain loops in double: Kingma & Ba's algorithm 1, Loshchilov & Hutter's decay, our average. */
static double reference(double *p, double *average, const sg_update_opts *o, sg_dim steps)
{
    double m[P] = {0}, v[P] = {0}, norm = 0;
    for (int i = 0; i < P; i++)
        p[i] = 0.5;
    for (sg_dim s = 0; s < steps; s++) {
        double grad[P] = {0}, n = 0, squares = 0;
        for (sg_dim r = s * ROWS; r < (s + 1) * ROWS; r++) {
            double x[P], y;
            bool counts;
            row(r, x, &y, &counts);
            x[D] = 1;
            double error = -y;
            for (int i = 0; i < P; i++)
                error += p[i] * x[i];
            for (int i = 0; i < P && counts; i++)
                grad[i] += 2 * error * x[i];
            n += counts;
        }
        for (int i = 0; i < P; i++) {
            grad[i] /= n;
            squares += grad[i] * grad[i];
        }
        norm = sqrt(squares);
        for (int i = 0; i < P; i++) {
            const double g = grad[i] * fmin(1, o->clip / norm), t = (double)s + 1;
            const double decay = o->decays && !o->decays[i < D ? 0 : 1] ? 0 : o->adam.weight_decay;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            p[i] -= lr * decay * p[i] + lr * m[i] / (1 - pow(0.9, t)) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
            const double keep = fmin(o->average, (double)s / ((double)s + 1));
            average[i] = keep * average[i] + (1 - keep) * p[i];
        }
    }
    return norm;
}

static void expect(sg_update_opts opts, double tolerance)
{
    double p[P], average[P] = {0}, got[P];
    fixture f = {0};
    const double norm = reference(p, average, &opts, STEPS);
    begin(&f, opts);
    run(&f, STEPS);
    numbers(&f, "", got);
    for (int i = 0; i < P; i++)
        CHECK_NEAR(got[i], p[i], tolerance, 0);
    if (opts.average > 0) {
        numbers(&f, "average.", got);
        for (int i = 0; i < P; i++)
            CHECK_NEAR(got[i], average[i], tolerance, 0);
    }
    CHECK(norm > 0.1);
    end(&f);
}

static void steps_are_those_of_the_papers(void **state)
{
    (void)state;
    expect(sg_update_defaults(), 1e-5);
}

static void a_mask_says_what_decays(void **state)
{
    (void)state;
    sg_update_opts opts = sg_update_defaults();
    opts.adam.weight_decay = 2;
    expect(opts, 1e-5);
    opts.decays = (const bool[]){true, false};
    expect(opts, 1e-5);
    opts.decays = (const bool[]){false, true};
    expect(opts, 1e-5);
}

/* Adam is blind to a constant factor, so the bound is one that bites at some steps only. */
static void long_gradients_are_bounded(void **state)
{
    (void)state;
    sg_update_opts opts = sg_update_defaults();
    for (double clip = 1e-3; clip < 1e3; clip *= 30) {
        opts.clip = clip;
        expect(opts, 1e-5);
    }
}

static void averages_are_means_at_first_and_running_then(void **state)
{
    (void)state;
    sg_update_opts opts = sg_update_defaults();
    opts.average = 0.99; /* all steps of the test: the mean */
    expect(opts, 1e-5);
    opts.average = 0.5;
    expect(opts, 1e-5);
}

/* The rows that count are spread unevenly over the batches of three and four rows. */
static void several_batches_are_one_large_one(void **state)
{
    (void)state;
    sg_update_opts opts = sg_update_defaults();
    opts.clip = 1;
    opts.average = 0.6;
    opts.adam.weight_decay = 0.5;
    for (sg_dim n = 1; n <= 12; n++) {
        opts.n_batches = n;
        if (ROWS % n == 0 && ROWS / n > 1) /* a batch of one may have no row that counts */
            expect(opts, 1e-5);
    }
}

static atomic_bool armed;

static sg_status stopping_fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    if (i == *(sg_dim *)self && atomic_exchange(&armed, false))
        return sg_fail(err, SG_ECANCELLED, "the source was asked to stop");
    return fill(NULL, i, field, err);
}

/* Stopped between the batches of a step, then run on: the begun step counts for nothing. */
static void a_step_that_was_broken_off_is_done_again(void **state)
{
    (void)state;
    sg_update_opts opts = sg_update_defaults();
    opts.n_batches = 4;
    double want[P], got[P];
    fixture f = {0};
    begin(&f, opts);
    run(&f, 6);
    numbers(&f, "", want);
    end(&f);
    for (sg_dim at = 9; at < 14; at++) {
        sg_error err;
        armed = true;
        begin(&f, opts);
        f.source.fill = stopping_fill;
        f.source.self = &at;
        CHECK_STATUS(sg_train_run(f.t, 6, &err), SG_ECANCELLED);
        const sg_dim done = sg_train_step(f.t);
        CHECK(done == at / 4);
        run(&f, 6 - done);
        numbers(&f, "", got);
        CHECK(memcmp(want, got, sizeof want) == 0);
        end(&f);
    }
}

static void a_source_that_fails_ends_the_run_where_it_is(void **state)
{
    (void)state;
    sg_dim n = 3;
    fixture f = {0};
    sg_error err;
    begin(&f, sg_update_defaults());
    f.source.self = &n;
    CHECK_STATUS(sg_train_run(f.t, 6, &err), SG_EIO);
    CHECK_TEXT(err.text, "batch 3 cannot be read");
    CHECK(sg_train_step(f.t) == 3);
    end(&f);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sg_updates *u = NULL;
    sg_error err;
    fixture f = {0};
    begin(&f, sg_update_defaults());
    sg_value *loss = sg_scalar(f.g, SG_F32, 1), *step = sg_graph_find(f.g, "step"), *rate = sg_graph_find(f.g, "lr");
    sg_update_opts opts = sg_update_defaults();
    opts.clip = 0;
    CHECK_STATUS(sg_updates_new(&u, f.g, loss, NULL, 1, &f.w, rate, step, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "clip is 0");
    opts = sg_update_defaults();
    opts.average = 1;
    CHECK_STATUS(sg_updates_new(&u, f.g, loss, NULL, 1, &f.w, rate, step, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "average is 1");
    opts = sg_update_defaults();
    CHECK_STATUS(sg_updates_new(&u, f.g, loss, NULL, 0, NULL, rate, step, opts, &err), SG_EARG);
    CHECK(u == NULL);

    sg_train *t = NULL;
    sg_train_opts how = sg_train_defaults();
    how.source = &f.source;
    sg_value *inputs[3] = {f.w, f.w, f.w};
    sg_train_graph what = {.step = step, .lr = rate, .loss = loss, .made = f.updates, .n_inputs = 2, .inputs = inputs};
    CHECK_STATUS(sg_train_new(&t, f.g, f.state, what, how, &err), SG_EARG);
    CHECK_TEXT(err.text, "2 inputs, the source has 3");
    what.n_inputs = 3;
    CHECK_STATUS(sg_train_new(&t, f.g, f.state, what, how, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "[12,3]");
    CHECK(t == NULL);
    end(&f);
}

static void memory_is_known_before_anything_runs(void **state)
{
    (void)state;
    fixture f = {0};
    sg_train_memory memory;
    sg_error err;
    begin(&f, sg_update_defaults());
    CHECK_OK(sg_train_plan_memory(f.t, &memory, &err), &err);
    CHECK(sg_train_plan(f.t) == NULL && memory.batches == 2 * (D + 2) * ROWS * sizeof(float));
    run(&f, 2);
    CHECK(memory.blocks == sg_plan_bytes(sg_train_plan(f.t)));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_the_papers),
        cmocka_unit_test(a_mask_says_what_decays),
        cmocka_unit_test(long_gradients_are_bounded),
        cmocka_unit_test(averages_are_means_at_first_and_running_then),
        cmocka_unit_test(several_batches_are_one_large_one),
        cmocka_unit_test(a_step_that_was_broken_off_is_done_again),
        cmocka_unit_test(a_source_that_fails_ends_the_run_where_it_is),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(memory_is_known_before_anything_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
