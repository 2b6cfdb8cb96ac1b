/* The learning rate as a function of the step. */
#include "sightglass/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"

static const char *const words[] = {[SG_SCHEDULE_CONSTANT] = "constant",
                                    [SG_SCHEDULE_LINEAR] = "linear",
                                    [SG_SCHEDULE_COSINE] = "cosine",
                                    [SG_SCHEDULE_WSD] = "wsd"};

sg_schedule sg_schedule_defaults(void)
{
    return (sg_schedule){
        .kind = SG_SCHEDULE_CONSTANT, .lr = 1e-3, .end = 0, .warmup = 0, .n_steps = 1000, .decay = 200};
}

sg_status sg_schedule_check(const sg_schedule *s, sg_error *err)
{
    if (!isfinite(s->lr) || s->lr < 0)
        return sg_fail(err, SG_EARG, "schedule: the rate is %g, wanted a number from 0", s->lr);
    if (!(s->end >= 0 && s->end <= 1))
        return sg_fail(err, SG_EARG, "schedule: it ends at %g of the rate, wanted 0 to 1", s->end);
    if (s->warmup < 0)
        return sg_fail(err, SG_EARG, "schedule: warm-up of %" PRId64 " steps", s->warmup);
    if (s->kind != SG_SCHEDULE_CONSTANT && s->warmup > s->n_steps)
        return sg_fail(err, SG_EARG, "schedule: warm-up of %" PRId64 " steps, there are %" PRId64, s->warmup,
                       s->n_steps);
    if (s->kind == SG_SCHEDULE_WSD && (s->decay < 0 || s->decay > s->n_steps - s->warmup))
        return sg_fail(err, SG_EARG,
                       "schedule: a decay of %" PRId64 " steps behind a warm-up of %" PRId64 ", there are %" PRId64,
                       s->decay, s->warmup, s->n_steps);
    return SG_OK;
}

double sg_schedule_lr(const sg_schedule *s, sg_dim step)
{
    const double pi = 3.14159265358979323846;
    if (step < s->warmup)
        return s->lr * (double)(step + 1) / (double)s->warmup;
    if (s->kind == SG_SCHEDULE_CONSTANT)
        return s->lr;
    const sg_dim start = s->kind == SG_SCHEDULE_WSD ? s->n_steps - s->decay : s->warmup;
    const double length = (double)(s->n_steps - start);
    const double done = length > 0 ? fmin(fmax((double)(step - start), 0) / length, 1) : step >= start;
    const double left = s->kind == SG_SCHEDULE_COSINE ? (1 + sg_math_cos(pi * done)) / 2 : 1 - done;
    return s->lr * (s->end + (1 - s->end) * left);
}

const char *sg_schedule_text(const sg_schedule *s, char buf[SG_SCHEDULE_TEXT])
{
    int n = snprintf(buf, SG_SCHEDULE_TEXT, "%s lr %.17g", words[s->kind], s->lr);
    if (s->kind != SG_SCHEDULE_CONSTANT)
        n += snprintf(buf + n, (size_t)(SG_SCHEDULE_TEXT - n), " end %.17g", s->end);
    n += snprintf(buf + n, (size_t)(SG_SCHEDULE_TEXT - n), " warmup %" PRId64, s->warmup);
    if (s->kind == SG_SCHEDULE_WSD)
        snprintf(buf + n, (size_t)(SG_SCHEDULE_TEXT - n), " decay %" PRId64, s->decay);
    else if (s->kind != SG_SCHEDULE_CONSTANT)
        snprintf(buf + n, (size_t)(SG_SCHEDULE_TEXT - n), " steps %" PRId64, s->n_steps);
    return buf;
}

sg_status sg_schedule_kind_of(sg_schedule_kind *out, const char *word, sg_error *err)
{
    for (size_t i = 0; i < SG_COUNT_OF(words); i++)
        if (strcmp(words[i], word) == 0) {
            *out = (sg_schedule_kind)i;
            return SG_OK;
        }
    return sg_fail(err, SG_EARG, "schedule \"%.40s\": there are constant, linear, cosine and wsd", word);
}
