/* Scores and reports of probes: counted by hand, and on a small network of which it is known what has to come out. */
#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/probe.h"

/* ---- scores ---- */

/* Two tasks of three classes off one number x: task 0 reads class 1 where x > 0, else 0; task 1 reads always 2. */
static sg_probe *threshold(void)
{
    float w[6] = {0, 1, 0, 0, 0, 0}, b[6] = {0, 0, -9, 0, 0, 1};
    const sg_tensor wt = sg_tensor_of(SG_F32, 3, (sg_dim[]){1, 2, 3}, w),
                    bt = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, b);
    sg_probe *p;
    sg_error err;
    CHECK_OK(sg_probe_of(&p, &wt, &bt, &err), &err);
    return p;
}

static void scores_are_the_counts_by_hand(void **state)
{
    (void)state;
    float x[6] = {1, 1, -1, -1, 1, -1};
    /* task 0: read 1,1,0,0,1,0; task 1: read 2 throughout */
    int32_t label[12] = {1, 2, 0, 2, 0, 0, /* */ 1, -1, 1, 2, 0, 2};
    const sg_store_row rows[6] = {{0, 0, 0}, {0, 1, 0}, {0, 2, 0}, {3, 0, 0}, {3, 1, 0}, {3, 2, 0}};
    const sg_tensor acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){6, 1}, x);
    sg_tensor labels = sg_tensor_of(SG_I32, 2, (sg_dim[]){6, 2}, label);
    sg_probe *p = threshold();
    sg_probe_score *s;
    sg_error err;
    CHECK_OK(sg_probe_score_new(&s, p, &acts, &labels, rows, sg_score_defaults(), &err), &err);
    CHECK(s->n_tasks == 2 && s->n_classes == 3 && s->n_rows == 6 && s->n_episodes == 2 && s->n_positions == 3);
    /* task 0: right at rows 0, 2, 4, 5: 4 of 6; task 1: right at 0, 1, 4, 5: 4 of 5 */
    CHECK_NEAR(s->by_task[0], 4.0 / 6, 1e-12, 0);
    CHECK_NEAR(s->by_task[1], 4.0 / 5, 1e-12, 0);
    CHECK_NEAR(s->all.value, 8.0 / 11, 1e-12, 0);
    CHECK(s->all.n == 11 && s->hard.n == 7);
    /* not 0: task 0 has three 1s, two of them right; task 1 four 2s, all right */
    CHECK_NEAR(s->hard_by_task[0], 2.0 / 3, 1e-12, 0);
    CHECK_NEAR(s->hard_by_task[1], 1, 1e-12, 0);
    CHECK_NEAR(s->hard.value, 6.0 / 7, 1e-12, 0);
    /* F1: task 0 class 0 two of three and three: 2/3; class 1 the same: 2/3; class 2 absent; task 1 class 0 none of
     * one: 0; class 1 absent; class 2 four of four and six said, of which the unlabelled one does not count: 8/9 */
    CHECK_NEAR(s->macro_f1, (2.0 / 3 + 2.0 / 3 + 0 + 8.0 / 9) / 4, 1e-12, 0);
    CHECK(s->n_absent == 2);
    CHECK_NEAR(s->recall[0], 2.0 / 4, 1e-12, 0);
    CHECK_NEAR(s->precision[2], 4.0 / 5, 1e-12, 0);
    CHECK(s->asked[0] == 6 && s->right[0] == 4 + 0 && s->asked[1] == 5 && s->right[1] == 4);
    /* position 0: rows 0 and 3: 1 and 2 right, 1 wrong */
    CHECK_NEAR(s->hard_by_position[0], 2.0 / 3, 1e-12, 0);
    CHECK(s->all.low >= 4.0 / 6 - 1e-12 && s->all.high <= 4.0 / 5 + 1e-12); /* two episodes: their rates */
    sg_probe_score_free(s);
    label[3] = 3;
    CHECK_STATUS(sg_probe_score_new(&s, p, &acts, &labels, rows, sg_score_defaults(), &err), SG_EARG);
    labels.dims[1] = 1;
    CHECK_STATUS(sg_probe_score_new(&s, p, &acts, &labels, rows, sg_score_defaults(), &err), SG_ESHAPE);
    CHECK(s == NULL);
    sg_probe_free(p);
}

/* ---- reports ---- */

enum { FIT = 60, TEST = 20 };

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":24,\"n_layer\":2,\"n_head\":2,\"vocab_size\":13,"
                             "\"n_positions\":12,\"initializer_range\":0.2}";
static const char *const sites[] = {"blocks.0.hook_resid_post", "blocks.1.hook_resid_post"};
static const char *const labels[] = {"board_rel", "turned"};
static const sg_setting small = {"size", "4"};
static sg_model *model;

static int begin(void **state)
{
    (void)state;
    char path[] = "/tmp/sightglass-probe-XXXXXX";
    sg_error err;
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, config, sizeof config - 1) != sizeof config - 1 || close(fd) != 0)
        return -1;
    const sg_status status = sg_model_new(&model, path, NULL, sg_model_defaults(), &err);
    unlink(path);
    return status == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_model_close(model);
    return 0;
}

static sg_probe_job job_of(void)
{
    sg_probe_job job = sg_probe_job_defaults();
    sg_error err;
    job.model = model;
    job.world = sg_world_find("othello", &err);
    job.n_settings = 1;
    job.settings = &small;
    job.n_sites = job.n_labels = 2;
    job.sites = sites;
    job.labels = labels;
    job.n_fit = FIT;
    job.n_test = TEST;
    return job;
}

static sg_probe_table *run(const sg_probe_job *job)
{
    sg_probe_table *t;
    sg_error err;
    CHECK_OK(sg_probe_run(&t, job, &err), &err);
    return t;
}

static void same_score(const sg_probe_score *a, const sg_probe_score *b)
{
    CHECK(a->all.value == b->all.value && a->hard.value == b->hard.value && a->all.low == b->all.low);
    CHECK(a->n_rows == b->n_rows && a->macro_f1 == b->macro_f1);
}

/* The model has learnt nothing, and the untrained network of the same seed is the same network. */
static void an_untrained_model_is_read_as_well_as_its_untrained_network(void **state)
{
    (void)state;
    const sg_probe_job job = job_of();
    sg_probe_table *t = run(&job);
    CHECK(t->n == 4 && t->n_labels == 2);
    for (int i = 0; i < 4; i++) {
        const sg_probe_result *r = &t->results[i];
        CHECK(strcmp(r->site, sites[i / 2]) == 0 && strcmp(r->label, labels[i % 2]) == 0);
        same_score(r->score, r->control[SG_CONTROL_UNTRAINED]);
        CHECK(r->control[SG_CONTROL_BAG] == t->results[i % 2].control[SG_CONTROL_BAG]);
        CHECK(sg_probe_n_tasks(r->probe) == 16 && sg_probe_n_classes(r->probe) == (i % 2 ? 2 : 3));
        CHECK(sg_probe_width(r->control_probe[SG_CONTROL_BAG]) == 13);
    }
    /* and still its activations tell more of a board than the board of another game does */
    CHECK(t->results[2].score->hard.value > t->results[2].control[SG_CONTROL_SHUFFLED]->hard.value + 0.05);
    sg_probe_table_free(t);
}

/* With memory for one site at a time, the model runs more often and says the same. */
static void memory_changes_nothing_and_neither_do_given_episodes(void **state)
{
    (void)state;
    sg_probe_job job = job_of();
    sg_probe_table *a = run(&job);
    job.at_once = 1;
    sg_probe_table *b = run(&job);
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, job.world, 1, &small, FIT + TEST, job.seed, &err), &err);
    job.tokens = sg_sample_find(s, "tokens");
    sg_probe_table *c = run(&job);
    for (int i = 0; i < 4; i++) {
        same_score(a->results[i].score, b->results[i].score);
        same_score(a->results[i].score, c->results[i].score);
        for (int k = 0; k < SG_N_PROBE_CONTROLS; k++)
            same_score(a->results[i].control[k], b->results[i].control[k]);
    }
    sg_probe_table_free(a);
    sg_probe_table_free(b);
    sg_probe_table_free(c);
    sg_sample_free(s);
}

static void saved_probes_judge_the_same_episodes_the_same(void **state)
{
    (void)state;
    char folder[64] = "/tmp/sightglass-probe-XXXXXX", dir[80], command[160];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(dir, sizeof dir, "%s/made", folder);
    sg_probe_job job = job_of();
    sg_probe_table *t = run(&job), *opened;
    sg_probe_manifest said;
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_probe_table_save(t, &job, dir, &err), &err);
    CHECK_OK(sg_probe_table_open(&opened, &said, dir, "turned.blocks.1.hook_resid_post", &err), &err);
    CHECK(strcmp(said.world, "othello size 4") == 0 && strcmp(said.label, "turned") == 0 && said.data == NULL);
    CHECK_NEAR(said.hard_accuracy, t->results[3].score->hard.value, 1e-8, 0);
    CHECK_NEAR(said.control[SG_CONTROL_BAG], t->results[3].control[SG_CONTROL_BAG]->all.value, 1e-8, 0);
    /* the episodes that it was judged on, by themselves */
    CHECK_OK(sg_world_sample(&s, job.world, 1, &small, FIT + TEST, job.seed, &err), &err);
    const sg_tensor tokens = sg_rows_of(sg_sample_find(s, "tokens"), FIT, TEST);
    job.n_fit = 0;
    job.n_sites = job.n_labels = 1;
    job.sites = sites + 1;
    job.labels = labels + 1;
    job.tokens = &tokens;
    CHECK_OK(sg_probe_judge(opened, &job, &err), &err);
    same_score(opened->results[0].score, t->results[3].score);
    for (int k = 0; k < SG_N_PROBE_CONTROLS; k++)
        same_score(opened->results[0].control[k], t->results[3].control[k]);
    job.sites = sites;
    CHECK_STATUS(sg_probe_judge(opened, &job, &err), SG_EARG); /* of another site */
    sg_probe_table_free(opened);
    sg_probe_table_free(t);
    sg_sample_free(s);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK(system(command) == 0);
}

static void what_a_job_asks_wrongly_is_refused(void **state)
{
    (void)state;
    sg_probe_table *t = NULL;
    sg_error err;
    sg_probe_job job = job_of();
    job.labels = (const char *const[]){"board_rel", "board_rle"};
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "board_rel");
    job = job_of();
    job.sites = (const char *const[]){"blocks.0.hook_resid_post", "blocks.2.hook_resid_post"};
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_ENOTFOUND);
    job = job_of();
    job.n_settings = 0; /* of the 8x8 board */
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_EARG);
    CHECK_TEXT(err.text, "vocabulary");
    job = job_of();
    job.world = sg_world_find("features", &err);
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_EUNSUPPORTED);
    job = job_of();
    job.n_fit = 1;
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_EARG);
    volatile sig_atomic_t stop = 1;
    job = job_of();
    job.cancel = &stop;
    CHECK_STATUS(sg_probe_run(&t, &job, &err), SG_ECANCELLED);
    CHECK(t == NULL);
}

/* ---- what a direction does in the model ---- */

/* The residual stream is a sum, so that a linear probe's logits are sums over what was added to it. */
static void a_logit_is_the_sum_over_components(void **state)
{
    (void)state;
    static const char *const parts[] = {"hook_embed",
                                        "hook_pos_embed",
                                        "blocks.0.hook_attn_out",
                                        "blocks.0.hook_mlp_out",
                                        "blocks.1.hook_attn_out",
                                        "blocks.1.hook_mlp_out",
                                        "blocks.1.hook_resid_post"};
    enum { PARTS = 6 };
    sg_probe_job job = job_of();
    sg_probe_table *t = run(&job);
    const sg_probe *p = t->results[2].probe;
    sg_sample *s;
    sg_store *store;
    sg_error err;
    float zeros[24] = {0}, bias[48], sum[48], all[48];
    CHECK_OK(sg_world_sample(&s, job.world, 1, &small, 3, 5, &err), &err);
    CHECK_OK(sg_harvest(&store, model, PARTS + 1, parts, sg_sample_find(s, "tokens"), sg_sample_find(s, "counts"),
                        sg_harvest_defaults(), &err),
             &err);
    const sg_tensor origin = sg_tensor_of(SG_F32, 2, (sg_dim[]){1, 24}, zeros);
    CHECK_OK(sg_probe_logits(p, &origin, bias, &err), &err);
    double largest = 0;
    for (sg_dim r = 0; r < sg_store_n_rows(store); r++) {
        memcpy(sum, bias, sizeof sum);
        for (int i = 0; i < PARTS; i++) {
            float of_part[48];
            const sg_tensor row = sg_rows_of(sg_store_acts(store, i), r, 1);
            CHECK_OK(sg_probe_logits(p, &row, of_part, &err), &err);
            for (int k = 0; k < 48; k++)
                sum[k] += of_part[k] - bias[k];
        }
        const sg_tensor row = sg_rows_of(sg_store_acts(store, PARTS), r, 1);
        CHECK_OK(sg_probe_logits(p, &row, all, &err), &err);
        for (int k = 0; k < 48; k++) {
            CHECK_NEAR(sum[k], all[k], 1e-4, 0);
            largest = fmax(largest, fabs((double)all[k]));
        }
    }
    CHECK(largest > 0.1); /* so that the tolerance means something */
    sg_store_free(store);
    sg_sample_free(s);
    sg_probe_table_free(t);
}

static void logits_of(float *out, int n_edits, const sg_edit *edits, int n_rows, const int32_t *const *rows)
{
    enum { LENGTH = 7 };
    const sg_dim lengths[3] = {LENGTH, LENGTH, LENGTH};
    sg_glass *glass;
    sg_value *logits;
    sg_tensor read;
    sg_error err;
    CHECK_OK(sg_glass_new(&glass, model, sg_glass_defaults(), &err), &err);
    if (n_edits)
        CHECK_OK(sg_glass_edit(glass, n_edits, edits, &err), &err);
    CHECK_OK(sg_glass_find(glass, "logits", &logits, &err), &err);
    const sg_rows all = {.n_rows = n_rows, .tokens = rows, .lengths = lengths};
    CHECK_OK(sg_glass_run(glass, &all, 0, NULL, 1, &logits, &read, &err), &err);
    memcpy(out, read.data, sg_tensor_bytes(&read));
    sg_glass_free(glass);
}

/* Strength 0 changes no bit; a batch in which each row has a square of its own is what the rows are alone. */
static void directions_as_edits(void **state)
{
    (void)state;
    enum { ROWS = 3, EACH = 7 * 13 };
    const int32_t game[ROWS][7] = {{4, 1, 2, 9, 8, 3, 7}, {5, 2, 1, 12, 6, 4, 3}, {8, 9, 4, 1, 2, 7, 12}};
    const int32_t *rows[ROWS] = {game[0], game[1], game[2]};
    float plain[ROWS * EACH], edited[ROWS * EACH], direction[ROWS][24];
    sg_probe_job job = job_of();
    sg_probe_table *t = run(&job);
    sg_edit edit[ROWS];
    sg_span span[ROWS];
    sg_error err;
    for (int i = 0; i < ROWS; i++) {
        CHECK_OK(sg_probe_direction(t->results[0].probe, 3 * i, 1, 2, direction[i], &err), &err);
        span[i] = (sg_span){i, i};
        edit[i] = sg_edit_defaults();
        edit[i].site = sites[0];
        edit[i].op = SG_EDIT_ADD;
        edit[i].value = sg_tensor_of(SG_F32, 1, (sg_dim[]){24}, direction[i]);
        edit[i].strength = 0;
        edit[i].rows = (sg_spans){1, &span[i]};
    }
    logits_of(plain, 0, NULL, ROWS, rows);
    logits_of(edited, ROWS, edit, ROWS, rows);
    CHECK(memcmp(plain, edited, sizeof plain) == 0);
    for (int i = 0; i < ROWS; i++)
        edit[i].strength = 3;
    logits_of(edited, ROWS, edit, ROWS, rows);
    CHECK(memcmp(plain, edited, sizeof plain) != 0);
    for (int i = 0; i < ROWS; i++) {
        float alone[EACH];
        edit[i].rows.n = 0;
        logits_of(alone, 1, &edit[i], 1, &rows[i]);
        for (int k = 0; k < EACH; k++)
            CHECK_NEAR(alone[k], edited[i * EACH + k], 1e-5, 1e-5);
    }
    sg_probe_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_counts_by_hand),
        cmocka_unit_test(an_untrained_model_is_read_as_well_as_its_untrained_network),
        cmocka_unit_test(memory_changes_nothing_and_neither_do_given_episodes),
        cmocka_unit_test(saved_probes_judge_the_same_episodes_the_same),
        cmocka_unit_test(what_a_job_asks_wrongly_is_refused),
        cmocka_unit_test(a_logit_is_the_sum_over_components),
        cmocka_unit_test(directions_as_edits),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
