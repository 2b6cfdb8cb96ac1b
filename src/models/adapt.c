/* Adapters of a model: opened, checked by building a graph with them, bound in states beside its weights. */
#include "models/adapt.h"

#include <math.h>
#include <string.h>

static sg_status no_memory(const sg_model *m, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory for an adapter", m->info.path);
}

static sg_status begin(sg_model *m, sg_error *err)
{
    if (!m->adapters)
        m->adapters = sg_arena_alloc(m->arena, sizeof *m->adapters);
    return m->adapters ? SG_OK : no_memory(m, err);
}

/* In what is computed in: the file's own numbers where they are that already. */
static sg_status adapted(sg_model *m, sg_adapted *out, const sg_tensor *from, const char *name, sg_error *err)
{
    if (!name)
        return no_memory(m, err);
    *out = (sg_adapted){name, *from};
    if (!from->data || from->dtype == m->opts.dtype)
        return SG_OK;
    sg_tensor *t = &out->tensor;
    t->dtype = m->opts.dtype;
    t->data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(t), 1));
    if (!t->data)
        return no_memory(m, err);
    sg_convert(t->data, t->dtype, from->data, from->dtype, sg_tensor_count(from));
    return SG_OK;
}

/* A graph with the new one: what does not fit is said here, and nothing is kept of it. */
static sg_status try_out(const sg_model *m, sg_error *err)
{
    sg_graph *g = NULL;
    const sg_status status = sg_model_graph(&g, m, 0, 1, err);

    sg_graph_free(g);
    return status;
}

/* ---- LoRA ---- */

static sg_status transposed(sg_model *m, sg_tensor *t, sg_error *err)
{
    const sg_dim rows = t->dims[0], columns = t->dims[1];
    sg_tensor from = *t;

    *t = sg_tensor_of(from.dtype, 2, (sg_dim[]){columns, rows},
                      sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&from), 1)));
    if (!t->data)
        return no_memory(m, err);
    for (sg_dim i = 0; i < rows; i++)
        for (sg_dim k = 0; k < columns; k++)
            sg_tensor_set(t, k * rows + i, sg_tensor_get(&from, i * columns + k));
    return SG_OK;
}

/* What the base's bias lacks of the trained one. */
static sg_status bias_difference(sg_model *m, sg_adapted *out, const sg_lora *l, const sg_lora_bias *b,
                                 const char *name, sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    const sg_weight *w = sg_adapt_weight(m, b->name, NULL, NULL);

    if (!w || (!w->tensor.data && !m->opts.only_sizes))
        return sg_fail(err, SG_EFORMAT, "%s: the model has no %.200s", sg_lora_path(l), b->name);
    if (w->tensor.n_dims != 1 || w->tensor.dims[0] != b->tensor.dims[0])
        return sg_fail(err, SG_EFORMAT, "%s: %.200s is %s, the model's is %s", sg_lora_path(l), b->name,
                       sg_shape_text(found, b->tensor.n_dims, b->tensor.dims),
                       sg_shape_text(wanted, w->tensor.n_dims, w->tensor.dims));
    SG_TRY(adapted(m, out, &b->tensor, name, err));
    if (m->opts.only_sizes)
        return SG_OK;
    if (out->tensor.data == b->tensor.data &&
        !(out->tensor.data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&out->tensor), 1))))
        return no_memory(m, err);
    for (sg_dim i = 0; i < b->tensor.dims[0]; i++)
        sg_tensor_set(&out->tensor, i, sg_tensor_get(&b->tensor, i) - sg_tensor_get(&w->tensor, i));
    return SG_OK;
}

static sg_status take_lora(sg_model *m, int i, sg_error *err)
{
    sg_added_lora *of = &m->adapters->loras[i];
    const int n = sg_lora_count(of->l), n_biases = sg_lora_n_biases(of->l);
    sg_tensor number = sg_tensor_of(SG_F64, 0, NULL, &of->strength);

    SG_TRY(adapted(m, &of->number, &number, sg_arena_printf(m->arena, "lora.%d.strength.standard", i), err));
    of->a = sg_arena_array(m->arena, (size_t)n, sizeof *of->a);
    of->b = sg_arena_array(m->arena, (size_t)n, sizeof *of->b);
    of->b_bias = sg_arena_array(m->arena, (size_t)n, sizeof *of->b_bias);
    of->biases = sg_arena_array(m->arena, (size_t)n_biases + 1, sizeof *of->biases);
    if (!of->a || !of->b || !of->b_bias || !of->biases)
        return no_memory(m, err);
    for (int k = 0; k < n; k++) {
        const sg_lora_part *p = sg_lora_at(of->l, k);
        const char *e = p->embedding ? "embedding_" : "";
        SG_TRY(adapted(m, &of->a[k], &p->a, sg_arena_printf(m->arena, "lora.%d.%s.lora_%sA.weight", i, p->module, e),
                       err));
        SG_TRY(adapted(m, &of->b[k], &p->b, sg_arena_printf(m->arena, "lora.%d.%s.lora_%sB.weight", i, p->module, e),
                       err));
        SG_TRY(adapted(m, &of->b_bias[k], &p->b_bias, sg_arena_printf(m->arena, "lora.%d.%s.lora_B.bias", i, p->module),
                       err));
        if (p->embedding)
            SG_TRY(transposed(m, &of->a[k].tensor, err));
    }
    for (int k = 0; k < n_biases; k++) {
        const sg_lora_bias *b = sg_lora_bias_at(of->l, k);
        SG_TRY(bias_difference(m, &of->biases[k], of->l, b, sg_arena_printf(m->arena, "lora.%d.%s", i, b->name), err));
    }
    return SG_OK;
}

sg_status sg_model_add_lora(sg_model *m, const char *dir, double strength, sg_error *err)
{
    SG_TRY(begin(m, err));
    const int i = m->adapters->n_loras;
    sg_added_lora *of = &m->adapters->loras[i];
    if (i == SG_MAX_ADAPTERS)
        return sg_fail(err, SG_EARG, "%s: a model takes up to %d LoRAs", dir, SG_MAX_ADAPTERS);
    if (!isfinite(strength))
        return sg_fail(err, SG_EARG, "%s: a strength of %g", dir, strength);
    *of = (sg_added_lora){.strength = strength};
    SG_TRY(sg_lora_open(&of->l, dir, err));
    sg_status status = take_lora(m, i, err);
    if (status == SG_OK) {
        m->adapters->n_loras++;
        status = try_out(m, err);
    }
    if (status != SG_OK) {
        m->adapters->n_loras = i;
        sg_lora_close(of->l);
        return status;
    }
    m->info.weight_bytes += sg_lora_bytes(of->l);
    for (int k = 0; k < sg_lora_count(of->l); k++)
        if (of->a[k].tensor.dtype != sg_lora_at(of->l, k)->a.dtype)
            m->info.converted_bytes += sg_tensor_bytes(&of->a[k].tensor) + sg_tensor_bytes(&of->b[k].tensor);
    return SG_OK;
}

int sg_model_n_loras(const sg_model *m)
{
    return m->adapters ? m->adapters->n_loras : 0;
}

const sg_lora *sg_model_lora(const sg_model *m, int i)
{
    return i >= 0 && i < sg_model_n_loras(m) ? m->adapters->loras[i].l : NULL;
}

double sg_model_lora_strength(const sg_model *m, int i)
{
    return i >= 0 && i < sg_model_n_loras(m) ? m->adapters->loras[i].strength : 0;
}

/* ---- merging ---- */

/* W += f B A of one matrix [out,in] or [in,out]. */
static sg_status merge_part(sg_model *m, const sg_added_lora *of, int k, sg_error *err)
{
    const sg_lora_part *p = sg_lora_at(of->l, k);
    char name[512];
    sg_weight_role role;
    int layer;

    if (p->b_bias.data)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %.200s.lora_B.bias cannot be worked into a weight",
                       sg_lora_path(of->l), p->module);
    snprintf(name, sizeof name, "%s.weight", p->module);
    sg_weight *w = sg_adapt_weight(m, name, &role, &layer);
    if (!w || (role == SG_W_EMBED && !p->embedding))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %.200s shares its matrix with another module, so it cannot be merged",
                       sg_lora_path(of->l), p->module);
    const sg_dim r = p->a.dims[0], n_in = p->a.dims[1], n_out = p->b.dims[0];
    const bool in_out = p->embedding || (m->arch.in_out && role != SG_W_UNEMBED);
    sg_tensor to = sg_tensor_of(m->opts.dtype, 2, w->tensor.dims, NULL);
    if (w->tensor.n_dims != 2 || sg_tensor_count(&to) != n_in * n_out || w->tensor.dims[0] != (in_out ? n_in : n_out))
        return sg_fail(err, SG_EFORMAT, "%s: %.200s does not fit %s", sg_lora_path(of->l), p->module, w->name);
    to.data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&to), 1));
    double *a = sg_arena_array(m->arena, (size_t)(r * n_in), sizeof *a),
           *row = sg_arena_array(m->arena, (size_t)n_in, sizeof *row);
    if (!to.data || !a || !row)
        return no_memory(m, err);
    sg_convert(to.data, to.dtype, w->tensor.data, w->tensor.dtype, sg_tensor_count(&to));
    sg_convert(a, SG_F64, p->a.data, p->a.dtype, r * n_in);
    for (sg_dim o = 0; o < n_out; o++) {
        memset(row, 0, (size_t)n_in * sizeof *row);
        for (sg_dim j = 0; j < r; j++) {
            const double f = of->strength * p->scale * sg_tensor_get(&p->b, o * r + j);
            for (sg_dim c = 0; c < n_in; c++)
                row[c] += f * a[j * n_in + c];
        }
        for (sg_dim c = 0; c < n_in; c++) {
            const sg_dim at = in_out ? c * n_out + o : o * n_in + c;
            sg_tensor_set(&to, at, sg_tensor_get(&to, at) + row[c]);
        }
    }
    w->tensor = to;
    return SG_OK;
}

static sg_status merge_bias(sg_model *m, const sg_added_lora *of, int k, sg_error *err)
{
    sg_weight *w = sg_adapt_weight(m, sg_lora_bias_at(of->l, k)->name, NULL, NULL);
    sg_tensor to = w->tensor;

    to.data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(&to), 1));
    if (!to.data)
        return no_memory(m, err);
    for (sg_dim i = 0; i < sg_tensor_count(&to); i++)
        sg_tensor_set(&to, i, sg_tensor_get(&w->tensor, i) + of->strength * sg_tensor_get(&of->biases[k].tensor, i));
    w->tensor = to;
    return SG_OK;
}

sg_status sg_model_merge(sg_model *m, sg_error *err)
{
    if (m->opts.only_sizes || (!m->encoder && (!m->weights[SG_W_EMBED] || !m->weights[SG_W_EMBED][0].tensor.data)))
        return sg_fail(err, SG_EARG, "%s: its weights were not read, so nothing is merged into them", m->info.path);
    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_added_lora *of = &m->adapters->loras[i];
        for (int k = 0; k < sg_lora_count(of->l); k++)
            SG_TRY(merge_part(m, of, k, err));
        for (int k = 0; k < sg_lora_n_biases(of->l); k++)
            SG_TRY(merge_bias(m, of, k, err));
    }
    for (int i = 0; i < sg_model_n_loras(m); i++)
        sg_lora_close(m->adapters->loras[i].l);
    if (m->adapters)
        m->adapters->n_loras = 0;
    return SG_OK;
}

/* ---- autoencoders ---- */

static sg_status take_sae(sg_model *m, int i, sg_error *err)
{
    sg_added_sae *of = &m->adapters->saes[i];
    const sg_sae *s = of->s;
    const struct {
        const char *name;
        const sg_tensor *t;
    } all[SG_N_SAE_TENSORS] = {[SG_SAE_W_ENC] = {"W_enc", &s->w_enc},
                               [SG_SAE_W_DEC] = {"W_dec", &s->w_dec},
                               [SG_SAE_B_ENC] = {"b_enc", &s->b_enc},
                               [SG_SAE_B_DEC] = {"b_dec", &s->b_dec},
                               [SG_SAE_THRESHOLD] = {"threshold", &s->threshold},
                               [SG_SAE_R_MAG] = {"r_mag", &s->r_mag},
                               [SG_SAE_B_MAG] = {"b_mag", &s->b_mag},
                               [SG_SAE_B_GATE] = {"b_gate", &s->b_gate}};

    for (int k = 0; k < i; k++)
        if (strcmp(m->adapters->saes[k].s->hook, s->hook) == 0)
            return sg_fail(err, SG_EARG, "%s: there is an autoencoder at %s already", s->path ? s->path : "autoencoder",
                           s->hook);
    for (int k = 0; k < SG_N_SAE_TENSORS; k++)
        SG_TRY(adapted(m, &of->tensors[k], all[k].t, sg_arena_printf(m->arena, "sae.%d.%s", i, all[k].name), err));
    m->adapters->n_saes++;
    const sg_status status = try_out(m, err);
    if (status != SG_OK) {
        m->adapters->n_saes--;
        return status;
    }
    m->info.weight_bytes += sg_sae_bytes(s);
    for (int k = 0; k < SG_N_SAE_TENSORS; k++)
        if (all[k].t->data && all[k].t->dtype != m->opts.dtype)
            m->info.converted_bytes += sg_tensor_bytes(&of->tensors[k].tensor);
    return SG_OK;
}

sg_status sg_model_put_sae(sg_model *m, const sg_sae *sae, sg_sae_use use, sg_error *err)
{
    SG_TRY(begin(m, err));
    if (m->adapters->n_saes == SG_MAX_ADAPTERS)
        return sg_fail(err, SG_EARG, "%s: a model takes up to %d autoencoders", sae->hook, SG_MAX_ADAPTERS);
    m->adapters->saes[m->adapters->n_saes] = (sg_added_sae){.s = sae, .use = use};
    return take_sae(m, m->adapters->n_saes, err);
}

sg_status sg_model_add_sae(sg_model *m, const char *dir, sg_sae_use use, sg_error *err)
{
    sg_sae *s = NULL;

    SG_TRY(sg_sae_open(&s, dir, err));
    const sg_status status = sg_model_put_sae(m, s, use, err);
    if (status != SG_OK)
        sg_sae_close(s);
    else
        m->adapters->saes[m->adapters->n_saes - 1].owned = s;
    return status;
}

int sg_model_n_saes(const sg_model *m)
{
    return m->adapters ? m->adapters->n_saes : 0;
}

const sg_sae *sg_model_sae(const sg_model *m, int i)
{
    return i >= 0 && i < sg_model_n_saes(m) ? m->adapters->saes[i].s : NULL;
}

sg_sae_use sg_model_sae_use(const sg_model *m, int i)
{
    return i >= 0 && i < sg_model_n_saes(m) ? m->adapters->saes[i].use : SG_SAE_LOOK;
}

/* ---- all of them ---- */

sg_status sg_adapt_graph(const sg_model *m, sg_graph *g, sg_error *err)
{
    for (int i = 0; i < sg_model_n_loras(m); i++)
        SG_TRY(sg_adapt_lora_graph(m, i, g, err));
    for (int i = 0; i < sg_model_n_saes(m); i++)
        SG_TRY(sg_adapt_sae_graph(m, i, g, err));
    return SG_OK;
}

sg_status sg_adapt_edits(const sg_model *m, sg_graph *g, int n, const sg_edit *edits, sg_error *err)
{
    for (int i = 0; i < sg_model_n_saes(m); i++)
        SG_TRY(sg_adapt_sae_edits(m, i, g, n, edits, err));
    return SG_OK;
}

static sg_status bind(const sg_graph *g, sg_state *s, const sg_adapted *of, sg_error *err)
{
    const sg_value *v = of->tensor.data ? sg_graph_find(g, of->name) : NULL;

    return v ? sg_state_bind(s, v, &of->tensor, err) : SG_OK;
}

sg_status sg_adapt_bind(const sg_model *m, const sg_graph *g, sg_state *s, sg_error *err)
{
    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_added_lora *of = &m->adapters->loras[i];
        SG_TRY(bind(g, s, &of->number, err));
        for (int k = 0; k < sg_lora_count(of->l); k++) {
            SG_TRY(bind(g, s, &of->a[k], err));
            SG_TRY(bind(g, s, &of->b[k], err));
            SG_TRY(bind(g, s, &of->b_bias[k], err));
        }
        for (int k = 0; k < sg_lora_n_biases(of->l); k++)
            SG_TRY(bind(g, s, &of->biases[k], err));
    }
    for (int i = 0; i < sg_model_n_saes(m); i++)
        for (int k = 0; k < SG_N_SAE_TENSORS; k++)
            SG_TRY(bind(g, s, &m->adapters->saes[i].tensors[k], err));
    return SG_OK;
}

static uint64_t hash_of(const sg_tensor *t, uint64_t hash)
{
    return t->data ? sg_hash(t->data, sg_tensor_bytes(t), hash) : hash;
}

uint64_t sg_adapt_hash(const sg_model *m, uint64_t hash)
{
    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_added_lora *of = &m->adapters->loras[i];
        hash = hash_of(&of->number.tensor, hash);
        for (int k = 0; k < sg_lora_count(of->l); k++) {
            const sg_lora_part *p = sg_lora_at(of->l, k);
            hash = sg_hash(p->module, strlen(p->module), hash);
            hash = sg_hash(&p->scale, sizeof p->scale, hash);
            hash = hash_of(&of->b_bias[k].tensor, hash_of(&of->b[k].tensor, hash_of(&of->a[k].tensor, hash)));
        }
        for (int k = 0; k < sg_lora_n_biases(of->l); k++)
            hash = hash_of(&of->biases[k].tensor, hash);
    }
    for (int i = 0; i < sg_model_n_saes(m); i++) {
        const sg_added_sae *of = &m->adapters->saes[i];
        if (of->use != SG_SAE_REPLACE)
            continue; /* the model's numbers are what they were */
        hash = sg_hash(of->s->hook, strlen(of->s->hook), hash);
        for (int k = 0; k < SG_N_SAE_TENSORS; k++)
            hash = hash_of(&of->tensors[k].tensor, hash);
    }
    return hash;
}

void sg_adapt_close(sg_model *m)
{
    for (int i = 0; i < sg_model_n_loras(m); i++)
        sg_lora_close(m->adapters->loras[i].l);
    for (int i = 0; i < sg_model_n_saes(m); i++)
        sg_sae_close(m->adapters->saes[i].owned);
}
