/* A model's site with everything that a number from it needs beside it. Episodes are drawn and harvested twice, of the
 * model and of an untrained one; probes of every size are fitted on the first of them and judged on the others. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "methods/tpr_internal.h"

sg_tpr_job sg_tpr_job_defaults(void)
{
    return (sg_tpr_job){
        .n_fit = 1500, .n_test = 500, .seed = 1000003, .fit = sg_tpr_defaults(), .score = sg_score_defaults()};
}

typedef struct owned {
    sg_tpr_table face;
    sg_arena *arena;
} owned;

typedef struct rows {
    sg_tensor fit, test; /* of activations [N,D] or labels [N,S], borrowed */
} rows;

typedef struct work {
    const sg_tpr_job *job;
    owned *o;
    sg_sample *sample;
    sg_store *store; /* of the model */
    sg_tensor labels;
    rows acts, label;
    sg_dim first_test;
    /* progress */
    int n_parts, part;
    const char *what;
} work;

/* ---- progress ---- */

static void begin(work *w, const char *what)
{
    w->what = what;
    if (w->job->progress)
        w->job->progress(w->job->context, (double)w->part / w->n_parts, what);
    w->part++;
}

static void fitting(void *context, double done, double loss)
{
    const work *w = context;
    (void)loss;
    if (w->job->progress)
        w->job->progress(w->job->context, (w->part - 1 + done) / w->n_parts, w->what);
}

static void harvesting(void *context, double done)
{
    fitting(context, done, 0);
}

/* ---- rows ---- */

static rows parted(const sg_tensor *t, sg_dim first_test)
{
    return (rows){sg_rows_of(t, 0, first_test), sg_rows_of(t, first_test, t->dims[0] - first_test)};
}

static sg_status harvest(work *w, sg_store **out, const sg_model *m, sg_error *err)
{
    const sg_tpr_job *job = w->job;
    sg_harvest_opts opts = sg_harvest_defaults();
    opts.exec = job->fit.exec;
    opts.seed = job->fit.seed;
    opts.progress = harvesting;
    opts.context = w;
    opts.cancel = job->cancel;
    return sg_harvest(out, m, 1, &job->site, sg_sample_find(w->sample, "tokens"), sg_sample_find(w->sample, "counts"),
                      opts, err);
}

static int n_classes(const sg_tensor *labels)
{
    const int32_t *label = labels->data;
    int32_t most = 1;
    for (sg_dim i = 0; i < sg_tensor_count(labels); i++)
        most = SG_MAX(most, label[i]);
    return most < INT32_MAX ? most + 1 : most;
}

static sg_status take_rows(work *w, sg_error *err)
{
    const sg_tpr_job *job = w->job;
    char shape[SG_SHAPE_TEXT];
    SG_TRY(sg_world_sample(&w->sample, job->world, job->n_settings, job->settings, job->n_fit + job->n_test, job->seed,
                           err));
    const sg_tensor *truth = sg_sample_find(w->sample, job->label);
    if (!truth || !sg_sample_find(w->sample, "tokens") || !sg_sample_find(w->sample, "counts"))
        return sg_fail(err, SG_ENOTFOUND, "world %s: no field called \"%.60s\" beside tokens and counts",
                       job->world->name, job->label);
    if (truth->n_dims != 3 || (truth->dtype != SG_I32 && truth->dtype != SG_BOOL) || truth->dims[2] < 2)
        return sg_fail(err, SG_ESHAPE, "tpr: %s is %s %s, wanted whole numbers [episodes,time,roles]", job->label,
                       sg_dtype_name(truth->dtype), sg_shape_text(shape, truth->n_dims, truth->dims));
    begin(w, "running the model");
    SG_TRY(harvest(w, &w->store, job->model, err));
    SG_TRY(sg_store_labels(&w->labels, w->store, truth, err));
    w->first_test = sg_store_split(w->store, (double)job->n_fit / (double)(job->n_fit + job->n_test));
    w->acts = parted(sg_store_acts(w->store, 0), w->first_test);
    w->label = parted(&w->labels, w->first_test);
    sg_tpr_table *t = &w->o->face;
    t->width = w->acts.fit.dims[1];
    t->n_roles = w->labels.dims[1];
    t->n_classes = n_classes(&w->labels);
    t->n_rows = w->acts.fit.dims[0];
    t->n_test_rows = w->acts.test.dims[0];
    return SG_OK;
}

/* ---- judging ---- */

static sg_status judge(work *w, const sg_probe *p, const rows *acts, const rows *label, sg_rate *all, sg_rate *hard,
                       sg_error *err)
{
    sg_probe_score *score;
    SG_TRY(sg_probe_score_new(&score, p, &acts->test, &label->test, sg_store_rows(w->store) + w->first_test,
                              w->job->score, err));
    *all = score->all;
    *hard = score->hard;
    sg_probe_score_free(score);
    return SG_OK;
}

static sg_status geometry(work *w, sg_geometry **out, const sg_tensor *vectors, sg_error *err)
{
    if (!w->job->adjacency)
        return SG_OK;
    sg_geometry_opts opts = sg_geometry_defaults();
    opts.seed = w->job->fit.seed;
    return sg_geometry_new(out, vectors, w->job->adjacency, opts, err);
}

static sg_status fit(work *w, sg_tpr_fitted *out, const rows *acts, const rows *label, sg_dim role_dim, sg_error *err)
{
    sg_tpr_opts opts = w->job->fit;
    sg_probe *probe = NULL;
    sg_tpr *fixed = NULL;
    opts.role_dim = role_dim;
    opts.n_classes = w->o->face.n_classes;
    opts.progress = fitting;
    opts.context = w;
    opts.cancel = w->job->cancel;
    SG_TRY(sg_tpr_fit(&out->probe, &acts->fit, &label->fit, opts, err));
    out->n_parameters = sg_tpr_n_parameters(out->probe);
    SG_TRY(sg_tpr_probe(&probe, out->probe, err));
    sg_status status = judge(w, probe, acts, label, &out->all, &out->hard, err);
    sg_probe_free(probe);
    if (status == SG_OK)
        status = sg_tpr_fix_gauge(&fixed, out->probe, err);
    if (status == SG_OK)
        status = geometry(w, &out->geometry, &sg_tpr_get_parts(fixed)->roles, err);
    sg_tpr_free(fixed);
    return status;
}

/* ---- the linear probe ---- */

static sg_status fit_linear(work *w, sg_probe **out, uint64_t seed, sg_error *err)
{
    const sg_tpr_opts *like = &w->job->fit;
    sg_probe_opts opts = sg_probe_defaults();
    opts.kind = SG_PROBE_SOFTMAX;
    opts.n_classes = w->o->face.n_classes;
    opts.bias = like->bias;
    opts.lr = like->lr;
    opts.weight_decay = like->weight_decay;
    opts.n_epochs = like->n_epochs;
    opts.batch = like->batch;
    opts.seed = seed;
    opts.exec = like->exec;
    opts.progress = fitting;
    opts.context = w;
    opts.cancel = w->job->cancel;
    return sg_probe_fit(out, &w->acts.fit, &w->label.fit, opts, err);
}

static sg_status linear(work *w, sg_error *err)
{
    sg_tpr_table *t = &w->o->face;
    sg_probe *again = NULL;
    sg_tensor rows_of_roles = {0};
    begin(w, "linear probe");
    SG_TRY(fit_linear(w, &t->linear, w->job->fit.seed, err));
    const sg_tensor *weights = sg_probe_weights(t->linear);
    t->linear_parameters = sg_tensor_count(weights) + (w->job->fit.bias ? t->n_roles * t->n_classes : 0);
    SG_TRY(judge(w, t->linear, &w->acts, &w->label, &t->linear_all, &t->linear_hard, err));
    SG_TRY(sg_tpr_role_rows(&rows_of_roles, weights, err));
    const sg_status status = geometry(w, &t->linear_geometry, &rows_of_roles, err);
    free(rows_of_roles.data);
    SG_TRY(status);
    begin(w, "linear probe again");
    SG_TRY(fit_linear(w, &again, w->job->fit.seed + 1, err));
    const sg_status compared = sg_tpr_likeness(&t->likeness_again, NULL, weights, sg_probe_weights(again), err);
    sg_probe_free(again);
    return compared;
}

/* ---- sizes ---- */

/* Likeness to the linear probe with its roles shifted, mean over all shifts but none. */
static sg_status likeness_permuted(double *out, const sg_tensor *w, const sg_tensor *other, sg_error *err)
{
    const sg_dim D = w->dims[0], S = w->dims[1], C = w->dims[2];
    sg_tensor shifted;
    sg_status status = tpr_room(&shifted, SG_F32, 3, w->dims, err);
    *out = 0;
    for (sg_dim by = 1; status == SG_OK && by < S; by++) {
        double alike = 0;
        for (sg_dim d = 0; d < D; d++)
            for (sg_dim s = 0; s < S; s++)
                memcpy((float *)shifted.data + (d * S + s) * C, (const float *)other->data + (d * S + (s + by) % S) * C,
                       (size_t)C * sizeof(float));
        status = sg_tpr_likeness(&alike, NULL, w, &shifted, err);
        *out += alike / (double)(S - 1);
    }
    free(shifted.data);
    return status;
}

static sg_status truncate_linear(work *w, sg_tpr_size *z, sg_error *err)
{
    const sg_tpr_table *t = &w->o->face;
    const sg_tensor *linear = sg_probe_weights(t->linear);
    sg_tensor cut = {0};
    sg_probe *probe = NULL;
    z->rank = sg_tpr_matched_rank(t->width, t->n_roles, t->n_classes, z->fitted.n_parameters);
    SG_TRY(sg_tpr_truncated(&cut, linear, z->rank, err));
    sg_status status = sg_probe_of(&probe, &cut, NULL, err);
    if (status == SG_OK)
        status = judge(w, probe, &w->acts, &w->label, &z->truncated_all, &z->truncated_hard, err);
    if (status == SG_OK)
        status = sg_tpr_likeness(&z->likeness_truncated, NULL, &cut, linear, err);
    sg_probe_free(probe);
    free(cut.data);
    return status;
}

static sg_status one_size(work *w, sg_tpr_size *z, sg_dim role_dim, sg_error *err)
{
    const sg_tensor *linear = sg_probe_weights(w->o->face.linear);
    sg_tensor made = {0};
    begin(w, "tensor-product probes");
    z->role_dim = role_dim;
    SG_TRY(fit(w, &z->fitted, &w->acts, &w->label, role_dim, err));
    SG_TRY(sg_tpr_linear(&made, z->fitted.probe, err));
    sg_status status = sg_tpr_likeness(&z->likeness, NULL, &made, linear, err);
    if (status == SG_OK)
        status = likeness_permuted(&z->likeness_permuted, &made, linear, err);
    free(made.data);
    return status == SG_OK ? truncate_linear(w, z, err) : status;
}

/* ---- controls ---- */

static sg_status untrained(work *w, sg_error *err)
{
    sg_model *m;
    sg_store *s = NULL;
    begin(w, "running an untrained network");
    SG_TRY(sg_model_untrained(&m, w->job->model, err));
    sg_status status = harvest(w, &s, m, err);
    if (status == SG_OK) {
        const rows acts = parted(sg_store_acts(s, 0), w->first_test);
        begin(w, "control: an untrained network");
        status = fit(w, &w->o->face.untrained, &acts, &w->label, w->job->fit.role_dim, err);
    }
    sg_store_free(s);
    sg_model_close(m);
    return status;
}

static sg_status synthetic(work *w, sg_tpr_fitted *out, bool independent, sg_error *err)
{
    const sg_tpr_opts *like = &w->job->fit;
    sg_tpr_synthetic_opts opts = sg_tpr_synthetic_defaults();
    sg_tpr_synthetic s;
    opts.width = w->o->face.width;
    opts.n_classes = w->o->face.n_classes;
    opts.role_dim = like->form == SG_TPR_TRILINEAR ? like->row_dim * like->column_dim : like->role_dim;
    opts.filler_dim = like->filler_dim;
    opts.independent = independent;
    opts.seed = like->seed;
    begin(w, independent ? "control: independent roles" : "control: random embeddings");
    SG_TRY(sg_tpr_synthesize(&s, &w->labels, opts, err));
    const rows acts = parted(&s.acts, w->first_test), label = parted(&s.labels, w->first_test);
    const sg_status status = fit(w, out, &acts, &label, like->role_dim, err);
    sg_tpr_synthetic_free(&s);
    return status;
}

/* ---- the whole ---- */

static sg_status check(const sg_tpr_job *job, sg_error *err)
{
    if (job->n_fit < 2 || job->n_test < 1)
        return sg_fail(err, SG_EARG, "tpr: %" PRId64 " episodes to fit and %" PRId64 " to judge", job->n_fit,
                       job->n_test);
    if (job->n_sizes < 0 || (job->n_sizes > 0 && job->fit.form == SG_TPR_TRILINEAR))
        return sg_fail(err, SG_EARG, "tpr: sizes are of the bilinear form");
    return SG_OK;
}

static sg_status work_on(work *w, sg_error *err)
{
    const sg_tpr_job *job = w->job;
    sg_tpr_table *t = &w->o->face;
    SG_TRY(take_rows(w, err));
    SG_TRY(linear(w, err));
    for (int i = 0; i < t->n_sizes; i++)
        SG_TRY(one_size(w, &t->sizes[i], job->n_sizes ? job->role_dims[i] : job->fit.role_dim, err));
    SG_TRY(synthetic(w, &t->board, false, err));
    SG_TRY(synthetic(w, &t->independent, true, err));
    return untrained(w, err);
}

sg_status sg_tpr_run(sg_tpr_table **out, const sg_tpr_job *job, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(job, err));
    const int n_sizes = SG_MAX(job->n_sizes, 1);
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_tpr_size *sizes = o ? sg_arena_array(arena, (size_t)n_sizes, sizeof *sizes) : NULL;
    if (!sizes) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    }
    o->arena = arena;
    o->face.n_sizes = n_sizes;
    o->face.sizes = sizes;
    work w = {.job = job, .o = o, .n_parts = n_sizes + 7};
    const sg_status status = work_on(&w, err);
    free(w.labels.data);
    sg_store_free(w.store);
    sg_sample_free(w.sample);
    if (status != SG_OK) {
        sg_tpr_table_free(&o->face);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

static void release(sg_tpr_fitted *f)
{
    sg_tpr_free(f->probe);
    sg_geometry_free(f->geometry);
}

void sg_tpr_table_free(sg_tpr_table *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_sizes; i++)
        release(&t->sizes[i].fitted);
    release(&t->untrained);
    release(&t->board);
    release(&t->independent);
    sg_probe_free(t->linear);
    sg_geometry_free(t->linear_geometry);
    sg_arena_free(((owned *)t)->arena);
}
