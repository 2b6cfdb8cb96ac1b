/* JSON from outside: depth and number of values are counted in one pass over the bytes, which knows of strings only
 * where they begin and end; whether it is JSON at all is jansson's to say. */
#include "serve/json.h"

sg_status serve_json_read(json_t **out, const char *bytes, size_t n, int depth, size_t values, sg_error *err)
{
    bool in_string = false;
    size_t n_values = 1, n_boxes = 0;
    int deep = 0;
    json_error_t at;

    for (size_t i = 0; i < n; i++) {
        const char c = bytes[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++deep > depth)
                return sg_fail(err, SG_EFORMAT, "the JSON is nested deeper than %d at byte %zu", depth, i);
            n_values++;
            n_boxes++;
        } else if (c == ']' || c == '}') {
            deep--;
        } else if (c == ',' || c == ':') {
            n_values++;
        }
        /* A list or an object takes some five times what a number does, even when it is empty. */
        if (n_values + 4 * n_boxes > values)
            return sg_fail(err, SG_EFORMAT, "the JSON holds too many values, %zu by byte %zu", n_values, i);
    }
    *out = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
    if (*out)
        return SG_OK;
    /* Jansson says why it gives up, except where it has no memory even for that. */
    if (json_error_code(&at) == json_error_out_of_memory || !at.text[0])
        return sg_fail(err, SG_ENOMEM, "out of memory for the JSON");
    return sg_fail(err, SG_EFORMAT, "no JSON: line %d, column %d: %s", at.line, at.column, at.text);
}
