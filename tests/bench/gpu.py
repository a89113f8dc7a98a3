"""LoRA and QLoRA on a GPU: the trainer against transformers + PEFT (+ bitsandbytes), one command on a machine with one.

    scripts/bench gpu [--rounds N] [--steps N] [--only TEXT] [--json FILE]

ISOGRID_TRAINER names a trainer built with the preset `cuda`. Random weights in the shapes of Qwen3-0.6B and Qwen3-8B, rows
of one length whose every token is a label, bfloat16, rank 16 on every linear. QLoRA runs beside our own LoRA and beside the
peer on an NF4 base with scales quantised too. Every run is a fresh process, in the order A B B A; ten steps warm up, the
median of the rest counts. Memory is what the driver says the process holds at most. A first loss that differs by more than
5e-3 ends the measurement: a number without equal losses says nothing. The clock of the card is recorded with each run.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import train
import transformers

WARM = 10
QWEN3 = {"vocab_size": 151936, "head_dim": 128, "max_position_embeddings": 40960, "num_key_value_heads": 8}
SHAPES = {
    "Qwen3-0.6B": transformers.Qwen3Config(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
                                           num_attention_heads=16, tie_word_embeddings=True, **QWEN3),
    "Qwen3-8B": transformers.Qwen3Config(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
                                         num_attention_heads=32, tie_word_embeddings=False, **QWEN3),
}


@dataclasses.dataclass(frozen=True)
class Case:
    shape: str
    length: int
    rows: int
    few_bits: bool

    def __str__(self):
        return f"{self.shape}, {'QLoRA' if self.few_bits else 'LoRA'}, {self.rows} x {self.length}"


CASES = [Case("Qwen3-0.6B", 2048, 4, False), Case("Qwen3-0.6B", 512, 2, False), Case("Qwen3-0.6B", 2048, 4, True),
         Case("Qwen3-8B", 2048, 4, True), Case("Qwen3-8B", 512, 1, True)]


def smi(fields, what="gpu"):
    done = subprocess.run(["nvidia-smi", f"--query-{what}={fields}", "--format=csv,noheader,nounits"], capture_output=True, text=True)
    return [line.split(", ") for line in done.stdout.splitlines()]


def watched(words):
    """Runs a program: its output, seconds, the most memory it held on the card, and the card's median clock."""
    start, peak, clocks = time.perf_counter(), 0, []
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(list(map(str, words)), stdout=out, stderr=error)
        while process.poll() is None:
            held = [int(row[1]) for row in smi("pid,used_memory", "compute-apps") if row[0] == str(process.pid)]
            peak = max([peak, *held])
            clocks += [int(row[0]) for row in smi("clocks.sm")][:1]
            time.sleep(0.2)
        out.seek(0), error.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, words))}\nexit code {process.returncode}\n{error.read()[-4000:]}")
        return out.read(), time.perf_counter() - start, peak, statistics.median(clocks or [0])


def settings_of(case, options, model, data, output, few_bits):
    settings = {"model_name_or_path": str(model), "stage": "pt", "dataset": "rows", "dataset_dir": str(data), "cutoff_len": case.length,
                "packing": False, "disable_shuffling": True, "finetuning_type": "lora", "lora_rank": train.RANK,
                "lora_alpha": 2 * train.RANK, "lora_target": "all", "per_device_train_batch_size": case.rows, "num_train_epochs": 1000,
                "max_steps": WARM + options.steps, "learning_rate": 1e-4, "lr_scheduler_type": "constant", "logging_steps": 1,
                "save_strategy": "no", "output_dir": str(output), "log_level": "error", "bf16": True, "device": "cuda",
                "gradient_checkpointing": case.shape == "Qwen3-8B"}
    return settings | ({"quantization_bit": 4} if few_bits else {})


def ours(case, options, scratch, model, few_bits):
    settings = settings_of(case, options, model, scratch, scratch / "run", few_bits)
    shutil.rmtree(scratch / "run", ignore_errors=True)
    config = scratch / "run.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    _, _, peak, clock = watched([train.TRAINER, "--config", config])
    log = [json.loads(line) for line in (scratch / "run/trainer_log.jsonl").read_text().splitlines()]
    marks = [0.0] + [row["elapsed_seconds"] for row in log]
    return {"loss": log[0]["loss"], "seconds": [b - a for a, b in zip(marks, marks[1:])], "peak": peak, "clock": clock}


def theirs(case, options, scratch, model, batches):
    job = scratch / "job.json"
    job.write_text(json.dumps({"model": str(model), "few_bits": case.few_bits, "recompute": case.shape == "Qwen3-8B",
                               "batches": batches}))
    output, _, peak, clock = watched([sys.executable, pathlib.Path(__file__).resolve(), "--peer", job])
    return json.loads(output.splitlines()[-1]) | {"peak": peak, "clock": clock}


def peer(job):
    """The peer's own process: prints the loss of the first step and the seconds of each."""
    import peft

    job = json.loads(pathlib.Path(job).read_text())
    more = {}
    if job["few_bits"]:
        more["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
    model = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.bfloat16, attn_implementation="sdpa",
                                                              device_map="cuda", **more)
    model.config.use_cache = False
    if job["recompute"]:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model = peft.get_peft_model(model, peft.LoraConfig(r=train.RANK, lora_alpha=2 * train.RANK, lora_dropout=0.0,
                                                       target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    losses, seconds = [], []
    for rows in job["batches"]:
        torch.cuda.synchronize()
        start = time.perf_counter()
        ids = torch.tensor([ids for ids, _ in rows], device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"loss": losses[0], "seconds": seconds}))


def batches_of(case, options, scratch, model):
    settings = settings_of(case, options, model, scratch, scratch / "run", False) | {"device": "cpu"}
    config = scratch / "inspect.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return train.batches_of(config, settings)


def run_case(case, options, scratch):
    model = scratch / case.shape
    if not model.exists():
        train.write_model(SHAPES[case.shape], model)
    train.LENGTH = case.length
    train.write_data(scratch, rows=case.rows * (WARM + options.steps))
    batches = batches_of(case, options, scratch, model)
    sides = {"trainer": lambda: ours(case, options, scratch, model, case.few_bits),
             "peer": lambda: theirs(case, options, scratch, model, batches)}
    if case.few_bits:
        sides["own LoRA"] = lambda: ours(case, options, scratch, model, False)
    found = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            found[name].append(sides[name]())
            time.sleep(options.rest)
    first, other = found["trainer"][0]["loss"], found["peer"][0]["loss"]
    assert abs(first - other) <= 5e-3 * other, f"{case}: the first losses are {first} and {other}"
    tokens = case.rows * case.length
    return {"case": str(case)} | {name: {
        "tokens_per_second": [tokens / statistics.median(run["seconds"][WARM:]) for run in runs],
        "peak_mib": max(run["peak"] for run in runs), "clocks": [run["clock"] for run in runs]} for name, runs in found.items()}


def show(row):
    rates = {name: statistics.median(side["tokens_per_second"]) for name, side in row.items() if name != "case"}
    print(row["case"])
    for name, rate in rates.items():
        spread = row[name]["tokens_per_second"]
        print(f"  {name:10}{rate:10.0f} tokens/s ({min(spread):.0f}-{max(spread):.0f}){row[name]['peak_mib']:8} MiB"
              f"   ratio of ours {rates['trainer'] / rate:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of a round (30)")
    parser.add_argument("--rest", type=float, default=10, help="seconds between runs (10)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.peer:
        return peer(options.peer)
    if not torch.cuda.is_available():
        raise SystemExit("scripts/bench gpu: there is no GPU here, or the torch of the Python environment has no CUDA")
    os.environ.setdefault("OMP_NUM_THREADS", "8")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            if options.only in str(case):
                rows.append(run_case(case, options, pathlib.Path(scratch)))
                show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps({"card": smi("name,driver_version"), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
