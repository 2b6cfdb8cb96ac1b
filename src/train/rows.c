/* Some rows of each batch of another source. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/source.h"

typedef struct part {
    const sg_source *whole;
    sg_dim first;
    sg_tensor field[SG_SOURCE_FIELDS]; /* a whole batch; numbers owned */
} part;

static void free_part(void *self)
{
    part *p = self;
    for (int i = 0; i < SG_SOURCE_FIELDS; i++)
        free(p->field[i].data);
    free(p);
}

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    part *p = self;
    SG_TRY(p->whole->fill(p->whole->self, batch, p->field, err));
    for (int i = 0; i < p->whole->n_fields; i++) {
        const size_t row = sg_tensor_bytes(&p->field[i]) / (size_t)p->field[i].dims[0];
        memcpy(field[i].data, (const char *)p->field[i].data + (size_t)p->first * row, sg_tensor_bytes(&field[i]));
    }
    return SG_OK;
}

sg_status sg_source_rows(sg_source *out, const sg_source *whole, sg_dim first, sg_dim n, sg_error *err)
{
    *out = (sg_source){0};
    const sg_dim rows = whole->n_fields && whole->field[0].n_dims ? whole->field[0].dims[0] : 0;
    for (int i = 0; i < whole->n_fields; i++)
        if (!whole->field[i].n_dims || whole->field[i].dims[0] != rows)
            return sg_fail(err, SG_EARG, "source: field %d has other rows than the first", i);
    if (first < 0 || n < 1 || first + n > rows)
        return sg_fail(err, SG_EARG, "source: %" PRId64 " rows from row %" PRId64 ", a batch has %" PRId64, n, first,
                       rows);
    part *p = calloc(1, sizeof *p);
    if (!p)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    *out = (sg_source){.n_fields = whole->n_fields, .fill = fill, .free = free_part, .self = p};
    p->whole = whole;
    p->first = first;
    for (int i = 0; i < whole->n_fields; i++) {
        out->field[i] = p->field[i] = whole->field[i];
        out->field[i].dims[0] = n;
        p->field[i].data = malloc(SG_MAX(sg_tensor_bytes(&p->field[i]), 1));
        if (!p->field[i].data) {
            sg_source_free(out);
            return sg_fail(err, SG_ENOMEM, "out of memory for batches of %zu bytes", sg_source_bytes(whole));
        }
    }
    return SG_OK;
}
