/* Every family of decoders against an independent implementation: test/make_models/families.py wrote a tiny model of each, and
 * what it has inside, in double. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "check.h"
#include "models/arch.h"
#include "sightglass/model.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"

#define MOST_SITES 80
#define LONG       150 /* tokens: more than two blocks of keys of the fused step */

static const struct {
    const char *folder, *family;
    int n_sites; /* named values that the reference has, of its first text */
} families[] = {
    {"gpt2", "gpt2", 0},     {"llama", "llama", 0},   {"llama3", "llama", 0},          {"llama_yarn", "llama", 0},
    {"mistral", "mistral", 0}, {"qwen2", "qwen2", 0}, {"qwen3", "qwen3", 0},           {"gpt_neox", "gpt_neox", 0},
    {"gpt_neox_serial", "gpt_neox", 0}, {"gptj", "gptj", 0}, {"gemma", "gemma", 0},    {"gemma2", "gemma2", 0},
    {"phi3", "phi3", 0},     {"olmo", "olmo", 0},     {"olmo2", "olmo2", 0},
};

/* A model and what is known of it. */
typedef struct fixture {
    sg_model *m;
    sg_safetensors *golden;
    const int32_t *rows[2]; /* the two texts */
    sg_dim lengths[2];
} fixture;

static fixture begin(const char *folder, sg_dtype dtype)
{
    char path[1200];
    sg_error err;
    fixture f;

    snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s", folder);
    CHECK_OK(sg_model_open(&f.m, path, (sg_model_opts){.dtype = dtype}, &err), &err);
    snprintf(path, sizeof path, SG_SOURCE_DIR "/test/data/families/%s/golden.safetensors", folder);
    CHECK_OK(sg_safetensors_open(&f.golden, path, &err), &err);
    for (int r = 0; r < 2; r++) {
        const sg_tensor *t = sg_safetensors_find(f.golden, r ? "second.tokens" : "tokens");
        f.rows[r] = t->data;
        f.lengths[r] = t->dims[0];
    }
    return f;
}

static void end(fixture *f)
{
    sg_safetensors_close(f->golden);
    sg_model_close(f->m);
}

static sg_glass *glass_of(const fixture *f, sg_dim capacity)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_error err;
    sg_glass *glass;

    opts.capacity = capacity;
    CHECK_OK(sg_glass_new(&glass, f->m, opts, &err), &err);
    return glass;
}

static sg_value *value_of(sg_glass *glass, const char *name)
{
    sg_error err;
    sg_value *v;

    CHECK_OK(sg_glass_find(glass, name, &v, &err), &err);
    return v;
}

/* Numbers of the reference at [first, first + n) of a value, which has them at `got`. */
static void compare(const char *folder, const char *name, const sg_tensor *got, sg_dim from, const sg_tensor *want,
                    sg_dim first, sg_dim n, double abs_tol, double rel_tol, double *worst)
{
    for (sg_dim i = 0; i < n; i++) {
        const double g = sg_tensor_get(got, from + i), w = sg_tensor_get(want, first + i);
        if (g != w)
            *worst = fmax(*worst, fabs(g - w) / (1 + fabs(w)));
        if (!(g == w || fabs(g - w) <= abs_tol + rel_tol * fabs(w)))
            print_error("%s: %s at %lld: ", folder, name, (long long)i);
        CHECK_NEAR(g, w, abs_tol, rel_tol);
    }
}

/* Sites of the reference are floats, which differ from its doubles by 6e-8 of them. In f32 sums of some 30 terms are off by as
 * much as their largest terms are worth, which two or three layers deep is some 1e-5. */
static void every_site_is_the_reference_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 0; wide < 2; wide++) {
            const char *folder = families[i].folder;
            fixture f = begin(folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *fetches[MOST_SITES];
            sg_tensor out[MOST_SITES];
            int at[MOST_SITES], n = 0;
            sg_error err;
            double worst = 0;

            CHECK(strcmp(sg_model_get_info(f.m)->family, families[i].family) == 0);
            CHECK(sg_model_warning(f.m, 0) == NULL || strcmp(families[i].family, "gptj") == 0); /* "rotary": true */
            for (int k = 0; k < sg_safetensors_count(f.golden); k++) {
                const char *name = sg_safetensors_name(f.golden, k);
                if (strstr(name, "tokens") || strncmp(name, "second.", 7) == 0 || strchr(name, ' '))
                    continue;
                CHECK(n < MOST_SITES);
                fetches[n] = value_of(glass, name);
                at[n++] = k;
            }
            CHECK(n >= 2 * 15 && n > families[i].n_sites);
            const sg_rows rows = {.n_rows = 1, .tokens = f.rows, .lengths = f.lengths};
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, n, fetches, out, &err), &err);
            for (int k = 0; k < n; k++) {
                const sg_tensor *want = sg_safetensors_at(f.golden, at[k]);
                const double tol = !wide ? 3e-5 : want->dtype == SG_F64 ? 1e-12 : 2e-7;
                CHECK(sg_tensor_count(&out[k]) == sg_tensor_count(want));
                compare(folder, sg_safetensors_name(f.golden, at[k]), &out[k], 0, want, 0, sg_tensor_count(want), tol, tol,
                        &worst);
            }
            print_message("%s in %s: %d values, at most %.1e off\n", folder, wide ? "f64" : "f32", n, worst);
            sg_glass_free(glass);
            end(&f);
        }
}

static void through_the_cache_it_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        fixture f = begin(families[i].folder, SG_F64);
        sg_glass *glass = glass_of(&f, 16);
        sg_value *logits = value_of(glass, "logits");
        const sg_tensor *want[2] = {sg_safetensors_find(f.golden, "logits"), sg_safetensors_find(f.golden, "second.logits")};
        const sg_dim vocab = sg_model_get_info(f.m)->n_vocab;
        sg_error err;
        sg_tensor out;
        double worst = 0;

        for (int r = 0; r < 2; r++) {
            const bool changes = r == 0 && strcmp(families[i].family, "phi3") == 0;
            sg_glass_forget(glass);
            for (sg_dim done = 0, n; done < f.lengths[r]; done += n) {
                n = changes ? f.lengths[r] : done == 0 ? 3 : 1; /* phi3's angles change at 5 tokens */
                const int32_t *piece = f.rows[r] + done;
                const sg_rows rows = {.n_rows = 1, .tokens = &piece, .lengths = &n};
                CHECK_OK(sg_glass_extend(glass, &rows, 1, &logits, &out, &err), &err);
                compare(families[i].folder, "logits", &out, 0, want[r], done * vocab, n * vocab, 1e-12, 1e-12, &worst);
            }
        }
        sg_glass_free(glass);
        end(&f);
    }
}

/* Two texts of different lengths in one batch, filled up on either side. */
static void padding_does_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int left = 0; left < 2; left++) {
            fixture f = begin(families[i].folder, SG_F64);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *logits = value_of(glass, "logits");
            const sg_rows rows = {.n_rows = 2, .tokens = f.rows, .lengths = f.lengths, .pad_left = left, .time = 9};
            const sg_dim vocab = sg_model_get_info(f.m)->n_vocab;
            sg_error err;
            sg_tensor out;
            double worst = 0;

            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
            for (int r = 0; r < 2; r++)
                compare(families[i].folder, "logits", &out, (r * 9 + (left ? 9 - f.lengths[r] : 0)) * vocab,
                        sg_safetensors_find(f.golden, r ? "second.logits" : "logits"), 0, f.lengths[r] * vocab, 1e-12, 1e-12,
                        &worst);
            sg_glass_free(glass);
            end(&f);
        }
}

static void the_gradient_of_the_loss_is_the_reference_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 0; wide < 2; wide++) {
            fixture f = begin(families[i].folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *loss = value_of(glass, "loss");
            sg_value *fetches[2] = {loss, sg_grad(sg_glass_graph(glass), loss, value_of(glass, "hook_embed"))};
            const sg_rows rows = {.n_rows = 1, .tokens = f.rows, .lengths = f.lengths};
            const sg_tensor *want = sg_safetensors_find(f.golden, "loss by hook_embed");
            const double tol = wide ? 1e-12 : 3e-5;
            sg_error err;
            sg_tensor out[2];
            double worst = 0;

            CHECK_OK(sg_graph_status(sg_glass_graph(glass), &err), &err);
            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 2, fetches, out, &err), &err);
            CHECK_NEAR(sg_tensor_get(&out[0], 0), sg_tensor_get(sg_safetensors_find(f.golden, "loss"), 0), tol, tol);
            CHECK(sg_tensor_count(want) == sg_tensor_count(&out[1]));
            compare(families[i].folder, "d loss / d hook_embed", &out[1], 0, want, 0, sg_tensor_count(want), tol, tol, &worst);
            sg_glass_free(glass);
            end(&f);
        }
}

/* Nobody looks at the pattern, so attention is one step; in double it never is. */
static void long_texts_in_one_step_are_the_same(void **state)
{
    (void)state;
    static double wanted[LONG * 64];
    int32_t ids[LONG];
    const int32_t *row = ids;
    sg_error err;

    for (int t = 0; t < LONG; t++)
        ids[t] = (t * t + 3 * t) % 43;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        for (int wide = 1; wide >= 0; wide--) {
            fixture f = begin(families[i].folder, wide ? SG_F64 : SG_F32);
            sg_glass *glass = glass_of(&f, 0);
            sg_value *logits = value_of(glass, "logits");
            const sg_dim n = SG_MIN((sg_dim)LONG, sg_model_get_info(f.m)->n_context);
            const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
            sg_tensor out;
            int n_fused = 0;

            CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &out, &err), &err);
            const sg_plan *plan = sg_session_plan(sg_glass_session(glass));
            for (int s = 0; s < sg_plan_n_steps(plan); s++)
                n_fused += strcmp(sg_plan_step_op(plan, s), "attention") == 0;
            if (!wide)
                CHECK(n_fused == (int)sg_model_get_info(f.m)->n_layers);
            for (sg_dim k = 0; k < sg_tensor_count(&out); k++)
                if (wide)
                    wanted[k] = sg_tensor_get(&out, k);
                else
                    CHECK_NEAR(sg_tensor_get(&out, k), wanted[k], 2e-4, 2e-4);
            sg_glass_free(glass);
            end(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_site_is_the_reference_s),
        cmocka_unit_test(through_the_cache_it_is_the_same),
        cmocka_unit_test(padding_does_not_show),
        cmocka_unit_test(the_gradient_of_the_loss_is_the_reference_s),
        cmocka_unit_test(long_texts_in_one_step_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
