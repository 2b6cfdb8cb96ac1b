/* Lines from a person or a file. */
#include "line.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#ifdef SG_HAVE_LIBEDIT
#include <histedit.h>
#endif

struct line_reader {
    FILE *from;
    const char *prompt;
    const char *const *words;
    char *text;
    size_t capacity;
    bool cancelled;
#ifdef SG_HAVE_LIBEDIT
    EditLine *el;
    History *history;
    HistEvent event;
#endif
};

/* Without an editor Ctrl-C interrupts the reading call, which then returns. */
static void interrupted(int signal)
{
    (void)signal;
}

#ifdef SG_HAVE_LIBEDIT
static char *prompt_of(EditLine *el)
{
    line_reader *r = NULL;
    static char text[80];
    el_get(el, EL_CLIENTDATA, &r);
    snprintf(text, sizeof text, "%s", r->prompt);
    return text;
}

/* While a line is edited Ctrl-C is a key like any other. */
static unsigned char cancel(EditLine *el, int key)
{
    line_reader *r = NULL;
    (void)key;
    el_get(el, EL_CLIENTDATA, &r);
    r->cancelled = true;
    return CC_EOF;
}

static unsigned char complete(EditLine *el, int key)
{
    line_reader *r = NULL;
    const LineInfo *line = el_line(el);
    const char *found = NULL;
    size_t typed = (size_t)(line->cursor - line->buffer), common = 0;
    (void)key;
    el_get(el, EL_CLIENTDATA, &r);
    if (memchr(line->buffer, ' ', typed))
        return CC_ERROR;
    for (int i = 0; r->words && r->words[i]; i++) {
        if (strncmp(r->words[i], line->buffer, typed) != 0)
            continue;
        if (!found) {
            common = strlen(found = r->words[i]);
            continue;
        }
        for (size_t k = typed; k < common; k++)
            if (r->words[i][k] != found[k])
                common = k;
    }
    if (!found || (common == typed && found[typed]))
        return CC_ERROR;
    char rest[64];
    snprintf(rest, sizeof rest, "%.*s%s", (int)(common - typed), found + typed, found[common] ? "" : " ");
    return el_insertstr(el, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

static void begin_editor(line_reader *r)
{
    r->el = el_init("sightglass", r->from, stdout, stderr);
    r->history = r->el ? history_init() : NULL;
    if (!r->history)
        return;
    history(r->history, &r->event, H_SETSIZE, 500);
    history(r->history, &r->event, H_SETUNIQUE, 1);
    el_set(r->el, EL_CLIENTDATA, r);
    el_set(r->el, EL_PROMPT, prompt_of);
    el_set(r->el, EL_EDITOR, "emacs");
    el_set(r->el, EL_HIST, history, r->history);
    el_set(r->el, EL_ADDFN, "cancel", "forget the line", cancel);
    el_set(r->el, EL_ADDFN, "complete", "complete the command", complete);
    el_set(r->el, EL_BIND, "^C", "cancel", NULL);
    el_set(r->el, EL_BIND, "^I", "complete", NULL);
    el_set(r->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(r->el, EL_SETTY, "-d", "-isig", NULL);
    el_set(r->el, EL_SIGNAL, 1); /* a window that changes its size */
}
#endif

line_reader *line_open(FILE *from, const char *prompt, const char *const *words)
{
    line_reader *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->from = from;
    r->prompt = prompt;
    r->words = words;
    if (prompt) {
        struct sigaction stop = {.sa_handler = interrupted}; /* no SA_RESTART */
        sigaction(SIGINT, &stop, NULL);
    }
#ifdef SG_HAVE_LIBEDIT
    if (prompt)
        begin_editor(r);
#endif
    return r;
}

void line_close(line_reader *r)
{
    if (!r)
        return;
#ifdef SG_HAVE_LIBEDIT
    if (r->history)
        history_end(r->history);
    if (r->el)
        el_end(r->el);
#endif
    free(r->text);
    free(r);
}

static bool keep(line_reader *r, size_t bytes)
{
    if (bytes < r->capacity)
        return true;
    char *more = realloc(r->text, bytes * 2 + 80);
    if (!more)
        return false;
    r->text = more;
    r->capacity = bytes * 2 + 80;
    return true;
}

#ifdef SG_HAVE_LIBEDIT
static line_kind edit_line(line_reader *r, char **text)
{
    int n = 0;
    r->cancelled = false;
    const char *line = el_gets(r->el, &n);
    if (!line || n <= 0) {
        if (r->cancelled) {
            el_reset(r->el);
            putchar('\n');
            return LINE_CANCELLED;
        }
        return LINE_END;
    }
    if (!keep(r, strlen(line)))
        return LINE_FAILED;
    memcpy(r->text, line, strlen(line) + 1);
    r->text[strcspn(r->text, "\r\n")] = 0;
    if (r->text[0])
        history(r->history, &r->event, H_ENTER, line);
    *text = r->text;
    return LINE_TEXT;
}
#endif

line_kind line_next(line_reader *r, char **text)
{
    size_t n = 0;
    int c;
#ifdef SG_HAVE_LIBEDIT
    if (r->history)
        return edit_line(r, text);
#endif
    if (r->prompt) {
        fputs(r->prompt, stdout);
        fflush(stdout);
    }
    errno = 0;
    while ((c = fgetc(r->from)) != EOF && c != '\n') {
        if (!keep(r, n + 1))
            return LINE_FAILED;
        r->text[n++] = (char)c;
    }
    if (c == EOF && ferror(r->from)) {
        const bool stopped = errno == EINTR && r->prompt;
        clearerr(r->from);
        return stopped ? LINE_CANCELLED : LINE_FAILED;
    }
    if (c == EOF && n == 0)
        return LINE_END;
    if (!keep(r, n))
        return LINE_FAILED;
    while (n && r->text[n - 1] == '\r')
        n--;
    r->text[n] = 0;
    *text = r->text;
    return LINE_TEXT;
}
