/* Finding out whether there are others, loading the object that speaks MPI, and what follows from its few calls. */
#include "sightglass/ranks.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/mpi/ranks_mpi.h"

struct sg_ranks {
    int index, count;
    const sg_ranks_mpi_table *mpi;
    void *job;
};

/* Launchers tell their processes how many they are: Open MPI's, those that speak PMI (MPICH, Slurm), and those that
 * speak PMIx, which only MPI itself can ask (2 stands for "some"). 1: there is no launcher, or nobody else. */
static int launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        const char *text = getenv(names[i]);
        if (text)
            return atoi(text);
    }
    return getenv("PMIX_RANK") ? 2 : 1;
}

#ifdef SG_HAVE_MPI
static sg_status load(sg_ranks *r, sg_error *err)
{
    /* Never closed: MPI starts threads and handlers of its own. Global, because its plug-ins look for its symbols. */
    void *object = dlopen(SG_RANKS_MPI_FILE, RTLD_NOW | RTLD_GLOBAL);
    r->mpi = object ? dlsym(object, SG_RANKS_MPI_SYMBOL) : NULL;
    return r->mpi ? SG_OK : sg_fail(err, SG_EUNSUPPORTED, "MPI cannot be loaded: %s", dlerror());
}
#else
static sg_status load(sg_ranks *r, sg_error *err)
{
    (void)r;
    return sg_fail(err, SG_EUNSUPPORTED, "started as one of several processes, and built without MPI");
}
#endif

sg_status sg_ranks_open(sg_ranks **out, sg_error *err)
{
    *out = NULL;
    if (launched() <= 1)
        return SG_OK;
    sg_ranks *r = calloc(1, sizeof *r);
    if (!r)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = load(r, err);
    if (status == SG_OK && !(r->job = r->mpi->open(&r->index, &r->count)))
        status = sg_fail(err, SG_EUNSUPPORTED, "MPI did not start");
    if (status != SG_OK || r->count == 1) {
        sg_ranks_close(r);
        return status;
    }
    *out = r;
    return SG_OK;
}

void sg_ranks_close(sg_ranks *r)
{
    if (!r)
        return;
    if (r->job)
        r->mpi->close(r->job);
    free(r);
}

int sg_ranks_index(const sg_ranks *r)
{
    return r ? r->index : 0;
}

int sg_ranks_count(const sg_ranks *r)
{
    return r ? r->count : 1;
}

sg_dim sg_ranks_share(const sg_ranks *r, int i, sg_dim n, sg_dim *first)
{
    const sg_dim count = sg_ranks_count(r), each = n / count, more = n % count;
    *first = i * each + SG_MIN(i, more);
    return each + (i < more);
}

sg_status sg_ranks_agree(sg_ranks *r, sg_status mine, sg_error *err)
{
    if (!r)
        return mine;
    double failed[2] = {mine != SG_OK, 0};
    r->mpi->sum(r->job, 1, failed);
    if (failed[0] == 0)
        return SG_OK;
    /* Each in turn says whether it is the one: ranks are few, and this is no time to hurry. */
    sg_error told = {SG_OK, ""};
    int who = 0;
    for (; who < r->count && told.status == SG_OK; who++) {
        if (who == r->index && mine != SG_OK) {
            told.status = mine;
            snprintf(told.text, sizeof told.text, "%s", err ? err->text : sg_status_text(mine));
        }
        r->mpi->broadcast(r->job, who, &told, sizeof told);
    }
    if ((int)failed[0] == r->count)
        return sg_fail(err, told.status, "%s", told.text);
    return sg_fail(err, told.status, "rank %d: %s", who - 1, told.text);
}

void sg_ranks_sum(sg_ranks *r, int n, double *x)
{
    if (r)
        r->mpi->sum(r->job, n, x);
}

void sg_ranks_broadcast(sg_ranks *r, void *data, size_t bytes)
{
    if (r)
        r->mpi->broadcast(r->job, 0, data, bytes);
}

void sg_ranks_send(sg_ranks *r, int to, const void *data, size_t bytes)
{
    r->mpi->send(r->job, to, data, bytes);
}

void sg_ranks_receive(sg_ranks *r, int from, void *data, size_t bytes)
{
    r->mpi->receive(r->job, from, data, bytes);
}

void sg_ranks_sum_begin(sg_ranks *r, const sg_tensor *x)
{
    if (r)
        r->mpi->sum_begin(r->job, (size_t)sg_tensor_count(x), x->data, x->dtype == SG_F64);
}

void sg_ranks_progress(sg_ranks *r)
{
    if (r)
        r->mpi->progress(r->job);
}

void sg_ranks_sums_end(sg_ranks *r)
{
    if (r)
        r->mpi->sums_end(r->job);
}
