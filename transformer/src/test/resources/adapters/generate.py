"""Writes the adapters in this folder and what PEFT makes of them.

    pip install torch transformers peft safetensors    # written with peft 0.21.2, transformers 5.24.0
    python generate.py

base/ and untied/ are small random models. Every other folder holds an adapter as PEFT saved it. expected.safetensors holds
logits [token, vocabulary] in float64 of the adapted models, running unmerged, named BASE/ADAPTER, and patterns.json what
Python's re makes of patterns.
"""

import json
import pathlib
import re
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

HERE = pathlib.Path(__file__).parent
TOKENS = torch.tensor([[3, 7, 1, 10, 5]])
MLP_AND_ATTENTION = ["c_attn", "c_proj", "c_fc"]
LINEAR_BIAS = {"target_modules": ["attn.c_proj", "c_fc"]}
ADAPTERS = {
    "plain": {"base": {"r": 2, "lora_alpha": 4, "target_modules": ["c_attn"], "fan_in_fan_out": True}},
    "rslora": {"base": {"r": 3, "lora_alpha": 5, "use_rslora": True, "target_modules": MLP_AND_ATTENTION}},
    "patterns": {
        "base": {
            "r": 2,
            "target_modules": MLP_AND_ATTENTION,
            "rank_pattern": {"h.0.attn.c_attn": 1, "c_fc": 3, "^transformer.h.1.mlp.c_proj": 4},
            "alpha_pattern": {r"h\.\d+\.mlp\.c_(fc|proj)": 7, "h.1.attn.c_proj": 2},
        }
    },
    "regex": {"base": {"target_modules": r"transformer\.h\.(?!0).*\.(attn\.c_proj|mlp\.c_(fc|proj))", "r": 2}},
    "all-linear": {"untied": {"target_modules": "all-linear", "r": 1}},
    "layers": {
        "base": {
            "r": 2,
            "target_modules": MLP_AND_ATTENTION,
            "layers_to_transform": [1],
            "layers_pattern": "h",
            "exclude_modules": ["mlp.c_proj"],
        }
    },
    "embeddings": {
        "base": {"target_modules": ["wte", "wpe"], "r": 2, "lora_alpha": 3},
        "untied": {"target_modules": ["wte", "wpe"], "r": 2, "lora_alpha": 3},
    },
    "head": {
        "base": {"target_modules": ["lm_head", "c_fc"], "r": 2},
        "untied": {"target_modules": ["lm_head", "c_fc"], "r": 2},
    },
    "dora": {"base": {"use_dora": True, "r": 2, "lora_alpha": 3, "use_rslora": True, "target_modules": MLP_AND_ATTENTION}},
    "dora-tables": {"untied": {"use_dora": True, "r": 2, "target_modules": ["wte", "wpe", "lm_head"]}},
    "bias-all": {"base": {"bias": "all", "r": 1, "target_modules": ["c_attn"]}},
    "bias-lora-only": {"base": {"bias": "lora_only", "r": 1, **LINEAR_BIAS}},
    "bias-all-saved": {"base": {"bias": "all", "r": 1, "target_modules": ["c_attn"], "modules_to_save": ["ln_f"]}},
    "saved": {
        "base": {"modules_to_save": ["wte", "ln_f"], "r": 1, "target_modules": ["c_attn"]},
        "untied": {"modules_to_save": ["lm_head", "mlp"], "r": 1, "target_modules": ["c_proj"]},
    },
    "saved-head": {"base": {"modules_to_save": ["lm_head"], "r": 1, "target_modules": ["c_attn"]}},
    "lora-bias": {"base": {"lora_bias": True, "r": 2, "lora_alpha": 3, **LINEAR_BIAS}},
    "half": {"base": {"r": 2, "target_modules": ["c_fc"]}},
    "bin": {"base": {"r": 2, "target_modules": ["c_fc"]}},
    "with-table": {"base": {"r": 2, "target_modules": ["c_fc"]}, "untied": {"r": 2, "target_modules": ["lm_head"]}},
    "inside": {"base": {"r": 2, "target_modules": ["c_fc"], "task_type": "FEATURE_EXTRACTION"}},
}
PATTERNS = [
    "c_attn", r".*\.c_attn", r".*attn.*", r"transformer\.h\.\d+\.attn\.c_attn", r"h\.[01]\.mlp\.c_fc", r".*\.h\.(1)\..*",
    r"^(transformer)(?!.*(lm_head|wte|emb)).*", r"(?!.*mlp).*c_proj", r".*(?<=attn)\.c_proj", r".*(?<!attn)\.c_proj",
    r"(?:.*\.)?(?P<name>c_fc|c_proj)", r".*\.\d{1,2}\..*", r".*\.\d{2}\..*", r".*\.\d{,1}\..*fc", r"[^.]+\.[^.]+\.[0-9]\.\w+\.\w+",
    r".*?_(f|)(c)?", r".*(ab|c)+_fc", r"w[tp]e|lm_head", r"transformer.w[a-p]e", r".*\bc_fc\b",
    r".*\Bfc", r"\w+", r"\W", r"[\w.]+[\d]\D*", r"\Atransformer.*\Z", r"^$", r"", r"|", r".*[]x]", r"[-._a-z0-9]+", r".*\.[c-c]_fc$",
    r"transformer$|lm_head", r"h", r"transformer\.h\.(0|1)?\.mlp\.c_fc", r"(transformer\.)?h.*?(?=\.mlp).*", r".{5,}\.ln_[12]",
]
NAMES = [
    "lm_head", "transformer.wte", "transformer.wpe", "transformer.ln_f", "transformer.h.0.ln_1", "transformer.h.0.attn.c_attn",
    "transformer.h.1.attn.c_proj", "transformer.h.1.mlp.c_fc", "transformer.h.11.mlp.c_proj", "h.1.mlp.c_fc", "h.10.attn.c_attn", "wte",
]


def base(name):
    return GPT2LMHeadModel.from_pretrained(HERE / name, dtype=torch.float32).eval()


def inner(model, config):
    return model.transformer if config.get("task_type") == "FEATURE_EXTRACTION" else model


def logits(model, adapted):
    if adapted.get_base_model() is not model:
        hidden = adapted.double()(TOKENS).last_hidden_state
        return hidden @ model.double().lm_head.weight.T
    return adapted.double()(TOKENS).logits


def write_models():
    torch.manual_seed(1)
    sizes = {"n_layer": 2, "n_embd": 8, "n_head": 2, "n_inner": 12, "n_positions": 6, "vocab_size": 11}
    for name, tied in ("base", True), ("untied", False):
        model = GPT2LMHeadModel(GPT2Config(**sizes, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape) * 0.4 + (parameter.mean() > 0.5))
        shutil.rmtree(HERE / name, ignore_errors=True)
        model.save_pretrained(HERE / name)
        (HERE / name / "generation_config.json").unlink(missing_ok=True)


@torch.no_grad()
def adapt(base_name, name, config):
    folder = HERE / name if len(ADAPTERS[name]) == 1 else HERE / f"{name}-{base_name}"
    shutil.rmtree(folder, ignore_errors=True)
    model = base(base_name)
    adapted = get_peft_model(inner(model, config), LoraConfig(**config)).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad or name.startswith("with-table") and parameter.shape[0] == 11:
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    trained = logits(model, adapted)
    adapted.float()
    if name == "half":
        for key, parameter in adapted.named_parameters():
            if "lora_" in key:
                parameter.data = parameter.half()
    options = {"save_embedding_layers": True} if name == "with-table" else {}
    adapted.save_pretrained(folder, safe_serialization=name != "bin", **options)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    saved = json.loads(file.read_text())
    saved["base_model_name_or_path"] = "example/" + base_name
    file.write_text(json.dumps(saved))
    fresh = base(base_name)
    loaded = PeftModel.from_pretrained(inner(fresh, config), folder).eval()
    result = logits(fresh, loaded)[0].contiguous()
    merged = loaded.merge_and_unload().double()
    other = merged(TOKENS)
    other = other.logits if hasattr(other, "logits") else other.last_hidden_state @ fresh.lm_head.weight.T
    plain = base(base_name).double()(TOKENS).logits
    print(f"{folder.name}: adapter {(result - plain).abs().max():.2g}, file {(result - trained).abs().max():.2g}, "
          f"merged {(result - other).abs().max():.2g}")
    return f"{base_name}/{folder.name}", result


def patterns():
    return [[pattern, name, bool(re.fullmatch(pattern, name)), bool(re.match(pattern, name))]
            for pattern in PATTERNS for name in NAMES]


if __name__ == "__main__":
    write_models()
    expected = {}
    for name, bases in ADAPTERS.items():
        for base_name, config in bases.items():
            key, value = adapt(base_name, name, config)
            expected[key] = value
    save_file(expected, HERE / "expected.safetensors")
    table = ",\n".join(json.dumps(row) for row in patterns())
    (HERE / "patterns.json").write_text("{\"patterns\": [\n" + table + "\n]}\n")
