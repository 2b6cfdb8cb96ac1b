/* Twenty requests at once, each with edits of its own: every answer is, byte for byte, what the same request gives
 * alone. */
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "serve/batches.h"
#include "serve/call.h"
#include "serve/models.h"

enum { CLIENTS = 20, ROUNDS = 2 };

typedef struct client {
    serve *s;
    char body[512];
    char *alone; /* without what names an answer */
    bool failed;
} client;

/* Ids and times differ from answer to answer; the choices are what counts. */
static char *choices_of(const serve_answer *a)
{
    char *all = malloc(a->n + 1), *to = all;

    *to = '\0';
    for (const char *at = a->body; a->code == 200 && !a->cut && (at = strstr(at, "\"choices\":")); at++) {
        const char *end = strstr(at, "\n\n");
        const size_t n = end ? (size_t)(end - at) : strlen(at);
        memcpy(to, at, n);
        to += n;
        *to = '\0';
    }
    return all;
}

static char *ask(client *c)
{
    serve_answer a = serve_call(c->s, "POST", "/v1/completions", c->body);
    char *choices = choices_of(&a);

    c->failed |= a.code != 200 || a.cut || !strstr(a.body, "data: [DONE]");
    serve_answer_free(&a);
    return choices;
}

static void *run(void *context)
{
    client *c = context;

    for (int i = 0; i < ROUNDS; i++) {
        char *got = ask(c);
        c->failed |= strcmp(got, c->alone) != 0;
        free(got);
    }
    return NULL;
}

/* Bytes that the program holds by malloc. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
size_t __sanitizer_get_current_allocated_bytes(void);
#define ALLOCATED() __sanitizer_get_current_allocated_bytes()
#endif
#endif
#ifndef ALLOCATED
#define ALLOCATED() mallinfo2().uordblks
#endif

static void serve_all(void)
{
    static client clients[CLIENTS];
    const char *const models[] = {SG_SOURCE_DIR "/models/othello6"};
    pthread_t threads[CLIENTS];
    sg_server_opts opts = sg_server_defaults();
    sg_server *s;
    sg_error err;

    opts.token = "test-token";
    opts.models = models;
    opts.n_models = 1;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    for (int i = 0; i < CLIENTS; i++) {
        /* Two structures, each with numbers of its own; some sample, some look at values. */
        snprintf(clients[i].body, sizeof clients[i].body,
                 "{\"model\": \"othello6\", \"prompt\": \"d2 c5\", \"max_tokens\": 12, \"stream\": true, \"seed\": %d, "
                 "\"temperature\": %s, %s \"edits\": [{\"site\": \"blocks.%d.hook_resid_post\", \"op\": \"scale\", "
                 "\"strength\": "
                 "%g}]}",
                 i, i % 3 ? "0.9" : "0", i % 4 ? "" : "\"fetch\": \"blocks.2.hook_resid_post\",", i % 2, 0.2 * (i + 1));
        clients[i].s = s;
        clients[i].alone = ask(&clients[i]);
        CHECK(!clients[i].failed);
    }
    CHECK(strcmp(clients[1].alone, clients[3].alone) != 0 && strstr(clients[0].alone, "base64"));
    for (int i = 0; i < CLIENTS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, &clients[i]) == 0);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK(!clients[i].failed);
        free(clients[i].alone);
    }
    /* All came back; those that look at values had a glass, the others rows of the batches, one for each structure. */
    const serve_glass_count count = serve_glass_counted(serve_models_of(s));
    const serve_batches_count rows = serve_batches_counted(serve_models_batches(serve_models_of(s)));
    CHECK(count.made + count.reused == CLIENTS / 4 * (ROUNDS + 1) && count.n <= CLIENTS);
    CHECK(rows.rows == 0 && rows.joined == CLIENTS * 3 / 4 * (ROUNDS + 1) && rows.n == rows.made && rows.made <= 4);
    print_message("%lld tokens in %lld steps\n", rows.tokens, rows.steps);
    CHECK(rows.steps > 0 && rows.steps <= rows.tokens);
    sg_server_free(s);
}

static void each_stream_is_what_it_is_alone(void **state)
{
    (void)state;
    serve_all(); /* libraries keep what they make at their first use */
    const size_t before = ALLOCATED();
    serve_all();
    const size_t after = ALLOCATED();
    print_message("%zu bytes before, %zu after %d streams\n", before, after, CLIENTS * (ROUNDS + 1));
    CHECK(after < before + 65536); /* of the 10 MB or so in between */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_stream_is_what_it_is_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
