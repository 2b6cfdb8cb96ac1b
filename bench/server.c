/* Rows of the server: what a request costs beyond what is computed for it, and how soon an event is heard. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "raw_client.h"
#include "serve/route.h"

enum { REPEATS = 100, CLIENTS = 20 };

typedef struct server {
    sg_server *s;
    raw_client c[CLIENTS];
    int n;
} server;

static void close_server(void *self)
{
    server *s = self;
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        raw_close(&s->c[i]);
    sg_server_free(s->s);
    free(s);
}

static sg_status open_server(server **out, sg_error *err)
{
    sg_server_opts opts = sg_server_defaults();
    server *s = *out = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    opts.token = "bench-token";
    SG_TRY(sg_server_new(&s->s, &opts, err));
    return sg_server_start(s->s, err);
}

static sg_status connect_one(server *s, const char *path, sg_error *err)
{
    char text[300];
    raw_client *c = &s->c[s->n];
    *c = raw_connect(sg_server_port(s->s));
    if (c->fd < 0)
        return sg_fail(err, SG_EIO, "no connection to the server");
    s->n++;
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: Bearer bench-token\r\n\r\n",
             path, sg_server_port(s->s));
    return raw_puts(c, text) ? SG_OK : sg_fail(err, SG_EIO, "the server does not read");
}

/* Until this has come; what came before it is forgotten. */
static bool hear(raw_client *c, const char *what)
{
    for (;;) {
        char *at = c->got ? strstr(c->got, what) : NULL;
        if (at) {
            c->n = 0;
            c->got[0] = '\0';
            return true;
        }
        if (c->ended || !raw_receive(c, 10000))
            return false;
    }
}

/* ---- a request without work, on a connection that stays open ---- */

static sg_status open_requests(void **self, bench *b, const bench_row *row, sg_error *err)
{
    (void)b, (void)row;
    SG_TRY(open_server((server **)self, err));
    server *s = *self;
    SG_TRY(connect_one(s, "/health", err));
    return hear(&s->c[0], "\"status\":\"ok\"") ? SG_OK : sg_fail(err, SG_EIO, "the server does not answer");
}

static sg_status run_requests(void *self, double *seconds, sg_error *err)
{
    server *s = self;
    char text[120];
    snprintf(text, sizeof text, "GET /health HTTP/1.1\r\nHost: localhost:%d\r\n\r\n", sg_server_port(s->s));
    const double start = sg_now();
    for (int i = 0; i < REPEATS; i++) {
        raw_puts(&s->c[0], text);
        if (!hear(&s->c[0], "uptime\":"))
            return sg_fail(err, SG_EIO, "the server does not answer");
    }
    *seconds = (sg_now() - start) / REPEATS;
    return SG_OK;
}

/* ---- from the publishing of an event until the last of 20 clients has it; the slowest of many ---- */

static sg_status open_events(void **self, bench *b, const bench_row *row, sg_error *err)
{
    (void)b, (void)row;
    SG_TRY(open_server((server **)self, err));
    server *s = *self;
    for (int i = 0; i < CLIENTS; i++) {
        SG_TRY(connect_one(s, "/api/v1/events?topics=bench", err));
        if (!hear(&s->c[i], "retry: "))
            return sg_fail(err, SG_EIO, "the server does not answer");
    }
    return SG_OK;
}

static sg_status run_events(void *self, double *seconds, sg_error *err)
{
    server *s = self;
    *seconds = 0;
    for (int i = 0; i < REPEATS; i++) {
        char text[40];
        snprintf(text, sizeof text, "\"n\":%d,", i);
        const double start = sg_now();
        serve_publish(s->s, "bench.tick", json_pack("{s:i}", "n", i), true);
        for (int k = 0; k < CLIENTS; k++)
            if (!hear(&s->c[k], text))
                return sg_fail(err, SG_EIO, "an event did not come");
        *seconds = SG_MAX(*seconds, sg_now() - start);
    }
    return SG_OK;
}

const bench_row bench_server_rows[] = {
    {.name = "request", .unit = "ms", .scale = 1e3, .open = open_requests, .run = run_requests, .close = close_server},
    {.name = "event_20_clients",
     .unit = "ms",
     .scale = 1e3,
     .open = open_events,
     .run = run_events,
     .close = close_server},
};
const int bench_n_server_rows = (int)SG_COUNT_OF(bench_server_rows);
