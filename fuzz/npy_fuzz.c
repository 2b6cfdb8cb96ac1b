/* Any bytes as a .npy file: it is refused, or every number can be read. */
#include <stdlib.h>

#include "sightglass/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err;
    sg_npy *a;
    if (sg_npy_parse(&a, bytes, n, "input", &err) != SG_OK)
        return 0;
    const sg_tensor *t = sg_npy_tensor(a);
    const unsigned char *data = t->data;
    unsigned sum = 0;
    if ((uintptr_t)data % sg_dtype_bytes(t->dtype))
        abort();
    for (size_t i = 0; i < sg_tensor_bytes(t); i++)
        sum += data[i];
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        sum += sg_tensor_get(t, i) > 0.0;
    volatile unsigned sink = sum;
    (void)sink;
    sg_npy_close(a);
    return 0;
}
