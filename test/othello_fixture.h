/* Models of Othello's moves for tests, made on the spot: one whose numbers are all zero, so that everything it says is
 * known beforehand, and one with random weights, in which a probe finds at least something to turn over. */
#ifndef SG_TEST_OTHELLO_FIXTURE_H
#define SG_TEST_OTHELLO_FIXTURE_H

#include "check.h"
#include "sightglass/harvest.h"
#include "sightglass/model.h"
#include "sightglass/othello.h"
#include "sightglass/probe.h"
#include "sightglass/world.h"

enum { FIXTURE_WIDTH = 32, FIXTURE_LAYERS = 3 };

/* A model of a board of `size` into the folder `dir`; zero: every weight is 0, else drawn. config: a path to write to.
 */
static inline void fixture_model(const char *config, const char *dir, int size, bool zero)
{
    sg_error err;
    sg_model *m = NULL;
    sg_graph *g = NULL;
    sg_state *s = NULL;
    FILE *f = fopen(config, "wb");
    CHECK(f != NULL);
    fprintf(f,
            "{\"initializer_range\":0.2,\"model_type\":\"gpt2\",\"n_embd\":%d,\"n_layer\":%d,\"n_head\":4,"
            "\"vocab_size\":%d,\"n_positions\":%d}",
            FIXTURE_WIDTH, FIXTURE_LAYERS, sg_othello_vocabulary(size), sg_othello_max_moves(size));
    fclose(f);
    CHECK_OK(sg_model_new(&m, config, NULL, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_model_graph(&g, m, 0, 1, &err), &err);
    CHECK_OK(sg_state_new(&s, g, &err), &err);
    CHECK_OK(sg_model_bind(m, g, s, &err), &err);
    CHECK_OK(sg_state_init(s, 7, &err), &err);
    for (int i = 0; zero && sg_model_get_weight(m, i).name; i++) {
        sg_tensor *t = sg_state_tensor(s, sg_graph_find(g, sg_model_get_weight(m, i).name));
        memset(t->data, 0, sg_tensor_bytes(t));
    }
    CHECK_OK(sg_model_save(m, g, s, "", SG_F32, dir, &err), &err);
    sg_state_free(s);
    sg_graph_free(g);
    sg_model_close(m);
}

/* One probe of a layer, as `sightglass probe fit --out` names it. */
static inline void fixture_save(const sg_probe *p, const char *dir, int layer, const char *label, uint64_t hash)
{
    sg_error err;
    char name[128], site[64];
    sg_probe_manifest about = {.label = label,
                               .site = site,
                               .world = "othello",
                               .model_hash = hash,
                               .accuracy = 0.75,
                               .hard_accuracy = 0.5 + 0.125 * layer};
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        about.control[c] = about.hard_control[c] = 0.25;
    snprintf(site, sizeof site, "blocks.%d.hook_resid_post", layer);
    snprintf(name, sizeof name, "%s.%s", label, site);
    CHECK_OK(sg_probe_save(p, &about, dir, name, &err), &err);
}

/* Probes of a model that read the board as empty but for its first three squares, mine, yours, and mine with a share of
 * 3/4, whatever the model does; black, white and black where the label is board_abs. */
static inline void fixture_constant_probes(const char *model, const char *dir, int size, const char *label)
{
    sg_error err;
    sg_model *m = NULL;
    const sg_dim n = sg_othello_squares(size);
    float *w = calloc((size_t)(FIXTURE_WIDTH * n * 3), sizeof *w), *b = calloc((size_t)(n * 3), sizeof *b);
    sg_probe *p = NULL;
    CHECK(w && b);
    for (sg_dim s = 0; s < n; s++)
        b[s * 3 + (s == 0 || s == 2 ? 1 : s == 1 ? 2 : 0)] = s == 2 ? 0.75f : 1;
    b[2 * 3 + 2] = 0.25f;
    const sg_tensor weights = sg_tensor_of(SG_F32, 3, (sg_dim[]){FIXTURE_WIDTH, n, 3}, w),
                    bias = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, 3}, b);
    CHECK_OK(sg_model_open(&m, model, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_probe_of(&p, &weights, &bias, &err), &err);
    for (int layer = 0; layer < FIXTURE_LAYERS; layer++)
        fixture_save(p, dir, layer, label, sg_model_hash(m));
    sg_probe_free(p);
    sg_model_close(m);
    free(w);
    free(b);
}

/* Probes fitted to a model on some games. */
static inline void fixture_fit(const char *model, const char *dir, int size, const char *label, sg_probe_kind kind)
{
    sg_error err;
    char text[2] = {(char)('0' + size), 0}, names[FIXTURE_LAYERS][40];
    const char *sites[FIXTURE_LAYERS];
    sg_model *m = NULL;
    sg_sample *sample = NULL;
    sg_store *store = NULL;
    sg_tensor labels = {0};
    for (int i = 0; i < FIXTURE_LAYERS; i++) {
        snprintf(names[i], sizeof names[i], "blocks.%d.hook_resid_post", i);
        sites[i] = names[i];
    }
    CHECK_OK(sg_model_open(&m, model, sg_model_defaults(), &err), &err);
    CHECK_OK(sg_world_sample(&sample, sg_world_find("othello", &err), 1, &(sg_setting){"size", text}, 40, 3, &err),
             &err);
    CHECK_OK(sg_harvest(&store, m, FIXTURE_LAYERS, sites, sg_sample_find(sample, "tokens"),
                        sg_sample_find(sample, "counts"), sg_harvest_defaults(), &err),
             &err);
    CHECK_OK(sg_store_labels(&labels, store, sg_sample_find(sample, label), &err), &err);
    for (int i = 0; i < FIXTURE_LAYERS; i++) {
        sg_probe_opts opts = sg_probe_defaults();
        sg_probe *p = NULL;
        opts.n_classes = 3;
        opts.kind = kind;
        CHECK_OK(sg_probe_fit(&p, sg_store_acts(store, i), &labels, opts, &err), &err);
        fixture_save(p, dir, i, label, sg_model_hash(m));
        sg_probe_free(p);
    }
    free(labels.data);
    sg_store_free(store);
    sg_sample_free(sample);
    sg_model_close(m);
}

#endif
