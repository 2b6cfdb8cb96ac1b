/* A trained head and an untrained one of the same world, and all numbers that are asked of them. */
#include "qk_contrastive_parts.h"

#include "sightglass/linalg.h"
#include <math.h>
#include <stdlib.h>

enum { SWAPPED = 512, SCORED = 64 };

static double entries_beyond(const sg_qk_factor *f, const double *form)
{
    const sg_dim n = f->width * f->width;
    double beyond = 0;
    for (sg_dim i = 0; i < n; i++)
        beyond += fabs(f->delta[i] - form[i]) > 3 * f->error[i];
    return beyond / (double)n;
}

static double gap(const sg_qk_factor *f, sg_dim n)
{
    return n < f->width ? f->sigma[n] / f->sigma[n - 1] : 0;
}

static sg_status contrasts(const qk_parts *p, qk_case *c, const qk_setting *s, qk_head *h, qk_head *fresh)
{
    const sg_dim latents[2] = {s->n, s->m}, w = h->width;
    double *form = malloc((size_t)(w * w) * sizeof *form);
    sg_status status = form ? SG_OK : sg_fail(p->err, SG_ENOMEM, "out of memory");
    for (int f = 0; f < 2 && status == SG_OK; f++) {
        sg_qk_factor *along = NULL, *again = NULL;
        const double n = (double)latents[f];
        status = qk_head_contrast(h, &c->factor[f], f, false, p->n_pairs, 1, p->err);
        if (status == SG_OK)
            status = qk_head_contrast(fresh, &c->fresh[f], f, false, p->n_pairs, 1, p->err);
        if (status == SG_OK)
            status = qk_head_contrast(h, &along, f, true, p->n_pairs, 1, p->err);
        if (status == SG_OK)
            status = qk_head_contrast(h, &again, f, false, p->n_pairs, 2, p->err);
        if (status == SG_OK) {
            const sg_qk_factor *z = c->factor[f];
            c->number[QK_GAP][f] = gap(z, latents[f]);
            c->number[QK_GAP_ALONG][f] = gap(along, latents[f]);
            c->number[QK_SIZE][f] = z->sigma[0] / z->sigma_shuffled[0];
            c->number[QK_SIZE_SHUFFLED][f] = z->sigma_shuffled[0] / again->sigma_shuffled[0];
            c->number[QK_RANK][f] = z->rank;
            c->number[QK_FRESH_RANK_OVER][f] = c->fresh[f]->rank - n;
            c->number[QK_RANK_OVER_ALONG][f] = along->rank - n;
            status = qk_head_closed_form(h, form, f, p->err);
            c->number[QK_BEYOND][f] = entries_beyond(z, form);
        }
        if (status == SG_OK)
            status = qk_head_closed_form(h, form, 1 - f, p->err);
        if (status == SG_OK)
            c->number[QK_BEYOND_WRONG][f] = entries_beyond(c->factor[f], form);
        sg_qk_factor_free(along);
        sg_qk_factor_free(again);
    }
    free(form);
    return status;
}

/* Exchanges in each subspace, both, all, and random ones of the three ranks; shares likewise. */
static sg_status exchanges(const qk_parts *p, qk_case *c, qk_head *h)
{
    enum { MEANT = 4, ALL = MEANT + 3 * QK_DRAWS };
    const sg_dim w = h->width;
    const size_t square = (size_t)(w * w);
    double *room = calloc(square * (1 + (size_t)ALL), sizeof *room), moved[ALL];
    sg_qk_basis bases[ALL];
    int ranks[2];
    if (!room)
        return sg_fail(p->err, SG_ENOMEM, "out of memory");
    const sg_qk_basis own[2] = {sg_qk_keys_of(c->factor[0]), sg_qk_keys_of(c->factor[1])};
    sg_status status = sg_qk_orthogonal(room, ranks, 2, own, w, p->err);
    bases[0] = own[0];
    bases[1] = own[1];
    bases[2] = (sg_qk_basis){ranks[0] + ranks[1], room};
    bases[3] = (sg_qk_basis){(int)w, c->factor[0]->right};
    for (int i = 0; i < 3 * QK_DRAWS && status == SG_OK; i++) {
        double *rows = room + square * (size_t)(1 + i);
        bases[MEANT + i] = (sg_qk_basis){bases[i / QK_DRAWS].rank, rows};
        status = sg_qk_random(rows, bases[MEANT + i].rank, w, h->seed, (uint32_t)i, p->err);
    }
    if (status == SG_OK)
        status = qk_head_swaps(h, moved, ALL, bases, SWAPPED, p->err);
    double mean[3] = {0}, explained, by_random = 0;
    for (int i = 0; i < 3 * QK_DRAWS; i++)
        mean[i / QK_DRAWS] += moved[MEANT + i] / QK_DRAWS;
    if (status == SG_OK)
        status = qk_head_explained(h, &explained, 2, own, SCORED, p->err);
    for (int i = 0; i < QK_DRAWS && status == SG_OK; i++) {
        double one;
        status = qk_head_explained(h, &one, 1, &bases[MEANT + 2 * QK_DRAWS + i], SCORED, p->err);
        by_random += one / QK_DRAWS;
    }
    if (status == SG_OK) {
        c->number[QK_MOVED][0] = moved[2];
        c->number[QK_MOVED_RANDOM][0] = mean[2];
        c->number[QK_MOVED_WHOLE][0] = moved[3];
        c->number[QK_EXPLAINED][0] = explained;
        c->number[QK_EXPLAINED_RANDOM][0] = by_random;
        for (int f = 0; f < 2; f++)
            c->number[QK_MOVED_ONE][f] = moved[f] - mean[f];
    }
    free(room);
    return status;
}

/* The least angle between the keys' two subspaces: the largest product of unit vectors, one of each. */
static sg_status angle(const qk_parts *p, qk_case *c)
{
    const sg_qk_basis a = sg_qk_keys_of(c->factor[0]), b = sg_qk_keys_of(c->factor[1]);
    const sg_dim w = c->factor[0]->width;
    double *products = calloc((size_t)(a.rank * b.rank) + 1, sizeof *products);
    sg_svd *svd;
    if (!products)
        return sg_fail(p->err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < a.rank * b.rank; i++)
        for (sg_dim d = 0; d < w; d++)
            products[i] += a.rows[i / b.rank * w + d] * b.rows[i % b.rank * w + d];
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){a.rank, b.rank}, products);
    const sg_status status = sg_svd_new(&svd, &t, SG_FACTORS_THIN, p->err);
    if (status == SG_OK) {
        c->number[QK_ANGLE][0] = acos(fmin(((const double *)svd->s.data)[0], 1)) * 57.295779513082320877;
        sg_svd_free(svd);
    }
    free(products);
    return status;
}

static sg_status look(const qk_parts *p, qk_case *c, const qk_setting *s, qk_head *h, qk_head *fresh, uint64_t seed)
{
    const sg_dim n = s->n + s->m;
    sg_recall world = sg_recall_defaults();
    world.n = s->n;
    world.m = s->m;
    world.latents = s->latents;
    SG_TRY(qk_head_new(h, &world, s->width, seed, p->opts, p->err));
    SG_TRY(qk_head_new(fresh, &world, s->width, seed, p->opts, p->err));
    SG_TRY(qk_head_train(h, p->n_steps, 1e-3, p->opts, p->report, p->err));
    SG_TRY(qk_head_accuracy(h, &c->number[QK_ACCURACY][0], p->err));
    SG_TRY(qk_head_accuracy(fresh, &c->number[QK_FRESH_ACCURACY][0], p->err));
    SG_TRY(contrasts(p, c, s, h, fresh));
    SG_TRY(angle(p, c));
    SG_TRY(exchanges(p, c, h));
    c->meeting = malloc((size_t)(n * n) * sizeof *c->meeting);
    return c->meeting ? qk_head_meeting(h, c->meeting, p->err) : sg_fail(p->err, SG_ENOMEM, "out of memory");
}

static sg_status measure(const qk_parts *p, qk_case *c, const qk_setting *s, uint64_t seed)
{
    qk_head h = {.g = NULL}, fresh = {.g = NULL};
    const sg_status status = look(p, c, s, &h, &fresh, seed);
    qk_head_free(&h);
    qk_head_free(&fresh);
    return status;
}

sg_status qk_measure(qk_parts *p, int setting)
{
    for (int i = 0; i < QK_SEEDS; i++)
        SG_TRY(measure(p, &p->cases[setting][i], &p->settings[setting], p->seeds[i]));
    return SG_OK;
}

int qk_numbers(double *out, const qk_parts *p, int setting, qk_number which)
{
    int n = 0;
    for (int i = 0; i < QK_SEEDS; i++)
        for (int f = 0; f < (which < QK_OF_FACTORS ? 1 : 2); f++)
            out[n++] = p->cases[setting][i].number[which][f];
    return n;
}

static void free_case(qk_case *c)
{
    for (int f = 0; f < 2; f++) {
        sg_qk_factor_free(c->factor[f]);
        sg_qk_factor_free(c->fresh[f]);
    }
    free(c->meeting);
    *c = (qk_case){.meeting = NULL};
}

void qk_parts_free(qk_parts *p)
{
    for (int s = 0; s < QK_SETTINGS; s++)
        for (int i = 0; i < QK_SEEDS; i++)
            free_case(&p->cases[s][i]);
}

/* ---- figures ---- */

static sg_status spectra(qk_parts *p)
{
    const qk_case *c = &p->cases[0][0];
    static const char *const titles[2] = {"z1, 3 latents", "z2, 5 latents"};
    sg_series series[2][3];
    sg_panel panels[2] = {{0}};
    double at[16];
    for (int i = 0; i < 16; i++)
        at[i] = i + 1;
    for (int f = 0; f < 2; f++) {
        series[f][0] = (sg_series){"trained", 16, at, c->factor[f]->sigma};
        series[f][1] = (sg_series){"untrained", 16, at, c->fresh[f]->sigma};
        series[f][2] = (sg_series){"trained, pairs shuffled", 16, at, c->factor[f]->sigma_shuffled};
        panels[f] = (sg_panel){.title = titles[f], .n_series = 3, .series = series[f]};
    }
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "spectra",
                     .title = "Singular values of the contrasts",
                     .kind = SG_FIGURE_LINES,
                     .caption = "The cliff behind the third and fifth direction is the data's: the untrained head has "
                                "it too. What training adds is size. First seed.",
                     .x = {.label = "direction"},
                     .y = {.label = "sigma", .log = true},
                     .n_panels = 2,
                     .panels = panels},
        p->err);
}

static sg_status meetings(qk_parts *p)
{
    sg_panel panels[QK_SETTINGS] = {{0}};
    int n = 0;
    for (int s = 0; s < p->n_settings; s++) {
        const int size = (int)(p->settings[s].n + p->settings[s].m);
        panels[n++] = (sg_panel){
            .title = p->settings[s].name, .n_rows = size, .n_columns = size, .cells = p->cases[s][0].meeting};
    }
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "meeting",
                     .title = "How latents of a query meet those of a key",
                     .kind = SG_FIGURE_MATRIX,
                     .caption =
                         "G = (W_Q B)'(W_K A): the score is z_q' G z_k. The diagonal is what is asked for; the rest "
                         "is interference. First seed.",
                     .x = {.label = "latent of the key"},
                     .y = {.label = "latent of the query"},
                     .value = {.label = "G"},
                     .n_panels = n,
                     .panels = panels},
        p->err);
}

static sg_status moved(qk_parts *p)
{
    double x[2][QK_SETTINGS * QK_SEEDS], y[2][QK_SETTINGS * QK_SEEDS];
    int n = 0;
    for (int s = 0; s < p->n_settings; s++)
        for (int i = 0; i < QK_SEEDS; i++, n++) {
            x[0][n] = s + 1;
            x[1][n] = s + 1.1;
            y[0][n] = p->cases[s][i].number[QK_MOVED][0];
            y[1][n] = p->cases[s][i].number[QK_MOVED_RANDOM][0];
        }
    const sg_series series[] = {{"both subspaces", n, x[0], y[0]}, {"random, equal rank", n, x[1], y[1]}};
    const sg_panel panel = {.n_series = 2, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){.id = "moved",
                     .title = "Attention that goes along when two keys exchange their parts",
                     .kind = SG_FIGURE_POINTS,
                     .caption =
                         "1: 3 + 5 latents, 2: 5 + 7, 3: 3 + 5 Gaussian; a point for each seed. A random subspace of "
                         "12 of 16 dimensions holds much of anything.",
                     .x = {.label = "setting", .low = .5, .high = 3.5},
                     .y = {.label = "share moved"},
                     .n_panels = 1,
                     .panels = &panel},
        p->err);
}

sg_status qk_figures(qk_parts *p)
{
    SG_TRY(spectra(p));
    SG_TRY(meetings(p));
    return moved(p);
}

/* ---- heads of fewer dimensions than latents ---- */

sg_status qk_sweep(qk_parts *p, const qk_setting sweep[QK_SWEEP])
{
    enum { N = QK_SWEEP * QK_SEEDS };
    static const qk_number numbers[4] = {QK_ACCURACY, QK_MOVED, QK_MOVED_RANDOM, QK_ANGLE};
    static const char *const names[4] = {"accuracy", "moved in both subspaces", "moved in random ones",
                                         "least angle of z1 and z2, right angles"};
    double x[N], y[4][N];
    sg_series series[4];
    int n = 0;
    for (int s = 0; s < QK_SWEEP; s++)
        for (int i = 0; i < QK_SEEDS; i++, n++) {
            qk_case c = {.meeting = NULL};
            const sg_status status = measure(p, &c, &sweep[s], p->seeds[i]);
            x[n] = (double)sweep[s].width;
            for (int k = 0; k < 4; k++)
                y[k][n] = numbers[k] == QK_ANGLE ? c.number[QK_ANGLE][0] / 90 : c.number[numbers[k]][0];
            free_case(&c);
            SG_TRY(status);
        }
    for (int k = 0; k < 4; k++)
        series[k] = (sg_series){names[k], N, x, y[k]};
    const sg_panel panel = {.n_series = 4, .series = series};
    return sg_report_add_figure(
        p->report,
        &(sg_figure){
            .id = "superposition",
            .title = "Eight latents in a head of fewer dimensions",
            .kind = SG_FIGURE_POINTS,
            .caption =
                "3 + 5 latents, so that below 8 dimensions the two subspaces cannot be apart. A point for each seed.",
            .x = {.label = "d_head"},
            .y = {.label = "share", .low = 0, .high = 1.05},
            .n_panels = 1,
            .panels = &panel},
        p->err);
}
