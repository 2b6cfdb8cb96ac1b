/* Tokenizers between their two writings: lists, as GGUF files hold them, and tokenizer.json. */
#ifndef SG_IO_GGUF_TOKENIZER_H
#define SG_IO_GGUF_TOKENIZER_H

#include "base/base.h"
#include "sightglass/gguf.h"
#include "sightglass/tokenizer.h"

/* The lists of a tokenizer that was read from the text of a tokenizer.json, in the arena: the first of the surroundings
 * that GGUF has names for under which texts of all kinds are encoded as by t itself.  bos and eos stand in where the
 * file names none; texts are padded to n_vocab.  *obstacle, in the arena: why lists cannot say it, or NULL. */
sg_status sg_vocab_from_json(sg_tokenizer_vocab *v, sg_arena *arena, const sg_tokenizer *t, const char *json,
                             size_t n_bytes, const char *path, int64_t n_vocab, int32_t bos, int32_t eos,
                             const char **obstacle, sg_error *err) SG_MUST_CHECK;

/* The text of a tokenizer.json, malloc'd. SG_EUNSUPPORTED: lists of a kind that is not written here. */
sg_status sg_vocab_to_json(char **json, const sg_tokenizer_vocab *v, sg_error *err) SG_MUST_CHECK;

/* As tokenizer.ggml.* and tokenizer.chat_template. */
void sg_gguf_meta_vocab(sg_gguf_meta *meta, const sg_tokenizer_vocab *v);

#endif
