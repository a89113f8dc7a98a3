"""Reading a prompt, writing an answer, starting up: the trainer against transformers, interleaved in one run.

    scripts/bench inference [--rounds N] [--json FILE]

Random weights in bfloat16: the shape of SmolLM2-135M for speed, of Qwen3-0.6B for start-up and memory. Both sides
read the same token ids on the same two threads; transformers runs with SDPA attention, a cache and inference mode,
the head on the last position only. Ratios are medians over the rounds; above 1 the trainer is faster.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
THREADS = 2

SMALL = transformers.LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, tie_word_embeddings=True, rms_norm_eps=1e-5)
LARGER = transformers.Qwen3Config(
    vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=40960, tie_word_embeddings=True)


def write_model(config, folder):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (ROOT / "data/tiny" / name).exists():
            shutil.copy(ROOT / "data/tiny" / name, folder / name)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


def ours(folder, prompts, new_tokens):
    """Each prompt is read on its own, so several of them show the speed of a process that is warm, as the peer is."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("".join(json.dumps(prompt) + "\n" for prompt in prompts))
        file.flush()
        words = [TRAINER, "generate", "--model_name_or_path", folder, "--prompts_file", file.name, "--max_new_tokens",
                 new_tokens, "--do_sample", "false", "--threads", THREADS, "--json", "--log_level", "error"]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@torch.inference_mode()
def theirs(model, ids, new_tokens):
    """Seconds for the prompt and the first token, and for the tokens after it."""
    inputs = torch.tensor([ids])

    def timed(count):
        start = time.perf_counter()
        model.generate(inputs, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0,
                       attention_mask=torch.ones_like(inputs))
        return time.perf_counter() - start

    first = timed(1)
    return first, timed(new_tokens) - first if new_tokens > 1 else 0.0


def speed(folder, text, new_tokens, rounds):
    prompts = [f"{number}. {text}" for number in range(1, 5)]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16,
                                                              attn_implementation="sdpa").eval()
    ids = [answer["prompt_ids"] for answer in ours(folder, prompts, 1)]
    count = sum(map(len, ids))
    theirs(model, ids[0], 2)
    prefill, decode = [], []
    for _ in range(rounds):
        read = sum(theirs(model, each, 1)[0] for each in ids)
        prefill.append((count / read, ours(folder, prompts, 1)[0]["prompt_tokens_per_second"]))
        first, rest = theirs(model, ids[0], new_tokens)
        mine = ours(folder, prompts[:1], new_tokens)[0]
        assert len(mine["ids"]) == new_tokens
        decode.append(((new_tokens - 1) / rest, mine["tokens_per_second"]))
    return len(ids[0]), summary(prefill), summary(decode)


def summary(pairs):
    peer, trainer = (statistics.median(column) for column in zip(*pairs))
    ratios = sorted(mine / other for other, mine in pairs)
    return {"transformers": peer, "trainer": trainer, "ratio": statistics.median(ratios),
            "lowest": ratios[0], "highest": ratios[-1]}


def anonymous_bytes(process):
    try:
        for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def peak_anonymous(words):
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process))
        time.sleep(0.002)
    assert process.returncode == 0
    return peak


def start_up(folder, idle_folder, rounds):
    words = [TRAINER, "generate", "--model_name_or_path", folder, "--prompt", "The", "--max_new_tokens", "1",
             "--do_sample", "false", "--threads", THREADS, "--json", "--log_level", "error"]
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    longer = [*words]
    longer[longer.index("--max_new_tokens") + 1] = "32"
    idle = [word if word != folder else idle_folder for word in words]
    size = (folder / "model.safetensors").stat().st_size
    extra = peak_anonymous(longer) - peak_anonymous(idle)
    return {"seconds_to_first_token": statistics.median(seconds[1:]), "file_bytes": size,
            "anonymous_bytes_above_idle": extra, "share_of_file": extra / size}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(THREADS)
    prompt = "The quick brown fox asks Zen Nano what it can do today. " * 40
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        small = write_model(SMALL, scratch / "small")
        tokens, prefill, decode = speed(small, prompt, 96, options.rounds)
        idle = write_model(transformers.LlamaConfig(vocab_size=2048, hidden_size=16, intermediate_size=16,
                                                    num_hidden_layers=1, num_attention_heads=1), scratch / "idle")
        start = start_up(write_model(LARGER, scratch / "larger"), idle, options.rounds)
    print(f"{'':24}{'transformers':>14}{'trainer':>12}{'ratio':>8}{'range':>16}")
    for name, row in ((f"prompt of {tokens} tokens/s", prefill), ("answer, tokens/s", decode)):
        print(f"{name:24}{row['transformers']:14.1f}{row['trainer']:12.1f}{row['ratio']:8.2f}"
              f"{row['lowest']:9.2f}-{row['highest']:.2f}")
    print(f"0.6B shape: {start['seconds_to_first_token']:.2f} s to the first token, anonymous memory "
          f"{start['anonymous_bytes_above_idle'] / 2**20:.0f} MiB above an idle process "
          f"({100 * start['share_of_file']:.1f} % of the file)")
    if options.json:
        options.json.write_text(json.dumps({"prefill": prefill, "decode": decode, "start": start}, indent=2) + "\n")


if __name__ == "__main__":
    main()
