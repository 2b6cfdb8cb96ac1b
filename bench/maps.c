/* SmoothGrad of 50 noisy copies on a network of MobileNet v2's shape (Sandler et al. 2018, table 2), norms folded into
 * weights and biases: expansion, depthwise, projection, ReLU6. */
#include <math.h>
#include <stdlib.h>

#include "bench.h"
#include "sightglass/attribute.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

enum { SIDE = 224, CLASSES = 1000, COPIES = 50, MOST_LAYERS = 64, NUMBERS = 4096 };
#define MULTIPLICATIONS 300774272.0 /* of a forward pass: sum over layers of side^2 kernel^2 in out / groups */
#define WORK            (2 * 2 * MULTIPLICATIONS * COPIES) /* each counts twice; the way back by the input costs as much */

typedef struct work {
    sg_graph *g;
    sg_state *state;
    sg_attributer *a;
    sg_value *weights[2 * MOST_LAYERS];
    int n_weights;
    float *x, numbers[NUMBERS];
} work;

static sg_value *weight(work *w, int n_dims, const sg_dim *dims)
{
    char name[16];
    sg_dim fan = 1;
    for (int k = 1; k < n_dims; k++)
        fan *= dims[k];
    snprintf(name, sizeof name, "%c%d", n_dims > 1 ? 'w' : 'b', w->n_weights / 2);
    const sg_init init = n_dims > 1 ? sg_init_normal(sqrt(2.0 / (double)fan)) : sg_init_uniform(-0.1, 0.1);
    return w->weights[w->n_weights++] = sg_variable(w->g, name, SG_F32, n_dims, dims, init);
}

static sg_value *conv(work *w, sg_value *x, sg_dim out, sg_dim kernel, sg_dim stride, bool depthwise, bool relu)
{
    const sg_dim in = sg_value_dim(x, 1);
    sg_conv2d_opts o = sg_conv2d_strided(stride, kernel / 2);
    o.groups = depthwise ? in : 1;
    sg_value *k = weight(w, 4, (sg_dim[]){out, depthwise ? 1 : in, kernel, kernel}), *b = weight(w, 1, &out);
    sg_value *y = sg_conv2d(w->g, x, k, b, o);
    return relu ? sg_clamp(w->g, y, 0, 6) : y;
}

static sg_value *mobilenet(work *w, sg_value *x)
{
    static const int blocks[][4] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                    {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
    x = conv(w, x, 32, 3, 2, false, true);
    for (size_t b = 0; b < SG_COUNT_OF(blocks); b++)
        for (int i = 0; i < blocks[b][2]; i++) {
            const sg_dim in = sg_value_dim(x, 1), wide = in * blocks[b][0], out = blocks[b][1];
            sg_value *y = blocks[b][0] > 1 ? conv(w, x, wide, 1, 1, false, true) : x;
            y = conv(w, y, wide, 3, i == 0 ? blocks[b][3] : 1, true, true);
            y = conv(w, y, out, 1, 1, false, false);
            x = i > 0 ? sg_add(w->g, x, y) : y;
        }
    x = sg_global_avg_pool2d(w->g, conv(w, x, 1280, 1, 1, false, true));
    sg_value *k = weight(w, 2, (sg_dim[]){CLASSES, 1280}), *b = weight(w, 1, (sg_dim[]){CLASSES});
    return sg_linear(w->g, x, k, b);
}

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_attributer_free(w->a);
    sg_state_free(w->state);
    sg_graph_free(w->g);
    free(w->x);
    free(w);
}

/* For the peer, which reads them. */
static sg_status save_weights(const work *w, const bench *b, sg_error *err)
{
    char path[512];
    sg_named_tensor tensors[2 * MOST_LAYERS];
    snprintf(path, sizeof path, "%s/mobilenet.safetensors", b->folder);
    for (int i = 0; i < w->n_weights; i++)
        tensors[i] = (sg_named_tensor){sg_value_name(w->weights[i]), *sg_state_tensor(w->state, w->weights[i])};
    return sg_safetensors_save(path, tensors, w->n_weights, NULL, 0, err);
}

static sg_status open_work(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const sg_attribute_target target = sg_attribute_target_defaults();
    work *w = *self = calloc(1, sizeof *w);
    (void)row;
    if (!w || !(w->g = sg_graph_new()) || !(w->x = malloc(sizeof *w->x * 3 * SIDE * SIDE)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    for (sg_dim i = 0; i < 3 * SIDE * SIDE; i++)
        w->x[i] = (float)bench_token(i, 255) / 127 - 1;
    sg_value *x = sg_input(w->g, "pixels", SG_F32, 4, (sg_dim[]){sg_extent(w->g, "images"), 3, SIDE, SIDE});
    sg_name(w->g, mobilenet(w, x), "class_logits", NULL);
    SG_TRY(sg_graph_status(w->g, err));
    SG_TRY(sg_state_new(&w->state, w->g, err));
    SG_TRY(sg_state_init(w->state, 1, err));
    SG_TRY(save_weights(w, b, err));
    return sg_attributer_new(&w->a, w->g, w->state, "pixels", &target, sg_exec_defaults(), err);
}

static sg_status map(work *w, sg_attribute_kind kind, sg_attribute_map **out, sg_error *err)
{
    const sg_named_feed f = {"pixels", sg_tensor_of(SG_F32, 4, (sg_dim[]){1, 3, SIDE, SIDE}, w->x)};
    const sg_attribute_input in = {.n_feeds = 1, .feeds = &f, .index = 7};
    sg_attribute_opts o = sg_attribute_defaults();
    o.kind = kind;
    o.n = COPIES;
    return sg_attribute(out, w->a, &in, &o, err);
}

static sg_status run(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    sg_attribute_map *m;
    const double start = sg_now();
    SG_TRY(map(w, SG_ATTRIBUTE_SMOOTH, &m, err));
    *seconds = sg_now() - start;
    sg_attribute_map_free(m);
    return SG_OK;
}

/* Noise is each side's own, so what is compared is the gradient without it, in units of its largest number. Gradients
 * jump where a rectifier's input is zero to rounding, so the two sides may be further apart than where all is smooth.
 */
static const float *numbers(void *self, sg_dim *n)
{
    work *w = self;
    sg_attribute_map *m;
    *n = NUMBERS;
    if (map(w, SG_ATTRIBUTE_GRADIENT, &m, NULL) != SG_OK)
        return NULL;
    double most = 0;
    for (sg_dim i = 0; i < m->n; i++)
        most = SG_MAX(most, fabs(m->map[i]));
    for (int i = 0; i < NUMBERS; i++)
        w->numbers[i] = (float)(m->map[i] / most);
    sg_attribute_map_free(m);
    return w->numbers;
}

static sg_session *session(void *self)
{
    return sg_attributer_session(((work *)self)->a);
}

const bench_row bench_map_rows[] = {
    {"smoothgrad", .unit = "s", .scale = 1, .open = open_work, .run = run, .close = close_work, .session = session,
     .numbers = numbers, .apart = 1e-2, .peer = true, .work = WORK, .peak = BENCH_F32},
};
const int bench_n_map_rows = (int)SG_COUNT_OF(bench_map_rows);
