/* What every other folder may lean on: assertions, arenas, growing strings, a string map, files.
 * Nothing here knows of tensors beyond their element types. */
#ifndef SG_BASE_H
#define SG_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sightglass/error.h"
#include "sightglass/tensor.h"

/* ---- our own mistakes: stops the program, in every build ---- */

void sg_assert_failed(const char *text, const char *file, int line) __attribute__((noreturn));
#define SG_ASSERT(cond) ((cond) ? (void)0 : sg_assert_failed(#cond, __FILE__, __LINE__))
#ifdef NDEBUG
#define SG_DEBUG_ASSERT(cond) ((void)0)
#else
#define SG_DEBUG_ASSERT(cond) SG_ASSERT(cond)
#endif

#define SG_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define SG_MIN(a, b)       ((a) < (b) ? (a) : (b))
#define SG_MAX(a, b)       ((a) > (b) ? (a) : (b))

/* ---- arenas: things that die together ---- */

/* Objects come zeroed and aligned to 64 bytes. In sanitizer builds a poisoned gap follows each object, so
 * that an overrun is caught. Not for use by several threads at once. */
typedef struct sg_arena sg_arena;

sg_arena *sg_arena_new(void);        /* NULL when memory is out */
void sg_arena_free(sg_arena *arena); /* runs the deferred calls newest first; NULL is fine */

void *sg_arena_alloc(sg_arena *arena, size_t bytes);              /* NULL when memory is out */
void *sg_arena_array(sg_arena *arena, size_t count, size_t size); /* the product is checked */
char *sg_arena_strdup(sg_arena *arena, const char *text);
char *sg_arena_strndup(sg_arena *arena, const char *text, size_t bytes);
char *sg_arena_printf(sg_arena *arena, const char *fmt, ...) SG_PRINTF(2, 3);

/* Calls fn(object) when the arena is freed. On failure fn has been called at once. */
sg_status sg_arena_defer(sg_arena *arena, void (*fn)(void *), void *object) SG_MUST_CHECK;

size_t sg_arena_used(const sg_arena *arena); /* bytes handed out, with what alignment cost */

/* ---- growing strings ---- */

/* Zero-initialise, append, free.  `failed` stays set once memory ran out, so that one check at the end is enough. */
typedef struct sg_str {
    char *text; /* NUL-terminated once anything was appended; NULL before */
    size_t bytes, capacity;
    bool failed;
} sg_str;

void sg_str_append(sg_str *s, const char *text, size_t bytes);
void sg_str_puts(sg_str *s, const char *text);
void sg_str_printf(sg_str *s, const char *fmt, ...) SG_PRINTF(2, 3);
void sg_str_free(sg_str *s);

/* ---- string map: key bytes to an index ---- */

/* Open addressing over borrowed keys; a value is any int32 >= 0. */
typedef struct sg_map sg_map;

sg_map *sg_map_new(size_t expected); /* NULL when memory is out */
void sg_map_free(sg_map *map);       /* NULL is fine */
/* The first value put under a key stays: returns SG_EARG if the key is there already. The key is borrowed until the map
 * is freed. */
sg_status sg_map_put(sg_map *map, const char *key, size_t bytes, int32_t value) SG_MUST_CHECK;
int32_t sg_map_get(const sg_map *map, const char *key, size_t bytes); /* -1 if absent */

/* Edit distance (insert, delete, replace) between two short texts, used to suggest the nearest name. What follows
 * after 255 bytes is not compared. */
int sg_edit_distance(const char *a, const char *b);

/* Whether `text` fits `pattern`, where '*' stands for any run of characters and '?' for one. */
bool sg_match(const char *pattern, const char *text);

/* The same on every machine, so that a hash may be written to a file; no protection against an adversary. */
uint64_t sg_hash(const void *bytes, size_t n, uint64_t seed);

/* ---- numbers ---- */

float sg_bf16_to_f32(uint16_t x);
uint16_t sg_f32_to_bf16(float x); /* round to nearest even, NaN kept */
float sg_f16_to_f32(uint16_t x);
uint16_t sg_f32_to_f16(float x);

/* Monotonic seconds since some fixed point. */
double sg_now(void);

/* ---- files ---- */

/* A file mapped read-only. Empty files map to bytes == 0, data == NULL.  Replacing the file (as sg_writer does) leaves
 * a mapping whole; only a program that shortens it in place can take the bytes away, which stops the process. */
typedef struct sg_file sg_file;

/* SG_ENOTFOUND; SG_EIO, also for a folder, a pipe or a device. */
sg_status sg_file_open(sg_file **out, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_file_close(sg_file *file); /* NULL is fine */
const unsigned char *sg_file_data(const sg_file *file);
size_t sg_file_bytes(const sg_file *file);
const char *sg_file_path(const sg_file *file);

/* Writes through a temporary name beside `path`, synced, then renamed: the old file stays until the new
 * one is whole. Between begin and commit write to sg_writer_stream; abort (or a failed commit) removes the rest. */
typedef struct sg_writer sg_writer;

sg_status sg_writer_begin(sg_writer **out, const char *path, sg_error *err) SG_MUST_CHECK;
FILE *sg_writer_stream(sg_writer *w);
sg_status sg_writer_commit(sg_writer *w, sg_error *err) SG_MUST_CHECK; /* frees w either way */
void sg_writer_abort(sg_writer *w);                                    /* frees w; NULL is fine */
/* Commits what was written with SG_OK, else aborts and returns the status that it failed with. */
sg_status sg_writer_end(sg_writer *w, sg_status written, sg_error *err) SG_MUST_CHECK;
/* Whether a file could be written there, asked before work whose result it is to hold. NULL: nothing is asked. */
sg_status sg_writer_check(const char *path, sg_error *err) SG_MUST_CHECK;
/* Removes from a folder what writers left there whose process has ended, as by SIGKILL. */
void sg_writer_sweep(const char *folder);

#endif
