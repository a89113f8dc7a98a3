"""Quantising for GGUF, beside llama.cpp's own quantisers on the same cores: how much faster is ours?

    scripts/bench gguf [--threads N] [--rows N] [TYPE...]

Both get rows of normal numbers in memory and give blocks in memory, so that disks play no part.
"""

import argparse
import ctypes
import os
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/parity"))
import llama_engine  # noqa: E402

IDS = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14,
       "IQ4_NL": 20, "IQ4_XS": 23}


def engine_seconds(type_id, values, threads):
    """Rows shared out as llama-quantize shares them out; the best of five."""
    library = llama_engine.library
    rows, columns = values.shape
    row_bytes = library.ggml_row_size(type_id, columns)
    blocks = np.empty(rows * row_bytes, dtype=np.uint8)
    library.ggml_quantize_init(type_id)

    def share(first, last):
        library.ggml_quantize_chunk(type_id, values.ctypes.data, blocks.ctypes.data, ctypes.c_int64(first * columns),
                                    last - first, columns, None)

    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        workers = [threading.Thread(target=share, args=(rows * t // threads, rows * (t + 1) // threads)) for t in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = min(best, time.perf_counter() - start)
    return best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("types", nargs="*", default=["Q4_0", "Q8_0", "Q4_K", "Q6_K"])
    wanted = parser.parse_args()
    program = pathlib.Path(os.environ["ISOGRID_TRAINER"]).parent / "parity_grids"
    values = np.random.default_rng(1).normal(0, 0.03, (wanted.rows, wanted.columns)).astype(np.float32)
    print(f"{values.size / 1e6:.1f} million weights, {wanted.threads} threads: million weights a second")
    for name in wanted.types:
        theirs = engine_seconds(IDS[name], values, wanted.threads)
        ours = float(subprocess.run([program, "time", name, str(wanted.columns), str(wanted.rows), str(wanted.threads)],
                                    capture_output=True, text=True, check=True).stdout)
        print(f"  {name:7} ours {values.size / ours / 1e6:8.1f}   llama.cpp {values.size / theirs / 1e6:8.1f}   "
              f"ratio {theirs / ours:5.2f}")


if __name__ == "__main__":
    main()
