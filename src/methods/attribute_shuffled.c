/* Networks with weights shuffled from S downwards: each array keeps its numbers and loses their places, so that nothing
 * else about it changes. */
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "graph/op.h"
#include "methods/attribute_internal.h"
#include "sightglass/rng.h"

enum { STREAM = 0x73687566 };

typedef struct weight {
    const sg_value *v;
    int depth; /* of the farthest of its readers: operations up to it */
} weight;

static int nearest_first(const void *a, const void *b)
{
    const weight *x = a, *y = b;
    return x->depth != y->depth ? (x->depth < y->depth) - (x->depth > y->depth)
                                : (x->v->id > y->v->id) - (x->v->id < y->v->id);
}

/* Variables that S depends on, those whose readers have the most operations behind them first: *out by malloc. */
static sg_status list(const sg_attributer *a, weight **out, int *n_out, sg_error *err)
{
    const int size = sg_graph_size(a->g);
    int *depth = calloc((size_t)size, sizeof *depth), *reader = calloc((size_t)size, sizeof *reader);
    int *stack = malloc((size_t)size * sizeof *stack);
    char *state = calloc((size_t)size, 1);
    weight *w = malloc((size_t)size * sizeof *w);
    int n = 0, top = 0;
    if (!depth || !reader || !stack || !state || !w) {
        free(depth), free(reader), free(stack), free(state), free(w);
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    }
    stack[top++] = sg_value_id(a->score);
    while (top > 0) { /* depth first; a node is done when its inputs are */
        const sg_value *v = sg_graph_at(a->g, stack[top - 1]);
        int next = -1;
        state[v->id] = 1;
        for (int i = 0; i < v->n_in && next < 0; i++)
            if (!state[v->in[i]->id])
                next = v->in[i]->id;
        if (next >= 0) {
            stack[top++] = next;
            continue;
        }
        top--;
        for (int i = 0; i < v->n_in; i++)
            depth[v->id] = SG_MAX(depth[v->id], depth[v->in[i]->id] + 1);
        for (int i = 0; i < v->n_in; i++)
            reader[v->in[i]->id] = SG_MAX(reader[v->in[i]->id], depth[v->id]);
    }
    for (int i = 0; i < size; i++) {
        const sg_value *v = sg_graph_at(a->g, i);
        if (state[i] && v->slot >= 0 && strcmp(sg_value_op(v), "variable") == 0 && sg_dtype_is_float(v->dtype))
            w[n++] = (weight){v, reader[i]};
        else if (state[i] && v->slot >= 0 && sg_dtype_block(v->dtype) > 1)
            w[n++] = (weight){v, reader[i]};
    }
    qsort(w, (size_t)n, sizeof *w, nearest_first);
    free(depth), free(reader), free(stack), free(state);
    *out = w;
    *n_out = n;
    return SG_OK;
}

static bool counts(const sg_value *v)
{
    return v->n_dims >= 2;
}

int sg_attributer_n_weights(const sg_attributer *a)
{
    weight *w;
    int n, count = 0;
    if (list(a, &w, &n, NULL) != SG_OK)
        return 0;
    for (int i = 0; i < n; i++)
        count += counts(w[i].v);
    free(w);
    return count;
}

const char *sg_attributer_weight(const sg_attributer *a, int i)
{
    weight *w;
    int n;
    const char *name = NULL;
    if (list(a, &w, &n, NULL) != SG_OK)
        return NULL;
    for (int k = 0; k < n && !name; k++)
        if (counts(w[k].v) && i-- == 0)
            name = sg_value_name(w[k].v);
    free(w);
    return name;
}

/* In place, by Fisher and Yates; each array has a stream of its own. */
static void shuffle(void *data, sg_dim n, size_t size, uint64_t seed, const char *name)
{
    sg_rng r = sg_rng_new(seed, STREAM ^ (uint32_t)sg_hash(name, strlen(name), 0));
    char *at = data, t[8];
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = sg_rng_below(&r, (uint32_t)(i + 1));
        memcpy(t, at + (size_t)i * size, size);
        memcpy(at + (size_t)i * size, at + (size_t)j * size, size);
        memcpy(at + (size_t)j * size, t, size);
    }
}

/* Binds what stays, and copies of what is shuffled: vectors lie with the matrix that follows them upwards. */
static sg_status bind(sg_attributer *s, const sg_attributer *a, int n_top, uint64_t seed, sg_error *err)
{
    weight *w;
    int n, seen = 0;
    const int slots = sg_graph_size(a->from);
    for (int i = 0; i < slots; i++) {
        const sg_value *v = sg_graph_at(a->from, i);
        const sg_tensor *t = v->slot >= 0 ? sg_state_tensor(a->state, v) : NULL;
        if (t && t->data)
            SG_TRY(sg_state_bind(s->own_state, v, t, err));
    }
    SG_TRY(list(a, &w, &n, err));
    sg_status status = SG_OK;
    s->own_numbers = calloc((size_t)SG_MAX(n, 1), sizeof *s->own_numbers);
    if (!s->own_numbers)
        status = sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    for (int i = 0; i < n && status == SG_OK; i++) {
        if (seen >= n_top)
            break;
        seen += counts(w[i].v);
        const sg_value *v = w[i].v;
        if (sg_dtype_block(v->dtype) > 1) {
            status =
                sg_fail(err, SG_EUNSUPPORTED, "attribute: %s is stored in blocks, open the model with as_stored false",
                        sg_value_name(v));
            break;
        }
        sg_tensor t = *sg_state_tensor(a->state, v);
        const size_t bytes = sg_tensor_bytes(&t);
        void *copy = malloc(SG_MAX(bytes, 1));
        if (!copy) {
            status = sg_fail(err, SG_ENOMEM, "attribute: out of memory");
            break;
        }
        memcpy(copy, t.data, bytes);
        shuffle(copy, sg_tensor_count(&t), sg_dtype_bytes(t.dtype), seed, sg_value_name(v));
        s->own_numbers[s->n_own++] = copy;
        t.data = copy;
        status = sg_state_bind(s->own_state, v, &t, err);
    }
    free(w);
    return status;
}

sg_status sg_attributer_shuffled(sg_attributer **out, const sg_attributer *a, int n_top, uint64_t seed, sg_error *err)
{
    sg_attributer *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    *s = (sg_attributer){.from = a->from,
                         .target = a->target,
                         .exec = a->exec,
                         .site_name = strdup(a->site_name),
                         .target_site = a->target_site ? strdup(a->target_site) : NULL};
    sg_status status = s->site_name && (s->target_site || !a->target_site)
                           ? sg_state_new(&s->own_state, a->from, err)
                           : sg_fail(err, SG_ENOMEM, "attribute: out of memory");
    if (status == SG_OK)
        status = bind(s, a, n_top, seed, err);
    s->state = s->own_state;
    if (status == SG_OK)
        status = sg_attributer_build(s, err);
    if (status != SG_OK) {
        sg_attributer_free(s);
        return status;
    }
    *out = s;
    return SG_OK;
}
