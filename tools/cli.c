/* What the commands share. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sightglass/npy.h"
#include "sightglass/safetensors.h"

int cli_fail(const sg_error *err)
{
    fflush(stdout);
    fprintf(stderr, "sightglass: %s\n", err->text);
    return cli_status(err);
}

int cli_status(const sg_error *err)
{
    return err->status == SG_EARG || err->status == SG_ESHAPE || err->status == SG_ETYPE ? EXIT_USAGE : EXIT_FAILED;
}

int cli_usage(const char *command, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "sightglass %s: ", command);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (sightglass %s --help tells more)\n", command);
    return EXIT_USAGE;
}

struct cli_hush {
    int out, err;
};

cli_hush *cli_hush_begin(bool hush)
{
    cli_hush *h = hush ? malloc(sizeof *h) : NULL;
    const int nothing = h ? open("/dev/null", O_WRONLY) : -1;
    if (nothing < 0) {
        free(h);
        return NULL;
    }
    fflush(NULL);
    h->out = dup(STDOUT_FILENO);
    h->err = dup(STDERR_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    close(nothing);
    return h;
}

void cli_hush_end(cli_hush *h)
{
    if (!h)
        return;
    fflush(NULL);
    dup2(h->out, STDOUT_FILENO);
    dup2(h->err, STDERR_FILENO);
    close(h->out);
    close(h->err);
    free(h);
}

/* ---- signals ---- */

static void *take_signals(void *set)
{
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
    for (;;)
        pause();
    return NULL;
}

void cli_signals_apart(void)
{
    static bool done;
    static sigset_t set;
    pthread_t thread;

    if (done)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    /* Without such a thread they had better stay where they can be taken at all. */
    if (pthread_create(&thread, NULL, take_signals, &set) == 0) {
        pthread_detach(thread);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        done = true;
    }
}

void cli_catch(void (*handler)(int signal_number))
{
    struct sigaction stop = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND};

    cli_signals_apart();
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

sg_status cli_match(const sg_graph *g, const char *pattern, sg_value ***out, int *n, sg_error *err)
{
    bool any = false;

    for (int i = 0; i < sg_graph_n_names(g); i++) {
        sg_value *v = sg_graph_named(g, i);
        if (!sg_match(pattern, sg_value_name(v)))
            continue;
        any = true;
        bool there = false;
        for (int k = 0; k < *n && !there; k++)
            there = (*out)[k] == v;
        if (there)
            continue;
        sg_value **more = realloc(*out, (size_t)(*n + 1) * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "out of memory");
        *out = more;
        more[(*n)++] = v;
    }
    if (any)
        return SG_OK;
    const char *nearest = sg_graph_nearest(g, pattern);
    return sg_fail(err, SG_EARG, "no value is named %.120s; the nearest name is %s", pattern,
                   nearest ? nearest : "none");
}

sg_status cli_whole(const char *option, const char *text, long long least, long long most, long long *out,
                    sg_error *err)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno || end == text || *end || *out < least || *out > most)
        return sg_fail(err, SG_EARG, "%s is \"%.40s\", wanted a whole number from %lld to %lld", option, text, least,
                       most);
    return SG_OK;
}

sg_status cli_real(const char *option, const char *text, double least, double most, double *out, sg_error *err)
{
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end || !(*out >= least && *out <= most))
        return sg_fail(err, SG_EARG, "%s is \"%.40s\", wanted a number from %g to %g", option, text, least, most);
    return SG_OK;
}

static sg_status copy_tensor(const sg_tensor *t, sg_tensor *out, sg_error *err)
{
    const size_t bytes = sg_tensor_bytes(t);

    *out = *t;
    out->data = malloc(SG_MAX(bytes, 1));
    if (!out->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for a tensor of %zu bytes", bytes);
    if (bytes)
        memcpy(out->data, t->data, bytes);
    return SG_OK;
}

sg_status cli_tensor(const char *where, sg_tensor *out, sg_error *err)
{
    const char *colon = strrchr(where, ':');
    const size_t n = strlen(where);

    if (n > 4 && strcmp(where + n - 4, ".npy") == 0) {
        sg_npy *a = NULL;
        SG_TRY(sg_npy_open(&a, where, err));
        const sg_status status = copy_tensor(sg_npy_tensor(a), out, err);
        sg_npy_close(a);
        return status;
    }
    if (!colon)
        return sg_fail(err, SG_EARG, "%.200s is neither FILE.npy nor FILE.safetensors:NAME", where);
    char path[4096];
    sg_safetensors *st = NULL;
    const sg_tensor *t = NULL;
    snprintf(path, sizeof path, "%.*s", (int)(colon - where), where);
    SG_TRY(sg_safetensors_open(&st, path, err));
    sg_status status = sg_safetensors_get(&t, st, colon + 1, err);
    if (status == SG_OK)
        status = copy_tensor(t, out, err);
    sg_safetensors_close(st);
    return status;
}

/* ---- prompts ---- */

static sg_status add_row(cli_rows *r, const int32_t *ids, sg_dim n, sg_error *err)
{
    if (r->n == r->capacity) {
        const int capacity = r->capacity ? r->capacity * 2 : 8;
        int32_t **tokens = realloc(r->tokens, (size_t)capacity * sizeof *tokens);
        if (tokens)
            r->tokens = tokens;
        sg_dim *lengths = realloc(r->lengths, (size_t)capacity * sizeof *lengths);
        if (lengths)
            r->lengths = lengths;
        if (!tokens || !lengths)
            return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
        r->capacity = capacity;
    }
    int32_t *copy = malloc((size_t)SG_MAX(n, 1) * sizeof *copy);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    if (n)
        memcpy(copy, ids, (size_t)n * sizeof *copy);
    r->tokens[r->n] = copy;
    r->lengths[r->n++] = n;
    return SG_OK;
}

void cli_rows_free(cli_rows *r)
{
    for (int i = 0; i < r->n; i++)
        free(r->tokens[i]);
    free(r->tokens);
    free(r->lengths);
    *r = (cli_rows){0};
}

sg_status cli_rows_text(cli_rows *r, const sg_model *m, const char *text, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    sg_tokens ids = {0};

    if (!t)
        return sg_fail(err, SG_EARG, "%s has no tokenizer.json: give --tokens instead of --text",
                       sg_model_get_info(m)->path);
    sg_status status = sg_tokenizer_encode(t, text, sg_encode_defaults(), &ids, err);
    if (status == SG_OK)
        status = add_row(r, ids.ids, ids.n, err);
    sg_tokens_free(&ids);
    return status;
}

static sg_status push_id(sg_tokens *ids, const char *path, double x, sg_error *err)
{
    if (!(x >= 0 && x <= INT32_MAX) || x != floor(x))
        return sg_fail(err, SG_EFORMAT, "%s: %g is no token id", path, x);
    return sg_tokens_push(ids, (int32_t)x, err);
}

static sg_status rows_of_tensor(cli_rows *r, const char *path, const sg_tensor *t, sg_error *err)
{
    const sg_dim n = t->n_dims ? t->dims[t->n_dims - 1] : 1, rows = n ? sg_tensor_count(t) / n : 0;

    if (t->n_dims > 2 || t->dtype != SG_I32)
        return sg_fail(err, SG_EFORMAT, "%s: tokens are whole numbers, [time] or [row,time]", path);
    for (sg_dim i = 0; i < rows; i++)
        SG_TRY(add_row(r, (const int32_t *)t->data + i * n, n, err));
    return SG_OK;
}

static sg_status json_row(cli_rows *r, const char *path, const json_t *list, sg_error *err)
{
    sg_tokens ids = {0};
    sg_status status = SG_OK;

    for (size_t i = 0; i < json_array_size(list) && status == SG_OK; i++)
        status = push_id(
            &ids, path, json_is_number(json_array_get(list, i)) ? json_number_value(json_array_get(list, i)) : -1, err);
    if (status == SG_OK)
        status = add_row(r, ids.ids, ids.n, err);
    sg_tokens_free(&ids);
    return status;
}

static sg_status rows_of_text(cli_rows *r, const char *path, const char *text, size_t bytes, sg_error *err)
{
    sg_tokens ids = {0};
    sg_status status = SG_OK;
    size_t at = 0;

    while (at < bytes && status == SG_OK) {
        const char c = text[at];
        if (c == '\n' && ids.n) {
            status = add_row(r, ids.ids, ids.n, err);
            ids.n = 0;
        }
        if (c == ' ' || c == '\t' || c == ',' || c == '\n' || c == '\r') {
            at++;
            continue;
        }
        double x = 0;
        const size_t start = at;
        while (at < bytes && text[at] >= '0' && text[at] <= '9')
            x = x * 10 + (text[at++] - '0');
        if (at == start)
            status = sg_fail(err, SG_EFORMAT, "%s: byte %zu is no token id", path, at);
        else
            status = push_id(&ids, path, x, err);
    }
    if (status == SG_OK && ids.n)
        status = add_row(r, ids.ids, ids.n, err);
    sg_tokens_free(&ids);
    return status;
}

sg_status cli_rows_file(cli_rows *r, const char *path, sg_error *err)
{
    const size_t n = strlen(path);
    const int before = r->n;
    sg_file *file = NULL;

    if ((n > 4 && strcmp(path + n - 4, ".npy") == 0) || strstr(path, ".safetensors:")) {
        sg_tensor t = {0};
        SG_TRY(cli_tensor(path, &t, err));
        const sg_status status = rows_of_tensor(r, path, &t, err);
        free(t.data);
        return status;
    }
    SG_TRY(sg_file_open(&file, path, err));
    const char *text = (const char *)sg_file_data(file);
    const size_t bytes = sg_file_bytes(file);
    sg_status status = SG_OK;
    size_t first = 0;
    while (first < bytes && strchr(" \t\r\n", text[first]))
        first++;
    if (first < bytes && (text[first] == '[' || text[first] == '{')) {
        json_error_t at;
        json_t *root = json_loadb(text, bytes, 0, &at);
        const json_t *list = json_is_object(root) ? json_object_get(root, "tokens") : root;
        if (!root)
            status = sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
        else if (!json_is_array(list))
            status = sg_fail(err, SG_EFORMAT, "%s: no list of tokens", path);
        else if (!json_is_array(json_array_get(list, 0)))
            status = json_row(r, path, list, err);
        else
            for (size_t i = 0; i < json_array_size(list) && status == SG_OK; i++)
                status = json_row(r, path, json_array_get(list, i), err);
        json_decref(root);
    } else {
        status = rows_of_text(r, path, text, bytes, err);
    }
    sg_file_close(file);
    if (status == SG_OK && r->n == before)
        return sg_fail(err, SG_EFORMAT, "%s holds no tokens", path);
    return status;
}

/* ---- numbers ---- */

size_t cli_resident(void)
{
    unsigned long all = 0, here = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    const bool read = f && fscanf(f, "%lu %lu", &all, &here) == 2;
    if (f)
        fclose(f);
    return read ? (size_t)here * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

cli_stats cli_stats_of(const sg_tensor *t)
{
    cli_stats s = {.count = sg_tensor_count(t), .least = (double)INFINITY, .greatest = -(double)INFINITY};
    double sum = 0, squares = 0;

    for (sg_dim i = 0; i < s.count; i++) {
        const double x = sg_tensor_get(t, i);
        if (!isfinite(x))
            continue;
        s.finite++;
        sum += x;
        s.least = fmin(s.least, x);
        s.greatest = fmax(s.greatest, x);
    }
    s.mean = s.finite ? sum / (double)s.finite : 0;
    for (sg_dim i = 0; i < s.count; i++) {
        const double d = sg_tensor_get(t, i) - s.mean;
        squares += isfinite(d) ? d * d : 0;
    }
    s.deviation = s.finite ? sqrt(squares / (double)s.finite) : 0;
    if (!s.finite)
        s.least = s.greatest = 0;
    return s;
}

json_t *cli_shape(int n_dims, const sg_dim *dims)
{
    json_t *a = json_array();

    for (int k = 0; k < n_dims; k++)
        json_array_append_new(a, json_integer(dims[k]));
    return a;
}

const char *cli_token(char buf[64], const sg_tokenizer *t, int32_t id)
{
    const char *text = t ? sg_tokenizer_token(t, id) : NULL;
    size_t n = 0;

    if (!text) {
        snprintf(buf, 64, "%d", id);
        return buf;
    }
    buf[n++] = '"';
    for (const char *c = text; *c && n < 56; c++) {
        if ((unsigned char)*c < 32 || *c == 127)
            n += (size_t)snprintf(buf + n, 64 - n, "\\x%02x", (unsigned)(unsigned char)*c);
        else
            buf[n++] = *c;
    }
    buf[n++] = '"';
    buf[n] = 0;
    return buf;
}

int cli_print_json(json_t *root)
{
    const int failed = !root || json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0;

    putchar('\n');
    json_decref(root);
    if (failed || fflush(stdout) != 0) {
        fprintf(stderr, "sightglass: the result could not be written as JSON\n");
        return EXIT_FAILED;
    }
    return 0;
}

void cli_warnings(const sg_model *m)
{
    for (int i = 0; sg_model_warning(m, i); i++)
        fprintf(stderr, "sightglass: warning: %s\n", sg_model_warning(m, i));
}

cli_paint cli_colours(void)
{
    const char *no = getenv("NO_COLOR");

    if (!isatty(STDOUT_FILENO) || (no && no[0]))
        return (cli_paint){"", "", ""};
    return (cli_paint){"\033[1m", "\033[2m", "\033[0m"};
}
