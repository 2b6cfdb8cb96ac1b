/* Hashes that FIPS 180-4's examples tell. */
#include "base/sha256.h"
#include "check.h"

static void the_standards_examples_come_out(void **state)
{
    (void)state;
    char hash[SG_SHA256_TEXT];

    CHECK(strcmp(sg_sha256(hash, "abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
    CHECK(strcmp(sg_sha256(hash, "", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0);
}

/* A million times "a", in pieces that do not fit the algorithm's blocks. */
static void pieces_give_the_hash_of_the_whole(void **state)
{
    (void)state;
    char hash[SG_SHA256_TEXT], a[1001];
    sg_sha256_stream *s = sg_sha256_new();

    CHECK(s != NULL);
    memset(a, 'a', sizeof a);
    for (size_t left = 1000000; left;) {
        const size_t now = left < sizeof a ? left : sizeof a;
        sg_sha256_add(s, a, now);
        left -= now;
    }
    CHECK(strcmp(sg_sha256_end(s, hash), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standards_examples_come_out),
        cmocka_unit_test(pieces_give_the_hash_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
