#!/usr/bin/env python3
"""Turns a distillation cache of shard_*.pt files into a folder that `trainer` reads as kd_cache.

    scripts/import_kd_cache.py FROM TO --tokenizer MODEL_FOLDER [--held-out SHARE] [--negatives] [--dtype float16]

FROM holds meta.json and shard_00000.pt, ...: dictionaries of input_ids [n, length], topk_idx and topk_logits
[n, length - 1, k], with --negatives also rand_idx and rand_logits. The files are read with weights_only=True, so
nothing in them is ever run. MODEL_FOLDER is the model whose tokenizer the ids are of.

Such a cache has no normaliser, so what the guesses leave over is not known: kd_loss can be candidates, a or b, not
exact. Its rows are token blocks; train on them with kd_cache alone, without dataset.
"""

import argparse
import hashlib
import json
import os
import pathlib
import struct
import sys

import torch

TRAINED = 1 << 31


def die(message):
    sys.exit(f"import_kd_cache: {message}")


def write_durably(path, pieces):
    """Temporary sibling, fsync, rename, fsync of the folder; returns (bytes, sha256)."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid():x}")
    digest, size = hashlib.sha256(), 0
    with open(temporary, "wb") as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return {"bytes": size, "sha256": digest.hexdigest()}


def safetensors_pieces(tensors):
    """Tensors by descending type, then by name, as the trainer lays them out."""
    types = {torch.int32: ("I32", 1), torch.float16: ("F16", 0), torch.float32: ("F32", 2)}
    ordered = sorted(tensors.items(), key=lambda item: (-types[item[1].dtype][1], item[0]))
    header, offset = {"__metadata__": {"format": "isogrid_kd_cache"}}, 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": types[tensor.dtype][0], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for _, tensor in ordered:
        yield tensor.contiguous().numpy().tobytes()


def documents_pieces(rows):
    """documents.rows: words, their ends, places, counts, a trailer of hashes."""
    words = b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)
    tokens = sum(map(len, rows))
    words += b"\0" * (-len(words) % 8)
    ends, total = [], 0
    for row in rows:
        total += len(row)
        ends.append(total)
    ends = struct.pack(f"<{len(ends)}Q", *ends)
    places = struct.pack(f"<{len(rows)}Q", *range(1, len(rows) + 1))
    counts = {key: 0 for key in ("truncated_examples", "truncated_tokens", "unlabelled", "bad_records",
                                 "calls_without_text")}
    counts |= {"records": len(rows), "examples": len(rows), "tokens": tokens, "label_tokens": tokens - len(rows),
               "records_of_file": [], "first_bad": [], "closing_id": 0}
    notes = json.dumps(counts).encode()
    key = hashlib.sha256(b"isogrid_kd_cache").digest()
    content = hashlib.sha256(words + ends).digest()
    trailer = struct.pack("<8sQQQQ", b"isorows\n", 1, tokens, len(rows), len(notes))
    trailer += key + content + hashlib.sha256(places + notes).digest()
    return [words, ends, places, notes, trailer]


def documents_hash(rows):
    digest = hashlib.sha256()
    for row in rows:
        words = struct.pack(f"<{len(row)}I", *row) + struct.pack("<i", -1)
        digest.update(hashlib.sha256(words).digest()[:16])
    return digest.hexdigest()


def tokenizer_hash(folder):
    for name in ("tokenizer.json", "tokenizer.model"):
        if (folder / name).exists():
            return hashlib.sha256((folder / name).read_bytes()).hexdigest()
    die(f"--tokenizer {folder}: holds neither tokenizer.json nor tokenizer.model")


def load(path, negatives):
    shard = torch.load(path, map_location="cpu", weights_only=True)
    wanted = ["input_ids", "topk_idx", "topk_logits"] + (["rand_idx", "rand_logits"] if negatives else [])
    if not isinstance(shard, dict):
        die(f"{path}: is no dictionary of tensors")
    for name in wanted:
        if not isinstance(shard.get(name), torch.Tensor):
            die(f"{path}: has no tensor {name}; it has {', '.join(map(str, shard))}")
    rows, length = shard["input_ids"].shape
    for name in wanted[1:]:
        if shard[name].dim() != 3 or shard[name].shape[:2] != (rows, length - 1):
            die(f"{path}: {name} is {list(shard[name].shape)}; allowed is [{rows}, {length - 1}, k]")
    return {name: shard[name] for name in wanted}


def converted(shard, dtype):
    """Logits less their own normaliser: a constant per token changes no loss that works on candidates alone."""
    flat = {name: tensor.reshape(-1, tensor.shape[-1]) for name, tensor in shard.items() if name != "input_ids"}
    best = flat["topk_logits"].float()
    parts = [best] + ([flat["rand_logits"].float()] if "rand_logits" in flat else [])
    normaliser = torch.logsumexp(torch.cat(parts, 1), 1, keepdim=True)
    if not normaliser.isfinite().all():
        die("a logit is not finite")
    best, order = (best - normaliser).sort(dim=1, descending=True, stable=True)
    tensors = {"top_ids": flat["topk_idx"].gather(1, order).int(), "top_log_probs": best.to(dtype)}
    if "rand_logits" in flat:
        tensors["negative_ids"] = flat["rand_idx"].int()
        tensors["negative_log_probs"] = (flat["rand_logits"].float() - normaliser).to(dtype)
    return tensors


def import_cache(source, target, tokenizer, held_out, negatives, dtype):
    paths = sorted(source.glob("*.pt"))
    if not paths:
        die(f"{source}: holds no .pt files")
    meta_path = source / "meta.json"
    old = json.loads(meta_path.read_text()) if meta_path.exists() else {}
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        die(f"{target}: is not empty; give a new folder")
    files, rows, shard_size, top_k, negative_count, largest = {}, [], None, 0, 0, 0
    pending, written = None, 0

    def flush(count):
        nonlocal pending, written
        labels = count * (len(rows[0]) - 1)
        name = f"shard-{written:05d}.safetensors"
        files[name] = write_durably(target / name, safetensors_pieces({k: v[:labels] for k, v in pending.items()}))
        pending = {k: v[labels:] for k, v in pending.items()}
        written += 1

    for path in paths:
        shard = load(path, negatives)
        ids = shard["input_ids"].to(torch.int64)
        if rows and len(rows[0]) != ids.shape[1]:
            die(f"{path}: rows of {ids.shape[1]} tokens, those before have {len(rows[0])}")
        rows += [[row[0]] + [token | TRAINED for token in row[1:]] for row in ids.tolist()]
        shard_size = shard_size or len(ids)
        tensors = converted(shard, dtype)
        top_k = tensors["top_ids"].shape[1]
        negative_count = tensors["negative_ids"].shape[1] if negatives else 0
        largest = max(largest, ids.max().item(), *(v.max().item() for k, v in tensors.items() if k.endswith("ids")))
        pending = {k: torch.cat([pending[k], v]) if pending else v for k, v in tensors.items()}
        while len(pending["top_ids"]) >= shard_size * (ids.shape[1] - 1):
            flush(shard_size)
        print(f"{path.name}: {len(ids)} rows", file=sys.stderr)
    if len(pending["top_ids"]):
        flush(len(pending["top_ids"]) // (len(rows[0]) - 1))

    files["documents.rows"] = write_durably(target / "documents.rows", documents_pieces(rows))
    teacher = str(old.get("teacher_model", "unknown"))
    tokens = sum(map(len, rows))
    meta = {"format": "isogrid_kd_cache", "format_version": 1, "teacher": teacher,
            "teacher_sha256": hashlib.sha256(teacher.encode()).hexdigest(),
            "tokenizer_sha256": tokenizer_hash(tokenizer), "documents_sha256": documents_hash(rows),
            "made_with": {key: str(old[key]) for key in sorted(old) if not isinstance(old[key], (dict, list))},
            "vocabulary": max(int(old.get("vocab_size", 0)), largest + 1), "top_k": top_k,
            "negatives": negative_count, "seed": 0, "temperatures": [],
            "log_prob_type": {torch.float16: "F16", torch.float32: "F32"}[dtype], "documents": len(rows),
            "held_out": round(held_out * len(rows)), "tokens": tokens, "label_tokens": tokens - len(rows),
            "documents_per_shard": shard_size}
    files["meta.json"] = write_durably(target / "meta.json", [(json.dumps(meta, indent=2) + "\n").encode()])
    manifest = json.dumps({"format_version": 1, "kind": "kd_cache", "files": dict(sorted(files.items()))}, indent=2)
    manifest = manifest[: manifest.rindex("\n}")] + ',\n  "manifest_sha256": "'
    manifest += hashlib.sha256(manifest.encode()).hexdigest() + '"\n}\n'
    write_durably(target / "MANIFEST.json", [manifest.encode()])
    print(f"{target}: {len(rows)} rows of {len(rows[0])} tokens, {top_k} guesses, {negative_count} negatives")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="FROM")
    parser.add_argument("target", type=pathlib.Path, metavar="TO")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, metavar="MODEL_FOLDER")
    parser.add_argument("--held-out", type=float, default=0.02, metavar="SHARE")
    parser.add_argument("--negatives", action="store_true", help="keep the random negatives")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    arguments = parser.parse_args()
    if not 0 <= arguments.held_out < 1:
        die("--held-out: a share from 0 to below 1")
    import_cache(arguments.source, arguments.target, arguments.tokenizer, arguments.held_out, arguments.negatives,
                 getattr(torch, arguments.dtype))


if __name__ == "__main__":
    main()
