/* Sums modulo p as sequences "a b = c", in which c is to be predicted: the task on which small transformers first learn
 * the pairs they see by heart and much later the rule (Power et al., "Grokking", 2022; Nanda et al., "Progress measures
 * for grokking via mechanistic interpretability", 2023, whose p = 113 and share of 30 % are the defaults).
 *
 * Each of the p^2 pairs belongs to the training part or to the test part, by a random word of its own, so the parts are
 * the same for every seed of the data and no list is kept. Tokens: 0..p-1 are numbers, p is "=". */
#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { P, OPERATION, FRACTION, PART, SPLIT, N_OPTIONS };
enum { ADD, SUBTRACT, MULTIPLY };
enum { TRAIN, TEST, ALL };
enum { TIME = 4, STREAM_OF_SPLIT = 1 };

static const sg_option options[N_OPTIONS] = {
    {"p", SG_OPTION_WHOLE, "113", 2, 4096, NULL, "the modulus"},
    {"operation", SG_OPTION_CHOICE, "add", 0, 0, "add|subtract|multiply", "what c is of a and b, modulo p"},
    {"fraction", SG_OPTION_REAL, "0.3", 0, 1, NULL, "share of the pairs that belong to the training part"},
    {"part", SG_OPTION_CHOICE, "train", 0, 0, "train|test|all", "which pairs are drawn"},
    {"split", SG_OPTION_WHOLE, "0", 0, 1e9, NULL, "seed of the parting into train and test"},
};

static const sg_world_field fields[] = {
    {"tokens", "[count,4] a b = c, with p for ="},
    {"counts", "[count,4] whether a token is to be predicted: c alone"},
    {"answer", "[count] c"},
};

static bool belongs(const double *option, sg_dim pair)
{
    uint32_t words[4];
    if ((int)option[PART] == ALL)
        return true;
    sg_philox_block(words, (uint64_t)option[SPLIT], STREAM_OF_SPLIT, 0, (uint32_t)pair);
    const bool train = (double)words[0] < option[FRACTION] * 4294967296.0;
    return train == ((int)option[PART] == TRAIN);
}

static sg_status check(const double *option, sg_error *err)
{
    const sg_dim p = (sg_dim)option[P];
    for (sg_dim pair = 0; pair < p * p; pair++)
        if (belongs(option, pair))
            return SG_OK;
    return sg_fail(err, SG_EARG, "arithmetic: of the %lld pairs none belongs to this part", (long long)(p * p));
}

static sg_dim answer(const double *option, sg_dim a, sg_dim b)
{
    const sg_dim p = (sg_dim)option[P];
    switch ((int)option[OPERATION]) {
    case SUBTRACT:
        return (a - b + p) % p;
    case MULTIPLY:
        return a * b % p;
    default:
        return (a + b) % p;
    }
}

static void tokens(int32_t *to, uint8_t *counts, const double *option, sg_dim n_rows, sg_origin from)
{
    const sg_dim p = (sg_dim)option[P];
    for (sg_dim r = 0; r < n_rows; r++) {
        sg_rng g = sg_rng_new(from.seed, from.stream);
        g.step = from.step + (uint64_t)r;
        sg_dim pair;
        do
            pair = sg_rng_below(&g, (uint32_t)(p * p));
        while (!belongs(option, pair));
        const sg_dim a = pair / p, b = pair % p;
        const int32_t row[TIME] = {(int32_t)a, (int32_t)b, (int32_t)p, (int32_t)answer(option, a, b)};
        for (int t = 0; t < TIME; t++) {
            to[r * TIME + t] = row[t];
            counts[r * TIME + t] = t == TIME - 1;
        }
    }
}

static sg_status sequence(sg_dim *n_vocab, sg_dim *time, const double *option, sg_error *err)
{
    *n_vocab = (sg_dim)option[P] + 1;
    *time = TIME;
    return check(option, err);
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    field[0] = sg_tensor_of(SG_I32, 2, (sg_dim[]){count, TIME}, NULL);
    field[1] = sg_tensor_of(SG_BOOL, 2, (sg_dim[]){count, TIME}, NULL);
    field[2] = sg_tensor_of(SG_I32, 1, &count, NULL);
    return check(option, err);
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    tokens(field[0].data, field[1].data, option, count, from);
    for (sg_dim i = 0; i < count; i++)
        ((int32_t *)field[2].data)[i] = ((const int32_t *)field[0].data)[i * TIME + TIME - 1];
}

const sg_world sg_world_arithmetic = {
    .name = "arithmetic",
    .help = "sums modulo p as sequences of tokens, a b = c, parted into train and test",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = shape,
    .sample = sample,
    .sequence = sequence,
    .tokens = tokens,
};
