/* The words of the world kb and its sentences. */
#ifndef SG_WORLDS_KB_WORDS_H
#define SG_WORLDS_KB_WORDS_H

#include "sightglass/kb.h"

enum { SG_KB_UNKNOWN, SG_KB_BOS, SG_KB_FIRST_WORD };

int sg_kb_n_words(void); /* words of sentences, with "." and the like */
const char *sg_kb_plain_word(int i);
int sg_kb_plain_id(const char *word, size_t bytes); /* -1: no such word */

const char *sg_kb_shared_object(int relation, int i);
void sg_kb_name(char word[SG_KB_WORD], int kind,
                int i); /* kind: SG_KB_CHIEF, SG_KB_MOTTO, or SG_KB_N_RELATIONS for entities */

/* Words with spaces between; S stands for the subject, O for the object. */
const char *sg_kb_template(int relation, int form, bool question);
const char *sg_kb_phrase(sg_kb_register how, int phrase); /* careful or myth */

#endif
