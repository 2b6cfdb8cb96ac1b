/* What features of a sparse autoencoder are called, for sae.c. */
#ifndef SG_IO_SAE_LABELS_H
#define SG_IO_SAE_LABELS_H

#include "base/base.h"

/* From features.json or features.csv in dir: *out [n], in the arena, or NULL where neither is there. */
sg_status sg_sae_read_labels(const char *const **out, sg_arena *arena, const char *dir, sg_dim n,
                             sg_error *err) SG_MUST_CHECK;
sg_status sg_sae_write_labels(const char *const *labels, sg_dim n, const char *dir, sg_error *err) SG_MUST_CHECK;

#endif
