/* sightglass run and inspect on encoders, as a user meets them. */
#include "check.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/wait.h>

#define E SG_SOURCE_DIR "/test/data/encoders/"

static char out[1 << 17];

/* Runs the command; what it says on both streams is in `out`. */
static void says(int status, const char *rest, const char *words)
{
    char line[2000];
    snprintf(line, sizeof line, "OMP_NUM_THREADS=1 \"%s\" %s 2>&1", SG_COMMAND, rest);
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    out[fread(out, 1, sizeof out - 1, f)] = 0;
    const int got = pclose(f);
    if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
        print_error("%s\n  exit status %d, wanted %d:\n%s\n", rest, WEXITSTATUS(got), status, out);
    CHECK(WIFEXITED(got) && WEXITSTATUS(got) == status);
    CHECK_TEXT(out, words);
}

static int begin(void **state)
{
    (void)state;
    FILE *f = fopen("encoder_command.txt", "w"), *one = fopen("encoder_command_one.txt", "w");
    if (!f || fputs("2 7 11 4 3\n2 9 3\n", f) < 0 || fclose(f) != 0)
        return -1;
    return !one || fputs("2 7 11\n", one) < 0 || fclose(one) != 0 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    return system("rm -f encoder_command.txt encoder_command_one.txt encoder_command.safetensors encoder_command.json");
}

/* The likeliest label of a row in `out`. */
static const char *first_label(const json_t *root, size_t row)
{
    return json_string_value(
        json_object_get(json_array_get(json_array_get(json_object_get(root, "labels"), row), 0), "name"));
}

static void pictures_are_named(void **state)
{
    (void)state;
    says(0, "run " E "vit_labels --image " E "pictures/rgb.png --image " E "pictures/grey.jpg --top 2",
         "pictures/grey.jpg\n");
    CHECK_TEXT(out, " %  dog, hound\n");
    says(0, "run --json " E "vit_labels --image " E "pictures/rgb.png --image " E "pictures/grey.jpg", "\"labels\"");
    json_t *root = json_loads(out, 0, NULL);
    /* What the same network in PyTorch says of the pixels that Pillow makes. */
    CHECK(root && strcmp(first_label(root, 0), "ant") == 0 && strcmp(first_label(root, 1), "cat") == 0);
    json_decref(root);
}

static void texts_are_classed_filled_in_and_matched(void **state)
{
    (void)state;
    says(0, "run " E "bert_labels --tokens encoder_command.txt", "%  good");
    says(0, "run " E "bert_pretraining --tokens encoder_command.txt", "most likely here");
    says(0, "run " E "bert_pretraining --text 'The cats [MASK] on' --top 1", "       4  \"[MASK]\"          \"");
    CHECK(strstr(out, "       2  ") == NULL && strstr(out, "       5  ") == NULL); /* the hidden place alone */
    says(0, "run " E "clip_text_alone --tokens encoder_command.txt", "text_embeds                            [2,5]");
    says(0, "run --json " E "clip_both --tokens encoder_command.txt --image " E "pictures/rgb.png", "\"match\"");
    json_t *root = json_loads(out, 0, NULL);
    const json_t *row = json_array_get(json_object_get(root, "match"), 0);
    CHECK(json_array_size(row) == 2);
    CHECK_NEAR(json_real_value(json_array_get(row, 0)) + json_real_value(json_array_get(row, 1)), 1, 1e-6, 0);
    json_decref(root);
}

/* Fetched, edited, differentiated, written. */
static void every_verb_works_on_images(void **state)
{
    (void)state;
    FILE *f = fopen("encoder_command.json", "w");
    CHECK(
        f &&
        fputs("[{\"site\": \"blocks.0.hook_resid_post\", \"op\": \"scale\", \"strength\": 0, \"positions\": [1, -1]}]",
              f) >= 0 &&
        fclose(f) == 0);
    says(0,
         "run " E "dinov2_plain --image " E
         "pictures/rgb.png --edits encoder_command.json --fetch 'blocks.*.hook_resid_p*' "
         "--grad pooler_output:pixels --out encoder_command.safetensors",
         "pooler_output:pixels");
    CHECK_TEXT(out, "blocks.0.hook_resid_post.unedited");
    says(0, "inspect " E "clip_both", "vision.blocks.1.mlp.hook_post");
    CHECK_TEXT(out, "context 7, images of 4 by 4 pixels");
    says(0, "inspect " E "vit_labels", "4 labels");
    says(0, "run " E "vit_labels --image " E "pictures/rgb.png --dry-run", "values between");
}

static void wrong_use_is_told(void **state)
{
    (void)state;
    says(2, "run " E "vit_labels", "wanted either --text or --tokens, or --image");
    says(2, "run " E "vit_labels --tokens encoder_command.txt", "reads images and no tokens");
    says(2, "run " E "bert_labels --image " E "pictures/rgb.png", "reads no images");
    says(1, "run " E "vit_labels --image " E "vit_labels/config.json", "neither a PNG nor a JPEG nor a BMP file");
    says(1, "run " E "vit_pooled --image " E "pictures/rgb.png", "no preprocessor_config.json");
    says(2, "generate " E "bert_pretraining --tokens encoder_command_one.txt", "is an encoder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_named),
        cmocka_unit_test(texts_are_classed_filled_in_and_matched),
        cmocka_unit_test(every_verb_works_on_images),
        cmocka_unit_test(wrong_use_is_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
