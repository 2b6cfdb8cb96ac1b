/* A permutation is a Feistel network over the next power of four, stepped until it falls below n (Black & Rogaway,
 * "Ciphers with arbitrary finite domains", 2002). */
#include "base/shuffle.h"

#include "sightglass/rng.h"

enum { STREAM_OF_ORDER = 0x6f726472, ROUNDS = 4 };

sg_shuffle sg_shuffle_new(uint64_t seed, sg_dim n_rows)
{
    sg_shuffle s = {.seed = seed, .n_rows = n_rows};
    while (s.half < 31 && (UINT64_C(1) << (2 * s.half)) < (uint64_t)n_rows)
        s.half++;
    return s;
}

sg_dim sg_shuffle_at(const sg_shuffle *s, sg_dim epoch, sg_dim i)
{
    const uint64_t mask = (UINT64_C(1) << s->half) - 1;
    uint64_t x = (uint64_t)i;
    do {
        uint64_t left = x >> s->half, right = x & mask;
        for (int round = 0; round < ROUNDS; round++) {
            const uint32_t counter[4] = {(uint32_t)right, STREAM_OF_ORDER + (uint32_t)round, (uint32_t)epoch,
                                         (uint32_t)((uint64_t)epoch >> 32)};
            const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
            uint32_t words[4];
            sg_philox(words, counter, key);
            const uint64_t next = left ^ (words[0] & mask);
            left = right;
            right = next;
        }
        x = left << s->half | right;
    } while (x >= (uint64_t)s->n_rows);
    return (sg_dim)x;
}
