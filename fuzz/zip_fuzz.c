/* Any bytes as a zip archive: it is refused, or every member can be read or is refused in words. */
#include <stdlib.h>

#include "sightglass/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err;
    sg_zip *z;
    unsigned sum = 0;
    if (sg_zip_parse(&z, bytes, n, "input", &err) != SG_OK)
        return 0;
    for (int i = 0; i < sg_zip_count(z); i++) {
        const void *member;
        size_t n_member;
        sg_tensor t;
        if (sg_zip_member(&member, &n_member, z, sg_zip_name(z, i), &err) != SG_OK)
            continue;
        for (size_t k = 0; k < n_member; k++)
            sum += ((const unsigned char *)member)[k];
        const sg_dim wanted[1] = {(sg_dim)(n_member / 4)};
        if (sg_zip_numbers(&t, z, sg_zip_name(z, i), SG_F32, 1, wanted, &err) != SG_OK)
            continue;
        if ((uintptr_t)t.data % sizeof(float))
            abort();
        for (sg_dim k = 0; k < wanted[0]; k++)
            sum += ((const float *)t.data)[k] > 0;
    }
    volatile unsigned sink = sum;
    (void)sink;
    sg_zip_close(z);
    return 0;
}
