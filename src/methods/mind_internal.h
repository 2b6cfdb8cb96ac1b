/* What the parts of mind.h share: what is kept of a model and its probes, and a run over a tree of positions. */
#ifndef SG_METHODS_MIND_INTERNAL_H
#define SG_METHODS_MIND_INTERNAL_H

#include "base/base.h"
#include "sightglass/mind.h"

struct sg_mind {
    sg_arena *arena; /* texts */
    const sg_model *model;
    sg_model *own; /* the same where it was opened here; else NULL */
    int size, n_layers, n_heads, max_moves;
    sg_dim width;
    int n_readers;
    sg_mind_reader readers[SG_MIND_MAX_LAYERS]; /* by layer */
    bool colours;                               /* the probes tell black from white, not mine from yours */
    float *bias[SG_MIND_MAX_LAYERS];            /* [squares,classes] of a linear probe, else NULL */
    int n_warnings;
    const char **warnings;
};

/* The block of "blocks.N.hook_resid_post"; -1 for any other site. */
int sg_mind_layer_of(const char *site);
/* The probe's class for a class of ours, and back. */
int sg_mind_class(const sg_mind *m, int mover, int c);
/* Whether reader r's layer is one that `how` moves. */
bool sg_mind_usable(const sg_mind *m, int r, sg_mind_how how);

/* How a node's residual stream is moved after each block, beside edits that are given. */
typedef enum sg_mind_motion {
    SG_MIND_STILL,
    SG_MIND_SET,    /* until the probe reads to[j] at square[j], from what it reads at node `like` */
    SG_MIND_RANDOM, /* along `directions`, as far as node `like` was moved, or by `lengths` where like is -1 */
} sg_mind_motion;

/* A token of a tree: it sees itself, its parent and what that sees. Nodes that others refer to come before them. */
typedef struct sg_mind_node {
    int parent; /* -1: none */
    int32_t token;
    int position, mover;
    bool edited; /* the run's edits of its position hold here */
    sg_mind_motion motion;
    int like;
    int n;
    const int *square, *to;
    sg_mind_how how;
    const float *directions; /* [R,D] of readers, those not used left out */
    const double *lengths;   /* [R] squares of the lengths, the same */
    /* Filled where not NULL. */
    float *added; /* [n_readers,D] what it was moved by, beside the edits */
    sg_mind_thought *thought;
    float *next;      /* [MAX_SQUARES] */
    float *attention; /* [n_layers,n_heads,position+1] by position */
} sg_mind_node;

typedef struct sg_mind_tree {
    int n, capacity;
    sg_mind_node *nodes;
    int n_edits;
    const sg_edit *edits; /* "add" of a vector after a block, at one position */
} sg_mind_tree;

/* A node more, a copy of `node`; its index, or -1 where there is no room: trees are sized beforehand. */
int sg_mind_grow(sg_mind_tree *t, sg_mind_node node);
sg_status sg_mind_walk(sg_mind_view *v, const sg_mind_tree *t, sg_error *err) SG_MUST_CHECK;
const sg_mind *sg_mind_of_view(const sg_mind_view *v);

/* added [D] += what moves x [D], after reader r's layer, so that the node's squares are read as they are to be; logits
 * [squares][classes] are the probe's of the node that it is compared with. room: [3,D] floats. */
void sg_mind_move(float *added, const sg_mind *m, int r, const sg_mind_node *node, const float *x,
                  float (*logits)[SG_MIND_N_CLASSES], float *room);

#endif
