"""Reads GPTQ and AWQ containers from their specifications, with no code of the libraries that made these formats."""

import json
import pathlib

import packed_formats
import safetensors.torch
import torch


def tensors_of(folder):
    return {name: tensor for file in pathlib.Path(folder).glob("*.safetensors")
            for name, tensor in safetensors.torch.load_file(file).items()}


def settings_of(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())["quantization_config"]


def unstream(words, bits, count):
    """The reverse of packed_formats.stream: [..., words] -> codes [..., count]."""
    flat = ((words.long()[..., None] >> torch.arange(32)) & 1).flatten(-2)[..., :count * bits]
    return (flat.unflatten(-1, (count, bits)) << torch.arange(bits)).sum(-1)


def gptq_weights(folder):
    """Every packed linear's numbers, in the scales' type."""
    settings, tensors, weights = settings_of(folder), tensors_of(folder), {}
    bits, first_version = settings["bits"], settings["checkpoint_format"] == "gptq"
    for key in tensors:
        if not key.endswith(".qweight"):
            continue
        name = key.removesuffix(".qweight")
        scales, groups = tensors[name + ".scales"], tensors[name + ".g_idx"].long()
        assert tensors[key].dtype == torch.int32 and scales.dtype == torch.float16
        codes = unstream(tensors[key].t(), bits, len(groups))
        zeros = unstream(tensors[name + ".qzeros"], bits, scales.shape[1]).t()
        if first_version:
            zeros = (zeros + 1) % 2**bits
        weights[name + ".weight"] = (codes - zeros[:, groups]).to(scales.dtype) * scales.t()[:, groups]
    return weights


def awq_weights(folder):
    settings, tensors, weights = settings_of(folder), tensors_of(folder), {}
    back = torch.tensor([packed_formats.AWQ_ORDER.index(i) for i in range(8)])

    def across(words):
        """[rows, outputs / 8] -> [rows, outputs]."""
        return ((words.long()[..., None] >> (4 * torch.arange(8))) & 15)[..., back].flatten(-2)

    for key in tensors:
        if not key.endswith(".qweight"):
            continue
        name = key.removesuffix(".qweight")
        scales = tensors[name + ".scales"]
        codes, zeros = across(tensors[key]), across(tensors[name + ".qzeros"])
        groups = torch.arange(len(codes)) // settings["group_size"]
        weights[name + ".weight"] = ((codes - zeros[groups]).to(scales.dtype) * scales[groups]).t()
    return weights
