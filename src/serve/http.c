/* libmicrohttpd in front of exchanges.
 *
 * One thread of its reads heads and bodies and writes answers. When a request is whole its connection is suspended and
 * the exchange waits for a worker; the answer, or the beginning of a stream, resumes it. A stream's connection is
 * suspended again whenever there is nothing to send. What the library cannot see of a suspended connection, a second
 * thread looks at from time to time: clients that have left, requests and answers that take too long.
 *
 * The library is loaded when a server starts: it brings GnuTLS along, which takes longer than all else that happens
 * before the first line of any other command. */
#define _GNU_SOURCE /* POLLRDHUP: that the other side will send no more */
#include "serve/http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serve/events.h"

#define CALLS(X)                                                                                                       \
    X(MHD_start_daemon)                                                                                                \
    X(MHD_stop_daemon)                                                                                                 \
    X(MHD_quiesce_daemon)                                                                                              \
    X(MHD_get_connection_values)                                                                                       \
    X(MHD_get_connection_info)                                                                                         \
    X(MHD_create_response_from_buffer_with_free_callback_cls)                                                          \
    X(MHD_create_response_from_callback)                                                                               \
    X(MHD_add_response_header)                                                                                         \
    X(MHD_destroy_response)                                                                                            \
    X(MHD_queue_response)                                                                                              \
    X(MHD_suspend_connection)                                                                                          \
    X(MHD_resume_connection)

typedef struct calls {
#define X(f) __typeof__(&f) f;
    CALLS(X)
#undef X
} calls;

enum {
    MAX_HEADERS = 64,
    POOL_BYTES = 32 * 1024,
    SPARE = 64 /* connections that are being ended to make room */,
    BLOCK_BYTES = 32 * 1024,
    BYTES_PER_SECOND = 64 * 1024
};
static const double quiet_seconds = 1;

/* One connection. What it waits for: `since` is when it began, 0 while a handler answers. */
typedef struct peer {
    struct peer *next, *before;
    int fd;
    double since, allowed;
    bool known;  /* its request has the token */
    exchange *x; /* of which the answer is being made or sent */
} peer;

struct http {
    serve *s;
    void *library;
    calls mhd;
    struct MHD_Daemon *daemon;
    int listener;
    pthread_t watcher;
    bool watching, quiet;
    pthread_mutex_t lock;
    pthread_cond_t tick;
    peer *links;
    int n_links;
    bool ending;
};

/* One request on a connection; the library keeps it between its calls. */
typedef struct call {
    http *h;
    struct MHD_Connection *connection;
    char *target;
    exchange *x;
    bool submitted;
    size_t dropped; /* bytes of body that nobody wants */
    bool suspended; /* under the stream's lock */
} call;

static bool load(http *h, sg_error *err)
{
    h->library = dlopen("libmicrohttpd.so.12", RTLD_NOW | RTLD_LOCAL);
    if (!h->library) {
        sg_fail(err, SG_ENOTFOUND, "the server needs libmicrohttpd: %.200s", dlerror());
        return false;
    }
#define X(f)                                                                                                           \
    *(void **)(void *)&h->mhd.f = dlsym(h->library, #f);                                                               \
    if (!h->mhd.f) {                                                                                                   \
        sg_fail(err, SG_EUNSUPPORTED, "libmicrohttpd has no " #f);                                                     \
        return false;                                                                                                  \
    }
    CALLS(X)
#undef X
    return true;
}

/* ---- connections ---- */

static peer *peer_of(http *h, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        h->mhd.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? *(peer *const *)(const void *)info : NULL;
}

static void set_wait(http *h, peer *l, double seconds)
{
    if (!l)
        return;
    pthread_mutex_lock(&h->lock);
    l->since = seconds > 0 ? sg_now() : 0;
    l->allowed = seconds;
    pthread_mutex_unlock(&h->lock);
}

static void set_known(http *h, peer *l, bool known)
{
    if (!l)
        return;
    pthread_mutex_lock(&h->lock);
    l->known = known;
    pthread_mutex_unlock(&h->lock);
}

static void set_exchange(http *h, peer *l, exchange *x)
{
    if (!l)
        return;
    pthread_mutex_lock(&h->lock);
    l->x = x;
    if (x)
        pthread_cond_signal(&h->tick);
    pthread_mutex_unlock(&h->lock);
}

/* There are too many: the one goes whose request has been coming for longest, and of those without the token first, so
 * that whoever opens connections and says nothing on them keeps nobody out. The lock is held. */
static void make_room(http *h)
{
    peer *oldest = NULL;
    for (peer *l = h->links; l; l = l->next)
        if (l->since > 0 && !l->x &&
            (!oldest || l->known < oldest->known || (l->known == oldest->known && l->since < oldest->since)))
            oldest = l;
    if (oldest) {
        shutdown(oldest->fd, SHUT_RDWR);
        oldest->since = 0;
    }
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    http *h = context;
    peer *l = *socket_context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            h->mhd.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = l = calloc(1, sizeof *l);
        if (!l)
            return; /* its request will be refused */
        l->fd = info ? info->connect_fd : -1;
        l->since = sg_now();
        l->allowed = h->s->opts.read_seconds;
        pthread_mutex_lock(&h->lock);
        l->next = h->links;
        if (l->next)
            l->next->before = l;
        h->links = l;
        if (++h->n_links > h->s->opts.n_connections)
            make_room(h);
        pthread_mutex_unlock(&h->lock);
        return;
    }
    if (!l)
        return;
    /* The socket is closed after this, so that nobody looks at a number that means another one by then. */
    pthread_mutex_lock(&h->lock);
    *(l->before ? &l->before->next : &h->links) = l->next;
    if (l->next)
        l->next->before = l->before;
    h->n_links--;
    pthread_mutex_unlock(&h->lock);
    free(l);
    *socket_context = NULL;
}

/* ---- answers ---- */

/* Any thread, under the stream's lock: there is more to read. */
static void wake(void *waker)
{
    call *c = waker;
    if (c->suspended) {
        c->suspended = false;
        c->h->mhd.MHD_resume_connection(c->connection);
    }
}

static void suspend(call *c)
{
    c->suspended = true;
    c->h->mhd.MHD_suspend_connection(c->connection);
}

static ssize_t read_answer(void *context, uint64_t at, char *to, size_t most)
{
    call *c = context;
    exchange *x = c->x;
    (void)at;

    pthread_mutex_lock(&x->stream.lock);
    const long n = serve_exchange_read(x, to, most);
    if (n == 0)
        suspend(c);
    pthread_mutex_unlock(&x->stream.lock);
    if (n > 0)
        x->s->bytes_out += (unsigned long long)n;
    return n >= 0    ? (ssize_t)n
           : n == -1 ? (ssize_t)MHD_CONTENT_READER_END_OF_STREAM
                     : (ssize_t)MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_answer(void *context)
{
    serve_exchange_release(context);
}

static void free_nothing(void *context)
{
    (void)context; /* the call goes with its request */
}

static enum MHD_Result send_answer(call *c)
{
    http *h = c->h;
    exchange *x = c->x;
    struct MHD_Response *response;

    pthread_mutex_lock(&x->stream.lock); /* what the worker wrote is seen from here on */
    serve_reply *reply = &x->reply;
    if (reply->kind == ANSWER_BYTES) {
        serve_exchange_hold(x);
        response = h->mhd.MHD_create_response_from_buffer_with_free_callback_cls(
            reply->n_bytes, reply->n_bytes ? reply->bytes : (void *)(uintptr_t) "", free_answer, x);
        if (!response)
            serve_exchange_release(x);
        x->s->bytes_out += reply->n_bytes;
    } else {
        response =
            h->mhd.MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_answer, c, free_nothing);
    }
    x->reply_sent = true;
    pthread_mutex_unlock(&x->stream.lock);
    if (!response)
        return MHD_NO;
    for (int i = 0; i < serve_exchange_n_headers_always; i++)
        h->mhd.MHD_add_response_header(response, serve_exchange_headers_always[i].name,
                                       serve_exchange_headers_always[i].value);
    bool caching = false;
    for (int i = 0; i < reply->n_headers; i++) {
        h->mhd.MHD_add_response_header(response, reply->header[i].name, reply->header[i].value);
        caching |= strcmp(reply->header[i].name, "Cache-Control") == 0;
    }
    if (!caching)
        h->mhd.MHD_add_response_header(response, "Cache-Control", "no-store");
    if (reply->code != 204 && reply->code != 304)
        h->mhd.MHD_add_response_header(response, "Content-Type", reply->content_type);
    set_wait(h, peer_of(h, c->connection),
             reply->kind == ANSWER_BYTES ? h->s->opts.read_seconds + (double)reply->n_bytes / BYTES_PER_SECOND : 0);
    const enum MHD_Result queued = h->mhd.MHD_queue_response(c->connection, (unsigned)reply->code, response);
    h->mhd.MHD_destroy_response(response);
    return queued;
}

/* ---- requests ---- */

typedef struct head_lines {
    exchange_pair pair[MAX_HEADERS];
    int n;
    bool too_many;
} head_lines;

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    head_lines *lines = context;
    (void)kind;
    if (lines->n == MAX_HEADERS) {
        lines->too_many = true;
        return MHD_NO;
    }
    lines->pair[lines->n++] = (exchange_pair){name, value ? value : ""};
    return MHD_YES;
}

/* The address that the client reached. */
static const char *local_address(int fd, char buf[64])
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        return NULL;
    if (at.ss_family == AF_INET)
        return inet_ntop(AF_INET, &((struct sockaddr_in *)&at)->sin_addr, buf, 64);
    const struct in6_addr *six = &((struct sockaddr_in6 *)&at)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six))
        return inet_ntop(AF_INET, six->s6_addr + 12, buf, 64);
    return inet_ntop(AF_INET6, six, buf, 64);
}

/* The first call of a request: its target as it was sent. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->h = context;
    c->connection = connection;
    c->target = strdup(target);
    return c;
}

static enum MHD_Result on_head(call *c, const char *method)
{
    http *h = c->h;
    peer *l = peer_of(h, c->connection);
    head_lines lines = {.n = 0};
    char local[64];

    if (!c->target || !l)
        return MHD_NO;
    h->mhd.MHD_get_connection_values(c->connection, MHD_HEADER_KIND, on_header, &lines);
    const exchange_head head = {method, c->target, lines.n, lines.pair, local_address(l->fd, local)};
    c->x = serve_exchange_new(h->s, &head);
    if (!c->x)
        return MHD_NO;
    c->x->wake = wake;
    c->x->waker = c;
    if (lines.too_many)
        serve_exchange_refuse(c->x, 431, "too_many_headers", "the request has more than %d headers", MAX_HEADERS);
    /* Before a body an answer ends the connection, so that the body need not be read; else it waits for the next call.
     */
    if (serve_exchange_answered(c->x) && c->x->has_body)
        return send_answer(c);
    set_wait(h, l, h->s->opts.read_seconds + (double)c->x->body_told / BYTES_PER_SECOND);
    set_known(h, l, !serve_exchange_answered(c->x));
    return MHD_YES;
}

static enum MHD_Result on_call(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *bytes, size_t *n_bytes, void **own)
{
    call *c = *own;
    (void)context;
    (void)url;
    (void)version;

    if (!c)
        return MHD_NO;
    c->connection = connection;
    if (!c->x)
        return on_head(c, method);
    if (*n_bytes) {
        c->x->s->bytes_in += *n_bytes;
        serve_exchange_body(c->x, bytes, *n_bytes);
        if (serve_exchange_answered(c->x))
            c->dropped += *n_bytes;
        *n_bytes = 0;
        /* A body whose length was not told is refused at its end, but not for ever. */
        return c->dropped > 1 << 20 ? MHD_NO : MHD_YES;
    }
    if (c->submitted || serve_exchange_answered(c->x))
        return send_answer(c);
    c->submitted = true;
    peer *l = peer_of(c->h, connection);
    set_wait(c->h, l, 0);
    set_exchange(c->h, l, c->x);
    pthread_mutex_lock(&c->x->stream.lock);
    suspend(c);
    pthread_mutex_unlock(&c->x->stream.lock);
    if (serve_submit(c->h->s, c->x) != SG_OK) {
        serve_reply_header(&c->x->reply, "Retry-After", "1");
        serve_exchange_refuse(c->x, 503, "busy", "%d requests wait already", c->h->s->opts.n_waiting);
        serve_exchange_wake(c->x);
    }
    return MHD_YES;
}

static void on_end(void *context, struct MHD_Connection *connection, void **own, enum MHD_RequestTerminationCode why)
{
    http *h = context;
    call *c = *own;
    (void)why;

    if (!c)
        return;
    peer *l = peer_of(h, connection);
    set_exchange(h, l, NULL);
    set_wait(h, l, h->s->opts.read_seconds);
    set_known(h, l, false);
    if (c->x) {
        serve_exchange_detach(c->x);
        serve_exchange_finish(c->x);
        serve_exchange_release(c->x);
    }
    free(c->target);
    free(c);
    *own = NULL;
}

/* ---- what a suspended connection does not show ---- */

/* *busy: some answer is being made, rather than a client waiting for events. True: some connection is to be looked at
 * again soon. */
static bool look(http *h, bool *busy)
{
    const double now = sg_now();
    bool any = false;

    *busy = false;

    for (peer *l = h->links; l; l = l->next) {
        if (l->since > 0 && now - l->since > l->allowed) {
            shutdown(l->fd, SHUT_RDWR);
            l->since = 0;
        }
        if (!l->x)
            continue;
        any = true;
        *busy |= !(l->x->reply_sent && l->x->reader);
        struct pollfd p = {.fd = l->fd, .events = POLLRDHUP};
        if (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
            serve_exchange_leave(l->x);
            /* A stream is looked at again and closed; a handler that computes is left to find out. */
            if (l->x->reply_sent)
                serve_exchange_wake(l->x);
        }
    }
    return any;
}

/* What large requests took goes back to the system once it has been quiet for a while: an allocator keeps it else. */
static void give_back(bool busy, double *last, bool *done)
{
    if (busy) {
        *last = sg_now();
        *done = false;
    } else if (!*done && sg_now() - *last > quiet_seconds) {
        *done = true;
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    }
}

static void *watch(void *context)
{
    http *h = context;
    struct timespec until;
    double last = 0;
    bool given_back = true;

    pthread_mutex_lock(&h->lock);
    while (!h->ending) {
        bool busy;
        const bool any = look(h, &busy);
        pthread_mutex_unlock(&h->lock);
        give_back(busy, &last, &given_back);
        pthread_mutex_lock(&h->lock);
        if (h->ending)
            break;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += any ? 100000000 : 999999999;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&h->tick, &h->lock, &until);
        if (h->s->events)
            serve_events_tick(h->s->events);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* ---- begin and end ---- */

static sg_status listen_at(http *h, sg_error *err)
{
    serve *s = h->s;
    const char *host = strcmp(s->opts.host, "localhost") == 0 ? "127.0.0.1" : s->opts.host;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->opts.port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)s->opts.port)};
    const bool is_four = inet_pton(AF_INET, host, &four.sin_addr) == 1;
    const int yes = 1;

    /* Names are not looked up: that could ask another machine. */
    if (!is_four && inet_pton(AF_INET6, host, &six.sin6_addr) != 1)
        return sg_fail(err, SG_EARG,
                       "the host is \"%.80s\", wanted an address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost",
                       s->opts.host);
    h->listener = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (h->listener < 0)
        return sg_fail(err, SG_EIO, "no socket: %s", strerror(errno));
    setsockopt(h->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const struct sockaddr *at = is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six;
    const socklen_t n = is_four ? sizeof four : sizeof six;
    if (bind(h->listener, at, n) != 0 || listen(h->listener, 128) != 0)
        return sg_fail(err, SG_EIO, "%s port %d: %s", s->opts.host, s->opts.port, strerror(errno));
    struct sockaddr_storage bound;
    socklen_t n_bound = sizeof bound;
    if (getsockname(h->listener, (struct sockaddr *)&bound, &n_bound) != 0)
        return sg_fail(err, SG_EIO, "%s: %s", s->opts.host, strerror(errno));
    s->port = ntohs(is_four ? ((struct sockaddr_in *)&bound)->sin_port : ((struct sockaddr_in6 *)&bound)->sin6_port);
    return SG_OK;
}

sg_status serve_http_start(http **out, serve *s, sg_error *err)
{
    http *h = calloc(1, sizeof *h);

    if (!h)
        return sg_fail(err, SG_ENOMEM, "out of memory for the server");
    h->s = s;
    h->listener = -1;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->tick, NULL);
    sg_status status = load(h, err) ? listen_at(h, err) : err ? err->status : SG_ENOTFOUND;
    if (status != SG_OK) {
        serve_http_stop(h);
        return status;
    }
    /* poll, not epoll: with its edges version 0.9.75 does not see the end of a body that is cut right behind the head,
     * and such connections would add up until they time out. For some hundreds of them poll costs nothing. */
    h->daemon = h->mhd.MHD_start_daemon(
        MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_call, h,
        MHD_OPTION_LISTEN_SOCKET, h->listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)(s->opts.n_connections + SPARE),
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)(s->opts.n_connections + SPARE / 2),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(s->opts.idle_seconds < 1 ? 1 : s->opts.idle_seconds),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, h, MHD_OPTION_END);
    if (h->daemon)
        h->watching = pthread_create(&h->watcher, NULL, watch, h) == 0;
    if (!h->daemon || !h->watching) {
        serve_http_stop(h);
        return sg_fail(err, SG_EIO, "the server's thread could not be started");
    }
    *out = h;
    return SG_OK;
}

int serve_http_n_connections(http *h)
{
    pthread_mutex_lock(&h->lock);
    const int n = h->n_links;
    pthread_mutex_unlock(&h->lock);
    return n;
}

void serve_http_quiesce(http *h)
{
    if (h->daemon && !h->quiet) {
        h->quiet = true;
        h->mhd.MHD_quiesce_daemon(h->daemon);
    }
    pthread_mutex_lock(&h->lock);
    for (peer *l = h->links; l; l = l->next) {
        if (!l->x)
            continue;
        serve_exchange_leave(l->x);
        if (l->x->reply_sent)
            serve_exchange_wake(l->x);
    }
    pthread_mutex_unlock(&h->lock);
}

void serve_http_stop(http *h)
{
    if (!h)
        return;
    if (h->watching) {
        serve_http_quiesce(h);
        pthread_mutex_lock(&h->lock);
        h->ending = true;
        pthread_cond_signal(&h->tick);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->watcher, NULL);
    }
    if (h->daemon)
        h->mhd.MHD_stop_daemon(h->daemon);
    if (h->listener >= 0)
        close(h->listener);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->tick);
    free(h);
}
