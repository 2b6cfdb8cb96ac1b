#include "serve/transcript.h"

#include <stdlib.h>
#include <string.h>

#include "serve/prompt.h"
#include "sightglass/template.h"

const char *const transcript_stops[TRANSCRIPT_STOPS] = {"\nUser:", "\nSystem:"};

static const char *speaker_of(const char *role)
{
    static const char *const speakers[][2] = {
        {"system", "System"}, {"developer", "System"}, {"user", "User"}, {"assistant", "Assistant"}};

    for (size_t i = 0; role && i < SG_COUNT_OF(speakers); i++)
        if (strcmp(speakers[i][0], role) == 0)
            return speakers[i][1];
    return NULL;
}

static sg_status add_content(const json_t *content, size_t i, sg_str *out, char where[64], sg_error *err)
{
    if (json_is_string(content)) {
        sg_str_puts(out, json_string_value(content));
        return SG_OK;
    }
    for (size_t k = 0; k < json_array_size(content); k++) {
        const json_t *part = json_array_get(content, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        const char *text = json_string_value(json_object_get(part, "text"));
        if (!type || strcmp(type, "text") != 0 || !text) {
            snprintf(where, 64, "messages[%zu].content[%zu]", i, k);
            return sg_fail(err, SG_EARG, "%s: parts of type \"%.40s\" are not supported by this server, wanted text",
                           where, type ? type : "");
        }
        sg_str_puts(out, text);
    }
    return SG_OK;
}

sg_status transcript_read(const json_t *messages, sg_str *out, char where[64], sg_error *err)
{
    const size_t n = json_array_size(messages);

    snprintf(where, 64, "messages");
    if (n == 0 || n > TRANSCRIPT_MOST)
        return sg_fail(err, SG_EARG, "messages: %zu of them, wanted 1 to %d", n, TRANSCRIPT_MOST);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role")), *speaker = speaker_of(role);
        if (!speaker) {
            snprintf(where, 64, "messages[%zu].role", i);
            return sg_fail(err, SG_EARG, "%s: \"%.40s\" is not supported by this server", where, role ? role : "");
        }
        sg_str_printf(out, "%s: ", speaker);
        SG_TRY(add_content(json_object_get(m, "content"), i, out, where, err));
        sg_str_puts(out, "\n");
    }
    sg_str_puts(out, "Assistant:");
    return out->failed ? sg_fail(err, SG_ENOMEM, "out of memory for messages") : SG_OK;
}

static sg_status render(const sg_tokenizer *t, const json_t *messages, sg_tokens *out, sg_error *err)
{
    char *list = json_dumps(messages, JSON_COMPACT), *text = NULL;

    if (!list)
        return sg_fail(err, SG_ENOMEM, "out of memory for messages");
    sg_status status = sg_chat_render_json(&text, t, list, sg_chat_defaults(), err);
    free(list);
    if (status == SG_OK) /* the template writes special tokens out, the first one too */
        status = sg_tokenizer_encode(t, text, (sg_encode_opts){.parse_special = true}, out, err);
    else if (status != SG_ENOMEM) /* of the model that was found */
        status = err ? (err->status = SG_EARG) : SG_EARG;
    free(text);
    return status;
}

sg_status transcript_tokens(const sg_model *m, const json_t *messages, sg_tokens *out, bool *plain, char where[64],
                            sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    sg_str text = {0};
    sg_status status = transcript_read(messages, &text, where, err);

    *plain = !t || !sg_tokenizer_chat_template(t);
    if (status == SG_OK && *plain)
        status = prompt_read(m, text.text, out, err);
    else if (status == SG_OK)
        status = render(t, messages, out, err);
    sg_str_free(&text);
    return status;
}
