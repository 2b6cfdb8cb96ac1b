/* What all worlds share: the table, a sample's memory, and printing one. */
#include "sightglass/world.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "worlds/worlds.h"

static const sg_world *const worlds[] = {
#define SG_WORLD(name) &sg_world_##name,
#include "worlds/worlds.def"
#undef SG_WORLD
};

int sg_world_count(void)
{
    return (int)SG_COUNT_OF(worlds);
}

const sg_world *sg_world_at(int i)
{
    SG_ASSERT(i >= 0 && i < sg_world_count());
    return worlds[i];
}

const sg_world *sg_world_find(const char *name, sg_error *err)
{
    int nearest = 0;
    for (int i = 0; i < sg_world_count(); i++) {
        if (!strcmp(worlds[i]->name, name))
            return worlds[i];
        if (sg_edit_distance(name, worlds[i]->name) < sg_edit_distance(name, worlds[nearest]->name))
            nearest = i;
    }
    (void)sg_fail(err, SG_ENOTFOUND, "no world \"%s\"; the nearest is \"%s\"", name, worlds[nearest]->name);
    return NULL;
}

struct sg_sample {
    sg_arena *arena;
    const sg_world *world;
    sg_dim count;
    uint64_t seed;
    double *option;
    sg_tensor *field;
};

/* The sample's options and fields, with memory for their numbers. */
static sg_status shape(sg_sample *s, int n_settings, const sg_setting *settings, sg_error *err)
{
    const sg_world *w = s->world;
    s->option = sg_arena_array(s->arena, (size_t)w->n_options + 1, sizeof(double));
    s->field = sg_arena_array(s->arena, (size_t)w->n_fields, sizeof(sg_tensor));
    if (!s->option || !s->field)
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory", w->name);
    SG_TRY(sg_options_parse(s->option, w->name, w->n_options, w->options, n_settings, settings, err));
    SG_TRY(w->shape(s->field, s->option, s->count, err));
    for (int i = 0; i < w->n_fields; i++) {
        sg_tensor *t = &s->field[i];
        size_t n = 1;
        for (int k = 0; k < t->n_dims; k++)
            if (__builtin_mul_overflow(n, (size_t)t->dims[k], &n))
                n = SIZE_MAX;
        t->data = sg_arena_array(s->arena, SG_MAX(n, 1), sg_dtype_bytes(t->dtype));
        if (!t->data)
            return sg_fail(err, SG_ENOMEM, "world %s: out of memory for %s", w->name, w->fields[i].name);
    }
    return SG_OK;
}

/* Drawn, or the truth behind `tokens` where they are given. */
static sg_status make(sg_sample **out, const sg_world *world, int n_settings, const sg_setting *settings, sg_dim count,
                      uint64_t seed, const sg_tensor *tokens, sg_error *err)
{
    *out = NULL;
    if (count < 0)
        return sg_fail(err, SG_EARG, "world %s: count is %" PRId64, world->name, count);
    sg_arena *arena = sg_arena_new();
    sg_sample *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    if (!s) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory", world->name);
    }
    *s = (sg_sample){.arena = arena, .world = world, .count = count, .seed = seed};
    sg_status status = shape(s, n_settings, settings, err);
    if (status == SG_OK && !tokens) {
        world->sample(s->field, s->option, count, (sg_origin){.seed = seed});
    } else if (status == SG_OK && tokens->dims[1] != s->field[0].dims[1]) {
        status = sg_fail(err, SG_ESHAPE, "world %s: sequences of %" PRId64 " tokens, wanted %" PRId64, world->name,
                         tokens->dims[1], s->field[0].dims[1]);
    } else if (status == SG_OK) {
        if (count)
            memcpy(s->field[0].data, tokens->data, (size_t)sg_tensor_count(tokens) * sizeof(int32_t));
        status = world->truth(s->field, s->option, count, err);
    }
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = s;
    return SG_OK;
}

sg_status sg_world_sample(sg_sample **out, const sg_world *world, int n_settings, const sg_setting *settings,
                          sg_dim count, uint64_t seed, sg_error *err)
{
    return make(out, world, n_settings, settings, count, seed, NULL, err);
}

sg_status sg_world_truth(sg_sample **out, const sg_world *world, int n_settings, const sg_setting *settings,
                         const sg_tensor *tokens, sg_error *err)
{
    *out = NULL;
    if (!world->truth)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: its truth does not follow from sequences", world->name);
    if (tokens->dtype != SG_I32 || tokens->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "world %s: sequences are [count,time] i32", world->name);
    return make(out, world, n_settings, settings, tokens->dims[0], 0, tokens, err);
}

void sg_sample_free(sg_sample *s)
{
    if (s)
        sg_arena_free(s->arena);
}

const sg_tensor *sg_sample_find(const sg_sample *s, const char *field)
{
    for (int i = 0; i < s->world->n_fields; i++)
        if (!strcmp(s->world->fields[i].name, field))
            return &s->field[i];
    return NULL;
}

/* ---- as a source ---- */

typedef struct drawn {
    const sg_world *world;
    uint64_t seed;
    double option[]; /* as many as the world has */
} drawn;

static sg_status draw(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    const drawn *d = self;
    const sg_dim rows = field[0].dims[0];
    (void)err;
    d->world->tokens(field[0].data, field[1].data, d->option, rows,
                     (sg_origin){.seed = d->seed, .step = (uint64_t)(batch * rows)});
    return SG_OK;
}

sg_status sg_world_source(sg_source *out, const sg_world *world, int n_settings, const sg_setting *settings,
                          sg_dim rows, uint64_t seed, sg_dim *n_vocab, sg_error *err)
{
    *out = (sg_source){0};
    if (!world->tokens)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: has no sequences of tokens", world->name);
    if (rows < 1)
        return sg_fail(err, SG_EARG, "world %s: batches of %" PRId64 " rows", world->name, rows);
    drawn *d = malloc(sizeof *d + (size_t)world->n_options * sizeof d->option[0]);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory", world->name);
    d->world = world;
    d->seed = seed;
    sg_dim time = 0;
    sg_status status =
        sg_options_parse(d->option, world->name, world->n_options, world->options, n_settings, settings, err);
    if (status == SG_OK)
        status = world->sequence(n_vocab, &time, d->option, err);
    if (status != SG_OK) {
        free(d);
        return status;
    }
    const sg_dim dims[2] = {rows, time};
    *out = (sg_source){.n_fields = 2,
                       .field = {sg_tensor_of(SG_I32, 2, dims, NULL), sg_tensor_of(SG_BOOL, 2, dims, NULL)},
                       .fill = draw,
                       .free = free,
                       .self = d};
    return SG_OK;
}

/* Items: all fields of a batch, of which the source gives some. */
typedef struct items {
    sg_sample *room;
    uint64_t seed;
    int n, field[SG_SOURCE_FIELDS];
} items;

static sg_status draw_items(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    const items *d = self;
    const sg_sample *s = d->room;

    (void)err;
    s->world->sample(s->field, s->option, s->count, (sg_origin){.seed = d->seed, .step = (uint64_t)(batch * s->count)});
    for (int i = 0; i < d->n; i++)
        memcpy(field[i].data, s->field[d->field[i]].data, sg_tensor_bytes(&field[i]));
    return SG_OK;
}

static void free_items(void *self)
{
    items *d = self;

    sg_sample_free(d->room);
    free(d);
}

sg_status sg_world_batches(sg_source *out, const sg_world *world, int n_settings, const sg_setting *settings, int n_fields,
                           const char *const *fields, sg_dim rows, uint64_t seed, sg_error *err)
{
    *out = (sg_source){.n_fields = n_fields, .fill = draw_items, .free = free_items};
    if (rows < 1 || n_fields < 1 || n_fields > SG_SOURCE_FIELDS)
        return sg_fail(err, SG_EARG, "world %s: batches of %" PRId64 " items with %d fields", world->name, rows, n_fields);
    items *d = calloc(1, sizeof *d);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory", world->name);
    *d = (items){.seed = seed, .n = n_fields};
    sg_status status = sg_world_sample(&d->room, world, n_settings, settings, rows, seed, err);
    for (int i = 0; i < n_fields && status == SG_OK; i++) {
        int k = 0;
        while (k < world->n_fields && strcmp(world->fields[k].name, fields[i]) != 0)
            k++;
        if (k == world->n_fields || d->room->field[k].n_dims < 1 || d->room->field[k].dims[0] != rows) {
            status = sg_fail(err, SG_ENOTFOUND, "world %s: no field \"%s\" with a row for each item", world->name, fields[i]);
            break;
        }
        d->field[i] = k;
        out->field[i] = d->room->field[k];
        out->field[i].data = NULL;
    }
    if (status != SG_OK) {
        free_items(d);
        *out = (sg_source){0};
        return status;
    }
    out->self = d;
    return SG_OK;
}

/* ---- words ---- */

enum { WORD = 64 };

/* WordPiece in which every word is whole, since nothing goes on with "##": what readers of a tokenizer.json know. */
static json_t *tokenizer_json(json_t *vocab, const char *unknown, const char *first)
{
    const json_int_t id = 1;
    return json_pack("{s:s, s:n, s:n, s:[{s:i,s:s,s:b,s:b,s:b,s:b,s:b}, {s:i,s:s,s:b,s:b,s:b,s:b,s:b}], s:n, s:{s:s}, "
                     "s:{s:s, s:[{s:{s:s,s:i}}, {s:{s:s,s:i}}], s:[{s:{s:s,s:i}}, {s:{s:s,s:i}}, {s:{s:s,s:i}}], "
                     "s:{s:{s:s,s:[I],s:[s]}}}, s:{s:s,s:s,s:b}, s:{s:s,s:s,s:s,s:i,s:o}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", "id", 0, "content", unknown,
                     "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1, "id", 1, "content",
                     first, "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1, "normalizer",
                     "pre_tokenizer", "type", "Whitespace", "post_processor", "type", "TemplateProcessing", "single",
                     "SpecialToken", "id", first, "type_id", 0, "Sequence", "id", "A", "type_id", 0, "pair",
                     "SpecialToken", "id", first, "type_id", 0, "Sequence", "id", "A", "type_id", 0, "Sequence", "id",
                     "B", "type_id", 1, "special_tokens", first, "id", first, "ids", id, "tokens", first, "decoder",
                     "type", "WordPiece", "prefix", "##", "cleanup", 1, "model", "type", "WordPiece", "unk_token",
                     unknown, "continuing_subword_prefix", "##", "max_input_chars_per_word", 100, "vocab", vocab);
}

sg_status sg_world_write_tokenizer(const sg_world *world, int n_settings, const sg_setting *settings, FILE *to,
                                   sg_error *err)
{
    if (!world->word)
        return sg_fail(err, SG_EUNSUPPORTED, "world %s: its tokens are no words", world->name);
    double *option = calloc((size_t)world->n_options + 1, sizeof *option);
    json_t *vocab = json_object();
    char word[WORD], unknown[WORD], first[WORD];
    sg_dim n_vocab = 0, time = 0;
    bool good = option && vocab;
    sg_status status =
        good ? sg_options_parse(option, world->name, world->n_options, world->options, n_settings, settings, err)
             : sg_fail(err, SG_ENOMEM, "world %s: out of memory", world->name);
    if (status == SG_OK)
        status = world->sequence(&n_vocab, &time, option, err);
    for (int32_t t = 0; status == SG_OK && t < n_vocab && good; t++) {
        world->word(word, sizeof word, option, t);
        good = json_object_set_new(vocab, word, json_integer(t)) == 0;
    }
    if (status == SG_OK) {
        world->word(unknown, sizeof unknown, option, 0);
        world->word(first, sizeof first, option, 1);
        json_t *root = good ? tokenizer_json(vocab, unknown, first) : NULL;
        if (root)
            vocab = NULL; /* it is the root's */
        if (!root || json_dumpf(root, to, JSON_COMPACT) != 0 || fputc('\n', to) == EOF)
            status = sg_fail(err, root ? SG_EIO : SG_ENOMEM, "world %s: its words could not be written", world->name);
        json_decref(root);
    }
    json_decref(vocab);
    free(option);
    return status;
}

/* ---- printing ---- */

/* The array of axis `axis` at *at, which moves on; NULL when memory is out. */
static json_t *nested(const sg_tensor *t, int axis, sg_dim *at)
{
    if (axis == t->n_dims) {
        const double x = sg_tensor_get(t, (*at)++);
        return t->dtype == SG_I32    ? json_integer((json_int_t)x)
               : t->dtype == SG_BOOL ? json_boolean(x != 0)
                                     : json_real(x);
    }
    json_t *array = json_array();
    for (sg_dim i = 0; i < t->dims[axis] && array; i++) {
        if (json_array_append_new(array, nested(t, axis + 1, at)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *option_json(const sg_option *option, double value)
{
    if (option->kind == SG_OPTION_REAL)
        return json_real(value);
    if (option->kind == SG_OPTION_WHOLE)
        return json_integer((json_int_t)value);
    const char *word = option->choices;
    for (int i = 0; i < (int)value; i++)
        word = strchr(word, '|') + 1;
    return json_stringn(word, strcspn(word, "|"));
}

static bool fill_json(json_t *root, const sg_sample *s)
{
    const sg_world *w = s->world;
    json_t *options = json_object();
    bool good = json_object_set_new(root, "world", json_string(w->name)) == 0 &&
                json_object_set_new(root, "seed", json_integer((json_int_t)s->seed)) == 0 &&
                json_object_set_new(root, "count", json_integer(s->count)) == 0 &&
                json_object_set_new(root, "options", options) == 0;
    for (int i = 0; i < w->n_options && good; i++)
        good = json_object_set_new(options, w->options[i].name, option_json(&w->options[i], s->option[i])) == 0;
    for (int i = 0; i < w->n_fields && good; i++) {
        sg_dim at = 0;
        good = json_object_set_new(root, w->fields[i].name, nested(&s->field[i], 0, &at)) == 0;
    }
    return good;
}

sg_status sg_sample_write_json(const sg_sample *s, FILE *to, sg_error *err)
{
    json_t *root = json_object();
    const bool made = root && fill_json(root, s);
    /* nine digits tell any two f32 apart */
    const bool written =
        made && json_dumpf(root, to, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 && fputc('\n', to) != EOF;
    json_decref(root);
    if (!made)
        return sg_fail(err, SG_ENOMEM, "world %s: out of memory for JSON", s->world->name);
    return written ? SG_OK : sg_fail(err, SG_EIO, "world %s: the sample could not be written", s->world->name);
}

sg_status sg_sample_write_text(const sg_sample *s, FILE *to, sg_error *err)
{
    for (int i = 0; i < s->world->n_fields; i++) {
        const sg_tensor *t = &s->field[i];
        char shape[SG_SHAPE_TEXT];
        fprintf(to, "%s%s %s  %s\n", i ? "\n" : "", s->world->fields[i].name, sg_shape_text(shape, t->n_dims, t->dims),
                s->world->fields[i].help);
        const sg_dim columns = t->n_dims ? t->dims[t->n_dims - 1] : 1;
        const bool as_words = s->world->word && strcmp(s->world->fields[i].name, "tokens") == 0;
        for (sg_dim k = 0; k < sg_tensor_count(t); k++) {
            char word[WORD];
            if (as_words) {
                s->world->word(word, sizeof word, s->option, (int32_t)sg_tensor_get(t, k));
                fprintf(to, "%s%s%s", k % columns ? "" : "  ", word, (k + 1) % columns ? " " : "\n");
            } else {
                fprintf(to, "  %-7.4g%s", sg_tensor_get(t, k), (k + 1) % columns ? "" : "\n");
            }
        }
    }
    return ferror(to) ? sg_fail(err, SG_EIO, "world %s: the sample could not be written", s->world->name) : SG_OK;
}
