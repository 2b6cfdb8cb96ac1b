/* Values have a level: block l reads what is at level 2l, holds what is at 2l+1 and writes what is at 2l+2. At even
 * levels the residual stream is all that there is, so feeding it cuts a model in two: the batch of rows starts at the
 * cut, which is the highest even level from which every source can be computed. */
#include "sightglass/jacobian.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/ops.h"

enum { NO_CUT = -1 };

typedef struct side {
    const char *name;
    int level;
    sg_dim width;
} side;

/* A graph with derivatives; what is seeded and what comes out. */
typedef struct batch {
    sg_glass *glass;
    sg_value **wanted; /* [n_sources] gradients, or one tangent */
} batch;

struct sg_jacobian {
    const sg_model *m;
    sg_jacobian_opts opts;
    side *sources, target;
    char cut[48];
    int cut_level, first_layer, last_layer; /* layers that a batch computes */
    bool looks_back, columns;
    sg_glass *plain;
    batch all, behind;  /* of every position; of those behind the shared past */
    sg_value **fetches; /* of the plain run: target, sources, cut, then keys and values */
    sg_tensor *fetched, *derived;
    sg_named_feed *feeds;
    char (*names)[48]; /* of past keys and values */
    const int32_t **rows;
    sg_dim *lengths;
    float **j, **s, *o;
    char *seed, *entering;
    size_t seed_bytes, entering_bytes;
    sg_jacobian_cost cost;
    sg_arena *arena;
};

sg_jacobian_opts sg_jacobian_defaults(void)
{
    return (sg_jacobian_opts){.batch = 64, .prefix = true, .exec = sg_exec_defaults()};
}

static int level_of(const sg_jacobian *j, const char *name)
{
    const int n_layers = (int)sg_model_get_info(j->m)->n_layers;
    int layer, read = 0;
    if (sscanf(name, "blocks.%d.%n", &layer, &read) < 1 || read == 0)
        return strcmp(name, "hook_embed") == 0 ? NO_CUT : strncmp(name, "hook_", 5) == 0 ? NO_CUT : 2 * n_layers + 1;
    const char *rest = name + read;
    return 2 * layer + (strcmp(rest, "hook_resid_pre") == 0 ? 0 : strcmp(rest, "hook_resid_post") == 0 ? 2 : 1);
}

static sg_status find_side(sg_jacobian *j, side *s, const char *name, sg_error *err)
{
    sg_value *v;
    char shape[SG_SHAPE_TEXT];
    SG_TRY(sg_glass_find(j->plain, name, &v, err));
    if (strncmp(sg_value_axes(v), "bt", 2) != 0 || strchr(sg_value_axes(v), 's') ||
        !sg_dtype_is_float(sg_value_dtype(v)))
        return sg_fail(err, SG_ESHAPE, "jacobian: %s is %s, wanted floats by row and position", name,
                       sg_value_shape_text(v, shape));
    *s = (side){.name = name, .level = level_of(j, name), .width = 1};
    for (int k = 2; k < sg_value_n_dims(v); k++)
        s->width *= sg_value_dim(v, k);
    return SG_OK;
}

/* Where the model is cut, and which layers lie above it. */
static void find_cut(sg_jacobian *j)
{
    const int n_layers = (int)sg_model_get_info(j->m)->n_layers;
    int lowest = 2 * n_layers + 1;
    for (int i = 0; i < j->opts.n_sources; i++)
        lowest = SG_MIN(lowest, j->sources[i].level);
    const int level = lowest < 0 ? NO_CUT : SG_MIN(lowest / 2 * 2, 2 * n_layers);
    if (level == NO_CUT && strcmp(j->sources[0].name, "hook_embed") == 0 && j->opts.n_sources == 1)
        snprintf(j->cut, sizeof j->cut, "hook_embed");
    else if (level == 2 * n_layers)
        snprintf(j->cut, sizeof j->cut, "blocks.%d.hook_resid_post", n_layers - 1);
    else if (level >= 0)
        snprintf(j->cut, sizeof j->cut, "blocks.%d.hook_resid_pre", level / 2);
    /* A source that is itself the cut is fed under its own name, so that the gradient stops there. */
    for (int i = 0; i < j->opts.n_sources && level >= 0; i++)
        if (j->sources[i].level == level)
            snprintf(j->cut, sizeof j->cut, "%s", j->sources[i].name);
    j->cut_level = level;
    j->first_layer = SG_MAX(level, 0) / 2;
    j->last_layer = SG_MIN((j->target.level - 1) / 2, n_layers - 1);
    if (!sg_graph_find(sg_glass_graph(j->plain), j->cut))
        j->cut[0] = 0;
}

static sg_status check(sg_jacobian *j, sg_error *err)
{
    const sg_jacobian_opts *o = &j->opts;
    if (o->n_sources < 1 || o->batch < 1 || o->pad < 0)
        return sg_fail(err, SG_EARG,
                       "jacobian: %d sources, batches of %" PRId64 ", padding of %" PRId64 " do not go together",
                       o->n_sources, o->batch, o->pad);
    for (int i = 0; i < o->n_sources; i++)
        if (j->sources[i].level > j->target.level)
            return sg_fail(err, SG_EARG, "jacobian: the target %s lies below the source %s", j->target.name,
                           j->sources[i].name);
    if (o->mode == SG_JACOBIAN_COLUMNS && o->n_sources > 1)
        return sg_fail(err, SG_EARG, "jacobian: columns are of one source, and there are %d", o->n_sources);
    if (o->pad && o->prefix)
        return sg_fail(err, SG_EARG, "jacobian: padding goes with prefix false");
    return SG_OK;
}

static sg_status take_room(sg_jacobian *j, sg_error *err)
{
    const int n = j->opts.n_sources, n_kv = 2 * (j->last_layer - j->first_layer + 1);
    const size_t most = (size_t)(n + 2 + SG_MAX(n_kv, 0));
    j->fetches = sg_arena_array(j->arena, most, sizeof *j->fetches);
    j->fetched = sg_arena_array(j->arena, most, sizeof *j->fetched);
    j->derived = sg_arena_array(j->arena, (size_t)n, sizeof *j->derived);
    j->feeds = sg_arena_array(j->arena, most + 2, sizeof *j->feeds);
    j->names = sg_arena_array(j->arena, most, sizeof *j->names);
    j->rows = sg_arena_array(j->arena, (size_t)j->opts.batch, sizeof *j->rows);
    j->lengths = sg_arena_array(j->arena, (size_t)j->opts.batch, sizeof *j->lengths);
    j->j = sg_arena_array(j->arena, (size_t)n, sizeof *j->j);
    j->s = sg_arena_array(j->arena, (size_t)n, sizeof *j->s);
    j->o = sg_arena_array(j->arena, (size_t)j->target.width, sizeof(float));
    bool good =
        j->fetches && j->fetched && j->derived && j->feeds && j->names && j->rows && j->lengths && j->j && j->s && j->o;
    for (int i = 0; i < n && good; i++) {
        j->s[i] = sg_arena_array(j->arena, (size_t)j->sources[i].width, sizeof(float));
        j->j[i] = sg_arena_array(j->arena, (size_t)(j->sources[i].width * j->target.width), sizeof(float));
        good = j->s[i] && j->j[i];
    }
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "jacobian: out of memory for %" PRId64 " rows", j->target.width);
}

static sg_status prepare(sg_jacobian *j, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    char target[48];
    const int n = j->opts.n_sources;
    opts.exec = j->opts.exec;
    SG_TRY(sg_glass_new(&j->plain, j->m, opts, err));
    j->sources = sg_arena_array(j->arena, (size_t)SG_MAX(n, 1), sizeof *j->sources);
    if (!j->sources)
        return sg_fail(err, SG_ENOMEM, "jacobian: out of memory");
    snprintf(target, sizeof target, "blocks.%d.hook_resid_post", (int)sg_model_get_info(j->m)->n_layers - 1);
    const char *name = j->opts.target ? j->opts.target : sg_arena_strdup(j->arena, target);
    if (!name)
        return sg_fail(err, SG_ENOMEM, "jacobian: out of memory");
    SG_TRY(find_side(j, &j->target, name, err));
    for (int i = 0; i < n; i++)
        SG_TRY(find_side(j, &j->sources[i], j->opts.sources[i], err));
    SG_TRY(check(j, err));
    find_cut(j);
    j->looks_back = sg_model_get_info(j->m)->task == SG_TASK_NEXT;
    j->columns = j->opts.mode == SG_JACOBIAN_COLUMNS ||
                 (j->opts.mode == SG_JACOBIAN_NARROWER && n == 1 && j->sources[0].width < j->target.width);
    return take_room(j, err);
}

sg_status sg_jacobian_new(sg_jacobian **out, const sg_model *m, sg_jacobian_opts opts, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_jacobian *j = arena ? sg_arena_alloc(arena, sizeof *j) : NULL;
    if (!j) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "jacobian: out of memory");
    }
    j->arena = arena;
    j->m = m;
    j->opts = opts;
    const sg_status status = prepare(j, err);
    if (status != SG_OK) {
        sg_jacobian_free(j);
        return status;
    }
    *out = j;
    return SG_OK;
}

void sg_jacobian_free(sg_jacobian *j)
{
    if (!j)
        return;
    sg_glass_free(j->plain);
    sg_glass_free(j->all.glass);
    sg_glass_free(j->behind.glass);
    free(j->seed);
    free(j->entering);
    sg_arena_free(j->arena);
}

sg_dim sg_jacobian_source_width(const sg_jacobian *j, int source)
{
    return j->sources[source].width;
}

sg_dim sg_jacobian_target_width(const sg_jacobian *j)
{
    return j->target.width;
}

sg_jacobian_cost sg_jacobian_get_cost(const sg_jacobian *j)
{
    return j->cost;
}

/* ---- the graph of a batch ---- */

static sg_status build_batch(sg_jacobian *j, batch *b, bool shared, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    const int n = j->opts.n_sources;
    opts.exec = j->opts.exec;
    opts.shared = shared;
    if (!b->wanted)
        b->wanted = sg_arena_array(j->arena, (size_t)n, sizeof *b->wanted);
    sg_value **xs = sg_arena_array(j->arena, (size_t)n, sizeof(sg_value *));
    if (!b->wanted || !xs)
        return sg_fail(err, SG_ENOMEM, "jacobian: out of memory");
    SG_TRY(sg_glass_new(&b->glass, j->m, opts, err));
    sg_graph *g = sg_glass_graph(b->glass);
    sg_value *y = sg_graph_find(g, j->target.name);
    for (int i = 0; i < n; i++)
        xs[i] = sg_graph_find(g, j->sources[i].name);
    sg_value *like = j->columns ? xs[0] : y;
    sg_value *seed = sg_input(g, "jacobian.seed", sg_value_dtype(like), sg_value_n_dims(like), sg_value_dims(like));
    if (j->columns)
        b->wanted[0] = sg_jvp(g, y, xs[0], seed);
    else
        sg_gradients(g, y, seed, n, xs, b->wanted);
    return sg_graph_status(g, err);
}

/* ---- a prompt ---- */

static sg_status run_below(sg_jacobian *j, const int32_t *tokens, sg_dim n_tokens, bool shared, int *n_kv,
                           sg_error *err)
{
    const double began = sg_now();
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n_tokens};
    int n = 0;
    SG_TRY(sg_glass_find(j->plain, j->target.name, &j->fetches[n++], err));
    for (int i = 0; i < j->opts.n_sources; i++)
        SG_TRY(sg_glass_find(j->plain, j->sources[i].name, &j->fetches[n++], err));
    if (j->cut[0])
        SG_TRY(sg_glass_find(j->plain, j->cut, &j->fetches[n++], err));
    const int before = n;
    for (int layer = j->first_layer; shared && layer <= j->last_layer; layer++) {
        char name[48];
        snprintf(name, sizeof name, "blocks.%d.attn.hook_rot_k", layer);
        if (!sg_graph_find(sg_glass_graph(j->plain), name))
            snprintf(name, sizeof name, "blocks.%d.attn.hook_k", layer);
        SG_TRY(sg_glass_find(j->plain, name, &j->fetches[n], err));
        snprintf(j->names[n++], sizeof *j->names, "blocks.%d.attn.past_k", layer);
        snprintf(name, sizeof name, "blocks.%d.attn.hook_v", layer);
        SG_TRY(sg_glass_find(j->plain, name, &j->fetches[n], err));
        snprintf(j->names[n++], sizeof *j->names, "blocks.%d.attn.past_v", layer);
    }
    *n_kv = n - before;
    SG_TRY(sg_glass_run(j->plain, &rows, 0, NULL, n, j->fetches, j->fetched, err));
    j->cost.n_prompts++;
    j->cost.seconds_below += sg_now() - began;
    return SG_OK;
}

static void take(float *to, const sg_tensor *from, sg_dim at, sg_dim width)
{
    for (sg_dim i = 0; i < width; i++)
        to[i] = (float)sg_tensor_get(from, at * width + i);
}

static sg_status grow(char **bytes, size_t *capacity, size_t wanted, sg_error *err)
{
    if (wanted <= *capacity)
        return SG_OK;
    char *more = realloc(*bytes, wanted);
    if (!more)
        return sg_fail(err, SG_ENOMEM, "jacobian: out of memory for a batch of %zu bytes", wanted);
    *bytes = more;
    *capacity = wanted;
    return SG_OK;
}

/* What every run of a prompt is fed beside its seed: keys and values of the past, and the cut, row by row the same. */
static sg_status lay_out(sg_jacobian *j, sg_dim past, sg_dim time, sg_dim n_rows, int n_kv, int *n_feeds, sg_error *err)
{
    int n = 1; /* the seed comes first */
    const int first_kv = 1 + j->opts.n_sources + (j->cut[0] != 0);
    for (int i = 0; i < n_kv; i++) {
        sg_tensor t = j->fetched[first_kv + i];
        t.dims[1] = past;
        j->feeds[n++] = (sg_named_feed){j->names[first_kv + i], t};
    }
    if (j->cut[0]) {
        const sg_tensor *from = &j->fetched[1 + j->opts.n_sources];
        sg_tensor t = *from;
        size_t each = sg_dtype_bytes(t.dtype);
        for (int k = 2; k < t.n_dims; k++)
            each *= (size_t)t.dims[k];
        const sg_dim pad = j->opts.pad, real = time - pad;
        const size_t row = each * (size_t)time;
        SG_TRY(grow(&j->entering, &j->entering_bytes, row * (size_t)n_rows, err));
        for (sg_dim r = 0; r < n_rows; r++) {
            memset(j->entering + (size_t)r * row, 0, each * (size_t)pad);
            memcpy(j->entering + (size_t)r * row + each * (size_t)pad, (const char *)from->data + each * (size_t)past,
                   each * (size_t)real);
        }
        t.dims[0] = n_rows;
        t.dims[1] = time;
        t.data = j->entering;
        j->feeds[n++] = (sg_named_feed){j->cut, t};
    }
    *n_feeds = n;
    return SG_OK;
}

static void count_below(sg_jacobian *j, const sg_plan *plan)
{
    j->cost.n_steps_below = 0;
    for (int i = 0; i < sg_plan_n_steps(plan); i++) {
        int layer;
        if (sscanf(sg_plan_step_name(plan, i), "blocks.%d.", &layer) == 1)
            j->cost.n_steps_below += layer < j->first_layer;
    }
}

/* What a batch gave: n rows, or columns, from `first` on. */
static void take_batch(sg_jacobian *j, sg_dim n, sg_dim first, sg_dim time, sg_dim at)
{
    const sg_dim ds = j->sources[0].width, width = j->target.width;
    for (sg_dim r = 0; r < n && j->columns; r++)
        for (sg_dim i = 0; i < width; i++)
            j->j[0][i * ds + first + r] = (float)sg_tensor_get(&j->derived[0], (r * time + at) * width + i);
    for (sg_dim r = 0; r < n && !j->columns; r++)
        for (int s = 0; s < j->opts.n_sources; s++)
            take(j->j[s] + (first + r) * j->sources[s].width, &j->derived[s], r * time + at, j->sources[s].width);
}

/* One batch: n rows from `first` on; seeds are at position at_seed, results at at_result. */
static sg_status run_batch(sg_jacobian *j, batch *b, const sg_rows *rows, int n_feeds, sg_dim first, sg_dim time,
                           sg_dim at_seed, sg_dim at_result, sg_error *err)
{
    const sg_dim n = rows->n_rows, width = j->columns ? j->sources[0].width : j->target.width;
    const int n_out = j->columns ? 1 : j->opts.n_sources;
    const sg_value *seed_value = sg_graph_find(sg_glass_graph(b->glass), "jacobian.seed");
    sg_tensor seed = {.dtype = sg_value_dtype(seed_value), .n_dims = sg_value_n_dims(seed_value), .data = j->seed};
    for (int k = 2; k < seed.n_dims; k++)
        seed.dims[k] = sg_value_dim(seed_value, k);
    seed.dims[0] = n;
    seed.dims[1] = time;
    if (j->opts.cancel && *j->opts.cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped at row %" PRId64 " of %" PRId64, first, width);
    for (sg_dim r = 0; r < n; r++)
        sg_tensor_set(&seed, (r * time + at_seed) * width + first + r, 1);
    j->feeds[0] = (sg_named_feed){"jacobian.seed", seed};
    const sg_status status = sg_glass_run(b->glass, rows, n_feeds, j->feeds, n_out, b->wanted, j->derived, err);
    if (status == SG_OK)
        take_batch(j, n, first, time, at_result);
    for (sg_dim r = 0; r < n; r++) /* only now: where source and target are one value, what comes out is the seed */
        sg_tensor_set(&seed, (r * time + at_seed) * width + first + r, 0);
    SG_TRY(status);
    j->cost.n_runs++;
    j->cost.n_rows += n;
    j->cost.n_positions += n * time;
    return SG_OK;
}

static sg_status run_rows(sg_jacobian *j, batch *b, bool shared, const int32_t *tokens, sg_dim n_tokens,
                          sg_dim at_source, sg_dim at_target, int n_kv, sg_error *err)
{
    const sg_dim past = shared ? at_source : 0, pad = j->opts.pad, time = n_tokens - past + pad;
    const sg_dim width = j->columns ? j->sources[0].width : j->target.width, n = SG_MIN(j->opts.batch, width);
    const sg_dim s = at_source - past + pad, o = at_target - past + pad;
    const double began = sg_now();
    int n_feeds = 0;
    if (!b->glass)
        SG_TRY(build_batch(j, b, shared, err));
    if (shared)
        SG_TRY(sg_glass_share(b->glass, past, err));
    SG_TRY(lay_out(j, past, time, n, n_kv, &n_feeds, err));
    const size_t seeds = (size_t)(n * time * width) * sizeof(double);
    SG_TRY(grow(&j->seed, &j->seed_bytes, seeds, err));
    memset(j->seed, 0, seeds);
    for (sg_dim r = 0; r < n; r++) {
        j->rows[r] = tokens + past;
        j->lengths[r] = n_tokens - past;
    }
    const sg_rows rows = {
        .n_rows = (int)n, .tokens = j->rows, .lengths = j->lengths, .pad_left = pad > 0, .time = time};
    /* The last batch goes back over rows that are known, so that all have one size and one plan. */
    for (sg_dim first = 0, k = 0; first < width && (j->opts.most_runs == 0 || k < j->opts.most_runs); first += n, k++)
        SG_TRY(run_batch(j, b, &rows, n_feeds, SG_MIN(first, width - n), time, j->columns ? s : o, j->columns ? o : s,
                         err));
    sg_session *session = sg_glass_session(b->glass);
    count_below(j, sg_session_plan(session));
    j->cost.bytes = sg_session_bytes(session);
    j->cost.seconds += sg_now() - began;
    return SG_OK;
}

sg_status sg_jacobian_run(sg_jacobian *j, const int32_t *tokens, sg_dim n_tokens, sg_dim at_source, sg_dim at_target,
                          sg_jacobian_result *out, sg_error *err)
{
    if (at_source < 0 || at_source >= n_tokens || at_target < 0 || at_target >= n_tokens)
        return sg_fail(err, SG_EARG, "jacobian: places %" PRId64 " and %" PRId64 " of %" PRId64 " tokens", at_source,
                       at_target, n_tokens);
    if (j->looks_back && at_target < at_source)
        return sg_fail(err, SG_EARG,
                       "jacobian: the target's place %" PRId64 " lies before the source's, %" PRId64
                       ", and the model looks back only",
                       at_target, at_source);
    const bool shared = j->looks_back && j->opts.prefix && at_source > 0;
    if (j->looks_back) /* what comes later changes nothing */
        n_tokens = at_target + 1;
    int n_kv = 0;
    SG_TRY(run_below(j, tokens, n_tokens, shared, &n_kv, err));
    take(j->o, &j->fetched[0], at_target, j->target.width);
    for (int i = 0; i < j->opts.n_sources; i++)
        take(j->s[i], &j->fetched[1 + i], at_source, j->sources[i].width);
    SG_TRY(run_rows(j, shared ? &j->behind : &j->all, shared, tokens, n_tokens, at_source, at_target, n_kv, err));
    *out = (sg_jacobian_result){(const float *const *)j->j, (const float *const *)j->s, j->o};
    return SG_OK;
}
