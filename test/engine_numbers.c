/* engine_numbers FILE [THREADS]: builds and runs the graphs that a JSON file describes, on the reference kernels, and
 * prints a line for each value fetched: case, run, value, type, shape, hash of the bytes. web/test/engine/ has the
 * page's engine do the same from the same file and compares.
 *
 *     {"cases": [{"name", "seed", "runs", "fetch": ["loss"], "values": [
 *         {"name": "x", "op": "input", "dtype": 0, "shape": [8, 2], "feed": {"kind": "real"}},
 *         {"name": "w", "op": "variable", "dtype": 0, "shape": [3, 2], "init": [1, 0, 0.5]},
 *         {"name": "h", "op": "linear", "in": ["x", "w"], "with": []},
 *         {"name": "dw", "op": "grad", "in": ["loss", "w"]}]}]} */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "builders.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

#define MOST 400

typedef struct named {
    const char *name;
    sg_value *v;
    const json_t *feed; /* NULL: no input */
    void *data;
} named;

typedef struct net {
    sg_graph *g;
    named values[MOST];
    int n;
} net;

static sg_value *find(const net *m, const char *name)
{
    for (int i = m->n; i-- > 0;)
        if (strcmp(m->values[i].name, name) == 0)
            return m->values[i].v;
    fprintf(stderr, "no value \"%s\"\n", name);
    exit(2);
}

static int dims_of(const json_t *list, sg_dim *dims)
{
    for (size_t k = 0; k < json_array_size(list); k++)
        dims[k] = (sg_dim)json_integer_value(json_array_get(list, k));
    return (int)json_array_size(list);
}

/* A stream that JavaScript has too, in 32 bits. */
static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void fill(sg_tensor *t, const json_t *feed, uint32_t *state)
{
    const double low = json_number_value(json_object_get(feed, "low")),
                 high = json_number_value(json_object_get(feed, "high"));
    for (sg_dim i = 0; i < sg_tensor_count(t); i++) {
        const double x = low + (high - low) * ((double)next(state) * 0x1p-24);
        sg_tensor_set(t, i, t->dtype == SG_F32 || t->dtype == SG_F64 ? x : (double)(int64_t)x);
    }
}

static void declare(net *m, const json_t *j, uint32_t *stream)
{
    const char *name = json_string_value(json_object_get(j, "name")), *op = json_string_value(json_object_get(j, "op"));
    const json_t *in = json_object_get(j, "in"), *with = json_object_get(j, "with");
    const sg_dtype dtype = (sg_dtype)json_integer_value(json_object_get(j, "dtype"));
    sg_dim dims[SG_MAX_DIMS];
    const int n = dims_of(json_object_get(j, "shape"), dims);
    named *to = &m->values[m->n];

    SG_ASSERT(m->n < MOST);
    *to = (named){.name = name};
    if (strcmp(op, "input") == 0) {
        to->feed = json_object_get(j, "feed");
        to->v = sg_input(m->g, name, dtype, n, dims);
    } else if (strcmp(op, "const") == 0) {
        sg_tensor t = sg_tensor_of(dtype, n, dims, NULL);
        t.data = to->data = malloc(sg_tensor_bytes(&t) + 8);
        SG_ASSERT(t.data);
        fill(&t, json_object_get(j, "feed"), stream);
        to->v = sg_const(m->g, &t);
    } else if (strcmp(op, "variable") == 0) {
        const json_t *init = json_object_get(j, "init");
        const double a = json_number_value(json_array_get(init, 1)), b = json_number_value(json_array_get(init, 2));
        const json_int_t kind = json_integer_value(json_array_get(init, 0));
        sg_init how = kind == 0 ? sg_init_constant(a) : kind == 1 ? sg_init_normal(b) : sg_init_uniform(a, b);
        how.a = a;
        to->v = sg_variable(m->g, name, dtype, n, dims, how);
    } else if (strcmp(op, "grad") == 0) {
        sg_value *y = find(m, json_string_value(json_array_get(in, 0)));
        sg_value *x = find(m, json_string_value(json_array_get(in, 1)));
        sg_gradients(m->g, y, NULL, 1, &x, &to->v);
    } else {
        sg_value *x[64];
        double a[64];
        const size_t n_x = json_array_size(in), n_a = json_array_size(with);
        SG_ASSERT(n_x <= 64 && n_a <= 64);
        for (size_t k = 0; k < n_x; k++)
            x[k] = find(m, json_string_value(json_array_get(in, k)));
        for (size_t k = 0; k < n_a; k++)
            a[k] = json_number_value(json_array_get(with, k));
        to->v = builder_call(m->g, op, (int)n_x, x, (int)n_a, a);
    }
    m->n++;
}

static uint64_t hash_of(const sg_tensor *t)
{
    const unsigned char *p = t->data;
    uint32_t a = 2166136261u, b = 0x9747b28cu;
    for (size_t i = 0; i < sg_tensor_bytes(t); i++) {
        a = (a ^ p[i]) * 16777619u;
        b = (b ^ p[i]) * 0x85ebca6bu;
        b ^= b >> 13;
    }
    return (uint64_t)a << 32 | b;
}

static sg_status one(const json_t *j, int n_threads, sg_error *err)
{
    static net m;
    const char *name = json_string_value(json_object_get(j, "name"));
    const json_t *values = json_object_get(j, "values"), *fetch = json_object_get(j, "fetch");
    uint32_t stream = 12345;

    m = (net){.g = sg_graph_new()};
    for (size_t i = 0; i < json_array_size(values); i++)
        declare(&m, json_array_get(values, i), &stream);
    SG_TRY(sg_graph_status(m.g, err));

    sg_state *state = NULL;
    sg_session *session = NULL;
    sg_exec_opts opts = sg_exec_defaults();
    SG_TRY(sg_exec_use(&opts, "reference", err));
    opts.n_threads = n_threads;
    opts.fuse = json_is_true(json_object_get(j, "fuse"));
    SG_TRY(sg_state_new(&state, m.g, err));
    SG_TRY(sg_state_init(state, (uint64_t)json_integer_value(json_object_get(j, "seed")), err));
    SG_TRY(sg_session_new(&session, m.g, state, opts, err));

    sg_value *wanted[MOST];
    const int n_wanted = (int)json_array_size(fetch);
    for (int i = 0; i < n_wanted; i++)
        wanted[i] = find(&m, json_string_value(json_array_get(fetch, (size_t)i)));
    for (json_int_t run = 0; run < json_integer_value(json_object_get(j, "runs")); run++) {
        sg_feed feeds[MOST];
        sg_tensor got[MOST];
        int n_feeds = 0;
        for (int i = 0; i < m.n; i++) {
            named *v = &m.values[i];
            if (!v->feed)
                continue;
            sg_tensor t = sg_tensor_of(v->v->dtype, v->v->n_dims, v->v->dims, v->data);
            if (!t.data)
                t.data = v->data = malloc(sg_tensor_bytes(&t) + 8);
            SG_ASSERT(t.data);
            fill(&t, v->feed, &stream);
            feeds[n_feeds++] = (sg_feed){v->v, t};
        }
        SG_TRY(sg_session_run(session, n_feeds, feeds, n_wanted, wanted, got, err));
        for (int i = 0; i < n_wanted; i++) {
            char shape[SG_SHAPE_TEXT];
            printf("%s %d %s %s %s %016" PRIx64 "\n", name, (int)run,
                   json_string_value(json_array_get(fetch, (size_t)i)), sg_dtype_name(got[i].dtype),
                   sg_shape_text(shape, got[i].n_dims, got[i].dims), hash_of(&got[i]));
        }
    }
    sg_session_free(session);
    sg_state_free(state);
    sg_graph_free(m.g);
    for (int i = 0; i < m.n; i++)
        free(m.values[i].data);
    return SG_OK;
}

int main(int argc, char **argv)
{
    json_error_t wrong;
    json_t *file = argc > 1 ? json_load_file(argv[1], 0, &wrong) : NULL;

    if (!file) {
        if (argc > 1)
            fprintf(stderr, "%s: %s\n", argv[1], wrong.text);
        else
            fprintf(stderr, "usage: engine_numbers FILE [THREADS]\n");
        return 2;
    }
    const json_t *cases = json_object_get(file, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        sg_error err;
        const json_t *j = json_array_get(cases, i);
        if (one(j, argc > 2 ? atoi(argv[2]) : 1, &err) != SG_OK) {
            fprintf(stderr, "%s: %s\n", json_string_value(json_object_get(j, "name")), err.text);
            return 1;
        }
    }
    json_decref(file);
    return 0;
}
