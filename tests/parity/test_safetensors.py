"""Our safetensors files and the package's are one format: each side reads the other's, and both write the same bytes."""

import json
import struct

import pytest
import safetensors
import safetensors.torch
import torch

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16, "F16": torch.float16,
    "BF16": torch.bfloat16, "I32": torch.int32, "U32": torch.uint32, "F32": torch.float32, "C64": torch.complex64,
    "F64": torch.float64, "I64": torch.int64, "U64": torch.uint64, "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "F8_E8M0": torch.float8_e8m0fnu,
}
SHAPES = [(), (1,), (0,), (3, 5), (2, 0, 4), (7, 1, 3)]


def tensors_of_every_kind():
    torch.manual_seed(5)
    made = {}
    for name, dtype in DTYPES.items():
        for shape in SHAPES:
            bytes_each = torch.empty((), dtype=dtype).element_size()
            count = torch.Size(shape).numel()
            raw = torch.randint(0, 2 if dtype == torch.bool else 256, (count * bytes_each,), dtype=torch.uint8)
            key = f"layer.{name.lower()}.{'x'.join(map(str, shape)) or 'scalar'}.\N{GREEK SMALL LETTER ALPHA}\"\\"
            made[key] = raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    return made


def listed(trainer, path):
    shown = trainer.json("inspect", path)
    return {row["name"]: row for row in shown.pop("tensors")}, shown


def test_reads_what_the_package_writes(trainer, tmp_path):
    tensors = tensors_of_every_kind()
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", "made by": "h\u00e9 \"quoted\""})
    rows, rest = listed(trainer, path)
    assert rest == {"format": "safetensors", "metadata": {"format": "pt", "made by": "h\u00e9 \"quoted\""}}
    names = {dtype: name for name, dtype in DTYPES.items()}
    assert rows == {name: {"name": name, "dtype": names[tensor.dtype], "shape": list(tensor.shape), "bytes": tensor.nbytes}
                    for name, tensor in tensors.items()}


def test_writes_the_same_bytes_as_the_package(trainer, tmp_path):
    """convert is not needed: logits writes a file whose tensors the package writes again."""
    import models
    folder = tmp_path / "model"
    folder.mkdir()
    models.write_model(next(iter(models.CASES.values())), folder)
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps([[1, 2, 3], [4], [5, 6, 7, 8, 9]]))
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    trainer.run("logits", "--model_name_or_path", folder, "--token_ids", ids, "--output", ours)
    read = safetensors.torch.load_file(ours)
    assert sorted(read) == ["logits.0", "logits.1", "logits.2"]
    safetensors.torch.save_file(read, theirs, metadata={"format": "pt"})
    assert ours.read_bytes() == theirs.read_bytes()


def test_shards_written_by_transformers_are_one_model(trainer, tmp_path):
    import models
    whole, shards = tmp_path / "whole", tmp_path / "shards"
    whole.mkdir()
    models.write_model(next(iter(models.CASES.values())), whole)
    from transformers import AutoModelForCausalLM
    AutoModelForCausalLM.from_pretrained(whole, dtype="auto").save_pretrained(shards, max_shard_size="20KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 1
    one, many = listed(trainer, whole)[0], listed(trainer, shards)[0]
    assert one == many
    assert trainer.json("verify", shards)["ok"]


def refused_by_package(data):
    try:
        safetensors.deserialize(data)
        return False
    except Exception:
        return True


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


DAMAGED = {
    "hole": file_of({"x": entry(offsets=(4, 8))}, bytes(8)),
    "overlap": file_of({"x": entry(), "y": entry(offsets=(2, 6))}, bytes(6)),
    "left over": file_of({"x": entry()}, bytes(5)),
    "cut off": file_of({"x": entry()}, bytes(3)),
    "wrong size": file_of({"x": entry(shape=(2,))}, bytes(4)),
    "half a byte": file_of({"x": entry("F4", (1,), (0, 1))}, bytes(1)),
    "unknown dtype": file_of({"x": entry("F128")}, bytes(4)),
    "wrapping": file_of({"x": entry(shape=(1 << 32, 1 << 32), offsets=(0, 0))}),
    "metadata of numbers": file_of({"__metadata__": {"a": 1}}),
    "long header": struct.pack("<Q", 1 << 40) + b"{}",
    "no JSON": file_of(b"{'x': 1}"),
    "no object": file_of(b"[]"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_refuses_what_the_package_refuses(trainer, tmp_path, name):
    path = tmp_path / "a.safetensors"
    path.write_bytes(DAMAGED[name])
    assert refused_by_package(DAMAGED[name])
    for command in ("inspect", "verify"):
        done = trainer.run(command, path, succeed=False)
        assert done.returncode == 65
        assert "a.safetensors" in done.stderr
