"""Training speed and memory: the trainer against transformers and PEFT, interleaved in one run on the same cores.

    scripts/bench train [--rounds N] [--quick] [--only TEXT] [--json FILE]

Random weights in the shapes of SmolLM2-135M and of four layers of Qwen3-0.6B. Both sides read the same token ids:
rows of 512 tokens, each one a label, or an instruction workload (conversations of mixed length, half of their
tokens masked), which the peer pads to the longest of a batch as its collator does.

The peer runs SDPA attention and fused AdamW in a fresh process each time. In bfloat16 it runs twice: with all its
trained weights in float32 under autocast, which is our own policy, and with everything in bfloat16. Speed is held
against the faster of the two, memory against the first. The roof is what a plain matrix product reaches in the same
minutes; a step's operations are counted, not estimated from its time. Memory is the largest resident set less what
the libraries take before a model is read. Ratios are medians over the rounds.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
THREADS = 2
LENGTH = 512
RANK = 16
WARM_STEPS = 1

SHAPES = {
    "SmolLM2-135M": transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True, rms_norm_eps=1e-5),
    "Qwen3-0.6B, 4 layers": transformers.Qwen3Config(
        vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=4, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, tie_word_embeddings=True),
}


@dataclasses.dataclass(frozen=True)
class Case:
    shape: str
    method: str  # lora or full
    dtype: str   # bfloat16 or float32
    work: str = "rows"

    def __str__(self):
        return f"{self.shape}, {self.method}, {self.dtype}" + (", instructions" if self.work != "rows" else "")


CASES = [Case(shape, method, dtype) for shape in SHAPES for method in ("lora", "full") for dtype in ("bfloat16", "float32")]
CASES += [Case("SmolLM2-135M", method, "bfloat16", "instructions") for method in ("lora", "full")]


# ---- What both sides read ----

def write_model(config, folder):
    folder.mkdir()
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ROOT / "data/tiny" / name, folder / name)
    (folder / "generation_config.json").unlink(missing_ok=True)


def write_data(folder, rows):
    draw = random.Random(1)
    words = [word for line in (ROOT / "data/tiny_text.jsonl").open() for word in json.loads(line)["text"].split()
             if word.isalpha()]

    def sentence(count):
        return " ".join(draw.choices(words, k=count))

    (folder / "rows.json").write_text(json.dumps([{"text": sentence(LENGTH)} for _ in range(rows)]))
    # Question and answer of like length, 20 to 380 tokens together, the short ones more often.
    lengths = [10 + int(150 * draw.random() ** 1.5) for _ in range(rows)]
    (folder / "instructions.json").write_text(json.dumps([
        {"instruction": sentence(count), "input": "", "output": sentence(count)} for count in lengths]))
    (folder / "dataset_info.json").write_text(json.dumps({
        "rows": {"file_name": "rows.json", "columns": {"prompt": "text"}},
        "instructions": {"file_name": "instructions.json"}}))


def settings_of(case, options, model, data, output):
    settings = {
        "model_name_or_path": str(model), "stage": "pt" if case.work == "rows" else "sft", "dataset": case.work,
        "dataset_dir": str(data), "cutoff_len": LENGTH, "packing": False, "disable_shuffling": True,
        "finetuning_type": case.method, "per_device_train_batch_size": options.batch if case.work == "rows" else 2 * options.batch,
        "num_train_epochs": 1000, "max_steps": WARM_STEPS + options.steps, "learning_rate": 1e-4, "lr_scheduler_type": "constant",
        "logging_steps": 1, "save_strategy": "no", "threads": THREADS, "output_dir": str(output), "log_level": "error",
        "gradient_checkpointing": False}
    if case.work != "rows":
        settings["template"] = "qwen3_nothink"
    if case.method == "lora":
        settings |= {"lora_rank": RANK, "lora_alpha": 2 * RANK, "lora_target": "all"}
    return settings | ({"bf16": True} if case.dtype == "bfloat16" else {"compute_dtype": "float32"})


def batches_of(config, settings):
    """The rows of each step, as the trainer itself reports them."""
    done = subprocess.run([TRAINER, "inspect", "--config", config, "--examples", "100000", "--json"], capture_output=True,
                          text=True, check=True)
    rows = [(row["input_ids"], row["labels"]) for row in json.loads(done.stdout)]
    size = settings["per_device_train_batch_size"]
    epoch = [rows[i:i + size] for i in range(0, len(rows), size)]
    return [epoch[step % len(epoch)] for step in range(settings["max_steps"])]


# ---- The two sides, each in a process of its own ----

def high_water(pid):
    """The largest resident set so far. Not ru_maxrss: that one is inherited from the process that started it."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def measured(words):
    """Runs a program: its output, seconds and largest resident set."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(list(map(str, words)), stdout=out, stderr=error, env=environment)
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        out.seek(0), error.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, words))}\nexit code {process.returncode}\n{error.read()[-4000:]}")
        return out.read(), seconds, peak


def ours(config, settings, batches):
    output = pathlib.Path(settings["output_dir"])
    shutil.rmtree(output, ignore_errors=True)
    _, seconds, peak = measured([TRAINER, "--config", config])
    _, _, idle = measured([TRAINER, "--version"])
    log = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    clock = [0.0] + [row["elapsed_seconds"] for row in log]
    step_seconds = [after - before for before, after in zip(clock, clock[1:])]
    assert len(step_seconds) == len(batches)
    # From the start of the process to the end of the first step; what comes after the last one counts too.
    first = seconds - clock[-1] + step_seconds[0]
    return {"loss": log[0]["loss"], "seconds": step_seconds, "peak": peak - idle, "start": first}


def theirs(job):
    output, _, peak = measured([sys.executable, pathlib.Path(__file__).resolve(), "--peer", job])
    told = json.loads(output.splitlines()[-1])
    return {**told, "peak": peak - told["idle"]}


def peer(job):
    """The peer's own process: prints the loss of the first step and the seconds of each."""
    import peft

    job = json.loads(pathlib.Path(job).read_text())
    idle = high_water("self")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    pure, low = job["policy"] == "pure", job["dtype"] == "bfloat16"
    # Frozen weights are kept in the compute type either way; what trains is in float32 unless pure.
    stored = torch.bfloat16 if low and (pure or job["method"] == "lora") else torch.float32
    few_bits = {}
    if job.get("bits"):
        few_bits = {"device_map": "cpu", "quantization_config": transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, job["dtype"]))}
    model = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=stored, attn_implementation="sdpa", **few_bits)
    model.config.use_cache = False
    if job["method"] == "lora":
        config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules="all-linear",
                                 task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config, autocast_adapter_dtype=not pure)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    losses, seconds = [], []
    for rows in job["batches"]:
        start = time.perf_counter()
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
        labels = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
        # A mask without a zero says nothing, and SDPA is faster without it.
        mask = None if bool(mask.all()) else mask
        with torch.autocast("cpu", torch.bfloat16, enabled=low and not pure):
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"loss": losses[0], "seconds": seconds, "idle": idle}))


# ---- The roof, and what a step has to compute ----

def roof(dtype, config, tokens):
    """Operations a second of the largest matrix product of a block, the best of several."""
    a = torch.randn(tokens, config.hidden_size).to(dtype)
    b = torch.randn(config.intermediate_size, config.hidden_size).to(dtype)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * tokens * a.shape[1] * b.shape[0] / best


def operations(case, config):
    """Of one step's matrix products, per token of a row whose every token is a label."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads, kv = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(hidden, heads), (hidden, kv), (hidden, kv), (heads, hidden), (hidden, inner), (hidden, inner), (inner, hidden)]
    layers, head = config.num_hidden_layers, config.vocab_size * hidden
    weights = layers * sum(a * b for a, b in shapes)
    attention = layers * 6 * LENGTH * heads  # forward and backward, half of the square
    if case.method == "full":
        return 6 * (weights + head) + attention
    return 4 * (weights + head) + 6 * layers * sum(RANK * (a + b) for a, b in shapes) + attention


def tokens_of(batches):
    return [sum(len(ids) for ids, _ in rows) for rows in batches]


# ---- One case ----

def run_case(case, options, scratch):
    model = scratch / case.shape
    if not model.exists():
        write_model(SHAPES[case.shape], model)
    settings = settings_of(case, options, model, scratch, scratch / "run")
    config = scratch / "config.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    batches = batches_of(config, settings)
    tokens = tokens_of(batches)
    policies = ["masters", "pure"] if case.dtype == "bfloat16" else ["masters"]
    jobs = {}
    for policy in policies:
        jobs[policy] = scratch / f"{policy}.json"
        jobs[policy].write_text(json.dumps({"model": str(model), "policy": policy, "dtype": case.dtype,
                                            "method": case.method, "batches": batches}))
    found = {name: [] for name in ("trainer", *policies)}
    roofs = []
    for number in range(options.rounds):
        order = list(found) if number % 2 == 0 else list(found)[::-1]
        for name in order:
            found[name].append(ours(config, settings, batches) if name == "trainer" else theirs(jobs[name]))
        roofs.append(roof(getattr(torch, case.dtype), SHAPES[case.shape], options.batch * LENGTH))
    first, other = found["trainer"][0]["loss"], found["masters"][0]["loss"]
    bound = 5e-3 if case.dtype == "bfloat16" else 1e-5
    assert abs(first - other) <= bound * other, f"{case}: the first losses are {first} and {other}"
    return summary(case, found, tokens[WARM_STEPS:], max(roofs))


def summary(case, found, tokens, roof_rate):
    # Rows of one length: the median step. Mixed lengths: all steps together.
    def rate(run):
        seconds = run["seconds"][WARM_STEPS:]
        return tokens[0] / statistics.median(seconds) if case.work == "rows" else sum(tokens) / sum(seconds)

    rates = {name: [rate(run) for run in runs] for name, runs in found.items()}
    peaks = {name: statistics.median(run["peak"] for run in runs) for name, runs in found.items()}
    best = max((name for name in rates if name != "trainer"), key=lambda name: statistics.median(rates[name]))
    ratios = sorted(mine / other for mine, other in zip(rates["trainer"], rates[best]))
    row = {"case": str(case), "trainer": statistics.median(rates["trainer"]), "peer": statistics.median(rates[best]),
           "peer_policy": best, "ratio": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1],
           "trainer_peak": peaks["trainer"], "peer_peak": peaks["masters"], "peak_ratio": peaks["trainer"] / peaks["masters"],
           "start_seconds": statistics.median(run["start"] for run in found["trainer"]), "roof": roof_rate,
           "tokens_per_step": statistics.mean(tokens)}
    if case.work == "rows":
        each = operations(case, SHAPES[case.shape])
        row |= {"trainer_roof": row["trainer"] * each / roof_rate, "peer_roof": row["peer"] * each / roof_rate}
    return row


def show(row):
    share = "".join(f"{row[name]:7.2f}" if name in row else f"{'-':>7}" for name in ("trainer_roof", "peer_roof"))
    print(f"{row['case']:42}{row['trainer']:9.0f}{row['peer']:9.0f} {row['peer_policy']:8}{row['ratio']:6.2f}"
          f"  {row['lowest']:.2f}-{row['highest']:.2f}{share}{row['trainer_peak'] / 2**20:9.0f}{row['peer_peak'] / 2**20:7.0f}"
          f"{row['peak_ratio']:6.2f}{row['start_seconds']:7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a round (4)")
    parser.add_argument("--batch", type=int, default=4, help="rows of 512 tokens in a micro-batch (4)")
    parser.add_argument("--quick", action="store_true", help="one round of one case, one row a step")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.peer:
        return peer(options.peer)
    torch.set_num_threads(THREADS)
    cases = [case for case in CASES if options.only in str(case)]
    if options.quick:
        options.rounds, options.steps, options.batch, cases = 1, 3, 1, cases[:1]
    print(f"{'':42}{'tokens/s':>18} {'peer is':8}{'':6}{'':11}{'of the roof':>14}{'peak MiB':>16}{'':6}{'start':>7}\n"
          f"{'':42}{'trainer':>9}{'peer':>9} {'':8}{'ratio':>6}  {'range':9}{'ours':>7}{'peer':>7}{'ours':>9}{'peer':>7}"
          f"{'ratio':>6}{'s':>7}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        write_data(scratch, rows=2 * options.batch * (WARM_STEPS + options.steps))
        for case in cases:
            rows.append(run_case(case, options, scratch))
            show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
