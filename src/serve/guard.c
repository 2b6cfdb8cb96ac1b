/* Who may ask.
 *
 * Programs send "Authorization: Bearer TOKEN". A browser opens the address that was printed, and its token becomes a
 * cookie that scripts cannot read and other sites cannot send. Cookies do not tell ports apart, so a cookie counts only
 * where the browser says that the request comes from our own page or from the person. */
#include "serve/guard.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

enum { TOKEN_BYTES = 24 };

sg_status serve_guard_begin(serve *s, sg_error *err)
{
    const char *given = s->opts.token;

    if (given) {
        const size_t n = strlen(given);
        if (n < 8 || n >= sizeof s->token)
            return sg_fail(err, SG_EARG, "the token has %zu characters, wanted 8 to %zu", n, sizeof s->token - 1);
        for (const char *p = given; *p; p++)
            if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                  strchr("-._~", *p)))
                return sg_fail(err, SG_EARG, "the token holds \"%c\", wanted letters, digits and -._~", *p);
        snprintf(s->token, sizeof s->token, "%s", given);
        return SG_OK;
    }
    unsigned char bytes[TOKEN_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return sg_fail(err, SG_EIO, "the system gives no random bytes for a token");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(s->token + 2 * i, 3, "%02x", bytes[i]);
    return SG_OK;
}

/* Whether the first n bytes of `text` are the token, in a time that does not tell where they differ. */
static bool is_token(const serve *s, const char *text, size_t n)
{
    const size_t length = strlen(s->token);
    unsigned different = n != length;
    for (size_t i = 0; i < length; i++)
        different |= (unsigned)(unsigned char)s->token[i] ^ (unsigned)(unsigned char)(i < n ? text[i] : 0);
    return different == 0;
}

/* Splits "name:port", "[::1]:port"; the port is 80 where none is said. */
static bool split_host(const char *host, char *name, size_t most, int *port)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    const char *colon = strchr(end ? end : host, ':');
    const size_t n = colon ? (size_t)(colon - host) : strlen(host);

    if (n == 0 || n >= most || (host[0] == '[' && !end))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    *port = 80;
    if (colon) {
        const size_t digits = strlen(colon + 1);
        if (digits == 0 || digits > 5 || strspn(colon + 1, "0123456789") != digits)
            return false;
        *port = atoi(colon + 1);
    }
    return true;
}

static bool is_name(const char *name, const char *address)
{
    char bracketed[80];
    if (strcasecmp(name, address) == 0)
        return true;
    snprintf(bracketed, sizeof bracketed, "[%.70s]", address);
    return strcasecmp(name, bracketed) == 0;
}

bool serve_guard_host_is_ours(const serve *s, const char *host, const char *local)
{
    static const char *const loopback[] = {"127.0.0.1", "localhost", "[::1]"};
    char name[128];
    int port;

    if (!host)
        return false;
    for (int i = 0; i < s->opts.n_hosts; i++)
        if (strcasecmp(s->opts.hosts[i], host) == 0)
            return true;
    if (!split_host(host, name, sizeof name, &port) || (s->port && port != s->port))
        return false;
    for (size_t i = 0; i < SG_COUNT_OF(loopback); i++)
        if (strcasecmp(name, loopback[i]) == 0)
            return true;
    if (is_name(name, s->opts.host))
        return true;
    /* Bound to every address, it answers for the one that was reached, and for the machine's name. */
    const bool any = strcmp(s->opts.host, "0.0.0.0") == 0 || strcmp(s->opts.host, "::") == 0;
    char machine[128];
    if (any && local && is_name(name, local))
        return true;
    return any && gethostname(machine, sizeof machine) == 0 && strcasecmp(name, machine) == 0;
}

bool serve_guard_origin_is_ours(const serve *s, const char *origin, const char *host)
{
    (void)s;
    /* The Host was found to be ours, and the page of an origin is ours exactly when it was fetched from that Host. */
    return !origin || (host && strncasecmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0);
}

const char *serve_exchange_cookie_name(const serve *s, char buf[40])
{
    snprintf(buf, 40, "sightglass_%d", s->port);
    return buf;
}

static bool has_cookie(const serve *s, const char *cookie)
{
    char name[40];
    const size_t n = strlen(serve_exchange_cookie_name(s, name));

    while (*cookie) {
        cookie += strspn(cookie, " ;");
        const size_t bytes = strcspn(cookie, ";");
        if (bytes > n && strncmp(cookie, name, n) == 0 && cookie[n] == '=' &&
            is_token(s, cookie + n + 1, bytes - n - 1))
            return true;
        cookie += bytes;
    }
    return false;
}

bool serve_guard_is_known(const serve *s, const char *authorization, const char *cookie, const char *fetch_site)
{
    if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0) {
        const char *text = authorization + 7 + strspn(authorization + 7, " ");
        return is_token(s, text, strlen(text));
    }
    const bool own = !fetch_site || strcmp(fetch_site, "same-origin") == 0 || strcmp(fetch_site, "none") == 0;
    return own && cookie && has_cookie(s, cookie);
}

bool serve_guard_sign_in(exchange *x)
{
    const serve *s = x->s;
    char name[40], cookie[256];

    if (strcmp(x->path, "/") != 0 || !x->query || strncmp(x->query, "token=", 6) != 0 ||
        (strcmp(x->method, "GET") != 0 && !x->head_only))
        return false;
    const char *token = x->query + 6;
    if (!is_token(s, token, strcspn(token, "&")))
        return false;
    snprintf(cookie, sizeof cookie, "%s=%s; Path=/; HttpOnly; SameSite=Strict", serve_exchange_cookie_name(s, name),
             s->token);
    serve_reply_header(&x->reply, "Set-Cookie", cookie);
    serve_reply_header(&x->reply, "Location", "/");
    serve_reply_header(&x->reply, "Cache-Control", "no-store");
    serve_reply_code(&x->reply, 303);
    serve_reply_bytes(&x->reply, "text/plain; charset=utf-8", NULL, 0, NULL);
    return true;
}

void serve_guard_ask(exchange *x, const char *accept)
{
    static const char page[] = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                               "content=\"width=device-width\"><title>Sightglass</title>"
                               "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh "
                               "auto;padding:0 1em;color-scheme:light "
                               "dark;color:CanvasText;background:Canvas}</style><h1>This page needs its token</h1>"
                               "<p>Open the address that <code>sightglass serve</code> printed: it ends in "
                               "<code>?token=</code> and a word that only "
                               "you have. The page remembers it until the browser is closed.</p></html>\n";

    serve_reply_header(&x->reply, "WWW-Authenticate", "Bearer realm=\"sightglass\"");
    if (accept && strstr(accept, "text/html")) {
        serve_reply_bytes(&x->reply, "text/html; charset=utf-8", (void *)(uintptr_t)page, sizeof page - 1, NULL);
        x->reply.code = 401;
        return;
    }
    serve_exchange_refuse(x, 401, "no_token",
                          "the token is missing or wrong: send the header Authorization: Bearer TOKEN");
}
