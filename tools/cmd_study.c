/* sightglass study: one paper's question each. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "commit.h"
#include "study_all.h"

static const char help[] =
    "usage: sightglass study list\n"
    "       sightglass study run NAME [--small | --full] [--seed N] [--model DIR] [--json FILE]\n"
    "                             [--html FILE]\n"
    "       sightglass study run --all [--small | --full] [--seed N] [-o DIR]\n\n"
    "Asks one paper's question again and reports each claim beside its control.\n"
    "The exit status is 0 only if every claim and every control holds; with --all, if none fails but those that the "
    "full\n"
    "report which comes with the program says not to reproduce either, or that are known to at --small (with the reason).\n\n"
    "  --small       seconds (the default)\n"
    "  --full        what the documentation quotes\n"
    "  --seed N      of everything that is drawn (0)\n"
    "  --model DIR   of studies that look into a trained model: another one than theirs\n"
    "  --json FILE   the report for machines\n"
    "  --html FILE   the report as one page\n"
    "  --all         every study, one after another, a line each\n"
    "  -o, --out DIR with --all: NAME.json of each; sightglass report DIR makes a page of them\n";

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* One line that is written over, on a terminal only. */
static void show(void *context, const sg_study_progress *at)
{
    double *last = context;
    const double now = sg_now();

    if (now - *last < 0.1 && at->done < 1)
        return;
    *last = now;
    const int full = (int)(at->done * 30);
    fprintf(stderr, "\r%-20.20s [%.*s%*s] %3.0f %%  %4.0f s left ", at->part, full, "##############################",
            30 - full, "", 100 * at->done, at->seconds_left);
    if (at->loss == at->loss)
        fprintf(stderr, " loss %.4g ", at->loss);
    fputs("\033[K", stderr);
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {
        {"small", no_argument, NULL, 's'},      {"full", no_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 'n'}, {"model", required_argument, NULL, 'm'},
        {"json", required_argument, NULL, 'j'}, {"html", required_argument, NULL, 'H'},
        {"all", no_argument, NULL, 'a'},        {"out", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},       {0}};
    const char *out = NULL;
    bool all = false;
    sg_study_opts opts = sg_study_defaults();
    opts.commit = SG_COMMIT;
    sg_error err = {SG_OK, ""};
    sg_report *report = NULL;
    double last = 0;
    long long seed = 0;

    for (int o; (o = getopt_long(argc, argv, "ho:", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            opts.full = false;
            break;
        case 'f':
            opts.full = true;
            break;
        case 'n':
            if (cli_whole("--seed", optarg, 0, INT64_MAX, &seed, &err) != SG_OK)
                return cli_fail(&err);
            break;
        case 'm':
            opts.model = optarg;
            break;
        case 'j':
            opts.json = optarg;
            break;
        case 'H':
            opts.html = optarg;
            break;
        case 'a':
            all = true;
            break;
        case 'o':
            out = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (all && (optind != argc || opts.json || opts.html || opts.model))
        return cli_usage("study", "--all takes neither a NAME nor --json, --html or --model; -o DIR gets the reports");
    if (!all && out)
        return cli_usage("study", "-o goes with --all; --json FILE gets one study's report");
    if (!all && optind + 1 != argc)
        return cli_usage("study", "wanted one NAME after run, got %d", argc - optind);
    const sg_study *study = all ? NULL : sg_study_find(argv[optind]);
    if (!study && !all) {
        const char *nearest = sg_study_at(0)->name;
        for (int i = 1; i < sg_study_count(); i++)
            if (sg_edit_distance(argv[optind], sg_study_at(i)->name) < sg_edit_distance(argv[optind], nearest))
                nearest = sg_study_at(i)->name;
        return cli_usage("study", "no study is called \"%.60s\"; the nearest is %s", argv[optind], nearest);
    }
    if (sg_writer_check(opts.json, &err) != SG_OK || sg_writer_check(opts.html, &err) != SG_OK)
        return cli_fail(&err);
    cli_catch(on_interrupt);
    opts.seed = (uint64_t)seed;
    opts.cancel = &stopped;
    opts.context = &last;
    opts.progress = isatty(STDERR_FILENO) ? show : NULL;
    if (all)
        return study_run_all(&opts, out);
    const sg_status status = sg_study_run(&report, study, &opts, &err);
    if (opts.progress)
        fprintf(stderr, "\r\033[K");
    if (status != SG_OK)
        return status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
    int code = 0;
    if (sg_report_write_text(report, stdout, cli_colours().bold[0] != 0, &err) != SG_OK)
        code = cli_fail(&err);
    else
        code = sg_report_holds(report) ? 0 : EXIT_FAILED;
    sg_report_free(report);
    return code;
}

int cmd_study(int argc, char **argv)
{
    static char title[] = "sightglass study run";

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < sg_study_count(); i++)
            printf("%-24s %s\n", sg_study_at(i)->name, sg_study_at(i)->question);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "run") == 0) {
        argv[1] = title;
        return run(argc - 1, argv + 1);
    }
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    return cli_usage("study", "wanted list or run NAME");
}
