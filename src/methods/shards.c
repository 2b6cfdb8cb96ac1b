/* A harvest to disk. Batches of sequences are run and their rows gathered in a shard; a full shard is written by a
 * thread while the next one fills. The index is written anew behind each shard, and says where the next one begins. */
#include "sightglass/shards.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "methods/shards_internal.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

sg_shards_opts sg_shards_defaults(void)
{
    return (sg_shards_opts){.batch = 16,
                            .most_rows = INT64_MAX,
                            .shard_bytes = 256000000,
                            .stored = SG_F32,
                            .field = "text",
                            .exec = sg_exec_defaults()};
}

char *shards_path(const char *dir, const char *name, sg_error *err)
{
    const size_t n = strlen(dir) + strlen(name) + 2;
    char *path = malloc(n);
    if (path)
        snprintf(path, n, "%s/%s", dir, name);
    else
        (void)sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    return path;
}

/* Rows on their way to the disk. */
typedef struct shard {
    sg_dim n, n_sequences;
    void **acts; /* by site, [n,width] */
    int32_t *tokens, *positions, *sequences, *offsets;
    int32_t *files, *firsts;
    double *texts;
    shards_cursor next; /* behind it */
} shard;

typedef struct harvest {
    const sg_model *m;
    const char *dir;
    const sg_shards_opts *opts;
    sg_shards_report *report;
    int n_sites;
    const char *const *sites;
    sg_dim *widths;
    sg_dim context, capacity; /* rows of a shard */
    size_t row_bytes;
    sg_glass *glass;
    sg_value **fetches;
    sg_tensor *fetched;
    shards_source *source;
    double began;

    /* A batch. */
    int32_t *tokens, *offsets; /* [batch,context] */
    const int32_t **rows;
    sg_dim *lengths;
    shards_cursor *from;
    int n_batch;

    shard shards[2];
    int filling;
    json_t *index;
    /* The thread that writes the other shard. */
    pthread_t thread;
    bool writing;
    sg_status written;
    sg_error write_error;
} harvest;

/* ---- writing a shard ---- */

static void set_cursor(json_t *index, const shards_cursor *c)
{
    json_object_set_new(
        index, "next",
        json_pack("{s:i, s:I, s:I}", "file", c->file, "text", (json_int_t)c->text, "first", (json_int_t)c->first));
}

static sg_status write_index(const harvest *h, sg_error *err)
{
    sg_writer *w;
    char *path = shards_path(h->dir, SHARDS_INDEX, err);
    if (!path)
        return SG_ENOMEM;
    const sg_status status = sg_writer_begin(&w, path, err);
    free(path);
    SG_TRY(status);
    /* a failed write leaves its mark on the stream, and commit looks at it */
    (void)json_dumpf(h->index, sg_writer_stream(w), JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fputc('\n', sg_writer_stream(w));
    return sg_writer_commit(w, err);
}

static sg_status write_shard(harvest *h, const shard *s, sg_error *err)
{
    const int n = h->n_sites + 7;
    sg_named_tensor *list = calloc((size_t)n, sizeof *list);
    json_t *shards = json_object_get(h->index, "shards");
    char name[40];
    int k = 0;
    snprintf(name, sizeof name, SHARDS_NAME, (sg_dim)json_array_size(shards));
    char *path = list ? shards_path(h->dir, name, err) : NULL;
    if (!path) {
        free(list);
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory for a shard");
    }
    const sg_dim rows = s->n, sequences = s->n_sequences;
    list[k++] = (sg_named_tensor){"sequence.texts", sg_tensor_of(SG_F64, 1, &sequences, s->texts)};
    const struct {
        const char *name;
        sg_dim n;
        int32_t *data;
    } columns[] = {{"tokens", rows, s->tokens},
                   {"positions", rows, s->positions},
                   {"sequences", rows, s->sequences},
                   {"offsets", rows, s->offsets},
                   {"sequence.files", sequences, s->files},
                   {"sequence.firsts", sequences, s->firsts}};
    for (size_t i = 0; i < SG_COUNT_OF(columns); i++)
        list[k++] = (sg_named_tensor){columns[i].name, sg_tensor_of(SG_I32, 1, &columns[i].n, columns[i].data)};
    size_t bytes = 0;
    for (int i = 0; i < h->n_sites; i++)
        list[k++] = (sg_named_tensor){h->sites[i],
                                      sg_tensor_of(h->opts->stored, 2, (sg_dim[]){rows, h->widths[i]}, s->acts[i])};
    for (int i = 0; i < k; i++)
        bytes += sg_tensor_bytes(&list[i].tensor);
    const sg_pair about = {"format", SHARDS_FORMAT};
    sg_status status = sg_safetensors_save(path, list, k, &about, 1, err);
    free(path);
    free(list);
    SG_TRY(status);
    json_array_append_new(shards, json_pack("{s:s, s:I, s:I, s:I}", "file", name, "rows", (json_int_t)rows, "sequences",
                                            (json_int_t)sequences, "bytes", (json_int_t)bytes));
    set_cursor(h->index, &s->next);
    return write_index(h, err);
}

static void *write_in_thread(void *context)
{
    harvest *h = context;
    h->written = write_shard(h, &h->shards[!h->filling], &h->write_error);
    return NULL;
}

/* Waits for the shard that is being written. */
static sg_status settle(harvest *h, sg_error *err)
{
    if (!h->writing)
        return SG_OK;
    pthread_join(h->thread, NULL);
    h->writing = false;
    shard *s = &h->shards[!h->filling];
    if (h->written != SG_OK) {
        if (err)
            *err = h->write_error;
        return h->written;
    }
    h->report->shards++;
    h->report->rows += s->n;
    h->report->sequences += s->n_sequences;
    h->report->bytes += (size_t)s->n * h->row_bytes;
    s->n = s->n_sequences = 0;
    return SG_OK;
}

/* Hands the shard that was being filled to the thread. */
static sg_status hand_over(harvest *h, sg_error *err)
{
    SG_TRY(settle(h, err));
    if (h->shards[h->filling].n == 0)
        return SG_OK;
    h->shards[h->filling].next = shards_source_cursor(h->source);
    h->filling = !h->filling;
    if (pthread_create(&h->thread, NULL, write_in_thread, h) != 0)
        return sg_fail(err, SG_ENOMEM, "harvest: no thread could be made to write a shard");
    h->writing = true;
    return SG_OK;
}

/* ---- filling it ---- */

static sg_status next_batch(harvest *h, sg_error *err)
{
    for (h->n_batch = 0; h->n_batch < (int)h->opts->batch; h->n_batch++) {
        shards_sequence s;
        SG_TRY(shards_source_next(h->source, &s, err));
        if (!s.n)
            break;
        int32_t *tokens = h->tokens + h->n_batch * h->context;
        memcpy(tokens, s.tokens, (size_t)s.n * sizeof *tokens);
        memcpy(h->offsets + h->n_batch * h->context, s.offsets, (size_t)s.n * sizeof *tokens);
        h->rows[h->n_batch] = tokens;
        h->lengths[h->n_batch] = s.n;
        h->from[h->n_batch] = s.from;
    }
    return SG_OK;
}

/* Lengths are rounded up, so that few plans serve all batches. */
static sg_status run_batch(harvest *h, sg_error *err)
{
    sg_dim longest = 0;
    for (int i = 0; i < h->n_batch; i++)
        longest = SG_MAX(longest, h->lengths[i]);
    const sg_rows rows = {.n_rows = h->n_batch,
                          .tokens = h->rows,
                          .lengths = h->lengths,
                          .time = SG_MIN((longest + 31) / 32 * 32, h->context)};
    return sg_glass_run(h->glass, &rows, 0, NULL, h->n_sites, h->fetches, h->fetched, err);
}

static void gather(harvest *h)
{
    shard *s = &h->shards[h->filling];
    const size_t size = sg_dtype_bytes(h->opts->stored);
    for (int i = 0; i < h->n_batch; i++) {
        const sg_dim skip = h->opts->skip, n = h->lengths[i] - skip;
        h->report->tokens += h->lengths[i];
        if (n <= 0)
            continue;
        for (int k = 0; k < h->n_sites; k++) {
            const sg_tensor *from = &h->fetched[k];
            const sg_dim width = h->widths[k], time = from->dims[1];
            sg_convert((char *)s->acts[k] + (size_t)(s->n * width) * size, h->opts->stored,
                       (const char *)from->data + (size_t)((i * time + skip) * width) * sg_dtype_bytes(from->dtype),
                       from->dtype, n * width);
        }
        for (sg_dim t = 0; t < n; t++) {
            s->tokens[s->n + t] = h->rows[i][skip + t];
            s->positions[s->n + t] = (int32_t)(skip + t);
            s->sequences[s->n + t] = (int32_t)s->n_sequences;
            s->offsets[s->n + t] = h->offsets[i * h->context + skip + t];
        }
        s->files[s->n_sequences] = h->from[i].file;
        s->texts[s->n_sequences] = (double)h->from[i].text;
        s->firsts[s->n_sequences] = (int32_t)h->from[i].first;
        s->n_sequences++;
        s->n += n;
    }
}

static sg_dim rows_so_far(const harvest *h)
{
    return h->report->rows + h->shards[0].n + h->shards[1].n;
}

static sg_status run_all(harvest *h, sg_error *err)
{
    const sg_dim room = h->opts->batch * h->context;
    for (;;) {
        if (h->opts->cancel && *h->opts->cancel) {
            SG_TRY(hand_over(h, err));
            SG_TRY(settle(h, err));
            return sg_fail(err, SG_ECANCELLED, "harvest: stopped at %" PRId64 " rows, which are kept", h->report->rows);
        }
        const bool enough = rows_so_far(h) >= h->opts->most_rows;
        if (!enough)
            SG_TRY(next_batch(h, err));
        if (enough || h->n_batch == 0)
            break;
        SG_TRY(run_batch(h, err));
        gather(h);
        if (h->shards[h->filling].n + room > h->capacity)
            SG_TRY(hand_over(h, err));
        h->report->seconds = sg_now() - h->began;
        if (h->opts->progress) {
            const sg_shards_progress p = {rows_so_far(h), h->report->tokens, shards_source_done(h->source),
                                          h->report->seconds};
            h->opts->progress(h->opts->context_of_progress, &p);
        }
    }
    SG_TRY(hand_over(h, err));
    SG_TRY(settle(h, err));
    if (h->report->rows == 0)
        return sg_fail(err, SG_EARG, "harvest: the files hold no tokens%s",
                       h->opts->skip ? " behind those that are skipped" : "");
    const shards_cursor end = shards_source_cursor(h->source);
    set_cursor(h->index, &end);
    json_object_set_new(h->index, "finished", json_true());
    SG_TRY(write_index(h, err));
    h->report->finished = true;
    return SG_OK;
}

/* ---- making it ready ---- */

static sg_status find_sites(harvest *h, sg_error *err)
{
    sg_value *tokens = NULL;
    char shape[SG_SHAPE_TEXT];
    SG_TRY(sg_glass_find(h->glass, "tokens", &tokens, err));
    h->row_bytes = 4 * sizeof(int32_t);
    for (int i = 0; i < h->n_sites; i++) {
        SG_TRY(sg_glass_find(h->glass, h->sites[i], &h->fetches[i], err));
        const sg_value *v = h->fetches[i];
        const int n = sg_value_n_dims(v);
        bool fits = n >= 2 && sg_value_dim(v, 0) == sg_value_dim(tokens, 0) &&
                    sg_value_dim(v, 1) == sg_value_dim(tokens, 1) && sg_dtype_is_float(sg_value_dtype(v));
        h->widths[i] = 1;
        for (int k = 2; k < n && fits; k++) {
            fits = sg_value_dim(v, k) > 0;
            h->widths[i] *= sg_value_dim(v, k);
        }
        if (!fits)
            return sg_fail(err, SG_EARG, "harvest: %s is %s, wanted numbers for each position, [batch,time,...]",
                           h->sites[i], sg_value_shape_text(v, shape));
        h->row_bytes += (size_t)h->widths[i] * sg_dtype_bytes(h->opts->stored);
    }
    return SG_OK;
}

static bool make_shard(const harvest *h, shard *s)
{
    const size_t n = (size_t)h->capacity;
    s->acts = calloc((size_t)h->n_sites, sizeof *s->acts);
    for (int i = 0; s->acts && i < h->n_sites; i++)
        if (!(s->acts[i] = malloc(n * (size_t)h->widths[i] * sg_dtype_bytes(h->opts->stored))))
            return false;
    s->tokens = malloc(n * sizeof *s->tokens);
    s->positions = malloc(n * sizeof *s->positions);
    s->sequences = malloc(n * sizeof *s->sequences);
    s->offsets = malloc(n * sizeof *s->offsets);
    s->files = malloc(n * sizeof *s->files);
    s->firsts = malloc(n * sizeof *s->firsts);
    s->texts = malloc(n * sizeof *s->texts);
    return s->acts && s->tokens && s->positions && s->sequences && s->offsets && s->files && s->firsts && s->texts;
}

static void free_shard(const harvest *h, shard *s)
{
    for (int i = 0; s->acts && i < h->n_sites; i++)
        free(s->acts[i]);
    free(s->acts);
    free(s->tokens);
    free(s->positions);
    free(s->sequences);
    free(s->offsets);
    free(s->files);
    free(s->firsts);
    free(s->texts);
}

static sg_status check(const sg_shards_opts *o, const sg_model_info *info, int n_sites, int n_files, sg_error *err)
{
    if (n_sites < 1 || n_files < 1)
        return sg_fail(err, SG_EARG, "harvest: %d sites of %d files, wanted at least one", n_sites, n_files);
    if (o->context < 0 || o->context > info->n_context)
        return sg_fail(err, SG_EARG, "harvest: sequences of %" PRId64 " tokens, the model's context is %" PRId64,
                       o->context, info->n_context);
    if (o->batch < 1 || o->batch > 1 << 16 || o->skip < 0 || o->most_rows < 1)
        return sg_fail(err, SG_EARG,
                       "harvest: batches of %" PRId64 ", %" PRId64 " tokens skipped, at most %" PRId64 " rows",
                       o->batch, o->skip, o->most_rows);
    if (o->stored != SG_F32 && o->stored != SG_BF16 && o->stored != SG_F16)
        return sg_fail(err, SG_EARG, "harvest: stored as %s, wanted f32, bf16 or f16", sg_dtype_name(o->stored));
    return SG_OK;
}

static sg_status ready(harvest *h, int n_files, const char *const *files, sg_error *err)
{
    const sg_shards_opts *o = h->opts;
    const sg_model_info *info = sg_model_get_info(h->m);
    SG_TRY(check(o, info, h->n_sites, n_files, err));
    h->context = o->context ? o->context : SG_MIN(info->n_context, (sg_dim)512);
    const size_t places = (size_t)(o->batch * h->context), sites = (size_t)h->n_sites;
    h->widths = calloc(sites, sizeof *h->widths);
    h->fetches = calloc(sites, sizeof *h->fetches);
    h->fetched = calloc(sites, sizeof *h->fetched);
    h->tokens = malloc(places * sizeof *h->tokens);
    h->offsets = malloc(places * sizeof *h->offsets);
    h->rows = calloc((size_t)o->batch, sizeof *h->rows);
    h->lengths = calloc((size_t)o->batch, sizeof *h->lengths);
    h->from = calloc((size_t)o->batch, sizeof *h->from);
    if (!h->widths || !h->fetches || !h->fetched || !h->tokens || !h->offsets || !h->rows || !h->lengths || !h->from)
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    sg_glass_opts how = sg_glass_defaults();
    how.exec = o->exec;
    how.seed = o->seed;
    SG_TRY(sg_glass_new(&h->glass, h->m, how, err));
    SG_TRY(find_sites(h, err));
    h->capacity = SG_MAX((sg_dim)(o->shard_bytes / h->row_bytes), o->batch * h->context);
    return shards_source_new(&h->source, h->m, n_files, files, o->field, h->context, err);
}

static void release(harvest *h)
{
    (void)settle(h, NULL);
    for (int i = 0; i < 2; i++)
        free_shard(h, &h->shards[i]);
    shards_source_free(h->source);
    sg_glass_free(h->glass);
    json_decref(h->index);
    free(h->widths);
    free(h->fetches);
    free(h->fetched);
    free(h->tokens);
    free(h->offsets);
    free(h->rows);
    free(h->lengths);
    free(h->from);
}

/* ---- the index, and going on ---- */

sg_status shards_index_read(json_t **out, const char *dir, sg_error *err)
{
    json_error_t at;
    sg_file *file;
    char *path = shards_path(dir, SHARDS_INDEX, err);
    if (!path)
        return SG_ENOMEM;
    sg_status status = sg_file_open(&file, path, err);
    if (status == SG_OK) {
        *out = json_loadb((const char *)sg_file_data(file), sg_file_bytes(file), 0, &at);
        sg_file_close(file);
        const char *format = json_string_value(json_object_get(*out, "format"));
        if (!*out)
            status = sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
        else if (!format || strcmp(format, SHARDS_FORMAT) != 0 || !json_is_array(json_object_get(*out, "shards")))
            status = sg_fail(err, SG_EFORMAT, "%s: is no index of a harvest", path);
        if (status != SG_OK) {
            json_decref(*out);
            *out = NULL;
        }
    }
    free(path);
    return status;
}

static json_t *describe(const harvest *h, int n_files, const char *const *files)
{
    char hash[20];
    json_t *sites = json_array(), *names = json_array();
    for (int i = 0; i < h->n_sites; i++)
        json_array_append_new(sites, json_pack("{s:s, s:I}", "name", h->sites[i], "width", (json_int_t)h->widths[i]));
    for (int i = 0; i < n_files; i++)
        json_array_append_new(names, json_string(files[i]));
    snprintf(hash, sizeof hash, "%016" PRIx64, sg_model_hash(h->m));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:b}", "format", SHARDS_FORMAT,
                     "model", sg_model_get_info(h->m)->path, "model_hash", hash, "sites", sites, "files", names,
                     "field", h->opts->field, "dtype", sg_dtype_name(h->opts->stored), "compute",
                     sg_dtype_name(h->opts->exec.compute), "context", (json_int_t)h->context, "skip",
                     (json_int_t)h->opts->skip, "batch", (json_int_t)h->opts->batch, "shards", json_array(), "next",
                     json_pack("{s:i, s:i, s:i}", "file", 0, "text", 0, "first", 0), "finished", 0);
}

/* What is asked now beside what the folder holds. */
static sg_status compare(const harvest *h, const json_t *there, sg_error *err)
{
    static const char *const keys[] = {"model_hash", "sites",   "files", "field", "dtype",
                                       "compute",    "context", "skip",  "batch"};
    for (size_t i = 0; i < SG_COUNT_OF(keys); i++) {
        const json_t *old = json_object_get(there, keys[i]), *now = json_object_get(h->index, keys[i]);
        if (json_equal(old, now))
            continue;
        char *a = old ? json_dumps(old, JSON_COMPACT | JSON_ENCODE_ANY) : NULL,
             *b = json_dumps(now, JSON_COMPACT | JSON_ENCODE_ANY);
        const sg_status status =
            sg_fail(err, SG_EARG, "%s holds another harvest: its %s is %.150s, asked for is %.150s", h->dir, keys[i],
                    a ? a : "not there", b ? b : "");
        free(a);
        free(b);
        return status;
    }
    return SG_OK;
}

static sg_status go_on(harvest *h, json_t *there, sg_error *err)
{
    SG_TRY(compare(h, there, err));
    json_decref(h->index);
    h->index = json_incref(there);
    const json_t *shards = json_object_get(there, "shards"), *next = json_object_get(there, "next");
    for (size_t i = 0; i < json_array_size(shards); i++) {
        const json_t *s = json_array_get(shards, i);
        h->report->rows += json_integer_value(json_object_get(s, "rows"));
        h->report->sequences += json_integer_value(json_object_get(s, "sequences"));
        h->report->bytes += (size_t)json_integer_value(json_object_get(s, "bytes"));
        h->report->shards++;
    }
    h->report->resumed = h->report->shards > 0;
    h->report->finished = json_is_true(json_object_get(there, "finished"));
    const shards_cursor c = {(int)json_integer_value(json_object_get(next, "file")),
                             json_integer_value(json_object_get(next, "text")),
                             json_integer_value(json_object_get(next, "first"))};
    /* One that ended because it had rows enough goes on where more are asked for. */
    if (h->report->finished && h->report->rows < h->opts->most_rows &&
        c.file < (int)json_array_size(json_object_get(there, "files")))
        h->report->finished = false;
    json_object_set_new(h->index, "finished", json_boolean(h->report->finished));
    return h->report->finished ? SG_OK : shards_source_seek(h->source, &c, err);
}

static sg_status begin(harvest *h, int n_files, const char *const *files, sg_error *err)
{
    json_t *there = NULL;
    if (mkdir(h->dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: %s", h->dir, strerror(errno));
    sg_writer_sweep(h->dir);
    h->index = describe(h, n_files, files);
    if (!h->index)
        return sg_fail(err, SG_ENOMEM, "harvest: out of memory");
    sg_status status = shards_index_read(&there, h->dir, err);
    if (status == SG_OK)
        status = go_on(h, there, err);
    else if (status == SG_ENOTFOUND)
        status = write_index(h, err); /* also to see whether the folder can be written */
    json_decref(there);
    if (status == SG_OK && !h->report->finished && (!make_shard(h, &h->shards[0]) || !make_shard(h, &h->shards[1])))
        status = sg_fail(err, SG_ENOMEM, "harvest: out of memory for shards of %" PRId64 " rows", h->capacity);
    return status;
}

sg_status sg_shards_harvest(sg_shards_report *report, const char *dir, const sg_model *m, int n_sites,
                            const char *const *sites, int n_files, const char *const *files, sg_shards_opts opts,
                            sg_error *err)
{
    harvest h = {
        .m = m, .dir = dir, .opts = &opts, .report = report, .n_sites = n_sites, .sites = sites, .began = sg_now()};
    *report = (sg_shards_report){0};
    sg_status status = ready(&h, n_files, files, err);
    if (status == SG_OK)
        status = begin(&h, n_files, files, err);
    if (status == SG_OK && !report->finished)
        status = run_all(&h, err);
    release(&h);
    report->seconds = sg_now() - h.began;
    return status;
}

/* ---- the forecast ---- */

sg_status sg_shards_foresee(sg_shards_forecast *out, const sg_model *m, int n_sites, const char *const *sites,
                            int n_files, const char *const *files, sg_shards_opts opts, sg_error *err)
{
    sg_shards_report report = {0};
    harvest h = {.m = m, .dir = "", .opts = &opts, .report = &report, .n_sites = n_sites, .sites = sites};
    double tokens = 0, rows = 0, seconds = 0;
    *out = (sg_shards_forecast){0};
    sg_status status = ready(&h, n_files, files, err);
    /* The first batch also plans and reads the weights, so the second is timed where there is one. Texts are then
     * encoded until the share of the corpus that they are says something. */
    for (int i = 0; i < 2 && status == SG_OK; i++) {
        const double began = sg_now();
        status = next_batch(&h, err);
        if (status != SG_OK || h.n_batch == 0)
            break;
        status = run_batch(&h, err);
        tokens = seconds = 0;
        for (int k = 0; k < h.n_batch; k++) {
            tokens += (double)h.lengths[k];
            rows += (double)SG_MAX(h.lengths[k] - opts.skip, (sg_dim)0);
        }
        seconds = sg_now() - began;
    }
    const double until = sg_now() + 1;
    while (status == SG_OK && sg_now() < until && h.n_batch > 0) {
        status = next_batch(&h, err);
        for (int k = 0; k < h.n_batch && status == SG_OK; k++)
            rows += (double)SG_MAX(h.lengths[k] - opts.skip, (sg_dim)0);
    }
    if (status == SG_OK && rows == 0)
        status = sg_fail(err, SG_EARG, "harvest: the files hold no tokens");
    if (status == SG_OK) {
        const double share = shards_source_done(h.source);
        out->rows = SG_MIN(rows / SG_MAX(share, 1e-9), (double)opts.most_rows);
        out->row_bytes = h.row_bytes;
        out->bytes = out->rows * (double)h.row_bytes;
        out->tokens_per_second = tokens / seconds;
        out->seconds = out->rows / out->tokens_per_second;
    }
    release(&h);
    return status;
}
