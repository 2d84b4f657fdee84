"""What CudaTimes measures, as one writes it in PyTorch: eager, FP32 with TF32 off, on the first GPU.

python3 cuda-peer.py SECONDS [SHAPE FORMAT TOKENS]...

Prints the lines that CudaTimes prints. Of a shape in BF16 both are measured: weights in FP32, and
weights kept in BF16 that every product widens to FP32. Gradients are taken at the sites where
Tributary keeps them; the edges into a neuron are restricted by hand to the row that it reads, as in
PyTorchModel.
"""
import math
import sys
import time

import torch
import torch.nn.functional as F

TARGET, DISTRACTOR, NEURON = 1, 2, 100
FEWEST = 3


class Model:
    def __init__(self, stored):
        self.stored = stored

    def linear(self, x, weight, bias=None):
        return F.linear(x, weight if weight.dtype == x.dtype else weight.to(x.dtype), bias)

    def matrix(self, outputs, inputs):
        """[output, input], as PyTorch keeps it."""
        magnitude = 1 / math.sqrt(inputs)
        return (torch.empty(outputs, inputs, device=DEVICE).uniform_(-magnitude, magnitude)).to(self.stored)

    def vector(self, size, mean=0.0):
        return mean + torch.empty(size, device=DEVICE).uniform_(-0.1, 0.1)

    def attention(self, q, k, v):
        """Pattern; heads that share a key head in one product."""
        keys = k.shape[0]
        tokens = q.shape[1]
        grouped = q.reshape(keys, -1, q.shape[2])
        scores = torch.matmul(grouped, k.transpose(1, 2)).reshape(-1, tokens, tokens) * self.scale
        return torch.softmax(scores + self.mask, -1)

    def mixed(self, pattern, v):
        keys = v.shape[0]
        tokens = v.shape[1]
        return torch.matmul(pattern.reshape(keys, -1, tokens), v).reshape(pattern.shape[0], tokens, -1)

    def by_head(self, x):
        return x.reshape(x.shape[0], -1, self.d_head).transpose(0, 1)

    def merged(self, x):
        return x.transpose(0, 1).reshape(x.shape[1], -1)

    def prepare(self, tokens):
        self.mask = torch.full((tokens, tokens), -math.inf, device=DEVICE).triu(1)
        self.prompt = torch.randint(self.table.shape[0], (tokens,), device=DEVICE)

    def embedded(self):
        return F.embedding(self.prompt, self.table).float()

    def run(self):
        """Logits, and by layer the values of its sites; recorded for gradients."""
        embedding = self.embedded().requires_grad_(True)
        x = embedding
        sites = []
        for layer in self.layers:
            kept = {}
            x = self.layer(layer, x, kept)
            sites.append(kept)
        normed = self.final(x)
        with torch.no_grad():
            logits = self.linear(normed.detach(), self.table)
        return embedding, x, normed, logits, sites

    def gradient(self, run):
        """Of the difference of two logits, at every site."""
        embedding, _, normed, _, sites = run
        direction = self.table[TARGET].float() - self.table[DISTRACTOR].float()
        metric = (normed[-1] * direction).sum()
        inputs = [embedding] + [kept[name] for kept in sites for name in self.with_gradient]
        return metric, torch.autograd.grad(metric, inputs, retain_graph=True)

    def into(self, run, activation_gradient):
        """Edges from every head and neuron into one neuron at the last token."""
        embedding, _, _, _, sites = run
        target = self.target
        row = sites[target]["middle"][-1].detach().requires_grad_(True)
        (g,) = torch.autograd.grad(self.neuron(self.layers[target], row) * activation_gradient, row)
        edges = [(embedding[-1].detach() * g).sum()]
        with torch.no_grad():
            for index in range(target + 1):
                layer, kept = self.layers[index], sites[index]
                v = kept["v"]
                read = torch.matmul(g, self.wide(layer["output"])).reshape(v.shape[0], -1, self.d_head)
                edges.append(torch.matmul(read, v.transpose(1, 2)).reshape(-1, v.shape[1]) * kept["pattern"][:, -1])
                if index < target:
                    edges.append(torch.matmul(g, self.wide(layer["down"])) * kept["activation"][-1])
        return edges

    def wide(self, weight):
        return weight.float()


class Gpt2(Model):
    with_gradient = ["q", "k", "v", "pattern", "mixed", "middle", "pre", "activation", "after"]
    target = 9

    def __init__(self, stored, layers=12, d=768, d_head=64, neurons=3072, vocabulary=50257, context=1024):
        super().__init__(stored)
        self.d, self.d_head, self.scale = d, d_head, 1 / math.sqrt(d_head)
        self.table = self.matrix(vocabulary, d)
        self.positions = self.matrix(context, d).float()
        self.layers = [
            dict(
                qkv=self.matrix(3 * d, d), qkv_bias=self.vector(3 * d),
                output=self.matrix(d, d), output_bias=self.vector(d),
                up=self.matrix(neurons, d), up_bias=self.vector(neurons),
                down=self.matrix(d, neurons), down_bias=self.vector(d),
                gain1=self.vector(d, 1), bias1=self.vector(d), gain2=self.vector(d, 1), bias2=self.vector(d),
            )
            for _ in range(layers)
        ]
        self.gain, self.bias = self.vector(d, 1), self.vector(d)

    def embedded(self):
        return super().embedded() + self.positions[: len(self.prompt)]

    def final(self, x):
        return F.layer_norm(x, (self.d,), self.gain, self.bias)

    def layer(self, w, x, kept):
        normed = F.layer_norm(x, (self.d,), w["gain1"], w["bias1"])
        q, k, v = (self.by_head(part) for part in self.linear(normed, w["qkv"], w["qkv_bias"]).chunk(3, -1))
        kept["q"], kept["k"], kept["v"] = q, k, v
        kept["pattern"] = self.attention(q, k, v)
        kept["mixed"] = self.mixed(kept["pattern"], v)
        kept["middle"] = x + self.linear(self.merged(kept["mixed"]), w["output"], w["output_bias"])
        normed = F.layer_norm(kept["middle"], (self.d,), w["gain2"], w["bias2"])
        kept["pre"] = self.linear(normed, w["up"], w["up_bias"])
        kept["activation"] = F.gelu(kept["pre"], approximate="tanh")
        kept["after"] = kept["middle"] + self.linear(kept["activation"], w["down"], w["down_bias"])
        return kept["after"]

    def neuron(self, w, row):
        centred = row - row.mean()
        scale = (centred.square().mean() + 1e-5).sqrt().detach()
        read = centred / scale * w["gain2"] + w["bias2"]
        return F.gelu((read * w["up"][NEURON].float()).sum() + w["up_bias"][NEURON], approximate="tanh")


class Llama(Model):
    with_gradient = ["pattern", "middle", "activation", "after"]
    target = 13

    def __init__(self, stored, layers=16, d=2048, d_head=64, heads=32, keys=8, neurons=8192, vocabulary=128256):
        super().__init__(stored)
        self.d, self.d_head, self.heads, self.keys, self.scale = d, d_head, heads, keys, 1 / math.sqrt(d_head)
        self.target = min(self.target, layers - 1)
        self.table = self.matrix(vocabulary, d)
        self.layers = [
            dict(
                qkv=self.matrix((heads + 2 * keys) * d_head, d), output=self.matrix(d, heads * d_head),
                gate=self.matrix(neurons, d), up=self.matrix(neurons, d), down=self.matrix(d, neurons),
                gain1=self.vector(d, 1), gain2=self.vector(d, 1),
            )
            for _ in range(layers)
        ]
        self.gain = self.vector(d, 1)

    def prepare(self, tokens):
        super().prepare(tokens)
        frequencies = 500000.0 ** (-torch.arange(0, self.d_head, 2, device=DEVICE) / self.d_head)
        angles = torch.arange(tokens, device=DEVICE)[:, None] * torch.cat([frequencies, frequencies])
        self.cos, self.sin = angles.cos(), angles.sin()

    def final(self, x):
        return F.rms_norm(x, (self.d,), self.gain, 1e-5)

    def layer(self, w, x, kept):
        normed = F.rms_norm(x, (self.d,), w["gain1"], 1e-5)
        all_heads = self.by_head(self.linear(normed, w["qkv"]))
        straight, v = all_heads[: self.heads + self.keys], all_heads[self.heads + self.keys :]
        first, second = straight.chunk(2, -1)
        turned = straight * self.cos + torch.cat([-second, first], -1) * self.sin
        kept["v"] = v
        kept["pattern"] = self.attention(turned[: self.heads], turned[self.heads :], v)
        kept["mixed"] = self.mixed(kept["pattern"], v)
        kept["middle"] = x + self.linear(self.merged(kept["mixed"]), w["output"])
        normed = F.rms_norm(kept["middle"], (self.d,), w["gain2"], 1e-5)
        kept["activation"] = F.silu(self.linear(normed, w["gate"])) * self.linear(normed, w["up"])
        kept["after"] = kept["middle"] + self.linear(kept["activation"], w["down"])
        return kept["after"]

    def neuron(self, w, row):
        scale = (row.square().mean() + 1e-5).sqrt().detach()
        read = row / scale * w["gain2"]
        gate = (read * w["gate"][NEURON].float()).sum()
        return F.silu(gate) * (read * w["up"][NEURON].float()).sum()


def repeat(asked, seconds):
    times = []
    start = time.perf_counter()
    while len(times) < FEWEST or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        asked().item()
        times.append(1e3 * (time.perf_counter() - before))
    return sorted(times)


def measure(name, shape, kind, stored, tokens, seconds):
    torch.manual_seed(1)
    model = shape(stored)
    model.prepare(tokens)

    def report(question, asked):
        repeat(asked, seconds)
        times = repeat(asked, seconds)
        print(f"{name}\t{kind}\t{tokens}\t{question}\t{times[len(times) // 2]:.4f}\t{times[0]:.4f}\t{len(times)}", flush=True)

    run = model.run()
    report("forward", lambda: model.run()[1][0, 0])
    report("gradient", lambda: model.gradient(run)[1][0][0, 0])
    report("forward+gradient", lambda: model.gradient(model.run())[1][0][0, 0])
    place = 1 + model.target * len(model.with_gradient) + model.with_gradient.index("activation")
    held = model.gradient(run)[1][place][-1, NEURON]
    report("into", lambda: model.into(run, held)[1][0, 0])


if __name__ == "__main__":
    DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    print("# PyTorch", torch.__version__, torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE)
    arguments = sys.argv[2:]
    for name, stored, tokens in zip(arguments[::3], arguments[1::3], arguments[2::3]):
        shape = {"GPT2_SMALL": Gpt2, "LLAMA_3_2_1B": Llama}[name]
        kinds = {"F32": torch.float32, "BF16": torch.bfloat16}
        for kind in ["F32"] if stored == "F32" else ["F32", "BF16"]:
            measure(name, shape, kind, kinds[kind], int(tokens), float(sys.argv[1]))
            torch.cuda.empty_cache()
