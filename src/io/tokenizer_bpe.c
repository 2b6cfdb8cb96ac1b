/* Byte-pair encoding: a piece starts as characters, and the pair that was learnt earliest is merged again and again.
 * SentencePiece has scores in place of an order: of all neighbours that make a token together, those that make the best
 * one are merged first.  Here that is a list of merges too, in which all that make tokens of one score share a rank.
 *
 * Symbols are a linked list over an array and candidate pairs a heap ordered by rank, then place, so a piece of n
 * characters takes O(n log n) however long it is; SentencePiece-style models see a whole text as one piece.  A heap
 * entry is never withdrawn: it is stale, and skipped, once the pair at its place has another rank. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

struct merge {
    int32_t left, right, result;
};

/* Open addressing over pairs of ids. */
struct pair_slot {
    uint64_t pair;  /* left << 32 | right */
    int32_t rank;   /* -1 in an empty slot */
    int32_t result; /* what the two become */
};

struct pairs {
    struct pair_slot *slots;
    size_t n_slots; /* a power of two, at most half of them used; 0 where there is no table */
};

struct sg_bpe {
    const char *name; /* the file's */
    const sg_vocab *vocab;
    struct merge *merges;
    size_t n_merges;
    struct pairs ranks;  /* of merges */
    struct pairs joints; /* see find_joints() */

    sg_bpe_opts opts;
    size_t n_prefix, n_suffix;
    int32_t unk; /* -1 if the vocabulary lacks it */

    int32_t byte_level[256]; /* the token of a byte's visible character, -1 if none */
    int32_t ascii[128];      /* the token of an ASCII character */
    int32_t fallback[256];   /* the token <0xNN> */
};

/* ---- pairs ---- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)left << 32 | (uint64_t)right;
}

/* The slot of the pair, or the empty one where it would go.  Multiplying by an odd constant carries both ids into the
 * upper bits, and the shift brings those down. */
static struct pair_slot *slot_of(const struct pairs *p, uint64_t pair)
{
    const uint64_t h = pair * 0x9E3779B97F4A7C15u;
    for (size_t i = (size_t)(h ^ h >> 32);; i++) {
        struct pair_slot *slot = &p->slots[i & (p->n_slots - 1)];
        if (slot->rank < 0 || slot->pair == pair)
            return slot;
    }
}

static void put_pair(struct pairs *p, uint64_t pair, int32_t rank, int32_t result)
{
    *slot_of(p, pair) = (struct pair_slot){.pair = pair, .rank = rank, .result = result};
}

static sg_status new_pairs(struct pairs *p, const sg_reader *r, size_t n)
{
    size_t n_slots = 2;
    while (n_slots < 2 * n)
        n_slots *= 2;
    p->slots = sg_arena_array(r->arena, n_slots, sizeof *p->slots);
    if (!p->slots)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    p->n_slots = n_slots;
    for (size_t i = 0; i < n_slots; i++)
        p->slots[i].rank = -1;
    return SG_OK;
}

/* ---- reading ---- */

sg_status sg_bpe_halves(const sg_reader *r, const char *text, size_t n_text, size_t i, const char *half[2], size_t n[2])
{
    char shown[SG_SHOWN];
    const char *space = n_text ? memchr(text, ' ', n_text) : NULL;
    if (!space || memchr(space + 1, ' ', (size_t)(text + n_text - space) - 1))
        return sg_fail(r->err, SG_EFORMAT, "%s: merge %zu, \"%s\", is not two tokens with a space between", r->name, i,
                       sg_show_n(shown, text, n_text));
    half[0] = text;
    half[1] = space + 1;
    n[0] = (size_t)(space - text);
    n[1] = n_text - n[0] - 1;
    return SG_OK;
}

/* The two halves of a merge, borrowed from the JSON. */
static sg_status read_halves(const sg_reader *r, const json_t *json, size_t i, const char *half[2], size_t n[2])
{
    if (json_is_array(json) && json_array_size(json) == 2 && json_is_string(json_array_get(json, 0)) &&
        json_is_string(json_array_get(json, 1))) {
        for (size_t k = 0; k < 2; k++) {
            half[k] = json_string_value(json_array_get(json, k));
            n[k] = json_string_length(json_array_get(json, k));
        }
        return SG_OK;
    }
    if (!json_is_string(json))
        return sg_fail(r->err, SG_EFORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", r->name, i);
    return sg_bpe_halves(r, json_string_value(json), json_string_length(json), i, half, n);
}

static sg_status token_of_merge(const sg_bpe *b, const sg_reader *r, size_t i, const char *text, size_t n, int32_t *out)
{
    *out = sg_map_get(b->vocab->model_ids, text, n);
    if (*out >= 0)
        return SG_OK;
    char shown[SG_SHOWN];
    return sg_fail(r->err, SG_EFORMAT, "%s: merge %zu needs the token \"%s\", which is not in the vocabulary", r->name,
                   i, sg_show_n(shown, text, n));
}

static void add_merge(sg_bpe *b, struct merge m, size_t rank)
{
    b->merges[b->n_merges++] = m;
    /* Of two merges of one pair the later counts, as where the format comes from. */
    put_pair(&b->ranks, pair_of(m.left, m.right), (int32_t)rank, m.result);
}

sg_status sg_bpe_add(sg_bpe *b, const sg_reader *r, const char *const half[2], const size_t n[2], sg_str *joined)
{
    const size_t i = b->n_merges;
    struct merge merge, *m = &merge;
    SG_TRY(token_of_merge(b, r, i, half[0], n[0], &m->left));
    SG_TRY(token_of_merge(b, r, i, half[1], n[1], &m->right));
    if (n[1] < b->n_prefix)
        return sg_fail(r->err, SG_EFORMAT, "%s: the second half of merge %zu is shorter than \"%s\"", r->name, i,
                       b->opts.prefix);
    joined->bytes = 0;
    sg_str_append(joined, half[0], n[0]);
    sg_str_append(joined, half[1] + b->n_prefix, n[1] - b->n_prefix);
    if (joined->failed)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(token_of_merge(b, r, i, joined->text ? joined->text : "", joined->bytes, &m->result));
    add_merge(b, merge, i);
    return SG_OK;
}

/* Whether the token looks like <0xNN>. */
static bool names_byte(const sg_vocab_entry *e)
{
    return e->bytes == 6 && strncmp(e->text, "<0x", 3) == 0;
}

/* Whether some token could only come from a merge: one of several characters, affixes aside, that is neither special
 * nor the unknown token nor a byte's. */
static bool wants_merges(const sg_bpe *b)
{
    for (int32_t i = 0; i < b->vocab->n; i++) {
        const sg_vocab_entry *e = &b->vocab->entries[i];
        const int32_t id = sg_map_get(b->vocab->model_ids, e->text, e->bytes);
        const char *text = e->text, *end = e->text + e->bytes;
        if (e->bytes > b->n_prefix && strncmp(text, b->opts.prefix, b->n_prefix) == 0)
            text += b->n_prefix;
        if ((size_t)(end - text) > b->n_suffix && strcmp(end - b->n_suffix, b->opts.suffix) == 0)
            end -= b->n_suffix;
        if (id >= 0 && id != b->unk && !e->special && !names_byte(e) && end > text + sg_utf8_length(*text))
            return true;
    }
    return false;
}

/* Whether a piece may hold this token before any merge. */
static bool begins_as(const sg_bpe *b, int32_t id)
{
    const sg_vocab_entry *e = sg_vocab_at(b->vocab, id);
    return id == b->unk || e->bytes <= sg_utf8_length(e->text[0]) || names_byte(e);
}

/* The first symbols, characters or bytes, that may come to stand next to each other inside one token.  Two neighbours
 * that are no joint stay apart whatever is merged, so a long piece can be cut there and each part worked on while it is
 * in the cache; in a text without spaces these are mostly the words again.
 *
 * A token's first and last symbols follow from any merge that makes it.  They are iterated until all merges agree, as
 * merges may be listed before those that make their halves; where merges disagree there is no table, and no cutting. */
static sg_status find_joints(sg_bpe *b, const sg_reader *r)
{
    const size_t n_merges = b->n_merges, n_ids = (size_t)b->vocab->n_ids;
    bool changes = true, sound = b->n_prefix == 0 && b->n_suffix == 0;
    for (size_t i = 0; i < n_merges && sound; i++)
        sound = !begins_as(b, b->merges[i].result);
    if (!sound)
        return SG_OK;
    int32_t *ends = malloc((2 * n_ids + 1) * sizeof *ends), *first = ends, *last = ends ? ends + n_ids : NULL;
    if (!ends)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (size_t i = 0; i < n_ids; i++)
        first[i] = last[i] = (int32_t)i;
    for (int pass = 0; pass < 16 && changes; pass++) {
        changes = false;
        for (size_t i = 0; i < n_merges; i++) {
            const struct merge *m = &b->merges[i];
            changes |= first[m->result] != first[m->left] || last[m->result] != last[m->right];
            first[m->result] = first[m->left];
            last[m->result] = last[m->right];
        }
    }
    const sg_status status = changes ? SG_OK : new_pairs(&b->joints, r, n_merges);
    for (size_t i = 0; i < n_merges && b->joints.n_slots; i++)
        put_pair(&b->joints, pair_of(last[b->merges[i].left], first[b->merges[i].right]), 0, 0);
    free(ends);
    return status;
}

static sg_status read_merges(sg_bpe *b, const sg_reader *r, const json_t *model)
{
    const json_t *list = sg_json_member(model, "merges");
    if (!json_is_array(list))
        return sg_fail(r->err, SG_EFORMAT, "%s: model.merges is %s", r->name, list ? "not a list" : "missing");
    size_t first = 0; /* old files keep the heading of merges.txt */
    const char *heading = json_string_value(json_array_get(list, 0));
    if (heading && strncmp(heading, "#version", 8) == 0)
        first = 1;
    const size_t n = json_array_size(list) - first;
    SG_TRY(sg_bpe_reserve(b, r, n));
    sg_str joined = {0};
    sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i++) {
        const char *half[2];
        size_t n_half[2];
        status = read_halves(r, json_array_get(list, i + first), i, half, n_half);
        if (status == SG_OK)
            status = sg_bpe_add(b, r, half, n_half, &joined);
    }
    sg_str_free(&joined);
    return status == SG_OK ? sg_bpe_finish(b, r) : status;
}

sg_status sg_bpe_reserve(sg_bpe *b, const sg_reader *r, size_t n)
{
    if (n > 1 << 26)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %zu merges", r->name, n);
    if (n == 0 && !b->opts.ignore_merges && wants_merges(b))
        return sg_fail(r->err, SG_EFORMAT, "%s: model has no merges, yet tokens of several characters", r->name);
    b->merges = sg_arena_array(r->arena, n + 1, sizeof *b->merges);
    if (!b->merges)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    return new_pairs(&b->ranks, r, n);
}

sg_status sg_bpe_finish(sg_bpe *b, const sg_reader *r)
{
    return find_joints(b, r);
}

/* ---- merges from scores ---- */

struct scored {
    float score;
    int32_t id;
};

static int best_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score < y->score || x->score > y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Adds a token's merges to the list, or with a NULL one counts them: all ways to cut it into two tokens. */
static size_t split_token(sg_bpe *b, const bool *makes, int32_t id, size_t rank, bool count_only)
{
    const sg_vocab_entry *e = sg_vocab_at(b->vocab, id);
    size_t n = 0;
    for (size_t at = sg_utf8_length(e->text[0]); at < e->bytes; at += sg_utf8_length(e->text[at])) {
        const int32_t left = sg_map_get(b->vocab->model_ids, e->text, at);
        const int32_t right =
            left >= 0 && makes[left] ? sg_map_get(b->vocab->model_ids, e->text + at, e->bytes - at) : -1;
        if (right < 0 || !makes[right])
            continue;
        n++;
        if (!count_only)
            add_merge(b, (struct merge){left, right, id}, rank);
    }
    return n;
}

sg_status sg_bpe_merge_by_score(sg_bpe *b, const sg_reader *r, const float *scores, const bool *makes)
{
    const int32_t n = b->vocab->n_ids;
    size_t n_scored = 0, n_merges = 0, rank = 0;
    struct scored *list = malloc(((size_t)n + 1) * sizeof *list);
    if (!list)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    for (int32_t id = 0; id < n; id++) {
        if (!makes[id])
            continue;
        list[n_scored++] = (struct scored){scores[id], id};
        n_merges += split_token(b, makes, id, 0, true);
    }
    qsort(list, n_scored, sizeof *list, best_first);
    sg_status status = sg_bpe_reserve(b, r, n_merges);
    for (size_t i = 0; i < n_scored && status == SG_OK; i++) {
        if (i > 0 && list[i].score < list[i - 1].score)
            rank++;
        split_token(b, makes, list[i].id, rank, false);
    }
    free(list);
    return status == SG_OK ? sg_bpe_finish(b, r) : status;
}

static sg_status check_dropout(const sg_reader *r, const json_t *model)
{
    const json_t *dropout = sg_json_member(model, "dropout");
    if (dropout && !json_is_number(dropout))
        return sg_fail(r->err, SG_EFORMAT, "%s: \"dropout\" is not a number", r->name);
    if (dropout && json_number_value(dropout) != 0.0)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: dropout of %g is not supported", r->name,
                       json_number_value(dropout));
    return SG_OK;
}

static void find_units(sg_bpe *b)
{
    for (int i = 0; i < 256; i++) {
        char text[8];
        size_t n = sg_byte_to_char((unsigned char)i, text);
        b->byte_level[i] = sg_map_get(b->vocab->model_ids, text, n);
        n = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        b->fallback[i] = sg_map_get(b->vocab->model_ids, text, n);
        if (i < 128) {
            text[0] = (char)i;
            b->ascii[i] = sg_map_get(b->vocab->model_ids, text, 1);
        }
    }
}

sg_status sg_bpe_new(sg_bpe **out, const sg_reader *r, const sg_bpe_opts *opts, const sg_vocab *vocab)
{
    sg_bpe *b = *out = sg_arena_alloc(r->arena, sizeof *b);
    if (!b)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    b->vocab = vocab;
    b->opts = *opts;
    b->name = sg_arena_strdup(r->arena, r->name);
    if (!b->name)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    b->n_prefix = strlen(opts->prefix);
    b->n_suffix = strlen(opts->suffix);
    b->unk = opts->unk_token ? sg_vocab_find(vocab, opts->unk_token, strlen(opts->unk_token)) : -1;
    find_units(b);
    return SG_OK;
}

sg_status sg_bpe_read(sg_bpe **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab)
{
    sg_bpe_opts opts = {0};
    SG_TRY(check_dropout(r, model));
    SG_TRY(sg_json_text(r, model, "continuing_subword_prefix", "", &opts.prefix));
    SG_TRY(sg_json_text(r, model, "end_of_word_suffix", "", &opts.suffix));
    SG_TRY(sg_json_bool(r, model, "fuse_unk", false, &opts.fuse_unk));
    SG_TRY(sg_json_bool(r, model, "byte_fallback", false, &opts.byte_fallback));
    SG_TRY(sg_json_bool(r, model, "ignore_merges", false, &opts.ignore_merges));
    if (sg_json_member(model, "unk_token"))
        SG_TRY(sg_json_text(r, model, "unk_token", NULL, &opts.unk_token));
    SG_TRY(sg_bpe_new(out, r, &opts, vocab));
    return read_merges(*out, r, model);
}

bool sg_bpe_takes_bytes(const sg_bpe *b)
{
    return b->n_prefix == 0 && b->n_suffix == 0 && !b->opts.byte_fallback;
}

/* ---- encoding ---- */

struct sg_symbol {
    int32_t id; /* -1 once merged into the symbol before it */
    int32_t previous, next;
    int32_t rank, result; /* of the merge with the next symbol; rank -1 where there is none */
};

void sg_bpe_work_free(sg_bpe_work *w)
{
    free(w->symbols);
    free(w->queue);
    sg_str_free(&w->text);
    *w = (sg_bpe_work){0};
}

/* Room for the symbols of n characters (each may fall back to its bytes, which n counts) and for the heap: a pair for
 * every two neighbours at first, and two for every merge. */
static sg_status reserve(sg_bpe_work *w, size_t n, sg_error *err)
{
    if (n > INT32_MAX / 4)
        return sg_fail(err, SG_EARG, "a piece of %zu bytes is too long to tokenize", n);
    if (n > w->n_symbols) {
        const size_t capacity = SG_MAX(2 * w->n_symbols, SG_MAX(n, (size_t)64));
        struct sg_symbol *symbols = realloc(w->symbols, capacity * sizeof *symbols);
        if (!symbols)
            return sg_fail(err, SG_ENOMEM, "out of memory");
        w->symbols = symbols;
        w->n_symbols = capacity;
        uint64_t *queue = realloc(w->queue, 3 * capacity * sizeof *queue);
        if (!queue) {
            w->n_symbols = 0; /* what symbols took is reused by the next realloc */
            return sg_fail(err, SG_ENOMEM, "out of memory");
        }
        w->queue = queue;
    }
    return SG_OK;
}

static sg_status unknown(const sg_bpe *b, struct sg_symbol *symbols, size_t *n, bool *fusing, sg_error *err)
{
    char shown[SG_SHOWN];
    if (!b->opts.unk_token)
        return SG_OK; /* without a token for it, what is unknown is left out */
    if (b->unk < 0)
        return sg_fail(err, SG_EFORMAT, "%s: unk_token \"%s\" is needed and not in the vocabulary", b->name,
                       sg_show(shown, b->opts.unk_token));
    if (!*fusing)
        symbols[(*n)++].id = b->unk;
    *fusing = b->opts.fuse_unk;
    return SG_OK;
}

static int32_t token_of_char(const sg_bpe *b, sg_bpe_work *w, const char *text, size_t n, bool first, bool last)
{
    const bool prefixed = !first && b->n_prefix, suffixed = last && b->n_suffix;
    if (!prefixed && !suffixed)
        return n == 1 ? b->ascii[(unsigned char)*text] : sg_map_get(b->vocab->model_ids, text, n);
    w->text.bytes = 0;
    if (prefixed)
        sg_str_append(&w->text, b->opts.prefix, b->n_prefix);
    sg_str_append(&w->text, text, n);
    if (suffixed)
        sg_str_append(&w->text, b->opts.suffix, b->n_suffix);
    return w->text.failed ? -1 : sg_map_get(b->vocab->model_ids, w->text.text, w->text.bytes);
}

/* Whether all bytes of the character have tokens of their own; appends those. */
static bool fall_back(const sg_bpe *b, const char *text, size_t n, struct sg_symbol *symbols, size_t *n_symbols)
{
    for (size_t i = 0; i < n; i++)
        if (b->fallback[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        symbols[(*n_symbols)++].id = b->fallback[(unsigned char)text[i]];
    return true;
}

static sg_status first_symbols(const sg_bpe *b, sg_bpe_work *w, const char *piece, size_t n, bool as_bytes,
                               size_t *n_symbols, sg_error *err)
{
    struct sg_symbol *symbols = w->symbols;
    bool fusing = false;
    *n_symbols = 0;
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bytes = as_bytes ? 1 : sg_utf8_length(piece[i]);
        const int32_t id = as_bytes ? b->byte_level[(unsigned char)piece[i]]
                                    : token_of_char(b, w, piece + i, bytes, i == 0, i + bytes == n);
        if (id >= 0)
            symbols[(*n_symbols)++].id = id;
        if (id >= 0 || (b->opts.byte_fallback && fall_back(b, piece + i, bytes, symbols, n_symbols)))
            fusing = false;
        else
            SG_TRY(unknown(b, symbols, n_symbols, &fusing, err));
    }
    return w->text.failed ? sg_fail(err, SG_ENOMEM, "out of memory") : SG_OK;
}

/* A binary heap of rank << 32 | place, smallest first. */
static void heap_push(uint64_t *heap, size_t *n, uint64_t entry)
{
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n)
{
    const uint64_t top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= last)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void consider(const sg_bpe *b, const sg_bpe_work *w, size_t *n_queue, int32_t left, int32_t right)
{
    const struct pair_slot *slot = slot_of(&b->ranks, pair_of(w->symbols[left].id, w->symbols[right].id));
    w->symbols[left].rank = slot->rank;
    w->symbols[left].result = slot->result;
    if (slot->rank >= 0)
        heap_push(w->queue, n_queue, (uint64_t)slot->rank << 32 | (uint64_t)left);
}

/* Merges the symbols from start to end among themselves. */
static void merge_all(const sg_bpe *b, sg_bpe_work *w, size_t start, size_t end)
{
    struct sg_symbol *symbols = w->symbols;
    size_t n_queue = 0;
    for (size_t i = start; i < end; i++) {
        symbols[i].previous = i > start ? (int32_t)i - 1 : -1;
        symbols[i].next = i + 1 < end ? (int32_t)i + 1 : -1;
        symbols[i].rank = -1;
        if (i > start)
            consider(b, w, &n_queue, (int32_t)i - 1, (int32_t)i);
    }
    while (n_queue > 0) {
        const uint64_t top = heap_pop(w->queue, &n_queue);
        const int32_t at = (int32_t)(top & UINT32_MAX), next = symbols[at].next;
        if (symbols[at].id < 0 || symbols[at].rank != (int32_t)(top >> 32))
            continue;
        symbols[at].id = symbols[at].result;
        symbols[at].next = symbols[next].next;
        symbols[at].rank = -1;
        symbols[next].id = -1;
        if (symbols[at].next >= 0) {
            symbols[symbols[at].next].previous = at;
            consider(b, w, &n_queue, at, symbols[at].next);
        }
        if (symbols[at].previous >= 0)
            consider(b, w, &n_queue, symbols[at].previous, at);
    }
}

/* Shorter pieces are in the cache anyway. */
#define LONG_PIECE 64

/* Where the part that begins at `start` ends. */
static size_t part_end(const sg_bpe *b, const struct sg_symbol *symbols, size_t start, size_t n)
{
    if (n < LONG_PIECE || b->joints.n_slots == 0)
        return n;
    size_t end = start + 1;
    while (end < n && slot_of(&b->joints, pair_of(symbols[end - 1].id, symbols[end].id))->rank >= 0)
        end++;
    return end;
}

/* The piece as one token, or -1. */
static int32_t whole(const sg_bpe *b, sg_bpe_work *w, const char *piece, size_t n, bool as_bytes)
{
    if (!as_bytes)
        return sg_map_get(b->vocab->model_ids, piece, n);
    w->text.bytes = 0;
    for (size_t i = 0; i < n; i++) {
        char text[2];
        sg_str_append(&w->text, text, sg_byte_to_char((unsigned char)piece[i], text));
    }
    return w->text.failed ? -1 : sg_map_get(b->vocab->model_ids, w->text.text, w->text.bytes);
}

sg_status sg_bpe_encode(const sg_bpe *b, sg_bpe_work *w, const char *piece, size_t n, bool as_bytes, sg_tokens *out,
                        sg_error *err)
{
    if (b->opts.ignore_merges) {
        const int32_t id = whole(b, w, piece, n, as_bytes);
        if (id >= 0)
            return sg_tokens_push(out, id, err);
    }
    size_t n_symbols;
    SG_TRY(reserve(w, n, err));
    SG_TRY(first_symbols(b, w, piece, n, as_bytes, &n_symbols, err));
    for (size_t start = 0, end; start < n_symbols; start = end) {
        end = part_end(b, w->symbols, start, n_symbols);
        merge_all(b, w, start, end);
        for (int32_t i = (int32_t)start; i >= 0; i = w->symbols[i].next)
            SG_TRY(sg_tokens_push(out, w->symbols[i].id, err));
    }
    return SG_OK;
}
