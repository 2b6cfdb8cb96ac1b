/* sightglass saliency: on which discs of the board inside a model does a move rest? */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interventions.h"
#include "sightglass/othello_cases.h"
#include "sightglass/report.h"
#include "sightglass/saliency.h"

static const char help[] =
    "usage: sightglass saliency MODEL --probe DIR[/NAME] ... --moves f5d6c3 [--for d3] [options]\n"
    "       sightglass saliency MODEL --fit KIND --moves f5d6c3 [--for d3] [options]\n\n"
    "Plays the moves, then turns each disc on the board inside the model, one at a time, and shows how much less "
    "likely\n"
    "the move in question becomes. Above 0: the disc speaks for the move. Without --for, the likeliest legal move.\n\n"
    "  --probe, --fit, --fit-games, --label, --at, --layers, --kind, --scale, --strength, --steps, --lr, --keep\n"
    "                 as in sightglass patch; without any other wish parts of x at every block but the last\n"
    "  --empty        takes each disc away instead of turning it\n"
    "  --json         for machines\n";

typedef struct request {
    const char *model, *fit, *label, *site, *moves, *move;
    const char **probes;
    int n_probes;
    long long fit_games, first, last;
    bool empty, json, has_scale, has_strength;
    sg_intervene_opts opts;
} request;

static sg_status read_word(request *r, const char *name, const char *value, bool *known, sg_error *err)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {
        {"--fit", &r->fit}, {"--label", &r->label}, {"--at", &r->site}, {"--moves", &r->moves}, {"--for", &r->move}};
    *known = true;
    for (size_t i = 0; i < SG_COUNT_OF(texts); i++)
        if (strcmp(name, texts[i].name) == 0)
            return *texts[i].to = value, SG_OK;
    r->has_scale |= strcmp(name, "--scale") == 0;
    r->has_strength |= strcmp(name, "--strength") == 0;
    if (strcmp(name, "--probe") == 0)
        return r->probes[r->n_probes++] = value, SG_OK;
    if (strcmp(name, "--layers") == 0)
        return cli_layers(value, &r->first, &r->last, err);
    if (strcmp(name, "--fit-games") == 0)
        return cli_whole(name, value, 1, 1000000, &r->fit_games, err);
    return cli_intervene_word(&r->opts, name, value, known, err);
}

/* -1: go on; else the exit status. */
static int read_options(request *r, int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        bool known;
        if (strcmp(name, "--json") == 0) {
            r->json = true;
        } else if (strcmp(name, "--empty") == 0) {
            r->empty = true;
        } else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            return fputs(help, stdout), 0;
        } else if (strncmp(name, "--", 2) != 0) {
            if (r->model)
                return cli_usage("saliency", "\"%.60s\" is one name too many", name);
            r->model = name;
        } else if (i + 1 == argc) {
            return cli_usage("saliency", "%.40s wants a value, or is no option", name);
        } else {
            const sg_status status = read_word(r, name, argv[++i], &known, &err);
            if (!known)
                return cli_usage("saliency", "there is no option %.40s", name);
            if (status != SG_OK)
                return cli_fail(&err);
        }
    }
    if (!r->model || !r->moves)
        return cli_usage("saliency", "wanted a MODEL and --moves");
    if (r->n_probes && r->fit)
        return cli_usage("saliency", "either --probe or --fit");
    r->fit = r->fit ? r->fit : "parts";
    if (!r->n_probes && strcmp(r->fit, "parts") == 0) { /* which are as long as they should be */
        r->opts.scale = r->has_scale ? r->opts.scale : SG_SCALE_RAW;
        r->opts.strength = r->has_strength ? r->opts.strength : 1;
    }
    return -1;
}

typedef struct work {
    const request *r;
    sg_model *model;
    cli_probes probes;
    sg_intervener *iv;
    sg_othello board;
    int32_t tokens[SG_OTHELLO_MAX_MOVES];
    sg_change changes[SG_OTHELLO_MAX_SQUARES];
    int n_changes, move; /* the square in question */
    sg_saliency *s;
    double score[SG_OTHELLO_MAX_SQUARES]; /* by square; NaN where there is no disc */
} work;

static sg_status play(work *w, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(w->model);
    int size = 0, squares[SG_OTHELLO_MAX_MOVES], n;
    for (int s = 4; s <= 8; s += 2)
        if (in->n_vocab == sg_othello_vocabulary(s))
            size = s;
    if (!size)
        return sg_fail(err, SG_EARG, "%s has a vocabulary of %" PRId64 ", which no board has", w->r->model,
                       in->n_vocab);
    SG_TRY(sg_othello_read(squares, &n, size, w->r->moves, err));
    w->board = sg_othello_start(size);
    for (int k = 0; k < n; k++) {
        w->tokens[k] = sg_othello_token(size, squares[k]);
        (void)sg_othello_play(&w->board, squares[k]);
    }
    if (n == 0 || w->board.mover == SG_OTHELLO_OVER)
        return sg_fail(err, SG_EARG, "--moves: nobody is to move after %d moves", n);
    const uint64_t own = w->board.disc[w->board.mover], other = w->board.disc[!w->board.mover];
    for (int s = 0; s < size * size; s++) {
        const int from = own >> s & 1 ? SG_OTHELLO_MINE : SG_OTHELLO_YOURS;
        if ((own | other) >> s & 1)
            w->changes[w->n_changes++] = (sg_change){s, from, w->r->empty ? SG_OTHELLO_EMPTY : 3 - from};
    }
    w->move = -1;
    if (w->r->move) {
        w->move = strlen(w->r->move) == 2 ? sg_othello_parse(size, w->r->move) : -1;
        if (sg_othello_token(size, w->move) < 0)
            return sg_fail(err, SG_EARG, "--for is \"%.20s\", which is no square to play", w->r->move);
    }
    return SG_OK;
}

static sg_status work_on(work *w, sg_error *err)
{
    const request *r = w->r;
    SG_TRY(sg_model_open(&w->model, r->model, sg_model_defaults(), err));
    SG_TRY(play(w, err));
    const int size = w->board.size;
    const long long last = r->last < 0 ? SG_MAX(sg_model_get_info(w->model)->n_layers - 2, 0) : r->last;
    char text[4];
    snprintf(text, sizeof text, "%d", size);
    if (r->n_probes)
        SG_TRY(cli_probes_open(&w->probes, w->model, r->n_probes, r->probes, r->label, r->first, last, err));
    else
        SG_TRY(cli_probes_fit(&w->probes, w->model, sg_world_find("othello", err), 1, &(sg_setting){"size", text},
                              r->fit, r->site, r->label, r->fit_games, UINT64_C(1000003), r->first, last, NULL, err));
    SG_TRY(sg_intervener_new(&w->iv, w->model, w->probes.n, (const char *const *)w->probes.sites,
                             (const sg_probe *const *)w->probes.probes, sg_exec_defaults(), err));
    SG_TRY(sg_saliency_latent(&w->s, w->iv, w->tokens, w->board.n_moves, w->n_changes, w->changes, r->opts, err));
    const uint64_t legal = sg_othello_legal(&w->board);
    for (int s = 0; s < size * size && !r->move; s++) {
        const int token = sg_othello_token(size, s);
        if (legal >> s & 1 && (w->move < 0 || w->s->before[token] > w->s->before[sg_othello_token(size, w->move)]))
            w->move = s;
    }
    for (int s = 0; s < size * size; s++)
        w->score[s] = (double)NAN;
    for (int i = 0; i < w->n_changes; i++)
        w->score[w->changes[i].task] = sg_saliency_score(w->s, i, sg_othello_token(size, w->move));
    return SG_OK;
}

static sg_status print_text(const work *w, sg_error *err)
{
    const int size = w->board.size, mover = w->board.mover;
    char name[4];
    double most = 1e-9;
    const bool legal = sg_othello_legal(&w->board) >> w->move & 1;
    printf("%s after %d moves, %s to move (x black, o white): p(%s) = %.4f, %s\n\n", w->r->model, w->board.n_moves,
           mover == SG_OTHELLO_BLACK ? "black" : "white", sg_othello_name(size, w->move, name),
           w->s->before[sg_othello_token(size, w->move)], legal ? "a legal move" : "not a legal move");
    printf("p(%s) less p(%s with this disc %s inside the model), in percent points\n\n   ", name, name,
           w->r->empty ? "taken away" : "turned");
    for (int c = 0; c < size; c++)
        printf("%8c", 'a' + c);
    for (int s = 0; s < size * size; s++) {
        if (s % size == 0)
            printf("\n %2d", s / size + 1);
        if (s == w->move)
            printf("%8s", "?");
        else if (isnan(w->score[s]))
            printf("%8s", "\302\267"
                          "");
        else
            printf(" %c%+6.1f", w->board.disc[0] >> s & 1 ? 'x' : 'o', 100 * w->score[s]);
        most = isnan(w->score[s]) ? most : fmax(most, fabs(w->score[s]));
    }
    printf("\n\n");
    if (!cli_colours().bold[0]) /* the picture tells no more where there are no colours */
        return SG_OK;
    const sg_panel panel = {.n_rows = size, .n_columns = size, .cells = w->score};
    return sg_figure_write_text(&(sg_figure){.id = "saliency",
                                             .title = "latent saliency",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "column"},
                                             .y = {.label = "row"},
                                             .value = {.label = "p - p'", .low = -most, .high = most},
                                             .n_panels = 1,
                                             .panels = &panel},
                                stdout, cli_colours().bold[0] != 0, err);
}

static int print_json(const work *w)
{
    json_t *discs = json_array();
    char name[4];
    for (int i = 0; i < w->n_changes; i++) {
        const int s = (int)w->changes[i].task;
        json_array_append_new(discs,
                              json_pack("{s:s, s:s, s:f}", "square", sg_othello_name(w->board.size, s, name), "disc",
                                        w->board.disc[0] >> s & 1 ? "black" : "white", "score", w->score[s]));
    }
    return cli_print_json(json_pack("{s:s, s:s, s:s, s:f, s:o}", "model", w->r->model, "moves", w->r->moves, "for",
                                    sg_othello_name(w->board.size, w->move, name), "probability",
                                    w->s->before[sg_othello_token(w->board.size, w->move)], "discs", discs));
}

int cmd_saliency(int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    request r = {.label = "board_rel",
                 .site = "hook_resid_post",
                 .probes = calloc((size_t)argc + 1, sizeof(char *)),
                 .fit_games = 1000,
                 .last = -1,
                 .opts = sg_intervene_defaults()};
    work w = {.r = &r};
    int code = r.probes ? read_options(&r, argc, argv) : EXIT_FAILED;
    if (code < 0) {
        sg_status status = work_on(&w, &err);
        if (status == SG_OK && !r.json)
            status = print_text(&w, &err);
        code = status != SG_OK ? cli_fail(&err) : r.json ? print_json(&w) : 0;
    }
    sg_saliency_free(w.s);
    sg_intervener_free(w.iv);
    cli_probes_free(&w.probes);
    sg_model_close(w.model);
    free(r.probes);
    return code;
}
