/* A whole job on a tiny network that has learnt nothing, so that what it yields can be told beforehand: it is its own
 * untrained network. */
#include "sightglass/tpr.h"

#include "base/base.h"
#include "check.h"

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":1,\"n_head\":2,\"vocab_size\":13,"
                             "\"n_positions\":12,\"initializer_range\":0.3}";
enum { SIDE = 4, S = SIDE * SIDE, N_SIZES = 3 };
static const sg_dim sizes[N_SIZES] = {2, 4, S};
static const sg_setting setting = {"size", "4"};
static uint8_t board[S * S];
static sg_model *model;

static int begin(void **state)
{
    (void)state;
    char path[] = "/tmp/sightglass-tpr-run-XXXXXX";
    sg_error err;
    const int fd = mkstemp(path);
    if (fd < 0 || write(fd, config, sizeof config - 1) != sizeof config - 1 || close(fd) != 0)
        return -1;
    const sg_status status = sg_model_new(&model, path, NULL, sg_model_defaults(), &err);
    unlink(path);
    sg_tpr_board(board, SIDE, SIDE);
    return status == SG_OK ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_model_close(model);
    return 0;
}

static sg_tpr_job small_job(void)
{
    sg_tpr_job job = sg_tpr_job_defaults();
    job.model = model;
    job.world = sg_world_find("othello", NULL);
    job.n_settings = 1;
    job.settings = &setting;
    job.site = "blocks.0.hook_resid_post";
    job.label = "board_rel";
    job.n_fit = 150;
    job.n_test = 50;
    job.n_sizes = N_SIZES;
    job.role_dims = sizes;
    job.adjacency = board;
    job.fit.role_dim = 4;
    job.fit.batch = 128;
    job.fit.n_epochs = 30;
    job.fit.seed = 3;
    job.fit.exec.n_threads = 1;
    job.score.n_resamples = 50;
    return job;
}

static bool is_rate(const sg_rate *r)
{
    return r->low <= r->value && r->value <= r->high && r->low > 0 && r->high < 1 && r->n > 0;
}

static bool is_fitted(const sg_tpr_fitted *f)
{
    return f->probe && is_rate(&f->all) && is_rate(&f->hard) && f->geometry &&
           f->n_parameters == sg_tpr_n_parameters(f->probe);
}

static void a_job_yields_every_number_with_its_controls(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr_table *t;
    const sg_tpr_job job = small_job();
    CHECK_OK(sg_tpr_run(&t, &job, &err), &err);
    CHECK(t->width == 16 && t->n_roles == S && t->n_classes == 3 && t->n_sizes == N_SIZES);
    CHECK(t->n_rows > 150 * 8 && t->n_test_rows > 50 * 8 && t->linear_parameters == 16 * S * 3);
    CHECK(is_rate(&t->linear_hard) && is_rate(&t->linear_all) && t->linear_geometry && t->likeness_again > 0.5);
    CHECK(is_fitted(&t->untrained) && is_fitted(&t->board) && is_fitted(&t->independent));
    for (int i = 0; i < N_SIZES; i++) {
        const sg_tpr_size *z = &t->sizes[i];
        CHECK(z->role_dim == sizes[i] && is_fitted(&z->fitted) && is_rate(&z->truncated_hard));
        CHECK(z->rank == sg_tpr_matched_rank(16, S, 3, z->fitted.n_parameters));
        CHECK(z->rank == 1 || z->rank * (16 + S * 3) <= z->fitted.n_parameters);
        CHECK(z->likeness > z->likeness_permuted);
    }
    CHECK(t->sizes[0].likeness < t->sizes[2].likeness && t->sizes[2].likeness > t->sizes[2].likeness_permuted + 0.3);
    /* The model is what an untrained network of this seed is. */
    CHECK(t->untrained.hard.value == t->sizes[1].fitted.hard.value &&
          t->untrained.n_parameters == t->sizes[1].fitted.n_parameters);
    CHECK(t->untrained.geometry->agreement == t->sizes[1].fitted.geometry->agreement);
    /* With all dimensions the probe is the linear one, but for when each stops. */
    CHECK_NEAR(t->sizes[2].fitted.all.value, t->linear_all.value, 0.03, 0);
    /* What holds the labels by construction can be read better than a network that has learnt nothing. */
    CHECK(t->board.all.value > t->untrained.all.value);
    sg_tpr_table_free(t);
    sg_tpr_table_free(NULL);
}

static void a_trilinear_job_needs_no_sizes_and_no_board(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr_table *t;
    sg_tpr_job job = small_job();
    job.fit.form = SG_TPR_TRILINEAR;
    job.fit.n_rows = SIDE;
    job.fit.row_dim = job.fit.column_dim = 2;
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_EARG);
    CHECK_TEXT(err.text, "sizes are of the bilinear form");
    job.n_sizes = 0;
    job.adjacency = NULL;
    CHECK_OK(sg_tpr_run(&t, &job, &err), &err);
    CHECK(t->n_sizes == 1 && !t->linear_geometry && !t->sizes[0].fitted.geometry && !t->untrained.geometry);
    CHECK(sg_tpr_get_parts(t->sizes[0].fitted.probe)->rows.data && sg_tpr_get_parts(t->untrained.probe)->rows.data);
    sg_tpr_table_free(t);
}

typedef struct told {
    int n;
    double last;
    volatile sig_atomic_t stop;
    int stop_after;
} told;

static void tell(void *context, double done, const char *what)
{
    told *t = context;
    CHECK(done >= t->last - 1e-9 && done <= 1 && what[0]);
    t->last = done;
    t->stop = ++t->n == t->stop_after ? 1 : t->stop;
}

static void a_job_tells_how_far_it_is_and_stops_when_asked(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr_table *t;
    told heard = {0};
    sg_tpr_job job = small_job();
    job.fit.n_epochs = 1;
    job.progress = tell;
    job.context = &heard;
    job.cancel = &heard.stop;
    CHECK_OK(sg_tpr_run(&t, &job, &err), &err);
    CHECK(heard.n > 10 && heard.last > 0.99);
    sg_tpr_table_free(t);
    for (int after = 1; after < heard.n; after += 3) {
        told again = {.stop_after = after};
        job.context = &again;
        job.cancel = &again.stop;
        const sg_status status = sg_tpr_run(&t, &job, &err);
        CHECK(status == SG_ECANCELLED || (status == SG_OK && after > heard.n - 4));
        CHECK(status == SG_OK || t == NULL);
        sg_tpr_table_free(t);
    }
}

static void jobs_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_tpr_table *t;
    sg_tpr_job job = small_job();
    job.label = "bord_rel";
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "no field called \"bord_rel\"");
    job.label = "mover";
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_ESHAPE);
    job = small_job();
    job.site = "blocks.1.hook_resid_post";
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_ENOTFOUND);
    job = small_job();
    job.n_test = 0;
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_EARG);
    job = small_job();
    job.role_dims = (const sg_dim[]){2, 0, 4};
    CHECK_STATUS(sg_tpr_run(&t, &job, &err), SG_EARG);
    CHECK(t == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_yields_every_number_with_its_controls),
        cmocka_unit_test(a_trilinear_job_needs_no_sizes_and_no_board),
        cmocka_unit_test(a_job_tells_how_far_it_is_and_stops_when_asked),
        cmocka_unit_test(jobs_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
