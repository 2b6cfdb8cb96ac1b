/* Item i of a sample is drawn from (seed, stream, step + i) alone, whatever is drawn with it. Encoders and noise are
 * tables drawn once from the encoders' seed, since a normal number costs more than all else about a token. */
#include "sightglass/recall.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

enum { NOISE = 1 << 16, STREAM_OF_TABLES = 0x7ec0 };

sg_recall sg_recall_defaults(void)
{
    return (sg_recall){.n = 3, .m = 5, .context = 16, .payloads = 10, .width = 32, .noise = .01};
}

sg_status sg_recall_check(const sg_recall *r, sg_error *err)
{
    const bool fits = r->n >= 1 && r->n <= 30 && r->m >= 1 && r->m <= 30 && r->context >= 1 && r->context <= 4096 &&
                      r->payloads >= 1 && r->payloads <= 4096 && r->width >= 1 && r->width <= 4096;
    if (!fits)
        return sg_fail(err, SG_EARG,
                       "recall: n %" PRId64 ", m %" PRId64 ", context %" PRId64 ", payloads %" PRId64 ", width %" PRId64
                       " do not go together; n and m are 1 to 30, the others 1 to 4096",
                       r->n, r->m, r->context, r->payloads, r->width);
    if (!(r->noise >= 0 && isfinite(r->noise)))
        return sg_fail(err, SG_EARG, "recall: noise is %g, wanted at least 0", r->noise);
    return SG_OK;
}

static sg_dim rows_of(const sg_recall *r, sg_recall_part part)
{
    return part == SG_RECALL_PAYLOAD                                      ? r->payloads
           : part == SG_RECALL_KEY_FIRST || part == SG_RECALL_QUERY_FIRST ? r->n
                                                                          : r->m;
}

static void normals(float *out, sg_dim count, double deviation, uint64_t seed, uint32_t stream)
{
    uint32_t word[4];
    for (sg_dim i = 0; i < count; i++) {
        double x[4];
        if (i % 4 == 0)
            sg_philox_block(word, seed, stream, 0, (uint32_t)(i / 4));
        sg_words_normal(word[i % 4 < 2 ? 0 : 2], word[i % 4 < 2 ? 1 : 3], &x[0], &x[1]);
        out[i] = (float)(deviation * x[i % 2]);
    }
}

void sg_recall_encoder(float *out, const sg_recall *r, sg_recall_part part)
{
    const sg_dim n = rows_of(r, part);
    normals(out, n * r->width, part == SG_RECALL_PAYLOAD ? 1 : 1 / sqrt((double)n), r->encoders,
            STREAM_OF_TABLES + (uint32_t)part);
}

/* ---- drawing ---- */

typedef struct tables {
    const sg_recall *r;
    float *part[SG_RECALL_PARTS], *noise;
} tables;

static void forget(tables *t)
{
    for (int i = 0; i < SG_RECALL_PARTS; i++)
        free(t->part[i]);
    free(t->noise);
}

static bool prepare(tables *t, const sg_recall *r)
{
    bool ok = true;
    *t = (tables){.r = r};
    for (int i = 0; i < SG_RECALL_PARTS; i++) {
        t->part[i] = malloc((size_t)(rows_of(r, (sg_recall_part)i) * r->width) * sizeof(float));
        ok = ok && t->part[i];
        if (t->part[i])
            sg_recall_encoder(t->part[i], r, (sg_recall_part)i);
    }
    t->noise = malloc((size_t)(NOISE + r->width) * sizeof(float));
    if (t->noise)
        normals(t->noise, NOISE + r->width, r->noise, r->encoders, STREAM_OF_TABLES + SG_RECALL_PARTS);
    if (!ok || !t->noise)
        forget(t);
    return ok && t->noise;
}

static void latents(float *z, sg_dim n, const sg_recall *r, sg_rng *g)
{
    const uint32_t bits = r->latents == SG_RECALL_BINARY ? sg_rng_word(g) : 0;
    for (sg_dim i = 0; i < n; i++)
        z[i] = r->latents == SG_RECALL_BINARY ? (bits >> i & 1 ? 1.0f : -1.0f) : (float)sg_rng_normal(g);
}

static void start(float *x, const tables *t, sg_rng *g)
{
    memcpy(x, t->noise + sg_rng_below(g, NOISE), (size_t)t->r->width * sizeof *x);
}

static void add(float *x, const tables *t, sg_recall_part part, const float *z, sg_dim n)
{
    const sg_dim width = t->r->width;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim d = 0; d < width; d++)
            x[d] += z[i] * t->part[part][i * width + d];
}

static void key(float *x, const tables *t, const float *z1, const float *z2, int32_t y, sg_rng *g)
{
    start(x, t, g);
    add(x, t, SG_RECALL_KEY_FIRST, z1, t->r->n);
    add(x, t, SG_RECALL_KEY_SECOND, z2, t->r->m);
    for (sg_dim d = 0; d < t->r->width; d++)
        x[d] += t->part[SG_RECALL_PAYLOAD][y * t->r->width + d];
}

static void query_of(float *x, const tables *t, const float *z1, const float *z2, sg_rng *g)
{
    start(x, t, g);
    add(x, t, SG_RECALL_QUERY_FIRST, z1, t->r->n);
    add(x, t, SG_RECALL_QUERY_SECOND, z2, t->r->m);
}

/* One item; places that are NULL are not kept. */
typedef struct item {
    float *x, *query, *z1, *z2; /* [context,width], [width], [context,n], [context,m] */
    int32_t *payload, *target, *answer;
} item;

static void draw(const item *to, const tables *t, sg_rng g)
{
    const sg_recall *r = t->r;
    float z1[30], z2[30], kept1[30] = {0}, kept2[30] = {0};
    const sg_dim target = sg_rng_below(&g, (uint32_t)r->context);
    for (sg_dim c = 0; c < r->context; c++) {
        const int32_t y = (int32_t)sg_rng_below(&g, (uint32_t)r->payloads);
        latents(z1, r->n, r, &g);
        latents(z2, r->m, r, &g);
        key(to->x + c * r->width, t, z1, z2, y, &g);
        if (to->z1)
            memcpy(to->z1 + c * r->n, z1, (size_t)r->n * sizeof *z1);
        if (to->z2)
            memcpy(to->z2 + c * r->m, z2, (size_t)r->m * sizeof *z2);
        if (to->payload)
            to->payload[c] = y;
        if (c == target) {
            memcpy(kept1, z1, sizeof kept1);
            memcpy(kept2, z2, sizeof kept2);
            *to->answer = y;
        }
    }
    query_of(to->query, t, kept1, kept2, &g);
    if (to->target)
        *to->target = (int32_t)target;
}

static sg_rng rng_at(sg_origin from, sg_dim i)
{
    sg_rng g = sg_rng_new(from.seed, from.stream);
    g.step = from.step + (uint64_t)i;
    return g;
}

/* ---- as a source ---- */

typedef struct feeder {
    sg_recall r;
    tables t;
    uint64_t seed;
} feeder;

static sg_status fill(void *self, sg_dim i, sg_tensor *field, sg_error *err)
{
    (void)err;
    const feeder *f = self;
    const sg_dim rows = field[0].dims[0], big = f->r.context * f->r.width;
    for (sg_dim k = 0; k < rows; k++) {
        const item to = {.x = (float *)field[0].data + k * big,
                         .query = (float *)field[1].data + k * f->r.width,
                         .answer = (int32_t *)field[2].data + k};
        draw(&to, &f->t, rng_at((sg_origin){.seed = f->seed}, i * rows + k));
    }
    return SG_OK;
}

static void feeder_free(void *self)
{
    forget(&((feeder *)self)->t);
    free(self);
}

sg_status sg_recall_source(sg_source *out, const sg_recall *r, sg_dim rows, uint64_t seed, sg_error *err)
{
    *out = (sg_source){0};
    SG_TRY(sg_recall_check(r, err));
    if (rows < 1 || rows > 1 << 20)
        return sg_fail(err, SG_EARG, "recall: batches of %" PRId64 " rows, wanted 1 to %d", rows, 1 << 20);
    feeder *f = malloc(sizeof *f);
    if (f)
        *f = (feeder){.r = *r, .seed = seed};
    if (!f || !prepare(&f->t, &f->r)) {
        free(f);
        return sg_fail(err, SG_ENOMEM, "recall: out of memory");
    }
    *out = (sg_source){.n_fields = 3,
                       .field = {sg_tensor_of(SG_F32, 3, (sg_dim[]){rows, r->context, r->width}, NULL),
                                 sg_tensor_of(SG_F32, 2, (sg_dim[]){rows, r->width}, NULL),
                                 sg_tensor_of(SG_I32, 1, &rows, NULL)},
                       .fill = fill,
                       .free = feeder_free,
                       .self = f};
    return SG_OK;
}

/* ---- pairs ---- */

/* A value of z that is not the one at hand. */
static void another(float *z, const float *of, sg_dim n, const sg_recall *r, sg_rng *g)
{
    do
        latents(z, n, r, g);
    while (memcmp(z, of, (size_t)n * sizeof *z) == 0);
}

sg_status sg_recall_pairs(float *query, float *match, float *differ, const sg_recall *r, int factor, bool along,
                          sg_dim count, sg_origin from, sg_error *err)
{
    tables t;
    SG_TRY(sg_recall_check(r, err));
    if (factor != 0 && factor != 1)
        return sg_fail(err, SG_EARG, "recall: factor %d, wanted 0 or 1", factor);
    if (!prepare(&t, r))
        return sg_fail(err, SG_ENOMEM, "recall: out of memory");
    const sg_dim n[2] = {r->n, r->m};
    for (sg_dim i = 0; i < count; i++) {
        sg_rng g = rng_at(from, i);
        float asked[2][30], same[2][30], other[2][30];
        for (int f = 0; f < 2; f++)
            latents(asked[f], n[f], r, &g);
        for (int f = 0; f < 2; f++) {
            const bool meant = f == factor || along;
            memcpy(same[f], asked[f], sizeof same[f]);
            if (!meant)
                latents(same[f], n[f], r, &g);
            memcpy(other[f], same[f], sizeof other[f]);
            if (meant)
                another(other[f], asked[f], n[f], r, &g);
        }
        const int32_t y = (int32_t)sg_rng_below(&g, (uint32_t)r->payloads);
        query_of(query + i * r->width, &t, asked[0], asked[1], &g);
        key(match + i * r->width, &t, same[0], same[1], y, &g);
        key(differ + i * r->width, &t, other[0], other[1], y, &g);
    }
    forget(&t);
    return SG_OK;
}

sg_status sg_recall_contrast(double *out, const sg_recall *r, int factor, sg_dim head, const float *wq, const float *wk,
                             sg_error *err)
{
    const sg_recall_part keys = factor ? SG_RECALL_KEY_SECOND : SG_RECALL_KEY_FIRST,
                         queries = factor ? SG_RECALL_QUERY_SECOND : SG_RECALL_QUERY_FIRST;
    const sg_dim n = factor ? r->m : r->n, w = r->width;
    const double c = r->latents == SG_RECALL_BINARY ? 1 + 1 / (ldexp(1, (int)n) - 1) : 1;
    float *of_key = malloc((size_t)(n * w) * sizeof *of_key), *of_query = malloc((size_t)(n * w) * sizeof *of_query);
    if (!of_key || !of_query) {
        free(of_key);
        free(of_query);
        return sg_fail(err, SG_ENOMEM, "recall: out of memory");
    }
    memset(out, 0, (size_t)(head * head) * sizeof *out);
    sg_recall_encoder(of_key, r, keys);
    sg_recall_encoder(of_query, r, queries);
    for (sg_dim l = 0; l < n; l++)
        for (sg_dim i = 0; i < head; i++) {
            double q = 0;
            for (sg_dim d = 0; d < w; d++)
                q += (double)wq[i * w + d] * (double)of_query[l * w + d];
            for (sg_dim j = 0; j < head; j++) {
                double k = 0;
                for (sg_dim d = 0; d < w; d++)
                    k += (double)wk[j * w + d] * (double)of_key[l * w + d];
                out[i * head + j] += c * q * k;
            }
        }
    free(of_key);
    free(of_query);
    return SG_OK;
}

/* ---- as a world ---- */

enum { N, M, CONTEXT, PAYLOADS, WIDTH, NOISE_OPTION, LATENTS, ENCODERS, N_OPTIONS };

static const sg_option options[N_OPTIONS] = {
    {"n", SG_OPTION_WHOLE, "3", 1, 30, NULL, "latents of the first factor"},
    {"m", SG_OPTION_WHOLE, "5", 1, 30, NULL, "latents of the second factor"},
    {"context", SG_OPTION_WHOLE, "16", 1, 4096, NULL, "tokens that the query chooses among"},
    {"payloads", SG_OPTION_WHOLE, "10", 1, 4096, NULL, "what a token may carry"},
    {"width", SG_OPTION_WHOLE, "32", 1, 4096, NULL, "numbers of a token"},
    {"noise", SG_OPTION_REAL, "0.01", 0, 1e6, NULL, "deviation of the noise"},
    {"latents", SG_OPTION_CHOICE, "binary", 0, 0, "binary|gaussian", "what latents are drawn from"},
    {"encoders", SG_OPTION_WHOLE, "0", 0, 1e9, NULL, "seed of the encoders"},
};

static const sg_world_field fields[] = {
    {"x", "[count,context,width] tokens: A_1 z_1 + A_2 z_2 + e(payload) + noise"},
    {"query", "[count,width] B_1 z_1 + B_2 z_2 + noise, of the target's latents"},
    {"answer", "[count] the target's payload"},
    {"target", "[count] which token is asked for"},
    {"z1", "[count,context,n] latents of the first factor"},
    {"z2", "[count,context,m] latents of the second factor"},
    {"payload", "[count,context] what each token carries"},
};

static sg_recall from_options(const double *option)
{
    return (sg_recall){.n = (sg_dim)option[N],
                       .m = (sg_dim)option[M],
                       .context = (sg_dim)option[CONTEXT],
                       .payloads = (sg_dim)option[PAYLOADS],
                       .width = (sg_dim)option[WIDTH],
                       .noise = option[NOISE_OPTION],
                       .latents = (int)option[LATENTS] ? SG_RECALL_GAUSSIAN : SG_RECALL_BINARY,
                       .encoders = (uint64_t)option[ENCODERS]};
}

static sg_status shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_recall r = from_options(option);
    field[0] = sg_tensor_of(SG_F32, 3, (sg_dim[]){count, r.context, r.width}, NULL);
    field[1] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, r.width}, NULL);
    field[2] = field[3] = sg_tensor_of(SG_I32, 1, &count, NULL);
    field[4] = sg_tensor_of(SG_F32, 3, (sg_dim[]){count, r.context, r.n}, NULL);
    field[5] = sg_tensor_of(SG_F32, 3, (sg_dim[]){count, r.context, r.m}, NULL);
    field[6] = sg_tensor_of(SG_I32, 2, (sg_dim[]){count, r.context}, NULL);
    return sg_recall_check(&r, err);
}

static void sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_recall r = from_options(option);
    tables t;
    if (!prepare(&t, &r))
        return; /* fields stay zero */
    for (sg_dim i = 0; i < count; i++) {
        const item to = {.x = (float *)field[0].data + i * r.context * r.width,
                         .query = (float *)field[1].data + i * r.width,
                         .answer = (int32_t *)field[2].data + i,
                         .target = (int32_t *)field[3].data + i,
                         .z1 = (float *)field[4].data + i * r.context * r.n,
                         .z2 = (float *)field[5].data + i * r.context * r.m,
                         .payload = (int32_t *)field[6].data + i * r.context};
        draw(&to, &t, rng_at(from, i));
    }
    forget(&t);
}

const sg_world sg_world_recall = {
    .name = "recall",
    .help = "a query describes one token by two factors and asks what it carries; the latents are known",
    .n_options = N_OPTIONS,
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = shape,
    .sample = sample,
};
