/* Rows, columns and central differences are one matrix; a shared past, padding and batches change nothing. On tiny
 * models of several families: grouped heads, windows, caps, norms of queries, positions that turn and that are learnt.
 */
#include "sightglass/jacobian.h"

#include "base/base.h"
#include "check.h"

enum { N = 7, AT = 3 };
static const int32_t tokens[N] = {5, 11, 2, 17, 8, 3, 14};
static const char *const families[] = {"gpt2",     "llama", "gemma2", "qwen3", "mistral",
                                       "gpt_neox", "olmo2", "gptj",   "phi3"};

static sg_model *open_family(const char *name, sg_dtype dtype)
{
    char path[1024];
    sg_error err;
    sg_model *m;
    sg_model_opts opts = sg_model_defaults();
    opts.dtype = dtype;
    snprintf(path, sizeof path, "%s/test/data/families/%s", SG_SOURCE_DIR, name);
    CHECK_OK(sg_model_open(&m, path, opts, &err), &err);
    return m;
}

/* [Do,Ds] of the first source, copied. */
static float *matrix(const sg_model *m, sg_jacobian_opts opts, sg_jacobian_cost *cost, sg_dim *n)
{
    sg_jacobian *j;
    sg_jacobian_result r;
    sg_error err;
    CHECK_OK(sg_jacobian_new(&j, m, opts, &err), &err);
    CHECK_OK(sg_jacobian_run(j, tokens, N, AT, N - 1, &r, &err), &err);
    *n = sg_jacobian_source_width(j, 0) * sg_jacobian_target_width(j);
    float *out = malloc((size_t)*n * sizeof *out);
    CHECK(out);
    memcpy(out, r.j[0], (size_t)*n * sizeof *out);
    if (cost)
        *cost = sg_jacobian_get_cost(j);
    sg_jacobian_free(j);
    return out;
}

static double largest(const float *a, sg_dim n)
{
    double most = 0;
    for (sg_dim i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i]));
    return most;
}

/* The largest difference, relative to the largest element. */
static double apart(const float *a, const float *b, sg_dim n)
{
    double most = 0;
    for (sg_dim i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most / largest(a, n);
}

static sg_jacobian_opts of(const char *const *source)
{
    sg_jacobian_opts o = sg_jacobian_defaults();
    o.n_sources = 1;
    o.sources = source;
    o.batch = 5; /* divides no width */
    return o;
}

static void rows_columns_and_a_shared_past_give_one_matrix(void **state)
{
    (void)state;
    static const char *const sources[] = {"blocks.0.hook_resid_post", "blocks.0.hook_resid_pre", "blocks.1.attn.hook_v",
                                          "hook_embed"};
    for (size_t f = 0; f < SG_COUNT_OF(families); f++) {
        sg_model *m = open_family(families[f], SG_F32);
        for (size_t s = 0; s < SG_COUNT_OF(sources); s++) {
            sg_jacobian_opts o = of(&sources[s]);
            sg_jacobian_cost cost, whole_cost;
            sg_dim n;
            o.mode = SG_JACOBIAN_ROWS;
            float *rows = matrix(m, o, &cost, &n);
            CHECK(largest(rows, n) > 0);
            o.mode = SG_JACOBIAN_COLUMNS;
            float *columns = matrix(m, o, NULL, &n);
            o.prefix = false;
            float *whole_columns = matrix(m, o, NULL, &n);
            o.mode = SG_JACOBIAN_ROWS;
            float *whole = matrix(m, o, &whole_cost, &n);
            o.pad = 4;
            float *padded = matrix(m, o, NULL, &n);
            CHECK_NEAR(apart(rows, columns, n), 0, 1e-4, 0);
            CHECK_NEAR(apart(whole, whole_columns, n), 0, 1e-4, 0);
            CHECK_NEAR(apart(whole, rows, n), 0, 1e-5, 0);
            CHECK_NEAR(apart(whole, padded, n), 0, 1e-5, 0);
            /* Behind the past there are the positions from the source to the target alone, and no step of a lower
             * block. */
            CHECK(cost.n_prompts == 1 && cost.n_positions == cost.n_rows * (N - AT) && cost.n_steps_below == 0);
            CHECK(whole_cost.n_positions == whole_cost.n_rows * N && whole_cost.n_steps_below == 0);
            free(rows);
            free(columns);
            free(whole);
            free(whole_columns);
            free(padded);
        }
        sg_model_close(m);
    }
}

/* The target's value with the source moved by h along component k. */
static void moved(sg_glass *glass, const sg_tensor *at_cut, const char *cut, sg_dim k, double h, sg_value *target,
                  double *out, sg_dim n)
{
    const int32_t *row = tokens;
    const sg_dim length = N;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    double numbers[N * 64];
    sg_tensor t = *at_cut, got;
    sg_error err;
    const sg_dim width = t.dims[2];
    CHECK(sg_tensor_count(&t) <= N * 64);
    memcpy(numbers, at_cut->data, (size_t)sg_tensor_count(&t) * sizeof *numbers);
    numbers[AT * width + k] += h;
    t.data = numbers;
    CHECK_OK(sg_glass_run(glass, &rows, 1, &(sg_named_feed){cut, t}, 1, &target, &got, &err), &err);
    for (sg_dim i = 0; i < n; i++)
        out[i] = sg_tensor_get(&got, (N - 1) * n + i);
}

static void it_is_what_central_differences_give(void **state)
{
    (void)state;
    static const char cut[] = "blocks.0.hook_resid_post";
    static const char *const source = cut;
    for (size_t f = 0; f < 5; f++) {
        sg_model *m = open_family(families[f], SG_F64);
        sg_glass *glass;
        sg_value *v, *target;
        sg_tensor fetched, at_cut;
        sg_error err;
        char last[48];
        const int32_t *row = tokens;
        const sg_dim length = N, d = sg_model_get_info(m)->d_model;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
        sg_dim n;
        float *exact = matrix(m, of(&source), NULL, &n), *differences = malloc((size_t)n * sizeof *differences);
        double *numbers = malloc((size_t)(N * d) * sizeof *numbers), *up = malloc((size_t)d * sizeof *up),
               *down = malloc((size_t)d * sizeof *down);
        CHECK(differences && numbers && up && down && n == d * d);
        CHECK_OK(sg_glass_new(&glass, m, sg_glass_defaults(), &err), &err);
        CHECK_OK(sg_glass_find(glass, cut, &v, &err), &err);
        snprintf(last, sizeof last, "blocks.%d.hook_resid_post", (int)sg_model_get_info(m)->n_layers - 1);
        CHECK_OK(sg_glass_find(glass, last, &target, &err), &err);
        CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &fetched, &err), &err);
        at_cut = fetched;
        at_cut.data = memcpy(numbers, fetched.data, (size_t)(N * d) * sizeof *numbers);
        for (sg_dim k = 0; k < d; k++) {
            moved(glass, &at_cut, cut, k, 1e-4, target, up, d);
            moved(glass, &at_cut, cut, k, -1e-4, target, down, d);
            for (sg_dim i = 0; i < d; i++)
                differences[i * d + k] = (float)((up[i] - down[i]) / 2e-4);
        }
        CHECK_NEAR(apart(exact, differences, n), 0, 1e-3, 0);
        free(exact);
        free(differences);
        free(numbers);
        free(up);
        free(down);
        sg_glass_free(glass);
        sg_model_close(m);
    }
}

static void several_sources_come_from_one_pass(void **state)
{
    (void)state;
    static const char *const sources[] = {"blocks.0.hook_resid_pre", "blocks.0.hook_resid_post",
                                          "blocks.1.attn.hook_v"};
    sg_model *m = open_family("llama", SG_F32);
    sg_jacobian_opts o = of(sources);
    sg_jacobian *j;
    sg_jacobian_result r;
    sg_error err;
    o.n_sources = 3;
    CHECK_OK(sg_jacobian_new(&j, m, o, &err), &err);
    CHECK_OK(sg_jacobian_run(j, tokens, N, AT, N - 1, &r, &err), &err);
    const sg_jacobian_cost cost = sg_jacobian_get_cost(j);
    const sg_dim d = sg_jacobian_target_width(j);
    CHECK(cost.n_rows >= d && cost.n_rows < d + o.batch && cost.n_prompts == 1);
    for (int i = 0; i < 3; i++) {
        sg_dim n;
        float *one = matrix(m, of(&sources[i]), NULL, &n);
        CHECK_NEAR(apart(one, r.j[i], n), 0, 1e-5, 0);
        free(one);
    }
    CHECK_OK(sg_jacobian_run(j, tokens, N, 0, N - 1, &r, &err), &err); /* no past to share */
    CHECK(largest(r.j[0], d * d) > 0);
    sg_jacobian_free(j);
    sg_model_close(m);
}

static void the_last_block_s_output_by_itself_is_the_identity(void **state)
{
    (void)state;
    sg_model *m = open_family("gpt2", SG_F32);
    char last[48];
    const char *const source = last;
    sg_dim n;
    snprintf(last, sizeof last, "blocks.%d.hook_resid_post", (int)sg_model_get_info(m)->n_layers - 1);
    sg_jacobian *j;
    sg_jacobian_result r;
    sg_error err;
    CHECK_OK(sg_jacobian_new(&j, m, of(&source), &err), &err);
    CHECK_OK(sg_jacobian_run(j, tokens, N, AT, AT, &r, &err), &err);
    const sg_dim d = sg_jacobian_target_width(j);
    for (n = 0; n < d * d; n++)
        CHECK(r.j[0][n] == (n / d == n % d ? 1.0f : 0.0f));
    CHECK(memcmp(r.s[0], r.o, (size_t)d * sizeof(float)) == 0);
    sg_jacobian_free(j);
    sg_model_close(m);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sg_model *m = open_family("llama", SG_F32);
    sg_jacobian *j;
    sg_jacobian_result r;
    sg_error err;
    const char *name = "blocks.0.hook_resid_pst";
    sg_jacobian_opts o = of(&name);
    CHECK_STATUS(sg_jacobian_new(&j, m, o, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "blocks.0.hook_resid_post");
    name = "blocks.0.attn.hook_pattern";
    CHECK_STATUS(sg_jacobian_new(&j, m, o, &err), SG_ESHAPE);
    name = "blocks.1.hook_resid_post";
    o.target = "blocks.0.hook_resid_post";
    CHECK_STATUS(sg_jacobian_new(&j, m, o, &err), SG_EARG);
    CHECK_TEXT(err.text, "lies below");
    o.target = NULL;
    o.pad = 1;
    CHECK_STATUS(sg_jacobian_new(&j, m, o, &err), SG_EARG);
    o.pad = 0;
    volatile sig_atomic_t stop = 1;
    o.cancel = &stop;
    CHECK_OK(sg_jacobian_new(&j, m, o, &err), &err);
    CHECK_STATUS(sg_jacobian_run(j, tokens, N, AT, N, &r, &err), SG_EARG);
    CHECK_STATUS(sg_jacobian_run(j, tokens, N, AT, AT - 1, &r, &err), SG_EARG);
    CHECK_STATUS(sg_jacobian_run(j, tokens, N, AT, N - 1, &r, &err), SG_ECANCELLED);
    sg_jacobian_free(j);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_columns_and_a_shared_past_give_one_matrix),
        cmocka_unit_test(it_is_what_central_differences_give),
        cmocka_unit_test(several_sources_come_from_one_pass),
        cmocka_unit_test(the_last_block_s_output_by_itself_is_the_identity),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
