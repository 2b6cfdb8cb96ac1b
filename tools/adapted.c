/* What commands share that put adapters into the model that they open. */
#include "adapted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/control_vector.h"

/* ---- options ---- */

static void take(const char **list, int *n, bool *too_many, const char *text)
{
    if (*n < ADAPTED_MOST)
        list[(*n)++] = text;
    else
        *too_many = true;
}

bool adapted_option(adapted *a, int option, const char *text)
{
    switch (option) {
    case ADAPTED_LORA:
        take(a->loras, &a->n_loras, &a->too_many, text);
        return true;
    case ADAPTED_SAE:
        take(a->saes, &a->n_saes, &a->too_many, text);
        return true;
    case ADAPTED_VECTOR:
        take(a->vectors, &a->n_vectors, &a->too_many, text);
        return true;
    case ADAPTED_LAYERS:
        a->layers = text;
        return true;
    default:
        return false;
    }
}

char *adapted_split(const char *text, double *number)
{
    const char *equals = strrchr(text, '=');
    char *end = NULL;
    const double x = equals ? strtod(equals + 1, &end) : 0;

    if (!equals || end == equals + 1 || *end)
        return strdup(text);
    *number = x;
    return strndup(text, (size_t)(equals - text));
}

static const char *const use_names[] = {[SG_SAE_LOOK] = "look", [SG_SAE_KEEP] = "keep", [SG_SAE_REPLACE] = "replace"};

const char *adapted_use_name(sg_sae_use use)
{
    return use_names[use];
}

char *adapted_split_use(const char *text, sg_sae_use *use)
{
    const char *equals = strrchr(text, '=');

    for (size_t i = 0; equals && i < SG_COUNT_OF(use_names); i++)
        if (strcmp(equals + 1, use_names[i]) == 0) {
            *use = (sg_sae_use)i;
            return strndup(text, (size_t)(equals - text));
        }
    return strdup(text);
}

static sg_status add_all(sg_model *m, const adapted *a, bool through, sg_error *err)
{
    sg_status status = SG_OK;

    for (int i = 0; i < a->n_loras && status == SG_OK; i++) {
        double strength = 1;
        char *dir = adapted_split(a->loras[i], &strength);
        status = dir ? sg_model_add_lora(m, dir, strength, err) : sg_fail(err, SG_ENOMEM, "out of memory");
        free(dir);
    }
    for (int i = 0; i < a->n_saes && status == SG_OK; i++) {
        sg_sae_use use = through ? SG_SAE_KEEP : SG_SAE_LOOK;
        char *dir = adapted_split_use(a->saes[i], &use);
        status = dir ? sg_model_add_sae(m, dir, use, err) : sg_fail(err, SG_ENOMEM, "out of memory");
        free(dir);
    }
    return status;
}

sg_status adapted_open(sg_model **out, const char *path, sg_model_opts opts, const adapted *a, bool through,
                       sg_error *err)
{
    sg_model *m = NULL;

    if (a->too_many)
        return sg_fail(err, SG_EARG, "up to %d adapters of a kind are taken", ADAPTED_MOST);
    SG_TRY(sg_model_open(&m, path, opts, err));
    const sg_status status = add_all(m, a, through, err);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

/* "5-20", or "5" */
static sg_status read_layers(const char *text, sg_span *out, sg_error *err)
{
    char *end;

    out->first = out->last = strtoll(text, &end, 10);
    if (end != text && *end == '-' && end[1])
        out->last = strtoll(end + 1, &end, 10);
    if (end == text || *end || out->first < 0 || out->last < out->first)
        return sg_fail(err, SG_EARG, "--control-vector-layers is \"%.40s\", wanted FIRST-LAST", text);
    return SG_OK;
}

sg_status adapted_edits(sg_edit_list **out, const char *path, const adapted *a, sg_error *err)
{
    sg_span layers = {0, INT32_MAX};

    *out = NULL;
    if (a->layers)
        SG_TRY(read_layers(a->layers, &layers, err));
    if (!path && !a->n_vectors)
        return a->layers ? sg_fail(err, SG_EARG, "--control-vector-layers wants a --control-vector") : SG_OK;
    sg_edit_list *list = NULL;
    sg_status status = path ? sg_edit_list_open(&list, path, err) : sg_edit_list_new(&list, "control vectors", err);
    for (int i = 0; i < a->n_vectors && status == SG_OK; i++) {
        sg_control_vector *cv = NULL;
        double strength = 1;
        char *file = adapted_split(a->vectors[i], &strength);
        status = file ? sg_control_vector_open(&cv, file, err) : sg_fail(err, SG_ENOMEM, "out of memory");
        if (status == SG_OK)
            status = sg_control_vector_edits(cv, strength, layers, list, err);
        sg_control_vector_close(cv);
        free(file);
    }
    if (status != SG_OK) {
        sg_edit_list_free(list);
        return status;
    }
    *out = list;
    return SG_OK;
}

/* ---- what there is ---- */

static int n_labels(const sg_sae *s)
{
    int n = 0;

    for (sg_dim i = 0; s->labels && i < s->d_sae; i++)
        n += s->labels[i] != NULL;
    return n;
}

void adapted_print(const sg_model *m)
{
    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_lora *l = sg_model_lora(m, i);
        printf("  LoRA %d: %s, %d modules, rank %lld, strength %g\n", i, sg_lora_path(l), sg_lora_count(l),
               (long long)sg_lora_rank(l), sg_model_lora_strength(m, i));
    }
    for (int i = 0; i < sg_model_n_saes(m); i++) {
        const sg_sae *s = sg_model_sae(m, i);
        printf("  autoencoder %d: %s at %s, %s, %lld features (%d with labels), %s\n", i, s->path, s->hook,
               sg_sae_kind_name(s->kind), (long long)s->d_sae, n_labels(s), use_names[sg_model_sae_use(m, i)]);
    }
}

json_t *adapted_json(const sg_model *m)
{
    json_t *loras = json_array(), *saes = json_array();

    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_lora *l = sg_model_lora(m, i);
        json_array_append_new(loras,
                              json_pack("{s:s, s:i, s:I, s:f}", "path", sg_lora_path(l), "modules", sg_lora_count(l),
                                        "rank", (json_int_t)sg_lora_rank(l), "strength", sg_model_lora_strength(m, i)));
    }
    for (int i = 0; i < sg_model_n_saes(m); i++) {
        const sg_sae *s = sg_model_sae(m, i);
        json_array_append_new(saes, json_pack("{s:s, s:s, s:s, s:I, s:i, s:s}", "path", s->path, "hook", s->hook,
                                              "kind", sg_sae_kind_name(s->kind), "features", (json_int_t)s->d_sae,
                                              "labels", n_labels(s), "use", use_names[sg_model_sae_use(m, i)]));
    }
    return json_pack("{s:o, s:o}", "loras", loras, "saes", saes);
}

const char *adapted_features(const sg_model *m, int i, char buf[256])
{
    snprintf(buf, 256, "%.200s.hook_sae_acts_post", sg_model_sae(m, i)->hook);
    return buf;
}

typedef struct strong {
    sg_dim feature;
    double value;
} strong;

/* The k strongest of n features that are not 0; returns how many there are. */
static int strongest(const sg_tensor *acts, sg_dim at, int k, strong *out)
{
    const sg_dim n = acts->dims[acts->n_dims - 1];
    int found = 0;

    for (sg_dim f = 0; f < n; f++) {
        const double x = sg_tensor_get(acts, at * n + f);
        if (!(x > 0))
            continue;
        int place = found < k ? found++ : k;
        for (; place > 0 && out[place - 1].value < x; place--)
            if (place < k)
                out[place] = out[place - 1];
        if (place < k)
            out[place] = (strong){f, x};
    }
    return found;
}

/* The place in acts of token t of row i. */
static sg_dim place_of(const sg_tensor *acts, const cli_rows *rows, bool pad_left, int i, sg_dim t)
{
    const sg_dim time = acts->dims[1];

    return i * time + (pad_left ? time - rows->lengths[i] : 0) + t;
}

void adapted_print_top(const sg_model *m, int i, const sg_tensor *acts, const cli_rows *rows, bool pad_left, int k)
{
    const sg_sae *s = sg_model_sae(m, i);
    const cli_paint c = cli_colours();
    strong *top = malloc((size_t)k * sizeof *top);
    char token[64];

    printf("%s\nfeatures at %s%s (%s, %lld)\n", c.bold, s->hook, c.off, s->path, (long long)s->d_sae);
    for (int row = 0; top && row < rows->n; row++)
        for (sg_dim t = 0; t < rows->lengths[row]; t++) {
            const int n = strongest(acts, place_of(acts, rows, pad_left, row, t), k, top);
            printf("%8lld  %-16s%s", (long long)t, cli_token(token, sg_model_tokenizer(m), rows->tokens[row][t]),
                   n ? "" : "none");
            for (int j = 0; j < n; j++) {
                const char *label = s->labels ? s->labels[top[j].feature] : NULL;
                printf("%s%lld %.4g%s%s%s%s", j ? "   " : "", (long long)top[j].feature, top[j].value, label ? " " : "",
                       c.dim, label ? label : "", c.off);
            }
            putchar('\n');
        }
    free(top);
}

json_t *adapted_top_json(const sg_model *m, int i, const sg_tensor *acts, const cli_rows *rows, bool pad_left, int k)
{
    const sg_sae *s = sg_model_sae(m, i);
    strong *top = malloc((size_t)k * sizeof *top);
    json_t *all = json_array();

    for (int row = 0; top && row < rows->n; row++) {
        json_t *tokens = json_array();
        for (sg_dim t = 0; t < rows->lengths[row]; t++) {
            const int n = strongest(acts, place_of(acts, rows, pad_left, row, t), k, top);
            json_t *here = json_array();
            for (int j = 0; j < n; j++) {
                const char *label = s->labels ? s->labels[top[j].feature] : NULL;
                json_array_append_new(here,
                                      json_pack("{s:I, s:f, s:s?}", "feature", (json_int_t)top[j].feature, "value",
                                                isfinite(top[j].value) ? top[j].value : 0.0, "label", label));
            }
            json_array_append_new(tokens, here);
        }
        json_array_append_new(all, tokens);
    }
    free(top);
    return json_pack("{s:s, s:o}", "hook", s->hook, "rows", all);
}
