/* What golden, verify and inspect share. */
#include "verified.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"

const char verified_program[] = "sightglass 0.1.0 (" SG_COMMIT ")";

sg_status verified_prompts(const cli_rows *rows, const char *const *texts, sg_golden_prompt **out, sg_error *err)
{
    *out = calloc((size_t)SG_MAX(rows->n, 1), sizeof **out);
    if (!*out)
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    for (int i = 0; i < rows->n; i++)
        (*out)[i] = (sg_golden_prompt){
            .n_rows = 1, .n_tokens = rows->lengths[i], .tokens = rows->tokens[i], .text = texts ? texts[i] : NULL};
    return SG_OK;
}

/* Bytes that the system could still give; 0: it does not say. */
static double free_bytes(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[160];
    unsigned long long kb = 0;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (double)kb * 1024;
}

sg_status verified_fits(const char *model, sg_dtype dtype, sg_error *err)
{
    sg_model_opts sizes = sg_model_defaults();
    sg_model *m;

    sizes.only_sizes = true;
    sizes.dtype = dtype;
    SG_TRY(sg_model_open(&m, model, sizes, err));
    const double wanted = (double)sg_model_get_info(m)->converted_bytes, there = free_bytes();
    sg_model_close(m);
    if (there > 0 && wanted > .9 * there)
        return sg_fail(err, SG_ENOMEM,
                       "%s takes %.1f GB in %s, and %.1f GB are free; --reference f32 takes less, --golden nothing",
                       model, wanted / 1e9, sg_dtype_name(dtype), there / 1e9);
    return SG_OK;
}

const char *verified_name(char buf[256], const char *path)
{
    char *whole = realpath(path, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;

    snprintf(buf, 256, "%s", slash && slash[1] ? slash + 1 : path);
    free(whole);
    return buf;
}

void verified_summary(FILE *to, const sg_certificate *c)
{
    double worst = 0;
    const char *site = "", *bad = NULL;
    int failed = 0;

    for (int i = 0; i < c->n_runs; i++) {
        const sg_verify_run *r = c->runs[i];
        failed += !r->holds;
        bad = bad ? bad : r->first_bad;
        for (int k = 0; k < r->n_rows; k++)
            if (r->rows[k].max_rel > worst) {
                worst = r->rows[k].max_rel;
                site = r->rows[k].site;
            }
    }
    fprintf(to, "%s %.10s against %s: ", c->holds ? "verified" : "not verified", c->date, c->reference);
    if (failed)
        fprintf(to, "%d of %d runs failed%s%s", failed, c->n_runs, bad ? ", first NaN in " : "", bad ? bad : "");
    else
        fprintf(to, "%d run%s over %lld positions", c->n_runs, c->n_runs == 1 ? "" : "s", (long long)c->n_positions);
    if (worst > 0)
        fprintf(to, ", furthest %.1e at %s", worst, site);
    fputs(c->stale ? "; STALE: the model's files changed since\n" : "\n", to);
}

json_t *verified_json(const sg_certificate *c)
{
    char *text = sg_certificate_text(c);
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;

    free(text);
    return root;
}
