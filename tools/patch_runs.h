/* sightglass patch --base --source: what comes with which value of another run. */
#ifndef SG_TOOLS_PATCH_RUNS_H
#define SG_TOOLS_PATCH_RUNS_H

#include <signal.h>
#include <stdbool.h>

typedef struct patch_runs {
    const char *model, *base, *source, *tokens, *at, *token, *minus;
    bool by_head, prob, json;
    const volatile sig_atomic_t *cancel;
} patch_runs;

int patch_runs_run(const patch_runs *r); /* the exit status */

#endif
