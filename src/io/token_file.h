/* Files of tokens: FILE.npy, FILE.safetensors (whose tensor is called tokens, or is the only one),
 * FILE.safetensors:NAME. */
#ifndef SG_IO_TOKEN_FILE_H
#define SG_IO_TOKEN_FILE_H

#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

typedef struct sg_token_file {
    const sg_tensor *tensor; /* i32, [time] or [rows,time], borrowed until the file is closed */
    sg_npy *npy;             /* whichever of the two it is */
    sg_safetensors *safetensors;
} sg_token_file;

bool sg_token_file_is(const char *path); /* by its name */
/* After a failure too, what was opened is closed by sg_token_file_close. SG_EFORMAT: no tokens. */
sg_status sg_token_file_open(sg_token_file *f, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_token_file_close(sg_token_file *f); /* a zeroed struct is fine */

#endif
