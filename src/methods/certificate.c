/* Certificates as JSON files: written, found beside a model, held against its fingerprint. */
#include "sightglass/certificate.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/sha256.h"
#include "sightglass/hub.h"

#define FORMAT     "sightglass-certificate"
#define MOST_BYTES ((size_t)64 << 20)

typedef struct owned {
    sg_certificate face;
    sg_arena *arena;
} owned;

const char *sg_certificate_meaning(const sg_certificate *c)
{
    if (strcmp(c->against, "golden") == 0)
        return "Compared with values that another program computed: what agrees means here what it means there.";
    if (strcmp(c->against, "model") == 0)
        return "Compared with another model, computed here: it tells how far the two are apart, not whether either is "
               "read rightly.";
    return "Compared with this program's own run in f64: kernels and number formats agree with it. A config that this "
           "program "
           "misreads would be misread on both sides; golden values of another program would show that.";
}

/* ---- to JSON ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *row_json(const sg_verify_row *r)
{
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:i, s:I, s:I, s:b}", "site", r->site, "n", (json_int_t)r->n,
                     "max_abs", number(r->max_abs), "mean_abs", number(r->mean_abs), "max_rel", number(r->max_rel),
                     "mean_rel", number(r->mean_rel), "at_prompt", r->at_prompt, "at_position",
                     (json_int_t)r->at_position, "bad", (json_int_t)r->n_bad, "holds", (int)r->holds);
}

static json_t *next_json(const sg_verify_next *x)
{
    if (x->n == 0)
        return json_null();
    return json_pack("{s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:b}", "positions", (json_int_t)x->n, "top1",
                     number(x->top1), "clear", (json_int_t)x->n_clear, "top1_clear", number(x->top1_clear), "tv_mean",
                     number(x->tv_mean), "tv_max", number(x->tv_max), "kl_mean", number(x->kl_mean), "kl_max",
                     number(x->kl_max), "holds", (int)x->holds);
}

static json_t *run_json(const sg_verify_run *r)
{
    json_t *rows = json_array();

    for (int i = 0; i < r->n_rows; i++)
        json_array_append_new(rows, row_json(&r->rows[i]));
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:{s:f, s:f, s:f, s:s}, s:o, s:o}", "backend", r->backend,
                     "compute", r->compute, "stored", r->stored, "holds", (int)r->holds, "first_bad",
                     text_or_null(r->first_bad), "note", text_or_null(r->note), "seconds", number(r->seconds),
                     "tolerance", "relative", r->tolerance.relative, "variation", r->tolerance.variation, "lead",
                     r->tolerance.lead, "why", r->tolerance.why ? r->tolerance.why : "", "next", next_json(&r->next),
                     "rows", rows);
}

char *sg_certificate_text(const sg_certificate *c)
{
    json_t *runs = json_array();

    for (int i = 0; i < c->n_runs; i++)
        json_array_append_new(runs, run_json(c->runs[i]));
    json_t *root = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:I, s:b, s:s, s:o}",
                             "format", FORMAT, "version", 1, "program", c->program, "date", c->date, "cpu", c->cpu,
                             "model", c->model, "hash", c->hash, "fingerprint", c->fingerprint, "against", c->against,
                             "reference", c->reference, "reference_hash", text_or_null(c->reference_hash), "prompts",
                             c->n_prompts, "positions", (json_int_t)c->n_positions, "holds", (int)c->holds, "meaning",
                             sg_certificate_meaning(c), "runs", runs);
    if (root && c->path) {
        json_object_set_new(root, "stale", json_boolean(c->stale));
        json_object_set_new(root, "path", json_string(c->path));
    }
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(root);
    return text;
}

/* ---- from JSON ---- */

typedef struct reader {
    owned *c;
    const char *path;
    sg_error *err;
    sg_status status;
} reader;

static void complain(reader *r, const char *key, const char *wanted)
{
    if (r->status == SG_OK)
        r->status = sg_fail(r->err, SG_EFORMAT, "%s: not a certificate: %s is not %s", r->path, key, wanted);
}

static const char *get_text(reader *r, const json_t *of, const char *key, bool optional)
{
    const char *text = json_string_value(json_object_get(of, key));

    if (!text && !optional)
        complain(r, key, "a text");
    if (!text)
        return optional ? NULL : "";
    const char *own = sg_arena_strdup(r->c->arena, text);
    if (!own && r->status == SG_OK)
        r->status = sg_fail(r->err, SG_ENOMEM, "out of memory for a certificate");
    return own ? own : "";
}

/* null stands for what JSON cannot write. */
static double get_number(reader *r, const json_t *of, const char *key)
{
    const json_t *x = json_object_get(of, key);

    if (!x || (!json_is_number(x) && !json_is_null(x)))
        complain(r, key, "a number");
    return json_is_null(x) ? (double)INFINITY : json_number_value(x);
}

static sg_dim get_whole(reader *r, const json_t *of, const char *key)
{
    const json_t *x = json_object_get(of, key);

    if (!json_is_integer(x) || json_integer_value(x) < 0)
        complain(r, key, "a whole number");
    return SG_MAX(json_integer_value(x), 0);
}

static bool get_flag(reader *r, const json_t *of, const char *key)
{
    const json_t *x = json_object_get(of, key);

    if (!json_is_boolean(x))
        complain(r, key, "true or false");
    return json_is_true(x);
}

static void read_row(reader *r, const json_t *of, sg_verify_row *row)
{
    *row = (sg_verify_row){.site = get_text(r, of, "site", false),
                           .n = get_whole(r, of, "n"),
                           .max_abs = get_number(r, of, "max_abs"),
                           .mean_abs = get_number(r, of, "mean_abs"),
                           .max_rel = get_number(r, of, "max_rel"),
                           .mean_rel = get_number(r, of, "mean_rel"),
                           .at_prompt = (int)SG_MIN(get_whole(r, of, "at_prompt"), INT32_MAX),
                           .at_position = get_whole(r, of, "at_position"),
                           .n_bad = get_whole(r, of, "bad"),
                           .holds = get_flag(r, of, "holds")};
}

static void read_next(reader *r, const json_t *of, sg_verify_next *next)
{
    if (json_is_null(of))
        return;
    *next = (sg_verify_next){.n = get_whole(r, of, "positions"),
                             .top1 = get_number(r, of, "top1"),
                             .n_clear = get_whole(r, of, "clear"),
                             .top1_clear = get_number(r, of, "top1_clear"),
                             .tv_mean = get_number(r, of, "tv_mean"),
                             .tv_max = get_number(r, of, "tv_max"),
                             .kl_mean = get_number(r, of, "kl_mean"),
                             .kl_max = get_number(r, of, "kl_max"),
                             .holds = get_flag(r, of, "holds")};
}

static void read_run(reader *r, const json_t *of, sg_verify_run *run)
{
    const json_t *rows = json_object_get(of, "rows"), *tolerance = json_object_get(of, "tolerance");
    const size_t n = json_array_size(rows);
    sg_verify_row *own = sg_arena_array(r->c->arena, n + 1, sizeof *own);

    if (!own) {
        r->status = sg_fail(r->err, SG_ENOMEM, "out of memory for a certificate");
        return;
    }
    *run = (sg_verify_run){.backend = get_text(r, of, "backend", false),
                           .compute = get_text(r, of, "compute", false),
                           .stored = get_text(r, of, "stored", false),
                           .rows = own,
                           .tolerance = {get_number(r, tolerance, "relative"), get_number(r, tolerance, "variation"),
                                         get_number(r, tolerance, "lead"), get_text(r, tolerance, "why", false)},
                           .first_bad = get_text(r, of, "first_bad", true),
                           .note = get_text(r, of, "note", true),
                           .seconds = get_number(r, of, "seconds"),
                           .holds = get_flag(r, of, "holds")};
    read_next(r, json_object_get(of, "next"), &run->next);
    for (size_t i = 0; i < n && r->status == SG_OK; i++)
        read_row(r, json_array_get(rows, i), &own[i]);
    run->n_rows = (int)n;
}

static sg_status read_all(owned *c, const char *path, const json_t *root, sg_error *err)
{
    reader r = {c, path, err, SG_OK};
    const json_t *runs = json_object_get(root, "runs");
    const size_t n = json_array_size(runs);
    sg_verify_run *own = sg_arena_array(c->arena, n + 1, sizeof *own);
    const sg_verify_run **list = sg_arena_array(c->arena, n + 1, sizeof *list);
    const char *format = json_string_value(json_object_get(root, "format"));

    if (!own || !list)
        return sg_fail(err, SG_ENOMEM, "out of memory for a certificate");
    if (!format || strcmp(format, FORMAT) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: not a certificate: format is not \"%s\"", path, FORMAT);
    if (json_integer_value(json_object_get(root, "version")) != 1)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: a certificate of another version than 1", path);
    c->face = (sg_certificate){.program = get_text(&r, root, "program", false),
                               .date = get_text(&r, root, "date", false),
                               .cpu = get_text(&r, root, "cpu", false),
                               .model = get_text(&r, root, "model", false),
                               .hash = get_text(&r, root, "hash", false),
                               .fingerprint = get_text(&r, root, "fingerprint", false),
                               .against = get_text(&r, root, "against", false),
                               .reference = get_text(&r, root, "reference", false),
                               .reference_hash = get_text(&r, root, "reference_hash", true),
                               .n_prompts = (int)SG_MIN(get_whole(&r, root, "prompts"), INT32_MAX),
                               .n_positions = get_whole(&r, root, "positions"),
                               .n_runs = (int)n,
                               .runs = list,
                               .holds = get_flag(&r, root, "holds"),
                               .path = sg_arena_strdup(c->arena, path)};
    if (r.status == SG_OK && strcmp(c->face.against, "golden") != 0 && strcmp(c->face.against, "self") != 0 &&
        strcmp(c->face.against, "model") != 0)
        complain(&r, "against", "golden, self or model");
    for (size_t i = 0; i < n && r.status == SG_OK; i++) {
        read_run(&r, json_array_get(runs, i), &own[i]);
        list[i] = &own[i];
    }
    if (r.status == SG_OK && !c->face.path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a certificate");
    return r.status;
}

static sg_status read_file(sg_certificate **out, const char *path, sg_error *err)
{
    sg_file *file;
    json_error_t at;

    SG_TRY(sg_file_open(&file, path, err));
    if (sg_file_bytes(file) > MOST_BYTES) {
        sg_file_close(file);
        return sg_fail(err, SG_EFORMAT, "%s: not a certificate: larger than any", path);
    }
    json_t *root = json_loadb(sg_file_data(file) ? (const char *)sg_file_data(file) : "", sg_file_bytes(file),
                              JSON_REJECT_DUPLICATES, &at);
    sg_file_close(file);
    if (!root)
        return sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
    sg_arena *arena = sg_arena_new();
    owned *c = arena ? sg_arena_alloc(arena, sizeof *c) : NULL;
    sg_status status = SG_ENOMEM;
    if (c) {
        c->arena = arena;
        status = read_all(c, path, root, err);
    } else {
        sg_fail(err, SG_ENOMEM, "out of memory for a certificate");
    }
    json_decref(root);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &c->face;
    return SG_OK;
}

void sg_certificate_free(sg_certificate *c)
{
    if (c)
        sg_arena_free(((owned *)c)->arena);
}

/* ---- where they are ---- */

static void beside(sg_str *out, const char *model)
{
    struct stat st;
    size_t n = strlen(model);

    while (n > 1 && model[n - 1] == '/')
        n--;
    sg_str_append(out, model, n);
    sg_str_puts(out,
                stat(model, &st) == 0 && S_ISDIR(st.st_mode) ? "/sightglass-certificate.json" : ".certificate.json");
}

/* Named by the model's path, so that a changed model's is found, and is seen to be stale. False: there is no such
 * place. */
static bool in_workspace(sg_str *out, const char *model, bool make)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char hash[SG_SHA256_TEXT], *whole = realpath(model, NULL);
    const char *const parts[] = {data && data[0] == '/' ? "/sightglass" : "/.local/share/sightglass", "/certificates"};

    if (!whole || (!(data && data[0] == '/') && !(home && home[0]))) {
        free(whole);
        return false;
    }
    sg_str_puts(out, data && data[0] == '/' ? data : home);
    for (size_t i = 0; i < SG_COUNT_OF(parts); i++) {
        for (const char *c = parts[i]; *c; c++) { /* folder by folder */
            if (make && *c == '/' && !out->failed)
                mkdir(out->text, 0777);
            sg_str_append(out, c, 1);
        }
        if (make && !out->failed)
            mkdir(out->text, 0777); /* of a failure the writer tells */
    }
    sg_str_printf(out, "/%.32s.json", sg_sha256(hash, whole, strlen(whole)));
    free(whole);
    return true;
}

static sg_status write_to(const char *path, const char *text, sg_error *err)
{
    sg_writer *w;

    SG_TRY(sg_writer_begin(&w, path, err));
    fprintf(sg_writer_stream(w), "%s\n", text);
    return sg_writer_commit(w, err);
}

static sg_status save(const sg_certificate *c, const char *model, const char *path, char **where, sg_error *err)
{
    char *text = sg_certificate_text(c);
    sg_str at = {0};
    sg_status status;

    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for a certificate");
    if (path)
        sg_str_puts(&at, path);
    else
        beside(&at, model);
    status = at.failed ? sg_fail(err, SG_ENOMEM, "out of memory for a certificate") : write_to(at.text, text, err);
    if (status == SG_EIO && !path) {
        sg_str other = {0};
        if (in_workspace(&other, model, true) && !other.failed) {
            status = write_to(other.text, text, err);
            sg_str_free(&at);
            at = other;
        } else {
            sg_str_free(&other);
        }
    }
    free(text);
    if (status == SG_OK && where)
        *where = at.text;
    else
        sg_str_free(&at);
    return status;
}

static sg_status find(sg_certificate **out, const char *model, sg_error *err)
{
    sg_certificate *c = NULL;
    sg_file_identity *now = NULL;
    sg_str at = {0};

    *out = NULL;
    beside(&at, model);
    if (!at.failed && access(at.text, F_OK) != 0) {
        sg_str_free(&at);
        if (!in_workspace(&at, model, false) || (!at.failed && access(at.text, F_OK) != 0)) {
            sg_str_free(&at);
            return SG_OK;
        }
    }
    sg_status status =
        at.failed ? sg_fail(err, SG_ENOMEM, "out of memory for a certificate") : read_file(&c, at.text, err);
    sg_str_free(&at);
    SG_TRY(status);
    sg_file_identity_opts quick = sg_file_identity_defaults();
    quick.full = false;
    status = sg_file_identity_of(&now, model, quick, err);
    if (status != SG_OK) {
        sg_certificate_free(c);
        return status;
    }
    c->stale = strcmp(now->fingerprint, c->fingerprint) != 0;
    sg_file_identity_free(now);
    *out = c;
    return SG_OK;
}

/* ---- of models by name ---- */

sg_status sg_certificate_save(const sg_certificate *c, const char *model, const char *path, char **where, sg_error *err)
{
    char *found;

    SG_TRY(sg_hub_locate(&found, model, err));
    const sg_status status = save(c, found, path, where, err);
    free(found);
    return status;
}

sg_status sg_certificate_find(sg_certificate **out, const char *model, sg_error *err)
{
    char *found;

    SG_TRY(sg_hub_locate(&found, model, err));
    const sg_status status = find(out, found, err);
    free(found);
    return status;
}
