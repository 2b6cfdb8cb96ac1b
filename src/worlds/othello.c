/* Othello as a world (Li et al., "Emergent World Representations", 2022): games as sequences of moves, and behind each
 * move the board that no model was shown. Squares are told in two ways: by colour, and by whose they are, of the player
 * who moves next (Nanda, Lee, Wattenberg, 2023) - who is the one who really moves: after a pass the parity of the ply
 * tells otherwise.
 *
 * A game is drawn by playing a legal move at random, all alike, until nobody can move. It depends on (seed, row) alone.
 */
#include "sightglass/othello.h"

#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { SIZE, N_OPTIONS };
enum { TOKENS, COUNTS, MOVER, BOARD_ABS, BOARD_REL, BOARD_PARITY, LEGAL, TURNED, NEXT, N_FIELDS };
enum { EMPTY, FIRST, SECOND };

static const sg_option options[N_OPTIONS] = {
    {"size", SG_OPTION_CHOICE, "8", 0, 0, "4|6|8", "squares a side"},
};

static const sg_world_field fields[N_FIELDS] = {
    [TOKENS] = {"tokens", "[count,time] moves: 1, 2, ... the squares without the four in the middle; 0 after the end"},
    [COUNTS] = {"counts", "[count,time] whether there is a move"},
    [MOVER] = {"mover", "[count,time] who moves after this move: 0 black, 1 white, 2 nobody"},
    [BOARD_ABS] = {"board_abs", "[count,time,squares] after the move: 0 empty, 1 black, 2 white; -1 after the end"},
    [BOARD_REL] = {"board_rel", "[count,time,squares] 0 empty, 1 mine, 2 yours, of who moves next; -1 after the end"},
    [BOARD_PARITY] = {"board_parity", "[count,time,squares] the same, as if colours took turns without passes"},
    [LEGAL] = {"legal", "[count,time,squares] where may be played next; -1 after the end"},
    [TURNED] = {"turned", "[count,time,squares] which squares the move turned; -1 after the end"},
    [NEXT] = {"next", "[count,time,tokens] which tokens may follow"},
};

static int size_of(const double *option)
{
    return 4 + 2 * (int)option[SIZE];
}

static int kth_bit(uint64_t bits, uint32_t k)
{
    while (k--)
        bits &= bits - 1;
    return __builtin_ctzll(bits);
}

static void tokens(int32_t *to, uint8_t *counts, const double *option, sg_dim n_rows, sg_origin from)
{
    const int size = size_of(option), time = sg_othello_max_moves(size);
    for (sg_dim r = 0; r < n_rows; r++, to += time, counts += time) {
        sg_rng g = sg_rng_new(from.seed, from.stream);
        sg_othello o = sg_othello_start(size);
        g.step = from.step + (uint64_t)r;
        memset(to, 0, (size_t)time * sizeof *to);
        memset(counts, 0, (size_t)time);
        for (uint64_t legal; (legal = sg_othello_legal(&o)) != 0;) {
            const int square = kth_bit(legal, sg_rng_below(&g, (uint32_t)__builtin_popcountll(legal)));
            counts[o.n_moves] = 1;
            to[o.n_moves] = sg_othello_token(size, square);
            (void)sg_othello_play(&o, square);
        }
    }
}

static sg_status sequence(sg_dim *n_vocab, sg_dim *time, const double *option, sg_error *err)
{
    (void)err;
    *n_vocab = sg_othello_vocabulary(size_of(option));
    *time = sg_othello_max_moves(size_of(option));
    return SG_OK;
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const int size = size_of(option);
    const sg_dim dims[3] = {count, sg_othello_max_moves(size), sg_othello_squares(size)};
    (void)err;
    for (int f = 0; f < N_FIELDS; f++)
        field[f] = sg_tensor_of(f == COUNTS || f == NEXT ? SG_BOOL : SG_I32, f < BOARD_ABS ? 2 : 3, dims, NULL);
    field[NEXT].dims[2] = sg_othello_vocabulary(size);
    return SG_OK;
}

/* All fields after one move; `turned` 0 after the end. */
static void tell(sg_tensor *field, sg_dim at, const sg_othello *o, uint64_t turned)
{
    const int n = sg_othello_squares(o->size);
    const uint64_t legal = sg_othello_legal(o);
    /* When the game is over the other than who moved last stands for who would move next. */
    const int last = o->disc[0] & turned ? SG_OTHELLO_BLACK : SG_OTHELLO_WHITE;
    const int next = o->mover == SG_OTHELLO_OVER ? !last : o->mover, by_parity = o->n_moves & 1;
    int32_t *out[NEXT];
    uint8_t *follows = (uint8_t *)field[NEXT].data + at * sg_othello_vocabulary(o->size);
    memset(follows, 0, (size_t)sg_othello_vocabulary(o->size));
    for (uint64_t left = turned ? legal : 0; left; left &= left - 1)
        follows[sg_othello_token(o->size, __builtin_ctzll(left))] = 1;
    for (int f = MOVER; f < NEXT; f++)
        out[f] = (int32_t *)field[f].data + (f < BOARD_ABS ? at : at * n);
    *out[MOVER] = o->mover;
    for (int s = 0; s < n; s++) {
        const int black = (int)(o->disc[0] >> s & 1), white = (int)(o->disc[1] >> s & 1);
        const int32_t colour = black ? FIRST : white ? SECOND : EMPTY;
        out[BOARD_ABS][s] = turned ? colour : -1;
        out[BOARD_REL][s] = !turned ? -1 : colour == EMPTY || next == SG_OTHELLO_BLACK ? colour : 3 - colour;
        out[BOARD_PARITY][s] = !turned ? -1 : colour == EMPTY || !by_parity ? colour : 3 - colour;
        out[LEGAL][s] = turned ? (int32_t)(legal >> s & 1) : -1;
        out[TURNED][s] = turned ? (int32_t)(turned >> s & 1) : -1;
    }
}

static sg_status truth(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const int size = size_of(option), time = sg_othello_max_moves(size);
    const int32_t *token = field[TOKENS].data;
    uint8_t *counts = field[COUNTS].data;
    for (sg_dim r = 0; r < count; r++) {
        sg_othello o = sg_othello_start(size);
        bool ended = false;
        for (int t = 0; t < time; t++) {
            const sg_dim at = r * time + t;
            uint64_t turned = 0;
            ended = ended || token[at] == 0;
            if (!ended && (turned = sg_othello_play(&o, sg_othello_square(size, token[at]))) == 0)
                return sg_fail(err, SG_EARG, "othello: game %lld has token %d at move %d, which is no legal move",
                               (long long)r, token[at], t + 1);
            counts[at] = !ended;
            tell(field, at, &o, turned);
        }
    }
    return SG_OK;
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    tokens(field[TOKENS].data, field[COUNTS].data, option, count, from);
    SG_ASSERT(truth(field, option, count, NULL) == SG_OK);
}

/* The moves are the last word of a line: before them may stand a year and a score, as in lists of tournament games. */
static sg_status read_line(int32_t *to, uint8_t *counts, const double *option, const char *line, sg_error *err)
{
    const int size = size_of(option), time = sg_othello_max_moves(size);
    int squares[SG_OTHELLO_MAX_MOVES], n;
    const char *end = line + strlen(line), *word;
    while (end > line && strchr(" \t\r\n", end[-1]))
        end--;
    for (word = end; word > line && !strchr(" \t", word[-1]);)
        word--;
    SG_TRY(sg_othello_read(squares, &n, size, word, err));
    for (int t = 0; t < time; t++) {
        counts[t] = t < n;
        to[t] = t < n ? sg_othello_token(size, squares[t]) : 0;
    }
    return SG_OK;
}

const sg_world sg_world_othello = {
    .name = "othello",
    .help = "games of Othello, each move drawn from the legal ones, with the board behind them",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = N_FIELDS,
    .fields = fields,
    .shape = shape,
    .sample = sample,
    .truth = truth,
    .sequence = sequence,
    .tokens = tokens,
    .read = read_line,
};
