/* sightglass net: the Playground from the command line. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sightglass/npy.h"
#include "sightglass/playground.h"

static const char help[] =
    "usage: sightglass net run [--hash STATE] [--epochs N] [--data FILE.csv] [--load DIR] [--json]\n"
    "                          [--field FILE.npy] [--curve FILE.csv] [--save DIR]\n\n"
    "Trains a net of the Playground. STATE is the part of an address after '#', of this program's page or of the "
    "original\n"
    "TensorFlow Playground: the same state gives the same points, weights and losses.\n\n"
    "  --hash STATE      what to train: activation=relu&dataset=xor&networkShape=4,2&seed=0.12345 ...\n"
    "  --epochs N        how long (100)\n"
    "  --data FILE.csv   points of your own: columns x, y, label\n"
    "  --load DIR        go on from what --save wrote; STATE may then change the rates\n"
    "  --json            losses, curve and weights for machines\n"
    "  --field FILE      outputs of all units over the square from -6 to 6, as [units,100,100]\n"
    "  --curve FILE      losses after each epoch, as CSV\n"
    "  --save DIR        config.json and model.safetensors, which --load and `sightglass inspect` open\n";

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

typedef struct request {
    const char *hash, *data, *load, *field, *curve, *save;
    long long epochs;
    bool json;
} request;

/* Losses at every `every` epochs, thinned so that their number stays bounded. */
enum { CURVE = 1024 };
typedef struct curve {
    int n;
    long long every;
    double epochs[CURVE], train[CURVE], test[CURVE];
} curve;

static void keep(curve *c, sg_play *p)
{
    if (sg_play_epoch(p) % c->every != 0)
        return;
    if (c->n == CURVE) { /* every other one goes */
        for (int i = 0; i < CURVE / 2; i++) {
            c->epochs[i] = c->epochs[2 * i];
            c->train[i] = c->train[2 * i];
            c->test[i] = c->test[2 * i];
        }
        c->n /= 2;
        c->every *= 2;
        if (sg_play_epoch(p) % c->every != 0)
            return;
    }
    c->epochs[c->n] = (double)sg_play_epoch(p);
    c->train[c->n] = sg_play_loss(p, SG_PLAY_TRAIN);
    c->test[c->n++] = sg_play_loss(p, SG_PLAY_TEST);
}

static sg_status read_data(sg_play *p, const char *path, sg_error *err)
{
    sg_file *file = NULL;
    sg_play_point *points = NULL;
    int n = 0;
    SG_TRY(sg_file_open(&file, path, err));
    sg_status status = sg_play_read_csv(&points, &n, (const char *)sg_file_data(file), sg_file_bytes(file), path, err);
    sg_file_close(file);
    if (status == SG_OK)
        status = sg_play_own(p, n, points, err);
    free(points);
    return status;
}

static sg_status open_play(sg_play **out, const request *r, sg_error *err)
{
    sg_play_state s;
    if (r->load) {
        SG_TRY(sg_play_load(out, r->load, err));
        if (!r->hash)
            return SG_OK;
        s = *sg_play_get_state(*out);
        sg_play_state wanted;
        SG_TRY(sg_play_state_parse(&wanted, r->hash, err));
        /* Only what leaves points and weights as they are. */
        if (strstr(r->hash, "learningRate="))
            s.learning_rate = wanted.learning_rate;
        if (strstr(r->hash, "momentum="))
            s.momentum = wanted.momentum;
        return sg_play_change(*out, &s, err);
    }
    SG_TRY(sg_play_state_parse(&s, r->hash ? r->hash : "", err));
    if (!s.seed[0])
        sg_play_state_seed(&s, (uint64_t)(sg_now() * 1e9) ^ ((uint64_t)getpid() << 20));
    return sg_play_new(out, &s, err);
}

static sg_status save_field(sg_play *p, const char *path, sg_error *err)
{
    enum { SIDE = 100 };
    const sg_dim dims[] = {sg_play_n_maps(p), SIDE, SIDE};
    double *numbers = malloc((size_t)(dims[0] * SIDE * SIDE) * sizeof *numbers);
    if (!numbers)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    sg_play_fields(p, SIDE, numbers);
    const sg_tensor t = sg_tensor_of(SG_F64, 3, dims, numbers);
    const sg_status status = sg_npy_save(path, &t, err);
    free(numbers);
    return status;
}

static sg_status train(sg_play *p, const request *r, curve *c, double *seconds, sg_error *err)
{
    sg_writer *w = NULL;
    if (r->curve) {
        SG_TRY(sg_writer_begin(&w, r->curve, err));
        fprintf(sg_writer_stream(w), "epoch,train,test\n");
    }
    const double began = sg_now();
    double shown = began;
    for (long long i = 0; !stopped; i++) {
        keep(c, p);
        if (w)
            fprintf(sg_writer_stream(w), "%lld,%.17g,%.17g\n", (long long)sg_play_epoch(p),
                    sg_play_loss(p, SG_PLAY_TRAIN), sg_play_loss(p, SG_PLAY_TEST));
        if (i == r->epochs)
            break;
        sg_play_train(p, 1);
        if (isatty(STDERR_FILENO) && sg_now() - shown > 0.2) {
            shown = sg_now();
            fprintf(stderr, "\repoch %lld of %lld, %.0f s left \033[K", i + 1, r->epochs,
                    (shown - began) * (double)(r->epochs - i - 1) / (double)(i + 1));
        }
    }
    *seconds = sg_now() - began;
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    return w ? sg_writer_commit(w, err) : SG_OK;
}

/* ---- what is printed ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *losses_json(sg_play *p)
{
    return json_pack("{s:o, s:o}", "train", number(sg_play_loss(p, SG_PLAY_TRAIN)), "test",
                     number(sg_play_loss(p, SG_PLAY_TEST)));
}

static json_t *layers_json(const sg_play *p)
{
    json_t *layers = json_array();
    for (int l = 0; l < sg_play_n_layers(p); l++) {
        json_t *weights = json_array(), *biases = json_array();
        for (int u = 0; u < sg_play_n_units(p, l); u++) {
            json_t *row = json_array();
            for (int i = 0; i < sg_play_n_units(p, l - 1); i++)
                json_array_append_new(row, number(sg_play_weight(p, l, u, i)));
            json_array_append_new(weights, row);
            json_array_append_new(biases, number(sg_play_bias(p, l, u)));
        }
        json_array_append_new(layers, json_pack("{s:o, s:o}", "weights", weights, "biases", biases));
    }
    return layers;
}

static json_t *curve_json(const curve *c)
{
    json_t *rows = json_array();
    for (int i = 0; i < c->n; i++)
        json_array_append_new(
            rows, json_pack("[I, o, o]", (json_int_t)c->epochs[i], number(c->train[i]), number(c->test[i])));
    return rows;
}

static int print_json(sg_play *p, const curve *c, double seconds)
{
    char state[SG_PLAY_TEXT];
    int n_train = 0, n_test = 0;
    (void)sg_play_points(p, SG_PLAY_TRAIN, &n_train);
    (void)sg_play_points(p, SG_PLAY_TEST, &n_test);
    json_t *root = json_pack("{s:s, s:I, s:o, s:i, s:i, s:i, s:i, s:b, s:o, s:o, s:{s:s, s:s, s:f}}", "state",
                             sg_play_state_write(sg_play_get_state(p), state), "epoch", (json_int_t)sg_play_epoch(p),
                             "losses", losses_json(p), "train_points", n_train, "test_points", n_test, "parameters",
                             sg_play_n_parameters(p), "dead_links", sg_play_n_dead(p), "own_data",
                             (int)sg_play_is_own(p), "layers", layers_json(p), "curve", curve_json(c), "origin",
                             "where", "command", "backend", "playground f64", "seconds", seconds);
    if (!root)
        return EXIT_FAILED;
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(17)); /* every digit: nets are compared by them */
    putchar('\n');
    json_decref(root);
    return 0;
}

static int print_text(sg_play *p, const curve *c, double seconds, long long epochs)
{
    char state[SG_PLAY_TEXT];
    const cli_paint paint = cli_colours();
    int n_train = 0, n_test = 0;
    (void)sg_play_points(p, SG_PLAY_TRAIN, &n_train);
    (void)sg_play_points(p, SG_PLAY_TEST, &n_test);
    printf("%s%s%s\n", paint.dim, sg_play_state_write(sg_play_get_state(p), state), paint.off);
    printf("%d parameters, %d points to train on and %d to test\n\n", sg_play_n_parameters(p), n_train, n_test);
    printf("%s%10s  %10s  %10s%s\n", paint.bold, "epoch", "train", "test", paint.off);
    const int step = SG_MAX(c->n / 10, 1);
    for (int i = 0; i < c->n; i++)
        if (i % step == 0 && c->epochs[i] < (double)sg_play_epoch(p))
            printf("%10.0f  %10.6f  %10.6f\n", c->epochs[i], c->train[i], c->test[i]);
    printf("%10lld  %10.6f  %10.6f\n", (long long)sg_play_epoch(p), sg_play_loss(p, SG_PLAY_TRAIN),
           sg_play_loss(p, SG_PLAY_TEST));
    if (sg_play_n_dead(p))
        printf("\n%d links are dead\n", sg_play_n_dead(p));
    printf("\n%.3f s", seconds);
    if (epochs > 0 && seconds > 0)
        printf(", %.0f epochs per second with their losses", (double)epochs / seconds);
    putchar('\n');
    return 0;
}

static int run(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_play *p = NULL;
    double seconds = 0;
    curve *c = calloc(1, sizeof *c);
    cli_catch(on_interrupt);
    sg_status status = c ? open_play(&p, r, &err) : sg_fail(&err, SG_ENOMEM, "out of memory");
    if (status == SG_OK && r->data)
        status = read_data(p, r->data, &err);
    /* What could not be written is said before the work. */
    for (int i = 0; status == SG_OK && i < 2; i++)
        status = sg_writer_check(i ? r->curve : r->field, &err);
    if (status == SG_OK) {
        c->every = 1;
        const int64_t from = sg_play_epoch(p);
        status = train(p, r, c, &seconds, &err);
        if (status == SG_OK && r->field)
            status = save_field(p, r->field, &err);
        if (status == SG_OK && r->save)
            status = sg_play_save(p, r->save, &err);
        if (status == SG_OK)
            (void)(r->json ? print_json(p, c, seconds) : print_text(p, c, seconds, sg_play_epoch(p) - from));
    }
    sg_play_free(p);
    free(c);
    return status != SG_OK ? cli_fail(&err) : stopped ? 130 : 0;
}

int cmd_net(int argc, char **argv)
{
    static char title[] = "sightglass net run";
    static const struct option options[] = {
        {"hash", required_argument, NULL, 's'},  {"epochs", required_argument, NULL, 'e'},
        {"data", required_argument, NULL, 'd'},  {"load", required_argument, NULL, 'l'},
        {"field", required_argument, NULL, 'f'}, {"curve", required_argument, NULL, 'c'},
        {"save", required_argument, NULL, 'o'},  {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},        {0}};
    request r = {.epochs = 100};
    sg_error err = {SG_OK, ""};

    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "run") != 0)
        return cli_usage("net", "wanted run");
    argv[1] = title;
    argc--;
    argv++;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            r.hash = optarg;
            break;
        case 'e':
            if (cli_whole("--epochs", optarg, 0, 1000000000, &r.epochs, &err) != SG_OK)
                return cli_fail(&err);
            break;
        case 'd':
            r.data = optarg;
            break;
        case 'l':
            r.load = optarg;
            break;
        case 'f':
            r.field = optarg;
            break;
        case 'c':
            r.curve = optarg;
            break;
        case 'o':
            r.save = optarg;
            break;
        case 'j':
            r.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind != argc)
        return cli_usage("net run", "\"%.60s\" is one word too many", argv[optind]);
    if (r.load && r.data)
        return cli_usage("net run", "--load brings its own points; --data is for a new net");
    return run(&r);
}
