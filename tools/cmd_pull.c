/* sightglass pull: fetches a model into the cache that Hugging Face's tools keep, or into a folder. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/hub.h"

static const char help[] =
    "usage: sightglass pull REPO[:FILE] [options]\n\n"
    "Fetches a model, which other commands then open by its name: sightglass run org/name --text ...\n"
    "Only what opening takes is fetched: config, tokenizer, safetensors, or the one GGUF file; never pickles (.bin, "
    ".pt),\n"
    "which are programs, unless --include names them. What was begun goes on where it stopped; sizes and hashes are\n"
    "checked.\n\n"
    "  REPO:FILE             one file, such as org/name:name.Q4_K_M.gguf; patterns with * are understood\n"
    "  --revision R          a branch, tag or commit (main)\n"
    "  --include PATTERN     files that fit and no others; may be repeated\n"
    "  --to DIR              plain files in a folder instead of the cache\n"
    "  --json                for machines\n\n"
    "Environment: HF_ENDPOINT (https://huggingface.co), HF_TOKEN, HF_HOME or HF_HUB_CACHE (~/.cache/huggingface),\n"
    "HF_HUB_OFFLINE=1.\n";

/* ---- progress: a line on a terminal, written over ---- */

typedef struct shown {
    double began, last;
    uint64_t first; /* bytes that were there when it began */
    bool any;
} shown;

static void show(void *context, const char *file, uint64_t done, uint64_t all)
{
    shown *s = context;
    const double now = sg_now();

    if (!s->any) {
        s->any = true;
        s->began = now;
        s->first = done;
    }
    if (now - s->last < .2 && done < all)
        return;
    s->last = now;
    const double seconds = now - s->began, rate = seconds > 0 ? (double)(done - SG_MIN(done, s->first)) / seconds : 0;
    fprintf(stderr, "\r%-40.40s %5.1f %% of %.1f MB  %6.1f MB/s", file, all ? 100 * (double)done / (double)all : 100,
            (double)all / 1e6, rate / 1e6);
    if (rate > 0 && seconds > 1)
        fprintf(stderr, "  %.0f s left", (double)(all - SG_MIN(done, all)) / rate);
    fputs(" \033[K", stderr);
}

static void hide(const shown *s)
{
    if (s->last > 0)
        fputs("\r\033[K", stderr);
}

/* ---- telling ---- */

static json_t *files_json(const sg_hub_file *files, int n, bool fetched)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++) {
        json_t *one = json_pack("{s:s, s:I}", "name", files[i].name, "bytes", (json_int_t)files[i].bytes);
        if (fetched)
            json_object_set_new(one, "was_there", json_boolean(files[i].was_there));
        json_array_append_new(list, one);
    }
    return list;
}

static int as_json(const char *repo, const sg_hub_pulled *p)
{
    return cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "repo", repo, "commit", p->commit, "folder",
                                    p->folder, "model", p->model, "fetched_bytes", (json_int_t)p->fetched_bytes,
                                    "files", files_json(p->files, p->n_files, true), "left_out",
                                    files_json(p->left, p->n_left, false)));
}

static int for_people(const char *repo, const sg_hub_pulled *p, bool cached)
{
    const cli_paint c = cli_colours();
    uint64_t all = 0;
    int there = 0;

    for (int i = 0; i < p->n_files; i++) {
        all += p->files[i].bytes;
        there += p->files[i].was_there;
    }
    printf("%s%s%s at %.12s: %d file%s, %.1f MB", c.bold, repo, c.off, p->commit, p->n_files,
           p->n_files == 1 ? "" : "s", (double)all / 1e6);
    if (there == p->n_files)
        printf(", all of them there already");
    else if (there)
        printf(", %d of them there already", there);
    printf("\n  %s\n", p->model);
    if (p->n_left) {
        printf("  %sleft out: ", c.dim);
        for (int i = 0; i < SG_MIN(p->n_left, 6); i++)
            printf("%s%s", i ? ", " : "", p->left[i].name);
        if (p->n_left > 6)
            printf(" and %d more", p->n_left - 6);
        printf(" (--include fetches them)%s\n", c.off);
    }
    if (cached)
        printf("  try: sightglass inspect %s\n", repo);
    return 0;
}

static int pull(sg_hub_ask ask, bool json)
{
    sg_hub_opts opts = sg_hub_defaults();
    sg_error err = {SG_OK, ""};
    sg_hub_pulled *p = NULL;
    shown s = {0};

    opts.cancel = &asked_stop;
    if (isatty(STDERR_FILENO)) {
        opts.progress = show;
        opts.context = &s;
    }
    /* Without a connection what is there is what there is. */
    char *found = NULL;
    if (opts.offline && !ask.to && !ask.n_include && !ask.file && !ask.revision &&
        sg_hub_find(&found, ask.repo, NULL) == SG_OK) {
        const int code =
            json ? cli_print_json(json_pack("{s:s, s:s, s:b}", "repo", ask.repo, "model", found, "offline", 1))
                 : (printf("%s was pulled before (HF_HUB_OFFLINE: nothing is asked)\n  %s\n", ask.repo, found), 0);
        free(found);
        return code;
    }
    const sg_status status = sg_hub_pull(&p, ask, opts, &err);
    hide(&s);
    if (status == SG_ECANCELLED) {
        fprintf(stderr, "sightglass: stopped; what came so far is kept, and the same command goes on from there\n");
        return 130;
    }
    if (status != SG_OK)
        return cli_fail(&err);
    const int code = json ? as_json(ask.repo, p) : for_people(ask.repo, p, !ask.to);
    sg_hub_pulled_free(p);
    return code;
}

int cmd_pull(int argc, char **argv)
{
    static const struct option options[] = {
        {"revision", required_argument, NULL, 'r'}, {"include", required_argument, NULL, 'i'},
        {"to", required_argument, NULL, 't'},       {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {0}};
    const char **include = calloc((size_t)argc, sizeof *include);
    sg_hub_ask ask = {.include = include};
    bool json = false;
    int code = include ? -1 : EXIT_FAILED;
    char repo[256];

    for (int o; code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'r':
            ask.revision = optarg;
            break;
        case 'i':
            include[ask.n_include++] = optarg;
            break;
        case 't':
            ask.to = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            code = 0;
            break;
        default:
            code = EXIT_USAGE;
        }
    }
    if (code < 0 && optind + 1 != argc)
        code = cli_usage("pull", "wanted one REPO, got %d", argc - optind);
    if (code < 0) {
        const char *colon = strchr(argv[optind], ':');
        const size_t n = colon ? (size_t)(colon - argv[optind]) : strlen(argv[optind]);
        if (n >= sizeof repo || (colon && ask.n_include)) {
            code = colon && ask.n_include
                       ? cli_usage("pull", "REPO:FILE names a file, --include patterns; one of them is wanted")
                       : cli_usage("pull", "%.60s... is longer than any name", argv[optind]);
        } else {
            snprintf(repo, sizeof repo, "%.*s", (int)n, argv[optind]);
            ask.repo = repo;
            ask.file = colon ? colon + 1 : NULL;
            asked_catch();
            code = pull(ask, json);
        }
    }
    free(include);
    return code;
}
