/* Rotary angles: theta^(-2k/R) for pair k (Su et al. 2021, section 3.2.2), and the ways in which models trained on
 * short texts stretch them for longer ones. */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "models/arch.h"

#define TAU 6.283185307179586476925

void sg_arch_defaults(sg_arch *arch)
{
    *arch = (sg_arch){.rope_layout = SG_ROPE_HALF,
                      .rope = {.kind = SG_ROPE_PLAIN, .factor = 1, .scale = 1},
                      .embed_scale = 1,
                      .attention_cap = (double)INFINITY,
                      .logit_cap = (double)INFINITY,
                      .qkv_cap = (double)INFINITY,
                      .prefix = ""};
}

void sg_arch_set_window(sg_arch *arch, int layer, bool on)
{
    const uint64_t bit = (uint64_t)1 << (layer % 64);

    arch->windowed[layer / 64] = on ? arch->windowed[layer / 64] | bit : arch->windowed[layer / 64] & ~bit;
}

/* The pair, as a real number, that turns `turns` times within the original context (Peng et al. 2023, section 3.2). */
static double pair_of_turns(const sg_arch *arch, double turns)
{
    return (double)arch->rotary * sg_math_log((double)arch->rope.original / (turns * TAU)) /
           (2 * sg_math_log(arch->rope_theta));
}

static double yarn(const sg_arch *arch, sg_dim k, double plain)
{
    const sg_rope_scaling *r = &arch->rope;
    double low = pair_of_turns(arch, r->high), high = pair_of_turns(arch, r->low);

    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)arch->rotary - 1);
    if (low == high)
        high += 0.001;
    const double slow = fmin(fmax(((double)k - low) / (high - low), 0), 1);
    return plain / r->factor * slow + plain * (1 - slow);
}

/* Turns within the original context: fewer than `low` are slow, more than `high` are fast. */
static double llama3(const sg_arch *arch, double plain)
{
    const sg_rope_scaling *r = &arch->rope;
    const double turns = (double)r->original * plain / TAU;

    if (turns < r->low)
        return plain / r->factor;
    if (turns > r->high)
        return plain;
    const double fast = (turns - r->low) / (r->high - r->low);
    return (1 - fast) * plain / r->factor + fast * plain;
}

double sg_rope_frequency(const sg_arch *arch, sg_dim k, bool longer)
{
    const sg_rope_scaling *r = &arch->rope;
    const double plain = sg_math_pow(arch->rope_theta, -2.0 * (double)k / (double)arch->rotary);

    switch (r->kind) {
    case SG_ROPE_LINEAR:
        return plain / r->factor;
    case SG_ROPE_LLAMA3:
        return llama3(arch, plain);
    case SG_ROPE_YARN:
        return yarn(arch, k, plain);
    case SG_ROPE_LONGROPE:
        return plain / (longer ? r->longer[k] : r->shorter[k]);
    default:
        return plain;
    }
}

/* ---- from a config ---- */

static sg_status read_factors(const json_t *scaling, const char *path, const char *key, sg_dim n, double *to,
                              sg_error *err)
{
    const json_t *list = json_object_get(scaling, key), *v;
    size_t i;

    if (n > SG_MOST_PAIRS)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: rope_scaling: %lld pairs turn in each head, at most %d were expected",
                       path, (long long)n, SG_MOST_PAIRS);
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return sg_fail(err, SG_EFORMAT, "%s: rope_scaling: %s is no list of %lld numbers", path, key, (long long)n);
    json_array_foreach(list, i, v)
    {
        to[i] = json_number_value(v);
        if (!json_is_number(v) || !isfinite(to[i]) || to[i] <= 0)
            return sg_fail(err, SG_EFORMAT, "%s: rope_scaling: %s has something else than numbers above 0", path, key);
    }
    return SG_OK;
}

/* How much sharper attention is made for a context `factor` times as long (Peng et al. 2023, equation 22). */
static double sharper(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * sg_math_log(factor) + 1;
}

static sg_status read_yarn(const json_t *scaling, const char *path, sg_rope_scaling *r, sg_error *err)
{
    double m, m_all;

    SG_TRY(sg_config_real(scaling, path, "beta_fast", 32, &r->high, err));
    SG_TRY(sg_config_real(scaling, path, "beta_slow", 1, &r->low, err));
    SG_TRY(sg_config_real(scaling, path, "mscale", 1, &m, err));
    SG_TRY(sg_config_real(scaling, path, "mscale_all_dim", 1, &m_all, err));
    const bool both = sg_config_has(scaling, "mscale") && sg_config_has(scaling, "mscale_all_dim");
    r->truncate = sg_config_bool(scaling, "truncate", true);
    const double own = both ? sharper(r->factor, m) / sharper(r->factor, m_all) : sharper(r->factor, 1);
    return sg_config_real(scaling, path, "attention_factor", own, &r->scale, err);
}

static sg_status read_longrope(const json_t *config, const json_t *scaling, const char *path, sg_arch *arch,
                               const sg_model_info *info, sg_error *err)
{
    sg_rope_scaling *r = &arch->rope;

    if (sg_config_has(config, "original_max_position_embeddings")) {
        SG_TRY(sg_config_int(config, path, "original_max_position_embeddings", 2, 1 << 26, &r->original, err));
        r->factor = (double)info->n_context / (double)r->original;
    }
    const double own = r->factor <= 1 ? 1 : sqrt(1 + sg_math_log(r->factor) / sg_math_log((double)r->original));
    SG_TRY(sg_config_real(scaling, path, "attention_factor", own, &r->scale, err));
    SG_TRY(read_factors(scaling, path, "short_factor", arch->rotary / 2, r->shorter, err));
    return read_factors(scaling, path, "long_factor", arch->rotary / 2, r->longer, err);
}

/* A key of which we know nothing could mean anything. */
static sg_status check_keys(const json_t *scaling, const char *path, sg_error *err)
{
    static const char *const known[] = {"rope_type",        "type",
                                        "factor",           "low_freq_factor",
                                        "high_freq_factor", "original_max_position_embeddings",
                                        "beta_fast",        "mscale",
                                        "mscale_all_dim",   "beta_slow",
                                        "attention_factor", "partial_rotary_factor",
                                        "finetuned",        "truncate",
                                        "short_factor",     "long_factor",
                                        "rope_theta"};
    const json_t *v;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)scaling, key, v)
    {
        bool is_known = json_is_null(v);
        for (size_t i = 0; i < SG_COUNT_OF(known); i++)
            is_known |= strcmp(known[i], key) == 0;
        if (!is_known)
            return sg_fail(err, SG_EUNSUPPORTED, "%s: rope_scaling: %.60s is not something this version can do", path,
                           key);
    }
    return SG_OK;
}

static sg_status read_scaling(const json_t *config, const json_t *scaling, const char *path, sg_arch *arch,
                              const sg_model_info *info, sg_error *err)
{
    sg_rope_scaling *r = &arch->rope;
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));

    type = type ? type : json_string_value(json_object_get(scaling, "type"));
    if (!type)
        return sg_fail(err, SG_EFORMAT, "%s: rope_scaling: rope_type is missing", path);
    SG_TRY(check_keys(scaling, path, err));
    /* What is called dynamic stretches angles beyond the context that the config states, which nothing is run beyond.
     */
    if (strcmp(type, "default") == 0 || strcmp(type, "dynamic") == 0)
        return SG_OK;
    if (strcmp(type, "linear") == 0)
        r->kind = SG_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        r->kind = SG_ROPE_LLAMA3;
    else if (strcmp(type, "yarn") == 0)
        r->kind = SG_ROPE_YARN;
    else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        r->kind = SG_ROPE_LONGROPE;
    else
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: rope_scaling: rope_type is \"%.40s\", which this version does not know", path, type);
    SG_TRY(sg_config_int_or(scaling, path, "original_max_position_embeddings", info->n_context, 2, 1 << 26,
                            &r->original, err));
    if (r->kind != SG_ROPE_LONGROPE && !sg_config_has(scaling, "factor"))
        return sg_fail(err, SG_EFORMAT, "%s: rope_scaling: factor is missing", path);
    SG_TRY(sg_config_real(scaling, path, "factor", 1, &r->factor, err));
    if (r->kind == SG_ROPE_YARN)
        return read_yarn(scaling, path, r, err);
    if (r->kind == SG_ROPE_LONGROPE)
        return read_longrope(config, scaling, path, arch, info, err);
    if (r->kind == SG_ROPE_LLAMA3) {
        SG_TRY(sg_config_real(scaling, path, "low_freq_factor", 1, &r->low, err));
        SG_TRY(sg_config_real(scaling, path, "high_freq_factor", 4, &r->high, err));
        if (r->high <= r->low)
            return sg_fail(err, SG_EFORMAT, "%s: rope_scaling: high_freq_factor %g is not above low_freq_factor %g",
                           path, r->high, r->low);
    }
    return SG_OK;
}

sg_status sg_config_rope(const json_t *config, const char *path, double theta, sg_arch *arch, sg_model_info *info,
                         sg_error *err)
{
    const bool newer = sg_config_has(config, "rope_parameters");
    const json_t *scaling = json_object_get(config, newer ? "rope_parameters" : "rope_scaling");
    const bool any = sg_config_has(config, "rope_scaling") || newer;

    SG_TRY(sg_config_real(config, path, "rope_theta", theta, &arch->rope_theta, err));
    if (any && !json_is_object(scaling))
        return sg_fail(err, SG_EFORMAT, "%s: rope_scaling is not an object", path);
    if (newer)
        SG_TRY(sg_config_real(scaling, path, "rope_theta", arch->rope_theta, &arch->rope_theta, err));
    if (arch->rotary % 2 || arch->rotary < 2 || arch->rotary > info->d_head)
        return sg_fail(err, SG_EFORMAT,
                       "%s: %lld of the %lld numbers of each head turn, rotary positions need an even count", path,
                       (long long)arch->rotary, (long long)info->d_head);
    return any ? read_scaling(config, scaling, path, arch, info, err) : SG_OK;
}

sg_status sg_config_rotary(const json_t *config, const char *path, const char *key, double fallback, sg_arch *arch,
                           const sg_model_info *info, sg_error *err)
{
    double part;

    SG_TRY(sg_config_real(config, path, key, fallback, &part, err));
    SG_TRY(sg_config_real(config, path, "partial_rotary_factor", part, &part, err));
    if (sg_config_has(config, "rope_parameters"))
        SG_TRY(sg_config_real(json_object_get(config, "rope_parameters"), path, "partial_rotary_factor", part, &part,
                              err));
    if (part > 1)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %g, wanted at most 1", path, key, part);
    arch->rotary = (sg_dim)((double)info->d_head * part);
    return SG_OK;
}
