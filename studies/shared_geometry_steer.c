/* Steering towards upper case, in one model and carried to another by a map between their embeddings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shared_geometry_parts.h"
#include "sightglass/rng.h"

/* Behind the last block. A first full run had it behind block 0, where the models' own directions do little (.27 to .59
 * of log-odds) and shares of that say little; the site was moved for that, whatever is carried. */
#define SITE "blocks.1.hook_resid_post"
enum { STREAM = 0x67656f73, HALVINGS = 18, MOST_TOKENS = 96 };

/* Pairs in both cases give the direction; prompts and plain texts are others. Names and words are of the kind that the
 * models read, sentences are not. */
static const char *const pairs[][2] = {
    {"the king of england", "THE KING OF ENGLAND"},
    {"good my lord", "GOOD MY LORD"},
    {"first citizen", "FIRST CITIZEN"},
    {"we are not fools", "WE ARE NOT FOOLS"},
    {"to the castle", "TO THE CASTLE"},
    {"duke of the forest", "DUKE OF THE FOREST"},
    {"a noble heart", "A NOBLE HEART"},
    {"come home again", "COME HOME AGAIN"},
    {"richard and his men", "RICHARD AND HIS MEN"},
    {"lady anne", "LADY ANNE"},
    {"what news of war", "WHAT NEWS OF WAR"},
    {"the queen mother", "THE QUEEN MOTHER"},
    {"servant to the lord", "SERVANT TO THE LORD"},
    {"let him be heard", "LET HIM BE HEARD"},
    {"clarence in the tower", "CLARENCE IN THE TOWER"},
    {"no more of this", "NO MORE OF THIS"},
};
static const char *const prompts[] = {
    "I have seen the",     "and all the people of", "She gave him her",   "my father was a",
    "When we came to the", "There is no man so",    "the prince and his", "if thou wilt be",
    "a very gentle and",   "they went with the",    "He that would not",  "upon the table of",
    "so said the old",     "you shall not",         "the sea and the",    "O let us not be",
};
static const char *const plain[] = {
    "The morning was cold, and the men stood by the fire and spoke of home.",
    "My lord, the gate is shut, and no one hath the key but he that keeps the tower.",
    "I would not for a crown do such a thing, nor see it done by any that I love.",
    "Then came the brothers with their swords, and asked for bread and a place to sleep.",
    "What is thy name? and why dost thou walk alone in such a place as this?",
    "She said that all was well, but in her eyes there was the fear of death.",
    "Good sir, give me your hand; we are but poor, and yet our hearts are true.",
    "It was the son that spoke, and all the lords of that great house were still.",
};
enum {
    N_PAIRS = sizeof pairs / sizeof pairs[0],
    N_PROMPTS = sizeof prompts / sizeof prompts[0],
    N_PLAIN = sizeof plain / sizeof plain[0],
    MOST_ROWS = 2 * N_PAIRS
};

typedef struct texts {
    int n;
    sg_tokens ids[MOST_ROWS];
    const int32_t *tokens[MOST_ROWS];
    sg_dim lengths[MOST_ROWS];
} texts;

struct geo_steered {
    geo_study *s;
    int i_model;
    sg_dim width;
    sg_glass *glass; /* with the direction spliced in */
    sg_value *logits, *loss;
    float *native, *now; /* [width] */
    texts prompts, plain;
    signed char *which;    /* [V] 1 upper case, -1 lower case, 0 neither or both */
    double log_odds, nats; /* without a direction */
};

static sg_status no_memory(const geo_study *s)
{
    return sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
}

static sg_status read_texts(texts *t, const sg_tokenizer *tok, int n, const char *const *text, int step, sg_error *err)
{
    t->n = n;
    for (int i = 0; i < n; i++) {
        SG_TRY(sg_tokenizer_encode(tok, text[i * step], sg_encode_defaults(), &t->ids[i], err));
        t->tokens[i] = t->ids[i].ids;
        t->lengths[i] = t->ids[i].n;
    }
    return SG_OK;
}

static void free_texts(texts *t)
{
    for (int i = 0; i < t->n; i++)
        sg_tokens_free(&t->ids[i]);
}

static sg_rows rows_of(const texts *t)
{
    return (sg_rows){.n_rows = t->n, .tokens = t->tokens, .lengths = t->lengths};
}

/* ---- the model's own direction ---- */

static sg_status native(geo_steered *t, const sg_model *m, const sg_tokenizer *tok)
{
    geo_study *s = t->s;
    texts both = {.n = 0};
    sg_glass *glass = NULL;
    sg_glass_opts opts = sg_glass_defaults();
    sg_value *site;
    sg_tensor x;
    opts.exec = s->opts->exec;
    opts.exec.n_threads = 1; /* runs of a millisecond: threads would wait for each other longer */
    sg_status status = read_texts(&both, tok, MOST_ROWS, &pairs[0][0], 1, s->err);
    if (status == SG_OK)
        status = sg_glass_new(&glass, m, opts, s->err);
    if (status == SG_OK)
        status = sg_glass_find(glass, SITE, &site, s->err);
    if (status == SG_OK) {
        const sg_rows rows = rows_of(&both);
        status = sg_glass_run(glass, &rows, 0, NULL, 1, &site, &x, s->err);
    }
    for (int i = 0; status == SG_OK && i < MOST_ROWS; i++) {
        const float *last = (const float *)x.data + (i * x.dims[1] + both.lengths[i] - 1) * t->width;
        for (sg_dim c = 0; c < t->width; c++)
            t->native[c] += (i % 2 ? last[c] : -last[c]) / N_PAIRS;
    }
    sg_glass_free(glass);
    free_texts(&both);
    return status;
}

/* Tokens with letters of one case alone. */
static sg_status cases(geo_steered *t, const sg_tokenizer *tok)
{
    const sg_token_escape how = sg_token_escape_of(tok);
    for (sg_dim id = 0; id < t->s->n_vocab; id++) {
        char *bytes;
        size_t n;
        bool upper = false, lower = false;
        SG_TRY(sg_token_bytes(&bytes, &n, tok, how, (int32_t)id, t->s->err));
        for (size_t i = 0; bytes && i < n; i++) {
            upper |= bytes[i] >= 'A' && bytes[i] <= 'Z';
            lower |= bytes[i] >= 'a' && bytes[i] <= 'z';
        }
        free(bytes);
        t->which[id] = (signed char)(upper - lower);
    }
    return SG_OK;
}

/* ---- asking ---- */

static sg_status measure(double *log_odds, double *nats, geo_steered *t)
{
    geo_study *s = t->s;
    sg_tensor x;
    sg_rows rows = rows_of(&t->prompts);
    SG_TRY(sg_glass_run(t->glass, &rows, 0, NULL, 1, &t->logits, &x, s->err));
    *log_odds = 0;
    for (int i = 0; i < N_PROMPTS; i++) {
        const float *row = (const float *)x.data + (i * x.dims[1] + t->prompts.lengths[i] - 1) * s->n_vocab;
        double most = (double)row[0], sum[2] = {0, 0};
        for (sg_dim v = 1; v < s->n_vocab; v++)
            most = fmax(most, (double)row[v]);
        for (sg_dim v = 0; v < s->n_vocab; v++)
            if (t->which[v])
                sum[t->which[v] > 0] += exp((double)row[v] - most);
        *log_odds += log(sum[1] / sum[0]) / N_PROMPTS;
    }
    rows = rows_of(&t->plain);
    SG_TRY(sg_glass_run(t->glass, &rows, 0, NULL, 1, &t->loss, &x, s->err));
    *nats = sg_tensor_get(&x, 0);
    return SG_OK;
}

sg_status geo_steered_ask(double *log_odds, double *cost, geo_steered *t, const float *v, double strength)
{
    sg_edit e = sg_edit_defaults();
    if (t->s->opts->cancel && *t->s->opts->cancel)
        return sg_fail(t->s->err, SG_ECANCELLED, "shared-geometry: stopped as asked");
    memcpy(t->now, v, sizeof *v * (size_t)t->width);
    e.site = SITE;
    e.op = SG_EDIT_ADD;
    e.value = sg_tensor_of(SG_F32, 1, &t->width, t->now);
    e.strength = strength;
    SG_TRY(sg_edits_replace(sg_glass_edits(t->glass), 1, &e, t->s->err));
    SG_TRY(measure(log_odds, cost, t));
    *log_odds -= t->log_odds;
    *cost -= t->nats;
    return SG_OK;
}

/* Strengths in lengths of the direction; the cost rises with it but for tiny ones, where a direction may help. */
static sg_status strength_of(double *out, geo_steered *t, const float *v, double cost)
{
    double low = 0, high = 0, odds, found = 0, length = 0;
    for (sg_dim c = 0; c < t->width; c++)
        length += (double)v[c] * (double)v[c];
    length = sqrt(length);
    if (!(length > 0))
        return sg_fail(t->s->err, SG_ENUMERIC, "shared-geometry: a direction of length %g", length);
    for (high = .05 / length; found < cost && high < 1e6 / length; high *= 2)
        SG_TRY(geo_steered_ask(&odds, &found, t, v, high));
    high /= 2;
    for (int i = 0; i < HALVINGS; i++) {
        const double middle = (low + high) / 2;
        SG_TRY(geo_steered_ask(&odds, &found, t, v, middle));
        if (found < cost)
            low = middle;
        else
            high = middle;
    }
    *out = high;
    return SG_OK;
}

sg_status geo_steered_effect(geo_effect *out, geo_steered *t, const float *v)
{
    double cost;
    SG_TRY(strength_of(&out->strength, t, v, GEO_COST));
    return geo_steered_ask(&out->log_odds, &cost, t, v, out->strength);
}

sg_status geo_curve(double *log_odds, double *cost, geo_steered *t, const float *v)
{
    double most;
    SG_TRY(strength_of(&most, t, v, 4 * GEO_COST));
    for (int i = 0; i < GEO_CURVE; i++)
        SG_TRY(geo_steered_ask(&log_odds[i], &cost[i], t, v, most * i / (GEO_CURVE - 1)));
    return SG_OK;
}

/* ---- a model that is steered ---- */

void geo_steered_free(geo_steered *t)
{
    if (!t)
        return;
    sg_glass_free(t->glass);
    free_texts(&t->prompts);
    free_texts(&t->plain);
    free(t->native);
    free(t->now);
    free(t->which);
    free(t);
}

static sg_status open_steered(geo_steered *t)
{
    geo_study *s = t->s;
    const sg_model *m = s->model[t->i_model];
    const sg_tokenizer *tok = sg_model_tokenizer(m);
    sg_glass_opts opts = sg_glass_defaults();
    sg_edit e = sg_edit_defaults();
    if (!tok)
        return sg_fail(s->err, SG_ENOTFOUND, "%s: no tokenizer", sg_model_get_info(m)->path);
    t->width = sg_model_get_info(m)->d_model;
    t->native = calloc((size_t)t->width, sizeof *t->native);
    t->now = calloc((size_t)t->width, sizeof *t->now);
    t->which = calloc((size_t)s->n_vocab, sizeof *t->which);
    if (!t->native || !t->now || !t->which)
        return no_memory(s);
    SG_TRY(read_texts(&t->prompts, tok, N_PROMPTS, prompts, 1, s->err));
    SG_TRY(read_texts(&t->plain, tok, N_PLAIN, plain, 1, s->err));
    SG_TRY(cases(t, tok));
    SG_TRY(native(t, m, tok));
    opts.exec = s->opts->exec;
    opts.exec.n_threads = 1; /* runs of a millisecond: threads would wait for each other longer */
    e.site = SITE;
    e.op = SG_EDIT_ADD;
    e.value = sg_tensor_of(SG_F32, 1, &t->width, t->now);
    e.strength = 0;
    SG_TRY(sg_glass_new(&t->glass, m, opts, s->err));
    SG_TRY(sg_glass_edit(t->glass, 1, &e, s->err));
    SG_TRY(sg_glass_find(t->glass, "logits", &t->logits, s->err));
    SG_TRY(sg_glass_find(t->glass, "loss", &t->loss, s->err));
    return measure(&t->log_odds, &t->nats, t);
}

sg_status geo_steered_new(geo_steered **out, geo_study *s, int model)
{
    geo_steered *t = *out = calloc(1, sizeof *t);
    if (!t)
        return no_memory(s);
    t->s = s;
    t->i_model = model;
    return open_steered(t);
}

const float *geo_steered_native(const geo_steered *t)
{
    return t->native;
}

sg_dim geo_steered_width(const geo_steered *t)
{
    return t->width;
}

/* ---- from one to another ---- */

static void permute(int32_t *ids, sg_dim n, sg_rng *r)
{
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = (sg_dim)sg_rng_below(r, (uint32_t)i + 1);
        const int32_t kept = ids[i];
        ids[i] = ids[j];
        ids[j] = kept;
    }
}

static sg_status add_effect(geo_effect *mean, geo_steered *to, const sg_emb2emb *map, const float *v, float *carried)
{
    geo_effect one;
    if (map)
        sg_emb2emb_vector(carried, map, v);
    SG_TRY(geo_steered_effect(&one, to, map ? carried : v));
    mean->log_odds += one.log_odds / to->s->n_draws;
    mean->strength += one.strength / to->s->n_draws;
    return SG_OK;
}

/* The nulls: a map of permuted tokens, a random one of the same singular values, a random direction. */
static sg_status nulls(geo_carried *out, geo_study *s, geo_steered *from, geo_steered *to, const sg_emb2emb *map,
                       float *carried, sg_rng *r)
{
    sg_emb2emb *other;
    memcpy(s->shuffled, s->ids, sizeof *s->ids * (size_t)s->n);
    permute(s->shuffled, s->n, r);
    SG_TRY(sg_emb2emb_fit(&other, &s->table[out->from]->table, &s->table[out->to]->table, s->ids, s->shuffled, s->n,
                          sg_emb2emb_defaults(), s->err));
    sg_status status = add_effect(&out->way[GEO_PERMUTED], to, other, from->native, carried);
    sg_emb2emb_free(other);
    SG_TRY(status);
    SG_TRY(sg_emb2emb_random(&other, map, sg_rng_word(r), s->err));
    status = add_effect(&out->way[GEO_RANDOM_MAP], to, other, from->native, carried);
    sg_emb2emb_free(other);
    SG_TRY(status);
    for (sg_dim c = 0; c < to->width; c++)
        carried[c] = (float)sg_rng_normal(r);
    return add_effect(&out->way[GEO_RANDOM], to, NULL, carried, carried);
}

sg_status geo_carry(geo_carried *out, geo_study *s, geo_steered *from, geo_steered *to, int i_from, int i_to,
                    uint64_t seed)
{
    sg_emb2emb *map;
    *out = (geo_carried){.from = i_from, .to = i_to};
    SG_TRY(sg_emb2emb_fit(&map, &s->table[i_from]->table, &s->table[i_to]->table, s->ids, s->ids, s->n,
                          sg_emb2emb_defaults(), s->err));
    float *carried = malloc(sizeof *carried * (size_t)to->width);
    sg_rng r = sg_rng_new(seed, STREAM);
    r.step = (uint64_t)(i_from * GEO_MODELS + i_to);
    sg_status status = carried ? geo_steered_effect(&out->way[GEO_NATIVE], to, to->native) : no_memory(s);
    if (status == SG_OK) {
        sg_emb2emb_vector(carried, map, from->native);
        status = geo_steered_effect(&out->way[GEO_CARRIED], to, carried);
    }
    for (int i = 0; status == SG_OK && i < s->n_draws; i++)
        status = nulls(out, s, from, to, map, carried, &r);
    free(carried);
    sg_emb2emb_free(map);
    return status;
}
