#include "sightglass/tensor.h"

#include "base/base.h"
#include "check.h"

static void counts_and_bytes_follow_the_extents(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6};
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, x);
    CHECK(sg_tensor_count(&t) == 6 && sg_tensor_bytes(&t) == 24);
    CHECK_NEAR(sg_tensor_get(&t, 4), 5, 0, 0);
    const sg_tensor scalar = sg_tensor_of(SG_F64, 0, NULL, x);
    CHECK(sg_tensor_count(&scalar) == 1 && sg_tensor_bytes(&scalar) == 8);
    const sg_tensor none = sg_tensor_of(SG_I32, 2, (sg_dim[]){5, 0}, NULL);
    CHECK(sg_tensor_count(&none) == 0 && sg_tensor_bytes(&none) == 0);
}

static void each_type_stores_its_rounding(void **state)
{
    (void)state;
    static const struct {
        sg_dtype dtype;
        const char *name;
        size_t bytes;
        bool is_float;
        double want; /* of 1 + 2^-9 + 2^-30 */
    } cases[] = {
        {SG_F32, "f32", 4, true, 1 + 0x1p-9}, {SG_F64, "f64", 8, true, 1 + 0x1p-9 + 0x1p-30},
        {SG_I32, "i32", 4, false, 1},         {SG_BF16, "bf16", 2, true, 1},
        {SG_F16, "f16", 2, true, 1 + 0x1p-9}, {SG_BOOL, "bool", 1, false, 1},
    };
    CHECK(SG_COUNT_OF(cases) == SG_BOOL + 1); /* blocks_test.c has the rest */
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        double room[2] = {-1, -1};
        sg_tensor t = sg_tensor_of(cases[i].dtype, 1, (sg_dim[]){2}, room);
        sg_tensor_set(&t, 0, 0.0);
        sg_tensor_set(&t, 1, 1 + 0x1p-9 + 0x1p-30);
        CHECK_NEAR(sg_tensor_get(&t, 0), 0, 0, 0);
        CHECK_NEAR(sg_tensor_get(&t, 1), cases[i].want, 0, 0);
        CHECK(sg_dtype_bytes(cases[i].dtype) == cases[i].bytes);
        CHECK(sg_dtype_is_float(cases[i].dtype) == cases[i].is_float);
        assert_string_equal(sg_dtype_name(cases[i].dtype), cases[i].name);
    }
}

static void any_nonzero_byte_is_true(void **state)
{
    (void)state;
    unsigned char bytes[3] = {0, 1, 255};
    const sg_tensor t = sg_tensor_of(SG_BOOL, 1, (sg_dim[]){3}, bytes);
    CHECK_NEAR(sg_tensor_get(&t, 0), 0, 0, 0);
    CHECK_NEAR(sg_tensor_get(&t, 1), 1, 0, 0);
    CHECK_NEAR(sg_tensor_get(&t, 2), 1, 0, 0);
}

static void byte_products_are_checked(void **state)
{
    (void)state;
    size_t out = 7;
    CHECK_OK(sg_bytes(6, 4, &out), NULL);
    CHECK(out == 24);
    CHECK_OK(sg_bytes(0, 4, &out), NULL);
    CHECK(out == 0);
    CHECK_STATUS(sg_bytes(-1, 4, &out), SG_EARG);
    CHECK_STATUS(sg_bytes(INT64_MAX, 2, &out), SG_ENOMEM);
    CHECK_STATUS(sg_bytes(INT64_MAX / 4 + 1, 4, &out), SG_ENOMEM);
    CHECK_OK(sg_bytes(INT64_MAX, 0, &out), NULL);
}

static void shapes_print(void **state)
{
    (void)state;
    char buf[SG_SHAPE_TEXT];
    assert_string_equal(sg_shape_text(buf, 0, NULL), "[]");
    assert_string_equal(sg_shape_text(buf, 1, (sg_dim[]){7}), "[7]");
    assert_string_equal(sg_shape_text(buf, 3, (sg_dim[]){2, 3, -1}), "[2,3,-1]");
    sg_dim widest[SG_MAX_DIMS];
    for (int i = 0; i < SG_MAX_DIMS; i++)
        widest[i] = INT64_MIN;
    const char *text = sg_shape_text(buf, SG_MAX_DIMS, widest);
    CHECK(strlen(text) < SG_SHAPE_TEXT);
    CHECK_TEXT(text, ",...]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_bytes_follow_the_extents),
        cmocka_unit_test(each_type_stores_its_rounding),
        cmocka_unit_test(any_nonzero_byte_is_true),
        cmocka_unit_test(byte_products_are_checked),
        cmocka_unit_test(shapes_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
