/* Othello boards that are to be changed inside a model, and how well it then plays on the changed board.
 *
 *     sg_othello_case *cases = malloc(1000 * sizeof *cases);
 *     SG_TRY(sg_othello_cases_draw(cases, 1000, 8, SG_OTHELLO_NATURAL, seed, err));
 *     ... sg_othello_case_rewrite(&cases[i]) to sg_intervener_run, which yields logits ...
 *     sg_othello_errors(errors, 1000, cases, result->logits, result->n_vocab);
 *
 * A case is a game so far and one square of its board that is to be something else. The measure is that of Li et al.
 * (2022): with N legal moves on the changed board, the N moves that the model likes best, and how many of those are
 * illegal plus how many legal ones are not among them. Without an intervention that is the null's error. */
#ifndef SIGHTGLASS_OTHELLO_CASES_H
#define SIGHTGLASS_OTHELLO_CASES_H

#include "sightglass/intervene.h"
#include "sightglass/othello.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Classes of a square, as the world's field board_rel has them. */
enum { SG_OTHELLO_EMPTY, SG_OTHELLO_MINE, SG_OTHELLO_YOURS };

typedef enum sg_othello_case_kind {
    /* One disc turned, any; whether a game leads there is not known. */
    SG_OTHELLO_TURNED,
    /* One disc turned; other moves lead there: the same ones with two of a colour exchanged, which are kept as witness.
     */
    SG_OTHELLO_NATURAL,
    /* One disc taken away, off the middle, such that no game ever has this board: some discs are then not connected
     * with the middle, sideways or diagonally, while every move is made beside a disc and no disc is ever taken away.
     * (In the middle nothing could be read: no probe has seen it empty.) */
    SG_OTHELLO_UNNATURAL,
    SG_OTHELLO_GIVEN, /* from a file; nothing is known of it */
    SG_OTHELLO_N_CASE_KINDS
} sg_othello_case_kind;
const char *sg_othello_case_kind_name(sg_othello_case_kind kind); /* "turned", "natural", ... */

typedef struct sg_othello_case {
    sg_othello_case_kind kind;
    sg_othello board; /* after the moves */
    int32_t tokens[SG_OTHELLO_MAX_MOVES], witness[SG_OTHELLO_MAX_MOVES];
    sg_change change;    /* task: the square; classes as above */
    uint64_t own, other; /* discs of the mover and of the other on the changed board */
    uint64_t legal;      /* where the mover may play there, among squares that have a token; never 0 */
} sg_othello_case;

/* Positions of games drawn at random, one of a game, after 4 to N-4 moves of a game of N = size * size - 4. */
sg_status sg_othello_cases_draw(sg_othello_case *out, sg_dim n, int size, sg_othello_case_kind kind, uint64_t seed,
                                sg_error *err) SG_MUST_CHECK;

/* { "size": 8, "cases": [ { "moves": "f5d6c3", "square": "d6", "to": "black" | "white" | "empty" } ] }. Cases on which
 * the mover could not play any square with a token are left out, and counted in *n_left_out. SG_EFORMAT names the case.
 */
sg_status sg_othello_cases_read(sg_othello_case **out, sg_dim *n, sg_dim *n_left_out, const char *path,
                                sg_error *err) SG_MUST_CHECK; /* free(*out) */

/* A case's row for an intervention, which borrows from it. */
sg_rewrite sg_othello_case_rewrite(const sg_othello_case *c);

/* The n likeliest of at most 64 tokens: bit t is token t. */
uint64_t sg_othello_top(int n, const float *logits, sg_dim n_vocab);
/* errors[i]: false positives and false negatives of case i, from logits [n,n_vocab]. */
void sg_othello_errors(double *errors, sg_dim n, const sg_othello_case *cases, const float *logits, sg_dim n_vocab);

/* Whether a board is one that no game has, by the proof above, or because a middle square is empty. */
bool sg_othello_impossible(int size, uint64_t discs);

/* Runs an intervention on cases: errors [n] as above, and how long each change was, norms [n,n_sites] or NULL. */
sg_status sg_othello_intervene(double *errors, float *norms, sg_intervener *iv, sg_dim n, const sg_othello_case *cases,
                               sg_intervene_opts opts, sg_error *err) SG_MUST_CHECK;

/* Mean of a [n], or of a - b by pairs where b is given, with its 95 % interval by bootstrap over cases. */
sg_status sg_othello_mean(sg_rate *out, const double *a, const double *b, sg_dim n, sg_error *err) SG_MUST_CHECK;

/* ---- what an intervention does, beside its controls ---- */

typedef struct sg_othello_outcome {
    sg_dim n;
    sg_rate own;     /* errors without an edit on the board as it is: the model's own, which no edit removes */
    sg_rate witness; /* natural cases: errors on the changed board of the model that is given the witness; else n = 0 */
    sg_rate null, edit, random, wrong; /* errors on the changed board; wrong: of linear probes, else n = 0 */
    sg_rate edit_less_null, random_less_null, edit_less_random; /* by pairs */
} sg_othello_outcome;

/* Cases of one kind. Random and wrong directions are as long as each of the edit's changes. */
sg_status sg_othello_outcome_of(sg_othello_outcome *out, sg_intervener *iv, sg_dim n, const sg_othello_case *cases,
                                sg_intervene_opts opts, sg_error *err) SG_MUST_CHECK;

/* Which layers and options do best? Each try is run on all cases, and its mean error filled in; choose on other cases
 * than those that are reported. sites and probes [n_layers]. */
typedef struct sg_othello_try {
    int first, last; /* layers that are edited, both included */
    sg_intervene_opts opts;
    double error;
} sg_othello_try;
sg_status sg_othello_sweep(sg_othello_try *tries, int n_tries, const sg_model *m, const char *const *sites,
                           const sg_probe *const *probes, sg_dim n, const sg_othello_case *cases, sg_exec_opts exec,
                           sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
