"""Folders that others quantised give the logits of a dense folder holding the numbers they decode to, bit for bit."""

import copy
import json
import shutil

import models
import packed_formats as packed
import pytest
import safetensors.torch
import torch

DOCUMENTS = [[5, 17, 400, 3, 88, 931, 2, 61], list(range(100, 160)), [7]]
SHAPES = models.shape(hidden=96, intermediate=160, heads=4, kv_heads=2, layers=2)

# name: format and what its grid is like
FOLDERS = {
    "gptq-v1": ("gptq", dict(bits=4, group=32)),
    "gptq-v1-asymmetric": ("gptq", dict(bits=4, group=64, symmetric=False)),
    "gptq-v2": ("gptq", dict(bits=4, group=32, version=2)),
    "gptq-v2-asymmetric": ("gptq", dict(bits=4, group=128, symmetric=False, version=2)),
    "gptq-act-order": ("gptq", dict(bits=4, group=32, symmetric=False, scattered=True)),
    "gptq-no-g-idx": ("gptq", dict(bits=4, group=32, with_groups=False)),
    "gptq-rows": ("gptq", dict(bits=4, group=-1)),
    "gptq-2": ("gptq", dict(bits=2, group=32, symmetric=False)),
    "gptq-3": ("gptq", dict(bits=3, group=32, symmetric=False)),
    "gptq-3-act-order-v2": ("gptq", dict(bits=3, group=32, symmetric=False, scattered=True, version=2)),
    "gptq-8": ("gptq", dict(bits=8, group=64, symmetric=False)),
    "gptq-8-rows": ("gptq", dict(bits=8, group=-1, scale_type=torch.bfloat16)),
    "awq": ("awq", dict(bits=4, group=32, symmetric=False)),
    "awq-rows": ("awq", dict(bits=4, group=-1, symmetric=False)),
    "ct": ("ct", dict(bits=4, group=32, scale_type=torch.bfloat16)),
    "ct-asymmetric": ("ct", dict(bits=4, group=32, symmetric=False)),
    "ct-channel": ("ct", dict(bits=4, group=-1, scale_type=torch.float32)),
    "ct-act-order": ("ct", dict(bits=4, group=32, scattered=True)),
    "ct-3": ("ct", dict(bits=3, group=32, symmetric=False)),
    "ct-8": ("ct", dict(bits=8, group=-1, symmetric=False)),
}


def quantization_config(kind, bits, group, symmetric, scattered, version):
    if kind == "gptq":
        return {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": scattered, "sym": symmetric,
                "checkpoint_format": "gptq_v2" if version == 2 else "gptq"}
    if kind == "awq":
        return {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group" if group > 0 else "channel",
               "group_size": group if group > 0 else None, "actorder": "group" if scattered else None}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def write_pair(model, folder, kind, bits, group, symmetric=True, scattered=False, version=1, with_groups=True,
               scale_type=torch.float16):
    """`model` twice below `folder`: its linears packed, and as the numbers they decode to."""
    draw = torch.Generator().manual_seed(4)
    tensors = safetensors.torch.load_file(model / "model.safetensors")
    dense, quantised = dict(tensors), dict(tensors)
    for name in [name for name in tensors if name.removesuffix(".weight").endswith(packed.LINEARS)]:
        module = name.removesuffix(".weight")
        outputs, inputs = tensors[name].shape
        codes, zeros, scales, group_of, numbers = packed.grid(
            outputs, inputs, bits, group if group > 0 else inputs, symmetric, scattered, scale_type, draw)
        del quantised[name]
        if kind == "gptq":
            parts = packed.gptq_tensors(module, codes, zeros, scales, group_of, bits, version, with_groups)
        elif kind == "awq":
            parts = packed.awq_tensors(module, codes, zeros, scales)
        else:
            parts = packed.compressed_tensors(module, codes, zeros, scales, group_of, bits, symmetric, scattered)
        quantised |= parts
        dense[name] = numbers.float()
    config = json.loads((model / "config.json").read_text())
    for target, content, settings in (
            (folder / "dense", dense, config),
            (folder / "packed", quantised,
             config | {"quantization_config": quantization_config(kind, bits, group, symmetric, scattered, version)})):
        shutil.copytree(model, target, ignore=shutil.ignore_patterns("*.safetensors"))
        safetensors.torch.save_file(content, target / "model.safetensors", {"format": "pt"})
        (target / "config.json").write_text(json.dumps(settings))
    return folder / "packed", folder / "dense"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.write_model(models.Case("llama", SHAPES), tmp_path_factory.mktemp("model"))


def logits(trainer, folder, scratch, *words):
    (scratch / "ids.json").write_text(json.dumps(DOCUMENTS))
    trainer.run("logits", "--model_name_or_path", folder, "--token_ids", scratch / "ids.json",
                "--output", scratch / "out.safetensors", *words)
    return safetensors.torch.load_file(scratch / "out.safetensors")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_packed_folder_is_the_dense_one(name, trainer, model, tmp_path):
    kind, how = FOLDERS[name]
    quantised, dense = write_pair(model, tmp_path, kind, **how)
    for dtype in ("float32", "bfloat16"):
        ours = logits(trainer, quantised, tmp_path, "--dtype", dtype)
        wanted = logits(trainer, dense, tmp_path, "--dtype", dtype)
        assert ours.keys() == wanted.keys()
        for key in ours:
            assert ours[key].equal(wanted[key]), (dtype, key)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_packing_is_that_of_compressed_tensors(bits, symmetric):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    for outputs, inputs, group in ((40, 96, 32), (17, 75, 75), (64, 256, 128)):
        for scale_type in (torch.float16, torch.bfloat16):
            draw = torch.Generator().manual_seed(bits)
            codes, zeros, scales, _, numbers = packed.grid(outputs, inputs, bits, group, symmetric, False, scale_type, draw)
            middle = 2 ** (bits - 1)
            signed, signed_zeros = (codes - middle).to(torch.int8), (zeros - middle).to(torch.int8)
            tensors = packed.compressed_tensors("m", codes, zeros, scales, None, bits, symmetric, False)
            assert tensors["m.weight_packed"].equal(pack_to_int32(signed, bits))
            if not symmetric:
                assert tensors["m.weight_zero_point"].equal(pack_to_int32(signed_zeros, bits, packed_dim=0))
            args = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="group", group_size=group)
            assert dequantize(signed, scales, signed_zeros, args).equal(numbers)


DAMAGES = {
    "missing scales": lambda t, m: t.pop(f"{m}.scales"),
    "narrow zeros": lambda t, m: t.update({f"{m}.qzeros": t[f"{m}.qzeros"][:, :-1].contiguous()}),
    "codes of no width": lambda t, m: t.update({f"{m}.qweight": t[f"{m}.qweight"][:-1].contiguous()}),
    "floats for codes": lambda t, m: t.update({f"{m}.qweight": t[f"{m}.qweight"].float()}),
    "groups out of range": lambda t, m: t.update({f"{m}.g_idx": t[f"{m}.g_idx"] + 1}),
    "negative groups": lambda t, m: t.update({f"{m}.g_idx": t[f"{m}.g_idx"] - 1}),
    "too many groups": lambda t, m: t.update({f"{m}.scales": torch.ones(500, t[f"{m}.scales"].shape[1]).half(),
                                              f"{m}.qzeros": torch.ones(500, t[f"{m}.qzeros"].shape[1]).int()}),
    "a stranger": lambda t, m: t.update({f"{m}.unknown": torch.ones(1)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_refused_by_name(damage, trainer, model, tmp_path):
    quantised, _ = write_pair(model, tmp_path, "gptq", bits=4, group=32)
    tensors = safetensors.torch.load_file(quantised / "model.safetensors")
    module = "model.layers.1.mlp.up_proj"
    DAMAGES[damage](tensors, module)
    safetensors.torch.save_file(tensors, quantised / "model.safetensors")
    (tmp_path / "ids.json").write_text("[[1]]")
    done = trainer.run("logits", "--model_name_or_path", quantised, "--token_ids", tmp_path / "ids.json",
                       "--output", tmp_path / "out.safetensors", succeed=False)
    assert done.returncode == 65, done.stderr
    assert module in done.stderr


BNB = {
    "nf4": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True),
    "nf4-plain-scales": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "fp4": dict(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=True),
    "nf4-bfloat16-storage": dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                                 bnb_4bit_quant_storage=torch.bfloat16),
    "int8": dict(load_in_8bit=True),
    "int8-one-layer-dense": dict(load_in_8bit=True, llm_int8_skip_modules=["lm_head", "model.layers.0.mlp.up_proj"]),
}


def decoded_by_bitsandbytes(model):
    """Every linear's numbers, as bitsandbytes itself decodes them."""
    import bitsandbytes
    numbers = {}
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            state = copy.copy(module.weight.quant_state)
            shape, state.shape = state.shape, torch.Size([1, state.shape.numel()])  # see in_one_row of test_quantise.py
            flat = bitsandbytes.functional.dequantize_4bit(module.weight.data, state)
            numbers[name + ".weight"] = flat.reshape(shape).float()
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            numbers[name + ".weight"] = torch.ops.bitsandbytes.int8_vectorwise_dequant(
                module.weight.data, module.weight.SCB)
    return numbers


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", BNB)
def test_a_folder_of_bitsandbytes_is_the_dense_one(name, dtype, trainer, model, tmp_path):
    import transformers
    pytest.importorskip("bitsandbytes")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        model, dtype=getattr(torch, dtype), device_map="cpu", quantization_config=transformers.BitsAndBytesConfig(**BNB[name]))
    theirs.save_pretrained(tmp_path / "quantised")
    numbers = decoded_by_bitsandbytes(theirs)
    assert len(numbers) == 14 - ("one-layer" in name)
    dense = safetensors.torch.load_file(model / "model.safetensors")
    dense = {key: value.to(getattr(torch, dtype)) for key, value in (dense | numbers).items()}
    shutil.copytree(model, tmp_path / "dense", ignore=shutil.ignore_patterns("*.safetensors"))
    safetensors.torch.save_file(dense, tmp_path / "dense/model.safetensors", {"format": "pt"})
    ours = logits(trainer, tmp_path / "quantised", tmp_path)  # in the stored type of what is not quantised
    wanted = logits(trainer, tmp_path / "dense", tmp_path)
    for key in wanted:
        assert ours[key].equal(wanted[key]), key


@pytest.mark.parametrize("bits", [4, 8])
def test_a_base_quantised_while_loading_is_the_folder_of_bitsandbytes(bits, trainer, model, tmp_path):
    import transformers
    pytest.importorskip("bitsandbytes")
    config = transformers.BitsAndBytesConfig(**BNB["nf4" if bits == 4 else "int8"])
    transformers.AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, device_map="cpu", quantization_config=config).save_pretrained(tmp_path / "quantised")
    ours = logits(trainer, model, tmp_path, f"quantization_bit={bits}")
    wanted = logits(trainer, tmp_path / "quantised", tmp_path)
    for key in wanted:
        assert ours[key].equal(wanted[key]), key
    aliased = logits(trainer, model, tmp_path, f"load_in_{bits}bit=true")
    assert aliased["logits.0"].equal(ours["logits.0"])
    assert not logits(trainer, model, tmp_path)["logits.0"].equal(ours["logits.0"])


def test_a_quantised_folder_answers_and_is_measured(trainer, model, tmp_path):
    quantised, dense = write_pair(model, tmp_path, "gptq", bits=4, group=32, symmetric=False)
    (tmp_path / "text.txt").write_text(models.text(80))
    results = []
    for folder in (quantised, dense):
        answer = trainer.json("generate", "--model_name_or_path", folder, "--prompt", "bana", "--max_new_tokens", 12,
                              "--do_sample", "false", "--dtype", "float32")
        chat = trainer.run("chat", "--model_name_or_path", folder, "--template", "qwen", "--max_new_tokens", 8,
                           "--do_sample", "false", "--dtype", "float32", text="bana\n")
        measured = trainer.json("eval", "--model_name_or_path", folder, "--text_file", tmp_path / "text.txt",
                                "--eval_window", 64, "--eval_stride", 32, "--dtype", "float32")
        results.append((answer["ids"], chat.stdout, measured["loss"]))
    assert results[0][0] == results[1][0]
    assert results[0][1] == results[1][1]
    assert results[0][2] == pytest.approx(results[1][2], rel=1e-6)


REFUSED = {
    "finetuning_type": ["finetuning_type=full"], "freeze": ["finetuning_type=freeze"], "resize_vocab": ["resize_vocab=true"],
    "pissa_init": ["pissa_init=true"], "train_from_scratch": ["train_from_scratch=true"], "fp8": ["fp8=true"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_quantised_folder_cannot_do_is_refused_by_both_names(name, trainer, model, tmp_path):
    quantised, _ = write_pair(model, tmp_path, "gptq", bits=4, group=32)
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "bana", "output": "tisa"}] * 4))
    done = trainer.run("train", "--model_name_or_path", quantised, "--stage", "sft", "--dataset", tmp_path / "rows.json",
                       "--template", "qwen", "--output_dir", tmp_path / "out", "--max_steps", 1, *REFUSED[name], succeed=False)
    assert done.returncode == 78, done.stderr
    assert REFUSED[name][0].split("=")[0] in done.stderr
    if name not in ("resize_vocab", "fp8"):  # those two no base can do yet
        assert "model_name_or_path" in done.stderr and "gptq:4" in done.stderr


def test_two_adapters_do_not_go_onto_a_quantised_folder(trainer, model, tmp_path):
    import peer_training
    quantised, dense = write_pair(model, tmp_path, "awq", bits=4, group=32, symmetric=False)
    adapters = [peer_training.write_adapter(dense, tmp_path / name, seed=i) for i, name in enumerate("ab")]
    (tmp_path / "ids.json").write_text("[[1]]")
    done = trainer.run("logits", "--model_name_or_path", quantised, "--adapter_name_or_path", ",".join(map(str, adapters)),
                       "--token_ids", tmp_path / "ids.json", "--output", tmp_path / "out.safetensors", succeed=False)
    assert done.returncode == 78 and "adapter_name_or_path" in done.stderr and "model_name_or_path" in done.stderr, done.stderr
    one = [logits(trainer, folder, tmp_path, "--adapter_name_or_path", adapters[0], "--dtype", "float32")
           for folder in (quantised, dense)]
    assert all(one[0][key].equal(one[1][key]) for key in one[0])


def test_bits_asked_of_a_folder_that_has_them_are_a_warning(trainer, model, tmp_path):
    quantised, _ = write_pair(model, tmp_path, "gptq", bits=4, group=32)
    (tmp_path / "ids.json").write_text("[[1, 2]]")
    done = trainer.run("logits", "--model_name_or_path", quantised, "--token_ids", tmp_path / "ids.json", "--output",
                       tmp_path / "out.safetensors", "quantization_bit=8")
    assert "quantised already" in done.stderr


@pytest.mark.parametrize("config", [
    {"quant_method": "fp8"}, {"quant_method": "gptq", "checkpoint_format": "gptq_p"}, {"bits": 4}, [],
    {"quant_method": "compressed-tensors", "format": "int-quantized", "config_groups": {}},
    {"quant_method": "awq", "version": "gemv", "bits": 4}], ids=lambda c: str(c)[:40])
def test_unknown_ways_of_quantising_are_refused(config, trainer, model, tmp_path):
    quantised, _ = write_pair(model, tmp_path, "gptq", bits=4, group=32)
    settings = json.loads((quantised / "config.json").read_text()) | {"quantization_config": config}
    (quantised / "config.json").write_text(json.dumps(settings))
    (tmp_path / "ids.json").write_text("[[1]]")
    done = trainer.run("logits", "--model_name_or_path", quantised, "--token_ids", tmp_path / "ids.json", "--output",
                       tmp_path / "out.safetensors", succeed=False)
    assert done.returncode == 65 and "quantization_config" in done.stderr, done.stderr
