/* Which backends this build has, and the defaults that follow. */
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/backends.h"

static const sg_backend *const all[] = {
#ifdef SG_HAVE_ONEDNN
    &sg_backend_onednn,
#endif
    NULL};

sg_exec_opts sg_exec_defaults(void)
{
    sg_exec_opts opts = {.backends = all,
                         .n_backends = (int)SG_COUNT_OF(all) - 1,
                         .n_threads = 1,
                         .share = true,
                         .fold = true,
                         .fuse = true,
                         .compute = SG_F32};
    const char *wanted = getenv("SIGHTGLASS_BACKEND");

#ifdef _OPENMP
    opts.n_threads = omp_get_max_threads();
#endif
    if (wanted && strcmp(wanted, "reference") == 0)
        opts.n_backends = 0;
    return opts;
}
