/* The model of a tokenizer, of whichever kind: pieces to ids. */
#include <string.h>

#include "io/tokenizer_internal.h"

sg_status sg_token_model_check(sg_token_model *m, const sg_reader *r, const json_t *model)
{
    const json_t *type = sg_json_member(model, "type");
    if (!json_is_object(model))
        return sg_fail(r->err, SG_EFORMAT, "%s: \"model\" is %s", r->name, model ? "not an object" : "missing");
    if (type && !json_is_string(type))
        return sg_fail(r->err, SG_EFORMAT, "%s: the model's \"type\" is not a text", r->name);
    if (type && strcmp(json_string_value(type), "BPE") != 0)
        return sg_json_unsupported(r, "model", json_string_value(type));
    m->kind = SG_TOKENIZER_BPE;
    return SG_OK;
}

sg_status sg_token_model_read(sg_token_model *m, const sg_reader *r, const json_t *model, const sg_vocab *vocab)
{
    return sg_bpe_read(&m->bpe, r, model, vocab);
}

bool sg_token_model_takes_bytes(const sg_token_model *m)
{
    return m->bpe && sg_bpe_takes_bytes(m->bpe);
}

sg_status sg_token_model_encode(const sg_token_model *m, sg_model_work *w, const char *piece, size_t n, bool as_bytes,
                                sg_tokens *out, sg_error *err)
{
    return sg_bpe_encode(m->bpe, &w->bpe, piece, n, as_bytes, out, err);
}

void sg_model_work_free(sg_model_work *w)
{
    sg_bpe_work_free(&w->bpe);
}
