/* sightglass gan: a small generative adversarial network on points of the plane, trained here or loaded. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "commit.h"
#include "sightglass/gan.h"
#include "sightglass/table.h"

static const char help[] =
    "usage: sightglass gan run [--shape ring] [--iters 2000] [options]\n"
    "       sightglass gan load FILE.json [--iters N] [options]\n\n"
    "run trains a generator and a discriminator on points of the plane, from fresh weights. load opens a model file "
    "of\n"
    "GAN Lab's form, tells what it does, and trains on where --iters says so. All of it is computed by the reference\n"
    "kernels on one thread, so that a page computes the same numbers from the same seed.\n\n"
    "  --shape NAME        line, gaussians (default), ring, disjoint, or drawing\n"
    "  --strokes FILE      points of a drawing: CSV with the columns x and y, in the unit square\n"
    "  --noise KIND        1d-uniform, 1d-gaussian, 2d-uniform (default), 2d-gaussian\n"
    "  --loss KIND         log (default), squares\n"
    "  --d-layers N        more hidden layers of the discriminator, 0 to 5 (1); --g-layers of the generator\n"
    "  --d-units N         units in each of its layers, 1 to 100 (8); --g-units\n"
    "  --d-rate X          its learning rate (0.1); --g-rate\n"
    "  --d-optimizer NAME  sgd (default) or adam; --g-optimizer\n"
    "  --k-d N             updates of the discriminator in an iteration, 0 to 10 (2); --k-g of the generator (1)\n"
    "  --iters N           iterations to train (run: 2000, load: 0)\n"
    "  --every N           a line of the curves every N iterations (100; 0: none)\n"
    "  --seed N            of data, noise and first weights (1)\n"
    "  --save FILE.json    writes the model, in the same form, with FILE.weights.bin beside it\n"
    "  --json              for machines: settings, curves, samples, opinions\n";

typedef struct request {
    const char *verb, *file, *strokes, *save;
    sg_gan_opts opts;
    long long iters, every, seed;
    bool json;
    double rate[SG_N_GAN_NETS];                      /* 0: not given */
    int rule[SG_N_GAN_NETS], k[SG_N_GAN_NETS], loss; /* -1: not given */
    const char *structure;                           /* an option that only run has */
} request;

/* ---- options ---- */

static sg_status read_choice(const char *name, const char *value, int n, const char *const *names, int *out,
                             sg_error *err)
{
    char list[200] = "";
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (strcmp(value, names[i]) == 0)
            return *out = i, SG_OK;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", names[i]);
    }
    return sg_fail(err, SG_EARG, "%s is \"%.40s\", wanted one of %s", name, value, list);
}

static sg_status read_int(const char *name, const char *value, int least, int most, int *out, sg_error *err)
{
    long long x;
    SG_TRY(cli_whole(name, value, least, most, &x, err));
    *out = (int)x;
    return SG_OK;
}

/* An option of one network: the letter stands at --d-, --g-, or behind --k-. */
static sg_status read_net(request *r, const char *name, const char *value, bool *known, sg_error *err)
{
    static const char *const rules[] = {"sgd", "adam"};
    const bool k = strncmp(name, "--k-", 4) == 0 && name[4] && !name[5];
    const char letter = k ? name[4] : name[2];
    const sg_gan_net net = letter == 'g' ? SG_GAN_G : SG_GAN_D;
    sg_gan_net_opts *o = &r->opts.net[net];
    *known = letter == 'd' || letter == 'g';
    if (*known && k)
        return read_int(name, value, 0, SG_GAN_MOST_K, &r->k[net], err);
    if (!*known || name[3] != '-')
        return *known = false, SG_OK;
    if (strcmp(name + 4, "rate") == 0)
        return cli_real(name, value, 1e-9, 100, &r->rate[net], err);
    if (strcmp(name + 4, "optimizer") == 0)
        return read_choice(name, value, 2, rules, &r->rule[net], err);
    r->structure = name;
    if (strcmp(name + 4, "layers") == 0)
        return read_int(name, value, 0, SG_GAN_MOST_LAYERS, &o->n_layers, err);
    if (strcmp(name + 4, "units") == 0)
        return read_int(name, value, 1, SG_GAN_MOST_UNITS, &o->n_units, err);
    *known = false;
    return SG_OK;
}

static sg_status read_word(request *r, const char *name, const char *value, bool *known, sg_error *err)
{
    static const char *const shapes[] = {"line", "gaussians", "ring", "disjoint", "drawing"};
    static const char *const noises[] = {"1d-uniform", "1d-gaussian", "2d-uniform", "2d-gaussian"};
    static const char *const losses[] = {"log", "squares"};
    int choice = 0;
    sg_status status;
    *known = true;
    if (strcmp(name, "--loss") == 0)
        return read_choice(name, value, 2, losses, &r->loss, err);
    if (strcmp(name, "--iters") == 0)
        return cli_whole(name, value, 0, SG_GAN_LAST, &r->iters, err);
    if (strcmp(name, "--every") == 0)
        return cli_whole(name, value, 0, SG_GAN_LAST, &r->every, err);
    if (strcmp(name, "--seed") == 0)
        return cli_whole(name, value, 0, INT64_MAX, &r->seed, err);
    if (strcmp(name, "--save") == 0)
        return r->save = value, SG_OK;
    if (strcmp(name, "--strokes") == 0)
        return r->strokes = r->structure = value, SG_OK;
    if (strcmp(name, "--shape") == 0) {
        status = read_choice(name, value, SG_N_GAN_SHAPES, shapes, &choice, err);
        r->opts.shape = (sg_gan_shape)choice;
        return r->structure = name, status;
    }
    if (strcmp(name, "--noise") == 0) {
        status = read_choice(name, value, SG_N_GAN_NOISES, noises, &choice, err);
        r->opts.noise = (sg_gan_noise)choice;
        return r->structure = name, status;
    }
    return read_net(r, name, value, known, err);
}

/* -1: go on; else the exit status. */
static int read_options(request *r, int argc, char **argv)
{
    const bool load = strcmp(r->verb, "load") == 0;
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        bool known = false;
        if (strcmp(name, "--json") == 0) {
            r->json = true;
        } else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            return fputs(help, stdout), 0;
        } else if (strncmp(name, "--", 2) != 0) {
            if (r->file || !load)
                return cli_usage("gan", "\"%.60s\" is one name too many", name);
            r->file = name;
        } else if (i + 1 == argc) {
            return cli_usage("gan", "%.40s wants a value, or is no option", name);
        } else {
            const sg_status status = read_word(r, name, argv[++i], &known, &err);
            if (status != SG_OK)
                return cli_fail(&err);
            if (!known)
                return cli_usage("gan", "there is no option %.40s", name);
        }
    }
    if (load && !r->file)
        return cli_usage("gan", "load wants a FILE.json");
    if (load && r->structure)
        return cli_usage("gan", "%.40s is what the file says already: load does not take it", r->structure);
    if (!load && (r->opts.shape == SG_GAN_DRAWING) != (r->strokes != NULL))
        return cli_usage("gan", "a drawing wants --strokes FILE, and no other shape has them");
    return -1;
}

/* ---- the work ---- */

typedef struct point {
    sg_dim iteration;
    double cost[SG_N_GAN_NETS], kl, js;
    int outside;
} point;

typedef struct work {
    const request *r;
    sg_gan *gan;
    float *strokes;
    point *curve;
    sg_dim n_curve;
    double seconds;
} work;

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static sg_status read_strokes(work *w, sg_gan_opts *o, sg_error *err)
{
    sg_table *t = NULL;
    SG_TRY(sg_table_open(&t, w->r->strokes, err));
    const int x = sg_table_find(t, "x"), y = sg_table_find(t, "y");
    const sg_dim n = sg_table_n_rows(t);
    sg_status status = SG_OK;
    if (x < 0 || y < 0)
        status = sg_fail(err, SG_EFORMAT, "%s: wanted columns x and y", w->r->strokes);
    else if (n > SG_GAN_MOST_STROKES)
        status =
            sg_fail(err, SG_EARG, "%s: %" PRId64 " points are more than %d", w->r->strokes, n, SG_GAN_MOST_STROKES);
    else if (!(w->strokes = malloc((size_t)SG_MAX(n, 1) * 2 * sizeof *w->strokes)))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < 2 * n && status == SG_OK; i++)
        w->strokes[i] = (float)sg_table_number(t, i / 2, i % 2 ? y : x); /* what is none lies outside, so is refused */
    sg_table_free(t);
    o->strokes = w->strokes;
    o->n_strokes = (int)n;
    return status;
}

/* What the command line changes of a model that is there. */
static sg_status adjust(sg_gan *gan, const request *r, sg_error *err)
{
    for (int net = 0; net < SG_N_GAN_NETS; net++) {
        const sg_gan_net_opts *o = &sg_gan_options(gan)->net[net];
        if (r->rule[net] >= 0 || r->rate[net] > 0)
            SG_TRY(sg_gan_set_rule(gan, (sg_gan_net)net, r->rule[net] >= 0 ? (sg_gan_rule)r->rule[net] : o->rule,
                                   r->rate[net] > 0 ? r->rate[net] : o->rate, err));
        if (r->k[net] >= 0)
            SG_TRY(sg_gan_set_k(gan, (sg_gan_net)net, r->k[net], err));
    }
    if (r->loss >= 0)
        sg_gan_set_loss(gan, (sg_gan_loss)r->loss);
    return SG_OK;
}

static sg_status make(work *w, sg_error *err)
{
    sg_gan_opts o = w->r->opts;
    if (w->r->file) {
        SG_TRY(sg_gan_load(&w->gan, w->r->file, (uint64_t)w->r->seed, err));
    } else {
        o.seed = (uint64_t)w->r->seed;
        if (w->r->strokes)
            SG_TRY(read_strokes(w, &o, err));
        SG_TRY(sg_gan_new(&w->gan, &o, err));
    }
    return adjust(w->gan, w->r, err);
}

static sg_status keep(work *w, sg_error *err)
{
    SG_TRY(sg_gan_look(w->gan, SG_GAN_SEE_SAMPLES | SG_GAN_SEE_METRICS, err));
    const sg_gan_view *v = sg_gan_view_of(w->gan);
    w->curve[w->n_curve++] =
        (point){v->iteration, {v->cost[SG_GAN_D], v->cost[SG_GAN_G]}, v->kl, v->js, v->outside_fake};
    return SG_OK;
}

static void print_point(const point *p)
{
    printf("%9" PRId64 "   %9.3f %9.3f   %7.3f %7.3f   %5d\n", p->iteration, p->cost[SG_GAN_D] / 2, p->cost[SG_GAN_G],
           p->kl, p->js, p->outside);
}

static sg_status train(work *w, sg_error *err)
{
    const request *r = w->r;
    const double began = sg_now();
    double told = began;
    const bool tells = !r->json && r->every && r->iters;
    w->curve = calloc((size_t)(r->every ? r->iters / r->every : 0) + 2, sizeof *w->curve);
    if (!w->curve)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    if (tells)
        printf("iteration   cost of D    of G        KL      JS   outside\n");
    for (long long i = 1; i <= r->iters && !stopped; i++) {
        SG_TRY(sg_gan_step(w->gan, SG_GAN_BOTH, err));
        if (r->every && i % r->every == 0) {
            SG_TRY(keep(w, err));
            if (tells)
                print_point(&w->curve[w->n_curve - 1]);
        }
        if (isatty(STDERR_FILENO) && sg_now() - told > 0.5) {
            told = sg_now();
            fprintf(stderr, "\r%lld of %lld iterations, %.0f s left \033[K", i, r->iters,
                    (told - began) * (double)(r->iters - i) / (double)i);
        }
    }
    if (told > began)
        fputs("\r\033[K", stderr);
    w->seconds = sg_now() - began;
    return sg_gan_look(w->gan, SG_GAN_SEE_ALL, err);
}

/* ---- what is told ---- */

static double mean(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / n;
}

typedef struct middle {
    float g[2], d;
} middle;

/* G at the middle of the noise and D at the middle of the plane: by these a file's weights are recognised. */
static sg_status find_middle(middle *m, sg_gan *gan, sg_error *err)
{
    const float half[2] = {0.5f, 0.5f};
    SG_TRY(sg_gan_generate(gan, m->g, half, 1, err));
    return sg_gan_judge(gan, &m->d, NULL, half, 1, err);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *floats(const float *x, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, number((double)x[i]));
    return list;
}

static json_t *points(const float *x, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, floats(x + 2 * i, 2));
    return list;
}

static json_t *net_json(const sg_gan *gan, sg_gan_net net)
{
    const sg_gan_net_opts *o = &sg_gan_options(gan)->net[net];
    const sg_gan_view *v = sg_gan_view_of(gan);
    return json_pack("{s:i, s:i, s:i, s:s, s:f, s:I, s:o}", "layers", o->n_layers, "units", o->n_units, "k", o->k,
                     "optimizer", sg_gan_rule_name(o->rule), "rate", o->rate, "updates",
                     (json_int_t)sg_gan_updates(gan, net), "cost", number(v->cost[net]));
}

static json_t *curve_json(const work *w)
{
    json_t *list = json_array();
    for (sg_dim i = 0; i < w->n_curve; i++) {
        const point *p = &w->curve[i];
        json_array_append_new(list, json_pack("{s:I, s:o, s:o, s:f, s:f, s:i}", "iteration", (json_int_t)p->iteration,
                                              "cost_d", number(p->cost[SG_GAN_D]), "cost_g", number(p->cost[SG_GAN_G]),
                                              "kl", p->kl, "js", p->js, "outside", p->outside));
    }
    return list;
}

static int print_json(const work *w, const middle *m)
{
    const sg_gan_opts *o = sg_gan_options(w->gan);
    const sg_gan_view *v = sg_gan_view_of(w->gan);
    json_t *root = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "shape", sg_gan_shape_name(o->shape), "noise",
                             sg_gan_noise_name(o->noise), "loss", sg_gan_loss_name(o->loss), "seed",
                             (json_int_t)o->seed, "iteration", (json_int_t)v->iteration, "discriminator",
                             net_json(w->gan, SG_GAN_D), "generator", net_json(w->gan, SG_GAN_G));
    json_object_set_new(root, "kl", json_real(v->kl));
    json_object_set_new(root, "js", json_real(v->js));
    json_object_set_new(root, "outside", json_pack("[i,i]", v->outside_real, v->outside_fake));
    json_object_set_new(root, "mean_d",
                        json_pack("[f,f]", mean(v->d_real, SG_GAN_BATCH), mean(v->d_fake, SG_GAN_BATCH)));
    json_object_set_new(root, "g_middle", floats(m->g, 2));
    json_object_set_new(root, "d_middle", json_real((double)m->d));
    json_object_set_new(root, "curve", curve_json(w));
    json_object_set_new(root, "real", points(sg_gan_real(w->gan), SG_GAN_SHOWN));
    json_object_set_new(root, "fake", points(v->fake[0], SG_GAN_BATCH));
    json_object_set_new(root, "d_real", floats(v->d_real, SG_GAN_BATCH));
    json_object_set_new(root, "d_fake", floats(v->d_fake, SG_GAN_BATCH));
    json_object_set_new(root, "arrows", points(v->arrow[0], SG_GAN_BATCH));
    json_object_set_new(root, "field", floats(v->field[0], SG_GAN_GRID * SG_GAN_GRID));
    json_object_set_new(root, "origin",
                        json_pack("{s:s, s:s, s:s, s:f}", "where", "command", "backend", "reference", "commit",
                                  SG_COMMIT, "seconds", w->seconds));
    return cli_print_json(root);
}

static void print_net(const sg_gan *gan, sg_gan_net net, const char *name)
{
    const sg_gan_net_opts *o = &sg_gan_options(gan)->net[net];
    printf("  %-14s 1 + %d layers of %d units, %s %g, %d update%s in an iteration\n", name, o->n_layers, o->n_units,
           sg_gan_rule_name(o->rule), o->rate, o->k, o->k == 1 ? "" : "s");
}

static int print_text(const work *w, const middle *m)
{
    const sg_gan_opts *o = sg_gan_options(w->gan);
    const sg_gan_view *v = sg_gan_view_of(w->gan);
    printf("%s, %s noise, %s, iteration %" PRId64 ", seed %" PRIu64 "\n", sg_gan_shape_name(o->shape),
           sg_gan_noise_name(o->noise), sg_gan_loss_name(o->loss), v->iteration, o->seed);
    print_net(w->gan, SG_GAN_D, "discriminator");
    print_net(w->gan, SG_GAN_G, "generator");
    printf("  D thinks       %.3f of real points, %.3f of fakes, %.6f of the middle (0.5, 0.5)\n",
           mean(v->d_real, SG_GAN_BATCH), mean(v->d_fake, SG_GAN_BATCH), (double)m->d);
    printf("  G makes        (%.6f, %.6f) of the middle of the noise\n", (double)m->g[0], (double)m->g[1]);
    printf(
        "  KL %.3f, JS %.3f on 30 x 30 cells, GAN Lab's measures; outside the square: %d of %d real, %d of %d fake\n",
        v->kl, v->js, v->outside_real, SG_GAN_SHOWN, v->outside_fake, SG_GAN_BATCH);
    if (w->r->iters && w->seconds > 0)
        printf("  %.2f s, reference kernels on one thread\n", w->seconds);
    return 0;
}

static int work_on(work *w)
{
    sg_error err = {SG_OK, ""};
    middle m;
    cli_catch(on_interrupt);
    sg_status status = make(w, &err);
    if (status == SG_OK)
        status = train(w, &err);
    if (status == SG_OK)
        status = find_middle(&m, w->gan, &err);
    if (status == SG_OK && w->r->save)
        status = sg_gan_save(w->gan, w->r->save, &err);
    if (status != SG_OK)
        return cli_fail(&err);
    const int code = w->r->json ? print_json(w, &m) : print_text(w, &m);
    return code == 0 && stopped ? 130 : code;
}

int cmd_gan(int argc, char **argv)
{
    request r = {
        .opts = sg_gan_defaults(), .iters = -1, .every = 100, .seed = 1, .rule = {-1, -1}, .k = {-1, -1}, .loss = -1};
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(help, stdout), 0;
    if (argc < 2 || (strcmp(argv[1], "run") != 0 && strcmp(argv[1], "load") != 0))
        return cli_usage("gan", "wanted run or load FILE.json");
    r.verb = argv[1];
    int code = read_options(&r, argc - 1, argv + 1);
    if (code >= 0)
        return code;
    if (r.iters < 0)
        r.iters = r.file ? 0 : 2000;
    work w = {.r = &r};
    code = work_on(&w);
    sg_gan_free(w.gan);
    free(w.strokes);
    free(w.curve);
    return code;
}
