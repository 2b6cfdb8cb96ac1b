/* What hub.c, which knows the cache, and hub_pull.c, which fills it, share. */
#ifndef SG_IO_HUB_INTERNAL_H
#define SG_IO_HUB_INTERNAL_H

#include "base/base.h"
#include "sightglass/hub.h"

/* A repository's name: "name" or "org/name", in the hub's letters. n: its length. */
bool sg_hub_repo_ok(const char *repo, size_t n);
/* A path that stays inside whatever folder it is put under: relative, without empty, "." or ".." parts, control
 * characters or backslashes. */
bool sg_hub_path_ok(const char *path);
/* 40 to 64 lower hexadecimal digits. */
bool sg_hub_commit_ok(const char *commit);

/* The folder of models--ORG--NAME: HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub.
 * SG_ENOTFOUND: none of these is set. */
sg_status sg_hub_cache(sg_str *out, sg_error *err) SG_MUST_CHECK;
/* CACHE/models--ORG--NAME */
sg_status sg_hub_repo_folder(sg_str *out, const char *repo, size_t n, sg_error *err) SG_MUST_CHECK;
/* The commit that a revision stands for in the cache; SG_ENOTFOUND. */
sg_status sg_hub_cached_commit(char commit[72], const char *repo_folder, const char *revision,
                               sg_error *err) SG_MUST_CHECK;

/* Where a redirect leads: an absolute address, or a path at the same place. SG_EFORMAT: to no http or https, or from
 * what is encrypted to what is not. */
sg_status sg_hub_redirected(const char *from, const char *location, sg_str *to, sg_error *err) SG_MUST_CHECK;

/* Makes the folders above a file, and those above them. */
sg_status sg_hub_make_folders(const char *file, sg_error *err) SG_MUST_CHECK;

#endif
