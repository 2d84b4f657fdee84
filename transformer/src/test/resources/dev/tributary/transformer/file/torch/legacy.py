"""Writes the legacy-*.pt files in this folder, the format of before PyTorch 1.6, with PyTorch 2.15. Run it inside the folder."""
import pickle

import torch

x = torch.arange(12.0).reshape(3, 4)


def save(value, file, protocol=2):
    torch.save(value, file, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


save(
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
    "legacy-strided.pt",
)

values = torch.tensor([0.0, -1.5, 3.140625, 65280.0])
save(
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
    "legacy-types.pt",
)

for protocol in (1, 2, 3, 4, 5):
    save({"x": x, "half": x.half(), "step": 2**40, "done": True, "sizes": (1, 2)}, f"legacy{protocol}.pt", protocol)


# PyTorch's first versions wrote two storages that share memory as views of a third; later ones only read that.
class Storage:
    def __init__(self, view):
        self.view = view


class Tensor:
    def __init__(self, rebuild, view, offset, sizes, strides):
        self.arguments = Storage(view), offset, sizes, strides
        self.rebuild = rebuild

    def __reduce__(self):
        return self.rebuild, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return "storage", torch.FloatStorage, "7", "cpu", 12, value.view


old = torch._utils._rebuild_tensor
with open("legacy-views.pt", "wb") as file:
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(value, file, protocol=2)
    Pickler(file, protocol=2).dump(
        {
            "whole": Tensor(old, None, 0, (3, 4), (4, 1)),
            "middle": Tensor(old, ("8", 4, 4), 0, (4,), (1,)),
            "late": Tensor(old, ("9", 6, 6), 1, (2, 2), (2, 1)),
        }
    )
    pickle.dump(["7"], file, protocol=2)
    file.write((12).to_bytes(8, "little"))
    file.write(x.numpy().tobytes())

read = torch.load("legacy-views.pt")
assert torch.equal(read["whole"], x)
assert read["middle"].tolist() == [4, 5, 6, 7]
assert read["late"].tolist() == [[7, 8], [9, 10]]
