"""What an adapter that was trained on a quantised base is merged into."""

import json
import re

import models
import packed_reader
import peer_training as peer
import pytest
import test_quantised_folders as folders
import torch
import transformers


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.write_model(models.Case("llama", models.shape(hidden=96, intermediate=160, heads=4, kv_heads=2, layers=2),
                                          storage=torch.bfloat16), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory):
    return peer.write_adapter(model, tmp_path_factory.mktemp("adapter") / "adapter")


def exported(trainer, directory, model, *words, kind="hf:float32"):
    trainer.run("export", "--model_name_or_path", model, "--export_dir", directory, "--export_formats", kind, *words)
    return directory / kind.replace(":", "-")


def same(left, right):
    left, right = packed_reader.tensors_of(left), packed_reader.tensors_of(right)
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def test_the_dequantised_base_is_what_bitsandbytes_decodes(trainer, model, tmp_path):
    pytest.importorskip("bitsandbytes")
    ours = packed_reader.tensors_of(exported(trainer, tmp_path, model, "quantization_bit=4", "merge_base=dequantized"))
    theirs = folders.decoded_by_bitsandbytes(transformers.AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.bfloat16, device_map="cpu",
        quantization_config=transformers.BitsAndBytesConfig(**folders.BNB["nf4"])))
    assert len(theirs) == 14
    for name, number in theirs.items():
        # bitsandbytes rounds to the model's type, the merge goes on from float32.
        assert ours[name].to(torch.bfloat16).float().equal(number), name


def test_the_sum_is_made_in_float32_on_the_base_that_was_asked_for(trainer, model, adapter, tmp_path):
    words = ("--adapter_name_or_path", adapter)
    plain = exported(trainer, tmp_path / "plain", model, *words)
    original = exported(trainer, tmp_path / "original", model, *words, "quantization_bit=4", "merge_base=original")
    assert same(plain, original)
    dequantised = exported(trainer, tmp_path / "dequantised", model, *words, "quantization_bit=4", "merge_base=dequantized")
    base = exported(trainer, tmp_path / "base", model, "quantization_bit=4", "merge_base=dequantized")
    in_two_steps = exported(trainer, tmp_path / "two", base, *words)
    assert same(dequantised, in_two_steps) and not same(dequantised, original)
    # A folder that is quantised itself is that base.
    packed = exported(trainer, tmp_path / "packed", model, kind="bnb:nf4")
    from_packed = exported(trainer, tmp_path / "from_packed", packed, *words)
    assert same(dequantised, from_packed)
    assert "quantization_config" not in json.loads((from_packed / "config.json").read_text())


def test_auto_measures_both_and_says_so(trainer, model, adapter, tmp_path):
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps({"text": models.text(60, seed=n)}) + "\n" for n in range(8)))
    words = ("--adapter_name_or_path", adapter, "quantization_bit=4")
    rows = ("stage=pt", "dataset=" + str(tmp_path / "held_out.jsonl"), "--dataset_dir", tmp_path, "cutoff_len=128")
    done = trainer.run("export", "--model_name_or_path", model, "--export_dir", tmp_path / "auto", "--export_formats", "hf:float32",
                       *words, *rows)
    losses = {}
    for base in ("original", "dequantized"):
        folder = exported(trainer, tmp_path / base, model, *words, f"merge_base={base}")
        losses[base] = trainer.json("eval", "--model_name_or_path", folder, "--dtype", "float32", *rows)["loss"]
    card = (tmp_path / "auto/hf-float32/README.md").read_text()
    chosen = re.search(r"merged into the (\w+) base", card)[1]
    assert losses[chosen] == min(losses.values())
    assert chosen in done.stderr
    figures = [float(word) for word in re.findall(r"\d+\.\d+", card.split("the loss is")[1])]
    assert figures == pytest.approx([losses["original"], losses["dequantized"]], rel=1e-4)
    assert same(tmp_path / "auto/hf-float32", tmp_path / chosen / "hf-float32")


def test_what_cannot_be_merged_into_is_refused(trainer, model, adapter, tmp_path):
    packed = exported(trainer, tmp_path, model, kind="bnb:nf4")
    for folder, words in ((packed, ["merge_base=original"]), (model, ["merge_base=dequantized"])):
        done = trainer.run("export", "--model_name_or_path", folder, "--export_dir", tmp_path / "out", "--adapter_name_or_path", adapter,
                           *words, succeed=False)
        assert done.returncode == 78 and "merge_base" in done.stderr
