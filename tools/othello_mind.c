/* A model of Othello's moves, its probes, and edits that change what it believes. */
#include "othello_mind.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { ROUNDS = 8 };

struct mind {
    sg_arena *arena; /* texts */
    sg_model *model;
    int size, n_layers, max_moves;
    sg_dim width;
    int n_readers;
    mind_reader readers[MIND_MAX_LAYERS]; /* by layer */
    bool colours;                         /* the probes tell black from white, not mine from yours */
    float *bias[MIND_MAX_LAYERS];         /* [squares,classes] of a linear probe, else NULL */
    int n_warnings;
    const char **warnings;
};

struct mind_view {
    mind *m;
    sg_glass *glass;
    sg_value *fetches[MIND_MAX_LAYERS + 1]; /* a site for each reader, then the logits */
};

/* ---- opening ---- */

static void warn(mind *m, const char *text)
{
    const char **more = realloc(m->warnings, (size_t)(m->n_warnings + 1) * sizeof *more);
    if (more)
        m->warnings = more;
    if (more && text)
        m->warnings[m->n_warnings++] = text;
}

static int board_of(sg_dim n_vocab)
{
    for (int size = 4; size <= 8; size += 2)
        if (n_vocab == sg_othello_vocabulary(size))
            return size;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the probes in a folder, without ".json", in the order of the alphabet. */
static sg_status list_probes(mind *m, const char *dir, char ***out, int *n, sg_error *err)
{
    DIR *d = opendir(dir);
    *out = NULL;
    *n = 0;
    if (!d)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: %s", dir, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        const size_t bytes = strlen(e->d_name);
        if (bytes < 6 || strcmp(e->d_name + bytes - 5, ".json") != 0)
            continue;
        char **more = realloc(*out, (size_t)(*n + 1) * sizeof *more);
        char *name = sg_arena_strndup(m->arena, e->d_name, bytes - 5);
        *out = more ? more : *out;
        if (!more || !name) {
            closedir(d);
            return sg_fail(err, SG_ENOMEM, "out of memory for probes");
        }
        (*out)[(*n)++] = name;
    }
    closedir(d);
    if (*n)
        qsort(*out, (size_t)*n, sizeof **out, by_text);
    return SG_OK;
}

/* Why a probe cannot read this model's board; NULL if it can. */
static const char *unfit(const mind *m, const sg_probe *p, const sg_probe_manifest *about, int layer)
{
    if (!about->label || (strcmp(about->label, "board_rel") != 0 && strcmp(about->label, "board_abs") != 0))
        return "it does not read a board";
    if (layer < 0 || layer >= m->n_layers)
        return "its site is the output of no block of this model";
    if (sg_probe_width(p) != m->width)
        return "it is of another width than this model";
    if (sg_probe_n_tasks(p) != sg_othello_squares(m->size) || sg_probe_n_classes(p) != MIND_N_CLASSES)
        return "it is of a board of another size";
    return NULL;
}

/* The block of "blocks.N.hook_resid_post"; -1 for any other site. */
static int layer_of(const char *site)
{
    int layer = -1, end = 0;
    return site && sscanf(site, "blocks.%d.hook_resid_post%n", &layer, &end) == 1 && end > 0 && !site[end] ? layer : -1;
}

static sg_status keep(mind *m, sg_probe *p, const sg_probe_manifest *about, int layer, sg_error *err)
{
    int at = m->n_readers;
    if (m->n_readers == MIND_MAX_LAYERS)
        return sg_fail(err, SG_EUNSUPPORTED, "there are probes of more than %d layers", MIND_MAX_LAYERS);
    const size_t n = (size_t)sg_othello_squares(m->size) * MIND_N_CLASSES;
    float *bias = NULL;
    if (sg_probe_weights(p)->data) { /* what it yields at 0 */
        const sg_tensor zero =
            sg_tensor_of(SG_F32, 2, (sg_dim[]){1, m->width}, calloc((size_t)m->width, sizeof(float)));
        bias = calloc(n, sizeof *bias);
        sg_status status = zero.data && bias ? sg_probe_logits(p, &zero, bias, err)
                                             : sg_fail(err, SG_ENOMEM, "out of memory for a probe");
        free(zero.data);
        if (status != SG_OK) {
            free(bias);
            return status;
        }
    }
    for (; at > 0 && m->readers[at - 1].layer > layer; at--) {
        m->readers[at] = m->readers[at - 1];
        m->bias[at] = m->bias[at - 1];
    }
    m->readers[at] = (mind_reader){.layer = layer, .site = about->site, .probe = p, .about = *about};
    m->bias[at] = bias;
    m->n_readers++;
    return SG_OK;
}

/* One probe for each layer, of whose disc it is, or of its colour where there are none of those. A broken one is passed
 * over with a warning: the rest still reads. */
static sg_status open_probes(mind *m, const char *dir, sg_error *err)
{
    char **names = NULL;
    int n = 0, n_other = 0;
    sg_error why;
    const uint64_t hash = sg_model_hash(m->model);

    if (list_probes(m, dir, &names, &n, &why) != SG_OK || n == 0) {
        warn(m,
             sg_arena_printf(
                 m->arena,
                 "no probes in %s, so the board in the model cannot be read; `sightglass probe fit` makes them", dir));
        free(names);
        return SG_OK;
    }
    sg_status status = SG_OK;
    for (int pass = 0; pass < 2 && m->n_readers == 0 && status == SG_OK; pass++) {
        m->colours = pass == 1;
        for (int i = 0; i < n && status == SG_OK; i++) {
            sg_probe *p = NULL;
            sg_probe_manifest about = {0};
            if (sg_probe_open(&p, &about, dir, names[i], &why) != SG_OK) {
                if (pass == 0)
                    warn(m, sg_arena_printf(m->arena, "a probe is passed over: %s", why.text));
                continue;
            }
            const int layer = layer_of(about.site);
            const char *reason = unfit(m, p, &about, layer);
            const bool wanted =
                !reason && m->colours == (strcmp(about.label, "board_abs") == 0) && mind_reader_of(m, layer) < 0;
            if (reason && pass == 0)
                warn(m, sg_arena_printf(m->arena, "probe %s/%s is passed over: %s", dir, names[i], reason));
            if (wanted)
                status = keep(m, p, &about, layer, err);
            if (!wanted || status != SG_OK)
                sg_probe_free(p);
            else
                n_other += about.model_hash != hash;
        }
    }
    if (status == SG_OK && n_other)
        warn(m, sg_arena_printf(
                    m->arena,
                    "%d of the %d probes in %s were fitted to another model (theirs has the hash %016llx, this one "
                    "%016llx): what they read is likely wrong",
                    n_other, m->n_readers, dir, (unsigned long long)m->readers[0].about.model_hash,
                    (unsigned long long)hash));
    else if (status == SG_OK && m->n_readers == 0)
        warn(m, sg_arena_printf(m->arena, "none of the %d probes in %s reads this model's board", n, dir));
    free(names);
    return status;
}

/* The means of classes for the readers that there are. They only make edits better, so nothing is said where there are
 * none. */
static sg_status open_means(mind *m, const char *dir, sg_error *err)
{
    char **names = NULL;
    int n = 0;
    sg_status status = list_probes(m, dir, &names, &n, err);
    if (status == SG_ENOTFOUND)
        status = SG_OK;
    for (int i = 0; i < n && status == SG_OK; i++) {
        sg_probe *p = NULL;
        sg_probe_manifest about = {0};
        sg_error why;
        if (sg_probe_open(&p, &about, dir, names[i], &why) != SG_OK) {
            warn(m, sg_arena_printf(m->arena, "a probe is passed over: %s", why.text));
            continue;
        }
        const int layer = layer_of(about.site), r = mind_reader_of(m, layer);
        const bool wanted = !unfit(m, p, &about, layer) && sg_probe_weights(p)->data && r >= 0 &&
                            !m->readers[r].means && m->colours == (strcmp(about.label, "board_abs") == 0) &&
                            about.model_hash == m->readers[r].about.model_hash;
        if (wanted)
            m->readers[r].means = p;
        else
            sg_probe_free(p);
    }
    free(names);
    return status;
}

sg_status mind_open(mind **out, const char *model, const char *probes, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    mind *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;

    if (!m) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    m->arena = arena;
    sg_status status = sg_model_open(&m->model, model, sg_model_defaults(), err);
    if (status == SG_OK) {
        const sg_model_info *in = sg_model_get_info(m->model);
        m->size = board_of(in->n_vocab);
        m->n_layers = (int)in->n_layers;
        m->width = in->d_model;
        m->max_moves = m->size ? sg_othello_max_moves(m->size) : 0;
        if (!m->size)
            status = sg_fail(err, SG_EARG,
                             "%s has a vocabulary of %lld: no model of Othello's moves, which have 61 tokens on 8x8, "
                             "33 on 6x6, 13 on 4x4",
                             model, (long long)in->n_vocab);
        else if (in->n_context < m->max_moves)
            status = sg_fail(err, SG_EARG, "%s has a context of %lld, a game of Othello on %dx%d has %d moves", model,
                             (long long)in->n_context, m->size, m->size, m->max_moves);
    }
    for (int i = 0; status == SG_OK && sg_model_warning(m->model, i); i++)
        warn(m, sg_model_warning(m->model, i));
    if (status == SG_OK) {
        const char *dir = probes ? probes : sg_arena_printf(arena, "%s/probes", model);
        const char *means = dir ? sg_arena_printf(arena, "%s/mean", dir) : NULL;
        status = means ? open_probes(m, dir, err) : sg_fail(err, SG_ENOMEM, "out of memory for a path");
        if (status == SG_OK)
            status = open_means(m, means, err);
    }
    if (status != SG_OK) {
        mind_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

void mind_close(mind *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n_readers; i++) {
        sg_probe_free(m->readers[i].probe);
        sg_probe_free(m->readers[i].means);
        free(m->bias[i]);
    }
    free(m->warnings);
    sg_model_close(m->model);
    sg_arena_free(m->arena);
}

const sg_model *mind_model(const mind *m)
{
    return m->model;
}

int mind_size(const mind *m)
{
    return m->size;
}

int mind_n_layers(const mind *m)
{
    return m->n_layers;
}

const char *mind_warning(const mind *m, int i)
{
    return i < m->n_warnings ? m->warnings[i] : NULL;
}

int mind_n_readers(const mind *m)
{
    return m->n_readers;
}

const mind_reader *mind_get_reader(const mind *m, int i)
{
    return &m->readers[i];
}

int mind_reader_of(const mind *m, int layer)
{
    for (int i = 0; i < m->n_readers; i++)
        if (m->readers[i].layer == layer)
            return i;
    return -1;
}

int mind_best_reader(const mind *m)
{
    int best = m->n_readers - 1;
    for (int i = m->n_readers - 1; i >= 0; i--)
        if (m->readers[i].about.hard_accuracy > m->readers[best].about.hard_accuracy ||
            isnan(m->readers[best].about.hard_accuracy))
            best = i;
    return best;
}

/* ---- thinking ---- */

static int likeliest(const float x[MIND_N_CLASSES])
{
    return x[1] > x[0] ? (x[2] > x[1] ? 2 : 1) : (x[2] > x[0] ? 2 : 0);
}

/* One game, or one with a disc turned over in every row, is little work: a second thread gains milliseconds where the
 * machine is idle, and waits for its turn where it is not. */
static sg_glass_opts glass_opts(void)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec.n_threads = 1;
    return opts;
}

/* The probe's class for a class of ours, and back. */
static int class_of(const mind *m, int mover, int c)
{
    return m->colours && mover == SG_OTHELLO_WHITE && c != MIND_EMPTY ? MIND_MINE + MIND_YOURS - c : c;
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
        softmax(p, MIND_N_CLASSES);
        return;
    }
    for (int c = 0; c < MIND_N_CLASSES; c++)
        sum += p[c] = fmaxf(p[c], 0);
    for (int c = 0; c < MIND_N_CLASSES; c++)
        p[c] = sum > 0 ? p[c] / sum : 1.0f / MIND_N_CLASSES;
}

sg_status mind_view_new(mind_view **out, mind *m, int n, const sg_edit *edits, sg_error *err)
{
    mind_view *v = calloc(1, sizeof *v);
    if (!v)
        return sg_fail(err, SG_ENOMEM, "out of memory for a view of a model");
    v->m = m;
    sg_status status = sg_glass_new(&v->glass, m->model, glass_opts(), err);
    if (status == SG_OK && n)
        status = sg_glass_edit(v->glass, n, edits, err);
    for (int i = 0; i < m->n_readers && status == SG_OK; i++)
        status = sg_glass_find(v->glass, m->readers[i].site, &v->fetches[i], err);
    if (status == SG_OK)
        status = sg_glass_find(v->glass, "logits", &v->fetches[m->n_readers], err);
    if (status != SG_OK) {
        mind_view_free(v);
        return status;
    }
    *out = v;
    return SG_OK;
}

void mind_view_free(mind_view *v)
{
    if (!v)
        return;
    sg_glass_free(v->glass);
    free(v);
}

/* Probabilities of the squares from logits [V] at one position; returns that of what is no square. */
static float next_of(const mind *m, const float *logits, float next[SG_OTHELLO_MAX_SQUARES])
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

/* Rows are always filled up to a whole game: one plan serves all positions. */
sg_status mind_think(mind_view *v, const int32_t *tokens, int n, int mover, mind_thought *out, sg_error *err)
{
    const mind *m = v->m;
    const int n_squares = sg_othello_squares(m->size);
    const sg_dim length = n;
    sg_tensor got[MIND_MAX_LAYERS + 1];
    float logits[SG_OTHELLO_MAX_SQUARES * MIND_N_CLASSES];

    SG_ASSERT(n > 0 && n <= m->max_moves);
    SG_TRY(sg_glass_run(v->glass, &(sg_rows){.n_rows = 1, .tokens = &tokens, .lengths = &length, .time = m->max_moves},
                        0, NULL, m->n_readers + 1, v->fetches, got, err));
    const sg_tensor *last = &got[m->n_readers];
    out->none = next_of(m, (const float *)last->data + (sg_dim)(n - 1) * last->dims[2], out->next);
    out->n_readers = m->n_readers;
    for (int r = 0; r < m->n_readers; r++) {
        const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, m->width}, (float *)got[r].data + (n - 1) * m->width);
        SG_TRY(sg_probe_logits(m->readers[r].probe, &x, logits, err));
        for (int s = 0; s < n_squares; s++) {
            for (int c = 0; c < MIND_N_CLASSES; c++)
                out->logits[r][s][c] = out->belief[r][s][c] = logits[s * MIND_N_CLASSES + class_of(m, mover, c)];
            shares(out->belief[r][s], sg_probe_get_kind(m->readers[r].probe));
        }
    }
    return SG_OK;
}

/* ---- another belief ---- */

mind_how mind_how_defaults(const mind *m)
{
    return (mind_how){.strength = 0.5, .first = m->n_layers / 4, .last = SG_MAX(m->n_layers - 2, m->n_layers / 4)};
}

static bool usable(const mind *m, int r, mind_how how)
{
    return m->readers[r].layer >= how.first && m->readers[r].layer <= how.last && m->bias[r];
}

static int n_usable(const mind *m, mind_how how)
{
    int n = 0;
    for (int r = 0; r < m->n_readers; r++)
        n += usable(m, r, how);
    return n;
}

/* One of a layer's two borders around class `to`: where x . w >= low, reader r has `to` ahead of `other` by `lead`.
 * What lies before it is moved by (low - x . w) v, with w . v = 1. w, v [D] are filled; false: the probe does not tell
 * the two apart. */
static bool border(const mind *m, int r, int square, int to, int other, double lead, float *w, float *v, float *low)
{
    const mind_reader *reader = &m->readers[r];
    const float *rows = sg_probe_weights(reader->probe)->data, *b = m->bias[r] + square * MIND_N_CLASSES;
    const sg_dim n_squares = sg_othello_squares(m->size);
    double length = 0, along = 0;
    for (sg_dim d = 0; d < m->width; d++) {
        const float *row = rows + (d * n_squares + square) * MIND_N_CLASSES;
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

/* By how much `to` is to be ahead of `other`, both classes of ours: as far as what is believed now is ahead of what it
 * changes places with, times the strength. */
static double lead_of(const mind_thought *t, int r, int square, int to, int other, double strength)
{
    const float *x = t->logits[r][square];
    const int now = likeliest(x);
    return strength * (double)(now == to ? x[to] - x[other] : x[now] - x[other == now ? to : other]);
}

/* The borders of n rows of k squares each, for the readers within how's layers, two for each: w, v [n,R*k*2,D], low
 * [n,R*k*2,1]; at [1,T,1] is 1 at the last token. */
typedef struct borders {
    int n, k, per_row;
    float *w, *v, *low, *at;
    const int32_t **tokens;
    sg_dim *lengths;
} borders;

static void borders_free(borders *b)
{
    free(b->w);
    free(b->v);
    free(b->low);
    free(b->at);
    free((void *)b->tokens);
    free(b->lengths);
}

static void borders_of_row(borders *b, int row, const mind *m, const mind_case *at, const int *square, const int *to,
                           mind_how how)
{
    const size_t width = (size_t)m->width;
    size_t i = (size_t)(row * b->per_row);
    for (int r = 0; r < m->n_readers; r++)
        for (int j = 0; j < b->k && usable(m, r, how); j++)
            for (int other = 0; other < MIND_N_CLASSES; other++) {
                const int s = square[row * b->k + j], t = to[row * b->k + j];
                if (other == t)
                    continue;
                if (!border(m, r, s, class_of(m, at->mover, t), class_of(m, at->mover, other),
                            lead_of(at->thought, r, s, t, other, how.strength), b->w + i * width, b->v + i * width,
                            b->low + i))
                    b->low[i] = -INFINITY;
                i++;
            }
}

static sg_status borders_of(borders *b, const mind *m, const mind_case *at, const int *square, const int *to,
                            mind_how how, sg_error *err)
{
    const size_t count = (size_t)(b->n * b->per_row), width = (size_t)m->width;
    b->w = calloc(count * width, sizeof(float));
    b->v = calloc(count * width, sizeof(float));
    b->low = calloc(count, sizeof(float));
    b->at = calloc((size_t)at->n, sizeof(float));
    b->tokens = calloc((size_t)b->n, sizeof(int32_t *));
    b->lengths = calloc((size_t)b->n, sizeof(sg_dim));
    if (!b->w || !b->v || !b->low || !b->at || !b->tokens || !b->lengths)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d boards", b->n);
    b->at[at->n - 1] = 1;
    for (int i = 0; i < b->n; i++) {
        b->tokens[i] = at->tokens;
        b->lengths[i] = at->n;
        borders_of_row(b, i, m, at, square, to, how);
    }
    return SG_OK;
}

/* x' = x + max(0, low - x . w) v at the last token, at each border of a layer in turn. Moving behind one border may
 * lead back over another one of another square, so several squares take several rounds. change[i]: what was added after
 * the i-th of the layers, [batch,time,D]. */
static sg_status splice_borders(sg_value **change, const mind *m, sg_glass *glass, mind_how how, const borders *b,
                                sg_error *err)
{
    sg_graph *g = sg_glass_graph(glass);
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time");
    const int per_layer = b->k * (MIND_N_CLASSES - 1), n_rounds = b->k > 1 ? ROUNDS : 1;
    sg_value *ws = sg_input(g, "what_if.w", SG_F32, 3, (sg_dim[]){batch, b->per_row, m->width}),
             *vs = sg_input(g, "what_if.v", SG_F32, 3, (sg_dim[]){batch, b->per_row, m->width}),
             *lows = sg_input(g, "what_if.low", SG_F32, 3, (sg_dim[]){batch, b->per_row, 1}),
             *at = sg_input(g, "what_if.at", SG_F32, 3, (sg_dim[]){1, time, 1});
    int i = 0;
    for (int r = 0; r < m->n_readers; r++) {
        if (!usable(m, r, how))
            continue;
        sg_value *x = sg_graph_find(g, m->readers[r].site), *sum = NULL;
        for (int round = 0; round < n_rounds; round++)
            for (int k = i * per_layer; k < (i + 1) * per_layer; k++) {
                sg_value *y = sum ? sg_add(g, x, sum) : x;
                sg_value *w = sg_slice(g, ws, 1, k, k + 1, 1), *v = sg_slice(g, vs, 1, k, k + 1, 1),
                         *low = sg_slice(g, lows, 1, k, k + 1, 1);
                sg_value *missing = sg_relu(g, sg_sub(g, low, sg_sum(g, sg_mul(g, y, w), -1, true)));
                if (round >= ROUNDS / 2)
                    v = sg_div(g, w, sg_add_scalar(g, sg_sum(g, sg_square(g, w), -1, true), 1e-12));
                sg_value *step = sg_mul(g, sg_mul(g, missing, at), v);
                sum = sum ? sg_add(g, sum, step) : step;
            }
        change[i++] = sum;
        sg_replace(g, x, sg_add(g, x, sum));
    }
    return sg_graph_status(g, err);
}

/* Runs n rows, with k other squares changed in each: square, to [n,k]. next: [n], or NULL; added: what was added at the
 * last token, [n,R,D], or NULL, R the readers within how's layers. */
static sg_status imagine(float (*next)[SG_OTHELLO_MAX_SQUARES], float *added, mind *m, const mind_case *at, int n,
                         int k, const int *square, const int *to, mind_how how, sg_error *err)
{
    const int n_layers = n_usable(m, how);
    borders b = {.n = n, .k = k, .per_row = n_layers * k * (MIND_N_CLASSES - 1)};
    sg_value *fetch[MIND_MAX_LAYERS + 1];
    sg_tensor got[MIND_MAX_LAYERS + 1];
    sg_glass *glass = NULL;

    if (!n_layers)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "no linear probe reads layers %d to %d, and without one the model's board cannot be edited",
                       how.first, how.last);
    sg_status status = borders_of(&b, m, at, square, to, how, err);
    if (status == SG_OK)
        status = sg_glass_new(&glass, m->model, glass_opts(), err);
    if (status == SG_OK && at->n_edits)
        status = sg_glass_edit(glass, at->n_edits, at->edits, err);
    if (status == SG_OK)
        status = splice_borders(fetch, m, glass, how, &b, err);
    if (status == SG_OK)
        status = sg_glass_find(glass, "logits", &fetch[n_layers], err);
    if (status == SG_OK) {
        const sg_rows rows = {.n_rows = n, .tokens = b.tokens, .lengths = b.lengths};
        const sg_dim dims[] = {n, b.per_row, m->width}, low_dims[] = {n, b.per_row, 1}, at_dims[] = {1, at->n, 1};
        const sg_named_feed feeds[] = {{"what_if.w", sg_tensor_of(SG_F32, 3, dims, b.w)},
                                       {"what_if.v", sg_tensor_of(SG_F32, 3, dims, b.v)},
                                       {"what_if.low", sg_tensor_of(SG_F32, 3, low_dims, b.low)},
                                       {"what_if.at", sg_tensor_of(SG_F32, 3, at_dims, b.at)}};
        const int first = added ? 0 : n_layers, last = next ? n_layers : n_layers - 1;
        status = sg_glass_run(glass, &rows, (int)SG_COUNT_OF(feeds), feeds, last - first + 1, fetch + first,
                              got + first, err);
    }
    for (int i = 0; i < n && status == SG_OK; i++) {
        const sg_dim row = (sg_dim)i * at->n + at->n - 1;
        if (next)
            (void)next_of(m, (const float *)got[n_layers].data + row * got[n_layers].dims[2], next[i]);
        for (int l = 0; l < n_layers && added; l++)
            memcpy(added + ((sg_dim)i * n_layers + l) * m->width, (const float *)got[l].data + row * m->width,
                   (size_t)m->width * sizeof *added);
    }
    sg_glass_free(glass);
    borders_free(&b);
    return status;
}

sg_status mind_what_if(float (*next)[SG_OTHELLO_MAX_SQUARES], mind *m, const mind_case *at, int n, const int *square,
                       const int *to, mind_how how, sg_error *err)
{
    return imagine(next, NULL, m, at, n, 1, square, to, how, err);
}

sg_status mind_set(mind_edits *out, mind *m, const mind_case *at, int n, const int *square, const int *to, mind_how how,
                   sg_error *err)
{
    const int n_layers = n_usable(m, how);
    sg_arena *arena = sg_arena_new();
    *out = (mind_edits){.room = arena};
    out->edits = arena ? sg_arena_array(arena, (size_t)SG_MAX(n_layers, 1), sizeof *out->edits) : NULL;
    sg_span *where = arena ? sg_arena_alloc(arena, sizeof *where) : NULL;
    float *added = arena ? sg_arena_array(arena, (size_t)SG_MAX(n_layers, 1) * (size_t)m->width, sizeof *added) : NULL;
    const sg_status status = out->edits && where && added ? imagine(NULL, added, m, at, 1, n, square, to, how, err)
                                                          : sg_fail(err, SG_ENOMEM, "out of memory for an edit");
    if (status != SG_OK) {
        mind_edits_free(out);
        return status;
    }
    *where = (sg_span){at->n - 1, at->n - 1};
    for (int r = 0; r < m->n_readers; r++) {
        if (!usable(m, r, how))
            continue;
        sg_edit *e = &out->edits[out->n];
        *e = sg_edit_defaults();
        e->site = m->readers[r].site;
        e->op = SG_EDIT_ADD;
        e->value = sg_tensor_of(SG_F32, 1, &m->width, added + out->n * m->width);
        e->positions = (sg_spans){1, where};
        out->n++;
    }
    return SG_OK;
}

void mind_edits_free(mind_edits *e)
{
    sg_arena_free(e->room);
    *e = (mind_edits){0};
}

/* to [D]: as long as from, in a random direction. */
static void turn_randomly(float *to, const float *from, sg_dim width, sg_rng *rng)
{
    double length = 0, drawn = 0;
    for (sg_dim d = 0; d < width; d++) {
        to[d] = (float)sg_rng_normal(rng);
        drawn += (double)to[d] * (double)to[d];
        length += (double)from[d] * (double)from[d];
    }
    for (sg_dim d = 0; d < width; d++)
        to[d] = (float)((double)to[d] * sqrt(length / drawn));
}

sg_status mind_push_randomly(float (*next)[SG_OTHELLO_MAX_SQUARES], mind *m, const mind_case *at, const mind_edits *e,
                             int n, uint64_t seed, sg_error *err)
{
    const int n_all = at->n_edits + n * e->n;
    sg_arena *arena = sg_arena_new();
    sg_edit *edits = arena ? sg_arena_array(arena, (size_t)SG_MAX(n_all, 1), sizeof *edits) : NULL;
    sg_span *rows = arena ? sg_arena_array(arena, (size_t)n, sizeof *rows) : NULL;
    float *pushes = arena ? sg_arena_array(arena, (size_t)(n * e->n + 1), (size_t)m->width * sizeof *pushes) : NULL;
    const int32_t **tokens = arena ? sg_arena_array(arena, (size_t)n, sizeof *tokens) : NULL;
    sg_dim *lengths = arena ? sg_arena_array(arena, (size_t)n, sizeof *lengths) : NULL;
    sg_rng rng = sg_rng_new(seed, 0);
    sg_glass *glass = NULL;
    sg_value *logits = NULL;
    sg_tensor got;

    sg_status status = edits && rows && pushes && tokens && lengths
                           ? sg_glass_new(&glass, m->model, glass_opts(), err)
                           : sg_fail(err, SG_ENOMEM, "out of memory for edits");
    if (status == SG_OK && at->n_edits)
        memcpy(edits, at->edits, (size_t)at->n_edits * sizeof *edits);
    for (int i = 0; i < n && status == SG_OK; i++) {
        rows[i] = (sg_span){i, i};
        tokens[i] = at->tokens;
        lengths[i] = at->n;
        for (int k = 0; k < e->n; k++) {
            float *push = pushes + (i * e->n + k) * m->width;
            turn_randomly(push, e->edits[k].value.data, m->width, &rng);
            sg_edit *one = &edits[at->n_edits + i * e->n + k];
            *one = e->edits[k];
            one->value = sg_tensor_of(SG_F32, 1, &m->width, push);
            one->rows = (sg_spans){1, &rows[i]};
        }
    }
    if (status == SG_OK && n_all)
        status = sg_glass_edit(glass, n_all, edits, err);
    if (status == SG_OK)
        status = sg_glass_find(glass, "logits", &logits, err);
    if (status == SG_OK)
        status = sg_glass_run(glass, &(sg_rows){.n_rows = n, .tokens = tokens, .lengths = lengths}, 0, NULL, 1, &logits,
                              &got, err);
    for (int i = 0; i < n && status == SG_OK; i++)
        (void)next_of(m, (const float *)got.data + ((sg_dim)i * at->n + at->n - 1) * got.dims[2], next[i]);
    sg_glass_free(glass);
    sg_arena_free(arena);
    return status;
}
