/* What golden, verify and inspect share: prompts as golden values take them, certificates for people. */
#ifndef SG_TOOLS_VERIFIED_H
#define SG_TOOLS_VERIFIED_H

#include "cli.h"
#include "sightglass/certificate.h"

/* "sightglass 0.1.0 (COMMIT)" */
extern const char verified_program[];

/* The prompts of --text and --tokens, borrowed from rows; texts[i] NULL for tokens. free(*out). */
sg_status verified_prompts(const cli_rows *rows, const char *const *texts, sg_golden_prompt **out, sg_error *err);

/* SG_ENOMEM, in words, where the model's numbers in f64 do not fit the memory that is free. */
sg_status verified_fits(const char *model, sg_dtype dtype, sg_error *err);

/* The last part of a path, of a folder too. */
const char *verified_name(char buf[256], const char *path);

/* One line: "verified 2026-11-27 against golden.safetensors: 5 runs, worst site 1.2e-6"; stale or failed ones say so.
 */
void verified_summary(FILE *to, const sg_certificate *c);
/* The whole, with "stale" and "path". */
json_t *verified_json(const sg_certificate *c);

#endif
