/* Pictures as a model of images reads them: resized, cut to the middle, scaled, normalised, as preprocessor_config.json
 * says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

struct sg_preprocess {
    const char *path;
    bool resize, crop, rescale, normalize;
    sg_filter filter;
    int shortest; /* 0: height and width are given */
    int height, width, crop_height, crop_width;
    double factor, mean[3], std[3];
};

static sg_status flag(const json_t *config, const char *path, const char *key, bool fallback, bool *out, sg_error *err)
{
    const json_t *v = json_object_get(config, key);

    *out = !v || json_is_null(v) ? fallback : json_is_true(v);
    if (v && !json_is_null(v) && !json_is_boolean(v))
        return sg_fail(err, SG_EFORMAT, "%s: %s is neither true nor false", path, key);
    return SG_OK;
}

static sg_status extent(const json_t *v, const char *path, const char *key, int *out, sg_error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 8192)
        return sg_fail(err, SG_EFORMAT, "%s: %s has no whole number from 1 to 8192", path, key);
    *out = (int)json_integer_value(v);
    return SG_OK;
}

/* A number stands for a square, or, in older files of some families, for the shorter side; an object names what it is.
 */
static sg_status size(const json_t *v, const char *path, const char *key, bool number_is_short, int *height, int *width,
                      int *shortest, sg_error *err)
{
    *shortest = 0;
    if (json_is_integer(v)) {
        SG_TRY(extent(v, path, key, height, err));
        *width = *height;
        *shortest = number_is_short ? *height : 0;
        return SG_OK;
    }
    if (json_object_get(v, "shortest_edge") && !json_object_get(v, "longest_edge"))
        return extent(json_object_get(v, "shortest_edge"), path, key, shortest, err);
    if (json_object_get(v, "height") && json_object_get(v, "width")) {
        SG_TRY(extent(json_object_get(v, "height"), path, key, height, err));
        return extent(json_object_get(v, "width"), path, key, width, err);
    }
    return sg_fail(err, SG_EUNSUPPORTED, "%s: %s has neither shortest_edge alone nor height and width", path, key);
}

/* A number for each channel. */
static sg_status by_channel(const json_t *config, const char *path, const char *key, bool positive, sg_dim channels,
                            double out[3], sg_error *err)
{
    const json_t *v = json_object_get(config, key);
    const char *count = channels == 1 ? "one number" : "three numbers";

    if ((sg_dim)json_array_size(v) != channels)
        return sg_fail(err, SG_EFORMAT, "%s: %s is not %s", path, key, count);
    for (size_t i = 0; i < json_array_size(v); i++) {
        out[i] = json_number_value(json_array_get(v, i));
        if (!json_is_number(json_array_get(v, i)) || !isfinite(out[i]) || (positive && out[i] <= 0))
            return sg_fail(err, SG_EFORMAT, "%s: %s is not %s%s", path, key, count, positive ? " above 0" : "");
    }
    return SG_OK;
}

/* What a file does not say is as its family has it: vit alone is stretched to its square, bilinearly. */
static sg_status fill(sg_preprocess *p, const json_t *config, sg_dim side, sg_dim channels, bool stretched,
                      bool number_is_short, sg_error *err)
{
    const char *path = p->path;
    const json_t *resample = json_object_get(config, "resample");
    int short_crop = 0;

    SG_TRY(flag(config, path, "do_resize", true, &p->resize, err));
    SG_TRY(flag(config, path, "do_center_crop", !stretched, &p->crop, err));
    SG_TRY(flag(config, path, "do_rescale", true, &p->rescale, err));
    SG_TRY(flag(config, path, "do_normalize", true, &p->normalize, err));
    SG_TRY(sg_config_real(config, path, "rescale_factor", 1.0 / 255, &p->factor, err));
    p->filter = stretched ? SG_FILTER_BILINEAR : SG_FILTER_BICUBIC;
    if (resample && !json_is_null(resample)) {
        const json_int_t code = json_integer_value(resample);
        if (!json_is_integer(resample) || code < 0 || code >= SG_N_FILTERS)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: resample is none of the filters 0 to %d", path, SG_N_FILTERS - 1);
        p->filter = (sg_filter)code;
    }
    p->height = p->width = p->crop_height = p->crop_width = (int)side;
    p->shortest = stretched ? 0 : (int)side;
    if (p->resize && sg_config_has(config, "size"))
        SG_TRY(size(json_object_get(config, "size"), path, "size", number_is_short, &p->height, &p->width, &p->shortest,
                    err));
    if (p->crop && sg_config_has(config, "crop_size"))
        SG_TRY(size(json_object_get(config, "crop_size"), path, "crop_size", false, &p->crop_height, &p->crop_width,
                    &short_crop, err));
    if (short_crop)
        p->crop_height = p->crop_width = short_crop;
    if (p->normalize) {
        SG_TRY(by_channel(config, path, "image_mean", false, channels, p->mean, err));
        SG_TRY(by_channel(config, path, "image_std", true, channels, p->std, err));
    }
    if (!p->crop && (!p->resize || p->shortest))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: pictures keep a shape of their own, and the model reads squares",
                       path);
    return SG_OK;
}

sg_status sg_preprocess_stretch(sg_model *m, const double mean[3], const double deviation[3], sg_error *err)
{
    sg_preprocess *p = sg_arena_alloc(m->arena, sizeof *p);
    const int side = (int)m->info.image_side;

    if (!p)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    *p = (sg_preprocess){.path = m->info.path,
                         .resize = true,
                         .rescale = true,
                         .normalize = true,
                         .filter = SG_FILTER_BILINEAR,
                         .height = side,
                         .width = side,
                         .factor = 1.0 / 255};
    memcpy(p->mean, mean, sizeof p->mean);
    memcpy(p->std, deviation, sizeof p->std);
    m->encoder->preprocess = p;
    return SG_OK;
}

sg_status sg_preprocess_open(sg_model *m, const char *dir, sg_error *err)
{
    sg_encoder *e = m->encoder;
    const sg_conv_net *conv = e->conv;
    sg_tower *t = conv                ? NULL
                  : e->towers[0].image ? &e->towers[0]
                  : e->n_towers > 1    ? &e->towers[1]
                                       : NULL;
    char *path = sg_arena_printf(m->arena, "%s/preprocessor_config.json", dir);
    json_error_t at;

    if (!path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    FILE *there = t || conv ? fopen(path, "rb") : NULL;
    if (!there)
        return conv ? sg_conv_preprocess(m, err) : SG_OK;
    json_t *config = json_loadf(there, JSON_REJECT_DUPLICATES, &at);
    fclose(there);
    sg_preprocess *p = sg_arena_alloc(m->arena, sizeof *p);
    sg_status status = SG_OK;
    if (!p) {
        status = sg_fail(err, SG_ENOMEM, "out of memory for a model");
    } else if (!json_is_object(config)) {
        status = config ? sg_fail(err, SG_EFORMAT, "%s: not a JSON object", path)
                        : sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
    } else {
        /* Those of clip and dinov2 take a plain number for the shorter side. */
        const char *type = json_string_value(json_object_get(config, "image_processor_type"));
        type = type ? type : json_string_value(json_object_get(config, "feature_extractor_type"));
        const bool by_type = type && (strncmp(type, "CLIP", 4) == 0 || strncmp(type, "Bit", 3) == 0);
        p->path = path;
        status = fill(p, config, conv ? conv->side : t->stored, m->info.n_channels,
                      conv || strcmp(m->info.family, "vit") == 0,
                      type ? by_type : strncmp(m->info.family, "clip", 4) == 0, err);
    }
    json_decref(config);
    if (status != SG_OK)
        return status;
    const int height = p->crop ? p->crop_height : p->height, width = p->crop ? p->crop_width : p->width;
    if (t && t->pool == SG_POOL_FIRST && height == width &&
        height >= t->patch) { /* positions are found between those there are */
        t->side = m->info.image_side = height;
        if (t == &e->towers[0])
            m->info.n_context = sg_tower_places(t);
    }
    const sg_dim wanted = t ? t->side : conv->side;
    if (height != wanted || width != wanted)
        return sg_fail(err, SG_EFORMAT, "%s: makes pictures of %d rows and %d columns, the model reads %lld of each",
                       path, height, width, (long long)wanted);
    e->preprocess = p;
    return SG_OK;
}

/* The size of a picture before it is cut. */
static void resized(const sg_preprocess *p, const sg_bitmap *b, int *height, int *width)
{
    *height = p->resize ? p->height : b->height;
    *width = p->resize ? p->width : b->width;
    if (p->resize && p->shortest) {
        const bool upright = b->height >= b->width;
        const int longer = (int)((int64_t)p->shortest * SG_MAX(b->height, b->width) / SG_MIN(b->height, b->width));
        *height = upright ? longer : p->shortest;
        *width = upright ? p->shortest : longer;
    }
}

static int floor_half(int n)
{
    return n >= 0 ? n / 2 : -((1 - n) / 2);
}

/* ITU-R 601, rounded as Pillow does it. */
static double grey(const uint8_t rgb[3])
{
    return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16;
}

/* Where a picture is smaller than what is cut from it, there is black around. */
static void write(const sg_preprocess *p, const sg_bitmap *b, int channels, sg_dim side, sg_tensor *out, sg_dim at)
{
    const int top = p->crop ? floor_half(b->height - (int)side) : 0,
              left = p->crop ? floor_half(b->width - (int)side) : 0;

    for (int c = 0; c < channels; c++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++) {
                const int from_y = y + top, from_x = x + left;
                const bool inside = from_y >= 0 && from_x >= 0 && from_y < b->height && from_x < b->width;
                const uint8_t *rgb = inside ? b->rgb + ((sg_dim)from_y * b->width + from_x) * 3 : NULL;
                double v = !rgb ? 0 : channels == 3 ? rgb[c] : grey(rgb);
                v = p->rescale ? v * p->factor : v;
                sg_tensor_set(out, at + (c * side + y) * side + x, p->normalize ? (v - p->mean[c]) / p->std[c] : v);
            }
}

sg_status sg_model_pixels(const sg_model *m, int n, const sg_bitmap *const *pictures, sg_tensor *out, sg_error *err)
{
    const sg_preprocess *p = m->encoder ? m->encoder->preprocess : NULL;
    const sg_dim side = m->info.image_side, channels = m->info.n_channels, each = channels * side * side;

    if (!side)
        return sg_fail(err, SG_EARG, "%s reads no images", m->info.path);
    if (channels != 3 && channels != 1)
        return sg_fail(err, SG_EUNSUPPORTED, "%s reads images of %lld channels, pictures have 3, or 1 as greys",
                       m->info.path, (long long)channels);
    if (!p)
        return sg_fail(err, SG_ENOTFOUND,
                       "%s: has no preprocessor_config.json, which says how a picture becomes numbers", m->info.path);
    if (n < 1)
        return sg_fail(err, SG_EARG, "no pictures were given");
    *out = sg_tensor_of(m->opts.dtype, 4, (sg_dim[]){n, channels, side, side}, NULL);
    out->data = malloc(sg_tensor_bytes(out));
    if (!out->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d pictures", n);
    for (int i = 0; i < n; i++) {
        int height, width;
        sg_bitmap *small = NULL;
        resized(p, pictures[i], &height, &width);
        sg_status status = SG_OK;
        if (height != pictures[i]->height || width != pictures[i]->width)
            status = sg_bitmap_resize(&small, pictures[i], height, width, p->filter, err);
        if (status != SG_OK) {
            free(out->data);
            out->data = NULL;
            return status;
        }
        write(p, small ? small : pictures[i], (int)channels, side, out, i * each);
        sg_bitmap_free(small);
    }
    return SG_OK;
}
