/* What the tests of routes share: a server without a socket on the shipped models. Included by tests only. */
#ifndef SG_SERVE_ROUTE_TEST_H
#define SG_SERVE_ROUTE_TEST_H

#include "check.h"
#include "serve/call.h"

/* On models/othello6 and othello8, and stories260K if it is wanted and at hand. Replies are checked against their
 * types. */
static inline serve *open_server(bool stories)
{
    static char path[1024];
    const char *const models[] = {SG_SOURCE_DIR "/models/othello6", SG_SOURCE_DIR "/models/othello8", path};
    sg_server_opts opts = sg_server_defaults();
    sg_error err;
    sg_server *s;

    opts.check_replies = true;
    opts.token = "test-token";
    opts.models = models;
    opts.n_models = stories && sg_test_shared(path, "models/stories260K") ? 3 : 2;
    CHECK_OK(sg_server_new(&s, &opts, &err), &err);
    return s;
}

#endif
