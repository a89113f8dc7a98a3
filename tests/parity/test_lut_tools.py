"""Conversions, bundles and figures of look-up-table layers, held against their tensors read in plain torch."""

import json

import pytest
import safetensors.torch
import torch
from distilling import FULL, WRITING, Distilling, data, distilling  # noqa: F401 (fixtures)

BASE = "qwen3-blocks"
Q4 = ["--lut_mlp_bits", "4", "--lut_mlp_rank", "4", "--lut_attention_bits", "4", "--lut_attention_rank", "4"]
Q2 = ["--lut_mlp_bits", "2", "--lut_mlp_rank", "8", "--lut_attention_bits", "4", "--lut_attention_rank", "6"]


def tensors_of(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    return tensors


def linears_of(tensors):
    return [name.removesuffix(".codes") for name in tensors if name.endswith(".codes")]


def unpacked(packed, bits, columns):
    shifts = torch.arange(0, 8, bits, dtype=torch.int32)
    codes = packed.to(torch.int32)[:, :, None] >> shifts & (1 << bits) - 1
    return codes.reshape(len(packed), -1)[:, :columns].long()


def served(tensors, name, layer):
    """Directions of length one, factors rounded to float16 where they are used; baked ones as they are. Lengths are taken
    in float32, as where they serve: in more digits, a factor halfway between two of float16 would go to the other one."""
    a, b, g = (tensors[f"{name}.{part}"].float() for part in ("scale_A", "scale_B", "rank_magnitude"))
    if not layer["baked"]:
        a, b = a / a.norm(dim=0) * g.half().float(), b / b.norm(dim=1, keepdim=True)
    a, b, table = (x.half().double() for x in (a, b, tensors[f"{name}.lut"].float()))
    return table[unpacked(tensors[f"{name}.codes"], layer["bits"], b.shape[1])] * (a @ b)


def layers_of(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]["layers"]


def error(found, wanted):
    return ((found - wanted).square().sum() / wanted.square().sum()).item()


@pytest.fixture
def converted(trainer, model_folder, tmp_path):
    """The base, the base in four bits, and that in two."""
    base = model_folder(BASE)
    trainer.run("convert", base, tmp_path / "q4", *Q4)
    trainer.run("convert", tmp_path / "q4", tmp_path / "q2", *Q2, "--reference", base)
    return base, tmp_path / "q4", tmp_path / "q2"


def test_dense_to_four_bits_to_two(trainer, converted, tmp_path):
    base, q4, q2 = converted
    dense, four, two = tensors_of(base), tensors_of(q4), tensors_of(q2)
    assert len(linears_of(four)) == len(linears_of(two)) == 7 * json.loads((base / "config.json").read_text())[
        "num_hidden_layers"]
    for name in linears_of(two):
        wanted = dense[f"{name}.weight"].double()
        assert error(served(four, name, layers_of(q4)[name]), wanted) < 0.03
        bits = layers_of(q2)[name]["bits"]
        assert bits == (2 if ".mlp." in name else 4)
        assert error(served(two, name, layers_of(q2)[name]), wanted) < (0.2 if bits == 2 else 0.03)
    trainer.run("convert", q2, tmp_path / "back", "--outtype", "f32", "--to", "dense")
    back = tensors_of(tmp_path / "back")
    for name in linears_of(two):
        gap = (back[f"{name}.weight"] - served(two, name, layers_of(q2)[name])).abs().max()
        assert gap <= 1e-6 * back[f"{name}.weight"].abs().max()
    assert "quantization_config" not in json.loads((tmp_path / "back/config.json").read_text())


def test_the_original_in_sight_makes_better_layers(trainer, converted, tmp_path):
    base, q4, q2 = converted
    trainer.run("convert", q4, tmp_path / "blind", *Q2)
    dense, blind, seeing = tensors_of(base), tensors_of(tmp_path / "blind"), tensors_of(q2)
    names = [name for name in linears_of(seeing) if ".mlp." in name]
    total = [sum(error(served(tensors, name, layers_of(q2)[name]), dense[f"{name}.weight"].double()) for name in names)
             for tensors in (seeing, blind)]
    assert total[0] <= total[1]


def test_an_importance_matrix_is_heeded(trainer, converted, tmp_path):
    base, _, _ = converted
    (tmp_path / "text.txt").write_text("some words for a matrix " * 400)
    trainer.run("imatrix", "--model_name_or_path", base, "--text_file", tmp_path / "text.txt", "--output",
                tmp_path / "imatrix.gguf")
    trainer.run("convert", base, tmp_path / "weighted", *Q2, "--imatrix", tmp_path / "imatrix.gguf")
    trainer.run("convert", base, tmp_path / "plain", *Q2)
    weighted, plain = tensors_of(tmp_path / "weighted"), tensors_of(tmp_path / "plain")
    assert any(not torch.equal(weighted[name], plain[name]) for name in weighted if name.endswith(".codes"))


def test_v1_becomes_v2_and_the_loss_is_told(trainer, distilling, model_folder, tmp_path):
    distilling.cache()
    base = model_folder(BASE)
    trainer.run("convert", base, tmp_path / "v1", *Q4, "--to", "v1")
    config, _ = distilling.config(**FULL | {key: None for key in WRITING}, model_name_or_path=str(tmp_path / "v1"))
    told = json.loads(trainer.run("convert", tmp_path / "v1", tmp_path / "v2", "--to", "v2", "--config", config, "--eval",
                                  "--json").stdout)
    before, after = (told["eval"][when]["kd_loss"] for when in ("before", "after"))
    assert after <= 1.05 * before
    figures = trainer.json("eval", "--config", config, "--model_name_or_path", tmp_path / "v2")
    assert figures["kd_loss"] == pytest.approx(after, rel=1e-5)
    assert {layer["to"] for layer in told["layers"]} == {"v2, 4 bits, rank 4"}


def test_a_bundle_is_the_model_in_float16(trainer, converted, tmp_path):
    base, _, q2 = converted
    done = trainer.run("export", "--model_name_or_path", q2, "--export_dir", tmp_path / "out", "--export_formats",
                       "lut:fp16", "--prompt", "a word")
    assert "before" in done.stdout and "after" in done.stdout
    bundle = tmp_path / "out/lut-fp16"
    tensors, trained = tensors_of(bundle), tensors_of(q2)
    vectors = safetensors.torch.load_file(bundle / "check/vectors.safetensors")
    for name in linears_of(tensors):
        layer = layers_of(bundle)[name]
        assert layer["baked"] and tensors[f"{name}.scale_A"].dtype == torch.float16
        assert torch.equal(tensors[f"{name}.codes"], trained[f"{name}.codes"])
        weight = served(tensors, name, layer)
        assert (weight - served(trained, name, layers_of(q2)[name])).abs().max() <= 1e-3 * weight.abs().max()
        x = vectors[f"{name}.input"].double()
        largest = vectors[f"{name}.output"].abs().max()
        assert (x @ weight.T - vectors[f"{name}.output"]).abs().max() <= 1e-6 * largest
        a, b = tensors[f"{name}.scale_A"], tensors[f"{name}.scale_B"]
        values = tensors[f"{name}.lut"][unpacked(tensors[f"{name}.codes"], layer["bits"], b.shape[1])].double()
        y = torch.zeros(len(x), len(a))
        for k in range(b.shape[0]):  # rank after rank, every step rounded
            u = ((x * b[k]).half().double() @ values.T).half().double()
            y = (y + (a[:, k] * u).half().float()).half().float()
        assert (y - vectors[f"{name}.output_half"]).abs().max() <= 4e-3 * largest
    report = json.loads((tmp_path / "out/export_report.json").read_text())
    assert report["exports"][0]["kl"] < 1e-6 if "exports" in report else True
    assert trainer.run("verify", bundle).returncode == 0
    broken = vectors | {f"{name}.output": vectors[f"{name}.output"] * 1.1}
    safetensors.torch.save_file(broken, bundle / "check/vectors.safetensors")
    done = trainer.run("verify", bundle, succeed=False)
    assert done.returncode == 65 and name in done.stderr


def test_layers_are_told_one_by_one(trainer, converted):
    base, _, q2 = converted
    told = trainer.json("inspect", q2, "--layers", "--reference", base)["layers"]
    tensors, dense = tensors_of(q2), tensors_of(base)
    assert [layer["name"] for layer in told if ".layers.0." in layer["name"]]
    for layer in told:
        name, settings = layer["name"], layers_of(q2)[layer["name"]]
        codes = unpacked(tensors[f"{name}.codes"], settings["bits"], tensors[f"{name}.scale_B"].shape[1])
        usage = torch.bincount(codes.flatten(), minlength=2 ** settings["bits"]).double() / codes.numel()
        assert torch.tensor(layer["usage"]).allclose(usage.float(), atol=1e-6)
        wanted = dense[f"{name}.weight"].double()
        assert layer["weight_error"] == pytest.approx(error(served(tensors, name, settings), wanted), rel=1e-3)
        assert 0 < layer["output_error"] < 0.5
    assert "output error" in trainer.run("inspect", q2, "--layers").stdout


def test_what_cannot_be_converted_is_refused_by_name(trainer, converted, model_folder, tmp_path):
    base, q4, _ = converted

    def refused(code, words, *arguments):
        done = trainer.run("convert", *arguments, succeed=False)
        assert done.returncode == code and words in done.stderr, done.stderr

    refused(78, "is dense", base, tmp_path / "x", "--to", "v2")
    refused(78, "lut_mlp_rank", base, tmp_path / "x", "--lut_mlp_bits", "2")
    refused(78, "allows up to", q4, tmp_path / "x", "--lut_mlp_bits", "2", "--lut_mlp_rank", "5000")
    refused(64, "folder", q4, tmp_path / "x.gguf", "--to", "v1")
    refused(64, "--to", q4, tmp_path / "x", "--to", "v3")
    refused(64, "leave one out", q4, tmp_path / "x", "--to", "dense", *Q2)
    refused(78, "reference", q4, tmp_path / "x", *Q2, "--reference", model_folder("llama"))
