"""GPTQ: a layer's error is the reference implementation's, on one layer and through a whole model."""

import json
import os
import pathlib
import subprocess

import gptq_reference as reference
import models
import packed_reader
import pytest
import safetensors.torch
import torch
import transformers

SOLVED = [  # bits, group, symmetric, order
    (4, 128, True, "stored"), (4, 128, True, "important"), (4, 128, True, "scattered"), (4, 32, False, "important"),
    (4, -1, True, "stored"), (3, 64, False, "stored"), (3, 128, True, "important"), (3, -1, False, "scattered"),
    (2, 32, True, "important"), (2, 64, False, "scattered"), (8, 128, True, "stored"), (8, 32, False, "important"),
    (4, 256, True, "stored"),
]


def correlated(tokens, columns, draw):
    """Inputs like those of real layers: they go together, and some are much louder than others."""
    mixing = torch.randn(columns, columns, generator=draw) * 0.05 + torch.eye(columns)
    loudness = torch.exp(torch.randn(columns, generator=draw))
    return torch.randn(tokens, columns, generator=draw) @ mixing * loudness


@pytest.mark.parametrize("bits,group,symmetric,order", SOLVED)
def test_the_error_of_a_layer_is_the_references(bits, group, symmetric, order, trainer, tmp_path):
    draw = torch.Generator().manual_seed(bits * 100 + max(group, 0))
    weight, inputs = torch.randn(200, 500, generator=draw) * 0.1, correlated(1500, 500, draw)
    inputs[:, 7] = 0  # one input never speaks
    safetensors.torch.save_file({"weight": weight, "inputs.0": inputs[:900].contiguous(), "inputs.1": inputs[900:].contiguous()},
                                tmp_path / "in.safetensors")
    program = pathlib.Path(os.environ.get("ISOGRID_TRAINER", trainer.path)).parent / "parity_gptq"
    subprocess.run([program, tmp_path / "in.safetensors", tmp_path / "out.safetensors", str(bits), str(group),
                    "symmetric" if symmetric else "asymmetric", order, "0.01"], check=True)
    ours = safetensors.torch.load_file(tmp_path / "out.safetensors")
    theirs = reference.quantise(weight, inputs, bits, group, symmetric, order)
    error = reference.layer_error(ours["rounded"], weight, inputs)
    assert error == pytest.approx(reference.layer_error(theirs, weight, inputs), rel=0.01)
    assert error < 0.9 * reference.layer_error(ours["nearest"], weight, inputs)
    # Not only as good: mostly the same numbers (a code that falls on the other side moves those behind it).
    assert (ours["rounded"] - theirs).abs().lt(1e-5).double().mean() > 0.85


SHAPES = models.shape(hidden=96, intermediate=160, heads=4, kv_heads=4, layers=2)
GROUPS = (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("self_attn.o_proj",),
          ("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",))


@torch.no_grad()
def errors_through(model, rows, replace):
    """Layer by layer, inputs as the layers before it leave them: replace(name, weight, inputs) gives the weight that
    stays. Returns the error of each."""
    errors = {}
    for layer in range(len(model.model.layers)):
        for group in GROUPS:
            names = [f"model.layers.{layer}.{name}" for name in group]
            modules = [model.get_submodule(name) for name in names]
            seen = []
            hook = modules[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].flatten(0, -2)))
            for row in rows:
                model(torch.tensor([row]), use_cache=False)
            hook.remove()
            inputs = torch.cat(seen)
            for name, module in zip(names, modules):
                dense = module.weight.clone()
                module.weight.copy_(replace(name, dense, inputs))
                errors[name] = reference.layer_error(module.weight, dense, inputs)
    return errors


@pytest.mark.parametrize("bits,order", [(4, "important"), (3, "stored"), (4, "scattered")])
def test_a_model_is_rounded_as_the_reference_rounds_it(bits, order, trainer, tmp_path):
    folder = models.write_model(models.Case("llama", SHAPES), tmp_path / "model")
    text = models.text(900, seed=5)
    (tmp_path / "calibration.txt").write_text(text.replace("\n", " "))
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text.replace("\n", " "))["input_ids"]
    done = trainer.run("export", "--model_name_or_path", folder, "--export_dir", tmp_path / "out", "--export_formats",
                       f"gptq:{bits}:g32", "--export_quantization_dataset", tmp_path / "calibration.txt",
                       "--export_quantization_maxlen", 128, "--export_quantization_order", order, "stage=pt")
    assert "export_quantization_dataset" in done.stderr
    rows = [tokens[first:first + 128] for first in range(0, len(tokens), 128)]
    ours = packed_reader.gptq_weights(tmp_path / f"out/gptq-{bits}-g32")
    assert len(ours) == 14
    dense = models.load_reference(folder, torch.float32)
    theirs = errors_through(dense, rows, lambda name, weight, inputs: reference.quantise(
        weight, inputs, bits, 32, True, order))
    dense = models.load_reference(folder, torch.float32)
    got = errors_through(dense, rows, lambda name, weight, inputs: ours[name + ".weight"].float())
    nearest = errors_through(models.load_reference(folder, torch.float32), rows, lambda name, weight, inputs: torch.cat([
        s[:, None] * (torch.clamp(torch.round(part / s[:, None]) + z[:, None], 0, 2**bits - 1) - z[:, None])
        for part in weight.split(32, 1) for s, z in [reference.grid(part, bits, True)]], 1))
    for name in got:
        assert got[name] == pytest.approx(theirs[name], rel=0.05), name
    assert sum(got.values()) == pytest.approx(sum(theirs.values()), rel=0.01)
    assert sum(got.values()) < 0.9 * sum(nearest.values())


def test_the_same_text_gives_the_same_bytes(trainer, tmp_path):
    folder = models.write_model(models.Case("qwen2", SHAPES), tmp_path / "model")
    words = ("export", "--model_name_or_path", folder, "--export_formats", "gptq:4", "--export_quantization_maxlen", 64,
             "--export_quantization_nsamples", 6)
    for name, threads in (("a", 1), ("b", 2)):
        done = trainer.run(*words, "--export_dir", tmp_path / name, "threads=%d" % threads)
        assert "the bundled text" in done.stderr
    a, b = ((tmp_path / name / "gptq-4/model.safetensors").read_bytes() for name in "ab")
    assert len(a) == len(b)
    config = json.loads((tmp_path / "a/gptq-4/config.json").read_text())["quantization_config"]
    assert config["meta"]["calibration"].startswith("6 rows (384 tokens) of the bundled text")


def test_llama_factorys_way_of_asking(trainer, tmp_path):
    folder = models.write_model(models.Case("llama", SHAPES), tmp_path / "model")
    words = ("export", "--model_name_or_path", folder, "--export_dir", tmp_path / "out", "--export_quantization_bit")
    trainer.run(*words, 8, "--export_quantization_maxlen", 32, "--export_quantization_nsamples", 2)
    config = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert (config["bits"], config["group_size"], config["checkpoint_format"]) == (8, 32, "gptq")
    done = trainer.run(*words, 5, succeed=False)
    assert done.returncode == 78 and "export_quantization_bit" in done.stderr
    done = trainer.run(*words, 4, "--export_formats", "hf", succeed=False)
    assert done.returncode == 78 and "export_formats" in done.stderr


def test_training_on_a_base_it_quantises_first(trainer, tmp_path):
    """quantization_method: gptq: the base is calibrated on the run's own rows, kept, and used again."""
    folder = models.write_model(models.Case("llama", SHAPES), tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": models.text(40, seed=n)}) + "\n" for n in range(12)))
    words = ("train", "--model_name_or_path", folder, "--output_dir", tmp_path / "run", "stage=pt", "finetuning_type=lora",
             f"dataset={tmp_path / 'rows.jsonl'}", "--dataset_dir", tmp_path, "cutoff_len=64", "quantization_bit=4",
             "quantization_method=gptq", "export_quantization_maxlen=64", "per_device_train_batch_size=2", "report_to=none",
             "save_steps=2")
    done = trainer.run(*words, "max_steps=2")
    assert "calibrated on" in done.stderr and "dataset" in done.stderr
    base = tmp_path / "run/base-gptq-4"
    first = (base / "model.safetensors").read_bytes()
    assert len(packed_reader.gptq_weights(base)) == 14
    (tmp_path / "ids.json").write_text("[[5, 6, 7, 8]]")
    for name, model, more in (("with", base, ["--adapter_name_or_path", tmp_path / "run"]), ("without", base, [])):
        trainer.run("logits", "--model_name_or_path", model, *more, "--token_ids", tmp_path / "ids.json", "--output", tmp_path / name)
    assert not safetensors.torch.load_file(tmp_path / "with")["logits.0"].equal(
        safetensors.torch.load_file(tmp_path / "without")["logits.0"])
    done = trainer.run(*words, "max_steps=4", "threads=1")
    assert "calibrated on" not in done.stderr
    assert (base / "model.safetensors").read_bytes() == first
