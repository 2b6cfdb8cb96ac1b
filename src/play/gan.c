/* The life of a GAN, its iterations, and slow motion, which is an iteration in ten calls: what they learn from and in
 * which order is the same, so the bytes are too. */
#include "sightglass/gan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "play/gan_internal.h"

sg_gan_opts sg_gan_defaults(void)
{
    return (sg_gan_opts){.shape = SG_GAN_GAUSSIANS,
                         .noise = SG_GAN_2D_UNIFORM,
                         .loss = SG_GAN_LOG,
                         .net = {[SG_GAN_D] = {.n_layers = 1, .n_units = 8, .k = 2, .rule = SG_GAN_SGD, .rate = 0.1},
                                 [SG_GAN_G] = {.n_layers = 1, .n_units = 8, .k = 1, .rule = SG_GAN_SGD, .rate = 0.1}}};
}

const char *sg_gan_shape_name(sg_gan_shape shape)
{
    static const char *const name[SG_N_GAN_SHAPES] = {"line", "gaussians", "ring", "disjoint", "drawing"};
    return name[shape];
}

const char *sg_gan_noise_name(sg_gan_noise noise)
{
    static const char *const name[SG_N_GAN_NOISES] = {"1D Uniform", "1D Gaussian", "2D Uniform", "2D Gaussian"};
    return name[noise];
}

const char *sg_gan_loss_name(sg_gan_loss loss)
{
    static const char *const name[SG_N_GAN_LOSSES] = {"Log loss", "LeastSq loss"};
    return name[loss];
}

const char *sg_gan_rule_name(sg_gan_rule rule)
{
    static const char *const name[SG_N_GAN_RULES] = {"SGD", "Adam"};
    return name[rule];
}

int sg_gan_noise_dims(sg_gan_noise noise)
{
    return noise == SG_GAN_1D_UNIFORM || noise == SG_GAN_1D_NORMAL ? 1 : 2;
}

/* ---- options ---- */

static const char *const net_name[SG_N_GAN_NETS] = {"discriminator", "generator"};

static sg_status check_whole(const char *net, const char *what, int x, int least, int most, sg_error *err)
{
    if (x >= least && x <= most)
        return SG_OK;
    return sg_fail(err, SG_EARG, "gan: %s: %d %s, wanted %d to %d", net, x, what, least, most);
}

static sg_status check_rule(sg_gan_net net, sg_gan_rule rule, double rate, sg_error *err)
{
    if ((unsigned)rule >= SG_N_GAN_RULES)
        return sg_fail(err, SG_EARG, "gan: %s: no rule has number %d", net_name[net], (int)rule);
    if (!(rate > 0 && rate <= 100))
        return sg_fail(err, SG_EARG, "gan: %s: the rate is %g, wanted more than 0, at most 100", net_name[net], rate);
    return SG_OK;
}

static sg_status check_strokes(const sg_gan_opts *o, sg_error *err)
{
    if (o->n_strokes < 1 || o->n_strokes > SG_GAN_MOST_STROKES || !o->strokes)
        return sg_fail(err, SG_EARG, "gan: a drawing of %d points, wanted 1 to %d", o->n_strokes, SG_GAN_MOST_STROKES);
    for (int i = 0; i < 2 * o->n_strokes; i++)
        if (!(o->strokes[i] >= 0 && o->strokes[i] <= 1))
            return sg_fail(err, SG_EARG, "gan: point %d of the drawing has %g, which lies outside the unit square",
                           i / 2, (double)o->strokes[i]);
    return SG_OK;
}

static sg_status check(const sg_gan_opts *o, sg_error *err)
{
    if ((unsigned)o->shape >= SG_N_GAN_SHAPES || (unsigned)o->noise >= SG_N_GAN_NOISES ||
        (unsigned)o->loss >= SG_N_GAN_LOSSES)
        return sg_fail(err, SG_EARG, "gan: shape %d, noise %d, loss %d: there is no such", (int)o->shape, (int)o->noise,
                       (int)o->loss);
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        const sg_gan_net_opts *n = &o->net[net];
        SG_TRY(check_whole(net_name[net], "more hidden layers", n->n_layers, 0, SG_GAN_MOST_LAYERS, err));
        SG_TRY(check_whole(net_name[net], "units in a layer", n->n_units, 1, SG_GAN_MOST_UNITS, err));
        SG_TRY(check_whole(net_name[net], "updates in an iteration", n->k, 0, SG_GAN_MOST_K, err));
        SG_TRY(check_rule((sg_gan_net)net, n->rule, n->rate, err));
    }
    return o->shape == SG_GAN_DRAWING ? check_strokes(o, err) : SG_OK;
}

sg_status sg_gan_set_rule(sg_gan *gan, sg_gan_net net, sg_gan_rule rule, double rate, sg_error *err)
{
    SG_TRY(check_rule(net, rule, rate, err));
    gan->opts.net[net].rule = rule;
    gan->opts.net[net].rate = rate;
    gan_fresh_moments(gan, net);
    return SG_OK;
}

sg_status sg_gan_set_k(sg_gan *gan, sg_gan_net net, int k, sg_error *err)
{
    SG_TRY(check_whole(net_name[net], "updates in an iteration", k, 0, SG_GAN_MOST_K, err));
    gan->opts.net[net].k = k;
    return SG_OK;
}

void sg_gan_set_loss(sg_gan *gan, sg_gan_loss loss)
{
    SG_ASSERT((unsigned)loss < SG_N_GAN_LOSSES);
    gan->opts.loss = loss;
}

/* ---- life ---- */

static sg_status make(sg_gan *gan, sg_error *err)
{
    const sg_gan_opts *o = &gan->opts;
    const size_t n = SG_GAN_ATLAS, dims = (size_t)sg_gan_noise_dims(o->noise);
    if (o->shape == SG_GAN_DRAWING) {
        gan->strokes = malloc((size_t)o->n_strokes * 2 * sizeof *gan->strokes);
        if (!gan->strokes)
            return sg_fail(err, SG_ENOMEM, "gan: out of memory");
        memcpy(gan->strokes, o->strokes, (size_t)o->n_strokes * 2 * sizeof *gan->strokes);
    } else {
        gan->opts.n_strokes = 0;
    }
    gan->opts.strokes = gan->strokes;
    gan->real = malloc(n * 2 * sizeof *gan->real);
    gan->noise = malloc(n * dims * sizeof *gan->noise);
    gan->g = sg_graph_new();
    if (!gan->real || !gan->noise || !gan->g)
        return sg_fail(err, SG_ENOMEM, "gan: out of memory");
    gan_sample_real(gan->real, SG_GAN_ATLAS, o);
    gan_sample_noise(gan->noise, SG_GAN_ATLAS, o->noise, o->seed);
    SG_TRY(gan_build(&gan->v, gan->g, o, err));
    SG_TRY(sg_state_new(&gan->state, gan->g, err));
    SG_TRY(sg_state_init(gan->state, o->seed, err));
    sg_exec_opts exec = sg_exec_defaults();
    exec.backends = NULL;
    exec.n_backends = 0;
    exec.n_threads = 1;
    return sg_session_new(&gan->session, gan->g, gan->state, exec, err);
}

sg_status sg_gan_new(sg_gan **out, const sg_gan_opts *opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(opts, err));
    sg_gan *gan = calloc(1, sizeof *gan);
    if (!gan)
        return sg_fail(err, SG_ENOMEM, "gan: out of memory");
    gan->opts = *opts;
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        gan->cost[net] = gan->view.cost[net] = gan->view.bar[net] = gan->view.norm[net] = (double)NAN;
    const sg_status status = make(gan, err);
    if (status != SG_OK) {
        sg_gan_free(gan);
        return status;
    }
    *out = gan;
    return SG_OK;
}

void sg_gan_free(sg_gan *gan)
{
    if (!gan)
        return;
    sg_session_free(gan->session);
    sg_state_free(gan->state);
    sg_graph_free(gan->g);
    free(gan->strokes);
    free(gan->real);
    free(gan->noise);
    free(gan);
}

const sg_gan_opts *sg_gan_options(const sg_gan *gan)
{
    return &gan->opts;
}

sg_dim sg_gan_iteration(const sg_gan *gan)
{
    return gan->iteration;
}

const float *sg_gan_real(const sg_gan *gan)
{
    return gan->real;
}

const float *sg_gan_noise_of(const sg_gan *gan)
{
    return gan->noise;
}

sg_dim sg_gan_updates(const sg_gan *gan, sg_gan_net net)
{
    return gan->updates[net];
}

const sg_graph *sg_gan_graph(const sg_gan *gan)
{
    return gan->g;
}

sg_state *sg_gan_state(sg_gan *gan)
{
    return gan->state;
}

/* ---- iterations ---- */

static sg_status begin(sg_gan *gan, sg_error *err)
{
    if (gan->iteration >= SG_GAN_LAST)
        return sg_fail(err, SG_EARG, "gan: iteration %d is the last", SG_GAN_LAST);
    gan->iteration++;
    return SG_OK;
}

static sg_status learn(sg_gan *gan, sg_gan_net net, int times, sg_error *err)
{
    for (int i = 0; i < times; i++)
        SG_TRY(gan_update(gan, net, err));
    return SG_OK;
}

/* ---- slow motion ---- */

static sg_status take_stage(sg_gan *gan, sg_gan_stage stage, sg_error *err)
{
    const sg_gan_net net = stage < SG_GAN_G_SAMPLES ? SG_GAN_D : SG_GAN_G;
    const int k = gan->opts.net[net].k;
    switch (stage) {
    case SG_GAN_D_SAMPLES:
        SG_TRY(begin(gan, err));
        return sg_gan_look(gan, SG_GAN_SEE_SAMPLES, err);
    case SG_GAN_G_SAMPLES:
        return sg_gan_look(gan, SG_GAN_SEE_SAMPLES, err);
    case SG_GAN_D_PREDICTIONS:
    case SG_GAN_G_PREDICTIONS:
        return sg_gan_look(gan, SG_GAN_SEE_PREDICTIONS, err);
    case SG_GAN_D_LOSS:
    case SG_GAN_G_LOSS:
        if (k > 0)
            SG_TRY(gan_peek(gan, net, &gan->cost[net], NULL, err));
        return sg_gan_look(gan, 0, err);
    case SG_GAN_D_GRADIENTS:
    case SG_GAN_G_GRADIENTS:
        if (k > 0)
            SG_TRY(gan_peek(gan, net, NULL, &gan->view.norm[net], err));
        return sg_gan_look(gan, net == SG_GAN_G ? SG_GAN_SEE_ARROWS : 0, err);
    case SG_GAN_D_UPDATE:
        SG_TRY(learn(gan, net, k, err));
        return sg_gan_look(gan, SG_GAN_SEE_FIELD | SG_GAN_SEE_PREDICTIONS, err);
    default:
        SG_TRY(learn(gan, net, k, err));
        return sg_gan_look(gan, SG_GAN_SEE_ALL, err);
    }
}

sg_status sg_gan_slow(sg_gan *gan, sg_gan_stage *done, sg_error *err)
{
    const sg_gan_stage stage = (sg_gan_stage)gan->stage;
    SG_TRY(take_stage(gan, stage, err));
    gan->stage = (gan->stage + 1) % SG_N_GAN_STAGES;
    *done = stage;
    return SG_OK;
}

sg_status sg_gan_step(sg_gan *gan, sg_gan_part part, sg_error *err)
{
    const sg_gan_net_opts *o = gan->opts.net;
    if (gan->stage > 0) { /* only updates matter now */
        const int at = gan->stage;
        gan->stage = 0;
        if (at <= SG_GAN_D_UPDATE)
            SG_TRY(learn(gan, SG_GAN_D, o[SG_GAN_D].k, err));
        return learn(gan, SG_GAN_G, o[SG_GAN_G].k, err);
    }
    SG_TRY(begin(gan, err));
    SG_TRY(learn(gan, SG_GAN_D, part == SG_GAN_BOTH ? o[SG_GAN_D].k : part == SG_GAN_ONE_D, err));
    return learn(gan, SG_GAN_G, part == SG_GAN_BOTH ? o[SG_GAN_G].k : part == SG_GAN_ONE_G, err);
}
