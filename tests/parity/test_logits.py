"""Logits equal those of transformers' eager attention, for every architecture, shape and storage type."""

import json
import random

import models
import pytest
import safetensors.torch
import torch

# One token, two, more than every sliding window, and more than the positions a dynamic scaling was trained on.
LENGTHS = [1, 2, 33, 8, 96]


def sequences(vocabulary, seed=3):
    draw = random.Random(seed)
    return [[draw.randrange(vocabulary) for _ in range(length)] for length in LENGTHS]


def our_logits(trainer, folder, ids, tmp_path, dtype=None):
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    output = tmp_path / "logits.safetensors"
    arguments = ["logits", "--model_name_or_path", folder, "--token_ids", tmp_path / "ids.json", "--output", output]
    trainer.run(*arguments, *(["--dtype", dtype] if dtype else []))
    tensors = safetensors.torch.load_file(output)
    assert sorted(tensors) == sorted(f"logits.{index}" for index in range(len(ids)))
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    return [tensors[f"logits.{index}"] for index in range(len(ids))]


def relative_error(logits, reference):
    return ((logits - reference).abs().max() / reference.abs().max()).item()


def assert_close(ours, reference, tolerance):
    assert ours.shape == reference.shape
    assert torch.isfinite(ours).all()
    error = relative_error(ours, reference)
    assert error <= tolerance, f"length {len(ours)}: {error:.2e}, allowed {tolerance:.2e}"


def case_ids(name):
    return sequences(models.CASES[name].settings["vocab_size"])


@pytest.mark.parametrize("name", models.parameters())
def test_float32(name, trainer, model_folder, tmp_path):
    folder, ids = model_folder(name), case_ids(name)
    reference = models.load_reference(folder, torch.float32)
    for ours, sequence in zip(our_logits(trainer, folder, ids, tmp_path, "float32"), ids):
        assert_close(ours, models.reference_logits(reference, sequence), 1e-5)


LOW_PRECISION = [name for name, case in models.CASES.items() if case.storage != torch.float32 and not case.slow]


@pytest.mark.parametrize("name", LOW_PRECISION)
def test_the_stored_type_is_the_default_to_compute_in(name, trainer, model_folder, tmp_path):
    folder, ids = model_folder(name), case_ids(name)
    spelled = str(models.CASES[name].storage).removeprefix("torch.")
    named = our_logits(trainer, folder, ids, tmp_path, spelled)
    for ours, again in zip(our_logits(trainer, folder, ids, tmp_path), named):
        assert torch.equal(ours, again)


@pytest.mark.parametrize("name", LOW_PRECISION)
@pytest.mark.parametrize("dtype,tolerance", [("bfloat16", 2e-2), ("float16", 4e-3)])
def test_low_precision(name, dtype, tolerance, trainer, model_folder, tmp_path):
    """Measured against float32, since two roundings of the same thing differ by more than either from it.
    Where transformers' own rounding errs by more than the tolerance, ours may err as much."""
    folder, ids = model_folder(name), case_ids(name)
    reference = models.load_reference(folder, torch.float32)
    peer = models.load_reference(folder, getattr(torch, dtype))
    for ours, sequence in zip(our_logits(trainer, folder, ids, tmp_path, dtype), ids):
        exact = models.reference_logits(reference, sequence)
        assert_close(ours, exact, max(tolerance, relative_error(models.reference_logits(peer, sequence), exact)))


def test_a_sequence_alone_gives_what_it_gives_among_others(trainer, model_folder, tmp_path):
    folder, ids = model_folder("qwen3-window"), case_ids("qwen3-window")
    together = our_logits(trainer, folder, ids, tmp_path, "float32")
    alone = our_logits(trainer, folder, ids[2:3], tmp_path, "float32")[0]
    assert_close(alone, together[2], 1e-6)
