/* The Hungarian method. Rows are taken one by one; each is given a column along the cheapest path of columns that are
 * handed on, measured in costs reduced by potentials, which stay >= 0 for all pairs and 0 for those that are made. The
 * shorter side is what is taken one by one, so that every one of it finds a partner. */
#include "sightglass/assignment.h"

#include <inttypes.h>
#include <math.h>

#include "base/base.h"

typedef struct search {
    const sg_tensor *worth;
    bool turned; /* columns of worth are our rows */
    double sign;
    sg_dim n, m;        /* n <= m */
    double *u, *v;      /* potentials [n+1], [m+1]; index 0 stands for nothing */
    double *least;      /* [m+1] cost of the cheapest path to a column */
    sg_dim *row, *from; /* [m+1] which row has the column; which column comes before it on the path */
    bool *done;         /* [m+1] */
} search;

static double cost(const search *s, sg_dim i, sg_dim j)
{
    return s->sign * sg_tensor_get(s->worth, s->turned ? j * s->n + i : i * s->m + j);
}

/* Row i, counted from 1, finds its column. */
static void augment(search *s, sg_dim i)
{
    sg_dim at = 0;

    s->row[0] = i;
    for (sg_dim j = 0; j <= s->m; j++) {
        s->least[j] = (double)INFINITY;
        s->done[j] = false;
    }
    do {
        const sg_dim row = s->row[at];
        double delta = (double)INFINITY;
        sg_dim next = 0;
        s->done[at] = true;
        for (sg_dim j = 1; j <= s->m; j++) {
            if (s->done[j])
                continue;
            const double reduced = cost(s, row - 1, j - 1) - s->u[row] - s->v[j];
            if (reduced < s->least[j]) {
                s->least[j] = reduced;
                s->from[j] = at;
            }
            if (s->least[j] < delta) {
                delta = s->least[j];
                next = j;
            }
        }
        for (sg_dim j = 0; j <= s->m; j++) {
            if (s->done[j]) {
                s->u[s->row[j]] += delta;
                s->v[j] -= delta;
            } else {
                s->least[j] -= delta;
            }
        }
        at = next;
    } while (s->row[at]);
    for (; at; at = s->from[at])
        s->row[at] = s->row[s->from[at]];
}

static sg_status check(const sg_tensor *worth, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];

    if (worth->dtype != SG_F32 && worth->dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "assignment: worth is %s, f32 or f64 was wanted", sg_dtype_name(worth->dtype));
    if (worth->n_dims != 2 || worth->dims[0] > INT32_MAX || worth->dims[1] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "assignment: worth is %s, a matrix was wanted",
                       sg_shape_text(shape, worth->n_dims, worth->dims));
    for (sg_dim i = 0; i < sg_tensor_count(worth); i++)
        if (!isfinite(sg_tensor_get(worth, i)))
            return sg_fail(err, SG_ENUMERIC, "assignment: worth[%" PRId64 ",%" PRId64 "] is %g", i / worth->dims[1],
                           i % worth->dims[1], sg_tensor_get(worth, i));
    return SG_OK;
}

sg_status sg_assignment(int32_t *column_of, double *total, const sg_tensor *worth, sg_assignment_sense sense,
                        sg_error *err)
{
    SG_TRY(check(worth, err));
    const sg_dim rows = worth->dims[0], columns = worth->dims[1];
    search s = {.worth = worth, .turned = rows > columns, .sign = sense == SG_GREATEST ? -1 : 1};
    s.n = SG_MIN(rows, columns);
    s.m = SG_MAX(rows, columns);
    sg_arena *arena = sg_arena_new();
    const size_t n = (size_t)s.n + 1, m = (size_t)s.m + 1;
    if (arena) {
        s.u = sg_arena_array(arena, n, sizeof *s.u);
        s.v = sg_arena_array(arena, m, sizeof *s.v);
        s.least = sg_arena_array(arena, m, sizeof *s.least);
        s.row = sg_arena_array(arena, m, sizeof *s.row);
        s.from = sg_arena_array(arena, m, sizeof *s.from);
        s.done = sg_arena_array(arena, m, sizeof *s.done);
    }
    if (!s.u || !s.v || !s.least || !s.row || !s.from || !s.done) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "assignment: out of memory");
    }
    for (sg_dim i = 1; i <= s.n; i++)
        augment(&s, i);
    double sum = 0;
    for (sg_dim i = 0; i < rows; i++)
        column_of[i] = -1;
    for (sg_dim j = 1; j <= s.m; j++)
        if (s.row[j]) {
            const sg_dim row = s.turned ? j - 1 : s.row[j] - 1, column = s.turned ? s.row[j] - 1 : j - 1;
            column_of[row] = (int32_t)column;
            sum += sg_tensor_get(worth, row * columns + column);
        }
    if (total)
        *total = sum;
    sg_arena_free(arena);
    return SG_OK;
}
