"""Shared by the comparisons: the program under test, the models it is tested on."""

import json
import os
import pathlib
import subprocess
import sys

# Tiny models gain nothing from threads that wait busily, and lose tenfold on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import models  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes or gigabytes; only with --full")
    torch.set_num_threads(min(4, os.cpu_count() or 1))


class Trainer:
    """Runs the program; a failure shows what it said."""

    def __init__(self, path):
        self.path = path

    def run(self, *arguments, text=None, succeed=True, **environment):
        done = subprocess.run([self.path, *map(str, arguments)], input=text, capture_output=True, text=True,
                              env={**os.environ, **environment})
        if succeed and done.returncode != 0:
            pytest.fail(f"trainer {' '.join(map(str, arguments))}\nexit code {done.returncode}\n{done.stderr}")
        return done

    def json(self, *arguments, **more):
        return json.loads(self.run(*arguments, "--json", **more).stdout)


@pytest.fixture(scope="session")
def trainer():
    path = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
    assert os.access(path, os.X_OK), f"{path} is not there: scripts/parity builds it, ISOGRID_TRAINER names another"
    return Trainer(path)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """model_folder(name): the folder of one of models.CASES, written at its first use."""
    root = tmp_path_factory.mktemp("models")

    def folder(name):
        path = root / name
        if not path.exists():
            path.mkdir()
            models.write_model(models.CASES[name], path)
        return path

    return folder


@pytest.fixture(scope="session")
def shared():
    """Reference material beside the repository, where there is any."""
    for path in (os.environ.get("ISOGRID_SHARED"), ROOT.parent / "shared"):
        if path and pathlib.Path(path).is_dir():
            return pathlib.Path(path)
    pytest.skip("no folder of reference material (ISOGRID_SHARED)")
