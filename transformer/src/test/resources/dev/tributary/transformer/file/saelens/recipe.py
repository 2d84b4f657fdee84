"""Writes cases.json: configs and weights as SAELens saves them, vectors, and what SAELens makes of them.

The steps are those of sae_lens/sae.py (version 3 to 5) and sae_lens/saes/*.py (version 6), written out in float64 with
PyTorch; for models loaded with center_writing_weights, also TransformerLens' centring of what the model writes. Weights
are float32 numbers.

    python3 recipe.py > cases.json        (Debian: python3-torch 1.13.1)
"""

import json

import torch

torch.manual_seed(20240229)
D_MODEL, NEURONS, LATENTS, TOKENS = 4, 6, 9, 8


def weights(d_in, *others):
    draw = lambda *shape: torch.randn(*shape).double()
    result = {"W_enc": draw(d_in, LATENTS), "W_dec": draw(LATENTS, d_in), "b_dec": draw(d_in)}
    return result | {name: draw(LATENTS) for name in others}


def encode(cfg, w, x):
    if cfg.get("apply_b_dec_to_input", True):
        x = x - w["b_dec"]
    architecture, k = cfg.get("architecture", "standard"), cfg.get("k")
    if cfg.get("activation_fn_str") == "topk":
        architecture, k = "topk", cfg["activation_fn_kwargs"]["k"]
    if architecture == "gated":
        gate = (x @ w["W_enc"] + w["b_gate"] > 0).double()
        return gate * torch.relu(x @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"])
    pre = x @ w["W_enc"] + w["b_enc"]
    if architecture == "topk":
        if cfg.get("rescale_acts_by_decoder_norm"):
            pre = pre * w["W_dec"].norm(dim=-1)
        top = torch.topk(pre, k=k, dim=-1)
        return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu())
    if architecture == "jumprelu":
        return torch.relu(pre) * (pre > w["threshold"])
    return torch.relu(pre)


def decode(cfg, w, acts):
    if cfg.get("finetuning_scaling_factor"):
        acts = acts * w["finetuning_scaling_factor"]
    if cfg.get("rescale_acts_by_decoder_norm"):
        acts = acts * (1 / w["W_dec"].norm(dim=-1))
    return acts @ w["W_dec"] + w["b_dec"]


def case(site, layer, cfg, w):
    d_in = w["W_dec"].shape[1]
    y = torch.randn(TOKENS, d_in).double()
    kwargs = (cfg.get("metadata") or cfg).get("model_from_pretrained_kwargs") or {}
    x = y - y.mean(dim=-1, keepdim=True) if kwargs.get("center_writing_weights") and site != "MLP_ACTIVATION" else y
    latents = encode(cfg, w, x)
    assert 0 < (latents > 0).double().mean() < 1
    return {
        "site": site,
        "layer": layer,
        "cfg": {"d_in": d_in, "d_sae": LATENTS, "dtype": "torch.float32", "device": "cpu"} | cfg,
        "tensors": {name: {"shape": list(t.shape), "values": t.flatten().tolist()} for name, t in w.items()},
        "y": y.tolist(),
        "latents": latents.tolist(),
        "reconstruction": decode(cfg, w, latents).tolist(),
    }


def old(hook, layer, **more):
    return {"model_name": "gpt2-small", "hook_name": hook, "hook_layer": layer, "hook_head_index": None,
            "activation_fn_str": "relu", "normalize_activations": "none", "finetuning_scaling_factor": False} | more


def new(architecture, hook, **more):
    metadata = {"sae_lens_version": "6.12.1", "model_name": "gpt2", "hook_name": hook, "hook_head_index": None} | more.pop("metadata", {})
    return {"architecture": architecture, "apply_b_dec_to_input": True, "normalize_activations": "none",
            "reshape_activations": "none", "metadata": metadata} | more


centred = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
cases = {
    # The oldest names, and no architecture.
    "oldest": case("MLP_OUTPUT", 0, {"hook_point": "blocks.0.hook_mlp_out", "hook_point_layer": 0, "hook_point_head_index": None,
                                     "activation_fn": "relu", "normalize_activations": False}, weights(D_MODEL, "b_enc")),
    "standard": case("MLP_ACTIVATION", 1, old("blocks.1.mlp.hook_post", 1, architecture="standard"), weights(NEURONS, "b_enc")),
    "standard_uncentred_input": case("ATTENTION_OUTPUT", 0, old("blocks.0.hook_attn_out", 0, apply_b_dec_to_input=False), weights(D_MODEL, "b_enc")),
    "standard_finetuned": case("MLP_OUTPUT", 1, old("blocks.1.hook_mlp_out", 1, finetuning_scaling_factor=True),
                               weights(D_MODEL, "b_enc", "finetuning_scaling_factor")),
    "topk_old": case("MLP_OUTPUT", 1, old("blocks.1.hook_mlp_out", 1, activation_fn_str="topk", activation_fn_kwargs={"k": 3}), weights(D_MODEL, "b_enc")),
    "topk": case("MLP_OUTPUT", 1, new("topk", "blocks.1.hook_mlp_out", k=4, rescale_acts_by_decoder_norm=False), weights(D_MODEL, "b_enc")),
    "topk_rescaled": case("MLP_ACTIVATION", 0, new("topk", "blocks.0.mlp.hook_post", k=2, rescale_acts_by_decoder_norm=True, apply_b_dec_to_input=False),
                          weights(NEURONS, "b_enc")),
    "jumprelu": case("ATTENTION_OUTPUT", 1, new("jumprelu", "blocks.1.hook_attn_out"), weights(D_MODEL, "b_enc", "threshold")),
    "jumprelu_uncentred_input": case("MLP_OUTPUT", 0, old("blocks.0.hook_mlp_out", 0, architecture="jumprelu", apply_b_dec_to_input=False),
                                     weights(D_MODEL, "b_enc", "threshold")),
    "gated": case("MLP_OUTPUT", 0, new("gated", "blocks.0.hook_mlp_out"), weights(D_MODEL, "b_gate", "b_mag", "r_mag")),
    "gated_uncentred_input": case("MLP_ACTIVATION", 0, old("blocks.0.mlp.hook_post", 0, architecture="gated", apply_b_dec_to_input=False),
                                  weights(NEURONS, "b_gate", "b_mag", "r_mag")),
    "centred_writes": case("MLP_OUTPUT", 0, old("blocks.0.hook_mlp_out", 0, **centred), weights(D_MODEL, "b_enc")),
    "centred_writes_gated": case("ATTENTION_OUTPUT", 1, new("gated", "blocks.1.hook_attn_out", apply_b_dec_to_input=False, metadata=centred),
                                 weights(D_MODEL, "b_gate", "b_mag", "r_mag")),
    "centred_writes_neurons": case("MLP_ACTIVATION", 1, new("jumprelu", "blocks.1.mlp.hook_post", metadata=centred), weights(NEURONS, "b_enc", "threshold")),
}
print(json.dumps(cases, indent=None).replace('}, "', '},\n "'))
