#include "sightglass/npy.h"

#include "base/base.h"
#include "check.h"
#include "faults.h"

static char path[256];

static int make_path(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/sightglass-npy-test-XXXXXX", tmp ? tmp : "/tmp");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* A file in memory, exactly as large as its bytes so that the sanitizer sees a read past them. */
struct image {
    unsigned char *bytes;
    size_t n;
};

static struct image image_of(int major, const char *header, const void *data, size_t n_data)
{
    const size_t n_header = strlen(header), prefix = major == 1 ? 10 : 12;
    struct image im = {.n = prefix + n_header + n_data};
    im.bytes = malloc(im.n);
    CHECK(im.bytes != NULL);
    memcpy(im.bytes, "\x93NUMPY", 6);
    im.bytes[6] = (unsigned char)major;
    im.bytes[7] = 0;
    for (size_t i = 8; i < prefix; i++)
        im.bytes[i] = (unsigned char)(n_header >> (8 * (i - 8)));
    memcpy(im.bytes + prefix, header, n_header);
    if (n_data)
        memcpy(im.bytes + prefix + n_header, data, n_data);
    return im;
}

static void check_refused(const char *header, size_t n_data, sg_status want, const char *words)
{
    static const unsigned char zeros[64];
    sg_error err;
    sg_npy *a;
    struct image im = image_of(1, header, zeros, n_data);
    const sg_status status = sg_npy_parse(&a, im.bytes, im.n, "image", &err);
    if (status != want)
        print_error("%s\n", header);
    CHECK(status == want && a == NULL);
    CHECK_TEXT(err.text, words);
    free(im.bytes);
}

#define HEADER(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

static void numpys_own_bytes_are_read(void **state)
{
    (void)state;
    /* What numpy.save writes for numpy.arange(6, dtype='<f4').reshape(2, 3): entries sorted, padded to 128 bytes. */
    static const unsigned char bytes[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        "                                                          \n"
        "\x00\x00\x00\x00\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\xa0\x40";
    sg_error err;
    sg_npy *a;
    CHECK_OK(sg_npy_parse(&a, bytes, sizeof bytes - 1, "image", &err), &err);
    const sg_tensor *t = sg_npy_tensor(a);
    CHECK(t->dtype == SG_F32 && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(sg_tensor_get(t, i), i, 0, 0);
    sg_npy_close(a);
    sg_npy_close(NULL);
}

static void versions_and_spellings_are_read(void **state)
{
    (void)state;
    static const struct {
        int major;
        const char *header;
    } cases[] = {
        {1, HEADER("<f8", "(1,)") "\n"},
        {2, HEADER("<f8", "(1,)") "        \n"},
        {3, HEADER("<f8", "(1,)")},
        {1, HEADER("<f8", "()")},
        {1, HEADER("<f8", "(1, 1)")},
        {1, HEADER("<f8", "(1,1,1,)")},
        {1, HEADER("<f8", "(1L,)")},
        {1, "{\"shape\":(1,),\"fortran_order\":False,\"descr\":\"<f8\"}"},
        {1, "{'descr': '<f8', 'fortran_order': True, 'shape': (1,), }"}, /* one axis has only one order */
    };
    const double x = 0.75;
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_error err;
        sg_npy *a;
        struct image im = image_of(cases[i].major, cases[i].header, &x, sizeof x);
        CHECK_OK(sg_npy_parse(&a, im.bytes, im.n, "image", &err), &err);
        CHECK_NEAR(sg_tensor_get(sg_npy_tensor(a), 0), 0.75, 0, 0);
        CHECK((uintptr_t)sg_npy_tensor(a)->data % 8 == 0); /* most of these headers leave it misaligned */
        sg_npy_close(a);
        free(im.bytes);
    }
}

static void i8_is_narrowed_where_it_fits(void **state)
{
    (void)state;
    int64_t x[3] = {INT32_MIN, 0, INT32_MAX};
    sg_error err;
    sg_npy *a;
    struct image im = image_of(1, HEADER("<i8", "(3,)"), x, sizeof x);
    CHECK_OK(sg_npy_parse(&a, im.bytes, im.n, "image", &err), &err);
    CHECK(sg_npy_tensor(a)->dtype == SG_I32);
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(sg_tensor_get(sg_npy_tensor(a), i), (double)x[i], 0, 0);
    sg_npy_close(a);
    free(im.bytes);

    x[1] = (int64_t)INT32_MIN - 1;
    im = image_of(1, HEADER("<i8", "(3,)"), x, sizeof x);
    CHECK_STATUS(sg_npy_parse(&a, im.bytes, im.n, "image", &err), SG_EUNSUPPORTED);
    assert_string_equal(err.text, "image: '<i8' number -2147483649 at element 1 does not fit i32");
    free(im.bytes);
}

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    check_refused(HEADER(">f4", "(1,)"), 4, SG_EUNSUPPORTED, "'>f4'");
    check_refused(HEADER("<c8", "(1,)"), 8, SG_EUNSUPPORTED, "'<c8'");
    check_refused(HEADER("|O", "(1,)"), 8, SG_EUNSUPPORTED, "'|O'");
    check_refused(HEADER("<U5", "(1,)"), 20, SG_EUNSUPPORTED, "'<U5'");
    check_refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, SG_EUNSUPPORTED,
                  "[('a', '<f4')]");
    check_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", 8, SG_EUNSUPPORTED,
                  "'fortran_order': True is not supported for shape [1,2]");
    check_refused(HEADER("<f4", "(1,1,1,1,1,1,1,1,1)"), 4, SG_EUNSUPPORTED, "more than the 8");
}

static void malformed_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *words;
    } cases[] = {
        {"", "wanted {"},
        {"[]", "found \"[]\", wanted {"},
        {"{", "wanted a string"},
        {"{}", "lacks descr"},
        {"{'descr': '<f4', 'shape': (1,)}", "lacks fortran_order"},
        {"{'descr': '<f4', 'fortran_order': False}", "lacks shape"},
        {"{'descr'", "wanted a colon"},
        {"{'descr': ", "wanted a string"},
        {"{'descr: ", "wanted a string that ends"},
        {"{'descr': '<f4' 'shape': (1,)}", "wanted a comma or }"},
        {"{'fortran_order': 0}", "found \"0}\", wanted True or False"},
        {"{'color': 1}", "\"color\" is not one of"},
        {HEADER("<f4", "(1)"), "wanted a comma"},
        {HEADER("<f4", "1"), "wanted a tuple"},
        {HEADER("<f4", "(-1,)"), "found \"-1,), }\", wanted an extent"},
        {HEADER("<f4", "(1.0,)"), "wanted a comma"},
        {HEADER("<f4", "(1, 1"), "wanted"},
        {HEADER("<f4", "(,)"), "wanted an extent"},
        {HEADER("<f4", "(9223372036854775808,)"), "wanted an extent below 2^63"},
        {HEADER("<f4", "(4611686018427387905,)"), "the size of shape [4611686018427387905] overflows"},
        {HEADER("<f4", "(4611686018427387904, 4611686018427387904, 0)"), "overflows"},
        {HEADER("<f4", "(1,)") "x", "wanted the header's end"},
        {HEADER("<f4", "(2,)"), "'<f4' [2] takes 8 bytes, 4 follow the header"},
        {HEADER("<f4", "(0,)"), "takes 0 bytes, 4 follow"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++)
        check_refused(cases[i].header, 4, SG_EFORMAT, cases[i].words);
}

static void lying_prefixes_are_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_npy *a;
    CHECK_STATUS(sg_npy_parse(&a, NULL, 0, "image", &err), SG_EFORMAT);
    CHECK_STATUS(sg_npy_parse(&a, "\x93NUMPX\x01\x00\x00\x00", 10, "image", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "does not begin as a .npy file does");
    CHECK_STATUS(sg_npy_parse(&a, "\x93NUMPY\x04\x00\x00\x00", 10, "image", &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "is of version 4.0");
    CHECK_STATUS(sg_npy_parse(&a, "\x93NUMPY\x01\x00\xff\xff", 10, "image", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "claims 65535 bytes of the 0");
    CHECK_STATUS(sg_npy_parse(&a, "\x93NUMPY\x02\x00\xff\xff\xff\xff", 12, "image", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "claims 4294967295 bytes of the 0");
}

static void each_truncation_is_refused(void **state)
{
    (void)state;
    const float x[2] = {1, 2};
    for (int major = 1; major <= 3; major++) {
        struct image whole = image_of(major, HEADER("<f4", "(2,)"), x, sizeof x);
        for (size_t n = 0; n < whole.n; n++) {
            unsigned char *cut = malloc(n ? n : 1);
            memcpy(cut, whole.bytes, n);
            sg_error err;
            sg_npy *a;
            CHECK_STATUS(sg_npy_parse(&a, cut, n, "image", &err), SG_EFORMAT);
            free(cut);
        }
        free(whole.bytes);
    }
}

static void each_type_comes_back_from_a_file(void **state)
{
    (void)state;
    for (int dtype = 0; dtype <= SG_BOOL; dtype++) {
        static double room[3000]; /* more than one piece of the bf16 conversion */
        sg_tensor t = sg_tensor_of((sg_dtype)dtype, 2, (sg_dim[]){3, 1000}, room);
        for (int i = 0; i < 3000; i++)
            sg_tensor_set(&t, i, i % 128);
        sg_error err;
        sg_npy *a;
        CHECK_OK(sg_npy_save(path, &t, &err), &err);
        CHECK_OK(sg_npy_open(&a, path, &err), &err);
        const sg_tensor *got = sg_npy_tensor(a);
        CHECK(got->dtype == (dtype == SG_BF16 ? SG_F32 : (sg_dtype)dtype));
        CHECK(got->n_dims == 2 && got->dims[0] == 3 && got->dims[1] == 1000);
        for (int i = 0; i < 3000; i++)
            CHECK_NEAR(sg_tensor_get(got, i), sg_tensor_get(&t, i), 0, 0);
        CHECK((uintptr_t)got->data % 64 == 0);
        sg_npy_close(a);
    }
}

static void scalars_and_empty_tensors_come_back(void **state)
{
    (void)state;
    float x = 2.5f;
    const sg_tensor cases[] = {
        sg_tensor_of(SG_F32, 0, NULL, &x),
        sg_tensor_of(SG_F32, 1, (sg_dim[]){1}, &x),
        sg_tensor_of(SG_F32, 2, (sg_dim[]){0, 5}, NULL),
        sg_tensor_of(SG_BF16, 1, (sg_dim[]){0}, NULL),
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_error err;
        sg_npy *a;
        CHECK_OK(sg_npy_save(path, &cases[i], &err), &err);
        CHECK_OK(sg_npy_open(&a, path, &err), &err);
        const sg_tensor *got = sg_npy_tensor(a);
        CHECK(got->n_dims == cases[i].n_dims && memcmp(got->dims, cases[i].dims, sizeof got->dims) == 0);
        if (sg_tensor_count(got))
            CHECK_NEAR(sg_tensor_get(got, 0), 2.5, 0, 0);
        sg_npy_close(a);
    }
}

static void files_that_are_not_there_are_reported(void **state)
{
    (void)state;
    sg_error err;
    sg_npy *a;
    CHECK_STATUS(sg_npy_open(&a, "/no/such/file.npy", &err), SG_ENOTFOUND);
    CHECK(a == NULL);
    const sg_tensor t = sg_tensor_of(SG_F32, 1, (sg_dim[]){0}, NULL);
    CHECK_STATUS(sg_npy_save("/no/such/file.npy", &t, &err), SG_ENOTFOUND);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    const int64_t x[2] = {1, 2};
    struct image im = image_of(1, HEADER("<i8", "(2,)"), x, sizeof x);
    float y = 1;
    const sg_tensor t = sg_tensor_of(SG_F32, 0, NULL, &y);
    for (int what = 0; what < 3; what++)
        for (long n = 0;; n++) {
            sg_error err;
            sg_npy *a = NULL;
            sg_faults_begin(n, SG_FAULT_ONCE);
            const sg_status status = what == 0   ? sg_npy_parse(&a, im.bytes, im.n, "image", &err)
                                     : what == 1 ? sg_npy_save(path, &t, &err)
                                                 : sg_npy_open(&a, path, &err);
            const bool fired = sg_faults_end();
            CHECK(status == (fired ? SG_ENOMEM : SG_OK));
            sg_npy_close(a);
            if (!fired)
                break;
        }
    free(im.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numpys_own_bytes_are_read),           cmocka_unit_test(versions_and_spellings_are_read),
        cmocka_unit_test(i8_is_narrowed_where_it_fits),        cmocka_unit_test(what_is_not_supported_is_named),
        cmocka_unit_test(malformed_headers_are_refused),       cmocka_unit_test(lying_prefixes_are_refused),
        cmocka_unit_test(each_truncation_is_refused),          cmocka_unit_test(each_type_comes_back_from_a_file),
        cmocka_unit_test(scalars_and_empty_tensors_come_back), cmocka_unit_test(files_that_are_not_there_are_reported),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
