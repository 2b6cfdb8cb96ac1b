/* sightglass worldmodel: does a model hold a state of its world, and use it? */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/worldmodel.h"

static void help(FILE *to)
{
    fputs(
        "usage: sightglass worldmodel MODEL --world NAME [world's options] --state FIELD[=CLASS] --at SITE [options]\n"
        "       sightglass worldmodel MODEL --file FILE.safetensors --at SITE [options]\n\n"
        "Says whether a model holds a state of its world at a site, and uses it, by five numbers: how well a probe\n"
        "reads the state off the site, off the input alone, off untrained networks and off the output, and what\n"
        "moving the site along the probe does to the output, beside a random direction. The verdict is yes, or the\n"
        "condition that failed. --file has tokens [E,T] and state [E,T] or [E,T,S], whole numbers or reals.\n\n"
        "  --at SITE         a value by name, as blocks.2.hook_resid_post\n"
        "  --state FIELD     of the world, such as board_rel; board_rel=0 asks whether it is 0\n"
        "  --kind KIND       the class of the claim: ridge (the default), softmax, mean\n"
        "  --tau X           by how much the site is to be read better than all else (.05 of accuracy, .1 of R2)\n"
        "  --allow-output    the state is the task: that the output shows it too is no objection\n"
        "  --trivial CLASS   labels of this class are not judged (0, an empty square, of boards; -1: all are)\n"
        "  --episodes N      drawn from the world (800)\n"
        "  --rows N          at most so many positions of them (16000)\n"
        "  --edits N         at most so many edits (1000)\n"
        "  --seed N          of all that is drawn (1000003, so that a model was not trained on the same episodes)\n"
        "  --json            for machines\n",
        to);
    asked_list_worlds(to);
}

typedef struct settings {
    const char *file, *table, *text, *test, *state, *at, *kind;
    double tau;
    long long trivial, episodes, rows, edits, seed;
    bool allow_output, json;
} settings;

#define PLACE(field) offsetof(settings, field)
static const asked_option options[] = {
    {"file", ASKED_WORD, PLACE(file), 0, 0},
    {"table", ASKED_WORD, PLACE(table), 0, 0},
    {"text", ASKED_WORD, PLACE(text), 0, 0},
    {"test", ASKED_WORD, PLACE(test), 0, 0},
    {"state", ASKED_WORD, PLACE(state), 0, 0},
    {"at", ASKED_WORD, PLACE(at), 0, 0},
    {"kind", ASKED_WORD, PLACE(kind), 0, 0},
    {"tau", ASKED_REAL, PLACE(tau), 0, 1},
    {"allow-output", ASKED_FLAG, PLACE(allow_output), 0, 0},
    {"trivial", ASKED_WHOLE, PLACE(trivial), -1, 1e6},
    {"episodes", ASKED_WHOLE, PLACE(episodes), 8, 1e7},
    {"rows", ASKED_WHOLE, PLACE(rows), 8, 1e8},
    {"edits", ASKED_WHOLE, PLACE(edits), 1, 1e7},
    {"seed", ASKED_WHOLE, PLACE(seed), 0, 9e15},
    {"json", ASKED_FLAG, PLACE(json), 0, 0},
};

/* ---- the card ---- */

enum { NO_TRIVIAL = -2, BAR = 30 };

static void bar(const char *name, const sg_worldmodel_number *n, const char *from, const cli_paint *c)
{
    const int full = (int)lround(fmin(fmax(n->rate.value, 0), 1) * BAR);
    printf("  %-18s %6.3f  [%6.3f,%6.3f]  %.*s%s%.*s%s  %s\n", name, n->rate.value, n->rate.low, n->rate.high, full,
           "##############################", c->dim, BAR - full, "..............................", c->off, from);
}

static void for_people(const char *model, const sg_worldmodel_data *d, const sg_worldmodel *f)
{
    const cli_paint c = cli_colours();
    char from[160];
    const sg_worldmodel_number *seeds = f->untrained_seed;
    const sg_worldmodel_number chance = {true, f->chance, 0};

    printf("%s%s%s  %s\n", c.bold, model, c.off, f->site);
    printf("  state %s of %s, %s by a probe of kind %s", f->state, d->world, f->is_r2 ? "R2" : "accuracy",
           sg_probe_kind_name(f->probe));
    if (d->trivial >= 0)
        printf(", without labels of class %d", d->trivial);
    printf("\n  %lld episodes to fit on, %lld to choose penalties and strength on, %lld to judge on; seed %llu\n"
           "  %lld labels; 95 %% intervals by %s over episodes\n\n",
           (long long)f->n_episodes[0], (long long)f->n_episodes[1], (long long)f->n_episodes[2],
           (unsigned long long)f->seed, (long long)f->site_reads.rate.n, "bootstrap");
    bar("activation", &f->site_reads, "", &c);
    snprintf(from, sizeof from, "%s; bag %.3f, by position %.3f, embedding %.3f",
             sg_worldmodel_reading_name(f->best_input), f->reading[SG_READING_BAG].rate.value,
             f->reading[SG_READING_PLACES].rate.value, f->reading[SG_READING_EMBEDDING].rate.value);
    bar("input", &f->input, from, &c);
    snprintf(from, sizeof from, "seeds %.3f, %.3f, %.3f", seeds[0].rate.value, seeds[1].rate.value,
             seeds[2].rate.value);
    bar("untrained network", &f->untrained, from, &c);
    snprintf(from, sizeof from, "%s; logits %.3f, next token %.3f%s", sg_worldmodel_reading_name(f->best_output),
             f->reading[SG_READING_OUTPUT].rate.value, f->reading[SG_READING_LABEL].rate.value,
             f->output_allowed ? "; waived by --allow-output" : "");
    bar("output", &f->output, from, &c);
    bar("shuffled states", &f->shuffled, "control", &c);
    if (!f->is_r2)
        bar("commonest class", &chance, "control, by task and position", &c);
    printf("\n  effect of edits    %6.3f  [%6.3f,%6.3f]  n %lld, strength %g\n", f->used.effect.value,
           f->used.effect.low, f->used.effect.high, (long long)f->used.effect.n, f->used.strength);
    printf("  random direction   %6.3f  [%6.3f,%6.3f]  control\n", f->used.random.value, f->used.random.low,
           f->used.random.high);
    printf("    %s: %.3f before, %.3f after,\n    %.3f after as far in a random direction\n\n", f->used.measure,
           f->used.before, f->used.after, f->used.random_after);
    printf("  %sverdict: %s%s", c.bold, sg_worldmodel_verdict_text(f->verdict), c.off);
    for (int v = SG_WORLDMODEL_NOT_REPRESENTED, also = 0; v < SG_N_WORLDMODEL_VERDICTS; v++)
        if (f->failed[v] && v != (int)f->verdict)
            printf("%s %s", also++ ? "," : "; also", sg_worldmodel_verdict_text((sg_worldmodel_verdict)v));
    printf("  (tau %g, seed %llu)\n", f->tau, (unsigned long long)f->seed);
}

static json_t *rate(const sg_rate *r)
{
    return json_pack("{s:f, s:[f,f], s:I}", "value", r->value, "interval", r->low, r->high, "n", (json_int_t)r->n);
}

static json_t *number(const sg_worldmodel_number *n)
{
    if (!n->known)
        return json_null();
    json_t *j = rate(&n->rate);
    if (!isnan(n->lambda))
        json_object_set_new(j, "lambda", json_real(n->lambda));
    return j;
}

static int as_json(const char *model, const sg_worldmodel_data *d, const sg_worldmodel *f)
{
    json_t *readings = json_object(), *seeds = json_array(), *failed = json_array();
    for (int v = SG_WORLDMODEL_NOT_REPRESENTED; v < SG_N_WORLDMODEL_VERDICTS; v++)
        if (f->failed[v])
            json_array_append_new(failed, json_string(sg_worldmodel_verdict_text((sg_worldmodel_verdict)v)));
    for (int r = 0; r < SG_N_READINGS; r++)
        json_object_set_new(readings, sg_worldmodel_reading_name((sg_worldmodel_reading)r), number(&f->reading[r]));
    for (int k = 0; k < SG_WORLDMODEL_SEEDS; k++)
        json_array_append_new(seeds, number(&f->untrained_seed[k]));
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:I}", "model", model, "site", f->site, "world", d->world,
                  "state", f->state, "metric", f->is_r2 ? "r2" : "accuracy", "probe", sg_probe_kind_name(f->probe),
                  "trivial", d->trivial, "tau", f->tau, "seed", (json_int_t)f->seed);
    json_object_set_new(
        root, "episodes",
        json_pack("[I,I,I]", (json_int_t)f->n_episodes[0], (json_int_t)f->n_episodes[1], (json_int_t)f->n_episodes[2]));
    json_object_set_new(root, "activation", number(&f->site_reads));
    json_object_set_new(root, "input", number(&f->input));
    json_object_set_new(root, "untrained", number(&f->untrained));
    json_object_set_new(root, "output", number(&f->output));
    json_object_set_new(root, "shuffled", number(&f->shuffled));
    json_object_set_new(root, "commonest_class", f->is_r2 ? json_null() : rate(&f->chance));
    json_object_set_new(root, "effect",
                        json_pack("{s:s, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "measure", f->used.measure, "before",
                                  f->used.before, "after", f->used.after, "random_after", f->used.random_after,
                                  "strength", f->used.strength, "effect", rate(&f->used.effect), "random",
                                  rate(&f->used.random), "difference", rate(&f->used.difference)));
    json_object_set_new(root, "readings", readings);
    json_object_set_new(root, "untrained_seeds", seeds);
    json_object_set_new(root, "output_allowed", json_boolean(f->output_allowed));
    json_object_set_new(root, "failed", failed);
    json_object_set_new(root, "verdict", json_string(sg_worldmodel_verdict_text(f->verdict)));
    return cli_print_json(root);
}

/* ---- the command ---- */

static sg_status get_table(sg_worldmodel_data *d, const settings *s, const sg_model *m, sg_error *err)
{
    char list[256], *rest = NULL;
    const char *states[16], *name = strrchr(s->table, '/');
    sg_worldmodel_columns columns = {.text = s->text, .states = states, .test = s->test};
    sg_table *t;
    snprintf(list, sizeof list, "%s", s->state);
    for (char *c = strtok_r(list, ",", &rest); c && columns.n_states < 16; c = strtok_r(NULL, ",", &rest))
        states[columns.n_states++] = c;
    SG_TRY(sg_table_open(&t, s->table, err));
    const sg_status status =
        sg_worldmodel_table(d, m, t, columns, s->episodes ? s->episodes : 2500, (uint64_t)s->seed, err);
    sg_table_free(t);
    if (status == SG_OK)
        snprintf(d->world, sizeof d->world, "%s", name ? name + 1 : s->table);
    return status;
}

static sg_status get_data(sg_worldmodel_data *d, const settings *s, asked_world *w, const sg_model *m, sg_error *err)
{
    if (s->file)
        return sg_worldmodel_open(d, s->file, err);
    if (s->table)
        return get_table(d, s, m, err);
    SG_TRY(asked_fit(w, m, err));
    return sg_worldmodel_draw(d, w->world, w->n_settings, w->settings, s->state, s->episodes ? s->episodes : 800,
                              (uint64_t)s->seed, err);
}

static int run(const settings *s, asked_world *w, const char *path)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_worldmodel_data d = {0};
    sg_worldmodel found;
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    asked_progress progress = {0};
    opts.tau = s->tau;
    opts.allow_output = s->allow_output;
    opts.n_rows = (sg_dim)s->rows;
    opts.n_edits = (sg_dim)s->edits;
    opts.seed = (uint64_t)s->seed;
    opts.cancel = &asked_stop;
    opts.context = &progress;
    opts.progress = isatty(STDERR_FILENO) ? asked_show : NULL;
    asked_catch();
    sg_status status = s->kind ? asked_probe_kind(s->kind, &opts.probe.kind, &err) : SG_OK;
    if (status == SG_OK)
        status = sg_model_open(&m, path, sg_model_defaults(), &err);
    if (status == SG_OK)
        status = get_data(&d, s, w, m, &err);
    if (status == SG_OK && s->trivial != NO_TRIVIAL)
        d.trivial = (int)s->trivial;
    if (status == SG_OK)
        status = sg_worldmodel_check(&found, m, s->at, &d, opts, &err);
    asked_hide(&progress);
    int code = 0;
    if (status != SG_OK) {
        code = asked_fail(&err);
    } else {
        cli_warnings(m);
        code = s->json ? as_json(path, &d, &found) : (for_people(path, &d, &found), 0);
    }
    sg_worldmodel_data_free(&d);
    sg_model_close(m);
    return code;
}

int cmd_worldmodel(int argc, char **argv)
{
    settings s = {.tau = nan(""), .trivial = NO_TRIVIAL, .rows = 16000, .edits = 1000, .seed = 1000003};
    asked_world w = {0};
    const char *model = NULL;
    int code = asked_read(argc, argv, "worldmodel", help, SG_COUNT_OF(options), options, &s, &w, &model);
    if (code < 0 && !s.at)
        code = cli_usage("worldmodel", "at which value? --at SITE; `sightglass inspect %s` names them", model);
    if (code < 0 && (w.world != NULL) + (s.file != NULL) + (s.table != NULL) != 1)
        code = cli_usage("worldmodel", "wanted one of --world, --file and --table");
    if (code < 0 && !s.file && !s.state)
        code = cli_usage("worldmodel", "which state? --state %s", s.table ? "COLUMN,..." : "FIELD");
    if (code < 0 && s.table && !s.text)
        code = cli_usage("worldmodel", "which column has the names? --text COLUMN");
    if (code < 0)
        code = run(&s, &w, model);
    asked_world_free(&w);
    return code;
}
