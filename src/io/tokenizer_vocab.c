/* The vocabulary: token texts by id and ids by text.  Texts and ids are in one-to-one correspondence: a text with two
 * ids or an id with two texts is refused, since one of the directions would then be silently wrong. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

static void free_map(void *map)
{
    sg_map_free(map);
}

static sg_status new_map(sg_map **out, const sg_reader *r, size_t expected)
{
    *out = sg_map_new(expected);
    if (!*out)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    return sg_arena_defer(r->arena, free_map, *out);
}

sg_status sg_vocab_begin(sg_vocab *v, const sg_reader *r, size_t n_model, size_t n_added, int32_t n_ids, size_t bytes)
{
    v->n_ids = n_ids;
    v->store = sg_arena_alloc(r->arena, bytes + 1);
    v->entries = sg_arena_array(r->arena, n_model + n_added + 1, sizeof *v->entries);
    v->entry_of_id = sg_arena_array(r->arena, (size_t)n_ids + 1, sizeof *v->entry_of_id);
    if (!v->store || !v->entries || !v->entry_of_id)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(new_map(&v->model_ids, r, n_model));
    return new_map(&v->added_ids, r, n_added);
}

sg_status sg_vocab_put(sg_vocab *v, const sg_reader *r, sg_vocab_place place, const char *text, size_t bytes,
                       int32_t id)
{
    char shown[SG_SHOWN], other[SG_SHOWN];
    const sg_vocab_entry *taken = sg_vocab_at(v, id);
    if (taken)
        return sg_fail(r->err, SG_EFORMAT, "%s: id %d is used by both \"%s\" and \"%s\"", r->name, (int)id,
                       sg_show(other, taken->text), sg_show_n(shown, text, bytes));
    if (bytes)
        memcpy(v->store, text, bytes);
    v->store[bytes] = '\0';
    if (place != SG_VOCAB_SHOWN) {
        const sg_status status = sg_map_put(place == SG_VOCAB_MODEL ? v->model_ids : v->added_ids, v->store, bytes, id);
        if (status == SG_EARG)
            return sg_fail(r->err, SG_EFORMAT, "%s: token \"%s\" occurs twice", r->name, sg_show_n(shown, text, bytes));
        if (status != SG_OK)
            return sg_fail(r->err, status, "%s: out of memory", r->name);
    }
    v->entries[v->n] = (sg_vocab_entry){.text = v->store, .bytes = bytes};
    v->entry_of_id[id] = ++v->n;
    v->store += bytes + 1;
    return SG_OK;
}

/* ---- from JSON ---- */

/* The text of item i of Unigram's list of [text, score], or NULL. */
static const char *listed(const json_t *vocab, size_t i)
{
    return json_string_value(json_array_get(json_array_get(vocab, i), 0));
}

static sg_status check_shape(const sg_reader *r, json_t *vocab, const json_t *added)
{
    if (!json_is_object(vocab) && !json_is_array(vocab))
        return sg_fail(r->err, SG_EFORMAT, "%s: model.vocab is %s", r->name,
                       vocab ? "neither an object nor a list" : "missing");
    for (size_t i = 0; i < json_array_size(vocab); i++)
        if (!listed(vocab, i))
            return sg_fail(r->err, SG_EFORMAT, "%s: item %zu of model.vocab is not [text, score]", r->name, i);
    if (json_array_size(vocab) > 1 << 24)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: model.vocab has %zu tokens", r->name, json_array_size(vocab));
    if (added && !json_is_array(added))
        return sg_fail(r->err, SG_EFORMAT, "%s: \"added_tokens\" is not a list", r->name);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        if (!json_is_string(json_object_get(token, "content")))
            return sg_fail(r->err, SG_EFORMAT, "%s: added token %zu has no \"content\"", r->name, i);
    }
    return SG_OK;
}

/* The first look at all tokens: how many bytes their texts take and the largest id. */
static sg_status measure(const sg_reader *r, json_t *vocab, const json_t *added, size_t *bytes, int32_t *n_ids)
{
    const char *text;
    json_t *value;
    int32_t id;
    *bytes = 0;
    *n_ids = (int32_t)json_array_size(vocab);
    for (size_t i = 0; i < json_array_size(vocab); i++)
        *bytes += strlen(listed(vocab, i)) + 1;
    json_object_foreach(vocab, text, value)
    {
        SG_TRY(sg_json_id(r, value, text, &id));
        *bytes += strlen(text) + 1;
        *n_ids = SG_MAX(*n_ids, id + 1);
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        text = json_string_value(json_object_get(token, "content"));
        SG_TRY(sg_json_id(r, json_object_get(token, "id"), text, &id));
        *bytes += strlen(text) + 1;
        *n_ids = SG_MAX(*n_ids, id + 1);
    }
    return SG_OK;
}

sg_status sg_vocab_put_added(sg_vocab *v, const sg_reader *r, const json_t *token)
{
    const char *text = json_string_value(json_object_get(token, "content"));
    int32_t id;
    bool special;
    SG_TRY(sg_json_id(r, json_object_get(token, "id"), text, &id));
    SG_TRY(sg_json_bool(r, token, "special", false, &special));
    const int32_t known = sg_vocab_find(v, text, strlen(text));
    if (known < 0)
        SG_TRY(sg_vocab_put(v, r, SG_VOCAB_ADDED, text, strlen(text), id));
    char shown[SG_SHOWN];
    if (known >= 0 && known != id)
        return sg_fail(r->err, SG_EFORMAT, "%s: token \"%s\" has the two ids %d and %d", r->name, sg_show(shown, text),
                       (int)known, (int)id);
    v->entries[v->entry_of_id[id] - 1].special |= special;
    return SG_OK;
}

sg_status sg_vocab_read(sg_vocab *v, const sg_reader *r, const json_t *model, const json_t *added)
{
    json_t *vocab = json_object_get(model, "vocab");
    SG_TRY(check_shape(r, vocab, added));
    size_t bytes;
    int32_t n_ids;
    SG_TRY(measure(r, vocab, added, &bytes, &n_ids));
    const size_t n_model = json_is_array(vocab) ? json_array_size(vocab) : json_object_size(vocab);
    SG_TRY(sg_vocab_begin(v, r, n_model, json_array_size(added), n_ids, bytes));

    const char *text;
    json_t *value;
    json_object_foreach(vocab, text, value)
        SG_TRY(sg_vocab_put(v, r, SG_VOCAB_MODEL, text, strlen(text), (int32_t)json_integer_value(value)));
    for (size_t i = 0; i < json_array_size(vocab); i++)
        SG_TRY(sg_vocab_put(v, r, SG_VOCAB_MODEL, listed(vocab, i), strlen(listed(vocab, i)), (int32_t)i));
    for (size_t i = 0; i < json_array_size(added); i++)
        SG_TRY(sg_vocab_put_added(v, r, json_array_get(added, i)));
    return SG_OK;
}

/* ---- looking up ---- */

const sg_vocab_entry *sg_vocab_at(const sg_vocab *v, int32_t id)
{
    if (id < 0 || id >= v->n_ids || v->entry_of_id[id] == 0)
        return NULL;
    return &v->entries[v->entry_of_id[id] - 1];
}

int32_t sg_vocab_find(const sg_vocab *v, const char *text, size_t n)
{
    const int32_t id = sg_map_get(v->model_ids, text, n);
    return id >= 0 ? id : sg_map_get(v->added_ids, text, n);
}

void sg_vocab_mark(sg_vocab *v, int32_t id)
{
    if (sg_vocab_at(v, id))
        v->entries[v->entry_of_id[id] - 1].special = true;
}
