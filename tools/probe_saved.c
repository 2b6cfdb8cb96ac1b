/* sightglass probe eval and show: probes that were kept. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe_parts.h"
#include "sightglass/rng.h"

/* ---- saved probes ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* DIR: all its probes; DIR/NAME: that one. dir is written to. */
static sg_status list_probes(probe_names *to, char **dir, const char *where, sg_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.json", where);
    const char *slash = strrchr(where, '/');
    const bool one = access(path, R_OK) == 0;
    *dir = one ? (slash ? strndup(where, (size_t)(slash - where)) : strdup(".")) : strdup(where);
    if (!*dir)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    if (one)
        return probe_names_add(to, slash ? slash + 1 : where, SIZE_MAX, err);
    DIR *d = opendir(where);
    if (!d)
        return sg_fail(err, SG_ENOTFOUND, "%s: neither a folder of probes nor a probe", where);
    sg_status status = SG_OK;
    for (const struct dirent *e; status == SG_OK && (e = readdir(d)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (n > 5 && e->d_name[0] != '.' && strcmp(e->d_name + n - 5, ".json") == 0)
            status = probe_names_add(to, e->d_name, n - 5, err);
    }
    closedir(d);
    if (status == SG_OK && to->n == 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: holds no probes", where);
    if (status == SG_OK)
        qsort(to->list, (size_t)to->n, sizeof *to->list, by_name);
    return status;
}

/* "othello size 6" -> the world and its settings, whose texts are those of `said`, which is cut up. */
static sg_status read_world(char *said, const sg_world **world, sg_setting *settings, int *n, int most, sg_error *err)
{
    char *rest = NULL, *word = strtok_r(said, " ", &rest);
    *n = 0;
    if (!(*world = sg_world_find(word ? word : "", err)))
        return SG_ENOTFOUND;
    while (*n < most && (word = strtok_r(NULL, " ", &rest)) != NULL) {
        const char *value = strtok_r(NULL, " ", &rest);
        if (!value)
            return sg_fail(err, SG_EFORMAT, "the manifest's world has %.40s without a value", word);
        settings[(*n)++] = (sg_setting){word, value};
    }
    return SG_OK;
}

/* Controls that were not kept are fitted again, to the episodes that the probe was fitted to. */
static sg_status fit_controls(sg_probe_table *t, const sg_probe_manifest *said, const char *name, sg_probe_job job,
                              sg_error *err)
{
    sg_probe_result *to = &t->results[0];
    sg_probe_table *again = NULL;
    bool missing = false;
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        missing |= !to->control_probe[c];
    if (!missing)
        return SG_OK;
    if (said->data)
        return sg_fail(err, SG_ENOTFOUND, "%s: its controls are not there, and it was fitted to %.200s", name,
                       said->data);
    job.tokens = job.counts = NULL;
    job.n_fit = said->n_fit;
    job.n_test = SG_MAX(said->n_test, 1);
    job.seed = said->data_seed;
    job.probe.kind = sg_probe_get_kind(to->probe);
    SG_TRY(sg_probe_run(&again, &job, err));
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        sg_probe *old = to->control_probe[c];
        to->control_probe[c] = again->results[0].control_probe[c];
        again->results[0].control_probe[c] = old;
    }
    sg_probe_table_free(again);
    return SG_OK;
}

static void print_eval_head(const probe_request *r)
{
    printf("%s: saved probes on %s%s\n%s", r->model, r->data ? "the episodes of " : "fresh episodes",
           r->data ? r->data : "", probe_legend);
    probe_print_head("site");
}

static sg_status eval_one(const probe_request *r, const sg_model *m, const char *dir, const char *name, bool first,
                          json_t *results, sg_error *err)
{
    sg_probe_table *t = NULL;
    sg_probe_manifest said;
    sg_world_file file = {0};
    sg_tensor part[2];
    sg_setting settings[16];
    char data[300];
    double began[2];
    SG_TRY(sg_probe_table_open(&t, &said, dir, name, err));
    sg_probe_job job = sg_probe_job_defaults();
    const char *site = t->results[0].site, *label = t->results[0].label;
    char *world = strdup(said.world);
    sg_status status = world ? read_world(world, &job.world, settings, &job.n_settings, (int)SG_COUNT_OF(settings), err)
                             : sg_fail(err, SG_ENOMEM, "out of memory");
    job.model = m;
    job.settings = settings;
    job.n_sites = job.n_labels = 1;
    job.sites = &site;
    job.labels = &label;
    job.n_fit = 0;
    job.n_test = r->games ? r->games : 500;
    job.seed = r->has_seed ? (uint64_t)r->seed : said.data_seed + 1;
    job.untrained_seed = said.untrained_seed;
    if (said.model_hash != sg_model_hash(m))
        fprintf(stderr,
                "sightglass: warning: %s/%s was fitted to another model (hash %016" PRIx64 ", this is %016" PRIx64
                ")\n",
                dir, name, said.model_hash, sg_model_hash(m));
    if (status == SG_OK && r->data)
        status = probe_read_file(r, &job, &file, part, data, err);
    else if (status == SG_OK && !said.data && job.seed == said.data_seed)
        fprintf(stderr, "sightglass: warning: seed %" PRIu64 " is the one that %s/%s was fitted on\n", job.seed, dir,
                name);
    if (status == SG_OK) {
        probe_watch(&job, began);
        status = fit_controls(t, &said, name, job, err);
        if (status == SG_OK)
            status = sg_probe_judge(t, &job, err);
        probe_end_progress();
    }
    if (status == SG_OK && results)
        json_array_append_new(results, probe_result_json(&t->results[0]));
    else if (status == SG_OK) {
        if (first)
            print_eval_head(r);
        probe_print_result(&t->results[0]);
    }
    if (status == SG_OK && r->map && !results)
        status = probe_print_map(t, 0, err);
    sg_world_file_free(&file);
    free(world);
    sg_probe_table_free(t);
    return status;
}

int probe_eval(const probe_request *r)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    probe_names probes = {0};
    char *dir = NULL;
    json_t *results = r->json ? json_array() : NULL;
    sg_status status = list_probes(&probes, &dir, r->dir, &err);
    if (status == SG_OK)
        status = adapted_open(&m, r->model, sg_model_defaults(), &r->added, false, &err);
    for (int i = 0; i < probes.n && status == SG_OK; i++)
        status = eval_one(r, m, dir, probes.list[i], i == 0, results, &err);
    int code = status == SG_OK ? 0 : status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
    if (results && code == 0)
        code = cli_print_json(json_pack("{s:s, s:o}", "model", r->model, "results", results));
    else
        json_decref(results);
    sg_model_close(m);
    probe_names_free(&probes);
    free(dir);
    return code;
}

/* ---- show ---- */

/* Cosines between the directions of tasks, of class `to` less class `from`: [S,S]. */
static sg_status cosines(double *cosine, const sg_probe *p, int to, int from, sg_error *err)
{
    const sg_dim tasks = sg_probe_n_tasks(p), width = sg_probe_width(p);
    float *direction = malloc((size_t)SG_MAX(tasks * width, 1) * sizeof *direction);
    if (!direction)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = SG_OK;
    for (sg_dim s = 0; s < tasks && status == SG_OK; s++) {
        status = sg_probe_direction(p, s, to, from, direction + s * width, err);
        if (status == SG_ENUMERIC) { /* a task without labels lies nowhere */
            memset(direction + s * width, 0, (size_t)width * sizeof *direction);
            status = SG_OK;
        }
    }
    for (sg_dim a = 0; a < tasks && status == SG_OK; a++)
        for (sg_dim b = 0; b < tasks; b++) {
            double sum = 0;
            for (sg_dim d = 0; d < width; d++)
                sum += (double)direction[a * width + d] * (double)direction[b * width + d];
            cosine[a * tasks + b] = sum;
        }
    free(direction);
    return status;
}

/* Mean cosine of tasks that are neighbours on the board, king's moves apart, and of the others; with the squares
 * permuted at random as control. */
static void neighbours(double out[2], const double *cosine, sg_dim side, const sg_dim *place)
{
    const sg_dim tasks = side * side;
    double sum[2] = {0}, n[2] = {0};
    for (sg_dim a = 0; a < tasks; a++)
        for (sg_dim b = 0; b < tasks; b++) {
            const sg_dim dy = a / side - b / side, dx = a % side - b % side;
            const int near = dy >= -1 && dy <= 1 && dx >= -1 && dx <= 1;
            if (a == b)
                continue;
            sum[!near] += cosine[place[a] * tasks + place[b]];
            n[!near]++;
        }
    out[0] = sum[0] / n[0];
    out[1] = n[1] > 0 ? sum[1] / n[1] : (double)NAN;
}

static sg_status board_cosines(double out[2][2], const double *cosine, sg_dim side, sg_error *err)
{
    const sg_dim tasks = side * side;
    sg_dim *place = malloc((size_t)tasks * sizeof *place);
    sg_rng g = sg_rng_new(0, 0);
    if (!place)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < tasks; i++)
        place[i] = i;
    neighbours(out[0], cosine, side, place);
    for (sg_dim i = tasks - 1; i > 0; i--) {
        const sg_dim k = (sg_dim)sg_rng_below(&g, (uint32_t)(i + 1)), was = place[i];
        place[i] = place[k];
        place[k] = was;
    }
    neighbours(out[1], cosine, side, place);
    free(place);
    return SG_OK;
}

static void print_manifest(const char *name, const sg_probe *p, const sg_probe_manifest *m)
{
    printf("%s\n  %s, %" PRId64 " tasks of %d classes, at %s (width %" PRId64 "), label %s\n  model %016" PRIx64
           ", world %s, %s",
           name, sg_probe_kind_name(sg_probe_get_kind(p)), sg_probe_n_tasks(p), sg_probe_n_classes(p),
           m->site ? m->site : "-", sg_probe_width(p), m->label ? m->label : "-", m->model_hash,
           m->world ? m->world : "-", m->data ? m->data : "");
    if (!m->data)
        printf("seed %" PRIu64, m->data_seed);
    printf("; fitted on %" PRId64 " episodes, judged on %" PRId64 "\n  accuracy, %%            not 0     all\n",
           m->n_fit, m->n_test);
    printf("    %-22s %5.1f   %5.1f\n", "this probe", 100 * m->hard_accuracy, 100 * m->accuracy);
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        printf("    %-22.22s %5.1f   %5.1f\n", sg_probe_control_name((sg_probe_control)c), 100 * m->hard_control[c],
               100 * m->control[c]);
}

static json_t *manifest_json(const char *name, const sg_probe *p, const sg_probe_manifest *m)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, m->model_hash);
    return json_pack("{s:s, s:s, s:I, s:I, s:i, s:s?, s:s?, s:s?, s:s?, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
                     "name", name, "kind", sg_probe_kind_name(sg_probe_get_kind(p)), "width",
                     (json_int_t)sg_probe_width(p), "tasks", (json_int_t)sg_probe_n_tasks(p), "classes",
                     sg_probe_n_classes(p), "site", m->site, "label", m->label, "world", m->world, "data", m->data,
                     "model_hash", hash, "data_seed", (json_int_t)m->data_seed, "n_fit", (json_int_t)m->n_fit, "n_test",
                     (json_int_t)m->n_test, "accuracy", probe_real_json(m->accuracy), "not_0_accuracy",
                     probe_real_json(m->hard_accuracy), "controls", probe_reals_json(m->control, SG_N_PROBE_CONTROLS),
                     "not_0_controls", probe_reals_json(m->hard_control, SG_N_PROBE_CONTROLS));
}

static sg_status show_geometry(const sg_probe *p, json_t *into, sg_error *err)
{
    const sg_dim tasks = sg_probe_n_tasks(p), side = (sg_dim)lround(sqrt((double)tasks));
    const int to = 1, from = sg_probe_n_classes(p) > 2 ? 2 : 0;
    double board[2][2] = {{(double)NAN, (double)NAN}, {(double)NAN, (double)NAN}}, mean = 0, size = 0;
    if (sg_probe_get_kind(p) == SG_PROBE_MLP || tasks < 2 || sg_probe_n_classes(p) < 2)
        return SG_OK;
    double *cosine = malloc((size_t)(tasks * tasks) * sizeof *cosine);
    if (!cosine)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = cosines(cosine, p, to, from, err);
    if (status == SG_OK && side * side == tasks)
        status = board_cosines(board, cosine, side, err);
    for (sg_dim i = 0; i < tasks * tasks && status == SG_OK; i++)
        if (i / tasks != i % tasks) {
            mean += cosine[i] / (double)(tasks * (tasks - 1));
            size += fabs(cosine[i]) / (double)(tasks * (tasks - 1));
        }
    if (status == SG_OK && into) {
        json_object_set_new(into, "directions",
                            json_pack("{s:i, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "to", to, "from", from,
                                      "mean_cosine", mean, "mean_magnitude", size, "neighbours",
                                      probe_real_json(board[0][0]), "others", probe_real_json(board[0][1]),
                                      "neighbours_permuted", probe_real_json(board[1][0]), "others_permuted",
                                      probe_real_json(board[1][1]), "cosines",
                                      probe_reals_json(cosine, tasks * tasks)));
    } else if (status == SG_OK) {
        printf("  directions of class %d less class %d: cosine of two tasks %.3f on average, %.3f in magnitude (two "
               "random\n"
               "    directions of this width: %.3f)\n",
               to, from, mean, size, sqrt(2 / (M_PI * (double)sg_probe_width(p))));
        if (side * side == tasks)
            printf("    on a board of %" PRId64 ": neighbours %.3f, others %.3f; with squares permuted %.3f and %.3f\n",
                   side, board[0][0], board[0][1], board[1][0], board[1][1]);
    }
    free(cosine);
    return status;
}

int probe_show(const probe_request *r)
{
    sg_error err = {SG_OK, ""};
    probe_names probes = {0};
    char *dir = NULL;
    json_t *results = r->json ? json_array() : NULL;
    sg_status status = list_probes(&probes, &dir, r->dir, &err);
    for (int i = 0; i < probes.n && status == SG_OK; i++) {
        sg_probe *p = NULL;
        sg_probe_manifest m;
        status = sg_probe_open(&p, &m, dir, probes.list[i], &err);
        json_t *one = status == SG_OK && results ? manifest_json(probes.list[i], p, &m) : NULL;
        if (status == SG_OK && !results)
            print_manifest(probes.list[i], p, &m);
        if (status == SG_OK)
            status = show_geometry(p, one, &err);
        if (one)
            json_array_append_new(results, one);
        sg_probe_free(p);
    }
    int code = status == SG_OK ? 0 : cli_fail(&err);
    if (results && code == 0)
        code = cli_print_json(results);
    else
        json_decref(results);
    probe_names_free(&probes);
    free(dir);
    return code;
}
