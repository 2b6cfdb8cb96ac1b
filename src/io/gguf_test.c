#include "sightglass/gguf.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/base.h"
#include "check.h"
#include "faults.h"

static char folder[256];

static int make_folder(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/sightglass-gguf-test-XXXXXX", tmp ? tmp : "/tmp");
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

/* ---- files written byte by byte ---- */

static void number(sg_str *s, uint64_t x, int n)
{
    char bytes[8];
    for (int i = 0; i < n; i++)
        bytes[i] = (char)(x >> 8 * i & 255);
    sg_str_append(s, bytes, (size_t)n);
}

static void text(sg_str *s, const char *words)
{
    number(s, strlen(words), 8);
    sg_str_puts(s, words);
}

static void header(sg_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    sg_str_puts(s, "GGUF");
    number(s, version, 4);
    number(s, n_tensors, 8);
    number(s, n_keys, 8);
}

static void key(sg_str *s, const char *name, uint32_t type)
{
    text(s, name);
    number(s, type, 4);
}

static void tensor(sg_str *s, const char *name, int n_axes, const uint64_t *extents, uint32_t type, uint64_t offset)
{
    text(s, name);
    number(s, (uint64_t)n_axes, 4);
    for (int k = 0; k < n_axes; k++)
        number(s, extents[k], 8);
    number(s, type, 4);
    number(s, offset, 8);
}

#define EXTENTS(...)                                                                                                   \
    (int)(sizeof((uint64_t[]){__VA_ARGS__}) / 8), (const uint64_t[])                                                   \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void data(sg_str *s, size_t alignment, size_t n)
{
    while (s->bytes % alignment)
        number(s, 0, 1);
    for (size_t i = 0; i < n; i++)
        number(s, i, 1);
}

/* Aligned as the parser wants it, and exactly as large as its bytes, so that the sanitizer sees a read past them. */
static unsigned char *aligned(const void *bytes, size_t n)
{
    unsigned char *p = NULL;
    CHECK(posix_memalign((void **)&p, 32, n ? n : 1) == 0);
    if (n)
        memcpy(p, bytes, n);
    return p;
}

static sg_status parse(const sg_str *s, size_t n, sg_error *err)
{
    sg_gguf *g;
    unsigned char *p = aligned(s->text, n);
    const sg_status status = sg_gguf_parse(&g, p, n, "image", err);
    CHECK((status == SG_OK) == (g != NULL));
    sg_gguf_close(g);
    free(p);
    return status;
}

/* Parses and frees s. */
static void check_refused(sg_str *s, sg_status wanted, const char *words)
{
    sg_error err = {0};
    CHECK(!s->failed);
    const sg_status status = parse(s, s->bytes, &err);
    if (status != wanted)
        print_error("wanted: %s, got: %s\n", words, status ? err.text : "a file that opens");
    CHECK(status == wanted);
    CHECK_TEXT(err.text, words);
    sg_str_free(s);
    *s = (sg_str){0};
}

/* ---- good files ---- */

static void the_smallest_files_are_good(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        sg_str s = {0};
        sg_error err;
        header(&s, version, 0, 0);
        CHECK_OK(parse(&s, s.bytes, &err), &err);
        sg_str_free(&s);
    }
}

static void every_kind_of_metadata_is_read(void **state)
{
    (void)state;
    sg_str s = {0};
    header(&s, 3, 0, 16);
    key(&s, "u8", 0);
    number(&s, 200, 1);
    key(&s, "i8", 1);
    number(&s, 0x9C, 1); /* -100 */
    key(&s, "u16", 2);
    number(&s, 60000, 2);
    key(&s, "i16", 3);
    number(&s, (uint64_t)-30000, 2);
    key(&s, "u32", 4);
    number(&s, 4000000000, 4);
    key(&s, "i32", 5);
    number(&s, (uint64_t)-2000000000, 4);
    key(&s, "f32", 6);
    number(&s, 0x3FC00000, 4); /* 1.5 */
    key(&s, "bool", 7);
    number(&s, 1, 1);
    key(&s, "text", 8);
    text(&s, "h\xc3\xa9");
    key(&s, "u64", 10);
    number(&s, UINT64_MAX, 8);
    key(&s, "i64", 11);
    number(&s, (uint64_t)-5, 8);
    key(&s, "f64", 12);
    number(&s, 0xC004000000000000u, 8); /* -2.5 */
    key(&s, "texts", 9);
    number(&s, 8, 4);
    number(&s, 3, 8);
    text(&s, "a");
    text(&s, "");
    text(&s, "bcd");
    key(&s, "numbers", 9);
    number(&s, 3, 4);
    number(&s, 2, 8);
    number(&s, 7, 2);
    number(&s, (uint64_t)-7, 2);
    key(&s, "arrays", 9); /* [[1, 2], ["x"], []] */
    number(&s, 9, 4);
    number(&s, 3, 8);
    number(&s, 0, 4);
    number(&s, 2, 8);
    number(&s, 0x0201, 2);
    number(&s, 8, 4);
    number(&s, 1, 8);
    text(&s, "x");
    number(&s, 12, 4);
    number(&s, 0, 8);
    key(&s, "nul", 8);
    number(&s, 3, 8);
    sg_str_append(&s, "a\0b", 3);

    sg_error err;
    sg_gguf *g;
    unsigned char *p = aligned(s.text, s.bytes);
    CHECK_OK(sg_gguf_parse(&g, p, s.bytes, "image", &err), &err);
    static const struct {
        const char *name;
        int64_t want;
    } wholes[] = {{"u8", 200},         {"i8", -100},         {"u16", 60000}, {"i16", -30000},
                  {"u32", 4000000000}, {"i32", -2000000000}, {"i64", -5}};
    for (size_t i = 0; i < SG_COUNT_OF(wholes); i++) {
        int64_t x = 0;
        double r = 0;
        CHECK(sg_gguf_whole(g, wholes[i].name, &x) && x == wholes[i].want);
        CHECK(sg_gguf_real(g, wholes[i].name, &r) && r == (double)wholes[i].want);
        CHECK(!sg_gguf_text(g, wholes[i].name));
    }
    int64_t x = 3;
    double r = 0;
    bool b = false;
    CHECK(!sg_gguf_whole(g, "u64", &x) && !sg_gguf_whole(g, "f32", &x) && !sg_gguf_whole(g, "absent", &x) && x == 3);
    CHECK(sg_gguf_real(g, "u64", &r) && r > 1.8e19);
    CHECK(sg_gguf_real(g, "f32", &r) && r == 1.5);
    CHECK(sg_gguf_real(g, "f64", &r) && r == -2.5);
    CHECK(!sg_gguf_real(g, "bool", &r) && !sg_gguf_real(g, "numbers", &r) && !sg_gguf_real(g, "text", &r));
    CHECK(sg_gguf_bool(g, "bool", &b) && b && !sg_gguf_bool(g, "u8", &b));
    assert_string_equal(sg_gguf_text(g, "text"), "h\xc3\xa9");
    CHECK(!sg_gguf_text(g, "nul") && !sg_gguf_text(g, "texts"));

    sg_gguf_value v;
    const char *const *texts;
    const size_t *bytes;
    CHECK(sg_gguf_lookup(g, "texts", &v) && v.n == 3 && v.of == SG_GGUF_TEXT);
    CHECK_OK(sg_gguf_texts(g, &v, &texts, &bytes, &err), &err);
    CHECK(bytes[0] == 1 && texts[0][0] == 'a' && bytes[1] == 0 && bytes[2] == 3 && memcmp(texts[2], "bcd", 3) == 0);
    CHECK(sg_gguf_lookup(g, "numbers", &v) && v.n == 2);
    CHECK(sg_gguf_number(&v, 0) == 7 && sg_gguf_number(&v, 1) == -7 && sg_gguf_number(&v, 2) == 0);
    CHECK_STATUS(sg_gguf_texts(g, &v, &texts, &bytes, &err), SG_ETYPE);
    CHECK(sg_gguf_lookup(g, "arrays", &v) && v.type == SG_GGUF_ARRAY && v.of == SG_GGUF_ARRAY && v.n == 3);
    CHECK(v.n_bytes == (12 + 2) + (12 + 8 + 1) + 12);
    CHECK(sg_gguf_n_keys(g) == 16 && strcmp(sg_gguf_key(g, 15), "nul") == 0 && sg_gguf_value_at(g, 15).n == 3);
    sg_gguf_close(g);
    free(p);

    for (size_t n = 0; n < s.bytes; n++) /* each truncation */
        CHECK(parse(&s, n, &err) == SG_EFORMAT);
    sg_str_free(&s);
}

static void a_written_file_reads_back(void **state)
{
    (void)state;
    char path[600], again[600];
    sg_error err;
    float a[6] = {1, -2, 3, 4.5f, 5, 6};
    float numbers[512];
    char packed[SG_N_DTYPES][1024];
    int n = 0;
    sg_named_tensor tensors[SG_N_DTYPES + 2];
    for (int i = 0; i < 512; i++)
        numbers[i] = (float)(i % 29 - 14) * 0.125f;
    tensors[n++] = (sg_named_tensor){"odd", sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, a)};
    for (int t = 0; t < SG_N_DTYPES; t++) {
        if (t == SG_BOOL || t == SG_F64)
            continue;
        sg_convert(packed[t], (sg_dtype)t, numbers, SG_F32, t == SG_F32 || t == SG_I32 ? 256 : 512);
        tensors[n++] = (sg_named_tensor){
            sg_dtype_name((sg_dtype)t),
            sg_tensor_of((sg_dtype)t, 2, (sg_dim[]){t == SG_F32 || t == SG_I32 ? 1 : 2, 256}, packed[t])};
    }
    tensors[n++] = (sg_named_tensor){"scalar", sg_tensor_of(SG_F32, 0, NULL, a + 3)};

    sg_gguf_meta *m = sg_gguf_meta_new();
    const char *const words[2] = {"one", "t\0wo"};
    const size_t lengths[2] = {3, 4};
    sg_gguf_meta_text(m, "general.architecture", "llama");
    sg_gguf_meta_whole(m, "small", 7);
    sg_gguf_meta_whole(m, "negative", -7);
    sg_gguf_meta_whole(m, "large", INT64_MAX);
    sg_gguf_meta_real(m, "real", 0.1);
    sg_gguf_meta_bool(m, "yes", true);
    sg_gguf_meta_texts(m, "words", 2, words, lengths);
    sg_gguf_meta_reals(m, "reals", 6, a);
    sg_gguf_meta_wholes(m, "wholes", 2, (const int32_t[]){1, -1});
    CHECK(sg_gguf_meta_has(m, "yes") && !sg_gguf_meta_has(m, "no"));
    CHECK_OK(sg_gguf_save(in_folder(path, "a.gguf"), m, tensors, n, &err), &err);
    sg_gguf_meta_free(m);

    sg_gguf *g;
    CHECK(sg_gguf_is(path));
    CHECK_OK(sg_gguf_open(&g, path, &err), &err);
    CHECK(sg_gguf_version(g) == 3 && sg_gguf_count(g) == n);
    for (int i = 0; i < n; i++) {
        const sg_tensor *t = sg_gguf_at(g, i), *same;
        CHECK_OK(sg_gguf_get(&same, g, tensors[i].name, &err), &err);
        CHECK(same == t && strcmp(sg_gguf_name(g, i), tensors[i].name) == 0);
        CHECK(t->dtype == tensors[i].tensor.dtype && t->n_dims == tensors[i].tensor.n_dims);
        CHECK(memcmp(t->dims, tensors[i].tensor.dims, sizeof t->dims) == 0);
        CHECK((uintptr_t)t->data % 32 == 0 && memcmp(t->data, tensors[i].tensor.data, sg_tensor_bytes(t)) == 0);
    }
    int64_t x;
    double r;
    bool b;
    sg_gguf_value v;
    CHECK(sg_gguf_whole(g, "small", &x) && x == 7 && sg_gguf_whole(g, "negative", &x) && x == -7);
    CHECK(sg_gguf_whole(g, "large", &x) && x == INT64_MAX && sg_gguf_bool(g, "yes", &b) && b);
    CHECK(sg_gguf_real(g, "real", &r) && r == (double)0.1f);
    CHECK(sg_gguf_lookup(g, "reals", &v) && v.n == 6 && sg_gguf_number(&v, 3) == 4.5);
    CHECK(sg_gguf_lookup(g, "wholes", &v) && v.n == 2 && sg_gguf_number(&v, 1) == -1);

    m = sg_gguf_meta_new(); /* copied, the file is the same */
    for (int i = 0; i < sg_gguf_n_keys(g); i++) {
        v = sg_gguf_value_at(g, i);
        sg_gguf_meta_copy(m, sg_gguf_key(g, i), &v);
    }
    CHECK_OK(sg_gguf_save(in_folder(again, "b.gguf"), m, tensors, n, &err), &err);
    sg_gguf_meta_free(m);
    sg_file *one, *two;
    CHECK_OK(sg_file_open(&one, path, &err), &err);
    CHECK_OK(sg_file_open(&two, again, &err), &err);
    CHECK(sg_file_bytes(one) == sg_file_bytes(two) &&
          memcmp(sg_file_data(one), sg_file_data(two), sg_file_bytes(one)) == 0);
    sg_file_close(one);
    sg_file_close(two);
    sg_gguf_close(g);
    unlink(path);
    unlink(again);
}

static void what_no_file_can_hold_is_not_written(void **state)
{
    (void)state;
    char path[600];
    sg_error err;
    float x = 1;
    const sg_tensor t = sg_tensor_of(SG_F32, 0, NULL, &x);
    const sg_named_tensor twice[2] = {{"x", t}, {"x", t}};
    const sg_named_tensor truth = {"b", sg_tensor_of(SG_BOOL, 0, NULL, &x)};
    const sg_named_tensor deep = {"d", sg_tensor_of(SG_F32, 5, (sg_dim[]){1, 1, 1, 1, 1}, &x)};
    sg_gguf_meta *m = sg_gguf_meta_new();
    in_folder(path, "no.gguf");
    CHECK_STATUS(sg_gguf_save(path, m, twice, 2, &err), SG_EARG);
    CHECK_TEXT(err.text, "tensor name x is given twice");
    CHECK_STATUS(sg_gguf_save(path, m, &truth, 1, &err), SG_EUNSUPPORTED);
    CHECK_STATUS(sg_gguf_save(path, m, &deep, 1, &err), SG_EUNSUPPORTED);
    sg_gguf_meta_bool(m, "k", true);
    sg_gguf_meta_bool(m, "k", true);
    CHECK_STATUS(sg_gguf_save(path, m, NULL, 0, &err), SG_EARG);
    CHECK_TEXT(err.text, "key k is given twice");
    CHECK(access(path, F_OK) != 0);
    sg_gguf_meta_free(m);
}

static void types_that_cannot_be_read_do_not_hide_the_rest(void **state)
{
    (void)state;
    sg_str s = {0};
    header(&s, 3, 3, 0);
    tensor(&s, "two_bits", EXTENTS(256), 10, 0);
    tensor(&s, "new", EXTENTS(3), 77, 96);
    tensor(&s, "plain", EXTENTS(2, 4), 0, 128);
    data(&s, 32, 128 + 32);
    sg_error err;
    sg_gguf *g;
    unsigned char *p = aligned(s.text, s.bytes);
    const sg_tensor *t;
    CHECK_OK(sg_gguf_parse(&g, p, s.bytes, "image", &err), &err);
    CHECK_OK(sg_gguf_get(&t, g, "plain", &err), &err);
    CHECK(t->dims[0] == 4 && t->dims[1] == 2); /* the fastest axis comes first in the file */
    CHECK(!sg_gguf_at(g, 0) && !sg_gguf_find(g, "new"));
    CHECK_STATUS(sg_gguf_get(&t, g, "two_bits", &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "tensor two_bits is stored as Q2_K");
    CHECK_STATUS(sg_gguf_get(&t, g, "new", &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, "number 77");
    CHECK_STATUS(sg_gguf_get(&t, g, "plane", &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "the nearest name is plain");
    sg_gguf_close(g);
    free(p);
    sg_str_free(&s);
}

/* ---- files that lie ---- */

static void other_versions_and_byte_orders_are_refused_by_name(void **state)
{
    (void)state;
    sg_str s = {0};
    header(&s, 1, 0, 0);
    check_refused(&s, SG_EUNSUPPORTED, "version 1 of GGUF");
    header(&s, 4, 0, 0);
    check_refused(&s, SG_EUNSUPPORTED, "version 4 of GGUF");
    header(&s, 0x03000000, 0, 0);
    check_refused(&s, SG_EUNSUPPORTED, "big-endian");
    sg_str_puts(&s, "GGML");
    check_refused(&s, SG_EFORMAT, "does not begin with \"GGUF\"");
    sg_str_puts(&s, "GG");
    check_refused(&s, SG_EFORMAT, "does not begin with \"GGUF\"");
}

static void counts_and_lengths_that_lie_are_refused(void **state)
{
    (void)state;
    sg_str s = {0};
    static const uint64_t counts[] = {(uint64_t)1 << 60, UINT64_MAX, INT64_MAX, (uint64_t)1 << 63, 1000};
    for (size_t i = 0; i < SG_COUNT_OF(counts); i++) {
        header(&s, 3, counts[i], 0);
        check_refused(&s, SG_EFORMAT, "tensors do not fit");
        header(&s, 3, 0, counts[i]);
        check_refused(&s, SG_EFORMAT, "keys do not fit");
        header(&s, 3, 0, 1);
        number(&s, counts[i], 8); /* a key's length */
        sg_str_puts(&s, "key and some more");
        check_refused(&s, SG_EFORMAT, "bytes long");
        header(&s, 3, 0, 1);
        key(&s, "k", 8);
        number(&s, counts[i], 8); /* a text's */
        sg_str_puts(&s, "text");
        check_refused(&s, SG_EFORMAT, "k at byte");
        for (uint32_t of = 0; of <= 12; of++) {
            header(&s, 3, 0, 1);
            key(&s, "k", 9);
            number(&s, of, 4);
            number(&s, counts[i], 8); /* an array's */
            number(&s, 0, 8);
            check_refused(&s, SG_EFORMAT, "k has");
        }
        header(&s, 3, 1, 0);
        number(&s, counts[i], 8); /* a tensor's name's */
        sg_str_puts(&s, "a name that is long enough");
        check_refused(&s, SG_EFORMAT, "bytes long");
    }
    header(&s, 3, 0, 1);
    key(&s, "k", 13);
    number(&s, 0, 8);
    check_refused(&s, SG_EFORMAT, "the type 13");
    header(&s, 3, 0, 1);
    key(&s, "", 0);
    number(&s, 0, 8);
    check_refused(&s, SG_EFORMAT, "a key at byte 24 is empty");
    header(&s, 3, 0, 2);
    key(&s, "k", 0);
    number(&s, 0, 1);
    key(&s, "k", 0);
    number(&s, 0, 1);
    check_refused(&s, SG_EFORMAT, "key k is there twice");
    header(&s, 3, 0, 1);
    key(&s, "k", 9);
    for (int i = 0; i < 100; i++) {
        number(&s, 9, 4);
        number(&s, 1, 8);
    }
    check_refused(&s, SG_EUNSUPPORTED, "more than 8 deep");
}

static void tensors_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        int n_axes;
        uint64_t extents[5];
        uint32_t type;
        uint64_t offset;
    } cases[] = {
        {"has 5 axes", 5, {1, 1, 1, 1, 1}, 0, 0},
        {"has 4294967295 axes", -1, {0}, 0, 0},
        {"overflows", 2, {(uint64_t)1 << 32, (uint64_t)1 << 31}, 0, 0},
        {"overflows", 3, {(uint64_t)1 << 60, (uint64_t)1 << 60, 0}, 0, 0},
        {"overflows", 1, {UINT64_MAX}, 0, 0},
        {"overflows", 1, {(uint64_t)1 << 63}, 12, 0},
        {"ends at byte", 1, {(uint64_t)1 << 50}, 0, 0},
        {"ends at byte 260", 1, {65}, 0, 0},
        {"ends at byte 288", 1, {64}, 0, 32},
        {"no multiple of 32", 1, {1}, 0, 16},
        {"begins at byte", 1, {1}, 0, UINT64_MAX - 31},
        {"ends at byte", 1, {1}, 0, (uint64_t)1 << 62},
        {"begins at byte", 1, {1}, 0, (uint64_t)1 << 63},
        {"ends at byte", 1, {1}, 77, 4096}, /* an unknown type begins within the file, too */
        {"whole blocks of 32", 1, {33}, 8, 0},
        {"whole blocks of 256", 2, {32, 8}, 14, 0},
        {"whole blocks of 32", 0, {0}, 2, 0},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_str s = {0};
        header(&s, 3, 1, 0);
        if (cases[i].n_axes >= 0) {
            tensor(&s, "t", cases[i].n_axes, cases[i].extents, cases[i].type, cases[i].offset);
        } else {
            text(&s, "t");
            number(&s, UINT32_MAX, 4);
            number(&s, 0, 8);
        }
        data(&s, 32, 256);
        check_refused(&s, SG_EFORMAT, cases[i].words);
    }
    sg_str s = {0};
    header(&s, 3, 2, 0);
    tensor(&s, "t", EXTENTS(8), 0, 0);
    tensor(&s, "t", EXTENTS(8), 0, 32);
    data(&s, 32, 64);
    check_refused(&s, SG_EFORMAT, "tensor t is there twice");
    header(&s, 3, 2, 0);
    tensor(&s, "t", EXTENTS(9), 0, 0);
    tensor(&s, "u", EXTENTS(8), 0, 32);
    data(&s, 32, 64);
    check_refused(&s, SG_EFORMAT, "tensors t and u overlap at byte 32");
    header(&s, 3, 3, 0);
    tensor(&s, "inner", EXTENTS(1), 0, 32);
    tensor(&s, "none", EXTENTS(0), 0, 32);
    tensor(&s, "outer", EXTENTS(16), 0, 0);
    data(&s, 32, 64);
    check_refused(&s, SG_EFORMAT, "tensors outer and inner overlap");
}

static void alignments_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 1, 3, 4, 33, UINT32_MAX, 1u << 31};
    for (size_t i = 0; i < SG_COUNT_OF(bad); i++) {
        sg_str s = {0};
        header(&s, 3, 0, 1);
        key(&s, "general.alignment", 4);
        number(&s, bad[i], 4);
        check_refused(&s, SG_EFORMAT, "wanted a power of two");
    }
    sg_str s = {0};
    header(&s, 3, 0, 1);
    key(&s, "general.alignment", 8);
    text(&s, "32");
    check_refused(&s, SG_EFORMAT, "no whole number");
    header(&s, 3, 1, 1);
    key(&s, "general.alignment", 4);
    number(&s, 64, 4);
    tensor(&s, "t", EXTENTS(1), 0, 64);
    data(&s, 64, 64 + 4);
    sg_error err;
    sg_gguf *g;
    unsigned char *p = aligned(s.text, s.bytes);
    CHECK_OK(sg_gguf_parse(&g, p, s.bytes, "image", &err), &err);
    CHECK(*(const unsigned char *)sg_gguf_at(g, 0)->data == 64);
    sg_gguf_close(g);
    free(p);
    sg_str_free(&s);
}

/* Reads all there is. */
static double read_all(sg_gguf *g)
{
    double sum = 0;
    sg_error err;
    for (int i = 0; i < sg_gguf_count(g); i++) {
        const sg_tensor *t = sg_gguf_at(g, i);
        for (sg_dim k = 0; t && k < sg_tensor_count(t); k += 17)
            sum += sg_tensor_get(t, k);
    }
    for (int i = 0; i < sg_gguf_n_keys(g); i++) {
        const sg_gguf_value v = sg_gguf_value_at(g, i);
        const char *const *texts;
        const size_t *bytes;
        if (v.type == SG_GGUF_ARRAY && v.of == SG_GGUF_TEXT && sg_gguf_texts(g, &v, &texts, &bytes, &err) == SG_OK)
            for (uint64_t k = 0; k < v.n; k++)
                sum += bytes[k] ? texts[k][bytes[k] - 1] : 0;
        for (uint64_t k = 0; k < v.n && v.type != SG_GGUF_TEXT; k++)
            sum += sg_gguf_number(&v, k);
        sum += v.n_bytes ? v.bytes[v.n_bytes - 1] : 0;
        const char *words = sg_gguf_text(g, sg_gguf_key(g, i));
        sum += words ? (double)strlen(words) : 0;
    }
    return sum;
}

static void each_changed_byte_is_survived(void **state)
{
    (void)state;
    sg_str s = {0};
    header(&s, 3, 2, 3);
    key(&s, "general.alignment", 4);
    number(&s, 32, 4);
    key(&s, "texts", 9);
    number(&s, 8, 4);
    number(&s, 2, 8);
    text(&s, "ab");
    text(&s, "c");
    key(&s, "x", 6);
    number(&s, 0x3F800000, 4);
    tensor(&s, "p", EXTENTS(32, 2), 8, 0);
    tensor(&s, "q", EXTENTS(4), 0, 96);
    data(&s, 32, 96 + 16);
    int n_good = 0;
    for (size_t i = 0; i < s.bytes; i++)
        for (int bit = 0; bit < 8; bit++) {
            sg_gguf *g;
            unsigned char *p = aligned(s.text, s.bytes);
            p[i] ^= (unsigned char)(1 << bit);
            sg_error err = {0};
            if (sg_gguf_parse(&g, p, s.bytes, "image", &err) == SG_OK) {
                (void)read_all(g);
                n_good++;
            } else {
                CHECK(err.text[0] != 0 && g == NULL);
            }
            sg_gguf_close(g);
            free(p);
        }
    CHECK(n_good > 8 * 100); /* the numbers themselves, at least */
    sg_error err;
    for (size_t n = 0; n < s.bytes; n++)
        CHECK(parse(&s, n, &err) == SG_EFORMAT);
    sg_str_free(&s);
}

static void bytes_at_odd_addresses_are_refused(void **state)
{
    (void)state;
    sg_error err;
    sg_gguf *g;
    unsigned char *p = aligned("GGUF", 4);
    CHECK_STATUS(sg_gguf_parse(&g, p + 1, 3, "image", &err), SG_EARG);
    free(p);
}

/* ---- memory ---- */

static size_t resident(const void *at, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (n + page - 1) / page;
    unsigned char *in = malloc(pages);
    size_t count = 0;
    /* Of a sparse file nothing is in the page cache that nobody read. */
    CHECK(in && mincore((void *)(uintptr_t)at, n, in) == 0);
    for (size_t i = 0; i < pages; i++)
        count += in[i] & 1;
    free(in);
    return count * page;
}

static size_t own_resident(void)
{
    unsigned long all = 0, here = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%lu %lu", &all, &here) == 2);
    fclose(f);
    return (size_t)here * (size_t)sysconf(_SC_PAGESIZE);
}

static void opening_does_not_read_the_numbers(void **state)
{
    (void)state;
    char path[600];
    const uint64_t rows = 4096, width = 1u << 20; /* 4 GiB and more of Q8_0: 4,563,402,752 bytes */
    sg_str s = {0};
    header(&s, 3, 1, 0);
    tensor(&s, "x", EXTENTS(width, rows), 8, 0);
    data(&s, 32, 0);
    FILE *f = fopen(in_folder(path, "large.gguf"), "wb");
    CHECK(f && fwrite(s.text, 1, s.bytes, f) == s.bytes && fclose(f) == 0);
    const size_t bytes = rows * width / 32 * 34;
    CHECK(truncate(path, (off_t)(s.bytes + bytes)) == 0);
    sg_error err;
    sg_gguf *g;
    const size_t before = own_resident();
    const double start = sg_now();
    CHECK_OK(sg_gguf_open(&g, path, &err), &err);
    CHECK(sg_now() - start < 1); /* a millisecond; page by page it would be a million faults */
    const sg_tensor *x = sg_gguf_find(g, "x");
    const unsigned char *data_at = x->data;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK(own_resident() - before < 1 << 20);
    CHECK(sg_tensor_bytes(x) == bytes);
    /* What is touched comes to memory, with what the system reads ahead, and no more. */
    const unsigned char *from = data_at - (uintptr_t)data_at % page + page;
    const size_t cached = resident(from, bytes - 2 * page);
    CHECK(cached < 4 << 20);
    CHECK_NEAR(sg_tensor_get(x, (sg_dim)(rows * width) - 1), 0, 0, 0);
    CHECK(own_resident() - before < 4 << 20);
    volatile unsigned sum = 0;
    for (size_t i = 0; i < 64 << 20; i += page)
        sum += data_at[i];
    (void)sum;
    const size_t after = own_resident() - before;
    CHECK(after > 60 << 20 && after < 80 << 20); /* the 64 MiB that were read */
    sg_gguf_close(g);
    unlink(path);
    sg_str_free(&s);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    char path[600];
    sg_str s = {0};
    header(&s, 3, 40, 40);
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "key-%d", i);
        key(&s, name, 8);
        text(&s, name);
    }
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "tensor-%d", i);
        tensor(&s, name, EXTENTS(8), 0, (uint64_t)i * 32);
    }
    data(&s, 32, 40 * 32);
    FILE *f = fopen(in_folder(path, "m.gguf"), "wb");
    CHECK(f && fwrite(s.text, 1, s.bytes, f) == s.bytes && fclose(f) == 0);
    for (long n = 0;; n++) {
        sg_error err;
        sg_gguf *g;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_gguf_open(&g, path, &err);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        sg_gguf_close(g);
        if (!fired) {
            CHECK(n >= 5);
            break;
        }
    }
    unlink(path);
    sg_str_free(&s);
    for (long n = 0;; n++) {
        sg_error err;
        float x = 1;
        const sg_named_tensor t = {"x", sg_tensor_of(SG_F32, 0, NULL, &x)};
        sg_faults_begin(n, SG_FAULT_ONCE);
        sg_gguf_meta *m = sg_gguf_meta_new();
        sg_status status = SG_ENOMEM;
        if (m) {
            for (int i = 0; i < 40; i++) {
                snprintf(name, sizeof name, "key-%d", i);
                sg_gguf_meta_text(m, name, name);
            }
            status = sg_gguf_save(path, m, &t, 1, &err);
        }
        sg_gguf_meta_free(m);
        const bool fired = sg_faults_end();
        CHECK(status == (fired ? SG_ENOMEM : SG_OK));
        CHECK((access(path, F_OK) == 0) == !fired);
        if (!fired)
            break;
    }
    unlink(path);
}

/* ---- real files ---- */

static void files_of_others_hold_what_their_safetensors_do(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        double error; /* relative to the root mean square */
    } files[] = {{"models/stories260K/stories260K-f32.gguf", 0},
                 {"models/stories260K/stories260K-f16.gguf", 0.0005},
                 {"models/stories260K/stories260K-q8_0.gguf", 0.01},
                 {"models/stories260K/stories260K-q4_0.gguf", 0.12}};
    char buf[1024], plain[1024];
    SKIP_WITHOUT(sg_test_shared(plain, "models/stories260K/model.safetensors"), "stories260K");
    for (size_t k = 0; k < SG_COUNT_OF(files); k++) {
        const char *path = sg_test_shared(buf, files[k].path);
        SKIP_WITHOUT(path, files[k].path);
        sg_error err;
        sg_gguf *g;
        sg_safetensors *st;
        const sg_tensor *x, *y;
        CHECK_OK(sg_gguf_open(&g, path, &err), &err);
        CHECK_OK(sg_safetensors_open(&st, plain, &err), &err);
        CHECK_OK(sg_gguf_get(&x, g, "blk.2.ffn_up.weight", &err), &err);
        CHECK_OK(sg_safetensors_get(&y, st, "model.layers.2.mlp.up_proj.weight", &err), &err);
        CHECK(x->n_dims == 2 && x->dims[0] == 172 && x->dims[1] == 64);
        double error = 0, size = 0;
        for (sg_dim i = 0; i < sg_tensor_count(y); i++) {
            const double e = sg_tensor_get(x, i) - sg_tensor_get(y, i);
            error += e * e;
            size += sg_tensor_get(y, i) * sg_tensor_get(y, i);
        }
        CHECK(sqrt(error / size) <= files[k].error && (error > 0) == (k > 0));
        sg_gguf_value v;
        CHECK(sg_gguf_lookup(g, "tokenizer.ggml.tokens", &v) && v.n == 512);
        (void)read_all(g);
        sg_gguf_close(g);
        sg_safetensors_close(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_files_are_good),
        cmocka_unit_test(every_kind_of_metadata_is_read),
        cmocka_unit_test(a_written_file_reads_back),
        cmocka_unit_test(what_no_file_can_hold_is_not_written),
        cmocka_unit_test(types_that_cannot_be_read_do_not_hide_the_rest),
        cmocka_unit_test(other_versions_and_byte_orders_are_refused_by_name),
        cmocka_unit_test(counts_and_lengths_that_lie_are_refused),
        cmocka_unit_test(tensors_that_do_not_fit_are_refused),
        cmocka_unit_test(alignments_that_make_no_sense_are_refused),
        cmocka_unit_test(each_changed_byte_is_survived),
        cmocka_unit_test(bytes_at_odd_addresses_are_refused),
        cmocka_unit_test(opening_does_not_read_the_numbers),
        cmocka_unit_test(each_failed_allocation_is_reported),
        cmocka_unit_test(files_of_others_hold_what_their_safetensors_do),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
