/* Chat templates: messages to the text that a model was trained to go on from.
 *
 *     const sg_chat_message messages[] = {{"system", "Be brief."}, {"user", "Hello!"}};
 *     char *prompt;
 *     SG_TRY(sg_chat_render(&prompt, tokenizer, 2, messages, sg_chat_defaults(), err));
 *     ids to go on from: sg_tokenizer_encode(tokenizer, prompt, (sg_encode_opts){.parse_special = true}, &ids, err)
 *     free(prompt);
 *
 * A template comes with the tokenizer (sg_tokenizer_chat_template) and is written in Jinja, of which this runs what
 * chat templates use: docs/tokenizers.md lists it, anything else is an error with its line. A template may come from
 * anywhere, so it runs under limits of steps, depth, memory and output, and reaches nothing but what is given here. Its
 * text mostly begins with the <s> that a tokenizer would add, so it is encoded without add_special. */
#ifndef SIGHTGLASS_TEMPLATE_H
#define SIGHTGLASS_TEMPLATE_H

#include "sightglass/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_chat_message {
    const char *role, *content; /* "system", "user", "assistant", ...; UTF-8 */
} sg_chat_message;

typedef struct sg_chat_opts {
    bool add_generation_prompt; /* end where the assistant's answer begins (true) */
    const char *tools;          /* a JSON list, or NULL */
    const char *variables; /* more for the template to see: a JSON object ("{\"enable_thinking\": false}"), or NULL */
    int64_t now;           /* what strftime_now() shows, in seconds since 1970 UTC; -1: the clock, local time */
} sg_chat_opts;
sg_chat_opts sg_chat_defaults(void);

/* The text in a malloc'd string (caller frees). SG_ENOTFOUND: the tokenizer has no chat template; SG_EUNSUPPORTED: it
 * uses what is not here; SG_EFORMAT: it is no template, or reads what is not there; SG_EARG: it refuses the messages,
 * in its own words. */
sg_status sg_chat_render(char **out, const sg_tokenizer *t, int n_messages, const sg_chat_message *messages,
                         sg_chat_opts opts, sg_error *err) SG_MUST_CHECK;
/* The same from a JSON list of messages, whose members may be anything that the template reads (tool_calls, lists of
 * parts). */
sg_status sg_chat_render_json(char **out, const sg_tokenizer *t, const char *messages, sg_chat_opts opts,
                              sg_error *err) SG_MUST_CHECK;

/* Any template: `name` is for errors, `variables` a JSON object. `now` as above. */
sg_status sg_template_render(char **out, const char *source, const char *name, const char *variables, int64_t now,
                             sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
