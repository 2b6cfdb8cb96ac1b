/* Models from one format to another, and into fewer bits: Hugging Face's folders and GGUF files.
 *
 *     sg_convert_opts opts = sg_convert_defaults();
 *     sg_conversion *c;
 *     opts.dtype = SG_Q4_K;
 *     opts.mix = true;
 *     SG_TRY(sg_convert_model(&c, "models/smollm", "smollm-q4_k.gguf", &opts, err));
 *     printf("%.2f %% of the numbers' size lost\n", 100 * sg_conversion_error(c));
 *     sg_conversion_free(c);
 *
 * What the other format cannot say is an error that names it: a result that opens means the same model.  Vectors
 * (norms, biases) and position embeddings are not packed. A matrix whose rows are no whole blocks of 256 takes the type
 * of 32 nearest in size, and F16 if they are no whole blocks of 32 either, as llama.cpp does. */
#ifndef SIGHTGLASS_CONVERT_H
#define SIGHTGLASS_CONVERT_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensors whose name (in GGUF or Hugging Face's words) fits the pattern are stored as this type: the first rule that
 * fits. */
typedef struct sg_convert_rule {
    const char *pattern; /* "blk.*.attn_v.weight" */
    sg_dtype dtype;
} sg_convert_rule;

typedef struct sg_convert_opts {
    bool as_stored; /* keep types where the target has them: `dtype` is not looked at (true) */
    sg_dtype dtype; /* of matrices: F32, F16, BF16, and in GGUF files the packed types */
    bool mix;       /* embeddings and unembedding as Q6_K where dtype has fewer bits (false) */
    int n_rules;
    const sg_convert_rule *rules; /* borrowed */
    int n_threads;                /* (1) */
    /* Told before each part of a tensor; false ends the conversion with SG_ECANCELLED and leaves no file. NULL: nobody
     * is told. */
    bool (*progress)(void *context, const char *tensor, double done);
    void *context;
} sg_convert_opts;
sg_convert_opts sg_convert_defaults(void);

typedef struct sg_converted {
    const char *name; /* in the target */
    sg_dtype from, to;
    int n_dims;
    sg_dim dims[SG_MAX_DIMS];
    double error; /* root mean square of what changed, over that of the numbers; 0: nothing did */
} sg_converted;

/* What was done, tensor by tensor. */
typedef struct sg_conversion sg_conversion;

/* Writes `to`: a file if it ends in ".gguf", else a new folder. SG_EARG: it is there already (a folder with a model),
 * or a rule that no tensor fits; SG_EUNSUPPORTED: something that the target has no word for. */
sg_status sg_convert_model(sg_conversion **out, const char *from, const char *to, const sg_convert_opts *opts,
                           sg_error *err) SG_MUST_CHECK;
void sg_conversion_free(sg_conversion *c); /* NULL is fine */

int sg_conversion_count(const sg_conversion *c);
const sg_converted *sg_conversion_at(const sg_conversion *c, int i);
double sg_conversion_error(const sg_conversion *c); /* over all tensors together */
size_t sg_conversion_bytes_from(const sg_conversion *c);
size_t sg_conversion_bytes_to(const sg_conversion *c);
const char *sg_conversion_warning(const sg_conversion *c, int i); /* NULL past the last */

#ifdef __cplusplus
}
#endif
#endif
