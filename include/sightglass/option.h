/* Options: named numbers with a default, a range and a line of help, shared by worlds and methods.
 *
 *     static const sg_option options[] = {
 *         {"n", SG_OPTION_WHOLE, "5", 1, 4096, NULL, "features"},
 *         {"p", SG_OPTION_REAL, "0.05", 0, 1, NULL, "p(active) of each feature"},
 *     };
 *     double value[2];
 *     SG_TRY(sg_options_parse(value, "features", 2, options, 1, &(sg_setting){"n", "20"}, err));
 *
 * Every value is a double: a whole number, a real, or the place of a word among the choices. Texts are what was typed
 * (sg_option_text). */
#ifndef SIGHTGLASS_OPTION_H
#define SIGHTGLASS_OPTION_H

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_option_kind {
    SG_OPTION_WHOLE, /* a whole number */
    SG_OPTION_REAL,
    SG_OPTION_CHOICE, /* one word of `choices` */
    SG_OPTION_FLAG,   /* "yes" or "no"; typed without a value it is yes */
    SG_OPTION_TEXT,   /* any text: a name, a list; its number is 0 */
    SG_OPTION_PATH    /* a file or folder that is read; likewise */
} sg_option_kind;

typedef struct sg_option {
    const char *name;
    sg_option_kind kind;
    const char *standard; /* the default, as a user would type it */
    double low, high;     /* numbers: the least and the greatest that make sense */
    const char *choices;  /* words separated by '|'; NULL for numbers */
    const char *help;     /* one line, without a full stop */
} sg_option;

/* What a user typed: --n 20 is {"n", "20"}. */
typedef struct sg_setting {
    const char *name, *value;
} sg_setting;

/* value[i] becomes option i's default or what the last setting of that name says. `what` names the owner in texts.
 * SG_EARG: no such option (the text suggests the nearest), not a number, out of range, not one of the choices. */
sg_status sg_options_parse(double *value, const char *what, int n_options, const sg_option *options, int n_settings,
                           const sg_setting *settings, sg_error *err) SG_MUST_CHECK;

/* The text of an option: what the last setting of its name says, or its default. */
const char *sg_option_text(const sg_option *option, int n_settings, const sg_setting *settings);

#ifdef __cplusplus
}
#endif
#endif
