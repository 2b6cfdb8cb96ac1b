/* Files that lie in the program, put on the disk: models are mapped from there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/sha256.h"
#include "sightglass/serve.h"

static bool is_there(const char *path, const sg_server_asset *a)
{
    char sum[SG_SHA256_TEXT];
    sg_file *file = NULL;
    if (sg_file_open(&file, path, NULL) != SG_OK)
        return false;
    const bool same = sg_file_bytes(file) == a->n_bytes &&
                      strcmp(sg_sha256(sum, sg_file_data(file), sg_file_bytes(file)), a->sha256) == 0;
    sg_file_close(file);
    return same;
}

static sg_status make_folders(char *path, sg_error *err)
{
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        const int rc = mkdir(path, 0700);
        const int why = errno;
        if (rc != 0 && why != EEXIST)
            return sg_fail(err, SG_EIO, "%s: cannot be made: %s", path, strerror(why));
        *p = '/';
    }
    return SG_OK;
}

sg_status sg_server_unpack(const char *folder, const char *prefix, int n, const sg_server_asset *assets, sg_error *err)
{
    const size_t k = strlen(prefix);
    int n_found = 0;

    for (int i = 0; i < n; i++) {
        const sg_server_asset *a = &assets[i];
        char path[4300];
        sg_writer *w = NULL;
        if (strncmp(a->path, prefix, k) != 0 || a->path[k] != '/')
            continue;
        n_found++;
        if (snprintf(path, sizeof path, "%s/%s", folder, a->path) >= (int)sizeof path)
            return sg_fail(err, SG_EARG, "%.80s...: the path is too long", folder);
        if (is_there(path, a))
            continue;
        SG_TRY(make_folders(path, err));
        SG_TRY(sg_writer_begin(&w, path, err));
        fwrite(a->bytes, 1, a->n_bytes, sg_writer_stream(w));
        SG_TRY(sg_writer_commit(w, err));
    }
    return n_found ? SG_OK : sg_fail(err, SG_ENOTFOUND, "%s does not lie in this program", prefix);
}
