#include "study_all.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "embedded.h"
#include "sightglass/report_book.h"

const void *study_record(const char *name, size_t *bytes)
{
    char path[120];
    snprintf(path, sizeof path, "reports/%s.json", name);
    for (const embedded_file *f = embedded; f->path; f++)
        if (strcmp(f->path, path) == 0) {
            *bytes = (size_t)(f->end - f->bytes);
            return f->bytes;
        }
    return NULL;
}

/* What the record says of a claim: 1 it holds, 0 it does not, -1 it does not speak of it. */
static int recorded(const sg_report_book *record, const char *id)
{
    for (int k = 0; sg_report_book_count(record) && k < sg_report_book_n_claims(record, 0); k++)
        if (strcmp(sg_report_book_claim(record, 0, k), id) == 0)
            return sg_report_book_holds(record, 0, k);
    return -1;
}

typedef struct tally {
    int held, known, small, failed; /* claims: hold; fail as on record; at this size alone, as is known; otherwise */
} tally;

static bool differs(const sg_study *study, const char *claim, bool full)
{
    return !full && sg_study_differs(study->name, claim) != NULL;
}

static sg_status judge(const sg_study *study, const sg_report *report, bool full, tally *t, sg_error *err)
{
    size_t bytes = 0;
    const void *json = study_record(study->name, &bytes);
    sg_report_book *record;
    SG_TRY(sg_report_book_new(&record, err));
    sg_status status = json ? sg_report_book_add(record, study->name, json, bytes, err) : SG_OK;
    for (int i = 0; i < sg_report_n_claims(report) && status == SG_OK; i++) {
        const sg_claim *c = sg_report_claim(report, i);
        if (sg_claim_holds(c))
            t->held++;
        else if (recorded(record, c->id) == 0)
            t->known++;
        else if (differs(study, c->id, full))
            t->small++;
        else
            t->failed++;
    }
    sg_report_book_free(record);
    return status;
}

static void tell(const sg_study *study, const sg_report *report, bool full, const tally *t, double seconds)
{
    const cli_paint c = cli_colours();
    printf("%s %s%-30s%s %2d of %2d claims hold", t->failed ? "✗" : "✓", c.bold, study->name, c.off, t->held,
           sg_report_n_claims(report));
    if (t->known)
        printf(", %d fail%s as on record", t->known, t->known == 1 ? "s" : "");
    if (t->small)
        printf(", %d fail%s at this size alone", t->small, t->small == 1 ? "s" : "");
    if (t->failed)
        printf(", %d fail%s that the record does not expect", t->failed, t->failed == 1 ? "s" : "");
    printf("  %s%.1f s%s\n", c.dim, seconds, c.off);
    for (int i = 0; i < sg_report_n_claims(report) && (t->failed || t->small); i++) {
        const sg_claim *of = sg_report_claim(report, i);
        if (sg_claim_holds(of))
            continue;
        if (differs(study, of->id, full))
            printf("    %s: %s\n", of->id, sg_study_differs(study->name, of->id));
        else if (t->failed)
            printf("    does not hold: %s\n", of->id);
    }
    fflush(stdout);
}

static sg_status save(const sg_study *study, const sg_report *report, const char *out, sg_error *err)
{
    char path[4300];
    if (!out)
        return SG_OK;
    snprintf(path, sizeof path, "%s/%s.json", out, study->name);
    return sg_report_save_json(report, path, err);
}

int study_run_all(const sg_study_opts *opts, const char *out)
{
    sg_error err = {SG_OK, ""};
    tally all = {0};
    const double began = sg_now();

    if (out && mkdir(out, 0777) != 0 && errno != EEXIST)
        return cli_usage("study", "%s: %s", out, strerror(errno));
    for (int i = 0; i < sg_study_count(); i++) {
        const sg_study *study = sg_study_at(i);
        sg_report *report = NULL;
        tally t = {0};
        const double start = sg_now();
        sg_status status = sg_study_run(&report, study, opts, &err);
        if (opts->progress)
            fputs("\r\033[K", stderr);
        if (status == SG_OK)
            status = save(study, report, out, &err);
        if (status == SG_OK)
            status = judge(study, report, opts->full, &t, &err);
        if (status == SG_OK)
            tell(study, report, opts->full, &t, sg_now() - start);
        sg_report_free(report);
        if (status == SG_ECANCELLED)
            return cli_fail(&err), 130;
        if (status != SG_OK) { /* told, and the rest still runs */
            printf("✗ %-30s did not run\n", study->name);
            cli_fail(&err);
            t.failed++;
        }
        all.held += t.held;
        all.known += t.known;
        all.small += t.small;
        all.failed += t.failed;
    }
    printf(
        "%d studies, %d claims hold, %d fail as their full reports say, %d at this size alone, %d otherwise; %.0f s\n",
        sg_study_count(), all.held, all.known, all.small, all.failed, sg_now() - began);
    return all.failed ? EXIT_FAILED : 0;
}
