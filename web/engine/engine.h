/* What the exports of WebAssembly share. A page has one thread, so the error of the last call that failed is one value;
 * an export that can fail returns its status, or a pointer that is 0, and TypeScript turns the text into an exception.
 */
#ifndef SG_WEB_ENGINE_H
#define SG_WEB_ENGINE_H

#include <stddef.h>

#include "sightglass/error.h"

/* Defines a function that JavaScript calls by this name; elsewhere, where a native test calls it, it is a function.
 * Numbers come and go as i32 (pointers, counts) and f64; an int64_t would be a BigInt there. */
#ifdef __wasm__
#define SG_EXPORTED(name) __attribute__((export_name(name)))
#else
#define SG_EXPORTED(name)
#endif
#define SG_EXPORT(type, name, ...)                                                                                     \
    type name(__VA_ARGS__);                                                                                            \
    SG_EXPORTED(#name) type name(__VA_ARGS__)

/* Where exports put their errors, always the same one. */
sg_error *engine_error(void);

/* For exports that return a pointer: the pointer, or NULL after a failure. */
void *engine_result(sg_status status, void *result);

#endif
