/* Unigram: of all ways to cut a piece into tokens, the one whose log probabilities sum to the most (Kudo 2018), found
 * from left to right (Viterbi).  A character that is no token costs 10 more than the least probable one.
 *
 * Tokens are found by a trie over bytes, whose edges are one hash table from (node, byte) to node. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

#define UNK_PENALTY 10.0

struct edge {
    uint32_t key;  /* node << 8 | byte */
    int32_t child; /* 0 in an empty slot: the root is nobody's child */
};

struct node {
    int32_t id; /* -1: no token ends here */
    float score;
};

struct sg_unigram {
    const char *name; /* the file's */
    const sg_vocab *vocab;
    struct edge *edges; /* malloc'd */
    size_t n_edges;     /* a power of two, at most half of them used */
    struct node *nodes; /* malloc'd */
    int32_t n_nodes, capacity;
    double unk_score;
    int32_t unk; /* -1: none */
    bool byte_fallback;
    int32_t fallback[256]; /* the token <0xNN> */
};

/* ---- the trie ---- */

static struct edge *edge_of(const struct sg_unigram *u, int32_t node, unsigned char byte)
{
    const uint32_t key = (uint32_t)node << 8 | byte;
    const uint64_t h = key * 0x9E3779B97F4A7C15u;
    for (size_t i = (size_t)(h >> 20);; i++) {
        struct edge *e = &u->edges[i & (u->n_edges - 1)];
        if (e->child == 0 || e->key == key)
            return e;
    }
}

static bool grow(struct sg_unigram *u)
{
    if (u->n_nodes + 1 < u->capacity)
        return true;
    const int32_t capacity = u->capacity ? 2 * u->capacity : 1024;
    struct sg_unigram wider = *u;
    struct node *nodes = realloc(u->nodes, (size_t)capacity * sizeof *nodes);
    if (nodes)
        u->nodes = nodes;
    wider.n_edges = 2 * (size_t)capacity;
    wider.edges = nodes ? calloc(wider.n_edges, sizeof *wider.edges) : NULL;
    if (!wider.edges)
        return false;
    for (size_t i = 0; i < u->n_edges; i++)
        if (u->edges[i].child)
            *edge_of(&wider, (int32_t)(u->edges[i].key >> 8), (unsigned char)u->edges[i].key) = u->edges[i];
    free(u->edges);
    u->edges = wider.edges;
    u->n_edges = wider.n_edges;
    u->capacity = capacity;
    return true;
}

static bool insert(struct sg_unigram *u, const char *text, size_t n, int32_t id, float score)
{
    int32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        if (!grow(u))
            return false;
        struct edge *e = edge_of(u, node, (unsigned char)text[i]);
        if (e->child == 0) {
            *e = (struct edge){(uint32_t)node << 8 | (unsigned char)text[i], u->n_nodes};
            u->nodes[u->n_nodes++] = (struct node){.id = -1};
        }
        node = e->child;
    }
    if (node > 0)
        u->nodes[node] = (struct node){id, score};
    return true;
}

static void free_trie(void *unigram)
{
    struct sg_unigram *u = unigram;
    free(u->edges);
    free(u->nodes);
}

/* ---- making ---- */

sg_status sg_unigram_new(sg_unigram **out, const sg_reader *r, const sg_unigram_opts *opts, const sg_vocab *vocab)
{
    sg_unigram *u = *out = sg_arena_alloc(r->arena, sizeof *u);
    if (!u || !(u->name = sg_arena_strdup(r->arena, r->name)))
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    SG_TRY(sg_arena_defer(r->arena, free_trie, u));
    u->vocab = vocab;
    u->unk = opts->unk;
    u->byte_fallback = opts->byte_fallback;
    for (int i = 0; i < 256; i++) {
        char text[8];
        const size_t n = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)i);
        u->fallback[i] = sg_map_get(vocab->model_ids, text, n);
    }
    if (!grow(u))
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    u->nodes[u->n_nodes++] = (struct node){.id = -1};
    double least = 0;
    for (int32_t id = 0; id < vocab->n_ids; id++) {
        if (!opts->makes[id])
            continue;
        const sg_vocab_entry *e = sg_vocab_at(vocab, id);
        least = SG_MIN(least, (double)opts->scores[id]);
        if (u->n_nodes > (1 << 23) - 4096 || e->bytes > 4096)
            return sg_fail(r->err, SG_EUNSUPPORTED, "%s: the tokens are too long in all", r->name);
        if (!insert(u, e->text, e->bytes, id, opts->scores[id]))
            return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    }
    u->unk_score = least - UNK_PENALTY;
    return SG_OK;
}

static sg_status read_scores(const sg_reader *r, const json_t *list, float *scores, bool *makes)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *score = json_array_get(json_array_get(list, i), 1);
        if (!json_is_number(score) || !isfinite((float)json_number_value(score)))
            return sg_fail(r->err, SG_EFORMAT, "%s: item %zu of model.vocab has no score", r->name, i);
        scores[i] = (float)json_number_value(score);
        makes[i] = true;
    }
    return SG_OK;
}

sg_status sg_unigram_read(sg_unigram **out, const sg_reader *r, const json_t *model, const sg_vocab *vocab)
{
    const json_t *list = json_object_get(model, "vocab");
    sg_unigram_opts opts = {.unk = -1};
    int64_t unk;
    if (!json_is_array(list))
        return sg_fail(r->err, SG_EFORMAT, "%s: model.vocab is not a list, as a Unigram model's is", r->name);
    SG_TRY(sg_json_bool(r, model, "byte_fallback", false, &opts.byte_fallback));
    SG_TRY(sg_json_count(r, model, "unk_id", (int64_t)json_array_size(list), &unk));
    if (sg_json_member(model, "unk_id") && unk >= (int64_t)json_array_size(list))
        return sg_fail(r->err, SG_EFORMAT, "%s: unk_id is %lld, of %zu tokens", r->name, (long long)unk,
                       json_array_size(list));
    opts.unk = sg_json_member(model, "unk_id") ? (int32_t)unk : -1;
    float *scores = calloc((size_t)vocab->n_ids + 1, sizeof *scores);
    bool *makes = calloc((size_t)vocab->n_ids + 1, sizeof *makes);
    sg_status status = scores && makes ? read_scores(r, list, scores, makes)
                                       : sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    opts.scores = scores;
    opts.makes = makes;
    if (status == SG_OK)
        status = sg_unigram_new(out, r, &opts, vocab);
    free(scores);
    free(makes);
    return status;
}

/* ---- encoding ---- */

/* The best way to the place before byte i. */
struct sg_path {
    double score;
    int32_t from; /* where its last token begins */
    int32_t id;   /* -1: a character that is no token */
};

void sg_unigram_work_free(sg_unigram_work *w)
{
    free(w->paths);
    *w = (sg_unigram_work){0};
}

static void extend(const sg_unigram *u, struct sg_path *paths, const char *text, size_t n, size_t at)
{
    const size_t length = SG_MIN(sg_utf8_length(text[at]), n - at);
    bool alone = false;
    for (size_t i = at, node = 0; i < n; i++) {
        const int32_t child = edge_of(u, (int32_t)node, (unsigned char)text[i])->child;
        if (child == 0)
            break;
        node = (size_t)child;
        const struct node *here = &u->nodes[node];
        if (here->id < 0)
            continue;
        const double score = paths[at].score + (double)here->score;
        if (paths[i + 1].from < 0 || score > paths[i + 1].score)
            paths[i + 1] = (struct sg_path){score, (int32_t)at, here->id};
        alone |= i + 1 == at + length;
    }
    const double score = paths[at].score + u->unk_score;
    if (!alone && (paths[at + length].from < 0 || score > paths[at + length].score))
        paths[at + length] = (struct sg_path){score, (int32_t)at, -1};
}

/* Its bytes from the last to the first, as the way is walked backwards. */
static sg_status push_unknown(const sg_unigram *u, const char *text, size_t n, sg_tokens *out, sg_error *err)
{
    bool bytes = u->byte_fallback;
    for (size_t i = 0; i < n && bytes; i++)
        bytes = u->fallback[(unsigned char)text[i]] >= 0;
    for (size_t i = n; i > 0 && bytes; i--)
        SG_TRY(sg_tokens_push(out, u->fallback[(unsigned char)text[i - 1]], err));
    if (bytes)
        return SG_OK;
    if (u->unk < 0)
        return sg_fail(err, SG_EFORMAT, "%s: unk_id is needed and not there", u->name);
    return sg_tokens_push(out, u->unk, err);
}

sg_status sg_unigram_encode(const sg_unigram *u, sg_unigram_work *w, const char *piece, size_t n, sg_tokens *out,
                            sg_error *err)
{
    if (n > INT32_MAX / 4)
        return sg_fail(err, SG_EARG, "a piece of %zu bytes is too long to tokenize", n);
    if (n + 1 > w->n_paths) {
        const size_t capacity = SG_MAX(2 * w->n_paths, n + 64);
        struct sg_path *paths = realloc(w->paths, capacity * sizeof *paths);
        if (!paths)
            return sg_fail(err, SG_ENOMEM, "out of memory");
        w->paths = paths;
        w->n_paths = capacity;
    }
    struct sg_path *paths = w->paths;
    for (size_t i = 0; i <= n; i++)
        paths[i].from = -1;
    paths[0] = (struct sg_path){.from = 0, .id = -1};
    for (size_t at = 0; at < n; at += sg_utf8_length(piece[at]))
        extend(u, paths, piece, n, at);

    /* Backwards along the best way; what is unknown is fused. */
    const int64_t first = out->n;
    for (int32_t end = (int32_t)n, from; end > 0; end = from) {
        const int32_t id = paths[end].id;
        from = paths[end].from;
        while (id < 0 && from > 0 && paths[from].id < 0)
            from = paths[from].from;
        if (id >= 0)
            SG_TRY(sg_tokens_push(out, id, err));
        else
            SG_TRY(push_unknown(u, piece + from, (size_t)(end - from), out, err));
    }
    for (int64_t i = first, k = out->n - 1; i < k; i++, k--) {
        const int32_t id = out->ids[i];
        out->ids[i] = out->ids[k];
        out->ids[k] = id;
    }
    return SG_OK;
}
