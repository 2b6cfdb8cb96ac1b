/* What is known exactly of spheres: see spheres.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/linalg.h"
#include "sightglass/spheres.h"
#include "sightglass/statistics.h"

static const double pi = 3.14159265358979323846;

/* ---- quadrics ---- */

static sg_status fill(sg_quadric *q, const sg_tensor *w1, double w, double b, sg_error *err)
{
    const sg_dim d = q->d;
    const float *row = w1->data;
    sg_eigen *e;
    double *gram = calloc((size_t)(d * d), sizeof *gram);
    q->alpha = malloc((size_t)d * sizeof *q->alpha);
    q->vectors = malloc((size_t)(d * d) * sizeof *q->vectors);
    if (!gram || !q->alpha || !q->vectors) {
        free(gram);
        return sg_fail(err, SG_ENOMEM, "quadric: out of memory for %lld dimensions", (long long)d);
    }
    for (sg_dim j = 0; j < w1->dims[0]; j++, row += d)
        for (sg_dim i = 0; i < d; i++)
            for (sg_dim k = 0; k < d; k++)
                gram[i * d + k] += (double)row[i] * (double)row[k];
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){d, d}, gram);
    const sg_status status = sg_eigen_new(&e, &t, err);
    free(gram);
    SG_TRY(status);
    for (sg_dim i = 0; i < d; i++) { /* alpha rises: where w is below 0 the order turns round */
        const sg_dim from = w >= 0 ? i : d - 1 - i;
        q->alpha[i] = -w / b * ((const double *)e->values.data)[from];
        memcpy(q->vectors + i * d, (const double *)e->vectors.data + from * d, (size_t)d * sizeof(double));
    }
    sg_eigen_free(e);
    return SG_OK;
}

sg_status sg_quadric_new(sg_quadric **out, const sg_tensor *w1, double w, double b, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = NULL;
    if (w1->dtype != SG_F32 || w1->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "quadric: w1 is %s %s, wanted f32 [h,d]", sg_dtype_name(w1->dtype),
                       sg_shape_text(shape, w1->n_dims, w1->dims));
    if (!(b < 0) || !isfinite(w))
        return sg_fail(err, SG_EARG, "quadric: w is %g, b %g; wanted b below 0, else the origin is called outer", w, b);
    sg_quadric *q = calloc(1, sizeof *q);
    if (!q)
        return sg_fail(err, SG_ENOMEM, "quadric: out of memory");
    q->d = w1->dims[1];
    const sg_status status = fill(q, w1, w, b, err);
    if (status != SG_OK) {
        sg_quadric_free(q);
        return status;
    }
    *out = q;
    return SG_OK;
}

void sg_quadric_free(sg_quadric *q)
{
    if (!q)
        return;
    free(q->alpha);
    free(q->vectors);
    free(q);
}

static double along(const sg_quadric *q, sg_dim i, const float *x)
{
    double sum = 0;
    for (sg_dim k = 0; k < q->d; k++)
        sum += q->vectors[i * q->d + k] * (double)x[k];
    return sum;
}

double sg_quadric_value(const sg_quadric *q, const float *x)
{
    double sum = 0;
    for (sg_dim i = 0; i < q->d; i++) {
        const double z = along(q, i, x);
        sum += q->alpha[i] * z * z;
    }
    return sum;
}

double sg_quadric_error(const sg_quadric *q, double radius, bool is_outer)
{
    const double d = (double)q->d, r2 = radius * radius;
    double mean = 0, square = 0;
    for (sg_dim i = 0; i < q->d; i++)
        mean += q->alpha[i] / d;
    for (sg_dim i = 0; i < q->d; i++)
        square += (q->alpha[i] - mean) * (q->alpha[i] - mean) / d;
    const double deviation = sqrt(2 * square / (d + 2));
    /* No errors at all where every alpha is on the right side, which the normal distribution does not know. */
    if (is_outer ? q->alpha[0] * r2 >= 1 : q->alpha[q->d - 1] * r2 <= 1)
        return 0;
    return is_outer ? sg_normal_cdf((1 / r2 - mean) / deviation) : sg_normal_cdf((mean - 1 / r2) / deviation);
}

/* How the error's condition stands at t: below 0 where x still is right. */
static double stands(const sg_quadric *q, const double *z, double r2, double sign, double t)
{
    double sum = 0;
    for (sg_dim i = 0; i < q->d; i++) {
        const double beta = sign * (q->alpha[i] * r2 - 1), x = z[i] / (1 - t * beta);
        sum += beta * x * x;
    }
    return sum;
}

double sg_quadric_nearest(const sg_quadric *q, const float *x, bool is_outer, float *nearest)
{
    const double sign = is_outer ? -1 : 1;
    double r2 = 0, *z = malloc((size_t)q->d * sizeof *z), most = -(double)INFINITY, length = 0, distance = 0;
    if (!z)
        return (double)NAN;
    for (sg_dim i = 0; i < q->d; i++) {
        z[i] = along(q, i, x);
        r2 += z[i] * z[i];
    }
    for (sg_dim i = 0; i < q->d; i++)
        most = fmax(most, sign * (q->alpha[i] * r2 - 1));
    double low = 0, high = 1 / most;
    if (stands(q, z, r2, sign, 0) >= 0) {
        high = 0; /* it is an error itself */
    } else if (!(most > 0)) {
        free(z);
        return (double)INFINITY;
    }
    for (int k = 0; k < 200 && high > 0; k++) {
        const double t = (low + high) / 2;
        *(stands(q, z, r2, sign, t) < 0 ? &low : &high) = t;
    }
    for (sg_dim i = 0; i < q->d; i++) {
        const double y = z[i] / (1 - low * sign * (q->alpha[i] * r2 - 1));
        length += y * y;
    }
    for (sg_dim i = 0; i < q->d; i++) {
        const double y = z[i] / (1 - low * sign * (q->alpha[i] * r2 - 1)) * sqrt(r2 / length);
        distance += (y - z[i]) * (y - z[i]);
        z[i] = y;
    }
    for (sg_dim k = 0; nearest && k < q->d; k++) {
        double sum = 0;
        for (sg_dim i = 0; i < q->d; i++)
            sum += z[i] * q->vectors[i * q->d + k];
        nearest[k] = (float)sum;
    }
    free(z);
    return sqrt(distance);
}

/* ---- caps ---- */

double sg_cap_measure(sg_dim d, double angle)
{
    const double s = sg_math_sin(angle), half = .5 * sg_beta_inc((double)(d - 1) / 2, .5, s * s);
    return angle <= pi / 2 ? half : 1 - half;
}

double sg_cap_angle(sg_dim d, double measure)
{
    double low = 0, high = pi;
    for (int k = 0; k < 100; k++) {
        const double angle = (low + high) / 2;
        *(sg_cap_measure(d, angle) < measure ? &low : &high) = angle;
    }
    return (low + high) / 2;
}

/* By parts: the mean of 2 sin((angle - edge) / 2) over points outside is the integral of its slope, cos((angle - edge)
 * / 2), times the share of the sphere beyond each angle; Simpson's rule. */
double sg_cap_distance(sg_dim d, double measure)
{
    enum { PARTS = 512 };
    const double edge = sg_cap_angle(d, measure), width = (pi - edge) / PARTS;
    double sum = 0;
    for (int k = 0; k <= PARTS; k++) {
        const double angle = edge + k * width, weight = k == 0 || k == PARTS ? 1 : k % 2 ? 4 : 2;
        sum += weight * sg_math_cos((angle - edge) / 2) * (1 - sg_cap_measure(d, angle));
    }
    return sum * width / 3;
}

double sg_cap_limit(sg_dim d, double measure)
{
    return -sg_normal_quantile(measure) / sqrt((double)d);
}
