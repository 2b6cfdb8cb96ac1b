/* What the GAN is fed: samples by the formulas of GAN Lab, each from one stream of random numbers, and the lattice over
 * the noise. The reals are drawn one after the other, so a sample's place in the stream depends on those before it. */
#include <math.h>

#include "play/gan_internal.h"
#include "sightglass/rng.h"

enum { STREAM_REAL = 1, STREAM_NOISE = 2 };

#define PI 3.141592653589793238

static void point(float *x, double mx, double my, double dx, double dy, sg_rng *r)
{
    x[0] = (float)(mx + dx * sg_rng_normal(r));
    x[1] = (float)(my + dy * sg_rng_normal(r));
}

void gan_sample_real(float *x, sg_dim n, const sg_gan_opts *opts)
{
    static const double middle[3][2] = {{0.35, 0.75}, {0.75, 0.6}, {0.45, 0.35}};
    sg_rng r = sg_rng_new(opts->seed, STREAM_REAL);
    for (sg_dim i = 0; i < n; i++, x += 2) {
        const double u = sg_rng_uniform(&r);
        switch (opts->shape) {
        case SG_GAN_LINE:
            point(x, 0.8 - 0.75 * u, 0.6 + 0.3 * u, 0.01, 0.01, &r);
            break;
        case SG_GAN_GAUSSIANS:
            if (u < 0.5)
                point(x, 0.3, 0.7, 0.1, 0.1, &r);
            else
                point(x, 0.7, 0.4, 0.05, 0.2, &r);
            break;
        case SG_GAN_RING:
            point(x, 0.5 + 0.3 * sg_math_cos(2 * PI * u), 0.45 + 0.25 * sg_math_sin(2 * PI * u), 0.025, 0.025, &r);
            break;
        case SG_GAN_DISJOINT: {
            const double *m = middle[u < 0.333 ? 0 : u < 0.666 ? 1 : 2];
            point(x, m[0], m[1], 0.025, 0.025, &r);
            break;
        }
        default: {
            const float *stroke = opts->strokes + 2 * (sg_dim)(u * opts->n_strokes);
            point(x, (double)stroke[0], (double)stroke[1], 0.02, 0.02, &r);
        }
        }
    }
}

void gan_sample_noise(float *z, sg_dim n, sg_gan_noise noise, uint64_t seed)
{
    const bool normal = noise == SG_GAN_1D_NORMAL || noise == SG_GAN_2D_NORMAL;
    sg_rng r = sg_rng_new(seed, STREAM_NOISE);
    for (sg_dim i = 0; i < n * sg_gan_noise_dims(noise); i++) {
        if (!normal) {
            z[i] = (float)sg_rng_uniform(&r);
            continue;
        }
        double u;
        do
            u = sg_rng_normal(&r);
        while (fabs(u) > 2);
        z[i] = (float)(0.5 + 0.25 * u);
    }
}

sg_dim gan_lattice(float *z, int noise_dims)
{
    enum { N = SG_GAN_CELLS + 1 };
    if (noise_dims == 1) {
        for (int i = 0; i < N; i++)
            z[i] = (float)i / SG_GAN_CELLS;
        return N;
    }
    for (int i = 0; i < N * N; i++) {
        z[2 * i] = (float)(i % N) / SG_GAN_CELLS;
        z[2 * i + 1] = (float)(i / N) / SG_GAN_CELLS;
    }
    return N * N;
}

/* The normal density at the middle of a cell of the lattice, not truncated. */
static double density(int i, int j)
{
    const double x = (i + 0.5) / SG_GAN_CELLS - 0.5, y = (j + 0.5) / SG_GAN_CELLS - 0.5, variance = 0.25 * 0.25;
    return sg_math_exp(-(x * x + y * y) / (2 * variance)) / (2 * PI * variance);
}

void gan_cells(float *area, float *opacity, float (*const manifold)[2], sg_gan_noise noise)
{
    enum { N = SG_GAN_CELLS, CELLS = N * N };
    double share[CELLS], sum = 0;
    for (int c = 0; c < CELLS; c++) {
        const int at = c / N * (N + 1) + c % N, corner[4] = {at, at + 1, at + N + 2, at + N + 1};
        double twice = 0; /* shoelace */
        for (int k = 0; k < 4; k++) {
            const float *a = manifold[corner[k]], *b = manifold[corner[(k + 1) % 4]];
            twice += (double)a[0] * (double)b[1] - (double)a[1] * (double)b[0];
        }
        sum += share[c] = 0.5 * fabs(twice);
    }
    for (int c = 0; c < CELLS; c++) {
        const double relative = sum > 0 ? CELLS * (share[c] / sum) : 0;
        area[c] = (float)(relative / CELLS);
        opacity[c] = noise == SG_GAN_2D_NORMAL ? (float)fmin(0.1 + 0.2 * density(c % N, c / N) / relative, 0.9)
                                               : (float)fmax(0.9 - 0.4 * relative, 0.1);
    }
}
