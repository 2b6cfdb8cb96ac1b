/* Sequences with states, drawn from a world, read from a file, or made of the names in a table. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/othello.h"
#include "sightglass/safetensors.h"

typedef struct owner {
    sg_sample *sample;
    sg_safetensors *file;
    int32_t *is;                   /* of a state that asks for one class */
    void *tokens, *counts, *state; /* of a table */
} owner;

void sg_worldmodel_data_free(sg_worldmodel_data *d)
{
    owner *o = d->owner;
    if (o) {
        sg_sample_free(o->sample);
        sg_safetensors_close(o->file);
        free(o->is);
        free(o->tokens);
        free(o->counts);
        free(o->state);
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

/* ---- tables ---- */

typedef struct names {
    const sg_model *m;
    const sg_table *t;
    int text, test; /* columns; test -1: none */
    int n_states, state[16];
    sg_dim n, longest;
    sg_tokens *ids; /* [n] */
    sg_dim *row;    /* [n] */
} names;

static bool is_test(const names *s, sg_dim row)
{
    const char *is = s->test >= 0 ? sg_table_at(s->t, row, s->test) : "";
    return strcmp(is, "True") == 0 || strcmp(is, "true") == 0 || strcmp(is, "1") == 0;
}

/* Rows in a random order; false where one lacks a number. */
static bool is_whole(const names *s, sg_dim row)
{
    for (int k = 0; k < s->n_states; k++)
        if (!isfinite(sg_table_number(s->t, row, s->state[k])))
            return false;
    return true;
}

static sg_status choose_names(names *s, sg_dim most, uint64_t seed, sg_error *err)
{
    const sg_dim rows = sg_table_n_rows(s->t);
    const sg_model_info *info = sg_model_get_info(s->m);
    sg_rng r = sg_rng_new(seed, 0x7ab1u);
    sg_dim *order = malloc((size_t)rows * sizeof *order + 1);
    sg_map *seen = sg_map_new((size_t)SG_MIN(most, rows));
    s->ids = calloc((size_t)SG_MIN(most, rows) + 1, sizeof *s->ids);
    s->row = calloc((size_t)SG_MIN(most, rows) + 1, sizeof *s->row);
    sg_status status = order && seen && s->ids && s->row
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld names", (long long)rows);
    for (sg_dim i = 0; status == SG_OK && i < rows; i++)
        order[i] = i;
    for (sg_dim i = rows - 1; status == SG_OK && i > 0; i--) {
        const sg_dim k = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1), was = order[i];
        order[i] = order[k];
        order[k] = was;
    }
    for (sg_dim i = 0; status == SG_OK && i < rows && s->n < most; i++) {
        const char *text = sg_table_at(s->t, order[i], s->text);
        if (!*text || !is_whole(s, order[i]))
            continue;
        const sg_status put = sg_map_put(seen, text, strlen(text), 0);
        if (put == SG_EARG) /* the same name twice would stand on both sides of the split */
            continue;
        status = put == SG_OK
                     ? sg_tokenizer_encode(sg_model_tokenizer(s->m), text, sg_encode_defaults(), &s->ids[s->n], err)
                     : sg_fail(err, put, "world model: out of memory for names");
        if (status != SG_OK)
            continue;
        if (s->ids[s->n].n < 1 || s->ids[s->n].n + 1 > info->n_context) {
            s->ids[s->n].n = 0;
            continue;
        }
        s->longest = SG_MAX(s->longest, (sg_dim)s->ids[s->n].n);
        s->row[s->n++] = order[i];
    }
    sg_map_free(seen);
    free(order);
    return status;
}

/* Those to judge on come last. A token that stands for the end follows each name, so that its last one is asked. */
static sg_status lay_out_names(sg_worldmodel_data *d, owner *o, const names *s, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(s->m);
    const sg_dim time = s->longest + 1, k = s->n_states;
    int32_t *tokens = o->tokens = calloc((size_t)(s->n * time) + 1, sizeof *tokens);
    uint8_t *counts = o->counts = calloc((size_t)(s->n * time) + 1, 1);
    float *state = o->state = malloc((size_t)(s->n * time * k) * sizeof *state + 1);
    if (!tokens || !counts || !state)
        return sg_fail(err, SG_ENOMEM, "world model: out of memory for %lld names", (long long)s->n);
    for (sg_dim i = 0; i < s->n * time * k; i++)
        state[i] = NAN;
    sg_dim e = 0;
    for (int part = 0; part < 2; part++)
        for (sg_dim i = 0; i < s->n; i++) {
            if (is_test(s, s->row[i]) != (part == 1))
                continue;
            const sg_dim n = (sg_dim)s->ids[i].n;
            memcpy(tokens + e * time, s->ids[i].ids, (size_t)n * sizeof *tokens);
            tokens[e * time + n] = info->n_eos > 0 ? info->eos[0] : 0;
            memset(counts + e * time, 1, (size_t)n + 1);
            for (int c = 0; c < s->n_states; c++)
                state[(e * time + n - 1) * k + c] = (float)sg_table_number(s->t, s->row[i], s->state[c]);
            d->n_test += part;
            e++;
        }
    d->tokens = sg_tensor_of(SG_I32, 2, (sg_dim[]){s->n, time}, tokens);
    d->counts = sg_tensor_of(SG_BOOL, 2, (sg_dim[]){s->n, time}, counts);
    d->state = sg_tensor_of(SG_F32, 3, (sg_dim[]){s->n, time, k}, state);
    return SG_OK;
}

static sg_status read_table(sg_worldmodel_data *d, owner *o, names *s, sg_worldmodel_columns columns, sg_dim n,
                            uint64_t seed, sg_error *err)
{
    if (!sg_model_tokenizer(s->m))
        return sg_fail(err, SG_EARG, "%s has no tokenizer, which a table of texts wants",
                       sg_model_get_info(s->m)->path);
    if (columns.n_states < 1 || columns.n_states > (int)SG_COUNT_OF(s->state))
        return sg_fail(err, SG_EARG, "world model: %d columns of numbers, wanted 1 to %d", columns.n_states,
                       (int)SG_COUNT_OF(s->state));
    SG_TRY(sg_table_get(&s->text, s->t, columns.text, err));
    s->n_states = columns.n_states;
    for (int k = 0; k < columns.n_states; k++)
        SG_TRY(sg_table_get(&s->state[k], s->t, columns.states[k], err));
    s->test = -1;
    if (columns.test)
        SG_TRY(sg_table_get(&s->test, s->t, columns.test, err));
    SG_TRY(choose_names(s, n, seed, err));
    if (s->n == 0)
        return sg_fail(err, SG_EARG, "no row has a text in %s and numbers in %s%s", columns.text, columns.states[0],
                       columns.n_states > 1 ? " and the others" : "");
    return lay_out_names(d, o, s, err);
}

/* ---- from outside ---- */

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

sg_status sg_worldmodel_table(sg_worldmodel_data *out, const sg_model *m, const sg_table *t,
                              sg_worldmodel_columns columns, sg_dim n, uint64_t seed, sg_error *err)
{
    owner *o;
    names s = {.m = m, .t = t};
    char name[64] = "";
    for (int k = 0; k < columns.n_states; k++)
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%s", k ? "," : "", columns.states[k]);
    SG_TRY(begin(out, name, &o, err));
    const sg_status status = read_table(out, o, &s, columns, n, seed, err);
    for (sg_dim i = 0; s.ids && i <= s.n && i < SG_MAX(n, 0); i++)
        sg_tokens_free(&s.ids[i]);
    free(s.ids);
    free(s.row);
    if (status != SG_OK)
        sg_worldmodel_data_free(out);
    return status;
}
