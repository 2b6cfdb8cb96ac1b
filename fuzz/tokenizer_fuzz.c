/* A tokenizer.json, a NUL byte, and a text: opens the one, encodes the other, decodes what came out, at once and as a
 * stream, and compares the two. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decoding(const sg_tokenizer *t, const sg_tokens *ids)
{
    char *text, *piece;
    sg_str streamed = {0};
    sg_stream stream = {0};
    const sg_status status = sg_tokenizer_decode(t, ids->ids, ids->n, true, &text, NULL);
    sg_status stream_status = SG_OK;
    for (int64_t i = 0; i <= ids->n && stream_status == SG_OK; i++) {
        stream_status = i < ids->n ? sg_stream_push(t, &stream, ids->ids[i], &piece, NULL)
                                   : sg_stream_finish(t, &stream, &piece, NULL);
        if (stream_status == SG_OK)
            sg_str_puts(&streamed, piece);
        free(piece);
    }
    SG_ASSERT(status == stream_status);
    SG_ASSERT(status != SG_OK || strcmp(text, streamed.text) == 0);
    free(text);
    sg_str_free(&streamed);
    sg_stream_free(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *split = memchr(data, 0, size);
    const size_t n_json = split ? (size_t)(split - data) : size;
    sg_tokenizer *t;
    sg_error err;
    if (sg_tokenizer_parse(&t, (const char *)data, n_json, "fuzz", &err) != SG_OK) {
        SG_ASSERT(err.text[0] != '\0' && !strchr(err.text, '\n'));
        return 0;
    }
    sg_str text = {0};
    sg_tokens ids = {0};
    sg_str_puts(&text, "");
    if (split)
        sg_str_append(&text, (const char *)split + 1, size - n_json - 1);
    if (sg_tokenizer_encode(t, text.text, sg_encode_defaults(), &ids, &err) == SG_OK)
        check_decoding(t, &ids);
    /* And ids that the text did not give, some of them of no token. */
    ids.n = 0;
    for (size_t i = 0; i < SG_MIN(size - n_json, (size_t)64); i++)
        SG_ASSERT(sg_tokens_push(&ids, data[n_json + i], NULL) == SG_OK);
    check_decoding(t, &ids);
    sg_tokens_free(&ids);
    sg_str_free(&text);
    sg_tokenizer_free(t);
    return 0;
}
