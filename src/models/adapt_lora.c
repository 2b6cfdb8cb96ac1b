/* A LoRA in a graph. The graph of the base is whole already: the products of a module's matrix are found in it and get
 * strength * s (x A') B' added. So it does not matter which family built the graph, nor how the matrix is stored. */
#include <string.h>

#include "graph/op.h"
#include "models/adapt.h"
#include "models/encoder.h"

typedef struct lora_build {
    const sg_model *m;
    const sg_added_lora *of;
    int index;
    sg_graph *g;
    sg_value *strength; /* [batch,time], or [batch] where there is no time */
    sg_value *number;   /* a scalar, for products whose rows are no rows of the batch */
    sg_error *err;
} lora_build;

static const char *const sites[SG_N_WEIGHTS] = {[SG_W_EMBED] = "embed",        [SG_W_UNEMBED] = "unembed",
                                                [SG_W_POSITION] = "pos_embed", [SG_W_Q] = "attn.q",
                                                [SG_W_K] = "attn.k",           [SG_W_V] = "attn.v",
                                                [SG_W_QKV] = "attn.qkv",       [SG_W_O] = "attn.o",
                                                [SG_W_GATE] = "mlp.gate",      [SG_W_GATE_UP] = "mlp.gate_up",
                                                [SG_W_UP] = "mlp.up",          [SG_W_DOWN] = "mlp.down"};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0 && (n == k || text[n - k - 1] == '.');
}

/* Weight i of all: those of a decoder by role and layer, then those of an encoder, which have no role here. */
static sg_weight *weight_at(const sg_model *m, int i, sg_weight_role *role, int *layer)
{
    for (int r = 0; r < SG_N_WEIGHTS; r++) {
        const bool in_block = sg_weight_in_block((sg_weight_role)r);
        const int n = m->weights[r] ? in_block ? (int)m->info.n_layers : 1 : 0;
        *role = (sg_weight_role)r;
        *layer = in_block ? i : -1;
        if (i < n)
            return &m->weights[r][i];
        i -= n;
    }
    *role = SG_N_WEIGHTS;
    *layer = -1;
    return m->encoder && i < m->encoder->n_weights ? &m->encoder->weights[i] : NULL;
}

sg_weight *sg_adapt_weight(const sg_model *m, const char *name, sg_weight_role *role, int *layer)
{
    sg_weight_role r;
    sg_weight *w;
    int at;

    /* By its whole name, else by the end of one or the other: an adapter of GPT2Model says "h.0.attn.c_attn". */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; (w = weight_at(m, i, &r, &at)) != NULL; i++) {
            if (!w->name ||
                (pass == 0 ? strcmp(w->name, name) != 0 : !ends_with(w->name, name) && !ends_with(name, w->name)))
                continue;
            if (role)
                *role = r;
            if (layer)
                *layer = at;
            return w;
        }
    return NULL;
}

/* Marks the weight and what is only another form of it. */
static void mark_forms(const sg_graph *g, const sg_value *w, bool *form)
{
    static const char *const same[] = {"cast", "identity", "transpose", "reshape"};

    form[sg_value_id(w)] = true;
    for (int i = sg_value_id(w) + 1; i < sg_graph_size(g); i++) {
        const sg_value *v = sg_graph_at(g, i);
        for (size_t k = 0; k < SG_COUNT_OF(same); k++)
            if (v->n_in == 1 && form[v->in[0]->id] && strcmp(v->op->name, same[k]) == 0)
                form[i] = true;
    }
}

/* Whether v is among the first `size` values, over which marks were made, and marked: readers may read later ones
 * since. */
static bool is_form(const bool *form, int size, const sg_value *v)
{
    return v->id < size && form[v->id];
}

/* strength [batch] or [batch,time] as [batch,time,1..] of y's rank. */
static sg_value *strength_like(const lora_build *b, const sg_value *y)
{
    const int n = b->strength->n_dims;
    sg_dim dims[SG_MAX_DIMS];

    if (y->n_dims < n || memcmp(y->dims, b->strength->dims, (size_t)n * sizeof y->dims[0]) != 0)
        return b->number;
    for (int k = 0; k < y->n_dims; k++)
        dims[k] = k < n ? y->dims[k] : 1;
    return sg_reshape(b->g, b->strength, y->n_dims, dims);
}

static sg_value *variable(const lora_build *b, const sg_adapted *of)
{
    sg_value *v = sg_graph_find(b->g, of->name);

    return v ? v
             : sg_variable(b->g, of->name, of->tensor.dtype, of->tensor.n_dims, of->tensor.dims, sg_init_constant(0));
}

static void name_part(const lora_build *b, const char *module, sg_value *v, const char *end, int time)
{
    char full[512], name[640];
    sg_weight_role role = SG_N_WEIGHTS;
    int layer = -1;

    snprintf(full, sizeof full, "%.480s.weight", module);
    const char *site = sg_adapt_weight(b->m, full, &role, &layer) && role < SG_N_WEIGHTS ? sites[role] : NULL;
    if (!site)
        snprintf(name, sizeof name, "%.480s.lora.%d%s", module, b->index, end);
    else if (layer < 0)
        snprintf(name, sizeof name, "%s.lora.%d%s", site, b->index, end);
    else
        snprintf(name, sizeof name, "blocks.%d.%s.lora.%d%s", layer, site, b->index, end);
    if (time > 1) /* the matrix is used more than once */
        snprintf(name + strlen(name), sizeof name - strlen(name), ".%d", time);
    sg_name(b->g, v, name, v->n_dims == 3 && v->dims[0] == b->strength->dims[0] ? "btd" : NULL);
}

/* y' = y + strength * s (x A') B' at one product. */
static sg_status add_product(const lora_build *b, int k, sg_value *y, sg_value *x, const sg_value *w, int time)
{
    sg_graph *g = b->g;
    const sg_lora_part *p = sg_lora_at(b->of->l, k);
    char found[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT], matrix[SG_SHAPE_TEXT];
    const sg_dim n_in = p->embedding ? w->dims[0] : x->dims[x->n_dims - 1], n_out = y->dims[y->n_dims - 1];

    if (p->a.dims[1] != n_in || p->b.dims[0] != n_out)
        return sg_fail(b->err, SG_EFORMAT, "%s: %.160s has lora_A %s and lora_B %s, the model's %.160s is %s",
                       sg_lora_path(b->of->l), p->module, sg_shape_text(found, 2, p->a.dims),
                       sg_shape_text(other, 2, p->b.dims), sg_value_name(w), sg_value_shape_text(w, matrix));
    sg_value *a = variable(b, &b->of->a[k]);
    sg_value *hidden = p->embedding ? sg_embed(g, a, x) : sg_matmul(g, x, a, false, true);
    name_part(b, p->module, hidden, ".hidden", time);
    sg_value *more = sg_matmul(g, hidden, variable(b, &b->of->b[k]), false, true);
    if (p->b_bias.data)
        more = sg_add(g, more, variable(b, &b->of->b_bias[k]));
    more = sg_mul_scalar(g, more, p->scale);
    name_part(b, p->module, more, "", time);
    sg_graph_substitute(g, y, sg_add(g, y, sg_mul(g, more, strength_like(b, y))));
    return sg_graph_status(g, b->err);
}

/* A product of [batch,time,in] is one of [batch*time,in] between two changes of shape: then those are what is added to,
 * since only there rows are rows. */
static void unfold(const sg_graph *g, sg_value **y, sg_value **x)
{
    sg_value *whole = strcmp((*x)->op->name, "reshape") == 0 ? (*x)->in[0] : NULL;

    for (int i = (*y)->id + 1; whole && i < sg_graph_size(g); i++) {
        sg_value *z = sg_graph_at(g, i);
        if (strcmp(z->op->name, "reshape") != 0 || z->in[0] != *y || z->n_dims != whole->n_dims ||
            memcmp(z->dims, whole->dims, ((size_t)z->n_dims - 1) * sizeof z->dims[0]) != 0)
            continue;
        *y = z;
        *x = whole;
        return;
    }
}

/* The variable of a module's matrix; of a tied unembedding, the embedding's. */
static sg_value *matrix_of(const lora_build *b, const sg_lora_part *p)
{
    char name[512];

    snprintf(name, sizeof name, "%.480s.weight", p->module);
    sg_value *v = sg_graph_find(b->g, name);
    const sg_weight *w = v ? NULL : sg_adapt_weight(b->m, name, NULL, NULL);
    if (w && w->name)
        v = sg_graph_find(b->g, w->name);
    if (!v && b->m->info.tied && ends_with(p->module, "lm_head") && b->m->weights[SG_W_EMBED])
        v = sg_graph_find(b->g, b->m->weights[SG_W_EMBED][0].name);
    return v;
}

static sg_status add_part(const lora_build *b, int k, bool *form)
{
    const sg_lora_part *p = sg_lora_at(b->of->l, k);
    const int size = sg_graph_size(b->g);
    sg_value *w = matrix_of(b, p);
    int n = 0;

    if (!w || strcmp(w->op->name, "variable") != 0)
        return sg_fail(b->err, SG_EFORMAT, "%s: the model has no %.200s.weight", sg_lora_path(b->of->l), p->module);
    memset(form, 0, (size_t)size * sizeof *form);
    mark_forms(b->g, w, form);
    for (int i = 0; i < size; i++) {
        sg_value *y = sg_graph_at(b->g, i);
        const bool product = y->n_in >= 2 && strncmp(y->op->name, "matmul", 6) == 0 && is_form(form, size, y->in[1]);
        const bool rows = y->n_in >= 2 && strncmp(y->op->name, "embed", 5) == 0 && is_form(form, size, y->in[0]);
        if (!(p->embedding ? rows : product))
            continue;
        sg_value *x = y->in[p->embedding ? 1 : 0];
        if (product)
            unfold(b->g, &y, &x);
        SG_TRY(add_product(b, k, y, x, w, ++n));
    }
    return n ? SG_OK
             : sg_fail(b->err, SG_EUNSUPPORTED,
                       "%s: %.200s is used otherwise than as one %s, where no adapter can be put",
                       sg_lora_path(b->of->l), p->module, p->embedding ? "table of rows" : "product");
}

/* Every reader of a bias adds it to its result: a norm as well as a sum. */
static sg_status add_bias(const lora_build *b, int k, bool *form)
{
    sg_graph *g = b->g;
    const sg_lora_bias *t = sg_lora_bias_at(b->of->l, k);
    const sg_weight *w = sg_adapt_weight(b->m, t->name, NULL, NULL);
    const int size = sg_graph_size(g);
    sg_value *v = w && w->name ? sg_graph_find(g, w->name) : NULL;
    int n = 0;

    memset(form, 0, (size_t)size * sizeof *form);
    if (v)
        mark_forms(g, v, form);
    for (int i = 0; v && i < size; i++) {
        sg_value *y = sg_graph_at(g, i);
        const char *op = y->op->name;
        const bool adds =
            strcmp(op, "add") == 0 || (strcmp(op, "layer_norm") == 0 && y->n_in == 3 && is_form(form, size, y->in[2]));
        bool reads = false;
        for (int q = 0; q < y->n_in; q++)
            reads |= is_form(form, size, y->in[q]) && !form[i];
        if (!reads)
            continue;
        if (!adds)
            return sg_fail(b->err, SG_EUNSUPPORTED, "%s: %.200s is read by %s, where no adapter can be put",
                           sg_lora_path(b->of->l), t->name, op);
        sg_graph_substitute(g, y, sg_add(g, y, sg_mul(g, variable(b, &b->of->biases[k]), strength_like(b, y))));
        n++;
    }
    if (!n)
        return sg_fail(b->err, SG_EFORMAT, "%s: the model has no %.200s", sg_lora_path(b->of->l), t->name);
    return sg_graph_status(g, b->err);
}

static sg_value *first_input(const sg_graph *g)
{
    sg_value *tokens = sg_graph_find(g, "tokens");

    for (int i = 0; !tokens && i < sg_graph_size(g); i++)
        if (strcmp(sg_graph_at(g, i)->op->name, "input") == 0 && sg_graph_at(g, i)->n_dims > 0)
            tokens = sg_graph_at(g, i);
    return tokens;
}

sg_status sg_adapt_lora_graph(const sg_model *m, int i, sg_graph *g, sg_error *err)
{
    lora_build b = {.m = m, .of = &m->adapters->loras[i], .index = i, .g = g, .err = err};
    const sg_value *input = first_input(g);
    char name[64];
    sg_status status = SG_OK;

    if (!input)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: the model has no inputs", sg_lora_path(b.of->l));
    sg_scope(g, "lora.%d", i);
    snprintf(name, sizeof name, "lora.%d.strength", i);
    b.number = variable(&b, &b.of->number);
    const bool by_time = strcmp(sg_value_axes(input), "bt") == 0;
    b.strength = sg_name(g, sg_broadcast(g, b.number, by_time ? 2 : 1, input->dims), name, by_time ? "bt" : "b");
    SG_TRY(sg_graph_status(g, err));

    /* Room for what is added too: marks are made over the graph as it stands. */
    sg_arena *room = sg_arena_new();
    for (int k = 0; room && status == SG_OK && k < sg_lora_count(b.of->l) + sg_lora_n_biases(b.of->l); k++) {
        const int n = sg_lora_count(b.of->l);
        bool *form = sg_arena_array(room, (size_t)sg_graph_size(g), sizeof *form);
        if (!form)
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory", sg_lora_path(b.of->l));
        else
            status = k < n ? add_part(&b, k, form) : add_bias(&b, k - n, form);
    }
    if (!room)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", sg_lora_path(b.of->l));
    sg_arena_free(room);
    sg_scope(g, "%s", "");
    return status;
}
