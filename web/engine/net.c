/* The Playground for a page. States cross as the text of an address, numbers by address; web/src/engine/net.ts is the
 * other side. */
#include "sightglass/playground.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "engine.h"
#include "sightglass/edit.h"
#include "sightglass/ops.h"

SG_EXPORT(sg_play *, net_new, const char *address)
{
    sg_play_state s;
    sg_play *p = NULL;
    if (sg_play_state_parse(&s, address, engine_error()) != SG_OK)
        return NULL;
    return engine_result(sg_play_new(&p, &s, engine_error()), p);
}

SG_EXPORT(void, net_free, sg_play *p)
{
    sg_play_free(p);
}

/* An address as it would be written, until the next call; 0 where it cannot be read. */
SG_EXPORT(const char *, net_settled, const char *address)
{
    static char text[SG_PLAY_TEXT];
    sg_play_state s;
    if (sg_play_state_parse(&s, address, engine_error()) != SG_OK)
        return NULL;
    return sg_play_state_write(&s, text);
}

SG_EXPORT(const char *, net_state, const sg_play *p)
{
    static char text[SG_PLAY_TEXT];
    return sg_play_state_write(sg_play_get_state(p), text);
}

SG_EXPORT(int, net_change, sg_play *p, const char *address)
{
    sg_play_state s;
    const sg_status status = sg_play_state_parse(&s, address, engine_error());
    if (status != SG_OK)
        return (int)status;
    return (int)sg_play_change(p, &s, engine_error());
}

SG_EXPORT(int, net_reset, sg_play *p)
{
    return (int)sg_play_reset(p, engine_error());
}

SG_EXPORT(int, net_regenerate, sg_play *p)
{
    return (int)sg_play_regenerate(p, engine_error());
}

SG_EXPORT(void, net_train, sg_play *p, int n_epochs)
{
    sg_play_train(p, n_epochs);
}

SG_EXPORT(double, net_epoch, const sg_play *p)
{
    return (double)sg_play_epoch(p);
}

SG_EXPORT(double, net_loss, sg_play *p, int part)
{
    return sg_play_loss(p, (sg_play_part)part);
}

/* ---- points: x, y, label, one after the other ---- */

SG_EXPORT(const sg_play_point *, net_points, const sg_play *p, int part)
{
    int n = 0;
    return sg_play_points(p, (sg_play_part)part, &n);
}

SG_EXPORT(int, net_n_points, const sg_play *p, int part)
{
    int n = 0;
    (void)sg_play_points(p, (sg_play_part)part, &n);
    return n;
}

SG_EXPORT(int, net_own, sg_play *p, int n, const sg_play_point *points)
{
    return (int)sg_play_own(p, n, points, engine_error());
}

SG_EXPORT(int, net_is_own, const sg_play *p)
{
    return sg_play_is_own(p);
}

/* The points of a CSV file, to be freed with core_free; 0 after a failure. Their number goes to *n. */
SG_EXPORT(sg_play_point *, net_csv, const char *bytes, int n_bytes, const char *name, int *n)
{
    sg_play_point *points = NULL;
    return engine_result(sg_play_read_csv(&points, n, bytes, (size_t)n_bytes, name, engine_error()), points);
}

SG_EXPORT(int, net_sample, sg_play_point *out, int dataset, int n, double noise, const char *seed)
{
    return sg_play_sample(out, (sg_play_dataset)dataset, n, noise, seed);
}

/* ---- the net ---- */

SG_EXPORT(int, net_n_layers, const sg_play *p)
{
    return sg_play_n_layers(p);
}

SG_EXPORT(int, net_n_units, const sg_play *p, int layer)
{
    return sg_play_n_units(p, layer);
}

SG_EXPORT(void, net_set_weight, sg_play *p, int layer, int unit, int from, double w)
{
    sg_play_set_weight(p, layer, unit, from, w);
}

SG_EXPORT(void, net_set_bias, sg_play *p, int layer, int unit, double b)
{
    sg_play_set_bias(p, layer, unit, b);
}

SG_EXPORT(double, net_output, sg_play *p, double x, double y)
{
    return sg_play_output(p, x, y);
}

SG_EXPORT(int, net_n_maps, const sg_play *p)
{
    return sg_play_n_maps(p);
}

SG_EXPORT(void, net_fields, sg_play *p, int resolution, double *out)
{
    sg_play_fields(p, resolution, out);
}

/* Means of blocks of a field [side,side], as thumbnails show it: out [side/block,side/block] f32. */
SG_EXPORT(void, net_blocks, const double *field, int side, int block, float *out)
{
    const int n = side / block;
    for (int row = 0; row < n; row++)
        for (int column = 0; column < n; column++) {
            double sum = 0;
            for (int i = 0; i < block; i++)
                for (int j = 0; j < block; j++)
                    sum += field[(row * block + i) * side + column * block + j];
            *out++ = (float)(sum / (block * block));
        }
}

/* ---- all tensors of a run ---- */

/* Tensor i: its name (0 past the last); then what it is, until the next call: type, number of axes, address, extents.
 */
static int32_t found[4 + SG_MAX_DIMS];

SG_EXPORT(const char *, net_tensor, sg_play *p, int i)
{
    const char *name = NULL;
    sg_tensor t;
    if (!sg_play_tensor(p, i, &name, &t))
        return NULL;
    found[0] = (int32_t)t.dtype;
    found[1] = t.n_dims;
    found[2] = (int32_t)(intptr_t)t.data;
    for (int k = 0; k < t.n_dims; k++)
        found[3 + k] = (int32_t)t.dims[k];
    return name;
}

SG_EXPORT(const int32_t *, net_tensor_found, void)
{
    return found;
}

SG_EXPORT(sg_play *, net_restore, const char *address, int n, const sg_play_point *points, int n_train, int own)
{
    sg_play_state s;
    sg_play *p = NULL;
    if (sg_play_state_parse(&s, address, engine_error()) != SG_OK)
        return NULL;
    return engine_result(sg_play_restore(&p, &s, n, points, n_train, own != 0, engine_error()), p);
}

SG_EXPORT(int, net_check, const sg_play *p)
{
    return (int)sg_play_check(p, engine_error());
}

/* ---- the same net as a graph: fetch, splice, differentiate ---- */

typedef struct looking {
    sg_graph *graph;
    sg_state *state;
    sg_session *session;
    sg_value *points, *target;
    sg_value *
        *gradients; /* of the loss, by each named value that is not a parameter or a count; made when first asked */
    int n_names;
    sg_tensor got;
} looking;

SG_EXPORT(void, net_look_free, looking *look)
{
    if (!look)
        return;
    sg_session_free(look->session);
    sg_state_free(look->state);
    sg_graph_free(look->graph);
    free(look->gradients);
    free(look);
}

/* value[i] of the edited columns: x scale + add, by two constants that broadcast over the batch. */
static void splice(sg_graph *g, const char *name, int n, const float *scale, const float *add)
{
    sg_value *v = sg_graph_find(g, name);
    const sg_dim dims[] = {1, n};
    const sg_tensor by = sg_tensor_of(SG_F32, 2, dims, (float *)(uintptr_t)scale),
                    plus = sg_tensor_of(SG_F32, 2, dims, (float *)(uintptr_t)add);
    sg_replace(g, v, sg_add(g, sg_mul(g, v, sg_const(g, &by)), sg_const(g, &plus)));
}

static sg_status look_into(looking *look, const sg_play *p, const char *edited, int n, const float *scale,
                           const float *add, sg_error *err)
{
    SG_TRY(sg_play_graph(&look->graph, p, SG_F32, err));
    sg_graph *g = look->graph;
    if (edited && *edited) {
        if (!sg_graph_find(g, edited))
            return sg_fail(err, SG_ENOTFOUND, "no value is called %.60s; the nearest is %s", edited,
                           sg_graph_nearest(g, edited));
        splice(g, edited, n, scale, add);
    }
    look->points = sg_graph_find(g, "points");
    look->target = sg_graph_find(g, "target");
    look->n_names = sg_graph_n_names(g);
    look->gradients = calloc((size_t)look->n_names, sizeof *look->gradients);
    if (!look->gradients)
        return sg_fail(err, SG_ENOMEM, "out of memory for gradients");
    /* Planned graphs are never written again, so all gradients are added now; what nobody asks for costs nothing. */
    sg_value *loss = sg_graph_find(g, "loss");
    for (int i = 0; i < look->n_names; i++) {
        sg_value *v = sg_graph_named(g, i);
        if (sg_value_dtype(v) == SG_F32)
            look->gradients[i] = sg_grad(g, loss, v);
    }
    SG_TRY(sg_graph_status(g, err));
    SG_TRY(sg_state_new(&look->state, g, err));
    SG_TRY(sg_state_init(look->state, 0, err));
    SG_TRY(sg_play_bind(p, g, look->state, err));
    sg_exec_opts opts = sg_exec_defaults();
    opts.n_threads = 1;
    return sg_session_new(&look->session, g, look->state, opts, err);
}

/* The net as it is now. `edited` names a value whose columns are multiplied by scale [n] and moved by add [n]; 0 or "":
 * none. */
SG_EXPORT(looking *, net_look_new, const sg_play *p, const char *edited, int n, const float *scale, const float *add)
{
    looking *look = calloc(1, sizeof *look);
    if (!look) {
        (void)sg_fail(engine_error(), SG_ENOMEM, "out of memory for a look");
        return NULL;
    }
    if (look_into(look, p, edited, n, scale, add, engine_error()) != SG_OK) {
        net_look_free(look);
        return NULL;
    }
    return look;
}

/* The name of value i, 0 past the last. */
SG_EXPORT(const char *, net_look_name, const looking *look, int i)
{
    return i < look->n_names ? sg_value_name(sg_graph_named(look->graph, i)) : NULL;
}

SG_EXPORT(const char *, net_look_shape, const looking *look, int i)
{
    static char text[SG_SHAPE_TEXT];
    return sg_value_shape_text(sg_graph_named(look->graph, i), text);
}

/* Value i, or the gradient of the loss by it, at points [n,2] with targets [n]. What came is told by net_look_data. */
SG_EXPORT(int, net_look_run, looking *look, int i, int gradient, int n, float *points, float *targets)
{
    const sg_feed feeds[] = {{look->points, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, 2}, points)},
                             {look->target, sg_tensor_of(SG_F32, 1, (sg_dim[]){n}, targets)}};
    sg_value *asked = gradient ? look->gradients[i] : sg_graph_named(look->graph, i);
    if (!asked)
        return (int)sg_fail(engine_error(), SG_EARG, "there is no gradient by value %d", i);
    return (int)sg_session_run(look->session, 2, feeds, 1, &asked, &look->got, engine_error());
}

SG_EXPORT(const float *, net_look_data, const looking *look)
{
    return look->got.data;
}

SG_EXPORT(int, net_look_count, const looking *look)
{
    return (int)sg_tensor_count(&look->got);
}
