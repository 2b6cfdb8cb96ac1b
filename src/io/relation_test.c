/* Files that are right and wrong, prompts by hand, and the 47 files of the data set where they are. */
#include "sightglass/relation.h"

#include <dirent.h>

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/kb.h"

static const char good[] =
    "{\"name\": \"colours\", \"prompt_templates\": [\"the colour of {} is\"], \"prompt_templates_zs\": [], "
    "\"properties\": {\"relation_type\": \"t\", \"domain_name\": \"d\", \"range_name\": \"r\", \"symmetric\": false}, "
    "\"samples\": [{\"subject\": \"Balador\", \"object\": \"red\"}, {\"subject\": \"Cordale\", \"object\": \"blue\"}, "
    "{\"subject\": \"Dunham\", \"object\": \"red chief\"}, {\"subject\": \"blue\", \"object\": \"Cordale\"}]}";

static sg_status open_text(sg_relation **out, const char *dir, const char *text, size_t n, sg_error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/relation.json", dir);
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(text, 1, n, f) == n && fclose(f) == 0);
    return sg_relation_open(out, path, err);
}

static sg_tokenizer *words(void)
{
    char *json = NULL;
    size_t bytes;
    sg_error err;
    sg_tokenizer *tok;
    FILE *to = open_memstream(&json, &bytes);
    CHECK_OK(sg_world_write_tokenizer(sg_world_find("kb", &err), 0, NULL, to, &err), &err);
    fclose(to);
    CHECK_OK(sg_tokenizer_parse(&tok, json, bytes, "kb", &err), &err);
    free(json);
    return tok;
}

static void a_file_is_read_and_a_prompt_is_what_it_says(void **state)
{
    (void)state;
    char dir[] = "/tmp/sg-relation-XXXXXX";
    sg_relation *r;
    sg_prompts *p;
    sg_error err;
    CHECK(mkdtemp(dir));
    CHECK_OK(open_text(&r, dir, good, sizeof good - 1, &err), &err);
    CHECK(r->n_samples == 4 && r->n_templates == 1 && r->n_zero_shot == 0 && !r->symmetric && r->n_objects == 4);
    CHECK(r->n_reversed == 2); /* Cordale and blue, both ways */
    sg_tokenizer *tok = words();
    int32_t first[4];
    int colliding;
    CHECK_OK(sg_relation_tokens(first, &colliding, r, tok, &err), &err);
    CHECK(first[0] == sg_tokenizer_id(tok, "red") && first[2] == first[0] && colliding == 2);
    const int shots[2] = {1, 2};
    CHECK_OK(sg_prompts_new(&p, &err), &err);
    CHECK_OK(sg_relation_prompt(p, r, tok, 0, 2, shots, 0, &err), &err);
    const char *const want[] = {"<s>", "the",    "colour", "of",      "Cordale", "is",  "blue",
                                "the", "colour", "of",     "Dunham",  "is",      "red", "chief",
                                "the", "colour", "of",     "Balador", "is"};
    CHECK(p->n == 1 && p->at[0].n == 19 && p->at[0].subject == 17 && p->at[0].object == first[0]);
    for (int i = 0; i < 19; i++)
        CHECK(strcmp(sg_tokenizer_token(tok, p->at[0].tokens[i]), want[i]) == 0);
    CHECK_STATUS(sg_relation_prompt(p, r, tok, 1, 0, NULL, 0, &err), SG_EARG);
    CHECK_STATUS(sg_relation_prompt(p, r, tok, 0, 0, NULL, 4, &err), SG_EARG);
    sg_prompts_free(p);
    sg_tokenizer_free(tok);
    sg_relation_free(r);
    sg_test_remove_all(dir);
}

static void what_is_no_relation_is_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/sg-relation-XXXXXX";
    sg_relation *r;
    sg_error err;
    CHECK(mkdtemp(dir));
    for (size_t n = 0; n < sizeof good - 1; n++) /* every truncation */
        CHECK_STATUS(open_text(&r, dir, good, n, &err), SG_EFORMAT);
    static const struct {
        const char *from, *to, *text;
    } wrong[] = {{"of {} is", "of it is", "wanted a text with one {}"},
                 {"of {} is", "of {} {}", "wanted a text with one {}"},
                 {"false", "\"no\"", "\"symmetric\" wants to be true or false"},
                 {"\"object\": \"red\"", "\"object\": 3", "\"object\" wants to be a text"},
                 {"\"samples\"", "\"sample\"", "\"samples\" wants to be a list"}};
    for (size_t i = 0; i < SG_COUNT_OF(wrong); i++) {
        char text[sizeof good + 40];
        const char *at = strstr(good, wrong[i].from);
        CHECK(at);
        const int n =
            snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, wrong[i].to, at + strlen(wrong[i].from));
        CHECK_STATUS(open_text(&r, dir, text, (size_t)n, &err), SG_EFORMAT);
        CHECK_TEXT(err.text, wrong[i].text);
    }
    sg_test_remove_all(dir);
}

/* 47 files with 11,089 pairs; one relation calls itself symmetric, and nearly all its pairs are there both ways. */
static void all_files_of_the_data_set_are_read(void **state)
{
    (void)state;
    char root[1024];
    int n_files = 0, n_samples = 0, n_symmetric = 0;
    sg_error err;
    if (!sg_test_shared(root, "data/relations/data")) {
        print_message("skipped: the relations are not here\n");
        skip();
    }
    static const char *const kinds[] = {"bias", "commonsense", "factual", "linguistic"};
    sg_tokenizer *tok = NULL;
    char model[1024];
    if (sg_test_shared(model, "models/stories260K"))
        CHECK_OK(sg_tokenizer_open_folder(&tok, model, &err), &err);
    for (size_t k = 0; k < SG_COUNT_OF(kinds); k++) {
        char dir[1100], path[1400];
        snprintf(dir, sizeof dir, "%s/%s", root, kinds[k]);
        DIR *d = opendir(dir);
        CHECK(d);
        for (const struct dirent *e; (e = readdir(d));) {
            if (!strstr(e->d_name, ".json"))
                continue;
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            sg_relation *r;
            CHECK_OK(sg_relation_open(&r, path, &err), &err);
            CHECK(strcmp(r->type, kinds[k]) == 0);
            n_files++;
            n_samples += r->n_samples;
            n_symmetric += r->symmetric;
            CHECK(r->symmetric ==
                  (strcmp(r->name, "adjective antonym") == 0 || strstr(e->d_name, "adj_antonym") != NULL));
            if (r->symmetric)
                print_message("%s: %d of %d pairs are there both ways\n", r->name, r->n_reversed, r->n_samples);
            if (tok) { /* the last word of a prompt's subject is where the prompt says */
                sg_prompts *p;
                char *text;
                CHECK_OK(sg_prompts_new(&p, &err), &err);
                const int shots[2] = {1, 2};
                CHECK_OK(sg_relation_prompt(p, r, tok, 0, 2, shots, 0, &err), &err);
                CHECK_OK(sg_tokenizer_decode(tok, p->at[0].tokens, p->at[0].subject + 1, true, &text, &err), &err);
                const size_t n = strlen(text), m = strlen(r->samples[0].subject);
                CHECK(n >= m && strncmp(text + n - m, r->samples[0].subject, m) == 0);
                free(text);
                sg_prompts_free(p);
            }
            sg_relation_free(r);
        }
        closedir(d);
    }
    sg_tokenizer_free(tok);
    CHECK(n_files == 47 && n_samples == 11089 && n_symmetric == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_and_a_prompt_is_what_it_says),
        cmocka_unit_test(what_is_no_relation_is_refused),
        cmocka_unit_test(all_files_of_the_data_set_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
