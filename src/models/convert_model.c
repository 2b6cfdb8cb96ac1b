/* Conversion: every tensor's name, type and place in the target are decided first; then the numbers go through one
 * tensor at a time, some rows at once, so that memory does not grow with the model. */
#include "sightglass/convert.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/gguf_tokenizer.h"
#include "models/arch.h"
#include "models/gguf_model.h"
#include "ops/iter.h"

#define AT_ONCE (1 << 20) /* numbers in the rows that are converted together */

struct item {
    sg_converted told;
    sg_tensor from;
    const char *other;     /* its name in the other format's words, for rules; NULL: none */
    sg_gguf_move move;     /* from Hugging Face's layout to GGUF's, or back */
    double squares, error; /* sums */
};

struct sg_conversion {
    sg_arena *arena;
    struct item *items;
    int n_items;
    const char *warnings[8];
    int n_warnings;
};

typedef struct work {
    sg_conversion *c;
    const sg_convert_opts *opts;
    const char *from, *to;
    bool to_gguf;
    sg_gguf_heads heads;
    const sg_gguf_family *family; /* NULL: between GGUF files of an architecture that is not known here */
    sg_model *model;              /* of a folder, by its sizes */
    sg_gguf_model *gguf;          /* of a GGUF file that becomes a folder */
    sg_gguf *plain;               /* of a GGUF file that becomes one */
    sg_gguf_meta *meta;
    sg_named_tensor *targets;
    double done, all; /* numbers */
} work;

sg_convert_opts sg_convert_defaults(void)
{
    return (sg_convert_opts){.as_stored = true, .dtype = SG_F32, .n_threads = 1};
}

static sg_status no_memory(const char *path, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
}

static sg_status warn(work *w, const char *text, sg_error *err)
{
    sg_conversion *c = w->c;
    if (!text)
        return no_memory(w->from, err);
    if (c->n_warnings < (int)SG_COUNT_OF(c->warnings))
        c->warnings[c->n_warnings++] = text;
    return SG_OK;
}

/* ---- types ---- */

static bool is_packed(sg_dtype t)
{
    return sg_dtype_block(t) > 1;
}

/* Where rows are no whole blocks of 256: the type of 32 nearest in size; and where they are none of 32 either, F16. */
static sg_dtype fitting(sg_dtype t, sg_dim row)
{
    if (row % sg_dtype_block(t) == 0)
        return t;
    if (row % 32 == 0)
        return t == SG_Q4_K ? SG_Q5_0 : t == SG_Q5_K ? SG_Q5_1 : SG_Q8_0;
    return SG_F16;
}

static bool is_embedding(const struct item *it)
{
    const char *const names[] = {it->told.name, it->other ? it->other : ""};
    for (int k = 0; k < 2; k++)
        if (strcmp(names[k], "token_embd.weight") == 0 || strcmp(names[k], "output.weight") == 0)
            return true;
    return false;
}

static bool is_position(const struct item *it)
{
    return strcmp(it->told.name, "position_embd.weight") == 0 ||
           (it->other && strcmp(it->other, "position_embd.weight") == 0);
}

static sg_dtype type_of(const work *w, const struct item *it, bool *rules_used)
{
    const sg_convert_opts *o = w->opts;
    const sg_dtype from = it->from.dtype;
    const sg_dim row = it->told.n_dims ? it->told.dims[it->told.n_dims - 1] : 1;

    if (!sg_dtype_is_float(from) && !is_packed(from))
        return from;
    for (int i = 0; i < o->n_rules; i++)
        if (sg_match(o->rules[i].pattern, it->told.name) || (it->other && sg_match(o->rules[i].pattern, it->other))) {
            rules_used[i] = true;
            return it->told.n_dims < 2 && is_packed(o->rules[i].dtype) ? SG_F32 : fitting(o->rules[i].dtype, row);
        }
    if (o->as_stored && w->to_gguf && !w->plain && it->told.n_dims < 2) /* as all write vectors */
        return SG_F32;
    if (o->as_stored)
        return !w->to_gguf && is_packed(from) ? SG_F32 : from;
    if (it->told.n_dims < 2 || is_position(it))
        return w->to_gguf || is_packed(o->dtype) ? SG_F32 : o->dtype;
    const bool few = is_packed(o->dtype) && o->dtype != SG_Q8_0 && o->dtype != SG_Q6_K;
    return fitting(o->mix && few && is_embedding(it) ? SG_Q6_K : o->dtype, row);
}

static sg_status choose_types(work *w, sg_error *err)
{
    bool *used = sg_arena_array(w->c->arena, (size_t)w->opts->n_rules + 1, sizeof *used);
    w->targets = sg_arena_array(w->c->arena, (size_t)w->c->n_items + 1, sizeof *w->targets);
    if (!used || !w->targets)
        return no_memory(w->from, err);
    for (int i = 0; i < w->c->n_items; i++) {
        struct item *it = &w->c->items[i];
        it->told.from = it->from.dtype;
        it->told.to = type_of(w, it, used);
        if (!w->to_gguf && is_packed(it->told.to))
            return sg_fail(err, SG_EARG, "%s: folders hold f32, f16 and bf16; %s is for GGUF files", w->to,
                           sg_dtype_name(it->told.to));
        w->targets[i] =
            (sg_named_tensor){it->told.name, sg_tensor_of(it->told.to, it->told.n_dims, it->told.dims, NULL)};
        w->all += (double)sg_tensor_count(&it->from);
    }
    for (int i = 0; i < w->opts->n_rules; i++)
        if (!used[i])
            return sg_fail(err, SG_EARG, "%s: no tensor's name fits %.80s", w->from, w->opts->rules[i].pattern);
    return SG_OK;
}

/* ---- the tensors ---- */

static sg_status add_item(work *w, const char *name, const char *other, const sg_tensor *t, sg_gguf_move move,
                          sg_error *err)
{
    struct item *it = &w->c->items[w->c->n_items];
    it->told.name = sg_arena_strdup(w->c->arena, name);
    it->other = other ? sg_arena_strdup(w->c->arena, other) : NULL;
    if (!it->told.name || (other && !it->other))
        return no_memory(w->from, err);
    it->from = *t;
    it->move = move == SG_MOVE_TURNED && t->n_dims != 2 ? SG_MOVE_NONE : move;
    it->told.n_dims = t->n_dims;
    for (int k = 0; k < t->n_dims; k++)
        it->told.dims[k] = t->dims[it->move == SG_MOVE_TURNED ? t->n_dims - 1 - k : k];
    w->c->n_items++;
    return SG_OK;
}

/* Buffers that old files carry along, and the copy of a tied embedding. */
static bool is_left_out(const sg_model *m, const char *name)
{
    return strstr(name, ".attn.bias") || strstr(name, "attn.masked_bias") || strstr(name, ".attention.bias") ||
           strstr(name, "attention.masked_bias") || strstr(name, "rotary_emb.inv_freq") ||
           (m->info.tied && (strcmp(name, "lm_head.weight") == 0 || strcmp(name, "embed_out.weight") == 0));
}

static sg_status items_of_folder(work *w, sg_error *err)
{
    const sg_safetensors *st = w->model->file;
    sg_named_tensor factors[2];
    char name[320], full[320];
    int n_factors = 0;

    w->c->items = sg_arena_array(w->c->arena, (size_t)sg_safetensors_count(st) + 2, sizeof *w->c->items);
    if (!w->c->items)
        return no_memory(w->from, err);
    for (int i = 0; i < sg_safetensors_count(st); i++) {
        const char *own = sg_safetensors_name(st, i), *prefix = w->model->arch.prefix;
        sg_gguf_move move = SG_MOVE_NONE;
        if (is_left_out(w->model, own))
            continue;
        if (!w->to_gguf) {
            SG_TRY(add_item(w, own, NULL, sg_safetensors_at(st, i), SG_MOVE_NONE, err));
            continue;
        }
        snprintf(full, sizeof full, "%s%s", prefix, own);
        if (!sg_gguf_name_from_hf(w->family, own, name, sizeof name, &move) &&
            !sg_gguf_name_from_hf(w->family, full, name, sizeof name, &move))
            return sg_fail(err, SG_EUNSUPPORTED, "%s: GGUF has no name for %s of a %s", w->from, own,
                           w->family->model_type);
        SG_TRY(add_item(w, name, own, sg_safetensors_at(st, i), move, err));
    }
    if (!w->to_gguf)
        return SG_OK;
    SG_TRY(sg_gguf_factors(factors, &n_factors, w->c->arena, w->model, err));
    for (int i = 0; i < n_factors; i++)
        SG_TRY(add_item(w, factors[i].name, NULL, &factors[i].tensor, SG_MOVE_NONE, err));
    return SG_OK;
}

/* Rows were put back when the file was opened; what is left is what opening leaves as it lies. */
static sg_status items_of_gguf(work *w, sg_error *err)
{
    const sg_safetensors *st = w->gguf->weights;
    char name[320];
    w->c->items = sg_arena_array(w->c->arena, (size_t)sg_safetensors_count(st) + 1, sizeof *w->c->items);
    if (!w->c->items)
        return no_memory(w->from, err);
    for (int i = 0; i < sg_safetensors_count(st); i++) {
        sg_gguf_move move = SG_MOVE_NONE;
        const char *own = sg_safetensors_name(st, i);
        const bool known = sg_gguf_name_from_hf(w->family, own, name, sizeof name, &move);
        if (!known)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: tensor %s has no place in a %s", w->from, own,
                           w->family->model_type);
        SG_TRY(add_item(w, own, name, sg_safetensors_at(st, i), move == SG_MOVE_TURNED ? move : SG_MOVE_NONE, err));
    }
    return SG_OK;
}

static sg_status items_of_plain(work *w, sg_error *err)
{
    const int n = sg_gguf_count(w->plain);
    char name[320];
    w->c->items = sg_arena_array(w->c->arena, (size_t)n + 1, sizeof *w->c->items);
    if (!w->c->items)
        return no_memory(w->from, err);
    for (int i = 0; i < n; i++) {
        const char *own = sg_gguf_name(w->plain, i);
        const sg_tensor *t;
        sg_gguf_move move;
        SG_TRY(sg_gguf_get(&t, w->plain, own, err));
        const bool known = w->family && sg_gguf_name_to_hf(w->family, own, name, sizeof name, &move);
        SG_TRY(add_item(w, own, known ? name : NULL, t, SG_MOVE_NONE, err));
    }
    return SG_OK;
}

/* ---- the numbers ---- */

struct rows {
    const struct item *it;
    sg_dim width, first; /* numbers in a row of the target; the first row of this part */
    const sg_dim *from;  /* the source's row of each of the target's, or NULL */
    const float *turned; /* the source in f32, as it lies there; NULL unless the item is turned */
    sg_dim height;       /* rows of the target in all */
    float *x, *y;        /* numbers of the part: wanted, and as they are stored */
    char *out;
    double *squares, *errors; /* of each row */
};

static size_t row_bytes(sg_dtype type, sg_dim width)
{
    return (size_t)(width / sg_dtype_block(type)) * sg_dtype_block_bytes(type);
}

static void convert_rows(void *context, sg_dim begin, sg_dim end)
{
    const struct rows *r = context;
    const struct item *it = r->it;
    const sg_dtype from = it->from.dtype, to = it->told.to;
    const sg_dim w = r->width;

    for (sg_dim i = begin; i < end; i++) {
        const sg_dim row = r->first + i, source = r->from ? r->from[row] : row;
        const char *at = (const char *)it->from.data + (size_t)source * row_bytes(from, w);
        float *x = r->x + i * w, *y = r->y + i * w;
        char *out = r->out + (size_t)i * row_bytes(to, w);
        double squares = 0, error = 0;
        if (from == to && !r->turned && it->move != SG_MOVE_ONE) {
            memcpy(out, at, row_bytes(to, w));
            if (!sg_dtype_is_float(from) && !is_packed(from))
                continue;
            sg_convert(x, SG_F32, out, to, w);
            for (sg_dim k = 0; k < w; k++)
                squares += (double)x[k] * (double)x[k];
            r->squares[i] = squares;
            continue;
        }
        if (r->turned)
            for (sg_dim k = 0; k < w; k++)
                x[k] = r->turned[k * r->height + row];
        else
            sg_convert(x, SG_F32, at, from, w);
        for (sg_dim k = 0; it->move == SG_MOVE_ONE && k < w; k++)
            x[k] += 1.0f;
        sg_convert(out, to, x, SG_F32, w);
        sg_convert(y, SG_F32, out, to, w);
        for (sg_dim k = 0; k < w; k++) {
            const double e = (double)y[k] - (double)x[k];
            squares += (double)x[k] * (double)x[k];
            error += e * e;
        }
        r->squares[i] = squares;
        r->errors[i] = error;
    }
}

/* Which row of the source is which of the target: NULL in *out if they lie alike. */
static sg_status find_rows(sg_dim **out, const work *w, const struct item *it, sg_dim height, sg_error *err)
{
    *out = NULL;
    if (it->move != SG_MOVE_QUERY && it->move != SG_MOVE_KEY && it->move != SG_MOVE_QKV)
        return SG_OK;
    const sg_dim parts = it->move == SG_MOVE_QUERY ? 2 * w->heads.n_heads
                         : it->move == SG_MOVE_KEY ? 2 * w->heads.n_kv_heads
                                                   : 3 * w->heads.n_heads;
    if (height % parts)
        return sg_fail(err, SG_EFORMAT, "%s: %s has %lld rows, no multiple of %lld", w->from, it->told.name,
                       (long long)height, (long long)parts);
    sg_dim *from = malloc((size_t)SG_MAX(height, 1) * sizeof *from);
    if (!from)
        return no_memory(w->from, err);
    for (sg_dim i = 0; i < height; i++)
        from[sg_gguf_row(it->move, &w->heads, height, i)] = i;
    *out = from;
    return SG_OK;
}

static sg_status write_item(void *context, int index, FILE *to, sg_error *err)
{
    work *w = context;
    struct item *it = &w->c->items[index];
    const sg_dim count = sg_tensor_count(&it->from);
    /* A vector is one row, but where its numbers move. */
    const bool moves = it->move == SG_MOVE_QUERY || it->move == SG_MOVE_KEY || it->move == SG_MOVE_QKV;
    const sg_dim width = it->told.n_dims > 1 ? it->told.dims[it->told.n_dims - 1] : moves ? 1 : count;
    const sg_dim height = width ? count / width : 0;
    const sg_dim part = SG_MIN(height, SG_MAX(1, AT_ONCE / SG_MAX(width, 1)));
    struct rows r = {.it = it, .width = width, .height = height};
    sg_dim *from = NULL;
    float *turned = NULL;

    if (count == 0)
        return SG_OK;
    sg_status status = find_rows(&from, w, it, height, err);
    if (status != SG_OK)
        return status;
    r.from = from;
    r.x = malloc((size_t)(part * width) * sizeof *r.x);
    r.y = malloc((size_t)(part * width) * sizeof *r.y);
    r.out = malloc((size_t)part * row_bytes(it->told.to, width) + 1);
    r.squares = malloc((size_t)part * sizeof *r.squares);
    r.errors = malloc((size_t)part * sizeof *r.errors);
    if (it->move == SG_MOVE_TURNED && (turned = malloc((size_t)count * sizeof *turned)))
        sg_convert(turned, SG_F32, it->from.data, it->from.dtype, count);
    r.turned = turned;
    if (!r.x || !r.y || !r.out || !r.squares || !r.errors || (it->move == SG_MOVE_TURNED && !turned))
        status = no_memory(w->from, err);
    for (r.first = 0; r.first < height && status == SG_OK; r.first += part) {
        const sg_dim n = SG_MIN(part, height - r.first);
        if (w->opts->progress && !w->opts->progress(w->opts->context, it->told.name, w->done / w->all)) {
            status = sg_fail(err, SG_ECANCELLED, "%s: stopped", w->to);
            break;
        }
        memset(r.squares, 0, (size_t)n * sizeof *r.squares);
        memset(r.errors, 0, (size_t)n * sizeof *r.errors);
        sg_split(n, SG_MAX(width, 1) * (is_packed(it->told.to) ? 64 : 1), w->opts->n_threads, convert_rows, &r);
        for (sg_dim i = 0; i < n; i++) {
            it->squares += r.squares[i];
            it->error += r.errors[i];
        }
        fwrite(r.out, 1, (size_t)n * row_bytes(it->told.to, width), to); /* a failure leaves its mark on the stream */
        w->done += (double)(n * width);
    }
    it->told.error = it->error > 0 ? sqrt(it->error / it->squares) : it->error;
    free(from);
    free(turned);
    free(r.x);
    free(r.y);
    free(r.out);
    free(r.squares);
    free(r.errors);
    return status;
}

/* ---- metadata ---- */

/* general.file_type, as llama.cpp numbers them; -1: none. */
static int file_type(const sg_convert_opts *o)
{
    static const int types[SG_N_DTYPES] = {
        [SG_F32] = 0,   [SG_F16] = 1,     [SG_BF16] = 32, [SG_Q4_0] = 2,  [SG_Q4_1] = 3,
        [SG_Q8_0] = 7,  [SG_Q5_0] = 8,    [SG_Q5_1] = 9,  [SG_Q4_K] = 14, [SG_Q5_K] = 16,
        [SG_Q6_K] = 18, [SG_IQ4_NL] = 25, [SG_F64] = -1,  [SG_I32] = -1,  [SG_BOOL] = -1};
    return types[o->dtype];
}

static const char *base_name(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *from = path;
    for (size_t i = 0; i + 1 < n; i++)
        if (path[i] == '/')
            from = path + i + 1;
    return from;
}

static sg_status put_tokenizer(work *w, sg_error *err)
{
    sg_model *m = w->model;
    const char *path = sg_arena_printf(w->c->arena, "%s/tokenizer.json", w->from), *obstacle = NULL;
    sg_tokenizer_vocab v;
    sg_file *file;

    if (!path)
        return no_memory(w->from, err);
    if (!m->tokenizer || sg_file_open(&file, path, NULL) != SG_OK)
        return warn(w, sg_arena_printf(w->c->arena, "%s: has no tokenizer.json, so the file has no tokenizer", w->from),
                    err);
    sg_status status =
        sg_vocab_from_json(&v, w->c->arena, m->tokenizer, (const char *)sg_file_data(file), sg_file_bytes(file), path,
                           m->info.n_vocab, m->info.bos, m->info.n_eos ? m->info.eos[0] : -1, &obstacle, err);
    if (status == SG_OK && obstacle)
        status = warn(w, sg_arena_printf(w->c->arena, "%s: %s; the file has no tokenizer", path, obstacle), err);
    else if (status == SG_OK)
        sg_gguf_meta_vocab(w->meta, &v);
    sg_file_close(file);
    return status;
}

static sg_status describe_folder(work *w, sg_error *err)
{
    const char *name = base_name(w->from);
    char title[256];
    snprintf(title, sizeof title, "%.*s", (int)strcspn(name, "/"), name);
    sg_gguf_meta_text(w->meta, "general.architecture", w->family->gguf);
    sg_gguf_meta_text(w->meta, "general.name", title);
    if (!w->opts->as_stored)
        sg_gguf_meta_whole(w->meta, "general.file_type", file_type(w->opts));
    sg_gguf_meta_whole(w->meta, "general.quantization_version", 2);
    sg_gguf_meta_whole(w->meta, "general.alignment", 32);
    SG_TRY(sg_gguf_describe(w->meta, w->family, w->model, err));
    return put_tokenizer(w, err);
}

static void copy_metadata(work *w)
{
    for (int i = 0; i < sg_gguf_n_keys(w->plain); i++) {
        const char *key = sg_gguf_key(w->plain, i);
        const sg_gguf_value v = sg_gguf_value_at(w->plain, i);
        if (strcmp(key, "general.alignment") != 0 && strcmp(key, "general.quantization_version") != 0 &&
            (strcmp(key, "general.file_type") != 0 || w->opts->as_stored))
            sg_gguf_meta_copy(w->meta, key, &v);
    }
    if (!w->opts->as_stored)
        sg_gguf_meta_whole(w->meta, "general.file_type", file_type(w->opts));
    sg_gguf_meta_whole(w->meta, "general.quantization_version", 2);
    sg_gguf_meta_whole(w->meta, "general.alignment", 32);
}

/* ---- folders ---- */

static sg_status write_text(const work *w, const char *file, const char *text, size_t n, sg_error *err)
{
    char path[4096];
    sg_writer *to;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", w->to, file) >= sizeof path)
        return sg_fail(err, SG_EARG, "%s: the path is too long", w->to);
    SG_TRY(sg_writer_begin(&to, path, err));
    if (n)
        fwrite(text, 1, n, sg_writer_stream(to));
    return sg_writer_commit(to, err);
}

static const char *torch_name(const sg_convert_opts *o)
{
    return o->dtype == SG_F16 ? "float16" : o->dtype == SG_BF16 ? "bfloat16" : "float32";
}

static sg_status write_config(const work *w, const char *text, size_t n, sg_error *err)
{
    json_error_t why;
    json_t *config = json_loadb(text, n, 0, &why);
    if (!config)
        return sg_fail(err, SG_EFORMAT, "%s: config.json: %s", w->from, why.text);
    if (!w->opts->as_stored || w->gguf)
        json_object_set_new(config, "torch_dtype", json_string(w->opts->as_stored ? "float32" : torch_name(w->opts)));
    char *out = json_dumps(config, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(config);
    const sg_status status = out ? write_text(w, "config.json", out, strlen(out), err) : no_memory(w->from, err);
    free(out);
    return status;
}

static sg_status write_tokenizer(work *w, sg_error *err)
{
    sg_tokenizer_vocab v;
    sg_error why;
    char *json;
    SG_TRY(sg_gguf_vocab(&v, w->gguf, w->from, err));
    if (v.n == 0)
        return SG_OK;
    const sg_status made = sg_vocab_to_json(&json, &v, &why);
    if (made == SG_EUNSUPPORTED)
        return warn(w, sg_arena_strdup(w->c->arena, why.text), err);
    if (made != SG_OK)
        return sg_fail(err, made, "%s", why.text);
    sg_status status = write_text(w, "tokenizer.json", json, strlen(json), err);
    free(json);
    json_t *config = json_pack("{s:s, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "add_bos_token",
                               (int)v.add_bos, "add_eos_token", (int)v.add_eos);
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{"bos_token", v.bos}, {"eos_token", v.eos}, {"unk_token", v.unk}, {"pad_token", v.pad}};
    for (size_t i = 0; i < SG_COUNT_OF(ids); i++)
        if (ids[i].id >= 0 && ids[i].id < v.n)
            json_object_set_new(config, ids[i].key,
                                json_stringn(v.tokens[ids[i].id],
                                             v.token_bytes ? v.token_bytes[ids[i].id] : strlen(v.tokens[ids[i].id])));
    if (v.chat_template)
        json_object_set_new(config, "chat_template", json_string(v.chat_template));
    char *text = json_dumps(config, JSON_INDENT(1));
    json_decref(config);
    if (status == SG_OK)
        status = text ? write_text(w, "tokenizer_config.json", text, strlen(text), err) : no_memory(w->from, err);
    free(text);
    return status;
}

static sg_status copy_files(const work *w, sg_error *err)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "generation_config.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "tokenizer.model",
                                        "chat_template.jinja"};
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        char path[4096];
        sg_file *file;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", w->from, names[i]) >= sizeof path ||
            sg_file_open(&file, path, NULL) != SG_OK)
            continue;
        const sg_status status = write_text(w, names[i], (const char *)sg_file_data(file), sg_file_bytes(file), err);
        sg_file_close(file);
        SG_TRY(status);
    }
    return SG_OK;
}

static bool is_there(const char *folder, const char *file)
{
    char path[4096];
    struct stat st;
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, file) < sizeof path && stat(path, &st) == 0;
}

static int by_width(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    const size_t wide = sg_dtype_bytes(x->told.to), other = sg_dtype_bytes(y->told.to);
    return wide != other ? (wide < other ? 1 : -1) : x->from.data < y->from.data ? -1 : x->from.data > y->from.data;
}

static sg_status write_folder(work *w, sg_error *err)
{
    char path[4096];
    struct stat st;
    if (is_there(w->to, "config.json") || is_there(w->to, "model.safetensors") ||
        is_there(w->to, "model.safetensors.index.json"))
        return sg_fail(err, SG_EARG, "%s: there is a model already", w->to);
    if ((size_t)snprintf(path, sizeof path, "%s/model.safetensors", w->to) >= sizeof path)
        return sg_fail(err, SG_EARG, "%s: the path is too long", w->to);
    const bool new = stat(w->to, &st) != 0;
    if (new &&mkdir(w->to, 0777) != 0)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", w->to, strerror(errno));
    qsort(w->c->items, (size_t)w->c->n_items, sizeof *w->c->items,
          by_width); /* wider types first, so that all are aligned */
    for (int i = 0; i < w->c->n_items; i++)
        w->targets[i] =
            (sg_named_tensor){w->c->items[i].told.name, sg_tensor_of(w->c->items[i].told.to, w->c->items[i].told.n_dims,
                                                                     w->c->items[i].told.dims, NULL)};
    sg_status status =
        sg_safetensors_stream(path, w->targets, w->c->n_items, &(sg_pair){"format", "pt"}, 1, write_item, w, err);
    if (status == SG_OK)
        status = w->gguf ? write_tokenizer(w, err) : copy_files(w, err);
    if (status == SG_OK && w->gguf) {
        status = write_config(w, w->gguf->config, strlen(w->gguf->config), err);
    } else if (status == SG_OK) {
        sg_file *file;
        char config[4096];
        snprintf(config, sizeof config, "%s/config.json", w->from);
        SG_TRY(sg_file_open(&file, config, err));
        status = write_config(w, (const char *)sg_file_data(file), sg_file_bytes(file), err);
        sg_file_close(file);
    }
    if (status != SG_OK && new)
        rmdir(w->to); /* does nothing where something is in it */
    return status;
}

/* ---- the whole ---- */

/* What was written is opened, and compared with what it came from in all that is not a weight. */
static sg_status look_back(const work *w, sg_error *err)
{
    sg_model *again;
    sg_model_opts opts = sg_model_defaults();
    opts.only_sizes = true;
    sg_status status = sg_model_open(&again, w->to, opts, err);
    if (status == SG_OK) {
        const char *what = sg_gguf_differs(w->model, again);
        if (what)
            status = sg_fail(err, SG_EUNSUPPORTED, "%s: GGUF has no words for its %s", w->from, what);
        sg_model_close(again);
    }
    if (status != SG_OK)
        remove(w->to);
    return status;
}

static bool ends_in_gguf(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static sg_status from_folder(work *w, sg_error *err)
{
    sg_model_opts opts = sg_model_defaults();
    opts.only_sizes = true;
    SG_TRY(sg_model_open(&w->model, w->from, opts, err));
    w->heads = (sg_gguf_heads){w->model->info.n_heads, w->model->info.n_kv_heads};
    w->family = sg_gguf_family_for(w->model->info.architecture, NULL);
    if (!w->family)
        w->family = sg_gguf_family_for(NULL, w->model->info.family);
    if (!w->family && w->to_gguf) {
        char known[256];
        sg_gguf_families(known, sizeof known);
        return sg_fail(err, SG_EUNSUPPORTED, "%s: a %s is not written as GGUF; there are names for %s", w->from,
                       w->model->info.family, known);
    }
    SG_TRY(items_of_folder(w, err));
    SG_TRY(choose_types(w, err));
    if (!w->to_gguf)
        return write_folder(w, err);
    SG_TRY(describe_folder(w, err));
    SG_TRY(sg_gguf_stream(w->to, w->meta, w->targets, w->c->n_items, write_item, w, err));
    return look_back(w, err);
}

static sg_status from_gguf(work *w, sg_error *err)
{
    if (!w->to_gguf) {
        SG_TRY(sg_gguf_model_open(&w->gguf, w->from, false, err));
        w->family = w->gguf->family;
        SG_TRY(items_of_gguf(w, err));
        SG_TRY(choose_types(w, err));
        return write_folder(w, err);
    }
    SG_TRY(sg_gguf_open(&w->plain, w->from, err));
    const char *arch = sg_gguf_text(w->plain, "general.architecture");
    w->family = arch ? sg_gguf_family_of(arch) : NULL;
    SG_TRY(items_of_plain(w, err));
    SG_TRY(choose_types(w, err));
    copy_metadata(w);
    return sg_gguf_stream(w->to, w->meta, w->targets, w->c->n_items, write_item, w, err);
}

static sg_status check(const work *w, sg_error *err)
{
    struct stat a, b;
    const sg_dtype t = w->opts->dtype;
    if (!w->opts->as_stored && t != SG_F32 && t != SG_F16 && t != SG_BF16 && !is_packed(t))
        return sg_fail(err, SG_EARG, "weights are not stored as %s", sg_dtype_name(t));
    if (!w->opts->as_stored && !w->to_gguf && is_packed(t))
        return sg_fail(err, SG_EARG, "%s: folders hold f32, f16 and bf16; %s is for GGUF files", w->to, sg_dtype_name(t));
    for (int i = 0; i < w->opts->n_rules; i++)
        if (!sg_dtype_is_float(w->opts->rules[i].dtype) && !is_packed(w->opts->rules[i].dtype))
            return sg_fail(err, SG_EARG, "weights are not stored as %s", sg_dtype_name(w->opts->rules[i].dtype));
    if (stat(w->from, &a) == 0 && stat(w->to, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return sg_fail(err, SG_EARG, "%s: is the model itself", w->to);
    return w->to_gguf ? sg_writer_check(w->to, err) : SG_OK;
}

sg_status sg_convert_model(sg_conversion **out, const char *from, const char *to, const sg_convert_opts *opts,
                           sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_conversion *c = arena ? sg_arena_alloc(arena, sizeof *c) : NULL;
    work w = {.c = c, .opts = opts, .from = from, .to = to, .to_gguf = ends_in_gguf(to), .meta = sg_gguf_meta_new()};

    *out = NULL;
    sg_status status = c && w.meta ? SG_OK : no_memory(from, err);
    if (status == SG_OK) {
        c->arena = arena;
        status = check(&w, err);
    }
    if (status == SG_OK)
        status = sg_gguf_is(from) ? from_gguf(&w, err) : from_folder(&w, err);
    sg_model_close(w.model);
    sg_gguf_model_close(w.gguf);
    sg_gguf_close(w.plain);
    sg_gguf_meta_free(w.meta);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = c;
    return SG_OK;
}

void sg_conversion_free(sg_conversion *c)
{
    if (c)
        sg_arena_free(c->arena);
}

int sg_conversion_count(const sg_conversion *c)
{
    return c->n_items;
}

const sg_converted *sg_conversion_at(const sg_conversion *c, int i)
{
    SG_ASSERT(i >= 0 && i < c->n_items);
    return &c->items[i].told;
}

double sg_conversion_error(const sg_conversion *c)
{
    double squares = 0, error = 0;
    for (int i = 0; i < c->n_items; i++) {
        squares += c->items[i].squares;
        error += c->items[i].error;
    }
    return error > 0 ? sqrt(error / squares) : error;
}

static size_t bytes_as(const sg_conversion *c, bool to)
{
    size_t bytes = 0;
    for (int i = 0; i < c->n_items; i++) {
        sg_tensor t = c->items[i].from;
        if (to)
            t = sg_tensor_of(c->items[i].told.to, c->items[i].told.n_dims, c->items[i].told.dims, NULL);
        bytes += sg_tensor_bytes(&t);
    }
    return bytes;
}

size_t sg_conversion_bytes_from(const sg_conversion *c)
{
    return bytes_as(c, false);
}

size_t sg_conversion_bytes_to(const sg_conversion *c)
{
    return bytes_as(c, true);
}

const char *sg_conversion_warning(const sg_conversion *c, int i)
{
    return i >= 0 && i < c->n_warnings ? c->warnings[i] : NULL;
}
