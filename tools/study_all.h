/* Every study, one after another, held against the reports that come with the program. */
#ifndef SG_TOOLS_STUDY_ALL_H
#define SG_TOOLS_STUDY_ALL_H

#include "study.h"

/* Runs all that studies.def lists. `out` NULL, or a folder that gets NAME.json of each as it is done. Returns the exit
 * status: 0 only if no claim fails, but for those that the full report at hand says not to reproduce either. */
int study_run_all(const sg_study_opts *opts, const char *out);

/* The committed report of a study, as JSON, until the program ends; NULL if there is none. */
const void *study_record(const char *name, size_t *bytes);

#endif
