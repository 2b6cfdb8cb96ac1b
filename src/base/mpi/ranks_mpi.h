/* What the library calls of MPI, as a table in a shared object of its own. Loading MPI takes longer than all else that the
 * command does at its start, so only a process that a launcher started loads the object. It calls nothing of ours. */
#ifndef SG_RANKS_MPI_H
#define SG_RANKS_MPI_H

#include <stdbool.h>
#include <stddef.h>

#define SG_RANKS_MPI_FILE   "libsightglass_mpi.so"
#define SG_RANKS_MPI_SYMBOL "sg_ranks_mpi"

typedef struct sg_ranks_mpi_table {
    void *(*open)(int *index, int *count); /* NULL: it will not start, or memory is out */
    void (*close)(void *self);
    void (*sum)(void *self, int n, double *x);
    void (*broadcast)(void *self, int from, void *data, size_t bytes);
    void (*send)(void *self, int to, const void *data, size_t bytes);
    void (*receive)(void *self, int from, void *data, size_t bytes);
    void (*sum_begin)(void *self, size_t n, void *x, bool f64);
    void (*progress)(void *self);
    void (*sums_end)(void *self);
} sg_ranks_mpi_table;

extern const sg_ranks_mpi_table sg_ranks_mpi;

#endif
