/* sightglass patch and saliency as a user meets them, on a model of 6x6 boards that is trained for one step here. */
#include "check.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "sightglass/othello.h"

static const char config[] =
    "{\"model_type\": \"gpt2\", \"n_embd\": 32, \"n_layer\": 2, \"n_head\": 2, \"n_positions\": 32, "
    "\"vocab_size\": 33, \"tie_word_embeddings\": false, \"initializer_range\": 0.2}";

/* Runs the command; what it says on both streams is in out. Returns its exit status. */
static int command(char *out, size_t room, const char *rest)
{
    char line[2000];
    snprintf(line, sizeof line, "OMP_NUM_THREADS=2 \"%s\" %s 2>&1", SG_COMMAND, rest);
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    const size_t n = fread(out, 1, room - 1, f);
    out[n] = 0;
    while (fgetc(f) != EOF)
        ;
    const int status = pclose(f);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char out[1 << 18];

static void says(int status, const char *rest, const char *words)
{
    const int got = command(out, sizeof out, rest);
    if (got != status)
        print_error("%s\n  exit status %d, wanted %d:\n%s\n", rest, got, status, out);
    CHECK(got == status);
    CHECK_TEXT(out, words);
}

static int begin(void **state)
{
    (void)state;
    FILE *f = fopen("patch_command.json", "w");
    if (!f || fputs(config, f) < 0 || fclose(f) != 0)
        return -1;
    return command(
        out, sizeof out,
        "train --config patch_command.json --world othello --size 6 --batch 2 --steps 1 --out patch_command");
}

static int end(void **state)
{
    (void)state;
    return system("rm -rf patch_command patch_command.json patch_command_probes patch_command_cases.json");
}

static double value(const json_t *root, const char *boards, const char *what)
{
    const json_t *v =
        json_object_get(json_object_get(json_object_get(json_object_get(root, "boards"), boards), what), "value");
    CHECK(json_is_number(v));
    return json_number_value(v);
}

static json_t *parse(const char *rest)
{
    json_error_t at;
    says(0, rest, "{");
    json_t *root = json_loads(out, 0, &at);
    CHECK(root != NULL);
    return root;
}

static void every_number_has_its_controls_beside_it(void **state)
{
    (void)state;
    static const char *const kinds[] = {"turned", "natural", "unnatural"};
    json_t *root =
        parse("patch patch_command --fit parts --fit-games 20 --world othello --size 6 --games 12 --scale raw --json");
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(value(root, kinds[k], "edit_less_null"),
                   value(root, kinds[k], "edit") - value(root, kinds[k], "null"), 1e-6, 0);
        CHECK_NEAR(value(root, kinds[k], "random_less_null"),
                   value(root, kinds[k], "random") - value(root, kinds[k], "null"), 1e-6, 0);
        CHECK(value(root, kinds[k], "own") > 0 && value(root, kinds[k], "wrong") > 0);
    }
    CHECK(value(root, "natural", "witness") > 0);
    json_decref(root);
    says(0, "patch patch_command --fit parts --fit-games 20 --world othello --games 12 --scale raw --layers 1",
         "random direction");
    CHECK_TEXT(out, "blocks.1.hook_resid_post to blocks.1.hook_resid_post");
    CHECK_TEXT(out, "on the board as it is");
}

/* Strength 0 leaves every board as it was, so that the edit has the null's errors. */
static void strength_0_is_the_null(void **state)
{
    (void)state;
    json_t *root =
        parse("patch patch_command --fit ridge --fit-games 20 --world othello --games 12 --strength 0 --json");
    CHECK(value(root, "turned", "edit") == value(root, "turned", "null") &&
          value(root, "turned", "random_less_null") == 0);
    json_decref(root);
    says(0, "patch patch_command --fit ridge --fit-games 20 --world othello --games 12 --kind none --json", "\"null\"");
}

static void a_sweep_chooses_and_then_judges(void **state)
{
    (void)state;
    json_t *root =
        parse("patch patch_command --fit ridge --fit-games 20 --world othello --games 20 --scale norm --sweep --json");
    const json_t *tries = json_object_get(root, "tries"), *edit = json_object_get(root, "edit");
    CHECK(json_array_size(tries) == 18); /* 0, 0-1 and 1, six strengths each */
    double least = 1e9, chosen = 1e9;
    for (size_t i = 0; i < json_array_size(tries); i++) {
        const json_t *t = json_array_get(tries, i);
        const double errors = json_number_value(json_object_get(t, "errors"));
        least = fmin(least, errors);
        if (json_equal(json_object_get(t, "first"), json_object_get(edit, "first")) &&
            json_equal(json_object_get(t, "last"), json_object_get(edit, "last")) &&
            json_equal(json_object_get(t, "strength"), json_object_get(edit, "strength")))
            chosen = errors;
    }
    CHECK(chosen == least);
    CHECK(json_integer_value(json_object_get(json_object_get(json_object_get(root, "boards"), "turned"), "n")) == 10);
    json_decref(root);
}

static void saved_probes_and_cases_are_taken(void **state)
{
    (void)state;
    says(0, "probe fit patch_command --world othello --size 6 --labels board_rel --games 24 --out patch_command_probes",
         "ridge");
    FILE *f = fopen("patch_command_cases.json", "w");
    CHECK(f && fputs("{\"size\": 6, \"cases\": [", f) >= 0);
    /* Black begins beside white's disc at c3; every one of these turns the first move's disc. */
    const sg_othello start = sg_othello_start(6);
    const uint64_t legal = sg_othello_legal(&start);
    int n = 0;
    for (int s = 0; s < 36; s++) {
        char name[4];
        if (legal >> s & 1)
            CHECK(fprintf(f, "%s{\"moves\": \"%s\", \"square\": \"%s\", \"to\": \"white\"}", n++ ? "," : "",
                          sg_othello_name(6, s, name), name) > 0);
    }
    CHECK(fputs("]}\n", f) >= 0 && fclose(f) == 0 && n == 4);
    json_t *root =
        parse("patch patch_command --probe patch_command_probes --world othello --cases patch_command_cases.json "
              "--kind gradient --steps 5 --json");
    CHECK(value(root, "given", "null") >= 0);
    json_decref(root);
    says(0,
         "saliency patch_command --probe patch_command_probes/board_rel.blocks.0.hook_resid_post --moves e4 --scale "
         "mirror --json",
         "\"discs\"");
    root = json_loads(out, 0, NULL);
    CHECK(json_array_size(json_object_get(root, "discs")) == 5);
    json_decref(root);
}

static void two_runs_are_compared(void **state)
{
    (void)state;
    FILE *f = fopen("patch_command_cases.json", "w");
    CHECK(f && fputs("1 2 3 4 5\n1 2 3 4 6\n", f) >= 0 && fclose(f) == 0);
    says(0, "patch patch_command --tokens patch_command_cases.json --token 7 --minus 8 --json",
         "blocks.1.hook_resid_pre");
    json_t *root = json_loads(out, 0, NULL);
    const json_t *rows = json_object_get(json_object_get(root, "sites"), "blocks.0.hook_resid_pre");
    CHECK(json_array_size(rows) == 5);
    /* the rows differ at the last position alone, so all of the difference comes with what enters there */
    CHECK_NEAR(json_number_value(json_object_get(json_array_get(json_array_get(rows, 4), 0), "effect")), 1, 1e-4, 0);
    CHECK_NEAR(json_number_value(json_object_get(json_array_get(json_array_get(rows, 0), 0), "effect")), 0, 1e-4, 0);
    json_decref(root);
}

static void wrong_use_is_told(void **state)
{
    (void)state;
    says(2, "patch", "MODEL");
    says(2, "patch patch_command --world othello", "--probe or --fit");
    says(2, "patch patch_command --fit ridge", "--world othello");
    says(2, "patch patch_command --fit rigde --world othello --fit-games 4 --games 4", "wanted ridge");
    says(2, "patch patch_command --fit ridge --world spheres", "spheres");
    says(2, "patch patch_command --fit ridge --world othello --kind sideways", "gradient");
    says(2, "patch patch_command --fit ridge --world othello --strenth 3", "--strenth");
    says(2, "patch patch_command --fit ridge --world othello --size 8", "vocabulary");
    says(2, "patch patch_command --fit ridge --world othello --layers 5", "the model has 2");
    says(2, "patch patch_command --fit ridge --world othello --layers 1-0", "FIRST-LAST");
    says(2, "patch patch_command --fit ridge --world othello --games", "wants a value");
    says(1, "patch patch_command --fit mlp --fit-games 4 --world othello --games 4", "gradient steps");
    says(1, "patch patch_command --probe nowhere --world othello", "nowhere");
    says(1, "patch nowhere --fit ridge --world othello", "nowhere");
    says(1, "patch patch_command --fit ridge --fit-games 4 --world othello --cases nowhere.json", "nowhere.json");
    says(2, "patch patch_command --base a --source b --token 3", "tokenizer");
    says(2, "saliency patch_command", "--moves");
    says(2, "saliency patch_command --moves e4 --for c3", "no square to play");
    says(1, "saliency patch_command --moves a1", "move 1");
    says(0, "patch --help", "--sweep");
    says(0, "saliency --help", "--empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_has_its_controls_beside_it),
        cmocka_unit_test(strength_0_is_the_null),
        cmocka_unit_test(a_sweep_chooses_and_then_judges),
        cmocka_unit_test(saved_probes_and_cases_are_taken),
        cmocka_unit_test(two_runs_are_compared),
        cmocka_unit_test(wrong_use_is_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
