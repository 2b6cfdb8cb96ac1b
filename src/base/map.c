/* The string map: open addressing with linear probing, at most half full, nothing ever removed. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

struct slot {
    const char *key; /* NULL in an empty slot */
    size_t bytes;
    uint64_t hash;
    int32_t value;
};

struct sg_map {
    struct slot *slots;
    size_t n_slots; /* a power of two */
    size_t n_used;
};

/* Little-endian whatever the machine, so that a hash written to a report means the same everywhere. */
static uint64_t word_at(const unsigned char *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

/* A bijection of 64 bits in which every input bit reaches every output bit (odd multipliers, folded shifts). */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 29;
    x *= 0x9E3779B97F4A7C15u;
    x ^= x >> 32;
    return x;
}

uint64_t sg_hash(const void *bytes, size_t n, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = mix(seed ^ ((uint64_t)n * 0x9E3779B97F4A7C15u));
    for (; n >= 8; p += 8, n -= 8)
        h = mix(h ^ word_at(p, 8)) + 0x2545F4914F6CDD1Du;
    return n ? mix(h ^ word_at(p, n)) : mix(h);
}

sg_map *sg_map_new(size_t expected)
{
    size_t n_slots = 16;
    while (n_slots / 2 < expected && n_slots <= SIZE_MAX / 4)
        n_slots *= 2;
    sg_map *map = calloc(1, sizeof *map);
    struct slot *slots = calloc(n_slots, sizeof *slots);
    if (!map || !slots) {
        free(map);
        free(slots);
        return NULL;
    }
    *map = (sg_map){.slots = slots, .n_slots = n_slots};
    return map;
}

void sg_map_free(sg_map *map)
{
    if (map)
        free(map->slots);
    free(map);
}

/* The slot that holds the key, or the empty one where it would go. */
static struct slot *slot_for(const sg_map *map, const char *key, size_t bytes, uint64_t hash)
{
    for (size_t i = (size_t)hash;; i++) {
        struct slot *s = &map->slots[i & (map->n_slots - 1)];
        if (!s->key || (s->hash == hash && s->bytes == bytes && memcmp(s->key, key, bytes) == 0))
            return s;
    }
}

static sg_status grow(sg_map *map)
{
    sg_map larger = {.n_slots = 2 * map->n_slots, .n_used = map->n_used};
    larger.slots = calloc(larger.n_slots, sizeof *larger.slots);
    if (!larger.slots)
        return SG_ENOMEM;
    for (size_t i = 0; i < map->n_slots; i++) {
        const struct slot *s = &map->slots[i];
        if (s->key)
            *slot_for(&larger, s->key, s->bytes, s->hash) = *s;
    }
    free(map->slots);
    *map = larger;
    return SG_OK;
}

sg_status sg_map_put(sg_map *map, const char *key, size_t bytes, int32_t value)
{
    SG_ASSERT(key && value >= 0);
    const uint64_t hash = sg_hash(key, bytes, 0);
    struct slot *s = slot_for(map, key, bytes, hash);
    if (s->key)
        return SG_EARG;
    if (2 * (map->n_used + 1) > map->n_slots) {
        SG_TRY(grow(map));
        s = slot_for(map, key, bytes, hash);
    }
    *s = (struct slot){.key = key, .bytes = bytes, .hash = hash, .value = value};
    map->n_used++;
    return SG_OK;
}

int32_t sg_map_get(const sg_map *map, const char *key, size_t bytes)
{
    const struct slot *s = slot_for(map, key, bytes, sg_hash(key, bytes, 0));
    return s->key ? s->value : -1;
}
