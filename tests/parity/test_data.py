"""Rows of `trainer inspect --config --json` against LLaMA-Factory's rules (factory_rows.py) and against the
checkpoints' own chat templates, id for id and label for label, over seeded random conversations."""

import csv
import json
import os
import pathlib
import random

import pytest
import yaml

import factory_rows
from test_templates import QWEN3, QWEN25, TOOLS, expected

tokenizers = pytest.importorskip("tokenizers")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("ISOGRID_SHARED", ROOT.parent / "shared"))
REAL = SHARED / "reference/qwen2-tokenizer"
TINY = ROOT / "data/tiny"

WORDS = ["hello", "World", "北京", "Straße", "😀", "1234", "x_y", "def f(x):\n\treturn x", "a < b", '"quoted"', "\\n", "мир",
         "e\u0301", "\u00a0", "don't", "\u2028", "{}", "<tool_call>", "<|im_end|>", "<|im_start|>", "é" * 5, "100%"]
ODD = ["", " ", "\n\nfirst", "last\n", "  both  ", "<think>\nhm\n</think>\n\nanswer", "<think>\n\n</think>\n\n", "x</think>y",
       "<think>open", "a<think>\nm\n</think>\n\nb<think>\nn\n</think>\n\n\nc", "\ttab\r\nline"]
VALUES = [0, -7, 1.5, 1e-7, 1e16, 12345678901234567890, True, None, "ü\"\\\n\u2028", [], {}, [1, [2, {"k": "v"}]], {"b": 1, "a": 2}]


def text(rng):
    if rng.random() < 0.3:
        return rng.choice(ODD)
    return " ".join(rng.choice(WORDS) for _ in range(rng.choice([1, 3, 10, 60])))


def arguments(rng):
    value = {rng.choice("abcxyz"): rng.choice(VALUES) for _ in range(rng.randrange(4))}
    return json.dumps(value, ensure_ascii=rng.random() < 0.5) if rng.random() < 0.2 else value


def calls(rng):
    return [{"name": rng.choice(["weather", "now"]), "arguments": arguments(rng)} for _ in range(rng.choice([1, 1, 2]))]


def tools_of(rng):
    return [rng.choice([tool, tool["function"]]) for tool in rng.sample(TOOLS, rng.randrange(3))]


# ---- one record of each form

def alpaca(rng, _):
    record = {"instruction": text(rng), "input": rng.choice(["", None, text(rng)]), "output": text(rng),
              "system": rng.choice(["", None, text(rng)]),
              "history": rng.choice([None, [], [[text(rng), text(rng)] for _ in range(rng.randrange(1, 4))]])}
    return record


def sharegpt(rng, with_tools):
    messages = [{"from": "system", "value": text(rng)}] if rng.random() < 0.3 else []
    for _ in range(rng.randrange(1, 5)):
        asks = "observation" if with_tools and rng.random() < 0.3 else "human"
        messages.append({"from": asks, "value": text(rng)})
        if with_tools and rng.random() < 0.4:
            made = calls(rng)
            value = json.dumps(made if len(made) > 1 or rng.random() < 0.5 else made[0], ensure_ascii=rng.random() < 0.5)
            if rng.random() < 0.2:
                value = "<think>\nuse it\n</think>\n\n" + value
            elif rng.random() < 0.2:
                value = "I call <tool_call>" + value + "</tool_call>"
            messages.append({"from": "function_call", "value": value})
        else:
            messages.append({"from": "gpt", "value": text(rng)})
    record = {"conversations": messages, "system": rng.choice(["", None, text(rng)])}
    if with_tools:
        record["tools"] = rng.choice([None, "", json.dumps(tools_of(rng), ensure_ascii=rng.random() < 0.5)])
    return record


def openai(rng, with_tools):
    messages = [{"role": "system", "content": text(rng)}] if rng.random() < 0.3 else []
    for _ in range(rng.randrange(1, 5)):
        messages.append({"role": "user", "content": text(rng)})
        if with_tools and rng.random() < 0.5:
            messages.append({"role": "assistant", "content": rng.choice([None, "", "lost"]),
                             "tool_calls": [{"type": "function", "id": "c", "function": call} for call in calls(rng)]})
            messages += [{"role": "tool", "content": text(rng)} for _ in range(rng.randrange(1, 4))]
        messages.append({"role": "assistant", "content": text(rng)})
    record = {"messages": messages}
    if with_tools:
        record["tools"] = rng.choice([None, "", tools_of(rng), json.dumps(tools_of(rng))])
    return record


FORMS = {
    "alpaca": (alpaca, factory_rows.from_alpaca, {"prompt": "instruction", "query": "input", "response": "output",
                                                  "system": "system", "history": "history"}, None),
    "sharegpt": (sharegpt, factory_rows.from_sharegpt, {"messages": "conversations", "system": "system", "tools": "tools"},
                 None),
    "openai": (openai, factory_rows.from_openai, {"messages": "messages", "tools": "tools"},
               {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
                "observation_tag": "tool", "function_tag": "function_call", "system_tag": "system"}),
}


class Workshop:
    """A folder with one dataset and a config, and what the program makes of them."""

    def __init__(self, trainer, folder):
        self.trainer, self.folder = trainer, folder

    def write(self, records, form, kind="json"):
        columns, tags = FORMS[form][2:]
        entry = {"file_name": f"d.{kind}", "formatting": form, "columns": columns, **({"tags": tags} if tags else {})}
        (self.folder / "dataset_info.json").write_text(json.dumps({"d": entry}))
        content = json.dumps(records, ensure_ascii=False) if kind == "json" else \
            "".join(json.dumps(record) + "\n" for record in records)
        (self.folder / f"d.{kind}").write_text(content, encoding="utf-8")

    def rows(self, model, **settings):
        config = {"model_name_or_path": str(model), "dataset_dir": str(self.folder), "dataset": "d",
                  "tokenized_path": str(self.folder / "cache"), **settings}
        (self.folder / "c.yaml").write_text(yaml.safe_dump(config))
        return self.trainer.json("inspect", "--config", self.folder / "c.yaml", "--examples", "100000")


@pytest.fixture
def workshop(trainer, tmp_path):
    return Workshop(trainer, tmp_path)


MODELS = [pytest.param(TINY, id="tiny"),
          pytest.param(REAL, id="real", marks=pytest.mark.skipif(not REAL.is_dir(), reason="no real vocabulary here"))]


def compare(rows, expected_rows, tokenizer):
    kept = [pair for pair in expected_rows if not factory_rows.trains_nothing(pair[1])]
    assert len(rows) == len(kept)
    for number, (row, (ids, labels)) in enumerate(zip(rows, kept)):
        assert row["index"] == number
        assert row["input_ids"] == ids, tokenizer.decode(ids, skip_special_tokens=False)
        assert row["labels"] == labels
        assert row["text"] == tokenizer.decode(ids, skip_special_tokens=False)


SETTINGS = [
    {}, {"enable_thinking": False}, {"enable_thinking": None}, {"mask_history": True},
    {"mask_history": True, "preserve_thinking": True}, {"mask_history": True, "enable_thinking": None},
    {"train_on_prompt": True}, {"cutoff_len": 16}, {"cutoff_len": 61}, {"cutoff_len": 61, "mask_history": True},
    {"cutoff_len": 150, "mask_history": True, "enable_thinking": False}, {"default_system": "Sei kurz."},
    {"default_system": ""},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("template", ["qwen3", "qwen"])
def test_conversations(workshop, form, template):
    """Every setting on its own seed; templates that do not think ignore the settings about thinking."""
    make, convert, columns, _ = FORMS[form]
    tokenizer = tokenizers.Tokenizer.from_file(str(TINY / "tokenizer.json"))
    for seed, settings in enumerate(SETTINGS):
        rng = random.Random(f"{form} {template} {seed}")
        records = [make(rng, True) for _ in range(80)]
        workshop.write(records, form, rng.choice(["json", "jsonl"]))
        encoder = factory_rows.Encoder(tokenizer, template, **settings)
        compare(workshop.rows(TINY, template=template, **settings),
                [encoder.encode(*convert(record, columns)) for record in records], tokenizer)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("template", ["qwen", "qwen3", "qwen3_nothink", "chatml"])
def test_templates(workshop, model, template):
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    rng = random.Random(f"{template} {model.name}")
    for form in FORMS:
        make, convert, columns, _ = FORMS[form]
        records = [make(rng, template != "chatml") for _ in range(100)]
        workshop.write(records, form)
        encoder = factory_rows.Encoder(tokenizer, template, cutoff_len=300)
        compare(workshop.rows(model, template=template, cutoff_len=300),
                [encoder.encode(*convert(record, columns)) for record in records], tokenizer)


@pytest.mark.parametrize("model", MODELS)
def test_plain_text(workshop, model):
    """Text and eos in one call of the encoder, cut from the right when nothing is packed."""
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    rng = random.Random(7)
    texts = [text(rng).replace("\r", "").replace("\n", " ") for _ in range(200)]
    (workshop.folder / "d.txt").write_text("".join(line + "\n" for line in texts), encoding="utf-8")
    (workshop.folder / "dataset_info.json").write_text(json.dumps({"d": {"file_name": "d.txt", "columns": {"prompt": "text"}}}))
    for settings in ({"packing": False, "cutoff_len": 40}, {}):
        rows = workshop.rows(model, stage="pt", template="qwen", **settings)
        pairs = []
        for line in texts:
            ids = tokenizer.encode(line + "<|im_end|>", add_special_tokens=False).ids[:settings.get("cutoff_len")]
            pairs.append((ids, ids))
        compare(rows, pairs, tokenizer)


def test_csv(workshop):
    tokenizer = tokenizers.Tokenizer.from_file(str(TINY / "tokenizer.json"))
    rng = random.Random(8)
    records = [{"instruction": text(rng), "input": text(rng), "output": text(rng) or "x"} for _ in range(200)]
    with open(workshop.folder / "d.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["instruction", "input", "output"])
        writer.writeheader()
        writer.writerows(records)
    (workshop.folder / "dataset_info.json").write_text(json.dumps({"d": {"file_name": "d.csv"}}))
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    encoder = factory_rows.Encoder(tokenizer, "qwen")
    compare(workshop.rows(TINY, template="qwen"),
            [encoder.encode(*factory_rows.from_alpaca(record, columns)) for record in records], tokenizer)


def plain_words(rng):
    return " ".join(rng.choice(["hello", "World", "北京", "Straße", "12", "don't", "x = 1"]) for _ in range(rng.randrange(1, 9)))


@pytest.mark.parametrize("template", ["qwen", "qwen3_nothink"])
def test_agrees_with_the_checkpoints_template(workshop, template):
    """Where neither white space at a border nor a rule about thoughts stands between them, a whole conversation
    rendered by the checkpoint's template and encoded in one pass gives the same ids."""
    if template == "qwen" and not QWEN25.exists():
        pytest.skip("the published Qwen2.5 template is not here")
    source = QWEN25.read_text(encoding="utf-8") if template == "qwen" else QWEN3
    model = REAL if REAL.is_dir() else TINY
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    rng = random.Random(9)
    records = []
    for _ in range(200):
        messages = [{"role": "system", "content": plain_words(rng)}] if rng.random() < 0.7 else []
        for _ in range(rng.randrange(1, 4)):
            messages.append({"role": "user", "content": plain_words(rng)})
            if rng.random() < 0.4:
                made = [{"type": "function", "function": {"name": "now", "arguments": {"a": rng.choice(VALUES)}}}]
                messages.append({"role": "assistant", "content": "", "tool_calls": made})
                messages += [{"role": "tool", "content": plain_words(rng)} for _ in range(rng.randrange(1, 3))]
            messages.append({"role": "assistant", "content": plain_words(rng)})
        has_system = messages[0]["role"] == "system"
        tools = rng.choice([None, TOOLS]) if has_system or template == "qwen" else None
        records.append({"messages": messages, "tools": tools})
    workshop.write(records, "openai")
    rows = workshop.rows(model, template=template)
    assert len(rows) == len(records)
    header = "<|im_start|>assistant\n"
    for row, record in zip(rows, records):
        rendered = expected(source, record["messages"], record["tools"], thinks=False).removesuffix(header)
        assert row["text"] == rendered
        assert row["input_ids"] == tokenizer.encode(rendered, add_special_tokens=False).ids


def test_threads_and_files_give_equal_rows(workshop):
    rng = random.Random(10)
    records = [sharegpt(rng, True) for _ in range(2000)]
    workshop.write(records, "sharegpt", "json")
    one = workshop.rows(TINY, template="qwen3", threads=1)
    workshop.write(records, "sharegpt", "jsonl")
    assert workshop.rows(TINY, template="qwen3", threads=4) == one
