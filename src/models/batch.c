/* Rows side by side. A row keeps its place in the cache from opening to closing, and what it read beyond that, so that
 * prompts which begin alike read the rest alone. A run is of the rows from the first that has something to the last;
 * those between that have nothing go along on a token whose keys are stored where nobody looks. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "models/arch.h"
#include "sightglass/generate.h"

enum { LIKE_A_STEP = 16 }; /* tokens; up to here one plan serves any number of keys */

typedef struct row {
    bool live;
    sg_dim n;      /* tokens read */
    sg_dim prompt; /* tokens of the prompt */
    sg_dim step;
    sg_dim whole;    /* of its tokens, how many were read in whole pieces of a prompt */
    int32_t *tokens; /* [capacity] as far as the prompt goes */
    char *key;
    sg_dim used; /* clock */
    float *logits;
} row;

struct sg_batch {
    const sg_model *m;
    sg_batch_opts opts;
    sg_dim capacity, slots; /* tokens that a row keeps; places in the cache, of which the last is nobody's */
    sg_glass *glass;
    sg_value **fetches; /* logits behind the last token first */
    sg_tensor *fetched;
    int fetched_from;
    sg_tensor **cache; /* every layer's keys and values [n_rows,slots,...] */
    int n_cache;
    row rows[SG_BATCH_ROWS];
    sg_dim clock;
    sg_status (*watch)(void *context, int first, int n_rows, sg_dim time, sg_error *err);
    void *context;
    /* One run's inputs. */
    int32_t *tokens, *positions, *reach, *places, *key_positions;
    uint8_t *mask;
    size_t time_room, keys_room;
};

sg_batch_opts sg_batch_defaults(void)
{
    return (sg_batch_opts){.exec = sg_exec_defaults(), .n_rows = 1, .cache = SG_F32};
}

/* Whether the prompt's keys turn by other angles than a shorter one's would: it is read at once then, and shares nothing. */
static bool turns_as_long(const sg_batch *b, sg_dim prompt)
{
    const sg_arch *arch = &b->m->arch;

    return !arch->learned_positions && arch->rope.kind == SG_ROPE_LONGROPE && prompt > arch->rope.original;
}

static sg_dim in_blocks(sg_dim n)
{
    return (n + SG_BATCH_BLOCK - 1) / SG_BATCH_BLOCK * SG_BATCH_BLOCK;
}

static bool slides(const sg_batch *b)
{
    return b->opts.window > 0;
}

static sg_status check(const sg_model *m, const sg_batch_opts *o, sg_dim *capacity, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    const sg_rope_scaling *rope = &m->arch.rope;
    /* Where longer texts have other angles, what was read by those of short ones cannot be gone on with. */
    const bool turns = rope->kind == SG_ROPE_LONGROPE && rope->original < in->n_context;
    const sg_dim context = turns ? rope->original : in->n_context;

    *capacity = o->window ? o->sinks + o->window : o->capacity ? o->capacity : context;
    if (o->n_rows < 1 || o->n_rows > SG_BATCH_ROWS)
        return sg_fail(err, SG_EARG, "%lld rows, wanted 1 to %d", (long long)o->n_rows, SG_BATCH_ROWS);
    if (o->sinks < 0 || o->window < 0 || (o->sinks && !o->window))
        return sg_fail(err, SG_EARG, "a bounded cache of %lld first and %lld last tokens", (long long)o->sinks,
                       (long long)o->window);
    if (*capacity < 1 || *capacity > context)
        return sg_fail(err, SG_EARG, "a cache of %lld tokens, the model's context is %lld%s", (long long)*capacity,
                       (long long)context, turns ? "; longer texts have other rotary angles, and are read at once" : "");
    if (o->window && m->arch.learned_positions)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "a bounded cache moves keys to other positions, which %s learned and does not turn", in->family);
    if (o->cache != SG_F32 && o->cache != SG_BF16)
        return sg_fail(err, SG_EARG, "a cache of %s, wanted f32 or bf16", sg_dtype_name(o->cache));
    return SG_OK;
}

sg_status sg_batch_cache_bytes(const sg_model *m, const sg_batch_opts *opts, size_t *out, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    sg_dim capacity;

    SG_TRY(check(m, opts, &capacity, err));
    const sg_dtype dtype = m->opts.dtype == SG_F32 ? opts->cache : m->opts.dtype;
    *out = (size_t)(2 * in->n_layers * opts->n_rows * in_blocks(capacity + 1) * in->n_kv_heads * in->d_head) *
           sg_dtype_bytes(dtype);
    return SG_OK;
}

static sg_status find_cache(sg_batch *b, sg_error *err)
{
    sg_graph *g = sg_glass_graph(b->glass);
    sg_state *s = sg_glass_state(b->glass);

    b->cache = calloc((size_t)SG_MAX(sg_graph_n_names(g), 1), sizeof *b->cache);
    if (!b->cache)
        return sg_fail(err, SG_ENOMEM, "out of memory for a batch");
    for (int i = 0; i < sg_graph_n_names(g); i++) {
        const sg_value *v = sg_graph_named(g, i);
        if (strstr(sg_value_name(v), ".attn.cache_"))
            b->cache[b->n_cache++] = sg_state_tensor(s, v);
    }
    return SG_OK;
}

static sg_status prepare(sg_batch *b, sg_error *err)
{
    const sg_batch_opts *o = &b->opts;
    const size_t n_vocab = (size_t)sg_model_get_info(b->m)->n_vocab;
    sg_glass_opts opts = sg_glass_defaults();

    opts.exec = o->exec;
    opts.exec.same_rows = true;
    opts.capacity = b->slots;
    opts.n_rows = o->n_rows;
    opts.apart = true;
    opts.sliding = slides(b);
    opts.cache = o->cache;
    SG_TRY(sg_glass_new(&b->glass, b->m, opts, err));
    if (o->n_edits)
        SG_TRY(sg_glass_edit_apart(b->glass, o->n_edits, o->edits, err));
    sg_graph *g = sg_glass_graph(b->glass);
    const sg_dim time = sg_extent(g, "time");
    b->fetches = calloc((size_t)o->n_fetches + 1, sizeof(sg_value *));
    b->fetched = calloc((size_t)o->n_fetches + 1, sizeof *b->fetched);
    if (!b->fetches || !b->fetched)
        return sg_fail(err, SG_ENOMEM, "out of memory for a batch");
    b->fetches[0] = sg_slice(g, sg_graph_find(g, "logits"), 1, sg_dim_sub(g, time, 1), time, 1);
    SG_TRY(sg_graph_status(g, err));
    for (int i = 0; i < o->n_fetches; i++)
        SG_TRY(sg_glass_find(b->glass, o->fetches[i], &b->fetches[i + 1], err));
    SG_TRY(sg_glass_ready(b->glass, err));
    for (sg_dim r = 0; r < o->n_rows; r++) {
        b->rows[r].tokens = calloc((size_t)b->capacity, sizeof(int32_t));
        b->rows[r].logits = calloc(n_vocab, sizeof(float));
        if (!b->rows[r].tokens || !b->rows[r].logits)
            return sg_fail(err, SG_ENOMEM, "out of memory for a batch");
    }
    return find_cache(b, err);
}

sg_status sg_batch_new(sg_batch **out, const sg_model *m, sg_batch_opts opts, sg_error *err)
{
    sg_dim capacity;

    SG_TRY(check(m, &opts, &capacity, err));
    sg_batch *b = calloc(1, sizeof *b);
    if (!b)
        return sg_fail(err, SG_ENOMEM, "out of memory for a batch");
    b->m = m;
    b->opts = opts;
    b->capacity = capacity;
    b->slots = in_blocks(capacity + 1);
    const sg_status status = prepare(b, err);
    if (status != SG_OK) {
        sg_batch_free(b);
        return status;
    }
    *out = b;
    return SG_OK;
}

void sg_batch_free(sg_batch *b)
{
    if (!b)
        return;
    for (int r = 0; r < SG_BATCH_ROWS; r++) {
        free(b->rows[r].tokens);
        free(b->rows[r].logits);
        free(b->rows[r].key);
    }
    sg_glass_free(b->glass);
    free(b->cache);
    free(b->fetches);
    free(b->fetched);
    free(b->tokens);
    free(b->positions);
    free(b->reach);
    free(b->places);
    free(b->key_positions);
    free(b->mask);
    free(b);
}

sg_glass *sg_batch_glass(sg_batch *b)
{
    return b->glass;
}

const sg_model *sg_batch_model(const sg_batch *b)
{
    return b->m;
}

int sg_batch_n_free(const sg_batch *b)
{
    int n = 0;

    for (int r = 0; r < (int)b->opts.n_rows; r++)
        n += !b->rows[r].live;
    return n;
}

sg_dim sg_batch_length(const sg_batch *b, int r)
{
    return b->rows[r].n;
}

sg_dim sg_batch_room(const sg_batch *b)
{
    return slides(b) ? INT64_MAX : b->capacity;
}

const float *sg_batch_logits(const sg_batch *b, int r)
{
    return b->rows[r].logits;
}

const sg_tensor *sg_batch_fetched(const sg_batch *b, int i, int *first)
{
    *first = b->fetched_from;
    return &b->fetched[i + 1];
}

void sg_batch_watch(sg_batch *b, sg_status (*fn)(void *context, int first, int n_rows, sg_dim time, sg_error *err),
                    void *context)
{
    b->watch = fn;
    b->context = context;
}

/* ---- rows come and go ---- */

static void copy_row(const sg_batch *b, int from, int to, sg_dim n)
{
    for (int i = 0; i < b->n_cache && from != to; i++) {
        const sg_tensor *t = b->cache[i];
        const size_t row_bytes = sg_tensor_bytes(t) / (size_t)t->dims[0],
                     bytes = row_bytes / (size_t)t->dims[1] * (size_t)n;
        memcpy((char *)t->data + (size_t)to * row_bytes, (const char *)t->data + (size_t)from * row_bytes, bytes);
    }
}

/* The free row that makes runs least wide; among these `own`, and else the one that was used longest ago. -1: none. */
static int free_row(const sg_batch *b, int own)
{
    int low = SG_BATCH_ROWS, high = -1, best = -1, width = 0;

    for (int r = 0; r < (int)b->opts.n_rows; r++)
        if (b->rows[r].live) {
            low = SG_MIN(low, r);
            high = r;
        }
    for (int r = 0; r < (int)b->opts.n_rows; r++) {
        if (b->rows[r].live)
            continue;
        const int wide = high < 0 ? 1 : SG_MAX(high, r) - SG_MIN(low, r);
        if (best < 0 || wide < width ||
            (wide == width && best != own && (r == own || b->rows[r].used < b->rows[best].used))) {
            best = r;
            width = wide;
        }
    }
    return best;
}

int sg_batch_open(sg_batch *b, const int32_t *tokens, sg_dim n, const char *key, sg_dim *shared)
{
    sg_dim most = 0;
    int from = -1;

    key = key ? key : "";
    for (int i = 0; i < (int)b->opts.n_rows; i++) {
        const row *x = &b->rows[i];
        if (!x->key || strcmp(x->key, key) != 0 || turns_as_long(b, n))
            continue;
        sg_dim same = 0;
        while (same < SG_MIN(x->whole, n - 1) && x->tokens[same] == tokens[same])
            same++;
        same = same / SG_BATCH_PIECE * SG_BATCH_PIECE;
        if (same > most || (same == most && same > 0 && !x->live)) {
            most = same;
            from = i;
        }
    }
    const int r = free_row(b, from);
    char *copy = r < 0 ? NULL : strdup(key);
    if (!copy)
        return -1;
    row *x = &b->rows[r];
    if (most)
        copy_row(b, from, r, most);
    free(x->key);
    x->key = copy;
    memcpy(x->tokens, tokens, (size_t)SG_MIN(n, b->capacity) * sizeof *tokens);
    x->live = true;
    x->n = x->whole = most;
    x->prompt = n;
    x->step = 0;
    x->used = ++b->clock;
    *shared = most;
    return r;
}

void sg_batch_close(sg_batch *b, int r)
{
    row *x = &b->rows[r];

    x->live = false;
    x->used = ++b->clock;
    sg_edits_clear_row(sg_glass_edits(b->glass), r);
}

sg_status sg_batch_edit(sg_batch *b, int r, int n, const sg_edit *edits, sg_error *err)
{
    return n ? sg_edits_set_row(sg_glass_edits(b->glass), r, n, edits, err) : SG_OK;
}

int sg_batch_fork(sg_batch *b, int r, sg_error *err)
{
    const int to = free_row(b, -1);
    const row *x = &b->rows[r];

    if (to < 0)
        return -1;
    row *y = &b->rows[to];
    char *key = strdup(x->key);
    if (!key || (sg_glass_edits(b->glass) && sg_edits_copy_row(sg_glass_edits(b->glass), r, to, err) != SG_OK)) {
        free(key);
        return -1;
    }
    copy_row(b, r, to, SG_MIN(x->n, b->capacity));
    free(y->key);
    memcpy(y->tokens, x->tokens, (size_t)b->capacity * sizeof *y->tokens);
    memcpy(y->logits, x->logits, (size_t)sg_model_get_info(b->m)->n_vocab * sizeof(float));
    *y = (row){true, x->n, x->prompt, x->step, x->whole, y->tokens, key, ++b->clock, y->logits};
    return to;
}

/* ---- runs ---- */

static bool room(void **p, size_t wanted, size_t size)
{
    void *more = realloc(*p, wanted * size);

    if (more)
        *p = more;
    return more != NULL;
}

static sg_status take_room(sg_batch *b, size_t time, size_t keys, sg_error *err)
{
    void *at[] = {b->tokens, b->positions, b->reach, b->places, b->key_positions, b->mask};
    bool ok = true;

    for (int i = 0; i < 4 && time > b->time_room; i++)
        ok = ok && room(&at[i], time, sizeof(int32_t));
    if (keys > b->keys_room)
        ok = ok && room(&at[4], keys, sizeof(int32_t)) && room(&at[5], keys, 1);
    b->tokens = at[0];
    b->positions = at[1];
    b->reach = at[2];
    b->places = at[3];
    b->key_positions = at[4];
    b->mask = at[5];
    if (!ok)
        return sg_fail(err, SG_ENOMEM, "out of memory for a batch");
    b->time_room = SG_MAX(time, b->time_room);
    b->keys_room = SG_MAX(keys, b->keys_room);
    return SG_OK;
}

/* One row's part of a run of `time` tokens, which slide no further than by one. tokens NULL: it has nothing. */
static void lay_row(sg_batch *b, int at, const row *x, const int32_t *tokens, sg_dim time, sg_dim keys)
{
    int32_t *ids = b->tokens + at * time, *positions = b->positions + at * time, *reach = b->reach + at * time;
    int32_t *key_positions = b->key_positions + at * keys;
    uint8_t *mask = b->mask + at * keys;
    const sg_dim sinks = b->opts.sinks, window = b->opts.window;
    const bool over = slides(b) && tokens && x->n >= b->capacity;
    const sg_dim held = !tokens ? 1 : over ? b->capacity : x->n + time; /* with these */

    b->places[at] = (int32_t)(!tokens ? b->slots - 1 : over ? sinks + (x->n - sinks) % window : x->n);
    for (sg_dim t = 0; t < time; t++) {
        ids[t] = tokens ? tokens[t] : 0;
        positions[t] = (int32_t)(!tokens ? 0 : over ? held - 1 : x->n + t);
        reach[t] = positions[t];
    }
    for (sg_dim k = 0; k < keys; k++) {
        mask[k] = k < held;
        /* Slot k holds the token (x->n - age) of the window, age 0 being this one. */
        const sg_dim age = over && k >= sinks && k < held ? (x->n - k) % window : 0;
        key_positions[k] = (int32_t)(k >= held ? 0 : !over || k < sinks ? k : held - 1 - age);
    }
}

static sg_status run(sg_batch *b, int first, int n, sg_dim time, const int32_t *const *tokens, sg_error *err)
{
    sg_dim most = 1, pasts[SG_BATCH_ROWS], prompts[SG_BATCH_ROWS], steps[SG_BATCH_ROWS];

    for (int i = 0; i < n; i++)
        if (tokens[i])
            most = SG_MAX(most, SG_MIN(b->rows[first + i].n + time, b->capacity));
    const sg_dim keys = in_blocks(most);
    SG_TRY(take_room(b, (size_t)(n * time), (size_t)(n * keys), err));
    for (int i = 0; i < n; i++) {
        const row *x = &b->rows[first + i];
        lay_row(b, i, x, tokens[i], time, keys);
        pasts[i] = tokens[i] ? b->places[i] : 0;
        prompts[i] = tokens[i] ? x->prompt : 1;
        steps[i] = x->step;
    }
    const sg_apart rows = {.first = first,
                           .n_rows = n,
                           .time = time,
                           .keys = keys,
                           .tokens = b->tokens,
                           .positions = b->positions,
                           .reach = b->reach,
                           .places = b->places,
                           .key_positions = slides(b) ? b->key_positions : NULL,
                           .key_mask = b->mask,
                           .pasts = pasts,
                           .prompts = prompts,
                           .steps = steps,
                           .most_keys = time <= LIKE_A_STEP ? b->slots : 0};
    b->fetched_from = first;
    SG_TRY(sg_glass_run_apart(b->glass, &rows, b->opts.n_fetches + 1, b->fetches, b->fetched, err));
    return b->watch ? b->watch(b->context, first, n, time, err) : SG_OK;
}

static sg_status check_tokens(const sg_batch *b, int r, const int32_t *tokens, sg_dim n, sg_error *err)
{
    const sg_dim n_vocab = sg_model_get_info(b->m)->n_vocab, at = b->rows[r].n;

    if (!slides(b) && n > b->capacity - at)
        return sg_fail(err, SG_EARG, "%lld tokens for a cache of %lld", (long long)(at + n), (long long)b->capacity);
    for (sg_dim i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= n_vocab)
            return sg_fail(err, SG_EARG, "token %d at place %lld is outside the vocabulary 0 to %lld", tokens[i],
                           (long long)(at + i), (long long)n_vocab - 1);
    return SG_OK;
}

/* What slid away is no prefix any more. */
static void forget_what_slid(const sg_batch *b, row *x)
{
    if (slides(b) && x->n > b->capacity)
        x->whole = SG_MIN(x->whole, b->opts.sinks / SG_BATCH_PIECE * SG_BATCH_PIECE);
}

static void keep_logits(sg_batch *b, int r, int at, float *to)
{
    const size_t n = (size_t)sg_model_get_info(b->m)->n_vocab;
    const sg_tensor *t = &b->fetched[0];

    if (t->dtype == SG_F32)
        memcpy(to, (const float *)t->data + (size_t)at * n, n * sizeof *to);
    else
        sg_convert(to, SG_F32, (const char *)t->data + (size_t)at * n * sg_dtype_bytes(t->dtype), t->dtype, (sg_dim)n);
    if (to != b->rows[r].logits)
        memcpy(b->rows[r].logits, to, n * sizeof *to);
}

sg_status sg_batch_read(sg_batch *b, int r, const int32_t *tokens, sg_dim n, sg_dim *used, float *logits, sg_error *err)
{
    row *x = &b->rows[r];
    const bool at_once = turns_as_long(b, x->prompt);
    sg_dim time = at_once ? n : SG_MIN(n, SG_BATCH_PIECE - x->n % SG_BATCH_PIECE);

    SG_ASSERT(x->live && n > 0);
    if (slides(b) && x->n + time > b->capacity) /* up to where it begins to slide, then one by one */
        time = x->n < b->capacity ? b->capacity - x->n : 1;
    SG_TRY(check_tokens(b, r, tokens, time, err));
    SG_TRY(run(b, r, 1, time, &tokens, err));
    if (x->whole == x->n && x->n + time <= SG_MIN(x->prompt, b->capacity) && (x->n + time) % SG_BATCH_PIECE == 0 &&
        time == SG_BATCH_PIECE && !at_once)
        x->whole = x->n + time;
    x->n += time;
    forget_what_slid(b, x);
    keep_logits(b, r, 0, logits ? logits : x->logits);
    *used = time;
    return SG_OK;
}

sg_status sg_batch_step(sg_batch *b, const int32_t next[SG_BATCH_ROWS], sg_error *err)
{
    const int32_t *tokens[SG_BATCH_ROWS];
    int first = -1, last = -1;

    for (int r = 0; r < (int)b->opts.n_rows; r++) {
        if (next[r] < 0)
            continue;
        SG_ASSERT(b->rows[r].live);
        SG_TRY(check_tokens(b, r, &next[r], 1, err));
        first = first < 0 ? r : first;
        last = r;
    }
    if (first < 0)
        return SG_OK;
    for (int r = first; r <= last; r++) {
        tokens[r - first] = next[r] >= 0 ? &next[r] : NULL;
        b->rows[r].step += next[r] >= 0;
    }
    const sg_status status = run(b, first, last - first + 1, 1, tokens, err);
    for (int r = first; r <= last; r++) {
        if (next[r] < 0)
            continue;
        if (status != SG_OK) {
            b->rows[r].step--;
            continue;
        }
        b->rows[r].n++;
        forget_what_slid(b, &b->rows[r]);
        keep_logits(b, r, r - first, b->rows[r].logits);
    }
    return status;
}
