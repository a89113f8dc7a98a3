"""Tokens per second from a file of conversations to rows on disk: `trainer prepare` against Hugging Face datasets
with tokenizers, two processes there, two threads here.

The same records, template and masks. The peer is given every advantage it has: batches of 1,000, one call of the
fast encoder for all slots of a batch, and its start and imports are not counted; ours are. Both write their result.
The sides take turns, the median of the rounds counts, and both must give the same number of tokens and labels.

    scripts/bench data [FOLDER_WITH_A_TOKENIZER] [--records N]

Needs the package `datasets` in the environment of scripts/parity; without it, only our figure is printed.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
SHARED = pathlib.Path(os.environ.get("ISOGRID_SHARED", ROOT.parent / "shared"))
ROUNDS, PROCESSES = 3, 2
HEADER = "<|im_end|>\n<|im_start|>assistant\n"


def write_records(path, count):
    """Questions of a few words, answers of 50 to 2,000 characters of prose and code."""
    rng = random.Random(1)
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    text = "".join(file.read_text(encoding="utf-8", errors="ignore") for file in sorted(library.glob("*.py")))
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            at = rng.randrange(len(text) - 2000)
            record = {"instruction": f"Question {number}: what does this do?", "input": text[at:at + rng.randrange(80)],
                      "output": text[at:at + rng.randrange(50, 2000)]}
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def ours(folder, model):
    start = time.perf_counter()
    done = subprocess.run(
        [TRAINER, "prepare", "--model_name_or_path", str(model), "--template", "qwen3_nothink", "--dataset", "d",
         "--dataset_dir", str(folder), "--tokenized_path", str(folder / "ours"), "--overwrite_cache", "true",
         "--cutoff_len", "4096", "--threads", str(PROCESSES), "--json"], check=True, capture_output=True, text=True)
    spent = time.perf_counter() - start
    report = json.loads(done.stdout)["train"]
    return spent, report["tokens"], report["label_tokens"]


def encode(batch, tokenizer):
    prompts = ["<|im_start|>user\n" + (f"{question}\n{more}" if more else question) + HEADER
               for question, more in zip(batch["instruction"], batch["input"])]
    answers = [answer + "<|im_end|>\n" for answer in batch["output"]]
    encoded = tokenizer.encode_batch_fast(prompts + answers, add_special_tokens=False)
    rows = {"input_ids": [], "labels": []}
    for source, target in zip(encoded[:len(prompts)], encoded[len(prompts):]):
        rows["input_ids"].append(source.ids + target.ids)
        rows["labels"].append([-100] * len(source.ids) + target.ids)
    return rows


class Peer:
    """The usual way: load_dataset, map, save_to_disk."""

    def __init__(self, folder, model):
        import datasets
        from tokenizers import Tokenizer
        datasets.disable_progress_bars()
        datasets.disable_caching()
        self.datasets, self.folder = datasets, folder
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))

    def run(self, number):
        out = self.folder / f"theirs{number}"
        start = time.perf_counter()
        rows = self.datasets.load_dataset("json", data_files=str(self.folder / "d.jsonl"), split="train",
                                          cache_dir=str(out / "cache"))
        rows = rows.map(encode, batched=True, batch_size=1000, num_proc=PROCESSES, remove_columns=rows.column_names,
                        fn_kwargs={"tokenizer": self.tokenizer})
        rows.save_to_disk(str(out / "rows"))
        spent = time.perf_counter() - start
        tokens = labels = 0
        for row in rows.with_format("numpy"):
            tokens += len(row["input_ids"])
            labels += int((row["labels"] != -100).sum())
        return spent, tokens, labels


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model", nargs="?", type=pathlib.Path, default=SHARED / "reference/qwen2-tokenizer")
    arguments.add_argument("--records", type=int, default=20000)
    given = arguments.parse_args()
    model = given.model if given.model.exists() else ROOT / "data/tiny"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_records(folder / "d.jsonl", given.records)
        (folder / "dataset_info.json").write_text(json.dumps({"d": {"file_name": "d.jsonl"}}))
        try:
            peer = Peer(folder, model)
        except ImportError as missing:
            peer = None
            print(f"{missing}: no peer to compare with", file=sys.stderr)
        seconds = {"ours": [], "theirs": []}
        for number in range(ROUNDS):
            spent, tokens, labels = ours(folder, model)
            seconds["ours"].append(spent)
            if peer:
                spent, *theirs = peer.run(number)
                seconds["theirs"].append(spent)
                assert theirs == [tokens, labels], (theirs, tokens, labels)
        rates = {side: tokens / statistics.median(all_rounds) for side, all_rounds in seconds.items() if all_rounds}
        megabytes = (folder / "d.jsonl").stat().st_size / 1e6
        print(f"{given.records} records, {megabytes:.0f} MB, {tokens} tokens, {PROCESSES} threads or processes")
        for side, rate in rates.items():
            print(f"{side:7} {rate / 1e6:6.2f} M tokens/s")
        if peer:
            print(f"ratio   {rates['ours'] / rates['theirs']:6.2f}")


if __name__ == "__main__":
    main()
