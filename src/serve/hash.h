/* SHA-256, as 64 hexadecimal digits. */
#ifndef SG_SERVE_HASH_H
#define SG_SERVE_HASH_H

#include <stddef.h>

#define SERVE_SHA256 65
const char *serve_sha256(char out[SERVE_SHA256], const void *bytes, size_t n);

#endif
