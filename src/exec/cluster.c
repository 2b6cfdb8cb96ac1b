/* Which values are computed together.
 *
 * Going through the values in order, each joins a cluster of one of its inputs (or of another reader of them) if it
 * fits and no way leads from the cluster through another step back into it. What every step depends on is kept as a set
 * of bits. */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"

#define LEAST_NUMBERS 4096 /* below, a step costs less than what putting it together saves */
#define MOST_MEMBERS  40
#define MOST_VALUES   8192 /* the sets of bits are n x n */

typedef struct search {
    sg_planner *pl;
    int n, words;
    uint64_t *depends; /* n sets: for the first member of a cluster, and for every value in none */
    int *beside;       /* by value: a cluster that reads it, -1 */
} search;

bool sg_plan_is(const sg_planner *pl, int a, const sg_op *op)
{
    const sg_plan_value *x = &pl->p->values[a];

    return x->home == SG_HOME_BLOCK && !x->varies && x->v->op == op && x->view.dtype == SG_F32 && pl->cluster_of[a] < 0;
}

bool sg_plan_only_renamed(const sg_planner *pl, int a, int i)
{
    const sg_plan_value *in = &pl->p->values[sg_plan_input(pl, &pl->p->values[a], i)];

    return sg_view_is_contiguous(&in->view) && sg_view_count(&in->view) == sg_view_count(&pl->p->values[in->root].view);
}

static int unit_of(const sg_planner *pl, int a)
{
    return pl->cluster_of[a] < 0 ? a : pl->clusters[pl->cluster_of[a]].members[0];
}

static bool computed_in_step(const sg_plan_value *x)
{
    return x->home == SG_HOME_BLOCK;
}

static uint64_t *set_of(const search *s, int unit)
{
    return s->depends + (size_t)unit * (size_t)s->words;
}

static bool has(const uint64_t *set, int bit)
{
    return set[bit / 64] >> (bit % 64) & 1;
}

static void join_sets(const search *s, uint64_t *to, const uint64_t *from)
{
    for (int w = 0; w < s->words; w++)
        to[w] |= from[w];
}

/* Adds what value a's inputs need to `set`, leaving out `self`. */
static void add_inputs(const search *s, int a, int self, uint64_t *set)
{
    const sg_plan_value *x = &s->pl->p->values[a];

    for (int i = 0; i < x->v->n_in; i++) {
        const int from = sg_plan_version(s->pl, sg_plan_input(s->pl, x, i)), unit = unit_of(s->pl, from);
        if (!computed_in_step(&s->pl->p->values[from]) || unit == self)
            continue;
        join_sets(s, set, set_of(s, unit));
        set[unit / 64] |= (uint64_t)1 << (unit % 64);
    }
}

/* Whether a reaches the cluster only directly. */
static bool stays_acyclic(const search *s, int a, int c)
{
    const int self = s->pl->clusters[c].members[0];
    const sg_plan_value *x = &s->pl->p->values[a];

    for (int i = 0; i < x->v->n_in; i++) {
        const int from = sg_plan_version(s->pl, sg_plan_input(s->pl, x, i)), unit = unit_of(s->pl, from);
        if (computed_in_step(&s->pl->p->values[from]) && unit != self && has(set_of(s, unit), self))
            return false;
    }
    return true;
}

int sg_cluster_new(sg_planner *pl, sg_cluster_prepare prepare, const char *op)
{
    if (pl->n_clusters == pl->clusters_capacity) {
        const int capacity = pl->clusters_capacity ? pl->clusters_capacity * 2 : 32;
        sg_cluster *more = realloc(pl->clusters, (size_t)capacity * sizeof *more);
        if (!more)
            return -1;
        pl->clusters = more;
        pl->clusters_capacity = capacity;
    }
    pl->clusters[pl->n_clusters] = (sg_cluster){.prepare = prepare, .op = op, .recomputes = -1};
    return pl->n_clusters++;
}

bool sg_cluster_add(sg_planner *pl, int c, int a)
{
    sg_cluster *cluster = &pl->clusters[c];

    if (cluster->n == cluster->capacity) {
        const int capacity = cluster->capacity ? cluster->capacity * 2 : 4;
        int *more = realloc(cluster->members, (size_t)capacity * sizeof *more);
        if (!more)
            return false;
        cluster->members = more;
        cluster->capacity = capacity;
    }
    cluster->members[cluster->n++] = a;
    pl->cluster_of[a] = c;
    return true;
}

/* a goes into cluster c, and whoever depends on c now depends on what a does. */
static bool join(search *s, int a, int c)
{
    sg_planner *pl = s->pl;

    if (!sg_cluster_add(pl, c, a))
        return false;
    const int self = pl->clusters[c].members[0];
    uint64_t *set = set_of(s, self);
    add_inputs(s, a, self, set);
    for (int v = 0; v < a; v++)
        if (v != self && unit_of(pl, v) == v && has(set_of(s, v), self))
            join_sets(s, set_of(s, v), set);
    return true;
}

/* The cluster that a may join, or -1. */
static int find(const search *s, int a)
{
    const sg_planner *pl = s->pl;
    const sg_plan_value *x = &pl->p->values[a];

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < x->v->n_in; i++) {
            const int root = pl->p->values[sg_plan_input(pl, x, i)].root;
            const int c = pass == 0 ? pl->cluster_of[root] : s->beside[root];
            if (c < 0 || pl->clusters[c].prepare != sg_rows_prepare || pl->clusters[c].n >= MOST_MEMBERS)
                continue;
            const sg_value *first = pl->p->values[pl->clusters[c].members[0]].v;
            if (!sg_plan_together(pl->p, first, x->v))
                continue;
            /* What a gradient makes of a value of the forward pass is made when it is wanted, not kept until then. */
            if (pass == 1 && sg_plan_is_gradient(first) != sg_plan_is_gradient(x->v))
                continue;
            if (sg_rows_fit(pl, a, c, pl->clusters[c].rows, pl->clusters[c].columns) && stays_acyclic(s, a, c))
                return c;
        }
    return -1;
}

static sg_status no_memory(sg_planner *pl)
{
    return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan of %d values", pl->p->n_values);
}

static sg_status find_rows(search *s)
{
    sg_planner *pl = s->pl;
    const sg_plan *p = pl->p;

    for (int a = 0; a < s->n; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!computed_in_step(x))
            continue;
        int c = pl->cluster_of[a] >= 0 || x->v->op->rows == SG_ROWS_NO ? -1 : find(s, a);
        if (c >= 0) {
            if (!join(s, a, c))
                return no_memory(pl);
        } else {
            add_inputs(s, a, unit_of(pl, a), set_of(s, unit_of(pl, a)));
            const bool reduces = x->v->op->rows == SG_ROWS_AXIS || x->v->op->rows == SG_ROWS_AXES;
            const sg_view *domain = reduces ? &p->values[sg_plan_input(pl, x, 0)].view : &x->view;
            const sg_dim columns = domain->n_dims ? domain->dims[domain->n_dims - 1] : 1;
            const sg_dim count = sg_view_count(domain);
            if (pl->cluster_of[a] < 0 && columns > 1 && count >= LEAST_NUMBERS && !sg_rows_is_tail(pl, a) &&
                sg_rows_fit(pl, a, -1, count / columns, columns)) {
                c = sg_cluster_new(pl, sg_rows_prepare, "rows");
                if (c < 0 || !sg_cluster_add(pl, c, a))
                    return no_memory(pl);
                pl->clusters[c].rows = count / columns;
                pl->clusters[c].columns = columns;
            }
        }
        for (int i = 0; i < x->v->n_in && c >= 0; i++)
            s->beside[p->values[sg_plan_input(pl, x, i)].root] = c;
    }
    return SG_OK;
}

/* How often each value is read, or fetched, as it is or through a view. */
static int *count_readers(const sg_planner *pl)
{
    const sg_plan *p = pl->p;
    int *readers = calloc((size_t)SG_MAX(p->n_values, 1), sizeof *readers);

    for (int a = 0; a < p->n_values && readers; a++)
        for (int i = 0; i < p->values[a].v->n_in && computed_in_step(&p->values[a]); i++)
            readers[sg_plan_version(pl, sg_plan_input(pl, &p->values[a], i))]++;
    for (int i = 0; i < p->n_fetches && readers; i++)
        readers[sg_plan_version(pl, p->fetches[i])] += 2; /* never the only reader of its value */
    return readers;
}

/* Clusters of one are none; who is read from outside keeps a place of its own. */
static void settle(sg_planner *pl)
{
    sg_plan *p = pl->p;

    for (int c = 0; c < pl->n_clusters; c++)
        if (pl->clusters[c].n == 1)
            pl->cluster_of[pl->clusters[c].members[0]] = -1;
    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!computed_in_step(x))
            continue;
        for (int i = 0; i < x->v->n_in; i++) {
            const int from = sg_plan_version(pl, sg_plan_input(pl, x, i));
            const int own = pl->cluster_of[a];
            if ((pl->cluster_of[from] < 0 || pl->cluster_of[from] != own) &&
                (own < 0 || pl->clusters[own].recomputes != from))
                pl->outside[from] = true;
        }
    }
    for (int i = 0; i < p->n_fetches; i++)
        pl->outside[sg_plan_version(pl, p->fetches[i])] = true;
    for (int a = 0; a < p->n_values; a++)
        if (pl->cluster_of[a] >= 0 && !pl->outside[a])
            p->values[a].home = SG_HOME_INSIDE;
}

sg_status sg_cluster_values(sg_planner *pl)
{
    const int n = pl->p->n_values;
    search s = {.pl = pl, .n = n, .words = (n + 63) / 64};
    sg_status status = SG_OK;

    pl->cluster_of = malloc((size_t)SG_MAX(n, 1) * sizeof *pl->cluster_of);
    pl->outside = calloc((size_t)SG_MAX(n, 1), sizeof *pl->outside);
    if (!pl->cluster_of || !pl->outside)
        return no_memory(pl);
    for (int a = 0; a < n; a++)
        pl->cluster_of[a] = -1;
    if (!pl->p->opts.fuse || n > MOST_VALUES)
        return SG_OK;
    s.depends = calloc((size_t)SG_MAX(n, 1) * (size_t)s.words, sizeof *s.depends);
    s.beside = malloc((size_t)SG_MAX(n, 1) * sizeof *s.beside);
    int *readers = count_readers(pl);
    if (!s.depends || !s.beside || !readers) {
        status = no_memory(pl);
    } else {
        memset(s.beside, -1, (size_t)n * sizeof *s.beside);
        status = sg_attention_find(pl, readers);
        if (status == SG_OK)
            status = sg_linear_find(pl, readers);
        if (status == SG_OK)
            status = find_rows(&s);
    }
    free(s.depends);
    free(s.beside);
    free(readers);
    if (status == SG_OK)
        settle(pl);
    return status;
}

void sg_clusters_forget(sg_planner *pl)
{
    sg_plan *p = pl->p;

    for (int a = 0; a < p->n_values; a++) {
        pl->cluster_of[a] = -1;
        if (p->values[a].home == SG_HOME_INSIDE)
            p->values[a].home = SG_HOME_BLOCK;
    }
}

void sg_clusters_free(sg_planner *pl)
{
    for (int c = 0; c < pl->n_clusters; c++)
        free(pl->clusters[c].members);
    free(pl->clusters);
    free(pl->cluster_of);
    free(pl->outside);
    pl->clusters = NULL;
    pl->cluster_of = NULL;
    pl->outside = NULL;
    pl->n_clusters = pl->clusters_capacity = 0;
}
