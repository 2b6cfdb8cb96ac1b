/* The study of mine and yours: that it holds on the model that ships, stops when asked, and refuses what is no model of
 * Othello. */
#include "othello_parts.h"

#include "check.h"

static char folder[200];

static const char *shipped(char path[1024])
{
    snprintf(path, 1024, "%s/models/othello6", SG_SOURCE_DIR);
    char file[1100];
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    return access(file, R_OK) == 0 ? path : NULL;
}

static void write_model(int n_vocab)
{
    char config[300], dir[300];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    sg_error err;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-linear-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(dir, sizeof dir, "%s/m", folder);
    FILE *f = fopen(config, "wb");
    CHECK(f &&
          fprintf(f,
                  "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":1,\"n_head\":2,\"vocab_size\":%d,"
                  "\"n_positions\":12,\"initializer_range\":0.2}",
                  n_vocab) > 0 &&
          fclose(f) == 0);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 0, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, dir, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
}

static sg_status run(sg_report **r, const char *model, const volatile sig_atomic_t *cancel, sg_error *err)
{
    char dir[300];
    sg_study_opts opts = sg_study_defaults();
    snprintf(dir, sizeof dir, "%s/m", folder);
    opts.model = model ? model : dir;
    opts.cancel = cancel;
    return sg_study_run(r, sg_study_find("othello-linear"), &opts, err);
}

static void remove_model(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(system(command) == 0);
}

static void a_model_that_learnt_nothing_does_not_pass(void **state)
{
    (void)state;
    sg_report *r;
    sg_error err;
    write_model(13); /* of the 4x4 board */
    CHECK_OK(run(&r, NULL, NULL, &err), &err);
    CHECK(sg_report_n_claims(r) == 6 && sg_report_n_figures(r) == 2);
    CHECK(!sg_report_holds(r));
    for (int i = 0; i < sg_report_n_claims(r); i++)
        CHECK(!sg_claim_holds(sg_report_claim(r, i)));
    CHECK(strcmp(sg_report_about(r)->backend, "unknown") != 0);
    sg_report_free(r);
    const volatile sig_atomic_t stop = 1;
    CHECK_STATUS(run(&r, NULL, &stop, &err), SG_ECANCELLED);
    remove_model();
}

static void a_model_of_something_else_is_refused(void **state)
{
    (void)state;
    sg_report *r;
    sg_error err;
    write_model(50);
    CHECK_STATUS(run(&r, NULL, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "vocabulary of 50");
    CHECK_STATUS(run(&r, "no/such/model", NULL, &err), SG_ENOTFOUND);
    remove_model();
}

static void the_claims_hold_on_the_model_that_ships(void **state)
{
    (void)state;
    char path[1024];
    sg_report *r;
    sg_error err;
    SKIP_WITHOUT(shipped(path), "models/othello6");
    CHECK_OK(run(&r, path, NULL, &err), &err);
    for (int i = 0; i < sg_report_n_claims(r); i++)
        CHECK(sg_claim_holds(sg_report_claim(r, i)));
    sg_report_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_learnt_nothing_does_not_pass),
        cmocka_unit_test(a_model_of_something_else_is_refused),
        cmocka_unit_test(the_claims_hold_on_the_model_that_ships),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
