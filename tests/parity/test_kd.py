"""Caches of a teacher and training from them, against transformers' own logits and losses written out in torch."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import models
import peer_training as peer
import pytest
import safetensors.torch
import torch
from conftest import ROOT
from test_training import BASE, ROWS, assert_same_curve, steps_of, write_config, write_rows

TEACHER, STUDENT = "qwen3-wide-heads", "llama"
K, NEGATIVES, STEPS = 6, 4, 20
SETTINGS = {key: value for key, value in BASE.items() if key not in ("output_dir",)} | {
    "max_steps": STEPS, "kd_top_k": K, "kd_negatives": NEGATIVES, "kd_held_out": 0, "kd_shard_size": 5,
    "kd_batch_size": 3, "kd_temperature": 2.0}
WRITING = {"kd_top_k", "kd_negatives", "kd_held_out", "kd_shard_size", "kd_batch_size", "kd_teacher"}


class Distilling:
    def __init__(self, trainer, data, folder, model_folder):
        self.trainer, self.folder = trainer, folder
        self.teacher, self.student = model_folder(TEACHER), model_folder(STUDENT)
        self.settings = SETTINGS | {"dataset_dir": str(data), "kd_teacher": str(self.teacher),
                                    "model_name_or_path": str(self.student), "kd_cache": str(folder / "cache"),
                                    "infer_dtype": "float32"}
        self.count = 0

    def config(self, **settings):
        self.count += 1
        settings = self.settings | {"output_dir": str(self.folder / f"run{self.count}")} | settings
        settings = {key: value for key, value in settings.items() if value is not None}
        return write_config(self.folder / f"run{self.count}.yaml", settings), settings

    def cache(self, **settings):
        config, settings = self.config(**settings)
        self.trainer.run("kd-cache", "--config", config, "--json")
        return settings["kd_cache"]

    def train(self, **settings):
        config, settings = self.config(**settings)
        self.trainer.run("--config", config)
        output = self.folder / f"run{self.count}"
        lines = (output / "trainer_log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], settings

    def rows(self):
        config, _ = self.config(kd_cache=None)
        text = config.read_text().splitlines()
        config.write_text("\n".join(line for line in text if not line.startswith("kd_")) + "\n")
        examples = self.trainer.json("inspect", "--config", config, "--examples", ROWS)
        return [(example["input_ids"], example["labels"]) for example in examples]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture
def distilling(trainer, data, tmp_path, model_folder):
    return Distilling(trainer, data, tmp_path, model_folder)


def read_cache(folder):
    folder = os.fspath(folder)
    shards = sorted(name for name in os.listdir(folder) if name.startswith("shard-"))
    parts = [safetensors.torch.load_file(f"{folder}/{name}") for name in shards]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def labelled(ids, labels):
    return [i for i in range(len(ids) - 1) if labels[i + 1] != -100]


@torch.no_grad()
def teacher_logits(folder, rows):
    model = models.load_reference(folder, torch.float32).eval()
    return [model(input_ids=torch.tensor([ids])).logits[0].float()[labelled(ids, labels)] for ids, labels in rows]


def test_a_cache_holds_what_the_teacher_thinks(distilling):
    cache = read_cache(distilling.cache())
    expected = torch.cat(teacher_logits(distilling.teacher, distilling.rows())).double().log_softmax(1)
    ids, best = cache["top_ids"].long(), expected.topk(K, 1).values
    assert ids.shape == best.shape
    assert (cache["top_log_probs"] - best).abs().max() < 1e-4
    assert (expected.gather(1, ids) - best).abs().max() < 1e-4  # of a tie either is right
    rest = expected.scatter(1, ids, -torch.inf)
    for column, temperature in enumerate((1.0, 2.0)):
        tail = torch.logsumexp(rest / temperature, 1)
        assert (cache["log_tails"][:, column] - tail).abs().max() < 1e-4
    negatives = cache["negative_ids"].long()
    assert (expected.gather(1, negatives) - cache["negative_log_probs"]).abs().max() < 1e-4
    together = torch.cat([ids, negatives], 1).sort(1).values
    assert (together[:, 1:] != together[:, :-1]).all()


def test_sixteen_bits_are_the_same_numbers_rounded(distilling):
    whole = read_cache(distilling.cache())
    half = read_cache(distilling.cache(kd_dtype="float16", kd_cache=str(distilling.folder / "half")))
    assert torch.equal(half["top_log_probs"], whole["top_log_probs"].half())
    assert torch.equal(half["top_ids"], whole["top_ids"])


def divergence(form, t, student, cache):
    """KL of the teacher's outcomes and the student's, T^2 counted, in float64."""
    ids, weights = cache["top_ids"].long(), cache["top_log_probs"].double() / t
    if form in ("candidates", "b"):
        ids = torch.cat([ids, cache["negative_ids"].long()], 1)
        weights = torch.cat([weights, cache["negative_log_probs"].double() / t], 1)
    ours = (student / t).gather(1, ids)
    if form == "exact":
        weights = torch.cat([weights, cache["log_tails"][:, (1.0, 2.0).index(t)].double()[:, None]], 1)
        rest = torch.logsumexp((student / t).scatter(1, ids, -torch.inf), 1, keepdim=True)
        ours = torch.cat([ours, rest], 1)
    p, q = weights.log_softmax(1), ours.log_softmax(1)
    return (p.exp() * (p - q)).sum(1) * t * t, ids


def loss_of_row(settings, student, labels, cache, hard):
    """Every form, as docs/distillation.md has it."""
    form, t = settings["kd_loss"], settings["kd_temperature"]
    kl, ids = divergence(form, t, student, cache)
    full = student.log_softmax(1)
    first, count = full.gather(1, ids[:, :1]).squeeze(1), len(labels)
    loss = settings.get("kd_weight", 1.0) * kl.sum()
    loss = loss - settings.get("kd_ce_weight", 0.0) * full.gather(1, labels[:, None]).sum()
    if form in ("exact", "a"):
        loss = loss - (hard + settings.get("kd_hard_full", 0.0)) * first.sum()
    else:
        loss = loss - hard * student.gather(1, ids).log_softmax(1)[:, 0].sum()
        weights = settings.get("kd_hard_full", 0.0)
        loss = loss - weights * (first.sum() if form == "candidates" else count * first[-1])
    return loss


def peer_curve(distilling, rows, cache, settings, adapter=None):
    model = models.load_reference(distilling.student, torch.float32)
    peer.select(model, settings)
    model.train()
    bounds = [0]
    for ids, labels in rows:
        bounds.append(bounds[-1] + len(labelled(ids, labels)))
    pieces = [{name: tensor[bounds[i]:bounds[i + 1]] for name, tensor in cache.items()} for i in range(len(rows))]
    optimizer = peer.make_optimizer(model, settings)
    scheduler = peer.make_scheduler(optimizer, settings, settings["max_steps"])
    records, start = [], settings.get("kd_hard_top1", 0.0)
    for step, indices in enumerate(steps_of(list(range(len(rows))), settings)):
        hard = start + (settings.get("kd_hard_top1_end", start) - start) * step / (settings["max_steps"] - 1)
        count, total = sum(bounds[i + 1] - bounds[i] for i in indices), 0.0
        for i in indices:
            ids, labels = rows[i]
            places = labelled(ids, labels)
            student = model(input_ids=torch.tensor([ids])).logits[0][places].double()
            wanted = torch.tensor(labels)[[place + 1 for place in places]]
            loss = loss_of_row(settings, student, wanted, pieces[i], hard) / count
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.get("max_grad_norm", 1.0))
        records.append({"loss": total, "grad_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"]})
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return records, model.eval(), pieces


FULL = {"finetuning_type": "full", "learning_rate": 1e-4}
FORMS = {
    "exact": {"kd_loss": "exact"},
    "exact-temperature-1": {"kd_loss": "exact", "kd_temperature": 1.0, "kd_ce_weight": 0.5},
    "exact-fading": {"kd_loss": "exact", "kd_hard_top1": 0.4, "kd_hard_top1_end": 0.1},
    "candidates": {"kd_loss": "candidates", "kd_hard_top1": 0.2},
    "candidates-labels": {"kd_loss": "candidates", "kd_ce_weight": 0.3},
    "a": {"kd_loss": "a", "kd_hard_top1": 0.2, "kd_hard_full": 5e-5},
    "b": {"kd_loss": "b", "kd_weight": 0.8, "kd_hard_top1": 0.2, "kd_hard_full": 0.1},
    "exact-frozen-head": {"kd_loss": "exact", "finetuning_type": "freeze"},
    "candidates-frozen-head": {"kd_loss": "candidates", "finetuning_type": "freeze"},
}


@pytest.mark.parametrize("name", FORMS)
def test_a_run_follows_the_losses_written_out(name, distilling):
    folder = distilling.cache()
    settings = FULL | FORMS[name]
    log, settings = distilling.train(**settings, **{key: None for key in WRITING})
    expected, _, _ = peer_curve(distilling, distilling.rows(), read_cache(folder), settings)
    assert_same_curve(log, expected)


def test_evaluation_tells_divergence_perplexity_and_agreement(distilling):
    folder = distilling.cache(kd_held_out=0.25)
    log, settings = distilling.train(**FULL, kd_loss="exact", dataset=None, eval_strategy="steps", eval_steps=STEPS,
                                     **{key: None for key in WRITING})
    told = next(record for record in log if "eval_loss" in record)
    assert told["eval_loss"] == told["eval_kd_loss"]
    assert told["eval_perplexity"] == pytest.approx(torch.tensor(told["eval_label_loss"]).exp().item(), rel=1e-5)
    # The rows of the cache in order; the last quarter is held out.
    config, _ = distilling.config(dataset=None, **{key: None for key in WRITING - {"kd_cache"}})
    figures = distilling.trainer.json("eval", "--config", config, "--model_name_or_path", settings["output_dir"])
    assert figures["kd_loss"] == pytest.approx(told["eval_kd_loss"], rel=1e-4)
    assert figures["loss"] == pytest.approx(told["eval_label_loss"], rel=1e-4)
    assert figures["top1_agreement"] == pytest.approx(told["eval_top1_agreement"], abs=0.02)
    assert 0 <= figures["top1_agreement"] <= 1 and os.path.isdir(folder)


def test_killed_and_shared_it_is_the_cache_of_one_process(distilling):
    whole = distilling.cache(kd_shard_size=1)
    target = distilling.folder / "shared"
    config, _ = distilling.config(kd_shard_size=1, kd_cache=str(target), threads=1)
    command, draw = [distilling.trainer.path, "kd-cache", "--config", str(config)], random.Random(3)
    for _ in range(4):
        workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
        time.sleep(draw.uniform(0.3, 1.5))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for worker in workers:
        _, said = worker.communicate(timeout=300)
        assert worker.returncode == 0, said.decode()
    names = {name for name in os.listdir(whole)}
    assert {name for name in os.listdir(target) if not name.startswith(".")} == names
    for name in names - {"MANIFEST.json"}:
        assert (target / name).read_bytes() == open(f"{whole}/{name}", "rb").read(), name


def test_what_does_not_fit_is_refused_before_the_first_step(distilling):
    folder = distilling.cache()
    none = {key: None for key in WRITING}

    def refused(code, words, **settings):
        config, _ = distilling.config(**FULL | none | settings)
        done = distilling.trainer.run("--config", config, succeed=False)
        assert done.returncode == code, done.stderr
        assert words in done.stderr, done.stderr
        assert not os.path.exists(distilling.folder / f"run{distilling.count}" / "trainer_log.jsonl")

    refused(78, "cutoff_len", cutoff_len=40)
    refused(78, "kd_temperature = 3", kd_temperature=3.0)
    refused(66, "no teacher's cache", kd_cache=str(distilling.folder))
    refused(78, "has no effect without kd_cache", kd_cache=None)
    os.rename(f"{folder}/shard-00001.safetensors", f"{folder}/away")
    refused(66, "shard-00001.safetensors")
    os.rename(f"{folder}/away", f"{folder}/shard-00001.safetensors")
    refused(78, "another tokenizer", **other_tokenizer(distilling))


def other_tokenizer(distilling):
    folder = distilling.folder / "other"
    folder.mkdir()
    for file in distilling.student.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    return {"model_name_or_path": str(folder)}


def write_original_cache(folder, tokens, vocabulary, negatives):
    """Two shards as precompute_teacher_topk.py leaves them."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(len(tokens), len(tokens[0]) - 1, vocabulary, generator=generator) * 3
    best = logits.topk(K, -1)
    drawn = torch.randint(0, vocabulary, (*logits.shape[:2], negatives), generator=generator)
    (folder / "meta.json").write_text(json.dumps({"format": "qwen_kd_topk_cache_v1", "teacher_model": "somebody",
                                                  "vocab_size": vocabulary}))
    for i, part in enumerate((slice(0, 5), slice(5, 8))):
        torch.save({"input_ids": tokens[part].int(), "attention_mask": torch.ones_like(tokens[part]).byte(),
                    "topk_idx": best.indices[part].int(), "topk_logits": best.values[part].half(),
                    "rand_idx": drawn[part].int(), "rand_logits": logits.gather(2, drawn)[part].half()},
                   folder / f"shard_{i:05d}.pt")


@pytest.mark.parametrize("form", ["a", "b"])
def test_caches_of_the_original_are_imported_and_trained_on(form, distilling):
    rows = distilling.rows()
    stream = [token for ids, _ in rows for token in ids]
    tokens = torch.tensor(stream[:8 * 24]).view(8, 24)
    vocabulary = json.loads((distilling.student / "config.json").read_text())["vocab_size"]
    original, target = distilling.folder / "original", distilling.folder / "imported"
    write_original_cache(original, tokens, vocabulary, NEGATIVES)
    script = os.path.join(ROOT, "scripts/import_kd_cache.py")
    subprocess.run([sys.executable, script, original, target, "--tokenizer", distilling.student, "--held-out", "0",
                    "--negatives"], check=True)
    settings = FULL | {"kd_cache": str(target), "kd_loss": form, "kd_hard_top1": 0.2, "kd_hard_full": 0.05,
                       "dataset": None} | {key: None for key in WRITING}
    log, settings = distilling.train(**settings)
    documents = [(ids, [-100] + ids[1:]) for ids in tokens.tolist()]
    expected, _, _ = peer_curve(distilling, documents, read_cache(target), settings)
    assert_same_curve(log, expected)
    config, _ = distilling.config(**settings | {"kd_loss": "exact", "kd_hard_top1": None})
    done = distilling.trainer.run("--config", config, succeed=False)
    assert done.returncode == 78 and "no temperature" in done.stderr
