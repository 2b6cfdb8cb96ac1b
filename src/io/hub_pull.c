/* Pulling: what a repository has is asked, what is wanted is chosen, and each file is fetched into a part that is
 * renamed once its size and hash are right.
 *
 * What a hub says is outside bytes: names are held to the folder they are put in, lengths and hashes to what was told
 * before, and the token goes to the hub's own address alone. A part stays when a try fails, so that the next one asks
 * for the rest. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <nettle/sha1.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sha256.h"
#include "io/http_get.h"
#include "io/hub_internal.h"

enum { MOST_FILES = 20000, MOST_REDIRECTS = 8, MOST_LISTING = 64 << 20 };

typedef struct entry {
    const char *name;
    uint64_t bytes; /* as the listing says; 0: it does not */
    bool told;      /* bytes are */
    bool wanted;
} entry;

typedef struct owned {
    sg_hub_pulled face;
    sg_arena *arena;
} owned;

typedef struct pull {
    owned *out;
    const sg_hub_ask *ask;
    const sg_hub_opts *opts;
    const char *revision;
    sg_http *http;
    sg_str repo_folder; /* in the cache */
    sg_str origin;      /* of the endpoint: scheme and host */
    char commit[72];
    entry *entries;
    int n_entries, n_wanted;
    sg_hub_file *files;
    uint64_t all, done; /* of all files that are wanted */
} pull;

static bool is_on(const char *value)
{
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "on") == 0 || strcasecmp(value, "yes") == 0 ||
                     strcasecmp(value, "true") == 0);
}

sg_hub_opts sg_hub_defaults(void)
{
    const char *endpoint = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");

    return (sg_hub_opts){.endpoint = endpoint && endpoint[0] ? endpoint : "https://huggingface.co",
                         .token = token && token[0] ? token : NULL,
                         .offline = is_on(getenv("HF_HUB_OFFLINE")),
                         .n_tries = 6,
                         .wait_seconds = 1};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "out of memory for a pull");
}

/* ---- addresses ---- */

/* "https://host:port" of a URL; false where it is none of http or https, or names a user. */
static bool origin_of(const char *url, sg_str *out)
{
    const char *host = strncasecmp(url, "https://", 8) == 0  ? url + 8
                       : strncasecmp(url, "http://", 7) == 0 ? url + 7
                                                             : NULL;
    const size_t n = host ? strcspn(host, "/?#") : 0;

    if (n == 0 || memchr(host, '@', n) || memchr(host, '\\', n))
        return false;
    for (const char *c = url; c < host + n; c++) {
        const char low = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        sg_str_append(out, &low, 1);
    }
    return !out->failed;
}

sg_status sg_hub_redirected(const char *from, const char *location, sg_str *to, sg_error *err)
{
    sg_str origin = {0}, target = {0};
    bool ok = origin_of(from, &origin);

    if (ok && location[0] == '/' && location[1] != '/')
        sg_str_printf(to, "%s%s", origin.text, location);
    else if (ok && location[0] == '/')
        sg_str_printf(to, "%.*s%s", (int)(strchr(origin.text, ':') - origin.text + 1), origin.text, location);
    else
        sg_str_puts(to, location);
    ok = ok && !to->failed && origin_of(to->text, &target);
    /* What was asked for in private is not to be answered in public. */
    const bool less = ok && strncmp(origin.text, "https", 5) == 0 && strncmp(target.text, "https", 5) != 0;
    sg_str_free(&origin);
    sg_str_free(&target);
    if (!ok || less)
        return sg_fail(err, SG_EFORMAT, "%.200s redirects to %.200s%s", from, location,
                       less ? ", which is not encrypted" : "");
    return SG_OK;
}

/* ---- requests ---- */

/* One request through its redirects. The token is shown to the endpoint and to nobody else. With `here` a redirect to
 * another place is the answer. */
static sg_status ask_once(pull *p, sg_http_ask ask, bool here, sg_http_reply *reply, sg_error *err)
{
    sg_str url = {0};
    sg_status status = SG_OK;

    sg_str_puts(&url, ask.url);
    for (int i = 0; status == SG_OK; i++) {
        sg_str origin = {0}, next = {0};
        if (url.failed || !origin_of(url.text, &origin)) {
            status = sg_fail(err, SG_EARG, "%.200s is no address that begins with https:// or http://", ask.url);
            sg_str_free(&origin);
            break;
        }
        const bool ours = strcmp(origin.text, p->origin.text) == 0;
        sg_str_free(&origin);
        if (here && !ours && reply->linked_etag[0] && reply->linked_size >= 0)
            break;
        ask.url = url.text;
        ask.token = ours ? p->opts->token : NULL;
        ask.cancel = p->opts->cancel;
        const sg_http_reply before = *reply;
        status = sg_http_get(p->http, ask, reply, err);
        /* Length and hash of what is kept elsewhere are told on the way. */
        if (!reply->linked_etag[0])
            memcpy(reply->linked_etag, before.linked_etag, sizeof before.linked_etag);
        if (reply->linked_size < 0)
            reply->linked_size = before.linked_size;
        if (status != SG_OK || reply->status < 300 || reply->status > 399 || !reply->location[0])
            break;
        status = i == MOST_REDIRECTS
                     ? sg_fail(err, SG_EFORMAT, "%.200s redirects more than %d times", ask.url, MOST_REDIRECTS)
                     : sg_hub_redirected(url.text, reply->location, &next, err);
        sg_str_free(&url);
        url = next;
    }
    sg_str_free(&url);
    return status;
}

static void reset(sg_http_reply *reply)
{
    *reply = (sg_http_reply){.length = -1, .linked_size = -1, .range_first = -1, .range_total = -1, .retry_after = -1};
}

static sg_status wait_for(const pull *p, double seconds, sg_error *err)
{
    const double until = sg_now() + seconds;

    while (sg_now() < until) {
        if (p->opts->cancel && *p->opts->cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped");
        const double left = until - sg_now();
        if (left > 0)
            nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * SG_MIN(left, .05))}, NULL);
    }
    return SG_OK;
}

static bool passing(int status)
{
    return status == 408 || status == 429 || status >= 500;
}

/* Before try number i (from 1): longer each time, but not longer than a minute; a hub may say how long. */
static sg_status wait_before(const pull *p, int i, const sg_http_reply *reply, sg_error *err)
{
    double seconds = p->opts->wait_seconds;

    for (int k = 1; k < i && seconds < 60; k++)
        seconds *= 2;
    seconds = SG_MIN(seconds, 60);
    if (reply->retry_after >= 0)
        seconds = SG_MAX(seconds, SG_MIN(reply->retry_after, 300));
    return wait_for(p, seconds, err);
}

/* A status that is no success, in words. */
static sg_status refusal(const pull *p, const char *what, int status, sg_error *err)
{
    const char *token = p->opts->token ? "the token of HF_TOKEN does not suffice" : "it may need a token: HF_TOKEN";

    if (status == 401 || status == 403)
        return sg_fail(
            err, SG_EIO,
            "%s: the hub says %d: %s, and the model's terms may have to be accepted on its page, or its name is "
            "another",
            what, status, token);
    if (status == 404)
        return sg_fail(err, SG_ENOTFOUND, "%s: %s has no such repository, revision or file%s", what, p->opts->endpoint,
                       p->opts->token ? "" : " (private ones take HF_TOKEN)");
    return sg_fail(err, SG_EIO, "%s: the hub says %d%s", what, status,
                   status == 429   ? ": too many requests, try again later"
                   : status >= 500 ? ", after all tries"
                                   : "");
}

typedef struct listing {
    sg_str bytes;
    bool long_one;
} listing;

static bool take_text(void *context, const sg_http_reply *so_far, const void *bytes, size_t n)
{
    listing *t = context;

    if (so_far->status != 200)
        return true;
    if (t->bytes.bytes + n > MOST_LISTING) {
        t->long_one = true;
        return false;
    }
    sg_str_append(&t->bytes, bytes, n);
    return !t->bytes.failed;
}

/* Asks until an answer comes that more tries would not change. */
static sg_status persist(pull *p, const char *what, const char *url, bool head, listing *body, sg_http_reply *reply,
                         sg_error *err)
{
    for (int i = 1;; i++) {
        reset(reply);
        if (body)
            body->bytes.bytes = 0;
        sg_status status =
            ask_once(p, (sg_http_ask){.url = url, .head = head, .take = body ? take_text : NULL, .context = body}, head,
                     reply, err);
        if (status != SG_OK && status != SG_EIO)
            return status;
        if (body && body->long_one)
            return sg_fail(err, SG_EFORMAT, "%s: the hub's answer is longer than any list of files", what);
        if (status == SG_OK && !passing(reply->status) && (reply->whole || reply->status >= 300))
            return SG_OK;
        if (i >= p->opts->n_tries)
            return status != SG_OK          ? status
                   : passing(reply->status) ? refusal(p, what, reply->status, err)
                                            : sg_fail(err, SG_EIO, "%s: the connection broke off, %d times", what, i);
        SG_TRY(wait_before(p, i, reply, err));
    }
}

/* ---- what there is ---- */

static sg_status read_listing(pull *p, const char *text, size_t n, sg_error *err)
{
    json_error_t at;
    json_t *root = json_loadb(text ? text : "", n, 0, &at), *list = json_object_get(root, "siblings");
    const char *sha = json_string_value(json_object_get(root, "sha"));
    const size_t count = json_array_size(list);
    sg_arena *arena = p->out->arena;
    sg_status status = SG_OK;

    if (!root)
        status = sg_fail(err, SG_EFORMAT, "%s: the hub's list of files: line %d: %s", p->ask->repo, at.line, at.text);
    else if (!sha || !sg_hub_commit_ok(sha) || !json_is_array(list) || count > MOST_FILES)
        status = sg_fail(err, SG_EFORMAT, "%s: the hub's answer has no commit or no list of files", p->ask->repo);
    else
        snprintf(p->commit, sizeof p->commit, "%s", sha);
    p->entries = status == SG_OK ? sg_arena_array(arena, count + 1, sizeof *p->entries) : NULL;
    if (status == SG_OK && !p->entries)
        status = no_memory(err);
    for (size_t i = 0; i < count && status == SG_OK; i++) {
        const json_t *one = json_array_get(list, i), *lfs = json_object_get(one, "lfs");
        const char *name = json_string_value(json_object_get(one, "rfilename"));
        const json_t *size =
            json_is_integer(json_object_get(lfs, "size")) ? json_object_get(lfs, "size") : json_object_get(one, "size");
        if (!name || !sg_hub_path_ok(name)) {
            status = sg_fail(err, SG_EFORMAT, "%s: the hub names a file \"%.100s\", which is no path inside a folder",
                             p->ask->repo, name ? name : "");
            break;
        }
        entry *e = &p->entries[p->n_entries++];
        e->name = sg_arena_strdup(arena, name);
        e->told = json_is_integer(size) && json_integer_value(size) >= 0;
        e->bytes = e->told ? (uint64_t)json_integer_value(size) : 0;
        if (!e->name)
            status = no_memory(err);
    }
    json_decref(root);
    return status;
}

static sg_status get_listing(pull *p, sg_error *err)
{
    char *revision = sg_http_escape(p->revision, false);
    sg_str url = {0};
    listing body = {0};
    sg_http_reply reply;

    if (revision)
        sg_str_printf(&url, "%s/api/models/%s/revision/%s?blobs=true", p->opts->endpoint, p->ask->repo, revision);
    sg_status status =
        revision && !url.failed ? persist(p, p->ask->repo, url.text, false, &body, &reply, err) : no_memory(err);
    if (status == SG_OK && reply.status != 200)
        status = refusal(p, p->ask->repo, reply.status, err);
    if (status == SG_OK && body.bytes.failed)
        status = no_memory(err);
    if (status == SG_OK)
        status = read_listing(p, body.bytes.text, body.bytes.bytes, err);
    sg_str_free(&body.bytes);
    sg_str_free(&url);
    free(revision);
    return status;
}

/* ---- what is wanted ---- */

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcasecmp(text + n - m, end) == 0;
}

static bool at_root(const char *name)
{
    return strchr(name, '/') == NULL;
}

/* Weights that are programs: whoever opens them runs what their author wrote. */
static bool is_pickle(const char *name)
{
    static const char *const ends[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"};

    for (size_t i = 0; i < SG_COUNT_OF(ends); i++)
        if (ends_in(name, ends[i]))
            return true;
    return false;
}

/* What is read beside the weights. */
static bool is_beside(const char *name)
{
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "vocab.txt",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "preprocessor_config.json",
                                        "model.safetensors.index.json",
                                        "adapter_config.json",
                                        "cfg.json",
                                        "spiece.model"};

    for (size_t i = 0; i < SG_COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *nearest_of(const pull *p, const char *name)
{
    const char *nearest = NULL;

    for (int i = 0; i < p->n_entries; i++)
        if (!nearest || sg_edit_distance(p->entries[i].name, name) < sg_edit_distance(nearest, name))
            nearest = p->entries[i].name;
    return nearest ? nearest : "none: it is empty";
}

static sg_status want_pattern(pull *p, const char *pattern, sg_error *err)
{
    bool any = false;

    for (int i = 0; i < p->n_entries; i++)
        if (sg_match(pattern, p->entries[i].name))
            any = p->entries[i].wanted = true;
    return any ? SG_OK
               : sg_fail(err, SG_EARG, "%s has no file %.100s; the nearest is %.150s", p->ask->repo, pattern,
                         nearest_of(p, pattern));
}

static sg_status several(const pull *p, sg_error *err)
{
    sg_str names = {0};
    int n = 0;

    for (int i = 0; i < p->n_entries; i++)
        if (ends_in(p->entries[i].name, ".gguf") && ++n && names.bytes < 300)
            sg_str_printf(&names, "%s%s", names.bytes ? ", " : "", p->entries[i].name);
    const sg_status status = sg_fail(
        err, SG_EUNSUPPORTED, "%s has %d GGUF files, of which one is wanted, as in `sightglass pull %s:FILE`: %s",
        p->ask->repo, n, p->ask->repo, names.text ? names.text : "");
    sg_str_free(&names);
    return status;
}

static sg_status choose(pull *p, sg_error *err)
{
    int tensors = 0, named = 0, ggufs = 0, pickles = 0;

    for (int i = 0; i < p->ask->n_include; i++)
        SG_TRY(want_pattern(p, p->ask->include[i], err));
    if (p->ask->file)
        SG_TRY(want_pattern(p, p->ask->file, err));
    for (int i = 0; i < p->n_entries && !p->ask->n_include && !p->ask->file; i++) {
        const char *name = p->entries[i].name;
        tensors += at_root(name) && ends_in(name, ".safetensors");
        named += at_root(name) && ends_in(name, ".safetensors") && strncmp(name, "model", 5) == 0;
        ggufs += ends_in(name, ".gguf");
        pickles += is_pickle(name);
    }
    if (!p->ask->n_include && !p->ask->file) {
        if (!tensors && ggufs > 1)
            return several(p, err);
        if (!tensors && !ggufs && pickles)
            return sg_fail(err, SG_EUNSUPPORTED,
                           "%s has its weights as pickles alone, which are programs and not read here; --include "
                           "'*.bin' fetches them "
                           "all the same",
                           p->ask->repo);
        for (int i = 0; i < p->n_entries; i++) {
            entry *e = &p->entries[i];
            const bool weights = tensors ? at_root(e->name) && ends_in(e->name, ".safetensors") &&
                                               (!named || strncmp(e->name, "model", 5) == 0)
                                         : ends_in(e->name, ".gguf");
            e->wanted = weights || is_beside(e->name);
        }
    }
    for (int i = 0; i < p->n_entries; i++)
        p->n_wanted += p->entries[i].wanted;
    return p->n_wanted ? SG_OK
                       : sg_fail(err, SG_EUNSUPPORTED, "%s has nothing that is a model's: %d files, the first %.150s",
                                 p->ask->repo, p->n_entries, p->n_entries ? p->entries[0].name : "none");
}

/* ---- one file ---- */

/* What is known of a file before it is fetched. */
typedef struct known {
    sg_str url, etag;
    uint64_t bytes;
} known;

static void forget(known *k)
{
    sg_str_free(&k->url);
    sg_str_free(&k->etag);
}

/* An entity tag as the name of a file: without quotes, letters and digits alone. */
static bool clean_etag(const char *etag, sg_str *out)
{
    if (strncmp(etag, "W/", 2) == 0)
        etag += 2;
    for (; *etag; etag++) {
        if (*etag == '"')
            continue;
        if (!((*etag >= '0' && *etag <= '9') || (*etag >= 'a' && *etag <= 'z') || (*etag >= 'A' && *etag <= 'Z') ||
              *etag == '-' || *etag == '_'))
            return false;
        sg_str_append(out, etag, 1);
    }
    return out->bytes > 0 && out->bytes <= 128 && !out->failed;
}

static sg_status ask_about(pull *p, const entry *e, known *k, sg_error *err)
{
    char *path = sg_http_escape(e->name, true);
    sg_http_reply reply;

    if (path)
        sg_str_printf(&k->url, "%s/%s/resolve/%s/%s", p->opts->endpoint, p->ask->repo, p->commit, path);
    free(path);
    if (!path || k->url.failed)
        return no_memory(err);
    SG_TRY(persist(p, e->name, k->url.text, true, NULL, &reply, err));
    if (reply.status >= 400 || reply.status < 200)
        return refusal(p, e->name, reply.status, err);
    const char *etag = reply.linked_etag[0] ? reply.linked_etag : reply.etag;
    const int64_t bytes = reply.linked_size >= 0 ? reply.linked_size : reply.length;
    if (!clean_etag(etag, &k->etag))
        return sg_fail(err, SG_EFORMAT, "%s: the hub tells no usable hash of it (\"%.80s\")", e->name, etag);
    if (bytes < 0)
        return sg_fail(err, SG_EFORMAT, "%s: the hub does not say how long it is", e->name);
    if (e->told && (uint64_t)bytes != e->bytes)
        return sg_fail(err, SG_EFORMAT, "%s: the hub's list says %llu bytes and the file's head %lld", e->name,
                       (unsigned long long)e->bytes, (long long)bytes);
    k->bytes = (uint64_t)bytes;
    return SG_OK;
}

/* Whether a file's bytes have the hash that its etag is: SHA-256 for large ones, git's SHA-1 for small ones. Other
 * kinds of tags cannot be checked. */
static sg_status check_hash(const pull *p, const char *path, const char *name, const known *k, bool *right,
                            sg_error *err)
{
    const size_t digits = strspn(k->etag.text, "0123456789abcdef");
    const bool sha256 = digits == 64 && !k->etag.text[64], git = digits == 40 && !k->etag.text[40];
    sg_sha256_stream *whole = sha256 ? sg_sha256_new() : NULL;
    unsigned char *buffer = malloc(1 << 20);
    struct sha1_ctx small;
    char head[64], found[SG_SHA256_TEXT] = "";
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    sg_status status = !buffer || (sha256 && !whole) ? no_memory(err) : SG_OK;

    if (status == SG_OK && fd < 0)
        status = sg_fail(err, SG_EIO, "%s: cannot be read: %s", path, strerror(errno));
    sha1_init(&small);
    const int n_head = snprintf(head, sizeof head, "blob %llu", (unsigned long long)k->bytes) + 1;
    sha1_update(&small, (size_t)n_head, (const uint8_t *)head);
    while (status == SG_OK && (sha256 || git)) {
        const ssize_t n = read(fd, buffer, 1 << 20);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = sg_fail(err, SG_EIO, "%s: cannot be read: %s", path, strerror(errno));
        if (n <= 0)
            break;
        if (sha256)
            sg_sha256_add(whole, buffer, (size_t)n);
        else
            sha1_update(&small, (size_t)n, buffer);
        if (p->opts->cancel && *p->opts->cancel)
            status = sg_fail(err, SG_ECANCELLED, "stopped while %s was checked", name);
    }
    if (fd >= 0)
        close(fd);
    free(buffer);
    sg_sha256_end(whole, sha256 ? found : NULL);
    if (git) {
        uint8_t digest[SHA1_DIGEST_SIZE];
        sha1_digest(&small, sizeof digest, digest);
        for (size_t i = 0; i < sizeof digest; i++)
            snprintf(found + 2 * i, 3, "%02x", digest[i]);
    }
    *right = (!sha256 && !git) || strcmp(found, k->etag.text) == 0;
    return status;
}

/* A body on its way into a part. */
typedef struct landing {
    pull *p;
    const char *name;
    int fd;
    uint64_t at, bytes; /* how far it is, how long it is to be */
    bool judged;        /* the first piece was what had been asked for */
    sg_status status;
    sg_error *err;
} landing;

static bool land(void *context, const sg_http_reply *so_far, const void *bytes, size_t n)
{
    landing *l = context;
    const char *from = bytes;

    if (so_far->status != 200 && so_far->status != 206)
        return true; /* what an error page says is not the file */
    if (so_far->status == 206 &&
        (so_far->range_first != (int64_t)l->at ||
         (so_far->range_total >= 0 && so_far->range_total != (int64_t)l->bytes)) &&
        !l->judged) {
        l->status = sg_fail(l->err, SG_EFORMAT, "%s: asked for bytes from %llu of %llu, got them from %lld of %lld",
                            l->name, (unsigned long long)l->at, (unsigned long long)l->bytes,
                            (long long)so_far->range_first, (long long)so_far->range_total);
        return false;
    }
    if (so_far->status == 200 && !l->judged && so_far->length >= 0 && so_far->length != (int64_t)l->bytes) {
        l->status = sg_fail(l->err, SG_EFORMAT, "%s: the hub told %llu bytes and sends %lld", l->name,
                            (unsigned long long)l->bytes, (long long)so_far->length);
        return false;
    }
    if (so_far->status == 200 && l->at && !l->judged) { /* all of it from the start: the hub does not know parts */
        if (ftruncate(l->fd, 0) != 0) {
            l->status = sg_fail(l->err, SG_EIO, "%s: cannot be written: %s", l->name, strerror(errno));
            return false;
        }
        l->p->done -= l->at;
        l->at = 0;
    }
    l->judged = true;
    if (n > l->bytes - l->at) {
        l->status = sg_fail(l->err, SG_EFORMAT, "%s: the hub sends more than the %llu bytes it told", l->name,
                            (unsigned long long)l->bytes);
        return false;
    }
    while (n) {
        const ssize_t now = pwrite(l->fd, from, n, (off_t)l->at);
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0) {
            l->status = sg_fail(l->err, SG_EIO, "%s: cannot be written: %s", l->name, strerror(errno));
            return false;
        }
        from += now;
        n -= (size_t)now;
        l->at += (uint64_t)now;
        l->p->done += (uint64_t)now;
        l->p->out->face.fetched_bytes += (uint64_t)now;
    }
    if (l->p->opts->progress)
        l->p->opts->progress(l->p->opts->context, l->name, l->p->done, l->p->all);
    return true;
}

/* Fetches what a part still lacks; tries are counted from where there was progress last. */
static sg_status fill(pull *p, const entry *e, const known *k, int fd, sg_error *err)
{
    struct stat st;
    landing l = {.p = p, .name = e->name, .fd = fd, .bytes = k->bytes, .err = err};
    sg_http_reply reply;

    if (fstat(fd, &st) != 0)
        return sg_fail(err, SG_EIO, "%s: cannot be read: %s", e->name, strerror(errno));
    l.at = (uint64_t)st.st_size;
    if (l.at > k->bytes) { /* what is longer than the file is no part of it */
        if (ftruncate(fd, 0) != 0)
            return sg_fail(err, SG_EIO, "%s: cannot be written: %s", e->name, strerror(errno));
        l.at = 0;
    }
    p->done += l.at;
    bool anew = false; /* begun again, which once is enough */
    for (int i = 1; l.at < k->bytes; i++) {
        const uint64_t before = l.at;
        l.judged = false;
        l.status = SG_OK;
        reset(&reply);
        const sg_status status = ask_once(
            p, (sg_http_ask){.url = k->url.text, .from = l.at, .take = land, .context = &l}, false, &reply, err);
        if (l.status != SG_OK)
            return l.status;
        if (status != SG_OK && status != SG_EIO)
            return status;
        if (l.at >= k->bytes)
            break;
        if (reply.status == 416 && before && !anew) { /* no such part there: from the start */
            if (ftruncate(fd, 0) != 0)
                return sg_fail(err, SG_EIO, "%s: cannot be written: %s", e->name, strerror(errno));
            anew = true;
            p->done -= l.at;
            l.at = 0;
        } else if (reply.status >= 300 && !passing(reply.status)) {
            return refusal(p, e->name, reply.status, err);
        }
        if (l.at > before)
            i = 0;
        if (i >= p->opts->n_tries)
            return status != SG_OK ? status
                   : passing(reply.status)
                       ? refusal(p, e->name, reply.status, err)
                       : sg_fail(err, SG_EIO, "%s: %llu of %llu bytes came, and no more in %d tries; what came is kept",
                                 e->name, (unsigned long long)l.at, (unsigned long long)k->bytes, i);
        SG_TRY(wait_before(p, SG_MAX(i, 1), &reply, err));
    }
    return SG_OK;
}

/* A part, filled and right, under its name. The lock keeps two pulls from writing one part. */
static sg_status fetch(pull *p, const entry *e, const known *k, const char *blob, sg_error *err)
{
    sg_str part = {0};
    bool right = false;

    sg_str_printf(&part, "%s.incomplete", blob);
    if (part.failed)
        return no_memory(err);
    sg_status status = sg_hub_make_folders(part.text, err);
    const int fd = status == SG_OK ? open(part.text, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (status == SG_OK && fd < 0)
        status = sg_fail(err, SG_EIO, "%s: cannot be written: %s", part.text, strerror(errno));
    if (status == SG_OK && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status = sg_fail(err, SG_EIO, "%s: another process is fetching it", e->name);
    for (int round = 0; status == SG_OK && !right; round++) {
        struct stat st;
        const bool resumed = fstat(fd, &st) == 0 && st.st_size > 0;
        const uint64_t before = p->done;
        status = fill(p, e, k, fd, err);
        if (status == SG_OK && fsync(fd) != 0)
            status = sg_fail(err, SG_EIO, "%s: cannot be written: %s", part.text, strerror(errno));
        if (status == SG_OK)
            status = check_hash(p, part.text, e->name, k, &right, err);
        if (status != SG_OK || right)
            break;
        /* An old part may be of something else; what was fetched whole is not better the second time. */
        p->done = before;
        if (!resumed || round || ftruncate(fd, 0) != 0) {
            unlink(part.text);
            status = sg_fail(err, SG_EFORMAT,
                             "%s: its bytes do not have the hash %.64s that the hub told; they are thrown away",
                             e->name, k->etag.text);
        }
    }
    if (status == SG_OK && rename(part.text, blob) != 0)
        status = sg_fail(err, SG_EIO, "%s: cannot be written: %s", blob, strerror(errno));
    if (fd >= 0)
        close(fd);
    sg_str_free(&part);
    return status;
}

/* snapshots/COMMIT/a/b points to ../../../blobs/ETAG, as the hub's own tools have it. */
static sg_status link_to(const char *target_etag, const char *name, const char *at, sg_error *err)
{
    sg_str target = {0}, temporary = {0};

    SG_TRY(sg_hub_make_folders(at, err));
    sg_str_puts(&target, "../../");
    for (const char *c = name; *c; c++)
        if (*c == '/')
            sg_str_puts(&target, "../");
    sg_str_printf(&target, "blobs/%s", target_etag);
    sg_str_printf(&temporary, "%s.%ld.new", at, (long)getpid());
    sg_status status = target.failed || temporary.failed ? no_memory(err) : SG_OK;
    if (status == SG_OK) {
        unlink(temporary.text);
        if (symlink(target.text, temporary.text) != 0 || rename(temporary.text, at) != 0)
            status = sg_fail(err, SG_EIO, "%s: cannot be made: %s", at, strerror(errno));
    }
    sg_str_free(&target);
    sg_str_free(&temporary);
    return status;
}

static bool has_bytes(const char *path, uint64_t bytes)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes;
}

static sg_status pull_file(pull *p, const entry *e, const char *folder, sg_hub_file *file, sg_error *err)
{
    known k = {0};
    sg_str blob = {0}, at = {0};
    bool there = false;

    sg_status status = ask_about(p, e, &k, err);
    if (status == SG_OK) {
        sg_str_printf(&at, "%s/%s", folder, e->name);
        if (p->ask->to)
            sg_str_printf(&blob, "%s/.sightglass-pull/%s", folder, k.etag.text);
        else
            sg_str_printf(&blob, "%s/blobs/%s", p->repo_folder.text, k.etag.text);
        if (at.failed || blob.failed)
            status = no_memory(err);
    }
    /* A blob was checked when it got its name; a plain file may have come from anywhere. */
    if (status == SG_OK && has_bytes(p->ask->to ? at.text : blob.text, k.bytes)) {
        there = true;
        if (p->ask->to)
            status = check_hash(p, at.text, e->name, &k, &there, err);
    }
    if (status == SG_OK && !e->told)
        p->all += k.bytes;
    if (status == SG_OK && there)
        p->done += k.bytes;
    if (status == SG_OK && !there)
        status = fetch(p, e, &k, blob.text, err);
    if (status == SG_OK && !p->ask->to)
        status = link_to(k.etag.text, e->name, at.text, err);
    if (status == SG_OK && p->ask->to && !there) {
        status = sg_hub_make_folders(at.text, err);
        if (status == SG_OK && rename(blob.text, at.text) != 0)
            status = sg_fail(err, SG_EIO, "%s: cannot be written: %s", at.text, strerror(errno));
    }
    *file = (sg_hub_file){e->name, k.bytes, there};
    forget(&k);
    sg_str_free(&blob);
    sg_str_free(&at);
    return status;
}

/* ---- all of it ---- */

/* refs/main, by which the name is found without asking: last, when all of it is there. */
static sg_status write_ref(const pull *p, sg_error *err)
{
    sg_str path = {0};
    sg_writer *w = NULL;

    if (strcmp(p->revision, p->commit) == 0)
        return SG_OK;
    sg_str_printf(&path, "%s/refs/%s", p->repo_folder.text, p->revision);
    sg_status status = path.failed ? no_memory(err) : sg_hub_make_folders(path.text, err);
    if (status == SG_OK)
        status = sg_writer_begin(&w, path.text, err);
    if (status == SG_OK) {
        fputs(p->commit, sg_writer_stream(w));
        status = sg_writer_commit(w, err);
    }
    sg_str_free(&path);
    return status;
}

static sg_status name_results(pull *p, const char *folder, sg_error *err)
{
    sg_hub_pulled *out = &p->out->face;
    sg_hub_file *left = sg_arena_array(p->out->arena, (size_t)p->n_entries + 1, sizeof *left);
    const char *gguf = NULL;
    bool config = false, one = true;

    if (!left)
        return no_memory(err);
    for (int i = 0; i < p->n_entries; i++)
        if (!p->entries[i].wanted)
            left[out->n_left++] = (sg_hub_file){p->entries[i].name, p->entries[i].bytes, false};
    for (int i = 0; i < p->n_wanted; i++) {
        config |= strcmp(p->files[i].name, "config.json") == 0;
        if (ends_in(p->files[i].name, ".gguf")) {
            one = gguf == NULL;
            gguf = p->files[i].name;
        }
    }
    out->left = left;
    out->files = p->files;
    out->n_files = p->n_wanted;
    out->folder = sg_arena_strdup(p->out->arena, folder);
    out->commit = sg_arena_strdup(p->out->arena, p->commit);
    out->model = gguf && one && !config ? sg_arena_printf(p->out->arena, "%s/%s", folder, gguf) : out->folder;
    return out->folder && out->commit && out->model ? SG_OK : no_memory(err);
}

static sg_status pull_all(pull *p, sg_error *err)
{
    sg_str folder = {0};

    SG_TRY(sg_http_new(&p->http, err));
    if (!origin_of(p->opts->endpoint, &p->origin))
        return sg_fail(err, SG_EARG,
                       "HF_ENDPOINT is \"%.200s\", wanted an address that begins with https:// or http://",
                       p->opts->endpoint);
    if (!p->ask->to)
        SG_TRY(sg_hub_repo_folder(&p->repo_folder, p->ask->repo, strlen(p->ask->repo), err));
    SG_TRY(get_listing(p, err));
    SG_TRY(choose(p, err));
    p->files = sg_arena_array(p->out->arena, (size_t)p->n_wanted + 1, sizeof *p->files);
    if (!p->files)
        return no_memory(err);
    for (int i = 0; i < p->n_entries; i++)
        if (p->entries[i].wanted)
            p->all += p->entries[i].bytes;
    if (p->ask->to)
        sg_str_puts(&folder, p->ask->to);
    else
        sg_str_printf(&folder, "%s/snapshots/%s", p->repo_folder.text, p->commit);
    sg_status status = folder.failed ? no_memory(err) : SG_OK;
    for (int i = 0, n = 0; i < p->n_entries && status == SG_OK; i++)
        if (p->entries[i].wanted)
            status = pull_file(p, &p->entries[i], folder.text, &p->files[n++], err);
    if (status == SG_OK && p->ask->to) {
        sg_str parts = {0};
        sg_str_printf(&parts, "%s/.sightglass-pull", folder.text);
        if (!parts.failed)
            rmdir(parts.text); /* stays where another pull has parts in it */
        sg_str_free(&parts);
    }
    if (status == SG_OK && !p->ask->to)
        status = write_ref(p, err);
    if (status == SG_OK)
        status = name_results(p, folder.text, err);
    sg_str_free(&folder);
    return status;
}

static sg_status check_ask(const sg_hub_ask *ask, const sg_hub_opts *opts, const char *revision, sg_error *err)
{
    if (!sg_hub_repo_ok(ask->repo, strlen(ask->repo)))
        return sg_fail(err, SG_EARG,
                       "\"%.200s\" is no name of a repository: org/name, of letters, digits, '.', '_' and '-'",
                       ask->repo);
    if (!sg_hub_path_ok(revision) || strpbrk(revision, " ?#%*:~^"))
        return sg_fail(err, SG_EARG, "\"%.100s\" is no branch, tag or commit", revision);
    if (ask->file && !sg_hub_path_ok(ask->file))
        return sg_fail(err, SG_EARG, "\"%.100s\" is no file in a repository", ask->file);
    if (ask->to && !ask->to[0])
        return sg_fail(err, SG_EARG, "the folder to fetch to has no name");
    for (const char *c = opts->token; c && *c; c++)
        if ((unsigned char)*c <= 32 || *c == 127)
            return sg_fail(err, SG_EARG, "HF_TOKEN has a space or a control character in it");
    if (opts->offline)
        return sg_fail(err, SG_EUNSUPPORTED, "HF_HUB_OFFLINE is set: nothing is fetched");
    return SG_OK;
}

sg_status sg_hub_pull(sg_hub_pulled **out, sg_hub_ask ask, sg_hub_opts opts, sg_error *err)
{
    const char *revision = ask.revision ? ask.revision : "main";
    sg_arena *arena;
    char endpoint[1024];
    size_t n;

    *out = NULL;
    SG_TRY(check_ask(&ask, &opts, revision, err));
    if ((size_t)snprintf(endpoint, sizeof endpoint, "%s", opts.endpoint) >= sizeof endpoint)
        return sg_fail(err, SG_EARG, "HF_ENDPOINT is longer than any address");
    for (n = strlen(endpoint); n && endpoint[n - 1] == '/'; n--)
        endpoint[n - 1] = '\0';
    opts.endpoint = endpoint;
    arena = sg_arena_new();
    pull p = {
        .ask = &ask, .opts = &opts, .revision = revision, .out = arena ? sg_arena_alloc(arena, sizeof *p.out) : NULL};
    if (!p.out) {
        sg_arena_free(arena);
        return no_memory(err);
    }
    p.out->arena = arena;
    const sg_status status = pull_all(&p, err);
    sg_http_free(p.http);
    sg_str_free(&p.repo_folder);
    sg_str_free(&p.origin);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &p.out->face;
    return SG_OK;
}

void sg_hub_pulled_free(sg_hub_pulled *p)
{
    if (p)
        sg_arena_free(((owned *)p)->arena);
}
