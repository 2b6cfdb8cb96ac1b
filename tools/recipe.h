/* What a trained model says of its making: recipe.json beside its weights, and loss.csv. */
#ifndef SG_TOOLS_RECIPE_H
#define SG_TOOLS_RECIPE_H

#include "cli.h"

typedef struct recipe {
    int argc; /* the command as it was typed, without the program */
    char *const *argv;
    const char *data;    /* the source in words */
    const char *backend; /* of the products */
    const char *dtype;   /* they multiply in */
    int threads, processes;
    sg_dim parameters, steps, rows, tokens; /* rows: sequences seen, tokens: read, both in all */
    double loss;                            /* of the last step */
    const char
        *metrics; /* NULL: no loss curve, and seconds are this process's; else that stream, after it was closed */
    double seconds;
} recipe;

/* DIR/recipe.json and, with metrics, DIR/loss.csv. */
sg_status recipe_write(const recipe *r, const char *dir, sg_error *err) SG_MUST_CHECK;

#endif
