/* World models: whether a network holds a state of its world, and uses it, as a check-list of five numbers.
 *
 *     sg_worldmodel_data data;
 *     sg_worldmodel found;
 *     SG_TRY(sg_worldmodel_draw(&data, world, 0, NULL, "board_rel", 800, seed, err));
 *     SG_TRY(sg_worldmodel_check(&found, model, "blocks.2.hook_resid_post", &data, sg_worldmodel_defaults(), err));
 *     puts(sg_worldmodel_verdict_text(found.verdict)); // "yes", or the condition that failed
 *     sg_worldmodel_data_free(&data);
 *
 * After Li, Viegas, Wattenberg, "What does it mean for a neural network to learn a world model?" (2025). A network
 * f2(f1(x)), cut at a site, holds a state s of what made x if a probe of a class said beforehand reads s off f1(x)
 * (represented), better than off the input and off an untrained network (learned), better than off the output
 * (emergent), and if moving f1(x) along the probe moves the output as the world would (used), which moving it as far in
 * a random direction does not. One verdict, and never without all the numbers it rests on. The numbers of conditions
 * and the thresholds are choices made here, not the paper's. */
#ifndef SIGHTGLASS_WORLDMODEL_H
#define SIGHTGLASS_WORLDMODEL_H

#include "sightglass/probe.h"
#include "sightglass/rng.h"
#include "sightglass/table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what is found ---- */

/* What the state is read from. Each reading has the same probe class, penalties, episodes and split. */
typedef enum sg_worldmodel_reading {
    SG_READING_SITE,      /* the value in question */
    SG_READING_BAG,       /* input: how often each token occurred so far */
    SG_READING_PLACES,    /* input: which token stands where, so far */
    SG_READING_EMBEDDING, /* input: the embedding layer at the same position */
    SG_READING_UNTRAINED, /* the same value, of fresh weights */
    SG_READING_OUTPUT,    /* the logits */
    SG_READING_LABEL,     /* the token that really came next */
    SG_N_READINGS
} sg_worldmodel_reading;
const char *sg_worldmodel_reading_name(sg_worldmodel_reading r); /* "bag of tokens" */

typedef struct sg_worldmodel_number {
    bool known;    /* false: the network has no such reading */
    sg_rate rate;  /* on episodes held out: the mean over episodes of their share of labels read right, or R2; rate.n
                    * labels */
    double lambda; /* the penalty chosen, relative to the mean variance of a feature; weight decay of other kinds */
} sg_worldmodel_number;

#define SG_WORLDMODEL_SEEDS 3 /* untrained networks */

/* What moving the site along the probe does to the output. */
typedef struct sg_worldmodel_used {
    const char *measure;                /* what an error is: "squares wrong in the predicted legal set" */
    double before, after, random_after; /* mean error against what the world says after the edit: of the output as it
                                         * was, edited, and moved as far in a random direction */
    sg_rate effect;                     /* before - after: above 0 the output went where the world goes; n edits */
    sg_rate random;                     /* before - random_after */
    sg_rate difference;                 /* random_after - after */
    double strength; /* chosen on episodes that are not in these numbers; 1 moves a class's mean onto the other's */
} sg_worldmodel_used;

typedef enum sg_worldmodel_verdict {
    SG_WORLDMODEL_YES,
    SG_WORLDMODEL_NOT_REPRESENTED,
    SG_WORLDMODEL_FROM_INPUT,
    SG_WORLDMODEL_FROM_UNTRAINED,
    SG_WORLDMODEL_FROM_OUTPUT,
    SG_WORLDMODEL_NOT_USED,
    SG_N_WORLDMODEL_VERDICTS
} sg_worldmodel_verdict;
const char *sg_worldmodel_verdict_text(sg_worldmodel_verdict v); /* "readable from the input" */

typedef struct sg_worldmodel {
    char site[128], state[64];
    sg_probe_kind probe;
    bool is_r2; /* the state is numbers, and a reading's rate is R2; else accuracy */
    double tau;
    uint64_t seed;
    sg_dim n_rows[3], n_episodes[3]; /* fitted on, chosen on, judged on */
    /* The numbers of the verdict. Input and output are the best of their readings, untrained the mean of its seeds. */
    sg_worldmodel_number site_reads, input, untrained, output;
    sg_worldmodel_used used;
    /* Controls beside them. */
    sg_worldmodel_number shuffled; /* the site, with states of other episodes at the same positions */
    sg_rate chance;                /* the commonest class of each task and position, which needs no network; 0 for R2 */
    /* What the above are made of. */
    sg_worldmodel_number reading[SG_N_READINGS]; /* untrained: of the first seed */
    sg_worldmodel_number untrained_seed[SG_WORLDMODEL_SEEDS];
    sg_worldmodel_reading best_input, best_output;
    bool output_allowed;                   /* reading the output was waived */
    bool failed[SG_N_WORLDMODEL_VERDICTS]; /* every condition that did */
    sg_worldmodel_verdict verdict; /* yes, or one that failed: not represented, else that which shows the state most
                                    * nearly as the site does, else not used */
} sg_worldmodel;

typedef struct sg_worldmodel_opts {
    sg_probe_opts probe; /* its kind is the class of the claim; lambda and weight decay are swept. SG_PROBE_RIDGE */
    double tau;          /* NaN: .05 of accuracy, .1 of R2 */
    bool allow_output;   /* false; true where the state is the task, so that the output may show it too */
    double share_fit, share_choose; /* .6 and .15 of the episodes; the rest is judged on */
    sg_dim n_rows;                  /* 16000: at most, some positions of each episode */
    sg_dim n_edits;                 /* 1000: at most, of the rows judged on */
    int n_resamples;                /* 1000 */
    uint64_t seed;    /* 0; of positions, shuffles, edits, random directions, resamples, untrained networks */
    uint64_t weights; /* 0; the seed of the weights of a model from nothing */
    sg_exec_opts exec;
    void (*progress)(void *context, const char *part, double done); /* NULL: nobody is told */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL */
} sg_worldmodel_opts;
sg_worldmodel_opts sg_worldmodel_defaults(void);

/* ---- of a model ---- */

typedef enum sg_state_kind { SG_STATE_OTHER, SG_STATE_DISCS, SG_STATE_EMPTY, SG_STATE_LEGAL } sg_state_kind;

/* Sequences with the state behind each position. */
typedef struct sg_worldmodel_data {
    char world[64], name[64]; /* "othello size=6", "board_rel"; for texts */
    sg_tensor tokens, counts; /* [E,T] i32; bool, or data NULL: all count */
    sg_tensor state;          /* [E,T] or [E,T,S]: i32 or bool classes, below 0 where there is none; or f32 numbers,
                               * NaN where there is none */
    int n_classes;            /* 0: numbers */
    int trivial;              /* a class whose labels are not judged, such as an empty square; -1: none */
    sg_dim n_test;            /* the last episodes, which are judged on; 0: a share as opts say */
    int board;                /* squares a side, where the state is of an Othello board; 0 elsewhere */
    sg_state_kind kind;       /* then: what an edit changes */
    void *owner;              /* of the numbers, if they belong to this */
} sg_worldmodel_data;

/* `n` episodes of a world. state: a field with a value for each position, "board_rel", or FIELD=CLASS, "board_rel=0",
 * which asks of each whether it is that class. SG_ENOTFOUND, SG_EUNSUPPORTED: not a world of sequences. */
sg_status sg_worldmodel_draw(sg_worldmodel_data *out, const sg_world *world, int n_settings, const sg_setting *settings,
                             const char *state, sg_dim n, uint64_t seed, sg_error *err) SG_MUST_CHECK;
/* A safetensors file with `tokens`, `state` and maybe `counts`, shaped as above. */
sg_status sg_worldmodel_open(sg_worldmodel_data *out, const char *path, sg_error *err) SG_MUST_CHECK;
/* Names with numbers of what they name, such as places with coordinates: each text is an episode, and its state is that
 * of its last token. At most n texts, drawn; rows without all numbers or with a text that is there already are left
 * out, and so are those longer than the model's context. */
typedef struct sg_worldmodel_columns {
    const char *text;
    int n_states;
    const char *const *states; /* columns of numbers */
    const char *test; /* a column that is 1 or True where a row is to be judged on; NULL: a share, as opts say */
} sg_worldmodel_columns;
sg_status sg_worldmodel_table(sg_worldmodel_data *out, const sg_model *m, const sg_table *t,
                              sg_worldmodel_columns columns, sg_dim n, uint64_t seed, sg_error *err) SG_MUST_CHECK;
void sg_worldmodel_data_free(sg_worldmodel_data *d); /* a zeroed struct is fine */

/* site: a name whose value is [batch,time,...]. On an Othello board the edit turns a disc, empties a square or makes a
 * square legal, and the error is that of the predicted legal set; elsewhere see sg_worldmodel_judge. */
sg_status sg_worldmodel_check(sg_worldmodel *out, const sg_model *m, const char *site, const sg_worldmodel_data *data,
                              sg_worldmodel_opts opts, sg_error *err) SG_MUST_CHECK;

/* ---- of any network ---- */

/* One edit: in this row, task goes from a class to another. */
typedef struct sg_worldmodel_edit {
    sg_dim row, task; /* task -1: all at once, where the state is numbers */
    int from, to;
    sg_dim donor; /* a row whose state is what the edit asks for; -1: none */
} sg_worldmodel_edit;

/* How the world answers to an edit. */
typedef struct sg_worldmodel_effect {
    const char *measure;
    void *self;
    /* Says what to change in e->row, at random; false: nothing there. */
    bool (*choose)(void *self, sg_worldmodel_edit *e, sg_rng *r);
    /* How far an output [V] is from what the world says after the edit. */
    double (*error)(void *self, const sg_worldmodel_edit *e, const float *output);
} sg_worldmodel_effect;

/* A network cut at a site, as rows: row i is a position of an episode. */
typedef struct sg_worldmodel_network {
    const char *site, *name; /* of the site and of the state, for texts */
    void *self;
    sg_dim n_rows;
    const sg_store_row *rows;         /* [N], rows of an episode together */
    sg_dim first_choose, first_judge; /* rows before are fitted on, and chosen on; an episode is on one side only */
    sg_tensor state;                  /* [N,S] i32 or f32, as in sg_worldmodel_data */
    int n_classes, trivial;
    sg_dim n_outputs; /* V */
    /* f1 and what it is compared with: *out becomes [N,D] f32, data the caller's to free(); NULL: no such reading. */
    sg_status (*read)(void *self, sg_worldmodel_reading what, int seed, sg_tensor *out, sg_error *err);
    /* f2: outputs [n,V] of some rows with `shift` [n,D] added to the site; NULL: with nothing added. */
    sg_status (*run)(void *self, sg_dim n, const sg_dim *rows, const float *shift, float *outputs, sg_error *err);
    /* NULL: an edit moves the state to that of another row, and an error is the Kullback-Leibler divergence of the
     * output's softmax from that row's, in nats. */
    const sg_worldmodel_effect *effect;
} sg_worldmodel_network;

/* SG_EARG: an episode on both sides of the split, too little to judge on, or a network without a reading that the
 * verdict needs. */
sg_status sg_worldmodel_judge(sg_worldmodel *out, const sg_worldmodel_network *net, sg_worldmodel_opts opts,
                              sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
