/* The methods that methods.def lists. */
#ifndef SG_METHODS_METHODS_H
#define SG_METHODS_METHODS_H

#include "sightglass/method.h"

#define SG_METHOD(name) extern const sg_method sg_method_##name;
#include "methods/methods.def"
#undef SG_METHOD

#endif
