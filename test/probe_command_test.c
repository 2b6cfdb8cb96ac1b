/* sightglass probe as a user meets it, on a small model of Othello 4x4 that has learnt nothing: what it prints and
 * keeps, that no accuracy comes without its controls, and what it refuses. */
#include "check.h"

#include <jansson.h>
#include <sys/wait.h>

#include "sightglass/model.h"

enum { FAILED = 1, WRONG_USE = 2, BYTES = 1 << 18 };

static char folder[200];
static char text[BYTES];

static void spill(const char *name, const char *what)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fputs(what, f) >= 0 && fclose(f) == 0);
}

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    char config[300], dir[300];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    sg_error err;
    snprintf(folder, sizeof folder, "%s/sightglass-probe-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
    spill("config.json", "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":2,\"vocab_size\":13,"
                         "\"n_positions\":12,\"initializer_range\":0.2}");
    /* as rows of a file: the first is the only way to begin, up to symmetry */
    spill("games.txt", "a2\n# none\n1999 0 a2a1b1\na2a1\nb1a1a2\nb1\na2a1\nb1a1\nb1a1\na2a1\n");
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(dir, sizeof dir, "%s/m", folder);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 7, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, dir, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* In the folder; its exit status, with what it wrote (stderr too) in `text`. */
static int run(const char *arguments)
{
    char command[1200];
    snprintf(command, sizeof command, "cd '%s' && '%s' probe %s 2>&1", folder, SG_COMMAND, arguments);
    FILE *f = popen(command, "r");
    CHECK(f != NULL);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    const int status = pclose(f);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void remove_controls(const char *dir)
{
    char command[400];
    snprintf(command, sizeof command, "rm -r '%s/%s/controls'", folder, dir);
    CHECK(system(command) == 0);
}

static json_t *parsed(void)
{
    json_error_t at;
    json_t *root = json_loads(text, 0, &at);
    CHECK(root != NULL);
    return root;
}

static double real(json_t *root, const char *a, const char *b, const char *c, const char *d)
{
    json_t *x = json_object_get(json_object_get(root, a), b);
    x = c ? json_object_get(x, c) : x;
    x = d ? json_object_get(x, d) : x;
    CHECK(json_is_number(x));
    return json_number_value(x);
}

static void every_accuracy_stands_beside_its_controls(void **state)
{
    (void)state;
    CHECK(run("fit m --world othello --size 4 --games 80 --out probes --map") == 0);
    CHECK_TEXT(text, "untrained");
    CHECK_TEXT(text, "board_rel less board_abs");
    CHECK_TEXT(text, "board_abs at blocks.");
    CHECK(strchr(text, '\033') == NULL); /* no colour into a pipe */
    CHECK(run("fit m --world othello --size 4 --games 80 --at 'blocks.1.hook_mlp_out' --labels turned,legal --kind "
              "mean --json") == 0);
    json_t *root = parsed(), *results = json_object_get(root, "results");
    CHECK(json_array_size(results) == 2);
    static const char *const controls[] = {"untrained", "bag", "embedding", "shuffled"};
    for (size_t i = 0; i < 2; i++)
        for (int c = 0; c < 4; c++) {
            const double x = real(json_array_get(results, i), "controls", controls[c], "all", "value");
            CHECK(x > 0 && x <= 1);
        }
    CHECK(json_array_size(json_object_get(root, "gaps")) == 1);
    json_decref(root);
}

static void what_is_kept_is_judged_again_on_other_games(void **state)
{
    (void)state;
    CHECK(run("fit m --world othello --size 4 --games 400 --labels board_rel --at 'blocks.1.hook_resid_post' --out "
              "kept --json") == 0);
    json_t *fitted = parsed();
    const double was = real(json_array_get(json_object_get(fitted, "results"), 0), "score", "all", "value", NULL);
    CHECK(run("eval m kept --games 100 --json") == 0);
    json_t *judged = parsed();
    json_t *one = json_array_get(json_object_get(judged, "results"), 0);
    const double is = real(one, "score", "all", "value", NULL);
    CHECK_NEAR(is, was, 0.06, 0); /* 100 games of 10 moves: four standard errors of what a game gives */
    CHECK(is != was);             /* of other games */
    CHECK(real(one, "controls", "shuffled", "all", "value") < is);
    json_decref(fitted);
    json_decref(judged);
    CHECK(run("eval m kept/board_rel.blocks.1.hook_resid_post --data games.txt --map") == 0);
    CHECK_TEXT(text, "games.txt");
    /* without the controls' files they are fitted again, as they were */
    CHECK(run("eval m kept --games 100 --json") == 0);
    json_t *with = parsed();
    remove_controls("kept");
    CHECK(run("eval m kept --games 100 --json") == 0);
    json_t *without = parsed();
    CHECK(json_equal(with, without));
    json_decref(with);
    json_decref(without);
    CHECK(run("show kept") == 0);
    CHECK_TEXT(text, "world othello size 4");
    CHECK_TEXT(text, "untrained network");
    CHECK_TEXT(text, "permuted");
    CHECK(run("show kept --json") == 0);
    json_decref(parsed());
}

static void what_makes_no_sense_is_said_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *says;
        int status;
    } wrong[] = {
        {"", "wanted fit MODEL", WRONG_USE},
        {"fit", "wants a MODEL", WRONG_USE},
        {"fit m", "--world", WRONG_USE},
        {"fit m --world otello", "othello", WRONG_USE},
        {"fit m --world othello", "vocabulary", WRONG_USE}, /* of the 8x8 board */
        {"fit m --world othello --size 5", "4|6|8", WRONG_USE},
        {"fit m --world othello --sise 4", "size", WRONG_USE},
        {"fit m --world othello --size 4 --labels board_rle", "board_rel", FAILED},
        {"fit m --world othello --size 4 --at blocks.9.hook_resid_post", "nearest", WRONG_USE},
        {"fit m --world othello --size 4 --kind deep", "softmax", WRONG_USE},
        {"fit m --world othello --size 4 --games 3", "--games", WRONG_USE},
        {"fit m --world othello --size 4 --at blocks.0.attn.hook_pattern", "row for each position", WRONG_USE},
        {"fit m --world othello --size 4 --games", "wants a value", WRONG_USE},
        {"fit m --world arithmetic", "labels", WRONG_USE},
        {"fit none --world othello --size 4", "none", FAILED},
        {"fit m --world othello --size 4 --data none.txt", "none.txt", FAILED},
        {"eval m", "DIR", WRONG_USE},
        {"eval m none", "neither", FAILED},
        {"eval m m", "kind", FAILED}, /* config.json is no manifest */
        {"eval m kept --kind mlp", "--kind", WRONG_USE},
        {"show none", "neither", FAILED},
        {"show", "DIR", WRONG_USE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const int status = run(wrong[i].arguments);
        if (status != wrong[i].status)
            print_error("probe %s: status %d\n%s\n", wrong[i].arguments, status, text);
        CHECK(status == wrong[i].status);
        CHECK_TEXT(text, wrong[i].says);
        CHECK(strchr(text, '\n') == strrchr(text, '\n'));
    }
    CHECK(run("fit --help") == 0);
    CHECK_TEXT(text, "--lambda");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_accuracy_stands_beside_its_controls),
        cmocka_unit_test(what_is_kept_is_judged_again_on_other_games),
        cmocka_unit_test(what_makes_no_sense_is_said_in_one_line),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
