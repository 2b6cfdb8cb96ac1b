/* What an edit does on an Othello board: a disc turns, a square is emptied, or a square becomes legal or stops being
 * so, and with it the set of legal moves of who is to move. The error of an output is that of the papers (Li et al.
 * 2022): of as many top moves as there are legal ones, those that are not legal, and the legal ones that are missing.
 */
#include <string.h>

#include "methods/worldmodel_internal.h"
#include "sightglass/othello.h"

/* The game up to a row. */
static sg_othello game_at(const sg_wm_board *b, sg_dim row)
{
    const sg_dim time = b->data->tokens.dims[1];
    const int32_t *token = (const int32_t *)b->data->tokens.data + b->rows[row].episode * time;
    sg_othello o = sg_othello_start(b->data->board);
    for (int32_t t = 0; t <= b->rows[row].position; t++)
        (void)sg_othello_play(&o, sg_othello_square(o.size, token[t]));
    return o;
}

/* The legal moves once `square` has been changed. */
static uint64_t legal_after(const sg_othello *o, sg_state_kind kind, sg_dim square)
{
    const uint64_t bit = UINT64_C(1) << square;
    uint64_t own = o->disc[o->mover], other = o->disc[!o->mover];
    if (kind == SG_STATE_LEGAL)
        return sg_othello_legal(o) ^ bit;
    if (kind == SG_STATE_EMPTY) {
        own &= ~bit;
        other &= ~bit;
    } else {
        own ^= bit;
        other ^= bit;
    }
    return sg_othello_moves_on(o->size, own, other);
}

static bool choose(void *self, sg_worldmodel_edit *e, sg_rng *r)
{
    const sg_wm_board *b = self;
    const sg_othello o = game_at(b, e->row);
    const int n = sg_othello_squares(o.size);
    const uint64_t filled = o.disc[0] | o.disc[1];
    int fit[SG_OTHELLO_MAX_SQUARES], n_fit = 0;
    if (o.mover == SG_OTHELLO_OVER)
        return false;
    for (int s = 0; s < n; s++) {
        const bool candidate =
            b->data->kind == SG_STATE_LEGAL ? sg_othello_token(o.size, s) > 0 && !(filled >> s & 1) : filled >> s & 1;
        if (!candidate)
            continue;
        const uint64_t after = legal_after(&o, b->data->kind, s);
        if (after && after != sg_othello_legal(&o)) /* a change that the moves do not show is not asked about */
            fit[n_fit++] = s;
    }
    if (!n_fit)
        return false;
    e->task = fit[sg_rng_below(r, (uint32_t)n_fit)];
    e->from = ((const int32_t *)b->state->data)[e->row * n + e->task];
    e->to = b->data->kind == SG_STATE_DISCS ? 3 - e->from : 1 - e->from;
    return e->from >= 0;
}

static double error(void *self, const sg_worldmodel_edit *e, const float *output)
{
    const sg_wm_board *b = self;
    const sg_othello o = game_at(b, e->row);
    const uint64_t legal = legal_after(&o, b->data->kind, e->task);
    const int n = __builtin_popcountll(legal);
    uint64_t predicted = 0;
    for (int k = 0; k < n; k++) {
        int best = -1;
        for (int s = 0; s < sg_othello_squares(o.size); s++) {
            const int token = sg_othello_token(o.size, s);
            if (token > 0 && !(predicted >> s & 1) &&
                (best < 0 || output[token] > output[sg_othello_token(o.size, best)]))
                best = s;
        }
        predicted |= UINT64_C(1) << best;
    }
    return __builtin_popcountll(predicted ^ legal);
}

sg_worldmodel_effect sg_wm_board_effect(sg_wm_board *self)
{
    return (sg_worldmodel_effect){
        .measure = "squares wrong in the predicted set of legal moves", .self = self, .choose = choose, .error = error};
}
