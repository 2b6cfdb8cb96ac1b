/* What can be known without a trained model: that on one that has learnt nothing the study tells of all it asks, says
 * that nothing was learnt, and stops when asked. */
#include "othello_tpr_parts.h"

#include "check.h"

static const char config[] =
    "{\"model_type\":\"gpt2\",\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":16,\"n_layer\":1,"
    "\"n_head\":2,\"vocab_size\":13,\"n_positions\":12,\"initializer_range\":0.3}";
static char folder[256];

static const char *in_folder(char path[320], const char *name)
{
    snprintf(path, 320, "%s/%s", folder, name);
    return path;
}

/* A model of the 4 x 4 board with the weights that it begins with. */
static int begin(void **state)
{
    (void)state;
    char path[320];
    const char *tmp = getenv("TMPDIR");
    sg_error err;
    sg_model *m = NULL;
    sg_graph *g = NULL;
    sg_state *s = NULL;
    snprintf(folder, sizeof folder, "%s/sightglass-othello-tpr-XXXXXX", tmp ? tmp : "/tmp");
    FILE *f = mkdtemp(folder) ? fopen(in_folder(path, "new.json"), "wb") : NULL;
    if (!f || fputs(config, f) < 0 || fclose(f) != 0)
        return -1;
    CHECK_OK(sg_model_new(&m, path, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_model_bind(m, g, s, &err), &err);
    CHECK_OK(sg_state_init(s, 99, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, folder, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    static const char *const left[] = {"new.json", "config.json", "model.safetensors"};
    char path[320];
    for (int i = 0; i < 3; i++)
        unlink(in_folder(path, left[i]));
    return rmdir(folder);
}

static const sg_claim *claim(const sg_report *r, const char *id)
{
    for (int i = 0; i < sg_report_n_claims(r); i++)
        if (strcmp(sg_report_claim(r, i)->id, id) == 0)
            return sg_report_claim(r, i);
    return NULL;
}

static void a_network_that_learnt_nothing_is_said_to_have_learnt_nothing(void **state)
{
    (void)state;
    sg_error err;
    sg_report *r;
    sg_study_opts opts = sg_study_defaults();
    opts.model = folder;
    CHECK_OK(sg_study_run(&r, sg_study_find("othello-tpr"), &opts, &err), &err);
    static const char *const ids[] = {"accuracy",   "directions",        "directions-refit",
                                      "neighbours", "neighbours-beyond", "neighbours-learnt"};
    CHECK(sg_report_n_claims(r) == 6 && sg_report_n_figures(r) == 4);
    for (int i = 0; i < 6; i++) {
        const sg_claim *c = claim(r, ids[i]);
        CHECK(c && c->n_seeds == TPR_SEEDS && c->measured.n == TPR_SEEDS && c->control.measured.n == TPR_SEEDS);
        for (int k = 0; k < TPR_SEEDS; k++)
            CHECK(isfinite(c->measured.values[k]) && isfinite(c->control.measured.values[k]));
    }
    /* As good as another network of its kind: no better on the mean than what some seeds differ by. */
    CHECK(!sg_claim_holds(claim(r, "neighbours-learnt")));
    CHECK(fabs(sg_measure_mean(&claim(r, "neighbours-learnt")->measured)) < 0.15);
    CHECK(!sg_report_holds(r));
    sg_report_free(r);
}

static volatile sig_atomic_t stop;

static void stop_soon(void *context, const sg_study_progress *at)
{
    CHECK(at->done >= 0 && at->done <= 1 && at->part[0] && at->seconds_left >= 0);
    if (++*(int *)context == 5)
        stop = 1;
}

static void it_tells_how_far_it_is_and_stops_when_asked(void **state)
{
    (void)state;
    int n_told = 0;
    sg_error err;
    sg_report *r;
    sg_study_opts opts = sg_study_defaults();
    opts.model = folder;
    opts.progress = stop_soon;
    opts.context = &n_told;
    opts.cancel = &stop;
    CHECK(sg_study_run(&r, sg_study_find("othello-tpr"), &opts, &err) == SG_ECANCELLED);
    CHECK(r == NULL && n_told >= 5 && n_told < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_that_learnt_nothing_is_said_to_have_learnt_nothing),
        cmocka_unit_test(it_tells_how_far_it_is_and_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
