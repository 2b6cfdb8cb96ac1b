/* Pairs of a query and a key from a file of JSON lines. Words stand for tokens: where a token ends in the text is found
 * by decoding what comes before it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/qk.h"

enum { MOST_TOKENS = 1 << 20 };

typedef struct pairs {
    sg_qk_pairs face; /* first: what users hold */
    sg_arena *arena;
    const int32_t **tokens;
    sg_dim *lengths;
    const char *factors[SG_QK_MOST_FACTORS];
    sg_qk_pair *list;
    size_t texts_room, pairs_room;
} pairs;

typedef struct line {
    pairs *p;
    const sg_model *m;
    const char *path;
    long long number;
    const int32_t *ids;
    sg_dim n;
    char *text;  /* of all ids; NULL: the model has no tokenizer */
    size_t *end; /* [n] of each token in it */
    sg_error *err;
} line;

static sg_status no_memory(const line *l)
{
    return sg_fail(l->err, SG_ENOMEM, "%s: out of memory", l->path);
}

static sg_status wrong(const line *l, const char *what)
{
    return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: %s", l->path, l->number, what);
}

/* ---- places ---- */

static sg_status measure(line *l)
{
    const sg_tokenizer *t = sg_model_tokenizer(l->m);
    if (!t)
        return SG_OK;
    SG_TRY(sg_tokenizer_decode(t, l->ids, l->n, true, &l->text, l->err));
    l->end = malloc((size_t)l->n * sizeof *l->end);
    if (!l->end)
        return no_memory(l);
    for (sg_dim i = 0; i < l->n; i++) {
        char *so_far;
        SG_TRY(sg_tokenizer_decode(t, l->ids, i + 1, true, &so_far, l->err));
        l->end[i] = strlen(so_far);
        free(so_far);
    }
    return SG_OK;
}

static sg_status place(const line *l, const json_t *where, const char *what, bool last, sg_dim *out)
{
    if (json_is_integer(where)) {
        const json_int_t at = json_integer_value(where);
        *out = at < 0 ? l->n + at : at;
        if (*out < 0 || *out >= l->n)
            return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: %s is %lld, of %" PRId64 " tokens", l->path, l->number,
                           what, (long long)at, l->n);
        return SG_OK;
    }
    const char *words = json_string_value(where), *found = NULL;
    if (!words || !*words)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: %s is neither a position nor words of the text", l->path,
                       l->number, what);
    if (!l->text)
        return wrong(l, "words are looked for, and the model has no tokenizer");
    for (const char *at = l->text; (at = strstr(at, words)); at++) {
        found = at;
        if (!last)
            break;
    }
    if (!found)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: \"%.60s\" is not in the text", l->path, l->number, words);
    const size_t end = (size_t)(found - l->text) + strlen(words);
    for (*out = 0; *out < l->n - 1 && l->end[*out] < end; ++*out)
        ;
    return SG_OK;
}

/* ---- factors ---- */

static int factor_of(line *l, const char *name)
{
    pairs *p = l->p;
    for (int i = 0; i < p->face.n_factors; i++)
        if (!strcmp(p->factors[i], name))
            return i;
    if (p->face.n_factors == SG_QK_MOST_FACTORS || !(p->factors[p->face.n_factors] = sg_arena_strdup(p->arena, name)))
        return -1;
    return p->face.n_factors++;
}

static sg_status read_factor(line *l, sg_qk_pair *pair, const char *name, const json_t *value)
{
    const int f = factor_of(l, name);
    if (f < 0)
        return wrong(l, "more than 16 factors");
    if (json_is_boolean(value)) {
        pair->match[f] = json_is_true(value);
        return SG_OK;
    }
    const char *a = json_string_value(json_array_get(value, 0)), *b = json_string_value(json_array_get(value, 1));
    if (!a || !b || json_array_size(value) != 2)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: %.40s is neither true, false nor two texts", l->path,
                       l->number, name);
    pair->match[f] = strcmp(a, b) == 0;
    pair->of_query[f] = sg_arena_strdup(l->p->arena, a);
    pair->of_key[f] = sg_arena_strdup(l->p->arena, b);
    return pair->of_query[f] && pair->of_key[f] ? SG_OK : no_memory(l);
}

static bool grow(void **list, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return true;
    const size_t more = SG_MAX(2 * *room, (size_t)64);
    void *again = realloc(*list, more * size);
    if (again) {
        *list = again;
        *room = more;
    }
    return again != NULL;
}

static sg_status read_key(line *l, const json_t *key, sg_dim query)
{
    pairs *p = l->p;
    sg_qk_pair pair = {.text = p->face.n_texts, .query = query};
    void *list = p->list, *value;
    const char *name;
    memset(pair.match, -1, sizeof pair.match);
    if (!json_is_object(key))
        return wrong(l, "keys is a list of objects, { \"at\": ..., \"NAME\": ... }");
    SG_TRY(place(l, json_object_get(key, "at"), "at", false, &pair.key));
    if (pair.key > query)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: the key at %" PRId64 " lies behind the query at %" PRId64,
                       l->path, l->number, pair.key, query);
    json_object_foreach((json_t *)(uintptr_t)key, name, value) if (strcmp(name, "at") != 0)
        SG_TRY(read_factor(l, &pair, name, value));
    if (!grow(&list, &p->pairs_room, (size_t)p->face.n_pairs + 1, sizeof pair))
        return no_memory(l);
    p->list = list;
    p->list[p->face.n_pairs++] = pair;
    return SG_OK;
}

/* ---- lines ---- */

static sg_status read_tokens(line *l, const json_t *root, sg_tokens *ids)
{
    const json_t *list = json_object_get(root, "tokens");
    const char *text = json_string_value(json_object_get(root, "text"));
    if (text && !sg_model_tokenizer(l->m))
        return wrong(l, "text, and the model has no tokenizer; \"tokens\" is what it reads");
    if (text)
        SG_TRY(sg_tokenizer_encode(sg_model_tokenizer(l->m), text, sg_encode_defaults(), ids, l->err));
    else if (!json_is_array(list) || json_array_size(list) > MOST_TOKENS)
        return wrong(l, "wanted { \"text\" or \"tokens\", \"query\", \"keys\" }");
    for (size_t i = 0; !text && i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return wrong(l, "tokens are whole numbers");
        SG_TRY(sg_tokens_push(ids, (int32_t)json_integer_value(id), l->err));
    }
    const sg_dim most = sg_model_get_info(l->m)->n_context;
    if (ids->n < 1 || ids->n > most)
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld: %" PRId64 " tokens, the model reads 1 to %" PRId64, l->path,
                       l->number, ids->n, most);
    return SG_OK;
}

static sg_status read_query(line *l, const json_t *root)
{
    pairs *p = l->p;
    const json_t *keys = json_object_get(root, "keys");
    void *tokens = (void *)(uintptr_t)p->tokens, *lengths = p->lengths;
    size_t room = p->texts_room;
    sg_dim query;
    SG_TRY(measure(l));
    SG_TRY(place(l, json_object_get(root, "query"), "query", true, &query));
    if (!json_is_array(keys) || json_array_size(keys) == 0)
        return wrong(l, "wanted keys, a list of { \"at\": ..., \"NAME\": ... }");
    for (size_t i = 0; i < json_array_size(keys); i++)
        SG_TRY(read_key(l, json_array_get(keys, i), query));
    int32_t *copy = sg_arena_array(p->arena, (size_t)l->n, sizeof *copy);
    const size_t n = (size_t)p->face.n_texts + 1;
    bool ok = copy && grow(&tokens, &room, n, sizeof *p->tokens);
    p->tokens = tokens;
    ok = ok && grow(&lengths, &p->texts_room, n, sizeof *p->lengths);
    p->lengths = lengths;
    if (!ok)
        return no_memory(l);
    memcpy(copy, l->ids, (size_t)l->n * sizeof *copy);
    p->tokens[n - 1] = copy;
    p->lengths[n - 1] = l->n;
    p->face.n_texts++;
    return SG_OK;
}

static sg_status read_line(line *l, const char *bytes, size_t n)
{
    json_error_t at;
    sg_tokens ids = {0};
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &at);
    if (!json_is_object(root)) {
        json_decref(root);
        return sg_fail(l->err, SG_EFORMAT, "%s: line %lld is no JSON object: %s", l->path, l->number,
                       root ? "it is something else" : at.text);
    }
    sg_status status = read_tokens(l, root, &ids);
    l->ids = ids.ids;
    l->n = ids.n;
    if (status == SG_OK)
        status = read_query(l, root);
    free(l->text);
    free(l->end);
    l->text = NULL;
    l->end = NULL;
    sg_tokens_free(&ids);
    json_decref(root);
    return status;
}

static sg_status read_all(line *l, const sg_file *file)
{
    const char *at = (const char *)sg_file_data(file), *end = at ? at + sg_file_bytes(file) : at;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t n = (size_t)((stop ? stop : end) - at);
        size_t blank = 0;
        l->number++;
        while (blank < n && strchr(" \t\r", at[blank]))
            blank++;
        if (blank < n)
            SG_TRY(read_line(l, at, n));
        at += n + 1;
    }
    if (l->p->face.n_pairs == 0)
        return sg_fail(l->err, SG_EFORMAT, "%s holds no pairs", l->path);
    return SG_OK;
}

sg_status sg_qk_pairs_read(sg_qk_pairs **out, const sg_model *m, const char *path, sg_error *err)
{
    sg_file *file;
    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    pairs *p = calloc(1, sizeof *p);
    if (p && !(p->arena = sg_arena_new())) {
        free(p);
        p = NULL;
    }
    sg_status status = SG_OK;
    if (p) {
        line l = {.p = p, .m = m, .path = path, .err = err};
        status = read_all(&l, file);
    } else {
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    sg_file_close(file);
    if (status != SG_OK) {
        sg_qk_pairs_free(p ? &p->face : NULL);
        return status;
    }
    p->face.tokens = p->tokens;
    p->face.lengths = p->lengths;
    p->face.factors = p->factors;
    p->face.pairs = p->list;
    *out = &p->face;
    return SG_OK;
}

void sg_qk_pairs_free(sg_qk_pairs *face)
{
    pairs *p = (pairs *)face;
    if (!p)
        return;
    sg_arena_free(p->arena);
    free((void *)(uintptr_t)p->tokens);
    free(p->lengths);
    free(p->list);
    free(p);
}

sg_status sg_qk_pairs_find(int *factor, const sg_qk_pairs *p, const char *name, sg_error *err)
{
    int nearest = 0;
    for (int i = 0; i < p->n_factors; i++) {
        if (!strcmp(p->factors[i], name)) {
            *factor = i;
            return SG_OK;
        }
        if (sg_edit_distance(p->factors[i], name) < sg_edit_distance(p->factors[nearest], name))
            nearest = i;
    }
    return sg_fail(err, SG_ENOTFOUND, "the pairs have no factor \"%.40s\"%s%s", name,
                   p->n_factors ? "; the nearest is " : "", p->n_factors ? p->factors[nearest] : "");
}
