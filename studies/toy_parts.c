#include "toy_parts.h"

#include <math.h>
#include <stdlib.h>

toy_model toy_budget(const sg_study_opts *opts)
{
    toy_model m = toy_defaults();
    m.seed = opts->seed;
    if (!opts->full) {
        m.n_steps = 6000;
        m.batch = 256;
        m.lr = 5e-3;
        m.lr_end = 5e-4;
    }
    return m;
}

sg_status toy_describe(const toy_parts *s)
{
    return sg_report_set_setup(s->report,
                               s->opts->full ? "h = Wx, y = relu(W'h + b), loss sum_i I_i (x_i - y_i)^2 with I_i = "
                                               "decay^i; Adam at 1e-3, 10,000 steps of 1,024 "
                                               "fresh samples, W Xavier-normal, b = 0 (plateaus: 4,000 steps of 256 at "
                                               "5e-3, the last third at 5e-4). Claims named "
                                               "pilot-... ask for the numbers of a pilot run of one seed exactly."
                                             : "h = Wx, y = relu(W'h + b), loss sum_i I_i (x_i - y_i)^2 with I_i = "
                                               "decay^i; Adam, W Xavier-normal, b = 0. To take "
                                               "seconds: 6,000 steps of 256 fresh samples at 5e-3, the last third at "
                                               "5e-4, in place of --full's 10,000 of 1,024 at 1e-3.",
                               s->err);
}

sg_status toy_sweep(const toy_parts *s, toy_trained *out, const char *part, sg_dim n, sg_dim m, double decay, int n_p,
                    const double *p, int n_seeds, bool linear)
{
    const sg_dim n_instances = (sg_dim)n_p * n_seeds;
    float *p_of = malloc((size_t)n_instances * sizeof *p_of);
    float *importance = malloc((size_t)(n_instances * n) * sizeof *importance);
    sg_status status = p_of && importance ? SG_OK : sg_fail(s->err, SG_ENOMEM, "toy model: out of memory");
    if (status == SG_OK) {
        for (sg_dim k = 0; k < n_instances; k++)
            p_of[k] = (float)p[k / n_seeds];
        for (sg_dim i = 0; i < n_instances * n; i++)
            importance[i] = (float)pow(decay, (double)(i % n));
        toy_model model = s->budget;
        model.n_instances = n_instances;
        model.n_features = n;
        model.n_dims = m;
        model.p = p_of;
        model.importance = importance;
        model.linear = linear;
        status = toy_train(out, &model, s->opts, part, s->report, s->err);
    }
    free(p_of);
    free(importance);
    return status;
}

sg_status toy_claim(const toy_parts *s, const char *id, const char *text, const char *source, sg_measure measured,
                    sg_control control)
{
    static const uint64_t seeds[SEEDS] = {0, 1, 2};
    const sg_claim claim = {.id = id,
                            .text = text,
                            .source = source,
                            .n_seeds = s->n_seeds,
                            .seeds = seeds,
                            .measured = measured,
                            .control = control};
    return sg_report_add_claim(s->report, &claim, s->err);
}
