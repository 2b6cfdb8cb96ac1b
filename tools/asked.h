/* What commands share that ask a model about a world: options from a table, those of the world behind them, and a line
 * of progress. */
#ifndef SG_TOOLS_ASKED_H
#define SG_TOOLS_ASKED_H

#include <signal.h>

#include "cli.h"
#include "sightglass/probe.h"

typedef struct asked_option {
    const char *name;
    enum { ASKED_FLAG, ASKED_WORD, ASKED_WHOLE, ASKED_REAL } kind;
    size_t place; /* in the command's settings: of a bool, const char *, long long, double */
    double least, most;
} asked_option;

/* A world with the settings that the user gave for it; name NULL where --world was not given. */
typedef struct asked_world {
    const sg_world *world;
    sg_setting *settings;
    int n_settings;
} asked_world;

/* Fills `settings` and `world` and reads the one MODEL behind the options. -1: go on; else the exit status. A world's
 * choice that the user left open is the one of which the model has the vocabulary, see asked_fit. */
int asked_read(int argc, char **argv, const char *command, void (*help)(FILE *to), int n, const asked_option *options,
               void *settings, asked_world *world, const char **model);
void asked_world_free(asked_world *w);
/* The world's options of which a choice was left open are set so that its tokens are the model's, where one is. */
sg_status asked_fit(asked_world *w, const sg_model *m, sg_error *err);
void asked_list_worlds(FILE *to); /* those of sequences, for help */

sg_status asked_probe_kind(const char *name, sg_probe_kind *kind, sg_error *err);

/* A line that is written over, on a terminal only. */
typedef struct asked_progress {
    double began, last;
    char part[40];
} asked_progress;
void asked_show(void *context, const char *part, double done);
void asked_hide(const asked_progress *p);

/* Set by Ctrl-C from asked_catch on. */
extern volatile sig_atomic_t asked_stop;
void asked_catch(void);
/* The exit status of a failure, said on stderr: 130 where it was stopped. */
int asked_fail(const sg_error *err);

#endif
