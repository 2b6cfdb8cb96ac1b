/* Saving and loading. What is between steps is all there is: variables named accumulate belong to a step that is under
 * way, and are left out. */
#include "sightglass/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "graph/op.h"

#define FORMAT "sightglass checkpoint 1"
enum { OWN_FACTS = 3, HASH_TEXT = 20 };

static bool is_kept(const sg_value *v)
{
    const char *name = sg_value_name(v);
    return strcmp(name, "accumulate") != 0 && strncmp(name, "accumulate.", 11) != 0;
}

static void structure(const sg_graph *g, char text[HASH_TEXT])
{
    uint64_t h = 0;
    for (int i = 0; i < sg_graph_n_slots(g); i++) {
        const sg_value *v = sg_graph_slot(g, i);
        char shape[SG_SHAPE_TEXT];
        if (!is_kept(v))
            continue;
        const char *words[3] = {sg_value_name(v), sg_dtype_name(sg_value_dtype(v)),
                                sg_shape_text(shape, sg_value_n_dims(v), sg_value_dims(v))};
        for (int k = 0; k < 3; k++)
            h = sg_hash(words[k], strlen(words[k]), h);
    }
    snprintf(text, HASH_TEXT, "%016" PRIx64, h);
}

/* ---- the files of a folder ---- */

static char *path_of(const char *dir, sg_dim step)
{
    char *path = malloc(strlen(dir) + 64);
    if (path)
        sprintf(path, "%s/checkpoint-%08" PRId64 ".safetensors", dir, step);
    return path;
}

/* -1: no name of a checkpoint. */
static sg_dim step_of(const char *name)
{
    char wanted[64], *end;
    if (strncmp(name, "checkpoint-", 11) != 0)
        return -1;
    const long long step = strtoll(name + 11, &end, 10);
    snprintf(wanted, sizeof wanted, "checkpoint-%08lld.safetensors", step);
    return step >= 0 && strcmp(wanted, name) == 0 ? step : -1;
}

static int newest_first(const void *a, const void *b)
{
    const sg_dim x = *(const sg_dim *)a, y = *(const sg_dim *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of the folder's checkpoints, newest first, to be freed; -1 when memory is out. A folder that cannot be read has
 * none. */
static int list(const char *dir, sg_dim **out)
{
    int n = 0, capacity = 0;
    *out = NULL;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const sg_dim step = step_of(e->d_name);
        if (step < 0)
            continue;
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            sg_dim *more = realloc(*out, (size_t)capacity * sizeof *more);
            if (!more) {
                closedir(d);
                free(*out);
                *out = NULL;
                return -1;
            }
            *out = more;
        }
        (*out)[n++] = step;
    }
    if (d)
        closedir(d);
    if (n)
        qsort(*out, (size_t)n, sizeof **out, newest_first);
    return n;
}

sg_dim sg_checkpoint_newest(const char *dir)
{
    sg_dim *steps;
    const int n = list(dir, &steps);
    const sg_dim newest = n > 0 ? steps[0] : -1;
    free(steps);
    return newest;
}

static void prune(const char *dir, int keep)
{
    sg_dim *steps;
    const int n = list(dir, &steps);
    for (int i = keep; i < n; i++) {
        char *path = path_of(dir, steps[i]);
        if (path)
            unlink(path);
        free(path);
    }
    free(steps);
    sg_writer_sweep(dir);
}

/* ---- saving ---- */

static sg_status save(const char *path, const sg_graph *g, sg_state *s, const sg_pair *pairs, int n_pairs,
                      sg_named_tensor *tensors, sg_error *err)
{
    int n = 0;
    for (size_t width = 8; width > 0; width /= 2) /* wider types first: then each is aligned */
        for (int i = 0; i < sg_graph_n_slots(g); i++) {
            const sg_value *v = sg_graph_slot(g, i);
            const sg_tensor *t = sg_state_tensor(s, v);
            if (!is_kept(v) || sg_dtype_bytes(sg_value_dtype(v)) != width)
                continue;
            if (!t)
                return sg_fail(err, SG_EARG, "%s: %s has no numbers yet", path, sg_value_name(v));
            tensors[n++] = (sg_named_tensor){sg_value_name(v), *t};
        }
    return sg_safetensors_save(path, tensors, n, pairs, n_pairs, err);
}

sg_status sg_checkpoint_save(const char *dir, const sg_graph *g, sg_state *s, sg_dim step, const sg_pair *facts,
                             int n_facts, int keep, sg_error *err)
{
    char hash[HASH_TEXT], number[24];
    char *path = path_of(dir, step);
    sg_pair *pairs = calloc((size_t)n_facts + OWN_FACTS, sizeof *pairs);
    sg_named_tensor *tensors = calloc((size_t)sg_graph_n_slots(g) + 1, sizeof *tensors);
    sg_status status = SG_OK;
    if (!path || !pairs || !tensors) {
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory for a checkpoint", dir);
    } else {
        structure(g, hash);
        snprintf(number, sizeof number, "%" PRId64, step);
        pairs[0] = (sg_pair){"format", FORMAT};
        pairs[1] = (sg_pair){"step", number};
        pairs[2] = (sg_pair){"structure", hash};
        for (int i = 0; i < n_facts; i++)
            pairs[OWN_FACTS + i] = facts[i];
        status = save(path, g, s, pairs, OWN_FACTS + n_facts, tensors, err);
    }
    free(path);
    free(pairs);
    free(tensors);
    if (status == SG_OK)
        prune(dir, SG_MAX(keep, 1));
    return status;
}

/* ---- loading ---- */

static sg_status check_facts(const sg_safetensors *st, const char *path, const sg_graph *g, sg_dim step,
                             const sg_pair *facts, int n_facts, sg_error *err)
{
    char hash[HASH_TEXT], *end;
    const char *format = sg_safetensors_metadata(st, "format"), *number = sg_safetensors_metadata(st, "step"),
               *found = sg_safetensors_metadata(st, "structure");
    if (!format || strcmp(format, FORMAT) != 0 || !number || !found)
        return sg_fail(err, SG_EFORMAT, "%s: is not a checkpoint of ours", path);
    if (strtoll(number, &end, 10) != step || *end)
        return sg_fail(err, SG_EFORMAT, "%s: holds step %.20s", path, number);
    for (int i = 0; i < n_facts; i++) {
        const char *text = sg_safetensors_metadata(st, facts[i].key);
        if (!text || strcmp(text, facts[i].text) != 0)
            return sg_fail(err, SG_EARG, "%s: was made with %s %.120s, this is %s %.120s", path, facts[i].key,
                           text ? text : "unknown", facts[i].key, facts[i].text);
    }
    structure(g, hash);
    if (strcmp(found, hash) != 0)
        return sg_fail(err, SG_EARG, "%s: is of another model (structure %.20s, this one has %s)", path, found, hash);
    return SG_OK;
}

/* All are looked at before the first is copied. */
static sg_status copy_all(const sg_safetensors *st, const char *path, const sg_graph *g, sg_state *s, bool copy,
                          sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    for (int i = 0; i < sg_graph_n_slots(g); i++) {
        const sg_value *v = sg_graph_slot(g, i);
        const sg_tensor *from;
        sg_tensor *to = sg_state_tensor(s, v);
        if (!is_kept(v))
            continue;
        SG_TRY(sg_safetensors_get(&from, st, sg_value_name(v), err));
        if (!to)
            return sg_fail(err, SG_EARG, "%s: the state was not started", path);
        if (from->dtype != to->dtype || from->n_dims != to->n_dims ||
            memcmp(from->dims, to->dims, (size_t)to->n_dims * sizeof to->dims[0]) != 0)
            return sg_fail(err, SG_EFORMAT, "%s: %s is %s %s, wanted %s %s", path, sg_value_name(v),
                           sg_dtype_name(from->dtype), sg_shape_text(found, from->n_dims, from->dims),
                           sg_dtype_name(to->dtype), sg_shape_text(wanted, to->n_dims, to->dims));
        if (copy)
            memcpy(to->data, from->data, sg_tensor_bytes(to));
    }
    return SG_OK;
}

static sg_status load(const char *path, const sg_graph *g, sg_state *s, sg_dim step, const sg_pair *facts, int n_facts,
                      sg_error *err)
{
    sg_safetensors *st = NULL;
    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = check_facts(st, path, g, step, facts, n_facts, err);
    if (status == SG_OK)
        status = copy_all(st, path, g, s, false, err);
    if (status == SG_OK)
        status = copy_all(st, path, g, s, true, err);
    sg_safetensors_close(st);
    return status;
}

sg_status sg_checkpoint_load(const char *dir, const sg_graph *g, sg_state *s, sg_dim *step, const sg_pair *facts,
                             int n_facts, void (*refused)(void *context, const char *reason), void *context,
                             sg_error *err)
{
    sg_dim *steps;
    const int n = list(dir, &steps);
    if (n < 0)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sg_error first = {SG_OK, ""}, now = {SG_OK, ""};
    sg_status status = sg_fail(&first, SG_ENOTFOUND, "%s: there is no checkpoint", dir);
    for (int i = 0; i < n && status != SG_OK; i++) {
        char *path = path_of(dir, steps[i]);
        status = path ? load(path, g, s, steps[i], facts, n_facts, &now)
                      : sg_fail(&now, SG_ENOMEM, "%s: out of memory", dir);
        free(path);
        if (status == SG_OK)
            *step = steps[i];
        else if (i == 0)
            first = now;
        if (status != SG_OK && refused)
            refused(context, now.text);
    }
    free(steps);
    return status == SG_OK ? SG_OK : sg_fail(err, first.status, "%s", first.text);
}
