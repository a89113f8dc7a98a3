"""Perplexity of a model rounded to few bits: to the nearest, by GPTQ, by AWQ.

    scripts/bench gptq --model DIR [--bits 4 3] [--group 64] [--rows 64] [--json FILE]

English prose that every Python carries (the documentation behind help()) is cut in two: rows to calibrate on, and text
to measure on, which no quantiser sees. Each folder is written by `trainer export` and measured by `trainer eval`; rounding
to the nearest has the same scales, zero points and groups as the symmetric GPTQ beside it.
"""

import argparse
import json
import os
import pathlib
import pydoc_data.topics
import shutil
import subprocess
import tempfile
import time

import safetensors.torch
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def run(*words):
    done = subprocess.run([TRAINER, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stdout


def nearest(weight, bits, group):
    blocks = weight.float().unflatten(1, (-1, group))
    scale = (blocks.abs().amax(2, keepdim=True) * 2 / (2**bits - 1)).half().float()
    middle = 2 ** (bits - 1)
    codes = torch.clamp(torch.round(blocks / scale) + middle, 0, 2**bits - 1) - middle
    return (codes * scale).flatten(1)


def write_nearest(model, folder, bits, group):
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = safetensors.torch.load_file(model / "model.safetensors")
    for name, tensor in tensors.items():
        if name.split(".")[-2] in LINEARS:
            tensors[name] = nearest(tensor, bits, group).to(tensor.dtype)
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3])
    parser.add_argument("--group", type=int, default=64)
    parser.add_argument("--rows", type=int, default=64, help="rows of 512 tokens to calibrate on")
    parser.add_argument("--characters", type=int, default=120_000, help="of the text measured on")
    parser.add_argument("--orders", nargs="+", default=["important", "stored", "scattered"])
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    topics = pydoc_data.topics.topics
    prose = [topics[name] for name in sorted(topics)]
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="gptq-bench-"))
    (scratch / "calibration.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[0::2]))
    (scratch / "measured.txt").write_text("\n\n".join(prose[1::2])[:arguments.characters])
    table = {}

    def measure(name, folder, seconds=0.0):
        result = json.loads(run("eval", "--model_name_or_path", folder, "--text_file", scratch / "measured.txt", "--eval_window", 512,
                                "--eval_stride", 512, "--dtype", "float32", "--json"))
        table[name] = {"perplexity": result["perplexity"], "seconds": seconds}
        print(f"{name:28s} {result['perplexity']:9.3f}   written in {seconds:5.0f} s", flush=True)

    def exported(name, kind, *words):
        start = time.monotonic()
        run("export", "--model_name_or_path", arguments.model, "--export_dir", scratch / name, "--export_formats", kind,
            "--export_quantization_dataset", scratch / "calibration.jsonl", "--export_quantization_nsamples", arguments.rows,
            "--export_quantization_maxlen", 512, "--export_report", "false", *words)
        measure(name, next(path for path in (scratch / name).iterdir() if path.is_dir()), time.monotonic() - start)
        shutil.rmtree(scratch / name)

    measure("as stored", arguments.model)
    for bits in arguments.bits:
        write_nearest(arguments.model, scratch / "nearest", bits, arguments.group)
        measure(f"{bits} bits, nearest", scratch / "nearest")
        shutil.rmtree(scratch / "nearest")
        for order in arguments.orders:
            exported(f"{bits} bits, GPTQ, {order}", f"gptq:{bits}:g{arguments.group}", "--export_quantization_order", order)
        if bits == 4:
            exported("4 bits, AWQ", f"awq:4:g{arguments.group}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2))
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
