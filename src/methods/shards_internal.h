/* What the parts of a harvest to disk share: sequences from files, and what the index says. */
#ifndef SG_METHODS_SHARDS_INTERNAL_H
#define SG_METHODS_SHARDS_INTERNAL_H

#include <jansson.h>

#include "base/base.h"
#include "sightglass/shards.h"

#define SHARDS_INDEX  "index.json"
#define SHARDS_FORMAT "sightglass-harvest-1"
#define SHARDS_NAME   "shard-%05" PRId64 ".safetensors"

/* ---- sequences ---- */

/* Where the next sequence begins. */
typedef struct shards_cursor {
    int file;
    int64_t text; /* in it: a byte, or a row of tokens */
    sg_dim first; /* token of that text */
} shards_cursor;

typedef struct shards_sequence {
    shards_cursor from;
    sg_dim n;
    const int32_t *tokens, *offsets; /* [n], borrowed until the next call; an offset of -1: not known */
} shards_sequence;

typedef struct shards_source shards_source;
sg_status shards_source_new(shards_source **out, const sg_model *m, int n_files, const char *const *files,
                            const char *field, sg_dim context, sg_error *err) SG_MUST_CHECK;
void shards_source_free(shards_source *s); /* NULL is fine */
sg_status shards_source_seek(shards_source *s, const shards_cursor *to, sg_error *err) SG_MUST_CHECK;
/* out->n is 0 at the end. */
sg_status shards_source_next(shards_source *s, shards_sequence *out, sg_error *err) SG_MUST_CHECK;
shards_cursor shards_source_cursor(const shards_source *s); /* of the next */
double shards_source_done(const shards_source *s);          /* share of all files' bytes */

/* ---- the index ---- */

/* DIR/NAME, malloc'd. */
char *shards_path(const char *dir, const char *name, sg_error *err);
sg_status shards_index_read(json_t **out, const char *dir, sg_error *err) SG_MUST_CHECK;

#endif
