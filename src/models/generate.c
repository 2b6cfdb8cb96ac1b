/* Texts as they are written, and loops over batches that write them. */
#include "sightglass/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct sg_scribe {
    const sg_generate_opts *opts;
    sg_generation *g;
    const sg_model *m;
    const sg_model_info *info;
    const sg_tokenizer *tokenizer;
    const int32_t *prompt;
    sg_dim n;
    sg_stream stream;
    sg_str all;      /* text with what may yet turn out to be the beginning of a stop */
    size_t searched; /* where stops may begin */
    int n_all;       /* tokens, those that are not certain too */
    bool stopped;    /* by a stop's text */
    bool any;        /* a token was shown: the next one has a blank before it where tokens are words */
    float *adjusted; /* logits with biases and penalties; NULL where nobody asks */
    int32_t *counts; /* how often each token was written */
    uint8_t *seen;   /* in prompt or text */
    sg_sample_pair *scratch;
    sg_rng rng;
    double began;
};

sg_generate_opts sg_generate_defaults(void)
{
    return (sg_generate_opts){
        .most = 128, .sample = sg_sample_defaults(), .repetition = 1, .n_top = -1, .ends_at_eos = true};
}

void sg_generation_free(sg_generation *g)
{
    for (int i = 0; i < g->n_tokens; i++)
        free(g->tokens[i].top);
    free(g->tokens);
    free(g->text);
    *g = (sg_generation){0};
}

void sg_scribe_free(sg_scribe *s)
{
    if (!s)
        return;
    for (int i = s->g->n_tokens; i < s->n_all; i++)
        free(s->g->tokens[i].top);
    sg_stream_free(&s->stream);
    sg_str_free(&s->all);
    free(s->adjusted);
    free(s->counts);
    free(s->seen);
    free(s->scratch);
    free(s);
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
static int likeliest(const float *logits, sg_dim n, double whole, int k, sg_guess *top)
{
    int count = 0;

    for (sg_dim i = 0; i < n && k > 0; i++) {
        const double x = (double)logits[i] - whole;
        if (!(x > -(double)INFINITY) || (count == k && !(x > top[k - 1].logprob)))
            continue;
        int at = count < k ? count++ : k - 1;
        for (; at > 0 && top[at - 1].logprob < x; at--)
            top[at] = top[at - 1];
        top[at] = (sg_guess){(int32_t)i, x};
    }
    return count;
}

static sg_status weigh(const sg_scribe *s, const float *logits, sg_written *t, sg_error *err)
{
    const int k = s->opts->n_top;

    if (k < 0)
        return SG_OK;
    const double whole = log_of_sum(logits, s->info->n_vocab);
    t->logprob = (double)logits[t->id] - whole;
    if (k == 0)
        return SG_OK;
    t->top = calloc((size_t)k, sizeof *t->top);
    if (!t->top)
        return sg_fail(err, SG_ENOMEM, "out of memory for log-probabilities");
    t->n_top = likeliest(logits, s->info->n_vocab, whole, k, t->top);
    return SG_OK;
}

/* ---- text ---- */

static sg_status add_text(sg_scribe *s, char *piece, sg_error *err)
{
    if (piece)
        sg_str_puts(&s->all, piece);
    free(piece);
    return s->all.failed ? sg_fail(err, SG_ENOMEM, "out of memory for a text") : SG_OK;
}

/* A token as text behind those before it. */
static sg_status add_token_text(sg_scribe *s, int32_t id, sg_error *err)
{
    char *piece = NULL;

    if (s->tokenizer) {
        SG_TRY(sg_stream_push(s->tokenizer, &s->stream, id, &piece, err));
        return add_text(s, piece, err);
    }
    if (s->any)
        sg_str_puts(&s->all, " ");
    s->any = true;
    if (!s->opts->token_text) {
        sg_str_printf(&s->all, "%d", id);
        return add_text(s, NULL, err);
    }
    piece = s->opts->token_text(s->m, id);
    if (!piece)
        return sg_fail(err, SG_ENOMEM, "out of memory for a text");
    return add_text(s, piece, err);
}

static sg_status add_token(sg_scribe *s, int32_t id, sg_written **out, sg_error *err)
{
    sg_generation *g = s->g;

    if (s->n_all == g->capacity) {
        const int capacity = g->capacity ? g->capacity * 2 : 64;
        sg_written *more = realloc(g->tokens, (size_t)capacity * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "out of memory for tokens");
        g->tokens = more;
        g->capacity = capacity;
    }
    sg_written *t = &g->tokens[s->n_all++];
    *t = (sg_written){.id = id, .logprob = (double)NAN, .text = s->all.bytes};
    *out = t;
    return SG_OK;
}

/* Looks for stops in what is new; cuts the text at the first. */
static void look_for_stops(sg_scribe *s)
{
    size_t cut = s->all.bytes, longest = 1;

    for (int i = 0; i < s->opts->n_stops; i++) {
        const char *found = s->all.text ? strstr(s->all.text + s->searched, s->opts->stops[i]) : NULL;
        if (found && (size_t)(found - s->all.text) < cut) {
            cut = (size_t)(found - s->all.text);
            s->stopped = true;
        }
        longest = SG_MAX(longest, strlen(s->opts->stops[i]));
    }
    if (s->stopped) {
        s->all.bytes = cut;
        s->all.text[cut] = '\0';
    } else if (s->all.bytes >= longest) {
        s->searched = SG_MAX(s->searched, s->all.bytes - longest + 1);
    }
}

/* How much of the text cannot become part of a stop any more. */
static size_t certain(const sg_scribe *s, bool last)
{
    size_t held = 0;

    for (int i = 0; i < s->opts->n_stops && !s->stopped && !last; i++) {
        const size_t n = strlen(s->opts->stops[i]);
        for (size_t k = SG_MIN(n - 1, s->all.bytes - s->searched); k > held; k--)
            if (memcmp(s->all.text + s->all.bytes - k, s->opts->stops[i], k) == 0)
                held = k;
    }
    return s->all.bytes - held;
}

/* What has become certain, into g. */
static sg_status show(sg_scribe *s, bool last, sg_error *err)
{
    sg_generation *g = s->g;
    const size_t text = SG_MAX(certain(s, last), g->bytes);

    if (text + 1 > g->text_room) {
        const size_t more = SG_MAX(text + 1, g->text_room * 2);
        char *longer = realloc(g->text, more);
        if (!longer)
            return sg_fail(err, SG_ENOMEM, "out of memory for a text");
        g->text = longer;
        g->text_room = more;
    }
    if (text > g->bytes)
        memcpy(g->text + g->bytes, s->all.text + g->bytes, text - g->bytes);
    g->text[text] = '\0';
    g->bytes = text;
    while (g->n_tokens < s->n_all && (g->tokens[g->n_tokens].end <= text || last))
        g->n_tokens++;
    return SG_OK;
}

/* Blanks at the beginning, once more than blanks is there. */
static void trim(sg_scribe *s)
{
    const size_t blanks = s->opts->trim && s->g->bytes == 0 && s->all.text ? strspn(s->all.text, " \t\r\n") : 0;

    if (!blanks)
        return;
    memmove(s->all.text, s->all.text + blanks, s->all.bytes - blanks + 1);
    s->all.bytes -= blanks;
    s->searched -= SG_MIN(s->searched, blanks);
    for (int i = 0; i < s->n_all; i++) {
        s->g->tokens[i].text -= SG_MIN(s->g->tokens[i].text, blanks);
        s->g->tokens[i].end -= SG_MIN(s->g->tokens[i].end, blanks);
    }
}

/* ---- tokens ---- */

static bool ends(const sg_scribe *s, int32_t id)
{
    for (int i = 0; i < s->info->n_eos && s->opts->ends_at_eos; i++)
        if (s->info->eos[i] == id)
            return true;
    return false;
}

static sg_status take_room(sg_scribe *s, sg_error *err)
{
    const sg_generate_opts *o = s->opts;
    const size_t n = (size_t)s->info->n_vocab;
    const bool adjusts = o->n_biases || o->presence != 0 || o->frequency != 0 || o->repetition != 1;

    s->scratch = malloc(n * sizeof *s->scratch);
    if (adjusts) {
        s->adjusted = malloc(n * sizeof *s->adjusted);
        s->counts = calloc(n, sizeof *s->counts);
        s->seen = calloc(n, 1);
    }
    if (!s->scratch || (adjusts && (!s->adjusted || !s->counts || !s->seen)))
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu logits", n);
    for (int i = 0; i < o->n_biases; i++)
        if (o->biases[i].token < 0 || o->biases[i].token >= s->info->n_vocab)
            return sg_fail(err, SG_EARG, "token %d is outside the vocabulary 0 to %lld", o->biases[i].token,
                           (long long)s->info->n_vocab - 1);
    for (sg_dim i = 0; i < s->n && s->seen; i++)
        s->seen[s->prompt[i]] = 1;
    return SG_OK;
}

static int32_t choose(sg_scribe *s, const float *logits)
{
    const sg_generate_opts *o = s->opts;
    const int32_t n = (int32_t)s->info->n_vocab;

    if (s->adjusted) {
        memcpy(s->adjusted, logits, (size_t)n * sizeof *logits);
        for (int i = 0; i < o->n_biases; i++)
            s->adjusted[o->biases[i].token] += (float)o->biases[i].add;
        sg_penalise(s->adjusted, n, (sg_penalties){o->repetition, o->presence, o->frequency}, s->counts, s->seen);
        logits = s->adjusted;
    }
    return sg_sample_next(logits, n, o->sample, &s->rng, s->scratch);
}

/* The prompt's own text and tokens: shown if it is echoed, and else what the stream of text begins with. */
static sg_status show_prompt(sg_scribe *s, const float *logits, sg_error *err)
{
    for (sg_dim i = 0; i < s->n; i++) {
        sg_written *t = NULL;
        if (s->opts->echo) {
            SG_TRY(add_token(s, s->prompt[i], &t, err));
            if (i > 0 && logits)
                SG_TRY(weigh(s, logits + (i - 1) * s->info->n_vocab, t, err));
        }
        SG_TRY(add_token_text(s, s->prompt[i], err));
        if (s->opts->echo)
            t->end = s->all.bytes;
    }
    if (!s->opts->echo && s->all.text) {
        s->all.bytes = 0;
        s->all.text[0] = '\0';
    }
    s->searched = s->all.bytes; /* stops are looked for in what is written */
    return SG_OK;
}

static sg_status begin(sg_scribe *s, const float *prompt_logits, sg_error *err)
{
    SG_TRY(take_room(s, err));
    SG_TRY(show_prompt(s, prompt_logits, err));
    return show(s, false, err);
}

sg_status sg_scribe_new(sg_scribe **out, sg_generation *g, const sg_model *m, const int32_t *prompt, sg_dim n,
                        const sg_generate_opts *opts, const float *prompt_logits, sg_error *err)
{
    sg_scribe *s = calloc(1, sizeof *s);

    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for a text");
    s->opts = opts;
    s->g = g;
    s->m = m;
    s->info = sg_model_get_info(m);
    s->tokenizer = sg_model_tokenizer(m);
    s->prompt = prompt;
    s->n = n;
    s->rng = sg_rng_new(opts->seed, opts->stream);
    s->began = sg_now();
    const sg_status status = begin(s, prompt_logits, err);
    if (status != SG_OK) {
        sg_scribe_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}

sg_status sg_scribe_end(sg_scribe *s, const char *reason, sg_error *err)
{
    sg_generation *g = s->g;

    if (g->reason)
        return SG_OK;
    g->reason = reason;
    if (s->tokenizer && !s->stopped) {
        char *piece = NULL;
        SG_TRY(sg_stream_finish(s->tokenizer, &s->stream, &piece, err));
        SG_TRY(add_text(s, piece, err));
        if (s->n_all)
            g->tokens[s->n_all - 1].end = s->all.bytes;
        trim(s);
        look_for_stops(s);
        if (s->stopped)
            g->reason = "stop";
    }
    /* Tokens of a stop are no part of the answer. */
    while (s->stopped && s->n_all > g->n_tokens && g->tokens[s->n_all - 1].text >= s->all.bytes &&
           !(s->opts->echo && s->n_all <= s->n))
        free(g->tokens[--s->n_all].top);
    return show(s, true, err);
}

/* A token that was chosen, as text. */
static sg_status write_token(sg_scribe *s, const float *logits, int32_t id, sg_error *err)
{
    sg_generation *g = s->g;
    sg_written *t = NULL;

    SG_TRY(add_token(s, id, &t, err));
    if (logits)
        SG_TRY(weigh(s, logits, t, err));
    if (t->logprob == t->logprob)
        g->logprob += t->logprob;
    SG_TRY(add_token_text(s, id, err));
    t->end = s->all.bytes;
    g->n_written++;
    if (s->counts) {
        s->counts[id]++;
        s->seen[id] = 1;
    }
    trim(s);
    look_for_stops(s);
    return SG_OK;
}

sg_status sg_scribe_next(sg_scribe *s, const float *logits, int32_t *id, sg_error *err)
{
    sg_generation *g = s->g;

    *id = -1;
    if (g->reason)
        return SG_OK;
    if (g->n_written >= s->opts->most)
        return sg_scribe_end(s, "length", err);
    const int32_t next = choose(s, logits);
    if (next < 0)
        return sg_fail(err, SG_ENUMERIC,
                       "the logits after %lld tokens are all NaN (sightglass run --guard names the first node)",
                       (long long)(s->n + g->n_written));
    if (g->n_written == 0)
        g->first = sg_now() - s->began;
    if (ends(s, next)) {
        if (s->opts->n_top >= 0)
            g->logprob += (double)logits[next] - log_of_sum(logits, s->info->n_vocab);
        return sg_scribe_end(s, "stop", err);
    }
    SG_TRY(write_token(s, logits, next, err));
    if (s->stopped)
        return sg_scribe_end(s, "stop", err);
    if (g->n_written >= s->opts->most)
        return sg_scribe_end(s, "length", err);
    *id = next;
    return show(s, false, err);
}

/* ---- several texts ---- */

typedef struct job {
    sg_scribe *scribe;
    int at; /* which text; -1: the row is free */
    double began;
    size_t told;
} job;

typedef struct loop {
    sg_generation *g;
    sg_batch *b;
    int n_prompts, n_best, next; /* text that begins next */
    const sg_prompt *prompts;
    sg_generate_opts *opts; /* by text, for their streams */
    sg_generate_tell tell;
    void *context;
    job jobs[SG_BATCH_ROWS];
    int32_t ids[SG_BATCH_ROWS];
    bool over;
} loop;

static void leave(loop *l, int r)
{
    sg_scribe_free(l->jobs[r].scribe);
    l->jobs[r] = (job){.at = -1};
    l->ids[r] = -1;
    sg_batch_close(l->b, r);
}

/* The text of a row goes on by one token, or ends. */
static sg_status advance(loop *l, int r, sg_error *err)
{
    job *j = &l->jobs[r];
    sg_generation *g = &l->g[j->at];
    const bool first = g->n_written == 0;

    SG_TRY(sg_scribe_next(j->scribe, sg_batch_logits(l->b, r), &l->ids[r], err));
    if (first)
        g->first = sg_now() - j->began;
    if (l->ids[r] >= 0 && sg_batch_length(l->b, r) >= sg_batch_room(l->b)) {
        l->ids[r] = -1;
        SG_TRY(sg_scribe_end(j->scribe, "context", err));
    }
    if (l->tell && (g->bytes > j->told || g->reason))
        l->over |= !l->tell(l->context, j->at, g, j->told);
    j->told = g->bytes;
    if (g->reason)
        leave(l, r);
    return SG_OK;
}

static sg_status read_prompt(sg_batch *b, int r, const sg_prompt *p, sg_dim from, sg_error *err)
{
    for (sg_dim used; from < p->n; from += used)
        SG_TRY(sg_batch_read(b, r, p->tokens + from, p->n - from, &used, NULL, err));
    return SG_OK;
}

static sg_status start(loop *l, int r, sg_dim shared, double began, sg_error *err)
{
    const int at = l->next++, p = at / l->n_best;

    l->jobs[r] = (job){.at = at, .began = began};
    l->g[at].n_shared = shared;
    const sg_status status = sg_scribe_new(&l->jobs[r].scribe, &l->g[at], sg_batch_model(l->b), l->prompts[p].tokens,
                                           l->prompts[p].n, &l->opts[at], NULL, err);
    if (status != SG_OK)
        return status;
    if (l->tell && l->g[at].bytes)
        l->over |= !l->tell(l->context, at, &l->g[at], 0);
    l->jobs[r].told = l->g[at].bytes;
    return SG_OK;
}

/* A prompt that waits, with as many of its texts as there are rows for. */
static sg_status join(loop *l, sg_error *err)
{
    const int p = l->next / l->n_best, last = (p + 1) * l->n_best;
    const double began = sg_now();
    int rows[SG_BATCH_ROWS], n = 0;
    sg_dim shared = 0;

    rows[n++] = sg_batch_open(l->b, l->prompts[p].tokens, l->prompts[p].n, NULL, &shared);
    if (rows[0] < 0)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    sg_status status = start(l, rows[0], shared, began, err);
    if (status == SG_OK)
        status = sg_batch_edit(l->b, rows[0], l->opts->n_edits, l->opts->edits, err);
    if (status == SG_OK)
        status = read_prompt(l->b, rows[0], &l->prompts[p], shared, err);
    while (status == SG_OK && l->next < last && sg_batch_n_free(l->b) > 0) {
        const int r = sg_batch_fork(l->b, rows[0], err);
        if (r < 0)
            return sg_fail(err, SG_ENOMEM, "out of memory for a row");
        rows[n++] = r;
        status = start(l, r, l->prompts[p].n, began, err);
    }
    for (int i = 0; i < n && status == SG_OK; i++)
        status = advance(l, rows[i], err);
    return status;
}

static sg_status go_on(loop *l, sg_error *err)
{
    const int n = l->n_prompts * l->n_best;

    while (!l->over) {
        while (l->next < n && !l->over && sg_batch_n_free(l->b) > 0)
            SG_TRY(join(l, err));
        bool any = false;
        for (int r = 0; r < SG_BATCH_ROWS; r++)
            any |= l->ids[r] >= 0;
        if (l->over || (!any && l->next >= n))
            break;
        SG_TRY(sg_batch_step(l->b, l->ids, err));
        for (int r = 0; r < SG_BATCH_ROWS; r++)
            if (l->ids[r] >= 0)
                SG_TRY(advance(l, r, err));
    }
    return SG_OK;
}

static sg_status check_prompts(const sg_batch *b, int n, const sg_prompt *prompts, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(sg_batch_model(b));

    for (int p = 0; p < n; p++) {
        if (prompts[p].n < 1)
            return sg_fail(err, SG_EARG, "the prompt has no tokens");
        if (prompts[p].n > sg_batch_room(b))
            return sg_fail(err, SG_EARG, "the prompt has %lld tokens, there is room for %lld", (long long)prompts[p].n,
                           (long long)sg_batch_room(b));
        for (sg_dim i = 0; i < prompts[p].n; i++)
            if (prompts[p].tokens[i] < 0 || prompts[p].tokens[i] >= in->n_vocab)
                return sg_fail(err, SG_EARG, "token %d at place %lld of the prompt is outside the vocabulary 0 to %lld",
                               prompts[p].tokens[i], (long long)i, (long long)in->n_vocab - 1);
    }
    return SG_OK;
}

sg_status sg_generate_all(sg_generation *g, sg_batch *b, int n_prompts, const sg_prompt *prompts, int n_best,
                          const sg_generate_opts *opts, sg_generate_tell tell, void *context, sg_error *err)
{
    loop l = {
        .g = g, .b = b, .n_prompts = n_prompts, .n_best = n_best, .prompts = prompts, .tell = tell, .context = context};

    if (n_prompts < 1 || n_best < 1)
        return sg_fail(err, SG_EARG, "%d prompts, %d texts of each", n_prompts, n_best);
    SG_TRY(check_prompts(b, n_prompts, prompts, err));
    l.opts = malloc((size_t)n_prompts * (size_t)n_best * sizeof *l.opts);
    if (!l.opts)
        return sg_fail(err, SG_ENOMEM, "out of memory for texts");
    for (int i = 0; i < n_prompts * n_best; i++) {
        l.opts[i] = *opts;
        l.opts[i].stream += (uint32_t)(i % n_best);
    }
    for (int r = 0; r < SG_BATCH_ROWS; r++) {
        l.jobs[r].at = -1;
        l.ids[r] = -1;
    }
    const sg_status status = go_on(&l, err);
    for (int r = 0; r < SG_BATCH_ROWS; r++) /* of those that did not come to their end */
        if (l.jobs[r].at >= 0) {
            if (l.jobs[r].scribe)
                (void)(sg_scribe_end(l.jobs[r].scribe, "interrupted", NULL) == SG_OK);
            leave(&l, r);
        }
    free(l.opts);
    return status;
}

sg_status sg_generate(sg_generation *g, sg_batch *b, const int32_t *prompt, sg_dim n, const sg_generate_opts *opts,
                      sg_error *err)
{
    const sg_prompt one = {prompt, n};

    return sg_generate_all(g, b, 1, &one, 1, opts, NULL, NULL, err);
}

/* ---- beams ---- */

typedef struct beam {
    int row;
    sg_tokens ids;
    double sum, score; /* score once it has ended */
    bool at_eos;
} beam;

typedef struct candidate {
    int from;
    int32_t id;
    double sum;
} candidate;

typedef struct search {
    sg_batch *b;
    const sg_model_info *info;
    const sg_generate_opts *opts;
    int n_beams, n_open, n_ended, n_next;
    double penalty;
    beam open[SG_BATCH_ROWS], next[SG_BATCH_ROWS], ended[SG_BATCH_ROWS];
} search;

static double score_of(const search *s, double sum, sg_dim length)
{
    return sum / pow((double)SG_MAX(length, 1), s->penalty);
}

static sg_status copy_beam(beam *to, const beam *from, sg_error *err)
{
    *to = *from;
    to->ids = (sg_tokens){0};
    for (int64_t i = 0; i < from->ids.n; i++)
        SG_TRY(sg_tokens_push(&to->ids, from->ids.ids[i], err));
    return SG_OK;
}

/* Keeps the n_beams best that have ended; at equal scores the earlier one. Takes over *x. */
static void put_ended(search *s, beam *x)
{
    int at = s->n_ended;

    while (at > 0 && s->ended[at - 1].score < x->score)
        at--;
    if (at == s->n_beams) {
        sg_tokens_free(&x->ids);
        return;
    }
    if (s->n_ended == s->n_beams)
        sg_tokens_free(&s->ended[--s->n_ended].ids);
    memmove(&s->ended[at + 1], &s->ended[at], (size_t)(s->n_ended - at) * sizeof *x);
    s->ended[at] = *x;
    s->n_ended++;
    x->ids = (sg_tokens){0};
}

static bool is_eos(const search *s, int32_t id)
{
    for (int i = 0; i < s->info->n_eos && s->opts->ends_at_eos; i++)
        if (s->info->eos[i] == id)
            return true;
    return false;
}

/* The best continuations of all open beams: `most` of them, at equal sums the earlier beam and the smaller id first. */
static int best_of(const search *s, candidate *best, int most)
{
    int n = 0;

    for (int i = 0; i < s->n_open; i++) {
        const float *logits = sg_batch_logits(s->b, s->open[i].row);
        const double whole = log_of_sum(logits, s->info->n_vocab);
        for (int32_t id = 0; id < (int32_t)s->info->n_vocab; id++) {
            const double sum = s->open[i].sum + ((double)logits[id] - whole);
            if (!(sum > -(double)INFINITY) || (n == most && !(sum > best[n - 1].sum)))
                continue;
            int at = n < most ? n++ : n - 1;
            for (; at > 0 && best[at - 1].sum < sum; at--)
                best[at] = best[at - 1];
            best[at] = (candidate){i, id, sum};
        }
    }
    return n;
}

/* The next beams: a parent's first child has its row, others a copy of it. */
static sg_status branch(search *s, const candidate *best, int n, sg_error *err)
{
    bool kept[SG_BATCH_ROWS] = {false};
    int children[SG_BATCH_ROWS] = {0};

    s->n_next = 0;
    for (int i = 0; i < n && s->n_next < s->n_beams; i++) {
        const bool eos = is_eos(s, best[i].id);
        if (eos && i >= s->n_beams) /* beyond the width of the search */
            continue;
        beam x;
        SG_TRY(copy_beam(&x, &s->open[best[i].from], err));
        x.sum = best[i].sum;
        sg_status status = eos ? SG_OK : sg_tokens_push(&x.ids, best[i].id, err);
        if (status != SG_OK) {
            sg_tokens_free(&x.ids);
            return status;
        }
        if (eos) {
            x.at_eos = true;
            x.score = score_of(s, x.sum, x.ids.n + 1);
            put_ended(s, &x);
            continue;
        }
        x.row = best[i].from; /* for now the parent */
        s->next[s->n_next++] = x;
        children[best[i].from]++;
    }
    for (int i = 0; i < s->n_open; i++) {
        if (!children[i]) {
            sg_batch_close(s->b, s->open[i].row);
            s->open[i].row = -1;
        }
    }
    for (int i = 0; i < s->n_next; i++) {
        const int from = s->next[i].row, row = s->open[from].row;
        s->next[i].row = kept[from] ? sg_batch_fork(s->b, row, err) : row;
        if (s->next[i].row < 0)
            return sg_fail(err, SG_ENOMEM, "out of memory for a beam");
        kept[from] = true;
    }
    for (int i = 0; i < s->n_open; i++)
        sg_tokens_free(&s->open[i].ids);
    memcpy(s->open, s->next, (size_t)s->n_next * sizeof *s->next);
    s->n_open = s->n_next;
    s->n_next = 0;
    return SG_OK;
}

static sg_status search_on(search *s, sg_error *err)
{
    candidate *best = malloc((size_t)(2 * s->n_beams) * sizeof *best);
    sg_status status = best ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for beams");

    for (sg_dim i = 0; i < s->opts->most && status == SG_OK && s->n_open; i++) {
        const int n = best_of(s, best, 2 * s->n_beams);
        if (n == 0) {
            status = sg_fail(err, SG_ENUMERIC, "the logits of all beams are NaN");
            break;
        }
        status = branch(s, best, n, err);
        if (status != SG_OK || !s->n_open || i + 1 == s->opts->most)
            break;
        /* What an open beam may yet come to: not more than it has, over the longest text. */
        double bound = -(double)INFINITY;
        for (int k = 0; k < s->n_open; k++)
            bound = fmax(bound, score_of(s, s->open[k].sum, s->penalty > 0 ? s->opts->most : s->open[k].ids.n));
        if (s->n_ended == s->n_beams && s->ended[s->n_ended - 1].score >= bound)
            break;
        int32_t next[SG_BATCH_ROWS];
        for (int r = 0; r < SG_BATCH_ROWS; r++)
            next[r] = -1;
        bool full = false;
        for (int k = 0; k < s->n_open; k++) {
            next[s->open[k].row] = s->open[k].ids.ids[s->open[k].ids.n - 1];
            full |= sg_batch_length(s->b, s->open[k].row) >= sg_batch_room(s->b);
        }
        if (full)
            break;
        status = sg_batch_step(s->b, next, err);
    }
    free(best);
    for (int k = 0; k < s->n_open; k++) {
        sg_batch_close(s->b, s->open[k].row);
        s->open[k].score = score_of(s, s->open[k].sum, s->open[k].ids.n);
        if (status == SG_OK && s->open[k].ids.n)
            put_ended(s, &s->open[k]);
        sg_tokens_free(&s->open[k].ids);
    }
    return status;
}

/* A beam's tokens as text. */
static sg_status write_beam(sg_generation *g, const search *s, const beam *x, const sg_prompt *p, sg_error *err)
{
    sg_scribe *scribe = NULL;
    sg_generate_opts opts = *s->opts;

    opts.n_stops = 0;
    opts.n_top = -1;
    opts.most = x->ids.n;
    SG_TRY(sg_scribe_new(&scribe, g, sg_batch_model(s->b), p->tokens, p->n, &opts, NULL, err));
    sg_status status = SG_OK;
    for (int64_t i = 0; i < x->ids.n && status == SG_OK; i++)
        status = write_token(scribe, NULL, x->ids.ids[i], err);
    if (status == SG_OK)
        status = sg_scribe_end(scribe, x->at_eos ? "stop" : "length", err);
    sg_scribe_free(scribe);
    g->logprob = x->sum;
    return status;
}

sg_status sg_generate_beams(sg_generation *g, sg_batch *b, const int32_t *prompt, sg_dim n, int n_beams,
                            double length_penalty, const sg_generate_opts *opts, sg_error *err)
{
    search s = {.b = b,
                .info = sg_model_get_info(sg_batch_model(b)),
                .opts = opts,
                .n_beams = n_beams,
                .n_open = 1,
                .penalty = length_penalty};
    const sg_prompt p = {prompt, n};
    sg_dim shared = 0;

    if (n_beams < 1 || n_beams > sg_batch_n_free(b))
        return sg_fail(err, SG_EARG, "%d beams, the batch has %d free rows", n_beams, sg_batch_n_free(b));
    if (!(length_penalty >= 0))
        return sg_fail(err, SG_EARG, "a length penalty of %g, at least 0 was wanted", length_penalty);
    SG_TRY(check_prompts(b, 1, &p, err));
    s.open[0].row = sg_batch_open(b, prompt, n, NULL, &shared);
    if (s.open[0].row < 0)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    sg_status status = sg_batch_edit(b, s.open[0].row, opts->n_edits, opts->edits, err);
    if (status == SG_OK)
        status = read_prompt(b, s.open[0].row, &p, shared, err);
    if (status == SG_OK)
        status = search_on(&s, err);
    else
        sg_batch_close(b, s.open[0].row);
    for (int i = 0; i < s.n_ended; i++) {
        if (status == SG_OK)
            status = write_beam(&g[i], &s, &s.ended[i], &p, err);
        sg_tokens_free(&s.ended[i].ids);
    }
    return status;
}
