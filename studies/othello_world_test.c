/* The study of a board inside: that it holds on the model that ships, does not on one that learnt nothing, stops when
 * asked, and refuses what is no model of Othello. */
#include "othello_world.h"

#include "check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static char folder[200], dir[240];

static void write_model(int n_vocab)
{
    char config[240];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    sg_error err;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.150s/sightglass-world-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(dir, sizeof dir, "%s/m", folder);
    FILE *f = fopen(config, "wb");
    CHECK(f &&
          fprintf(f,
                  "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":2,\"vocab_size\":%d,"
                  "\"n_positions\":32,\"initializer_range\":0.2}",
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
    sg_study_opts opts = sg_study_defaults();
    opts.model = model;
    opts.cancel = cancel;
    return sg_study_run(r, sg_study_find("othello-world"), &opts, err);
}

static void remove_model(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(system(command) == 0);
}

static const sg_claim *claim(const sg_report *r, const char *id)
{
    for (int i = 0; i < sg_report_n_claims(r); i++)
        if (strcmp(sg_report_claim(r, i)->id, id) == 0)
            return sg_report_claim(r, i);
    fail_msg("no claim %s", id);
    return NULL;
}

static void a_model_that_learnt_nothing_does_not_pass(void **state)
{
    (void)state;
    static const char *const ids[] = {"legal", "read", "read-learnt", "edit-share", "edit-factor"};
    sg_report *r;
    sg_error err;
    write_model(33); /* of the 6x6 board */
    CHECK_OK(run(&r, dir, NULL, &err), &err);
    CHECK(sg_report_n_figures(r) == 3);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        if (sg_claim_holds(claim(r, ids[i])))
            fail_msg("%s holds", ids[i]);
    sg_report_free(r);
    const volatile sig_atomic_t stop = 1;
    CHECK_STATUS(run(&r, dir, &stop, &err), SG_ECANCELLED);
    CHECK(r == NULL);
    remove_model();
}

static void a_model_of_something_else_is_refused(void **state)
{
    (void)state;
    sg_report *r;
    sg_error err;
    write_model(50);
    CHECK_STATUS(run(&r, dir, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "vocabulary of 50");
    CHECK_STATUS(run(&r, "no/such/model", NULL, &err), SG_ENOTFOUND);
    remove_model();
}

static void the_claims_hold_on_the_model_that_ships(void **state)
{
    (void)state;
    char file[1100], path[1024];
    sg_report *r;
    sg_error err;
    snprintf(path, sizeof path, "%s/models/othello6", SG_SOURCE_DIR);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    const char *const there = file;
    SKIP_WITHOUT(there, "models/othello6");
    if (SANITIZED) {
        print_message("skipped: takes minutes under a sanitizer\n");
        skip();
    }
    CHECK_OK(run(&r, path, NULL, &err), &err);
    for (int i = 0; i < sg_report_n_claims(r); i++)
        if (!sg_claim_holds(sg_report_claim(r, i)))
            print_error("%s: %g\n", sg_report_claim(r, i)->id, sg_measure_mean(&sg_report_claim(r, i)->measured));
    CHECK(sg_report_n_claims(r) == 8 && sg_report_holds(r));
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
