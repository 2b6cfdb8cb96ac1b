/* sightglass report: the reports of studies as one page. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "sightglass/report_book.h"

static const char help[] = "usage: sightglass report DIR|FILE.json ... [--html FILE] [--json]\n\n"
                           "Reads the reports that sightglass study run --json wrote, of a folder all, and writes them "
                           "as one page that asks for\n"
                           "nothing else: what was asked, each claim beside its control, every figure.\n\n"
                           "  --html FILE   the page (reports.html)\n"
                           "  --json        what was read, for machines: studies with the verdicts of their claims\n";

static int is_report(const struct dirent *e)
{
    const size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".json") == 0;
}

static sg_status read_folder(sg_report_book *b, const char *dir, sg_error *err)
{
    struct dirent **names;
    sg_status status = SG_OK;
    const int n = scandir(dir, &names, is_report, alphasort);
    if (n < 0)
        return sg_fail(err, SG_EIO, "%s: %s", dir, strerror(errno));
    if (n == 0)
        status = sg_fail(err, SG_ENOTFOUND, "%s: no reports in it, wanted files that end in .json", dir);
    for (int i = 0; i < n; i++) {
        char path[4400];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        free(names[i]);
        if (status == SG_OK)
            status = sg_report_book_read(b, path, err);
    }
    free(names);
    return status;
}

static int as_json(const sg_report_book *b)
{
    json_t *studies = json_array();
    for (int i = 0; i < sg_report_book_count(b); i++) {
        json_t *claims = json_array();
        for (int k = 0; k < sg_report_book_n_claims(b, i); k++)
            json_array_append_new(claims, json_pack("{s:s, s:b}", "id", sg_report_book_claim(b, i, k), "holds",
                                                    sg_report_book_holds(b, i, k)));
        json_array_append_new(studies, json_pack("{s:s, s:o}", "study", sg_report_book_study(b, i), "claims", claims));
    }
    return cli_print_json(json_pack("{s:o}", "studies", studies));
}

static int write_page(const sg_report_book *b, const char *html, bool json, sg_error *err)
{
    if (sg_report_book_save_html(b, html, err) != SG_OK)
        return cli_fail(err);
    if (json)
        return as_json(b);
    for (int i = 0; i < sg_report_book_count(b); i++) {
        int good = 0;
        for (int k = 0; k < sg_report_book_n_claims(b, i); k++)
            good += sg_report_book_holds(b, i, k);
        printf("%-30s %d of %d claims hold\n", sg_report_book_study(b, i), good, sg_report_book_n_claims(b, i));
    }
    printf("wrote %s\n", html);
    return 0;
}

int cmd_report(int argc, char **argv)
{
    static const struct option options[] = {{"html", required_argument, NULL, 'H'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *html = "reports.html";
    bool json = false;
    sg_error err = {SG_OK, ""};
    sg_report_book *b = NULL;

    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'H':
            html = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return cli_usage("report", "wanted a folder of reports, or their files");
    sg_status status = sg_writer_check(html, &err);
    if (status == SG_OK)
        status = sg_report_book_new(&b, &err);
    for (int i = optind; i < argc && status == SG_OK; i++) {
        struct stat st;
        status = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? read_folder(b, argv[i], &err)
                                                                : sg_report_book_read(b, argv[i], &err);
    }
    const int code = status == SG_OK ? write_page(b, html, json, &err) : cli_fail(&err);
    sg_report_book_free(b);
    return code;
}
