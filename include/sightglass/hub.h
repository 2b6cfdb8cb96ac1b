/* Hubs: models by name, as "org/name", in the cache that Hugging Face's tools keep, and fetched into it.
 *
 *     sg_hub_pulled *p;
 *     SG_TRY(sg_hub_pull(&p, (sg_hub_ask){.repo = "org/name"}, sg_hub_defaults(), err));
 *     SG_TRY(sg_model_open(&m, p->model, sg_model_defaults(), err));
 *
 * The cache has, for each repository, blobs/ETAG with a file's bytes, snapshots/COMMIT/PATH that point there, and
 * refs/main with the commit. What is not whole yet is blobs/ETAG.incomplete, from which the next attempt goes on. A
 * file is whole once its size and its hash are those that the hub told: SHA-256 for large files, git's SHA-1 for small
 * ones. */
#ifndef SIGHTGLASS_HUB_H
#define SIGHTGLASS_HUB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what was pulled ---- */

/* Where a pulled model is: of "org/name" its snapshot's folder, or the one GGUF file in it; of "org/name:FILE" that
 * file. *out is the caller's to free(). Nothing is fetched. SG_ENOTFOUND says how to; SG_EARG: it is no such name. */
sg_status sg_hub_find(char **out, const char *name, sg_error *err) SG_MUST_CHECK;

/* Whether a text could be such a name: "name", "org/name", "org/name:FILE". */
bool sg_hub_is_name(const char *name);

/* A model as users name it: a path that is there, and anything that could be no such name, as it is; else what sg_hub_find says.
 * *out is the caller's to free(). */
sg_status sg_hub_locate(char **out, const char *model, sg_error *err) SG_MUST_CHECK;

/* ---- pulling ---- */

typedef struct sg_hub_ask {
    const char *repo;     /* "org/name" */
    const char *file;     /* one file by name or pattern; NULL: what opening the model takes */
    const char *revision; /* branch, tag or commit; NULL: "main" */
    int n_include;
    const char *const *include; /* patterns: these files and no others, pickles too */
    const char *to;             /* a folder that gets plain files; NULL: the cache */
} sg_hub_ask;

typedef struct sg_hub_opts {
    const char *endpoint; /* HF_ENDPOINT, else "https://huggingface.co" */
    const char *token;    /* HF_TOKEN; sent to the endpoint alone, never to where it redirects. NULL: none */
    bool offline;         /* HF_HUB_OFFLINE: nothing is asked of anybody */
    int n_tries;          /* 6: of a request that fails without any progress */
    double wait_seconds;  /* 1: before the second try, then twice as long each time */
    void (*progress)(void *context, const char *file, uint64_t done,
                     uint64_t all); /* bytes of all files; NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED, what came so far is kept */
} sg_hub_opts;
sg_hub_opts sg_hub_defaults(void);

typedef struct sg_hub_file {
    const char *name;
    uint64_t bytes;
    bool was_there; /* nothing of it was fetched */
} sg_hub_file;

typedef struct sg_hub_pulled {
    const char *folder; /* the snapshot, or what `to` said */
    const char *model;  /* what sg_model_open takes: that folder, or a GGUF file in it */
    const char *commit;
    int n_files, n_left;
    const sg_hub_file *files;
    const sg_hub_file *left; /* of the repository what was not wanted; sizes 0 where the hub does not tell them */
    uint64_t fetched_bytes;
} sg_hub_pulled;

/* SG_EARG: a name that is none, or a file that the repository has not; SG_ENOTFOUND; SG_EIO, after all tries;
 * SG_EFORMAT: the hub says what cannot be (names that lead elsewhere, lengths or hashes that differ from what was
 * told); SG_EUNSUPPORTED: several GGUF files, or nothing but pickles, with what to type instead. */
sg_status sg_hub_pull(sg_hub_pulled **out, sg_hub_ask ask, sg_hub_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_hub_pulled_free(sg_hub_pulled *p); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
