/* The graph's own fields, for the files of this folder. */
#ifndef SG_GRAPH_INTERNAL_H
#define SG_GRAPH_INTERNAL_H

#include "graph/op.h"

#define SG_MAX_SYMBOLS 8

/* coef * product of symbol_i ^ power[i] */
typedef struct sg_term {
    int64_t coef;
    uint8_t power[SG_MAX_SYMBOLS];
} sg_term;

/* A sum of terms with different powers, sorted by power, no coef 0: equal polynomials are equal bytes. */
typedef struct sg_poly {
    int n;
    const sg_term *terms;
} sg_poly;

struct sg_graph {
    sg_arena *arena;
    sg_error failure; /* status SG_OK while all is well */
    sg_value dummy;   /* what builders return after a failure */

    sg_value **nodes; /* by id */
    int n_nodes, nodes_capacity;

    sg_value **named; /* in order of naming */
    int n_named, named_capacity;
    sg_map *names; /* name -> index into named */

    sg_value **slots; /* variables */
    int n_slots, slots_capacity;

    const char *symbols[SG_MAX_SYMBOLS];
    int n_symbols;
    sg_poly *polys; /* polys[k] is the extent -k-1 */
    int n_polys, polys_capacity;

    const char *scope;
};

/* Grows a malloc'd array of n elements so that one more fits; false when memory is out. */
bool sg_graph_grow(void **array, int n, int *capacity, size_t size);

#endif
