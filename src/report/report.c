/* A report copies what it is given into one arena. Verdicts are worked out here and nowhere else. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_internal.h"

typedef struct claim_node {
    sg_claim claim;
    struct claim_node *next;
} claim_node;

typedef struct figure_node {
    sg_figure figure;
    struct figure_node *next;
} figure_node;

struct sg_report {
    sg_arena *arena;
    sg_report_info info;
    int n_claims, n_figures;
    claim_node *claims, **claims_end;
    figure_node *figures, **figures_end;
};

/* ---- copies ---- */

static sg_measure measure_copy(sg_arena *arena, const sg_measure *m, bool *good)
{
    sg_measure copy = *m;
    copy.what = sg_text_copy(arena, m->what, good);
    copy.values = sg_numbers_copy(arena, m->values, m->n, good);
    return copy;
}

static sg_claim claim_copy(sg_arena *arena, const sg_claim *c, bool *good)
{
    sg_claim copy = *c;
    copy.id = sg_text_copy(arena, c->id, good);
    copy.text = sg_text_copy(arena, c->text, good);
    copy.source = sg_text_copy(arena, c->source, good);
    copy.paper = sg_bytes_copy(arena, c->paper, c->paper != NULL, sizeof *c->paper, good);
    copy.seeds = sg_bytes_copy(arena, c->seeds, (size_t)c->n_seeds, sizeof *c->seeds, good);
    copy.measured = measure_copy(arena, &c->measured, good);
    copy.control.text = sg_text_copy(arena, c->control.text, good);
    copy.control.measured = measure_copy(arena, &c->control.measured, good);
    return copy;
}

static sg_status out_of_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "report: out of memory");
}

/* ---- the report ---- */

sg_status sg_report_new(sg_report **out, const sg_report_info *info, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_report *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;
    if (!r) {
        sg_arena_free(arena);
        return out_of_memory(err);
    }
    bool good = true;
    char cpu[SG_CPU_TEXT];
    r->arena = arena;
    r->info = *info;
    r->info.study = sg_text_copy(arena, info->study ? info->study : "", &good);
    r->info.question = sg_text_copy(arena, info->question ? info->question : "", &good);
    r->info.setup = sg_text_copy(arena, info->setup, &good);
    r->info.budget = sg_text_copy(arena, info->budget ? info->budget : "small", &good);
    r->info.commit = sg_text_copy(arena, info->commit ? info->commit : "unknown", &good);
    r->info.backend = sg_text_copy(arena, info->backend ? info->backend : "unknown", &good);
    r->info.cpu = sg_text_copy(arena, info->cpu ? info->cpu : sg_cpu_name(cpu), &good);
    r->claims_end = &r->claims;
    r->figures_end = &r->figures;
    if (!good) {
        sg_arena_free(arena);
        return out_of_memory(err);
    }
    *out = r;
    return SG_OK;
}

sg_status sg_report_add_claim(sg_report *r, const sg_claim *claim, sg_error *err)
{
    bool good = true;
    claim_node *node = sg_arena_alloc(r->arena, sizeof *node);
    if (!node)
        return out_of_memory(err);
    node->claim = claim_copy(r->arena, claim, &good);
    if (!good)
        return out_of_memory(err);
    *r->claims_end = node;
    r->claims_end = &node->next;
    r->n_claims++;
    return SG_OK;
}

sg_status sg_report_add_figure(sg_report *r, const sg_figure *figure, sg_error *err)
{
    bool good = true;
    figure_node *node = sg_arena_alloc(r->arena, sizeof *node);
    if (!node)
        return out_of_memory(err);
    node->figure = sg_figure_copy(r->arena, figure, &good);
    if (!good)
        return out_of_memory(err);
    *r->figures_end = node;
    r->figures_end = &node->next;
    r->n_figures++;
    return SG_OK;
}

void sg_report_set_seconds(sg_report *r, double seconds)
{
    r->info.seconds = seconds;
}

static sg_status set_text(sg_report *r, const char **at, const char *text, sg_error *err)
{
    bool good = true;
    const char *copy = sg_text_copy(r->arena, text, &good);
    if (!good)
        return out_of_memory(err);
    *at = copy;
    return SG_OK;
}

sg_status sg_report_set_setup(sg_report *r, const char *setup, sg_error *err)
{
    return set_text(r, &r->info.setup, setup, err);
}

sg_status sg_report_set_machine(sg_report *r, const char *backend, int threads, sg_error *err)
{
    r->info.threads = threads;
    return set_text(r, &r->info.backend, backend ? backend : "unknown", err);
}

void sg_report_free(sg_report *r)
{
    if (r)
        sg_arena_free(r->arena);
}

const sg_report_info *sg_report_about(const sg_report *r)
{
    return &r->info;
}

int sg_report_n_claims(const sg_report *r)
{
    return r->n_claims;
}

const sg_claim *sg_report_claim(const sg_report *r, int i)
{
    SG_ASSERT(i >= 0 && i < r->n_claims);
    const claim_node *node = r->claims;
    while (i-- > 0)
        node = node->next;
    return &node->claim;
}

int sg_report_n_figures(const sg_report *r)
{
    return r->n_figures;
}

const sg_figure *sg_report_figure(const sg_report *r, int i)
{
    SG_ASSERT(i >= 0 && i < r->n_figures);
    const figure_node *node = r->figures;
    while (i-- > 0)
        node = node->next;
    return &node->figure;
}

/* ---- verdicts ---- */

bool sg_measure_holds(const sg_measure *m)
{
    for (int i = 0; i < m->n; i++)
        if (!(m->values[i] >= m->low && m->values[i] <= m->high))
            return false;
    return m->n > 0;
}

bool sg_claim_holds(const sg_claim *c)
{
    return sg_measure_holds(&c->measured) && sg_measure_holds(&c->control.measured);
}

bool sg_report_holds(const sg_report *r)
{
    for (const claim_node *node = r->claims; node; node = node->next)
        if (!sg_claim_holds(&node->claim))
            return false;
    return r->n_claims > 0;
}

static bool empty(const char *text)
{
    return !text || text[strspn(text, " \t\n")] == '\0';
}

static bool unmeasured(const sg_measure *m)
{
    return m->n < 1 || !m->values || empty(m->what) || !(m->low <= m->high) ||
           (isinf(m->low) && isinf(m->high)); /* what everything meets is no criterion */
}

sg_status sg_report_check(const sg_report *r, sg_error *err)
{
    for (const claim_node *node = r->claims; node; node = node->next) {
        const sg_claim *c = &node->claim;
        if (empty(c->id))
            return sg_fail(err, SG_EARG, "report %s: a claim has no name", r->info.study);
        if (empty(c->control.text) || unmeasured(&c->control.measured))
            return sg_fail(err, SG_EARG, "report %s: claim %s has no control, and is not printed without one",
                           r->info.study, c->id);
        if (empty(c->text) || empty(c->source) || unmeasured(&c->measured) || c->n_seeds < 1)
            return sg_fail(err, SG_EARG, "report %s: claim %s wants a text, a source, seeds, numbers and a criterion",
                           r->info.study, c->id);
    }
    for (const figure_node *node = r->figures; node; node = node->next)
        if (empty(node->figure.id) || empty(node->figure.title))
            return sg_fail(err, SG_EARG, "report %s: a figure wants a name and a title", r->info.study);
    return SG_OK;
}

/* ---- in words ---- */

double sg_measure_mean(const sg_measure *m)
{
    double sum = 0;
    for (int i = 0; i < m->n; i++)
        sum += m->values[i];
    return m->n > 0 ? sum / m->n : nan("");
}

/* A NaN is the least and the greatest of whatever it is among. */
double sg_measure_least(const sg_measure *m)
{
    double x = HUGE_VAL;
    for (int i = 0; i < m->n; i++)
        x = m->values[i] < x || isnan(m->values[i]) ? m->values[i] : x;
    return x;
}

double sg_measure_most(const sg_measure *m)
{
    double x = -HUGE_VAL;
    for (int i = 0; i < m->n; i++)
        x = m->values[i] > x || isnan(m->values[i]) ? m->values[i] : x;
    return x;
}

const char *sg_measure_text(const sg_measure *m, char buf[SG_VALUE_TEXT])
{
    char mean[SG_NUMBER_TEXT], least[SG_NUMBER_TEXT], most[SG_NUMBER_TEXT];
    sg_number_text(sg_measure_mean(m), mean);
    sg_number_text(sg_measure_least(m), least);
    sg_number_text(sg_measure_most(m), most);
    if (strcmp(least, most) == 0)
        snprintf(buf, SG_VALUE_TEXT, "%s", mean);
    else
        snprintf(buf, SG_VALUE_TEXT, "%s (%s to %s)", mean, least, most);
    return buf;
}

const char *sg_measure_criterion(const sg_measure *m, char buf[SG_CRITERION_TEXT])
{
    char low[SG_NUMBER_TEXT], high[SG_NUMBER_TEXT];
    snprintf(low, sizeof low, "%.6g", m->low);
    snprintf(high, sizeof high, "%.6g", m->high);
    if (m->low == m->high)
        snprintf(buf, SG_CRITERION_TEXT, "exactly %s", low);
    else if (isinf(m->high))
        snprintf(buf, SG_CRITERION_TEXT, "at least %s", low);
    else if (isinf(m->low))
        snprintf(buf, SG_CRITERION_TEXT, "at most %s", high);
    else
        snprintf(buf, SG_CRITERION_TEXT, "between %s and %s", low, high);
    return buf;
}

const char *sg_standing_text(sg_standing s)
{
    switch (s) {
    case SG_STANDING_CHECKED:
        return "checked against code";
    case SG_STANDING_ABSTRACT:
        return "stated in the abstract";
    case SG_STANDING_SECOND_HAND:
        return "second-hand";
    case SG_STANDING_FROM_MEMORY:
        return "from memory";
    case SG_STANDING_DERIVED:
        return "derived";
    }
    return "unknown";
}

const char *sg_paper_text(const sg_paper_value *p, char buf[SG_VALUE_TEXT])
{
    buf[0] = '\0';
    if (p && (p->standing == SG_STANDING_CHECKED || p->standing == SG_STANDING_ABSTRACT)) {
        char number[SG_NUMBER_TEXT];
        snprintf(buf, SG_VALUE_TEXT, "the paper: %s (%s)", sg_number_text(p->value, number),
                 sg_standing_text(p->standing));
    }
    return buf;
}

const char *sg_cpu_name(char buf[SG_CPU_TEXT])
{
    snprintf(buf, SG_CPU_TEXT, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file)
        return buf;
    char line[512];
    while (fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (!strncmp(line, "model name", 10) && colon) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(buf, SG_CPU_TEXT, "%.*s", (int)SG_MIN(strcspn(colon, "\n"), SG_CPU_TEXT - 1), colon);
            break;
        }
    }
    fclose(file);
    return buf;
}
