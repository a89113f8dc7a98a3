"""Answers a teacher writes itself: against transformers, killed and shared, trained on."""

import os
import random
import signal
import struct
import subprocess
import time

import models
import torch
from distilling import FULL, K, WRITING, data, distilling, read_cache, teacher_logits  # noqa: F401


def documents_of(cache):
    """Tokens of every document of documents.rows, and whether each has a label."""
    data = open(os.path.join(cache, "documents.rows"), "rb").read()
    tokens, examples = struct.unpack_from("<QQ", data, len(data) - 136 + 16)
    words = struct.unpack_from(f"<{tokens}I", data)
    ends = struct.unpack_from(f"<{examples}Q", data, (4 * tokens + 7) // 8 * 8)
    pieces = [words[begin:end] for begin, end in zip((0, *ends), ends)]
    return [([word & 0x3fffffff for word in piece], [word >> 31 == 1 for word in piece]) for piece in pieces]


GENERATING = {"kd_generate": True, "max_new_tokens": 12}


def test_the_teacher_writes_the_answers_transformers_writes(distilling):
    cache = distilling.cache(**GENERATING, do_sample=False)
    model = models.load_reference(distilling.teacher, torch.float32).eval()
    for (ids, trained), (data_ids, data_labels) in zip(documents_of(cache), distilling.rows()):
        asked = trained.index(True)
        assert ids[:asked] == data_ids[:asked] and data_labels[asked] != -100 and all(trained[asked:])
        wanted = model.generate(torch.tensor([ids[:asked]]), do_sample=False, max_new_tokens=min(12, 96 - asked),
                                eos_token_id=ids[-1] if len(ids) - asked < min(12, 96 - asked) else None)
        assert ids[asked:] == wanted[0, asked:].tolist()
    expected = torch.cat(teacher_logits(distilling.teacher, [
        (ids, [i if t else -100 for i, t in zip(ids, trained)]) for ids, trained in documents_of(cache)]))
    best = expected.double().log_softmax(1).topk(K, 1).values
    assert (read_cache(cache)["top_log_probs"] - best).abs().max() < 1e-4


def test_answers_of_killed_processes_are_those_of_one(distilling):
    settings = GENERATING | {"kd_shard_size": 3, "max_new_tokens": 40}
    whole = distilling.cache(**settings)
    target = distilling.folder / "answered"
    config, _ = distilling.config(**settings, kd_cache=str(target), kd_batch_size=5)
    command, draw = [distilling.trainer.path, "kd-cache", "--config", str(config)], random.Random(5)
    for _ in range(4):
        workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
        time.sleep(draw.uniform(0.4, 1.6))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(command, check=True, capture_output=True)  # it is there: nothing is answered again
    for name in os.listdir(whole):
        if name != "MANIFEST.json":
            assert (target / name).read_bytes() == open(f"{whole}/{name}", "rb").read(), name
    assert not [name for name in os.listdir(target) if "answers" in name]


def test_a_run_learns_from_the_teachers_own_answers(distilling):
    distilling.cache(**GENERATING, kd_held_out=0.2)
    log, _ = distilling.train(**FULL | {"dataset": None, "learning_rate": 1e-3}, **{key: None for key in WRITING})
    losses = [record["loss"] for record in log if "loss" in record]
    assert losses[-1] < losses[0]
    config, _ = distilling.config(**FULL | {key: None for key in WRITING})
    done = distilling.trainer.run("--config", config, succeed=False)
    assert done.returncode == 78 and "kd_generate" in done.stderr, done.stderr
