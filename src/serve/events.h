/* Events: what happens in the server, told to any number of clients from one buffer.
 *
 * Each has a number, a name ("job.progress") and JSON. The newest ones lie in a ring in memory, from which every client
 * reads at its own pace; those that are kept lie in the workspace too, so that a client that comes back, also to a
 * server that was started again, gets what it missed. */
#ifndef SG_SERVE_EVENTS_H
#define SG_SERVE_EVENTS_H

#include "serve/exchange.h"

sg_status serve_events_new(events **out, serve *s, sg_error *err) SG_MUST_CHECK;
void serve_events_free(events *e); /* NULL is fine */

/* Answers with the stream of events of some topics ("job,run.scalar"; "" are all), from behind number `last` on; last <
 * 0: from now on. */
sg_status serve_events_answer(events *e, exchange *x, const char *topics, int64_t last, sg_error *err) SG_MUST_CHECK;
long serve_events_read(exchange *x, char *to, size_t most); /* as serve_exchange_read */
void serve_events_leave(exchange *x);                       /* when the exchange ends */
/* Wakes those who were told nothing for long, so that they hear a heartbeat. */
void serve_events_tick(events *e);
int serve_events_n_readers(events *e);

#endif
