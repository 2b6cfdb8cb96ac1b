/* Which backends this build has, the defaults that follow, and choosing others. */
#include "backend/backends.h"

#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/cuda/cuda.h"

static const sg_backend *const all[] = {
#ifdef SG_HAVE_ONEDNN
    &sg_backend_onednn,
#endif
#ifdef SG_HAVE_PACKED
    &sg_backend_packed,
#endif
    NULL};

#ifdef SG_HAVE_CUDA
#include <dlfcn.h>

const sg_backend *const *sg_backend_cuda(sg_error *err)
{
    void *object = dlopen(SG_CUDA_FILE, RTLD_NOW | RTLD_LOCAL); /* the same one each time */
    sg_cuda_open_fn open = NULL;
    if (object)
        *(void **)&open = dlsym(object, SG_CUDA_SYMBOL);
    if (!open) {
        sg_fail(err, SG_EUNSUPPORTED, "CUDA cannot be loaded: %s", dlerror());
        return NULL;
    }
    return open(err);
}
#else
const sg_backend *const *sg_backend_cuda(sg_error *err)
{
    sg_fail(err, SG_EUNSUPPORTED, "this build has no CUDA (configure it with -DSG_CUDA=ON)");
    return NULL;
}
#endif

/* ---- a device that was asked for and is not there: says so to whoever wants memory on it ---- */

static sg_status absent_take(const sg_device *self, size_t bytes, void **out, sg_error *err)
{
    (void)self;
    (void)bytes;
    *out = NULL;
    if (sg_backend_cuda(err))
        return sg_fail(err, SG_EUNSUPPORTED, "the GPU was not there when this was planned");
    return SG_EUNSUPPORTED;
}

static void absent_give(const sg_device *self, void *memory)
{
    (void)self;
    (void)memory;
}

static bool absent_prepare(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out)
{
    (void)self;
    (void)k;
    (void)out;
    return false;
}

static const sg_device absent_device = {.take = absent_take, .give = absent_give};
static const sg_backend absent = {.name = "cuda", .device = &absent_device, .prepare = absent_prepare};

/* ---- choosing ---- */

static const sg_backend *const on_cuda_absent[] = {&absent};

sg_status sg_exec_use(sg_exec_opts *opts, const char *name, sg_error *err)
{
    if (strcmp(name, "cpu") == 0) {
        opts->backends = all;
        opts->n_backends = (int)SG_COUNT_OF(all) - 1;
    } else if (strcmp(name, "reference") == 0) {
        opts->n_backends = 0;
    } else if (strcmp(name, "cuda") == 0) {
        const sg_backend *const *list = sg_backend_cuda(err);
        if (!list)
            return SG_EUNSUPPORTED;
        opts->backends = list;
        opts->n_backends = 1;
    } else {
        return sg_fail(err, SG_EARG, "backend \"%.40s\", wanted cpu, reference or cuda", name);
    }
    return SG_OK;
}

const char *sg_exec_name(const sg_exec_opts *opts)
{
    return opts->n_backends ? opts->backends[0]->name : "reference";
}

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
    if (wanted && sg_exec_use(&opts, wanted, NULL) == SG_EUNSUPPORTED) {
        opts.backends = on_cuda_absent; /* whose failure has words for it */
        opts.n_backends = 1;
    }
    return opts;
}
