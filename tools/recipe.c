/* The loss curve comes from the metrics, where they were written: they also hold what earlier processes did. Of a long
 * one each point is the mean over as many steps. It is a table of its own, so that the recipe stays readable. */
#include "recipe.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "commit.h"
#include "sightglass/report.h"

enum { MOST_POINTS = 200 };

/* One line of metrics into sums; false for what is none. */
static bool read_line(const char *line, size_t n, sg_dim *step, double *loss, double *seconds)
{
    json_t *root = json_loadb(line, n, 0, NULL);
    const json_t *s = json_object_get(root, "step"), *l = json_object_get(root, "loss");
    const bool good = json_is_integer(s) && json_is_number(l);
    if (good) {
        *step = json_integer_value(s);
        *loss = json_number_value(l);
        *seconds = json_number_value(json_object_get(root, "seconds"));
    }
    json_decref(root);
    return good;
}

/* "step,loss" lines up to `steps`, and the seconds that all of it took. */
static void write_curve(FILE *to, const sg_file *metrics, sg_dim steps, double *seconds)
{
    const char *at = (const char *)sg_file_data(metrics), *end = at + sg_file_bytes(metrics);
    const sg_dim width = SG_MAX((steps + MOST_POINTS - 1) / MOST_POINTS, 1);
    double sum = 0, n = 0;
    fputs("step,loss\n", to);
    for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        sg_dim step;
        double loss;
        if (!read_line(at, (size_t)(newline - at), &step, &loss, seconds))
            continue;
        sum += loss;
        n++;
        if (step % width == 0 || step == steps) {
            fprintf(to, "%" PRId64 ",%.5f\n", step, sum / n);
            sum = n = 0;
        }
    }
}

static sg_status save_curve(const recipe *r, const char *dir, double *seconds, sg_error *err)
{
    sg_file *metrics;
    sg_writer *w;
    sg_str path = {0};
    sg_str_printf(&path, "%s/loss.csv", dir);
    if (path.failed)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = sg_file_open(&metrics, r->metrics, err);
    if (status == SG_OK) {
        status = sg_writer_begin(&w, path.text, err);
        if (status == SG_OK) {
            write_curve(sg_writer_stream(w), metrics, r->steps, seconds);
            status = sg_writer_commit(w, err);
        }
        sg_file_close(metrics);
    }
    sg_str_free(&path);
    return status;
}

static json_t *recipe_json(const recipe *r, double seconds)
{
    char cpu[SG_CPU_TEXT];
    json_t *command = json_array();
    json_array_append_new(command, json_string("sightglass"));
    json_array_append_new(command, json_string("train"));
    for (int i = 0; i < r->argc; i++)
        if (strcmp(r->argv[i], "--resume") != 0) /* how often it was stopped does not matter */
            json_array_append_new(command, json_string(r->argv[i]));
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:f, s:s, s:s, s:i, s:i, s:s, s:s}", "command", command,
                     "data", r->data, "parameters", (json_int_t)r->parameters, "steps", (json_int_t)r->steps,
                     "sequences", (json_int_t)r->rows, "tokens", (json_int_t)r->tokens, "loss",
                     isfinite(r->loss) ? json_real(r->loss) : json_null(), "seconds", seconds, "backend", r->backend,
                     "dtype", r->dtype, "threads", r->threads, "processes", r->processes, "cpu", sg_cpu_name(cpu),
                     "version", SG_COMMIT);
}

sg_status recipe_write(const recipe *r, const char *dir, sg_error *err)
{
    double seconds = r->seconds;
    sg_writer *w;
    if (r->metrics)
        SG_TRY(save_curve(r, dir, &seconds, err));
    sg_str path = {0};
    sg_str_printf(&path, "%s/recipe.json", dir);
    json_t *root = recipe_json(r, seconds);
    sg_status status = path.failed || !root ? sg_fail(err, SG_ENOMEM, "out of memory for a recipe")
                                            : sg_writer_begin(&w, path.text, err);
    if (status == SG_OK) {
        FILE *to = sg_writer_stream(w);
        (void)json_dumpf(root, to, JSON_INDENT(1) | JSON_REAL_PRECISION(6)); /* what fails, the commit tells */
        fputc('\n', to);
        status = sg_writer_commit(w, err);
    }
    json_decref(root);
    sg_str_free(&path);
    return status;
}
