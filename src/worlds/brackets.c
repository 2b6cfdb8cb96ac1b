/* Balanced strings of brackets, all of one length alike likely. With k brackets open and r symbols still to write one
 * is closed with probability k (r + k + 2) / (2 r (k + 1)), 0 at k = 0 and 1 at k = r, which makes every balanced
 * string as likely as any other (Arnold & Sleep, "Uniform random generation of balanced parenthesis strings", 1980). */
#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { LENGTH, N_OPTIONS };
enum { START, OPEN, CLOSE, END, N_TOKENS };

static const sg_option options[N_OPTIONS] = {
    {"length", SG_OPTION_WHOLE, "24", 2, 4096, NULL, "brackets of a string, an even number"},
};

static const sg_world_field fields[] = {
    {"tokens", "[count,length+2] 0 begins, 1 is (, 2 is ), 3 ends"},
    {"counts", "[count,length+2] whether a token is to be predicted: all but the first"},
    {"depth", "[count,length+2] brackets that are open behind each token"},
};

static sg_status check(const double *option, sg_error *err)
{
    if ((sg_dim)option[LENGTH] % 2)
        return sg_fail(err, SG_EARG, "brackets: a balanced string of length %lld", (long long)option[LENGTH]);
    return SG_OK;
}

static sg_status sequence(sg_dim *n_vocab, sg_dim *time, const double *option, sg_error *err)
{
    *n_vocab = N_TOKENS;
    *time = (sg_dim)option[LENGTH] + 2;
    return check(option, err);
}

static void tokens(int32_t *to, uint8_t *counts, const double *option, sg_dim n_rows, sg_origin from)
{
    const sg_dim n = (sg_dim)option[LENGTH];
    for (sg_dim row = 0; row < n_rows; row++, to += n + 2, counts += n + 2) {
        sg_rng g = sg_rng_new(from.seed, from.stream);
        double open = 0;
        g.step = from.step + (uint64_t)row;
        memset(counts, 1, (size_t)n + 2);
        counts[0] = 0;
        to[0] = START;
        to[n + 1] = END;
        for (sg_dim i = 0; i < n; i++) {
            const double left = (double)(n - i);
            const bool close = sg_rng_uniform(&g) < open * (left + open + 2) / (2 * left * (open + 1));
            to[i + 1] = close ? CLOSE : OPEN;
            open += close ? -1 : 1;
        }
    }
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_dim dims[2] = {count, (sg_dim)option[LENGTH] + 2};
    field[0] = sg_tensor_of(SG_I32, 2, dims, NULL);
    field[1] = sg_tensor_of(SG_BOOL, 2, dims, NULL);
    field[2] = sg_tensor_of(SG_I32, 2, dims, NULL);
    return check(option, err);
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_dim time = field[0].dims[1];
    const int32_t *is = field[0].data;
    int32_t *depth = field[2].data;
    tokens(field[0].data, field[1].data, option, count, from);
    for (sg_dim i = 0; i < count * time; i++)
        depth[i] = i % time == 0 ? 0 : depth[i - 1] + (is[i] == OPEN) - (is[i] == CLOSE);
}

const sg_world sg_world_brackets = {
    .name = "brackets",
    .help = "balanced strings of brackets, all of one length alike likely",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = shape,
    .sample = sample,
    .sequence = sequence,
    .tokens = tokens,
};
