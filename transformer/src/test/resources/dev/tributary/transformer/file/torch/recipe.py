"""Writes the .pt files in this folder with PyTorch itself: Debian's python3-torch, 1.13. Run it inside the folder."""
import collections
import os

import torch

x = torch.arange(12.0).reshape(3, 4)

torch.save(
    {
        "plain": x,
        "transposed": x.t(),
        "columns": x[:, 1:3],
        "everySecond": x[::2, ::2],
        "last": x[2],
        "row": x[1:2].expand(3, 4),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 3),
        "swapped": torch.arange(24.0).reshape(2, 3, 4).permute(1, 2, 0),
        "parameter": torch.nn.Parameter(x),
        "again": x,
    },
    "strided.pt",
)

values = torch.tensor([0.0, -1.5, 3.140625, 65280.0])
torch.save(
    {
        "F64": values.double() / 3,
        "F32": values / 3,
        "F16": values.half(),
        "BF16": values.bfloat16(),
        "I64": values.long(),
        "I32": values.int(),
        "I16": values.short(),
        "I8": torch.tensor([-1], dtype=torch.int8),
        "U8": torch.tensor([255], dtype=torch.uint8),
        "BOOL": torch.tensor([True]),
    },
    "types.pt",
)

module = torch.nn.Sequential(collections.OrderedDict(inner=torch.nn.Linear(2, 1)))
with torch.no_grad():
    module.inner.weight.copy_(torch.tensor([[1.0, 2.0]]))
    module.inner.bias.copy_(torch.tensor([3.0]))
for protocol in (2, 3, 4, 5):
    torch.save(
        {
            "model": module.state_dict(),
            "activation": "TopK",
            "activation_state_dict": {"k": 32, "postact_fn": "ReLU"},
            "step": 2**40,
            "negative": -3,
            "seed": 2**64 - 1,
            "rate": 1e-3,
            "done": True,
            "nothing": None,
            "losses": [3.0, 2.5, 2],
            "sizes": (1, 2),
            "optimizer": {0: {"step": torch.tensor(1.0)}, "groups": [{"lr": 0.1}, x[0]]},
            "é": "größe",
        },
        f"values{protocol}.pt",
        pickle_protocol=protocol,
    )

torch.save(x.t(), "alone.pt")
torch.save("text", "text.pt")
torch.save({"x": x}, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(module, "module.pt")


class Evil:
    def __reduce__(self):
        return os.system, ("echo owned",)


torch.save({"x": x, "evil": Evil()}, "system.pt")
