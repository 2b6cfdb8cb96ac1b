/* The lens and the attribution against what the weights say by hand, for a layer norm and for an RMS norm. */
#include "sightglass/lens.h"

#include <math.h>
#include <stdlib.h>

#include "base/base.h"
#include "check.h"
#include "sightglass/safetensors.h"

typedef struct subject {
    const char *folder, *gain, *bias, *unembed, *down; /* down: of the last block's MLP */
    bool in_out;                                       /* the matrix is stored [in,out] */
    double eps;
    int32_t tokens[6];
    sg_model *m;
    sg_safetensors *file;
    char path[1024];
} subject;

static subject othello = {.folder = "models/othello6",
                          .gain = "transformer.ln_f.weight",
                          .bias = "transformer.ln_f.bias",
                          .unembed = "lm_head.weight",
                          .in_out = true,
                          .eps = 1e-5,
                          .tokens = {9, 3, 2, 12, 20, 8}};
static subject stories = {.folder = "models/stories260K",
                          .gain = "model.norm.weight",
                          .unembed = "model.embed_tokens.weight",
                          .eps = 1e-5,
                          .tokens = {1, 403, 407, 261, 378, 400}};
enum { N = 6 };

static bool open_subject(subject *s)
{
    char path[1100];
    sg_error err;
    if (s == &othello)
        snprintf(s->path, sizeof s->path, "%s/%s", SG_SOURCE_DIR, s->folder);
    else if (!sg_test_shared(s->path, s->folder))
        return false;
    CHECK_OK(sg_model_open(&s->m, s->path, sg_model_defaults(), &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", s->path);
    CHECK_OK(sg_safetensors_open(&s->file, path, &err), &err);
    return true;
}

static void close_subject(subject *s)
{
    sg_model_close(s->m);
    sg_safetensors_close(s->file);
}

static double weight(const subject *s, const char *name, sg_dim i)
{
    const sg_tensor *t = sg_safetensors_find(s->file, name);
    CHECK(t);
    return sg_tensor_get(t, i);
}

/* All values of a name on the tokens, copied. */
static float *fetch(const subject *s, const char *name, sg_dim *n)
{
    sg_glass *glass;
    sg_value *v;
    sg_tensor got;
    sg_error err;
    const int32_t *row = s->tokens;
    const sg_dim length = N;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
    CHECK_OK(sg_glass_new(&glass, s->m, sg_glass_defaults(), &err), &err);
    CHECK_OK(sg_glass_find(glass, name, &v, &err), &err);
    CHECK_OK(sg_glass_run(glass, &rows, 0, NULL, 1, &v, &got, &err), &err);
    *n = sg_tensor_count(&got);
    float *out = malloc((size_t)*n * sizeof *out);
    CHECK(out);
    memcpy(out, got.data, (size_t)*n * sizeof *out);
    sg_glass_free(glass);
    return out;
}

/* Mean (0 for an RMS norm) and divisor of what the final norm divides. */
static void measure(const subject *s, const float *x, sg_dim d, double *mean, double *divisor)
{
    double square = 0;
    *mean = 0;
    for (sg_dim i = 0; i < d && s->bias; i++)
        *mean += (double)x[i] / (double)d;
    for (sg_dim i = 0; i < d; i++)
        square += ((double)x[i] - *mean) * ((double)x[i] - *mean) / (double)d;
    *divisor = sqrt(square + s->eps);
}

static double logit_of(const subject *s, const float *x, sg_dim d, int32_t token)
{
    double mean, divisor, y = 0;
    measure(s, x, d, &mean, &divisor);
    for (sg_dim i = 0; i < d; i++)
        y += (((double)x[i] - mean) / divisor * weight(s, s->gain, i) + (s->bias ? weight(s, s->bias, i) : 0)) *
             weight(s, s->unembed, token * d + i);
    return y;
}

static void reads_as_the_weights_say(subject *s)
{
    sg_lens *lens;
    sg_error err;
    const sg_model_info *info = sg_model_get_info(s->m);
    const sg_dim d = info->d_model, v = info->n_vocab;
    sg_lens_opts opts = sg_lens_defaults();
    opts.top = 5;
    opts.token = SG_LENS_NEXT;
    opts.first = 2;
    CHECK_OK(sg_lens_view(&lens, s->m, N, s->tokens, opts, &err), &err);
    CHECK(lens->n_rows == info->n_layers + 1 && lens->n == N - 2 && lens->first == 2 && lens->top == 5);
    CHECK(lens->token[0] == s->tokens[3]);
    for (int row = 0; row < lens->n_rows; row += lens->n_rows - 1) {
        char name[64];
        sg_dim n;
        snprintf(name, sizeof name, row ? "blocks.%d.hook_resid_post" : "blocks.%d.hook_resid_pre", row ? row - 1 : 0);
        float *streams = fetch(s, name, &n);
        double *logp = malloc((size_t)v * sizeof *logp);
        CHECK(logp && n == N * d);
        for (sg_dim t = 0; t < lens->n; t++) {
            const sg_lens_place *p = &lens->places[row * lens->n + t];
            double most = -HUGE_VAL, sum = 0, entropy = 0;
            sg_dim rank = 0;
            for (sg_dim i = 0; i < v; i++) {
                logp[i] = logit_of(s, streams + (t + 2) * d, d, (int32_t)i);
                most = fmax(most, logp[i]);
            }
            for (sg_dim i = 0; i < v; i++)
                sum += exp(logp[i] - most);
            for (sg_dim i = 0; i < v; i++)
                logp[i] -= most + log(sum);
            for (sg_dim i = 0; i < v; i++) {
                entropy -= exp(logp[i]) * logp[i];
                rank += logp[i] > logp[lens->token[t]] + 1e-5;
            }
            CHECK_NEAR(p->p, exp(logp[lens->token[t]]), 1e-4, 0);
            CHECK_NEAR(p->entropy, entropy, 2e-3, 0);
            CHECK(p->rank == rank);
            for (int k = 0; k < 5; k++) {
                CHECK_NEAR(p->top[k].p, exp(logp[p->top[k].token]), 1e-4, 0);
                CHECK(k == 0 || p->top[k].p <= p->top[k - 1].p);
            }
            CHECK_NEAR(p->top[0].p, exp(most - (most + log(sum))), 1e-4, 0);
            CHECK(row == 0 ? p->kl > 0 : p->kl < 1e-6);
        }
        free(logp);
        free(streams);
    }
    sg_lens_free(lens);
}

static void the_lens_reads_as_the_weights_say(void **state)
{
    (void)state;
    CHECK(open_subject(&othello));
    reads_as_the_weights_say(&othello);
    close_subject(&othello);
    if (!open_subject(&stories)) {
        print_message("skipped: models/stories260K is not here\n");
        return;
    }
    reads_as_the_weights_say(&stories);
    close_subject(&stories);
}

static void parts_are_what_they_wrote(subject *s, int32_t versus)
{
    sg_attribution *a;
    sg_error err;
    const sg_model_info *info = sg_model_get_info(s->m);
    const sg_dim d = info->d_model, v = info->n_vocab, at = 4;
    const int last = (int)info->n_layers - 1;
    sg_attribution_opts opts = sg_attribution_defaults();
    opts.position = at;
    opts.versus = versus;
    opts.neurons = (int)info->d_mlp * (last + 1);
    CHECK_OK(sg_attribution_view(&a, s->m, N, s->tokens, opts, &err), &err);
    CHECK(a->position == at && a->n_neurons == opts.neurons);

    /* The direction by hand, from the final norm's divisor, its gain and the unembedding. */
    char name[64];
    sg_dim n;
    double mean, divisor, direction[512], sum = 0, logit = 0, constant = 0;
    CHECK(d <= 512);
    snprintf(name, sizeof name, "blocks.%d.hook_resid_post", last);
    float *stream = fetch(s, name, &n);
    measure(s, stream + at * d, d, &mean, &divisor);
    for (sg_dim i = 0; i < d; i++) {
        double w = weight(s, s->unembed, a->token * d + i);
        for (sg_dim t = 0; t < v && versus < 0; t++)
            w -= weight(s, s->unembed, t * d + i) / (double)v;
        w -= versus >= 0 ? weight(s, s->unembed, versus * d + i) : 0;
        constant += s->bias ? w * weight(s, s->bias, i) : 0;
        direction[i] = w * weight(s, s->gain, i) / divisor;
        sum += direction[i] / (double)d;
    }
    for (sg_dim i = 0; i < d; i++) {
        direction[i] -= s->bias ? sum : 0;
        logit += direction[i] * (double)stream[at * d + i];
    }
    CHECK_NEAR(a->constant, constant, 1e-3, 0);
    CHECK_NEAR(a->logit, logit + constant, 2e-3, 0);
    CHECK(fabs(a->unexplained) < 2e-3);

    /* What the last MLP wrote, whole and by neuron; what the last attention wrote. */
    snprintf(name, sizeof name, "blocks.%d.hook_mlp_out", last);
    float *mlp = fetch(s, name, &n);
    snprintf(name, sizeof name, "blocks.%d.hook_attn_out", last);
    float *attention = fetch(s, name, &n);
    double by_hand[2] = {0, 0}, found[2] = {0, 0}, heads = 0;
    for (sg_dim i = 0; i < d; i++) {
        by_hand[0] += direction[i] * (double)mlp[at * d + i];
        by_hand[1] += direction[i] * (double)attention[at * d + i];
    }
    for (int i = 0; i < a->n; i++) {
        const sg_attributed *w = &a->parts[i];
        found[0] += w->layer == last && w->kind == SG_WROTE_MLP ? w->value : 0;
        found[1] += w->layer == last && (w->kind == SG_WROTE_HEAD || w->kind == SG_WROTE_ATTENTION) ? w->value : 0;
        heads += w->layer == last && w->kind == SG_WROTE_HEAD;
    }
    CHECK_NEAR(found[0], by_hand[0], 1e-3, 0);
    CHECK_NEAR(found[1], by_hand[1], 1e-3, 0);
    CHECK(heads == (double)info->n_heads);

    char down[80];
    snprintf(down, sizeof down,
             s->in_out ? "transformer.h.%d.mlp.c_proj.weight" : "model.layers.%d.mlp.down_proj.weight", last);
    snprintf(name, sizeof name, "blocks.%d.mlp.hook_post", last);
    float *post = fetch(s, name, &n);
    int seen = 0;
    for (int i = 0; i < a->n_neurons && seen < 5; i++) {
        const sg_attributed *w = &a->neurons[i];
        CHECK(i == 0 || fabs(w->value) <= fabs(a->neurons[i - 1].value));
        if (w->layer != last)
            continue;
        double y = 0;
        for (sg_dim k = 0; k < d; k++)
            y += direction[k] * weight(s, down, s->in_out ? w->index * d + k : k * info->d_mlp + w->index);
        CHECK_NEAR(w->activation, (double)post[at * info->d_mlp + w->index], 1e-4, 0);
        CHECK_NEAR(w->value, y * w->activation, 1e-3, 0);
        seen++;
    }
    CHECK(seen == 5);
    free(stream);
    free(mlp);
    free(attention);
    free(post);
    sg_attribution_free(a);
}

static void parts_are_what_they_wrote_along_the_logits_direction(void **state)
{
    (void)state;
    CHECK(open_subject(&othello));
    parts_are_what_they_wrote(&othello, SG_VERSUS_MEAN);
    close_subject(&othello);
    if (!open_subject(&stories)) {
        print_message("skipped: models/stories260K is not here\n");
        return;
    }
    parts_are_what_they_wrote(&stories, SG_VERSUS_MEAN);
    parts_are_what_they_wrote(&stories, 7);
    close_subject(&stories);
}

static void wrong_questions_are_refused(void **state)
{
    (void)state;
    sg_lens *lens;
    sg_attribution *a;
    sg_error err;
    CHECK(open_subject(&othello));
    sg_lens_opts opts = sg_lens_defaults();
    CHECK(sg_lens_view(&lens, othello.m, 0, othello.tokens, opts, &err) == SG_EARG);
    CHECK(sg_lens_view(&lens, othello.m, 4000, othello.tokens, opts, &err) == SG_EARG);
    opts.first = N;
    CHECK(sg_lens_view(&lens, othello.m, N, othello.tokens, opts, &err) == SG_EARG);
    opts.first = 0;
    opts.token = 30000;
    CHECK(sg_lens_view(&lens, othello.m, N, othello.tokens, opts, &err) == SG_EARG && strstr(err.text, "30000"));
    CHECK(sg_lens_view(&lens, othello.m, 1, &(int32_t){-5}, sg_lens_defaults(), &err) == SG_EARG);
    sg_attribution_opts of = sg_attribution_defaults();
    of.position = N;
    CHECK(sg_attribution_view(&a, othello.m, N, othello.tokens, of, &err) == SG_EARG);
    of = sg_attribution_defaults();
    of.token = of.versus = 5;
    CHECK(sg_attribution_view(&a, othello.m, N, othello.tokens, of, &err) == SG_EARG && strstr(err.text, "itself"));
    close_subject(&othello);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lens_reads_as_the_weights_say),
        cmocka_unit_test(parts_are_what_they_wrote_along_the_logits_direction),
        cmocka_unit_test(wrong_questions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
