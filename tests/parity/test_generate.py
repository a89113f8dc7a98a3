"""Greedy text equals transformers' on a raw prompt, one at a time and many at once."""

import json

import models
import pytest
import torch
import transformers

PROMPT = "Sanuke la doris ven, katalu remi?"
PROMPTS = [PROMPT, "Ba", "Nor vadulis, " * 9 + "tiku.", "Lemi so"]
TOKENS = 64
# One of each architecture and of whatever reaches past a window or scales positions; ids beyond 64 tokens
# of a dynamic scaling would depend on how its cache was filled.
NAMES = ["qwen2-untied", "qwen2-tied-group1", "qwen2-group8", "qwen2-yarn", "qwen2-window", "qwen3-wide-heads",
         "qwen3-window", "qwen3-layer-types", "qwen3-bfloat16", "llama-llama3", "llama-biases", "llama-linear",
         "mistral", "smollm3", "smollm3-window"]


def generate(trainer, folder, *arguments, tokens=TOKENS):
    return trainer.json("generate", "--model_name_or_path", folder, "--max_new_tokens", tokens,
                        "--do_sample", "false", "--dtype", "float32", *arguments)


@torch.no_grad()
def assert_greedy(reference, prompt_ids, ids, tokens=TOKENS):
    """Each id is what the reference would choose after the ones before it; where its two best are closer
    than float32 can tell apart, either is right."""
    assert len(ids) == tokens
    logits = reference(torch.tensor([prompt_ids + ids]), use_cache=False).logits[0, len(prompt_ids) - 1:-1]
    best = logits.max(dim=-1).values
    chosen = logits.gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
    behind = ((best - chosen) / logits.abs().max()).max().item()
    assert behind <= 1e-5, f"an id lies {behind:.1e} behind the best one"


@pytest.mark.parametrize("name", NAMES)
def test_greedy(name, trainer, model_folder):
    folder = model_folder(name)
    reference = models.load_reference(folder, torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    result = generate(trainer, folder, "--prompt", PROMPT)
    assert result["prompt_ids"] == tokenizer(PROMPT)["input_ids"]
    assert_greedy(reference, result["prompt_ids"], result["ids"])
    expected = reference.generate(torch.tensor([result["prompt_ids"]]), do_sample=False, max_new_tokens=TOKENS)
    assert result["ids"] == expected[0, len(result["prompt_ids"]):].tolist()
    # A character cut off at the end may be held back.
    decoded = tokenizer.decode(result["ids"], skip_special_tokens=True)
    assert decoded.startswith(result["text"].rstrip("\ufffd"))


@pytest.mark.parametrize("name", ["qwen2-window", "qwen3-wide-heads", "llama-llama3", "smollm3"])
def test_many_prompts_give_what_each_gives_alone(name, trainer, model_folder, tmp_path):
    folder = model_folder(name)
    (tmp_path / "prompts.txt").write_text("".join(prompt + "\n" for prompt in PROMPTS))
    together = generate(trainer, folder, "--prompts_file", tmp_path / "prompts.txt")
    assert len(together) == len(PROMPTS)
    for prompt, result in zip(PROMPTS, together):
        alone = generate(trainer, folder, "--prompt", prompt)
        assert (result["prompt_ids"], result["ids"], result["text"]) == (alone["prompt_ids"], alone["ids"], alone["text"])


def test_it_stops_where_transformers_stops(trainer, model_folder, tmp_path):
    """The 10th greedy token is made a stop token: of the two lists, the second one counts."""
    folder = model_folder("qwen3-wide-heads")
    free = generate(trainer, folder, "--prompt", PROMPT)
    stop = next(token for index, token in enumerate(free["ids"]) if index >= 9 and token not in free["ids"][:index])
    length = free["ids"].index(stop) + 1
    copy = tmp_path / "model"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, stop]}))
    reference = models.load_reference(copy, torch.float32)
    expected = reference.generate(torch.tensor([free["prompt_ids"]]), do_sample=False, max_new_tokens=TOKENS)
    assert expected.shape[1] == len(free["prompt_ids"]) + length
    stopped = generate(trainer, copy, "--prompt", PROMPT)["ids"]
    # With the stop token or without it: both spellings of "stopped there".
    assert stopped in (free["ids"][:length], free["ids"][:length - 1])


def test_a_repetition_penalty_is_the_one_of_transformers(trainer, model_folder):
    folder = model_folder("llama-llama3")
    reference = models.load_reference(folder, torch.float32)
    result = generate(trainer, folder, "--prompt", PROMPT, "--repetition_penalty", "1.7")
    expected = reference.generate(torch.tensor([result["prompt_ids"]]), do_sample=False, max_new_tokens=TOKENS,
                                  repetition_penalty=1.7)
    assert result["ids"] == expected[0, len(result["prompt_ids"]):].tolist()


def test_max_length_counts_the_prompt(trainer, model_folder):
    folder = model_folder("llama")
    result = trainer.json("generate", "--model_name_or_path", folder, "--prompt", PROMPT, "--max_length", 40,
                          "--do_sample", "false", "--dtype", "float32")
    assert len(result["prompt_ids"]) + len(result["ids"]) == 40


def test_a_seed_gives_the_same_text_again(trainer, model_folder):
    def sample(seed):
        return trainer.json("generate", "--model_name_or_path", model_folder("qwen3-wide-heads"), "--prompt", PROMPT,
                            "--max_new_tokens", 24, "--do_sample", "true", "--temperature", "0.9", "--top_p", "0.9",
                            "--seed", seed)["ids"]

    assert sample(5) == sample(5)
    assert sample(5) != sample(6)


def test_the_first_sampled_token_follows_the_distribution(trainer, model_folder):
    """Over many prompts at once: with top_k 3, exactly the reference's three best tokens come out first."""
    folder = model_folder("qwen2-untied")
    reference = models.load_reference(folder, torch.float32)
    seen = set()
    for seed in range(12):
        result = trainer.json("generate", "--model_name_or_path", folder, "--prompt", PROMPT, "--max_new_tokens", 1,
                              "--do_sample", "true", "--top_k", 3, "--temperature", "3.0", "--top_p", "1.0",
                              "--seed", seed, "--dtype", "float32")
        seen.update(result["ids"])
    best = models.reference_logits(reference, result["prompt_ids"])[-1].topk(3).indices.tolist()
    assert seen <= set(best) and len(seen) >= 2
