#!/usr/bin/python3
"""Makes test/data/adapters/: two tiny random models, adapters of each kind in PEFT's layout, sparse autoencoders of each
kind in SAELens' layout, and what they compute, in plain PyTorch in double precision.

    test/make_models/adapters.py [FOLDER]

Written from the papers (Hu et al. 2021; Kalajdzievski 2023; Gao et al. 2024; Rajamanoharan et al. 2024) and the file
formats' descriptions; nothing of it is the library's. The same numbers come out each time."""
import json
import math
import pathlib
import struct
import sys

import torch

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1] / "data" / "adapters")
D, LAYERS, HEADS, F, V, CONTEXT, T = 16, 2, 2, 24, 32, 16, 6
torch.set_default_dtype(torch.float64)
torch.manual_seed(20260)
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32"}


def rand(*shape, deviation=0.3):
    """Numbers that are the same in f32 and f64, so that rounding a file takes nothing away."""
    return (torch.randn(*shape) * deviation).float().double()


def gain():
    return (1 + rand(D)).float().double()


def save(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        t = t.float() if t.dtype == torch.float64 else t
        data = t.contiguous().view(torch.uint8 if t.dim() else torch.uint8).numpy().tobytes() if t.numel() else b""
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def say(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


# ---- two models, whose products call `lin` so that an adapter can stand there ----

class Model:
    """lora: module -> (A, B, s, bias of B or None); biases: name -> tensor; sites: name -> function of the value."""

    def __init__(self, weights):
        self.w, self.lora, self.biases, self.sites, self.seen = weights, {}, {}, {}, {}
        self.strength = 1.0

    def lin(self, x, module):
        w = self.w[module + ".weight"]
        y = x @ (w if self.in_out else w.T)
        if module + ".bias" in self.w:
            y = y + self.bias(module + ".bias")
        if module in self.lora:
            a, b, s, more = self.lora[module]
            d = x @ a.T @ b.T
            y = y + self.strength * s * (d if more is None else d + more)
        return y

    def bias(self, name):
        """A strength between 0 and 1 is part of the way from the base's bias to the trained one."""
        return self.w[name] + self.strength * (self.biases[name] - self.w[name]) if name in self.biases else self.w[name]

    def site(self, name, x):
        self.seen[name] = x
        return self.sites[name](x) if name in self.sites else x

    def embed(self, module, ids):
        x = self.w[module + ".weight"][ids]
        if module in self.lora:
            a, b, s, _ = self.lora[module]
            x = x + self.strength * s * (a.T[ids] @ b.T)
        return x

    def attend(self, q, k, v, i):
        t = q.shape[1]
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(torch.triu(torch.ones(t, t, dtype=torch.bool), 1), -math.inf)
        z = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)
        return self.site(f"blocks.{i}.attn.hook_z", z).flatten(2)


class Llama(Model):
    in_out = False

    def norm(self, x, name):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.w[name + ".weight"]

    def turn(self, x):
        half = x.shape[-1] // 2
        angle = torch.arange(x.shape[1])[:, None] * 10000.0 ** (-torch.arange(half) / half)
        c, s = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * c - b * s, b * c + a * s], -1)

    def __call__(self, ids):
        x = self.embed("model.embed_tokens", ids)
        for i in range(LAYERS):
            p = f"model.layers.{i}."
            n = self.norm(x, p + "input_layernorm")
            q, k, v = (self.lin(n, p + f"self_attn.{m}_proj").unflatten(-1, (HEADS, -1)) for m in "qkv")
            x = x + self.lin(self.attend(self.turn(q), self.turn(k), v, i), p + "self_attn.o_proj")
            n = self.norm(x, p + "post_attention_layernorm")
            h = torch.nn.functional.silu(self.lin(n, p + "mlp.gate_proj")) * self.lin(n, p + "mlp.up_proj")
            x = self.site(f"blocks.{i}.hook_resid_post", x + self.lin(h, p + "mlp.down_proj"))
        return self.lin(self.norm(x, "model.norm"), "lm_head")


class Gpt2(Model):
    in_out = True

    def norm(self, x, name):
        x = x - x.mean(-1, keepdim=True)
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.w[name + ".weight"] + self.bias(name + ".bias")

    def __call__(self, ids):
        x = self.embed("transformer.wte", ids) + self.w["transformer.wpe.weight"][: ids.shape[1]]
        for i in range(LAYERS):
            p = f"transformer.h.{i}."
            q, k, v = (t.unflatten(-1, (HEADS, -1)) for t in self.lin(self.norm(x, p + "ln_1"), p + "attn.c_attn").split(D, -1))
            x = x + self.lin(self.attend(q, k, v, i), p + "attn.c_proj")
            h = self.lin(self.norm(x, p + "ln_2"), p + "mlp.c_fc")
            h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
            x = self.site(f"blocks.{i}.hook_resid_post", x + self.lin(h, p + "mlp.c_proj"))
        return self.norm(x, "transformer.ln_f") @ self.w["transformer.wte.weight"].T


def make_llama():
    w = {"model.embed_tokens.weight": rand(V, D, deviation=1), "model.norm.weight": gain(), "lm_head.weight": rand(V, D)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        for m in "qkvo":
            w[p + f"self_attn.{m}_proj.weight"] = rand(D, D)
        w |= {p + "mlp.gate_proj.weight": rand(F, D), p + "mlp.up_proj.weight": rand(F, D), p + "mlp.down_proj.weight": rand(D, F)}
        w |= {p + "input_layernorm.weight": gain(), p + "post_attention_layernorm.weight": gain()}
    say(ROOT / "llama/config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": F, "vocab_size": V, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False})
    save(ROOT / "llama/model.safetensors", w)
    return Llama(w)


def make_gpt2():
    w = {"transformer.wte.weight": rand(V, D, deviation=0.5), "transformer.wpe.weight": rand(CONTEXT, D),
         "transformer.ln_f.weight": gain(), "transformer.ln_f.bias": rand(D)}
    for i in range(LAYERS):
        p = f"transformer.h.{i}."
        for m, n_in, n_out in (("attn.c_attn", D, 3 * D), ("attn.c_proj", D, D), ("mlp.c_fc", D, 4 * D), ("mlp.c_proj", 4 * D, D)):
            w |= {p + m + ".weight": rand(n_in, n_out), p + m + ".bias": rand(n_out)}
        for n in ("ln_1", "ln_2"):
            w |= {p + n + ".weight": gain(), p + n + ".bias": rand(D)}
    say(ROOT / "gpt2/config.json", {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": D, "n_layer": LAYERS, "n_head": HEADS,
        "vocab_size": V, "n_positions": CONTEXT, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})
    save(ROOT / "gpt2/model.safetensors", w)
    return Gpt2(w)


# ---- LoRA ----

def lora(name, model, modules, config, biases=(), prefix="base_model.model.", embedding=None, b_bias=False, dtype=torch.float32):
    """modules: (module, in, out, rank, alpha). Returns nothing; the golden logits are written beside."""
    tensors, model.lora, model.biases = {}, {}, {}
    for module, n_in, n_out, r, alpha in modules:
        a, b = rand(r, n_in).to(dtype), rand(n_out, r).to(dtype)
        more = rand(n_out).to(dtype) if b_bias else None
        s = alpha / (math.sqrt(r) if config.get("use_rslora") else r)
        model.lora[module] = (a.double(), b.double(), s, None if more is None else more.double())
        kind = "embedding_" if module == embedding else ""
        end = "" if module == embedding else ".weight"
        tensors |= {f"{prefix}{module}.lora_{kind}A{end}": a, f"{prefix}{module}.lora_{kind}B{end}": b}
        if b_bias:
            tensors[f"{prefix}{module}.lora_B.bias"] = more
    for key in biases:
        model.biases[key] = rand(*model.w[key].shape)
        tensors[f"{prefix}{key}"] = model.biases[key]
    say(ROOT / name / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "tiny", "lora_dropout": 0.1} | config)
    save(ROOT / name / "adapter_model.safetensors", tensors)
    golden = {}
    for strength in (1.0, 0.5, -2.0):
        model.strength = strength
        golden[f"logits.{strength:g}"] = model(IDS)
    save(ROOT / name / "golden.safetensors", golden)
    model.lora, model.biases, model.strength = {}, {}, 1.0


def make_loras(llama, gpt2):
    at = [f"model.layers.{i}." for i in range(LAYERS)]
    lora("lora-plain", llama, [(p + f"self_attn.{m}_proj", D, D, 2, 6) for p in at for m in "qv"],
         {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "bias": "none", "fan_in_fan_out": False})
    every = [(p + f"self_attn.{m}_proj", D, D) for p in at for m in "qkvo"]
    every += [(p + "mlp.gate_proj", D, F) for p in at] + [(p + "mlp.up_proj", D, F) for p in at] + [(p + "mlp.down_proj", F, D) for p in at]

    def rank(m):
        return 1 if m == at[1] + "mlp.down_proj" else 4 if m.endswith("q_proj") else 3

    def alpha(m):
        return 1.5 if m.startswith(at[0]) and "self_attn" in m else 5

    lora("lora-patterns", llama, [(m, i, o, rank(m), alpha(m)) for m, i, o in every],
         {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": r".*\.(q|k|v|o|gate|up|down)_proj",
          "rank_pattern": {"q_proj": 4, "layers.1.mlp.down_proj": 1}, "alpha_pattern": {r"layers\.0\.self_attn\..*": 1.5}})
    lora("lora-half", llama, [(p + "mlp.up_proj", D, F, 2, 2) for p in at], {"r": 2, "lora_alpha": 2, "target_modules": ["up_proj"], "lora_bias": True},
         b_bias=True, dtype=torch.float16)
    lora("lora-head", llama, [("lm_head", D, V, 2, 3), ("model.embed_tokens", V, D, 2, 3)],
         {"r": 2, "lora_alpha": 3, "target_modules": ["lm_head", "embed_tokens"]}, embedding="model.embed_tokens")
    at = [f"transformer.h.{i}." for i in range(LAYERS)]
    some = [(p + "attn.c_attn", D, 3 * D, 2, 4) for p in at] + [(p + "mlp.c_proj", 4 * D, D, 2, 4) for p in at]
    lora("lora-gpt2", gpt2, some, {"r": 2, "lora_alpha": 4, "target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True, "bias": "lora_only"},
         biases=[m + ".bias" for m, *_ in some])
    lora("lora-gpt2-all", gpt2, [(p + "mlp.c_fc", D, 4 * D, 1, 4) for p in at],
         {"r": 1, "lora_alpha": 4, "target_modules": ["c_fc"], "fan_in_fan_out": True, "bias": "all"},
         biases=[k for k in gpt2.w if k.endswith(".bias")])


# ---- sparse autoencoders ----

M, K = 24, 4


class Sae:
    def __init__(self, kind, hook, norm="none", apply_b_dec=True, by_heads=False, rescale=False):
        self.kind, self.hook, self.norm, self.apply, self.by_heads, self.rescale = kind, hook, norm, apply_b_dec, by_heads, rescale
        self.w = {"W_enc": rand(D, M), "W_dec": rand(M, D), "b_dec": rand(D)}
        if kind == "gated":
            self.w |= {"r_mag": rand(M), "b_mag": rand(M), "b_gate": rand(M)}
        else:
            self.w["b_enc"] = rand(M)
        if kind == "jumprelu":
            self.w["threshold"] = rand(M).abs()

    def encode(self, x):
        w = self.w
        if self.norm == "layer_norm":
            self.mean = x.mean(-1, keepdim=True)
            self.scale = (x - self.mean).std(-1, keepdim=True)
            x = (x - self.mean) / (self.scale + 1e-5)
        elif self.norm == "constant_norm_rescale":
            self.mean, self.scale = 0, x.norm(dim=-1, keepdim=True) / math.sqrt(D)
            x = x / self.scale
        else:
            self.mean, self.scale = 0, 1
        z = x - w["b_dec"] if self.apply else x
        if self.kind == "gated":
            pre = z @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"]
            return pre, (z @ w["W_enc"] + w["b_gate"] > 0) * pre.relu()
        pre = z @ w["W_enc"] + w["b_enc"]
        if self.rescale:
            pre = pre * w["W_dec"].norm(dim=-1)
        if self.kind == "topk":
            top = pre.topk(K, -1)
            return pre, torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
        return pre, pre.relu() * (pre > w["threshold"]) if self.kind == "jumprelu" else pre.relu()

    def decode(self, acts):
        """The reconstruction, before and behind the undoing of the norm."""
        if self.rescale:
            acts = acts / self.w["W_dec"].norm(dim=-1)
        r = acts @ self.w["W_dec"] + self.w["b_dec"]
        return r, r * self.scale + self.mean


def sae(name, model, s, config, weights=None, features=None):
    say(ROOT / name / "cfg.json", config)
    save(ROOT / name / "sae_weights.safetensors", weights or s.w)
    golden, flat = {}, (lambda x: x.flatten(2)) if s.by_heads else (lambda x: x)
    golden["plain"] = model(IDS)
    x = flat(model.seen[s.hook])
    pre, acts = s.encode(x)
    inner, outer = s.decode(acts)
    golden |= {"acts_pre": pre, "acts_post": acts, "recons": inner, "error": (x - outer).view_as(model.seen[s.hook])}
    strongest = int(acts.sum((0, 1)).argmax())

    def replaced(v):
        return s.decode(s.encode(flat(v))[1])[1].view_as(v)

    def without_strongest(v):
        _, a = s.encode(flat(v))
        error = flat(v) - s.decode(a)[1]
        a = a.clone()
        a[..., strongest] = 0
        return (s.decode(a)[1] + error).view_as(v)

    for key, f in (("replaced", replaced), ("ablated", without_strongest)):
        model.sites = {s.hook: f}
        golden[key] = model(IDS)
    model.sites = {}
    golden["strongest"] = torch.tensor([strongest], dtype=torch.int32)
    save(ROOT / name / "golden.safetensors", golden)
    if features:
        (ROOT / name / features[0]).write_text(features[1])


def make_saes(llama):
    post = "blocks.1.hook_resid_post"

    def now(s, **more):
        return {"architecture": s.kind, "d_in": D, "d_sae": M, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": s.apply,
                "normalize_activations": s.norm, "reshape_activations": "hook_z" if s.by_heads else "none",
                "metadata": {"hook_name": s.hook, "hook_layer": int(s.hook.split(".")[1]), "hook_head_index": None, "model_name": "tiny"}} | more

    s = Sae("standard", post)
    sae("sae-standard", llama, s, now(s), features=("features.json", json.dumps({"3": "ends of words", "7": "naïve things"}) + "\n"))
    s = Sae("standard", "blocks.0.hook_resid_post", "layer_norm", False)  # as the first versions wrote it
    sae("sae-legacy", llama, s,
        {"d_in": D, "d_sae": M, "hook_point": s.hook, "hook_point_layer": 0, "hook_point_head_index": None, "activation_fn": "relu",
         "activation_fn_kwargs": {}, "apply_b_dec_to_input": False, "finetuning_scaling_factor": True, "normalize_activations": "layer_norm",
         "model_name": "tiny", "dtype": "torch.float32"},
        weights=s.w | {"W_dec": s.w["W_dec"] / 2, "finetuning_scaling_factor": torch.full((M,), 2.0)},
        features=("features.csv", "feature,label\n3,\"first, second\"\n5,fifth\n"))
    s = Sae("topk", post)
    sae("sae-topk", llama, s, now(s, architecture="standard", activation_fn_str="topk", activation_fn_kwargs={"k": K}))
    s = Sae("topk", post, rescale=True)
    sae("sae-topk-rescaled", llama, s, now(s, k=K, rescale_acts_by_decoder_norm=True))
    s = Sae("gated", post, "expected_average_only_in")
    sae("sae-gated", llama, s, now(s))
    s = Sae("jumprelu", "blocks.0.attn.hook_z", by_heads=True, apply_b_dec=False)
    sae("sae-jumprelu", llama, s, now(s))
    s = Sae("jumprelu", post, "constant_norm_rescale")
    kept = dict(s.w)
    log = s.w["threshold"].log().float().double()
    s.w["threshold"] = log.exp()
    del kept["threshold"]
    sae("sae-log-threshold", llama, s, now(s), weights=kept | {"log_threshold": log})


# ---- a control vector, as GGUF has it ----

def gguf(path, metadata, tensors):
    """Version 3: metadata of texts and whole numbers, one-axis tensors in f32, each at a multiple of 32 bytes."""
    def text(t):
        return struct.pack("<Q", len(t.encode())) + t.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += text(key) + (struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value))
    body = b""
    for name, t in tensors.items():
        head += text(name) + struct.pack("<IQIQ", 1, t.numel(), 0, len(body))
        body += t.float().numpy().tobytes()
        body += b"\0" * (-len(body) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + body)


def make_vectors(llama):
    """Layer 1 is the last of the tiny model; layer 5 it does not have."""
    push = rand(D)
    gguf(ROOT / "control/one.gguf", {"general.architecture": "controlvector", "controlvector.model_hint": "llama", "controlvector.layer_count": 1},
         {"direction.1": push})
    gguf(ROOT / "control/two.gguf", {"general.architecture": "controlvector"}, {"direction.1": push, "direction.5": rand(D)})
    gguf(ROOT / "control/other.gguf", {"general.architecture": "llama"}, {"direction.1": push})
    gguf(ROOT / "control/uneven.gguf", {"general.architecture": "controlvector"}, {"direction.1": push, "direction.2": rand(D + 1)})
    gguf(ROOT / "control/misnamed.gguf", {"general.architecture": "controlvector"}, {"direction.x": push})
    llama.sites = {"blocks.1.hook_resid_post": lambda v: v + 1.5 * push}
    save(ROOT / "control/golden.safetensors", {"logits": llama(IDS), "direction": push})
    llama.sites = {}


IDS = torch.randint(0, V, (2, T))


def main():
    llama, gpt2 = make_llama(), make_gpt2()
    save(ROOT / "tokens.safetensors", {"tokens": IDS.to(torch.int32)})
    make_loras(llama, gpt2)
    make_saes(llama)
    make_vectors(llama)


main()
