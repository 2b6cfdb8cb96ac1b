#!/usr/bin/env python3
"""test/make_models/gguf.py: writes test/data/gguf/, GGUF files by an independent hand.

The models of test/data/families/ as GGUF files, by the names, keys and orders of rows that the format's users agree on, written here a
second time from their description; types.gguf, with blocks of random bytes of every packed type beside their numbers by a decoder of
our own (types.safetensors); and packed.gguf, a Llama whose matrices are packed in six ways, with its logits by a forward pass in
numpy over the decoded weights (packed.safetensors). Needs numpy alone; shares nothing with the library.
"""
import json
import math
import os
import struct
import sys

import numpy as np

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_NL, BF16 = 0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 20, 30
SIZES = {F32: (1, 4), F16: (1, 2), BF16: (1, 2), Q4_0: (32, 18), Q4_1: (32, 20), Q5_0: (32, 22), Q5_1: (32, 24), Q8_0: (32, 34),
         Q4_K: (256, 144), Q5_K: (256, 176), Q6_K: (256, 210), IQ4_NL: (32, 18)}
TYPES = {"q8_0": Q8_0, "q4_0": Q4_0, "q4_1": Q4_1, "q5_0": Q5_0, "q5_1": Q5_1, "q4_k": Q4_K, "q5_k": Q5_K, "q6_k": Q6_K,
         "iq4_nl": IQ4_NL}


# ---- files ----

def text(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(b)) + b


def value(x):
    """The type's number and the bytes of a value."""
    if isinstance(x, bool):
        return struct.pack("<IB", 7, x)
    if isinstance(x, int):
        return struct.pack("<II", 4, x)
    if isinstance(x, float):
        return struct.pack("<If", 6, x)
    if isinstance(x, str):
        return struct.pack("<I", 8) + text(x)
    if isinstance(x[0], str):
        return struct.pack("<IIQ", 9, 8, len(x)) + b"".join(text(s) for s in x)
    return struct.pack("<IIQ", 9, 6, len(x)) + np.asarray(x, "<f4").tobytes()


def write(path, keys, tensors):
    """tensors: name -> (type, shape outermost first, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(text(k) + value(x) for k, x in keys.items())
    data = b""
    for name, (kind, shape, raw) in tensors.items():
        block, size = SIZES[kind]
        assert len(raw) == int(np.prod(shape)) // block * size, name
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape))
        head += struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 32)
    head += bytes(-len(head) % 32)
    with open(path, "wb") as f:
        f.write(head + data)


def safetensors(path, tensors):
    header, data = {}, b""
    for name, x in tensors.items():
        kind = {"float32": "F32", "float64": "F64", "int32": "I32"}[str(x.dtype)]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
        data += np.ascontiguousarray(x).tobytes()
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


def load(folder):
    """name -> (GGUF type, array of the stored bits or floats)."""
    out = {}
    for file in sorted(os.listdir(folder)):
        if not file.startswith("model") or not file.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, file), "rb") as f:
            b = f.read()
        n = struct.unpack("<Q", b[:8])[0]
        for name, t in json.loads(b[8:8 + n]).items():
            if name == "__metadata__" or t["dtype"] not in ("F32", "F16", "BF16"):  # masks that old files carry
                continue
            raw = b[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
            kind, dtype = {"F32": (F32, "<f4"), "F16": (F16, "<f2"), "BF16": (BF16, "<u2")}[t["dtype"]]
            out[name] = (kind, np.frombuffer(raw, dtype).reshape(t["shape"]))
    return out


def floats(kind, x):
    return (x.astype(np.uint32) << 16).view(np.float32) if kind == BF16 else x.astype(np.float32)


# ---- models ----

def neighbours(x, heads):
    """Rows of each head, first half and second half, become pairs side by side."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def parts(x, heads):
    """Rows q k v of each head become all q, all k, all v."""
    return x.reshape(heads, 3, x.shape[0] // heads // 3, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


LLAMA = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
         "input_layernorm": "attn_norm"}
AFTER = {"gemma2": {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                    "post_feedforward_layernorm": "post_ffw_norm"},
         "olmo2": {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}}
NEOX = {"attention.query_key_value": "attn_qkv", "attention.dense": "attn_output", "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
GPT2 = {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "ln_1": "attn_norm",
        "ln_2": "ffn_norm"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "gpt_neox.embed_in": "token_embd",
           "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output", "transformer.wte": "token_embd",
           "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "wte": "token_embd", "wpe": "position_embd",
           "ln_f": "output_norm"}


def rename(arch, name):
    base, end = name.rsplit(".", 1)
    if base in OUTSIDE:
        return OUTSIDE[base] + "." + end
    for lead, table in (("model.layers.", {**LLAMA, **AFTER.get(arch, {"post_attention_layernorm": "ffn_norm"})}),
                        ("gpt_neox.layers.", NEOX), ("transformer.h.", GPT2), ("h.", GPT2)):
        if base.startswith(lead):
            layer, rest = base[len(lead):].split(".", 1)
            return "blk.%s.%s.%s" % (layer, table[rest], end)
    raise KeyError(name)


def keys_of(arch, c):
    neox, gpt2 = arch == "gptneox", arch == "gpt2"
    heads = c["n_head"] if gpt2 else c["num_attention_heads"]
    width = c["n_embd"] if gpt2 else c["hidden_size"]
    head = c.get("head_dim", width // heads)
    k = {"context_length": c["n_positions"] if gpt2 else c["max_position_embeddings"], "embedding_length": width,
         "block_count": c["n_layer"] if gpt2 else c["num_hidden_layers"],
         "feed_forward_length": c["n_inner"] if gpt2 else c["intermediate_size"], "attention.head_count": heads}
    if gpt2 or neox or arch == "olmo":
        k["attention.layer_norm_epsilon"] = float(c.get("layer_norm_epsilon", c.get("layer_norm_eps", 1e-5)))
    else:
        k["attention.layer_norm_rms_epsilon"] = float(c["rms_norm_eps"])
    if gpt2:
        return k
    if neox:
        k["rope.dimension_count"] = int(head * c["rotary_pct"])
        k["use_parallel_residual"] = c["use_parallel_residual"]
        return k
    k["attention.head_count_kv"] = c["num_key_value_heads"]
    k["attention.key_length"] = k["attention.value_length"] = head
    k["rope.dimension_count"] = int(head * c.get("partial_rotary_factor", 1))
    k["rope.freq_base"] = float(c["rope_theta"])
    if c.get("sliding_window") and arch != "qwen2":
        k["attention.sliding_window"] = c["sliding_window"]
    if "clip_qkv" in c:
        k["attention.clamp_kqv"] = float(c["clip_qkv"])
    if arch == "gemma2":
        k["attn_logit_softcapping"] = c["attn_logit_softcapping"]
        k["final_logit_softcapping"] = c["final_logit_softcapping"]
        k["attention.query_pre_attn_scalar"] = float(c["query_pre_attn_scalar"])
    rope = c.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type"))
    if kind in ("linear", "yarn"):
        k["rope.scaling.type"] = kind
        k["rope.scaling.factor"] = float(rope["factor"])
    if kind == "yarn":
        k["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
        k["rope.scaling.yarn_beta_fast"] = rope["beta_fast"]
        k["rope.scaling.yarn_beta_slow"] = rope["beta_slow"]
    if kind == "longrope":
        short = c["original_max_position_embeddings"]
        k["rope.scaling.original_context_length"] = short
        k["rope.scaling.attn_factor"] = math.sqrt(1 + math.log(c["max_position_embeddings"] / short) / math.log(short))
    return k


def factors(c):
    """Tensors of what rotary angles are divided by."""
    rope = c.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type"))
    if kind == "longrope":
        return {"rope_factors_short.weight": rope["short_factor"], "rope_factors_long.weight": rope["long_factor"]}
    if kind != "llama3":
        return {}
    head, out = c["head_dim"], []
    for i in range(head // 2):
        wave = 2 * math.pi * c["rope_theta"] ** (2 * i / head)
        low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
        high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
        smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"])
        out.append(1.0 if wave < high else rope["factor"] if wave > low else 1 / ((1 - smooth) / rope["factor"] + smooth))
    return {"rope_freqs.weight": out}


def convert(folder, to):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    arch = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3",
            "GPT2LMHeadModel": "gpt2", "GPTNeoXForCausalLM": "gptneox", "GemmaForCausalLM": "gemma", "Gemma2ForCausalLM": "gemma2",
            "Phi3ForCausalLM": "phi3", "OlmoForCausalLM": "olmo", "Olmo2ForCausalLM": "olmo2"}[c["architectures"][0]]
    heads = c.get("num_attention_heads", c.get("n_head"))
    keys = {"general.architecture": arch, "general.name": os.path.basename(folder)}
    keys.update({"%s.%s" % (arch, k): x for k, x in keys_of(arch, c).items()})
    tensors = {}
    for name, (kind, x) in load(folder).items():
        if "rotary_emb" in name or name.endswith(".attn.bias") or name.endswith("masked_bias"):
            continue
        own = rename(arch, name)
        if arch in ("llama", "olmo") and ".attn_q." in own:
            x = neighbours(x, heads)
        if arch in ("llama", "olmo") and ".attn_k." in own:
            x = neighbours(x, c["num_key_value_heads"])
        if arch == "gptneox" and ".attn_qkv." in own:
            x = parts(x, heads)
        if arch == "gpt2" and x.ndim == 2 and own.startswith("blk."):
            x = x.T
        if x.ndim == 1:
            x, kind = floats(kind, x) + np.float32(1 if arch.startswith("gemma") and "norm" in own else 0), F32
        tensors[own] = (kind, x.shape, np.ascontiguousarray(x).tobytes())
    for name, x in factors(c).items():
        tensors[name] = (F32, (len(x),), np.asarray(x, "<f4").tobytes())
    write(to, keys, tensors)


# ---- packed types ----

def halves(raw):
    return raw.view("<f2").astype(np.float32)


LEVELS = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def decode(kind, raw):
    """Blocks of bytes [n, size] to numbers [n, block], in f32 and in the order of operations that users agree on."""
    n = len(raw)
    f = np.float32

    def nibbles(q):
        return np.concatenate([q & 15, q >> 4], axis=1).astype(np.int32)

    def fifth(h):
        return np.unpackbits(h, axis=1, bitorder="little").astype(np.int32) << 4

    d = halves(np.ascontiguousarray(raw[:, :2]))
    if kind == Q8_0:
        return d * raw[:, 2:].view(np.int8).astype(f)
    if kind == Q4_0:
        return d * (nibbles(raw[:, 2:]) - 8).astype(f)
    if kind == IQ4_NL:
        return d * LEVELS[nibbles(raw[:, 2:])]
    if kind == Q5_0:
        return d * ((nibbles(raw[:, 6:]) | fifth(raw[:, 2:6])) - 16).astype(f)
    m = halves(np.ascontiguousarray(raw[:, 2:4]))
    if kind == Q4_1:
        return d * nibbles(raw[:, 4:]).astype(f) + m
    if kind == Q5_1:
        return d * (nibbles(raw[:, 8:]) | fifth(raw[:, 4:8])).astype(f) + m
    if kind == Q6_K:
        out = np.zeros((n, 256), f)
        d = halves(np.ascontiguousarray(raw[:, 208:210]))
        scales = raw[:, 192:208].view(np.int8)
        for half in range(2):
            low, high = raw[:, half * 64:half * 64 + 64], raw[:, 128 + half * 32:160 + half * 32]
            q = [low[:, :32] & 15 | (high & 3) << 4, low[:, 32:] & 15 | (high >> 2 & 3) << 4,
                 low[:, :32] >> 4 | (high >> 4 & 3) << 4, low[:, 32:] >> 4 | (high >> 6) << 4]
            for k in range(4):
                for part in range(2):
                    s = scales[:, half * 8 + k * 2 + part:half * 8 + k * 2 + part + 1].astype(f)
                    at = half * 128 + k * 32 + part * 16
                    out[:, at:at + 16] = d * s * (q[k][:, part * 16:part * 16 + 16].astype(np.int32) - 32).astype(f)
        return out
    s = raw[:, 4:16].astype(np.int32)
    out = np.zeros((n, 256), f)
    for g in range(8):
        if g < 4:
            scale, low = s[:, g] & 63, s[:, g + 4] & 63
        else:
            scale, low = s[:, g + 4] & 15 | s[:, g - 4] >> 6 << 4, s[:, g + 4] >> 4 | s[:, g] >> 6 << 4
        at = (16 if kind == Q4_K else 48) + g // 2 * 32
        q = (raw[:, at:at + 32] >> (4 * (g % 2)) & 15).astype(np.int32)
        if kind == Q5_K:
            q |= (raw[:, 16:48] >> g & 1).astype(np.int32) << 4
        out[:, g * 32:g * 32 + 32] = d * scale[:, None].astype(f) * q.astype(f) - m * low[:, None].astype(f)
    return out


def blocks(random, kind, n, size=0.02):
    """n random blocks whose numbers are of about this size."""
    block, bytes_each = SIZES[kind]
    raw = random.integers(0, 256, (n, bytes_each), dtype=np.uint8)
    reach = {Q8_0: 73, Q4_0: 4.6, Q4_1: 9, Q5_0: 9.2, Q5_1: 18, Q4_K: 300, Q5_K: 600, Q6_K: 1400, IQ4_NL: 68}[kind]
    scale = (size / reach * random.uniform(0.7, 1.4, n)).astype("<f2").reshape(n, 1)
    raw[:, (208 if kind == Q6_K else 0):(210 if kind == Q6_K else 2)] = scale.view(np.uint8)
    if kind in (Q4_1, Q5_1):
        raw[:, 2:4] = (-8 * scale.astype(np.float32) * (2 if kind == Q5_1 else 1)).astype("<f2").view(np.uint8)
    if kind in (Q4_K, Q5_K):
        raw[:, 2:4] = (8 * scale.astype(np.float32) * (2 if kind == Q5_K else 1)).astype("<f2").view(np.uint8)
    return raw


def types(to):
    random = np.random.default_rng(11)
    tensors, numbers = {}, {}
    for name, kind in TYPES.items():
        block = SIZES[kind][0]
        raw = blocks(random, kind, 512 // block)
        tensors[name] = (kind, (1, 512), raw.tobytes())
        numbers[name] = decode(kind, raw).reshape(1, 512)
    write(to + ".gguf", {"general.architecture": "none"}, tensors)
    safetensors(to + ".safetensors", numbers)


def packed(to):
    """A Llama of width 32: its matrices packed, its logits in double."""
    random = np.random.default_rng(12)
    width, heads, kv, head, hidden, vocab, layers = 32, 4, 2, 8, 64, 43, 2
    kinds = [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL]
    tensors, w, count = {}, {}, 0
    shapes = {"token_embd": (vocab, width), "output": (vocab, width)}
    for i in range(layers):
        shapes.update({"blk.%d.attn_q" % i: (heads * head, width), "blk.%d.attn_k" % i: (kv * head, width),
                       "blk.%d.attn_v" % i: (kv * head, width), "blk.%d.attn_output" % i: (width, heads * head),
                       "blk.%d.ffn_gate" % i: (hidden, width), "blk.%d.ffn_up" % i: (hidden, width),
                       "blk.%d.ffn_down" % i: (width, hidden)})
    for name, shape in shapes.items():
        kind = kinds[count % len(kinds)]
        count += 1
        raw = blocks(random, kind, shape[0] * shape[1] // 32, 1.0 if name == "token_embd" else 1.3 / math.sqrt(shape[1]))
        tensors[name + ".weight"] = (kind, shape, raw.tobytes())
        w[name] = decode(kind, raw).reshape(shape).astype(np.float64)
    norms = ["output_norm"] + ["blk.%d.%s" % (i, n) for i in range(layers) for n in ("attn_norm", "ffn_norm")]
    for name in norms:
        x = random.normal(1, 0.3, width).astype("<f4")
        tensors[name + ".weight"] = (F32, (width,), x.tobytes())
        w[name] = x.astype(np.float64)
    write(to + ".gguf",
          {"general.architecture": "llama", "llama.context_length": 64, "llama.embedding_length": width, "llama.block_count": layers,
           "llama.feed_forward_length": hidden, "llama.attention.head_count": heads, "llama.attention.head_count_kv": kv,
           "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.dimension_count": head}, tensors)

    tokens = np.array([7, 0, 21, 42, 5, 5, 33], np.int32)
    eps = float(np.float32(1e-5))

    def rms(x, gain):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain

    def turn(x):
        """[T, heads, head]: numbers 2i and 2i + 1 turn together, as rows lie in such a file."""
        angle = np.arange(len(x))[:, None, None] * 10000.0 ** (-2 * np.arange(head // 2) / head)
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1).reshape(x.shape)

    x = w["token_embd"][tokens]
    t = len(tokens)
    for i in range(layers):
        b = "blk.%d." % i
        n = rms(x, w[b + "attn_norm"])
        q = turn((n @ w[b + "attn_q"].T).reshape(t, heads, head))
        k = turn((n @ w[b + "attn_k"].T).reshape(t, kv, head)).repeat(heads // kv, 1)
        v = (n @ w[b + "attn_v"].T).reshape(t, kv, head).repeat(heads // kv, 1)
        s = np.einsum("thd,shd->hts", q, k) / math.sqrt(head)
        s = np.where(np.tril(np.ones((t, t), bool)), s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hts,shd->thd", p, v).reshape(t, -1) @ w[b + "attn_output"].T
        n = rms(x, w[b + "ffn_norm"])
        gate = n @ w[b + "ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (n @ w[b + "ffn_up"].T)) @ w[b + "ffn_down"].T
    safetensors(to + ".safetensors", {"logits": rms(x, w["output_norm"]) @ w["output"].T, "tokens": tokens})


def main():
    to = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "gguf")
    os.makedirs(to, exist_ok=True)
    families = os.path.join(HERE, "families")
    for name in sorted(os.listdir(families)):
        if name != "gptj":  # which has no conversion
            convert(os.path.join(families, name), os.path.join(to, name + ".gguf"))
    types(os.path.join(to, "types"))
    packed(os.path.join(to, "packed"))


if __name__ == "__main__":
    main()
