/* The table of operations, from ops.def. */
#include <string.h>

#include "ops/ops.h"

static const sg_op *const table[] = {
#define SG_OP(name) &sg_op_##name,
#include "ops/ops.def"
#undef SG_OP
};

const sg_op *sg_op_find(const char *name)
{
    for (size_t i = 0; i < SG_COUNT_OF(table); i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

int sg_op_count(void)
{
    return (int)SG_COUNT_OF(table);
}

const sg_op *sg_op_at(int i)
{
    return i >= 0 && i < sg_op_count() ? table[i] : NULL;
}
