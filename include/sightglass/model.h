/* Models: a transformer from a directory, as a graph in which every inner value has a name. Decoders go on with a text;
 * encoders read one, or an image, as a whole.
 *
 *     sg_model *m;
 *     SG_TRY(sg_model_open(&m, "models/stories260K", sg_model_defaults(), err));
 *     sg_glass *glass;
 *     SG_TRY(sg_glass_new(&glass, m, sg_glass_defaults(), err));
 *     sg_rows rows = {.n_rows = 1, .tokens = (const int32_t *const[]){ids}, .lengths = &n};
 *     SG_TRY(sg_glass_run(glass, &rows, 0, NULL, 1, &logits, &value, err));
 *
 * A model owns its weights, mapped read-only, and may be shared by threads. A glass is one thread's view of it: a graph
 * with its splices, its caches and its plans. */
#ifndef SIGHTGLASS_MODEL_H
#define SIGHTGLASS_MODEL_H

#include "sightglass/bitmap.h"
#include "sightglass/edit.h"
#include "sightglass/run.h"
#include "sightglass/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_model sg_model;

typedef struct sg_model_opts {
    sg_dtype dtype;  /* what is computed in: SG_F32, or SG_F64 to check it against */
    bool only_sizes; /* weights are not read: what a run takes can be planned, and nothing be run (false) */
    /* Matrices and embeddings of bf16, f16 or a block type stay mapped as they lie, and products read them so; what else is
     * there is converted. Only beside SG_F32: an f64 model is converted whole, as is one without this, whose weights then
     * have gradients, and where SIGHTGLASS_BACKEND names a device (else true). */
    bool as_stored;
} sg_model_opts;
sg_model_opts sg_model_defaults(void);

/* A directory in Hugging Face's layout (config.json, model.safetensors or its index, a tokenizer if there is one, see
 * sg_tokenizer_open_folder), or a GGUF file, whose weights are called as such a directory would call them; or the name of a
 * pulled one, "org/name" (hub.h). A chat template comes with the tokenizer (template.h). */
sg_status sg_model_open(sg_model **out, const char *dir, sg_model_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_model_close(sg_model *m); /* after its glasses; NULL is fine */

/* What a model's outputs say. */
typedef enum sg_task {
    SG_TASK_NEXT,       /* `logits` [batch,time,V]: the next token (decoders) */
    SG_TASK_MASKED,     /* `logits` [batch,time,V]: the token at the place itself, where it is masked (bert) */
    SG_TASK_LABEL,      /* `class_logits` [rows,labels]: of the whole text or image */
    SG_TASK_LABEL_EACH, /* `class_logits` [batch,time,labels]: of each token; a question's answer begins at label 0 and ends at 1 */
    SG_TASK_MATCH,      /* `logits_per_image` [images,batch]: how well they fit (clip) */
    SG_TASK_EMBED       /* none: `last_hidden_state`, `pooler_output`, `text_embeds`, `image_embeds` */
} sg_task;

typedef struct sg_model_info {
    const char *family;       /* "llama" */
    const char *architecture; /* as config.json names it */
    const char *path;
    sg_dim n_layers, d_model, n_heads, n_kv_heads, d_head, d_mlp, n_vocab, n_context; /* of clip's text; n_vocab 0: it reads
                                                                                        * images alone, in n_context places */
    sg_dim n_parameters;
    size_t weight_bytes;    /* as stored in the file, which is mapped: in memory once they were read */
    size_t unread_bytes;    /* of that, matrices that opening has left alone, since it reads a large model's only to convert them */
    size_t converted_bytes; /* of their copies in what is computed in, where the file has another type */
    sg_dtype stored;        /* of most of the weights' numbers */
    bool tied;              /* the unembedding is the embedding */
    int32_t bos;            /* -1: none */
    int n_eos;
    int32_t eos[8];
    sg_task task;
    sg_dim n_labels;               /* of `class_logits`; 0: there are none */
    sg_dim n_channels, image_side; /* of `pixels` [images,n_channels,image_side,image_side]; 0: it reads no images */
} sg_model_info;
const sg_model_info *sg_model_get_info(const sg_model *m);
const sg_tokenizer *sg_model_tokenizer(const sg_model *m); /* NULL if the directory has none */

/* Of its weights in what is computed in: two models with one hash are the same numbers. 0 for a model from nothing. */
uint64_t sg_model_hash(const sg_model *m);

const char *sg_model_label(const sg_model *m, sg_dim i); /* as config.json names it, or NULL */

/* Pictures as the numbers that the model reads, as the directory's preprocessor_config.json says (resized as Pillow does,
 * cropped, normalised): what is fed as `pixels` [n,channels,side,side]. The caller frees out->data. SG_EARG: the model reads no
 * images; SG_ENOTFOUND: the directory does not say. */
sg_status sg_model_pixels(const sg_model *m, int n, const sg_bitmap *const *pictures, sg_tensor *out,
                          sg_error *err) SG_MUST_CHECK;

/* What was odd about the model, one line each: NaN weights, tensors that nothing uses. NULL past the last. Matrices that stay
 * mapped are searched for NaN up to 64 MB of weights; in a larger model sg_session_guard finds where one shows first. */
const char *sg_model_warning(const sg_model *m, int i);

/* A new graph of the model, owned by the caller, with inputs
 *     tokens [batch,time] i32, positions [batch,time] i32, key_mask [batch,past+time] bool (false: padding).
 * Without a cache (capacity 0) `past` does not occur, and `nll` [batch,time-1] and `loss` (nats per token, over tokens
 * whose successor is known and not padding) have names too. With a cache keys and values are kept for n_rows rows of
 * `capacity` tokens, in variables.
 * Encoders have no cache and no loss; those with token types have token_types [batch,time] i32 too. Image towers have
 * pixels [images,channels,side,side] in what is computed in, instead of all these. */
sg_status sg_model_graph(sg_graph **out, const sg_model *m, sg_dim capacity, sg_dim n_rows,
                         sg_error *err) SG_MUST_CHECK;
/* How a cache keeps keys and values. */
typedef struct sg_cache_opts {
    sg_dim capacity; /* tokens of a row; 0: no cache */
    sg_dim n_rows;   /* 1 */
    bool apart;      /* rows may be at different lengths, and a run may be of some that lie together (false) */
    sg_dtype dtype;  /* apart: what an f32 model's keys and values are stored as, SG_F32 or SG_BF16 (SG_F32) */
    bool sliding;    /* apart, rotary positions: keys are stored unturned, so that their positions may change (false) */
    bool shared;     /* no cache, but a past that all rows have in common, and that runs are fed (false) */
} sg_cache_opts;
sg_cache_opts sg_cache_defaults(void);

/* As sg_model_graph. With `apart` there is no `past`: the inputs have extents batch and keys (of the cache that are
 * read), runs are of rows `first` (an extent) and on, and two more inputs say where a row's tokens are stored and how far each
 * query sees: places [batch] i32, reach [batch,time] i32; key_mask is [batch,keys]. With `sliding` key_positions [batch,keys]
 * i32 are those of the keys stored. With `shared` (capacity 0) rows go on behind `past` tokens, one or more, and two more inputs
 * of each layer have keys, as they are attended to, and values of these: blocks.{L}.attn.past_k, past_v [1,past,kv heads,d_head],
 * which are blocks.{L}.attn.hook_rot_k (hook_k where positions do not turn) and hook_v of a run of the past. */
sg_status sg_model_cached_graph(sg_graph **out, const sg_model *m, sg_cache_opts cache, sg_error *err) SG_MUST_CHECK;
/* Binds the weights in a state of such a graph (or of its fork); those of a model from nothing stay the state's. */
sg_status sg_model_bind(const sg_model *m, const sg_graph *g, sg_state *s, sg_error *err) SG_MUST_CHECK;

/* ---- models from nothing ---- */

/* A model of the sizes that a config.json states, whose weights are not there yet: in a state of its graph they are
 * variables like any other, which sg_state_init draws as the family does (matrices and embeddings normal with deviation
 * initializer_range, .02; gpt2's projections into the residual stream divided by sqrt(2 n_layers) (Radford et al.
 * 2019); biases 0, gains 1), and which can be trained. tokenizer: the path of a tokenizer.json, or NULL. */
sg_status sg_model_new(sg_model **out, const char *config, const char *tokenizer, sg_model_opts opts,
                       sg_error *err) SG_MUST_CHECK;
/* Writes the folder (made if it is not there) that sg_model_open opens: config.json and tokenizer.json as they were
 * given to sg_model_new, and the weights in s, a state of g. With `beside` not "" the tensors are those of the
 * variables named so before each weight's name, as in "average.". Matrices are stored as `stored`: SG_F32, or SG_BF16
 * for half the bytes. */
sg_status sg_model_save(const sg_model *m, const sg_graph *g, sg_state *s, const char *beside, sg_dtype stored,
                        const char *dir, sg_error *err) SG_MUST_CHECK;

/* Writes the folder of a model that was opened from one, with its weights as they are now (sg_model_merge, adapt.h):
 * config.json and what the tokenizer lies in are copied. SG_EUNSUPPORTED: it came from a GGUF file. */
sg_status sg_model_write(const sg_model *m, sg_dtype stored, const char *dir, sg_error *err) SG_MUST_CHECK;

/* A model from nothing of another's sizes: what a network is before it has learnt anything. It borrows m, which is
 * closed after it, and cannot be saved. */
sg_status sg_model_untrained(sg_model **out, const sg_model *m, sg_error *err) SG_MUST_CHECK;

/* Weight i, in no order that means anything; name NULL past the last. */
typedef struct sg_model_weight {
    const char *name;
    bool decays; /* a matrix that is no embedding: what weight decay is meant for */
} sg_model_weight;
sg_model_weight sg_model_get_weight(const sg_model *m, int i);

/* ---- a glass ---- */

typedef struct sg_glass sg_glass;

typedef struct sg_glass_opts {
    sg_exec_opts exec;
    sg_dim capacity; /* 0: no cache */
    sg_dim n_rows;   /* with a cache: rows it holds */
    bool apart, sliding; /* false; see sg_cache_opts: such a glass is run by an sg_batch (generate.h) */
    bool shared;         /* false; see sg_cache_opts and sg_glass_share */
    sg_dtype cache;      /* SG_F32; likewise */
    uint64_t seed;   /* 0; of the weights of a model from nothing */
} sg_glass_opts;
sg_glass_opts sg_glass_defaults(void);

sg_status sg_glass_new(sg_glass **out, const sg_model *m, sg_glass_opts opts, sg_error *err) SG_MUST_CHECK;
void sg_glass_free(sg_glass *glass); /* NULL is fine */

/* The graph, to which splices and gradients may be added before anything is run. */
sg_graph *sg_glass_graph(sg_glass *glass);
/* Binds the weights and makes the session, which ends building; the first run does it by itself. */
sg_status sg_glass_ready(sg_glass *glass, sg_error *err) SG_MUST_CHECK;
sg_session *sg_glass_session(sg_glass *glass); /* NULL before that */
/* A value by name. SG_ENOTFOUND suggests the nearest name. */
sg_status sg_glass_find(sg_glass *glass, const char *name, sg_value **out, sg_error *err) SG_MUST_CHECK;

/* Splices edits into the glass: once, before anything is run. The edits' values are borrowed until the glass is freed.
 * After a failure the graph holds the edits before the one that failed, so the glass is only good for freeing. */
sg_status sg_glass_edit(sg_glass *glass, int n, const sg_edit *edits, sg_error *err) SG_MUST_CHECK;
/* The same from a list read from JSON: values that come from another run of the model are computed first. */
sg_status sg_glass_edit_list(sg_glass *glass, sg_edit_list *list, sg_error *err) SG_MUST_CHECK;
/* Only that: what the list's edits take from other runs is computed in this glass, which has neither cache nor edits, and kept
 * by the list. */
sg_status sg_glass_sources(sg_glass *glass, sg_edit_list *list, sg_error *err) SG_MUST_CHECK;
sg_edits *sg_glass_edits(sg_glass *glass); /* to change their numbers; NULL if there are none */

/* Rows of tokens of different lengths. */
typedef struct sg_rows {
    int n_rows;
    const int32_t *const *tokens;
    const sg_dim *lengths;
    bool pad_left; /* where shorter rows are filled up; results at real positions do not depend on it */
    sg_dim time;   /* at least; rows are filled up to this, or to the longest of them */
    const int32_t *const *types; /* token types of each row, for encoders that have them; NULL: all 0 */
} sg_rows;

typedef struct sg_named_feed {
    const char *name;
    sg_tensor tensor;
} sg_named_feed;

/* Runs the rows from an empty past. Without a cache only. out[i] is fetch i, batch first, borrowed until the next run.
 * A model of images is fed `pixels` and has no rows (NULL); clip takes either or both, as what is fetched needs.
 * SG_EARG: a row is empty, longer than the context, or has a token outside the vocabulary. */
sg_status sg_glass_run(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                       sg_value *const *fetches, sg_tensor *out, sg_error *err) SG_MUST_CHECK;

/* A glass with a shared past: rows go on behind so many tokens, whose keys and values runs are fed by name, in the layers that they
 * compute. */
sg_status sg_glass_share(sg_glass *glass, sg_dim past, sg_error *err) SG_MUST_CHECK;

/* What sg_glass_run would run for these, planned and not run: borrowed until the glass is freed. */
sg_status sg_glass_plan(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                        sg_value *const *fetches, const sg_plan **out, sg_error *err) SG_MUST_CHECK;

/* With a cache: appends the rows (all of one length) to what the cache holds and fetches. */
sg_status sg_glass_extend(sg_glass *glass, const sg_rows *rows, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                          sg_error *err) SG_MUST_CHECK;
void sg_glass_forget(sg_glass *glass); /* empties the cache */
sg_dim sg_glass_past(const sg_glass *glass);

#ifdef __cplusplus
}
#endif
#endif
