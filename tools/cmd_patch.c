/* sightglass patch: interventions judged on Othello boards; and, in patch_runs.c, values of one run put into another.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "interventions.h"
#include "patch_runs.h"
#include "sightglass/othello_cases.h"

static const char help[] =
    "usage: sightglass patch MODEL --probe DIR[/NAME] ... --world othello [options]\n"
    "       sightglass patch MODEL --fit KIND --world othello [options]\n"
    "       sightglass patch MODEL --base TEXT --source TEXT --at PATTERN[,...] --token T [options]\n\n"
    "With probes: rewrites what they read of one square, inside the model, at the last move of many games, and counts\n"
    "how many of the model's top N moves are wrong on the rewritten board, N being the number of legal ones there.\n"
    "Beside it: nothing edited (null), a random direction and one towards the wrong class, each as long as the "
    "edit's.\n\n"
    "  --probe DIR[/NAME]    saved by `sightglass probe fit --out DIR`; may be repeated\n"
    "  --fit KIND            fits probes now instead: ridge, softmax, mlp, mean, or parts (what a square adds to x)\n"
    "  --label NAME          what they read (board_rel)\n"
    "  --at SITE             of --fit: which site of each block (hook_resid_post)\n"
    "  --fit-games N         of --fit: games (1000), drawn from another seed than the cases\n"
    "  --layers A-B          blocks that are edited, from 0 (all that have a probe)\n"
    "  --kind KIND           direction, gradient, wrong or random; none: the null alone (direction)\n"
    "  --scale SCALE         how far: raw, unit, norm or mirror (norm; of parts raw)\n"
    "  --strength X          how strongly, in that scale (0.3; of parts 0.5)\n"
    "  --steps N --lr X --keep X   gradient: steps (30), rate (0.02), weight of what is to stay (0.2)\n"
    "  --games N             cases of each kind: turned, natural, unnatural (500)\n"
    "  --cases FILE          cases from JSON instead (scripts/othello-cases makes it)\n"
    "  --seed N              of the cases and random directions (7)\n"
    "  --sweep               tries layers and strengths on one half of the cases, and reports the best on the other\n"
    "  --json                for machines\n\n"
    "With two texts of one length (or --tokens FILE with two rows): puts what SOURCE has at a site and position into "
    "the\n"
    "run of BASE, place by place, and shows which part of the difference comes with it: 0 none, 1 all.\n\n"
    "  --token T             the metric: logit of a token (text or id) at the last position; --minus T less another's\n"
    "  --prob                its probability instead\n"
    "  --heads               each head of the sites by itself\n";

typedef struct request {
    const char *model, *fit, *label, *site, *cases;
    const char **probes;
    int n_probes;
    patch_runs runs;
    long long fit_games, games, seed, first, last, size;
    bool sweep, json, has_world, has_scale, has_strength;
    sg_intervene_opts opts;
} request;

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static sg_status read_word(request *r, const char *name, const char *value, bool *known, sg_error *err)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = {{"--fit", &r->fit},
                 {"--label", &r->label},
                 {"--at", &r->site},
                 {"--cases", &r->cases},
                 {"--base", &r->runs.base},
                 {"--source", &r->runs.source},
                 {"--tokens", &r->runs.tokens},
                 {"--token", &r->runs.token},
                 {"--minus", &r->runs.minus}};
    *known = true;
    for (size_t i = 0; i < SG_COUNT_OF(texts); i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].to = value;
            return SG_OK;
        }
    r->has_scale |= strcmp(name, "--scale") == 0;
    r->has_strength |= strcmp(name, "--strength") == 0;
    if (strcmp(name, "--probe") == 0)
        return r->probes[r->n_probes++] = value, SG_OK;
    if (strcmp(name, "--layers") == 0)
        return cli_layers(value, &r->first, &r->last, err);
    if (strcmp(name, "--games") == 0)
        return cli_whole(name, value, 4, 1000000, &r->games, err);
    if (strcmp(name, "--fit-games") == 0)
        return cli_whole(name, value, 1, 1000000, &r->fit_games, err);
    if (strcmp(name, "--seed") == 0)
        return cli_whole(name, value, 0, INT64_MAX, &r->seed, err);
    if (strcmp(name, "--size") == 0)
        return cli_whole(name, value, 4, 8, &r->size, err);
    if (strcmp(name, "--world") == 0) {
        r->has_world = true;
        return strcmp(value, "othello") == 0
                   ? SG_OK
                   : sg_fail(err, SG_EARG, "--world is \"%.40s\"; interventions are judged on othello", value);
    }
    return cli_intervene_word(&r->opts, name, value, known, err);
}

/* -1: go on; else the exit status. */
static int read_options(request *r, int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const struct {
            const char *name;
            bool *flag;
        } flags[] = {
            {"--json", &r->json}, {"--sweep", &r->sweep}, {"--heads", &r->runs.by_head}, {"--prob", &r->runs.prob}};
        bool known = false;
        for (size_t k = 0; k < SG_COUNT_OF(flags) && !known; k++)
            if ((known = strcmp(name, flags[k].name) == 0))
                *flags[k].flag = true;
        if (known)
            continue;
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
            return fputs(help, stdout), 0;
        if (strncmp(name, "--", 2) != 0) {
            if (r->model)
                return cli_usage("patch", "\"%.60s\" is one name too many", name);
            r->model = name;
            continue;
        }
        if (i + 1 == argc)
            return cli_usage("patch", "%.40s wants a value, or is no option", name);
        const sg_status status = read_word(r, name, argv[++i], &known, &err);
        if (!known)
            return cli_usage("patch", "there is no option %.40s", name);
        if (status != SG_OK)
            return cli_fail(&err);
    }
    if (!r->model)
        return cli_usage("patch", "wanted a MODEL");
    const bool runs = r->runs.base || r->runs.source || r->runs.tokens;
    if (runs && (r->n_probes || r->fit))
        return cli_usage("patch", "either probes or two runs, not both");
    if (runs)
        return -1;
    if (!r->n_probes == !r->fit)
        return cli_usage("patch", "wanted --probe or --fit, or --base and --source");
    if (r->fit && strcmp(r->fit, "parts") == 0) { /* which are as long as they should be */
        r->opts.scale = r->has_scale ? r->opts.scale : SG_SCALE_RAW;
        r->opts.strength = r->has_strength ? r->opts.strength : 0.5;
    }
    if (!r->has_world)
        return cli_usage("patch", "wanted --world othello, whose boards the cases are");
    if (r->sweep && r->opts.kind != SG_INTERVENE_DIRECTION && r->opts.kind != SG_INTERVENE_GRADIENT)
        return cli_usage("patch", "--sweep is over directions or gradient steps");
    return -1;
}

/* ---- the work ---- */

typedef struct work {
    const request *r;
    sg_model *model;
    cli_probes probes;
    int size;
    sg_dim n[SG_OTHELLO_N_CASE_KINDS];
    sg_othello_case *cases[SG_OTHELLO_N_CASE_KINDS];
    sg_dim n_left_out;
    sg_othello_try *tries;
    int n_tries, best;
    sg_othello_outcome outcome[SG_OTHELLO_N_CASE_KINDS];
    double began[2];
    int n_runs, run; /* of the model over a kind's cases: all, and done */
} work;

static sg_status open_cases(work *w, sg_error *err)
{
    const request *r = w->r;
    if (r->cases) {
        SG_TRY(
            sg_othello_cases_read(&w->cases[SG_OTHELLO_GIVEN], &w->n[SG_OTHELLO_GIVEN], &w->n_left_out, r->cases, err));
        if (w->n[SG_OTHELLO_GIVEN] < 4 || w->cases[SG_OTHELLO_GIVEN]->board.size != w->size)
            return sg_fail(err, SG_EARG, "%s: %" PRId64 " cases, wanted 4 or more, of boards of size %d", r->cases,
                           w->n[SG_OTHELLO_GIVEN], w->size);
        return SG_OK;
    }
    for (int k = 0; k < SG_OTHELLO_GIVEN; k++) {
        w->n[k] = r->games;
        if (!(w->cases[k] = calloc((size_t)r->games, sizeof **w->cases)))
            return sg_fail(err, SG_ENOMEM, "out of memory for %lld cases", r->games);
        SG_TRY(sg_othello_cases_draw(w->cases[k], r->games, w->size, (sg_othello_case_kind)k, (uint64_t)r->seed, err));
    }
    return SG_OK;
}

static sg_status open_probes(work *w, sg_error *err)
{
    const request *r = w->r;
    const sg_model_info *in = sg_model_get_info(w->model);
    for (int size = 4; size <= 8; size += 2)
        if (in->n_vocab == sg_othello_vocabulary(size))
            w->size = size;
    if (!w->size || (r->size && r->size != w->size))
        return sg_fail(err, SG_EARG, "%s has a vocabulary of %" PRId64 ", boards of size %lld have %d", r->model,
                       in->n_vocab, r->size ? r->size : 8, sg_othello_vocabulary(r->size ? (int)r->size : 8));
    char size[4];
    snprintf(size, sizeof size, "%d", w->size);
    if (r->fit)
        SG_TRY(cli_probes_fit(&w->probes, w->model, sg_world_find("othello", err), 1, &(sg_setting){"size", size},
                              r->fit, r->site, r->label, r->fit_games, UINT64_C(1000003), r->first, r->last, &stopped,
                              err));
    else
        SG_TRY(cli_probes_open(&w->probes, w->model, r->n_probes, r->probes, r->label, r->first, r->last, err));
    if (w->probes.n_tasks != w->size * w->size || w->probes.n_classes != 3)
        return sg_fail(err, SG_EARG, "the probes have %d tasks of %d classes, a board %d of 3 (empty, mine, yours)",
                       w->probes.n_tasks, w->probes.n_classes, w->size * w->size);
    return SG_OK;
}

/* Ranges: each layer alone, and those up to the last two; strengths by the scale. */
static sg_status list_tries(work *w, sg_error *err)
{
    static const double strength[SG_N_INTERVENE_SCALES][6] = {[SG_SCALE_RAW] = {.25, .5, .75, 1, 1.5, 2},
                                                              [SG_SCALE_UNIT] = {.5, 1, 2, 4, 8, 16},
                                                              [SG_SCALE_NORM] = {.1, .15, .2, .3, .4, .5},
                                                              [SG_SCALE_MIRROR] = {.5, 1, 1.5, 2, 3, 5}};
    static const double rate[6] = {.005, .01, .02, .03, .05, .1};
    const int n = w->probes.n;
    w->tries = calloc((size_t)(n * n * 6) + 1, sizeof *w->tries);
    if (!w->tries)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    if (!w->r->sweep) {
        w->tries[w->n_tries++] = (sg_othello_try){.first = 0, .last = n - 1, .opts = w->r->opts};
        return SG_OK;
    }
    for (int a = 0; a < n; a++)
        for (int b = a; b < n; b++)
            for (int k = 0; k < 6 && (b == a || b >= n - 2); k++) {
                sg_othello_try *t = &w->tries[w->n_tries++];
                *t = (sg_othello_try){.first = a, .last = b, .opts = w->r->opts};
                t->opts.strength = strength[t->opts.scale][k];
                if (t->opts.kind == SG_INTERVENE_GRADIENT)
                    t->opts.lr = rate[k];
            }
    return SG_OK;
}

/* Chooses on the first half of each kind's cases. */
static sg_status choose(work *w, sg_error *err)
{
    sg_dim n = 0, most = 0;
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++)
        most += w->n[k] / 2;
    sg_othello_case *halves = malloc((size_t)most * sizeof *halves);
    if (!halves)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++)
        for (sg_dim i = 0; i < w->n[k] / 2; i++)
            halves[n++] = w->cases[k][i];
    sg_status status = SG_OK;
    for (int k = 0; k < w->n_tries && status == SG_OK; k++) {
        status = sg_othello_sweep(&w->tries[k], 1, w->model, (const char *const *)w->probes.sites,
                                  (const sg_probe *const *)w->probes.probes, n, halves, sg_exec_defaults(), err);
        if (status == SG_OK && w->tries[k].error < w->tries[w->best].error)
            w->best = k;
        cli_show_done(w->began, (double)(k + 1) / w->n_tries);
    }
    cli_end_line();
    free(halves);
    return status;
}

static void on_run(void *context, double done)
{
    work *w = context;
    cli_show_done(w->began, fmin((w->run + done) / w->n_runs, 1));
    w->run += done >= 1;
}

static sg_status judge(work *w, sg_error *err)
{
    const sg_othello_try *t = &w->tries[w->best];
    sg_intervener *iv;
    sg_intervene_opts opts = t->opts;
    opts.cancel = &stopped;
    opts.progress = on_run;
    opts.context = w;
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++) /* own, none, edit, random, wrong; the witness */
        w->n_runs += w->n[k] ? 5 + (k == SG_OTHELLO_NATURAL) : 0;
    SG_TRY(sg_intervener_new(&iv, w->model, t->last - t->first + 1, (const char *const *)w->probes.sites + t->first,
                             (const sg_probe *const *)w->probes.probes + t->first, sg_exec_defaults(), err));
    sg_status status = SG_OK;
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS && status == SG_OK; k++) {
        const sg_dim from = w->r->sweep ? w->n[k] / 2 : 0;
        if (w->n[k])
            status = sg_othello_outcome_of(&w->outcome[k], iv, w->n[k] - from, w->cases[k] + from, opts, err);
    }
    sg_intervener_free(iv);
    return status;
}

/* ---- telling ---- */

static void print_rate(const char *what, const sg_rate *r, const sg_rate *less, double null)
{
    if (!r->n)
        return;
    printf("    %-34s %6.3f (%.3f to %.3f)", what, r->value, r->low, r->high);
    if (less)
        printf("   less null %+.3f (%+.3f to %+.3f), null / this %.2f", less->value, less->low, less->high,
               null / r->value);
    putchar('\n');
}

static void describe(char *out, size_t room, const work *w, const sg_othello_try *t)
{
    if (t->opts.kind == SG_INTERVENE_GRADIENT)
        snprintf(out, room, "gradient, %d steps at rate %g, keep %g", t->opts.n_steps, t->opts.lr, t->opts.keep);
    else
        snprintf(out, room, "%s, scale %s, strength %g", sg_intervene_kind_name(t->opts.kind),
                 sg_intervene_scale_name(t->opts.scale), t->opts.strength);
    const size_t n = strlen(out);
    snprintf(out + n, room - n, ", at %.80s to %.80s", w->probes.sites[t->first], w->probes.sites[t->last]);
}

static int print_text(const work *w)
{
    char what[400];
    if (w->r->sweep) {
        printf("tried on one half of the cases (mean errors of all kinds):\n");
        for (int k = 0; k < w->n_tries; k++) {
            describe(what, sizeof what, w, &w->tries[k]);
            printf("  %6.3f%s  %s\n", w->tries[k].error, k == w->best ? " *" : "  ", what);
        }
        printf("\nthe best, on the other half:\n");
    }
    describe(what, sizeof what, w, &w->tries[w->best]);
    printf("%s: %s\n  errors: false positives and negatives among the top N moves, mean with a 95 %% interval\n",
           w->r->model, what);
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++) {
        const sg_othello_outcome *o = &w->outcome[k];
        if (!o->n)
            continue;
        printf("  %s boards, %" PRId64 "\n", sg_othello_case_kind_name((sg_othello_case_kind)k), o->n);
        print_rate("no edit", &o->null, NULL, 0);
        print_rate("edit", &o->edit, &o->edit_less_null, o->null.value);
        print_rate("random direction, as long", &o->random, &o->random_less_null, o->null.value);
        print_rate("towards the wrong class, as long", &o->wrong, NULL, 0);
        print_rate("no edit, on the board as it is", &o->own, NULL, 0);
        print_rate("no edit, moves that lead there", &o->witness, NULL, 0);
    }
    if (w->r->cases)
        printf("  %" PRId64 " cases were left out: no move on the changed board\n", w->n_left_out);
    return 0;
}

static json_t *rate_json(const sg_rate *r)
{
    return r->n ? json_pack("{s:f, s:f, s:f, s:I}", "value", r->value, "low", r->low, "high", r->high, "n",
                            (json_int_t)r->n)
                : json_null();
}

static json_t *try_json(const work *w, const sg_othello_try *t)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:f, s:i, s:f, s:f}", "first", w->probes.sites[t->first], "last",
                     w->probes.sites[t->last], "kind", sg_intervene_kind_name(t->opts.kind), "scale",
                     sg_intervene_scale_name(t->opts.scale), "strength", t->opts.strength, "steps", t->opts.n_steps,
                     "lr", t->opts.lr, "keep", t->opts.keep);
}

static int print_json(const work *w)
{
    json_t *boards = json_object(), *tries = json_array(), *best = try_json(w, &w->tries[w->best]);
    for (int k = 0; k < w->n_tries && w->r->sweep; k++) {
        json_t *t = try_json(w, &w->tries[k]);
        json_object_set_new(t, "errors", json_real(w->tries[k].error));
        json_array_append_new(tries, t);
    }
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++) {
        const sg_othello_outcome *o = &w->outcome[k];
        if (o->n)
            json_object_set_new(
                boards, sg_othello_case_kind_name((sg_othello_case_kind)k),
                json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)o->n, "null",
                          rate_json(&o->null), "edit", rate_json(&o->edit), "random", rate_json(&o->random), "wrong",
                          rate_json(&o->wrong), "own", rate_json(&o->own), "witness", rate_json(&o->witness),
                          "edit_less_null", rate_json(&o->edit_less_null), "random_less_null",
                          rate_json(&o->random_less_null), "edit_less_random", rate_json(&o->edit_less_random)));
    }
    return cli_print_json(json_pack("{s:s, s:i, s:I, s:o, s:o, s:o, s:I}", "model", w->r->model, "size", w->size,
                                    "seed", (json_int_t)w->r->seed, "edit", best, "tries", tries, "boards", boards,
                                    "left_out", (json_int_t)w->n_left_out));
}

/* The null alone. */
static sg_status judge_nothing(work *w, sg_error *err)
{
    sg_intervener *iv;
    sg_intervene_opts opts = w->r->opts;
    SG_TRY(sg_intervener_new(&iv, w->model, 1, (const char *const *)w->probes.sites,
                             (const sg_probe *const *)w->probes.probes, sg_exec_defaults(), err));
    sg_status status = SG_OK;
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS && status == SG_OK; k++) {
        double *errors = malloc((size_t)w->n[k] * sizeof *errors + 1);
        if (!errors)
            status = sg_fail(err, SG_ENOMEM, "out of memory");
        if (status == SG_OK && w->n[k])
            status = sg_othello_intervene(errors, NULL, iv, w->n[k], w->cases[k], opts, err);
        if (status == SG_OK && w->n[k])
            status = sg_othello_mean(&w->outcome[k].null, errors, NULL, w->n[k], err);
        w->outcome[k].n = w->n[k];
        free(errors);
    }
    sg_intervener_free(iv);
    return status;
}

static int with_probes(const request *r)
{
    sg_error err = {SG_OK, ""};
    work w = {.r = r, .began = {sg_now(), 0}};
    sg_status status = sg_model_open(&w.model, r->model, sg_model_defaults(), &err);
    if (status == SG_OK)
        status = open_probes(&w, &err);
    if (status == SG_OK)
        status = open_cases(&w, &err);
    if (status == SG_OK)
        status = list_tries(&w, &err);
    for (int k = 0; k < w.n_tries; k++) {
        w.tries[k].opts.cancel = &stopped;
        w.tries[k].opts.seed = (uint64_t)r->seed;
    }
    if (status == SG_OK && r->sweep)
        status = choose(&w, &err);
    if (status == SG_OK)
        status = r->opts.kind == SG_INTERVENE_NONE ? judge_nothing(&w, &err) : judge(&w, &err);
    cli_end_line();
    int code = status == SG_ECANCELLED ? (cli_fail(&err), 130) : status != SG_OK ? cli_fail(&err) : 0;
    if (status == SG_OK)
        code = r->json ? print_json(&w) : print_text(&w);
    for (int k = 0; k < SG_OTHELLO_N_CASE_KINDS; k++)
        free(w.cases[k]);
    free(w.tries);
    cli_probes_free(&w.probes);
    sg_model_close(w.model);
    return code;
}

int cmd_patch(int argc, char **argv)
{
    request r = {.label = "board_rel",
                 .site = NULL,
                 .probes = calloc((size_t)argc + 1, sizeof(char *)),
                 .fit_games = 1000,
                 .games = 500,
                 .seed = 7,
                 .last = 1000,
                 .opts = sg_intervene_defaults()};
    cli_catch(on_interrupt);
    int code = r.probes ? read_options(&r, argc, argv) : EXIT_FAILED;
    if (code < 0 && (r.runs.base || r.runs.source || r.runs.tokens)) {
        r.runs.model = r.model;
        r.runs.at = r.site;
        r.runs.json = r.json;
        r.runs.cancel = &stopped;
        code = patch_runs_run(&r.runs);
    } else if (code < 0) {
        r.site = r.site ? r.site : "hook_resid_post";
        code = with_probes(&r);
    }
    free(r.probes);
    return code;
}
