/* A model's values beside golden ones: every site's error, and what becomes of the next token's distribution. */
#include "sightglass/verify.h"

#include <math.h>
#include <string.h>

#include "base/base.h"

const char *const sg_verify_sites[] = {"*hook_embed",
                                       "*hook_patch_embed",
                                       "*hook_pos_embed",
                                       "*blocks.*.hook_attn_out",
                                       "*blocks.*.hook_mlp_out",
                                       "*blocks.*.hook_resid_post",
                                       "*ln_final.hook_normalized",
                                       "*last_hidden_state",
                                       "*pooler_output",
                                       "*_embeds",
                                       "logits",
                                       "class_logits",
                                       "logits_per_image"};
const int sg_verify_n_sites = (int)SG_COUNT_OF(sg_verify_sites);

enum { MOST_INPUTS = 16 };

typedef struct owned {
    sg_verify_run face;
    sg_arena *arena;
} owned;

/* Sums over all prompts, from which a row's means come. */
typedef struct sums {
    double abs, rel;
    sg_dim n, vectors;
} sums;

typedef struct work {
    owned *run;
    const sg_golden *want;
    const sg_verify_opts *opts;
    sg_glass *glass;
    int n;
    sg_value **sites;
    sg_tensor *values;
    sg_verify_row *rows;
    sums *sums;
    double *p, *q; /* [V] */
    int logits;    /* which site; -1: none */
    sg_dim n_same, n_same_clear;
    const sg_golden_prompt *prompt; /* that is compared */
    const sg_dim *lengths;          /* of its rows; what lies behind is padding */
} work;

sg_verify_opts sg_verify_defaults(void)
{
    return (sg_verify_opts){.exec = sg_exec_defaults(), .tolerance.relative = -1, .other = SG_N_DTYPES};
}

/* Bits that a stored number takes, near enough to tell formats apart. */
static double bits_of(sg_dtype t)
{
    switch (t) {
    case SG_F64:
        return 64;
    case SG_F32:
        return 32;
    case SG_BF16:
    case SG_F16:
        return 16;
    default:
        break;
    }
    /* Blocks: the first digit in the name. */
    const char *name = sg_dtype_name(t), *digit = name ? strpbrk(name, "0123456789") : NULL;
    return digit ? *digit - '0' : 32;
}

/* Where the limits come from: f32's rounding of 2^-24 grows with the depth of sums and layers to some 1e-6 to 1e-5 in
 * the models tried, bf16's of 2^-9 to some 1e-3 to 1e-2, and each limit leaves a factor of about ten, which mistakes (a
 * wrong base of rotations, a missing bias) exceed. Quantised weights are other weights: their limits are what the
 * formats' rounding, about 2^-bits of a block's greatest weight, makes of a residual stream. */
sg_tolerance sg_verify_tolerance(sg_dtype compute, sg_dtype stored, sg_dtype other)
{
    const double bits = SG_MIN(bits_of(stored), bits_of(other));

    if (stored != other && bits <= 4)
        return (sg_tolerance){.6, .15, 1.5, "weights of 4 bits beside others"};
    if (stored != other && bits <= 6)
        return (sg_tolerance){.3, .08, .7, "weights of 5 or 6 bits beside others"};
    if (stored != other && bits <= 8)
        return (sg_tolerance){.1, .02, .2, "weights of 8 bits beside others"};
    if (compute == SG_BF16 || (stored != other && bits <= 16))
        return (sg_tolerance){.1, .02, .2, "products of 16 bits"};
    if (compute == SG_F64)
        return (sg_tolerance){1e-5, 1e-6, 1e-4, "f64"};
    if (bits < 16) /* activations are rounded to 8 bits for products with blocks */
        return (sg_tolerance){.05, .02, .1, "f32, products with blocks of integers"};
    return (sg_tolerance){1e-4, 1e-4, 1e-3, "f32"};
}

/* How many numbers at the end of the shape belong to one position. */
static sg_dim vector_of(const char *axes, const sg_tensor *t)
{
    sg_dim n = 1;

    if (t->n_dims < 2)
        return 1;
    if (axes[0] != 'b' || axes[1] != 't')
        return t->dims[t->n_dims - 1];
    for (int k = 2; k < t->n_dims; k++)
        n *= t->dims[k];
    return n;
}

static sg_dim position_of(const char *axes, const sg_tensor *t, sg_dim vector, sg_dim i)
{
    const char *at = strchr(axes, 't');
    sg_dim inner = 1;

    if (!at || at - axes >= t->n_dims)
        return 0;
    for (int k = (int)(at - axes) + 1; k < t->n_dims; k++)
        inner *= t->dims[k];
    return i * vector / inner % t->dims[at - axes];
}

/* Whether number `first` of t lies at a place that is filled up and means nothing. */
static bool is_padding(const work *w, const char *axes, const sg_tensor *t, sg_dim first)
{
    const char *at = strchr(axes, 't');
    const int axis = at ? (int)(at - axes) : SG_MAX_DIMS;
    sg_dim inner = 1;

    /* Positions of an image are no tokens, and are all there. */
    if (axis >= t->n_dims || axes[0] != 'b' || t->dims[0] != w->prompt->n_rows || t->dims[axis] != w->prompt->n_tokens)
        return false;
    for (int k = axis + 1; k < t->n_dims; k++)
        inner *= t->dims[k];
    return first / inner % t->dims[axis] >= w->lengths[first / (sg_tensor_count(t) / t->dims[0])];
}

static bool same_shape(const sg_tensor *got, const sg_tensor *want)
{
    for (int cut = 0; cut < 2; cut++)
        if (want->n_dims == got->n_dims - cut && (!cut || got->dims[0] == 1) &&
            memcmp(want->dims, got->dims + cut, (size_t)want->n_dims * sizeof want->dims[0]) == 0)
            return true;
    return false;
}

static double longest_of(const sg_tensor *t, sg_dim vector)
{
    double longest = 0;

    for (sg_dim i = 0; i < sg_tensor_count(t); i += vector) {
        double sum = 0;
        for (sg_dim k = 0; k < vector; k++) {
            const double x = sg_tensor_get(t, i + k);
            sum += isfinite(x) ? x * x : 0;
        }
        longest = fmax(longest, sum);
    }
    return sqrt(longest);
}

static void compare_site(work *w, int s, int prompt, const sg_tensor *want)
{
    const sg_tensor *got = &w->values[s];
    const char *axes = sg_value_axes(w->sites[s]);
    const sg_dim vector = vector_of(axes, got), n = sg_tensor_count(got);
    const double least = 1e-6 * longest_of(want, vector);
    sg_verify_row *row = &w->rows[s];

    for (sg_dim i = 0; vector > 0 && i < n; i += vector) {
        double length = 0, distance = 0;
        if (is_padding(w, axes, got, i))
            continue;
        w->sums[s].n += vector;
        for (sg_dim k = 0; k < vector; k++) {
            const double x = sg_tensor_get(got, i + k), y = sg_tensor_get(want, i + k);
            if (x == y && isfinite(y)) {
                length += y * y;
                continue;
            }
            if (x == y) /* the same infinity, as scores before the first key have it */
                continue;
            if (!isfinite(x) || !isfinite(y)) {
                row->n_bad++;
                continue;
            }
            row->max_abs = fmax(row->max_abs, fabs(x - y));
            w->sums[s].abs += fabs(x - y);
            distance += (x - y) * (x - y);
            length += y * y;
        }
        const double by = fmax(sqrt(length), least), rel = distance > 0 ? by > 0 ? sqrt(distance) / by : 1 : 0;
        w->sums[s].rel += rel;
        w->sums[s].vectors++;
        if (rel > row->max_rel) {
            row->max_rel = rel;
            row->at_prompt = prompt;
            row->at_position = position_of(axes, got, vector, i / vector);
        }
    }
}

/* Probabilities of one position's logits; returns the likeliest token and by how much it leads, in nats. False: not
 * finite. */
static bool softmax(double *p, const sg_tensor *t, sg_dim first, sg_dim v, sg_dim *best, double *lead)
{
    double most = -(double)INFINITY, second = most, sum = 0;

    *best = 0;
    for (sg_dim i = 0; i < v; i++) {
        const double x = p[i] = sg_tensor_get(t, first + i);
        if (isnan(x) || x == (double)INFINITY)
            return false;
        if (x > most) {
            second = most;
            most = x;
            *best = i;
        } else if (x > second) {
            second = x;
        }
    }
    if (!isfinite(most))
        return false;
    *lead = most - second;
    for (sg_dim i = 0; i < v; i++)
        sum += exp(p[i] - most);
    for (sg_dim i = 0; i < v; i++)
        p[i] = p[i] - most - log(sum); /* log-probabilities */
    return true;
}

static void compare_next(work *w, const sg_tensor *want)
{
    const sg_tensor *got = &w->values[w->logits];
    const sg_dim v = got->dims[got->n_dims - 1];
    const char *axes = sg_value_axes(w->sites[w->logits]);
    sg_verify_next *next = &w->run->face.next;

    for (sg_dim i = 0; i < sg_tensor_count(got); i += v) {
        sg_dim ours, theirs;
        double lead, unused, tv = 0, kl = 0;
        if (is_padding(w, axes, got, i))
            continue;
        next->n++;
        if (!softmax(w->p, want, i, v, &theirs, &lead) || !softmax(w->q, got, i, v, &ours, &unused)) {
            next->tv_max = 1; /* nothing in common */
            next->kl_max = (double)INFINITY;
            next->tv_mean += 1;
            next->kl_mean = (double)INFINITY;
            continue;
        }
        for (sg_dim k = 0; k < v; k++) {
            const double p = exp(w->p[k]);
            tv += fabs(p - exp(w->q[k]));
            if (p > 0)
                kl += p * (w->p[k] - w->q[k]);
        }
        next->tv_mean += tv / 2;
        next->tv_max = fmax(next->tv_max, tv / 2);
        next->kl_mean += fmax(kl, 0); /* below 0 by rounding alone */
        next->kl_max = fmax(next->kl_max, kl);
        w->n_same += ours == theirs;
        if (lead > w->run->face.tolerance.lead) {
            next->n_clear++;
            w->n_same_clear += ours == theirs;
        }
    }
}

static const sg_tensor *golden_site(const sg_golden_prompt *p, const char *name)
{
    for (int i = 0; i < p->n_sites; i++)
        if (strcmp(p->sites[i].name, name) == 0)
            return &p->sites[i].tensor;
    return NULL;
}

/* What the golden values were computed from beside tokens: inputs of the model, in its types and with a batch. They
 * live until the prompt has run. */
static sg_status take_inputs(work *w, const sg_golden_prompt *p, sg_arena *arena, sg_named_feed *feeds, int *n,
                             sg_error *err)
{
    sg_graph *g = sg_glass_graph(w->glass);

    for (int i = 0; i < p->n_sites; i++) {
        const sg_tensor *t = &p->sites[i].tensor;
        const sg_value *v = sg_graph_find(g, p->sites[i].name);
        if (!v || strcmp(sg_value_op(v), "input") != 0 || strcmp(p->sites[i].name, "key_mask") == 0)
            continue;
        if (*n == MOST_INPUTS)
            return sg_fail(err, SG_EFORMAT, "%s has more inputs than any model", w->want->from);
        sg_tensor to = *t;
        to.dtype = sg_value_dtype(v);
        if (t->n_dims == sg_value_n_dims(v) - 1 && t->n_dims < SG_MAX_DIMS) {
            memmove(to.dims + 1, to.dims, (size_t)t->n_dims * sizeof to.dims[0]);
            to.dims[0] = 1;
            to.n_dims++;
        }
        to.data = sg_arena_alloc(arena, SG_MAX(sg_tensor_bytes(&to), 1));
        if (!to.data)
            return sg_fail(err, SG_ENOMEM, "out of memory for %s", p->sites[i].name);
        sg_convert(to.data, to.dtype, t->data, t->dtype, sg_tensor_count(t));
        feeds[(*n)++] = (sg_named_feed){p->sites[i].name, to};
    }
    return SG_OK;
}

static sg_status compare_prompt(work *w, int i, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds,
                                sg_error *err)
{
    const sg_golden_prompt *p = &w->want->prompts[i];
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    SG_TRY(sg_glass_run(w->glass, rows, n_feeds, feeds, w->n, w->sites, w->values, err));
    for (int s = 0; s < w->n; s++) {
        const char *name = sg_value_name(w->sites[s]);
        const sg_tensor *want = golden_site(p, name), *got = &w->values[s];
        if (!want)
            return sg_fail(err, SG_EFORMAT, "%s: prompt %d has no %s, which others have", w->want->from, i, name);
        if (!same_shape(got, want))
            return sg_fail(err, SG_ESHAPE, "%s is %s here and %s in %s", name,
                           sg_shape_text(found, got->n_dims, got->dims),
                           sg_shape_text(wanted, want->n_dims, want->dims), w->want->from);
        compare_site(w, s, i, want);
    }
    /* What is predicted is compared as users get it, where nobody looks inside and what lies there may be fused. */
    if (w->logits >= 0) {
        sg_tensor *got = &w->values[w->logits];
        SG_TRY(sg_glass_run(w->glass, rows, n_feeds, feeds, 1, &w->sites[w->logits], got, err));
        if (got->n_dims > 0 && got->dims[got->n_dims - 1] > 0) {
            compare_next(w, golden_site(p, sg_value_name(w->sites[w->logits])));
            w->run->face.logits_hash = sg_hash(got->data, sg_tensor_bytes(got), w->run->face.logits_hash);
        }
    }
    return SG_OK;
}

/* How long rows are that were filled up, as a mask of the keys tells it. */
static sg_status read_mask(const work *w, const sg_golden_prompt *p, sg_dim *lengths, sg_error *err)
{
    const sg_tensor *mask = golden_site(p, "key_mask");

    if (!mask || !p->n_rows)
        return SG_OK;
    if (sg_tensor_count(mask) != p->n_rows * p->n_tokens)
        return sg_fail(err, SG_ESHAPE, "%s: key_mask and tokens are of different shapes", w->want->from);
    for (int r = 0; r < p->n_rows; r++) {
        sg_dim n = 0;
        for (sg_dim t = 0; t < p->n_tokens; t++) {
            const bool real = sg_tensor_get(mask, r * p->n_tokens + t) != 0;
            if (real && n < t)
                return sg_fail(err, SG_EUNSUPPORTED, "%s: row %d of key_mask has padding that is not at its end",
                               w->want->from, r);
            n += real;
        }
        lengths[r] = n;
    }
    return SG_OK;
}

static sg_status run_prompt(work *w, int i, sg_error *err)
{
    const sg_golden_prompt *p = &w->want->prompts[i];
    sg_arena *arena = sg_arena_new();
    const int32_t **tokens = arena ? sg_arena_array(arena, (size_t)p->n_rows + 1, sizeof *tokens) : NULL;
    sg_dim *lengths = arena ? sg_arena_array(arena, (size_t)p->n_rows + 1, sizeof *lengths) : NULL;
    sg_named_feed feeds[MOST_INPUTS];
    int n = 0;

    if (!tokens || !lengths) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    }
    for (int r = 0; r < p->n_rows; r++) {
        tokens[r] = p->tokens + r * p->n_tokens;
        lengths[r] = p->n_tokens;
    }
    w->prompt = p;
    w->lengths = lengths;
    sg_status status = read_mask(w, p, lengths, err);
    const sg_rows rows = {.n_rows = p->n_rows, .tokens = tokens, .lengths = lengths};
    if (status == SG_OK)
        status = take_inputs(w, p, arena, feeds, &n, err);
    if (status == SG_OK)
        status = compare_prompt(w, i, p->n_rows ? &rows : NULL, n, feeds, err);
    sg_arena_free(arena);
    return status;
}

static bool is_asked(const sg_verify_opts *opts, const char *name)
{
    for (int k = 0; k < opts->n_patterns; k++)
        if (sg_match(opts->patterns[k], name))
            return true;
    return opts->n_patterns == 0;
}

/* The golden sites, in the order of the model's graph. */
static sg_status choose(work *w, sg_error *err)
{
    const sg_golden_prompt *p = &w->want->prompts[0];
    sg_graph *g = sg_glass_graph(w->glass);
    sg_dim v = 1;

    w->logits = -1;
    for (int i = 0; i < p->n_sites; i++)
        if (is_asked(w->opts, p->sites[i].name) && !sg_graph_find(g, p->sites[i].name) &&
            strncmp(p->sites[i].name, "grad.", 5) != 0) { /* gradients, which are not compared here */
            const char *nearest = sg_graph_nearest(g, p->sites[i].name);
            return sg_fail(err, SG_ENOTFOUND, "%s has %.120s, of which name the model has no value; the nearest is %s",
                           w->want->from, p->sites[i].name, nearest ? nearest : "none");
        }
    for (int i = 0; i < sg_graph_n_names(g); i++) {
        sg_value *site = sg_graph_named(g, i);
        const char *name = sg_value_name(site);
        if (!is_asked(w->opts, name) || !golden_site(p, name) || strcmp(sg_value_op(site), "input") == 0)
            continue;
        if (!sg_dtype_is_float(sg_value_dtype(site)))
            return sg_fail(err, SG_ETYPE, "%s has %.120s, which is no number with an error but %s", w->want->from, name,
                           sg_dtype_name(sg_value_dtype(site)));
        if (strcmp(name, "logits") == 0 || (strcmp(name, "class_logits") == 0 && w->logits < 0)) {
            w->logits = w->n;
            v = sg_value_dim(site, -1);
        }
        w->sites[w->n] = site;
        w->rows[w->n++].site = sg_arena_strdup(w->run->arena, name);
        if (!w->rows[w->n - 1].site)
            return sg_fail(err, SG_ENOMEM, "out of memory for a verification");
    }
    if (w->n == 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: none of its values is one that was asked for", w->want->from);
    w->p = sg_arena_array(w->run->arena, (size_t)v, sizeof *w->p);
    w->q = sg_arena_array(w->run->arena, (size_t)v, sizeof *w->q);
    return w->p && w->q ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a verification");
}

static void judge(work *w)
{
    sg_verify_run *r = &w->run->face;
    sg_verify_next *next = &r->next;

    r->holds = true;
    for (int s = 0; s < w->n; s++) {
        sg_verify_row *row = &w->rows[s];
        row->n = w->sums[s].n;
        row->mean_abs = w->sums[s].abs / (double)SG_MAX(row->n, 1);
        row->mean_rel = w->sums[s].rel / (double)SG_MAX(w->sums[s].vectors, 1);
        row->holds = row->n_bad == 0 && row->max_rel <= r->tolerance.relative;
        if (row->n_bad && !r->first_bad)
            r->first_bad = row->site;
        r->holds &= row->holds;
    }
    if (next->n == 0)
        return;
    next->top1 = (double)w->n_same / (double)next->n;
    next->top1_clear = next->n_clear ? (double)w->n_same_clear / (double)next->n_clear : 1;
    next->tv_mean /= (double)next->n;
    next->kl_mean /= (double)next->n;
    next->holds = w->n_same_clear == next->n_clear && next->tv_mean <= r->tolerance.variation;
    r->holds &= next->holds;
}

static sg_status run_all(work *w, sg_error *err)
{
    const size_t most = (size_t)sg_graph_n_names(sg_glass_graph(w->glass)) + 1;
    sg_arena *arena = w->run->arena;
    const double began = sg_now();

    w->sites = sg_arena_array(arena, most, sizeof *w->sites);
    w->values = sg_arena_array(arena, most, sizeof *w->values);
    w->rows = sg_arena_array(arena, most, sizeof *w->rows);
    w->sums = sg_arena_array(arena, most, sizeof *w->sums);
    if (!w->sites || !w->values || !w->rows || !w->sums)
        return sg_fail(err, SG_ENOMEM, "out of memory for a verification");
    SG_TRY(choose(w, err));
    for (int i = 0; i < w->want->n_prompts; i++) {
        if (w->opts->cancel && *w->opts->cancel)
            return sg_fail(err, SG_ECANCELLED, "stopped after %d of %d prompts", i, w->want->n_prompts);
        SG_TRY(run_prompt(w, i, err));
        if (w->opts->progress)
            w->opts->progress(w->opts->context, w->run->face.backend, (double)(i + 1) / w->want->n_prompts);
    }
    w->run->face.rows = w->rows;
    w->run->face.n_rows = w->n;
    w->run->face.seconds = sg_now() - began;
    judge(w);
    return SG_OK;
}

sg_status sg_verify(sg_verify_run **out, const sg_model *m, const sg_golden *want, sg_verify_opts opts, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    owned *run = arena ? sg_arena_alloc(arena, sizeof *run) : NULL;
    sg_glass_opts look = sg_glass_defaults();
    work w = {.run = run, .want = want, .opts = &opts};

    *out = NULL;
    if (!run) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a verification");
    }
    run->arena = arena;
    look.exec = opts.exec;
    sg_status status = sg_glass_new(&w.glass, m, look, err);
    if (status == SG_OK) {
        sg_value *logits = sg_graph_find(sg_glass_graph(w.glass), "logits");
        const sg_dtype stored = sg_model_get_info(m)->stored;
        const sg_dtype compute = logits && sg_value_dtype(logits) == SG_F64 ? SG_F64 : opts.exec.compute;
        run->face.backend = sg_arena_strdup(arena, sg_exec_name(&opts.exec));
        run->face.compute = sg_dtype_name(compute);
        run->face.stored = sg_dtype_name(stored);
        run->face.tolerance =
            opts.tolerance.relative >= 0
                ? opts.tolerance
                : sg_verify_tolerance(compute, stored, opts.other == SG_N_DTYPES ? stored : opts.other);
        status = run->face.backend ? run_all(&w, err) : sg_fail(err, SG_ENOMEM, "out of memory for a verification");
    }
    sg_glass_free(w.glass);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &run->face;
    return SG_OK;
}

void sg_verify_run_free(sg_verify_run *run)
{
    if (run)
        sg_arena_free(((owned *)run)->arena);
}
