/* The workspace: a folder with what is to outlive the server.
 *
 * workspace.db holds jobs, events and snapshots; runs/ID/ what jobs write; models/ what was unpacked. One server has it
 * at a time. A process that is killed loses nothing that was told to be done: the log is written ahead, and synced at
 * the ends of jobs. */
#ifndef SG_SERVE_WORKSPACE_H
#define SG_SERVE_WORKSPACE_H

#include "serve/server.h"

/* path NULL: in memory alone. SG_EARG: another server has it, or a later version wrote it. */
sg_status serve_workspace_open(workspace **out, const char *path, sg_error *err) SG_MUST_CHECK;
void serve_workspace_close(workspace *w);             /* NULL is fine */
const char *serve_workspace_path(const workspace *w); /* NULL: in memory */

/* Runs one statement whose values are given as in "sid?": text, int64_t, double, text or NULL. */
sg_status serve_workspace_do(workspace *w, sg_error *err, const char *sql, const char *kinds, ...) SG_MUST_CHECK;
/* The same, synced before it returns. */
sg_status serve_workspace_do_synced(workspace *w, sg_error *err, const char *sql, const char *kinds, ...) SG_MUST_CHECK;
/* Each row as an object of its columns' names; a column that ends in "_json" is read, and loses that ending. */
sg_status serve_workspace_rows(workspace *w, json_t **out, sg_error *err, const char *sql, const char *kinds,
                               ...) SG_MUST_CHECK;

/* ---- events ---- */

/* Sets a block of numbers aside that no server gave before: those after *from, up to *to. */
sg_status serve_workspace_event_numbers(workspace *w, int64_t *from, int64_t *to, sg_error *err) SG_MUST_CHECK;
void serve_workspace_keep_event(workspace *w, int64_t id, const char *name, const char *data);
void serve_workspace_drop_events(workspace *w, int64_t keep);
int64_t serve_workspace_dropped_events(workspace *w); /* the newest that was dropped; 0: none */
/* Those after `from` and before `to`, until `each` says that it is enough. */
void serve_workspace_kept_events(workspace *w, int64_t from, int64_t to,
                                 bool (*each)(void *context, int64_t id, const char *name, const char *data),
                                 void *context);

#endif
