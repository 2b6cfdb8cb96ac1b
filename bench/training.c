/* Rows that train: one step is forward, backward and the update, in one run. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "sightglass/rng.h"
#include "sightglass/safetensors.h"
#include "sightglass/train.h"

#define TIME     59
#define N_VOCAB  61
#define SAE_D    768
#define SAE_M    12288
#define SAE_ROWS 2048

typedef struct step {
    const bench_gpt *gpt;
    sg_dim batch;
    bool bf16;
} step;

typedef struct work {
    sg_model *model;
    sg_safetensors *file;
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value **params, **fetches; /* fetches: the updates, then the loss */
    sg_tensor *out;
    int n_params;
    sg_feed feeds[5];
    int n_feeds;
    int32_t now;
    float lr, losses[2]; /* of the first steps */
    int32_t *ids, *positions;
    uint8_t *mask;
    float *x;
} work;

static sg_session *session(void *self)
{
    work *w = self;
    return w->session;
}

/* The first loss tells of the forward pass, the second of the gradient and the update too. */
static const float *first_losses(void *self, sg_dim *n)
{
    const work *w = self;
    *n = 2;
    return w->losses;
}

static void close_work(void *self)
{
    work *w = self;
    if (!w)
        return;
    sg_session_free(w->session);
    sg_state_free(w->state);
    sg_graph_free(w->g);
    sg_safetensors_close(w->file);
    sg_model_close(w->model);
    free(w->params);
    free(w->fetches);
    free(w->out);
    free(w->ids);
    free(w->positions);
    free(w->mask);
    free(w->x);
    free(w);
}

static sg_status new_work(work **out, int n_params, sg_error *err)
{
    work *w = calloc(1, sizeof *w);
    *out = w;
    if (!w)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    const size_t n = (size_t)n_params + 1;
    w->lr = 1e-4f;
    w->params = calloc(n, sizeof(sg_value *));
    w->fetches = calloc(n, sizeof(sg_value *));
    w->out = calloc(n, sizeof *w->out);
    return w->params && w->fetches && w->out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a row");
}

/* Adds the update of the parameters, and makes state and session. */
static sg_status finish(work *w, sg_value *loss, double weight_decay, sg_exec_opts exec, sg_error *err)
{
    sg_adam_opts adam = sg_adam_defaults();
    sg_value *now = sg_input(w->g, "step", SG_I32, 0, NULL), *lr = sg_input(w->g, "lr", SG_F32, 0, NULL);

    adam.weight_decay = weight_decay;
    sg_train_adam(w->g, loss, w->n_params, w->params, lr, now, adam, w->fetches);
    w->fetches[w->n_params] = loss;
    w->feeds[w->n_feeds++] = (sg_feed){now, sg_tensor_of(SG_I32, 0, NULL, &w->now)};
    w->feeds[w->n_feeds++] = (sg_feed){lr, sg_tensor_of(SG_F32, 0, NULL, &w->lr)};
    SG_TRY(sg_graph_status(w->g, err));
    SG_TRY(sg_state_new(&w->state, w->g, err));
    SG_TRY(sg_state_init(w->state, 0, err));
    return sg_session_new(&w->session, w->g, w->state, exec, err);
}

static sg_status run(void *self, double *seconds, sg_error *err)
{
    work *w = self;
    const double start = sg_now();

    SG_TRY(sg_session_run(w->session, w->n_feeds, w->feeds, w->n_params + 1, w->fetches, w->out, err));
    *seconds = sg_now() - start;
    if (w->now < 2)
        w->losses[w->now] = (float)sg_tensor_get(&w->out[w->n_params], 0);
    w->now++;
    return SG_OK;
}

/* ---- a transformer ---- */

static sg_status data_of(work *w, sg_dim batch, sg_error *err)
{
    const sg_dim n = batch * TIME;
    const sg_dim dims[2] = {batch, TIME};

    w->ids = malloc((size_t)n * sizeof *w->ids);
    w->positions = malloc((size_t)n * sizeof *w->positions);
    w->mask = malloc((size_t)n);
    if (!w->ids || !w->positions || !w->mask)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    for (sg_dim i = 0; i < n; i++) {
        w->ids[i] = bench_token(i, N_VOCAB);
        w->positions[i] = (int32_t)(i % TIME);
        w->mask[i] = 1;
    }
    w->feeds[0] = (sg_feed){sg_graph_find(w->g, "tokens"), sg_tensor_of(SG_I32, 2, dims, w->ids)};
    w->feeds[1] = (sg_feed){sg_graph_find(w->g, "positions"), sg_tensor_of(SG_I32, 2, dims, w->positions)};
    w->feeds[2] = (sg_feed){sg_graph_find(w->g, "key_mask"), sg_tensor_of(SG_BOOL, 2, dims, w->mask)};
    w->n_feeds = 3;
    return SG_OK;
}

static sg_status open_gpt(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const step *shape = row->shape;
    char path[512], file[600];
    sg_safetensors *weights;
    work *w;
    sg_exec_opts exec = sg_exec_defaults();

    if (shape->bf16) {
#ifdef SG_EXEC_HAS_COMPUTE
        exec.compute = SG_BF16;
#else
        return sg_fail(err, SG_EUNSUPPORTED, "the engine computes in f32 only");
#endif
    }
    SG_TRY(bench_gpt_folder(b, shape->gpt, path, err));
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    SG_TRY(sg_safetensors_open(&weights, file, err));
    const int n = sg_safetensors_count(weights);
    const sg_status made = new_work(&w, n, err);
    *self = w;
    if (!w) {
        sg_safetensors_close(weights);
        return made;
    }
    w->file = weights;
    SG_TRY(made);
    SG_TRY(sg_model_open(&w->model, path, sg_model_defaults(), err));
    SG_TRY(sg_model_graph(&w->g, w->model, 0, 0, err));
    for (int i = 0; i < n; i++)
        if (!(w->params[w->n_params++] = sg_graph_find(w->g, sg_safetensors_name(weights, i))))
            return sg_fail(err, SG_EARG, "the graph has no %s", sg_safetensors_name(weights, i));
    SG_TRY(data_of(w, shape->batch, err));
    SG_TRY(finish(w, sg_graph_find(w->g, "loss"), 0.01, exec, err));
    for (int i = 0; i < n; i++) {
        const sg_tensor *t = sg_safetensors_at(weights, i);
        memcpy(sg_state_tensor(w->state, w->params[i])->data, t->data, sg_tensor_bytes(t));
    }
    return SG_OK;
}

/* ---- an autoencoder: |y - x|^2 + l |h|, h = relu(x W + b), y = h V + c ---- */

static sg_status open_sae(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const sg_dim d = SAE_D, m = SAE_M, n = SAE_ROWS;
    work *w;

    (void)b, (void)row;
    const sg_status made = new_work(&w, 4, err);
    *self = w;
    SG_TRY(made);
    sg_graph *g = w->g = sg_graph_new();
    w->x = malloc((size_t)(n * d) * sizeof *w->x);
    if (!g || !w->x)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    sg_rng rng = sg_rng_new(0, 0);
    for (sg_dim i = 0; i < n * d; i++)
        w->x[i] = (float)sg_rng_normal(&rng);
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){n, d});
    w->params[0] = sg_variable(g, "w_enc", SG_F32, 2, (sg_dim[]){d, m}, sg_init_normal(0.02));
    w->params[1] = sg_variable(g, "b_enc", SG_F32, 1, &m, sg_init_constant(0));
    w->params[2] = sg_variable(g, "w_dec", SG_F32, 2, (sg_dim[]){m, d}, sg_init_normal(0.02));
    w->params[3] = sg_variable(g, "b_dec", SG_F32, 1, &d, sg_init_constant(0));
    w->n_params = 4;
    sg_value *h = sg_relu(g, sg_add(g, sg_matmul(g, x, w->params[0], false, false), w->params[1]));
    sg_value *y = sg_add(g, sg_matmul(g, h, w->params[2], false, false), w->params[3]);
    sg_value *miss = sg_sum_all(g, sg_square(g, sg_sub(g, y, x))), *l1 = sg_sum_all(g, h); /* h >= 0 */
    sg_value *loss = sg_mul_scalar(g, sg_add(g, miss, sg_mul_scalar(g, l1, 1e-3)), 1.0 / SAE_ROWS);
    w->feeds[w->n_feeds++] = (sg_feed){x, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, d}, w->x)};
    return finish(w, loss, 0, sg_exec_defaults(), err);
}

/* ---- the rows ---- */

static const step f32_512 = {&bench_gpt_512, 128, false}, bf16_512 = {&bench_gpt_512, 128, true},
                  f32_128 = {&bench_gpt_128, 128, false}, othello = {&bench_gpt_othello, 64, true};

/* Backward takes two products for each of forward. */
#define STEP_FLOPS(batch, layers, d) (3.0 * BENCH_GPT_FLOPS(batch, TIME, layers, d, 4.0 * (d), N_VOCAB))
#define STEP                         .run = run, .close = close_work, .session = session, .peer = true
#define MS                           .unit = "ms", .scale = 1e3

const bench_row bench_training_rows[] = {
    {"train_512_f32", STEP, MS, .open = open_gpt, .shape = &f32_512, .work = STEP_FLOPS(128, 8, 512.0),
     .peak = BENCH_F32, .numbers = first_losses},
    {"train_512_bf16", STEP, MS, .open = open_gpt, .shape = &bf16_512, .work = STEP_FLOPS(128, 8, 512.0),
     .peak = BENCH_BF16, .numbers = first_losses},
    {"train_128_f32", STEP, MS, .open = open_gpt, .shape = &f32_128, .work = STEP_FLOPS(128, 4, 128.0),
     .peak = BENCH_F32, .numbers = first_losses},
    /* 64 games, of models/othello8 */
    {"train_othello", STEP, .unit = "games/s", .scale = 64, .rate = true, .open = open_gpt, .shape = &othello,
     .work = STEP_FLOPS(64, 8, 256.0), .peak = BENCH_BF16, .numbers = first_losses},
    /* five products: two forward, one to h, two to the weights */
    {"sae_f32", STEP, MS, .open = open_sae, .work = 5.0 * 2.0 * SAE_ROWS * SAE_D * SAE_M, .peak = BENCH_F32},
};
const int bench_n_training_rows = (int)SG_COUNT_OF(bench_training_rows);
