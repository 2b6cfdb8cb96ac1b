/* A client of raw bytes: what goes over the socket is what a test wrote, whole or not. */
#ifndef SG_TEST_RAW_CLIENT_H
#define SG_TEST_RAW_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct raw_client {
    int fd;
    char *got; /* all that came, with a NUL behind it */
    size_t n, capacity;
    bool ended; /* the server has closed */
} raw_client;

/* fd < 0: no connection. */
static inline raw_client raw_connect(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    raw_client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (c.fd >= 0 && connect(c.fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(c.fd);
        c.fd = -1;
    }
    return c;
}

static inline bool raw_send(raw_client *c, const char *bytes, size_t n)
{
    while (n) {
        const ssize_t now = send(c->fd, bytes, n, MSG_NOSIGNAL);
        if (now <= 0)
            return false;
        bytes += now;
        n -= (size_t)now;
    }
    return true;
}

static inline bool raw_puts(raw_client *c, const char *text)
{
    return raw_send(c, text, strlen(text));
}

/* Takes what comes within so many milliseconds. False: nothing came. */
static inline bool raw_receive(raw_client *c, int ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (c->ended || c->fd < 0 || poll(&p, 1, ms) <= 0)
        return false;
    if (c->capacity - c->n < 65537) {
        c->capacity = c->capacity * 2 + 131072;
        c->got = realloc(c->got, c->capacity);
        if (!c->got)
            abort();
    }
    const ssize_t n = recv(c->fd, c->got + c->n, 65536, 0);
    if (n <= 0)
        c->ended = true;
    else
        c->n += (size_t)n;
    c->got[c->n] = '\0';
    return true;
}

/* Waits until this text has come, for at most 20 s. */
static inline bool raw_wait_for(raw_client *c, const char *text)
{
    for (int i = 0; i < 200; i++) {
        if (c->got && strstr(c->got, text))
            return true;
        if (c->ended)
            return false;
        raw_receive(c, 100);
    }
    return false;
}

/* Waits until the server closes, for at most 20 s. */
static inline bool raw_wait_end(raw_client *c)
{
    for (int i = 0; i < 200 && !c->ended; i++)
        raw_receive(c, 100);
    return c->ended;
}

static inline void raw_close(raw_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->got);
    *c = (raw_client){.fd = -1};
}

#endif
