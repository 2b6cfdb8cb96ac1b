/* A model of Othello's moves, and its probes. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/mind_internal.h"

static void warn(sg_mind *m, const char *text)
{
    const char **more = realloc(m->warnings, (size_t)(m->n_warnings + 1) * sizeof *more);
    if (more)
        m->warnings = more;
    if (more && text)
        m->warnings[m->n_warnings++] = text;
}

static int board_of(sg_dim n_vocab)
{
    for (int size = 4; size <= 8; size += 2)
        if (n_vocab == sg_othello_vocabulary(size))
            return size;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the probes in a folder, without ".json", in the order of the alphabet. */
static sg_status list_probes(sg_mind *m, const char *dir, char ***out, int *n, sg_error *err)
{
    DIR *d = opendir(dir);
    *out = NULL;
    *n = 0;
    if (!d)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: %s", dir, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        const size_t bytes = strlen(e->d_name);
        if (bytes < 6 || strcmp(e->d_name + bytes - 5, ".json") != 0)
            continue;
        char **more = realloc(*out, (size_t)(*n + 1) * sizeof *more);
        char *name = sg_arena_strndup(m->arena, e->d_name, bytes - 5);
        *out = more ? more : *out;
        if (!more || !name) {
            closedir(d);
            return sg_fail(err, SG_ENOMEM, "out of memory for probes");
        }
        (*out)[(*n)++] = name;
    }
    closedir(d);
    if (*n)
        qsort(*out, (size_t)*n, sizeof **out, by_text);
    return SG_OK;
}

/* Why a probe cannot read this model's board; NULL if it can. */
static const char *unfit(const sg_mind *m, const sg_probe *p, const sg_probe_manifest *about, int layer)
{
    if (!about->label || (strcmp(about->label, "board_rel") != 0 && strcmp(about->label, "board_abs") != 0))
        return "it does not read a board";
    if (layer < 0 || layer >= m->n_layers)
        return "its site is the output of no block of this model";
    if (sg_probe_width(p) != m->width)
        return "it is of another width than this model";
    if (sg_probe_n_tasks(p) != sg_othello_squares(m->size) || sg_probe_n_classes(p) != SG_MIND_N_CLASSES)
        return "it is of a board of another size";
    return NULL;
}

/* The block of "blocks.N.hook_resid_post"; -1 for any other site. */
int sg_mind_layer_of(const char *site)
{
    int layer = -1, end = 0;
    return site && sscanf(site, "blocks.%d.hook_resid_post%n", &layer, &end) == 1 && end > 0 && !site[end] ? layer : -1;
}

static sg_status keep(sg_mind *m, sg_probe *p, const sg_probe_manifest *about, int layer, sg_error *err)
{
    int at = m->n_readers;
    if (m->n_readers == SG_MIND_MAX_LAYERS)
        return sg_fail(err, SG_EUNSUPPORTED, "there are probes of more than %d layers", SG_MIND_MAX_LAYERS);
    const size_t n = (size_t)sg_othello_squares(m->size) * SG_MIND_N_CLASSES;
    float *bias = NULL;
    if (sg_probe_weights(p)->data) { /* what it yields at 0 */
        const sg_tensor zero =
            sg_tensor_of(SG_F32, 2, (sg_dim[]){1, m->width}, calloc((size_t)m->width, sizeof(float)));
        bias = calloc(n, sizeof *bias);
        sg_status status = zero.data && bias ? sg_probe_logits(p, &zero, bias, err)
                                             : sg_fail(err, SG_ENOMEM, "out of memory for a probe");
        free(zero.data);
        if (status != SG_OK) {
            free(bias);
            return status;
        }
    }
    for (; at > 0 && m->readers[at - 1].layer > layer; at--) {
        m->readers[at] = m->readers[at - 1];
        m->bias[at] = m->bias[at - 1];
    }
    m->readers[at] = (sg_mind_reader){.layer = layer, .site = about->site, .probe = p, .about = *about};
    m->bias[at] = bias;
    m->n_readers++;
    return SG_OK;
}

/* One probe for each layer, of whose disc it is, or of its colour where there are none of those. A broken one is passed
 * over with a warning: the rest still reads. */
static sg_status open_probes(sg_mind *m, const char *dir, sg_error *err)
{
    char **names = NULL;
    int n = 0, n_other = 0;
    sg_error why;
    const uint64_t hash = sg_model_hash(m->model);

    if (list_probes(m, dir, &names, &n, &why) != SG_OK || n == 0) {
        warn(m,
             sg_arena_printf(
                 m->arena,
                 "no probes in %s, so the board in the model cannot be read; `sightglass probe fit` makes them", dir));
        free(names);
        return SG_OK;
    }
    sg_status status = SG_OK;
    for (int pass = 0; pass < 2 && m->n_readers == 0 && status == SG_OK; pass++) {
        m->colours = pass == 1;
        for (int i = 0; i < n && status == SG_OK; i++) {
            sg_probe *p = NULL;
            sg_probe_manifest about = {0};
            if (sg_probe_open(&p, &about, dir, names[i], &why) != SG_OK) {
                if (pass == 0)
                    warn(m, sg_arena_printf(m->arena, "a probe is passed over: %s", why.text));
                continue;
            }
            const int layer = sg_mind_layer_of(about.site);
            const char *reason = unfit(m, p, &about, layer);
            const bool wanted =
                !reason && m->colours == (strcmp(about.label, "board_abs") == 0) && sg_mind_reader_of(m, layer) < 0;
            if (reason && pass == 0)
                warn(m, sg_arena_printf(m->arena, "probe %s/%s is passed over: %s", dir, names[i], reason));
            if (wanted)
                status = keep(m, p, &about, layer, err);
            if (!wanted || status != SG_OK)
                sg_probe_free(p);
            else
                n_other += about.model_hash != hash;
        }
    }
    if (status == SG_OK && n_other)
        warn(m, sg_arena_printf(
                    m->arena,
                    "%d of the %d probes in %s were fitted to another model (theirs has the hash %016llx, this one "
                    "%016llx): what they read is likely wrong",
                    n_other, m->n_readers, dir, (unsigned long long)m->readers[0].about.model_hash,
                    (unsigned long long)hash));
    else if (status == SG_OK && m->n_readers == 0)
        warn(m, sg_arena_printf(m->arena, "none of the %d probes in %s reads this model's board", n, dir));
    free(names);
    return status;
}

/* The means of classes for the readers that there are. They only make edits better, so nothing is said where there are
 * none. */
static sg_status open_means(sg_mind *m, const char *dir, sg_error *err)
{
    char **names = NULL;
    int n = 0;
    sg_status status = list_probes(m, dir, &names, &n, err);
    if (status == SG_ENOTFOUND)
        status = SG_OK;
    for (int i = 0; i < n && status == SG_OK; i++) {
        sg_probe *p = NULL;
        sg_probe_manifest about = {0};
        sg_error why;
        if (sg_probe_open(&p, &about, dir, names[i], &why) != SG_OK) {
            warn(m, sg_arena_printf(m->arena, "a probe is passed over: %s", why.text));
            continue;
        }
        const int layer = sg_mind_layer_of(about.site), r = sg_mind_reader_of(m, layer);
        const bool wanted = !unfit(m, p, &about, layer) && sg_probe_weights(p)->data && r >= 0 &&
                            !m->readers[r].means && m->colours == (strcmp(about.label, "board_abs") == 0) &&
                            about.model_hash == m->readers[r].about.model_hash;
        if (wanted)
            m->readers[r].means = p;
        else
            sg_probe_free(p);
    }
    free(names);
    return status;
}

sg_status sg_mind_of(sg_mind **out, const sg_model *model, const char *probes, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(model);
    const int size = board_of(in->n_vocab);
    if (!size)
        return sg_fail(err, SG_EARG,
                       "%s has a vocabulary of %lld: no model of Othello's moves, which have 61 tokens on 8x8, "
                       "33 on 6x6, 13 on 4x4",
                       in->path, (long long)in->n_vocab);
    if (in->n_context < sg_othello_max_moves(size))
        return sg_fail(err, SG_EARG, "%s has a context of %lld, a game of Othello on %dx%d has %d moves", in->path,
                       (long long)in->n_context, size, size, sg_othello_max_moves(size));
    sg_arena *arena = sg_arena_new();
    sg_mind *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;
    if (!m) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    *m = (sg_mind){.arena = arena,
                   .model = model,
                   .size = size,
                   .n_layers = (int)in->n_layers,
                   .n_heads = (int)in->n_heads,
                   .width = in->d_model,
                   .max_moves = sg_othello_max_moves(size)};
    for (int i = 0; sg_model_warning(model, i); i++)
        warn(m, sg_model_warning(model, i));
    const char *dir = probes ? probes : sg_arena_printf(arena, "%s/probes", in->path);
    const char *means = dir ? sg_arena_printf(arena, "%s/mean", dir) : NULL;
    sg_status status = means ? open_probes(m, dir, err) : sg_fail(err, SG_ENOMEM, "out of memory for a path");
    if (status == SG_OK)
        status = open_means(m, means, err);
    if (status != SG_OK) {
        sg_mind_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

sg_status sg_mind_open(sg_mind **out, const char *model, const char *probes, sg_error *err)
{
    sg_model *m = NULL;
    SG_TRY(sg_model_open(&m, model, sg_model_defaults(), err));
    const sg_status status = sg_mind_of(out, m, probes, err);
    if (status == SG_OK)
        (*out)->own = m;
    else
        sg_model_close(m);
    return status;
}

void sg_mind_close(sg_mind *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n_readers; i++) {
        sg_probe_free(m->readers[i].probe);
        sg_probe_free(m->readers[i].means);
        free(m->bias[i]);
    }
    free(m->warnings);
    sg_model_close(m->own);
    sg_arena_free(m->arena);
}

const sg_model *sg_mind_model(const sg_mind *m)
{
    return m->model;
}

int sg_mind_size(const sg_mind *m)
{
    return m->size;
}

int sg_mind_n_layers(const sg_mind *m)
{
    return m->n_layers;
}

const char *sg_mind_warning(const sg_mind *m, int i)
{
    return i < m->n_warnings ? m->warnings[i] : NULL;
}

int sg_mind_n_readers(const sg_mind *m)
{
    return m->n_readers;
}

const sg_mind_reader *sg_mind_get_reader(const sg_mind *m, int i)
{
    return &m->readers[i];
}

int sg_mind_reader_of(const sg_mind *m, int layer)
{
    for (int i = 0; i < m->n_readers; i++)
        if (m->readers[i].layer == layer)
            return i;
    return -1;
}

int sg_mind_best_reader(const sg_mind *m)
{
    int best = m->n_readers - 1;
    for (int i = m->n_readers - 1; i >= 0; i--)
        if (m->readers[i].about.hard_accuracy > m->readers[best].about.hard_accuracy ||
            isnan(m->readers[best].about.hard_accuracy))
            best = i;
    return best;
}
