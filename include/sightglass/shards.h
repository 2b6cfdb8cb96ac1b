/* Activations of a corpus on disk: a harvest that goes on for hours and can be stopped, and reading it back.
 *
 *     sg_shards_opts opts = sg_shards_defaults();
 *     SG_TRY(sg_shards_harvest(&report, "acts", model, 1, (const char *const[]){"blocks.6.hook_resid_post"}, 1,
 *                              (const char *const[]){"stories.jsonl.gz"}, opts, err));
 *     ...
 *     sg_shards *s;
 *     SG_TRY(sg_shards_open(&s, "acts", err));
 *     SG_TRY(sg_shards_read(s, 0, first, n, rows, err)); // [n,width] f32
 *     sg_shards_close(s);
 *
 * A text is cut into sequences of `context` tokens (each begins with the model's first token, where the tokenizer puts
 * one before texts), and every token but the first `skip` of a sequence is a row. The folder holds shards,
 * shard-00000.safetensors and so on, each whole by itself:
 *
 *     SITE               [rows,width]   what was fetched, in the order of rows
 *     tokens             [rows] i32
 *     positions          [rows] i32     in the sequence
 *     sequences          [rows] i32     which of the shard's
 *     offsets            [rows] i32     byte in the text at which the token begins; -1: not known, or it is no text's
 *     sequence.files     [sequences] i32
 *     sequence.texts     [sequences] f64  where the text begins in the (unpacked) file, as sg_texts tells; or the row
 * of a file of tokens sequence.firsts    [sequences] i32  token of the text at which the sequence begins
 *
 * and index.json, which says what was harvested from what, and where the next shard begins. */
#ifndef SIGHTGLASS_SHARDS_H
#define SIGHTGLASS_SHARDS_H

#include <signal.h>

#include "sightglass/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_shards_progress {
    sg_dim rows, tokens; /* so far, those of earlier runs too; tokens were computed, in this run */
    double done;         /* share of the corpus, in [0,1] */
    double seconds;      /* of this run */
} sg_shards_progress;

typedef struct sg_shards_opts {
    sg_dim context;     /* 0: tokens of a sequence; 0 is 512, or the model's context if that is less */
    sg_dim batch;       /* 16: sequences that are run at once */
    sg_dim skip;        /* 0: tokens at the beginning of each sequence that are no rows */
    sg_dim most_rows;   /* INT64_MAX: it ends with the batch that reaches them */
    size_t shard_bytes; /* 256 MB; two shards are in memory */
    sg_dtype stored;    /* SG_F32; SG_BF16 and SG_F16 take half */
    const char *field;  /* "text": of JSON lines */
    uint64_t seed;      /* 0: of the weights of a model from nothing */
    sg_exec_opts exec;
    void (*progress)(void *context, const sg_shards_progress *p); /* NULL */
    void *context_of_progress;
    const volatile sig_atomic_t *cancel; /* NULL; not 0: what was computed is written, then SG_ECANCELLED */
} sg_shards_opts;
sg_shards_opts sg_shards_defaults(void);

typedef struct sg_shards_report {
    sg_dim rows, sequences, shards; /* in the folder */
    sg_dim tokens;                  /* that were computed in this run */
    size_t bytes;                   /* of all shards */
    double seconds;                 /* of this run */
    bool resumed, finished;
} sg_shards_report;

/* Harvests into a folder, which is made if it is not there; a folder that holds a part of the same harvest is continued
 * where it ends, and one that is finished is left alone. Sites are names, [batch,time,...]. Files: texts as sg_texts
 * reads them, or tokens, .npy and .safetensors[:NAME], i32 [rows,time] or [time]. Nothing behind the last site is
 * computed. `report` is filled after a failure too. SG_EARG: the folder holds another harvest; what differs is said. */
sg_status sg_shards_harvest(sg_shards_report *report, const char *dir, const sg_model *m, int n_sites,
                            const char *const *sites, int n_files, const char *const *files, sg_shards_opts opts,
                            sg_error *err) SG_MUST_CHECK;

/* What it would take: two batches are run, and their tokens set beside the share of the corpus that they are. */
typedef struct sg_shards_forecast {
    double rows, bytes, seconds;
    double tokens_per_second;
    size_t row_bytes;
} sg_shards_forecast;
sg_status sg_shards_foresee(sg_shards_forecast *out, const sg_model *m, int n_sites, const char *const *sites,
                            int n_files, const char *const *files, sg_shards_opts opts, sg_error *err) SG_MUST_CHECK;

/* ---- reading ---- */

typedef struct sg_shards sg_shards;

/* SG_EFORMAT: no harvest, or one whose shards do not fit its index. */
sg_status sg_shards_open(sg_shards **out, const char *dir, sg_error *err) SG_MUST_CHECK;
void sg_shards_close(sg_shards *s); /* NULL is fine */
sg_dim sg_shards_n_rows(const sg_shards *s);
int sg_shards_n_sites(const sg_shards *s);
const char *sg_shards_site(const sg_shards *s, int i);
sg_dim sg_shards_width(const sg_shards *s, int i);
/* Rows first..first+n of a site as f32 into out [n,width]. SG_EARG: there are not so many. */
sg_status sg_shards_read(const sg_shards *s, int site, sg_dim first, sg_dim n, float *out, sg_error *err) SG_MUST_CHECK;

typedef struct sg_shards_row {
    int32_t token, position, offset;
    int32_t file;     /* index into the harvest's files */
    int64_t text;     /* where its text begins in the file */
    const char *path; /* of the file, as it was given */
} sg_shards_row;
sg_status sg_shards_row_at(const sg_shards *s, sg_dim row, sg_shards_row *out, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
