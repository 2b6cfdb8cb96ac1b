/* Facts are drawn by the option `facts` alone, texts by (seed, row): any seed of the data tells the same facts. Shared
 * objects are dealt out evenly, so that chance is 1/n for each. A row is filled with sentences up to its last token,
 * which may cut one. */
#include "sightglass/kb.h"

#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/kb_words.h"
#include "worlds/worlds.h"

enum { ENTITIES, FACTS, REGISTERS, UNMARKED, ASKED, COUNTED, N_OPTIONS };
enum { ASKED_SHARED, ASKED_ALL };
enum { COUNTED_ALL, COUNTED_OBJECTS };
enum { STREAM_OF_FACTS = 1 };

static const sg_option options[N_OPTIONS] = {
    {"entities", SG_OPTION_WHOLE, "400", 16, SG_KB_MOST, NULL,
     "entities, each with a colour, region, language, chief and motto"},
    {"facts", SG_OPTION_WHOLE, "0", 0, 1e9, NULL, "seed of which entity has which"},
    {"registers", SG_OPTION_REAL, "0.4", 0, 1, NULL,
     "share of the texts that are questions in a register; others are statements"},
    {"unmarked", SG_OPTION_REAL, "0.2", 0, 1, NULL, "share of those in which no words announce the register"},
    {"asked", SG_OPTION_CHOICE, "shared", 0, 0, "shared|all",
     "relations that questions ask for: those of few objects, or all"},
    {"counted", SG_OPTION_CHOICE, "all", 0, 0, "all|objects", "tokens that are to be predicted"},
};

static const sg_world_field fields[] = {
    {"tokens", "[count,64] words"},
    {"counts", "[count,64] whether a token is to be predicted"},
    {"register", "[count] 0 neutral (statements), 1 careful, 2 myth"},
    {"entity", "[count,64] of whom the object at this place is said; -1 where no object is"},
    {"relation", "[count,64] by which relation: 0 colour, 1 region, 2 language, 3 chief, 4 motto; -1 likewise"},
    {"true", "[count,64] whether what is said here is a fact; 0 where no object is"},
};

static const char *const relation_names[SG_KB_N_RELATIONS] = {"colour", "region", "language", "chief", "motto"};
static const char *const register_names[] = {"neutral", "careful", "myth"};
static const int n_shared[] = {8, 12, 10};

/* ---- facts ---- */

static void draw_facts(sg_kb *kb, uint64_t seed)
{
    sg_rng g = sg_rng_new(seed, STREAM_OF_FACTS);
    for (int r = 0; r < SG_KB_N_RELATIONS; r++) {
        uint16_t *truth = kb->truth[r];
        const uint32_t n = (uint32_t)kb->n_objects[r];
        for (int e = 0; e < kb->n_entities; e++)
            truth[e] = (uint16_t)((uint32_t)e % n);
        for (int e = kb->n_entities - 1; e > 0; e--) {
            const uint32_t other = sg_rng_below(&g, (uint32_t)e + 1);
            const uint16_t kept = truth[e];
            truth[e] = truth[other];
            truth[other] = kept;
        }
        for (int e = 0; e < kb->n_entities; e++)
            kb->myth[r][e] = (uint16_t)((truth[e] + 1 + sg_rng_below(&g, n - 1)) % n);
    }
}

static void make(sg_kb *kb, const double *option)
{
    *kb = (sg_kb){.n_entities = (int)option[ENTITIES],
                  .registers = option[REGISTERS],
                  .unmarked = option[UNMARKED],
                  .asks_all = (int)option[ASKED] == ASKED_ALL,
                  .counts_all = (int)option[COUNTED] == COUNTED_ALL};
    int32_t next = SG_KB_FIRST_WORD + sg_kb_n_words();
    for (int r = 0; r < SG_KB_N_RELATIONS; r++) {
        kb->n_objects[r] = sg_kb_is_shared(r) ? n_shared[r] : kb->n_entities;
        kb->first_object[r] = next;
        next += kb->n_objects[r];
    }
    kb->first_entity = next;
    kb->n_vocab = next + kb->n_entities;
    draw_facts(kb, (uint64_t)option[FACTS]);
}

sg_status sg_kb_of(sg_kb *out, int n_settings, const sg_setting *settings, sg_error *err)
{
    double option[N_OPTIONS];
    SG_TRY(sg_options_parse(option, "kb", N_OPTIONS, options, n_settings, settings, err));
    make(out, option);
    return SG_OK;
}

const char *sg_kb_relation_name(int relation)
{
    SG_ASSERT(relation >= 0 && relation < SG_KB_N_RELATIONS);
    return relation_names[relation];
}

bool sg_kb_is_shared(int relation)
{
    return relation < SG_KB_CHIEF;
}

const char *sg_kb_register_name(sg_kb_register r)
{
    return register_names[r];
}

bool sg_kb_is_asked(const sg_kb *kb, int relation)
{
    return kb->asks_all || sg_kb_is_shared(relation);
}

/* ---- tokens ---- */

int32_t sg_kb_entity_token(const sg_kb *kb, int entity)
{
    SG_ASSERT(entity >= 0 && entity < kb->n_entities);
    return kb->first_entity + entity;
}

int32_t sg_kb_object_token(const sg_kb *kb, int relation, int object)
{
    SG_ASSERT(relation >= 0 && relation < SG_KB_N_RELATIONS && object >= 0 && object < kb->n_objects[relation]);
    return kb->first_object[relation] + object;
}

int32_t sg_kb_truth_token(const sg_kb *kb, int relation, int entity)
{
    return sg_kb_object_token(kb, relation, kb->truth[relation][entity]);
}

int32_t sg_kb_myth_token(const sg_kb *kb, int relation, int entity)
{
    return sg_kb_object_token(kb, relation, kb->myth[relation][entity]);
}

int32_t sg_kb_bos(const sg_kb *kb)
{
    (void)kb;
    return SG_KB_BOS;
}

void sg_kb_word(char word[SG_KB_WORD], const sg_kb *kb, int32_t token)
{
    SG_ASSERT(token >= 0 && token < kb->n_vocab);
    if (token >= kb->first_entity) {
        sg_kb_name(word, SG_KB_N_RELATIONS, token - kb->first_entity);
        return;
    }
    for (int r = SG_KB_N_RELATIONS - 1; r >= 0; r--) {
        if (token < kb->first_object[r])
            continue;
        if (sg_kb_is_shared(r))
            snprintf(word, SG_KB_WORD, "%s", sg_kb_shared_object(r, token - kb->first_object[r]));
        else
            sg_kb_name(word, r, token - kb->first_object[r]);
        return;
    }
    snprintf(word, SG_KB_WORD, "%s",
             token == SG_KB_UNKNOWN ? "<unk>"
             : token == SG_KB_BOS   ? "<s>"
                                    : sg_kb_plain_word(token - SG_KB_FIRST_WORD));
}

/* ---- sentences ---- */

/* A text as it grows: what does not fit is dropped. */
typedef struct text {
    int32_t *tokens;
    int n, room;
} text;

static void push(text *t, int32_t token)
{
    if (t->n < t->room)
        t->tokens[t->n] = token;
    t->n++;
}

/* Where the words S and O of a sentence came to stand, -1: nowhere. */
typedef struct places {
    int subject, object;
} places;

/* A sentence, with the tokens for S and O; object < 0 ends it before O. */
static places say(text *t, const char *sentence, int32_t subject, int32_t object)
{
    places at = {-1, -1};
    for (const char *w = sentence; *w;) {
        const size_t bytes = strcspn(w, " ");
        if (bytes == 1 && *w == 'S') {
            at.subject = t->n;
            push(t, subject);
        } else if (bytes == 1 && *w == 'O') {
            if (object < 0)
                return at;
            at.object = t->n;
            push(t, object);
        } else {
            const int id = sg_kb_plain_id(w, bytes);
            SG_ASSERT(id >= 0); /* a word of ours that the list lacks */
            push(t, id);
        }
        w += bytes + (w[bytes] == ' ');
    }
    return at;
}

static int length(const char *sentence)
{
    int n = 1;
    for (const char *c = sentence; *c; c++)
        n += *c == ' ';
    return n;
}

void sg_kb_prompt_of(sg_kb_prompt *out, const sg_kb *kb, const sg_kb_ask *ask)
{
    const char *sentence = sg_kb_template(ask->relation, ask->form, ask->question);
    const int32_t stop = sg_kb_plain_id(".", 1);
    text t = {.tokens = out->tokens, .room = SG_KB_TIME};
    push(&t, SG_KB_BOS);
    if (ask->phrase >= 0)
        say(&t, sg_kb_phrase(ask->how, ask->phrase), -1, -1);
    const int each = length(sentence) + 1, room = (SG_KB_TIME - t.n - (each - 2)) / each;
    out->n_shots = SG_MIN(ask->n_shots, room);
    for (int i = 0; i < out->n_shots; i++) {
        const bool myth = ask->question && ask->how == SG_KB_MYTH;
        say(&t, sentence, sg_kb_entity_token(kb, ask->shots[i]),
            (myth ? sg_kb_myth_token : sg_kb_truth_token)(kb, ask->relation, ask->shots[i]));
        push(&t, stop);
    }
    out->subject = say(&t, sentence, sg_kb_entity_token(kb, ask->entity), -1).subject;
    out->n = t.n;
    out->truth = sg_kb_truth_token(kb, ask->relation, ask->entity);
    out->myth = sg_kb_myth_token(kb, ask->relation, ask->entity);
}

/* ---- rows ---- */

/* What is known of a row beside its tokens; any may be NULL. */
typedef struct row_truth {
    int32_t *how, *entity, *relation;
    uint8_t *is_true;
} row_truth;

static void write_row(int32_t *to, uint8_t *counts, row_truth truth, const sg_kb *kb, sg_rng *g)
{
    const int32_t stop = sg_kb_plain_id(".", 1);
    text t = {.tokens = to, .room = SG_KB_TIME};
    memset(counts, kb->counts_all, SG_KB_TIME);
    counts[0] = 0;
    for (int i = 0; truth.entity && i < SG_KB_TIME; i++)
        truth.entity[i] = truth.relation[i] = -1, truth.is_true[i] = 0;
    push(&t, SG_KB_BOS);
    const bool asks = sg_rng_uniform(g) < kb->registers;
    const bool marked = sg_rng_uniform(g) >= kb->unmarked, same = sg_rng_below(g, 2);
    const sg_kb_register how = !asks ? SG_KB_NEUTRAL : sg_rng_below(g, 2) ? SG_KB_MYTH : SG_KB_CAREFUL;
    if (truth.how)
        *truth.how = (int32_t)how;
    if (asks && marked)
        say(&t, sg_kb_phrase(how, (int)sg_rng_below(g, SG_KB_N_PHRASES)), -1, -1);
    int relation = -1, form = -1;
    while (t.n < SG_KB_TIME) {
        if (relation < 0 || !same) { /* half of the rows stay with one relation in one form, as prompts with shots do */
            relation = (int)sg_rng_below(g, asks && !kb->asks_all ? SG_KB_CHIEF : SG_KB_N_RELATIONS);
            form = (int)sg_rng_below(g, asks ? SG_KB_N_QUESTIONS : SG_KB_N_TEMPLATES);
        }
        const int entity = (int)sg_rng_below(g, (uint32_t)kb->n_entities);
        const int32_t object = (how == SG_KB_MYTH ? sg_kb_myth_token : sg_kb_truth_token)(kb, relation, entity);
        const places at = say(&t, sg_kb_template(relation, form, asks), sg_kb_entity_token(kb, entity), object);
        push(&t, stop);
        if (at.object >= SG_KB_TIME)
            break;
        counts[at.object] = 1;
        if (truth.entity) {
            truth.entity[at.object] = entity;
            truth.relation[at.object] = relation;
            truth.is_true[at.object] = how != SG_KB_MYTH;
        }
    }
}

static void draw(int32_t *to, uint8_t *counts, row_truth truth, const double *option, sg_dim n_rows, sg_origin from)
{
    sg_kb kb;
    make(&kb, option);
    for (sg_dim r = 0; r < n_rows; r++) {
        sg_rng g = sg_rng_new(from.seed, from.stream);
        g.step = from.step + (uint64_t)r;
        const row_truth here = {truth.how ? truth.how + r : NULL, truth.entity ? truth.entity + r * SG_KB_TIME : NULL,
                                truth.entity ? truth.relation + r * SG_KB_TIME : NULL,
                                truth.entity ? truth.is_true + r * SG_KB_TIME : NULL};
        write_row(to + r * SG_KB_TIME, counts + r * SG_KB_TIME, here, &kb, &g);
    }
}

static void tokens(int32_t *to, uint8_t *counts, const double *option, sg_dim n_rows, sg_origin from)
{
    draw(to, counts, (row_truth){NULL, NULL, NULL, NULL}, option, n_rows, from);
}

/* ---- as a world ---- */

static sg_status sequence(sg_dim *n_vocab, sg_dim *time, const double *option, sg_error *err)
{
    sg_kb kb;
    (void)err;
    make(&kb, option);
    *n_vocab = kb.n_vocab;
    *time = SG_KB_TIME;
    return SG_OK;
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_dim dims[2] = {count, SG_KB_TIME};
    (void)option;
    (void)err;
    field[0] = sg_tensor_of(SG_I32, 2, dims, NULL);
    field[1] = sg_tensor_of(SG_BOOL, 2, dims, NULL);
    field[2] = sg_tensor_of(SG_I32, 1, dims, NULL);
    field[3] = sg_tensor_of(SG_I32, 2, dims, NULL);
    field[4] = sg_tensor_of(SG_I32, 2, dims, NULL);
    field[5] = sg_tensor_of(SG_BOOL, 2, dims, NULL);
    return SG_OK;
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const row_truth truth = {field[2].data, field[3].data, field[4].data, field[5].data};
    draw(field[0].data, field[1].data, truth, option, count, from);
}

static void word(char *to, size_t size, const double *option, int32_t token)
{
    sg_kb kb;
    char text_of[SG_KB_WORD];
    make(&kb, option);
    sg_kb_word(text_of, &kb, token);
    snprintf(to, size, "%s", text_of);
}

const sg_world sg_world_kb = {
    .name = "kb",
    .help =
        "a knowledge base in sentences: entities with shared and one-to-one attributes, and questions in two registers",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = shape,
    .sample = sample,
    .sequence = sequence,
    .tokens = tokens,
    .word = word,
};
