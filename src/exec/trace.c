/* Traces in the Chrome trace format: load them in a browser's tracing page. */
#include <stdlib.h>
#include <string.h>

#include "exec/exec_internal.h"

typedef struct event {
    char *name;
    const char *op, *backend;
    double start, end, bytes;
    char shape[64];
} event;

struct sg_trace {
    sg_arena *arena; /* names: plans may be gone when the trace is written */
    event *events;
    size_t n, capacity;
    bool failed;
};

sg_status sg_trace_new(sg_trace **out, sg_error *err)
{
    sg_trace *t = calloc(1, sizeof *t);

    if (!t || !(t->arena = sg_arena_new())) {
        free(t);
        return sg_fail(err, SG_ENOMEM, "out of memory for a trace");
    }
    *out = t;
    return SG_OK;
}

void sg_trace_free(sg_trace *t)
{
    if (!t)
        return;
    sg_arena_free(t->arena);
    free(t->events);
    free(t);
}

void sg_trace_add(sg_trace *t, const char *name, const char *op, const char *backend, double start, double end,
                  const sg_view *out, double bytes)
{
    if (t->n == t->capacity) {
        const size_t capacity = t->capacity ? t->capacity * 2 : 1024;
        event *more = realloc(t->events, capacity * sizeof *more);
        if (!more) {
            t->failed = true;
            return;
        }
        t->events = more;
        t->capacity = capacity;
    }
    char shape[SG_SHAPE_TEXT];
    event *e = &t->events[t->n];
    *e = (event){.name = sg_arena_strdup(t->arena, name),
                 .op = op,
                 .backend = backend,
                 .start = start,
                 .end = end,
                 .bytes = bytes};
    snprintf(e->shape, sizeof e->shape, "%.*s", (int)sizeof e->shape - 1, sg_shape_text(shape, out->n_dims, out->dims));
    if (!e->name)
        t->failed = true;
    else
        t->n++;
}

sg_status sg_trace_save(const sg_trace *t, const char *path, sg_error *err)
{
    sg_writer *w;

    if (t->failed)
        return sg_fail(err, SG_ENOMEM, "out of memory while tracing; %s was not written", path);
    SG_TRY(sg_writer_begin(&w, path, err));
    FILE *f = sg_writer_stream(w);
    const double zero = t->n ? t->events[0].start : 0;
    fprintf(f, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    for (size_t i = 0; i < t->n; i++) {
        const event *e = &t->events[i];
        const double us = (e->end - e->start) * 1e6;
        fprintf(f, "%s\n{\"name\":\"", i ? "," : "");
        for (const char *c = e->name; *c; c++) /* names are ours, but weights may bring any bytes */
            if (*c == '"' || *c == '\\')
                fprintf(f, "\\%c", *c);
            else if ((unsigned char)*c < 32)
                fprintf(f, "\\u%04x", (unsigned)(unsigned char)*c);
            else
                fputc(*c, f);
        fprintf(f,
                "\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"op\":\"%s\","
                "\"backend\":\"%s\",\"shape\":\"%s\",\"bytes\":%.0f,\"GB_per_s\":%.3f}}",
                e->op, (e->start - zero) * 1e6, us, e->op, e->backend, e->shape, e->bytes,
                us > 0 ? e->bytes / us * 1e-3 : 0.0);
    }
    fprintf(f, "\n]}\n");
    return sg_writer_commit(w, err);
}
