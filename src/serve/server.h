/* What the files of the server share, and handlers do not see. */
#ifndef SG_SERVE_SERVER_H
#define SG_SERVE_SERVER_H

#include <pthread.h>

#include "serve/route.h"
#include "serve/types.h"

typedef struct exchange exchange;
typedef struct http http;
typedef struct workspace workspace;
typedef struct events events;
typedef struct jobs jobs;

/* ---- routes, with what is counted of each ---- */

enum { SERVE_MAX_ROUTES = 256, SERVE_LATENCIES = 12, SERVE_CODES = 12 };

typedef struct serve_code_count {
    atomic_int code; /* 0: free */
    atomic_ullong n;
} serve_code_count;

typedef struct serve_slot {
    const serve_route *route; /* NULL: what fits no route */
    const serve_type *input, *output, *query;
    serve_code_count codes[SERVE_CODES];
    atomic_ullong latency[SERVE_LATENCIES + 1]; /* not added up */
    atomic_ullong nanoseconds;
} serve_slot;

enum { SERVE_SHORT, SERVE_LONG, SERVE_N_LANES, SERVE_MAX_THREADS = 16 };

/* Requests that wait for a thread, and the threads. */
typedef struct serve_lane {
    serve *s;
    exchange *first, *last;
    int n_waiting, n_answering;
    pthread_cond_t more;
    pthread_t thread[SERVE_MAX_THREADS];
    int n_threads;
} serve_lane;

struct sg_server {
    sg_server_opts opts; /* its texts are the server's own */
    sg_arena *arena;
    serve_types *types;
    int n_slots;
    serve_slot slot[SERVE_MAX_ROUTES + 1]; /* the last one stands for no route */
    void *part[16];
    char token[129];
    char url[512];
    int port;
    double began;

    workspace *workspace;
    events *events;
    jobs *jobs;
    http *http;

    /* Threads that answer: those of streams, which take long, do not keep the others waiting. */
    serve_lane lane[SERVE_N_LANES];
    pthread_mutex_t lock;
    atomic_bool stopping;
    pthread_cond_t idle; /* signalled when a lane's last handler has ended */

    atomic_ullong counter[SERVE_N_COUNTERS]; /* in millionths, so that parts of one add up too */
    atomic_ullong bytes_in, bytes_out;
};

/* Every route of routes.def; all of them end with a route without a path. */
const serve_route *const *serve_route_lists(int *n);

/* The slot that path and method fit; what stands for its braces is written to `room`, of strlen(path) + 1 bytes. NULL:
 * no such path, or with the methods that it has ("GET, HEAD, POST") in `allowed` only the method is wrong. */
serve_slot *serve_find_route(serve *s, const char *method, const char *path, char *room, char *param[4],
                             char allowed[64]);

sg_status serve_submit(serve *s, exchange *x); /* SG_EUNSUPPORTED: too many wait */
int serve_n_waiting(serve *s);
int serve_n_answering(serve *s);
/* Waits, at most `seconds`, until no handler runs that a person waits for; those of streams are not waited for. */
void serve_let_people_go_first(serve *s, double seconds);

/* ---- metrics ---- */

void serve_observe(serve_slot *slot, int code, double seconds);
sg_status serve_metrics_text(serve *s, sg_str *out);
size_t serve_resident(void); /* bytes of this process in memory */

#endif
