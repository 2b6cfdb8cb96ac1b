/* Measurements of the study rabbit-hull. */
#include "rabbit_hull_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/assignment.h"
#include "sightglass/dictionary.h"
#include "sightglass/harvest.h"
#include "sightglass/linalg.h"
#include "sightglass/minkowski.h"
#include "sightglass/rng.h"
#include "sightglass/world.h"

static const sg_dim factors[RH_FACTORS] = {3, 4, 5};

static sg_status no_memory(const rh_parts *p)
{
    return sg_fail(p->err, SG_ENOMEM, "rabbit-hull: out of memory");
}

static sg_status tell(const rh_parts *p, const char *part, double done)
{
    const sg_study_progress at = {part, done, (double)NAN, (double)NAN};
    if (p->opts->progress)
        p->opts->progress(p->opts->context, &at);
    if (p->opts->cancel && *p->opts->cancel)
        return sg_fail(p->err, SG_ECANCELLED, "rabbit-hull: stopped");
    return SG_OK;
}

/* ---- attention ---- */

enum { ROWS = 3, TIME = 20 };

static sg_status check_model(rh_parts *p, const sg_model *m)
{
    rh_identity *to = &p->identity[p->n_models++];
    const sg_model_info *in = sg_model_get_info(m);
    const char *name = strrchr(in->path, '/');
    snprintf(to->name, sizeof to->name, "%s (%s)", name && name[1] ? name + 1 : in->path, in->family);
    for (int seed = 0; seed < RH_SEEDS; seed++) {
        int32_t tokens[ROWS][TIME];
        const int32_t *row[ROWS];
        sg_dim lengths[ROWS];
        sg_minkowski_opts o = sg_minkowski_defaults();
        o.exec = p->opts->exec;
        for (int r = 0; r < ROWS; r++) {
            sg_rng g = sg_rng_new(p->seeds[seed], (uint32_t)r);
            row[r] = tokens[r];
            lengths[r] = in->n_context < TIME ? in->n_context : TIME;
            for (int t = 0; t < TIME; t++)
                tokens[r][t] = (int32_t)sg_rng_below(&g, (uint32_t)in->n_vocab);
        }
        const sg_rows rows = {.n_rows = ROWS, .tokens = row, .lengths = lengths};
        to->rebuilt[seed] = to->member[seed] = 0;
        to->other_layer[seed] = to->other_sequence[seed] = HUGE_VAL;
        for (int layer = 0; layer < in->n_layers; layer++) {
            sg_minkowski *k;
            SG_TRY(tell(p, "attention", (double)layer / (double)in->n_layers));
            SG_TRY(sg_minkowski_check(&k, m, layer, &rows, o, p->err));
            to->rebuilt[seed] = fmax(to->rebuilt[seed], k->rebuilt);
            to->member[seed] = fmax(to->member[seed], k->worst);
            to->other_layer[seed] = fmin(to->other_layer[seed], k->other_layer);
            to->other_sequence[seed] = fmin(to->other_sequence[seed], k->other_sequence);
            to->vertices = k->most_vertices;
            to->dims = k->most_dims;
            to->width = k->d_model;
            sg_minkowski_free(k);
        }
    }
    return SG_OK;
}

/* The second model is one with rotary positions and grouped heads, where it lies beside the tree: stories260K. */
static sg_status second_model(const rh_parts *p, sg_model **out)
{
    const char *shared = getenv("SIGHTGLASS_SHARED");
    char path[1024];
    sg_study_opts without = *p->opts;
    without.model = NULL;
    *out = NULL;
    snprintf(path, sizeof path, "%s/models/stories260K", shared ? shared : "../shared");
    if (sg_model_open(out, path, sg_model_defaults(), NULL) == SG_OK)
        return SG_OK;
    return sg_study_model(out, &without, "kb4", p->err);
}

sg_status rh_identities(rh_parts *p)
{
    for (int i = 0; i < RH_MODELS; i++) {
        sg_model *m;
        sg_status status = i ? second_model(p, &m) : sg_study_model(&m, p->opts, "othello6", p->err);
        if (i && status == SG_ENOTFOUND)
            return SG_OK; /* the report says how many there were */
        SG_TRY(status);
        status = check_model(p, m);
        sg_model_close(m);
        SG_TRY(status);
    }
    return SG_OK;
}

/* ---- sums of polytopes ---- */

/* Rows less the mean of their block, in place. */
static void less_means(double *rows, sg_dim d)
{
    for (sg_dim b = 0, first = 0; b < RH_FACTORS; first += factors[b++])
        for (sg_dim j = 0; j < d; j++) {
            double mean = 0;
            for (sg_dim i = first; i < first + factors[b]; i++)
                mean += rows[i * d + j] / (double)factors[b];
            for (sg_dim i = first; i < first + factors[b]; i++)
                rows[i * d + j] -= mean;
        }
}

/* Mean cosine of vertices with the archetypes that are matched to them; which [12] those are. */
static sg_status recovered(const rh_parts *p, const sg_archetypes *a, const sg_sample *s, double *out, int32_t *which)
{
    const sg_tensor *v = sg_sample_find(s, "vertices");
    const sg_dim d = v->dims[1];
    double *truth = malloc((size_t)(RH_VERTICES * d) * sizeof *truth),
           *found = malloc((size_t)(RH_VERTICES * d) * sizeof *found), worth[RH_VERTICES * RH_VERTICES], sum = 0;
    sg_status status = truth && found ? SG_OK : no_memory(p);
    if (status == SG_OK) {
        sg_convert(truth, SG_F64, v->data, SG_F32, RH_VERTICES * d);
        memcpy(found, a->archetypes.data, (size_t)(RH_VERTICES * d) * sizeof *found);
        less_means(truth, d);
        less_means(found, d);
        for (int i = 0; i < RH_VERTICES; i++)
            for (int k = 0; k < RH_VERTICES; k++) {
                double ab = 0, aa = 0, bb = 0;
                for (sg_dim j = 0; j < d; j++) {
                    ab += truth[i * d + j] * found[k * d + j];
                    aa += truth[i * d + j] * truth[i * d + j];
                    bb += found[k * d + j] * found[k * d + j];
                }
                worth[i * RH_VERTICES + k] = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
            }
        const sg_tensor w = sg_tensor_of(SG_F64, 2, (sg_dim[]){RH_VERTICES, RH_VERTICES}, worth);
        status = sg_assignment(which, &sum, &w, SG_GREATEST, p->err);
    }
    free(truth);
    free(found);
    *out = sum / RH_VERTICES;
    return status;
}

/* The smallest factor in its plane: its part of each row, its vertices and the archetypes that were matched to them. */
static sg_status plane(rh_parts *p, const sg_archetypes *a, const sg_sample *s, const int32_t *which)
{
    const sg_tensor *v = sg_sample_find(s, "vertices");
    const sg_dim d = v->dims[1], n = a->weights.dims[0] < 600 ? a->weights.dims[0] : 600;
    rh_mixture *m = &p->mixture;
    double *basis = malloc((size_t)(2 * d) * sizeof *basis), *centre = calloc((size_t)d, sizeof *centre);
    m->points[0] = malloc((size_t)(2 * n) * sizeof(double));
    if (!basis || !centre || !m->points[0]) {
        free(basis);
        free(centre);
        return no_memory(p);
    }
    m->points[1] = m->points[0] + n;
    m->n_points = (int)n;
    sg_dim first = 0, block = 0;
    while (which[0] >= first + factors[block])
        first += factors[block++];
    for (sg_dim j = 0; j < d; j++) {
        double mean = 0, own = 0;
        for (int i = 0; i < 3; i++)
            mean += sg_tensor_get(v, i * d + j) / 3;
        for (sg_dim i = first; i < first + factors[block]; i++)
            own += sg_tensor_get(&a->archetypes, i * d + j) / (double)factors[block];
        centre[j] = own;
        basis[j] = sg_tensor_get(v, j) - mean;
        basis[d + j] = sg_tensor_get(v, d + j) - mean;
    }
    for (int k = 0; k < 2; k++) { /* orthonormal, by Gram and Schmidt */
        double dot = 0, squares = 0;
        for (sg_dim j = 0; j < d; j++)
            dot += k ? basis[j] * basis[d + j] : 0;
        for (sg_dim j = 0; j < d; j++) {
            basis[k * d + j] -= k ? dot * basis[j] : 0;
            squares += basis[k * d + j] * basis[k * d + j];
        }
        for (sg_dim j = 0; j < d; j++)
            basis[k * d + j] /= sqrt(squares);
    }
    for (int k = 0; k < 2; k++) {
        double at[8] = {0};
        for (sg_dim i = first; i < first + factors[block]; i++)
            for (sg_dim j = 0; j < d; j++)
                at[i - first] += basis[k * d + j] * (sg_tensor_get(&a->archetypes, i * d + j) - centre[j]);
        for (sg_dim r = 0; r < n; r++) {
            m->points[k][r] = 0;
            for (sg_dim i = 0; i < factors[block]; i++)
                m->points[k][r] += sg_tensor_get(&a->weights, r * RH_VERTICES + first + i) * at[i];
        }
        for (int i = 0; i < 3; i++) {
            double mean = 0;
            m->vertices[k][i] = 0;
            m->corners[k][i] =
                which[i] >= first && which[i] < first + factors[block] ? at[which[i] - first] : (double)NAN;
            for (sg_dim j = 0; j < d; j++) {
                mean = (sg_tensor_get(v, j) + sg_tensor_get(v, d + j) + sg_tensor_get(v, 2 * d + j)) / 3;
                m->vertices[k][i] += basis[k * d + j] * (sg_tensor_get(v, i * d + j) - mean);
            }
        }
    }
    free(basis);
    free(centre);
    return SG_OK;
}

static sg_status mixture(rh_parts *p, int seed, const sg_sample *s, const sg_sample *cloud)
{
    rh_mixture *m = &p->mixture;
    sg_archetypes_opts o = sg_archetypes_defaults();
    static const sg_dim one = RH_VERTICES;
    o.n_restarts = p->opts->full ? 10 : 8;
    o.scout = p->opts->full ? 1000 : 300;
    o.max_rounds = p->opts->full ? 100 : 60;
    o.tolerance = 1e-5;
    o.seed = p->seeds[seed];
    o.cancel = p->opts->cancel;
    for (int form = 0; form < 3; form++) {
        sg_archetypes *a;
        int32_t which[RH_VERTICES];
        SG_TRY(tell(p, "sums of polytopes", (seed + form / 3.0) / RH_SEEDS));
        SG_TRY(sg_archetypes_fit(&a, sg_sample_find(form == 2 ? cloud : s, "x"), form == 1 ? 1 : RH_FACTORS,
                                 form == 1 ? &one : factors, o, p->err));
        (form == 0 ? m->blocks : form == 1 ? m->single : m->normal)[seed] = a->r2;
        sg_status status = SG_OK;
        if (form != 1)
            status = recovered(p, a, s, form ? &m->recovered_normal[seed] : &m->recovered[seed], which);
        if (status == SG_OK && form == 0 && seed == 0)
            status = plane(p, a, s, which);
        sg_archetypes_free(a);
        SG_TRY(status);
    }
    return SG_OK;
}

sg_status rh_mixtures(rh_parts *p)
{
    const sg_world *w = sg_world_find("minkowski", p->err);
    for (int seed = 0; seed < RH_SEEDS; seed++) {
        sg_sample *s, *cloud = NULL;
        const sg_dim n = p->opts->full ? 20000 : 1500;
        SG_TRY(sg_world_sample(&s, w, 0, NULL, n, p->seeds[seed], p->err));
        sg_status status = sg_world_sample(&cloud, w, 1, &(sg_setting){"cloud", "gaussian"}, n, p->seeds[seed], p->err);
        if (status == SG_OK)
            status = mixture(p, seed, s, cloud);
        sg_sample_free(s);
        sg_sample_free(cloud);
        SG_TRY(status);
    }
    return SG_OK;
}

/* ---- a dictionary of a real model ---- */

typedef struct real {
    sg_model *m;
    sg_sample *games;
    sg_store *store;
    sg_dict *dict;
    float *codes;
    double *x, *cloud, *targets, *weight;
    int32_t *position;
} real;

static sg_status harvest(rh_parts *p, real *r, int seed)
{
    sg_harvest_opts o = sg_harvest_defaults();
    char site[64];
    SG_TRY(sg_study_model(&r->m, p->opts, "othello6", p->err));
    snprintf(site, sizeof site, "blocks.%d.hook_resid_post", (int)sg_model_get_info(r->m)->n_layers / 2);
    SG_TRY(sg_world_sample(&r->games, sg_world_find("othello", NULL), 1, &(sg_setting){"size", "6"},
                           p->opts->full ? 250 : 60, 2000003 + p->seeds[seed], p->err));
    const sg_tensor *tokens = sg_sample_find(r->games, "tokens"), *counts = sg_sample_find(r->games, "counts");
    o.exec = p->opts->exec;
    o.cancel = p->opts->cancel;
    return sg_harvest(&r->store, r->m, 1, (const char *const[]){site}, tokens, counts, o, p->err);
}

static sg_status numbers_of_dictionary(rh_parts *p, real *r, int seed, const sg_tensor *acts)
{
    rh_statistics *to = &p->statistics;
    const sg_dim n = acts->dims[0];
    sg_dict_opts o = sg_dict_defaults();
    sg_dict_geometry_opts go = sg_dict_geometry_defaults();
    sg_dict_data data;
    sg_dict_report *report = NULL;
    o.width = p->opts->full ? 512 : 128;
    o.k = 8;
    o.n_steps = p->opts->full ? 1500 : 200;
    o.batch = 256;
    o.lr = 3e-3;
    o.seed = p->seeds[seed];
    o.exec = p->opts->exec;
    o.cancel = p->opts->cancel;
    SG_TRY(sg_dict_rows(&data, acts, p->err));
    sg_status status = sg_dict_fit(&r->dict, &data, o, p->err);
    if (status == SG_OK)
        status = sg_dict_report_new(&report, r->dict, &data, n, p->opts->exec, p->err);
    if (status == SG_OK)
        to->r2[seed] = report->r2;
    sg_dict_report_free(report);
    sg_dict_data_free(&data);
    SG_TRY(status);
    r->codes = malloc((size_t)(n * o.width) * sizeof *r->codes);
    if (!r->codes)
        return no_memory(p);
    SG_TRY(sg_dict_encode(r->codes, r->dict, acts, p->err));
    const sg_tensor codes = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, o.width}, r->codes);
    go.n_steps = p->opts->full ? 300 : 60;
    go.exec = p->opts->exec;
    go.cancel = p->opts->cancel;
    sg_dict_geometry *g;
    SG_TRY(sg_dict_geometry_new(&g, &r->dict->dec, &codes, go, p->err));
    to->coherence[seed] = g->of[SG_DICT_GEOMETRY_OWN].coherence;
    to->coherence_normal[seed] = g->of[SG_DICT_GEOMETRY_GAUSSIAN].coherence;
    to->coherence_low[seed] = g->of[SG_DICT_GEOMETRY_LOW].coherence;
    to->together[seed] = g->of[SG_DICT_GEOMETRY_OWN].together;
    to->together_normal[seed] = g->of[SG_DICT_GEOMETRY_GAUSSIAN].together;
    if (seed == 0)
        to->g = g;
    else
        sg_dict_geometry_free(g);
    r->weight = malloc((size_t)(o.width * o.width) * sizeof *r->weight);
    if (!r->weight)
        return no_memory(p);
    const sg_tensor weight = sg_tensor_of(SG_F64, 2, (sg_dim[]){o.width, o.width}, r->weight);
    sg_blocks *b;
    SG_TRY(sg_blocks_weight(&weight, &codes, p->err));
    SG_TRY(sg_blocks_new(&b, &weight, 4 * o.width, p->opts->full ? 20 : 5, p->seeds[seed], p->err));
    to->modularity[seed] = b->modularity;
    to->modularity_null[seed] = b->null_mean;
    sg_blocks_free(b);
    return SG_OK;
}

/* Ways and chords, a normal cloud, and the same without position. */
static sg_status numbers_of_rows(rh_parts *p, real *r, int seed, const sg_tensor *all)
{
    enum { TARGETS = 3 };
    rh_statistics *to = &p->statistics;
    const sg_dim most = p->opts->full ? 1500 : 800, n = all->dims[0] < most ? all->dims[0] : most, d = all->dims[1];
    const int pairs = p->opts->full ? 100 : 40;
    r->x = malloc((size_t)(n * d) * sizeof *r->x);
    r->cloud = malloc((size_t)(n * d) * sizeof *r->cloud);
    r->targets = malloc((size_t)(n * TARGETS) * sizeof *r->targets);
    r->position = malloc((size_t)n * sizeof *r->position);
    if (!r->x || !r->cloud || !r->targets || !r->position)
        return no_memory(p);
    sg_convert(r->x, SG_F64, all->data, SG_F32, n * d);
    for (sg_dim i = 0; i < n; i++)
        r->position[i] = sg_store_rows(r->store)[i].position;
    const sg_tensor x = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, r->x),
                    cloud = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, r->cloud),
                    y = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, TARGETS}, r->targets);
    sg_ways w;
    sg_position at;
    SG_TRY(sg_ways_against_chords(&w, &x, 10, pairs, p->seeds[seed], p->err));
    to->nearer[seed] = w.nearer;
    SG_TRY(sg_gaussian_like(&cloud, &x, p->seeds[seed], p->err));
    SG_TRY(sg_ways_against_chords(&w, &cloud, 10, pairs, p->seeds[seed], p->err));
    to->nearer_normal[seed] = w.nearer;
    sg_archetypes_opts o = sg_archetypes_defaults();
    const sg_dim k = RH_VERTICES;
    o.n_restarts = p->opts->full ? 4 : 1;
    o.max_rounds = 30;
    o.tolerance = 1e-4;
    o.cancel = p->opts->cancel;
    for (int c = 0; c < 2; c++) {
        sg_archetypes *a;
        SG_TRY(sg_archetypes_fit(&a, c ? &cloud : &x, 1, &k, o, p->err));
        (c ? to->archetypes_normal : to->archetypes)[seed] = a->r2;
        sg_archetypes_free(a);
    }
    SG_TRY(sg_position_targets(&y, r->position, p->err));
    SG_TRY(sg_position_remove(&at, &x, &y, n / 2, p->err));
    to->before[seed] = at.before;
    to->after[seed] = at.after;
    SG_TRY(sg_ways_against_chords(&w, &x, 10, pairs, p->seeds[seed], p->err));
    to->nearer_removed[seed] = w.nearer;
    return SG_OK;
}

sg_status rh_dictionary(rh_parts *p)
{
    for (int seed = 0; seed < RH_SEEDS; seed++) {
        real r = {.m = NULL};
        SG_TRY(tell(p, "dictionary", (double)seed / RH_SEEDS));
        sg_status status = harvest(p, &r, seed);
        if (status == SG_OK)
            status = numbers_of_dictionary(p, &r, seed, sg_store_acts(r.store, 0));
        if (status == SG_OK)
            status = numbers_of_rows(p, &r, seed, sg_store_acts(r.store, 0));
        sg_dict_free(r.dict);
        sg_store_free(r.store);
        sg_sample_free(r.games);
        sg_model_close(r.m);
        free(r.codes);
        free(r.x);
        free(r.cloud);
        free(r.targets);
        free(r.weight);
        free(r.position);
        SG_TRY(status);
    }
    return SG_OK;
}

void rh_free(rh_parts *p)
{
    free(p->mixture.points[0]);
    sg_dict_geometry_free(p->statistics.g);
}
