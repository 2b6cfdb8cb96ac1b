#include "serve/looks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

typedef struct entry {
    struct entry *next;
    look *look;
    char *model;
    int held;
} entry;

struct looks {
    pthread_mutex_t lock;
    entry *first; /* last asked for first */
    int most;
    size_t most_bytes;
};

static void end(entry *e)
{
    look_free(e->look);
    free(e->model);
    free(e);
}

sg_status looks_new(looks **out, int most, size_t most_bytes, sg_error *err)
{
    looks *s = calloc(1, sizeof *s);
    if (!s || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return sg_fail(err, SG_ENOMEM, "out of memory for looks");
    }
    s->most = most;
    s->most_bytes = most_bytes;
    *out = s;
    return SG_OK;
}

void looks_free(looks *s)
{
    if (!s)
        return;
    for (entry *e = s->first, *next; e; e = next) {
        next = e->next;
        SG_ASSERT(e->held == 0);
        end(e);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Under the lock: the entry, moved to the front and held. */
static entry *find(looks *s, const char *id, const char *model)
{
    for (entry **at = &s->first; *at; at = &(*at)->next) {
        entry *e = *at;
        if (strcmp(look_id(e->look), id) != 0 || strcmp(e->model, model) != 0)
            continue;
        *at = e->next;
        e->next = s->first;
        s->first = e;
        e->held++;
        return e;
    }
    return NULL;
}

/* Under the lock: takes out what is too much and not held; the caller ends them without it. */
static entry *trim(looks *s)
{
    entry *gone = NULL;
    int n = 0;
    size_t bytes = 0;
    for (entry **at = &s->first; *at;) {
        entry *e = *at;
        /* What is held may be computing, under its own lock: its bytes are counted when it is let go. */
        const size_t own = e->held ? 0 : look_bytes(e->look);
        if (!e->held && (n + 1 > s->most || (n > 0 && bytes + own > s->most_bytes))) {
            *at = e->next;
            e->next = gone;
            gone = e;
            continue;
        }
        n++;
        bytes += own;
        at = &e->next;
    }
    return gone;
}

static void end_all(entry *gone)
{
    while (gone) {
        entry *next = gone->next;
        end(gone);
        gone = next;
    }
}

sg_status looks_open(looks *s, look_of of, const char *model, look **out, sg_error *err)
{
    entry *e = calloc(1, sizeof *e);
    sg_status status = e ? look_new(&e->look, of, err) : sg_fail(err, SG_ENOMEM, "out of memory for a look");
    if (status == SG_OK && !(e->model = strdup(model)))
        status = sg_fail(err, SG_ENOMEM, "out of memory for a look");
    if (!e || status != SG_OK) {
        if (e)
            look_free(e->look);
        free(e);
        return status;
    }
    pthread_mutex_lock(&s->lock);
    entry *had = find(s, look_id(e->look), model);
    if (!had) {
        e->held = 1;
        e->next = s->first;
        s->first = e;
    }
    *out = had ? had->look : e->look;
    entry *gone = trim(s);
    pthread_mutex_unlock(&s->lock);
    if (had)
        end(e);
    end_all(gone);
    return SG_OK;
}

sg_status looks_find(looks *s, const char *id, const char *model, look **out, sg_error *err)
{
    pthread_mutex_lock(&s->lock);
    entry *e = find(s, id, model);
    if (e)
        *out = e->look;
    pthread_mutex_unlock(&s->lock);
    return e ? SG_OK
             : sg_fail(err, SG_ENOTFOUND, "run %.40s of model %.80s is not kept any more: run the prompt again", id,
                       model);
}

void looks_let_go(looks *s, look *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&s->lock);
    for (entry *e = s->first; e; e = e->next)
        if (e->look == l)
            e->held--;
    entry *gone = trim(s);
    pthread_mutex_unlock(&s->lock);
    end_all(gone);
}
