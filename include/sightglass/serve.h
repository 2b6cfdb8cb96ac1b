/* The server: models, jobs and a page over HTTP, for one person on one machine.
 *
 *     sg_server_opts opts = sg_server_defaults();
 *     opts.workspace = "work";
 *     SG_TRY(sg_server_new(&s, &opts, err));
 *     SG_TRY(sg_server_start(s, err));
 *     puts(sg_server_url(s)); // http://127.0.0.1:43117/?token=...
 *     ...
 *     sg_server_stop(s);
 *     sg_server_free(s);
 *
 * It binds the loopback interface unless told otherwise, wants a token of every request but GET /health, answers only
 * to its own name and its own page, bounds what it reads, and never connects to anything. docs/api.md lists what can be
 * asked. */
#ifndef SIGHTGLASS_SERVE_H
#define SIGHTGLASS_SERVE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_server sg_server;

/* A file that lies in the program: "page/index.html", "models/othello8/config.json". */
typedef struct sg_server_asset {
    const char *path;
    const unsigned char *bytes; /* compressed with gzip where `gzip` is set */
    size_t n_bytes;
    const char *sha256; /* of what is served or unpacked, before compression: 64 digits */
    bool gzip;
} sg_server_asset;

/* ---- jobs: work that takes longer than an answer may ---- */

typedef struct sg_server_job sg_server_job;

typedef struct sg_job_kind {
    const char *name; /* "study" */
    const char *what; /* one sentence for people */
    const char *spec; /* the type of its specification, as in src/serve/types.def: "{name: string, full?: boolean}" */
    bool resumable;   /* run may be called again with sg_job_resumed, and goes on from what lies in its folder */
    /* On the thread of jobs. *result is JSON, by malloc; SG_ECANCELLED where it saw that it was to stop. */
    sg_status (*run)(sg_server_job *job, const char *spec, char **result, sg_error *err);
} sg_job_kind;

const char *sg_job_id(const sg_server_job *job);
/* A folder of its own in the workspace, made by the first call. */
sg_status sg_job_folder(sg_server_job *job, const char **out, sg_error *err) SG_MUST_CHECK;
bool sg_job_resumed(const sg_server_job *job);
/* Says how far it is, and lets requests of people go first. `total` 0: not known; `phase` may be NULL. */
void sg_job_progress(sg_server_job *job, double done, double total, const char *phase);
bool sg_job_cancelled(const sg_server_job *job);
/* The same as a flag, for functions that take one; it never goes back. */
const volatile sig_atomic_t *sg_job_cancel_flag(const sg_server_job *job);
/* What the result was computed with, kept beside it. */
void sg_job_ran_on(sg_server_job *job, const char *backend, uint64_t seed);

/* ---- the server ---- */

/* What a model is opened with (adapt.h): a LoRA, or a sparse autoencoder. */
typedef struct sg_server_adapter {
    const char *model; /* its id; NULL: the only one */
    const char *folder;
    bool autoencoder;
    double strength; /* of a LoRA */
    int use;         /* sg_sae_use, of an autoencoder */
} sg_server_adapter;

typedef struct sg_server_opts {
    const char *host;      /* "127.0.0.1" */
    int port;              /* 0: any that is free */
    const char *workspace; /* a folder, made where it is absent; NULL: nothing is kept */
    const char *token;     /* NULL: a random one */
    const char *commit;    /* "unknown"; of the program, kept beside results */
    int n_models;
    const char *const *models; /* folders; requests name the last part of the path */
    int n_adapters;
    const sg_server_adapter *adapters;
    int n_assets;
    const sg_server_asset *assets;
    bool page; /* true; serve the page among the assets */
    int n_kinds;
    const sg_job_kind *kinds; /* beside its own */
    const char *studies;      /* JSON for GET /api/v1/studies; NULL: none */
    int n_hosts;
    const char *const *hosts; /* "name:port", more values of Host that it answers to, as behind a tunnel */
    int n_workers;            /* 2; threads that answer requests */
    int n_streams;            /* 4; more, for answers that take long, such as streams */
    int n_threads;            /* 2; that one answer may compute with */
    double idle_seconds;      /* 30; a connection that does nothing is closed */
    double read_seconds;      /* 60; a request that is not whole by then is dropped (bodies: and 64 KiB/s) */
    int n_connections;        /* 256 */
    int n_waiting;            /* 64; requests that wait for a thread, before others are refused */
    size_t body_bytes;        /* 8 MiB; of a request in JSON */
    bool check_replies;       /* hold each answer against its type: in builds with a sanitizer, and in tests */
    void (*log)(void *context, const char *line); /* one per request; NULL: none */
    void *context;
} sg_server_opts;
sg_server_opts sg_server_defaults(void);

/* Opens the workspace, and marks as interrupted what ran there when the last server ended. Texts are copied; assets,
 * adapters and kinds outlive the server. SG_EARG: another server has the workspace. */
sg_status sg_server_new(sg_server **out, const sg_server_opts *opts, sg_error *err) SG_MUST_CHECK;
/* Binds, and answers from now on. SG_EIO: the port is taken. */
sg_status sg_server_start(sg_server *s, sg_error *err) SG_MUST_CHECK;
const char *sg_server_url(const sg_server *s); /* with the token; NULL before start */
int sg_server_port(const sg_server *s);        /* 0 before start */
const char *sg_server_token(const sg_server *s);
/* Answers what is being answered with an end, saves jobs, closes all. False: some work did not stop within `seconds`;
 * then only leaving the process is safe. */
bool sg_server_stop(sg_server *s, double seconds);
void sg_server_free(sg_server *s); /* stops; NULL is fine */

/* Puts the assets below `prefix` ("models/othello8") into `folder`, each whole or not at all; what lies there with the
 * same SHA-256 stays. SG_ENOTFOUND: there are none. */
sg_status sg_server_unpack(const char *folder, const char *prefix, int n_assets, const sg_server_asset *assets,
                           sg_error *err) SG_MUST_CHECK;

/* What can be asked, as "ts" (types for the page), "openapi" or "markdown". SG_EARG: another form. */
sg_status sg_server_api(FILE *to, const char *form, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
