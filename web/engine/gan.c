/* The GAN for a page. Options and numbers cross as lists of doubles, in the orders below; web/src/engine/gan.ts has the
 * same orders. Pictures cross by address. */
#include "sightglass/gan.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum { SHAPE, NOISE, LOSS, SEED, NETS, N_NET = 5, N_OPTIONS = NETS + 2 * N_NET };

static sg_gan_opts options_from(const double *x)
{
    sg_gan_opts o = {.shape = (sg_gan_shape)x[SHAPE],
                     .noise = (sg_gan_noise)x[NOISE],
                     .loss = (sg_gan_loss)x[LOSS],
                     .seed = (uint64_t)x[SEED]};
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        const double *n = x + NETS + net * N_NET;
        o.net[net] = (sg_gan_net_opts){(int)n[0], (int)n[1], (int)n[2], (sg_gan_rule)n[3], n[4]};
    }
    return o;
}

SG_EXPORT(sg_gan *, gan_new, const double *options, const float *strokes, int n_strokes)
{
    sg_gan *gan = NULL;
    sg_gan_opts o = options_from(options);
    o.strokes = strokes;
    o.n_strokes = n_strokes;
    return engine_result(sg_gan_new(&gan, &o, engine_error()), gan);
}

SG_EXPORT(void, gan_free, sg_gan *gan)
{
    sg_gan_free(gan);
}

/* The options it has now, until the next call. */
SG_EXPORT(const double *, gan_options, const sg_gan *gan)
{
    static double x[N_OPTIONS];
    const sg_gan_opts *o = sg_gan_options(gan);
    x[SHAPE] = o->shape;
    x[NOISE] = o->noise;
    x[LOSS] = o->loss;
    x[SEED] = (double)o->seed;
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        const sg_gan_net_opts *n = &o->net[net];
        memcpy(x + NETS + net * N_NET, (double[N_NET]){n->n_layers, n->n_units, n->k, n->rule, n->rate},
               N_NET * sizeof *x);
    }
    return x;
}

SG_EXPORT(const float *, gan_strokes, const sg_gan *gan)
{
    return sg_gan_options(gan)->strokes;
}

SG_EXPORT(int, gan_n_strokes, const sg_gan *gan)
{
    return sg_gan_options(gan)->n_strokes;
}

/* ---- training ---- */

SG_EXPORT(int, gan_step, sg_gan *gan, int part, int times)
{
    for (int i = 0; i < times; i++) {
        const sg_status status = sg_gan_step(gan, (sg_gan_part)part, engine_error());
        if (status != SG_OK)
            return (int)status;
    }
    return SG_OK;
}

/* The stage that was done; -1 after a failure. */
SG_EXPORT(int, gan_slow, sg_gan *gan)
{
    sg_gan_stage done;
    return sg_gan_slow(gan, &done, engine_error()) == SG_OK ? (int)done : -1;
}

SG_EXPORT(int, gan_set_rule, sg_gan *gan, int net, int rule, double rate)
{
    return (int)sg_gan_set_rule(gan, (sg_gan_net)net, (sg_gan_rule)rule, rate, engine_error());
}

SG_EXPORT(int, gan_set_k, sg_gan *gan, int net, int k)
{
    return (int)sg_gan_set_k(gan, (sg_gan_net)net, k, engine_error());
}

SG_EXPORT(void, gan_set_loss, sg_gan *gan, int loss)
{
    sg_gan_set_loss(gan, (sg_gan_loss)loss);
}

/* ---- looking ---- */

SG_EXPORT(int, gan_look, sg_gan *gan, int parts)
{
    return (int)sg_gan_look(gan, (unsigned)parts, engine_error());
}

/* fake, d_real, d_fake, arrow, field, manifold, area, opacity; then real and noise, the whole atlas. */
SG_EXPORT(const float *, gan_picture, const sg_gan *gan, int which)
{
    const sg_gan_view *v = sg_gan_view_of(gan);
    const float *const pictures[] = {v->fake[0],     v->d_real, v->d_fake,  v->arrow[0],      v->field[0],
                                     v->manifold[0], v->area,   v->opacity, sg_gan_real(gan), sg_gan_noise_of(gan)};
    return pictures[which];
}

/* iteration, cost, bar, norm (of D, G each), KL, JS, outside (real, fake), updates (D, G), until the next call. */
SG_EXPORT(const double *, gan_numbers, const sg_gan *gan)
{
    static double x[13];
    const sg_gan_view *v = sg_gan_view_of(gan);
    const double numbers[] = {(double)sg_gan_iteration(gan),
                              v->cost[0],
                              v->cost[1],
                              v->bar[0],
                              v->bar[1],
                              v->norm[0],
                              v->norm[1],
                              v->kl,
                              v->js,
                              v->outside_real,
                              v->outside_fake,
                              (double)sg_gan_updates(gan, SG_GAN_D),
                              (double)sg_gan_updates(gan, SG_GAN_G)};
    memcpy(x, numbers, sizeof numbers);
    return x;
}

SG_EXPORT(int, gan_generate, sg_gan *gan, float *x, const float *z, int n)
{
    return (int)sg_gan_generate(gan, x, z, n, engine_error());
}

SG_EXPORT(int, gan_judge, sg_gan *gan, float *d, float *arrows, const float *x, int n)
{
    return (int)sg_gan_judge(gan, d, arrows, x, n, engine_error());
}

/* The names of shapes, noises, losses and rules; 0 behind the last. */
SG_EXPORT(const char *, gan_name, int of, int i)
{
    switch (of) {
    case 0:
        return i < SG_N_GAN_SHAPES ? sg_gan_shape_name((sg_gan_shape)i) : NULL;
    case 1:
        return i < SG_N_GAN_NOISES ? sg_gan_noise_name((sg_gan_noise)i) : NULL;
    case 2:
        return i < SG_N_GAN_LOSSES ? sg_gan_loss_name((sg_gan_loss)i) : NULL;
    default:
        return i < SG_N_GAN_RULES ? sg_gan_rule_name((sg_gan_rule)i) : NULL;
    }
}

/* ---- model files, whose JSON the page has parsed ---- */

SG_EXPORT(sg_tfjs *, gan_file_new, const char *name)
{
    sg_tfjs *t = NULL;
    return engine_result(sg_tfjs_new(&t, name, engine_error()), t);
}

SG_EXPORT(void, gan_file_free, sg_tfjs *t)
{
    sg_tfjs_free(t);
}

SG_EXPORT(int, gan_file_fact, sg_tfjs *t, const char *key, const char *text)
{
    return (int)sg_tfjs_add_fact(t, key, text, engine_error());
}

/* A group of weights comes as lists: texts[3 i ..] name, dtype, packed (0: not), numbers[i] rows of n_dims, 8 extents,
 * scale, min. */
SG_EXPORT(int, gan_file_group, sg_tfjs *t, int n, const char *const *texts, const double *numbers, const void *bytes,
          int n_bytes)
{
    enum { ROW = 3 + SG_MAX_DIMS };
    sg_tfjs_entry *entries = calloc((size_t)n + 1, sizeof *entries);
    if (!entries)
        return (int)sg_fail(engine_error(), SG_ENOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        const double *x = numbers + i * ROW;
        entries[i] = (sg_tfjs_entry){.name = texts[3 * i],
                                     .dtype = texts[3 * i + 1],
                                     .packed = texts[3 * i + 2],
                                     .n_dims = (int)x[0],
                                     .scale = x[1 + SG_MAX_DIMS],
                                     .min = x[2 + SG_MAX_DIMS]};
        for (int d = 0; d < entries[i].n_dims && d < SG_MAX_DIMS; d++)
            entries[i].dims[d] = (sg_dim)x[1 + d];
    }
    const sg_status status = sg_tfjs_add_group(t, n, entries, bytes, (size_t)n_bytes, engine_error());
    free(entries);
    return (int)status;
}

SG_EXPORT(sg_gan *, gan_from, const sg_tfjs *t, double seed)
{
    sg_gan *gan = NULL;
    return engine_result(sg_gan_from(&gan, t, (uint64_t)seed, engine_error()), gan);
}

static struct {
    char *json;
    float *weights;
    sg_dim n_weights;
} written;

/* Makes the file's text and numbers, which gan_json and gan_weights then give, until the next one is made. */
SG_EXPORT(int, gan_write, sg_gan *gan, const char *weights_name)
{
    free(written.json);
    free(written.weights);
    return (int)sg_gan_write(gan, weights_name, &written.json, &written.weights, &written.n_weights, engine_error());
}

SG_EXPORT(const char *, gan_json, void)
{
    return written.json;
}

SG_EXPORT(const float *, gan_weights, void)
{
    return written.weights;
}

SG_EXPORT(int, gan_n_weights, void)
{
    return (int)written.n_weights;
}
