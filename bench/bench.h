/* The bench: rows that are timed on our side and, where PyTorch is present, on a peer's side, in turns.
 *
 * A row is made once, runs twice to warm up, and is then timed round by round: ours, peer, ours, peer. What is reported
 * is the median. `work` is what a run has to compute or read, whoever does it, and gives the share of the peak that
 * this machine showed in the same run. bench.c runs rows, peer.c talks to PyTorch, peak.c measures the machine,
 * folders.c writes models of random weights; rows.def lists the files that hold rows. */
#ifndef SG_BENCH_H
#define SG_BENCH_H

#include "base/base.h"
#include "sightglass/model.h"

/* ---- what rows share ---- */

typedef enum bench_peak { BENCH_NO_PEAK, BENCH_F32, BENCH_BF16, BENCH_MEMORY, BENCH_N_PEAKS } bench_peak;

typedef struct bench {
    char folder[256];   /* temporary; models of random weights lie in it */
    const char *python; /* an interpreter that has PyTorch; NULL: none */
    int n_threads;
    double peak[BENCH_N_PEAKS]; /* per second: floating-point operations, bytes; 0 if not measured */
} bench;

typedef struct bench_row bench_row;
struct bench_row {
    const char *name, *unit; /* "ms", "tokens/s" */
    double scale;            /* of a second, or of its reciprocal, in that unit */
    bool rate;               /* shown is scale / seconds */
    double work;             /* operations or bytes of a run */
    bench_peak peak;         /* the share is taken of */
    bool peer;               /* peers.py has it too */
    const void *shape;
    /* SG_EUNSUPPORTED: skipped, the text says why. After a failure *self is closed where it is not NULL. */
    sg_status (*open)(void **self, bench *b, const bench_row *row, sg_error *err);
    sg_status (*run)(void *self, double *seconds, sg_error *err);
    void (*close)(void *self);          /* NULL is fine */
    sg_session *(*session)(void *self); /* to trace; NULL: there is none */
    /* Numbers that both sides should have, after two runs: n of them, borrowed. NULL: not compared. */
    const float *(*numbers)(void *self, sg_dim *n);
    double apart; /* how far they may be apart; 0: by 1e-3 */
};

/* Every file of rows, as rows.def lists them. */
#define BENCH_ROWS(name)                                                                                               \
    extern const bench_row bench_##name##_rows[];                                                                      \
    extern const int bench_n_##name##_rows;
#include "rows.def"
#undef BENCH_ROWS

/* ---- the machine ---- */

/* What it can do at best: multiply matrices of a good size, read more memory than its caches hold. Raises b->peak. */
sg_status bench_measure_peaks(bench *b, sg_error *err) SG_MUST_CHECK;

/* ---- models of random weights ---- */

typedef struct bench_gpt {
    const char *folder;
    int n_layers, d, n_heads, hidden, n_vocab, n_context;
} bench_gpt;
extern const bench_gpt bench_gpt2, bench_gpt_512, bench_gpt_128, bench_gpt_othello;

/* Operations of a forward pass over `rows` rows of `time` tokens with all logits; attention counted whole. */
#define BENCH_GPT_WEIGHTS(layers, d, hidden) ((layers) * (4.0 * (d) * (d) + 2.0 * (d) * (hidden)))
#define BENCH_GPT_FLOPS(rows, time, layers, d, hidden, n_vocab)                                                        \
    (2.0 * (rows) * (time) * (BENCH_GPT_WEIGHTS(layers, d, hidden) + (double)(n_vocab) * (d)) +                        \
     4.0 * (rows) * (time) * (time) * (d) * (layers))

/* Writes the folder unless it is there, and its path. */
sg_status bench_gpt_folder(const bench *b, const bench_gpt *shape, char path[512], sg_error *err) SG_MUST_CHECK;

/* Token i of what every row of the bench reads; peers.py has the same line. */
int32_t bench_token(sg_dim i, int n_vocab);

/* ---- the peer: PyTorch in a process of its own ---- */

typedef struct bench_peer bench_peer;

/* Finds a Python that has PyTorch: $PYTHON, python3, Debian's. NULL if none has. */
const char *bench_find_python(void);
/* NULL: it did not start, err says why. Prints what answered. */
bench_peer *bench_peer_start(const bench *b, sg_error *err);
void bench_peer_stop(bench_peer *p); /* NULL is fine */
/* Sends one line, reads the number it answers with. */
sg_status bench_peer_ask(bench_peer *p, double *out, sg_error *err, const char *fmt, ...) SG_PRINTF(4, 5) SG_MUST_CHECK;

/* Runs a command and gives the seconds from its start to the end of what it says. */
sg_status bench_time_command(const char *const *argv, double *seconds, sg_error *err) SG_MUST_CHECK;

#endif
