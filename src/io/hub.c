/* Names of models, and where the cache keeps what was pulled. No request is made here. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/hub_internal.h"

enum { MOST_PART = 96 };

static bool part_ok(const char *part, size_t n)
{
    if (n == 0 || n > MOST_PART || part[0] == '.' || part[0] == '-' || part[n - 1] == '.' || part[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        const char c = part[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == '-'))
            return false;
        if (i && ((c == '.' && part[i - 1] == '.') ||
                  (c == '-' && part[i - 1] == '-'))) /* the latter parts names in the cache */
            return false;
    }
    return true;
}

bool sg_hub_repo_ok(const char *repo, size_t n)
{
    const char *slash = memchr(repo, '/', n);
    const size_t first = slash ? (size_t)(slash - repo) : n;

    return part_ok(repo, first) && (!slash || part_ok(slash + 1, n - first - 1));
}

bool sg_hub_path_ok(const char *path)
{
    size_t part = 0;

    if (!path[0] || path[0] == '/' || strlen(path) > 1024)
        return false;
    for (const char *c = path;; c++) {
        if ((unsigned char)*c < 32 && *c)
            return false;
        if (*c == '\\' || *c == 127)
            return false;
        if (*c && *c != '/') {
            part++;
            continue;
        }
        const char *start = c - part;
        if (part == 0 || part > 255 || (part == 1 && start[0] == '.') ||
            (part == 2 && start[0] == '.' && start[1] == '.'))
            return false;
        part = 0;
        if (!*c)
            return true;
    }
}

bool sg_hub_commit_ok(const char *commit)
{
    const size_t n = strspn(commit, "0123456789abcdef");

    return n >= 40 && n <= 64 && !commit[n];
}

bool sg_hub_is_name(const char *name)
{
    const char *colon = strchr(name, ':');

    return sg_hub_repo_ok(name, colon ? (size_t)(colon - name) : strlen(name)) && (!colon || sg_hub_path_ok(colon + 1));
}

/* ---- the cache ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] ? value : NULL;
}

sg_status sg_hub_cache(sg_str *out, sg_error *err)
{
    static const struct {
        const char *name, *behind;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};

    for (size_t i = 0; i < SG_COUNT_OF(places); i++)
        if (variable(places[i].name)) {
            const char *at = variable(places[i].name), *home = variable("HOME");
            if (at[0] == '~' && (at[1] == '/' || !at[1]) && home)
                sg_str_printf(out, "%s%s%s", home, at + 1, places[i].behind);
            else
                sg_str_printf(out, "%s%s", at, places[i].behind);
            return out->failed ? sg_fail(err, SG_ENOMEM, "out of memory for a path") : SG_OK;
        }
    return sg_fail(err, SG_ENOTFOUND, "none of HF_HUB_CACHE, HF_HOME and HOME says where pulled models are kept");
}

sg_status sg_hub_repo_folder(sg_str *out, const char *repo, size_t n, sg_error *err)
{
    SG_TRY(sg_hub_cache(out, err));
    sg_str_puts(out, "/models--");
    for (size_t i = 0; i < n; i++) {
        if (repo[i] == '/')
            sg_str_puts(out, "--");
        else
            sg_str_append(out, repo + i, 1);
    }
    return out->failed ? sg_fail(err, SG_ENOMEM, "out of memory for a path") : SG_OK;
}

sg_status sg_hub_cached_commit(char commit[72], const char *repo_folder, const char *revision, sg_error *err)
{
    sg_str path = {0};
    FILE *f = NULL;
    size_t n = 0;

    if (sg_hub_commit_ok(revision)) {
        snprintf(commit, 72, "%s", revision);
        return SG_OK;
    }
    sg_str_printf(&path, "%s/refs/%s", repo_folder, revision);
    if (!path.failed)
        f = fopen(path.text, "rb");
    sg_str_free(&path);
    if (f) {
        n = fread(commit, 1, 71, f);
        fclose(f);
    }
    while (n && (commit[n - 1] == '\n' || commit[n - 1] == ' ' || commit[n - 1] == '\r'))
        n--;
    commit[n] = '\0';
    return sg_hub_commit_ok(commit)
               ? SG_OK
               : sg_fail(err, SG_ENOTFOUND, "%s: no revision %s was pulled", repo_folder, revision);
}

sg_status sg_hub_make_folders(const char *file, sg_error *err)
{
    char *path = strdup(file);

    if (!path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a path");
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            const sg_status status = sg_fail(err, SG_EIO, "%s: cannot be made: %s", path, strerror(errno));
            free(path);
            return status;
        }
        *slash = '/';
    }
    free(path);
    return SG_OK;
}

/* ---- finding ---- */

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcasecmp(text + n - m, end) == 0;
}

/* Appends the one GGUF file of a folder that has no config.json. */
static void lone_gguf(sg_str *folder)
{
    sg_str config = {0};
    char found[256] = "";
    int n = 0;

    sg_str_printf(&config, "%s/config.json", folder->text);
    const bool whole = config.failed || access(config.text, F_OK) == 0;
    sg_str_free(&config);
    DIR *d = whole ? NULL : opendir(folder->text);
    for (struct dirent *e; d && (e = readdir(d));)
        if (ends_in(e->d_name, ".gguf") && strlen(e->d_name) < sizeof found) {
            snprintf(found, sizeof found, "%s", e->d_name);
            n++;
        }
    if (d)
        closedir(d);
    if (n == 1)
        sg_str_printf(folder, "/%s", found);
}

sg_status sg_hub_find(char **out, const char *name, sg_error *err)
{
    const char *colon = strchr(name, ':');
    const size_t n = colon ? (size_t)(colon - name) : strlen(name);
    char commit[72];
    sg_str path = {0};

    *out = NULL;
    if (!sg_hub_is_name(name))
        return sg_fail(err, SG_EARG, "%.200s: no such file or folder, and no name of a pulled model (org/name)", name);
    sg_status status = sg_hub_repo_folder(&path, name, n, err);
    if (status == SG_OK)
        status = sg_hub_cached_commit(commit, path.text, "main", NULL);
    if (status == SG_OK) {
        sg_str_printf(&path, "/snapshots/%s", commit);
        if (colon)
            sg_str_printf(&path, "/%s", colon + 1);
        else if (!path.failed)
            lone_gguf(&path);
        if (path.failed)
            status = SG_ENOMEM;
        else if (access(path.text, F_OK) != 0)
            status = SG_ENOTFOUND;
    }
    if (status != SG_OK) {
        sg_str_free(&path);
        return status == SG_ENOMEM
                   ? sg_fail(err, SG_ENOMEM, "out of memory for a path")
                   : sg_fail(err, SG_ENOTFOUND,
                             "%.200s: no such file or folder, and no model of that name was pulled; `sightglass pull "
                             "%.200s` fetches one",
                             name, name);
    }
    *out = path.text;
    return SG_OK;
}

sg_status sg_hub_locate(char **out, const char *model, sg_error *err)
{
    if (access(model, F_OK) != 0 && sg_hub_is_name(model))
        return sg_hub_find(out, model, err);
    *out = strdup(model);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a path");
}
