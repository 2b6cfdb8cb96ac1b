/* Atoms as methods are given them: the folder of a dictionary, or a tensor [M,D] in FILE.npy or FILE.safetensors[:NAME]. */
#ifndef SG_METHODS_ATOMS_FILE_H
#define SG_METHODS_ATOMS_FILE_H

#include "methods/rows_file.h"
#include "sightglass/dictionary.h"

typedef struct sg_atoms_file {
    sg_tensor atoms; /* [M,D] f32 */
    sg_dict *dict;   /* NULL: atoms alone */
    sg_rows_file file;
} sg_atoms_file;

sg_status sg_atoms_file_open(sg_atoms_file *out, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_atoms_file_close(sg_atoms_file *f); /* a zeroed struct is fine */
/* codes [N,M] of rows [N,D] f32. SG_EARG: atoms alone, which say no codes. */
sg_status sg_atoms_file_encode(float *codes, const sg_atoms_file *f, const sg_tensor *rows, sg_error *err) SG_MUST_CHECK;

#endif
