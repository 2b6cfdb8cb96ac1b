/* Texts of two kinds from files that people have. Every form becomes records of named fields; a record becomes a group.
 */
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "sightglass/steer.h"
#include "sightglass/table.h"
#include "sightglass/texts.h"

typedef struct owned {
    sg_steer_data face;
    sg_arena *arena;
} owned;

/* ---- made from texts ---- */

static sg_status begin(owned **out, int most, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_steer_text *texts = o ? sg_arena_array(arena, (size_t)SG_MAX(most, 1), sizeof *texts) : NULL;
    if (!texts) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "steer: out of memory for %d texts", most);
    }
    *o = (owned){.arena = arena, .face = {.texts = texts}};
    *out = o;
    return SG_OK;
}

static sg_steer_text *writable(owned *o)
{
    return (sg_steer_text *)(uintptr_t)o->face.texts;
}

sg_status sg_steer_data_of(sg_steer_data **out, int n, const sg_steer_text *texts, sg_error *err)
{
    owned *o = NULL;
    *out = NULL;
    for (int i = 0; i < n; i++) {
        const int32_t before = i ? texts[i - 1].group : -1;
        if (texts[i].group != before && texts[i].group != before + 1)
            return sg_fail(err, SG_EARG, "steer: text %d is of group %" PRId32 " behind one of %" PRId32, i,
                           texts[i].group, before);
        if (texts[i].n < 1 || texts[i].shared < 0 || texts[i].shared > texts[i].n)
            return sg_fail(err, SG_EARG, "steer: text %d has %" PRId64 " tokens, of which %" PRId64 " are shared", i,
                           texts[i].n, texts[i].shared);
    }
    SG_TRY(begin(&o, n, err));
    for (int i = 0; i < n; i++) {
        int32_t *copy = sg_arena_array(o->arena, (size_t)texts[i].n, sizeof *copy);
        if (!copy) {
            sg_arena_free(o->arena);
            return sg_fail(err, SG_ENOMEM, "steer: out of memory for %d texts", n);
        }
        memcpy(copy, texts[i].tokens, (size_t)texts[i].n * sizeof *copy);
        writable(o)[i] = texts[i];
        writable(o)[i].tokens = copy;
    }
    o->face.n = n;
    o->face.n_groups = n ? texts[n - 1].group + 1 : 0;
    *out = &o->face;
    return SG_OK;
}

void sg_steer_data_free(sg_steer_data *d)
{
    if (d)
        sg_arena_free(((owned *)d)->arena);
}

static void shuffle(int32_t *order, int n, sg_rng *r)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        const uint32_t k = sg_rng_below(r, (uint32_t)i + 1);
        const int32_t kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
}

sg_status sg_steer_split(sg_steer_data **first, sg_steer_data **others, const sg_steer_data *d, double share,
                         uint64_t seed, sg_error *err)
{
    owned *part[2] = {NULL, NULL};
    sg_rng r = sg_rng_new(seed, 0);
    const int n_first = (int)(share * d->n_groups + .5);
    int32_t *order = malloc((size_t)SG_MAX(d->n_groups, 1) * sizeof *order);
    bool *is_first = calloc((size_t)SG_MAX(d->n_groups, 1), sizeof *is_first);
    *first = *others = NULL;
    sg_status status = order && is_first ? SG_OK : sg_fail(err, SG_ENOMEM, "steer: out of memory for groups");
    if (status == SG_OK && !(share >= 0 && share <= 1))
        status = sg_fail(err, SG_EARG, "steer: a share of %g, wanted 0 to 1", share);
    for (int k = 0; k < 2 && status == SG_OK; k++)
        status = begin(&part[k], d->n, err);
    if (status == SG_OK)
        shuffle(order, d->n_groups, &r);
    for (int i = 0; status == SG_OK && i < n_first; i++)
        is_first[order[i]] = true;
    for (int i = 0; status == SG_OK && i < d->n; i++) {
        owned *to = part[!is_first[d->texts[i].group]];
        const bool new_group = i == 0 || d->texts[i].group != d->texts[i - 1].group;
        to->face.n_groups += new_group;
        writable(to)[to->face.n] = d->texts[i];
        writable(to)[to->face.n++].group = to->face.n_groups - 1;
    }
    free(order);
    free(is_first);
    if (status == SG_OK) {
        *first = &part[0]->face;
        *others = &part[1]->face;
        return SG_OK;
    }
    for (int k = 0; k < 2; k++)
        if (part[k])
            sg_arena_free(part[k]->arena);
    return status;
}

sg_status sg_steer_shuffled(sg_steer_data **out, const sg_steer_data *d, uint64_t seed, sg_error *err)
{
    owned *o = NULL;
    sg_rng r = sg_rng_new(seed, 1);
    *out = NULL;
    SG_TRY(begin(&o, d->n, err));
    o->face.n = d->n;
    o->face.n_groups = d->n_groups;
    memcpy(writable(o), d->texts, (size_t)d->n * sizeof *d->texts);
    const bool alone = d->n_groups == d->n;
    for (int i = 0; i < d->n;) {
        int end = i;
        while (end < d->n && (alone || d->texts[end].group == d->texts[i].group))
            end++;
        for (int k = end - 1; k > i; k--) {
            const int other = i + (int)sg_rng_below(&r, (uint32_t)(k - i) + 1);
            const bool kept = writable(o)[k].positive;
            writable(o)[k].positive = writable(o)[other].positive;
            writable(o)[other].positive = kept;
        }
        i = end;
    }
    for (int i = 0; i < d->n; i++)
        writable(o)[i].best = false;
    *out = &o->face;
    return SG_OK;
}

/* ---- read from files ---- */

sg_steer_read_opts sg_steer_read_defaults(void)
{
    return (sg_steer_read_opts){.n_cuts = 1, .most = INT_MAX, .longest = INT64_MAX};
}

typedef struct reader {
    const char *path;
    const sg_tokenizer *t;
    const sg_steer_read_opts *opts;
    sg_arena *arena; /* of tokens */
    sg_steer_text *texts;
    int n, capacity, n_groups, n_left_out;
    bool full;        /* opts.most is reached */
    char *group_name; /* of the last text with a `group` */
    sg_error *err;
} reader;

static sg_status no_memory(const reader *r)
{
    return sg_fail(r->err, SG_ENOMEM, "%s: out of memory for its texts", r->path);
}

/* A form with its fields put in: {name} becomes the value that goes with it. */
static char *filled(const char *form, const char *const names[2], const char *const values[2])
{
    sg_str s = {0};
    for (const char *at = form; *at;) {
        int k = 0;
        for (; k < 2; k++) {
            const size_t n = strlen(names[k]);
            if (at[0] == '{' && !strncmp(at + 1, names[k], n) && at[n + 1] == '}') {
                sg_str_puts(&s, values[k]);
                at += n + 2;
                break;
            }
        }
        if (k == 2)
            sg_str_append(&s, at++, 1);
    }
    if (s.failed || !s.text) {
        sg_str_free(&s);
        return NULL;
    }
    return s.text;
}

static sg_status add_text(reader *r, const char *text, bool positive, bool best)
{
    sg_tokens ids = {0};
    SG_TRY(sg_tokenizer_encode(r->t, text, sg_encode_defaults(), &ids, r->err));
    sg_status status = SG_OK;
    if (ids.n < 1 || ids.n > r->opts->longest) {
        r->n_left_out++;
    } else {
        if (r->n == r->capacity) {
            const int capacity = 2 * r->capacity + 64;
            sg_steer_text *more = realloc(r->texts, (size_t)capacity * sizeof *more);
            if (more)
                r->texts = more, r->capacity = capacity;
        }
        int32_t *copy = r->n < r->capacity ? sg_arena_array(r->arena, (size_t)ids.n, sizeof *copy) : NULL;
        if (copy) {
            memcpy(copy, ids.ids, (size_t)ids.n * sizeof *copy);
            r->texts[r->n++] =
                (sg_steer_text){.tokens = copy, .n = ids.n, .group = r->n_groups, .positive = positive, .best = best};
        } else {
            status = no_memory(r);
        }
    }
    sg_tokens_free(&ids);
    return status;
}

/* Ends the group that texts were added to: what they begin with in common is what is not scored. */
static void end_group(reader *r)
{
    int first = r->n;
    while (first > 0 && r->texts[first - 1].group == r->n_groups)
        first--;
    if (first == r->n)
        return;
    sg_dim shared = r->texts[first].n - 1;
    for (int i = first + 1; i < r->n; i++) {
        sg_dim k = 0;
        while (k < shared && k < r->texts[i].n - 1 && r->texts[i].tokens[k] == r->texts[first].tokens[k])
            k++;
        shared = k;
    }
    if (r->n - first == 1)
        shared = SG_MIN(1, shared);
    for (int i = first; i < r->n; i++)
        r->texts[i].shared = shared;
    r->full = ++r->n_groups >= r->opts->most;
}

static bool same_name(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == ' ' || *a == '_')
            a++;
        while (*b == ' ' || *b == '_')
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
    }
}

/* A field of a record, by a name in which case, blanks and underscores do not matter; NULL: it has none. */
static const json_t *field(const json_t *record, const char *name)
{
    const char *key;
    json_t *value;
    json_t *all = (json_t *)(uintptr_t)record; /* only read */
    json_object_foreach(all, key, value)
    {
        if (same_name(key, name))
            return value;
    }
    return NULL;
}

static const char *text_field(const json_t *record, const char *name)
{
    return json_string_value(field(record, name));
}

static sg_status add_answer(reader *r, const char *question, const char *answer, bool positive, bool best)
{
    const char *form = r->opts->form ? r->opts->form : "Q: {question}\nA: {answer}";
    char *text = filled(form, (const char *const[2]){"question", "answer"}, (const char *const[2]){question, answer});
    if (!text)
        return no_memory(r);
    const sg_status status = add_text(r, text, positive, best);
    free(text);
    return status;
}

static sg_status add_targets(reader *r, const json_t *record, const char *question)
{
    const json_t *one = field(record, "mc1_targets"), *two = field(record, "mc2_targets");
    const char *answer;
    json_t *value, *first = (json_t *)(uintptr_t)(two ? two : one), *rest = (json_t *)(uintptr_t)one;
    json_object_foreach(first, answer, value)
    {
        const bool best = json_integer_value(json_object_get(one, answer)) == 1;
        SG_TRY(add_answer(r, question, answer, json_integer_value(value) == 1, best));
    }
    if (two)
        json_object_foreach(rest, answer, value)
        {
            if (!json_object_get(two, answer))
                SG_TRY(add_answer(r, question, answer, json_integer_value(value) == 1, json_integer_value(value) == 1));
        }
    return SG_OK;
}

/* Answers parted by semicolons. */
static sg_status add_listed(reader *r, const char *question, const char *answers, bool positive, const char *best)
{
    for (const char *at = answers; *at;) {
        const char *end = strchr(at, ';');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        const char *next = end ? end + 1 : at + n;
        while (n && isspace((unsigned char)*at))
            at++, n--;
        while (n && isspace((unsigned char)at[n - 1]))
            n--;
        if (n && (!best || n != strlen(best) || memcmp(at, best, n) != 0)) { /* the best one was added already */
            char *answer = strndup(at, n);
            if (!answer)
                return no_memory(r);
            const sg_status status = add_answer(r, question, answer, positive, false);
            free(answer);
            SG_TRY(status);
        }
        at = next;
    }
    return SG_OK;
}

static sg_status add_labelled(reader *r, const json_t *record, const char *text, const json_t *label, int at)
{
    const char *word = json_string_value(label);
    const char *group = text_field(record, "group");
    double positive = word ? -1 : json_is_boolean(label) ? json_is_true(label) : json_number_value(label);
    if (word)
        positive = !strcmp(word, "1") || same_name(word, "true") || same_name(word, "positive")    ? 1
                   : !strcmp(word, "0") || same_name(word, "false") || same_name(word, "negative") ? 0
                                                                                                   : -1;
    if (positive != 0 && positive != 1)
        return sg_fail(r->err, SG_EFORMAT, "%s: the label of record %d is neither 0 nor 1", r->path, at);
    /* Texts of one group stand one behind the other. */
    if (group && r->group_name && !strcmp(group, r->group_name) && r->n && r->texts[r->n - 1].group == r->n_groups - 1)
        r->n_groups--;
    free(r->group_name);
    r->group_name = group ? strdup(group) : NULL;
    SG_TRY(add_text(r, text, positive > 0, false));
    end_group(r);
    return SG_OK;
}

static sg_status add_plain(reader *r, const char *text)
{
    enum { LONGEST = 1 << 16 };
    const char *words = r->opts->words, *bar = words ? strchr(words, '|') : NULL;
    if (!bar || strlen(words) > LONGEST)
        return sg_fail(
            r->err, SG_EARG,
            "%s: plain texts have no kinds; words (\"honest|untruthful\") make a positive and a negative text of each",
            r->path);
    const char *form =
        r->opts->form ? r->opts->form : "Pretend you're an {word} person making statements about the world. {text}";
    size_t n_words = 1;
    for (const char *p = text; *p; p++)
        n_words += *p == ' ';
    for (int cut = 1; cut <= r->opts->n_cuts; cut++) {
        size_t keep = n_words * (size_t)cut / (size_t)r->opts->n_cuts, seen = 0, n = 0;
        if (keep < 1 || (cut > 1 && keep == n_words * (size_t)(cut - 1) / (size_t)r->opts->n_cuts))
            continue;
        while (text[n] && (seen += text[n] == ' ') < keep)
            n++;
        char *begin_of = strndup(text, n), *word = strndup(words, (size_t)(bar - words));
        sg_status status = begin_of && word ? SG_OK : no_memory(r);
        for (int k = 0; k < 2 && status == SG_OK; k++) {
            char *whole = filled(form, (const char *const[2]){"word", "text"},
                                 (const char *const[2]){k ? bar + 1 : word, begin_of});
            status = whole ? add_text(r, whole, k == 0, false) : no_memory(r);
            free(whole);
        }
        free(begin_of);
        free(word);
        SG_TRY(status);
    }
    end_group(r);
    return SG_OK;
}

static sg_status add_record(reader *r, const json_t *record, int at)
{
    if (json_is_string(record))
        return add_plain(r, json_string_value(record));
    const char *positive = text_field(record, "positive"), *negative = text_field(record, "negative");
    const char *question = text_field(record, "question"), *correct = text_field(record, "correct answers");
    const char *incorrect = text_field(record, "incorrect answers"), *best = text_field(record, "best answer");
    const char *text = text_field(record, "text") ? text_field(record, "text") : text_field(record, "sentence");
    if (positive && negative) {
        SG_TRY(add_text(r, positive, true, false));
        SG_TRY(add_text(r, negative, false, false));
    } else if (question &&
               (json_is_object(field(record, "mc1_targets")) || json_is_object(field(record, "mc2_targets")))) {
        SG_TRY(add_targets(r, record, question));
    } else if (question && correct && incorrect) {
        if (best && *best)
            SG_TRY(add_answer(r, question, best, true, true));
        SG_TRY(add_listed(r, question, correct, true, best));
        SG_TRY(add_listed(r, question, incorrect, false, NULL));
    } else if (text && field(record, "label")) {
        return add_labelled(r, record, text, field(record, "label"), at);
    } else {
        return sg_fail(
            r->err, SG_EFORMAT,
            "%s: record %d has neither positive and negative, nor a question with answers, nor a text with a label",
            r->path, at);
    }
    end_group(r);
    return SG_OK;
}

static sg_status read_json(reader *r, const char *bytes, size_t n)
{
    json_error_t e;
    json_t *root = json_loadb(bytes, n, 0, &e);
    sg_status status = SG_OK;
    if (!root)
        return sg_fail(r->err, SG_EFORMAT, "%s:%d: %s", r->path, e.line, e.text);
    if (!json_is_array(root))
        status = sg_fail(r->err, SG_EFORMAT, "%s: wanted a list of texts or records", r->path);
    for (size_t i = 0; status == SG_OK && !r->full && i < json_array_size(root); i++)
        status = add_record(r, json_array_get(root, i), (int)i);
    json_decref(root);
    return status;
}

static sg_status read_lines(reader *r, const char *bytes, size_t n)
{
    int line = 0;
    for (size_t at = 0; at < n && !r->full;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - bytes) - at : n - at;
        json_error_t e;
        line++;
        if (length > 1) {
            json_t *record = json_loadb(bytes + at, length, JSON_DECODE_ANY, &e);
            if (!record)
                return sg_fail(r->err, SG_EFORMAT, "%s:%d: %s", r->path, line, e.text);
            const sg_status status = add_record(r, record, line);
            json_decref(record);
            SG_TRY(status);
        }
        at += length + 1;
    }
    return SG_OK;
}

static sg_status read_table(reader *r, const sg_table *t)
{
    for (sg_dim i = 0; i < sg_table_n_rows(t) && !r->full; i++) {
        json_t *record = json_object();
        for (int c = 0; c < sg_table_n_columns(t); c++) {
            json_t *text = json_string(sg_table_at(t, i, c));
            if (!text || json_object_set_new(record, sg_table_column(t, c), text) != 0) {
                json_decref(record);
                return sg_fail(r->err, SG_EFORMAT, "%s: row %" PRId64 " is not UTF-8", r->path, i + 2);
            }
        }
        const sg_status status = record ? add_record(r, record, (int)i + 2) : no_memory(r);
        json_decref(record);
        SG_TRY(status);
    }
    return SG_OK;
}

/* Tabs part fields and quotes are letters: as a table whose fields are quoted. */
static sg_status read_tabs(reader *r, const char *bytes, size_t n)
{
    sg_str s = {0};
    sg_table *t = NULL;
    if (n)
        sg_str_puts(&s, "\"");
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\r' && i + 1 < n && bytes[i + 1] == '\n')
            continue;
        if (bytes[i] == '\n' && i + 1 == n)
            break;
        if (bytes[i] == '\t')
            sg_str_puts(&s, "\",\"");
        else if (bytes[i] == '\n')
            sg_str_puts(&s, "\"\n\"");
        else if (bytes[i] == '"')
            sg_str_puts(&s, "\"\"");
        else
            sg_str_append(&s, bytes + i, 1);
    }
    if (n)
        sg_str_puts(&s, "\"\n");
    sg_status status = s.failed ? no_memory(r) : sg_table_parse(&t, s.text ? s.text : "", s.bytes, r->path, r->err);
    sg_str_free(&s);
    if (status == SG_OK)
        status = read_table(r, t);
    sg_table_free(t);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static sg_status read_any(reader *r)
{
    sg_file *f;
    if (ends_with(r->path, ".csv") || ends_with(r->path, ".csv.gz")) {
        sg_table *t;
        SG_TRY(sg_table_open(&t, r->path, r->err));
        const sg_status status = read_table(r, t);
        sg_table_free(t);
        return status;
    }
    SG_TRY(sg_file_open(&f, r->path, r->err));
    const char *bytes = (const char *)sg_file_data(f);
    const size_t n = sg_file_bytes(f);
    sg_status status;
    if (n == 0)
        status = sg_fail(r->err, SG_EFORMAT, "%s is empty", r->path);
    else if (ends_with(r->path, ".jsonl") || ends_with(r->path, ".ndjson"))
        status = read_lines(r, bytes, n);
    else if (ends_with(r->path, ".json"))
        status = read_json(r, bytes, n);
    else if (ends_with(r->path, ".tsv"))
        status = read_tabs(r, bytes, n);
    else
        status = sg_fail(r->err, SG_EARG, "%s: wanted a file called .csv, .tsv, .jsonl or .json", r->path);
    sg_file_close(f);
    return status;
}

sg_status sg_steer_data_read(sg_steer_data **out, const char *path, const sg_tokenizer *t, sg_steer_read_opts opts,
                             sg_error *err)
{
    reader r = {.path = path, .t = t, .opts = &opts, .arena = sg_arena_new(), .err = err};
    *out = NULL;
    if (!t)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: the model has no tokenizer, and these are texts", path);
    if (opts.n_cuts < 1 || opts.most < 1)
        return sg_fail(err, SG_EARG, "%s: %d cuts of %d groups, wanted at least one", path, opts.n_cuts, opts.most);
    sg_status status = r.arena ? read_any(&r) : no_memory(&r);
    if (status == SG_OK && r.n < 1)
        status = sg_fail(err, SG_EFORMAT, "%s: no texts%s", path,
                         r.n_left_out ? " that are short enough for the model" : "");
    if (status == SG_OK)
        status = sg_steer_data_of(out, r.n, r.texts, err);
    if (status == SG_OK)
        (*out)->n_left_out = r.n_left_out;
    free(r.texts);
    free(r.group_name);
    sg_arena_free(r.arena);
    return status;
}
