/* The patterns by which byte-level vocabularies cut texts, under the names that GGUF files give them in
 * tokenizer.ggml.pre: each pattern cuts, in turn, what the one before it left.
 *
 * A pattern is part of a tokenizer's publication, as a tokenizer.json's pre_tokenizer; which name goes with which one
 * is llama.cpp's convention. */
#include <string.h>

#include "io/tokenizer_internal.h"

#define SPACED_PUNCTUATION " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS       "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER              "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER              "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CJK                "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

#define LLAMA3    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" SPACED_PUNCTUATION
#define QWEN2     CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" SPACED_PUNCTUATION
#define NOT_SPACE " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

static const struct sg_pre pres[] = {
    {.name = "default",
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+",
                  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "\\p{N}+",
                  "[0-9][0-9][0-9]"},
     .nfc = false},
    {.name = "gpt-2", .patterns = {SG_PATTERN_GPT2}},
    /* Not GGUF's: CLIP's, which keeps only what matches, of a text in lower case. */
    {.name = "clip",
     .patterns = {"'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+"},
     .nfc = true,
     .clip = true},
    {.name = "phi-2", .patterns = {SG_PATTERN_GPT2}},
    {.name = "mpt", .patterns = {SG_PATTERN_GPT2}, .nfc = true},
    {.name = "olmo", .patterns = {SG_PATTERN_GPT2}, .nfc = true},
    {.name = "gpt-neox", .patterns = {SG_PATTERN_GPT2}, .nfc = true},
    {.name = "roberta-bpe", .patterns = {SG_PATTERN_GPT2}},
    {.name = "jais", .patterns = {SG_PATTERN_GPT2}},
    {.name = "llama-bpe", .patterns = {LLAMA3}, .ignore_merges = true},
    {.name = "llama3", .patterns = {LLAMA3}, .ignore_merges = true},
    {.name = "llama-v3", .patterns = {LLAMA3}, .ignore_merges = true},
    {.name = "falcon3", .patterns = {LLAMA3}, .ignore_merges = true},
    {.name = "dbrx", .patterns = {LLAMA3}},
    {.name = "smaug-bpe", .patterns = {LLAMA3}},
    {.name = "chatglm-bpe", .patterns = {LLAMA3}},
    {.name = "glm4", .patterns = {LLAMA3}},
    {.name = "qwen2", .patterns = {QWEN2}, .nfc = true},
    {.name = "deepseek-r1-qwen", .patterns = {QWEN2}, .nfc = true},
    {.name = "stablelm2", .patterns = {QWEN2}},
    {.name = "hunyuan", .patterns = {QWEN2}},
    {.name = "starcoder", .patterns = {"\\p{N}", SG_PATTERN_GPT2}},
    {.name = "refact", .patterns = {"\\p{N}", SG_PATTERN_GPT2}},
    {.name = "command-r", .patterns = {"\\p{N}", SG_PATTERN_GPT2}, .nfc = true},
    {.name = "smollm", .patterns = {"\\p{N}", SG_PATTERN_GPT2}},
    {.name = "codeshell", .patterns = {"\\p{N}", SG_PATTERN_GPT2}},
    {.name = "exaone", .patterns = {"\\p{N}", SG_PATTERN_GPT2}},
    {.name = "falcon",
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+",
                  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "[0-9][0-9][0-9]"}},
    /* Its published list of letters is that of the letters with cases. */
    {.name = "deepseek-llm",
     .patterns = {"[\\r\\n]", "\\s?[\\p{Lu}\\p{Ll}\\p{Lt}]+",
                  "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+", "\\s+$",
                  CJK, "\\p{N}+"}},
    {.name = "deepseek-coder", .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}},
    {.name = "deepseek-v3",
     .patterns = {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
                  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                  "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {.name = "bloom", .patterns = {NOT_SPACE}},
    {.name = "poro-chat", .patterns = {NOT_SPACE}},
    {.name = "gpt3-finnish", .patterns = {NOT_SPACE}},
    {.name = "viking", .patterns = {NOT_SPACE, "\\p{N}"}},
    {.name = "tekken",
     .patterns = {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
                  "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .ignore_merges = true},
    {.name = "gpt-4o",
     .patterns = {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
                  "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .ignore_merges = true},
    {.name = "llama4",
     .patterns = {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER
                  "*" CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     .ignore_merges = true},
};

sg_status sg_pre_find(const struct sg_pre **out, const char *file, const char *name, sg_error *err)
{
    char shown[SG_SHOWN];
    for (size_t i = 0; i < SG_COUNT_OF(pres); i++) {
        if (strcmp(pres[i].name, name) == 0) {
            *out = &pres[i];
            return SG_OK;
        }
    }
    return sg_fail(err, SG_EUNSUPPORTED, "%s: the pre-tokenizer \"%s\" is not known here", file, sg_show(shown, name));
}
