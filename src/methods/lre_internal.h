/* What the files of linear relational embeddings share. */
#ifndef SG_METHODS_LRE_INTERNAL_H
#define SG_METHODS_LRE_INTERNAL_H

#include "base/base.h"
#include "sightglass/lre.h"

/* The last block's hook_resid_post. */
void sg_lre_last(char name[48], const sg_model *m);

#endif
