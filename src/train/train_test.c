/* Problems whose steps can be worked out by hand. */
#include "sightglass/train.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"

typedef struct fixture {
    sg_graph *g;
    sg_state *state;
    sg_value *step, *lr, *w, *loss, *update;
} fixture;

/* loss = (w - 3)^2 from w = 0, by sgd: w' = w + 2 lr (3 - w).  Or by Adam. */
static fixture parabola(bool adam, double times)
{
    fixture f = {.g = sg_graph_new()};
    sg_error err;
    f.step = sg_input(f.g, "step", SG_I32, 0, NULL);
    f.lr = sg_input(f.g, "lr", SG_F32, 0, NULL);
    f.w = sg_variable(f.g, "w", SG_F32, 0, NULL, sg_init_constant(0));
    f.loss = sg_mul_scalar(f.g, sg_square(f.g, sg_add_scalar(f.g, f.w, -3)), times);
    if (adam)
        sg_train_adam(f.g, f.loss, 1, &f.w, f.lr, f.step, sg_adam_defaults(), &f.update);
    else
        f.update = sg_sgd(f.g, f.w, sg_grad(f.g, f.loss, f.w), f.lr);
    CHECK_OK(sg_graph_status(f.g, &err), &err);
    CHECK_OK(sg_state_new(&f.state, f.g, &err), &err);
    CHECK_OK(sg_state_init(f.state, 0, &err), &err);
    return f;
}

static sg_train *training(const fixture *f, sg_train_opts opts)
{
    sg_train *t;
    sg_error err;
    const sg_train_graph what = {.step = f->step, .lr = f->lr, .loss = f->loss, .n_updates = 1, .updates = &f->update};
    CHECK_OK(sg_train_new(&t, f->g, f->state, what, opts, &err), &err);
    return t;
}

static void end(fixture *f, sg_train *t)
{
    sg_train_free(t);
    sg_state_free(f->state);
    sg_graph_free(f->g);
}

static double w_of(const fixture *f)
{
    return sg_tensor_get(sg_state_tensor(f->state, f->w), 0);
}

/* 3 - w shrinks by 1 - 2 lr in each step: 3 * .8^10 is left after ten at .1, then .6^2 of it after two at .2. */
static void sgd_goes_down_a_parabola_as_arithmetic_says(void **state)
{
    (void)state;
    fixture f = parabola(false, 1);
    sg_train_opts opts = sg_train_defaults();
    opts.lr = 0.1;
    sg_train *t = training(&f, opts);
    sg_error err;
    CHECK(isnan(sg_train_loss(t)));
    CHECK_OK(sg_train_run(t, 10, &err), &err);
    CHECK_NEAR(w_of(&f), 3 - 3 * pow(0.8, 10), 1e-5, 0);
    CHECK_NEAR(sg_train_loss(t), 9 * pow(0.8, 18), 1e-5, 0); /* of the tenth step, before its update */
    sg_train_set_lr(t, 0.2);
    CHECK_OK(sg_train_run(t, 2, &err), &err);
    CHECK(sg_train_step(t) == 12);
    CHECK_NEAR(w_of(&f), 3 - 3 * pow(0.8, 10) * 0.36, 1e-5, 0);
    end(&f, t);
}

/* Adam's first step is lr whatever the size of the gradient (Kingma & Ba 2015, section 2.1), which holds only if the
 * step it is told counts from 1. */
static void adam_begins_with_a_step_of_the_rate(void **state)
{
    (void)state;
    for (double times = 1e-2; times <= 1e2; times *= 100) {
        fixture f = parabola(true, times);
        sg_train_opts opts = sg_train_defaults();
        opts.lr = 0.05;
        sg_train *t = training(&f, opts);
        sg_error err;
        CHECK_OK(sg_train_run(t, 1, &err), &err);
        CHECK_NEAR(w_of(&f), 0.05, 1e-6, 0);
        end(&f, t);
    }
}

static void a_run_in_two_parts_is_one_run(void **state)
{
    (void)state;
    double w[2];
    for (int i = 0; i < 2; i++) {
        fixture f = parabola(true, 1);
        sg_train *t = training(&f, sg_train_defaults());
        sg_error err;
        CHECK_OK(sg_train_run(t, i ? 50 : 20, &err), &err);
        CHECK_OK(sg_train_run(t, i ? 0 : 30, &err), &err);
        w[i] = w_of(&f);
        end(&f, t);
    }
    CHECK(w[0] == w[1]);
}

static void note(void *context, const sg_train_progress *at)
{
    double *steps = context;
    for (int i = 0; i < 4; i++)
        if (steps[i] == 0) {
            steps[i] = (double)at->step;
            break;
        }
    CHECK(at->n_steps == 25 && isfinite(at->loss) && at->seconds >= 0 && at->seconds_left >= 0);
}

static void progress_is_told_every_so_often_and_at_the_end(void **state)
{
    (void)state;
    fixture f = parabola(false, 1);
    double steps[4] = {0};
    sg_train_opts opts = sg_train_defaults();
    opts.read_every = 10;
    opts.progress = note;
    opts.context = steps;
    sg_train *t = training(&f, opts);
    sg_error err;
    CHECK_OK(sg_train_run(t, 25, &err), &err);
    CHECK(steps[0] == 10 && steps[1] == 20 && steps[2] == 25 && steps[3] == 0);
    end(&f, t);
}

static volatile sig_atomic_t stop;

static void stop_now(void *context, const sg_train_progress *at)
{
    (void)context;
    (void)at;
    stop = 1;
}

static void training_stops_when_asked(void **state)
{
    (void)state;
    fixture f = parabola(false, 1);
    sg_train_opts opts = sg_train_defaults();
    opts.read_every = 10;
    opts.progress = stop_now;
    opts.cancel = &stop;
    sg_train *t = training(&f, opts);
    sg_error err;
    CHECK_STATUS(sg_train_run(t, 1000, &err), SG_ECANCELLED);
    CHECK_TEXT(err.text, "step 10");
    CHECK(sg_train_step(t) == 10);
    end(&f, t);
}

/* A rate of 2 makes the error grow threefold in each step, so f32 overflows soon. */
static void a_loss_that_is_not_finite_ends_the_run_and_says_where(void **state)
{
    (void)state;
    fixture f = parabola(false, 1);
    sg_train_opts opts = sg_train_defaults();
    opts.lr = 2;
    opts.read_every = 1;
    sg_train *t = training(&f, opts);
    sg_error err;
    CHECK_STATUS(sg_train_run(t, 1000, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "at step 4"); /* 9 * 3^(2n) > 3.4e38 at n = 40 */
    end(&f, t);
}

static void what_cannot_be_trained_is_refused(void **state)
{
    (void)state;
    fixture f = parabola(false, 1);
    sg_train *t = NULL;
    sg_error err;
    sg_train_graph what = {.step = f.lr, .lr = f.lr, .loss = f.loss, .n_updates = 1, .updates = &f.update};
    CHECK_STATUS(sg_train_new(&t, f.g, f.state, what, sg_train_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "i32");
    what = (sg_train_graph){.step = f.step, .lr = f.lr, .loss = f.loss};
    CHECK_STATUS(sg_train_new(&t, f.g, f.state, what, sg_train_defaults(), &err), SG_EARG);
    CHECK(t == NULL);
    end(&f, NULL);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    fixture f = parabola(true, 1);
    const sg_train_graph what = {.step = f.step, .lr = f.lr, .loss = f.loss, .n_updates = 1, .updates = &f.update};
    sg_train_opts opts = sg_train_defaults();
    opts.exec.n_threads = 1;
    sg_error err;
    for (long n = 0;; n++) {
        sg_train *t = NULL;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_train_new(&t, f.g, f.state, what, opts, &err);
        if (status == SG_OK)
            status = sg_train_run(t, 2, &err);
        const bool fired = sg_faults_end();
        sg_train_free(t);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM);
    }
    end(&f, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_goes_down_a_parabola_as_arithmetic_says),
        cmocka_unit_test(adam_begins_with_a_step_of_the_rate),
        cmocka_unit_test(a_run_in_two_parts_is_one_run),
        cmocka_unit_test(progress_is_told_every_so_often_and_at_the_end),
        cmocka_unit_test(training_stops_when_asked),
        cmocka_unit_test(a_loss_that_is_not_finite_ends_the_run_and_says_where),
        cmocka_unit_test(what_cannot_be_trained_is_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
