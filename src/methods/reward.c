/* Rewards by a table of kinds. Nothing here knows of models. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "sightglass/reward.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pcre2.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

typedef struct kind {
    sg_reward_kind face;
    sg_status (*open)(sg_reward *r, const char *argument, sg_error *err);
    sg_status (*of)(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err);
} kind;

struct sg_reward {
    const kind *kind;
    pcre2_code *pattern;
    char *command;
    sg_arena *arena;
    sg_map *words;
    double *weights, bias;
    bool weighted;
};

/* ---- regular expressions ---- */

static sg_status compile(sg_reward *r, const char *pattern, uint32_t options, sg_error *err)
{
    int code;
    size_t at;
    PCRE2_UCHAR text[160];
    r->pattern = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
    if (r->pattern)
        return SG_OK;
    pcre2_get_error_message(code, text, sizeof text);
    return sg_fail(err, SG_EARG, "regex \"%.80s\": %s, at its character %zu", pattern, (const char *)text, at);
}

static sg_status open_regex(sg_reward *r, const char *argument, sg_error *err)
{
    return compile(r, argument, PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, err);
}

static sg_status of_regex(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err)
{
    (void)prompt;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(r->pattern, NULL);
    if (!data)
        return sg_fail(err, SG_ENOMEM, "reward: out of memory");
    const int n = pcre2_match(r->pattern, (PCRE2_SPTR)completion, strlen(completion), 0, 0, data, NULL);
    pcre2_match_data_free(data);
    if (n < 0 && n != PCRE2_ERROR_NOMATCH)
        return sg_fail(err, SG_EUNSUPPORTED, "regex: the search was given up (PCRE2's error %d)", n);
    *out = n >= 0;
    return SG_OK;
}

/* ---- words ---- */

static sg_status add_word(sg_reward *r, const char *path, long long line, char *text, int *n, sg_error *err)
{
    char *tab = strchr(text, '\t'), *end = NULL;
    double weight = 1;
    if (tab) {
        *tab = 0;
        weight = strtod(tab + 1, &end);
        if (end == tab + 1 || *end || !isfinite(weight))
            return sg_fail(err, SG_EFORMAT, "%s: line %lld: behind \"%.40s\" stands \"%.40s\", wanted a number", path,
                           line, text, tab + 1);
    }
    if (*n && r->weighted != (tab != NULL))
        return sg_fail(err, SG_EFORMAT, "%s: line %lld: either all words have weights or none", path, line);
    r->weighted = tab != NULL;
    if (strcmp(text, "*") == 0 && tab) {
        r->bias = weight;
        return SG_OK;
    }
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    r->weights[*n] = weight;
    if (sg_map_put(r->words, text, strlen(text), *n) == SG_EARG)
        return sg_fail(err, SG_EFORMAT, "%s: line %lld: \"%.40s\" is there twice", path, line, text);
    ++*n;
    return SG_OK;
}

static sg_status open_words(sg_reward *r, const char *path, sg_error *err)
{
    sg_file *file;
    SG_TRY(sg_file_open(&file, path, err));
    r->arena = sg_arena_new();
    char *text = r->arena ? sg_arena_strndup(r->arena, sg_file_data(file) ? (const char *)sg_file_data(file) : "",
                                             sg_file_bytes(file))
                          : NULL;
    sg_file_close(file);
    size_t lines = 1;
    for (const char *c = text; c && *c; c++)
        lines += *c == '\n';
    r->words = sg_map_new(lines);
    r->weights = text ? sg_arena_array(r->arena, lines, sizeof *r->weights) : NULL;
    if (!r->words || !r->weights)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    int n = 0;
    for (long long line = 1; text; line++) {
        char *next = strchr(text, '\n');
        if (next)
            *next++ = 0;
        const size_t length = strcspn(text, "\r");
        text[length] = 0;
        if (*text && *text != '#')
            SG_TRY(add_word(r, path, line, text, &n, err));
        text = next;
    }
    return n ? SG_OK : sg_fail(err, SG_EFORMAT, "%s holds no words", path);
}

/* Words are runs of letters, digits, apostrophes and what is not ASCII. */
static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '\'' || (unsigned char)c >= 128;
}

static sg_status of_words(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err)
{
    double sum = r->bias;
    bool any = false;
    (void)prompt;
    (void)err;
    for (const char *at = completion; *at;) {
        char word[64];
        size_t n = 0;
        while (*at && !in_word(*at))
            at++;
        for (; *at && in_word(*at); at++)
            if (n < sizeof word)
                word[n++] = (char)tolower((unsigned char)*at);
        const int32_t place = n ? sg_map_get(r->words, word, n) : -1;
        sum += place >= 0 ? r->weights[place] : 0;
        any |= place >= 0;
    }
    *out = r->weighted ? 1 / (1 + exp(-sum)) : any;
    return SG_OK;
}

/* ---- arithmetic ---- */

__extension__ typedef __int128 wide;

static sg_status open_arithmetic(sg_reward *r, const char *argument, sg_error *err)
{
    (void)argument;
    return compile(r, "(-?\\d{1,38})\\s*([-+*])\\s*(-?\\d{1,38})\\s*=\\s*(-?\\d{1,38})(?!\\d)", 0, err);
}

/* False where the digits do not fit. */
static bool whole(wide *out, const char *text, size_t n)
{
    const bool minus = n && *text == '-';
    *out = 0;
    for (size_t i = minus; i < n; i++)
        if (__builtin_mul_overflow(*out, (wide)10, out) || __builtin_add_overflow(*out, (wide)(text[i] - '0'), out))
            return false;
    if (minus)
        *out = -*out;
    return true;
}

static sg_status of_arithmetic(const sg_reward *r, const char *prompt, const char *completion, double *out,
                               sg_error *err)
{
    sg_str both = {0};
    sg_str_puts(&both, prompt);
    sg_str_puts(&both, completion);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(r->pattern, NULL);
    *out = 0;
    if (both.failed || !data || !both.text) {
        const bool empty = !both.failed && data;
        pcre2_match_data_free(data);
        sg_str_free(&both);
        return empty ? SG_OK : sg_fail(err, SG_ENOMEM, "reward: out of memory");
    }
    for (size_t from = 0; pcre2_match(r->pattern, (PCRE2_SPTR)both.text, both.bytes, from, 0, data, NULL) > 0;) {
        const size_t *at = pcre2_get_ovector_pointer(data);
        wide a, b, c, is = 0;
        const bool fits = whole(&a, both.text + at[2], at[3] - at[2]) && whole(&b, both.text + at[6], at[7] - at[6]) &&
                          whole(&c, both.text + at[8], at[9] - at[8]);
        const char op = both.text[at[4]];
        const bool over = !fits || (op == '+'   ? __builtin_add_overflow(a, b, &is)
                                    : op == '-' ? __builtin_sub_overflow(a, b, &is)
                                                : __builtin_mul_overflow(a, b, &is));
        *out = !over && is == c; /* the last one decides */
        from = at[1];
    }
    pcre2_match_data_free(data);
    sg_str_free(&both);
    return SG_OK;
}

/* ---- brackets ---- */

static sg_status of_brackets(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err)
{
    static const char opens[] = "([{", closes[] = ")]}";
    const size_t most = strlen(prompt) + strlen(completion);
    char *stack = malloc(most + 1);
    size_t depth = 0, seen = 0;
    bool fits = true;
    (void)r;
    if (!stack)
        return sg_fail(err, SG_ENOMEM, "reward: out of memory");
    for (int part = 0; part < 2; part++)
        for (const char *c = part ? completion : prompt; *c && fits; c++) {
            const char *open = strchr(opens, *c), *close = strchr(closes, *c);
            if (open)
                stack[depth++] = *c;
            if (close)
                fits = depth && stack[--depth] == opens[close - closes];
            seen += open || close;
        }
    free(stack);
    *out = fits && depth == 0 && seen;
    return SG_OK;
}

/* ---- external commands ---- */

static sg_status open_command(sg_reward *r, const char *argument, sg_error *err)
{
    r->command = strdup(argument);
    return r->command ? SG_OK : sg_fail(err, SG_ENOMEM, "reward: out of memory");
}

static void become(const char *command, int in, int out)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Writes all and reads up to `room` - 1 bytes, at most until `until`. */
static bool talk(int to, int from, const char *text, size_t n, char *answer, size_t room, double until)
{
    size_t written = 0, got = 0;
    while (sg_now() < until) {
        struct pollfd p[2] = {{from, POLLIN, 0}, {to, POLLOUT, 0}};
        if (poll(p, to >= 0 ? 2 : 1, 200) < 0 && errno != EINTR)
            return false;
        if (to >= 0 && p[1].revents) {
            const ssize_t k = write(to, text + written, n - written);
            written += k > 0 ? (size_t)k : 0;
            if ((k < 0 && errno != EAGAIN && errno != EINTR) || written == n) { /* all said, or it does not listen */
                close(to);
                to = -1;
            }
        }
        if (p[0].revents) {
            char room_for_rest[256];
            const bool full = got + 1 >= room;
            const ssize_t k =
                read(from, full ? room_for_rest : answer + got, full ? sizeof room_for_rest : room - 1 - got);
            if (k == 0) {
                answer[got] = 0;
                if (to >= 0)
                    close(to);
                return true;
            }
            got += k > 0 && !full ? (size_t)k : 0;
        }
    }
    if (to >= 0)
        close(to);
    answer[got] = 0;
    return false;
}

static sg_status ask(const char *command, const char *text, size_t n, char *answer, size_t room, sg_error *err)
{
    int in[2], out[2];
    if (pipe(in) != 0)
        return sg_fail(err, SG_EIO, "command: %s", strerror(errno));
    if (pipe(out) != 0) {
        close(in[0]);
        close(in[1]);
        return sg_fail(err, SG_EIO, "command: %s", strerror(errno));
    }
    const pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        close(in[1]);
        close(out[0]);
        become(command, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    if (child < 0) {
        close(in[1]);
        close(out[0]);
        return sg_fail(err, SG_EIO, "command: %s", strerror(errno));
    }
    /* A command that does not read is no reason to be ended by SIGPIPE. */
    sigset_t pipe_only, before;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    const bool whole_answer = talk(in[1], out[0], text, n, answer, room, sg_now() + 60);
    close(out[0]);
    if (!whole_answer)
        kill(-child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    const struct timespec none = {0, 0};
    if (!sigismember(&before, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &none) == SIGPIPE)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!whole_answer)
        return sg_fail(err, SG_EUNSUPPORTED, "command \"%.80s\" gave no answer within 60 seconds", command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "command \"%.80s\" failed (status %d)", command,
                       WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return SG_OK;
}

static sg_status of_command(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err)
{
    char answer[256], *end;
    json_t *root = json_pack("{s:s, s:s}", "prompt", prompt, "completion", completion);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    sg_str line = {0};
    json_decref(root);
    if (text)
        sg_str_printf(&line, "%s\n", text);
    free(text);
    if (!line.text || line.failed) {
        sg_str_free(&line);
        return sg_fail(err, SG_EARG, "command: a text that is no UTF-8, or no memory");
    }
    const sg_status status = ask(r->command, line.text, line.bytes, answer, sizeof answer, err);
    sg_str_free(&line);
    SG_TRY(status);
    *out = strtod(answer, &end);
    if (end == answer || !isfinite(*out))
        return sg_fail(err, SG_EUNSUPPORTED, "command \"%.80s\" wrote \"%.40s\", wanted a number", r->command, answer);
    return SG_OK;
}

/* ---- the table ---- */

static const kind kinds[] = {
    {{"regex", "PATTERN", "1 where the completion matches", true}, open_regex, of_regex},
    {{"words", "FILE", "1 where one of the words is there; with weights a bag-of-words classifier", false},
     open_words,
     of_words},
    {{"arithmetic", NULL, "1 where the last A + B = C is right", true}, open_arithmetic, of_arithmetic},
    {{"brackets", NULL, "1 where brackets fit together", true}, NULL, of_brackets},
    {{"command", "COMMAND", "what a shell command says of a line of JSON", false}, open_command, of_command},
};

int sg_reward_kind_count(void)
{
    return (int)SG_COUNT_OF(kinds);
}

const sg_reward_kind *sg_reward_kind_at(int i)
{
    return i >= 0 && i < sg_reward_kind_count() ? &kinds[i].face : NULL;
}

sg_status sg_reward_open(sg_reward **out, const char *what, sg_error *err)
{
    const size_t n = strcspn(what, ":");
    const char *argument = what[n] ? what + n + 1 : "";
    const kind *k = NULL;
    *out = NULL;
    for (size_t i = 0; i < SG_COUNT_OF(kinds); i++)
        if (strlen(kinds[i].face.name) == n && !memcmp(kinds[i].face.name, what, n))
            k = &kinds[i];
    if (!k)
        return sg_fail(err, SG_EARG,
                       "no reward is called \"%.*s\"; there are regex:PATTERN, words:FILE, arithmetic, brackets and "
                       "command:COMMAND",
                       (int)SG_MIN(n, (size_t)40), what);
    if (k->face.argument ? !*argument : *argument)
        return sg_fail(err, SG_EARG, "reward %s: wanted %s%s%s", k->face.name, k->face.name,
                       k->face.argument ? ":" : " alone", k->face.argument ? k->face.argument : "");
    sg_reward *r = calloc(1, sizeof *r);
    if (!r)
        return sg_fail(err, SG_ENOMEM, "reward: out of memory");
    r->kind = k;
    const sg_status status = k->open ? k->open(r, argument, err) : SG_OK;
    if (status != SG_OK) {
        sg_reward_free(r);
        return status;
    }
    *out = r;
    return SG_OK;
}

void sg_reward_free(sg_reward *r)
{
    if (!r)
        return;
    pcre2_code_free(r->pattern);
    sg_map_free(r->words);
    sg_arena_free(r->arena);
    free(r->command);
    free(r);
}

const sg_reward_kind *sg_reward_what(const sg_reward *r)
{
    return &r->kind->face;
}

sg_status sg_reward_of(const sg_reward *r, const char *prompt, const char *completion, double *out, sg_error *err)
{
    *out = 0;
    return r->kind->of(r, prompt, completion, out, err);
}
