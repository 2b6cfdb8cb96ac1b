/* Methods as values: a name, inputs, options and a function that fills a result. The command line, the server's routes
 * and the documentation are derived from them.
 *
 *     static sg_status run(sg_method_run *r, sg_error *err)
 *     {
 *         sg_model *m;
 *         SG_TRY(sg_method_model(r, 0, &m, err));                  // MODEL, the first input
 *         const int k = (int)sg_method_number(r, "k");
 *         ...
 *         return sg_result_add(sg_method_result(r), &finding, err);
 *     }
 *     const sg_method sg_method_dictionary_fit = {"dictionary", "fit", "...", ..., run};
 *
 * and SG_METHOD(dictionary_fit) in methods.def. `sightglass dictionary fit ACTS --k 8` and POST
 * /api/v1/methods/dictionary/fit then run it. A method never prints; the library function behind it, with a header of
 * its own, does the work. */
#ifndef SIGHTGLASS_METHOD_H
#define SIGHTGLASS_METHOD_H

#include <signal.h>

#include "sightglass/model.h"
#include "sightglass/option.h"
#include "sightglass/result.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sg_method_input_kind {
    SG_METHOD_MODEL, /* a model: folder, GGUF file or name of a pulled one */
    SG_METHOD_FILE,  /* a file or folder that is there; a model's will do where the method takes one */
    SG_METHOD_TEXT   /* a text as it is */
} sg_method_input_kind;

typedef struct sg_method_input {
    const char *name; /* "MODEL" */
    sg_method_input_kind kind;
    int least, most;  /* how many; only the last may have least != most */
    const char *help; /* one line */
} sg_method_input;

typedef struct sg_method_run sg_method_run;

typedef struct sg_method {
    const char *name, *action; /* "dictionary", "fit"; action NULL: it has only one */
    const char *help;          /* one line, without a full stop */
    const char *about;         /* some sentences for --help: what is measured, beside which control, and the source */
    const char *artefact;      /* what -o DIR or FILE gets, in a line; NULL: it writes none */
    int n_inputs;
    const sg_method_input *inputs;
    int n_options;
    const sg_option *options; /* but those that all have: seed, threads, backend, out, json, html */
    sg_status (*run)(sg_method_run *r, sg_error *err);
} sg_method;

/* Every method, in the order of methods.def; actions of one name together. */
int sg_method_count(void);
const sg_method *sg_method_at(int i);
/* action NULL: the first of that name. NULL if there is none. */
const sg_method *sg_method_find(const char *name, const char *action);

/* ---- running one ---- */

typedef struct sg_method_ask {
    int n_inputs;
    const char *const *inputs;
    int n_settings;
    const sg_setting *settings; /* of the method's options */
    uint64_t seed;
    const char *out;   /* -o: where the artefact goes; NULL: nowhere */
    const char *build; /* for the manifest; NULL: unknown */
    sg_exec_opts exec;
    void (*progress)(void *context, double done, const char *part); /* NULL: nobody is told; done in [0,1] */
    void *context;
    const volatile sig_atomic_t *cancel; /* NULL; not 0 ends it with SG_ECANCELLED, what was written is kept */
    bool from_afar; /* false; a request asks: no commands are run, and no files read but those of inputs and path
                       options */
} sg_method_ask;
sg_method_ask sg_method_ask_defaults(void);

/* SG_EARG: inputs or options that the method has not. */
sg_status sg_method_do(sg_result **out, const sg_method *m, const sg_method_ask *ask, sg_error *err) SG_MUST_CHECK;

/* ---- for methods: what was asked ---- */

int sg_method_n_inputs(const sg_method_run *r);
const char *sg_method_input_at(const sg_method_run *r, int i);
/* Options by name; a name that the method has not is our own mistake. */
double sg_method_number(const sg_method_run *r,
                        const char *option); /* also the place of a choice, and 0 or 1 of a flag */
const char *sg_method_text(const sg_method_run *r, const char *option); /* NULL where it is empty */
bool sg_method_flag(const sg_method_run *r, const char *option);
bool sg_method_given(const sg_method_run *r, const char *option); /* by the user */
/* "0,2,5.5": *out by malloc. */
sg_status sg_method_numbers(const sg_method_run *r, const char *option, double **out, int *n,
                            sg_error *err) SG_MUST_CHECK;
bool sg_method_from_afar(const sg_method_run *r); /* see sg_method_ask */
uint64_t sg_method_seed(const sg_method_run *r);
const char *sg_method_out(const sg_method_run *r); /* NULL: no artefact is wanted */
sg_exec_opts sg_method_exec(const sg_method_run *r);
const volatile sig_atomic_t *sg_method_cancel(const sg_method_run *r);
void sg_method_progress(const sg_method_run *r, double done, const char *part);
/* The same as a callback of library functions: `context` is the run, the part is the last one told. */
void sg_method_on_progress(void *run, double done);

/* Opens the model that input i names, and notes its hash in the manifest; closed with the run. */
sg_status sg_method_model(sg_method_run *r, int i, sg_model **out, sg_error *err) SG_MUST_CHECK;
/* Notes a file or folder as the data, with its hash. */
sg_status sg_method_data(sg_method_run *r, const char *path, sg_error *err) SG_MUST_CHECK;
/* The result that the run fills, and the manifest as far as it is known, for artefacts; borrowed. */
sg_result *sg_method_result(const sg_method_run *r);
const sg_manifest *sg_method_manifest(const sg_method_run *r);

/* Names of the model's values that fit a name or pattern, "" as all: *out by malloc, names borrowed from the graph.
 * SG_ENOTFOUND suggests the nearest. */
sg_status sg_method_sites(const sg_graph *g, const char *pattern, const char ***out, int *n,
                          sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
