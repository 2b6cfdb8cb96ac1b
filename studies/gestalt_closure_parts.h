/* The networks of the study of closure, what was measured of each, and pictures of it. */
#ifndef SG_STUDIES_GESTALT_CLOSURE_PARTS_H
#define SG_STUDIES_GESTALT_CLOSURE_PARTS_H

#include "sightglass/convnet.h"
#include "sightglass/simindex.h"
#include "study.h"

enum { CLOSURE_SEEDS = 3, CLOSURE_LAYERS = 4, CLOSURE_GAPS = 7 };
/* What a network was shown; OTHER has fresh weights too, of another seed. */
enum { SHAPES, LABELS, TEXTURES, FRESH, OTHER, CLOSURE_KINDS };

typedef struct closure_study {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    int n_seeds;
    uint64_t seeds[CLOSURE_SEEDS];
    sg_simindex *found[CLOSURE_KINDS][CLOSURE_SEEDS]; /* of triangles, layer by layer */
    sg_simindex *open[CLOSURE_KINDS][CLOSURE_SEEDS];  /* of three lines; SHAPES and FRESH alone */
    sg_simindex *front[CLOSURE_SEEDS];                /* pixels, Gabor energy */
} closure_study;

/* Everything about the small networks: trained here (full), or those that ship. */
sg_status closure_measure(closure_study *s) SG_MUST_CHECK;
void closure_free(closure_study *s);

/* Index of a layer of found, centred or not; pixels for layer -1. */
const sg_simindex_value *closure_value(const closure_study *s, int kind, int seed, int layer, bool centred);
/* Its mean over figures with gap .2 + .1 g. */
double closure_at_gap(const sg_simindex_value *v, int g);
/* Lower end of the interval of a - b. */
sg_status closure_lower(const closure_study *s, double *out, const sg_simindex_value *a,
                        const sg_simindex_value *b) SG_MUST_CHECK;
/* Lower end of the 95 % interval of a - b over the seeds of networks: b [3]; a [3], paired with b, or one alone, for
 * which it is that of where a further one of b's kind would lie. */
double closure_over(int n_a, const double *a, const double *b);
/* Spearman's rank correlation of index and depth, over figures first, first + step ... */
sg_status closure_rise(const closure_study *s, double *out, const sg_simindex *x, bool centred, int first,
                       int step) SG_MUST_CHECK;
sg_status closure_claim(const closure_study *s, const char *id, const char *text, const char *source,
                        sg_measure measured, sg_control control) SG_MUST_CHECK;
void closure_tell(const closure_study *s, const char *part, double done);

/* The question put to a network that others trained on photographs: "mobilenet", "resnet_cifar10". Said aloud in
 * `setup` where it is not there. */
sg_status closure_replicate(closure_study *s, const char *name, const char *path, char *setup,
                            size_t n_setup) SG_MUST_CHECK;

sg_status closure_figures(const closure_study *s) SG_MUST_CHECK;
sg_status closure_depth_figure(const closure_study *s, const char *id, const char *title, const sg_simindex *trained,
                               const sg_simindex *fresh, const sg_simindex *front) SG_MUST_CHECK;

#endif
