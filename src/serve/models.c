/* The registry of models, and the pool of glasses. One lock guards the lists; a model is opened under a lock of its
 * own, and glasses are made, edited and freed under none, so that nobody waits for what another asks for. */
#include "serve/models.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sightglass/hub.h"
#include "serve/batches.h"
#include "sightglass/ops.h"

typedef struct entry {
    char *id, *path;
    pthread_mutex_t opening;
    sg_model *model; /* written once, under both locks; so is sizes */
    sg_model *sizes; /* without its weights' numbers */
    uint64_t hash;
    sg_server_adapter *adapters;
    int n_adapters;
} entry;

typedef struct serve_glass_kept {
    serve_glass face; /* what its owner sees */
    serve_models *models;
    char *key;
    sg_edit_list *edits; /* whose numbers are in the glass */
    size_t bytes;
    struct serve_glass_kept *next; /* given back before this one */
} kept;

struct serve_models {
    serve_models_opts opts;
    entry **entries;
    int n_entries;
    pthread_mutex_t lock;
    kept *waiting; /* given back last first */
    serve_batches *batches;
    serve_glass_count count;
};

serve_models_opts serve_models_defaults(void)
{
    return (serve_models_opts){
        .exec = sg_exec_defaults(), .least_for_threads = 1 << 24, .most_glasses = 32, .most_bytes = (size_t)1 << 30};
}

sg_status serve_models_new(serve_models **out, serve_models_opts opts, sg_error *err)
{
    serve_models *models = calloc(1, sizeof *models);

    if (!models || pthread_mutex_init(&models->lock, NULL) != 0) {
        free(models);
        return sg_fail(err, SG_ENOMEM, "out of memory for models");
    }
    models->opts = opts;
    const sg_status status = serve_batches_new(&models->batches, models, opts.most_glasses, opts.most_bytes, err);
    if (status != SG_OK) {
        serve_models_free(models);
        return status;
    }
    *out = models;
    return SG_OK;
}

serve_batches *serve_models_batches(const serve_models *models)
{
    return models->batches;
}

static void end(kept *k)
{
    if (!k)
        return;
    sg_glass_free(k->face.glass);
    sg_edit_list_free(k->edits);
    free(k->key);
    free(k);
}

static void end_all(kept *k)
{
    for (kept *next; k; k = next) {
        next = k->next;
        end(k);
    }
}

static void end_entry(entry *e)
{
    if (!e)
        return;
    sg_model_close(e->model);
    sg_model_close(e->sizes);
    free(e->adapters);
    free(e->id);
    free(e->path);
    pthread_mutex_destroy(&e->opening);
    free(e);
}

void serve_models_free(serve_models *models)
{
    if (!models)
        return;
    serve_batches_free(models->batches);
    end_all(models->waiting);
    for (int i = 0; i < models->n_entries; i++)
        end_entry(models->entries[i]);
    free(models->entries);
    pthread_mutex_destroy(&models->lock);
    free(models);
}

/* ---- the registry ---- */

static bool has_config(const char *folder)
{
    char path[4096];

    return snprintf(path, sizeof path, "%s/config.json", folder) < (int)sizeof path && access(path, R_OK) == 0;
}

int serve_models_find(const serve_models *models, const char *id)
{
    for (int i = 0; i < models->n_entries; i++)
        if (strcmp(models->entries[i]->id, id) == 0)
            return i;
    return -1;
}

static entry *find(const serve_models *models, const char *id)
{
    const int i = serve_models_find(models, id);

    return i >= 0 ? models->entries[i] : NULL;
}

/* The last part of a path, in letters that a URL carries; another number where it is taken. */
static void make_id(const serve_models *models, const char *path, char id[128])
{
    const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : "model";
    size_t n = 0;

    for (; name[n] && n < 100; n++)
        id[n] = (name[n] >= 'a' && name[n] <= 'z') || (name[n] >= 'A' && name[n] <= 'Z') ||
                        (name[n] >= '0' && name[n] <= '9') || strchr("._-", name[n])
                    ? name[n]
                    : '-';
    id[n] = '\0';
    if (id[0] == '.')
        id[0] = '-';
    for (int number = 2; find(models, id); number++)
        snprintf(id + n, 128 - n, "-%d", number);
}

static sg_status add_one(serve_models *models, char *path, sg_error *err)
{
    char id[128];

    for (int i = 0; i < models->n_entries; i++)
        if (strcmp(models->entries[i]->path, path) == 0) { /* named twice */
            free(path);
            return SG_OK;
        }
    make_id(models, path, id);
    entry *e = calloc(1, sizeof *e), **more = realloc(models->entries, (size_t)(models->n_entries + 1) * sizeof *more);
    if (more)
        models->entries = more;
    if (!e || pthread_mutex_init(&e->opening, NULL) != 0) {
        free(e);
        free(path);
        return sg_fail(err, SG_ENOMEM, "out of memory for models");
    }
    e->path = path;
    e->id = strdup(id);
    if (!more || !e->id) {
        end_entry(e);
        return sg_fail(err, SG_ENOMEM, "out of memory for models");
    }
    more[models->n_entries++] = e;
    return SG_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

sg_status serve_models_add(serve_models *models, const char *folder, sg_error *err)
{
    char *found, path[4096];

    SG_TRY(sg_hub_locate(&found, folder, err));
    char *whole = realpath(found, NULL);
    free(found);
    if (!whole)
        return sg_fail(err, SG_ENOTFOUND, "%s: no such folder", folder);
    if (has_config(whole))
        return add_one(models, whole, err);
    struct dirent **names = NULL;
    const int n = scandir(whole, &names, not_hidden, by_name), before = models->n_entries;
    sg_status status = SG_OK;
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (status == SG_OK && snprintf(path, sizeof path, "%s/%s", whole, names[i]->d_name) < (int)sizeof path &&
            has_config(path)) {
            char *one = realpath(path, NULL);
            any = true;
            status = one ? add_one(models, one, err) : sg_fail(err, SG_ENOTFOUND, "%s: no such folder", path);
        }
        free(names[i]);
    }
    free(names);
    free(whole);
    if (status == SG_OK && !any && models->n_entries == before)
        return sg_fail(err, SG_ENOTFOUND, "%s: neither a model's folder (with config.json) nor a folder of such",
                       folder);
    return status;
}

sg_status serve_models_adapt(serve_models *models, const sg_server_adapter *a, sg_error *err)
{
    entry *e = a->model ? find(models, a->model) : models->n_entries == 1 ? models->entries[0] : NULL;

    if (!e && !a->model)
        return sg_fail(err, SG_EARG, "%s: there are %d models; say for which it is, as MODEL:%s", a->folder, models->n_entries,
                       a->folder);
    if (!e)
        return sg_fail(err, SG_EARG, "%s is for \"%.80s\", and no model is called that", a->folder, a->model);
    sg_server_adapter *more = realloc(e->adapters, (size_t)(e->n_adapters + 1) * sizeof *more);
    if (!more)
        return sg_fail(err, SG_ENOMEM, "out of memory for models");
    e->adapters = more;
    e->adapters[e->n_adapters++] = *a;
    return SG_OK;
}

/* The model as it is served. */
static sg_status open_adapted(sg_model **out, const entry *e, sg_model_opts opts, sg_error *err)
{
    sg_model *m = NULL;

    SG_TRY(sg_model_open(&m, e->path, opts, err));
    sg_status status = SG_OK;
    for (int i = 0; i < e->n_adapters && status == SG_OK; i++) {
        const sg_server_adapter *a = &e->adapters[i];
        status = a->autoencoder ? sg_model_add_sae(m, a->folder, (sg_sae_use)a->use, err)
                                : sg_model_add_lora(m, a->folder, a->strength, err);
    }
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

int serve_models_count(const serve_models *models)
{
    return models->n_entries;
}

const char *serve_models_id(const serve_models *models, int i)
{
    return models->entries[i]->id;
}

const char *serve_models_path(const serve_models *models, int i)
{
    return models->entries[i]->path;
}

static sg_model *opened(serve_models *models, const entry *e)
{
    pthread_mutex_lock(&models->lock);
    sg_model *m = e->model;
    pthread_mutex_unlock(&models->lock);
    return m;
}

bool serve_models_is_open(serve_models *models, int i)
{
    return opened(models, models->entries[i]) != NULL;
}

static sg_status not_there(const serve_models *models, const char *id, sg_error *err)
{
    sg_str names = {0};

    for (int i = 0; i < models->n_entries && names.bytes < 300; i++)
        sg_str_printf(&names, "%s%s", i ? ", " : "", models->entries[i]->id);
    const sg_status status = sg_fail(err, SG_ENOTFOUND, "no model \"%.80s\" is here; there %s%s", id,
                                     models->n_entries == 0   ? "are none"
                                     : models->n_entries == 1 ? "is "
                                                              : "are ",
                                     names.text ? names.text : "");
    sg_str_free(&names);
    return status;
}

static sg_model *measured(serve_models *models, const entry *e)
{
    pthread_mutex_lock(&models->lock);
    sg_model *m = e->model ? e->model : e->sizes;
    pthread_mutex_unlock(&models->lock);
    return m;
}

static sg_status open_entry(sg_model **out, serve_models *models, entry *e, bool sizes, sg_error *err)
{
    sg_model *(*look)(serve_models *, const entry *) = sizes ? measured : opened;
    sg_model_opts opts = sg_model_defaults();
    sg_model *m = look(models, e);

    if (!m) {
        pthread_mutex_lock(&e->opening);
        m = look(models, e); /* another may have been faster */
        sg_status status = SG_OK;
        if (!m) {
            opts.only_sizes = sizes;
            status = open_adapted(&m, e, opts, err);
            const uint64_t hash = status == SG_OK && !sizes ? sg_model_hash(m) : 0;
            pthread_mutex_lock(&models->lock);
            if (status == SG_OK && sizes)
                e->sizes = m;
            else if (status == SG_OK) {
                e->model = m;
                e->hash = hash;
            }
            pthread_mutex_unlock(&models->lock);
        }
        pthread_mutex_unlock(&e->opening);
        SG_TRY(status);
    }
    *out = m;
    return SG_OK;
}

sg_status serve_models_open(const sg_model **out, serve_models *models, const char *id, sg_error *err)
{
    entry *e = find(models, id);
    sg_model *m = NULL;

    if (!e)
        return not_there(models, id, err);
    SG_TRY(open_entry(&m, models, e, false, err));
    *out = m;
    return SG_OK;
}

sg_status serve_models_measure(const sg_model **out, serve_models *models, const char *id, sg_error *err)
{
    entry *e = find(models, id);
    sg_model *m = NULL;

    if (!e)
        return not_there(models, id, err);
    SG_TRY(open_entry(&m, models, e, true, err));
    *out = m;
    return SG_OK;
}

uint64_t serve_models_hash(serve_models *models, const char *id)
{
    const entry *e = find(models, id);

    pthread_mutex_lock(&models->lock);
    const uint64_t hash = e ? e->hash : 0;
    pthread_mutex_unlock(&models->lock);
    return hash;
}

sg_exec_opts serve_models_exec(const serve_models *models, const sg_model *m)
{
    sg_exec_opts exec = models->opts.exec;

    if (sg_model_get_info(m)->n_parameters < models->opts.least_for_threads)
        exec.n_threads = 1;
    return exec;
}

/* ---- glasses ---- */

sg_status serve_check_edits(const json_t *edits, sg_error *err)
{
    if (!edits)
        return SG_OK;
    if (!json_is_array(edits) || json_array_size(edits) > SERVE_MOST_EDITS)
        return sg_fail(err, SG_EARG, "edits: a list of at most %d was wanted", SERVE_MOST_EDITS);
    for (size_t i = 0; i < json_array_size(edits); i++) {
        const json_t *e = json_array_get(edits, i), *value = json_object_get(e, "value");
        if (!json_is_object(e))
            return sg_fail(err, SG_EARG, "edits[%zu]: an object was wanted", i);
        if (json_is_object(value) && !json_object_get(value, "run"))
            return sg_fail(err, SG_EARG,
                           "edits[%zu].value: numbers or {\"run\"} were wanted; requests may not name files", i);
    }
    return SG_OK;
}

static sg_status read_edits(sg_edit_list **out, const json_t *edits, sg_error *err)
{
    char *text = json_dumps(edits, JSON_COMPACT);

    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    const sg_status status = sg_edit_list_parse(out, text, strlen(text), "edits", err);
    free(text);
    return status;
}

/* What edits take from other runs is computed in a glass without edits. */
static sg_status fill_edits(serve_models *models, const char *model, sg_edit_list *list, sg_error *err)
{
    serve_glass *plain = NULL;
    bool any = false;

    for (int i = 0; i < sg_edit_list_count(list); i++)
        any |= sg_edit_list_source(list, i) != NULL;
    if (!any)
        return SG_OK;
    SG_TRY(serve_glass_take(&plain, models, (serve_glass_ask){.model = model}, err));
    const sg_status status = sg_glass_sources(plain->glass, list, err);
    serve_glass_give(plain, status == SG_OK);
    return status;
}

sg_status serve_edits_read(sg_edit_list **out, serve_models *models, const char *model, const json_t *edits, sg_error *err)
{
    sg_edit_list *list = NULL;

    SG_TRY(read_edits(&list, edits, err));
    const sg_status status = fill_edits(models, model, list, err);
    if (status != SG_OK) {
        sg_edit_list_free(list);
        return status;
    }
    *out = list;
    return SG_OK;
}

/* Room for a few more than asked: requests of about one length share a glass. */
static sg_dim rounded(sg_dim capacity, sg_dim most)
{
    sg_dim room = 64;

    while (room < capacity)
        room *= 2;
    return SG_MIN(room, SG_MAX(most, capacity));
}

static char *make_key(const serve_glass_ask *ask, sg_edit_list *list)
{
    const int n = list ? sg_edit_list_count(list) : 0;
    char *structure = sg_edits_structure(n, n ? sg_edit_list_at(list, 0) : NULL);
    sg_str key = {0};

    sg_str_printf(&key, "%s %lld %lld\n%s", ask->model, (long long)ask->capacity, (long long)ask->n_rows,
                  structure ? structure : "");
    if (!structure || key.failed)
        sg_str_free(&key);
    free(structure);
    return key.text;
}

/* One that waits under this key, which then waits no longer. */
static kept *take_waiting(serve_models *models, const char *key)
{
    kept *k = NULL;

    pthread_mutex_lock(&models->lock);
    for (kept **at = &models->waiting; *at; at = &(*at)->next)
        if (strcmp((*at)->key, key) == 0) {
            k = *at;
            *at = k->next;
            k->next = NULL;
            models->count.n--;
            models->count.bytes -= k->bytes;
            models->count.reused++;
            break;
        }
    pthread_mutex_unlock(&models->lock);
    return k;
}

static sg_status make(kept *k, const serve_glass_ask *ask, sg_edit_list *list, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    serve_glass *g = &k->face;

    opts.exec = serve_models_exec(k->models, g->model);
    opts.capacity = ask->capacity;
    opts.n_rows = ask->n_rows;
    SG_TRY(sg_glass_new(&g->glass, g->model, opts, err));
    if (list && sg_edit_list_count(list))
        SG_TRY(sg_glass_edit(g->glass, sg_edit_list_count(list), sg_edit_list_at(list, 0), err));
    if (ask->capacity) {
        sg_graph *graph = sg_glass_graph(g->glass);
        const sg_dim time = sg_extent(graph, "time");
        g->last = sg_slice(graph, sg_graph_find(graph, "logits"), 1, sg_dim_sub(graph, time, 1), time, 1);
        SG_TRY(sg_graph_status(graph, err));
    }
    pthread_mutex_lock(&k->models->lock);
    k->models->count.made++;
    pthread_mutex_unlock(&k->models->lock);
    return SG_OK;
}

/* The glass for a key, with the numbers of `list`, which it takes over if it is OK. */
static sg_status glass_for(kept **out, serve_models *models, const sg_model *m, const serve_glass_ask *ask, char *key,
                           sg_edit_list *list, sg_error *err)
{
    kept *k = take_waiting(models, key);
    sg_status status = SG_OK;

    if (k) {
        free(key);
        sg_glass_forget(k->face.glass);
        if (list && sg_edit_list_count(list))
            status = sg_edits_replace(sg_glass_edits(k->face.glass), sg_edit_list_count(list), sg_edit_list_at(list, 0),
                                      err);
    } else {
        k = calloc(1, sizeof *k);
        if (!k) {
            free(key);
            return sg_fail(err, SG_ENOMEM, "out of memory for a glass");
        }
        k->key = key;
        k->models = models;
        k->face.model = m;
        k->face.kept = k;
        status = make(k, ask, list, err);
    }
    if (status != SG_OK) {
        end(k); /* some of its edits may have new numbers and some old ones */
        return status;
    }
    sg_edit_list_free(k->edits);
    k->edits = list;
    *out = k;
    return SG_OK;
}

sg_status serve_glass_take(serve_glass **out, serve_models *models, serve_glass_ask ask, sg_error *err)
{
    const sg_model *m = NULL;
    sg_edit_list *list = NULL;
    kept *k = NULL;

    SG_TRY(serve_models_open(&m, models, ask.model, err));
    const sg_dim n_context = sg_model_get_info(m)->n_context;
    if (ask.capacity < 0 || ask.capacity > n_context)
        return sg_fail(err, SG_EARG, "a cache of %lld tokens, the model's context is %lld", (long long)ask.capacity,
                       (long long)n_context);
    if (ask.capacity)
        ask.capacity = rounded(ask.capacity, n_context);
    ask.n_rows = SG_MAX(ask.n_rows, 1);
    SG_TRY(serve_check_edits(ask.edits, err));
    sg_status status = SG_OK;
    if (ask.edits && json_array_size(ask.edits)) {
        SG_TRY(read_edits(&list, ask.edits, err));
        status = fill_edits(models, ask.model, list, err);
    }
    if (status == SG_OK) {
        char *key = make_key(&ask, list);
        status =
            key ? glass_for(&k, models, m, &ask, key, list, err) : sg_fail(err, SG_ENOMEM, "out of memory for a glass");
    }
    if (status != SG_OK) {
        sg_edit_list_free(list);
        return status;
    }
    *out = &k->face;
    return SG_OK;
}

/* The cache's keys and values, and what runs of its plans hold. */
static size_t bytes_of(const kept *k)
{
    const sg_session *s = sg_glass_session(k->face.glass);
    const sg_graph *g = sg_glass_graph(k->face.glass);
    size_t bytes = s ? sg_session_bytes(s) : 0;

    for (int i = 0; k->face.last && i < sg_graph_n_names(g); i++) {
        const sg_value *v = sg_graph_named(g, i);
        if (!strstr(sg_value_name(v), ".cache_"))
            continue;
        size_t one = sg_dtype_bytes(sg_value_dtype(v));
        for (int d = 0; d < sg_value_n_dims(v); d++)
            one *= (size_t)SG_MAX(sg_value_dim(v, d), 1);
        bytes += one;
    }
    return bytes;
}

void serve_glass_give(serve_glass *g, bool keep)
{
    if (!g)
        return;
    kept *k = g->kept, *gone = NULL;
    if (!keep) {
        end(k);
        return;
    }
    serve_models *models = k->models;
    k->bytes = bytes_of(k);
    pthread_mutex_lock(&models->lock);
    k->next = models->waiting;
    models->waiting = k;
    models->count.n++;
    models->count.bytes += k->bytes;
    while (models->count.n > models->opts.most_glasses || models->count.bytes > models->opts.most_bytes) {
        kept **last = &models->waiting;
        if (!*last)
            break;
        while ((*last)->next)
            last = &(*last)->next;
        models->count.n--;
        models->count.bytes -= (*last)->bytes;
        (*last)->next = gone;
        gone = *last;
        *last = NULL;
    }
    pthread_mutex_unlock(&models->lock);
    end_all(gone);
}

serve_glass_count serve_glass_counted(serve_models *models)
{
    pthread_mutex_lock(&models->lock);
    const serve_glass_count count = models->count;
    pthread_mutex_unlock(&models->lock);
    return count;
}
