/* Edits as JSON, which sg_edit_list_open reads back to the same numbers: 9 digits name an f32, 17 a double. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/edit.h"

static void indent(FILE *to, int depth)
{
    fprintf(to, "%*s", 2 * depth, "");
}

static void write_array(FILE *to, const sg_tensor *t, int axis, sg_dim *at)
{
    if (axis == t->n_dims) {
        fprintf(to, "%.*g", t->dtype == SG_F64 ? 17 : 9, sg_tensor_get(t, (*at)++));
        return;
    }
    fputc('[', to);
    for (sg_dim i = 0; i < t->dims[axis]; i++) {
        fputs(i ? ", " : "", to);
        write_array(to, t, axis + 1, at);
    }
    fputc(']', to);
}

static void write_value(FILE *to, const char *key, const sg_tensor *t)
{
    sg_dim at = 0;
    fprintf(to, ", \"%s\": ", key);
    write_array(to, t, 0, &at);
}

static void write_text(FILE *to, const char *key, const char *text)
{
    json_t *s = json_string(text);
    char *dumped = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    fprintf(to, "\"%s\": %s", key, dumped ? dumped : "\"\"");
    free(dumped);
    json_decref(s);
}

static void write_spans(FILE *to, const char *key, const sg_spans *s)
{
    if (!s->n)
        return;
    fprintf(to, ", \"%s\": [", key);
    for (int i = 0; i < s->n; i++) {
        const long long first = (long long)s->spans[i].first, last = (long long)s->spans[i].last;
        if (first == last)
            fprintf(to, "%s%lld", i ? ", " : "", first);
        else
            fprintf(to, "%s[%lld, %lld]", i ? ", " : "", first, last);
    }
    fputc(']', to);
}

static void write_number(FILE *to, const char *key, double x, double standard)
{
    if (isfinite(x) && x != standard)
        fprintf(to, ", \"%s\": %.17g", key, x);
}

static void write_edit(FILE *to, const sg_edit *e)
{
    fputc('{', to);
    write_text(to, "site", e->site);
    fprintf(to, ", \"op\": \"%s\"", sg_edit_op_name(e->op));
    write_number(to, "strength", e->strength, 1);
    write_number(to, "low", e->low, -HUGE_VAL);
    write_number(to, "high", e->high, HUGE_VAL);
    write_spans(to, "heads", &e->heads);
    write_spans(to, "features", &e->features);
    write_spans(to, "positions", &e->positions);
    write_spans(to, "rows", &e->rows);
    write_spans(to, "steps", &e->steps);
    write_spans(to, "keys", &e->keys);
    if (e->when.site) {
        fputs(", \"when\": {", to);
        write_text(to, "site", e->when.site);
        if (e->when.direction.data)
            write_value(to, "direction", &e->when.direction);
        else
            fprintf(to, ", \"index\": %lld", (long long)e->when.index);
        write_number(to, "above", e->when.low, -HUGE_VAL);
        write_number(to, "below", e->when.high, HUGE_VAL);
        fputc('}', to);
    }
    if (e->value.data)
        write_value(to, "value", &e->value);
    fputc('}', to);
}

sg_status sg_edit_list_save(sg_edit_list *list, const char *path, sg_error *err)
{
    const int n = sg_edit_list_count(list);
    sg_writer *w;
    for (int i = 0; i < n; i++)
        if (sg_edit_list_source(list, i) && !sg_edit_list_at(list, i)->value.data)
            return sg_fail(err, SG_EARG, "%s: edit %d takes its value from another run, which has not been made", path,
                           i);
    SG_TRY(sg_writer_begin(&w, path, err));
    FILE *to = sg_writer_stream(w);
    fputs("[\n", to);
    for (int i = 0; i < n; i++) {
        indent(to, 1);
        write_edit(to, sg_edit_list_at(list, i));
        fputs(i + 1 < n ? ",\n" : "\n", to);
    }
    fputs("]\n", to);
    return sg_writer_commit(w, err);
}
