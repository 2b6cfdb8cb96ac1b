/* Plans and runs: which nodes are computed, where, in which order, and doing it.
 *
 *     sg_session *s;
 *     sg_tensor y;
 *     SG_TRY(sg_session_new(&s, g, state, sg_exec_defaults(), err));
 *     SG_TRY(sg_session_run(s, 1, &(sg_feed){x, batch_of_x}, 1, &loss, &y, err));
 *     sg_session_free(s);
 *
 * A plan holds for one graph, a set of fetches and feeds, and extents: only what feeds and fetches need is in it. It is
 * never written after it is made, so any number of threads may run it, each through its own sg_run. A run owns one
 * block of memory; once it has run, running again allocates nothing. A session keeps plans and runs by what was
 * asked, for one thread. */
#ifndef SIGHTGLASS_RUN_H
#define SIGHTGLASS_RUN_H

#include "sightglass/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- state: the numbers of variables ---- */

typedef struct sg_state sg_state;

/* One slot per variable of g; forks of g that add no variable share its states. */
sg_status sg_state_new(sg_state **out, const sg_graph *g, sg_error *err) SG_MUST_CHECK;
void sg_state_free(sg_state *s); /* NULL is fine */
/* The variable's numbers are those of t, which the caller keeps and does not change; storing into it is then an error.
 * Not while a run of this state executes. */
sg_status sg_state_bind(sg_state *s, const sg_value *variable, const sg_tensor *t, sg_error *err) SG_MUST_CHECK;
/* Takes memory for the variables not bound and starts them: each draws from a stream named by the variable, so the
 * order of variables does not matter. */
sg_status sg_state_init(sg_state *s, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* The numbers of a variable, borrowed until the state is freed; NULL before init, or where a device that has newer ones
 * fails. What a later run on a device stores is seen by asking again; so is what is written here, by that run. */
sg_tensor *sg_state_tensor(sg_state *s, const sg_value *variable);
/* Brings what runs on a device have stored to where sg_state_tensor finds it; of its failure one reads here. */
sg_status sg_state_fetch(sg_state *s, sg_error *err) SG_MUST_CHECK;

/* ---- plans ---- */

typedef struct sg_backend sg_backend; /* faster kernels, see src/exec/backend.h */

#define SG_EXEC_HAS_COMPUTE 1

typedef struct sg_exec_opts {
    const sg_backend *const *backends; /* asked in this order; the reference kernels come last by themselves */
    int n_backends;
    int n_threads;   /* that kernels may use */
    bool share;      /* compute equal nodes once (true) */
    bool fold;       /* compute what is constant when planning (true) */
    bool fuse;       /* compute in one step what nobody looks at between (true) */
    sg_dtype compute; /* in which large products multiply: SG_F32, or SG_BF16 with sums in f32, where the processor has it; every
                       * value is stored as f32 all the same (SG_F32) */
    bool same_rows;  /* products of up to 16 rows by a 2-D matrix give each row the same bits however many there are (false) */
    /* NULL: gradients find everything that the forward pass computed (NULL). Else a pattern, as "blocks.*.hook_resid_pre":
     * what has such a name is kept for them, with what lies behind the last of these, inputs, variables and whatever is
     * fetched or fed; the rest is computed again from that. Less memory, for up to one forward pass more. Borrowed. */
    const char *keep;
} sg_exec_opts;
/* The best backends for the processor that this build has, and all threads. Environment: SIGHTGLASS_BACKEND names
 * another choice, as below; OMP_NUM_THREADS bounds the threads; SIGHTGLASS_ISA, avx2 or reference, what kernels over packed
 * weights may use of the processor. */
sg_exec_opts sg_exec_defaults(void);
/* Chooses backends by name: "cpu", "reference" (no others than the reference kernels), or "cuda" (an NVIDIA GPU).
 * SG_EARG: no such name; SG_EUNSUPPORTED: not in this build, or there is no such device. */
sg_status sg_exec_use(sg_exec_opts *opts, const char *name, sg_error *err) SG_MUST_CHECK;
/* What the first of the backends is called; "reference" where there is none. */
const char *sg_exec_name(const sg_exec_opts *opts);

typedef struct sg_extent_value {
    const char *symbol;
    sg_dim value;
    bool varies; /* value is the largest; each run sets the actual one with sg_run_extent */
} sg_extent_value;

typedef struct sg_plan sg_plan;
typedef struct sg_run sg_run;

sg_status sg_plan_new(sg_plan **out, const sg_graph *g, int n_feeds, sg_value *const *feeds, int n_fetches,
                      sg_value *const *fetches, int n_extents, const sg_extent_value *extents, sg_exec_opts opts,
                      sg_error *err) SG_MUST_CHECK;
void sg_plan_free(sg_plan *plan); /* after its runs; NULL is fine */

int sg_plan_n_steps(const sg_plan *plan); /* nodes that a run executes, in order */
const char *sg_plan_step_name(const sg_plan *plan, int i);
const char *sg_plan_step_op(const sg_plan *plan, int i);
const char *sg_plan_step_backend(const sg_plan *plan, int i); /* "reference", "onednn" */
size_t sg_plan_bytes(const sg_plan *plan); /* of the block that each run owns */
size_t sg_plan_packed_bytes(const sg_plan *plan); /* that copies of bound variables in other layouts take once it has run */
/* Of matrices that are variables, as steps read them: whole, or the parts about the rows that are gathered. */
size_t sg_plan_read_bytes(const sg_plan *plan);
size_t sg_plan_hidden_bytes(const sg_plan *plan); /* that libraries take beside it while a kernel of theirs runs, roughly */
size_t sg_plan_fetched_bytes(const sg_plan *plan); /* of that, what holds fetched values until the next execution */

/* ---- runs ---- */

sg_status sg_run_new(sg_run **out, const sg_plan *plan, sg_state *state, sg_error *err) SG_MUST_CHECK;
void sg_run_free(sg_run *run); /* NULL is fine */
/* Feed i reads from t's numbers, which the caller keeps until the last execution that uses them. */
sg_status sg_run_feed(sg_run *run, int i, const sg_tensor *t, sg_error *err) SG_MUST_CHECK;
sg_status sg_run_extent(sg_run *run, const char *symbol, sg_dim value, sg_error *err) SG_MUST_CHECK;
sg_status sg_run_execute(sg_run *run, sg_error *err) SG_MUST_CHECK;
/* Fetch i, borrowed until the next execution. */
const sg_tensor *sg_run_fetch(const sg_run *run, int i);
/* While the run executes, tells of each fetch as soon as its numbers are final, in the order in which that happens: what is to
 * be done with them can begin while the rest is computed. NULL: nobody is told. */
void sg_run_observe(sg_run *run, void (*fn)(void *context, int fetch, const sg_tensor *value), void *context);

/* ---- sessions ---- */

typedef struct sg_session sg_session;
typedef struct sg_feed {
    sg_value *value;
    sg_tensor tensor;
} sg_feed;

sg_status sg_session_new(sg_session **out, const sg_graph *g, sg_state *state, sg_exec_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_session_free(sg_session *s); /* NULL is fine */

/* Feeds, runs, fetches. Extents follow from the feeds' shapes; those that do not are set by sg_session_extent. out[i] is
 * borrowed until the next run. A run that was asked before (same values, same extents) allocates nothing. */
sg_status sg_session_run(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                         sg_tensor *out, sg_error *err) SG_MUST_CHECK;

/* Plans what sg_session_run would run for these, without taking a run's block; the feeds' numbers are not read. *out is
 * borrowed, while no more than 64 other plans follow. */
sg_status sg_session_prepare(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches,
                             const sg_plan **out, sg_error *err) SG_MUST_CHECK;

/* Sets a symbol that no feed determines, such as `past`. With `most` > 0 the plan is laid out for that much, and the
 * value may change from run to run without a new plan. */
sg_status sg_session_extent(sg_session *s, const char *symbol, sg_dim value, sg_dim most, sg_error *err) SG_MUST_CHECK;

/* Whether each step's result is searched for NaN: the run then fails with SG_ENUMERIC, naming the first node that has one. */
void sg_session_guard(sg_session *s, bool on);
void sg_run_guard(sg_run *run, bool on);

/* The plan of the last run; NULL before. */
const sg_plan *sg_session_plan(const sg_session *s);
/* Bytes that its runs hold, all plans together, with copies of variables in other layouts. */
size_t sg_session_bytes(const sg_session *s);

/* ---- traces: the Chrome trace format ---- */

typedef struct sg_trace sg_trace;
sg_status sg_trace_new(sg_trace **out, sg_error *err) SG_MUST_CHECK;
/* Runs of s are recorded from here on (NULL: no longer): per node its time, backend, bytes, shapes. */
void sg_session_trace(sg_session *s, sg_trace *trace);
void sg_run_trace(sg_run *run, sg_trace *trace);
sg_status sg_trace_save(const sg_trace *trace, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_trace_free(sg_trace *trace); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
