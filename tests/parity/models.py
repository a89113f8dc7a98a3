"""Small models with random weights and awkward shapes, written by transformers: what the comparisons run on.

Every architecture the program knows is here, with each setting that changes its maths. Weights are scaled
so that activations stay near one through the layers and logits differ clearly from each other: with
transformers' own initialisation these small models would give nearly the same logits for every token.
"""

import dataclasses
import json
import math
import pathlib
import random

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 997
transformers.utils.logging.disable_progress_bar()


@dataclasses.dataclass(frozen=True)
class Case:
    """One model: how transformers would be asked for it, and how it lies on disk."""

    architecture: str
    settings: dict
    storage: torch.dtype = torch.float32
    shard_size: str = "1GB"
    old_spelling: bool = False  # rope_theta, rope_scaling and torch_dtype, as files written before 2026 have it
    slow: bool = False


def shape(hidden=72, intermediate=173, layers=3, heads=6, kv_heads=2, **more):
    return {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": VOCABULARY,
            "max_position_embeddings": 256, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, **more}


def rope(theta=10000.0, **scaling):
    return {"rope_parameters": {"rope_theta": theta, "rope_type": "default", **scaling}}


LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=64)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)

CASES = {
    # Qwen2: biases on q, k and v, tied and untied, grouped heads 1, 2, 3 and 8.
    "qwen2-untied": Case("qwen2", shape(**rope(1e6))),
    "qwen2-tied-group1": Case("qwen2", shape(heads=4, kv_heads=4, tie_word_embeddings=True)),
    "qwen2-group8": Case("qwen2", shape(hidden=80, heads=8, kv_heads=1), shard_size="40KB"),
    "qwen2-yarn": Case("qwen2", shape(**rope(1e4, **YARN))),
    "qwen2-yarn-attention-factor": Case("qwen2", shape(**rope(1e4, **YARN, attention_factor=0.7, beta_fast=16, beta_slow=2))),
    "qwen2-window": Case("qwen2", shape(layers=4, use_sliding_window=True, sliding_window=16, max_window_layers=2)),
    "qwen2-bfloat16": Case("qwen2", shape(tie_word_embeddings=True), storage=torch.bfloat16),
    "qwen2-old-spelling": Case("qwen2", shape(**rope(5e5, **YARN)), storage=torch.float16, old_spelling=True),
    # Qwen3: head norms, head_dim of its own.
    "qwen3-wide-heads": Case("qwen3", shape(heads=3, kv_heads=1, head_dim=40, tie_word_embeddings=True)),
    "qwen3-narrow-heads": Case("qwen3", shape(hidden=90, heads=6, kv_heads=3, head_dim=10, attention_bias=True)),
    "qwen3-window": Case("qwen3", shape(head_dim=16, use_sliding_window=True, sliding_window=7, max_window_layers=1)),
    "qwen3-layer-types": Case("qwen3", shape(head_dim=16, layers=4, use_sliding_window=True, sliding_window=5, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention", "full_attention"])),
    "qwen3-dynamic": Case("qwen3", shape(head_dim=24, **{**rope(1e4, rope_type="dynamic", factor=2.0),
                                                        "max_position_embeddings": 64})),
    "qwen3-bfloat16": Case("qwen3", shape(head_dim=32, heads=6, kv_heads=2), storage=torch.bfloat16, shard_size="60KB"),
    "qwen3-float16": Case("qwen3", shape(head_dim=32, heads=6, kv_heads=2), storage=torch.float16),
    # Rows of whole blocks of 64, which the peers' four-bit kernels for processors want.
    "qwen3-blocks": Case("qwen3", shape(hidden=128, intermediate=192, heads=4, kv_heads=2, head_dim=32, tie_word_embeddings=True)),
    "qwen2-blocks": Case("qwen2", shape(hidden=64, intermediate=192, layers=2, heads=4, kv_heads=2)),
    # The published figures of the zen-nano card with fewer layers and words, and as they stand.
    "zen-nano": Case("qwen3", shape(hidden=2560, intermediate=9728, layers=1, heads=20, kv_heads=4, head_dim=128,
                                    max_position_embeddings=32768, tie_word_embeddings=True, **rope(5e6)),
                     storage=torch.bfloat16),
    "zen-nano-vocabulary": Case("qwen3", shape(hidden=2560, intermediate=9728, layers=2, heads=20, kv_heads=4, head_dim=128,
                                               max_position_embeddings=32768, tie_word_embeddings=True, **rope(5e6))
                                | {"vocab_size": 152064}, storage=torch.bfloat16, slow=True),
    # Llama and Mistral: no biases unless asked, head_dim optional.
    "llama": Case("llama", shape()),
    "llama-linear": Case("llama", shape(**rope(1e4, rope_type="linear", factor=3.0))),
    "llama-llama3": Case("llama", shape(hidden=96, heads=6, kv_heads=2, tie_word_embeddings=True, **rope(5e5, **LLAMA3_ROPE))),
    "llama-biases": Case("llama", shape(attention_bias=True, mlp_bias=True, head_dim=20)),
    "llama-old-spelling": Case("llama", shape(**rope(5e5, **LLAMA3_ROPE)), old_spelling=True, shard_size="50KB"),
    "llama-one-layer": Case("llama", shape(hidden=24, intermediate=31, layers=1, heads=2, kv_heads=1)),
    "mistral": Case("mistral", shape(sliding_window=None, head_dim=14)),
    # SmolLM3: layers without rotary embedding.
    "smollm3": Case("smollm3", shape(layers=5, no_rope_layer_interval=3)),
    "smollm3-untied-biases": Case("smollm3", shape(layers=4, no_rope_layers=[0, 1, 1, 0], tie_word_embeddings=False,
                                                   attention_bias=True, mlp_bias=True)),
    "smollm3-window": Case("smollm3", shape(layers=4, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=9),
                           storage=torch.bfloat16),
}


def write_model(case, folder, seed=1, **generation):
    """Writes the case's model, tokenizer and generation settings into the folder."""
    folder = pathlib.Path(folder)
    config = transformers.AutoConfig.for_model(case.architecture, **case.settings)
    config.dtype = case.storage
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model = model.to_empty(device="cpu")
    randomise(model)
    model.tie_weights()
    # Buffers came out empty as well; saving does not touch them, and reading makes them anew.
    model.generation_config = transformers.GenerationConfig(**generation)
    model.to(case.storage).save_pretrained(folder, max_shard_size=case.shard_size)
    if case.settings["vocab_size"] == VOCABULARY:
        write_tokenizer(folder)
    if case.old_spelling:
        respell(folder / "config.json")
    return folder


@torch.no_grad()
def randomise(model):
    for name, parameter in model.named_parameters():
        if name == "model.norm.weight":
            parameter.normal_(0.0, 1.0)  # of both signs, or a tied table would ask for the last token again
        elif "norm" in name:
            parameter.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.2)
        elif "embed_tokens" in name:
            parameter.normal_(0.0, 2.0 / math.sqrt(parameter.shape[-1]) if model.config.tie_word_embeddings else 0.5)
        else:
            gain = 0.6 if "o_proj" in name or "down_proj" in name else 1.0
            parameter.normal_(0.0, gain / math.sqrt(parameter.shape[-1]))


def respell(path):
    """The spelling of older files: rope_theta and rope_scaling apart, torch_dtype."""
    config = json.loads(path.read_text())
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    if scaling.get("rope_type", "default") != "default":
        config["rope_scaling"] = scaling
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2))


def write_tokenizer(folder):
    """A byte-level tokenizer of exactly VOCABULARY entries, learned from made-up words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([text(4000)], trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY, tokenizer.get_vocab_size()
    tokenizer.save(str(pathlib.Path(folder) / "tokenizer.json"))
    (pathlib.Path(folder) / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}))


def text(words, seed=7):
    """Words of a language nobody speaks, the same every time."""
    draw = random.Random(seed)
    syllables = [a + b + c for a in ("b", "d", "k", "l", "m", "n", "r", "s", "t", "v", "") for b in "aeiou"
                 for c in ("", "n", "s", "r")]
    vocabulary = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(1500)]
    pieces = []
    for word in draw.choices(vocabulary, k=words):
        pieces.append(word + draw.choice(["", "", "", "", ",", ".", "?", ".\n"]))
    return " ".join(pieces) + "\n"


def load_reference(folder, dtype):
    """What transformers makes of the folder, with the plainest attention it has."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def reference_logits(model, ids):
    """[len, vocab] in float32. Dynamic rotary scaling remembers the longest sequence: each one starts afresh."""
    rotary = model.model.rotary_emb
    model.model.rotary_emb = type(rotary)(model.config)
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def parameters(slow=True):
    """The cases as pytest parameters; large ones carry the mark slow."""
    import pytest

    return [pytest.param(name, marks=[pytest.mark.slow] if case.slow else [])
            for name, case in CASES.items() if slow or not case.slow]
