#!/usr/bin/python3
"""Tiny random encoders in Hugging Face's layout, with their values at every site in double.

    /usr/bin/python3 test/make_models/encoders.py test/data/encoders

Each network is written here plainly, from its paper and the public description of its files: Devlin et al. 2018 (bert),
Sanh et al. 2019 (distilbert), Dosovitskiy et al. 2020 (vit), Touvron et al. 2020 (deit), Oquab et al. 2023 and Darcet et al.
2023 (dinov2), Radford et al. 2021 (clip). Weights are stored in f32; golden.safetensors holds what they give in f64: inputs,
values by the names of docs/names.md, and under grad.NAME the gradient of the sum of squares of one value, which the metadata
names, by NAME. Needs Debian's python3-torch, python3-numpy and python3-pil."""
import json, math, os, struct, sys
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def save(path, tensors, metadata=None):
    names = {np.dtype("float32"): "F32", np.dtype("float64"): "F64", np.dtype("int32"): "I32", np.dtype("bool"): "BOOL"}
    header, at, blobs = ({"__metadata__": metadata} if metadata else {}), 0, []
    for name, t in tensors.items():
        a = np.ascontiguousarray(t)
        header[name] = {"dtype": names[a.dtype], "shape": list(np.shape(t)), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
        blobs.append(a.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Net:
    """Weights as they are asked for, sites as they are named."""

    def __init__(self, seed, prefix=""):
        self.random = np.random.default_rng(seed)
        self.weights, self.used, self.sites, self.prefix, self.scope = {}, {}, {}, prefix, ""

    def w(self, name, *shape, mean=0.0, spread=0.3):
        """A weight, the same when it is asked for again."""
        if name not in self.weights:
            self.weights[name] = (mean + spread * self.random.standard_normal(shape)).astype(np.float32)
            self.used[name] = torch.tensor(self.weights[name].astype(np.float64), requires_grad=True)
        return self.used[name]

    def linear(self, x, name, n_out, bias=True):
        y = x @ self.w(name + ".weight", n_out, x.shape[-1]).T
        return y + self.w(name + ".bias", n_out, spread=0.1) if bias else y

    def norm(self, x, name, eps, gain=".weight", shift=".bias"):
        d = x.shape[-1]
        return F.layer_norm(x, (d,), self.w(name + gain, d, mean=1.0, spread=0.2), self.w(name + shift, d, spread=0.1), eps)

    def site(self, name, x):
        if x.is_leaf:
            x = x * 1.0
        x.retain_grad()
        self.sites[self.scope + name] = x
        return x

    def finish(self, folder, config, inputs, of, wrt, weights=None, every=True):
        """Writes the model, the inputs, the values and the gradients. every: the sites of blocks too."""
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f, indent=1)
            f.write("\n")
        save(os.path.join(folder, "model.safetensors"), weights or self.weights)
        golden = {name: t for name, t in inputs.items()}
        (self.sites[of] ** 2).sum().backward()
        for name, x in self.sites.items():
            if every or "blocks." not in name:
                golden[name] = x.detach().numpy()
        for name in wrt:
            golden["grad." + name] = (self.sites[name] if name in self.sites else self.used[name]).grad.numpy()
        save(os.path.join(folder, "golden.safetensors"), golden, {"of": of})


def activate(x, act):
    if act == "gelu":
        return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    if act == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return {"relu": F.relu, "silu": F.silu}[act](x)


def attention(net, x, layer, heads, names, bias=True, visible=None):
    """names: of q, k, v and the output. visible: bool [B,1,T,T]."""
    b, t, d = x.shape
    k = d // heads
    at = f"blocks.{layer}.attn."
    q, key, v = (net.site(at + s, net.linear(x, n, d, bias).reshape(b, t, heads, k))
                 for s, n in zip(("hook_q", "hook_k", "hook_v"), names))
    scores = torch.einsum("bthk,bshk->bhts", q, key) / math.sqrt(k)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    scores = net.site(at + "hook_attn_scores", scores)
    pattern = net.site(at + "hook_pattern", torch.softmax(scores, -1))
    z = net.site(at + "hook_z", torch.einsum("bhts,bshk->bthk", pattern, v))
    return net.linear(z.reshape(b, t, d), names[3], d)


def two_layers(net, x, layer, up, down, d_mlp, act):
    pre = net.site(f"blocks.{layer}.mlp.hook_pre", net.linear(x, up, d_mlp))
    post = net.site(f"blocks.{layer}.mlp.hook_post", activate(pre, act))
    return net.linear(post, down, x.shape[-1])


def gated(net, x, layer, up, down, d_mlp):
    both = net.linear(x, up, 2 * d_mlp)
    gate = net.site(f"blocks.{layer}.mlp.hook_pre", both[..., :d_mlp])
    other = net.site(f"blocks.{layer}.mlp.hook_pre_linear", both[..., d_mlp:])
    return net.linear(net.site(f"blocks.{layer}.mlp.hook_post", F.silu(gate) * other), down, x.shape[-1])


def post_norm_block(net, x, layer, heads, d_mlp, act, eps, names, visible, gain=".weight", shift=".bias"):
    at = f"blocks.{layer}."
    x = net.site(at + "hook_resid_pre", x)
    a = net.site(at + "hook_attn_out", attention(net, x, layer, heads, names[:4], True, visible))
    mid = net.site(at + "hook_resid_mid", x + a)
    h = net.site(at + "ln1.hook_normalized", net.norm(mid, names[4], eps, gain, shift))
    m = net.site(at + "hook_mlp_out", two_layers(net, h, layer, names[5], names[6], d_mlp, act))
    post = net.site(at + "hook_resid_post", h + m)
    return net.site(at + "ln2.hook_normalized", net.norm(post, names[7], eps, gain, shift))


def pre_norm_block(net, x, layer, heads, mlp, eps, names, visible=None, bias=True, scales=None):
    """names: q, k, v, o, norm before attention, norm before the MLP. mlp: of the network, input and layer."""
    at = f"blocks.{layer}."
    d = x.shape[-1]
    x = net.site(at + "hook_resid_pre", x)
    h = net.site(at + "ln1.hook_normalized", net.norm(x, names[4], eps))
    a = attention(net, h, layer, heads, names[:4], bias, visible)
    if scales:
        a = a * net.w(scales[0], d, mean=0.7)
    x = net.site(at + "hook_resid_mid", x + net.site(at + "hook_attn_out", a))
    m = mlp(net, net.site(at + "ln2.hook_normalized", net.norm(x, names[5], eps)), layer)
    if scales:
        m = m * net.w(scales[1], d, mean=0.7)
    return net.site(at + "hook_resid_post", x + net.site(at + "hook_mlp_out", m))


# ---- bert and distilbert ----

# The second row is two tokens shorter: padding is token 0 at place 0, and no key.
TOKENS = np.array([[2, 7, 11, 4, 3], [2, 9, 3, 0, 0]], dtype=np.int32)
TYPES = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]], dtype=np.int32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=bool)
PLACES = np.array([[0, 1, 2, 3, 4], [0, 1, 2, 0, 0]], dtype=np.int32)
V, D, H, M, T = 17, 8, 2, 12, 7


def text_inputs(types=True):
    inputs = {"tokens": TOKENS, "key_mask": MASK}
    if types:
        inputs["token_types"] = TYPES
    return inputs


def visible():
    return torch.tensor(MASK)[:, None, None, :].expand(2, 1, 5, 5)


def ids(a):
    return torch.tensor(a.astype(np.int64))


def bert_body(net, prefix, act, gain=".weight", shift=".bias", eps=1e-12):
    e = prefix + "embeddings."
    x = net.site("hook_embed", net.w(e + "word_embeddings.weight", V, D)[ids(TOKENS)])
    p = net.site("hook_pos_embed", net.w(e + "position_embeddings.weight", T, D)[ids(PLACES)])
    t = net.site("hook_token_type_embed", net.w(e + "token_type_embeddings.weight", 2, D)[ids(TYPES)])
    x = net.site("embed.ln.hook_normalized", net.norm(x + p + t, e + "LayerNorm", eps, gain, shift))
    for i in range(2):
        at = f"{prefix}encoder.layer.{i}."
        names = [at + "attention.self.query", at + "attention.self.key", at + "attention.self.value",
                 at + "attention.output.dense", at + "attention.output.LayerNorm", at + "intermediate.dense",
                 at + "output.dense", at + "output.LayerNorm"]
        x = post_norm_block(net, x, i, H, M, act, eps, names, visible(), gain, shift)
    return net.site("last_hidden_state", x)


def bert_config(architecture, act="gelu", **more):
    return {"architectures": [architecture], "model_type": "bert", "hidden_size": D, "num_hidden_layers": 2,
            "num_attention_heads": H, "intermediate_size": M, "hidden_act": act, "vocab_size": V, "type_vocab_size": 2,
            "max_position_embeddings": T, "layer_norm_eps": 1e-12, "pad_token_id": 0, **more}


def words(folder):
    """A WordPiece tokenizer of the vocabulary's size, as BERT's are written."""
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat", "ran", "on", "mat", "##s", "##ing",
             ".", "red"]
    special = [{"id": i, "content": vocab[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i in range(5)]
    one, two = ([{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}] for _ in range(2))
    two = two + [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
                   "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                  "strip_accents": None, "lowercase": True},
                   "pre_tokenizer": {"type": "BertPreTokenizer"},
                   "post_processor": {"type": "TemplateProcessing", "single": one, "pair": two, "special_tokens": {
                       t: {"id": t, "ids": [vocab.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")}},
                   "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
                   "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                             "max_input_chars_per_word": 100, "vocab": {w: i for i, w in enumerate(vocab)}}}, f, indent=1)
        f.write("\n")


def bert_pretraining(folder):
    """As the first published files are: gains named gamma, shifts beta, the unembedding the embedding."""
    net = Net(1)
    x = bert_body(net, "bert.", "gelu", ".gamma", ".beta")
    pooled = net.site("pooler_output", torch.tanh(net.linear(x[:, 0], "bert.pooler.dense", D)))
    net.site("next_sentence_logits", net.linear(pooled, "cls.seq_relationship", 2))
    h = net.site("mlm_head.hook_pre", net.linear(x, "cls.predictions.transform.dense", D))
    h = net.site("mlm_head.hook_post", activate(h, "gelu"))
    h = net.site("mlm_head.ln.hook_normalized", net.norm(h, "cls.predictions.transform.LayerNorm", 1e-12, ".gamma", ".beta"))
    net.site("logits", h @ net.w("bert.embeddings.word_embeddings.weight").T + net.w("cls.predictions.bias", V))
    net.finish(folder, bert_config("BertForPreTraining"), text_inputs(), "logits",
               ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_q", "hook_token_type_embed"])
    words(folder)


def bert_labels(folder):
    """A classifier of sentences, and its files without the prefix's weights at the top."""
    net = Net(2)
    x = bert_body(net, "bert.", "relu", eps=1e-5)
    pooled = net.site("pooler_output", torch.tanh(net.linear(x[:, 0], "bert.pooler.dense", D)))
    net.site("class_logits", net.linear(pooled, "classifier", 3))
    config = bert_config("BertForSequenceClassification", "relu", layer_norm_eps=1e-5,
                         id2label={"0": "bad", "1": "fair", "2": "good"})
    net.weights["bert.embeddings.position_ids"] = np.arange(T, dtype=np.int32)[None]
    net.finish(folder, config, text_inputs(), "class_logits", ["hook_embed"], every=False)


def distilbert_body(net, prefix):
    e = prefix + "embeddings."
    x = net.site("hook_embed", net.w(e + "word_embeddings.weight", V, D)[ids(TOKENS)])
    p = net.site("hook_pos_embed", net.w(e + "position_embeddings.weight", T, D)[ids(PLACES)])
    x = net.site("embed.ln.hook_normalized", net.norm(x + p, e + "LayerNorm", 1e-12))
    for i in range(2):
        at = f"{prefix}transformer.layer.{i}."
        names = [at + "attention.q_lin", at + "attention.k_lin", at + "attention.v_lin", at + "attention.out_lin",
                 at + "sa_layer_norm", at + "ffn.lin1", at + "ffn.lin2", at + "output_layer_norm"]
        x = post_norm_block(net, x, i, H, M, "gelu", 1e-12, names, visible())
    return net.site("last_hidden_state", x)


def distilbert_config(architecture, **more):
    return {"architectures": [architecture], "model_type": "distilbert", "dim": D, "n_layers": 2, "n_heads": H,
            "hidden_dim": M, "activation": "gelu", "vocab_size": V, "max_position_embeddings": T, **more}


def distilbert_masked(folder):
    net = Net(3)
    x = distilbert_body(net, "distilbert.")
    h = net.site("mlm_head.hook_pre", net.linear(x, "vocab_transform", D))
    h = net.site("mlm_head.hook_post", activate(h, "gelu"))
    h = net.site("mlm_head.ln.hook_normalized", net.norm(h, "vocab_layer_norm", 1e-12))
    net.site("logits", net.linear(h, "vocab_projector", V))
    net.finish(folder, distilbert_config("DistilBertForMaskedLM", tie_word_embeddings=False), text_inputs(False), "logits",
               ["blocks.0.hook_resid_pre", "blocks.1.mlp.hook_post"])


def distilbert_labels(folder):
    net = Net(4)
    x = distilbert_body(net, "distilbert.")
    h = net.site("class_head.hook_pre", net.linear(x[:, 0], "pre_classifier", D))
    net.site("class_logits", net.linear(F.relu(h), "classifier", 2))
    config = distilbert_config("DistilBertForSequenceClassification", id2label={"0": "NEGATIVE", "1": "POSITIVE"})
    net.finish(folder, config, text_inputs(False), "class_logits", ["hook_embed"], every=False)


# ---- images ----

PATCH, SIDE = 2, 4


def pixels(seed, side=SIDE, n=2):
    return np.random.default_rng(seed).standard_normal((n, 3, side, side))


def patches(net, x, name, bias=True):
    """Each square of pixels, channel by channel, times one matrix."""
    n, _, h, w = x.shape
    kernel = net.w(name + ".weight", D, 3, PATCH, PATCH)
    squares = torch.tensor(x).reshape(n, 3, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
    y = squares.reshape(n, -1, 3 * PATCH * PATCH) @ kernel.reshape(D, -1).T
    return net.site("hook_patch_embed", y + net.w(name + ".bias", D) if bias else y)


def vit_names(at):
    return [at + "attention.attention.query", at + "attention.attention.key", at + "attention.attention.value",
            at + "attention.output.dense", at + "layernorm_before", at + "layernorm_after"]


def vit_body(net, prefix, x, distilled=False, act="gelu"):
    e = prefix + "embeddings."
    x = patches(net, x, e + "patch_embeddings.projection")
    n, k = x.shape[0], x.shape[1]
    first = [net.site("hook_cls", net.w(e + "cls_token", 1, 1, D).expand(n, 1, D))]
    if distilled:
        first.append(net.site("hook_distillation", net.w(e + "distillation_token", 1, 1, D).expand(n, 1, D)))
    p = net.site("hook_pos_embed", net.w(e + "position_embeddings", 1, k + len(first), D).expand(n, k + len(first), D))
    x = torch.cat(first + [x], 1) + p
    for i in range(2):
        at = f"{prefix}encoder.layer.{i}."
        mlp = lambda net, x, layer: two_layers(net, x, layer, at + "intermediate.dense", at + "output.dense", M, act)
        x = pre_norm_block(net, x, i, H, mlp, 1e-12, vit_names(at))
    x = net.site("ln_final.hook_normalized", net.norm(x, prefix + "layernorm", 1e-12))
    return net.site("last_hidden_state", x)


def image_config(architecture, kind, **more):
    return {"architectures": [architecture], "model_type": kind, "hidden_size": D, "num_hidden_layers": 2,
            "num_attention_heads": H, "hidden_act": "gelu", "image_size": SIDE, "patch_size": PATCH, "num_channels": 3,
            "layer_norm_eps": 1e-12, "qkv_bias": True, **more}


def vit_labels(folder):
    net, x = Net(5), pixels(50)
    h = vit_body(net, "vit.", x)
    net.site("class_logits", net.linear(h[:, 0], "classifier", 4))
    labels = {"0": "ant", "1": "bee", "2": "cat", "3": "dog, hound"}
    net.finish(folder, image_config("ViTForImageClassification", "vit", intermediate_size=M, id2label=labels),
               {"pixels": x}, "class_logits", ["hook_patch_embed", "blocks.1.attn.hook_z", "vit.embeddings.cls_token"])
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
        json.dump({"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": SIDE, "width": SIDE},
                   "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                   "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}, f)


def vit_pooled(folder):
    net, x = Net(6), pixels(60)
    h = vit_body(net, "", x)
    net.site("pooler_output", torch.tanh(net.linear(h[:, 0], "pooler.dense", D)))
    net.finish(folder, image_config("ViTModel", "vit", intermediate_size=M), {"pixels": x}, "pooler_output",
               ["blocks.0.hook_resid_pre"], every=False)


def deit_teacher(folder):
    net, x = Net(7), pixels(70)
    h = vit_body(net, "deit.", x, distilled=True)
    a = net.site("cls_logits", net.linear(h[:, 0], "cls_classifier", 3))
    b = net.site("distillation_logits", net.linear(h[:, 1], "distillation_classifier", 3))
    net.site("class_logits", (a + b) / 2)
    net.finish(folder, image_config("DeiTForImageClassificationWithTeacher", "deit", intermediate_size=M),
               {"pixels": x}, "class_logits", ["hook_patch_embed", "blocks.0.hook_resid_pre"])


def dinov2_body(net, prefix, x, stored, registers, swiglu):
    """stored: patches along a side of the position embeddings in the file, which are interpolated to those of x."""
    e = prefix + "embeddings."
    y = patches(net, x, e + "patch_embeddings.projection")
    n, side = y.shape[0], x.shape[-1] // PATCH
    cls = net.site("hook_cls", net.w(e + "cls_token", 1, 1, D).expand(n, 1, D))
    net.w(e + "mask_token", 1, D)
    table = net.w(e + "position_embeddings", 1, stored * stored + 1, D)
    p = table[:, 1:]
    if side != stored:
        p = p.reshape(1, stored, stored, D).permute(0, 3, 1, 2)
        p = F.interpolate(p, size=(side, side), mode="bicubic", align_corners=False, antialias=registers > 0)
        p = p.permute(0, 2, 3, 1).reshape(1, side * side, D)
    p = net.site("hook_pos_embed", torch.cat([table[:, :1], p], 1).expand(n, side * side + 1, D))
    y = torch.cat([cls, y], 1) + p
    if registers:
        r = net.site("hook_registers", net.w(e + "register_tokens", 1, registers, D).expand(n, registers, D))
        y = torch.cat([y[:, :1], r, y[:, 1:]], 1)
    for i in range(2):
        at = f"{prefix}encoder.layer.{i}."
        names = [at + "attention.attention.query", at + "attention.attention.key", at + "attention.attention.value",
                 at + "attention.output.dense", at + "norm1", at + "norm2"]
        if swiglu:  # two thirds of four times the width, to a multiple of eight
            mlp = lambda net, x, layer: gated(net, x, layer, at + "mlp.weights_in", at + "mlp.weights_out", 24)
        else:
            mlp = lambda net, x, layer: two_layers(net, x, layer, at + "mlp.fc1", at + "mlp.fc2", 4 * D, "gelu")
        y = pre_norm_block(net, y, i, H, mlp, 1e-6, names, scales=(at + "layer_scale1.lambda1", at + "layer_scale2.lambda1"))
    y = net.site("ln_final.hook_normalized", net.norm(y, prefix + "layernorm", 1e-6))
    net.site("pooler_output", y[:, 0])
    return net.site("last_hidden_state", y)


def dinov2_config(architecture, kind, stored, **more):
    config = image_config(architecture, kind, **more)
    config.update({"image_size": stored * PATCH, "mlp_ratio": 4, "layer_norm_eps": 1e-6})
    return config


def preprocessor(folder, side):
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
        json.dump({"image_processor_type": "BitImageProcessor", "do_resize": True, "size": {"shortest_edge": side + 3},
                   "resample": 3, "do_center_crop": True, "crop_size": {"height": side, "width": side},
                   "do_convert_rgb": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                   "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}, f)


def dinov2_plain(folder):
    """Images smaller than those of the file's position embeddings; the gated MLP."""
    net, x = Net(8), pixels(80)
    dinov2_body(net, "", x, 3, 0, True)
    net.finish(folder, dinov2_config("Dinov2Model", "dinov2", 3, use_swiglu_ffn=True), {"pixels": x}, "last_hidden_state",
               ["hook_patch_embed", "blocks.1.mlp.hook_post", "embeddings.position_embeddings"])
    preprocessor(folder, SIDE)


def dinov2_registers(folder):
    net, x = Net(9), pixels(90)
    h = dinov2_body(net, "dinov2_with_registers.", x, 3, 2, False)
    net.site("class_logits", net.linear(torch.cat([h[:, 0], h[:, 3:].mean(1)], -1), "classifier", 3))
    net.finish(folder, dinov2_config("Dinov2WithRegistersForImageClassification", "dinov2_with_registers", 3,
                                     num_register_tokens=2), {"pixels": x}, "class_logits",
               ["hook_registers", "blocks.0.hook_resid_pre", "dinov2_with_registers.embeddings.position_embeddings"])
    preprocessor(folder, SIDE)


# ---- clip ----

J, W = 5, 6  # where texts and images meet; how wide texts are


def clip_block(net, x, i, prefix, heads, d_mlp, visible=None):
    at = f"{prefix}encoder.layers.{i}."
    names = [at + "self_attn.q_proj", at + "self_attn.k_proj", at + "self_attn.v_proj", at + "self_attn.out_proj",
             at + "layer_norm1", at + "layer_norm2"]
    mlp = lambda net, x, layer: two_layers(net, x, layer, at + "mlp.fc1", at + "mlp.fc2", d_mlp, "quick_gelu")
    return pre_norm_block(net, x, i, heads, mlp, 1e-5, names, visible)


def clip_text(net, last):
    """last: where each text ends."""
    e = "text_model.embeddings."
    x = net.site("hook_embed", net.w(e + "token_embedding.weight", V, W)[ids(TOKENS)])
    x = x + net.site("hook_pos_embed", net.w(e + "position_embedding.weight", T, W)[ids(PLACES)])
    seen = visible() & torch.tril(torch.ones(5, 5, dtype=torch.bool))
    for i in range(2):
        x = clip_block(net, x, i, "text_model.", 2, 10, seen)
    x = net.site("ln_final.hook_normalized", net.norm(x, "text_model.final_layer_norm", 1e-5))
    x = net.site("last_hidden_state", x)
    return net.site("pooler_output", x[torch.arange(2), torch.tensor(last)])


def clip_vision(net, x):
    e = "vision_model.embeddings."
    y = patches(net, x, e + "patch_embedding", bias=False)
    n, k = y.shape[:2]
    cls = net.site("hook_cls", net.w(e + "class_embedding", D).expand(n, 1, D))
    y = torch.cat([cls, y], 1)
    y = y + net.site("hook_pos_embed", net.w(e + "position_embedding.weight", k + 1, D).expand(n, k + 1, D))
    y = net.site("ln_pre.hook_normalized", net.norm(y, "vision_model.pre_layrnorm", 1e-5))
    for i in range(2):
        y = clip_block(net, y, i, "vision_model.", H, M)
    y = net.site("last_hidden_state", y)
    return net.site("pooler_output", net.norm(y[:, 0], "vision_model.post_layernorm", 1e-5))


def clip_config(eos):
    text = {"model_type": "clip_text_model", "hidden_size": W, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 10, "hidden_act": "quick_gelu", "vocab_size": V, "max_position_embeddings": T,
            "eos_token_id": eos, "projection_dim": J}
    vision = {"model_type": "clip_vision_model", "hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": H,
              "intermediate_size": M, "hidden_act": "quick_gelu", "image_size": SIDE, "patch_size": PATCH,
              "num_channels": 3, "projection_dim": J}
    return text, vision


def clip_both(folder):
    """Texts end where their largest id is, as the first published configs (eos_token_id 2) mean it."""
    net, x = Net(10), pixels(100, n=3)
    net.scope = "text."
    t = net.site("hook_projected", net.linear(clip_text(net, [2, 1]), "text_projection", J, bias=False))
    net.scope = "vision."
    i = net.site("hook_projected", net.linear(clip_vision(net, x), "visual_projection", J, bias=False))
    net.scope = ""
    t = net.site("text_embeds", t / t.norm(dim=-1, keepdim=True))
    i = net.site("image_embeds", i / i.norm(dim=-1, keepdim=True))
    net.site("logits_per_image", torch.exp(net.w("logit_scale", mean=1.5)) * i @ t.T)
    text, vision = clip_config(2)
    net.finish(folder, {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": J,
                        "text_config": text, "vision_config": vision}, {**text_inputs(False), "pixels": x},
               "logits_per_image", ["text.blocks.0.hook_resid_pre", "vision.hook_patch_embed", "logit_scale"])
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
        json.dump({"feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True, "size": SIDE, "resample": 3,
                   "do_center_crop": True, "crop_size": SIDE, "do_normalize": True,
                   "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}, f)


def clip_text_alone(folder):
    """Texts end at the first eos_token_id."""
    net = Net(11)
    pooled = clip_text(net, [4, 2])
    net.site("text_embeds", net.linear(pooled, "text_projection", J, bias=False))
    text, _ = clip_config(3)
    net.finish(folder, {"architectures": ["CLIPTextModelWithProjection"], **text}, text_inputs(False), "text_embeds",
               ["blocks.1.hook_resid_pre"], every=False)


def clip_vision_alone(folder):
    net, x = Net(12), pixels(120)
    clip_vision(net, x)
    _, vision = clip_config(3)
    net.finish(folder, {"architectures": ["CLIPVisionModel"], **vision}, {"pixels": x}, "pooler_output",
               ["blocks.1.hook_resid_pre"], every=False)


# ---- pictures ----


def pictures(folder):
    """PNG and JPEG files, and what Pillow makes of them: the pixels read, resized by each filter, cropped, normalised."""
    from PIL import Image
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:15, 0:20]
    rgb = np.stack([127 + 127 * np.sin(x / 3 + y / 5), 255 * ((x // 4 + y // 3) % 2), 9 * x + y], -1)
    rgb = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
    clear = rgb.copy()
    clear.putalpha(Image.fromarray((x * 9).astype(np.uint8)))
    files = {"rgb.png": rgb, "grey.png": rgb.convert("L"), "palette.png": rgb.quantize(16), "clear.png": clear,
             "bits.png": rgb.convert("1"), "rgb.jpg": rgb, "grey.jpg": rgb.convert("L"), "inks.jpg": rgb.convert("CMYK")}
    golden = {}
    for name, image in files.items():
        path = os.path.join(folder, name)
        image.save(path, **({"quality": 90} if name.endswith("jpg") else {"optimize": True}))
        golden[name] = np.asarray(Image.open(path).convert("RGB")).astype(np.int32)
    for name, how in (("nearest", 0), ("lanczos", 1), ("bilinear", 2), ("bicubic", 3), ("box", 4), ("hamming", 5)):
        for h, w in ((6, 9), (23, 8)):
            golden[f"{name} {h} {w}"] = np.asarray(rgb.resize((w, h), how)).astype(np.int32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    small = rgb.resize((int(7 * 20 / 15), 7), 3)  # the shorter edge to 7, then the middle 4 by 4
    a = np.asarray(small)[1:5, 2:6]
    golden["dinov2 pixels"] = ((a / 255 - mean) / std).transpose(2, 0, 1)
    golden["vit pixels"] = ((np.asarray(rgb.resize((SIDE, SIDE), 2)) / 255 - 0.5) / 0.5).transpose(2, 0, 1)
    save(os.path.join(folder, "golden.safetensors"), golden)


ALL = [bert_pretraining, bert_labels, distilbert_masked, distilbert_labels, vit_labels, vit_pooled, deit_teacher,
       dinov2_plain, dinov2_registers, clip_both, clip_text_alone, clip_vision_alone, pictures]

if __name__ == "__main__":
    root = sys.argv[1] if len(sys.argv) > 1 else "test/data/encoders"
    for make in ALL:
        make(os.path.join(root, make.__name__))
