/* What a test made is taken away again. */
#ifndef SG_TEST_FOLDER_H
#define SG_TEST_FOLDER_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A folder with all that is in it; links are removed, not followed. Nothing is said of what is not there. */
static inline void sg_test_remove_all(const char *path)
{
    DIR *d = opendir(path);

    for (struct dirent *e; d && (e = readdir(d));) {
        char inner[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner)
            continue;
        if (unlink(inner) != 0)
            sg_test_remove_all(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

#endif
