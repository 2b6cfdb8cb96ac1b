/* How long convolutions and their gradients take, by the reference kernels and by the backends of this build.
 *
 *     scripts/build build conv && build/sweep_convolution [THREADS]
 *
 * For each shape and each of conv2d (y), its gradient by the image (x) and by the weights (w): the least of several
 * runs of a warm one-node session, in microseconds, and thousand millions of multiplications and additions per second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sightglass/image.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

typedef struct shape {
    sg_dim b, c, h, w, o, k, stride, padding, groups;
} shape;

static const shape shapes[] = {
    {1, 1, 28, 28, 8, 3, 1, 1, 1},    {32, 1, 28, 28, 16, 5, 1, 2, 1},   {32, 16, 14, 14, 32, 3, 1, 1, 1},
    {32, 3, 32, 32, 32, 3, 1, 1, 1},  {32, 32, 32, 32, 32, 3, 1, 1, 1},  {32, 64, 16, 16, 64, 3, 1, 1, 1},
    {32, 128, 8, 8, 128, 3, 1, 1, 1}, {32, 64, 16, 16, 128, 4, 2, 1, 1}, {32, 256, 4, 4, 256, 3, 1, 1, 1},
    {1, 64, 32, 32, 64, 3, 1, 1, 1},  {32, 64, 16, 16, 64, 1, 1, 0, 1},  {1, 256, 14, 14, 64, 1, 1, 0, 1},
    {1, 3, 224, 224, 64, 7, 2, 3, 1}, {8, 64, 16, 16, 1, 3, 1, 1, 1},    {8, 64, 32, 32, 3, 3, 1, 1, 1},
    {8, 32, 32, 32, 32, 3, 1, 1, 32}, {8, 64, 16, 16, 64, 3, 2, 1, 64},  {8, 32, 16, 16, 64, 3, 1, 1, 4},
    {1, 1, 8, 8, 4, 3, 1, 1, 1},      {1, 4, 8, 8, 4, 3, 1, 1, 1},       {1, 8, 8, 8, 8, 3, 1, 1, 1},
    {4, 8, 8, 8, 8, 3, 1, 1, 1},      {32, 2, 8, 8, 4, 3, 1, 1, 1},      {32, 8, 8, 8, 16, 3, 1, 1, 1},
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void die(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(1);
}

static sg_tensor noise(int n_dims, const sg_dim *dims)
{
    sg_tensor t = sg_tensor_of(SG_F32, n_dims, dims, NULL);
    float *x = malloc(sg_tensor_bytes(&t) + 1);
    uint32_t seed = 1;

    if (!x)
        die("out of memory");
    for (sg_dim i = 0; i < sg_tensor_count(&t); i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    t.data = x;
    return t;
}

static double time_us(sg_graph *g, sg_value *v, int n_feeds, const sg_feed *feeds, int n_threads, bool backends,
                      const char **backend)
{
    sg_exec_opts opts = sg_exec_defaults();
    sg_session *s;
    sg_tensor t;
    sg_error err;
    double least = 1e30, total = 0;

    opts.n_threads = n_threads;
    if (!backends)
        opts.n_backends = 0;
    if (sg_session_new(&s, g, NULL, opts, &err) != SG_OK)
        die(err.text);
    for (int turn = 0; turn < 3 || (turn < 2000 && total < 2e5); turn++) {
        const double start = now_us();
        if (sg_session_run(s, n_feeds, feeds, 1, &v, &t, &err) != SG_OK)
            die(err.text);
        const double took = now_us() - start;
        total += took;
        least = took < least ? took : least;
    }
    const sg_plan *p = sg_session_plan(s);
    *backend = sg_plan_step_backend(p, sg_plan_n_steps(p) - 1);
    sg_session_free(s);
    return least;
}

int main(int argc, char **argv)
{
    const int n_threads = argc > 1 ? atoi(argv[1]) : 1;

    printf("%-34s   %10s %8s   %10s %8s\n", "x, kernel, stride, groups", "reference", "GFLOP/s", "backend", "GFLOP/s");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        sg_graph *g = sg_graph_new();
        const sg_dim dims[3][4] = {{s->b, s->c, s->h, s->w}, {s->o, s->c / s->groups, s->k, s->k}};
        sg_value *in[2] = {sg_input(g, "x", SG_F32, 4, dims[0]), sg_input(g, "w", SG_F32, 4, dims[1])}, *v[3];
        sg_conv2d_opts opts = sg_conv2d_strided(s->stride, s->padding);
        opts.groups = s->groups;
        v[0] = sg_conv2d(g, in[0], in[1], NULL, opts);
        sg_value *y = sg_input(g, "y", SG_F32, 4, sg_value_dims(v[0]));
        sg_gradients(g, v[0], y, 2, in, v + 1);
        sg_error err;
        if (sg_graph_status(g, &err) != SG_OK)
            die(err.text);
        const sg_feed feeds[3] = {
            {in[0], noise(4, dims[0])}, {in[1], noise(4, dims[1])}, {y, noise(4, sg_value_dims(y))}};
        const double flops = 2.0 * (double)(sg_tensor_count(&feeds[2].tensor) * dims[1][1] * s->k * s->k);
        for (int k = 0; k < 3; k++) {
            const sg_feed own[2] = {feeds[k == 1 ? 2 : 0], feeds[k == 2 ? 2 : 1]};
            const char *backend;
            const double plain = time_us(g, v[k], 2, own, n_threads, false, &backend);
            const double fast = time_us(g, v[k], 2, own, n_threads, true, &backend);
            char text[80];
            snprintf(text, sizeof text, "[%d,%d,%d,%d] [%d,%d,%d,%d] %d %d %c", (int)s->b, (int)s->c, (int)s->h,
                     (int)s->w, (int)s->o, (int)dims[1][1], (int)s->k, (int)s->k, (int)s->stride, (int)s->groups,
                     "yxw"[k]);
            printf("%-34s   %10.1f %8.1f   %10.1f %8.1f  %.2f %s\n", text, plain, flops / plain * 1e-3, fast,
                   flops / fast * 1e-3, plain / fast, backend);
            fflush(stdout);
        }
        for (int k = 0; k < 3; k++)
            free(feeds[k].tensor.data);
        sg_graph_free(g);
    }
    return 0;
}
