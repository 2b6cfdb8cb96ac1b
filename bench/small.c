/* Rows of small things, where what counts is what a node, a step or a start costs beyond the arithmetic. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/train.h"
#include "sightglass/world.h"

#define ADDS    1000
#define REPEATS 200
#define STEPS   1000
#define ROWS    10
#define TOKENS  256
#define GAMES   20000
#define MOVES   60

/* ---- what a node costs: a chain of scalar additions, the best of some runs ---- */

typedef struct chain {
    sg_graph *g;
    sg_value *x, *y;
    sg_session *s;
    float one;
} chain;

static void close_chain(void *self)
{
    chain *c = self;
    if (!c)
        return;
    sg_session_free(c->s);
    sg_graph_free(c->g);
    free(c);
}

static sg_status open_chain(void **self, bench *b, const bench_row *row, sg_error *err)
{
    chain *c = *self = calloc(1, sizeof *c);
    (void)b, (void)row;
    if (!c || !(c->g = sg_graph_new()))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    c->one = 1;
    c->x = c->y = sg_input(c->g, "x", SG_F32, 0, NULL);
    for (int i = 0; i < ADDS; i++)
        c->y = sg_add(c->g, c->y, c->x);
    return sg_session_new(&c->s, c->g, NULL, sg_exec_defaults(), err);
}

static sg_status run_chain(void *self, double *seconds, sg_error *err)
{
    chain *c = self;
    const sg_feed feed = {c->x, sg_tensor_of(SG_F32, 0, NULL, &c->one)};
    sg_tensor out;

    *seconds = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        const double start = sg_now();
        SG_TRY(sg_session_run(c->s, 1, &feed, 1, &c->y, &out, err));
        *seconds = SG_MIN(*seconds, (sg_now() - start) / ADDS);
    }
    return SG_OK;
}

/* ---- what a step costs: 2-4-2-1, tanh between, mean squared error, plain descent ---- */

typedef struct mlp {
    sg_graph *g;
    sg_state *state;
    sg_train *train;
} mlp;

static void close_mlp(void *self)
{
    mlp *m = self;
    if (!m)
        return;
    sg_train_free(m->train);
    sg_state_free(m->state);
    sg_graph_free(m->g);
    free(m);
}

static sg_status open_mlp(void **self, bench *b, const bench_row *row, sg_error *err)
{
    static const sg_dim widths[] = {2, 4, 2, 1};
    mlp *m = *self = calloc(1, sizeof *m);
    sg_value *params[6], *updates[6];
    float x[ROWS * 2], y[ROWS];
    int n = 0;

    (void)b, (void)row;
    if (!m || !(m->g = sg_graph_new()))
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    sg_rng rng = sg_rng_new(0, 0);
    for (int i = 0; i < ROWS * 2; i++)
        x[i] = (float)sg_rng_normal(&rng);
    for (int i = 0; i < ROWS; i++)
        y[i] = (float)sg_rng_normal(&rng);
    const sg_tensor given = sg_tensor_of(SG_F32, 2, (sg_dim[]){ROWS, 2}, x);
    const sg_tensor wanted = sg_tensor_of(SG_F32, 2, (sg_dim[]){ROWS, 1}, y);
    sg_graph *g = m->g;
    sg_value *h = sg_const(g, &given), *step = sg_input(g, "step", SG_I32, 0, NULL);
    sg_value *lr = sg_input(g, "lr", SG_F32, 0, NULL);
    for (int layer = 0; layer < 3; layer++) {
        const sg_dim in = widths[layer], out = widths[layer + 1];
        char name[16];
        snprintf(name, sizeof name, "w%d", layer);
        sg_value *w = params[n++] = sg_variable(g, name, SG_F32, 2, (sg_dim[]){out, in}, sg_init_normal(0.5));
        snprintf(name, sizeof name, "b%d", layer);
        sg_value *bias = params[n++] = sg_variable(g, name, SG_F32, 1, &out, sg_init_constant(0));
        h = sg_linear(g, h, w, bias);
        h = layer < 2 ? sg_tanh(g, h) : h;
    }
    sg_value *loss = sg_mean_all(g, sg_square(g, sg_sub(g, h, sg_const(g, &wanted))));
    sg_gradients(g, loss, NULL, n, params, updates);
    for (int i = 0; i < n; i++)
        updates[i] = sg_sgd(g, params[i], updates[i], lr);
    SG_TRY(sg_graph_status(g, err));
    SG_TRY(sg_state_new(&m->state, g, err));
    SG_TRY(sg_state_init(m->state, 1, err));
    const sg_train_graph what = {.step = step, .lr = lr, .loss = loss, .n_updates = n, .updates = updates};
    sg_train_opts opts = sg_train_defaults();
    opts.lr = 0.03;
    return sg_train_new(&m->train, g, m->state, what, opts, err);
}

static sg_status run_mlp(void *self, double *seconds, sg_error *err)
{
    mlp *m = self;
    const double start = sg_now();

    SG_TRY(sg_train_run(m->train, STEPS, err));
    *seconds = (sg_now() - start) / STEPS;
    return SG_OK;
}

/* ---- a small model, one thread: from opening it to its first token, and the tokens after it ---- */

typedef struct stories {
    const char *dir;
    bool first; /* which of the two is asked */
} stories;

static sg_status open_stories(void **self, bench *b, const bench_row *row, sg_error *err)
{
    const char *given = getenv("MODEL");
    const char *dir = given && given[0] ? given : "../shared/models/stories260K";
    char path[4096];

    (void)b;
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *there = fopen(path, "rb");
    if (!there)
        return sg_fail(err, SG_EUNSUPPORTED, "no model at %s: give one as MODEL=folder", dir);
    fclose(there);
    stories *s = *self = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for a row");
    *s = (stories){dir, row->shape != NULL};
    return SG_OK;
}

static sg_status write_on(const stories *s, sg_glass *glass, sg_dim n, double *first, double *last, sg_error *err)
{
    int32_t id = 1;
    const int32_t *ids = &id;
    const sg_dim one = 1;
    const sg_rows rows = {.n_rows = 1, .tokens = &ids, .lengths = &one};
    sg_value *logits;
    sg_tensor out;

    SG_TRY(sg_glass_find(glass, "logits", &logits, err));
    for (sg_dim i = 0; i < (s->first ? 1 : n); i++) {
        SG_TRY(sg_glass_extend(glass, &rows, 1, &logits, &out, err));
        const float *x = out.data;
        id = 0;
        for (sg_dim v = 1; v < sg_tensor_count(&out); v++)
            id = x[v] > x[id] ? (int32_t)v : id;
        if (i == 0)
            *first = sg_now();
    }
    *last = sg_now();
    return SG_OK;
}

static sg_status run_stories(void *self, double *seconds, sg_error *err)
{
    const stories *s = self;
    sg_model *m = NULL;
    sg_glass *glass = NULL;
    sg_glass_opts opts = sg_glass_defaults();
    double first = 0, last = 0;
    const double start = sg_now();

    opts.exec.n_threads = 1;
    SG_TRY(sg_model_open(&m, s->dir, sg_model_defaults(), err));
    opts.capacity = SG_MIN(sg_model_get_info(m)->n_context, TOKENS);
    sg_status status = sg_glass_new(&glass, m, opts, err);
    if (status == SG_OK)
        status = write_on(s, glass, opts.capacity, &first, &last, err);
    *seconds = s->first ? first - start : (last - first) / (double)(opts.capacity - 1);
    sg_glass_free(glass);
    sg_model_close(m);
    return status;
}

/* ---- games of a world, on one core: what training has to be fed ---- */

static sg_status open_games(void **self, bench *b, const bench_row *row, sg_error *err)
{
    (void)b, (void)row;
    *self = malloc(GAMES * MOVES * (sizeof(int32_t) + 1));
    return *self ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a row");
}

static sg_status run_games(void *self, double *seconds, sg_error *err)
{
    const sg_world *world = sg_world_find("othello", err);
    const double size8 = 2; /* the third choice */
    const double start = sg_now();
    if (!world)
        return err->status;
    world->tokens(self, (uint8_t *)self + GAMES * MOVES * sizeof(int32_t), &size8, GAMES, (sg_origin){.seed = 1});
    *seconds = (sg_now() - start) / GAMES;
    return SG_OK;
}

/* ---- the rows ---- */

static const bool yes = true;

const bench_row bench_small_rows[] = {
    {"mlp_tiny", .unit = "us", .scale = 1e6, .open = open_mlp, .run = run_mlp, .close = close_mlp, .peer = true},
    {"stories_decode", .unit = "tokens/s", .scale = 1, .rate = true, .open = open_stories, .run = run_stories,
     .close = free},
    {"open_to_first_token", .unit = "ms", .scale = 1e3, .open = open_stories, .run = run_stories, .close = free,
     .shape = &yes},
    {"othello_games", .unit = "games/s", .scale = 1, .rate = true, .open = open_games, .run = run_games, .close = free},
    {"node_overhead", .unit = "ns", .scale = 1e9, .open = open_chain, .run = run_chain, .close = close_chain},
};
const int bench_n_small_rows = (int)SG_COUNT_OF(bench_small_rows);
