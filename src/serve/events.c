/* The ring of events and those who read it. A text is shared by the ring and by readers that are in the midst of it. */
#include "serve/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve/workspace.h"

enum { RING = 2048, RING_BYTES = 8 << 20, KEPT = 20000, SWEEP = 512, MAX_READERS = 1024, BACKLOG_BYTES = 4 << 20 };
static const double heartbeat_seconds = 15;

typedef struct text {
    int holders;
    size_t n;
    char bytes[];
} text;

typedef struct event {
    int64_t id;
    char name[40];
    text *text;
} event;

typedef struct event_reader {
    struct event_reader *next, *before;
    exchange *x;
    char topics[256];
    int64_t cursor; /* the last one that it has, or has in `now` */
    text *now;
    size_t at; /* of `now` */
    double spoke;
} event_reader;

struct events {
    serve *s;
    pthread_mutex_t lock;
    event ring[RING];
    int first, n;
    size_t bytes;
    int64_t newest, reserved; /* numbers up to this one are set aside */
    event_reader *readers;
    int n_readers;
    int unswept;
};

static text *text_new(const char *bytes, size_t n)
{
    text *t = malloc(sizeof *t + n);
    if (t) {
        t->holders = 1;
        t->n = n;
        memcpy(t->bytes, bytes, n);
    }
    return t;
}

static void text_release(text *t)
{
    if (t && --t->holders == 0)
        free(t);
}

sg_status serve_events_new(events **out, serve *s, sg_error *err)
{
    events *e = calloc(1, sizeof *e);
    if (!e)
        return sg_fail(err, SG_ENOMEM, "out of memory for events");
    e->s = s;
    pthread_mutex_init(&e->lock, NULL);
    const sg_status status = serve_workspace_event_numbers(s->workspace, &e->newest, &e->reserved, err);
    if (status != SG_OK) {
        serve_events_free(e);
        return status;
    }
    *out = e;
    return SG_OK;
}

static void drop_oldest(events *e)
{
    event *old = &e->ring[e->first];
    e->bytes -= old->text->n;
    text_release(old->text);
    e->first = (e->first + 1) % RING;
    e->n--;
}

void serve_events_free(events *e)
{
    if (!e)
        return;
    while (e->n)
        drop_oldest(e);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static bool wants(const char *topics, const char *name)
{
    if (!topics[0])
        return true;
    for (const char *at = topics; *at;) {
        const size_t n = strcspn(at, ",");
        if (n && strncmp(at, name, n) == 0 && (name[n] == '\0' || name[n] == '.'))
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

/* Readers that are to look again, held, so that none is awakened under the lock that reading takes. */
typedef struct wakings {
    exchange *x[MAX_READERS];
    int n;
} wakings;

static void wake_all(wakings *w)
{
    for (int i = 0; i < w->n; i++) {
        serve_exchange_wake(w->x[i]);
        serve_exchange_release(w->x[i]);
    }
    free(w);
}

static void write_event(sg_str *out, int64_t id, const char *name, const char *data)
{
    sg_str_printf(out, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", id, name, data);
}

static void push(events *e, int64_t id, const char *name, text *t)
{
    while (e->n == RING || (e->n && e->bytes + t->n > RING_BYTES))
        drop_oldest(e);
    event *new = &e->ring[(e->first + e->n++) % RING];
    new->id = id;
    new->text = t;
    snprintf(new->name, sizeof new->name, "%s", name);
    e->bytes += t->n;
}

void serve_publish(serve *s, const char *name, json_t *payload, bool keep)
{
    events *e = s->events;
    struct timespec now;
    sg_str out = {0};
    wakings *w = malloc(sizeof *w);

    clock_gettime(CLOCK_REALTIME, &now);
    if (payload)
        json_object_set_new(payload, "time", json_real((double)now.tv_sec + (double)(now.tv_nsec / 1000000) * 1e-3));
    pthread_mutex_lock(&e->lock);
    /* Numbers are set aside in blocks, so that after a restart none is given twice. */
    if (e->newest == e->reserved &&
        serve_workspace_event_numbers(s->workspace, &e->newest, &e->reserved, NULL) != SG_OK)
        e->reserved = e->newest + 1; /* the disk is full, say: to go on telling is better than to stop */
    const int64_t id = ++e->newest;
    json_object_set_new(payload, "seq", json_integer(id));
    char *data = payload ? json_dumps(payload, JSON_COMPACT | JSON_REAL_PRECISION(13)) : NULL;
    if (data) {
        if (keep)
            serve_workspace_keep_event(s->workspace, id, name, data);
        if (keep && ++e->unswept >= SWEEP) {
            e->unswept = 0;
            serve_workspace_drop_events(s->workspace, KEPT);
        }
        write_event(&out, id, name, data);
    }
    text *t = data && !out.failed ? text_new(out.text, out.bytes) : NULL;
    if (t)
        push(e, id, name, t);
    if (w)
        w->n = 0;
    for (event_reader *r = e->readers; t && w && r; r = r->next) {
        if (wants(r->topics, name) && w->n < MAX_READERS) {
            serve_exchange_hold(r->x);
            w->x[w->n++] = r->x;
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (w)
        wake_all(w);
    sg_str_free(&out);
    free(data);
    json_decref(payload);
}

void serve_events_tick(events *e)
{
    const double now = sg_now();
    wakings *w = malloc(sizeof *w);

    if (!w)
        return;
    w->n = 0;
    pthread_mutex_lock(&e->lock);
    for (event_reader *r = e->readers; r; r = r->next) {
        if (now - r->spoke > heartbeat_seconds && w->n < MAX_READERS) {
            serve_exchange_hold(r->x);
            w->x[w->n++] = r->x;
        }
    }
    pthread_mutex_unlock(&e->lock);
    wake_all(w);
}

int serve_events_n_readers(events *e)
{
    pthread_mutex_lock(&e->lock);
    const int n = e->n_readers;
    pthread_mutex_unlock(&e->lock);
    return n;
}

/* ---- reading ---- */

/* What was kept of the events between `last` and the oldest one in the ring. */
typedef struct backlog {
    const char *topics;
    sg_str out;
    int64_t newest;
    bool cut;
} backlog;

static bool add_kept(void *context, int64_t id, const char *name, const char *data)
{
    backlog *b = context;
    b->newest = id;
    if (wants(b->topics, name))
        write_event(&b->out, id, name, data);
    b->cut = b->out.bytes > BACKLOG_BYTES;
    return !b->cut;
}

sg_status serve_events_answer(events *e, exchange *x, const char *topics, int64_t last, sg_error *err)
{
    event_reader *r = calloc(1, sizeof *r);
    backlog b = {.topics = topics};

    if (!r)
        return sg_fail(err, SG_ENOMEM, "out of memory for a client of events");
    if (strlen(topics) >= sizeof r->topics) {
        free(r);
        return sg_fail(err, SG_EARG, "the topics take more than %zu bytes", sizeof r->topics - 1);
    }
    r->x = x;
    r->spoke = sg_now();
    snprintf(r->topics, sizeof r->topics, "%s", topics);
    sg_str_puts(&b.out, "retry: 1000\n\n");
    pthread_mutex_lock(&e->lock);
    const int64_t oldest = e->n ? e->ring[e->first].id : e->newest + 1;
    r->cursor = last < 0 || last > e->newest ? e->newest : last;
    if (r->cursor + 1 < oldest) {
        const int64_t lost = serve_workspace_dropped_events(e->s->workspace);
        if (r->cursor < lost)
            sg_str_printf(&b.out, "event: server.lost\ndata: {\"from\":%" PRId64 ",\"to\":%" PRId64 "}\n\n",
                          r->cursor + 1, lost);
        serve_workspace_kept_events(e->s->workspace, r->cursor, oldest, add_kept, &b);
        r->cursor = b.cut ? b.newest : oldest - 1;
    }
    r->now = b.out.failed ? NULL : text_new(b.out.text, b.out.bytes);
    const sg_status status = !r->now                       ? sg_fail(err, SG_ENOMEM, "out of memory for events")
                             : e->n_readers >= MAX_READERS ? sg_fail(err, SG_EUNSUPPORTED, "too many clients of events")
                                                           : SG_OK;
    if (status == SG_OK) {
        r->next = e->readers;
        if (r->next)
            r->next->before = r;
        e->readers = r;
        e->n_readers++;
        x->reader = r;
    } else {
        text_release(r->now);
        free(r);
    }
    pthread_mutex_unlock(&e->lock);
    sg_str_free(&b.out);
    if (status != SG_OK)
        return status;
    snprintf(x->reply.content_type, sizeof x->reply.content_type, "text/event-stream");
    x->reply.kind = ANSWER_EVENTS;
    return SG_OK;
}

void serve_events_leave(exchange *x)
{
    events *e = x->s->events;
    event_reader *r = x->reader;

    pthread_mutex_lock(&e->lock);
    *(r->before ? &r->before->next : &e->readers) = r->next;
    if (r->next)
        r->next->before = r->before;
    e->n_readers--;
    text_release(r->now);
    pthread_mutex_unlock(&e->lock);
    free(r);
    x->reader = NULL;
}

/* The next text for a reader, held. NULL: there is none. */
static text *next_text(events *e, event_reader *r)
{
    const int64_t oldest = e->n ? e->ring[e->first].id : e->newest + 1;
    if (e->n && r->cursor + 1 < oldest) {
        /* It read too slowly. */
        char lost[120];
        const int n =
            snprintf(lost, sizeof lost, "event: server.lost\ndata: {\"from\":%" PRId64 ",\"to\":%" PRId64 "}\n\n",
                     r->cursor + 1, oldest - 1);
        r->cursor = oldest - 1;
        return text_new(lost, (size_t)n);
    }
    /* Numbers grow along the ring, with gaps only where a server began: the place is at most this far in. */
    int i = (int)SG_MIN((int64_t)e->n, SG_MAX((int64_t)0, r->cursor + 1 - oldest));
    while (i > 0 && e->ring[(e->first + i - 1) % RING].id > r->cursor)
        i--;
    for (; i < e->n; i++) {
        event *at = &e->ring[(e->first + i) % RING];
        r->cursor = at->id;
        if (wants(r->topics, at->name)) {
            at->text->holders++;
            return at->text;
        }
    }
    return NULL;
}

long serve_events_read(exchange *x, char *to, size_t most)
{
    events *e = x->s->events;
    event_reader *r = x->reader;
    size_t done = 0;

    pthread_mutex_lock(&e->lock);
    while (done < most) {
        if (!r->now) {
            r->now = next_text(e, r);
            r->at = 0;
        }
        if (!r->now)
            break;
        const size_t n = SG_MIN(most - done, r->now->n - r->at);
        memcpy(to + done, r->now->bytes + r->at, n);
        done += n;
        r->at += n;
        if (r->at == r->now->n) {
            text_release(r->now);
            r->now = NULL;
        }
    }
    if (!done && most >= 3 && sg_now() - r->spoke > heartbeat_seconds) {
        memcpy(to, ":\n\n", 3);
        done = 3;
    }
    if (done)
        r->spoke = sg_now();
    pthread_mutex_unlock(&e->lock);
    return (long)done;
}
