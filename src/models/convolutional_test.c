/* Convolutional networks against a forward pass of their own here: plain loops in double, over a table of blocks as the
 * papers have it, which knows nothing of how the library reads names. */
#include <stdbool.h>
#include <sys/stat.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "models/conv.h"
#include "sightglass/convnet.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"

/* ---- the naive network ---- */

typedef struct map {
    int channels, side; /* side 0: a vector */
    double *x;
} map;

#define MOST_MAPS 128
static map made[MOST_MAPS];
static char made_name[MOST_MAPS][64];
static int n_made;

static map *new_map(const char *name, int channels, int side)
{
    map *m = &made[n_made];
    CHECK(n_made < MOST_MAPS);
    snprintf(made_name[n_made++], sizeof made_name[0], "%s", name);
    *m = (map){channels, side, calloc((size_t)channels * (size_t)(side ? side * side : 1), sizeof(double))};
    CHECK(m->x != NULL);
    return m;
}

static void forget_maps(void)
{
    while (n_made)
        free(made[--n_made].x);
}

static const sg_tensor *weight_of(const sg_safetensors *file, const char *name, const char *end)
{
    char text[96];
    snprintf(text, sizeof text, "%s%s", name, end);
    const sg_tensor *t = sg_safetensors_find(file, text);
    if (!t)
        print_error("no %s\n", text);
    CHECK(t != NULL);
    return t;
}

enum { LINEAR, RELU, RELU6 };

static double act(double x, int how)
{
    return how == LINEAR ? x : x < 0 ? 0 : how == RELU6 && x > 6 ? 6 : x;
}

/* w [out,in,k,k] or, channels_last, [out,k,k,in] and depthwise [1,k,k,channels]; before: rows of zeros above and to the
 * left. */
static map *conv(const char *name, const map *from, const sg_tensor *w, const sg_tensor *bias, bool last,
                 bool depthwise, int stride, int before, int side, int how)
{
    const int k = (int)w->dims[last ? 1 : 2], in = depthwise ? 1 : from->channels;
    const int out = (int)(last && depthwise ? w->dims[3] : w->dims[0]);
    map *to = new_map(name, out, side);
    double *numbers = malloc((size_t)sg_tensor_count(w) * sizeof *numbers);
    for (sg_dim i = 0; i < sg_tensor_count(w); i++)
        numbers[i] = sg_tensor_get(w, i);
    for (int o = 0; o < out; o++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                double sum = bias ? sg_tensor_get(bias, o) : 0;
                for (int dy = 0; dy < k; dy++)
                    for (int dx = 0; dx < k; dx++) {
                        const int sy = y * stride + dy - before, sx = x * stride + dx - before;
                        if (sy < 0 || sx < 0 || sy >= from->side || sx >= from->side)
                            continue;
                        for (int i = 0; i < in; i++) {
                            const int c = depthwise ? o : i;
                            const double wv = last && depthwise ? numbers[(dy * k + dx) * out + o]
                                              : last            ? numbers[((o * k + dy) * k + dx) * in + i]
                                                                : numbers[((o * in + i) * k + dy) * k + dx];
                            sum += wv * from->x[(c * from->side + sy) * from->side + sx];
                        }
                    }
                to->x[(o * side + y) * side + x] = act(sum, how);
            }
    free(numbers);
    return to;
}

static map *mean_of(const char *name, const map *from)
{
    map *to = new_map(name, from->channels, 0);
    for (int c = 0; c < from->channels; c++)
        for (int i = 0; i < from->side * from->side; i++)
            to->x[c] += from->x[c * from->side * from->side + i] / (from->side * from->side);
    return to;
}

static map *dense(const char *name, const map *from, const sg_tensor *w, const sg_tensor *bias, int how)
{
    const int n = from->channels * (from->side ? from->side * from->side : 1), out = (int)w->dims[0];
    map *to = new_map(name, out, 0);
    for (int o = 0; o < out; o++) {
        double sum = sg_tensor_get(bias, o);
        for (int i = 0; i < n; i++)
            sum += sg_tensor_get(w, o * n + i) * from->x[i];
        to->x[o] = act(sum, how);
    }
    return to;
}

static map *pixels_map(const sg_tensor *pixels, int image)
{
    map *m = new_map("pixels", (int)pixels->dims[1], (int)pixels->dims[2]);
    const sg_dim n = sg_tensor_count(pixels) / pixels->dims[0];
    for (sg_dim i = 0; i < n; i++)
        m->x[i] = sg_tensor_get(pixels, image * n + i);
    return m;
}

/* Blocks of mobilenet_v2: expansion, channels, how often, stride of the first (Sandler et al. 2018, table 2). */
typedef struct row {
    int expand, channels, n, stride;
} row;
static const row paper[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                            {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
static const row tiny[] = {{1, 4, 1, 2}, {2, 4, 2, 2}, {3, 6, 2, 2}};

/* One step; as little padding as gives ceil(side / stride) windows, less of it before. */
static map *step_of(const sg_safetensors *file, int number, bool depthwise, int stride, int how, const map *from)
{
    char name[64], value[64], bias[64];
    snprintf(name, sizeof name, "op%02d.%s.s%d.%s.weight", number, depthwise ? "dw" : "conv", stride,
             how ? "relu6" : "lin");
    snprintf(value, sizeof value, "op%02d.out", number);
    snprintf(bias, sizeof bias, "op%02d.bias", number);
    const sg_tensor *w = weight_of(file, name, "");
    const int side = (from->side + stride - 1) / stride, k = (int)w->dims[1];
    const int zeros = SG_MAX((side - 1) * stride + k - from->side, 0);
    return conv(value, from, w, weight_of(file, bias, ""), true, depthwise, stride, zeros / 2, side, how);
}

static void naive_mobilenet(const sg_safetensors *file, const row *rows, int n_rows, const sg_tensor *pixels)
{
    char name[64];
    int number = 0;
    const map *x = pixels_map(pixels, 0);
    x = step_of(file, number++, false, 2, RELU6, x);
    for (int r = 0; r < n_rows; r++)
        for (int i = 0; i < rows[r].n; i++) {
            const int stride = i ? 1 : rows[r].stride;
            const map *began = x;
            if (rows[r].expand > 1)
                x = step_of(file, number++, false, 1, RELU6, x);
            x = step_of(file, number++, true, stride, RELU6, x);
            x = step_of(file, number++, false, 1, LINEAR, x);
            if (stride == 1 && began->channels == x->channels) {
                snprintf(name, sizeof name, "op%02d.sum", number++);
                map *sum = new_map(name, x->channels, x->side);
                for (int k = 0; k < x->channels * x->side * x->side; k++)
                    sum->x[k] = began->x[k] + x->x[k];
                x = sum;
            }
        }
    x = step_of(file, number++, false, 1, RELU6, x);
    snprintf(name, sizeof name, "op%02d.pooled", number++);
    x = mean_of(name, x);
    snprintf(name, sizeof name, "op%02d.conv.s1.lin.weight", number);
    const sg_tensor *w = weight_of(file, name, "");
    snprintf(name, sizeof name, "op%02d.bias", number);
    dense("class_logits", x, w, weight_of(file, name, ""), LINEAR);
}

static map *norm(const sg_safetensors *file, map *x, const char *bn, int how)
{
    const sg_tensor *gain = weight_of(file, bn, ".weight"), *shift = weight_of(file, bn, ".bias");
    const sg_tensor *mean = weight_of(file, bn, ".running_mean"), *var = weight_of(file, bn, ".running_var");
    for (int c = 0; c < x->channels; c++)
        for (int i = 0; i < x->side * x->side; i++) {
            double *v = &x->x[c * x->side * x->side + i];
            *v = act((*v - sg_tensor_get(mean, c)) / sqrt(sg_tensor_get(var, c) + 1e-5) * sg_tensor_get(gain, c) +
                         sg_tensor_get(shift, c),
                     how);
        }
    return x;
}

static void naive_resnet(const sg_safetensors *file, int blocks, const sg_tensor *pixels)
{
    char conv1[40], conv2[40], bn[40], name[64];
    map *x = pixels_map(pixels, 0);
    x = norm(file, conv("conv1.out", x, weight_of(file, "conv1.weight", ""), NULL, false, false, 1, 1, x->side, LINEAR),
             "bn1", RELU);
    for (int stage = 1; stage <= 3; stage++)
        for (int b = 0; b < blocks; b++) {
            const map *began = x;
            const int stride = stage > 1 && b == 0 ? 2 : 1, side = x->side / stride;
            snprintf(conv1, sizeof conv1, "layer%d.%d.conv1", stage, b);
            snprintf(conv2, sizeof conv2, "layer%d.%d.conv2", stage, b);
            snprintf(bn, sizeof bn, "layer%d.%d.bn1", stage, b);
            snprintf(name, sizeof name, "%s.out", conv1);
            x = norm(file,
                     conv(name, x, weight_of(file, conv1, ".weight"), NULL, false, false, stride, 1, side, LINEAR), bn,
                     RELU);
            snprintf(bn, sizeof bn, "layer%d.%d.bn2", stage, b);
            snprintf(name, sizeof name, "%s.out", conv2);
            x = norm(file, conv(name, x, weight_of(file, conv2, ".weight"), NULL, false, false, 1, 1, side, LINEAR), bn,
                     LINEAR);
            snprintf(name, sizeof name, "layer%d.%d.sum", stage, b);
            map *sum = new_map(name, x->channels, side);
            const int before = (x->channels - began->channels) / 2;
            for (int c = 0; c < x->channels; c++)
                for (int y = 0; y < side; y++)
                    for (int col = 0; col < side; col++) {
                        const int from = c - before;
                        const double there =
                            from >= 0 && from < began->channels
                                ? began->x[(from * began->side + y * stride) * began->side + col * stride]
                                : 0;
                        sum->x[(c * side + y) * side + col] = act(there + x->x[(c * side + y) * side + col], RELU);
                    }
            x = sum;
        }
    x = mean_of("pool.pooled", x);
    dense("class_logits", x, weight_of(file, "linear.weight", ""), weight_of(file, "linear.bias", ""), LINEAR);
}

/* ---- files of random weights ---- */

static sg_named_tensor written[256];
static int n_written;
static char written_name[256][64];

static void add_weight(sg_rng *r, const char *name, sg_dtype dtype, int n_dims, const sg_dim *dims, double mean,
                       double spread)
{
    sg_tensor t = sg_tensor_of(dtype, n_dims, dims, NULL);
    t.data = malloc(sg_tensor_bytes(&t));
    for (sg_dim i = 0; i < sg_tensor_count(&t); i++) {
        const float v = (float)(mean + spread * sg_rng_normal(r));
        sg_convert((char *)t.data + (size_t)i * sg_dtype_bytes(dtype), dtype, &v, SG_F32, 1);
    }
    snprintf(written_name[n_written], sizeof written_name[0], "%s", name);
    written[n_written] = (sg_named_tensor){written_name[n_written], t};
    n_written++;
}

static void write_file(const char *path)
{
    sg_error err;
    sg_named_tensor sorted[256];
    int n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n_written; i++)
            if ((written[i].tensor.dtype == SG_F32) == (pass == 0))
                sorted[n++] = written[i];
    CHECK_OK(sg_safetensors_save(path, sorted, n, NULL, 0, &err), &err);
    while (n_written)
        free(written[--n_written].tensor.data);
}

static void mobilenet_step(sg_rng *r, int number, bool depthwise, int stride, bool rises, int in, int out, int k)
{
    char name[64];
    snprintf(name, sizeof name, "op%02d.%s.s%d.%s.weight", number, depthwise ? "dw" : "conv", stride,
             rises ? "relu6" : "lin");
    const sg_dim dims[4] = {depthwise ? 1 : out, k, k, depthwise ? out : in}, n = out;
    add_weight(r, name, SG_F16, 4, dims, 0, 1.5 / sqrt(depthwise ? k * k : in * k * k));
    snprintf(name, sizeof name, "op%02d.bias", number);
    add_weight(r, name, SG_F32, 1, &n, 0.1, 0.5);
}

static void write_mobilenet(const char *path, const row *rows, int n_rows, int labels)
{
    sg_rng r = sg_rng_new(5, 0);
    int number = 0, channels = 5;
    mobilenet_step(&r, number++, false, 2, true, 3, channels, 3);
    for (int i = 0; i < n_rows; i++)
        for (int k = 0; k < rows[i].n; k++) {
            const int wide = channels * rows[i].expand, stride = k ? 1 : rows[i].stride;
            if (rows[i].expand > 1)
                mobilenet_step(&r, number++, false, 1, true, channels, wide, 1);
            mobilenet_step(&r, number++, true, stride, true, wide, wide, 3);
            mobilenet_step(&r, number++, false, 1, false, wide, rows[i].channels, 1);
            number += stride == 1 && channels == rows[i].channels;
            channels = rows[i].channels;
        }
    mobilenet_step(&r, number++, false, 1, true, channels, 9, 1);
    mobilenet_step(&r, number + 1, false, 1, false, 9, labels, 1);
    write_file(path);
}

static void write_norm(sg_rng *r, const char *bn, int n)
{
    static const char *const ends[] = {"weight", "bias", "running_mean", "running_var"};
    char name[64];
    const sg_dim dims = n;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%.40s.%s", bn, ends[i]);
        add_weight(r, name, SG_F32, 1, &dims, i == 0 || i == 3 ? 1 : 0, i == 3 ? 0.1 : 0.3);
    }
}

static void write_resnet(const char *path, int blocks)
{
    sg_rng r = sg_rng_new(6, 0);
    char name[64];
    int channels = 4;
    add_weight(&r, "conv1.weight", SG_F32, 4, (sg_dim[]){4, 3, 3, 3}, 0, 0.3);
    write_norm(&r, "bn1", 4);
    for (int stage = 1; stage <= 3; stage++)
        for (int b = 0; b < blocks; b++) {
            const int out = 2 << stage;
            for (int k = 1; k <= 2; k++) {
                snprintf(name, sizeof name, "layer%d.%d.conv%d.weight", stage, b, k);
                add_weight(&r, name, SG_F32, 4, (sg_dim[]){out, k == 1 ? channels : out, 3, 3}, 0, 0.2);
                snprintf(name, sizeof name, "layer%d.%d.bn%d", stage, b, k);
                write_norm(&r, name, out);
            }
            channels = out;
        }
    add_weight(&r, "linear.weight", SG_F32, 2, (sg_dim[]){10, channels}, 0, 0.3);
    add_weight(&r, "linear.bias", SG_F32, 1, (sg_dim[]){10}, 0, 0.3);
    write_file(path);
}

/* ---- comparing ---- */

static sg_tensor random_pixels(sg_dtype dtype, sg_dim n, sg_dim channels, sg_dim side)
{
    sg_tensor t = sg_tensor_of(dtype, 4, (sg_dim[]){n, channels, side, side}, NULL);
    sg_rng r = sg_rng_new(9, 1);
    t.data = malloc(sg_tensor_bytes(&t));
    for (sg_dim i = 0; i < sg_tensor_count(&t); i++)
        sg_tensor_set(&t, i, 2 * sg_rng_uniform(&r) - 1);
    return t;
}

/* Every map that was made, against the value of its name: to `tol` of the map's largest number. */
static void compare(const sg_model *m, const sg_tensor *pixels, double tol)
{
    sg_glass *glass;
    sg_value *fetches[MOST_MAPS];
    sg_tensor out[MOST_MAPS];
    sg_error err;
    const sg_named_feed feed = {"pixels", *pixels};
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    for (int i = 1; i < n_made; i++)
        CHECK_OK(sg_glass_find(glass, made_name[i], &fetches[i - 1], &err), &err);
    CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, n_made - 1, fetches, out, &err), &err);
    for (int i = 1; i < n_made; i++) {
        const sg_dim n = made[i].channels * (made[i].side ? made[i].side * made[i].side : 1);
        double most = 0, off = 0;
        CHECK(sg_tensor_count(&out[i - 1]) == n * pixels->dims[0]);
        for (sg_dim k = 0; k < n; k++) {
            most = SG_MAX(most, fabs(made[i].x[k]));
            off = SG_MAX(off, fabs(made[i].x[k] - sg_tensor_get(&out[i - 1], k)));
        }
        if (!(off <= tol * most))
            print_error("%s: off by %g, its largest number is %g\n", made_name[i], off, most);
        CHECK(most > 0 && off <= tol * most);
    }
    sg_glass_free(glass);
}

static sg_model *open_model(const char *path, sg_dtype dtype)
{
    sg_model *m;
    sg_error err;
    sg_model_opts opts = sg_model_defaults();
    opts.dtype = dtype;
    CHECK_OK(sg_model_open(&m, path, opts, &err), &err);
    return m;
}

static sg_safetensors *open_file(const char *path)
{
    sg_safetensors *f;
    sg_error err;
    CHECK_OK(sg_safetensors_open(&f, path, &err), &err);
    return f;
}

static void check_file(const char *path, bool mobile, const row *rows, int n_rows, int blocks, sg_dtype dtype,
                       double tol)
{
    sg_model *m = open_model(path, dtype);
    sg_safetensors *f = open_file(path);
    const sg_dim side = sg_model_get_info(m)->image_side;
    sg_tensor pixels = random_pixels(dtype, 1, 3, side);
    CHECK(sg_model_get_info(m)->task == SG_TASK_LABEL);
    CHECK(strcmp(sg_model_get_info(m)->family, mobile ? "mobilenet_v2" : "resnet_cifar") == 0);
    if (mobile)
        naive_mobilenet(f, rows, n_rows, &pixels);
    else
        naive_resnet(f, blocks, &pixels);
    compare(m, &pixels, tol);
    forget_maps();
    free(pixels.data);
    sg_safetensors_close(f);
    sg_model_close(m);
}

static void small_files_of_weights_give_what_plain_loops_give(void **state)
{
    (void)state;
    write_mobilenet("convolutional_test.safetensors", tiny, SG_COUNT_OF(tiny), 7);
    check_file("convolutional_test.safetensors", true, tiny, SG_COUNT_OF(tiny), 0, SG_F64, 1e-11);
    check_file("convolutional_test.safetensors", true, tiny, SG_COUNT_OF(tiny), 0, SG_F32, 1e-5);
    write_resnet("convolutional_test.safetensors", 2);
    check_file("convolutional_test.safetensors", false, NULL, 0, 2, SG_F64, 1e-11);
    check_file("convolutional_test.safetensors", false, NULL, 0, 2, SG_F32, 1e-5);
    remove("convolutional_test.safetensors");
}

static void mobilenet_v2_gives_what_plain_loops_give(void **state)
{
    (void)state;
    char path[1024];
    SKIP_WITHOUT(sg_test_shared(path, "data/mobilenet/mobilenet_v2_1.0_224.f16.safetensors"), "MobileNetV2");
    check_file(path, true, paper, SG_COUNT_OF(paper), 0, SG_F32, 1e-4);
    sg_model *m = open_model(path, SG_F32);
    CHECK(sg_model_get_info(m)->n_labels == 1001 && sg_model_get_info(m)->n_layers == 53);
    CHECK(sg_model_label(m, 0) && strcmp(sg_model_label(m, 0), "background") == 0);
    sg_model_close(m);
}

static void resnet_20_gives_what_plain_loops_give(void **state)
{
    (void)state;
    char path[1024];
    SKIP_WITHOUT(sg_test_shared(path, "data/resnet_cifar10/resnet20-12fca82f.safetensors"), "ResNet-20");
    check_file(path, false, NULL, 0, 3, SG_F32, 1e-4);
}

/* ---- convnet ---- */

static const char small_config[] =
    "{\"architectures\": [\"ConvNetForImageClassification\"], \"model_type\": \"convnet\", \"image_size\": 9, "
    "\"num_channels\": 2,"
    " \"num_labels\": 3, \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}, \"layers\": ["
    "{\"kind\": \"conv\", \"channels\": 4, \"stride\": 2}, {\"kind\": \"depthwise\", \"activation\": \"relu6\"},"
    " {\"kind\": \"max_pool\", \"kernel\": 2}, {\"kind\": \"conv\", \"channels\": 5, \"kernel\": 1, \"activation\": "
    "\"linear\"},"
    " {\"kind\": \"dense\", \"channels\": 6}]}";

/* The weights of a model in memory, as a file would have them. */
static sg_safetensors *save_and_open(const sg_model *m, const char *dir)
{
    char path[300];
    sg_error err;
    CHECK_OK(sg_convnet_save(m, SG_F32, dir, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    return open_file(path);
}

static void a_convnet_is_made_saved_and_opened(void **state)
{
    (void)state;
    sg_model *m, *again;
    sg_error err;
    CHECK_OK(sg_convnet_new(&m, small_config, 3, &err), &err);
    sg_tensor pixels = random_pixels(SG_F32, 2, 2, 9);
    sg_safetensors *f = save_and_open(m, "convolutional_test_folder");
    map *x = pixels_map(&pixels, 0);
    x = conv("conv1.out", x, weight_of(f, "conv1.weight", ""), weight_of(f, "conv1.bias", ""), false, false, 2, 1, 5,
             RELU);
    x = conv("conv2.out", x, weight_of(f, "conv2.weight", ""), weight_of(f, "conv2.bias", ""), false, true, 1, 1, 5,
             RELU6);
    map *pool = new_map("pool1.pooled", 4, 2);
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 4; i++) {
            const double *at = &x->x[c * 25 + i / 2 * 10 + i % 2 * 2];
            pool->x[c * 4 + i] = SG_MAX(SG_MAX(at[0], at[1]), SG_MAX(at[5], at[6]));
        }
    x = conv("conv3.out", pool, weight_of(f, "conv3.weight", ""), weight_of(f, "conv3.bias", ""), false, false, 1, 0, 2,
             LINEAR);
    x = dense("dense1.out", x, weight_of(f, "dense1.weight", ""), weight_of(f, "dense1.bias", ""), RELU);
    dense("class_logits", x, weight_of(f, "labels.weight", ""), weight_of(f, "labels.bias", ""), LINEAR);
    compare(m, &pixels, 1e-5);
    again = open_model("convolutional_test_folder", SG_F32);
    compare(again, &pixels, 1e-5);
    CHECK(sg_model_hash(again) == sg_model_hash(m) && sg_model_hash(m) != 0);
    CHECK(strcmp(sg_model_label(again, 2), "c") == 0 && sg_model_get_info(again)->image_side == 9);
    forget_maps();
    sg_safetensors_close(f);
    sg_model_close(again);
    sg_model_close(m);
    free(pixels.data);
    sg_test_remove_all("convolutional_test_folder");
}

/* A picture of one colour as each family reads it: greys as Pillow has them, x / 127.5 - 1, CIFAR-10's means. */
static void pictures_become_what_each_family_reads(void **state)
{
    (void)state;
    static uint8_t rgb[40 * 50 * 3];
    for (int i = 0; i < 40 * 50; i++)
        memcpy(rgb + 3 * i, (const uint8_t[]){200, 100, 50}, 3);
    const sg_bitmap picture = {40, 50, rgb}, *const list[] = {&picture, &picture};
    static const char grey[] =
        "{\"architectures\": [\"ConvNetModel\"], \"image_size\": 7, \"num_channels\": 1, \"num_labels\": 2, "
        "\"layers\": []}";
    sg_model *m[3];
    sg_error err;
    CHECK_OK(sg_convnet_new(&m[0], grey, 1, &err), &err);
    write_mobilenet("convolutional_test.safetensors", tiny, SG_COUNT_OF(tiny), 7);
    m[1] = open_model("convolutional_test.safetensors", SG_F32);
    write_resnet("convolutional_test_2.safetensors", 1);
    m[2] = open_model("convolutional_test_2.safetensors", SG_F32);
    const double want[3][3] = {{124 / 255.0}, /* .299 200 + .587 100 + .114 50 = 124.2 */
                               {200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1},
                               {(200 / 255.0 - .485) / .229, (100 / 255.0 - .456) / .224, (50 / 255.0 - .406) / .225}};
    for (int k = 0; k < 3; k++) {
        const sg_dim side = sg_model_get_info(m[k])->image_side, channels = sg_model_get_info(m[k])->n_channels;
        sg_tensor t;
        CHECK_OK(sg_model_pixels(m[k], 2, list, &t, &err), &err);
        CHECK(t.dims[0] == 2 && t.dims[1] == channels && t.dims[2] == side && t.dims[3] == side);
        for (sg_dim i = 0; i < sg_tensor_count(&t); i++)
            CHECK_NEAR(sg_tensor_get(&t, i), want[k][i / (side * side) % channels], 1e-6, 0);
        free(t.data);
        sg_model_close(m[k]);
    }
    CHECK_OK(sg_convnet_new(&m[0], small_config, 1, &err), &err); /* of two channels */
    sg_tensor t;
    CHECK_STATUS(sg_model_pixels(m[0], 1, list, &t, &err), SG_EUNSUPPORTED);
    sg_model_close(m[0]);
    remove("convolutional_test.safetensors");
    remove("convolutional_test_2.safetensors");
}

/* d class_logits[0,k] / d pixels against (f(x+h) - f(x-h)) / 2h, in f64, over conv, depthwise conv, ReLU6, pooling. */
static void check_gradient(const sg_model *m, sg_dim channels, int n_checked)
{
    sg_glass *glass;
    sg_error err;
    const sg_dim side = sg_model_get_info(m)->image_side;
    sg_tensor pixels = random_pixels(SG_F64, 1, channels, side), out[2];
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    sg_graph *g = sg_glass_graph(glass);
    sg_value *logits = sg_graph_find(g, "class_logits"), *x = sg_graph_find(g, "pixels");
    sg_value *y = sg_sum_all(g, sg_slice(g, logits, 1, 1, 2, 1)), *grad = sg_grad(g, y, x);
    const sg_named_feed feed = {"pixels", pixels};
    CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, 1, &grad, out, &err), &err);
    double *analytic = malloc(sg_tensor_bytes(&pixels)), *at = pixels.data;
    memcpy(analytic, out[0].data, sg_tensor_bytes(&pixels));
    sg_rng r = sg_rng_new(4, 4);
    double most = 0;
    for (sg_dim i = 0; i < sg_tensor_count(&pixels); i++)
        most = SG_MAX(most, fabs(analytic[i]));
    CHECK(most > 0);
    for (int k = 0; k < n_checked; k++) {
        const sg_dim i = sg_rng_below(&r, (uint32_t)sg_tensor_count(&pixels));
        const double was = at[i], h = 1e-6;
        double f[2];
        for (int s = 0; s < 2; s++) {
            at[i] = was + (s ? h : -h);
            CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, 1, &y, out, &err), &err);
            f[s] = sg_tensor_get(&out[0], 0);
        }
        at[i] = was;
        CHECK_NEAR(analytic[i], (f[1] - f[0]) / (2 * h), 1e-5 * most, 1e-5);
    }
    free(analytic);
    free(pixels.data);
    sg_glass_free(glass);
}

static void input_gradients_are_finite_differences(void **state)
{
    (void)state;
    sg_model *m;
    sg_error err;
    CHECK_OK(sg_convnet_new(&m, small_config, 3, &err), &err);
    sg_safetensors_close(save_and_open(m, "convolutional_test_folder"));
    sg_model_close(m);
    m = open_model("convolutional_test_folder", SG_F64);
    check_gradient(m, 2, 40);
    sg_model_close(m);
    write_resnet("convolutional_test.safetensors", 1); /* norms, shortcuts, a global mean */
    m = open_model("convolutional_test.safetensors", SG_F64);
    check_gradient(m, 3, 20);
    sg_model_close(m);
    remove("convolutional_test.safetensors");
    sg_test_remove_all("convolutional_test_folder");
}

static void edits_take_channels_for_heads(void **state)
{
    (void)state;
    sg_model *m;
    sg_glass *glass;
    sg_error err;
    CHECK_OK(sg_convnet_new(&m, small_config, 3, &err), &err);
    CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
    sg_edit e = sg_edit_defaults();
    const sg_span third = {2, 2};
    e.site = "conv1.out";
    e.op = SG_EDIT_ABLATE;
    e.heads = (sg_spans){1, &third};
    CHECK_OK(sg_glass_edit(glass, 1, &e, &err), &err);
    sg_tensor pixels = random_pixels(SG_F32, 2, 2, 9), out[2];
    const sg_named_feed feed = {"pixels", pixels};
    sg_value *fetches[2];
    CHECK_OK(sg_glass_find(glass, "conv1.out", &fetches[0], &err), &err);
    CHECK_OK(sg_glass_find(glass, "conv1.out.unedited", &fetches[1], &err), &err);
    CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, 2, fetches, out, &err), &err);
    bool any = false;
    for (sg_dim i = 0; i < sg_tensor_count(&out[0]); i++) {
        const bool cut = i / 25 % 4 == 2;
        any |= cut && sg_tensor_get(&out[1], i) > 0;
        CHECK(sg_tensor_get(&out[0], i) == (cut ? 0 : sg_tensor_get(&out[1], i)));
    }
    CHECK(any);
    free(pixels.data);
    sg_glass_free(glass);
    sg_model_close(m);
}

static void calibrated_layers_have_mean_0_and_variance_1(void **state)
{
    (void)state;
    write_resnet("convolutional_test.safetensors", 1);
    sg_model *opened = open_model("convolutional_test.safetensors", SG_F32), *made_here;
    sg_error err;
    CHECK_OK(sg_convnet_new(&made_here, small_config, 3, &err), &err);
    for (int k = 0; k < 2; k++) {
        const sg_model *like = k ? opened : made_here;
        const char *site = k ? "layer3.0.conv2.out" : "conv3.out";
        const sg_dim channels = k ? 3 : 2, side = k ? 32 : 9;
        sg_model *m;
        sg_glass *glass;
        sg_value *v;
        sg_tensor pixels = random_pixels(SG_F32, 40, channels, side), out;
        CHECK_OK(sg_convnet_fresh(&m, like, 8, &err), &err);
        CHECK_OK(sg_convnet_calibrate(m, &pixels, &err), &err);
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        CHECK_OK(sg_glass_find(glass, site, &v, &err), &err);
        const sg_named_feed feed = {"pixels", pixels};
        CHECK_OK(sg_glass_run(glass, NULL, 1, &feed, 1, &v, &out, &err), &err);
        const sg_dim plane = out.dims[2] * out.dims[3];
        for (sg_dim c = 0; c < out.dims[1]; c++) {
            double sum = 0, squares = 0;
            const double n = (double)(out.dims[0] * plane);
            for (sg_dim i = 0; i < out.dims[0] * plane; i++) {
                const double x = sg_tensor_get(&out, (i / plane * out.dims[1] + c) * plane + i % plane);
                sum += x;
                squares += x * x;
            }
            CHECK_NEAR(sum / n, 0, 1e-4, 0);
            CHECK_NEAR(squares / n, 1, 1e-3, 0); /* a little is added to variances */
        }
        sg_glass_free(glass);
        sg_model_close(m);
        free(pixels.data);
    }
    CHECK_STATUS(sg_convnet_calibrate(opened, NULL, &err), SG_EARG);
    sg_model_close(made_here);
    sg_model_close(opened);
    remove("convolutional_test.safetensors");
}

static void odd_configs_and_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *words;
    } bad[] = {
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2, \"layers\": [{\"kind\": "
         "\"cnv\"}]}",
         "layer's kind"},
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2}", "layers is not a list"},
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2, \"layers\": [{\"kind\": "
         "\"conv\"}]}",
         "channels"},
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2, \"layers\": [{\"kind\": "
         "\"max_pool\", "
         "\"kernel\": 9}]}",
         "pool1 has a window of 9"},
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2, \"layers\": [{\"kind\": "
         "\"dense\", \"channels\": 2}, "
         "{\"kind\": \"conv\", \"channels\": 2}]}",
         "conv1 reads a map"},
        {"{\"architectures\": [\"ConvNetModel\"], \"image_size\": 8, \"num_labels\": 2, \"layers\": [], \"id2label\": "
         "{\"0\": \"x\"}}",
         "id2label has 1"},
    };
    sg_model *m;
    sg_error err;
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        CHECK(sg_convnet_new(&m, bad[i].config, 0, &err) == SG_EFORMAT && m == NULL);
        CHECK_TEXT(err.text, bad[i].words);
        CHECK(!strchr(err.text, '\n'));
    }
    write_mobilenet("convolutional_test.safetensors", tiny, 2, 3);
    sg_safetensors *f = open_file("convolutional_test.safetensors");
    for (int i = 0; i < sg_safetensors_count(f); i++) /* without one step */
        if (!strstr(sg_safetensors_name(f, i), "op04"))
            written[n_written++] = (sg_named_tensor){sg_safetensors_name(f, i), *sg_safetensors_at(f, i)};
    const int n = n_written;
    n_written = 0;
    sg_named_tensor sorted[256];
    int k = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++)
            if ((written[i].tensor.dtype == SG_F32) == (pass == 0))
                sorted[k++] = written[i];
    CHECK_OK(sg_safetensors_save("convolutional_test_2.safetensors", sorted, k, NULL, 0, &err), &err);
    sg_safetensors_close(f);
    CHECK(sg_model_open(&m, "convolutional_test_2.safetensors", sg_model_defaults(), &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "step");
    sg_rng r = sg_rng_new(1, 1);
    add_weight(&r, "some.weight", SG_F32, 1, (sg_dim[]){3}, 0, 1);
    write_file("convolutional_test_2.safetensors");
    CHECK(sg_model_open(&m, "convolutional_test_2.safetensors", sg_model_defaults(), &err) == SG_EUNSUPPORTED);
    remove("convolutional_test.safetensors");
    remove("convolutional_test_2.safetensors");
}

/* Bytes of a good config changed at random: refused in a line, or sizes that fit. */
static void changed_configs_are_refused_or_fit(void **state)
{
    (void)state;
    static const char bytes[] = "{}[]:,\"0123456789-e \n";
    sg_rng r = sg_rng_new(21, 0);
    int n_good = 0;
    for (int k = 0; k < 4000; k++) {
        char text[sizeof small_config];
        memcpy(text, small_config, sizeof text);
        for (uint32_t n = 1 + sg_rng_below(&r, 2); n; n--)
            text[sg_rng_below(&r, sizeof text - 1)] = bytes[sg_rng_below(&r, sizeof bytes - 1)];
        sg_model m = {.arena = sg_arena_new(), .opts = sg_model_defaults()};
        sg_error err = {SG_OK, ""};
        if (sg_config_parse(&m, text, strlen(text), "changed", &err) != SG_OK) {
            CHECK(err.text[0] && !strchr(err.text, '\n'));
        } else if (m.encoder && m.encoder->conv) {
            n_good++;
            CHECK_OK(sg_conv_name_weights(&m, &err), &err);
            for (int i = 0; i < m.encoder->n_weights; i++)
                CHECK(sg_tensor_count(&m.encoder->weights[i].tensor) > 0);
        }
        sg_arena_free(m.arena);
    }
    CHECK(n_good > 100 && n_good < 3900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_files_of_weights_give_what_plain_loops_give),
        cmocka_unit_test(mobilenet_v2_gives_what_plain_loops_give),
        cmocka_unit_test(resnet_20_gives_what_plain_loops_give),
        cmocka_unit_test(a_convnet_is_made_saved_and_opened),
        cmocka_unit_test(pictures_become_what_each_family_reads),
        cmocka_unit_test(input_gradients_are_finite_differences),
        cmocka_unit_test(edits_take_channels_for_heads),
        cmocka_unit_test(calibrated_layers_have_mean_0_and_variance_1),
        cmocka_unit_test(odd_configs_and_files_are_refused),
        cmocka_unit_test(changed_configs_are_refused_or_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
