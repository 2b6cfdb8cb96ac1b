/* The model's graph without a cache, in which positions and mask are constants because rows are full; its loss over
 * what counts; updates of all weights. */
#include "sightglass/learner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "graph/op.h"
#include "sightglass/checkpoint.h"

enum { N_FACTS = 6, FACT_TEXT = 400 };

struct sg_learner {
    const sg_model *m;
    const sg_source *source;
    sg_learner_opts opts;
    sg_graph *g;
    sg_state *state;
    sg_source rows; /* with ranks: this one's of each batch */
    bool started;   /* the state has numbers */
    bool shared;    /* and they are the same on all ranks */
    sg_value **params;
    bool *decays;
    int n_params;
    sg_updates *updates;
    sg_train *train;
    char text[N_FACTS][FACT_TEXT];
    sg_pair facts[N_FACTS];
};

sg_learner_opts sg_learner_defaults(void)
{
    return (sg_learner_opts){.schedule = sg_schedule_defaults(),
                             .update = sg_update_defaults(),
                             .data = "",
                             .stored = SG_F32,
                             .overlap = true,
                             .exec = sg_exec_defaults()};
}

static sg_status check(const sg_model *m, const sg_source *s, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(m);
    const sg_tensor *tokens = &s->field[0], *counts = &s->field[1];
    if (s->n_fields < 1 || s->n_fields > 2 || tokens->dtype != SG_I32 || tokens->n_dims != 2 || tokens->dims[0] < 1)
        return sg_fail(err, SG_EARG, "learner: the source's first field wants to be tokens [rows,time] i32");
    if (s->n_fields == 2 && (counts->dtype != SG_BOOL || counts->n_dims != 2 || counts->dims[0] != tokens->dims[0] ||
                             counts->dims[1] != tokens->dims[1]))
        return sg_fail(err, SG_EARG, "learner: the source's second field wants to be counts [rows,time] bool");
    if (tokens->dims[1] < 2)
        return sg_fail(err, SG_EARG, "learner: rows of %" PRId64 " tokens, of which none follows another",
                       tokens->dims[1]);
    if (tokens->dims[1] > in->n_context)
        return sg_fail(err, SG_EARG, "learner: rows of %" PRId64 " tokens, the model's context is %" PRId64,
                       tokens->dims[1], in->n_context);
    return SG_OK;
}

static sg_status list_params(sg_learner *l, sg_error *err)
{
    while (sg_model_get_weight(l->m, l->n_params).name)
        l->n_params++;
    l->params = calloc((size_t)l->n_params + 1, sizeof(sg_value *));
    l->decays = calloc((size_t)l->n_params + 1, sizeof(bool));
    if (!l->params || !l->decays)
        return sg_fail(err, SG_ENOMEM, "learner: out of memory");
    for (int i = 0; i < l->n_params; i++) {
        const sg_model_weight w = sg_model_get_weight(l->m, i);
        l->params[i] = sg_graph_find(l->g, w.name);
        l->decays[i] = w.decays;
    }
    return SG_OK;
}

/* All rows are full, so positions and mask are the same in every batch. */
static void fill_in(sg_graph *g, sg_value *tokens)
{
    const sg_dim dims[2] = {sg_value_dim(tokens, 0), sg_value_dim(tokens, 1)};
    sg_value *places = sg_broadcast(g, sg_iota(g, SG_I32, dims[1]), 2, dims);
    sg_value *all = sg_equal(g, sg_full(g, SG_I32, 2, dims, 0), sg_scalar(g, SG_I32, 0));
    sg_replace(g, sg_graph_find(g, "positions"), places);
    sg_replace(g, sg_graph_find(g, "key_mask"), all);
}

/* nats per token that counts, and how many do; NULL where each batch has as many, as it has in a process alone */
static sg_value *loss_of(const sg_learner *l, sg_value *tokens, sg_value *counts, sg_value **weight)
{
    sg_graph *g = l->g;
    *weight = l->opts.ranks ? sg_scalar(g, SG_F32, (double)l->rows.field[0].dims[0]) : NULL;
    if (!counts)
        return sg_graph_find(g, "loss");
    sg_value *nll = sg_graph_find(g, "nll");
    sg_value *counted = sg_cast(g, sg_slice(g, counts, 1, 1, sg_value_dim(tokens, 1), 1),
                                sg_value_dtype(nll)); /* of what is predicted */
    *weight = sg_sum_all(g, counted);
    return sg_div(g, sg_sum_all(g, sg_mul(g, nll, counted)), sg_maximum(g, *weight, sg_scalar_like(g, nll, 1)));
}

static sg_status take_rows(sg_learner *l, sg_error *err)
{
    sg_ranks *r = l->opts.ranks;
    const sg_dim rows = l->source->field[0].dims[0];
    sg_dim first;
    if (rows < sg_ranks_count(r))
        return sg_fail(err, SG_EARG, "learner: batches of %" PRId64 " rows for %d ranks", rows, sg_ranks_count(r));
    const sg_dim n = sg_ranks_share(r, sg_ranks_index(r), rows, &first);
    return sg_source_rows(&l->rows, l->source, first, n, err);
}

static sg_status build(sg_learner *l, sg_error *err)
{
    if (l->opts.ranks)
        SG_TRY(take_rows(l, err));
    SG_TRY(sg_model_graph(&l->g, l->m, 0, 0, err));
    SG_TRY(list_params(l, err));
    sg_graph *g = l->g;
    sg_value *tokens = sg_graph_find(g, "tokens"), *counts = NULL, *weight;
    sg_value *step = sg_input(g, "step", SG_I32, 0, NULL), *lr = sg_input(g, "lr", SG_F32, 0, NULL);
    if (l->source->n_fields == 2)
        counts = sg_input(g, "counts", SG_BOOL, 2, sg_value_dims(tokens));
    fill_in(g, tokens);
    sg_value *loss = loss_of(l, tokens, counts, &weight);
    sg_update_opts how = l->opts.update;
    if (!how.decays)
        how.decays = l->decays;
    how.apart |= l->opts.ranks != NULL;
    SG_TRY(sg_updates_new(&l->updates, g, loss, weight, l->n_params, l->params, lr, step, how, err));
    SG_TRY(sg_state_new(&l->state, g, err));
    sg_train_opts opts = sg_train_defaults();
    opts.schedule = &l->opts.schedule;
    opts.source = l->opts.ranks ? &l->rows : l->source;
    opts.ranks = l->opts.ranks;
    opts.overlap = l->opts.overlap;
    opts.read_every = 1;
    opts.progress = l->opts.progress;
    opts.context = l->opts.context;
    opts.cancel = l->opts.cancel;
    opts.exec = l->opts.exec;
    const sg_train_graph what = {.step = step,
                                 .lr = lr,
                                 .loss = loss,
                                 .made = l->updates,
                                 .weight = weight,
                                 .n_inputs = l->source->n_fields,
                                 .inputs = (sg_value *[]){tokens, counts}};
    return sg_train_new(&l->train, g, l->state, what, opts, err);
}

/* What has to be the same for a resumed run to be the same run. The numbers of a model that its weights do not show,
 * such as the heads, are among it. */
static void state_facts(sg_learner *l)
{
    static const char *const keys[N_FACTS] = {"model", "data", "batch", "seed", "schedule", "update"};
    const sg_model_info *in = sg_model_get_info(l->m);
    const sg_update_opts *u = &l->opts.update;
    uint64_t decays = 0;
    if (u->decays)
        decays = sg_hash(u->decays, (size_t)l->n_params * sizeof *u->decays, 0);
    snprintf(l->text[0], FACT_TEXT,
             "%s layers %" PRId64 " width %" PRId64 " heads %" PRId64 " of %" PRId64 " keys %" PRId64 " hidden %" PRId64
             " vocabulary %" PRId64 " context %" PRId64 "%s",
             in->family, in->n_layers, in->d_model, in->n_heads, in->d_head, in->n_kv_heads, in->d_mlp, in->n_vocab,
             in->n_context, in->tied ? " tied" : "");
    snprintf(l->text[1], FACT_TEXT, "%s", l->opts.data);
    snprintf(l->text[2], FACT_TEXT, "%" PRId64 " of %" PRId64 " rows of %" PRId64, u->n_batches,
             l->source->field[0].dims[0], l->source->field[0].dims[1]);
    snprintf(l->text[3], FACT_TEXT, "%" PRIu64, l->opts.seed);
    sg_schedule_text(&l->opts.schedule, l->text[4]);
    snprintf(l->text[5], FACT_TEXT, "adam %.17g %.17g %.17g decay %.17g%s%.0" PRIx64 " clip %.17g average %.17g",
             u->adam.beta1, u->adam.beta2, u->adam.eps, u->adam.weight_decay, decays ? " of " : "", decays, u->clip,
             u->average);
    for (int i = 0; i < N_FACTS; i++)
        l->facts[i] = (sg_pair){keys[i], l->text[i]};
}

static sg_status make(sg_learner **out, const sg_model *m, const sg_source *source, sg_learner_opts opts, sg_error *err)
{
    SG_TRY(check(m, source, err));
    sg_learner *l = calloc(1, sizeof *l);
    if (!l)
        return sg_fail(err, SG_ENOMEM, "learner: out of memory");
    l->m = m;
    l->source = source;
    l->opts = opts;
    const sg_status status = build(l, err);
    if (status != SG_OK) {
        sg_learner_free(l);
        return status;
    }
    state_facts(l);
    *out = l;
    return SG_OK;
}

/* That the ranks train one model on one source: their facts are rank 0's. */
static sg_status compare_facts(const sg_learner *l, sg_error *err)
{
    sg_status status = SG_OK;
    for (int i = 0; i < N_FACTS; i++) {
        char text[FACT_TEXT];
        memcpy(text, l->text[i], sizeof text);
        sg_ranks_broadcast(l->opts.ranks, text, sizeof text);
        if (status == SG_OK && strcmp(text, l->text[i]) != 0)
            status =
                sg_fail(err, SG_EARG, "%s is \"%.150s\", rank 0 has \"%.150s\"", l->facts[i].key, l->text[i], text);
    }
    return sg_ranks_agree(l->opts.ranks, status, err);
}

sg_status sg_learner_new(sg_learner **out, const sg_model *m, const sg_source *source, sg_learner_opts opts,
                         sg_error *err)
{
    *out = NULL;
    sg_learner *l = NULL;
    sg_status status = sg_ranks_agree(opts.ranks, make(&l, m, source, opts, err), err);
    if (status == SG_OK)
        status = compare_facts(l, err);
    if (status != SG_OK)
        sg_learner_free(l);
    else
        *out = l;
    return status;
}

void sg_learner_free(sg_learner *l)
{
    if (!l)
        return;
    sg_train_free(l->train);
    sg_state_free(l->state);
    sg_updates_free(l->updates);
    sg_graph_free(l->g);
    sg_source_free(&l->rows);
    free(l->params);
    free(l->decays);
    free(l);
}

/* Gives every rank the numbers of rank 0. */
static void share(sg_learner *l)
{
    for (int i = 0; l->opts.ranks && i < sg_graph_n_slots(l->g); i++) {
        const sg_tensor *t = sg_state_tensor(l->state, sg_graph_slot(l->g, i));
        sg_ranks_broadcast(l->opts.ranks, t->data, sg_tensor_bytes(t));
    }
    l->shared = true;
}

static sg_status start(sg_learner *l, sg_error *err)
{
    if (!l->started)
        SG_TRY(sg_ranks_agree(l->opts.ranks, sg_state_init(l->state, l->opts.seed, err), err));
    l->started = true;
    return SG_OK;
}

sg_status sg_learner_run(sg_learner *l, sg_dim n_steps, sg_error *err)
{
    SG_TRY(start(l, err));
    if (!l->shared)
        share(l);
    return sg_train_run(l->train, n_steps, err);
}

sg_dim sg_learner_step(const sg_learner *l)
{
    return sg_train_step(l->train);
}

double sg_learner_loss(const sg_learner *l)
{
    return sg_train_loss(l->train);
}

sg_dim sg_learner_tokens(const sg_learner *l)
{
    return l->opts.update.n_batches * sg_tensor_count(&l->source->field[0]);
}

/* Each rank has updated weights of its own by the same sums: that they are the same is looked at before they are
 * written. */
static sg_status compare_states(sg_learner *l, sg_error *err)
{
    uint64_t hash = 0;
    for (int i = 0; l->opts.ranks && i < l->n_params; i++) {
        const sg_tensor *t = sg_state_tensor(l->state, l->params[i]);
        hash = sg_hash(t->data, sg_tensor_bytes(t), hash);
    }
    uint64_t first = hash;
    sg_ranks_broadcast(l->opts.ranks, &first, sizeof first);
    const sg_status status =
        hash == first ? SG_OK
                      : sg_fail(err, SG_ENUMERIC, "the weights are no longer those of rank 0 at step %" PRId64,
                                sg_train_step(l->train));
    return sg_ranks_agree(l->opts.ranks, status, err);
}

static bool is_first(const sg_learner *l)
{
    return sg_ranks_index(l->opts.ranks) == 0;
}

sg_status sg_learner_save(sg_learner *l, const char *dir, int keep, sg_error *err)
{
    SG_TRY(start(l, err));
    SG_TRY(sg_ranks_agree(l->opts.ranks, sg_state_fetch(l->state, err), err));
    if (l->shared)
        SG_TRY(compare_states(l, err));
    const sg_dim step = sg_train_step(l->train);
    const sg_status status =
        is_first(l) ? sg_checkpoint_save(dir, l->g, l->state, step, l->facts, N_FACTS, keep, err) : SG_OK;
    return sg_ranks_agree(l->opts.ranks, status, err);
}

sg_status sg_learner_resume(sg_learner *l, const char *dir, void (*refused)(void *context, const char *reason),
                            void *context, sg_error *err)
{
    sg_dim step = 0;
    SG_TRY(start(l, err));
    const sg_status status =
        is_first(l) ? sg_checkpoint_load(dir, l->g, l->state, &step, l->facts, N_FACTS, refused, context, err) : SG_OK;
    SG_TRY(sg_ranks_agree(l->opts.ranks, status, err));
    sg_ranks_broadcast(l->opts.ranks, &step, sizeof step);
    share(l);
    sg_train_set_step(l->train, step);
    return SG_OK;
}

sg_status sg_learner_export(sg_learner *l, const char *dir, sg_error *err)
{
    SG_TRY(start(l, err));
    SG_TRY(sg_ranks_agree(l->opts.ranks, sg_state_fetch(l->state, err), err));
    /* Before the first step an average is of nothing. */
    const bool averaged = l->opts.update.average > 0 && sg_train_step(l->train) > 0;
    const sg_status status =
        is_first(l) ? sg_model_save(l->m, l->g, l->state, averaged ? "average." : "", l->opts.stored, dir, err) : SG_OK;
    return sg_ranks_agree(l->opts.ranks, status, err);
}

sg_status sg_learner_plan_memory(sg_learner *l, sg_learner_memory *out, sg_error *err)
{
    sg_train_memory planned;
    SG_TRY(sg_train_plan_memory(l->train, &planned, err));
    *out = (sg_learner_memory){.blocks = planned.blocks, .batches = planned.batches};
    for (int i = 0; i < sg_graph_n_slots(l->g); i++) {
        const sg_value *v = sg_graph_slot(l->g, i);
        const sg_tensor t = sg_tensor_of(sg_value_dtype(v), sg_value_n_dims(v), sg_value_dims(v), NULL);
        const char *name = sg_value_name(v);
        size_t *kind = strncmp(name, "adam.", 5) == 0         ? &out->moments
                       : strncmp(name, "average.", 8) == 0    ? &out->averages
                       : strncmp(name, "accumulate", 10) == 0 ? &out->gathered
                                                              : &out->weights;
        *kind += sg_tensor_bytes(&t);
    }
    return SG_OK;
}
