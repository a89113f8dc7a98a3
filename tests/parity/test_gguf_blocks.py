"""Every quantiser of GGUF's blocks against llama.cpp's own, byte for byte, and every decoder bit for bit."""

import pathlib
import subprocess

import gguf
import llama_engine
import numpy as np
import pytest
from conftest import ROOT

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4",
         "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"]
IDS = dict(zip(TYPES, [2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 39, 40, 34, 35, 41, 42], strict=True))
IGNORES_IMPORTANCE = {"Q8_0", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"}


def codec(*words, data):
    program = pathlib.Path(__import__("os").environ.get("ISOGRID_TRAINER", ROOT / "build/bin/trainer")).parent / "parity_grids"
    return subprocess.run([program, *map(str, words)], input=data, capture_output=True, check=True).stdout


def awkward_rows(columns, seed):
    """Everything that has ever made a search of scales go another way."""
    draw = np.random.default_rng(seed)
    rows = [draw.normal(size=(300, columns)), draw.laplace(size=(200, columns)) * 0.02,
            draw.standard_t(2, size=(200, columns)), np.abs(draw.normal(size=(100, columns))),
            -np.abs(draw.normal(size=(100, columns))), draw.normal(size=(100, columns)) + 3,
            draw.integers(-8, 8, size=(200, columns)) / 8, draw.integers(-1, 2, size=(100, columns)),
            draw.normal(size=(60, columns)) * (draw.random((60, columns)) < 0.05), np.zeros((2, columns)),
            np.full((2, columns), 0.37), draw.normal(size=(40, columns)) * 1e-7, draw.normal(size=(40, columns)) * 1e3,
            draw.normal(size=(60, columns)) * np.exp(draw.normal(size=(60, columns)) * 2)]
    half_zero = draw.normal(size=(60, columns))
    half_zero[:, : columns // 2] = 0
    return np.concatenate([*rows, half_zero]).astype(np.float32)


def compare(name, rows, importance, isa, tmp_path):
    weights = []
    if importance is not None:
        (tmp_path / "importance.bin").write_bytes(importance.astype(np.float32).tobytes())
        weights = [tmp_path / "importance.bin"]
    ours = np.frombuffer(codec("encode", name, rows.shape[1], isa, *weights, data=rows.tobytes()), dtype=np.uint8)
    theirs = llama_engine.quantised(IDS[name], rows, importance)
    assert ours.size == theirs.size
    different = np.flatnonzero((ours != theirs).reshape(len(rows), -1).any(axis=1))
    assert different.size == 0, f"{name} {isa}: {different.size} of {len(rows)} rows, the first is {different[0]}"
    return ours


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", TYPES)
def test_blocks_are_those_of_the_engine(name, isa, tmp_path):
    rows = awkward_rows(512, seed=1)
    blocks = compare(name, rows, None, isa, tmp_path)
    if name not in IGNORES_IMPORTANCE:
        draw = np.random.default_rng(2)
        for importance in (draw.random(512) ** 4 + 1e-4, (draw.random(512) < 0.5) * 1.0 + 1e-6, np.ones(512)):
            compare(name, rows, importance, isa, tmp_path)
    try:
        theirs = gguf.dequantize(blocks.reshape(len(rows), -1), gguf.GGMLQuantizationType[name])
    except (KeyError, NotImplementedError):
        return  # not known to that package
    ours = np.frombuffer(codec("decode", name, data=blocks.tobytes()), dtype=np.float32)
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.astype(np.float32).reshape(-1).view(np.uint32))


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_a_million_rows_are_those_of_the_engine(name, tmp_path):
    columns = 256
    draw = np.random.default_rng(11)
    for _ in range(20):
        rows = (draw.standard_t(4, size=(50_000, columns)) * 0.03).astype(np.float32)
        compare(name, rows, None, "avx512", tmp_path)
    if name not in IGNORES_IMPORTANCE:
        for _ in range(4):
            rows = (draw.standard_t(4, size=(50_000, columns)) * 0.03).astype(np.float32)
            compare(name, rows, draw.random(columns) ** 3 + 1e-3, "avx512", tmp_path)
