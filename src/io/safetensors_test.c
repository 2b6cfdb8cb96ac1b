#include "sightglass/safetensors.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-safetensors-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *in_folder(char buf[600], const char *name)
{
    snprintf(buf, 600, "%s/%s", folder, name);
    return buf;
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* A file in memory, exactly as large as its bytes so that the sanitizer sees a read past them. */
struct image {
    unsigned char *bytes;
    size_t n;
};

static struct image image_of(uint64_t claimed, const char *header, size_t n_header, size_t n_data)
{
    struct image im = {.n = 8 + n_header + n_data};
    im.bytes = malloc(im.n);
    CHECK(im.bytes != NULL);
    for (int i = 0; i < 8; i++)
        im.bytes[i] = (unsigned char)(claimed >> (8 * i));
    memcpy(im.bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++)
        im.bytes[8 + n_header + i] = (unsigned char)i;
    return im;
}

static sg_status parse_image(struct image im, sg_error *err)
{
    sg_safetensors *st;
    const sg_status status = sg_safetensors_parse(&st, im.bytes, im.n, "image", err);
    CHECK((status == SG_OK) == (st != NULL));
    sg_safetensors_close(st);
    free(im.bytes);
    return status;
}

/* Parses a header over n_data bytes of data. */
static sg_status parse(const char *header, size_t n_data, sg_error *err)
{
    return parse_image(image_of(strlen(header), header, strlen(header), n_data), err);
}

static void check_refused(const char *header, size_t n_data, const char *words)
{
    sg_error err = {0};
    const sg_status status = parse(header, n_data, &err);
    if (status != SG_EFORMAT)
        print_error("%.200s\n", header);
    CHECK(status == SG_EFORMAT);
    CHECK_TEXT(err.text, words);
}

#define TENSOR(name, dtype, shape, begin, end)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* ---- good files ---- */

static void a_written_file_reads_back(void **state)
{
    (void)state;
    char path[600];
    float a[6] = {1, -2, 3, 4.5f, 5, 6};
    int32_t b[2] = {7, -8};
    uint16_t c[3] = {0x3C00, 0xC000, 0x7C00};
    unsigned char d[3] = {0, 1, 1};
    double e = 0.1;
    const sg_named_tensor tensors[] = {
        {"first", sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, a)},
        {"a \"quoted\" \\ name\n", sg_tensor_of(SG_I32, 1, (sg_dim[]){2}, b)},
        {"halves", sg_tensor_of(SG_F16, 1, (sg_dim[]){3}, c)},
        {"truth", sg_tensor_of(SG_BOOL, 1, (sg_dim[]){3}, d)},
        {"scalar", sg_tensor_of(SG_F64, 0, NULL, &e)},
        {"none", sg_tensor_of(SG_BF16, 2, (sg_dim[]){0, 4}, NULL)},
    };
    const sg_pair metadata[] = {{"format", "sg"}, {"note", "\xc3\xa9t\xc3\xa9"}};
    sg_error err;
    sg_safetensors *st;
    CHECK_OK(sg_safetensors_save(in_folder(path, "a.safetensors"), tensors, 6, metadata, 2, &err), &err);
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK(sg_safetensors_count(st) == 6);
    for (int i = 0; i < 6; i++) {
        const sg_tensor *want = &tensors[i].tensor, *got = sg_safetensors_at(st, i);
        assert_string_equal(sg_safetensors_name(st, i), tensors[i].name);
        CHECK(sg_safetensors_find(st, tensors[i].name) == got);
        CHECK(got->dtype == want->dtype && got->n_dims == want->n_dims);
        CHECK(memcmp(got->dims, want->dims, sizeof got->dims) == 0);
        /* "scalar" begins at byte 41 of the data, and cannot stay there. */
        CHECK((uintptr_t)got->data % sg_dtype_bytes(got->dtype) == 0);
        CHECK(sg_tensor_bytes(want) == 0 || memcmp(got->data, want->data, sg_tensor_bytes(want)) == 0);
    }
    assert_string_equal(sg_safetensors_metadata(st, "note"), "\xc3\xa9t\xc3\xa9");
    CHECK(sg_safetensors_metadata(st, "absent") == NULL);
    CHECK(sg_safetensors_find(st, "absent") == NULL);
    sg_safetensors_close(st);
    sg_safetensors_close(NULL);
    unlink(path);
}

static void the_smallest_files_are_good(void **state)
{
    (void)state;
    sg_error err;
    CHECK_OK(parse("{}", 0, &err), &err);
    CHECK_OK(parse("{}      ", 0, &err), &err); /* padded, as writers do */
    CHECK_OK(parse("{\"__metadata__\":{}}", 0, &err), &err);
    CHECK_OK(parse("{" TENSOR("x", "F32", "[]", 0, 4) "}", 4, &err), &err);
    CHECK_OK(parse("{" TENSOR("x", "F32", "[0,3]", 0, 0) "}", 0, &err), &err);
    /* The order of names is not the order of data, and nothing lies on a boundary. */
    CHECK_OK(parse("{" TENSOR("b", "F32", "[1]", 2, 6) "," TENSOR("n", "F32", "[0]", 2, 2) "," TENSOR("a", "F16", "[1]",
                                                                                                      0, 2) "}",
                   6, &err),
             &err);
}

static void misaligned_tensors_are_copied(void **state)
{
    (void)state;
    /* A byte of BOOL first, so that no alignment of the header helps the F64 behind it. */
    const char *header = "{" TENSOR("t", "BOOL", "[1]", 0, 1) "," TENSOR("x", "F64", "[2]", 1, 17) "}";
    struct image im = image_of(strlen(header), header, strlen(header), 17);
    const double want[2] = {0.25, -1e300};
    memcpy(im.bytes + im.n - 16, want, 16);
    sg_error err;
    sg_safetensors *st;
    CHECK_OK(sg_safetensors_parse(&st, im.bytes, im.n, "image", &err), &err);
    const sg_tensor *x = sg_safetensors_find(st, "x");
    CHECK((uintptr_t)x->data % 8 == 0);
    CHECK_NEAR(sg_tensor_get(x, 0), 0.25, 0, 0);
    CHECK_NEAR(sg_tensor_get(x, 1), -1e300, 0, 0);
    sg_safetensors_close(st);
    free(im.bytes);
}

static void i64_is_narrowed_where_it_fits(void **state)
{
    (void)state;
    const char *header = "{" TENSOR("fits", "I64", "[3]", 0, 24) "," TENSOR("wide", "I64", "[2]", 24, 40) "}";
    struct image im = image_of(strlen(header), header, strlen(header), 40);
    const int64_t numbers[5] = {INT32_MIN, -1, INT32_MAX, 5, (int64_t)INT32_MAX + 1};
    memcpy(im.bytes + im.n - 40, numbers, 40);
    sg_error err;
    sg_safetensors *st;
    const sg_tensor *t;
    CHECK_OK(sg_safetensors_parse(&st, im.bytes, im.n, "image", &err), &err);
    CHECK_OK(sg_safetensors_get(&t, st, "fits", &err), &err);
    CHECK(t->dtype == SG_I32 && t->n_dims == 1 && t->dims[0] == 3);
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(sg_tensor_get(t, i), (double)numbers[i], 0, 0);
    CHECK_STATUS(sg_safetensors_get(&t, st, "wide", &err), SG_EUNSUPPORTED);
    CHECK(t == NULL && sg_safetensors_find(st, "wide") == NULL && sg_safetensors_count(st) == 1);
    assert_string_equal(err.text, "image: tensor wide: I64 number 2147483648 at element 1 does not fit i32");
    sg_safetensors_close(st);
    free(im.bytes);
}

static void types_that_cannot_be_read_do_not_hide_the_rest(void **state)
{
    (void)state;
    const char *header = "{" TENSOR("q", "F8_E4M3", "[2,2]", 0, 4) "," TENSOR("u", "U8", "[3]", 4, 7) "," TENSOR(
        "x", "F32", "[1]", 7, 11) "," TENSOR("p", "F4", "[6]", 11, 14) "}";
    struct image im = image_of(strlen(header), header, strlen(header), 14);
    sg_error err;
    sg_safetensors *st;
    const sg_tensor *t;
    CHECK_OK(sg_safetensors_parse(&st, im.bytes, im.n, "image", &err), &err);
    CHECK(sg_safetensors_count(st) == 1);
    assert_string_equal(sg_safetensors_name(st, 0), "x");
    CHECK_OK(sg_safetensors_get(&t, st, "x", &err), &err);
    CHECK_STATUS(sg_safetensors_get(&t, st, "q", &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "tensor q: numbers of type F8_E4M3");
    sg_safetensors_close(st);
    free(im.bytes);
}

static void a_wrong_name_meets_the_nearest(void **state)
{
    (void)state;
    const char *header =
        "{" TENSOR("model.norm.weight", "F32", "[1]", 0, 4) "," TENSOR("model.embed.weight", "F32", "[1]", 4, 8) "}";
    struct image im = image_of(strlen(header), header, strlen(header), 8);
    sg_error err;
    sg_safetensors *st;
    const sg_tensor *t;
    CHECK_OK(sg_safetensors_parse(&st, im.bytes, im.n, "image", &err), &err);
    CHECK_STATUS(sg_safetensors_get(&t, st, "model.norm.wieght", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "the nearest is model.norm.weight");
    CHECK_STATUS(sg_safetensors_get(&t, st, "xyzzy", &err), SG_ENOTFOUND);
    assert_string_equal(err.text, "image: there is no tensor xyzzy among 2");
    CHECK_STATUS(sg_safetensors_get(&t, st, "xyzzy", NULL), SG_ENOTFOUND);
    sg_safetensors_close(st);
    free(im.bytes);
}

/* ---- bad files ---- */

static void lengths_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t claimed;
        const char *words;
    } cases[] = {
        {3, "the header claims 3 bytes of the 2 that follow"},
        {UINT64_MAX, "claims 18446744073709551615 bytes of the 2 that follow"},
        {UINT64_MAX - 7, "claims 18446744073709551608 bytes of the 2 that follow"}, /* wraps round when 8 is added */
        {(uint64_t)1 << 63, "claims 9223372036854775808"},
        {0, "does not begin with {"},
        {1, "is not JSON"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_error err;
        CHECK(parse_image(image_of(cases[i].claimed, "{}", 2, 0), &err) == SG_EFORMAT);
        CHECK_TEXT(err.text, cases[i].words);
    }
    sg_error err;
    CHECK(parse_image((struct image){.bytes = NULL, .n = 0}, &err) == SG_EFORMAT);
    CHECK_TEXT(err.text, "has 0 bytes, wanted 8");
}

static void a_header_over_the_limit_is_refused_unread(void **state)
{
    (void)state;
    /* A sparse mapping stands for a file: only its first page is ever touched. */
    const size_t n = (size_t)200 << 20;
    unsigned char *bytes = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(bytes != MAP_FAILED);
    const uint64_t claimed = 100000001;
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(claimed >> (8 * i));
    bytes[8] = '{';
    sg_error err;
    sg_safetensors *st;
    CHECK_STATUS(sg_safetensors_parse(&st, bytes, n, "image", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "claims 100000001 bytes, the format allows 100000000");
    munmap(bytes, n);
}

static void offsets_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    check_refused("{" TENSOR("x", "F32", "[2]", 0, 8) "}", 4, "tensor x ends at byte 8 of 4 bytes of data");
    check_refused("{" TENSOR("x", "F32", "[2]", 0, 9223372036854775807) "}", 8, "9223372036854775807 of 8");
    check_refused("{" TENSOR("x", "F32", "[2]", 8, 0) "}", 8, "begins at byte 8 and ends before, at 0");
    check_refused("{" TENSOR("x", "F32", "[3]", 0, 8) "}", 8, "F32 [3] takes 12 bytes, data_offsets span 8");
    check_refused("{" TENSOR("x", "F32", "[2]", -8, 0) "}", 8, "data_offsets holds -8");
    check_refused("{" TENSOR("x", "F32", "[2]", 0, 8.0) "}", 8, "data_offsets holds a real number");
    check_refused("{" TENSOR("x", "F32", "[2]", 0, "8") "}", 8, "data_offsets holds a string");
    check_refused("{" TENSOR("x", "F32", "[2]", 0, 8) "," TENSOR("y", "F32", "[1]", 4, 8) "}", 8,
                  "tensor y begins at byte 4 inside x, which ends at 8");
    check_refused("{" TENSOR("x", "F32", "[1]", 0, 4) "," TENSOR("y", "F32", "[1]", 0, 4) "}", 4, "inside x");
    check_refused("{" TENSOR("x", "F32", "[2]", 0, 8) "," TENSOR("y", "F32", "[0]", 4, 4) "}", 8, "inside x");
    check_refused("{" TENSOR("x", "F32", "[1]", 4, 8) "}", 8, "bytes 0 to 4 of the data, before tensor x");
    check_refused("{" TENSOR("x", "F32", "[1]", 0, 4) "," TENSOR("y", "F32", "[1]", 8, 12) "}", 12, "bytes 4 to 8");
    check_refused("{" TENSOR("x", "F32", "[1]", 0, 4) "}", 5, "the tensors end at byte 4 of 5");
    check_refused("{}", 1, "the tensors end at byte 0 of 1");
    check_refused("{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "an array of 3 entries");
    check_refused("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets is nothing");
}

static void shapes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    check_refused("{" TENSOR("x", "F32", "[-1]", 0, 4) "}", 4, "shape holds -1");
    check_refused("{" TENSOR("x", "F32", "[1.5]", 0, 4) "}", 4, "shape holds a real number");
    check_refused("{" TENSOR("x", "F32", "[null]", 0, 4) "}", 4, "shape holds null");
    check_refused("{" TENSOR("x", "F32", "{}", 0, 4) "}", 4, "shape is an object, wanted an array");
    check_refused("{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape is nothing");
    /* Products that come out as 4 bytes, or as 0, if nobody looks. */
    check_refused("{" TENSOR("x", "F32", "[4611686018427387905]", 0, 4) "}", 4, "overflows");
    check_refused("{" TENSOR("x", "F32", "[2147483648,2147483648,4]", 0, 0) "}", 0, "overflows");
    check_refused("{" TENSOR("x", "F32", "[4611686018427387904,4611686018427387904,0]", 0, 0) "}", 0, "overflows");
    check_refused("{" TENSOR("x", "F32", "[0,4611686018427387904,4611686018427387904]", 0, 0) "}", 0, "overflows");
    check_refused("{" TENSOR("x", "F32", "[99999999999999999999]", 0, 4) "}", 4, "is not JSON");
    check_refused("{" TENSOR("x", "F32", "[1e999]", 0, 4) "}", 4, "is not JSON");
    check_refused("{" TENSOR("x", "F4", "[3]", 0, 1) "}", 1, "12 bits of F4 are not whole bytes");
    sg_error err;
    CHECK(parse("{" TENSOR("x", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, &err) == SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "tensor x has 9 axes, at most 8");
}

static void headers_of_the_wrong_form_are_refused(void **state)
{
    (void)state;
    check_refused("{" TENSOR("x", "F33", "[1]", 0, 4) "}", 4, "tensor x: dtype \"F33\" is not one of the format's");
    check_refused("{\"x\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is a number");
    check_refused("{\"x\":{}}", 0, "dtype is nothing");
    check_refused("{\"x\":7}", 0, "tensor x is a number, wanted an object");
    check_refused("{\"__metadata__\":[]}", 0, "__metadata__ is an array");
    check_refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ entry a is a number");
    check_refused("{" TENSOR("x", "F32", "[1]", 0, 4) "," TENSOR("x", "F32", "[1]", 4, 8) "}", 8, "duplicate");
    check_refused("[]", 0, "does not begin with {");
    check_refused(" {}", 0, "does not begin with {");
    check_refused("{}x", 0, "is not JSON");
    check_refused("{\"\xff\":1}", 0, "is not JSON");
    check_refused("{\"a\\u0000b\":1}", 0, "is not JSON");
    check_refused("{\"x\":", 0, "is not JSON");
}

static void deep_headers_are_refused(void **state)
{
    (void)state;
    static char header[200001]; /* deep enough to run over the stack of a parser that does not count */
    memset(header, '[', sizeof header - 1);
    memcpy(header, "{\"x\":", 5);
    check_refused(header, 0, "depth");
}

static void each_truncation_of_a_small_file_is_refused(void **state)
{
    (void)state;
    const char *header =
        "{\"__metadata__\":{\"k\":\"v\"}," TENSOR("x", "F32", "[2]", 0, 8) "," TENSOR("y", "BOOL", "[3]", 8, 11) "}";
    struct image whole = image_of(strlen(header), header, strlen(header), 11);
    for (size_t n = 0; n < whole.n; n++) {
        struct image cut = {malloc(n ? n : 1), n};
        memcpy(cut.bytes, whole.bytes, n);
        sg_error err;
        CHECK(parse_image(cut, &err) == SG_EFORMAT);
    }
    sg_error err;
    CHECK_OK(parse_image(whole, &err), &err);
}

static void each_changed_byte_is_survived(void **state)
{
    (void)state;
    const char *header =
        "{\"__metadata__\":{\"k\":\"v\"}," TENSOR("x", "F32", "[2]", 0, 8) "," TENSOR("y", "I64", "[1]", 8, 16) "}";
    for (size_t i = 0; i < 8 + strlen(header); i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct image im = image_of(strlen(header), header, strlen(header), 16);
            im.bytes[i] ^= (unsigned char)(1u << bit);
            sg_error err;
            const sg_status status = parse_image(im, &err); /* a name may change and still be a name */
            CHECK(status == SG_OK || status == SG_EFORMAT);
        }
}

/* ---- indexes ---- */

static void write_shards(char index[600], const char *weight_map)
{
    char path[600], json[1000];
    float a[2] = {1, 2}, b[3] = {3, 4, 5}, c[1] = {6};
    sg_error err;
    const sg_named_tensor first[] = {{"a", sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, a)}};
    const sg_named_tensor second[] = {{"b", sg_tensor_of(SG_F32, 1, (sg_dim[]){3}, b)},
                                      {"c", sg_tensor_of(SG_F32, 1, (sg_dim[]){1}, c)}};
    const sg_pair metadata = {"shard", "first"};
    CHECK_OK(sg_safetensors_save(in_folder(path, "m-1.safetensors"), first, 1, &metadata, 1, &err), &err);
    CHECK_OK(sg_safetensors_save(in_folder(path, "m-2.safetensors"), second, 2, NULL, 0, &err), &err);
    snprintf(json, sizeof json, "{\"metadata\":{\"total_size\":24},\"weight_map\":%s}", weight_map);
    write_bytes(in_folder(index, "m.safetensors.index.json"), json, strlen(json));
}

static void remove_shards(void)
{
    char path[600];
    unlink(in_folder(path, "m-1.safetensors"));
    unlink(in_folder(path, "m-2.safetensors"));
    unlink(in_folder(path, "m.safetensors.index.json"));
}

static void an_index_gathers_its_shards(void **state)
{
    (void)state;
    char index[600];
    sg_error err;
    sg_safetensors *st;
    write_shards(index, "{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"}");
    CHECK_OK(sg_safetensors_open(&st, index, &err), &err);
    CHECK(sg_safetensors_count(st) == 3);
    assert_string_equal(sg_safetensors_name(st, 0), "b");
    assert_string_equal(sg_safetensors_name(st, 2), "c");
    CHECK_NEAR(sg_tensor_get(sg_safetensors_find(st, "a"), 1), 2, 0, 0);
    CHECK_NEAR(sg_tensor_get(sg_safetensors_find(st, "b"), 2), 5, 0, 0);
    CHECK_NEAR(sg_tensor_get(sg_safetensors_find(st, "c"), 0), 6, 0, 0);
    sg_safetensors_close(st);

    write_shards(index, "{\"a\":\"m-1.safetensors\"}"); /* the metadata are those of the first shard named */
    CHECK_OK(sg_safetensors_open(&st, index, &err), &err);
    CHECK(sg_safetensors_count(st) == 1);
    assert_string_equal(sg_safetensors_metadata(st, "shard"), "first");
    sg_safetensors_close(st);
    remove_shards();
}

static void an_index_that_lies_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *weight_map;
        sg_status status;
        const char *words;
    } cases[] = {
        {"{\"a\":\"m-2.safetensors\"}", SG_EFORMAT, "m-2.safetensors: tensor a is not in m-2.safetensors"},
        {"{\"a\":\"m-3.safetensors\"}", SG_ENOTFOUND, "m-3.safetensors: cannot open"},
        {"{\"a\":\"../m-1.safetensors\"}", SG_EFORMAT, "\"../m-1.safetensors\", wanted the plain name"},
        {"{\"a\":\"/etc/passwd\"}", SG_EFORMAT, "wanted the plain name"},
        {"{\"a\":\"..\"}", SG_EFORMAT, "wanted the plain name"},
        {"{\"a\":\"\"}", SG_EFORMAT, "wanted the plain name"},
        {"{\"a\":\"x\\\\y\"}", SG_EFORMAT, "wanted the plain name"},
        {"{\"a\":\"m.safetensors.index.json\"}", SG_EFORMAT, "wanted the plain name"}, /* itself, without end */
        {"{\"a\":1}", SG_EFORMAT, "the file of tensor a is a number"},
        {"[]", SG_EFORMAT, "weight_map is an array"},
        {"{", SG_EFORMAT, "the index is not JSON"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        char index[600];
        sg_error err;
        sg_safetensors *st;
        write_shards(index, cases[i].weight_map);
        CHECK_STATUS(sg_safetensors_open(&st, index, &err), cases[i].status);
        CHECK(st == NULL);
        CHECK_TEXT(err.text, cases[i].words);
    }
    remove_shards();
}

static void an_index_without_content_is_refused(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    sg_safetensors *st;
    write_bytes(in_folder(path, "e.index.json"), "", 0);
    CHECK_STATUS(sg_safetensors_open(&st, path, &err), SG_EFORMAT);
    write_bytes(path, "{}", 2);
    CHECK_STATUS(sg_safetensors_open(&st, path, &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "weight_map is nothing");
    unlink(path);
    CHECK_STATUS(sg_safetensors_open(&st, path, &err), SG_ENOTFOUND);
}

/* ---- writing ---- */

static void what_no_header_can_hold_is_not_written(void **state)
{
    (void)state;
    char path[600];
    float x = 1;
    const sg_tensor t = sg_tensor_of(SG_F32, 0, NULL, &x);
    const sg_named_tensor twice[] = {{"x", t}, {"x", t}}, reserved = {"__metadata__", t}, latin = {"\xe9t\xe9", t};
    const sg_pair pairs[] = {{"k", "1"}, {"k", "2"}};
    sg_error err;
    in_folder(path, "w.safetensors");
    CHECK_STATUS(sg_safetensors_save(path, twice, 2, NULL, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "tensor name x is given twice");
    CHECK_STATUS(sg_safetensors_save(path, &reserved, 1, NULL, 0, &err), SG_EARG);
    CHECK_STATUS(sg_safetensors_save(path, &latin, 1, NULL, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "is not UTF-8 at byte 0");
    CHECK_STATUS(sg_safetensors_save(path, &twice[0], 1, pairs, 2, &err), SG_EARG);
    CHECK(access(path, F_OK) != 0);
}

/* ---- memory ---- */

/* jansson drops a failed append to its own token buffer, so a single failure may reach us as a syntax error; when all
 * that follow fail too, it cannot reach us as a success. */
static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(malloc, free);
    char index[600];
    write_shards(index, "{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"}");
    int n_failed = 0;
    for (long n = 0;; n++) {
        sg_error err;
        sg_safetensors *st;
        sg_faults_begin(n, SG_FAULT_ONWARD);
        const sg_status status = sg_safetensors_open(&st, index, &err);
        const bool fired = sg_faults_end();
        CHECK(status == SG_OK ? !fired : status == SG_ENOMEM || status == SG_EFORMAT);
        n_failed += status == SG_ENOMEM;
        sg_safetensors_close(st);
        if (!fired)
            break;
    }
    CHECK(n_failed > 50);
    json_set_alloc_funcs(old_malloc, old_free);
    remove_shards();
}

static void each_failed_allocation_of_ours_alone_is_reported(void **state)
{
    (void)state;
    const char *header = "{\"__metadata__\":{\"k\":\"v\"}," TENSOR("t", "BOOL", "[1]", 0, 1) "," TENSOR(
        "x", "F32", "[2]", 1, 9) "," TENSOR("i", "I64", "[1]", 9, 17) "," TENSOR("u", "U8", "[1]", 17, 18) "}";
    struct image im = image_of(strlen(header), header, strlen(header), 18);
    memset(im.bytes + im.n - 9, 0, 9);
    for (long n = 0;; n++) {
        sg_error err;
        sg_safetensors *st;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_safetensors_parse(&st, im.bytes, im.n, "image", &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        sg_safetensors_close(st);
        if (!fired) {
            CHECK(n >= 3);
            break;
        }
    }
    free(im.bytes);
}

static void each_failed_allocation_of_a_save_is_reported(void **state)
{
    (void)state;
    char path[600];
    float x[40] = {0};
    sg_named_tensor tensors[40];
    static char names[40][24];
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "tensor-%d", i);
        tensors[i] = (sg_named_tensor){names[i], sg_tensor_of(SG_F32, 0, NULL, x + i)};
    }
    in_folder(path, "s.safetensors");
    for (long n = 0;; n++) {
        sg_error err;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_safetensors_save(path, tensors, 40, NULL, 0, &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        CHECK((access(path, F_OK) == 0) == !fired);
        if (!fired)
            break;
    }
    unlink(path);
}

/* ---- real files ---- */

static void each_kilobyte_of_a_real_file_is_needed(void **state)
{
    (void)state;
    char buf[1024];
    const char *path = sg_test_shared(buf, "models/stories260K/model.safetensors");
    SKIP_WITHOUT(path, "stories260K");
    sg_error err;
    sg_file *file;
    sg_safetensors *st;
    CHECK_OK(sg_file_open(&file, path, &err), &err);
    for (size_t n = 0; n < sg_file_bytes(file); n += 1024) {
        CHECK_STATUS(sg_safetensors_parse(&st, sg_file_data(file), n, path, &err), SG_EFORMAT);
        CHECK(st == NULL);
    }
    sg_file_close(file);

    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    const sg_tensor *embed;
    CHECK_OK(sg_safetensors_get(&embed, st, "model.embed_tokens.weight", &err), &err);
    CHECK(embed->dtype == SG_F32 && embed->n_dims == 2 && embed->dims[0] == 512 && embed->dims[1] == 64);
    double sum = 0;
    for (int i = 0; i < sg_safetensors_count(st); i++)
        for (sg_dim j = 0; j < sg_tensor_count(sg_safetensors_at(st, i)); j++)
            sum += sg_tensor_get(sg_safetensors_at(st, i), j);
    CHECK(isfinite(sum));
    assert_string_equal(sg_safetensors_metadata(st, "format"), "pt");
    sg_safetensors_close(st);
}

static void stored_reference_activations_open(void **state)
{
    (void)state;
    char buf[1024];
    const char *path = sg_test_shared(buf, "golden/stories260K.safetensors");
    SKIP_WITHOUT(path, "the reference activations of stories260K");
    sg_error err;
    sg_safetensors *st;
    const sg_tensor *tokens;
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK_OK(sg_safetensors_get(&tokens, st, "tokens", &err), &err);
    CHECK(tokens->dtype == SG_I32 && tokens->n_dims == 1 && tokens->dims[0] == 21);
    CHECK_TEXT(sg_safetensors_metadata(st, "text"), "Once upon a time");
    sg_safetensors_close(st);
}

static void opening_does_not_read_the_numbers(void **state)
{
    (void)state;
    /* A sparse file of 4 GB: reading it would take seconds, and copying it more memory than there may be. */
    char path[600];
    const char *header = "{" TENSOR("x", "F32", "[1000000000]", 0, 4000000000) "}    ";
    struct image im = image_of(strlen(header), header, strlen(header), 0);
    write_bytes(in_folder(path, "large.safetensors"), im.bytes, im.n);
    CHECK(im.n % 4 == 0 && truncate(path, (off_t)(im.n + 4000000000)) == 0);
    sg_error err;
    sg_safetensors *st;
    const double start = sg_now();
    CHECK_OK(sg_safetensors_open(&st, path, &err), &err);
    CHECK(sg_now() - start < 0.5); /* a millisecond here; page by page it would be a million faults */
    CHECK_NEAR(sg_tensor_get(sg_safetensors_find(st, "x"), 999999999), 0, 0, 0);
    sg_safetensors_close(st);
    unlink(path);
    free(im.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_reads_back),
        cmocka_unit_test(the_smallest_files_are_good),
        cmocka_unit_test(misaligned_tensors_are_copied),
        cmocka_unit_test(i64_is_narrowed_where_it_fits),
        cmocka_unit_test(types_that_cannot_be_read_do_not_hide_the_rest),
        cmocka_unit_test(a_wrong_name_meets_the_nearest),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test(a_header_over_the_limit_is_refused_unread),
        cmocka_unit_test(offsets_that_do_not_fit_are_refused),
        cmocka_unit_test(shapes_that_make_no_sense_are_refused),
        cmocka_unit_test(headers_of_the_wrong_form_are_refused),
        cmocka_unit_test(deep_headers_are_refused),
        cmocka_unit_test(each_truncation_of_a_small_file_is_refused),
        cmocka_unit_test(each_changed_byte_is_survived),
        cmocka_unit_test(an_index_gathers_its_shards),
        cmocka_unit_test(an_index_that_lies_is_refused),
        cmocka_unit_test(an_index_without_content_is_refused),
        cmocka_unit_test(what_no_header_can_hold_is_not_written),
        cmocka_unit_test(each_failed_allocation_is_reported),
        cmocka_unit_test(each_failed_allocation_of_ours_alone_is_reported),
        cmocka_unit_test(each_failed_allocation_of_a_save_is_reported),
        cmocka_unit_test(each_kilobyte_of_a_real_file_is_needed),
        cmocka_unit_test(stored_reference_activations_open),
        cmocka_unit_test(opening_does_not_read_the_numbers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
