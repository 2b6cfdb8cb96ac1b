/* What the outputs of a run say. */
#include "predictions.h"

#include <math.h>
#include <string.h>

typedef struct guess {
    int32_t id;
    double p;
} guess;

/* The n most likely of one place's numbers, whose last axis is the choice. */
static void best_of(const sg_tensor *logits, sg_dim at, int n, guess *out)
{
    const sg_dim v = logits->dims[logits->n_dims - 1];
    double most = -(double)INFINITY, sum = 0;

    for (sg_dim i = 0; i < v; i++)
        most = fmax(most, sg_tensor_get(logits, at * v + i));
    for (int k = 0; k < n; k++)
        out[k] = (guess){-1, -1};
    for (sg_dim i = 0; i < v; i++) {
        const double e = exp(sg_tensor_get(logits, at * v + i) - most);
        sum += e;
        for (int k = 0; k < n; k++)
            if (e > out[k].p) {
                memmove(out + k + 1, out + k, (size_t)(n - 1 - k) * sizeof *out);
                out[k] = (guess){(int32_t)i, e};
                break;
            }
    }
    for (int k = 0; k < n; k++)
        out[k].p /= sum;
}

sg_value *predictions_value(const sg_model *m, const sg_graph *g, bool has_rows, bool has_images)
{
    switch (sg_model_get_info(m)->task) {
    case SG_TASK_NEXT:
    case SG_TASK_MASKED:
        return sg_graph_find(g, "logits");
    case SG_TASK_LABEL:
    case SG_TASK_LABEL_EACH:
        return sg_graph_find(g, "class_logits");
    case SG_TASK_MATCH:
        return has_rows && has_images ? sg_graph_find(g, "logits_per_image") : NULL;
    default:
        return NULL;
    }
}

/* Where row i's token t lies among the places of a value [rows,time,...]. */
static sg_dim place_of(const predictions *p, int i, sg_dim t)
{
    const sg_dim time = p->value->dims[1];

    return i * time + (p->pad_left ? time - p->rows->lengths[i] : 0) + t;
}

/* ---- for people ---- */

/* The token that stands where one is hidden; -1: unknown. */
static int32_t mask_of(const sg_tokenizer *t)
{
    const int32_t id = t ? sg_tokenizer_id(t, "[MASK]") : -1;

    return id >= 0 || !t ? id : sg_tokenizer_id(t, "<mask>");
}

static const char *label_of(char buf[64], const sg_model *m, int32_t id)
{
    const char *name = sg_model_label(m, id);

    if (name)
        snprintf(buf, 64, "%.60s", name);
    else
        snprintf(buf, 64, "label %d", id);
    return buf;
}

static bool is_masked(const predictions *p, int i, int32_t mask)
{
    for (sg_dim t = 0; t < p->rows->lengths[i]; t++)
        if (p->rows->tokens[i][t] == mask)
            return true;
    return false;
}

/* A line for each token; of a text in which tokens are hidden, for those. */
static void print_tokens(const predictions *p)
{
    const cli_paint c = cli_colours();
    const sg_tokenizer *tok = sg_model_tokenizer(p->model);
    const sg_task task = sg_model_get_info(p->model)->task;
    const int32_t mask = task == SG_TASK_MASKED ? mask_of(tok) : -1;
    char text[64];
    guess g[64];

    for (int i = 0; i < p->rows->n; i++) {
        const bool hidden = mask >= 0 && is_masked(p, i, mask);
        printf("%s%sposition  token             %s%s\n", i ? "\n" : "", c.bold,
               task == SG_TASK_NEXT ? "most likely next" : "most likely here", c.off);
        for (sg_dim t = 0; t < p->rows->lengths[i]; t++) {
            if (hidden && p->rows->tokens[i][t] != mask)
                continue;
            printf("%8lld  %-16s", (long long)t, cli_token(text, tok, p->rows->tokens[i][t]));
            best_of(p->value, place_of(p, i, t), p->top, g);
            for (int k = 0; k < p->top && g[k].id >= 0; k++)
                printf("  %-12s %5.1f %%",
                       task == SG_TASK_LABEL_EACH ? label_of(text, p->model, g[k].id) : cli_token(text, tok, g[k].id),
                       100 * g[k].p);
            putchar('\n');
        }
    }
}

/* What a row is called: its text, its file, or its place. */
static void print_row(const char *kind, int i, int n, const char *const *names)
{
    const cli_paint c = cli_colours();

    if (i < n)
        printf("%s%.100s%s\n", c.bold, names[i], c.off);
    else
        printf("%s%s %d%s\n", c.bold, kind, i, c.off);
}

static void print_labels(const predictions *p)
{
    const bool of_images = p->rows->n == 0;
    char text[64];
    guess g[64];

    for (int i = 0; i < (int)p->value->dims[0]; i++) {
        print_row(of_images ? "image" : "row", i, of_images ? p->n_images : p->n_texts,
                  of_images ? p->images : p->texts);
        best_of(p->value, i, p->top, g);
        for (int k = 0; k < p->top && g[k].id >= 0; k++)
            printf("  %5.1f %%  %s\n", 100 * g[k].p, label_of(text, p->model, g[k].id));
    }
}

static void print_match(const predictions *p)
{
    guess g[64];

    for (int i = 0; i < (int)p->value->dims[0]; i++) {
        print_row("image", i, p->n_images, p->images);
        best_of(p->value, i, p->top, g);
        for (int k = 0; k < p->top && g[k].id >= 0; k++) {
            printf("  %5.1f %%  ", 100 * g[k].p);
            if (g[k].id < p->n_texts)
                printf("%.100s\n", p->texts[g[k].id]);
            else
                printf("row %d\n", g[k].id);
        }
    }
}

void predictions_print(const predictions *p)
{
    switch (sg_model_get_info(p->model)->task) {
    case SG_TASK_LABEL:
        print_labels(p);
        break;
    case SG_TASK_MATCH:
        print_match(p);
        break;
    default:
        print_tokens(p);
    }
}

/* ---- for machines ---- */

static json_t *best_json(const predictions *p, sg_dim at, bool labels)
{
    json_t *here = json_array();
    guess g[64];

    best_of(p->value, at, p->top, g);
    for (int k = 0; k < p->top && g[k].id >= 0; k++) {
        const double probability = isfinite(g[k].p) ? g[k].p : 0.0;
        json_t *one = json_pack("{s:i, s:f}", labels ? "label" : "token", (int)g[k].id, "p", probability);
        if (labels && sg_model_label(p->model, g[k].id))
            json_object_set_new(one, "name", json_string(sg_model_label(p->model, g[k].id)));
        json_array_append_new(here, one);
    }
    return here;
}

static json_t *by_position(const predictions *p, bool labels)
{
    json_t *rows = json_array();

    for (int i = 0; i < p->rows->n; i++) {
        json_t *row = json_array();
        for (sg_dim t = 0; t < p->rows->lengths[i]; t++)
            json_array_append_new(row, best_json(p, place_of(p, i, t), labels));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *match_json(const sg_tensor *logits)
{
    json_t *images = json_array();
    const sg_dim n = logits->dims[1];

    for (sg_dim i = 0; i < logits->dims[0]; i++) {
        json_t *row = json_array();
        double most = -(double)INFINITY, sum = 0;
        for (sg_dim k = 0; k < n; k++)
            most = fmax(most, sg_tensor_get(logits, i * n + k));
        for (sg_dim k = 0; k < n; k++)
            sum += exp(sg_tensor_get(logits, i * n + k) - most);
        for (sg_dim k = 0; k < n; k++) {
            const double probability = exp(sg_tensor_get(logits, i * n + k) - most) / sum;
            json_array_append_new(row, json_real(isfinite(probability) ? probability : 0.0));
        }
        json_array_append_new(images, row);
    }
    return images;
}

void predictions_json(const predictions *p, json_t *root)
{
    json_t *rows;

    switch (sg_model_get_info(p->model)->task) {
    case SG_TASK_LABEL:
        rows = json_array();
        for (sg_dim i = 0; i < p->value->dims[0]; i++)
            json_array_append_new(rows, best_json(p, i, true));
        json_object_set_new(root, "labels", rows);
        break;
    case SG_TASK_LABEL_EACH:
        json_object_set_new(root, "labels", by_position(p, true));
        break;
    case SG_TASK_MATCH:
        json_object_set_new(root, "match", match_json(p->value));
        break;
    default:
        json_object_set_new(root, "top", by_position(p, false));
    }
}
