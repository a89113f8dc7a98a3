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
import math
import pathlib
import pickle
import re
import shutil
import sys

import safetensors
import safetensors.torch
import torch

FORMAT_VERSION = 1
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
                   "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
                   "generation_config.json")
LINEAR = re.compile(r"^model\.layers\.\d+\.(mlp\.(gate|up|down)|self_attn\.(q|k|v|o))_proj$|^lm_head$")
# Of a replaced linear, everything but .weight and .bias.
SUFFIXES = ("_f_param", "_qat_nbits", "scale_A", "scale_B", "lut", "rank_magnitude", "_Q", "_indices",
            "_scales_baked_flag", "_cached_weight_q", "_lut_raw_deltas", "A_lut", "B_lut", "_A_idx", "_B_idx",
            "lora_A", "lora_B")
# The most a stored code value may lie from its table's.
NEAR = 0.01


class Refused(Exception):
    pass


def refuse(*parts):
    raise Refused("".join(map(str, parts)))


class Report:
    """What became of every tensor, in groups."""

    def __init__(self):
        self.lines = {}

    def add(self, group, name):
        self.lines.setdefault(group, []).append(name)

    def text(self):
        lines = []
        for group, names in self.lines.items():
            shown = ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")
            lines.append(f"  {group}: {shown}")
        return "\n".join(lines)


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


def wanted(config, is_mlp):
    """Bits and rank that a config.json names for a family; None where it does not."""
    family = ("mlp",) if is_mlp else ("attn", "attention")
    bits = rank = None
    for prefix in family:
        if config.get(f"{prefix}_lut_bits") is not None:
            bits = int(config[f"{prefix}_lut_bits"])
        elif config.get(f"{prefix}_lut_size") is not None:
            bits = {4: 2, 16: 4}.get(int(config[f"{prefix}_lut_size"]))
        if config.get(f"{prefix}_scale_rank") is not None:
            rank = int(config[f"{prefix}_scale_rank"])
    if is_mlp:
        if bits is None and config.get("lut_bits") is not None:
            bits = int(config["lut_bits"])
        if bits is None and config.get("lut_size") is not None:
            bits = {4: 2, 16: 4}.get(int(config["lut_size"]))
        if rank is None and config.get("scale_rank") is not None:
            rank = int(config["scale_rank"])
    return bits, rank


def pack(codes, bits):
    """Code c of a row at bit c * bits, little end first; unused bits are zero."""
    per_byte = 8 // bits
    rows, columns = codes.shape
    padded = torch.nn.functional.pad(codes.to(torch.int32), (0, -columns % per_byte)).view(rows, -1, per_byte)
    packed = torch.zeros(padded.shape[:2], dtype=torch.int32)
    for place in range(per_byte):
        packed |= padded[:, :, place] << (bits * place)
    return packed.to(torch.uint8)


def nearest(values, table):
    """The first of the nearest table entries of every value, by rows."""
    middles = (table[1:] + table[:-1]) / 2
    return torch.bucketize(values, middles)


def trained_table(deltas, table, largest):
    """The table of trained logits: steps of at least two float16 units, mirrored, rounded to float16."""
    top = largest if largest is not None else float(table.float().abs().max())
    least = max(2 * 2.0 ** (math.ceil(math.log2(top)) - 10), 1e-4)
    steps = least + (top - len(deltas) * least) * deltas.float().softmax(0)
    positive = steps.cumsum(0)
    positive[-1] = top
    return torch.cat([-positive.flip(0), positive]).half().float()


class Layer:
    """The tensors of one replaced linear, told apart by their suffixes."""

    def __init__(self, name, parts, config, options, report):
        self.name, self.parts, self.config, self.options, self.report = name, parts, config, options, report
        self.used = set()

    def take(self, suffix):
        self.used.add(suffix)
        return self.parts.get(suffix)

    def need(self, suffix, dimensions):
        tensor = self.take(suffix)
        if tensor is None:
            refuse(self.name, ".", suffix, ": is missing")
        if tensor.dim() != dimensions:
            refuse(self.name, ".", suffix, ": has ", tensor.dim(), " dimensions, allowed are ", dimensions)
        if tensor.is_floating_point() and not tensor.isfinite().all():
            refuse(self.name, ".", suffix, ": is not finite")
        return tensor

    def kind(self):
        if "rank_magnitude" in self.parts:
            return "v2"
        if "scale_A" in self.parts or "scale_B" in self.parts:
            return "v1"
        return "balanced" if "_f_param" in self.parts else "dense"

    def check_config(self, bits, rank):
        said = wanted(self.config, ".mlp." in self.name)
        for what, found, told in (("bits", bits, said[0]), ("rank", rank, said[1])):
            if told is not None and found is not None and told != found:
                refuse(self.name, ": has ", what, " ", found, ", its config.json says ", told,
                       "; give the config.json it was trained with (--config), or --config none")

    def table(self):
        table = self.need("lut", 1).float()
        if len(table) not in (4, 16):
            refuse(self.name, ".lut: has ", len(table), " values, allowed are 4 and 16")
        return table

    def balanced(self):
        weight, factor = self.need("weight", 2), self.take("_f_param")
        stored = self.take("_qat_nbits")
        bits = int(stored) if stored is not None else self.options.bits or wanted(self.config, ".mlp." in self.name)[0]
        if bits not in (2, 4):
            refuse(self.name, ": its bits are not in the file (_qat_nbits); give --bits 2 or --bits 4")
        if not factor.isfinite().all() or factor.numel() != 1:
            refuse(self.name, "._f_param: allowed is one finite number")
        return {"weight": weight, "raw_clip": factor.reshape(1).float()}, {"parameters": "balanced", "bits": bits}

    def v1(self):
        weight, table = self.need("weight", 2), self.table()
        a, b = self.need("scale_A", 2).float(), self.need("scale_B", 2).float()
        outputs, inputs = weight.shape
        if a.shape != (outputs, b.shape[0]) or b.shape[1] < inputs:
            refuse(self.name, ": scales of ", list(a.shape), " and ", list(b.shape), " do not fit a weight of ",
                   [outputs, inputs])
        b = b[:, :inputs]
        bits = {4: 2, 16: 4}[len(table)]
        self.check_config(bits, b.shape[0])
        mode = self.config.get("snapped_mode") or ("lut" if self.config.get("snapped") is True else None)
        if mode == "lut":  # the weight was replaced by table values without their scales
            weight = weight.float() * (a @ b).clamp_min(1e-8)
        parts = {"weight": weight, "lut": table, "scale_A": a, "scale_B": b}
        return parts, {"parameters": "v1", "bits": bits, "rank": b.shape[0]}

    def directions(self):
        """scale_A, scale_B and magnitudes as they take part in the product."""
        a, b, g = self.need("scale_A", 2).float(), self.need("scale_B", 2).float(), self.need("rank_magnitude", 1).float()
        if a.shape[1] != len(g) or b.shape[0] != len(g):
            refuse(self.name, ": ranks of scale_A, scale_B and rank_magnitude are ", a.shape[1], ", ", b.shape[0], ", ",
                   len(g))
        flag = self.take("_scales_baked_flag")
        if flag is not None and int(flag) == 1:
            return a * g, b, torch.ones_like(g), True
        if self.config.get("force_positive_scales"):
            positive = torch.nn.functional.softplus if self.config.get("positive_scale_method") == "softplus" else torch.abs
            a, b = positive(a), positive(b)
        how = self.config.get("magnitude_activation", "identity")
        activations = {"identity": lambda x: x, "abs": torch.abs, "softplus": torch.nn.functional.softplus}
        if how not in activations:
            refuse("magnitude_activation: came ", how, ", allowed are ", ", ".join(activations))
        g = activations[how](g) + float(self.config.get("magnitude_eps", 1e-6))
        if "A_lut" in self.parts:  # directions in a few values, which are not brought to length one again
            a = self.need("A_lut", 1).float()[self.need("_A_idx", 2).long()]
            b = self.need("B_lut", 1).float()[self.need("_B_idx", 2).long()]
            g = g * a.norm(dim=0) * b.norm(dim=1)
        return a, b, g, False

    def codes(self, table, scales):
        """Indices where there are some, else those of the stored values, else what a trainer would freeze."""
        indices, values, weight = self.take("_indices"), self.take("_Q"), self.parts.get("weight")
        if indices is not None:
            codes = indices.long()
            if codes.min() < 0 or codes.max() >= len(table):
                refuse(self.name, "._indices: ", int(codes.min()), " to ", int(codes.max()), ", its table has ",
                       len(table), " values")
            if values is not None and "_lut_raw_deltas" not in self.parts:
                gap = float((values.float() - table[codes]).abs().max())
                if gap > NEAR:
                    refuse(self.name, ": _Q and lut[_indices] differ by up to ", gap)
            return codes
        if values is not None:
            order = table.argsort()
            codes = order[nearest(values.float(), table[order])]
            gap = float((values.float() - table[codes]).abs().max())
            if gap > NEAR:
                refuse(self.name, "._Q: lies up to ", gap, " from the values of its table")
            return codes
        if weight is None:
            refuse(self.name, ": holds no codes (_indices, _Q), and no weight they could be made from")
        self.report.add("codes made from the weight, as their trainer would freeze them", self.name)
        order = table.argsort()
        units = (weight.float() / scales).clamp(table.min(), table.max())
        return order[nearest(units.nan_to_num(0.0), table[order])]

    def v2(self):
        table = self.table()
        a, b, g, baked = self.directions()
        scales = (a * g) @ b if baked else ((a / a.norm(dim=0).clamp_min(1e-6)) * g) @ (
            b / b.norm(dim=1, keepdim=True).clamp_min(1e-6))
        codes = self.codes(table, scales)
        deltas = self.take("_lut_raw_deltas")
        if deltas is not None:
            if len(table) != 16 or deltas.shape != (8,):
                refuse(self.name, "._lut_raw_deltas: ", list(deltas.shape), " for a table of ", len(table), " values")
            table = trained_table(deltas, table, self.options.lut_max_abs)
            self.report.add("tables made from their trained logits", self.name)
        if codes.shape != (a.shape[0], b.shape[1]):
            refuse(self.name, ": codes of ", list(codes.shape), " under scales of ", [a.shape[0], b.shape[1]])
        order = table.argsort()
        table, codes = table[order], order.argsort()[codes]
        if (table[1:] <= table[:-1]).any():
            refuse(self.name, ".lut: holds a value twice")
        bits = {4: 2, 16: 4}[len(table)]
        self.check_config(bits, len(g))
        self.take("weight")
        parts = {"codes": pack(codes, bits), "lut": table, "scale_A": a, "scale_B": b, "rank_magnitude": g}
        return parts, {"parameters": "v2", "bits": bits, "rank": len(g), "baked": baked}

    def read(self):
        parts, settings = {"balanced": self.balanced, "v1": self.v1, "v2": self.v2}[self.kind()]()
        for suffix in ("_cached_weight_q", "_A_idx", "_B_idx", "A_lut", "B_lut", "_Q", "_indices"):
            if suffix in self.parts and suffix not in self.used:
                self.used.add(suffix)
                self.report.add("left out, made again when needed", f"{self.name}.{suffix}")
        bias = self.take("bias")
        if bias is not None:
            parts["bias"] = bias
        return parts, settings

    def adapter(self):
        a, b = self.take("lora_A"), self.take("lora_B")
        if (a is None) != (b is None):
            refuse(self.name, ": has only one of lora_A and lora_B")
        if a is None:
            return None
        if a.shape[0] != b.shape[1]:
            refuse(self.name, ": ranks of lora_A and lora_B are ", a.shape[0], " and ", b.shape[1])
        return a, b


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
