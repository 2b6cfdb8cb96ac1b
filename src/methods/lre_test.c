/* Where a map is affine by construction the embedding is exact; an inverse reaches what it is to reach; an edit is the
 * delta, added. */
#include "sightglass/lre.h"

#include "base/base.h"
#include "check.h"
#include "folder.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"

enum { N_TOKENS = 6, SUBJECT = 2, N_SUBJECTS = 8 };

/* A llama whose queries are zero: every position looks at all before it alike, so that what attention writes is linear
 * in the values. */
static sg_model *open_uniform(const char *dir)
{
    char path[1024], from[1024];
    sg_safetensors *st;
    sg_named_tensor list[64];
    sg_error err;
    sg_model *m;
    int n = 0;
    snprintf(from, sizeof from, "%s/test/data/families/llama/model.safetensors", SG_SOURCE_DIR);
    CHECK_OK(sg_safetensors_open(&st, from, &err), &err);
    for (; n < sg_safetensors_count(st); n++) {
        CHECK(n < 64);
        list[n] = (sg_named_tensor){sg_safetensors_name(st, n), *sg_safetensors_at(st, n)};
        if (strstr(list[n].name, "q_proj"))
            list[n].tensor.data = calloc(1, sg_tensor_bytes(&list[n].tensor));
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    CHECK_OK(sg_safetensors_save(path, list, n, NULL, 0, &err), &err);
    for (int i = 0; i < n; i++)
        if (strstr(list[i].name, "q_proj"))
            free(list[i].tensor.data);
    sg_safetensors_close(st);
    snprintf(path, sizeof path, "cp %s/test/data/families/llama/config.json %s/", SG_SOURCE_DIR, dir);
    CHECK(system(path) == 0);
    CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
    return m;
}

/* Prompts that differ in their subject alone. */
static sg_prompts *make_prompts(int first, int n)
{
    sg_prompts *p;
    sg_error err;
    CHECK_OK(sg_prompts_new(&p, &err), &err);
    for (int i = 0; i < n; i++) {
        const int32_t tokens[N_TOKENS] = {4, 9, 10 + first + i, 3, 7, 5};
        CHECK_OK(sg_prompts_add(p, &(sg_fact_prompt){tokens, N_TOKENS, SUBJECT, 1}, &err), &err);
    }
    return p;
}

static void of_an_affine_map_it_is_exact_for_every_n(void **state)
{
    (void)state;
    static const char *const site = "blocks.0.attn.hook_v";
    char dir[] = "/tmp/sg-lre-XXXXXX";
    CHECK(mkdtemp(dir));
    sg_model *m = open_uniform(dir);
    sg_error err;
    sg_lre_opts opts = sg_lre_defaults();
    opts.n_sites = 1;
    opts.sites = &site;
    opts.target = "blocks.0.hook_resid_mid";
    sg_prompts *tests = make_prompts(6, N_SUBJECTS);
    sg_lre_states *states;
    CHECK_OK(sg_lre_states_new(&states, m, tests->n, tests->at, true, opts, &err), &err);
    for (int n = 1; n <= 5; n++) {
        sg_prompts *train = make_prompts(0, n);
        sg_lre *lre;
        CHECK_OK(sg_lre_fit(&lre, m, train, opts, &err), &err);
        float *o = malloc((size_t)(N_SUBJECTS * lre->d_o) * sizeof *o);
        CHECK(o);
        CHECK_OK(sg_lre_apply(o, lre, 0, 1, N_SUBJECTS, states->s[0], &err), &err);
        for (sg_dim i = 0; i < N_SUBJECTS * lre->d_o; i++)
            CHECK_NEAR(o[i], states->o[i], 1e-5, 1e-5);
        /* What lies below was run once for each prompt, and rows only behind the subject. */
        CHECK(lre->cost.n_prompts == n && lre->cost.n_steps_below == 0 &&
              lre->cost.n_positions == lre->cost.n_rows * (N_TOKENS - SUBJECT));
        free(o);
        sg_lre_free(lre);
        sg_prompts_free(train);
    }
    sg_lre_states_free(states);
    sg_prompts_free(tests);
    sg_model_close(m);
    sg_test_remove_all(dir);
}

/* A d x d map with singular values between about .5 and 2, as a file. */
static void save_square(const char *path, sg_dim d, const char *site, const char *beta)
{
    float *w = malloc((size_t)(d * d) * sizeof *w), *b = malloc((size_t)d * sizeof *b);
    sg_rng g = sg_rng_new(3, 0);
    sg_error err;
    CHECK(w && b);
    for (sg_dim i = 0; i < d * d; i++)
        w[i] = (float)((i / d == i % d) + .3 / sqrt((double)d) * sg_rng_normal(&g));
    for (sg_dim i = 0; i < d; i++)
        b[i] = (float)sg_rng_normal(&g);
    const sg_named_tensor list[2] = {{"w", sg_tensor_of(SG_F32, 2, (sg_dim[]){d, d}, w)},
                                     {"b", sg_tensor_of(SG_F32, 1, &d, b)}};
    const sg_pair about[3] = {{"site", site}, {"target", "blocks.1.hook_resid_post"}, {"beta", beta}};
    CHECK_OK(sg_safetensors_save(path, list, 2, about, 3, &err), &err);
    free(w);
    free(b);
}

static void an_edit_of_full_rank_reaches_the_other_object(void **state)
{
    (void)state;
    enum { D = 24 };
    char dir[] = "/tmp/sg-lre-XXXXXX", path[64];
    CHECK(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/map.safetensors", dir);
    save_square(path, D, "blocks.0.hook_resid_post", "1.5");
    sg_lre *lre;
    sg_lre_inverse *v;
    sg_error err;
    double beta;
    CHECK_OK(sg_lre_open(&lre, &beta, path, &err), &err);
    CHECK(beta == 1.5 && lre->d_o == D && lre->width[0] == D);
    CHECK_OK(sg_lre_inverse_new(&v, lre, 0, &err), &err);
    CHECK(sg_lre_inverse_most(v) == D);
    float s[D], o[D], to[D], delta[D], reached[D], value[D];
    sg_rng g = sg_rng_new(8, 0);
    for (int i = 0; i < D; i++) {
        s[i] = (float)sg_rng_normal(&g);
        to[i] = (float)sg_rng_normal(&g);
    }
    CHECK_OK(sg_lre_apply(o, lre, 0, 1, 1, s, &err), &err);
    CHECK_OK(sg_lre_delta(delta, v, D, 1, o, to, &err), &err);
    for (int i = 0; i < D; i++)
        s[i] += delta[i];
    CHECK_OK(sg_lre_apply(reached, lre, 0, 1, 1, s, &err), &err);
    for (int i = 0; i < D; i++)
        CHECK_NEAR(reached[i], to[i], 1e-4, 0);
    /* Half the rank does not. */
    double off = 0;
    float half[D];
    CHECK_OK(sg_lre_delta(half, v, D / 2, 1, o, to, &err), &err);
    for (int i = 0; i < D; i++)
        off += fabs((double)half[i] - (double)delta[i]);
    CHECK(off > 1);
    sg_edit e;
    sg_span place;
    CHECK_OK(sg_lre_edit(&e, value, &place, lre, 0, v, D, o, to, 5, &err), &err);
    CHECK(e.op == SG_EDIT_ADD && strcmp(e.site, "blocks.0.hook_resid_post") == 0 && place.first == 5 &&
          place.last == 5);
    CHECK(memcmp(value, delta, sizeof delta) == 0 && e.strength == 1);
    /* Saved and opened it is the same map. */
    CHECK_OK(sg_lre_save(lre, 0, 1.5, path, &err), &err);
    sg_lre *again;
    CHECK_OK(sg_lre_open(&again, &beta, path, &err), &err);
    CHECK(memcmp(again->w[0], lre->w[0], D * D * sizeof(float)) == 0 &&
          memcmp(again->b[0], lre->b[0], D * sizeof(float)) == 0);
    save_square(path, D, "blocks.0.hook_resid_post", "much");
    sg_lre *none;
    CHECK_STATUS(sg_lre_open(&none, &beta, path, &err), SG_EFORMAT);
    sg_lre_free(again);
    sg_lre_free(lre);
    sg_lre_inverse_free(v);
    sg_test_remove_all(dir);
}

/* ---- on a model whose relation is planted: the object is what a table says, read by the model itself ---- */

static sg_status planted_prompt(void *self, sg_prompts *to, int n_shots, const int *shots, int sample, sg_error *err)
{
    const int32_t *object = self;
    int32_t tokens[40];
    sg_dim n = 0;
    for (int i = 0; i < n_shots; i++) {
        tokens[n++] = 10 + shots[i];
        tokens[n++] = object[shots[i]];
    }
    tokens[n++] = 10 + sample;
    tokens[n++] = 3;
    return sg_prompts_add(to, &(sg_fact_prompt){tokens, n, n - 2, object[sample]}, err);
}

/* Objects are whatever a random model says behind one prompt, so some are known and some are not; the counts are
 * recounted here. */
static void what_is_known_is_what_the_model_says(void **state)
{
    (void)state;
    enum { SAMPLES = 20 };
    static const char *const site = "blocks.0.hook_resid_post";
    char dir[1024];
    int32_t object[SAMPLES];
    sg_model *m;
    sg_error err;
    snprintf(dir, sizeof dir, "%s/test/data/families/llama", SG_SOURCE_DIR);
    CHECK_OK(sg_model_open(&m, dir, sg_model_defaults(), &err), &err);
    sg_lre_opts opts = sg_lre_defaults();
    opts.n_sites = 1;
    opts.sites = &site;
    opts.n = 3;
    opts.n_tests = 12;
    opts.batch = 5;
    for (int i = 0; i < SAMPLES; i++) { /* half of them as the model has it without shots */
        const int32_t tokens[2] = {10 + i, 3};
        const sg_fact_prompt p = {tokens, 2, 0, 0};
        sg_lre_states *one;
        CHECK_OK(sg_lre_states_new(&one, m, 1, &p, false, opts, &err), &err);
        object[i] = one->top[0];
        sg_lre_states_free(one);
    }
    sg_lre_data *d;
    const sg_lre_source source = {SAMPLES, planted_prompt, object};
    CHECK_OK(sg_lre_data_new(&d, m, &source, opts, &err), &err);
    CHECK(d->train->n == 3 && d->n_tests == 12 && d->tests->n == 12);
    int known = 0;
    for (int i = 0; i < d->n_tests; i++) {
        const sg_fact_prompt *p = &d->tests->at[i];
        CHECK(p->n == 2 * 2 + 2 && p->tokens[p->subject] == 10 + d->test_samples[i]);
        for (int k = 0; k < 3; k++)
            CHECK(d->train_samples[k] != d->test_samples[i]);
        known += d->states->top[i] == object[d->test_samples[i]];
        CHECK(d->known[i] == (d->states->top[i] == object[d->test_samples[i]]));
        CHECK((d->states->p[i] > 0) && d->states->p[i] <= 1);
    }
    CHECK(known == d->n_known);
    for (int k = 0; k < 3; k++) /* a prompt that is fitted leaves its own sample out */
        for (int t = 0; t < (int)d->train->at[k].n - 2; t += 2)
            CHECK(d->train->at[k].tokens[t] != 10 + d->train_samples[k]);

    sg_lre *lre;
    sg_lre_reader *r;
    sg_lre_score score;
    CHECK_OK(sg_lre_fit(&lre, m, d->train, opts, &err), &err);
    CHECK_OK(sg_lre_reader_new(&r, m, NULL, sg_exec_defaults(), &err), &err);
    /* The reader reads o as the model does. */
    int32_t top[12], rank[12];
    CHECK_OK(sg_lre_read(r, 12, d->states->o, top, d->states->top, rank, &err), &err);
    for (int i = 0; i < 12; i++)
        CHECK(top[i] == d->states->top[i] && rank[i] == 0);
    CHECK_OK(sg_lre_score_of(&score, r, lre, 0, 1, d, NULL, 0, &err), &err);
    CHECK(score.n_known == d->n_known && score.n_total == 12 && score.faithful_all[SG_LRE_MAP].n == 12);
    CHECK(score.faithful[SG_LRE_OTHER].n == 0 && isnan(score.faithful[SG_LRE_OTHER].value));
    CHECK_OK(sg_lre_score_of(&score, r, lre, 0, 1, d, lre, 0, &err), &err);
    CHECK(score.faithful_all[SG_LRE_OTHER].value == score.faithful_all[SG_LRE_MAP].value);
    /* The lens has, in the map's own layer at the subject, what the score counted. */
    float *o = malloc((size_t)(12 * lre->d_o) * sizeof *o);
    CHECK(o);
    CHECK_OK(sg_lre_apply(o, lre, 0, 1, 12, d->states->s[0], &err), &err);
    CHECK_OK(sg_lre_read(r, 12, o, top, NULL, NULL, &err), &err);
    sg_lre_lens *lens;
    const sg_fact_prompt *p = &d->tests->at[0];
    CHECK_OK(sg_lre_lens_new(&lens, m, r, lre, 0, 1, p->tokens, p->n, top[0], sg_exec_defaults(), &err), &err);
    CHECK(lens->n_tokens == p->n && lens->n_layers == (int)sg_model_get_info(m)->n_layers + 1);
    CHECK(lens->top[p->n + p->subject] == top[0] && lens->rank[p->n + p->subject] == 0); /* behind block 0 */
    sg_lre_lens_free(lens);
    sg_lre_inverse *v;
    sg_lre_effect effect;
    CHECK_OK(sg_lre_inverse_new(&v, lre, 0, &err), &err);
    CHECK_OK(sg_lre_causes(&effect, m, r, lre, 0, v, 8, d, 0, 100, SG_LRE_ALL_CAUSES, opts, &err), &err);
    CHECK(effect.n <= d->n_known);
    sg_lre_inverse_free(v);
    free(o);
    sg_lre_reader_free(r);
    sg_lre_free(lre);
    sg_lre_data_free(d);
    opts.n = SAMPLES;
    CHECK_STATUS(sg_lre_data_new(&d, m, &source, opts, &err), SG_EARG);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_an_affine_map_it_is_exact_for_every_n),
        cmocka_unit_test(an_edit_of_full_rank_reaches_the_other_object),
        cmocka_unit_test(what_is_known_is_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
