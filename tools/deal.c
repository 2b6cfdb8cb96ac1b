/* One file from tensors whose rows lie on several ranks, in order. Rank 0 writes; it asks for nothing and holds a piece
 * of what the others have at a time, so the file may be larger than its memory. */
#include <stdlib.h>

#include "cli.h"

#define PIECE_BYTES ((size_t)1 << 24)

typedef struct deal {
    sg_ranks *ranks;
    const sg_named_tensor *own;
    sg_dim n_rows; /* of all */
    char *piece;
    bool begun; /* the others have been told to send */
} deal;

/* How many bytes of tensor i rank k has. */
static size_t bytes_of(const deal *d, int i, int k)
{
    const sg_tensor *t = &d->own[i].tensor;
    sg_dim first;
    return sg_tensor_bytes(t) / (size_t)t->dims[0] * (size_t)sg_ranks_share(d->ranks, k, d->n_rows, &first);
}

static sg_status write_one(void *context, int i, FILE *to, sg_error *err)
{
    deal *d = context;
    if (!d->begun)
        SG_TRY(sg_ranks_agree(d->ranks, SG_OK, err));
    d->begun = true;
    fwrite(d->own[i].tensor.data, 1, sg_tensor_bytes(&d->own[i].tensor), to);
    for (int k = 1; k < sg_ranks_count(d->ranks); k++)
        for (size_t left = bytes_of(d, i, k), n; left > 0; left -= n) {
            n = SG_MIN(left, PIECE_BYTES);
            sg_ranks_receive(d->ranks, k, d->piece, n);
            fwrite(d->piece, 1, n, to); /* a failure is found when the file is closed */
        }
    return SG_OK;
}

static sg_status gather(deal *d, const char *path, int n, sg_error *err)
{
    sg_named_tensor *whole = calloc((size_t)n + 1, sizeof *whole);
    d->piece = malloc(PIECE_BYTES);
    sg_status status = whole && d->piece ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        whole[i] = d->own[i];
        whole[i].tensor.dims[0] = d->n_rows;
    }
    if (status == SG_OK)
        status = sg_safetensors_stream(path, whole, n, NULL, 0, write_one, d, err);
    free(whole);
    free(d->piece);
    return status;
}

static void hand_over(const deal *d, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t left = sg_tensor_bytes(&d->own[i].tensor), at = 0, k; left > 0; left -= k, at += k) {
            k = SG_MIN(left, PIECE_BYTES);
            sg_ranks_send(d->ranks, 0, (const char *)d->own[i].tensor.data + at, k);
        }
}

sg_status cli_save_dealt(sg_ranks *ranks, const char *path, sg_dim n_rows, int n, const sg_named_tensor *tensors,
                         sg_error *err)
{
    deal d = {.ranks = ranks, .own = tensors, .n_rows = n_rows};
    if (sg_ranks_index(ranks) > 0) {
        SG_TRY(sg_ranks_agree(ranks, SG_OK, err)); /* that the file is open */
        hand_over(&d, n);
        return sg_ranks_agree(ranks, SG_OK, err); /* that it is whole */
    }
    return sg_ranks_agree(ranks, gather(&d, path, n, err), err);
}
