"""GGUF files: llama.cpp loads what we write, we read what others wrote."""

import json
import random
import unicodedata

import gguf
import llama_engine
import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import models
from conftest import ROOT

TYPES = ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "iq4_nl",
         "iq4_xs", "tq1_0", "tq2_0"]
CASES = ["qwen2-untied", "qwen2-tied-group1", "qwen2-yarn", "qwen3-wide-heads", "llama", "llama-linear", "llama-llama3",
         "llama-one-layer", "mistral", "smollm3-every-fourth"]


# Rows of whole blocks of 256 and of 32 only.
OWN = {
    "qwen3-blocks": models.Case("qwen3", models.shape(hidden=256, intermediate=512, layers=4, heads=8, kv_heads=2,
                                                      head_dim=40, tie_word_embeddings=True)),
    # The engine leaves every fourth layer without positions, whatever the config says.
    "smollm3-every-fourth": models.Case("smollm3", models.shape(layers=5, no_rope_layer_interval=4)),
    "llama-blocks": models.Case("llama", models.shape(hidden=256, intermediate=544, layers=4, heads=8, kv_heads=1)),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, model_folder):
    """Of a case here or of models.CASES."""
    root = tmp_path_factory.mktemp("blocks")
    for name, case in OWN.items():
        (root / name).mkdir()
        models.write_model(case, root / name)
    return lambda name: root / name if name in OWN else model_folder(name)


def export(trainer, folder, out, *formats, **more):
    options = [part for key, value in more.items() for part in (f"--{key}", value)]
    written = trainer.json("export", "--model_name_or_path", folder, "--export_dir", out, "--export_formats",
                           ",".join(formats), *options)
    return [each["path"] for each in written]


def our_logits(trainer, folder, ids, tmp_path, **more):
    (tmp_path / "ids.json").write_text(json.dumps([ids]))
    options = [part for key, value in more.items() for part in (f"--{key}", value)]
    trainer.run("logits", "--model_name_or_path", folder, "--token_ids", tmp_path / "ids.json", "--output",
                tmp_path / "o.safetensors", "--dtype", "float32", *options)
    return load_file(tmp_path / "o.safetensors")["logits.0"]


def some_ids(size, count=40, seed=0):
    return np.random.default_rng(seed).integers(3, size - 1, count).tolist()


def strings(count, seed=5):
    """Composed text of many scripts without control characters and unassigned code points, in which the two
    tokenizers are known to differ."""
    draw = random.Random(seed)
    ranges = [(0x21, 0x7E)] * 6 + [(0xA1, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
                                   (0x904, 0x939), (0xE01, 0xE3A), (0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
                                   (0x2190, 0x21FF), (0x1F600, 0x1F64F), (0x660, 0x669), (0x300, 0x30F)]
    whole = [" ", "  ", "\n", "\n\n", "\t", " \n ", "'s", "'LL", "don't", "2024", "3.14", "Hello", " world", "é", "ﬁ",
             "<|im_start|>", "<|endoftext|>", "...", "?!", "a_b", "€"]
    made = []
    while len(made) < count:
        pieces = []
        for _ in range(draw.randint(1, 12)):
            low, high = draw.choice(ranges)
            pieces.append(draw.choice(whole) if draw.random() < 0.4 else
                          "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 6))))
        text = unicodedata.normalize("NFC", "".join(pieces))
        if all(unicodedata.category(c) not in ("Cn", "Co", "Cs") for c in text):
            made.append(text)
    return made


@pytest.mark.parametrize("name", CASES)
def test_the_engine_computes_what_we_compute(trainer, folder_of, tmp_path, name):
    folder = folder_of(name)
    (path,) = export(trainer, folder, tmp_path, "gguf:f32")
    engine = llama_engine.Engine(path)
    assert engine.warnings == []
    ids = some_ids(engine.size)
    ours = our_logits(trainer, folder, ids, tmp_path)
    assert llama_engine.rms_ratio(ours, engine.logits(ids)) < 1e-3
    again = our_logits(trainer, path, ids, tmp_path)
    np.testing.assert_array_equal(again, ours)
    engine.close()


@pytest.mark.parametrize("variant", TYPES)
@pytest.mark.parametrize("name", ["qwen3-blocks", "llama-blocks"])
def test_blocks_decode_as_others_decode_them(trainer, folder_of, tmp_path, name, variant):
    folder = folder_of(name)
    (path,) = export(trainer, folder, tmp_path, f"gguf:{variant}")
    trainer.run("convert", path, tmp_path / "back", "--outtype", "f32")
    compare_weights(path, load_file(tmp_path / "back/model.safetensors"), json.loads((folder / "config.json").read_text()))
    ids = some_ids(models.VOCABULARY)
    # What is kept in blocks computes as what was decoded beforehand.
    of_blocks, of_numbers = (our_logits(trainer, where, ids, tmp_path) for where in (path, tmp_path / "back"))
    assert llama_engine.rms_ratio(of_blocks, of_numbers) < 1e-5
    engine = llama_engine.Engine(path)
    assert engine.warnings == []
    # Eight bits for what the engine multiplies blocks by.
    assert llama_engine.rms_ratio(of_blocks, engine.logits(ids)) < {"f16": 0.002, "bf16": 0.01}.get(variant, 0.06)
    engine.close()


def checkpoint_name(name):
    for ours, theirs in {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output.": "lm_head.",
                         "blk.": "model.layers.", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
                         "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_q.": "self_attn.q_proj.",
                         "attn_k.": "self_attn.k_proj.", "attn_v.": "self_attn.v_proj.", "attn_output.": "self_attn.o_proj.",
                         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}.items():
        if ours in name and not (ours == "output." and "attn_output" in name):
            name = name.replace(ours, theirs)
    return name


def compare_weights(path, ours, config):
    compared = 0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name == "rope_freqs.weight":
            continue
        theirs = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(reversed(tensor.shape.tolist())))
        heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(
            tensor.name.split(".")[2] if tensor.name.startswith("blk.") else "")
        if heads and config["model_type"] in ("llama", "mistral", "smollm3"):
            theirs = theirs.reshape(heads, -1, 2, *theirs.shape[1:]).swapaxes(1, 2).reshape(theirs.shape)
        mine = ours[checkpoint_name(tensor.name)].astype(np.float32)
        np.testing.assert_array_equal(mine.view(np.uint32), theirs.astype(np.float32).view(np.uint32), err_msg=tensor.name)
        compared += 1
    assert compared == len(ours)


@pytest.mark.parametrize("source", ["llama", "tiny"])
def test_texts_become_the_same_tokens_everywhere(trainer, model_folder, tmp_path, source):
    folder = ROOT / "data/tiny" if source == "tiny" else model_folder(source)
    (path,) = export(trainer, folder, tmp_path, "gguf:q8_0")
    engine = llama_engine.Engine(path)
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = strings(1000)
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    from_gguf = trainer.run("tokenize", "--model_name_or_path", path, text=lines).stdout.splitlines()
    for text, line in zip(texts, from_gguf, strict=True):
        wanted = reference.encode(text, add_special_tokens=False).ids
        assert engine.tokenize(text) == wanted, repr(text)
        assert json.loads(line) == wanted, repr(text)
    engine.close()


def test_pieces_with_scores_are_joined_as_sentencepiece_joins_them(trainer, model_folder, tmp_path):
    import sentencepiece

    (tmp_path / "text.txt").write_text(models.text(6000))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(tmp_path / "pieces"), vocab_size=models.VOCABULARY,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, minloglevel=2)
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / "pieces.model"))
    (path,) = export(trainer, model_folder("llama"), tmp_path, "gguf:f32")
    reader, writer = gguf.GGUFReader(path), gguf.GGUFWriter(tmp_path / "pieces.gguf", "llama")
    for name, field in reader.fields.items():
        if name.startswith("llama."):
            writer.add_key_value(name, field.contents(), field.types[0])
    kind = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i) for i in range(len(pieces))])
    writer.add_token_scores([pieces.get_score(i) for i in range(len(pieces))])
    writer.add_token_types([kind.UNKNOWN if pieces.is_unknown(i) else kind.CONTROL if pieces.is_control(i) else
                            kind.BYTE if pieces.is_byte(i) else kind.NORMAL for i in range(len(pieces))])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    engine = llama_engine.Engine(tmp_path / "pieces.gguf")
    texts = [text for text in strings(300, seed=9) if "<" not in text] + models.text(500).split(".")
    lines = trainer.run("tokenize", "--model_name_or_path", tmp_path / "pieces.gguf",
                        text="".join(json.dumps(text) + "\n" for text in texts)).stdout.splitlines()
    for text, line in zip(texts, lines, strict=True):
        wanted = pieces.encode(text)
        assert json.loads(line) == wanted, repr(text)
        assert engine.tokenize(text) == wanted, repr(text)
    assert "".join(trainer.run("tokenize", "--decode", "--model_name_or_path", tmp_path / "pieces.gguf",
                               text="\n".join(lines[:50]) + "\n").stdout) != ""
    engine.close()


def peft_adapter(folder, base, **settings):
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_alpha=12, init_lora_weights=False, **settings)
    model = peft.get_peft_model(models.load_reference(base, torch.float32), config)
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0.0, 0.08)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("settings", [
    dict(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    dict(r=5, target_modules=["q_proj", "down_proj"], use_rslora=True, rank_pattern={"layers.1.self_attn.q_proj": 2},
         alpha_pattern={"layers.0.mlp.down_proj": 40}),
], ids=["all", "patterns"])
@pytest.mark.parametrize("name", ["qwen2-untied", "qwen3-wide-heads", "llama", "smollm3-every-fourth"])
def test_the_engine_lays_an_adapter_over_its_base(trainer, folder_of, tmp_path, name, settings):
    folder = folder_of(name)
    reference = peft_adapter(tmp_path / "adapter", folder, **settings)
    base, adapter = export(trainer, folder, tmp_path, "gguf:f32", "gguf:lora", adapter_name_or_path=tmp_path / "adapter")
    # The first is the base with the adapter merged; the bare base is what an adapter is laid over.
    (bare,) = export(trainer, folder, tmp_path / "bare", "gguf:f32")
    ids = some_ids(models.VOCABULARY)
    with torch.no_grad():
        theirs = reference(torch.tensor([ids])).logits[0].float().numpy()
    engine, merged = llama_engine.Engine(bare), llama_engine.Engine(base)
    assert llama_engine.rms_ratio(engine.logits(ids), theirs) > 0.05  # without it they differ
    assert llama_engine.rms_ratio(engine.logits(ids, adapter), theirs) < 1e-3
    assert llama_engine.rms_ratio(merged.logits(ids), theirs) < 1e-3
    engine.close()
    merged.close()


def test_a_folder_goes_into_exactly_the_file_it_was_asked_for(trainer, tmp_path):
    trainer.run("convert", ROOT / "data/tiny", tmp_path / "X.gguf", "--outtype", "q4_k_m")
    assert [path.name for path in tmp_path.iterdir()] == ["X.gguf"]
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "X.gguf").tensors}
    assert "Q4_K" in types and "Q6_K" in types or "Q8_0" in types
    listing = trainer.json("inspect", tmp_path / "X.gguf")
    assert listing["format"] == "gguf" and listing["metadata"]["general.architecture"] == "qwen3"
    assert {row["dtype"] for row in listing["tensors"]} == types
    trainer.run("convert", tmp_path / "X.gguf", tmp_path / "dir", "--outtype", "f16")
    model = models.load_reference(tmp_path / "dir", torch.float32)
    ids = some_ids(2048)
    theirs = models.reference_logits(model, ids).numpy()
    ours = our_logits(trainer, tmp_path / "X.gguf", ids, tmp_path)
    assert llama_engine.rms_ratio(ours, theirs) < 1e-3  # float16 in between


def test_an_adapter_trained_on_blocks_is_laid_over_those_blocks(trainer, tmp_path):
    base = tmp_path / "base-Q4_0.gguf"
    trainer.run("convert", ROOT / "data/tiny", base, "--outtype", "q4_0")
    before = base.read_bytes()
    trainer.run("--stage", "sft", "--model_name_or_path", base, "--dataset", "zen_identity", "--dataset_dir", ROOT / "data",
                "--template", "qwen", "--output_dir", tmp_path / "run", "--max_steps", "8", "--learning_rate", "2e-3",
                "--cutoff_len", "128", "--finetuning_type", "lora", "--logging_steps", "1")
    log = [json.loads(line) for line in (tmp_path / "run/trainer_log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in log if "loss" in row]
    assert losses[-1] < losses[0]
    assert base.read_bytes() == before
    (adapter,) = export(trainer, base, tmp_path, "gguf:lora", adapter_name_or_path=tmp_path / "run")
    ids = some_ids(2048)
    ours = our_logits(trainer, base, ids, tmp_path, adapter_name_or_path=tmp_path / "run")
    bare = our_logits(trainer, base, ids, tmp_path)
    engine = llama_engine.Engine(base)
    assert llama_engine.rms_ratio(bare, ours) > 0.01
    assert llama_engine.rms_ratio(engine.logits(ids, adapter), ours) < 0.06
    engine.close()
