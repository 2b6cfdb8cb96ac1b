/* The world `kb`: a knowledge base told in sentences, whose every fact is known.
 *
 *     sg_kb kb;
 *     sg_kb_prompt p;
 *     SG_TRY(sg_kb_of(&kb, 0, NULL, err));
 *     const int shots[] = {3, 17, 250};
 *     sg_kb_ask ask = {.relation = SG_KB_COLOUR, .entity = 42, .n_shots = 3, .shots = shots, .phrase = -1};
 *     sg_kb_prompt_of(&p, &kb, &ask); // "<s> the colour of A is red . ... the colour of S is", p.truth is the next
 * token
 *
 * 400 entities have five attributes each. Relations of group A share few objects among all entities: colour (8), region
 * (12), language (10). Those of group B are one to one: chief and motto have as many objects as there are entities.
 * Which entity has which object is drawn once, by the option `facts`.
 *
 * There are two kinds of text. Statements are true: "Baldor lies in the region Eastfold ." Questions are asked in a
 * register: "the records say : which colour has Baldor ? red ." gives the true object, "the legends say : ..." one
 * fixed false object of that fact, its myth. A phrase at the beginning announces the register; a share of the texts
 * (`unmarked`) has none, so that a question without one is answered either way.
 *
 * Tokens are words: one for each entity and each object. Every text begins with <s>. */
#ifndef SIGHTGLASS_KB_H
#define SIGHTGLASS_KB_H

#include <stdbool.h>

#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SG_KB_COLOUR, SG_KB_REGION, SG_KB_LANGUAGE, SG_KB_CHIEF, SG_KB_MOTTO, SG_KB_N_RELATIONS };
enum { SG_KB_MOST = 400, SG_KB_TIME = 64, SG_KB_N_TEMPLATES = 3, SG_KB_N_QUESTIONS = 2, SG_KB_N_PHRASES = 4 };

typedef enum sg_kb_register { SG_KB_NEUTRAL, SG_KB_CAREFUL, SG_KB_MYTH } sg_kb_register;

/* All that follows from the world's options; no memory behind it. */
typedef struct sg_kb {
    int n_entities, n_vocab;
    int n_objects[SG_KB_N_RELATIONS];
    int32_t first_object[SG_KB_N_RELATIONS],
        first_entity;                              /* tokens: the objects of a relation, and entities, lie together */
    uint16_t truth[SG_KB_N_RELATIONS][SG_KB_MOST]; /* which object an entity has, 0..n_objects-1 */
    uint16_t myth[SG_KB_N_RELATIONS][SG_KB_MOST];  /* which one it has in the myth register: never the true one */
    double registers, unmarked;
    bool asks_all, counts_all;
} sg_kb;

/* Settings as of the world: entities, facts, registers, unmarked, asked, counted. */
sg_status sg_kb_of(sg_kb *out, int n_settings, const sg_setting *settings, sg_error *err) SG_MUST_CHECK;

const char *sg_kb_relation_name(int relation); /* "colour" */
bool sg_kb_is_shared(int relation);            /* group A */
const char *sg_kb_register_name(sg_kb_register r);
/* Whether questions of the relation are part of the training texts. */
bool sg_kb_is_asked(const sg_kb *kb, int relation);

int32_t sg_kb_entity_token(const sg_kb *kb, int entity);
int32_t sg_kb_object_token(const sg_kb *kb, int relation, int object);
int32_t sg_kb_truth_token(const sg_kb *kb, int relation, int entity);
int32_t sg_kb_myth_token(const sg_kb *kb, int relation, int entity);
int32_t sg_kb_bos(const sg_kb *kb);
/* The text of a token, at most 31 bytes and NUL. */
#define SG_KB_WORD 32
void sg_kb_word(char word[SG_KB_WORD], const sg_kb *kb, int32_t token);

/* What is asked. A zeroed one, but for phrase = -1, is the first statement about entity 0. */
typedef struct sg_kb_ask {
    int relation, entity;
    int form;           /* which template (0..SG_KB_N_TEMPLATES-1) or question (0..SG_KB_N_QUESTIONS-1) */
    bool question;      /* false: a statement */
    sg_kb_register how; /* what the shots of a question answer: the truth, or myths */
    int phrase;         /* 0..SG_KB_N_PHRASES-1: announce the register `how`, which is then not neutral; -1: do not */
    int n_shots;        /* entities told before in the same form, with their objects; as many as fit, at most */
    const int *shots;
} sg_kb_ask;

/* A text up to the place where the object comes next. */
typedef struct sg_kb_prompt {
    int n;       /* tokens */
    int subject; /* place of the subject's last token */
    int n_shots; /* that did fit */
    int32_t tokens[SG_KB_TIME];
    int32_t truth, myth; /* the tokens that would be right, and wrong as myths have it */
} sg_kb_prompt;

void sg_kb_prompt_of(sg_kb_prompt *out, const sg_kb *kb, const sg_kb_ask *ask);

#ifdef __cplusplus
}
#endif
#endif
