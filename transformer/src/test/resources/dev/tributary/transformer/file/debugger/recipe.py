"""Writes relu.pt, topk.pt, identity.pt and tied.pt as transformer-debugger saves its autoencoders (the state dictionary of
the module in neuron_explainer/models/autoencoder.py, with its activation's name and state), and cases.json: vectors, and
what that module makes of them, in float64 of the float32 weights.

    python3 recipe.py        (Debian: python3-torch 1.13.1)
"""

import json

import torch
from torch import nn

torch.manual_seed(20240229)
LATENTS, TOKENS = 9, 8


class TopK(nn.Module):
    def __init__(self, k, postact_fn):
        super().__init__()
        self.k, self.postact_fn = k, postact_fn

    def forward(self, x):
        top = torch.topk(x, k=self.k, dim=-1)
        return torch.zeros_like(x).scatter_(-1, top.indices, self.postact_fn(top.values))

    def state_dict(self, *args, **kwargs):
        return super().state_dict(*args, **kwargs) | {"k": self.k, "postact_fn": type(self.postact_fn).__name__}


class TiedTranspose(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return nn.functional.linear(x, self.linear.weight.t())


class Autoencoder(nn.Module):
    def __init__(self, n, activation, tied=False):
        super().__init__()
        self.pre_bias = nn.Parameter(torch.randn(n))
        self.encoder = nn.Linear(n, LATENTS, bias=False)
        self.latent_bias = nn.Parameter(torch.randn(LATENTS) / 2)
        self.activation = activation
        self.decoder = TiedTranspose(self.encoder) if tied else nn.Linear(LATENTS, n, bias=False)
        self.register_buffer("stats_last_nonzero", torch.zeros(LATENTS, dtype=torch.long))
        self.register_buffer("latents_activation_frequency", torch.ones(LATENTS))
        self.register_buffer("latents_mean_square", torch.zeros(LATENTS))

    def encode(self, x):
        return self.activation(nn.functional.linear(x - self.pre_bias, self.encoder.weight, self.latent_bias))

    def decode(self, latents):
        return self.decoder(latents) + self.pre_bias


cases = {}
for name, n, activation, tied in [
    ("relu", 6, nn.ReLU(), False),
    ("topk", 4, TopK(3, nn.ReLU()), False),
    ("tied", 4, nn.ReLU(), True),
    ("identity", 4, TopK(3, nn.Identity()), False),
]:
    module = Autoencoder(n, activation, tied)
    state = module.state_dict()
    state.update({"activation": type(activation).__name__, "activation_state_dict": activation.state_dict()})
    torch.save(state, name + ".pt")
    module = module.double()
    y = torch.randn(TOKENS, n).double()
    with torch.no_grad():
        latents = module.encode(y)
        cases[name] = {"y": y.tolist(), "latents": latents.tolist(), "reconstruction": module.decode(latents).tolist()}
with open("cases.json", "w") as file:
    file.write(json.dumps(cases).replace('}, "', '},\n "') + "\n")
