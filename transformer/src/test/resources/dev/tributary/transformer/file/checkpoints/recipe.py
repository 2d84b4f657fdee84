"""Writes the small checkpoints in this folder, and in expected.json the logits that PyTorch computes for them in float64.

Debian's python3-torch, 1.13. Run it inside the folder. The model is written here a second time, from its definition.
"""
import json
import math
import os
import struct

import torch

torch.manual_seed(5)
D, HEADS, D_HEAD, NEURONS, CONTEXT, VOCABULARY = 8, 2, 3, 20, 12, 11
WIDTH = HEADS * D_HEAD
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
expected = {"tokens": TOKENS}


def model(layers, tied):
    def random(*shape, scale=1.0, mean=0.0):
        return mean + scale * torch.randn(*shape)

    weights = {"wte.weight": random(VOCABULARY, D), "wpe.weight": random(CONTEXT, D)}
    for i in range(layers):
        h = f"h.{i}."
        for norm in ("ln_1", "ln_2"):
            weights[h + norm + ".weight"] = random(D, scale=0.2, mean=1.0)
            weights[h + norm + ".bias"] = random(D, scale=0.2)
        for name, rows, columns in (
            ("attn.c_attn", D, 3 * WIDTH),
            ("attn.c_proj", WIDTH, D),
            ("mlp.c_fc", D, NEURONS),
            ("mlp.c_proj", NEURONS, D),
        ):
            weights[h + name + ".weight"] = random(rows, columns)
            weights[h + name + ".bias"] = random(columns, scale=0.3)
    weights["ln_f.weight"] = random(D, scale=0.2, mean=1.0)
    weights["ln_f.bias"] = random(D, scale=0.2)
    weights["lm_head.weight"] = weights["wte.weight"] if tied else random(VOCABULARY, D)
    return weights


def logits(weights, layers, exact):
    w = {name: tensor.double() for name, tensor in weights.items()}

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, (D,), w[name + ".weight"], w[name + ".bias"], 1e-5)

    def linear(x, name):
        return x @ w[name + ".weight"] + w[name + ".bias"]

    def gelu(x):
        if exact:
            return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    n = len(TOKENS)
    x = w["wte.weight"][TOKENS] + w["wpe.weight"][:n]
    mask = torch.full((n, n), -math.inf).triu(1).double()
    for i in range(layers):
        h = f"h.{i}."
        q, k, v = (
            part.reshape(n, HEADS, D_HEAD).transpose(0, 1)
            for part in linear(norm(x, h + "ln_1"), h + "attn.c_attn").split(WIDTH, 1)
        )
        pattern = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(D_HEAD) + mask, -1)
        x = x + linear((pattern @ v).transpose(0, 1).reshape(n, WIDTH), h + "attn.c_proj")
        x = x + linear(gelu(linear(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj")
    return norm(x, "ln_f") @ w["lm_head.weight"].T


def config(folder, **keys):
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/config.json", "w") as file:
        json.dump(keys, file, indent=1)


def hugging_face(folder, layers, tied, activation):
    config(
        folder,
        model_type="gpt2",
        n_layer=layers,
        n_embd=D,
        n_head=HEADS,
        head_dim=D_HEAD,
        n_inner=NEURONS,
        n_positions=CONTEXT,
        vocab_size=VOCABULARY,
        activation_function=activation,
        tie_word_embeddings=tied,
    )


def safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def prefixed(weights):
    return {("" if name.startswith("lm_head") else "transformer.") + name: t for name, t in weights.items()}


# GPT-2 as Hugging Face saves it: lm_head shares the storage of wte, and layers hold their causal masks.
weights = model(2, tied=True)
expected["tied"] = logits(weights, 2, exact=False).tolist()
for folder in ("tied-bin", "tied-safetensors"):
    hugging_face(folder, 2, True, "gelu_new")
state = {name: torch.nn.Parameter(tensor) for name, tensor in prefixed(weights).items()}
state["lm_head.weight"] = state["transformer.wte.weight"]
for i in range(2):
    state[f"transformer.h.{i}.attn.bias"] = torch.tril(torch.ones(CONTEXT, CONTEXT, dtype=torch.uint8)).view(1, 1, CONTEXT, CONTEXT)
torch.save(state, "tied-bin/pytorch_model.bin")
safetensors("tied-safetensors/model.safetensors", prefixed({n: t for n, t in weights.items() if n != "lm_head.weight"}))

# Untied, exact GELU, in two files, without the prefix; one matrix is stored column by column.
weights = model(1, tied=False)
expected["untied"] = logits(weights, 1, exact=True).tolist()
weights["h.0.mlp.c_fc.weight"] = weights["h.0.mlp.c_fc.weight"].t().contiguous().t()
names = sorted(weights)
shards = {"1-of-2": names[: len(names) // 2], "2-of-2": names[len(names) // 2 :]}
for folder, stem, end in (("sharded-bin", "pytorch_model", ".bin"), ("sharded-safetensors", "model", ".safetensors")):
    hugging_face(folder, 1, False, "gelu")
    where = {}
    for shard, part in shards.items():
        file = f"{stem}-{shard}{end}"
        tensors = {name: weights[name] for name in part}
        if end == ".bin":
            torch.save(tensors, folder + "/" + file)
        else:
            safetensors(folder + "/" + file, tensors)
        where.update({name: file for name in part})
    with open(f"{folder}/{stem}{end}.index.json", "w") as file:
        json.dump({"metadata": {"total_size": 1}, "weight_map": where}, file, indent=1)

# transformer-debugger: one file for each parameter, matrices stored [output, input].
weights = model(1, tied=False)
expected["debugger"] = logits(weights, 1, exact=False).tolist()
config("debugger", enc="gpt2", ctx_window=CONTEXT, d_model=D, n_layers=1, m_attn=WIDTH / D, n_heads=HEADS, m_mlp=NEURONS / D)
os.makedirs("debugger/model_pieces", exist_ok=True)
pieces = {
    "tok_embed.weight": weights["wte.weight"],
    "pos_embed.weight": weights["wpe.weight"],
    "unembed.weight": weights["lm_head.weight"],
}
for part in ("weight", "bias"):
    pieces["final_ln." + part] = weights["ln_f." + part]
    for ours, theirs in (("ln_1", "ln_1"), ("ln_2", "ln_2")):
        pieces[f"xf_layers.0.{theirs}.{part}"] = weights[f"h.0.{ours}.{part}"]
    for name, tensor in zip(("q", "k", "v"), weights["h.0.attn.c_attn." + part].split(WIDTH, -1)):
        pieces[f"xf_layers.0.attn.{name}_proj.{part}"] = tensor.t().contiguous()
    for ours, theirs in (("attn.c_proj", "attn.out_proj"), ("mlp.c_fc", "mlp.in_layer"), ("mlp.c_proj", "mlp.out_layer")):
        pieces[f"xf_layers.0.{theirs}.{part}"] = weights[f"h.0.{ours}.{part}"].t().contiguous()
for name, tensor in pieces.items():
    torch.save(tensor, f"debugger/model_pieces/{name}.pt")

with open("expected.json", "w") as file:
    json.dump(expected, file)
