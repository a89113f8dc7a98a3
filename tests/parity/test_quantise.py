"""Quantised weights, byte for byte, against the libraries whose formats they are."""

import os
import pathlib
import subprocess

import pytest
import safetensors.torch
import torch

bitsandbytes = pytest.importorskip("bitsandbytes")
from bitsandbytes import functional as bnb  # noqa: E402

PROGRAM = pathlib.Path(os.environ.get("ISOGRID_TRAINER", pathlib.Path(__file__).resolve().parents[2] / "build/bin/trainer")
                       ).resolve().parent / "parity_quantise"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def matrices():
    """Everything a weight may be: ordinary, constant, zero, tiny, huge, odd sizes, one number."""
    torch.manual_seed(3)
    values = {
        "ordinary": torch.randn(96, 320) * 0.02, "large": torch.randn(517, 1031) * 0.5, "wide": torch.randn(3, 4096),
        "odd": torch.randn(7, 9), "odd-rows": torch.randn(33, 65), "one": torch.randn(1, 1), "short": torch.randn(1, 63),
        "block": torch.randn(1, 64), "block-and-one": torch.randn(1, 65), "constant": torch.full((5, 77), 0.3125),
        "negative": torch.full((4, 100), -1.5), "zero": torch.zeros(8, 64), "zero-odd": torch.zeros(3, 43),
        "zero-blocks": torch.randn(40, 64) * (torch.arange(40) % 3 == 0)[:, None],
        "zero-in-short": torch.cat([torch.randn(64), torch.zeros(5)])[None],
        "tiny": torch.randn(20, 70) * 1e-7, "huge": torch.randn(20, 70).clamp(-3, 3) * 2e4,
        "outliers": torch.randn(64, 128) * (1 + 300 * (torch.rand(64, 128) > 0.999)),
        "levels": (torch.arange(4096) % 17 - 8).reshape(64, 64) / 8.0,
        "growing": torch.randn(300, 64) * torch.logspace(-4, 2, 300)[:, None],
    }
    tensors = {f"{name}.{kind}": value.to(TYPES[kind]) for name, value in values.items() for kind in TYPES}
    tensors["tiny-float32"] = torch.randn(20, 70) * 1e-38
    tensors["subnormal"] = torch.randn(20, 70) * 1e-40
    tensors["huge-float32"] = torch.randn(20, 70).clamp(-3, 3) * 1e38
    tensors["thresholds"] = thresholds()
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def thresholds():
    """Numbers on, just below and just above every border between two codes, in blocks whose scale is one."""
    values = []
    for kind in ("nf4", "fp4"):
        table = bnb.get_4bit_type(kind, "cpu").sort().values
        borders = (table[:-1] + table[1:]) / 2
        values += [borders, torch.nextafter(borders, torch.tensor(2.0)), torch.nextafter(borders, torch.tensor(-2.0))]
    flat = torch.cat(values)
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % 63)).reshape(-1, 63)
    return torch.cat([torch.ones(len(flat), 1), flat], 1)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantise")
    inputs = matrices()
    safetensors.torch.save_file(inputs, folder / "in.safetensors")
    done = subprocess.run([PROGRAM, folder / "in.safetensors", folder / "out.safetensors"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return inputs, safetensors.torch.load_file(folder / "out.safetensors")


def same_bits(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.contiguous().view(torch.uint8).equal(theirs.contiguous().view(torch.uint8))


def in_one_row(state):
    """The library for processors decodes rows that are no multiple of 64 with the wrong scales; one row it gets right."""
    state.shape = torch.Size([1, state.shape.numel()])
    return state


@pytest.fixture
def one_thread():
    """A sum shared out to threads depends on how many there are; ours is that of one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bit_parts_are_those_of_bitsandbytes(kind, nested, quantised, one_thread):
    inputs, ours = quantised
    for name, dense in inputs.items():
        codes, state = bnb.quantize_4bit(dense.clone(), quant_type=kind, compress_statistics=nested)
        part = f"{name}.{kind}.{'nested' if nested else 'plain'}."
        same_bits(ours[part + "codes"], codes)
        same_bits(ours[part + "absmax"], state.absmax)
        same_bits(ours[part + "quant_map"], state.code)
        if nested:
            same_bits(ours[part + "nested_absmax"], state.state2.absmax)
            same_bits(ours[part + "nested_quant_map"], state.state2.code)
            same_bits(ours[part + "offset"], state.offset.reshape(1))
        for kind_of_number, dtype in TYPES.items():
            state.dtype = dtype
            theirs = bnb.dequantize_4bit(codes, in_one_row(state)).reshape(dense.shape)
            # One of the library's paths gives FP4's negative zero its sign, another does not.
            same_bits(ours[part + f"decoded.{kind_of_number}"] + 0.0, theirs + 0.0)


def test_int8_rows_are_those_of_bitsandbytes(quantised):
    inputs, ours = quantised
    compared = 0
    for name, dense in inputs.items():
        if dense.abs().max() >= 65520:
            assert f"{name}.int8.codes" not in ours
            continue
        codes, scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(dense.half())
        same_bits(ours[f"{name}.int8.codes"], codes)
        same_bits(ours[f"{name}.int8.scales"], scales)
        decoded = torch.ops.bitsandbytes.int8_vectorwise_dequant(codes, scales)
        for kind, dtype in TYPES.items():
            same_bits(ours[f"{name}.int8.decoded.{kind}"], decoded.to(dtype))
        compared += 1
    assert compared > 50
