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
import peft
import pytest
import torch
from conftest import ROOT
from distilling import (  # noqa: F401
    FULL,
    K,
    NEGATIVES,
    SETTINGS,
    STEPS,
    TEACHER,
    WRITING,
    data,
    distilling,
    labelled,
    read_cache,
    teacher_logits,
)
from test_training import LORA, assert_same_curve, steps_of


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
    form, t = settings.get("kd_loss", "exact"), settings["kd_temperature"]
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


def peer_curve(rows, cache, settings, adapter=None):
    model = peer.load_base(settings["model_name_or_path"], settings)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)
    else:
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
    expected, _, _ = peer_curve(distilling.rows(), read_cache(folder), settings)
    assert_same_curve(log, expected)


# student, settings
ADAPTERS = {
    "lora": ("llama", {}),
    "lora-candidates": ("qwen2-untied", {"kd_loss": "candidates"}),
    "qlora": ("qwen3-blocks", {"quantization_bit": 4}),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_follow_the_losses_written_out(name, distilling, model_folder, tmp_path):
    student, more = ADAPTERS[name]
    folder, student = distilling.cache(), model_folder(student)
    adapter = peer.write_adapter(student, tmp_path / "adapter")
    log, settings = distilling.train(**LORA | {"model_name_or_path": str(student), "kd_hard_top1": 0.1} | more,
                                     adapter_name_or_path=str(adapter), **{key: None for key in WRITING})
    expected, _, _ = peer_curve(distilling.rows(), read_cache(folder), settings, adapter)
    assert_same_curve(log, expected)


LEARNERS = {
    "lora-new": {"finetuning_type": "lora", "lora_rank": 4, "learning_rate": 1e-2},
    "qlora-int8": {"finetuning_type": "lora", "quantization_bit": 8, "learning_rate": 1e-2},
    "qat": {"finetuning_type": "full", "qat_target": "universal_int4", "learning_rate": 1e-3},
    "qat-lora": {"finetuning_type": "lora", "qat_target": "gguf:q4_0", "learning_rate": 1e-2},
    "sampled": {"finetuning_type": "full", "kd_loss": "a", "kd_sampled_ce": 0.1, "kd_sampled_negatives": 16,
                "learning_rate": 1e-3},
    "anchored": {"finetuning_type": "full", "kd_anchor": "start", "kd_anchor_weight": 0.01, "learning_rate": 1e-3},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_kind_of_training_learns_from_the_teacher(name, distilling, model_folder):
    distilling.cache()
    log, _ = distilling.train(**{"model_name_or_path": str(model_folder("qwen3-blocks")), "disable_shuffling": True,
                                 "gradient_accumulation_steps": 12} | LEARNERS[name],
                              **{key: None for key in WRITING})
    losses = [record["loss"] for record in log]
    assert losses[-1] < 0.9 * losses[0], losses


@torch.no_grad()
def start_outcomes(model, ids, places, kept=128):
    logits = model(input_ids=torch.tensor([ids])).logits[0][places].double()
    return logits.topk(kept).indices, outcomes(logits, logits.topk(kept).indices)


def outcomes(logits, ids):
    full = logits.log_softmax(1)
    rest = torch.logsumexp(full.scatter(1, ids, -torch.inf), 1, keepdim=True)
    return torch.cat([full.gather(1, ids), rest], 1)


@pytest.mark.parametrize("anchor", ["start", TEACHER])
def test_an_anchor_adds_the_divergence_from_the_model_it_names(anchor, distilling, model_folder):
    """One row, so that both sides know which one the anchor looks at, and no teacher beside it."""
    none = {key: None for key in SETTINGS if key.startswith("kd_")} | {"kd_teacher": None, "kd_cache": None}
    rows = distilling.rows()[:1]
    log, settings = distilling.train(
        **none | FULL | {"max_samples": 1, "gradient_accumulation_steps": 1, "kd_anchor_interval": 3,
                         "kd_anchor_weight": 0.5, "learning_rate": 1e-3,
                         "kd_anchor": anchor if anchor == "start" else str(model_folder(anchor))})
    model, (ids, labels) = models.load_reference(distilling.student, torch.float32), rows[0]
    held = model if anchor == "start" else models.load_reference(model_folder(anchor), torch.float32)
    places = labelled(ids, labels)
    kept, before = start_outcomes(held, ids, places)
    wanted = torch.tensor(labels)[[place + 1 for place in places]]
    optimizer = peer.make_optimizer(model, settings)
    scheduler, expected = peer.make_scheduler(optimizer, settings, STEPS), []
    for step in range(STEPS):
        logits = model(input_ids=torch.tensor([ids])).logits[0][places].double()
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        if step % 3 == 0:
            loss = loss + 0.5 * (before.exp() * (before - outcomes(logits, kept))).sum(1).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        expected.append({"loss": loss.item(), "grad_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"]})
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    assert_same_curve(log, expected)


def test_the_plan_counts_the_teachers_guesses_and_the_anchors(distilling):
    distilling.cache()
    none = {key: None for key in WRITING}

    def memory(**settings):
        config, _ = distilling.config(**FULL | none | settings)
        return distilling.trainer.json("plan", "--config", config)

    plain = memory(kd_cache=None, **{key: None for key in SETTINGS if key.startswith("kd_")})
    taught = memory(**{key: None for key in SETTINGS if key.startswith("kd_")})
    assert "teacher" not in plain["memory"]
    per_label = (K + NEGATIVES) * 8 + K * (12 + 8)
    assert taught["memory"]["teacher"] % per_label == 0 and taught["memory"]["teacher"] > 0
    anchored = memory(kd_anchor="start", **{key: None for key in SETTINGS if key.startswith("kd_")})
    assert anchored["memory"]["teacher"] > taught["memory"]["teacher"]
    assert taught["memory"]["total"] == plain["memory"]["total"] + taught["memory"]["teacher"]


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
    refused(78, "has no effect without kd_anchor", kd_anchor_weight=0.5)
    refused(78, "only loss a draws", kd_sampled_ce=0.1)
    refused(78, "more than the vocabulary", kd_loss="a", kd_sampled_ce=0.1, kd_sampled_negatives=60000)
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
    expected, _, _ = peer_curve(documents, read_cache(target), settings)
    assert_same_curve(log, expected)
    config, _ = distilling.config(**settings | {"kd_loss": "exact", "kd_hard_top1": None})
    done = distilling.trainer.run("--config", config, succeed=False)
    assert done.returncode == 78 and "no temperature" in done.stderr
