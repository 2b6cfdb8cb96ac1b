/* The page's files. Those with a hash in their name never change; the others are asked for again, and answered with 304
 * where they are the same. */
#include "serve/assets.h"

#include <ctype.h>
#include <string.h>

static const char *content_type(const char *path)
{
    static const struct {
        const char *end, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".wasm", "application/wasm"},
        {".json", "application/json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".webmanifest", "application/manifest+json"},
        {".csv", "text/csv; charset=utf-8"},
        {".txt", "text/plain; charset=utf-8"},
        {".md", "text/plain; charset=utf-8"},
    };
    const size_t n = strlen(path);
    for (size_t i = 0; i < SG_COUNT_OF(types); i++) {
        const size_t k = strlen(types[i].end);
        if (n > k && strcmp(path + n - k, types[i].end) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* Vite writes assets/NAME-HASH.EXT, with eight characters of hash. */
static bool is_hashed(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (strncmp(path, "/assets/", 8) != 0 || !dot || dot - path < 17 || dot[-9] != '-')
        return false;
    for (const char *p = dot - 8; p < dot; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            return false;
    return true;
}

static const sg_server_asset *find(const serve *s, const char *path)
{
    for (int i = 0; i < s->opts.n_assets; i++) {
        const char *own = s->opts.assets[i].path;
        if (strncmp(own, "page/", 5) == 0 && strcmp(own + 4, path) == 0)
            return &s->opts.assets[i];
    }
    return NULL;
}

static const char *kept(const exchange *x, const char *name)
{
    for (int i = 0; i < x->n_kept; i++)
        if (strcmp(x->kept[i].name, name) == 0)
            return x->kept[i].value;
    return NULL;
}

/* Without a page in the program there is this much of one. */
static void plain_page(exchange *x)
{
    static const char page[] = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                               "content=\"width=device-width\"><title>Sightglass</title>"
                               "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh "
                               "auto;padding:0 1em;color-scheme:light "
                               "dark;color:CanvasText;background:Canvas}</style><h1>Sightglass</h1>"
                               "<p>The server is here, and its page was not built into this program "
                               "(<code>scripts/build-page</code> makes it). "
                               "What can be asked stands in <code>docs/api.md</code>.</p></html>\n";
    serve_reply_header(&x->reply, "Cache-Control", "no-cache");
    serve_reply_bytes(&x->reply, "text/html; charset=utf-8", (void *)(uintptr_t)page, sizeof page - 1, NULL);
}

void serve_assets_answer(exchange *x)
{
    const serve *s = x->s;
    const char *path = strcmp(x->path, "/") == 0 ? "/index.html" : x->path;
    const sg_server_asset *a = s->opts.page ? find(s, path) : NULL;
    char etag[80];

    if (!a) {
        if (s->opts.page && strcmp(path, "/index.html") == 0)
            plain_page(x);
        return;
    }
    snprintf(etag, sizeof etag, "\"%.32s\"", a->sha256);
    serve_reply_header(&x->reply, "ETag", etag);
    serve_reply_header(&x->reply, "Cache-Control",
                       is_hashed(path) ? "private, max-age=31536000, immutable" : "no-cache");
    if (a->gzip)
        serve_reply_header(&x->reply, "Vary", "Accept-Encoding");
    const char *known = kept(x, "If-None-Match");
    if (known && strstr(known, etag)) {
        serve_reply_code(&x->reply, 304);
        serve_reply_bytes(&x->reply, content_type(path), NULL, 0, NULL);
        return;
    }
    /* Everything that shows this page reads gzip; who does not say so is told what it gets all the same. */
    if (a->gzip)
        serve_reply_header(&x->reply, "Content-Encoding", "gzip");
    serve_reply_bytes(&x->reply, content_type(path), (void *)(uintptr_t)a->bytes, a->n_bytes, NULL);
}
