/* Small transformers on the world of arithmetic: that they learn, and that a run is the same run however it is cut. */
#include "sightglass/learner.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "folder.h"
#include "sightglass/checkpoint.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/world.h"

static const char gpt2[] = "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":1,\"n_head\":2,\"vocab_size\":8,"
                           "\"n_positions\":4}";
static const char llama[] =
    "{\"model_type\":\"llama\",\"hidden_size\":16,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"intermediate_size\":24,\"vocab_size\":8,\"max_position_embeddings\":8,"
    "\"hidden_act\":\"silu\"}";

static char folder[200];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-learner-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    sg_test_remove_all(folder);
    return 0;
}

static const char *in_folder(char path[300], const char *name)
{
    snprintf(path, 300, "%s/%s", folder, name);
    return path;
}

typedef struct fixture {
    sg_model *m;
    sg_source source;
    sg_learner *l;
} fixture;

static sg_learner_opts usual(void)
{
    sg_learner_opts o = sg_learner_defaults();
    o.schedule.kind = SG_SCHEDULE_COSINE;
    o.schedule.lr = 1e-2;
    o.schedule.warmup = 5;
    o.schedule.n_steps = 40;
    o.update.clip = 1;
    o.update.average = 0.9;
    o.update.adam.weight_decay = 0.1;
    o.data = "arithmetic p 7";
    o.exec.n_threads = 1;
    return o;
}

static void make(fixture *f, const char *config, sg_dim rows, sg_learner_opts opts)
{
    char path[300];
    sg_error err;
    sg_dim n_vocab;
    const sg_setting settings[] = {{"p", "7"}, {"part", "all"}};
    FILE *to = fopen(in_folder(path, "config.json"), "wb");
    CHECK(to && fputs(config, to) >= 0 && fclose(to) == 0);
    CHECK_OK(sg_model_new(&f->m, path, NULL, sg_model_defaults(), &err), &err);
    const sg_world *world = sg_world_find("arithmetic", &err);
    CHECK_OK(sg_world_source(&f->source, world, 2, settings, rows, 3, &n_vocab, &err), &err);
    CHECK(n_vocab == 8);
    CHECK_OK(sg_learner_new(&f->l, f->m, &f->source, opts, &err), &err);
}

static void end(fixture *f)
{
    sg_learner_free(f->l);
    sg_source_free(&f->source);
    sg_model_close(f->m);
    *f = (fixture){0};
}

static void run(fixture *f, sg_dim n)
{
    sg_error err;
    CHECK_OK(sg_learner_run(f->l, n, &err), &err);
}

/* The newest checkpoint of a folder below ours, whole. */
typedef struct bytes {
    char *data;
    size_t n;
} bytes;

static bytes newest(const char *name)
{
    char dir[300], path[400];
    bytes b = {NULL, 0};
    in_folder(dir, name);
    snprintf(path, sizeof path, "%s/checkpoint-%08lld.safetensors", dir, (long long)sg_checkpoint_newest(dir));
    FILE *f = fopen(path, "rb");
    CHECK(f && fseek(f, 0, SEEK_END) == 0);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.data = malloc(b.n);
    CHECK(b.data && fread(b.data, 1, b.n, f) == b.n);
    fclose(f);
    return b;
}

static void save(fixture *f, const char *name)
{
    char dir[300];
    sg_error err;
    mkdir(in_folder(dir, name), 0700);
    CHECK_OK(sg_learner_save(f->l, dir, 2, &err), &err);
}

static void same(const char *a, const char *b)
{
    const bytes x = newest(a), y = newest(b);
    CHECK(x.n > 1000 && x.n == y.n && memcmp(x.data, y.data, x.n) == 0);
    free(x.data);
    free(y.data);
}

static void they_learn(void **state)
{
    (void)state;
    static const char *const configs[] = {gpt2, llama};
    for (int k = 0; k < 2; k++) {
        fixture f;
        sg_learner_opts opts = usual();
        opts.schedule.lr = 3e-3;
        opts.schedule.n_steps = 600;
        opts.update.adam.weight_decay = 0;
        make(&f, configs[k], 64, opts);
        CHECK(sg_learner_tokens(f.l) == 256);
        run(&f, 1);
        CHECK_NEAR(sg_learner_loss(f.l), log(8), 0.1, 0); /* nothing is known yet */
        run(&f, 599);
        CHECK(sg_learner_loss(f.l) < 0.2); /* nats; chance is log 7 = 1.95 */
        end(&f);
    }
}

/* The loss of the first step, of which the last token of each row counts, against the model run on those rows. Weights
 * are large, so that positions and attention matter. */
static void the_loss_is_that_of_the_model(void **state)
{
    (void)state;
    enum { ROWS = 6 };
    for (int k = 0; k < 2; k++) {
        char text[400], dir[300];
        fixture f;
        sg_model *m;
        sg_glass *glass;
        sg_tensor nll;
        sg_error err;
        int32_t ids[ROWS][4];
        uint8_t counts[ROWS * 4];
        const int32_t *rows[ROWS];
        sg_dim lengths[ROWS];
        snprintf(text, sizeof text, "{\"initializer_range\":0.7,%s", (k ? llama : gpt2) + 1);
        make(&f, text, ROWS, usual());
        CHECK_OK(sg_learner_export(f.l, in_folder(dir, "first"), &err), &err);
        run(&f, 1);
        f.source.field[0].data = ids;
        f.source.field[1].data = counts;
        CHECK_OK(f.source.fill(f.source.self, 0, f.source.field, &err), &err);
        for (int r = 0; r < ROWS; r++) {
            rows[r] = ids[r];
            lengths[r] = 4;
        }
        CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        const sg_rows all = {.n_rows = ROWS, .tokens = rows, .lengths = lengths};
        sg_value *fetch = sg_graph_find(sg_glass_graph(glass), "nll");
        CHECK_OK(sg_glass_run(glass, &all, 0, NULL, 1, &fetch, &nll, &err), &err);
        double sum = 0;
        for (int r = 0; r < ROWS; r++)
            sum += sg_tensor_get(&nll, 3 * r + 2);
        CHECK_NEAR(sg_learner_loss(f.l), sum / ROWS, 0, 1e-5);
        CHECK(fabs(sum / ROWS - log(8)) > 0.1);
        sg_glass_free(glass);
        sg_model_close(m);
        end(&f);
    }
}

/* The whole checkpoint (weights, moments, averages, metadata), byte for byte. */
static void forty_steps_are_seventeen_and_twenty_three(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        fixture f;
        char dir[300];
        sg_error err;
        sg_learner_opts opts = usual();
        opts.update.n_batches = k ? 3 : 1;
        make(&f, k ? llama : gpt2, 5, opts);
        run(&f, 40);
        save(&f, k ? "whole-2" : "whole");
        end(&f);
        make(&f, k ? llama : gpt2, 5, opts);
        run(&f, 17);
        save(&f, k ? "parts-2" : "parts");
        end(&f);
        make(&f, k ? llama : gpt2, 5, opts);
        CHECK_OK(sg_learner_resume(f.l, in_folder(dir, k ? "parts-2" : "parts"), NULL, NULL, &err), &err);
        CHECK(sg_learner_step(f.l) == 17);
        run(&f, 23);
        save(&f, k ? "parts-2" : "parts");
        end(&f);
        same(k ? "whole-2" : "whole", k ? "parts-2" : "parts");
    }
}

static void count_kills(void *context, const sg_train_progress *at)
{
    if (at->steps_done == *(const sg_dim *)context)
        kill(getpid(), SIGKILL);
}

/* A child that saves after every third step and is killed at a random one, then the rest. */
static void a_killed_run_goes_on_from_its_last_checkpoint(void **state)
{
    (void)state;
    char dir[300];
    sg_rng r = sg_rng_new((uint64_t)getpid(), 0);
    mkdir(in_folder(dir, "killed"), 0700);
    fflush(NULL);
    sg_dim at = 4 + (sg_dim)sg_rng_below(&r, 34);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        fixture f;
        sg_error err;
        sg_learner_opts opts = usual();
        opts.progress = count_kills;
        opts.context = &at;
        make(&f, gpt2, 5, opts);
        for (;;) {
            run(&f, 3);
            if (sg_learner_save(f.l, dir, 2, &err) != SG_OK)
                _exit(1);
        }
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fixture f;
    sg_error err;
    make(&f, gpt2, 5, usual());
    CHECK_OK(sg_learner_resume(f.l, dir, NULL, NULL, &err), &err);
    CHECK(sg_learner_step(f.l) == (at - 1) / 3 * 3);
    run(&f, 40 - sg_learner_step(f.l));
    save(&f, "killed");
    end(&f);
    same("whole", "killed");
}

static void another_run_is_not_continued(void **state)
{
    (void)state;
    char dir[300];
    in_folder(dir, "parts");
    for (int k = 0; k < 7; k++) {
        static const char *const words[] = {"seed 1", "schedule cosine", "batch 1 of 6", "adam", "two years", "model",
                                            ""};
        fixture f;
        sg_error err;
        sg_learner_opts opts = usual();
        if (k == 0)
            opts.seed = 1;
        if (k == 1)
            opts.schedule.n_steps = 41;
        if (k == 3)
            opts.update.clip = 2;
        if (k == 4)
            opts.data = "two years before the mast";
        make(&f, k == 5 ? llama : gpt2, k == 2 ? 6 : 5, opts);
        const sg_status got = sg_learner_resume(f.l, dir, NULL, NULL, &err);
        CHECK(got == (k == 6 ? SG_OK : SG_EARG));
        if (k < 6)
            CHECK_TEXT(err.text, words[k]);
        end(&f);
    }
}

/* The average is saved, and differs from the weights; without one the weights are. */
static void what_was_learnt_is_a_model(void **state)
{
    (void)state;
    sg_safetensors *st[2];
    sg_error err;
    for (int k = 0; k < 2; k++) {
        fixture f;
        char dir[300], path[340];
        sg_model *m;
        sg_learner_opts opts = usual();
        opts.update.average = k ? 0.9 : 0;
        make(&f, llama, 5, opts);
        run(&f, 10);
        CHECK_OK(sg_learner_export(f.l, in_folder(dir, k ? "average" : "last"), &err), &err);
        CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
        CHECK(sg_model_warning(m, 0) == NULL && sg_model_get_info(m)->n_layers == 2);
        sg_model_close(m);
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        CHECK_OK(sg_safetensors_open(&st[k], path, &err), &err);
        end(&f);
    }
    const sg_tensor *a, *b;
    CHECK_OK(sg_safetensors_get(&a, st[0], "model.layers.1.mlp.up_proj.weight", &err), &err);
    CHECK_OK(sg_safetensors_get(&b, st[1], "model.layers.1.mlp.up_proj.weight", &err), &err);
    CHECK(memcmp(a->data, b->data, sg_tensor_bytes(a)) != 0);
    for (int k = 0; k < 2; k++)
        sg_safetensors_close(st[k]);
}

static void memory_is_counted_by_what_it_is_for(void **state)
{
    (void)state;
    fixture f;
    sg_learner_memory a;
    sg_error err;
    sg_learner_opts opts = usual();
    opts.update.n_batches = 2;
    make(&f, gpt2, 5, opts);
    CHECK_OK(sg_learner_plan_memory(f.l, &a, &err), &err);
    const size_t weights = 4 * (size_t)sg_model_get_info(f.m)->n_parameters;
    CHECK(a.weights == weights && a.moments == 2 * weights && a.averages == weights && a.gathered == weights + 4);
    CHECK(a.blocks > 0 && a.batches == 2 * 5 * 4 * 5);
    end(&f);
}

static void rows_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    fixture f;
    sg_learner *l;
    sg_error err;
    make(&f, gpt2, 5, usual());
    sg_source s = f.source;
    s.field[0].dims[1] = s.field[1].dims[1] = 5;
    CHECK_STATUS(sg_learner_new(&l, f.m, &s, usual(), &err), SG_EARG);
    CHECK_TEXT(err.text, "context is 4");
    s.field[0].dims[1] = s.field[1].dims[1] = 1;
    CHECK_STATUS(sg_learner_new(&l, f.m, &s, usual(), &err), SG_EARG);
    s.field[0].dtype = SG_F32;
    CHECK_STATUS(sg_learner_new(&l, f.m, &s, usual(), &err), SG_EARG);
    CHECK(l == NULL);
    end(&f);
}

/* Whatever fails leaves nothing behind; what can be done without (a constant folded, an old file removed) is. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    fixture f;
    char dir[300];
    sg_error err;
    sg_dim failed = 0;
    sg_learner_opts opts = usual();
    opts.update.n_batches = 2;
    mkdir(in_folder(dir, "faults"), 0700);
    make(&f, gpt2, 5, opts);
    for (long n = 0;; n++) {
        sg_learner *l = NULL;
        sg_learner_memory memory;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_learner_new(&l, f.m, &f.source, opts, &err);
        if (status == SG_OK)
            status = sg_learner_plan_memory(l, &memory, &err);
        if (status == SG_OK)
            status = sg_learner_run(l, 1, &err);
        if (status == SG_OK)
            status = sg_learner_save(l, dir, 1, &err);
        if (status == SG_OK)
            status = sg_learner_resume(l, dir, NULL, NULL, &err);
        if (status == SG_OK)
            status = sg_learner_export(l, dir, &err);
        const bool fired = sg_faults_end();
        sg_learner_free(l);
        if (!fired) {
            CHECK_OK(status, &err);
            break;
        }
        CHECK(status == SG_ENOMEM || status == SG_OK);
        failed += status == SG_ENOMEM;
    }
    CHECK(failed > 50);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_learn),
        cmocka_unit_test(the_loss_is_that_of_the_model),
        cmocka_unit_test(forty_steps_are_seventeen_and_twenty_three),
        cmocka_unit_test(a_killed_run_goes_on_from_its_last_checkpoint),
        cmocka_unit_test(another_run_is_not_continued),
        cmocka_unit_test(what_was_learnt_is_a_model),
        cmocka_unit_test(memory_is_counted_by_what_it_is_for),
        cmocka_unit_test(rows_that_do_not_fit_are_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
