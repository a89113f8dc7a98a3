#!/usr/bin/env python3
"""Turns a checkpoint of the Anemll QAT project (.pt) into a model folder of look-up-table layers that `trainer` reads.

    scripts/import_anemll.py CHECKPOINT.pt TO --base MODEL_FOLDER [--config CONFIG.json] [--float32-factors]

MODEL_FOLDER is the model the checkpoint was made from: its config.json and tokenizer are copied, and tensors the
checkpoint lacks are taken from it where --fill-from-base allows it. CONFIG.json, which those trainers leave beside their
checkpoints, is found by itself; both of its spellings are read. Bits and ranks are those of the tensors; where the config
says otherwise the import ends. The file is read with weights_only=True, so nothing in it is ever run.

Layers of the three generations may stand side by side: one clip factor for a tensor (_f_param), a table under A B scales
(scale_A, scale_B, lut), directions and magnitudes under frozen codes (rank_magnitude and _Q or _indices). Adapters
(lora_A, lora_B) become a PEFT folder TO/adapter. Everything that is read, left out or found missing is reported; what is
not understood ends the import, unless --ignore names it.
"""

import argparse
import fnmatch
import json
import pathlib
import pickle
import re
import shutil
import sys

import safetensors
import safetensors.torch
import torch
from anemll_layers import Layer, Refused, Report, refuse

FORMAT_VERSION = 1
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
                   "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
                   "generation_config.json")
LINEAR = re.compile(r"^model\.layers\.\d+\.(mlp\.(gate|up|down)|self_attn\.(q|k|v|o))_proj$|^lm_head$")
# Of a replaced linear, everything but .weight and .bias.
SUFFIXES = ("_f_param", "_qat_nbits", "scale_A", "scale_B", "lut", "rank_magnitude", "_Q", "_indices",
            "_scales_baked_flag", "_cached_weight_q", "_lut_raw_deltas", "A_lut", "B_lut", "_A_idx", "_B_idx",
            "lora_A", "lora_B")


def load_state(path):
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        refuse(path, ": cannot be read as plain tensors: ", str(error).splitlines()[0])
    for key in ("model", "model_state_dict", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        refuse(path, ": holds no dictionary of tensors")
    state = {}
    for name, tensor in loaded.items():
        if not isinstance(tensor, torch.Tensor):
            refuse(path, ": ", name, ": came ", type(tensor).__name__, ", allowed is a tensor")
        for prefix in ("_orig_mod.", "module."):
            name = name.removeprefix(prefix)
        if name in state:
            refuse(path, ": ", name, " stands twice")
        state[name] = tensor
    return state


def read_config(checkpoint, given):
    path = pathlib.Path(given) if given else checkpoint.parent / "config.json"
    if not path.exists():
        if given:
            refuse(path, ": is missing")
        return {}, None
    config = json.loads(path.read_text())
    if not isinstance(config, dict):
        refuse(path, ": is no object")
    return config, path


def split(state):
    """Tensors of replaced linears by module and suffix, and all the others."""
    suffixes, modules = set(SUFFIXES), set()
    for name in state:
        module, _, last = name.rpartition(".")
        if last in suffixes and LINEAR.match(module):
            modules.add(module)
    layers, others = {module: {} for module in modules}, {}
    for name, tensor in state.items():
        module, _, last = name.rpartition(".")
        if module in modules and last in suffixes | {"weight", "bias"}:
            layers[module][last] = tensor
        else:
            others[name] = tensor
    return layers, others


def base_tensors(folder):
    """name -> function that reads it, of a folder's safetensors."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():
                tensors[name] = path
    if not tensors:
        refuse(folder, ": holds no .safetensors files")
    return tensors


def read_base(tensors, name):
    with safetensors.safe_open(tensors[name], "pt") as file:
        return file.get_tensor(name)


def gather(checkpoint, base, config, options, report):
    """Every tensor of the new folder, the settings of its layers, and its adapters."""
    state = load_state(checkpoint)
    layers, others = split(state)
    tensors, settings, adapters = {}, {}, {}
    for name in sorted(layers):
        layer = Layer(name, layers[name], config, options, report)
        adapter = layer.adapter()
        if adapter is not None:
            adapters[name] = adapter
        if layer.kind() == "dense":
            tensors |= {f"{name}.{part}": layer.take(part) for part in ("weight", "bias") if part in layer.parts}
            report.add("dense", name)
        else:
            parts, settings[name] = layer.read()
            tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
            told = settings[name]
            report.add(f"{told['parameters']}, {told['bits']} bits" + (f", rank {told['rank']}" if "rank" in told else ""),
                       name)
        left = set(layer.parts) - layer.used
        if left:
            refuse(name, ": ", ", ".join(sorted(left)), ": not understood beside ", layer.kind())
    expected = base_tensors(base)
    tied = "lm_head.weight" not in expected
    for name, tensor in others.items():
        if name in expected:
            tensors[name] = tensor
            report.add("as they are", name)
        elif name == "lm_head.weight" and tied and "model.embed_tokens.weight" in others and torch.equal(
                tensor, others["model.embed_tokens.weight"]):
            report.add("left out, the embedding itself", name)
        elif any(fnmatch.fnmatch(name, pattern) for pattern in options.ignore):
            report.add("ignored as asked", name)
        else:
            refuse(name, ": is no tensor of ", base, "; --ignore leaves out what a pattern names")
    missing = [name for name in expected if name not in tensors and name.rpartition(".")[0] not in settings]
    for name in missing:
        if not options.fill_from_base:
            refuse(name, ": is not in the checkpoint (", len(missing), " tensors are missing); --fill-from-base takes them "
                   "from the base")
        tensors[name] = read_base(expected, name)
        report.add("from the base", name)
    if not settings:
        refuse(checkpoint, ": holds no look-up-table layer")
    return tensors, settings, adapters


def write_adapter(folder, adapters, config, options, base):
    ranks = {a.shape[0] for a, _ in adapters.values()}
    if len(ranks) != 1:
        refuse("adapters of ranks ", sorted(ranks), ": allowed is one for all")
    rank = ranks.pop()
    alpha = options.lora_alpha or config.get("recovery_alpha") or config.get("lora_alpha") or rank
    folder.mkdir()
    tensors = {}
    for name, (a, b) in adapters.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = b.contiguous()
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "r": rank,
        "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": sorted({name.rpartition(".")[2] for name in adapters})}, indent=2) + "\n")


def convert(options):
    checkpoint, target, base = (pathlib.Path(path) for path in (options.checkpoint, options.target, options.base))
    if target.exists() and any(target.iterdir()):
        refuse(target, ": is not empty; give a new folder")
    config, config_path = ({}, None) if options.config == "none" else read_config(checkpoint, options.config)
    report = Report()
    tensors, settings, adapters = gather(checkpoint, base, config, options, report)
    model_config = json.loads((base / "config.json").read_text())
    if "quantization_config" in model_config:
        refuse(base, ": is quantised itself; give the model the checkpoint was made from")
    # Rounded to float16 the one scale of balanced levels could move a code; v2 hardly feels it.
    forms = {layer["parameters"] for layer in settings.values()}
    rounds = not options.float32_factors and "v2" in forms and "balanced" not in forms
    model_config["quantization_config"] = {"quant_method": "isogrid_lut", "version": FORMAT_VERSION, "half": rounds,
                                           "layers": settings}
    target.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()},
                                target / "model.safetensors", metadata={"format": "pt"})
    for name in TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, target / name)
    if adapters:
        write_adapter(target / "adapter", adapters, config, options, target)
        report.add(f"adapters, in {target}/adapter", ", ".join(sorted(adapters)[:2]) + f" ({len(adapters)} in all)")
    (target / "config.json").write_text(json.dumps(model_config, indent=2) + "\n")
    print(f"{checkpoint} ({'no config.json' if config_path is None else config_path}) -> {target}")
    print(report.text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("target", metavar="TO")
    parser.add_argument("--base", required=True, help="folder of the model the checkpoint was made from")
    parser.add_argument("--config", help="the checkpoint's config.json; none: there is none")
    parser.add_argument("--bits", type=int, choices=(2, 4), help="of layers with one clip factor whose file does not say")
    parser.add_argument("--lut-max-abs", type=float, help="largest value of trained tables, as it was given in training")
    parser.add_argument("--lora-alpha", type=float, help="of the adapters; else the config's, else their rank")
    parser.add_argument("--float32-factors", action="store_true",
                        help="the layers were trained without rounding their factors to float16")
    parser.add_argument("--fill-from-base", action="store_true", help="take tensors the checkpoint lacks from the base")
    parser.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help="tensors to leave out")
    try:
        convert(parser.parse_args())
    except (Refused, OSError, json.JSONDecodeError) as error:
        sys.exit(f"import_anemll: {error}")


if __name__ == "__main__":
    main()
