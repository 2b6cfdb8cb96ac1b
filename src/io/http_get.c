/* libcurl, loaded when the first request is made: it brings a TLS library along, for which no other command should
 * wait. */
#include "io/http_get.h"

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"

#undef curl_easy_setopt
#undef curl_easy_getinfo

#define CALLS(X)                                                                                                       \
    X(curl_easy_init)                                                                                                  \
    X(curl_easy_reset)                                                                                                 \
    X(curl_easy_setopt)                                                                                                \
    X(curl_easy_perform)                                                                                               \
    X(curl_easy_cleanup)                                                                                               \
    X(curl_easy_strerror)                                                                                              \
    X(curl_easy_getinfo)                                                                                               \
    X(curl_slist_append)                                                                                               \
    X(curl_slist_free_all)

struct sg_http {
    void *library;
#define X(f) __typeof__(&f) f;
    CALLS(X)
#undef X
    CURL *curl;
    char why[CURL_ERROR_SIZE], range[32];
};

/* One request under way. */
typedef struct exchange {
    sg_http *h;
    const sg_http_ask *ask;
    sg_http_reply *reply;
    bool refused; /* take said so */
} exchange;

sg_status sg_http_new(sg_http **out, sg_error *err)
{
    sg_http *h = calloc(1, sizeof *h);

    *out = NULL;
    if (!h)
        return sg_fail(err, SG_ENOMEM, "out of memory for requests");
    h->library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!h->library) {
        free(h);
        return sg_fail(err, SG_EUNSUPPORTED, "fetching needs libcurl: %.200s", dlerror());
    }
#define X(f)                                                                                                           \
    *(void **)(void *)&h->f = dlsym(h->library, #f);                                                                   \
    if (!h->f) {                                                                                                       \
        sg_http_free(h);                                                                                               \
        return sg_fail(err, SG_EUNSUPPORTED, "libcurl has no " #f);                                                    \
    }
    CALLS(X)
#undef X
    h->curl = h->curl_easy_init();
    if (!h->curl) {
        sg_http_free(h);
        return sg_fail(err, SG_ENOMEM, "libcurl cannot be started");
    }
    *out = h;
    return SG_OK;
}

/* The library stays loaded: TLS libraries do not like to be taken away. */
void sg_http_free(sg_http *h)
{
    if (!h)
        return;
    if (h->curl)
        h->curl_easy_cleanup(h->curl);
    free(h);
}

/* ---- callbacks ---- */

static int64_t whole_number(const char *text)
{
    char *end;
    const long long n = strtoll(text, &end, 10);

    return end == text || n < 0 ? -1 : n;
}

static void keep_text(char *out, size_t room, const char *from, size_t n)
{
    if (n < room) { /* what is too long is as good as not told */
        memcpy(out, from, n);
        out[n] = '\0';
    }
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    exchange *x = context;
    sg_http_reply *r = x->reply;
    const size_t all = size * n;
    const char *colon = memchr(line, ':', all);

    if (all >= 5 &&
        memcmp(line, "HTTP/", 5) == 0) { /* a new answer: what an earlier one (100, of a proxy) said is past */
        *r = (sg_http_reply){.length = -1, .linked_size = -1, .range_first = -1, .range_total = -1, .retry_after = -1};
        const char *space = memchr(line, ' ', all);
        r->status = space ? (int)strtol(space, NULL, 10) : 0;
        return all;
    }
    if (!colon)
        return all;
    char value[4096];
    const size_t name = (size_t)(colon - line);
    const char *from = colon + 1, *end = line + all;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    value[0] = '\0';
    keep_text(value, sizeof value, from, (size_t)(end - from));
#define IS(text) (name == sizeof(text) - 1 && strncasecmp(line, text, name) == 0)
    if (IS("location"))
        keep_text(r->location, sizeof r->location, value, strlen(value));
    else if (IS("etag"))
        keep_text(r->etag, sizeof r->etag, value, strlen(value));
    else if (IS("x-linked-etag"))
        keep_text(r->linked_etag, sizeof r->linked_etag, value, strlen(value));
    else if (IS("content-length"))
        r->length = whole_number(value);
    else if (IS("x-linked-size"))
        r->linked_size = whole_number(value);
    else if (IS("retry-after"))
        r->retry_after = (double)whole_number(value);
    else if (IS("content-range") && strncasecmp(value, "bytes ", 6) == 0) {
        const char *slash = strchr(value, '/');
        r->range_first = whole_number(value + 6);
        r->range_total = slash ? whole_number(slash + 1) : -1;
    }
#undef IS
    return all;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    exchange *x = context;

    if (x->ask->take && !x->ask->take(x->ask->context, x->reply, bytes, size * n)) {
        x->refused = true;
        return 0;
    }
    return size * n;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const exchange *x = context;

    (void)a, (void)b, (void)c, (void)d;
    return x->ask->cancel && *x->ask->cancel;
}

/* ---- a request ---- */

static struct curl_slist *headers_of(sg_http *h, const sg_http_ask *ask)
{
    /* Bytes as they are stored: sizes and hashes are of those. */
    struct curl_slist *list = h->curl_slist_append(NULL, "Accept-Encoding: identity"), *more;
    sg_str line = {0};

    if (!list || !ask->token)
        return list;
    sg_str_printf(&line, "Authorization: Bearer %s", ask->token);
    more = line.failed ? NULL : h->curl_slist_append(list, line.text);
    sg_str_free(&line);
    if (!more)
        h->curl_slist_free_all(list);
    return more;
}

static bool set_up(sg_http *h, exchange *x, struct curl_slist *headers)
{
    const sg_http_ask *ask = x->ask;
    CURL *c = h->curl;
    bool ok = true;

    h->curl_easy_reset(c);
#define SET(option, value) ok &= h->curl_easy_setopt(c, option, value) == CURLE_OK
    SET(CURLOPT_URL, ask->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_USERAGENT, "sightglass/" SG_VERSION);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L); /* whoever asks decides who sees the token */
    SET(CURLOPT_CONNECTTIMEOUT, 20L);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, 30L);
    SET(CURLOPT_ERRORBUFFER, h->why);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, x);
    if (ask->head)
        SET(CURLOPT_NOBODY, 1L);
    if (ask->from)
        SET(CURLOPT_RANGE, h->range); /* copied; unlike RESUME_FROM it lets a hub answer with all of it */
#undef SET
    return ok;
}

sg_status sg_http_get(sg_http *h, sg_http_ask ask, sg_http_reply *reply, sg_error *err)
{
    exchange x = {h, &ask, reply, false};
    struct curl_slist *headers = headers_of(h, &ask);

    *reply = (sg_http_reply){.length = -1, .linked_size = -1, .range_first = -1, .range_total = -1, .retry_after = -1};
    h->why[0] = '\0';
    snprintf(h->range, sizeof h->range, "%llu-", (unsigned long long)ask.from);
    if (!headers || !set_up(h, &x, headers)) {
        h->curl_slist_free_all(headers);
        return sg_fail(err, SG_ENOMEM, "out of memory for a request");
    }
    const CURLcode code = h->curl_easy_perform(h->curl);
    h->curl_slist_free_all(headers);
    if (code == CURLE_ABORTED_BY_CALLBACK || (ask.cancel && *ask.cancel))
        return sg_fail(err, SG_ECANCELLED, "stopped");
    reply->whole = code == CURLE_OK;
    if (code == CURLE_OK)
        return SG_OK;
    /* What came before it broke off is of use. */
    const bool said = reply->status != 0 && (x.refused || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR ||
                                             code == CURLE_OPERATION_TIMEDOUT);
    const bool hopeless = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
                          code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    if (said)
        return SG_OK;
    return sg_fail(err, hopeless ? SG_EFORMAT : SG_EIO, "%.200s: %.200s", ask.url,
                   h->why[0] ? h->why : h->curl_easy_strerror(code));
}

char *sg_http_escape(const char *text, bool slashes)
{
    sg_str out = {0};

    sg_str_puts(&out, "");
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c) ||
            (*c == '/' && slashes))
            sg_str_append(&out, (const char *)c, 1);
        else
            sg_str_printf(&out, "%%%02X", *c);
    }
    if (out.failed)
        sg_str_free(&out);
    return out.text;
}
