/* k completions of one prompt. The prompt is read by one row, which the others are copies of; every run that samples
 * also fetches what leaves the last block, so that a completion's last hidden state is there when it ends. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/qprobe.h"

sg_status sg_qprobe_batch(sg_batch **out, const sg_model *m, int n_rows, sg_exec_opts exec, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    sg_batch_opts opts = sg_batch_defaults();
    char site[64];
    *out = NULL;
    if (in->task != SG_TASK_NEXT)
        return sg_fail(err, SG_EUNSUPPORTED, "q-probe: %s does not go on with a text", in->path);
    const char *const fetches[1] = {site};
    snprintf(site, sizeof site, "blocks.%" PRId64 ".hook_resid_post", in->n_layers - 1);
    opts.exec = exec;
    opts.n_rows = SG_MIN(SG_MAX(n_rows, 1), (int)SG_BATCH_ROWS);
    opts.n_fetches = 1;
    opts.fetches = fetches; /* looked up while the batch is made */
    return sg_batch_new(out, m, opts, err);
}

typedef struct job {
    int at; /* which completion; -1: the row is free */
    sg_scribe *scribe;
    bool ended; /* and its last token is being read */
} job;

typedef struct sampling {
    sg_qprobe_samples *s;
    sg_batch *b;
    const int32_t *prompt;
    sg_dim n;
    sg_generate_opts *opts; /* by completion */
    job jobs[SG_BATCH_ROWS];
    int32_t ids[SG_BATCH_ROWS]; /* to be read next; -1: none */
    float *first;               /* the prompt's own hidden state */
    int next;
} sampling;

/* The hidden state of a row after the last run. */
static void take(const sampling *w, int row, float *to)
{
    int first;
    const sg_tensor *t = sg_batch_fetched(w->b, 0, &first);
    const sg_dim time = t->dims[1], d = w->s->width;
    for (sg_dim i = 0; i < d; i++)
        to[i] = (float)sg_tensor_get(t, ((row - first) * time + time - 1) * d + i);
}

static void leave(sampling *w, int row)
{
    sg_scribe_free(w->jobs[row].scribe);
    w->jobs[row] = (job){.at = -1};
    w->ids[row] = -1;
    sg_batch_close(w->b, row);
}

/* Chooses the row's next token. A text that ends by its length has a last token that nothing has read yet. */
static sg_status advance(sampling *w, int row, sg_error *err)
{
    job *j = &w->jobs[row];
    sg_generation *g = &w->s->texts[j->at];
    const bool full = sg_batch_length(w->b, row) >= sg_batch_room(w->b);
    SG_TRY(sg_scribe_next(j->scribe, sg_batch_logits(w->b, row), &w->ids[row], err));
    if (w->ids[row] >= 0 && full) {
        w->ids[row] = -1;
        SG_TRY(sg_scribe_end(j->scribe, "context", err));
    }
    if (!g->reason)
        return SG_OK;
    w->s->lengths[j->at] = g->n_written;
    if (strcmp(g->reason, "length") == 0 && g->n_tokens > 0 && !full) {
        j->ended = true;
        w->ids[row] = g->tokens[g->n_tokens - 1].id;
        return SG_OK;
    }
    leave(w, row);
    return SG_OK;
}

static sg_status start(sampling *w, int row, sg_error *err)
{
    const int at = w->next++;
    w->jobs[row] = (job){.at = at};
    memcpy(w->s->embeddings + at * w->s->width, w->first, (size_t)w->s->width * sizeof(float));
    return sg_scribe_new(&w->jobs[row].scribe, &w->s->texts[at], sg_batch_model(w->b), w->prompt, w->n, &w->opts[at],
                         NULL, err);
}

/* As many completions as there are rows for. */
static sg_status begin(sampling *w, sg_error *err)
{
    int rows[SG_BATCH_ROWS], n = 0;
    sg_dim shared, used;
    rows[n] = sg_batch_open(w->b, w->prompt, w->n, NULL, &shared);
    if (rows[n++] < 0)
        return sg_fail(err, SG_ENOMEM, "q-probe: no row is free");
    sg_status status = SG_OK;
    for (sg_dim at = shared; at < w->n && status == SG_OK; at += used)
        status = sg_batch_read(w->b, rows[0], w->prompt + at, w->n - at, &used, NULL, err);
    if (status != SG_OK) {
        sg_batch_close(w->b, rows[0]);
        return status;
    }
    take(w, rows[0], w->first);
    while (w->next + n < w->s->k && sg_batch_n_free(w->b) > 0) {
        const int r = sg_batch_fork(w->b, rows[0], err);
        if (r < 0) {
            status = sg_fail(err, SG_ENOMEM, "q-probe: out of memory for a row");
            break;
        }
        rows[n++] = r;
    }
    for (int i = 0; i < n; i++)
        w->jobs[rows[i]].at = -2; /* open, so that a failure closes it */
    for (int i = 0; i < n && status == SG_OK; i++)
        status = start(w, rows[i], err);
    for (int i = 0; i < n && status == SG_OK; i++)
        status = advance(w, rows[i], err);
    return status;
}

static sg_status step(sampling *w, sg_error *err)
{
    SG_TRY(sg_batch_step(w->b, w->ids, err));
    for (int r = 0; r < SG_BATCH_ROWS; r++) {
        if (w->ids[r] < 0)
            continue;
        take(w, r, w->s->embeddings + w->jobs[r].at * w->s->width);
        if (w->jobs[r].ended)
            leave(w, r);
        else
            SG_TRY(advance(w, r, err));
    }
    return SG_OK;
}

static sg_status go_on(sampling *w, sg_error *err)
{
    for (;;) {
        bool any = false;
        for (int r = 0; r < SG_BATCH_ROWS; r++)
            any |= w->ids[r] >= 0;
        if (any)
            SG_TRY(step(w, err));
        else if (w->next < w->s->k)
            SG_TRY(begin(w, err));
        else
            return SG_OK;
    }
}

sg_status sg_qprobe_sample(sg_qprobe_samples *out, sg_batch *b, const int32_t *prompt, sg_dim n, int k,
                           const sg_generate_opts *opts, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(sg_batch_model(b));
    const size_t rows = (size_t)SG_MAX(k, 1);
    *out = (sg_qprobe_samples){.k = k, .width = in->d_model};
    if (k < 1 || k > 1 << 20)
        return sg_fail(err, SG_EARG, "q-probe: %d completions", k);
    if (n < 1 || n > sg_batch_room(b))
        return sg_fail(err, SG_EARG, "q-probe: a prompt of %" PRId64 " tokens, wanted 1 to %" PRId64, n,
                       sg_batch_room(b));
    sampling w = {.s = out, .b = b, .prompt = prompt, .n = n};
    out->texts = calloc(rows, sizeof *out->texts);
    out->embeddings = calloc(rows * (size_t)out->width, sizeof *out->embeddings);
    out->lengths = calloc(rows, sizeof *out->lengths);
    w.opts = malloc(rows * sizeof *w.opts);
    w.first = malloc((size_t)out->width * sizeof *w.first);
    sg_status status = out->texts && out->embeddings && out->lengths && w.opts && w.first
                           ? SG_OK
                           : sg_fail(err, SG_ENOMEM, "q-probe: out of memory for %d completions", k);
    for (int r = 0; r < SG_BATCH_ROWS; r++) {
        w.jobs[r].at = -1;
        w.ids[r] = -1;
    }
    if (status == SG_OK) {
        for (int i = 0; i < k; i++) {
            w.opts[i] = *opts;
            w.opts[i].stream += (uint32_t)i;
        }
        status = go_on(&w, err);
    }
    for (int r = 0; r < SG_BATCH_ROWS; r++)
        if (w.jobs[r].at != -1)
            leave(&w, r);
    free(w.opts);
    free(w.first);
    if (status != SG_OK)
        sg_qprobe_samples_free(out);
    return status;
}

void sg_qprobe_samples_free(sg_qprobe_samples *s)
{
    for (int i = 0; s->texts && i < s->k; i++)
        sg_generation_free(&s->texts[i]);
    free(s->texts);
    free(s->embeddings);
    free(s->lengths);
    *s = (sg_qprobe_samples){.k = 0};
}
