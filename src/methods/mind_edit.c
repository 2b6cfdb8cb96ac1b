/* Another belief: how a position is moved, and the questions that are asked with it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/mind_internal.h"
#include "sightglass/rng.h"

enum { ROUNDS = 8 };

int sg_mind_likeliest(const float p[SG_MIND_N_CLASSES])
{
    return p[1] > p[0] ? (p[2] > p[1] ? 2 : 1) : (p[2] > p[0] ? 2 : 0);
}

int sg_mind_class(const sg_mind *m, int mover, int c)
{
    return m->colours && mover == SG_OTHELLO_WHITE && c != SG_MIND_EMPTY ? SG_MIND_MINE + SG_MIND_YOURS - c : c;
}

sg_mind_how sg_mind_how_defaults(const sg_mind *m)
{
    return (sg_mind_how){.strength = 0.5, .first = m->n_layers / 4, .last = SG_MAX(m->n_layers - 2, m->n_layers / 4)};
}

bool sg_mind_usable(const sg_mind *m, int r, sg_mind_how how)
{
    return m->readers[r].layer >= how.first && m->readers[r].layer <= how.last && m->bias[r];
}

static int n_usable(const sg_mind *m, sg_mind_how how)
{
    int n = 0;
    for (int r = 0; r < m->n_readers; r++)
        n += sg_mind_usable(m, r, how);
    return n;
}

static sg_status check_how(const sg_mind *m, sg_mind_how how, sg_error *err)
{
    if (n_usable(m, how))
        return SG_OK;
    return sg_fail(err, SG_EUNSUPPORTED,
                   "no linear probe reads layers %d to %d, and without one the model's board cannot be edited",
                   how.first, how.last);
}

/* ---- the move ---- */

/* One of a layer's two borders around class `to`: where x . w >= low, reader r has `to` ahead of `other` by `lead`.
 * What lies before it is moved by (low - x . w) v, with w . v = 1. w, v [D] are filled; false: the probe does not tell
 * the two apart. */
static bool border(const sg_mind *m, int r, int square, int to, int other, double lead, float *w, float *v, float *low)
{
    const sg_mind_reader *reader = &m->readers[r];
    const float *rows = sg_probe_weights(reader->probe)->data, *b = m->bias[r] + square * SG_MIND_N_CLASSES;
    const sg_dim n_squares = sg_othello_squares(m->size);
    double length = 0, along = 0;
    for (sg_dim d = 0; d < m->width; d++) {
        const float *row = rows + (d * n_squares + square) * SG_MIND_N_CLASSES;
        w[d] = row[to] - row[other];
        length += (double)w[d] * (double)w[d];
    }
    length = sqrt(length);
    *low = (float)(lead - (double)(b[to] - b[other]));
    if (!(length > 0) || !isfinite(*low))
        return false;
    if (reader->means && sg_probe_direction(reader->means, square, to, other, v, NULL) == SG_OK)
        for (sg_dim d = 0; d < m->width; d++)
            along += (double)w[d] * (double)v[d];
    /* Means that hardly differ in what the probe reads would have to be moved far: then the shortest way. */
    const bool by_means = along > 0.02 * length;
    for (sg_dim d = 0; d < m->width; d++)
        v[d] = by_means ? (float)((double)v[d] / along) : (float)((double)w[d] / (length * length));
    return true;
}

/* By how much `to` is to be ahead of `other`: as far as what is believed now is ahead of what it changes places with,
 * times the strength. */
static double lead_of(const float x[SG_MIND_N_CLASSES], int to, int other, double strength)
{
    const int now = sg_mind_likeliest(x);
    return strength * (double)(now == to ? x[to] - x[other] : x[now] - x[other == now ? to : other]);
}

/* Moves behind each border in turn. Moving behind one may lead back over another one of another square, so several
 * squares take several rounds; the last ones go the shortest way, which meets fewer others. */
void sg_mind_move(float *added, const sg_mind *m, int r, const sg_mind_node *node, const float *x,
                  float (*logits)[SG_MIND_N_CLASSES], float *room)
{
    const sg_dim width = m->width;
    float *w = room, *v = room + width, low;
    const int n_rounds = node->n > 1 ? ROUNDS : 1;
    for (int round = 0; round < n_rounds; round++)
        for (int j = 0; j < node->n; j++)
            for (int other = 0; other < SG_MIND_N_CLASSES; other++) {
                const int s = node->square[j], to = node->to[j];
                if (other == to ||
                    !border(m, r, s, sg_mind_class(m, node->mover, to), sg_mind_class(m, node->mover, other),
                            lead_of(logits[s], to, other, node->how.strength), w, v, &low))
                    continue;
                double along = 0, length = 0;
                for (sg_dim d = 0; d < width; d++) {
                    along += (double)(x[d] + added[d]) * (double)w[d];
                    length += (double)w[d] * (double)w[d];
                }
                const double missing = (double)low - along;
                if (!(missing > 0))
                    continue;
                for (sg_dim d = 0; d < width; d++)
                    added[d] += (float)(missing * (round >= ROUNDS / 2 ? (double)w[d] / length : (double)v[d]));
            }
}

/* ---- trees ---- */

static sg_status begin(sg_mind_tree *t, sg_arena **arena, int capacity, sg_error *err)
{
    *arena = sg_arena_new();
    *t = (sg_mind_tree){.capacity = capacity};
    t->nodes = *arena ? sg_arena_array(*arena, (size_t)capacity, sizeof *t->nodes) : NULL;
    return t->nodes ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for %d positions", capacity);
}

/* The case's moves but for the last one; returns that one, hung below them and not yet in the tree. */
static sg_mind_node trunk(sg_mind_tree *t, const sg_mind_case *at)
{
    sg_mind_node node = {.parent = -1, .like = -1, .edited = true};
    SG_ASSERT(at->n > 0);
    t->n_edits = at->n_edits;
    t->edits = at->edits;
    for (int i = 0; i < at->n - 1; i++) {
        node.token = at->tokens[i];
        node.position = i;
        node.parent = sg_mind_grow(t, node);
    }
    node.token = at->tokens[at->n - 1];
    node.position = at->n - 1;
    node.mover = at->mover;
    return node;
}

sg_status sg_mind_think(sg_mind_thought *out, sg_mind_view *v, const sg_mind_case *at, sg_error *err)
{
    sg_mind_tree t;
    sg_arena *arena;

    sg_status status = begin(&t, &arena, at->n, err);
    if (status == SG_OK) {
        sg_mind_node last = trunk(&t, at);
        last.thought = out;
        (void)sg_mind_grow(&t, last);
        status = sg_mind_walk(v, &t, err);
    }
    sg_arena_free(arena);
    return status;
}

sg_status sg_mind_what_if(float (*next)[SG_OTHELLO_MAX_SQUARES], sg_mind_view *v, const sg_mind_case *at, int n,
                          const int *square, const int *to, sg_mind_how how, sg_error *err)
{
    sg_mind_tree t;
    sg_arena *arena;

    SG_TRY(check_how(sg_mind_of_view(v), how, err));
    sg_status status = begin(&t, &arena, at->n + n, err);
    if (status == SG_OK) {
        sg_mind_node node = trunk(&t, at);
        node.like = sg_mind_grow(&t, node);
        node.motion = SG_MIND_SET;
        node.how = how;
        node.n = 1;
        for (int i = 0; i < n; i++) {
            node.square = &square[i];
            node.to = &to[i];
            node.next = next[i];
            (void)sg_mind_grow(&t, node);
        }
        status = sg_mind_walk(v, &t, err);
    }
    sg_arena_free(arena);
    return status;
}

/* An "add" at a position after each layer that `how` moves: from added [n_readers,D], which is kept. */
static void as_edits(sg_mind_edits *out, const sg_mind *m, int position, sg_mind_how how, float *added, sg_span *where)
{
    *where = (sg_span){position, position};
    for (int r = 0; r < m->n_readers; r++) {
        if (!sg_mind_usable(m, r, how))
            continue;
        sg_edit *e = &out->edits[out->n++];
        *e = sg_edit_defaults();
        e->site = m->readers[r].site;
        e->op = SG_EDIT_ADD;
        e->value = sg_tensor_of(SG_F32, 1, &m->width, added + r * m->width);
        e->positions = (sg_spans){1, where};
    }
}

sg_status sg_mind_set(sg_mind_edits *out, sg_mind_view *v, const sg_mind_case *at, int n, const int *square,
                      const int *to, sg_mind_how how, sg_error *err)
{
    const sg_mind *m = sg_mind_of_view(v);
    const int n_layers = n_usable(m, how);
    sg_mind_tree t;
    sg_arena *arena;

    *out = (sg_mind_edits){0};
    SG_TRY(check_how(m, how, err));
    sg_status status = begin(&t, &arena, at->n + 1, err);
    sg_span *where = NULL;
    float *added = NULL;
    if (status == SG_OK) {
        out->edits = sg_arena_array(arena, (size_t)n_layers, sizeof *out->edits);
        where = sg_arena_alloc(arena, sizeof *where);
        added = sg_arena_array(arena, (size_t)m->n_readers, (size_t)m->width * sizeof *added);
        if (!out->edits || !where || !added)
            status = sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    }
    if (status == SG_OK) {
        sg_mind_node node = trunk(&t, at);
        node.like = sg_mind_grow(&t, node);
        node.motion = SG_MIND_SET;
        node.how = how;
        node.n = n;
        node.square = square;
        node.to = to;
        node.added = added;
        (void)sg_mind_grow(&t, node);
        status = sg_mind_walk(v, &t, err);
    }
    if (status != SG_OK) {
        sg_arena_free(arena);
        *out = (sg_mind_edits){0};
        return status;
    }
    as_edits(out, m, at->n - 1, how, added, where);
    out->room = arena;
    return SG_OK;
}

void sg_mind_edits_free(sg_mind_edits *e)
{
    sg_arena_free(e->room);
    *e = (sg_mind_edits){0};
}

/* count directions [count,D], not yet of any length; NULL: no memory. */
static float *draw(sg_arena *arena, sg_rng *rng, int count, sg_dim width)
{
    float *directions = sg_arena_array(arena, (size_t)SG_MAX(count, 1), (size_t)width * sizeof *directions);
    for (sg_dim i = 0; directions && i < count * width; i++)
        directions[i] = (float)sg_rng_normal(rng);
    return directions;
}

sg_status sg_mind_push_randomly(float (*next)[SG_OTHELLO_MAX_SQUARES], sg_mind_view *v, const sg_mind_case *at,
                                const sg_mind_edits *e, int n, uint64_t seed, sg_error *err)
{
    const sg_mind *m = sg_mind_of_view(v);
    sg_mind_tree t;
    sg_arena *arena;
    sg_rng rng = sg_rng_new(seed, 0);

    sg_status status = begin(&t, &arena, at->n + n, err);
    double *lengths = status == SG_OK ? sg_arena_array(arena, (size_t)SG_MAX(e->n, 1), sizeof *lengths) : NULL;
    const float *directions = lengths ? draw(arena, &rng, n * e->n, m->width) : NULL;
    if (status == SG_OK && !directions)
        status = sg_fail(err, SG_ENOMEM, "out of memory for %d pushes", n);
    if (status == SG_OK) {
        sg_mind_node node = trunk(&t, at);
        node.motion = e->n ? SG_MIND_RANDOM : SG_MIND_STILL;
        node.how = (sg_mind_how){.first = m->n_layers, .last = -1};
        node.lengths = lengths;
        for (int k = 0; k < e->n; k++) {
            const int layer = sg_mind_layer_of(e->edits[k].site);
            const float *value = e->edits[k].value.data;
            for (sg_dim d = 0; d < m->width; d++)
                lengths[k] += (double)value[d] * (double)value[d];
            node.how.first = SG_MIN(node.how.first, layer);
            node.how.last = SG_MAX(node.how.last, layer);
        }
        for (int i = 0; i < n; i++) {
            node.directions = directions + i * e->n * m->width;
            node.next = next[i];
            (void)sg_mind_grow(&t, node);
        }
        status = sg_mind_walk(v, &t, err);
    }
    sg_arena_free(arena);
    return status;
}

/* ---- everything about a position at once ---- */

/* A look while it is made: the tree, and where each place's layers lie. */
typedef struct looking {
    const sg_mind *m;
    const sg_mind_question *q;
    sg_mind_answer *a;
    sg_arena *arena; /* the answer's */
    sg_mind_tree tree;
    int *set;     /* [n_places] nodes */
    float *added; /* [n_places,n_readers,D] */
    sg_span *where;
} looking;

static sg_status check_places(const sg_mind *m, const sg_mind_question *q, sg_error *err)
{
    if (q->n < 1 || q->n > m->max_moves || q->n_random < 0 || q->n_random > SG_MIND_MAX_RANDOM)
        return sg_fail(err, SG_EARG, "%d moves and %d controls; there can be 1 to %d and 0 to %d", q->n, q->n_random,
                       m->max_moves, SG_MIND_MAX_RANDOM);
    for (int i = 0; i < q->n_places; i++) {
        const sg_mind_place *p = &q->places[i];
        if (p->position < 0 || p->position >= q->n || (i && p->position <= q->places[i - 1].position))
            return sg_fail(err, SG_EARG, "edits at position %d, of 0 to %d in ascending order", p->position, q->n - 1);
        for (int j = 0; j < p->n; j++)
            if (p->square[j] < 0 || p->square[j] >= sg_othello_squares(m->size) || p->to[j] < 0 ||
                p->to[j] >= SG_MIND_N_CLASSES)
                return sg_fail(err, SG_EARG, "edit %d at position %d is of no square or of no kind of disc", j,
                               p->position);
        SG_TRY(check_how(m, p->how, err));
    }
    return SG_OK;
}

static sg_mind_node token_node(const sg_mind_question *q, int position, int parent)
{
    return (sg_mind_node){
        .parent = parent, .token = q->tokens[position], .position = position, .mover = q->movers[position], .like = -1};
}

/* The game from the first place on, edited: each place beside the same position without it. */
static void edited_branch(looking *w)
{
    const sg_mind_question *q = w->q;
    const int from = q->places[0].position;
    const size_t per_place = (size_t)w->m->n_readers * (size_t)w->m->width;
    int parent = from - 1, place = 0;
    for (int t = from; t < q->n; t++) {
        sg_mind_node node = token_node(q, t, parent);
        if (place < q->n_places && q->places[place].position == t) {
            const sg_mind_place *p = &q->places[place];
            node.like = place ? sg_mind_grow(&w->tree, node) : t; /* nothing precedes the first: the game itself */
            node.motion = SG_MIND_SET;
            node.how = p->how;
            node.n = p->n;
            node.square = p->square;
            node.to = p->to;
            node.added = w->added + (size_t)place * per_place;
            w->set[place++] = w->tree.n;
        }
        if (t == q->n - 1) {
            node.thought = &w->a->after;
            node.attention = w->a->attention_after;
        }
        parent = sg_mind_grow(&w->tree, node);
    }
}

static sg_status random_branch(looking *w, sg_rng *rng, int i, sg_error *err)
{
    const sg_mind_question *q = w->q;
    const int from = q->places[0].position;
    int parent = from - 1, place = 0;
    for (int t = from; t < q->n; t++) {
        sg_mind_node node = token_node(q, t, parent);
        if (place < q->n_places && q->places[place].position == t) {
            node.motion = SG_MIND_RANDOM;
            node.how = q->places[place].how;
            node.like = w->set[place++];
            node.directions = draw(w->arena, rng, n_usable(w->m, node.how), w->m->width);
            if (!node.directions)
                return sg_fail(err, SG_ENOMEM, "out of memory for a push");
        }
        node.next = t == q->n - 1 ? w->a->random[i] : NULL;
        parent = sg_mind_grow(&w->tree, node);
    }
    return SG_OK;
}

static sg_status make_looking(looking *w, sg_error *err)
{
    const sg_mind_question *q = w->q;
    const sg_mind *m = w->m;
    sg_mind_answer *a = w->a;
    const int n_branch = q->n_places ? q->n - q->places[0].position : 0;
    const size_t n_places = (size_t)SG_MAX(q->n_places, 1), width = (size_t)m->width;
    const size_t n_attention = q->attention ? (size_t)(m->n_layers * m->n_heads * q->n) : 1;

    a->n_random = q->n_places ? q->n_random : 0;
    a->n_layers = m->n_layers;
    a->n_heads = m->n_heads;
    w->tree.capacity = q->n + (1 + a->n_random) * n_branch + q->n_places;
    w->tree.nodes = sg_arena_array(w->arena, (size_t)w->tree.capacity, sizeof *w->tree.nodes);
    w->set = sg_arena_array(w->arena, n_places, sizeof *w->set);
    w->where = sg_arena_array(w->arena, n_places, sizeof *w->where);
    w->added = sg_arena_array(w->arena, n_places * (size_t)SG_MAX(m->n_readers, 1), width * sizeof *w->added);
    a->random = sg_arena_array(w->arena, (size_t)SG_MAX(a->n_random, 1), sizeof *a->random);
    a->length = sg_arena_array(w->arena, n_places, sizeof *a->length);
    a->edits.edits = sg_arena_array(w->arena, n_places * (size_t)SG_MAX(m->n_readers, 1), sizeof *a->edits.edits);
    a->attention_before = sg_arena_array(w->arena, n_attention, sizeof *a->attention_before);
    a->attention_after = sg_arena_array(w->arena, n_attention, sizeof *a->attention_after);
    if (!w->tree.nodes || !w->set || !w->where || !w->added || !a->random || !a->length || !a->edits.edits ||
        !a->attention_before || !a->attention_after)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d positions", w->tree.capacity);
    if (!q->attention)
        a->attention_before = a->attention_after = NULL;
    return SG_OK;
}

static sg_status look(looking *w, sg_mind_view *v, sg_error *err)
{
    const sg_mind_question *q = w->q;
    sg_mind_answer *a = w->a;
    sg_rng rng = sg_rng_new(q->seed, 0);

    SG_TRY(make_looking(w, err));
    for (int t = 0; t < q->n; t++) {
        sg_mind_node node = token_node(q, t, t - 1);
        if (t == q->n - 1) {
            node.thought = &a->before;
            node.attention = a->attention_before;
        }
        (void)sg_mind_grow(&w->tree, node);
    }
    if (q->n_places)
        edited_branch(w);
    for (int i = 0; i < a->n_random; i++)
        SG_TRY(random_branch(w, &rng, i, err));
    SG_TRY(sg_mind_walk(v, &w->tree, err));
    if (!q->n_places) {
        a->after = a->before;
        a->attention_after = a->attention_before;
    }
    const sg_dim per_place = w->m->n_readers * w->m->width;
    for (int p = 0; p < q->n_places; p++) {
        float *added = w->added + p * per_place;
        double sum = 0;
        for (sg_dim d = 0; d < per_place; d++)
            sum += (double)added[d] * (double)added[d];
        a->length[p] = sqrt(sum);
        as_edits(&a->edits, w->m, q->places[p].position, q->places[p].how, added, &w->where[p]);
    }
    return SG_OK;
}

sg_status sg_mind_look(sg_mind_answer **out, sg_mind_view *v, const sg_mind_question *q, sg_error *err)
{
    looking w = {.m = sg_mind_of_view(v), .q = q};
    SG_TRY(check_places(w.m, q, err));
    w.arena = sg_arena_new();
    w.a = w.arena ? sg_arena_alloc(w.arena, sizeof *w.a) : NULL;
    if (w.a)
        w.a->room = w.arena;
    const sg_status status = w.a ? look(&w, v, err) : sg_fail(err, SG_ENOMEM, "out of memory for a look");
    if (status != SG_OK) {
        sg_arena_free(w.arena);
        return status;
    }
    *out = w.a;
    return SG_OK;
}

void sg_mind_answer_free(sg_mind_answer *a)
{
    if (a)
        sg_arena_free(a->room);
}
