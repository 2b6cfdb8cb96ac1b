/* Spheres: which of two concentric spheres is a point on? (Gilmer et al., "Adversarial Spheres", 2018).
 *
 *     sg_spheres s = sg_spheres_defaults(); // d = 100, radii 1 and 1.3
 *     SG_TRY(sg_spheres_sample(&x, label, &s, (sg_origin){.seed = 1}, err)); // x [count,d], label [count]
 *     sg_quadric *q; // of the net  w sum_j ((W1 x)_j)^2 + b
 *     SG_TRY(sg_quadric_new(&q, &w1, w, b, err));
 *     printf("errs on %g of the inner sphere, no further away than %g\n", sg_quadric_error(q, 1, false),
 *            sg_cap_distance(s.d, sg_quadric_error(q, 1, false)));
 *
 * The world of the paper, of which everything is known: how often a net with a quadratic boundary errs, where its
 * nearest error is, and how far away the errors of any net can be that errs as often. */
#ifndef SIGHTGLASS_SPHERES_H
#define SIGHTGLASS_SPHERES_H

#include "sightglass/ops.h"
#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_spheres {
    sg_dim d;     /* 100 */
    double outer; /* 1.3; radius of the outer sphere, the inner one's is 1 */
    sg_dim train; /* 0: every point is new. Else one of so many, of which the even ones are inner */
} sg_spheres;
sg_spheres sg_spheres_defaults(void);
sg_status sg_spheres_check(const sg_spheres *s, sg_error *err) SG_MUST_CHECK;

/* x [count,d] f32, uniform on each sphere; label [count]: 0 inner, 1 outer, with equal probability; may be NULL. */
sg_status sg_spheres_sample(sg_tensor *x, int32_t *label, const sg_spheres *s, sg_origin from,
                            sg_error *err) SG_MUST_CHECK;
/* The points that `train` speaks of: x [train,d]. */
sg_status sg_spheres_points(sg_tensor *x, const sg_spheres *s, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* x [count,d], all on one sphere. */
sg_status sg_spheres_on(sg_tensor *x, double radius, sg_origin from, sg_error *err) SG_MUST_CHECK;

/* The same in a training graph: x [n_instances,batch,d], and *outer [n_instances,batch] f32, 1 on the outer sphere.
 * points [n_instances,train,d] f32, or NULL: every point is new. Instance k draws from stream + k. */
sg_value *sg_spheres_value(sg_graph *g, const sg_spheres *s, sg_dim n_instances, sg_dim batch, const sg_tensor *points,
                           sg_random from, sg_value *step, sg_value **outer);

/* ---- a net with a quadratic boundary ---- */

/* A net says outer where sum_i alpha_i (v_i . x)^2 > 1. It errs nowhere if and only if 1 / outer^2 <= alpha_i <= 1 for
 * all i. */
typedef struct sg_quadric {
    sg_dim d;
    double *alpha;   /* [d], rising */
    double *vectors; /* [d,d], row i belongs to alpha[i] */
} sg_quadric;

/* Of w sum_j ((W1 x)_j)^2 + b, w1 [h,d]: alpha = -w lambda / b, lambda and v the eigenvalues and eigenvectors of W1'
 * W1. SG_EARG: b is not below 0, so the net says outer at the origin. */
sg_status sg_quadric_new(sg_quadric **out, const sg_tensor *w1, double w, double b, sg_error *err) SG_MUST_CHECK;
void sg_quadric_free(sg_quadric *q); /* NULL is fine */

double sg_quadric_value(const sg_quadric *q, const float *x); /* 1 on the boundary */
/* Share of a sphere on the wrong side, by the normal distribution: on the unit sphere sum alpha z^2 has the mean of the
 * alphas and variance 2 Var(alpha) / (d + 2). is_outer: the sphere is the outer one. */
double sg_quadric_error(const sg_quadric *q, double radius, bool is_outer);
/* Distance (a chord) from x to the nearest error on its sphere; 0 if x is one, infinite where there is none. nearest
 * [d], or NULL. With z = V x and beta = alpha r^2 - 1 (outer: 1 - alpha r^2) the nearest one is along z_i / (1 - t
 * beta_i), where t in (0, 1 / max beta) makes sum beta z^2 / (1 - t beta)^2 zero: a rising function of t, so bisection
 * finds it. */
double sg_quadric_nearest(const sg_quadric *q, const float *x, bool is_outer, float *nearest);

/* ---- how far errors can be: caps (theorem 5.1) ---- */

/* Share of the sphere in d dimensions within an angle of a point: I_{sin^2}((d - 1) / 2, 1/2) / 2 up to a right angle.
 */
double sg_cap_measure(sg_dim d, double angle);
double sg_cap_angle(sg_dim d, double measure); /* the reverse; 0 <= measure <= 1 */
/* Mean distance (chord, unit sphere) from a point of the sphere to a cap of that measure. No set of that measure is
 * further away on average, since caps have the least neighbourhoods (Levy). */
double sg_cap_distance(sg_dim d, double measure);
/* What that comes to in high dimension: -Phi^-1(measure) / sqrt(d). */
double sg_cap_limit(sg_dim d, double measure);

#ifdef __cplusplus
}
#endif
#endif
