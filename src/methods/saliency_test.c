/* Against interventions made one by one, and against what sums of probabilities must be. */
#include "sightglass/saliency.h"

#include "base/base.h"
#include "check.h"
#include "sightglass/rng.h"

enum { D = 16, S = 4, C = 3, V = 13, N = 5 };

static const char *const site = "blocks.0.hook_resid_post";

static void a_score_is_what_the_token_loses_by_the_change(void **state)
{
    (void)state;
    static const char config[] = "{\"model_type\": \"gpt2\", \"n_embd\": 16, \"n_layer\": 2, \"n_head\": 2, "
                                 "\"n_positions\": 8, \"vocab_size\": 13, \"initializer_range\": 0.3}";
    static const int32_t tokens[N] = {1, 5, 12, 0, 7};
    static const sg_change changes[] = {{0, 1, 2}, {3, 0, 1}, {2, 2, 2}};
    FILE *f = fopen("saliency_config.json", "w");
    sg_model *m;
    sg_probe *p;
    sg_intervener *iv;
    sg_saliency *s;
    sg_error err;
    float w[D * S * C];
    CHECK(f && fwrite(config, 1, sizeof config - 1, f) == sizeof config - 1 && fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, "saliency_config.json", NULL, sg_model_defaults(), &err), &err);
    unlink("saliency_config.json");
    sg_rng r = sg_rng_new(2, 0);
    for (int i = 0; i < D * S * C; i++)
        w[i] = (float)sg_rng_normal(&r);
    const sg_tensor tw = sg_tensor_of(SG_F32, 3, (sg_dim[]){D, S, C}, w);
    CHECK_OK(sg_probe_of(&p, &tw, NULL, &err), &err);
    CHECK_OK(sg_intervener_new(&iv, m, 1, &site, (const sg_probe *const *)&p, sg_exec_defaults(), &err), &err);
    const sg_intervene_opts opts = sg_intervene_defaults();
    CHECK_OK(sg_saliency_latent(&s, iv, tokens, N, 3, changes, opts, &err), &err);
    CHECK(s->n == 3 && s->n_vocab == V);

    double all = 0;
    for (int v = 0; v < V; v++)
        all += s->before[v];
    CHECK_NEAR(all, 1, 1e-12, 0);
    for (int i = 0; i < 3; i++) {
        sg_intervention *one;
        const sg_rewrite row = {tokens, N, 1, &changes[i]};
        double sum = 0, total = 0, most = 0;
        CHECK_OK(sg_intervener_run(&one, iv, 1, &row, opts, &err), &err);
        for (int v = 0; v < V; v++)
            sum += exp((double)one->logits[v]);
        for (int v = 0; v < V; v++) {
            CHECK_NEAR(sg_saliency_score(s, i, v), s->before[v] - exp((double)one->logits[v]) / sum, 1e-6, 0);
            total += sg_saliency_score(s, i, v);
            most = fmax(most, fabs(sg_saliency_score(s, i, v)));
        }
        CHECK_NEAR(total, 0, 1e-12, 0); /* what one token loses others gain */
        CHECK(i == 2 ? most < 1e-6 : most > 1e-3);
        sg_intervention_free(one);
    }
    sg_saliency_free(s);
    CHECK_STATUS(sg_saliency_latent(&s, iv, tokens, N, 0, changes, opts, &err), SG_EARG);
    CHECK_STATUS(sg_saliency_latent(&s, iv, tokens, N, 1, &(sg_change){S, 0, 1}, opts, &err), SG_EARG);
    CHECK(s == NULL);
    sg_intervener_free(iv);
    sg_probe_free(p);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_score_is_what_the_token_loses_by_the_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
