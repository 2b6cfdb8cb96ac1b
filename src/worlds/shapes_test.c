/* Images whose truth can be counted. */
#include "base/base.h"
#include "check.h"
#include "sightglass/world.h"

enum { N = 64 };

static sg_sample *draw(sg_dim n, uint64_t seed, int n_settings, const sg_setting *settings)
{
    sg_sample *s;
    sg_error err;
    CHECK_OK(sg_world_sample(&s, sg_world_find("shapes", &err), n_settings, settings, n, seed, &err), &err);
    return s;
}

static int32_t whole(const sg_sample *s, const char *field, sg_dim i)
{
    return (int32_t)sg_tensor_get(sg_sample_find(s, field), i);
}

static void the_same_origin_gives_the_same_images_whatever_is_drawn_with_them(void **state)
{
    (void)state;
    sg_error err;
    const sg_setting with[] = {{"captions", "written"}, {"occlusion", "0.5"}};
    sg_sample *all = draw(12, 7, 2, with);
    sg_source source;
    CHECK_OK(sg_world_batches(&source, sg_world_find("shapes", &err), 2, with, 2,
                              (const char *const[]){"label", "pixels"}, 4, 7, &err),
             &err);
    sg_tensor field[2] = {source.field[0], source.field[1]};
    for (int i = 0; i < 2; i++)
        field[i].data = malloc(sg_tensor_bytes(&field[i]));
    CHECK_OK(source.fill(source.self, 2, field, &err), &err); /* items 8 to 11 */
    const float *pixels = sg_sample_find(all, "pixels")->data;
    CHECK(memcmp(field[1].data, pixels + 8 * 24 * 24, sg_tensor_bytes(&field[1])) == 0);
    CHECK(memcmp(field[0].data, (int32_t *)sg_sample_find(all, "label")->data + 8, sizeof(int32_t) * 4) == 0);
    sg_sample *other = draw(12, 8, 2, with);
    CHECK(memcmp(sg_sample_find(other, "pixels")->data, pixels, 24 * 24 * sizeof(float)) != 0);
    sg_sample_free(other);
    sg_sample_free(all);
    for (int i = 0; i < 2; i++)
        free(field[i].data);
    sg_source_free(&source);
    CHECK_STATUS(sg_world_batches(&source, sg_world_find("shapes", &err), 0, NULL, 1, (const char *const[]){"lable"}, 4,
                                  7, &err),
                 SG_ENOTFOUND);
}

/* The mask is where the shape is: of one grey, that of nothing around it where the background is plain. */
static void masks_are_exact(void **state)
{
    (void)state;
    const sg_setting plain[] = {{"background", "plain"}, {"distractors", "0"}, {"size", "32"}, {"classes", "8"}};
    sg_sample *s = draw(N, 1, 4, plain);
    const float *pixels = sg_sample_find(s, "pixels")->data;
    const uint8_t *mask = sg_sample_find(s, "mask")->data;
    for (int i = 0; i < N; i++) {
        int n_inside = 0;
        double inside = 0, outside = 0;
        for (int k = 0; k < 32 * 32; k++) {
            n_inside += mask[i * 1024 + k];
            *(mask[i * 1024 + k] ? &inside : &outside) += (double)pixels[i * 1024 + k];
        }
        CHECK(n_inside > 30 && n_inside < 420);
        inside /= n_inside;
        outside /= 1024 - n_inside;
        CHECK(fabs(inside - outside) > 0.2);
        for (int k = 0; k < 32 * 32; k++) /* whichever grey is nearer: edges may be half and half */
            if (mask[i * 1024 + k])
                CHECK(fabs((double)pixels[i * 1024 + k] - inside) < 0.62 * fabs(inside - outside) + 0.08);
    }
    sg_sample_free(s);
}

static void captions_name_the_shape_as_often_as_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *wrong;
        double least, most; /* of captions that are right: 1 - p + p / 4 */
    } cases[] = {{"0", 1, 1}, {"0.3", 0.72, 0.83}, {"1", 0.2, 0.3}};
    for (size_t c = 0; c < SG_COUNT_OF(cases); c++) {
        const sg_setting with[] = {{"captions", "written"}, {"wrong", cases[c].wrong}, {"distractors", "0"}};
        sg_sample *s = draw(1000, 3, 3, with);
        int right = 0;
        for (int i = 0; i < 1000; i++)
            right += whole(s, "caption", i) == whole(s, "label", i);
        CHECK(right / 1000.0 >= cases[c].least && right / 1000.0 <= cases[c].most);
        sg_sample_free(s);
    }
}

/* But for the caption itself, an image with and one without are the same. */
static void a_caption_changes_nothing_else(void **state)
{
    (void)state;
    sg_sample *with = draw(N, 5, 1, &(sg_setting){"captions", "written"}),
              *room = draw(N, 5, 1, &(sg_setting){"captions", "room"});
    const float *a = sg_sample_find(with, "pixels")->data, *b = sg_sample_find(room, "pixels")->data;
    const uint8_t *written = sg_sample_find(with, "caption_mask")->data, *mask = sg_sample_find(with, "mask")->data,
                  *free_mask = sg_sample_find(room, "mask")->data;
    int n = 0;
    for (int k = 0; k < N * 24 * 24; k++) {
        n += written[k];
        CHECK(written[k] || a[k] == b[k]);
        CHECK(!(written[k] && mask[k]));
        CHECK(mask[k] == free_mask[k]);
    }
    CHECK(n > N * 7 * 12);
    for (int i = 0; i < N; i++)
        CHECK(whole(room, "caption", i) == -1 && whole(with, "label", i) == whole(room, "label", i));
    sg_sample_free(room);
    sg_sample_free(with);
}

static void one_class_alone_and_other_contents(void **state)
{
    (void)state;
    const sg_setting only[] = {{"only", "2"}}, textures[] = {{"content", "textures"}, {"classes", "8"}},
                     text[] = {{"content", "captions"}, {"background", "noise"}, {"only", "1"}},
                     odd[] = {{"labels", "random"}, {"only", "2"}};
    sg_sample *s = draw(N, 2, 1, only);
    for (int i = 0; i < N; i++)
        CHECK(whole(s, "label", i) == 2);
    sg_sample_free(s);
    s = draw(N, 2, 2, textures);
    for (int i = 0; i < N; i++)
        CHECK(whole(s, "label", i) == whole(s, "texture", i));
    for (int k = 0; k < N * 24 * 24; k++)
        CHECK(whole(s, "mask", k) == 0);
    sg_sample_free(s);
    s = draw(N, 2, 3, text);
    for (int i = 0; i < N; i++)
        CHECK(whole(s, "label", i) == 1 && whole(s, "caption", i) == 1 && whole(s, "texture", i) == -1);
    sg_sample_free(s);
    s = draw(400, 2, 2, odd);
    int n = 0;
    for (int i = 0; i < 400; i++)
        n += whole(s, "label", i) == 2;
    CHECK(n > 60 && n < 140);
    sg_sample_free(s);
    sg_error err;
    CHECK_STATUS(sg_world_sample(&s, sg_world_find("shapes", &err), 1, &(sg_setting){"only", "4"}, 1, 1, &err),
                 SG_EARG);
    const sg_setting small[] = {{"size", "16"}, {"captions", "written"}};
    CHECK_STATUS(sg_world_sample(&s, sg_world_find("shapes", &err), 2, small, 1, 1, &err), SG_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_origin_gives_the_same_images_whatever_is_drawn_with_them),
        cmocka_unit_test(masks_are_exact),
        cmocka_unit_test(captions_name_the_shape_as_often_as_they_should),
        cmocka_unit_test(a_caption_changes_nothing_else),
        cmocka_unit_test(one_class_alone_and_other_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
