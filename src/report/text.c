/* A report for a terminal: verdicts first in each line, then what was measured and what it was held against. */
#include <string.h>

#include "report/report_internal.h"

#define COLUMNS 80

int sg_text_width(const char *text, size_t bytes)
{
    int width = 0;
    for (size_t i = 0; i < bytes; i++)
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    return width;
}

void sg_text_paragraph(FILE *to, const char *lead, const char *text)
{
    const int indent = sg_text_width(lead, strlen(lead));
    int at = indent;
    bool first = true;
    fputs(lead, to);
    while (*(text += strspn(text, " \n"))) {
        const size_t bytes = strcspn(text, " \n");
        const int width = sg_text_width(text, bytes);
        if (!first && at + 1 + width > COLUMNS) {
            fprintf(to, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        fprintf(to, "%s%.*s", first ? "" : " ", (int)bytes, text);
        at += width + !first;
        first = false;
        text += bytes;
    }
    fputc('\n', to);
}

const char *sg_text_mark(bool holds, bool colour)
{
    if (!colour)
        return holds ? "✓" : "✗";
    return holds ? "\x1b[32m✓\x1b[0m" : "\x1b[31m✗\x1b[0m";
}

static void measure(FILE *to, const char *lead, const sg_measure *m, const char *tail)
{
    char value[SG_VALUE_TEXT], wanted[SG_CRITERION_TEXT];
    sg_str s = {0};
    sg_str_printf(&s, "%s: %s, wanted %s%s", m->what, sg_measure_text(m, value), sg_measure_criterion(m, wanted), tail);
    if (!s.failed)
        sg_text_paragraph(to, lead, s.text);
    sg_str_free(&s);
}

static void claim(FILE *to, const sg_claim *c, bool colour)
{
    const bool holds = sg_measure_holds(&c->measured), control = sg_measure_holds(&c->control.measured);
    char paper[SG_VALUE_TEXT], seeds[32];
    fprintf(to, "%s %s%s\n", sg_text_mark(holds && control, colour), c->id, holds ? "" : "  (does not hold)");
    sg_text_paragraph(to, "    ", c->text);
    snprintf(seeds, sizeof seeds, "; %d seed%s", c->n_seeds, c->n_seeds == 1 ? "" : "s");
    measure(to, "    measured  ", &c->measured, seeds);
    sg_text_paragraph(to, "    control   ", c->control.text);
    measure(to, "              ", &c->control.measured, control ? "" : "; the control does not hold");
    sg_text_paragraph(to, "    source    ", c->source);
    if (*sg_paper_text(c->paper, paper))
        sg_text_paragraph(to, "              ", paper);
    fputc('\n', to);
}

sg_status sg_report_write_text(const sg_report *r, FILE *to, bool colour, sg_error *err)
{
    SG_TRY(sg_report_check(r, err));
    const sg_report_info *info = sg_report_about(r);
    const char *bold = colour ? "\x1b[1m" : "", *normal = colour ? "\x1b[0m" : "";
    fprintf(to, "%s%s%s (%s)\n", bold, info->study, normal, info->budget);
    sg_text_paragraph(to, "", info->question);
    if (info->setup)
        sg_text_paragraph(to, "", info->setup);
    for (int i = 0; i < sg_report_n_figures(r); i++) {
        const sg_figure *f = sg_report_figure(r, i);
        fprintf(to, "\n%s%s%s\n", bold, f->title, normal);
        if (f->caption)
            sg_text_paragraph(to, "", f->caption);
        SG_TRY(sg_figure_write_text(f, to, colour, err));
    }
    fputc('\n', to);
    int n_hold = 0;
    for (int i = 0; i < sg_report_n_claims(r); i++) {
        claim(to, sg_report_claim(r, i), colour);
        n_hold += sg_claim_holds(sg_report_claim(r, i));
    }
    fprintf(to, "%d of %d claims hold, with their controls.\n", n_hold, sg_report_n_claims(r));
    fprintf(to, "commit %.12s, seed %llu, %s backend, %d thread%s, %s, %.1f s\n", info->commit,
            (unsigned long long)info->seed, info->backend, info->threads, info->threads == 1 ? "" : "s", info->cpu,
            info->seconds);
    return ferror(to) ? sg_fail(err, SG_EIO, "report %s: could not be written", info->study) : SG_OK;
}
