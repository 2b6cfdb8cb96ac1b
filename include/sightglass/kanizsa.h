/* Figures whose parts are aligned or not (Kanizsa 1955): a whole figure, only pieces of it along its lines, and the
 * same pieces turned away from each other, with as much ink.
 *
 *     sg_kanizsa k = sg_kanizsa_defaults(32);
 *     double turns[SG_KANIZSA_MOST];
 *     sg_kanizsa_draw(pixels, &k, SG_KANIZSA_WHOLE, NULL);            // a triangle
 *     sg_kanizsa_draw(pixels, &k, SG_KANIZSA_PIECES, NULL);           // its corners
 *     sg_kanizsa_turns(turns, &k, (sg_origin){.seed = 1});
 *     sg_kanizsa_draw(pixels, &k, SG_KANIZSA_PIECES, turns);          // the corners turned
 *
 * The open figure has no inside: three parallel lines, whose pieces are their halves. What is found for triangles and
 * not for it belongs to closing, not to going on straight. The world `kanizsa` draws configurations at random. */
#ifndef SIGHTGLASS_KANIZSA_H
#define SIGHTGLASS_KANIZSA_H

#include "sightglass/world.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_kanizsa_figure { SG_KANIZSA_TRIANGLE, SG_KANIZSA_OPEN } sg_kanizsa_figure;
typedef enum sg_kanizsa_part { SG_KANIZSA_WHOLE, SG_KANIZSA_PIECES } sg_kanizsa_part;

/* Lengths in pixels, angles in radians, greys from 0 to 1. */
typedef struct sg_kanizsa {
    sg_kanizsa_figure figure;
    int size;          /* of the square image */
    double edge, gap;  /* length of a line, and the share of it that pieces leave out */
    double x, y, turn; /* middle of the figure, from the top left; clockwise */
    double width;      /* of lines */
    double ink, paper;
    int quarters; /* the whole image is then turned by so many quarters, clockwise: pixels change places, exactly */
} sg_kanizsa;
sg_kanizsa sg_kanizsa_defaults(int size);

/* A configuration at random, as the world draws it: edge .55 to .8 of the size, width .05 to .075, gap .2 to .8 (or as
 * given, if above 0), any place within the image, any turn, ink and paper at least .3 apart. */
sg_kanizsa sg_kanizsa_random(sg_kanizsa_figure figure, int size, double gap, sg_origin from);

#define SG_KANIZSA_MOST 6
/* How many pieces there are: 3 corners, or 6 halves of lines. */
int sg_kanizsa_n_pieces(const sg_kanizsa *k);
/* The middle of piece i in pixels, about which it is turned: the mean of its points. */
void sg_kanizsa_centre(double centre[2], const sg_kanizsa *k, int i);

/* pixels [size,size], supersampled by 4 along each side. turns: an angle for each piece; NULL: none is turned. Pieces
 * that are turned are given the ink of those that are not, to rounding, by making their grey up to 1 % stronger or
 * weaker. */
void sg_kanizsa_draw(float *pixels, const sg_kanizsa *k, sg_kanizsa_part part, const double *turns);
/* Share of each pixel that is ink, added up. */
double sg_kanizsa_ink(const sg_kanizsa *k, sg_kanizsa_part part, const double *turns);
/* Angles of at least 45 degrees either way (lines: up to 135), drawn until the ink differs by less than half a per
 * cent. */
void sg_kanizsa_turns(double *turns, const sg_kanizsa *k, sg_origin from);

#ifdef __cplusplus
}
#endif
#endif
