/* SHA-256, by nettle. */
#include "serve/hash.h"

#include <nettle/sha2.h>
#include <stdio.h>

const char *serve_sha256(char out[SERVE_SHA256], const void *bytes, size_t n)
{
    struct sha256_ctx ctx;
    unsigned char digest[SHA256_DIGEST_SIZE];

    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}
