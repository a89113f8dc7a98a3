"""Ids per second of `trainer tokenize` on one thread against Hugging Face tokenizers on one.

Five megabytes of Python sources in documents of 4 KiB; both sides take turns on the same documents
and the median of the rounds counts. Our side reads and writes JSON through pipes all the while, the
other one is called in its process. The second figure is what reading the large vocabulary takes:
a start with it less a start with the tiny one.

    scripts/bench tokenizer [FOLDER_WITH_A_LARGE_TOKENIZER]
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import threading
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
SHARED = pathlib.Path(os.environ.get("ISOGRID_SHARED", ROOT.parent / "shared"))
TINY = ROOT / "data/tiny"
ROUNDS = 5


def documents(total=5_000_000, size=4096):
    texts = []
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts or total <= 0:
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")[:total]
        total -= len(text)
        texts += [text[i:i + size] for i in range(0, len(text), size)]
    return texts


class Ours:
    """A running `trainer tokenize` that answers batch after batch."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [TRAINER, "tokenize", "--model_name_or_path", str(folder), "--threads", "1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answer(self, lines, count):
        def feed():
            self.process.stdin.write(lines)
            self.process.stdin.flush()
        writer = threading.Thread(target=feed)
        writer.start()
        answers = [self.process.stdout.readline() for _ in range(count)]
        writer.join()
        return answers


def start_seconds(folder):
    start = time.perf_counter()
    subprocess.run([TRAINER, "tokenize", "--model_name_or_path", str(folder)], input=b"", check=True)
    return time.perf_counter() - start


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "reference/qwen2-tokenizer"
    if not folder.exists():
        folder = TINY
    texts = documents()
    lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
    theirs, ours = Tokenizer.from_file(str(folder / "tokenizer.json")), Ours(folder)
    ours.answer(b'"warm"\n', 1)
    spent = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        answers = ours.answer(lines, len(texts))
        spent["ours"].append(time.perf_counter() - start)
        start = time.perf_counter()
        expected = [theirs.encode(text, add_special_tokens=False).ids for text in texts]
        spent["theirs"].append(time.perf_counter() - start)
    assert [json.loads(answer) for answer in answers] == expected
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    ours_median, theirs_median = (statistics.median(spent[side]) for side in ("ours", "theirs"))
    print(f"encode  ours {megabytes / ours_median:7.1f} MB/s   "
          f"tokenizers {megabytes / theirs_median:7.1f} MB/s   "
          f"ratio {theirs_median / ours_median:.2f}   ({len(texts)} documents, {ROUNDS} rounds)")
    loads = [start_seconds(folder) - start_seconds(TINY) for _ in range(ROUNDS)]
    print(f"load    ours {statistics.median(loads):.3f} s for {theirs.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
