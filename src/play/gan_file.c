/* GAN Lab's model files, from facts and weights to a GAN and back. One table says which keys there are, so what a
 * command reads and what a page reads is the same. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "play/gan_internal.h"

/* ---- the keys ---- */

enum {
    SHAPE,
    ITERATION,
    NOISE,
    NOISE_DIMS,
    G_LAYERS,
    D_LAYERS,
    G_UNITS,
    D_UNITS,
    D_RATE,
    G_RATE,
    D_RULE,
    G_RULE,
    LOSS,
    D_K,
    G_K,
    N_KEYS
};

static const char *name_of(int key, int i)
{
    switch (key) {
    case SHAPE:
        return sg_gan_shape_name((sg_gan_shape)i);
    case NOISE:
        return sg_gan_noise_name((sg_gan_noise)i);
    case LOSS:
        return sg_gan_loss_name((sg_gan_loss)i);
    default:
        return sg_gan_rule_name((sg_gan_rule)i);
    }
}

static const struct {
    const char *name;
    int n_names; /* of a choice; 0: a number */
    double least, most;
    bool real;
} keys[N_KEYS] = {
    [SHAPE] = {"shape_name", SG_N_GAN_SHAPES, 0, 0, false},
    [ITERATION] = {"iter_count", 0, 0, SG_GAN_LAST, false},
    [NOISE] = {"config.selectedNoiseType", SG_N_GAN_NOISES, 0, 0, false},
    [NOISE_DIMS] = {"config.noiseSize", 0, 1, 2, false},
    [G_LAYERS] = {"config.numGeneratorLayers", 0, 0, SG_GAN_MOST_LAYERS, false},
    [D_LAYERS] = {"config.numDiscriminatorLayers", 0, 0, SG_GAN_MOST_LAYERS, false},
    [G_UNITS] = {"config.numGeneratorNeurons", 0, 1, SG_GAN_MOST_UNITS, false},
    [D_UNITS] = {"config.numDiscriminatorNeurons", 0, 1, SG_GAN_MOST_UNITS, false},
    [D_RATE] = {"config.dLearningRate", 0, 1e-9, 100, true},
    [G_RATE] = {"config.gLearningRate", 0, 1e-9, 100, true},
    [D_RULE] = {"config.dOptimizerType", SG_N_GAN_RULES, 0, 0, false},
    [G_RULE] = {"config.gOptimizerType", SG_N_GAN_RULES, 0, 0, false},
    [LOSS] = {"config.lossType", SG_N_GAN_LOSSES, 0, 0, false},
    [D_K] = {"config.kDSteps", 0, 0, SG_GAN_MOST_K, false},
    [G_K] = {"config.kGSteps", 0, 0, SG_GAN_MOST_K, false},
};

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
    return *a == *b;
}

static sg_status read_choice(double *out, int key, const char *text, sg_error *err)
{
    char names[160] = "";
    size_t at = 0;
    for (int i = 0; i < keys[key].n_names; i++) {
        if (same_name(text, name_of(key, i))) {
            *out = i;
            return SG_OK;
        }
        at += (size_t)snprintf(names + at, sizeof names - at, "%s\"%s\"", i ? ", " : "", name_of(key, i));
    }
    return sg_fail(err, SG_EFORMAT, "GAN Lab model: %s is \"%.40s\", wanted one of %s", keys[key].name, text, names);
}

static sg_status read_key(double *out, int key, const sg_tfjs *file, sg_error *err)
{
    const char *text = sg_tfjs_fact(file, keys[key].name);
    char *end;
    if (!text && key == LOSS) { /* as the original saved it before anyone chose */
        *out = SG_GAN_LOG;
        return SG_OK;
    }
    if (!text)
        return sg_fail(err, SG_EFORMAT, "GAN Lab model: modelTopology lacks %s", keys[key].name);
    if (keys[key].n_names)
        return read_choice(out, key, text, err);
    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= keys[key].least && *out <= keys[key].most) ||
        (!keys[key].real && *out != floor(*out)))
        return sg_fail(err, SG_EFORMAT, "GAN Lab model: %s is \"%.40s\", wanted a%s number from %g to %g",
                       keys[key].name, text, keys[key].real ? "" : " whole", keys[key].least, keys[key].most);
    return SG_OK;
}

/* ---- strokes: our addition, "x,y x,y ..." ---- */

static sg_status read_strokes(float **out, int *n, const char *text, sg_error *err)
{
    const size_t most = strlen(text) / 4 + 1; /* "0,0 " */
    float *xy = malloc(most * 2 * sizeof *xy);
    if (!xy)
        return sg_fail(err, SG_ENOMEM, "GAN Lab model: out of memory");
    *n = 0;
    for (const char *at = text; *at && (size_t)*n < most;) {
        char *end;
        for (int k = 0; k < 2; k++) {
            xy[2 * *n + k] = strtof(at, &end);
            if (end == at || *end != (k == 0 ? ',' : *end == ' ' ? ' ' : 0)) {
                free(xy);
                return sg_fail(err, SG_EFORMAT, "GAN Lab model: strokes: point %d is not \"x,y\"", *n);
            }
            at = *end ? end + 1 : end;
        }
        ++*n;
    }
    *out = xy;
    return SG_OK;
}

/* ---- reading ---- */

static sg_gan_net_opts net_of(const double *x, int layers, int units, int k, int rule, int rate)
{
    return (sg_gan_net_opts){.n_layers = (int)x[layers],
                             .n_units = (int)x[units],
                             .k = (int)x[k],
                             .rule = (sg_gan_rule)(int)x[rule],
                             .rate = x[rate]};
}

static sg_status read_weights(sg_gan *gan, const sg_tfjs *file, sg_error *err)
{
    int n = 0;
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        for (int i = 0; i < gan->v.n_params[net]; i++, n++) {
            const char *name = sg_value_name(gan->v.param[net][i]);
            sg_tensor *to = sg_state_tensor(gan->state, gan->v.param[net][i]);
            const sg_tensor *from = sg_tfjs_find(file, name);
            char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
            if (!from)
                return sg_fail(err, SG_EFORMAT, "GAN Lab model: there is no weight %s", name);
            if (from->dtype != SG_F32 || from->n_dims != to->n_dims ||
                memcmp(from->dims, to->dims, (size_t)to->n_dims * sizeof *to->dims) != 0)
                return sg_fail(err, SG_EFORMAT, "GAN Lab model: weight %s is %s%s, its layers want f32%s", name,
                               sg_dtype_name(from->dtype), sg_shape_text(found, from->n_dims, from->dims),
                               sg_shape_text(wanted, to->n_dims, to->dims));
            for (sg_dim k = 0; k < sg_tensor_count(from); k++)
                if (!isfinite(((const float *)from->data)[k]))
                    return sg_fail(err, SG_EFORMAT, "GAN Lab model: weight %s holds a number that is not finite", name);
            memcpy(to->data, from->data, sg_tensor_bytes(to));
        }
    if (sg_tfjs_count(file) != n)
        return sg_fail(err, SG_EFORMAT, "GAN Lab model: there are %d weights, its layers want %d", sg_tfjs_count(file),
                       n);
    return SG_OK;
}

static sg_status read_seed(uint64_t *seed, const char *text, sg_error *err)
{
    bool ok = text[0] != 0;
    *seed = 0;
    for (const char *c = text; *c && ok; c++)
        ok = *c >= '0' && *c <= '9' && !__builtin_mul_overflow(*seed, 10, seed) &&
             !__builtin_add_overflow(*seed, (uint64_t)(*c - '0'), seed);
    return ok ? SG_OK : sg_fail(err, SG_EFORMAT, "GAN Lab model: seed is \"%.40s\", wanted a whole number", text);
}

static sg_status read_options(sg_gan_opts *o, sg_dim *iteration, const sg_tfjs *file, sg_error *err)
{
    double x[N_KEYS];
    for (int key = 0; key < N_KEYS; key++)
        SG_TRY(read_key(&x[key], key, file, err));
    o->shape = (sg_gan_shape)(int)x[SHAPE];
    o->noise = (sg_gan_noise)(int)x[NOISE];
    o->loss = (sg_gan_loss)(int)x[LOSS];
    o->net[SG_GAN_D] = net_of(x, D_LAYERS, D_UNITS, D_K, D_RULE, D_RATE);
    o->net[SG_GAN_G] = net_of(x, G_LAYERS, G_UNITS, G_K, G_RULE, G_RATE);
    *iteration = (sg_dim)x[ITERATION];
    if (sg_gan_noise_dims(o->noise) != (int)x[NOISE_DIMS])
        return sg_fail(err, SG_EFORMAT, "GAN Lab model: noise \"%s\" of noiseSize %g", sg_gan_noise_name(o->noise),
                       x[NOISE_DIMS]);
    if (sg_tfjs_fact(file, "seed"))
        SG_TRY(read_seed(&o->seed, sg_tfjs_fact(file, "seed"), err));
    return SG_OK;
}

sg_status sg_gan_from(sg_gan **out, const sg_tfjs *file, uint64_t seed, sg_error *err)
{
    sg_gan_opts o = sg_gan_defaults();
    sg_dim iteration;
    float *strokes = NULL;
    *out = NULL;
    o.seed = seed;
    SG_TRY(read_options(&o, &iteration, file, err));
    if (o.shape == SG_GAN_DRAWING) {
        if (!sg_tfjs_fact(file, "strokes"))
            return sg_fail(err, SG_EUNSUPPORTED,
                           "GAN Lab model: it was trained on a drawing, which the file does not hold");
        SG_TRY(read_strokes(&strokes, &o.n_strokes, sg_tfjs_fact(file, "strokes"), err));
        o.strokes = strokes;
    }
    sg_gan *gan = NULL;
    sg_status status = sg_gan_new(&gan, &o, err);
    free(strokes);
    if (status == SG_OK)
        status = read_weights(gan, file, err);
    if (status != SG_OK) {
        sg_gan_free(gan);
        return status == SG_EARG ? SG_EFORMAT : status; /* options of a file are no wrong use */
    }
    gan->iteration = iteration;
    *out = gan;
    return SG_OK;
}

/* ---- writing ---- */

/* The shortest text that reads as x again. */
static void put_number(sg_str *s, double x)
{
    char text[40];
    if (x == floor(x) && fabs(x) < 1e15) {
        sg_str_printf(s, "%.0f", x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    sg_str_puts(s, text);
}

static void put_text(sg_str *s, const char *text)
{
    sg_str_puts(s, "\"");
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20)
            sg_str_printf(s, "\\u%04x", (unsigned)*text);
        else
            sg_str_printf(s, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    sg_str_puts(s, "\"");
}

static double value_of(const sg_gan *gan, int key)
{
    const sg_gan_opts *o = &gan->opts;
    const sg_gan_net_opts *d = &o->net[SG_GAN_D], *g = &o->net[SG_GAN_G];
    const double x[N_KEYS] = {[SHAPE] = o->shape,
                              [ITERATION] = (double)gan->iteration,
                              [NOISE] = o->noise,
                              [NOISE_DIMS] = sg_gan_noise_dims(o->noise),
                              [G_LAYERS] = g->n_layers,
                              [D_LAYERS] = d->n_layers,
                              [G_UNITS] = g->n_units,
                              [D_UNITS] = d->n_units,
                              [D_RATE] = d->rate,
                              [G_RATE] = g->rate,
                              [D_RULE] = d->rule,
                              [G_RULE] = g->rule,
                              [LOSS] = o->loss,
                              [D_K] = d->k,
                              [G_K] = g->k};
    return x[key];
}

static void put_topology(sg_str *s, const sg_gan *gan)
{
    const size_t n = strlen("config.");
    for (int key = 0; key < N_KEYS; key++) {
        const bool in_config = strncmp(keys[key].name, "config.", n) == 0;
        if (key == NOISE)
            sg_str_puts(s, "\"config\":{");
        put_text(s, keys[key].name + (in_config ? n : 0));
        sg_str_puts(s, ":");
        if (keys[key].n_names)
            put_text(s, name_of(key, (int)value_of(gan, key)));
        else
            put_number(s, value_of(gan, key));
        sg_str_puts(s, key + 1 < N_KEYS ? "," : "}");
    }
    sg_str_printf(s, ",\"seed\":\"%llu\"", (unsigned long long)gan->opts.seed);
    if (gan->opts.shape != SG_GAN_DRAWING)
        return;
    sg_str_puts(s, ",\"strokes\":\"");
    for (int i = 0; i < gan->opts.n_strokes; i++)
        sg_str_printf(s, "%s%.9g,%.9g", i ? " " : "", (double)gan->strokes[2 * i], (double)gan->strokes[2 * i + 1]);
    sg_str_puts(s, "\"");
}

static void put_manifest(sg_str *s, sg_gan *gan, const char *weights_name, sg_dim *count)
{
    sg_str_puts(s, "\"weightsManifest\":[{\"paths\":[");
    put_text(s, weights_name);
    sg_str_puts(s, "],\"weights\":[");
    *count = 0;
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        for (int i = 0; i < gan->v.n_params[net]; i++) {
            const sg_tensor *t = sg_state_tensor(gan->state, gan->v.param[net][i]);
            sg_str_printf(s, "%s{\"name\":\"%s\",\"shape\":[", net + i ? "," : "", sg_value_name(gan->v.param[net][i]));
            for (int d = 0; d < t->n_dims; d++)
                sg_str_printf(s, "%s%lld", d ? "," : "", (long long)t->dims[d]);
            sg_str_puts(s, "],\"dtype\":\"float32\"}");
            *count += sg_tensor_count(t);
        }
    sg_str_puts(s, "]}]");
}

sg_status sg_gan_write(sg_gan *gan, const char *weights_name, char **json, float **weights, sg_dim *n_weights,
                       sg_error *err)
{
    sg_str s = {0};
    *json = NULL;
    *weights = NULL;
    sg_str_puts(&s, "{\"modelTopology\":{");
    put_topology(&s, gan);
    sg_str_puts(&s, "},");
    put_manifest(&s, gan, weights_name, n_weights);
    sg_str_puts(&s, "}\n");
    float *numbers = malloc((size_t)*n_weights * sizeof *numbers), *at = numbers;
    if (s.failed || !numbers) {
        sg_str_free(&s);
        free(numbers);
        return sg_fail(err, SG_ENOMEM, "gan: out of memory");
    }
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        for (int i = 0; i < gan->v.n_params[net]; i++) {
            const sg_tensor *t = sg_state_tensor(gan->state, gan->v.param[net][i]);
            memcpy(at, t->data, sg_tensor_bytes(t)); /* both machines that we build for store the low byte first */
            at += sg_tensor_count(t);
        }
    *json = s.text;
    *weights = numbers;
    return SG_OK;
}
