"""push_to_hub: the hub's own tool is asked for before the work and called after it. Here the tool is a stand-in that
writes down what it was told."""

import json
import pathlib
import shutil

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def tools(tmp_path):
    """A PATH of what scripts/upload needs, without the hub's tool."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "find", "sort", "head", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def hub_tool(tools, said, status=0):
    tool = tools / "hf"
    tool.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {said}\nexit {status}\n')
    tool.chmod(0o755)


def export(trainer, tools, where, *more):
    words = ["export", "--model_name_or_path", ROOT / "data/tiny", "--export_dir", where / "files",
             "--export_formats", "hf", "--export_report", "false", "--push_to_hub", "true", *more]
    return trainer.run(*words, succeed=False, PATH=str(tools))


def test_exports_go_to_the_repository(trainer, tools, tmp_path):
    hub_tool(tools, tmp_path / "said")
    run = export(trainer, tools, tmp_path, "--export_hub_model_id", "someone/some-model", "--hub_private_repo", "true")
    assert run.returncode == 0, run.stderr
    said = (tmp_path / "said").read_text().split("\n")
    assert said[:4] == ["upload", "someone/some-model", str(tmp_path / "files"), "."]
    assert "--private" in said
    assert "https://huggingface.co/someone/some-model" in run.stdout
    assert json.loads((tmp_path / "files/upload.json").read_text())["repository"] == "someone/some-model"


@pytest.mark.parametrize("more, code, words", [
    ([], 78, "export_hub_model_id must name the repository"),
    (["--export_hub_model_id", "some model"], 78, "OWNER/NAME"),
    (["--export_hub_model_id", "someone/model"], 66, "pip install huggingface_hub"),
])
def test_what_is_missing_is_said_before_the_work(trainer, tools, tmp_path, more, code, words):
    run = export(trainer, tools, tmp_path, *more)
    assert (run.returncode, words in run.stderr) == (code, True), run.stderr
    assert not (tmp_path / "files").exists()


def test_a_failed_upload_keeps_the_files(trainer, tools, tmp_path):
    hub_tool(tools, tmp_path / "said", status=3)
    run = export(trainer, tools, tmp_path, "--export_hub_model_id", "someone/model")
    assert run.returncode == 74 and "To try again: scripts/upload" in run.stderr
    assert (tmp_path / "files").is_dir() and not (tmp_path / "files/upload.json").exists()


def test_a_run_uploads_its_result(trainer, tools, tmp_path):
    hub_tool(tools, tmp_path / "said")
    settings = {"model_name_or_path": str(ROOT / "data/tiny"), "stage": "sft", "template": "qwen3_nothink",
                "dataset": "zen_identity", "dataset_dir": str(ROOT / "data"), "finetuning_type": "lora", "max_steps": 1,
                "cutoff_len": 128, "output_dir": str(tmp_path / "run"), "push_to_hub": True,
                "export_hub_model_id": "someone/adapter"}
    config = tmp_path / "run.yaml"
    config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    run = trainer.run("--config", config, succeed=False, PATH=str(tools))
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "said").read_text().split("\n")[:3] == ["upload", "someone/adapter", str(tmp_path / "run")]
