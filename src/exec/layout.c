/* Memory by lifetime: the largest buffers first, each at the lowest offset that is free while it lives. */
#include <stdlib.h>
#include <string.h>

#include "exec/exec_internal.h"

static int by_size(const void *a, const void *b)
{
    const sg_interval *x = *(sg_interval *const *)a, *y = *(sg_interval *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

size_t sg_layout(int n, sg_interval *intervals)
{
    sg_interval **todo = malloc((size_t)SG_MAX(n, 1) * sizeof *todo);     /* by falling size */
    sg_interval **placed = malloc((size_t)SG_MAX(n, 1) * sizeof *placed); /* by rising offset */
    size_t most = 0;
    int n_placed = 0;

    if (!todo || !placed) {
        free(todo);
        free(placed);
        return SIZE_MAX;
    }
    for (int i = 0; i < n; i++)
        todo[i] = &intervals[i];
    qsort(todo, (size_t)n, sizeof *todo, by_size);
    for (int i = 0; i < n; i++) {
        sg_interval *it = todo[i];
        const size_t bytes = (it->bytes + SG_BLOCK_ALIGN - 1) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
        size_t at = 0;
        int k = 0;
        for (; k < n_placed; k++) {
            const sg_interval *p = placed[k];
            if (p->last < it->first || p->first > it->last)
                continue;
            if (p->offset >= at + bytes)
                break;
            const size_t end = p->offset + (p->bytes + SG_BLOCK_ALIGN - 1) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
            at = SG_MAX(at, end);
        }
        it->offset = at;
        most = SG_MAX(most, at + bytes);
        for (k = n_placed; k > 0 && placed[k - 1]->offset > at; k--)
            placed[k] = placed[k - 1];
        placed[k] = it;
        n_placed++;
    }
    free(todo);
    free(placed);
    return most;
}
