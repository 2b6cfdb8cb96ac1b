/* A server for tests: what it answers is up to the test, byte by byte. One thread, one request a connection, loopback
 * only. */
#ifndef SG_TEST_HUB_SERVER_H
#define SG_TEST_HUB_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct hub_server hub_server;
struct hub_server {
    int listener, port;
    pthread_t thread;
    atomic_bool ending;
    void (*answer)(hub_server *s, int fd, const char *request); /* request: its head */
    void *context;
    char log[200][2048]; /* heads, while there is room */
    int n_log;
};

static inline void hub_send(int fd, const void *bytes, size_t n)
{
    for (const char *from = bytes; n;) {
        const ssize_t now = send(fd, from, n, MSG_NOSIGNAL);
        if (now <= 0)
            return;
        from += now;
        n -= (size_t)now;
    }
}

static inline void *hub_serve(void *arg)
{
    hub_server *s = arg;

    while (!s->ending) {
        struct pollfd p = {.fd = s->listener, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        const int fd = accept(s->listener, NULL, NULL);
        char head[8192];
        size_t n = 0;
        head[0] = '\0';
        while (fd >= 0 && n < sizeof head - 1 && !strstr(head, "\r\n\r\n")) {
            struct pollfd r = {.fd = fd, .events = POLLIN};
            const ssize_t now = poll(&r, 1, 5000) > 0 ? recv(fd, head + n, sizeof head - 1 - n, 0) : -1;
            if (now <= 0)
                break;
            n += (size_t)now;
            head[n] = '\0';
        }
        if (n && s->n_log < 200)
            snprintf(s->log[s->n_log++], sizeof s->log[0], "%.2000s", head);
        if (n)
            s->answer(s, fd, head);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static inline bool hub_start(hub_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    s->ending = false;
    s->n_log = 0;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(s->listener, 16) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &n) != 0)
        return false;
    s->port = ntohs(at.sin_port);
    return pthread_create(&s->thread, NULL, hub_serve, s) == 0;
}

static inline void hub_stop(hub_server *s)
{
    s->ending = true;
    pthread_join(s->thread, NULL);
    close(s->listener);
}

/* How many of the requests that came hold a text. */
static inline int hub_count(const hub_server *s, const char *text)
{
    int n = 0;
    for (int i = 0; i < s->n_log; i++)
        n += strstr(s->log[i], text) != NULL;
    return n;
}

/* The first byte that a request's Range asks for; -1: it has none. */
static inline long hub_range(const char *request)
{
    const char *range = strstr(request, "\r\nRange: bytes=");
    return range ? strtol(range + 15, NULL, 10) : -1;
}

#endif
