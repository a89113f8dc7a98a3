"""scripts/pack and scripts/unpack carry a run unchanged, and refuse what is damaged or hostile."""

import gzip
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import run_archive  # noqa: E402

ENDINGS = [".tar.gz"] + ([".tar.zst"] if shutil.which("zstd") else [])


def run(script, *words, cwd):
    return subprocess.run([SCRIPTS / script, *map(str, words)], cwd=cwd, capture_output=True, text=True)


class Archive(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def make_run(self):
        self.write("run/trainer_log.jsonl", b'{"loss": 1}\n')
        self.write("run/checkpoint-3/model.safetensors", bytes(range(256)) * 5000)
        self.write("run/empty", b"")
        self.write("run/n\u00e4me with blanks", b"x")
        self.write("run/LOCK", b"pid")
        self.write("run/.tmp-checkpoint-4-0123456789abcdef/half", b"half")

    def content(self, folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_a_run_comes_back_as_it_was(self):
        self.make_run()
        expected = {name: data for name, data in self.content(self.root / "run").items()
                    if name != "LOCK" and not name.startswith(".tmp-")}
        for ending in ENDINGS:
            with self.subTest(ending=ending):
                done = run("pack", "run/", "out" + ending, cwd=self.root)
                self.assertEqual(done.returncode, 0, done.stderr)
                done = run("unpack", "out" + ending, "there" + ending, cwd=self.root)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.content(self.root / ("there" + ending) / "run"), expected)
        self.assertEqual([path.name for path in self.root.glob(".*pack*")], [])

    def test_nothing_is_overwritten(self):
        self.make_run()
        self.assertEqual(run("pack", "run", "a.tar.gz", cwd=self.root).returncode, 0)
        self.assertEqual(run("pack", "run", "a.tar.gz", cwd=self.root).returncode, 73)
        done = run("unpack", "a.tar.gz", cwd=self.root)
        self.assertEqual(done.returncode, 73)
        self.assertIn("is there already", done.stderr)

    def unpacked(self, archive):
        """The exit code, without the start of a process; nothing may be left behind by a refusal."""
        there = self.root / "there"
        shutil.rmtree(there, ignore_errors=True)
        try:
            run_archive.unpack(str(archive), str(there))
        except run_archive.Refused as error:
            self.assertEqual(list(there.iterdir()), [])
            return error.code
        return 0

    def test_damage_is_found(self):
        self.make_run()
        for ending in ENDINGS:
            run("pack", "run", "a" + ending, cwd=self.root)
            self.assertEqual(self.unpacked(self.root / ("a" + ending)), 0)
            expected = self.content(self.root / "there")
            whole = (self.root / ("a" + ending)).read_bytes()
            for place in list(range(0, len(whole), max(1, len(whole) // 40))) + [len(whole) - 1]:
                damaged = bytearray(whole)
                damaged[place] ^= 0x10
                code = self.unpacked(self.write("b" + ending, bytes(damaged)))
                # A few bits of both formats mean nothing; then what comes out is whole all the same.
                self.assertIn(code, (0, 65, 74), f"{ending} byte {place}")
                if code == 0:
                    self.assertEqual(self.content(self.root / "there"), expected)
            for length in (0, 20, len(whole) // 2, len(whole) - 5):
                self.assertIn(self.unpacked(self.write("b" + ending, whole[:length])), (65, 74))

    def test_a_changed_file_is_found_under_a_right_checksum(self):
        self.make_run()
        run("pack", "run", "a.tar.gz", cwd=self.root)
        packed = gzip.decompress((self.root / "a.tar.gz").read_bytes())
        place = packed.index(b'{"loss": 1}')
        changed = packed[:place + 9] + b"2" + packed[place + 10:]
        self.assertEqual(self.unpacked(self.write("b.tar.gz", gzip.compress(changed))), 65)

    def hostile(self, *members, manifest=None):
        """An archive of these (TarInfo, bytes) with a manifest that agrees."""
        import hashlib
        files = {info.name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                 for info, data in members}
        text = json.dumps(manifest or {"format": "isogrid-archive", "format_version": 1, "files": files}).encode()
        with tarfile.open(self.root / "hostile.tar.gz", "w:gz") as tar:
            for info, data in members:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            info = tarfile.TarInfo("ARCHIVE_MANIFEST.json")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        return self.unpacked(self.root / "hostile.tar.gz")

    def test_names_that_lead_elsewhere_are_refused(self):
        for name in ("../out", "/etc/out", "a/../../out", "a//b", "./a", "a\\b", "C:a", "~/a", "a\nb", "a/" + "x" * 300):
            with self.subTest(name=name):
                self.assertEqual(self.hostile((tarfile.TarInfo(name), b"x")), 65)

    def test_links_and_devices_are_refused(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("run/a")
            info.type, info.linkname = kind, "/etc/passwd"
            self.assertEqual(self.hostile((info, b"")), 65)

    def test_manifests_that_lie_are_refused(self):
        member = (tarfile.TarInfo("run/a"), b"x")
        for manifest in ([1], {"format": "other"}, {"format": "isogrid-archive", "format_version": 2, "files": {}},
                         {"format": "isogrid-archive", "format_version": 1, "files": {}},
                         {"format": "isogrid-archive", "format_version": 1, "files": {"run/a": 1, "run/b": 2}}):
            self.assertEqual(self.hostile(member, manifest=manifest), 65)
        self.assertEqual(self.hostile((tarfile.TarInfo("run/a"), b"x"), (tarfile.TarInfo("run/a"), b"y")), 65)

    def test_links_in_a_run_are_not_packed(self):
        self.make_run()
        (self.root / "run/link").symlink_to("/etc")
        done = run("pack", "run", "a.tar.gz", cwd=self.root)
        self.assertEqual(done.returncode, 65)
        self.assertFalse((self.root / "a.tar.gz").exists())

    def test_usage_is_explained(self):
        self.assertEqual(run("pack", cwd=self.root).returncode, 64)
        self.assertEqual(run("unpack", "--help", cwd=self.root).returncode, 0)
        self.assertEqual(run("pack", "nowhere", "a.tar.gz", cwd=self.root).returncode, 66)
        self.make_run()
        self.assertEqual(run("pack", "run", "a.zip", cwd=self.root).returncode, 64)


if __name__ == "__main__":
    unittest.main()
