#!/usr/bin/env python3
"""test/make_models/families.py: writes test/data/families/, a tiny random model of each family of decoders with reference values.

Each family is written out here in plain PyTorch and double precision, from its paper and its public description, and shares no
table with the library. A folder has config.json and weights as Hugging Face lays them out, and golden.safetensors: the tokens of
two texts, every named value of the first (f32; logits f64), the logits of the second, and of the first the loss (nats per next
token) and its gradient by hook_embed (f64). Weights are drawn wide, so that a mistake anywhere shows everywhere.
"""
import json
import math
import os
import struct
import sys

import torch

torch.set_default_dtype(torch.float64)
F = torch.nn.functional
V, CONTEXT = 43, 160
TOKENS = [7, 0, 21, 42, 5, 5, 33]
SECOND = [40, 3, 28, 11]
NAMES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32",
         torch.uint8: "U8"}


# ---- files ----

def save(path, tensors):
    header, data = {}, b""
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        t = tensors[name].detach().contiguous()
        raw = t.view(torch.int16).numpy().tobytes() if t.dtype == torch.bfloat16 else t.numpy().tobytes()
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Model:
    """A seed, a folder, weights that are stored in one type and used in double as they were rounded, and recorded values."""

    def __init__(self, seed, dtype):
        self.random = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.stored, self.w, self.sites, self.recording = {}, {}, {}, True

    def draw(self, name, *shape, mean=0.0, std=None):
        std = 1.3 / math.sqrt(shape[-1]) if std is None else std
        t = (torch.randn(*shape, generator=self.random) * std + mean).to(self.dtype)
        self.stored[name] = t
        self.w[name] = t.double()

    def matrix(self, name, *shape, bias=False):
        self.draw(name + ".weight", *shape)
        if bias:
            self.draw(name + ".bias", shape[0], std=0.4)

    def gain(self, name, n, mean=1.0, bias=False):
        self.draw(name + ".weight", n, mean=mean, std=0.3)
        if bias:
            self.draw(name + ".bias", n, std=0.3)

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        return y + self.w[name + ".bias"] if name + ".bias" in self.w else y

    def note(self, name, value):
        if self.recording:
            self.sites[name] = value
        return value


# ---- what several families have ----

def rms(x, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def layer_norm(x, eps):
    x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def plain_frequencies(n, theta):
    return torch.tensor([theta ** (-2 * k / n) for k in range(n // 2)])


def rotate_halves(x, angles, scale=1.0):
    """x [T,H,K]; the first 2 len(angles) numbers of a head are pairs (k, k + half)."""
    half = angles.shape[-1]
    a = angles[:, None, :]
    one, two, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    turned = torch.cat([one * a.cos() - two * a.sin(), two * a.cos() + one * a.sin()], -1)
    return torch.cat([turned * scale, rest], -1)


def rotate_neighbours(x, angles):
    half = angles.shape[-1]
    a = angles[:, None, :]
    z = torch.complex(x[..., 0:2 * half:2], x[..., 1:2 * half:2]) * torch.polar(torch.ones_like(a), a)
    return torch.cat([torch.view_as_real(z).flatten(-2), x[..., 2 * half:]], -1)


def see(n, window=None):
    """[T,T]: whether position i sees j."""
    return torch.tensor([[j <= i and (window is None or i - j < window) for j in range(n)] for i in range(n)])


def attend(m, at, q, k, v, scale, mask, cap=None):
    """q [T,H,K], k and v [T,G,K] -> [T,H,K], head by head."""
    group = q.shape[1] // k.shape[1]
    scores, patterns, zs = [], [], []
    for h in range(q.shape[1]):
        s = q[:, h] @ k[:, h // group].T * scale
        if cap is not None:
            s = cap * torch.tanh(s / cap)
        s = s.masked_fill(~mask, -math.inf)
        p = torch.softmax(s, -1)
        scores.append(s)
        patterns.append(p)
        zs.append(p @ v[:, h // group])
    m.note(at + "attn.hook_attn_scores", torch.stack(scores))
    m.note(at + "attn.hook_pattern", torch.stack(patterns))
    return m.note(at + "attn.hook_z", torch.stack(zs, 1))


ACTS = {"silu": F.silu, "gelu": F.gelu,
        "tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))}


def gated(m, at, gate, up, act):
    gate = m.note(at + "mlp.hook_pre", gate)
    up = m.note(at + "mlp.hook_pre_linear", up)
    return m.note(at + "mlp.hook_post", ACTS[act](gate) * up)


def split(x, n):
    return x.reshape(x.shape[0], n, -1)


# ---- llama and what came of it ----

def llama_weights(m, c, qkv_bias=False, o_bias=False, mlp_bias=False, tied=False, gain=1.0):
    d, h, g, k, f = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["intermediate_size"]
    m.draw("model.embed_tokens.weight", V, d, std=1.0)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        m.gain(at + "input_layernorm", d, mean=gain)
        m.matrix(at + "self_attn.q_proj", h * k, d, bias=qkv_bias)
        m.matrix(at + "self_attn.k_proj", g * k, d, bias=qkv_bias)
        m.matrix(at + "self_attn.v_proj", g * k, d, bias=qkv_bias)
        m.matrix(at + "self_attn.o_proj", d, h * k, bias=o_bias)
        m.gain(at + "post_attention_layernorm", d, mean=gain)
        m.matrix(at + "mlp.gate_proj", f, d, bias=mlp_bias)
        m.matrix(at + "mlp.up_proj", f, d, bias=mlp_bias)
        m.matrix(at + "mlp.down_proj", d, f, bias=mlp_bias)
    m.gain("model.norm", d, mean=gain)
    if not tied:
        m.matrix("lm_head", V, d)


def drop(m, *parts):
    for name in [n for n in m.stored if any(p in n for p in parts)]:
        del m.stored[name], m.w[name]


def llama(m, c, embed, act="silu", frequencies=None, turn_scale=1.0, windows=None, tied=False, qk=None):
    """Pre-norm blocks with grouped heads; windows: of each layer; qk: what is done to queries and keys before they turn."""
    n, h, g, k, eps = embed.shape[0], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
    f = plain_frequencies(k, c["rope_theta"]) if frequencies is None else frequencies
    angles = torch.arange(n)[:, None] * f
    x = embed
    for i in range(c["num_hidden_layers"]):
        at, w = f"blocks.{i}.", f"model.layers.{i}."
        x = m.note(at + "hook_resid_pre", x)
        y = m.note(at + "ln1.hook_normalized", rms(x, eps)) * m.w[w + "input_layernorm.weight"]
        q = m.note(at + "attn.hook_q", split(m.linear(y, w + "self_attn.q_proj"), h))
        key = m.note(at + "attn.hook_k", split(m.linear(y, w + "self_attn.k_proj"), g))
        v = m.note(at + "attn.hook_v", split(m.linear(y, w + "self_attn.v_proj"), g))
        if qk:
            q, key = qk(at, w, q, key)
        q = m.note(at + "attn.hook_rot_q", rotate_halves(q, angles, turn_scale))
        key = m.note(at + "attn.hook_rot_k", rotate_halves(key, angles, turn_scale))
        z = attend(m, at, q, key, v, 1 / math.sqrt(k), see(n, windows[i] if windows else None))
        a = m.note(at + "hook_attn_out", m.linear(z.flatten(1), w + "self_attn.o_proj"))
        x = m.note(at + "hook_resid_mid", x + a)
        y = m.note(at + "ln2.hook_normalized", rms(x, eps)) * m.w[w + "post_attention_layernorm.weight"]
        y = gated(m, at, m.linear(y, w + "mlp.gate_proj"), m.linear(y, w + "mlp.up_proj"), act)
        x = m.note(at + "hook_resid_post", x + m.note(at + "hook_mlp_out", m.linear(y, w + "mlp.down_proj")))
    x = m.note("ln_final.hook_normalized", rms(x, eps)) * m.w["model.norm.weight"]
    return x @ m.w["model.embed_tokens.weight" if tied else "lm_head.weight"].T


def llama_config(name, **more):
    c = {"architectures": [name], "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 6, "intermediate_size": 27, "vocab_size": V, "max_position_embeddings": CONTEXT, "hidden_act": "silu",
         "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False}
    c.update(more)
    return c


def make_llama():
    """Llama 2 with positions divided by 2.5 and every bias that the config knows."""
    c = llama_config("LlamaForCausalLM", attention_bias=True, mlp_bias=True, rope_scaling={"type": "linear", "factor": 2.5},
                     pretraining_tp=1)
    m = Model(1, torch.float16)
    llama_weights(m, c, qkv_bias=True, o_bias=True, mlp_bias=True)
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, frequencies=plain_frequencies(6, 10000) / 2.5)


def make_llama3():
    """Llama 3.2: tied, heads wider than their share, in two files; wavelengths above 40 / 2 positions grow eightfold, those below
    40 / 8 stay."""
    c = llama_config("LlamaForCausalLM", head_dim=8, tie_word_embeddings=True, rope_theta=300.0,
                     rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0, "high_freq_factor": 8.0,
                                   "original_max_position_embeddings": 40})
    m = Model(2, torch.bfloat16)
    llama_weights(m, c, tied=True)
    new = []
    for f in plain_frequencies(8, 300.0).tolist():
        wave = 2 * math.pi / f
        if wave > 40 / 2:
            new.append(f / 8)
        elif wave < 40 / 8:
            new.append(f)
        else:
            t = (40 / wave - 2) / (8 - 2)
            new.append((1 - t) * f / 8 + t * f)
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, frequencies=torch.tensor(new), tied=True)


def make_llama_yarn():
    c = llama_config("LlamaForCausalLM", head_dim=12, num_key_value_heads=4,
                     rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 400, "beta_fast": 8.0,
                                   "beta_slow": 1.0})
    m = Model(3, torch.float16)
    llama_weights(m, c)

    def place(turns):
        return 12 * math.log(400 / (turns * 2 * math.pi)) / (2 * math.log(10000))
    low, high = max(math.floor(place(8)), 0), min(math.ceil(place(1)), 11)
    new = []
    for k, f in enumerate(plain_frequencies(12, 10000).tolist()):
        kept = 1 - min(max((k - low) / (high - low), 0), 1)
        new.append(f / 4 * (1 - kept) + f * kept)
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, frequencies=torch.tensor(new),
                                                                turn_scale=0.1 * math.log(4) + 1)


def make_mistral():
    c = llama_config("MistralForCausalLM", sliding_window=4)
    m = Model(4, torch.float16)
    llama_weights(m, c)
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, windows=[4, 4])


def make_qwen2():
    """The second layer is windowed."""
    c = llama_config("Qwen2ForCausalLM", use_sliding_window=True, sliding_window=3, max_window_layers=1, head_dim=5 * 2)
    m = Model(5, torch.bfloat16)
    llama_weights(m, c, qkv_bias=True)
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, windows=[None, 3])


def make_qwen3():
    c = llama_config("Qwen3ForCausalLM", head_dim=8, use_sliding_window=False, sliding_window=None, max_window_layers=1,
                     attention_bias=False)
    m = Model(6, torch.bfloat16)
    llama_weights(m, c)
    for i in range(2):
        m.gain(f"model.layers.{i}.self_attn.q_norm", 8)
        m.gain(f"model.layers.{i}.self_attn.k_norm", 8)

    def qk(at, w, q, k):
        q = m.note(at + "attn.q_norm.hook_normalized", rms(q, 1e-5)) * m.w[w + "self_attn.q_norm.weight"]
        k = m.note(at + "attn.k_norm.hook_normalized", rms(k, 1e-5)) * m.w[w + "self_attn.k_norm.weight"]
        return q, k
    return m, c, "model.embed_tokens.weight", 1, lambda e: llama(m, c, e, qk=qk)


def make_gemma():
    """One key/value head; gains are 1 + weight; embeddings are scaled; tied."""
    c = llama_config("GemmaForCausalLM", hidden_size=18, num_attention_heads=3, num_key_value_heads=1, head_dim=8,
                     hidden_act="gelu", hidden_activation=None)
    del c["tie_word_embeddings"]
    m = Model(7, torch.bfloat16)
    llama_weights(m, c, tied=True, gain=0.0)
    once = dict(m.w)
    for name in m.w:
        if "norm" in name:
            once[name] = 1 + m.w[name]
    m.w = once
    return m, c, "model.embed_tokens.weight", math.sqrt(18), lambda e: llama(m, c, e, act="tanh", tied=True)


def make_gemma2():
    c = llama_config("Gemma2ForCausalLM", hidden_size=18, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                     head_dim=6, intermediate_size=21, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=11,
                     attn_logit_softcapping=2.0, final_logit_softcapping=3.0, sliding_window=4)
    del c["tie_word_embeddings"]
    m = Model(8, torch.bfloat16)
    llama_weights(m, c, tied=True, gain=0.0)
    for i in range(3):
        m.gain(f"model.layers.{i}.pre_feedforward_layernorm", 18, mean=0.0)
        m.gain(f"model.layers.{i}.post_feedforward_layernorm", 18, mean=0.0)

    def run(x):
        n = x.shape[0]
        angles = torch.arange(n)[:, None] * plain_frequencies(6, 10000)
        for i in range(3):
            at, w = f"blocks.{i}.", f"model.layers.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", rms(x, 1e-5)) * (1 + m.w[w + "input_layernorm.weight"])
            q = m.note(at + "attn.hook_q", split(m.linear(y, w + "self_attn.q_proj"), 4))
            k = m.note(at + "attn.hook_k", split(m.linear(y, w + "self_attn.k_proj"), 2))
            v = m.note(at + "attn.hook_v", split(m.linear(y, w + "self_attn.v_proj"), 2))
            q = m.note(at + "attn.hook_rot_q", rotate_halves(q, angles))
            k = m.note(at + "attn.hook_rot_k", rotate_halves(k, angles))
            z = attend(m, at, q, k, v, 11 ** -0.5, see(n, 4 if i % 2 == 0 else None), cap=2.0)
            a = m.linear(z.flatten(1), w + "self_attn.o_proj")
            a = m.note(at + "ln1_post.hook_normalized", rms(a, 1e-5)) * (1 + m.w[w + "post_attention_layernorm.weight"])
            x = m.note(at + "hook_resid_mid", x + m.note(at + "hook_attn_out", a))
            y = m.note(at + "ln2.hook_normalized", rms(x, 1e-5)) * (1 + m.w[w + "pre_feedforward_layernorm.weight"])
            y = gated(m, at, m.linear(y, w + "mlp.gate_proj"), m.linear(y, w + "mlp.up_proj"), "tanh")
            y = m.linear(y, w + "mlp.down_proj")
            y = m.note(at + "ln2_post.hook_normalized", rms(y, 1e-5)) * (1 + m.w[w + "post_feedforward_layernorm.weight"])
            x = m.note(at + "hook_resid_post", x + m.note(at + "hook_mlp_out", y))
        x = m.note("ln_final.hook_normalized", rms(x, 1e-5)) * (1 + m.w["model.norm.weight"])
        return 3.0 * torch.tanh(x @ m.w["model.embed_tokens.weight"].T / 3.0)
    return m, c, "model.embed_tokens.weight", math.sqrt(18), run


def make_phi3():
    """Fused matrices; 6 of 8 numbers of a head turn; the first text is longer than 5 tokens and long, the second short."""
    short, long = [1.0, 1.3, 2.0], [1.5, 3.0, 9.0]
    c = llama_config("Phi3ForCausalLM", head_dim=8, partial_rotary_factor=0.75, original_max_position_embeddings=5,
                     rope_scaling={"type": "longrope", "short_factor": short, "long_factor": long}, sliding_window=6,
                     resid_pdrop=0.0, embd_pdrop=0.0)
    m = Model(9, torch.bfloat16)
    llama_weights(m, c)
    drop(m, "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    for i in range(2):
        m.matrix(f"model.layers.{i}.self_attn.qkv_proj", (4 + 2 + 2) * 8, 20)
        m.matrix(f"model.layers.{i}.mlp.gate_up_proj", 2 * 27, 20)

    def run(x):
        n = x.shape[0]
        scale = math.sqrt(1 + math.log(CONTEXT / 5) / math.log(5))
        angles = torch.arange(n)[:, None] * plain_frequencies(6, 10000) / torch.tensor(long if n > 5 else short)
        for i in range(2):
            at, w = f"blocks.{i}.", f"model.layers.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", rms(x, 1e-5)) * m.w[w + "input_layernorm.weight"]
            q, k, v = m.linear(y, w + "self_attn.qkv_proj").split([32, 16, 16], -1)
            q = m.note(at + "attn.hook_q", split(q, 4))
            k = m.note(at + "attn.hook_k", split(k, 2))
            v = m.note(at + "attn.hook_v", split(v, 2))
            q = m.note(at + "attn.hook_rot_q", rotate_halves(q, angles, scale))
            k = m.note(at + "attn.hook_rot_k", rotate_halves(k, angles, scale))
            z = attend(m, at, q, k, v, 8 ** -0.5, see(n, 6))
            a = m.note(at + "hook_attn_out", m.linear(z.flatten(1), w + "self_attn.o_proj"))
            x = m.note(at + "hook_resid_mid", x + a)
            y = m.note(at + "ln2.hook_normalized", rms(x, 1e-5)) * m.w[w + "post_attention_layernorm.weight"]
            gate, up = m.linear(y, w + "mlp.gate_up_proj").chunk(2, -1)
            y = gated(m, at, gate, up, "silu")
            x = m.note(at + "hook_resid_post", x + m.note(at + "hook_mlp_out", m.linear(y, w + "mlp.down_proj")))
        x = m.note("ln_final.hook_normalized", rms(x, 1e-5)) * m.w["model.norm.weight"]
        return m.linear(x, "lm_head")
    return m, c, "model.embed_tokens.weight", 1, run


def make_olmo():
    """Norms without weights; queries, keys and values clipped."""
    c = llama_config("OlmoForCausalLM", hidden_size=24, num_key_value_heads=4, clip_qkv=0.8, attention_bias=False)
    del c["rms_norm_eps"]
    m = Model(10, torch.float32)
    llama_weights(m, c)
    drop(m, "norm")

    def run(x):
        n = x.shape[0]
        angles = torch.arange(n)[:, None] * plain_frequencies(6, 10000)
        for i in range(2):
            at, w = f"blocks.{i}.", f"model.layers.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", layer_norm(x, 1e-5))
            q = m.note(at + "attn.hook_q", split(m.linear(y, w + "self_attn.q_proj").clamp(-0.8, 0.8), 4))
            k = m.note(at + "attn.hook_k", split(m.linear(y, w + "self_attn.k_proj").clamp(-0.8, 0.8), 4))
            v = m.note(at + "attn.hook_v", split(m.linear(y, w + "self_attn.v_proj").clamp(-0.8, 0.8), 4))
            q = m.note(at + "attn.hook_rot_q", rotate_halves(q, angles))
            k = m.note(at + "attn.hook_rot_k", rotate_halves(k, angles))
            z = attend(m, at, q, k, v, 6 ** -0.5, see(n))
            x = m.note(at + "hook_resid_mid", x + m.note(at + "hook_attn_out", m.linear(z.flatten(1), w + "self_attn.o_proj")))
            y = m.note(at + "ln2.hook_normalized", layer_norm(x, 1e-5))
            y = gated(m, at, m.linear(y, w + "mlp.gate_proj"), m.linear(y, w + "mlp.up_proj"), "silu")
            x = m.note(at + "hook_resid_post", x + m.note(at + "hook_mlp_out", m.linear(y, w + "mlp.down_proj")))
        return m.linear(m.note("ln_final.hook_normalized", layer_norm(x, 1e-5)), "lm_head")
    return m, c, "model.embed_tokens.weight", 1, run


def make_olmo2():
    c = llama_config("Olmo2ForCausalLM", rope_theta=500000.0, rms_norm_eps=1e-6)
    m = Model(11, torch.bfloat16)
    llama_weights(m, c)
    drop(m, "input_layernorm")
    for i in range(2):
        m.gain(f"model.layers.{i}.post_feedforward_layernorm", 20)
        m.gain(f"model.layers.{i}.self_attn.q_norm", 24)
        m.gain(f"model.layers.{i}.self_attn.k_norm", 12)

    def run(x):
        n = x.shape[0]
        angles = torch.arange(n)[:, None] * plain_frequencies(6, 500000)
        for i in range(2):
            at, w = f"blocks.{i}.", f"model.layers.{i}."
            x = m.note(at + "hook_resid_pre", x)
            q, k = m.linear(x, w + "self_attn.q_proj"), m.linear(x, w + "self_attn.k_proj")
            m.note(at + "attn.hook_q", split(q, 4))
            m.note(at + "attn.hook_k", split(k, 2))
            v = m.note(at + "attn.hook_v", split(m.linear(x, w + "self_attn.v_proj"), 2))
            q = m.note(at + "attn.q_norm.hook_normalized", rms(q, 1e-6)) * m.w[w + "self_attn.q_norm.weight"]
            k = m.note(at + "attn.k_norm.hook_normalized", rms(k, 1e-6)) * m.w[w + "self_attn.k_norm.weight"]
            q = m.note(at + "attn.hook_rot_q", rotate_halves(split(q, 4), angles))
            k = m.note(at + "attn.hook_rot_k", rotate_halves(split(k, 2), angles))
            z = attend(m, at, q, k, v, 6 ** -0.5, see(n))
            a = m.note(at + "ln1_post.hook_normalized", rms(m.linear(z.flatten(1), w + "self_attn.o_proj"), 1e-6))
            a = m.note(at + "hook_attn_out", a * m.w[w + "post_attention_layernorm.weight"])
            x = m.note(at + "hook_resid_mid", x + a)
            y = gated(m, at, m.linear(x, w + "mlp.gate_proj"), m.linear(x, w + "mlp.up_proj"), "silu")
            y = m.note(at + "ln2_post.hook_normalized", rms(m.linear(y, w + "mlp.down_proj"), 1e-6))
            y = m.note(at + "hook_mlp_out", y * m.w[w + "post_feedforward_layernorm.weight"])
            x = m.note(at + "hook_resid_post", x + y)
        x = m.note("ln_final.hook_normalized", rms(x, 1e-6)) * m.w["model.norm.weight"]
        return m.linear(x, "lm_head")
    return m, c, "model.embed_tokens.weight", 1, run


# ---- gpt2, gpt_neox, gptj ----

def affine(m, x, name):
    return layer_norm(x, 1e-5) * m.w[name + ".weight"] + m.w[name + ".bias"]


def make_gpt2():
    """Matrices lie [in,out]; scores are divided by the layer's number too; old files carry their masks along."""
    d, h, f = 24, 3, 31
    c = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": d, "n_layer": 2, "n_head": h, "n_inner": f,
         "vocab_size": V, "n_positions": 80, "n_ctx": 80, "layer_norm_epsilon": 1e-5,
         "activation_function": "gelu_new", "scale_attn_by_inverse_layer_idx": True, "resid_pdrop": 0.1}
    m = Model(12, torch.float16)
    m.draw("wte.weight", V, d, std=1.0)
    m.draw("wpe.weight", 80, d, std=0.7)
    masks = {}
    for i in range(2):
        at = f"h.{i}."
        m.gain(at + "ln_1", d, bias=True)
        m.gain(at + "ln_2", d, bias=True)
        for name, into, out in (("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, f), ("mlp.c_proj", f, d)):
            m.draw(at + name + ".weight", into, out, std=1.3 / math.sqrt(into))
            m.draw(at + name + ".bias", out, std=0.4)
        masks[at + "attn.bias"] = torch.ones(1, 1, 2, 2)
    m.gain("ln_f", d, bias=True)

    def run(x):
        n = x.shape[0]
        x = x + m.note("hook_pos_embed", m.w["wpe.weight"][:n])
        for i in range(2):
            at, w = f"blocks.{i}.", f"h.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", affine(m, x, w + "ln_1"))
            q, k, v = (y @ m.w[w + "attn.c_attn.weight"] + m.w[w + "attn.c_attn.bias"]).chunk(3, -1)
            q = m.note(at + "attn.hook_q", split(q, h))
            k = m.note(at + "attn.hook_k", split(k, h))
            v = m.note(at + "attn.hook_v", split(v, h))
            z = attend(m, at, q, k, v, 1 / math.sqrt(8) / (i + 1), see(n))
            a = z.flatten(1) @ m.w[w + "attn.c_proj.weight"] + m.w[w + "attn.c_proj.bias"]
            x = m.note(at + "hook_resid_mid", x + m.note(at + "hook_attn_out", a))
            y = m.note(at + "ln2.hook_normalized", affine(m, x, w + "ln_2"))
            y = m.note(at + "mlp.hook_pre", y @ m.w[w + "mlp.c_fc.weight"] + m.w[w + "mlp.c_fc.bias"])
            y = m.note(at + "mlp.hook_post", ACTS["tanh"](y))
            y = m.note(at + "hook_mlp_out", y @ m.w[w + "mlp.c_proj.weight"] + m.w[w + "mlp.c_proj.bias"])
            x = m.note(at + "hook_resid_post", x + y)
        return m.note("ln_final.hook_normalized", affine(m, x, "ln_f")) @ m.w["wte.weight"].T
    m.stored.update(masks)
    m.stored = {"transformer." + name: t for name, t in m.stored.items()}
    return m, c, "wte.weight", 1, run


def make_gpt_neox(parallel=True, seed=13):
    d, h, f = 24, 3, 31
    c = {"architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "hidden_size": d, "num_hidden_layers": 2,
         "num_attention_heads": h, "intermediate_size": f, "vocab_size": V, "max_position_embeddings": CONTEXT,
         "hidden_act": "gelu", "layer_norm_eps": 1e-5, "rotary_pct": 0.5, "rotary_emb_base": 10000,
         "use_parallel_residual": parallel, "tie_word_embeddings": False}
    m = Model(seed, torch.float16)
    m.draw("gpt_neox.embed_in.weight", V, d, std=1.0)
    for i in range(2):
        at = f"gpt_neox.layers.{i}."
        m.gain(at + "input_layernorm", d, bias=True)
        m.gain(at + "post_attention_layernorm", d, bias=True)
        m.matrix(at + "attention.query_key_value", 3 * d, d, bias=True)
        m.matrix(at + "attention.dense", d, d, bias=True)
        m.matrix(at + "mlp.dense_h_to_4h", f, d, bias=True)
        m.matrix(at + "mlp.dense_4h_to_h", d, f, bias=True)
        m.stored[at + "attention.rotary_emb.inv_freq"] = torch.ones(2, dtype=torch.float16)
    m.gain("gpt_neox.final_layer_norm", d, bias=True)
    m.draw("embed_out.weight", V, d)

    def run(x):
        n = x.shape[0]
        angles = torch.arange(n)[:, None] * plain_frequencies(4, 10000)
        for i in range(2):
            at, w = f"blocks.{i}.", f"gpt_neox.layers.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", affine(m, x, w + "input_layernorm"))
            q, k, v = m.linear(y, w + "attention.query_key_value").reshape(n, h, 3, 8).unbind(2)
            q = m.note(at + "attn.hook_q", q)
            k = m.note(at + "attn.hook_k", k)
            v = m.note(at + "attn.hook_v", v)
            q = m.note(at + "attn.hook_rot_q", rotate_halves(q, angles))
            k = m.note(at + "attn.hook_rot_k", rotate_halves(k, angles))
            z = attend(m, at, q, k, v, 1 / math.sqrt(8), see(n))
            a = m.note(at + "hook_attn_out", m.linear(z.flatten(1), w + "attention.dense"))
            read = x if parallel else m.note(at + "hook_resid_mid", x + a)
            y = m.note(at + "ln2.hook_normalized", affine(m, read, w + "post_attention_layernorm"))
            y = m.note(at + "mlp.hook_pre", m.linear(y, w + "mlp.dense_h_to_4h"))
            y = m.note(at + "mlp.hook_post", F.gelu(y))
            y = m.note(at + "hook_mlp_out", m.linear(y, w + "mlp.dense_4h_to_h"))
            x = m.note(at + "hook_resid_post", x + a + y)
        x = m.note("ln_final.hook_normalized", affine(m, x, "gpt_neox.final_layer_norm"))
        return m.linear(x, "embed_out")
    return m, c, "gpt_neox.embed_in.weight", 1, run


def make_gptj():
    d, h = 24, 3
    c = {"architectures": ["GPTJForCausalLM"], "model_type": "gptj", "n_embd": d, "n_layer": 2, "n_head": h, "n_inner": None,
         "vocab_size": V, "n_positions": CONTEXT, "rotary_dim": 6, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
         "tie_word_embeddings": False, "rotary": True}
    m = Model(15, torch.bfloat16)
    m.draw("transformer.wte.weight", V, d, std=1.0)
    for i in range(2):
        at = f"transformer.h.{i}."
        m.gain(at + "ln_1", d, bias=True)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            m.matrix(at + "attn." + name, d, d)
        m.matrix(at + "mlp.fc_in", 4 * d, d, bias=True)
        m.matrix(at + "mlp.fc_out", d, 4 * d, bias=True)
        m.stored[at + "attn.masked_bias"] = torch.tensor(-1e9).bfloat16()
    m.gain("transformer.ln_f", d, bias=True)
    m.matrix("lm_head", V, d, bias=True)

    def run(x):
        n = x.shape[0]
        angles = torch.arange(n)[:, None] * plain_frequencies(6, 10000)
        for i in range(2):
            at, w = f"blocks.{i}.", f"transformer.h.{i}."
            x = m.note(at + "hook_resid_pre", x)
            y = m.note(at + "ln1.hook_normalized", affine(m, x, w + "ln_1"))
            q = m.note(at + "attn.hook_q", split(m.linear(y, w + "attn.q_proj"), h))
            k = m.note(at + "attn.hook_k", split(m.linear(y, w + "attn.k_proj"), h))
            v = m.note(at + "attn.hook_v", split(m.linear(y, w + "attn.v_proj"), h))
            q = m.note(at + "attn.hook_rot_q", rotate_neighbours(q, angles))
            k = m.note(at + "attn.hook_rot_k", rotate_neighbours(k, angles))
            z = attend(m, at, q, k, v, 1 / math.sqrt(8), see(n))
            a = m.note(at + "hook_attn_out", m.linear(z.flatten(1), w + "attn.out_proj"))
            y = m.note(at + "mlp.hook_pre", m.linear(y, w + "mlp.fc_in"))
            y = m.note(at + "mlp.hook_post", ACTS["tanh"](y))
            y = m.note(at + "hook_mlp_out", m.linear(y, w + "mlp.fc_out"))
            x = m.note(at + "hook_resid_post", a + y + x)
        return m.linear(m.note("ln_final.hook_normalized", affine(m, x, "transformer.ln_f")), "lm_head")
    return m, c, "transformer.wte.weight", 1, run


# ---- all of them ----

FAMILIES = {
    "gpt2": make_gpt2, "llama": make_llama, "llama3": make_llama3, "llama_yarn": make_llama_yarn, "mistral": make_mistral,
    "qwen2": make_qwen2, "qwen3": make_qwen3, "gpt_neox": make_gpt_neox,
    "gpt_neox_serial": lambda: make_gpt_neox(False, 14), "gptj": make_gptj, "gemma": make_gemma, "gemma2": make_gemma2,
    "phi3": make_phi3, "olmo": make_olmo, "olmo2": make_olmo2,
}


def write(folder, name):
    m, config, table, scale, run = FAMILIES[name]()
    golden = {}
    for key, tokens in (("", TOKENS), ("second.", SECOND)):
        m.recording = key == ""
        embed = m.note("hook_embed", (m.w[table][tokens] * scale).detach().requires_grad_())
        logits = run(embed)
        golden[key + "tokens"] = torch.tensor(tokens, dtype=torch.int32)
        golden[key + "logits"] = logits
        if m.recording:
            loss = -torch.log_softmax(logits[:-1], -1)[range(len(tokens) - 1), tokens[1:]].mean()
            golden["loss"] = loss.detach()
            golden["loss by hook_embed"] = torch.autograd.grad(loss, embed)[0]
    golden.update({site: value.float() for site, value in m.sites.items()})
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    if name == "llama3":
        names = list(m.stored)
        parts = [names[:len(names) // 2], names[len(names) // 2:]]
        files = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
        for part, file in zip(parts, files):
            save(os.path.join(folder, file), {n: m.stored[n] for n in part})
        index = {"metadata": {}, "weight_map": {n: f for part, f in zip(parts, files) for n in part}}
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump(index, f, indent=0)
            f.write("\n")
    else:
        save(os.path.join(folder, "model.safetensors"), m.stored)
    save(os.path.join(folder, "golden.safetensors"), golden)


if __name__ == "__main__":
    to = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../data/families")
    for family in FAMILIES:
        write(os.path.join(to, family), family)
