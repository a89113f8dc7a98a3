"""A run as a folder and a command that is started until it is done, for the tests that disturb it."""

import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import time

STEPS = 36
SETTINGS = {
    "stage": "sft", "do_train": True, "template": "qwen", "cutoff_len": 128, "max_steps": STEPS,
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine", "warmup_steps": 4, "weight_decay": 0.1, "seed": 7, "threads": 1,
    "logging_steps": 1, "save_steps": 3, "save_total_limit": 3, "val_size": 0.1, "eval_strategy": "steps",
    "eval_steps": 6, "compute_dtype": "float32",
}


def write_data(path, rows=80, seed=3):
    words = ["river", "stone", "light", "seven", "under", "morning", "quiet", "engine", "paper", "north"]
    draw = random.Random(seed)
    sentence = lambda least, most: " ".join(draw.choices(words, k=draw.randint(least, most)))
    path.write_text(json.dumps([{"instruction": sentence(3, 12), "input": "", "output": sentence(2, 30)}
                                for _ in range(rows)]))


class Job:
    """One output folder and the command that fills it, as often as it is started."""

    def __init__(self, trainer, world, output, **settings):
        self.trainer, self.output = trainer, pathlib.Path(output)
        values = {**SETTINGS, "model_name_or_path": str(world / "model"), "dataset": str(world / "rows.json"),
                  "tokenized_path": str(world / "cache"), "output_dir": str(output), **settings}
        self.config = self.output.with_name(self.output.name + ".yaml")
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
        self.said = self.output.with_name(self.output.name + ".stderr")

    def start(self):
        with open(self.said, "w") as said:
            return subprocess.Popen([self.trainer.path, "--config", str(self.config)], stdout=subprocess.DEVNULL,
                                    stderr=said, env={**os.environ, "OMP_WAIT_POLICY": "passive"})

    def finish(self, code=0):
        came = self.start().wait()
        assert came == code, f"exit code {came}, expected {code}:\n{self.stderr()}"
        return self

    def stderr(self):
        return self.said.read_text()

    def log_text(self):
        path = self.output / "trainer_log.jsonl"
        return path.read_text() if path.exists() else ""

    def rows(self):
        """(training, evaluation) by step, of what may not differ; every line whole, every step once."""
        assert not self.log_text() or self.log_text().endswith("\n"), "a torn row"
        steps, evaluations = {}, {}
        for row in map(json.loads, self.log_text().splitlines()):
            step = row["current_steps"]
            kept, keys = (steps, ("loss_bits", "grad_norm", "lr")) if "loss_bits" in row else (evaluations, ("eval_loss",))
            order = [value for key, value in sorted(row.items()) if "order" in key or "sample" in key]
            assert step not in kept, f"step {step} twice"
            kept[step] = tuple(row[key] for key in keys) + tuple(map(str, order))
        assert list(steps) == list(range(1, len(steps) + 1)), "a row is missing or out of order"
        return steps, evaluations

    def checkpoints(self):
        return sorted(int(name[11:]) for name in os.listdir(self.output) if re.fullmatch(r"checkpoint-\d+", name))

    def verify(self):
        """Every visible checkpoint is sound, the program says."""
        steps = self.checkpoints()
        for step in steps:
            self.trainer.run("verify", self.output / f"checkpoint-{step}")
        return steps

    def weights(self):
        files = [*self.output.glob("*.safetensors"), *self.output.glob("*.isogrid")]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def wait_for_rows(self, process, count):
        """Until the log has grown by `count` rows, or the process is over."""
        have = self.log_text().count("\n")
        while process.poll() is None and self.log_text().count("\n") < have + count:
            time.sleep(0.002)
