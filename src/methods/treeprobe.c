/* Structural probes: trees as squared distances under a linear map, trained as a small graph; see treeprobe.h. */
#include "sightglass/treeprobe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/shuffle.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"
#include "sightglass/train.h"

enum { SHORTEST = 5, LONGEST = 50 }; /* sentences that are judged by correlation */
enum { STREAM_RANDOM = 0x74726565, STREAM_PERMUTE = 0x74726566 };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "treeprobe: out of memory");
}

/* ---- trees ---- */

static sg_dim length_of(const sg_trees *t, sg_dim s)
{
    return t->first[s + 1] - t->first[s];
}

sg_status sg_trees_check(const sg_trees *t, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (t->acts.n_dims != 2 || t->acts.dims[1] < 1 || !sg_dtype_is_float(t->acts.dtype))
        return sg_fail(err, SG_ESHAPE, "treeprobe: activations are %s %s, wanted [N,D] of floats",
                       sg_dtype_name(t->acts.dtype), sg_shape_text(shape, t->acts.n_dims, t->acts.dims));
    if (t->n_sentences < 1 || t->first[0] != 0 || t->first[t->n_sentences] != t->acts.dims[0])
        return sg_fail(err, SG_ESHAPE, "treeprobe: sentences do not cover the %lld rows", (long long)t->acts.dims[0]);
    for (sg_dim s = 0; s < t->n_sentences; s++) {
        const sg_dim n = length_of(t, s);
        int roots = 0;
        if (n < 1)
            return sg_fail(err, SG_EARG, "treeprobe: sentence %lld has no words", (long long)s);
        for (sg_dim i = 0; i < n; i++) {
            const int32_t head = t->head[t->first[s] + i];
            roots += head == -1;
            if (head < -1 || head >= n || head == i)
                return sg_fail(err, SG_EARG, "treeprobe: sentence %lld: word %lld has the head %d, of %lld words",
                               (long long)s, (long long)i, head, (long long)n);
            sg_dim steps = 0;
            for (int32_t at = (int32_t)i; at != -1 && steps <= n; steps++)
                at = t->head[t->first[s] + at] < n ? t->head[t->first[s] + at] : -1;
            if (steps > n)
                return sg_fail(err, SG_EARG, "treeprobe: sentence %lld: the heads above word %lld go in a circle",
                               (long long)s, (long long)i);
        }
        if (roots != 1)
            return sg_fail(err, SG_EARG, "treeprobe: sentence %lld has %d roots", (long long)s, roots);
    }
    return SG_OK;
}

/* From each word up to the root; where two ways meet first their lengths are the distance. */
sg_status sg_trees_distances(int32_t *links, const sg_trees *t, sg_dim sentence, sg_error *err)
{
    const sg_dim n = length_of(t, sentence);
    const int32_t *head = t->head + t->first[sentence];
    int32_t *above = malloc(sizeof *above * (size_t)n);
    if (!above)
        return no_memory(err);
    for (sg_dim i = 0; i < n; i++) {
        for (sg_dim k = 0; k < n; k++)
            above[k] = -1;
        int32_t steps = 0;
        for (int32_t at = (int32_t)i; at != -1; at = head[at])
            above[at] = steps++;
        for (sg_dim j = 0; j < n; j++) {
            int32_t at = (int32_t)j, more = 0;
            for (; above[at] < 0; at = head[at])
                more++;
            links[i * n + j] = above[at] + more;
        }
    }
    free(above);
    return SG_OK;
}

sg_status sg_trees_permute(int32_t *to, const sg_trees *t, uint64_t seed, sg_error *err)
{
    sg_dim *of = malloc(sizeof *of * (size_t)t->n_sentences); /* whose heads sentence s gets */
    bool *done = calloc((size_t)t->n_sentences, sizeof *done);
    sg_dim *group = malloc(sizeof *group * (size_t)t->n_sentences);
    const bool good = of && done && group;
    sg_rng r = sg_rng_new(seed, STREAM_PERMUTE);
    for (sg_dim s = 0; good && s < t->n_sentences; s++) {
        sg_dim n = 0;
        if (done[s])
            continue;
        for (sg_dim k = s; k < t->n_sentences; k++)
            if (length_of(t, k) == length_of(t, s)) {
                group[n++] = k;
                done[k] = true;
            }
        /* One round through all (Sattolo 1986): no sentence of two or more keeps its own. */
        for (sg_dim k = 0; k < n; k++)
            of[group[k]] = group[k];
        for (sg_dim k = n - 1; k > 0; k--) {
            const sg_dim other = (sg_dim)sg_rng_below(&r, (uint32_t)k), kept = of[group[k]];
            of[group[k]] = of[group[other]];
            of[group[other]] = kept;
        }
    }
    for (sg_dim s = 0; good && s < t->n_sentences; s++)
        memcpy(to + t->first[s], t->head + t->first[of[s]], sizeof *to * (size_t)length_of(t, s));
    free(of);
    free(done);
    free(group);
    return good ? SG_OK : no_memory(err);
}

/* ---- probes ---- */

sg_treeprobe_opts sg_treeprobe_defaults(void)
{
    return (sg_treeprobe_opts){.rank = 64, .epochs = 40, .batch = 20, .lr = 1e-3, .exec = sg_exec_defaults()};
}

static sg_status new_probe(sg_treeprobe **out, sg_dim width, sg_dim rank, sg_error *err)
{
    *out = NULL;
    if (rank < 1 || rank > width)
        return sg_fail(err, SG_EARG, "treeprobe: rank %lld of %lld components", (long long)rank, (long long)width);
    sg_treeprobe *p = calloc(1, sizeof *p);
    if (p)
        *p = (sg_treeprobe){width, rank, calloc((size_t)(rank * width), sizeof *p->b)};
    if (!p || !p->b) {
        sg_treeprobe_free(p);
        return no_memory(err);
    }
    *out = p;
    return SG_OK;
}

void sg_treeprobe_free(sg_treeprobe *p)
{
    if (!p)
        return;
    free(p->b);
    free(p);
}

sg_status sg_treeprobe_random(sg_treeprobe **out, sg_dim width, sg_dim rank, uint64_t seed, sg_error *err)
{
    SG_TRY(new_probe(out, width, rank, err));
    sg_rng r = sg_rng_new(seed, STREAM_RANDOM);
    for (sg_dim i = 0; i < rank * width; i++)
        (*out)->b[i] = (float)(sg_rng_normal(&r) / sqrt((double)width));
    return SG_OK;
}

/* ---- training ---- */

/* Batches of sentences, filled up to the longest: activations, distances, and 1 / n^2 where there are words. */
typedef struct sentences {
    const sg_trees *t;
    sg_shuffle order;
    sg_dim *which; /* those of two words or more */
    sg_dim n, longest;
    int32_t *links; /* [longest,longest] */
} sentences;

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    sentences *s = self;
    const sg_dim rows = field[0].dims[0], width = field[0].dims[2], most = s->longest;
    for (int f = 0; f < 3; f++)
        memset(field[f].data, 0, sg_tensor_bytes(&field[f]));
    for (sg_dim r = 0; r < rows; r++) {
        const sg_dim at = batch * rows + r, which = s->which[sg_shuffle_at(&s->order, at / s->n, at % s->n)];
        const sg_dim n = length_of(s->t, which), first = s->t->first[which];
        sg_convert((float *)field[0].data + r * most * width, SG_F32,
                   (const char *)s->t->acts.data + (size_t)(first * width) * sg_dtype_bytes(s->t->acts.dtype),
                   s->t->acts.dtype, n * width);
        SG_TRY(sg_trees_distances(s->links, s->t, which, err));
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = 0; j < n; j++) {
                const sg_dim to = (r * most + i) * most + j;
                ((float *)field[1].data)[to] = (float)s->links[i * n + j];
                ((float *)field[2].data)[to] = (float)(1 / ((double)n * (double)n));
            }
    }
    return SG_OK;
}

static sg_status open_sentences(sentences *s, const sg_trees *t, uint64_t seed, sg_error *err)
{
    *s = (sentences){.t = t, .which = malloc(sizeof *s->which * (size_t)t->n_sentences)};
    if (!s->which)
        return no_memory(err);
    for (sg_dim k = 0; k < t->n_sentences; k++)
        if (length_of(t, k) > 1) {
            s->which[s->n++] = k;
            s->longest = SG_MAX(s->longest, length_of(t, k));
        }
    if (s->n < 1)
        return sg_fail(err, SG_EARG, "treeprobe: no sentence has two words");
    s->links = malloc(sizeof *s->links * (size_t)(s->longest * s->longest));
    s->order = sg_shuffle_new(seed, s->n);
    return s->links ? SG_OK : no_memory(err);
}

typedef struct told {
    const sg_treeprobe_opts *opts;
} told;

static void tell(void *context, const sg_train_progress *at)
{
    const told *t = context;
    if (t->opts->progress)
        t->opts->progress(t->opts->context, (double)at->step / (double)SG_MAX(at->n_steps, 1));
}

/* d_B from products: |h_i|^2 + |h_j|^2 - 2 h_i . h_j */
static sg_value *loss_of(sg_graph *g, sg_value *x, sg_value *links, sg_value *weight, sg_value *b, sg_dim batch)
{
    sg_value *h = sg_linear(g, x, b, NULL);                  /* [S,T,rank] */
    sg_value *square = sg_sum(g, sg_square(g, h), 2, false); /* [S,T] */
    sg_value *both = sg_matmul(g, h, h, false, true);        /* [S,T,T] */
    sg_value *far = sg_sub(g, sg_add(g, sg_expand(g, square, 2), sg_expand(g, square, 1)), sg_mul_scalar(g, both, 2));
    sg_value *off = sg_mul(g, sg_abs(g, sg_sub(g, links, far)), weight);
    return sg_mul_scalar(g, sg_sum_all(g, off), 1 / (double)batch);
}

static sg_status train(sg_treeprobe *p, sentences *s, const sg_treeprobe_opts *opts, sg_graph *g, sg_error *err)
{
    const sg_dim batch = SG_MIN(opts->batch, s->n), most = s->longest;
    const sg_dim wide[3] = {batch, most, p->width}, square[3] = {batch, most, most};
    sg_source source = {.n_fields = 3, .fill = fill, .self = s};
    source.field[0] = sg_tensor_of(SG_F32, 3, wide, NULL);
    source.field[1] = source.field[2] = sg_tensor_of(SG_F32, 3, square, NULL);
    sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL);
    sg_value *in[3] = {sg_input(g, "x", SG_F32, 3, wide), sg_input(g, "links", SG_F32, 3, square),
                       sg_input(g, "weight", SG_F32, 3, square)};
    sg_value *b = sg_variable(g, "b", SG_F32, 2, (sg_dim[]){p->rank, p->width},
                              sg_init_uniform(-.05, .05)); /* as Hewitt & Manning begin */
    sg_value *loss = loss_of(g, in[0], in[1], in[2], b, batch), *updates[1];
    sg_train_adam(g, loss, 1, &b, lr, step, sg_adam_defaults(), updates);
    SG_TRY(sg_graph_status(g, err));
    sg_state *state;
    sg_train *t = NULL;
    told context = {opts};
    sg_train_opts how = sg_train_defaults();
    how.lr = opts->lr;
    how.source = &source;
    how.progress = tell;
    how.context = &context;
    how.cancel = opts->cancel;
    how.exec = opts->exec;
    SG_TRY(sg_state_new(&state, g, err));
    sg_status status = sg_state_init(state, opts->seed, err);
    const sg_train_graph what = {
        .step = step, .lr = lr, .loss = loss, .n_updates = 1, .updates = updates, .n_inputs = 3, .inputs = in};
    if (status == SG_OK)
        status = sg_train_new(&t, g, state, what, how, err);
    if (status == SG_OK)
        status = sg_train_run(t, SG_MAX(1, opts->epochs * s->n / batch), err);
    if (status == SG_OK)
        memcpy(p->b, sg_state_tensor(state, b)->data, sizeof *p->b * (size_t)(p->rank * p->width));
    sg_train_free(t);
    sg_state_free(state);
    return status;
}

sg_status sg_treeprobe_fit(sg_treeprobe **out, const sg_trees *t, sg_treeprobe_opts opts, sg_error *err)
{
    sentences s = {.n = 0};
    *out = NULL;
    SG_TRY(sg_trees_check(t, err));
    if (opts.epochs < 1 || opts.batch < 1 || !(opts.lr > 0))
        return sg_fail(err, SG_EARG, "treeprobe: %lld epochs of batches of %lld at a rate of %g",
                       (long long)opts.epochs, (long long)opts.batch, opts.lr);
    SG_TRY(new_probe(out, t->acts.dims[1], opts.rank, err));
    sg_graph *g = sg_graph_new();
    sg_status status = g ? open_sentences(&s, t, opts.seed, err) : no_memory(err);
    if (status == SG_OK)
        status = train(*out, &s, &opts, g, err);
    sg_graph_free(g);
    free(s.which);
    free(s.links);
    if (status != SG_OK) {
        sg_treeprobe_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- judging ---- */

sg_status sg_spanning_tree(int32_t *up, const double *far, sg_dim n, sg_error *err)
{
    double *best = malloc(sizeof *best * (size_t)SG_MAX(n, 1));
    bool *in = calloc((size_t)SG_MAX(n, 1), sizeof *in);
    const bool good = best && in;
    for (sg_dim i = 0; good && i < n; i++) {
        best[i] = i == 0 ? -1 : (double)INFINITY;
        up[i] = -1;
    }
    for (sg_dim round = 0; good && round < n; round++) {
        sg_dim at = -1;
        for (sg_dim i = 0; i < n; i++)
            if (!in[i] && (at < 0 || best[i] < best[at]))
                at = i;
        in[at] = true;
        for (sg_dim i = 0; i < n; i++)
            if (!in[i] && far[at * n + i] < best[i]) {
                best[i] = far[at * n + i];
                up[i] = (int32_t)at;
            }
    }
    free(best);
    free(in);
    return good ? SG_OK : no_memory(err);
}

/* Squared distances of a sentence's words under the map. */
static void distances(double *far, double *h, const sg_treeprobe *p, const sg_trees *t, sg_dim s)
{
    const sg_dim n = length_of(t, s), d = p->width;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim r = 0; r < p->rank; r++) {
            double sum = 0;
            for (sg_dim c = 0; c < d; c++)
                sum += (double)p->b[r * d + c] * sg_tensor_get(&t->acts, (t->first[s] + i) * d + c);
            h[i * p->rank + r] = sum;
        }
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < n; j++) {
            double sum = 0;
            for (sg_dim r = 0; r < p->rank; r++)
                sum += (h[i * p->rank + r] - h[j * p->rank + r]) * (h[i * p->rank + r] - h[j * p->rank + r]);
            far[i * n + j] = sum;
        }
}

typedef struct tally {
    double by_length[2][LONGEST + 1]; /* sums over sentences of a length: probe, position */
    sg_dim count[LONGEST + 1], right, chained, links;
} tally;

typedef struct room {
    double *far, *apart, *truth, *one, *h;
    int32_t *links, *up;
} room;

/* Spearman's correlation of the distances from a word to the others, a mean over words. Its distance to itself is 0 in
 * both and no news. */
static sg_status correlate(double *out, const double *far, const room *m, sg_dim n, sg_error *err)
{
    double sum = 0;
    sg_dim count = 0;
    for (sg_dim i = 0; i < n; i++) {
        double one;
        sg_dim others = 0;
        for (sg_dim j = 0; j < n; j++) {
            if (j == i)
                continue;
            m->truth[others] = m->links[i * n + j];
            m->one[others++] = far[i * n + j];
        }
        SG_TRY(sg_stats_spearman(&one, others, m->one, m->truth, err));
        if (isfinite(one)) {
            sum += one;
            count++;
        }
    }
    *out = count > 0 ? sum / (double)count : 0;
    return SG_OK;
}

static sg_status judge(tally *y, const sg_treeprobe *p, const sg_trees *t, sg_dim s, const room *m, sg_error *err)
{
    const sg_dim n = length_of(t, s);
    const int32_t *head = t->head + t->first[s];
    SG_TRY(sg_trees_distances(m->links, t, s, err));
    distances(m->far, m->h, p, t, s);
    SG_TRY(sg_spanning_tree(m->up, m->far, n, err));
    for (sg_dim i = 0; i < n; i++) {
        if (m->up[i] >= 0) {
            y->right += head[i] == m->up[i] || head[m->up[i]] == i;
            y->links++;
        }
        y->chained += i > 0 && (head[i] == i - 1 || head[i - 1] == i);
    }
    if (n < SHORTEST || n > LONGEST)
        return SG_OK;
    double one;
    SG_TRY(correlate(&one, m->far, m, n, err));
    y->by_length[0][n] += one;
    for (sg_dim i = 0; i < n * n; i++)
        m->apart[i] = fabs((double)(i / n - i % n));
    SG_TRY(correlate(&one, m->apart, m, n, err));
    y->by_length[1][n] += one;
    y->count[n]++;
    return SG_OK;
}

sg_status sg_treeprobe_judge(sg_treeprobe_score *out, const sg_treeprobe *p, const sg_trees *t, sg_error *err)
{
    *out = (sg_treeprobe_score){(double)NAN, (double)NAN, (double)NAN, (double)NAN, 0};
    SG_TRY(sg_trees_check(t, err));
    if (t->acts.dims[1] != p->width)
        return sg_fail(err, SG_ESHAPE, "treeprobe: a probe of %lld components and activations of %lld",
                       (long long)p->width, (long long)t->acts.dims[1]);
    size_t most = 1;
    for (sg_dim s = 0; s < t->n_sentences; s++)
        most = SG_MAX(most, (size_t)length_of(t, s));
    room m = {.far = malloc(sizeof(double) * most * most),
              .apart = malloc(sizeof(double) * most * most),
              .truth = malloc(sizeof(double) * most),
              .one = malloc(sizeof(double) * most),
              .h = malloc(sizeof(double) * most * (size_t)p->rank),
              .links = malloc(sizeof(int32_t) * most * most),
              .up = malloc(sizeof(int32_t) * most)};
    tally y = {.right = 0};
    sg_status status = m.far && m.apart && m.truth && m.one && m.h && m.links && m.up ? SG_OK : no_memory(err);
    for (sg_dim s = 0; status == SG_OK && s < t->n_sentences; s++)
        status = judge(&y, p, t, s, &m, err);
    if (status == SG_OK) {
        double sum[2] = {0, 0};
        int lengths = 0;
        for (int n = SHORTEST; n <= LONGEST; n++) {
            if (y.count[n] == 0)
                continue;
            for (int k = 0; k < 2; k++)
                sum[k] += y.by_length[k][n] / (double)y.count[n];
            lengths++;
            out->n_sentences += y.count[n];
        }
        out->spearman = lengths ? sum[0] / lengths : (double)NAN;
        out->by_position = lengths ? sum[1] / lengths : (double)NAN;
        out->attached = y.links ? (double)y.right / (double)y.links : (double)NAN;
        out->chain = y.links ? (double)y.chained / (double)y.links : (double)NAN;
    }
    free(m.far);
    free(m.apart);
    free(m.truth);
    free(m.one);
    free(m.h);
    free(m.links);
    free(m.up);
    return status;
}
