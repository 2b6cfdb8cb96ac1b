/* The state and its address: one table of names says how each value is read and written, in the order in which it is
 * written. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "play/play_internal.h"

typedef enum kind { CHOICE, NUMBER, COUNT, TEXT, SHAPE, YES } kind;

typedef struct field {
    const char *name;
    kind kind;
    size_t at;
    const char *const *words; /* of a choice, up to NULL */
    int first;                /* what the first word means */
    bool ours;                /* not of the original: written only where it is not the default */
} field;

static const char *const activations[] = {"relu", "tanh", "sigmoid", "linear", NULL};
static const char *const penalties[] = {"none", "L1", "L2", NULL};
static const char *const datasets[] = {"circle", "xor", "gauss", "spiral", NULL};
static const char *const reg_datasets[] = {"reg-plane", "reg-gauss", NULL};
static const char *const problems[] = {"classification", "regression", NULL};
static const char *const optimizers[] = {"sgd", "momentum", "adam", NULL};

#define AT(member)    offsetof(sg_play_state, member)
#define INPUT(number) (AT(inputs) + (number) * sizeof(bool))
static const field fields[] = {
    {"activation", CHOICE, AT(activation), activations, 0, false},
    {"regularization", CHOICE, AT(regularization), penalties, 0, false},
    {"batchSize", COUNT, AT(batch_size), NULL, 0, false},
    {"dataset", CHOICE, AT(dataset), datasets, SG_PLAY_CIRCLE, false},
    {"regDataset", CHOICE, AT(reg_dataset), reg_datasets, SG_PLAY_REG_PLANE, false},
    {"learningRate", NUMBER, AT(learning_rate), NULL, 0, false},
    {"regularizationRate", NUMBER, AT(regularization_rate), NULL, 0, false},
    {"noise", NUMBER, AT(noise), NULL, 0, false},
    {"networkShape", SHAPE, AT(shape), NULL, 0, false},
    {"seed", TEXT, AT(seed), NULL, 0, false},
    {"showTestData", YES, AT(show_test_data), NULL, 0, false},
    {"discretize", YES, AT(discretize), NULL, 0, false},
    {"percTrainData", NUMBER, AT(train_percent), NULL, 0, false},
    {"x", YES, INPUT(SG_PLAY_X), NULL, 0, false},
    {"y", YES, INPUT(SG_PLAY_Y), NULL, 0, false},
    {"xTimesY", YES, INPUT(SG_PLAY_XY), NULL, 0, false},
    {"xSquared", YES, INPUT(SG_PLAY_X2), NULL, 0, false},
    {"ySquared", YES, INPUT(SG_PLAY_Y2), NULL, 0, false},
    {"cosX", YES, AT(cos_x), NULL, 0, false},
    {"sinX", YES, INPUT(SG_PLAY_SIN_X), NULL, 0, false},
    {"cosY", YES, AT(cos_y), NULL, 0, false},
    {"sinY", YES, INPUT(SG_PLAY_SIN_Y), NULL, 0, false},
    {"collectStats", YES, AT(collect_stats), NULL, 0, false},
    {"tutorial", TEXT, AT(tutorial), NULL, 0, false},
    {"problem", CHOICE, AT(problem), problems, 0, false},
    {"initZero", YES, AT(init_zero), NULL, 0, false},
    {"hideText", YES, AT(hide_text), NULL, 0, false},
    {"optimizer", CHOICE, AT(optimizer), optimizers, 0, true},
    {"momentum", NUMBER, AT(momentum), NULL, 0, true},
    {"quick", YES, AT(quick), NULL, 0, true},
};

enum { TEXT_BYTES = 256 }; /* of both texts in the state */

static void *place(sg_play_state *s, const field *f)
{
    return (char *)s + f->at;
}

static const void *place_of(const sg_play_state *s, const field *f)
{
    return (const char *)s + f->at;
}

sg_play_state sg_play_state_defaults(void)
{
    return (sg_play_state){.activation = SG_PLAY_TANH,
                           .batch_size = 10,
                           .dataset = SG_PLAY_CIRCLE,
                           .reg_dataset = SG_PLAY_REG_PLANE,
                           .learning_rate = 0.03,
                           .n_layers = 2,
                           .shape = {4, 2},
                           .train_percent = 50,
                           .inputs = {[SG_PLAY_X] = true, [SG_PLAY_Y] = true},
                           .momentum = 0.9};
}

void sg_play_state_seed(sg_play_state *s, uint64_t bits)
{
    snprintf(s->seed, sizeof s->seed, "0.%05u", (unsigned)(bits % 100000));
}

/* ---- numbers as JavaScript reads and writes them ---- */

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Unary plus, where it gives a finite number: decimal digits, or 0x, 0o, 0b. */
static bool read_number(const char *text, size_t n, double *out)
{
    char copy[64];
    while (n && blank(*text))
        text++, n--;
    while (n && blank(text[n - 1]))
        n--;
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    char *end = NULL;
    if (copy[0] == '0' && n > 2 && strchr("xXoObB", copy[1])) {
        const int base = copy[1] == 'x' || copy[1] == 'X' ? 16 : copy[1] == 'o' || copy[1] == 'O' ? 8 : 2;
        if (copy[2] == '-' || copy[2] == '+' || blank(copy[2]) || (base == 16 && strchr("xX", copy[3]) && copy[3]))
            return false;
        *out = (double)strtoull(copy + 2, &end, base);
        return *end == '\0';
    }
    if (strspn(copy, "+-.0123456789eE") != n) /* no "nan", "inf" or hexadecimal floats */
        return false;
    *out = strtod(copy, &end);
    return *end == '\0' && isfinite(*out);
}

/* The fewest digits that read back as x, laid out as JavaScript does. */
void play_write_number(char buf[40], double x)
{
    char digits[32];
    int n = 0;
    if (x == 0 || !isfinite(x)) {
        snprintf(buf, 40, "%s", x == 0 ? "0" : isnan(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity");
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, fabs(x));
        if (strtod(digits, NULL) == fabs(x))
            break;
    }
    const int exponent = atoi(strchr(digits, 'e') + 1);
    for (const char *c = digits; *c != 'e'; c++)
        if (*c != '.')
            digits[n++] = *c;
    char *to = buf;
    if (x < 0)
        *to++ = '-';
    if (exponent >= 21 || exponent < -6) {
        snprintf(to, 32, "%c%s%.*se%+d", digits[0], n > 1 ? "." : "", n - 1, digits + 1, exponent);
    } else if (exponent < 0) {
        snprintf(to, 32, "0.%.*s%.*s", -exponent - 1, "000000", n, digits);
    } else {
        for (int i = 0; i < SG_MAX(n, exponent + 1); i++) {
            if (i == exponent + 1)
                *to++ = '.';
            *to++ = i < n ? digits[i] : '0';
        }
        *to = '\0';
    }
}

/* ---- reading ---- */

static int whole_within(double x, int least, int most)
{
    return x < least ? least : x > most ? most : (int)x;
}

static bool read_shape(sg_play_state *s, const char *text, size_t n)
{
    int shape[SG_PLAY_LAYERS], n_layers = 0;
    size_t at = 0;
    while (at < n && blank(text[at]))
        at++;
    if (at < n)
        for (at = 0; at <= n && n_layers < SG_PLAY_LAYERS;) {
            const char *comma = at < n ? memchr(text + at, ',', n - at) : NULL;
            const size_t length = comma ? (size_t)(comma - text) - at : n - at;
            double units = 0;
            if (!read_number(text + at, length, &units))
                return false;
            shape[n_layers++] = whole_within(ceil(units), 1, SG_PLAY_UNITS);
            at += length + 1;
        }
    s->n_layers = n_layers;
    memcpy(s->shape, shape, (size_t)n_layers * sizeof *shape);
    return true;
}

static bool read_field(sg_play_state *s, const field *f, const char *text, size_t n)
{
    double x = 0;
    switch (f->kind) {
    case CHOICE:
        for (int i = 0; f->words[i]; i++)
            if (strlen(f->words[i]) == n && memcmp(f->words[i], text, n) == 0) {
                *(int *)place(s, f) = f->first + i;
                return true;
            }
        return false;
    case NUMBER:
        return read_number(text, n, &x) && (*(double *)place(s, f) = x, true);
    case COUNT:
        return read_number(text, n, &x) && (*(int *)place(s, f) = whole_within(floor(x), 1, 1000000), true);
    case TEXT:
        if (n >= TEXT_BYTES)
            return false;
        memcpy(place(s, f), text, n);
        ((char *)place(s, f))[n] = '\0';
        return true;
    case SHAPE:
        return read_shape(s, text, n);
    case YES:
        *(bool *)place(s, f) = !(n == 5 && memcmp(text, "false", 5) == 0);
        return true;
    }
    return false;
}

/* Values outside their range become what the original makes of them. */
static void settle(sg_play_state *s)
{
    s->noise = s->noise < 0 ? 0 : s->noise > 80 ? 50 : s->noise;
    s->train_percent = s->train_percent < 0 ? 0 : s->train_percent > 100 ? 100 : s->train_percent;
    s->momentum = s->momentum < 0 ? 0 : s->momentum > 0.999 ? 0.999 : s->momentum;
}

static const field *find_field(const char *name, size_t n)
{
    for (size_t i = 0; i < SG_COUNT_OF(fields); i++)
        if (strlen(fields[i].name) == n && memcmp(fields[i].name, name, n) == 0)
            return &fields[i];
    return NULL;
}

static bool set_hide(sg_play_state *s, const char *name, size_t n, bool hidden)
{
    if (n == 0 || n >= sizeof s->hides->name)
        return false;
    int i = 0;
    while (i < s->n_hides && !(strlen(s->hides[i].name) == n && memcmp(s->hides[i].name, name, n) == 0))
        i++;
    if (i == SG_PLAY_HIDES)
        return false;
    if (i == s->n_hides) {
        memcpy(s->hides[i].name, name, n);
        s->hides[i].name[n] = '\0';
        s->n_hides++;
    }
    s->hides[i].hidden = hidden;
    return true;
}

static bool all_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!blank(text[i]))
            return false;
    return true;
}

static bool set_value(sg_play_state *s, const char *name, size_t n_name, const char *text, size_t n)
{
    static const char hide[] = "_hide";
    const size_t n_hide = sizeof hide - 1;
    if (n_name > n_hide && memcmp(name + n_name - n_hide, hide, n_hide) == 0)
        return set_hide(s, name, n_name - n_hide, n == 4 && memcmp(text, "true", 4) == 0);
    const field *f = find_field(name, n_name);
    if (!f || (f->kind != SHAPE && all_blank(text, n)))
        return false;
    return read_field(s, f, text, n);
}

bool sg_play_state_set(sg_play_state *s, const char *name, const char *value)
{
    const bool known = set_value(s, name, strlen(name), value, strlen(value));
    settle(s);
    return known;
}

sg_status sg_play_state_parse(sg_play_state *out, const char *address, sg_error *err)
{
    *out = sg_play_state_defaults();
    for (const char *at = address + (*address == '#'); *at;) {
        const size_t n = strcspn(at, "&"), n_name = SG_MIN(strcspn(at, "="), n);
        if (n_name < n) { /* what follows a second '=' is no part of the value */
            const char *text = at + n_name + 1;
            const size_t n_text = SG_MIN(strcspn(text, "="), n - n_name - 1);
            const field *f = find_field(at, n_name);
            if (f && f->kind == TEXT && n_text >= TEXT_BYTES)
                return sg_fail(err, SG_EARG, "%s of the address has %zu bytes, %d are the most", f->name, n_text,
                               TEXT_BYTES - 1);
            (void)set_value(out, at, n_name, text, n_text);
        }
        at += n + (at[n] == '&');
    }
    settle(out);
    return SG_OK;
}

/* ---- writing ---- */

static bool is_default(const sg_play_state *s, const field *f)
{
    const sg_play_state standard = sg_play_state_defaults();
    const size_t bytes = f->kind == NUMBER ? sizeof(double) : f->kind == YES ? sizeof(bool) : sizeof(int);
    return memcmp(place_of(s, f), place_of(&standard, f), bytes) == 0;
}

const char *sg_play_state_write(const sg_play_state *s, char buf[SG_PLAY_TEXT])
{
    char number[40];
    int n = 0;
    for (size_t i = 0; i < SG_COUNT_OF(fields); i++) {
        const field *f = &fields[i];
        const void *value = place_of(s, f);
        if ((f->ours && is_default(s, f)) || (f->kind == TEXT && !*(const char *)value))
            continue;
        n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s%s=", n ? "&" : "", f->name);
        switch (f->kind) {
        case CHOICE:
            n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s", f->words[*(const int *)value - f->first]);
            break;
        case NUMBER:
            play_write_number(number, *(const double *)value);
            n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s", number);
            break;
        case COUNT:
            n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%d", *(const int *)value);
            break;
        case TEXT:
            n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s", (const char *)value);
            break;
        case SHAPE:
            for (int l = 0; l < s->n_layers; l++)
                n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s%d", l ? "," : "", s->shape[l]);
            break;
        case YES:
            n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "%s", *(const bool *)value ? "true" : "false");
            break;
        }
    }
    for (int i = 0; i < s->n_hides; i++)
        n += snprintf(buf + n, SG_PLAY_TEXT - (size_t)n, "&%s_hide=%s", s->hides[i].name,
                      s->hides[i].hidden ? "true" : "false");
    return buf;
}
