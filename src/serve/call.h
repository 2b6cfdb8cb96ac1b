/* Requests without a socket, for tests and fuzzing: bytes in, bytes out.
 *
 *     serve_answer a = serve_call(s, "POST", "/api/v1/length", "{\"text\": \"abc\"}");
 *     CHECK(a.code == 200 && json_integer_value(json_object_get(a.json, "length")) == 3);
 *     serve_answer_free(&a);
 *
 * They go the whole way, from the head's checks to the answer, on the caller's thread. */
#ifndef SG_SERVE_CALL_H
#define SG_SERVE_CALL_H

#include "serve/exchange.h"

typedef struct serve_answer {
    int code;
    char content_type[128];
    char *headers; /* "Name: value\n" for each of the handler's */
    char *body;    /* with a NUL behind it; a stream's as far as it went */
    size_t n;
    json_t *json; /* NULL: the body is none */
    bool cut;     /* a stream that did not come to its end */
} serve_answer;

/* With the token, the right Host and, where there is a body, the content type application/json. */
serve_answer serve_call(serve *s, const char *method, const char *target, const char *body);

typedef struct serve_call_opts {
    const char *method, *target;
    const void *body;
    size_t n_body;
    const char *content_type; /* "application/json" */
    bool no_token, no_host;   /* leave these headers away */
    int n_headers;            /* more */
    const exchange_pair *headers;
} serve_call_opts;
serve_call_opts serve_call_defaults(void);
serve_answer serve_call_with(serve *s, const serve_call_opts *opts);
void serve_answer_free(serve_answer *a); /* a zeroed one is fine */

#endif
