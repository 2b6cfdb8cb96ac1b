/* Memory, errors and what this build is. Every other export leans on these. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "engine.h"

static sg_error last;

sg_error *engine_error(void)
{
    return &last;
}

void *engine_result(sg_status status, void *result)
{
    return status == SG_OK ? result : NULL;
}

/* Aligned as kernels like it; 0 when memory is out. */
SG_EXPORT(void *, core_alloc, size_t bytes)
{
    if (bytes > SIZE_MAX - 128)
        return NULL;
    return aligned_alloc(64, (bytes + 64) / 64 * 64);
}

SG_EXPORT(void, core_free, void *memory)
{
    free(memory);
}

/* The text of the last failure. */
SG_EXPORT(const char *, core_error_text, void)
{
    return last.text;
}

SG_EXPORT(int, core_error_status, void)
{
    return (int)last.status;
}

SG_EXPORT(const char *, core_status_text, int status)
{
    return sg_status_text((sg_status)status);
}

/* What the reader of a number is told of the code that computed it. */
SG_EXPORT(const char *, core_version, void)
{
    return SG_VERSION;
}
