/* The worlds' structs, by name: `sg_world_features` and so on. */
#ifndef SG_WORLDS_WORLDS_H
#define SG_WORLDS_WORLDS_H

#include "sightglass/world.h"

#define SG_WORLD(name) extern const sg_world sg_world_##name;
#include "worlds/worlds.def"
#undef SG_WORLD

#endif
