"""Perplexity over a sliding window equals the same computation in transformers; each token counts once."""

import math

import models
import pytest
import torch
import transformers


@torch.no_grad()
def reference_perplexity(model, ids, window, stride):
    """Every stride, the tokens up to its end are scored with at most window tokens in sight. Returns the mean
    negative log-likelihood and how many tokens were scored: all but the first of the text."""
    total, scored = 0.0, 0
    for start in range(0, len(ids), stride):
        end = min(start + stride, len(ids))
        begin = max(start + stride - window, 0)
        logits = models.reference_logits(model, ids[begin:end]).double()
        first = max(start, 1)  # the first token of the text has nothing before it
        targets = torch.tensor(ids[first:end])
        rows = logits[first - 1 - begin:end - 1 - begin]
        total += torch.nn.functional.cross_entropy(rows, targets, reduction="sum").item()
        scored += len(targets)
    return total / scored, scored


@pytest.mark.parametrize("name,window,stride", [
    ("qwen2-untied", 128, 64),
    ("qwen2-untied", 100, 37),  # neither divides the text nor the other
    ("qwen2-untied", 4096, 1024),  # the text fits at once
    ("qwen2-untied", 64, 1),  # every token with a window of its own
    ("qwen3-wide-heads", 96, 32),
    ("qwen3-window", 64, 16),
    ("qwen3-bfloat16", 96, 48),
    ("llama-llama3", 200, 150),
    ("smollm3", 64, 32),
])
def test_perplexity(name, window, stride, trainer, model_folder, tmp_path):
    folder = model_folder(name)
    written = models.text(60 if stride == 1 else 220, seed=11)
    (tmp_path / "text.txt").write_text(written)
    ids = transformers.AutoTokenizer.from_pretrained(folder)(written, add_special_tokens=False)["input_ids"]
    loss, scored = reference_perplexity(models.load_reference(folder, torch.float32), ids, window, stride)
    result = trainer.json("eval", "--model_name_or_path", folder, "--text_file", tmp_path / "text.txt",
                          "--eval_window", window, "--eval_stride", stride, "--dtype", "float32")
    assert result["tokens"] == scored == len(ids) - 1
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    assert result["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)


def test_the_text_is_taken_as_it_stands(trainer, model_folder, tmp_path):
    """Line ends, doubled spaces and letters outside ASCII are tokens like others."""
    folder = model_folder("llama")
    written = "Óla  dórmir\r\n\r\n\tkä 日本語 \U0001f600\n\n"
    (tmp_path / "text.txt").write_bytes(written.encode())
    ids = transformers.AutoTokenizer.from_pretrained(folder)(written, add_special_tokens=False)["input_ids"]
    loss, scored = reference_perplexity(models.load_reference(folder, torch.float32), ids, 32, 8)
    result = trainer.json("eval", "--model_name_or_path", folder, "--text_file", tmp_path / "text.txt",
                          "--eval_window", 32, "--eval_stride", 8, "--dtype", "float32")
    assert result["tokens"] == scored
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
