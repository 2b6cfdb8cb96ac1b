/* Routes: what a request becomes, and how a handler answers it.
 *
 *     static sg_status answer(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
 *     {
 *         const char *text = json_string_value(json_object_get(r->body, "text")); // a string: the type said so
 *         ...
 *         serve_reply_json(reply, json_pack("{s:I}", "length", (json_int_t)strlen(text)));
 *         return SG_OK;
 *     }
 *     const serve_route serve_routes_length[] = {
 *         {"POST", "/api/v1/length", answer, "LengthRequest", "Length", "", 0, "Bytes of a text.", 0}, {0}};
 *
 * and a line SERVE_ROUTES(length) in routes.def, its two types in types.def.
 *
 * A handler sees a request whose body was read whole (bounded), whose token, Host and Origin were checked, and whose
 * JSON is of the type that the route names. It runs on a worker thread, may take its time, and either fills the reply
 * or returns a status, which one table turns into an HTTP code with the error's text. */
#ifndef SG_SERVE_ROUTE_H
#define SG_SERVE_ROUTE_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/base.h"
#include "sightglass/serve.h"

typedef struct sg_server serve;         /* registry, workspace, events: the functions below reach them */
typedef struct serve_reply serve_reply; /* what goes back */

/* ---- what came ---- */

typedef struct serve_request {
    const char *method, *path;
    const char
        *param[4]; /* what stood in the path's braces, in order; only [A-Za-z0-9._-], 1 to 128 bytes, not "." or ".." */
    const json_t *body; /* checked against the route's input type; NULL where it takes none */
    const void *bytes;  /* the raw body where the route takes bytes (SERVE_BYTES) */
    size_t n_bytes;
    const char *content_type; /* "" where none was sent */
    const atomic_bool *gone;  /* set when the client has left or the server stops: long work looks at it */
    const json_t *query;      /* an object, checked against the route's query: numbers are numbers */
    const struct exchange *exchange;
} serve_request;

const char *serve_query(const serve_request *r, const char *name); /* as it was sent, decoded; NULL: absent */
double serve_query_number(const serve_request *r, const char *name, double without);
const char *serve_header(const serve_request *r,
                         const char *name); /* NULL: absent. Accept, If-None-Match, Last-Event-ID */

/* ---- what goes back: exactly one of these per request ---- */

void serve_reply_json(serve_reply *reply, json_t *value); /* takes value over; NULL (no memory) becomes a 500 */
/* Takes bytes over, and gives them to `release` (NULL: they stay, as static ones do). */
void serve_reply_bytes(serve_reply *reply, const char *content_type, void *bytes, size_t n, void (*release)(void *));
/* safetensors, or npy where n is 1 and the client accepts application/x-npy. The numbers are copied. */
sg_status serve_reply_tensors(serve_reply *reply, const serve_request *r, int n, const char *const *names,
                              const sg_tensor *values, sg_error *err) SG_MUST_CHECK;

/* A stream: headers go out at once, then what is written. Writing waits while the client is slow (bounded), and fails
 * with SG_ECANCELLED once it has left. A handler that fails after begin cuts the stream, so that the client sees that
 * the end is missing. */
sg_status serve_stream_begin(serve_reply *reply, const char *content_type, sg_error *err) SG_MUST_CHECK;
sg_status serve_stream_write(serve_reply *reply, const void *bytes, size_t n, sg_error *err) SG_MUST_CHECK;
bool serve_stream_begun(const serve_reply *reply);

/* Before any of the above. */
void serve_reply_header(serve_reply *reply, const char *name, const char *value);
void serve_reply_code(serve_reply *reply, int code); /* 200 unless said; 201, 202, 204 */
/* Which field of the request a failure is about, for "param" of the error: "edits[2].strength". */
void serve_reply_param(serve_reply *reply, const char *fmt, ...) SG_PRINTF(2, 3);

/* Answers with an error of a code that no status stands for: 409 "busy". Returns SG_OK, since that is an answer. */
sg_status serve_reply_error(serve_reply *reply, int code, const char *error_code, const char *fmt, ...) SG_PRINTF(4, 5);

/* ---- routes ---- */

typedef sg_status serve_handler(serve *s, const serve_request *r, serve_reply *reply, sg_error *err);

enum {
    SERVE_OPEN = 1,     /* needs no token */
    SERVE_BYTES = 2,    /* the body is bytes, not JSON */
    SERVE_STREAM = 4,   /* may answer as a stream, and take long: has threads of its own */
    SERVE_OPTIONAL = 8, /* the body may be absent */
    SERVE_FILE = 16,    /* answers with bytes whatever `output` says, such as tensors */
    SERVE_QUICK = 32    /* though a stream it takes no thread for longer than others */
};

typedef struct serve_route {
    const char *method, *path; /* "POST", "/api/v1/models/{model}/run" */
    serve_handler *run;
    const char *input, *output; /* names of types in types.def, or "" */
    const char *query;          /* "from?: number, n?: number", or "" */
    int flags;
    const char *what;  /* one sentence for people: docs/api.md */
    size_t body_bytes; /* of the body; 0: the server's bound for JSON */
} serve_route;

/* More routes for one server, before it is started: for tests. The list ends with a route without a path. */
sg_status serve_add_routes(serve *s, const serve_route *routes, sg_error *err) SG_MUST_CHECK;

/* ---- the server, for handlers ---- */

const sg_server_opts *serve_opts(const serve *s);

/* An event for everyone who listens to its topic, the part of the name before the dot ("job.progress"). Takes payload
 * over; the server adds "seq" and "time". Kept events can be asked for again after a restart. */
void serve_publish(serve *s, const char *name, json_t *payload, bool keep);

/* Counters of GET /metrics, from metrics.def. */
typedef enum serve_counter {
#define SERVE_COUNTER(name, text, help) SERVE_COUNT_##name,
#include "serve/metrics.def"
#undef SERVE_COUNTER
    SERVE_N_COUNTERS
} serve_counter;
void serve_count(serve *s, serve_counter c, double n);

/* A part of the server with a life of its own, such as the registry of models: made before the first request, ended
 * after the last one. A line SERVE_PART(models) in routes.def names `const serve_part serve_part_models`. */
typedef struct serve_part {
    const char *name;
    sg_status (*make)(void **out, serve *s, sg_error *err);
    void (*end)(void *part);
} serve_part;
void *serve_part_of(const serve *s, const serve_part *part); /* NULL: not made */

#endif
