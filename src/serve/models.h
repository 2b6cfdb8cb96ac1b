/* The models that a server knows, and glasses of them that are kept between requests.
 *
 *     SG_TRY(serve_models_add(models, "models/othello8", err)); // its id: othello8
 *     serve_glass *g;
 *     SG_TRY(serve_glass_take(&g, models, (serve_glass_ask){.model = "othello8", .edits = edits}, err));
 *     status = sg_glass_run(g->glass, ...);
 *     serve_glass_give(g, status == SG_OK);
 *
 * A model is opened when it is first asked for and stays open; threads share it. A glass has one owner at a time. Given
 * back it waits for the next request with the same model, cache and structure of edits, whose numbers are then put in
 * its place: a slider that moves plans nothing anew. The glasses that waited longest go first when they are too many or
 * take too much. */
#ifndef SG_SERVE_MODELS_H
#define SG_SERVE_MODELS_H

#include <jansson.h>

#include "base/base.h"
#include "sightglass/adapt.h"
#include "sightglass/serve.h"

typedef struct serve_models serve_models;

typedef struct serve_models_opts {
    sg_exec_opts exec;        /* sg_exec_defaults(); what glasses run on */
    sg_dim least_for_threads; /* 2^24 parameters; models of fewer run on one thread each: for them waiting for another
                                 costs more */
    int most_glasses;         /* 32; that wait */
    size_t most_bytes;        /* 1 GiB; that glasses may hold while they wait, roughly */
} serve_models_opts;
serve_models_opts serve_models_defaults(void);

sg_status serve_models_new(serve_models **out, serve_models_opts opts, sg_error *err) SG_MUST_CHECK;
/* After all glasses came back; NULL is fine. */
void serve_models_free(serve_models *models);

/* A model's folder, or a folder of such folders. Ids are the folders' names; a second one of a name gets "-2". Nothing
 * is opened yet. Before requests are served. SG_ENOTFOUND: neither the one nor the other. */
sg_status serve_models_add(serve_models *models, const char *folder, sg_error *err) SG_MUST_CHECK;

/* A model is opened with this, beside what it already is opened with. Texts are borrowed. SG_EARG: no such model, or none is
 * named and there are several. */
sg_status serve_models_adapt(serve_models *models, const sg_server_adapter *a, sg_error *err) SG_MUST_CHECK;

int serve_models_count(const serve_models *models);
const char *serve_models_id(const serve_models *models, int i);    /* in the order in which they were added */
int serve_models_find(const serve_models *models, const char *id); /* its place among them; -1: no such model */
const char *serve_models_path(const serve_models *models, int i);  /* as it was given, made whole */
bool serve_models_is_open(serve_models *models, int i);
/* The model, opened if it was not; shared, and open until serve_models_free. SG_ENOTFOUND says which there are. */
sg_status serve_models_open(const sg_model **out, serve_models *models, const char *id, sg_error *err) SG_MUST_CHECK;
/* For its sizes alone, which a large model tells at once: the numbers of its weights may not have been read. */
sg_status serve_models_measure(const sg_model **out, serve_models *models, const char *id, sg_error *err) SG_MUST_CHECK;
uint64_t serve_models_hash(serve_models *models, const char *id); /* sg_model_hash, computed once; 0 if not open */
/* What its glasses run on. */
sg_exec_opts serve_models_exec(const serve_models *models, const sg_model *m);

/* ---- glasses ---- */

typedef struct serve_glass_ask {
    const char *model;
    sg_dim capacity;     /* of a cache, 0: none; the glass may have room for more, up to the model's context */
    sg_dim n_rows;       /* that the cache is for; 0 stands for one */
    const json_t *edits; /* a list as edit.h has it; NULL: none */
} serve_glass_ask;

typedef struct serve_glass {
    sg_glass *glass; /* with an empty cache, edited */
    const sg_model *model;
    sg_value *last; /* with a cache: logits [rows,1,V] behind the last of the tokens that are given */
    struct serve_glass_kept *kept;
} serve_glass;

/* Fetches by name with sg_glass_find. The graph is not to be built on. SG_EARG, SG_EFORMAT, SG_ENOTFOUND, SG_ESHAPE:
 * what is wrong with the edits; they may not name files. */
sg_status serve_glass_take(serve_glass **out, serve_models *models, serve_glass_ask ask, sg_error *err) SG_MUST_CHECK;
/* `keep`: false after a failure, which ends it. NULL is fine. */
void serve_glass_give(serve_glass *g, bool keep);

/* What waits now, and what was done so far. */
typedef struct serve_glass_count {
    int n;
    size_t bytes;
    int made, reused;
} serve_glass_count;
serve_glass_count serve_glass_counted(serve_models *models);

/* Whether edits from outside may be run: a list of at most SERVE_MOST_EDITS, none of which names a file. */
enum { SERVE_MOST_EDITS = 64 };
sg_status serve_check_edits(const json_t *edits, sg_error *err) SG_MUST_CHECK;

/* The edits of a request, what they take from other runs filled in. */
sg_status serve_edits_read(sg_edit_list **out, serve_models *models, const char *model, const json_t *edits,
                           sg_error *err) SG_MUST_CHECK;

/* Texts of several requests in one run: batches.h. */
struct serve_batches *serve_models_batches(const serve_models *models);

/* ---- of a server ---- */

/* The part "models": the folders that the server was started with. */
struct sg_server;
serve_models *serve_models_of(const struct sg_server *s);

#endif
