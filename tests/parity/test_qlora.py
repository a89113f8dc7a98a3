"""QLoRA runs as people write them: the guide's own config, flags instead of a file, a run that goes on."""

import json
import pathlib

import peer_training as peer
import pytest
import safetensors.torch
import test_training
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [[5, 17, 400, 3, 88, 931, 2, 61]]
# The command of the guide, but for the model, where things go, and how long it takes.
FLAGS = """--stage sft --dataset zen_identity --template qwen --finetuning_type lora --quantization_method bitsandbytes
--quantization_bit 4 --bnb_4bit_compute_dtype bfloat16 --bnb_4bit_use_double_quant true --bnb_4bit_quant_type nf4
--lora_target all --lora_rank 8 --lora_alpha 16 --per_device_train_batch_size 4 --gradient_accumulation_steps 2
--learning_rate 2e-4 --num_train_epochs 3 --do_train""".split()


def log_of(output):
    return [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]


def test_the_guides_config_and_its_flags_are_the_same_run(trainer, tmp_path):
    here = ["--model_name_or_path", ROOT / "data/tiny", "--dataset_dir", ROOT / "data", "--max_steps", 6, "--logging_steps", 1,
            "--threads", 1]
    trainer.run("--config", ROOT / "configs/zen_nano_4bit.yaml", *here, "--output_dir", tmp_path / "file")
    trainer.run(*FLAGS, *here, "--output_dir", tmp_path / "flags")
    one, other = log_of(tmp_path / "file"), log_of(tmp_path / "flags")
    assert len(one) == 6 and [row["loss_bits"] for row in one] == [row["loss_bits"] for row in other]
    config = json.loads((tmp_path / "file/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (8, 16)
    assert sorted(config["target_modules"]) == sorted("q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split())


def test_the_guides_savings_and_its_export(trainer, tmp_path):
    words = ["--model_name_or_path", ROOT / "data/tiny", "--dataset_dir", ROOT / "data", "--max_steps", 2]
    trainer.run("--stage", "sft", "--dataset", "zen_identity", "--template", "qwen", "--quantization_bit", 4,
                "--gradient_checkpointing", "true", "--per_device_train_batch_size", 1, "--gradient_accumulation_steps", 16,
                "--max_grad_norm", 0.3, "--warmup_ratio", 0.03, *words, "--output_dir", tmp_path / "out")
    trainer.run("export", "--model_name_or_path", ROOT / "data/tiny", "--adapter_name_or_path", tmp_path / "out",
                "--export_dir", tmp_path / "merged", "--export_formats", "hf,bnb:nf4,gguf:q4_k_m")
    assert {path.name for path in (tmp_path / "merged").iterdir()} >= {"hf", "bnb-nf4"}
    assert list((tmp_path / "merged").glob("*Q4_K_M.gguf"))


@pytest.fixture
def runs(trainer, tmp_path):
    return test_training.Runs(trainer, test_training.write_rows(tmp_path), tmp_path)


def test_a_run_on_a_quantised_base_goes_on_with_the_same_bits(runs, model_folder, tmp_path):
    settings = test_training.LORA | {"model_name_or_path": str(model_folder("llama")), "quantization_bit": 4, "max_steps": 6,
                                     "save_strategy": "steps", "save_steps": 3}
    whole, output = runs.train(**settings)
    rest, _ = runs.train(**settings, resume_from_checkpoint=str(output / "checkpoint-3"))
    bits = {row["current_steps"]: row["loss_bits"] for row in whole}
    assert rest[-1]["current_steps"] == 6
    assert all(bits[row["current_steps"]] == row["loss_bits"] for row in rest)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_folder_of_bitsandbytes_trains_as_the_base_quantised_here(bits, runs, model_folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("bitsandbytes")
    folder = model_folder("qwen3-blocks")
    config = transformers.BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4",
                                             bnb_4bit_use_double_quant=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu", quantization_config=config)
    base.save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "base" / name).write_bytes((folder / name).read_bytes())
    one, output = runs.train(**test_training.LORA, model_name_or_path=str(folder), quantization_bit=bits, max_steps=5)
    other, again = runs.train(**test_training.LORA, model_name_or_path=str(tmp_path / "base"), max_steps=5)
    assert [row["loss_bits"] for row in one] == [row["loss_bits"] for row in other]
    adapters = [safetensors.torch.load_file(path / "adapter_model.safetensors") for path in (output, again)]
    assert all(adapters[0][key].equal(adapters[1][key]) for key in adapters[0])
    if bits == 4:  # PEFT puts the adapter onto the base of bitsandbytes
        theirs = peer.peft.PeftModel.from_pretrained(peer.with_plain_products(base), str(output)).eval()
        ours = runs.logits(tmp_path / "base", DOCUMENTS, again)
        test_training.assert_same_logits(ours, peer.logits(theirs, DOCUMENTS), bound=1e-4)
