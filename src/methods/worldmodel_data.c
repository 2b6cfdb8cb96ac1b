/* Sequences with states, drawn from a world or read from a file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/othello.h"
#include "sightglass/safetensors.h"

typedef struct owner {
    sg_sample *sample;
    sg_safetensors *file;
    int32_t *is; /* of a state that asks for one class */
} owner;

void sg_worldmodel_data_free(sg_worldmodel_data *d)
{
    owner *o = d->owner;
    if (o) {
        sg_sample_free(o->sample);
        sg_safetensors_close(o->file);
        free(o->is);
        free(o);
    }
    memset(d, 0, sizeof *d);
}

static sg_status no_such_state(const sg_world *w, const char *name, sg_error *err)
{
    char list[256] = "";
    for (int i = 1; i < w->n_fields; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i > 1 ? ", " : "", w->fields[i].name);
    return sg_fail(err, SG_ENOTFOUND, "%s has no state called %.60s; its fields are %s", w->name, name, list);
}

/* The number of classes: one more than the greatest label, and at least two. */
static int classes_of(const sg_tensor *state)
{
    double most = 1;
    for (sg_dim i = 0; i < sg_tensor_count(state); i++)
        most = fmax(most, sg_tensor_get(state, i));
    return most < INT32_MAX ? (int)most + 1 : INT32_MAX;
}

static sg_status is_class(sg_worldmodel_data *d, owner *o, int wanted, sg_error *err)
{
    const sg_dim n = sg_tensor_count(&d->state);
    if (!(o->is = malloc((size_t)n * sizeof *o->is + 1)))
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld states", (long long)n);
    for (sg_dim i = 0; i < n; i++) {
        const double is = sg_tensor_get(&d->state, i);
        o->is[i] = is < 0 ? -1 : is == wanted;
    }
    d->state.dtype = SG_I32;
    d->state.data = o->is;
    return SG_OK;
}

static void describe_board(sg_worldmodel_data *d, const sg_world *w, const char *field, int wanted)
{
    if (strcmp(w->name, "othello") != 0)
        return;
    for (int size = 4; size <= 8; size += 2)
        if (sg_othello_max_moves(size) == d->tokens.dims[1])
            d->board = size;
    const bool discs = strncmp(field, "board_", 6) == 0;
    if (discs && wanted < 0) {
        d->kind = SG_STATE_DISCS;
        d->trivial = 0; /* an empty square is nearly free */
    } else if (discs && wanted == 0) {
        d->kind = SG_STATE_EMPTY;
    } else if (strcmp(field, "legal") == 0 && wanted < 0) {
        d->kind = SG_STATE_LEGAL;
    }
}

static sg_status draw(sg_worldmodel_data *d, owner *o, const sg_world *w, int n_settings, const sg_setting *settings,
                      const char *state, sg_dim n, uint64_t seed, sg_error *err)
{
    char field[64];
    int wanted = -1;
    if (!w->sequence)
        return sg_fail(err, SG_EUNSUPPORTED, "%s is no world of sequences, which a model could read", w->name);
    if (n < 1)
        return sg_fail(err, SG_EARG, "world model: %lld episodes", (long long)n);
    snprintf(field, sizeof field, "%.*s", (int)strcspn(state, "="), state);
    if (strchr(state, '=')) {
        char *end;
        wanted = (int)strtol(strchr(state, '=') + 1, &end, 10);
        if (*end || end == strchr(state, '=') + 1 || wanted < 0)
            return sg_fail(err, SG_EARG, "%.60s: wanted FIELD=CLASS, with a class of 0 or more", state);
    }
    SG_TRY(sg_world_sample(&o->sample, w, n_settings, settings, n, seed, err));
    const sg_tensor *tokens = sg_sample_find(o->sample, "tokens"), *counts = sg_sample_find(o->sample, "counts");
    const sg_tensor *truth = sg_sample_find(o->sample, field);
    if (!tokens || !truth)
        return no_such_state(w, field, err);
    d->tokens = *tokens;
    d->counts = counts ? *counts : (sg_tensor){0};
    d->state = *truth;
    if (truth->n_dims < 2 || truth->n_dims > 3 || truth->dims[1] != tokens->dims[1])
        return sg_fail(err, SG_EARG, "%s of %s is not a state of each position", field, w->name);
    d->n_classes = sg_dtype_is_float(truth->dtype) ? 0 : classes_of(truth);
    if (wanted >= 0 && wanted >= d->n_classes)
        return sg_fail(err, SG_EARG, "%.60s: %s has %d classes", state, field, d->n_classes);
    describe_board(d, w, field, wanted);
    if (wanted >= 0) {
        d->n_classes = 2;
        SG_TRY(is_class(d, o, wanted, err));
    }
    size_t at = (size_t)snprintf(d->world, sizeof d->world, "%s", w->name);
    for (int i = 0; i < n_settings && at < sizeof d->world; i++)
        at += (size_t)snprintf(d->world + at, sizeof d->world - at, " %s=%s", settings[i].name, settings[i].value);
    return SG_OK;
}

static sg_status read_file(sg_worldmodel_data *d, owner *o, const char *path, sg_error *err)
{
    const sg_tensor *tokens, *state;
    SG_TRY(sg_safetensors_open(&o->file, path, err));
    SG_TRY(sg_safetensors_get(&tokens, o->file, "tokens", err));
    SG_TRY(sg_safetensors_get(&state, o->file, "state", err));
    const sg_tensor *counts = sg_safetensors_find(o->file, "counts");
    if (sg_tensor_count(state) < 1)
        return sg_fail(err, SG_EFORMAT, "%s: the state has no numbers", path);
    d->tokens = *tokens;
    d->state = *state;
    d->counts = counts ? *counts : (sg_tensor){0};
    d->n_classes = sg_dtype_is_float(state->dtype) ? 0 : classes_of(state);
    snprintf(d->world, sizeof d->world, "%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    return SG_OK;
}

static sg_status begin(sg_worldmodel_data *d, const char *name, owner **o, sg_error *err)
{
    memset(d, 0, sizeof *d);
    d->trivial = -1;
    snprintf(d->name, sizeof d->name, "%s", name);
    d->owner = *o = calloc(1, sizeof **o);
    return *o ? SG_OK : sg_fail(err, SG_ENOMEM, "world model: out of memory");
}

sg_status sg_worldmodel_draw(sg_worldmodel_data *out, const sg_world *world, int n_settings, const sg_setting *settings,
                             const char *state, sg_dim n, uint64_t seed, sg_error *err)
{
    owner *o;
    SG_TRY(begin(out, state, &o, err));
    const sg_status status = draw(out, o, world, n_settings, settings, state, n, seed, err);
    if (status != SG_OK)
        sg_worldmodel_data_free(out);
    return status;
}

sg_status sg_worldmodel_open(sg_worldmodel_data *out, const char *path, sg_error *err)
{
    owner *o;
    SG_TRY(begin(out, "state", &o, err));
    const sg_status status = read_file(out, o, path, err);
    if (status != SG_OK)
        sg_worldmodel_data_free(out);
    return status;
}
