"""Talks to the program parity_driver, which stands beside the trainer."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("ISOGRID_SHARED", ROOT.parent / "shared"))


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Driver:
    def __init__(self):
        trainer = os.environ.get("ISOGRID_TRAINER", ROOT / "build" / "bin" / "trainer")
        program = pathlib.Path(trainer).resolve().parent / "parity_driver"
        self.process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, op, **request):
        line = json.dumps({"op": op, **request}, ensure_ascii=False)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise Refused(reply["code"], reply["error"])
        return reply["answer"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
