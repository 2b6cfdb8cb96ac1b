/* Methods as jobs: what a request may ask of one, made into what sg_method_do takes.
 *
 * An input that is a model is the id of one that the server knows, or job:ID for what the job ID trained. A file is
 * job:ID/NAME, from what that job wrote, or job:ID for its whole folder: requests name no paths of the machine, and a
 * text that is one is refused. */
#ifndef SG_SERVE_METHODS_H
#define SG_SERVE_METHODS_H

#include "serve/server.h"
#include "sightglass/method.h"

/* { method, action?, inputs?, settings?, seed?, out? }, checked and resolved. Texts are the struct's own. */
typedef struct serve_method_ask {
    sg_arena *arena;
    const sg_method *method;
    sg_method_ask ask; /* `out` is a plain name */
} serve_method_ask;

/* SG_ENOTFOUND: no such method, model or job; SG_EARG: what the method does not take. */
sg_status serve_method_read(serve_method_ask *out, serve *s, const json_t *spec, sg_error *err) SG_MUST_CHECK;
void serve_method_end(serve_method_ask *a); /* a zeroed one is fine */

/* The folder of a job that ended, whether or not there is one: [A-Za-z0-9]. SG_EARG: no id; SG_EUNSUPPORTED: no
 * workspace. */
sg_status serve_job_folder_of(serve *s, const char *id, char path[4300], sg_error *err) SG_MUST_CHECK;

#endif
