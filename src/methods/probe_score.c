/* How well a probe reads. Everything is counted once: by task and class, by position, by episode. Rates follow from the
 * counts, and their intervals from those of the episodes. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/probe_internal.h"
#include "sightglass/bootstrap.h"

sg_score_opts sg_score_defaults(void)
{
    return (sg_score_opts){.n_resamples = 1000};
}

typedef struct counts {
    double *said, *is, *both; /* [S,C] labels that were read as a class, that are of it, and both */
    double *asked, *right;    /* [positions], of what is hard */
} counts;

/* The struct leads an arena that holds the rest. */
typedef struct owned {
    sg_probe_score face;
    sg_arena *arena;
} owned;

static sg_dim n_episodes(const sg_store_row *rows, sg_dim n)
{
    sg_dim episodes = n > 0;
    for (sg_dim r = 1; r < n; r++)
        episodes += rows[r].episode != rows[r - 1].episode;
    return episodes;
}

static bool take_room(owned *o, counts *c)
{
    sg_probe_score *s = &o->face;
    const size_t tasks = (size_t)s->n_tasks, cells = tasks * (size_t)s->n_classes;
    double **const of_tasks[] = {&s->by_task, &s->hard_by_task}, **const of_classes[] = {&s->recall, &s->precision};
    double **const of_cells[] = {&c->said, &c->is, &c->both};
    double **const of_positions[] = {&s->hard_by_position, &c->asked, &c->right};
    double **const of_episodes[] = {&s->asked, &s->right, &s->hard_asked, &s->hard_right};
    const struct {
        double **const *list;
        size_t n, each;
    } all[] = {{of_tasks, SG_COUNT_OF(of_tasks), tasks},
               {of_classes, SG_COUNT_OF(of_classes), (size_t)s->n_classes},
               {of_cells, SG_COUNT_OF(of_cells), cells},
               {of_positions, SG_COUNT_OF(of_positions), (size_t)s->n_positions},
               {of_episodes, SG_COUNT_OF(of_episodes), (size_t)s->n_episodes}};
    for (size_t i = 0; i < SG_COUNT_OF(all); i++)
        for (size_t k = 0; k < all[i].n; k++) {
            *all[i].list[k] = sg_arena_array(o->arena, all[i].each, sizeof(double));
            if (!*all[i].list[k])
                return false;
        }
    return true;
}

static void count(sg_probe_score *s, counts *c, const int32_t *read, const int32_t *label, const sg_store_row *rows,
                  int trivial)
{
    sg_dim episode = 0;
    for (sg_dim r = 0; r < s->n_rows; r++) {
        episode += r > 0 && rows[r].episode != rows[r - 1].episode;
        for (sg_dim t = 0; t < s->n_tasks; t++) {
            const int32_t is = label[r * s->n_tasks + t], said = read[r * s->n_tasks + t];
            if (is < 0)
                continue;
            const bool right = said == is, hard = is != trivial;
            c->is[t * s->n_classes + is]++;
            c->said[t * s->n_classes + said]++;
            c->both[t * s->n_classes + is] += right;
            s->asked[episode]++;
            s->right[episode] += right;
            s->hard_asked[episode] += hard;
            s->hard_right[episode] += hard && right;
            c->asked[rows[r].position] += hard;
            c->right[rows[r].position] += hard && right;
        }
    }
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : (double)NAN;
}

static void rates_of_tasks(sg_probe_score *s, const counts *c, int trivial)
{
    double f1 = 0;
    int n = 0;
    for (sg_dim t = 0; t < s->n_tasks; t++) {
        double is = 0, right = 0, hard = 0, hard_right = 0;
        for (int k = 0; k < s->n_classes; k++) {
            const sg_dim at = t * s->n_classes + k;
            is += c->is[at];
            right += c->both[at];
            hard += k != trivial ? c->is[at] : 0;
            hard_right += k != trivial ? c->both[at] : 0;
            if (c->is[at] > 0) {
                f1 += 2 * c->both[at] / (c->is[at] + c->said[at]);
                n++;
            } else {
                s->n_absent++;
            }
        }
        s->by_task[t] = share(right, is);
        s->hard_by_task[t] = share(hard_right, hard);
    }
    s->macro_f1 = share(f1, n);
    for (int k = 0; k < s->n_classes; k++) {
        double is = 0, said = 0, both = 0;
        for (sg_dim t = 0; t < s->n_tasks; t++) {
            is += c->is[t * s->n_classes + k];
            said += c->said[t * s->n_classes + k];
            both += c->both[t * s->n_classes + k];
        }
        s->recall[k] = share(both, is);
        s->precision[k] = share(both, said);
    }
    for (int p = 0; p < s->n_positions; p++)
        s->hard_by_position[p] = share(c->right[p], c->asked[p]);
}

static sg_status rate(sg_rate *out, sg_dim n, const double *right, const double *asked, const sg_score_opts *opts,
                      sg_error *err)
{
    double parts = 0, wholes = 0;
    for (sg_dim i = 0; i < n; i++) {
        parts += right[i];
        wholes += asked[i];
    }
    sg_bootstrap_opts how = sg_bootstrap_defaults();
    sg_interval within;
    how.n_resamples = opts->n_resamples;
    how.seed = opts->seed;
    SG_TRY(sg_bootstrap_ratio(&within, n, right, asked, how, err));
    *out = (sg_rate){share(parts, wholes), within.low, within.high, (sg_dim)wholes};
    return SG_OK;
}

static sg_status fill(owned *o, const sg_probe *p, const sg_tensor *acts, const sg_tensor *labels,
                      const sg_store_row *rows, const sg_score_opts *opts, sg_error *err)
{
    sg_probe_score *s = &o->face;
    counts c;
    size_t bytes;
    for (sg_dim r = 0; r < s->n_rows; r++)
        s->n_positions = SG_MAX(s->n_positions, rows[r].position + 1);
    s->n_episodes = n_episodes(rows, s->n_rows);
    const bool fits = sg_bytes(s->n_rows, (size_t)s->n_tasks * sizeof(int32_t), &bytes) == SG_OK;
    int32_t *read = fits && take_room(o, &c) ? malloc(SG_MAX(bytes, 1)) : NULL;
    if (!read)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory for %" PRId64 " rows", s->n_rows);
    sg_status status = sg_probe_read(p, acts, read, err);
    if (status == SG_OK) {
        count(s, &c, read, labels->data, rows, opts->trivial);
        rates_of_tasks(s, &c, opts->trivial);
        status = rate(&s->all, s->n_episodes, s->right, s->asked, opts, err);
    }
    if (status == SG_OK)
        status = rate(&s->hard, s->n_episodes, s->hard_right, s->hard_asked, opts, err);
    free(read);
    return status;
}

static sg_status check(const sg_probe *p, const sg_tensor *acts, const sg_tensor *labels, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (labels->dtype != SG_I32 || labels->n_dims != 2 || acts->n_dims != 2 || labels->dims[0] != acts->dims[0] ||
        labels->dims[1] != p->tasks)
        return sg_fail(err, SG_ESHAPE,
                       "probe: acts are %s and labels %s %s, wanted as many rows of %" PRId64 " tasks i32",
                       sg_shape_text(one, acts->n_dims, acts->dims), sg_dtype_name(labels->dtype),
                       sg_shape_text(other, labels->n_dims, labels->dims), p->tasks);
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        if (((const int32_t *)labels->data)[i] >= p->classes)
            return sg_fail(err, SG_EARG, "probe: row %" PRId64 " has label %" PRId32 ", the probe has %d classes",
                           i / SG_MAX(p->tasks, 1), ((const int32_t *)labels->data)[i], p->classes);
    return SG_OK;
}

sg_status sg_probe_score_new(sg_probe_score **out, const sg_probe *p, const sg_tensor *acts, const sg_tensor *labels,
                             const sg_store_row *rows, sg_score_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(p, acts, labels, err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    }
    o->arena = arena;
    o->face = (sg_probe_score){.n_tasks = p->tasks, .n_rows = acts->dims[0], .n_classes = p->classes};
    const sg_status status = fill(o, p, acts, labels, rows, &opts, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_probe_score_free(sg_probe_score *s)
{
    if (s)
        sg_arena_free(((owned *)s)->arena);
}
