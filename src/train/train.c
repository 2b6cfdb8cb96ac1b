/* The loop. Two kinds of run share a session: steps whose loss is read and steps whose loss is not, so that reading it
 * costs only when it is done. */
#include "sightglass/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct sg_train {
    sg_arena *arena;
    sg_session *session;
    sg_train_graph what;
    sg_train_opts opts;
    sg_value **fetches; /* the updates, then the loss */
    sg_tensor *out;
    sg_dim step;
    double loss;
};

sg_train_opts sg_train_defaults(void)
{
    return (sg_train_opts){.lr = 1e-3, .read_every = 100, .exec = sg_exec_defaults()};
}

static sg_status check(const sg_train_graph *what, const sg_train_opts *opts, sg_error *err)
{
    if (!what->step || sg_value_dtype(what->step) != SG_I32 || sg_value_n_dims(what->step) != 0)
        return sg_fail(err, SG_EARG, "train: step wants to be an i32 scalar");
    if (what->lr && (sg_value_dtype(what->lr) != SG_F32 || sg_value_n_dims(what->lr) != 0))
        return sg_fail(err, SG_EARG, "train: lr wants to be an f32 scalar");
    if (!what->loss || sg_value_n_dims(what->loss) != 0)
        return sg_fail(err, SG_EARG, "train: the loss wants to be a scalar");
    if (what->n_updates < 1)
        return sg_fail(err, SG_EARG, "train: nothing is updated");
    if (opts->read_every < 1)
        return sg_fail(err, SG_EARG, "train: read_every is %" PRId64 ", wanted at least 1", opts->read_every);
    return SG_OK;
}

sg_status sg_train_new(sg_train **out, const sg_graph *g, sg_state *state, sg_train_graph what, sg_train_opts opts,
                       sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_graph_status(g, err));
    SG_TRY(check(&what, &opts, err));
    sg_arena *arena = sg_arena_new();
    sg_train *t = arena ? sg_arena_alloc(arena, sizeof *t) : NULL;
    const size_t n = (size_t)what.n_updates;
    if (t) {
        t->fetches = sg_arena_array(arena, n + 1, sizeof(sg_value *));
        t->out = sg_arena_array(arena, n + 1, sizeof(sg_tensor));
    }
    if (!t || !t->fetches || !t->out) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "train: out of memory");
    }
    memcpy(t->fetches, what.updates, n * sizeof(sg_value *));
    t->fetches[n] = what.loss;
    t->arena = arena;
    t->what = what;
    t->what.updates = t->fetches;
    t->opts = opts;
    t->loss = nan("");
    const sg_status status = sg_session_new(&t->session, g, state, opts.exec, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = t;
    return SG_OK;
}

void sg_train_free(sg_train *t)
{
    if (!t)
        return;
    sg_session_free(t->session);
    sg_arena_free(t->arena);
}

static sg_status one_step(sg_train *t, bool read, sg_error *err)
{
    if (t->step > INT32_MAX)
        return sg_fail(err, SG_EARG, "train: step %" PRId64 " does not fit an i32", t->step);
    int32_t step = (int32_t)t->step;
    float lr = (float)t->opts.lr;
    const sg_feed feeds[2] = {{t->what.step, sg_tensor_of(SG_I32, 0, NULL, &step)},
                              {t->what.lr, sg_tensor_of(SG_F32, 0, NULL, &lr)}};
    SG_TRY(sg_session_run(t->session, t->what.lr ? 2 : 1, feeds, t->what.n_updates + read, t->fetches, t->out, err));
    t->step++;
    if (!read)
        return SG_OK;
    t->loss = sg_tensor_get(&t->out[t->what.n_updates], 0);
    if (!isfinite(t->loss))
        return sg_fail(err, SG_ENUMERIC, "train: the loss is %g at step %" PRId64, t->loss, t->step - 1);
    return SG_OK;
}

sg_status sg_train_run(sg_train *t, sg_dim n_steps, sg_error *err)
{
    const double began = sg_now();
    for (sg_dim i = 1; i <= n_steps; i++) {
        if (t->opts.cancel && *t->opts.cancel)
            return sg_fail(err, SG_ECANCELLED, "train: stopped at step %" PRId64, t->step);
        const bool read = i == n_steps || i % t->opts.read_every == 0;
        SG_TRY(one_step(t, read, err));
        if (!read || !t->opts.progress)
            continue;
        const double seconds = sg_now() - began;
        const sg_train_progress at = {.step = i,
                                      .n_steps = n_steps,
                                      .loss = t->loss,
                                      .seconds = seconds,
                                      .seconds_left = seconds / (double)i * (double)(n_steps - i)};
        t->opts.progress(t->opts.context, &at);
    }
    return SG_OK;
}

void sg_train_set_lr(sg_train *t, double lr)
{
    t->opts.lr = lr;
}

sg_dim sg_train_step(const sg_train *t)
{
    return t->step;
}

double sg_train_loss(const sg_train *t)
{
    return t->loss;
}

const sg_plan *sg_train_plan(const sg_train *t)
{
    return sg_session_plan(t->session);
}

/* ---- building updates ---- */

static sg_value *moment(sg_graph *g, const char *kind, const sg_value *w)
{
    char name[256];
    snprintf(name, sizeof name, "adam.%s.%s", kind, sg_value_name(w));
    return sg_variable(g, name, sg_value_dtype(w), sg_value_n_dims(w), sg_value_dims(w), sg_init_constant(0));
}

void sg_train_adam(sg_graph *g, sg_value *loss, int n_params, sg_value *const *params, sg_value *lr, sg_value *step,
                   sg_adam_opts opts, sg_value **updates)
{
    sg_gradients(g, loss, NULL, n_params, params, updates);
    for (int i = 0; i < n_params; i++) {
        const sg_dtype dtype = sg_value_dtype(params[i]);
        sg_value *from_one = sg_add_scalar(g, sg_cast(g, step, dtype), 1);
        sg_value *rate = sg_value_dtype(lr) == dtype ? lr : sg_cast(g, lr, dtype);
        updates[i] = sg_adam(g, params[i], moment(g, "m", params[i]), moment(g, "v", params[i]), updates[i], rate,
                             from_one, opts);
    }
}
