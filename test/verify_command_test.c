/* A model from a hub to its certificate, as a user goes: pull, inspect, verify, golden, quantities that fail, files
 * that changed. The hub is a thread of this test, which hosts the shipped model of 6x6 Othello. */
#include "check.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/sha256.h"
#include "hub_server.h"

#define COMMIT "00000000000000000000000000000000000000aa"
#define MODEL  SG_SOURCE_DIR "/models/othello6"

static char folder[] = "/tmp/verify_command_XXXXXX", out[1 << 20], *weights, *config;
static size_t n_weights, n_config;
static hub_server hub;

static char *contents(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *all = malloc(8 << 20);
    *n = f && all ? fread(all, 1, 8 << 20, f) : 0;
    if (f)
        fclose(f);
    return all;
}

static void answer(hub_server *s, int fd, const char *request)
{
    char head[512], sum[SG_SHA256_TEXT];
    const bool list = strstr(request, "/api/models/org/othello/revision/main") != NULL,
               is_weights = strstr(request, "/model.safetensors");
    const char *body = list ? "{\"sha\": \"" COMMIT
                              "\", \"siblings\": [{\"rfilename\": \"config.json\"}, {\"rfilename\": "
                              "\"model.safetensors\"}, {\"rfilename\": \"pytorch_model.bin\"}]}"
                       : is_weights ? weights
                                    : config;
    const size_t n = list ? strlen(body) : is_weights ? n_weights : n_config;

    (void)s;
    sg_sha256(sum, body, n);
    const int n_head =
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\nETag: \"%s\"\r\n\r\n", n, sum);
    hub_send(fd, head, (size_t)n_head);
    if (strncmp(request, "HEAD", 4) != 0)
        hub_send(fd, body, n);
}

static int begin(void **state)
{
    (void)state;
    weights = contents(MODEL "/model.safetensors", &n_weights);
    config = contents(MODEL "/config.json", &n_config);
    hub.answer = answer;
    return mkdtemp(folder) && n_weights && n_config && hub_start(&hub) ? 0 : -1;
}

static int end(void **state)
{
    char line[256];
    (void)state;
    hub_stop(&hub);
    free(weights);
    free(config);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

/* The command in a folder of its own, with a cache of its own. */
static void says(int wanted, const char *rest, const char *words)
{
    char line[2000];
    snprintf(line, sizeof line,
             "cd %s && HF_ENDPOINT=http://127.0.0.1:%d HF_HOME=%s/hf XDG_DATA_HOME=%s/data HF_HUB_CACHE= "
             "OMP_NUM_THREADS=1 \"%s\" %s 2>&1",
             folder, hub.port, folder, folder, SG_COMMAND, rest);
    FILE *f = popen(line, "r");
    CHECK(f != NULL);
    const size_t n = fread(out, 1, sizeof out - 1, f);
    out[n] = 0;
    const int status = pclose(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted || !strstr(out, words))
        print_error("%s\n%s\n", rest, out);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted);
    CHECK_TEXT(out, words);
}

static json_t *parse(int wanted, const char *rest)
{
    json_error_t at;
    says(wanted, rest, "{");
    json_t *root = json_loads(out, 0, &at);
    CHECK(root != NULL);
    return root;
}

static void a_pulled_model_is_known_by_its_name(void **state)
{
    (void)state;
    says(1, "inspect org/othello", "sightglass pull org/othello");
    says(0, "pull org/othello", "left out: pytorch_model.bin");
    says(0, "pull org/othello", "all of them there already");
    says(0, "inspect org/othello", "no certificate; sightglass verify writes one");
    json_t *p = parse(0, "pull org/othello --json");
    CHECK(json_array_size(json_object_get(p, "files")) == 2 &&
          json_integer_value(json_object_get(p, "fetched_bytes")) == 0);
    json_decref(p);
    says(2, "pull ../othello", "no name of a repository");
    says(2, "pull", "wanted one REPO");
    says(2, "pull org/othello:x --include y", "one of them is wanted");
}

static void a_verified_model_says_so(void **state)
{
    (void)state;
    says(0, "verify org/othello", "every row holds; certificate: ");
    CHECK_TEXT(out, "blocks.3.hook_resid_post");
    CHECK_TEXT(out, "hf/hub/models--org--othello/snapshots/" COMMIT "/sightglass-certificate.json");
    CHECK_TEXT(out, "golden values of another program would show that");
    says(0, "inspect org/othello", "verified 2");
    CHECK_TEXT(out, "own run in f64");
    json_t *i = parse(0, "inspect org/othello --json");
    const json_t *c = json_object_get(i, "certificate");
    CHECK(json_is_true(json_object_get(c, "holds")) && json_is_false(json_object_get(c, "stale")));
    CHECK(json_array_size(json_object_get(c, "runs")) >= 1);
    json_decref(i);
}

static void golden_values_are_written_and_read(void **state)
{
    (void)state;
    says(0, "golden org/othello --out g.safetensors --fetch 'blocks.*.hook_resid_post' --fetch logits",
         "5 values on 3 prompts of 58 tokens");
    json_t *c = parse(0, "verify org/othello --golden g.safetensors --json");
    const json_t *first = json_array_get(json_object_get(c, "runs"), 0);
    CHECK(strcmp(json_string_value(json_object_get(c, "against")), "self") == 0); /* its own values of itself */
    CHECK(strcmp(json_string_value(json_object_get(first, "compute")), "f64") == 0);
    CHECK(json_real_value(json_object_get(json_array_get(json_object_get(first, "rows"), 0), "max_rel")) == 0);
    json_decref(c);
    says(2, "golden org/othello --reference f16", "wanted f64 or f32");
    says(1, "golden org/othello --out g.safetensors --fetch logitz", "logits");
    says(1, "verify org/othello --golden none.safetensors", "none.safetensors");
    says(2, "verify org/othello --golden a --against b", "two references");
}

static void two_models_are_told_apart(void **state)
{
    (void)state;
    char line[600];
    snprintf(line, sizeof line, "mkdir -p %s/other && cp %s/config.json %s/model.safetensors %s/other/", folder, MODEL,
             MODEL, folder);
    CHECK(system(line) == 0);
    says(0, "verify other --against org/othello --no-certificate", "Compared with another model");
    says(1, "verify other --backend reference --tolerance 0 --certificate c.json", "FAILS");
    CHECK_TEXT(out, "not every row holds");
    says(0, "inspect other", "no certificate");
    json_t *c = parse(1, "verify other --backend reference --tolerance 0 --json");
    CHECK(json_is_false(json_object_get(c, "holds")) && json_array_size(json_object_get(c, "runs")) == 1);
    json_decref(c);
    says(0, "inspect other", "not verified 2");

    /* A byte of the weights is another: what was found is of another model. */
    snprintf(line, sizeof line, "%s/other/model.safetensors", folder);
    FILE *f = fopen(line, "r+b");
    CHECK(f && fseek(f, -1, SEEK_END) == 0 && fputc(0x3f, f) != EOF && fclose(f) == 0);
    says(0, "inspect other", "STALE");
    snprintf(line, sizeof line, "%s/other/sightglass-certificate.json", folder);
    CHECK((f = fopen(line, "w")) && fputs("{\"format\": 3", f) >= 0 && fclose(f) == 0);
    says(0, "inspect other", "certificate.json: line 1");
    says(1, "verify none", "none");
    says(2, "verify", "wanted one MODEL");
    says(2, "verify other --backend gpu", "wanted cpu, reference or cuda");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pulled_model_is_known_by_its_name),
        cmocka_unit_test(a_verified_model_says_so),
        cmocka_unit_test(golden_values_are_written_and_read),
        cmocka_unit_test(two_models_are_told_apart),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
