"""What rounding and a teacher cost a step, beside the same step without, interleaved in one run on the same cores.

    scripts/bench qat [--rounds N] [--steps N] [--batch N] [--only TEXT] [--json FILE]

Random weights in the shape of SmolLM2-135M with all of them trained, and of four layers of Qwen3-0.6B, whose vocabulary
has 151,936 tokens, with an adapter. bfloat16, rows of 512 tokens whose every token is a label, four to a micro-batch. The sides
take turns in fresh processes; speed is the median step, ratios are medians over the rounds.
Layers of look-up tables have a benchmark of their own: scripts/bench lut.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

import torch
import train
import transformers

KD = {"kd_top_k": 64, "kd_negatives": 64, "kd_held_out": 0}
# The first side of a case is what the others are held against.
CASES = {
    ("SmolLM2-135M", "full"): {
        "cross-entropy": {}, "Q4_0": {"qat_target": "gguf:q4_0"}, "Q2_0": {"qat_target": "gguf:q2_0"},
        "universal_int4": {"qat_target": "universal_int4"}, "teacher": {**KD, "kd_loss": "exact"},
        "teacher and Q4_0": {**KD, "kd_loss": "exact", "qat_target": "gguf:q4_0"}},
    ("Qwen3-0.6B, 4 layers", "lora"): {
        "cross-entropy": {}, "teacher": {**KD, "kd_loss": "exact"}, "teacher, candidates": {**KD, "kd_loss": "candidates"}},
}


def write_config(path, settings):
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return path


def run_case(shape, method, sides, options, scratch):
    model = scratch / shape
    if not model.exists():
        train.write_model(train.SHAPES[shape], model)
    case = train.Case(shape, method, "bfloat16")
    settings = train.settings_of(case, options, model, scratch, scratch / "run")
    batches = train.batches_of(write_config(scratch / "rows.yaml", settings), settings)
    cache = scratch / f"teacher of {shape}"
    teacher = settings | KD | {"kd_cache": str(cache)}
    subprocess.run([train.TRAINER, "kd-cache", "--config", write_config(scratch / "teacher.yaml", teacher)], check=True,
                   capture_output=True)
    tokens = train.tokens_of(batches)[train.WARM_STEPS]
    found = {side: [] for side in sides}
    for number in range(options.rounds):
        for side in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            more = sides[side] | ({"kd_cache": str(cache)} if "kd_loss" in sides[side] else {})
            config = write_config(scratch / "side.yaml", settings | more)
            run = train.ours(config, settings, batches)
            found[side].append((tokens / statistics.median(run["seconds"][train.WARM_STEPS:]), run["peak"]))
    return [summary(f"{shape}, {method}", side, found[side], found[next(iter(sides))]) for side in sides]


def summary(case, side, runs, plain):
    ratios = [ours / theirs for (ours, _), (theirs, _) in zip(runs, plain)]
    return {"case": case, "side": side, "tokens_per_second": statistics.median(rate for rate, _ in runs),
            "ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios),
            "peak": statistics.median(peak for _, peak in runs)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a round (4)")
    parser.add_argument("--batch", type=int, default=4, help="rows of 512 tokens in a micro-batch (4)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(train.THREADS)
    print(f"{'':30}{'':22}{'tokens/s':>9}{'ratio':>8}  {'range':11}{'peak MiB':>8}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        train.write_data(scratch, rows=options.batch)
        for (shape, method), sides in CASES.items():
            if options.only not in f"{shape}, {method}":
                continue
            for row in run_case(shape, method, sides, options, scratch):
                rows.append(row)
                print(f"{row['case']:30}{row['side']:22}{row['tokens_per_second']:9.0f}{row['ratio']:8.2f}"
                      f"  {row['lowest']:.2f}-{row['highest']:.2f}  {row['peak'] / 2**20:8.0f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
