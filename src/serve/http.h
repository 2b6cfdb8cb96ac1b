/* The front: libmicrohttpd's one thread, which reads and writes sockets and never waits for a handler. */
#ifndef SG_SERVE_HTTP_H
#define SG_SERVE_HTTP_H

#include "serve/exchange.h"

/* Loads the library, binds and listens; s->port is then known. */
sg_status serve_http_start(http **out, serve *s, sg_error *err) SG_MUST_CHECK;
/* No new connections; every handler and stream is told that nobody waits for it. */
void serve_http_quiesce(http *h);
/* Ends the thread. No handler runs any more. NULL is fine. */
void serve_http_stop(http *h);
int serve_http_n_connections(http *h);

#endif
