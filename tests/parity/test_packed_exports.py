"""Folders exported in packed integers: the peers load them where they run on a CPU, decode them to our numbers, and our
own reader computes with the same ones."""

import json
import shutil

import models
import packed_reader
import peer_training as peer
import pytest
import safetensors.torch
import test_quantised_folders as folders
import torch
import transformers

CASES = {
    "llama": models.Case("llama", models.shape(hidden=128, intermediate=160, heads=4, kv_heads=2, layers=2)),
    # Biases, a tied head, as many heads for keys as for queries: every place a factor can be taken back to.
    "qwen2": models.Case("qwen2", models.shape(hidden=64, intermediate=128, heads=4, kv_heads=4, layers=2,
                                               tie_word_embeddings=True), storage=torch.bfloat16),
    # Rows of 66 and 131 fit no container, those of 128 do.
    "odd": models.Case("qwen3", models.shape(hidden=66, intermediate=131, heads=4, kv_heads=2, layers=2, head_dim=32),
                       storage=torch.float16),
}
CALIBRATION = ("--export_quantization_nsamples", 8, "--export_quantization_maxlen", 96)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return {name: models.write_model(case, tmp_path_factory.mktemp(name)) for name, case in CASES.items()}


def export(trainer, model, directory, kind, *words):
    trainer.run("export", "--model_name_or_path", model, "--export_dir", directory, "--export_formats", kind, *CALIBRATION, *words)
    return directory / kind.replace(":", "-")


def same_logits(trainer, folder, numbers, scratch, dtypes=("float32", "bfloat16")):
    """Our logits on the folder and on a dense one of these numbers, bit for bit."""
    parts = (".qweight", ".qzeros", ".scales", ".g_idx", ".weight_packed", ".weight_scale", ".weight_shape", "._weight_qdata",
             "._weight_scale", "._weight_zero_point")
    tensors = {k: v.float() for k, v in packed_reader.tensors_of(folder).items() if not k.endswith(parts)}
    shutil.copytree(folder, scratch / "dense", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (scratch / "dense/config.json").write_text(json.dumps(config))
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()} | {k: v.float().contiguous() for k, v in numbers.items()},
                                scratch / "dense/model.safetensors", {"format": "pt"})
    for dtype in dtypes:
        ours = folders.logits(trainer, folder, scratch, "--dtype", dtype)
        wanted = folders.logits(trainer, scratch / "dense", scratch, "--dtype", dtype)
        assert all(ours[key].equal(wanted[key]) for key in wanted), dtype


def near_the_original(folder, numbers, model, most):
    dense = packed_reader.tensors_of(model)
    for name, number in numbers.items():
        off = (number.float() - dense[name].float()).norm() / dense[name].float().norm()
        assert off < most, (name, off)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["gptq:4", "gptq:3", "gptq:2:g32", "gptq:8:rows"])
def test_gptq(kind, case, trainer, written, tmp_path):
    folder = export(trainer, written[case], tmp_path, kind)
    numbers = packed_reader.gptq_weights(folder)
    settings = packed_reader.settings_of(folder)
    assert settings == json.loads((folder / "quantize_config.json").read_text())
    assert len(numbers) == 14 - len(settings.get("dynamic", {}))
    assert (len(numbers) == 14) == (case != "odd")
    near_the_original(folder, numbers, written[case], {"4": 0.2, "3": 0.4, "2": 1.0, "8": 0.05}[kind[5]])
    same_logits(trainer, folder, numbers, tmp_path)


def test_asymmetric_gptq_is_of_the_second_version(trainer, written, tmp_path):
    folder = export(trainer, written["llama"], tmp_path, "gptq:4", "export_quantization_symmetric=false")
    numbers = packed_reader.gptq_weights(folder)
    assert packed_reader.settings_of(folder)["sym"] is False
    same_logits(trainer, folder, numbers, tmp_path)


def test_an_adapter_is_merged_first(trainer, written, tmp_path):
    adapter = peer.write_adapter(written["llama"], tmp_path / "adapter")
    merged = tmp_path / "merged"
    words = ("--adapter_name_or_path", adapter)
    trainer.run("export", "--model_name_or_path", written["llama"], "--export_dir", merged, "--export_formats", "hf:float32", *words)
    folder = export(trainer, written["llama"], tmp_path, "gptq:8", *words)
    near_the_original(folder, packed_reader.gptq_weights(folder), merged / "hf-float32", 0.02)


@pytest.mark.parametrize("case", ["llama", "qwen2"])
def test_awq(case, trainer, written, tmp_path):
    folder = export(trainer, written[case], tmp_path, "awq:4:g32")
    numbers = packed_reader.awq_weights(folder)
    assert len(numbers) == 14
    settings = packed_reader.settings_of(folder)
    assert (settings["bits"], settings["group_size"], settings["version"], settings["zero_point"]) == (4, 32, "gemm", True)
    same_logits(trainer, folder, numbers, tmp_path)
    # The factors are taken back: the model is still the model, and nearer to it than with plain rounding.
    dense = folders.logits(trainer, written[case], tmp_path, "--dtype", "float32")
    ours = folders.logits(trainer, folder, tmp_path, "--dtype", "float32")
    off = max((ours[k] - dense[k]).norm() / dense[k].norm() for k in dense)
    assert off < 0.35, off


@pytest.mark.parametrize("case", CASES)
def test_compressed_tensors(case, trainer, written, tmp_path):
    pytest.importorskip("compressed_tensors")
    folder = export(trainer, written[case], tmp_path, "ct:int4")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype="auto", quantization_config=transformers.CompressedTensorsConfig(run_compressed=False))
    left = packed_reader.settings_of(folder)["ignore"][1:]
    numbers = {name + ".weight": module.weight.detach() for name, module in loaded.named_modules()
               if isinstance(module, torch.nn.Linear) and name not in ["lm_head", *left]}
    assert len(numbers) == 14 - len(left)
    near_the_original(folder, numbers, written[case], 0.2)
    same_logits(trainer, folder, numbers, tmp_path)


TORCHAO = {"torchao:int8wo": "Int8Tensor", "torchao:int8dq": "Int8Tensor", "torchao:int4wo": "IntxUnpackedToInt8Tensor",
           "torchao:int4wo:g64": "IntxUnpackedToInt8Tensor"}


def torchao_config(kind, group):
    from torchao import quantization as ao
    if kind == "torchao:int8wo":
        return ao.Int8WeightOnlyConfig()
    if kind == "torchao:int8dq":
        return ao.Int8DynamicActivationInt8WeightConfig()
    return ao.IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=ao.PerGroup(group))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", TORCHAO)
def test_torchao(kind, case, trainer, written, tmp_path):
    pytest.importorskip("torchao")
    folder = export(trainer, written[case], tmp_path, kind)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype="auto")
    left = packed_reader.settings_of(folder)["modules_to_not_convert"][1:]
    weights = {name + ".weight": module.weight for name, module in loaded.named_modules()
               if isinstance(module, torch.nn.Linear) and name not in ["lm_head", *left]}
    assert len(weights) == 14 - len(left)
    assert {type(weight).__name__ for weight in weights.values()} <= {TORCHAO[kind]}
    numbers = {name: weight.dequantize() for name, weight in weights.items()}
    if weights:
        loaded(torch.tensor([[1, 2, 3]]))  # it runs
        group = next(iter(weights.values())).block_size[1]
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            written[case], device_map="cpu", dtype="auto", quantization_config=transformers.TorchAoConfig(
                torchao_config(kind, group), modules_to_not_convert=["lm_head", *left]))
        for name, number in numbers.items():
            assert number.equal(theirs.get_parameter(name).dequantize()), name
    # Eight-bit weights are decoded to the model's own type there, to whatever is computed in here.
    own = str(CASES[case].storage).removeprefix("torch.")
    same_logits(trainer, folder, numbers, tmp_path, (own,) if "int8" in kind else ("float32", "bfloat16"))


@pytest.mark.parametrize("kind,named", [("gptq:5", "gptq:4"), ("gptq:4:g48", ":g32"), ("awq:4:rows", ":g64"), ("hf:float16:g32", "hf:float16"),
                                        ("torchao:int8wo:g64", "whole rows"), ("gptq:4:", "gptq:4")])
def test_what_does_not_exist_is_refused_with_what_does(kind, named, trainer, written, tmp_path):
    done = trainer.run("export", "--model_name_or_path", written["llama"], "--export_dir", tmp_path / "out", "--export_formats", kind,
                       succeed=False)
    assert done.returncode == 78 and kind.rsplit(":", 1)[0] in done.stderr and named in done.stderr
