"""The gradient of the loss with respect to every parameter, documents laid end to end, equals transformers'."""

import json
import os
import pathlib
import subprocess

import models
import pytest
import safetensors.torch
import torch

PROGRAM = os.environ.get("ISOGRID_PARITY_GRADIENTS",
                         str(pathlib.Path(__file__).resolve().parents[2] / "build/bin/parity_gradients"))


def reference_gradients(folder, documents):
    """One document at a time, so that none sees another; the mean is over all predicted tokens."""
    model = models.load_reference(folder, torch.float32)
    count = sum(len(ids) - 1 for ids in documents)
    total = 0.0
    for ids in documents:
        logits = model(torch.tensor([ids])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", models.parameters())
def test_gradients(name, model_folder, tmp_path):
    folder = model_folder(name)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    generator = torch.Generator().manual_seed(3)
    documents = [torch.randint(vocabulary, (length,), generator=generator).tolist() for length in (2, 37, 90, 5)]
    (tmp_path / "ids.json").write_text(json.dumps(documents))
    done = subprocess.run([PROGRAM, folder, tmp_path / "ids.json", tmp_path / "out.safetensors"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, expected = reference_gradients(folder, documents)
    assert float(done.stdout) == pytest.approx(loss, rel=1e-5)
    gradients = safetensors.torch.load_file(tmp_path / "out.safetensors")
    assert gradients.keys() == expected.keys()
    for parameter, reference in expected.items():
        gap = (gradients[parameter] - reference).abs().max() / reference.abs().max().clamp_min(1e-12)
        # A key bias moves all scores of a row alike, so its true gradient is zero: rounding noise on both sides.
        if parameter.endswith("k_proj.bias"):
            noise = (gradients[parameter] - reference).abs().max()
            assert noise <= 1e-4 * expected[parameter.replace("k_proj", "q_proj")].abs().max()
            continue
        assert gap <= 1e-4, f"{parameter}: {gap:.2e}"
