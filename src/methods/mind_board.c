/* Boards as the mover sees them, and a model's bets judged on them. */
#include <string.h>

#include "methods/mind_internal.h"

void sg_mind_held(int *held, const sg_othello *o, int mover)
{
    for (int q = 0; q < sg_othello_squares(o->size); q++)
        held[q] = o->disc[mover] >> q & 1 ? SG_MIND_MINE : o->disc[!mover] >> q & 1 ? SG_MIND_YOURS : SG_MIND_EMPTY;
}

int sg_mind_mover(const sg_othello *o, int last)
{
    if (o->mover != SG_OTHELLO_OVER)
        return o->mover;
    return last < 0 ? SG_OTHELLO_BLACK : (o->disc[SG_OTHELLO_BLACK] >> last & 1 ? SG_OTHELLO_WHITE : SG_OTHELLO_BLACK);
}

uint64_t sg_mind_legal(int size, const int *held)
{
    uint64_t own = 0, other = 0;
    for (int q = 0; q < sg_othello_squares(size); q++) {
        own |= (uint64_t)(held[q] == SG_MIND_MINE) << q;
        other |= (uint64_t)(held[q] == SG_MIND_YOURS) << q;
    }
    return sg_othello_moves_on(size, own, other);
}

uint64_t sg_mind_lines(int size, const int *held, int move)
{
    uint64_t lines = 0;
    if (held[move] != SG_MIND_EMPTY)
        return 0;
    for (int d = 0; d < 9; d++) {
        const int across = d % 3 - 1, down = d / 3 - 1;
        int column = move % size + across, row = move / size + down;
        uint64_t line = 0;
        for (; d != 4 && column >= 0 && column < size && row >= 0 && row < size; column += across, row += down) {
            const int q = row * size + column;
            if (held[q] == SG_MIND_EMPTY)
                break;
            if (held[q] == SG_MIND_MINE) {
                lines |= line ? line | UINT64_C(1) << q : 0;
                break;
            }
            line |= UINT64_C(1) << q;
        }
    }
    return lines;
}

void sg_mind_compare(sg_mind_belief *out, int size, float (*belief)[SG_MIND_N_CLASSES], const int *held)
{
    memset(out, 0, sizeof *out);
    for (int q = 0; q < sg_othello_squares(size); q++) {
        const int c = sg_mind_likeliest(belief[q]);
        out->c[q] = c;
        out->sure[q] = belief[q][c];
        out->n_right += c == held[q];
        out->n_discs += held[q] != SG_MIND_EMPTY;
        out->n_discs_right += held[q] != SG_MIND_EMPTY && c == held[q];
    }
}

void sg_mind_judge(sg_mind_bets *out, int size, uint64_t legal, const float next[SG_OTHELLO_MAX_SQUARES])
{
    memset(out, 0, sizeof *out);
    out->n_legal = __builtin_popcountll(legal);
    for (int q = 0; q < sg_othello_squares(size); q++) {
        if (sg_othello_token(size, q) < 0)
            continue;
        int at = out->n++;
        for (; at > 0 && next[out->order[at - 1]] < next[q]; at--)
            out->order[at] = out->order[at - 1];
        out->order[at] = q;
        out->mass += legal >> q & 1 ? (double)next[q] : 0;
    }
    for (int i = 0; i < out->n_legal; i++)
        out->n_wrong += !(legal >> out->order[i] & 1);
}
