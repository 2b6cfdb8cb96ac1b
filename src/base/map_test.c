#include "base/base.h"
#include "check.h"
#include "faults.h"

#define N_KEYS 5000

static void every_key_is_found_again(void **state)
{
    (void)state;
    static char keys[N_KEYS][24];
    sg_map *map = sg_map_new(0); /* grows many times */
    for (int i = 0; i < N_KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "blocks.%d.w", i);
        CHECK_OK(sg_map_put(map, keys[i], strlen(keys[i]), i), NULL);
    }
    for (int i = 0; i < N_KEYS; i++) {
        char key[24];
        snprintf(key, sizeof key, "blocks.%d.w", i);
        CHECK(sg_map_get(map, key, strlen(key)) == i);
        key[0] = 'B';
        CHECK(sg_map_get(map, key, strlen(key)) == -1);
    }
    sg_map_free(map);
    sg_map_free(NULL);
}

static void the_first_value_stays(void **state)
{
    (void)state;
    sg_map *map = sg_map_new(4);
    CHECK_OK(sg_map_put(map, "a", 1, 7), NULL);
    CHECK_STATUS(sg_map_put(map, "a", 1, 8), SG_EARG);
    CHECK(sg_map_get(map, "a", 1) == 7);
    sg_map_free(map);
}

static void keys_are_bytes_with_a_length(void **state)
{
    (void)state;
    sg_map *map = sg_map_new(4);
    CHECK_OK(sg_map_put(map, "", 0, 1), NULL);
    CHECK_OK(sg_map_put(map, "a\0b", 3, 2), NULL);
    CHECK_OK(sg_map_put(map, "a\0c", 3, 3), NULL);
    CHECK_OK(sg_map_put(map, "a", 1, 4), NULL);
    CHECK(sg_map_get(map, "", 0) == 1 && sg_map_get(map, "a\0b", 3) == 2);
    CHECK(sg_map_get(map, "a\0c", 3) == 3 && sg_map_get(map, "ab", 1) == 4);
    CHECK(sg_map_get(map, "a\0", 2) == -1);
    sg_map_free(map);
}

static void a_map_survives_each_failed_allocation(void **state)
{
    (void)state;
    static char keys[100][16];
    for (int i = 0; i < 100; i++)
        snprintf(keys[i], sizeof keys[i], "k%d", i);
    for (long n = 0;; n++) {
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_map *map = sg_map_new(0);
        int n_put = 0;
        sg_status status = map ? SG_OK : SG_ENOMEM;
        while (status == SG_OK && n_put < 100) {
            status = sg_map_put(map, keys[n_put], strlen(keys[n_put]), n_put);
            n_put += status == SG_OK;
        }
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        for (int i = 0; i < 100 && map; i++)
            CHECK(sg_map_get(map, keys[i], strlen(keys[i])) == (i < n_put ? i : -1));
        sg_map_free(map);
        if (!fired)
            break;
        CHECK(n < 20);
    }
}

static void hashes_spread(void **state)
{
    (void)state;
    /* 20000 numbered names into 1024 cells: chi-squared has 1023 degrees of freedom, so mean 1023 and standard
     * deviation 45; both ends of the word are looked at, since tables use the low one. */
    int low[1024] = {0}, high[1024] = {0};
    for (int i = 0; i < 20000; i++) {
        char key[32];
        const int n = snprintf(key, sizeof key, "layer.%d.weight", i);
        const uint64_t h = sg_hash(key, (size_t)n, 0);
        low[h % 1024]++;
        high[h >> 54]++;
    }
    double chi_low = 0, chi_high = 0;
    const double want = 20000.0 / 1024.0;
    for (int i = 0; i < 1024; i++) {
        chi_low += (low[i] - want) * (low[i] - want) / want;
        chi_high += (high[i] - want) * (high[i] - want) / want;
    }
    CHECK_NEAR(chi_low, 1023, 6 * 45, 0);
    CHECK_NEAR(chi_high, 1023, 6 * 45, 0);

    CHECK(sg_hash("abc", 3, 0) != sg_hash("abc", 3, 1));
    CHECK(sg_hash("abc", 3, 0) != sg_hash("abc\0", 4, 0));
    CHECK(sg_hash("", 0, 0) == sg_hash(NULL, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_found_again),
        cmocka_unit_test(the_first_value_stays),
        cmocka_unit_test(keys_are_bytes_with_a_length),
        cmocka_unit_test(a_map_survives_each_failed_allocation),
        cmocka_unit_test(hashes_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
