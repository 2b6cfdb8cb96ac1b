#include "methods/atoms_file.h"

#include <sys/stat.h>

sg_status sg_atoms_file_open(sg_atoms_file *out, const char *path, sg_error *err)
{
    struct stat st;
    *out = (sg_atoms_file){.dict = NULL};
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        SG_TRY(sg_dict_open(&out->dict, path, err));
        out->atoms = out->dict->dec;
        return SG_OK;
    }
    SG_TRY(sg_rows_file_read(&out->file, path, NULL, INT32_MAX, 0, err));
    out->atoms = out->file.rows;
    return SG_OK;
}

void sg_atoms_file_close(sg_atoms_file *f)
{
    sg_dict_free(f->dict);
    sg_rows_file_free(&f->file);
    *f = (sg_atoms_file){.dict = NULL};
}

sg_status sg_atoms_file_encode(float *codes, const sg_atoms_file *f, const sg_tensor *rows, sg_error *err)
{
    if (!f->dict)
        return sg_fail(err, SG_EARG, "atoms alone say no codes: a dictionary's folder is wanted beside activations");
    return sg_dict_encode(codes, f->dict, rows, err);
}
