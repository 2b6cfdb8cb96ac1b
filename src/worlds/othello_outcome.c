/* An intervention on many boards, beside everything that could explain its effect away. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/othello_cases.h"

enum { OWN, WITNESS, NONE, EDIT, RANDOM, WRONG, N_RUNS };

/* The same boards as they are, or with other moves that lead to the changed board. */
static void turn_into(sg_othello_case *to, const sg_othello_case *from, sg_dim n, int run)
{
    for (sg_dim i = 0; i < n; i++) {
        to[i] = from[i];
        if (run == OWN)
            to[i].legal = sg_othello_legal(&from[i].board);
        else
            memcpy(to[i].tokens, from[i].witness, sizeof to[i].tokens);
    }
}

static sg_status run_all(double *const errors[N_RUNS], bool *const ran, sg_othello_case *other, float *norms,
                         sg_intervener *iv, sg_dim n, const sg_othello_case *cases, sg_intervene_opts opts,
                         sg_error *err)
{
    sg_intervene_opts none = opts, control = opts;
    none.kind = SG_INTERVENE_NONE;
    control.norms = norms;
    for (int k = OWN; k <= WITNESS; k++) {
        ran[k] = k == OWN || cases[0].kind == SG_OTHELLO_NATURAL;
        turn_into(other, cases, n, k);
        if (ran[k])
            SG_TRY(sg_othello_intervene(errors[k], NULL, iv, n, other, none, err));
    }
    SG_TRY(sg_othello_intervene(errors[NONE], NULL, iv, n, cases, none, err));
    SG_TRY(sg_othello_intervene(errors[EDIT], norms, iv, n, cases, opts, err));
    control.kind = SG_INTERVENE_RANDOM;
    SG_TRY(sg_othello_intervene(errors[RANDOM], NULL, iv, n, cases, control, err));
    control.kind = SG_INTERVENE_WRONG;
    sg_error why;
    const sg_status status = sg_othello_intervene(errors[WRONG], NULL, iv, n, cases, control, &why);
    ran[NONE] = ran[EDIT] = ran[RANDOM] = true;
    ran[WRONG] = status == SG_OK;
    return status == SG_OK || status == SG_EUNSUPPORTED ? SG_OK : sg_fail(err, status, "%s", why.text);
}

sg_status sg_othello_outcome_of(sg_othello_outcome *out, sg_intervener *iv, sg_dim n, const sg_othello_case *cases,
                                sg_intervene_opts opts, sg_error *err)
{
    *out = (sg_othello_outcome){.n = n};
    if (n < 1 || opts.kind == SG_INTERVENE_NONE || opts.norms)
        return sg_fail(err, SG_EARG, "othello: wanted cases and an intervention to judge");
    const int n_sites = sg_intervener_n_sites(iv);
    double *room = malloc((size_t)(N_RUNS * n) * sizeof *room), *errors[N_RUNS];
    float *norms = malloc((size_t)(n * n_sites) * sizeof *norms);
    sg_othello_case *other = malloc((size_t)n * sizeof *other);
    bool ran[N_RUNS] = {false};
    sg_status status =
        room && norms && other ? SG_OK : sg_fail(err, SG_ENOMEM, "othello: out of memory for %" PRId64 " cases", n);
    for (int k = 0; k < N_RUNS; k++)
        errors[k] = room ? room + k * n : NULL;
    if (status == SG_OK)
        status = run_all(errors, ran, other, norms, iv, n, cases, opts, err);
    sg_rate *const mean[N_RUNS] = {&out->own, &out->witness, &out->null, &out->edit, &out->random, &out->wrong};
    for (int k = 0; k < N_RUNS && status == SG_OK; k++)
        if (ran[k])
            status = sg_othello_mean(mean[k], errors[k], NULL, n, err);
    if (status == SG_OK)
        status = sg_othello_mean(&out->edit_less_null, errors[EDIT], errors[NONE], n, err);
    if (status == SG_OK)
        status = sg_othello_mean(&out->random_less_null, errors[RANDOM], errors[NONE], n, err);
    if (status == SG_OK)
        status = sg_othello_mean(&out->edit_less_random, errors[EDIT], errors[RANDOM], n, err);
    free(room);
    free(norms);
    free(other);
    return status;
}

sg_status sg_othello_sweep(sg_othello_try *tries, int n_tries, const sg_model *m, const char *const *sites,
                           const sg_probe *const *probes, sg_dim n, const sg_othello_case *cases, sg_exec_opts exec,
                           sg_error *err)
{
    double *errors = malloc((size_t)SG_MAX(n, 1) * sizeof *errors);
    sg_intervener *iv = NULL;
    sg_status status = errors ? SG_OK : sg_fail(err, SG_ENOMEM, "othello: out of memory for %" PRId64 " cases", n);
    for (int k = 0; k < n_tries && status == SG_OK; k++) {
        sg_othello_try *t = &tries[k];
        if (k == 0 || t->first != t[-1].first || t->last != t[-1].last) {
            sg_intervener_free(iv);
            iv = NULL;
            status = sg_intervener_new(&iv, m, t->last - t->first + 1, sites + t->first, probes + t->first, exec, err);
        }
        if (status == SG_OK)
            status = sg_othello_intervene(errors, NULL, iv, n, cases, t->opts, err);
        t->error = 0;
        for (sg_dim i = 0; i < n && status == SG_OK; i++)
            t->error += errors[i] / (double)n;
    }
    sg_intervener_free(iv);
    free(errors);
    return status;
}
