/* Tokens by the bytes that they stand for, those that two vocabularies share, and a model's tables of them. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/embedgeo.h"

#define SPACE "\xE2\x96\x81" /* SentencePiece's */

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "embedgeo: out of memory");
}

/* ---- bytes ---- */

sg_token_escape sg_token_escape_of(const sg_tokenizer *t)
{
    bool byte_level = false, metaspace = false, wordpiece = false;
    for (int32_t id = 0; id < sg_tokenizer_size(t); id++) {
        const char *text = sg_tokenizer_token(t, id);
        if (!text || sg_tokenizer_is_special(t, id))
            continue;
        byte_level |=
            strncmp(text, "\xC4\xA0", 2) == 0 || strncmp(text, "\xC4\x8A", 2) == 0; /* a space, a line break */
        metaspace |= strncmp(text, SPACE, strlen(SPACE)) == 0;
        wordpiece |= strncmp(text, "##", 2) == 0 && text[2];
    }
    return metaspace    ? SG_ESCAPE_METASPACE
           : byte_level ? SG_ESCAPE_BYTE_LEVEL
           : wordpiece  ? SG_ESCAPE_WORDPIECE
                        : SG_ESCAPE_NONE;
}

/* "<0x0A>" as the byte, or -1. */
static int byte_named(const char *text)
{
    char *end;
    if (strncmp(text, "<0x", 3) != 0 || strlen(text) != 6 || text[5] != '>')
        return -1;
    const long byte = strtol(text + 3, &end, 16);
    return end == text + 5 && byte >= 0 ? (int)byte : -1;
}

static size_t char_bytes(char first)
{
    const unsigned char c = (unsigned char)first;
    return c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* GPT-2 shows a byte as the character of its number, or where that is not visible as one of U+0100 and on, in order.
 * -1: the character at `text` is none of those. */
static int byte_shown(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const int code = c[0] < 0x80 ? c[0] : c[0] < 0xE0 && c[1] ? (c[0] & 31) << 6 | (c[1] & 63) : -1;
    int n = 0;
    if ((code >= 33 && code <= 126) || (code >= 161 && code <= 172) || (code >= 174 && code <= 255))
        return code;
    for (int byte = 0; byte < 256; byte++) {
        const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        if (!visible && 256 + n++ == code)
            return byte;
    }
    return -1;
}

static void unescape(sg_str *to, const char *text, sg_token_escape how)
{
    const int byte = how == SG_ESCAPE_METASPACE ? byte_named(text) : -1;
    if (byte >= 0) {
        sg_str_append(to, &(char){(char)byte}, 1);
        return;
    }
    if (how == SG_ESCAPE_WORDPIECE) {
        if (strncmp(text, "##", 2) == 0 && text[2])
            text += 2;
        else
            sg_str_puts(to, " ");
    }
    while (*text) {
        const size_t n = strnlen(text, char_bytes(*text));
        const int of_char = how == SG_ESCAPE_BYTE_LEVEL ? byte_shown(text) : -1;
        if (of_char >= 0)
            sg_str_append(to, &(char){(char)of_char}, 1);
        else if (how == SG_ESCAPE_METASPACE && strncmp(text, SPACE, strlen(SPACE)) == 0)
            sg_str_puts(to, " ");
        else
            sg_str_append(to, text, n);
        text += n;
    }
}

sg_status sg_token_bytes(char **out, size_t *n, const sg_tokenizer *t, sg_token_escape how, int32_t id, sg_error *err)
{
    const char *text = sg_tokenizer_token(t, id);
    sg_str s = {0};
    *out = NULL;
    *n = 0;
    if (!text)
        return SG_OK;
    sg_str_puts(&s, "");
    unescape(&s, text, how);
    if (s.failed) {
        sg_str_free(&s);
        return no_memory(err);
    }
    *out = s.text;
    *n = s.bytes;
    return SG_OK;
}

/* ---- shared ones ---- */

typedef struct vocabulary {
    int32_t n;
    char **bytes; /* [n], NULL: special, or none */
    size_t *length;
    sg_map *map; /* the first id of the same bytes */
} vocabulary;

static void close_vocabulary(vocabulary *v)
{
    for (int32_t id = 0; v->bytes && id < v->n; id++)
        free(v->bytes[id]);
    free(v->bytes);
    free(v->length);
    sg_map_free(v->map);
}

static sg_status open_vocabulary(vocabulary *v, const sg_tokenizer *t, sg_error *err)
{
    const sg_token_escape how = sg_token_escape_of(t);
    const int32_t n = sg_tokenizer_size(t);
    *v = (vocabulary){.n = n,
                      .bytes = calloc((size_t)n + 1, sizeof *v->bytes),
                      .length = calloc((size_t)n + 1, sizeof *v->length),
                      .map = sg_map_new((size_t)n)};
    if (!v->bytes || !v->length || !v->map)
        return no_memory(err);
    for (int32_t id = 0; id < n; id++) {
        if (sg_tokenizer_is_special(t, id))
            continue;
        SG_TRY(sg_token_bytes(&v->bytes[id], &v->length[id], t, how, id, err));
        if (!v->bytes[id])
            continue;
        const sg_status status = sg_map_put(v->map, v->bytes[id], v->length[id], id);
        if (status != SG_OK && status != SG_EARG) /* there already: the first stays */
            return no_memory(err);
    }
    return SG_OK;
}

static sg_status match(sg_token_match *m, const vocabulary *a, const vocabulary *b, sg_error *err)
{
    for (int k = 0; k < 2; k++)
        if (!(m->ids[k] = malloc(sizeof(int32_t) * ((size_t)a->n + 1))))
            return no_memory(err);
    for (int32_t id = 0; id < a->n; id++) {
        if (!a->bytes[id] || sg_map_get(a->map, a->bytes[id], a->length[id]) != id)
            continue;
        const int32_t other = sg_map_get(b->map, a->bytes[id], a->length[id]);
        if (other < 0)
            continue;
        m->ids[0][m->n] = id;
        m->ids[1][m->n++] = other;
    }
    return SG_OK;
}

sg_status sg_token_match_new(sg_token_match **out, const sg_tokenizer *a, const sg_tokenizer *b, sg_error *err)
{
    *out = NULL;
    if (!a || !b)
        return sg_fail(err, SG_EARG, "embedgeo: tokens are matched by their bytes, and a model has no tokenizer");
    vocabulary one = {0}, other = {0};
    sg_token_match *m = calloc(1, sizeof *m);
    sg_status status = m ? open_vocabulary(&one, a, err) : no_memory(err);
    if (status == SG_OK)
        status = open_vocabulary(&other, b, err);
    if (status == SG_OK)
        status = match(m, &one, &other, err);
    close_vocabulary(&one);
    close_vocabulary(&other);
    if (status == SG_OK)
        *out = m;
    else
        sg_token_match_free(m);
    return status;
}

void sg_token_match_free(sg_token_match *m)
{
    if (!m)
        return;
    free(m->ids[0]);
    free(m->ids[1]);
    free(m);
}

/* ---- a model's tables ---- */

static bool is_variable(const sg_value *v)
{
    return strcmp(sg_value_op(v), "variable") == 0;
}

/* What tokens are looked up in: the first such operation of the graph. */
static sg_value *input_table(const sg_graph *g)
{
    for (int i = 0; i < sg_graph_size(g); i++) {
        const sg_value *v = sg_graph_at(g, i);
        if (strcmp(sg_value_op(v), "embed") == 0 && is_variable(sg_value_in(v, 0)))
            return sg_value_in(v, 0);
    }
    return NULL;
}

/* The matrix that the logits are products with, behind what is done to them last. */
static sg_value *output_table(sg_value *v, int depth)
{
    if (strcmp(sg_value_op(v), "matmul") == 0) {
        sg_value *w = sg_value_in(v, 1);
        while (!is_variable(w) && sg_value_n_in(w) == 1)
            w = sg_value_in(w, 0);
        return is_variable(w) ? w : NULL;
    }
    for (int i = 0; i < sg_value_n_in(v) && depth > 0; i++) {
        sg_value *found = output_table(sg_value_in(v, i), depth - 1);
        if (found)
            return found;
    }
    return NULL;
}

static sg_status read_table(sg_embedding *e, const sg_model *m, const sg_graph *g, bool output, sg_error *err)
{
    sg_value *logits = sg_graph_find(g, "logits"), *table = NULL;
    if (!output)
        table = input_table(g);
    else if (logits)
        table = output_table(logits, 12);
    if (!table || sg_value_n_dims(table) != 2)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: no table of %s embeddings", sg_model_get_info(m)->path,
                       output ? "output" : "input");
    sg_state *s;
    SG_TRY(sg_state_new(&s, g, err));
    sg_status status = sg_model_bind(m, g, s, err);
    if (status == SG_OK)
        status = sg_state_init(s, 0, err);
    const sg_tensor *t = status == SG_OK ? sg_state_tensor(s, table) : NULL;
    if (status == SG_OK && !t)
        status = sg_fail(err, SG_EUNSUPPORTED, "%s: its weights are not there", sg_model_get_info(m)->path);
    if (status == SG_OK) {
        e->table = sg_tensor_of(SG_F32, 2, t->dims, malloc(sizeof(float) * (size_t)sg_tensor_count(t)));
        if (e->table.data)
            sg_convert(e->table.data, SG_F32, t->data, t->dtype, sg_tensor_count(t));
        else
            status = no_memory(err);
    }
    sg_state_free(s);
    return status;
}

sg_status sg_embedding_new(sg_embedding **out, const sg_model *m, bool output, sg_error *err)
{
    sg_graph *g = NULL;
    *out = NULL;
    sg_embedding *e = calloc(1, sizeof *e);
    sg_status status = e ? sg_model_graph(&g, m, 0, 0, err) : no_memory(err);
    if (status == SG_OK) {
        e->tied = sg_model_get_info(m)->tied;
        status = read_table(e, m, g, output, err);
    }
    sg_graph_free(g);
    if (status == SG_OK)
        *out = e;
    else
        sg_embedding_free(e);
    return status;
}

void sg_embedding_free(sg_embedding *e)
{
    if (!e)
        return;
    free(e->table.data);
    free(e);
}
