/* Any bytes as a safetensors file: it is refused, or every byte of every tensor can be read. */
#include <stdlib.h>

#include "sightglass/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err;
    sg_safetensors *st;
    if (sg_safetensors_parse(&st, bytes, n, "input", &err) != SG_OK)
        return 0;
    unsigned sum = 0;
    for (int i = 0; i < sg_safetensors_count(st); i++) {
        const sg_tensor *t = sg_safetensors_at(st, i);
        const unsigned char *data = t->data;
        if ((uintptr_t)data % sg_dtype_bytes(t->dtype))
            abort();
        for (size_t j = 0; j < sg_tensor_bytes(t); j++)
            sum += data[j];
        for (sg_dim j = 0; j < sg_tensor_count(t); j++)
            sum += sg_tensor_get(t, j) > 0.0;
        const sg_tensor *same;
        if (sg_safetensors_get(&same, st, sg_safetensors_name(st, i), &err) != SG_OK || same != t)
            abort();
    }
    volatile unsigned sink = sum;
    (void)sink;
    if (sg_safetensors_find(st, "\x01 no such name"))
        abort();
    (void)sg_safetensors_metadata(st, "format");
    sg_safetensors_close(st);
    return 0;
}
