/* SHA-256, as 64 hexadecimal digits: of bytes at hand, or of a stream of them. */
#ifndef SG_BASE_SHA256_H
#define SG_BASE_SHA256_H

#include <stddef.h>

#include "sightglass/error.h"

#define SG_SHA256_TEXT 65
const char *sg_sha256(char out[SG_SHA256_TEXT], const void *bytes, size_t n);

typedef struct sg_sha256_stream sg_sha256_stream;
sg_sha256_stream *sg_sha256_new(void); /* NULL when memory is out */
void sg_sha256_add(sg_sha256_stream *s, const void *bytes, size_t n);
const char *sg_sha256_end(sg_sha256_stream *s, char out[SG_SHA256_TEXT]); /* frees it; out NULL: only that */

#endif
