/* Building a graph: what a builder returns, which extents are equal, what a name means, and what is said of a mistake.
 */
#include "faults.h"
#include "graph/op.h"
#include "sightglass/rng.h"
#include "values.h"

#define CHECK_IS(text, want) assert_string_equal((text), (want))

/* ---- building ---- */

static void expressions_nest(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 2, 3, 4, 5, 6);
    sg_value *w = NUMBERS(g, SG_F32, DIMS(2, 3), 1, 0, 1, 0, 1, 0);
    sg_value *y = sg_add_scalar(g, sg_square(g, sg_linear(g, x, w, NULL)), 0.5);
    CHECK_VALUES(g, y, 0, 16.5, 4.5, 100.5, 25.5); /* (1 + 3)^2, 2^2, (4 + 6)^2, 5^2 */
    CHECK_IS(sg_value_op(y), "add");
    CHECK(sg_value_n_in(y) == 2 && sg_value_dtype(y) == SG_F32);
    CHECK_IS(sg_value_op(sg_value_in(y, 0)), "square");
    for (int i = 0; i < sg_graph_size(g); i++)
        CHECK(sg_value_id(sg_graph_at(g, i)) == i);
    CHECK(sg_graph_at(g, sg_value_id(y)) == y);
    sg_graph_free(g);
    sg_graph_free(NULL);
}

static void axes_count_from_either_end(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3, 5));
    CHECK(sg_value_dim(x, 0) == 2 && sg_value_dim(x, -1) == 5 && sg_value_dim(x, -3) == 2);
    CHECK(sg_value_n_dims(x) == 3 && sg_value_dims(x)[1] == 3);
    CHECK_DIMS(sg_sum(g, x, -2, false), DIMS(2, 5));
    CHECK_DIMS(sg_sum(g, x, 2, true), DIMS(2, 3, 1));
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_sum(g, x, 3, false);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "axis 3 of 3");
    sg_graph_free(g);
}

static void the_first_failure_is_kept(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3)), *y = sg_input(g, "y", SG_F32, DIMS(4));
    sg_error err = {SG_EIO, "not touched"};
    CHECK_OK(sg_graph_status(g, &err), NULL);
    CHECK_IS(err.text, "not touched");
    sg_value *bad = sg_add(g, x, y);
    CHECK(bad != NULL);
    CHECK(sg_graph_status(g, NULL) == SG_ESHAPE);
    const int size = sg_graph_size(g);
    sg_mul(g, x, sg_cast(g, x, SG_F64)); /* would be SG_ETYPE */
    sg_name(g, y, "x", NULL);            /* would be SG_EARG */
    sg_graph_fail(g, SG_EIO, "later");
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "add: shapes do not broadcast (given f32 [2,3], f32 [4])");
    CHECK(sg_graph_size(g) == size);
    sg_graph_free(g);
}

/* Everything that takes a value takes what a failed builder returned. */
static void after_a_failure_builders_are_harmless(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new(), *fork = NULL;
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3)), *out[2];
    sg_value *b = sg_squeeze(g, x, 0);
    sg_error err;
    float numbers[2] = {1, 2};
    const sg_tensor t = sg_tensor_of(SG_F32, DIMS(2), numbers);
    char text[SG_SHAPE_TEXT];
    const int size = sg_graph_size(g);

    CHECK_BUILD_FAILS(g, SG_ESHAPE, "squeeze: axis 0 of [2,3] is not 1");
    b = sg_linear(g, b, x, b);
    b = sg_transpose(g, sg_swap_axes(g, b, 0, 1), (const int[]){0});
    b = sg_reshape(g, sg_expand(g, sg_squeeze(g, b, 3), 5), DIMS(7));
    b = sg_slice(g, sg_concat(g, 2, (sg_value *[]){b, x}, 4), 9, 0, 1, 1);
    b = sg_where(g, sg_less(g, b, x), sg_repeat(g, b, 2, 3), sg_const(g, &t));
    b = sg_softmax(g, sg_sum_axes(g, sg_sum_to(g, b, DIMS(3)), SG_ALL_AXES, false), 1);
    b = sg_cross_entropy(g, sg_layer_norm(g, b, b, b, 1), sg_input(g, "ids", SG_I32, DIMS(2)));
    b = sg_name(g, sg_add(g, b, sg_variable(g, "w", SG_F32, DIMS(2), sg_init_constant(0))), "b", "bt");
    sg_replace(g, x, b);
    sg_replace(g, b, x);
    sg_gradients(g, b, NULL, 2, (sg_value *[]){x, b}, out);
    b = sg_jvp(g, sg_grad(g, out[0], x), out[1], b);
    CHECK(b != NULL && sg_value_n_dims(b) == 0);
    CHECK_IS(sg_value_shape_text(b, text), "[]");
    CHECK(!sg_graph_find(g, "b") && !sg_graph_find(g, "w"));
    CHECK(sg_graph_size(g) == size);
    CHECK_STATUS(sg_graph_fork(&fork, g, &err), SG_ESHAPE);
    CHECK_IS(err.text, "squeeze: axis 0 of [2,3] is not 1");
    sg_graph_free(g);
}

static void values_of_another_graph_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        sg_graph *g = sg_graph_new(), *other = sg_graph_new();
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(2)), *y = NULL;
        for (int k = 0; k < 40; k++) /* ids that g does not have */
            y = sg_scalar(other, SG_F32, k);
        y = sg_broadcast(other, y, DIMS(2));
        if (i == 0)
            sg_add(g, x, y);
        else if (i == 1)
            sg_replace(g, x, y);
        else if (i == 2)
            sg_replace(g, y, x);
        else
            sg_name(g, y, "y", NULL);
        CHECK_BUILD_FAILS(g, SG_EARG, "of another graph");
        CHECK(!sg_value_is_named(y));
        sg_graph_free(g);
        sg_graph_free(other);
    }
}

static void constants_are_copied(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    double numbers[3] = {1, 2, 3};
    sg_tensor t = sg_tensor_of(SG_F64, DIMS(3), numbers);
    sg_value *c = sg_const(g, &t), *none;
    numbers[0] = numbers[1] = numbers[2] = -7;
    CHECK_VALUES(g, c, 0, 1, 2, 3);
    CHECK_VALUES(g, sg_scalar(g, SG_I32, 5.9), 0, 5);
    t = sg_tensor_of(SG_F32, DIMS(0, 4), NULL);
    none = sg_const(g, &t);
    CHECK_DIMS(none, DIMS(0, 4));
    CHECK_VALUES(g, sg_sum_all(g, none), 0, 0);
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

static void leaves_with_impossible_extents_are_refused(void **state)
{
    (void)state;
    static const sg_dim nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, unknown[1] = {-5};
    for (int i = 0; i < 6; i++) {
        sg_graph *g = sg_graph_new();
        const sg_dim n = sg_extent(g, "n");
        if (i == 0)
            sg_input(g, "x", SG_F32, 9, nine);
        else if (i == 1)
            sg_input(g, "x", SG_F32, 1, unknown);
        else if (i == 2)
            sg_variable(g, "x", SG_F32, 1, &n, sg_init_constant(0));
        else if (i == 3)
            sg_full(g, SG_F32, 1, unknown, 0);
        else if (i == 4)
            sg_iota(g, SG_I32, unknown[0]);
        else
            sg_dim_add(g, n, unknown[0]);
        CHECK_BUILD_FAILS(g, SG_ESHAPE, i == 0 ? "9 axes, at most 8" : i == 2 ? "variable x: extent 0" : "-5");
        CHECK(i != 2 || sg_graph_n_slots(g) == 0);
        sg_graph_free(g);
    }
}

/* ---- variables ---- */

static void variables_have_slots_in_order(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new(), *fork;
    sg_error err;
    sg_state *numbers;
    sg_value *w[20];
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "w%d", i);
        w[i] = sg_variable(g, name, SG_F32, DIMS(i + 1), sg_init_constant(i));
        sg_neg(g, w[i]);
    }
    CHECK(sg_graph_n_slots(g) == 20);
    for (int i = 0; i < 20; i++)
        CHECK(sg_graph_slot(g, i) == w[i] && sg_graph_find(g, sg_value_name(w[i])) == w[i]);
    CHECK(w[3]->slot == 3 && sg_neg(g, w[3])->slot == -1);

    /* A fork shares states: slots keep their numbers, and its variables are its own values. */
    CHECK_OK(sg_state_new(&numbers, g, &err), &err);
    CHECK_OK(sg_state_init(numbers, 1, &err), &err);
    CHECK_OK(sg_graph_fork(&fork, g, &err), &err);
    sg_value *copy = sg_graph_at(fork, sg_value_id(w[7]));
    CHECK(copy != w[7] && sg_graph_slot(fork, 7) == copy && sg_graph_find(fork, "w7") == copy);
    CHECK(sg_state_tensor(numbers, copy) == sg_state_tensor(numbers, w[7]));
    CHECK(sg_tensor_get(sg_state_tensor(numbers, copy), 0) == 7);
    sg_variable(fork, "more", SG_F32, NO_DIMS, sg_init_normal(1));
    CHECK(sg_graph_n_slots(fork) == 21 && sg_graph_n_slots(g) == 20);
    sg_state_free(numbers);
    sg_graph_free(fork);
    sg_graph_free(g);
}

static void inits_say_what_they_are(void **state)
{
    (void)state;
    const sg_init c = sg_init_constant(3), n = sg_init_normal(0.5), u = sg_init_uniform(-1, 2);
    CHECK(c.kind == SG_INIT_CONSTANT && c.a == 3);
    CHECK(n.kind == SG_INIT_NORMAL && n.a == 0 && n.b == 0.5);
    CHECK(u.kind == SG_INIT_UNIFORM && u.a == -1 && u.b == 2);
}

/* ---- names and scopes ---- */

static void names_find_values(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3));
    char copied[] = "hidden";
    sg_value *h = sg_name(g, sg_tanh(g, x), copied, "bd");
    copied[0] = '?';
    CHECK(sg_graph_find(g, "hidden") == h && sg_graph_find(g, "x") == x);
    CHECK(!sg_graph_find(g, "hidde") && !sg_graph_find(g, "hidden2") && !sg_graph_find(g, ""));
    CHECK_IS(sg_value_name(h), "hidden");
    CHECK_IS(sg_value_axes(h), "bd");
    CHECK_IS(sg_value_axes(x), "dd");
    CHECK_IS(sg_value_op(h), "tanh");
    CHECK(sg_value_is_named(h));

    sg_value *unnamed = sg_exp(g, h);
    CHECK(!sg_value_is_named(unnamed));
    CHECK_IS(sg_value_name(unnamed), "exp");
    CHECK_IS(sg_value_axes(unnamed), "");

    CHECK(sg_graph_n_names(g) == 2 && sg_graph_named(g, 0) == x && sg_graph_named(g, 1) == h);
    sg_graph_free(g);
}

static void a_second_name_is_a_value_of_its_own(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_name(g, NUMBERS(g, SG_F32, DIMS(2), 3, 4), "x", "d");
    sg_value *y = sg_name(g, x, "y", "b");
    CHECK(y != x && sg_value_in(y, 0) == x);
    CHECK(sg_graph_find(g, "x") == x && sg_graph_find(g, "y") == y);
    CHECK_IS(sg_value_axes(x), "d");
    CHECK_IS(sg_value_axes(y), "b");
    CHECK_VALUES(g, y, 0, 3, 4);
    CHECK(sg_name(g, x, "x", "t") == x); /* its own name again tells the axes alone */
    CHECK_IS(sg_value_axes(x), "t");
    CHECK(sg_name(g, x, "x", NULL) == x && sg_graph_n_names(g) == 2);
    CHECK_IS(sg_value_axes(x), "t");
    sg_graph_free(g);
}

static void names_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3));
        if (i == 0)
            sg_input(g, "x", SG_F32, DIMS(2));
        else if (i == 1)
            sg_name(g, sg_neg(g, x), "x", NULL);
        else if (i == 2)
            sg_variable(g, "x", SG_F32, DIMS(2), sg_init_constant(0));
        else
            sg_name(g, sg_neg(g, x), "y", "btd");
        CHECK_BUILD_FAILS(g, SG_EARG, i < 3 ? "two values are named x" : "name y: axes \"btd\" for 2 axes");
        CHECK(sg_graph_find(g, "x") == x && sg_graph_n_names(g) == 1);
        sg_graph_free(g);
    }
}

static void a_wrong_name_has_a_nearest(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    CHECK(sg_graph_nearest(g, "x") == NULL);
    sg_input(g, "hook_embed", SG_F32, NO_DIMS);
    sg_input(g, "blocks.0.hook_resid_pre", SG_F32, NO_DIMS);
    sg_input(g, "blocks.0.hook_resid_post", SG_F32, NO_DIMS);
    CHECK_IS(sg_graph_nearest(g, "hook_embde"), "hook_embed");
    CHECK_IS(sg_graph_nearest(g, "blocks.0.hook_resid_pots"), "blocks.0.hook_resid_post");
    CHECK_IS(sg_graph_nearest(g, "blocks.0.hook_resid_per"), "blocks.0.hook_resid_pre");
    CHECK_IS(sg_graph_nearest(g, "hook_embed"), "hook_embed");
    sg_graph_free(g);
}

static void many_names_are_found(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *v[500];
    char name[32];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "blocks.%d.hook", i);
        v[i] = sg_input(g, name, SG_F32, DIMS(i));
    }
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    CHECK(sg_graph_n_names(g) == 500);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "blocks.%d.hook", i);
        CHECK(sg_graph_find(g, name) == v[i] && sg_graph_named(g, i) == v[i]);
    }
    sg_graph_free(g);
}

static void scopes_say_where_a_value_was_built(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2, 3));
    CHECK_IS(x->scope, "");
    sg_scope(g, "blocks.%d.%s", 3, "attn");
    sg_value *y = sg_neg(g, x);
    CHECK_IS(y->scope, "blocks.3.attn");
    CHECK_IS(sg_value_name(y), "neg"); /* a scope is no name */
    CHECK(!sg_graph_find(g, "blocks.3.attn"));
    sg_scope(g, "%s", "");
    CHECK_IS(sg_neg(g, x)->scope, "");
    CHECK_IS(y->scope, "blocks.3.attn");
    sg_scope(g, "head");
    sg_matmul(g, x, x, false, false);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "head/matmul: inner extents differ (given f32 [2,3], f32 [2,3])");
    sg_graph_free(g);
}

/* ---- types and shapes ---- */

static void types_do_not_convert_by_themselves(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *f = sg_input(g, "f", SG_F32, DIMS(2)), *d = sg_input(g, "d", SG_F64, DIMS(2));
        sg_value *n = sg_input(g, "n", SG_I32, DIMS(2)), *b = sg_input(g, "b", SG_BOOL, DIMS(2));
        CHECK(sg_value_dtype(sg_add(g, f, f)) == SG_F32 && sg_value_dtype(sg_exp(g, d)) == SG_F64);
        CHECK(sg_value_dtype(sg_add(g, n, n)) == SG_I32 && sg_value_dtype(sg_less(g, n, n)) == SG_BOOL);
        CHECK(sg_value_dtype(sg_argmax(g, f, 0, false)) == SG_I32 && sg_value_dtype(sg_where(g, b, d, d)) == SG_F64);
        CHECK(sg_value_dtype(sg_add(g, f, sg_cast(g, d, SG_F32))) == SG_F32);
        CHECK_OK(sg_graph_status(g, NULL), NULL);
        sg_value *const bad[] = {i == 0 ? sg_add(g, f, d) : f,      i == 1 ? sg_exp(g, n) : f,
                                 i == 2 ? sg_where(g, f, f, f) : f, i == 3 ? sg_where(g, b, f, n) : f,
                                 i == 4 ? sg_add(g, b, b) : f,      i == 5 ? sg_matmul(g, f, d, 0, 0) : f,
                                 i == 6 ? sg_embed(g, f, f) : f};
        (void)bad;
        CHECK_BUILD_FAILS(
            g, SG_ETYPE,
            ((const char *[]){"add: types differ (given f32 [2], f64 [2])", "exp: ", "where: the condition",
                              "where: types differ", "add: ", "matmul: types differ", "embed: "})[i]);
        sg_graph_free(g);
    }
}

static void shapes_that_do_not_fit_are_shown(void **state)
{
    (void)state;
    static const char *const words[] = {
        "add: shapes do not broadcast (given f32 [batch,3], f32 [4])",
        "matmul: inner extents differ (given f32 [batch,3], f32 [5,4])",
        "where: shapes do not broadcast (given bool [4], f32 [4], f32 [batch,3])",
        "reshape: 3*batch elements cannot become 3*batch+3 (given f32 [batch,3])",
        "broadcast: axis 1 cannot become batch long (given f32 [batch,3])",
        "mul: shapes do not broadcast (given f32 [batch,3], f32 [time,3])",
        "add: shapes do not broadcast (given f32 [batch,3], f32 [7,3])",
    };
    for (size_t i = 0; i < SG_COUNT_OF(words); i++) {
        sg_graph *g = sg_graph_new();
        const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time");
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(batch, 3)), *four = sg_input(g, "four", SG_F32, DIMS(4));
        sg_value *b = sg_input(g, "b", SG_BOOL, DIMS(4)), *y = sg_input(g, "y", SG_F32, DIMS(time, 3));
        if (i == 0)
            sg_add(g, x, four);
        else if (i == 1)
            sg_matmul(g, x, sg_input(g, "m", SG_F32, DIMS(5, 4)), false, false);
        else if (i == 2)
            sg_where(g, b, four, x);
        else if (i == 3)
            sg_reshape(g, x, DIMS(3, sg_dim_add(g, batch, 1)));
        else if (i == 4)
            sg_broadcast(g, x, DIMS(batch, batch));
        else if (i == 5)
            sg_mul(g, x, y);
        else
            sg_add(g, x, sg_input(g, "seven", SG_F32, DIMS(7, 3)));
        CHECK_BUILD_FAILS(g, SG_ESHAPE, words[i]);
        sg_graph_free(g);
    }
}

/* ---- symbolic extents ---- */

static void equal_polynomials_are_equal_numbers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim a = sg_extent(g, "a"), b = sg_extent(g, "b");
    CHECK(a < 0 && b < 0 && a != b);
    CHECK(sg_extent(g, "a") == a && sg_graph_n_symbols(g) == 2);
    CHECK(sg_dim_add(g, a, b) == sg_dim_add(g, b, a));
    CHECK(sg_dim_mul(g, a, b) == sg_dim_mul(g, b, a));
    CHECK(sg_dim_add(g, a, 0) == a && sg_dim_mul(g, a, 1) == a && sg_dim_mul(g, a, 0) == 0);
    CHECK(sg_dim_sub(g, a, a) == 0 && sg_dim_add(g, 2, 3) == 5 && sg_dim_mul(g, 4, 5) == 20 &&
          sg_dim_sub(g, 9, 2) == 7);
    CHECK(sg_dim_sub(g, sg_dim_add(g, a, b), b) == a);
    CHECK(sg_dim_sub(g, sg_dim_add(g, a, 7), a) == 7); /* a number again */
    CHECK(sg_dim_add(g, a, a) == sg_dim_mul(g, 2, a) && sg_dim_add(g, a, a) != a);
    CHECK(sg_dim_mul(g, a, a) != a && sg_dim_mul(g, a, a) != sg_dim_mul(g, 2, a));

    /* (a + b)^2 - (a - b)^2 = 4ab, (a + b)(a + 2) = a^2 + 2a + ab + 2b */
    const sg_dim sum = sg_dim_add(g, a, b), difference = sg_dim_sub(g, a, b);
    CHECK(sg_dim_sub(g, sg_dim_mul(g, sum, sum), sg_dim_mul(g, difference, difference)) ==
          sg_dim_mul(g, 4, sg_dim_mul(g, a, b)));
    const sg_dim right = sg_dim_add(g, sg_dim_add(g, sg_dim_mul(g, 2, b), sg_dim_mul(g, a, b)),
                                    sg_dim_add(g, sg_dim_mul(g, a, 2), sg_dim_mul(g, a, a)));
    CHECK(sg_dim_mul(g, sum, sg_dim_add(g, a, 2)) == right);
    CHECK(sg_dims_product(g, 3, (sg_dim[]){a, 3, b}) == sg_dim_mul(g, sg_dim_mul(g, b, a), 3));
    CHECK(sg_dims_product(g, 0, NULL) == 1);
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

static void extents_are_written_as_people_write_them(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim past = sg_extent(g, "past"), time = sg_extent(g, "time");
    char text[SG_SHAPE_TEXT];
    CHECK_IS(sg_dim_text(g, 64, text), "64");
    CHECK_IS(sg_dim_text(g, past, text), "past");
    CHECK_IS(sg_dim_text(g, sg_dim_add(g, time, past), text), "past+time");
    CHECK_IS(sg_dim_text(g, sg_dim_add(g, 1, sg_dim_mul(g, time, 3)), text), "3*time+1");
    CHECK_IS(sg_dim_text(g, sg_dim_mul(g, sg_dim_mul(g, time, time), past), text), "past*time*time");
    CHECK_IS(sg_dim_text(g, sg_dim_sub(g, past, 1), text), "past-1");
    CHECK_IS(sg_dim_text(g, sg_dim_sub(g, 5, past), text), "-past+5");
    CHECK_IS(sg_dim_text(g, -99, text), "?");
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(past, sg_dim_add(g, past, time), 64));
    CHECK_IS(sg_value_shape_text(x, text), "[past,past+time,64]");
    CHECK_IS(sg_value_shape_text(sg_scalar(g, SG_F32, 1), text), "[]");

    /* Long ones are cut, not overrun. */
    sg_dim most = sg_dim_mul(g, past, time);
    for (int i = 0; i < 4; i++)
        most = sg_dim_mul(g, most, sg_dim_add(g, past, 1));
    CHECK(strlen(sg_dim_text(g, most, text)) < SG_SHAPE_TEXT);
    x = sg_input(g, "y", SG_F32, DIMS(most, most, most));
    CHECK(strlen(sg_value_shape_text(x, text)) == SG_SHAPE_TEXT - 1 && text[SG_SHAPE_TEXT - 2] == ']');
    sg_graph_free(g);
}

static void polynomials_are_evaluated(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim a = sg_extent(g, "a"), b = sg_extent(g, "b");
    const sg_dim p = sg_dim_add(g, sg_dim_mul(g, sg_dim_mul(g, a, a), b), sg_dim_sub(g, sg_dim_mul(g, 3, b), 2));
    const int64_t at[2] = {5, 7}, large[2] = {INT64_C(1) << 40, INT64_C(1) << 40};
    CHECK(sg_dim_eval(g, p, at) == 5 * 5 * 7 + 3 * 7 - 2);
    CHECK(sg_dim_eval(g, 12, at) == 12 && sg_dim_eval(g, b, at) == 7);
    CHECK(sg_dim_eval(g, p, large) >= INT64_MAX / 8); /* more than there is memory, rather than anything small */
    CHECK(sg_graph_symbol_index(g, "b") == 1 && sg_graph_symbol_index(g, "c") == -1);
    CHECK_IS(sg_graph_symbol(g, 1), "b");

    CHECK(sg_dim_symbol(g, a) == 0 && sg_dim_symbol(g, b) == 1);
    CHECK(sg_dim_symbol(g, 3) == -1 && sg_dim_symbol(g, p) == -1 && sg_dim_symbol(g, sg_dim_mul(g, 2, a)) == -1);
    CHECK(sg_dim_symbol(g, sg_dim_mul(g, a, a)) == -1 && sg_dim_symbol(g, sg_dim_mul(g, a, b)) == -1);
    CHECK(sg_dim_symbols(g, p) == 3 && sg_dim_symbols(g, b) == 2 && sg_dim_symbols(g, 9) == 0);
    CHECK(sg_dim_is_const(0) && sg_dim_is_const(3) && !sg_dim_is_const(p));
    sg_graph_free(g);
}

/* Random sums, differences and products: the value of the result is the result on values, and two extents are one
 * number exactly when they have the same values at points enough. */
static void arithmetic_agrees_with_numbers(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_rng r = sg_rng_new(11, 0);
    sg_dim d[40];
    int64_t at[8][3], value[40][8];
    int n_equal = 0;
    for (int p = 0; p < 8; p++)
        for (int k = 0; k < 3; k++)
            at[p][k] = 1 + sg_rng_below(&r, 1000);
    for (int i = 0; i < 40; i++) {
        const int a = i < 4 ? 0 : (int)sg_rng_below(&r, (uint32_t)SG_MIN(i, 12)),
                  b = i < 4 ? 0 : (int)sg_rng_below(&r, 4);
        const uint32_t op = sg_rng_below(&r, 3); /* a + b, a b, b + a */
        if (i < 3)
            d[i] = sg_extent(g, (const char *[]){"a", "b", "c"}[i]);
        else if (i == 3)
            d[i] = 2;
        else
            d[i] = op == 0   ? sg_dim_add(g, d[a], d[b])
                   : op == 1 ? sg_dim_mul(g, d[a], d[b])
                             : sg_dim_add(g, d[b], d[a]);
        for (int p = 0; p < 8; p++) {
            const int64_t x = i < 4 ? 0 : value[a][p], y = i < 4 ? 0 : value[b][p];
            value[i][p] = i < 3 ? at[p][i] : i == 3 ? 2 : op == 1 ? x * y : x + y;
            CHECK(sg_dim_eval(g, d[i], at[p]) == value[i][p]);
        }
        for (int k = 0; k < i; k++) {
            n_equal += d[k] == d[i];
            CHECK((d[k] == d[i]) == (memcmp(value[k], value[i], sizeof value[k]) == 0));
            if (d[k] < 0 && d[i] < 0 && d[k] != d[i]) {
                const sg_dim left = sg_dim_sub(g, sg_dim_add(g, d[k], d[i]), d[k]);
                CHECK(left == d[i]);
            }
        }
    }
    CHECK(n_equal > 0 && n_equal < 100);
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

static void extents_have_limits(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        static const char *const words[] = {"c8: a graph has at most 8 symbols",
                                            "an extent would be -1",
                                            "an extent would be -2",
                                            "more than 32 terms",
                                            "more than 32 terms",
                                            "larger than 63 bits hold",
                                            "larger than 63 bits hold",
                                            "higher power"};
        sg_graph *g = sg_graph_new();
        sg_dim c[8], sum = 0;
        char name[8];
        for (int k = 0; k < 8; k++) {
            snprintf(name, sizeof name, "c%d", k);
            sum = sg_dim_add(g, sum, c[k] = sg_extent(g, name));
        }
        CHECK_OK(sg_graph_status(g, NULL), NULL);
        CHECK(sg_extent(g, "c7") == c[7]);
        if (i == 0) {
            sg_extent(g, "c8");
        } else if (i == 1) {
            sg_dim_sub(g, 2, 3);
        } else if (i == 2) {
            sg_dim_sub(g, c[0], sg_dim_add(g, c[0], 2));
        } else if (i == 3) {
            sg_dim_mul(g, sum, sum);
        } else if (i == 4) {
            sg_dim squares = 0;
            for (int k = 0; k < 4; k++) /* 4 * 8 terms, of which some are equal, then 8 more */
                squares = sg_dim_add(g, squares, sg_dim_mul(g, sg_dim_mul(g, c[k], c[k]), sum));
            sg_dim_add(g, squares, sum);
        } else if (i == 5) {
            sg_dim_mul(g, INT64_MAX / 2, sg_dim_mul(g, 3, c[0]));
        } else if (i == 6) {
            sg_dim_add(g, sg_dim_mul(g, INT64_MAX, c[0]), c[0]);
        } else {
            sg_dim p = c[0];
            for (int k = 0; k < 8; k++) /* c0^256 */
                p = sg_dim_mul(g, p, p);
        }
        CHECK_BUILD_FAILS(g, i == 0 ? SG_EARG : SG_ESHAPE, words[i]);
        sg_graph_free(g);
    }
}

static void symbolic_extents_broadcast(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), past = sg_extent(g, "past"), time = sg_extent(g, "time");
    const sg_dim keys = sg_dim_add(g, past, time);
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(batch, 1, 3)), *y = sg_input(g, "y", SG_F32, DIMS(keys, 1));
    CHECK_DIMS(sg_add(g, x, y), DIMS(batch, keys, 3));
    CHECK_DIMS(sg_mul(g, y, x), DIMS(batch, keys, 3));
    CHECK_DIMS(sg_where(g, sg_less(g, y, y), x, sg_scalar(g, SG_F32, 0)), DIMS(batch, keys, 3));
    CHECK_DIMS(sg_add(g, y, sg_input(g, "z", SG_F32, DIMS(sg_dim_add(g, time, past), 1))), DIMS(keys, 1));
    CHECK_DIMS(sg_concat(g, 2, (sg_value *[]){y, sg_input(g, "t", SG_F32, DIMS(time, 1))}, 0),
               DIMS(sg_dim_add(g, past, sg_dim_mul(g, 2, time)), 1));
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

static void symbolic_extents_reshape(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_error err;
    sg_session *s;
    sg_tensor out;
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time"), rows = sg_dim_mul(g, batch, time);
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(batch, time, 4));
    sg_value *flat = sg_reshape(g, x, DIMS(rows, 4));
    sg_value *heads = sg_reshape(g, flat, DIMS(time, batch, 2, 2));
    sg_value *one = sg_reshape(g, heads, DIMS(sg_dim_mul(g, 4, sg_dim_mul(g, time, batch))));
    sg_value *back = sg_reshape(g, one, DIMS(batch, time, 4));
    CHECK_DIMS(heads, DIMS(time, batch, 2, 2));
    CHECK(sg_reshape(g, back, DIMS(batch, time, 4)) == back);
    /* (n + 1)(n + 2) = n (n + 3) + 2 */
    const sg_dim n1 = sg_dim_add(g, time, 1), n2 = sg_dim_add(g, time, 2);
    sg_value *square = sg_input(g, "square", SG_F32, DIMS(n1, n2));
    CHECK_DIMS(sg_reshape(g, square, DIMS(sg_dim_add(g, sg_dim_mul(g, time, sg_dim_add(g, time, 3)), 2))),
               DIMS(sg_dim_mul(g, n2, n1)));
    CHECK_OK(sg_graph_status(g, NULL), NULL);

    float numbers[24];
    for (int i = 0; i < 24; i++)
        numbers[i] = (float)i;
    CHECK_OK(sg_session_new(&s, g, NULL, values_opts(1), &err), &err);
    const sg_feed feed = {x, sg_tensor_of(SG_F32, DIMS(2, 3, 4), numbers)};
    CHECK_OK(sg_session_run(s, 1, &feed, 1, &heads, &out, &err), &err);
    CHECK(out.n_dims == 4 && out.dims[0] == 3 && out.dims[1] == 2 && memcmp(out.data, numbers, sizeof numbers) == 0);
    sg_session_free(s);
    sg_graph_free(g);
}

/* ---- replacing ---- */

static void readers_see_the_replacement(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2), 1, 2);
    sg_value *h = sg_name(g, sg_add_scalar(g, x, 1), "h", "t"); /* 2 3 */
    sg_value *y = sg_mul_scalar(g, h, 10), *z = sg_mul(g, h, y);
    sg_value *with = sg_neg(g, h); /* reads h itself */
    sg_replace(g, h, with);
    CHECK_VALUES(g, y, 0, -20, -30);
    CHECK_VALUES(g, z, 0, 40, 90);
    CHECK_VALUES(g, h, 0, 2, 3);
    CHECK_VALUES(g, with, 0, -2, -3);
    CHECK(sg_graph_find(g, "h") == with && sg_graph_find(g, "h.unedited") == h);
    CHECK_IS(sg_value_name(with), "h");
    CHECK_IS(sg_value_axes(with), "t");
    CHECK_IS(sg_value_name(h), "h.unedited");
    CHECK_IS(sg_value_axes(h), "t");
    CHECK(sg_graph_n_names(g) == 2 && sg_graph_named(g, 0) == with && sg_graph_named(g, 1) == h);

    /* The second replacement of a name keeps the first original. */
    sg_value *again = sg_add_scalar(g, with, 100); /* 98 97 */
    sg_replace(g, with, again);
    CHECK_VALUES(g, z, 0, 98 * 980, 97 * 970);
    CHECK(sg_graph_find(g, "h") == again && sg_graph_find(g, "h.unedited") == h);
    CHECK(!sg_value_is_named(with));
    CHECK_IS(sg_value_axes(with), "");
    CHECK(sg_graph_n_names(g) == 2);
    sg_replace(g, again, again);
    CHECK_VALUES(g, z, 0, 98 * 980, 97 * 970);
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

/* y = f(h) + h with h replaced by f(h): f goes on reading h, else a value would be computed from itself. */
static void what_a_replacement_is_computed_from_is_left_alone(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *h = NUMBERS(g, SG_F32, DIMS(1), 3);
    sg_value *f = sg_square(g, h), *y = sg_add(g, f, h);
    sg_replace(g, h, sg_add_scalar(g, f, 1));
    CHECK_VALUES(g, f, 0, 9);
    CHECK_VALUES(g, y, 0, 19); /* 9 + 10 */
    sg_graph_free(g);
}

/* with has a name already: both names go on meaning the same numbers, as values of their own. */
static void a_replacement_with_a_name_keeps_it(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new(), *fork;
    sg_error err;
    sg_value *x = sg_name(g, NUMBERS(g, SG_F32, DIMS(1), 1), "x", "b");
    sg_value *other = sg_name(g, NUMBERS(g, SG_F32, DIMS(1), 5), "other", "t");
    sg_value *y = sg_name(g, sg_neg(g, x), "y", NULL);
    sg_replace(g, x, other);
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_VALUES(g, y, 0, -5);
    CHECK(sg_graph_find(g, "other") == other && sg_graph_find(g, "x.unedited") == x);
    CHECK_IS(sg_value_name(other), "other");
    CHECK_IS(sg_value_axes(other), "t");
    CHECK_IS(sg_value_name(sg_graph_find(g, "x")), "x");
    CHECK_VALUES(g, sg_graph_find(g, "x"), 0, 5);
    CHECK_OK(sg_graph_fork(&fork, g, &err), &err);
    CHECK(sg_graph_n_names(fork) == 4);
    for (int i = 0; i < 4; i++)
        CHECK_IS(sg_value_name(sg_graph_named(fork, i)), sg_value_name(sg_graph_named(g, i)));
    sg_graph_free(fork);
    sg_graph_free(g);
}

static void replacements_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        sg_graph *g = sg_graph_new();
        sg_value *x = sg_input(g, "x", SG_F32, DIMS(sg_extent(g, "n"), 2)), *y = sg_neg(g, x);
        sg_replace(g, x,
                   i == 0   ? sg_input(g, "z", SG_F32, DIMS(3, 2))
                   : i == 1 ? sg_sum(g, x, 0, 0)
                            : sg_cast(g, x, SG_F64));
        CHECK_BUILD_FAILS(g, i == 2 ? SG_ETYPE : SG_ESHAPE,
                          ((const char *[]){"replacing x: it is f32 [n,2], the new value is f32 [3,2]",
                                            "the new value is f32 [2]", "the new value is f64 [n,2]"})[i]);
        CHECK(sg_graph_find(g, "x") == x && sg_value_in(y, 0) == x);
        sg_graph_free(g);
    }
}

/* A replaced value's readers have smaller ids than what they read. */
static void the_order_puts_inputs_first(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2)), *unused = sg_neg(g, x);
    sg_value *h = sg_tanh(g, x), *y = sg_exp(g, h), *z = sg_add(g, y, h);
    sg_value *with = sg_mul(g, h, sg_input(g, "late", SG_F32, DIMS(2)));
    int order[64], place[64];
    bool stop[64] = {false}, seen[64] = {false};
    sg_replace(g, h, with);
    CHECK(with->id > y->id);
    int n = sg_graph_order(g, 2, (sg_value *[]){y, z}, NULL, order);
    CHECK(n == 6); /* x late h with y z */
    memset(place, -1, sizeof place);
    for (int i = 0; i < n; i++)
        place[order[i]] = i;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < sg_graph_at(g, order[i])->n_in; k++) {
            const int in = place[sg_graph_at(g, order[i])->in[k]->id];
            CHECK(in >= 0 && in < i);
        }
    CHECK(place[unused->id] == -1);

    stop[with->id] = true;
    n = sg_graph_order(g, 1, &z, stop, order);
    CHECK(n == 3 && order[0] == with->id && order[1] == y->id && order[2] == z->id);
    CHECK(sg_graph_ancestors(g, with, seen));
    CHECK(seen[x->id] && seen[h->id] && seen[with->id] && !seen[y->id] && !seen[z->id] && !seen[unused->id]);
    sg_graph_free(g);
}

static void a_fork_leaves_the_original_alone(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new(), *f;
    sg_error err;
    const sg_dim n = sg_extent(g, "n");
    sg_value *c = NUMBERS(g, SG_F32, DIMS(2), 1, 2);
    sg_value *h = sg_name(g, sg_add_scalar(g, c, 1), "h", "b"), *y = sg_name(g, sg_square(g, h), "y", NULL);
    const int size = sg_graph_size(g);
    CHECK_OK(sg_graph_fork(&f, g, &err), &err);
    CHECK(sg_graph_size(f) == size && sg_graph_n_names(f) == 2 && sg_extent(f, "n") == n);
    sg_value *fh = sg_graph_find(f, "h"), *fy = sg_graph_find(f, "y");
    CHECK(fh != h && fh == sg_graph_at(f, sg_value_id(h)) && sg_value_in(fy, 0) == fh);
    CHECK_IS(sg_value_axes(fh), "b");
    sg_replace(f, fh, sg_neg(f, sg_mul_scalar(f, fh, 2)));
    sg_extent(f, "m");
    CHECK_VALUES(f, fy, 0, 16, 36);
    CHECK_VALUES(g, y, 0, 4, 9);
    CHECK(sg_graph_size(g) == size && sg_graph_find(g, "h") == h && !sg_graph_find(g, "h.unedited"));
    CHECK(sg_graph_n_symbols(g) == 1 && sg_graph_n_symbols(f) == 2);

    /* A fork of what was spliced. */
    sg_graph *ff;
    CHECK_OK(sg_graph_fork(&ff, f, &err), &err);
    CHECK_VALUES(ff, sg_graph_find(ff, "y"), 0, 16, 36);
    CHECK(sg_graph_find(ff, "h.unedited") == sg_graph_at(ff, sg_value_id(h)));
    sg_graph_free(ff);
    sg_graph_free(f);
    sg_graph_free(g);
}

/* ---- memory that runs out ---- */

static sg_status build_all(sg_graph **out, sg_graph **fork, sg_error *err)
{
    sg_graph *g = *out = sg_graph_new();
    sg_value *grads[2];
    char name[32];

    *fork = NULL;
    if (!g)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < 100; i++) /* more than the arena's first piece of memory holds */
        sg_scope(g, "scope.%d", i);
    const sg_dim b = sg_extent(g, "batch");
    sg_value *many[70], *x = sg_input(g, "x", SG_F32, DIMS(b, 3));
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof name, "w%d", i);
        sg_value *w = sg_variable(g, name, SG_F32, DIMS(3, 3), sg_init_normal(1));
        sg_scope(g, "blocks.%d", i);
        snprintf(name, sizeof name, "h%d", i);
        many[i] = sg_name(g, sg_tanh(g, sg_linear(g, x, w, NULL)), name, "bd");
        sg_dim_add(g, b, i);
    }
    sg_value *y = sg_sum_all(g, sg_square(g, sg_concat(g, 70, many, 1)));
    sg_replace(g, many[0], sg_mul_scalar(g, many[0], 2));
    sg_replace(g, sg_graph_find(g, "h0") ? sg_graph_find(g, "h0") : x, many[1]);
    sg_gradients(g, y, NULL, 2, (sg_value *[]){x, many[1]}, grads);
    sg_jvp(g, grads[0], x, x);
    const sg_status status = sg_graph_status(g, err);
    return status == SG_OK ? sg_graph_fork(fork, g, err) : status;
}

static void running_out_of_memory_is_reported(void **state)
{
    (void)state;
    for (int kind = SG_FAULT_ONCE; kind <= SG_FAULT_ONWARD; kind++)
        for (long n = 0;; n++) {
            sg_graph *g, *fork;
            sg_error err = {SG_OK, ""};
            sg_faults_begin(n, (sg_fault_kind)kind);
            const sg_status status = build_all(&g, &fork, &err);
            const bool fired = sg_faults_end();
            if (fired) {
                CHECK_STATUS(status, SG_ENOMEM);
                CHECK_TEXT(err.text, "out of memory");
                CHECK(!fork);
            } else {
                CHECK_OK(status, &err);
                CHECK(sg_graph_size(fork) == sg_graph_size(g));
            }
            sg_graph_free(fork);
            sg_graph_free(g);
            if (!fired) {
                CHECK(n > 30);
                break;
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_nest),
        cmocka_unit_test(axes_count_from_either_end),
        cmocka_unit_test(the_first_failure_is_kept),
        cmocka_unit_test(after_a_failure_builders_are_harmless),
        cmocka_unit_test(values_of_another_graph_are_refused),
        cmocka_unit_test(constants_are_copied),
        cmocka_unit_test(leaves_with_impossible_extents_are_refused),
        cmocka_unit_test(variables_have_slots_in_order),
        cmocka_unit_test(inits_say_what_they_are),
        cmocka_unit_test(names_find_values),
        cmocka_unit_test(a_second_name_is_a_value_of_its_own),
        cmocka_unit_test(names_that_do_not_fit_are_refused),
        cmocka_unit_test(a_wrong_name_has_a_nearest),
        cmocka_unit_test(many_names_are_found),
        cmocka_unit_test(scopes_say_where_a_value_was_built),
        cmocka_unit_test(types_do_not_convert_by_themselves),
        cmocka_unit_test(shapes_that_do_not_fit_are_shown),
        cmocka_unit_test(equal_polynomials_are_equal_numbers),
        cmocka_unit_test(extents_are_written_as_people_write_them),
        cmocka_unit_test(polynomials_are_evaluated),
        cmocka_unit_test(arithmetic_agrees_with_numbers),
        cmocka_unit_test(extents_have_limits),
        cmocka_unit_test(symbolic_extents_broadcast),
        cmocka_unit_test(symbolic_extents_reshape),
        cmocka_unit_test(readers_see_the_replacement),
        cmocka_unit_test(what_a_replacement_is_computed_from_is_left_alone),
        cmocka_unit_test(a_replacement_with_a_name_keeps_it),
        cmocka_unit_test(replacements_that_do_not_fit_are_refused),
        cmocka_unit_test(the_order_puts_inputs_first),
        cmocka_unit_test(a_fork_leaves_the_original_alone),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
