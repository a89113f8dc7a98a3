"""Folders exported in bitsandbytes' forms: transformers loads them, and they decode to what bitsandbytes itself makes."""

import json

import models
import peer_training as peer
import pytest
import safetensors.torch
import test_quantise
import test_quantised_folders as folders
import torch
import transformers

bitsandbytes = pytest.importorskip("bitsandbytes")
from bitsandbytes import functional as bnb  # noqa: E402

# name: format, words of the command, how transformers is asked for the same, our own settings for it
EXPORTS = {
    "nf4": ("bnb:nf4", [], "nf4", ["quantization_bit=4"]),
    "nf4-plain-scales": ("bnb:nf4", ["double_quantization=false"], "nf4-plain-scales",
                         ["quantization_bit=4", "double_quantization=false"]),
    "fp4": ("bnb:fp4", [], "fp4", ["quantization_bit=4", "quantization_type=fp4"]),
    "int8": ("bnb:int8", [], "int8", ["quantization_bit=8"]),
}
# Rows that no block of 64 divides; an odd number of numbers in a matrix; biases, a tied head.
SHAPES = {"llama": models.Case("llama", models.shape(hidden=96, intermediate=160, heads=4, kv_heads=2, layers=2)),
          "odd": models.Case("qwen2", models.shape(hidden=66, intermediate=131, heads=6, kv_heads=2, layers=2, head_dim=11 * 2,
                                                   tie_word_embeddings=True), storage=torch.bfloat16)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return {name: models.write_model(case, tmp_path_factory.mktemp(name)) for name, case in SHAPES.items()}


def export(trainer, model, directory, kind, *words):
    trainer.run("export", "--model_name_or_path", model, "--export_dir", directory, "--export_formats", kind, *words)
    return directory / kind.replace(":", "-")


def tensors_of(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in safetensors.torch.load_file(file).items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_the_folder_transformers_would_save(name, shape, trainer, written, tmp_path):
    kind, words, peer_name, ours = EXPORTS[name]
    model = written[shape]
    folder = export(trainer, model, tmp_path, kind, *words)
    config = transformers.BitsAndBytesConfig(**folders.BNB[peer_name])
    dtype = SHAPES[shape].storage
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype, device_map="cpu", quantization_config=config)
    theirs.save_pretrained(tmp_path / "theirs")
    got, wanted = tensors_of(folder), tensors_of(tmp_path / "theirs")
    assert got.keys() == wanted.keys()
    for key, tensor in wanted.items():
        if ".quant_state." in key:
            state, other = (json.loads(bytes(t.tolist())) for t in (got[key], tensor))
            assert state == other, key
        else:
            assert got[key].dtype == tensor.dtype and got[key].shape == tensor.shape, key
            assert got[key].contiguous().view(-1).view(torch.uint8).equal(tensor.contiguous().view(-1).view(torch.uint8)), key

    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype=dtype)
    numbers, before = folders.decoded_by_bitsandbytes(loaded), folders.decoded_by_bitsandbytes(theirs)
    assert len(numbers) == 14
    assert all(numbers[key].equal(before[key]) for key in before)

    # And back through our own reader.
    again = folders.logits(trainer, folder, tmp_path)
    direct = folders.logits(trainer, model, tmp_path, *ours)
    assert all(again[key].equal(direct[key]) for key in direct)


@pytest.mark.parametrize("kind", ["bnb:nf4", "bnb:int8"])
def test_an_adapter_is_merged_before_it_is_quantised(kind, trainer, written, tmp_path):
    model = written["llama"]
    adapter = peer.write_adapter(model, tmp_path / "adapter")
    words = ["--adapter_name_or_path", adapter]
    folder = export(trainer, model, tmp_path, kind, *words)
    merged = safetensors.torch.load_file(export(trainer, model, tmp_path, "hf:float32", *words) / "model.safetensors")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype=torch.float32)
    for name, numbers in folders.decoded_by_bitsandbytes(loaded).items():
        if kind == "bnb:nf4":
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            codes, state = bnb.quantize_4bit(merged[name].clone(), quant_type="nf4", compress_statistics=True)
            wanted = bnb.dequantize_4bit(codes, test_quantise.in_one_row(state)).reshape(numbers.shape)
            torch.set_num_threads(before)
        else:
            codes, scales, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(merged[name].half())
            wanted = torch.ops.bitsandbytes.int8_vectorwise_dequant(codes, scales)
        assert numbers.equal(wanted), name


def test_large_exports_are_cut_into_shards_and_verified(trainer, written, tmp_path):
    folder = export(trainer, written["llama"], tmp_path, "bnb:nf4")
    done = trainer.run("verify", folder, succeed=False)
    assert done.returncode == 0, done.stderr
