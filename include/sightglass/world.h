/* Worlds: makers of data whose truth is known.
 *
 *     const sg_world *w = sg_world_find("features", &err);
 *     sg_sample *s;
 *     SG_TRY(sg_world_sample(&s, w, 1, &(sg_setting){"p", "0.05"}, 1024, seed, err));
 *     const sg_tensor *x = sg_sample_find(s, "x"); // [1024,5]
 *     sg_sample_free(s);
 *
 * A sample is a list of named tensors: first what a model may see, then the truth behind it. A world that can sample
 * inside a training graph says so in a header of its own, such as sightglass/features.h. One that yields sequences of
 * tokens is a source to train a language model on. */
#ifndef SIGHTGLASS_WORLD_H
#define SIGHTGLASS_WORLD_H

#include <stdio.h>

#include "sightglass/option.h"
#include "sightglass/source.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where numbers come from: the same origin gives the same sample. */
typedef struct sg_origin {
    uint64_t seed;
    uint32_t stream;
    uint64_t step;
} sg_origin;

typedef struct sg_world_field {
    const char *name, *help;
} sg_world_field;

typedef struct sg_world {
    const char *name, *help; /* "features", one line without a full stop */
    int n_options;
    const sg_option *options;
    int n_fields;
    const sg_world_field *fields;
    /* Fills type and extents of each field for `count` items; option[i] is the value of option i.
     * SG_EARG: options that do not go together. */
    sg_status (*shape)(sg_tensor *field, const double *option, sg_dim count, sg_error *err);
    /* Fills the numbers of fields that `shape` shaped. */
    void (*sample)(sg_tensor *field, const double *option, sg_dim count, sg_origin from);
    /* Both NULL in a world without token sequences. `sequence` says how many tokens there are and how long a sequence
     * is; SG_EARG: as shape. `tokens` fills [n_rows,time] of each: row r is drawn at step from.step + r, whatever rows
     * are asked for with it; counts is 1 where a token is to be predicted from those before it, else 0. */
    sg_status (*sequence)(sg_dim *n_vocab, sg_dim *time, const double *option, sg_error *err);
    void (*tokens)(int32_t *tokens, uint8_t *counts, const double *option, sg_dim n_rows, sg_origin from);
    /* NULL in a world whose truth does not follow from its sequences. Fills all fields but the first, which is tokens
     * and has its numbers. SG_EARG: they are no sequences of this world. */
    sg_status (*truth)(sg_tensor *field, const double *option, sg_dim count, sg_error *err);
    /* NULL in a world that no files are known of. A line of text as one sequence; SG_EFORMAT: it is none. */
    sg_status (*read)(int32_t *tokens, uint8_t *counts, const double *option, const char *line, sg_error *err);
    /* NULL in a world whose tokens are no words. The text of a token, without spaces; token 0 is the unknown word, and
     * 1 is what every sequence begins with. */
    void (*word)(char *to, size_t size, const double *option, int32_t token);
} sg_world;

/* A field called `next`, [count,time,tokens] bool, says which tokens may follow each position (legality.h). */

/* Every world, in the order of worlds.def. */
int sg_world_count(void);
const sg_world *sg_world_at(int i);
/* The world of that name; NULL with an SG_ENOTFOUND that suggests the nearest. */
const sg_world *sg_world_find(const char *name, sg_error *err);

/* The words of a world as a tokenizer.json: a token for each word of a text, in front the one that begins every
 * sequence. SG_EUNSUPPORTED: its tokens are no words. */
sg_status sg_world_write_tokenizer(const sg_world *world, int n_settings, const sg_setting *settings, FILE *to,
                                   sg_error *err) SG_MUST_CHECK;

typedef struct sg_sample sg_sample;

/* `count` items, of stream 0 and step 0.  SG_EARG: an option the world does not have or cannot take. */
sg_status sg_world_sample(sg_sample **out, const sg_world *world, int n_settings, const sg_setting *settings,
                          sg_dim count, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The truth behind sequences that come from elsewhere, tokens [count,time] i32: a sample like that above.
 * SG_EUNSUPPORTED: this world cannot tell it; SG_ESHAPE; SG_EARG: no sequences of this world. */
sg_status sg_world_truth(sg_sample **out, const sg_world *world, int n_settings, const sg_setting *settings,
                         const sg_tensor *tokens, sg_error *err) SG_MUST_CHECK;
void sg_sample_free(sg_sample *s); /* NULL is fine */

/* The tensor of a field, borrowed until the sample is freed; NULL if there is no such field. */
const sg_tensor *sg_sample_find(const sg_sample *s, const char *field);

/* The world's sequences as a source of two fields, tokens [rows,time] i32 and counts [rows,time] bool. Row r of all
 * that is ever drawn depends on (seed, r) alone. SG_EUNSUPPORTED: this world has no sequences. */
sg_status sg_world_source(sg_source *out, const sg_world *world, int n_settings, const sg_setting *settings,
                          sg_dim rows, uint64_t seed, sg_dim *n_vocab, sg_error *err) SG_MUST_CHECK;

/* A world's items as a source of some of its fields, which all have an item a row: item r of all that is ever drawn depends on
 * (seed, r) alone, where the world keeps items apart (shapes). SG_ENOTFOUND: no such field. */
sg_status sg_world_batches(sg_source *out, const sg_world *world, int n_settings, const sg_setting *settings, int n_fields,
                           const char *const *fields, sg_dim rows, uint64_t seed, sg_error *err) SG_MUST_CHECK;

/* Sequences of a world from a text file, one a line, also compressed by gzip; empty lines and those that begin with #
 * are passed over. */
typedef struct sg_world_file {
    sg_tensor tokens, counts; /* [n,time] i32, bool */
    uint64_t hash;            /* of the tokens */
} sg_world_file;
/* SG_EFORMAT names the line; SG_EUNSUPPORTED: no files are known of this world. */
sg_status sg_world_file_read(sg_world_file *out, const sg_world *world, int n_settings, const sg_setting *settings,
                             const char *path, sg_error *err) SG_MUST_CHECK;
void sg_world_file_free(sg_world_file *f); /* a zeroed struct is fine */
/* As sg_world_source; every row of the file once an epoch, in an order drawn anew for each. The file outlives it. */
sg_status sg_world_file_source(sg_source *out, const sg_world_file *f, sg_dim rows, uint64_t seed,
                               sg_error *err) SG_MUST_CHECK;

/* { "world", "seed", "count", "options": {...}, one nested array per field } as one line of JSON. */
sg_status sg_sample_write_json(const sg_sample *s, FILE *to, sg_error *err) SG_MUST_CHECK;
/* The same for people: one block per field, its name, shape and help, one line per row. */
sg_status sg_sample_write_text(const sg_sample *s, FILE *to, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
