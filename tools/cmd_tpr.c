/* sightglass tpr: whether a probe's directions are products of an embedding for each role and one for each filler. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sightglass/report.h"
#include "sightglass/tpr.h"
#include "sightglass/world.h"
#include "sightglass/zip.h"

static const char help[] =
    "usage: sightglass tpr fit MODEL --world NAME --at SITE [world's options] [options]\n"
    "       sightglass tpr factor FILE.safetensors:NAME | FILE.npy | FILE.pth --shape D,...,C [options]\n"
    "       sightglass tpr show DIR/NAME [--grid RxC] [--json]\n\n"
    "A tensor-product probe has an embedding for each role (a square), one for each filler (what stands there) and a "
    "map\n"
    "that binds them. fit fits some to a model's activations, beside a linear probe, its truncated SVD with as many\n"
    "numbers, an untrained network, and activations made from random embeddings. factor takes the weights of a linear\n"
    "probe, [width,roles,classes], apart by alternating least squares, beside the same SVD. show tells what a saved\n"
    "probe says of itself and how its roles lie to each other.\n\n"
    "  --at SITE              as blocks.2.hook_resid_post\n"
    "  --labels NAME          a field of the world's sample (board_rel)\n"
    "  --form FORM            bilinear or trilinear: roles are products of rows and columns (bilinear)\n"
    "  --role-dim N[,...]     a probe of each size; controls are of the last (16; factor: 4,8,16,32,64)\n"
    "  --filler-dim N         (2)\n"
    "  --row-dim, --column-dim N  of the trilinear form (8)\n"
    "  --grid RxC             roles lie in rows and columns, and neighbours touch (square, where they fill one)\n"
    "  --lr X                 learning rate, which falls to nothing (0.01)\n"
    "  --weight-decay X       (0.01)\n"
    "  --epochs N             at most (16)\n"
    "  --rows N               of a batch (1024)\n"
    "  --bias                 one for each role and class\n"
    "  --games N              episodes, three quarters of which are fitted on (2000)\n"
    "  --seed N               of the episodes (1000003)\n"
    "  --fit-seed N           of probes, untrained network and random embeddings (0)\n"
    "  --out DIR              keep the probes there, DIR/LABEL.SITE.rN.safetensors with a manifest in .json\n"
    "  --shape D,...,C        factor: of a .pth, from which the first tensor is read (--member '*data/0')\n"
    "  --rounds N             factor: at most (100)\n"
    "  --json                 everything for machines\n";

enum { MOST_SIZES = 64 };
enum { FIT = 1, FACTOR = 2, SHOW = 4 };

typedef struct request {
    const char *subject, *at, *label, *form, *role_dims, *grid, *out, *shape, *member;
    const sg_world *world;
    sg_setting *settings;
    int n_settings;
    long long filler_dim, row_dim, column_dim, epochs, rows, games, seed, fit_seed, rounds;
    double lr, decay;
    bool bias, json;
    sg_dim sizes[MOST_SIZES];
    int n_sizes;
} request;

static const struct number {
    const char *name;
    size_t place;
    bool real;
    int verbs;
    double least, most;
} numbers[] = {
    {"--filler-dim", offsetof(request, filler_dim), false, FIT | FACTOR, 1, 1 << 16},
    {"--row-dim", offsetof(request, row_dim), false, FIT, 1, 1 << 12},
    {"--column-dim", offsetof(request, column_dim), false, FIT, 1, 1 << 12},
    {"--epochs", offsetof(request, epochs), false, FIT, 1, 1 << 20},
    {"--rows", offsetof(request, rows), false, FIT, 1, 1 << 24},
    {"--games", offsetof(request, games), false, FIT, 4, 1 << 24},
    {"--seed", offsetof(request, seed), false, FIT, 0, 1e18},
    {"--fit-seed", offsetof(request, fit_seed), false, FIT | FACTOR, 0, 1e18},
    {"--rounds", offsetof(request, rounds), false, FACTOR, 1, 1 << 20},
    {"--lr", offsetof(request, lr), true, FIT, 1e-12, 1e6},
    {"--weight-decay", offsetof(request, decay), true, FIT, 0, 1e6},
};
static const struct word {
    const char *name;
    size_t place;
    int verbs;
} words[] = {
    {"--at", offsetof(request, at), FIT},
    {"--labels", offsetof(request, label), FIT},
    {"--form", offsetof(request, form), FIT},
    {"--role-dim", offsetof(request, role_dims), FIT | FACTOR},
    {"--grid", offsetof(request, grid), FIT | FACTOR | SHOW},
    {"--out", offsetof(request, out), FIT | FACTOR},
    {"--shape", offsetof(request, shape), FACTOR},
    {"--member", offsetof(request, member), FACTOR},
};

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* ---- what was asked ---- */

/* Whole numbers between `between`, all at least 1. */
static sg_status read_list(const char *option, const char *text, char between, sg_dim *to, int most, int *n,
                           sg_error *err)
{
    *n = 0;
    for (const char *at = text; *n < most;) {
        char *end;
        const long long x = strtoll(at, &end, 10);
        if (end == at || x < 1 || x > INT32_MAX || (*end && *end != between))
            break;
        to[(*n)++] = x;
        if (!*end)
            return SG_OK;
        at = end + 1;
    }
    return sg_fail(err, SG_EARG, "%s is \"%.60s\", wanted at most %d whole numbers with '%c' between them", option,
                   text, most, between);
}

static sg_status take_option(request *r, const char *name, const char *value, int verb, bool *known, sg_error *err)
{
    for (size_t k = 0; k < SG_COUNT_OF(numbers); k++) {
        const struct number *x = &numbers[k];
        if (strcmp(name, x->name) != 0 || !(x->verbs & verb))
            continue;
        void *at = (char *)r + x->place;
        *known = true;
        return x->real ? cli_real(name, value, x->least, x->most, at, err)
                       : cli_whole(name, value, (long long)x->least, (long long)x->most, at, err);
    }
    for (size_t k = 0; k < SG_COUNT_OF(words); k++)
        if (strcmp(name, words[k].name) == 0 && (words[k].verbs & verb)) {
            memcpy((char *)r + words[k].place, &value, sizeof value);
            *known = true;
        }
    return SG_OK;
}

/* -1: go on; else the exit status. Options of fit that are not the command's are the world's. */
static int read_options(request *r, int verb, int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        sg_status parsed = SG_OK;
        bool known = false;
        if (strcmp(name, "--json") == 0) {
            r->json = true;
            continue;
        }
        if (strcmp(name, "--bias") == 0 && verb == FIT) {
            r->bias = true;
            continue;
        }
        if (strncmp(name, "--", 2) != 0) {
            if (r->subject)
                return cli_usage("tpr", "\"%.60s\" is one name too many", name);
            r->subject = name;
            continue;
        }
        if (i + 1 == argc)
            return cli_usage("tpr", "%.40s wants a value, or is no option", name);
        const char *value = argv[++i];
        parsed = take_option(r, name, value, verb, &known, &err);
        if (!known && verb != FIT)
            return cli_usage("tpr", "there is no option %.40s here", name);
        if (!known && strcmp(name, "--world") == 0) {
            if (!(r->world = sg_world_find(value, &err)))
                parsed = err.status = SG_EARG;
        } else if (!known) {
            r->settings[r->n_settings++] = (sg_setting){name + 2, value};
        }
        if (parsed != SG_OK)
            return cli_fail(&err);
    }
    if (!r->subject)
        return cli_usage("tpr", verb == FIT      ? "fit wants a MODEL"
                                : verb == FACTOR ? "factor wants the file of a linear probe's weights"
                                                 : "show wants DIR/NAME of a saved probe");
    if (verb == FIT && (!r->world || !r->at))
        return cli_usage("tpr",
                         "fit wants --world NAME and --at SITE; `sightglass world list` and `inspect` name them");
    if (r->role_dims && read_list("--role-dim", r->role_dims, ',', r->sizes, MOST_SIZES, &r->n_sizes, &err) != SG_OK)
        return cli_fail(&err);
    return -1;
}

/* ---- roles on a board ---- */

typedef struct board {
    sg_dim rows, columns;
    uint8_t *adjacency; /* NULL: roles do not lie on one */
} board;

static sg_status take_board(board *b, const char *grid, sg_dim n_roles, sg_error *err)
{
    sg_dim sides[2] = {(sg_dim)llround(sqrt((double)n_roles)), 0};
    int n = 0;
    *b = (board){0};
    sides[1] = sides[0];
    if (grid)
        SG_TRY(read_list("--grid", grid, 'x', sides, 2, &n, err));
    if (grid && (n != 2 || sides[0] * sides[1] != n_roles))
        return sg_fail(err, SG_EARG, "--grid %.40s does not hold %" PRId64 " roles", grid, n_roles);
    if (sides[0] * sides[1] != n_roles || n_roles < 4)
        return SG_OK;
    b->adjacency = malloc((size_t)(n_roles * n_roles));
    if (!b->adjacency)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    b->rows = sides[0], b->columns = sides[1];
    sg_tpr_board(b->adjacency, b->rows, b->columns);
    return SG_OK;
}

static json_t *real_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *matrix_json(const double *x, sg_dim n)
{
    json_t *rows = json_array();
    for (sg_dim i = 0; i < n; i++) {
        json_t *row = json_array();
        for (sg_dim j = 0; j < n; j++)
            json_array_append_new(row, real_json(x[i * n + j]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *geometry_json(const sg_geometry *g, bool whole)
{
    if (!g)
        return json_null();
    json_t *o = json_pack("{s:f, s:f, s:f, s:f, s:o, s:o}", "agreement", g->agreement, "permuted", g->permuted,
                          "permuted_low", g->permuted_low, "permuted_high", g->permuted_high, "cosine_near",
                          real_json(g->near), "cosine_far", real_json(g->far));
    if (whole) {
        json_object_set_new(o, "cosine", matrix_json(g->cosine, g->n_roles));
        json_object_set_new(o, "gram", matrix_json(g->gram, g->n_roles));
    }
    return o;
}

static void print_agreement(const sg_geometry *g)
{
    if (g)
        printf("  %5.3f (%5.3f, to %5.3f)", g->agreement, g->permuted, g->permuted_high);
}

/* ---- fit ---- */

static void show_progress(void *context, double done, const char *what)
{
    double *at = context; /* when it began, when it was last shown */
    const double now = sg_now();
    if (now - at[1] < 0.1)
        return;
    at[1] = now;
    const int full = (int)(done * 30);
    fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %-36.36s", full, "##############################", 30 - full, "", 100 * done,
            what);
    if (done > 0.02)
        fprintf(stderr, " %4.0f s left", (now - at[0]) * (1 - done) / done);
    fputs("\033[K", stderr);
}

static json_t *rate_json(const sg_rate *r)
{
    return json_pack("{s:o, s:o, s:o, s:I}", "value", real_json(r->value), "low", real_json(r->low), "high",
                     real_json(r->high), "n", (json_int_t)r->n);
}

static json_t *fitted_json(const sg_tpr_fitted *f)
{
    return json_pack("{s:I, s:o, s:o, s:o}", "parameters", (json_int_t)f->n_parameters, "all", rate_json(&f->all),
                     "not_0", rate_json(&f->hard), "geometry", geometry_json(f->geometry, false));
}

static json_t *table_json(const request *r, const sg_tpr_job *job, const sg_tpr_table *t)
{
    char hash[20];
    json_t *sizes = json_array();
    snprintf(hash, sizeof hash, "%016" PRIx64, sg_model_hash(job->model));
    for (int i = 0; i < t->n_sizes; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        json_t *truncated =
            json_pack("{s:I, s:o, s:o, s:o}", "rank", (json_int_t)z->rank, "all", rate_json(&z->truncated_all), "not_0",
                      rate_json(&z->truncated_hard), "likeness", real_json(z->likeness_truncated));
        json_array_append_new(sizes, json_pack("{s:I, s:o, s:o, s:o, s:o}", "role_dim", (json_int_t)z->role_dim,
                                               "probe", fitted_json(&z->fitted), "likeness", real_json(z->likeness),
                                               "likeness_to_other_roles", real_json(z->likeness_permuted), "truncated",
                                               truncated));
    }
    json_t *linear = json_pack("{s:I, s:o, s:o, s:o, s:o}", "parameters", (json_int_t)t->linear_parameters, "all",
                               rate_json(&t->linear_all), "not_0", rate_json(&t->linear_hard), "likeness_to_another",
                               real_json(t->likeness_again), "geometry", geometry_json(t->linear_geometry, false));
    json_t *controls = json_pack("{s:I, s:o, s:o, s:o}", "role_dim", (json_int_t)job->fit.role_dim, "untrained",
                                 fitted_json(&t->untrained), "random_embeddings", fitted_json(&t->board),
                                 "independent_roles", fitted_json(&t->independent));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "model", r->subject,
                     "model_hash", hash, "world", job->world->name, "site", job->site, "label", job->label, "form",
                     job->fit.form == SG_TPR_TRILINEAR ? "trilinear" : "bilinear", "seed", (json_int_t)job->seed,
                     "n_fit", (json_int_t)job->n_fit, "n_test", (json_int_t)job->n_test, "roles",
                     (json_int_t)t->n_roles, "classes", (json_int_t)t->n_classes, "width", (json_int_t)t->width,
                     "linear", linear, "sizes", sizes, "controls", controls);
}

static void print_line(const char *what, sg_dim n_parameters, const sg_rate *hard, const sg_rate *all)
{
    printf("%-36s %8" PRId64 "  %5.1f (%5.1f to %5.1f)  %5.1f", what, n_parameters, 100 * hard->value, 100 * hard->low,
           100 * hard->high, 100 * all->value);
}

static void print_control(const char *what, const sg_tpr_fitted *f)
{
    print_line(what, f->n_parameters, &f->hard, &f->all);
    printf("  %16s", "");
    print_agreement(f->geometry);
    putchar('\n');
}

static void print_table(const request *r, const sg_tpr_job *job, const sg_tpr_table *t)
{
    char text[80];
    const bool trilinear = job->fit.form == SG_TPR_TRILINEAR;
    printf("%s, %s, %s: %" PRId64 " roles, %d classes, width %" PRId64 "\n", r->subject, job->site, job->label,
           t->n_roles, t->n_classes, t->width);
    printf("fitted on %" PRId64 " rows of %" PRId64 " episodes, judged on %" PRId64 " rows of %" PRId64 " others\n",
           t->n_rows, job->n_fit, t->n_test_rows, job->n_test);
    puts("Accuracy of labels that are not 0 with a 95 % interval over episodes, and of all. Likeness: cosine to the "
         "linear\n"
         "probe's class differences (to those of other roles). Agreement: share of neighbours that are nearest by "
         "cosine\n"
         "(roles permuted: mean, 97.5 % are below).\n");
    printf("%-36s %8s  %-22s %6s  %-16s  %s\n", "probe", "numbers", "accuracy, %", "all", "likeness",
           t->linear_geometry ? "agreement" : "");
    print_line("linear (likeness: fitted again)", t->linear_parameters, &t->linear_hard, &t->linear_all);
    printf("  %5.3f %10s", t->likeness_again, "");
    print_agreement(t->linear_geometry);
    putchar('\n');
    for (int i = 0; i < t->n_sizes; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        if (trilinear)
            snprintf(text, sizeof text, "trilinear, %" PRId64 " x %" PRId64 " dimensions", job->fit.row_dim,
                     job->fit.column_dim);
        else
            snprintf(text, sizeof text, "tensor-product, role dimension %" PRId64, z->role_dim);
        print_line(text, z->fitted.n_parameters, &z->fitted.hard, &z->fitted.all);
        printf("  %5.3f (%6.3f)  ", z->likeness, z->likeness_permuted);
        print_agreement(z->fitted.geometry);
        putchar('\n');
        snprintf(text, sizeof text, "  linear, SVD cut to rank %" PRId64, z->rank);
        print_line(text, z->rank * (t->width + t->n_roles * t->n_classes), &z->truncated_hard, &z->truncated_all);
        printf("  %5.3f\n", z->likeness_truncated);
    }
    if (trilinear)
        puts("\ncontrols, of the same size");
    else
        printf("\ncontrols, role dimension %" PRId64 "\n", job->fit.role_dim);
    print_control("untrained network", &t->untrained);
    print_control("random embeddings, the same labels", &t->board);
    print_control("random embeddings, independent roles", &t->independent);
}

static double agreement_of(const sg_geometry *g, bool permuted)
{
    return !g ? (double)NAN : permuted ? g->permuted : g->agreement;
}

static sg_status save_table(const request *r, const sg_tpr_job *job, const sg_tpr_table *t, sg_error *err)
{
    char world[200], name[300];
    int n = snprintf(world, sizeof world, "%s", job->world->name);
    for (int i = 0; i < job->n_settings && n > 0 && n < (int)sizeof world; i++)
        n += snprintf(world + n, sizeof world - (size_t)n, " %s %s", job->settings[i].name, job->settings[i].value);
    for (int i = 0; i < t->n_sizes; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        const sg_tpr_manifest m = {.site = job->site,
                                   .label = job->label,
                                   .world = world,
                                   .model_hash = sg_model_hash(job->model),
                                   .data_seed = job->seed,
                                   .n_fit = job->n_fit,
                                   .n_test = job->n_test,
                                   .hard_accuracy = z->fitted.hard.value,
                                   .linear = t->linear_hard.value,
                                   .truncated = z->truncated_hard.value,
                                   .untrained = t->untrained.hard.value,
                                   .agreement = agreement_of(z->fitted.geometry, false),
                                   .permuted = agreement_of(z->fitted.geometry, true)};
        snprintf(name, sizeof name, "%.100s.%.100s.r%" PRId64, job->label, job->site,
                 sg_tpr_get_parts(z->fitted.probe)->roles.dims[1]);
        SG_TRY(sg_tpr_save(z->fitted.probe, &m, r->out, name, err));
    }
    return SG_OK;
}

/* The board has to be known before anything is fitted: a small sample tells how many roles there are. */
static sg_status fit_board(board *b, const request *r, const sg_tpr_job *job, sg_error *err)
{
    sg_sample *s;
    SG_TRY(sg_world_sample(&s, job->world, job->n_settings, job->settings, 1, job->seed, err));
    const sg_tensor *truth = sg_sample_find(s, job->label);
    const sg_dim n = truth && truth->n_dims == 3 ? truth->dims[2] : 0;
    sg_sample_free(s);
    *b = (board){0};
    return n ? take_board(b, r->grid, n, err) : SG_OK; /* the run says what is wrong with the label */
}

static sg_status fit_on(const request *r, sg_tpr_job *job, sg_error *err)
{
    double began[2] = {sg_now(), 0};
    board b;
    sg_tpr_table *t = NULL;
    cli_catch(on_interrupt);
    SG_TRY(fit_board(&b, r, job, err));
    job->adjacency = b.adjacency;
    job->fit.n_rows = b.adjacency ? b.rows : job->fit.n_rows;
    job->cancel = &stopped;
    job->context = began;
    job->progress = isatty(STDERR_FILENO) ? show_progress : NULL;
    sg_status status = sg_tpr_run(&t, job, err);
    if (job->progress)
        fputs("\r\033[K", stderr);
    if (status == SG_OK && r->out)
        status = save_table(r, job, t, err);
    if (status == SG_OK && r->json)
        status = cli_print_json(table_json(r, job, t)) == 0 ? SG_OK
                                                            : sg_fail(err, SG_EIO, "the result could not be written");
    else if (status == SG_OK)
        print_table(r, job, t);
    sg_tpr_table_free(t);
    free(b.adjacency);
    return status;
}

static int fit(request *r)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_tpr_job job = sg_tpr_job_defaults();
    const bool trilinear = r->form && strcmp(r->form, "trilinear") == 0;
    if (r->form && !trilinear && strcmp(r->form, "bilinear") != 0)
        return cli_usage("tpr", "--form is \"%.40s\", wanted bilinear or trilinear", r->form);
    if (trilinear && r->n_sizes)
        return cli_usage("tpr", "--role-dim is of the bilinear form; --row-dim and --column-dim of the trilinear");
    job.world = r->world;
    job.n_settings = r->n_settings;
    job.settings = r->settings;
    job.site = r->at;
    job.label = r->label ? r->label : "board_rel";
    job.n_test = r->games / 4;
    job.n_fit = r->games - job.n_test;
    job.seed = (uint64_t)r->seed;
    job.n_sizes = r->n_sizes;
    job.role_dims = r->sizes;
    job.fit.form = trilinear ? SG_TPR_TRILINEAR : SG_TPR_BILINEAR;
    job.fit.role_dim = r->n_sizes ? r->sizes[r->n_sizes - 1] : job.fit.role_dim;
    job.fit.filler_dim = r->filler_dim;
    job.fit.row_dim = r->row_dim;
    job.fit.column_dim = r->column_dim;
    job.fit.n_epochs = (int)r->epochs;
    job.fit.batch = r->rows;
    job.fit.lr = r->lr;
    job.fit.weight_decay = r->decay;
    job.fit.bias = r->bias;
    job.fit.seed = (uint64_t)r->fit_seed;
    sg_status status = sg_model_open(&m, r->subject, sg_model_defaults(), &err);
    if (status == SG_OK) {
        cli_warnings(m);
        job.model = m;
        status = fit_on(r, &job, &err);
    }
    sg_model_close(m);
    return status == SG_OK ? 0 : status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
}

/* ---- factor ---- */

/* A linear probe's weights from a file, [width,roles,classes] whatever axes the roles have there. */
static sg_status read_weights(sg_tensor *out, const request *r, sg_error *err)
{
    sg_dim dims[SG_MAX_DIMS];
    char shape[SG_SHAPE_TEXT];
    int n = 0;
    if (r->shape) {
        sg_zip *z;
        sg_tensor t;
        SG_TRY(read_list("--shape", r->shape, ',', dims, SG_MAX_DIMS, &n, err));
        SG_TRY(sg_zip_open(&z, r->subject, err));
        sg_status status = sg_zip_numbers(&t, z, r->member ? r->member : "*data/0", SG_F32, n, dims, err);
        if (status == SG_OK) {
            *out = t;
            out->data = malloc(sg_tensor_bytes(&t));
            if (out->data)
                memcpy(out->data, t.data, sg_tensor_bytes(&t));
            else
                status = sg_fail(err, SG_ENOMEM, "out of memory");
        }
        sg_zip_close(z);
        SG_TRY(status);
    } else {
        const size_t length = strlen(r->subject);
        if (length > 4 && strcmp(r->subject + length - 4, ".pth") == 0)
            return sg_fail(err, SG_EARG, "%.200s: a .pth does not say its shape plainly; give it by --shape D,...,C",
                           r->subject);
        SG_TRY(cli_tensor(r->subject, out, err));
    }
    if (out->n_dims < 3)
        return sg_fail(err, SG_EARG, "%.200s is %s, wanted [width,roles,...,classes]", r->subject,
                       sg_shape_text(shape, out->n_dims, out->dims));
    sg_dim roles = 1;
    for (int k = 1; k + 1 < out->n_dims; k++)
        roles *= out->dims[k];
    out->dims[1] = roles;
    out->dims[2] = out->dims[out->n_dims - 1];
    out->n_dims = 3;
    return SG_OK;
}

static sg_status geometry_of(sg_geometry **out, const sg_tensor *vectors, const board *b, sg_error *err)
{
    *out = NULL;
    return b->adjacency ? sg_geometry_new(out, vectors, b->adjacency, sg_geometry_defaults(), err) : SG_OK;
}

/* Of the unfactored directions: each pair of classes, and all of them. */
static sg_status directions(const sg_tensor *w, const board *b, bool json, json_t *root, sg_error *err)
{
    const int C = (int)w->dims[2];
    json_t *list = json_array();
    json_object_set_new(root, "directions", list);
    for (int from = 0; from < C && b->adjacency; from++)
        for (int to = from; to < C; to++) { /* to == from once: all classes */
            char text[40];
            sg_tensor v;
            sg_geometry *g = NULL;
            const bool all = to == from;
            if (all && from > 0)
                continue;
            SG_TRY(all ? sg_tpr_role_rows(&v, w, err) : sg_tpr_differences(&v, w, to, from, err));
            const sg_status status = geometry_of(&g, &v, b, err);
            free(v.data);
            SG_TRY(status);
            snprintf(text, sizeof text, all ? "all classes" : "class %d less %d", to, from);
            if (!json) {
                printf("%-16s", text);
                print_agreement(g);
                printf("  %6.3f  %6.3f\n", g->near, g->far);
            }
            json_t *o = geometry_json(g, false);
            json_object_set_new(o, "of", json_string(text));
            json_array_append_new(list, o);
            sg_geometry_free(g);
        }
    return SG_OK;
}

static sg_status factor_one(const request *r, const sg_tensor *w, const board *b, sg_dim role_dim, json_t *list,
                            sg_error *err)
{
    sg_tpr_factor_opts opts = sg_tpr_factor_defaults();
    sg_tpr_factored *f = NULL;
    sg_tpr *fixed = NULL;
    sg_geometry *g = NULL;
    const sg_tpr_manifest m = {.hard_accuracy = (double)NAN,
                               .linear = (double)NAN,
                               .truncated = (double)NAN,
                               .untrained = (double)NAN,
                               .agreement = (double)NAN,
                               .permuted = (double)NAN};
    char name[40];
    opts.role_dim = role_dim;
    opts.filler_dim = r->filler_dim;
    opts.n_rounds = (int)r->rounds;
    opts.seed = (uint64_t)r->fit_seed;
    SG_TRY(sg_tpr_factor(&f, w, opts, err));
    const sg_dim n = sg_tpr_n_parameters(f->probe), svd = f->rank * (w->dims[0] + w->dims[1] * w->dims[2]);
    sg_status status = sg_tpr_fix_gauge(&fixed, f->probe, err);
    if (status == SG_OK)
        status = geometry_of(&g, &sg_tpr_get_parts(fixed)->roles, b, err);
    snprintf(name, sizeof name, "factored.r%" PRId64, role_dim);
    if (status == SG_OK && r->out)
        status = sg_tpr_save(f->probe, &m, r->out, name, err);
    if (status == SG_OK && !r->json) {
        printf("%14" PRId64 " %8" PRId64 "  %6.4f   %6d   rank %3" PRId64 " %8" PRId64 "  %6.4f  ", role_dim, n,
               f->error[f->n_rounds - 1], f->n_rounds, f->rank, svd, f->by_rank);
        print_agreement(g);
        putchar('\n');
    }
    if (status == SG_OK)
        json_array_append_new(list, json_pack("{s:I, s:I, s:f, s:i, s:I, s:I, s:f, s:o}", "role_dim",
                                              (json_int_t)role_dim, "parameters", (json_int_t)n, "error",
                                              f->error[f->n_rounds - 1], "rounds", f->n_rounds, "truncated_rank",
                                              (json_int_t)f->rank, "truncated_parameters", (json_int_t)svd,
                                              "truncated_error", f->by_rank, "geometry", geometry_json(g, false)));
    sg_geometry_free(g);
    sg_tpr_free(fixed);
    sg_tpr_factored_free(f);
    return status;
}

static sg_status factor_on(request *r, const sg_tensor *w, const board *b, json_t *root, sg_error *err)
{
    static const sg_dim usual[] = {4, 8, 16, 32, 64};
    json_t *list = json_array();
    json_object_set_new(root, "factored", list);
    for (size_t i = 0; i < SG_COUNT_OF(usual) && !r->role_dims; i++)
        if (usual[i] <= w->dims[1])
            r->sizes[r->n_sizes++] = usual[i];
    if (!r->n_sizes)
        r->sizes[r->n_sizes++] = w->dims[1];
    if (!r->json) {
        printf("%s: width %" PRId64 ", %" PRId64 " roles, %" PRId64 " classes, %" PRId64 " numbers\n", r->subject,
               w->dims[0], w->dims[1], w->dims[2], sg_tensor_count(w));
        if (b->adjacency)
            printf("\nAgreement: share of neighbours on the %" PRId64 " x %" PRId64 " board that are nearest by cosine "
                   "(squares permuted: mean, 97.5 %%\nare below), and the cosine of neighbours and of others.\n\n"
                   "%-16s  %-24s  %6s  %6s\n",
                   b->rows, b->columns, "directions", "agreement", "near", "far");
    }
    SG_TRY(directions(w, b, r->json, root, err));
    if (!r->json)
        printf("\nFactored, less the mean over classes; errors are relative. Beside it the truncated SVD of at most as "
               "many numbers.\n\n%14s %8s  %6s   %6s   %8s %8s  %6s    %s\n",
               "role dimension", "numbers", "error", "rounds", "SVD", "numbers", "error",
               b->adjacency ? "agreement" : "");
    for (int i = 0; i < r->n_sizes; i++)
        SG_TRY(factor_one(r, w, b, r->sizes[i], list, err));
    return SG_OK;
}

static int factor(request *r)
{
    sg_error err = {SG_OK, ""};
    sg_tensor w = {0};
    board b = {0};
    json_t *root = json_pack("{s:s}", "weights", r->subject);
    sg_status status = root ? read_weights(&w, r, &err) : sg_fail(&err, SG_ENOMEM, "out of memory, or no UTF-8");
    if (status == SG_OK)
        status = take_board(&b, r->grid, w.dims[1], &err);
    if (status == SG_OK)
        status = factor_on(r, &w, &b, root, &err);
    free(b.adjacency);
    free(w.data);
    if (status != SG_OK) {
        json_decref(root);
        return cli_fail(&err);
    }
    if (r->json)
        return cli_print_json(root);
    json_decref(root);
    return 0;
}

/* ---- show ---- */

static void print_known(const char *what, double x)
{
    if (isfinite(x))
        printf("  %-42s %6.3f\n", what, x);
}

static sg_status show_cosines(const sg_geometry *g, sg_error *err)
{
    const sg_panel panel = {.n_rows = (int)g->n_roles, .n_columns = (int)g->n_roles, .cells = g->cosine};
    return sg_figure_write_text(&(sg_figure){.id = "cosines",
                                             .title = "Cosines of role embeddings",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "role"},
                                             .y = {.label = "role"},
                                             .value = {.label = "cosine", .low = -1, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                stdout, cli_colours().bold[0] != 0, err);
}

/* Rows and columns lie in a line each. */
static sg_status show_axes(const sg_tpr *p, sg_dim n_rows, sg_error *err)
{
    static const char *const names[2] = {"rows", "columns"};
    sg_tensor w, axis[2];
    SG_TRY(sg_tpr_linear(&w, p, err));
    sg_status status = sg_tpr_axis_rows(&axis[0], &axis[1], &w, n_rows, err);
    free(w.data);
    SG_TRY(status);
    for (int k = 0; k < 2; k++) {
        const sg_dim n = axis[k].dims[0];
        sg_geometry *g = NULL;
        uint8_t *line = calloc((size_t)(n * n), 1);
        for (sg_dim i = 0; line && i + 1 < n; i++)
            line[i * n + i + 1] = line[(i + 1) * n + i] = 1;
        if (status == SG_OK)
            status = line ? sg_geometry_new(&g, &axis[k], line, sg_geometry_defaults(), err)
                          : sg_fail(err, SG_ENOMEM, "out of memory");
        if (status == SG_OK)
            printf("  neighbour agreement of %s %.3f; permuted %.3f, 97.5 %% are below %.3f; cosine of neighbours "
                   "%.3f, of others %.3f\n",
                   names[k], g->agreement, g->permuted, g->permuted_high, g->near, g->far);
        sg_geometry_free(g);
        free(line);
        free(axis[k].data);
    }
    return status;
}

static sg_status show_text(const sg_tpr *p, const sg_tpr *fixed, const sg_tpr_manifest *m, const sg_geometry *g,
                           const char *name, sg_error *err)
{
    const sg_tpr_parts *q = sg_tpr_get_parts(p), *f = sg_tpr_get_parts(fixed);
    printf("%s: %s, width %" PRId64 ", %" PRId64 " roles in %" PRId64 " dimensions, %" PRId64 " fillers in %" PRId64
           ", %" PRId64 " numbers\n",
           name, q->rows.data ? "trilinear" : "bilinear", q->binding.dims[0], q->roles.dims[0], q->roles.dims[1],
           q->fillers.dims[0], q->fillers.dims[1], sg_tpr_n_parameters(p));
    if (m->site && m->label)
        printf("  %s at %s of model %016" PRIx64 "%s%s, fitted on %" PRId64 " episodes of seed %" PRIu64
               ", judged on %" PRId64 "\n",
               m->label, m->site, m->model_hash, m->world ? ", world " : "", m->world ? m->world : "", m->n_fit,
               m->data_seed, m->n_test);
    print_known("accuracy of labels that are not 0", m->hard_accuracy);
    print_known("  of a linear probe", m->linear);
    print_known("  of its truncated SVD with as many numbers", m->truncated);
    print_known("  of the same probe of an untrained network", m->untrained);
    printf("  in the gauge in which U is white, roles have %" PRId64 " dimensions; lengths along their axes:",
           f->roles.dims[1]);
    for (sg_dim k = 0; k < f->roles.dims[1]; k++) {
        double sum = 0;
        for (sg_dim s = 0; s < f->roles.dims[0]; s++) {
            const double x = sg_tensor_get(&f->roles, s * f->roles.dims[1] + k);
            sum += x * x;
        }
        printf(" %.3g", sqrt(sum));
    }
    putchar('\n');
    if (q->rows.data)
        SG_TRY(show_axes(p, q->rows.dims[0], err));
    if (!g)
        return SG_OK;
    printf("  neighbour agreement of roles %.3f; with roles permuted %.3f, 97.5 %% are below %.3f\n", g->agreement,
           g->permuted, g->permuted_high);
    printf("  cosine of neighbours %.3f, of others %.3f\n\n", g->near, g->far);
    return show_cosines(g, err);
}

static json_t *show_json(const sg_tpr *p, const sg_tpr_manifest *m, const sg_geometry *g)
{
    const sg_tpr_parts *q = sg_tpr_get_parts(p);
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, m->model_hash);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?, s:s?, s:s, s:o, s:o, s:o, s:o, s:o}", "form",
                     q->rows.data ? "trilinear" : "bilinear", "width", (json_int_t)q->binding.dims[0], "roles",
                     (json_int_t)q->roles.dims[0], "role_dim", (json_int_t)q->roles.dims[1], "filler_dim",
                     (json_int_t)q->fillers.dims[1], "parameters", (json_int_t)sg_tpr_n_parameters(p), "site", m->site,
                     "label", m->label, "world", m->world, "model_hash", hash, "not_0", real_json(m->hard_accuracy),
                     "linear", real_json(m->linear), "truncated", real_json(m->truncated), "untrained",
                     real_json(m->untrained), "geometry", geometry_json(g, true));
}

static int show(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_tpr *p = NULL, *fixed = NULL;
    sg_tpr_manifest m;
    sg_geometry *g = NULL;
    board b = {0};
    const char *slash = strrchr(r->subject, '/');
    char *dir = slash ? strndup(r->subject, (size_t)(slash - r->subject)) : strdup(".");
    sg_status status = dir ? sg_tpr_open(&p, &m, dir, slash ? slash + 1 : r->subject, &err)
                           : sg_fail(&err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = sg_tpr_fix_gauge(&fixed, p, &err);
    if (status == SG_OK)
        status = take_board(&b, r->grid, sg_tpr_get_parts(p)->roles.dims[0], &err);
    if (status == SG_OK)
        status = geometry_of(&g, &sg_tpr_get_parts(fixed)->roles, &b, &err);
    int code = 0;
    if (status == SG_OK && r->json)
        code = cli_print_json(show_json(p, &m, g));
    else if (status == SG_OK)
        status = show_text(p, fixed, &m, g, r->subject, &err);
    free(dir);
    free(b.adjacency);
    sg_geometry_free(g);
    sg_tpr_free(fixed);
    sg_tpr_free(p);
    return status == SG_OK ? code : cli_fail(&err);
}

int cmd_tpr(int argc, char **argv)
{
    const sg_tpr_opts usual = sg_tpr_defaults();
    const int verb = argc < 2                         ? 0
                     : strcmp(argv[1], "fit") == 0    ? FIT
                     : strcmp(argv[1], "factor") == 0 ? FACTOR
                     : strcmp(argv[1], "show") == 0   ? SHOW
                                                      : 0;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
    if (!verb)
        return cli_usage("tpr", "wanted fit, factor or show");
    request r = {.filler_dim = usual.filler_dim,
                 .row_dim = usual.row_dim,
                 .column_dim = usual.column_dim,
                 .epochs = usual.n_epochs,
                 .rows = usual.batch,
                 .games = 2000,
                 .seed = (long long)sg_tpr_job_defaults().seed,
                 .rounds = sg_tpr_factor_defaults().n_rounds,
                 .lr = usual.lr,
                 .decay = usual.weight_decay,
                 .settings = calloc((size_t)argc + 1, sizeof(sg_setting))};
    if (!r.settings)
        return EXIT_FAILED;
    int code = read_options(&r, verb, argc - 1, argv + 1);
    if (code < 0)
        code = verb == FIT ? fit(&r) : verb == FACTOR ? factor(&r) : show(&r);
    free(r.settings);
    return code;
}
