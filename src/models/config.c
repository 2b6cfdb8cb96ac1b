/* Reading config.json: each key checked, each error with path, key and what was found. */
#include <math.h>
#include <string.h>

#include "models/arch.h"

bool sg_config_has(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);

    return v && !json_is_null(v);
}

sg_status sg_config_int(const json_t *config, const char *path, const char *key, sg_dim least, sg_dim most, sg_dim *out,
                        sg_error *err)
{
    const json_t *v = json_object_get(config, key);

    if (!v)
        return sg_fail(err, SG_EFORMAT, "%s: %s is missing", path, key);
    if (!json_is_integer(v))
        return sg_fail(err, SG_EFORMAT, "%s: %s is not a whole number", path, key);
    const json_int_t n = json_integer_value(v);
    if (n < least || n > most)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %lld, wanted %lld to %lld", path, key, (long long)n, (long long)least,
                       (long long)most);
    *out = n;
    return SG_OK;
}

sg_status sg_config_real(const json_t *config, const char *path, const char *key, double fallback, double *out, sg_error *err)
{
    const json_t *v = json_object_get(config, key);

    *out = fallback;
    if (!v || json_is_null(v))
        return SG_OK;
    if (!json_is_number(v) || !isfinite(json_number_value(v)) || json_number_value(v) <= 0)
        return sg_fail(err, SG_EFORMAT, "%s: %s is not a number above 0", path, key);
    *out = json_number_value(v);
    return SG_OK;
}

sg_status sg_config_act(const json_t *config, const char *path, const char *key, sg_arch *arch, sg_error *err)
{
    static const struct {
        const char *name;
        sg_activation act;
    } acts[] = {{"silu", SG_ACT_SILU}, {"swish", SG_ACT_SILU}, {"gelu", SG_ACT_GELU}, {"gelu_new", SG_ACT_GELU_TANH},
                {"gelu_pytorch_tanh", SG_ACT_GELU_TANH}, {"relu", SG_ACT_RELU}};
    const char *name = json_string_value(json_object_get(config, key));

    if (!name)
        return sg_fail(err, SG_EFORMAT, "%s: %s is missing", path, key);
    for (size_t i = 0; i < SG_COUNT_OF(acts); i++)
        if (strcmp(acts[i].name, name) == 0) {
            arch->act = acts[i].act;
            return SG_OK;
        }
    return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is \"%.40s\", which this version does not know", path, key, name);
}
