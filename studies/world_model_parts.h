/* The cases of the world-model study, their numbers, and pictures of these. */
#ifndef SG_STUDIES_WORLD_MODEL_PARTS_H
#define SG_STUDIES_WORLD_MODEL_PARTS_H

#include "othello_parts.h"
#include "sightglass/worldmodel.h"

enum { CRITERIA_SEEDS = 3, CRITERIA_CASES = 4 };
enum { FILLED, EMPTY, LEGAL, UNTRAINED };

typedef struct criteria_of {
    const char *part, *state;
} criteria_of;
const criteria_of *criteria_case(int which);

/* The numbers of a check, and differences of them. */
enum {
    ACTIVATION,
    INPUT,
    FRESH,
    OUTPUT,
    SHUFFLED,
    EFFECT,
    RANDOM,
    MARGIN, /* activation less the best of input, untrained and output */
    OVER_INPUT,
    OVER_FRESH,
    OVER_OUTPUT,
    EFFECT_LOW,
    RANDOM_LOW,
    CRITERIA_NUMBERS
};
double criteria_number(const sg_worldmodel *f, int which);

/* found: [cases,seeds]. Numbers first..first+n of each, as points. */
sg_status criteria_figure(const othello_parts *o, const sg_worldmodel *found, const char *id, const char *title,
                          const char *caption, const char *what, int first, int n) SG_MUST_CHECK;

#endif
