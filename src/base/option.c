/* Options are few, so a name is found by looking at each. */
#include "sightglass/option.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static int find(int n_options, const sg_option *options, const char *name)
{
    for (int i = 0; i < n_options; i++)
        if (!strcmp(options[i].name, name))
            return i;
    return -1;
}

static sg_status unknown(const char *what, int n_options, const sg_option *options, const char *name, sg_error *err)
{
    const char *nearest = NULL;
    int least = 0;
    for (int i = 0; i < n_options; i++) {
        const int distance = sg_edit_distance(name, options[i].name);
        if (!nearest || distance < least) {
            nearest = options[i].name;
            least = distance;
        }
    }
    if (!nearest)
        return sg_fail(err, SG_EARG, "%s: takes no options, found \"%s\"", what, name);
    return sg_fail(err, SG_EARG, "%s: no option \"%s\"; the nearest is \"%s\"", what, name, nearest);
}

/* The place of `word` among the choices, or -1. */
static int choice(const char *choices, const char *word)
{
    const size_t bytes = strlen(word);
    int place = 0;
    for (const char *at = choices; at; place++) {
        const char *end = strchr(at, '|');
        const size_t length = end ? (size_t)(end - at) : strlen(at);
        if (length == bytes && !memcmp(at, word, bytes))
            return place;
        at = end ? end + 1 : NULL;
    }
    return -1;
}

static sg_status parse(double *value, const char *what, const sg_option *option, const char *text, sg_error *err)
{
    if (option->kind == SG_OPTION_CHOICE) {
        const int place = choice(option->choices, text);
        if (place < 0)
            return sg_fail(err, SG_EARG, "%s: %s is \"%s\", wanted one of %s", what, option->name, text,
                           option->choices);
        *value = place;
        return SG_OK;
    }
    if (option->kind == SG_OPTION_FLAG) {
        const bool yes = !strcmp(text, "yes");
        if (!yes && strcmp(text, "no") != 0)
            return sg_fail(err, SG_EARG, "%s: %s is \"%s\", wanted yes or no", what, option->name, text);
        *value = yes;
        return SG_OK;
    }
    if (option->kind == SG_OPTION_TEXT || option->kind == SG_OPTION_PATH) {
        *value = 0;
        return SG_OK;
    }
    char *end = NULL;
    const double x = strtod(text, &end);
    if (end == text || *end)
        return sg_fail(err, SG_EARG, "%s: %s is \"%s\", wanted a number", what, option->name, text);
    if (option->kind == SG_OPTION_WHOLE && x != floor(x))
        return sg_fail(err, SG_EARG, "%s: %s is \"%s\", wanted a whole number", what, option->name, text);
    if (!(x >= option->low && x <= option->high))
        return sg_fail(err, SG_EARG, "%s: %s is %s, wanted %g to %g", what, option->name, text, option->low,
                       option->high);
    *value = x;
    return SG_OK;
}

sg_status sg_options_parse(double *value, const char *what, int n_options, const sg_option *options, int n_settings,
                           const sg_setting *settings, sg_error *err)
{
    for (int i = 0; i < n_options; i++)
        SG_TRY(parse(&value[i], what, &options[i], options[i].standard, err));
    for (int i = 0; i < n_settings; i++) {
        const int at = find(n_options, options, settings[i].name);
        if (at < 0)
            return unknown(what, n_options, options, settings[i].name, err);
        SG_TRY(parse(&value[at], what, &options[at], settings[i].value, err));
    }
    return SG_OK;
}

const char *sg_option_text(const sg_option *option, int n_settings, const sg_setting *settings)
{
    for (int i = n_settings - 1; i >= 0; i--)
        if (!strcmp(settings[i].name, option->name))
            return settings[i].value;
    return option->standard;
}
