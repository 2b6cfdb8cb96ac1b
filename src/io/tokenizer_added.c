/* Added tokens: texts that are cut out whole before anything else looks at them.  At each place the longest one wins,
 * and places are taken from left to right. */
#include <string.h>

#include "io/tokenizer_internal.h"

static int32_t add_node(sg_added *a, unsigned char byte, int32_t sibling)
{
    a->nodes[a->n_nodes] = (sg_added_node){.child = -1, .sibling = sibling, .token = -1, .byte = byte};
    return a->n_nodes++;
}

/* The first of several equal texts keeps its place. */
static void insert(sg_added *a, int32_t i_token)
{
    const sg_added_token *token = &a->tokens[i_token];
    int32_t *list = &a->roots[(unsigned char)token->text[0]];
    int32_t node = -1;
    for (size_t i = 0; i < token->bytes; i++) {
        const unsigned char byte = (unsigned char)token->text[i];
        for (node = *list; node >= 0 && a->nodes[node].byte != byte;)
            node = a->nodes[node].sibling;
        if (node < 0)
            node = *list = add_node(a, byte, *list);
        list = &a->nodes[node].child;
    }
    if (a->nodes[node].token < 0)
        a->nodes[node].token = i_token;
}

static sg_status build(sg_added *a, const sg_reader *r, sg_added_token *tokens, size_t n, bool normalized)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (tokens[i].normalized == normalized)
            bytes += tokens[i].bytes;
    if (bytes > INT32_MAX)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: added tokens of %zu bytes", r->name, bytes);
    a->tokens = tokens;
    a->nodes = sg_arena_array(r->arena, bytes + 1, sizeof *a->nodes);
    if (!a->nodes)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (size_t i = 0; i < SG_COUNT_OF(a->roots); i++)
        a->roots[i] = -1;
    for (size_t i = 0; i < n; i++)
        if (tokens[i].normalized == normalized && tokens[i].bytes)
            insert(a, (int32_t)i);
    return SG_OK;
}

static sg_status read_token(sg_added_token *t, const sg_reader *r, const json_t *json, const sg_normalizer *normalizer,
                            sg_norm_work *work)
{
    const char *text;
    size_t n;
    SG_TRY(sg_json_text(r, json, "content", NULL, &text));
    SG_TRY(sg_json_id(r, json_object_get(json, "id"), text, &t->id));
    SG_TRY(sg_json_bool(r, json, "special", false, &t->special));
    SG_TRY(sg_json_bool(r, json, "single_word", false, &t->single_word));
    SG_TRY(sg_json_bool(r, json, "lstrip", false, &t->lstrip));
    SG_TRY(sg_json_bool(r, json, "rstrip", false, &t->rstrip));
    SG_TRY(sg_json_bool(r, json, "normalized", !t->special, &t->normalized));
    n = strlen(text);
    if (t->normalized) {
        SG_TRY(sg_normalize(normalizer, work, text, n, &text, &n, r->err));
        text = sg_arena_strndup(r->arena, text, n);
        if (!text)
            return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    }
    t->text = text;
    t->bytes = n;
    return SG_OK;
}

sg_status sg_added_read(sg_added *raw, sg_added *normalized, const sg_reader *r, const json_t *list,
                        const sg_normalizer *normalizer)
{
    const size_t n = json_array_size(list);
    sg_added_token *tokens = sg_arena_array(r->arena, n + 1, sizeof *tokens);
    if (!tokens)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    sg_norm_work work = {0};
    sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = read_token(&tokens[i], r, json_array_get(list, i), normalizer, &work);
    sg_norm_work_free(&work);
    SG_TRY(status);
    SG_TRY(build(raw, r, tokens, n, false));
    return build(normalized, r, tokens, n, true);
}

/* The longest token that begins at `at`, or NULL. */
static const sg_added_token *longest_at(const sg_added *a, const char *text, size_t n, size_t at)
{
    const sg_added_token *best = NULL;
    int32_t list = a->roots[(unsigned char)text[at]];
    for (size_t i = at; i < n; i++) {
        const unsigned char byte = (unsigned char)text[i];
        while (list >= 0 && a->nodes[list].byte != byte)
            list = a->nodes[list].sibling;
        if (list < 0)
            break;
        if (a->nodes[list].token >= 0)
            best = &a->tokens[a->nodes[list].token];
        list = a->nodes[list].child;
    }
    return best;
}

/* The start of the character that ends before `at` > 0. */
static size_t char_before(const char *text, size_t at)
{
    do
        at--;
    while (((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    return (start == 0 || !sg_is_word(sg_utf8_code(text + char_before(text, start)))) &&
           (end == n || !sg_is_word(sg_utf8_code(text + end)));
}

/* The next token at or after `from`, whitespace that it swallows included but not before `limit`. */
static bool find(const sg_added_walk *w, size_t from, size_t limit, sg_span *out)
{
    while (from < w->n) {
        const sg_added_token *t = longest_at(w->added, w->text, w->n, from);
        if (!t) {
            from++;
            continue;
        }
        size_t start = from, end = from + t->bytes;
        from = end;
        if ((t->special && !w->specials) || (t->single_word && !stands_alone(w->text, w->n, start, end)))
            continue;
        if (t->lstrip)
            while (start > limit && sg_is_space(sg_utf8_code(w->text + char_before(w->text, start))))
                start = char_before(w->text, start);
        if (t->rstrip)
            while (end < w->n && sg_is_space(sg_utf8_code(w->text + end)))
                end += sg_utf8_length(w->text[end]);
        *out = (sg_span){start, end, t->id};
        return true;
    }
    return false;
}

bool sg_added_next(sg_added_walk *w, sg_span *out)
{
    if (w->have_held) {
        w->have_held = false;
        *out = w->held;
        return true;
    }
    if (w->at == w->n)
        return false;
    sg_span token = {w->n, w->n, -1};
    const bool found = w->added->n_nodes > 0 && find(w, w->at, w->at, &token);
    *out = (sg_span){w->at, token.start, -1};
    w->at = token.end;
    if (!found)
        return true;
    if (out->start == out->end) {
        *out = token;
        return true;
    }
    w->held = token;
    w->have_held = true;
    return true;
}
