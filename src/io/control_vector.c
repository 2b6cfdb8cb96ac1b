/* Control vectors from GGUF files, as edits, and edits as such files. */
#include "sightglass/control_vector.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/gguf.h"

#define MAX_LAYERS 4096

struct sg_control_vector {
    sg_gguf *file;
    const char *path;
    const char *model;
    int n;
    struct {
        sg_dim layer;
        const sg_tensor *direction;
    } * of;
};

/* "direction.12" -> 12; -1 for another name. */
static sg_dim layer_of(const char *name)
{
    char *end;

    if (strncmp(name, "direction.", 10) != 0 || name[10] < '0' || name[10] > '9')
        return -1;
    const long long i = strtoll(name + 10, &end, 10);
    return *end || i >= MAX_LAYERS ? -1 : i;
}

static sg_status read_all(sg_control_vector *cv, const char *path, sg_error *err)
{
    const char *kind = sg_gguf_text(cv->file, "general.architecture");
    const int n = sg_gguf_count(cv->file);
    char found[SG_SHAPE_TEXT], first[SG_SHAPE_TEXT];

    if (!kind || strcmp(kind, "controlvector") != 0)
        return sg_fail(err, SG_EFORMAT, "%s: general.architecture is %.40s, controlvector was wanted", path,
                       kind ? kind : "not there");
    cv->model = sg_gguf_text(cv->file, "controlvector.model_hint");
    cv->of = calloc((size_t)n + 1, sizeof *cv->of);
    if (!cv->of)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < n; i++) {
        const char *name = sg_gguf_name(cv->file, i);
        const sg_tensor *t = NULL;
        const sg_dim layer = layer_of(name);
        if (layer < 0)
            return sg_fail(err, SG_EFORMAT, "%s: the tensor %.100s is no direction.{layer}", path, name);
        SG_TRY(sg_gguf_get(&t, cv->file, name, err));
        if (t->n_dims != 1 || t->dims[0] < 1 || !sg_dtype_is_float(t->dtype) ||
            t->dims[0] != (i ? cv->of[0].direction : t)->dims[0])
            return sg_fail(err, SG_EFORMAT, "%s: %.100s is %s %s, a vector as long as the first %s was wanted", path,
                           name, sg_dtype_name(t->dtype), sg_shape_text(found, t->n_dims, t->dims),
                           sg_shape_text(first, 1, (i ? cv->of[0].direction : t)->dims));
        cv->of[cv->n].layer = layer;
        cv->of[cv->n++].direction = t;
    }
    return cv->n ? SG_OK : sg_fail(err, SG_EFORMAT, "%s: it has no direction", path);
}

sg_status sg_control_vector_open(sg_control_vector **out, const char *path, sg_error *err)
{
    sg_control_vector *cv = calloc(1, sizeof *cv);

    *out = NULL;
    if (!cv)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    sg_status status = sg_gguf_open(&cv->file, path, err);
    if (status == SG_OK)
        status = read_all(cv, path, err);
    if (status != SG_OK) {
        sg_control_vector_close(cv);
        return status;
    }
    *out = cv;
    return SG_OK;
}

void sg_control_vector_close(sg_control_vector *cv)
{
    if (!cv)
        return;
    sg_gguf_close(cv->file);
    free(cv->of);
    free(cv);
}

int sg_control_vector_count(const sg_control_vector *cv)
{
    return cv->n;
}

sg_dim sg_control_vector_layer(const sg_control_vector *cv, int i)
{
    return cv->of[i].layer;
}

const sg_tensor *sg_control_vector_direction(const sg_control_vector *cv, int i)
{
    return cv->of[i].direction;
}

const char *sg_control_vector_model(const sg_control_vector *cv)
{
    return cv->model;
}

sg_status sg_control_vector_edits(const sg_control_vector *cv, double strength, sg_span layers, sg_edit_list *list,
                                  sg_error *err)
{
    int n = 0;

    for (int i = 0; i < cv->n; i++) {
        char site[64];
        sg_edit e = sg_edit_defaults();
        if (cv->of[i].layer < layers.first || cv->of[i].layer > layers.last)
            continue;
        snprintf(site, sizeof site, "blocks.%" PRId64 ".hook_resid_post", cv->of[i].layer);
        e.site = site;
        e.op = SG_EDIT_ADD;
        e.value = *cv->of[i].direction;
        e.strength = strength;
        SG_TRY(sg_edit_list_add(list, &e, err));
        n++;
    }
    return n ? SG_OK
             : sg_fail(err, SG_EARG, "the control vector has no direction from layer %lld to %lld",
                       (long long)layers.first, (long long)layers.last);
}

/* ---- edits as a file ---- */

/* The block behind which a site lies; -1 where the format has no word for it. */
static sg_dim block_behind(const char *site)
{
    int layer = 0, end = 0;

    if (sscanf(site, "blocks.%d.%n", &layer, &end) != 1 || !end || layer < 0 || layer >= MAX_LAYERS)
        return -1;
    return strcmp(site + end, "hook_resid_post") == 0  ? layer
           : strcmp(site + end, "hook_resid_pre") == 0 ? layer - 1
                                                       : -1;
}

static sg_status check_edit(const sg_edit_list *list, int i, const sg_edit *e, sg_dim width, sg_error *err)
{
    const sg_dim layer = e->site ? block_behind(e->site) : -1;
    const bool everywhere =
        !e->positions.n && !e->rows.n && !e->steps.n && !e->features.n && !e->heads.n && !e->when.site;

    if (layer < 1)
        return sg_fail(err, SG_EARG,
                       "edit %d is at %.100s; a control vector acts at blocks.{i}.hook_resid_post, i from 1", i,
                       e->site ? e->site : "no site");
    if (e->op != SG_EDIT_ADD || sg_edit_list_source(list, i) || !e->value.data || e->value.n_dims != 1)
        return sg_fail(err, SG_EARG,
                       "edit %d does not add a vector that it holds, which is all that a control vector does", i);
    if (!everywhere)
        return sg_fail(err, SG_EARG,
                       "edit %d is for some rows, positions, steps or features only; a control vector acts at all", i);
    if (e->value.dims[0] != width)
        return sg_fail(err, SG_ESHAPE, "edit %d adds %lld numbers, the one before %lld", i, (long long)e->value.dims[0],
                       (long long)width);
    return SG_OK;
}

sg_status sg_control_vector_save(const char *path, sg_edit_list *list, const char *model, sg_error *err)
{
    const int n = sg_edit_list_count(list);
    sg_arena *arena = sg_arena_new();
    sg_gguf_meta *meta = sg_gguf_meta_new();
    sg_named_tensor *tensors = arena ? sg_arena_array(arena, MAX_LAYERS, sizeof *tensors) : NULL;
    int n_tensors = 0;
    sg_status status = tensors && meta ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);

    if (status == SG_OK && !n)
        status = sg_fail(err, SG_EARG, "%s: there are no edits to write", path);
    const sg_dim width = n && sg_edit_list_at(list, 0)->value.n_dims == 1 ? sg_edit_list_at(list, 0)->value.dims[0] : 0;
    for (int i = 0; i < n && status == SG_OK; i++) {
        const sg_edit *e = sg_edit_list_at(list, i);
        status = check_edit(list, i, e, width, err);
        if (status != SG_OK)
            break;
        const int layer = (int)block_behind(e->site);
        char name[32];
        snprintf(name, sizeof name, "direction.%d", layer);
        int at = 0;
        while (at < n_tensors && strcmp(tensors[at].name, name) != 0)
            at++;
        if (at == n_tensors) {
            tensors[at].name = sg_arena_strdup(arena, name);
            tensors[at].tensor = sg_tensor_of(SG_F32, 1, &width, sg_arena_array(arena, (size_t)width, sizeof(float)));
            if (!tensors[at].name || !tensors[at].tensor.data) {
                status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
                break;
            }
            n_tensors++;
        }
        for (sg_dim k = 0; k < width; k++)
            sg_tensor_set(&tensors[at].tensor, k,
                          sg_tensor_get(&tensors[at].tensor, k) + e->strength * sg_tensor_get(&e->value, k));
    }
    if (status == SG_OK) {
        sg_gguf_meta_text(meta, "general.architecture", "controlvector");
        sg_gguf_meta_text(meta, "controlvector.model_hint", model ? model : "");
        sg_gguf_meta_whole(meta, "controlvector.layer_count", n_tensors);
        status = sg_gguf_save(path, meta, tensors, n_tensors, err);
    }
    sg_gguf_meta_free(meta);
    sg_arena_free(arena);
    return status;
}
