#include "serve/generation.h"

#include <stdlib.h>
#include <string.h>

#include "serve/batches.h"
#include "serve/prompt.h"
#include "sightglass/ops.h"

typedef struct writer {
    const generation_ask *ask;
    generation *g;
    sg_generate_opts opts;
    sg_scribe *scribe;
    const sg_model *model;
    const sg_model_info *info;
    sg_dim room; /* tokens of prompt and text */
    size_t told_text;
    int told_tokens, told_steps;
    double began;
} writer;

generation_ask generation_defaults(void)
{
    generation_ask ask = {.write = sg_generate_defaults(), .n_choices = 1};

    ask.write.most = 16;
    return ask;
}

void generation_free(generation *g)
{
    sg_generation_free(&g->w);
    fetched_free(g->fetched);
    *g = (generation){0};
}

static sg_status tell(writer *w, sg_error *err)
{
    generation *g = w->g;
    const generation_ask *ask = w->ask;
    const bool last = g->w.reason != NULL;
    const int steps = fetched_steps(g->fetched);

    if (ask->tell && (last || g->w.bytes > w->told_text || g->w.n_tokens > w->told_tokens || steps > w->told_steps))
        SG_TRY(ask->tell(ask->context, g, w->told_text, w->told_tokens, w->told_steps, last, err));
    w->told_text = g->w.bytes;
    w->told_tokens = g->w.n_tokens;
    w->told_steps = steps;
    return SG_OK;
}

/* The next token from logits: *id, -1 at the end. */
static sg_status write_one(writer *w, const float *logits, sg_dim past, int32_t *id, sg_error *err)
{
    sg_generation *g = &w->g->w;
    const bool first = g->n_written == 0;

    SG_TRY(sg_scribe_next(w->scribe, logits, id, err));
    if (first)
        g->first = sg_now() - w->began;
    if (*id >= 0 && past >= w->room) {
        *id = -1;
        SG_TRY(sg_scribe_end(w->scribe, "length", err));
    }
    return tell(w, err);
}

static sg_status check_prompt(const writer *w, sg_error *err)
{
    const generation_ask *ask = w->ask;

    if (ask->n < 1)
        return sg_fail(err, SG_EARG, "the prompt has no tokens");
    if (ask->n > w->info->n_context)
        return sg_fail(err, SG_EARG, "the prompt has %lld tokens, the model's context is %lld", (long long)ask->n,
                       (long long)w->info->n_context);
    for (sg_dim i = 0; i < ask->n; i++)
        if (ask->tokens[i] < 0 || ask->tokens[i] >= w->info->n_vocab)
            return sg_fail(err, SG_EARG, "token %d at place %lld of the prompt is outside the vocabulary 0 to %lld",
                           ask->tokens[i], (long long)i, (long long)w->info->n_vocab - 1);
    return SG_OK;
}

static sg_status check_gone(const writer *w, sg_error *err)
{
    return w->ask->gone && *w->ask->gone ? sg_fail(err, SG_ECANCELLED, "the client has left") : SG_OK;
}

static sg_status begin(writer *w, const float *prompt_logits, const char **field, sg_error *err)
{
    *field = "logit_bias";
    SG_TRY(sg_scribe_new(&w->scribe, &w->g->w, w->model, w->ask->tokens, w->ask->n, &w->opts, prompt_logits, err));
    *field = NULL;
    return SG_OK;
}

/* ---- as a row of a batch ---- */

static sg_status write_together(writer *w, serve_row *row, sg_error *err)
{
    const generation_ask *ask = w->ask;
    sg_dim past = ask->n;
    int32_t id = -1;

    if (w->opts.most > 0)
        SG_TRY(serve_row_read(row, ask->gone, err));
    for (;;) {
        SG_TRY(check_gone(w, err));
        SG_TRY(write_one(w, serve_row_logits(row), past, &id, err));
        if (id < 0)
            return SG_OK;
        SG_TRY(check_gone(w, err));
        SG_TRY(serve_row_step(row, id, err));
        past++;
    }
}

static sg_status run_together(writer *w, const char **field, sg_error *err)
{
    const generation_ask *ask = w->ask;
    serve_row *row = NULL;

    *field = "edits";
    SG_TRY(serve_row_take(
        &row, ask->models,
        (serve_row_ask){
            .model = ask->model, .tokens = ask->tokens, .n = ask->n, .capacity = w->room, .edits = ask->edits},
        err));
    w->g->w.n_shared = serve_row_shared(row);
    sg_status status = begin(w, NULL, field, err);
    if (status == SG_OK)
        status = write_together(w, row, err);
    serve_row_give(row);
    return status;
}

/* ---- in a glass alone ---- */

/* One run: the prompt, or the token written last. */
static sg_status extend(writer *w, serve_glass *glass, const int32_t *tokens, sg_dim n, bool all, const float **logits,
                        sg_error *err)
{
    const int n_fetches = 1 + fetched_count(w->g->fetched);
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    const sg_dim past = sg_glass_past(glass->glass);
    sg_value **fetches = malloc((size_t)n_fetches * sizeof *fetches);
    sg_tensor *out = malloc((size_t)n_fetches * sizeof *out);
    sg_status status = fetches && out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a run");

    if (status == SG_OK) {
        fetches[0] = all ? sg_graph_find(sg_glass_graph(glass->glass), "logits") : glass->last;
        for (int i = 1; i < n_fetches; i++)
            fetches[i] = fetched_values(w->g->fetched)[i - 1];
        status = sg_glass_extend(glass->glass, &rows, n_fetches, fetches, out, err);
    }
    if (status == SG_OK) {
        *logits = out[0].data;
        status = fetched_keep(w->g->fetched, past, n, out + 1, err);
    }
    free(fetches);
    free(out);
    return status;
}

static sg_status write_alone(writer *w, serve_glass *glass, const char **field, sg_error *err)
{
    const generation_ask *ask = w->ask;
    const bool all = w->opts.echo && w->opts.n_top >= 0;
    const float *logits = NULL;
    int32_t id = -1;

    if (w->opts.most > 0 || all || w->g->fetched)
        SG_TRY(extend(w, glass, ask->tokens, ask->n, all, &logits, err));
    SG_TRY(begin(w, all ? logits : NULL, field, err));
    if (all)
        logits += (ask->n - 1) * w->info->n_vocab;
    for (;;) {
        SG_TRY(check_gone(w, err));
        SG_TRY(write_one(w, logits, sg_glass_past(glass->glass), &id, err));
        if (id < 0)
            return SG_OK;
        SG_TRY(check_gone(w, err));
        SG_TRY(extend(w, glass, &id, 1, false, &logits, err));
    }
}

static sg_status run_alone(writer *w, const char **field, sg_error *err)
{
    const generation_ask *ask = w->ask;
    serve_glass *glass = NULL;

    *field = "edits";
    SG_TRY(serve_glass_take(&glass, ask->models,
                            (serve_glass_ask){.model = ask->model, .capacity = w->room, .edits = ask->edits}, err));
    *field = "fetch";
    sg_status status =
        fetched_new(&w->g->fetched, sg_glass_graph(glass->glass), ask->fetch, ask->n, w->room, ask->n_choices, err);
    if (status == SG_OK) {
        *field = NULL;
        status = write_alone(w, glass, field, err);
    }
    serve_glass_give(glass, status == SG_OK || status == SG_ECANCELLED);
    return status;
}

sg_status generation_run(generation *g, const generation_ask *ask, const char **field, sg_error *err)
{
    writer w = {.ask = ask, .g = g, .opts = ask->write, .began = sg_now()};
    const char *unused, **at = field ? field : &unused;
    bool together = !ask->fetch && !(ask->write.echo && ask->write.n_top >= 0);

    *at = "model";
    SG_TRY(serve_models_open(&w.model, ask->models, ask->model, err));
    w.info = sg_model_get_info(w.model);
    w.opts.token_text = prompt_token;
    *at = "prompt";
    SG_TRY(check_prompt(&w, err));
    w.room = SG_MIN(w.info->n_context, ask->n + ask->write.most);
    const sg_exec_opts exec = serve_models_exec(ask->models, w.model);
    g->backend = sg_exec_name(&exec);
    sg_status status = together ? run_together(&w, at, err) : SG_EUNSUPPORTED;
    if (status == SG_EUNSUPPORTED && !w.scribe)
        status = run_alone(&w, at, err);
    /* A site that is not there is a mistake in the request; what the request is about was found. */
    if (status == SG_ENOTFOUND && *at && strcmp(*at, "edits") == 0)
        status = err ? (err->status = SG_EARG) : SG_EARG;
    sg_scribe_free(w.scribe);
    return status;
}
