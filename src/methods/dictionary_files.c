/* Dictionaries on disk. What SAELens has a place for lies there in its layout, and once; dictionary.json says what kind
 * it really is, and dictionary.safetensors holds what is left: what archetypal atoms are mixed of, and all of a
 * baseline. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "methods/dictionary_internal.h"
#include "sightglass/safetensors.h"

#define FORMAT  "sightglass-dictionary-1"
#define NO_SITE "activations" /* as a hook, where it is not known what they are of */
#define MAX_DIM ((json_int_t)1 << 30)

/* ---- as a sparse autoencoder ---- */

typedef struct owned {
    sg_sae face; /* first: what is handed out */
    float *enc;  /* [D,M] */
} owned;

/* to [C,R] from [R,C] */
static void turn(float *to, const float *from, sg_dim n_rows, sg_dim n_columns)
{
    for (sg_dim i = 0; i < n_rows; i++)
        for (sg_dim j = 0; j < n_columns; j++)
            to[j * n_rows + i] = from[i * n_columns + j];
}

sg_status sg_dict_sae(sg_sae **out, const sg_dict *d, sg_error *err)
{
    static const sg_sae_kind kinds[] = {
        [SG_DICT_RELU] = SG_SAE_STANDARD,      [SG_DICT_GATED] = SG_SAE_GATED,       [SG_DICT_TOPK] = SG_SAE_TOPK,
        [SG_DICT_BATCHTOPK] = SG_SAE_JUMPRELU, [SG_DICT_JUMPRELU] = SG_SAE_JUMPRELU, [SG_DICT_ARCHETYPAL] = SG_SAE_TOPK,
        [SG_DICT_RELAXED] = SG_SAE_TOPK};
    *out = NULL;
    if (dict_is_closed(d->kind))
        return sg_fail(err, SG_EUNSUPPORTED, "dictionary: SAELens has no place for %s", sg_dict_kind_name(d->kind));
    owned *o = calloc(1, sizeof *o);
    if (!o || !(o->enc = malloc((size_t)(d->m * d->d) * sizeof *o->enc))) {
        free(o);
        return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
    }
    turn(o->enc, d->enc.data, d->m, d->d);
    o->face = (sg_sae){.kind = kinds[d->kind],
                       .d_in = d->d,
                       .d_sae = d->m,
                       .k = kinds[d->kind] == SG_SAE_TOPK ? d->k : 0,
                       .hook = d->site ? d->site : NO_SITE,
                       .model = d->model,
                       .apply_b_dec = true,
                       .by_heads = d->site && strlen(d->site) > 2 && !strcmp(d->site + strlen(d->site) - 2, "_z"),
                       .norm = SG_SAE_NORM_NONE,
                       .w_enc = sg_tensor_of(SG_F32, 2, (sg_dim[]){d->d, d->m}, o->enc),
                       .w_dec = d->dec,
                       .b_enc = d->b_enc,
                       .b_dec = d->b_dec,
                       .threshold = d->threshold};
    if (d->kind == SG_DICT_GATED) {
        o->face.b_gate = d->b_enc;
        o->face.b_enc = (sg_tensor){0};
        o->face.r_mag = d->r_mag;
        o->face.b_mag = d->b_mag;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_dict_sae_free(sg_sae *s)
{
    if (!s)
        return;
    free(((owned *)(void *)s)->enc);
    free(s);
}

static sg_status copied(sg_dict *d, sg_tensor *to, const sg_tensor *from, sg_error *err)
{
    SG_TRY(dict_tensor(d, to, from->n_dims, from->dims, err));
    sg_convert(to->data, SG_F32, from->data, from->dtype, sg_tensor_count(from));
    return SG_OK;
}

static sg_status fill_of_sae(sg_dict *d, const sg_sae *s, sg_error *err)
{
    sg_tensor turned;

    SG_TRY(dict_note(d, strcmp(s->hook, NO_SITE) ? s->hook : NULL, s->model && *s->model ? s->model : NULL, err));
    SG_TRY(copied(d, &d->dec, &s->w_dec, err));
    SG_TRY(copied(d, &d->b_dec, &s->b_dec, err));
    SG_TRY(copied(d, &turned, &s->w_enc, err));
    SG_TRY(dict_tensor(d, &d->enc, 2, (sg_dim[]){d->m, d->d}, err));
    turn(d->enc.data, turned.data, d->d, d->m);
    SG_TRY(copied(d, &d->b_enc, s->kind == SG_SAE_GATED ? &s->b_gate : &s->b_enc, err));
    if (s->kind == SG_SAE_GATED) {
        SG_TRY(copied(d, &d->r_mag, &s->r_mag, err));
        SG_TRY(copied(d, &d->b_mag, &s->b_mag, err));
    }
    if (s->kind == SG_SAE_JUMPRELU)
        SG_TRY(copied(d, &d->threshold, &s->threshold, err));
    for (sg_dim i = 0; i < d->m && !s->apply_b_dec; i++) { /* ours takes b_dec off: what that changes is put back */
        double more = 0;
        for (sg_dim c = 0; c < d->d; c++)
            more += (double)((float *)d->enc.data)[i * d->d + c] * (double)((float *)d->b_dec.data)[c];
        ((float *)d->b_enc.data)[i] += (float)more;
        if (d->b_mag.data)
            ((float *)d->b_mag.data)[i] += (float)(more * exp((double)((float *)d->r_mag.data)[i]));
    }
    return SG_OK;
}

sg_status sg_dict_of_sae(sg_dict **out, const sg_sae *s, sg_error *err)
{
    static const sg_dict_kind kinds[SG_N_SAE_KINDS] = {[SG_SAE_STANDARD] = SG_DICT_RELU,
                                                       [SG_SAE_TOPK] = SG_DICT_TOPK,
                                                       [SG_SAE_GATED] = SG_DICT_GATED,
                                                       [SG_SAE_JUMPRELU] = SG_DICT_JUMPRELU};
    *out = NULL;
    if (s->norm != SG_SAE_NORM_NONE)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: it normalises each row by itself, which a dictionary does not; --sae reads it as it is",
                       s->path ? s->path : "autoencoder");
    SG_TRY(dict_begin(out, kinds[s->kind], s->d_in, s->d_sae, err));
    (*out)->k = s->kind == SG_SAE_TOPK ? s->k : 0;
    const sg_status status = fill_of_sae(*out, s, err);
    if (status != SG_OK) {
        sg_dict_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- saving ---- */

static char *path_of(const char *dir, const char *name, sg_error *err)
{
    const size_t n = strlen(dir) + strlen(name) + 2;
    char *path = malloc(n);

    if (path)
        snprintf(path, n, "%s/%s", dir, name);
    else
        (void)sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    return path;
}

/* What only our file has. */
static int rest_of(const sg_dict *d, sg_named_tensor list[9])
{
    const bool whole = dict_is_closed(d->kind);
    const struct {
        const char *name;
        const sg_tensor *t;
        bool always;
    } all[] = {{"dec", &d->dec, false},     {"b_dec", &d->b_dec, false},  {"enc", &d->enc, false},
               {"b_enc", &d->b_enc, false}, {"points", &d->points, true}, {"mix", &d->mix, true},
               {"slack", &d->slack, true},  {"origin", &d->origin, true}};
    int n = 0;

    for (size_t i = 0; i < SG_COUNT_OF(all); i++)
        if (all[i].t->data && (whole || all[i].always))
            list[n++] = (sg_named_tensor){all[i].name, *all[i].t};
    return n;
}

static sg_status save_own(const sg_dict *d, const char *dir, sg_error *err)
{
    sg_named_tensor list[9];
    const int n = rest_of(d, list);
    char *path = path_of(dir, "dictionary.json", err), *tensors = path_of(dir, "dictionary.safetensors", err);
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:s*, s:s*, s:f}", "format", FORMAT, "kind",
                             sg_dict_kind_name(d->kind), "width", (json_int_t)d->d, "atoms", (json_int_t)d->m, "k",
                             (json_int_t)d->k, "site", d->site, "model", d->model, "log_scale", d->log_scale);
    sg_writer *w;
    sg_status status = path && tensors && root ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory, or no UTF-8", dir);
    if (status == SG_OK && n)
        status = sg_safetensors_save(tensors, list, n, NULL, 0, err);
    else if (status == SG_OK)
        (void)remove(tensors); /* of another dictionary that was here */
    if (status == SG_OK)
        status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        (void)json_dumpf(root, sg_writer_stream(w), JSON_INDENT(1) | JSON_REAL_PRECISION(17));
        fputc('\n', sg_writer_stream(w));
        status = sg_writer_commit(w, err);
    }
    json_decref(root);
    free(path);
    free(tensors);
    return status;
}

sg_status sg_dict_save(const sg_dict *d, const char *dir, sg_error *err)
{
    sg_sae *s;

    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    if (!dict_is_closed(d->kind)) {
        SG_TRY(sg_dict_sae(&s, d, err));
        const sg_status status = sg_sae_save(s, dir, err);
        sg_dict_sae_free(s);
        SG_TRY(status);
    }
    return save_own(d, dir, err);
}

/* ---- opening ---- */

typedef struct described {
    sg_dict_kind kind;
    sg_dim d, m, k;
    double log_scale;
    const char *site, *model;
} described;

static sg_status whole(const json_t *root, const char *path, const char *key, json_int_t least, sg_dim *out,
                       sg_error *err)
{
    const json_t *x = json_object_get(root, key);

    if (!json_is_integer(x) || json_integer_value(x) < least || json_integer_value(x) > MAX_DIM)
        return sg_fail(err, SG_EFORMAT, "%s: %s wants to be a whole number from %d on", path, key, (int)least);
    *out = json_integer_value(x);
    return SG_OK;
}

static sg_status describe(described *to, const json_t *root, const char *path, sg_error *err)
{
    const char *format = json_string_value(json_object_get(root, "format")),
               *kind = json_string_value(json_object_get(root, "kind"));

    if (!format || strcmp(format, FORMAT) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: format is \"%.40s\", " FORMAT " was wanted", path, format ? format : "");
    to->kind = SG_N_DICT_KINDS;
    for (int i = 0; i < SG_N_DICT_KINDS && kind; i++)
        if (strcmp(kind, sg_dict_kind_name((sg_dict_kind)i)) == 0)
            to->kind = (sg_dict_kind)i;
    if (to->kind == SG_N_DICT_KINDS)
        return sg_fail(err, SG_EFORMAT, "%s: there is no kind \"%.40s\" of dictionary", path, kind ? kind : "");
    SG_TRY(whole(root, path, "width", 1, &to->d, err));
    SG_TRY(whole(root, path, "atoms", 1, &to->m, err));
    SG_TRY(whole(root, path, "k", 0, &to->k, err));
    if ((dict_is_topk(to->kind) && to->k < 1) || to->k > to->m)
        return sg_fail(err, SG_EFORMAT, "%s: k is %" PRId64 " of %" PRId64 " atoms", path, to->k, to->m);
    to->log_scale = json_number_value(json_object_get(root, "log_scale"));
    to->site = json_string_value(json_object_get(root, "site"));
    to->model = json_string_value(json_object_get(root, "model"));
    return SG_OK;
}

/* A tensor of these extents; a first extent of -1 is any. */
static sg_status take(sg_dict *d, sg_tensor *to, const sg_safetensors *st, const char *path, const char *name,
                      int n_dims, sg_dim d0, sg_dim d1, sg_error *err)
{
    const sg_tensor *t;
    char shape[SG_SHAPE_TEXT];

    SG_TRY(sg_safetensors_get(&t, st, name, err));
    if (!sg_dtype_is_float(t->dtype) || t->n_dims != n_dims || (d0 >= 0 && t->dims[0] != d0) || t->dims[0] < 1 ||
        (n_dims == 2 && t->dims[1] != d1))
        return sg_fail(err, SG_EFORMAT,
                       "%s: %s is %s %s, which does not fit a dictionary of %" PRId64 " atoms of %" PRId64, path, name,
                       sg_dtype_name(t->dtype), sg_shape_text(shape, t->n_dims, t->dims), d->m, d->d);
    return copied(d, to, t, err);
}

static sg_status take_rest(sg_dict *d, const char *path, sg_error *err)
{
    sg_safetensors *st;

    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = SG_OK;
    if (dict_is_archetypal(d->kind)) {
        status = take(d, &d->points, st, path, "points", 2, -1, d->d, err);
        if (status == SG_OK)
            status = take(d, &d->mix, st, path, "mix", 2, d->m, d->points.dims[0], err);
        if (status == SG_OK)
            status = take(d, &d->origin, st, path, "origin", 1, d->d, 0, err);
        if (status == SG_OK && d->kind == SG_DICT_RELAXED)
            status = take(d, &d->slack, st, path, "slack", 2, d->m, d->d, err);
    } else {
        status = take(d, &d->dec, st, path, "dec", 2, d->m, d->d, err);
        if (status == SG_OK)
            status = take(d, &d->b_dec, st, path, "b_dec", 1, d->d, 0, err);
        if (status == SG_OK && d->kind != SG_DICT_NMF)
            status = take(d, &d->enc, st, path, "enc", 2, d->m, d->d, err);
        if (status == SG_OK && d->kind != SG_DICT_NMF)
            status = take(d, &d->b_enc, st, path, "b_enc", 1, d->m, 0, err);
    }
    sg_safetensors_close(st);
    return status;
}

static sg_status open_sae(sg_dict **out, const char *dir, sg_error *err)
{
    sg_sae *s;

    SG_TRY(sg_sae_open(&s, dir, err));
    const sg_status status = sg_dict_of_sae(out, s, err);
    sg_sae_close(s);
    return status;
}

/* The kind that cfg.json could not say. */
static sg_status become(sg_dict *d, const described *what, const char *path, sg_error *err)
{
    const bool fits = dict_is_topk(what->kind)          ? d->kind == SG_DICT_TOPK && d->k == what->k
                      : what->kind == SG_DICT_BATCHTOPK ? d->kind == SG_DICT_JUMPRELU
                                                        : d->kind == what->kind;
    if (!fits || d->d != what->d || d->m != what->m)
        return sg_fail(err, SG_EFORMAT,
                       "%s: a %s of %" PRId64 " atoms of %" PRId64 " beside the weights of a %s of %" PRId64
                       " of %" PRId64,
                       path, sg_dict_kind_name(what->kind), what->m, what->d, sg_dict_kind_name(d->kind), d->m, d->d);
    d->kind = what->kind;
    d->k = what->k;
    d->log_scale = what->log_scale;
    return SG_OK;
}

static sg_status open_own(sg_dict **out, const char *dir, const char *path, sg_error *err)
{
    json_error_t at;
    described what = {0};
    char *rest = path_of(dir, "dictionary.safetensors", err);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    sg_status status = !rest  ? SG_ENOMEM
                       : root ? SG_OK
                              : sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
    if (status == SG_OK)
        status = describe(&what, root, path, err);
    const bool closed = dict_is_closed(what.kind);
    if (status == SG_OK && closed)
        status = dict_begin(out, what.kind, what.d, what.m, err);
    else if (status == SG_OK)
        status = open_sae(out, dir, err);
    if (status == SG_OK && closed) {
        (*out)->k = what.k;
        status = dict_note(*out, what.site, what.model, err);
    } else if (status == SG_OK) {
        status = become(*out, &what, path, err);
    }
    if (status == SG_OK && (closed || dict_is_archetypal(what.kind)))
        status = take_rest(*out, rest, err);
    json_decref(root);
    free(rest);
    return status;
}

sg_status sg_dict_open(sg_dict **out, const char *dir, sg_error *err)
{
    *out = NULL;
    char *path = path_of(dir, "dictionary.json", err);
    if (!path)
        return SG_ENOMEM;
    const sg_status status = access(path, R_OK) == 0 ? open_own(out, dir, path, err) : open_sae(out, dir, err);
    free(path);
    if (status != SG_OK) {
        sg_dict_free(*out);
        *out = NULL;
    }
    return status;
}
