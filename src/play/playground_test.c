/* The Playground against numbers that the original computed, and against what they have to fulfil. */
#include "check.h"
#include "faults.h"

#include "sightglass/ops.h"
#include "sightglass/playground.h"

static sg_play *open_play(const char *address)
{
    sg_play_state s;
    sg_play *p = NULL;
    sg_error err;
    CHECK_OK(sg_play_state_parse(&s, address, &err), &err);
    CHECK_OK(sg_play_new(&p, &s, &err), &err);
    return p;
}

/* ---- the stream ---- */

/* Numbers of seedrandom, as the specification of the original lists them. */
static void a_seed_gives_the_numbers_of_the_original(void **state)
{
    (void)state;
    static const struct {
        const char *seed;
        double first[3];
    } known[] = {{"0.12345", {0.9152007406557323, 0.4702753218035592, 0.2736265229359467}},
                 {"hello", {0.5463663768140734, 0.4397379377059223, 0.554769432473455}},
                 {"1", {0.2694488477791326, 0.43440878183925163, 0.8740779300873869}}};
    for (size_t i = 0; i < 3; i++) {
        sg_play_stream r;
        sg_play_stream_seed(&r, known[i].seed);
        for (int k = 0; k < 3; k++)
            CHECK(sg_play_stream_next(&r) == known[i].first[k]);
    }
}

/* ---- golden runs: seed 0.12345, as computed by the original ---- */

static const struct golden {
    const char *address;
    double x, y, label, weight;
    double losses[4][2]; /* train and test after 0, 1, 100, 300 epochs */
} goldens[] = {
    {"seed=0.12345",
     4.618077316847547,
     -1.8354395887379444,
     -1,
     0.15119012045435498,
     {{0.5015807429602891, 0.5181059111177386},
      {0.49635937670035557, 0.5094232758604605},
      {0.00889784142890691, 0.01144976196033489},
      {0.0011371088291601413, 0.0017708485797291757}}},
    {"seed=0.12345&dataset=xor&activation=relu",
     5.096362367914215,
     -2.1979115662055433,
     -1,
     0.15119012045435498,
     {{0.5047024361533589, 0.49501569376380844},
      {0.4813218939274627, 0.47754842660461516},
      {0.0022953345494716895, 0.005929366361889284},
      {0.0005865862093493228, 0.0027569593688171637}}},
    {"seed=0.12345&dataset=spiral&x=true&y=true&xSquared=true&ySquared=true&xTimesY=true&sinX=true&sinY=true&"
     "networkShape=8,4&noise=0",
     3.0204337300800503,
     -2.435442481807918,
     1,
     -0.35059290321591696,
     {{0.5120610836837864, 0.5231617622438327},
      {0.5043839634691887, 0.5131882708587416},
      {0.14811332382073752, 0.28892470969659206},
      {0.02478356702186554, 0.16593615911299528}}},
    {"seed=0.12345&problem=regression&regDataset=reg-plane",
     4.247773950612919,
     1.4551190568711139,
     0.5702893007484033,
     0.1894368518194004,
     {{0.16481137372699767, 0.16875411387943462},
      {0.056478763929344034, 0.05673608724525803},
      {0.00039888191729263195, 0.00044652561439989513},
      {0.00012285422997282517, 0.00014293681921273706}}},
};

static void check_golden(const struct golden *g)
{
    static const int epochs[4] = {0, 1, 100, 300};
    static const double tolerances[4] = {1e-9, 1e-9, 1e-6, 1e-5};
    sg_play *p = open_play(g->address);
    int n = 0;
    const sg_play_point *points = sg_play_points(p, SG_PLAY_TRAIN, &n);

    CHECK_NEAR(points[0].x, g->x, 1e-12, 0);
    CHECK_NEAR(points[0].y, g->y, 1e-12, 0);
    CHECK_NEAR(points[0].label, g->label, 1e-12, 0);
    CHECK_NEAR(sg_play_weight(p, 0, 0, 0), g->weight, 1e-12, 0);
    for (int i = 0; i < 4; i++) {
        sg_play_train(p, epochs[i] - sg_play_epoch(p));
        CHECK_NEAR(sg_play_loss(p, SG_PLAY_TRAIN), g->losses[i][0], tolerances[i], 0);
        CHECK_NEAR(sg_play_loss(p, SG_PLAY_TEST), g->losses[i][1], tolerances[i], 0);
    }
    sg_play_free(p);
}

static void the_default_state_learns_as_the_original_does(void **state)
{
    (void)state;
    check_golden(&goldens[0]);
}

static void xor_with_relu_learns_as_the_original_does(void **state)
{
    (void)state;
    check_golden(&goldens[1]);
}

static void the_spiral_with_all_inputs_learns_as_the_original_does(void **state)
{
    (void)state;
    check_golden(&goldens[2]);
}

static void regression_learns_as_the_original_does(void **state)
{
    (void)state;
    check_golden(&goldens[3]);
}

/* ---- a net as simple as can be, to compare with ---- */

/* One point after the other, one number after the other, as the specification words it, with the mathematics of libm.
 */
typedef struct simple {
    int n_layers, units[SG_PLAY_LAYERS + 2];
    double w[SG_PLAY_LAYERS + 1][16][16], b[SG_PLAY_LAYERS + 1][16];
    double w_sum[SG_PLAY_LAYERS + 1][16][16], b_sum[SG_PLAY_LAYERS + 1][16];
    bool dead[SG_PLAY_LAYERS + 1][16][16];
    double out[SG_PLAY_LAYERS + 2][16], error[SG_PLAY_LAYERS + 2][16];
    int count;
} simple;

static double activation(sg_play_activation a, double x)
{
    return a == SG_PLAY_TANH ? tanh(x) : a == SG_PLAY_SIGMOID ? 1 / (1 + exp(-x)) : a == SG_PLAY_RELU ? fmax(0, x) : x;
}

static double derivative(sg_play_activation a, double o)
{
    return a == SG_PLAY_TANH ? 1 - o * o : a == SG_PLAY_SIGMOID ? o * (1 - o) : a == SG_PLAY_RELU ? o > 0 : 1;
}

static sg_play_activation of_layer(const simple *net, const sg_play_state *s, int l)
{
    if (l < net->n_layers - 1)
        return s->activation;
    return s->problem == SG_PLAY_REGRESSION ? SG_PLAY_LINEAR : SG_PLAY_TANH;
}

static void simple_new(simple *net, const sg_play *p)
{
    memset(net, 0, sizeof *net);
    net->n_layers = sg_play_n_layers(p);
    for (int l = 0; l <= net->n_layers; l++)
        net->units[l] = sg_play_n_units(p, l - 1);
    for (int l = 0; l < net->n_layers; l++)
        for (int u = 0; u < net->units[l + 1]; u++) {
            net->b[l][u] = sg_play_bias(p, l, u);
            for (int i = 0; i < net->units[l]; i++)
                net->w[l][u][i] = sg_play_weight(p, l, u, i);
        }
}

static double simple_forward(simple *net, const sg_play_state *s, double x, double y)
{
    const double all[] = {x, y, x * x, y * y, x * y, sin(x), sin(y)};
    for (int i = 0, n = 0; i < SG_PLAY_INPUTS; i++)
        if (s->inputs[i])
            net->out[0][n++] = all[i];
    for (int l = 0; l < net->n_layers; l++)
        for (int u = 0; u < net->units[l + 1]; u++) {
            double sum = net->b[l][u];
            for (int i = 0; i < net->units[l]; i++)
                sum += net->w[l][u][i] * net->out[l][i];
            net->out[l + 1][u] = activation(of_layer(net, s, l), sum);
        }
    return net->out[net->n_layers][0];
}

static void simple_update(simple *net, const sg_play_state *s)
{
    for (int l = 0; l < net->n_layers; l++)
        for (int u = 0; u < net->units[l + 1]; u++) {
            net->b[l][u] -= s->learning_rate * net->b_sum[l][u] / net->count;
            net->b_sum[l][u] = 0;
            for (int i = 0; i < net->units[l]; i++) {
                double *w = &net->w[l][u][i];
                if (net->dead[l][u][i])
                    continue;
                const double slope = s->regularization == SG_PLAY_L1   ? (*w > 0) - (*w < 0)
                                     : s->regularization == SG_PLAY_L2 ? *w
                                                                       : 0;
                *w -= s->learning_rate / net->count * net->w_sum[l][u][i];
                const double next = *w - s->learning_rate * s->regularization_rate * slope;
                net->dead[l][u][i] = s->regularization == SG_PLAY_L1 && *w * next < 0;
                *w = net->dead[l][u][i] ? 0 : next;
                net->w_sum[l][u][i] = 0;
            }
        }
    net->count = 0;
}

static void simple_epoch(simple *net, const sg_play_state *s, const sg_play_point *points, int n)
{
    for (int k = 0; k < n; k++) {
        net->error[net->n_layers][0] = simple_forward(net, s, points[k].x, points[k].y) - points[k].label;
        for (int l = net->n_layers - 1; l >= 0; l--) {
            memset(net->error[l], 0, sizeof net->error[l]);
            for (int u = 0; u < net->units[l + 1]; u++) {
                const double d = net->error[l + 1][u] * derivative(of_layer(net, s, l), net->out[l + 1][u]);
                net->b_sum[l][u] += d;
                for (int i = 0; i < net->units[l]; i++) {
                    net->w_sum[l][u][i] += net->dead[l][u][i] ? 0 : d * net->out[l][i];
                    net->error[l][i] += net->w[l][u][i] * d;
                }
            }
        }
        net->count++;
        if ((k + 1) % s->batch_size == 0)
            simple_update(net, s);
    }
}

static double simple_loss(simple *net, const sg_play_state *s, const sg_play_point *points, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += pow(simple_forward(net, s, points[i].x, points[i].y) - points[i].label, 2) / 2;
    return sum / n;
}

static void compare_with_simple(const char *address, int epochs, double tolerance)
{
    sg_play *p = open_play(address);
    const sg_play_state *s = sg_play_get_state(p);
    int n[2];
    const sg_play_point *points[2] = {sg_play_points(p, SG_PLAY_TRAIN, &n[0]), sg_play_points(p, SG_PLAY_TEST, &n[1])};
    simple *net = malloc(sizeof *net);
    int dead = 0;
    CHECK(net);
    simple_new(net, p);
    for (int i = 0; i < epochs; i++) {
        simple_epoch(net, s, points[0], n[0]);
        sg_play_train(p, 1);
        for (int part = 0; part < 2; part++)
            CHECK_NEAR(sg_play_loss(p, (sg_play_part)part), simple_loss(net, s, points[part], n[part]), tolerance, 0);
    }
    for (int l = 0; l < net->n_layers; l++)
        for (int u = 0; u < net->units[l + 1]; u++)
            for (int i = 0; i < net->units[l]; i++) {
                CHECK_NEAR(sg_play_weight(p, l, u, i), net->w[l][u][i], 1e3 * tolerance, 0);
                CHECK(sg_play_is_dead(p, l, u, i) == net->dead[l][u][i]);
                dead += net->dead[l][u][i];
            }
    CHECK(sg_play_n_dead(p) == dead);
    if (strstr(address, "regularization=L1"))
        CHECK(dead > 0);
    free(net);
    sg_play_free(p);
}

static void what_is_left_of_an_epoch_is_carried_to_the_next(void **state)
{
    (void)state;
    compare_with_simple("seed=0.12345&batchSize=30", 20, 1e-11);
    compare_with_simple("seed=0.12345&batchSize=7&activation=sigmoid", 20, 1e-11);
    compare_with_simple("seed=0.12345&batchSize=100", 20, 1e-11); /* more than go through the net at once */
    compare_with_simple("seed=0.12345&batchSize=1", 5, 1e-11);
    compare_with_simple("seed=0.12345&batchSize=300", 3, 1e-11); /* never full: nothing is learnt */
}

static void penalties_kill_links_as_specified(void **state)
{
    (void)state;
    compare_with_simple("seed=0.12345&regularization=L1&regularizationRate=0.03", 60, 1e-11);
    compare_with_simple("seed=0.4&regularization=L1&regularizationRate=0.1&dataset=xor&activation=relu", 30, 1e-11);
    compare_with_simple("seed=0.12345&regularization=L2&regularizationRate=0.1&dataset=gauss", 60, 1e-11);
}

static void nets_of_all_shapes_learn_as_specified(void **state)
{
    (void)state;
    compare_with_simple("seed=0.5&networkShape=&problem=regression", 20, 1e-11);
    compare_with_simple("seed=0.5&networkShape=1", 20, 1e-11);
    compare_with_simple("seed=0.5&networkShape=3,5,7&x=false&sinX=true&xSquared=true&batchSize=9", 20, 1e-10);
    compare_with_simple("seed=0.5&networkShape=8,8,8,8,8,8&dataset=spiral&activation=relu&noise=30", 5, 1e-10);
    compare_with_simple("seed=0.5&networkShape=6,3&activation=linear&problem=regression&regDataset=reg-gauss", 10,
                        1e-10);
    compare_with_simple("seed=0.5&x=false&y=false", 5, 1e-11); /* biases alone */
    compare_with_simple("seed=0.5&initZero=true&noise=10&percTrainData=10", 20, 1e-11);
}

/* ---- points ---- */

static double next_in(sg_play_stream *r, double a, double b)
{
    return sg_play_stream_next(r) * (b - a) + a;
}

static double next_normal(sg_play_stream *r, double mean, double variance)
{
    double v1, v2, s;
    do {
        v1 = next_in(r, -1, 1);
        v2 = next_in(r, -1, 1);
        s = v1 * v1 + v2 * v2;
    } while (s > 1);
    return mean + sqrt(variance) * sqrt(-2 * log(s) / s) * v1;
}

/* The point that data set d draws as its i-th, by the formulas of the specification. */
static sg_play_point expected(sg_play_dataset d, int i, double nu, sg_play_stream *r)
{
    static const double centres[6][3] = {{-4, 2.5, 1},   {0, 2.5, -1}, {4, 2.5, 1},
                                         {-4, -2.5, -1}, {0, -2.5, 1}, {4, -2.5, -1}};
    const double pi = acos(-1);
    double x, y, nx, ny, label = 0;
    if (d == SG_PLAY_CIRCLE) {
        const double radius = i < 250 ? next_in(r, 0, 2.5) : next_in(r, 3.5, 5), a = next_in(r, 0, 2 * pi);
        x = radius * sin(a);
        y = radius * cos(a);
        nx = x + next_in(r, -5, 5) * nu;
        ny = y + next_in(r, -5, 5) * nu;
        return (sg_play_point){x, y, nx * nx + ny * ny < 6.25 ? 1 : -1};
    }
    if (d == SG_PLAY_XOR) {
        x = next_in(r, -5, 5);
        x += x > 0 ? 0.3 : -0.3;
        y = next_in(r, -5, 5);
        y += y > 0 ? 0.3 : -0.3;
        nx = x + next_in(r, -5, 5) * nu;
        ny = y + next_in(r, -5, 5) * nu;
        return (sg_play_point){x, y, nx * ny >= 0 ? 1 : -1};
    }
    if (d == SG_PLAY_GAUSS) {
        const double centre = i < 250 ? 2 : -2;
        x = next_normal(r, centre, 0.5 + 7 * nu);
        y = next_normal(r, centre, 0.5 + 7 * nu);
        return (sg_play_point){x, y, i < 250 ? 1 : -1};
    }
    if (d == SG_PLAY_SPIRAL) {
        const double part = i % 250 / 250.0, t = 1.75 * part * 2 * pi + (i < 250 ? 0 : pi);
        x = 5 * part * sin(t) + next_in(r, -1, 1) * nu;
        y = 5 * part * cos(t) + next_in(r, -1, 1) * nu;
        return (sg_play_point){x, y, i < 250 ? 1 : -1};
    }
    x = next_in(r, -6, 6);
    y = next_in(r, -6, 6);
    nx = x + next_in(r, -6, 6) * nu;
    ny = y + next_in(r, -6, 6) * nu;
    if (d == SG_PLAY_REG_PLANE)
        return (sg_play_point){x, y, (nx + ny + 10) / 10 - 1};
    for (int k = 0; k < 6; k++) {
        const double bump = centres[k][2] * fmax(0, 1 - hypot(nx - centres[k][0], ny - centres[k][1]) / 2);
        label = fabs(bump) > fabs(label) ? bump : label;
    }
    return (sg_play_point){x, y, label};
}

static void points_follow_their_formulas_at_every_noise(void **state)
{
    (void)state;
    static sg_play_point points[1200];
    const double noises[] = {0, 25, 50, 80};
    for (int d = 0; d < 6; d++)
        for (int k = 0; k < 4; k++) {
            sg_play_stream r;
            sg_play_stream_seed(&r, "0.7");
            const int n = sg_play_sample(points, (sg_play_dataset)d, 1200, noises[k], "0.7");
            CHECK(n == (d < 4 ? 500 : 1200));
            for (int i = 0; i < n; i++) {
                const sg_play_point want = expected((sg_play_dataset)d, i, noises[k] / 100, &r);
                CHECK_NEAR(points[i].x, want.x, 1e-12, 0);
                CHECK_NEAR(points[i].y, want.y, 1e-12, 0);
                CHECK_NEAR(points[i].label, want.label, 1e-12, 0);
            }
        }
}

static void the_train_ratio_parts_points_by_its_floor(void **state)
{
    (void)state;
    char address[64];
    int n = 0;
    for (int percent = 10; percent <= 90; percent += 10) {
        snprintf(address, sizeof address, "seed=3&percTrainData=%d&problem=regression", percent);
        sg_play *p = open_play(address);
        sg_play_points(p, SG_PLAY_TRAIN, &n);
        CHECK(n == 12 * percent);
        sg_play_points(p, SG_PLAY_TEST, &n);
        CHECK(n == 1200 - 12 * percent);
        sg_play_free(p);
    }
    sg_play *p = open_play("seed=3&percTrainData=33.3");
    sg_play_points(p, SG_PLAY_TRAIN, &n);
    CHECK(n == 166);
    sg_play_free(p);
}

static void points_of_ones_own_are_read_from_csv(void **state)
{
    (void)state;
    static const char text[] = "\xEF\xBB\xBFlabel, y ,x\n# a comment\n1,2,3\r\n\n0,-1.5e1,\"4\"\n";
    sg_play_point *points = NULL;
    int n = 0;
    sg_error err;
    CHECK_OK(sg_play_read_csv(&points, &n, text, sizeof text - 1, "a.csv", &err), &err);
    CHECK(n == 2);
    CHECK(points[0].x == 3 && points[0].y == 2 && points[0].label == 1);
    CHECK(points[1].x == 4 && points[1].y == -15 && points[1].label == 0);
    sg_play *p = open_play("seed=0.1");
    CHECK_OK(sg_play_own(p, n, points, &err), &err);
    free(points);
    CHECK(sg_play_is_own(p));
    const sg_play_point *train = sg_play_points(p, SG_PLAY_TRAIN, &n);
    CHECK(n == 1);
    CHECK(train[0].label == (train[0].x == 3 ? 1 : -1)); /* 0 and 1 became -1 and 1 */
    sg_play_train(p, 3);

    sg_play_state s = *sg_play_get_state(p);
    s.train_percent = 100;
    CHECK_OK(sg_play_change(p, &s, &err), &err);
    CHECK(sg_play_is_own(p));
    sg_play_points(p, SG_PLAY_TRAIN, &n);
    CHECK(n == 2 && isnan(sg_play_loss(p, SG_PLAY_TEST)));
    s.noise = 5;
    CHECK_OK(sg_play_change(p, &s, &err), &err);
    CHECK(!sg_play_is_own(p));
    sg_play_free(p);

    static const char *const bad[] = {"", "x,y,label\n", "1,2\n", "1,2,3\n1,a,2\n", "1,2,nan\n", "1,2,1e999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(sg_play_read_csv(&points, &n, bad[i], strlen(bad[i]), "b.csv", &err), SG_EFORMAT);
        CHECK_TEXT(err.text, "b.csv: ");
        CHECK(points == NULL);
    }
    CHECK_STATUS(sg_play_read_csv(&points, &n, bad[3], strlen(bad[3]), "b.csv", &err), SG_EFORMAT);
    CHECK_TEXT(err.text, "line 2");
}

/* ---- the address ---- */

static const char standard[] =
    "activation=tanh&regularization=none&batchSize=10&dataset=circle&regDataset=reg-plane&learningRate=0.03&"
    "regularizationRate=0&noise=0&networkShape=4,2&seed=0.12345&showTestData=false&discretize=false&percTrainData=50&"
    "x=true&y=true&xTimesY=false&xSquared=false&ySquared=false&cosX=false&sinX=false&cosY=false&sinY=false&"
    "collectStats=false&problem=classification&initZero=false&hideText=false";

static void an_address_is_written_as_the_original_writes_it(void **state)
{
    (void)state;
    char text[SG_PLAY_TEXT];
    sg_play_state s;
    static const char other[] =
        "activation=relu&regularization=L1&batchSize=1&dataset=spiral&regDataset=reg-gauss&learningRate=0.00001&"
        "regularizationRate=0.003&noise=35&networkShape=&seed=hello&showTestData=true&discretize=true&percTrainData=80&"
        "x=false&y=true&xTimesY=true&xSquared=true&ySquared=true&cosX=true&sinX=true&cosY=true&sinY=true&"
        "collectStats=true&tutorial=dataset&problem=regression&initZero=true&hideText=true&playButton_hide=true&"
        "noise_hide=false";
    CHECK_OK(sg_play_state_parse(&s, "#seed=0.12345", NULL), NULL);
    assert_string_equal(sg_play_state_write(&s, text), standard);
    CHECK_OK(sg_play_state_parse(&s, other, NULL), NULL);
    /* as JavaScript writes 0.00001 */
    const char *rate = strstr(sg_play_state_write(&s, text), "learningRate=0.00001&");
    CHECK(rate);
    assert_string_equal(text, other);
}

static void an_address_is_read_as_the_original_reads_it(void **state)
{
    (void)state;
    char text[SG_PLAY_TEXT];
    sg_play_state s;
    CHECK_OK(sg_play_state_parse(&s,
                                 "activation=cosh&dataset=&noise=%20&batchSize=+20&learningRate= 1e-1 &x=FALSE&y=false&"
                                 "nonsense=1&seed=a=b&seed&networkShape=3&networkShape=8,8.5&stepButton_hide=yes&"
                                 "playButton_hide=true&percTrainData=0x1E&regularizationRate=1e400&tutorial= ",
                                 NULL),
             NULL);
    CHECK(s.activation == SG_PLAY_TANH && s.dataset == SG_PLAY_CIRCLE && s.noise == 0);
    CHECK(s.batch_size == 20 && s.learning_rate == 0.1 && s.train_percent == 30 && s.regularization_rate == 0);
    CHECK(s.inputs[SG_PLAY_X] && !s.inputs[SG_PLAY_Y]);
    assert_string_equal(s.seed, "a");
    assert_string_equal(s.tutorial, "");
    CHECK(s.n_layers == 2 && s.shape[0] == 8 && s.shape[1] == 9);
    CHECK(s.n_hides == 2 && !s.hides[0].hidden && s.hides[1].hidden);
    CHECK_OK(sg_play_state_parse(&s, "networkShape=&noise=77", NULL), NULL);
    CHECK(s.n_layers == 0 && s.noise == 77);
    CHECK_OK(sg_play_state_parse(&s, "noise=81&optimizer=adam", NULL), NULL);
    CHECK(s.noise == 50 && s.optimizer == SG_PLAY_ADAM);
    CHECK_TEXT(sg_play_state_write(&s, text), "&hideText=false&optimizer=adam");
    CHECK_OK(sg_play_state_parse(&s, "noise=-3", NULL), NULL);
    CHECK(s.noise == 0);

    static char long_seed[400] = "seed=";
    memset(long_seed + 5, 'a', 300);
    sg_error err;
    CHECK_STATUS(sg_play_state_parse(&s, long_seed, &err), SG_EARG);
    CHECK_TEXT(err.text, "seed");
}

/* ---- changes ---- */

static void a_change_resets_what_it_has_to(void **state)
{
    (void)state;
    sg_error err;
    sg_play *p = open_play("seed=0.12345");
    int n = 0;
    sg_play_train(p, 5);
    const double weight = sg_play_weight(p, 0, 0, 0), first = sg_play_points(p, SG_PLAY_TRAIN, &n)[0].x;

    sg_play_state s = *sg_play_get_state(p);
    s.learning_rate = 0.1;
    s.show_test_data = true;
    CHECK_OK(sg_play_change(p, &s, &err), &err);
    CHECK(sg_play_epoch(p) == 5 && sg_play_weight(p, 0, 0, 0) == weight);

    s.activation = SG_PLAY_RELU;
    CHECK_OK(sg_play_change(p, &s, &err), &err);
    CHECK(sg_play_epoch(p) == 0 && sg_play_weight(p, 0, 0, 0) != weight);
    CHECK(sg_play_points(p, SG_PLAY_TRAIN, &n)[0].x == first);

    s.noise = 20;
    CHECK_OK(sg_play_change(p, &s, &err), &err);
    CHECK(strcmp(sg_play_get_state(p)->seed, "0.12345") != 0);
    CHECK(strlen(sg_play_get_state(p)->seed) == 7); /* five decimals */
    CHECK(sg_play_points(p, SG_PLAY_TRAIN, &n)[0].x != first);

    /* Regenerating keeps the net; what a seed names is drawn again from it. */
    sg_play_train(p, 2);
    CHECK_OK(sg_play_regenerate(p, &err), &err);
    CHECK(sg_play_epoch(p) == 2);
    sg_play *again = NULL;
    CHECK_OK(sg_play_new(&again, sg_play_get_state(p), &err), &err);
    CHECK(sg_play_points(p, SG_PLAY_TRAIN, &n)[0].x == sg_play_points(again, SG_PLAY_TRAIN, &n)[0].x);
    sg_play_free(again);
    sg_play_free(p);
}

/* The stream goes on: the weights of a reset are the numbers that follow those of the first net. */
static void a_reset_draws_from_the_running_stream(void **state)
{
    (void)state;
    sg_error err;
    sg_play *p = open_play("seed=0.12345&networkShape=");
    sg_play_stream r;
    sg_play_stream_seed(&r, "0.12345");
    for (int i = 0; i < 500 * 4 + 500 + 2; i++) /* points, shuffle, first weights */
        (void)sg_play_stream_next(&r);
    CHECK_OK(sg_play_reset(p, &err), &err);
    CHECK(sg_play_weight(p, 0, 0, 0) == sg_play_stream_next(&r) - 0.5);
    CHECK(sg_play_weight(p, 0, 0, 1) == sg_play_stream_next(&r) - 0.5);
    char seed[16];
    snprintf(seed, sizeof seed, "%.5f", sg_play_stream_next(&r));
    CHECK_OK(sg_play_regenerate(p, &err), &err);
    assert_string_equal(sg_play_get_state(p)->seed, seed);
    sg_play_free(p);
}

static void an_edited_weight_changes_the_loss_and_is_trained_from(void **state)
{
    (void)state;
    sg_play *p = open_play("seed=0.12345");
    const double before = sg_play_loss(p, SG_PLAY_TEST), output = sg_play_output(p, 1, 1);
    sg_play_set_weight(p, 2, 0, 1, 3);
    sg_play_set_bias(p, 0, 2, -1);
    CHECK(sg_play_weight(p, 2, 0, 1) == 3 && sg_play_bias(p, 0, 2) == -1);
    CHECK(sg_play_loss(p, SG_PLAY_TEST) != before && sg_play_output(p, 1, 1) != output);
    sg_play_train(p, 1);
    CHECK(sg_play_weight(p, 2, 0, 1) != 3);
    CHECK_NEAR(sg_play_weight(p, 2, 0, 1), 3, 0.5, 0);
    sg_play_free(p);
}

/* Momentum 0 is plain descent, bit for bit but for the rounding of rate / count. */
static void momentum_and_adam_descend(void **state)
{
    (void)state;
    sg_play *plain = open_play("seed=0.12345"), *none = open_play("seed=0.12345&optimizer=momentum&momentum=0");
    sg_play_train(plain, 20);
    sg_play_train(none, 20);
    CHECK_NEAR(sg_play_loss(none, SG_PLAY_TRAIN), sg_play_loss(plain, SG_PLAY_TRAIN), 1e-12, 0);
    sg_play_free(none);
    sg_play *fast = open_play("seed=0.12345&optimizer=momentum");
    sg_play_train(fast, 20);
    CHECK(sg_play_loss(fast, SG_PLAY_TRAIN) < 0.5 * sg_play_loss(plain, SG_PLAY_TRAIN));
    sg_play_free(fast);

    /* Adam's first step moves every parameter by the rate, whatever its derivative (Kingma & Ba 2015, section 2.1). */
    sg_play *adam = open_play("seed=0.12345&optimizer=adam&batchSize=250&learningRate=0.01");
    sg_play *start = open_play("seed=0.12345&batchSize=250");
    sg_play_train(adam, 1);
    for (int u = 0; u < 4; u++)
        for (int i = 0; i < 2; i++)
            CHECK_NEAR(fabs(sg_play_weight(adam, 0, u, i) - sg_play_weight(start, 0, u, i)), 0.01, 1e-5, 0);
    sg_play_free(start);
    sg_play_free(adam);
    sg_play_free(plain);
}

static void quick_activations_agree_to_rounding(void **state)
{
    (void)state;
    static const char *const functions[] = {"tanh", "sigmoid"};
    for (int i = 0; i < 2; i++) {
        char address[80];
        snprintf(address, sizeof address, "seed=0.12345&activation=%s", functions[i]);
        sg_play *exact = open_play(address);
        strcat(address, "&quick=true");
        sg_play *quick = open_play(address);
        sg_play_train(exact, 30);
        sg_play_train(quick, 30);
        CHECK_NEAR(sg_play_loss(quick, SG_PLAY_TEST), sg_play_loss(exact, SG_PLAY_TEST), 1e-12, 0);
        sg_play_free(exact);
        sg_play_free(quick);
    }
}

/* ---- fields ---- */

static void a_field_is_what_the_net_says_of_each_place(void **state)
{
    (void)state;
    enum { SIDE = 101 };
    static double field[2 + 7][SIDE][SIDE];
    sg_play *p = open_play("seed=0.12345");
    sg_play_train(p, 10);
    CHECK(sg_play_n_maps(p) == 9);
    sg_play_fields(p, SIDE, field[0][0]);
    for (int row = 0; row < SIDE; row += 25)
        for (int column = 0; column < SIDE; column += 25) {
            const double x = -6 + 0.12 * column, y = 6 - 0.12 * row;
            CHECK_NEAR(field[0][row][column], x, 1e-12, 0);
            CHECK_NEAR(field[1][row][column], y, 1e-12, 0);
            CHECK_NEAR(field[8][row][column], sg_play_output(p, x, y), 1e-12, 0);
            CHECK_NEAR(field[2][row][column],
                       tanh(sg_play_bias(p, 0, 0) + sg_play_weight(p, 0, 0, 0) * x + sg_play_weight(p, 0, 0, 1) * y),
                       1e-12, 0);
        }
    sg_play_free(p);
}

/* ---- as a graph ---- */

static void compare_with_graph(const char *address)
{
    enum { N = 50 };
    static float points[N][2], targets[N];
    sg_error err;
    sg_graph *g = NULL;
    sg_state *numbers = NULL;
    sg_session *session = NULL;
    sg_play *p = open_play(address);
    int n = 0;
    const sg_play_point *train = sg_play_points(p, SG_PLAY_TRAIN, &n);
    sg_play_train(p, 30);

    CHECK_OK(sg_play_graph(&g, p, SG_F32, &err), &err);
    sg_value *loss = sg_graph_find(g, "loss"), *weight = sg_graph_find(g, "layers.0.weight");
    sg_value *fetches[] = {sg_graph_find(g, "output"), loss, sg_grad(g, loss, weight)};
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_state_new(&numbers, g, &err), &err);
    CHECK_OK(sg_state_init(numbers, 0, &err), &err);
    CHECK_OK(sg_play_bind(p, g, numbers, &err), &err);
    CHECK_OK(sg_session_new(&session, g, numbers, sg_exec_defaults(), &err), &err);

    simple *net = malloc(sizeof *net);
    CHECK(net);
    simple_new(net, p);
    double mean = 0;
    sg_play_state s = *sg_play_get_state(p);
    s.batch_size = N + 1; /* sums are kept */
    sg_play_point used[N];
    for (int i = 0; i < N; i++) {
        points[i][0] = (float)train[i].x;
        points[i][1] = (float)train[i].y;
        targets[i] = (float)train[i].label;
        used[i] = (sg_play_point){(double)points[i][0], (double)points[i][1], (double)targets[i]};
        const double d = sg_play_output(p, used[i].x, used[i].y) - used[i].label;
        mean += d * d / 2 / N;
    }
    simple_epoch(net, &s, used, N);
    const sg_feed feeds[] = {{sg_graph_find(g, "points"), sg_tensor_of(SG_F32, 2, (sg_dim[]){N, 2}, points)},
                             {sg_graph_find(g, "target"), sg_tensor_of(SG_F32, 1, (sg_dim[]){N}, targets)}};
    sg_tensor out[3];
    CHECK_OK(sg_session_run(session, 2, feeds, 3, fetches, out, &err), &err);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(sg_tensor_get(&out[0], i), sg_play_output(p, used[i].x, used[i].y), 2e-6, 2e-6);
    CHECK_NEAR(sg_tensor_get(&out[1], 0), mean, 1e-6, 1e-5);
    CHECK(out[2].dims[0] == sg_play_n_units(p, 0) && out[2].dims[1] == sg_play_n_units(p, -1));
    for (int u = 0; u < (int)out[2].dims[0]; u++)
        for (int i = 0; i < (int)out[2].dims[1]; i++)
            CHECK_NEAR(sg_tensor_get(&out[2], u * out[2].dims[1] + i), net->w_sum[0][u][i] / N, 2e-6, 1e-4);
    free(net);
    sg_session_free(session);
    sg_state_free(numbers);
    sg_graph_free(g);
    sg_play_free(p);
}

static void the_graph_of_a_net_computes_the_same_with_its_gradient(void **state)
{
    (void)state;
    compare_with_graph("seed=0.12345");
    compare_with_graph("seed=0.12345&activation=sigmoid&xSquared=true&sinY=true&ySquared=true&xTimesY=true&sinX=true&"
                       "networkShape=8,3");
    compare_with_graph("seed=0.12345&problem=regression&activation=relu&networkShape=5");
}

/* ---- on disk ---- */

static void check_same(sg_play *p, sg_play *other)
{
    const char *name = NULL;
    sg_tensor a, b;
    for (int i = 0; sg_play_tensor(p, i, &name, &a); i++) {
        CHECK(sg_play_tensor(other, i, &name, &b));
        CHECK(memcmp(a.data, b.data, sg_tensor_bytes(&a)) == 0);
    }
}

static void a_saved_run_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    static const char *const addresses[] = {"seed=0.12345&batchSize=30&regularization=L1&regularizationRate=0.03",
                                            "seed=0.12345&optimizer=adam&batchSize=30",
                                            "seed=0.12345&optimizer=momentum&networkShape="};
    char dir[] = "/tmp/sg_play_XXXXXX", path[64];
    sg_error err;
    CHECK(mkdtemp(dir));
    for (int i = 0; i < 3; i++) {
        sg_play *p = open_play(addresses[i]), *loaded = NULL;
        sg_play_train(p, 40);
        sg_play_set_bias(p, 0, 0, 0.25);
        CHECK_OK(sg_play_save(p, dir, &err), &err);
        CHECK_OK(sg_play_load(&loaded, dir, &err), &err);
        sg_play_train(p, 7);
        sg_play_train(loaded, 7);
        CHECK(sg_play_epoch(loaded) == 47);
        check_same(p, loaded);
        CHECK_OK(sg_play_reset(p, &err), &err);
        CHECK_OK(sg_play_reset(loaded, &err), &err);
        sg_play_train(p, 3);
        sg_play_train(loaded, 3);
        check_same(p, loaded);
        sg_play_free(p);
        sg_play_free(loaded);
    }
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs("{\"model_type\": \"playground\", \"state\": \"seed=1&networkShape=3\", \"train_points\": 9}", f);
    fclose(f);
    sg_play *p = NULL;
    CHECK_STATUS(sg_play_load(&p, dir, &err), SG_EFORMAT); /* the weights are of another shape */
    CHECK_TEXT(err.text, "layers.0.weight");
    unlink(path);
    CHECK_STATUS(sg_play_load(&p, dir, &err), SG_ENOTFOUND);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}

static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    sg_play_state s;
    CHECK_OK(sg_play_state_parse(&s, "seed=1&optimizer=adam", NULL), NULL);
    for (long n = 0;; n++) {
        sg_play *p = NULL;
        sg_error err;
        sg_faults_begin(n, SG_FAULT_ONCE);
        const sg_status status = sg_play_new(&p, &s, &err);
        if (!sg_faults_end()) {
            CHECK_OK(status, &err);
            sg_play_train(p, 1);
            CHECK(n > 10);
            sg_play_free(p);
            break;
        }
        CHECK(status == SG_ENOMEM && !p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_numbers_of_the_original),
        cmocka_unit_test(the_default_state_learns_as_the_original_does),
        cmocka_unit_test(xor_with_relu_learns_as_the_original_does),
        cmocka_unit_test(the_spiral_with_all_inputs_learns_as_the_original_does),
        cmocka_unit_test(regression_learns_as_the_original_does),
        cmocka_unit_test(what_is_left_of_an_epoch_is_carried_to_the_next),
        cmocka_unit_test(penalties_kill_links_as_specified),
        cmocka_unit_test(nets_of_all_shapes_learn_as_specified),
        cmocka_unit_test(points_follow_their_formulas_at_every_noise),
        cmocka_unit_test(the_train_ratio_parts_points_by_its_floor),
        cmocka_unit_test(points_of_ones_own_are_read_from_csv),
        cmocka_unit_test(an_address_is_written_as_the_original_writes_it),
        cmocka_unit_test(an_address_is_read_as_the_original_reads_it),
        cmocka_unit_test(a_change_resets_what_it_has_to),
        cmocka_unit_test(a_reset_draws_from_the_running_stream),
        cmocka_unit_test(an_edited_weight_changes_the_loss_and_is_trained_from),
        cmocka_unit_test(momentum_and_adam_descend),
        cmocka_unit_test(quick_activations_agree_to_rounding),
        cmocka_unit_test(a_field_is_what_the_net_says_of_each_place),
        cmocka_unit_test(the_graph_of_a_net_computes_the_same_with_its_gradient),
        cmocka_unit_test(a_saved_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(memory_that_runs_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
