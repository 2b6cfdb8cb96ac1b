/* Requests without a socket. */
#include "serve/call.h"

#include <stdlib.h>
#include <string.h>

serve_call_opts serve_call_defaults(void)
{
    return (serve_call_opts){.method = "GET", .target = "/", .content_type = "application/json"};
}

static void take_answer(serve_answer *a, exchange *x)
{
    sg_str headers = {0}, body = {0};
    char part[4096];
    long n = 0;

    a->code = x->reply.code;
    snprintf(a->content_type, sizeof a->content_type, "%s", x->reply.content_type);
    sg_str_puts(&headers, "");
    for (int i = 0; i < x->reply.n_headers; i++)
        sg_str_printf(&headers, "%s: %s\n", x->reply.header[i].name, x->reply.header[i].value);
    sg_str_append(&body, "", 0);
    if (x->reply.kind == ANSWER_BYTES) {
        sg_str_append(&body, x->reply.n_bytes ? x->reply.bytes : "", x->reply.n_bytes);
    } else {
        pthread_mutex_lock(&x->stream.lock);
        while ((n = serve_exchange_read(x, part, sizeof part)) > 0)
            sg_str_append(&body, part, (size_t)n);
        pthread_mutex_unlock(&x->stream.lock);
    }
    a->cut = n == -2;
    a->headers = headers.text;
    a->body = body.text;
    a->n = body.bytes;
    if (strncmp(a->content_type, "application/json", 16) == 0 && a->body)
        a->json = json_loadb(a->body, a->n, JSON_DECODE_ANY, NULL);
}

serve_answer serve_call_with(serve *s, const serve_call_opts *opts)
{
    enum { MOST = 40 };
    exchange_pair headers[MOST];
    int n = 0;
    char host[160], bearer[160], length[32];
    serve_answer a = {0};

    snprintf(host, sizeof host, "%.100s:%d", s->opts.host, s->port ? s->port : 80);
    snprintf(bearer, sizeof bearer, "Bearer %s", s->token);
    snprintf(length, sizeof length, "%zu", opts->n_body);
    if (!opts->no_host)
        headers[n++] = (exchange_pair){"Host", host};
    if (!opts->no_token)
        headers[n++] = (exchange_pair){"Authorization", bearer};
    if (opts->n_body) {
        headers[n++] = (exchange_pair){"Content-Length", length};
        headers[n++] = (exchange_pair){"Content-Type", opts->content_type};
    }
    for (int i = 0; i < opts->n_headers && n < MOST; i++)
        headers[n++] = opts->headers[i];
    exchange *x = serve_exchange_new(s, &(exchange_head){opts->method, opts->target, n, headers, NULL});
    if (!x) {
        a.code = 503;
        return a;
    }
    x->stream.unbounded = true;
    if (!serve_exchange_answered(x) && opts->n_body)
        serve_exchange_body(x, opts->body, opts->n_body);
    serve_exchange_run(x);
    take_answer(&a, x);
    serve_exchange_finish(x);
    serve_exchange_release(x);
    return a;
}

serve_answer serve_call(serve *s, const char *method, const char *target, const char *body)
{
    serve_call_opts opts = serve_call_defaults();
    opts.method = method;
    opts.target = target;
    opts.body = body;
    opts.n_body = body ? strlen(body) : 0;
    return serve_call_with(s, &opts);
}

void serve_answer_free(serve_answer *a)
{
    free(a->headers);
    free(a->body);
    json_decref(a->json);
    *a = (serve_answer){0};
}
