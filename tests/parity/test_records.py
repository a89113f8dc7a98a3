"""What a run writes is read by the programs it is written for."""

import json
import os
import pathlib
import sqlite3
import struct
import subprocess
import sys

import pytest

STEPS = 12


class Records:
    """Writes the records of a made-up run with the program parity_records, which stands beside the trainer."""

    def __init__(self, folder):
        trainer = os.environ.get("ISOGRID_TRAINER",
                                 pathlib.Path(__file__).resolve().parents[2] / "build" / "bin" / "trainer")
        self.program = pathlib.Path(trainer).resolve().parent / "parity_records"
        self.folder = folder
        self.output = folder / "run"
        self.output.mkdir()

    def loss(self, step, attempt=0):
        return 3.1 / step + 0.01 * attempt

    def write(self, first=1, last=STEPS, attempt=0, evals=(), python=sys.executable, environment=None, **more):
        values = [{"step": step, "loss": self.loss(step, attempt), "grad_norm": 1 / 3, "lr": 2e-4 / step}
                  for step in range(first, last + 1)]
        plan = {"output_dir": str(self.output), "resume_step": first - 1, "steps": STEPS, "values": values,
                "evals": [{"step": step, "loss": 1.25} for step in evals], **more}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        env = {**os.environ, "ISOGRID_PYTHON": python, **(environment or {})}
        return subprocess.run([self.program, self.folder / "plan.json"], capture_output=True, text=True, env=env,
                              cwd=self.folder)

    def rows(self):
        return [json.loads(line) for line in (self.output / "trainer_log.jsonl").read_text().splitlines()]


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path)


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_sees_the_scalars_that_were_logged(records):
    done = records.write(evals=[6, 12])
    assert done.returncode == 0, done.stderr
    found = scalars(records.output / "runs")
    train = [row for row in records.rows() if "loss" in row]
    assert found["train/loss"] == [(row["current_steps"], float32(row["loss"])) for row in train]
    assert found["train/learning_rate"] == [(row["current_steps"], float32(row["lr"])) for row in train]
    assert found["train/grad_norm"] == [(step, float32(1 / 3)) for step in range(1, STEPS + 1)]
    assert found["eval/loss"] == [(6, 1.25), (12, 1.25)]
    for row in train:
        assert struct.unpack(">f", bytes.fromhex(row["loss_bits"]))[0] == float32(row["loss"])


def test_tensorboard_forgets_the_steps_that_are_computed_again(records):
    assert records.write(last=9).returncode == 0
    # The machine died while a record was being written.
    file = next((records.output / "runs").iterdir())
    file.write_bytes(file.read_bytes()[:-7])
    done = records.write(first=5, attempt=1)
    assert done.returncode == 0, done.stderr
    assert "step 5 was computed before, in attempt 1" in done.stderr
    expected = [(step, float32(records.loss(step, 1 if step >= 5 else 0))) for step in range(1, STEPS + 1)]
    assert scalars(records.output / "runs")["train/loss"] == expected
    events = [json.loads(line) for line in (records.output / "events.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "repeated_step_differs"] == [5, 6, 7, 8, 9]


def test_the_state_is_one_that_transformers_loads(records):
    assert records.write(evals=[12]).returncode == 0
    from transformers import TrainerState
    state = TrainerState.load_from_json(records.output / "trainer_state.json")
    assert state.global_step == STEPS
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    assert losses == [records.loss(step) for step in range(1, STEPS + 1)]
    assert [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry] == [1.25]


def test_the_picture_is_one_that_others_open(records):
    assert records.write(evals=[6, 12]).returncode == 0
    image = pytest.importorskip("PIL.Image").open(records.output / "training_loss.png")
    image.load()  # checks every checksum
    assert image.size == (1800, 1040)
    colours = {colour for _, colour in image.getcolors(1 << 20)}
    assert {(255, 255, 255), (11, 107, 184), (217, 96, 10)} <= colours


def test_the_pages_are_well_formed(records):
    import html.parser
    import xml.etree.ElementTree
    assert records.write(evals=[6]).returncode == 0
    xml.etree.ElementTree.parse(records.output / "training_loss.svg")

    class Tags(html.parser.HTMLParser):
        open_tags = []

        def handle_starttag(self, tag, attributes):
            if tag != "meta":
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

        def handle_startendtag(self, tag, attributes):
            pass

    page = Tags()
    page.feed((records.output / "report.html").read_text())
    assert page.open_tags == []


def test_wandb_gets_the_run_offline(records):
    pytest.importorskip("wandb")
    done = records.write(evals=[12], report_to=["wandb"], project="parity", run_name="first", config={"seed": 1},
                         environment={"WANDB_MODE": "offline"})
    assert done.returncode == 0, done.stderr
    assert "reports to wandb" in done.stderr and "warning" not in done.stderr
    [file] = (records.output / "logs" / "wandb").glob("offline-run-*/run-run1.wandb")
    found = wandb_history(file)
    assert [entry["train/global_step"] for entry in found if "train/loss" in entry] == list(range(1, STEPS + 1))
    assert [entry["train/loss"] for entry in found if "train/loss" in entry] == \
        [records.loss(step) for step in range(1, STEPS + 1)]
    assert [entry["eval/loss"] for entry in found if "eval/loss" in entry] == [1.25]


def wandb_records(path):
    """The messages of a .wandb file: LevelDB's log, in blocks of 32 KiB, after a header of seven bytes."""
    data, block, message = path.read_bytes(), 32768, b""
    assert data[:4] == b":W&B"
    place = 7
    while place + 7 <= len(data):
        if block - place % block < 7:  # padding
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        message += data[place + 7:place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield message
            message = b""


def wandb_history(path):
    from wandb.proto import wandb_internal_pb2
    history = []
    for message in wandb_records(path):
        record = wandb_internal_pb2.Record.FromString(message)
        if record.WhichOneof("record_type") == "history":
            history.append({item.key or ".".join(item.nested_key): json.loads(item.value_json)
                            for item in record.history.item})
    return history


def test_trackio_gets_the_run_locally(records):
    pytest.importorskip("trackio")
    folder = records.folder / "trackio"
    done = records.write(report_to=["trackio"], project="parity", run_name="first", config={"seed": 1},
                         environment={"TRACKIO_DIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert "reports to trackio" in done.stderr and "warning" not in done.stderr
    with sqlite3.connect(folder / "parity.db") as database:
        rows = database.execute("select step, metrics from metrics where run_name = 'first' order by step").fetchall()
    assert [(step, json.loads(metrics)["train/loss"]) for step, metrics in rows] == \
        [(step, records.loss(step)) for step in range(1, STEPS + 1)]


def test_mlflow_goes_on_with_a_resumed_run(records):
    pytest.importorskip("mlflow")
    store = {"MLFLOW_TRACKING_URI": "file:" + str(records.folder / "mlruns"), "MLFLOW_ALLOW_FILE_STORE": "true"}
    for first, last in ((1, 6), (7, STEPS)):
        done = records.write(first=first, last=last, report_to=["mlflow"], project="parity", run_name="first",
                             config={"seed": 1}, environment=store)
        assert done.returncode == 0, done.stderr
    [file] = (records.folder / "mlruns").glob("*/*/metrics/train/loss")
    found = [line.split() for line in file.read_text().splitlines()]
    assert [(int(step), float(value)) for _, value, step in found] == \
        [(step, records.loss(step)) for step in range(1, STEPS + 1)]


def test_a_missing_package_is_told_before_training(records, tmp_path):
    (tmp_path / "empty").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    done = records.write(report_to=["wandb", "trackio"], python=str(tmp_path / "empty/bin/python"))
    assert done.returncode == 78
    assert "the Python package wandb trackio is not installed" in done.stderr
    assert records.rows() == []
    assert records.write(report_to=["all"], python=str(tmp_path / "empty/bin/python")).returncode == 0


def test_no_credential_is_written(records):
    planted = "planted0credential0that0must0not0appear"
    done = records.write(report_to=["trackio"], project="parity", config={"hub_token": planted, "seed": 1},
                         environment={"HF_TOKEN": planted, "WANDB_API_KEY": planted, "NCCL_DEBUG": planted,
                                      "TRACKIO_DIR": str(records.output / "trackio"), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    for path in records.output.rglob("*"):
        if path.is_file():
            assert planted.encode() not in path.read_bytes(), path
