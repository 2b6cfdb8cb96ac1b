/* Jobs: work that takes longer than an answer may, one at a time, on a thread of lower priority.
 *
 * A job's row in the workspace says all that is known of it, and is synced whenever its state changes:
 *
 *     queued -> running -> done | failed | stopped | interrupted
 *
 * interrupted is what a job is that ran when its server ended, however that came. A job that is not done can be resumed
 * where its kind allows: it is queued again, and finds in its folder what it left there. */
#ifndef SG_SERVE_JOBS_H
#define SG_SERVE_JOBS_H

#include "serve/server.h"

/* The kinds that the server has by itself. */
extern const sg_job_kind serve_train_kind, serve_method_kind;

sg_status serve_jobs_new(jobs **out, serve *s, sg_error *err) SG_MUST_CHECK;
sg_status serve_jobs_start(jobs *j, sg_error *err) SG_MUST_CHECK; /* the thread */
/* Asks what runs to stop, and waits for it. False: it did not within `seconds`. */
bool serve_jobs_stop(jobs *j, double seconds);
void serve_jobs_free(jobs *j); /* stopped; NULL is fine */

int serve_jobs_n_kinds(const jobs *j);
const sg_job_kind *serve_jobs_kind(const jobs *j, int i);

/* What a request may do. Where it cannot, *code is the HTTP code that says so and err has the words. */
sg_status serve_jobs_add(jobs *j, const char *kind, const json_t *spec, json_t **job, int *code, serve_misfit *misfit,
                         sg_error *err) SG_MUST_CHECK;
sg_status serve_jobs_get(jobs *j, const char *id, json_t **job, sg_error *err) SG_MUST_CHECK; /* with its result */
sg_status serve_jobs_list(jobs *j, const char *state, const char *kind, int64_t n, json_t **list,
                          sg_error *err) SG_MUST_CHECK;
sg_status serve_jobs_halt(jobs *j, const char *id, json_t **job, int *code, sg_error *err) SG_MUST_CHECK;
sg_status serve_jobs_resume(jobs *j, const char *id, json_t **job, int *code, sg_error *err) SG_MUST_CHECK;
sg_status serve_jobs_delete(jobs *j, const char *id, int *code, sg_error *err) SG_MUST_CHECK;
/* How many are in each state, for the metrics: an object. */
json_t *serve_jobs_count(jobs *j);

/* For kinds that lie in this folder: the server behind a job. */
serve *serve_job_server(sg_server_job *job);

#endif
