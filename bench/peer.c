/* The peer answers each line on its input with one line that begins with a number, or with "error" and words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct bench_peer {
    pid_t pid;
    FILE *to, *from;
};

/* Starts a command with its output on *from and, where `to` is given, its input from there. */
static pid_t start(const char *const *argv, FILE **to, FILE **from, bool quiet)
{
    int in[2] = {-1, -1}, out[2];
    if (pipe(out) != 0)
        return -1;
    if (to && pipe(in) != 0) {
        close(out[0]);
        close(out[1]);
        return -1;
    }
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        if (to)
            dup2(in[0], 0);
        dup2(out[1], 1);
        if (quiet && !freopen("/dev/null", "w", stderr))
            _exit(127);
        for (int i = 0; i < 2; i++) {
            if (to)
                close(in[i]);
            close(out[i]);
        }
        char *args[16];
        int n = 0;
        for (; argv[n] && n < 15; n++)
            memcpy(&args[n], &argv[n], sizeof args[n]); /* execvp does not write to them, but is declared so */
        args[n] = NULL;
        execvp(args[0], args);
        _exit(127);
    }
    close(out[1]);
    *from = fdopen(out[0], "r");
    if (to) {
        close(in[0]);
        *to = fdopen(in[1], "w");
    }
    return pid;
}

static int finish(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static sg_status time_command(const char *const *argv, double *seconds, bool quiet, sg_error *err)
{
    char words[256];
    FILE *from = NULL;
    const double began = sg_now();
    const pid_t pid = start(argv, NULL, &from, quiet);

    if (pid < 0 || !from)
        return sg_fail(err, SG_EIO, "%s did not start", argv[0]);
    while (fread(words, 1, sizeof words, from) > 0)
        ;
    *seconds = sg_now() - began;
    fclose(from);
    return finish(pid) == 0 ? SG_OK : sg_fail(err, SG_EIO, "%s failed", argv[0]);
}

sg_status bench_time_command(const char *const *argv, double *seconds, sg_error *err)
{
    return time_command(argv, seconds, false, err);
}

const char *bench_find_python(void)
{
    const char *candidates[] = {getenv("PYTHON"), "python3", "/usr/bin/python3"};
    double seconds;

    for (size_t i = 0; i < SG_COUNT_OF(candidates); i++) {
        const char *const argv[] = {candidates[i], "-c", "import torch", NULL};
        if (candidates[i] && candidates[i][0] && time_command(argv, &seconds, true, NULL) == SG_OK)
            return candidates[i];
    }
    return NULL;
}

bench_peer *bench_peer_start(const bench *b, sg_error *err)
{
    char threads[16], words[256];
    bench_peer *p = calloc(1, sizeof *p);

    snprintf(threads, sizeof threads, "%d", b->n_threads);
    const char *const argv[] = {b->python, SG_SOURCE_DIR "/bench/peers/peers.py", b->folder, threads, NULL};
    if (p && (p->pid = start(argv, &p->to, &p->from, false)) > 0 && p->to && p->from &&
        fgets(words, sizeof words, p->from)) {
        printf("the peer: %s", words);
        return p;
    }
    bench_peer_stop(p);
    sg_fail(err, SG_EIO, "the peer did not start");
    return NULL;
}

void bench_peer_stop(bench_peer *p)
{
    if (!p)
        return;
    if (p->to)
        fclose(p->to); /* the end of its input ends it */
    if (p->from)
        fclose(p->from);
    if (p->pid > 0)
        finish(p->pid);
    free(p);
}

sg_status bench_peer_ask(bench_peer *p, double *out, sg_error *err, const char *fmt, ...)
{
    char words[512], *end;
    va_list args;

    va_start(args, fmt);
    vfprintf(p->to, fmt, args);
    va_end(args);
    fputc('\n', p->to);
    if (fflush(p->to) != 0 || !fgets(words, sizeof words, p->from))
        return sg_fail(err, SG_EIO, "the peer is gone");
    *out = strtod(words, &end);
    if (end == words)
        return sg_fail(err, SG_EIO, "the peer: %.*s", (int)strcspn(words, "\n"), words);
    return SG_OK;
}
