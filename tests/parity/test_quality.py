"""Training on the grid of the file gets back what rounding takes: the tiny model, taught by itself unrounded.

The text trained on and the text measured on are different; scripts/bench quality does the same with a real model.
"""

import json
import subprocess
import sys

import numpy
import pytest
import safetensors.numpy
from tokenizers import Tokenizer

from conftest import ROOT

MODEL = ROOT / "data/tiny"
SETTINGS = {
    "model_name_or_path": str(MODEL), "stage": "pt", "dataset": "train", "eval_dataset": "eval", "cutoff_len": 256,
    "packing": True, "kd_top_k": 32, "kd_temperature": 1.0, "infer_dtype": "float32", "compute_dtype": "float32", "threads": 1,
}
TRAINING = {
    "finetuning_type": "full", "per_device_train_batch_size": 2, "max_steps": 60, "lr_scheduler_type": "cosine",
    "warmup_steps": 4, "save_strategy": "no", "logging_steps": 10,
}


class Bench:
    def __init__(self, trainer, folder):
        self.trainer, self.folder = trainer, folder
        self.settings = SETTINGS | {"dataset_dir": str(folder), "kd_cache": str(folder / "teacher"),
                                    "tokenized_path": str(folder / "rows")}

    def config(self, **settings):
        path = self.folder / "settings.yaml"
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in (self.settings | settings).items()))
        return path

    def train(self, name, **settings):
        output = self.folder / name
        self.trainer.run("--config", self.config(**TRAINING | {"output_dir": str(output)} | settings))
        return output

    def measured(self, model):
        return self.trainer.json("eval", "--config", self.config(model_name_or_path=str(model)))


@pytest.fixture(scope="module")
def bench(trainer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    subprocess.run([sys.executable, ROOT / "scripts/make_tiny_corpus.py", folder / "train.jsonl", "--megabytes", "0.11",
                    "--seed", "11"], check=True)
    (folder / "eval.jsonl").write_bytes((ROOT / "data/tiny_text.jsonl").read_bytes())
    (folder / "dataset_info.json").write_text(json.dumps(
        {name: {"file_name": f"{name}.jsonl", "columns": {"prompt": "text"}} for name in ("train", "eval")}))
    bench = Bench(trainer, folder)
    trainer.run("kd-cache", "--config", bench.config())
    bench.plain = bench.measured(MODEL)
    assert bench.plain["top1_agreement"] == 1 and abs(bench.plain["kd_loss"]) < 1e-5
    return bench


def rounded_and_trained(bench, target, rate):
    """The model on the grid of `target` as it starts, which is rounding to the nearest, and as it ends; its folder."""
    name = target.replace(":", "-")
    start = bench.train(f"{name}-start", qat_target=target, learning_rate=1e-12, max_steps=1, warmup_steps=0)
    end = bench.train(name, qat_target=target, learning_rate=rate)
    return bench.measured(start), bench.measured(end), end


@pytest.mark.parametrize("target", ["gguf:q4_0", "universal_int4"])
def test_four_bits_come_closer_to_the_model(bench, tmp_path, target):
    rounded, trained, folder = rounded_and_trained(bench, target, 1e-4)
    assert trained["kd_loss"] < 0.85 * rounded["kd_loss"]
    assert trained["top1_agreement"] > rounded["top1_agreement"]
    assert bench.plain["perplexity"] < trained["perplexity"] < rounded["perplexity"]
    assert_same_logits(bench.trainer, folder, "gguf:q4_0", tmp_path)


def test_two_bits_come_back_from_ruin(bench, tmp_path):
    rounded, trained, folder = rounded_and_trained(bench, "gguf:q2_0", 1e-3)
    plain = bench.plain["perplexity"]
    assert rounded["perplexity"] > 5 * plain
    assert trained["perplexity"] < 1.5 * plain
    assert (rounded["perplexity"] - trained["perplexity"]) / (rounded["perplexity"] - plain) > 0.9
    assert_same_logits(bench.trainer, folder, "gguf:q2_0", tmp_path)


def assert_same_logits(trainer, folder, form, tmp_path):
    """What was trained and what the exported file decodes to: the same logits, to the bit."""
    trainer.run("export", "--model_name_or_path", folder, "--export_dir", tmp_path, "--export_formats", form,
                "--export_report", "false")
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    lines = (ROOT / "data/tiny_text.jsonl").read_text().splitlines()[:8]
    ids = [tokenizer.encode(json.loads(line)["text"]).ids for line in lines]
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    sides = []
    for model in (folder, next(tmp_path.glob("*.gguf"))):
        trainer.run("logits", "--model_name_or_path", model, "--token_ids", tmp_path / "ids.json", "--dtype", "float32",
                    "--output", tmp_path / "logits.safetensors")
        sides.append(safetensors.numpy.load_file(tmp_path / "logits.safetensors"))
    for name, ours in sides[0].items():
        assert numpy.array_equal(ours.argmax(1), sides[1][name].argmax(1))
        assert numpy.array_equal(ours.view(numpy.uint32), sides[1][name].view(numpy.uint32))
