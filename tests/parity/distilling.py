"""A small world to distil in: rows, a teacher, a student of another architecture, and configs for both."""

import json
import os

import models
import pytest
import safetensors.torch
import torch
from test_training import BASE, ROWS, write_config, write_rows

TEACHER, STUDENT = "qwen3-wide-heads", "llama"
K, NEGATIVES, STEPS = 6, 4, 20
SETTINGS = {key: value for key, value in BASE.items() if key not in ("output_dir",)} | {
    "max_steps": STEPS, "kd_top_k": K, "kd_negatives": NEGATIVES, "kd_held_out": 0, "kd_shard_size": 5,
    "kd_batch_size": 3, "kd_temperature": 2.0}
FULL = {"finetuning_type": "full", "learning_rate": 1e-4}
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
