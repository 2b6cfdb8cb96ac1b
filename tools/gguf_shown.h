/* What a GGUF file holds, for inspect: its metadata, and its tensors by type. */
#ifndef SG_TOOLS_GGUF_SHOWN_H
#define SG_TOOLS_GGUF_SHOWN_H

#include <jansson.h>

#include "sightglass/gguf.h"

void gguf_print(const sg_gguf *g);
/* Lists are given by their length and their first elements. */
json_t *gguf_json(const sg_gguf *g);

#endif
