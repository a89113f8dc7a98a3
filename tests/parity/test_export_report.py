"""One command writes every file of a report, and what it says of them is what transformers finds."""

import json
import math
import shutil

import pytest
import torch
import transformers

from conftest import ROOT

TEXTS = ["The river runs under the old bridge, and nobody counts the stones.",
         "Seven lamps stood in the morning light; one of them was broken.",
         "A quiet engine is a good engine, said the woman with the map."] * 4


@pytest.fixture(scope="module")
def exported(trainer, tmp_path_factory):
    root = tmp_path_factory.mktemp("exports")
    (root / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (root / "export.yaml").write_text(f"""
model_name_or_path: {ROOT / "data/tiny"}
stage: pt
dataset: {root / "rows.jsonl"}
cutoff_len: 64
packing: false
template: chatml
export_dir: {root / "files"}
export_formats: [hf:float16, bnb:int8, bnb:nf4, gguf:f16, gguf:q4_0]
export_layout: report
""")
    trainer.run("export", "--config", root / "export.yaml")
    return root


def report_of(root):
    report = json.loads((root / "files/export_report.json").read_text())
    return report, {entry["format"]: entry for entry in report["exports"]}


def test_the_names_of_a_report_are_there(exported):
    for name in ("merged-fp16", "model-int8", "model-int4", "model.gguf", "model-q4_0.gguf", "README.md",
                 "export_report.md", "export_report.html"):
        assert (exported / "files" / name).exists(), name
    for folder in ("merged-fp16", "model-int8", "model-int4"):
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
            assert (exported / "files" / folder / name).exists(), (folder, name)


def test_figures_are_in_their_order(exported):
    report, by_format = report_of(exported)
    assert all(entry["ok"] for entry in report["exports"])
    assert by_format["hf:float16"]["kl"] < 1e-5 < by_format["bnb:nf4"]["kl"]
    assert by_format["bnb:int8"]["kl"] < by_format["bnb:nf4"]["kl"]
    assert by_format["hf:float16"]["same_top_token"] > 0.99
    assert by_format["gguf:q4_0"]["bytes"] < by_format["bnb:int8"]["bytes"] < by_format["hf:float16"]["bytes"]
    for entry in report["exports"]:
        assert entry["tokens_per_second"] > 0 and entry["peak_resident_bytes"] > 50 << 20
        assert entry["bits_per_weight"] == pytest.approx(16 * entry["size_ratio"], rel=1e-6)


def test_the_loss_is_that_of_transformers(trainer, exported):
    report, by_format = report_of(exported)
    rows = json.loads(trainer.run("inspect", "--config", exported / "export.yaml", "--examples", "1000", "--json").stdout)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported / "files/merged-fp16", dtype=torch.float32)
    total, labels = 0.0, 0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]])
            losses = -model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            losses = losses[torch.tensor(row["labels"])[1:] != -100]
            total, labels = total + float(losses.double().sum()), labels + losses.numel()
    assert report["tokens"] == labels
    assert by_format["hf:float16"]["loss"] == pytest.approx(total / labels, rel=1e-5)
    assert math.exp(by_format["hf:float16"]["loss"]) == pytest.approx(by_format["hf:float16"]["perplexity"])


def test_the_modelfile_names_file_template_and_stops(exported):
    text = (exported / "files/model-q4_0.Modelfile").read_text()
    assert text.startswith("FROM ./model-q4_0.gguf\n")
    assert "<|im_start|>user\n{{ .Content }}<|im_end|>" in text and 'PARAMETER stop "<|im_end|>"' in text


def test_a_training_file_exports_as_it_ends(trainer, tmp_path):
    shutil.copy(ROOT / "configs/quickstart.yaml", tmp_path / "run.yaml")
    trainer.run("--config", tmp_path / "run.yaml", "--max_steps", "2", "--output_dir", tmp_path / "run",
                "--model_name_or_path", ROOT / "data/tiny", "--dataset_dir", ROOT / "data", "--eval_strategy", "no",
                "--export_formats", "hf,gguf:q8_0")
    report = json.loads((tmp_path / "run/export/export_report.json").read_text())
    assert [entry["format"] for entry in report["exports"]] == ["hf", "gguf:q8_0"]
    assert report["adapters"] == [str(tmp_path / "run")] and all(entry["ok"] for entry in report["exports"])


def test_two_exports_of_one_name_are_refused(trainer, tmp_path):
    done = trainer.run("export", "--model_name_or_path", ROOT / "data/tiny", "--export_dir", tmp_path / "files",
                       "--export_layout", "report", "--export_formats", "hf,hf:float16", succeed=False)
    assert done.returncode == 78 and "hf and hf:float16" in done.stderr
