#include "methods/atoms_file.h"

#include <inttypes.h>
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

sg_status sg_atoms_file_codes(sg_tensor *codes, sg_rows_file *acts, const sg_atoms_file *f, sg_method_run *r,
                              sg_arena *arena, sg_error *err)
{
    char path[1024];
    const char *from = sg_method_text(r, "acts"), *name = sg_method_manifest(r)->method;
    SG_TRY(sg_method_data(r, sg_rows_file_path(from, path), err));
    SG_TRY(sg_rows_file_read(acts, from, sg_method_text(r, "site"), (sg_dim)sg_method_number(r, "rows"),
                             sg_method_seed(r), err));
    const sg_dim n = acts->rows.dims[0], m = f->atoms.dims[0];
    if (acts->rows.dims[1] != f->atoms.dims[1])
        return sg_fail(err, SG_ESHAPE, "%s: rows of %" PRId64 " numbers, but atoms of %" PRId64, name,
                       acts->rows.dims[1], f->atoms.dims[1]);
    float *all = sg_arena_array(arena, (size_t)n * (size_t)m, sizeof *all);
    if (!all)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for codes of %" PRId64 " rows", name, n);
    if (!f->dict)
        return sg_fail(err, SG_EARG, "atoms alone say no codes: a dictionary's folder is wanted beside activations");
    SG_TRY(sg_dict_encode(all, f->dict, &acts->rows, err));
    *codes = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, m}, all);
    return SG_OK;
}
