"""Checkpoints of the Anemll QAT project, written here as its trainers write them, serve the same weights as folders."""

import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from conftest import ROOT
from test_lut import POSITIVE16

SCRIPT = os.path.join(ROOT, "scripts/import_anemll.py")
BASE = "qwen3-wide-heads"


def table(bits):
    positive = POSITIVE16 if bits == 4 else [0.33349609375, 1.0]
    return torch.tensor([-v for v in reversed(positive)] + positive)


def linears(state):
    return [name.removesuffix(".weight") for name in state if name.endswith("_proj.weight")]


class Checkpoint:
    """A state dict of the base with its linears replaced; `served` are the weights their layers stand for."""

    def __init__(self, base, seed=3):
        self.base = base
        self.state = {name: tensor.float() for name, tensor in safetensors.torch.load_file(
            base / "model.safetensors").items()}
        self.generator, self.served = torch.Generator().manual_seed(seed), {}

    def random(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def v2(self, name, bits=2, rank=3, **how):
        weight, lut = self.state[f"{name}.weight"], table(bits)
        outputs, inputs = weight.shape
        a, b = self.random(outputs, rank), self.random(rank, inputs)
        g = (self.random(rank).abs() * 3 + 1).half().float()
        codes = torch.randint(0, len(lut), weight.shape, generator=self.generator)
        if how.get("baked"):
            a, b, g = (a * g).half().float(), b.half().float(), torch.ones(rank)
            scales = a @ b
        else:
            unit_a, unit_b = a / a.norm(dim=0), b / b.norm(dim=1, keepdim=True)
            scales = (unit_a * (g + 1e-6)).half().float() @ unit_b.half().float()
        self.served[name] = lut[codes] * scales
        self.state |= {f"{name}.scale_A": a, f"{name}.scale_B": b, f"{name}.rank_magnitude": g, f"{name}.lut": lut,
                       f"{name}._scales_baked_flag": torch.tensor(int(how.get("baked", False)), dtype=torch.int8)}
        stored = how.get("stored", "both")
        if stored in ("both", "values"):
            self.state[f"{name}._Q"] = lut[codes]
        if stored in ("both", "indices"):
            self.state[f"{name}._indices"] = codes if bits == 2 else codes.to(torch.int16)
        return codes

    def v1(self, name, bits=4, rank=2, padding=5):
        weight, lut = self.state[f"{name}.weight"], table(bits)
        outputs, inputs = weight.shape
        a, b = self.random(outputs, rank).abs(), self.random(rank, inputs + padding).abs()
        scales = (a @ b[:, :inputs]).clamp_min(1e-8)
        units = (weight / scales).clamp(-1, 1)
        codes = ((units + 1) / (2 / (len(lut) - 1))).round().long()
        self.served[name] = lut[codes] * scales
        self.state |= {f"{name}.scale_A": a, f"{name}.scale_B": b, f"{name}.lut": lut}

    def balanced(self, name, bits=2, tell_bits=True):
        weight, raw = self.state[f"{name}.weight"], torch.tensor(0.3)
        highest = 2 ** (bits - 1)
        clip = torch.nn.functional.softplus(raw) + 1e-8
        scale = clip * weight.abs().max() / highest
        codes = (weight / scale + 0.5).round().clamp(1 - highest, highest)
        self.served[name] = (codes - 0.5) * scale
        self.state[f"{name}._f_param"] = raw
        if tell_bits:
            self.state[f"{name}._qat_nbits"] = torch.tensor(bits, dtype=torch.int16)


@pytest.fixture
def checkpoint(model_folder):
    return Checkpoint(model_folder(BASE))


def run_import(tmp_path, checkpoint, *flags, config=None, succeed=True, wrap=None, target="out"):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    torch.save({wrap: checkpoint.state} if wrap else checkpoint.state, source / "model.pt")
    if config is not None:
        (source / "config.json").write_text(json.dumps(config))
    done = subprocess.run([sys.executable, SCRIPT, source / "model.pt", tmp_path / target, "--base", checkpoint.base,
                           *flags], capture_output=True, text=True)
    assert (done.returncode == 0) == succeed, done.stderr
    return done.stdout if succeed else done.stderr


def expect_served(trainer, tmp_path, checkpoint, allowed=2e-6):
    trainer.run("convert", tmp_path / "out", tmp_path / "dense", "--outtype", "f32")
    dense = {}
    for path in (tmp_path / "dense").glob("*.safetensors"):
        dense |= safetensors.torch.load_file(path)
    for name, wanted in checkpoint.served.items():
        gap = (dense[f"{name}.weight"] - wanted).abs().max() / wanted.abs().max()
        assert gap <= allowed, (name, gap)
    for name, tensor in checkpoint.state.items():
        if name in dense and name.removesuffix(".weight") not in checkpoint.served:
            assert torch.equal(dense[name], tensor), name


Q2A4 = {"version": "v2", "config_preset": "q2a4", "lut_bits": 2, "attn_lut_bits": 4, "scale_rank": 3,
        "attn_scale_rank": 2, "group_size": 32}


def test_directions_and_magnitudes_under_frozen_codes(trainer, tmp_path, checkpoint):
    for i, name in enumerate(linears(checkpoint.state)):
        mlp = ".mlp." in name
        checkpoint.v2(name, 2 if mlp else 4, 3 if mlp else 2, stored=("both", "values", "indices")[i % 3],
                      baked=i % 5 == 4)
    said = run_import(tmp_path, checkpoint, config=Q2A4)
    assert "v2, 2 bits, rank 3" in said and "v2, 4 bits, rank 2" in said
    expect_served(trainer, tmp_path, checkpoint)
    assert trainer.run("verify", tmp_path / "out").returncode == 0
    layers = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]["layers"]
    assert {layer["baked"] for layer in layers.values()} == {True, False}


def test_all_generations_side_by_side(trainer, tmp_path, checkpoint):
    makers = (checkpoint.v1, checkpoint.balanced, checkpoint.v2)
    for i, name in enumerate(linears(checkpoint.state)):
        makers[i % 3](name)
    said = run_import(tmp_path, checkpoint, wrap="model")
    assert "v1, 4 bits, rank 2" in said and "balanced, 2 bits" in said
    expect_served(trainer, tmp_path, checkpoint, allowed=1.5e-3)  # beside balanced levels v2 serves float32 factors


def test_the_first_generation_alone_keeps_its_scale(trainer, tmp_path, checkpoint):
    for i, name in enumerate(linears(checkpoint.state)):
        checkpoint.balanced(name, bits=(2, 4)[i % 2], tell_bits=i % 2 == 0)
    assert "--bits" in run_import(tmp_path, checkpoint, succeed=False)
    run_import(tmp_path, checkpoint, "--bits", "4")
    expect_served(trainer, tmp_path, checkpoint)


def test_generations_side_by_side_generate(trainer, tmp_path, checkpoint):
    for i, name in enumerate(linears(checkpoint.state)):
        (checkpoint.v1, checkpoint.v2)[i % 2](name)
    run_import(tmp_path, checkpoint)
    answer = trainer.run("generate", "--model_name_or_path", tmp_path / "out", "--prompt", "a", "--max_new_tokens", "3")
    assert answer.returncode == 0


def test_some_linears_may_stay_dense_and_what_is_missing_come_from_the_base(trainer, tmp_path, checkpoint):
    names = linears(checkpoint.state)
    checkpoint.v2(names[0])
    norm = next(name for name in checkpoint.state if name.endswith("input_layernorm.weight"))
    del checkpoint.state[norm]
    assert norm in run_import(tmp_path, checkpoint, succeed=False)
    said = run_import(tmp_path, checkpoint, "--fill-from-base")
    assert f"from the base: {norm}" in said
    expect_served(trainer, tmp_path, checkpoint)


def test_trained_tables_are_those_of_their_logits(trainer, tmp_path, checkpoint):
    name = linears(checkpoint.state)[0]
    codes = checkpoint.v2(name, bits=4)
    deltas = checkpoint.random(8)
    least = 0.001953125
    positive = (least + (1 - 8 * least) * deltas.softmax(0)).cumsum(0)
    positive[-1] = 1
    lut = torch.cat([-positive.flip(0), positive]).half().float()
    checkpoint.served[name] = checkpoint.served[name] / table(4)[codes] * lut[codes]
    checkpoint.state[f"{name}._lut_raw_deltas"] = deltas
    assert "tables made from their trained logits" in run_import(tmp_path, checkpoint)
    expect_served(trainer, tmp_path, checkpoint, allowed=1e-5)


def test_codes_that_are_not_stored_are_made_as_their_trainer_would(tmp_path, checkpoint, trainer):
    name = linears(checkpoint.state)[0]
    checkpoint.v2(name, stored="none")
    a, b, g = (checkpoint.state[f"{name}.{part}"] for part in ("scale_A", "scale_B", "rank_magnitude"))
    scales = (a / a.norm(dim=0) * (g + 1e-6)) @ (b / b.norm(dim=1, keepdim=True))
    units = (checkpoint.state[f"{name}.weight"] / scales).clamp(-1, 1)
    codes = (units.unsqueeze(2) - table(2)).abs().argmin(2)
    checkpoint.served[name] = table(2)[codes] * scales
    assert "codes made from the weight" in run_import(tmp_path, checkpoint, "--float32-factors")
    expect_served(trainer, tmp_path, checkpoint)


def test_positive_scales_of_older_settings(trainer, tmp_path, checkpoint):
    name = linears(checkpoint.state)[0]
    codes = checkpoint.v2(name)
    a, b, g = (checkpoint.state[f"{name}.{part}"] for part in ("scale_A", "scale_B", "rank_magnitude"))
    a, b, g = a.abs(), b.abs(), torch.nn.functional.softplus(g) + 1e-6
    checkpoint.served[name] = table(2)[codes] * ((a / a.norm(dim=0) * g) @ (b / b.norm(dim=1, keepdim=True)))
    run_import(tmp_path, checkpoint, "--float32-factors",
               config={"force_positive_scales": True, "magnitude_activation": "softplus"})
    expect_served(trainer, tmp_path, checkpoint)


def test_snapped_first_generation(trainer, tmp_path, checkpoint):
    name = linears(checkpoint.state)[0]
    checkpoint.v1(name)
    scales = (checkpoint.state[f"{name}.scale_A"] @ checkpoint.state[f"{name}.scale_B"]).clamp_min(1e-8)
    checkpoint.state[f"{name}.weight"] = checkpoint.served[name] / scales[:, :checkpoint.served[name].shape[1]]
    run_import(tmp_path, checkpoint, config={"snapped_mode": "lut", "lut_size": 16, "scale_rank": 2, "attn_scale_rank": 2})
    expect_served(trainer, tmp_path, checkpoint)


def test_adapters_become_a_peft_folder(trainer, tmp_path, checkpoint):
    names = linears(checkpoint.state)
    for name in names[:3]:
        checkpoint.v2(name)
        outputs, inputs = checkpoint.state[f"{name}.weight"].shape
        checkpoint.state |= {f"{name}.lora_A": checkpoint.random(2, inputs), f"{name}.lora_B": checkpoint.random(outputs, 2)}
    run_import(tmp_path, checkpoint, config={"recovery_r": 2, "recovery_alpha": 8})
    adapter = tmp_path / "out/adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] == 8
    stored = safetensors.torch.load_file(adapter / "adapter_model.safetensors")
    assert torch.equal(stored[f"base_model.model.{names[0]}.lora_A.weight"], checkpoint.state[f"{names[0]}.lora_A"])
    done = trainer.run("generate", "--model_name_or_path", tmp_path / "out", "--adapter_name_or_path", adapter, "--prompt",
                       "a", "--max_new_tokens", "3")
    assert done.returncode == 0


def test_what_is_not_understood_ends_the_import_by_name(tmp_path, checkpoint):
    name = linears(checkpoint.state)[0]
    checkpoint.v2(name)

    def refused(words, config=None, **changes):
        kept = dict(checkpoint.state)
        checkpoint.state |= changes
        assert words in run_import(tmp_path, checkpoint, config=config or {}, succeed=False)
        checkpoint.state = kept

    refused("config.json says 4", config={"lut_bits": 4, "attn_lut_bits": 4})
    refused("says 32", config={"scale_rank": 32, "attn_scale_rank": 32})
    refused(f"{name}._indices", **{f"{name}._indices": torch.full_like(checkpoint.state[f"{name}._indices"], 4)})
    refused("differ", **{f"{name}._Q": -checkpoint.state[f"{name}._Q"]})
    refused("not finite", **{f"{name}.scale_A": checkpoint.state[f"{name}.scale_A"] * torch.nan})
    refused("ranks of", **{f"{name}.rank_magnitude": torch.ones(7)})
    refused("only one of", **{f"{name}.lora_A": torch.ones(2, 4)})
    refused("is no tensor of", **{"model.surprise": torch.ones(2)})
    refused("not understood", **{f"{name}._f_param": torch.ones(())})
    checkpoint.state["model.surprise"] = torch.ones(2)
    assert "ignored as asked" in run_import(tmp_path, checkpoint, "--ignore", "model.surprise", config={})


def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path, checkpoint):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    checkpoint.state["x"] = Hostile()
    run_import(tmp_path, checkpoint, succeed=False)
    assert not (tmp_path / "run").exists()
