/* Symbolic extents: polynomials in a graph's symbols, in canonical form and interned, so that two extents are
 * equal exactly when their sg_dim are. Numbers >= 0 stand for themselves. */
#include <stdlib.h>
#include <string.h>

#include "graph/graph_internal.h"

/* Room for a product of two polynomials of the sizes that occur (batch * time, past + time). */
#define MAX_TERMS 32

bool sg_dim_is_const(sg_dim d)
{
    return d >= 0;
}

static int compare_powers(const void *a, const void *b)
{
    return memcmp(((const sg_term *)a)->power, ((const sg_term *)b)->power, SG_MAX_SYMBOLS);
}

static sg_dim too_large(sg_graph *g)
{
    sg_graph_fail(g, SG_ESHAPE, "an extent is larger than 63 bits hold");
    return 1;
}

/* Sorts, merges and interns; terms is scratch of the caller. */
static sg_dim intern(sg_graph *g, sg_term *terms, int n)
{
    static const uint8_t none[SG_MAX_SYMBOLS] = {0};
    int m = 0;

    qsort(terms, (size_t)n, sizeof terms[0], compare_powers);
    for (int i = 0; i < n; i++) {
        if (m == 0 || compare_powers(&terms[m - 1], &terms[i]) != 0)
            terms[m++] = terms[i];
        else if (__builtin_add_overflow(terms[m - 1].coef, terms[i].coef, &terms[m - 1].coef))
            return too_large(g);
        if (terms[m - 1].coef == 0)
            m--;
    }
    if (m == 0)
        return 0;
    if (m == 1 && memcmp(terms[0].power, none, sizeof none) == 0) {
        if (terms[0].coef < 0) {
            sg_graph_fail(g, SG_ESHAPE, "an extent would be %lld", (long long)terms[0].coef);
            return 0;
        }
        return terms[0].coef;
    }
    for (int k = 0; k < g->n_polys; k++)
        if (g->polys[k].n == m && memcmp(g->polys[k].terms, terms, (size_t)m * sizeof terms[0]) == 0)
            return -1 - k;

    void *array = g->polys;
    const bool grown = sg_graph_grow(&array, g->n_polys, &g->polys_capacity, sizeof g->polys[0]);
    g->polys = array;
    sg_term *kept = grown ? sg_arena_array(g->arena, (size_t)m, sizeof *kept) : NULL;
    if (!kept) {
        sg_graph_fail(g, SG_ENOMEM, "out of memory for an extent");
        return 0;
    }
    memcpy(kept, terms, (size_t)m * sizeof *kept);
    g->polys[g->n_polys] = (sg_poly){m, kept};
    return -1 - g->n_polys++;
}

/* The terms of d in `terms`; returns how many. */
static int terms_of(const sg_graph *g, sg_dim d, sg_term *terms)
{
    if (d >= 0) {
        memset(&terms[0], 0, sizeof terms[0]);
        terms[0].coef = d;
        return d == 0 ? 0 : 1;
    }
    const sg_poly *p = &g->polys[-1 - d];
    memcpy(terms, p->terms, (size_t)p->n * sizeof *terms);
    return p->n;
}

static bool valid(sg_graph *g, sg_dim d)
{
    if (d >= 0 || -1 - d < g->n_polys)
        return true;
    sg_graph_fail(g, SG_ESHAPE, "%lld is neither an extent nor a symbol of this graph", (long long)d);
    return false;
}

sg_dim sg_extent(sg_graph *g, const char *symbol)
{
    sg_term term = {.coef = 1};
    int at = sg_graph_symbol_index(g, symbol);

    if (at < 0) {
        if (g->n_symbols == SG_MAX_SYMBOLS) {
            sg_graph_fail(g, SG_EARG, "extent %s: a graph has at most %d symbols", symbol, SG_MAX_SYMBOLS);
            return 1;
        }
        const char *name = sg_arena_strdup(g->arena, symbol);
        if (!name) {
            sg_graph_fail(g, SG_ENOMEM, "out of memory for extent %s", symbol);
            return 1;
        }
        at = g->n_symbols++;
        g->symbols[at] = name;
    }
    term.power[at] = 1;
    return intern(g, &term, 1);
}

static sg_dim combine(sg_graph *g, sg_dim a, sg_dim b, int64_t sign)
{
    sg_term terms[2 * MAX_TERMS];

    if (!valid(g, a) || !valid(g, b))
        return 1;
    const int n = terms_of(g, a, terms);
    const int m = terms_of(g, b, terms + n);
    if (n + m > MAX_TERMS) {
        sg_graph_fail(g, SG_ESHAPE, "an extent has more than %d terms", MAX_TERMS);
        return 1;
    }
    for (int i = 0; i < m; i++)
        if (__builtin_mul_overflow(terms[n + i].coef, sign, &terms[n + i].coef))
            return too_large(g);
    return intern(g, terms, n + m);
}

sg_dim sg_dim_add(sg_graph *g, sg_dim a, sg_dim b)
{
    return combine(g, a, b, 1);
}

sg_dim sg_dim_sub(sg_graph *g, sg_dim a, sg_dim b)
{
    return combine(g, a, b, -1);
}

sg_dim sg_dim_mul(sg_graph *g, sg_dim a, sg_dim b)
{
    sg_term left[MAX_TERMS], right[MAX_TERMS], terms[MAX_TERMS * 2];

    if (!valid(g, a) || !valid(g, b))
        return 1;
    const int n = terms_of(g, a, left), m = terms_of(g, b, right);
    if (n * m > MAX_TERMS) {
        sg_graph_fail(g, SG_ESHAPE, "an extent has more than %d terms", MAX_TERMS);
        return 1;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            sg_term *t = &terms[i * m + j];
            if (__builtin_mul_overflow(left[i].coef, right[j].coef, &t->coef))
                return too_large(g);
            for (int s = 0; s < SG_MAX_SYMBOLS; s++)
                if (__builtin_add_overflow(left[i].power[s], right[j].power[s], &t->power[s])) {
                    sg_graph_fail(g, SG_ESHAPE, "an extent has a higher power of %s than %d", g->symbols[s], UINT8_MAX);
                    return 1;
                }
        }
    return intern(g, terms, n * m);
}

sg_dim sg_dims_product(sg_graph *g, int n_dims, const sg_dim *dims)
{
    sg_dim product = 1;

    for (int k = 0; k < n_dims; k++)
        product = sg_dim_mul(g, product, dims[k]);
    return product;
}

const char *sg_dim_text(const sg_graph *g, sg_dim d, char buf[SG_SHAPE_TEXT])
{
    size_t at = 0;

    buf[0] = 0;
    if (d >= 0) {
        snprintf(buf, SG_SHAPE_TEXT, "%lld", (long long)d);
        return buf;
    }
    if (-1 - d >= g->n_polys)
        return strcpy(buf, "?");
    const sg_poly *p = &g->polys[-1 - d];
    /* Highest powers last in canonical order, but people write the constant last: walk backwards. */
    for (int t = p->n - 1; t >= 0 && at < SG_SHAPE_TEXT - 1; t--) {
        const sg_term *term = &p->terms[t];
        const char *plus = term->coef < 0 ? "-" : at ? "+" : "";
        const long long size = llabs((long long)term->coef);
        bool any = false;
        for (int s = 0; s < SG_MAX_SYMBOLS; s++)
            any |= term->power[s] != 0;
        at += (size_t)snprintf(buf + at, SG_SHAPE_TEXT - at, "%s", plus);
        if (at < SG_SHAPE_TEXT && (size != 1 || !any))
            at += (size_t)snprintf(buf + at, SG_SHAPE_TEXT - at, "%lld%s", size, any ? "*" : "");
        bool first = true;
        for (int s = 0; s < SG_MAX_SYMBOLS; s++)
            for (int k = 0; k < term->power[s] && at < SG_SHAPE_TEXT; k++) {
                at += (size_t)snprintf(buf + at, SG_SHAPE_TEXT - at, "%s%s", first ? "" : "*", g->symbols[s]);
                first = false;
            }
    }
    return buf;
}

/* ---- for the planner ---- */

int sg_graph_n_symbols(const sg_graph *g)
{
    return g->n_symbols;
}

const char *sg_graph_symbol(const sg_graph *g, int i)
{
    return g->symbols[i];
}

int sg_graph_symbol_index(const sg_graph *g, const char *name)
{
    for (int i = 0; i < g->n_symbols; i++)
        if (strcmp(g->symbols[i], name) == 0)
            return i;
    return -1;
}

/* Saturates instead of overflowing: byte counts are checked where memory is laid out. */
static int64_t times(int64_t a, int64_t b)
{
    int64_t c;

    return __builtin_mul_overflow(a, b, &c) ? INT64_MAX / 4 : c;
}

int64_t sg_dim_eval(const sg_graph *g, sg_dim d, const int64_t *values)
{
    int64_t sum = 0;

    if (d >= 0)
        return d;
    const sg_poly *p = &g->polys[-1 - d];
    for (int t = 0; t < p->n; t++) {
        int64_t product = p->terms[t].coef;
        for (int s = 0; s < g->n_symbols; s++)
            for (int k = 0; k < p->terms[t].power[s]; k++)
                product = times(product, values[s]);
        if (__builtin_add_overflow(sum, product, &sum))
            return INT64_MAX / 4;
    }
    return sum;
}

int sg_dim_symbol(const sg_graph *g, sg_dim d)
{
    if (d >= 0)
        return -1;
    const sg_poly *p = &g->polys[-1 - d];
    if (p->n != 1 || p->terms[0].coef != 1)
        return -1;
    int found = -1;
    for (int s = 0; s < SG_MAX_SYMBOLS; s++) {
        if (p->terms[0].power[s] > 1 || (p->terms[0].power[s] == 1 && found >= 0))
            return -1;
        if (p->terms[0].power[s] == 1)
            found = s;
    }
    return found;
}

unsigned sg_dim_symbols(const sg_graph *g, sg_dim d)
{
    unsigned bits = 0;

    if (d >= 0)
        return 0;
    const sg_poly *p = &g->polys[-1 - d];
    for (int t = 0; t < p->n; t++)
        for (int s = 0; s < SG_MAX_SYMBOLS; s++)
            if (p->terms[t].power[s])
                bits |= 1u << s;
    return bits;
}
