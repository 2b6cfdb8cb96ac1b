/* sightglass tcav: concepts from folders of pictures, generated textures or files of sentences, tested at some sites
 * against random sets. Every input runs once a site; repeats run nothing. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/attribute.h"
#include "sightglass/safetensors.h"
#include "sightglass/tcav.h"
#include "sightglass/world.h"

enum {
    LEAST_CLASS = 20,
    MOST_CONCEPTS = 32,
    MOST_SITES = 64,
    MOST_FILES = 100000,
    AT_ONCE = 16,
    TEXTURE_SIDE = 64,
    SHOWN = 5
};
#define MOST_NUMBERS ((sg_dim)1 << 29)

/* Where a set's inputs come from. */
typedef struct origin {
    const char *name;
    int texture;  /* >= 0: generated */
    char **paths; /* of pictures; NULL: texts */
    char **texts;
    sg_dim n;
} origin;

typedef struct work {
    sg_method_run *r;
    sg_model *model;
    const sg_model_info *info;
    sg_arena *arena;
    sg_graph *g;
    const char **sites;
    int n_sites;
    origin concepts[MOST_CONCEPTS], random, images;
    int n_concepts, n_repeats;
    sg_dim set_size, index;
    bool texts;
    sg_named_tensor *cavs; /* [sites * concepts] */
    int n_cavs;
} work;

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "tcav: out of memory");
}

static const char *const textures[] = {"stripes", "wide-stripes", "checks", "dots", "grid", "noise", "blobs", "rings"};

/* ---- sets ---- */

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool is_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".bmp", ".PNG", ".JPG", ".JPEG", ".BMP"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < SG_COUNT_OF(endings); i++)
        if (n > strlen(endings[i]) && strcmp(name + n - strlen(endings[i]), endings[i]) == 0)
            return true;
    return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Pictures of a folder, by name; deep: those of its folders too. */
static sg_status add_folder(work *w, origin *o, const char *path, bool deep, sg_error *err)
{
    struct dirent **found;
    const int n = scandir(path, &found, NULL, by_name);
    sg_status status = n < 0 ? sg_fail(err, SG_EIO, "%s: cannot be read", path) : SG_OK;
    if (!o->paths && status == SG_OK && !(o->paths = sg_arena_array(w->arena, MOST_FILES, sizeof *o->paths)))
        status = no_memory(err);
    for (int i = 0; i < n; i++) {
        const char *name = found[i]->d_name;
        char *full = status == SG_OK && name[0] != '.' ? sg_arena_printf(w->arena, "%s/%s", path, name) : NULL;
        if (full && is_picture(name)) {
            if (o->n == MOST_FILES)
                status = sg_fail(err, SG_EUNSUPPORTED, "%s: more than %d pictures", path, MOST_FILES);
            else
                o->paths[o->n++] = full;
        } else if (full && deep && is_folder(full)) {
            status = add_folder(w, o, full, false, err);
        }
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    return status;
}

/* Lines of a file that are not empty. */
static sg_status add_lines(work *w, origin *o, const char *path, sg_error *err)
{
    sg_file *f;
    SG_TRY(sg_file_open(&f, path, err));
    char *text = sg_arena_strndup(w->arena, (const char *)sg_file_data(f), sg_file_bytes(f));
    sg_file_close(f);
    o->texts = sg_arena_array(w->arena, MOST_FILES, sizeof *o->texts);
    if (!text || !o->texts)
        return no_memory(err);
    for (char *rest = NULL, *line = strtok_r(text, "\r\n", &rest); line && o->n < MOST_FILES;
         line = strtok_r(NULL, "\r\n", &rest))
        o->texts[o->n++] = line;
    return SG_OK;
}

static sg_status read_set(work *w, origin *o, const char *name, const char *path, bool deep, sg_error *err)
{
    *o = (origin){.name = name, .texture = -1};
    SG_TRY(w->texts ? add_lines(w, o, path, err) : add_folder(w, o, path, deep, err));
    return o->n > 0 ? SG_OK
                    : sg_fail(err, SG_EARG, "%s: no %s in it", path, w->texts ? "lines" : "pictures (PNG, JPEG, BMP)");
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* A folder of pictures is a concept, as is a file of lines; a folder of folders has a concept in each. */
static sg_status read_concepts(work *w, const char *path, sg_error *err)
{
    if (w->texts || !is_folder(path))
        return read_set(w, &w->concepts[w->n_concepts++], last_part(path), path, false, err);
    struct dirent **found;
    const int n = scandir(path, &found, NULL, by_name);
    sg_status status = n < 0 ? sg_fail(err, SG_EIO, "%s: cannot be read", path) : SG_OK;
    int folders = 0;
    for (int i = 0; i < n; i++) {
        char *full = found[i]->d_name[0] != '.' ? sg_arena_printf(w->arena, "%s/%s", path, found[i]->d_name) : NULL;
        if (status == SG_OK && full && is_folder(full)) {
            folders++;
            status = w->n_concepts < MOST_CONCEPTS
                         ? read_set(w, &w->concepts[w->n_concepts++], last_part(full), full, false, err)
                         : sg_fail(err, SG_EUNSUPPORTED, "tcav: more than %d concepts", MOST_CONCEPTS);
        }
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    if (status == SG_OK && !folders)
        status = read_set(w, &w->concepts[w->n_concepts++], last_part(path), path, false, err);
    return status;
}

static sg_status read_textures(work *w, const char *list, sg_error *err)
{
    char *copy = sg_arena_strdup(w->arena, list), *rest = NULL;
    if (!copy)
        return no_memory(err);
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        int k = 0;
        while (k < (int)SG_COUNT_OF(textures) && strcmp(textures[k], word) != 0)
            k++;
        if (k == (int)SG_COUNT_OF(textures))
            return sg_fail(err, SG_EARG,
                           "tcav: no texture is called \"%.40s\"; there are stripes, wide-stripes, checks, dots, "
                           "grid, noise, blobs, rings",
                           word);
        if (w->n_concepts == MOST_CONCEPTS)
            return sg_fail(err, SG_EUNSUPPORTED, "tcav: more than %d concepts", MOST_CONCEPTS);
        w->concepts[w->n_concepts++] =
            (origin){.name = textures[k], .texture = k, .n = (sg_dim)w->n_repeats * w->set_size};
    }
    return SG_OK;
}

/* ---- inputs ---- */

/* n pictures of one texture (-2: those of none of the concepts), greys of 64 x 64, as bitmaps. */
static sg_status draw_textures(const work *w, int texture, sg_dim first, int n, sg_bitmap **out, sg_error *err)
{
    char only[8];
    const sg_world *world = sg_world_find("shapes", err);
    const uint64_t seed = sg_method_seed(w->r) * 1000 + (uint64_t)(texture + 3);
    if (!world)
        return SG_ENOTFOUND;
    for (int i = 0; i < n; i++) {
        int kind = texture;
        if (texture < 0) { /* in turn, those that no concept is of */
            int free_kinds[SG_COUNT_OF(textures)], n_free = 0;
            for (int k = 0; k < (int)SG_COUNT_OF(textures); k++) {
                bool taken = false;
                for (int c = 0; c < w->n_concepts; c++)
                    taken |= w->concepts[c].texture == k;
                if (!taken)
                    free_kinds[n_free++] = k;
            }
            if (!n_free)
                return sg_fail(err, SG_EARG,
                               "tcav: every texture is a concept, so none is left for random sets: give --random");
            kind = free_kinds[(first + i) % n_free];
        }
        snprintf(only, sizeof only, "%d", kind);
        const sg_setting settings[] = {
            {"size", "64"}, {"classes", "8"}, {"content", "textures"}, {"distractors", "0"}, {"only", only}};
        sg_sample *s;
        SG_TRY(
            sg_world_sample(&s, world, SG_COUNT_OF(settings), settings, 1, seed + 7919 * (uint64_t)(first + i), err));
        const float *x = sg_sample_find(s, "pixels")->data;
        const sg_status status = sg_bitmap_new(&out[i], TEXTURE_SIDE, TEXTURE_SIDE, err);
        for (int p = 0; p < TEXTURE_SIDE * TEXTURE_SIDE && status == SG_OK; p++)
            memset(out[i]->rgb + 3 * p, (int)(SG_MIN(SG_MAX(x[p], 0), 1) * 255 + 0.5f), 3);
        sg_sample_free(s);
        SG_TRY(status);
    }
    return SG_OK;
}

/* What a place of a map gives to its channel: the mean of values, the sum of gradients. */
static void over_space(float *to, const float *from, sg_dim channels, sg_dim places, bool sum)
{
    for (sg_dim c = 0; c < channels; c++) {
        double total = 0;
        for (sg_dim p = 0; p < places; p++)
            total += (double)from[c * places + p];
        to[c] = (float)(sum ? total : total / (double)places);
    }
}

typedef struct site {
    sg_attributer *a;
    const char *name;
    sg_dim position, width, channels, places; /* as run, and as kept: places 1 unless space is averaged over */
    int32_t *index;
} site;

static sg_status run_pictures(const work *w, const site *s, const origin *o, sg_dim first, int n, float *acts,
                              float *gradients, sg_error *err)
{
    sg_bitmap *b[AT_ONCE] = {NULL};
    sg_tensor pixels = {.data = NULL};
    sg_status status = SG_OK;
    if (o->paths)
        for (int i = 0; i < n && status == SG_OK; i++)
            status = sg_bitmap_open(&b[i], o->paths[first + i], err);
    else
        status = draw_textures(w, o->texture, first, n, b, err);
    if (status == SG_OK)
        status = sg_model_pixels(w->model, n, (const sg_bitmap *const *)b, &pixels, err);
    if (status == SG_OK) {
        const sg_named_feed f = {"pixels", pixels};
        const sg_attribute_rows rows = {.n = n, .n_feeds = 1, .feeds = &f, .index = s->index, .batch = AT_ONCE};
        status = sg_attributer_run(s->a, &rows, s->position, acts, gradients, NULL, sg_method_cancel(w->r), err);
    }
    free(pixels.data);
    for (int i = 0; i < n; i++)
        sg_bitmap_free(b[i]);
    return status;
}

static sg_status run_texts(const work *w, const site *s, const origin *o, sg_dim first, int n, float *acts,
                           float *gradients, sg_error *err)
{
    sg_tokens ids[AT_ONCE] = {{0}};
    const int32_t *tokens[AT_ONCE];
    sg_dim lengths[AT_ONCE];
    sg_status status = SG_OK;
    for (int i = 0; i < n && status == SG_OK; i++) {
        status =
            sg_tokenizer_encode(sg_model_tokenizer(w->model), o->texts[first + i], sg_encode_defaults(), &ids[i], err);
        tokens[i] = ids[i].ids;
        lengths[i] = SG_MIN((sg_dim)ids[i].n, w->info->n_context);
    }
    if (status == SG_OK) {
        const sg_attribute_rows rows = {
            .n = n, .tokens = tokens, .lengths = lengths, .index = s->index, .batch = AT_ONCE};
        status = sg_attributer_run(s->a, &rows, s->position, acts, gradients, NULL, sg_method_cancel(w->r), err);
    }
    for (int i = 0; i < n; i++)
        sg_tokens_free(&ids[i]);
    return status;
}

/* Runs n inputs of a set at a site: acts [n,kept], and gradients unless NULL. */
static sg_status harvest(work *w, const site *s, const origin *o, sg_dim n, float *acts, float *gradients,
                         const char *what, sg_error *err)
{
    const sg_dim kept = s->channels;
    float *room[2] = {malloc((size_t)(AT_ONCE * s->width) * sizeof(float)),
                      gradients ? malloc((size_t)(AT_ONCE * s->width) * sizeof(float)) : NULL};
    sg_status status = room[0] && (room[1] || !gradients) ? SG_OK : no_memory(err);
    for (sg_dim first = 0; first < n && status == SG_OK; first += AT_ONCE) {
        const int now = (int)SG_MIN(AT_ONCE, n - first);
        status = (w->texts ? run_texts : run_pictures)(w, s, o, first, now, room[0], room[1], err);
        for (int i = 0; i < now && status == SG_OK; i++)
            for (int k = 0; k < (gradients ? 2 : 1); k++) {
                float *to = (k ? gradients : acts) + (first + i) * kept;
                if (s->places > 1)
                    over_space(to, room[k] + i * s->width, kept, s->places, k == 1);
                else
                    memcpy(to, room[k] + i * s->width, (size_t)kept * sizeof *to);
            }
        sg_method_progress(w->r, (double)(first + now) / (double)n, what);
    }
    free(room[0]);
    free(room[1]);
    return status;
}

/* ---- what is told ---- */

static sg_status tell_concepts(work *w, const site *s, const sg_tcav_result *f, sg_dim n_class, sg_error *err)
{
    for (int c = 0; c < f->n_concepts; c++) {
        const sg_tcav_concept *k = &f->concepts[c];
        char id[96];
        snprintf(id, sizeof id, "score %.80s", k->name);
        sg_finding score = {.id = id,
                            .where = s->name,
                            .text = "share of class inputs whose score rises along the concept",
                            .value = k->score,
                            .low = k->low,
                            .high = k->high,
                            .n = n_class,
                            .control = "random sets in the concept's place: mean and range of the repeats",
                            .control_value = f->random_score,
                            .control_low = f->random_low,
                            .control_high = f->random_high};
        if (!k->significant) {
            score.text = "not significant, so not shown";
            score.value = score.low = score.high = nan("");
        }
        SG_TRY(sg_result_add(sg_method_result(w->r), &score, err));
    }
    return SG_OK;
}

static sg_status tell_table(work *w, const site *s, const sg_tcav_result *f, sg_error *err)
{
    enum { COLUMNS = 8 };
    static const char *const columns[COLUMNS] = {"concept", "score",          "p",   "random score", "CAV accuracy",
                                                 "mean S",  "weighted score", "sets"};
    sg_cell cells[MOST_CONCEPTS * COLUMNS];
    char id[160], title[200];
    for (int c = 0; c < f->n_concepts; c++) {
        const sg_tcav_concept *k = &f->concepts[c];
        sg_cell *row = cells + c * COLUMNS;
        row[0] = (sg_cell){k->name, 0};
        row[1] = (sg_cell){k->significant ? NULL : "///", k->score};
        row[2] = (sg_cell){NULL, k->corrected_p};
        row[3] = (sg_cell){NULL, f->random_score};
        row[4] = (sg_cell){NULL, k->accuracy};
        row[5] = (sg_cell){NULL, k->sensitivity};
        row[6] = (sg_cell){k->significant ? NULL : "///", k->weighted};
        row[7] = (sg_cell){k->fresh ? "its own each repeat" : "one for all", 0};
    }
    snprintf(id, sizeof id, "concepts.%.120s", s->name);
    snprintf(title, sizeof title, "Concepts at %.140s", s->name);
    SG_TRY(sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = id,
                           .title = title,
                           .n_columns = COLUMNS,
                           .n_rows = f->n_concepts,
                           .columns = columns,
                           .cells = cells,
                           .control =
                               "random score: of random sets against random sets; p is that of Welch's t between "
                               "both, times the number of tests; ///: not significant"},
        err));
    for (int c = 0; c < f->n_concepts; c++)
        if (!f->concepts[c].fresh)
            SG_TRY(sg_result_note(
                sg_method_result(w->r),
                "%s: all %d repeats share one set of examples at %s, so that p is too small; %lld examples would do",
                f->concepts[c].name, f->n_repeats, s->name, (long long)f->n_repeats * w->set_size));
    return SG_OK;
}

static sg_status tell_cosines(work *w, const site *s, int n, const char *const *names, const double *cosines,
                              sg_error *err)
{
    sg_cell cells[MOST_CONCEPTS * (MOST_CONCEPTS + 1)];
    const char *columns[MOST_CONCEPTS + 1] = {"cosine"};
    char id[160], title[200];
    if (n < 2)
        return SG_OK;
    for (int a = 0; a < n; a++) {
        columns[a + 1] = names[a];
        cells[a * (n + 1)] = (sg_cell){names[a], 0};
        for (int b = 0; b < n; b++)
            cells[a * (n + 1) + b + 1] = (sg_cell){NULL, cosines[a * n + b]};
    }
    snprintf(id, sizeof id, "cosines.%.120s", s->name);
    snprintf(title, sizeof title, "Cosines between CAVs at %.140s: near 1 they are one direction", s->name);
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = id,
                           .title = title,
                           .n_columns = n + 1,
                           .n_rows = n,
                           .columns = columns,
                           .cells = cells,
                           .control = "the diagonal is 1, and random directions of this width have cosines near 0"},
        err);
}

/* Inputs of the class that lie farthest along the concept, and least far. */
static sg_status tell_sorted(work *w, const site *s, const char *concept, const sg_cav *c, const float *acts,
                             sg_error *err)
{
    enum { COLUMNS = 3 };
    static const char *const columns[COLUMNS] = {"rank", "input", "along the CAV"};
    const sg_dim n = w->images.n;
    const int shown = (int)SG_MIN(n, 2 * SHOWN);
    sg_dim *order = sg_arena_array(w->arena, (size_t)n, sizeof *order);
    double *along = sg_arena_array(w->arena, (size_t)n, sizeof *along);
    sg_cell cells[2 * SHOWN * COLUMNS];
    char id[200], title[240];
    if (!order || !along)
        return no_memory(err);
    SG_TRY(sg_cav_sort(order, along, c, &(sg_tcav_set){"class", n, acts}, err));
    for (int i = 0; i < shown; i++) {
        const sg_dim rank = i < SHOWN || n <= 2 * SHOWN ? i : n - shown + i, k = order[rank];
        cells[i * COLUMNS] = (sg_cell){NULL, (double)rank + 1};
        cells[i * COLUMNS + 1] = (sg_cell){w->texts ? w->images.texts[k] : last_part(w->images.paths[k]), 0};
        cells[i * COLUMNS + 2] = (sg_cell){NULL, along[k]};
    }
    snprintf(id, sizeof id, "sorted.%.60s.%.100s", concept, s->name);
    snprintf(title, sizeof title, "The class's inputs by the CAV of %.80s at %.100s", concept, s->name);
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = id,
                           .title = title,
                           .n_columns = COLUMNS,
                           .n_rows = shown,
                           .columns = columns,
                           .cells = cells,
                           .control = "the last rows are those that lie least along it: for checking by eye"},
        err);
}

static sg_status keep_cav(work *w, const site *s, const char *concept, const float *v, sg_dim width, sg_error *err)
{
    float *copy = sg_arena_array(w->arena, (size_t)width, sizeof *copy);
    char *name = sg_arena_printf(w->arena, "%s/%s", s->name, concept);
    if (!copy || !name)
        return no_memory(err);
    memcpy(copy, v, (size_t)width * sizeof *copy);
    w->cavs[w->n_cavs++] = (sg_named_tensor){name, sg_tensor_of(SG_F32, 1, &width, copy)};
    return SG_OK;
}

/* ---- one site ---- */

/* CAVs alone: too few class inputs for a test, or sorting is wanted. */
static sg_status plain_cavs(work *w, const site *s, const sg_tcav_set *sets, const sg_tcav_set *pool, const float *acts,
                            const float *gradients, bool told, sg_error *err)
{
    const char *names[MOST_CONCEPTS];
    sg_cav *cavs[MOST_CONCEPTS] = {NULL};
    double cosines[MOST_CONCEPTS * MOST_CONCEPTS];
    sg_cav_opts o = sg_cav_defaults();
    sg_status status = SG_OK;
    o.kind = (sg_cav_kind)sg_method_number(w->r, "kind");
    o.seed = sg_method_seed(w->r);
    o.exec = sg_method_exec(w->r);
    for (int c = 0; c < w->n_concepts && status == SG_OK; c++) {
        names[c] = sets[c].name;
        status = sg_cav_fit(&cavs[c], s->channels, &sets[c], pool, &o, err);
        if (status != SG_OK)
            break;
        double *slopes = sg_arena_array(w->arena, (size_t)w->images.n, sizeof *slopes);
        if (!slopes)
            status = no_memory(err);
        sg_cav *nothing = NULL; /* half of the pool against the other half */
        const sg_tcav_set halves[2] = {{"random", pool->n / 2, pool->acts},
                                       {"random", pool->n - pool->n / 2, pool->acts + pool->n / 2 * s->channels}};
        if (status == SG_OK)
            status = sg_cav_fit(&nothing, s->channels, &halves[0], &halves[1], &o, err);
        if (status == SG_OK && told) {
            sg_cav_sensitivities(slopes, cavs[c], w->images.n, gradients);
            char id[96];
            snprintf(id, sizeof id, "accuracy %.80s", names[c]);
            const sg_finding f = {.id = id,
                                  .where = s->name,
                                  .text = cavs[c]->accuracy < SG_CAV_LEAST_ACCURACY
                                              ? "accuracy of the CAV on examples held out: too low to mean anything"
                                              : "accuracy of the CAV on examples held out",
                                  .value = cavs[c]->accuracy,
                                  .low = nan(""),
                                  .high = nan(""),
                                  .n = 2 * cavs[c]->n_each,
                                  .control = "one half of the random examples against the other",
                                  .control_value = nothing->accuracy,
                                  .control_low = nan(""),
                                  .control_high = nan("")};
            status = sg_result_add(sg_method_result(w->r), &f, err);
            if (status == SG_OK)
                status = keep_cav(w, s, names[c], cavs[c]->v, s->channels, err);
        }
        sg_cav_free(nothing);
        if (status == SG_OK && sg_method_flag(w->r, "sort"))
            status = tell_sorted(w, s, names[c], cavs[c], acts, err);
    }
    for (int a = 0; a < w->n_concepts && status == SG_OK; a++)
        for (int b = 0; b < w->n_concepts; b++)
            cosines[a * w->n_concepts + b] = sg_cav_cosine(cavs[a], cavs[b]);
    if (status == SG_OK && told)
        status = tell_cosines(w, s, w->n_concepts, names, cosines, err);
    for (int c = 0; c < w->n_concepts; c++)
        sg_cav_free(cavs[c]);
    return status;
}

static sg_status test(work *w, const site *s, const sg_tcav_set *sets, const sg_tcav_set *pool, const float *gradients,
                      sg_error *err)
{
    sg_tcav_job j = sg_tcav_defaults();
    sg_tcav_result *f;
    const char *names[MOST_CONCEPTS];
    j.width = s->channels;
    j.concepts = sets;
    j.n_concepts = w->n_concepts;
    j.random = *pool;
    j.n_class = w->images.n;
    j.gradients = gradients;
    j.set_size = w->set_size;
    j.n_repeats = w->n_repeats;
    j.n_tests = w->n_concepts * w->n_sites;
    j.level = sg_method_number(w->r, "level");
    j.cav.kind = (sg_cav_kind)sg_method_number(w->r, "kind");
    j.cav.seed = sg_method_seed(w->r);
    j.cav.exec = sg_method_exec(w->r);
    j.cancel = sg_method_cancel(w->r);
    SG_TRY(sg_tcav_test(&f, &j, err));
    sg_status status = tell_concepts(w, s, f, j.n_class, err);
    if (status == SG_OK)
        status = tell_table(w, s, f, err);
    for (int c = 0; c < f->n_concepts && status == SG_OK; c++) {
        names[c] = f->concepts[c].name;
        status = keep_cav(w, s, names[c], f->concepts[c].v, s->channels, err);
    }
    if (status == SG_OK)
        status = tell_cosines(w, s, f->n_concepts, names, f->cosines, err);
    sg_tcav_free(f);
    return status;
}

static sg_status shape_site(const work *w, site *s, sg_error *err)
{
    const sg_value *v = sg_graph_find(w->g, s->name);
    const int n_dims = sg_value_n_dims(v);
    char shape[SG_SHAPE_TEXT];
    s->position =
        sg_value_axes(v)[0] && sg_value_axes(v)[1] == 't' ? (sg_dim)sg_method_number(w->r, "position") : INT64_MAX;
    s->width = sg_attributer_width(s->a, s->position);
    s->channels = s->width;
    s->places = 1;
    if (s->width < 1)
        return sg_fail(err, SG_ESHAPE, "tcav: %s is %s, wanted numbers of a fixed width by row or by row and position",
                       s->name, sg_value_shape_text(v, shape));
    if (sg_method_flag(w->r, "mean") && n_dims == 4 && s->position == INT64_MAX) {
        s->channels = sg_value_dim(v, 1);
        s->places = s->width / s->channels;
    }
    return SG_OK;
}

static sg_status at_site(work *w, const char *name, sg_error *err)
{
    site s = {.name = name};
    sg_attribute_target target = sg_attribute_target_defaults();
    sg_tcav_set sets[MOST_CONCEPTS];
    sg_dim n_random = w->random.n, all;
    float *room = NULL, *at;
    target.position = (sg_dim)sg_method_number(w->r, "position");
    SG_TRY(sg_attributer_model(&s.a, w->model, name, &target, 0, sg_method_exec(w->r), err));
    sg_status status = shape_site(w, &s, err);
    all = n_random + 2 * w->images.n;
    for (int c = 0; c < w->n_concepts; c++)
        all += w->concepts[c].n;
    if (status == SG_OK && all * s.channels > MOST_NUMBERS)
        status = sg_fail(err, SG_EUNSUPPORTED,
                         "tcav: %s has %" PRId64 " numbers for each of %" PRId64 " inputs; --mean averages over space",
                         name, s.channels, all);
    if (status == SG_OK) {
        s.index = sg_arena_array(w->arena, AT_ONCE, sizeof *s.index);
        room = malloc((size_t)(all * s.channels) * sizeof *room);
        status = room && s.index ? SG_OK : no_memory(err);
    }
    at = room;
    for (int i = 0; i < AT_ONCE && status == SG_OK; i++)
        s.index[i] = (int32_t)w->index;
    for (int c = 0; c < w->n_concepts && status == SG_OK; c++) {
        sets[c] = (sg_tcav_set){w->concepts[c].name, w->concepts[c].n, at};
        status = harvest(w, &s, &w->concepts[c], w->concepts[c].n, at, NULL, "concepts", err);
        at += w->concepts[c].n * s.channels;
    }
    const sg_tcav_set pool = {"random", n_random, at};
    if (status == SG_OK)
        status = harvest(w, &s, &w->random, n_random, at, NULL, "random", err);
    at = status == SG_OK ? at + n_random * s.channels : at;
    float *acts = at, *gradients = status == SG_OK ? at + w->images.n * s.channels : NULL;
    if (status == SG_OK)
        status = harvest(w, &s, &w->images, w->images.n, acts, gradients, "class", err);
    if (status == SG_OK && w->images.n >= LEAST_CLASS)
        status = test(w, &s, sets, &pool, gradients, err);
    if (status == SG_OK && (w->images.n < LEAST_CLASS || sg_method_flag(w->r, "sort")))
        status = plain_cavs(w, &s, sets, &pool, acts, gradients, w->images.n < LEAST_CLASS, err);
    free(room);
    sg_attributer_free(s.a);
    return status;
}

/* ---- all ---- */

static sg_status read_index(work *w, sg_error *err)
{
    const char *text = sg_method_text(w->r, "class");
    char *end;
    if (!text)
        return sg_fail(err, SG_EARG, "tcav: wanted --class, the label or token whose score is looked at");
    const long long number = strtoll(text, &end, 10);
    const sg_dim most = w->texts ? w->info->n_vocab : w->info->n_labels;
    w->index = -1;
    if (*text && !*end)
        w->index = number;
    else if (w->texts)
        w->index = sg_model_tokenizer(w->model) ? sg_tokenizer_id(sg_model_tokenizer(w->model), text) : -1;
    else
        for (sg_dim i = 0; i < most && w->index < 0; i++)
            if (sg_model_label(w->model, i) && strstr(sg_model_label(w->model, i), text))
                w->index = i;
    return w->index >= 0 && w->index < most ? SG_OK
                                            : sg_fail(err, SG_ENOTFOUND, "tcav: no %s is \"%.60s\"",
                                                      w->texts ? "token of the vocabulary" : "class", text);
}

static sg_status sets_of(work *w, sg_error *err)
{
    const char *concept = sg_method_text(w->r, "concept"), *generated = sg_method_text(w->r, "textures"),
               *random = sg_method_text(w->r, "random"), *path = sg_method_input_at(w->r, 1);
    SG_TRY(sg_method_data(w->r, path, err));
    SG_TRY(read_set(w, &w->images, "class", path, true, err));
    if (concept)
        SG_TRY(read_concepts(w, concept, err));
    if (generated && w->texts)
        return sg_fail(err, SG_EARG, "tcav: textures are pictures, and this model reads texts");
    if (generated)
        SG_TRY(read_textures(w, generated, err));
    if (!w->n_concepts)
        return sg_fail(err, SG_EARG, "tcav: wanted --concept or --textures");
    if (random)
        SG_TRY(read_set(w, &w->random, "random", random, true, err));
    else if (w->texts)
        return sg_fail(err, SG_EARG, "tcav: wanted --random, a file with a text a line");
    else
        w->random = (origin){.name = "random", .texture = -2, .n = 3 * (sg_dim)w->n_repeats * w->set_size};
    return SG_OK;
}

static sg_status all(work *w, sg_error *err)
{
    const char *at = sg_method_text(w->r, "at"), *out = sg_method_out(w->r);
    SG_TRY(sg_writer_check(out, err));
    SG_TRY(sg_method_model(w->r, 0, &w->model, err));
    w->info = sg_model_get_info(w->model);
    w->texts = !w->info->image_side;
    w->n_repeats = (int)sg_method_number(w->r, "repeats");
    w->set_size = (sg_dim)sg_method_number(w->r, "set");
    if (w->texts && !sg_model_tokenizer(w->model))
        return sg_fail(err, SG_EUNSUPPORTED, "tcav: the model has no tokenizer, and texts are its inputs");
    SG_TRY(read_index(w, err));
    SG_TRY(sets_of(w, err));
    if (!at)
        return sg_fail(err, SG_EARG, "tcav: wanted --at, the site of the concepts (sightglass inspect lists them)");
    SG_TRY(sg_model_graph(&w->g, w->model, 0, 1, err));
    SG_TRY(sg_method_sites(w->g, at, &w->sites, &w->n_sites, err));
    if (w->n_sites > MOST_SITES)
        return sg_fail(err, SG_EARG, "tcav: \"%.60s\" are %d sites, at most %d", at, w->n_sites, MOST_SITES);
    if (!(w->cavs = sg_arena_array(w->arena, (size_t)(w->n_sites * w->n_concepts), sizeof *w->cavs)))
        return no_memory(err);
    for (int i = 0; i < w->n_sites; i++)
        SG_TRY(at_site(w, w->sites[i], err));
    if (w->images.n < LEAST_CLASS)
        SG_TRY(sg_result_note(sg_method_result(w->r), "%lld inputs of the class: no test is made with fewer than %d",
                              (long long)w->images.n, LEAST_CLASS));
    if (!sg_method_text(w->r, "random"))
        SG_TRY(sg_result_note(sg_method_result(w->r), "random sets are generated textures that are no concept here"));
    if (!out)
        return SG_OK;
    SG_TRY(sg_safetensors_save(out, w->cavs, w->n_cavs, NULL, 0, err));
    return sg_result_add_file(sg_method_result(w->r), out, "CAVs as SITE/CONCEPT, unit vectors: values of edits", err);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .arena = sg_arena_new()};
    const sg_status status = w.arena ? all(&w, err) : no_memory(err);
    free(w.sites);
    sg_graph_free(w.g);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "a model of images or of texts"},
    {"CLASS", SG_METHOD_FILE, 1, 1, "inputs of the class: a folder of pictures, or a file with a text a line"}};

static const sg_option options[] = {
    {"class", SG_OPTION_TEXT, "", 0, 0, NULL, "the label, by number or a part of its name; of texts the next token"},
    {"concept", SG_OPTION_PATH, "", 0, 0, NULL,
     "examples: a folder of pictures, one of such folders, or a file of lines"},
    {"textures", SG_OPTION_TEXT, "", 0, 0, NULL,
     "generated concepts: stripes, wide-stripes, checks, dots, grid, noise, blobs, rings"},
    {"random", SG_OPTION_PATH, "", 0, 0, NULL,
     "a pool of other examples; of pictures, textures are generated if none is given"},
    {"at", SG_OPTION_TEXT, "", 0, 0, NULL, "site, by name or pattern (op1*.out)"},
    {"position", SG_OPTION_WHOLE, "-1", -1e9, 1e9, NULL, "of texts; below 0 from the end"},
    {"mean", SG_OPTION_FLAG, "no", 0, 0, NULL, "maps are averaged over space first"},
    {"set", SG_OPTION_WHOLE, "15", 2, 10000, NULL, "examples of a set"},
    {"repeats", SG_OPTION_WHOLE, "10", 2, 1000, NULL, "repeats, each with random sets of its own"},
    {"kind", SG_OPTION_CHOICE, "hinge", 0, 0, "hinge|logistic", "of classifier"},
    {"level", SG_OPTION_REAL, "0.05", 1e-9, 0.5, NULL, "of significance, after Bonferroni over sites and concepts"},
    {"sort", SG_OPTION_FLAG, "no", 0, 0, NULL, "the class's inputs in the order of each CAV"},
};

const sg_method sg_method_tcav = {
    .name = "tcav",
    .help = "does a network use a concept, shown by examples, when it says a class",
    .about = "Concept activation vectors (Kim et al. 2018): a linear classifier of examples against random ones at a "
             "site, and the share of the "
             "class's inputs whose score rises along it. Beside each score stands that of random sets, with Welch's t "
             "between both; what is "
             "not significant is not shown. Repeats use random sets that never overlap, and examples of their own "
             "where there are enough.",
    .artefact = "FILE.safetensors: the CAVs, as SITE/CONCEPT",
    .n_inputs = SG_COUNT_OF(inputs),
    .inputs = inputs,
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
