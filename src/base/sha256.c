/* SHA-256, by nettle. */
#include "base/sha256.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>

struct sg_sha256_stream {
    struct sha256_ctx ctx;
};

static const char *end(struct sha256_ctx *ctx, char out[SG_SHA256_TEXT])
{
    unsigned char digest[SHA256_DIGEST_SIZE];

    sha256_digest(ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}

const char *sg_sha256(char out[SG_SHA256_TEXT], const void *bytes, size_t n)
{
    struct sha256_ctx ctx;

    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    return end(&ctx, out);
}

sg_sha256_stream *sg_sha256_new(void)
{
    sg_sha256_stream *s = malloc(sizeof *s);

    if (s)
        sha256_init(&s->ctx);
    return s;
}

void sg_sha256_add(sg_sha256_stream *s, const void *bytes, size_t n)
{
    sha256_update(&s->ctx, n, bytes);
}

const char *sg_sha256_end(sg_sha256_stream *s, char out[SG_SHA256_TEXT])
{
    if (s && out)
        end(&s->ctx, out);
    free(s);
    return out;
}
