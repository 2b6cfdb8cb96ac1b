/* The commands worldmodel, heads and neurons as a user calls them, on a small model with random weights. */
#include <jansson.h>
#include <sys/wait.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/model.h"

static char folder[200];

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":2,\"vocab_size\":33,"
                             "\"n_positions\":32,\"initializer_range\":0.2}";

static int begin(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    char path[260], dir[260];
    sg_model *m;
    sg_graph *g;
    sg_state *s;
    snprintf(folder, sizeof folder, "%s/sightglass-asked-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/config.json", folder);
    snprintf(dir, sizeof dir, "%s/m", folder);
    FILE *to = fopen(path, "wb");
    if (!to || fputs(config, to) < 0 || fclose(to) != 0)
        return -1;
    sg_error err;
    CHECK_OK(sg_model_new(&m, path, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 0, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_state_init(s, 4, &err), &err);
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, dir, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "m/config.json", "m/model.safetensors", "out", "err", "s.csv"};
    char path[260];
    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/m", folder);
    rmdir(path);
    return rmdir(folder);
}

static char *read_all(const char *name)
{
    char path[260];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *from = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    CHECK(from && text);
    text[fread(text, 1, (1 << 20) - 1, from)] = 0;
    fclose(from);
    return text;
}

/* `sightglass COMMAND FOLDER/m REST`; its exit status. What it wrote is in out and err. */
static int call(const char *command, const char *rest)
{
    char line[1024];
    snprintf(line, sizeof line, "%s %s %s/m %s >%s/out 2>%s/err", SG_COMMAND, command, folder, rest, folder, folder);
    const int status = system(line);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The number behind a word at the start of a line. */
static double number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    CHECK(at != NULL);
    return strtod(at + strlen(word), NULL);
}

#define QUICK "--world othello --at blocks.1.hook_resid_post --episodes 40 --edits 40"

static void the_card_and_the_json_tell_the_same(void **state)
{
    (void)state;
    CHECK(call("worldmodel", QUICK " --state board_rel") == 0);
    char *card = read_all("out");
    CHECK(call("worldmodel", QUICK " --state board_rel --json") == 0);
    char *text = read_all("out");
    json_t *j = json_loads(text, 0, NULL);
    CHECK(j != NULL);
    static const struct {
        const char *word, *key;
    } bars[] = {{"activation ", "activation"},       {"input ", "input"},
                {"untrained network ", "untrained"}, {"output ", "output"},
                {"shuffled states ", "shuffled"},    {"commonest class ", "commonest_class"}};
    for (size_t i = 0; i < SG_COUNT_OF(bars); i++) {
        const json_t *n = json_object_get(j, bars[i].key);
        CHECK_NEAR(number_after(card, bars[i].word), json_number_value(json_object_get(n, "value")), 0.00051, 0);
        CHECK(json_integer_value(json_object_get(n, "n")) > 0);
        const json_t *interval = json_object_get(n, "interval");
        CHECK(json_array_size(interval) == 2);
        CHECK(json_number_value(json_array_get(interval, 0)) <= json_number_value(json_array_get(interval, 1)));
    }
    const json_t *effect = json_object_get(j, "effect");
    CHECK_NEAR(number_after(card, "effect of edits "),
               json_number_value(json_object_get(json_object_get(effect, "effect"), "value")), 0.00051, 0);
    CHECK_NEAR(number_after(card, "random direction "),
               json_number_value(json_object_get(json_object_get(effect, "random"), "value")), 0.00051, 0);
    CHECK(number_after(card, "; seed ") == 1000003 && json_integer_value(json_object_get(j, "seed")) == 1000003);
    char verdict[100];
    snprintf(verdict, sizeof verdict, "verdict: %s", json_string_value(json_object_get(j, "verdict")));
    CHECK_TEXT(card, verdict);
    CHECK(strstr(card, "verdict: yes") == NULL); /* of random weights */
    CHECK(json_array_size(json_object_get(j, "untrained_seeds")) == 3);
    json_decref(j);
    free(card);
    free(text);
}

static void a_waiver_is_printed(void **state)
{
    (void)state;
    CHECK(call("worldmodel", QUICK " --state legal --allow-output") == 0);
    char *card = read_all("out");
    CHECK_TEXT(card, "waived by --allow-output");
    free(card);
}

static void heads_and_neurons_are_tables_with_controls(void **state)
{
    (void)state;
    CHECK(call("heads", "--world othello --episodes 12 --json") == 0);
    char *text = read_all("out");
    json_t *j = json_loads(text, 0, NULL);
    CHECK(json_array_size(json_object_get(j, "heads")) == 4);
    const json_t *mine =
        json_object_get(json_object_get(json_array_get(json_object_get(j, "heads"), 0), "gazes"), "mine");
    CHECK(json_number_value(json_object_get(mine, "uniform")) > 0.3 && json_object_get(mine, "untrained_excess"));
    json_decref(j);
    free(text);
    CHECK(call("heads", "--world othello --episodes 12") == 0);
    text = read_all("out");
    CHECK_TEXT(text, "same parity");
    CHECK_TEXT(text, "greatest excess of an untrained head");
    free(text);
    CHECK(call("neurons", "--world othello --episodes 12 --top 3 --json") == 0);
    text = read_all("out");
    j = json_loads(text, 0, NULL);
    CHECK(json_array_size(json_object_get(j, "neurons")) == 3);
    CHECK(json_integer_value(json_object_get(j, "features")) == 36 * 4);
    CHECK(json_object_get(json_array_get(json_object_get(j, "neurons"), 0), "r_shuffled") != NULL);
    json_decref(j);
    free(text);
    CHECK(call("neurons", "--world othello --episodes 12 --top 3") == 0);
    text = read_all("out");
    CHECK_TEXT(text, "with features of other episodes");
    free(text);
}

static void wrong_use_is_said_and_is_2(void **state)
{
    (void)state;
    static const struct {
        const char *command, *rest, *words;
        int status;
    } wrong[] = {
        {"worldmodel", "--world othello --state board_rel", "--at SITE", 2},
        {"worldmodel", "--at logits", "--world, --file and --table", 2},
        {"worldmodel", "--world othello --at logits", "--state FIELD", 2},
        {"worldmodel", "--world othelo --at logits --state board_rel", "othello", 2},
        {"worldmodel", QUICK " --state bord", "board_rel", 1},
        {"worldmodel", QUICK " --state board_rel --kind round", "ridge, softmax", 2},
        {"worldmodel", QUICK " --state board_rel --size 8", "33 tokens", 2},
        {"worldmodel", "--world othello --state board_rel --at blocks.1.hook_resid_pst --episodes 40",
         "blocks.1.hook_resid_post", 1},
        {"worldmodel", "--file nowhere.safetensors --at logits", "nowhere", 1},
        {"worldmodel", "--table nowhere.csv --text name --state x --at logits", "nowhere", 1},
        {"worldmodel", "--table nowhere.csv --state x --at logits", "--text COLUMN", 2},
        {"heads", "--world othello --period 5", "--period", 2},
        {"heads", "--world features", "no world of sequences", 2},
        {"neurons", "--world othello --episodes 12 --labels board", "no field board", 2},
        {"neurons", "--world othello --episodes 12 --probe nowhere/x", "nowhere", 1},
        {"neurons", "--world othello --episodes 2", "from 4", 2},
        {"attribution", "--world othello", "--probe DIR/NAME", 2},
        {"attribution", "--world othello --episodes 12 --probe nowhere/x", "nowhere", 1},
    };
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        const int status = call(wrong[i].command, wrong[i].rest);
        char *text = read_all("err");
        if (status != wrong[i].status)
            print_error("%s %s: %s", wrong[i].command, wrong[i].rest, text);
        CHECK(status == wrong[i].status);
        CHECK_TEXT(text, wrong[i].words);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_card_and_the_json_tell_the_same),
        cmocka_unit_test(a_waiver_is_printed),
        cmocka_unit_test(heads_and_neurons_are_tables_with_controls),
        cmocka_unit_test(wrong_use_is_said_and_is_2),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
