/* The front, over sockets: requests that are cut, joined, slow, too large or not HTTP, clients that leave and clients
 * that do not read; and that whoever behaves never notices. */
#include <pthread.h>
#include <time.h>

#include "check.h"
#include "raw_client.h"
#include "serve/events.h"
#include "serve/exchange.h"
#include "serve/http.h"

/* ---- routes of our own ---- */

static atomic_int n_entered, n_cancelled, n_ended;
static atomic_bool hold;

static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Waits until it is let go or the client leaves. */
static sg_status wait_here(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)err;
    n_entered++;
    while (hold && !*r->gone)
        rest();
    if (*r->gone)
        n_cancelled++;
    n_ended++;
    serve_reply_json(reply, json_pack("{s:b}", "gone", (int)*r->gone));
    return SG_OK;
}

/* Writes without end. */
static sg_status pour(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    static char block[8192];
    sg_status status;
    (void)s;
    (void)r;
    memset(block, 'x', sizeof block);
    n_entered++;
    status = serve_stream_begin(reply, "text/plain", err);
    while (status == SG_OK)
        status = serve_stream_write(reply, block, sizeof block, err);
    if (status == SG_ECANCELLED)
        n_cancelled++;
    n_ended++;
    return status;
}

/* n numbers, a line each. */
static sg_status count_up(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const int n = (int)serve_query_number(r, "n", 3);
    char line[32];
    (void)s;
    SG_TRY(serve_stream_begin(reply, "text/plain", err));
    for (int i = 0; i < n; i++) {
        const int k = snprintf(line, sizeof line, "%d\n", i);
        SG_TRY(serve_stream_write(reply, line, (size_t)k, err));
    }
    return SG_OK;
}

static sg_status length(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)err;
    serve_reply_json(reply, json_pack("{s:I}", "n", (json_int_t)r->n_bytes));
    return SG_OK;
}

static const serve_route routes[] = {
    {"GET", "/t/wait", wait_here, "", "", "", SERVE_FILE, "-", 0},
    {"GET", "/t/pour", pour, "", "", "", SERVE_STREAM, "-", 0},
    {"GET", "/t/count", count_up, "", "", "n: integer", SERVE_STREAM, "-", 0},
    {"POST", "/t/length", length, "", "", "", SERVE_BYTES | SERVE_FILE, "-", 4 << 20},
    {0},
};

#define KNOWN "Host: localhost:%d\r\nAuthorization: Bearer test-token\r\n"

static sg_server_opts usual(void)
{
    sg_server_opts opts = sg_server_defaults();
    opts.token = "test-token";
    return opts;
}

static sg_server *start(const sg_server_opts *opts)
{
    sg_server *s;
    sg_error err;
    n_entered = n_cancelled = n_ended = 0;
    hold = true;
    CHECK_OK(sg_server_new(&s, opts, &err), &err);
    CHECK_OK(serve_add_routes(s, routes, &err), &err);
    CHECK_OK(sg_server_start(s, &err), &err);
    return s;
}

static raw_client say(sg_server *s, const char *fmt, ...) SG_PRINTF(2, 3);
static raw_client say(sg_server *s, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    raw_client c = raw_connect(sg_server_port(s));
    CHECK(c.fd >= 0);
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    CHECK(raw_puts(&c, text));
    return c;
}

/* Says it and checks how the answer begins. */
static void answers(sg_server *s, const char *request, const char *begins)
{
    raw_client c = say(s, "%s", request);
    if (!raw_wait_for(&c, "\r\n\r\n") || strncmp(c.got, begins, strlen(begins)) != 0)
        print_error("%.200s\n  gives %.300s\n", request, c.got ? c.got : "nothing");
    CHECK(c.got && strncmp(c.got, begins, strlen(begins)) == 0);
    raw_close(&c);
}

static void wait_until(atomic_int *n, int what)
{
    for (int i = 0; i < 5000 && *n < what; i++)
        rest();
    CHECK(*n >= what);
}

static bool is_well(sg_server *s)
{
    raw_client c = say(s, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", sg_server_port(s));
    const bool well = raw_wait_for(&c, "\"status\":\"ok\"");
    raw_close(&c);
    return well;
}

/* ---- ---- */

static void requests_come_in_every_form(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    const int port = sg_server_port(s);
    raw_client c;
    (void)state;

    /* Two at once, then one on the same connection byte by byte. */
    c = say(s, "GET /health HTTP/1.1\r\nHost: localhost:%d\r\n\r\nGET /t/count?n=2 HTTP/1.1\r\n" KNOWN "\r\n", port,
            port);
    CHECK(raw_wait_for(&c, "\"status\":\"ok\""));
    CHECK(raw_wait_for(&c, "1\n")); /* in a chunk of its own, or not */
    char slow[200];
    snprintf(slow, sizeof slow, "GET /t/count?n=4 HTTP/1.1\r\n" KNOWN "Connection: close\r\n\r\n", port);
    for (const char *p = slow; *p; p++)
        CHECK(raw_send(&c, p, 1));
    CHECK(raw_wait_for(&c, "3\n"));
    CHECK(raw_wait_end(&c));
    raw_close(&c);

    /* Bodies with a length and in chunks. */
    c = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 5\r\n\r\nab", port);
    CHECK(!raw_receive(&c, 50));
    CHECK(raw_puts(&c, "cde"));
    CHECK(raw_wait_for(&c, "{\"n\":5}"));
    raw_close(&c);
    c = say(s,
            "POST /t/length HTTP/1.1\r\n" KNOWN "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
            port);
    CHECK(raw_wait_for(&c, "{\"n\":7}"));
    raw_close(&c);
    c = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", port);
    CHECK(raw_wait_for(&c, "100 Continue"));
    CHECK(raw_puts(&c, "abcde"));
    CHECK(raw_wait_for(&c, "{\"n\":5}"));
    raw_close(&c);

    /* HTTP/1.0: no chunks, an end by closing. */
    c = say(s, "GET /t/count?n=3 HTTP/1.0\r\n" KNOWN "\r\n", port);
    CHECK(raw_wait_end(&c));
    CHECK_TEXT(c.got, "\r\n\r\n0\n1\n2\n");
    raw_close(&c);
    c = say(s, "HEAD /health HTTP/1.1\r\n" KNOWN "Connection: close\r\n\r\n", port);
    CHECK(raw_wait_end(&c));
    CHECK_TEXT(c.got, "Content-Length: ");
    CHECK(strcmp(c.got + c.n - 4, "\r\n\r\n") == 0);
    raw_close(&c);
    sg_server_free(s);
}

static void every_answer_says_how_it_may_be_used(void **state)
{
    static const char *const wanted[] = {
        "Content-Security-Policy: default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; ",
        "X-Content-Type-Options: nosniff\r\n",
        "Referrer-Policy: no-referrer\r\n",
        "Cross-Origin-Opener-Policy: same-origin\r\n",
        "Cross-Origin-Resource-Policy: same-origin\r\n",
        "Cache-Control: no-store\r\n"};
    static const char *const requests[] = {"GET /health", "GET /nowhere", "GET /t/count?n=1", "POST /health",
                                           "OPTIONS /health"};
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(requests); i++) {
        raw_client c = say(s, "%s HTTP/1.1\r\n" KNOWN "\r\n", requests[i], sg_server_port(s));
        CHECK(raw_wait_for(&c, "\r\n\r\n"));
        for (size_t k = 0; k < SG_COUNT_OF(wanted); k++)
            CHECK_TEXT(c.got, wanted[k]);
        CHECK(strstr(c.got, "Access-Control") == NULL);
        raw_close(&c);
    }
    sg_server_free(s);
}

static void what_is_no_request_is_refused(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    char text[512];
    (void)state;
    answers(s, "GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 400");
    answers(s, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 421");
    answers(s, "GET /health HTTP/1.1\r\nHost: localhost:1\r\n\r\n", "HTTP/1.1 421");
    answers(s, "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 421");
    snprintf(text, sizeof text, "GET /../../etc/passwd HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    answers(s, text, "HTTP/1.1 400");
    snprintf(text, sizeof text, "GET /%%2e%%2e/%%2e%%2e/etc/passwd HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    answers(s, text, "HTTP/1.1 400");
    snprintf(text, sizeof text, "GET /metrics HTTP/1.1\r\nHost: localhost:%d\r\n\r\n", sg_server_port(s));
    answers(s, text, "HTTP/1.1 401");
    snprintf(text, sizeof text, "GET /metrics HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: Bearer wrong\r\n\r\n",
             sg_server_port(s));
    answers(s, text, "HTTP/1.1 401");
    snprintf(text, sizeof text,
             "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
             sg_server_port(s));
    answers(s, text, "HTTP/1.1 400");
    snprintf(text, sizeof text, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: -3\r\n\r\n", sg_server_port(s));
    answers(s, text, "HTTP/1.1 400");
    snprintf(text, sizeof text, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 4194305\r\n\r\n",
             sg_server_port(s));
    answers(s, text, "HTTP/1.1 413");
    static const char *const noise[] = {"\r\n\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n",
                                        "GET / HTTP/9.9\r\n\r\n", "{}\r\n\r\n"};
    for (size_t i = 0; i < SG_COUNT_OF(noise); i++) {
        raw_client c = say(s, "%s", noise[i]);
        raw_receive(&c, 50);
        raw_close(&c);
    }
    CHECK(is_well(s));
    sg_server_free(s);
}

static void heads_and_bodies_without_end_are_cut_off(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    char line[1024];
    raw_client c;
    (void)state;

    /* A header of many megabytes. */
    memset(line, 'a', sizeof line);
    c = say(s, "GET /health HTTP/1.1\r\nX: ");
    int sent = 0;
    while (sent < 400000 && raw_send(&c, line, sizeof line)) /* the system keeps some megabytes on the way */
        sent++;
    CHECK(sent < 400000);
    raw_close(&c);
    /* Very many headers. */
    c = say(s, "GET /health HTTP/1.1\r\nHost: localhost:%d\r\n", sg_server_port(s));
    for (int i = 0; i < 80; i++)
        raw_puts(&c, "A: b\r\n");
    raw_puts(&c, "\r\n");
    CHECK(raw_wait_for(&c, "\r\n\r\n"));
    CHECK_TEXT(c.got, "HTTP/1.1 431");
    raw_close(&c);
    /* A body in chunks that goes on and on. */
    c = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Transfer-Encoding: chunked\r\n\r\n", sg_server_port(s));
    sent = 0;
    while (sent < 400000 && raw_puts(&c, "400\r\n") && raw_send(&c, line, sizeof line) && raw_puts(&c, "\r\n"))
        sent++;
    CHECK(sent < 400000);
    raw_close(&c);
    CHECK(is_well(s));
    sg_server_free(s);
}

static void slow_requests_and_silent_connections_are_dropped(void **state)
{
    sg_server_opts opts = usual();
    opts.idle_seconds = 1;
    opts.read_seconds = 1.5;
    sg_server *s = start(&opts);
    raw_client silent = raw_connect(sg_server_port(s)), drip = say(s, "GET /health HTTP/1.1\r\nHost: localh"),
               body = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 1000\r\n\r\n", sg_server_port(s));
    (void)state;
    /* A byte now and then keeps neither of them alive. */
    for (int i = 0; i < 100 && !(drip.ended && body.ended); i++) {
        raw_send(&drip, "o", 1);
        raw_send(&body, "o", 1);
        raw_receive(&drip, 50);
        raw_receive(&body, 50);
    }
    CHECK(drip.ended && body.ended);
    CHECK(raw_wait_end(&silent));
    CHECK(is_well(s));
    raw_close(&silent);
    raw_close(&drip);
    raw_close(&body);
    sg_server_free(s);
}

static void a_handler_sees_that_its_client_has_left(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    (void)state;
    raw_client a = say(s, "GET /t/wait HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s)),
               b = say(s, "GET /t/pour HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    wait_until(&n_entered, 2);
    CHECK(raw_wait_for(&b, "xxxx"));
    raw_close(&a);
    raw_close(&b);
    wait_until(&n_cancelled, 2);
    wait_until(&n_ended, 2);
    CHECK(is_well(s));
    sg_server_free(s);
}

static void a_request_that_is_cut_frees_its_connection(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    (void)state;
    for (int i = 0; i < 20; i++) {
        raw_client a = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 500\r\n\r\n", sg_server_port(s)),
                   b = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 500\r\n\r\nabc", sg_server_port(s)),
                   c = say(s, "GET /hea");
        raw_close(&a);
        raw_close(&b);
        raw_close(&c);
    }
    for (int i = 0; i < 5000 && serve_http_n_connections(s->http); i++) /* 10 s, and 30 where it takes the time limit */
        rest();
    CHECK(serve_http_n_connections(s->http) == 0);
    sg_server_free(s);
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
    sg_server_opts opts = usual();
    opts.idle_seconds = 1;
    sg_server *s = start(&opts);
    (void)state;
    raw_client c = say(s, "GET /t/pour HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    wait_until(&n_cancelled, 1); /* while the connection is still open on this side */
    raw_close(&c);
    CHECK(is_well(s));
    sg_server_free(s);
}

static void too_many_requests_are_told_to_come_again(void **state)
{
    sg_server_opts opts = usual();
    opts.n_waiting = 3;
    sg_server *s = start(&opts);
    raw_client c[12];
    int busy = 0, done = 0;
    (void)state;

    for (int i = 0; i < 2; i++)
        c[i] = say(s, "GET /t/wait HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    wait_until(&n_entered, 2); /* both workers are taken */
    for (int i = 2; i < 12; i++)
        c[i] = say(s, "GET /t/wait HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    for (int i = 0; i < 200 && busy < 7; i++) {
        busy = 0;
        for (int k = 2; k < 12; k++) {
            raw_receive(&c[k], 5);
            busy += c[k].got && strstr(c[k].got, "503") && strstr(c[k].got, "Retry-After: 1");
        }
    }
    CHECK(busy == 7);
    hold = false;
    for (int k = 0; k < 12; k++) {
        CHECK(raw_wait_for(&c[k], "\r\n\r\n"));
        done += strstr(c[k].got, "HTTP/1.1 200") != NULL;
        raw_close(&c[k]);
    }
    CHECK(done == 5);
    sg_server_free(s);
}

static void connections_have_a_bound_and_come_back(void **state)
{
    sg_server_opts opts = usual();
    opts.n_connections = 8;
    sg_server *s = start(&opts);
    raw_client c[30];
    int refused = 0;
    (void)state;
    for (int i = 0; i < 30; i++)
        c[i] = raw_connect(sg_server_port(s));
    for (int i = 0; i < 200 && refused < 22; i++) {
        refused = 0;
        for (int k = 0; k < 30; k++) {
            raw_receive(&c[k], 2);
            refused += c[k].ended;
        }
    }
    CHECK(refused >= 22);
    for (int i = 0; i < 20; i++) /* those who say nothing keep nobody out */
        CHECK(is_well(s));
    for (int k = 0; k < 30; k++)
        raw_close(&c[k]);
    bool well = false;
    for (int i = 0; i < 100 && !well; i++)
        well = is_well(s);
    CHECK(well);
    sg_server_free(s);
}

/* ---- events ---- */

static void publish(sg_server *s, const char *name, int n, bool keep)
{
    serve_publish(s, name, json_pack("{s:i}", "n", n), keep);
}

static void events_reach_every_client_of_their_topic(void **state)
{
    enum { CLIENTS = 20, EVENTS = 50 };
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    raw_client c[CLIENTS],
        other = say(s, "GET /api/v1/events?topics=chat HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    char last[80];
    (void)state;

    for (int i = 0; i < CLIENTS; i++)
        c[i] = say(s, "GET /api/v1/events?topics=run,job.done HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    for (int i = 0; i < CLIENTS; i++)
        CHECK(raw_wait_for(&c[i], "retry: 1000"));
    CHECK(raw_wait_for(&other, "retry: 1000"));
    for (int i = 0; i < EVENTS; i++) {
        publish(s, "run.scalar", i, i % 2);
        publish(s, "job.progress", 1000 + i, false);
    }
    publish(s, "job.done", 7, true);
    publish(s, "chat.token", 8, false);
    snprintf(last, sizeof last, "event: job.done\ndata: {\"n\":7,");
    for (int i = 0; i < CLIENTS; i++) {
        CHECK(raw_wait_for(&c[i], last));
        const char *at = c[i].got;
        for (int k = 0; k < EVENTS; k++) { /* each of them, in order */
            char one[80];
            snprintf(one, sizeof one, "event: run.scalar\ndata: {\"n\":%d,", k);
            at = strstr(at, one);
            CHECK(at != NULL);
        }
        CHECK(strstr(c[i].got, "job.progress") == NULL && strstr(c[i].got, "chat.token") == NULL);
        raw_close(&c[i]);
    }
    CHECK(raw_wait_for(&other, "event: chat.token\ndata: {\"n\":8,"));
    CHECK(strstr(other.got, "run.scalar") == NULL);
    raw_close(&other);
    for (int i = 0; i < 500 && serve_events_n_readers(s->events); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    CHECK(serve_events_n_readers(s->events) == 0); /* those who left are forgotten */
    sg_server_free(s);
}

static void a_client_that_comes_back_gets_what_it_missed(void **state)
{
    char folder[] = "/tmp/sg-events-XXXXXX", command[80];
    sg_server_opts opts = usual();
    (void)state;
    CHECK(mkdtemp(folder) != NULL);
    opts.workspace = folder;
    sg_server *s = start(&opts);
    raw_client c = say(s, "GET /api/v1/events HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    CHECK(raw_wait_for(&c, "retry: 1000"));
    for (int i = 0; i < 5; i++)
        publish(s, "run.scalar", i, true);
    CHECK(raw_wait_for(&c, "\"n\":4,"));
    long id = 0;
    for (char *p = c.got; (p = strstr(p, "\nid: ")) != NULL; p++) {
        id = atol(p + 5);
        if (strncmp(strstr(p, "data: "), "data: {\"n\":1,", 13) == 0)
            break;
    }
    CHECK(id > 0);
    raw_close(&c);

    /* From the ring, with the header that browsers send. */
    c = say(s, "GET /api/v1/events HTTP/1.1\r\n" KNOWN "Last-Event-ID: %ld\r\n\r\n", sg_server_port(s), id);
    CHECK(raw_wait_for(&c, "\"n\":4,"));
    CHECK(strstr(c.got, "\"n\":2,") && !strstr(c.got, "\"n\":1,"));
    raw_close(&c);
    sg_server_free(s);

    /* From the workspace, of a server that was started again. */
    s = start(&opts);
    publish(s, "run.scalar", 5, true);
    c = say(s, "GET /api/v1/events?last=%ld HTTP/1.1\r\n" KNOWN "\r\n", id, sg_server_port(s));
    CHECK(raw_wait_for(&c, "\"n\":5,"));
    CHECK(strstr(c.got, "\"n\":2,") && strstr(c.got, "\"n\":4,") && !strstr(c.got, "\"n\":1,"));
    CHECK(strstr(strstr(c.got, "\"n\":4,"), "\"n\":5,") != NULL);
    raw_close(&c);
    c = say(s, "GET /api/v1/events HTTP/1.1\r\n" KNOWN "Last-Event-ID: x\r\n\r\n", sg_server_port(s));
    CHECK(raw_wait_for(&c, "400"));
    raw_close(&c);
    sg_server_free(s);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

static void who_reads_too_slowly_is_told_what_it_lost(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    char *large = malloc(20001);
    (void)state;
    CHECK(large != NULL);
    memset(large, 'y', 20000);
    large[20000] = '\0';
    raw_client c = say(s, "GET /api/v1/events HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s));
    CHECK(raw_wait_for(&c, "retry: 1000"));
    for (int i = 0; i < 2000; i++) /* 40 MB, of which the ring keeps 8 */
        serve_publish(s, "run.frame", json_pack("{s:s}", "x", large), false);
    publish(s, "run.end", 1, false);
    CHECK(raw_wait_for(&c, "event: run.end"));
    CHECK_TEXT(c.got, "event: server.lost\ndata: {\"from\":");
    CHECK(c.n < 30u << 20);
    raw_close(&c);
    free(large);
    sg_server_free(s);
}

/* ---- ends ---- */

static void stopping_ends_what_runs(void **state)
{
    const sg_server_opts opts = usual();
    sg_server *s = start(&opts);
    raw_client a = say(s, "GET /t/wait HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s)),
               b = say(s, "GET /t/pour HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s)),
               c = say(s, "GET /api/v1/events HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s)),
               d = say(s, "GET /t/wait HTTP/1.1\r\n" KNOWN "\r\n", sg_server_port(s)),
               e = raw_connect(sg_server_port(s)),
               f = say(s, "POST /t/length HTTP/1.1\r\n" KNOWN "Content-Length: 10\r\n\r\n12", sg_server_port(s));
    (void)state;
    wait_until(&n_entered, 2);
    CHECK(sg_server_stop(s, 10));
    CHECK(n_ended >= 2);
    CHECK(raw_wait_end(&a) && raw_wait_end(&b) && raw_wait_end(&c) && raw_wait_end(&d) && raw_wait_end(&e) &&
          raw_wait_end(&f));
    raw_client late = raw_connect(sg_server_port(s));
    CHECK(late.fd < 0);
    sg_server_free(s);
    raw_close(&a);
    raw_close(&b);
    raw_close(&c);
    raw_close(&d);
    raw_close(&e);
    raw_close(&f);
}

static void a_port_that_is_taken_is_told(void **state)
{
    sg_server_opts opts = usual();
    sg_server *s = start(&opts), *second;
    sg_error err;
    (void)state;
    opts.port = sg_server_port(s);
    CHECK_OK(sg_server_new(&second, &opts, &err), &err);
    CHECK_STATUS(sg_server_start(second, &err), SG_EIO);
    CHECK_TEXT(err.text, "in use");
    sg_server_free(second);
    opts.host = "example.org";
    CHECK_OK(sg_server_new(&second, &opts, &err), &err);
    CHECK_STATUS(sg_server_start(second, &err), SG_EARG);
    CHECK_TEXT(err.text, "wanted an address");
    sg_server_free(second);
    sg_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_in_every_form),
        cmocka_unit_test(every_answer_says_how_it_may_be_used),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(heads_and_bodies_without_end_are_cut_off),
        cmocka_unit_test(slow_requests_and_silent_connections_are_dropped),
        cmocka_unit_test(a_handler_sees_that_its_client_has_left),
        cmocka_unit_test(a_request_that_is_cut_frees_its_connection),
        cmocka_unit_test(a_client_that_does_not_read_is_dropped),
        cmocka_unit_test(too_many_requests_are_told_to_come_again),
        cmocka_unit_test(connections_have_a_bound_and_come_back),
        cmocka_unit_test(events_reach_every_client_of_their_topic),
        cmocka_unit_test(a_client_that_comes_back_gets_what_it_missed),
        cmocka_unit_test(who_reads_too_slowly_is_told_what_it_lost),
        cmocka_unit_test(stopping_ends_what_runs),
        cmocka_unit_test(a_port_that_is_taken_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
