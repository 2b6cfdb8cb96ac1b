/* A glass: one thread's graph, state, caches and plans of a model. */
#include <stdlib.h>
#include <string.h>

#include "models/adapt.h"
#include "models/arch.h"

#define MAX_FEEDS    32
#define MAX_STANDARD 6

struct sg_glass {
    const sg_model *m;
    sg_glass_opts opts;
    sg_graph *g;
    sg_state *state; /* made at the first run, when the graph is whole */
    sg_session *session;
    sg_session *planning; /* without a state, for plans that are not run */
    sg_value *tokens, *positions, *key_mask, *types, *pixels; /* NULL: the model has none */
    sg_value *reach, *places, *key_positions;                 /* NULL unless rows are apart */
    sg_edits *edits;
    sg_feed *feeds; /* room for what the edits feed, behind the standard feeds */
    sg_dim past, step;
    sg_dim *prompt; /* [n_rows] tokens of each row's prompt */
    int n_prompt;
    int32_t *ids, *places_of; /* [rows,time], kept between runs so that a step allocates nothing */
    int32_t *kinds; /* token types */
    uint8_t *mask;
    size_t ids_capacity, mask_capacity;
    struct {
        sg_value *value; /* lora.{i}.strength */
        int n;           /* 1, or one for each row */
        double *given;
        void *rows; /* those of a run, in what is computed in */
        size_t capacity;
    } loras[SG_MAX_ADAPTERS];
    int n_loras;
};

sg_glass_opts sg_glass_defaults(void)
{
    return (sg_glass_opts){.exec = sg_exec_defaults(), .capacity = 0, .n_rows = 1, .cache = SG_F32};
}

sg_status sg_glass_new(sg_glass **out, const sg_model *m, sg_glass_opts opts, sg_error *err)
{
    sg_glass *glass = calloc(1, sizeof *glass);

    if (!glass)
        return sg_fail(err, SG_ENOMEM, "out of memory for a glass");
    glass->m = m;
    glass->opts = opts;
    const sg_status status = sg_model_cached_graph(&glass->g, m,
                                                   (sg_cache_opts){.capacity = opts.capacity,
                                                                   .n_rows = opts.n_rows,
                                                                   .apart = opts.apart,
                                                                   .dtype = opts.cache,
                                                                   .sliding = opts.sliding,
                                                                   .shared = opts.shared},
                                                   err);
    if (status != SG_OK) {
        sg_glass_free(glass);
        return status;
    }
    glass->tokens = sg_graph_find(glass->g, "tokens");
    glass->positions = sg_graph_find(glass->g, "positions");
    glass->key_mask = sg_graph_find(glass->g, "key_mask");
    glass->reach = opts.apart ? sg_graph_find(glass->g, "reach") : NULL;
    glass->places = opts.apart ? sg_graph_find(glass->g, "places") : NULL;
    glass->key_positions = opts.sliding ? sg_graph_find(glass->g, "key_positions") : NULL;
    glass->types = sg_graph_find(glass->g, "token_types");
    glass->pixels = sg_graph_find(glass->g, "pixels");
    glass->n_loras = sg_model_n_loras(m);
    for (int i = 0; i < glass->n_loras; i++) {
        char name[64];
        const double strength = sg_model_lora_strength(m, i);
        snprintf(name, sizeof name, "lora.%d.strength", i);
        glass->loras[i].value = sg_graph_find(glass->g, name);
        const sg_status kept = sg_glass_lora(glass, i, 1, &strength, err);
        if (kept != SG_OK) {
            sg_glass_free(glass);
            return kept;
        }
    }
    *out = glass;
    return SG_OK;
}

void sg_glass_free(sg_glass *glass)
{
    if (!glass)
        return;
    sg_session_free(glass->session);
    sg_session_free(glass->planning);
    sg_edits_free(glass->edits);
    free(glass->feeds);
    free(glass->prompt);
    sg_state_free(glass->state);
    sg_graph_free(glass->g);
    for (int i = 0; i < glass->n_loras; i++) {
        free(glass->loras[i].given);
        free(glass->loras[i].rows);
    }
    free(glass->ids);
    free(glass->places_of);
    free(glass->kinds);
    free(glass->mask);
    free(glass);
}

sg_graph *sg_glass_graph(sg_glass *glass)
{
    return glass->g;
}

sg_session *sg_glass_session(sg_glass *glass)
{
    return glass->session;
}

sg_dim sg_glass_past(const sg_glass *glass)
{
    return glass->past;
}

void sg_glass_forget(sg_glass *glass)
{
    glass->past = 0;
    glass->step = 0;
}

sg_status sg_glass_find(sg_glass *glass, const char *name, sg_value **out, sg_error *err)
{
    sg_value *v = sg_graph_find(glass->g, name);

    if (!v) {
        const char *nearest = sg_graph_nearest(glass->g, name);
        return sg_fail(err, SG_ENOTFOUND, "no value is named %.120s%s%s%s", name,
                       nearest ? "; the nearest name is " : "", nearest ? nearest : "", "");
    }
    *out = v;
    return SG_OK;
}

sg_edits *sg_glass_edits(sg_glass *glass)
{
    return glass->edits;
}

sg_status sg_glass_edit(sg_glass *glass, int n, const sg_edit *edits, sg_error *err)
{
    if (glass->edits || glass->session || glass->planning)
        return sg_fail(err, SG_EARG, "a glass is edited once, before it is run");
    SG_TRY(sg_adapt_edits(glass->m, glass->g, n, edits, err));
    SG_TRY(sg_edits_splice(&glass->edits, glass->g, n, edits, err));
    return SG_OK;
}

/* The value of a site in a run of its own, all positions [T,...] or one [...]. */
static sg_status value_from_run(sg_glass *glass, sg_edit_list *list, int i, sg_error *err)
{
    const sg_edit_source *from = sg_edit_list_source(list, i);
    sg_tokens ids = {0};
    sg_value *site = NULL;
    sg_tensor out;

    if (!glass->tokens)
        return sg_fail(err, SG_EARG, "%s: an edit's run is given as text or tokens, and the model reads images",
                       glass->m->info.path);
    if (from->text && !glass->m->tokenizer)
        return sg_fail(err, SG_EARG, "%s: an edit's run is given as text, and the model has no tokenizer",
                       glass->m->info.path);
    sg_status status = SG_OK;
    if (from->text)
        status = sg_tokenizer_encode(glass->m->tokenizer, from->text, sg_encode_defaults(), &ids, err);
    const int32_t *tokens = from->text ? ids.ids : from->tokens;
    const sg_dim n = from->text ? ids.n : from->n_tokens;
    if (status == SG_OK)
        status = sg_glass_find(glass, sg_edit_list_at(list, i)->site, &site, err);
    const sg_rows rows = {.n_rows = 1, .tokens = &tokens, .lengths = &n};
    if (status == SG_OK)
        status = sg_glass_run(glass, &rows, 0, NULL, 1, &site, &out, err);
    if (status == SG_OK) {
        const sg_dim at = from->position < 0 ? from->position + n : from->position;
        const bool by_position = strchr(sg_value_axes(site), 's') == NULL;
        sg_tensor t = by_position ? sg_tensor_of(out.dtype, out.n_dims - 1, out.dims + 1, out.data) : out;
        if (from->has_position && (at < 0 || at >= n || !by_position)) {
            status = sg_fail(err, SG_EARG, "an edit's value is taken at position %lld of a run of %lld tokens",
                             (long long)from->position, (long long)n);
        } else if (from->has_position) {
            t = sg_tensor_of(out.dtype, out.n_dims - 2, out.dims + 2, out.data);
            t.data = (char *)out.data + (size_t)at * sg_tensor_bytes(&t);
        }
        if (status == SG_OK)
            status = sg_edit_list_fill(list, i, &t, err);
    }
    sg_tokens_free(&ids);
    return status;
}

sg_status sg_glass_sources(sg_glass *glass, sg_edit_list *list, sg_error *err)
{
    if (glass->edits)
        return sg_fail(err, SG_EARG, "what an edit takes from another run is computed without edits");
    for (int i = 0; i < sg_edit_list_count(list); i++)
        if (sg_edit_list_source(list, i))
            SG_TRY(value_from_run(glass, list, i, err));
    return SG_OK;
}

sg_status sg_glass_edit_list(sg_glass *glass, sg_edit_list *list, sg_error *err)
{
    const int n = sg_edit_list_count(list);
    sg_glass *other = NULL;
    bool any = false;

    for (int i = 0; i < n; i++)
        any |= sg_edit_list_source(list, i) != NULL;
    if (any) {
        sg_glass_opts opts = glass->opts;
        opts.capacity = 0;
        SG_TRY(sg_glass_new(&other, glass->m, opts, err));
        const sg_status status = sg_glass_sources(other, list, err);
        sg_glass_free(other);
        if (status != SG_OK)
            return status;
    }
    return n ? sg_glass_edit(glass, n, sg_edit_list_at(list, 0), err) : SG_OK;
}

sg_status sg_glass_lora(sg_glass *glass, int i, int n, const double *strengths, sg_error *err)
{
    if (i < 0 || i >= glass->n_loras || n < 1)
        return sg_fail(err, SG_EARG, "strengths of LoRA %d for %d rows; the model has %d", i, n, glass->n_loras);
    double *given = malloc((size_t)n * sizeof *given);
    if (!given)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d strengths", n);
    memcpy(given, strengths, (size_t)n * sizeof *given);
    free(glass->loras[i].given);
    glass->loras[i].given = given;
    glass->loras[i].n = n;
    return SG_OK;
}

/* That a caller may name. */
static int most_feeds(const sg_glass *glass)
{
    return MAX_FEEDS + (glass->opts.shared ? 2 * (int)glass->m->info.n_layers : 0);
}

static sg_status room_for_feeds(sg_glass *glass, sg_error *err)
{
    if (!glass->feeds)
        glass->feeds = malloc((size_t)(MAX_STANDARD + glass->n_loras + sg_edits_n_feeds(glass->edits) + most_feeds(glass)) *
                              sizeof *glass->feeds);
    return glass->feeds ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a glass");
}

sg_status sg_glass_ready(sg_glass *glass, sg_error *err)
{
    if (glass->session)
        return SG_OK;
    if (!glass->state) {
        SG_TRY(sg_state_new(&glass->state, glass->g, err));
        SG_TRY(sg_model_bind(glass->m, glass->g, glass->state, err));
        SG_TRY(sg_state_init(glass->state, glass->opts.seed, err));
    }
    SG_TRY(room_for_feeds(glass, err));
    return sg_session_new(&glass->session, glass->g, glass->state, glass->opts.exec, err);
}

static bool room(void **p, size_t *capacity, size_t wanted, size_t size)
{
    if (wanted <= *capacity)
        return true;
    void *more = realloc(*p, wanted * size);
    if (!more)
        return false;
    *p = more;
    *capacity = wanted;
    return true;
}

/* Lays rows out as [n_rows,time] with ids, positions and which keys are real. */
static sg_status lay_out(sg_glass *glass, const sg_rows *rows, sg_dim *time_out, sg_error *err)
{
    const sg_model_info *info = &glass->m->info;
    sg_dim time = rows->time;

    if (rows->n_rows < 1)
        return sg_fail(err, SG_EARG, "no tokens were given");
    if (time + glass->past > info->n_context)
        return sg_fail(err, SG_EARG, "rows are to have %lld tokens, the model's context is %lld",
                       (long long)(time + glass->past), (long long)info->n_context);
    for (int r = 0; r < rows->n_rows; r++) {
        if (rows->lengths[r] < 1)
            return sg_fail(err, SG_EARG, "row %d has no tokens", r);
        if (rows->lengths[r] + glass->past > info->n_context)
            return sg_fail(err, SG_EARG, "row %d has %lld tokens, the model's context is %lld", r,
                           (long long)(rows->lengths[r] + glass->past), (long long)info->n_context);
        for (sg_dim i = 0; i < rows->lengths[r]; i++)
            if (rows->tokens[r][i] < 0 || rows->tokens[r][i] >= info->n_vocab)
                return sg_fail(err, SG_EARG, "row %d: token %d at place %lld is outside the vocabulary 0 to %lld", r,
                               rows->tokens[r][i], (long long)i, (long long)info->n_vocab - 1);
        time = SG_MAX(time, rows->lengths[r]);
    }
    /* With a cache the keys grow from run to run: room for all of them at once. */
    const size_t count = (size_t)rows->n_rows * (size_t)time,
                 keys = (size_t)rows->n_rows * (size_t)SG_MAX(time + glass->past, glass->opts.capacity);
    size_t capacity = glass->ids_capacity, same = glass->ids_capacity, also = glass->ids_capacity;
    void *ids = glass->ids, *places = glass->places_of, *mask = glass->mask, *kinds = glass->kinds;
    const bool ok = room(&ids, &capacity, count, sizeof(int32_t)) && room(&places, &same, count, sizeof(int32_t)) &&
                    (!glass->types || room(&kinds, &also, count, sizeof(int32_t))) &&
                    room(&mask, &glass->mask_capacity, keys, 1);
    glass->ids = ids;
    glass->places_of = places;
    glass->kinds = kinds;
    glass->mask = mask;
    if (!ok)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tokens", count);
    glass->ids_capacity = capacity;
    for (int r = 0; r < rows->n_rows; r++) {
        const sg_dim n = rows->lengths[r], shift = rows->pad_left ? time - n : 0;
        for (sg_dim t = 0; t < time; t++) {
            const bool real = t >= shift && t < shift + n;
            const sg_dim at = r * time + t;
            glass->ids[at] = real ? rows->tokens[r][t - shift] : 0;
            if (glass->types)
                glass->kinds[at] = real && rows->types ? rows->types[r][t - shift] : 0;
            glass->places_of[at] = real ? (int32_t)(t - shift + glass->past) : 0;
            glass->mask[r * (time + glass->past) + glass->past + t] = real;
        }
        memset(glass->mask + r * (time + glass->past), 1, (size_t)glass->past);
    }
    *time_out = time;
    return SG_OK;
}

/* Strengths of LoRA i, by row. */
static sg_status strength_feed(sg_glass *glass, int i, sg_dim batch, sg_dim time, sg_feed *feed, sg_error *err)
{
    const sg_dtype dtype = sg_value_dtype(glass->loras[i].value);
    const int n = glass->loras[i].n, n_dims = sg_value_n_dims(glass->loras[i].value);
    const sg_dim each = n_dims > 1 ? time : 1; /* of a row */

    if (n != 1 && n != batch)
        return sg_fail(err, SG_EARG, "LoRA %d has strengths for %d rows, %lld are run", i, n, (long long)batch);
    if (!room(&glass->loras[i].rows, &glass->loras[i].capacity, (size_t)(batch * each), sizeof(double)))
        return sg_fail(err, SG_ENOMEM, "out of memory for %lld rows", (long long)batch);
    *feed = (sg_feed){glass->loras[i].value,
                      sg_tensor_of(dtype, n_dims, (sg_dim[]){batch, time}, glass->loras[i].rows)};
    for (sg_dim at = 0; at < batch * each; at++)
        sg_tensor_set(&feed->tensor, at, glass->loras[i].given[n == 1 ? 0 : at / each]);
    return SG_OK;
}

/* Tokens, positions, mask, strengths of LoRAs and what the edits feed, into `feeds`: *n_out, the edits' behind the first
 * *n_standard. Without rows there are images alone. */
static sg_status standard_feeds(sg_glass *glass, const sg_rows *rows, sg_dim time, sg_dim n_images, sg_feed *feeds,
                                int *n_standard, int *n_out, sg_error *err)
{
    static const int32_t nowhere = 0;
    static const uint8_t real = 1;
    static const sg_dim one = 1;
    sg_edit_window w = {.n_rows = 1, .time = 1, .positions = &nowhere, .real = &real, .prompt = &one, .n_images = n_images};
    int n = 0;

    if (rows) {
        const sg_dim batch = rows->n_rows;
        if (rows->n_rows > glass->n_prompt) {
            sg_dim *more = realloc(glass->prompt, (size_t)rows->n_rows * sizeof *more);
            if (!more)
                return sg_fail(err, SG_ENOMEM, "out of memory for %d rows", rows->n_rows);
            glass->prompt = more;
            glass->n_prompt = rows->n_rows;
        }
        for (int r = 0; glass->past == 0 && r < rows->n_rows; r++)
            glass->prompt[r] = rows->lengths[r];
        feeds[n++] = (sg_feed){glass->tokens, sg_tensor_of(SG_I32, 2, (sg_dim[]){batch, time}, glass->ids)};
        feeds[n++] = (sg_feed){glass->positions, sg_tensor_of(SG_I32, 2, (sg_dim[]){batch, time}, glass->places_of)};
        feeds[n++] = (sg_feed){glass->key_mask, sg_tensor_of(SG_BOOL, 2, (sg_dim[]){batch, time + glass->past}, glass->mask)};
        if (glass->types)
            feeds[n++] = (sg_feed){glass->types, sg_tensor_of(SG_I32, 2, (sg_dim[]){batch, time}, glass->kinds)};
        w = (sg_edit_window){.n_rows = batch,
                             .time = time,
                             .past = glass->past,
                             .positions = glass->places_of,
                             .real = glass->mask,
                             .prompt = glass->prompt,
                             .step = glass->step,
                             .n_images = n_images};
    }
    for (int i = 0; i < glass->n_loras && (rows || !glass->tokens); i++)
        SG_TRY(strength_feed(glass, i, rows ? rows->n_rows : n_images, time, &feeds[n++], err));
    *n_standard = n;
    *n_out = n + sg_edits_n_feeds(glass->edits);
    return glass->edits ? sg_edits_feeds(glass->edits, &w, feeds + n, err) : SG_OK;
}

/* What a model takes: tokens, images, or what of both is there. */
static sg_status check_inputs(const sg_glass *glass, const sg_rows *rows, const sg_tensor *pixels, sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    if (rows && !glass->tokens)
        return sg_fail(err, SG_EARG, "%s reads images and no tokens", glass->m->info.path);
    if (!rows && !pixels)
        return sg_fail(err, SG_EARG, glass->pixels ? "no images were given: pixels is fed" : "no tokens were given");
    if (pixels && glass->pixels &&
        (pixels->n_dims != 4 || pixels->dims[0] < 1 || memcmp(pixels->dims + 1, sg_value_dims(glass->pixels) + 1, 3 * sizeof(sg_dim))))
        return sg_fail(err, SG_ESHAPE, "pixels is %s, wanted %s", sg_shape_text(found, pixels->n_dims, pixels->dims),
                       sg_value_shape_text(glass->pixels, wanted));
    return SG_OK;
}

/* Everything that a run of these is fed, into the glass's feeds: *n_out. */
static sg_status all_feeds(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int *n_out,
                           sg_error *err)
{
    sg_dim time = 0;

    if (glass->opts.capacity)
        return sg_fail(err, SG_EARG, "a glass with a cache is run by sg_glass_extend");
    if (n_feeds > most_feeds(glass))
        return sg_fail(err, SG_EARG, "%d feeds, at most %d", n_feeds, most_feeds(glass));
    if (glass->opts.shared && glass->past < 1)
        return sg_fail(err, SG_EARG, "a glass with a shared past is told its length by sg_glass_share");
    const sg_tensor *pixels = NULL;
    for (int i = 0; i < n_feeds && glass->pixels; i++)
        pixels = strcmp(feeds[i].name, "pixels") == 0 ? &feeds[i].tensor : pixels;
    SG_TRY(check_inputs(glass, rows, pixels, err));
    if (rows)
        SG_TRY(lay_out(glass, rows, &time, err));
    sg_feed *all = glass->feeds;
    int n, n_standard;
    SG_TRY(standard_feeds(glass, rows, time, pixels ? pixels->dims[0] : 1, all, &n_standard, &n, err));
    for (int i = 0; i < n_feeds; i++) {
        sg_value *v = NULL;
        SG_TRY(sg_glass_find(glass, feeds[i].name, &v, err));
        int at = n;
        for (int k = 0; k < n_standard; k++) /* tokens, positions, mask or strengths of the caller's own */
            at = all[k].value == v ? k : at;
        all[at] = (sg_feed){v, feeds[i].tensor};
        n += at == n;
    }
    *n_out = n;
    return SG_OK;
}

sg_status sg_glass_run(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                       sg_value *const *fetches, sg_tensor *out, sg_error *err)
{
    int n = 0;

    SG_TRY(sg_glass_ready(glass, err));
    SG_TRY(all_feeds(glass, rows, n_feeds, feeds, &n, err));
    return sg_session_run(glass->session, n, glass->feeds, n_fetches, fetches, out, err);
}

sg_status sg_glass_share(sg_glass *glass, sg_dim past, sg_error *err)
{
    if (!glass->opts.shared || past < 1)
        return sg_fail(err, SG_EARG, "a past of %lld tokens for a glass %s", (long long)past,
                       glass->opts.shared ? "whose rows have one in common" : "without a shared past");
    SG_TRY(sg_glass_ready(glass, err));
    glass->past = past;
    return sg_session_extent(glass->session, "past", past, 0, err);
}

sg_status sg_glass_plan(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                        sg_value *const *fetches, const sg_plan **out, sg_error *err)
{
    int n = 0;

    SG_TRY(room_for_feeds(glass, err));
    if (!glass->planning)
        SG_TRY(sg_session_new(&glass->planning, glass->g, NULL, glass->opts.exec, err));
    if (glass->opts.shared)
        SG_TRY(sg_session_extent(glass->planning, "past", glass->past, 0, err));
    SG_TRY(all_feeds(glass, rows, n_feeds, feeds, &n, err));
    return sg_session_prepare(glass->planning, n, glass->feeds, n_fetches, fetches, out, err);
}

sg_status sg_glass_extend(sg_glass *glass, const sg_rows *rows, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                          sg_error *err)
{
    sg_dim time;

    if (!glass->opts.capacity || glass->opts.apart)
        return sg_fail(err, SG_EARG, "this glass has no cache%s", glass->opts.apart ? " whose rows go together" : "");
    if (rows->n_rows != glass->opts.n_rows)
        return sg_fail(err, SG_EARG, "%d rows for a cache of %lld", rows->n_rows, (long long)glass->opts.n_rows);
    for (int r = 1; r < rows->n_rows; r++)
        if (rows->lengths[r] != rows->lengths[0] || rows->time > rows->lengths[0])
            return sg_fail(err, SG_EARG, "rows of a cache are extended by equal lengths");
    if (rows->lengths[0] + glass->past > glass->opts.capacity)
        return sg_fail(err, SG_EARG, "%lld tokens for a cache of %lld", (long long)(rows->lengths[0] + glass->past),
                       (long long)glass->opts.capacity);
    /* Keys of the past were turned by the angles of short texts. */
    const sg_rope_scaling *rope = &glass->m->arch.rope;
    if (rope->kind == SG_ROPE_LONGROPE && glass->past > 0 && glass->past <= rope->original &&
        glass->past + rows->lengths[0] > rope->original)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "a text that grows past %lld tokens changes the model's rotary angles: forget the cache, and begin again "
                       "with all of it",
                       (long long)rope->original);
    SG_TRY(sg_glass_ready(glass, err));
    SG_TRY(lay_out(glass, rows, &time, err));
    int n_standard, n;
    SG_TRY(standard_feeds(glass, rows, time, 0, glass->feeds, &n_standard, &n, err));
    /* One token after another reuses one plan for any past; a longer piece gets a plan of its own. */
    SG_TRY(sg_session_extent(glass->session, "past", glass->past, time == 1 ? glass->opts.capacity - 1 : 0, err));
    SG_TRY(
        sg_session_run(glass->session, n, glass->feeds, n_fetches, fetches, out, err));
    glass->past += time;
    glass->step++;
    return SG_OK;
}

/* ---- rows at different lengths ---- */

sg_status sg_glass_edit_apart(sg_glass *glass, int n, const sg_edit *edits, sg_error *err)
{
    if (glass->edits || glass->session || glass->planning)
        return sg_fail(err, SG_EARG, "a glass is edited once, before it is run");
    SG_TRY(sg_adapt_edits(glass->m, glass->g, n, edits, err));
    return sg_edits_splice_rows(&glass->edits, glass->g, glass->opts.n_rows, n, edits, err);
}

sg_state *sg_glass_state(sg_glass *glass)
{
    return glass->state;
}

sg_status sg_glass_run_apart(sg_glass *glass, const sg_apart *rows, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                             sg_error *err)
{
    const sg_dim n = rows->n_rows, tokens[2] = {n, rows->time}, keys[2] = {n, rows->keys};
    const sg_edit_window w = {.n_rows = n,
                              .time = rows->time,
                              .positions = rows->positions,
                              .real = rows->key_mask,
                              .prompt = rows->prompts,
                              .first = rows->first,
                              .keys = rows->keys,
                              .pasts = rows->pasts,
                              .steps = rows->steps};
    int n_feeds = 0;

    SG_ASSERT(glass->opts.apart);
    SG_TRY(sg_glass_ready(glass, err));
    const struct {
        sg_value *value;
        sg_dtype dtype;
        int n_dims;
        const sg_dim *dims;
        const void *data;
    } all[MAX_STANDARD] = {{glass->tokens, SG_I32, 2, tokens, rows->tokens},
                             {glass->positions, SG_I32, 2, tokens, rows->positions},
                             {glass->reach, SG_I32, 2, tokens, rows->reach},
                             {glass->places, SG_I32, 1, tokens, rows->places},
                             {glass->key_mask, SG_BOOL, 2, keys, rows->key_mask},
                             {glass->key_positions, SG_I32, 2, keys, rows->key_positions}};
    for (int i = 0; i < MAX_STANDARD; i++)
        if (all[i].value)
            glass->feeds[n_feeds++] = (sg_feed){
                all[i].value, sg_tensor_of(all[i].dtype, all[i].n_dims, all[i].dims, (void *)(uintptr_t)all[i].data)};
    for (int i = 0; i < glass->n_loras; i++)
        SG_TRY(strength_feed(glass, i, n, tokens[1], &glass->feeds[n_feeds++], err));
    if (glass->edits)
        SG_TRY(sg_edits_feeds(glass->edits, &w, glass->feeds + n_feeds, err));
    n_feeds += sg_edits_n_feeds(glass->edits);
    SG_TRY(sg_session_extent(glass->session, "keys", rows->keys, rows->most_keys, err));
    SG_TRY(sg_session_extent(glass->session, "first", rows->first, glass->opts.n_rows - n, err));
    return sg_session_run(glass->session, n_feeds, glass->feeds, n_fetches, fetches, out, err);
}
