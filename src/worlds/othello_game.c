/* Moves by filling lines of bits: in each of the eight directions the other's discs that lie in a line with own ones
 * are gathered for all own discs at once. A shift sideways never wraps, because only discs off the first and the last
 * column are gathered in it; what leaves the board above or below falls to `board`. */
#include <string.h>

#include "base/base.h"
#include "sightglass/othello.h"

typedef struct geometry {
    int step[4];     /* bits from a square to the next: right, down, down left, down right */
    uint64_t board;  /* the squares that there are */
    uint64_t inside; /* those off the first and the last column */
    int reach;       /* most discs that a line can turn */
} geometry;

static const geometry *geometry_of(int size)
{
    static const geometry of4 = {{1, 4, 3, 5}, UINT64_C(0xffff), UINT64_C(0x6666), 2};
    static const geometry of6 = {{1, 6, 5, 7}, UINT64_C(0xfffffffff), UINT64_C(0x79e79e79e), 4};
    static const geometry of8 = {{1, 8, 7, 9}, ~UINT64_C(0), UINT64_C(0x7e7e7e7e7e7e7e7e), 6};
    SG_ASSERT(size == 4 || size == 6 || size == 8);
    return size == 4 ? &of4 : size == 6 ? &of6 : &of8;
}

static uint64_t middle(int size)
{
    const int upper_left = (size / 2 - 1) * size + size / 2 - 1;
    return UINT64_C(3) << upper_left | UINT64_C(3) << (upper_left + size);
}

sg_othello sg_othello_start(int size)
{
    const int upper_left = (size / 2 - 1) * size + size / 2 - 1;
    const uint64_t black = UINT64_C(1) << (upper_left + 1) | UINT64_C(1) << (upper_left + size);
    return (sg_othello){.size = size, .disc = {black, middle(size) ^ black}};
}

static uint64_t moves_on(const geometry *b, uint64_t own, uint64_t other)
{
    const uint64_t inside = other & b->inside;
    uint64_t moves = 0;
    for (int d = 0; d < 4; d++) {
        const int s = b->step[d];
        const uint64_t through = d == 1 ? other : inside;
        uint64_t up = through & own << s, down = through & own >> s;
        for (int i = 1; i < b->reach; i++) {
            up |= through & up << s;
            down |= through & down >> s;
        }
        moves |= up << s | down >> s;
    }
    return moves & b->board & ~(own | other);
}

uint64_t sg_othello_moves_on(int size, uint64_t own, uint64_t other)
{
    return moves_on(geometry_of(size), own, other);
}

uint64_t sg_othello_legal(const sg_othello *o)
{
    return o->mover == SG_OTHELLO_OVER ? 0 : moves_on(geometry_of(o->size), o->disc[o->mover], o->disc[!o->mover]);
}

uint64_t sg_othello_turned(const sg_othello *o, int square)
{
    if (o->mover == SG_OTHELLO_OVER || square < 0 || square >= sg_othello_squares(o->size))
        return 0;
    const geometry *b = geometry_of(o->size);
    const uint64_t own = o->disc[o->mover], other = o->disc[!o->mover], at = UINT64_C(1) << square;
    if ((own | other) & at)
        return 0;
    uint64_t turned = 0;
    for (int d = 0; d < 4; d++) {
        const int s = b->step[d];
        const uint64_t through = d == 1 ? other : other & b->inside;
        uint64_t up = through & at << s, down = through & at >> s;
        for (int i = 1; i < b->reach; i++) {
            up |= through & up << s;
            down |= through & down >> s;
        }
        turned |= up << s & own ? up : 0;
        turned |= down >> s & own ? down : 0;
    }
    return turned;
}

uint64_t sg_othello_play(sg_othello *o, int square)
{
    const uint64_t turned = sg_othello_turned(o, square);
    if (!turned)
        return 0;
    const geometry *b = geometry_of(o->size);
    const int mover = o->mover;
    o->disc[mover] |= turned | UINT64_C(1) << square;
    o->disc[!mover] &= ~turned;
    o->n_moves++;
    o->mover = moves_on(b, o->disc[!mover], o->disc[mover])   ? !mover
               : moves_on(b, o->disc[mover], o->disc[!mover]) ? mover
                                                              : SG_OTHELLO_OVER;
    return turned;
}

/* Here a pass is a move, so `mover` may be one who cannot play. */
static uint64_t count(const geometry *b, uint64_t own, uint64_t other, int size, int depth)
{
    if (depth == 0)
        return 1;
    const uint64_t moves = moves_on(b, own, other);
    if (!moves)
        return moves_on(b, other, own) ? count(b, other, own, size, depth - 1) : 1;
    if (depth == 1)
        return (uint64_t)__builtin_popcountll(moves);
    uint64_t sum = 0;
    for (uint64_t left = moves; left; left &= left - 1) {
        const sg_othello o = {.size = size, .disc = {own, other}};
        const int square = __builtin_ctzll(left);
        const uint64_t turned = sg_othello_turned(&o, square);
        sum += count(b, other & ~turned, own | turned | UINT64_C(1) << square, size, depth - 1);
    }
    return sum;
}

uint64_t sg_othello_perft(const sg_othello *o, int depth)
{
    if (o->mover == SG_OTHELLO_OVER)
        return 1;
    return count(geometry_of(o->size), o->disc[o->mover], o->disc[!o->mover], o->size, depth);
}

/* ---- tokens and names ---- */

int sg_othello_token(int size, int square)
{
    if (square < 0 || square >= sg_othello_squares(size) || middle(size) >> square & 1)
        return -1;
    return 1 + square - __builtin_popcountll(middle(size) & ((UINT64_C(1) << square) - 1));
}

int sg_othello_square(int size, int token)
{
    const int upper_left = (size / 2 - 1) * size + size / 2 - 1;
    if (token < 1 || token >= sg_othello_vocabulary(size))
        return -1;
    const int square = token - 1;
    return square < upper_left ? square : square < upper_left + size - 2 ? square + 2 : square + 4;
}

const char *sg_othello_name(int size, int square, char buf[4])
{
    buf[0] = (char)('a' + square % size);
    buf[1] = (char)('1' + square / size);
    buf[2] = 0;
    return buf;
}

int sg_othello_parse(int size, const char *text)
{
    const int column = (text[0] | 0x20) - 'a', row = column >= 0 && column < size ? text[1] - '1' : -1;
    return row >= 0 && row < size ? row * size + column : -1;
}

sg_status sg_othello_read(int *squares, int *n, int size, const char *text, sg_error *err)
{
    sg_othello o = sg_othello_start(size);
    *n = 0;
    for (const char *at = text; *(at += strspn(at, " \t\r\n,;")); at += 2) {
        const int square = sg_othello_parse(size, at);
        const char *colour = o.mover == SG_OTHELLO_BLACK ? "black" : "white";
        if (square < 0)
            return sg_fail(err, SG_EFORMAT, "move %d is \"%.2s\", wanted a square a1 to %c%c", *n + 1, at,
                           'a' + size - 1, '0' + size);
        if (o.mover == SG_OTHELLO_OVER)
            return sg_fail(err, SG_EFORMAT, "move %d is %.2s, but the game was over", *n + 1, at);
        if (!sg_othello_play(&o, square))
            return sg_fail(err, SG_EFORMAT, "move %d is %.2s, which %s may not play", *n + 1, at, colour);
        squares[(*n)++] = square;
    }
    return SG_OK;
}
