/* Pulling from a hub that is a thread of this test: one that behaves, and one that drops connections, lies and
 * redirects. */
#include <fcntl.h>
#include <nettle/sha1.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/sha256.h"
#include "check.h"
#include "hub_server.h"
#include "io/http_get.h"
#include "io/hub_internal.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
enum { LARGE = 300000 };

typedef struct hosted {
    const char *name, *bytes;
    size_t n;
    bool lfs; /* kept elsewhere, known by SHA-256 */
} hosted;

/* What this hub does wrong. */
typedef struct mood {
    int drop_after, n_drops; /* bodies end after so many bytes, so many times */
    int n_refusals, refusal; /* so many requests get this status */
    int only_refuse_get;
    const char *retry_after;
    long lie_size;        /* the listing's sizes are off by so much */
    long lie_head;        /* those of heads */
    bool lie_range;       /* parts begin elsewhere than asked */
    bool no_ranges;       /* all of it is sent, whatever is asked */
    bool wrong_bytes;     /* a byte is another */
    bool endless;         /* more comes than was told */
    bool no_length;       /* of bodies is not told */
    bool no_such_part;    /* is ever there */
    bool loop;            /* redirects to itself */
    int elsewhere;        /* the port that large files are redirected to; 0: none */
    const char *redirect; /* where all is redirected to */
    const char *listing;  /* instead of the list of files */
    const char *etag;
} mood;

static char folder[] = "/tmp/hub_test_XXXXXX", cache[64], large[LARGE + 1];
static hosted files[12];
static int n_files;
static mood how;
static hub_server hub, other;

static const hosted *hosted_file(const char *path)
{
    for (int i = 0; i < n_files; i++)
        if (strcmp(files[i].name, path) == 0)
            return &files[i];
    return NULL;
}

static const char *etag_of(const hosted *f, char out[SG_SHA256_TEXT])
{
    struct sha1_ctx c;
    uint8_t digest[SHA1_DIGEST_SIZE];
    char head[40];

    if (f->lfs)
        return sg_sha256(out, f->bytes, f->n);
    sha1_init(&c);
    sha1_update(&c, (size_t)snprintf(head, sizeof head, "blob %zu", f->n) + 1, (const uint8_t *)head);
    sha1_update(&c, f->n, (const uint8_t *)f->bytes);
    sha1_digest(&c, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}

static void say(int fd, const char *status, const char *headers, const char *body)
{
    char head[4096];
    const int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n",
                           status, strlen(body), headers);
    hub_send(fd, head, (size_t)n);
    hub_send(fd, body, strlen(body));
}

static void say_listing(int fd)
{
    char body[8192];
    size_t n = (size_t)snprintf(body, sizeof body, "{\"sha\": \"" COMMIT "\", \"siblings\": [");

    for (int i = 0; i < n_files; i++)
        n += (size_t)snprintf(body + n, sizeof body - n, "%s{\"rfilename\": \"%s\", \"size\": %ld}", i ? "," : "",
                              files[i].name, (long)files[i].n + how.lie_size);
    snprintf(body + n, sizeof body - n, "]}");
    say(fd, "200 OK", "", how.listing ? how.listing : body);
}

/* The end of the connection is then the end of the body. */
static void say_headers_alone(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    hub_send(fd, head, sizeof head - 1);
}

static void say_body(int fd, const char *request, const hosted *f)
{
    char head[512];
    const long range = how.no_ranges ? -1 : hub_range(request);
    size_t from = range > 0 ? (size_t)range : 0, n;

    if ((range >= (long)f->n && range > 0) || how.no_such_part) {
        say(fd, "416 Range Not Satisfiable", "", "");
        return;
    }
    n = f->n - from;
    const int head_bytes =
        range > 0 ? snprintf(head, sizeof head,
                             "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Length: "
                             "%zu\r\nContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
                             n, how.lie_range ? from - 1 : from, f->n - 1, f->n)
                  : snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                             n + (how.endless ? 7 : 0));
    if (how.no_length)
        say_headers_alone(fd);
    else
        hub_send(fd, head, (size_t)head_bytes);
    if (how.n_drops > 0) {
        how.n_drops--;
        n = (size_t)how.drop_after < n ? (size_t)how.drop_after : n;
    }
    if (how.wrong_bytes && n > 0) {
        hub_send(fd, "#", 1);
        hub_send(fd, f->bytes + from + 1, n - 1);
    } else {
        hub_send(fd, f->bytes + from, n);
    }
    if (how.endless)
        hub_send(fd, "seven.x", 7);
}

static void say_file(int fd, const char *request, const hosted *f)
{
    char headers[1024], etag[SG_SHA256_TEXT];
    const bool head = strncmp(request, "HEAD", 4) == 0;

    snprintf(headers, sizeof headers, "X-Repo-Commit: " COMMIT "\r\n%s: \"%s\"\r\n", f->lfs ? "X-Linked-ETag" : "ETag",
             how.etag ? how.etag : etag_of(f, etag));
    if (f->lfs && how.elsewhere) {
        char more[2048];
        snprintf(more, sizeof more, "%sX-Linked-Size: %ld\r\nLocation: http://127.0.0.1:%d/cdn/%s?signed=1\r\n",
                 headers, (long)f->n + how.lie_head, how.elsewhere, f->name);
        say(fd, "302 Found", more, "");
    } else if (head) {
        char all[1536];
        const int n = snprintf(all, sizeof all, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %ld\r\n%s\r\n",
                               (long)f->n + how.lie_head, headers);
        hub_send(fd, all, (size_t)n);
    } else {
        say_body(fd, request, f);
    }
}

static void answer(hub_server *s, int fd, const char *request)
{
    static const char resolve[] = "/org/name/resolve/" COMMIT "/", api[] = "/api/models/org/name/revision/main";
    char path[512] = "";

    (void)s;
    sscanf(request, "%*s %500[^ ?]", path);
    const bool get_file = strncmp(request, "GET", 3) == 0 && strstr(path, "/resolve/");
    if (how.n_refusals > 0 && (!how.only_refuse_get || get_file)) {
        char status[32], headers[64] = "";
        how.n_refusals--;
        snprintf(status, sizeof status, "%d Sorry", how.refusal);
        if (how.retry_after)
            snprintf(headers, sizeof headers, "Retry-After: %s\r\n", how.retry_after);
        if (how.refusal) /* 0: not a word */
            say(fd, status, headers, "an error page, which is not the file");
        return;
    }
    if (how.redirect) {
        char headers[512];
        snprintf(headers, sizeof headers, "Location: %s\r\n", how.redirect);
        say(fd, "307 Temporary Redirect", headers, "");
    } else if (how.loop) {
        char headers[600];
        snprintf(headers, sizeof headers, "Location: %s\r\n", path);
        say(fd, "302 Found", headers, "");
    } else if (strcmp(path, api) == 0) {
        say_listing(fd);
    } else if (strncmp(path, resolve, sizeof resolve - 1) == 0 && hosted_file(path + sizeof resolve - 1)) {
        say_file(fd, request, hosted_file(path + sizeof resolve - 1));
    } else {
        say(fd, "404 Not Found", "", "no such thing");
    }
}

static void answer_elsewhere(hub_server *s, int fd, const char *request)
{
    char path[512] = "";

    (void)s;
    sscanf(request, "%*s %500[^ ?]", path);
    const hosted *f = strncmp(path, "/cdn/", 5) == 0 ? hosted_file(path + 5) : NULL;
    if (f)
        say_body(fd, request, f);
    else
        say(fd, "403 Forbidden", "", "");
}

/* ---- what the tests share ---- */

static void host(const char *name, const char *bytes, size_t n, bool lfs)
{
    files[n_files++] = (hosted){name, bytes, n, lfs};
}

static int fresh(void **state)
{
    char line[256];
    (void)state;
    snprintf(line, sizeof line, "rm -rf %s %s/to", cache, folder);
    if (system(line) != 0)
        return -1;
    n_files = 0;
    how = (mood){0};
    host("config.json", "{\"model_type\": \"llama\"}", 23, false);
    host("model.safetensors", large, LARGE, true);
    host("tokenizer.json", "{}", 2, false);
    host("pytorch_model.bin", "a program", 9, true);
    host("README.md", "# name", 6, false);
    host("onnx/model.onnx", "x", 1, true);
    hub.answer = answer;
    other.answer = answer_elsewhere;
    return hub_start(&hub) && hub_start(&other) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    hub_stop(&hub);
    hub_stop(&other);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(cache, sizeof cache, "%s/cache", folder);
    setenv("HF_HUB_CACHE", cache, 1);
    unsetenv("HF_TOKEN");
    unsetenv("HF_HUB_OFFLINE");
    for (int i = 0; i < LARGE; i++)
        large[i] = (char)('a' + (i % 26 * 17 + i / 251) % 26);
    return 0;
}

static int end(void **state)
{
    char line[128];
    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static sg_hub_opts options(void)
{
    static char endpoint[64];
    sg_hub_opts opts = sg_hub_defaults();

    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", hub.port);
    opts.endpoint = endpoint;
    opts.wait_seconds = .001;
    opts.n_tries = 3;
    return opts;
}

static sg_error err;

static sg_hub_pulled *pulled(sg_hub_ask ask)
{
    sg_hub_pulled *p;
    ask.repo = "org/name";
    CHECK_OK(sg_hub_pull(&p, ask, options(), &err), &err);
    return p;
}

static void fails(sg_hub_ask ask, sg_status wanted, const char *words)
{
    sg_hub_pulled *p;
    ask.repo = ask.repo ? ask.repo : "org/name";
    const sg_status status = sg_hub_pull(&p, ask, options(), &err);
    if (status != wanted)
        print_error("%s\n", status == SG_OK ? "it was pulled" : err.text);
    CHECK(status == wanted && p == NULL);
    CHECK_TEXT(err.text, words);
}

static const char *at(const char *path)
{
    static char whole[4][600];
    static int next;
    next = (next + 1) % 4;
    snprintf(whole[next], sizeof whole[0], "%s/models--org--name/%s", cache, path);
    return whole[next];
}

static bool holds(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "rb");
    char *got = malloc(n + 1);
    const size_t size = f && got ? fread(got, 1, n + 1, f) : 0;
    const bool same = f && size == n && memcmp(got, bytes, n) == 0;
    free(got);
    if (f)
        fclose(f);
    return same;
}

static long size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static const char *part_of(const char *name)
{
    char etag[SG_SHA256_TEXT], path[128];
    snprintf(path, sizeof path, "blobs/%s.incomplete", etag_of(hosted_file(name), etag));
    return at(path);
}

/* ---- a hub that behaves ---- */

static void a_model_is_put_where_other_tools_look_for_it(void **state)
{
    (void)state;
    char target[256], etag[SG_SHA256_TEXT], wanted[256], *found;
    sg_hub_pulled *p = pulled((sg_hub_ask){0});

    CHECK(p->n_files == 3 && p->n_left == 3 && strcmp(p->commit, COMMIT) == 0);
    CHECK(p->fetched_bytes == LARGE + 23 + 2 && !p->files[1].was_there);
    CHECK(strcmp(p->model, at("snapshots/" COMMIT)) == 0 && strcmp(p->folder, p->model) == 0);
    CHECK(holds(at("snapshots/" COMMIT "/model.safetensors"), large, LARGE));
    CHECK(holds(at("refs/main"), COMMIT, 40));
    const ssize_t n = readlink(at("snapshots/" COMMIT "/model.safetensors"), target, sizeof target - 1);
    CHECK(n > 0);
    target[n] = '\0';
    snprintf(wanted, sizeof wanted, "../../blobs/%s", etag_of(&files[1], etag));
    CHECK(strcmp(target, wanted) == 0);
    CHECK(size_of(at("snapshots/" COMMIT "/pytorch_model.bin")) < 0);
    sg_hub_pulled_free(p);

    CHECK_OK(sg_hub_find(&found, "org/name", &err), &err);
    CHECK(strcmp(found, at("snapshots/" COMMIT)) == 0);
    free(found);

    /* A second time nothing is fetched. */
    p = pulled((sg_hub_ask){0});
    CHECK(p->fetched_bytes == 0 && p->files[0].was_there && p->files[1].was_there && p->files[2].was_there);
    sg_hub_pulled_free(p);
    CHECK(hub_count(&hub, "GET /org/name/resolve/") == 3);
    CHECK(hub_count(&hub, "Accept-Encoding: identity") == hub.n_log && hub_count(&hub, "Authorization") == 0);
}

static void what_is_asked_for_by_name_is_all_that_comes(void **state)
{
    (void)state;
    sg_hub_pulled *p = pulled((sg_hub_ask){.file = "onnx/model.onnx"});
    CHECK(p->n_files == 1 && holds(at("snapshots/" COMMIT "/onnx/model.onnx"), "x", 1));
    char target[256];
    CHECK(readlink(at("snapshots/" COMMIT "/onnx/model.onnx"), target, 9) == 9 && memcmp(target, "../../../", 9) == 0);
    sg_hub_pulled_free(p);
    p = pulled((sg_hub_ask){.n_include = 2, .include = (const char *const[]){"*.bin", "README*"}});
    CHECK(p->n_files == 2 && p->n_left == 4 && holds(at("snapshots/" COMMIT "/pytorch_model.bin"), "a program", 9));
    sg_hub_pulled_free(p);
    fails((sg_hub_ask){.file = "model.safetensor"}, SG_EARG, "the nearest is model.safetensors");
}

static void plain_files_go_into_a_folder(void **state)
{
    (void)state;
    char to[128], path[256];
    snprintf(to, sizeof to, "%s/to/here", folder);
    sg_hub_pulled *p = pulled((sg_hub_ask){.to = to});
    struct stat st;
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    CHECK(holds(path, large, LARGE) && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && strcmp(p->model, to) == 0);
    sg_hub_pulled_free(p);
    snprintf(path, sizeof path, "%s/.sightglass-pull", to);
    CHECK(size_of(path) < 0 && size_of(cache) < 0);
    p = pulled((sg_hub_ask){.to = to});
    CHECK(p->fetched_bytes == 0);
    sg_hub_pulled_free(p);
    /* A file of that name and length with other bytes is not taken for the file. */
    snprintf(path, sizeof path, "%s/tokenizer.json", to);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs("[]", f) >= 0 && fclose(f) == 0);
    p = pulled((sg_hub_ask){.to = to});
    CHECK(p->fetched_bytes == 2 && holds(path, "{}", 2));
    sg_hub_pulled_free(p);
}

static void one_gguf_file_is_the_model_and_several_are_a_question(void **state)
{
    (void)state;
    char *found;
    n_files = 0;
    host("README.md", "#", 1, false);
    host("name.Q8_0.gguf", "GGUF8", 5, true);
    sg_hub_pulled *p = pulled((sg_hub_ask){0});
    CHECK(p->n_files == 1 && strcmp(p->model, at("snapshots/" COMMIT "/name.Q8_0.gguf")) == 0);
    sg_hub_pulled_free(p);
    CHECK_OK(sg_hub_find(&found, "org/name", &err), &err);
    CHECK(strcmp(found, at("snapshots/" COMMIT "/name.Q8_0.gguf")) == 0);
    free(found);
    host("name.Q4_K_M.gguf", "GGUF4", 5, true);
    fails((sg_hub_ask){0}, SG_EUNSUPPORTED, "name.Q4_K_M.gguf");
    p = pulled((sg_hub_ask){.file = "*Q4_K_M.gguf"});
    CHECK(strcmp(p->model, at("snapshots/" COMMIT "/name.Q4_K_M.gguf")) == 0);
    sg_hub_pulled_free(p);
    CHECK_OK(sg_hub_find(&found, "org/name:name.Q4_K_M.gguf", &err), &err);
    free(found);
}

static void pickles_alone_are_refused(void **state)
{
    (void)state;
    n_files = 0;
    host("config.json", "{}", 2, false);
    host("pytorch_model.bin", "a program", 9, true);
    fails((sg_hub_ask){0}, SG_EUNSUPPORTED, "pickles");
}

/* ---- the token ---- */

static void the_token_is_shown_to_the_hub_and_to_nobody_else(void **state)
{
    (void)state;
    sg_hub_opts opts = options();
    sg_hub_pulled *p;

    how.elsewhere = other.port;
    opts.token = "hf_secret";
    CHECK_OK(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name"}, opts, &err), &err);
    CHECK(holds(at("snapshots/" COMMIT "/model.safetensors"), large, LARGE));
    sg_hub_pulled_free(p);
    CHECK(hub_count(&hub, "Authorization: Bearer hf_secret") == hub.n_log && hub.n_log >= 6);
    CHECK(other.n_log == 1 && hub_count(&other, "hf_secret") == 0 && hub_count(&other, "uthorization") == 0);

    opts.token = "two\r\nlines";
    CHECK_STATUS(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name"}, opts, &err), SG_EARG);
}

static void refusals_are_explained(void **state)
{
    (void)state;
    how = (mood){.n_refusals = 1, .refusal = 401};
    fails((sg_hub_ask){0}, SG_EIO, "HF_TOKEN");
    how = (mood){.n_refusals = 1, .refusal = 403};
    fails((sg_hub_ask){0}, SG_EIO, "terms");
    how = (mood){.n_refusals = 1, .refusal = 404};
    fails((sg_hub_ask){0}, SG_ENOTFOUND, "no such repository");
    CHECK(hub.n_log == 3); /* none was asked twice */
    fails((sg_hub_ask){.repo = "org/other"}, SG_ENOTFOUND, "org/other");
    fails((sg_hub_ask){.revision = "v2"}, SG_ENOTFOUND, "org/name");
}

/* ---- a hub that is in a bad way ---- */

static void what_passes_is_tried_again(void **state)
{
    (void)state;
    static const int statuses[] = {429, 503, 500, 408, 0};

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        how = (mood){.n_refusals = 2, .refusal = statuses[i], .retry_after = i == 0 ? "0" : NULL};
        sg_hub_pulled_free(pulled((sg_hub_ask){0}));
    }
    how = (mood){.n_refusals = 99, .refusal = 503};
    hub.n_log = 0;
    fails((sg_hub_ask){0}, SG_EIO, "503");
    CHECK(hub.n_log == 3);
    how = (mood){.n_refusals = 99, .refusal = 429};
    fails((sg_hub_ask){0}, SG_EIO, "too many requests");
    how = (mood){.n_refusals = 99};
    fails((sg_hub_ask){0}, SG_EIO, "127.0.0.1");
    /* An error page in the place of a file is not the file. */
    how = (mood){.n_refusals = 2, .refusal = 502, .only_refuse_get = 1};
    n_files = 1;
    files[0].bytes = "{\"model_type\": \"gpt2!\"}";
    sg_hub_pulled_free(pulled((sg_hub_ask){0}));
    CHECK(holds(at("snapshots/" COMMIT "/config.json"), files[0].bytes, 23));
}

static void a_dropped_connection_goes_on_where_it_stopped(void **state)
{
    (void)state;
    how = (mood){.drop_after = 70000, .n_drops = 4, .elsewhere = other.port};
    sg_hub_pulled *p = pulled((sg_hub_ask){.file = "model.safetensors"});
    CHECK(holds(at("snapshots/" COMMIT "/model.safetensors"), large, LARGE));
    CHECK(p->fetched_bytes == LARGE); /* no byte twice */
    CHECK(other.n_log == 5 && hub_range(other.log[1]) == 70000 && hub_range(other.log[4]) == 280000);
    CHECK(size_of(part_of("model.safetensors")) < 0);
    sg_hub_pulled_free(p);
}

static void a_hub_that_sends_nothing_more_is_given_up_and_the_part_is_kept(void **state)
{
    (void)state;
    how = (mood){.drop_after = 100000, .n_drops = 1};
    files[1].n = LARGE;
    /* After the first piece connections end at once. */
    how.n_drops = 1;
    sg_hub_opts opts = options();
    sg_hub_pulled *p;
    opts.n_tries = 1;
    CHECK_STATUS(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name", .file = "model.safetensors"}, opts, &err), SG_OK);
    sg_hub_pulled_free(p);

    CHECK(unlink(at("snapshots/" COMMIT "/model.safetensors")) == 0);
    char blob[256], etag[SG_SHA256_TEXT], path[128];
    snprintf(path, sizeof path, "blobs/%s", etag_of(&files[1], etag));
    snprintf(blob, sizeof blob, "%s", at(path));
    CHECK(rename(blob, part_of("model.safetensors")) == 0 && truncate(part_of("model.safetensors"), 1000) == 0);
    how = (mood){.drop_after = 0, .n_drops = 99};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EIO, "1000 of 300000 bytes came");
    CHECK(size_of(part_of("model.safetensors")) == 1000);
    CHECK(size_of(at("snapshots/" COMMIT "/model.safetensors")) < 0);
    how = (mood){0};
    hub.n_log = 0;
    p = pulled((sg_hub_ask){.file = "model.safetensors"});
    CHECK(p->fetched_bytes == LARGE - 1000 && hub_count(&hub, "Range: bytes=1000-") == 1);
    sg_hub_pulled_free(p);
}

static void write_part(const char *bytes, size_t n)
{
    CHECK_OK(sg_hub_make_folders(part_of("model.safetensors"), &err), &err);
    FILE *f = fopen(part_of("model.safetensors"), "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void an_old_part_of_something_else_is_fetched_anew(void **state)
{
    (void)state;
    char *wrong = malloc(LARGE + 100);
    CHECK(wrong != NULL);
    memset(wrong, '!', LARGE + 100);
    static const size_t sizes[] = {5000, LARGE, LARGE + 100}; /* a part, as long as the file, longer */
    for (int i = 0; i < 3; i++) {
        fresh(NULL);
        write_part(wrong, sizes[i]);
        sg_hub_pulled_free(pulled((sg_hub_ask){.file = "model.safetensors"}));
        CHECK(holds(at("snapshots/" COMMIT "/model.safetensors"), large, LARGE));
        stop(NULL);
    }
    fresh(NULL);
    free(wrong);
}

static void a_hub_without_parts_sends_it_whole(void **state)
{
    (void)state;
    write_part(large, 5000);
    how.no_ranges = true;
    sg_hub_pulled *p = pulled((sg_hub_ask){.file = "model.safetensors"});
    CHECK(p->fetched_bytes == LARGE && holds(at("snapshots/" COMMIT "/model.safetensors"), large, LARGE));
    sg_hub_pulled_free(p);
}

static void wrong_hashes_are_thrown_away(void **state)
{
    (void)state;
    how.wrong_bytes = true;
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "hash");
    CHECK(size_of(part_of("model.safetensors")) < 0 && size_of(at("snapshots/" COMMIT "/model.safetensors")) < 0);
    fails((sg_hub_ask){.file = "config.json"}, SG_EFORMAT, "hash"); /* git's, of a small file */
    CHECK(size_of(at("refs/main")) < 0);
    how = (mood){.etag = "../../../../evil"};
    fails((sg_hub_ask){.file = "config.json"}, SG_EFORMAT, "no usable hash");
    how = (mood){.etag = ""};
    fails((sg_hub_ask){.file = "config.json"}, SG_EFORMAT, "no usable hash");
}

static void lengths_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    how = (mood){.lie_size = 5};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "300005");
    how = (mood){.lie_size = -3, .lie_head = -3};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "told 299997 bytes and sends 300000");
    how = (mood){.lie_size = 3, .lie_head = 3};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "told 300003 bytes and sends 300000");
    how = (mood){.endless = true};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "told 300000 bytes and sends 300007");
    how = (mood){.endless = true, .no_length = true};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "more than the 300000");
    CHECK(unlink(part_of("model.safetensors")) == 0);
    write_part(large, 5000);
    how = (mood){.no_such_part = true}; /* from the start, once */
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EIO, "416");
    write_part(large, 5000);
    how = (mood){.lie_range = true};
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EFORMAT, "asked for bytes from 5000");
}

static void redirects_end_and_lead_to_hosts_alone(void **state)
{
    (void)state;
    how = (mood){.loop = true};
    fails((sg_hub_ask){0}, SG_EFORMAT, "redirects more than");
    static const char *const bad[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "gopher://x",
                                      "http://"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        how = (mood){.redirect = bad[i]};
        fails((sg_hub_ask){0}, SG_EFORMAT, "redirects to");
    }
}

static void what_is_encrypted_stays_so(void **state)
{
    (void)state;
    static const struct {
        const char *from, *location, *to; /* NULL: refused */
    } cases[] = {{"https://hub/a", "/b?c", "https://hub/b?c"},
                 {"https://hub/a", "//cdn/b", "https://cdn/b"},
                 {"https://hub/a", "https://cdn/b", "https://cdn/b"},
                 {"http://hub/a", "https://cdn/b", "https://cdn/b"},
                 {"http://hub:80/a", "//cdn/b", "http://cdn/b"},
                 {"https://hub/a", "http://cdn/b", NULL},
                 {"https://hub/a", "http://hub/a", NULL},
                 {"HTTPS://hub/a", "HTTP://hub/a", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sg_str to = {0};
        const sg_status status = sg_hub_redirected(cases[i].from, cases[i].location, &to, &err);
        CHECK(status == (cases[i].to ? SG_OK : SG_EFORMAT));
        if (cases[i].to)
            assert_string_equal(to.text, cases[i].to);
        sg_str_free(&to);
    }
}

/* ---- names ---- */

static void hostile_names_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"../x", "a/../../x", "/etc/passwd", "a//b",      "a/./b", "a/",
                                        "",     "a\\\\b",    "a\\nb",       "a\\u0000b", ".."};
    char listing[512];

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        snprintf(listing, sizeof listing,
                 "{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"config.json\"}, {\"rfilename\": \"%s\"}]}",
                 paths[i]);
        how.listing = listing;
        fails((sg_hub_ask){0}, SG_EFORMAT, "org/name");
    }
    static const char *const listings[] = {"{}",
                                           "[",
                                           "",
                                           "null",
                                           "{\"sha\": \"../..\", \"siblings\": []}",
                                           "{\"sha\": \"" COMMIT "\"}",
                                           "{\"sha\": \"" COMMIT "\", \"siblings\": [3]}",
                                           "{\"sha\": 4, \"siblings\": []}"};
    for (size_t i = 0; i < sizeof listings / sizeof listings[0]; i++) {
        how.listing = listings[i];
        fails((sg_hub_ask){0}, SG_EFORMAT, "org/name");
    }
    how.listing = "{\"sha\": \"" COMMIT "\", \"siblings\": []}";
    fails((sg_hub_ask){0}, SG_EUNSUPPORTED, "nothing that is a model's");
    CHECK(size_of(cache) < 0);

    static const char *const repos[] = {"",       "a/b/c", "../x",  "/x",         "x/",   "a..b/c",
                                        "a--b/c", "a/.b",  "a b/c", "org/na\nme", "-x/y", "a/b?c"};
    hub.n_log = 0;
    for (size_t i = 0; i < sizeof repos / sizeof repos[0]; i++)
        fails((sg_hub_ask){.repo = repos[i]}, SG_EARG, "no name of a repository");
    fails((sg_hub_ask){.revision = "../main"}, SG_EARG, "no branch");
    fails((sg_hub_ask){.file = "../x"}, SG_EARG, "no file");
    CHECK(hub.n_log == 0);
}

static void what_was_not_pulled_is_named_with_the_way_to_get_it(void **state)
{
    (void)state;
    char *found;
    CHECK_STATUS(sg_hub_find(&found, "org/nothing", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "sightglass pull org/nothing");
    CHECK_STATUS(sg_hub_find(&found, "../models", &err), SG_EARG);
    CHECK(hub.n_log == 0); /* and nobody is asked */
    CHECK_OK(sg_hub_locate(&found, "/tmp", &err), &err);
    CHECK(strcmp(found, "/tmp") == 0);
    free(found);
    /* A ref that was tampered with leads nowhere. */
    CHECK_OK(sg_hub_make_folders(at("refs/main"), &err), &err);
    FILE *f = fopen(at("refs/main"), "w");
    CHECK(f && fputs("../../../../etc", f) >= 0 && fclose(f) == 0);
    CHECK_STATUS(sg_hub_find(&found, "org/name", &err), SG_ENOTFOUND);
}

/* ---- stopping ---- */

static volatile sig_atomic_t stopped;

static void stop_midway(void *context, const char *file, uint64_t done, uint64_t all)
{
    (void)context, (void)file;
    CHECK(all >= done);
    if (done > LARGE / 2)
        stopped = 1;
}

static void what_came_before_it_was_stopped_is_kept(void **state)
{
    (void)state;
    sg_hub_opts opts = options();
    sg_hub_pulled *p;

    stopped = 0;
    opts.cancel = &stopped;
    opts.progress = stop_midway;
    how = (mood){.drop_after = LARGE * 2 / 3, .n_drops = 1};
    CHECK_STATUS(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name", .file = "model.safetensors"}, opts, &err),
                 SG_ECANCELLED);
    const long kept = size_of(part_of("model.safetensors"));
    CHECK(kept > LARGE / 2 && kept <= LARGE * 2 / 3);
    how = (mood){0};
    p = pulled((sg_hub_ask){.file = "model.safetensors"});
    CHECK(p->fetched_bytes == (uint64_t)(LARGE - kept));
    sg_hub_pulled_free(p);
}

static void two_pulls_do_not_write_one_part(void **state)
{
    (void)state;
    write_part(large, 10);
    const int fd = open(part_of("model.safetensors"), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    fails((sg_hub_ask){.file = "model.safetensors"}, SG_EIO, "another process");
    CHECK(size_of(part_of("model.safetensors")) == 10);
    close(fd);
    sg_hub_pulled_free(pulled((sg_hub_ask){.file = "model.safetensors"}));
}

static void offline_means_that_nobody_is_asked(void **state)
{
    (void)state;
    sg_hub_opts opts;
    sg_hub_pulled *p;

    setenv("HF_HUB_OFFLINE", "1", 1);
    opts = options();
    unsetenv("HF_HUB_OFFLINE");
    CHECK(opts.offline);
    CHECK_STATUS(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name"}, opts, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "HF_HUB_OFFLINE");
    CHECK(hub.n_log == 0);
    opts = options();
    opts.endpoint = "file:///etc";
    CHECK_STATUS(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name"}, opts, &err), SG_EARG);
}

static void paths_are_escaped_as_addresses_want_it(void **state)
{
    (void)state;
    char *a = sg_http_escape("a b/ä#?%", true), *b = sg_http_escape("refs/pr/1", false);
    CHECK(strcmp(a, "a%20b/%C3%A4%23%3F%25") == 0 && strcmp(b, "refs%2Fpr%2F1") == 0);
    free(a);
    free(b);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_model_is_put_where_other_tools_look_for_it),
        TEST(what_is_asked_for_by_name_is_all_that_comes),
        TEST(plain_files_go_into_a_folder),
        TEST(one_gguf_file_is_the_model_and_several_are_a_question),
        TEST(pickles_alone_are_refused),
        TEST(the_token_is_shown_to_the_hub_and_to_nobody_else),
        TEST(refusals_are_explained),
        TEST(what_passes_is_tried_again),
        TEST(a_dropped_connection_goes_on_where_it_stopped),
        TEST(a_hub_that_sends_nothing_more_is_given_up_and_the_part_is_kept),
        cmocka_unit_test_setup_teardown(an_old_part_of_something_else_is_fetched_anew, NULL, stop),
        TEST(a_hub_without_parts_sends_it_whole),
        TEST(wrong_hashes_are_thrown_away),
        TEST(lengths_that_do_not_fit_are_refused),
        TEST(redirects_end_and_lead_to_hosts_alone),
        TEST(what_is_encrypted_stays_so),
        TEST(hostile_names_are_refused),
        TEST(what_was_not_pulled_is_named_with_the_way_to_get_it),
        TEST(what_came_before_it_was_stopped_is_kept),
        TEST(two_pulls_do_not_write_one_part),
        TEST(offline_means_that_nobody_is_asked),
        TEST(paths_are_escaped_as_addresses_want_it),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
