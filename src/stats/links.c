/* Graphs of points: links by either end, shortest ways, parts, Laplacians; see neighbours.h. */
#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/neighbours.h"

static sg_status no_memory(sg_error *err, sg_dim n)
{
    return sg_fail(err, SG_ENOMEM, "links: out of memory for a graph of %lld points", (long long)n);
}

/* ---- making one ---- */

typedef struct half {
    int32_t from, to;
    sg_dim edge; /* its place among those given: the first of equal ones counts */
    double weight;
} half;

static int by_ends(const void *a, const void *b)
{
    const half *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return x->edge < y->edge ? -1 : x->edge > y->edge;
}

static sg_status fill(sg_links *links, half *halves, sg_dim n_halves, sg_error *err)
{
    const sg_dim n = links->n;
    links->first = calloc((size_t)n + 1, sizeof *links->first);
    links->to = malloc(sizeof *links->to * (size_t)SG_MAX(n_halves, 1));
    links->weight = malloc(sizeof *links->weight * (size_t)SG_MAX(n_halves, 1));
    if (!links->first || !links->to || !links->weight)
        return no_memory(err, n);
    qsort(halves, (size_t)n_halves, sizeof *halves, by_ends);
    sg_dim kept = 0;
    for (sg_dim i = 0; i < n_halves; i++) {
        if (i > 0 && halves[i].from == halves[i - 1].from && halves[i].to == halves[i - 1].to)
            continue;
        links->to[kept] = halves[i].to;
        links->weight[kept++] = halves[i].weight;
        links->first[halves[i].from + 1]++;
    }
    for (sg_dim i = 0; i < n; i++)
        links->first[i + 1] += links->first[i];
    links->n_links = kept / 2;
    return SG_OK;
}

sg_status sg_links_new(sg_links **out, sg_dim n, sg_dim n_edges, const int32_t *edges, const double *weights,
                       sg_error *err)
{
    *out = NULL;
    if (n < 0 || n > INT32_MAX || n_edges < 0)
        return sg_fail(err, SG_EARG, "links: %lld points and %lld edges", (long long)n, (long long)n_edges);
    for (sg_dim e = 0; e < n_edges; e++) {
        const int32_t a = edges[2 * e], b = edges[2 * e + 1];
        const double w = weights ? weights[e] : 1;
        if (a < 0 || b < 0 || a >= n || b >= n || a == b)
            return sg_fail(err, SG_EARG, "links: edge %lld is from %d to %d; ends are two of 0 to %lld", (long long)e,
                           a, b, (long long)n - 1);
        if (!(w >= 0) || !isfinite(w))
            return sg_fail(err, SG_EARG, "links: edge %lld weighs %g", (long long)e, w);
    }
    size_t room;
    if (sg_bytes(n_edges, 2 * sizeof(half), &room) != SG_OK)
        return no_memory(err, n);
    half *halves = malloc(room + 1);
    sg_links *links = calloc(1, sizeof *links);
    sg_status status = halves && links ? SG_OK : no_memory(err, n);
    if (status == SG_OK) {
        links->n = n;
        for (sg_dim e = 0; e < n_edges; e++) {
            const int32_t a = edges[2 * e], b = edges[2 * e + 1];
            const double w = weights ? weights[e] : 1;
            halves[2 * e] = (half){a, b, e, w};
            halves[2 * e + 1] = (half){b, a, e, w};
        }
        status = fill(links, halves, 2 * n_edges, err);
    }
    free(halves);
    if (status == SG_OK)
        *out = links;
    else
        sg_links_free(links);
    return status;
}

sg_status sg_links_of_neighbours(sg_links **out, const sg_neighbours *near, sg_error *err)
{
    *out = NULL;
    size_t room;
    if (sg_bytes(near->n, (size_t)near->k * 2 * sizeof(int32_t), &room) != SG_OK)
        return no_memory(err, near->n);
    int32_t *edges = malloc(room + 1);
    if (!edges)
        return no_memory(err, near->n);
    for (sg_dim i = 0; i < near->n * near->k; i++) {
        edges[2 * i] = (int32_t)(i / near->k);
        edges[2 * i + 1] = near->index[i];
    }
    const sg_status status = sg_links_new(out, near->n, near->n * near->k, edges, near->distance, err);
    free(edges);
    return status;
}

void sg_links_free(sg_links *links)
{
    if (!links)
        return;
    free(links->first);
    free(links->to);
    free(links->weight);
    free(links);
}

/* ---- shortest ways ---- */

/* Points still to be left, in a heap with the nearest on top; of equally near ones the lowest. */
typedef struct heap {
    int32_t *which;
    sg_dim *place; /* of each point in the heap; -1: not in it */
    const double *far;
    sg_dim n;
} heap;

static bool is_before(const heap *h, int32_t a, int32_t b)
{
    return h->far[a] < h->far[b] || (h->far[a] == h->far[b] && a < b);
}

static void put(heap *h, sg_dim i, int32_t which)
{
    h->which[i] = which;
    h->place[which] = i;
}

static void rise(heap *h, int32_t which)
{
    sg_dim i = h->place[which];
    for (; i > 0 && is_before(h, which, h->which[(i - 1) / 2]); i = (i - 1) / 2)
        put(h, i, h->which[(i - 1) / 2]);
    put(h, i, which);
}

static int32_t take(heap *h)
{
    const int32_t top = h->which[0], last = h->which[--h->n];
    h->place[top] = -1;
    if (h->n == 0)
        return top;
    sg_dim i = 0;
    for (sg_dim child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && is_before(h, h->which[child + 1], h->which[child]))
            child++;
        if (!is_before(h, h->which[child], last))
            break;
        put(h, i, h->which[child]);
    }
    put(h, i, last);
    return top;
}

sg_status sg_links_paths(double *distance, int32_t *before, const sg_links *links, sg_dim from, sg_error *err)
{
    const sg_dim n = links->n;
    if (from < 0 || from >= n)
        return sg_fail(err, SG_EARG, "links: no point %lld among %lld", (long long)from, (long long)n);
    heap h = {malloc(sizeof *h.which * (size_t)n), malloc(sizeof *h.place * (size_t)n), distance, 0};
    const sg_status status = h.which && h.place ? SG_OK : no_memory(err, n);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        distance[i] = (double)INFINITY;
        h.place[i] = -1;
        if (before)
            before[i] = -1;
    }
    if (status == SG_OK) {
        distance[from] = 0;
        put(&h, h.n++, (int32_t)from);
    }
    while (status == SG_OK && h.n > 0) {
        const int32_t at = take(&h);
        for (sg_dim l = links->first[at]; l < links->first[at + 1]; l++) {
            const int32_t to = links->to[l];
            const double far = distance[at] + links->weight[l];
            if (!(far < distance[to]))
                continue;
            distance[to] = far;
            if (before)
                before[to] = at;
            if (h.place[to] < 0)
                put(&h, h.n++, to);
            rise(&h, to);
        }
    }
    free(h.which);
    free(h.place);
    return status;
}

sg_status sg_links_parts(int32_t *part, sg_dim *n_parts, const sg_links *links, sg_error *err)
{
    *n_parts = 0;
    int32_t *stack = malloc(sizeof *stack * (size_t)SG_MAX(links->n, 1));
    if (!stack)
        return no_memory(err, links->n);
    for (sg_dim i = 0; i < links->n; i++)
        part[i] = -1;
    for (sg_dim i = 0; i < links->n; i++) {
        if (part[i] >= 0)
            continue;
        sg_dim n = 0;
        part[i] = (int32_t)*n_parts;
        for (stack[n++] = (int32_t)i; n > 0;) {
            const int32_t at = stack[--n];
            for (sg_dim l = links->first[at]; l < links->first[at + 1]; l++)
                if (part[links->to[l]] < 0) {
                    part[links->to[l]] = (int32_t)*n_parts;
                    stack[n++] = links->to[l];
                }
        }
        ++*n_parts;
    }
    free(stack);
    return SG_OK;
}

sg_status sg_links_laplacian(const sg_tensor *to, const sg_links *links, bool normalised, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const sg_dim n = links->n;
    if (to->dtype != SG_F64 || to->n_dims != 2 || to->dims[0] != n || to->dims[1] != n)
        return sg_fail(err, SG_ESHAPE, "links: a Laplacian of %lld points does not go into %s %s", (long long)n,
                       sg_dtype_name(to->dtype), sg_shape_text(shape, to->n_dims, to->dims));
    double *cells = to->data;
    for (sg_dim i = 0; i < n * n; i++)
        cells[i] = 0;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim l = links->first[i]; l < links->first[i + 1]; l++)
            cells[i * n + i] += links->weight[l];
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim l = links->first[i]; l < links->first[i + 1]; l++) {
            const sg_dim j = links->to[l];
            const double scale = normalised ? sqrt(cells[i * n + i]) * sqrt(cells[j * n + j]) : 1;
            cells[i * n + j] = scale > 0 ? -links->weight[l] / scale : 0;
        }
    for (sg_dim i = 0; normalised && i < n; i++)
        cells[i * n + i] = cells[i * n + i] > 0;
    return SG_OK;
}
