/* Looking. Every picture is a run in which points are fed as noise or as fakes; no number of the model changes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "play/gan_internal.h"

enum { GRID = SG_GAN_GRID, CELLS = GRID * GRID };

/* Shares of the points by cell; returns how many lie outside. */
static int densities(double *share, const float *x, sg_dim n)
{
    int outside = 0;
    for (int c = 0; c < CELLS; c++)
        share[c] = 0;
    for (sg_dim i = 0; i < n; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        if (!(a >= 0 && a < 1 && b >= 0 && b < 1)) {
            outside++;
            continue;
        }
        /* In double the product with 30 rounds below it for all floats below 1. */
        share[(int)((double)b * GRID) * GRID + (int)((double)a * GRID)] += 1.0 / (double)n;
    }
    return outside;
}

static double log2_of(double x)
{
    return sg_math_log(x) * 1.442695040888963407;
}

void sg_gan_compare(double *kl, double *js, int outside[2], const float *real, sg_dim n_real, const float *fake,
                    sg_dim n_fake)
{
    const double e = 1e-4;
    double p[CELLS], q[CELLS], left = 0, right = 0;
    outside[0] = densities(p, real, n_real);
    outside[1] = densities(q, fake, n_fake);
    *kl = 0;
    for (int c = 0; c < CELLS; c++) {
        const double m = 0.5 * (p[c] + q[c]) + e;
        *kl += (p[c] + e) * log2_of((p[c] + e) / (q[c] + e));
        left += (p[c] + e) * log2_of((p[c] + e) / m);
        right += (q[c] + e) * log2_of((q[c] + e) / m);
    }
    *js = 0.5 * (left + right);
}

static double bar(sg_gan_loss loss, sg_gan_net net, double cost)
{
    if (loss == SG_GAN_SQUARES)
        return net == SG_GAN_D ? cost * 50 : cost * 100;
    const double shown = net == SG_GAN_D ? cost / 2 : cost;
    return shown * shown * 50;
}

static void copy(void *to, const sg_tensor *from)
{
    memcpy(to, from->data, sg_tensor_bytes(from));
}

static sg_status see_field(sg_gan *gan, sg_error *err)
{
    float x[CELLS][2];
    sg_tensor out;
    for (int c = 0; c < CELLS; c++) {
        x[c][0] = ((float)(c % GRID) + 0.5f) / GRID;
        x[c][1] = ((float)(c / GRID) + 0.5f) / GRID;
    }
    SG_TRY(gan_fetch(gan, gan->v.fake, x[0], CELLS, 1, &gan->v.d_fake, &out, err));
    copy(gan->view.field, &out);
    return SG_OK;
}

static sg_status see_manifold(sg_gan *gan, sg_error *err)
{
    float z[SG_GAN_LATTICE * 2];
    const int dims = sg_gan_noise_dims(gan->opts.noise);
    const sg_dim n = gan_lattice(z, dims);
    sg_tensor out;
    SG_TRY(gan_fetch(gan, gan->v.noise, z, n, 1, &gan->v.fake, &out, err));
    copy(gan->view.manifold, &out);
    if (dims == 2)
        gan_cells(gan->view.area, gan->view.opacity, gan->view.manifold, gan->opts.noise);
    return SG_OK;
}

sg_status sg_gan_look(sg_gan *gan, unsigned parts, sg_error *err)
{
    sg_gan_view *view = &gan->view;
    gan_values *v = &gan->v;
    sg_tensor out;
    view->iteration = gan->iteration;
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        if (isnan(gan->cost[net]) && (parts & SG_GAN_SEE_PREDICTIONS))
            SG_TRY(gan_peek(gan, (sg_gan_net)net, &gan->cost[net], NULL, err));
        view->cost[net] = gan->cost[net];
        view->bar[net] = bar(gan->opts.loss, (sg_gan_net)net, gan->cost[net]);
    }
    if (parts & SG_GAN_SEE_SAMPLES) {
        SG_TRY(gan_fetch(gan, v->noise, gan->noise, SG_GAN_BATCH, 1, &v->fake, &out, err));
        copy(view->fake, &out);
    }
    if (parts & SG_GAN_SEE_PREDICTIONS) {
        SG_TRY(gan_fetch(gan, v->real, gan->real, SG_GAN_BATCH, 1, &v->d_real, &out, err));
        copy(view->d_real, &out);
        SG_TRY(gan_fetch(gan, v->noise, gan->noise, SG_GAN_BATCH, 1, &v->d_fake, &out, err));
        copy(view->d_fake, &out);
    }
    if (parts & SG_GAN_SEE_ARROWS) {
        SG_TRY(gan_fetch(gan, v->noise, gan->noise, SG_GAN_BATCH, 1, &v->arrows, &out, err));
        copy(view->arrow, &out);
    }
    if (parts & SG_GAN_SEE_FIELD)
        SG_TRY(see_field(gan, err));
    if (parts & SG_GAN_SEE_MANIFOLD)
        SG_TRY(see_manifold(gan, err));
    if (parts & SG_GAN_SEE_METRICS) {
        int outside[2];
        sg_gan_compare(&view->kl, &view->js, outside, gan->real, SG_GAN_SHOWN, view->fake[0], SG_GAN_BATCH);
        view->outside_real = outside[0];
        view->outside_fake = outside[1];
    }
    return SG_OK;
}

const sg_gan_view *sg_gan_view_of(const sg_gan *gan)
{
    return &gan->view;
}

sg_status sg_gan_generate(sg_gan *gan, float *x, const float *z, sg_dim n, sg_error *err)
{
    sg_tensor out;
    SG_TRY(gan_fetch(gan, gan->v.noise, z, n, 1, &gan->v.fake, &out, err));
    copy(x, &out);
    return SG_OK;
}

sg_status sg_gan_judge(sg_gan *gan, float *d, float *arrows, const float *x, sg_dim n, sg_error *err)
{
    sg_value *const fetches[2] = {gan->v.d_fake, gan->v.arrows};
    sg_tensor out[2];
    SG_TRY(gan_fetch(gan, gan->v.fake, x, n, arrows ? 2 : 1, fetches, out, err));
    copy(d, &out[0]);
    if (arrows)
        copy(arrows, &out[1]);
    return SG_OK;
}
