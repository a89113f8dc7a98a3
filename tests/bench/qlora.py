"""QLoRA against our own LoRA and against transformers + PEFT + bitsandbytes, interleaved in one run on the same cores.

    scripts/bench qlora [--rounds N] [--steps N] [--batch N] [--only TEXT] [--json FILE]

Random weights in the shape of SmolLM2-135M, rows of 512 tokens, four to a micro-batch. All three sides read the same
token ids, in fresh processes that take turns; the base of the first and the third is NF4 with scales quantised too.
Speed is the median step; memory is the largest resident set less what the libraries take before a model is read.
Ratios are medians over the rounds: ours to the peer, and to our own run on the base as it is stored.
"""

import argparse
import json
import pathlib
import statistics
import tempfile

import torch
import train
import transformers

CASES = [train.Case("SmolLM2-135M", "lora", dtype) for dtype in ("bfloat16", "float32")]
SIDES = ("qlora", "lora", "peer")


def run_side(side, case, options, scratch, model, batches):
    settings = train.settings_of(case, options, model, scratch, scratch / f"run-{side}")
    if side == "peer":
        job = scratch / "job.json"
        job.write_text(json.dumps({"model": str(model), "policy": "masters", "dtype": case.dtype, "method": "lora",
                                   "bits": 4, "batches": batches}))
        return train.theirs(job)
    if side == "qlora":
        settings |= {"quantization_bit": 4}
    config = scratch / f"{side}.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return train.ours(config, settings, batches)


def run_case(case, options, scratch):
    model = scratch / case.shape
    if not model.exists():
        train.write_model(train.SHAPES[case.shape], model)
    settings = train.settings_of(case, options, model, scratch, scratch / "run")
    config = scratch / "config.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    batches = train.batches_of(config, settings)
    found = {side: [] for side in SIDES}
    for number in range(options.rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            found[side].append(run_side(side, case, options, scratch, model, batches))
    first, other = found["qlora"][0]["loss"], found["peer"][0]["loss"]
    bound = 5e-3 if case.dtype == "bfloat16" else 1e-5
    assert abs(first - other) <= bound * other, f"{case}: the first losses are {first} and {other}"
    tokens = train.tokens_of(batches)[train.WARM_STEPS]
    rates = {side: [tokens / statistics.median(run["seconds"][train.WARM_STEPS:]) for run in runs] for side, runs in found.items()}
    row = {"case": str(case), "tokens_per_step": tokens}
    for side in SIDES:
        row[side] = statistics.median(rates[side])
        row[f"{side}_peak"] = statistics.median(run["peak"] for run in found[side])
    for side in ("lora", "peer"):
        ratios = [mine / theirs for mine, theirs in zip(rates["qlora"], rates[side])]
        row[f"to_{side}"], row[f"to_{side}_range"] = statistics.median(ratios), (min(ratios), max(ratios))
    row["peak_to_peer"] = row["qlora_peak"] / row["peer_peak"]
    row["peak_to_lora"] = row["qlora_peak"] / row["lora_peak"]
    return row


def show(row):
    ranges = "".join(f"{row[f'to_{side}']:6.2f} ({row[f'to_{side}_range'][0]:.2f}-{row[f'to_{side}_range'][1]:.2f})"
                     for side in ("lora", "peer"))
    peaks = "".join(f"{row[f'{side}_peak'] / 2**20:8.0f}" for side in SIDES)
    print(f"{row['case']:30}" + "".join(f"{row[side]:8.0f}" for side in SIDES) + ranges + peaks
          + f"{row['peak_to_lora']:9.2f}{row['peak_to_peer']:8.2f}", flush=True)


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
    print(f"{'':30}{'tokens/s':>24}{'QLoRA to LoRA':>18}{'to the peer':>18}{'peak MiB':>24}{'of LoRA':>9}{'of peer':>8}\n"
          f"{'':30}" + "".join(f"{side:>8}" for side in SIDES) + " " * 36 + "".join(f"{side:>8}" for side in SIDES))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        train.write_data(scratch, rows=2 * options.batch * (train.WARM_STEPS + options.steps))
        for case in CASES:
            if options.only in str(case):
                rows.append(run_case(case, options, scratch))
                show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
