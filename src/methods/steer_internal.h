/* What the actions of sightglass steer have in common. */
#ifndef SG_METHODS_STEER_INTERNAL_H
#define SG_METHODS_STEER_INTERNAL_H

#include <string.h>

#include "methods/methods.h"
#include "sightglass/steer.h"

/* The options of whoever reads texts of two kinds. */
#define DATA_OPTIONS                                                                                                   \
    {"part",                                                                                                           \
     SG_OPTION_CHOICE,                                                                                                 \
     "all",                                                                                                            \
     0,                                                                                                                \
     0,                                                                                                                \
     "all|first|second",                                                                                               \
     "half of the questions, drawn by the seed: fit on one, sweep on the other"},                                      \
        {"most", SG_OPTION_WHOLE, "1000000", 1, 1e9, NULL, "questions or pairs that are read"},                        \
        {"form",                                                                                                       \
         SG_OPTION_TEXT,                                                                                               \
         "",                                                                                                           \
         0,                                                                                                            \
         0,                                                                                                            \
         NULL,                                                                                                         \
         "how texts are put together, with {question} and {answer} or {word} and {text}"},                             \
        {"words", SG_OPTION_TEXT, "", 0, 0, NULL, "of lists of plain texts: what {word} is, \"honest|untruthful\""},   \
    {                                                                                                                  \
        "cuts", SG_OPTION_WHOLE, "1", 1, 1000, NULL, "of plain texts: so many beginnings of each"                      \
    }

/* The texts that the options speak of, with what was left out noted. */
sg_status sg_steer_asked(sg_method_run *r, const sg_model *m, const char *path, sg_steer_data **out,
                         sg_error *err) SG_MUST_CHECK;
/* Edits from JSON, or from a control vector. */
sg_status sg_steer_edits(sg_edit_list **out, const char *path, sg_error *err) SG_MUST_CHECK;

static inline bool sg_ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

#endif
