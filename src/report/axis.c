/* What pictures share whatever they are drawn with: how far axes go, round numbers along them, numbers as text. */
#include <math.h>
#include <string.h>

#include "report/report_internal.h"

static void grow(sg_range *r, const sg_axis *axis, double x)
{
    if (!isfinite(x) || (axis->log && x <= 0))
        return;
    r->low = fmin(r->low, x);
    r->high = fmax(r->high, x);
}

double sg_panel_column(const sg_panel *p, int i)
{
    return p->column_at ? p->column_at[i] : i;
}

double sg_panel_row(const sg_panel *p, int i)
{
    return p->row_at ? p->row_at[i] : i;
}

static sg_range settled(sg_range r, const sg_axis *axis)
{
    if (axis->low < axis->high)
        return (sg_range){axis->low, axis->high};
    if (!(r.low <= r.high)) /* nothing to show */
        r = axis->log ? (sg_range){1, 10} : (sg_range){0, 1};
    if (r.low < r.high)
        return r;
    if (axis->log)
        return (sg_range){r.low / 2, r.high * 2};
    const double room = fmax(fabs(r.low) / 2, 0.5);
    return (sg_range){r.low - room, r.high + room};
}

static sg_range range_of(const sg_figure *f, bool of_x)
{
    const sg_axis *axis = of_x ? &f->x : &f->y;
    sg_range r = {HUGE_VAL, -HUGE_VAL};
    for (int i = 0; i < f->n_panels; i++) {
        const sg_panel *p = &f->panels[i];
        for (int k = 0; k < p->n_series; k++)
            for (int j = 0; j < p->series[k].n; j++)
                grow(&r, axis, of_x ? p->series[k].x[j] : p->series[k].y[j]);
        for (int j = 0; j < (of_x ? p->n_columns : p->n_rows); j++)
            grow(&r, axis, of_x ? sg_panel_column(p, j) : sg_panel_row(p, j));
    }
    return settled(r, axis);
}

/* Arrows are seen around the origin, with room beyond the longest, the same along both axes. */
static sg_range around_origin(const sg_figure *f)
{
    double most = 0;
    for (int i = 0; i < f->n_panels; i++)
        for (int k = 0; k < f->panels[i].n_series; k++)
            for (int j = 0; j < f->panels[i].series[k].n; j++)
                most = fmax(most, fmax(fabs(f->panels[i].series[k].x[j]), fabs(f->panels[i].series[k].y[j])));
    most = most > 0 ? most * 1.15 : 1;
    return (sg_range){-most, most};
}

sg_range sg_figure_x_range(const sg_figure *f)
{
    return f->kind == SG_FIGURE_ARROWS && !(f->x.low < f->x.high) ? around_origin(f) : range_of(f, true);
}

sg_range sg_figure_y_range(const sg_figure *f)
{
    return f->kind == SG_FIGURE_ARROWS && !(f->y.low < f->y.high) ? around_origin(f) : range_of(f, false);
}

/* Where cells have both signs, 0 is in the middle. */
sg_range sg_figure_cell_range(const sg_figure *f)
{
    sg_range r = {HUGE_VAL, -HUGE_VAL};
    for (int i = 0; i < f->n_panels; i++)
        for (int k = 0; k < f->panels[i].n_rows * f->panels[i].n_columns; k++)
            grow(&r, &f->value, f->panels[i].cells[k]);
    r = settled(r, &f->value);
    if (r.low < 0 && r.high > 0) {
        r.high = fmax(r.high, -r.low);
        r.low = -r.high;
    }
    return r;
}

double sg_axis_place(const sg_axis *axis, sg_range range, double x)
{
    if (!isfinite(x) || (axis->log && x <= 0))
        return nan("");
    if (axis->log)
        return log(x / range.low) / log(range.high / range.low);
    return (x - range.low) / (range.high - range.low);
}

/* Powers of ten times the given mantissas that lie in the range. */
static int log_ticks(sg_range range, int n_mantissas, const double *mantissa, double ticks[SG_MAX_TICKS])
{
    int n = 0;
    for (double power = pow(10, floor(log10(range.low))); power <= range.high * 1.0001; power *= 10)
        for (int i = 0; i < n_mantissas; i++) {
            const double x = power * mantissa[i];
            if (x < range.low * 0.9999 || x > range.high * 1.0001)
                continue;
            if (n == SG_MAX_TICKS)
                return SG_MAX_TICKS + 1;
            ticks[n++] = x;
        }
    return n;
}

int sg_axis_ticks(const sg_axis *axis, sg_range range, int most, double ticks[SG_MAX_TICKS])
{
    most = SG_MIN(most, SG_MAX_TICKS - 1); /* of n steps there are n + 1 ends */
    if (axis->log) {
        static const double mantissa[] = {1, 2, 5}, odd[] = {1, 3};
        int n = log_ticks(range, 3, mantissa, ticks);
        if (n > most)
            n = log_ticks(range, 2, odd, ticks);
        if (n > most)
            n = log_ticks(range, 1, mantissa, ticks);
        return SG_MIN(n, most);
    }
    const double rough = (range.high - range.low) / most;
    const double power = pow(10, floor(log10(rough)));
    double step = power;
    for (int i = 0; step < rough && i < 3; i++)
        step = power * (double[]){2, 5, 10}[i];
    int n = 0;
    for (double k = ceil(range.low / step - 1e-9); k * step <= range.high + step * 1e-9 && n < SG_MAX_TICKS; k++)
        ticks[n++] = k == 0 ? 0 : k * step; /* no -0 */
    return n;
}

const char *sg_number_text(double x, char buf[SG_NUMBER_TEXT])
{
    snprintf(buf, SG_NUMBER_TEXT, "%.4g", x == 0 ? 0 : x);
    return buf;
}

const char *sg_axis_text(const sg_axis *axis, char buf[SG_LABEL_TEXT])
{
    const char *label = axis->label ? axis->label : "";
    if (axis->unit)
        snprintf(buf, SG_LABEL_TEXT, "%s (%s)", label, axis->unit);
    else
        snprintf(buf, SG_LABEL_TEXT, "%s", label);
    return buf;
}
