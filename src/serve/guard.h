/* Who may ask: the token, the cookie that the page gets for it, the names under which the server answers. */
#ifndef SG_SERVE_GUARD_H
#define SG_SERVE_GUARD_H

#include "serve/exchange.h"

/* Chooses or takes the token. SG_EARG: one that no header could carry. */
sg_status serve_guard_begin(serve *s, sg_error *err) SG_MUST_CHECK;

/* Host names this server, with its port: a page of another name that resolves to this machine is kept out. */
bool serve_guard_host_is_ours(const serve *s, const char *host, const char *local);
/* An Origin that was sent is that of a page from this server. */
bool serve_guard_origin_is_ours(const serve *s, const char *origin, const char *host);
/* The token in Authorization, or the cookie from a page of our own. */
bool serve_guard_is_known(const serve *s, const char *authorization, const char *cookie, const char *fetch_site);
/* GET /?token=...: answers with the cookie and the way to /, which keeps the part behind #. True: it has answered. */
bool serve_guard_sign_in(exchange *x);
/* 401, as a page where a browser asks for one. */
void serve_guard_ask(exchange *x, const char *accept);

#endif
