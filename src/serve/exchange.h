/* Exchanges: one request and its answer, whether they come over a socket or from a test.
 *
 * A life: serve_exchange_new looks at the head (it may answer at once), serve_exchange_body takes the body's bytes,
 * serve_exchange_run reads the JSON and calls the handler, and the answer is then either whole or a stream that is read
 * as it grows. Two hold it, the connection and the thread that answers, and the last one to let go frees it. */
#ifndef SG_SERVE_EXCHANGE_H
#define SG_SERVE_EXCHANGE_H

#include "serve/server.h"

typedef struct exchange_pair {
    const char *name, *value;
} exchange_pair;

typedef struct exchange_head {
    const char *method, *target; /* "/api/v1/jobs?n=3", as it was sent */
    int n_headers;
    const exchange_pair *headers;
    const char *local; /* the address that the client reached, "127.0.0.1"; NULL: the one bound */
} exchange_head;

typedef enum answer_kind {
    ANSWER_NONE,
    ANSWER_BYTES,
    ANSWER_STREAM,
    ANSWER_EVENTS /* a stream that is read from the events' one buffer */
} answer_kind;

enum { EXCHANGE_HEADERS = 24 };

struct serve_reply {
    answer_kind kind;
    int code;
    char content_type[128];
    void *bytes;
    size_t n_bytes;
    void (*release)(void *);
    int n_headers;
    struct {
        char name[40];
        char *value;
    } header[EXCHANGE_HEADERS];
    bool headers_lost; /* memory ran out */
    char param[SERVE_PATH];
    const char *error_code; /* NULL: none */
    exchange *exchange;
};

typedef struct stream {
    pthread_mutex_t lock;
    pthread_cond_t room;
    char *bytes; /* a ring */
    size_t capacity, head, n;
    bool ended, failed, unbounded;
} stream;

struct exchange {
    serve *s;
    atomic_int holders;
    atomic_bool gone;
    exchange *next; /* in the queue */

    const char *method;
    bool head_only; /* HEAD */
    char *target;   /* cut into path and query where it stands */
    char *path, *query;
    serve_slot *slot;
    char *room, *param[4]; /* what stood for the route's braces */
    int n_kept;
    struct {
        char name[24];
        char *value;
    } kept[4];
    char *body;
    size_t body_bytes, body_capacity, body_most;
    size_t body_told; /* Content-Length, 0 where none */
    bool has_body;
    char content_type[128];
    double began;

    serve_reply reply;
    stream stream;
    struct event_reader *reader; /* of ANSWER_EVENTS */
    bool counted;

    /* The connection, under the stream's lock. `wake` is called, from any thread, when there is more of the answer to
     * read: at its beginning and, for streams, as they grow. NULL once there is no connection. */
    void (*wake)(void *waker);
    void *waker;
    atomic_bool reply_sent; /* its head went out, so that waking means reading on */
};

/* NULL: no memory. Otherwise it may have been answered already, see serve_exchange_answered. */
exchange *serve_exchange_new(serve *s, const exchange_head *head);
void serve_exchange_hold(exchange *x);
void serve_exchange_release(exchange *x); /* NULL is fine */

bool serve_exchange_answered(const exchange *x);
void serve_exchange_body(exchange *x, const void *bytes, size_t n);
/* Reads the body and runs the handler: the answer is then complete, or its stream has ended. */
void serve_exchange_run(exchange *x);
/* The client is not there any more, or is not waited for: handlers see it, streams fail. */
void serve_exchange_leave(exchange *x);
/* Answers with an error instead, where nothing was answered. */
void serve_exchange_refuse(exchange *x, int code, const char *error_code, const char *fmt, ...) SG_PRINTF(4, 5);
/* Counts it once; after this the answer's size is known. */
void serve_exchange_finish(exchange *x);

/* Tells the connection that there is more to read. The stream's lock is not held. */
void serve_exchange_wake(exchange *x);
/* There is no connection any more. */
void serve_exchange_detach(exchange *x);
/* Reads what a stream holds: bytes, 0 where there is nothing yet, -1 at its end, -2 where it broke off. The stream's
 * lock is held. */
long serve_exchange_read(exchange *x, char *to, size_t most);

/* Headers that every answer carries. */
extern const exchange_pair serve_exchange_headers_always[];
extern const int serve_exchange_n_headers_always;

/* The cookie's name, which carries the port since cookies do not tell ports apart. */
const char *serve_exchange_cookie_name(const serve *s, char buf[40]);

int serve_http_code(sg_status status);

#endif
