"""Importance matrices against the squares of what transformers' linears are given."""

import json

import gguf
import llama_engine
import numpy as np
import pytest
import torch

import models
from test_gguf import OWN, export

CHUNK = 512


def reference_sums(folder, ids, chunk):
    model = models.load_reference(folder, torch.float32)
    sums, counts = {}, {}

    def listen(name):
        def hook(_, inputs):
            rows = inputs[0].reshape(-1, inputs[0].shape[-1]).double()
            sums[name] = sums.get(name, 0) + (rows**2).sum(0)
            counts[name] = counts.get(name, 0) + len(rows)
        return hook

    for name, module in model.model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(listen(name))
    with torch.no_grad():
        for first in range(0, len(ids) - len(ids) % chunk, chunk):
            model(torch.tensor([ids[first : first + chunk]]), use_cache=False)
    return sums, counts


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


@pytest.mark.parametrize("name", ["qwen2-untied", "qwen3-wide-heads", "llama", "smollm3"])
def test_sums_are_those_of_the_linears_inputs(trainer, model_folder, tmp_path, name):
    folder = model_folder(name)
    (tmp_path / "text.txt").write_text(models.text(700))
    trainer.run("imatrix", "--model_name_or_path", folder, "--text_file", tmp_path / "text.txt", "--output",
                tmp_path / "m.gguf", "--dtype", "float32")
    ids = trainer.run("tokenize", "--model_name_or_path", folder,
                      text=json.dumps((tmp_path / "text.txt").read_text()) + "\n").stdout
    ids = json.loads(ids)
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    chunk = int(reader.fields["imatrix.chunk_size"].contents())
    assert chunk == min(CHUNK, 256)  # these models see 256 tokens
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.datasets"].contents() == [str(tmp_path / "text.txt")]
    assert reader.fields["imatrix.chunk_count"].contents() == len(ids) // chunk
    sums, counts = reference_sums(folder, ids, chunk)
    tensors = {tensor.name: np.array(tensor.data).reshape(-1) for tensor in reader.tensors}
    assert len(tensors) == 2 * len(sums)
    for module, wanted in sums.items():
        layer, _, part = module.partition(".")
        ours = f"blk.{layer}.{NAMES[part]}.weight"
        assert tensors[ours + ".counts"].item() == counts[module]
        np.testing.assert_allclose(tensors[ours + ".in_sum2"], wanted.numpy(), rtol=1e-4, atol=1e-6, err_msg=ours)


def test_sums_are_those_the_engine_would_collect(trainer, model_folder, tmp_path):
    folder = model_folder("llama")
    (path,) = export(trainer, folder, tmp_path, "gguf:f32")
    (tmp_path / "text.txt").write_text(models.text(700))
    trainer.run("imatrix", "--model_name_or_path", path, "--text_file", tmp_path / "text.txt", "--output",
                tmp_path / "m.gguf")
    engine = llama_engine.Engine(path)
    ids = engine.tokenize((tmp_path / "text.txt").read_text())
    sums = {}
    for first in range(0, len(ids) - 255, 256):
        for name, inputs in engine.inputs_of_linears(ids[first : first + 256]).items():
            sums[name] = sums.get(name, 0) + (inputs.astype(np.float64) ** 2).sum(0)
    engine.close()
    tensors = {tensor.name: np.array(tensor.data).reshape(-1) for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert len(sums) == len(tensors) // 2
    for name, wanted in sums.items():
        np.testing.assert_allclose(tensors[name + ".in_sum2"], wanted, rtol=1e-4, err_msg=name)


def test_it_changes_what_is_quantised_as_in_the_engine(trainer, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    models.write_model(OWN["qwen3-blocks"], folder)
    (tmp_path / "text.txt").write_text(models.text(900))
    for form in ("m.gguf", "m.dat"):
        trainer.run("imatrix", "--model_name_or_path", folder, "--text_file", tmp_path / "text.txt", "--output",
                    tmp_path / form, "--dtype", "float32")
    sums = {tensor.name: np.array(tensor.data).reshape(-1) for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    (plain,) = export(trainer, folder, tmp_path / "plain", "gguf:q4_0")
    for form in ("m.gguf", "m.dat"):
        (path,) = export(trainer, folder, tmp_path / form.replace(".", "-"), "gguf:q4_0", imatrix=tmp_path / form)
        reader = gguf.GGUFReader(path)
        assert reader.fields["quantize.imatrix.entries_count"].contents() == len(sums) // 2
        (numbers,) = export(trainer, folder, tmp_path / "f32", "gguf:f32")
        values = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(numbers).tensors}
        compared = 0
        for tensor in reader.tensors:
            if tensor.name + ".in_sum2" not in sums or form == "m.dat":
                continue
            means = sums[tensor.name + ".in_sum2"] / sums[tensor.name + ".counts"]
            theirs = llama_engine.quantised(tensor.tensor_type.value, values[tensor.name], means)
            assert np.array_equal(np.array(tensor.data).reshape(-1).view(np.uint8), theirs), tensor.name
            compared += 1
        assert compared or form == "m.dat"
    before = {tensor.name: tensor for tensor in gguf.GGUFReader(plain).tensors}
    after = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert any(not np.array_equal(before[name].data, after[name].data) for name in before)
