/* Tensors as an answer. */
#include <stdlib.h>
#include <string.h>

#include "serve/exchange.h"
#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

static sg_status write_tensors(FILE *to, int n, const char *const *names, const sg_tensor *values, sg_error *err)
{
    sg_named_tensor *list = calloc((size_t)n + 1, sizeof *list);
    if (!list)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d tensors", n);
    for (int i = 0; i < n; i++)
        list[i] = (sg_named_tensor){names[i], values[i]};
    const sg_status status = sg_safetensors_write(to, list, n, NULL, 0, err);
    free(list);
    return status;
}

sg_status serve_reply_tensors(serve_reply *reply, const serve_request *r, int n, const char *const *names,
                              const sg_tensor *values, sg_error *err)
{
    const char *accept = serve_header(r, "Accept");
    const bool npy = n == 1 && accept && strstr(accept, "application/x-npy");
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *to = open_memstream(&bytes, &n_bytes);

    if (!to)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d tensors", n);
    const sg_status status = npy ? sg_npy_write(to, &values[0], err) : write_tensors(to, n, names, values, err);
    if (fclose(to) != 0 && status == SG_OK) {
        free(bytes);
        return sg_fail(err, SG_ENOMEM, "out of memory for %d tensors", n);
    }
    if (status != SG_OK) {
        free(bytes);
        return status;
    }
    serve_reply_bytes(reply, npy ? "application/x-npy" : "application/x-safetensors", bytes, n_bytes, free);
    return SG_OK;
}
