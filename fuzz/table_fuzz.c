/* Any bytes as a CSV table: it is refused, or every field can be read. */
#include <string.h>

#include "sightglass/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_table *t;
    if (sg_table_parse(&t, bytes, n, "input", NULL) != SG_OK)
        return 0;
    size_t sum = 0;
    for (sg_dim r = -1; r < sg_table_n_rows(t); r++)
        for (int c = 0; c < sg_table_n_columns(t); c++)
            sum += strlen(r < 0 ? sg_table_column(t, c) : sg_table_at(t, r, c));
    volatile size_t sink = sum;
    (void)sink;
    sg_table_free(t);
    return 0;
}
