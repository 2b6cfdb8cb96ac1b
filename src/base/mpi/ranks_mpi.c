/* The table over MPI. What goes wrong inside MPI ends the job with MPI's own words, which is its default. Counts are
 * ints there, so what is larger goes in parts. */
#include "base/mpi/ranks_mpi.h"

#include <mpi.h>
#include <stdlib.h>

enum { PART = 1 << 28, MOST_SUMS = 1024 };

typedef struct job {
    int n_sums;
    MPI_Request sums[MOST_SUMS]; /* that were begun and not yet waited for */
} job;

static void *open_job(int *index, int *count)
{
    int given;
    job *j = calloc(1, sizeof *j);
    /* The thread that reads batches ahead leaves MPI alone. */
    if (!j || MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS) {
        free(j);
        return NULL;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, index);
    MPI_Comm_size(MPI_COMM_WORLD, count);
    return j;
}

static void close_job(void *self)
{
    MPI_Finalize();
    free(self);
}

static int part(size_t left)
{
    return left < PART ? (int)left : PART;
}

static void sum(void *self, int n, double *x)
{
    (void)self;
    MPI_Allreduce(MPI_IN_PLACE, x, n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

static void broadcast(void *self, int from, void *data, size_t bytes)
{
    (void)self;
    for (size_t at = 0; at < bytes; at += PART)
        MPI_Bcast((char *)data + at, part(bytes - at), MPI_BYTE, from, MPI_COMM_WORLD);
}

static void send(void *self, int to, const void *data, size_t bytes)
{
    (void)self;
    for (size_t at = 0; at < bytes; at += PART)
        MPI_Send((const char *)data + at, part(bytes - at), MPI_BYTE, to, 0, MPI_COMM_WORLD);
}

static void receive(void *self, int from, void *data, size_t bytes)
{
    (void)self;
    for (size_t at = 0; at < bytes; at += PART)
        MPI_Recv((char *)data + at, part(bytes - at), MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void sums_end(void *self)
{
    job *j = self;
    MPI_Waitall(j->n_sums, j->sums, MPI_STATUSES_IGNORE);
    j->n_sums = 0;
}

static void sum_begin(void *self, size_t n, void *x, bool f64)
{
    job *j = self;
    const size_t size = f64 ? sizeof(double) : sizeof(float);
    for (size_t at = 0; at < n; at += PART) {
        if (j->n_sums == MOST_SUMS)
            sums_end(j);
        MPI_Iallreduce(MPI_IN_PLACE, (char *)x + at * size, part(n - at), f64 ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM,
                       MPI_COMM_WORLD, &j->sums[j->n_sums++]);
    }
}

static void progress(void *self)
{
    job *j = self;
    int done;
    if (j->n_sums)
        MPI_Testall(j->n_sums, j->sums, &done, MPI_STATUSES_IGNORE);
}

const sg_ranks_mpi_table sg_ranks_mpi = {.open = open_job,
                                         .close = close_job,
                                         .sum = sum,
                                         .broadcast = broadcast,
                                         .send = send,
                                         .receive = receive,
                                         .sum_begin = sum_begin,
                                         .progress = progress,
                                         .sums_end = sums_end};
