/* Planted networks, of which it is known whether they hold a state and use it. Each is a graph: the state goes through
 * a random map into the site, and the output is made of products of pairs of state bits, which a linear probe of the
 * output cannot undo. The input shows each bit as the difference of two others, which a linear probe cannot read. */
#include "sightglass/worldmodel.h"

#include "check.h"
#include "faults.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"
#include "sightglass/safetensors.h"

enum { BITS = 6, WIDTH = 24, EPISODES = 300, EACH = 4, ROWS = EPISODES * EACH };

typedef enum planted_kind {
    USED,     /* the output is made of the site */
    SEPARATE, /* the output is made of a copy of the state that is not at the site */
    OPEN,     /* the input is the state */
    SHOWN,    /* the output is the state */
    NOISE     /* the site holds nothing */
} planted_kind;

typedef struct planted {
    planted_kind kind;
    sg_graph *g;
    sg_session *session;
    sg_value *bits, *noise, *shift, *site, *output;
    float *bit, *extra, *input; /* [ROWS,BITS] of +-1, [ROWS,WIDTH], [ROWS,2*BITS] */
    int32_t *state;
    sg_store_row *row;
    sg_worldmodel_network net;
    sg_worldmodel_effect effect;
} planted;

static sg_tensor rows_of(sg_dim n, sg_dim width, float *x)
{
    return sg_tensor_of(SG_F32, 2, (sg_dim[]){n, width}, x);
}

/* Runs the rows with a shift; fetches one value. */
static sg_status fetch(planted *p, sg_dim n, const sg_dim *rows, const float *shift, sg_value *what, float *out,
                       sg_error *err)
{
    float *bit = malloc((size_t)n * BITS * 4), *noise = malloc((size_t)n * WIDTH * 4),
          *by = calloc((size_t)n * WIDTH, 4);
    if (!bit || !noise || !by) {
        free(bit);
        free(noise);
        free(by);
        return sg_fail(err, SG_ENOMEM, "planted");
    }
    for (sg_dim i = 0; i < n; i++) {
        memcpy(bit + i * BITS, p->bit + (rows ? rows[i] : i) * BITS, BITS * 4);
        memcpy(noise + i * WIDTH, p->extra + (rows ? rows[i] : i) * WIDTH, WIDTH * 4);
    }
    if (shift)
        memcpy(by, shift, (size_t)n * WIDTH * 4);
    const sg_feed feeds[3] = {
        {p->bits, rows_of(n, BITS, bit)}, {p->noise, rows_of(n, WIDTH, noise)}, {p->shift, rows_of(n, WIDTH, by)}};
    sg_tensor got;
    const sg_status status = sg_session_run(p->session, 3, feeds, 1, &what, &got, err);
    if (status == SG_OK)
        memcpy(out, got.data, sg_tensor_bytes(&got));
    free(bit);
    free(noise);
    free(by);
    return status;
}

static sg_status read_planted(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err)
{
    planted *p = self;
    if (what == SG_READING_PLACES || what == SG_READING_EMBEDDING || what == SG_READING_LABEL)
        return SG_OK;
    const sg_dim n = p->net.n_rows;
    const sg_dim width = what == SG_READING_BAG ? 2 * BITS : what == SG_READING_OUTPUT ? BITS : WIDTH;
    float *x = malloc((size_t)(n * width) * sizeof *x);
    if (!x)
        return sg_fail(err, SG_ENOMEM, "planted");
    *out = rows_of(n, width, x);
    if (what == SG_READING_BAG) {
        memcpy(x, p->input, (size_t)(n * width) * sizeof *x);
    } else if (what == SG_READING_UNTRAINED) { /* a random map of the input */
        float map[2 * BITS * WIDTH];
        sg_rng r = sg_rng_new(77, (uint32_t)seed);
        for (int i = 0; i < 2 * BITS * WIDTH; i++)
            map[i] = (float)sg_rng_normal(&r);
        for (sg_dim i = 0; i < n; i++)
            for (int k = 0; k < WIDTH; k++) {
                float sum = 0;
                for (int j = 0; j < 2 * BITS; j++)
                    sum += p->input[i * 2 * BITS + j] * map[j * WIDTH + k];
                x[i * WIDTH + k] = tanhf(sum);
            }
    } else {
        return fetch(p, n, NULL, NULL, what == SG_READING_SITE ? p->site : p->output, x, err);
    }
    return SG_OK;
}

static sg_status run(void *self, sg_dim n, const sg_dim *rows, const float *shift, float *outputs, sg_error *err)
{
    planted *p = self;
    return fetch(p, n, rows, shift, p->output, outputs, err);
}

static bool choose(void *self, sg_worldmodel_edit *e, sg_rng *r)
{
    const planted *p = self;
    e->task = sg_rng_below(r, BITS);
    e->from = p->state[e->row * BITS + e->task];
    e->to = 1 - e->from;
    return true;
}

/* Outputs with the wrong sign, once the bit is turned. */
static double error(void *self, const sg_worldmodel_edit *e, const float *output)
{
    const planted *p = self;
    float bit[BITS];
    int wrong = 0;
    memcpy(bit, p->bit + e->row * BITS, sizeof bit);
    bit[e->task] = -bit[e->task];
    for (int k = 0; k < BITS; k++) {
        const float want = p->kind == SHOWN ? bit[k] : bit[k] * bit[(k + 1) % BITS];
        wrong += (output[k] > 0) != (want > 0);
    }
    return wrong;
}

static void build(planted *p, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 1);
    float map[BITS * WIDTH], back[BITS * WIDTH], turn[BITS * BITS] = {0};
    for (int i = 0; i < BITS * WIDTH; i++)
        map[i] = (float)sg_rng_normal(&r);
    for (int j = 0; j < BITS; j++) {
        float norm2 = 0;
        turn[(j + 1) % BITS * BITS + j] = 1;
        for (int k = 0; k < WIDTH; k++)
            norm2 += map[j * WIDTH + k] * map[j * WIDTH + k];
        for (int k = 0; k < WIDTH; k++)
            back[k * BITS + j] = map[j * WIDTH + k] / norm2;
    }
    sg_graph *g = p->g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch");
    p->bits = sg_input(g, "bits", SG_F32, 2, (sg_dim[]){batch, BITS});
    p->noise = sg_input(g, "noise", SG_F32, 2, (sg_dim[]){batch, WIDTH});
    p->shift = sg_input(g, "shift", SG_F32, 2, (sg_dim[]){batch, WIDTH});
    const sg_tensor in = rows_of(BITS, WIDTH, map), out = rows_of(WIDTH, BITS, back), next = rows_of(BITS, BITS, turn);
    sg_value *held = sg_matmul(g, p->bits, sg_const(g, &in), false, false);
    if (p->kind == NOISE)
        held = sg_zeros_like(g, held);
    p->site = sg_add(g, sg_add(g, held, p->noise), p->shift);
    sg_value *state = p->kind == SEPARATE || p->kind == NOISE
                          ? p->bits
                          : sg_tanh(g, sg_mul_scalar(g, sg_matmul(g, p->site, sg_const(g, &out), false, false), 3));
    p->output = p->kind == SHOWN ? state : sg_mul(g, state, sg_matmul(g, state, sg_const(g, &next), false, false));
    sg_error err;
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_session_new(&p->session, g, NULL, sg_exec_defaults(), &err), &err);
}

static planted *plant(planted_kind kind, uint64_t seed)
{
    planted *p = calloc(1, sizeof *p);
    sg_rng r = sg_rng_new(seed, 0);
    p->kind = kind;
    p->bit = malloc(ROWS * BITS * sizeof(float));
    p->extra = malloc(ROWS * WIDTH * sizeof(float));
    p->input = malloc(ROWS * 2 * BITS * sizeof(float));
    p->state = malloc(ROWS * BITS * sizeof(int32_t));
    p->row = malloc(ROWS * sizeof *p->row);
    for (int i = 0; i < ROWS; i++) {
        p->row[i] = (sg_store_row){i / EACH, i % EACH, 0};
        for (int k = 0; k < BITS; k++) {
            const int a = (int)sg_rng_below(&r, 2), b = (int)sg_rng_below(&r, 2), s = a ^ b;
            p->state[i * BITS + k] = s;
            p->bit[i * BITS + k] = s ? 1 : -1;
            p->input[(i * BITS + k) * 2] = (float)(kind == OPEN ? s : a);
            p->input[(i * BITS + k) * 2 + 1] = (float)b;
        }
        for (int k = 0; k < WIDTH; k++)
            p->extra[i * WIDTH + k] = (float)(1.2 * sg_rng_normal(&r));
    }
    build(p, seed);
    p->effect = (sg_worldmodel_effect){"wrong signs", p, choose, error};
    p->net = (sg_worldmodel_network){.site = "site",
                                     .name = "bits",
                                     .self = p,
                                     .n_rows = ROWS,
                                     .rows = p->row,
                                     .first_choose = ROWS * 3 / 5,
                                     .first_judge = ROWS * 3 / 4,
                                     .state = sg_tensor_of(SG_I32, 2, (sg_dim[]){ROWS, BITS}, p->state),
                                     .n_classes = 2,
                                     .trivial = -1,
                                     .n_outputs = BITS,
                                     .read = read_planted,
                                     .run = run,
                                     .effect = &p->effect};
    return p;
}

static void uproot(planted *p)
{
    sg_session_free(p->session);
    sg_graph_free(p->g);
    free(p->bit);
    free(p->extra);
    free(p->input);
    free(p->state);
    free(p->row);
    free(p);
}

static sg_worldmodel judge(planted *p)
{
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    sg_worldmodel found;
    sg_error err;
    opts.n_edits = 200;
    opts.n_resamples = 300;
    CHECK_OK(sg_worldmodel_judge(&found, &p->net, opts, &err), &err);
    return found;
}

static sg_worldmodel judge_kind(planted_kind kind, uint64_t seed)
{
    planted *p = plant(kind, seed);
    const sg_worldmodel found = judge(p);
    uproot(p);
    return found;
}

static void a_state_that_is_held_and_used_is_a_world_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        const sg_worldmodel f = judge_kind(USED, seed);
        CHECK(f.verdict == SG_WORLDMODEL_YES);
        CHECK(f.site_reads.rate.value > 0.95 && f.site_reads.rate.low <= f.site_reads.rate.value);
        CHECK_NEAR(f.input.rate.value, 0.5, 0.05, 0);
        CHECK_NEAR(f.output.rate.value, 0.5, 0.05, 0);
        CHECK(f.untrained.rate.value < 0.7 && f.untrained_seed[2].known);
        /* A turned bit turns two of the products: at best both come right. */
        CHECK_NEAR(f.used.before, 2, 0.5, 0);
        CHECK(f.used.after < 0.7 && f.used.effect.low > 1 && !(f.used.random.low > 0));
        CHECK(f.n_episodes[0] == 180 && f.n_episodes[1] == 45 && f.n_episodes[2] == 75);
        CHECK(f.site_reads.rate.n == 75 * EACH * BITS && f.used.effect.n == 200);
    }
}

static void a_state_of_which_the_output_has_another_copy_is_not_used(void **state)
{
    (void)state;
    const sg_worldmodel f = judge_kind(SEPARATE, 1);
    CHECK(f.verdict == SG_WORLDMODEL_NOT_USED);
    CHECK(f.site_reads.rate.value > 0.95);
    CHECK(f.used.effect.value == 0 && f.used.before == f.used.after);
}

static void a_state_that_the_input_shows_is_no_finding(void **state)
{
    (void)state;
    const sg_worldmodel f = judge_kind(OPEN, 1);
    CHECK(f.verdict == SG_WORLDMODEL_FROM_INPUT);
    CHECK(f.input.rate.value > 0.99 && f.best_input == SG_READING_BAG);
    CHECK(f.failed[SG_WORLDMODEL_FROM_INPUT] && !f.failed[SG_WORLDMODEL_NOT_USED]);
    CHECK(!f.reading[SG_READING_PLACES].known); /* what there is not is not counted */
}

static void a_state_that_the_output_shows_is_no_finding_unless_that_is_waived(void **state)
{
    (void)state;
    planted *p = plant(SHOWN, 1);
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    sg_worldmodel f;
    sg_error err;
    opts.n_edits = 200;
    opts.n_resamples = 300;
    CHECK_OK(sg_worldmodel_judge(&f, &p->net, opts, &err), &err);
    CHECK(f.verdict == SG_WORLDMODEL_FROM_OUTPUT && !f.output_allowed);
    opts.allow_output = true;
    CHECK_OK(sg_worldmodel_judge(&f, &p->net, opts, &err), &err);
    CHECK(f.verdict == SG_WORLDMODEL_YES && f.output_allowed);
    uproot(p);
}

/* Of an architecture that holds the state whatever its weights. */
static sg_status read_untrained_too(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err)
{
    return read_planted(self, what == SG_READING_UNTRAINED ? SG_READING_SITE : what, seed, out, err);
}

static void what_an_untrained_network_shows_is_no_finding(void **state)
{
    (void)state;
    planted *p = plant(USED, 1);
    p->net.read = read_untrained_too;
    const sg_worldmodel f = judge(p);
    CHECK(f.verdict == SG_WORLDMODEL_FROM_UNTRAINED);
    CHECK_NEAR(f.untrained.rate.value, f.site_reads.rate.value, 1e-12, 0);
    uproot(p);
}

/* An error that any change of the output makes smaller: damage in a random direction looks like an effect too. */
static double error_of_no_change(void *self, const sg_worldmodel_edit *e, const float *output)
{
    planted *p = self;
    float was[BITS];
    int same = 0;
    CHECK(fetch(p, 1, &e->row, NULL, p->output, was, NULL) == SG_OK);
    for (int k = 0; k < BITS; k++)
        same += fabsf(output[k] - was[k]) < 0.01f;
    return same;
}

static void damage_is_not_use(void **state)
{
    (void)state;
    planted *p = plant(USED, 1);
    p->effect.error = error_of_no_change;
    const sg_worldmodel f = judge(p);
    CHECK(f.used.effect.low > 0 && f.used.random.low > 0);
    CHECK(f.verdict == SG_WORLDMODEL_NOT_USED);
    uproot(p);
}

static void a_site_that_holds_nothing_is_not_represented(void **state)
{
    (void)state;
    const sg_worldmodel f = judge_kind(NOISE, 1);
    CHECK(f.verdict == SG_WORLDMODEL_NOT_REPRESENTED);
    CHECK_NEAR(f.site_reads.rate.value, 0.5, 0.05, 0);
}

static void shuffled_states_are_read_at_chance(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        const sg_worldmodel f = judge_kind(USED, seed);
        const double error_of = sqrt(0.25 / (75 * EACH * BITS)); /* bits are independent coins here */
        CHECK_NEAR(f.shuffled.rate.value, 0.5, 3 * error_of, 0);
        CHECK_NEAR(f.chance.value, 0.5, 3 * error_of, 0);
    }
}

static void an_episode_on_both_sides_is_refused(void **state)
{
    (void)state;
    planted *p = plant(USED, 0);
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    sg_worldmodel f;
    sg_error err;
    p->net.first_judge++; /* in the middle of an episode */
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "on both sides");
    p->net.first_judge--;
    p->row[ROWS - 1].episode = 0; /* one that was fitted on comes again */
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "on both sides");
    p->net.first_choose = 0;
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "0 rows to fit on");
    uproot(p);
}

static sg_status read_no_output(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err)
{
    return what == SG_READING_OUTPUT ? SG_OK : read_planted(self, what, seed, out, err);
}

static void without_all_its_numbers_there_is_no_verdict(void **state)
{
    (void)state;
    planted *p = plant(USED, 0);
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    sg_worldmodel f;
    sg_error err;
    opts.n_edits = 20;
    opts.n_resamples = 20;
    p->net.read = read_no_output;
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "output");
    opts.probe.kind = SG_PROBE_MLP;
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, opts, &err), SG_EUNSUPPORTED);
    p->state[5] = 2;
    CHECK_STATUS(sg_worldmodel_judge(&f, &p->net, sg_worldmodel_defaults(), &err), SG_EARG);
    CHECK_TEXT(err.text, "class 2");
    uproot(p);
}

static void other_classes_of_probes_judge_alike(void **state)
{
    (void)state;
    static const sg_probe_kind kinds[] = {SG_PROBE_SOFTMAX, SG_PROBE_MEAN};
    for (int k = 0; k < 2; k++) {
        planted *p = plant(USED, 2);
        sg_worldmodel_opts opts = sg_worldmodel_defaults();
        sg_worldmodel f;
        sg_error err;
        opts.probe.kind = kinds[k];
        opts.n_edits = 100;
        opts.n_resamples = 100;
        CHECK_OK(sg_worldmodel_judge(&f, &p->net, opts, &err), &err);
        CHECK(f.verdict == SG_WORLDMODEL_YES && f.probe == kinds[k]);
        uproot(p);
    }
}

/* Numbers instead of classes: two coordinates, of which the output shows even functions alone. The effect is that of
 * donors, since nothing else is said. */
typedef struct continuous {
    sg_dim n;
    bool separate;
    float x[ROWS * 2], state[ROWS * 2], h[ROWS * WIDTH], map[2 * WIDTH];
    sg_store_row row[ROWS];
} continuous;

static void outputs_of(const continuous *c, sg_dim row, const float *shift, float *out)
{
    for (int k = 0; k < 2; k++) {
        float dot = 0, norm2 = 0;
        for (int j = 0; j < WIDTH; j++) {
            dot += (c->h[row * WIDTH + j] + (shift ? shift[j] : 0)) * c->map[k * WIDTH + j];
            norm2 += c->map[k * WIDTH + j] * c->map[k * WIDTH + j];
        }
        const float z = c->separate ? c->x[row * 2 + k] : dot / norm2;
        out[2 * k] = 2 * cosf(2 * z);
        out[2 * k + 1] = 2 * cosf(3 * z);
    }
}

static sg_status read_numbers(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err)
{
    const continuous *c = self;
    (void)err;
    if (what == SG_READING_PLACES || what == SG_READING_EMBEDDING || what == SG_READING_LABEL)
        return SG_OK;
    const int width = what == SG_READING_SITE ? WIDTH : 4;
    float *x = malloc(ROWS * (size_t)width * sizeof *x);
    sg_rng r = sg_rng_new(9, (uint32_t)((int)what * 10 + seed));
    for (int i = 0; i < ROWS; i++) {
        if (what == SG_READING_SITE)
            memcpy(x + i * WIDTH, c->h + i * WIDTH, WIDTH * sizeof *x);
        else if (what == SG_READING_OUTPUT)
            outputs_of(c, i, NULL, x + i * 4);
        else
            for (int k = 0; k < 4; k++)
                x[i * 4 + k] = (float)sg_rng_normal(&r);
    }
    *out = rows_of(ROWS, width, x);
    return SG_OK;
}

static sg_status run_numbers(void *self, sg_dim n, const sg_dim *rows, const float *shift, float *out, sg_error *err)
{
    (void)err;
    for (sg_dim i = 0; i < n; i++)
        outputs_of(self, rows[i], shift ? shift + i * WIDTH : NULL, out + i * 4);
    return SG_OK;
}

static void numbers_are_judged_by_r2_and_by_donors(void **state)
{
    (void)state;
    continuous *c = calloc(1, sizeof *c);
    sg_rng r = sg_rng_new(4, 0);
    for (int i = 0; i < 2 * WIDTH; i++)
        c->map[i] = (float)sg_rng_normal(&r);
    for (int i = 0; i < ROWS; i++) {
        c->row[i] = (sg_store_row){i / EACH, i % EACH, 0};
        for (int k = 0; k < 2; k++)
            c->x[i * 2 + k] = (float)(k ? 2 * sg_rng_uniform(&r) - 1 : 2 * sg_rng_uniform(&r) - 1);
        for (int j = 0; j < WIDTH; j++)
            c->h[i * WIDTH + j] =
                (float)(0.3 * sg_rng_normal(&r)) + c->x[i * 2] * c->map[j] + c->x[i * 2 + 1] * c->map[WIDTH + j];
    }
    memcpy(c->state, c->x, sizeof c->x);
    c->state[3] = NAN; /* not known there */
    const sg_worldmodel_network net = {.site = "site",
                                       .name = "x,y",
                                       .self = c,
                                       .n_rows = ROWS,
                                       .rows = c->row,
                                       .first_choose = ROWS / 2,
                                       .first_judge = ROWS * 3 / 4,
                                       .state = rows_of(ROWS, 2, c->state),
                                       .trivial = -1,
                                       .n_outputs = 4,
                                       .read = read_numbers,
                                       .run = run_numbers};
    sg_worldmodel f;
    sg_error err;
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    opts.n_edits = 200;
    opts.n_resamples = 200;
    CHECK_OK(sg_worldmodel_judge(&f, &net, opts, &err), &err);
    CHECK(f.is_r2 && f.tau == 0.1 && f.verdict == SG_WORLDMODEL_YES);
    CHECK(f.site_reads.rate.value > 0.9 && fabs(f.output.rate.value) < 0.1 && f.input.rate.value < 0.05);
    CHECK(f.shuffled.rate.value < 0.05 && f.used.strength == 1);
    c->separate = true;
    CHECK_OK(sg_worldmodel_judge(&f, &net, opts, &err), &err);
    CHECK(f.verdict == SG_WORLDMODEL_NOT_USED);
    opts.probe.kind = SG_PROBE_SOFTMAX;
    CHECK_STATUS(sg_worldmodel_judge(&f, &net, opts, &err), SG_EUNSUPPORTED);
    free(c);
}

static void states_of_a_world_are_drawn_by_name(void **state)
{
    (void)state;
    const sg_world *w = sg_world_find("othello", NULL);
    const sg_setting six = {"size", "6"};
    sg_worldmodel_data d;
    sg_error err;
    CHECK_OK(sg_worldmodel_draw(&d, w, 1, &six, "board_rel", 5, 3, &err), &err);
    CHECK(d.n_classes == 3 && d.trivial == 0 && d.board == 6 && d.kind == SG_STATE_DISCS);
    CHECK(d.state.dims[0] == 5 && d.state.dims[1] == 32 && d.state.dims[2] == 36);
    sg_worldmodel_data e;
    CHECK_OK(sg_worldmodel_draw(&e, w, 1, &six, "board_rel=0", 5, 3, &err), &err);
    CHECK(e.n_classes == 2 && e.trivial == -1 && e.kind == SG_STATE_EMPTY);
    for (sg_dim i = 0; i < sg_tensor_count(&d.state); i++) {
        const double was = sg_tensor_get(&d.state, i);
        CHECK(sg_tensor_get(&e.state, i) == (was < 0 ? -1 : was == 0));
    }
    sg_worldmodel_data_free(&d);
    sg_worldmodel_data_free(&e);
    CHECK_STATUS(sg_worldmodel_draw(&d, w, 1, &six, "bord_rel", 5, 3, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "board_rel");
    CHECK_STATUS(sg_worldmodel_draw(&d, w, 1, &six, "board_rel=x", 5, 3, &err), SG_EARG);
    CHECK_STATUS(sg_worldmodel_draw(&d, w, 1, &six, "board_rel=3", 5, 3, &err), SG_EARG);
    CHECK_STATUS(sg_worldmodel_draw(&d, sg_world_find("features", NULL), 0, NULL, "x", 5, 3, &err), SG_EUNSUPPORTED);
    CHECK(d.owner == NULL);
}

/* A file of one's own: numbers, not known at the last position, and classes. */
static void a_file_of_tokens_and_states_is_read(void **state)
{
    (void)state;
    static int32_t tokens[2 * 3] = {1, 2, 3, 4, 5, 6}, classes[2 * 3] = {0, 4, -1, 1, 1, -1};
    static float numbers[2 * 3] = {0.5f, 1, NAN, 2, 3, NAN};
    const char *path = "worldmodel_test.safetensors";
    sg_worldmodel_data d;
    sg_error err;
    for (int is_class = 0; is_class < 2; is_class++) {
        const sg_named_tensor both[2] = {{"tokens", sg_tensor_of(SG_I32, 2, (sg_dim[]){2, 3}, tokens)},
                                         {"state", is_class ? sg_tensor_of(SG_I32, 2, (sg_dim[]){2, 3}, classes)
                                                            : sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 3}, numbers)}};
        CHECK_OK(sg_safetensors_save(path, both, 2, NULL, 0, &err), &err);
        CHECK_OK(sg_worldmodel_open(&d, path, &err), &err);
        CHECK(d.n_classes == (is_class ? 5 : 0) && d.trivial == -1 && d.board == 0 && !d.counts.data);
        CHECK(d.tokens.dims[1] == 3 && ((const int32_t *)d.tokens.data)[5] == 6);
        sg_worldmodel_data_free(&d);
    }
    const sg_named_tensor one = {"tokens", sg_tensor_of(SG_I32, 2, (sg_dim[]){2, 3}, tokens)};
    CHECK_OK(sg_safetensors_save(path, &one, 1, NULL, 0, &err), &err);
    CHECK_STATUS(sg_worldmodel_open(&d, path, &err), SG_ENOTFOUND);
    CHECK_TEXT(err.text, "state");
    CHECK(d.owner == NULL);
    unlink(path);
}

static void memory_that_runs_out_leaves_nothing_behind(void **state)
{
    (void)state;
    planted *p = plant(USED, 0);
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    p->net.n_rows = 20 * EACH;
    p->net.first_choose = 10 * EACH;
    p->net.first_judge = 14 * EACH;
    p->net.state.dims[0] = p->net.n_rows;
    opts.n_edits = 4;
    opts.n_resamples = 3;
    opts.exec.n_threads = 1;
    long n = 0;
    for (;; n += 1 + n / 16) { /* there are some thousands */
        sg_worldmodel f;
        sg_error err;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_worldmodel_judge(&f, &p->net, opts, &err);
        if (!sg_faults_end()) {
            CHECK_OK(status, &err);
            break;
        }
        /* What a backend cannot take from memory it leaves to the reference kernels. */
        CHECK(status == SG_ENOMEM || status == SG_OK);
    }
    CHECK(n > 50);
    uproot(p);
}

/* As in the specification: space-and-time data on a model of children's stories, which knows no coordinates. */
static void a_model_of_stories_has_no_map_of_the_world(void **state)
{
    (void)state;
    char model[1024], table[1024];
    SKIP_WITHOUT(sg_test_shared(model, "models/stories260K"), "models/stories260K");
    SKIP_WITHOUT(sg_test_shared(table, "data/world_models/world_place.csv.gz"), "data/world_models");
    sg_model *m;
    sg_table *t;
    sg_worldmodel_data d;
    sg_worldmodel f;
    sg_error err;
    CHECK_OK(sg_model_open(&m, model, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_table_open(&t, table, &err), &err);
    CHECK(sg_table_n_rows(t) == 39585);
    const sg_worldmodel_columns columns = {"name", 2, (const char *const[]){"latitude", "longitude"}, "is_test"};
    CHECK_OK(sg_worldmodel_table(&d, m, t, columns, 700, 1, &err), &err);
    CHECK(d.tokens.dims[0] == 700 && d.n_test > 70 && d.n_test < 300 && d.n_classes == 0);
    sg_worldmodel_opts opts = sg_worldmodel_defaults();
    opts.n_edits = 40;
    opts.n_resamples = 100;
    CHECK_OK(sg_worldmodel_check(&f, m, "blocks.3.hook_resid_post", &d, opts, &err), &err);
    CHECK(f.is_r2 && f.verdict != SG_WORLDMODEL_YES);
    CHECK(f.input.known && f.untrained.known && f.output.known && f.used.effect.n == 40);
    CHECK(f.n_episodes[2] == d.n_test);
    sg_worldmodel_data_free(&d);
    const sg_worldmodel_columns wrong = {"nam", 1, (const char *const[]){"latitude"}, NULL};
    CHECK_STATUS(sg_worldmodel_table(&d, m, t, wrong, 700, 1, &err), SG_ENOTFOUND);
    sg_table_free(t);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_that_is_held_and_used_is_a_world_model),
        cmocka_unit_test(a_state_of_which_the_output_has_another_copy_is_not_used),
        cmocka_unit_test(a_state_that_the_input_shows_is_no_finding),
        cmocka_unit_test(a_state_that_the_output_shows_is_no_finding_unless_that_is_waived),
        cmocka_unit_test(what_an_untrained_network_shows_is_no_finding),
        cmocka_unit_test(damage_is_not_use),
        cmocka_unit_test(a_site_that_holds_nothing_is_not_represented),
        cmocka_unit_test(shuffled_states_are_read_at_chance),
        cmocka_unit_test(an_episode_on_both_sides_is_refused),
        cmocka_unit_test(without_all_its_numbers_there_is_no_verdict),
        cmocka_unit_test(other_classes_of_probes_judge_alike),
        cmocka_unit_test(numbers_are_judged_by_r2_and_by_donors),
        cmocka_unit_test(states_of_a_world_are_drawn_by_name),
        cmocka_unit_test(a_file_of_tokens_and_states_is_read),
        cmocka_unit_test(memory_that_runs_out_leaves_nothing_behind),
        cmocka_unit_test(a_model_of_stories_has_no_map_of_the_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
