/* Rows of numbers as methods are given them: FILE.npy, FILE.safetensors or FILE.safetensors:NAME with a tensor [N,D], or the folder of a
 * harvest. */
#ifndef SG_METHODS_ROWS_FILE_H
#define SG_METHODS_ROWS_FILE_H

#include "base/base.h"

typedef struct sg_rows_file {
    sg_tensor rows;    /* [n,D] f32 */
    sg_dim n_all;      /* rows that the file has */
    int32_t *which;    /* [n] which of them, rising */
    int32_t *position; /* [n] in their sequences; NULL where the file does not tell */
    const char *site;  /* of a harvest; NULL */
    sg_arena *arena;
} sg_rows_file;

/* At most `most` rows, drawn by seed without repetition, in order. site: of a harvest; NULL: its first. The path is one of those of
 * sg_method_data, less :NAME. SG_EFORMAT, SG_ESHAPE, SG_ENOTFOUND name what was found. */
sg_status sg_rows_file_read(sg_rows_file *out, const char *path, const char *site, sg_dim most, uint64_t seed,
                            sg_error *err) SG_MUST_CHECK;
void sg_rows_file_free(sg_rows_file *f); /* a zeroed struct is fine */
/* The path without :NAME: what lies on the disk; returns buf. */
const char *sg_rows_file_path(const char *path, char buf[1024]);

#endif
