/* What the parts of the template engine share: values, tokens, trees.
 *
 * A source becomes tokens (template_lex.c), those a tree (template_parse.c), which is run with variables
 * (template_run.c) over values (template_value.c), their filters and tests (template_filters.c) and methods
 * (template_methods.c); template.c has the public functions.  All that one rendering makes lies in one arena. */
#ifndef SG_TEMPLATE_INTERNAL_H
#define SG_TEMPLATE_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "sightglass/template.h"

/* ---- limits, far above what any real template takes ---- */

#define SG_TPL_SOURCE (1u << 20) /* bytes of a template */
#define SG_TPL_STEPS  4000000    /* evaluations */
#define SG_TPL_DEPTH  64         /* of nesting, and of calls */
#define SG_TPL_MEMORY (256u << 20)
#define SG_TPL_OUTPUT (16u << 20)
#define SG_TPL_ARGS   32

/* ---- values ---- */

typedef enum sg_tpl_kind {
    SG_TPL_UNDEFINED, /* s: the name that was not there */
    SG_TPL_NONE,
    SG_TPL_BOOL,
    SG_TPL_INT,
    SG_TPL_FLOAT,
    SG_TPL_STRING,
    SG_TPL_LIST,
    SG_TPL_MAP,
    SG_TPL_MACRO,
    SG_TPL_FUNCTION, /* a global one, by its name s */
    SG_TPL_LOOP
} sg_tpl_kind;

typedef struct sg_tpl_value {
    sg_tpl_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct {
            const char *text; /* UTF-8 */
            size_t n;
        } s;
        struct sg_tpl_list *list;
        struct sg_tpl_map *map;
        const struct sg_tpl_node *macro;
        struct sg_tpl_loop *loop;
    };
} sg_tpl_value;

typedef struct sg_tpl_list {
    sg_tpl_value *items;
    size_t n, capacity;
    bool tuple;
} sg_tpl_list;

/* Keys are texts, in the order in which they were put. */
typedef struct sg_tpl_entry {
    const char *key;
    size_t n_key;
    sg_tpl_value value;
} sg_tpl_entry;

typedef struct sg_tpl_map {
    sg_tpl_entry *entries;
    size_t n, capacity;
    bool space; /* made by namespace(), so that its members may be set */
} sg_tpl_map;

typedef struct sg_tpl_loop {
    const sg_tpl_list *over;
    size_t i;
    sg_tpl_value changed; /* what ifchanged() was last called with */
} sg_tpl_loop;

typedef struct sg_tpl_args {
    sg_tpl_value at[SG_TPL_ARGS];
    int n;
    struct {
        const char *name;
        size_t n_name;
        sg_tpl_value value;
    } named[SG_TPL_ARGS];
    int n_named;
} sg_tpl_args;

/* ---- one rendering ---- */

typedef struct sg_tpl_scope {
    sg_tpl_map vars;
    struct sg_tpl_scope *parent;
} sg_tpl_scope;

typedef struct sg_tpl {
    const char *name; /* for errors */
    int line;         /* where the template is being read or run */
    sg_arena *arena;
    sg_error *err;
    int64_t steps, now;
    int depth;
    sg_tpl_scope *scope, *globals;
} sg_tpl;

/* "NAME: line N: ..." */
sg_status sg_tpl_fail(sg_tpl *t, sg_status status, const char *fmt, ...) SG_PRINTF(3, 4);
sg_status sg_tpl_step(sg_tpl *t, int64_t n); /* counts work, and fails past the limits */
/* Zeroed memory that lives as long as the rendering; `out` is the address of a pointer. */
#define SG_TPL_ALLOC(t, out, bytes) ((*(out) = sg_tpl_memory((t), (bytes))) ? SG_OK : sg_tpl_no_memory(t))
void *sg_tpl_memory(sg_tpl *t, size_t bytes);
sg_status sg_tpl_no_memory(sg_tpl *t);

/* ---- values (template_value.c) ---- */

sg_tpl_value sg_tpl_none(void);
sg_tpl_value sg_tpl_bool(bool b);
sg_tpl_value sg_tpl_int(int64_t i);
sg_tpl_value sg_tpl_float(double f);
sg_tpl_value sg_tpl_text(const char *text, size_t n); /* borrowed */
sg_tpl_value sg_tpl_undefined(const char *name, size_t n);
sg_status sg_tpl_copy(sg_tpl *t, const char *text, size_t n, sg_tpl_value *out);
/* What was written to a string, which is freed. */
sg_status sg_tpl_take(sg_tpl *t, sg_str *s, sg_tpl_value *out);
sg_status sg_tpl_new_list(sg_tpl *t, size_t capacity, sg_tpl_value *out);
sg_status sg_tpl_push(sg_tpl *t, sg_tpl_list *list, sg_tpl_value item);
sg_status sg_tpl_new_map(sg_tpl *t, sg_tpl_value *out);
sg_status sg_tpl_put(sg_tpl *t, sg_tpl_map *map, const char *key, size_t n, sg_tpl_value value); /* key borrowed */
const sg_tpl_value *sg_tpl_get(const sg_tpl_map *map, const char *key, size_t n);                /* NULL if absent */
sg_status sg_tpl_of_json(sg_tpl *t, json_t *json, int depth, sg_tpl_value *out);

bool sg_tpl_is(const sg_tpl_value *v, const char *text); /* a text, and this one */
bool sg_tpl_true(const sg_tpl_value *v);
bool sg_tpl_number(const sg_tpl_value *v, double *out); /* bool, int or float */
bool sg_tpl_whole(const sg_tpl_value *v, int64_t *out); /* bool or int */
const char *sg_tpl_kind_name(const sg_tpl_value *v);
sg_status sg_tpl_equal(sg_tpl *t, const sg_tpl_value *a, const sg_tpl_value *b, bool *out);
/* <0, 0, >0; an error where the two have no order. */
sg_status sg_tpl_compare(sg_tpl *t, const sg_tpl_value *a, const sg_tpl_value *b, int *out);
sg_status sg_tpl_in(sg_tpl *t, const sg_tpl_value *item, const sg_tpl_value *in, bool *out);
/* As Python's str(), repr() and json.dumps() write it; indent < 0: on one line. */
sg_status sg_tpl_write(sg_tpl *t, sg_str *out, const sg_tpl_value *v);
sg_status sg_tpl_repr(sg_tpl *t, sg_str *out, const sg_tpl_value *v);
sg_status sg_tpl_json(sg_tpl *t, sg_str *out, const sg_tpl_value *v, int indent, bool sort);
/* A list of what iterating gives: items, keys, characters. */
sg_status sg_tpl_iterate(sg_tpl *t, const sg_tpl_value *v, sg_tpl_list **out);
size_t sg_tpl_characters(const char *text, size_t n);
bool sg_tpl_space(int32_t code); /* what Python's strip() takes away */

/* ---- filters, tests, methods ---- */

sg_status sg_tpl_filter(sg_tpl *t, const char *name, size_t n_name, const sg_tpl_value *in, const sg_tpl_args *args,
                        sg_tpl_value *out);
sg_status sg_tpl_test(sg_tpl *t, const char *name, size_t n_name, const sg_tpl_value *in, const sg_tpl_args *args,
                      bool *out);
/* VALUE.NAME(args). *found is false where a value of this kind has no such method. */
sg_status sg_tpl_method(sg_tpl *t, const sg_tpl_value *on, const char *name, size_t n_name, const sg_tpl_args *args,
                        sg_tpl_value *out, bool *found);
/* VALUE.NAME and VALUE[key]; undefined where it is not there. */
sg_status sg_tpl_member(sg_tpl *t, const sg_tpl_value *of, const sg_tpl_value *key, sg_tpl_value *out);
/* The argument at this place or of this name, or NULL. */
const sg_tpl_value *sg_tpl_arg(const sg_tpl_args *args, int at, const char *name);

/* Shared by filters and methods. */
sg_status sg_tpl_strip(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_value *chars, bool left, bool right,
                       sg_tpl_value *out);
sg_status sg_tpl_replace(sg_tpl *t, const sg_tpl_value *in, const sg_tpl_value *from, const sg_tpl_value *to,
                         int64_t most, sg_tpl_value *out);
typedef enum sg_tpl_case { SG_TPL_UPPER, SG_TPL_LOWER, SG_TPL_TITLE, SG_TPL_CAPITALIZE } sg_tpl_case;
sg_status sg_tpl_recase(sg_tpl *t, const sg_tpl_value *in, sg_tpl_case how, sg_tpl_value *out);
sg_status sg_tpl_items(sg_tpl *t, const sg_tpl_map *map, bool keys, bool values, sg_tpl_value *out);

/* ---- tokens (template_lex.c) ---- */

typedef enum sg_tpl_token_kind {
    SG_TPL_T_TEXT,
    SG_TPL_T_BLOCK, /* {% */
    SG_TPL_T_BLOCK_END,
    SG_TPL_T_PRINT, /* {{ */
    SG_TPL_T_PRINT_END,
    SG_TPL_T_NAME,
    SG_TPL_T_STRING,
    SG_TPL_T_INT,
    SG_TPL_T_FLOAT,
    SG_TPL_T_OP, /* one or two characters */
    SG_TPL_T_END
} sg_tpl_token_kind;

typedef struct sg_tpl_token {
    sg_tpl_token_kind kind;
    int line;
    const char *text;
    size_t n;
    int64_t i;
    double f;
} sg_tpl_token;

sg_status sg_tpl_lex(sg_tpl *t, const char *source, sg_tpl_token **out);

/* ---- trees (template_parse.c) ---- */

typedef enum sg_tpl_node_kind {
    /* statements; a body is a list of them */
    SG_TPL_N_TEXT,   /* value */
    SG_TPL_N_PRINT,  /* a */
    SG_TPL_N_IF,     /* a: condition, body, orelse */
    SG_TPL_N_FOR,    /* list: targets, a: over, b: condition or NULL, body, orelse */
    SG_TPL_N_SET,    /* list: targets, a: value; or NULL and body */
    SG_TPL_N_MACRO,  /* name, list: arguments (name, a: default or NULL), body */
    SG_TPL_N_WITH,   /* list: name and a, body */
    SG_TPL_N_FILTER, /* a: filters over a piece of text (value unset), body */
    SG_TPL_N_BREAK,
    SG_TPL_N_CONTINUE,
    /* expressions */
    SG_TPL_N_VALUE,   /* value */
    SG_TPL_N_BLANK,   /* what a filter block's body came to */
    SG_TPL_N_NAME,    /* name */
    SG_TPL_N_LIST,    /* list */
    SG_TPL_N_TUPLE,   /* list */
    SG_TPL_N_MAP,     /* list: a key, b value */
    SG_TPL_N_COND,    /* b if a else c (or NULL) */
    SG_TPL_N_OR,      /* a, b */
    SG_TPL_N_AND,     /* a, b */
    SG_TPL_N_NOT,     /* a */
    SG_TPL_N_COMPARE, /* a, list: op and a */
    SG_TPL_N_BINARY,  /* op, a, b */
    SG_TPL_N_NEGATE,  /* a */
    SG_TPL_N_PLUS,    /* a */
    SG_TPL_N_MEMBER,  /* a.name */
    SG_TPL_N_ITEM,    /* a[b] */
    SG_TPL_N_SLICE,   /* a[b:c:d] */
    SG_TPL_N_CALL,    /* a(list) */
    SG_TPL_N_PIPE,    /* a|name(list) */
    SG_TPL_N_TEST,    /* a is name(list) */
    SG_TPL_N_ENTRY    /* of a list: name or NULL, a, b, op */
} sg_tpl_node_kind;

typedef struct sg_tpl_node {
    sg_tpl_node_kind kind;
    int line;
    const char *name;
    size_t n_name;
    char op[4]; /* "==", "in", "ni" for not in, "//" ... */
    sg_tpl_value value;
    struct sg_tpl_node *a, *b, *c, *d;
    struct sg_tpl_node *list, *body, *orelse;
    struct sg_tpl_node *next; /* in the list that this is in */
} sg_tpl_node;

sg_status sg_tpl_parse(sg_tpl *t, const sg_tpl_token *tokens, sg_tpl_node **out);

/* ---- running (template_run.c) ---- */

sg_status sg_tpl_run(sg_tpl *t, const sg_tpl_node *body, sg_str *out);

#endif
