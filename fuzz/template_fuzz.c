/* A chat template, and behind a NUL byte the variables as JSON; without one, some messages. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char messages[] =
        "{\"messages\": [{\"role\": \"system\", \"content\": \"Be \\u00e9.\"}, {\"role\": \"user\", \"content\": \" "
        "Hi\\n\"}, "
        "{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}]}], \"tools\": null, "
        "\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"x\": [3, 1.5, \"b\"]}";
    char *source = calloc(size + 1, 1), *text;
    sg_error err;
    if (!source)
        return 0;
    memcpy(source, data, size);
    const size_t n = strlen(source);
    if (sg_template_render(&text, source, "fuzz", n < size ? source + n + 1 : messages, 1700000000, &err) == SG_OK)
        SG_ASSERT(text != NULL);
    else
        SG_ASSERT(text == NULL && err.text[0] != '\0' && !strchr(err.text, '\n'));
    free(text);
    free(source);
    return 0;
}
