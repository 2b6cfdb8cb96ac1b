/* Copies into an arena of what reports and results are given. */
#include <string.h>

#include "report/report_internal.h"

const char *sg_text_copy(sg_arena *arena, const char *text, bool *good)
{
    char *copy = text ? sg_arena_strdup(arena, text) : NULL;
    *good = *good && (copy || !text);
    return copy;
}

void *sg_bytes_copy(sg_arena *arena, const void *from, size_t count, size_t size, bool *good)
{
    if (!from || count == 0)
        return NULL;
    void *copy = sg_arena_array(arena, count, size);
    if (copy)
        memcpy(copy, from, count * size);
    *good = *good && copy;
    return copy;
}

double *sg_numbers_copy(sg_arena *arena, const double *from, int n, bool *good)
{
    return sg_bytes_copy(arena, from, (size_t)n, sizeof(double), good);
}

static sg_axis axis_copy(sg_arena *arena, const sg_axis *a, bool *good)
{
    sg_axis copy = *a;
    copy.label = sg_text_copy(arena, a->label, good);
    copy.unit = sg_text_copy(arena, a->unit, good);
    return copy;
}

static sg_panel panel_copy(sg_arena *arena, const sg_panel *p, bool *good)
{
    sg_panel copy = *p;
    copy.title = sg_text_copy(arena, p->title, good);
    sg_series *series = sg_bytes_copy(arena, p->series, (size_t)p->n_series, sizeof *series, good);
    for (int i = 0; i < p->n_series && series; i++) {
        series[i].name = sg_text_copy(arena, series[i].name, good);
        series[i].x = sg_numbers_copy(arena, series[i].x, series[i].n, good);
        series[i].y = sg_numbers_copy(arena, series[i].y, series[i].n, good);
    }
    copy.series = series;
    copy.cells = sg_numbers_copy(arena, p->cells, p->n_rows * p->n_columns, good);
    copy.row_at = sg_numbers_copy(arena, p->row_at, p->n_rows, good);
    copy.column_at = sg_numbers_copy(arena, p->column_at, p->n_columns, good);
    return copy;
}

sg_figure sg_figure_copy(sg_arena *arena, const sg_figure *f, bool *good)
{
    sg_figure copy = *f;
    copy.id = sg_text_copy(arena, f->id, good);
    copy.title = sg_text_copy(arena, f->title, good);
    copy.caption = sg_text_copy(arena, f->caption, good);
    copy.x = axis_copy(arena, &f->x, good);
    copy.y = axis_copy(arena, &f->y, good);
    copy.value = axis_copy(arena, &f->value, good);
    const char **names = sg_bytes_copy(arena, f->names, (size_t)f->n_names, sizeof *names, good);
    for (int i = 0; i < f->n_names && names; i++)
        names[i] = sg_text_copy(arena, names[i], good);
    copy.names = names;
    sg_panel *panels = sg_bytes_copy(arena, f->panels, (size_t)f->n_panels, sizeof *panels, good);
    for (int i = 0; i < f->n_panels && panels; i++)
        panels[i] = panel_copy(arena, &panels[i], good);
    copy.panels = panels;
    return copy;
}
