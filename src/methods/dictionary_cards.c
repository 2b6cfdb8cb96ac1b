/* Feature cards: where an atom fires most, how strongly it fires, and which tokens it speaks for. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/dictionary_internal.h"

enum { ROWS = 2048, AT_ONCE = 32 };

typedef struct fired {
    float *values; /* all that are not 0 */
    sg_dim n, room;
    int n_best;
    sg_dim *rows; /* [n_rows] falling */
    float *best;
} fired;

typedef struct work {
    const sg_dict *d;
    const sg_dict_card_opts *opts;
    const sg_dim *atoms;
    int n;
    fired *of;
    sg_dict_card *cards;
    sg_arena *arena;
} work;

sg_dict_card_opts sg_dict_card_defaults(void)
{
    return (sg_dict_card_opts){.n_rows = 8, .apart = 8, .n_logits = 6, .most_rows = 100000, .exec = sg_exec_defaults()};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory for cards");
}

/* Rows come in order, so that what is too near is the last one that was near, if it is among the best. */
static void place(fired *f, int most, sg_dim apart, sg_dim row, float value)
{
    for (int i = 0; i < f->n_best; i++)
        if (row - f->rows[i] < apart) {
            if (f->best[i] >= value)
                return;
            for (; i + 1 < f->n_best; i++) {
                f->rows[i] = f->rows[i + 1];
                f->best[i] = f->best[i + 1];
            }
            f->n_best--;
            break;
        }
    if (f->n_best == most && value <= f->best[most - 1])
        return;
    int at = f->n_best < most ? f->n_best++ : most - 1;
    for (; at > 0 && f->best[at - 1] < value; at--) {
        f->rows[at] = f->rows[at - 1];
        f->best[at] = f->best[at - 1];
    }
    f->rows[at] = row;
    f->best[at] = value;
}

static bool note(fired *f, float value)
{
    if (f->n == f->room) {
        f->room = f->room ? 2 * f->room : 64;
        float *more = realloc(f->values, (size_t)f->room * sizeof *more);
        if (!more)
            return false;
        f->values = more;
    }
    f->values[f->n++] = value;
    return true;
}

static sg_status read_rows(work *w, const sg_dict_data *data, sg_dim n_rows, sg_error *err)
{
    sg_dict_coder *c;
    float *rows = malloc((size_t)(ROWS * w->d->d) * sizeof *rows);

    if (!rows)
        return no_memory(err);
    sg_status status = sg_dict_coder_new(&c, w->d, w->opts->exec, err);
    for (sg_dim first = 0; first < n_rows && status == SG_OK; first += ROWS) {
        const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){SG_MIN(ROWS, n_rows - first), w->d->d}, rows);
        sg_tensor codes;
        if (w->opts->cancel && *w->opts->cancel)
            status = sg_fail(err, SG_ECANCELLED, "dictionary: cancelled");
        if (status == SG_OK)
            status = data->read(data->self, first, x.dims[0], rows, err);
        if (status == SG_OK)
            status = sg_dict_coder_run(c, &x, &codes, NULL, err);
        for (sg_dim i = 0; i < x.dims[0] && status == SG_OK; i++)
            for (int k = 0; k < w->n; k++) {
                const float z = ((const float *)codes.data)[i * w->d->m + w->atoms[k]];
                if (z == 0)
                    continue;
                place(&w->of[k], w->opts->n_rows, w->opts->apart, first + i, z);
                if (!note(&w->of[k], z))
                    status = no_memory(err);
            }
        if (w->opts->progress)
            w->opts->progress(w->opts->context, (double)SG_MIN(first + ROWS, n_rows) / (double)n_rows);
    }
    sg_dict_coder_free(c);
    free(rows);
    return status;
}

static void fill_card(work *w, int k, sg_dim n_rows)
{
    sg_dict_card *card = &w->cards[k];
    const fired *f = &w->of[k];
    double sum = 0;

    card->atom = w->atoms[k];
    card->firing = (double)f->n / (double)n_rows;
    card->n_rows = f->n_best;
    card->rows = f->rows;
    card->values = f->best;
    card->greatest = f->n_best ? (double)f->best[0] : 0;
    for (sg_dim i = 0; i < f->n; i++) {
        const double share = card->greatest > 0 ? (double)f->values[i] / card->greatest : 0;
        sum += (double)f->values[i];
        card->histogram[SG_MAX(0, SG_MIN((int)(share * SG_DICT_BINS), SG_DICT_BINS - 1))]++;
    }
    card->mean = f->n ? sum / (double)f->n : 0;
}

/* ---- which tokens an atom speaks for ---- */

static void top_tokens(int32_t *ids, float *by, int n, const float *logits, const float *zero, sg_dim n_vocab,
                       double sign)
{
    for (int i = 0; i < n; i++)
        by[i] = -INFINITY;
    for (sg_dim v = 0; v < n_vocab; v++) {
        const float own = (float)(sign * ((double)logits[v] - (double)zero[v]));
        if (!(own > by[n - 1]))
            continue;
        int at = n - 1;
        for (; at > 0 && by[at - 1] < own; at--) {
            by[at] = by[at - 1];
            ids[at] = ids[at - 1];
        }
        by[at] = own;
        ids[at] = (int32_t)v;
    }
    for (int i = 0; i < n; i++)
        by[i] *= (float)sign;
}

/* Logits are linear in what the unembedding reads, so an atom is fed there, and what nothing gives is taken off. */
static sg_status speak(work *w, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(w->opts->model);
    const int n_logits = (int)SG_MIN((sg_dim)w->opts->n_logits, info->n_vocab);
    const sg_dim most = SG_MIN((sg_dim)AT_ONCE, info->n_context - 1);
    sg_glass *glass;
    sg_glass_opts how = sg_glass_defaults();
    sg_value *logits = NULL, *end = NULL;

    how.exec = w->opts->exec;
    SG_TRY(sg_glass_new(&glass, w->opts->model, how, err));
    sg_status status = sg_glass_find(glass, "logits", &logits, err);
    if (status == SG_OK)
        status = sg_glass_find(glass, "ln_final.hook_normalized", &end, err);
    if (status == SG_OK && (info->d_model != w->d->d || sg_value_dtype(end) != SG_F32 || most < 1))
        status = sg_fail(err, SG_ESHAPE,
                         "dictionary: its atoms have %" PRId64 " numbers, the unembedding reads %" PRId64
                         ": leave the model out",
                         w->d->d, info->d_model);
    float *fed = malloc((size_t)((most + 1) * w->d->d) * sizeof *fed);
    int32_t tokens[AT_ONCE + 1] = {0};
    const int32_t *row = tokens;
    if (status == SG_OK && !fed)
        status = no_memory(err);
    for (int first = 0; first < w->n && status == SG_OK; first += (int)most) {
        const sg_dim n = SG_MIN(most, (sg_dim)(w->n - first)), time = n + 1;
        memset(fed, 0, (size_t)w->d->d * sizeof *fed);
        for (sg_dim k = 0; k < n; k++)
            memcpy(fed + (k + 1) * w->d->d, (const float *)w->d->dec.data + w->atoms[first + k] * w->d->d,
                   (size_t)w->d->d * sizeof *fed);
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &time};
        const sg_named_feed feed = {"ln_final.hook_normalized",
                                    sg_tensor_of(SG_F32, 3, (sg_dim[]){1, time, w->d->d}, fed)};
        sg_tensor got;
        status = sg_glass_run(glass, &rows, 1, &feed, 1, &logits, &got, err);
        for (sg_dim k = 0; k < n && status == SG_OK; k++) {
            sg_dict_card *card = &w->cards[first + k];
            const float *zero = got.data, *own = zero + (k + 1) * info->n_vocab;
            int32_t *ids = sg_arena_array(w->arena, 2 * (size_t)n_logits + 1, sizeof *ids);
            float *by = sg_arena_array(w->arena, 2 * (size_t)n_logits + 1, sizeof *by);
            if (!ids || !by) {
                status = no_memory(err);
                break;
            }
            top_tokens(ids, by, n_logits, own, zero, info->n_vocab, 1);
            top_tokens(ids + n_logits, by + n_logits, n_logits, own, zero, info->n_vocab, -1);
            card->n_logits = n_logits;
            card->most = ids;
            card->least = ids + n_logits;
            card->most_by = by;
            card->least_by = by + n_logits;
        }
    }
    free(fed);
    sg_glass_free(glass);
    return status;
}

/* Cards lie behind the arena's address, so that they can be freed from their own. */
typedef struct owned {
    sg_arena *arena;
    sg_dict_card cards[];
} owned;

sg_status sg_dict_cards_new(sg_dict_card **out, const sg_dict *d, const sg_dict_data *data, int n, const sg_dim *atoms,
                            sg_dict_card_opts opts, sg_error *err)
{
    *out = NULL;
    if (data->width != d->d)
        return sg_fail(err, SG_ESHAPE, "dictionary: it reads %" PRId64 " numbers, the rows are %" PRId64 " wide", d->d,
                       data->width);
    if (n < 1 || opts.n_rows < 1 || opts.apart < 1 || opts.most_rows < 1 || (opts.model && opts.n_logits < 1))
        return sg_fail(err, SG_EARG, "dictionary: %d cards of %d rows", n, opts.n_rows);
    for (int k = 0; k < n; k++)
        if (atoms[k] < 0 || atoms[k] >= d->m)
            return sg_fail(err, SG_EARG, "dictionary: atom %" PRId64 " of %" PRId64, atoms[k], d->m);
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o + (size_t)n * sizeof o->cards[0]) : NULL;
    work w = {.d = d, .opts = &opts, .atoms = atoms, .n = n, .arena = arena};
    w.of = o ? sg_arena_array(arena, (size_t)n, sizeof *w.of) : NULL;
    sg_status status = w.of ? SG_OK : no_memory(err);
    for (int k = 0; k < n && status == SG_OK; k++) {
        w.of[k].rows = sg_arena_array(arena, (size_t)opts.n_rows, sizeof *w.of[k].rows);
        w.of[k].best = sg_arena_array(arena, (size_t)opts.n_rows, sizeof *w.of[k].best);
        if (!w.of[k].rows || !w.of[k].best)
            status = no_memory(err);
    }
    const sg_dim n_rows = SG_MIN(opts.most_rows, data->n_rows);
    if (status == SG_OK) {
        o->arena = arena;
        w.cards = o->cards;
        status = read_rows(&w, data, n_rows, err);
    }
    for (int k = 0; k < n && status == SG_OK; k++)
        fill_card(&w, k, n_rows);
    if (status == SG_OK && opts.model)
        status = speak(&w, err);
    for (int k = 0; k < n && w.of; k++)
        free(w.of[k].values);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = o->cards;
    return SG_OK;
}

void sg_dict_cards_free(sg_dict_card *cards)
{
    if (cards)
        sg_arena_free(((owned *)(void *)((char *)cards - offsetof(owned, cards)))->arena);
}
