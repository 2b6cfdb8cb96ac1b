/* What commands share that ask a model about a world. */
#include "asked.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

enum { OPTION_HELP = 'h', OPTION_WORLD = 'w', FIRST_OWN = 256, FIRST_OF_WORLD = 512 };

/* The options of the world count among the command's, so the world has to be known first. */
static sg_status find_world(asked_world *w, int argc, char **argv, sg_error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *name = strncmp(argv[i], "--world=", 8) == 0              ? argv[i] + 8
                           : strcmp(argv[i], "--world") == 0 && i + 1 < argc ? argv[i + 1]
                                                                             : NULL;
        if (name && !(w->world = sg_world_find(name, err)))
            return err->status = SG_EARG; /* a word of the user's, not a file */
    }
    return SG_OK;
}

static sg_status take(const asked_option *o, void *settings, sg_error *err)
{
    void *at = (char *)settings + o->place;
    char name[48];
    snprintf(name, sizeof name, "--%s", o->name);
    switch (o->kind) {
    case ASKED_FLAG:
        *(bool *)at = true;
        return SG_OK;
    case ASKED_WORD:
        *(const char **)at = optarg;
        return SG_OK;
    case ASKED_WHOLE:
        return cli_whole(name, optarg, (long long)o->least, (long long)o->most, at, err);
    default:
        return cli_real(name, optarg, o->least, o->most, at, err);
    }
}

int asked_read(int argc, char **argv, const char *command, void (*help)(FILE *to), int n, const asked_option *options,
               void *settings, asked_world *world, const char **model)
{
    sg_error err = {SG_OK, ""};
    sg_status status = find_world(world, argc, argv, &err);
    if (status != SG_OK)
        return cli_fail(&err);
    const int of_world = world->world ? world->world->n_options : 0;
    struct option *all = calloc((size_t)(n + of_world + 3), sizeof *all);
    world->settings = calloc((size_t)(argc + of_world) + 1, sizeof *world->settings);
    int code = -1, k = 0;
    if (!all || !world->settings) {
        free(all);
        fprintf(stderr, "sightglass: out of memory\n");
        return EXIT_FAILED;
    }
    all[k++] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    all[k++] = (struct option){"world", required_argument, NULL, OPTION_WORLD};
    for (int i = 0; i < n; i++)
        all[k++] = (struct option){options[i].name, options[i].kind == ASKED_FLAG ? no_argument : required_argument,
                                   NULL, FIRST_OWN + i};
    for (int i = 0; i < of_world; i++)
        all[k++] = (struct option){world->world->options[i].name, required_argument, NULL, FIRST_OF_WORLD + i};
    for (int o; status == SG_OK && code < 0 && (o = getopt_long(argc, argv, "h", all, NULL)) != -1;) {
        if (o == OPTION_HELP)
            help(stdout), code = 0;
        else if (o >= FIRST_OF_WORLD)
            world->settings[world->n_settings++] = (sg_setting){world->world->options[o - FIRST_OF_WORLD].name, optarg};
        else if (o >= FIRST_OWN)
            status = take(&options[o - FIRST_OWN], settings, &err);
        else if (o != OPTION_WORLD)
            code = EXIT_USAGE;
    }
    free(all);
    if (status != SG_OK)
        return cli_fail(&err);
    if (code >= 0)
        return code;
    if (optind + 1 != argc)
        return cli_usage(command, "wanted one MODEL, got %d", argc - optind);
    *model = argv[optind];
    return -1;
}

void asked_world_free(asked_world *w)
{
    free(w->settings);
    *w = (asked_world){0};
}

/* Whether the world so set has the model's vocabulary and fits its context. */
static bool fits(const asked_world *w, const sg_model *m)
{
    double value[16];
    sg_dim vocabulary, time;
    const sg_model_info *info = sg_model_get_info(m);
    return w->world->n_options <= 16 &&
           sg_options_parse(value, w->world->name, w->world->n_options, w->world->options, w->n_settings, w->settings,
                            NULL) == SG_OK &&
           w->world->sequence(&vocabulary, &time, value, NULL) == SG_OK && vocabulary == info->n_vocab &&
           time <= info->n_context;
}

sg_status asked_fit(asked_world *w, const sg_model *m, sg_error *err)
{
    static const char *const sizes[] = {"4", "6", "8"};
    if (!w->world->sequence)
        return sg_fail(err, SG_EARG, "%s is no world of sequences, which a model could read", w->world->name);
    if (fits(w, m))
        return SG_OK;
    for (int i = 0; i < w->world->n_options; i++) {
        bool given = false;
        for (int k = 0; k < w->n_settings; k++)
            given = given || strcmp(w->settings[k].name, w->world->options[i].name) == 0;
        for (size_t k = 0; !given && w->world->options[i].kind == SG_OPTION_CHOICE && k < SG_COUNT_OF(sizes); k++) {
            w->settings[w->n_settings++] = (sg_setting){w->world->options[i].name, sizes[k]};
            if (fits(w, m))
                return SG_OK;
            w->n_settings--;
        }
    }
    return sg_fail(err, SG_EARG, "%s has %" PRId64 " tokens and a context of %" PRId64 ", which %s as set has not",
                   sg_model_get_info(m)->path, sg_model_get_info(m)->n_vocab, sg_model_get_info(m)->n_context,
                   w->world->name);
}

void asked_list_worlds(FILE *to)
{
    for (int i = 0; i < sg_world_count(); i++) {
        const sg_world *w = sg_world_at(i);
        if (!w->sequence)
            continue;
        fprintf(to, "\nworld %s: %s\n", w->name, w->help);
        for (int k = 0; k < w->n_options; k++)
            fprintf(to, "  --%-16s %s (as the model has it, else %s)\n", w->options[k].name, w->options[k].help,
                    w->options[k].standard);
        for (int k = 0; k < w->n_fields; k++)
            fprintf(to, "    %-16s %s\n", w->fields[k].name, w->fields[k].help);
    }
}

sg_status asked_probe_kind(const char *name, sg_probe_kind *kind, sg_error *err)
{
    for (int k = 0; k < SG_N_PROBE_KINDS; k++)
        if (strcmp(name, sg_probe_kind_name((sg_probe_kind)k)) == 0) {
            *kind = (sg_probe_kind)k;
            return SG_OK;
        }
    return sg_fail(err, SG_EARG, "--kind is \"%.20s\", wanted ridge, softmax, mean or mlp", name);
}

/* ---- progress ---- */

volatile sig_atomic_t asked_stop;

static void on_interrupt(int number)
{
    (void)number;
    asked_stop = 1;
}

void asked_catch(void)
{
    cli_catch(on_interrupt);
}

int asked_fail(const sg_error *err)
{
    const int code = cli_fail(err);
    return err->status == SG_ECANCELLED ? 130 : code;
}

void asked_show(void *context, const char *part, double done)
{
    asked_progress *p = context;
    const double now = sg_now();
    if (strncmp(part, p->part, sizeof p->part - 1) != 0) {
        snprintf(p->part, sizeof p->part, "%s", part);
        p->began = now;
    } else if (now - p->last < 0.1 && done < 1) {
        return;
    }
    p->last = now;
    const int full = (int)(done * 30);
    fprintf(stderr, "\r%-20.20s [%.*s%*s] %3.0f %%", part, full, "##############################", 30 - full, "",
            100 * done);
    if (done > 0)
        fprintf(stderr, "  %4.0f s left", (now - p->began) * (1 - done) / done);
    fputs(" \033[K", stderr);
}

void asked_hide(const asked_progress *p)
{
    if (p->last > 0)
        fputs("\r\033[K", stderr);
}
