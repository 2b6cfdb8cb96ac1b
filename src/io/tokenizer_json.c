/* Members of the tokenizer.json with their types checked, and Sequences laid out as lists.
 * Every text names the file and the member. */
#include <inttypes.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define MAX_NESTING 16

const char *sg_show_n(char buf[SG_SHOWN], const char *text, size_t n)
{
    size_t n_shown = 0;
    for (size_t bytes; n_shown < n; n_shown += bytes) {
        bytes = SG_MIN(sg_utf8_length(text[n_shown]), n - n_shown);
        if (n_shown + bytes + 4 > SG_SHOWN) {
            memcpy(buf + n_shown, "...", 3);
            n_shown += 3;
            break;
        }
        memcpy(buf + n_shown, text + n_shown, bytes);
        if ((unsigned char)text[n_shown] < 0x20 || text[n_shown] == 0x7F)
            buf[n_shown] = '?';
    }
    buf[n_shown] = '\0';
    return buf;
}

const char *sg_show(char buf[SG_SHOWN], const char *text)
{
    return sg_show_n(buf, text, strlen(text));
}

const json_t *sg_json_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static sg_status wrong(const sg_reader *r, const char *key, const char *wanted)
{
    return sg_fail(r->err, SG_EFORMAT, "%s: \"%s\" is not %s", r->name, key, wanted);
}

sg_status sg_json_bool(const sg_reader *r, const json_t *object, const char *key, bool fallback, bool *out)
{
    const json_t *value = sg_json_member(object, key);
    if (value && !json_is_boolean(value))
        return wrong(r, key, "true or false");
    *out = value ? json_is_true(value) : fallback;
    return SG_OK;
}

sg_status sg_json_text(const sg_reader *r, const json_t *object, const char *key, const char *fallback,
                       const char **out)
{
    const json_t *value = sg_json_member(object, key);
    if (value && !json_is_string(value))
        return wrong(r, key, "a text");
    if (!value && !fallback)
        return sg_fail(r->err, SG_EFORMAT, "%s: \"%s\" is missing", r->name, key);
    *out = sg_arena_strdup(r->arena, value ? json_string_value(value) : fallback);
    return *out ? SG_OK : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
}

sg_status sg_json_char(const sg_reader *r, const json_t *object, const char *key, const char *fallback,
                       const char **out)
{
    SG_TRY(sg_json_text(r, object, key, fallback, out));
    if (**out == '\0' || strlen(*out) != sg_utf8_length(**out))
        return wrong(r, key, "a single character");
    return SG_OK;
}

sg_status sg_json_count(const sg_reader *r, const json_t *object, const char *key, int64_t fallback, int64_t *out)
{
    const json_t *value = sg_json_member(object, key);
    if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
        return wrong(r, key, "a whole number of at least 0");
    *out = value ? json_integer_value(value) : fallback;
    return SG_OK;
}

sg_status sg_json_id(const sg_reader *r, const json_t *value, const char *what, int32_t *out)
{
    char shown[SG_SHOWN];
    if (!json_is_integer(value))
        return sg_fail(r->err, SG_EFORMAT, "%s: the id of \"%s\" is not a whole number", r->name, sg_show(shown, what));
    const json_int_t id = json_integer_value(value);
    if (id < 0 || id >= 1 << 24)
        return sg_fail(r->err, SG_EFORMAT, "%s: the id of \"%s\" is %" JSON_INTEGER_FORMAT ", wanted 0 to 16777215",
                       r->name, sg_show(shown, what), id);
    *out = (int32_t)id;
    return SG_OK;
}

sg_status sg_json_unsupported(const sg_reader *r, const char *part, const char *type)
{
    char shown[SG_SHOWN];
    return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %s of type \"%s\" is not supported", r->name, part,
                   sg_show(shown, type));
}

static sg_status open_step(const sg_reader *r, const json_t *json, const char *part, const char *list_key, int depth,
                           sg_json_steps *out)
{
    const json_t *type = json_object_get(json, "type");
    if (!json_is_string(type))
        return sg_fail(r->err, SG_EFORMAT, "%s: %s has no \"type\"", r->name, part);
    if (strcmp(json_string_value(type), "Sequence") != 0) {
        if (out->n == SG_MAX_STEPS)
            return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %s has more than %d steps", r->name, part, SG_MAX_STEPS);
        out->step[out->n] = json;
        out->type[out->n++] = json_string_value(type);
        return SG_OK;
    }
    const json_t *list = json_object_get(json, list_key);
    if (!json_is_array(list))
        return sg_fail(r->err, SG_EFORMAT, "%s: %s: Sequence has no list \"%s\"", r->name, part, list_key);
    if (depth == MAX_NESTING)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %s nests more than %d deep", r->name, part, MAX_NESTING);
    for (size_t i = 0; i < json_array_size(list); i++)
        SG_TRY(open_step(r, json_array_get(list, i), part, list_key, depth + 1, out));
    return SG_OK;
}

sg_status sg_json_open_steps(const sg_reader *r, const json_t *root, const char *part, const char *list_key,
                             sg_json_steps *out)
{
    const json_t *json = sg_json_member(root, part);
    out->n = 0;
    return json ? open_step(r, json, part, list_key, 0, out) : SG_OK;
}
