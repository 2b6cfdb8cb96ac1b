/* Routes about the server itself. */
#include <stdlib.h>

#include "serve/server.h"

static sg_status health(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)r;
    (void)err;
    serve_reply_json(
        reply, json_pack("{s:s, s:s, s:f}", "status", "ok", "version", SG_VERSION, "uptime", sg_now() - s->began));
    return SG_OK;
}

static sg_status metrics(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    sg_str text = {0};
    (void)r;
    SG_TRY(serve_metrics_text(s, &text));
    if (text.failed) {
        sg_str_free(&text);
        return sg_fail(err, SG_ENOMEM, "out of memory for the metrics");
    }
    serve_reply_bytes(reply, "text/plain; version=0.0.4", text.text, text.bytes, free);
    return SG_OK;
}

static sg_status studies(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)r;
    if (!s->opts.studies)
        return sg_fail(err, SG_ENOTFOUND, "this server was started without its studies");
    serve_reply_json(reply, json_loads(s->opts.studies, 0, NULL));
    return SG_OK;
}

const serve_route serve_routes_server[] = {
    {"GET", "/health", health, "", "Health", "", SERVE_OPEN,
     "Whether the server is there; the one path without a token.", 0},
    {"GET", "/metrics", metrics, "", "", "", SERVE_FILE, "Counters and times in Prometheus's text format.", 0},
    {"GET", "/api/v1/studies", studies, "", "Studies", "", 0,
     "What is known of each study: its question, its claims, what they gave.", 0},
    {0},
};
