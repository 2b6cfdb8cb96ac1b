/* Counts by sequence, since positions of one sequence are no independent trials. */
#include "sightglass/legality.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Sums over sequences of a number per sequence and of its weight, for the ratio of the two and its deviation. */
typedef struct ratio {
    double x, n, xx, nn, xn;
} ratio;

struct sg_legality {
    sg_legality_opts opts;
    sg_glass *glass;
    sg_value *logits;
    sg_dim n_vocab, n_sequences, n_asked, n_positions;
    ratio top, mass;
    double loss, impossible, tokens;
    double *wrong_at, *asked_at, *by_position; /* [n_positions] */
};

sg_legality_opts sg_legality_defaults(void)
{
    return (sg_legality_opts){.batch = 64, .exec = sg_exec_defaults()};
}

sg_status sg_legality_new(sg_legality **out, const sg_model *m, sg_legality_opts opts, sg_error *err)
{
    *out = NULL;
    sg_legality *l = calloc(1, sizeof *l);
    if (!l)
        return sg_fail(err, SG_ENOMEM, "legality: out of memory");
    l->opts = opts;
    l->n_vocab = sg_model_get_info(m)->n_vocab;
    sg_glass_opts glass = sg_glass_defaults();
    glass.exec = opts.exec;
    sg_status status = sg_glass_new(&l->glass, m, glass, err);
    if (status == SG_OK)
        status = sg_glass_find(l->glass, "logits", &l->logits, err);
    if (status != SG_OK) {
        sg_legality_free(l);
        return status;
    }
    *out = l;
    return SG_OK;
}

void sg_legality_free(sg_legality *l)
{
    if (!l)
        return;
    sg_glass_free(l->glass);
    free(l->wrong_at);
    free(l->asked_at);
    free(l->by_position);
    free(l);
}

static sg_status check(sg_legality *l, const sg_tensor *tokens, const sg_tensor *counts, const sg_tensor *next,
                       sg_error *err)
{
    if (tokens->dtype != SG_I32 || counts->dtype != SG_BOOL || next->dtype != SG_BOOL)
        return sg_fail(err, SG_ETYPE, "legality: wanted tokens i32, counts and next bool");
    if (tokens->n_dims != 2 || counts->n_dims != 2 || next->n_dims != 3 || tokens->dims[0] != counts->dims[0] ||
        tokens->dims[1] != counts->dims[1] || tokens->dims[0] != next->dims[0] || tokens->dims[1] != next->dims[1])
        return sg_fail(err, SG_ESHAPE, "legality: wanted tokens [E,T], counts [E,T] and next [E,T,V] of one E and T");
    if (next->dims[2] > l->n_vocab)
        return sg_fail(err, SG_ESHAPE, "legality: next is of %" PRId64 " tokens, the model has %" PRId64, next->dims[2],
                       l->n_vocab);
    if (l->n_positions && l->n_positions != tokens->dims[1])
        return sg_fail(err, SG_ESHAPE, "legality: sequences of %" PRId64 " tokens, before it were %" PRId64,
                       tokens->dims[1], l->n_positions);
    return SG_OK;
}

static sg_status make_room(sg_legality *l, sg_dim n_positions, sg_error *err)
{
    if (l->n_positions)
        return SG_OK;
    const size_t n = (size_t)n_positions + 1;
    l->wrong_at = calloc(n, sizeof(double));
    l->asked_at = calloc(n, sizeof(double));
    l->by_position = calloc(n, sizeof(double));
    if (!l->wrong_at || !l->asked_at || !l->by_position)
        return sg_fail(err, SG_ENOMEM, "legality: out of memory");
    l->n_positions = n_positions;
    return SG_OK;
}

static void gather(ratio *r, double x, double n)
{
    r->x += x;
    r->n += n;
    r->xx += x * x;
    r->nn += n * n;
    r->xn += x * n;
}

typedef struct seen {
    bool wrong;
    double mass, loss, impossible;
} seen;

/* One position: logits [V], which tokens may follow [V'], which one did. */
static seen look(const sg_legality *l, const float *logits, const uint8_t *next, sg_dim n_next, int32_t followed)
{
    sg_dim best = 0;
    double sum = 0, wrong = 0;
    seen s = {0};
    for (sg_dim v = 1; v < l->n_vocab; v++)
        best = logits[v] > logits[best] ? v : best;
    for (sg_dim v = 0; v < l->n_vocab; v++) {
        const double p = exp((double)logits[v] - (double)logits[best]);
        const bool may = v < n_next && next[v];
        sum += p;
        wrong += may ? 0 : p;
        s.impossible += !may;
    }
    s.wrong = best >= n_next || !next[best];
    s.mass = wrong / sum;
    s.loss = log(sum) - ((double)logits[followed] - (double)logits[best]);
    return s;
}

static sg_status add_batch(sg_legality *l, const int32_t *tokens, const uint8_t *counts, const uint8_t *next,
                           sg_dim n_next, int n, sg_error *err)
{
    enum { MOST = 1024 };
    const int32_t *row[MOST];
    sg_dim length[MOST];
    const sg_dim time = l->n_positions;
    sg_tensor out;
    for (int r = 0; r < n; r++) {
        row[r] = tokens + r * time;
        length[r] = time;
    }
    const sg_rows rows = {.n_rows = n, .tokens = row, .lengths = length};
    SG_TRY(sg_glass_run(l->glass, &rows, 0, NULL, 1, &l->logits, &out, err));
    for (int r = 0; r < n; r++) {
        double wrong = 0, mass = 0, asked = 0;
        for (sg_dim t = 0; t + 1 < time; t++) {
            const sg_dim at = r * time + t;
            if (!counts[at] || !counts[at + 1])
                continue;
            const seen s =
                look(l, (const float *)out.data + at * l->n_vocab, next + at * n_next, n_next, tokens[at + 1]);
            asked++;
            wrong += s.wrong;
            mass += s.mass;
            l->loss += s.loss;
            l->impossible += s.impossible;
            l->wrong_at[t] += s.wrong;
            l->asked_at[t]++;
        }
        gather(&l->top, wrong, asked);
        gather(&l->mass, mass, asked);
        l->n_asked += (sg_dim)asked;
    }
    l->n_sequences += n;
    return SG_OK;
}

sg_status sg_legality_add(sg_legality *l, const sg_tensor *tokens, const sg_tensor *counts, const sg_tensor *next,
                          sg_error *err)
{
    SG_TRY(check(l, tokens, counts, next, err));
    SG_TRY(make_room(l, tokens->dims[1], err));
    const sg_dim batch = SG_MIN(SG_MAX(l->opts.batch, 1), 1024), time = l->n_positions, n_next = next->dims[2];
    for (sg_dim r = 0; r < tokens->dims[0]; r += batch) {
        const int n = (int)SG_MIN(batch, tokens->dims[0] - r);
        SG_TRY(add_batch(l, (const int32_t *)tokens->data + r * time, (const uint8_t *)counts->data + r * time,
                         (const uint8_t *)next->data + r * time * n_next, n_next, n, err));
    }
    return SG_OK;
}

/* The ratio of two sums over sequences, with the usual deviation of such a ratio. */
static sg_share share_of(const ratio *r, sg_dim n_sequences)
{
    const double value = r->x / r->n, m = (double)n_sequences;
    const double squares = r->xx - 2 * value * r->xn + value * value * r->nn;
    const double error = m > 1 ? sqrt(SG_MAX(squares, 0) * m / (m - 1)) / r->n : (double)NAN;
    return (sg_share){value, value - 1.96 * error, value + 1.96 * error};
}

sg_legality_result sg_legality_get(sg_legality *l)
{
    const double asked = (double)l->n_asked;
    for (sg_dim t = 0; t < l->n_positions; t++)
        l->by_position[t] = l->wrong_at[t] / l->asked_at[t];
    return (sg_legality_result){.n_sequences = l->n_sequences,
                                .n_asked = l->n_asked,
                                .top = share_of(&l->top, l->n_sequences),
                                .mass = share_of(&l->mass, l->n_sequences),
                                .loss = l->loss / asked,
                                .uniform = l->impossible / (asked * (double)l->n_vocab),
                                .n_positions = l->n_positions,
                                .by_position = l->by_position};
}
