/* Small graphs over numbers in sight: what the tests of ops are written with.
 *
 *     sg_graph *g = sg_graph_new();
 *     sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 2), 1, 2, 3, 4);
 *     CHECK_VALUES(g, sg_sum(g, x, 0, false), 0, 4, 6);
 *     sg_graph_free(g);
 *
 * Each check plans and runs the graph anew, on the reference kernels and on one and three threads, without computing
 * constants ahead; the bytes are the same on both. */
#ifndef SG_TEST_VALUES_H
#define SG_TEST_VALUES_H

#include "check.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

#define DIMS(...)                                                                                                      \
    (int)(sizeof((sg_dim[]){__VA_ARGS__}) / sizeof(sg_dim)), (const sg_dim[])                                          \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define NO_DIMS 0, NULL
#define DOUBLES(...)                                                                                                   \
    (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (const double[])                                          \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }
#define NUMBERS(g, dtype, dims, ...) numbers_of((g), (dtype), dims, DOUBLES(__VA_ARGS__))

/* All numbers of v within tol (absolute and relative) of the list; NaN and infinities as in CHECK_NEAR, but a NaN is
 * met by a NaN. */
#define CHECK_VALUES(g, v, tol, ...) check_values((g), (v), (tol), DOUBLES(__VA_ARGS__), #v, __FILE__, __LINE__)

/* The extents of a value. */
#define CHECK_DIMS(v, dims) check_dims((v), dims, #v, __FILE__, __LINE__)

/* The graph has failed with this status and words. */
#define CHECK_BUILD_FAILS(g, status, words) check_build_fails((g), (status), (words), __FILE__, __LINE__)

/* Running v fails with this status and words. */
#define CHECK_RUN_FAILS(g, v, status, words) check_run_fails((g), (v), (status), (words), __FILE__, __LINE__)

#define VALUES_MOST 4096

static inline sg_value *numbers_of(sg_graph *g, sg_dtype dtype, int n_dims, const sg_dim *dims, int n, const double *x)
{
    double room[VALUES_MOST];
    sg_tensor t = sg_tensor_of(dtype, n_dims, dims, room);

    CHECK(n == sg_tensor_count(&t) && n <= VALUES_MOST);
    for (int i = 0; i < n; i++)
        sg_tensor_set(&t, i, x[i]);
    return sg_const(g, &t);
}

static inline sg_exec_opts values_opts(int n_threads)
{
    sg_exec_opts opts = sg_exec_defaults();

    opts.n_backends = 0;
    opts.fold = false;
    opts.fuse = false;
    opts.n_threads = n_threads;
    return opts;
}

static inline void check_values(sg_graph *g, sg_value *v, double tol, int n, const double *want, const char *text,
                                const char *file, int line)
{
    static const int threads[] = {1, 3};
    sg_error err = {SG_OK, ""};
    unsigned char first[VALUES_MOST * 8];

    for (int r = 0; r < 2; r++) {
        sg_session *s = NULL;
        sg_tensor t;
        sg_status status = sg_session_new(&s, g, NULL, values_opts(threads[r]), &err);
        if (status == SG_OK)
            status = sg_session_run(s, 0, NULL, 1, &v, &t, &err);
        if (status != SG_OK) {
            print_error("%s: %s\n", text, err.text);
            _fail(file, line);
        }
        if (sg_tensor_count(&t) != n) {
            print_error("%s has %lld numbers, wanted %d\n", text, (long long)sg_tensor_count(&t), n);
            _fail(file, line);
        }
        for (int i = 0; i < n; i++) {
            char element[160];
            const double got = sg_tensor_get(&t, i);
            snprintf(element, sizeof element, "%.120s: number %d", text, i);
            if (!(isnan(got) && isnan(want[i])))
                sg_check_near(got, want[i], tol, tol, element, file, line);
        }
        if (r == 0)
            memcpy(first, t.data, sg_tensor_bytes(&t));
        else if (memcmp(first, t.data, sg_tensor_bytes(&t)) != 0) {
            print_error("%s depends on the number of threads\n", text);
            _fail(file, line);
        }
        sg_session_free(s);
    }
}

static inline void check_dims(const sg_value *v, int n_dims, const sg_dim *dims, const char *text, const char *file,
                              int line)
{
    char got[SG_SHAPE_TEXT], want[SG_SHAPE_TEXT];

    if (sg_value_n_dims(v) == n_dims && (n_dims == 0 || memcmp(sg_value_dims(v), dims, (size_t)n_dims * 8) == 0))
        return;
    print_error("%s is %s, wanted %s\n", text, sg_value_shape_text(v, got), sg_shape_text(want, n_dims, dims));
    _fail(file, line);
}

static inline void check_build_fails(sg_graph *g, sg_status status, const char *words, const char *file, int line)
{
    sg_error err = {SG_OK, "no failure"};

    sg_check_status(sg_graph_status(g, &err), status, &err, "building", file, line);
    sg_check_text(err.text, words, file, line);
}

static inline void check_run_fails(sg_graph *g, sg_value *v, sg_status status, const char *words, const char *file,
                                   int line)
{
    sg_error err = {SG_OK, "no failure"};
    sg_session *s;
    sg_tensor t;

    sg_check_status(sg_session_new(&s, g, NULL, values_opts(1), &err), SG_OK, &err, "the session", file, line);
    sg_check_status(sg_session_run(s, 0, NULL, 1, &v, &t, &err), status, &err, "running", file, line);
    sg_check_text(err.text, words, file, line);
    sg_session_free(s);
}

#endif
