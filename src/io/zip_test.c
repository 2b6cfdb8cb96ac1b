/* Archives are built here field by field, so that each can lie alone. The last test reads one that torch.save wrote. */
#include "sightglass/zip.h"

#include <zlib.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

enum { ROOM = 1024 };

/* Two members: NAME/data.pkl of 5 bytes, NAME/data/0 of two floats. */
typedef struct image {
    unsigned char bytes[ROOM];
    size_t n, local[2], data[2], entry[2], directory, end;
} image;

static void put(image *im, const void *bytes, size_t n)
{
    CHECK(im->n + n <= ROOM);
    memcpy(im->bytes + im->n, bytes, n);
    im->n += n;
}

static void put_number(image *im, uint32_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++, x >>= 8)
        put(im, &(unsigned char){(unsigned char)x}, 1);
}

static void set_number(image *im, size_t at, uint32_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++, x >>= 8)
        im->bytes[at + (size_t)i] = (unsigned char)x;
}

static const float numbers[2] = {1.5f, -2};
static const char *const names[2] = {"probe/data.pkl", "probe/data/0"};

static image archive(const char *comment)
{
    const void *const data[2] = {"hello", numbers};
    const size_t bytes[2] = {5, sizeof numbers};
    image im = {0};
    for (int i = 0; i < 2; i++) {
        im.local[i] = im.n;
        put_number(&im, 0x04034b50, 4);
        for (int k = 0; k < 11; k++) /* version ... sizes: not looked at but for the method */
            put_number(&im, 0, 2);
        put_number(&im, (uint32_t)strlen(names[i]), 2);
        put_number(&im, 3, 2); /* extra, as torch aligns by */
        put(&im, names[i], strlen(names[i]));
        put(&im, "ZZZ", 3);
        im.data[i] = im.n;
        put(&im, data[i], bytes[i]);
    }
    im.directory = im.n;
    for (int i = 0; i < 2; i++) {
        im.entry[i] = im.n;
        put_number(&im, 0x02014b50, 4);
        put_number(&im, 0, 4); /* versions */
        put_number(&im, 0, 2); /* 8: flags */
        put_number(&im, 0, 2); /* 10: method */
        put_number(&im, 0, 4);
        put_number(&im, (uint32_t)crc32(0, data[i], (unsigned)bytes[i]), 4); /* 16 */
        put_number(&im, (uint32_t)bytes[i], 4);                              /* 20: stored */
        put_number(&im, (uint32_t)bytes[i], 4);                              /* 24 */
        put_number(&im, (uint32_t)strlen(names[i]), 2);                      /* 28 */
        put_number(&im, 0, 4);                                               /* 30: extra, comment */
        put_number(&im, 0, 4);
        put_number(&im, 0, 4);
        put_number(&im, (uint32_t)im.local[i], 4); /* 42 */
        put(&im, names[i], strlen(names[i]));
    }
    im.end = im.n;
    put_number(&im, 0x06054b50, 4);
    put_number(&im, 0, 4);
    put_number(&im, 2, 2); /* 8 */
    put_number(&im, 2, 2); /* 10 */
    put_number(&im, (uint32_t)(im.end - im.directory), 4);
    put_number(&im, (uint32_t)im.directory, 4); /* 16 */
    put_number(&im, (uint32_t)strlen(comment), 2);
    put(&im, comment, strlen(comment));
    return im;
}

/* Bytes exactly as many as there are, so that the sanitizer sees a read past them. */
static sg_status parse(sg_zip **z, const image *im, size_t n, unsigned char **copy, sg_error *err)
{
    *copy = malloc(n ? n : 1);
    CHECK(*copy != NULL);
    memcpy(*copy, im->bytes, n);
    return sg_zip_parse(z, *copy, n, "image", err);
}

static void stored_members_are_read(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const image im = archive(i ? "a comment" : "");
        unsigned char *copy;
        const void *bytes;
        size_t n;
        sg_zip *z;
        sg_tensor t;
        sg_error err;
        CHECK_OK(parse(&z, &im, im.n, &copy, &err), &err);
        CHECK(sg_zip_count(z) == 2 && strcmp(sg_zip_name(z, 1), names[1]) == 0);
        CHECK_OK(sg_zip_member(&bytes, &n, z, "*.pkl", &err), &err);
        CHECK(n == 5 && memcmp(bytes, "hello", 5) == 0);
        CHECK_OK(sg_zip_numbers(&t, z, "*data/0", SG_F32, 2, (sg_dim[]){1, 2}, &err), &err);
        CHECK((uintptr_t)t.data % sizeof(float) == 0); /* they lie misaligned in the image */
        CHECK_NEAR(sg_tensor_get(&t, 0), 1.5, 0, 0);
        CHECK_NEAR(sg_tensor_get(&t, 1), -2, 0, 0);
        sg_zip_close(z);
        free(copy);
    }
    sg_zip_close(NULL);
}

static void what_fits_no_member_or_shape_is_said(void **state)
{
    (void)state;
    const image im = archive("");
    const void *bytes;
    size_t n;
    sg_zip *z;
    sg_tensor t;
    sg_error err;
    CHECK_OK(sg_zip_parse(&z, im.bytes, im.n, "image", &err), &err);
    CHECK_STATUS(sg_zip_member(&bytes, &n, z, "*data/1", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "none of 2 members fits \"*data/1\"; the first is probe/data.pkl");
    CHECK_STATUS(sg_zip_member(&bytes, &n, z, "*data*", &err), SG_EARG);
    CHECK_TEXT(err.text, "fits probe/data.pkl and probe/data/0");
    CHECK_STATUS(sg_zip_numbers(&t, z, "*data/0", SG_F32, 2, (sg_dim[]){1, 3}, &err), SG_ESHAPE);
    CHECK_TEXT(err.text, "has 8 bytes, f32 [1,3] takes 12");
    CHECK_STATUS(sg_zip_numbers(&t, z, "*data/0", SG_F32, 2, (sg_dim[]){INT64_MAX, 4}, &err), SG_EARG);
    CHECK_STATUS(sg_zip_numbers(&t, z, "*data/0", SG_F32, 1, (sg_dim[]){-2}, &err), SG_EARG);
    sg_zip_close(z);
}

static void what_cannot_be_read_is_refused_when_it_is_asked_for(void **state)
{
    (void)state;
    const struct {
        size_t at; /* from the second member's entry */
        uint32_t value;
        sg_status status;
        const char *words;
    } cases[] = {
        {10, 8, SG_EUNSUPPORTED, "is compressed (method 8); only stored members"},
        {8, 1, SG_EUNSUPPORTED, "is encrypted"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        image im = archive("");
        const void *bytes;
        size_t n;
        sg_zip *z;
        sg_error err;
        set_number(&im, im.entry[1] + cases[i].at, cases[i].value, 2);
        set_number(&im, im.local[1] + 8, cases[i].value & 8, 2); /* the header agrees about the method */
        CHECK_OK(sg_zip_parse(&z, im.bytes, im.n, "image", &err), &err);
        CHECK_STATUS(sg_zip_member(&bytes, &n, z, "*data/0", &err), cases[i].status);
        CHECK_TEXT(err.text, cases[i].words);
        CHECK_OK(sg_zip_member(&bytes, &n, z, "*.pkl", &err), &err); /* it does not stand in the way of the rest */
        sg_zip_close(z);
    }
    image im = archive("");
    const void *bytes;
    size_t n;
    sg_zip *z;
    sg_error err;
    im.bytes[im.data[1]] ^= 1;
    CHECK_OK(sg_zip_parse(&z, im.bytes, im.n, "image", &err), &err);
    CHECK_STATUS(sg_zip_member(&bytes, &n, z, "*data/0", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "its checksum is");
    sg_zip_close(z);
}

static void lying_numbers_are_refused(void **state)
{
    (void)state;
    const image good = archive("");
    const struct {
        size_t at;
        uint32_t value;
        int n_bytes;
        sg_status status;
        const char *words;
    } cases[] = {
        {good.end, 0, 4, SG_EFORMAT, "does not end as a zip archive does"},
        {good.end + 20, 1, 2, SG_EFORMAT, "does not end as a zip archive does"},
        {good.end + 4, 1, 2, SG_EUNSUPPORTED, "several volumes"},
        {good.end + 10, 65535, 2, SG_EUNSUPPORTED, "65535 members"},
        {good.end + 16, UINT32_MAX, 4, SG_EUNSUPPORTED, "4 GiB"},
        {good.end + 16, (uint32_t)good.n, 4, SG_EFORMAT, "the directory claims bytes"},
        {good.end + 12, 0x7fffffff, 4, SG_EFORMAT, "the directory claims bytes"},
        {good.end + 12, (uint32_t)(good.end - good.directory) - 1, 4, SG_EFORMAT, "longer than the directory"},
        {good.end + 12, 50, 4, SG_EFORMAT, "a directory of 50 bytes claims 2 members"},
        {good.end + 16, (uint32_t)good.directory - 1, 4, SG_EFORMAT, "no entry at byte"},
        {good.entry[1], 0, 4, SG_EFORMAT, "no entry at byte"},
        {good.entry[1] + 28, 200, 2, SG_EFORMAT, "longer than the directory"},
        {good.entry[1] + 28, 11, 2, SG_EFORMAT, "another name"},
        {good.entry[1] + 46, 0, 1, SG_EFORMAT, "has a zero in it"},
        {good.entry[1] + 42, (uint32_t)good.local[0], 4, SG_EFORMAT, "another name"},
        {good.entry[1] + 42, (uint32_t)good.directory, 4, SG_EFORMAT, "no header at byte"},
        {good.entry[1] + 42, 0xfffffffe, 4, SG_EFORMAT, "no header at byte"},
        {good.entry[1] + 42, UINT32_MAX, 4, SG_EUNSUPPORTED, "4 GiB and more"},
        {good.entry[1] + 20, 9, 4, SG_EFORMAT, "8 bytes are stored as 9"},
        {good.entry[1] + 24, UINT32_MAX, 4, SG_EUNSUPPORTED, "4 GiB and more"},
        {good.entry[1] + 10, 8, 2, SG_EFORMAT, "differ in how it is compressed"},
        {good.local[1], 0, 4, SG_EFORMAT, "no header at byte"},
        {good.local[1] + 28, 9999, 2, SG_EFORMAT, "do not fit before the directory"},
        {good.local[1] + 28, 4, 2, SG_EFORMAT, "do not fit before the directory"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        image im = good;
        unsigned char *copy;
        sg_zip *z;
        sg_error err;
        set_number(&im, cases[i].at, cases[i].value, cases[i].n_bytes);
        const sg_status status = parse(&z, &im, im.n, &copy, &err);
        if (status != cases[i].status)
            print_error("case %zu: %s\n", i, status == SG_OK ? "accepted" : err.text);
        CHECK(status == cases[i].status && z == NULL);
        CHECK_TEXT(err.text, cases[i].words);
        free(copy);
    }
}

static void each_truncation_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const image im = archive(i ? "PK" : "");
        for (size_t n = 0; n < im.n; n++) {
            unsigned char *copy;
            sg_zip *z;
            sg_error err;
            CHECK_STATUS(parse(&z, &im, n, &copy, &err), SG_EFORMAT);
            free(copy);
        }
    }
}

/* Whatever one byte says: refused, or read without a step outside. */
static void any_single_byte_may_be_wrong(void **state)
{
    (void)state;
    const image good = archive("");
    int n_read = 0;
    for (size_t at = 0; at < good.n; at++)
        for (int bit = 0; bit < 8; bit++) {
            image im = good;
            unsigned char *copy;
            const void *bytes;
            size_t n;
            sg_zip *z;
            sg_error err;
            im.bytes[at] ^= (unsigned char)(1 << bit);
            if (parse(&z, &im, im.n, &copy, &err) == SG_OK) {
                for (int k = 0; k < sg_zip_count(z); k++)
                    n_read += sg_zip_member(&bytes, &n, z, sg_zip_name(z, k), &err) == SG_OK;
                sg_zip_close(z);
            }
            free(copy);
        }
    CHECK(n_read > 0); /* dates and versions are free */
}

static void an_empty_archive_has_no_members(void **state)
{
    (void)state;
    static const unsigned char bytes[22] = {'P', 'K', 5, 6};
    const void *member;
    size_t n;
    sg_zip *z;
    sg_error err;
    CHECK_OK(sg_zip_parse(&z, bytes, sizeof bytes, "image", &err), &err);
    CHECK(sg_zip_count(z) == 0);
    CHECK_STATUS(sg_zip_member(&member, &n, z, "*", &err), SG_ENOTFOUND);
    sg_zip_close(z);
    CHECK_STATUS(sg_zip_open(&z, "/no/such/file.pth", &err), SG_ENOTFOUND);
    CHECK(z == NULL);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    const image im = archive("");
    for (long n = 0;; n++) {
        sg_error err;
        sg_zip *z;
        sg_tensor t;
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_status status = sg_zip_parse(&z, im.bytes + 0, im.n, "image", &err);
        if (status == SG_OK)
            status = sg_zip_numbers(&t, z, "*data/0", SG_F32, 1, (sg_dim[]){2}, &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        sg_zip_close(z);
        if (!fired)
            break;
    }
}

static void what_torch_saved_is_read(void **state)
{
    (void)state;
    char path[1024];
    sg_zip *z;
    sg_tensor t;
    sg_error err;
    const char *found = sg_test_shared(path, "data/othello_probes/mech_int/probes/linear/resid_6_linear.pth");
    SKIP_WITHOUT(found, "data/othello_probes");
    CHECK_OK(sg_zip_open(&z, path, &err), &err);
    CHECK_OK(sg_zip_numbers(&t, z, "*data/0", SG_F32, 4, (sg_dim[]){512, 8, 8, 3}, &err), &err);
    CHECK(sg_zip_count(z) == 3 && strcmp(sg_zip_name(z, 1), "resid_6_linear/data/0") == 0);
    CHECK_NEAR(sg_tensor_get(&t, 0), -0.59405112, 1e-7, 0); /* bytes bc 13 18 bf of the file */
    sg_zip_close(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_members_are_read),
        cmocka_unit_test(what_fits_no_member_or_shape_is_said),
        cmocka_unit_test(what_cannot_be_read_is_refused_when_it_is_asked_for),
        cmocka_unit_test(lying_numbers_are_refused),
        cmocka_unit_test(each_truncation_is_refused),
        cmocka_unit_test(any_single_byte_may_be_wrong),
        cmocka_unit_test(an_empty_archive_has_no_members),
        cmocka_unit_test(each_failed_allocation_is_reported),
        cmocka_unit_test(what_torch_saved_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
