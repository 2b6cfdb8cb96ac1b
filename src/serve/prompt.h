/* Prompts and tokens as people write and read them: text where the model has a tokenizer, squares ("f5 d6") where its
 * vocabulary is Othello's, else numbers. */
#ifndef SG_SERVE_PROMPT_H
#define SG_SERVE_PROMPT_H

#include "sightglass/model.h"

/* "text", "othello8", "othello6", "othello4" or "numbers". */
const char *prompt_kind(const sg_model *m);
/* SG_EARG: a word that is no token. */
sg_status prompt_read(const sg_model *m, const char *text, sg_tokens *out, sg_error *err) SG_MUST_CHECK;
/* What a token reads as behind others, so with its leading blank; by malloc, NULL when memory is out. */
char *prompt_token(const sg_model *m, int32_t id);

#endif
