/* Atoms as methods are given them: the folder of a dictionary, or a tensor [M,D] in FILE.npy or
 * FILE.safetensors[:NAME]. */
#ifndef SG_METHODS_ATOMS_FILE_H
#define SG_METHODS_ATOMS_FILE_H

#include "methods/rows_file.h"
#include "sightglass/dictionary.h"
#include "sightglass/method.h"

typedef struct sg_atoms_file {
    sg_tensor atoms; /* [M,D] f32 */
    sg_dict *dict;   /* NULL: atoms alone */
    sg_rows_file file;
} sg_atoms_file;

sg_status sg_atoms_file_open(sg_atoms_file *out, const char *path, sg_error *err) SG_MUST_CHECK;
void sg_atoms_file_close(sg_atoms_file *f); /* a zeroed struct is fine */
/* Rows that a method is given by its options `acts`, `site` and `rows`, noted as its data, and their codes [N,M] f32,
 * which live as long as the arena. SG_ESHAPE: rows of another width; SG_EARG: atoms alone, which say no codes. */
sg_status sg_atoms_file_codes(sg_tensor *codes, sg_rows_file *acts, const sg_atoms_file *f, sg_method_run *r,
                              sg_arena *arena, sg_error *err) SG_MUST_CHECK;

#endif
