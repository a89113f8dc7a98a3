"""Training runs against transformers and PEFT: same rows, same start, and the curves lie on each other.

Both sides see the rows in the order of the file. Losses agree to 1e-5 at the first step and 1e-4 at every one
of fifty, gradient norms to 1e-3, learning rates to the last digits of a double.
"""

import json
import random
import struct

import models
import peer_training as peer
import peft
import pytest
import safetensors.torch
import torch
import transformers

STEPS = 50
ROWS = 24  # with four rows a step, six steps an epoch
BASE = {"stage": "sft", "dataset": "rows", "template": "qwen3_nothink", "cutoff_len": 96, "disable_shuffling": True,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 1000,
        "max_steps": STEPS, "logging_steps": 1, "save_strategy": "no", "compute_dtype": "float32", "threads": 1}
LORA = {"finetuning_type": "lora", "learning_rate": 1e-3, "create_new_adapter": False}
NF4 = {"quantization_bit": 4}
FULL = {"finetuning_type": "full", "learning_rate": 1e-4}
FREEZE = {"finetuning_type": "freeze", "learning_rate": 1e-3}
WHOLE_EPOCH = {"per_device_train_batch_size": 64, "gradient_accumulation_steps": 1}

# name: model, adapter as PEFT is asked for it (None: no adapter), settings of the run
RUNS = {
    "lora-linear": ("qwen3-wide-heads", {}, LORA),
    "lora-cosine": ("qwen3-wide-heads", {}, LORA | {
        "lr_scheduler_type": "cosine", "warmup_steps": 0.1, "weight_decay": 0.1, "max_grad_norm": 0.05}),
    "lora-biases": ("qwen2-untied", {"target_modules": ["q_proj", "v_proj", "down_proj"]}, LORA),
    "lora-patterns": ("llama", {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6},
                                "alpha_pattern": {"o_proj": 3}}, LORA),
    "rslora": ("llama", {"use_rslora": True}, LORA),
    "dora": ("qwen3-wide-heads", {"use_dora": True}, LORA),
    "loraplus": ("llama", {}, LORA | {"loraplus_lr_ratio": 8.0, "learning_rate": 2e-4}),
    "lora-and-whole-modules": ("qwen2-untied", {"modules_to_save": ["embed_tokens", "lm_head"]}, LORA),
    "lora-smoothing": ("llama", {}, LORA | {"label_smoothing_factor": 0.1}),
    "lora-checkpointing": ("qwen3-wide-heads", {}, LORA | {"gradient_checkpointing": True}),
    "lora-packing": ("qwen3-wide-heads", {}, LORA | WHOLE_EPOCH | {"packing": True}),
    "lora-neat-packing": ("llama", {}, LORA | WHOLE_EPOCH | {"neat_packing": True}),
    "lora-prompts": ("llama", {}, LORA | {"train_on_prompt": True}),
    "qlora-nf4": ("qwen3-blocks", {}, LORA | NF4),
    "qlora-nf4-plain-scales": ("qwen2-blocks", {}, LORA | NF4 | {"double_quantization": False}),
    "qlora-fp4": ("qwen3-blocks", {}, LORA | NF4 | {"quantization_type": "fp4"}),
    "qlora-dora": ("qwen2-blocks", {"use_dora": True}, LORA | NF4),
    "qlora-checkpointing": ("qwen3-blocks", {}, LORA | NF4 | {"gradient_checkpointing": True}),
    "full": ("qwen3-wide-heads", None, FULL),
    "full-biases": ("qwen2-untied", None, FULL | {"weight_decay": 0.1, "lr_scheduler_type": "cosine"}),
    "full-window": ("qwen3-window", None, FULL),
    "full-no-rope-layers": ("smollm3", None, FULL | {"gradient_checkpointing": True}),
    "full-no-clipping": ("llama", None, FULL | {"max_grad_norm": 0}),
    "full-betas": ("llama", None, FULL | {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-6}),
    "full-text": ("llama", None, FULL | {"stage": "pt", "dataset": "text", "packing": False}),
    "freeze": ("llama", None, FREEZE),
    "freeze-first-mlp": ("qwen2-untied", None, FREEZE | {
        "freeze_trainable_layers": -1, "freeze_trainable_modules": ["mlp"], "freeze_extra_modules": ["norm"]}),
    "sgd": ("llama", None, FULL | {"optim": "sgd", "learning_rate": 0.05, "weight_decay": 0.01}),
    "adafactor": ("llama", None, FULL | {"optim": "adafactor", "learning_rate": 1e-3}),
    "lion": ("llama", None, FULL | {"optim": "lion", "learning_rate": 3e-5, "weight_decay": 0.1}),
    "adamw-8bit": ("qwen3-wide-heads", None, FULL | {"optim": "adamw_8bit"}),
}


def write_rows(folder, count=ROWS, seed=11):
    """Conversations and texts of a language nobody speaks, from one word to more than the cutoff."""
    draw = random.Random(seed)
    words = models.text(6000, seed).split()

    def sentence(longest):
        length = draw.randint(1, longest)
        start = draw.randrange(len(words) - length)
        return " ".join(words[start:start + length])

    rows = [{"instruction": sentence(12), "input": sentence(6) if draw.random() < 0.3 else "", "output": sentence(14)}
            for _ in range(count)]
    rows[3]["output"] = " ".join(words[:300])  # is cut
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "text.json").write_text(json.dumps([{"text": sentence(40)} for _ in range(count)]))
    (folder / "dataset_info.json").write_text(json.dumps({
        "rows": {"file_name": "rows.json"}, "text": {"file_name": "text.json", "columns": {"prompt": "text"}}}))
    return folder


def write_config(path, settings):
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data"))


class Runs:
    def __init__(self, trainer, data, folder):
        self.trainer, self.data, self.folder, self.count = trainer, data, folder, 0

    def config(self, **settings):
        """A config file of its own, with an output_dir of its own; the settings as they stand in it."""
        self.count += 1
        settings = BASE | {"dataset_dir": str(self.data), "output_dir": str(self.folder / f"run{self.count}")} | settings
        return write_config(self.folder / f"run{self.count}.yaml", settings), settings

    def train(self, **settings):
        """The log of a run, and its folder."""
        config, settings = self.config(**settings)
        self.trainer.run("--config", config)
        output = self.folder / f"run{self.count}"
        return [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()], output

    def rows(self, **settings):
        """What the run is fed, one (input_ids, labels) a row, before packing."""
        config, _ = self.config(**settings)
        examples = self.trainer.json("inspect", "--config", config, "--examples", ROWS)
        assert [example["index"] for example in examples] == list(range(ROWS))
        for example in examples:
            assert len(example["input_ids"]) == len(example["labels"])
            assert all(label in (-100, token) for token, label in zip(example["input_ids"], example["labels"]))
        return [(example["input_ids"], example["labels"]) for example in examples]

    def logits(self, folder, documents, adapter=None, **settings):
        (self.folder / "ids.json").write_text(json.dumps(documents))
        output = self.folder / "logits.safetensors"
        words = ["--adapter_name_or_path", adapter] if adapter else []
        words += [f"{key}={value}" for key, value in settings.items()]
        self.trainer.run("logits", "--model_name_or_path", folder, *words, "--token_ids", self.folder / "ids.json",
                         "--output", output, "--dtype", "float32")
        tensors = safetensors.torch.load_file(output)
        return [tensors[f"logits.{i}"] for i in range(len(documents))]


@pytest.fixture
def runs(trainer, data, tmp_path):
    return Runs(trainer, data, tmp_path)


def loss_of(record):
    value = struct.unpack(">f", bytes.fromhex(record["loss_bits"]))[0]
    assert record["loss"] == pytest.approx(value, rel=1e-6)
    return value


def steps_of(rows, settings):
    """The rows of each step when nothing is shuffled: an epoch's last step may be short."""
    size = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    epoch = [rows[i:i + size] for i in range(0, len(rows), size)]
    return [epoch[step % len(epoch)] for step in range(settings["max_steps"])]


def assert_same_curve(log, expected):
    assert [record["current_steps"] for record in log] == list(range(1, len(expected) + 1))
    for step, (ours, theirs) in enumerate(zip(log, expected)):
        bound = 1e-5 if step == 0 else 1e-4
        assert loss_of(ours) == pytest.approx(theirs["loss"], rel=bound), f"loss of step {step + 1}"
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3), f"gradient of step {step + 1}"
        assert ours["lr"] == pytest.approx(theirs["lr"], rel=1e-14, abs=1e-300), f"rate of step {step + 1}"


def assert_same_logits(ours, theirs, bound=1e-5):
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= bound * other.abs().max()


@pytest.mark.parametrize("name", RUNS)
def test_fifty_steps_follow_the_peer(name, runs, model_folder, tmp_path):
    model, adapter, settings = RUNS[name]
    if name == "adamw-8bit" or "quantization_bit" in settings:
        pytest.importorskip("bitsandbytes")
    folder = model_folder(model)
    settings = BASE | settings | {"model_name_or_path": str(folder)}
    if adapter is not None:
        adapter = peer.write_adapter(folder, tmp_path / "adapter", **adapter)
        settings["adapter_name_or_path"] = str(adapter)
    rows = runs.rows(**settings)
    log, output = runs.train(**settings)
    expected, trained = peer.train(folder, steps_of(rows, settings), settings, adapter)
    assert expected[-1]["loss"] < 0.98 * expected[0]["loss"], "the peer learned nothing: this would prove nothing"
    assert_same_curve(log, expected)
    documents = [ids for ids, _ in rows[:4]]
    bits = {key: value for key, value in settings.items() if "quantization" in key}
    after = runs.logits(folder, documents, output, **bits) if adapter else runs.logits(output, documents)
    assert_same_logits(after, peer.logits(trained, documents), bound=1e-3)


@pytest.mark.parametrize("model, settings", [("qwen3-wide-heads", LORA), ("llama", FULL)], ids=["lora", "full"])
def test_the_cut_into_micro_batches_changes_nothing(model, settings, runs, model_folder, tmp_path):
    folder = model_folder(model)
    settings = settings | {"model_name_or_path": str(folder), "max_steps": 10}
    if settings["finetuning_type"] == "lora":
        settings["adapter_name_or_path"] = str(peer.write_adapter(folder, tmp_path / "adapter"))
    cuts = [(8, 1), (1, 8), (3, 3), (24, 1)]
    rows = {}
    for size, times in cuts:
        log, _ = runs.train(**settings, per_device_train_batch_size=size, gradient_accumulation_steps=times)
        rows[size, times] = [loss_of(record) for record in log]
    assert rows[8, 1] == pytest.approx(rows[1, 8], rel=1e-6)
    packed, _ = runs.train(**settings, **WHOLE_EPOCH, packing=True)
    assert rows[24, 1] == pytest.approx([loss_of(record) for record in packed], rel=1e-6)
    assert rows[3, 3][0] != rows[8, 1][0]  # nine rows are not eight


SCHEDULES = {
    "linear": ("linear", {}, 3), "linear-share": ("linear", {}, 0.13), "cosine": ("cosine", {}, 5),
    "cosine-half-cycles": ("cosine", {"num_cycles": 1.5}, 0), "cosine-min-rate": ("cosine_with_min_lr", {"min_lr_rate": 0.1}, 4),
    "cosine-min": ("cosine_with_min_lr", {"min_lr": 2e-4}, 4), "constant": ("constant", {}, 4),
    "constant-warm-up": ("constant_with_warmup", {}, 4), "polynomial": ("polynomial", {}, 4),
    "polynomial-power": ("polynomial", {"power": 2.5, "lr_end": 1e-5}, 4), "inverse-sqrt": ("inverse_sqrt", {}, 4),
    "inverse-sqrt-timescale": ("inverse_sqrt", {"timescale": 7}, 0), "stable-decay": ("warmup_stable_decay", {}, 4),
    "stable-decay-min": ("warmup_stable_decay", {"num_decay_steps": 6, "min_lr_ratio": 0.1}, 0.2),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_the_peers(name, runs, model_folder):
    kind, numbers, warmup = SCHEDULES[name]
    settings = BASE | FULL | {
        "model_name_or_path": str(model_folder("llama-one-layer")), "learning_rate": 7e-4, "lr_scheduler_type": kind,
        "warmup_steps": warmup, "max_steps": 23, "cutoff_len": 16}
    if numbers:
        settings["lr_scheduler_kwargs"] = numbers
    log, _ = runs.train(**settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=settings["learning_rate"])
    scheduler = peer.make_scheduler(optimizer, settings, settings["max_steps"])
    for step, record in enumerate(log):
        assert record["lr"] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-14, abs=1e-300), f"step {step + 1}"
        optimizer.step()
        scheduler.step()
    assert len(log) == settings["max_steps"]


ADAPTERS = {
    "plain": ("qwen3-wide-heads", {}), "rslora": ("llama", {"use_rslora": True}), "dora": ("qwen2-untied", {"use_dora": True}),
    "dora-rslora": ("llama", {"use_dora": True, "use_rslora": True, "r": 5}),
    "suffixes": ("qwen2-untied", {"target_modules": ["v_proj", "gate_proj"]}),
    "patterns": ("qwen3-wide-heads", {"rank_pattern": {"layers.2.self_attn.q_proj": 7, "down_proj": 3},
                                      "alpha_pattern": {"down_proj": 1, "layers.1.mlp.gate_proj": 32}}),
    "whole-modules": ("qwen2-untied", {"modules_to_save": ["embed_tokens", "lm_head", "norm"]}),
}
DOCUMENTS = [[5, 17, 400, 3, 88, 931, 2, 61], list(range(100, 160))]


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_of_peft_are_read_and_merged(name, runs, model_folder, tmp_path):
    model, settings = ADAPTERS[name]
    folder = model_folder(model)
    adapter = peer.write_adapter(folder, tmp_path / "adapter", **settings)
    reference = peer.load_adapter(folder, adapter)
    expected = peer.logits(reference, DOCUMENTS)
    assert (expected[0] - runs.logits(folder, DOCUMENTS)[0]).abs().max() > 1e-2, "the adapter does nothing"
    assert_same_logits(runs.logits(folder, DOCUMENTS, adapter), expected)

    runs.trainer.run("export", "--model_name_or_path", folder, "--adapter_name_or_path", adapter,
                     "--export_dir", tmp_path / "export", "--export_formats", "hf")
    merged = models.load_reference(tmp_path / "export/hf", torch.float32)
    assert_same_logits(peer.logits(merged, DOCUMENTS), peer.logits(reference.merge_and_unload(), DOCUMENTS))


TRAINED = {
    "plain": ("qwen3-wide-heads", {}), "rslora": ("llama", {"use_rslora": True, "lora_rank": 6, "lora_alpha": 5}),
    "dora": ("qwen2-untied", {"use_dora": True}), "suffixes": ("qwen3-narrow-heads", {"lora_target": ["o_proj", "up_proj"]}),
    "whole-modules": ("qwen2-untied", {"additional_target": ["embed_tokens", "lm_head"]}),
    "dropout": ("llama", {"lora_dropout": 0.3}),
}


@pytest.mark.parametrize("name", TRAINED)
def test_adapters_of_ours_are_read_by_peft(name, runs, model_folder):
    model, settings = TRAINED[name]
    folder = model_folder(model)
    _, output = runs.train(model_name_or_path=str(folder), **LORA | {"learning_rate": 1e-2}, **settings, max_steps=5)
    expected = peer.logits(peer.load_adapter(folder, output), DOCUMENTS)
    assert (expected[0] - runs.logits(folder, DOCUMENTS)[0]).abs().max() > 1e-2, "the adapter does nothing"
    assert_same_logits(runs.logits(folder, DOCUMENTS, output), expected)


@pytest.mark.parametrize("name", ["patterns", "dora-rslora", "whole-modules"])
def test_an_adapter_trained_further_keeps_its_shape(name, runs, model_folder, tmp_path):
    model, settings = ADAPTERS[name]
    folder = model_folder(model)
    adapter = peer.write_adapter(folder, tmp_path / "adapter", **settings)
    _, output = runs.train(model_name_or_path=str(folder), adapter_name_or_path=str(adapter), **LORA, max_steps=5)
    before, after = (peft.load_peft_weights(str(path), device="cpu") for path in (adapter, output))
    assert {key: value.shape for key, value in after.items()} == {key: value.shape for key, value in before.items()}
    assert_same_logits(runs.logits(folder, DOCUMENTS, output), peer.logits(peer.load_adapter(folder, output), DOCUMENTS))


def test_an_adapter_starts_as_nothing(runs, model_folder):
    folder = model_folder("llama")
    log, output = runs.train(model_name_or_path=str(folder), **LORA | {"learning_rate": 0}, max_steps=1)
    assert_same_logits(runs.logits(folder, DOCUMENTS, output), runs.logits(folder, DOCUMENTS), bound=0)
    weights = peft.load_peft_weights(str(output), device="cpu")
    for key, value in weights.items():
        if "lora_B" in key:
            assert not value.any()
        else:  # kaiming_uniform(a=sqrt(5)), as PEFT draws it
            limit = value.shape[1] ** -0.5
            assert 0.9 * limit < value.abs().max() <= limit and value.std() == pytest.approx(limit / 3**0.5, rel=0.15)


def test_a_full_run_ends_in_a_folder_transformers_reads(runs, model_folder):
    folder = model_folder("qwen3-wide-heads")
    _, output = runs.train(model_name_or_path=str(folder), **FULL, max_steps=3)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert_same_logits(runs.logits(output, DOCUMENTS), peer.logits(model.eval(), DOCUMENTS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    assert tokenizer("bana").input_ids == transformers.AutoTokenizer.from_pretrained(folder)("bana").input_ids
