/* A dictionary's numbers, and its formula as graph. The formula is one whether its numbers are constants of a fitted
 * dictionary or variables under training, so that what is trained is what is used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/dictionary_internal.h"
#include "sightglass/rng.h"

#define NMF_STEPS 60

static const char *const names[SG_N_DICT_KINDS] = {"relu",       "gated",   "topk",   "batchtopk", "jumprelu",
                                                   "archetypal", "relaxed", "kmeans", "pca",       "nmf"};

const char *sg_dict_kind_name(sg_dict_kind kind)
{
    return kind >= 0 && kind < SG_N_DICT_KINDS ? names[kind] : "?";
}

bool dict_is_archetypal(sg_dict_kind kind)
{
    return kind == SG_DICT_ARCHETYPAL || kind == SG_DICT_RELAXED;
}

bool dict_is_topk(sg_dict_kind kind)
{
    return kind == SG_DICT_TOPK || dict_is_archetypal(kind);
}

bool dict_is_closed(sg_dict_kind kind)
{
    return kind == SG_DICT_KMEANS || kind == SG_DICT_PCA || kind == SG_DICT_NMF;
}

/* ---- making one ---- */

typedef struct owned {
    sg_dict face; /* first: what is handed out */
    sg_arena *arena;
} owned;

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
}

sg_status dict_begin(sg_dict **out, sg_dict_kind kind, sg_dim d, sg_dim m, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;

    *out = NULL;
    if (!o) {
        sg_arena_free(arena);
        return no_memory(err);
    }
    *o = (owned){.face = {.kind = kind, .d = d, .m = m}, .arena = arena};
    *out = &o->face;
    return SG_OK;
}

sg_status dict_tensor(sg_dict *d, sg_tensor *t, int n_dims, const sg_dim *dims, sg_error *err)
{
    *t = sg_tensor_of(SG_F32, n_dims, dims, NULL);
    t->data = sg_arena_array(((owned *)(void *)d)->arena, (size_t)sg_tensor_count(t) + 1, sizeof(float));
    return t->data ? SG_OK : no_memory(err);
}

sg_status dict_note(sg_dict *d, const char *site, const char *model, sg_error *err)
{
    sg_arena *arena = ((owned *)(void *)d)->arena;

    if ((site && !(d->site = sg_arena_strdup(arena, site))) || (model && !(d->model = sg_arena_strdup(arena, model))))
        return no_memory(err);
    return SG_OK;
}

void sg_dict_free(sg_dict *d)
{
    if (d)
        sg_arena_free(((owned *)(void *)d)->arena);
}

static sg_status check(const sg_tensor *t, const char *what, int n_dims, const sg_dim *dims, sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    if (t->dtype != SG_F32)
        return sg_fail(err, SG_ETYPE, "dictionary: %s is %s, f32 was wanted", what, sg_dtype_name(t->dtype));
    if (t->n_dims != n_dims || (dims && memcmp(t->dims, dims, (size_t)n_dims * sizeof *dims) != 0))
        return sg_fail(err, SG_ESHAPE, "dictionary: %s is %s, %s was wanted", what,
                       sg_shape_text(found, t->n_dims, t->dims), dims ? sg_shape_text(wanted, n_dims, dims) : "[M,D]");
    return SG_OK;
}

static void copy(sg_tensor *to, const sg_tensor *from)
{
    memcpy(to->data, from->data, sg_tensor_bytes(to));
}

static sg_status fill(sg_dict *d, const sg_tensor *dec, const sg_tensor *enc, const sg_tensor *b_enc,
                      const sg_tensor *b_dec, sg_error *err)
{
    const sg_dim whole[2] = {d->m, d->d};

    SG_TRY(dict_tensor(d, &d->dec, 2, whole, err));
    SG_TRY(dict_tensor(d, &d->b_dec, 1, &d->d, err));
    copy(&d->dec, dec);
    if (b_dec)
        copy(&d->b_dec, b_dec);
    if (d->kind == SG_DICT_NMF)
        return SG_OK;
    SG_TRY(dict_tensor(d, &d->enc, 2, whole, err));
    SG_TRY(dict_tensor(d, &d->b_enc, 1, &d->m, err));
    copy(&d->enc, enc && d->kind != SG_DICT_KMEANS ? enc : dec);
    if (d->kind == SG_DICT_KMEANS) { /* nearest: x.c - |c|^2 / 2 is greatest */
        for (sg_dim i = 0; i < d->m; i++) {
            const double length = dict_length((const float *)dec->data + i * d->d, d->d);
            ((float *)d->b_enc.data)[i] = (float)(-length * length / 2);
        }
    } else if (b_enc) {
        copy(&d->b_enc, b_enc);
    }
    return SG_OK;
}

sg_status sg_dict_of(sg_dict **out, sg_dict_kind kind, sg_dim k, const sg_tensor *dec, const sg_tensor *enc,
                     const sg_tensor *b_enc, const sg_tensor *b_dec, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(dec, "dec", 2, NULL, err));
    const sg_dim m = dec->dims[0], d = dec->dims[1];
    if (m < 1 || d < 1)
        return sg_fail(err, SG_ESHAPE, "dictionary: %lld atoms of width %lld", (long long)m, (long long)d);
    if (kind != SG_DICT_RELU && kind != SG_DICT_TOPK && !dict_is_closed(kind))
        return sg_fail(err, SG_EARG, "dictionary: %s needs more tensors than these", sg_dict_kind_name(kind));
    if (kind == SG_DICT_TOPK && (k < 1 || k > m))
        return sg_fail(err, SG_EARG, "dictionary: k is %lld of %lld atoms", (long long)k, (long long)m);
    if (enc)
        SG_TRY(check(enc, "enc", 2, dec->dims, err));
    if (b_enc)
        SG_TRY(check(b_enc, "b_enc", 1, &m, err));
    if (b_dec)
        SG_TRY(check(b_dec, "b_dec", 1, &d, err));
    SG_TRY(dict_begin(out, kind, d, m, err));
    (*out)->k = kind == SG_DICT_TOPK ? k : kind == SG_DICT_KMEANS ? 1 : 0;
    const sg_status status = fill(*out, dec, enc, b_enc, b_dec, err);
    if (status != SG_OK) {
        sg_dict_free(*out);
        *out = NULL;
    }
    return status;
}

void dict_random_rows(float *rows, sg_dim n, sg_dim width, uint64_t seed, uint32_t stream)
{
    sg_rng r = sg_rng_new(seed, stream);

    for (sg_dim i = 0; i < n; i++) {
        float *row = rows + i * width;
        for (sg_dim d = 0; d < width; d++)
            row[d] = (float)sg_rng_normal(&r);
        const double length = dict_length(row, width);
        for (sg_dim d = 0; d < width; d++)
            row[d] = (float)((double)row[d] / (length > 0 ? length : 1));
    }
}

/* ---- the formula ---- */

bool dict_few(sg_dim k, sg_dim m)
{
    return 8 * k <= m;
}

/* p of the codes with these ids, each by itself. */
static sg_value *alone(sg_graph *g, const dict_values *v, sg_value *x, sg_value *ids)
{
    sg_value *b = sg_squeeze(g, sg_embed(g, sg_expand(g, v->b_enc, 1), ids), -1);

    return sg_add(g, sg_rows_dot(g, v->enc, ids, x), b);
}

/* min over z >= 0 of |x - z dec|^2 by accelerated projected gradient (Beck & Teboulle 2009). The step is one over the
 * greatest sum of a row of |dec dec'|, which no eigenvalue exceeds. */
static sg_value *not_negative(sg_graph *g, const dict_values *v, sg_value *x)
{
    sg_value *gram = sg_matmul(g, v->dec, v->dec, false, true), *cross = sg_matmul(g, x, v->dec, false, true);
    sg_value *most = sg_max_axes(g, sg_sum(g, sg_abs(g, gram), 1, false), SG_ALL_AXES, false);
    sg_value *rate = sg_reciprocal(g, sg_add_scalar(g, most, 1e-12));
    sg_value *z = sg_relu(g, sg_mul(g, cross, rate)), *y = z;
    double t = 1;

    for (int i = 1; i < NMF_STEPS; i++) {
        const double next = (1 + sqrt(1 + 4 * t * t)) / 2;
        sg_value *slope = sg_sub(g, sg_matmul(g, y, gram, false, false), cross);
        sg_value *after = sg_relu(g, sg_sub(g, y, sg_mul(g, slope, rate)));
        y = sg_add(g, after, sg_mul_scalar(g, sg_sub(g, after, z), (t - 1) / next));
        z = after;
        t = next;
    }
    return z;
}

void dict_encode(sg_graph *g, sg_value *x, const dict_values *v, dict_codes *out)
{
    *out = (dict_codes){.x = sg_sub(g, x, v->b_dec)};
    if (v->kind == SG_DICT_NMF) {
        out->codes = not_negative(g, v, out->x);
        return;
    }
    out->pre = sg_linear(g, out->x, v->enc, v->b_enc);
    sg_value *zero = sg_scalar_like(g, out->pre, 0), *on = sg_relu(g, out->pre);
    switch (v->kind) {
    case SG_DICT_GATED: {
        sg_value *size = sg_add(g, sg_mul(g, sg_sub(g, out->pre, v->b_enc), sg_exp(g, v->r_mag)), v->b_mag);
        out->codes = sg_where(g, sg_greater(g, out->pre, zero), sg_relu(g, size), zero);
        break;
    }
    case SG_DICT_TOPK:
    case SG_DICT_ARCHETYPAL:
    case SG_DICT_RELAXED:
        out->ids = sg_top_k(g, out->pre, v->k);
        out->kept = sg_relu(g, v->training && dict_few(v->k, v->m) ? alone(g, v, out->x, out->ids)
                                                                   : sg_take_along(g, out->pre, out->ids, -1));
        break;
    case SG_DICT_BATCHTOPK:
    case SG_DICT_JUMPRELU:
        out->codes = sg_where(g, sg_greater(g, out->pre, v->threshold), on, zero);
        break;
    case SG_DICT_KMEANS:
        out->ids = sg_top_k(g, out->pre, 1);
        out->kept = sg_ones_like(g, sg_take_along(g, out->pre, out->ids, -1));
        break;
    case SG_DICT_PCA:
        out->codes = out->pre;
        break;
    default:
        out->codes = on;
    }
}

sg_value *dict_dense(sg_graph *g, const dict_values *v, const dict_codes *c)
{
    return c->ids ? sg_put_along(g, c->ids, c->kept, -1, v->m) : c->codes;
}

sg_value *dict_decode(sg_graph *g, const dict_values *v, sg_value *codes)
{
    return sg_add(g, sg_matmul(g, codes, v->dec, false, false), v->b_dec);
}

static sg_value *constant(sg_graph *g, const sg_tensor *t, sg_dtype dtype)
{
    if (!t->data)
        return NULL;
    sg_value *v = sg_const(g, t);
    return dtype == SG_F32 ? v : sg_cast(g, v, dtype);
}

static dict_values constants(sg_graph *g, const sg_dict *d, sg_dtype dtype)
{
    return (dict_values){.kind = d->kind,
                         .m = d->m,
                         .k = d->k,
                         .dec = constant(g, &d->dec, dtype),
                         .b_dec = constant(g, &d->b_dec, dtype),
                         .enc = constant(g, &d->enc, dtype),
                         .b_enc = constant(g, &d->b_enc, dtype),
                         .threshold = constant(g, &d->threshold, dtype),
                         .r_mag = constant(g, &d->r_mag, dtype),
                         .b_mag = constant(g, &d->b_mag, dtype)};
}

sg_status sg_dict_graph(sg_graph *g, const sg_dict *d, sg_value *x, sg_value **codes, sg_value **recons, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const int n = sg_value_n_dims(x);
    dict_codes c;

    SG_TRY(sg_graph_status(g, err));
    if (n < 1 || sg_value_dim(x, n - 1) != d->d || (sg_value_dtype(x) != SG_F32 && sg_value_dtype(x) != SG_F64))
        return sg_fail(err, SG_ESHAPE, "dictionary: it reads %lld numbers, %s is %s %s", (long long)d->d,
                       sg_value_name(x), sg_dtype_name(sg_value_dtype(x)), sg_value_shape_text(x, shape));
    const dict_values v = constants(g, d, sg_value_dtype(x));
    dict_encode(g, x, &v, &c);
    *codes = sg_identity(g, dict_dense(g, &v, &c));
    *recons = dict_decode(g, &v, *codes);
    return sg_graph_status(g, err);
}

/* ---- a session over it ---- */

struct sg_dict_coder {
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *x, *out[2];
};

sg_status sg_dict_coder_new(sg_dict_coder **out, const sg_dict *d, sg_exec_opts exec, sg_error *err)
{
    sg_dict_coder *c = calloc(1, sizeof *c);

    *out = NULL;
    if (!c || !(c->g = sg_graph_new())) {
        free(c);
        return no_memory(err);
    }
    c->x = sg_input(c->g, "x", SG_F32, 2, (sg_dim[]){sg_extent(c->g, "rows"), d->d});
    sg_status status = sg_dict_graph(c->g, d, c->x, &c->out[0], &c->out[1], err);
    if (status == SG_OK)
        status = sg_state_new(&c->state, c->g, err);
    if (status == SG_OK)
        status = sg_session_new(&c->session, c->g, c->state, exec, err);
    if (status != SG_OK) {
        sg_dict_coder_free(c);
        return status;
    }
    *out = c;
    return SG_OK;
}

sg_status sg_dict_coder_run(sg_dict_coder *c, const sg_tensor *x, sg_tensor *codes, sg_tensor *recons, sg_error *err)
{
    sg_value *fetches[2];
    sg_tensor got[2];
    int n = 0;

    if (codes)
        fetches[n++] = c->out[0];
    if (recons)
        fetches[n++] = c->out[1];
    SG_TRY(sg_session_run(c->session, 1, &(sg_feed){c->x, *x}, n, fetches, got, err));
    if (codes)
        *codes = got[0];
    if (recons)
        *recons = got[n - 1];
    return SG_OK;
}

void sg_dict_coder_free(sg_dict_coder *c)
{
    if (!c)
        return;
    sg_session_free(c->session);
    sg_state_free(c->state);
    sg_graph_free(c->g);
    free(c);
}

enum { ROWS = 2048 }; /* at once */

sg_status sg_dict_encode(float *codes, const sg_dict *d, const sg_tensor *x, sg_error *err)
{
    sg_dict_coder *c;

    SG_TRY(check(x, "x", 2, (sg_dim[]){x->dims[0], d->d}, err));
    SG_TRY(sg_dict_coder_new(&c, d, sg_exec_defaults(), err));
    sg_status status = SG_OK;
    for (sg_dim i = 0; i < x->dims[0] && status == SG_OK; i += ROWS) {
        const sg_tensor rows =
            sg_tensor_of(SG_F32, 2, (sg_dim[]){SG_MIN(ROWS, x->dims[0] - i), d->d}, (float *)x->data + i * d->d);
        sg_tensor got;
        status = sg_dict_coder_run(c, &rows, &got, NULL, err);
        if (status == SG_OK)
            memcpy(codes + i * d->m, got.data, sg_tensor_bytes(&got));
    }
    sg_dict_coder_free(c);
    return status;
}

sg_status sg_dict_decode(float *rows, const sg_dict *d, const sg_tensor *codes, sg_error *err)
{
    SG_TRY(check(codes, "codes", 2, (sg_dim[]){codes->dims[0], d->m}, err));
    const float *z = codes->data, *dec = d->dec.data;
    for (sg_dim i = 0; i < codes->dims[0]; i++) {
        float *row = rows + i * d->d;
        memcpy(row, d->b_dec.data, (size_t)d->d * sizeof *row);
        for (sg_dim j = 0; j < d->m; j++)
            for (sg_dim c = 0; z[i * d->m + j] != 0 && c < d->d; c++)
                row[c] += z[i * d->m + j] * dec[j * d->d + c];
    }
    return SG_OK;
}
