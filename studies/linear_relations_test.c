/* The study of linear relations: one relation at one seed on the model that ships, medians by hand, and that it stops
 * when asked. */
#include "relations_parts.h"

#include "check.h"

static const char *shipped(char path[1024])
{
    char file[1100];
    snprintf(path, 1024, "%s/models/kb4", SG_SOURCE_DIR);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    return access(file, R_OK) == 0 ? path : NULL;
}

static void one_relation_is_known_read_and_edited_better_than_its_controls(void **state)
{
    (void)state;
    char path[1024];
    sg_study_opts opts = sg_study_defaults();
    relations_parts p;
    sg_error err;
    opts.model = shipped(path);
    SKIP_WITHOUT(opts.model, "models/kb4");
    CHECK_OK(relations_open(&p, &opts, NULL, &err), &err);
    p.n_tests = 60;
    p.n_pairs = 20;
    p.n_rows = 1;
    p.rows[0].relation = SG_KB_COLOUR;
    CHECK_OK(relations_measure(&p, 0), &err);
    const relations_row *r = &p.rows[0];
    CHECK(p.n_sites == 4 && strcmp(p.sites[0], "blocks.0.hook_resid_pre") == 0);
    CHECK(r->known[0] >= .97 && p.fresh[0] <= .2);
    CHECK(r->changed[SG_LRE_COPY][0] == 1 &&
          r->copy_at[0][r->site[0]] == 1); /* the chosen site is one that the model reads */
    CHECK(r->changed[SG_LRE_BY_STATE][0] >= r->changed[SG_LRE_RANDOM][0]);
    CHECK(r->faithful[SG_LRE_MAP][0] >= r->beside[0] && r->faithful[SG_LRE_MAP][0] <= 1);
    CHECK(r->faithful[SG_LRE_OTHER][0] == r->faithful[SG_LRE_MAP][0]); /* of one relation the next is itself */
    relations_close(&p);
}

static double known_of(const relations_row *r, int seed)
{
    return r->known[seed];
}

static void medians_are_of_one_group_and_seed(void **state)
{
    (void)state;
    static relations_parts p = {.n_rows = SG_KB_N_RELATIONS};
    for (int i = 0; i < SG_KB_N_RELATIONS; i++) {
        p.rows[i].relation = i;
        p.rows[i].known[1] = 10 - i * i; /* 10 9 6 | 1 -6 */
    }
    CHECK(relations_median(&p, true, 1, known_of) == 9);
    CHECK(relations_median(&p, false, 1, known_of) == -2.5);
    CHECK(relations_median(&p, true, 0, known_of) == 0);
}

static void it_stops_when_asked(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    char path[1024];
    sg_study_opts opts = sg_study_defaults();
    sg_report *r;
    sg_error err;
    opts.model = shipped(path);
    SKIP_WITHOUT(opts.model, "models/kb4");
    opts.cancel = &stop;
    CHECK_STATUS(sg_study_run(&r, sg_study_find("linear-relations"), &opts, &err), SG_ECANCELLED);
    CHECK(r == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_relation_is_known_read_and_edited_better_than_its_controls),
        cmocka_unit_test(medians_are_of_one_group_and_seed),
        cmocka_unit_test(it_stops_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
