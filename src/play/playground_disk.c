/* A run on disk: config.json says what it is, model.safetensors holds every number of it, so that training goes on from
 * there to the same bytes. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "play/play_internal.h"
#include "sightglass/safetensors.h"

enum { TENSORS = 2 * (SG_PLAY_LAYERS + 1) + 16 };

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static sg_status write_config(sg_play *p, const char *path, sg_error *err)
{
    char state[SG_PLAY_TEXT];
    sg_writer *w = NULL;
    json_t *config =
        json_pack("{s:s, s:[s], s:s, s:I, s:b, s:i, s:{s:o, s:o}}", "model_type", "playground", "architectures",
                  "PlaygroundNet", "state", sg_play_state_write(&p->state, state), "epoch", (json_int_t)p->epoch, "own",
                  (int)p->own, "train_points", p->n_train, "losses", "train", number(sg_play_loss(p, SG_PLAY_TRAIN)),
                  "test", number(sg_play_loss(p, SG_PLAY_TEST)));
    if (!config)
        return sg_fail(err, SG_EARG, "%s: the state is not UTF-8", path);
    sg_status status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        json_dumpf(config, sg_writer_stream(w), JSON_INDENT(1));
        fputc('\n', sg_writer_stream(w));
        status = sg_writer_commit(w, err);
    }
    json_decref(config);
    return status;
}

static sg_status in_folder(char **config, char **tensors, const char *dir, sg_error *err)
{
    const size_t n = strlen(dir) + sizeof "/model.safetensors";
    *config = malloc(n);
    *tensors = malloc(n);
    if (!*config || !*tensors)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    snprintf(*config, n, "%s/config.json", dir);
    snprintf(*tensors, n, "%s/model.safetensors", dir);
    return SG_OK;
}

sg_status sg_play_save(sg_play *p, const char *dir, sg_error *err)
{
    sg_named_tensor list[TENSORS];
    int n = 0;
    char *config = NULL, *tensors = NULL;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    while (sg_play_tensor(p, n, &list[n].name, &list[n].tensor))
        n++;
    sg_status status = in_folder(&config, &tensors, dir, err);
    if (status == SG_OK)
        status = sg_safetensors_save(tensors, list, n, &(sg_pair){"format", "pt"}, 1, err);
    if (status == SG_OK)
        status = write_config(p, config, err);
    free(config);
    free(tensors);
    return status;
}

/* ---- loading ---- */

typedef struct saved {
    sg_play_state state;
    bool own;
    int n_train;
} saved;

static sg_status read_config(saved *out, const char *path, sg_error *err)
{
    sg_file *file = NULL;
    json_error_t at;
    SG_TRY(sg_file_open(&file, path, err));
    json_t *root = json_loadb(sg_file_data(file) ? (const char *)sg_file_data(file) : "", sg_file_bytes(file), 0, &at);
    sg_file_close(file);
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const char *state = json_string_value(json_object_get(root, "state"));
    sg_status status = SG_OK;
    if (!root)
        status = sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
    else if (!type || strcmp(type, "playground") != 0 || !state)
        status = sg_fail(err, SG_EFORMAT,
                         "%s: not a playground: \"model_type\": \"playground\" and \"state\" were wanted", path);
    else
        status = sg_play_state_parse(&out->state, state, err);
    if (status == SG_OK && !out->state.seed[0])
        status = sg_fail(err, SG_EFORMAT, "%s: the state has no seed", path);
    out->own = json_is_true(json_object_get(root, "own"));
    const json_int_t n_train = json_integer_value(json_object_get(root, "train_points"));
    out->n_train = (int)SG_MIN(SG_MAX(n_train, 0), PLAY_OWN_MOST);
    json_decref(root);
    return status;
}

/* The points first, since the rest of the run is built round them. */
static sg_status begin(sg_play **out, const saved *was, const sg_safetensors *st, const char *path, sg_error *err)
{
    const sg_tensor *t = NULL;
    SG_TRY(sg_safetensors_get(&t, st, "points", err));
    if (t->dtype != SG_F64 || t->n_dims != 2 || t->dims[1] != 3 || t->dims[0] > PLAY_OWN_MOST)
        return sg_fail(err, SG_EFORMAT, "%s: points: f64 [n,3] was wanted, with n up to %d", path, PLAY_OWN_MOST);
    return sg_play_restore(out, &was->state, (int)t->dims[0], t->data, was->n_train, was->own, err);
}

static sg_status read_tensors(sg_play **out, const saved *was, const char *path, sg_error *err)
{
    sg_safetensors *st = NULL;
    const char *name = NULL;
    sg_tensor own;
    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = begin(out, was, st, path, err);
    for (int i = 0; status == SG_OK && sg_play_tensor(*out, i, &name, &own); i++) {
        const sg_tensor *t = NULL;
        char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
        status = sg_safetensors_get(&t, st, name, err);
        if (status != SG_OK)
            break;
        if (t->dtype != own.dtype || t->n_dims != own.n_dims ||
            memcmp(t->dims, own.dims, (size_t)own.n_dims * sizeof *own.dims) != 0)
            status = sg_fail(err, SG_EFORMAT, "%s: %s is %s %s, %s %s was wanted", path, name, sg_dtype_name(t->dtype),
                             sg_shape_text(found, t->n_dims, t->dims), sg_dtype_name(own.dtype),
                             sg_shape_text(wanted, own.n_dims, own.dims));
        else if (sg_tensor_bytes(t))
            memcpy(own.data, t->data, sg_tensor_bytes(t));
    }
    sg_safetensors_close(st);
    return status == SG_OK ? sg_play_check(*out, err) : status;
}

sg_status sg_play_load(sg_play **out, const char *dir, sg_error *err)
{
    char *config = NULL, *tensors = NULL;
    saved was = {0};
    sg_play *p = NULL;
    *out = NULL;
    sg_status status = in_folder(&config, &tensors, dir, err);
    if (status == SG_OK)
        status = read_config(&was, config, err);
    if (status == SG_OK)
        status = read_tensors(&p, &was, tensors, err);
    free(config);
    free(tensors);
    if (status != SG_OK) {
        sg_play_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}
