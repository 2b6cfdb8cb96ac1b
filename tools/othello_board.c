/* Drawing a session. A square takes three columns: a mark, the disc, a digit where the model is less than sure. Colours
 * repeat what the signs say and add nothing, so that a pipe and an eye that does not tell them apart lose nothing. */
#include "othello_board.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { COLUMNS = 79, FELT = 29, LAST = 35, WRONG = 124, EDITED = 25 };
enum { NO_DISC, BLACK, WHITE };
#define SURE 0.95f

static void paint(FILE *to, board_style style, int fg, int bg)
{
    if (style.colour && fg >= 0)
        fprintf(to, "\033[38;5;%dm", fg);
    if (style.colour && bg >= 0)
        fprintf(to, "\033[48;5;%dm", bg);
}

static void dim(FILE *to, board_style style)
{
    if (style.colour)
        fputs("\033[2m", to);
}

static void bold(FILE *to, board_style style)
{
    if (style.colour)
        fputs("\033[1m", to);
}

static void off(FILE *to, board_style style)
{
    if (style.colour)
        fputs("\033[0m", to);
}

static const char *disc(board_style style, int d)
{
    if (!style.utf8)
        return d == BLACK ? "X" : "O";
    return style.colour || d == BLACK ? "\xe2\x97\x8f" : "\xe2\x97\x8b"; /* a full circle, a ring */
}

static int columns_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

void board_say(FILE *to, board_style style, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    int column = 0;
    (void)style;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        const int n = columns_of(word);
        if (column && column + 1 + n > COLUMNS) {
            fputc('\n', to);
            column = 0;
        }
        fprintf(to, "%s%s", column ? " " : "", word);
        column += n + (column > 0);
    }
    fputc('\n', to);
}

/* ---- squares ---- */

/* How much of a disc's colour is left where the model is not sure of it. */
static int shade(int d, float sure)
{
    static const int black[] = {16, 233, 236, 23}, white[] = {231, 194, 151, 108};
    const int i = sure >= SURE ? 0 : sure >= 0.8f ? 1 : sure >= 0.6f ? 2 : 3;
    return d == BLACK ? black[i] : white[i];
}

/* mark: ' ' or what stands before the disc. */
static void square(FILE *to, board_style style, int d, float sure, char mark, char end, int bg)
{
    paint(to, style, 231, bg);
    fputc(mark, to);
    if (d == NO_DISC) {
        paint(to, style, 71, bg);
        fputs(end == '+' ? "+" : style.utf8 ? "\xc2\xb7" : ".", to);
        end = end == '+' ? ' ' : end;
    } else {
        paint(to, style, shade(d, sure), bg);
        fputs(disc(style, d), to);
    }
    paint(to, style, bg == FELT ? 151 : 231, bg);
    fputc(sure < SURE ? '0' + (int)(sure * 10) : end, to);
    off(to, style);
}

/* The disc of a class: mine is the mover's. */
static int disc_of(const session *s, int c)
{
    return c == SG_MIND_EMPTY ? NO_DISC : (c == SG_MIND_MINE) == (session_mover(s) == SG_OTHELLO_BLACK) ? BLACK : WHITE;
}

static bool edited_here(const session *s, int q)
{
    const session_place *here = session_here(s);
    for (int i = 0; here && i < here->n; i++)
        if (here->square[i] == q)
            return true;
    return false;
}

static void true_row(FILE *to, const session *s, board_style style, int row)
{
    const uint64_t legal = sg_othello_legal(&s->now);
    const int last = s->now.n_moves ? s->squares[s->now.n_moves - 1] : -1;
    dim(to, style);
    fprintf(to, "%d ", row + 1);
    off(to, style);
    for (int q = row * s->size; q < (row + 1) * s->size; q++) {
        const int d = s->now.disc[0] >> q & 1 ? BLACK : s->now.disc[1] >> q & 1 ? WHITE : NO_DISC;
        square(to, style, d, 1, q == last ? '(' : ' ',
               q == last        ? ')'
               : legal >> q & 1 ? '+'
                                : ' ',
               q == last ? LAST : FELT);
    }
}

static void model_row(FILE *to, const session *s, board_style style, const sg_mind_belief *b, int row)
{
    dim(to, style);
    fprintf(to, "%d ", row + 1);
    off(to, style);
    for (int q = row * s->size; q < (row + 1) * s->size; q++) {
        const bool wrong = b->c[q] != session_truth(s, q), edited = edited_here(s, q);
        square(to, style, disc_of(s, b->c[q]), b->sure[q],
               wrong    ? '!'
               : edited ? '*'
                        : ' ',
               ' ',
               wrong    ? WRONG
               : edited ? EDITED
                        : FELT);
    }
}

static void letters(FILE *to, const session *s, board_style style)
{
    dim(to, style);
    fputs("  ", to);
    for (int c = 0; c < s->size; c++)
        fprintf(to, " %c ", 'a' + c);
    off(to, style);
}

/* ---- bets ---- */

/* n eighths of a column as a bar of at most `width` columns, filled up with blanks. */
static void bar(FILE *to, board_style style, double share, int width)
{
    static const char *const parts[] = {"",
                                        "\xe2\x96\x8f",
                                        "\xe2\x96\x8e",
                                        "\xe2\x96\x8d",
                                        "\xe2\x96\x8c",
                                        "\xe2\x96\x8b",
                                        "\xe2\x96\x8a",
                                        "\xe2\x96\x89"};
    const int eighths = (int)(fmin(share, 1) * width * 8 + 0.5), whole = style.utf8 ? eighths / 8 : (eighths + 4) / 8;
    for (int i = 0; i < whole; i++)
        fputs(style.utf8 ? "\xe2\x96\x88" : "#", to);
    const bool part = style.utf8 && eighths % 8;
    if (part)
        fputs(parts[eighths % 8], to);
    fprintf(to, "%*s", width - whole - part, "");
}

typedef struct panel {
    int n, order[SG_OTHELLO_MAX_SQUARES];
    uint64_t legal, legal_before; /* on the edited board, on the true one */
    float most;                   /* the greatest probability, before or after */
} panel;

/* Without edits the likeliest moves first; with them those that the edits make legal or illegal, then what is or was
 * likeliest. */
static float rank_of(const session *s, const panel *p, int q)
{
    return fmaxf(s->after->next[q], s->before->next[q]) + ((p->legal ^ p->legal_before) >> q & 1 ? 2.0f : 0.0f);
}

static panel panel_of(const session *s)
{
    panel p = {.legal = session_legal(s), .legal_before = sg_othello_legal(&s->now)};
    for (int q = 0; q < s->n_squares; q++) {
        const float x = rank_of(s, &p, q);
        if (sg_othello_token(s->size, q) < 0)
            continue;
        p.most = fmaxf(p.most, fmaxf(s->after->next[q], s->before->next[q]));
        int at = p.n++;
        for (; at > 0 && rank_of(s, &p, p.order[at - 1]) < x; at--)
            p.order[at] = p.order[at - 1];
        p.order[at] = q;
    }
    return p;
}

static void panel_line(FILE *to, const session *s, board_style style, const panel *p, int i)
{
    char name[4];
    const int q = p->order[i];
    const float after = s->after->next[q], before = s->before->next[q];
    const bool legal = p->legal >> q & 1, was = p->legal_before >> q & 1;
    /* By legal on the edited board, then on the true one. A table, as nested conditions of these two bits are compiled
     * wrongly by gcc 12.2 at -O2. */
    static const char *const signs[2][2] = {{" x", " -"}, {" +", ""}};

    if (p->most < 0.0005f || (rank_of(s, p, q) < 2 && fmaxf(after, before) < 0.0005f))
        return;
    bold(to, style);
    fputs(sg_othello_name(s->size, q, name), to);
    off(to, style);
    if (s->after == s->before) {
        fprintf(to, " %5.1f %% ", 100 * (double)after);
        paint(to, style, legal ? 35 : WRONG, -1);
        bar(to, style, (double)(after / p->most), 8);
    } else {
        paint(to, style, 245, -1);
        fprintf(to, " %5.1f", 100 * (double)before);
        off(to, style);
        fputs(style.utf8 ? " \xe2\x86\x92" : " >", to);
        paint(to, style, legal ? 35 : 167, -1);
        fprintf(to, " %5.1f %%", 100 * (double)after);
    }
    off(to, style);
    paint(to, style, legal ? 35 : 167, -1);
    fputs(signs[legal][was], to);
    off(to, style);
}

/* ---- the position ---- */

static void head(FILE *to, const session *s, board_style style)
{
    static const char *const names[] = {"Black", "White"}, *const colours[] = {"black", "white"};
    const sg_othello *o = &s->now;
    const int last = o->n_moves ? s->squares[o->n_moves - 1] : 0, by = (int)(o->disc[SG_OTHELLO_WHITE] >> last & 1);
    const int n[] = {__builtin_popcountll(o->disc[0]), __builtin_popcountll(o->disc[1])};
    const bool again = o->n_moves && o->mover == by; /* the other had to pass */
    char name[4];

    bold(to, style);
    if (o->n_moves == 0)
        fputs("No move yet.", to);
    else
        fprintf(to, "Move %d: %s by %s", o->n_moves, sg_othello_name(s->size, last, name), colours[by]);
    if (o->n_moves)
        fprintf(to, again ? "." : ", %d turned.", __builtin_popcountll(s->turned));
    if (o->mover == SG_OTHELLO_OVER)
        fprintf(to, " The game is over: %s.", n[0] > n[1] ? "black has won" : n[1] > n[0] ? "white has won" : "a draw");
    else if (again)
        fprintf(to, " %s has no move, %s moves again.", names[!by], colours[by]);
    else
        fprintf(to, " %s is to move.", names[o->mover]);
    off(to, style);
    fputc(' ', to);
    for (int c = 0; c < 2; c++) {
        paint(to, style, shade(c + 1, 1), FELT);
        fprintf(to, "%s%s %d%s", style.colour ? " " : "", disc(style, c + 1), n[c],
                style.colour ? " "
                : c == 0     ? ", "
                             : "");
        off(to, style);
    }
    if (o->n_moves < s->n_known)
        fprintf(to, " (%d ahead)", s->n_known - o->n_moves);
    fputc('\n', to);
}

/* "e4 black" or "e4 black, f5 empty and d6 white": the edits of this position. */
static void name_edits(sg_str *to, const session *s)
{
    static const char *const names[] = {"empty", "black", "white"};
    const session_place *here = session_here(s);
    char name[4];
    for (int i = 0; here && i < here->n; i++)
        sg_str_printf(to, "%s%s %s",
                      i == 0             ? ""
                      : i == here->n - 1 ? " and "
                                         : ", ",
                      sg_othello_name(s->size, here->square[i], name), names[disc_of(s, here->to[i])]);
}

/* "of its 4 likeliest squares none was", "... 1 was", "... 2 were"; of one square, "its likeliest square was" */
static void tell_wrong(sg_str *to, const sg_mind_bets *bets, const char *one, const char *several, const char *legal,
                       const char *illegal)
{
    if (bets->n_legal == 1)
        sg_str_printf(to, "its likeliest square %s %s", one, bets->n_wrong ? illegal : legal);
    else if (bets->n_wrong == 0)
        sg_str_printf(to, "of its %d likeliest squares none %s %s", bets->n_legal, one, illegal);
    else
        sg_str_printf(to, "of its %d likeliest squares %d %s %s", bets->n_legal, bets->n_wrong,
                      bets->n_wrong == 1 ? one : several, illegal);
}

static void tell_bets(sg_str *to, const session *s)
{
    sg_mind_bets after, before;
    double mass, n_wrong;
    session_judge(s, s->after->next, &after);
    session_judge(s, s->before->next, &before);
    if (!session_here(s)) {
        sg_str_printf(to, "%.1f %% of its bets are on legal moves; ", 100 * after.mass);
        tell_wrong(to, &after, "is", "are", "legal", "illegal");
        sg_str_puts(to, ".");
        return;
    }
    sg_str_puts(to, "With ");
    name_edits(to, s);
    if (after.n_legal == 0) {
        sg_str_puts(to, " there would be no legal move.");
        return;
    }
    sg_str_printf(
        to, " %d move%s would be legal (%d on the true board). Before the edit %.1f %% of its bets were on %s, and ",
        after.n_legal, after.n_legal == 1 ? "" : "s", __builtin_popcountll(sg_othello_legal(&s->now)),
        100 * before.mass, after.n_legal == 1 ? "it" : "those");
    tell_wrong(to, &before, "was", "were", "legal there", "illegal there");
    sg_str_printf(to, "; now %.1f %% are, and ", 100 * after.mass);
    tell_wrong(to, &after, "is", "are", "legal", "illegal");
    if (session_judge_random(s, &mass, &n_wrong))
        sg_str_printf(to, ". Pushed as far in random directions: %.1f %%, and %.1f illegal.", 100 * mass, n_wrong);
}

static void foot(FILE *to, const session *s, board_style style)
{
    sg_str text = {0};
    sg_mind_belief b;
    int elsewhere = 0;

    if (s->now.n_moves == 0) {
        board_say(to, style,
                  "The model is shown moves and nothing else, and there is none yet. Play one: a square such as %s, or "
                  "random 10.",
                  s->size == 8   ? "d3"
                  : s->size == 6 ? "c2"
                                 : "b1");
        return;
    }
    if (session_believes(s, s->reader, &b))
        sg_str_printf(&text, "It has %d of %d squares right (%d of %d discs)%s. ", b.n_right, s->n_squares,
                      b.n_discs_right, b.n_discs, session_here(s) ? ", as edited" : "");
    if (s->reader >= 0 && session_here(s) && sg_mind_get_reader(s->mind, s->reader)->layer < s->how.first)
        sg_str_printf(&text, "This layer lies before those that are edited, %d to %d. ", s->how.first, s->how.last);
    if (s->now.mover == SG_OTHELLO_OVER)
        sg_str_puts(&text, "Nobody is to move, and it was never asked what follows then.");
    else
        tell_bets(&text, s);
    for (int i = 0; i < s->n_places; i++)
        elsewhere += s->places[i].position < s->now.n_moves - 1 ? s->places[i].n : 0;
    if (elsewhere)
        sg_str_printf(&text, " %d edit%s of earlier positions %s still in place (`clear` drops them).", elsewhere,
                      elsewhere == 1 ? "" : "s", elsewhere == 1 ? "is" : "are");
    board_say(to, style, "%s", text.text ? text.text : "");
    sg_str_free(&text);
}

void board_draw(FILE *to, const session *s, board_style style)
{
    sg_mind_belief b;
    const bool reads = session_believes(s, s->reader, &b);
    const bool thinks = s->now.n_moves > 0 && s->now.mover != SG_OTHELLO_OVER;
    const int block = 2 + 3 * s->size;
    char title[64] = "";
    const panel p = panel_of(s);

    head(to, s, style);
    if (reads)
        snprintf(title, sizeof title, "the model, layer %d", sg_mind_get_reader(s->mind, s->reader)->layer);
    dim(to, style);
    fprintf(to, "  %-*s   ", block - 2, "the board");
    if (reads)
        fprintf(to, "  %-*s   ", block - 2, block - 2 >= (int)strlen(title) ? title : "the model");
    if (thinks)
        fputs(s->after == s->before ? "its next move" : "its next move, edited", to);
    off(to, style);
    fputc('\n', to);
    letters(to, s, style);
    if (reads) {
        fputs("   ", to);
        letters(to, s, style);
    }
    fputc('\n', to);
    for (int row = 0; row < s->size; row++) {
        true_row(to, s, style, row);
        if (reads) {
            fputs("   ", to);
            model_row(to, s, style, &b, row);
        }
        if (thinks && row < p.n) {
            fputs("   ", to);
            panel_line(to, s, style, &p, row);
        }
        fputc('\n', to);
    }
    foot(to, s, style);
}

void board_legend(FILE *to, board_style style)
{
    const char *black = style.colour ? "a dark disc" : disc(style, BLACK),
               *white = style.colour ? "a light disc" : disc(style, WHITE);
    board_say(
        to, style,
        "%s is black, %s white, + a legal move, ( ) the last one. In the model's board a digit is how sure it is in "
        "tenths, where that is less than 95 %%; ! is a square that it has wrong, * one that you edited. Beside its "
        "bets x is an illegal move; after an edit + is legal on the edited board only, - on the true one only.",
        black, white);
}

/* ---- tables ---- */

void board_moves(FILE *to, const session *s, board_style style)
{
    const panel p = panel_of(s);
    const int columns = 3, rows = (p.n + columns - 1) / columns;
    if (s->now.n_moves == 0) {
        foot(to, s, style);
        return;
    }
    for (int row = 0; row < rows; row++) {
        for (int c = 0; c < columns; c++) {
            const int i = c * rows + row;
            char name[4];
            if (i >= p.n)
                continue;
            const int q = p.order[i];
            const bool legal = p.legal >> q & 1;
            paint(to, style, legal ? 35 : 245, -1);
            fprintf(to, "%s%s %7.2f %%", c ? "     " : "", sg_othello_name(s->size, q, name),
                    100 * (double)s->after->next[q]);
            if (s->after != s->before)
                fprintf(to, " (%6.2f)", 100 * (double)s->before->next[q]);
            fputs(legal ? " +" : "  ", to);
            off(to, style);
        }
        fputc('\n', to);
    }
    board_say(to, style, "+ is legal%s.%s No square: %.2f %%.", session_here(s) ? " on the edited board" : "",
              s->after != s->before ? " In brackets: without edits." : "", 100 * (double)s->after->none);
}

static void percent(FILE *to, double x)
{
    if (isnan(x))
        fprintf(to, "%14s", "-");
    else
        fprintf(to, "%12.1f %%", 100 * x);
}

void board_layers(FILE *to, const session *s, board_style style)
{
    sg_mind_belief b;
    dim(to, style);
    fputs("          this position                 test games, discs    the same, untrained\n"
          "  layer   squares        discs          read rightly         network\n",
          to);
    off(to, style);
    for (int r = 0; r < sg_mind_n_readers(s->mind); r++) {
        const sg_mind_reader *reader = sg_mind_get_reader(s->mind, r);
        fprintf(to, "%c %5d", r == s->reader ? '>' : ' ', reader->layer);
        if (session_believes(s, r, &b))
            fprintf(to, "   %2d of %2d       %2d of %2d     ", b.n_right, s->n_squares, b.n_discs_right, b.n_discs);
        else
            fprintf(to, "%-31s", "   -              -");
        percent(to, reader->about.hard_accuracy);
        fputs("     ", to);
        percent(to, reader->about.hard_control[SG_CONTROL_UNTRAINED]);
        fputc('\n', to);
    }
    board_say(to, style, "> is the layer shown; `layer N` shows another.%s",
              session_here(s) ? " Layers at which an edit lies read the edit itself." : "");
}

/* ---- saliency ---- */

void board_show_saliency(FILE *to, const session *s, int move, const session_effects *e, board_style style)
{
    static const int for_it[] = {FELT, 64, 100, 136, 172, 208}, against[] = {FELT, 30, 31, 32, 33, 39};
    const uint64_t lines = session_lines(s, move);
    double effect[SG_OTHELLO_MAX_SQUARES] = {0};
    int order[SG_OTHELLO_MAX_SQUARES], n_lines = 0, n_first = 0;
    char name[4], other[4];

    for (int i = 0; i < e->n; i++) {
        int at = i;
        for (; at > 0 && fabs(e->effect[order[at - 1]]) < fabs(e->effect[i]); at--)
            order[at] = order[at - 1];
        order[at] = i;
        effect[e->square[i]] = e->effect[i];
    }
    for (uint64_t left = lines; left; left &= left - 1)
        n_lines++;
    for (int i = 0; i < n_lines && i < e->n; i++)
        n_first += (int)(lines >> e->square[order[i]] & 1);

    sg_othello_name(s->size, move, name);
    bold(to, style);
    fprintf(to, "%s has %.1f %%. What each disc does for it, if turned over in the model alone:", name,
            100 * (double)e->p);
    off(to, style);
    fputs("\n  ", to);
    dim(to, style);
    for (int c = 0; c < s->size; c++)
        fprintf(to, "  %c   ", 'a' + c);
    fputs("  strongest", to);
    off(to, style);
    fputc('\n', to);
    for (int row = 0; row < s->size; row++) {
        dim(to, style);
        fprintf(to, "%d ", row + 1);
        off(to, style);
        for (int q = row * s->size; q < (row + 1) * s->size; q++) {
            const int c = session_truth(s, q), step = (int)fmin(fabs(effect[q]) * 1.5, 5);
            const int bg = effect[q] > 0 ? for_it[step] : against[step];
            paint(to, style, 231, c == SG_MIND_EMPTY ? FELT : bg);
            fputc(q == move ? '[' : lines >> q & 1 ? '*' : ' ', to);
            if (c == SG_MIND_EMPTY) {
                paint(to, style, 71, FELT);
                fputs(style.utf8 ? "\xc2\xb7" : ".", to);
                paint(to, style, 231, FELT);
                fputs(q == move ? "]   " : "    ", to);
            } else {
                paint(to, style, shade(disc_of(s, c), 1), bg);
                fputs(disc(style, disc_of(s, c)), to);
                paint(to, style, fabs(effect[q]) < 0.05 ? 71 : 231, bg);
                if (fabs(effect[q]) < 0.05)
                    fputs("    ", to);
                else
                    fprintf(to, fabs(effect[q]) < 9.95 ? "%+.1f" : "%+.0f ", effect[q]);
            }
            off(to, style);
        }
        if (row < e->n && fabs(e->effect[order[row]]) >= 0.05)
            fprintf(to, "   %s %5.1f %s %5.1f %%%s", sg_othello_name(s->size, e->square[order[row]], other),
                    100 * (double)e->p, style.utf8 ? "\xe2\x86\x92" : ">", 100 * (double)e->p_if[order[row]],
                    lines >> e->square[order[row]] & 1 ? " *" : "");
        fputc('\n', to);
    }
    if (n_lines)
        board_say(
            to, style,
            "Numbers are how far the logarithm of its probability falls when the disc changes colour. * marks the "
            "%d discs on the lines that make %s legal: %d of the %d strongest are among them.",
            n_lines, name, n_first, n_lines);
    else
        board_say(to, style,
                  "Numbers are how far the logarithm of its probability falls when the disc changes colour: below "
                  "zero, %s becomes likelier. It is not legal here, as it would turn no disc.",
                  name);
}
