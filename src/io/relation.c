/* Relation files, and their samples as prompts. Where a subject ends among the tokens is found by what the tokens
 * spell, spaces left aside: tokenizers move those. */
#include "sightglass/relation.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

typedef struct owned {
    sg_relation face;
    sg_arena *arena;
} owned;

/* ---- files ---- */

static sg_status text_of(owned *r, const char *path, const json_t *from, const char *key, const char **out,
                         sg_error *err)
{
    const char *text = json_string_value(json_object_get(from, key));
    if (!text)
        return sg_fail(err, SG_EFORMAT, "%s: \"%s\" wants to be a text", path, key);
    *out = sg_arena_strdup(r->arena, text);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
}

static sg_status templates_of(owned *r, const char *path, const json_t *root, const char *key, int least, int *n,
                              const char *const **out, sg_error *err)
{
    const json_t *list = json_object_get(root, key);
    const size_t count = json_array_size(list);
    if (!json_is_array(list) || count < (size_t)least || count > 1000)
        return sg_fail(err, SG_EFORMAT, "%s: \"%s\" wants to be a list of templates", path, key);
    const char **texts = sg_arena_array(r->arena, count + 1, sizeof *texts);
    if (!texts)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i)), *hole = text ? strstr(text, "{}") : NULL;
        if (!hole || strstr(hole + 2, "{}"))
            return sg_fail(err, SG_EFORMAT, "%s: %s[%zu] is \"%.60s\", wanted a text with one {}", path, key, i,
                           text ? text : "");
        texts[i] = sg_arena_strdup(r->arena, text);
        if (!texts[i])
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    *n = (int)count;
    *out = texts;
    return SG_OK;
}

static sg_status samples_of(owned *r, const char *path, const json_t *root, sg_error *err)
{
    const json_t *list = json_object_get(root, "samples");
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n < 1 || n > 10000000)
        return sg_fail(err, SG_EFORMAT, "%s: \"samples\" wants to be a list of pairs", path);
    sg_relation_sample *samples = sg_arena_array(r->arena, n, sizeof *samples);
    if (!samples)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++) {
        SG_TRY(text_of(r, path, json_array_get(list, i), "subject", &samples[i].subject, err));
        SG_TRY(text_of(r, path, json_array_get(list, i), "object", &samples[i].object, err));
    }
    r->face.n_samples = (int)n;
    r->face.samples = samples;
    return SG_OK;
}

/* Objects that differ, and pairs that are there the other way round. */
static sg_status count(owned *r, const char *path, sg_error *err)
{
    sg_relation *f = &r->face;
    sg_map *objects = sg_map_new((size_t)f->n_samples), *pairs = sg_map_new((size_t)f->n_samples);
    sg_status status = objects && pairs ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    for (int i = 0; i < f->n_samples && status == SG_OK; i++) {
        const sg_relation_sample *s = &f->samples[i];
        f->n_objects += sg_map_put(objects, s->object, strlen(s->object), i) == SG_OK;
        const char *pair = sg_arena_printf(r->arena, "%s\n%s", s->subject, s->object);
        if (!pair)
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
        else
            (void)!sg_map_put(pairs, pair, strlen(pair), i); /* a pair may be there twice */
    }
    for (int i = 0; i < f->n_samples && status == SG_OK; i++) {
        const char *back = sg_arena_printf(r->arena, "%s\n%s", f->samples[i].object, f->samples[i].subject);
        if (!back)
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
        else
            f->n_reversed += sg_map_get(pairs, back, strlen(back)) >= 0;
    }
    sg_map_free(objects);
    sg_map_free(pairs);
    return status;
}

static sg_status read_relation(owned *r, const char *path, const json_t *root, sg_error *err)
{
    sg_relation *f = &r->face;
    const json_t *properties = json_object_get(root, "properties");
    const json_t *symmetric = json_object_get(properties, "symmetric");
    SG_TRY(text_of(r, path, root, "name", &f->name, err));
    SG_TRY(text_of(r, path, properties, "relation_type", &f->type, err));
    SG_TRY(text_of(r, path, properties, "domain_name", &f->domain, err));
    SG_TRY(text_of(r, path, properties, "range_name", &f->range, err));
    if (!json_is_boolean(symmetric))
        return sg_fail(err, SG_EFORMAT, "%s: \"symmetric\" wants to be true or false", path);
    f->symmetric = json_is_true(symmetric);
    SG_TRY(templates_of(r, path, root, "prompt_templates", 1, &f->n_templates, &f->templates, err));
    SG_TRY(templates_of(r, path, root, "prompt_templates_zs", 0, &f->n_zero_shot, &f->zero_shot, err));
    SG_TRY(samples_of(r, path, root, err));
    return count(r, path, err);
}

sg_status sg_relation_open(sg_relation **out, const char *path, sg_error *err)
{
    json_error_t at;
    sg_file *file;
    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    if (!sg_file_bytes(file)) {
        sg_file_close(file);
        return sg_fail(err, SG_EFORMAT, "%s: is empty, wanted a relation with its samples", path);
    }
    json_t *root = json_loadb((const char *)sg_file_data(file), sg_file_bytes(file), JSON_REJECT_DUPLICATES, &at);
    sg_file_close(file);
    if (!root)
        return sg_fail(err, SG_EFORMAT, "%s:%d: %.80s", path, at.line, at.text);
    sg_arena *arena = sg_arena_new();
    owned *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;
    sg_status status = SG_OK;
    if (r) {
        r->arena = arena;
        status = read_relation(r, path, root, err);
    } else {
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    json_decref(root);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &r->face;
    return SG_OK;
}

void sg_relation_free(sg_relation *r)
{
    if (r)
        sg_arena_free(((owned *)r)->arena);
}

/* ---- tokens ---- */

/* What a text begins with that another does not, behind what both begin with. */
static sg_status first_after(int32_t *out, const sg_tokenizer *t, const sg_tokens *before, const char *object,
                             sg_error *err)
{
    sg_tokens ids = {0};
    char *text = malloc(strlen(object) + 4);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sprintf(text, "is %s", object);
    sg_status status = sg_tokenizer_encode(t, text, sg_encode_defaults(), &ids, err);
    int64_t same = 0;
    while (same < ids.n && same < before->n && ids.ids[same] == before->ids[same])
        same++;
    if (status == SG_OK && same >= ids.n)
        status = sg_fail(err, SG_EFORMAT, "the object \"%.60s\" has no token", object);
    if (status == SG_OK)
        *out = ids.ids[same];
    free(text);
    sg_tokens_free(&ids);
    return status;
}

sg_status sg_relation_tokens(int32_t *tokens, int *n_colliding, const sg_relation *r, const sg_tokenizer *t,
                             sg_error *err)
{
    sg_tokens before = {0};
    sg_status status = sg_tokenizer_encode(t, "is", sg_encode_defaults(), &before, err);
    for (int i = 0; i < r->n_samples && status == SG_OK; i++)
        status = first_after(&tokens[i], t, &before, r->samples[i].object, err);
    sg_tokens_free(&before);
    SG_TRY(status);
    *n_colliding = 0;
    for (int i = 0; i < r->n_samples; i++) {
        bool first = true, collides = false;
        for (int k = 0; k < r->n_samples; k++) {
            const bool same = strcmp(r->samples[i].object, r->samples[k].object) == 0;
            first &= !(same && k < i);
            collides |= !same && tokens[i] == tokens[k];
        }
        *n_colliding += first && collides;
    }
    return SG_OK;
}

/* ---- prompts ---- */

typedef struct list {
    sg_prompts face;
    sg_fact_prompt *at;
    int capacity;
    sg_arena *arena; /* of tokens */
} list;

sg_status sg_prompts_new(sg_prompts **out, sg_error *err)
{
    list *l = calloc(1, sizeof *l);
    sg_arena *arena = l ? sg_arena_new() : NULL;
    *out = NULL;
    if (!arena) {
        free(l);
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    }
    l->arena = arena;
    *out = &l->face;
    return SG_OK;
}

sg_status sg_prompts_add(sg_prompts *p, const sg_fact_prompt *one, sg_error *err)
{
    list *l = (list *)p;
    if (p->n == l->capacity) {
        sg_fact_prompt *more = realloc(l->at, (size_t)(2 * l->capacity + 16) * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "out of memory for %d prompts", p->n + 1);
        l->capacity = 2 * l->capacity + 16;
        l->face.at = l->at = more;
    }
    int32_t *tokens = sg_arena_array(l->arena, (size_t)SG_MAX(one->n, 1), sizeof *tokens);
    if (!tokens)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d prompts", p->n + 1);
    memcpy(tokens, one->tokens, (size_t)one->n * sizeof *tokens);
    l->at[p->n] = *one;
    l->at[p->n++].tokens = tokens;
    return SG_OK;
}

void sg_prompts_place(sg_prompts *p, int i, sg_dim subject)
{
    SG_ASSERT(i >= 0 && i < p->n && subject >= 0 && subject < p->at[i].n);
    ((list *)p)->at[i].subject = subject;
}

void sg_prompts_free(sg_prompts *p)
{
    list *l = (list *)p;
    if (!l)
        return;
    sg_arena_free(l->arena);
    free(l->at);
    free(l);
}

/* Letters of a text: bytes but for spaces and line ends. */
static size_t letters(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n += !isspace((unsigned char)text[i]);
    return n;
}

/* A sentence; where its subject ends in the text. */
static size_t put_sentence(sg_str *s, const char *template_text, const char *subject)
{
    const char *hole = strstr(template_text, "{}");
    sg_str_append(s, template_text, (size_t)(hole - template_text));
    sg_str_puts(s, subject);
    const size_t end = s->bytes;
    sg_str_puts(s, hole + 2);
    return end;
}

/* The first token with which so many letters are there; -1: they never are. */
static sg_status token_at(sg_dim *out, const sg_tokenizer *t, const sg_tokens *ids, size_t wanted, sg_error *err)
{
    sg_stream stream = {0};
    sg_status status = SG_OK;
    size_t n = 0;
    *out = -1;
    for (int64_t i = 0; i < ids->n && status == SG_OK && *out < 0; i++) {
        char *piece = NULL;
        status = sg_stream_push(t, &stream, ids->ids[i], &piece, err);
        if (status == SG_OK)
            n += letters(piece, strlen(piece));
        free(piece);
        if (n >= wanted)
            *out = i;
    }
    sg_stream_free(&stream);
    return status;
}

sg_status sg_relation_prompt(sg_prompts *to, const sg_relation *r, const sg_tokenizer *t, int template_index,
                             int n_shots, const int *shots, int sample, sg_error *err)
{
    if (template_index < 0 || template_index >= r->n_templates || sample < 0 || sample >= r->n_samples)
        return sg_fail(err, SG_EARG, "%s: template %d of %d, sample %d of %d", r->name, template_index, r->n_templates,
                       sample, r->n_samples);
    sg_str text = {0};
    sg_tokens ids = {0}, before = {0};
    for (int i = 0; i < n_shots; i++) {
        SG_ASSERT(shots[i] >= 0 && shots[i] < r->n_samples);
        put_sentence(&text, r->templates[template_index], r->samples[shots[i]].subject);
        sg_str_printf(&text, " %s\n", r->samples[shots[i]].object);
    }
    const size_t end = put_sentence(&text, r->templates[template_index], r->samples[sample].subject);
    sg_fact_prompt p = {.subject = -1};
    sg_status status = text.failed ? sg_fail(err, SG_ENOMEM, "%s: out of memory", r->name) : SG_OK;
    if (status == SG_OK)
        status = sg_tokenizer_encode(t, text.text, sg_encode_defaults(), &ids, err);
    if (status == SG_OK)
        status = token_at(&p.subject, t, &ids, letters(text.text, end), err);
    if (status == SG_OK && p.subject < 0)
        status = sg_fail(err, SG_EFORMAT, "%s: the tokenizer does not give \"%.60s\" back", r->name,
                         r->samples[sample].subject);
    if (status == SG_OK)
        status = sg_tokenizer_encode(t, "is", sg_encode_defaults(), &before, err);
    if (status == SG_OK)
        status = first_after(&p.object, t, &before, r->samples[sample].object, err);
    if (status == SG_OK) {
        p.tokens = ids.ids;
        p.n = ids.n;
        status = sg_prompts_add(to, &p, err);
    }
    sg_str_free(&text);
    sg_tokens_free(&ids);
    sg_tokens_free(&before);
    return status;
}
