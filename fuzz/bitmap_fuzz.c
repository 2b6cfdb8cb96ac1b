/* Any bytes as a picture: it is refused, or every pixel can be read, and it can be made smaller. */
#include <stdlib.h>

#include "sightglass/bitmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err;
    sg_bitmap *b, *small;
    if (sg_bitmap_parse(&b, bytes, n, "input", &err) != SG_OK)
        return 0;
    if (b->height < 1 || b->width < 1)
        abort();
    unsigned sum = 0;
    for (size_t i = 0; i < (size_t)b->height * (size_t)b->width * 3; i++)
        sum += b->rgb[i];
    if (sg_bitmap_resize(&small, b, 3, 5, (sg_filter)(sum % SG_N_FILTERS), &err) == SG_OK)
        sum += small->rgb[44];
    volatile unsigned sink = sum;
    (void)sink;
    sg_bitmap_free(small);
    sg_bitmap_free(b);
    return 0;
}
