/* sightglass attack: how far a model's inputs must be moved until it errs. Pictures are one batch, whose pixels move;
 * texts run one by one, and what moves is a value of theirs, the embedding unless another is named. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/attack.h"
#include "sightglass/bitmap.h"
#include "sightglass/npy.h"
#include "sightglass/ops.h"
#include "sightglass/statistics.h"

enum { LINF, L2, SPHERE, MOST_SIZES = 32 };

typedef struct moved {
    sg_method_run *r;
    sg_model *model;
    sg_glass *glass;
    const char *site;
    sg_value *x, *gradient, *wrong, *answer;
    sg_tensor start; /* [n,...] */
    int32_t *labels; /* [n]: what is right */
    sg_rows rows;    /* of texts */
    bool texts;
    sg_named_feed feeds[2];
} moved;

/* What is found at one size, over all inputs. */
typedef struct found {
    double right, right_random; /* inputs */
    double distance, n_found;   /* sum over those found */
} found;

static sg_status ask_glass(void *self, const sg_tensor *x, const float **gradient, const uint8_t **wrong, sg_error *err)
{
    moved *m = self;
    sg_tensor out[2];
    m->feeds[0].tensor = *x;
    SG_TRY(sg_glass_run(m->glass, m->texts ? &m->rows : NULL, 2, m->feeds, gradient ? 2 : 1,
                        (sg_value *[]){m->wrong, m->gradient}, out, err));
    *wrong = out[0].data;
    if (gradient)
        *gradient = out[1].data;
    return SG_OK;
}

/* The graph: what the model answers at the end, whether it is wrong, and how its loss moves with x. */
static sg_status build(moved *m, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_value *logits;
    opts.exec = sg_method_exec(m->r);
    SG_TRY(sg_glass_new(&m->glass, m->model, opts, err));
    sg_graph *g = sg_glass_graph(m->glass);
    SG_TRY(sg_glass_find(m->glass, m->site, &m->x, err));
    SG_TRY(sg_glass_find(m->glass, m->texts ? "logits" : "class_logits", &logits, err));
    if (sg_value_dtype(m->x) != SG_F32 || sg_value_n_dims(m->x) < 2)
        return sg_fail(err, SG_EARG, "attack: %s is not f32 [rows,...], which could be moved", m->site);
    if (m->texts) { /* of the last token: rows are one text without padding */
        const sg_dim time = sg_value_dim(logits, 1);
        logits = sg_squeeze(g, sg_slice(g, logits, 1, sg_dim_sub(g, time, 1), time, 1), 1);
    }
    const sg_dim n = sg_value_dim(logits, 0);
    sg_value *labels = sg_input(g, "labels", SG_I32, 1, &n);
    m->answer = sg_argmax(g, logits, 1, false);
    m->wrong = sg_not_equal(g, m->answer, labels);
    m->gradient = sg_grad(g, sg_sum_all(g, sg_cross_entropy(g, logits, labels)), m->x);
    m->feeds[0].name = m->site;
    m->feeds[1].name = "labels";
    return sg_graph_status(g, err);
}

/* Numbers of x where nothing was moved, and what the model answers there. */
static sg_status look(moved *m, sg_dim n, sg_arena *arena, sg_error *err)
{
    sg_tensor out[2];
    m->labels = sg_arena_array(arena, (size_t)n, sizeof *m->labels);
    if (!m->labels)
        return sg_fail(err, SG_ENOMEM, "attack: out of memory");
    m->feeds[1].tensor = sg_tensor_of(SG_I32, 1, &n, m->labels);
    if (!m->texts) {
        m->feeds[0].tensor = m->start;
        SG_TRY(sg_glass_run(m->glass, NULL, 1, m->feeds, 1, &m->answer, out, err));
    } else {
        SG_TRY(sg_glass_run(m->glass, &m->rows, 0, NULL, 2, (sg_value *[]){m->answer, m->x}, out, err));
        m->start = out[1];
        m->start.data = sg_arena_alloc(arena, SG_MAX(sg_tensor_bytes(&out[1]), 1));
        if (!m->start.data)
            return sg_fail(err, SG_ENOMEM, "attack: out of memory");
        memcpy(m->start.data, out[1].data, sg_tensor_bytes(&out[1]));
    }
    memcpy(m->labels, out[0].data, (size_t)n * sizeof *m->labels);
    return SG_OK;
}

/* The root of the mean square of x's numbers: what sizes are shares of. */
static double size_of(const sg_tensor *x)
{
    const float *v = x->data;
    const sg_dim n = sg_tensor_count(x);
    double square = 0;
    for (sg_dim i = 0; i < n; i++)
        square += (double)v[i] * (double)v[i];
    return sqrt(square / fmax(1, (double)n));
}

/* Attacks of all sizes on what m holds. */
static sg_status attack(moved *m, int n_sizes, const double *sizes, found *at, sg_attack **last, sg_error *err)
{
    sg_method_run *r = m->r;
    const int kind = (int)sg_method_number(r, "region"), n_steps = (int)sg_method_number(r, "steps");
    const sg_dim n = m->start.dims[0], width = sg_tensor_count(&m->start) / n;
    const float *v = m->start.data;
    const double one =
        sg_method_flag(r, "absolute") ? 1 : size_of(&m->start) * (kind == LINF ? 1 : sqrt((double)width));
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (sg_dim i = 0; i < n * width; i++)
        low = fmin(low, (double)v[i]), high = fmax(high, (double)v[i]);
    const bool box = !m->texts; /* pixels stay within those that there are */
    float *copy = malloc((size_t)(n * width) * sizeof *copy);
    double *length = malloc((size_t)n * sizeof *length);
    sg_status status = copy && length ? SG_OK : sg_fail(err, SG_ENOMEM, "attack: out of memory");
    for (int s = 0; s < n_sizes && status == SG_OK; s++) {
        const double size = sizes[s] * one;
        const sg_attack_ball ball = {size, box ? low : -(double)INFINITY, box ? high : (double)INFINITY};
        sg_attack_opts opts = sg_attack_defaults();
        opts.region = kind == LINF ? sg_attack_linf(&ball) : kind == L2 ? sg_attack_l2(&ball) : sg_attack_sphere();
        opts.n_steps = n_steps;
        opts.step = 2.5 * size / n_steps; /* Madry et al. 2018: further than the edge, so that it can be followed */
        opts.n_restarts = (int)sg_method_number(r, "restarts");
        opts.n_bisect = 12;
        opts.seed = sg_method_seed(r);
        opts.cancel = sg_method_cancel(r);
        sg_attack_free(*last);
        *last = NULL;
        status = sg_attack_run(last, (sg_attack_asked){ask_glass, m}, &m->start, opts, err);
        for (sg_dim i = 0; status == SG_OK && i < n; i++) {
            const sg_attack *a = *last;
            const bool hit = a->found[i] && (kind != SPHERE || a->distance[i] <= size);
            at[s].right += !hit;
            at[s].n_found += hit;
            at[s].distance += hit ? (kind == LINF ? a->most[i] : a->distance[i]) / one : 0;
            length[i] = size;
        }
        if (status != SG_OK)
            break;
        sg_tensor t = m->start;
        sg_dim wrong = 0;
        t.data = memcpy(copy, v, (size_t)(n * width) * sizeof *copy);
        status = sg_attack_random(&wrong, (sg_attack_asked){ask_glass, m}, &t, length, opts.region, opts.seed, err);
        at[s].right_random += (double)(n - wrong);
    }
    free(copy);
    free(length);
    return status;
}

/* ---- inputs ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static sg_status read_pictures(moved *m, sg_arena *arena, sg_error *err)
{
    const int n = sg_method_n_inputs(m->r) - 1;
    const char *first = sg_method_input_at(m->r, 1);
    sg_status status = SG_OK;
    if (ends_with(first, ".npy")) {
        sg_npy *a;
        if (n > 1)
            return sg_fail(err, SG_EARG, "attack: a file of numbers (%s) is the only input", first);
        SG_TRY(sg_npy_open(&a, first, err));
        const sg_tensor *t = sg_npy_tensor(a);
        char shape[SG_SHAPE_TEXT];
        if (t->dtype != SG_F32 || t->n_dims < 2 || t->dims[0] < 1)
            status = sg_fail(err, SG_ESHAPE, "%s: %s %s, wanted f32 [rows,...]", first, sg_dtype_name(t->dtype),
                             sg_shape_text(shape, t->n_dims, t->dims));
        m->start = *t;
        m->start.data = status == SG_OK ? sg_arena_alloc(arena, sg_tensor_bytes(t)) : NULL;
        if (status == SG_OK && !m->start.data)
            status = sg_fail(err, SG_ENOMEM, "attack: out of memory for %s", first);
        if (status == SG_OK)
            memcpy(m->start.data, t->data, sg_tensor_bytes(t));
        sg_npy_close(a);
        return status == SG_OK ? sg_method_data(m->r, first, err) : status;
    }
    sg_bitmap **pictures = sg_arena_array(arena, (size_t)n, sizeof *pictures);
    sg_tensor pixels = {.data = NULL};
    if (!pictures)
        return sg_fail(err, SG_ENOMEM, "attack: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        status = sg_bitmap_open(&pictures[i], sg_method_input_at(m->r, i + 1), err);
        if (status == SG_OK)
            status = sg_method_data(m->r, sg_method_input_at(m->r, i + 1), err);
    }
    if (status == SG_OK)
        status = sg_model_pixels(m->model, n, (const sg_bitmap *const *)pictures, &pixels, err);
    for (int i = 0; i < n; i++)
        sg_bitmap_free(pictures[i]);
    SG_TRY(status);
    status = sg_arena_defer(arena, free, pixels.data);
    m->start = pixels;
    return status == SG_OK ? SG_OK : sg_fail(err, status, "attack: out of memory");
}

/* Labels as they were given, in place of the model's own answers. */
static sg_status read_labels(moved *m, sg_dim n, sg_error *err)
{
    double *given;
    int n_given;
    SG_TRY(sg_method_numbers(m->r, "labels", &given, &n_given, err));
    const sg_dim most = m->texts ? sg_model_get_info(m->model)->n_vocab : sg_model_get_info(m->model)->n_labels;
    sg_status status = SG_OK;
    if (given && n_given != n)
        status = sg_fail(err, SG_EARG, "attack: %d labels for %" PRId64 " inputs", n_given, n);
    for (int i = 0; i < n_given && status == SG_OK; i++) {
        if (given[i] < 0 || given[i] >= (double)most || given[i] != floor(given[i]))
            status = sg_fail(err, SG_EARG, "attack: label %g, wanted 0 to %" PRId64, given[i], most - 1);
        else
            m->labels[i] = (int32_t)given[i];
    }
    free(given);
    return status;
}

static sg_status attack_pictures(moved *m, int n_sizes, const double *sizes, found *at, sg_attack **last,
                                 sg_arena *arena, sg_dim *n, double *clean, sg_error *err)
{
    const uint8_t *wrong;
    SG_TRY(read_pictures(m, arena, err));
    SG_TRY(build(m, err));
    *n = m->start.dims[0];
    SG_TRY(look(m, *n, arena, err));
    SG_TRY(read_labels(m, *n, err));
    SG_TRY(ask_glass(m, &m->start, NULL, &wrong, err));
    for (sg_dim i = 0; i < *n; i++)
        *clean += !wrong[i];
    return attack(m, n_sizes, sizes, at, last, err);
}

static sg_status attack_texts(moved *m, int n_sizes, const double *sizes, found *at, sg_attack **last, sg_arena *arena,
                              sg_dim *n, double *clean, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m->model);
    if (!t)
        return sg_fail(err, SG_EUNSUPPORTED, "attack: the model has no tokenizer, and texts are its inputs");
    if (sg_method_text(m->r, "labels"))
        return sg_fail(err, SG_EARG,
                       "attack: labels are of pictures; what a text's next token is the model says itself");
    SG_TRY(build(m, err));
    *n = sg_method_n_inputs(m->r) - 1;
    for (sg_dim i = 0; i < *n; i++) {
        sg_tokens ids = {0};
        SG_TRY(sg_tokenizer_encode(t, sg_method_input_at(m->r, (int)i + 1), sg_encode_defaults(), &ids, err));
        const int32_t *row = ids.ids;
        const sg_dim length = ids.n;
        m->rows = (sg_rows){.n_rows = 1, .tokens = &row, .lengths = &length};
        sg_method_progress(m->r, (double)i / (double)*n, "texts");
        sg_status status = look(m, 1, arena, err);
        if (status == SG_OK)
            status = attack(m, n_sizes, sizes, at, last, err);
        sg_tokens_free(&ids);
        SG_TRY(status);
        *clean += 1;
    }
    return SG_OK;
}

/* ---- what is told ---- */

static sg_status tell(const moved *m, int n_sizes, const double *sizes, const found *at, sg_dim n, double clean,
                      sg_error *err)
{
    static const char *const columns[] = {"size", "right", "right under attack", "right, random",
                                          "mean size of those found"};
    static const char control[] = "a change as large in a random direction, of the same inputs";
    sg_result *result = sg_method_result(m->r);
    sg_cell cells[MOST_SIZES * 5];
    double attacked[MOST_SIZES], random[MOST_SIZES], count = (double)n;
    for (int s = 0; s < n_sizes; s++) {
        char id[32];
        sg_finding f = {.id = id,
                        .where = m->site,
                        .text = "share of inputs that are still answered rightly under attack",
                        .value = attacked[s] = at[s].right / count,
                        .n = n,
                        .control = control,
                        .control_value = random[s] = at[s].right_random / count};
        snprintf(id, sizeof id, "size %g", sizes[s]);
        sg_stats_wilson((sg_dim)at[s].right, n, &f.low, &f.high);
        sg_stats_wilson((sg_dim)at[s].right_random, n, &f.control_low, &f.control_high);
        SG_TRY(sg_result_add(result, &f, err));
        const double row[] = {sizes[s], clean / count, attacked[s], random[s],
                              at[s].n_found > 0 ? at[s].distance / at[s].n_found : (double)NAN};
        for (int c = 0; c < 5; c++)
            cells[s * 5 + c].text = NULL, cells[s * 5 + c].number = row[c];
    }
    const sg_result_table table = {.id = "sizes",
                                   .title = "Right answers against the size of the change",
                                   .n_columns = 5,
                                   .n_rows = n_sizes,
                                   .columns = columns,
                                   .cells = cells,
                                   .control = "right, random: a change as large in a random direction"};
    SG_TRY(sg_result_add_table(result, &table, err));
    const sg_series lines[] = {{"attack", n_sizes, sizes, attacked}, {"random direction", n_sizes, sizes, random}};
    const sg_panel panel = {.n_series = 2, .series = lines};
    return sg_result_add_figure(result,
                                &(sg_figure){.id = "sizes",
                                             .title = "Right answers against the size of the change",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "size", .log = n_sizes > 1},
                                             .y = {"share still right", NULL, false, 0, 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                err);
}

static sg_status save(const moved *m, const sg_attack *a, sg_error *err)
{
    const char *path = sg_method_out(m->r);
    if (!path || !a)
        return SG_OK;
    sg_tensor t = m->start;
    t.data = a->x;
    SG_TRY(sg_npy_save(path, &t, err));
    return sg_result_add_file(sg_method_result(m->r), path, "the inputs as they were moved, at the last size", err);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    moved m = {.r = r};
    double *sizes = NULL, clean = 0;
    int n_sizes = 0;
    sg_dim n = 0;
    found at[MOST_SIZES] = {{0}};
    sg_attack *last = NULL;
    SG_TRY(sg_writer_check(sg_method_out(r), err));
    SG_TRY(sg_method_model(r, 0, &m.model, err));
    const sg_model_info *info = sg_model_get_info(m.model);
    m.texts = info->task == SG_TASK_NEXT;
    if (!m.texts && (info->task != SG_TASK_LABEL || !info->image_side))
        return sg_fail(err, SG_EUNSUPPORTED, "attack: %s neither labels images nor writes texts", info->path);
    m.site = sg_method_text(r, "site");
    if (!m.site)
        m.site = m.texts ? "hook_embed" : "pixels";
    if (!m.texts && strcmp(m.site, "pixels") != 0)
        return sg_fail(err, SG_EARG, "attack: of a model of images the pixels are moved, not %.60s", m.site);
    SG_TRY(sg_method_numbers(r, "size", &sizes, &n_sizes, err));
    sg_arena *arena = sg_arena_new();
    sg_status status = arena ? SG_OK : sg_fail(err, SG_ENOMEM, "attack: out of memory");
    if (n_sizes < 1 || n_sizes > MOST_SIZES)
        status = sg_fail(err, SG_EARG, "attack: %d sizes, wanted 1 to %d", n_sizes, MOST_SIZES);
    for (int s = 0; s < n_sizes && status == SG_OK; s++)
        if (!(sizes[s] > 0))
            status = sg_fail(err, SG_EARG, "attack: a size of %g, wanted more than 0", sizes[s]);
    if (status == SG_OK)
        status = (m.texts ? attack_texts : attack_pictures)(&m, n_sizes, sizes, at, &last, arena, &n, &clean, err);
    if (status == SG_OK)
        status = tell(&m, n_sizes, sizes, at, n, clean, err);
    if (status == SG_OK && !sg_method_text(r, "labels"))
        status = sg_result_note(sg_method_result(r), "right is what the model itself answers where nothing is moved");
    if (status == SG_OK && !sg_method_flag(r, "absolute"))
        status = sg_result_note(sg_method_result(r),
                                "sizes are shares of the root mean square of %s, in length for l2 and sphere", m.site);
    if (status == SG_OK)
        status = save(&m, last, err);
    sg_attack_free(last);
    sg_glass_free(m.glass);
    sg_arena_free(arena);
    free(sizes);
    return status;
}

static const sg_method_input inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "a model that labels images, or one that writes texts"},
    {"INPUT", SG_METHOD_TEXT, 1, 256, "pictures (PNG, JPEG), one FILE.npy of pixels, or texts"},
};

static const sg_option options[] = {
    {"size", SG_OPTION_TEXT, "0.003,0.01,0.03,0.1,0.3", 0, 0, NULL, "how far inputs may be moved, several with commas"},
    {"region", SG_OPTION_CHOICE, "linf", 0, 0, "linf|l2|sphere",
     "linf: the largest change of a number; l2: its length; sphere: inputs keep their length"},
    {"absolute", SG_OPTION_FLAG, "no", 0, 0, NULL,
     "sizes in the input's own unit, not in shares of its root mean square"},
    {"steps", SG_OPTION_WHOLE, "20", 1, 10000, NULL, "steps of an attack"},
    {"restarts", SG_OPTION_WHOLE, "0", 0, 1000, NULL, "other tries, each from elsewhere, where none was found"},
    {"labels", SG_OPTION_TEXT, "", 0, 0, NULL, "right labels of the pictures; else what the model answers unmoved"},
    {"site", SG_OPTION_TEXT, "", 0, 0, NULL, "what is moved of texts (hook_embed), by name"},
};

const sg_method sg_method_attack = {
    .name = "attack",
    .help = "move inputs until the model errs",
    .about = "Projected gradient ascent on the loss (Madry et al. 2018), then back by bisection to the nearest error "
             "on the way. "
             "Beside each share stands that under a change as large in a random direction. On pictures no theorem says "
             "how near "
             "errors have to be; on spheres one does (sightglass study run adversarial-spheres).",
    .artefact = "FILE.npy: the inputs as they were moved, at the last size",
    .n_inputs = SG_COUNT_OF(inputs),
    .inputs = inputs,
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
