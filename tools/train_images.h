/* sightglass train on a world of images: a network of convolutions. */
#ifndef SG_TOOLS_TRAIN_IMAGES_H
#define SG_TOOLS_TRAIN_IMAGES_H

#include <signal.h>

#include "cli.h"
#include "sightglass/world.h"

typedef struct train_images_ask {
    const char *config, *out, *backend, *schedule; /* the last two may be NULL */
    const sg_world *world;
    int n_settings;
    const sg_setting *settings;
    sg_dim steps, batch, warmup, decay; /* decay -1: a fifth of the steps */
    uint64_t seed;
    double lr, weight_decay;
    sg_dtype stored;
    bool json;
    int argc; /* as typed */
    char *const *argv;
    const volatile sig_atomic_t *cancel;
} train_images_ask;

/* Whether a world has images with labels. */
bool train_images_can(const sg_world *world);
int train_images(const train_images_ask *ask);

#endif
