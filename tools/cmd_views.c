/* sightglass heads, neurons, attribution: what a model's parts look at, fire on and write, as tables with their
 * controls. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/othello.h"
#include "sightglass/views.h"

typedef struct settings {
    const char *labels, *probe;
    long long episodes, seed, top, first, period;
    bool json;
} settings;

#define PLACE(field) offsetof(settings, field)
static const asked_option options[] = {
    {"episodes", ASKED_WHOLE, PLACE(episodes), 4, 1e7}, {"seed", ASKED_WHOLE, PLACE(seed), 0, 9e15},
    {"first", ASKED_WHOLE, PLACE(first), 0, 1e6},       {"json", ASKED_FLAG, PLACE(json), 0, 0},
    {"top", ASKED_WHOLE, PLACE(top), 0, 1e5},           {"period", ASKED_WHOLE, PLACE(period), 3, 1e6},
    {"labels", ASKED_WORD, PLACE(labels), 0, 0},        {"probe", ASKED_WORD, PLACE(probe), 0, 0},
};
enum { N_FOR_HEADS = 6 }; /* of these, the first */

/* A model with episodes of a world. */
typedef struct subject {
    const char *path;
    sg_model *m;
    sg_sample *sample;
    const sg_tensor *tokens, *counts;
    sg_views_opts opts;
    asked_progress progress;
} subject;

static sg_status subject_open(subject *s, const settings *r, asked_world *w, sg_error *err)
{
    s->opts = sg_views_defaults();
    s->opts.seed = (uint64_t)r->seed;
    s->opts.first = r->first;
    s->opts.cancel = &asked_stop;
    s->opts.context = &s->progress;
    s->opts.progress = isatty(STDERR_FILENO) ? asked_show : NULL;
    asked_catch();
    SG_TRY(sg_model_open(&s->m, s->path, sg_model_defaults(), err));
    if (!w->world)
        return SG_OK;
    SG_TRY(asked_fit(w, s->m, err));
    SG_TRY(sg_world_sample(&s->sample, w->world, w->n_settings, w->settings, r->episodes, (uint64_t)r->seed, err));
    s->tokens = sg_sample_find(s->sample, "tokens");
    s->counts = sg_sample_find(s->sample, "counts");
    return s->tokens ? SG_OK : sg_fail(err, SG_EARG, "%s has no field tokens", w->world->name);
}

static void subject_close(subject *s)
{
    sg_sample_free(s->sample);
    sg_model_close(s->m);
}

static void set_rate(json_t *to, const char *name, const sg_rate *r)
{
    json_object_set_new(
        to, name,
        json_pack("{s:f, s:[f,f], s:I}", "value", r->value, "interval", r->low, r->high, "n", (json_int_t)r->n));
}

/* ---- heads ---- */

static void heads_help(FILE *to)
{
    fputs("usage: sightglass heads MODEL [options]\n"
          "       sightglass heads MODEL --world NAME [world's options] [options]\n\n"
          "Says which attention heads copy, on random tokens that are repeated once: induction heads look from a "
          "token's\n"
          "second occurrence to what came after its first, others at its first occurrence or at the token before. "
          "Beside\n"
          "each score stand its 95 % interval and the greatest score of any head of an untrained network.\n\n"
          "With --world, says what each attention head looks at: moves of the player about to move (mine), of the "
          "other (yours), of "
          "the\n"
          "same parity of plies - these as shares of what it gives to earlier tokens -, itself, the token before, the\n"
          "first. Beside each share stands what even attention would give; a head is called by a gaze only where the\n"
          "95 % interval of the excess lies above .005 and above the excess of every head of an untrained network.\n\n"
          "  --episodes N   of the world (300); sequences of repeated tokens (32)\n"
          "  --period N     tokens before they repeat (50, or what the context holds)\n"
          "  --first N      the first position that is asked about (4)\n"
          "  --seed N       of episodes or tokens, and of the untrained network (1000003)\n"
          "  --top N        heads to show (all; those that copy most, 20)\n"
          "  --json         for machines\n",
          to);
    asked_list_worlds(to);
}

static int heads_json(const subject *s, const sg_heads *h)
{
    json_t *list = json_array(), *bar = json_object();
    for (int k = 0; k < SG_N_GAZES; k++)
        json_object_set_new(bar, sg_gaze_name((sg_gaze)k), json_real(h->bar[k]));
    for (int i = 0; i < h->n; i++) {
        const sg_head *a = &h->heads[i];
        json_t *gazes = json_object();
        for (int k = 0; k < SG_N_GAZES; k++) {
            const sg_head_gaze *z = &a->gaze[k];
            if (isnan(z->share))
                continue;
            json_t *g = json_pack("{s:f, s:f, s:f}", "share", z->share, "uniform", z->uniform, "untrained_excess",
                                  z->untrained);
            set_rate(g, "excess", &z->excess);
            json_object_set_new(gazes, sg_gaze_name((sg_gaze)k), g);
        }
        json_array_append_new(list, json_pack("{s:i, s:i, s:o, s:o}", "layer", a->layer, "head", a->head, "kind",
                                              a->kind < 0 ? json_null() : json_string(sg_gaze_name((sg_gaze)a->kind)),
                                              "gazes", gazes));
    }
    return cli_print_json(json_pack("{s:s, s:I, s:I, s:o, s:o}", "model", s->path, "episodes",
                                    (json_int_t)h->n_episodes, "positions", (json_int_t)h->n_positions, "untrained_bar",
                                    bar, "heads", list));
}

static void heads_text(const subject *s, const sg_heads *h, const settings *r)
{
    const cli_paint c = cli_colours();
    printf("%s%s%s  %lld episodes, %lld positions\n", c.bold, s->path, c.off, (long long)h->n_episodes,
           (long long)h->n_positions);
    printf("  share (%swhat even attention gives%s) of each gaze; excess with 95 %% interval for the head's kind\n\n",
           c.dim, c.off);
    printf("  %s%-6s", c.bold, "head");
    for (int k = 0; k < SG_N_GAZES; k++)
        printf(" %-13s", sg_gaze_name((sg_gaze)k));
    printf(" %-12s excess%s\n", "kind", c.off);
    for (int i = 0; i < h->n && (r->top < 0 || i < r->top); i++) {
        const sg_head *a = &h->heads[i];
        char name[32];
        snprintf(name, sizeof name, "%d.%d", a->layer, a->head);
        printf("  %-6s", name);
        for (int k = 0; k < SG_N_GAZES; k++)
            printf(" %.3f %s(%.3f)%s", a->gaze[k].share, c.dim, a->gaze[k].uniform, c.off);
        if (a->kind < 0) {
            printf(" -\n");
            continue;
        }
        const sg_head_gaze *z = &a->gaze[a->kind];
        printf(" %s%-12s%s %.3f [%.3f,%.3f], untrained %.3f\n", c.bold, sg_gaze_name((sg_gaze)a->kind), c.off,
               z->excess.value, z->excess.low, z->excess.high, z->untrained);
    }
    printf("\n  greatest excess of an untrained head:");
    for (int k = 0; k < SG_N_GAZES; k++)
        if (!isnan(h->heads[0].gaze[k].share))
            printf(" %s %.3f%s", sg_gaze_name((sg_gaze)k), h->bar[k], k + 1 < SG_N_GAZES ? "," : "\n");
}

/* ---- heads that copy ---- */

static int copying_json(const subject *s, const sg_copy_heads *h)
{
    json_t *list = json_array(), *bar = json_object(), *even = json_object();
    for (int k = 0; k < SG_N_COPYINGS; k++) {
        json_object_set_new(bar, sg_copying_name((sg_copying)k), json_real(h->bar[k]));
        json_object_set_new(even, sg_copying_name((sg_copying)k), json_real(h->even[k]));
    }
    for (int i = 0; i < h->n; i++) {
        const sg_copy_head *a = &h->heads[i];
        json_t *scores = json_object(), *untrained = json_object();
        for (int k = 0; k < SG_N_COPYINGS; k++) {
            set_rate(scores, sg_copying_name((sg_copying)k), &a->score[k]);
            json_object_set_new(untrained, sg_copying_name((sg_copying)k), json_real(a->untrained[k]));
        }
        json_array_append_new(list,
                              json_pack("{s:i, s:i, s:o, s:o, s:o}", "layer", a->layer, "head", a->head, "kind",
                                        a->kind < 0 ? json_null() : json_string(sg_copying_name((sg_copying)a->kind)),
                                        "scores", scores, "untrained", untrained));
    }
    return cli_print_json(json_pack("{s:s, s:I, s:I, s:o, s:o, s:[f,f], s:o}", "model", s->path, "sequences",
                                    (json_int_t)h->n_sequences, "period", (json_int_t)h->period, "even", even,
                                    "untrained_bar", bar, "nll", h->nll[0], h->nll[1], "heads", list));
}

static int by_copying(const void *x, const void *y)
{
    const sg_copy_head *a = *(const sg_copy_head *const *)x, *b = *(const sg_copy_head *const *)y;
    double most[2] = {0, 0};
    for (int k = 0; k < SG_COPY_FIRST; k++) {
        most[0] = fmax(most[0], a->score[k].value);
        most[1] = fmax(most[1], b->score[k].value);
    }
    if (most[0] != most[1])
        return most[0] < most[1] ? 1 : -1;
    return a->layer != b->layer ? a->layer - b->layer : a->head - b->head;
}

static int copying_text(const subject *s, const sg_copy_heads *h, const settings *r)
{
    const cli_paint c = cli_colours();
    const sg_copy_head **sorted = malloc((size_t)h->n * sizeof *sorted);
    if (!sorted) {
        fprintf(stderr, "sightglass: out of memory\n");
        return EXIT_FAILED;
    }
    for (int i = 0; i < h->n; i++)
        sorted[i] = &h->heads[i];
    qsort(sorted, (size_t)h->n, sizeof *sorted, by_copying);
    printf("%s%s%s  %lld sequences of %lld random tokens, twice\n", c.bold, s->path, c.off, (long long)h->n_sequences,
           (long long)h->period);
    printf("  nats per token: %.3f the first time, %.3f the second\n\n", h->nll[0], h->nll[1]);
    printf("  %s%-8s", c.bold, "head");
    for (int k = 0; k < SG_N_COPYINGS; k++)
        printf(" %-10s", sg_copying_name((sg_copying)k));
    printf(" kind, 95 %% interval%s\n", c.off);
    const long long top = r->top < 0 ? 20 : r->top;
    for (int i = 0; i < h->n && i < top; i++) {
        const sg_copy_head *a = sorted[i];
        char name[32];
        snprintf(name, sizeof name, "%d.%d", a->layer, a->head);
        printf("  %-8s", name);
        for (int k = 0; k < SG_N_COPYINGS; k++)
            printf(" %s%-10.3f%s", k == a->kind ? c.bold : "", a->score[k].value, c.off);
        if (a->kind < 0)
            printf(" -\n");
        else
            printf(" %s%s%s [%.3f,%.3f]\n", c.bold, sg_copying_name((sg_copying)a->kind), c.off, a->score[a->kind].low,
                   a->score[a->kind].high);
    }
    const struct {
        const char *name;
        const double *of;
    } below[] = {{"even", h->even}, {"untrained", h->bar}};
    for (int row = 0; row < 2; row++) {
        printf("  %s%-9s", c.dim, below[row].name);
        for (int k = 0; k < SG_N_COPYINGS; k++)
            printf("%s%-10.3f", k ? " " : "", below[row].of[k]);
        printf("%s%s\n", row ? " the greatest of any head" : " what even attention gives", c.off);
    }
    free(sorted);
    return 0;
}

static int copying(subject *s, const settings *r, sg_error *err)
{
    sg_copy_heads *h = NULL;
    const sg_status status = sg_copy_heads_view(&h, s->m, r->episodes < 0 ? 32 : r->episodes, r->period, s->opts, err);
    asked_hide(&s->progress);
    const int code = status != SG_OK ? asked_fail(err) : r->json ? copying_json(s, h) : copying_text(s, h, r);
    sg_copy_heads_free(h);
    return code;
}

int cmd_heads(int argc, char **argv)
{
    settings r = {.episodes = -1, .seed = 1000003, .first = 4, .top = -1};
    asked_world w = {0};
    subject s = {0};
    sg_heads *h = NULL;
    sg_error err = {SG_OK, ""};
    int code = asked_read(argc, argv, "heads", heads_help, N_FOR_HEADS, options, &r, &w, &s.path);
    if (code < 0 && w.world && r.period)
        code = cli_usage("heads", "--period goes without --world");
    if (code < 0 && w.world && r.episodes < 0)
        r.episodes = 300;
    if (code < 0) {
        sg_status status = subject_open(&s, &r, &w, &err);
        if (status == SG_OK && !w.world) {
            code = copying(&s, &r, &err);
        } else {
            if (status == SG_OK)
                status = sg_heads_view(&h, s.m, s.tokens, s.counts, sg_sample_find(s.sample, "mover"), s.opts, &err);
            asked_hide(&s.progress);
            code = status != SG_OK ? asked_fail(&err) : r.json ? heads_json(&s, h) : (heads_text(&s, h, &r), 0);
        }
    }
    sg_heads_free(h);
    subject_close(&s);
    asked_world_free(&w);
    return code;
}

/* ---- neurons ---- */

static void neurons_help(FILE *to)
{
    fputs("usage: sightglass neurons MODEL --world NAME [world's options] [options]\n\n"
          "Says which feature of the world each MLP neuron fires on: of all classes of all places of the labels, the "
          "one\n"
          "that it correlates with most, chosen on half of the episodes and judged on the other. Beside it stand the\n"
          "same with features of other episodes at the same positions, and of an untrained network's neuron.\n\n"
          "  --labels NAME,...   fields of the world (board_rel,legal)\n"
          "  --probe DIR/NAME    a saved probe of the first label: cosines of a neuron's weights with its directions\n"
          "  --episodes N        (300)\n"
          "  --first N           the first position that is asked about (4)\n"
          "  --seed N            of episodes, shuffles and the untrained network (1000003)\n"
          "  --top N             neurons to show (20)\n"
          "  --json              for machines\n",
          to);
    asked_list_worlds(to);
}

typedef struct label_list {
    char text[256];
    sg_label list[16];
    int n;
} label_list;

static sg_status read_labels(label_list *l, const subject *s, const char *names, const sg_world *w, sg_error *err)
{
    char *rest = NULL;
    snprintf(l->text, sizeof l->text, "%s", names);
    for (char *name = strtok_r(l->text, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (l->n == (int)SG_COUNT_OF(l->list))
            return sg_fail(err, SG_EARG, "--labels: more than %zu", SG_COUNT_OF(l->list));
        l->list[l->n] = (sg_label){name, sg_sample_find(s->sample, name)};
        if (!l->list[l->n++].values)
            return sg_fail(err, SG_EARG, "--labels: %s has no field %.60s", w->name, name);
    }
    return SG_OK;
}

/* "board_rel e3 mine" where the places are squares of a board, else "name[place] = class". */
static const char *feature_name(char *buf, size_t n, const label_list *l, const sg_feature *f, const sg_world *w)
{
    static const char *const colours[2][3] = {{"empty", "mine", "yours"}, {"empty", "black", "white"}};
    const sg_label *label = &l->list[f->label];
    const sg_dim places = label->values->n_dims == 3 ? label->values->dims[2] : 1;
    int size = 4;
    while (size * size < places)
        size++;
    if (strcmp(w->name, "othello") == 0 && size * size == places) {
        char square[4];
        const bool board = strncmp(label->name, "board_", 6) == 0;
        const char *is = !board ? "" : colours[strcmp(label->name, "board_abs") == 0][f->class_id];
        snprintf(buf, n, "%s %s %s", label->name, sg_othello_name(size, f->place, square), is);
    } else {
        snprintf(buf, n, "%s[%d] = %d", label->name, f->place, f->class_id);
    }
    return buf;
}

static int neurons_json(const subject *s, const sg_neurons *n, const label_list *l, const sg_world *w)
{
    json_t *list = json_array(), *layers = json_array();
    char buf[96];
    for (int i = 0; i < n->n_layers; i++)
        json_array_append_new(layers, json_pack("{s:I, s:I}", "above", (json_int_t)n->above[i], "untrained_above",
                                                (json_int_t)n->untrained_above[i]));
    for (int i = 0; i < n->n; i++) {
        const sg_neuron *u = &n->neurons[i];
        json_t *j = json_pack("{s:i, s:i, s:s, s:s, s:i, s:i, s:f, s:f, s:f}", "layer", u->layer, "neuron", u->index,
                              "feature", feature_name(buf, sizeof buf, l, &u->feature, w), "label",
                              l->list[u->feature.label].name, "place", u->feature.place, "class", u->feature.class_id,
                              "r_chosen", u->chosen, "r_shuffled", u->shuffled, "r_untrained", u->untrained);
        set_rate(j, "r", &u->r);
        if (!isnan(u->on) && !isnan(u->off))
            json_object_set_new(j, "mean_activation", json_pack("{s:f, s:f}", "on", u->on, "off", u->off));
        if (!isnan(u->cos_in))
            json_object_set_new(j, "cosine", json_pack("{s:f, s:f}", "in", u->cos_in, "out", u->cos_out));
        json_array_append_new(list, j);
    }
    return cli_print_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "model", s->path, "episodes",
                                    (json_int_t)n->n_episodes, "positions", (json_int_t)n->n_rows, "features",
                                    (json_int_t)n->n_features, "neurons_per_layer", (json_int_t)n->n_in_layer, "bar",
                                    n->bar, "layers", layers, "neurons", list));
}

static void neurons_text(const subject *s, const sg_neurons *n, const label_list *l, const sg_world *w)
{
    const cli_paint c = cli_colours();
    char buf[96], name[32];
    printf("%s%s%s  %lld neurons a layer, %lld features; judged on %lld episodes, %lld positions\n\n", c.bold, s->path,
           c.off, (long long)n->n_in_layer, (long long)n->n_features, (long long)n->n_episodes, (long long)n->n_rows);
    printf("  %s%-9s %-22s %6s  %-15s %9s %9s  %15s", c.bold, "neuron", "fires on", "r", "95 % interval", "shuffled",
           "untrained", "mean on / off");
    bool probed = false;
    for (int i = 0; i < n->n; i++)
        probed = probed || !isnan(n->neurons[i].cos_in);
    printf("%s%s\n", probed ? "  cos in    out" : "", c.off);
    for (int i = 0; i < n->n; i++) {
        const sg_neuron *u = &n->neurons[i];
        snprintf(name, sizeof name, "%d.%d", u->layer, u->index);
        printf("  %-9s %-22s %6.3f  [%6.3f,%6.3f] %9.3f %9.3f  %7.3f %7.3f", name,
               feature_name(buf, sizeof buf, l, &u->feature, w), u->r.value, u->r.low, u->r.high, u->shuffled,
               u->untrained, u->on, u->off);
        if (!isnan(u->cos_in))
            printf("  %6.3f %6.3f", u->cos_in, u->cos_out);
        putchar('\n');
    }
    printf("\n  the greatest r of any neuron with features of other episodes is %.3f; above it are\n", n->bar);
    for (int i = 0; i < n->n_layers; i++)
        printf("    layer %d: %lld of %lld neurons, of the untrained network %lld\n", i, (long long)n->above[i],
               (long long)n->n_in_layer, (long long)n->untrained_above[i]);
}

static sg_status open_probe(sg_probe **p, sg_probe_manifest *what, const char *path, sg_error *err)
{
    char dir[1024];
    const char *slash = strrchr(path, '/');
    if (snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".") >= (int)sizeof dir)
        return sg_fail(err, SG_EARG, "--probe: the path is too long");
    return sg_probe_open(p, what, dir, slash ? slash + 1 : path, err);
}

int cmd_neurons(int argc, char **argv)
{
    settings r = {.labels = "board_rel,legal", .episodes = 300, .seed = 1000003, .first = 4, .top = 20};
    asked_world w = {0};
    subject s = {0};
    label_list labels = {.n = 0};
    sg_probe *probe = NULL;
    sg_neurons *n = NULL;
    sg_error err = {SG_OK, ""};
    int code = asked_read(argc, argv, "neurons", neurons_help, SG_COUNT_OF(options), options, &r, &w, &s.path);
    if (code < 0 && !w.world)
        code = cli_usage("neurons", "wanted --world NAME, whose states are the features");
    if (code < 0) {
        sg_status status = subject_open(&s, &r, &w, &err);
        if (status == SG_OK)
            status = read_labels(&labels, &s, r.labels, w.world, &err);
        if (status == SG_OK && r.probe)
            status = open_probe(&probe, NULL, r.probe, &err);
        if (status == SG_OK)
            status =
                sg_neurons_view(&n, s.m, s.tokens, s.counts, labels.n, labels.list, probe, (int)r.top, s.opts, &err);
        asked_hide(&s.progress);
        code = status != SG_OK ? asked_fail(&err)
               : r.json        ? neurons_json(&s, n, &labels, w.world)
                               : (neurons_text(&s, n, &labels, w.world), 0);
    }
    sg_neurons_free(n);
    sg_probe_free(probe);
    subject_close(&s);
    asked_world_free(&w);
    return code;
}

/* ---- attribution ---- */

static void attribution_help(FILE *to)
{
    fputs("usage: sightglass attribution MODEL --world NAME --probe DIR/NAME [world's options] [options]\n\n"
          "Says which parts of a model write what a saved linear probe reads: of the logit of the true class, less the "
          "mean\n"
          "of the others, how much comes from the embedding, each head, each MLP. Beside it stands the same for labels "
          "of\n"
          "other episodes at the same positions. The probe's manifest says at which site, and of which label.\n\n"
          "  --labels NAME   another field of the world\n"
          "  --episodes N    (300)\n"
          "  --first N       the first position that is asked about (4)\n"
          "  --seed N        of episodes and shuffles (1000003)\n"
          "  --json          for machines\n",
          to);
    asked_list_worlds(to);
}

static json_t *part_json(const sg_part *p)
{
    json_t *j = json_pack("{s:s}", "part", p->name);
    if (p->layer >= 0)
        json_object_set_new(j, "layer", json_integer(p->layer));
    if (p->head >= 0)
        json_object_set_new(j, "head", json_integer(p->head));
    set_rate(j, "toward", &p->toward);
    set_rate(j, "shuffled", &p->shuffled);
    return j;
}

static int parts_json(const subject *s, const sg_parts *p, const char *label)
{
    json_t *list = json_array();
    for (int i = 0; i < p->n; i++)
        json_array_append_new(list, part_json(&p->parts[i]));
    return cli_print_json(json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "model", s->path, "label", label, "episodes",
                                    (json_int_t)p->n_episodes, "positions", (json_int_t)p->n_rows, "site",
                                    part_json(&p->whole), "parts", list));
}

static void parts_text(const subject *s, const sg_parts *p, const char *label)
{
    const cli_paint c = cli_colours();
    printf("%s%s%s  %s read at %s; %lld episodes, %lld positions, %lld labels\n\n", c.bold, s->path, c.off, label,
           p->whole.name, (long long)p->n_episodes, (long long)p->n_rows, (long long)p->whole.toward.n);
    printf("  %s%-24s %8s  %-17s %9s%s\n", c.bold, "part", "toward", "95 % interval", "shuffled", c.off);
    for (int i = 0; i <= p->n; i++) {
        const sg_part *a = i < p->n ? &p->parts[i] : &p->whole;
        printf("  %s%-24s %8.4f  [%7.4f,%7.4f] %9.4f%s\n", i < p->n ? "" : c.bold, i < p->n ? a->name : "all together",
               a->toward.value, a->toward.low, a->toward.high, a->shuffled.value, i < p->n ? "" : c.off);
    }
}

int cmd_attribution(int argc, char **argv)
{
    settings r = {.episodes = 300, .seed = 1000003, .first = 4};
    asked_world w = {0};
    subject s = {0};
    sg_probe *probe = NULL;
    sg_probe_manifest what = {.site = NULL};
    sg_parts *p = NULL;
    sg_error err = {SG_OK, ""};
    int code = asked_read(argc, argv, "attribution", attribution_help, SG_COUNT_OF(options), options, &r, &w, &s.path);
    if (code < 0 && (!w.world || !r.probe))
        code = cli_usage("attribution", "wanted --world NAME and --probe DIR/NAME, a saved probe");
    if (code < 0) {
        sg_status status = subject_open(&s, &r, &w, &err);
        if (status == SG_OK)
            status = open_probe(&probe, &what, r.probe, &err);
        sg_label label = {r.labels ? r.labels : what.label, NULL};
        if (status == SG_OK && (!label.name || !(label.values = sg_sample_find(s.sample, label.name))))
            status = sg_fail(&err, SG_EARG, "%s has no field %.60s", w.world->name, label.name ? label.name : "");
        if (status == SG_OK)
            status = sg_parts_view(&p, s.m, what.site, probe, s.tokens, s.counts, &label,
                                   strncmp(label.name, "board_", 6) == 0 ? 0 : -1, s.opts, &err);
        asked_hide(&s.progress);
        code = status != SG_OK ? asked_fail(&err)
               : r.json        ? parts_json(&s, p, label.name)
                               : (parts_text(&s, p, label.name), 0);
    }
    sg_parts_free(p);
    sg_probe_free(probe);
    subject_close(&s);
    asked_world_free(&w);
    return code;
}
