/* Pictures against what Pillow reads and resizes (test/make_models/encoders.py), and files that are damaged. */
#include "sightglass/bitmap.h"

#include <string.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"
#include "sightglass/safetensors.h"

#define PICTURES SG_SOURCE_DIR "/test/data/encoders/pictures/"

static sg_safetensors *golden_open(void)
{
    sg_safetensors *st;
    sg_error err;

    CHECK_OK(sg_safetensors_open(&st, PICTURES "golden.safetensors", &err), &err);
    return st;
}

static void same(const char *name, const sg_bitmap *b, const sg_tensor *want)
{
    CHECK(want && want->n_dims == 3 && want->dims[0] == b->height && want->dims[1] == b->width && want->dims[2] == 3);
    for (sg_dim i = 0; i < sg_tensor_count(want); i++)
        if (b->rgb[i] != ((const int32_t *)want->data)[i]) {
            print_error("%s: byte %lld is %d, wanted %d\n", name, (long long)i, b->rgb[i],
                        ((const int32_t *)want->data)[i]);
            CHECK(false);
        }
}

static const char *const files[] = {"rgb.png",  "grey.png", "palette.png", "clear.png",
                                    "bits.png", "rgb.jpg",  "grey.jpg",    "inks.jpg"};

static void files_of_each_kind_have_their_pixels(void **state)
{
    (void)state;
    sg_safetensors *golden = golden_open();

    for (size_t i = 0; i < SG_COUNT_OF(files); i++) {
        char path[512];
        sg_bitmap *b;
        sg_error err;
        snprintf(path, sizeof path, PICTURES "%s", files[i]);
        CHECK_OK(sg_bitmap_open(&b, path, &err), &err);
        same(files[i], b, sg_safetensors_find(golden, files[i]));
        sg_bitmap_free(b);
    }
    sg_safetensors_close(golden);
}

static void each_filter_resizes_to_the_byte(void **state)
{
    (void)state;
    static const char *const filters[SG_N_FILTERS] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};
    static const int sizes[2][2] = {{6, 9}, {23, 8}};
    sg_safetensors *golden = golden_open();
    sg_bitmap *b, *to;
    sg_error err;

    CHECK_OK(sg_bitmap_open(&b, PICTURES "rgb.png", &err), &err);
    for (int f = 0; f < SG_N_FILTERS; f++)
        for (int s = 0; s < 2; s++) {
            char name[64];
            snprintf(name, sizeof name, "%s %d %d", filters[f], sizes[s][0], sizes[s][1]);
            CHECK_OK(sg_bitmap_resize(&to, b, sizes[s][0], sizes[s][1], (sg_filter)f, &err), &err);
            same(name, to, sg_safetensors_find(golden, name));
            sg_bitmap_free(to);
        }
    CHECK_STATUS(sg_bitmap_resize(&to, b, 0, 5, SG_FILTER_BOX, &err), SG_EARG);
    CHECK_STATUS(sg_bitmap_resize(&to, b, 16384, 16384, SG_FILTER_BOX, &err), SG_EARG);
    sg_bitmap_free(b);
    sg_safetensors_close(golden);
}

/* Cut off anywhere, or with a byte changed, a file is refused or read; the pixels that it claims are all there. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    int n_refused = 0;

    for (size_t i = 0; i < SG_COUNT_OF(files); i++) {
        char path[512];
        sg_file *f;
        sg_error err;
        snprintf(path, sizeof path, PICTURES "%s", files[i]);
        CHECK_OK(sg_file_open(&f, path, &err), &err);
        const size_t n = sg_file_bytes(f);
        uint8_t *copy = malloc(n);
        for (size_t at = 0; at < n; at++) {
            sg_bitmap *b = NULL;
            memcpy(copy, sg_file_data(f), n);
            if (at + 2 < n) /* the end marks themselves hold no pixels */
                CHECK(sg_bitmap_parse(&b, copy, at, "cut", &err) == SG_EFORMAT || at + 16 > n);
            sg_bitmap_free(b);
            b = NULL;
            copy[at] ^= 0x55;
            n_refused += sg_bitmap_parse(&b, copy, n, "changed", &err) != SG_OK;
            unsigned sum = 0;
            for (size_t k = 0; b && k < (size_t)b->height * (size_t)b->width * 3; k++)
                sum += b->rgb[k];
            volatile unsigned sink = sum;
            (void)sink;
            sg_bitmap_free(b);
        }
        free(copy);
        sg_file_close(f);
    }
    CHECK(n_refused > 500);
    sg_bitmap *b;
    sg_error err;
    CHECK_STATUS(sg_bitmap_parse(&b, "GIF89a", 6, "a.gif", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "neither a PNG nor a JPEG nor a BMP");
    CHECK_STATUS(sg_bitmap_parse(&b, "", 0, "nothing", &err), SG_EFORMAT);
    CHECK_STATUS(sg_bitmap_open(&b, PICTURES "absent.png", &err), SG_ENOTFOUND);
}

/* Two rows of three pixels, upwards and downwards, of 24 and of 32 bits; and all that can be wrong with them. */
static void bmp_files_have_their_pixels(void **state)
{
    (void)state;
    for (int bits = 24; bits <= 32; bits += 8)
        for (int down = 0; down < 2; down++) {
            uint8_t file[128] = {'B', 'M', [10] = 54, [14] = 40, [18] = 3, [26] = 1, [28] = (uint8_t)bits};
            const int row = 12, each = bits / 8; /* nine bytes and three of padding, or twelve */
            const int32_t tall = down ? -2 : 2;
            sg_bitmap *b;
            sg_error err;
            memcpy(file + 22, &tall, sizeof tall);
            for (int y = 0; y < 2; y++)
                for (int x = 0; x < 3; x++)
                    for (int c = 0; c < 3; c++)
                        file[54 + (down ? y : 1 - y) * row + x * each + 2 - c] = (uint8_t)(100 * y + 10 * x + c);
            CHECK_OK(sg_bitmap_parse(&b, file, 54 + 2 * (size_t)row, "a.bmp", &err), &err);
            CHECK(b->height == 2 && b->width == 3);
            for (int i = 0; i < 18; i++)
                CHECK(b->rgb[i] == 100 * (i / 9) + 10 * (i % 9 / 3) + i % 3);
            sg_bitmap_free(b);
            CHECK_STATUS(sg_bitmap_parse(&b, file, 53 + 2 * (size_t)row, "a.bmp", &err), SG_EFORMAT);
            CHECK_STATUS(sg_bitmap_parse(&b, file, 20, "a.bmp", &err), SG_EFORMAT);
            file[30] = 1;
            CHECK_STATUS(sg_bitmap_parse(&b, file, sizeof file, "a.bmp", &err), SG_EUNSUPPORTED);
            file[30] = 0;
            file[21] = 0x80; /* a width below 0 */
            CHECK_STATUS(sg_bitmap_parse(&b, file, sizeof file, "a.bmp", &err), SG_EFORMAT);
            file[21] = 0x40;
            CHECK_STATUS(sg_bitmap_parse(&b, file, sizeof file, "a.bmp", &err), SG_EUNSUPPORTED);
        }
}

/* A header that claims a picture of gigabytes is refused by its size, before memory is asked for. */
static void claims_beyond_bounds_are_refused(void **state)
{
    (void)state;
    uint8_t png[] = {0x89, 'P',  'N',  'G', '\r', '\n', 0x1a, '\n', 0,   0,   0,   13,   'I',  'H',  'D',
                     'R',  0,    1,    0,   0,    0,    1,    0,    0,   8,   2,   0,    0,    0,    0x81,
                     0x83, 0x1b, 0xd6, 0,   0,    0,    0,    'I',  'D', 'A', 'T', 0x35, 0xaf, 0x06, 0x1e};
    sg_bitmap *b;
    sg_error err;

    CHECK(sg_bitmap_parse(&b, png, sizeof png, "large.png", &err) != SG_OK);
    CHECK_TEXT(err.text, "large.png");
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    static const char *const some[] = {PICTURES "clear.png", PICTURES "inks.jpg"};

    for (size_t i = 0; i < SG_COUNT_OF(some); i++)
        for (long n = 0;; n++) {
            sg_bitmap *b = NULL, *small = NULL;
            sg_error err;
            sg_faults_begin(n, SG_FAULT_ONCE);
            sg_status status = sg_bitmap_open(&b, some[i], &err);
            if (status == SG_OK)
                status = sg_bitmap_resize(&small, b, 5, 6, SG_FILTER_LANCZOS, &err);
            const bool fired = sg_faults_end();
            CHECK(status == (fired ? SG_ENOMEM : SG_OK));
            sg_bitmap_free(small);
            sg_bitmap_free(b);
            if (!fired)
                break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_each_kind_have_their_pixels),
        cmocka_unit_test(each_filter_resizes_to_the_byte),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(bmp_files_have_their_pixels),
        cmocka_unit_test(claims_beyond_bounds_are_refused),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
