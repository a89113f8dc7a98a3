"""A run that is killed, stopped, starved of disk or damaged ends with the bits of the run that never was."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from conftest import ROOT
from run_job import STEPS, Job, write_data

STOPPED_EARLY, LOCKED, IO, CONFIGURATION = 75, 73, 74, 78

# Everything that draws numbers or keeps a state between steps.
LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_dropout": 0.1, "neftune_noise_alpha": 5, "packing": True,
        "ema_decay": 0.9}
VARIANTS = {
    "lora": LORA,
    "lora-8bit": {**LORA, "optim": "adamw_8bit", "packing": False},
    "full-bf16": {"finetuning_type": "full", "bf16": True, "compute_dtype": "bfloat16"},
    # Rounding that begins within the run; codes that a search renews now and then; scales that are learned.
    "qat": {"finetuning_type": "full", "qat_target": "gguf:iq4_nl", "qat_start_step": 5, "qat_refresh_steps": 4,
            "qat_freeze_share": 0.3, "bf16": True, "compute_dtype": "bfloat16"},
    "qat-lora": {"finetuning_type": "lora", "lora_rank": 4, "qat_target": "universal_int4", "qat_scale_mode": "learned",
                 "qat_start_step": 5, "ema_decay": 0.9},
    # Held to where it began, which a run that goes on has to find again.
    "qat-lora-anchor": {"finetuning_type": "lora", "lora_rank": 4, "lora_dropout": 0.1, "qat_target": "universal_int4",
                        "qat_lora": "base", "kd_anchor": "start", "kd_anchor_weight": 0.5, "kd_anchor_samples": 3,
                        "kd_anchor_interval": 2},
    # Layers that are made at the start and must not be made again; magnitudes that settle within the run.
    "lut": {"finetuning_type": "full", "lut_mlp_bits": 2, "lut_mlp_rank": 6, "lut_attention_bits": 4,
            "lut_attention_rank": 4, "lut_train": ["scales", "table"], "lut_auto_snap": True,
            "lut_auto_snap_start_step": 4, "lut_auto_snap_steps": 5, "lut_auto_snap_threshold": 1.0,
            "ema_decay": 0.9, "bf16": True, "compute_dtype": "bfloat16"},
    # Weights that train behind their codes, which are renewed from them now and then.
    "lut-recoded": {"finetuning_type": "full", "lut_mlp_bits": 4, "lut_mlp_rank": 4,
                    "lut_train": ["scales", "weights", "norms"], "lut_recode_steps": 5},
    "lut-v1": {"finetuning_type": "full", "lut_preset": "q4a4", "lut_parameters": "v1",
               "lut_train": ["scales", "weights"]},
    "freeze-lion": {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "optim": "lion"},
}
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def world(trainer, tmp_path_factory):
    """A model of random weights with the bundled tokenizer, and some rows to train it on."""
    root = tmp_path_factory.mktemp("resume")
    shutil.copytree(ROOT / "data/tiny", root / "shape", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((root / "shape/config.json").read_text())
    config.update(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=16)
    (root / "shape/config.json").write_text(json.dumps(config))
    trainer.run("init-model", root / "shape", root / "model")
    write_data(root / "rows.json")
    return root


@pytest.fixture(scope="module")
def undisturbed(trainer, world):
    """undisturbed(variant): the run that nobody interrupts, made once."""
    made = {}

    def job(variant):
        if variant not in made:
            made[variant] = Job(trainer, world, world / f"undisturbed-{variant}", **VARIANTS[variant]).finish()
            steps, evaluations = made[variant].rows()
            assert len(steps) == STEPS and evaluations
        return made[variant]

    return job


def assert_same(job, reference):
    steps, evaluations = job.rows()
    expected, expected_evaluations = reference.rows()
    differing = [step for step in expected if steps.get(step) != expected[step]]
    assert not differing, f"step {differing[0]}: {steps.get(differing[0])}, undisturbed {expected[differing[0]]}"
    assert evaluations == expected_evaluations
    assert job.weights() == reference.weights()


def disturb(job, number, draw):
    """Starts, waits for a random moment, sends the signal; the exit code, or 0 where the run was faster."""
    process = job.start()
    if draw.random() < 0.3:
        time.sleep(draw.uniform(0.0, 1.2))  # also while it starts
    else:
        job.wait_for_rows(process, draw.randint(1, 5))
        time.sleep(draw.uniform(0.0, 0.05))
    process.send_signal(number)
    return process.wait()


def run_disturbed(job, number, seed, most):
    """At most so many interruptions, then to the end; hands back the exit codes."""
    draw, codes = random.Random(seed), []
    while len(codes) < most and 0 not in codes:
        codes.append(disturb(job, number, draw))
        if (job.output / "run.json").exists():
            assert_promises_kept(job)
    job.finish()
    return codes


def assert_promises_kept(job):
    """What is visible between two attempts is whole."""
    for step in job.checkpoints():
        manifest = json.loads((job.output / f"checkpoint-{step}/MANIFEST.json").read_text())
        for name, file in manifest["files"].items():
            content = (job.output / f"checkpoint-{step}" / name).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])


@pytest.mark.parametrize("variant", ["lora"] + [pytest.param(name, marks=SLOW) for name in VARIANTS if name != "lora"])
def test_killed_again_and_again(trainer, world, undisturbed, tmp_path, variant):
    job = Job(trainer, world, tmp_path / "run", **VARIANTS[variant])
    codes = run_disturbed(job, signal.SIGKILL, seed=variant, most=8)
    assert codes.count(-signal.SIGKILL) >= 4, codes
    assert_same(job, undisturbed(variant))
    assert len(job.verify()) >= 3


@SLOW
def test_killed_a_hundred_times(trainer, world, undisturbed, tmp_path):
    kills = 0
    for attempt in range(30):
        job = Job(trainer, world, tmp_path / f"run-{attempt}", **VARIANTS["lora"])
        kills += run_disturbed(job, signal.SIGKILL, seed=attempt, most=12).count(-signal.SIGKILL)
        assert_same(job, undisturbed("lora"))
        if kills >= 100:
            return
    pytest.fail(f"only {kills} kills fell into a run")


def test_asked_to_stop(trainer, world, undisturbed, tmp_path):
    job = Job(trainer, world, tmp_path / "run", **{**VARIANTS["lora"], "save_steps": 1000})
    draw = random.Random(11)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process = job.start()
        job.wait_for_rows(process, draw.randint(2, 8))
        process.send_signal(number)
        code = process.wait()
        if code == 0:
            break
        assert code == STOPPED_EARLY, job.stderr()
        done = len(job.rows()[0])
        assert job.verify()[-1] == done, "the checkpoint is not of the last step"
    job.finish()
    assert_same(job, undisturbed("lora"))


def test_asked_to_stop_while_it_evaluates_or_saves(trainer, world, undisturbed, tmp_path):
    """One signal for each attempt, at the steps where evaluations and checkpoints fall."""
    job = Job(trainer, world, tmp_path / "run", **VARIANTS["lora"])
    codes = run_disturbed(job, signal.SIGTERM, seed=2, most=6)
    allowed = {0, STOPPED_EARLY, -signal.SIGTERM}  # the last: before the program has looked at its settings
    assert set(codes) <= allowed and STOPPED_EARLY in codes, codes
    assert_same(job, undisturbed("lora"))


def test_the_second_signal_ends_it_at_once(trainer, world, undisturbed, tmp_path):
    job = Job(trainer, world, tmp_path / "run", **VARIANTS["lora"])
    process = job.start()
    job.wait_for_rows(process, 4)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.15)
    process.send_signal(signal.SIGTERM)
    assert process.wait() in (STOPPED_EARLY, -signal.SIGTERM)
    assert_promises_kept(job)
    assert_same(job.finish(), undisturbed("lora"))


def test_a_second_start_is_refused(trainer, world, tmp_path):
    job = Job(trainer, world, tmp_path / "run", **{**VARIANTS["lora"], "max_steps": 100000})
    first = job.start()
    try:
        job.wait_for_rows(first, 1)
        second = trainer.run("--config", job.config, succeed=False)
        assert second.returncode == LOCKED, second.stderr
        assert str(first.pid) in second.stderr and os.uname().nodename in second.stderr
        assert time.strftime("%Y-", time.gmtime()) in second.stderr
    finally:
        first.kill()
        first.wait()


def test_a_folder_of_somebody_else_is_left_alone(trainer, world, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("words")
    job = Job(trainer, world, tmp_path / "thesis", **{**VARIANTS["lora"], "overwrite_output_dir": True})
    job.finish(LOCKED)
    assert os.listdir(tmp_path / "thesis") == ["chapter.tex"]


def test_overwriting_replaces_what_is_finished_and_goes_on_with_what_is_not(trainer, world, undisturbed, tmp_path):
    job = Job(trainer, world, tmp_path / "run", **{**VARIANTS["lora"], "overwrite_output_dir": True})
    process = job.start()
    job.wait_for_rows(process, STEPS // 2)
    process.kill()
    process.wait()
    assert "holds this very run, unfinished" in job.finish().stderr()
    assert job.rows() == undisturbed("lora").rows()
    run_id = json.loads((job.output / "run.json").read_text())["run_id"]
    assert "going on from" not in job.finish().stderr(), "a finished run is replaced"
    assert json.loads((job.output / "run.json").read_text())["run_id"] != run_id


def test_finished_is_said(trainer, undisturbed):
    job = undisturbed("lora")
    before = job.rows()
    assert "already complete" in job.finish().stderr()
    assert job.rows() == before


@pytest.fixture(scope="module")
def half_done(trainer, world):
    """A run that was stopped on its way, to be copied."""
    job = Job(trainer, world, world / "half", **VARIANTS["lora"])
    process = job.start()
    job.wait_for_rows(process, STEPS // 2)
    process.kill()
    process.wait()
    assert 2 <= len(job.checkpoints()) <= 3
    return job


@pytest.fixture
def copy_of_half(trainer, world, half_done, tmp_path):
    def copy(**changes):
        shutil.copytree(half_done.output, tmp_path / "run", symlinks=True)
        return Job(trainer, world, tmp_path / "run", **{**VARIANTS["lora"], **changes})

    return copy


def test_overwriting_replaces_an_unfinished_run_of_other_settings(copy_of_half):
    job = copy_of_half(overwrite_output_dir=True, learning_rate=5e-4)
    assert "going on from" not in job.finish().stderr()


def test_a_run_is_verified_with_all_its_checkpoints(copy_of_half):
    job = copy_of_half()
    newest = f"checkpoint-{job.checkpoints()[-1]}"
    report = job.trainer.json("verify", job.output)
    assert report["ok"] and any(check["subject"] == f"{newest}/checkpoint" for check in report["checks"])
    (job.output / newest / "MANIFEST.json").unlink()
    for path in (job.output, job.output / newest):
        done = job.trainer.run("verify", path, succeed=False)
        assert done.returncode == 65 and "MANIFEST.json" in done.stderr


@pytest.mark.parametrize("name", ["trainer_state.safetensors", "trainer_state.json", "MANIFEST.json", "adapter_model.safetensors"])
def test_damage_falls_back_to_the_older_one(copy_of_half, undisturbed, name):
    job = copy_of_half()
    newest = job.checkpoints()[-1]
    path = job.output / f"checkpoint-{newest}" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    job.finish()
    assert f"checkpoint-{newest}" in job.stderr() and "damaged" in job.stderr()
    assert (job.output / f"checkpoint-{newest}.damaged-1").is_dir()
    assert_same(job, undisturbed("lora"))


def test_a_damaged_one_that_was_named_is_refused(copy_of_half):
    job = copy_of_half()
    path = job.output / f"checkpoint-{job.checkpoints()[-1]}"
    os.truncate(path / "trainer_state.safetensors", 100)
    done = job.trainer.run("--config", job.config, "--resume_from_checkpoint", path, succeed=False)
    assert done.returncode == 65 and "trainer_state.safetensors" in done.stderr, done.stderr


def test_an_older_one_that_was_named_is_used(copy_of_half, undisturbed):
    job = copy_of_half()
    oldest = job.checkpoints()[0]
    job.trainer.run("--config", job.config, "--resume_from_checkpoint", job.output / f"checkpoint-{oldest}")
    assert_same(job, undisturbed("lora"))


def refused(job, *names):
    job.finish(CONFIGURATION)
    for name in names:
        assert name in job.stderr()


@pytest.mark.parametrize("key, value, was", [("seed", 8, "7"), ("template", "chatml", "qwen"), ("lora_rank", 8, "4")])
def test_other_settings_are_refused(copy_of_half, key, value, was):
    refused(copy_of_half(**{key: value}), key, str(value), was)


def test_other_data_are_refused(copy_of_half, tmp_path):
    write_data(tmp_path / "rows.json", seed=4)
    refused(copy_of_half(dataset=str(tmp_path / "rows.json")), "training data")


def test_other_weights_are_refused(trainer, world, copy_of_half, tmp_path):
    trainer.run("init-model", world / "shape", tmp_path / "model", "--seed", "9")
    refused(copy_of_half(model_name_or_path=str(tmp_path / "model")), "model weights")


def test_another_tokenizer_is_refused(world, copy_of_half, tmp_path):
    shutil.copytree(world / "model", tmp_path / "model")
    path = tmp_path / "model/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    path.write_text(json.dumps(tokenizer))
    refused(copy_of_half(model_name_or_path=str(tmp_path / "model")), "tokenizer")


def test_what_only_changes_the_view_may_change(copy_of_half, undisturbed):
    job = copy_of_half(save_steps=5, save_total_limit=1)
    assert_same(job.finish(), undisturbed("lora"))
    assert len(job.verify()) == 1


@pytest.fixture
def small_disk(tmp_path):
    """small_disk(bytes): a folder on a disk of that size; called again, the disk grows."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def resize(size):
        options = ("remount," if mounted else "") + f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a small disk needs the right to mount one")
        mounted.append(size)
        return folder

    yield resize
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def test_a_full_disk_leaves_the_earlier_checkpoints(trainer, world, undisturbed, small_disk):
    reference = undisturbed("lora").output
    size = sum(path.stat().st_size for path in (reference / f"checkpoint-{STEPS}").iterdir())
    folder = small_disk(4 * size)
    job = Job(trainer, world, folder / "run", **{**VARIANTS["lora"], "save_total_limit": 100})
    job.finish(IO)
    assert "No space left on device" in job.stderr() and "needed" in job.stderr() and "free" in job.stderr()
    steps = job.verify()
    assert len(steps) >= 2
    assert not [name for name in os.listdir(job.output) if name.startswith((".tmp-", ".trash-"))]
    job.finish(IO)  # still full
    assert job.verify() == steps
    small_disk(64 << 20)
    job.finish()
    assert "going on from" in job.stderr()
    assert_same(job, undisturbed("lora"))
