"""Writes legacy-bin with PyTorch 2.15: tied-bin in the format of before PyTorch 1.6. Run it inside the folder."""
import os
import shutil

import torch

os.makedirs("legacy-bin", exist_ok=True)
shutil.copy("tied-bin/config.json", "legacy-bin/config.json")
state = torch.load("tied-bin/pytorch_model.bin")
torch.save(state, "legacy-bin/pytorch_model.bin", _use_new_zipfile_serialization=False)
