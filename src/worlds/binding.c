/* Ways in which vectors may say which feature fills which role, after the tour of Wattenberg and Viegas, "Relational
 * composition in neural networks" (2024). Whatever the mechanism, vector t of an item is
 *
 *     x_t = sum over roles r of  feature[bound_t(r)] map_r  +  mark_t marker  +  noise
 *
 *     bag          every map is the identity: who has which role is lost
 *     matrix       map_r is a random orthogonal matrix, or one of low rank
 *     tensor       map_r f = f (x) rho_r, with a random unit vector rho_r of as many numbers as there are roles
 *     slot         a part of the space for each role, all turned by one orthogonal matrix
 *     tag          several vectors; two that belong together carry one mark that is drawn anew for each item
 *     pointer      several vectors; the mark says at which place the partner is
 *     multi-token  two vectors, each a bag with a mark of 1 or -1: the product of the two says in which order roles are
 * filled
 *
 * Directions, maps and the marker hang on the seed alone. Everything is returned, so that the truth makes the vectors
 * again. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { MECHANISM, FEATURES, ROLES, ITEMS, DIMS, NOISE, DIRECTIONS, MAPS, RANK, TOKENS, N_OPTIONS };
enum { BAG, MATRIX, TENSOR, SLOT, TAG, POINTER, MULTI };
enum { F_X, F_BOUND, F_PARTNER, F_MARK, F_FEATURES, F_MAPS, F_MARKER, N_FIELDS };
enum {
    STREAM_OF_FEATURES = 0x62696e64,
    STREAM_OF_MAPS,
    STREAM_OF_LEFT,
    STREAM_OF_MARKER,
    MOST_ROLES = 16,
    MOST_TOKENS = 64,
    MARKS = 8
};

static const sg_option options[N_OPTIONS] = {
    {"mechanism", SG_OPTION_CHOICE, "matrix", 0, 0, "bag|matrix|tensor|slot|tag|pointer|multi-token",
     "how a vector says what fills which role"},
    {"features", SG_OPTION_WHOLE, "48", 2, 65536, NULL, "features that may fill a role"},
    {"roles", SG_OPTION_WHOLE, "2", 1, MOST_ROLES, NULL, "roles, each filled by another feature"},
    {"items", SG_OPTION_WHOLE, "1", 1, 64, NULL, "items that are added in one vector (bag to slot)"},
    {"d", SG_OPTION_WHOLE, "128", 2, 4096, NULL, "dimensions"},
    {"noise", SG_OPTION_REAL, "0.02", 0, 1e6, NULL, "deviation of what is added to each number"},
    {"directions", SG_OPTION_CHOICE, "random", 0, 0, "random|orthonormal", "the features' directions"},
    {"maps", SG_OPTION_CHOICE, "orthogonal", 0, 0, "orthogonal|low-rank|shared|independent",
     "the roles' maps of matrix; shared: one orthogonal map for all; independent: of random rows"},
    {"rank", SG_OPTION_WHOLE, "8", 1, 4096, NULL, "of maps of low rank"},
    {"tokens", SG_OPTION_WHOLE, "4", 2, MOST_TOKENS, NULL, "vectors of an item of tag and pointer, an even number"},
};

static const sg_world_field fields[N_FIELDS] = {
    {"x", "[count,tokens,d] the vectors"},
    {"bound", "[count,items,roles] the feature that fills each role; of tag and pointer one item for each token"},
    {"partner", "[count,tokens] with which vector each belongs together, -1: none"},
    {"mark", "[count,tokens,marks] what a vector carries beside features"},
    {"features", "[features,width] unit directions"},
    {"maps", "[roles,width,d] of the roles: a feature f becomes f map"},
    {"marker", "[marks,d] unit directions of the marks"},
};

static sg_dim tokens_of(const double *o)
{
    const int m = (int)o[MECHANISM];
    return m == TAG || m == POINTER ? (sg_dim)o[TOKENS] : m == MULTI ? 2 : 1;
}

static sg_dim items_of(const double *o)
{
    const int m = (int)o[MECHANISM];
    return m == TAG || m == POINTER ? (sg_dim)o[TOKENS] : m == MULTI ? 1 : (sg_dim)o[ITEMS];
}

static sg_dim roles_of(const double *o)
{
    return (int)o[MECHANISM] == POINTER ? 1 : (sg_dim)o[ROLES];
}

static sg_dim width_of(const double *o)
{
    const int m = (int)o[MECHANISM];
    return m == TENSOR || m == SLOT ? (sg_dim)o[DIMS] / (sg_dim)o[ROLES] : (sg_dim)o[DIMS];
}

static sg_dim marks_of(const double *o)
{
    const int m = (int)o[MECHANISM];
    return m == TAG ? MARKS : m == POINTER ? (sg_dim)o[TOKENS] : 1;
}

static sg_status shape(sg_tensor *field, const double *o, sg_dim count, sg_error *err)
{
    const int m = (int)o[MECHANISM];
    const sg_dim n = (sg_dim)o[FEATURES], d = (sg_dim)o[DIMS], roles = roles_of(o), width = width_of(o),
                 tokens = tokens_of(o);
    if ((m == TENSOR || m == SLOT) && d % (sg_dim)o[ROLES])
        return sg_fail(err, SG_EARG, "binding: %lld roles do not divide d = %lld", (long long)o[ROLES], (long long)d);
    if (roles > n)
        return sg_fail(err, SG_EARG, "binding: %lld roles, each with another feature, but %lld features",
                       (long long)roles, (long long)n);
    if ((int)o[DIRECTIONS] && n > width)
        return sg_fail(err, SG_EARG, "binding: %lld orthonormal features in %lld dimensions", (long long)n,
                       (long long)width);
    if (m == MULTI && roles != 2)
        return sg_fail(err, SG_EARG, "binding: multi-token has 2 roles, not %lld", (long long)roles);
    if ((m == TAG || m == POINTER) && tokens % 2)
        return sg_fail(err, SG_EARG, "binding: %lld tokens do not go in pairs", (long long)tokens);
    if (marks_of(o) > d)
        return sg_fail(err, SG_EARG, "binding: %lld marks in %lld dimensions", (long long)marks_of(o), (long long)d);
    field[F_X] = sg_tensor_of(SG_F32, 3, (sg_dim[]){count, tokens, d}, NULL);
    field[F_BOUND] = sg_tensor_of(SG_I32, 3, (sg_dim[]){count, items_of(o), roles}, NULL);
    field[F_PARTNER] = sg_tensor_of(SG_I32, 2, (sg_dim[]){count, tokens}, NULL);
    field[F_MARK] = sg_tensor_of(SG_F32, 3, (sg_dim[]){count, tokens, marks_of(o)}, NULL);
    field[F_FEATURES] = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, width}, NULL);
    field[F_MAPS] = sg_tensor_of(SG_F32, 3, (sg_dim[]){roles, width, d}, NULL);
    field[F_MARKER] = sg_tensor_of(SG_F32, 2, (sg_dim[]){marks_of(o), d}, NULL);
    return SG_OK;
}

/* ---- directions ---- */

static void scale_to_one(float *row, sg_dim d)
{
    double sum = 0;
    for (sg_dim j = 0; j < d; j++)
        sum += (double)row[j] * (double)row[j];
    for (sg_dim j = 0; j < d; j++)
        row[j] = (float)((double)row[j] / sqrt(sum));
}

/* Random unit rows; orthonormal by Gram and Schmidt, twice, so that rounding does not show. */
static void rows_of(float *rows, sg_dim n, sg_dim d, bool orthonormal, uint64_t seed, uint32_t stream, uint64_t step)
{
    sg_rng r = sg_rng_new(seed, stream);
    r.step = step;
    for (sg_dim i = 0; i < n; i++) {
        float *row = rows + i * d;
        for (sg_dim j = 0; j < d; j++)
            row[j] = (float)sg_rng_normal(&r);
        scale_to_one(row, d);
        for (int twice = 0; orthonormal && twice < 2; twice++) {
            for (sg_dim k = 0; k < i; k++) {
                double dot = 0;
                for (sg_dim j = 0; j < d; j++)
                    dot += (double)row[j] * (double)rows[k * d + j];
                for (sg_dim j = 0; j < d; j++)
                    row[j] = (float)((double)row[j] - dot * (double)rows[k * d + j]);
            }
            scale_to_one(row, d);
        }
    }
}

/* Gaussian [width,rank] times Gaussian [rank,d], such that a random unit vector keeps its length on average. */
static void low_rank(float *map, sg_dim width, sg_dim d, sg_dim rank, uint64_t seed, sg_dim role)
{
    const double scale = 1 / sqrt((double)rank * (double)d);
    memset(map, 0, (size_t)(width * d) * sizeof *map);
    for (sg_dim k = 0; k < rank; k++) {
        sg_rng left = sg_rng_new(seed, STREAM_OF_LEFT);
        left.step = (uint64_t)(role * rank + k);
        for (sg_dim i = 0; i < width; i++) {
            const double u = sg_rng_normal(&left) * scale;
            sg_rng right = sg_rng_new(seed, STREAM_OF_MAPS);
            right.step = (uint64_t)(role * rank + k);
            for (sg_dim j = 0; j < d; j++)
                map[i * d + j] += (float)(u * sg_rng_normal(&right));
        }
    }
}

static void tensor_map(float *map, sg_dim width, sg_dim d, sg_dim roles, uint64_t seed, sg_dim role)
{
    float rho[MOST_ROLES];
    rows_of(rho, 1, roles, false, seed, STREAM_OF_MAPS, (uint64_t)role);
    memset(map, 0, (size_t)(width * d) * sizeof *map);
    for (sg_dim i = 0; i < width; i++)
        memcpy(map + i * d + i * roles, rho, (size_t)roles * sizeof *rho);
}

static void maps(float *to, const double *o, uint64_t seed)
{
    const sg_dim d = (sg_dim)o[DIMS], width = width_of(o), roles = roles_of(o);
    if ((int)o[MECHANISM] == SLOT) { /* the parts of one orthogonal matrix */
        rows_of(to, width * roles, d, true, seed, STREAM_OF_MAPS, 0);
        return;
    }
    for (sg_dim r = 0; r < roles; r++) {
        float *map = to + r * width * d;
        if ((int)o[MECHANISM] == TENSOR) {
            tensor_map(map, width, d, roles, seed, r);
        } else if ((int)o[MECHANISM] == MATRIX && (int)o[MAPS] == 1) {
            low_rank(map, width, d, (sg_dim)o[RANK], seed, r);
        } else if ((int)o[MECHANISM] == MATRIX) {
            rows_of(map, width, d, (int)o[MAPS] != 3, seed, STREAM_OF_MAPS, (int)o[MAPS] == 2 ? 0 : (uint64_t)r);
        } else {
            memset(map, 0, (size_t)(width * d) * sizeof *map);
            for (sg_dim i = 0; i < width; i++)
                map[i * d + i] = 1;
        }
    }
}

/* ---- items ---- */

/* Another feature for each role. */
static void fill_roles(int32_t *bound, sg_dim roles, uint32_t n, sg_rng *r)
{
    for (sg_dim i = 0; i < roles; i++) {
        bool taken = true;
        while (taken) {
            bound[i] = (int32_t)sg_rng_below(r, n);
            taken = false;
            for (sg_dim j = 0; j < i; j++)
                taken = taken || bound[j] == bound[i];
        }
    }
}

static void pair_up(int32_t *partner, sg_dim tokens, sg_rng *r)
{
    int32_t order[MOST_TOKENS];
    for (sg_dim t = 0; t < tokens; t++) {
        const sg_dim at = (sg_dim)sg_rng_below(r, (uint32_t)t + 1);
        order[t] = order[at];
        order[at] = (int32_t)t;
    }
    for (sg_dim t = 0; t < tokens; t += 2) {
        partner[order[t]] = order[t + 1];
        partner[order[t + 1]] = order[t];
    }
}

static void mark(float *marks, const int32_t *partner, const int32_t *bound, const double *o, sg_rng *r)
{
    const int m = (int)o[MECHANISM];
    const sg_dim tokens = tokens_of(o), n = marks_of(o);
    for (sg_dim t = 0; t < tokens; t++)
        for (sg_dim i = 0; i < n; i++) {
            float *at = &marks[t * n + i];
            if (m == TAG)
                *at = partner[t] < t ? marks[partner[t] * n + i] : (float)(sg_rng_normal(r) / sqrt((double)n));
            else
                *at = m == POINTER && partner[t] == i;
        }
    if (m == MULTI) {
        marks[0] = sg_rng_below(r, 2) ? 1 : -1;
        marks[1] = bound[0] < bound[1] ? marks[0] : -marks[0];
    }
}

/* Adds what an item's roles are filled with, in the order of features, so that a bag has the same bytes however it is
 * filled. */
static void add_item(double *x, const int32_t *bound, const sg_tensor *field, const double *o)
{
    const sg_dim d = (sg_dim)o[DIMS], width = width_of(o), roles = roles_of(o);
    const float *feature = field[F_FEATURES].data, *map = field[F_MAPS].data;
    const bool plain = (int)o[MECHANISM] != MATRIX && (int)o[MECHANISM] != TENSOR && (int)o[MECHANISM] != SLOT;
    for (int32_t done = -1;;) {
        sg_dim role = -1;
        for (sg_dim r = 0; r < roles; r++)
            if (bound[r] > done && (role < 0 || bound[r] < bound[role]))
                role = r;
        if (role < 0)
            break;
        done = bound[role];
        const float *f = feature + bound[role] * width, *to = map + role * width * d;
        for (sg_dim i = 0; i < width; i++) {
            if (plain)
                x[i] += (double)f[i];
            for (sg_dim j = 0; !plain && j < d; j++)
                x[j] += (double)f[i] * (double)to[i * d + j];
        }
    }
}

static void sample(sg_tensor *field, const double *o, sg_dim count, sg_origin from)
{
    const sg_dim d = (sg_dim)o[DIMS], tokens = tokens_of(o), items = items_of(o), roles = roles_of(o),
                 n_marks = marks_of(o);
    const float *marker = field[F_MARKER].data;
    double x[4096];
    SG_ASSERT(d <= (sg_dim)SG_COUNT_OF(x));
    rows_of(field[F_FEATURES].data, (sg_dim)o[FEATURES], width_of(o), (int)o[DIRECTIONS] == 1, from.seed,
            STREAM_OF_FEATURES, 0);
    rows_of(field[F_MARKER].data, n_marks, d, true, from.seed, STREAM_OF_MARKER, 0);
    maps(field[F_MAPS].data, o, from.seed);
    for (sg_dim n = 0; n < count; n++) {
        int32_t *bound = (int32_t *)field[F_BOUND].data + n * items * roles,
                *partner = (int32_t *)field[F_PARTNER].data + n * tokens;
        float *marks = (float *)field[F_MARK].data + n * tokens * n_marks,
              *to = (float *)field[F_X].data + n * tokens * d;
        sg_rng r = sg_rng_new(from.seed, from.stream);
        r.step = from.step + (uint64_t)n;
        for (sg_dim i = 0; i < items; i++)
            fill_roles(bound + i * roles, roles, (uint32_t)o[FEATURES], &r);
        for (sg_dim t = 0; t < tokens; t++)
            partner[t] = -1;
        if ((int)o[MECHANISM] == TAG || (int)o[MECHANISM] == POINTER)
            pair_up(partner, tokens, &r);
        mark(marks, partner, bound, o, &r);
        for (sg_dim t = 0; t < tokens; t++) {
            memset(x, 0, (size_t)d * sizeof *x);
            if (items == tokens && tokens > 1) {
                add_item(x, bound + t * roles, field, o);
            } else {
                for (sg_dim i = 0; i < items; i++)
                    add_item(x, bound + i * roles, field, o);
            }
            for (sg_dim j = 0; j < d; j++) {
                for (sg_dim i = 0; i < n_marks; i++)
                    x[j] += (double)marks[t * n_marks + i] * (double)marker[i * d + j];
                to[t * d + j] = (float)(x[j] + (o[NOISE] > 0 ? o[NOISE] * sg_rng_normal(&r) : 0));
            }
        }
    }
}

const sg_world sg_world_binding = {
    .name = "binding",
    .help = "vectors that say which feature fills which role, in one of seven ways",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = N_FIELDS,
    .fields = fields,
    .shape = shape,
    .sample = sample,
};
