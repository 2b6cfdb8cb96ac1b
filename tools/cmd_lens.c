/* sightglass lens: what the residual stream says before each block, and which parts wrote a prediction. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/lens.h"

static const char help[] =
    "usage: sightglass lens MODEL (--text T | --tokens FILE) [options]\n"
    "       sightglass lens MODEL (--text T | --tokens FILE) --attribute [options]\n\n"
    "Reads the residual stream before every block as if it were the last (logit lens), one column for each position;\n"
    "with --attribute instead tells which heads, MLPs and neurons wrote a logit (direct logit attribution).\n\n"
    "  --token T         the token that is followed: an id, 'text' that is one token, next: what comes next in the\n"
    "                    text (final: what the model says)\n"
    "  --first N         lens: the first position that is shown (the last 8)\n"
    "  --top N           lens: likeliest tokens per place, in --json (1); attribution: parts that are shown (15)\n"
    "  --attribute       direct logit attribution\n"
    "  --position N      attribution: where (the last)\n"
    "  --versus T        attribution: against another token's logit (the mean of all)\n"
    "  --neurons N       attribution: neurons that are shown (10)\n"
    "  --json            for machines\n";

typedef struct request {
    const char *model, *text, *tokens, *token, *versus;
    long long first, top, position, neurons;
    bool attribute, json;
} request;

/* An id, or text that is one token. */
static sg_status token_of(const sg_model *m, const char *option, const char *word, int32_t *out, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    sg_tokens ids = {0};
    long long id;
    sg_error no;
    if (cli_whole(option, word, 0, sg_model_get_info(m)->n_vocab - 1, &id, &no) == SG_OK) {
        *out = (int32_t)id;
        return SG_OK;
    }
    if (!t)
        return sg_fail(err, SG_EARG, "%s \"%.60s\": the model has no tokenizer, wanted a token's id", option, word);
    if ((*out = sg_tokenizer_id(t, word)) >= 0)
        return SG_OK;
    sg_status status =
        sg_tokenizer_encode(t, word, (sg_encode_opts){.add_special = false, .parse_special = true}, &ids, err);
    const int64_t n = ids.n;
    if (status == SG_OK && n == 1)
        *out = ids.ids[0];
    sg_tokens_free(&ids);
    if (status == SG_OK && n != 1)
        return sg_fail(err, SG_EARG, "%s \"%.60s\" is %lld tokens, wanted one", option, word, (long long)n);
    return status;
}

static sg_status followed(const sg_model *m, const request *r, int32_t *out, sg_error *err)
{
    *out = SG_LENS_FINAL;
    if (!r->token || strcmp(r->token, "final") == 0)
        return SG_OK;
    if (strcmp(r->token, "next") == 0) {
        *out = SG_LENS_NEXT;
        return SG_OK;
    }
    return token_of(m, "--token", r->token, out, err);
}

/* ---- the lens ---- */

static json_t *json_token(const sg_model *m, int32_t id)
{
    char text[64];
    const sg_tokenizer *t = sg_model_tokenizer(m);
    return json_pack("{s:i, s:o}", "id", (int)id, "text", t ? json_string(cli_token(text, t, id)) : json_null());
}

static int lens_json(const request *r, const sg_model *m, const sg_lens *lens, const int32_t *tokens)
{
    json_t *positions = json_array(), *rows = json_array();
    for (sg_dim t = 0; t < lens->n; t++)
        json_array_append_new(positions, json_pack("{s:I, s:o, s:o}", "position", (json_int_t)(lens->first + t),
                                                   "token", json_token(m, tokens[lens->first + t]), "followed",
                                                   json_token(m, lens->token[t])));
    for (int row = 0; row < lens->n_rows; row++) {
        json_t *places = json_array();
        for (sg_dim t = 0; t < lens->n; t++) {
            const sg_lens_place *p = &lens->places[row * lens->n + t];
            json_t *top = json_array();
            for (int k = 0; k < lens->top; k++)
                json_array_append_new(
                    top, json_pack("{s:o, s:f}", "token", json_token(m, p->top[k].token), "p", p->top[k].p));
            json_array_append_new(places, json_pack("{s:f, s:I, s:f, s:f, s:o}", "p", p->p, "rank", (json_int_t)p->rank,
                                                    "entropy", p->entropy, "kl", p->kl, "top", top));
        }
        char site[64];
        snprintf(site, sizeof site, row + 1 < lens->n_rows ? "blocks.%d.hook_resid_pre" : "blocks.%d.hook_resid_post",
                 row + 1 < lens->n_rows ? row : row - 1);
        json_array_append_new(rows, json_pack("{s:s, s:o}", "site", site, "places", places));
    }
    return cli_print_json(json_pack("{s:s, s:o, s:o}", "model", r->model, "positions", positions, "rows", rows));
}

/* A token in a column of so many signs, cut between characters. */
static void print_cell(const sg_model *m, int32_t id, double p, int width, const cli_paint *c)
{
    char text[64], number[16];
    const sg_tokenizer *t = sg_model_tokenizer(m);
    snprintf(number, sizeof number, "%d", (int)id);
    const char *word = t ? cli_token(text, t, id) : number;
    int shown = 0, bytes = 0;
    while (word[bytes] && shown < width - 5) {
        bytes++;
        while (((unsigned char)word[bytes] & 0xc0) == 0x80)
            bytes++;
        shown++;
    }
    const char *on = p >= 0.5 ? c->bold : p < 0.1 ? c->dim : "";
    printf(" %s%.*s%*s%3.0f%%%s", on, bytes, word, width - 4 - shown, "", 100 * p, c->off);
}

static void lens_text(const request *r, const sg_model *m, const sg_lens *lens, const int32_t *tokens)
{
    enum { WIDTH = 14 };
    const cli_paint c = cli_colours();
    printf("%s%s%s  the likeliest next token where the stream before each block is read as if it were the last\n\n",
           c.bold, r->model, c.off);
    printf("%-9s", "after");
    for (sg_dim t = 0; t < lens->n; t++) {
        char text[64], number[16];
        const sg_tokenizer *tok = sg_model_tokenizer(m);
        snprintf(number, sizeof number, "%d", (int)tokens[lens->first + t]);
        printf(" %s%-*.*s%s", c.bold, WIDTH - 1, WIDTH - 1,
               tok ? cli_token(text, tok, tokens[lens->first + t]) : number, c.off);
    }
    printf("\n");
    for (int row = 0; row < lens->n_rows; row++) {
        if (row + 1 < lens->n_rows)
            printf("block %-3d", row);
        else
            printf("%-9s", "the end");
        for (sg_dim t = 0; t < lens->n; t++) {
            const sg_lens_guess *best = lens->places[row * lens->n + t].top;
            print_cell(m, best->token, best->p, WIDTH - 1, &c);
        }
        printf("\n");
    }
    printf("\n%srank (p) of the token that is followed%s\n", c.dim, c.off);
    for (int row = 0; row < lens->n_rows; row++) {
        if (row + 1 < lens->n_rows)
            printf("block %-3d", row);
        else
            printf("%-9s", "the end");
        for (sg_dim t = 0; t < lens->n; t++) {
            const sg_lens_place *p = &lens->places[row * lens->n + t];
            char cell[40];
            snprintf(cell, sizeof cell, "%lld (%.2g)", (long long)p->rank, p->p);
            printf(" %-*s", WIDTH - 1, cell);
        }
        printf("\n");
    }
}

/* ---- the attribution ---- */

static const char *part_name(char buf[48], const sg_attributed *w)
{
    switch (w->kind) {
    case SG_WROTE_EMBED:
        return "embedding";
    case SG_WROTE_POSITION:
        return "position";
    case SG_WROTE_HEAD:
        snprintf(buf, 48, "blocks.%d head %lld", w->layer, (long long)w->index);
        break;
    case SG_WROTE_ATTENTION:
        snprintf(buf, 48, "blocks.%d attention, rest", w->layer);
        break;
    case SG_WROTE_MLP:
        snprintf(buf, 48, "blocks.%d mlp", w->layer);
        break;
    case SG_WROTE_NEURON:
        snprintf(buf, 48, "blocks.%d neuron %lld", w->layer, (long long)w->index);
        break;
    }
    return buf;
}

static json_t *json_written(const sg_attributed *w)
{
    char name[48];
    return json_pack("{s:s, s:i, s:I, s:f, s:o}", "name", part_name(name, w), "layer", w->layer, "index",
                     (json_int_t)w->index, "value", w->value, "activation",
                     isnan(w->activation) ? json_null() : json_real(w->activation));
}

static int attribution_json(const request *r, const sg_model *m, const sg_attribution *a)
{
    json_t *parts = json_array(), *neurons = json_array();
    for (int i = 0; i < a->n; i++)
        json_array_append_new(parts, json_written(&a->parts[i]));
    for (int i = 0; i < a->n_neurons; i++)
        json_array_append_new(neurons, json_written(&a->neurons[i]));
    return cli_print_json(json_pack(
        "{s:s, s:I, s:o, s:o, s:f, s:f, s:f, s:o, s:o}", "model", r->model, "position", (json_int_t)a->position,
        "token", json_token(m, a->token), "versus", a->versus < 0 ? json_string("mean") : json_token(m, a->versus),
        "logit", a->logit, "constant", a->constant, "unexplained", a->unexplained, "parts", parts, "neurons", neurons));
}

static int by_magnitude(const void *x, const void *y)
{
    const double a = fabs((*(const sg_attributed *const *)x)->value),
                 b = fabs((*(const sg_attributed *const *)y)->value);
    return a < b ? 1 : a > b ? -1 : 0;
}

static void print_bar(double value, double most, const cli_paint *c)
{
    enum { HALF = 20 };
    const int n = most > 0 ? (int)lround(fabs(value) / most * HALF) : 0;
    printf("%s%*s%.*s|%.*s%*s%s", c->dim, value < 0 ? HALF - n : HALF, "", value < 0 ? n : 0, "--------------------",
           value < 0 ? 0 : n, "++++++++++++++++++++", value < 0 ? HALF : HALF - n, "", c->off);
}

static int attribution_text(const request *r, const sg_model *m, const sg_attribution *a)
{
    const cli_paint c = cli_colours();
    const sg_tokenizer *t = sg_model_tokenizer(m);
    char name[64], other[64];
    const sg_attributed **sorted = malloc((size_t)a->n * sizeof *sorted);
    if (!sorted) {
        fprintf(stderr, "sightglass: out of memory\n");
        return EXIT_FAILED;
    }
    for (int i = 0; i < a->n; i++)
        sorted[i] = &a->parts[i];
    qsort(sorted, (size_t)a->n, sizeof *sorted, by_magnitude);
    if (!t)
        snprintf(name, sizeof name, "%d", (int)a->token), snprintf(other, sizeof other, "%d", (int)a->versus);
    printf("%s%s%s  position %lld: the logit of %s%s%s less %s is %s%.4f%s\n", c.bold, r->model, c.off,
           (long long)a->position, c.bold, t ? cli_token(name, t, a->token) : name, c.off,
           a->versus < 0 ? "the mean of all"
           : t           ? cli_token(other, t, a->versus)
                         : other,
           c.bold, a->logit, c.off);
    printf("%sthe final norm's divisor is held; constant %.4f; unexplained %.1e%s\n\n", c.dim, a->constant,
           a->unexplained, c.off);
    const long long top = r->top < 0 ? 15 : r->top;
    double shown = 0;
    for (int i = 0; i < a->n && i < top; i++) {
        printf("  %-28s %9.4f  ", part_name(name, sorted[i]), sorted[i]->value);
        print_bar(sorted[i]->value, fabs(sorted[0]->value), &c);
        printf("\n");
        shown += sorted[i]->value;
    }
    if (a->n > top)
        printf("  %-28s %9.4f\n", "all others", a->logit - a->constant - a->unexplained - shown);
    if (a->n_neurons)
        printf("\n  %sneurons, which are parts of their MLPs%s\n", c.dim, c.off);
    for (int i = 0; i < a->n_neurons; i++)
        printf("  %-28s %9.4f   activation %.3f\n", part_name(name, &a->neurons[i]), a->neurons[i].value,
               a->neurons[i].activation);
    free(sorted);
    return 0;
}

/* ---- the command ---- */

static int parse(int argc, char **argv, request *r)
{
    static const struct option words[] = {
        {"text", required_argument, NULL, 'x'},     {"tokens", required_argument, NULL, 't'},
        {"token", required_argument, NULL, 'k'},    {"versus", required_argument, NULL, 'v'},
        {"first", required_argument, NULL, 'f'},    {"top", required_argument, NULL, 'n'},
        {"position", required_argument, NULL, 'p'}, {"neurons", required_argument, NULL, 'u'},
        {"attribute", no_argument, NULL, 'a'},      {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    sg_error err;
    sg_status status = SG_OK;
    for (int o; status == SG_OK && (o = getopt_long(argc, argv, "h", words, NULL)) != -1;)
        switch (o) {
        case 'x':
            r->text = optarg;
            break;
        case 't':
            r->tokens = optarg;
            break;
        case 'k':
            r->token = optarg;
            break;
        case 'v':
            r->versus = optarg;
            break;
        case 'f':
            status = cli_whole("--first", optarg, 0, 1 << 26, &r->first, &err);
            break;
        case 'n':
            status = cli_whole("--top", optarg, 1, 64, &r->top, &err);
            break;
        case 'p':
            status = cli_whole("--position", optarg, 0, 1 << 26, &r->position, &err);
            break;
        case 'u':
            status = cli_whole("--neurons", optarg, 0, 1000, &r->neurons, &err);
            break;
        case 'a':
            r->attribute = true;
            break;
        case 'j':
            r->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    if (status != SG_OK)
        return cli_fail(&err);
    if (optind + 1 != argc)
        return cli_usage("lens", "wanted one MODEL, got %d", argc - optind);
    r->model = argv[optind];
    if (!r->text == !r->tokens)
        return cli_usage("lens", "wanted --text or --tokens");
    if (!r->attribute && (r->versus || r->position >= 0))
        return cli_usage("lens", "--%s goes with --attribute", r->versus ? "versus" : "position");
    return -1;
}

static sg_status look(const request *r, const sg_model *m, const cli_rows *rows, int *code, sg_error *err)
{
    int32_t token;
    const sg_dim n = rows->lengths[0];
    SG_TRY(followed(m, r, &token, err));
    if (r->attribute) {
        sg_attribution *a;
        sg_attribution_opts opts = sg_attribution_defaults();
        opts.token = token;
        opts.position = r->position;
        opts.neurons = (int)r->neurons;
        if (r->versus)
            SG_TRY(token_of(m, "--versus", r->versus, &opts.versus, err));
        SG_TRY(sg_attribution_view(&a, m, n, rows->tokens[0], opts, err));
        *code = r->json ? attribution_json(r, m, a) : attribution_text(r, m, a);
        sg_attribution_free(a);
        return SG_OK;
    }
    sg_lens *lens;
    sg_lens_opts opts = sg_lens_defaults();
    opts.token = token;
    opts.top = r->top < 0 ? 1 : (int)r->top;
    opts.first = r->first >= 0 ? r->first : r->json ? 0 : SG_MAX(n - 8, (sg_dim)0);
    opts.cancel = &asked_stop;
    asked_catch();
    SG_TRY(sg_lens_view(&lens, m, n, rows->tokens[0], opts, err));
    if (r->json)
        *code = lens_json(r, m, lens, rows->tokens[0]);
    else
        lens_text(r, m, lens, rows->tokens[0]);
    sg_lens_free(lens);
    return SG_OK;
}

int cmd_lens(int argc, char **argv)
{
    request r = {.first = -1, .top = -1, .position = -1, .neurons = 10};
    sg_model *m = NULL;
    cli_rows rows = {0};
    sg_error err = {SG_OK, ""};
    int code = parse(argc, argv, &r);
    if (code >= 0)
        return code;
    code = 0;
    sg_status status = sg_model_open(&m, r.model, sg_model_defaults(), &err);
    if (status == SG_OK)
        status = r.text ? cli_rows_text(&rows, m, r.text, &err) : cli_rows_file(&rows, r.tokens, &err);
    if (status == SG_OK && rows.n != 1)
        status = sg_fail(&err, SG_EARG, "%s holds %d rows, wanted one", r.tokens, rows.n);
    if (status == SG_OK) {
        cli_warnings(m);
        status = look(&r, m, &rows, &code, &err);
    }
    cli_rows_free(&rows);
    sg_model_close(m);
    return status == SG_OK ? code : asked_fail(&err);
}
