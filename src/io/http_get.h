/* One HTTP request by libcurl, which is loaded when it is first needed: no redirect is followed by itself. */
#ifndef SG_IO_HTTP_GET_H
#define SG_IO_HTTP_GET_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sightglass/error.h"

typedef struct sg_http sg_http; /* keeps connections; for one thread */
sg_status sg_http_new(sg_http **out, sg_error *err) SG_MUST_CHECK;
void sg_http_free(sg_http *h); /* NULL is fine */

typedef struct sg_http_reply {
    int status; /* 0: no answer came */
    char location[4096], etag[256], linked_etag[256];
    int64_t length, linked_size, range_first, range_total; /* -1: not told */
    double retry_after;                                    /* seconds; -1: not told */
    bool whole;                                            /* all of it came */
} sg_http_reply;

typedef struct sg_http_ask {
    const char *url;
    const char *token; /* NULL: none is sent */
    bool head;
    uint64_t from; /* the first byte that is wanted */
    /* The body, in pieces, after all headers; false ends it. NULL: it is passed over. */
    bool (*take)(void *context, const sg_http_reply *so_far, const void *bytes, size_t n);
    void *context;
    const volatile sig_atomic_t *cancel;
} sg_http_ask;

/* SG_OK: an answer came, of whatever status, and whole says whether to its end; SG_EIO: none did, which may be tried
 * again; SG_EFORMAT: not even that makes sense (a URL that is none, a certificate that is not the host's);
 * SG_ECANCELLED. */
sg_status sg_http_get(sg_http *h, sg_http_ask ask, sg_http_reply *reply, sg_error *err) SG_MUST_CHECK;

/* A path's characters as a URL carries them, its slashes too where `slashes` is false; free(). NULL when memory is out.
 */
char *sg_http_escape(const char *text, bool slashes);

#endif
