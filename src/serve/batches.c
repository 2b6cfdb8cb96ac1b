/* Two locks: that of the list of batches, under which nothing is computed, and one for each batch, which is let go
 * while a run goes on: `busy` then says that somebody runs, and nobody else touches the batch. */
#include "serve/batches.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_CACHE ((size_t)256 << 20) /* bytes of keys and values of a batch, if more than one row is to have room */
#define MOST_WAIT  0.005               /* seconds for others to come with their token */

typedef struct engine {
    serve_batches *all;
    char *key;
    sg_edit_list *edits; /* whose structure it has */
    sg_batch *b;         /* NULL while it is made */
    sg_dim n_rows;
    int users; /* under the list's lock */
    long long used;
    size_t bytes;
    struct engine *next;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool busy;
    int n_writing, n_pending;      /* rows past their prompt; those of them that wait for a step */
    double since, last;            /* when the first of them came; seconds of the last step */
    int32_t wanted[SG_BATCH_ROWS]; /* the token that a row waits with; -1: none */
    bool done[SG_BATCH_ROWS];
    sg_status status[SG_BATCH_ROWS];
    sg_error why;
} engine;

struct serve_row {
    engine *e;
    int row;
    const int32_t *tokens;
    sg_dim n, shared;
    sg_edit_list *edits;
    bool writing, counted;
};

struct serve_batches {
    serve_models *models;
    int most_idle;
    size_t most_bytes;
    pthread_mutex_t lock;
    pthread_cond_t made;
    engine *first;
    long long clock;
    serve_batches_count count;
};

sg_status serve_batches_new(serve_batches **out, serve_models *models, int most_idle, size_t most_bytes, sg_error *err)
{
    serve_batches *all = calloc(1, sizeof *all);

    if (!all || pthread_mutex_init(&all->lock, NULL) != 0) {
        free(all);
        return sg_fail(err, SG_ENOMEM, "out of memory for batches");
    }
    if (pthread_cond_init(&all->made, NULL) != 0) {
        pthread_mutex_destroy(&all->lock);
        free(all);
        return sg_fail(err, SG_ENOMEM, "out of memory for batches");
    }
    all->models = models;
    all->most_idle = most_idle;
    all->most_bytes = most_bytes;
    *out = all;
    return SG_OK;
}

static void end(engine *e)
{
    if (!e)
        return;
    sg_batch_free(e->b);
    sg_edit_list_free(e->edits);
    free(e->key);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void serve_batches_free(serve_batches *all)
{
    if (!all)
        return;
    for (engine *next; all->first; all->first = next) {
        next = all->first->next;
        end(all->first);
    }
    pthread_cond_destroy(&all->made);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

serve_batches_count serve_batches_counted(serve_batches *all)
{
    pthread_mutex_lock(&all->lock);
    const serve_batches_count count = all->count;
    pthread_mutex_unlock(&all->lock);
    return count;
}

/* ---- batches ---- */

static engine *engine_new(serve_batches *all, char *key, sg_error *err)
{
    engine *e = calloc(1, sizeof *e);
    pthread_condattr_t attr;
    bool ok = e && pthread_mutex_init(&e->lock, NULL) == 0;

    if (ok && (pthread_condattr_init(&attr) != 0 || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
               pthread_cond_init(&e->changed, &attr) != 0)) {
        pthread_mutex_destroy(&e->lock);
        ok = false;
    }
    if (!ok) {
        free(e);
        free(key);
        sg_fail(err, SG_ENOMEM, "out of memory for a batch");
        return NULL;
    }
    pthread_condattr_destroy(&attr);
    e->all = all;
    e->key = key;
    e->n_rows = SG_BATCH_ROWS;
    for (int r = 0; r < SG_BATCH_ROWS; r++)
        e->wanted[r] = -1;
    return e;
}

/* A batch with room for as many rows as memory is meant for. */
static sg_status make(engine *e, const sg_model *m, sg_dim capacity, sg_edit_list *edits, sg_error *err)
{
    sg_batch_opts opts = sg_batch_defaults();
    size_t each = 0;

    opts.exec = serve_models_exec(e->all->models, m);
    opts.capacity = capacity;
    opts.n_edits = edits ? sg_edit_list_count(edits) : 0;
    opts.edits = opts.n_edits ? sg_edit_list_at(edits, 0) : NULL;
    SG_TRY(sg_batch_cache_bytes(m, &opts, &each, err));
    opts.n_rows = SG_MAX(1, SG_MIN(SG_BATCH_ROWS, (sg_dim)(MOST_CACHE / SG_MAX(each, (size_t)1))));
    sg_batch *b = NULL;
    SG_TRY(sg_batch_new(&b, m, opts, err));
    pthread_mutex_lock(&e->all->lock);
    e->b = b;
    e->n_rows = opts.n_rows;
    e->bytes = each * (size_t)opts.n_rows;
    e->all->count.made++;
    e->all->count.n++;
    pthread_cond_broadcast(&e->all->made);
    pthread_mutex_unlock(&e->all->lock);
    return SG_OK;
}

static void unlink_engine(serve_batches *all, const engine *e)
{
    for (engine **at = &all->first; *at; at = &(*at)->next)
        if (*at == e) {
            *at = e->next;
            return;
        }
}

/* Those that nobody uses, beyond what may be kept: the ones used longest ago. Under the list's lock; to be ended
 * without. */
static engine *take_too_many(serve_batches *all)
{
    engine *gone = NULL;

    for (;;) {
        engine *oldest = NULL;
        size_t bytes = 0;
        int idle = 0;
        for (engine *e = all->first; e; e = e->next) {
            bytes += e->bytes;
            if (e->users || !e->b)
                continue;
            idle++;
            if (!oldest || e->used < oldest->used)
                oldest = e;
        }
        if (!oldest || (idle <= all->most_idle && bytes <= all->most_bytes))
            return gone;
        unlink_engine(all, oldest);
        all->count.n--;
        oldest->next = gone;
        gone = oldest;
    }
}

/* The batch for a key with a row reserved, made if there is none; takes key. */
static sg_status engine_for(engine **out, serve_batches *all, char *key, const sg_model *m, sg_dim capacity,
                            const char *model, const json_t *edits, sg_error *err)
{
    engine *e;

    pthread_mutex_lock(&all->lock);
    for (e = all->first; e;) {
        if (strcmp(e->key, key) != 0 || e->users >= e->n_rows) {
            e = e->next;
        } else if (!e->b) { /* another makes it; how many rows it has is not known yet */
            pthread_cond_wait(&all->made, &all->lock);
            e = all->first;
        } else {
            break;
        }
    }
    if (e) {
        free(key);
        e->users++;
        pthread_mutex_unlock(&all->lock);
        *out = e;
        return SG_OK;
    }
    e = engine_new(all, key, err);
    if (e) {
        e->users = 1;
        e->next = all->first;
        all->first = e;
    }
    pthread_mutex_unlock(&all->lock);
    if (!e)
        return SG_ENOMEM;
    sg_status status = SG_OK;
    if (edits)
        status = serve_edits_read(&e->edits, all->models, model, edits, err);
    if (status == SG_OK)
        status = make(e, m, capacity, e->edits, err);
    if (status == SG_OK) {
        *out = e;
        return SG_OK;
    }
    pthread_mutex_lock(&all->lock);
    unlink_engine(all, e);
    pthread_cond_broadcast(&all->made);
    pthread_mutex_unlock(&all->lock);
    end(e);
    return status;
}

/* ---- running ---- */

/* Under the batch's lock: waits until nobody runs, and is then the one who does. */
static void begin_run(engine *e)
{
    while (e->busy)
        pthread_cond_wait(&e->changed, &e->lock);
    e->busy = true;
    pthread_mutex_unlock(&e->lock);
}

static void end_run(engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->busy = false;
    pthread_cond_broadcast(&e->changed);
}

/* Edits that look from the prompt's end give a prefix other numbers in each prompt. */
static bool counts_from_end(const sg_edit_list *list)
{
    for (int i = 0; i < sg_edit_list_count(list); i++) {
        const sg_edit *e = sg_edit_list_at((sg_edit_list *)(uintptr_t)list, i);
        for (int s = 0; s < e->positions.n; s++)
            if (e->positions.spans[s].first < 0 || e->positions.spans[s].last < 0)
                return true;
    }
    return false;
}

static sg_dim rounded(sg_dim capacity, sg_dim most)
{
    sg_dim room = SG_BATCH_BLOCK;

    while (room < capacity)
        room *= 2;
    return SG_MIN(room, most);
}

static sg_status open_row(serve_row *r, const serve_row_ask *ask, sg_error *err)
{
    engine *e = r->e;
    char *numbers = ask->edits ? json_dumps(ask->edits, JSON_COMPACT | JSON_SORT_KEYS) : strdup("");
    static atomic_llong unlike;

    if (r->edits && numbers && counts_from_end(r->edits)) {
        free(numbers);
        sg_str own = {0};
        sg_str_printf(&own, "%lld", (long long)++unlike);
        numbers = own.text;
    }
    if (!numbers)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    pthread_mutex_lock(&e->lock);
    begin_run(e);
    r->row = sg_batch_open(e->b, ask->tokens, ask->n, numbers, &r->shared);
    sg_status status = r->row < 0 ? sg_fail(err, SG_ENOMEM, "out of memory for a row") : SG_OK;
    if (status == SG_OK && r->edits)
        status = sg_batch_edit(e->b, r->row, sg_edit_list_count(r->edits), sg_edit_list_at(r->edits, 0), err);
    if (r->row >= 0)
        e->wanted[r->row] = -1;
    end_run(e);
    pthread_mutex_unlock(&e->lock);
    free(numbers);
    return status;
}

sg_status serve_row_take(serve_row **out, serve_models *models, serve_row_ask ask, sg_error *err)
{
    serve_batches *all = serve_models_batches(models);
    const sg_model *m = NULL;
    serve_row *r = calloc(1, sizeof *r);
    sg_str key = {0};

    if (!r)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    r->row = -1;
    r->tokens = ask.tokens;
    r->n = ask.n;
    sg_status status = serve_models_open(&m, models, ask.model, err);
    if (status == SG_OK)
        status = serve_check_edits(ask.edits, err);
    if (ask.edits && !json_array_size(ask.edits))
        ask.edits = NULL;
    if (status == SG_OK && ask.edits)
        status = serve_edits_read(&r->edits, models, ask.model, ask.edits, err);
    const sg_dim capacity = status == SG_OK ? rounded(ask.capacity, sg_model_get_info(m)->n_context) : 0;
    if (status == SG_OK) {
        const int n = r->edits ? sg_edit_list_count(r->edits) : 0;
        char *structure = sg_edits_structure(n, n ? sg_edit_list_at(r->edits, 0) : NULL);
        sg_str_printf(&key, "%s %lld\n%s", ask.model, (long long)capacity, structure ? structure : "");
        if (!structure || key.failed) {
            sg_str_free(&key);
            status = sg_fail(err, SG_ENOMEM, "out of memory for a row");
        }
        free(structure);
    }
    if (status == SG_OK)
        status = engine_for(&r->e, all, key.text, m, capacity, ask.model, ask.edits, err);
    if (status == SG_OK)
        status = open_row(r, &ask, err);
    if (status != SG_OK) {
        serve_row_give(r);
        return status;
    }
    pthread_mutex_lock(&all->lock);
    all->count.joined++;
    all->count.rows++;
    r->counted = true;
    all->count.shared += r->shared;
    pthread_mutex_unlock(&all->lock);
    *out = r;
    return SG_OK;
}

sg_status serve_row_read(serve_row *r, const atomic_bool *gone, sg_error *err)
{
    engine *e = r->e;
    sg_status status = SG_OK;

    for (sg_dim at = r->shared, used; at < r->n && status == SG_OK; at += used) {
        if (gone && *gone)
            return sg_fail(err, SG_ECANCELLED, "the client has left");
        pthread_mutex_lock(&e->lock);
        begin_run(e); /* piece by piece, so that others' steps come between */
        used = 0;
        status = sg_batch_read(e->b, r->row, r->tokens + at, r->n - at, &used, NULL, err);
        end_run(e);
        if (status == SG_OK && at + used == r->n) {
            r->writing = true;
            e->n_writing++;
        }
        pthread_mutex_unlock(&e->lock);
    }
    return status;
}

/* One step for all who wait. Under the batch's lock, which is let go meanwhile. */
static void run_for_all(engine *e)
{
    int32_t next[SG_BATCH_ROWS];
    sg_error err = {SG_OK, ""};
    const int n = e->n_pending;

    memcpy(next, e->wanted, sizeof next);
    for (int r = 0; r < SG_BATCH_ROWS; r++)
        e->wanted[r] = -1;
    e->n_pending = 0;
    begin_run(e);
    const double start = sg_now();
    const sg_status status = sg_batch_step(e->b, next, &err);
    const double seconds = sg_now() - start;
    pthread_mutex_lock(&e->all->lock);
    e->all->count.steps++;
    e->all->count.tokens += n;
    pthread_mutex_unlock(&e->all->lock);
    end_run(e);
    e->last = seconds;
    if (status != SG_OK)
        e->why = err;
    for (int r = 0; r < SG_BATCH_ROWS; r++)
        if (next[r] >= 0) {
            e->done[r] = true;
            e->status[r] = status;
        }
}

static void wait_until(engine *e, double when)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    const double left = SG_MAX(when - sg_now(), 0), whole = (double)t.tv_nsec + left * 1e9;
    t.tv_sec += (time_t)(whole / 1e9);
    t.tv_nsec = (long)(whole - (double)(time_t)(whole / 1e9) * 1e9);
    (void)pthread_cond_timedwait(&e->changed, &e->lock, &t);
}

sg_status serve_row_step(serve_row *r, int32_t id, sg_error *err)
{
    engine *e = r->e;

    pthread_mutex_lock(&e->lock);
    e->wanted[r->row] = id;
    e->done[r->row] = false;
    if (e->n_pending++ == 0)
        e->since = sg_now();
    if (e->n_pending == e->n_writing)
        pthread_cond_broadcast(&e->changed);
    while (!e->done[r->row]) {
        const double until = e->since + SG_MIN(e->last / 2, MOST_WAIT);
        if (e->busy || e->wanted[r->row] < 0)
            pthread_cond_wait(&e->changed, &e->lock);
        else if (e->n_pending < e->n_writing && sg_now() < until)
            wait_until(e, until);
        else
            run_for_all(e);
    }
    const sg_status status = e->status[r->row];
    if (status != SG_OK && err)
        *err = e->why;
    pthread_mutex_unlock(&e->lock);
    return status;
}

const float *serve_row_logits(const serve_row *r)
{
    return sg_batch_logits(r->e->b, r->row);
}

sg_dim serve_row_shared(const serve_row *r)
{
    return r->shared;
}

void serve_row_give(serve_row *r)
{
    if (!r)
        return;
    engine *e = r->e, *gone = NULL;
    if (e) {
        serve_batches *all = e->all;
        if (r->row >= 0) {
            pthread_mutex_lock(&e->lock);
            e->n_writing -= r->writing; /* nobody waits for it any more: end_run tells them */
            begin_run(e);
            sg_batch_close(e->b, r->row);
            end_run(e);
            pthread_mutex_unlock(&e->lock);
        }
        pthread_mutex_lock(&all->lock);
        all->count.rows -= r->counted;
        e->users--;
        e->used = ++all->clock;
        gone = take_too_many(all);
        pthread_mutex_unlock(&all->lock);
    }
    for (engine *next; gone; gone = next) {
        next = gone->next;
        end(gone);
    }
    sg_edit_list_free(r->edits);
    free(r);
}
