/* Routes of jobs, of the events that tell of them, and of snapshots of views. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "serve/events.h"
#include "serve/exchange.h"
#include "base/sha256.h"
#include "serve/jobs.h"
#include "serve/workspace.h"

/* ---- jobs ---- */

/* A failure that has a code of its own is an answer already. */
static sg_status refused(serve_reply *reply, int code, const char *error_code, sg_status status, const sg_error *err)
{
    if (status == SG_OK || !code)
        return status;
    return serve_reply_error(reply, code, error_code, "%s", err->text);
}

static sg_status list(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *all = NULL, *kinds = json_array();

    SG_TRY(serve_jobs_list(s->jobs, serve_query(r, "state"), serve_query(r, "kind"),
                           (int64_t)serve_query_number(r, "n", 100), &all, err));
    for (int i = 0; i < serve_jobs_n_kinds(s->jobs); i++) {
        const sg_job_kind *k = serve_jobs_kind(s->jobs, i);
        json_array_append_new(kinds, json_pack("{s:s, s:s, s:s, s:b}", "name", k->name, "what", k->what, "spec",
                                               k->spec, "resumable", k->resumable));
    }
    serve_reply_json(reply, json_pack("{s:o, s:o}", "jobs", all, "kinds", kinds));
    return SG_OK;
}

static sg_status add(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *job = NULL;
    int code;
    serve_misfit misfit = {.code = NULL};
    const sg_status status = serve_jobs_add(s->jobs, json_string_value(json_object_get(r->body, "kind")),
                                            json_object_get(r->body, "spec"), &job, &code, &misfit, err);
    if (status != SG_OK) {
        if (misfit.path[0])
            serve_reply_param(reply, "%s", misfit.path);
        return refused(reply, code, misfit.code, status, err);
    }
    char where[80];
    snprintf(where, sizeof where, "/api/v1/jobs/%s", json_string_value(json_object_get(job, "id")));
    serve_reply_header(reply, "Location", where);
    serve_reply_code(reply, 201);
    serve_reply_json(reply, job);
    return SG_OK;
}

static sg_status get(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *job = NULL;
    SG_TRY(serve_jobs_get(s->jobs, r->param[0], &job, err));
    serve_reply_json(reply, job);
    return SG_OK;
}

static sg_status stop(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *job = NULL;
    int code;
    const sg_status status = serve_jobs_halt(s->jobs, r->param[0], &job, &code, err);
    if (status != SG_OK)
        return refused(reply, code, NULL, status, err);
    serve_reply_json(reply, job);
    return SG_OK;
}

static sg_status resume(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *job = NULL;
    int code;
    const sg_status status = serve_jobs_resume(s->jobs, r->param[0], &job, &code, err);
    if (status != SG_OK)
        return refused(reply, code, "not_resumable", status, err);
    serve_reply_json(reply, job);
    return SG_OK;
}

static sg_status forget(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    int code;
    const sg_status status = serve_jobs_delete(s->jobs, r->param[0], &code, err);
    if (status != SG_OK)
        return refused(reply, code, "job_runs", status, err);
    serve_reply_code(reply, 204);
    serve_reply_bytes(reply, "application/json", NULL, 0, NULL);
    return SG_OK;
}

/* ---- events ---- */

static sg_status listen_to(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const char *topics = serve_query(r, "topics"), *header = serve_header(r, "Last-Event-ID");
    double last = serve_query_number(r, "last", -1);

    if (header) {
        char *end;
        last = strtod(header, &end);
        if (end == header || *end || !(last >= 0 && last < 9e15))
            return sg_fail(err, SG_EARG, "Last-Event-ID is \"%.40s\", wanted the number of an event", header);
    }
    serve_reply_header(reply, "X-Accel-Buffering", "no");
    return serve_events_answer(s->events, reply->exchange, topics ? topics : "", (int64_t)last, err);
}

/* ---- snapshots ---- */

static sg_status keep_view(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    unsigned char bytes[6];
    char id[16], hash[SG_SHA256_TEXT];
    struct timespec now;
    const json_t *name = json_object_get(r->body, "name");

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return sg_fail(err, SG_EIO, "the system gives no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    char *view = json_dumps(json_object_get(r->body, "view"), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (!view)
        return sg_fail(err, SG_ENOMEM, "out of memory for a snapshot");
    sg_sha256(hash, view, strlen(view));
    clock_gettime(CLOCK_REALTIME, &now);
    const double created = (double)now.tv_sec + (double)(now.tv_nsec / 1000000) * 1e-3;
    const sg_status status =
        serve_workspace_do_synced(s->workspace, err, "INSERT INTO snapshots VALUES(?,?,?,?,?)", "ssssd", id,
                                  name ? json_string_value(name) : "", view, hash, created);
    free(view);
    SG_TRY(status);
    serve_reply_code(reply, 201);
    serve_reply_json(reply,
                     json_pack("{s:s, s:s, s:s, s:f, s:O}", "id", id, "name", name ? json_string_value(name) : "",
                               "hash", hash, "created", created, "view", json_object_get(r->body, "view")));
    return SG_OK;
}

static sg_status list_views(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *rows = NULL;
    (void)r;
    SG_TRY(serve_workspace_rows(s->workspace, &rows, err,
                                "SELECT id, name, hash, created FROM snapshots ORDER BY created DESC LIMIT 500", ""));
    serve_reply_json(reply, json_pack("{s:o}", "snapshots", rows));
    return SG_OK;
}

static sg_status get_view(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    json_t *rows = NULL;
    SG_TRY(serve_workspace_rows(s->workspace, &rows, err,
                                "SELECT id, name, hash, created, view AS view_json FROM snapshots WHERE id=?", "s",
                                r->param[0]));
    json_t *row = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    if (!row)
        return sg_fail(err, SG_ENOTFOUND, "there is no snapshot %.40s", r->param[0]);
    serve_reply_json(reply, row);
    return SG_OK;
}

static sg_status forget_view(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    SG_TRY(serve_workspace_do_synced(s->workspace, err, "DELETE FROM snapshots WHERE id=?", "s", r->param[0]));
    serve_reply_code(reply, 204);
    serve_reply_bytes(reply, "application/json", NULL, 0, NULL);
    return SG_OK;
}

const serve_route serve_routes_jobs[] = {
    {"GET", "/api/v1/jobs", list, "", "Jobs", "state?: JobState, kind?: string, n?: integer", 0,
     "Jobs, newest first and without their results, and the kinds that there are.", 0},
    {"POST", "/api/v1/jobs", add, "NewJob", "Job", "", 0, "Puts a job into the queue.", 0},
    {"GET", "/api/v1/jobs/{job}", get, "", "Job", "", 0, "One job, with its result.", 0},
    {"POST", "/api/v1/jobs/{job}/stop", stop, "", "Job", "", 0, "Asks a job to stop; it says so by an event.", 0},
    {"POST", "/api/v1/jobs/{job}/resume", resume, "", "Job", "", 0,
     "Goes on with a job that was stopped, interrupted or failed, where its kind allows.", 0},
    {"DELETE", "/api/v1/jobs/{job}", forget, "", "", "", 0, "Forgets a job that is over, with its folder.", 0},
    {"GET", "/api/v1/events", listen_to, "", "", "topics?: string, last?: integer", SERVE_STREAM | SERVE_QUICK,
     "Server-sent events of some topics (job,run.scalar; all without), from behind Last-Event-ID on.", 0},
    {"GET", "/api/v1/snapshots", list_views, "", "Snapshots", "", 0, "Views that were kept, newest first.", 0},
    {"POST", "/api/v1/snapshots", keep_view, "NewSnapshot", "Snapshot", "", 0, "Keeps the state of a view.", 1 << 20},
    {"GET", "/api/v1/snapshots/{snapshot}", get_view, "", "Snapshot", "", 0, "One of them.", 0},
    {"DELETE", "/api/v1/snapshots/{snapshot}", forget_view, "", "", "", 0, "Forgets it.", 0},
    {0},
};
