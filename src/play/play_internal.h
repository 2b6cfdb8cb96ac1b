/* What the files of the Playground share. */
#ifndef SG_PLAY_INTERNAL_H
#define SG_PLAY_INTERNAL_H

#include "sightglass/playground.h"

void play_write_number(char buf[40], double x);

/* ---- points ---- */

enum { PLAY_CLASSIFIED = 500, PLAY_REGRESSED = 1200, PLAY_OWN_MOST = 100000 };

sg_play_dataset play_dataset(const sg_play_state *s); /* the one that its problem uses */
int play_n_points(sg_play_dataset d);
/* n of them, drawn from the stream. */
void play_draw(sg_play_point *out, int n, sg_play_dataset d, double noise, sg_play_stream *stream);
void play_shuffle(sg_play_point *points, int n, sg_play_stream *stream);

/* ---- the net ---- */

/* One layer of parameters within the net's arrays: weights [units, from] from `weight` on, biases from `bias` on. */
typedef struct play_layer {
    int units, from;
    int weight, bias;
    int out; /* its first unit among all units */
    sg_play_activation activation;
} play_layer;

/* Points in pairs, in the order in which the net meets them: groups of at most PLAY_GROUP points that cross no end of a
 * batch. An odd group has its last point twice. */
enum { PLAY_GROUP = 64 };
typedef struct play_group {
    int count;
    bool ends_batch;
} play_group;
typedef struct play_columns {
    int n, n_inputs, n_groups;
    play_group *groups;
    double *inputs; /* [pairs][n_inputs][2] */
    double *labels; /* [pairs][2] */
} play_columns;

typedef struct play_net {
    int n_inputs, n_layers, n_units; /* units of all layers, without the inputs */
    play_layer layers[SG_PLAY_LAYERS + 1];
    int n_weights, n_biases, n_parameters; /* weights lie first, then biases */
    double *parameters, *sums;             /* [n_parameters] */
    double *first, *second;                /* moments, [n_parameters]; NULL where the optimizer has none */
    int32_t *dead;                         /* [n_weights] */
    bool quick;                            /* other activations */
    double n_summed, n_updates; /* points in the sums; whole numbers, as doubles so that they are saved like the rest */
    double *work;               /* outputs, then errors, of a group: [pairs][n_units][2] each */
} play_net;

typedef struct play_rule { /* how an update is made */
    sg_play_penalty penalty;
    double rate, penalty_rate;
    sg_play_optimizer optimizer;
    double momentum;
} play_rule;

/* Draws the weights. All fields of *net are set; it is freed also after a failure. */
sg_status play_net_new(play_net *net, const sg_play_state *s, sg_play_stream *stream, sg_error *err);
void play_net_free(play_net *net);
void play_inputs(double *out, const sg_play_state *s, double x, double y); /* those that are on */

/* Both are freed also after a failure. */
sg_status play_columns_new(play_columns *c, const sg_play_state *s, const sg_play_point *points, int n, int batch,
                           sg_error *err);
void play_columns_free(play_columns *c);

void play_net_epoch(play_net *net, const play_columns *points, const play_rule *rule);
double play_net_loss(play_net *net, const play_columns *points);
/* inputs [pairs][n_inputs][2] -> units [pairs][n_units][2], borrowed until the next call; PLAY_GROUP / 2 pairs at most.
 */
const double *play_net_forward(play_net *net, const double *inputs, int pairs);

/* ---- the whole ---- */

struct sg_play {
    sg_play_state state;
    sg_play_stream stream;
    sg_play_point *points; /* train first, then test */
    int n_points, n_train;
    bool own;
    play_net net;
    play_columns batches, train, test; /* the training points twice: by batches, and by large groups for their loss */
    double epoch;
    char names[SG_PLAY_LAYERS + 1][2][32]; /* of weights and biases */
};

#endif
