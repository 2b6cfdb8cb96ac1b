/* Planted answers, and the identities that each kind is made of. */
#include "sightglass/dictionary.h"

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "methods/dictionary_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

enum { D = 16, G = 24, N = 6000, ACTIVE = 2 };

static float atoms[G * D], rows[N * D], active[N * G];

/* Rows are sums of ACTIVE of G random directions, each .5 to 1.5 times. */
static sg_tensor planted(uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 9);
    memset(rows, 0, sizeof rows);
    memset(active, 0, sizeof active);
    dict_random_rows(atoms, G, D, seed, 3);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < ACTIVE;) {
            const uint32_t g = sg_rng_below(&r, G);
            if (active[i * G + (int)g] > 0)
                continue;
            const float z = active[i * G + (int)g] = (float)(0.5 + sg_rng_uniform(&r));
            for (int d = 0; d < D; d++)
                rows[i * D + d] += z * atoms[g * D + (uint32_t)d];
            k++;
        }
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, rows);
}

static sg_dict_opts small(sg_dict_kind kind)
{
    sg_dict_opts o = sg_dict_defaults();
    o.kind = kind;
    o.width = 2 * G;
    o.k = ACTIVE;
    o.batch = 256;
    o.n_steps = 2000;
    o.lr = 5e-3;
    o.lr_end = 5e-5;
    o.n_points = 200;
    o.centre = false;
    o.aux = 0; /* half of so few codes, reconstructing what is left, keeps them from settling */
    o.l1 = 0.5;
    o.l0 = 0.03;
    o.bandwidth = 0.2;
    o.exec.n_threads = 1;
    return o;
}

static sg_dict *fitted(const sg_tensor *x, sg_dict_opts o)
{
    sg_dict_data data;
    sg_dict *d;
    sg_error err;
    CHECK_OK(sg_dict_rows(&data, x, &err), &err);
    CHECK_OK(sg_dict_fit(&d, &data, o, &err), &err);
    sg_dict_data_free(&data);
    return d;
}

static double r2_of(const sg_dict *d, const sg_tensor *x, double *l0)
{
    sg_dict_data data;
    sg_dict_report *r;
    CHECK_OK(sg_dict_rows(&data, x, NULL), NULL);
    CHECK_OK(sg_dict_report_new(&r, d, &data, x->dims[0], sg_exec_defaults(), NULL), NULL);
    const double r2 = r->r2;
    *l0 = r->l0;
    sg_dict_report_free(r);
    sg_dict_data_free(&data);
    return r2;
}

static void planted_atoms_are_recovered_by_every_kind_and_not_from_shuffled_rows(void **state)
{
    (void)state;
    const sg_tensor x = planted(1), truth = sg_tensor_of(SG_F32, 2, (sg_dim[]){G, D}, atoms),
                    codes = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, G}, active);
    const struct {
        sg_dict_kind kind;
        double cosine, r2, f1;
    } wanted[] = {{SG_DICT_TOPK, .95, .95, .9},
                  {SG_DICT_RELU, .95, .75, .85},
                  {SG_DICT_GATED, .95, .9, .85},
                  {SG_DICT_BATCHTOPK, .9, .9, .8},
                  {SG_DICT_JUMPRELU, .95, .9, .9}};
    for (size_t i = 0; i < SG_COUNT_OF(wanted); i++) {
        sg_dict_opts o = small(wanted[i].kind);
        o.resample = wanted[i].kind == SG_DICT_RELU ? 300 : 0;
        sg_dict *d = fitted(&x, o);
        sg_dict_identified found;
        double l0;
        CHECK_OK(sg_dict_identify(&found, d, &truth, &x, &codes, 1, NULL), NULL);
        const double r2 = r2_of(d, &x, &l0);
        print_message("%-10s cosine %.3f (random %.3f) R2 %.3f L0 %.2f F1 %.2f\n", sg_dict_kind_name(o.kind),
                      found.cosine, found.null, r2, l0, found.f1);
        CHECK(found.cosine >= wanted[i].cosine);
        CHECK(r2 >= wanted[i].r2);
        CHECK(found.f1 >= wanted[i].f1);
        sg_dict_free(d);
    }
    sg_rng r = sg_rng_new(2, 0); /* each number of a row from a row of its own: same marginals, no atoms */
    static float shuffled[N * D];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++)
            shuffled[i * D + k] = rows[(int)sg_rng_below(&r, N) * D + k];
    const sg_tensor none = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, shuffled);
    sg_dict *d = fitted(&none, small(SG_DICT_TOPK));
    sg_dict_identified found;
    CHECK_OK(sg_dict_identify(&found, d, &truth, NULL, NULL, 1, NULL), NULL);
    print_message("shuffled   cosine %.3f\n", found.cosine);
    CHECK(found.cosine < 0.8);
    sg_dict_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_atoms_are_recovered_by_every_kind_and_not_from_shuffled_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
