/* Rows by number. Row r of a source belongs to epoch r / n, n being the rows of one epoch, and is the one at place
 * r mod n of that epoch's order (base/shuffle.h). */
#include "sightglass/corpus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/shuffle.h"
#include "io/token_file.h"
#include "sightglass/rng.h"

enum { STREAM_OF_OFFSET = 0x6f666673 };

typedef struct piece {
    const int32_t *ids; /* in a mapped file or in tokens */
    sg_dim n, time;     /* time: of each row, or n in a stream */
    sg_token_file file;
    sg_tokens tokens;
} piece;

struct sg_corpus {
    piece *pieces;
    int n;
    bool rows;
    sg_corpus_info info;
};

sg_status sg_corpus_new(sg_corpus **out, sg_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a corpus");
}

static void release(piece *p)
{
    sg_token_file_close(&p->file);
    sg_tokens_free(&p->tokens);
}

void sg_corpus_free(sg_corpus *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        release(&c->pieces[i]);
    free(c->pieces);
    free(c);
}

sg_corpus_info sg_corpus_get_info(const sg_corpus *c)
{
    return c->info;
}

/* ---- reading ---- */

static sg_status encode(piece *p, const char *path, const sg_tokenizer *tokenizer, sg_error *err)
{
    sg_file *file;
    if (!tokenizer)
        return sg_fail(err, SG_EARG, "%s: text wants a tokenizer (tokens come as .npy or .safetensors)", path);
    SG_TRY(sg_file_open(&file, path, err));
    const size_t n = sg_file_bytes(file);
    const char *data = (const char *)sg_file_data(file), *nul = n ? memchr(data, 0, n) : NULL;
    char *text = nul ? NULL : malloc(n + 1); /* the tokenizer wants an end */
    sg_status status = SG_OK;
    if (nul) {
        status = sg_fail(err, SG_EFORMAT, "%s: byte %td is 0, so it is no text", path, nul - data);
    } else if (!text) {
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    } else {
        if (n)
            memcpy(text, data, n);
        text[n] = 0;
        status = sg_tokenizer_encode(tokenizer, text, sg_encode_defaults(), &p->tokens, err);
    }
    free(text);
    sg_file_close(file);
    p->ids = p->tokens.ids;
    p->n = p->time = p->tokens.n;
    return status;
}

static sg_status read_tokens(piece *p, const char *path, const sg_tokenizer *tokenizer, bool *rows, sg_error *err)
{
    *rows = false;
    if (!sg_token_file_is(path))
        return encode(p, path, tokenizer, err);
    SG_TRY(sg_token_file_open(&p->file, path, err));
    const sg_tensor *t = p->file.tensor;
    *rows = t->n_dims == 2;
    p->ids = t->data;
    p->n = sg_tensor_count(t);
    p->time = t->dims[t->n_dims - 1];
    return SG_OK;
}

sg_status sg_corpus_add(sg_corpus *c, const char *path, const sg_tokenizer *t, sg_error *err)
{
    piece *more = realloc(c->pieces, (size_t)(c->n + 1) * sizeof *more), *p;
    bool rows = false;
    if (!more)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    c->pieces = more;
    p = &more[c->n];
    *p = (piece){0};
    sg_status status = read_tokens(p, path, t, &rows, err);
    if (status == SG_OK && c->n && rows != c->rows)
        status = sg_fail(err, SG_EARG, "%s: is %s, what came before is %s: they do not mix", path,
                         rows ? "rows" : "a stream", rows ? "a stream" : "rows");
    if (status == SG_OK && !p->n)
        status = sg_fail(err, SG_EFORMAT, "%s: holds no tokens", path);
    for (sg_dim i = 0; i < p->n && status == SG_OK; i++) {
        c->info.greatest = SG_MAX(c->info.greatest, p->ids[i]);
        if (p->ids[i] < 0)
            status = sg_fail(err, SG_EFORMAT, "%s: token %" PRIi32 " at place %" PRId64, path, p->ids[i], i);
    }
    if (status != SG_OK) {
        release(p);
        return status;
    }
    c->rows = rows;
    c->info.time = !c->n ? p->time : rows ? SG_MIN(c->info.time, p->time) : c->info.time + p->time;
    c->info.n_tokens += p->n;
    c->info.bytes += (size_t)(p->tokens.ids ? p->tokens.capacity : p->n) * sizeof *p->ids;
    c->info.hash = sg_hash(p->ids, (size_t)p->n * sizeof *p->ids, c->info.hash);
    c->n++;
    return SG_OK;
}

/* ---- rows ---- */

typedef struct drawn {
    const sg_corpus *c;
    uint64_t seed;
    sg_dim time;
    sg_shuffle order;
    sg_dim n_offsets; /* of a stream: how many places its first row may begin at */
} drawn;

/* `n` tokens from place `at` of the stream that the pieces are one after another. */
static void copy_stream(const sg_corpus *c, sg_dim at, sg_dim n, int32_t *to)
{
    for (int i = 0; i < c->n && n; i++) {
        const piece *p = &c->pieces[i];
        if (at >= p->n) {
            at -= p->n;
            continue;
        }
        const sg_dim now = SG_MIN(n, p->n - at);
        memcpy(to, p->ids + at, (size_t)now * sizeof *to);
        to += now;
        n -= now;
        at = 0;
    }
}

static void copy_row(const sg_corpus *c, sg_dim row, sg_dim n, int32_t *to)
{
    for (int i = 0; i < c->n; i++) {
        const piece *p = &c->pieces[i];
        const sg_dim rows = p->n / p->time;
        if (row < rows) {
            memcpy(to, p->ids + row * p->time, (size_t)n * sizeof *to);
            return;
        }
        row -= rows;
    }
}

static sg_status fill(void *self, sg_dim batch, sg_tensor *field, sg_error *err)
{
    const drawn *d = self;
    const sg_dim rows = field[0].dims[0];
    (void)err;
    for (sg_dim k = 0; k < rows; k++) {
        const sg_dim r = batch * rows + k, n = d->order.n_rows, epoch = r / n,
                     place = sg_shuffle_at(&d->order, epoch, r % n);
        int32_t *to = (int32_t *)field[0].data + k * d->time;
        if (d->c->rows) {
            copy_row(d->c, place, d->time, to);
        } else {
            sg_rng g = sg_rng_new(d->seed, STREAM_OF_OFFSET);
            g.step = (uint64_t)epoch;
            const sg_dim offset = (sg_dim)sg_rng_below(&g, (uint32_t)SG_MIN(d->n_offsets, UINT32_MAX));
            copy_stream(d->c, offset + place * d->time, d->time, to);
        }
    }
    return SG_OK;
}

sg_status sg_corpus_source(sg_source *out, const sg_corpus *c, sg_dim rows, sg_dim time, uint64_t seed, sg_error *err)
{
    *out = (sg_source){0};
    if (rows < 1 || time < 1)
        return sg_fail(err, SG_EARG, "corpus: batches of %" PRId64 " rows of %" PRId64 " tokens", rows, time);
    if (c->info.time < time)
        return sg_fail(err, SG_EARG, "corpus: rows of %" PRId64 " tokens, %s %" PRId64, time,
                       c->rows ? "the shortest row has" : "all files together have", c->info.time);
    drawn *d = calloc(1, sizeof *d);
    if (!d)
        return sg_fail(err, SG_ENOMEM, "out of memory for a corpus");
    *d = (drawn){.c = c, .seed = seed, .time = time};
    sg_dim n_rows = 0; /* of an epoch */
    if (c->rows) {
        for (int i = 0; i < c->n; i++)
            n_rows += c->pieces[i].n / c->pieces[i].time;
    } else {
        /* As many rows as fit wherever the first begins. */
        n_rows = SG_MAX((c->info.n_tokens - time + 1) / time, 1);
        d->n_offsets = SG_MIN(time, c->info.n_tokens - n_rows * time + 1);
    }
    d->order = sg_shuffle_new(seed, n_rows);
    *out = (sg_source){.n_fields = 1,
                       .field = {sg_tensor_of(SG_I32, 2, (sg_dim[]){rows, time}, NULL)},
                       .fill = fill,
                       .free = free,
                       .self = d};
    return SG_OK;
}
