#include "methods/atoms_file.h"

#include <string.h>
#include <sys/stat.h>

#include "sightglass/safetensors.h"

/* The weights of an autoencoder are a file of several tensors, of which one has the atoms. */
static const char *atoms_in(const char *path)
{
    static const char *const names[] = {"W_dec", "dec"};
    const size_t n = strlen(path), m = strlen(".safetensors");
    const char *found = NULL;
    sg_safetensors *st;
    if (n < m || strcmp(path + n - m, ".safetensors") != 0 || sg_safetensors_open(&st, path, NULL) != SG_OK)
        return NULL;
    for (size_t i = 0; i < SG_COUNT_OF(names) && !found; i++)
        found = sg_safetensors_find(st, names[i]) ? names[i] : NULL;
    sg_safetensors_close(st);
    return found;
}

sg_status sg_atoms_file_open(sg_atoms_file *out, const char *path, sg_error *err)
{
    struct stat st;
    *out = (sg_atoms_file){.dict = NULL};
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        SG_TRY(sg_dict_open(&out->dict, path, err));
        out->atoms = out->dict->dec;
        return SG_OK;
    }
    char named[1100];
    const char *name = atoms_in(path);
    snprintf(named, sizeof named, "%s%s%s", path, name ? ":" : "", name ? name : "");
    SG_TRY(sg_rows_file_read(&out->file, named, NULL, INT32_MAX, 0, err));
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
