/* Jobs. The workspace's rows are the truth; in memory there is only what runs. */
#define _GNU_SOURCE /* nftw */
#include "serve/jobs.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/sha256.h"
#include "serve/workspace.h"

enum { MAX_QUEUED = 100, MAX_KINDS = 64, NICE = 10 };
static const double tell_every = 0.1, step_aside_seconds = 0.5;

struct sg_server_job {
    jobs *j;
    const sg_job_kind *kind;
    char id[24];
    char folder[4200];
    bool resumed;
    volatile sig_atomic_t cancel; /* what functions that train look at */
    atomic_bool cancelled;
    atomic_bool by_person; /* stopped, rather than interrupted */
    double began, first_done, done, total, told;
    char phase[80], backend[80];
    uint64_t seed;
    bool has_seed;
};

struct jobs {
    serve *s;
    int n_kinds;
    const sg_job_kind *kind[MAX_KINDS];
    const serve_type *spec[MAX_KINDS];
    pthread_mutex_t lock;
    pthread_cond_t more, idle;
    sg_server_job *running;
    bool started;
    atomic_bool stopping;
    pthread_t thread;
};

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)(now.tv_nsec / 1000000) * 1e-3;
}

/* ---- rows ---- */

#define COLUMNS                                                                                                        \
    "id, kind, spec AS spec_json, state, done, total, phase, error, created, started, ended, runs, spec_hash, "        \
    "code_version, backend, seed"

static const sg_job_kind *find_kind(const jobs *j, const char *name)
{
    for (int i = 0; i < j->n_kinds; i++)
        if (strcmp(j->kind[i]->name, name) == 0)
            return j->kind[i];
    return NULL;
}

/* As requests see it: where it came from is one object, whether it can go on is said. */
static void dress(const jobs *j, json_t *row)
{
    static const char *const of_origin[] = {"spec_hash", "code_version", "backend", "seed"};
    const sg_job_kind *kind = find_kind(j, json_string_value(json_object_get(row, "kind")));
    const char *state = json_string_value(json_object_get(row, "state"));
    json_t *origin = json_pack("{s:s}", "where", "server");

    for (size_t i = 0; i < SG_COUNT_OF(of_origin); i++) {
        json_object_set(origin, of_origin[i], json_object_get(row, of_origin[i]));
        json_object_del(row, of_origin[i]);
    }
    json_object_set_new(row, "origin", origin);
    const bool ended =
        state && (strcmp(state, "interrupted") == 0 || strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0);
    json_object_set_new(row, "resumable", json_boolean(kind && kind->resumable && ended));
    /* What runs is further than its row, which is written less often. */
    double eta = -1;
    if (j->running && strcmp(j->running->id, json_string_value(json_object_get(row, "id"))) == 0) {
        const sg_server_job *job = j->running;
        const double seconds = sg_now() - job->began, step = job->done - job->first_done;
        json_object_set_new(row, "done", json_real(job->done));
        json_object_set_new(row, "total", json_real(job->total));
        json_object_set_new(row, "phase", json_string(job->phase));
        if (job->total > 0 && step > 0)
            eta = seconds * (job->total - job->done) / step;
    }
    json_object_set_new(row, "eta", eta >= 0 ? json_real(eta) : json_null());
}

sg_status serve_jobs_get(jobs *j, const char *id, json_t **job, sg_error *err)
{
    json_t *rows = NULL;
    SG_TRY(serve_workspace_rows(j->s->workspace, &rows, err,
                                "SELECT " COLUMNS ", result AS result_json FROM jobs WHERE id=?", "s", id));
    json_t *row = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    if (!row)
        return sg_fail(err, SG_ENOTFOUND, "there is no job %.40s", id);
    pthread_mutex_lock(&j->lock);
    dress(j, row);
    pthread_mutex_unlock(&j->lock);
    *job = row;
    return SG_OK;
}

sg_status serve_jobs_list(jobs *j, const char *state, const char *kind, int64_t n, json_t **list, sg_error *err)
{
    SG_TRY(serve_workspace_rows(j->s->workspace, list, err,
                                "SELECT " COLUMNS
                                " FROM jobs WHERE (?1 IS NULL OR state=?1) AND (?2 IS NULL OR kind=?2)"
                                " ORDER BY created DESC, rowid DESC LIMIT ?3",
                                "??i", state, kind, n));
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < json_array_size(*list); i++)
        dress(j, json_array_get(*list, i));
    pthread_mutex_unlock(&j->lock);
    return SG_OK;
}

json_t *serve_jobs_count(jobs *j)
{
    json_t *rows = NULL, *all = json_object();
    if (serve_workspace_rows(j->s->workspace, &rows, NULL, "SELECT state, count(*) AS n FROM jobs GROUP BY state",
                             "") == SG_OK)
        for (size_t i = 0; i < json_array_size(rows); i++)
            json_object_set(all, json_string_value(json_object_get(json_array_get(rows, i), "state")),
                            json_object_get(json_array_get(rows, i), "n"));
    json_decref(rows);
    return all;
}

/* ---- events ---- */

static void tell(jobs *j, const char *event, const char *id, const char *kind, const char *error)
{
    json_t *payload = json_pack("{s:s, s:s}", "job", id, "kind", kind);
    if (error)
        json_object_set_new(payload, "error", json_string(error));
    serve_publish(j->s, event, payload, true);
}

void sg_job_progress(sg_server_job *job, double done, double total, const char *phase)
{
    serve *s = job->j->s;
    const double now = sg_now();
    const bool new_phase = phase && strcmp(phase, job->phase) != 0;

    pthread_mutex_lock(&job->j->lock);
    if (new_phase || job->total <= 0) {
        job->first_done = done;
        job->began = now;
    }
    job->done = done;
    job->total = total;
    if (new_phase)
        snprintf(job->phase, sizeof job->phase, "%s", phase);
    pthread_mutex_unlock(&job->j->lock);
    if (new_phase || now - job->told > tell_every || (total > 0 && done >= total)) {
        const double step = done - job->first_done;
        job->told = now;
        serve_publish(
            s, "job.progress",
            json_pack("{s:s, s:s, s:f, s:f, s:o, s:s}", "job", job->id, "kind", job->kind->name, "done", done, "total",
                      total, "eta",
                      total > 0 && step > 0 ? json_real((now - job->began) * (total - done) / step) : json_null(),
                      "phase", job->phase),
            false);
        const sg_status kept =
            serve_workspace_do(s->workspace, NULL, "UPDATE jobs SET done=?, total=?, phase=? WHERE id=?", "ddss", done,
                               total, job->phase, job->id);
        (void)kept; /* of a full disk the end of the job will tell */
    }
    serve_let_people_go_first(s, step_aside_seconds);
}

/* ---- what kinds ask ---- */

const char *sg_job_id(const sg_server_job *job)
{
    return job->id;
}

serve *serve_job_server(sg_server_job *job)
{
    return job->j->s;
}

bool sg_job_resumed(const sg_server_job *job)
{
    return job->resumed;
}

bool sg_job_cancelled(const sg_server_job *job)
{
    return job->cancelled;
}

const volatile sig_atomic_t *sg_job_cancel_flag(const sg_server_job *job)
{
    return &job->cancel;
}

void sg_job_ran_on(sg_server_job *job, const char *backend, uint64_t seed)
{
    snprintf(job->backend, sizeof job->backend, "%s", backend ? backend : "");
    job->seed = seed;
    job->has_seed = true;
}

static bool folder_of(const jobs *j, const char *id, char *path, size_t most)
{
    const char *root = serve_workspace_path(j->s->workspace);
    return root && (size_t)snprintf(path, most, "%s/runs/%s", root, id) < most;
}

sg_status sg_job_folder(sg_server_job *job, const char **out, sg_error *err)
{
    char runs[4200];

    if (!job->folder[0]) {
        if (!folder_of(job->j, job->id, job->folder, sizeof job->folder))
            return sg_fail(err, SG_EUNSUPPORTED, "a job of kind %s needs a workspace, and this server has none",
                           job->kind->name);
        snprintf(runs, sizeof runs, "%s/runs", serve_workspace_path(job->j->s->workspace));
        if ((mkdir(runs, 0700) != 0 && errno != EEXIST) || (mkdir(job->folder, 0700) != 0 && errno != EEXIST)) {
            job->folder[0] = '\0';
            return sg_fail(err, SG_EIO, "%s: cannot be made: %s", runs, strerror(errno));
        }
    }
    *out = job->folder;
    return SG_OK;
}

/* ---- running ---- */

static void end_job(jobs *j, sg_server_job *job, sg_status status, const char *result, const char *error)
{
    const char *state = status == SG_OK                  ? "done"
                        : status != SG_ECANCELLED        ? "failed"
                        : job->by_person && !j->stopping ? "stopped"
                                                         : "interrupted";
    sg_error err;
    char seed[32] = "";
    const char *text = status == SG_OK || status == SG_ECANCELLED ? NULL : error;

    if (job->has_seed)
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)job->seed);
    if (serve_workspace_do_synced(j->s->workspace, &err,
                                  "UPDATE jobs SET state=?, result=?, error=?, done=?, total=?, phase=?, backend=?,"
                                  " seed=CAST(? AS INTEGER), ended=? WHERE id=?",
                                  "s??dds??ds", state, status == SG_OK ? result : NULL, text, job->done, job->total,
                                  job->phase, job->backend[0] ? job->backend : NULL, job->has_seed ? seed : NULL,
                                  wall_clock(), job->id) != SG_OK) {
        state = "failed";
        text = err.text;
    }
    char event[40];
    snprintf(event, sizeof event, "job.%s", state);
    tell(j, event, job->id, job->kind->name, text);
}

static void run_one(jobs *j, const json_t *row)
{
    sg_error err = {SG_OK, ""};
    char *result = NULL;
    sg_server_job *job = calloc(1, sizeof *job);
    const char *kind = json_string_value(json_object_get(row, "kind"));

    if (!job)
        return;
    job->j = j;
    job->kind = find_kind(j, kind);
    job->began = sg_now();
    snprintf(job->id, sizeof job->id, "%s", json_string_value(json_object_get(row, "id")));
    job->resumed = json_integer_value(json_object_get(row, "runs")) > 0;
    job->done = json_number_value(json_object_get(row, "done"));
    pthread_mutex_lock(&j->lock);
    const bool stopping = j->stopping;
    if (!stopping)
        j->running = job;
    pthread_mutex_unlock(&j->lock);
    if (stopping) { /* it stays in the queue, for the next server */
        free(job);
        return;
    }
    sg_status status =
        serve_workspace_do_synced(j->s->workspace, &err,
                                  "UPDATE jobs SET state='running', runs=runs+1, started=?, ended=NULL, error=NULL,"
                                  " code_version=? WHERE id=? AND state='queued'",
                                  "dss", wall_clock(), j->s->opts.commit, job->id);
    if (status == SG_OK && !job->kind)
        status = sg_fail(&err, SG_EUNSUPPORTED, "this server knows no jobs of kind %s", kind);
    if (status == SG_OK) {
        tell(j, "job.started", job->id, kind, NULL);
        status = job->kind->run(job, json_string_value(json_object_get(row, "spec")), &result, &err);
    }
    json_t *read = result ? json_loads(result, JSON_DECODE_ANY, NULL) : NULL;
    if (status == SG_OK && !read)
        status = sg_fail(&err, SG_ENUMERIC, "the result is %s", result ? "no JSON" : "missing");
    json_decref(read);
    static const sg_job_kind unknown = {.name = "unknown"};
    if (!job->kind)
        job->kind = &unknown;
    end_job(j, job, status, result, err.text);
    pthread_mutex_lock(&j->lock);
    j->running = NULL;
    pthread_cond_broadcast(&j->idle);
    pthread_mutex_unlock(&j->lock);
    free(result);
    free(job);
}

static json_t *next_job(jobs *j)
{
    json_t *rows = NULL;
    if (serve_workspace_rows(
            j->s->workspace, &rows, NULL,
            "SELECT id, kind, spec, runs, done FROM jobs WHERE state='queued' ORDER BY created, rowid LIMIT 1",
            "") != SG_OK)
        return NULL;
    json_t *row = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    return row;
}

static void *work(void *context)
{
    jobs *j = context;

    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* what people wait for goes first */
    pthread_mutex_lock(&j->lock);
    while (!j->stopping) {
        pthread_mutex_unlock(&j->lock);
        json_t *row = next_job(j);
        if (row)
            run_one(j, row);
        pthread_mutex_lock(&j->lock);
        if (!row && !j->stopping) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 10; /* whoever adds a job says so; this is for a database that was busy */
            pthread_cond_timedwait(&j->more, &j->lock, &until);
        }
        json_decref(row);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- what requests do ---- */

static sg_status new_id(char id[24], sg_error *err)
{
    unsigned char bytes[6];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return sg_fail(err, SG_EIO, "the system gives no random bytes");
    snprintf(id, 24, "%02x%02x%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]);
    return SG_OK;
}

static void wake_thread(jobs *j)
{
    pthread_mutex_lock(&j->lock);
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

static sg_status check_spec(jobs *j, const char *kind, const json_t *spec, int *code, serve_misfit *misfit,
                            sg_error *err)
{
    const char *nearest = NULL;

    for (int i = 0; i < j->n_kinds; i++) {
        if (strcmp(j->kind[i]->name, kind) == 0) {
            serve_misfit inner;
            sg_error wrong;
            if (serve_type_check(j->spec[i], j->s->types, spec, &inner, &wrong) == SG_OK)
                return SG_OK;
            *code = 400;
            *misfit = inner;
            snprintf(misfit->path, sizeof misfit->path, "spec%s%.200s", inner.path[0] ? "." : "", inner.path);
            return sg_fail(err, SG_EARG, "spec%s%s", inner.path[0] ? "." : ": ", wrong.text);
        }
        if (!nearest || sg_edit_distance(kind, j->kind[i]->name) < sg_edit_distance(kind, nearest))
            nearest = j->kind[i]->name;
    }
    *code = 400;
    misfit->code = "unknown_kind";
    snprintf(misfit->path, sizeof misfit->path, "kind");
    return sg_fail(err, SG_EARG, "kind: there are no jobs of kind \"%.40s\"; the nearest is %s", kind,
                   nearest ? nearest : "none");
}

sg_status serve_jobs_add(jobs *j, const char *kind, const json_t *spec, json_t **job, int *code, serve_misfit *misfit,
                         sg_error *err)
{
    char id[24], hash[SG_SHA256_TEXT];
    json_t *counts = serve_jobs_count(j);
    const json_int_t queued = json_integer_value(json_object_get(counts, "queued"));

    json_decref(counts);
    *code = 0;
    if (queued >= MAX_QUEUED) {
        *code = 429;
        misfit->code = "too_many_jobs";
        return sg_fail(err, SG_EARG, "%d jobs wait already", MAX_QUEUED);
    }
    SG_TRY(check_spec(j, kind, spec, code, misfit, err));
    SG_TRY(new_id(id, err));
    char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for a job");
    sg_sha256(hash, text, strlen(text));
    const sg_status status =
        serve_workspace_do_synced(j->s->workspace, err,
                                  "INSERT INTO jobs(id, kind, spec, spec_hash, state, code_version, created)"
                                  " VALUES(?,?,?,?,'queued',?,?)",
                                  "sssssd", id, kind, text, hash, j->s->opts.commit, wall_clock());
    free(text);
    SG_TRY(status);
    tell(j, "job.queued", id, kind, NULL);
    /* Before the thread looks, so that the answer says what was asked for: a job that waits. */
    SG_TRY(serve_jobs_get(j, id, job, err));
    wake_thread(j);
    return SG_OK;
}

static bool is_state(const json_t *job, const char *state)
{
    return strcmp(json_string_value(json_object_get(job, "state")), state) == 0;
}

static bool stop_running(jobs *j, const char *id)
{
    pthread_mutex_lock(&j->lock);
    const bool found = j->running && strcmp(j->running->id, id) == 0;
    if (found) {
        j->running->by_person = true;
        j->running->cancelled = true;
        j->running->cancel = 1;
    }
    pthread_mutex_unlock(&j->lock);
    return found;
}

sg_status serve_jobs_halt(jobs *j, const char *id, json_t **job, int *code, sg_error *err)
{
    *code = 0;
    SG_TRY(serve_jobs_get(j, id, job, err));
    if (!stop_running(j, id) && is_state(*job, "queued")) {
        SG_TRY(serve_workspace_do_synced(j->s->workspace, err,
                                         "UPDATE jobs SET state='stopped', ended=? WHERE id=? AND state='queued'", "ds",
                                         wall_clock(), id));
        /* It may have begun in between. */
        if (!stop_running(j, id))
            tell(j, "job.stopped", id, json_string_value(json_object_get(*job, "kind")), NULL);
    }
    json_decref(*job);
    return serve_jobs_get(j, id, job, err);
}

sg_status serve_jobs_resume(jobs *j, const char *id, json_t **job, int *code, sg_error *err)
{
    *code = 0;
    SG_TRY(serve_jobs_get(j, id, job, err));
    if (!json_is_true(json_object_get(*job, "resumable"))) {
        const char *kind = json_string_value(json_object_get(*job, "kind"));
        const sg_job_kind *of = find_kind(j, kind);
        *code = 409;
        sg_fail(err, SG_EARG,
                of && of->resumable ? "job %s is %s" : "job %s is %s, and jobs of kind %s begin anew each time", id,
                json_string_value(json_object_get(*job, "state")), kind);
        json_decref(*job);
        return SG_EARG;
    }
    json_decref(*job);
    SG_TRY(
        serve_workspace_do_synced(j->s->workspace, err,
                                  "UPDATE jobs SET state='queued', ended=NULL, error=NULL WHERE id=? AND state NOT IN"
                                  " ('queued','running','done')",
                                  "s", id));
    SG_TRY(serve_jobs_get(j, id, job, err));
    tell(j, "job.queued", id, json_string_value(json_object_get(*job, "kind")), NULL);
    wake_thread(j);
    return SG_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

sg_status serve_jobs_delete(jobs *j, const char *id, int *code, sg_error *err)
{
    json_t *job = NULL;
    char folder[4200];

    *code = 0;
    SG_TRY(serve_jobs_get(j, id, &job, err));
    const bool busy = is_state(job, "running") || is_state(job, "queued");
    json_decref(job);
    if (busy) {
        *code = 409;
        return sg_fail(err, SG_EARG, "job %s is not over; stop it first", id);
    }
    SG_TRY(serve_workspace_do_synced(j->s->workspace, err,
                                     "DELETE FROM jobs WHERE id=? AND state NOT IN ('queued','running')", "s", id));
    /* The id is from a row that we wrote, so that the folder is one of ours; links in it are removed, not followed. */
    if (folder_of(j, id, folder, sizeof folder))
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return SG_OK;
}

/* ---- begin and end ---- */

int serve_jobs_n_kinds(const jobs *j)
{
    return j->n_kinds;
}

const sg_job_kind *serve_jobs_kind(const jobs *j, int i)
{
    return j->kind[i];
}

static sg_status add_kind(jobs *j, const sg_job_kind *kind, sg_error *err)
{
    char name[80];
    if (j->n_kinds == MAX_KINDS || find_kind(j, kind->name))
        return sg_fail(err, SG_EARG, "the kind of jobs %s is there twice, or one too many", kind->name);
    snprintf(name, sizeof name, "of jobs %s", kind->name);
    SG_TRY(serve_type_parse(&j->spec[j->n_kinds], j->s->types, name, kind->spec, err));
    j->kind[j->n_kinds++] = kind;
    return SG_OK;
}

sg_status serve_jobs_new(jobs **out, serve *s, sg_error *err)
{
    jobs *j = calloc(1, sizeof *j);
    if (!j)
        return sg_fail(err, SG_ENOMEM, "out of memory for jobs");
    j->s = s;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->more, NULL);
    pthread_cond_init(&j->idle, NULL);
    sg_status status = add_kind(j, &serve_train_kind, err);
    if (status == SG_OK)
        status = add_kind(j, &serve_method_kind, err);
    for (int i = 0; i < s->opts.n_kinds && status == SG_OK; i++)
        status = add_kind(j, &s->opts.kinds[i], err);
    if (status == SG_OK)
        status = serve_workspace_do_synced(
            s->workspace, err, "UPDATE jobs SET state='interrupted', ended=? WHERE state='running'", "d", wall_clock());
    if (status != SG_OK) {
        serve_jobs_free(j);
        return status;
    }
    *out = j;
    return SG_OK;
}

sg_status serve_jobs_start(jobs *j, sg_error *err)
{
    j->started = pthread_create(&j->thread, NULL, work, j) == 0;
    return j->started ? SG_OK : sg_fail(err, SG_EIO, "the thread of jobs could not be started");
}

bool serve_jobs_stop(jobs *j, double seconds)
{
    struct timespec until;
    int rc = 0;

    if (!j->started)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_broadcast(&j->more);
    while (j->running && rc == 0) {
        j->running->cancelled = true;
        j->running->cancel = 1;
        rc = pthread_cond_timedwait(&j->idle, &j->lock, &until);
    }
    const bool all = !j->running;
    pthread_mutex_unlock(&j->lock);
    if (!all)
        return false;
    pthread_join(j->thread, NULL);
    j->started = false;
    return true;
}

void serve_jobs_free(jobs *j)
{
    if (!j)
        return;
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->more);
    pthread_cond_destroy(&j->idle);
    free(j);
}
