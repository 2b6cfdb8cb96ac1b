/* Each relation's map at every site, with the choice of site, beta and rank on one half of the tests. */
#include "relations_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const double relations_betas[RELATIONS_BETAS] = {.5, 1, 1.5, 2, 2.5, 3, 4, 6, 8};

sg_status relations_open(relations_parts *p, const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    *p = (relations_parts){.opts = opts, .report = report, .err = err};
    SG_TRY(sg_study_model(&p->model, opts, "kb4", err));
    const int n_layers = (int)sg_model_get_info(p->model)->n_layers;
    SG_TRY(sg_lre_reader_new(&p->reader, p->model, NULL, opts->exec, err));
    if (n_layers > RELATIONS_MOST_SITES)
        return sg_fail(err, SG_EUNSUPPORTED, "linear-relations: a model of %d layers, at most %d", n_layers,
                       RELATIONS_MOST_SITES);
    for (p->n_sites = 0; p->n_sites < n_layers; p->n_sites++) {
        if (p->n_sites)
            snprintf(p->names[p->n_sites], sizeof p->names[0], "blocks.%d.hook_resid_post", p->n_sites - 1);
        else
            snprintf(p->names[0], sizeof p->names[0], "blocks.0.hook_resid_pre");
        p->sites[p->n_sites] = p->names[p->n_sites];
    }
    for (int k = 0; k < RELATIONS_SEEDS; k++)
        p->seeds[k] = 1000 * opts->seed + (uint64_t)k;
    p->n_tests = 200;
    p->n_pairs = 100;
    return SG_OK;
}

void relations_close(relations_parts *p)
{
    sg_lre_reader_free(p->reader);
    sg_model_close(p->model);
}

/* ---- one relation at one seed ---- */

typedef struct job {
    relations_parts *p;
    relations_row *row;
    int seed;
    sg_lre_opts opts;
    sg_lre_relation *relation;
    sg_lre_data *data;
    sg_lre *lre, *beside;
} job;

static sg_status open_job(job *j, sg_lre_place at, sg_error *err)
{
    char name[32];
    sg_prompts *before;
    snprintf(name, sizeof name, "kb:%s", sg_kb_relation_name(j->row->relation));
    j->opts = sg_lre_defaults();
    j->opts.n_sites = j->p->n_sites;
    j->opts.sites = j->p->sites;
    j->opts.n_tests = j->p->n_tests;
    j->opts.seed = j->p->seeds[j->seed];
    j->opts.exec = j->p->opts->exec;
    j->opts.cancel = j->p->opts->cancel;
    /* Each seed tells it in another form. */
    SG_TRY(sg_lre_relation_open(&j->relation, name, j->seed % SG_KB_N_TEMPLATES, at, j->p->model, err));
    SG_TRY(sg_lre_data_new(&j->data, j->p->model, &j->relation->source, j->opts, err));
    SG_TRY(sg_lre_fit(&j->lre, j->p->model, j->data->train, j->opts, err));
    if (at == SG_LRE_AT_LAST)
        return SG_OK;
    SG_TRY(sg_prompts_new(&before, err));
    sg_status status = SG_OK;
    for (int i = 0; i < j->data->train->n && status == SG_OK; i++) {
        status = sg_prompts_add(before, &j->data->train->at[i], err);
        if (status == SG_OK) /* behind the shots there always is a token before it */
            sg_prompts_place(before, i, before->at[i].subject - 1);
    }
    if (status == SG_OK)
        status = sg_lre_fit(&j->beside, j->p->model, before, j->opts, err);
    sg_prompts_free(before);
    return status;
}

static void close_job(job *j)
{
    sg_lre_free(j->lre);
    sg_lre_free(j->beside);
    sg_lre_data_free(j->data);
    sg_lre_relation_free(j->relation);
}

static sg_status choose(job *j, sg_error *err)
{
    relations_row *row = j->row;
    sg_lre_rate rates[RELATIONS_BETAS], reported[RELATIONS_BETAS];
    double best = -1;
    for (int s = 0; s < j->p->n_sites; s++) {
        int at = 0;
        SG_TRY(sg_lre_sweep(rates, j->p->reader, j->lre, s, RELATIONS_BETAS, relations_betas, j->data, SG_LRE_CHOOSING,
                            err));
        SG_TRY(sg_lre_sweep(reported, j->p->reader, j->lre, s, RELATIONS_BETAS, relations_betas, j->data,
                            SG_LRE_REPORTED, err));
        for (int b = 1; b < RELATIONS_BETAS; b++)
            at = rates[b].value > rates[at].value ? b : at;
        row->by_site[j->seed][s] = reported[at].value;
        if (!(rates[at].value > best))
            continue;
        best = rates[at].value;
        row->site[j->seed] = s;
        row->beta[j->seed] = relations_betas[at];
        for (int b = 0; b < RELATIONS_BETAS; b++)
            row->by_beta[j->seed][b] = rates[b].value;
    }
    return SG_OK;
}

static sg_status judge(job *j, const sg_lre *other, sg_error *err)
{
    relations_row *row = j->row;
    const int k = j->seed, site = row->site[k];
    sg_lre_score s;
    SG_TRY(sg_lre_score_of(&s, j->p->reader, j->beside, site, row->beta[k], j->data, NULL, SG_LRE_REPORTED, err));
    row->beside[k] = s.faithful[SG_LRE_MAP].value;
    SG_TRY(sg_lre_score_of(&s, j->p->reader, j->lre, site, row->beta[k], j->data, other, SG_LRE_REPORTED, err));
    for (int how = 0; how < SG_N_LRE_READINGS; how++)
        row->faithful[how][k] = s.faithful[how].value;
    row->all[k] = s.faithful_all[SG_LRE_MAP].value;
    row->known[k] = (double)j->data->n_known / j->data->n_tests;
    return SG_OK;
}

static sg_status edit(job *j, sg_error *err)
{
    static const int ranks[] = {4, 8, 16, 32, 64, 100};
    relations_row *row = j->row;
    const int k = j->seed, site = row->site[k];
    sg_lre_inverse *v;
    sg_lre_effect e = {0};
    double best = -1;
    SG_TRY(sg_lre_inverse_new(&v, j->lre, site, err));
    sg_status status = SG_OK;
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0] && status == SG_OK; i++) {
        status = sg_lre_causes(&e, j->p->model, j->p->reader, j->lre, site, v, ranks[i], j->data, SG_LRE_CHOOSING, 20,
                               1u << SG_LRE_BY_STATE, j->opts, err);
        if (status == SG_OK && e.changed[SG_LRE_BY_STATE].value > best) {
            best = e.changed[SG_LRE_BY_STATE].value;
            row->rank[k] = ranks[i];
        }
    }
    if (status == SG_OK)
        status = sg_lre_causes(&e, j->p->model, j->p->reader, j->lre, site, v, row->rank[k], j->data, SG_LRE_REPORTED,
                               j->p->n_pairs, SG_LRE_ALL_CAUSES, j->opts, err);
    for (int c = 0; c < SG_N_LRE_CAUSES; c++)
        row->changed[c][k] = e.changed[c].value;
    for (int s = 0; s < j->p->n_sites && status == SG_OK; s++) {
        status = sg_lre_causes(&e, j->p->model, j->p->reader, j->lre, s, v, 1, j->data, SG_LRE_REPORTED, 20,
                               1u << SG_LRE_COPY, j->opts, err);
        row->copy_at[k][s] = e.changed[SG_LRE_COPY].value;
    }
    sg_lre_inverse_free(v);
    return status;
}

/* The same with the last token's state as s, at each site with its own beta. */
static sg_status at_last(relations_parts *p, relations_row *row, int seed)
{
    sg_lre_rate chosen[RELATIONS_BETAS], reported[RELATIONS_BETAS];
    job j = {.p = p, .row = row, .seed = seed};
    sg_status status = open_job(&j, SG_LRE_AT_LAST, p->err);
    for (int s = 0; s < p->n_sites && status == SG_OK; s++) {
        int at = 0;
        status = sg_lre_sweep(chosen, p->reader, j.lre, s, RELATIONS_BETAS, relations_betas, j.data, SG_LRE_CHOOSING,
                              p->err);
        if (status == SG_OK)
            status = sg_lre_sweep(reported, p->reader, j.lre, s, RELATIONS_BETAS, relations_betas, j.data,
                                  SG_LRE_REPORTED, p->err);
        for (int b = 1; b < RELATIONS_BETAS && status == SG_OK; b++)
            at = chosen[b].value > chosen[at].value ? b : at;
        row->at_last[seed][s] = status == SG_OK ? reported[at].value : (double)NAN;
    }
    close_job(&j);
    return status;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void tell(relations_parts *p, int seed, int row)
{
    const int n = p->n_rows * RELATIONS_SEEDS;
    const double done = (double)(seed * p->n_rows + row) / n, took = now() - p->began;
    if (p->opts->progress)
        p->opts->progress(
            p->opts->context,
            &(sg_study_progress){"relations", done, done > 0 ? took / done - took : (double)NAN, (double)NAN});
}

static sg_status know_nothing(relations_parts *p, int seed)
{
    sg_model *fresh;
    sg_lre_relation *relation = NULL;
    sg_lre_data *data = NULL;
    sg_lre_opts opts = sg_lre_defaults();
    char name[32];
    opts.n_tests = p->n_tests;
    opts.seed = p->seeds[seed];
    opts.exec = p->opts->exec;
    snprintf(name, sizeof name, "kb:%s", sg_kb_relation_name(p->rows[0].relation));
    SG_TRY(sg_model_untrained(&fresh, p->model, p->err));
    sg_status status =
        sg_lre_relation_open(&relation, name, seed % SG_KB_N_TEMPLATES, SG_LRE_AT_SUBJECT, fresh, p->err);
    if (status == SG_OK)
        status = sg_lre_data_new(&data, fresh, &relation->source, opts, p->err);
    if (status == SG_OK)
        p->fresh[seed] = (double)data->n_known / data->n_tests;
    sg_lre_data_free(data);
    sg_lre_relation_free(relation);
    sg_model_close(fresh);
    return status;
}

sg_status relations_measure(relations_parts *p, int seed)
{
    job jobs[SG_KB_N_RELATIONS] = {{0}};
    sg_status status = know_nothing(p, seed);
    if (seed == 0)
        p->began = now();
    for (int i = 0; i < p->n_rows && status == SG_OK; i++) {
        jobs[i] = (job){.p = p, .row = &p->rows[i], .seed = seed};
        tell(p, seed, i);
        status = open_job(&jobs[i], SG_LRE_AT_SUBJECT, p->err);
        if (status == SG_OK)
            status = choose(&jobs[i], p->err);
    }
    for (int i = 0; i < p->n_rows && status == SG_OK; i++) { /* the map of the next relation is to fail */
        status = judge(&jobs[i], jobs[(i + 1) % p->n_rows].lre, p->err);
        if (status == SG_OK)
            status = edit(&jobs[i], p->err);
        if (status == SG_OK && p->opts->full)
            status = at_last(p, &p->rows[i], seed);
    }
    for (int i = 0; i < p->n_rows; i++)
        close_job(&jobs[i]);
    return status;
}

/* ---- over relations ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double relations_median(const relations_parts *p, bool shared, int seed, double (*of)(const relations_row *r, int seed))
{
    double x[SG_KB_N_RELATIONS];
    int n = 0;
    for (int i = 0; i < p->n_rows; i++)
        if (sg_kb_is_shared(p->rows[i].relation) == shared)
            x[n++] = of(&p->rows[i], seed);
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n ? (x[(n - 1) / 2] + x[n / 2]) / 2 : (double)NAN;
}
