/* Boards asked about by several threads at once: each answer is what it is alone. */
#include <pthread.h>
#include <stdlib.h>

#include "serve/board.h"

#include "check.h"

enum { N_THREADS = 4, N_TIMES = 6 };

static const char *const shipped = SG_SOURCE_DIR "/models/othello6";
static const char *const bodies[N_THREADS] = {
    "{\"moves\": \"c2d2\"}", "{\"moves\": \"c2d2\", \"edits\": [{\"ply\": 2, \"squares\": {\"d3\": \"empty\"}}]}",
    "{\"moves\": \"c2d2\", \"edits\": [{\"ply\": 2, \"squares\": {\"c3\": \"white\"}, \"strength\": 1}]}",
    "{\"moves\": \"c2\"}"};

static board_desk *d;
static char *alone[N_THREADS];

static char *ask(int i)
{
    json_t *out = NULL, *in = json_loads(bodies[i], 0, NULL);
    if (board_ask(&out, d, in, NULL) != SG_OK)
        return NULL;
    char *text = json_dumps(out, JSON_SORT_KEYS);
    json_decref(in);
    json_decref(out);
    return text;
}

static void *work(void *which)
{
    const int i = *(const int *)which;
    intptr_t n_same = 0;
    for (int k = 0; k < N_TIMES; k++) {
        char *text = ask(i);
        n_same += text && strcmp(text, alone[i]) == 0;
        free(text);
    }
    return (void *)n_same;
}

static void questions_at_once_have_the_answers_that_each_has_alone(void **state)
{
    (void)state;
    SKIP_WITHOUT(shipped, "models/othello6");
    sg_model *m = NULL;
    sg_error err;
    pthread_t thread[N_THREADS];
    int which[N_THREADS];
    CHECK_OK(sg_model_open(&m, shipped, sg_model_defaults(), &err), &err);
    CHECK_OK(board_desk_new(&d, m, &err), &err);
    for (int i = 0; i < N_THREADS; i++)
        CHECK((alone[i] = ask(i)) != NULL);
    for (int i = 0; i < N_THREADS; i++) {
        which[i] = i;
        CHECK(pthread_create(&thread[i], NULL, work, &which[i]) == 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        void *n_same = NULL;
        CHECK(pthread_join(thread[i], &n_same) == 0);
        CHECK((intptr_t)n_same == N_TIMES);
        free(alone[i]);
    }
    board_desk_free(d);
    sg_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_at_once_have_the_answers_that_each_has_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
