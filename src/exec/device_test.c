/* Runs on a device that is none: memory of its own that nobody may touch but its kernels, which are the reference
 * kernels. It shows that runs, states and sessions read no number of a device where they should not; the numbers are
 * the same to the bit. */
#include <sys/mman.h>

#include "check.h"
#include "exec/backend.h"
#include "sightglass/learner.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

#define ROOM ((size_t)64 << 20)

static struct fake {
    unsigned char *memory; /* PROT_NONE but within the functions below */
    size_t used;
    int n_taken, n_uploads, n_downloads;
    bool fails;           /* uploads and downloads do */
    const char *declines; /* kernels of this name; NULL: none, "*": all */
} fake;

static void unlock(bool open)
{
    CHECK(mprotect(fake.memory, ROOM, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
}

static sg_status take(const sg_device *self, size_t bytes, void **out, sg_error *err)
{
    (void)self;
    bytes = (bytes + 255) / 256 * 256;
    *out = NULL;
    if (bytes > ROOM - fake.used)
        return sg_fail(err, SG_ENOMEM, "the device has no %zu bytes", bytes);
    *out = fake.memory + fake.used;
    unlock(true);
    memset(*out, 0xA5, bytes);
    unlock(false);
    fake.used += bytes;
    fake.n_taken++;
    return SG_OK;
}

static void give(const sg_device *self, void *memory)
{
    (void)self;
    fake.n_taken -= memory != NULL;
}

static sg_status move(void *to, const void *from, size_t bytes, sg_error *err)
{
    if (fake.fails)
        return sg_fail(err, SG_EIO, "the device fell off");
    unlock(true);
    memcpy(to, from, bytes);
    unlock(false);
    return SG_OK;
}

static sg_status upload(const sg_device *self, void *to, const void *from, size_t bytes, sg_error *err)
{
    (void)self;
    fake.n_uploads++;
    CHECK((unsigned char *)to >= fake.memory && (unsigned char *)to + bytes <= fake.memory + fake.used);
    return move(to, from, bytes, err);
}

static sg_status download(const sg_device *self, void *to, const void *from, size_t bytes, sg_error *err)
{
    (void)self;
    fake.n_downloads++;
    CHECK((const unsigned char *)from >= fake.memory && (const unsigned char *)from + bytes <= fake.memory + fake.used);
    return move(to, from, bytes, err);
}

static sg_status finish(const sg_device *self, sg_error *err)
{
    (void)self;
    (void)err;
    return SG_OK;
}

static sg_status run_there(const sg_kernel_args *k, sg_error *err)
{
    for (int i = 0; i < k->n_in; i++)
        CHECK(k->in[i]->data && (unsigned char *)k->in[i]->data >= fake.memory &&
              (unsigned char *)k->in[i]->data <= fake.memory + fake.used);
    unlock(true);
    const sg_status status = k->op->run(k, err);
    unlock(false);
    return status;
}

static bool prepare(const sg_backend *self, const sg_kernel_args *k, sg_prepared *out)
{
    (void)self;
    if (fake.declines && (strcmp(fake.declines, "*") == 0 || strcmp(fake.declines, k->op->name) == 0))
        return false;
    out->run = run_there;
    out->scratch_bytes = k->op->scratch ? k->op->scratch(k) : 0;
    return true;
}

static const sg_device device = {.take = take, .give = give, .upload = upload, .download = download, .finish = finish};
static const sg_backend backend = {.name = "fake", .device = &device, .prepare = prepare};
static const sg_backend *const list[] = {&backend};

static int begin(void **state)
{
    (void)state;
    fake = (struct fake){.memory = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};
    return fake.memory == MAP_FAILED;
}

static int end(void **state)
{
    (void)state;
    const int left = fake.n_taken;
    munmap(fake.memory, ROOM);
    return left; /* all that was taken was given back */
}

static sg_exec_opts there(void)
{
    sg_exec_opts opts = sg_exec_defaults();
    opts.backends = list;
    opts.n_backends = 1;
    opts.n_threads = 1;
    return opts;
}

static sg_exec_opts here(void)
{
    sg_exec_opts opts = there();
    opts.n_backends = 0;
    opts.fuse = false;
    return opts;
}

/* ---- training ---- */

static sg_status fill(void *context, sg_dim i, sg_tensor *fields, sg_error *err)
{
    (void)context;
    (void)err;
    int32_t *tokens = fields[0].data;
    for (sg_dim k = 0; k < sg_tensor_count(&fields[0]); k++)
        tokens[k] = (int32_t)((i * 7 + k * k * 3 + k / 5) % 13);
    return SG_OK;
}

static char config[64];

static void write_config(void)
{
    strcpy(config, "/tmp/sg_device_XXXXXX");
    const int fd = mkstemp(config);
    CHECK(fd >= 0);
    static const char text[] =
        "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":2,\"n_positions\":12,\"n_ctx\":12,"
        "\"vocab_size\":13,\"activation_function\":\"gelu_new\",\"layer_norm_epsilon\":1e-5,"
        "\"tie_word_embeddings\":false}";
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* Trains some steps and writes down the loss of each, then all weights. */
static void learn(sg_exec_opts exec, int n_steps, double *losses, float *weights, sg_dim n_weights)
{
    sg_error err;
    sg_model *m;
    sg_learner *l;
    const sg_dim dims[2] = {4, 12};
    write_config();
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    unlink(config);
    sg_source source = {.n_fields = 1, .field = {sg_tensor_of(SG_I32, 2, dims, NULL)}, .fill = fill};
    sg_learner_opts opts = sg_learner_defaults();
    opts.exec = exec;
    opts.seed = 3;
    opts.update.average = 0.5;
    opts.schedule.lr = 0.02;
    CHECK_OK(sg_learner_new(&l, m, &source, opts, &err), &err);
    for (int i = 0; i < n_steps; i++) {
        CHECK_OK(sg_learner_run(l, 1, &err), &err);
        losses[i] = sg_learner_loss(l);
    }
    char dir[] = "/tmp/sg_device_XXXXXX", path[80];
    CHECK(mkdtemp(dir) != NULL);
    CHECK_OK(sg_learner_export(l, dir, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *f = fopen(path, "rb");
    CHECK(f && fseek(f, -(long)(n_weights * 4), SEEK_END) == 0);
    CHECK(fread(weights, 4, (size_t)n_weights, f) == (size_t)n_weights);
    fclose(f);
    snprintf(path, sizeof path, "rm -r %s", dir);
    CHECK(system(path) == 0);
    sg_learner_free(l);
    sg_model_close(m);
}

enum { STEPS = 5, WEIGHTS = 4000 };

static void compare_training(void)
{
    double a[STEPS], b[STEPS];
    float wa[WEIGHTS], wb[WEIGHTS];
    learn(here(), STEPS, a, wa, WEIGHTS);
    learn(there(), STEPS, b, wb, WEIGHTS);
    for (int i = 0; i < STEPS; i++)
        CHECK_NEAR(b[i], a[i], 0, 0);
    CHECK(memcmp(wa, wb, sizeof wa) == 0);
    CHECK(a[STEPS - 1] != a[0]);
}

static void training_on_a_device_is_the_same(void **state)
{
    (void)state;
    compare_training();
}

static void steps_that_the_device_declines_run_on_copies(void **state)
{
    (void)state;
    fake.declines = "*";
    compare_training();
}

static void steps_that_change_variables_run_on_copies(void **state)
{
    (void)state;
    fake.declines = "adam";
    compare_training();
}

static void a_step_sends_no_weights(void **state)
{
    (void)state;
    double a[STEPS];
    float w[WEIGHTS];
    learn(there(), 1, a, w, WEIGHTS);
    const int uploads = fake.n_uploads, downloads = fake.n_downloads;
    fake.used = 0;
    fake.n_uploads = fake.n_downloads = 0;
    learn(there(), STEPS, a, w, WEIGHTS);
    CHECK(fake.n_uploads == uploads + (STEPS - 1) * 3);     /* step, rate, tokens */
    CHECK(fake.n_downloads == downloads + (STEPS - 1) * 2); /* loss and norm */
}

/* ---- states and sessions ---- */

static void a_variable_has_one_newest_value(void **state)
{
    (void)state;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *v = sg_variable(g, "v", SG_F32, 1, (sg_dim[]){3}, sg_init_constant(1));
    sg_value *twice = sg_assign(g, v, sg_mul_scalar(g, v, 2));
    sg_state *s;
    sg_session *on, *off;
    sg_tensor y;
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 0, &err), &err);
    CHECK_OK(sg_session_new(&on, g, s, there(), &err), &err);
    CHECK_OK(sg_session_new(&off, g, s, here(), &err), &err);
    CHECK_OK(sg_session_run(on, 0, NULL, 1, &twice, &y, &err), &err);
    CHECK_NEAR(((float *)y.data)[2], 2, 0, 0);
    CHECK_OK(sg_session_run(off, 0, NULL, 1, &twice, &y, &err), &err);
    CHECK_NEAR(((float *)y.data)[0], 4, 0, 0);
    CHECK_OK(sg_session_run(on, 0, NULL, 1, &twice, &y, &err), &err);
    CHECK_NEAR(((float *)y.data)[1], 8, 0, 0);
    float *mine = sg_state_tensor(s, v)->data;
    CHECK_NEAR(mine[1], 8, 0, 0);
    mine[1] = 10; /* as a checkpoint that is read does */
    CHECK_OK(sg_session_run(on, 0, NULL, 1, &twice, &y, &err), &err);
    CHECK_NEAR(((float *)sg_state_tensor(s, v)->data)[1], 20, 0, 0);
    const float other[3] = {5, 6, 7};
    const sg_tensor bound = sg_tensor_of(SG_F32, 1, (sg_dim[]){3}, (void *)(uintptr_t)other);
    sg_value *sum = sg_sum_all(g, v);
    CHECK_OK(sg_state_bind(s, v, &bound, &err), &err);
    CHECK_OK(sg_session_run(on, 0, NULL, 1, &sum, &y, &err), &err);
    CHECK_NEAR(*(float *)y.data, 18, 0, 0);
    CHECK_STATUS(sg_session_run(on, 0, NULL, 1, &twice, &y, &err), SG_EARG);
    sg_session_free(on);
    sg_session_free(off);
    sg_state_free(s);
    sg_graph_free(g);
}

static void extents_may_vary_and_views_cross(void **state)
{
    (void)state;
    sg_error err;
    sg_graph *g = sg_graph_new();
    const sg_dim t = sg_extent(g, "time");
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){2, t});
    sg_value *turned = sg_transpose(g, x, (int[]){1, 0});
    sg_value *y[3] = {sg_mul(g, turned, turned), sg_slice(g, x, 0, 1, 2, 1), turned};
    CHECK_OK(sg_graph_status(g, &err), &err);
    sg_session *on;
    sg_tensor out[3];
    CHECK_OK(sg_session_new(&on, g, NULL, there(), &err), &err);
    for (int round = 0; round < 2; round++) {
        fake.declines = round ? "mul" : NULL;
        for (sg_dim n = 4; n > 1; n--) {
            float numbers[8];
            for (int i = 0; i < 8; i++)
                numbers[i] = (float)(i + 10 * n);
            const sg_feed feed = {x, sg_tensor_of(SG_F32, 2, (sg_dim[]){2, n}, numbers)};
            CHECK_OK(sg_session_extent(on, "time", n, 4 + round, &err), &err);
            CHECK_OK(sg_session_run(on, 1, &feed, 3, y, out, &err), &err);
            for (sg_dim i = 0; i < n; i++) {
                CHECK_NEAR(((float *)out[0].data)[2 * i + 1], numbers[n + i] * numbers[n + i], 0, 0);
                CHECK_NEAR(((float *)out[1].data)[i], numbers[n + i], 0, 0);
                CHECK_NEAR(((float *)out[2].data)[2 * i], numbers[i], 0, 0);
            }
        }
    }
    sg_session_free(on);
    sg_graph_free(g);
}

static void a_guard_finds_the_first_nan_there(void **state)
{
    (void)state;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 1, (sg_dim[]){2});
    sg_value *y = sg_exp(g, sg_log(g, x));
    sg_session *on;
    sg_tensor out;
    const sg_feed feed = {x, sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, (float[]){1, -1})};
    CHECK_OK(sg_session_new(&on, g, NULL, there(), &err), &err);
    sg_session_guard(on, true);
    CHECK_STATUS(sg_session_run(on, 1, &feed, 1, &y, &out, &err), SG_ENUMERIC);
    CHECK_TEXT(err.text, "element 1");
    CHECK_TEXT(err.text, "fake");
    sg_session_free(on);
    sg_graph_free(g);
}

static void a_device_that_fails_is_reported(void **state)
{
    (void)state;
    sg_error err;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 1, (sg_dim[]){2}), *y = sg_exp(g, x);
    sg_session *on;
    sg_tensor out;
    const sg_feed feed = {x, sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, (float[]){1, -1})};
    CHECK_OK(sg_session_new(&on, g, NULL, there(), &err), &err);
    CHECK_OK(sg_session_run(on, 1, &feed, 1, &y, &out, &err), &err);
    fake.fails = true;
    CHECK_STATUS(sg_session_run(on, 1, &feed, 1, &y, &out, &err), SG_EIO);
    CHECK_TEXT(err.text, "fell off");
    sg_session_free(on);
    sg_value *large = sg_exp(g, sg_input(g, "large", SG_F32, 1, (sg_dim[]){(sg_dim)ROOM}));
    sg_plan *plan;
    sg_run *run;
    sg_value *from = sg_graph_find(g, "large");
    CHECK_OK(sg_plan_new(&plan, g, 1, &from, 1, &large, 0, NULL, there(), &err), &err);
    CHECK_STATUS(sg_run_new(&run, plan, NULL, &err), SG_ENOMEM);
    CHECK_TEXT(err.text, "the device has no");
    sg_plan_free(plan);
    sg_graph_free(g);
}

int main(void)
{
#define ON_DEVICE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        ON_DEVICE(training_on_a_device_is_the_same),          ON_DEVICE(steps_that_the_device_declines_run_on_copies),
        ON_DEVICE(steps_that_change_variables_run_on_copies), ON_DEVICE(a_step_sends_no_weights),
        ON_DEVICE(a_variable_has_one_newest_value),           ON_DEVICE(extents_may_vary_and_views_cross),
        ON_DEVICE(a_guard_finds_the_first_nan_there),         ON_DEVICE(a_device_that_fails_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
