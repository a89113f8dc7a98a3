"""What may be drawn, and with which probability, against transformers' logits processors."""
import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation import logits_process as hf

from parity_driver import Driver


@pytest.fixture(scope="module")
def driver():
    driver = Driver()
    yield driver
    driver.close()


def reference(logits, history, s):
    """Processors, then warpers, in the order of transformers' generate()."""
    chain = LogitsProcessorList()
    if s["repetition_penalty"] != 1.0:
        chain.append(hf.RepetitionPenaltyLogitsProcessor(penalty=s["repetition_penalty"]))
    if s["temperature"] != 1.0:
        chain.append(hf.TemperatureLogitsWarper(s["temperature"]))
    if s["top_k"] != 0:
        chain.append(hf.TopKLogitsWarper(top_k=s["top_k"]))
    if s["top_p"] < 1.0:
        chain.append(hf.TopPLogitsWarper(top_p=s["top_p"]))
    if s["min_p"] != 0.0:
        chain.append(hf.MinPLogitsWarper(min_p=s["min_p"]))
    ids = torch.tensor([history], dtype=torch.long)
    return torch.softmax(chain(ids, torch.tensor(logits)[None]).double(), -1)[0].numpy()


def settings(rng):
    def pick(*values):
        return values[rng.integers(len(values))]

    return {
        "temperature": float(pick(1.0, 0.95, 0.3, 2.5, rng.uniform(0.05, 3))),
        "top_k": int(pick(0, 0, 1, 5, 50, 1000)),
        "top_p": float(pick(1.0, 0.7, 0.95, 0.0, 0.999, rng.uniform())),
        "min_p": float(pick(0.0, 0.0, 0.05, 0.5, 1.0)),
        "repetition_penalty": float(pick(1.0, 1.05, 1.3, 0.8)),
    }


@pytest.mark.parametrize("vocabulary,cases", [(3, 60), (64, 80), (1000, 60), (151_936, 12)])
def test_distributions_equal_transformers(driver, vocabulary, cases):
    rng = np.random.default_rng(vocabulary)
    for _ in range(cases):
        logits = (rng.standard_normal(vocabulary) * rng.uniform(0.5, 6)).astype(np.float32)
        history = rng.integers(0, vocabulary, size=rng.integers(1, 40)).tolist()
        s = settings(rng)
        expected = reference(logits, history, s)
        answer = driver.ask("distribution", logits=[float(x) for x in logits], history=history, **s)
        ours = np.zeros(vocabulary)
        ours[answer["ids"]] = answer["p"]
        assert np.abs(ours - expected).max() < 1e-6, s
        # A cut may fall differently only where float32 sums cannot tell the two sides apart.
        differ = (ours > 0) != (expected > 0)
        assert differ.sum() <= (1 if vocabulary > 10_000 else 0) or expected[differ].sum() < 1e-6, s


@pytest.mark.parametrize("vocabulary", [8, 512])
def test_equal_logits_are_cut_alike(driver, vocabulary):
    rng = np.random.default_rng(vocabulary)
    for _ in range(60):
        logits = rng.integers(-3, 3, size=vocabulary).astype(np.float32)  # many equals
        s = settings(rng) | {"top_p": 1.0, "repetition_penalty": 1.0}
        expected = reference(logits, [0], s)
        answer = driver.ask("distribution", logits=[float(x) for x in logits], history=[0], **s)
        ours = np.zeros(vocabulary)
        ours[answer["ids"]] = answer["p"]
        assert np.abs(ours - expected).max() < 1e-6, s
        assert answer["greedy"] == int(torch.tensor(logits).argmax())
