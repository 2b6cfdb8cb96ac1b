/* Golden values: made by a run, read from a file, written to one. They live in an arena, those of a file in its
 * mapping. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "sightglass/verify.h"

#define MOST_PROMPTS 4096
#define MOST_ROWS    65536

typedef struct owned {
    sg_golden face;
    sg_arena *arena;
    sg_safetensors *file;
} owned;

sg_golden_opts sg_golden_defaults(void)
{
    sg_golden_opts opts = {.exec = sg_exec_defaults()};

    opts.exec.n_backends = 0; /* the oracle */
    return opts;
}

static sg_status new_golden(owned **out, int n_prompts, sg_golden_prompt **prompts, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *g = arena ? sg_arena_alloc(arena, sizeof *g) : NULL;

    *prompts = arena ? sg_arena_array(arena, (size_t)SG_MAX(n_prompts, 1), sizeof **prompts) : NULL;
    if (!g || !*prompts) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    }
    *g = (owned){.arena = arena, .face.n_prompts = n_prompts, .face.prompts = *prompts};
    *out = g;
    return SG_OK;
}

void sg_golden_free(sg_golden *golden)
{
    if (!golden)
        return;
    owned *g = (owned *)golden;
    sg_safetensors_close(g->file);
    sg_arena_free(g->arena);
}

/* ---- making ---- */

/* A short one, a middling one and one long enough for products to take their large form. */
static const sg_dim made_lengths[] = {5, 21, 64};

static sg_status made_prompt(owned *g, const sg_model *m, uint64_t seed, int i, sg_golden_prompt *out, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    sg_rng rng = sg_rng_new(seed, (uint32_t)i);
    const sg_dim n = in->n_vocab ? SG_MIN(made_lengths[i], in->n_context) : 0;
    int32_t *ids = sg_arena_array(g->arena, (size_t)SG_MAX(n, 1), sizeof *ids);

    if (!ids)
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    for (sg_dim t = 0; t < n; t++)
        ids[t] = t == 0 && in->bos >= 0 ? in->bos : (int32_t)sg_rng_below(&rng, (uint32_t)in->n_vocab);
    out->tokens = ids;
    out->n_tokens = n;
    out->n_rows = n > 0;
    return SG_OK;
}

static sg_status given_prompt(owned *g, const sg_golden_prompt *p, sg_golden_prompt *out, sg_error *err)
{
    int32_t *ids = sg_arena_array(g->arena, (size_t)SG_MAX(p->n_tokens, 1), sizeof *ids);

    out->text = p->text ? sg_arena_strdup(g->arena, p->text) : NULL;
    if (!ids || (p->text && !out->text))
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    if (p->n_tokens)
        memcpy(ids, p->tokens, (size_t)p->n_tokens * sizeof *ids);
    out->tokens = ids;
    out->n_tokens = p->n_tokens;
    out->n_rows = p->n_tokens > 0;
    return SG_OK;
}

/* Whether a value of the model's graph is one to look at: floats that are computed from tokens, a row for each prompt.
 */
static bool is_site(const sg_value *v)
{
    const char *op = sg_value_op(v);

    return strcmp(op, "variable") != 0 && strcmp(op, "input") != 0 && sg_dtype_is_float(sg_value_dtype(v)) &&
           sg_value_n_dims(v) > 0 && sg_value_axes(v)[0] == 'b';
}

/* Sites in the graph's order; `any` says which patterns found one. */
static int choose(const sg_graph *graph, const sg_golden_opts *opts, sg_value **sites, bool *any)
{
    int n = 0;

    for (int i = 0; i < sg_graph_n_names(graph); i++) {
        sg_value *v = sg_graph_named(graph, i);
        bool wanted = opts->n_patterns == 0;
        if (!is_site(v))
            continue;
        for (int p = 0; p < opts->n_patterns; p++)
            if (sg_match(opts->patterns[p], sg_value_name(v)))
                wanted = any[p] = true;
        if (wanted)
            sites[n++] = v;
    }
    return n;
}

/* A copy without the batch of one. */
static sg_status keep(owned *g, const char *name, const sg_tensor *t, sg_named_tensor *out, sg_error *err)
{
    out->name = sg_arena_strdup(g->arena, name);
    out->tensor =
        sg_tensor_of(t->dtype, t->n_dims - 1, t->dims + 1, sg_arena_alloc(g->arena, SG_MAX(sg_tensor_bytes(t), 1)));
    if (!out->name || !out->tensor.data)
        return sg_fail(err, SG_ENOMEM, "out of memory for %s", name);
    memcpy(out->tensor.data, t->data, sg_tensor_bytes(t));
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        if (isnan(sg_tensor_get(t, i)))
            return sg_fail(err, SG_ENUMERIC, "%s is NaN at element %lld: these values cannot be a reference", name,
                           (long long)i);
    return SG_OK;
}

/* An image that is nobody's: pixels as normalising makes them, of mean 0 and deviation 1. */
static sg_status made_pixels(owned *g, const sg_value *pixels, uint64_t seed, int i, sg_named_tensor *out,
                             sg_error *err)
{
    sg_rng rng = sg_rng_new(seed, 1000 + (uint32_t)i);
    sg_dim dims[SG_MAX_DIMS] = {1};

    for (int k = 1; k < sg_value_n_dims(pixels); k++) {
        dims[k] = sg_value_dim(pixels, k);
        if (dims[k] < 1)
            return sg_fail(err, SG_EUNSUPPORTED,
                           "the size of the images that the model reads is not fixed; give golden values with pixels");
    }
    *out = (sg_named_tensor){"pixels", sg_tensor_of(sg_value_dtype(pixels), sg_value_n_dims(pixels), dims, NULL)};
    out->tensor.data = sg_arena_alloc(g->arena, sg_tensor_bytes(&out->tensor));
    if (!out->tensor.data)
        return sg_fail(err, SG_ENOMEM, "out of memory for pixels");
    for (sg_dim k = 0; k < sg_tensor_count(&out->tensor); k++)
        sg_tensor_set(&out->tensor, k, (double)(float)sg_rng_normal(&rng)); /* the same number in each format */
    return SG_OK;
}

static sg_status run_prompt(owned *g, sg_glass *glass, int n, sg_value *const *sites, sg_tensor *values,
                            sg_golden_prompt *p, const sg_named_tensor *pixels, sg_error *err)
{
    const sg_rows rows = {.n_rows = 1, .tokens = &p->tokens, .lengths = &p->n_tokens};
    const sg_named_feed feed = {pixels->name, pixels->tensor};
    sg_named_tensor *kept = sg_arena_array(g->arena, (size_t)n + 1, sizeof *kept);

    if (!kept)
        return sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    SG_TRY(sg_glass_run(glass, p->n_rows ? &rows : NULL, pixels->name != NULL, &feed, n, sites, values, err));
    for (int i = 0; i < n; i++)
        SG_TRY(keep(g, sg_value_name(sites[i]), &values[i], &kept[i], err));
    if (pixels->name)
        kept[n] = *pixels;
    p->sites = kept;
    p->n_sites = n + (pixels->name != NULL);
    return SG_OK;
}

static sg_status run_prompts(owned *g, sg_glass *glass, sg_golden_prompt *prompts, const sg_golden_opts *opts,
                             sg_error *err)
{
    sg_graph *graph = sg_glass_graph(glass);
    const sg_value *pixels = sg_graph_find(graph, "pixels");
    const size_t most = (size_t)sg_graph_n_names(graph);
    sg_value **sites = sg_arena_array(g->arena, most + 1, sizeof *sites);
    sg_tensor *values = sg_arena_array(g->arena, most + 1, sizeof *values);
    bool *any = sg_arena_array(g->arena, (size_t)opts->n_patterns + 1, sizeof *any);

    if (!sites || !values || !any)
        return sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    const int n = choose(graph, opts, sites, any);
    for (int p = 0; p < opts->n_patterns; p++)
        if (!any[p] && opts->patterns != sg_verify_sites) {
            const char *nearest = sg_graph_nearest(graph, opts->patterns[p]);
            return sg_fail(err, SG_ENOTFOUND, "no value is named %.120s; the nearest name is %s", opts->patterns[p],
                           nearest ? nearest : "none");
        }
    if (n == 0)
        return sg_fail(err, SG_ENOTFOUND, "the model has none of the values asked for");
    for (int i = 0; i < g->face.n_prompts; i++) {
        if (opts->cancel && *opts->cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped after %d of %d prompts", i, g->face.n_prompts);
        sg_named_tensor image = {0};
        if (pixels)
            SG_TRY(made_pixels(g, pixels, opts->seed, i, &image, err));
        SG_TRY(run_prompt(g, glass, n, sites, values, &prompts[i], &image, err));
        if (opts->progress)
            opts->progress(opts->context, "reference values", (double)(i + 1) / g->face.n_prompts);
    }
    return SG_OK;
}

sg_status sg_golden_make(sg_golden **out, const sg_model *m, sg_golden_opts opts, sg_error *err)
{
    const int n = opts.n_prompts ? opts.n_prompts : (int)SG_COUNT_OF(made_lengths);
    sg_golden_prompt *prompts;
    sg_glass_opts look = sg_glass_defaults();
    sg_glass *glass = NULL;
    owned *g = NULL;

    *out = NULL;
    look.exec = opts.exec;
    SG_TRY(sg_glass_new(&glass, m, look, err));
    sg_status status = new_golden(&g, n, &prompts, err);
    if (status != SG_OK) {
        sg_glass_free(glass);
        return status;
    }
    g->face.own = true;
    for (int i = 0; i < n && status == SG_OK; i++)
        status = opts.n_prompts ? given_prompt(g, &opts.prompts[i], &prompts[i], err)
                                : made_prompt(g, m, opts.seed, i, &prompts[i], err);
    if (status == SG_OK)
        status = run_prompts(g, glass, prompts, &opts, err);
    if (status == SG_OK) {
        g->face.dtype = prompts[0].sites[0].tensor.dtype;
        g->face.from = sg_arena_printf(g->arena, "own run in %s, %s kernels", sg_dtype_name(g->face.dtype),
                                       sg_exec_name(&opts.exec));
        status = g->face.from ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    }
    sg_glass_free(glass);
    if (status != SG_OK) {
        sg_golden_free(&g->face);
        return status;
    }
    *out = &g->face;
    return SG_OK;
}

/* ---- files ---- */

/* The number of a prompt and what follows it in "prompt.3.logits"; -1 for a name without one. */
static int prompt_of(const char *name, const char **rest)
{
    static const char prefix[] = "prompt.";
    char *end;

    *rest = name;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || name[sizeof prefix - 1] < '0' || name[sizeof prefix - 1] > '9')
        return -1;
    const long i = strtol(name + sizeof prefix - 1, &end, 10);
    if (*end != '.' || i < 0 || i >= MOST_PROMPTS)
        return -1;
    *rest = end + 1;
    return (int)i;
}

static sg_status read_site(owned *g, const char *path, const char *full, const char *name, const sg_tensor *t,
                           sg_golden_prompt *p, sg_error *err)
{
    if (strcmp(name, "tokens") == 0) {
        const sg_dim n = t->n_dims ? t->dims[t->n_dims - 1] : 0, rows = n ? sg_tensor_count(t) / n : 0;
        if (t->dtype != SG_I32 || t->n_dims > 2 || rows < 1 || rows > MOST_ROWS)
            return sg_fail(err, SG_EFORMAT, "%s: %s is not rows of whole numbers", path, full);
        if (p->tokens)
            return sg_fail(err, SG_EFORMAT, "%s: %s is there twice", path, full);
        p->tokens = t->data;
        p->n_tokens = n;
        p->n_rows = (int)rows;
        return SG_OK;
    }
    sg_named_tensor *sites = sg_arena_array(g->arena, (size_t)p->n_sites + 1, sizeof *sites);
    if (!sites)
        return sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    if (p->n_sites)
        memcpy(sites, p->sites, (size_t)p->n_sites * sizeof *sites);
    sites[p->n_sites++] = (sg_named_tensor){name, *t};
    p->sites = sites;
    if (sg_dtype_is_float(t->dtype) && t->dtype != SG_F64)
        g->face.dtype = t->dtype;
    return SG_OK;
}

static bool has_pixels(const sg_golden_prompt *p)
{
    for (int i = 0; i < p->n_sites; i++)
        if (strcmp(p->sites[i].name, "pixels") == 0)
            return true;
    return false;
}

static sg_status read_texts(owned *g, sg_golden_prompt *prompts, sg_error *err)
{
    const char *one = sg_safetensors_metadata(g->file, "text"), *all = sg_safetensors_metadata(g->file, "texts");
    json_t *list = all ? json_loads(all, 0, NULL) : NULL;
    bool lost = false;

    for (int i = 0; i < g->face.n_prompts; i++) {
        const char *text = list ? json_string_value(json_array_get(list, (size_t)i)) : i == 0 ? one : NULL;
        prompts[i].text = text ? sg_arena_strdup(g->arena, text) : NULL;
        lost |= text && !prompts[i].text;
    }
    json_decref(list);
    return lost ? sg_fail(err, SG_ENOMEM, "out of memory for prompts") : SG_OK;
}

static sg_status read_file(owned *g, const char *path, sg_golden_prompt *prompts, sg_error *err)
{
    const char *slash = strrchr(path, '/');

    g->face.from = sg_arena_strdup(g->arena, slash ? slash + 1 : path);
    g->face.hash = sg_safetensors_metadata(g->file, "model_sha256");
    g->face.own = sg_safetensors_metadata(g->file, "sightglass_golden") != NULL;
    g->face.dtype = SG_F64;
    if (!g->face.from)
        return sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    for (int i = 0; i < sg_safetensors_count(g->file); i++) {
        const char *full = sg_safetensors_name(g->file, i), *name;
        const int at = prompt_of(full, &name);
        if ((at < 0) != (g->face.n_prompts == 1 && prompt_of(sg_safetensors_name(g->file, 0), &name) < 0))
            return sg_fail(err, SG_EFORMAT, "%s: %s: names either all begin with prompt.0. or none does", path, full);
        prompt_of(full, &name);
        SG_TRY(read_site(g, path, full, name, sg_safetensors_at(g->file, i), &prompts[SG_MAX(at, 0)], err));
    }
    for (int i = 0; i < g->face.n_prompts; i++) {
        if (!prompts[i].tokens && !has_pixels(&prompts[i]))
            return sg_fail(err, SG_EFORMAT, "%s: prompt %d has no tokens: not a file of golden values", path, i);
        if (prompts[i].n_sites == 0)
            return sg_fail(err, SG_EFORMAT, "%s: prompt %d has no values", path, i);
    }
    return read_texts(g, prompts, err);
}

sg_status sg_golden_open(sg_golden **out, const char *path, sg_error *err)
{
    sg_safetensors *file;
    sg_golden_prompt *prompts;
    owned *g = NULL;
    int n = 1;

    *out = NULL;
    SG_TRY(sg_safetensors_open(&file, path, err));
    for (int i = 0; i < sg_safetensors_count(file); i++) {
        const char *rest;
        n = SG_MAX(n, prompt_of(sg_safetensors_name(file, i), &rest) + 1);
    }
    sg_status status = new_golden(&g, n, &prompts, err);
    if (status != SG_OK) {
        sg_safetensors_close(file);
        return status;
    }
    g->file = file;
    status = read_file(g, path, prompts, err);
    if (status != SG_OK) {
        sg_golden_free(&g->face);
        return status;
    }
    *out = &g->face;
    return SG_OK;
}

static sg_status texts_of(const sg_golden *golden, char **out, sg_error *err)
{
    json_t *list = json_array();

    for (int i = 0; i < golden->n_prompts; i++)
        json_array_append_new(list, golden->prompts[i].text ? json_string(golden->prompts[i].text) : json_null());
    *out = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for the prompts' texts");
}

sg_status sg_golden_save(const sg_golden *golden, const char *path, const char *program, const char *model,
                         const char *hash, sg_error *err)
{
    int n = 0;
    char *texts = NULL;
    sg_arena *arena = sg_arena_new();

    for (int i = 0; i < golden->n_prompts; i++)
        n += golden->prompts[i].n_sites + (golden->prompts[i].n_rows > 0);
    sg_named_tensor *all = arena ? sg_arena_array(arena, (size_t)n, sizeof *all) : NULL;
    sg_status status = all ? texts_of(golden, &texts, err) : sg_fail(err, SG_ENOMEM, "out of memory for golden values");
    /* Wide numbers first, then tokens, so that all are aligned. */
    for (int pass = 0, k = 0; pass < 2 && status == SG_OK; pass++)
        for (int i = 0; i < golden->n_prompts && status == SG_OK; i++) {
            const sg_golden_prompt *p = &golden->prompts[i];
            const sg_dim dims[] = {p->n_rows, p->n_tokens};
            for (int s = 0; s < (pass ? p->n_rows > 0 : p->n_sites); s++, k++) {
                const char *name = pass ? "tokens" : p->sites[s].name;
                all[k].tensor = p->sites[s].tensor;
                if (pass) {
                    union {
                        const int32_t *from;
                        void *to;
                    } ids = {p->tokens};
                    all[k].tensor =
                        sg_tensor_of(SG_I32, p->n_rows > 1 ? 2 : 1, p->n_rows > 1 ? dims : &p->n_tokens, ids.to);
                }
                all[k].name = golden->n_prompts > 1 ? sg_arena_printf(arena, "prompt.%d.%s", i, name) : name;
                if (!all[k].name)
                    status = sg_fail(err, SG_ENOMEM, "out of memory for golden values");
            }
        }
    const sg_pair pairs[] = {{"sightglass_golden", "1"},
                             {"computed", golden->from},
                             {golden->n_prompts > 1 || !golden->prompts[0].text ? "texts" : "text",
                              golden->n_prompts > 1 || !golden->prompts[0].text ? texts : golden->prompts[0].text},
                             {"positions", "0-based; batch left out"},
                             {"program", program},
                             {"model", model},
                             {"model_sha256", hash}};
    sg_pair given[SG_COUNT_OF(pairs)];
    int n_given = 0;
    for (size_t i = 0; i < SG_COUNT_OF(pairs); i++)
        if (pairs[i].text)
            given[n_given++] = pairs[i];
    if (status == SG_OK)
        status = sg_safetensors_save(path, all, n, given, n_given, err);
    free(texts);
    sg_arena_free(arena);
    return status;
}
