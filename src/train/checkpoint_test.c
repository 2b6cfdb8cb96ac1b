/* Checkpoints of a small graph: whole, broken, foreign, too many. */
#include "sightglass/checkpoint.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/ops.h"

static char folder[200];

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-checkpoint-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int clear(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    return d ? closedir(d) : -1;
}

static int finish(void **state)
{
    clear(state);
    return rmdir(folder);
}

typedef struct fixture {
    sg_graph *g;
    sg_state *s;
    sg_value *w, *d, *sum;
} fixture;

static fixture make(sg_dim n)
{
    fixture f = {.g = sg_graph_new()};
    sg_error err;
    f.w = sg_variable(f.g, "w", SG_F32, 1, &n, sg_init_normal(1));
    f.d = sg_variable(f.g, "d", SG_F64, 0, NULL, sg_init_normal(1)); /* wider, and behind */
    f.sum = sg_variable(f.g, "accumulate.w", SG_F32, 1, &n, sg_init_normal(1));
    CHECK_OK(sg_state_new(&f.s, f.g, &err), &err);
    CHECK_OK(sg_state_init(f.s, 1, &err), &err);
    return f;
}

static void end(fixture *f)
{
    sg_state_free(f->s);
    sg_graph_free(f->g);
}

static void fill(fixture *f, double x)
{
    sg_tensor *w = sg_state_tensor(f->s, f->w);
    for (sg_dim i = 0; i < sg_tensor_count(w); i++)
        sg_tensor_set(w, i, x + (double)i);
    sg_tensor_set(sg_state_tensor(f->s, f->d), 0, -x);
    sg_tensor_set(sg_state_tensor(f->s, f->sum), 0, x);
}

static void holds(fixture *f, double x)
{
    const sg_tensor *w = sg_state_tensor(f->s, f->w);
    for (sg_dim i = 0; i < sg_tensor_count(w); i++)
        CHECK(sg_tensor_get(w, i) == x + (double)i);
    CHECK(sg_tensor_get(sg_state_tensor(f->s, f->d), 0) == -x);
}

static const sg_pair facts[] = {{"seed", "7"}, {"schedule", "constant"}};

static void save(fixture *f, sg_dim step, int keep)
{
    sg_error err;
    fill(f, (double)step);
    CHECK_OK(sg_checkpoint_save(folder, f->g, f->s, step, facts, 2, keep, &err), &err);
}

typedef struct reasons {
    int n;
    char text[4][600];
} reasons;

static void note(void *context, const char *reason)
{
    reasons *r = context;
    if (r->n < 4)
        snprintf(r->text[r->n], sizeof r->text[0], "%s", reason);
    r->n++;
}

static sg_status load(fixture *f, sg_dim *step, reasons *r, sg_error *err)
{
    *r = (reasons){0};
    fill(f, 1000);
    return sg_checkpoint_load(folder, f->g, f->s, step, facts, 2, note, r, err);
}

static void path_of(char path[300], sg_dim step)
{
    snprintf(path, 300, "%s/checkpoint-%08lld.safetensors", folder, (long long)step);
}

static bool there(sg_dim step)
{
    char path[300];
    path_of(path, step);
    return access(path, F_OK) == 0;
}

static void what_was_saved_comes_back(void **state)
{
    (void)state;
    fixture f = make(5);
    sg_dim step = -1;
    reasons r;
    sg_error err;
    CHECK_STATUS(load(&f, &step, &r, &err), SG_ENOTFOUND);
    CHECK(sg_checkpoint_newest(folder) == -1);
    save(&f, 40, 3);
    CHECK_OK(load(&f, &step, &r, &err), &err);
    CHECK(step == 40 && r.n == 0 && sg_checkpoint_newest(folder) == 40);
    holds(&f, 40);
    CHECK(sg_tensor_get(sg_state_tensor(f.s, f.sum), 0) == 1000); /* of a step under way: not kept */
    end(&f);
}

static void the_last_few_are_kept(void **state)
{
    (void)state;
    fixture f = make(5);
    char other[300];
    snprintf(other, sizeof other, "%s/checkpoint-best.safetensors", folder);
    fclose(fopen(other, "wb"));
    for (sg_dim step = 8; step <= 12; step++)
        save(&f, step, 3);
    CHECK(!there(8) && !there(9) && there(10) && there(11) && there(12));
    CHECK(access(other, F_OK) == 0);
    end(&f);
}

/* At every length that the newest file may have been cut to, the one before is taken, and the reason told. */
static void a_truncated_one_is_refused_and_the_one_before_taken(void **state)
{
    (void)state;
    fixture f = make(5);
    char path[300];
    struct stat st;
    save(&f, 1, 9);
    save(&f, 2, 9);
    path_of(path, 2);
    CHECK(stat(path, &st) == 0);
    for (off_t n = st.st_size - 1; n >= 0; n--) {
        sg_dim step = -1;
        reasons r;
        sg_error err;
        CHECK(truncate(path, n) == 0);
        CHECK_OK(load(&f, &step, &r, &err), &err);
        CHECK(step == 1 && r.n == 1);
        CHECK_TEXT(r.text[0], "checkpoint-00000002.safetensors");
        holds(&f, 1);
    }
    CHECK(there(1) && there(2));
    path_of(path, 1);
    unlink(path);
    sg_dim step = -1;
    reasons r;
    sg_error err;
    CHECK_STATUS(load(&f, &step, &r, &err), SG_EFORMAT);
    holds(&f, 1000);
    end(&f);
}

static void a_foreign_one_is_refused_with_the_reason(void **state)
{
    (void)state;
    fixture f = make(5), g = make(6);
    sg_dim step = -1;
    reasons r;
    sg_error err;
    char path[300], other[300];
    save(&f, 3, 9);
    CHECK_STATUS(load(&g, &step, &r, &err), SG_EARG);
    CHECK_TEXT(err.text, "another model");
    const sg_pair seed[] = {{"seed", "8"}, {"schedule", "constant"}};
    fill(&f, 1000);
    CHECK_STATUS(sg_checkpoint_load(folder, f.g, f.s, &step, seed, 2, NULL, NULL, &err), SG_EARG);
    CHECK_TEXT(err.text, "made with seed 7, this is seed 8");
    holds(&f, 1000);
    path_of(path, 3);
    path_of(other, 4);
    CHECK(rename(path, other) == 0);
    CHECK_STATUS(load(&f, &step, &r, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "holds step 3");
    const sg_named_tensor t = {"w", *sg_state_tensor(f.s, f.w)};
    CHECK_OK(sg_safetensors_save(other, &t, 1, NULL, 0, &err), &err);
    CHECK_STATUS(load(&f, &step, &r, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "not a checkpoint");
    CHECK(step == -1);
    end(&f);
    end(&g);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    fixture f = make(5);
    sg_dim step;
    sg_error err;
    CHECK(sg_checkpoint_save("no/such/folder", f.g, f.s, 1, NULL, 0, 1, &err) == SG_ENOTFOUND);
    CHECK_TEXT(err.text, "no/such/folder");
    CHECK_STATUS(sg_checkpoint_load("no/such/folder", f.g, f.s, &step, NULL, 0, NULL, NULL, &err), SG_ENOTFOUND);
    end(&f);
}

/* The writer of a process that has ended; one of our own stays. */
static void leftovers_of_killed_writers_are_swept(void **state)
{
    (void)state;
    fixture f = make(5);
    char dead[300], own[300];
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(0);
    CHECK(waitpid(child, NULL, 0) == child);
    snprintf(dead, sizeof dead, "%s/.sightglass-%ld-1f.tmp", folder, (long)child);
    snprintf(own, sizeof own, "%s/.sightglass-%ld-1f.tmp", folder, (long)getpid());
    fclose(fopen(dead, "wb"));
    fclose(fopen(own, "wb"));
    save(&f, 1, 1);
    CHECK(access(dead, F_OK) != 0 && access(own, F_OK) == 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_saved_comes_back, clear),
        cmocka_unit_test_teardown(the_last_few_are_kept, clear),
        cmocka_unit_test_teardown(a_truncated_one_is_refused_and_the_one_before_taken, clear),
        cmocka_unit_test_teardown(a_foreign_one_is_refused_with_the_reason, clear),
        cmocka_unit_test_teardown(a_folder_that_is_not_there_is_named, clear),
        cmocka_unit_test_teardown(leftovers_of_killed_writers_are_swept, clear),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
