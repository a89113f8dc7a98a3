"""What loading costs: a model that is quantised while it is loaded never lies in memory as numbers."""

import json
import os
import pathlib
import subprocess
import time

import models
import pytest
import torch

LAYERS, HIDDEN, INNER = 6, 1024, 4096
CASE = models.Case("llama", models.shape(hidden=HIDDEN, intermediate=INNER, layers=LAYERS, heads=8, kv_heads=8), storage=torch.bfloat16)
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.write_model(CASE, tmp_path_factory.mktemp("model"))


def anonymous_peak(words):
    """The largest RssAnon of a process: memory of its own, the mapped file apart."""
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env={**os.environ, "OMP_NUM_THREADS": "2"})
    peak = 0
    while process.poll() is None:
        try:
            for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.0005)
    assert process.returncode == 0, process.stderr.read()
    return peak


def numbers():
    attention, mlp = 4 * HIDDEN * HIDDEN, 3 * HIDDEN * INNER
    table = models.VOCABULARY * HIDDEN
    return LAYERS * (attention + mlp), 2 * table, max(HIDDEN * INNER, table)


@pytest.mark.parametrize("name, words, bits", [
    ("nf4", ["quantization_bit=4"], 4 + 8 / 64 + 32 / (64 * 256)), ("fp4-plain", ["quantization_bit=4", "quantization_type=fp4",
     "double_quantization=false"], 4.5), ("int8", ["quantization_bit=8"], 8)])
def test_loading_takes_the_quantised_size_and_one_tensor(name, words, bits, trainer, model, tmp_path):
    (tmp_path / "ids.json").write_text("[[1, 2, 3]]")

    def peak(folder, *more):
        return anonymous_peak([trainer.path, "logits", "--model_name_or_path", folder, "--token_ids", tmp_path / "ids.json",
                               "--output", tmp_path / "out.safetensors", "--dtype", "bfloat16", *more])

    small = models.write_model(models.Case("llama", models.shape(hidden=16, intermediate=16, layers=1, heads=2, kv_heads=2)),
                               tmp_path / "small")
    idle = peak(small)
    linears, tables, largest = numbers()
    allowed = 1.15 * (linears * bits / 8 + tables * 2 + 4 * largest)
    used = peak(model, *words) - idle
    print(f"{name}: {used / MEBIBYTE:.1f} MiB of {allowed / MEBIBYTE:.1f} allowed; idle {idle / MEBIBYTE:.1f}")
    assert used <= allowed
