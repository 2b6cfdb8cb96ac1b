/* Messages as one text for models that know of none: lines "System: ...", "User: ...", "Assistant: ...", and at the end
 * "Assistant:", which the model goes on with until it begins a line with the next speaker's name. */
#ifndef SG_SERVE_TRANSCRIPT_H
#define SG_SERVE_TRANSCRIPT_H

#include <jansson.h>

#include "base/base.h"
#include "sightglass/model.h"

enum { TRANSCRIPT_MOST = 4096, TRANSCRIPT_STOPS = 2 };
extern const char *const transcript_stops[TRANSCRIPT_STOPS];

/* [{"role", "content": text or [{"type": "text", "text"}]}]. SG_EARG: another role or kind of part; `where` then says
 * at which place, "messages[3].role". */
sg_status transcript_read(const json_t *messages, sg_str *out, char where[64], sg_error *err) SG_MUST_CHECK;

/* The tokens of messages: by the chat template of the model's tokenizer, where it has one, else of the transcript; *plain
 * says which, since a transcript wants stops and its answer trimmed. SG_EARG as above, and what a template refuses. */
sg_status transcript_tokens(const sg_model *m, const json_t *messages, sg_tokens *out, bool *plain, char where[64],
                            sg_error *err) SG_MUST_CHECK;

#endif
