/* The workspace's database: SQLite, with its log written ahead. One connection, one lock: what is kept is small. */
#include "serve/workspace.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCHEMA = 1, EVENT_BLOCK = 1000 };

struct workspace {
    char *path; /* NULL: in memory */
    int lock_file;
    sqlite3 *db;
    pthread_mutex_t lock;
};

static const char schema[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE jobs(id TEXT PRIMARY KEY, kind TEXT NOT NULL, spec TEXT NOT NULL, spec_hash TEXT NOT NULL,"
    " state TEXT NOT NULL, done REAL NOT NULL DEFAULT 0, total REAL NOT NULL DEFAULT 0, phase TEXT NOT NULL DEFAULT '',"
    " result TEXT, error TEXT, code_version TEXT NOT NULL, backend TEXT, seed INTEGER, created REAL NOT NULL,"
    " started REAL, ended REAL, runs INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, name TEXT NOT NULL, data TEXT NOT NULL);"
    "CREATE TABLE snapshots(id TEXT PRIMARY KEY, name TEXT NOT NULL, view TEXT NOT NULL, hash TEXT NOT NULL,"
    " created REAL NOT NULL);";

static sg_status db_fail(workspace *w, sg_error *err, const char *what)
{
    const int code = sqlite3_errcode(w->db);
    return sg_fail(err, code == SQLITE_NOMEM ? SG_ENOMEM : SG_EIO, "%s: %s: %s", w->path ? w->path : "workspace", what,
                   sqlite3_errmsg(w->db));
}

static sg_status run(workspace *w, const char *sql, sg_error *err)
{
    return sqlite3_exec(w->db, sql, NULL, NULL, NULL) == SQLITE_OK ? SG_OK : db_fail(w, err, "database");
}

static void bind(sqlite3_stmt *st, const char *kinds, va_list args)
{
    for (int i = 0; kinds[i]; i++) {
        if (kinds[i] == 'i') {
            sqlite3_bind_int64(st, i + 1, va_arg(args, int64_t));
        } else if (kinds[i] == 'd') {
            sqlite3_bind_double(st, i + 1, va_arg(args, double));
        } else { /* s, or ? which may be NULL */
            const char *text = va_arg(args, const char *);
            if (text)
                sqlite3_bind_text(st, i + 1, text, -1, SQLITE_TRANSIENT);
        }
    }
}

static sg_status prepare(workspace *w, sqlite3_stmt **st, const char *sql, const char *kinds, va_list args,
                         sg_error *err)
{
    if (sqlite3_prepare_v2(w->db, sql, -1, st, NULL) != SQLITE_OK)
        return db_fail(w, err, "database");
    bind(*st, kinds, args);
    return SG_OK;
}

static sg_status do_one(workspace *w, sg_error *err, const char *sql, const char *kinds, va_list args)
{
    sqlite3_stmt *st = NULL;
    sg_status status = prepare(w, &st, sql, kinds, args, err);
    int rc = SQLITE_ROW;
    while (status == SG_OK && rc == SQLITE_ROW)
        rc = sqlite3_step(st);
    if (status == SG_OK && rc != SQLITE_DONE)
        status = db_fail(w, err, "database");
    sqlite3_finalize(st);
    return status;
}

sg_status serve_workspace_do(workspace *w, sg_error *err, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    pthread_mutex_lock(&w->lock);
    const sg_status status = do_one(w, err, sql, kinds, args);
    pthread_mutex_unlock(&w->lock);
    va_end(args);
    return status;
}

sg_status serve_workspace_do_synced(workspace *w, sg_error *err, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    pthread_mutex_lock(&w->lock);
    sg_status status = run(w, "PRAGMA synchronous=FULL", err);
    if (status == SG_OK)
        status = do_one(w, err, sql, kinds, args);
    if (run(w, "PRAGMA synchronous=NORMAL", status == SG_OK ? err : NULL) != SG_OK && status == SG_OK)
        status = SG_EIO;
    pthread_mutex_unlock(&w->lock);
    va_end(args);
    return status;
}

static json_t *column(sqlite3_stmt *st, int i)
{
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(st, i));
    case SQLITE_FLOAT:
        return json_real(sqlite3_column_double(st, i));
    case SQLITE_TEXT:
        return json_stringn((const char *)sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i));
    default:
        return json_null();
    }
}

static json_t *row_of(sqlite3_stmt *st)
{
    json_t *row = json_object();
    for (int i = 0; row && i < sqlite3_column_count(st); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", sqlite3_column_name(st, i));
        const size_t n = strlen(name);
        json_t *value = NULL;
        if (n > 5 && strcmp(name + n - 5, "_json") == 0) {
            name[n - 5] = '\0';
            const char *text = (const char *)sqlite3_column_text(st, i);
            value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();
        } else {
            value = column(st, i);
        }
        if (json_object_set_new(row, name, value) != 0) {
            json_decref(row);
            row = NULL;
        }
    }
    return row;
}

sg_status serve_workspace_rows(workspace *w, json_t **out, sg_error *err, const char *sql, const char *kinds, ...)
{
    sqlite3_stmt *st = NULL;
    va_list args;
    json_t *rows = json_array();
    int rc = SQLITE_DONE;

    va_start(args, kinds);
    pthread_mutex_lock(&w->lock);
    sg_status status =
        rows ? prepare(w, &st, sql, kinds, args, err) : sg_fail(err, SG_ENOMEM, "out of memory for rows");
    while (status == SG_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
        if (json_array_append_new(rows, row_of(st)) != 0)
            status = sg_fail(err, SG_ENOMEM, "out of memory for rows");
    if (status == SG_OK && rc != SQLITE_DONE)
        status = db_fail(w, err, "database");
    sqlite3_finalize(st);
    pthread_mutex_unlock(&w->lock);
    va_end(args);
    if (status == SG_OK)
        *out = rows;
    else
        json_decref(rows);
    return status;
}

/* ---- events ---- */

static int64_t meta(workspace *w, const char *name)
{
    sqlite3_stmt *st = NULL;
    int64_t value = 0;
    if (sqlite3_prepare_v2(w->db, "SELECT value FROM meta WHERE name=?", -1, &st, NULL) == SQLITE_OK) {
        sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(st) == SQLITE_ROW)
            value = sqlite3_column_int64(st, 0);
    }
    sqlite3_finalize(st);
    return value;
}

sg_status serve_workspace_event_numbers(workspace *w, int64_t *from, int64_t *to, sg_error *err)
{
    pthread_mutex_lock(&w->lock);
    const int64_t top = meta(w, "events");
    char sql[120];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES('events', %lld)", (long long)top + EVENT_BLOCK);
    const sg_status status = run(w, sql, err);
    pthread_mutex_unlock(&w->lock);
    if (status == SG_OK) {
        *from = top;
        *to = top + EVENT_BLOCK;
    }
    return status;
}

void serve_workspace_keep_event(workspace *w, int64_t id, const char *name, const char *data)
{
    /* A disk that is full costs the memory of an event, not the work that it tells of. */
    const sg_status status = serve_workspace_do(w, NULL, "INSERT INTO events VALUES(?,?,?)", "iss", id, name, data);
    (void)status;
}

void serve_workspace_drop_events(workspace *w, int64_t keep)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "INSERT OR REPLACE INTO meta SELECT 'events_dropped', id FROM events ORDER BY id DESC LIMIT 1 OFFSET %lld;"
             "DELETE FROM events WHERE id <= (SELECT value FROM meta WHERE name='events_dropped')",
             (long long)keep);
    pthread_mutex_lock(&w->lock);
    const sg_status status = run(w, sql, NULL);
    (void)status;
    pthread_mutex_unlock(&w->lock);
}

int64_t serve_workspace_dropped_events(workspace *w)
{
    pthread_mutex_lock(&w->lock);
    const int64_t id = meta(w, "events_dropped");
    pthread_mutex_unlock(&w->lock);
    return id;
}

void serve_workspace_kept_events(workspace *w, int64_t from, int64_t to,
                                 bool (*each)(void *context, int64_t id, const char *name, const char *data),
                                 void *context)
{
    sqlite3_stmt *st = NULL;
    pthread_mutex_lock(&w->lock);
    if (sqlite3_prepare_v2(w->db, "SELECT id, name, data FROM events WHERE id > ? AND id < ? ORDER BY id", -1, &st,
                           NULL) == SQLITE_OK) {
        sqlite3_bind_int64(st, 1, from);
        sqlite3_bind_int64(st, 2, to);
        while (sqlite3_step(st) == SQLITE_ROW)
            if (!each(context, sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1),
                      (const char *)sqlite3_column_text(st, 2)))
                break;
    }
    sqlite3_finalize(st);
    pthread_mutex_unlock(&w->lock);
}

/* ---- opening ---- */

/* mkdir -p, for oneself alone: what is asked of models may be private. */
static sg_status make_folder(const char *path, sg_error *err)
{
    char at[4096];
    const size_t n = strlen(path);

    if (n == 0 || n >= sizeof at)
        return sg_fail(err, SG_EARG, "the workspace's path has %zu bytes", n);
    memcpy(at, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (at[i] != '/' && at[i] != '\0')
            continue;
        const char c = at[i];
        at[i] = '\0';
        if (mkdir(at, 0700) != 0 && errno != EEXIST)
            return sg_fail(err, SG_EIO, "%s: cannot be made: %s", at, strerror(errno));
        at[i] = c;
    }
    return SG_OK;
}

static sg_status take_lock(workspace *w, sg_error *err)
{
    char path[4200], holder[32] = "";

    snprintf(path, sizeof path, "%s/workspace.lock", w->path);
    w->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (w->lock_file < 0)
        return sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
    if (flock(w->lock_file, LOCK_EX | LOCK_NB) != 0) {
        const ssize_t n = read(w->lock_file, holder, sizeof holder - 1);
        holder[n > 0 ? n : 0] = '\0';
        holder[strcspn(holder, "\n")] = '\0';
        return sg_fail(err, SG_EARG, "%s: another server%s%s%s has this workspace; stop it, or name another folder",
                       w->path, holder[0] ? " (process " : "", holder, holder[0] ? ")" : "");
    }
    const int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
    if (ftruncate(w->lock_file, 0) != 0 || pwrite(w->lock_file, holder, (size_t)n, 0) != n)
        return sg_fail(err, SG_EIO, "%s: %s", path, strerror(errno));
    return SG_OK;
}

static sg_status set_up(workspace *w, sg_error *err)
{
    sqlite3_stmt *st = NULL;
    int version = 0;

    SG_TRY(run(w, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1024", err));
    if (sqlite3_prepare_v2(w->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        version = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    if (version > SCHEMA)
        return sg_fail(err, SG_EARG, "%s: a later version of sightglass wrote this workspace (%d, this one knows %d)",
                       w->path, version, SCHEMA);
    if (version == 0) {
        char last[60];
        snprintf(last, sizeof last, "PRAGMA user_version=%d; COMMIT", SCHEMA);
        SG_TRY(run(w, "BEGIN", err));
        SG_TRY(run(w, schema, err));
        SG_TRY(run(w, last, err));
    }
    return SG_OK;
}

sg_status serve_workspace_open(workspace **out, const char *path, sg_error *err)
{
    char file[4200] = ":memory:";
    workspace *w = calloc(1, sizeof *w);

    if (!w)
        return sg_fail(err, SG_ENOMEM, "out of memory for the workspace");
    w->lock_file = -1;
    pthread_mutex_init(&w->lock, NULL);
    sg_status status = SG_OK;
    if (path) {
        w->path = strdup(path);
        status = w->path ? make_folder(path, err) : sg_fail(err, SG_ENOMEM, "out of memory for the workspace");
        if (status == SG_OK)
            status = take_lock(w, err);
        snprintf(file, sizeof file, "%s/workspace.db", path);
    }
    if (status == SG_OK && sqlite3_open(file, &w->db) != SQLITE_OK)
        status = sg_fail(err, SG_EIO, "%s: %s", file, w->db ? sqlite3_errmsg(w->db) : "out of memory");
    if (status == SG_OK)
        status = set_up(w, err);
    if (status != SG_OK) {
        serve_workspace_close(w);
        return status;
    }
    *out = w;
    return SG_OK;
}

const char *serve_workspace_path(const workspace *w)
{
    return w->path;
}

void serve_workspace_close(workspace *w)
{
    if (!w)
        return;
    sqlite3_close(w->db);
    if (w->lock_file >= 0)
        close(w->lock_file); /* which gives the lock back */
    pthread_mutex_destroy(&w->lock);
    free(w->path);
    free(w);
}
