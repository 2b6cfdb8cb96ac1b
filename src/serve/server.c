/* The server: its parts made and ended in order, the table of routes, and the threads that answer. */
#include "serve/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve/events.h"
#include "serve/exchange.h"
#include "serve/guard.h"
#include "serve/http.h"
#include "serve/jobs.h"
#include "serve/workspace.h"

#define SERVE_ROUTES(name) extern const serve_route serve_routes_##name[];
#define SERVE_PART(name)   extern const serve_part serve_part_##name;
#include "serve/routes.def"

static const serve_route *const lists[] = {
#define SERVE_ROUTES(name) serve_routes_##name,
#include "serve/routes.def"
};
static const serve_part *const parts[] = {
#define SERVE_PART(name) &serve_part_##name,
#include "serve/routes.def"
    NULL};

const serve_route *const *serve_route_lists(int *n)
{
    *n = SG_COUNT_OF(lists);
    return lists;
}

const sg_server_opts *serve_opts(const serve *s)
{
    return &s->opts;
}

void *serve_part_of(const serve *s, const serve_part *part)
{
    for (size_t i = 0; parts[i]; i++)
        if (parts[i] == part)
            return s->part[i];
    return NULL;
}

/* ---- routes ---- */

/* Whether the path is of this form; texts in braces are written to param as places in the path, not yet cut. */
static bool fits(const char *form, const char *path, const char *begin[4], size_t bytes[4], int *n)
{
    *n = 0;
    while (*form) {
        if (*form == '{') {
            const size_t k = strcspn(path, "/");
            if (k == 0 || k > 128 || *n == 4)
                return false;
            begin[*n] = path;
            bytes[(*n)++] = k;
            path += k;
            form = strchr(form, '}') + 1;
        } else if (*form++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static void allow(char allowed[64], const char *method)
{
    const size_t n = strlen(allowed);
    if (!strstr(allowed, method))
        snprintf(allowed + n, 64 - n, "%s%s%s", n ? ", " : "", method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

serve_slot *serve_find_route(serve *s, const char *method, const char *path, char *room, char *param[4],
                             char allowed[64])
{
    serve_slot *best = NULL;
    int least = 5, n;
    const char *begin[4];
    size_t bytes[4];

    /* Of several forms the one with the fewest braces is meant: /jobs/kinds before /jobs/{job}. */
    for (int i = 0; i < s->n_slots; i++) {
        const serve_route *r = s->slot[i].route;
        if (!fits(r->path, path, begin, bytes, &n))
            continue;
        if (strcmp(r->method, method) != 0) {
            allow(allowed, r->method);
        } else if (n < least) {
            best = &s->slot[i];
            least = n;
        }
    }
    if (!best || !fits(best->route->path, path, begin, bytes, &n))
        return NULL;
    memcpy(room, path, strlen(path) + 1);
    for (int i = 0; i < n; i++) {
        param[i] = room + (begin[i] - path);
        param[i][bytes[i]] = '\0';
    }
    return best;
}

static sg_status add_route(serve *s, const serve_route *r, sg_error *err)
{
    serve_slot *slot = &s->slot[s->n_slots];
    char name[160], query[600];

    if (s->n_slots == SERVE_MAX_ROUTES)
        return sg_fail(err, SG_EARG, "there are more than %d routes", SERVE_MAX_ROUTES);
    for (int i = 0; i < s->n_slots; i++)
        if (strcmp(s->slot[i].route->path, r->path) == 0 && strcmp(s->slot[i].route->method, r->method) == 0)
            return sg_fail(err, SG_EARG, "%s %s is there twice", r->method, r->path);
    snprintf(name, sizeof name, "%s %s", r->method, r->path);
    slot->route = r;
    if (r->input[0])
        SG_TRY(serve_type_parse(&slot->input, s->types, name, r->input, err));
    if (r->output[0])
        SG_TRY(serve_type_parse(&slot->output, s->types, name, r->output, err));
    snprintf(query, sizeof query, "{%s}", r->query);
    SG_TRY(serve_type_parse(&slot->query, s->types, name, query, err));
    s->n_slots++;
    return SG_OK;
}

sg_status serve_add_routes(serve *s, const serve_route *routes, sg_error *err)
{
    for (const serve_route *r = routes; r->path; r++)
        SG_TRY(add_route(s, r, err));
    return SG_OK;
}

static sg_status add_lists(serve *s, sg_error *err)
{
    for (size_t k = 0; k < SG_COUNT_OF(lists); k++)
        SG_TRY(serve_add_routes(s, lists[k], err));
    return SG_OK;
}

/* ---- threads that answer ---- */

sg_status serve_submit(serve *s, exchange *x)
{
    const int flags = x->slot->route ? x->slot->route->flags : 0;
    serve_lane *l = &s->lane[(flags & SERVE_STREAM) && !(flags & SERVE_QUICK) ? SERVE_LONG : SERVE_SHORT];

    pthread_mutex_lock(&s->lock);
    const bool room = l->n_waiting < s->opts.n_waiting && !s->stopping;
    if (room) {
        serve_exchange_hold(x);
        if (l->last)
            l->last->next = x;
        else
            l->first = x;
        l->last = x;
        l->n_waiting++;
        pthread_cond_signal(&l->more);
    }
    pthread_mutex_unlock(&s->lock);
    return room ? SG_OK : SG_EUNSUPPORTED;
}

static void *work(void *context)
{
    serve_lane *l = context;
    serve *s = l->s;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!l->first && !s->stopping)
            pthread_cond_wait(&l->more, &s->lock);
        exchange *x = l->first;
        if (!x)
            break;
        l->first = x->next;
        if (!l->first)
            l->last = NULL;
        l->n_waiting--;
        l->n_answering++;
        if (s->stopping)
            x->gone = true;
        pthread_mutex_unlock(&s->lock);
        serve_exchange_run(x);
        serve_exchange_wake(x);
        serve_exchange_release(x);
        pthread_mutex_lock(&s->lock);
        if (--l->n_answering == 0)
            pthread_cond_broadcast(&s->idle);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* The lock is held. */
static bool is_busy(const serve *s)
{
    bool busy = false;
    for (int i = 0; i < SERVE_N_LANES; i++)
        busy |= s->lane[i].n_answering > 0 || (s->lane[i].first && s->lane[i].n_threads);
    return busy;
}

int serve_n_waiting(serve *s)
{
    pthread_mutex_lock(&s->lock);
    const int n = s->lane[SERVE_SHORT].n_waiting + s->lane[SERVE_LONG].n_waiting;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int serve_n_answering(serve *s)
{
    pthread_mutex_lock(&s->lock);
    const int n = s->lane[SERVE_SHORT].n_answering + s->lane[SERVE_LONG].n_answering;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static sg_status start_lane(serve *s, int i, int n_threads, sg_error *err)
{
    serve_lane *l = &s->lane[i];
    while (l->n_threads < n_threads) {
        if (pthread_create(&l->thread[l->n_threads], NULL, work, l) != 0)
            return sg_fail(err, SG_EIO, "a thread could not be started: %s", strerror(errno));
        l->n_threads++;
    }
    return SG_OK;
}

static struct timespec in_seconds(double seconds)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    const long long nanoseconds = (long long)(seconds * 1e9) + at.tv_nsec;
    at.tv_sec += (time_t)(nanoseconds / 1000000000);
    at.tv_nsec = (long)(nanoseconds % 1000000000);
    return at;
}

void serve_let_people_go_first(serve *s, double seconds)
{
    const struct timespec until = in_seconds(seconds);
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    while ((s->lane[SERVE_SHORT].n_answering || s->lane[SERVE_SHORT].first) && !s->stopping && rc == 0)
        rc = pthread_cond_timedwait(&s->idle, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
}

/* ---- begin and end ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_REPLIES true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CHECK_REPLIES true
#endif
#endif
#ifndef CHECK_REPLIES
#define CHECK_REPLIES false
#endif

sg_server_opts sg_server_defaults(void)
{
    return (sg_server_opts){.host = "127.0.0.1",
                            .commit = "unknown",
                            .page = true,
                            .n_workers = 2,
                            .n_streams = 4,
                            .n_threads = 2,
                            .idle_seconds = 30,
                            .read_seconds = 60,
                            .n_connections = 256,
                            .n_waiting = 64,
                            .body_bytes = 8 << 20,
                            .check_replies = CHECK_REPLIES};
}

static sg_status copy_text(serve *s, const char **text, sg_error *err)
{
    if (*text && !(*text = sg_arena_strdup(s->arena, *text)))
        return sg_fail(err, SG_ENOMEM, "out of memory for the server");
    return SG_OK;
}

static sg_status copy_texts(serve *s, int n, const char *const **texts, sg_error *err)
{
    const char **copy = sg_arena_array(s->arena, (size_t)n + 1, sizeof *copy);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for the server");
    for (int i = 0; i < n; i++) {
        copy[i] = (*texts)[i];
        SG_TRY(copy_text(s, &copy[i], err));
    }
    *texts = copy;
    return SG_OK;
}

static sg_status make(serve *s, sg_error *err)
{
    sg_server_opts *o = &s->opts;

    if (o->port < 0 || o->port > 65535)
        return sg_fail(err, SG_EARG, "the port is %d, wanted 0 to 65535", o->port);
    if (o->n_workers < 1 || o->n_workers > SERVE_MAX_THREADS || o->n_streams < 1 || o->n_streams > SERVE_MAX_THREADS)
        return sg_fail(err, SG_EARG, "%d workers and %d for streams, wanted 1 to %d of each", o->n_workers,
                       o->n_streams, SERVE_MAX_THREADS);
    SG_TRY(copy_text(s, &o->host, err));
    SG_TRY(copy_text(s, &o->workspace, err));
    SG_TRY(copy_text(s, &o->token, err));
    SG_TRY(copy_text(s, &o->commit, err));
    SG_TRY(copy_text(s, &o->studies, err));
    SG_TRY(copy_texts(s, o->n_models, &o->models, err));
    SG_TRY(copy_texts(s, o->n_hosts, &o->hosts, err));
    SG_TRY(serve_guard_begin(s, err));
    SG_TRY(serve_types_new(&s->types, err));
    SG_TRY(add_lists(s, err));
    SG_TRY(serve_workspace_open(&s->workspace, o->workspace, err));
    SG_TRY(serve_events_new(&s->events, s, err));
    SG_TRY(serve_jobs_new(&s->jobs, s, err));
    for (size_t i = 0; parts[i]; i++)
        SG_TRY(parts[i]->make(&s->part[i], s, err));
    return SG_OK;
}

sg_status sg_server_new(sg_server **out, const sg_server_opts *opts, sg_error *err)
{
    serve *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for the server");
    s->opts = *opts;
    s->began = sg_now();
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < SERVE_N_LANES; i++) {
        s->lane[i].s = s;
        pthread_cond_init(&s->lane[i].more, NULL);
    }
    pthread_cond_init(&s->idle, NULL);
    s->arena = sg_arena_new();
    const sg_status status = s->arena ? make(s, err) : sg_fail(err, SG_ENOMEM, "out of memory for the server");
    if (status != SG_OK) {
        sg_server_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

sg_status sg_server_start(sg_server *s, sg_error *err)
{
    sigset_t all, before;

    SG_ASSERT(!s->http);
    /* None of its threads takes signals. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sg_status status = start_lane(s, SERVE_SHORT, s->opts.n_workers, err);
    if (status == SG_OK)
        status = start_lane(s, SERVE_LONG, s->opts.n_streams, err);
    if (status == SG_OK)
        status = serve_jobs_start(s->jobs, err);
    if (status == SG_OK)
        status = serve_http_start(&s->http, s, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != SG_OK)
        return status;
    const bool any = strcmp(s->opts.host, "0.0.0.0") == 0 || strcmp(s->opts.host, "::") == 0;
    const char *host = any ? "127.0.0.1" : s->opts.host;
    const bool six = strchr(host, ':') != NULL;
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%d/?token=%s", six ? "[" : "", host, six ? "]" : "", s->port,
             s->token);
    return SG_OK;
}

const char *sg_server_url(const sg_server *s)
{
    return s->url[0] ? s->url : NULL;
}

int sg_server_port(const sg_server *s)
{
    return s->port;
}

const char *sg_server_token(const sg_server *s)
{
    return s->token;
}

bool sg_server_stop(sg_server *s, double seconds)
{
    const struct timespec until = in_seconds(seconds);
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (int i = 0; i < SERVE_N_LANES; i++)
        pthread_cond_broadcast(&s->lane[i].more);
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
    if (s->http)
        serve_http_quiesce(s->http);
    const bool jobs_ended =
        !s->jobs || serve_jobs_stop(s->jobs, 0); /* what runs is told before anything is waited for */
    pthread_mutex_lock(&s->lock);
    while (is_busy(s) && rc == 0)
        rc = pthread_cond_timedwait(&s->idle, &s->lock, &until);
    const bool all = !is_busy(s);
    pthread_mutex_unlock(&s->lock);
    if (!all || (!jobs_ended && !serve_jobs_stop(s->jobs, seconds)))
        return false;
    for (int i = 0; i < SERVE_N_LANES; i++)
        while (s->lane[i].n_threads)
            pthread_join(s->lane[i].thread[--s->lane[i].n_threads], NULL);
    serve_http_stop(s->http);
    s->http = NULL;
    return true;
}

void sg_server_free(sg_server *s)
{
    if (!s)
        return;
    while (!sg_server_stop(s, 3600)) {
    }
    for (int i = (int)SG_COUNT_OF(parts) - 2; i >= 0; i--)
        if (s->part[i])
            parts[i]->end(s->part[i]);
    serve_jobs_free(s->jobs);
    serve_events_free(s->events);
    serve_workspace_close(s->workspace);
    serve_types_free(s->types);
    sg_arena_free(s->arena);
    pthread_mutex_destroy(&s->lock);
    for (int i = 0; i < SERVE_N_LANES; i++)
        pthread_cond_destroy(&s->lane[i].more);
    pthread_cond_destroy(&s->idle);
    free(s);
}
