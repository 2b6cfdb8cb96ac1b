/* Networks with captions, their concepts and what the TCAV study measures of them. */
#ifndef SG_STUDIES_TCAV_PARTS_H
#define SG_STUDIES_TCAV_PARTS_H

#include "shape_nets.h"
#include "sightglass/tcav.h"

enum { TCAV_SEEDS = 3, TCAV_NETS = 3, CONCEPTS = 2 };
enum { CAPTION, IMAGE };

extern const char *const tcav_wrong[TCAV_NETS]; /* "0", "0.3", "1": probability that a caption says nothing */

typedef struct tcav_net {
    double accuracy;                       /* on images without captions: how much the image is used */
    double score[CONCEPTS][SHAPE_CLASSES]; /* at the site, of each class */
    bool significant[CONCEPTS][SHAPE_CLASSES];
    double random;                   /* mean score of random against random */
    double cav_accuracy[CONCEPTS];   /* mean held-out accuracy of the CAVs */
    double in_caption, caption_area; /* share of smooth maps that lies in the caption, and of the image */
    sg_dim rows_for_tests;           /* that the network ran for all tests, and would have without repeats */
    sg_dim rows_once;
} tcav_net;

typedef struct tcav_seed {
    uint64_t seed;
    tcav_net nets[TCAV_NETS];
    double false_fresh,
        false_shared; /* share of random concepts that pass: sets of their own each repeat; one set for all */
    double untrained_mean, untrained_spread; /* caption's scores at the pixels of networks with fresh weights */
} tcav_seed;

typedef struct tcav_study {
    const sg_study_opts *opts;
    sg_report *report;
    sg_error *err;
    int n_repeats, set_size, n_class, n_random_tests, n_fresh;
    const char *site;
    tcav_seed seeds[TCAV_SEEDS];
} tcav_study;

sg_status tcav_measure(tcav_study *s, int i) SG_MUST_CHECK;
sg_status tcav_figures(const tcav_study *s) SG_MUST_CHECK;

#endif
