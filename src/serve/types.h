/* Types of JSON: a subset of TypeScript, read once at start, then asked of every request.
 *
 *     SG_TRY(serve_types_new(&t, err));                    // those of types.def
 *     SG_TRY(serve_type_check(t, type, value, path, err)); // "edits[2].strength: wanted a number, found a string" */
#ifndef SG_SERVE_TYPES_H
#define SG_SERVE_TYPES_H

#include <jansson.h>

#include "base/base.h"

typedef enum serve_type_kind {
    SERVE_STRING,
    SERVE_NUMBER,
    SERVE_INTEGER,
    SERVE_BOOLEAN,
    SERVE_NULL,
    SERVE_UNKNOWN, /* anything */
    SERVE_LITERAL, /* one text or number */
    SERVE_ARRAY,
    SERVE_UNION,
    SERVE_OBJECT,
    SERVE_RECORD, /* any names, values of one type */
    SERVE_NAMED
} serve_type_kind;

typedef struct serve_type serve_type;
typedef struct serve_field {
    const char *name;
    bool optional;
    const serve_type *type;
} serve_field;
struct serve_type {
    serve_type_kind kind;
    const char *text;        /* LITERAL: the word; NAMED: the name */
    double number;           /* LITERAL that is a number: text is then NULL */
    int n;                   /* UNION, OBJECT */
    bool open;               /* OBJECT: other names are let through */
    serve_field *field;      /* OBJECT; UNION uses only the types; ARRAY and RECORD have one */
    struct serve_type *next; /* while a type is being read */
};

typedef struct serve_types serve_types;
sg_status serve_types_new(serve_types **out, sg_error *err) SG_MUST_CHECK; /* of types.def */
void serve_types_free(serve_types *t);                                     /* NULL is fine */

int serve_types_count(const serve_types *t);
const char *serve_types_name(const serve_types *t, int i);
const char *serve_types_what(const serve_types *t, int i);
const serve_type *serve_types_at(const serve_types *t, int i);
const serve_type *serve_types_find(const serve_types *t, const char *name); /* NULL: none */

/* Reads one more notation, kept until the types are freed; `name` stands in texts. SG_EARG with the place of what is
 * wrong. Not for use beside checks by other threads. */
sg_status serve_type_parse(const serve_type **out, serve_types *t, const char *name, const char *text,
                           sg_error *err) SG_MUST_CHECK;

#define SERVE_PATH 256
typedef struct serve_misfit {
    char path[SERVE_PATH]; /* "edits[2].strength", "" for the whole */
    const char *code;      /* "wrong_type", "missing_field", "unknown_field" */
} serve_misfit;
/* SG_EARG with path and what was wanted; `where` may be NULL. */
sg_status serve_type_check(const serve_type *type, const serve_types *t, const json_t *value, serve_misfit *where,
                           sg_error *err) SG_MUST_CHECK;

/* A query's text as the JSON that its type asks for: numbers and booleans where text is one. NULL: no memory. */
json_t *serve_type_read_text(const serve_type *type, const serve_types *t, const char *text);

#endif
