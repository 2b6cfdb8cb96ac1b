/* An order of steps in which values that gradients need live shortly.
 *
 * The order in which the graph was built has the forward pass, then the backward pass from its end to its beginning,
 * each layer's gradients side by side: values are let go as soon as a layer is done. What is made of gradients outside
 * the gradients' scope (norms, sums over batches, stores into variables) comes as soon as it can, so that they are let
 * go too. Copies of the forward pass (recompute.c) come as late as they can: just before the first step that reads
 * them. */
#include <stdlib.h>

#include "exec/planner.h"

typedef struct queue { /* a heap: the least key first, of equal ones the least unit */
    int n, *units;
    const int *key;
} queue;

static bool before(const queue *q, int a, int b)
{
    return q->key[a] != q->key[b] ? q->key[a] < q->key[b] : a < b;
}

static void push(queue *q, int unit)
{
    int at = q->n++;

    for (; at > 0 && before(q, unit, q->units[(at - 1) / 2]); at = (at - 1) / 2)
        q->units[at] = q->units[(at - 1) / 2];
    q->units[at] = unit;
}

static int pop(queue *q)
{
    const int first = q->units[0], last = q->units[--q->n];
    int at = 0;

    for (int child; (child = 2 * at + 1) < q->n; at = child) {
        if (child + 1 < q->n && before(q, q->units[child + 1], q->units[child]))
            child++;
        if (!before(q, q->units[child], last))
            break;
        q->units[at] = q->units[child];
    }
    q->units[at] = last;
    return first;
}

/* The place of each unit in the order of building; copies first of all, then what is made of gradients. */
static void set_keys(const sg_planner *pl, const int *unit_of, int *key, bool *late)
{
    const sg_plan *p = pl->p;

    for (int a = 0; a < p->n_values; a++)
        key[a] = -2;
    for (int a = 0; a < p->n_values; a++) {
        const sg_value *v = p->values[a].v;
        const bool again = sg_plan_is_again(v), gradient = sg_plan_is_gradient(v);
        late[a] = again || gradient;
        for (int i = 0; i < v->n_in && p->values[a].home != SG_HOME_FEED && !late[a]; i++)
            late[a] = late[pl->value_of[v->in[i]->id]];
        const int unit = unit_of[a];
        if (unit < 0 || again)
            continue;
        const int mine = late[a] && !gradient ? -1 : v->id;
        if (key[unit] == -2 || mine < key[unit])
            key[unit] = mine;
    }
}

/* Units by key as far as what they wait for is done. Returns how many there are. */
static int by_key(const sg_planner *pl, const int *unit_of, const int *waits, const int *head, const sg_edge *edges,
                  queue *q, int *left, int *out)
{
    int n = 0;

    for (int a = 0; a < pl->p->n_values; a++) {
        left[a] = waits[a];
        if (unit_of[a] == a && left[a] == 0)
            push(q, a);
    }
    while (q->n) {
        const int a = pop(q);
        out[n++] = a;
        for (int e = head[a]; e >= 0; e = edges[e].next)
            if (--left[edges[e].to] == 0)
                push(q, edges[e].to);
    }
    return n;
}

int sg_order(const sg_planner *pl, const int *unit_of, const int *waits, const int *head, const sg_edge *edges,
             int *out)
{
    const int n_values = pl->p->n_values;
    const size_t size = (size_t)SG_MAX(n_values, 1);
    int *key = malloc(size * sizeof *key), *left = malloc(size * sizeof *left), *heap = malloc(size * sizeof *heap);
    int *first = malloc(size * sizeof *first), *due = malloc(size * sizeof *due), *order = malloc(size * sizeof *order);
    bool *late = malloc(size * sizeof *late);
    int n = -1;

    if (key && left && heap && first && due && order && late) {
        queue q = {.units = heap, .key = key};
        set_keys(pl, unit_of, key, late);
        n = by_key(pl, unit_of, waits, head, edges, &q, left, order);
        /* Each copy is due where the first step that reads it is, or another copy that is due there. */
        int *place = left, *next = heap, done = 0;
        for (int k = 0; k < n; k++)
            place[order[k]] = k;
        for (int k = n - 1; k >= 0; k--) {
            const int a = order[k];
            due[a] = k;
            first[k] = -1;
            if (key[a] != -2)
                continue;
            due[a] = n - 1;
            for (int e = head[a]; e >= 0; e = edges[e].next)
                due[a] = SG_MIN(due[a], key[edges[e].to] == -2 ? due[edges[e].to] : place[edges[e].to]);
            next[a] = first[due[a]]; /* the last of a place was put there first */
            first[due[a]] = a;
        }
        for (int k = 0; k < n; k++) {
            for (int a = first[k]; a >= 0; a = next[a])
                out[done++] = a;
            if (key[order[k]] != -2)
                out[done++] = order[k];
        }
    }
    free(key);
    free(left);
    free(heap);
    free(first);
    free(due);
    free(order);
    free(late);
    return n;
}
