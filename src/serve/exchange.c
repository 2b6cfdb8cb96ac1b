/* One request and its answer: everything between the bytes of a head and the bytes of a reply that is not HTTP itself.
 */
#include "serve/exchange.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <utf8proc.h>

#include "serve/assets.h"
#include "serve/events.h"
#include "serve/guard.h"
#include "serve/json.h"

enum {
    MAX_TARGET = 8192,
    MAX_QUERY = 32,
    EMPTY_OBJECT = 16, /* bytes of body where none is taken: some clients send {} with every POST */
    STREAM_BYTES = 256 * 1024,
    MAX_DEPTH = 64,      /* of JSON */
    MAX_VALUES = 1 << 20 /* of JSON, each of which takes some 40 bytes */
};

/* ---- failures as HTTP ---- */

/* The one place where a status becomes a code. */
static const struct {
    int code;
    const char *type;
} http_of[] = {
    [SG_OK] = {200, ""},
    [SG_EARG] = {400, "invalid_request_error"},
    [SG_ENOTFOUND] = {404, "not_found_error"},
    [SG_EIO] = {500, "server_error"},
    [SG_EFORMAT] = {400, "invalid_request_error"},
    [SG_ESHAPE] = {400, "invalid_request_error"},
    [SG_ETYPE] = {400, "invalid_request_error"},
    [SG_ENOMEM] = {503, "server_error"},
    [SG_ENUMERIC] = {422, "invalid_request_error"},
    [SG_EUNSUPPORTED] = {501, "invalid_request_error"},
    [SG_ECANCELLED] = {499, "cancelled"}, /* the client has left, so nobody reads it */
};

int serve_http_code(sg_status status)
{
    return (size_t)status < SG_COUNT_OF(http_of) ? http_of[status].code : 500;
}

static const char *type_of_code(int code)
{
    switch (code) {
    case 401:
        return "authentication_error";
    case 403:
    case 421:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    case 499:
        return "cancelled";
    default:
        return code >= 500 && code != 501 ? "server_error" : "invalid_request_error";
    }
}

const exchange_pair serve_exchange_headers_always[] = {
    {"Content-Security-Policy",
     "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self' "
     "blob:; "
     "img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"X-Frame-Options", "DENY"},
};
const int serve_exchange_n_headers_always = SG_COUNT_OF(serve_exchange_headers_always);

/* ---- the answer ---- */

static void drop_bytes(serve_reply *reply)
{
    if (reply->release)
        reply->release(reply->bytes);
    reply->bytes = NULL;
    reply->n_bytes = 0;
    reply->release = NULL;
}

static void set_error(serve_reply *reply, int code, const char *type, const char *text)
{
    static const char nothing_left[] =
        "{\"error\": {\"message\": \"out of memory\", \"type\": \"server_error\", \"param\": null, \"code\": null}}\n";
    char *body = NULL;
    json_t *root = json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", text, "type", type, "param",
                             reply->param[0] ? reply->param : NULL, "code", reply->error_code);
    if (root)
        body = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    drop_bytes(reply);
    reply->kind = ANSWER_BYTES;
    reply->code = code;
    snprintf(reply->content_type, sizeof reply->content_type, "application/json");
    reply->bytes = body ? body : (void *)(uintptr_t)nothing_left;
    reply->n_bytes = body ? strlen(body) : sizeof nothing_left - 1;
    reply->release = body ? free : NULL;
}

void serve_exchange_refuse(exchange *x, int code, const char *error_code, const char *fmt, ...)
{
    char text[SG_ERROR_TEXT];
    va_list args;

    if (x->reply.kind != ANSWER_NONE)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    x->reply.error_code = error_code;
    set_error(&x->reply, code, type_of_code(code), text);
}

sg_status serve_reply_error(serve_reply *reply, int code, const char *error_code, const char *fmt, ...)
{
    char text[SG_ERROR_TEXT];
    va_list args;

    SG_ASSERT(code >= 400 && reply->kind == ANSWER_NONE);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    serve_exchange_refuse(reply->exchange, code, error_code, "%s", text);
    return SG_OK;
}

void serve_reply_code(serve_reply *reply, int code)
{
    SG_ASSERT(code >= 200 && code < 400);
    reply->code = code;
}

void serve_reply_param(serve_reply *reply, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(reply->param, sizeof reply->param, fmt, args);
    va_end(args);
}

void serve_reply_header(serve_reply *reply, const char *name, const char *value)
{
    SG_ASSERT(reply->n_headers < EXCHANGE_HEADERS && strlen(name) < sizeof reply->header[0].name);
    char *copy = strdup(value);
    if (!copy) {
        reply->headers_lost = true;
        return;
    }
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' '; /* what a name or path brings along cannot end a header */
    snprintf(reply->header[reply->n_headers].name, sizeof reply->header[0].name, "%s", name);
    reply->header[reply->n_headers++].value = copy;
}

void serve_reply_bytes(serve_reply *reply, const char *content_type, void *bytes, size_t n, void (*release)(void *))
{
    SG_ASSERT(reply->kind == ANSWER_NONE);
    reply->kind = ANSWER_BYTES;
    reply->bytes = bytes;
    reply->n_bytes = n;
    reply->release = release;
    snprintf(reply->content_type, sizeof reply->content_type, "%s", content_type);
}

static void check_reply(exchange *x, const json_t *value)
{
    sg_error err;
    serve_misfit misfit;
    const serve_slot *slot = x->slot;

    if (!x->s->opts.check_replies || !slot || !slot->output || (slot->route->flags & SERVE_FILE))
        return;
    if (serve_type_check(slot->output, x->s->types, value, &misfit, &err) == SG_OK)
        return;
    snprintf(x->reply.param, sizeof x->reply.param, "%s", misfit.path);
    serve_exchange_refuse(x, 500, "wrong_reply", "the reply of %s %s is no %s: %s", slot->route->method,
                          slot->route->path, slot->route->output, err.text);
}

void serve_reply_json(serve_reply *reply, json_t *value)
{
    exchange *x = reply->exchange;
    SG_ASSERT(reply->kind == ANSWER_NONE);
    if (value)
        check_reply(x, value);
    if (reply->kind == ANSWER_NONE) {
        /* Numbers of graphs may be NaN or infinite, which JSON has no words for: jansson never makes them, so neither
         * do handlers (json_real refuses them, which shows as NULL here). */
        char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY) : NULL;
        if (text)
            serve_reply_bytes(reply, "application/json", text, strlen(text), free);
        else
            serve_exchange_refuse(x, 500, NULL,
                                  value ? "the reply could not be written" : "out of memory for the reply");
    }
    json_decref(value);
}

/* ---- streams ---- */

sg_status serve_stream_begin(serve_reply *reply, const char *content_type, sg_error *err)
{
    exchange *x = reply->exchange;
    SG_ASSERT(reply->kind == ANSWER_NONE);
    x->stream.bytes = malloc(STREAM_BYTES);
    if (!x->stream.bytes)
        return sg_fail(err, SG_ENOMEM, "out of memory for a stream");
    x->stream.capacity = STREAM_BYTES;
    snprintf(reply->content_type, sizeof reply->content_type, "%s", content_type);
    reply->kind = ANSWER_STREAM;
    serve_exchange_wake(x);
    return SG_OK;
}

bool serve_stream_begun(const serve_reply *reply)
{
    return reply->kind == ANSWER_STREAM;
}

/* Room for all, where nobody reads until the end. */
static bool grow(stream *st, size_t n)
{
    const size_t capacity = (st->n + n) * 2;
    char *more = malloc(capacity);
    if (!more)
        return false;
    const size_t first = SG_MIN(st->n, st->capacity - st->head);
    memcpy(more, st->bytes + st->head, first);
    memcpy(more + first, st->bytes, st->n - first);
    free(st->bytes);
    st->bytes = more;
    st->capacity = capacity;
    st->head = 0;
    return true;
}

static size_t put(stream *st, const char *from, size_t n)
{
    size_t done = 0;
    while (done < n && st->n < st->capacity) {
        const size_t tail = (st->head + st->n) % st->capacity;
        const size_t room = SG_MIN(st->capacity - st->n, st->capacity - tail), now = SG_MIN(room, n - done);
        memcpy(st->bytes + tail, from + done, now);
        st->n += now;
        done += now;
    }
    return done;
}

static void in_seconds(struct timespec *at, double seconds)
{
    clock_gettime(CLOCK_REALTIME, at);
    const double to = (double)at->tv_nsec + seconds * 1e9;
    at->tv_sec += (time_t)(to / 1e9);
    at->tv_nsec = (long)(to - (double)(time_t)(to / 1e9) * 1e9);
}

sg_status serve_stream_write(serve_reply *reply, const void *bytes, size_t n, sg_error *err)
{
    exchange *x = reply->exchange;
    stream *st = &x->stream;
    sg_status status = SG_OK;
    size_t done = 0;

    SG_ASSERT(reply->kind == ANSWER_STREAM);
    pthread_mutex_lock(&st->lock);
    if (st->unbounded && st->capacity - st->n < n && !grow(st, n))
        status = sg_fail(err, SG_ENOMEM, "out of memory for a stream");
    while (status == SG_OK && !x->gone) {
        done += put(st, (const char *)bytes + done, n - done);
        pthread_mutex_unlock(&st->lock);
        serve_exchange_wake(x);
        pthread_mutex_lock(&st->lock);
        if (done == n)
            break;
        struct timespec until;
        in_seconds(&until, x->s->opts.idle_seconds);
        int rc = 0;
        while (st->n == st->capacity && !x->gone && rc == 0)
            rc = pthread_cond_timedwait(&st->room, &st->lock, &until);
        if (st->n == st->capacity && rc)
            x->gone = true; /* so slow a client is dropped */
    }
    if (status == SG_OK && x->gone)
        status = sg_fail(err, SG_ECANCELLED, "the client has left");
    pthread_mutex_unlock(&st->lock);
    return status;
}

long serve_exchange_read(exchange *x, char *to, size_t most)
{
    stream *st = &x->stream;
    const size_t n = SG_MIN(most, st->n);
    size_t done = 0;

    if (x->reply.kind == ANSWER_EVENTS)
        return x->gone ? -1 : serve_events_read(x, to, most);
    while (done < n) {
        const size_t now = SG_MIN(n - done, st->capacity - st->head);
        memcpy(to + done, st->bytes + st->head, now);
        st->head = (st->head + now) % st->capacity;
        st->n -= now;
        done += now;
    }
    if (done)
        pthread_cond_signal(&st->room);
    return done ? (long)done : st->failed || (x->gone && !st->ended) ? -2 : st->ended ? -1 : 0;
}

static void end_stream(exchange *x, bool failed)
{
    pthread_mutex_lock(&x->stream.lock);
    x->stream.ended = true;
    x->stream.failed = failed;
    pthread_mutex_unlock(&x->stream.lock);
    serve_exchange_wake(x);
}

void serve_exchange_wake(exchange *x)
{
    pthread_mutex_lock(&x->stream.lock);
    if (x->wake)
        x->wake(x->waker);
    pthread_mutex_unlock(&x->stream.lock);
}

void serve_exchange_detach(exchange *x)
{
    pthread_mutex_lock(&x->stream.lock);
    x->wake = NULL;
    x->gone = true;
    pthread_cond_broadcast(&x->stream.room);
    pthread_mutex_unlock(&x->stream.lock);
}

void serve_exchange_leave(exchange *x)
{
    x->gone = true;
    pthread_mutex_lock(&x->stream.lock);
    pthread_cond_broadcast(&x->stream.room);
    pthread_mutex_unlock(&x->stream.lock);
}

/* ---- the head ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Undoes %XX where it stands. False: not hexadecimal, or a byte that has no business there. */
static bool decode(char *text, bool plus_is_space)
{
    char *to = text;
    for (const char *p = text; *p; p++) {
        if (*p == '%') {
            const int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);
            if (low < 0 || high * 16 + low == 0)
                return false;
            *to++ = (char)(high * 16 + low);
            p += 2;
        } else {
            *to++ = plus_is_space && *p == '+' ? ' ' : *p;
        }
    }
    *to = '\0';
    return true;
}

static bool is_utf8(const char *text)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t code;
    while (*p) {
        const utf8proc_ssize_t n = utf8proc_iterate(p, -1, &code);
        if (n < 1)
            return false;
        p += n;
    }
    return true;
}

/* Letters, digits and a few marks, in parts that are not empty, "." or "..". */
static bool is_plain_path(const char *path)
{
    if (*path != '/')
        return false;
    for (const char *p = path; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
            return false;
        if (*p != '/')
            continue;
        const size_t n = strcspn(p + 1, "/");
        if ((n == 0 && p[1]) || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
            return false;
    }
    return true;
}

static bool keep_header(exchange *x, const char *name, const char *value)
{
    static const char *const kept[] = {"Accept", "If-None-Match", "Last-Event-ID", "Accept-Encoding"};
    for (size_t i = 0; i < SG_COUNT_OF(kept); i++) {
        if (strcasecmp(kept[i], name) != 0 || x->n_kept == (int)SG_COUNT_OF(x->kept))
            continue;
        char *copy = strdup(value);
        if (!copy)
            return false;
        snprintf(x->kept[x->n_kept].name, sizeof x->kept[0].name, "%s", kept[i]);
        x->kept[x->n_kept++].value = copy;
    }
    return true;
}

const char *serve_header(const serve_request *r, const char *name)
{
    const exchange *x = r->exchange;
    for (int i = 0; i < x->n_kept; i++)
        if (strcasecmp(x->kept[i].name, name) == 0)
            return x->kept[i].value;
    return NULL;
}

/* Headers of which two would mean that two readers could disagree on the request. */
static bool repeats(const exchange_head *head)
{
    static const char *const once[] = {"Host",          "Content-Length", "Transfer-Encoding",
                                       "Authorization", "Origin",         "Content-Type"};
    for (size_t k = 0; k < SG_COUNT_OF(once); k++) {
        int n = 0;
        for (int i = 0; i < head->n_headers; i++)
            n += strcasecmp(head->headers[i].name, once[k]) == 0;
        if (n > 1)
            return true;
    }
    return false;
}

static const char *header_of(const exchange_head *head, const char *name)
{
    for (int i = 0; i < head->n_headers; i++)
        if (strcasecmp(head->headers[i].name, name) == 0)
            return head->headers[i].value;
    return NULL;
}

/* How long the body is to be: refused where that is too long, or told twice. */
static void look_at_body(exchange *x, const exchange_head *head)
{
    const char *length = header_of(head, "Content-Length"), *coding = header_of(head, "Transfer-Encoding");
    const serve_route *route = x->slot->route;
    const bool takes = route->input[0] || (route->flags & SERVE_BYTES);

    x->body_most = !takes ? EMPTY_OBJECT : route->body_bytes ? route->body_bytes : x->s->opts.body_bytes;
    if (length && coding) {
        serve_exchange_refuse(x, 400, "two_lengths", "both Content-Length and Transfer-Encoding were sent");
        return;
    }
    if (length) {
        if (!*length || strspn(length, "0123456789") != strlen(length) || strlen(length) > 18) {
            serve_exchange_refuse(x, 400, "wrong_length", "Content-Length is no number");
            return;
        }
        x->body_told = (size_t)strtoull(length, NULL, 10);
    }
    if (x->body_told > x->body_most)
        serve_exchange_refuse(x, 413, "too_large",
                              takes ? "the body has %zu bytes, at most %zu are taken"
                                    : "%zu bytes of body where %zu are taken",
                              x->body_told, x->body_most);
}

static void look_at_head(exchange *x, const exchange_head *head)
{
    serve *s = x->s;
    char allowed[64] = "";

    if (repeats(head)) {
        serve_exchange_refuse(x, 400, "repeated_header", "a header that may come once came twice");
        return;
    }
    if (!serve_guard_host_is_ours(s, header_of(head, "Host"), head->local)) {
        serve_exchange_refuse(x, 421, "wrong_host", "this server does not answer for the host \"%.80s\"",
                              header_of(head, "Host") ? header_of(head, "Host") : "");
        return;
    }
    if (!serve_guard_origin_is_ours(s, header_of(head, "Origin"), header_of(head, "Host"))) {
        serve_exchange_refuse(x, 403, "wrong_origin", "another page may not ask this server");
        return;
    }
    if (strlen(x->target) > MAX_TARGET) {
        serve_exchange_refuse(x, 414, "too_long", "the address has more than %d bytes", MAX_TARGET);
        return;
    }
    char *query = strchr(x->target, '?');
    if (query)
        *query++ = '\0';
    x->path = x->target;
    x->query = query;
    if (strcmp(x->method, "OPTIONS") == 0 && strcmp(x->path, "*") == 0)
        snprintf(x->target, 2, "/");
    if (!decode(x->path, false) || !is_plain_path(x->path)) {
        serve_exchange_refuse(x, 400, "wrong_path", "the path holds what no path here does");
        return;
    }
    if (serve_guard_sign_in(x))
        return;
    const char *method = x->head_only ? "GET" : x->method;
    x->slot = serve_find_route(s, method, x->path, x->room, x->param, allowed);
    const bool open = x->slot && (x->slot->route->flags & SERVE_OPEN);
    if (!open && !serve_guard_is_known(s, header_of(head, "Authorization"), header_of(head, "Cookie"),
                                       header_of(head, "Sec-Fetch-Site"))) {
        serve_guard_ask(x, header_of(head, "Accept"));
        return;
    }
    if (strcmp(x->method, "OPTIONS") == 0) {
        if (allowed[0] || x->slot) {
            serve_reply_header(&x->reply, "Allow", allowed[0] ? allowed : "GET, HEAD");
            serve_reply_code(&x->reply, 204);
            serve_reply_bytes(&x->reply, "text/plain", NULL, 0, NULL);
            return;
        }
    }
    if (!x->slot && allowed[0]) {
        serve_reply_header(&x->reply, "Allow", allowed);
        serve_exchange_refuse(x, 405, "wrong_method", "%.80s takes %s, not %.20s", x->path, allowed, x->method);
        return;
    }
    if (!x->slot) {
        x->slot = &s->slot[s->n_slots];
        if (strcmp(method, "GET") == 0)
            serve_assets_answer(x);
        serve_exchange_refuse(x, 404, "no_such_path", "nothing is at %.200s", x->path);
        return;
    }
    if (x->head_only && (x->slot->route->flags & SERVE_STREAM)) {
        serve_reply_header(&x->reply, "Allow", "GET");
        serve_exchange_refuse(x, 405, "wrong_method", "%.80s is a stream and has no HEAD", x->path);
        return;
    }
    look_at_body(x, head);
}

exchange *serve_exchange_new(serve *s, const exchange_head *head)
{
    exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->s = s;
    x->holders = 1;
    x->began = sg_now();
    x->reply.exchange = x;
    x->reply.code = 200;
    pthread_mutex_init(&x->stream.lock, NULL);
    pthread_cond_init(&x->stream.room, NULL);
    x->target = strdup(head->target);
    x->room = malloc(strlen(head->target) + 2);
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    x->method = "other";
    for (size_t i = 0; i < SG_COUNT_OF(methods); i++)
        if (strcmp(methods[i], head->method) == 0)
            x->method = methods[i];
    x->head_only = strcmp(x->method, "HEAD") == 0;
    bool kept = x->target && x->room;
    for (int i = 0; i < head->n_headers && kept; i++)
        kept = keep_header(x, head->headers[i].name, head->headers[i].value);
    if (!kept) {
        serve_exchange_release(x);
        return NULL;
    }
    const char *content_type = header_of(head, "Content-Type"), *length = header_of(head, "Content-Length");
    x->has_body = header_of(head, "Transfer-Encoding") || (length && strcmp(length, "0") != 0);
    snprintf(x->content_type, sizeof x->content_type, "%s", content_type ? content_type : "");
    if (s->stopping)
        serve_exchange_refuse(x, 503, "stopping", "the server is stopping");
    else
        look_at_head(x, head);
    return x;
}

void serve_exchange_hold(exchange *x)
{
    x->holders++;
}

void serve_exchange_release(exchange *x)
{
    if (!x || --x->holders > 0)
        return;
    drop_bytes(&x->reply);
    for (int i = 0; i < x->reply.n_headers; i++)
        free(x->reply.header[i].value);
    for (int i = 0; i < x->n_kept; i++)
        free(x->kept[i].value);
    if (x->reader)
        serve_events_leave(x);
    pthread_mutex_destroy(&x->stream.lock);
    pthread_cond_destroy(&x->stream.room);
    free(x->stream.bytes);
    free(x->target);
    free(x->room);
    free(x->body);
    free(x);
}

bool serve_exchange_answered(const exchange *x)
{
    return x->reply.kind != ANSWER_NONE;
}

/* ---- the body ---- */

void serve_exchange_body(exchange *x, const void *bytes, size_t n)
{
    if (x->reply.kind != ANSWER_NONE)
        return;
    if (n > x->body_most - x->body_bytes) {
        serve_exchange_refuse(x, 413, "too_large", "the body has more than %zu bytes", x->body_most);
        free(x->body);
        x->body = NULL;
        x->body_bytes = x->body_capacity = 0;
        return;
    }
    if (x->body_capacity - x->body_bytes < n + 1) {
        /* What was told is taken at once only where it is small, since telling costs the client nothing. */
        size_t capacity = SG_MAX(x->body_capacity * 2, x->body_bytes + n + 1);
        if (x->body_told < 65536 && x->body_told > capacity)
            capacity = x->body_told + 1;
        char *more = realloc(x->body, capacity);
        if (!more) {
            serve_exchange_refuse(x, 503, NULL, "out of memory for the body");
            return;
        }
        x->body = more;
        x->body_capacity = capacity;
    }
    memcpy(x->body + x->body_bytes, bytes, n);
    x->body_bytes += n;
    x->body[x->body_bytes] = '\0';
}

/* A query as an object of texts, then of what its type asks for. */
static json_t *read_query(exchange *x, const serve_type *type)
{
    json_t *all = json_object();
    int n = 0;

    for (char *at = x->query, *next; all && at && *at; at = next) {
        next = strchr(at, '&');
        if (next)
            *next++ = '\0';
        char *value = strchr(at, '=');
        if (value)
            *value++ = '\0';
        else
            value = at + strlen(at);
        if (++n > MAX_QUERY || !decode(at, true) || !decode(value, true) || !is_utf8(at) || !is_utf8(value)) {
            serve_exchange_refuse(x, 400, "wrong_query", "the query %s",
                                  n > MAX_QUERY ? "has too many parts" : "is no text");
            break;
        }
        const serve_type *of = NULL;
        for (int i = 0; type && type->kind == SERVE_OBJECT && i < type->n; i++)
            if (strcmp(type->field[i].name, at) == 0)
                of = type->field[i].type;
        if (json_object_get(all, at)) {
            serve_exchange_refuse(x, 400, "wrong_query", "the query has two values for \"%.60s\"", at);
            break;
        }
        if (json_object_set_new(all, at, of ? serve_type_read_text(of, x->s->types, value) : json_string(value)) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    if (!all)
        serve_exchange_refuse(x, 503, NULL, "out of memory for the query");
    return all;
}

const char *serve_query(const serve_request *r, const char *name)
{
    return json_string_value(json_object_get(r->query, name));
}

double serve_query_number(const serve_request *r, const char *name, double without)
{
    const json_t *value = json_object_get(r->query, name);
    return json_is_number(value) ? json_number_value(value) : without;
}

static void misfits(exchange *x, const serve_misfit *misfit, const sg_error *err)
{
    snprintf(x->reply.param, sizeof x->reply.param, "%s", misfit->path);
    serve_exchange_refuse(x, 400, misfit->code, "%s", err->text);
}

static json_t *read_body(exchange *x)
{
    const serve_slot *slot = x->slot;
    sg_error err;
    serve_misfit misfit;
    json_t *body = NULL;

    if (slot->route->flags & SERVE_BYTES)
        return NULL;
    if (!slot->input) {
        if (x->body_bytes && (x->body[0] != '{' || x->body[strspn(x->body + 1, " \r\n") + 1] != '}'))
            serve_exchange_refuse(x, 400, "unwanted_body", "%.80s takes no body", x->path);
        return NULL;
    }
    if (x->body_bytes == 0) {
        if (!(slot->route->flags & SERVE_OPTIONAL))
            serve_exchange_refuse(x, 400, "no_body", "the body is empty, wanted JSON of type %s", slot->route->input);
        return NULL;
    }
    if (strncasecmp(x->content_type, "application/json", 16) != 0) {
        serve_exchange_refuse(x, 415, "wrong_content_type", "the body is %.60s, wanted application/json",
                              x->content_type[0] ? x->content_type : "of no type");
        return NULL;
    }
    if (serve_json_read(&body, x->body, x->body_bytes, MAX_DEPTH, MAX_VALUES, &err) != SG_OK) {
        serve_exchange_refuse(x, serve_http_code(err.status), "wrong_json", "%s", err.text);
        return NULL;
    }
    if (serve_type_check(slot->input, x->s->types, body, &misfit, &err) != SG_OK)
        misfits(x, &misfit, &err);
    return body;
}

void serve_exchange_run(exchange *x)
{
    sg_error err = {SG_OK, ""};
    json_t *query = NULL, *body = NULL;
    serve_misfit misfit;

    if (x->reply.kind != ANSWER_NONE)
        return;
    query = read_query(x, x->slot->query);
    if (x->reply.kind == ANSWER_NONE && serve_type_check(x->slot->query, x->s->types, query, &misfit, &err) != SG_OK)
        misfits(x, &misfit, &err);
    if (x->reply.kind == ANSWER_NONE)
        body = read_body(x);
    if (x->reply.kind == ANSWER_NONE) {
        const serve_route *route = x->slot->route;
        const bool bytes = route->flags & SERVE_BYTES;
        const serve_request r = {.method = x->method,
                                 .path = x->path,
                                 .param = {x->param[0], x->param[1], x->param[2], x->param[3]},
                                 .body = body,
                                 .bytes = bytes ? x->body : NULL,
                                 .n_bytes = bytes ? x->body_bytes : 0,
                                 .content_type = x->content_type,
                                 .gone = &x->gone,
                                 .query = query,
                                 .exchange = x};
        sg_status status = SG_OK;
        if (!x->gone)
            status = route->run(x->s, &r, &x->reply, &err);
        else
            status = sg_fail(&err, SG_ECANCELLED, "the client has left");
        if (x->reply.kind == ANSWER_STREAM) {
            end_stream(x, status != SG_OK);
        } else if (status != SG_OK) {
            drop_bytes(&x->reply);
            x->reply.kind = ANSWER_NONE;
            const char *type = (size_t)status < SG_COUNT_OF(http_of) ? http_of[status].type : "server_error";
            set_error(&x->reply, serve_http_code(status), type, err.text);
        } else if (x->reply.kind == ANSWER_NONE) {
            serve_exchange_refuse(x, 500, NULL, "%s %s gave no answer", route->method, route->path);
        }
    }
    json_decref(query);
    json_decref(body);
    if (x->reply.headers_lost && x->reply.kind == ANSWER_BYTES)
        set_error(&x->reply, 503, "server_error", "out of memory for the reply");
    /* An error that a handler returned after a stream began is told by its end being missing. */
}

void serve_exchange_finish(exchange *x)
{
    if (x->counted)
        return;
    x->counted = true;
    serve *s = x->s;
    const double seconds = sg_now() - x->began;
    serve_observe(x->slot ? x->slot : &s->slot[s->n_slots], x->reply.code, seconds);
    if (s->opts.log) {
        char line[512];
        /* Without the query, which may hold the token. */
        snprintf(line, sizeof line, "%s %.200s %d %zu bytes %.1f ms", x->method, x->path ? x->path : "?", x->reply.code,
                 x->reply.n_bytes, seconds * 1e3);
        s->opts.log(s->opts.context, line);
    }
}
