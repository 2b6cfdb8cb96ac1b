/* The networks of images that ship, on images that they were not trained on; and the command that made them. */
#include <stdlib.h>
#include <sys/wait.h>

#include "check.h"
#include "folder.h"
#include "sightglass/convnet.h"
#include "sightglass/world.h"

#define MODELS SG_SOURCE_DIR "/models/"

static double accuracy(const char *name, int n_settings, const sg_setting *settings)
{
    char path[1024];
    sg_model *m;
    sg_sample *s;
    sg_error err;
    double share;
    snprintf(path, sizeof path, MODELS "%s", name);
    CHECK_OK(sg_model_open(&m, path, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_world_sample(&s, sg_world_find("shapes", &err), n_settings, settings, 1000, 77, &err), &err);
    CHECK_OK(sg_convnet_accuracy(&share, m, sg_sample_find(s, "pixels"), sg_sample_find(s, "label"), sg_exec_defaults(),
                                 &err),
             &err);
    sg_sample_free(s);
    sg_model_close(m);
    return share;
}

static void shapes_are_told_apart(void **state)
{
    (void)state;
    const sg_setting drawn[] = {{"size", "32"}, {"classes", "8"}, {"fill", "either"}, {"occlusion", "0.3"}},
                     textures[] = {{"size", "32"}, {"classes", "8"}, {"content", "textures"}};
    CHECK(accuracy("shapes-cnn", 0, NULL) >= 0.98);
    CHECK(accuracy("closure-shapes", 4, drawn) > 0.85);
    CHECK(accuracy("closure-labels", 4, drawn) < 0.3); /* of eight, and it was told nothing */
    CHECK(accuracy("closure-textures", 3, textures) > 0.9);
}

/* The less a caption could be trusted, the more of the image is used: accuracy where none is written. */
static void captions_are_used_as_far_as_they_could_be_trusted(void **state)
{
    (void)state;
    const sg_setting room[] = {{"captions", "room"}}, right[] = {{"captions", "written"}, {"wrong", "0"}};
    const double always = accuracy("captions-0", 1, room), often = accuracy("captions-30", 1, room),
                 never = accuracy("captions-100", 1, room);
    print_message("right without a caption: %.3f, %.3f, %.3f\n", always, often, never);
    CHECK(accuracy("captions-0", 2, right) > 0.98 && accuracy("captions-30", 2, right) > 0.95);
    CHECK(always < often && often <= never && always < 0.7 && never > 0.9);
}

static int run(const char *rest)
{
    char line[2000];
    snprintf(line, sizeof line,
             "OMP_NUM_THREADS=1 \"%s\" train --config \"" MODELS "shapes-cnn/config.json\" %s >/dev/null 2>&1",
             SG_COMMAND, rest);
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_command_writes_a_model_its_recipe_and_its_score(void **state)
{
    (void)state;
    CHECK(run("--world shapes --steps 4 --batch 8 --out shipped_images_folder") == 0);
    CHECK(access("shipped_images_folder/recipe.json", R_OK) == 0 &&
          access("shipped_images_folder/score.json", R_OK) == 0);
    sg_model *m;
    sg_error err;
    CHECK_OK(sg_model_open(&m, "shipped_images_folder", sg_model_defaults(), &err), &err);
    CHECK(strcmp(sg_model_label(m, 2), "triangle") == 0);
    sg_model_close(m);
    CHECK(run("--world shapes --size 32 --steps 4 --out shipped_images_folder") != 0); /* the network reads 24 */
    CHECK(run("--world shapes --resume --out shipped_images_folder") == 2);
    sg_test_remove_all("shipped_images_folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_told_apart),
        cmocka_unit_test(captions_are_used_as_far_as_they_could_be_trusted),
        cmocka_unit_test(the_command_writes_a_model_its_recipe_and_its_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
