"""Writes tests/golden/: tiny models of every architecture with what transformers computes on them.

    ISOGRID_HOME/parity/bin/python tests/parity/make_golden.py

The files are in the repository, so that the C++ tests need no Python: config.json, model.safetensors and
expected.safetensors with token ids, float32 logits and the gradient of the mean next-token loss.
"""

import json
import pathlib
import shutil

import models
import safetensors.torch
import torch

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"


def tiny(**more):
    return models.shape(hidden=12, intermediate=20, layers=2, heads=4, kv_heads=2,
                        **{"head_dim": 6, **more}) | {"vocab_size": 29, "max_position_embeddings": 128}


CASES = {
    "qwen2": models.Case("qwen2", tiny(use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "qwen3": models.Case("qwen3", tiny(tie_word_embeddings=True, **models.rope(1e4, **models.YARN))),
    "llama": models.Case("llama", tiny(attention_bias=True, mlp_bias=True,
                                       **models.rope(5e5, **models.LLAMA3_ROPE)), old_spelling=True),
    "mistral": models.Case("mistral", tiny(sliding_window=None, **models.rope(1e4, rope_type="linear", factor=2.0))),
    "smollm3": models.Case("smollm3", tiny(no_rope_layers=[0, 1])),
}


def write(name, case):
    folder = GOLDEN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models.write_model(case, folder)
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    model = models.load_reference(folder, torch.float32)
    ids = torch.randint(29, (1, 23), generator=torch.Generator().manual_seed(4))
    logits = model(ids).logits[0]
    torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).backward()
    expected = {"ids": ids[0], "logits": logits.detach().contiguous()}
    expected |= {f"gradient.{key}": value.grad.contiguous() for key, value in model.named_parameters()}
    safetensors.torch.save_file(expected, folder / "expected.safetensors")
    json.loads((folder / "config.json").read_text())


if __name__ == "__main__":
    for name, case in CASES.items():
        write(name, case)
        print(name, sum(path.stat().st_size for path in (GOLDEN / name).iterdir()), "bytes")
