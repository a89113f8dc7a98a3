"""What a quantisation-aware run trains is what its files hold: decoded by llama.cpp, the trained weights bit for bit."""

import ctypes
import glob
import json
import os
import shutil

import numpy
import pytest
import safetensors.numpy
import safetensors.torch

from conftest import ROOT
from run_job import write_data

gguf = pytest.importorskip("gguf")

SETTINGS = {
    "stage": "sft", "template": "qwen", "cutoff_len": 64, "max_steps": 4, "per_device_train_batch_size": 2,
    "learning_rate": 3e-3, "threads": 1, "logging_steps": 1, "save_strategy": "no", "compute_dtype": "float32",
    "qat_refresh_steps": 2,
}
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def world(trainer, tmp_path_factory):
    """A model whose rows are whole blocks of every type, stored in bfloat16."""
    root = tmp_path_factory.mktemp("qat")
    shutil.copytree(ROOT / "data/tiny", root / "shape", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((root / "shape/config.json").read_text())
    config.update(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=64)
    (root / "shape/config.json").write_text(json.dumps(config))
    trainer.run("init-model", root / "shape", root / "float32")
    trainer.run("export", "--model_name_or_path", root / "float32", "--export_dir", root / "all",
                "--export_formats", "hf:bfloat16")
    shutil.move(root / "all/hf-bfloat16", root / "model")
    write_data(root / "rows.json")
    return root


@pytest.fixture(scope="module")
def trained(trainer, world):
    """trained(target, how, ...): the folder of a short run."""
    made = {}

    def run(target, how="full", **more):
        key = (target, how, json.dumps(more, sort_keys=True))
        if key not in made:
            folder = world / f"run-{len(made)}"
            values = {**SETTINGS, "model_name_or_path": str(world / "model"), "dataset": str(world / "rows.json"),
                      "tokenized_path": str(world / "cache"), "output_dir": str(folder), "finetuning_type": how,
                      "lora_rank": 4, "qat_target": target, **more}
            config = world / f"run-{len(made)}.yaml"
            config.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))
            trainer.run("--config", config)
            made[key] = folder
        return made[key]

    return run


def export(trainer, world, folder, formats, to):
    words = ["--model_name_or_path", folder]
    if (folder / "adapter_config.json").exists():
        words = ["--model_name_or_path", world / "model", "--adapter_name_or_path", folder]
    trainer.run("export", *words, "--export_dir", to, "--export_formats", formats)
    return glob.glob(f"{to}/*.gguf"), to / "hf-float32"


def llama_decoder():
    """dequantise(type name, bytes) with llama.cpp's own functions; None where there is no library."""
    package = pytest.importorskip("xllamacpp")
    library = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(package.__file__), "*.so"))[0])

    def dequantise(name, blocks, count):
        values = numpy.empty(count, numpy.float32)
        lower = name.lower() if not name.endswith("_K") else name[:-1].lower() + "K"
        function = getattr(library, "dequantize_row_" + lower)
        function.restype, function.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function(blocks.ctypes.data, values.ctypes.data, count)
        return values

    return dequantise


NAMES = {"token_embd": "model.embed_tokens", "output": "lm_head", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def checkpoint_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
    return NAMES[parts[0]] + ".weight"


def assert_decodes_to(file, folder, dequantise):
    """Every matrix of the file against the trained weights; the number of those in few bits."""
    stored = {}
    for path in folder.glob("*.safetensors"):
        stored.update(safetensors.numpy.load_file(path))
    rounded = 0
    for tensor in gguf.GGUFReader(file).tensors:
        if len(tensor.shape) < 2:
            continue
        name, kind = checkpoint_name(tensor.name), tensor.tensor_type.name
        wanted = stored[name]
        blocks = numpy.ascontiguousarray(tensor.data)
        if kind in ("F32", "F16", "BF16"):
            values = gguf.quants.dequantize(blocks, tensor.tensor_type).reshape(wanted.shape)
        else:
            rounded += 1
            values = dequantise(kind, blocks, wanted.size).reshape(wanted.shape)
        assert numpy.array_equal(values.view(numpy.uint32), wanted.view(numpy.uint32)), (tensor.name, kind)
    return rounded


FAST = ["gguf:q4_0", "gguf:q4_k_m"]
TARGETS = ["gguf:q8_0", "gguf:q4_1", "gguf:q5_0", "gguf:q5_1", "gguf:q2_k", "gguf:q3_k_m", "gguf:q4_k_s", "gguf:q5_k_m",
           "gguf:q6_k", "gguf:iq4_nl", "gguf:iq4_xs", "gguf:mxfp4", "gguf:tq1_0", "gguf:tq2_0"]


@pytest.mark.parametrize("how", ["full", "lora"])
@pytest.mark.parametrize("target", FAST + [pytest.param(target, marks=SLOW) for target in TARGETS])
def test_gguf_holds_the_trained_weights(trainer, world, trained, tmp_path, target, how):
    folder = trained(target, how)
    files, exact = export(trainer, world, folder, f"{target},hf:float32", tmp_path)
    assert assert_decodes_to(files[0], exact, llama_decoder()) == 2 * 7 + 1


@pytest.mark.parametrize("how", ["full", "lora"])
@pytest.mark.parametrize("more", [{}, {"qat_scale_mode": "learned"}], ids=["derived", "learned"])
def test_one_grid_for_many_types(trainer, world, trained, tmp_path, how, more):
    folder = trained("universal_int4", how, **more)
    formats = ["gguf:q4_0", "gguf:q4_1", "gguf:q5_0", "gguf:q8_0"]
    files, exact = export(trainer, world, folder, ",".join(formats + ["hf:float32"]), tmp_path)
    assert len(files) == len(formats)
    for file in files:
        assert assert_decodes_to(file, exact, llama_decoder()) == 2 * 7


def test_excluded_modules_stay_as_they_are(trainer, world, trained, tmp_path):
    folder = trained("gguf:q4_0", "lora", qat_exclude=["down_proj", "embed_tokens"], lora_target=["q_proj"])
    files, exact = export(trainer, world, folder, "gguf:q4_0,hf:float32", tmp_path)
    assert assert_decodes_to(files[0], exact, llama_decoder()) == 2 * 6


def test_another_format_is_a_new_quantisation_and_says_so(trainer, world, trained, tmp_path):
    done = trainer.run("export", "--model_name_or_path", trained("gguf:q4_0"), "--export_dir", tmp_path,
                       "--export_formats", "gguf:q5_0")
    assert "trained for gguf:q4_0" in done.stderr


def test_changed_weights_are_refused(trainer, world, trained, tmp_path):
    shutil.copytree(trained("gguf:q4_0"), tmp_path / "run")
    path = tmp_path / "run/model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"] *= 1.01
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    done = trainer.run("export", "--model_name_or_path", tmp_path / "run", "--export_dir", tmp_path / "out",
                       "--export_formats", "gguf:q4_0", succeed=False)
    assert done.returncode == 65 and "model.layers.1.mlp.up_proj.weight" in done.stderr


def test_an_adapter_beside_a_rounded_base_is_not_merged(trainer, world, trained, tmp_path):
    folder = trained("gguf:q4_0", "lora", qat_lora="base")
    done = trainer.run("export", "--model_name_or_path", world / "model", "--adapter_name_or_path", folder,
                       "--export_dir", tmp_path, "--export_formats", "gguf:q4_0", succeed=False)
    assert done.returncode == 78 and "qat_lora: base" in done.stderr
