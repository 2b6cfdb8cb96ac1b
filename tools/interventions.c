/* Probes of a model by layer, saved or fitted now, and the options of an intervention. */
#include "interventions.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sightglass/harvest.h"

#define MOST_LAYERS 1000

void cli_probes_free(cli_probes *p)
{
    for (int i = 0; i < p->n; i++) {
        free(p->sites[i]);
        sg_probe_free(p->probes[i]);
    }
    free(p->sites);
    free(p->probes);
    *p = (cli_probes){0};
}

static int layer_of(const char *site)
{
    int layer;
    return sscanf(site, "blocks.%d.", &layer) == 1 ? layer : -1;
}

/* Takes the probe; kept in order of layers. */
static sg_status add(cli_probes *p, const char *site, sg_probe *probe, sg_error *err)
{
    char **sites = realloc(p->sites, (size_t)(p->n + 1) * sizeof *sites);
    if (sites)
        p->sites = sites;
    sg_probe **probes = sites ? realloc(p->probes, (size_t)(p->n + 1) * sizeof(sg_probe *)) : NULL;
    if (probes)
        p->probes = probes;
    char *name = probes ? strdup(site) : NULL;
    if (!name) {
        sg_probe_free(probe);
        return sg_fail(err, SG_ENOMEM, "out of memory");
    }
    int at = p->n;
    for (; at > 0 && layer_of(sites[at - 1]) > layer_of(site); at--) {
        sites[at] = sites[at - 1];
        probes[at] = probes[at - 1];
    }
    sites[at] = name;
    probes[at] = probe;
    p->n++;
    const int tasks = (int)sg_probe_n_tasks(probe), classes = sg_probe_n_classes(probe);
    if (at > 0 && strcmp(sites[at - 1], site) == 0)
        return sg_fail(err, SG_EARG, "two probes are of %s", site);
    if (p->n > 1 && (tasks != p->n_tasks || classes != p->n_classes))
        return sg_fail(err, SG_EARG, "the probe of %s has %d tasks of %d classes, others %d of %d", site, tasks,
                       classes, p->n_tasks, p->n_classes);
    p->n_tasks = tasks;
    p->n_classes = classes;
    return SG_OK;
}

static sg_status open_one(cli_probes *p, const sg_model *m, const char *dir, const char *name, long long first,
                          long long last, sg_error *err)
{
    sg_probe *probe;
    sg_probe_manifest said;
    SG_TRY(sg_probe_open(&probe, &said, dir, name, err));
    if (!said.site || layer_of(said.site) < 0) {
        sg_probe_free(probe);
        return sg_fail(err, SG_EFORMAT, "%s/%s: its site is no block's", dir, name);
    }
    if (said.model_hash != sg_model_hash(m))
        fprintf(stderr, "sightglass: warning: %s/%s was fitted to another model\n", dir, name);
    if (layer_of(said.site) < first || layer_of(said.site) > last) {
        sg_probe_free(probe);
        return SG_OK;
    }
    char *site = strdup(said.site); /* which is the probe's */
    const sg_status status = site ? add(p, site, probe, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    if (!site)
        sg_probe_free(probe);
    free(site);
    return status;
}

static sg_status open_folder(cli_probes *p, const sg_model *m, const char *dir, const char *label, long long first,
                             long long last, sg_error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return sg_fail(err, SG_ENOTFOUND, "%s: neither a folder of probes nor a probe", dir);
    const size_t n_label = strlen(label);
    sg_status status = SG_OK;
    for (const struct dirent *e; status == SG_OK && (e = readdir(d)) != NULL;) {
        char name[256];
        const size_t n = strlen(e->d_name);
        if (n <= 5 || n >= sizeof name || strcmp(e->d_name + n - 5, ".json") != 0 ||
            strncmp(e->d_name, label, n_label) != 0 || e->d_name[n_label] != '.')
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(n - 5), e->d_name);
        status = open_one(p, m, dir, name, first, last, err);
    }
    closedir(d);
    return status;
}

sg_status cli_probes_open(cli_probes *out, const sg_model *m, int n_paths, const char *const *paths, const char *label,
                          long long first, long long last, sg_error *err)
{
    *out = (cli_probes){0};
    sg_status status = SG_OK;
    for (int i = 0; i < n_paths && status == SG_OK; i++) {
        char path[4096], dir[4096];
        const char *slash = strrchr(paths[i], '/');
        snprintf(path, sizeof path, "%s.json", paths[i]);
        snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - paths[i]) : 1, slash ? paths[i] : ".");
        status = access(path, R_OK) == 0 ? open_one(out, m, dir, slash ? slash + 1 : paths[i], first, last, err)
                                         : open_folder(out, m, paths[i], label, first, last, err);
    }
    if (status == SG_OK && out->n == 0)
        status = sg_fail(err, SG_ENOTFOUND, "%s: no probe of %s in layers %lld to %lld", paths[0], label, first, last);
    if (status != SG_OK)
        cli_probes_free(out);
    return status;
}

/* ---- fitted now ---- */

static sg_status fit_one(sg_probe **out, const char *kind, const sg_tensor *acts, const sg_tensor *labels,
                         const volatile sig_atomic_t *cancel, sg_error *err)
{
    sg_probe_opts opts = sg_probe_defaults();
    int n_classes = 0;
    const int32_t *label = labels->data;
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        n_classes = SG_MAX(n_classes, label[i] + 1);
    if (strcmp(kind, "parts") == 0)
        return sg_parts_fit(out, acts, labels, n_classes, 1e-3, err);
    opts.kind = SG_N_PROBE_KINDS;
    for (int k = 0; k < SG_N_PROBE_KINDS; k++)
        if (strcmp(kind, sg_probe_kind_name((sg_probe_kind)k)) == 0)
            opts.kind = (sg_probe_kind)k;
    if (opts.kind == SG_N_PROBE_KINDS)
        return sg_fail(err, SG_EARG, "--fit is \"%.40s\", wanted ridge, softmax, mlp, mean or parts", kind);
    opts.n_classes = n_classes;
    opts.cancel = cancel;
    return sg_probe_fit(out, acts, labels, opts, err);
}

static sg_status fit_all(cli_probes *out, const sg_store *store, const sg_tensor *truth, const char *kind,
                         const volatile sig_atomic_t *cancel, sg_error *err)
{
    sg_tensor labels = {0};
    SG_TRY(sg_store_labels(&labels, store, truth, err));
    sg_status status = SG_OK;
    for (int i = 0; i < sg_store_n_sites(store) && status == SG_OK; i++) {
        sg_probe *p;
        status = fit_one(&p, kind, sg_store_acts(store, i), &labels, cancel, err);
        if (status == SG_OK)
            status = add(out, sg_store_site(store, i), p, err);
    }
    free(labels.data);
    return status;
}

sg_status cli_probes_fit(cli_probes *out, const sg_model *m, const sg_world *world, int n_settings,
                         const sg_setting *settings, const char *kind, const char *site, const char *label,
                         sg_dim n_games, uint64_t seed, long long first, long long last,
                         const volatile sig_atomic_t *cancel, sg_error *err)
{
    char names[64][96];
    const char *sites[64];
    const sg_dim n_layers = sg_model_get_info(m)->n_layers;
    sg_sample *sample = NULL;
    sg_store *store = NULL;
    sg_harvest_opts opts = sg_harvest_defaults();
    int n = 0;
    *out = (cli_probes){0};
    for (long long l = SG_MAX(first, 0); l <= last && l < n_layers && n < 64; l++, n++) {
        snprintf(names[n], sizeof names[n], "blocks.%lld.%.60s", l, site);
        sites[n] = names[n];
    }
    if (n == 0)
        return sg_fail(err, SG_EARG, "--layers %lld-%lld: the model has %" PRId64, first, last, n_layers);
    opts.cancel = cancel;
    SG_TRY(sg_world_sample(&sample, world, n_settings, settings, n_games, seed, err));
    const sg_tensor *truth = sg_sample_find(sample, label);
    sg_status status = truth ? SG_OK : sg_fail(err, SG_EARG, "world %s has no field %.60s", world->name, label);
    if (status == SG_OK)
        status = sg_harvest(&store, m, n, sites, sg_sample_find(sample, "tokens"), sg_sample_find(sample, "counts"),
                            opts, err);
    if (status == SG_OK)
        status = fit_all(out, store, truth, kind, cancel, err);
    sg_store_free(store);
    sg_sample_free(sample);
    if (status != SG_OK)
        cli_probes_free(out);
    return status;
}

/* ---- options ---- */

sg_status cli_intervene_word(sg_intervene_opts *opts, const char *name, const char *value, bool *known, sg_error *err)
{
    long long steps;
    *known = true;
    if (strcmp(name, "--kind") == 0) {
        for (int k = 0; k < SG_N_INTERVENE_KINDS; k++)
            if (strcmp(value, sg_intervene_kind_name((sg_intervene_kind)k)) == 0) {
                opts->kind = (sg_intervene_kind)k;
                return SG_OK;
            }
        return sg_fail(err, SG_EARG, "--kind is \"%.40s\", wanted none, direction, wrong, random or gradient", value);
    }
    if (strcmp(name, "--scale") == 0) {
        for (int k = 0; k < SG_N_INTERVENE_SCALES; k++)
            if (strcmp(value, sg_intervene_scale_name((sg_intervene_scale)k)) == 0) {
                opts->scale = (sg_intervene_scale)k;
                return SG_OK;
            }
        return sg_fail(err, SG_EARG, "--scale is \"%.40s\", wanted raw, unit, norm or mirror", value);
    }
    if (strcmp(name, "--strength") == 0)
        return cli_real(name, value, -1e6, 1e6, &opts->strength, err);
    if (strcmp(name, "--lr") == 0)
        return cli_real(name, value, 0, 1e6, &opts->lr, err);
    if (strcmp(name, "--keep") == 0)
        return cli_real(name, value, 0, 1e6, &opts->keep, err);
    if (strcmp(name, "--steps") == 0) {
        SG_TRY(cli_whole(name, value, 0, 1000000, &steps, err));
        opts->n_steps = (int)steps;
        return SG_OK;
    }
    *known = false;
    return SG_OK;
}

sg_status cli_layers(const char *text, long long *first, long long *last, sg_error *err)
{
    char from[24];
    const char *dash = strchr(text, '-');
    snprintf(from, sizeof from, "%.*s", dash ? (int)SG_MIN(dash - text, 20) : 20, text);
    SG_TRY(cli_whole("--layers", from, 0, MOST_LAYERS, first, err));
    *last = *first;
    if (dash)
        SG_TRY(cli_whole("--layers", dash + 1, 0, MOST_LAYERS, last, err));
    return *last >= *first ? SG_OK : sg_fail(err, SG_EARG, "--layers %.40s: wanted FIRST-LAST", text);
}

void cli_show_done(void *context, double done)
{
    double *at = context;
    const double now = sg_now();
    if (!isatty(STDERR_FILENO) || now - at[1] < 0.1)
        return;
    at[1] = now;
    const int full = (int)(done * 30);
    fprintf(stderr, "\r[%.*s%*s] %3.0f %%", full, "##############################", 30 - full, "", 100 * done);
    if (done > 0.02)
        fprintf(stderr, " %4.0f s left", (now - at[0]) * (1 - done) / done);
    fputs("\033[K", stderr);
}

void cli_end_line(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
