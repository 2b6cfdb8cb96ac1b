/* The first byte says how long a text is that follows it; the rest is a SentencePiece model, which encodes the text and
 * decodes what came out. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sg_tokenizer *t;
    sg_tokens ids = {0};
    sg_error err;
    sg_str text = {0};
    char *back;
    if (size == 0)
        return 0;
    const size_t n_text = SG_MIN((size_t)data[0], size - 1);
    if (sg_tokenizer_parse_sentencepiece(&t, data + 1 + n_text, size - 1 - n_text, "fuzz", &err) != SG_OK) {
        SG_ASSERT(err.text[0] != '\0' && !strchr(err.text, '\n'));
        return 0;
    }
    sg_str_puts(&text, "");
    sg_str_append(&text, (const char *)data + 1, n_text);
    if (sg_tokenizer_encode(t, text.text, sg_encode_defaults(), &ids, &err) == SG_OK) {
        for (int64_t i = 0; i < ids.n; i++)
            SG_ASSERT(sg_tokenizer_token(t, ids.ids[i]) != NULL);
        if (sg_tokenizer_decode(t, ids.ids, ids.n, false, &back, &err) == SG_OK)
            free(back);
    }
    sg_str_free(&text);
    sg_tokens_free(&ids);
    sg_tokenizer_free(t);
    return 0;
}
