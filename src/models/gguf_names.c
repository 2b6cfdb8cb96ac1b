/* Architectures, keys and names of GGUF beside Hugging Face's. A family here is a row of tables; the two have the same
 * content in other words, but for what sg_gguf_move lists.  Source: the GGUF specification's list of standardized keys
 * and names, and what files hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/gguf_model.h"

#define B "model.layers.%d."

/* Of all that came after llama. */
static const sg_name_pair common[] = {
    {"token_embd", "model.embed_tokens", SG_MOVE_NONE},    {"output", "lm_head", SG_MOVE_NONE},
    {"blk.%d.attn_v", B "self_attn.v_proj", SG_MOVE_NONE}, {"blk.%d.attn_output", B "self_attn.o_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_down", B "mlp.down_proj", SG_MOVE_NONE},  {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair mlp[] = {
    {"blk.%d.ffn_gate", B "mlp.gate_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.up_proj", SG_MOVE_NONE},
    {"output_norm", "model.norm", SG_MOVE_NONE},
    {"blk.%d.attn_norm", B "input_layernorm", SG_MOVE_NONE},
    {"blk.%d.ffn_norm", B "post_attention_layernorm", SG_MOVE_NONE},
    {NULL, NULL, SG_MOVE_NONE},
};

/* llama and olmo turn neighbours in GGUF, and halves in Hugging Face's files. */
static const sg_name_pair neighbours[] = {
    {"blk.%d.attn_q", B "self_attn.q_proj", SG_MOVE_QUERY},
    {"blk.%d.attn_k", B "self_attn.k_proj", SG_MOVE_KEY},
    {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair halves[] = {
    {"blk.%d.attn_q", B "self_attn.q_proj", SG_MOVE_NONE},
    {"blk.%d.attn_k", B "self_attn.k_proj", SG_MOVE_NONE},
    {"blk.%d.attn_q_norm", B "self_attn.q_norm", SG_MOVE_NONE},
    {"blk.%d.attn_k_norm", B "self_attn.k_norm", SG_MOVE_NONE},
    {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair phi3[] = {
    {"blk.%d.attn_qkv", B "self_attn.qkv_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.gate_up_proj", SG_MOVE_NONE},
    {"output_norm", "model.norm", SG_MOVE_NONE},
    {"blk.%d.attn_norm", B "input_layernorm", SG_MOVE_NONE},
    {"blk.%d.ffn_norm", B "post_attention_layernorm", SG_MOVE_NONE},
    {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair gemma[] = {
    {"blk.%d.ffn_gate", B "mlp.gate_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.up_proj", SG_MOVE_NONE},
    {"output_norm", "model.norm", SG_MOVE_ONE},
    {"blk.%d.attn_norm", B "input_layernorm", SG_MOVE_ONE},
    {"blk.%d.ffn_norm", B "post_attention_layernorm", SG_MOVE_ONE},
    {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair gemma2[] = {
    {"blk.%d.ffn_gate", B "mlp.gate_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.up_proj", SG_MOVE_NONE},
    {"output_norm", "model.norm", SG_MOVE_ONE},
    {"blk.%d.attn_norm", B "input_layernorm", SG_MOVE_ONE},
    {"blk.%d.post_attention_norm", B "post_attention_layernorm", SG_MOVE_ONE},
    {"blk.%d.ffn_norm", B "pre_feedforward_layernorm", SG_MOVE_ONE},
    {"blk.%d.post_ffw_norm", B "post_feedforward_layernorm", SG_MOVE_ONE},
    {NULL, NULL, SG_MOVE_NONE},
};

static const sg_name_pair olmo2[] = {
    {"blk.%d.ffn_gate", B "mlp.gate_proj", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.up_proj", SG_MOVE_NONE},
    {"output_norm", "model.norm", SG_MOVE_NONE},
    {"blk.%d.post_attention_norm", B "post_attention_layernorm", SG_MOVE_NONE},
    {"blk.%d.post_ffw_norm", B "post_feedforward_layernorm", SG_MOVE_NONE},
    {NULL, NULL, SG_MOVE_NONE},
};

#undef B
#define B "transformer.h.%d."

static const sg_name_pair gpt2[] = {
    {"token_embd", "transformer.wte", SG_MOVE_NONE},
    {"position_embd", "transformer.wpe", SG_MOVE_NONE},
    {"output", "lm_head", SG_MOVE_NONE},
    {"output_norm", "transformer.ln_f", SG_MOVE_NONE},
    {"blk.%d.attn_norm", B "ln_1", SG_MOVE_NONE},
    {"blk.%d.attn_qkv", B "attn.c_attn", SG_MOVE_TURNED},
    {"blk.%d.attn_output", B "attn.c_proj", SG_MOVE_TURNED},
    {"blk.%d.ffn_norm", B "ln_2", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.c_fc", SG_MOVE_TURNED},
    {"blk.%d.ffn_down", B "mlp.c_proj", SG_MOVE_TURNED},
    {NULL, NULL, SG_MOVE_NONE},
};

#undef B
#define B "gpt_neox.layers.%d."

static const sg_name_pair gpt_neox[] = {
    {"token_embd", "gpt_neox.embed_in", SG_MOVE_NONE},
    {"output", "embed_out", SG_MOVE_NONE},
    {"output_norm", "gpt_neox.final_layer_norm", SG_MOVE_NONE},
    {"blk.%d.attn_norm", B "input_layernorm", SG_MOVE_NONE},
    {"blk.%d.attn_qkv", B "attention.query_key_value", SG_MOVE_QKV},
    {"blk.%d.attn_output", B "attention.dense", SG_MOVE_NONE},
    {"blk.%d.ffn_norm", B "post_attention_layernorm", SG_MOVE_NONE},
    {"blk.%d.ffn_up", B "mlp.dense_h_to_4h", SG_MOVE_NONE},
    {"blk.%d.ffn_down", B "mlp.dense_4h_to_h", SG_MOVE_NONE},
    {NULL, NULL, SG_MOVE_NONE},
};

#undef B

/* ---- keys ---- */

static const sg_key_pair sizes[] = {
    {"embedding_length", "hidden_size", SG_KEY_WHOLE, true},
    {"block_count", "num_hidden_layers", SG_KEY_WHOLE, true},
    {"attention.head_count", "num_attention_heads", SG_KEY_WHOLE, true},
    {"feed_forward_length", "intermediate_size", SG_KEY_WHOLE, true},
    {"context_length", "max_position_embeddings", SG_KEY_WHOLE, true},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair llama_keys[] = {
    {"attention.head_count_kv", "num_key_value_heads", SG_KEY_WHOLE, false},
    {"attention.key_length", "head_dim", SG_KEY_WHOLE, false},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", SG_KEY_REAL, true},
    {"attention.sliding_window", "sliding_window", SG_KEY_WHOLE, false},
    {"rope.freq_base", "rope_theta", SG_KEY_REAL, false},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair olmo_keys[] = {
    {"attention.head_count_kv", "num_key_value_heads", SG_KEY_WHOLE, false},
    {"attention.clamp_kqv", "clip_qkv", SG_KEY_REAL, false},
    {"rope.freq_base", "rope_theta", SG_KEY_REAL, false},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair gemma2_keys[] = {
    {"attn_logit_softcapping", "attn_logit_softcapping", SG_KEY_REAL, false},
    {"final_logit_softcapping", "final_logit_softcapping", SG_KEY_REAL, false},
    {"attention.query_pre_attn_scalar", "query_pre_attn_scalar", SG_KEY_REAL, false}, /* ours: others go by the sizes */
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair phi3_keys[] = {
    {"rope.scaling.original_context_length", "original_max_position_embeddings", SG_KEY_WHOLE, false},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair gpt2_keys[] = {
    {"embedding_length", "n_embd", SG_KEY_WHOLE, true},
    {"block_count", "n_layer", SG_KEY_WHOLE, true},
    {"attention.head_count", "n_head", SG_KEY_WHOLE, true},
    {"feed_forward_length", "n_inner", SG_KEY_WHOLE, true},
    {"context_length", "n_positions", SG_KEY_WHOLE, true},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", SG_KEY_REAL, true},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

static const sg_key_pair gpt_neox_keys[] = {
    {"attention.layer_norm_epsilon", "layer_norm_eps", SG_KEY_REAL, true},
    {"use_parallel_residual", "use_parallel_residual", SG_KEY_BOOL, false},
    {"rope.freq_base", "rope_theta", SG_KEY_REAL, false},
    {NULL, NULL, SG_KEY_WHOLE, false},
};

/* ---- families ---- */

/* mistral comes after llama: its name in GGUF is llama's, and from a GGUF file it is told by its window. */
static const sg_gguf_family families[] = {
    {"llama", "llama", "LlamaForCausalLM", {common, neighbours, mlp}, {sizes, llama_keys}, "hidden_act", "silu"},
    {"llama", "mistral", "MistralForCausalLM", {common, neighbours, mlp}, {sizes, llama_keys}, "hidden_act", "silu"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", {common, halves, mlp}, {sizes, llama_keys}, "hidden_act", "silu"},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", {common, halves, mlp}, {sizes, llama_keys}, "hidden_act", "silu"},
    {"gpt2", "gpt2", "GPT2LMHeadModel", {gpt2}, {gpt2_keys}, "activation_function", "gelu_new"},
    {"gptneox", "gpt_neox", "GPTNeoXForCausalLM", {gpt_neox}, {sizes, gpt_neox_keys}, "hidden_act", "gelu"},
    {"gemma",
     "gemma",
     "GemmaForCausalLM",
     {common, halves, gemma},
     {sizes, llama_keys},
     "hidden_activation",
     "gelu_pytorch_tanh"},
    {"gemma2",
     "gemma2",
     "Gemma2ForCausalLM",
     {common, halves, gemma2},
     {sizes, llama_keys, gemma2_keys},
     "hidden_activation",
     "gelu_pytorch_tanh"},
    {"phi3", "phi3", "Phi3ForCausalLM", {common, phi3}, {sizes, llama_keys, phi3_keys}, "hidden_act", "silu"},
    {"olmo", "olmo", "OlmoForCausalLM", {common, neighbours, mlp}, {sizes, olmo_keys}, "hidden_act", "silu"},
    {"olmo2", "olmo2", "Olmo2ForCausalLM", {common, halves, olmo2}, {sizes, llama_keys}, "hidden_act", "silu"},
};

const sg_gguf_family *sg_gguf_family_of(const char *gguf)
{
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        if (strcmp(families[i].gguf, gguf) == 0)
            return &families[i];
    return NULL;
}

const sg_gguf_family *sg_gguf_family_for(const char *architecture, const char *model_type)
{
    for (size_t i = 0; i < SG_COUNT_OF(families); i++)
        if (architecture ? strcmp(families[i].architecture, architecture) == 0
                         : model_type && strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    return NULL;
}

void sg_gguf_families(char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < SG_COUNT_OF(families) && at < n; i++)
        if (sg_gguf_family_of(families[i].gguf) == &families[i])
            at += (size_t)snprintf(text + at, n - at, "%s%s", at ? ", " : "", families[i].gguf);
}

/* ---- names ---- */

/* Whether a name of n bytes is the pattern's, and the layer's digits in it. */
static bool fits(const char *pattern, const char *name, size_t n, const char **digits, int *n_digits)
{
    const char *percent = strstr(pattern, "%d");
    *n_digits = 0;
    *digits = name;
    if (!percent)
        return strlen(pattern) == n && memcmp(pattern, name, n) == 0;
    const size_t before = (size_t)(percent - pattern), after = strlen(percent + 2);
    if (n < before + after + 1 || memcmp(pattern, name, before) != 0 ||
        memcmp(percent + 2, name + n - after, after) != 0)
        return false;
    *digits = name + before;
    *n_digits = (int)(n - before - after);
    for (int i = 0; i < *n_digits; i++)
        if ((*digits)[i] < '0' || (*digits)[i] > '9')
            return false;
    return *n_digits <= 4;
}

static bool translate(const sg_gguf_family *f, bool to_hf, const char *name, char *out, size_t n, sg_gguf_move *move)
{
    const char *dot = strrchr(name, '.');
    if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0))
        return false;
    for (size_t k = 0; k < SG_COUNT_OF(f->names) && f->names[k]; k++)
        for (const sg_name_pair *p = f->names[k]; p->gguf; p++) {
            const char *from = to_hf ? p->gguf : p->hf, *to = to_hf ? p->hf : p->gguf, *digits;
            int n_digits;
            if (!fits(from, name, (size_t)(dot - name), &digits, &n_digits))
                continue;
            const char *percent = strstr(to, "%d");
            *move = p->move;
            const int wrote =
                percent ? snprintf(out, n, "%.*s%.*s%s%s", (int)(percent - to), to, n_digits, digits, percent + 2, dot)
                        : snprintf(out, n, "%s%s", to, dot);
            return wrote > 0 && (size_t)wrote < n;
        }
    return false;
}

bool sg_gguf_name_to_hf(const sg_gguf_family *f, const char *name, char *out, size_t n, sg_gguf_move *move)
{
    return translate(f, true, name, out, n, move);
}

bool sg_gguf_name_from_hf(const sg_gguf_family *f, const char *name, char *out, size_t n, sg_gguf_move *move)
{
    return translate(f, false, name, out, n, move);
}

sg_dim sg_gguf_row(sg_gguf_move move, const sg_gguf_heads *heads, sg_dim n, sg_dim row)
{
    if (move == SG_MOVE_QUERY || move == SG_MOVE_KEY) {
        const sg_dim width = n / (move == SG_MOVE_QUERY ? heads->n_heads : heads->n_kv_heads), at = row % width;
        return row - at + 2 * (at % (width / 2)) + at / (width / 2);
    }
    if (move == SG_MOVE_QKV) {
        const sg_dim width = n / (3 * heads->n_heads), head = row / (3 * width), part = row / width % 3;
        return (part * heads->n_heads + head) * width + row % width;
    }
    return row;
}
