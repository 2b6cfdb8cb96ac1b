/* What the server knows of studies: they lie above it, so it is told. */
#ifndef SG_TOOLS_SERVE_STUDIES_H
#define SG_TOOLS_SERVE_STUDIES_H

#include "sightglass/serve.h"

/* For GET /api/v1/studies: questions, and claims from the reports in the program. By malloc; NULL: no memory. */
char *serve_studies_json(void);
/* The kind of jobs that runs a study. */
extern const sg_job_kind serve_study_kind;

#endif
