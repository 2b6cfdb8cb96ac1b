/* The Playground: a small net on points of the plane, trained live, whose every weight can be touched.
 *
 *     sg_play_state state;
 *     sg_play *p;
 *     SG_TRY(sg_play_state_parse(&state, "dataset=spiral&networkShape=8,4&seed=0.12345", err));
 *     SG_TRY(sg_play_new(&p, &state, err));
 *     sg_play_train(p, 100);
 *     printf("%.3f\n", sg_play_loss(p, SG_PLAY_TEST));
 *     sg_play_free(p);
 *
 * It is TensorFlow Playground (Smilkov et al., "Direct-Manipulation Visualization of Deep Networks", 2017) as a
 * library: its state is the address of the original, and the same address gives the same points, the same weights and,
 * to the digits that docs/playground.md tells, the same losses after any number of epochs. Numbers are double, sums
 * keep one order, and the mathematical functions are our own, so every build gives the same bytes. */
#ifndef SIGHTGLASS_PLAYGROUND_H
#define SIGHTGLASS_PLAYGROUND_H

#include "sightglass/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the state: what an address holds ---- */

typedef enum sg_play_activation { SG_PLAY_RELU, SG_PLAY_TANH, SG_PLAY_SIGMOID, SG_PLAY_LINEAR } sg_play_activation;
typedef enum sg_play_penalty { SG_PLAY_NO_PENALTY, SG_PLAY_L1, SG_PLAY_L2 } sg_play_penalty;
typedef enum sg_play_problem { SG_PLAY_CLASSIFICATION, SG_PLAY_REGRESSION } sg_play_problem;
/* The first four are of classification, the others of regression. */
typedef enum sg_play_dataset {
    SG_PLAY_CIRCLE,
    SG_PLAY_XOR,
    SG_PLAY_GAUSS,
    SG_PLAY_SPIRAL,
    SG_PLAY_REG_PLANE,
    SG_PLAY_REG_GAUSS
} sg_play_dataset;
typedef enum sg_play_optimizer { SG_PLAY_SGD, SG_PLAY_MOMENTUM, SG_PLAY_ADAM } sg_play_optimizer;

/* The inputs that can be switched on, in their order. */
enum { SG_PLAY_X, SG_PLAY_Y, SG_PLAY_X2, SG_PLAY_Y2, SG_PLAY_XY, SG_PLAY_SIN_X, SG_PLAY_SIN_Y, SG_PLAY_INPUTS };

#define SG_PLAY_LAYERS 16 /* hidden layers at most; the original's page makes up to 6 */
#define SG_PLAY_UNITS  64 /* units of a layer at most; the original's page makes up to 8 */
#define SG_PLAY_HIDES  32
#define SG_PLAY_TEXT   8192 /* bytes that any address fits into */

typedef struct sg_play_hide {
    char name[40]; /* of a control: "playButton" */
    bool hidden;
} sg_play_hide;

typedef struct sg_play_state {
    sg_play_activation activation;  /* of the hidden units (tanh) */
    sg_play_penalty regularization; /* none */
    int batch_size;                 /* 10 */
    sg_play_dataset dataset;        /* for classification (circle) */
    sg_play_dataset reg_dataset;    /* for regression (reg-plane) */
    double learning_rate;           /* .03 */
    double regularization_rate;     /* 0 */
    double noise;                   /* per cent, 0 to 80 (0) */
    int n_layers;                   /* hidden ones (2) */
    int shape[SG_PLAY_LAYERS];      /* their units (4, 2) */
    char seed[256];                 /* of the random stream, a text; "" means that none was given */
    bool show_test_data, discretize;
    double train_percent; /* 50 */
    bool inputs[SG_PLAY_INPUTS];
    bool cos_x, cos_y, collect_stats; /* carried along, as in the original */
    char tutorial[256];               /* "" for none */
    sg_play_problem problem;          /* classification */
    bool init_zero, hide_text;
    int n_hides;
    sg_play_hide hides[SG_PLAY_HIDES];
    /* Not of the original, which ignores them in an address; left out of it where they are as here. */
    sg_play_optimizer optimizer; /* sgd */
    double momentum;             /* of SG_PLAY_MOMENTUM (.9) */
    bool quick; /* activations as good as the original's in about half the time, but not the same to the last bit
                   (false) */
} sg_play_state;

sg_play_state sg_play_state_defaults(void);

/* Reads an address, with or without its '#'. Names that are not known are passed over, and so are values that make no
 * sense for their name. SG_EARG: a text is longer than its place here. */
sg_status sg_play_state_parse(sg_play_state *out, const char *address, sg_error *err) SG_MUST_CHECK;
/* Writes the address, without '#', as the original would. Returns buf. */
const char *sg_play_state_write(const sg_play_state *s, char buf[SG_PLAY_TEXT]);
/* Sets one value by its name in the address. False: there is no such name, or the value makes no sense for it. */
bool sg_play_state_set(sg_play_state *s, const char *name, const char *value);
/* A seed of five decimals from bits that the caller has drawn somewhere. */
void sg_play_state_seed(sg_play_state *s, uint64_t bits);

/* ---- a playground ---- */

typedef struct sg_play sg_play;

/* Points and fresh weights. A seed that is missing is an error: SG_EARG. */
sg_status sg_play_new(sg_play **out, const sg_play_state *state, sg_error *err) SG_MUST_CHECK;
void sg_play_free(sg_play *p); /* NULL is fine */
const sg_play_state *sg_play_get_state(const sg_play *p);

/* Changes the state, and does what the original does then: a change of the points' source draws a new seed, points and
 * weights; one of the net, the penalty or the batch draws weights; the rest changes as it is. Training goes on from
 * where it is only in the last case. */
sg_status sg_play_change(sg_play *p, const sg_play_state *wanted, sg_error *err) SG_MUST_CHECK;
/* Fresh weights from the running stream, epoch 0. */
sg_status sg_play_reset(sg_play *p, sg_error *err) SG_MUST_CHECK;
/* A new seed and its points; the net stays. */
sg_status sg_play_regenerate(sg_play *p, sg_error *err) SG_MUST_CHECK;

/* One epoch or more over the training points. */
void sg_play_train(sg_play *p, int64_t n_epochs);
int64_t sg_play_epoch(const sg_play *p);

typedef enum sg_play_part { SG_PLAY_TRAIN, SG_PLAY_TEST } sg_play_part;
/* The mean of (o - t)^2 / 2 over a part of the points; NaN where it has none. */
double sg_play_loss(sg_play *p, sg_play_part part);

/* ---- points ---- */

typedef struct sg_play_point {
    double x, y, label;
} sg_play_point;
/* Borrowed until the points change. */
const sg_play_point *sg_play_points(const sg_play *p, sg_play_part part, int *n);
/* Points of one's own in place of the drawn ones: they are shuffled and parted like those, and the net starts anew.
 * Labels are -1 and 1 for classification, or 0 and 1, which become that. A change of the points' source ends it, but
 * for the part to train on. SG_EARG: none, too many (100,000), or one that is not finite. */
sg_status sg_play_own(sg_play *p, int n, const sg_play_point *points, sg_error *err) SG_MUST_CHECK;
bool sg_play_is_own(const sg_play *p);
/* What such points are read from: CSV with the columns x, y and label, or three columns without a heading; labels are
 * numbers. The caller frees *out. SG_EFORMAT names the line. */
sg_status sg_play_read_csv(sg_play_point **out, int *n, const char *bytes, size_t n_bytes, const char *name,
                           sg_error *err) SG_MUST_CHECK;
/* Points of a data set alone, from a stream of their own, in the order in which they are drawn. n: at least the
 * data set's number of them. Returns how many there are. */
int sg_play_sample(sg_play_point *out, sg_play_dataset dataset, int n, double noise, const char *seed);

/* ---- the net ---- */

/* Layers count from 0, the first after the inputs; the last is the output with its one unit. */
int sg_play_n_layers(const sg_play *p);
int sg_play_n_units(const sg_play *p, int layer); /* layer -1: the inputs */
double sg_play_weight(const sg_play *p, int layer, int unit, int from);
double sg_play_bias(const sg_play *p, int layer, int unit);
/* Training goes on from it. A dead link takes the weight and stays dead. */
void sg_play_set_weight(sg_play *p, int layer, int unit, int from, double w);
void sg_play_set_bias(sg_play *p, int layer, int unit, double b);
bool sg_play_is_dead(const sg_play *p, int layer, int unit, int from);
int sg_play_n_dead(const sg_play *p);
int sg_play_n_parameters(const sg_play *p);

/* What the net says of any point. */
double sg_play_output(sg_play *p, double x, double y);

/* The field: outputs over the square [-6,6]^2, as resolution x resolution numbers, row 0 at y = 6, column 0 at x = -6.
 * Of every unit, layer by layer (inputs that are on first, the output last): n_maps of them. */
int sg_play_n_maps(const sg_play *p);
/* out [n_maps, resolution, resolution]; resolution from 2 to 400. */
void sg_play_fields(sg_play *p, int resolution, double *out);

/* Everything that a run is made of, as tensors with names that may be read and written in place: weights and biases
 * ("layers.0.weight" [units,from], "layers.0.bias"), dead links, sums carried over, moments, epoch, the random stream,
 * the points. Together with the state they are the run: training goes on from them to the same bytes. Borrowed until
 * the next change or reset. False past the last. */
bool sg_play_tensor(sg_play *p, int i, const char **name, sg_tensor *out);
/* A run whose tensors are then filled in that way: of a state with a seed, with its points in their order, of which the
 * first n_train are trained on. */
sg_status sg_play_restore(sg_play **out, const sg_play_state *state, int n, const sg_play_point *points, int n_train,
                          bool own, sg_error *err) SG_MUST_CHECK;
/* After tensors were filled in from outside: SG_EFORMAT where one holds what no run could have. */
sg_status sg_play_check(const sg_play *p, sg_error *err) SG_MUST_CHECK;

/* A folder with config.json and model.safetensors, which sg_play_load and `sightglass inspect` open. */
sg_status sg_play_save(sg_play *p, const char *dir, sg_error *err) SG_MUST_CHECK;
sg_status sg_play_load(sg_play **out, const char *dir, sg_error *err) SG_MUST_CHECK;

/* ---- the same net as a graph ---- */

/* A new graph with the inputs `points` [batch,2] and `target` [batch] and the values
 *     inputs [batch,N], layers.{i}.hook_pre, layers.{i}.hook_post [batch,units], output [batch], loss (the mean),
 * where weights are the variables layers.{i}.weight [units,from] and layers.{i}.bias [units]: the four verbs work on
 * it. */
sg_status sg_play_graph(sg_graph **out, const sg_play *p, sg_dtype dtype, sg_error *err) SG_MUST_CHECK;
/* Puts the net's weights into a state of such a graph, after sg_state_init. */
sg_status sg_play_bind(const sg_play *p, const sg_graph *g, sg_state *s, sg_error *err) SG_MUST_CHECK;

/* ---- the random stream ---- */

/* ARC4 seeded by a text: the numbers of seedrandom, in [0, 1). */
typedef struct sg_play_stream {
    int32_t s[256], i, j; /* bytes */
} sg_play_stream;
void sg_play_stream_seed(sg_play_stream *stream, const char *text);
double sg_play_stream_next(sg_play_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
