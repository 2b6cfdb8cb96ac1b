/* sightglass NAME [ACTION]: any method of methods.def. All that a method's command can be asked is read off its tables.
 */
#include "cmd_method.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "asked.h"
#include "commit.h"
#include "sightglass/method.h"

typedef struct request {
    const sg_method *method;
    const char **inputs;
    sg_setting *settings;
    int n_inputs, n_settings;
    long long seed, threads;
    const char *out, *html;
    bool json;
} request;

/* ---- help ---- */

static void usage_of(FILE *to, const char *lead, const sg_method *m)
{
    fprintf(to, "%ssightglass %s%s%s", lead, m->name, m->action ? " " : "", m->action ? m->action : "");
    for (int i = 0; i < m->n_inputs; i++) {
        const sg_method_input *in = &m->inputs[i];
        fprintf(to, in->least ? " %s" : " [%s", in->name);
        fputs(in->most > 1 ? " ..." : "", to);
        fputs(in->least ? "" : "]", to);
    }
    fprintf(to, " [options]\n");
}

/* Words of a text in lines of 100, each behind `indent` spaces. */
static void wrapped(FILE *to, int indent, const char *text)
{
    int at = 0;
    while (*(text += strspn(text, " "))) {
        const int n = (int)strcspn(text, " ");
        if (at && at + 1 + n > 100 - indent) {
            fputc('\n', to);
            at = 0;
        }
        fprintf(to, "%*s%.*s", at ? 1 : indent, "", n, text);
        at += n + (at > 0);
        text += n;
    }
    fputc('\n', to);
}

static void option_help(FILE *to, const sg_option *o)
{
    char left[120];
    const char *value = o->kind == SG_OPTION_FLAG     ? ""
                        : o->kind == SG_OPTION_CHOICE ? " K"
                        : o->kind == SG_OPTION_WHOLE  ? " N"
                        : o->kind == SG_OPTION_REAL   ? " X"
                        : o->kind == SG_OPTION_PATH   ? " PATH"
                                                      : " T";
    snprintf(left, sizeof left, "--%s%s", o->name, value);
    fprintf(to, "  %-18s %s", left, o->help);
    if (o->kind == SG_OPTION_CHOICE) {
        fputs(": ", to);
        for (const char *c = o->choices; *c; c++)
            if (*c == '|')
                fputs(", ", to);
            else
                fputc(*c, to);
    }
    if (*o->standard && o->kind != SG_OPTION_FLAG)
        fprintf(to, " (%s)", o->standard);
    fputc('\n', to);
}

static void help(FILE *to, const sg_method *m)
{
    usage_of(to, "usage: ", m);
    fputc('\n', to);
    wrapped(to, 0, m->about);
    fputc('\n', to);
    for (int i = 0; i < m->n_inputs; i++)
        fprintf(to, "  %-18s %s\n", m->inputs[i].name, m->inputs[i].help);
    for (int i = 0; i < m->n_options; i++)
        option_help(to, &m->options[i]);
    if (m->artefact)
        fprintf(to, "  %-18s %s\n", "-o, --out PATH", m->artefact);
    fprintf(to, "  --seed N           of everything that is drawn (0)\n"
                "  --threads N        that are computed with\n"
                "  --html FILE        the result as one page\n"
                "  --json             the result for machines\n");
}

static void help_all(FILE *to, const char *name)
{
    const char *lead = "usage: ";
    for (int i = 0; i < sg_method_count(); i++)
        if (strcmp(sg_method_at(i)->name, name) == 0) {
            usage_of(to, lead, sg_method_at(i));
            lead = "       ";
        }
    fputc('\n', to);
    for (int i = 0; i < sg_method_count(); i++)
        if (strcmp(sg_method_at(i)->name, name) == 0)
            fprintf(to, "  %-12s %s\n", sg_method_at(i)->action, sg_method_at(i)->help);
    fprintf(to, "\nsightglass %s ACTION --help tells the options of an action.\n", name);
}

/* ---- what was typed ---- */

static const sg_option *option_of(const sg_method *m, const char *name, size_t bytes)
{
    for (int i = 0; i < m->n_options; i++)
        if (strlen(m->options[i].name) == bytes && strncmp(m->options[i].name, name, bytes) == 0)
            return &m->options[i];
    return NULL;
}

/* The value behind --name=value or in the next word; NULL, said on stderr, where there is none. */
static const char *value_of(const request *r, const char *word, const char *equals, int argc, char **argv, int *i)
{
    if (equals)
        return equals + 1;
    if (*i + 1 < argc)
        return argv[++*i];
    cli_usage(r->method->name, "%.40s wants a value", word);
    return NULL;
}

/* -1: go on; else the exit status. */
static int common(request *r, const char *name, size_t bytes, const char *value)
{
    sg_error err = {SG_OK, ""};
    sg_status status = SG_OK;
    if (bytes == 4 && strncmp(name, "seed", 4) == 0)
        status = cli_whole("--seed", value, 0, INT64_MAX, &r->seed, &err);
    else if (bytes == 7 && strncmp(name, "threads", 7) == 0)
        status = cli_whole("--threads", value, 1, 1024, &r->threads, &err);
    else if (bytes == 4 && strncmp(name, "html", 4) == 0)
        r->html = value;
    else
        r->out = value;
    return status == SG_OK ? -1 : cli_fail(&err);
}

static bool is_common(const sg_method *m, const char *name, size_t bytes)
{
    static const char *const names[] = {"seed", "threads", "html", "out"};
    for (size_t i = 0; i < SG_COUNT_OF(names) - (m->artefact == NULL); i++)
        if (strlen(names[i]) == bytes && strncmp(names[i], name, bytes) == 0)
            return true;
    return false;
}

static int unknown(const request *r, const char *word)
{
    static const char *const names[] = {"seed", "threads", "html", "json", "out"};
    const char *nearest = names[0];
    for (size_t i = 1; i < SG_COUNT_OF(names); i++)
        if (sg_edit_distance(word + 2, names[i]) < sg_edit_distance(word + 2, nearest))
            nearest = names[i];
    for (int i = 0; i < r->method->n_options; i++)
        if (sg_edit_distance(word + 2, r->method->options[i].name) < sg_edit_distance(word + 2, nearest))
            nearest = r->method->options[i].name;
    return cli_usage(r->method->name, "has no option \"%.60s\"; the nearest is --%s", word, nearest);
}

/* -1: go on; else the exit status. */
static int read_words(request *r, int argc, char **argv)
{
    bool only_inputs = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        if (only_inputs || word[0] != '-' || !word[1]) {
            r->inputs[r->n_inputs++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_inputs = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            help(stdout, r->method);
            return 0;
        }
        if (strcmp(word, "--json") == 0) {
            r->json = true;
            continue;
        }
        if (strcmp(word, "-o") == 0 && r->method->artefact) {
            if (!(r->out = value_of(r, word, NULL, argc, argv, &i)))
                return EXIT_USAGE;
            continue;
        }
        if (strncmp(word, "--", 2) != 0)
            return unknown(r, word);
        const size_t bytes = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
        const sg_option *o = option_of(r->method, word + 2, bytes);
        if (!o && !is_common(r->method, word + 2, bytes))
            return unknown(r, word);
        const char *value =
            o && o->kind == SG_OPTION_FLAG && !equals ? "yes" : value_of(r, word, equals, argc, argv, &i);
        if (!value)
            return EXIT_USAGE;
        if (o) {
            r->settings[r->n_settings++] = (sg_setting){o->name, value};
            continue;
        }
        const int code = common(r, word + 2, bytes, value);
        if (code >= 0)
            return code;
    }
    return -1;
}

/* ---- running it ---- */

static void show(void *context, double done, const char *part)
{
    asked_show(context, part, done);
}

static int finish(const request *r, const sg_result *result, sg_error *err)
{
    if (r->html && sg_result_save_html(result, r->html, err) != SG_OK)
        return cli_fail(err);
    const sg_status status = r->json ? sg_result_write_json(result, stdout, err)
                                     : sg_result_write_text(result, stdout, cli_colours().bold[0] != 0, err);
    return status == SG_OK ? 0 : cli_fail(err);
}

static int run(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_result *result = NULL;
    asked_progress shown = {0};
    sg_method_ask ask = sg_method_ask_defaults();

    if (sg_writer_check(r->html, &err) != SG_OK)
        return cli_fail(&err);
    ask.n_inputs = r->n_inputs;
    ask.inputs = r->inputs;
    ask.n_settings = r->n_settings;
    ask.settings = r->settings;
    ask.seed = (uint64_t)r->seed;
    ask.out = r->out;
    ask.build = "0.1.0 (" SG_COMMIT ")";
    if (r->threads)
        ask.exec.n_threads = (int)r->threads;
    ask.cancel = &asked_stop;
    ask.progress = isatty(STDERR_FILENO) ? show : NULL;
    ask.context = &shown;
    asked_catch();
    const sg_status status = sg_method_do(&result, r->method, &ask, &err);
    if (ask.progress)
        asked_hide(&shown);
    const int code = status == SG_OK ? finish(r, result, &err) : asked_fail(&err);
    sg_result_free(result);
    return code;
}

static int run_words(const sg_method *m, int argc, char **argv)
{
    request r = {.method = m};
    r.inputs = calloc((size_t)argc, sizeof *r.inputs);
    r.settings = calloc((size_t)argc, sizeof *r.settings);
    int code = r.inputs && r.settings ? read_words(&r, argc, argv)
                                      : (fprintf(stderr, "sightglass: out of memory\n"), EXIT_FAILED);
    if (code < 0)
        code = run(&r);
    free(r.inputs);
    free(r.settings);
    return code;
}

int cmd_method(const char *name, int argc, char **argv)
{
    const sg_method *m = sg_method_find(name, NULL);
    if (!m->action)
        return run_words(m, argc, argv);
    if (argc < 2) {
        help_all(stderr, name);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help_all(stdout, name);
        return 0;
    }
    const sg_method *action = sg_method_find(name, argv[1]), *nearest = m;
    if (action)
        return run_words(action, argc - 1, argv + 1);
    for (int i = 0; i < sg_method_count(); i++) {
        const sg_method *other = sg_method_at(i);
        if (strcmp(other->name, name) == 0 &&
            sg_edit_distance(argv[1], other->action) < sg_edit_distance(argv[1], nearest->action))
            nearest = other;
    }
    return cli_usage(name, "has no action \"%.60s\"; the nearest is %s", argv[1], nearest->action);
}
