#include "serve/prompt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/othello.h"

static int board_of(const sg_model *m)
{
    for (int size = 4; size <= 8 && !sg_model_tokenizer(m); size += 2)
        if (sg_model_get_info(m)->n_vocab == sg_othello_vocabulary(size))
            return size;
    return 0;
}

const char *prompt_kind(const sg_model *m)
{
    static const char *const boards[] = {"othello4", "othello6", "othello8"};
    const int size = board_of(m);
    if (sg_model_get_info(m)->n_vocab == 0)
        return "images";
    return sg_model_tokenizer(m) ? "text" : size ? boards[size / 2 - 2] : "numbers";
}

/* One word of squares or numbers: "f5d6" holds two. */
static sg_status read_word(int size, const char *word, size_t n, sg_tokens *out, sg_error *err)
{
    char *end;
    const long long number = strtoll(word, &end, 10);
    if (end == word + n && number >= 0 && number <= INT32_MAX)
        return sg_tokens_push(out, (int32_t)number, err);
    for (size_t i = 0; size && n % 2 == 0 && i < n; i += 2) {
        const char name[3] = {word[i], word[i + 1], 0};
        const int square = sg_othello_parse(size, name), token = square < 0 ? -1 : sg_othello_token(size, square);
        if (token < 0)
            return sg_fail(err, SG_EARG, "\"%s\" is no square that is played on a board of %d", name, size);
        SG_TRY(sg_tokens_push(out, token, err));
    }
    return size && n % 2 == 0 ? SG_OK
                              : sg_fail(err, SG_EARG, "\"%.*s\" is no token: this model has no tokenizer, wanted %s",
                                        (int)SG_MIN(n, 40), word, size ? "squares such as f5, or numbers" : "numbers");
}

sg_status prompt_read(const sg_model *m, const char *text, sg_tokens *out, sg_error *err)
{
    const int size = board_of(m);
    if (sg_model_tokenizer(m))
        return sg_tokenizer_encode(sg_model_tokenizer(m), text, sg_encode_defaults(), out, err);
    for (const char *at = text; *at;) {
        const size_t blank = strspn(at, " \t\r\n,"), n = strcspn(at + blank, " \t\r\n,");
        if (n)
            SG_TRY(read_word(size, at + blank, n, out, err));
        at += blank + n;
    }
    return SG_OK;
}

/* With a letter before it, since decoders drop the blank at a text's beginning. */
static char *behind_a_letter(const sg_tokenizer *t, int32_t id)
{
    const int32_t letter = sg_tokenizer_id(t, "a"), both[2] = {letter, id};
    char *text = NULL;
    if (letter < 0 || sg_tokenizer_is_special(t, id) || sg_tokenizer_decode(t, both, 2, false, &text, NULL) != SG_OK ||
        text[0] != 'a') {
        free(text);
        return NULL;
    }
    memmove(text, text + 1, strlen(text));
    return text;
}

char *prompt_token(const sg_model *m, int32_t id)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    const int size = board_of(m);
    char buf[16];
    if (t) {
        char *text = behind_a_letter(t, id);
        const char *own = sg_tokenizer_token(t, id);
        if (text || own)
            return text ? text : strdup(own);
    }
    const int square = size ? sg_othello_square(size, id) : -1;
    if (square >= 0)
        return strdup(sg_othello_name(size, square, buf));
    snprintf(buf, sizeof buf, "%" PRId32, id);
    return strdup(size && id == 0 ? "pad" : buf);
}
