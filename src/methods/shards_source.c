/* Sequences for a harvest: texts are encoded one at a time and cut, tokens are cut as they lie. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/token_file.h"
#include "methods/shards_internal.h"
#include "sightglass/texts.h"

struct shards_source {
    const sg_model *m;
    const sg_tokenizer *tokenizer;
    int n_files;
    char **files;
    size_t *sizes; /* bytes on the disk */
    char *field;
    sg_dim context;

    int file; /* that is open, of which texts or rows remain */
    sg_texts *texts;
    sg_token_file tokens;
    const sg_tensor *rows; /* a file of tokens */

    bool has;     /* a text is at hand */
    int64_t text; /* where it begins */
    const int32_t *ids;
    sg_dim n, at; /* its tokens; those that were handed out */
    sg_tokens encoded;
    int32_t *offsets;
    sg_dim room;
    int32_t *sequence, *places; /* [context] what is handed out */
};

static sg_status size_of(const char *path, size_t *out, sg_error *err)
{
    sg_file *file;
    const char *colon = strstr(path, ".safetensors:");
    char *name = colon ? strndup(path, (size_t)(colon - path) + strlen(".safetensors")) : strdup(path);
    if (!name)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    const sg_status status = sg_file_open(&file, name, err);
    free(name);
    SG_TRY(status);
    *out = sg_file_bytes(file);
    sg_file_close(file);
    return SG_OK;
}

sg_status shards_source_new(shards_source **out, const sg_model *m, int n_files, const char *const *files,
                            const char *field, sg_dim context, sg_error *err)
{
    *out = NULL;
    shards_source *s = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    *s = (shards_source){.m = m,
                         .tokenizer = sg_model_tokenizer(m),
                         .files = calloc((size_t)n_files + 1, sizeof *s->files),
                         .sizes = calloc((size_t)n_files + 1, sizeof *s->sizes),
                         .field = strdup(field),
                         .context = context,
                         .sequence = malloc((size_t)context * sizeof *s->sequence),
                         .places = malloc((size_t)context * sizeof *s->places)};
    sg_status status = s->files && s->sizes && s->field && s->sequence && s->places
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    for (; s->n_files < n_files && status == SG_OK; s->n_files++) {
        const char *path = files[s->n_files];
        s->files[s->n_files] = strdup(path);
        status = s->files[s->n_files] ? size_of(path, &s->sizes[s->n_files], err)
                                      : sg_fail(err, SG_ENOMEM, "harvest: out of memory");
        if (status == SG_OK && !sg_token_file_is(path) && !s->tokenizer)
            status = sg_fail(err, SG_EARG,
                             "%s: text, but the model has no tokenizer (tokens come as .npy or .safetensors)", path);
    }
    if (status != SG_OK) {
        shards_source_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

static void close_file(shards_source *s)
{
    sg_texts_close(s->texts);
    sg_token_file_close(&s->tokens);
    s->texts = NULL;
    s->rows = NULL;
    s->has = false;
}

void shards_source_free(shards_source *s)
{
    if (!s)
        return;
    close_file(s);
    for (int i = 0; s->files && i < s->n_files; i++)
        free(s->files[i]);
    free(s->files);
    free(s->sizes);
    free(s->field);
    sg_tokens_free(&s->encoded);
    free(s->offsets);
    free(s->sequence);
    free(s->places);
    free(s);
}

/* ---- files ---- */

static sg_status open_tokens(shards_source *s, const char *path, sg_error *err)
{
    SG_TRY(sg_token_file_open(&s->tokens, path, err));
    s->rows = s->tokens.tensor;
    const int32_t *ids = s->rows->data;
    const sg_dim n = sg_tensor_count(s->rows), vocabulary = sg_model_get_info(s->m)->n_vocab;
    for (sg_dim i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocabulary)
            return sg_fail(err, SG_EFORMAT, "%s: token %" PRId32 " at place %" PRId64 " is outside 0 to %" PRId64, path,
                           ids[i], i, vocabulary - 1);
    s->text = -1; /* the row before the first */
    return SG_OK;
}

static sg_status open_file(shards_source *s, sg_error *err)
{
    const char *path = s->files[s->file];
    close_file(s);
    return sg_token_file_is(path) ? open_tokens(s, path, err) : sg_texts_open(&s->texts, path, s->field, err);
}

/* ---- texts ---- */

/* A stream may give a character of several tokens only with the token behind it: where that one begins, then, is told
 * from what it is by itself. It is left where it was where it ends in the character. */
static sg_status behind_held(const shards_source *s, int32_t id, const char *text, size_t end, int32_t *offset,
                             sg_error *err)
{
    char *own = NULL;
    SG_TRY(sg_tokenizer_decode(s->tokenizer, &id, 1, false, &own, err));
    const size_t n = strlen(own);
    if (n && n <= end && strncmp(text + end - n, own, n) == 0) {
        const char *token = sg_tokenizer_token(s->tokenizer, id);
        const bool blank = own[0] != ' ' && token && strncmp(token, "\xe2\x96\x81", 3) == 0; /* by itself it has none */
        *offset = (int32_t)(end - n - (blank && end > n && text[end - n - 1] == ' '));
    }
    free(own);
    return SG_OK;
}

/* Where in the text each token begins, from what they are written as, if that is the text. */
static sg_status locate(shards_source *s, const char *text, sg_error *err)
{
    if (s->room < s->n) {
        int32_t *more = realloc(s->offsets, (size_t)s->n * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "harvest: out of memory for %" PRId64 " tokens", s->n);
        s->offsets = more;
        s->room = s->n;
    }
    sg_stream stream = {0};
    size_t at = 0;
    bool same = true, held = false; /* held: a character of several tokens is not complete */
    sg_status status = SG_OK;
    for (sg_dim i = 0; i < s->n && status == SG_OK && same; i++) {
        char *piece = NULL;
        s->offsets[i] = sg_tokenizer_is_special(s->tokenizer, s->ids[i]) ? -1 : (int32_t)at;
        status = sg_stream_push(s->tokenizer, &stream, s->ids[i], &piece, err);
        if (status == SG_OK) {
            const size_t n = strlen(piece);
            same = strncmp(text + at, piece, n) == 0;
            at += same ? n : 0;
            if (held && n && same && s->offsets[i] >= 0)
                status = behind_held(s, s->ids[i], text, at, &s->offsets[i], err);
            held = n == 0;
        }
        free(piece);
    }
    sg_stream_free(&stream);
    for (sg_dim i = 0; i < s->n && !same; i++)
        s->offsets[i] = -1;
    return status;
}

static sg_status next_text(shards_source *s, sg_error *err)
{
    s->has = false;
    s->at = 0;
    if (s->rows) {
        const sg_dim time = s->rows->dims[s->rows->n_dims - 1], n = time ? sg_tensor_count(s->rows) / time : 0;
        if (++s->text >= n)
            return SG_OK;
        s->has = true;
        s->ids = (const int32_t *)s->rows->data + s->text * time;
        s->n = time;
        return SG_OK;
    }
    sg_text text;
    SG_TRY(sg_texts_next(s->texts, &text, err));
    if (!text.bytes)
        return SG_OK;
    s->has = true;
    s->text = text.offset;
    s->encoded.n = 0;
    SG_TRY(sg_tokenizer_encode(s->tokenizer, text.bytes, sg_encode_defaults(), &s->encoded, err));
    s->ids = s->encoded.ids;
    s->n = s->encoded.n;
    const sg_dim vocabulary = sg_model_get_info(s->m)->n_vocab;
    for (sg_dim i = 0; i < s->n; i++)
        if (s->ids[i] >= vocabulary)
            return sg_fail(err, SG_EFORMAT, "%s: the tokenizer says %" PRId32 ", the model has %" PRId64 " tokens",
                           s->files[s->file], s->ids[i], vocabulary);
    return locate(s, text.bytes, err);
}

static bool file_is_open(const shards_source *s)
{
    return s->texts || s->rows;
}

sg_status shards_source_next(shards_source *s, shards_sequence *out, sg_error *err)
{
    *out = (shards_sequence){.n = 0};
    while (!s->has || s->at >= s->n) {
        if (s->file >= s->n_files)
            return SG_OK;
        if (!file_is_open(s))
            SG_TRY(open_file(s, err));
        SG_TRY(next_text(s, err));
        if (!s->has) {
            close_file(s);
            s->file++;
        }
    }
    const int32_t bos = sg_model_get_info(s->m)->bos;
    const bool lead = s->at > 0 && bos >= 0 && s->ids[0] == bos && s->context > 1;
    const sg_dim n = SG_MIN(s->n - s->at, s->context - lead);
    out->from = (shards_cursor){s->file, s->text, s->at};
    if (lead) {
        s->sequence[0] = bos;
        s->places[0] = -1;
    }
    memcpy(s->sequence + lead, s->ids + s->at, (size_t)n * sizeof *s->sequence);
    for (sg_dim i = 0; i < n; i++)
        s->places[lead + i] = s->rows ? -1 : s->offsets[s->at + i];
    out->n = n + lead;
    out->tokens = s->sequence;
    out->offsets = s->places;
    s->at += n;
    return SG_OK;
}

shards_cursor shards_source_cursor(const shards_source *s)
{
    if (s->has && s->at < s->n)
        return (shards_cursor){s->file, s->text, s->at};
    /* The text is used up: what comes behind it is found by passing over it again. */
    return (shards_cursor){s->file, s->has ? s->text : 0, s->has ? s->n : 0};
}

sg_status shards_source_seek(shards_source *s, const shards_cursor *to, sg_error *err)
{
    if (to->file < 0 || to->file > s->n_files || to->text < 0 || to->first < 0)
        return sg_fail(err, SG_EFORMAT, "harvest: no place %d, %" PRId64 ", %" PRId64 " in the corpus", to->file,
                       to->text, to->first);
    close_file(s);
    s->file = to->file;
    if (s->file == s->n_files)
        return SG_OK;
    SG_TRY(open_file(s, err));
    if (s->rows)
        s->text = to->text - 1;
    else
        SG_TRY(sg_texts_seek(s->texts, to->text, err));
    SG_TRY(next_text(s, err));
    s->at = to->first;
    return SG_OK;
}

double shards_source_done(const shards_source *s)
{
    double all = 0, done = 0;
    for (int i = 0; i < s->n_files; i++) {
        const double bytes = (double)s->sizes[i];
        all += bytes;
        if (i < s->file)
            done += bytes;
        else if (i == s->file && s->texts)
            done += bytes * sg_texts_done(s->texts);
        else if (i == s->file && s->rows)
            done += bytes * (double)(s->text + 1) * (double)s->rows->dims[s->rows->n_dims - 1] /
                    (double)SG_MAX(sg_tensor_count(s->rows), (sg_dim)1);
    }
    return all > 0 ? done / all : 1;
}
