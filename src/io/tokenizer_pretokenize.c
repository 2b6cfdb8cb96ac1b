/* Pre-tokenizers: every type becomes a few steps of four kinds, and a text runs through the steps depth first: each
 * piece goes on to the next step as soon as it is cut, and from the last step to the model. So no list of pieces is
 * kept, and a step's buffer is free again once its pieces are through. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"

enum kind {
    SPLIT,  /* cut at the matches of a pattern */
    PREFIX, /* put a text before the piece unless it begins with it */
    SPACES, /* replace each space */
    BYTES   /* write each byte as its visible character */
};

enum behavior { ISOLATED, REMOVED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };

struct step {
    enum kind kind;
    enum behavior behavior; /* SPLIT */
    bool invert;            /* SPLIT: what lies between the matches counts as matched */
    sg_pattern *pattern;    /* SPLIT */
    const char *text;       /* PREFIX, SPACES */
    bool only_first;        /* PREFIX: only where the user's text begins */
};

struct sg_pretokenizer {
    struct step steps[SG_MAX_STEPS];
    int n;
    bool as_bytes; /* the last step was BYTES, and the model does its work */
    const sg_token_model *model;
};

/* Unicode's punctuation, and what ASCII calls so. */
#define PUNCTUATION "[\\p{P}$+<=>\\^`|~]"

static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};

/* ---- reading ---- */

static sg_status add(sg_pretokenizer *p, const sg_reader *r, struct step step)
{
    if (p->n == SG_MAX_STEPS)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: pre_tokenizer has too many steps", r->name);
    p->steps[p->n++] = step;
    return SG_OK;
}

static sg_status add_split(sg_pretokenizer *p, const sg_reader *r, const char *regex, enum behavior behavior,
                           bool invert)
{
    struct step step = {.kind = SPLIT, .behavior = behavior, .invert = invert};
    SG_TRY(sg_pattern_regex(&step.pattern, r, regex));
    return add(p, r, step);
}

static sg_status read_behavior(const sg_reader *r, const json_t *json, const char *fallback, enum behavior *out)
{
    const char *name;
    char shown[SG_SHOWN];
    SG_TRY(sg_json_text(r, json, "behavior", fallback, &name));
    for (size_t i = 0; i < SG_COUNT_OF(behaviors); i++) {
        if (strcmp(behaviors[i], name) == 0) {
            *out = (enum behavior)i;
            return SG_OK;
        }
    }
    return sg_fail(r->err, SG_EUNSUPPORTED, "%s: behavior \"%s\" is not supported", r->name, sg_show(shown, name));
}

static sg_status read_byte_level(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    bool prefix, regex;
    SG_TRY(sg_json_bool(r, json, "add_prefix_space", true, &prefix));
    SG_TRY(sg_json_bool(r, json, "use_regex", true, &regex));
    if (prefix)
        SG_TRY(add(p, r, (struct step){.kind = PREFIX, .text = " "}));
    if (regex)
        SG_TRY(add_split(p, r, SG_PATTERN_GPT2, ISOLATED, false));
    return add(p, r, (struct step){.kind = BYTES});
}

static sg_status read_split(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    struct step step = {.kind = SPLIT};
    SG_TRY(sg_pattern_read(&step.pattern, r, json, "pattern"));
    SG_TRY(read_behavior(r, json, NULL, &step.behavior));
    SG_TRY(sg_json_bool(r, json, "invert", false, &step.invert));
    return add(p, r, step);
}

static sg_status read_metaspace(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    const char *mark, *scheme;
    bool legacy_prefix, split;
    char shown[SG_SHOWN];
    SG_TRY(sg_json_char(r, json, "replacement", "\xE2\x96\x81", &mark));
    SG_TRY(sg_json_bool(r, json, "add_prefix_space", true, &legacy_prefix));
    SG_TRY(sg_json_bool(r, json, "split", true, &split));
    SG_TRY(sg_json_text(r, json, "prepend_scheme", legacy_prefix ? "always" : "never", &scheme));
    const bool first = strcmp(scheme, "first") == 0, always = strcmp(scheme, "always") == 0;
    if (!first && !always && strcmp(scheme, "never") != 0)
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: prepend_scheme \"%s\" is not supported", r->name,
                       sg_show(shown, scheme));
    SG_TRY(add(p, r, (struct step){.kind = SPACES, .text = mark}));
    if (first || always)
        SG_TRY(add(p, r, (struct step){.kind = PREFIX, .text = mark, .only_first = first}));
    struct step cut = {.kind = SPLIT, .behavior = MERGED_WITH_NEXT};
    if (!split)
        return SG_OK;
    SG_TRY(sg_pattern_literal(&cut.pattern, r, mark));
    return add(p, r, cut);
}

static sg_status read_whitespace(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    (void)json;
    return add_split(p, r, "\\w+|[^\\w\\s]+", REMOVED, true);
}

static sg_status read_whitespace_split(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    (void)json;
    return add_split(p, r, "\\s", REMOVED, false);
}

static sg_status read_digits(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    bool individual;
    SG_TRY(sg_json_bool(r, json, "individual_digits", false, &individual));
    return add_split(p, r, "\\p{N}", individual ? ISOLATED : CONTIGUOUS, false);
}

static sg_status read_punctuation(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    enum behavior behavior = ISOLATED;
    SG_TRY(read_behavior(r, json, "Isolated", &behavior));
    return add_split(p, r, PUNCTUATION, behavior, false);
}

/* Words and punctuation marks; spaces go. */
static sg_status read_bert(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    (void)json;
    return add_split(p, r, PUNCTUATION "|[^\\s\\p{P}$+<=>\\^`|~]+", REMOVED, true);
}

static sg_status read_delimiter(sg_pretokenizer *p, const sg_reader *r, const json_t *json)
{
    const char *delimiter;
    struct step cut = {.kind = SPLIT, .behavior = REMOVED};
    SG_TRY(sg_json_char(r, json, "delimiter", NULL, &delimiter));
    SG_TRY(sg_pattern_literal(&cut.pattern, r, delimiter));
    return add(p, r, cut);
}

static const struct {
    const char *type;
    sg_status (*read)(sg_pretokenizer *p, const sg_reader *r, const json_t *json);
} types[] = {
    {"ByteLevel", read_byte_level},
    {"Split", read_split},
    {"Metaspace", read_metaspace},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"Digits", read_digits},
    {"Punctuation", read_punctuation},
    {"BertPreTokenizer", read_bert},
    {"CharDelimiterSplit", read_delimiter},
};

sg_status sg_pretokenizer_read(sg_pretokenizer **out, const sg_reader *r, const json_t *json,
                               const sg_token_model *model)
{
    sg_json_steps list;
    SG_TRY(sg_json_open_steps(r, json, "pre_tokenizer", "pretokenizers", &list));
    sg_pretokenizer *p = *out = sg_arena_alloc(r->arena, sizeof *p);
    if (!p)
        return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->name);
    p->model = model;
    for (int i = 0; i < list.n; i++) {
        size_t k = 0;
        while (k < SG_COUNT_OF(types) && strcmp(types[k].type, list.type[i]) != 0)
            k++;
        if (k == SG_COUNT_OF(types))
            return sg_json_unsupported(r, "pre_tokenizer", list.type[i]);
        SG_TRY(types[k].read(p, r, list.step[i]));
    }
    if (p->n > 0 && p->steps[p->n - 1].kind == BYTES && sg_token_model_takes_bytes(model)) {
        p->as_bytes = true;
        p->n--;
    }
    return SG_OK;
}

/* ---- running ---- */

/* What stays the same while one text runs through the steps. */
struct run {
    const sg_pretokenizer *p;
    sg_pretok_work *work;
    sg_tokens *out;
    sg_error *err;
};

static sg_status run_step(const struct run *run, int i, const char *text, size_t n, bool first);

/* A stretch of the text that matched, or lies between matches. */
struct stretch {
    size_t start, end;
    bool matched;
};

/* The state of a split: `held` is a piece to which the next stretch may still be joined. */
struct split {
    const struct run *run;
    int i_step;
    const char *text;
    bool first;
    bool holding, last_matched;
    struct stretch held;
};

static sg_status emit(const struct split *s, struct stretch piece)
{
    if (piece.start == piece.end)
        return SG_OK;
    return run_step(s->run, s->i_step + 1, s->text + piece.start, piece.end - piece.start,
                    s->first && piece.start == 0);
}

static sg_status take(struct split *s, struct stretch next)
{
    const struct step *step = &s->run->p->steps[s->i_step];
    next.matched ^= step->invert;
    bool join = false;
    switch (step->behavior) {
    case ISOLATED:
        return emit(s, next);
    case REMOVED:
        return next.matched ? SG_OK : emit(s, next);
    case MERGED_WITH_PREVIOUS:
        join = next.matched && !s->last_matched;
        break;
    case MERGED_WITH_NEXT:
        join = !next.matched && s->last_matched;
        break;
    case CONTIGUOUS:
        join = next.matched == s->last_matched;
        break;
    }
    s->last_matched = next.matched;
    if (join && s->holding) {
        s->held.end = next.end;
        return SG_OK;
    }
    const struct stretch ready = s->held;
    const bool was_holding = s->holding;
    s->held = next;
    s->holding = true;
    return was_holding ? emit(s, ready) : SG_OK;
}

static sg_status run_split(const struct run *run, int i, const char *text, size_t n, bool first)
{
    struct split s = {.run = run, .i_step = i, .text = text, .first = first};
    sg_finder f = {.pattern = run->p->steps[i].pattern, .text = text, .n = n};
    size_t done = 0;
    for (bool found;;) {
        SG_TRY(sg_find_next(&f, &run->work->matcher, &found, run->err));
        if (!found)
            break;
        if (f.start > done)
            SG_TRY(take(&s, (struct stretch){done, f.start, false}));
        SG_TRY(take(&s, (struct stretch){f.start, f.end, true}));
        done = f.end;
    }
    if (done < n)
        SG_TRY(take(&s, (struct stretch){done, n, false}));
    return s.holding ? emit(&s, s.held) : SG_OK;
}

/* The steps that write the piece anew. */
static void rewrite(const struct step *step, const char *text, size_t n, sg_str *out)
{
    if (step->kind == PREFIX) {
        sg_str_puts(out, step->text);
        sg_str_append(out, text, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char bytes[2];
        if (step->kind == BYTES)
            sg_str_append(out, bytes, sg_byte_to_char((unsigned char)text[i], bytes));
        else if (text[i] == ' ')
            sg_str_puts(out, step->text);
        else
            sg_str_append(out, text + i, 1);
    }
}

static sg_status run_step(const struct run *run, int i, const char *text, size_t n, bool first)
{
    if (n == 0)
        return SG_OK;
    if (i == run->p->n)
        return sg_token_model_encode(run->p->model, &run->work->model, text, n, run->p->as_bytes, run->out, run->err);
    const struct step *step = &run->p->steps[i];
    if (step->kind == SPLIT)
        return run_split(run, i, text, n, first);
    if (step->kind == PREFIX) {
        const size_t n_prefix = strlen(step->text);
        if ((step->only_first && !first) || (n >= n_prefix && memcmp(text, step->text, n_prefix) == 0))
            return run_step(run, i + 1, text, n, first);
    }
    sg_str *buffer = &run->work->buffer[i];
    buffer->bytes = 0;
    rewrite(step, text, n, buffer);
    if (buffer->failed)
        return sg_fail(run->err, SG_ENOMEM, "out of memory");
    return run_step(run, i + 1, buffer->text, buffer->bytes, first);
}

sg_status sg_pretokenize(const sg_pretokenizer *p, sg_pretok_work *w, const char *text, size_t n, bool first,
                         sg_tokens *out, sg_error *err)
{
    return run_step(&(struct run){p, w, out, err}, 0, text, n, first);
}

void sg_pretok_work_free(sg_pretok_work *w)
{
    for (size_t i = 0; i < SG_COUNT_OF(w->buffer); i++)
        sg_str_free(&w->buffer[i]);
    sg_matcher_free(&w->matcher);
    sg_model_work_free(&w->model);
}
