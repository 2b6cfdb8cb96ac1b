/* What a GGUF file holds, for inspect. */
#include "gguf_shown.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli.h"

enum { SHOWN = 6, MOST_TYPES = 64 };

static json_t *number_json(const sg_gguf_value *v, uint64_t i)
{
    const double x = sg_gguf_number(v, i);
    if (v->of == SG_GGUF_BOOL)
        return json_boolean(x != 0);
    if (v->of == SG_GGUF_F32 || v->of == SG_GGUF_F64)
        return isfinite(x) ? json_real(x) : json_null();
    return fabs(x) < 9e15 ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *value_json(const sg_gguf_value *v)
{
    static const char *const names[SG_GGUF_N_TYPES] = {"u8",   "i8",    "u16",    "i16", "u32", "i32", "f32",
                                                       "bool", "texts", "arrays", "u64", "i64", "f64"};
    if (v->type == SG_GGUF_TEXT) {
        json_t *text = json_stringn((const char *)v->bytes, (size_t)v->n);
        return text ? text : json_string("(not UTF-8)");
    }
    if (v->type != SG_GGUF_ARRAY)
        return number_json(v, 0);
    json_t *first = json_array();
    const unsigned char *at = v->bytes;
    for (uint64_t i = 0; i < v->n && i < SHOWN && v->of != SG_GGUF_ARRAY; i++) {
        if (v->of != SG_GGUF_TEXT) {
            json_array_append_new(first, number_json(v, i));
            continue;
        }
        uint64_t n = 0; /* checked when the file was opened */
        for (int k = 0; k < 8; k++)
            n |= (uint64_t)at[k] << 8 * k;
        json_t *text = json_stringn((const char *)at + 8, (size_t)n);
        json_array_append_new(first, text ? text : json_string("(not UTF-8)"));
        at += 8 + n;
    }
    return json_pack("{s:s, s:I, s:o}", "of", names[v->of], "n", (json_int_t)v->n, "first", first);
}

/* A value on one line, cut where it is long. */
static void print_value(const sg_gguf_value *v)
{
    json_t *json = value_json(v);
    const json_t *first = json_object_get(json, "first");
    char *text = json_dumps(first ? first : json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(7));
    const size_t n = text ? strlen(text) : 0;
    size_t shown = SG_MIN(n, 72);

    while (shown < n && shown > 0 && ((unsigned char)text[shown] & 0xC0) == 0x80)
        shown--;
    if (first)
        printf("%" PRIu64 " %s: ", v->n, json_string_value(json_object_get(json, "of")));
    printf("%.*s%s\n", (int)shown, text ? text : "", shown < n ? "..." : "");
    free(text);
    json_decref(json);
}

typedef struct kind {
    const char *name;
    int n;
    double numbers, bytes;
} kind;

/* Tensors by type, the most bytes first. */
static int kinds_of(const sg_gguf *g, kind kinds[MOST_TYPES])
{
    int n = 0;
    for (int i = 0; i < sg_gguf_count(g); i++) {
        const sg_tensor *t = sg_gguf_at(g, i);
        const char *name = sg_gguf_type_name(g, i);
        int k = 0;
        while (k < n && strcmp(kinds[k].name, name) != 0)
            k++;
        if (k == MOST_TYPES)
            continue;
        if (k == n)
            kinds[n++] = (kind){.name = name};
        kinds[k].n++;
        kinds[k].numbers += t ? (double)sg_tensor_count(t) : 0;
        kinds[k].bytes += t ? (double)sg_tensor_bytes(t) : 0;
    }
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && kinds[k].bytes > kinds[k - 1].bytes; k--) {
            const kind swap = kinds[k];
            kinds[k] = kinds[k - 1];
            kinds[k - 1] = swap;
        }
    return n;
}

void gguf_print(const sg_gguf *g)
{
    const cli_paint c = cli_colours();
    kind kinds[MOST_TYPES];
    const int n = kinds_of(g, kinds);

    printf("%sGGUF%s version %d, %d tensors:", c.bold, c.off, sg_gguf_version(g), sg_gguf_count(g));
    for (int k = 0; k < n; k++) {
        printf("%s %d of %s", k ? "," : "", kinds[k].n, kinds[k].name);
        if (kinds[k].bytes > 0)
            printf(" (%.1f MB, %.4g bits a number)", kinds[k].bytes / 1e6, 8 * kinds[k].bytes / kinds[k].numbers);
    }
    printf("\n");
    for (int i = 0; i < sg_gguf_n_keys(g); i++) {
        const sg_gguf_value v = sg_gguf_value_at(g, i);
        printf("  %-42s ", sg_gguf_key(g, i));
        print_value(&v);
    }
    printf("\n");
}

json_t *gguf_json(const sg_gguf *g)
{
    json_t *metadata = json_object(), *tensors = json_array();

    for (int i = 0; i < sg_gguf_n_keys(g); i++) {
        const sg_gguf_value v = sg_gguf_value_at(g, i);
        json_object_set_new(metadata, sg_gguf_key(g, i), value_json(&v)); /* a key that is not UTF-8 is left out */
    }
    for (int i = 0; i < sg_gguf_count(g); i++) {
        const sg_tensor *t = sg_gguf_at(g, i);
        json_t *one = json_pack("{s:s, s:s, s:o}", "name", sg_gguf_name(g, i), "type", sg_gguf_type_name(g, i), "shape",
                                t ? cli_shape(t->n_dims, t->dims) : json_null());
        if (one)
            json_array_append_new(tensors, one);
    }
    return json_pack("{s:i, s:o, s:o}", "version", sg_gguf_version(g), "metadata", metadata, "tensors", tensors);
}
