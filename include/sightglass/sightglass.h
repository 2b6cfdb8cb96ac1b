/* All of the library. Read first: graph.h, ops.h, run.h; then model.h and edit.h. */
#ifndef SIGHTGLASS_SIGHTGLASS_H
#define SIGHTGLASS_SIGHTGLASS_H

#include "sightglass/checkpoint.h"
#include "sightglass/corpus.h"
#include "sightglass/edit.h"
#include "sightglass/error.h"
#include "sightglass/features.h"
#include "sightglass/graph.h"
#include "sightglass/image.h"
#include "sightglass/linalg.h"
#include "sightglass/learner.h"
#include "sightglass/metrics.h"
#include "sightglass/model.h"
#include "sightglass/npy.h"
#include "sightglass/ops.h"
#include "sightglass/option.h"
#include "sightglass/ranks.h"
#include "sightglass/report.h"
#include "sightglass/rng.h"
#include "sightglass/run.h"
#include "sightglass/safetensors.h"
#include "sightglass/sample.h"
#include "sightglass/schedule.h"
#include "sightglass/source.h"
#include "sightglass/superposition.h"
#include "sightglass/tensor.h"
#include "sightglass/tokenizer.h"
#include "sightglass/train.h"
#include "sightglass/update.h"
#include "sightglass/world.h"

#endif
