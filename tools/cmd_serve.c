/* sightglass serve: models, jobs and the page over HTTP. */
#include <errno.h>
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapted.h"
#include "cli.h"
#include "commit.h"
#include "embedded.h"
#include "serve_studies.h"
#include "sightglass/serve.h"

enum { USUAL_PORT = 8808 };

static const char help[] =
    "usage: sightglass serve [MODEL...] [options]\n\n"
    "Serves the page, an interface for programs (docs/api.md) and OpenAI's /v1 on models, for one person on one\n"
    "machine. Prints one address with a random token: open it in a browser; programs send the token as\n"
    "Authorization: Bearer TOKEN. Ctrl-C ends it, and saves what runs.\n\n"
    "MODEL is a model's folder, or a folder of such folders; without any, the models that come with sightglass.\n"
    "Requests name models by the folder's name, and reach no other file.\n\n"
    "  --host ADDRESS      127.0.0.1, which only this machine reaches; 0.0.0.0 is every network it is in (127.0.0.1)\n"
    "  --port N            0: any that is free (8808, or any where that is taken)\n"
    "  --workspace DIR     where jobs, results and snapshots are kept ($XDG_DATA_HOME/sightglass, else\n"
    "                      ~/.local/share/sightglass)\n"
    "  --token WORD        in place of a random one\n"
    "  --allow-host NAME:PORT\n"
    "                      another name under which it may be reached, as behind a tunnel; may be repeated\n"
    "  --lora [MODEL:]DIR[=STRENGTH]\n"
    "                      open a model with a low-rank adapter in PEFT's layout (1); may be repeated\n"
    "  --sae [MODEL:]DIR[=look|keep|replace]\n"
    "                      open a model with a sparse autoencoder in SAELens' layout; may be repeated\n"
    "  --open              open the address in a browser, where there is a display\n"
    "  --no-page           the interface for programs alone\n"
    "  --threads N         that one answer may compute with (2)\n"
    "  --log               a line on stderr for each request\n"
    "  --api ts|openapi|markdown\n"
    "                      print what can be asked, and end\n";

static sem_t ended;

static void on_signal(int signal_number)
{
    (void)signal_number;
    sem_post(&ended);
}

static void log_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

typedef struct settings {
    sg_server_opts server;
    const char **models, **hosts;
    char (*paths)[4096]; /* of models that were looked for */
    sg_server_asset *assets;
    char workspace[4096];
    bool open, log;
    long long port;
    sg_server_adapter adapters[2 * ADAPTED_MOST];
    char *parts[4 * ADAPTED_MOST]; /* texts of adapters */
    int n_parts;
} settings;

/* ---- what lies in the program ---- */

static sg_status list_assets(settings *s, sg_error *err)
{
    int n = 0;
    while (embedded[n].path)
        n++;
    s->assets = calloc((size_t)n + 1, sizeof *s->assets);
    if (!s->assets)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < n; i++)
        s->assets[i] =
            (sg_server_asset){embedded[i].path, embedded[i].bytes, (size_t)(embedded[i].end - embedded[i].bytes),
                              embedded[i].sha256, embedded[i].gzip};
    s->server.assets = s->assets;
    s->server.n_assets = n;
    return SG_OK;
}

/* A shipped model's folder: in the current folder, beside the command, or unpacked from the command itself. */
static sg_status find_shipped(settings *s, const char *name, char out[4096], sg_error *err)
{
    static const char *const places[] = {"models/", "/../models/", "/../share/sightglass/models/"};
    char self[2000] = "", config[4200];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;

    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < (slash ? SG_COUNT_OF(places) : 1); i++) {
        snprintf(out, 4096, "%s%s%s", i ? self : "", places[i], name);
        snprintf(config, sizeof config, "%s/config.json", out);
        if (access(config, R_OK) == 0)
            return SG_OK;
    }
    char asset[200];
    snprintf(asset, sizeof asset, "models/%.100s", name);
    if (snprintf(out, 4096, "%s/%s", s->workspace, asset) >= 4096)
        return sg_fail(err, SG_EARG, "%.80s...: the path is too long", s->workspace);
    return sg_server_unpack(s->workspace, asset, s->server.n_assets, s->assets, err);
}

static sg_status choose_models(settings *s, int n, char **named, sg_error *err)
{
    static const char *const shipped[] = {"othello8", "othello6"};
    const int count = n ? n : (int)SG_COUNT_OF(shipped);

    s->models = calloc((size_t)count + 1, sizeof *s->models);
    s->paths = calloc((size_t)count + 1, sizeof *s->paths);
    if (!s->models || !s->paths)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        const char *name = n ? named[i] : shipped[i];
        bool ours = n == 0;
        for (size_t k = 0; n && k < SG_COUNT_OF(shipped); k++)
            ours |= strcmp(name, shipped[k]) == 0 && access(name, F_OK) != 0;
        s->models[i] = name;
        if (ours) {
            SG_TRY(find_shipped(s, name, s->paths[i], err));
            s->models[i] = s->paths[i];
        }
    }
    s->server.models = s->models;
    s->server.n_models = count;
    return SG_OK;
}

/* ---- options ---- */

static sg_status usual_workspace(settings *s, sg_error *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (data && data[0] == '/')
        snprintf(s->workspace, sizeof s->workspace, "%s/sightglass", data);
    else if (home && home[0] == '/')
        snprintf(s->workspace, sizeof s->workspace, "%s/.local/share/sightglass", home);
    else
        return sg_fail(err, SG_EARG,
                       "neither HOME nor XDG_DATA_HOME says where to keep things; name a folder with --workspace");
    return SG_OK;
}

static int print_api(const char *form)
{
    sg_error err;
    if (sg_server_api(stdout, form, &err) != SG_OK)
        return cli_fail(&err);
    return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

/* [MODEL:]DIR[=STRENGTH or use]; a path has a slash before it has a colon. */
static sg_status add_adapter(settings *s, bool autoencoder, const char *text, sg_error *err)
{
    sg_server_adapter *a = &s->adapters[s->server.n_adapters];
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/');
    sg_sae_use use = SG_SAE_LOOK;
    double strength = 1;

    if (s->server.n_adapters == (int)SG_COUNT_OF(s->adapters))
        return sg_fail(err, SG_EARG, "up to %d adapters are taken", s->server.n_adapters);
    if (colon && slash && slash < colon)
        colon = NULL;
    char *model = colon ? strndup(text, (size_t)(colon - text)) : NULL;
    const char *rest = colon ? colon + 1 : text;
    char *folder = autoencoder ? adapted_split_use(rest, &use) : adapted_split(rest, &strength);
    if (model)
        s->parts[s->n_parts++] = model;
    if (!folder || (colon && !model))
        return sg_fail(err, SG_ENOMEM, "out of memory");
    s->parts[s->n_parts++] = folder;
    *a = (sg_server_adapter){model, folder, autoencoder, strength, (int)use};
    s->server.adapters = s->adapters;
    s->server.n_adapters++;
    return SG_OK;
}

/* -1: go on. */
static int read_options(settings *s, int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, 'H'},
                                            {"port", required_argument, NULL, 'p'},
                                            {"workspace", required_argument, NULL, 'w'},
                                            {"token", required_argument, NULL, 't'},
                                            {"allow-host", required_argument, NULL, 'a'},
                                            {"lora", required_argument, NULL, ADAPTED_LORA},
                                            {"sae", required_argument, NULL, ADAPTED_SAE},
                                            {"open", no_argument, NULL, 'o'},
                                            {"no-page", no_argument, NULL, 'n'},
                                            {"threads", required_argument, NULL, 'T'},
                                            {"log", no_argument, NULL, 'l'},
                                            {"api", required_argument, NULL, 'A'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    sg_error err;
    long long n_threads = 2;

    s->hosts = calloc((size_t)argc + 1, sizeof *s->hosts);
    if (!s->hosts)
        return EXIT_FAILED;
    s->server.hosts = s->hosts;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'H':
            s->server.host = optarg;
            break;
        case 'p':
            if (cli_whole("--port", optarg, 0, 65535, &s->port, &err) != SG_OK)
                return cli_fail(&err);
            break;
        case 'w':
            if (!*optarg || strlen(optarg) >= sizeof s->workspace)
                return cli_usage("serve", "--workspace wants a folder");
            snprintf(s->workspace, sizeof s->workspace, "%s", optarg);
            break;
        case 't':
            s->server.token = optarg;
            break;
        case 'a':
            s->hosts[s->server.n_hosts++] = optarg;
            break;
        case 'o':
            s->open = true;
            break;
        case 'n':
            s->server.page = false;
            break;
        case 'T':
            if (cli_whole("--threads", optarg, 1, 1024, &n_threads, &err) != SG_OK)
                return cli_fail(&err);
            break;
        case 'l':
            s->log = true;
            break;
        case ADAPTED_LORA:
        case ADAPTED_SAE:
            if (add_adapter(s, o == ADAPTED_SAE, optarg, &err) != SG_OK)
                return cli_fail(&err);
            break;
        case 'A':
            return print_api(optarg);
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    s->server.n_threads = (int)n_threads;
    if (!s->workspace[0] && usual_workspace(s, &err) != SG_OK)
        return cli_fail(&err);
    return -1;
}

/* ---- the life of a server ---- */

/* A browser of its own: what it prints and how it ends is nothing to us. */
static void open_browser(const char *url)
{
    if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY")) {
        fprintf(stderr, "sightglass: there is no display to open a browser on\n");
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        if (fork() == 0) {
            setsid();
            execlp("xdg-open", "xdg-open", url, (char *)NULL);
            _exit(127);
        }
        _exit(0);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}

static sg_status start(settings *s, sg_server **out, sg_error *err)
{
    s->server.port = s->port >= 0 ? (int)s->port : USUAL_PORT;
    SG_TRY(sg_server_new(out, &s->server, err));
    sg_status status = sg_server_start(*out, err);
    if (status == SG_EIO && s->port < 0) {
        sg_server_free(*out);
        s->server.port = 0;
        SG_TRY(sg_server_new(out, &s->server, err));
        status = sg_server_start(*out, err);
    }
    if (status != SG_OK) {
        sg_server_free(*out);
        *out = NULL;
    }
    return status;
}

static int serve_until_stopped(settings *s)
{
    sg_server *server = NULL;
    sg_error err;

    if (start(s, &server, &err) != SG_OK)
        return cli_fail(&err);
    printf("%s\n", sg_server_url(server));
    fflush(stdout);
    fprintf(stderr, "sightglass: serves ");
    for (int i = 0; i < s->server.n_models; i++) {
        const char *slash = strrchr(s->server.models[i], '/');
        fprintf(stderr, "%s%s", i ? ", " : "", slash && slash[1] ? slash + 1 : s->server.models[i]);
    }
    fprintf(stderr, "; keeps its work in %s; Ctrl-C ends it\n", s->workspace);
    if (s->open)
        open_browser(sg_server_url(server));
    while (sem_wait(&ended) != 0 && errno == EINTR) {
    }
    if (!sg_server_stop(server, 0.8)) {
        /* Some work takes longer to notice. The workspace bears that, and marks it as interrupted when it is opened. */
        fprintf(stderr, "sightglass: stopped; what was being computed is cut off\n");
        fflush(NULL);
        _exit(0);
    }
    sg_server_free(server);
    return 0;
}

int cmd_serve(int argc, char **argv)
{
    settings s = {.server = sg_server_defaults(), .port = -1};
    sg_error err;
    char *studies = NULL;

    int code = read_options(&s, argc, argv);
    if (code < 0) {
        /* Bodies of megabytes come and go: left to itself the allocator soon keeps them. */
        mallopt(M_MMAP_THRESHOLD, 1 << 20);
        sem_init(&ended, 0, 0);
        cli_catch(on_signal);
        s.server.commit = SG_COMMIT;
        s.server.workspace = s.workspace;
        s.server.kinds = &serve_study_kind;
        s.server.n_kinds = 1;
        s.server.log = s.log ? log_line : NULL;
        studies = serve_studies_json();
        s.server.studies = studies;
        if (list_assets(&s, &err) != SG_OK || choose_models(&s, argc - optind, argv + optind, &err) != SG_OK)
            code = cli_fail(&err);
        else
            code = serve_until_stopped(&s);
    }
    free(studies);
    free(s.models);
    free(s.paths);
    free(s.hosts);
    free(s.assets);
    for (int i = 0; i < s.n_parts; i++)
        free(s.parts[i]);
    return code;
}
