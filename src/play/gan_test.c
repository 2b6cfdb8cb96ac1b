/* The data against their formulas, the networks against the same in double, slow motion against plain iterations. */
#include "sightglass/gan.h"

#include "check.h"
#include "play/gan_internal.h"

static sg_gan *make(const sg_gan_opts *o)
{
    sg_error err;
    sg_gan *gan = NULL;
    CHECK_OK(sg_gan_new(&gan, o, &err), &err);
    return gan;
}

static void iterate(sg_gan *gan, int n)
{
    sg_error err;
    for (int i = 0; i < n; i++)
        CHECK_OK(sg_gan_step(gan, SG_GAN_BOTH, &err), &err);
}

static bool same_weights(sg_gan *a, sg_gan *b)
{
    bool same = true;
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        for (int i = 0; i < a->v.n_params[net]; i++) {
            const sg_tensor *x = sg_state_tensor(a->state, a->v.param[net][i]);
            const sg_tensor *y = sg_state_tensor(b->state, b->v.param[net][i]);
            same &= memcmp(x->data, y->data, sg_tensor_bytes(x)) == 0;
        }
    return same;
}

/* ---- data ---- */

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752);
}

typedef struct bell {
    double mx, my, sx, sy;
} bell;

/* The normal distribution that a shape draws from at r. */
static bell bell_at(sg_gan_shape shape, double r)
{
    const double angle = 6.283185307179586 * r;
    switch (shape) {
    case SG_GAN_LINE:
        return (bell){0.8 - 0.75 * r, 0.6 + 0.3 * r, 0.01, 0.01};
    case SG_GAN_GAUSSIANS:
        return r < 0.5 ? (bell){0.3, 0.7, 0.1, 0.1} : (bell){0.7, 0.4, 0.05, 0.2};
    case SG_GAN_RING:
        return (bell){0.5 + 0.3 * cos(angle), 0.45 + 0.25 * sin(angle), 0.025, 0.025};
    case SG_GAN_DISJOINT:
        return r < 0.333   ? (bell){0.35, 0.75, 0.025, 0.025}
               : r < 0.666 ? (bell){0.75, 0.6, 0.025, 0.025}
                           : (bell){0.45, 0.35, 0.025, 0.025};
    default: /* two points of a stroke */
        return r < 0.5 ? (bell){0.25, 0.25, 0.02, 0.02} : (bell){0.75, 0.5, 0.02, 0.02};
    }
}

/* Pearson's chi-squared over 40 x 40 cells and what lies outside, those with fewer than 5 expected taken together.
 * Under the formula it has mean df and deviation sqrt(2 df). */
static void check_shape(sg_gan_shape shape)
{
    enum { N = 40, STEPS = 3000 };
    static double expected[N * N], got[N * N];
    static const float strokes[2][2] = {{0.25f, 0.25f}, {0.75f, 0.5f}};
    sg_gan_opts o = sg_gan_defaults();
    o.shape = shape;
    o.seed = 11;
    if (shape == SG_GAN_DRAWING) {
        o.strokes = strokes[0];
        o.n_strokes = 2;
    }
    sg_gan *gan = make(&o);
    for (int c = 0; c < N * N; c++)
        expected[c] = got[c] = 0;
    for (int k = 0; k < STEPS; k++) {
        const bell b = bell_at(shape, (k + 0.5) / STEPS);
        double px[N], py[N];
        for (int i = 0; i < N; i++) {
            px[i] = normal_cdf(((i + 1.0) / N - b.mx) / b.sx) - normal_cdf(((double)i / N - b.mx) / b.sx);
            py[i] = normal_cdf(((i + 1.0) / N - b.my) / b.sy) - normal_cdf(((double)i / N - b.my) / b.sy);
        }
        for (int c = 0; c < N * N; c++)
            expected[c] += px[c % N] * py[c / N] * SG_GAN_ATLAS / STEPS;
    }
    const float *x = sg_gan_real(gan);
    for (int i = 0; i < SG_GAN_ATLAS; i++) {
        const double a = (double)x[2 * i], b = (double)x[2 * i + 1];
        if (a >= 0 && a < 1 && b >= 0 && b < 1)
            got[(int)(b * N) * N + (int)(a * N)]++;
    }
    double rest_expected = SG_GAN_ATLAS, rest_got = SG_GAN_ATLAS, chi = 0, df = 0;
    for (int c = 0; c < N * N; c++)
        if (expected[c] >= 5) {
            chi += (got[c] - expected[c]) * (got[c] - expected[c]) / expected[c];
            rest_expected -= expected[c];
            rest_got -= got[c];
            df++;
        }
    chi += (rest_got - rest_expected) * (rest_got - rest_expected) / rest_expected;
    print_message("%s: chi-squared %.1f, %g degrees\n", sg_gan_shape_name(shape), chi, df);
    CHECK(df >= 8);
    CHECK_NEAR(chi, df, 5 * sqrt(2 * df), 0);
    sg_gan_free(gan);
}

static void every_shape_is_drawn_by_its_formula(void **state)
{
    (void)state;
    for (int shape = 0; shape < SG_N_GAN_SHAPES; shape++)
        check_shape((sg_gan_shape)shape);
}

static void noise_is_uniform_or_a_normal_cut_at_two_deviations(void **state)
{
    (void)state;
    enum { BINS = 20, N = 24000 };
    static float z[N];
    for (int noise = 0; noise < SG_N_GAN_NOISES; noise++) {
        double chi = 0, got[BINS] = {0};
        const int dims = sg_gan_noise_dims((sg_gan_noise)noise);
        gan_sample_noise(z, N / dims, (sg_gan_noise)noise, 5);
        for (int i = 0; i < N; i++) {
            CHECK(z[i] >= 0 && z[i] <= 1);
            got[SG_MIN((int)((double)z[i] * BINS), BINS - 1)]++;
        }
        for (int b = 0; b < BINS; b++) {
            const double low = ((double)b / BINS - 0.5) / 0.25, high = ((b + 1.0) / BINS - 0.5) / 0.25;
            const double share = noise == SG_GAN_1D_NORMAL || noise == SG_GAN_2D_NORMAL
                                     ? (normal_cdf(high) - normal_cdf(low)) / (normal_cdf(2) - normal_cdf(-2))
                                     : 1.0 / BINS;
            chi += (got[b] - share * N) * (got[b] - share * N) / (share * N);
        }
        CHECK_NEAR(chi, BINS - 1, 5 * sqrt(2.0 * (BINS - 1)), 0);
    }
}

/* ---- networks, in double, from the numbers of the state ---- */

static double param(sg_gan *gan, sg_gan_net net, int i, sg_dim k)
{
    return (double)((const float *)sg_state_tensor(gan->state, gan->v.param[net][i])->data)[k];
}

/* One parameter is taken to be `shift` more than it is. */
typedef struct nudge {
    int net, i;
    sg_dim k;
    double shift;
} nudge;

static double nudged(sg_gan *gan, sg_gan_net net, int i, sg_dim k, const nudge *n)
{
    return param(gan, net, i, k) + (n->net == (int)net && n->i == i && n->k == k ? n->shift : 0);
}

static void forward(sg_gan *gan, sg_gan_net net, const double *x, int n_in, double *y, int n_out, const nudge *n)
{
    double h[SG_GAN_MOST_UNITS], next[SG_GAN_MOST_UNITS];
    const int last = gan->v.n_params[net] - 2, units = gan->opts.net[net].n_units;
    memcpy(h, x, (size_t)n_in * sizeof *h);
    for (int i = 0; i <= last; i += 2) {
        const int to = i == last ? n_out : units;
        for (int u = 0; u < to; u++) {
            next[u] = nudged(gan, net, i + 1, u, n);
            for (int k = 0; k < n_in; k++)
                next[u] += h[k] * nudged(gan, net, i, k * to + u, n);
            if (i < last)
                next[u] = fmax(next[u], 0);
        }
        memcpy(h, next, (size_t)to * sizeof *h);
        n_in = to;
    }
    for (int u = 0; u < n_out; u++)
        y[u] = net == SG_GAN_G ? tanh(h[u]) : 1 / (1 + exp(-h[u]));
}

static double loss_in_double(sg_gan *gan, sg_gan_net net, sg_gan_loss loss, const nudge *n)
{
    const int dims = sg_gan_noise_dims(gan->opts.noise);
    double sum = 0;
    for (int b = 0; b < SG_GAN_BATCH; b++) {
        double z[2], x[2], d, real[2] = {(double)gan->real[2 * b], (double)gan->real[2 * b + 1]};
        for (int k = 0; k < dims; k++)
            z[k] = (double)gan->noise[dims * b + k];
        forward(gan, SG_GAN_G, z, dims, x, 2, n);
        forward(gan, SG_GAN_D, x, 2, &d, 1, n);
        if (net == SG_GAN_G) {
            sum += loss == SG_GAN_LOG ? -log(d) : (d - 1) * (d - 1);
            continue;
        }
        sum += loss == SG_GAN_LOG ? -log(1 - d) : d * d;
        forward(gan, SG_GAN_D, real, 2, &d, 1, n);
        sum += loss == SG_GAN_LOG ? -0.95 * log(d) : (d - 1) * (d - 1);
    }
    return sum / SG_GAN_BATCH;
}

static const nudge none = {-1, 0, 0, 0};

static void losses_and_their_gradients_are_those_of_the_formulas(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    o.net[SG_GAN_G].n_layers = 2;
    o.seed = 3;
    for (int net = 0; net < SG_N_GAN_NETS; net++)
        for (int loss = 0; loss < SG_N_GAN_LOSSES; loss++) {
            sg_gan *gan = make(&o);
            iterate(gan, 20);
            gan->next_noise = gan->next_real = 0; /* the batch that the formula has */
            sg_gan_set_loss(gan, (sg_gan_loss)loss);
            double value, norm, squares = 0;
            sg_error err;
            CHECK_OK(gan_peek(gan, (sg_gan_net)net, &value, &norm, &err), &err);
            CHECK_NEAR(value, loss_in_double(gan, (sg_gan_net)net, (sg_gan_loss)loss, &none), 1e-6, 1e-6);
            for (int i = 0; i < gan->v.n_params[net]; i++) {
                char name[40];
                sg_tensor out;
                snprintf(name, sizeof name, "grad.%s.%c-%d", loss == SG_GAN_LOG ? "log" : "squares",
                         net == SG_GAN_D ? 'd' : 'g', i);
                sg_value *grad = sg_graph_find(gan->g, name);
                CHECK(grad != NULL);
                sg_feed feeds[2] = {{gan->v.noise, sg_tensor_of(SG_F32, 2, (sg_dim[]){SG_GAN_BATCH, 2}, gan->noise)},
                                    {gan->v.real, sg_tensor_of(SG_F32, 2, (sg_dim[]){SG_GAN_BATCH, 2}, gan->real)}};
                CHECK_OK(sg_session_run(gan->session, net == SG_GAN_D ? 2 : 1, feeds, 1, &grad, &out, &err), &err);
                for (sg_dim k = 0; k < sg_tensor_count(&out); k++) {
                    const nudge up = {net, i, k, 1e-6}, down = {net, i, k, -1e-6};
                    const double want = (loss_in_double(gan, (sg_gan_net)net, (sg_gan_loss)loss, &up) -
                                         loss_in_double(gan, (sg_gan_net)net, (sg_gan_loss)loss, &down)) /
                                        2e-6;
                    CHECK_NEAR(sg_tensor_get(&out, k), want, 2e-6, 1e-4);
                    squares += want * want;
                }
            }
            CHECK_NEAR(norm, sqrt(squares), 1e-6, 1e-4);
            sg_gan_free(gan);
        }
}

static void arrows_are_the_slope_of_the_opinion(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    o.shape = SG_GAN_RING;
    sg_gan *gan = make(&o);
    sg_error err;
    iterate(gan, 300);
    CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
    const sg_gan_view *v = sg_gan_view_of(gan);
    double longest = 0;
    for (int b = 0; b < SG_GAN_BATCH; b++) {
        double d[2], x[2] = {(double)v->fake[b][0], (double)v->fake[b][1]};
        forward(gan, SG_GAN_D, x, 2, d, 1, &none);
        CHECK_NEAR(v->d_fake[b], d[0], 1e-6, 0);
        for (int k = 0; k < 2; k++) {
            const double at = x[k];
            x[k] = at + 1e-6;
            forward(gan, SG_GAN_D, x, 2, &d[1], 1, &none);
            x[k] = at - 1e-6;
            forward(gan, SG_GAN_D, x, 2, &d[0], 1, &none);
            x[k] = at;
            CHECK_NEAR(v->arrow[b][k], (d[1] - d[0]) / 2e-6, 1e-4, 0);
        }
        longest = fmax(longest, fabs((double)v->arrow[b][0]) + fabs((double)v->arrow[b][1]));
    }
    CHECK(longest > 0.01);
    sg_gan_free(gan);
}

static void pictures_are_the_networks_at_their_points(void **state)
{
    (void)state;
    for (int noise = 0; noise < SG_N_GAN_NOISES; noise++) {
        sg_gan_opts o = sg_gan_defaults();
        o.noise = (sg_gan_noise)noise;
        sg_gan *gan = make(&o);
        sg_error err;
        iterate(gan, 30);
        CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
        const sg_gan_view *v = sg_gan_view_of(gan);
        const int dims = sg_gan_noise_dims((sg_gan_noise)noise);
        for (int i = 0; i < 30 * 30; i += 7) {
            double d, x[2] = {(i % 30 + 0.5) / 30, (i / 30 + 0.5) / 30};
            forward(gan, SG_GAN_D, x, 2, &d, 1, &none);
            CHECK_NEAR(v->field[i / 30][i % 30], d, 1e-6, 0);
        }
        for (int i = 0; i < (dims == 1 ? 21 : 441); i += 5) {
            double x[2], z[2] = {i % 21 / 20.0, i / 21 / 20.0};
            forward(gan, SG_GAN_G, z, dims, x, 2, &none);
            CHECK_NEAR(v->manifold[i][0], x[0], 1e-6, 0);
            CHECK_NEAR(v->manifold[i][1], x[1], 1e-6, 0);
        }
        double kl, js, sum = 0;
        int outside[2];
        sg_gan_compare(&kl, &js, outside, sg_gan_real(gan), SG_GAN_SHOWN, v->fake[0], SG_GAN_BATCH);
        CHECK(kl == v->kl && js == v->js && outside[0] == v->outside_real && outside[1] == v->outside_fake);
        for (int c = 0; c < 400; c++)
            sum += (double)v->area[c];
        CHECK_NEAR(sum, dims == 2 ? 1 : 0, 1e-5, 0);
        sg_gan_free(gan);
    }
}

/* ---- cells and measures ---- */

static void a_cell_is_the_fainter_the_more_it_is_stretched(void **state)
{
    (void)state;
    static float sheet[SG_GAN_LATTICE][2], area[400], opacity[400];
    CHECK(gan_lattice(sheet[0], 2) == SG_GAN_LATTICE);
    gan_cells(area, opacity, sheet, SG_GAN_2D_UNIFORM);
    for (int c = 0; c < 400; c++) {
        CHECK_NEAR(area[c], 1.0 / 400, 1e-8, 0);
        CHECK_NEAR(opacity[c], 0.5, 1e-5, 0); /* 0.9 - 0.4 */
    }
    gan_cells(area, opacity, sheet, SG_GAN_2D_NORMAL);
    /* The middle of cell 0 lies at (0.025, 0.025); density 1/(2 pi 0.0625) e^(-0.5 (0.475^2 + 0.475^2)/0.0625). */
    CHECK_NEAR(opacity[0], 0.1 + 0.2 * 2.5464790894703255 * exp(-0.5 * 2 * 0.475 * 0.475 / 0.0625), 1e-5, 0);
    CHECK_NEAR(opacity[10 * 20 + 10], 0.1 + 0.2 * 2.5464790894703255 * exp(-0.5 * 2 * 0.025 * 0.025 / 0.0625), 1e-5, 0);
    /* The right half three times as wide: its cells have 3/800 each, the left ones 1/800. */
    for (int i = 0; i < SG_GAN_LATTICE; i++)
        sheet[i][0] += sheet[i][0] > 0.5f ? 2 * (sheet[i][0] - 0.5f) : 0;
    gan_cells(area, opacity, sheet, SG_GAN_2D_UNIFORM);
    CHECK_NEAR(area[0], 1.0 / 800, 1e-7, 0);
    CHECK_NEAR(area[19], 3.0 / 800, 1e-7, 0);
    CHECK_NEAR(opacity[0], 0.9 - 0.4 * 0.5, 1e-5, 0);
    CHECK_NEAR(opacity[19], 0.9 - 0.4 * 1.5, 1e-5, 0);
    memset(sheet, 0, sizeof sheet); /* all in one point: no area, and no NaN */
    gan_cells(area, opacity, sheet, SG_GAN_2D_UNIFORM);
    CHECK(area[7] == 0 && opacity[7] == 0.9f);
    gan_cells(area, opacity, sheet, SG_GAN_2D_NORMAL);
    CHECK(opacity[7] == 0.9f);
}

static void measures_are_zero_for_equals_and_count_what_lies_outside(void **state)
{
    (void)state;
    const float a[2][2] = {{0.01f, 0.01f}, {0.99f, 0.5f}},
                b[4][2] = {{0.5f, 0.5f}, {-0.1f, 0.5f}, {0.5f, 1}, {0.5f, NAN}};
    double kl, js;
    int outside[2];
    sg_gan_compare(&kl, &js, outside, a[0], 2, a[0], 2);
    CHECK(kl == 0 && js == 0 && outside[0] == 0 && outside[1] == 0);
    sg_gan_compare(&kl, &js, outside, a[0], 1, b[0], 1);
    CHECK_NEAR(kl, 13.287856641840545, 1e-9, 0); /* log2((1 + e)/e) */
    CHECK_NEAR(js, 0.9987269376192136, 1e-9, 0); /* (1+e) log2((1+e)/(1/2+e)) + e log2(e/(1/2+e)) */
    sg_gan_compare(&kl, &js, outside, b[0], 4, a[0], 2);
    CHECK(outside[0] == 3 && outside[1] == 0);
}

/* ---- iterations ---- */

static void each_part_does_exactly_its_updates(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    o.net[SG_GAN_D].k = 3;
    sg_gan *gan = make(&o);
    sg_error err;
    CHECK_OK(sg_gan_step(gan, SG_GAN_ONE_D, &err), &err);
    CHECK(sg_gan_updates(gan, SG_GAN_D) == 1 && sg_gan_updates(gan, SG_GAN_G) == 0);
    CHECK(isnan(gan->cost[SG_GAN_G]));
    CHECK_OK(sg_gan_step(gan, SG_GAN_ONE_G, &err), &err);
    CHECK(sg_gan_updates(gan, SG_GAN_D) == 1 && sg_gan_updates(gan, SG_GAN_G) == 1);
    CHECK_OK(sg_gan_step(gan, SG_GAN_BOTH, &err), &err);
    CHECK(sg_gan_updates(gan, SG_GAN_D) == 4 && sg_gan_updates(gan, SG_GAN_G) == 2);
    CHECK(sg_gan_iteration(gan) == 3);
    CHECK_OK(sg_gan_set_k(gan, SG_GAN_D, 0, &err), &err); /* takes effect at once */
    CHECK_OK(sg_gan_step(gan, SG_GAN_BOTH, &err), &err);
    CHECK(sg_gan_updates(gan, SG_GAN_D) == 4 && sg_gan_updates(gan, SG_GAN_G) == 3);
    gan->iteration = SG_GAN_LAST;
    CHECK(sg_gan_step(gan, SG_GAN_BOTH, &err) == SG_EARG);
    CHECK_TEXT(err.text, "999999");
    sg_gan_free(gan);
}

static void slow_motion_is_an_iteration_to_the_bit(void **state)
{
    (void)state;
    for (int rule = 0; rule < SG_N_GAN_RULES; rule++) {
        sg_gan_opts o = sg_gan_defaults();
        o.net[SG_GAN_D].rule = o.net[SG_GAN_G].rule = (sg_gan_rule)rule;
        o.net[SG_GAN_D].rate = o.net[SG_GAN_G].rate = 0.01;
        o.net[SG_GAN_G].k = 2;
        sg_gan *slow = make(&o), *fast = make(&o);
        sg_gan_stage done;
        sg_error err;
        iterate(fast, 4);
        for (int i = 0; i < 3 * SG_N_GAN_STAGES; i++) {
            CHECK_OK(sg_gan_slow(slow, &done, &err), &err);
            CHECK((int)done == i % SG_N_GAN_STAGES);
            if (done == SG_GAN_D_GRADIENTS || done == SG_GAN_G_GRADIENTS)
                CHECK(sg_gan_view_of(slow)->norm[done == SG_GAN_G_GRADIENTS] > 0);
        }
        for (int i = 0; i < 4; i++) /* and a step finishes what it began */
            CHECK_OK(sg_gan_slow(slow, &done, &err), &err);
        iterate(slow, 1);
        CHECK(sg_gan_iteration(slow) == 4);
        CHECK(same_weights(slow, fast));
        iterate(fast, 1);
        CHECK(!same_weights(slow, fast));
        sg_gan_free(slow);
        sg_gan_free(fast);
    }
}

/* The loss shown in slow motion is that of the batch which the update then learns from. */
static void the_loss_is_shown_before_it_is_learnt_from(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    o.net[SG_GAN_D].k = 1;
    sg_gan *gan = make(&o);
    sg_gan_stage done;
    sg_error err;
    double before = 0;
    do {
        CHECK_OK(sg_gan_slow(gan, &done, &err), &err);
        if (done == SG_GAN_D_LOSS)
            before = sg_gan_view_of(gan)->cost[SG_GAN_D];
    } while (done != SG_GAN_D_UPDATE);
    CHECK(sg_gan_view_of(gan)->cost[SG_GAN_D] == before);
    CHECK_NEAR(sg_gan_view_of(gan)->bar[SG_GAN_D], before / 2 * before / 2 * 50, 1e-12, 0);
    sg_gan_free(gan);
}

static void another_rate_begins_with_new_moments(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    o.net[SG_GAN_D].rule = SG_GAN_ADAM;
    sg_gan *gan = make(&o);
    sg_error err;
    iterate(gan, 5);
    const sg_tensor *m = sg_state_tensor(gan->state, gan->v.moment[SG_GAN_D][0][0]);
    CHECK(gan->step[SG_GAN_D] == 10 && sg_tensor_get(m, 0) != 0);
    CHECK_OK(sg_gan_set_rule(gan, SG_GAN_D, SG_GAN_ADAM, 0.1, &err), &err);
    for (sg_dim i = 0; i < sg_tensor_count(m); i++)
        CHECK(sg_tensor_get(m, i) == 0);
    CHECK(gan->step[SG_GAN_D] == 0);
    iterate(gan, 1);
    CHECK(gan->step[SG_GAN_D] == 2);
    sg_gan_free(gan);
}

static void a_look_changes_nothing(void **state)
{
    (void)state;
    const sg_gan_opts o = sg_gan_defaults();
    sg_gan *seen = make(&o), *unseen = make(&o);
    sg_error err;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(sg_gan_look(seen, SG_GAN_SEE_ALL, &err), &err);
        iterate(seen, 1);
        iterate(unseen, 1);
    }
    CHECK(same_weights(seen, unseen));
    sg_gan_free(seen);
    sg_gan_free(unseen);
}

/* 2,000 iterations of it are measured over more seeds in docs/gan-lab.md. */
static void it_learns_the_line(void **state)
{
    (void)state;
    for (uint64_t seed = 2; seed < 5; seed++) {
        sg_gan_opts o = sg_gan_defaults();
        o.shape = SG_GAN_LINE;
        o.net[SG_GAN_D].n_units = o.net[SG_GAN_G].n_units = 12;
        o.seed = seed;
        sg_gan *gan = make(&o);
        sg_error err;
        CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
        /* The control, before it has learnt. Fakes outside count as none at all, so JS alone would be no measure. */
        CHECK(sg_gan_view_of(gan)->js > 0.6 || sg_gan_view_of(gan)->outside_fake > SG_GAN_BATCH / 2);
        iterate(gan, 1000);
        CHECK_OK(sg_gan_look(gan, SG_GAN_SEE_ALL, &err), &err);
        CHECK(sg_gan_view_of(gan)->js < 0.6 && sg_gan_view_of(gan)->outside_fake < SG_GAN_BATCH / 10);
        sg_gan_free(gan);
    }
}

static void what_is_out_of_range_is_refused(void **state)
{
    (void)state;
    sg_gan_opts o = sg_gan_defaults();
    sg_gan *gan;
    sg_error err;
    o.net[SG_GAN_G].n_units = 0;
    CHECK(sg_gan_new(&gan, &o, &err) == SG_EARG && !gan);
    CHECK_TEXT(err.text, "generator: 0 units");
    o = sg_gan_defaults();
    o.net[SG_GAN_D].k = 11;
    CHECK(sg_gan_new(&gan, &o, &err) == SG_EARG);
    o = sg_gan_defaults();
    o.net[SG_GAN_D].rate = (double)NAN;
    CHECK(sg_gan_new(&gan, &o, &err) == SG_EARG);
    o = sg_gan_defaults();
    o.shape = SG_GAN_DRAWING;
    CHECK(sg_gan_new(&gan, &o, &err) == SG_EARG);
    CHECK_TEXT(err.text, "a drawing of 0 points");
    static const float far[2] = {0.5f, 1.5f};
    o.strokes = far;
    o.n_strokes = 1;
    CHECK(sg_gan_new(&gan, &o, &err) == SG_EARG);
    CHECK_TEXT(err.text, "outside the unit square");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_drawn_by_its_formula),
        cmocka_unit_test(noise_is_uniform_or_a_normal_cut_at_two_deviations),
        cmocka_unit_test(losses_and_their_gradients_are_those_of_the_formulas),
        cmocka_unit_test(arrows_are_the_slope_of_the_opinion),
        cmocka_unit_test(pictures_are_the_networks_at_their_points),
        cmocka_unit_test(a_cell_is_the_fainter_the_more_it_is_stretched),
        cmocka_unit_test(measures_are_zero_for_equals_and_count_what_lies_outside),
        cmocka_unit_test(each_part_does_exactly_its_updates),
        cmocka_unit_test(slow_motion_is_an_iteration_to_the_bit),
        cmocka_unit_test(the_loss_is_shown_before_it_is_learnt_from),
        cmocka_unit_test(another_rate_begins_with_new_moments),
        cmocka_unit_test(a_look_changes_nothing),
        cmocka_unit_test(it_learns_the_line),
        cmocka_unit_test(what_is_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
