/* Timings of the engine and of a small model: node overhead, tokens per second, start to first token. Prints a table and writes
 * build/bench.json.  usage: startup [MODEL] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"

static int n_rows;

static void row(FILE *json, const char *name, double value, const char *unit)
{
    printf("%-24s %14.1f %s\n", name, value, unit);
    fprintf(json, "%s\n {\"name\": \"%s\", \"ours\": %.6g, \"unit\": \"%s\"}", n_rows++ ? "," : "", name, value, unit);
}

static sg_status node_overhead(double *ns, sg_error *err)
{
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 0, NULL), *y = x;
    sg_session *s = NULL;
    float one = 1;
    const sg_feed feed = {x, sg_tensor_of(SG_F32, 0, NULL, &one)};
    sg_tensor out;
    sg_status status = SG_OK;

    for (int i = 0; i < 1000; i++)
        y = sg_add(g, y, x);
    status = sg_session_new(&s, g, NULL, sg_exec_defaults(), err);
    double best = 1e9;
    for (int r = 0; r < 200 && status == SG_OK; r++) {
        const double start = sg_now();
        status = sg_session_run(s, 1, &feed, 1, &y, &out, err);
        best = SG_MIN(best, sg_now() - start);
    }
    *ns = best * 1e6;
    sg_session_free(s);
    sg_graph_free(g);
    return status;
}

/* Greedy tokens from the first one; open to first token, and tokens per second after it, best of five. */
static sg_status decode(const char *dir, double *first_ms, double *rate, sg_error *err)
{
    double best_first = 1e9, best_rate = 0;

    for (int round = 0; round < 5; round++) {
        const double start = sg_now();
        sg_model *m = NULL;
        sg_glass *glass = NULL;
        sg_value *logits = NULL;
        sg_tensor out;
        sg_glass_opts opts = sg_glass_defaults();
        int32_t id = 1;
        const int32_t *ids = &id;
        const sg_dim one = 1;
        const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &one};
        opts.exec.n_threads = 1;
        SG_TRY(sg_model_open(&m, dir, sg_model_defaults(), err));
        opts.capacity = SG_MIN(sg_model_get_info(m)->n_context, 256);
        SG_TRY(sg_glass_new(&glass, m, opts, err));
        SG_TRY(sg_glass_find(glass, "logits", &logits, err));
        const sg_dim n = opts.capacity;
        double after_first = 0;
        for (sg_dim i = 0; i < n; i++) {
            SG_TRY(sg_glass_extend(glass, &rows, 1, &logits, &out, err));
            const float *x = out.data;
            id = 0;
            for (sg_dim v = 1; v < sg_tensor_count(&out); v++)
                id = x[v] > x[id] ? (int32_t)v : id;
            if (i == 0) {
                after_first = sg_now();
                best_first = SG_MIN(best_first, after_first - start);
            }
        }
        best_rate = SG_MAX(best_rate, (double)(n - 1) / (sg_now() - after_first));
        sg_glass_free(glass);
        sg_model_close(m);
    }
    *first_ms = best_first * 1e3;
    *rate = best_rate;
    return SG_OK;
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : getenv("MODEL");
    const char *dir = given && given[0] ? given : "../shared/models/stories260K";
    FILE *json = fopen("build/bench.json", "w");
    sg_error err = {SG_OK, ""};
    double a = 0, b = 0;

    if (!json) {
        fprintf(stderr, "startup: build/bench.json cannot be written\n");
        return 1;
    }
    fprintf(json, "[");
    if (node_overhead(&a, &err) == SG_OK)
        row(json, "node_overhead", a, "ns per scalar add");
    FILE *there = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (err.status == SG_OK && (there = fopen(path, "rb"))) {
        fclose(there);
        if (decode(dir, &a, &b, &err) == SG_OK) {
            row(json, "open_to_first_token", a, "ms");
            row(json, "greedy_decode", b, "tokens per second, one thread");
        }
    } else if (err.status == SG_OK) {
        printf("no model at %s: give one as MODEL=folder\n", dir);
    }
    fprintf(json, "\n]\n");
    fclose(json);
    if (err.status != SG_OK)
        fprintf(stderr, "startup: %s\n", err.text);
    return err.status != SG_OK;
}
