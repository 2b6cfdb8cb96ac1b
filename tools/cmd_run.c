/* sightglass run: the four verbs on a model from the command line. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapted.h"
#include "cli.h"
#include "predictions.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

static const char help[] =
    "usage: sightglass run MODEL (--text T ... | --tokens FILE | --image FILE ...) [options]\n\n"
    "Runs a model and shows what it predicts (at each position, or of hidden tokens, texts, images), and whatever "
    "else\n"
    "is asked for.\n"
    "Under mpirun -n N each of the N processes runs its share of the rows, and --out holds all of them.\n\n"
    "  --text T              a prompt; several make a batch\n"
    "  --tokens FILE         prompts as token ids: one row a line, JSON, FILE.npy or FILE.safetensors:NAME\n"
    "  --image FILE          a PNG or JPEG picture, for models that read images; several make a batch; for clip "
    "beside\n"
    "                        --text, which image fits which text\n"
    "  --fetch PATTERN[PART] read values (blocks.*.hook_resid_post), or a part of each, which then costs about that "
    "part\n"
    "                        (blocks.3.attn.hook_pattern[:,5,-1]); may be repeated\n"
    "  --feed NAME=FILE      put data in a value's place: FILE.npy or FILE.safetensors:NAME\n"
    "  --edits FILE.json     splice edits into values\n" ADAPTED_HELP ADAPTED_VECTOR_HELP
    "  --top-features K      the strongest features of each autoencoder at each token\n"
    "  --grad OF:WRT         derivative of a value (loss, logits[0,-1,42]; summed if not one number) by values\n"
    "  --out FILE.safetensors  writes tokens and every fetched value, batch first\n"
    "  --json                for machines, with the nodes that ran\n"
    "  --top N               predictions shown per position (3)\n"
    "  --pad left|right      where shorter rows are filled up (right)\n"
    "  --dtype f32|f64|bf16  what is computed in (f32); bf16: large products, with sums and values in f32\n"
    "  --trace FILE          time per node, in the Chrome trace format\n"
    "  --guard               stop at the first node that yields NaN, and name it\n"
    "  --dry-run             print the memory that it takes, in all and by part, and run nothing (but runs that an\n"
    "                        edit takes its value from)\n";

typedef struct request {
    const char *model, *edits, *out, *trace;
    const char **fetch, **feed, **grad, **text, **image;
    int n_fetch, n_feed, n_grad, n_text, n_image;
    const char *tokens;
    bool json, pad_left, guard, dry_run;
    sg_dtype dtype, compute;
    long long top, top_features;
    adapted added;
    sg_ranks *ranks; /* NULL where this process is alone */
} request;

typedef struct work {
    sg_model *model;
    sg_glass *glass;
    sg_edit_list *edits;
    cli_rows rows;       /* this process's */
    sg_dim n_rows, time; /* of all processes: how many, the longest */
    sg_named_feed *feeds;
    int n_feeds;
    sg_value **fetches; /* asked for, then what is predicted */
    char **names;       /* of fetches; gradients are named OF:WRT */
    int n_fetches;
    int features[ADAPTED_MOST]; /* with --top-features: which fetches are those of autoencoder i */
    sg_tensor *results;
    sg_trace *trace;
} work;

/* NAME=FILE */
static sg_status read_feed(work *w, const char *text, sg_named_feed *out, sg_error *err)
{
    const char *equals = strchr(text, '=');
    sg_value *v = NULL;

    if (!equals)
        return sg_fail(err, SG_EARG, "--feed %.100s: wanted NAME=FILE", text);
    char *name = strndup(text, (size_t)(equals - text));
    if (!name)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    out->name = name;
    if (sg_glass_find(w->glass, name, &v, err) != SG_OK)
        return err->status = SG_EARG; /* the user's own words: wrong use */
    SG_TRY(cli_tensor(equals + 1, &out->tensor, err));
    if (out->tensor.dtype != sg_value_dtype(v) && sg_dtype_is_float(out->tensor.dtype) &&
        sg_dtype_is_float(sg_value_dtype(v))) {
        sg_tensor t = out->tensor;
        t.dtype = sg_value_dtype(v);
        t.data = malloc(SG_MAX(sg_tensor_bytes(&t), 1));
        if (!t.data)
            return sg_fail(err, SG_ENOMEM, "out of memory");
        sg_convert(t.data, t.dtype, out->tensor.data, out->tensor.dtype, sg_tensor_count(&t));
        free(out->tensor.data);
        out->tensor = t;
    }
    return SG_OK;
}

/* Pictures become the last feed. */
static sg_status read_images(work *w, const request *r, sg_error *err)
{
    sg_bitmap **pictures = calloc((size_t)r->n_image, sizeof *pictures);
    sg_named_feed *feed = &w->feeds[w->n_feeds];
    sg_status status = pictures ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");

    for (int i = 0; i < w->n_feeds && status == SG_OK; i++)
        if (strcmp(w->feeds[i].name, "pixels") == 0)
            status = sg_fail(err, SG_EARG, "--image and --feed pixels were both given");
    for (int i = 0; i < r->n_image && status == SG_OK; i++)
        status = sg_bitmap_open(&pictures[i], r->image[i], err);
    if (status == SG_OK)
        status = sg_model_pixels(w->model, r->n_image, (const sg_bitmap *const *)pictures, &feed->tensor, err);
    if (status == SG_OK) {
        feed->name = strdup("pixels");
        w->n_feeds++;
        if (!feed->name)
            status = sg_fail(err, SG_ENOMEM, "out of memory");
    }
    for (int i = 0; pictures && i < r->n_image; i++)
        sg_bitmap_free(pictures[i]);
    free(pictures);
    return status;
}

static sg_status add_fetch(work *w, sg_value *v, char *name, sg_error *err)
{
    sg_value **fetches = realloc(w->fetches, (size_t)(w->n_fetches + 1) * sizeof *fetches);
    if (fetches)
        w->fetches = fetches;
    char **names = realloc(w->names, (size_t)(w->n_fetches + 1) * sizeof *names);
    if (names)
        w->names = names;
    if (!fetches || !names || !name) {
        free(name);
        return sg_fail(err, SG_ENOMEM, "out of memory");
    }
    fetches[w->n_fetches] = v;
    names[w->n_fetches++] = name;
    return SG_OK;
}

/* The part of v that "[0,-1,3:8]" tells: per axis an index, a range a:b (either end may be left out) or nothing. The
 * axes stay. */
static sg_status part_of(work *w, const char *option, const char *text, const char *bracket, sg_value **v,
                         sg_error *err)
{
    sg_graph *g = sg_glass_graph(w->glass);
    int axis = 0;

    for (const char *at = bracket ? bracket + 1 : NULL; at; axis++) {
        char *end;
        long long i = strtoll(at, &end, 10), stop = 0;
        const bool has_start = end != at, is_range = *end == ':';
        bool has_stop = false;
        if (is_range) {
            at = end + 1;
            stop = strtoll(at, &end, 10);
            has_stop = end != at;
        }
        if ((*end != ',' && *end != ']') || (*end == ']' && end[1]) || axis >= sg_value_n_dims(*v))
            return sg_fail(err, SG_EARG, "%s %.100s: wanted an index or a range per axis, as in logits[0,-1,40:45]",
                           option, text);
        const sg_dim extent = sg_value_dim(*v, axis);
        if (extent >= 0 &&
            ((has_start && (i > extent - !is_range || i < -extent)) || (has_stop && (stop > extent || stop < -extent))))
            return sg_fail(err, SG_EARG, "%s %.100s: axis %d has %lld places", option, text, axis, (long long)extent);
        if (has_start || has_stop) {
            const sg_dim from = i < 0 ? sg_dim_sub(g, extent, -i) : i;
            const sg_dim to = !is_range   ? sg_dim_add(g, from, 1)
                              : !has_stop ? extent
                              : stop < 0  ? sg_dim_sub(g, extent, -stop)
                                          : stop;
            *v = sg_slice(g, *v, axis, from, to, 1);
        }
        at = *end == ',' ? end + 1 : NULL;
    }
    return sg_graph_status(g, err);
}

/* All values of a pattern, or the same part of each. */
static sg_status add_fetches(work *w, const char *text, sg_error *err)
{
    const char *bracket = strchr(text, '[');
    char *pattern = strndup(text, bracket ? (size_t)(bracket - text) : strlen(text));
    sg_value **found = NULL;
    int n = 0;
    sg_status status = pattern ? cli_match(sg_glass_graph(w->glass), pattern, &found, &n, err)
                               : sg_fail(err, SG_ENOMEM, "out of memory");

    for (int k = 0; k < n && status == SG_OK; k++) {
        const char *own = sg_value_name(found[k]);
        const size_t room = strlen(own) + (bracket ? strlen(bracket) : 0) + 1;
        char *name = malloc(room);
        if (name)
            snprintf(name, room, "%s%s", own, bracket ? bracket : "");
        sg_value *v = found[k];
        status = part_of(w, "--fetch", text, bracket, &v, err);
        if (status == SG_OK)
            status = add_fetch(w, v, name, err);
        else
            free(name);
    }
    free(found);
    free(pattern);
    return status;
}

/* loss, or logits[0,-1,42]: the part of a value, summed to a scalar. */
static sg_status scalar_of(work *w, const char *text, sg_value **out, sg_error *err)
{
    sg_graph *g = sg_glass_graph(w->glass);
    char name[256];
    const char *bracket = strchr(text, '[');
    sg_value *v = NULL;

    snprintf(name, sizeof name, "%.*s", (int)(bracket ? bracket - text : (long)strlen(text)), text);
    if (sg_glass_find(w->glass, name, &v, err) != SG_OK)
        return err->status = SG_EARG; /* the user's own words: wrong use */
    SG_TRY(part_of(w, "--grad", text, bracket, &v, err));
    *out = sg_value_n_dims(v) ? sg_sum_all(g, v) : v;
    return sg_graph_status(g, err);
}

static sg_status add_grad(work *w, const char *text, sg_error *err)
{
    const char *bracket = strchr(text, '['), *closed = bracket ? strchr(bracket, ']') : NULL;
    const char *colon = strchr(closed ? closed : text, ':'); /* ranges have colons too */
    sg_graph *g = sg_glass_graph(w->glass);
    char *of = colon ? strndup(text, (size_t)(colon - text)) : NULL;
    sg_value *y = NULL, **xs = NULL, **grads = NULL;
    int n = 0;

    if (!colon)
        return sg_fail(err, SG_EARG, "--grad %.100s: wanted OF:WRT", text);
    sg_status status = of ? scalar_of(w, of, &y, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = cli_match(g, colon + 1, &xs, &n, err);
    int kept = 0;
    for (int i = 0; i < n; i++) /* a pattern may take in tokens and masks, by which nothing is differentiated */
        if (sg_dtype_is_float(sg_value_dtype(xs[i])))
            xs[kept++] = xs[i];
    if (status == SG_OK && !kept)
        status = sg_fail(err, SG_EARG, "--grad %.100s: nothing there is differentiable", text);
    if (status == SG_OK && !(grads = malloc((size_t)kept * sizeof *grads)))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK) {
        sg_gradients(g, y, NULL, kept, xs, grads);
        status = sg_graph_status(g, err);
    }
    for (int i = 0; i < kept && status == SG_OK; i++) {
        const size_t bytes = strlen(of) + strlen(sg_value_name(xs[i])) + 2;
        char *name = malloc(bytes);
        if (name)
            snprintf(name, bytes, "%s:%s", of, sg_value_name(xs[i]));
        status = add_fetch(w, grads[i], name, err);
    }
    free(of);
    free(xs);
    free(grads);
    return status;
}

/* ---- several processes ---- */

static sg_status check_dealt(const request *r, sg_error *err)
{
    if (!r->ranks)
        return SG_OK;
    if (!r->out || !r->n_fetch)
        return sg_fail(err, SG_EARG, "several processes want --fetch and --out: what they find is written");
    if (r->n_feed || r->n_image || r->n_grad || r->trace || r->dry_run)
        return sg_fail(err, SG_EARG, "--%s wants one process",
                       r->n_feed    ? "feed"
                       : r->n_image ? "image"
                       : r->n_grad  ? "grad"
                       : r->trace   ? "trace"
                                    : "dry-run");
    return SG_OK;
}

/* Keeps this process's share of the rows. */
static sg_status deal_rows(work *w, const request *r, sg_error *err)
{
    cli_rows *rows = &w->rows;
    sg_dim first;
    w->n_rows = rows->n;
    if (!rows->n)
        return SG_OK; /* images alone */
    for (int i = 0; i < rows->n; i++)
        w->time = SG_MAX(w->time, rows->lengths[i]);
    if (rows->n < sg_ranks_count(r->ranks))
        return sg_fail(err, SG_EARG, "%d rows for %d processes", rows->n, sg_ranks_count(r->ranks));
    const sg_dim n = sg_ranks_share(r->ranks, sg_ranks_index(r->ranks), rows->n, &first);
    for (int i = 0; i < rows->n; i++) {
        if (i < first || i >= first + n) {
            free(rows->tokens[i]);
            continue;
        }
        rows->tokens[i - first] = rows->tokens[i];
        rows->lengths[i - first] = rows->lengths[i];
    }
    rows->n = (int)n;
    return SG_OK;
}

/* Only what has a part for each row can be dealt out. */
static sg_status check_rows_of(const work *w, sg_error *err)
{
    const sg_value *tokens = sg_graph_find(sg_glass_graph(w->glass), "tokens");
    for (int i = 0; i < w->n_fetches; i++)
        if (sg_value_n_dims(w->fetches[i]) < 1 || sg_value_dim(w->fetches[i], 0) != sg_value_dim(tokens, 0))
            return sg_fail(err, SG_EARG, "--fetch %s: has no part for each row, so it wants one process", w->names[i]);
    for (int i = 0; w->edits && i < sg_edit_list_count(w->edits); i++)
        if (sg_edit_list_at(w->edits, i)->rows.n)
            return sg_fail(err, SG_EARG, "--edits: edit %d names rows, so it wants one process", i);
    return SG_OK;
}

/* Rank 0 alone tells what came of it. */
static int dealt(const work *w, const request *r)
{
    if (sg_ranks_index(r->ranks) > 0)
        return 0;
    if (!r->json) {
        printf("%s: %d values of %lld rows, by %d processes\n", r->out, w->n_fetches, (long long)w->n_rows,
               sg_ranks_count(r->ranks));
        return 0;
    }
    json_t *values = json_object();
    for (int i = 0; i < w->n_fetches; i++) {
        sg_tensor t = w->results[i];
        t.dims[0] = w->n_rows;
        json_object_set_new(
            values, w->names[i],
            json_pack("{s:s, s:o}", "dtype", sg_dtype_name(t.dtype), "shape", cli_shape(t.n_dims, t.dims)));
    }
    return cli_print_json(json_pack("{s:s, s:s, s:I, s:i, s:o}", "model", r->model, "out", r->out, "rows",
                                    (json_int_t)w->n_rows, "processes", sg_ranks_count(r->ranks), "values", values));
}

static bool is_fed_images(const work *w)
{
    bool is = false;

    for (int i = 0; i < w->n_feeds; i++)
        is = is || strcmp(w->feeds[i].name, "pixels") == 0;
    return is;
}

/* What a model gives that predicts nothing, of what it is run on. */
static sg_status add_embeddings(work *w, sg_error *err)
{
    static const char *const names[] = {"text_embeds", "image_embeds", "pooler_output", "last_hidden_state"};
    const sg_graph *g = sg_glass_graph(w->glass);
    const bool both = sg_model_get_info(w->model)->task == SG_TASK_MATCH;

    for (size_t i = 0; i < SG_COUNT_OF(names); i++)
        if (sg_graph_find(g, names[i]) && !(both && i == 0 && !w->rows.n) && !(both && i == 1 && !is_fed_images(w)))
            SG_TRY(add_fetch(w, sg_graph_find(g, names[i]), strdup(names[i]), err));
    return SG_OK;
}

static sg_status add_features(work *w, const request *r, sg_error *err)
{
    char name[256];

    if (r->top_features && !r->added.n_saes)
        return sg_fail(err, SG_EARG, "--top-features wants an autoencoder, by --sae");
    for (int i = 0; r->top_features && i < sg_model_n_saes(w->model); i++) {
        w->features[i] = w->n_fetches;
        sg_value *v = sg_graph_find(sg_glass_graph(w->glass), adapted_features(w->model, i, name));
        SG_TRY(add_fetch(w, v, strdup(name), err));
    }
    return SG_OK;
}

static sg_status prepare(work *w, const request *r, sg_error *err)
{
    SG_TRY(check_dealt(r, err));
    /* Planning needs sizes alone; an edit may take its value from another run, which needs the numbers. */
    const bool only_sizes = r->dry_run && !r->edits && !r->added.n_vectors;
    sg_model_opts model_opts = sg_model_defaults();
    model_opts.dtype = r->dtype;
    model_opts.only_sizes = only_sizes;
    SG_TRY(adapted_open(&w->model, r->model, model_opts, &r->added, r->n_grad > 0, err));
    for (int i = 0; i < r->n_text; i++)
        SG_TRY(cli_rows_text(&w->rows, w->model, r->text[i], err));
    if (r->tokens)
        SG_TRY(cli_rows_file(&w->rows, r->tokens, err));
    SG_TRY(deal_rows(w, r, err));
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec.compute = r->compute;
    opts.exec.fuse &= !r->guard; /* what lies within a fused step cannot be searched */
    SG_TRY(sg_glass_new(&w->glass, w->model, opts, err));
    SG_TRY(adapted_edits(&w->edits, r->edits, &r->added, err));
    if (w->edits)
        SG_TRY(sg_glass_edit_list(w->glass, w->edits, err));
    w->feeds = calloc((size_t)r->n_feed + 1, sizeof *w->feeds);
    if (!w->feeds)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < r->n_feed; i++)
        SG_TRY(read_feed(w, r->feed[i], &w->feeds[w->n_feeds++], err));
    if (r->n_image)
        SG_TRY(read_images(w, r, err));
    for (int i = 0; i < r->n_fetch; i++)
        SG_TRY(add_fetches(w, r->fetch[i], err));
    SG_TRY(add_features(w, r, err));
    for (int i = 0; i < r->n_grad; i++)
        SG_TRY(add_grad(w, r->grad[i], err));
    if (!w->n_fetches && !predictions_value(w->model, sg_glass_graph(w->glass), w->rows.n > 0, is_fed_images(w)))
        SG_TRY(add_embeddings(w, err));
    return r->ranks ? check_rows_of(w, err) : SG_OK;
}

static sg_rows rows_of(const work *w, const request *r)
{
    return (sg_rows){.n_rows = w->rows.n,
                     .tokens = (const int32_t *const *)w->rows.tokens,
                     .lengths = w->rows.lengths,
                     .pad_left = r->pad_left,
                     .time = w->time};
}

/* What is fetched, *n of them: people see predictions; machines get the logits when they ask for them, and nothing
 * behind what they asked for runs. NULL when memory is out. */
static sg_value **all_fetches(const work *w, const request *r, int *n)
{
    sg_value **all = malloc((size_t)(w->n_fetches + 1) * sizeof *all);

    if (all && w->n_fetches)
        memcpy(all, w->fetches, (size_t)w->n_fetches * sizeof *all);
    sg_value *said =
        all ? predictions_value(w->model, sg_glass_graph(w->glass), w->rows.n > 0, is_fed_images(w)) : NULL;
    if (said)
        all[w->n_fetches] = said;
    *n = !said || ((r->json || r->ranks) && w->n_fetches) ? w->n_fetches : w->n_fetches + 1;
    return all;
}

static sg_status execute(work *w, const request *r, sg_error *err)
{
    int n;
    sg_value **all = all_fetches(w, r, &n);
    const sg_rows rows = rows_of(w, r);

    w->results = calloc((size_t)w->n_fetches + 1, sizeof *w->results);
    if (!all || !w->results) {
        free(all);
        return sg_fail(err, SG_ENOMEM, "out of memory");
    }
    sg_status status = sg_glass_ready(w->glass, err);
    if (status == SG_OK && r->trace)
        status = sg_trace_new(&w->trace, err);
    if (status == SG_OK) {
        sg_session_trace(sg_glass_session(w->glass), w->trace);
        sg_session_guard(sg_glass_session(w->glass), r->guard);
        status = sg_glass_run(w->glass, rows.n_rows ? &rows : NULL, w->n_feeds, w->feeds, n, all, w->results, err);
    }
    if (status == SG_OK && r->trace)
        status = sg_trace_save(w->trace, r->trace, err);
    free(all);
    return status;
}

static sg_status save(const work *w, const request *r, sg_error *err)
{
    const char *path = r->out;
    const bool pad_left = r->pad_left;
    sg_named_tensor *list = malloc((size_t)(w->n_fetches + 1) * sizeof *list);
    const sg_dim time = w->time;
    int n = 0;

    int32_t *ids = calloc((size_t)(w->rows.n * time) + 1, sizeof *ids);
    sg_status status = list && ids ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK) {
        for (int i = 0; i < w->rows.n; i++)
            memcpy(ids + i * time + (pad_left ? time - w->rows.lengths[i] : 0), w->rows.tokens[i],
                   (size_t)w->rows.lengths[i] * sizeof *ids);
        if (w->rows.n)
            list[n++] = (sg_named_tensor){"tokens", sg_tensor_of(SG_I32, 2, (sg_dim[]){w->rows.n, time}, ids)};
        for (int i = 0; i < w->n_fetches; i++)
            if (strcmp(w->names[i], "tokens") != 0)
                list[n++] = (sg_named_tensor){w->names[i], w->results[i]};
    }
    status = sg_ranks_agree(r->ranks, status, err);
    if (status == SG_OK)
        status = r->ranks ? cli_save_dealt(r->ranks, path, w->n_rows, n, list, err)
                          : sg_safetensors_save(path, list, n, NULL, 0, err);
    free(list);
    free(ids);
    return status;
}

static predictions said_by(const work *w, const request *r)
{
    return (predictions){.model = w->model,
                         .rows = &w->rows,
                         .pad_left = r->pad_left,
                         .top = (int)r->top,
                         .n_texts = r->n_text,
                         .n_images = r->n_image,
                         .texts = r->text,
                         .images = r->image,
                         .value = &w->results[w->n_fetches]};
}

static json_t *stats_json(const sg_tensor *t)
{
    const cli_stats s = cli_stats_of(t);

    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "count", (json_int_t)s.count, "finite", (json_int_t)s.finite,
                     "min", s.least, "max", s.greatest, "mean", s.mean, "std", s.deviation);
}

static int as_json(const work *w, const request *r)
{
    json_t *tokens = json_array(), *values = json_object(), *nodes = json_array();
    const sg_plan *plan = sg_session_plan(sg_glass_session(w->glass));
    const predictions said = said_by(w, r);

    for (int i = 0; i < w->rows.n; i++) {
        json_t *row = json_array();
        for (sg_dim t = 0; t < w->rows.lengths[i]; t++)
            json_array_append_new(row, json_integer(w->rows.tokens[i][t]));
        json_array_append_new(tokens, row);
    }
    for (int i = 0; i < w->n_fetches; i++)
        json_object_set_new(values, w->names[i],
                            json_pack("{s:s, s:o, s:o}", "dtype", sg_dtype_name(w->results[i].dtype), "shape",
                                      cli_shape(w->results[i].n_dims, w->results[i].dims), "stats",
                                      stats_json(&w->results[i])));
    for (int s = 0; s < sg_plan_n_steps(plan); s++)
        json_array_append_new(nodes, json_string(sg_plan_step_name(plan, s)));
    json_t *root = json_pack("{s:s, s:o, s:o, s:o, s:I}", "model", r->model, "tokens", tokens, "values", values,
                             "nodes_run", nodes, "block_bytes", (json_int_t)sg_plan_bytes(plan));
    if (said.value->data)
        predictions_json(&said, root);
    json_t *features = r->top_features ? json_array() : NULL;
    for (int i = 0; features && i < sg_model_n_saes(w->model); i++)
        json_array_append_new(features, adapted_top_json(w->model, i, &w->results[w->features[i]], &w->rows, r->pad_left,
                                                         (int)r->top_features));
    if (features)
        json_object_set_new(root, "features", features);
    return cli_print_json(root);
}

static int for_people(const work *w, const request *r)
{
    const cli_paint c = cli_colours();
    const predictions said = said_by(w, r);
    char shape[SG_SHAPE_TEXT];

    if (said.value->data)
        predictions_print(&said);
    for (int i = 0; r->top_features && i < sg_model_n_saes(w->model); i++)
        adapted_print_top(w->model, i, &w->results[w->features[i]], &w->rows, r->pad_left, (int)r->top_features);
    if (w->n_fetches)
        printf("%s%s%-38s %-18s %12s %12s %12s %12s%s\n", said.value->data ? "\n" : "", c.bold, "value", "shape",
               "least", "greatest", "mean", "deviation", c.off);
    for (int i = 0; i < w->n_fetches; i++) {
        const cli_stats s = cli_stats_of(&w->results[i]);
        printf("%-38s %-18s %12.5g %12.5g %12.5g %12.5g", w->names[i],
               sg_shape_text(shape, w->results[i].n_dims, w->results[i].dims), s.least, s.greatest, s.mean,
               s.deviation);
        if (s.finite < s.count)
            printf("  (%lld of %lld not finite)", (long long)(s.count - s.finite), (long long)s.count);
        putchar('\n');
    }
    return 0;
}

/* ---- the dry run ---- */

/* What libjansson was seen to take for a token and for each of its predictions, which are all there before any is
 * printed. */
enum { REPORT_TOKEN_BYTES = 40, REPORT_PLACE_BYTES = 160, REPORT_GUESS_BYTES = 455 };

/* Weights count once as they lie in the file, those that opening or the run reads, although the system may drop them
 * again when memory is short; and once more as converted, where they are computed in another type. */
static int dry_run(const work *w, const request *r)
{
    sg_error err = {SG_OK, ""};
    const sg_plan *plan;
    const sg_rows rows = rows_of(w, r);
    int n;
    sg_value **all = all_fetches(w, r, &n);
    if (!all)
        return EXIT_FAILED;
    const sg_status status =
        sg_glass_plan(w->glass, rows.n_rows ? &rows : NULL, w->n_feeds, w->feeds, n, all, &plan, &err);
    free(all);
    if (status != SG_OK)
        return cli_fail(&err);

    const sg_model_info *info = sg_model_get_info(w->model);
    const size_t here = cli_resident(), fetched = sg_plan_fetched_bytes(plan);
    const size_t in_file = info->weight_bytes - info->unread_bytes + SG_MIN(info->unread_bytes, sg_plan_read_bytes(plan));
    const size_t weights = r->edits ? in_file + info->converted_bytes : 0; /* of these, in memory already */
    size_t fed = 0,
           tokens = (size_t)(rows.n_rows * w->time) * (2 * sizeof(int32_t) + (r->out ? sizeof(int32_t) : 0) + 1);
    for (int i = 0; i < w->n_feeds; i++)
        fed += sg_tensor_bytes(&w->feeds[i].tensor);
    size_t n_tokens = 0;
    for (int i = 0; i < rows.n_rows; i++)
        n_tokens += (size_t)rows.lengths[i];
    tokens += n_tokens * sizeof(int32_t);
    const bool predicted = n > w->n_fetches;
    const size_t guesses = predicted ? REPORT_PLACE_BYTES + (size_t)r->top * REPORT_GUESS_BYTES : 0;
    const size_t report = r->json ? n_tokens * (REPORT_TOKEN_BYTES + guesses) : 0;
    const size_t counted = fed + tokens + weights;
    const struct {
        const char *key, *text;
        size_t bytes;
    } parts[] = {{"weights", "weights, in the mapped file", in_file},
                 {"converted", "weights, converted", info->converted_bytes},
                 {"block", "values between, as planned", sg_plan_bytes(plan) - fetched},
                 {"packed", "weights in another layout", sg_plan_packed_bytes(plan)},
                 {"libraries", "what libraries take for products", sg_plan_hidden_bytes(plan)},
                 {"fetched", "fetched values", fetched},
                 {"fed", "fed values", fed},
                 {"tokens", "tokens, positions, mask", tokens},
                 {"report", "the report as JSON", report},
                 {"program", "the program with its plan", here > counted ? here - counted : 0}};
    size_t total = 0;
    for (size_t i = 0; i < SG_COUNT_OF(parts); i++)
        total += parts[i].bytes;
    if (r->json) {
        json_t *root = json_pack("{s:s, s:I, s:I}", "model", r->model, "steps", (json_int_t)sg_plan_n_steps(plan),
                                 "total_bytes", (json_int_t)total);
        for (size_t i = 0; i < SG_COUNT_OF(parts); i++) {
            char key[40];
            snprintf(key, sizeof key, "%s_bytes", parts[i].key);
            json_object_set_new(root, key, json_integer((json_int_t)parts[i].bytes));
        }
        return cli_print_json(root);
    }
    for (size_t i = 0; i < SG_COUNT_OF(parts); i++)
        if (parts[i].bytes)
            printf("  %-32s %10.1f MB\n", parts[i].text, (double)parts[i].bytes / 1e6);
    printf("  %-32s %10.1f MB\n", "together", (double)total / 1e6);
    return 0;
}

static void release(work *w)
{
    for (int i = 0; w->feeds && i < w->n_feeds; i++) {
        union {
            const char *in;
            char *out;
        } name = {w->feeds[i].name};
        free(name.out);
        free(w->feeds[i].tensor.data);
    }
    for (int i = 0; i < w->n_fetches; i++)
        free(w->names[i]);
    free(w->feeds);
    free(w->fetches);
    free(w->names);
    free(w->results);
    cli_rows_free(&w->rows);
    sg_glass_free(w->glass);
    sg_trace_free(w->trace);
    sg_edit_list_free(w->edits);
    sg_model_close(w->model);
}

static sg_status work_all(work *w, const request *r, sg_error *err)
{
    SG_TRY(sg_writer_check(sg_ranks_index(r->ranks) == 0 ? r->out : NULL, err));
    SG_TRY(prepare(w, r, err));
    return r->dry_run ? SG_OK : execute(w, r, err);
}

static int run(const request *r)
{
    work w = {0};
    sg_error err = {SG_OK, ""};
    sg_status status = sg_ranks_agree(r->ranks, work_all(&w, r, &err), &err);
    if (status == SG_OK && r->out && !r->dry_run)
        status = save(&w, r, &err);
    int code = 0;
    if (status != SG_OK) {
        code = sg_ranks_index(r->ranks) == 0 ? cli_fail(&err) : cli_status(&err);
    } else if (r->dry_run) {
        code = dry_run(&w, r);
    } else {
        if (sg_ranks_index(r->ranks) == 0)
            cli_warnings(w.model);
        code = r->ranks ? dealt(&w, r) : r->json ? as_json(&w, r) : for_people(&w, r);
    }
    release(&w);
    return code;
}

int cmd_run(int argc, char **argv)
{
    static const struct option options[] = {{"text", required_argument, NULL, 't'},
                                            {"image", required_argument, NULL, 'i'},
                                            {"tokens", required_argument, NULL, 'T'},
                                            {"fetch", required_argument, NULL, 'f'},
                                            {"feed", required_argument, NULL, 'F'},
                                            {"edits", required_argument, NULL, 'e'},
                                            {"grad", required_argument, NULL, 'g'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"top", required_argument, NULL, 'k'},
                                            {"pad", required_argument, NULL, 'p'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {"trace", required_argument, NULL, 'c'},
                                            {"guard", no_argument, NULL, 'G'},
                                            {"top-features", required_argument, NULL, 'a'},
                                            ADAPTED_OPTIONS,
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    request r = {.dtype = SG_F32, .compute = SG_F32, .top = 3};
    sg_error err = {SG_OK, ""};
    if (sg_ranks_open(&r.ranks, &err) != SG_OK)
        return cli_fail(&err);
    const size_t room = (size_t)argc + 1;
    const char **lists = calloc(5 * room, sizeof *lists);
    int status = 0;

    if (!lists) {
        sg_ranks_close(r.ranks);
        return EXIT_FAILED;
    }
    cli_hush *hush = cli_hush_begin(sg_ranks_index(r.ranks) > 0);
    r.text = lists;
    r.fetch = lists + room;
    r.feed = lists + 2 * room;
    r.grad = lists + 3 * room;
    r.image = lists + 4 * room;
    for (int o; status == 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 't':
            r.text[r.n_text++] = optarg;
            break;
        case 'i':
            r.image[r.n_image++] = optarg;
            break;
        case 'T':
            r.tokens = optarg;
            break;
        case 'f':
            r.fetch[r.n_fetch++] = optarg;
            break;
        case 'F':
            r.feed[r.n_feed++] = optarg;
            break;
        case 'e':
            r.edits = optarg;
            break;
        case 'g':
            r.grad[r.n_grad++] = optarg;
            break;
        case 'o':
            r.out = optarg;
            break;
        case 'j':
            r.json = true;
            break;
        case 'c':
            r.trace = optarg;
            break;
        case 'G':
            r.guard = true;
            break;
        case 'n':
            r.dry_run = true;
            break;
        case 'k':
            if (cli_whole("--top", optarg, 1, 64, &r.top, &err) != SG_OK)
                status = cli_fail(&err);
            break;
        case 'a':
            if (cli_whole("--top-features", optarg, 1, 1000, &r.top_features, &err) != SG_OK)
                status = cli_fail(&err);
            break;
        case 'p':
            r.pad_left = strcmp(optarg, "left") == 0;
            if (!r.pad_left && strcmp(optarg, "right") != 0)
                status = cli_usage("run", "--pad is \"%.20s\", wanted left or right", optarg);
            break;
        case 'd':
            r.dtype = strcmp(optarg, "f64") == 0 ? SG_F64 : SG_F32;
            r.compute = strcmp(optarg, "bf16") == 0 ? SG_BF16 : SG_F32;
            if (r.dtype == SG_F32 && r.compute == SG_F32 && strcmp(optarg, "f32") != 0)
                status = cli_usage("run", "--dtype is \"%.20s\", wanted f32, f64 or bf16", optarg);
            break;
        case 'h':
            fputs(help, stdout);
            cli_hush_end(hush);
            free(lists);
            sg_ranks_close(r.ranks);
            return 0;
        default:
            if (!adapted_option(&r.added, o, optarg))
                status = EXIT_USAGE;
        }
    }
    if (status == 0 && optind + 1 != argc)
        status = cli_usage("run", "wanted one MODEL, got %d", argc - optind);
    bool fed = r.n_image > 0;
    for (int i = 0; i < r.n_feed; i++)
        fed = fed || strncmp(r.feed[i], "pixels=", 7) == 0;
    if (status == 0 && ((r.n_text && r.tokens) || (!r.n_text && !r.tokens && !fed)))
        status = cli_usage("run", "wanted either --text or --tokens, or --image");
    cli_hush_end(hush);
    if (status == 0) {
        r.model = argv[optind];
        status = run(&r);
    }
    free(lists);
    sg_ranks_close(r.ranks);
    return status;
}
