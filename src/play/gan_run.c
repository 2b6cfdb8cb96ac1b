/* Runs of the graph. A batch is a window of the atlas, so nothing is copied to feed it. */
#include <math.h>
#include <string.h>

#include "play/gan_internal.h"

enum { N_BATCHES = SG_GAN_ATLAS / SG_GAN_BATCH };

static sg_feed rows_of(sg_value *v, const float *at, sg_dim n)
{
    union {
        const float *in;
        void *out;
    } data = {at};
    return (sg_feed){v, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, sg_value_dim(v, 1)}, data.out)};
}

/* The window of the k-th batch that is taken. */
static sg_feed batch_of(sg_value *v, const float *atlas, sg_dim k)
{
    return rows_of(v, atlas + k % N_BATCHES * SG_GAN_BATCH * sg_value_dim(v, 1), SG_GAN_BATCH);
}

static double number(const sg_tensor *t)
{
    return (double)*(const float *)t->data;
}

sg_status gan_fetch(sg_gan *gan, sg_value *fed, const float *points, sg_dim n, int n_fetches, sg_value *const *fetches,
                    sg_tensor *out, sg_error *err)
{
    const sg_feed feed = rows_of(fed, points, n);
    return sg_session_run(gan->session, 1, &feed, n_fetches, fetches, out, err);
}

static int batches(sg_gan *gan, sg_gan_net net, sg_feed feeds[2])
{
    feeds[0] = batch_of(gan->v.noise, gan->noise, gan->next_noise);
    feeds[1] = batch_of(gan->v.real, gan->real, gan->next_real);
    return net == SG_GAN_D ? 2 : 1;
}

sg_status gan_peek(sg_gan *gan, sg_gan_net net, double *loss, double *norm, sg_error *err)
{
    sg_value *fetches[2];
    sg_feed feeds[2];
    sg_tensor out[2];
    int n = 0;
    const int n_feeds = batches(gan, net, feeds);
    if (loss)
        fetches[n++] = gan->v.loss[net][gan->opts.loss];
    if (norm)
        fetches[n++] = gan->v.norm[net][gan->opts.loss];
    SG_TRY(sg_session_run(gan->session, n_feeds, feeds, n, fetches, out, err));
    if (loss)
        *loss = number(&out[0]);
    if (norm)
        *norm = number(&out[n - 1]);
    return SG_OK;
}

sg_status gan_update(sg_gan *gan, sg_gan_net net, sg_error *err)
{
    gan_values *v = &gan->v;
    const sg_gan_net_opts *o = &gan->opts.net[net];
    sg_value *fetches[GAN_MOST_PARAMS + 1];
    sg_feed feeds[4];
    sg_tensor out[GAN_MOST_PARAMS + 1];
    float rate = (float)o->rate, step = gan->step[net] + 1;
    int n_feeds = batches(gan, net, feeds);

    feeds[n_feeds++] = (sg_feed){v->rate[net], sg_tensor_of(SG_F32, 0, NULL, &rate)};
    if (o->rule == SG_GAN_ADAM)
        feeds[n_feeds++] = (sg_feed){v->step[net], sg_tensor_of(SG_F32, 0, NULL, &step)};
    fetches[0] = v->loss[net][gan->opts.loss];
    memcpy(fetches + 1, v->update[net][gan->opts.loss][o->rule], (size_t)v->n_params[net] * sizeof *fetches);
    SG_TRY(sg_session_run(gan->session, n_feeds, feeds, 1 + v->n_params[net], fetches, out, err));
    gan->next_noise++;
    gan->next_real += net == SG_GAN_D;
    gan->step[net] = step;
    gan->updates[net]++;
    gan->cost[net] = number(&out[0]);
    if (!isfinite(gan->cost[net]))
        return sg_fail(err, SG_ENUMERIC, "iteration %lld: the loss of the %s is no longer finite",
                       (long long)gan->iteration, net == SG_GAN_D ? "discriminator" : "generator");
    return SG_OK;
}

void gan_fresh_moments(sg_gan *gan, sg_gan_net net)
{
    gan->step[net] = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < gan->v.n_params[net]; i++) {
            const sg_tensor *t = sg_state_tensor(gan->state, gan->v.moment[net][k][i]);
            memset(t->data, 0, sg_tensor_bytes(t));
        }
}
