"""The layers of an Anemll QAT checkpoint, of three generations, as tensors of a look-up-table folder: the arithmetic of
import_anemll.py."""

import math

import torch

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
