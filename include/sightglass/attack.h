/* Attacks: a value moved, within what is allowed, until the network errs.
 *
 *     sg_attack_session ask = {.session = s, .x = x, .gradient = sg_grad(g, loss, x), .wrong = wrong};
 *     sg_attack_opts opts = sg_attack_defaults();
 *     opts.region = sg_attack_sphere(); // stays on the sphere through each start
 *     sg_attack *a;
 *     SG_TRY(sg_attack_run(&a, sg_attack_ask_session(&ask), &starts, opts, err)); // starts [N,...] f32
 *     printf("%d of %d, the first at a distance of %g\n", (int)a->n_found, (int)a->n, a->distance[0]);
 *     sg_attack_free(a);
 *
 * Any value that a run can feed may be moved: pixels, points, embeddings, a residual stream. Each row climbs its own
 * loss by steps of one length and is put back into the region after each (projected gradient ascent; Madry et al.
 * 2018). Rows that err then come back along the way from their start, as near as they still err: by bisection, and by
 * going out again in the direction of the gradient there, which is the way to the nearest error where the boundary is
 * smooth. */
#ifndef SIGHTGLASS_ATTACK_H
#define SIGHTGLASS_ATTACK_H

#include <signal.h>

#include "sightglass/rng.h"
#include "sightglass/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is asked ---- */

/* Who answers for the network, of all N rows at once. */
typedef struct sg_attack_asked {
    /* x [N,...]. *wrong: [N] bool, whether a row errs. *gradient: of each row's loss by itself, of x's shape; NULL: it
     * is not wanted. Both borrowed until the next call. */
    sg_status (*ask)(void *self, const sg_tensor *x, const float **gradient, const uint8_t **wrong, sg_error *err);
    void *self;
} sg_attack_asked;

/* A session of a graph, in which x [N,...] f32 is fed, beside what is always fed. */
typedef struct sg_attack_session {
    sg_session *session;
    sg_value *x;
    sg_value *gradient; /* [N,...]: of the summed losses by x, which is each row's own where rows do not mix */
    sg_value *wrong;    /* [N] bool */
    int n_feeds;        /* 0, at most SG_ATTACK_FEEDS */
    const sg_feed *feeds;
} sg_attack_session;
enum { SG_ATTACK_FEEDS = 15 };
sg_attack_asked sg_attack_ask_session(sg_attack_session *s); /* borrowed as long as it is asked */

/* ---- where x may go ---- */

/* Functions of one row of n numbers and the row that it started from. */
typedef struct sg_attack_region {
    /* Turns the gradient at x into a step of length 1, in place; all 0 where there is none. */
    void (*direct)(const void *self, float *gradient, const float *x, sg_dim n);
    /* Puts x back to what is allowed. */
    void (*project)(const void *self, float *x, const float *start, sg_dim n);
    /* x: what lies a share t of the way from `from` to `to`. NULL: on the straight line. */
    void (*between)(const void *self, float *x, const float *from, const float *to, double t, sg_dim n);
    /* x: somewhere in the region, for another try. NULL: there are no other tries. */
    void (*scatter)(const void *self, float *x, const float *start, sg_dim n, sg_rng *r);
    const void *self; /* what all of them are given; borrowed */
} sg_attack_region;

/* The sphere through each start, about 0: gradients are projected onto the tangent space first, ways are arcs. */
sg_attack_region sg_attack_sphere(void);

/* Up to `radius` from the start, every number within low..high. */
typedef struct sg_attack_ball {
    double radius, low, high;
} sg_attack_ball;
/* In the largest change of any number: steps are signs. */
sg_attack_region sg_attack_linf(const sg_attack_ball *ball);
/* In Euclidean length. */
sg_attack_region sg_attack_l2(const sg_attack_ball *ball);

/* ---- running ---- */

typedef struct sg_attack_opts {
    sg_attack_region region; /* to be given */
    double step;             /* .01; length of a step, in the region's own norm */
    int n_steps;             /* 500; at most */
    int n_restarts;          /* 0; for rows without an error, each from elsewhere in the region */
    int n_bisect;            /* 20; halvings of the way back; 0: the first error is kept */
    int n_refine;            /* 0; times that a row goes out again along the gradient of where it erred, and back */
    uint64_t seed;           /* 0; of restarts */
    void (*progress)(void *context, double done); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED */
} sg_attack_opts;
sg_attack_opts sg_attack_defaults(void);

typedef struct sg_attack {
    sg_dim n, n_found, width; /* rows; those with an error; numbers of a row */
    float *x;                 /* [n,width] the nearest error that was found; where there is none, where the row ended */
    bool *found;              /* [n] */
    double *distance,
        *most;  /* [n] from the start: Euclidean, and the largest change of a number; NaN where none is found */
    int *steps; /* [n] up to the first error; 0: it erred where it started */
} sg_attack;

/* starts [N,...] f32, each in its region. SG_EARG: options out of range; SG_ENUMERIC: a gradient that is not finite;
 * or what asking fails with. */
sg_status sg_attack_run(sg_attack **out, sg_attack_asked asked, const sg_tensor *starts, sg_attack_opts opts,
                        sg_error *err) SG_MUST_CHECK;
void sg_attack_free(sg_attack *a); /* NULL is fine */

/* The control: which rows err after one change of a random direction, as long as length[i] in the region's norm. x
 * [N,...] is changed in place; *n_wrong of them err. */
sg_status sg_attack_random(sg_dim *n_wrong, sg_attack_asked asked, const sg_tensor *x, const double *length,
                           sg_attack_region region, uint64_t seed, sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
