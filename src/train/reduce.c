/* Neighbours in the list that are small go together into a bucket, a copy; a large one is summed where it lies. Ranks
 * match their sums by the order in which they begin them, so buckets begin in the order of the list, whatever order a
 * plan, which may differ where ranks have unequal batches, makes them ready in: a bucket waits for those before it. */
#include "train/reduce.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Beyond it a sum takes its time for the bytes, not for being one more. */
#define BUCKET_BYTES ((size_t)1 << 20)

typedef struct bucket {
    int first, n, n_ready; /* tensors */
    sg_tensor sum;         /* what is summed: one tensor itself, or the copy of several */
    bool owned;
} bucket;

struct sg_reduce {
    sg_ranks *ranks;
    int n, n_buckets, n_begun;
    sg_tensor *tensors;
    int *bucket_of;
    bool *ready;
    bucket *buckets;
};

/* How many tensors from i on go together. */
static int together(int n, const sg_tensor *t, int i)
{
    size_t bytes = sg_tensor_bytes(&t[i]);
    int k = 1;
    for (; i + k < n && t[i + k].dtype == t[i].dtype; k++) {
        bytes += sg_tensor_bytes(&t[i + k]);
        if (bytes > BUCKET_BYTES)
            break;
    }
    return k;
}

size_t sg_reduce_bytes(int n, const sg_tensor *t)
{
    size_t bytes = 0;
    for (int i = 0, k; i < n; i += k) {
        k = together(n, t, i);
        for (int j = 0; k > 1 && j < k; j++)
            bytes += sg_tensor_bytes(&t[i + j]);
    }
    return bytes;
}

static bool fill_buckets(sg_reduce *r)
{
    for (int i = 0, k; i < r->n; i += k) {
        k = together(r->n, r->tensors, i);
        bucket *b = &r->buckets[r->n_buckets];
        *b = (bucket){.first = i, .n = k, .sum = r->tensors[i], .owned = k > 1};
        if (b->owned) {
            sg_dim count = 0;
            for (int j = 0; j < k; j++)
                count += sg_tensor_count(&r->tensors[i + j]);
            b->sum = sg_tensor_of(r->tensors[i].dtype, 1, &count, NULL);
            b->sum.data = malloc(sg_tensor_bytes(&b->sum));
            if (!b->sum.data) {
                b->owned = false;
                return false;
            }
        }
        for (int j = 0; j < k; j++)
            r->bucket_of[i + j] = r->n_buckets;
        r->n_buckets++;
    }
    return true;
}

sg_status sg_reduce_new(sg_reduce **out, sg_ranks *ranks, int n, const sg_tensor *tensors, sg_error *err)
{
    *out = NULL;
    const size_t room = (size_t)n + 1;
    sg_reduce *r = calloc(1, sizeof *r);
    if (r) {
        r->ranks = ranks;
        r->n = n;
        r->tensors = calloc(room, sizeof *r->tensors);
        r->bucket_of = calloc(room, sizeof *r->bucket_of);
        r->ready = calloc(room, sizeof *r->ready);
        r->buckets = calloc(room, sizeof *r->buckets);
    }
    bool made = r && r->tensors && r->bucket_of && r->ready && r->buckets;
    if (made) {
        memcpy(r->tensors, tensors, (size_t)n * sizeof *tensors);
        made = fill_buckets(r);
    }
    if (!made) {
        sg_reduce_free(r);
        return sg_fail(err, SG_ENOMEM, "out of memory for sums of %d gradients over ranks", n);
    }
    *out = r;
    return SG_OK;
}

void sg_reduce_free(sg_reduce *r)
{
    if (!r)
        return;
    for (int b = 0; b < r->n_buckets; b++)
        if (r->buckets[b].owned)
            free(r->buckets[b].sum.data);
    free(r->tensors);
    free(r->bucket_of);
    free(r->ready);
    free(r->buckets);
    free(r);
}

/* Into the copy, or back. */
static void copy(const sg_reduce *r, const bucket *b, bool back)
{
    char *at = b->sum.data;
    for (int i = b->first; b->owned && i < b->first + b->n; i++) {
        const size_t bytes = sg_tensor_bytes(&r->tensors[i]);
        memcpy(back ? r->tensors[i].data : at, back ? at : r->tensors[i].data, bytes);
        at += bytes;
    }
}

static void begin_bucket(sg_reduce *r)
{
    bucket *b = &r->buckets[r->n_begun++];
    copy(r, b, false);
    sg_ranks_sum_begin(r->ranks, &b->sum);
}

void sg_reduce_begin(sg_reduce *r)
{
    r->n_begun = 0;
    for (int b = 0; b < r->n_buckets; b++)
        r->buckets[b].n_ready = 0;
    memset(r->ready, 0, (size_t)r->n * sizeof *r->ready);
}

void sg_reduce_ready(sg_reduce *r, int i)
{
    if (!r->ready[i]) {
        r->ready[i] = true;
        r->buckets[r->bucket_of[i]].n_ready++;
    }
    while (r->n_begun < r->n_buckets && r->buckets[r->n_begun].n_ready == r->buckets[r->n_begun].n)
        begin_bucket(r);
    sg_ranks_progress(r->ranks);
}

void sg_reduce_end(sg_reduce *r)
{
    while (r->n_begun < r->n_buckets)
        begin_bucket(r);
    sg_ranks_sums_end(r->ranks);
    for (int b = 0; b < r->n_buckets; b++)
        copy(r, &r->buckets[b], true);
}
