"""The set-up of LibTorch takes what it needs from verified wheels, and survives an interruption."""

import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import tempfile
import unittest
import zipfile
from unittest import mock

PATH = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "fetch_libtorch.py"
spec = importlib.util.spec_from_file_location("fetch_libtorch", PATH)
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)

FILES = {"torch/include/a.h": b"#pragma once\n", "torch/lib/libtorch_cpu.so": b"cpu" * 1000,
         "torch/lib/libtorch_cuda.so": b"cuda" * 1000, "torch/nn.py": b"import this\n"}


class FetchLibtorch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name)
        (self.home / "wheels").mkdir()
        self.prefix = self.home / f"libtorch-{fetch.VERSION}"

    def wheel(self, files=None, sha256=None):
        path = self.home / "wheels" / f"torch-{fetch.VERSION}-cp311-cp311-some.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (files or FILES).items():
                archive.writestr(name, content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return fetch.Wheel("torch", fetch.VERSION, sha256 or digest,
                           {"cpu": ["torch/include/*", "torch/lib/libtorch_cpu.so"], "cuda": ["torch/lib/*cuda*"]})

    def run_with(self, wheel, *arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if name != "ISOGRID_LIBTORCH"}
        with mock.patch.object(fetch, "WHEELS", [wheel]), mock.patch("sys.argv", ["fetch_libtorch.py", *arguments]), \
                mock.patch.dict("os.environ", {**clean, "ISOGRID_HOME": str(self.home), **environment}, clear=True), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            return fetch.main(), said.getvalue()

    def present(self):
        return sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if path.is_file())

    def test_it_unpacks_what_the_variant_needs_and_marks_it_last(self):
        self.assertEqual(self.run_with(self.wheel())[0], 0)
        self.assertEqual(self.present(), ["isogrid-setup", "torch/include/a.h", "torch/lib/libtorch_cpu.so"])

    def test_a_cpu_set_up_grows_into_a_cuda_one(self):
        wheel = self.wheel()
        self.run_with(wheel)
        before = (self.prefix / "torch/lib/libtorch_cpu.so").stat().st_mtime_ns
        self.assertEqual(self.run_with(wheel, "--variant", "cuda")[0], 0)
        self.assertIn("torch/lib/libtorch_cuda.so", self.present())
        self.assertEqual((self.prefix / "torch/lib/libtorch_cpu.so").stat().st_mtime_ns, before)
        self.assertEqual((self.prefix / "isogrid-setup").read_text(), "cpu cuda\n")

    def test_check_changes_nothing(self):
        status, said = self.run_with(self.wheel(), "--check")
        self.assertEqual(status, 1)
        self.assertIn("missing", said)
        self.assertFalse(self.prefix.exists())

    def test_what_an_interruption_left_is_mended(self):
        wheel = self.wheel()
        self.run_with(wheel)
        (self.prefix / "isogrid-setup").unlink()
        (self.prefix / "torch/lib/libtorch_cpu.so").write_bytes(b"cpv" * 1000)  # right size, wrong bytes
        (self.prefix / "torch/include/a.h").unlink()
        self.run_with(wheel)
        self.assertEqual((self.prefix / "torch/lib/libtorch_cpu.so").read_bytes(), FILES["torch/lib/libtorch_cpu.so"])
        self.assertEqual(len(self.present()), 3)

    def test_a_wheel_with_other_bytes_is_refused_by_its_name(self):
        with self.assertRaises(SystemExit) as refused:
            self.run_with(self.wheel(sha256="0" * 64))
        self.assertIn("SHA-256", str(refused.exception))
        self.assertFalse(self.prefix.exists())

    def test_a_member_does_not_leave_the_prefix(self):
        files = {**FILES, "torch/include/../../../escaped.h": b"x"}
        with self.assertRaises(SystemExit):
            self.run_with(self.wheel(files))
        self.assertFalse((self.home / "escaped.h").exists())

    def test_an_installed_libtorch_is_taken_when_it_is_whole_and_of_the_version(self):
        torch = self.home / "torch"
        for name in ("lib/libtorch_cpu.so", "lib/libc10.so"):
            (torch / name).parent.mkdir(parents=True, exist_ok=True)
            (torch / name).touch()
        status, said = self.run_with(self.wheel(), ISOGRID_LIBTORCH=str(torch))
        self.assertEqual((status, "version.h" in said), (1, True), said)
        header = torch / "include/torch/headeronly/version.h"
        header.parent.mkdir(parents=True)
        for patch, expected in ((0, 0), (1, 1)):
            header.write_text("#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n"
                              f"#define TORCH_VERSION_PATCH {patch}\n")
            self.assertEqual(self.run_with(self.wheel(), ISOGRID_LIBTORCH=str(torch))[0], expected)


if __name__ == "__main__":
    unittest.main()
