/* Baselines: the same kind of thing without training. Each reads all rows, or as many as SAMPLE. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/dictionary_internal.h"
#include "sightglass/kmeans.h"
#include "sightglass/linalg.h"

enum { SAMPLE = 131072, ALTERNATIONS = 60, INNER = 8, STREAM = 0x6e6d66 };

typedef struct closed {
    const sg_dict_data *data;
    const sg_dict_opts *opts;
    sg_dict *d;
    float *rows; /* [N,D], less the mean where it is taken off */
    sg_dim n;
    float *mean;
} closed;

static sg_status cancelled(const closed *c, sg_error *err)
{
    return c->opts->cancel && *c->opts->cancel ? sg_fail(err, SG_ECANCELLED, "dictionary: cancelled") : SG_OK;
}

static void tell(const closed *c, double done)
{
    if (c->opts->progress)
        c->opts->progress(c->opts->context, done, (double)NAN, (double)NAN);
}

static sg_tensor matrix(float *x, sg_dim n, sg_dim m)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){n, m}, x);
}

static sg_status as_dict(closed *c, const float *atoms, sg_error *err)
{
    const sg_tensor dec = matrix((float *)(uintptr_t)atoms, c->opts->width, c->data->width),
                    b = sg_tensor_of(SG_F32, 1, &c->data->width, c->mean);

    SG_TRY(sg_dict_of(&c->d, c->opts->kind, c->opts->k, &dec, NULL, NULL, &b, err));
    return dict_note(c->d, c->data->site, c->data->model, err);
}

static sg_status fit_kmeans(closed *c, sg_error *err)
{
    const sg_tensor x = matrix(c->rows, c->n, c->data->width);
    sg_kmeans_opts how = sg_kmeans_defaults();
    sg_kmeans *fit;

    how.k = c->opts->width;
    how.seed = c->opts->seed;
    how.cancel = c->opts->cancel;
    SG_TRY(sg_kmeans_fit(&fit, &x, how, err));
    const sg_status status = as_dict(c, fit->centroids.data, err);
    sg_kmeans_free(fit);
    return status;
}

static sg_status fit_pca(closed *c, sg_error *err)
{
    const sg_dim width = c->data->width, m = c->opts->width;
    const sg_tensor x = matrix(c->rows, c->n, width);
    sg_eigen *e;

    if (m > width)
        return sg_fail(err, SG_EARG, "dictionary: %" PRId64 " principal components of %" PRId64 " numbers", m, width);
    sg_tensor cov = matrix(malloc((size_t)(width * width) * sizeof(float)), width, width);
    float *atoms = malloc((size_t)(m * width) * sizeof *atoms);
    sg_status status = cov.data && atoms ? sg_product(&cov, &x, true, &x, false, 1 / (double)c->n, 0, err)
                                         : sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
    if (status == SG_OK)
        status = sg_eigen_new(&e, &cov, err);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < m; i++) /* the greatest come last */
            memcpy(atoms + i * width, (const float *)e->vectors.data + (width - 1 - i) * width,
                   (size_t)width * sizeof *atoms);
        sg_eigen_free(e);
        status = as_dict(c, atoms, err);
    }
    free(cov.data);
    free(atoms);
    return status;
}

/* z <- z - (z gram - cross) / L some times, kept from falling below 0 where that is asked; z [N,M], gram [M,M], cross
 * [N,M]. */
static sg_status descend(sg_tensor *z, const sg_tensor *gram, const sg_tensor *cross, sg_tensor *room, bool above,
                         sg_error *err)
{
    const sg_dim m = gram->dims[0], n = sg_tensor_count(z);
    float *at = z->data;
    double most = 1e-12;

    for (sg_dim i = 0; i < m; i++) {
        double sum = 0;
        for (sg_dim j = 0; j < m; j++)
            sum += fabs((double)((const float *)gram->data)[i * m + j]);
        most = fmax(most, sum);
    }
    for (int step = 0; step < INNER; step++) {
        SG_TRY(sg_product(room, z, false, gram, false, 1, 0, err));
        const float *slope = room->data, *want = cross->data;
        for (sg_dim i = 0; i < n; i++) {
            at[i] -= (float)(((double)slope[i] - (double)want[i]) / most);
            if (above && at[i] < 0)
                at[i] = 0;
        }
    }
    return SG_OK;
}

/* Alternating projected gradient (Lin 2007): |X - Z D|^2 with Z >= 0, and D >= 0 where X is (NMF; else semi-NMF, Ding
 * et al. 2010). After each turn atoms get length 1, so that neither side can grow. */
static sg_status alternate(closed *c, float *z, float *atoms, float *room, float *gram, float *cross, bool above,
                           sg_error *err)
{
    const sg_dim n = c->n, width = c->data->width, m = c->opts->width;
    const sg_tensor x = matrix(c->rows, n, width);
    sg_tensor codes = matrix(z, n, m), dec = matrix(atoms, m, width), g = matrix(gram, m, m),
              slope = matrix(room, n, m), wanted = matrix(cross, n, m);

    for (int turn = 0; turn < ALTERNATIONS; turn++) {
        SG_TRY(cancelled(c, err));
        SG_TRY(sg_product(&g, &dec, false, &dec, true, 1, 0, err));
        SG_TRY(sg_product(&wanted, &x, false, &dec, true, 1, 0, err));
        SG_TRY(descend(&codes, &g, &wanted, &slope, true, err));
        SG_TRY(sg_product(&g, &codes, true, &codes, false, 1, 0, err));
        sg_tensor to = matrix(cross, m, width), turned = matrix(room, m, width);
        SG_TRY(sg_product(&to, &codes, true, &x, false, 1, 0, err));
        /* the same descent from the other side: gram is symmetric, so rows of D take z's place turned */
        float *at = atoms;
        double most = 1e-12;
        for (sg_dim i = 0; i < m; i++) {
            double sum = 0;
            for (sg_dim j = 0; j < m; j++)
                sum += fabs((double)gram[i * m + j]);
            most = fmax(most, sum);
        }
        for (int step = 0; step < INNER; step++) {
            SG_TRY(sg_product(&turned, &g, false, &dec, false, 1, 0, err));
            for (sg_dim i = 0; i < m * width; i++) {
                at[i] -= (float)(((double)room[i] - (double)cross[i]) / most);
                if (above && at[i] < 0)
                    at[i] = 0;
            }
        }
        for (sg_dim i = 0; i < m; i++) {
            const double length = dict_length(atoms + i * width, width);
            for (sg_dim d = 0; d < width && length > 0; d++)
                atoms[i * width + d] = (float)((double)atoms[i * width + d] / length);
            for (sg_dim r = 0; r < n; r++)
                z[r * m + i] *= (float)length;
        }
        tell(c, (double)(turn + 1) / ALTERNATIONS);
    }
    return SG_OK;
}

static sg_status fit_nmf(closed *c, sg_error *err)
{
    const sg_dim n = c->n, width = c->data->width, m = c->opts->width;
    const size_t tall = (size_t)(SG_MAX(n, width) * m);
    bool above = true;

    for (sg_dim i = 0; i < n * width; i++)
        above &= c->rows[i] >= 0;
    float *z = calloc(tall, sizeof *z), *room = malloc(tall * sizeof *room), *cross = malloc(tall * sizeof *cross),
          *gram = malloc((size_t)(m * m) * sizeof *gram), *atoms = malloc((size_t)(m * width) * sizeof *atoms);
    sg_status status =
        z && room && cross && gram && atoms ? SG_OK : sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
    if (status == SG_OK) {
        dict_random_rows(atoms, m, width, c->opts->seed, STREAM);
        for (sg_dim i = 0; i < m * width && above; i++)
            atoms[i] = fabsf(atoms[i]);
        status = alternate(c, z, atoms, room, gram, cross, above, err);
    }
    if (status == SG_OK)
        status = as_dict(c, atoms, err);
    free(z);
    free(room);
    free(cross);
    free(gram);
    free(atoms);
    return status;
}

sg_status dict_fit_closed(sg_dict **out, const sg_dict_data *data, const sg_dict_opts *opts, sg_error *err)
{
    closed c = {.data = data, .opts = opts};
    const bool centre = opts->centre && opts->kind != SG_DICT_NMF; /* which would make half of the numbers negative */
    double scale;

    SG_TRY(dict_sample(&c.rows, &c.n, data, data->n_rows == INT64_MAX ? SAMPLE / 8 : SAMPLE, opts->seed, err));
    c.mean = calloc((size_t)data->width, sizeof *c.mean);
    sg_status status = c.mean ? SG_OK : sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
    if (status == SG_OK) {
        dict_standard(c.mean, &scale, c.rows, c.n, data->width, centre);
        for (sg_dim i = 0; i < c.n * data->width; i++)
            c.rows[i] -= c.mean[i % data->width];
        status = cancelled(&c, err);
    }
    if (status == SG_OK)
        status = opts->kind == SG_DICT_KMEANS ? fit_kmeans(&c, err)
                 : opts->kind == SG_DICT_PCA  ? fit_pca(&c, err)
                                              : fit_nmf(&c, err);
    free(c.rows);
    free(c.mean);
    if (status != SG_OK) {
        sg_dict_free(c.d);
        return status;
    }
    tell(&c, 1);
    *out = c.d;
    return SG_OK;
}
