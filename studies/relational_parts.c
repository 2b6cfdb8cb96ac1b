/* Probes and dictionaries of the study relational-composition. */
#include "relational_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/dictionary.h"
#include "sightglass/echo.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/tpr.h"
#include "sightglass/world.h"

static sg_status no_memory(const rc_parts *p)
{
    return sg_fail(p->err, SG_ENOMEM, "relational-composition: out of memory");
}

static sg_status draw(const rc_parts *p, const rc_mechanism *m, int seed, sg_dim count, sg_sample **out)
{
    char features[24], d[24];
    snprintf(features, sizeof features, "%lld", (long long)p->features);
    snprintf(d, sizeof d, "%lld", (long long)p->d);
    const sg_setting settings[] = {{"mechanism", m->mechanism}, {"maps", m->maps}, {"directions", m->directions},
                                   {"features", features},      {"d", d},          {"noise", "0.02"}};
    return sg_world_sample(out, sg_world_find("binding", NULL), 6, settings, count, p->seeds[seed], p->err);
}

/* ---- what can be read ---- */

typedef struct rows {
    sg_dim n, d, c, n_fit; /* rows, their width, targets, rows that are fitted on; the rest is judged */
    double *x, *y, *score; /* [n,d], [n,c], [n,c] */
} rows;

static bool make_rows(rows *r, sg_dim n, sg_dim d, sg_dim c)
{
    *r = (rows){.n = n, .d = d, .c = c, .n_fit = n / 4 * 3};
    r->x = calloc((size_t)(n * d), sizeof *r->x);
    r->y = calloc((size_t)(n * c), sizeof *r->y);
    r->score = calloc((size_t)(n * c), sizeof *r->score);
    return r->x && r->y && r->score;
}

static void free_rows(rows *r)
{
    free(r->x);
    free(r->y);
    free(r->score);
}

/* Scores of all rows by a ridge regression on the first ones. */
static sg_status regress(const rows *r, sg_error *err)
{
    const sg_tensor x = sg_tensor_of(SG_F64, 2, (sg_dim[]){r->n_fit, r->d}, r->x),
                    y = sg_tensor_of(SG_F64, 2, (sg_dim[]){r->n_fit, r->c}, r->y),
                    all = sg_tensor_of(SG_F64, 2, (sg_dim[]){r->n, r->d}, r->x),
                    score = sg_tensor_of(SG_F64, 2, (sg_dim[]){r->n, r->c}, r->score);
    sg_ridge *fit;
    SG_TRY(sg_ridge_new(&fit, &x, &y, (double[]){1}, 1, sg_ridge_defaults(), err));
    const sg_tensor w = sg_tensor_of(SG_F64, 2, (sg_dim[]){r->d, r->c}, fit->weights.data);
    const sg_status status = sg_product(&score, &all, false, &w, false, 1, 0, err);
    for (sg_dim i = 0; status == SG_OK && i < r->n * r->c; i++)
        r->score[i] += sg_tensor_get(&fit->bias, i % r->c);
    sg_ridge_free(fit);
    return status;
}

static sg_dim best_of(const double *score, sg_dim n)
{
    sg_dim best = 0;
    for (sg_dim i = 1; i < n; i++)
        best = score[i] > score[best] ? i : best;
    return best;
}

/* Which features are there: the share of them among as many of the highest scores. */
static double presence(const rows *r, sg_dim roles)
{
    double right = 0;
    for (sg_dim i = r->n_fit; i < r->n; i++)
        for (sg_dim k = 0; k < roles; k++) {
            double *s = r->score + i * r->c;
            const sg_dim best = best_of(s, r->c);
            right += r->y[i * r->c + best] > 0;
            s[best] = -HUGE_VAL;
        }
    return right / ((double)(r->n - r->n_fit) * (double)roles);
}

/* For each role, is the feature with the highest score the one that fills it? */
static double filled(const rows *r, sg_dim roles)
{
    const sg_dim f = r->c / roles;
    double right = 0;
    for (sg_dim i = r->n_fit; i < r->n; i++)
        for (sg_dim k = 0; k < roles; k++)
            right += r->y[i * r->c + k * f + best_of(r->score + i * r->c + k * f, f)] > 0;
    return right / ((double)(r->n - r->n_fit) * (double)roles);
}

static sg_status by_tpr(rc_parts *p, const rows *r, const int32_t *labels, sg_dim roles, uint64_t seed, double *out)
{
    sg_tpr_opts o = sg_tpr_defaults();
    const sg_dim rest = r->n - r->n_fit, f = r->c / roles;
    float *x = malloc((size_t)(r->n * r->d) * sizeof *x);
    int32_t *read = malloc((size_t)(rest * roles) * sizeof *read);
    sg_tpr *t = NULL;
    sg_probe *probe = NULL;
    o.n_classes = (int)f;
    o.role_dim = roles;
    o.filler_dim = f;
    o.batch = 256;
    o.n_epochs = p->opts->full ? 12 : 10;
    o.lr = .02;
    o.seed = seed;
    o.exec = p->opts->exec;
    o.cancel = p->opts->cancel;
    sg_status status = x && read ? SG_OK : no_memory(p);
    if (status == SG_OK) {
        sg_convert(x, SG_F32, r->x, SG_F64, r->n * r->d);
        const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){r->n_fit, r->d}, x),
                        l = sg_tensor_of(SG_I32, 2, (sg_dim[]){r->n_fit, roles}, (void *)(uintptr_t)labels);
        status = sg_tpr_fit(&t, &acts, &l, o, p->err);
    }
    if (status == SG_OK)
        status = sg_tpr_probe(&probe, t, p->err);
    const sg_tensor held = sg_tensor_of(SG_F32, 2, (sg_dim[]){rest, r->d}, x + r->n_fit * r->d);
    if (status == SG_OK)
        status = sg_probe_read(probe, &held, read, p->err);
    *out = 0;
    for (sg_dim i = 0; status == SG_OK && i < rest * roles; i++)
        *out += (read[i] == labels[r->n_fit * roles + i]) / (double)(rest * roles);
    sg_probe_free(probe);
    sg_tpr_free(t);
    free(x);
    free(read);
    return status;
}

/* Single vectors: features, roles, and the same by a tensor-product probe. */
static sg_status read_vectors(rc_parts *p, rc_mechanism *m, int seed, const sg_sample *s)
{
    const sg_tensor *x = sg_sample_find(s, "x"), *bound = sg_sample_find(s, "bound");
    const sg_dim count = x->dims[0], tokens = x->dims[1], d = x->dims[2], items = bound->dims[1],
                 roles = bound->dims[2], f = p->features;
    rows present, role;
    int32_t *labels = malloc((size_t)(count * tokens * roles) * sizeof *labels);
    const bool fine = make_rows(&present, count * tokens, d, f);
    sg_status status = make_rows(&role, count * tokens, d, f * roles) && fine && labels ? SG_OK : no_memory(p);
    for (sg_dim i = 0; status == SG_OK && i < count * tokens; i++) {
        for (sg_dim j = 0; j < d; j++)
            present.x[i * d + j] = role.x[i * d + j] = sg_tensor_get(x, i * d + j);
        for (sg_dim r = 0; r < roles; r++) {
            const sg_dim item = items == tokens ? i : i / tokens * items;
            labels[i * roles + r] = (int32_t)sg_tensor_get(bound, item * roles + r);
            present.y[i * f + labels[i * roles + r]] = role.y[(i * roles + r) * f + labels[i * roles + r]] = 1;
        }
    }
    if (status == SG_OK)
        status = regress(&present, p->err);
    if (status == SG_OK)
        status = regress(&role, p->err);
    if (status == SG_OK)
        status = by_tpr(p, &role, labels, roles, p->seeds[seed], &m->read[RC_TPR][seed]);
    if (status == SG_OK) {
        m->read[RC_FEATURE][seed] = presence(&present, roles);
        m->read[RC_ROLE][seed] = filled(&role, roles);
    }
    free_rows(&present);
    free_rows(&role);
    free(labels);
    return status;
}

/* x_a' M x_b with M = mean x_a x_b' of what belongs together less that of what does not. Vectors know where they stand.
 */
static sg_status read_pairs(rc_parts *p, rc_mechanism *m, int seed, const sg_sample *s)
{
    const sg_tensor *x = sg_sample_find(s, "x"), *partner = sg_sample_find(s, "partner"),
                    *bound = sg_sample_find(s, "bound");
    const sg_dim count = x->dims[0], tokens = x->dims[1], d = x->dims[2], w = d + tokens, n_fit = count / 4 * 3;
    const bool order = !strcmp(m->mechanism, "multi-token");
    double *v = calloc((size_t)(count * tokens * w), sizeof *v), *sum = calloc((size_t)(2 * w * w), sizeof *sum),
           n[2] = {0}, right = 0, asked = 0;
    sg_status status = v && sum ? SG_OK : no_memory(p);
    for (sg_dim i = 0; status == SG_OK && i < count * tokens; i++) {
        for (sg_dim j = 0; j < d; j++)
            v[i * w + j] = sg_tensor_get(x, i * d + j);
        v[i * w + d + i % tokens] = 1;
    }
    for (sg_dim i = 0; status == SG_OK && i < count; i++) {
        const bool rising = sg_tensor_get(bound, i * bound->dims[1] * bound->dims[2]) <
                            sg_tensor_get(bound, i * bound->dims[1] * bound->dims[2] + bound->dims[2] - 1);
        for (sg_dim a = 0; a < tokens; a++) {
            double best = -HUGE_VAL;
            sg_dim with = -1;
            for (sg_dim b = 0; b < tokens; b++) {
                if (a == b || (order && a > 0))
                    continue;
                const bool together = order ? rising : (sg_dim)sg_tensor_get(partner, i * tokens + a) == b;
                const double *va = v + (i * tokens + a) * w, *vb = v + (i * tokens + b) * w;
                double *to = sum + together * w * w, score = 0;
                if (i < n_fit)
                    n[together]++;
                for (sg_dim k = 0; k < w; k++)
                    for (sg_dim l = 0; l < w; l++)
                        if (i < n_fit)
                            to[k * w + l] += va[k] * vb[l];
                        else
                            score += va[k] * vb[l] * (sum[w * w + k * w + l] / n[1] - sum[k * w + l] / n[0]);
                if (order && i >= n_fit) {
                    right += (score > 0) == rising;
                    asked++;
                }
                if (score > best) {
                    best = score;
                    with = b;
                }
            }
            if (!order && i >= n_fit) {
                right += (sg_dim)sg_tensor_get(partner, i * tokens + a) == with;
                asked++;
            }
        }
    }
    m->read[RC_MATCH][seed] = asked > 0 ? right / asked : (double)NAN;
    free(v);
    free(sum);
    return status;
}

/* The same question to one vector: which place its partner has, or the order. */
static sg_status read_alone(rc_parts *p, rc_mechanism *m, int seed, const sg_sample *s)
{
    const sg_tensor *x = sg_sample_find(s, "x"), *partner = sg_sample_find(s, "partner"),
                    *bound = sg_sample_find(s, "bound");
    const sg_dim count = x->dims[0], tokens = x->dims[1], d = x->dims[2];
    const bool order = !strcmp(m->mechanism, "multi-token");
    rows r;
    sg_status status = make_rows(&r, count * tokens, d + tokens, order ? 2 : tokens) ? SG_OK : no_memory(p);
    for (sg_dim i = 0; status == SG_OK && i < count * tokens; i++) {
        const sg_dim item = i / tokens * bound->dims[1] * bound->dims[2];
        const sg_dim label =
            order ? sg_tensor_get(bound, item) < sg_tensor_get(bound, item + 1) : (sg_dim)sg_tensor_get(partner, i);
        for (sg_dim j = 0; j < d; j++)
            r.x[i * r.d + j] = sg_tensor_get(x, i * d + j);
        r.x[i * r.d + d + i % tokens] = 1;
        r.y[i * r.c + label] = 1;
    }
    if (status == SG_OK)
        status = regress(&r, p->err);
    if (status == SG_OK)
        m->read[RC_ALONE][seed] = filled(&r, 1);
    free_rows(&r);
    return status;
}

static sg_status tell(rc_parts *p, const char *part, double done)
{
    const sg_study_progress at = {part, done, (double)NAN, (double)NAN};
    if (p->opts->progress)
        p->opts->progress(p->opts->context, &at);
    if (p->opts->cancel && *p->opts->cancel)
        return sg_fail(p->err, SG_ECANCELLED, "relational-composition: stopped");
    return SG_OK;
}

sg_status rc_decode(rc_parts *p, rc_mechanism *m)
{
    for (int seed = 0; seed < RC_SEEDS; seed++) {
        sg_sample *s;
        SG_TRY(tell(p, m->name, (double)seed / RC_SEEDS));
        SG_TRY(draw(p, m, seed, p->n_decode, &s));
        const bool several = sg_sample_find(s, "x")->dims[1] > 1;
        m->read[RC_MATCH][seed] = m->read[RC_ALONE][seed] = (double)NAN;
        sg_status status = read_vectors(p, m, seed, s);
        if (status == SG_OK && several)
            status = read_pairs(p, m, seed, s);
        if (status == SG_OK && several)
            status = read_alone(p, m, seed, s);
        sg_sample_free(s);
        SG_TRY(status);
    }
    return SG_OK;
}

/* ---- dictionaries ---- */

/* R_r f as unit rows [roles F,d], and less the mean of each role. */
static sg_status targets_of(const rc_parts *p, const sg_sample *s, double *to)
{
    const sg_tensor *features = sg_sample_find(s, "features"), *maps = sg_sample_find(s, "maps");
    const sg_dim f = p->features, w = features->dims[1], d = p->d;
    double *a = malloc((size_t)(f * w) * sizeof *a), *b = malloc((size_t)(2 * w * d) * sizeof *b);
    sg_status status = a && b ? SG_OK : no_memory(p);
    if (status == SG_OK) {
        sg_convert(a, SG_F64, features->data, SG_F32, f * w);
        sg_convert(b, SG_F64, maps->data, SG_F32, 2 * w * d);
    }
    for (sg_dim r = 0; status == SG_OK && r < 2; r++) {
        const sg_tensor x = sg_tensor_of(SG_F64, 2, (sg_dim[]){f, w}, a),
                        m = sg_tensor_of(SG_F64, 2, (sg_dim[]){w, d}, b + r * w * d),
                        out = sg_tensor_of(SG_F64, 2, (sg_dim[]){f, d}, to + r * f * d);
        status = sg_product(&out, &x, false, &m, false, 1, 0, p->err);
    }
    free(a);
    free(b);
    return status;
}

static double cosine(const double *a, const double *b, sg_dim d)
{
    double ab = 0, aa = 0, bb = 0;
    for (sg_dim j = 0; j < d; j++) {
        ab += a[j] * b[j];
        aa += a[j] * a[j];
        bb += b[j] * b[j];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* nearest [n]: the atom with the greatest cosine to each target; the share of those with .9 or more. */
static double nearest_atoms(int32_t *nearest, const double *targets, sg_dim n, const double *atoms, sg_dim m, sg_dim d)
{
    double found = 0;
    for (sg_dim i = 0; i < n; i++) {
        double best = -2;
        for (sg_dim a = 0; a < m; a++) {
            const double c = cosine(targets + i * d, atoms + a * d, d);
            if (c > best) {
                best = c;
                nearest[i] = (int32_t)a;
            }
        }
        found += (best >= .9) / (double)n;
    }
    return found;
}

/* Both less the mean of their role: what a dictionary may move from one role's atoms to the other's. */
static double found_centred(const double *targets, const int32_t *nearest, sg_dim f, const double *atoms, sg_dim d,
                            double *room)
{
    double found = 0;
    for (sg_dim r = 0; r < 2; r++) {
        memset(room, 0, (size_t)(2 * d) * sizeof *room);
        for (sg_dim i = r * f; i < (r + 1) * f; i++)
            for (sg_dim j = 0; j < d; j++) {
                room[j] += targets[i * d + j] / (double)f;
                room[d + j] += atoms[nearest[i] * d + j] / (double)f;
            }
        for (sg_dim i = r * f; i < (r + 1) * f; i++) {
            double ab = 0, aa = 0, bb = 0;
            for (sg_dim j = 0; j < d; j++) {
                const double a = targets[i * d + j] - room[j], b = atoms[nearest[i] * d + j] - room[d + j];
                ab += a * b;
                aa += a * a;
                bb += b * b;
            }
            found += (aa > 0 && bb > 0 && ab / sqrt(aa * bb) >= .9) / (double)(2 * f);
        }
    }
    return found;
}

typedef struct fitted {
    sg_dict *dict;
    float *codes;
    double *targets, *atoms, *room;
    int32_t *nearest;
} fitted;

static sg_status search(rc_parts *p, rc_mechanism *m, int seed, const fitted *f, const sg_tensor *codes)
{
    sg_echo_opts o = sg_echo_defaults();
    sg_echo *e;
    o.most = 2 * p->features;
    o.n_nulls = 20;
    o.seed = p->seeds[seed];
    o.cancel = p->opts->cancel;
    SG_TRY(sg_echo_search(&e, &f->dict->dec, codes, NULL, o, p->err));
    m->echo[seed] = e->score;
    m->null_mean[seed] = e->null_mean;
    m->null_high[seed] = e->null_high;
    m->pairs[seed] = 0;
    /* By direction, in either order of the roles: copies of an atom count as it does. */
    for (sg_dim i = 0; i < p->features; i++) {
        bool any = false;
        for (sg_dim k = 0; k < e->n_pairs && !any; k++) {
            const double *from = f->atoms + e->pairs[k].from * p->d, *to = f->atoms + e->pairs[k].to * p->d,
                         *one = f->atoms + f->nearest[i] * p->d, *two = f->atoms + f->nearest[p->features + i] * p->d;
            any = (cosine(from, one, p->d) > .9 && cosine(to, two, p->d) > .9) ||
                  (cosine(from, two, p->d) > .9 && cosine(to, one, p->d) > .9);
        }
        m->pairs[seed] += any / (double)p->features;
    }
    sg_echo_free(e);
    return SG_OK;
}

static sg_status look(rc_parts *p, rc_mechanism *m, int seed, const sg_sample *s, fitted *f)
{
    const sg_dim d = p->d, w = p->width, n = 4000 < p->n_vectors ? 4000 : p->n_vectors;
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){p->n_vectors, d}, sg_sample_find(s, "x")->data),
                    few = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, x.data);
    sg_dict_opts o = sg_dict_defaults();
    sg_dict_data data;
    o.kind = SG_DICT_TOPK;
    o.width = w;
    o.k = 2;
    o.n_steps = p->n_steps;
    o.batch = p->opts->full ? 512 : 256;
    o.lr = 3e-3;
    o.aux = 0; /* with AuxK atoms wander off along what roles can exchange */
    o.seed = p->seeds[seed];
    o.exec = p->opts->exec;
    o.cancel = p->opts->cancel;
    SG_TRY(sg_dict_rows(&data, &x, p->err));
    sg_status status = sg_dict_fit(&f->dict, &data, o, p->err);
    sg_dict_data_free(&data);
    SG_TRY(status);
    f->codes = malloc((size_t)(n * w) * sizeof *f->codes);
    f->targets = malloc((size_t)(2 * p->features * d) * sizeof *f->targets);
    f->atoms = malloc((size_t)(w * d) * sizeof *f->atoms);
    f->room = malloc((size_t)(2 * d) * sizeof *f->room);
    f->nearest = malloc((size_t)(2 * p->features) * sizeof *f->nearest);
    if (!f->codes || !f->targets || !f->atoms || !f->room || !f->nearest)
        return no_memory(p);
    SG_TRY(sg_dict_encode(f->codes, f->dict, &few, p->err));
    SG_TRY(targets_of(p, s, f->targets));
    sg_rng r = sg_rng_new(p->seeds[seed], 77);
    for (sg_dim i = 0; i < w * d; i++)
        f->atoms[i] = sg_rng_normal(&r);
    m->random[seed] = nearest_atoms(f->nearest, f->targets, 2 * p->features, f->atoms, w, d);
    sg_convert(f->atoms, SG_F64, f->dict->dec.data, SG_F32, w * d);
    m->found[seed] = nearest_atoms(f->nearest, f->targets, 2 * p->features, f->atoms, w, d);
    m->found_centred[seed] = found_centred(f->targets, f->nearest, p->features, f->atoms, d, f->room);
    const sg_tensor codes = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, w}, f->codes);
    return search(p, m, seed, f, &codes);
}

sg_status rc_dictionary(rc_parts *p, rc_mechanism *m)
{
    for (int seed = 0; seed < RC_SEEDS; seed++) {
        sg_sample *s;
        fitted f = {.dict = NULL};
        SG_TRY(tell(p, "dictionaries", (double)seed / RC_SEEDS));
        SG_TRY(draw(p, m, seed, p->n_vectors, &s));
        const sg_status status = look(p, m, seed, s, &f);
        sg_sample_free(s);
        sg_dict_free(f.dict);
        free(f.codes);
        free(f.targets);
        free(f.atoms);
        free(f.room);
        free(f.nearest);
        SG_TRY(status);
    }
    return SG_OK;
}

/* ---- pictures ---- */

sg_status rc_figures(const rc_parts *p, int n, const rc_mechanism *m, int n_echo)
{
    double cells[RC_MOST * RC_READ], x[RC_SEEDS * RC_MOST], score[RC_SEEDS * RC_MOST], mean[RC_SEEDS * RC_MOST],
        high[RC_SEEDS * RC_MOST];
    char caption[700] = "From the top: ";
    for (int i = 0; i < n; i++) {
        snprintf(caption + strlen(caption), sizeof caption - strlen(caption), "%s%d %s", i ? ", " : "", i, m[i].name);
        for (int k = 0; k < RC_READ; k++) {
            cells[i * RC_READ + k] = 0;
            for (int s = 0; s < RC_SEEDS; s++)
                cells[i * RC_READ + k] += m[i].read[k][s] / RC_SEEDS;
        }
    }
    snprintf(caption + strlen(caption), sizeof caption - strlen(caption),
             ". Columns: 0 features of a vector, 1 who fills which role, 2 the same by a tensor-product probe, 3 what "
             "belongs together by a "
             "product of two vectors (of multi-token the order), 4 the same by one vector; nan: there is one vector "
             "alone.");
    const sg_panel panel = {.n_rows = n, .n_columns = RC_READ, .cells = cells};
    SG_TRY(sg_report_add_figure(p->report,
                                &(sg_figure){.id = "decodability",
                                             .title = "What can be read off the vectors of each mechanism",
                                             .kind = SG_FIGURE_MATRIX,
                                             .caption = caption,
                                             .x = {.label = "what is read"},
                                             .y = {.label = "mechanism"},
                                             .value = {.label = "share right, held out", .low = 0, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                p->err));
    for (int i = 0; i < n_echo * RC_SEEDS; i++) {
        x[i] = i / RC_SEEDS;
        score[i] = m[i / RC_SEEDS].echo[i % RC_SEEDS];
        mean[i] = m[i / RC_SEEDS].null_mean[i % RC_SEEDS];
        high[i] = m[i / RC_SEEDS].null_high[i % RC_SEEDS];
    }
    snprintf(caption, sizeof caption, "A point for each seed. From the left: ");
    for (int i = 0; i < n_echo; i++)
        snprintf(caption + strlen(caption), sizeof caption - strlen(caption), "%s%d %s", i ? ", " : "", i, m[i].name);
    const sg_series series[3] = {{"the dictionary's atoms", n_echo * RC_SEEDS, x, score},
                                 {"turned atoms, mean", n_echo * RC_SEEDS, x, mean},
                                 {"turned atoms, 95 % below", n_echo * RC_SEEDS, x, high}};
    const sg_panel points = {.n_series = 3, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "echoes",
                     .title = "How well one map of all other pairs predicts an atom from its partner",
                     .kind = SG_FIGURE_POINTS,
                     .caption = caption,
                     .x = {.label = "mechanism"},
                     .y = {.label = "mean cosine, held out"},
                     .n_panels = 1,
                     .panels = &points},
        p->err);
}
