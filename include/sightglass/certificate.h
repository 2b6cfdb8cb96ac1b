/* Certificates: what a verification found, kept beside the model, and whether the model is still the one it was about.
 *
 *     sg_certificate *c;
 *     SG_TRY(sg_certificate_find(&c, "models/stories260K", err));
 *     if (c)
 *         printf("%s: %s%s\n", c->date, c->holds ? "verified" : "failed", c->stale ? ", but the files changed since" :
 * ""); sg_certificate_free(c);
 *
 * A model is known by SHA-256 of the bytes of its config and weights. Reading all of them takes as long as reading the
 * model, so showing a certificate compares a fingerprint: sizes and SHA-256 of the ends and of 256 pages of each file.
 * A change between those pages goes unseen until the model is verified again. */
#ifndef SIGHTGLASS_CERTIFICATE_H
#define SIGHTGLASS_CERTIFICATE_H

#include "sightglass/verify.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- which model it is ---- */

#define SG_HASH_TEXT 65 /* SHA-256 in hexadecimal digits, and a NUL */

typedef struct sg_identity_file {
    const char *name; /* without its folder */
    uint64_t bytes;
    char sha256[SG_HASH_TEXT]; /* "" where only a fingerprint was asked for */
} sg_identity_file;

typedef struct sg_file_identity {
    char hash[SG_HASH_TEXT];        /* of all files; "" where only a fingerprint was asked for */
    char fingerprint[SG_HASH_TEXT]; /* of sizes and samples */
    int n_files;
    const sg_identity_file *files; /* config.json and the weights of a folder, or the one file */
} sg_file_identity;

typedef struct sg_file_identity_opts {
    bool full; /* read every byte (true); false: the fingerprint alone */
    void (*progress)(void *context, const char *part, double done);
    void *context;
    const volatile sig_atomic_t *cancel;
} sg_file_identity_opts;
sg_file_identity_opts sg_file_identity_defaults(void);

/* model: what sg_model_open takes. SG_ENOTFOUND, SG_EIO, SG_EFORMAT, SG_ECANCELLED. */
sg_status sg_file_identity_of(sg_file_identity **out, const char *model, sg_file_identity_opts opts,
                              sg_error *err) SG_MUST_CHECK;
void sg_file_identity_free(sg_file_identity *id); /* NULL is fine */

/* ---- certificates ---- */

typedef struct sg_certificate {
    const char *program; /* "sightglass 0.1.0 (7ab3...)" */
    const char *date;    /* "2026-11-27T06:43:10Z" */
    const char *cpu;
    const char *model; /* the folder's or file's name */
    const char *hash, *fingerprint;
    const char *against;   /* "golden": another program's values, "self": our own in f64, "model": another model's */
    const char *reference; /* the golden file, "own run in f64, reference kernels", the other model */
    const char *reference_hash; /* of the model behind it; NULL: not known */
    int n_prompts;
    sg_dim n_positions; /* of all prompts */
    int n_runs;
    const sg_verify_run *const *runs;
    bool holds; /* every run does */
    /* Only of certificates that were read: */
    bool stale;       /* the model's files are not those that were verified */
    const char *path; /* where it was */
} sg_certificate;

/* Beside the model: MODEL/sightglass-certificate.json, or FILE.certificate.json; where that cannot be written, in
 * $XDG_DATA_HOME/sightglass/certificates. A path that is not NULL is taken instead. *where, if not NULL, gets the path,
 * the caller's to free(). */
sg_status sg_certificate_save(const sg_certificate *c, const char *model, const char *path, char **where,
                              sg_error *err) SG_MUST_CHECK;

/* The model's, of the places above the first there is; *out NULL: there is none. SG_EFORMAT: it is no certificate. */
sg_status sg_certificate_find(sg_certificate **out, const char *model, sg_error *err) SG_MUST_CHECK;
void sg_certificate_free(sg_certificate *c); /* of sg_certificate_find; NULL is fine */

/* What it can prove and what it cannot, in a sentence. */
const char *sg_certificate_meaning(const sg_certificate *c);

/* As JSON text; free() it. One that was read has "stale" and "path" too, which files have not. NULL when memory is out.
 */
char *sg_certificate_text(const sg_certificate *c);

#ifdef __cplusplus
}
#endif
#endif
