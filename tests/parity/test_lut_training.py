"""Training look-up-table layers against a PyTorch model written from their definition, and what such a run leaves."""

import json
import shutil

import models
import peer_training as peer
import pytest
import safetensors.torch
import torch
from conftest import ROOT
from run_job import Job, write_data
from test_lut import Half, Round, ladder, uniform, v1_codes
from test_training import BASE, assert_same_curve, data, loss_of, runs, steps_of  # noqa: F401  (fixtures)

MODEL, STEPS = "llama", 20
SETTINGS = BASE | {"finetuning_type": "full", "learning_rate": 1e-3, "max_steps": STEPS}
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def is_mlp(name):
    return ".mlp." in name


def pack(codes, bits):
    """Code c of a row at bit c * bits, little end first."""
    per_byte = 8 // bits
    padded = torch.nn.functional.pad(codes, (0, -codes.shape[1] % per_byte)).view(codes.shape[0], -1, per_byte)
    return (padded << (torch.arange(per_byte) * bits)).sum(2).to(torch.uint8)


class V2(torch.nn.Module):
    """table[code] * (A_dir diag(g) B_dir); codes stand."""

    def __init__(self, dense, bits, rank, half):
        super().__init__()
        groups = torch.nn.functional.pad(dense.abs(), (0, -dense.shape[1] % 8)).view(dense.shape[0], -1, 8).amax(2)
        u, s, v = torch.linalg.svd(groups.repeat_interleave(8, 1)[:, :dense.shape[1]], full_matrices=False)
        self.half, self.bits = half, bits
        self.scale_A = torch.nn.Parameter(u[:, :rank].contiguous())
        self.scale_B = torch.nn.Parameter(v[:rank].contiguous())
        self.rank_magnitude = torch.nn.Parameter(s[:rank].half().float())
        positive = uniform(bits)[2 ** (bits - 1):]
        self.least = max(2.0 * 2.0 ** -10, 1e-4)
        steps = torch.diff(positive, prepend=torch.zeros(1, dtype=torch.float64))
        room = 1 - len(positive) * self.least
        self.lut_logits = torch.nn.Parameter(((steps - self.least) / room).clamp_min(1e-6).log().float())
        self.trains_table = False
        self.codes = self.nearest(dense)

    def rounded(self, tensor):
        return Half.apply(tensor) if self.half else tensor

    def table(self):
        return ladder(self.lut_logits) if self.trains_table else uniform(self.bits).float()

    def scales(self):
        a = self.scale_A / self.scale_A.norm(dim=0, keepdim=True).clamp_min(1e-6)
        b = self.scale_B / self.scale_B.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return self.rounded(a * self.rounded(self.rank_magnitude)) @ self.rounded(b)

    @torch.no_grad()
    def nearest(self, dense):
        return ((dense / self.scales()).clamp(-1, 1)[..., None] - self.table()).abs().argmin(-1)

    def weight(self):
        return self.table()[self.codes] * self.scales()

    def parts(self):
        return {"codes": pack(self.codes, self.bits), "lut": self.table(), "scale_A": self.scale_A,
                "scale_B": self.scale_B, "rank_magnitude": self.rank_magnitude}


class V1(torch.nn.Module):
    """table[code] * max(A B, 1e-8), codes of a weight that takes the gradient as it comes."""

    def __init__(self, dense, bits, rank, half):
        super().__init__()
        groups = torch.nn.functional.pad(dense.abs(), (0, -dense.shape[1] % 8)).view(dense.shape[0], -1, 8).amax(2)
        u, s, v = torch.linalg.svd(groups.repeat_interleave(8, 1)[:, :dense.shape[1]], full_matrices=False)
        self.bits = bits
        self.latent = torch.nn.Parameter(dense.clone())
        self.scale_A = torch.nn.Parameter((u[:, :rank] * s[:rank]).contiguous())
        self.scale_B = torch.nn.Parameter(v[:rank].contiguous())
        self.codes_of = None

    def weight(self):
        scales = (self.scale_A @ self.scale_B).clamp_min(1e-8)
        with torch.no_grad():
            served = uniform(self.bits).float()[v1_codes(self.latent, scales, self.bits)] * scales
        if self.latent.requires_grad:
            return self.latent + (served - self.latent).detach()
        codes = v1_codes(self.latent, scales.detach(), self.bits)
        return uniform(self.bits).float()[codes] * scales

    def parts(self):
        return {"weight": self.latent, "lut": uniform(self.bits).float(), "scale_A": self.scale_A, "scale_B": self.scale_B}


class Balanced(torch.nn.Module):
    """Levels half a step either side of zero, one scale for the tensor."""

    def __init__(self, dense, bits, rank, half):
        super().__init__()
        self.bits = bits
        self.latent = torch.nn.Parameter(dense.clone())
        self.raw_clip = torch.nn.Parameter(torch.tensor([0.2]))

    def weight(self):
        low, high = 1 - 2 ** (self.bits - 1), 2 ** (self.bits - 1)
        clip = torch.nn.functional.softplus(self.raw_clip) + 1e-8
        scale = clip * self.latent.detach().abs().max() / high
        return (Round.apply(self.latent / scale + 0.5).clamp(low, high) - 0.5) * scale

    def parts(self):
        return {"weight": self.latent, "raw_clip": self.raw_clip}


class Linear(torch.nn.Module):
    def __init__(self, source):
        super().__init__()
        self.source = source

    def forward(self, x):
        return torch.nn.functional.linear(x, self.source.weight())


FORMS = {"v2": V2, "v1": V1, "balanced": Balanced}
SIZES = {True: (2, 6), False: (4, 3)}  # of MLPs and attention: bits, rank


def replaced(folder, form, half):
    """transformers' model with look-up-table layers, nothing of it trains yet."""
    model = models.load_reference(folder, torch.float32).requires_grad_(False)
    for name, module in list(model.named_modules()):
        if name.rsplit(".", 1)[-1] not in LINEARS:
            continue
        bits, rank = SIZES[is_mlp(name)]
        parent = model.get_submodule(name.rsplit(".", 1)[0])
        source = FORMS[form](module.weight.detach().clone(), bits, rank, half).requires_grad_(False)
        setattr(parent, name.rsplit(".", 1)[-1], Linear(source))
    return model


def sources(model):
    return {name: module.source for name, module in model.named_modules() if isinstance(module, Linear)}


def write_folder(folder, base, model, form, half):
    """The model as a folder, byte for byte as docs/lut-qat.md describes it."""
    shutil.copytree(base, folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    layers = {}
    for name, source in sources(model).items():
        del tensors[name + ".weight"]
        for part, value in source.parts().items():
            tensors[f"{name}.{part}"] = value.detach().clone().contiguous()
        bits, rank = SIZES[is_mlp(name)]
        layers[name] = {"parameters": form, "bits": bits}
        if form != "balanced":
            layers[name]["rank"] = rank
        if form == "v2":
            layers[name]["baked"] = False
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "isogrid_lut", "version": 1, "half": half, "layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def select(model, names, family="all"):
    for linear, source in sources(model).items():
        if family != "all" and (family == "mlp") != is_mlp(linear):
            continue
        for name, parameter in source.named_parameters():
            parameter.requires_grad_(name in names)
        source.trains_table = "lut_logits" in names


SCALES = ("scale_A", "scale_B", "rank_magnitude")
# name: form, float16 steps, settings, what trains in the peer
RUNS = {
    "v2-scales": ("v2", False, {}, SCALES),
    "v2-scales-half": ("v2", True, {}, SCALES),
    "v2-magnitudes-mlp": ("v2", False, {"lut_train": "magnitudes", "lut_families": "mlp"}, ("rank_magnitude",)),
    "v2-directions": ("v2", False, {"lut_freeze_magnitudes": "all"}, ("scale_A", "scale_B")),
    "v2-table": ("v2", False, {"lut_train": ["table"], "lut_learning_rate": 1e-2, "learning_rate": 1e-2},
                 ("lut_logits",)),
    "v1-scales": ("v1", False, {}, ("scale_A", "scale_B")),
    "v1-weights": ("v1", False, {"lut_train": "weights", "learning_rate": 1e-4}, ("latent",)),
    "balanced": ("balanced", False, {"lut_train": ["weights", "scales"], "learning_rate": 1e-4}, ("latent", "raw_clip")),
}


@pytest.mark.parametrize("name", RUNS)
def test_twenty_steps_follow_the_definition(name, runs, model_folder, tmp_path):  # noqa: F811
    form, half, more, trained = RUNS[name]
    model = replaced(model_folder(MODEL), form, half)
    folder = write_folder(tmp_path / "start", model_folder(MODEL), model, form, half)
    select(model, trained, more.get("lut_families", "all"))
    settings = SETTINGS | more
    rows = runs.rows(**{key: value for key, value in SETTINGS.items()}, model_name_or_path=str(folder))
    expected = []
    optimizer = peer.make_optimizer(model, settings)
    scheduler = peer.make_scheduler(optimizer, settings, STEPS)
    moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for step in steps_of(rows, settings):
        loss = peer.backward(model, step, settings)
        norm = torch.nn.utils.clip_grad_norm_(moving, 1.0)
        expected.append({"loss": loss, "grad_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"]})
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    log, output = runs.train(**settings, model_name_or_path=str(folder))
    if half:  # a sum on the other side of a float16 tie is another scale
        for ours, theirs in zip(log, expected, strict=True):
            assert loss_of(ours) == pytest.approx(theirs["loss"], rel=2e-3)
    else:
        assert_same_curve(log, expected)
    ours = safetensors.torch.load_file(output / "model.safetensors")
    worst = 0.0
    for linear, source in sources(model).items():
        for part, value in source.parts().items():
            assert ours[f"{linear}.{part}"].shape == value.shape
            if value.is_floating_point():
                worst = max(worst, ((ours[f"{linear}.{part}"] - value).abs().max() / value.abs().max()).item())
    assert worst <= (2e-2 if half else 2e-3)


SMALL = {"finetuning_type": "full", "lut_mlp_bits": 2, "lut_mlp_rank": 8, "lut_attention_bits": 4,
         "lut_attention_rank": 4}


@pytest.fixture(scope="module")
def world(trainer, tmp_path_factory):
    root = tmp_path_factory.mktemp("lut")
    shutil.copytree(ROOT / "data/tiny", root / "model")
    write_data(root / "rows.json")
    return root


def test_distilling_from_the_dense_model_brings_the_loss_down(trainer, world, tmp_path):
    cache = {"kd_cache": str(tmp_path / "cache"), "val_size": 0, "eval_strategy": "no"}
    writing = Job(trainer, world, tmp_path / "writing", **cache, kd_teacher=str(world / "model"))
    trainer.run("kd-cache", "--config", writing.config)
    job = Job(trainer, world, tmp_path / "run", **SMALL, **cache, learning_rate=2e-3).finish()
    losses = [json.loads(line)["loss"] for line in job.log_text().splitlines() if "loss_bits" in line]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])


def test_a_finished_run_goes_on_with_more_steps(trainer, world, tmp_path):
    settings = {**SMALL, "lr_scheduler_type": "constant", "warmup_steps": 0, "eval_strategy": "no", "val_size": 0}
    Job(trainer, world, tmp_path / "run", **settings, max_steps=6).finish()
    longer = Job(trainer, world, tmp_path / "run", **settings, max_steps=12).finish()
    whole = Job(trainer, world, tmp_path / "whole", **settings, max_steps=12).finish()
    assert longer.rows() == whole.rows()
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_its_folder_serves_and_trains_on(trainer, world, tmp_path):
    first = Job(trainer, world, tmp_path / "first", **SMALL, max_steps=6).finish()
    said = trainer.json("generate", "--model_name_or_path", first.output, "--prompt", "the river",
                        "--max_new_tokens", 4, "--do_sample", "false")
    assert len(said["ids"]) <= 4
    trainer.run("verify", first.output)
    trainer.run("export", "--model_name_or_path", first.output, "--export_dir", tmp_path / "out",
                "--export_formats", "hf:float32,gguf:f32")
    dense = trainer.json("eval", "--model_name_or_path", tmp_path / "out/hf-float32", "--text_file",
                         ROOT / "README.md", "--eval_window", 64, "--eval_stride", 64, "--infer_dtype", "float32")
    coded = trainer.json("eval", "--model_name_or_path", first.output, "--text_file",
                         ROOT / "README.md", "--eval_window", 64, "--eval_stride", 64, "--infer_dtype", "float32")
    assert coded["loss"] == pytest.approx(dense["loss"], rel=1e-6)
    Job(trainer, world, tmp_path / "second", model_name_or_path=str(first.output), finetuning_type="full",
        lut_train=["table", "magnitudes"], max_steps=6).finish()
    Job(trainer, world, tmp_path / "recovery", model_name_or_path=str(first.output), finetuning_type="lora",
        lora_rank=4, max_steps=6).finish()


REFUSED = {
    "rank": ({**SMALL, "lut_mlp_rank": 10000}, "lut_mlp_rank"),
    "bits": ({**SMALL, "lut_mlp_bits": 3}, "lut_mlp_bits"),
    "preset": ({"finetuning_type": "full", "lut_preset": "q3a3"}, "q2a4"),
    "adapter": ({**SMALL, "finetuning_type": "lora"}, "finetuning_type"),
    "idle": ({"finetuning_type": "full", "lut_train": "table"}, "lut_train"),
    "frozen-and-watched": ({**SMALL, "lut_auto_snap": True, "lut_freeze_magnitudes": "all"}, "lut_auto_snap"),
    "nothing": ({**SMALL, "lut_train": "magnitudes", "lut_freeze_magnitudes": "all"}, "nothing"),
    "weights": ({**SMALL, "lut_train": "weights"}, "lut_recode_steps"),
    "both": ({**SMALL, "qat_target": "gguf:q4_0"}, "qat_target"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(trainer, world, tmp_path, name):
    settings, word = REFUSED[name]
    job = Job(trainer, world, tmp_path / "run", **settings).finish(code=78)
    assert word in job.stderr()
