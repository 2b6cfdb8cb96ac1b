/* Against every permutation there is. */
#include "sightglass/assignment.h"

#include "check.h"
#include "faults.h"
#include "sightglass/rng.h"

/* The best sum over injective choices of a column for each of n rows, n <= m; `used` marks columns. */
static double best(const double *worth, int n, int m, bool turned, int row, unsigned used, double sign)
{
    if (row == n)
        return 0;
    double found = -1e300;
    for (int j = 0; j < m; j++)
        if (!(used & 1u << j)) {
            const double own = sign * (turned ? worth[j * n + row] : worth[row * m + j]);
            found = fmax(found, own + best(worth, n, m, turned, row + 1, used | 1u << j, sign));
        }
    return found;
}

static void equals_brute_force(int rows, int columns, uint64_t seed, bool ties)
{
    double worth[64], total;
    int32_t of[8];
    sg_rng r = sg_rng_new(seed, 1);
    for (int i = 0; i < rows * columns; i++)
        worth[i] = ties ? (double)sg_rng_below(&r, 3) : sg_rng_normal(&r);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){rows, columns}, worth);
    for (int sense = SG_LEAST; sense <= SG_GREATEST; sense++) {
        const double sign = sense == SG_GREATEST ? 1 : -1;
        CHECK_OK(sg_assignment(of, &total, &t, (sg_assignment_sense)sense, NULL), NULL);
        const bool turned = rows > columns;
        const double want = sign * best(worth, turned ? columns : rows, turned ? rows : columns, turned, 0, 0, sign);
        CHECK_NEAR(total, want, 1e-12, 1e-12);
        double again = 0;
        unsigned used = 0;
        int pairs = 0;
        for (int i = 0; i < rows; i++) {
            if (of[i] < 0)
                continue;
            CHECK(of[i] < columns && !(used & 1u << of[i]));
            used |= 1u << of[i];
            again += worth[i * columns + of[i]];
            pairs++;
        }
        CHECK(pairs == (turned ? columns : rows));
        CHECK_NEAR(again, total, 1e-12, 0);
    }
}

static void the_best_pairing_of_up_to_eight_is_that_of_brute_force(void **state)
{
    (void)state;
    for (int n = 1; n <= 7; n++)
        for (int m = 1; m <= 7; m++) {
            equals_brute_force(n, m, (uint64_t)(n * 10 + m), false);
            equals_brute_force(n, m, (uint64_t)(n * 10 + m), true);
        }
    equals_brute_force(8, 8, 5, false);
}

static void a_permuted_identity_is_found_again(void **state)
{
    (void)state;
    enum { N = 60 };
    static float worth[N * N];
    int32_t of[N];
    double total;
    for (int i = 0; i < N; i++)
        worth[i * N + (i * 7 + 3) % N] = 1;
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, N}, worth);
    CHECK_OK(sg_assignment(of, &total, &t, SG_GREATEST, NULL), NULL);
    CHECK(total == N);
    for (int i = 0; i < N; i++)
        CHECK(of[i] == (i * 7 + 3) % N);
}

static void nothing_and_what_is_not_finite(void **state)
{
    (void)state;
    float worth[4] = {1, 2, NAN, 4};
    int32_t of[2] = {5, 5};
    double total = 1;
    sg_error err;
    sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){0, 3}, worth);
    CHECK_OK(sg_assignment(of, &total, &t, SG_LEAST, &err), &err);
    CHECK(total == 0);
    t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 0}, worth);
    CHECK_OK(sg_assignment(of, &total, &t, SG_LEAST, &err), &err);
    CHECK(of[0] == -1 && of[1] == -1);
    t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 2}, worth);
    CHECK(sg_assignment(of, &total, &t, SG_LEAST, &err) == SG_ENUMERIC);
    CHECK_TEXT(err.text, "worth[1,0]");
    t = sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, worth);
    CHECK_STATUS(sg_assignment(of, &total, &t, SG_LEAST, NULL), SG_ESHAPE);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    float worth[4] = {1, 2, 3, 4};
    int32_t of[2];
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 2}, worth);
    for (long n = 0;; n++) {
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_assignment(of, NULL, &t, SG_LEAST, NULL);
        if (!sg_faults_end()) {
            CHECK_OK(status, NULL);
            break;
        }
        CHECK(status == SG_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_pairing_of_up_to_eight_is_that_of_brute_force),
        cmocka_unit_test(a_permuted_identity_is_found_again),
        cmocka_unit_test(nothing_and_what_is_not_finite),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
