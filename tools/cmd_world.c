/* sightglass world: data whose truth is known. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "sightglass/world.h"

static void help(FILE *to)
{
    fprintf(to, "usage: sightglass world list\n"
                "       sightglass world sample NAME [--OPTION VALUE ...] [--count N] [--seed S] [--json]\n\n"
                "Draws items of a synthetic world together with the truth behind them.\n");
    for (int w = 0; w < sg_world_count(); w++) {
        const sg_world *world = sg_world_at(w);
        fprintf(to, "\n%s: %s\n", world->name, world->help);
        for (int i = 0; i < world->n_options; i++)
            fprintf(to, "  --%-16s %s (%s)\n", world->options[i].name, world->options[i].help,
                    world->options[i].standard);
    }
}

/* Every --name value is an option of the world, but for these three. */
static int sample(int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    const sg_world *world = NULL;
    sg_setting *settings = calloc((size_t)argc + 1, sizeof *settings);
    long long count = 8, seed = 0;
    int n = 0, status = 0;
    bool json = false;

    if (!settings)
        return EXIT_FAILED;
    for (int i = 1; i < argc && status == 0; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--json") == 0) {
            json = true;
        } else if (strncmp(name, "--", 2) != 0) {
            if (world)
                status = cli_usage("world", "one NAME was wanted, \"%.40s\" is another", name);
            else if (!(world = sg_world_find(name, &err)))
                status = (cli_fail(&err), EXIT_USAGE);
        } else if (i + 1 == argc) {
            status = cli_usage("world", "%.40s wants a value", name);
        } else {
            const char *value = argv[++i];
            sg_status parsed = SG_OK;
            if (strcmp(name, "--count") == 0)
                parsed = cli_whole("--count", value, 1, 100000000, &count, &err);
            else if (strcmp(name, "--seed") == 0)
                parsed = cli_whole("--seed", value, 0, INT64_MAX, &seed, &err);
            else
                settings[n++] = (sg_setting){name + 2, value};
            if (parsed != SG_OK)
                status = cli_fail(&err);
        }
    }
    if (status == 0 && !world)
        status = cli_usage("world", "which world? `sightglass world list` names them");
    if (status == 0) {
        sg_sample *s = NULL;
        if (sg_world_sample(&s, world, n, settings, count, (uint64_t)seed, &err) != SG_OK ||
            (json ? sg_sample_write_json(s, stdout, &err) : sg_sample_write_text(s, stdout, &err)) != SG_OK)
            status = cli_fail(&err);
        sg_sample_free(s);
    }
    free(settings);
    return status;
}

int cmd_world(int argc, char **argv)
{
    static char title[] = "sightglass world sample";

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < sg_world_count(); i++)
            printf("%-16s %s\n", sg_world_at(i)->name, sg_world_at(i)->help);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "sample") == 0) {
        argv[1] = title;
        return sample(argc - 1, argv + 1);
    }
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        help(stdout);
        return 0;
    }
    return cli_usage("world", "wanted list or sample NAME");
}
