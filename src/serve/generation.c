#include "serve/generation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/prompt.h"
#include "sightglass/ops.h"

typedef struct writer {
    const generation_ask *ask;
    generation *g;
    serve_glass *glass;
    const sg_model_info *info;
    const sg_tokenizer *tokenizer;
    sg_stream stream;
    sg_str all;      /* text with what may yet turn out to be the beginning of a stop */
    size_t searched; /* where stops may begin */
    size_t told_text;
    int told_tokens, told_steps;
    bool stopped;    /* by a stop's text */
    bool any;        /* a token was shown: the next one has a blank before it where tokens are words */
    float *adjusted; /* logits with biases and penalties */
    int32_t *counts; /* how often each token was written; NULL where nobody asks */
    sg_sample_pair *scratch;
} writer;

generation_ask generation_defaults(void)
{
    return (generation_ask){
        .most = 16, .sample = sg_sample_defaults(), .n_top = -1, .ends_at_eos = true, .n_choices = 1};
}

void generation_free(generation *g)
{
    for (int i = 0; i < g->n_tokens; i++)
        free(g->tokens[i].top);
    free(g->tokens);
    fetched_free(g->fetched);
    sg_str_free(&g->text);
    *g = (generation){0};
}

static void release(writer *w, bool keep)
{
    serve_glass_give(w->glass, keep);
    sg_stream_free(&w->stream);
    sg_str_free(&w->all);
    free(w->adjusted);
    free(w->counts);
    free(w->scratch);
}

/* ---- log-probabilities ---- */

static double log_of_sum(const float *logits, sg_dim n)
{
    double most = -(double)INFINITY, sum = 0;

    for (sg_dim i = 0; i < n; i++)
        most = (double)logits[i] > most ? (double)logits[i] : most;
    if (!isfinite(most))
        return most;
    for (sg_dim i = 0; i < n; i++)
        sum += logits[i] == logits[i] ? exp((double)logits[i] - most) : 0;
    return most + log(sum);
}

/* The k likeliest, at equal logits the smaller id first; those that cannot occur are left out. */
static void likeliest(const float *logits, sg_dim n, double whole, int k, generation_token *t)
{
    for (sg_dim i = 0; i < n; i++) {
        const double x = (double)logits[i] - whole;
        if (!(x > -(double)INFINITY) || (t->n_top == k && !(x > t->top[k - 1].logprob)))
            continue;
        int at = t->n_top < k ? t->n_top++ : k - 1;
        for (; at > 0 && t->top[at - 1].logprob < x; at--)
            t->top[at] = t->top[at - 1];
        t->top[at] = (generation_guess){(int32_t)i, x};
    }
}

static sg_status weigh(const writer *w, const float *logits, generation_token *t, sg_error *err)
{
    const int k = w->ask->n_top;

    if (k < 0)
        return SG_OK;
    const double whole = log_of_sum(logits, w->info->n_vocab);
    t->logprob = (double)logits[t->id] - whole;
    if (k == 0)
        return SG_OK;
    t->top = calloc((size_t)k, sizeof *t->top);
    if (!t->top)
        return sg_fail(err, SG_ENOMEM, "out of memory for log-probabilities");
    likeliest(logits, w->info->n_vocab, whole, k, t);
    return SG_OK;
}

/* ---- text ---- */

static sg_status add_text(writer *w, char *piece, sg_error *err)
{
    if (piece)
        sg_str_puts(&w->all, piece);
    free(piece);
    return w->all.failed ? sg_fail(err, SG_ENOMEM, "out of memory for a text") : SG_OK;
}

/* A token as text behind those before it. */
static sg_status add_token_text(writer *w, int32_t id, sg_error *err)
{
    char *piece = NULL;

    if (w->tokenizer) {
        SG_TRY(sg_stream_push(w->tokenizer, &w->stream, id, &piece, err));
        return add_text(w, piece, err);
    }
    piece = prompt_token(w->glass->model, id);
    if (!piece)
        return sg_fail(err, SG_ENOMEM, "out of memory for a text");
    if (w->any)
        sg_str_puts(&w->all, " ");
    w->any = true;
    return add_text(w, piece, err);
}

static sg_status add_token(writer *w, int32_t id, generation_token **out, sg_error *err)
{
    generation *g = w->g;

    if (g->n_tokens == g->capacity) {
        const int capacity = g->capacity ? g->capacity * 2 : 64;
        generation_token *more = realloc(g->tokens, (size_t)capacity * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "out of memory for tokens");
        g->tokens = more;
        g->capacity = capacity;
    }
    generation_token *t = &g->tokens[g->n_tokens++];
    *t = (generation_token){.id = id, .logprob = (double)NAN, .text = w->all.bytes};
    *out = t;
    return SG_OK;
}

/* Looks for stops in what is new; cuts the text at the first. */
static void look_for_stops(writer *w)
{
    const generation_ask *ask = w->ask;
    size_t cut = w->all.bytes, longest = 1;

    for (int i = 0; i < ask->n_stops; i++) {
        const char *found = w->all.text ? strstr(w->all.text + w->searched, ask->stops[i]) : NULL;
        if (found && (size_t)(found - w->all.text) < cut) {
            cut = (size_t)(found - w->all.text);
            w->stopped = true;
        }
        longest = SG_MAX(longest, strlen(ask->stops[i]));
    }
    if (w->stopped) {
        w->all.bytes = cut;
        w->all.text[cut] = '\0';
    } else if (w->all.bytes >= longest) {
        w->searched = SG_MAX(w->searched, w->all.bytes - longest + 1);
    }
}

/* How much of the text cannot become part of a stop any more. */
static size_t certain(const writer *w, bool last)
{
    size_t held = 0;

    for (int i = 0; i < w->ask->n_stops && !w->stopped && !last; i++) {
        const size_t n = strlen(w->ask->stops[i]);
        for (size_t k = SG_MIN(n - 1, w->all.bytes - w->searched); k > held; k--)
            if (memcmp(w->all.text + w->all.bytes - k, w->ask->stops[i], k) == 0)
                held = k;
    }
    return w->all.bytes - held;
}

static sg_status tell(writer *w, bool last, sg_error *err)
{
    generation *g = w->g;
    const size_t text = SG_MAX(certain(w, last), w->told_text);
    int tokens = w->told_tokens;

    if (text > g->text.bytes)
        sg_str_append(&g->text, w->all.text + g->text.bytes, text - g->text.bytes);
    if (g->text.failed)
        return sg_fail(err, SG_ENOMEM, "out of memory for a text");
    while (tokens < g->n_tokens && (g->tokens[tokens].end <= text || last))
        tokens++;
    const int steps = fetched_steps(g->fetched);
    if (w->ask->tell && (last || text > w->told_text || tokens > w->told_tokens || steps > w->told_steps)) {
        const int n_all = g->n_tokens;
        g->n_tokens = tokens; /* those that are not certain yet are not shown */
        const sg_status status =
            w->ask->tell(w->ask->context, g, w->told_text, w->told_tokens, w->told_steps, last, err);
        g->n_tokens = n_all;
        SG_TRY(status);
    }
    w->told_text = text;
    w->told_tokens = tokens;
    w->told_steps = steps;
    return SG_OK;
}

/* Blanks at the beginning, once more than blanks is there. */
static void trim(writer *w)
{
    const size_t blanks = w->ask->trim && w->told_text == 0 && w->all.text ? strspn(w->all.text, " \t\r\n") : 0;

    if (!blanks)
        return;
    memmove(w->all.text, w->all.text + blanks, w->all.bytes - blanks + 1);
    w->all.bytes -= blanks;
    w->searched -= SG_MIN(w->searched, blanks);
    for (int i = 0; i < w->g->n_tokens; i++) {
        w->g->tokens[i].text -= SG_MIN(w->g->tokens[i].text, blanks);
        w->g->tokens[i].end -= SG_MIN(w->g->tokens[i].end, blanks);
    }
}

/* ---- tokens ---- */

static bool ends(const writer *w, int32_t id)
{
    for (int i = 0; i < w->info->n_eos && w->ask->ends_at_eos; i++)
        if (w->info->eos[i] == id)
            return true;
    return false;
}

static int32_t choose(writer *w, const float *logits, sg_rng *rng)
{
    const generation_ask *ask = w->ask;
    const int32_t n = (int32_t)w->info->n_vocab;

    if (w->adjusted) {
        memcpy(w->adjusted, logits, (size_t)n * sizeof *logits);
        for (int i = 0; i < ask->n_biases; i++)
            w->adjusted[ask->biases[i].token] += (float)ask->biases[i].add;
        for (int32_t i = 0; i < n; i++)
            if (w->counts[i])
                w->adjusted[i] -= (float)(ask->presence + ask->frequency * w->counts[i]);
        logits = w->adjusted;
    }
    return sg_sample_next(logits, n, ask->sample, rng, w->scratch);
}

/* The prompt's own text and tokens: shown if it is echoed, and else what the stream of text begins with. */
static sg_status show_prompt(writer *w, const float *logits, sg_error *err)
{
    const generation_ask *ask = w->ask;

    for (sg_dim i = 0; i < ask->n; i++) {
        generation_token *t = NULL;
        if (ask->echo) {
            SG_TRY(add_token(w, ask->tokens[i], &t, err));
            if (i > 0 && logits)
                SG_TRY(weigh(w, logits + (i - 1) * w->info->n_vocab, t, err));
        }
        SG_TRY(add_token_text(w, ask->tokens[i], err));
        if (ask->echo)
            t->end = w->all.bytes;
    }
    if (!ask->echo && w->all.text) {
        w->all.bytes = 0;
        w->all.text[0] = '\0';
    }
    w->searched = w->all.bytes; /* stops are looked for in what is written */
    return SG_OK;
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

static sg_status take_room(writer *w, sg_error *err)
{
    const generation_ask *ask = w->ask;
    const size_t n = (size_t)w->info->n_vocab;
    const bool adjusts = ask->n_biases || ask->presence != 0 || ask->frequency != 0;

    w->scratch = malloc(n * sizeof *w->scratch);
    if (adjusts) {
        w->adjusted = malloc(n * sizeof *w->adjusted);
        w->counts = calloc(n, sizeof *w->counts);
    }
    if (!w->scratch || (adjusts && (!w->adjusted || !w->counts)))
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu logits", n);
    for (int i = 0; i < ask->n_biases; i++)
        if (ask->biases[i].token < 0 || ask->biases[i].token >= w->info->n_vocab)
            return sg_fail(err, SG_EARG, "token %d is outside the vocabulary 0 to %lld", ask->biases[i].token,
                           (long long)w->info->n_vocab - 1);
    return SG_OK;
}

/* One run: the prompt, or the token written last. */
static sg_status extend(writer *w, const int32_t *tokens, sg_dim n, bool all, const float **logits, sg_error *err)
{
    const int n_fetches = 1 + fetched_count(w->g->fetched);
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    const sg_dim past = sg_glass_past(w->glass->glass);
    sg_value **fetches = malloc((size_t)n_fetches * sizeof *fetches);
    sg_tensor *out = malloc((size_t)n_fetches * sizeof *out);
    sg_status status = fetches && out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a run");

    if (status == SG_OK) {
        fetches[0] = all ? sg_graph_find(sg_glass_graph(w->glass->glass), "logits") : w->glass->last;
        for (int i = 1; i < n_fetches; i++)
            fetches[i] = fetched_values(w->g->fetched)[i - 1];
        status = sg_glass_extend(w->glass->glass, &rows, n_fetches, fetches, out, err);
    }
    if (status == SG_OK) {
        *logits = out[0].data;
        status = fetched_keep(w->g->fetched, past, n, out + 1, err);
    }
    free(fetches);
    free(out);
    return status;
}

static sg_status write_on(writer *w, sg_error *err)
{
    const generation_ask *ask = w->ask;
    generation *g = w->g;
    const sg_dim room = SG_MIN(w->info->n_context, ask->n + ask->most);
    const bool all = ask->echo && ask->n_top >= 0;
    const double start = sg_now();
    const float *logits = NULL;
    sg_rng rng = sg_rng_new(ask->seed, ask->stream);
    int32_t id = -1;

    for (sg_dim i = 0;; i++) {
        if (ask->gone && *ask->gone)
            return sg_fail(err, SG_ECANCELLED, "the client has left");
        if (i == 0 && (ask->most > 0 || all || g->fetched))
            SG_TRY(extend(w, ask->tokens, ask->n, all, &logits, err));
        if (i == 0)
            SG_TRY(show_prompt(w, all ? logits : NULL, err));
        if (i == 0 && all)
            logits += (ask->n - 1) * w->info->n_vocab;
        if (i == ask->most || (i > 0 && sg_glass_past(w->glass->glass) + 1 > room)) {
            g->reason = "length";
            break;
        }
        if (i > 0)
            SG_TRY(extend(w, &id, 1, false, &logits, err));
        id = choose(w, logits, &rng);
        if (id < 0)
            return sg_fail(err, SG_ENUMERIC, "the logits after %lld tokens are all NaN", (long long)(ask->n + i));
        if (i == 0)
            g->first = sg_now() - start;
        if (ends(w, id)) {
            g->reason = "stop";
            break;
        }
        generation_token *t = NULL;
        SG_TRY(add_token(w, id, &t, err));
        SG_TRY(weigh(w, logits, t, err));
        SG_TRY(add_token_text(w, id, err));
        t->end = w->all.bytes;
        g->n_written++;
        if (w->counts)
            w->counts[id]++;
        trim(w);
        look_for_stops(w);
        if (w->stopped) {
            g->reason = "stop";
            break;
        }
        SG_TRY(tell(w, false, err));
    }
    if (w->tokenizer && !w->stopped) {
        char *piece = NULL;
        SG_TRY(sg_stream_finish(w->tokenizer, &w->stream, &piece, err));
        SG_TRY(add_text(w, piece, err));
        if (g->n_tokens)
            g->tokens[g->n_tokens - 1].end = w->all.bytes;
        trim(w);
        look_for_stops(w);
        if (w->stopped)
            g->reason = "stop";
    }
    /* Tokens of a stop are no part of the answer. */
    while (w->stopped && g->n_tokens && g->tokens[g->n_tokens - 1].text >= w->all.bytes &&
           g->n_tokens > w->told_tokens && !(ask->echo && g->n_tokens <= ask->n))
        free(g->tokens[--g->n_tokens].top);
    return tell(w, true, err);
}

sg_status generation_run(generation *g, const generation_ask *ask, const char **field, sg_error *err)
{
    writer w = {.ask = ask, .g = g};
    const sg_model *m = NULL;
    const char *unused, **at = field ? field : &unused;

    *at = "model";
    SG_TRY(serve_models_open(&m, ask->models, ask->model, err));
    w.info = sg_model_get_info(m);
    w.tokenizer = sg_model_tokenizer(m);
    *at = "prompt";
    SG_TRY(check_prompt(&w, err));
    *at = "edits";
    const sg_dim room = SG_MIN(w.info->n_context, ask->n + ask->most);
    sg_status status = serve_glass_take(
        &w.glass, ask->models, (serve_glass_ask){.model = ask->model, .capacity = room, .edits = ask->edits}, err);
    /* A site that is not there is a mistake in the request; what the request is about was found. */
    if (status == SG_ENOTFOUND)
        status = err ? (err->status = SG_EARG) : SG_EARG;
    if (status == SG_OK) {
        *at = "fetch";
        status =
            fetched_new(&g->fetched, sg_glass_graph(w.glass->glass), ask->fetch, ask->n, room, ask->n_choices, err);
    }
    if (status == SG_OK) {
        *at = "logit_bias";
        status = take_room(&w, err);
    }
    if (status == SG_OK) {
        *at = NULL;
        const sg_exec_opts exec = serve_models_exec(ask->models, m);
        g->backend = sg_exec_name(&exec);
        status = write_on(&w, err);
    }
    release(&w, status == SG_OK || status == SG_ECANCELLED);
    return status;
}
