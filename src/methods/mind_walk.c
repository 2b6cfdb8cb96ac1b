/* A run over a tree of positions, layer by layer, in which the residual stream is read and moved between layers.
 *
 * All nodes are tokens of one row; which of them a node sees is fed as the model's own `visible`. Each layer is a run
 * of its own, fed with what came out of the one before it, so one plan for each layer serves every tree, whatever is
 * moved in it and however far. Numbers agree with those of a run of the path alone to rounding. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/mind_internal.h"

struct sg_mind_view {
    const sg_mind *m;
    sg_glass *glass;
    sg_value *tokens, *positions, *visible, *logits;
    sg_value *before[SG_MIND_MAX_LAYERS], *after[SG_MIND_MAX_LAYERS], *pattern[SG_MIND_MAX_LAYERS]; /* by block */
    int capacity; /* nodes that there is room for */
    int32_t *ids, *places;
    uint8_t *sees; /* [capacity,capacity] */
    float *x;      /* [capacity,D] */
};

/* One game is little work: a second thread gains milliseconds where the machine is idle, and waits for its turn where
 * it is not. */
static sg_glass_opts glass_opts(void)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec.n_threads = 1;
    return opts;
}

static sg_status find(sg_glass *glass, int layer, const char *what, sg_value **out, sg_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "blocks.%d.%s", layer, what);
    return sg_glass_find(glass, name, out, err);
}

static sg_status find_all(sg_mind_view *v, sg_error *err)
{
    SG_TRY(sg_glass_find(v->glass, "tokens", &v->tokens, err));
    SG_TRY(sg_glass_find(v->glass, "positions", &v->positions, err));
    SG_TRY(sg_glass_find(v->glass, "visible", &v->visible, err));
    SG_TRY(sg_glass_find(v->glass, "logits", &v->logits, err));
    for (int l = 0; l < v->m->n_layers; l++) {
        SG_TRY(find(v->glass, l, "hook_resid_pre", &v->before[l], err));
        SG_TRY(find(v->glass, l, "hook_resid_post", &v->after[l], err));
        SG_TRY(find(v->glass, l, "attn.hook_pattern", &v->pattern[l], err));
    }
    return sg_glass_ready(v->glass, err);
}

sg_status sg_mind_view_new(sg_mind_view **out, const sg_mind *m, sg_error *err)
{
    sg_mind_view *v = calloc(1, sizeof *v);
    if (!v)
        return sg_fail(err, SG_ENOMEM, "out of memory for a view of a model");
    v->m = m;
    sg_status status = m->n_layers > SG_MIND_MAX_LAYERS
                           ? sg_fail(err, SG_EUNSUPPORTED, "the model has %d layers, at most %d can be looked into",
                                     m->n_layers, SG_MIND_MAX_LAYERS)
                           : sg_glass_new(&v->glass, m->model, glass_opts(), err);
    if (status == SG_OK)
        status = find_all(v, err);
    if (status != SG_OK) {
        sg_mind_view_free(v);
        return status;
    }
    *out = v;
    return SG_OK;
}

void sg_mind_view_free(sg_mind_view *v)
{
    if (!v)
        return;
    sg_glass_free(v->glass);
    free(v->ids);
    free(v->places);
    free(v->sees);
    free(v->x);
    free(v);
}

const sg_mind *sg_mind_of_view(const sg_mind_view *v)
{
    return v->m;
}

int sg_mind_grow(sg_mind_tree *t, sg_mind_node node)
{
    SG_ASSERT(t->n < t->capacity && node.parent < t->n && node.like < t->n);
    t->nodes[t->n] = node;
    return t->n++;
}

/* A plan is laid out for so many nodes, and serves all trees that are no larger: 64, 128, ... */
static sg_status make_room(sg_mind_view *v, int n, sg_error *err)
{
    int capacity = 64;
    while (capacity < n)
        capacity *= 2;
    if (capacity <= v->capacity)
        return SG_OK;
    const size_t count = (size_t)capacity;
    free(v->ids);
    free(v->places);
    free(v->sees);
    free(v->x);
    v->ids = malloc(count * sizeof *v->ids);
    v->places = malloc(count * sizeof *v->places);
    v->sees = malloc(count * count);
    v->x = malloc(count * (size_t)v->m->width * sizeof *v->x);
    v->capacity = v->ids && v->places && v->sees && v->x ? capacity : 0;
    return v->capacity ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for %d positions", n);
}

static void lay_out(sg_mind_view *v, const sg_mind_tree *t)
{
    const size_t n = (size_t)t->n;
    for (int i = 0; i < t->n; i++) {
        const sg_mind_node *node = &t->nodes[i];
        uint8_t *row = v->sees + (size_t)i * n;
        v->ids[i] = node->token;
        v->places[i] = node->position;
        if (node->parent >= 0)
            memcpy(row, v->sees + (size_t)node->parent * n, n);
        else
            memset(row, 0, n);
        row[i] = 1;
    }
}

static void softmax(float *p, int n)
{
    float most = p[0];
    double sum = 0;
    for (int i = 1; i < n; i++)
        most = fmaxf(most, p[i]);
    for (int i = 0; i < n; i++)
        sum += (double)(p[i] = expf(p[i] - most));
    for (int i = 0; i < n; i++)
        p[i] = (float)((double)p[i] / sum);
}

/* Least squares on one-hot labels approximates probabilities by itself: what lies below 0 is cut off. */
static void shares(float *p, sg_probe_kind kind)
{
    float sum = 0;
    if (kind != SG_PROBE_RIDGE) {
        softmax(p, SG_MIND_N_CLASSES);
        return;
    }
    for (int c = 0; c < SG_MIND_N_CLASSES; c++)
        sum += p[c] = fmaxf(p[c], 0);
    for (int c = 0; c < SG_MIND_N_CLASSES; c++)
        p[c] = sum > 0 ? p[c] / sum : 1.0f / SG_MIND_N_CLASSES;
}

/* Probabilities of the squares from logits [V]; returns that of what is no square. */
static float next_of(const sg_mind *m, const float *logits, float next[SG_OTHELLO_MAX_SQUARES])
{
    float p[SG_OTHELLO_MAX_SQUARES];
    const int n = sg_othello_vocabulary(m->size);
    memcpy(p, logits, (size_t)n * sizeof *p);
    softmax(p, n);
    memset(next, 0, SG_OTHELLO_MAX_SQUARES * sizeof *next);
    for (int t = 1; t < n; t++)
        next[sg_othello_square(m->size, t)] = p[t];
    return p[0];
}

/* The probe's logits of a node, in our classes. */
static sg_status read_board(float (*out)[SG_MIND_N_CLASSES], const sg_mind *m, int r, int mover, float *x,
                            sg_error *err)
{
    float logits[SG_OTHELLO_MAX_SQUARES * SG_MIND_N_CLASSES];
    const sg_tensor row = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, m->width}, x);
    SG_TRY(sg_probe_logits(m->readers[r].probe, &row, logits, err));
    for (int s = 0; s < sg_othello_squares(m->size); s++)
        for (int c = 0; c < SG_MIND_N_CLASSES; c++)
            out[s][c] = logits[s * SG_MIND_N_CLASSES + sg_mind_class(m, mover, c)];
    return SG_OK;
}

static void add(float *x, const float *what, float factor, sg_dim width)
{
    for (sg_dim d = 0; d < width; d++)
        x[d] += factor * what[d];
}

/* Adds a push of that length along a drawn direction. */
static void push(float *added, const float *direction, double squared, sg_dim width)
{
    double drawn = 0;
    for (sg_dim d = 0; d < width; d++)
        drawn += (double)direction[d] * (double)direction[d];
    const double factor = drawn > 0 ? sqrt(squared / drawn) : 0;
    for (sg_dim d = 0; d < width; d++)
        added[d] = (float)((double)direction[d] * factor);
}

static double squares(const float *x, sg_dim width)
{
    double sum = 0;
    for (sg_dim d = 0; d < width; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

/* What a layer's boards and moves are worked out in. */
typedef struct bench {
    float (*logits)[SG_OTHELLO_MAX_SQUARES][SG_MIND_N_CLASSES]; /* [n nodes] */
    bool *wanted;                                               /* [n]: whether another node starts from it */
    float *added, *room;                                        /* [n,D] of this layer; [3,D] */
    int *n_used;                                                /* [n]: layers that moved it so far */
} bench;

static sg_status move_nodes(sg_mind_view *v, const sg_mind_tree *t, int layer, bench *b, sg_error *err)
{
    const sg_mind *m = v->m;
    const sg_dim width = m->width;
    const int r = sg_mind_reader_of(m, layer);

    for (int i = 0; i < t->n; i++) {
        const sg_mind_node *node = &t->nodes[i];
        float *x = v->x + i * width, *added = b->added + i * width;
        for (int e = 0; e < t->n_edits && node->edited; e++)
            if (t->edits[e].positions.spans[0].first == node->position && sg_mind_layer_of(t->edits[e].site) == layer)
                add(x, t->edits[e].value.data, (float)t->edits[e].strength, width);
        if (r < 0)
            continue;
        if (node->motion != SG_MIND_STILL && sg_mind_usable(m, r, node->how)) {
            memset(added, 0, (size_t)width * sizeof *added);
            if (node->motion == SG_MIND_SET) {
                sg_mind_move(added, m, r, node, x, b->logits[node->like], b->room);
            } else {
                const int k = b->n_used[i]++;
                push(added, node->directions + k * width,
                     node->like < 0 ? node->lengths[k] : squares(b->added + node->like * width, width), width);
            }
            add(x, added, 1, width);
            if (node->added)
                memcpy(node->added + r * width, added, (size_t)width * sizeof *added);
        }
        if (!node->thought && !b->wanted[i])
            continue;
        SG_TRY(read_board(b->logits[i], m, r, node->mover, x, err));
        if (!node->thought)
            continue;
        const size_t bytes = (size_t)sg_othello_squares(m->size) * sizeof b->logits[i][0];
        memcpy(node->thought->logits[r], b->logits[i], bytes);
        memcpy(node->thought->belief[r], b->logits[i], bytes);
        for (int s = 0; s < sg_othello_squares(m->size); s++)
            shares(node->thought->belief[r][s], sg_probe_get_kind(m->readers[r].probe));
    }
    return SG_OK;
}

/* pattern [1,H,n,n] */
static void keep_attention(const sg_mind *m, const sg_mind_tree *t, int layer, const float *pattern)
{
    for (int i = 0; i < t->n; i++) {
        const sg_mind_node *node = &t->nodes[i];
        const int n = node->position + 1;
        for (int h = 0; h < m->n_heads && node->attention; h++)
            for (int at = i; at >= 0; at = t->nodes[at].parent)
                node->attention[(layer * m->n_heads + h) * n + t->nodes[at].position] =
                    pattern[((size_t)h * (size_t)t->n + (size_t)i) * (size_t)t->n + (size_t)at];
    }
}

static sg_status run_layers(sg_mind_view *v, const sg_mind_tree *t, bench *b, sg_error *err)
{
    const sg_mind *m = v->m;
    const sg_dim n = t->n, two[] = {1, n}, four[] = {1, 1, n, n}, three[] = {1, n, m->width};
    const sg_feed sees = {v->visible, sg_tensor_of(SG_BOOL, 4, four, v->sees)},
                  x_tensor = {NULL, sg_tensor_of(SG_F32, 3, three, v->x)};
    sg_session *session = sg_glass_session(v->glass);
    bool attention = false;
    sg_tensor got[2];

    for (int i = 0; i < t->n; i++)
        attention |= t->nodes[i].attention != NULL;
    SG_TRY(sg_session_extent(session, "time", n, v->capacity, err));
    for (int l = 0; l < m->n_layers; l++) {
        sg_feed feeds[3] = {sees, {v->before[l], x_tensor.tensor}};
        if (l == 0) {
            feeds[1] = (sg_feed){v->tokens, sg_tensor_of(SG_I32, 2, two, v->ids)};
            feeds[2] = (sg_feed){v->positions, sg_tensor_of(SG_I32, 2, two, v->places)};
        }
        SG_TRY(sg_session_run(session, l ? 2 : 3, feeds, attention ? 2 : 1, (sg_value *[]){v->after[l], v->pattern[l]},
                              got, err));
        memcpy(v->x, got[0].data, (size_t)(n * m->width) * sizeof *v->x);
        if (attention)
            keep_attention(m, t, l, got[1].data);
        SG_TRY(move_nodes(v, t, l, b, err));
    }
    SG_TRY(sg_session_run(session, 1, &(sg_feed){v->after[m->n_layers - 1], x_tensor.tensor}, 1, &v->logits, got, err));
    for (int i = 0; i < t->n; i++) {
        const sg_mind_node *node = &t->nodes[i];
        const float *logits = (const float *)got[0].data + i * got[0].dims[2];
        if (node->thought) {
            node->thought->n_readers = m->n_readers;
            node->thought->none = next_of(m, logits, node->thought->next);
        }
        if (node->next)
            (void)next_of(m, logits, node->next);
    }
    return SG_OK;
}

/* Edits of another kind can be spliced into a graph, but are not walked over. */
static sg_status check_edits(const sg_mind *m, const sg_mind_tree *t, sg_error *err)
{
    for (int e = 0; e < t->n_edits; e++) {
        const sg_edit *one = &t->edits[e];
        if (one->op != SG_EDIT_ADD || sg_mind_layer_of(one->site) < 0 || one->value.n_dims != 1 ||
            one->value.dims[0] != m->width || one->positions.n != 1 ||
            one->positions.spans[0].first != one->positions.spans[0].last)
            return sg_fail(err, SG_EUNSUPPORTED, "edit %d is not one that sg_mind_set makes", e);
    }
    return SG_OK;
}

sg_status sg_mind_walk(sg_mind_view *v, const sg_mind_tree *t, sg_error *err)
{
    const sg_mind *m = v->m;
    const size_t n = (size_t)t->n;
    SG_TRY(check_edits(m, t, err));
    SG_TRY(make_room(v, t->n, err));
    lay_out(v, t);
    sg_arena *arena = sg_arena_new();
    bench b = {0};
    if (arena)
        b = (bench){.logits = sg_arena_array(arena, n, sizeof *b.logits),
                    .wanted = sg_arena_array(arena, n, sizeof *b.wanted),
                    .added = sg_arena_array(arena, n, (size_t)m->width * sizeof *b.added),
                    .room = sg_arena_array(arena, 3, (size_t)m->width * sizeof *b.room),
                    .n_used = sg_arena_array(arena, n, sizeof *b.n_used)};
    sg_status status = b.logits && b.wanted && b.added && b.room && b.n_used
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "out of memory for %d positions", t->n);
    for (int i = 0; i < t->n && status == SG_OK; i++)
        if (t->nodes[i].motion == SG_MIND_SET)
            b.wanted[t->nodes[i].like] = true;
    if (status == SG_OK)
        status = run_layers(v, t, &b, err);
    sg_arena_free(arena);
    return status;
}
