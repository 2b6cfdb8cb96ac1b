/* Boards to be changed inside a model: drawn with a proof of what they are, or read from a file. */
#include "sightglass/othello_cases.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/bootstrap.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { MARGIN = 4 }; /* plies at both ends of a game that are left out: they are nearly forced */

const char *sg_othello_case_kind_name(sg_othello_case_kind kind)
{
    static const char *const names[SG_OTHELLO_N_CASE_KINDS] = {"turned", "natural", "unnatural", "given"};
    return kind >= 0 && kind < SG_OTHELLO_N_CASE_KINDS ? names[kind] : "unknown";
}

static uint64_t bit(int square)
{
    return UINT64_C(1) << square;
}

static uint64_t middle(int size)
{
    const sg_othello start = sg_othello_start(size);
    return start.disc[0] | start.disc[1];
}

bool sg_othello_impossible(int size, uint64_t discs)
{
    uint64_t joined = middle(size), before = 0;
    if (joined & ~discs)
        return true;
    while (joined != before) { /* grows by neighbours, sideways and diagonally */
        before = joined;
        for (int s = 0; s < size * size; s++) {
            if (!(before & bit(s)))
                continue;
            for (int d = 0; d < 9; d++) {
                const int row = s / size + d / 3 - 1, column = s % size + d % 3 - 1;
                if (row >= 0 && row < size && column >= 0 && column < size)
                    joined |= discs & bit(row * size + column);
            }
        }
    }
    return joined != discs;
}

/* Puts class `to` at the square; false: the mover could then not play any square that has a token. */
static bool change(sg_othello_case *c, int square, int to)
{
    const sg_othello *o = &c->board;
    const uint64_t own = o->disc[o->mover], other = o->disc[!o->mover], at = bit(square);
    const int from = own & at ? SG_OTHELLO_MINE : other & at ? SG_OTHELLO_YOURS : SG_OTHELLO_EMPTY;
    c->change = (sg_change){square, from, to};
    c->own = to == SG_OTHELLO_MINE ? own | at : own & ~at;
    c->other = to == SG_OTHELLO_YOURS ? other | at : other & ~at;
    c->legal = sg_othello_moves_on(o->size, c->own, c->other) & ~middle(o->size);
    return from != to && c->legal != 0;
}

/* ---- drawing ---- */

/* Two moves of one colour exchanged, such that every move is legal still, the same player is to move, and one disc is
 * turned. Pairs are tried from a random one on. */
static bool make_natural(sg_othello_case *c, const sg_othello *after, const int *square, sg_rng *g)
{
    const int n = c->board.n_moves, n_pairs = n * (n - 1) / 2;
    const uint32_t first = sg_rng_below(g, (uint32_t)n_pairs);
    for (int p = 0; p < n_pairs; p++) {
        const int pair = (int)((first + (uint32_t)p) % (uint32_t)n_pairs);
        int j = 1;
        while ((j + 1) * j / 2 <= pair)
            j++;
        const int i = pair - j * (j - 1) / 2;
        sg_othello o = after[i];
        int k = i;
        for (; k < n && sg_othello_play(&o, square[k == i ? j : k == j ? i : k]); k++)
            ;
        const uint64_t turned = o.disc[0] ^ c->board.disc[0];
        if (k < n || o.mover != c->board.mover || __builtin_popcountll(turned) != 1)
            continue;
        const int s = __builtin_ctzll(turned);
        if (!change(c, s, o.disc[o.mover] & turned ? SG_OTHELLO_MINE : SG_OTHELLO_YOURS))
            continue;
        memcpy(c->witness, c->tokens, sizeof c->witness);
        c->witness[i] = c->tokens[j];
        c->witness[j] = c->tokens[i];
        return true;
    }
    return false;
}

/* Squares are tried from a random one on, here and below. */
static bool make_turned(sg_othello_case *c, sg_rng *g)
{
    const int n = c->board.size * c->board.size, first = (int)sg_rng_below(g, (uint32_t)n);
    const uint64_t own = c->board.disc[c->board.mover], other = c->board.disc[!c->board.mover];
    for (int k = 0; k < n; k++) {
        const int s = (first + k) % n;
        if ((own | other) & bit(s) && change(c, s, own & bit(s) ? SG_OTHELLO_YOURS : SG_OTHELLO_MINE))
            return true;
    }
    return false;
}

static bool make_unnatural(sg_othello_case *c, sg_rng *g)
{
    const int n = c->board.size * c->board.size;
    const uint64_t discs = c->board.disc[0] | c->board.disc[1];
    const int first = (int)sg_rng_below(g, (uint32_t)n);
    for (int k = 0; k < n; k++) {
        const int s = (first + k) % n;
        if (discs & ~middle(c->board.size) & bit(s) && sg_othello_impossible(c->board.size, discs & ~bit(s)) &&
            change(c, s, SG_OTHELLO_EMPTY))
            return true;
    }
    return false;
}

sg_status sg_othello_cases_draw(sg_othello_case *out, sg_dim n, int size, sg_othello_case_kind kind, uint64_t seed,
                                sg_error *err)
{
    if ((size != 4 && size != 6 && size != 8) || kind < 0 || kind >= SG_OTHELLO_GIVEN)
        return sg_fail(err, SG_EARG, "othello: no %s boards of size %d can be drawn", sg_othello_case_kind_name(kind),
                       size);
    const double option = (size - 4) / 2.0; /* of the world: its place among 4, 6, 8 */
    const int most = sg_othello_max_moves(size);
    sg_dim made = 0;
    for (uint64_t game = 0; made < n; game++) {
        if (game > 1000 * (uint64_t)(n + 10))
            return sg_fail(err, SG_EARG, "othello: of %" PRIu64 " games only %" PRId64 " have a %s board of size %d",
                           game, made, sg_othello_case_kind_name(kind), size);
        uint8_t counts[SG_OTHELLO_MAX_MOVES];
        sg_othello after[SG_OTHELLO_MAX_MOVES + 1] = {sg_othello_start(size)};
        int square[SG_OTHELLO_MAX_MOVES];
        sg_othello_case c = {.kind = kind};
        sg_world_othello.tokens(c.tokens, counts, &option, 1, (sg_origin){.seed = seed, .step = game});
        sg_rng g = sg_rng_new(seed, 1 + (uint32_t)kind); /* games are stream 0 */
        g.step = game;
        const int ply = MARGIN + (int)sg_rng_below(&g, (uint32_t)(most - 2 * MARGIN + 1));
        for (int k = 0; k < ply && counts[k]; k++) {
            square[k] = sg_othello_square(size, c.tokens[k]);
            after[k + 1] = after[k];
            (void)sg_othello_play(&after[k + 1], square[k]);
        }
        if (!counts[ply - 1] || after[ply].mover == SG_OTHELLO_OVER)
            continue;
        c.board = after[ply];
        memset(c.tokens + ply, 0, (size_t)(SG_OTHELLO_MAX_MOVES - ply) * sizeof c.tokens[0]);
        if (kind == SG_OTHELLO_TURNED    ? make_turned(&c, &g)
            : kind == SG_OTHELLO_NATURAL ? make_natural(&c, after, square, &g)
                                         : make_unnatural(&c, &g))
            out[made++] = c;
    }
    return SG_OK;
}

/* ---- files ---- */

static sg_status read_case(sg_othello_case *c, bool *playable, int size, const char *path, size_t i, const json_t *item,
                           sg_error *err)
{
    const char *moves = json_string_value(json_object_get(item, "moves")),
               *name = json_string_value(json_object_get(item, "square")),
               *to = json_string_value(json_object_get(item, "to"));
    int squares[SG_OTHELLO_MAX_MOVES], n;
    sg_error why;
    if (!moves || !name || !to)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu wants texts \"moves\", \"square\" and \"to\"", path, i);
    if (sg_othello_read(squares, &n, size, moves, &why) != SG_OK)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu: %s", path, i, why.text);
    const int square = strlen(name) == 2 ? sg_othello_parse(size, name) : -1;
    if (square < 0)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu: \"%.20s\" is no square", path, i, name);
    *c = (sg_othello_case){.kind = SG_OTHELLO_GIVEN, .board = sg_othello_start(size)};
    for (int k = 0; k < n; k++) {
        c->tokens[k] = sg_othello_token(size, squares[k]);
        (void)sg_othello_play(&c->board, squares[k]);
    }
    const bool black = strcmp(to, "black") == 0, white = strcmp(to, "white") == 0;
    if (!black && !white && strcmp(to, "empty") != 0)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu: \"to\" is \"%.20s\", wanted black, white or empty", path, i, to);
    if (n == 0 || c->board.mover == SG_OTHELLO_OVER)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu: nobody is to move after %d moves", path, i, n);
    const int mover = c->board.mover;
    *playable = change(c, square,
                       !black && !white                                         ? SG_OTHELLO_EMPTY
                       : mover == (black ? SG_OTHELLO_BLACK : SG_OTHELLO_WHITE) ? SG_OTHELLO_MINE
                                                                                : SG_OTHELLO_YOURS);
    if (c->change.from == c->change.to)
        return sg_fail(err, SG_EFORMAT, "%s: case %zu: %s is %s already", path, i, name, to);
    return SG_OK;
}

static sg_status read_cases(sg_othello_case **out, sg_dim *n, sg_dim *n_left_out, const char *path, const json_t *root,
                            sg_error *err)
{
    const json_t *list = json_object_get(root, "cases"), *of_size = json_object_get(root, "size");
    const json_int_t size = of_size ? json_integer_value(of_size) : 8;
    if (!json_is_array(list) || json_array_size(list) == 0 || (size != 4 && size != 6 && size != 8))
        return sg_fail(err, SG_EFORMAT, "%s: wanted \"size\", 4, 6 or 8, and a list \"cases\"", path);
    sg_othello_case *cases = calloc(json_array_size(list), sizeof *cases);
    if (!cases)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    *n = *n_left_out = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        bool playable = false;
        const sg_status status = read_case(&cases[*n], &playable, (int)size, path, i, json_array_get(list, i), err);
        if (status != SG_OK) {
            free(cases);
            return status;
        }
        *(playable ? n : n_left_out) += 1;
    }
    *out = cases;
    return SG_OK;
}

sg_status sg_othello_cases_read(sg_othello_case **out, sg_dim *n, sg_dim *n_left_out, const char *path, sg_error *err)
{
    sg_file *file;
    json_error_t at;
    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    json_t *root = json_loadb((const char *)sg_file_data(file), sg_file_bytes(file), JSON_REJECT_DUPLICATES, &at);
    const sg_status status =
        root ? read_cases(out, n, n_left_out, path, root, err)
             : sg_fail(err, SG_EFORMAT, "%s: line %d, column %d: %s", path, at.line, at.column, at.text);
    json_decref(root);
    sg_file_close(file);
    return status;
}

/* ---- measuring ---- */

sg_rewrite sg_othello_case_rewrite(const sg_othello_case *c)
{
    return (sg_rewrite){.tokens = c->tokens, .n_tokens = c->board.n_moves, .n_changes = 1, .changes = &c->change};
}

uint64_t sg_othello_top(int n, const float *logits, sg_dim n_vocab)
{
    uint64_t top = 0;
    for (sg_dim t = 0; t < n_vocab; t++) {
        int rank = 0; /* the first of equals first */
        for (sg_dim other = 0; other < n_vocab; other++)
            rank += logits[other] > logits[t] || (logits[other] == logits[t] && other < t);
        top |= !isnan(logits[t]) && rank < n ? UINT64_C(1) << t : 0;
    }
    return top;
}

/* As many are wrong as are missing. */
void sg_othello_errors(double *errors, sg_dim n, const sg_othello_case *cases, const float *logits, sg_dim n_vocab)
{
    for (sg_dim i = 0; i < n; i++) {
        const sg_othello_case *c = &cases[i];
        const int n_legal = __builtin_popcountll(c->legal);
        const uint64_t top = sg_othello_top(n_legal, logits + i * n_vocab, n_vocab);
        int n_right = 0;
        for (uint64_t left = c->legal; left; left &= left - 1) {
            const int token = sg_othello_token(c->board.size, __builtin_ctzll(left));
            n_right += token < n_vocab && top >> token & 1;
        }
        errors[i] = 2 * (n_legal - n_right);
    }
}

sg_status sg_othello_intervene(double *errors, float *norms, sg_intervener *iv, sg_dim n, const sg_othello_case *cases,
                               sg_intervene_opts opts, sg_error *err)
{
    sg_rewrite *rows = calloc((size_t)SG_MAX(n, 1), sizeof *rows);
    sg_intervention *r = NULL;
    if (!rows)
        return sg_fail(err, SG_ENOMEM, "othello: out of memory for %" PRId64 " cases", n);
    for (sg_dim i = 0; i < n; i++)
        rows[i] = sg_othello_case_rewrite(&cases[i]);
    const sg_status status = sg_intervener_run(&r, iv, n, rows, opts, err);
    if (status == SG_OK) {
        sg_othello_errors(errors, n, cases, r->logits, r->n_vocab);
        if (norms)
            memcpy(norms, r->norm, (size_t)(n * r->n_sites) * sizeof *norms);
    }
    sg_intervention_free(r);
    free(rows);
    return status;
}

sg_status sg_othello_mean(sg_rate *out, const double *a, const double *b, sg_dim n, sg_error *err)
{
    sg_interval in;
    double *part = malloc((size_t)SG_MAX(n, 1) * sizeof *part), sum = 0;
    if (!part)
        return sg_fail(err, SG_ENOMEM, "othello: out of memory for %" PRId64 " cases", n);
    for (sg_dim i = 0; i < n; i++)
        sum += part[i] = a[i] - (b ? b[i] : 0);
    const sg_status status = sg_bootstrap_ratio(&in, n, part, NULL, sg_bootstrap_defaults(), err);
    free(part);
    if (status == SG_OK)
        *out = (sg_rate){.value = sum / (double)n, .low = in.low, .high = in.high, .n = n};
    return status;
}
