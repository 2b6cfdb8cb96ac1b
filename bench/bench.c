/* The runner. usage: bench [NAME...] [--rounds N] [--no-peer] [--json FILE] [--trace FOLDER]
 *
 * A row that takes long gets fewer rounds, but three at least. With --trace each row of a session is run some
 * times more under a trace, FOLDER/NAME.trace.json, which bench/steps.py sums up. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MOST_ROUNDS  100
#define MOST_ROWS    64
#define LEAST_ROUNDS 3
#define LONG         40.0 /* seconds, after which no further round of a row is begun */
#define CLOSE_ENOUGH 1e-3
#define TRACED       3 /* runs in a trace, of which steps.py takes the best of each step */

typedef struct options {
    const char *const *names;
    int n_names, rounds;
    bool no_peer;
    const char *json, *trace;
} options;

typedef struct times {
    double ours[MOST_ROUNDS], peer[MOST_ROUNDS];
    int n_ours, n_peer;
} times;

static const struct {
    const bench_row *rows;
    const int *n;
} themes[] = {
#define BENCH_ROWS(name) {bench_##name##_rows, &bench_n_##name##_rows},
#include "rows.def"
#undef BENCH_ROWS
};

/* ---- the temporary folder ---- */

static bench state; /* the one object of this program, here so that the end of it can tidy up */

static void remove_folder(void)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    static const bench_gpt *const shapes[] = {&bench_gpt2, &bench_gpt_512, &bench_gpt_128, &bench_gpt_othello};
    char path[600];

    if (!state.folder[0])
        return;
    for (size_t s = 0; s < SG_COUNT_OF(shapes); s++) {
        for (size_t f = 0; f < SG_COUNT_OF(files); f++) {
            snprintf(path, sizeof path, "%s/%s/%s", state.folder, shapes[s]->folder, files[f]);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", state.folder, shapes[s]->folder);
        rmdir(path);
    }
    snprintf(path, sizeof path, "%s/tokens.txt", state.folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/numbers.f32", state.folder);
    unlink(path);
    rmdir(state.folder);
    state.folder[0] = 0;
}

static void on_signal(int number)
{
    remove_folder(); /* only unlink, rmdir and printing into a buffer */
    _exit(128 + number);
}

/* ---- numbers ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, int n)
{
    if (n == 0)
        return NAN;
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static double shown(const bench_row *row, double seconds)
{
    return row->rate ? row->scale / seconds : seconds * row->scale;
}

/* Absent numbers are null, and a dash in the table. */
static void put_json(FILE *json, const char *key, double x)
{
    if (isnan(x))
        fprintf(json, ", \"%s\": null", key);
    else
        fprintf(json, ", \"%s\": %.6g", key, x);
}

static void put_cell(double x, int width, int decimals, const char *after)
{
    if (isnan(x))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f%s", width - (int)strlen(after), decimals, x, after);
}

/* The middle, and the best: how far they lie apart tells what else the machine did. */
typedef struct summary {
    double middle, best;
} summary;

static summary sum_up(double *x, int n)
{
    const double middle = median(x, n);
    return (summary){middle, n ? x[0] : (double)NAN}; /* sorted by now */
}

typedef struct result {
    const bench_row *row;
    summary ours, peer;
} result;

typedef struct results {
    result all[MOST_ROWS];
    int n;
} results;

static double share_of_peak(const bench *b, const result *r)
{
    const double peak = r->row->peak == BENCH_NO_PEAK ? 0 : b->peak[r->row->peak];
    return peak > 0 && r->row->work > 0 ? r->row->work / r->ours.middle / peak : (double)NAN;
}

static void put_row(const bench *b, const result *r)
{
    const double x = shown(r->row, r->ours.middle), y = shown(r->row, r->peer.middle);
    const int decimals = (isnan(x) ? y : x) < 100 ? 2 : 1;

    printf("%-20s", r->row->name);
    put_cell(x, 12, decimals, "");
    put_cell(y, 12, decimals, "");
    printf(" %-9s", r->row->unit);
    put_cell(r->peer.middle / r->ours.middle, 7, 2, "");
    put_cell(share_of_peak(b, r) * 100, 7, 1, "%");
    printf("\n");
    fflush(stdout);
}

static sg_status write_json(const bench *b, const results *all, const char *path, sg_error *err)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return sg_fail(err, SG_EIO, "%s cannot be written", path);
    fputc('[', f);
    for (int i = 0; i < all->n; i++) {
        const result *r = &all->all[i];
        fprintf(f, "%s\n {\"name\": \"%s\"", i ? "," : "", r->row->name);
        put_json(f, "ours_s", r->ours.middle);
        put_json(f, "peer_s", r->peer.middle);
        put_json(f, "ratio", r->peer.middle / r->ours.middle);
        put_json(f, "peak_share", share_of_peak(b, r));
        put_json(f, "ours_best_s", r->ours.best);
        put_json(f, "peer_best_s", r->peer.best);
        put_json(f, "ours", shown(r->row, r->ours.middle));
        put_json(f, "peer", shown(r->row, r->peer.middle));
        fprintf(f, ", \"unit\": \"%s\"}", r->row->unit);
    }
    fputs("\n]\n", f);
    return fclose(f) == 0 ? SG_OK : sg_fail(err, SG_EIO, "%s cannot be written", path);
}

/* ---- a row ---- */

/* Both did the same work: after two runs each, the largest difference of their numbers. */
static sg_status compare(bench *b, bench_peer *peer, const bench_row *row, void *self, sg_error *err)
{
    char path[300];
    sg_dim n;
    double difference;
    const float *x = row->numbers(self, &n);

    snprintf(path, sizeof path, "%s/numbers.f32", b->folder);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(x, sizeof *x, (size_t)n, f) != (size_t)n || fclose(f) != 0)
        return sg_fail(err, SG_EIO, "%s cannot be written", path);
    SG_TRY(bench_peer_ask(peer, &difference, err, "compare %s %s", row->name, path));
    /* Where both round to bf16 they do so at different places: said, not judged. */
    const bool judged = row->peak != BENCH_BF16;
    printf("%-20s  %lld numbers of both sides differ by %.1e at most\n", row->name, (long long)n, difference);
    const double most = row->apart > 0 ? row->apart : CLOSE_ENOUGH;
    if (judged && !(difference <= most))
        return sg_fail(err, SG_ENUMERIC, "%s: the two sides differ by %g, at most %g was wanted", row->name, difference,
                       most);
    return SG_OK;
}

static sg_status trace(const bench_row *row, void *self, const char *folder, sg_error *err)
{
    sg_session *s = row->session ? row->session(self) : NULL;
    char path[4096];
    sg_trace *t;
    double seconds;

    if (!s)
        return SG_OK;
    snprintf(path, sizeof path, "%s/%s.trace.json", folder, row->name);
    SG_TRY(sg_trace_new(&t, err));
    sg_session_trace(s, t);
    sg_status status = SG_OK;
    for (int i = 0; i < TRACED && status == SG_OK; i++)
        status = row->run(self, &seconds, err);
    sg_session_trace(s, NULL);
    if (status == SG_OK)
        status = sg_trace_save(t, path, err);
    sg_trace_free(t);
    return status;
}

static sg_status time_peer(bench *b, bench_peer *peer, const bench_row *row, double *seconds, sg_error *err)
{
    if (strcmp(row->name, "import_start") != 0)
        return bench_peer_ask(peer, seconds, err, "run %s", row->name);
    const char *const argv[] = {b->python, "-c", "import torch", NULL};
    return bench_time_command(argv, seconds, err);
}

/* `self` NULL: the peer alone. */
static sg_status measure(bench *b, bench_peer *peer, const bench_row *row, void *self, const options *o, times *t,
                         sg_error *err)
{
    /* Threads that wait for work spin for a while; they are given time to fall asleep before the other side begins. */
    const struct timespec pause = {0, 30000000};
    double ignored;
    const double start = sg_now();
    const bool command = strcmp(row->name, "import_start") == 0;

    for (int i = 0; self && i < 2; i++)
        SG_TRY(row->run(self, &ignored, err));
    if (peer && !command)
        SG_TRY(bench_peer_ask(peer, &ignored, err, "open %s", row->name));
    if (self && peer && row->numbers)
        SG_TRY(compare(b, peer, row, self, err));
    for (int i = 0; i < o->rounds && (i < LEAST_ROUNDS || sg_now() - start < LONG); i++) {
        nanosleep(&pause, NULL);
        if (self)
            SG_TRY(row->run(self, &t->ours[t->n_ours++], err));
        nanosleep(&pause, NULL);
        if (peer)
            SG_TRY(time_peer(b, peer, row, &t->peer[t->n_peer++], err));
    }
    if (self && o->trace)
        SG_TRY(trace(row, self, o->trace, err));
    return peer && !command ? bench_peer_ask(peer, &ignored, err, "close") : SG_OK;
}

static sg_status one_row(bench *b, bench_peer *peer, const bench_row *row, const options *o, results *all,
                         sg_error *err)
{
    times t = {.n_ours = 0};
    void *self = NULL;
    sg_error skipped;
    sg_status status = row->open(&self, b, row, &skipped);

    if (status != SG_OK) {
        if (self)
            row->close(self);
        self = NULL;
        if (status != SG_EUNSUPPORTED)
            return sg_fail(err, status, "%s: %s", row->name, skipped.text);
        printf("%-20s  skipped on our side: %s\n", row->name, skipped.text);
    }
    if (!self && !(peer && row->peer))
        return SG_OK;
    char path[512];
    if (!self) /* the peer reads the folder that we did not come to write */
        SG_TRY(bench_gpt_folder(b, strncmp(row->name, "train", 5) == 0 ? &bench_gpt_512 : &bench_gpt2, path, err));
    status = measure(b, row->peer ? peer : NULL, row, self, o, &t, err);
    if (self)
        row->close(self);
    SG_TRY(status);
    SG_ASSERT(all->n < MOST_ROWS);
    result *r = &all->all[all->n++];
    *r = (result){row, sum_up(t.ours, t.n_ours), sum_up(t.peer, t.n_peer)};
    if (row->peak != BENCH_NO_PEAK)
        SG_TRY(bench_measure_peaks(b, err)); /* again: what else the machine does changes */
    put_row(b, r);
    return SG_OK;
}

static bool asked(const options *o, const char *name)
{
    for (int i = 0; i < o->n_names; i++)
        if (sg_match(o->names[i], name))
            return true;
    return o->n_names == 0;
}

/* The peaks are the best of the whole run, so they come last. */
static sg_status peak_rows(bench *b, bench_peer *peer, results *all, sg_error *err)
{
    static const bench_row peaks[BENCH_N_PEAKS] = {
        [BENCH_F32] = {.name = "peak_f32", .unit = "GFLOP/s", .scale = 1e-9, .rate = true},
        [BENCH_BF16] = {.name = "peak_bf16", .unit = "GFLOP/s", .scale = 1e-9, .rate = true},
        [BENCH_MEMORY] = {.name = "peak_memory_read", .unit = "GB/s", .scale = 1e-9, .rate = true},
    };

    for (int k = 1; k < BENCH_N_PEAKS; k++) {
        double theirs = NAN;
        if (!(b->peak[k] > 0))
            continue;
        if (peer)
            SG_TRY(bench_peer_ask(peer, &theirs, err, "peak %s", peaks[k].name));
        result *r = &all->all[all->n++];
        *r = (result){&peaks[k], {1 / b->peak[k], 1 / b->peak[k]}, {theirs, theirs}};
        put_row(b, r);
    }
    return SG_OK;
}

static double of(const results *all, const char *name)
{
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->all[i].row->name, name) == 0)
            return all->all[i].ours.middle;
    return NAN;
}

static sg_status all_rows(bench *b, bench_peer *peer, const options *o, results *all, sg_error *err)
{
    printf("%-20s %12s %12s %-9s %7s %7s\n", "", "ours", peer ? "PyTorch" : "", "", "ratio", "peak");
    for (size_t t = 0; t < SG_COUNT_OF(themes); t++)
        for (int i = 0; i < *themes[t].n; i++)
            if (asked(o, themes[t].rows[i].name))
                SG_TRY(one_row(b, peer, &themes[t].rows[i], o, all, err));
    SG_TRY(peak_rows(b, peer, all, err));
    const double looking = of(all, "observe_all") / of(all, "observe_none");
    if (!isnan(looking))
        printf("observe_all / observe_none = %.3f\n", looking);
    const double gathering = of(all, "harvest_forward") / of(all, "harvest");
    if (!isnan(gathering))
        printf("harvest_forward / harvest = %.3f\n", gathering);
    return SG_OK;
}

/* ---- the program ---- */

static int usage(void)
{
    fprintf(stderr, "usage: bench [NAME...] [--rounds N] [--no-peer] [--json FILE] [--trace FOLDER]\nrows:");
    for (size_t t = 0; t < SG_COUNT_OF(themes); t++)
        for (int i = 0; i < *themes[t].n; i++)
            fprintf(stderr, " %s", themes[t].rows[i].name);
    fprintf(stderr, "\n");
    return 2;
}

static bool parse(int argc, char **argv, options *o, const char **names)
{
    *o = (options){.names = names, .rounds = 5, .json = "build/bench.json"};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const bool more = i + 1 < argc;
        if (strcmp(a, "--no-peer") == 0)
            o->no_peer = true;
        else if (strcmp(a, "--rounds") == 0 && more)
            o->rounds = atoi(argv[++i]);
        else if (strcmp(a, "--json") == 0 && more)
            o->json = argv[++i];
        else if (strcmp(a, "--trace") == 0 && more)
            o->trace = argv[++i];
        else if (a[0] == '-')
            return false;
        else
            names[o->n_names++] = a;
    }
    return o->rounds >= 1 && o->rounds <= MOST_ROUNDS;
}

static sg_status go(bench *b, const options *o, sg_error *err)
{
    bench_peer *peer = NULL;
    results all = {.n = 0};

    b->n_threads = sg_exec_defaults().n_threads;
    b->python = o->no_peer ? NULL : bench_find_python();
    if (b->python && !(peer = bench_peer_start(b, err)))
        return err->status;
    if (!peer)
        printf("%s; its columns are empty\n", o->no_peer ? "PyTorch is not asked" : "PyTorch is not installed");
    printf("ours: %d threads\n", b->n_threads);
    sg_status status = bench_measure_peaks(b, err);
    if (status == SG_OK)
        status = all_rows(b, peer, o, &all, err);
    bench_peer_stop(peer);
    /* What was measured is kept, also where a later row failed. */
    const sg_status written = write_json(b, &all, o->json, status == SG_OK ? err : NULL);
    return status == SG_OK ? written : status;
}

int main(int argc, char **argv)
{
    const char **names = malloc((size_t)argc * sizeof *names);
    sg_error err = {SG_OK, ""};
    const char *temporary = getenv("TMPDIR");
    options o;

    if (!names || !parse(argc, argv, &o, names)) {
        free(names);
        return usage();
    }
    if (o.trace)
        mkdir(o.trace, 0777); /* there already is fine; a file that cannot be written in it is told */
    snprintf(state.folder, sizeof state.folder, "%s/sightglass-bench-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(state.folder)) {
        state.folder[0] = 0;
        sg_fail(&err, SG_EIO, "no temporary folder could be made");
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* a log shows each row as it is done */
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    sg_status status = err.status;
    if (status == SG_OK)
        status = go(&state, &o, &err);
    remove_folder();
    free(names);
    if (status != SG_OK)
        fprintf(stderr, "bench: %s\n", err.text);
    return status != SG_OK;
}
