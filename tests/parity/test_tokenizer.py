"""`trainer tokenize` against Hugging Face tokenizers: every id of every string must be equal.

The strings are seeded and built to hit the joints: classes of characters, white space of every
kind, marks in any order, special tokens whole and broken. The vocabulary of Qwen2 is used when the
shared reference folder is there, else tokenizers are trained on the spot.
"""
import functools
import json
import os
import pathlib
import random
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,  # noqa: E402
                        pre_tokenizers, processors, trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINER = os.environ.get("ISOGRID_TRAINER", str(ROOT / "build/bin/trainer"))
SHARED = pathlib.Path(os.environ.get("ISOGRID_SHARED", ROOT.parent / "shared"))
QWEN = SHARED / "reference/qwen2-tokenizer"

QWEN_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3_PATTERN = QWEN_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|")
QWEN35_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
                  r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K_PATTERN = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
                  r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
WORD = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K_PATTERN = (WORD + "*" + SMALL + r"+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|" + WORD + "+" + SMALL +
                 r"*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
                 r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN_PATTERN = (WORD + "*" + SMALL + "+|" + WORD + "+" + SMALL +
                  r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


# ---- texts

SPACES = list(" \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
              "\u180e\ufeff\u200b\x1c\x1f")
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'Ve", "'m", "'ll", "'lL", "'d", "'\u017f", "'",
                "''", "\u2019s", "'x", "'l", "'r"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>",
            "<|im_start", "|im_end|>", "<|", "|>", "<", "<|fim_prefix|>", "<|<|im_end|>|>",
            "<tool_call", "<|IM_END|>", "<mark>", "[odd]", "  [odd]  ", "naïve", "nai\u0308ve",
            "foo", "foofoo", "food"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "❤️", "1️⃣"]
CODE = ["def f(x):\n\treturn x**2  # sq\n", "for (int i = 0; i < n; ++i) {\r\n    a[i] = 0x1F;\r\n}",
        "SELECT * FROM t WHERE a='b';", "    if x:\n        pass\n\n\n", "https://a.b/c?d=e&f=%20#g",
        "printf(\"%d\\n\", 3.14e-10);", "<div class=\"x\">&nbsp;</div>", "\\begin{align*} \\alpha_1^2"]
WORDS = ["hello", "World", "HTTPServer", "iPhone", "straße", "ÀÉÎ", "мир", "Привет", "世界", "你好",
         "日本語", "カタカナ", "한국어", "العربية", "עברית", "ไทย", "हिन्दी", "ǅ", "ʰ", "ﬁ", "Ⅳ", "½"]


def any_code_point(rng):
    while True:
        kind = rng.random()
        top = 0x100 if kind < 0.2 else 0x3000 if kind < 0.7 else 0x20000 if kind < 0.95 else 0x110000
        code = rng.randrange(top)
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def part(rng):
    kind = rng.randrange(14)
    if kind == 0:
        return rng.choice(SPACES) * rng.choice([1, 1, 2, 5, 17])
    if kind == 1:
        return "".join(rng.choice(SPACES) for _ in range(rng.randrange(1, 6)))
    if kind == 2:
        return rng.choice(CONTRACTIONS)
    if kind == 3:
        return rng.choice(SPECIALS)
    if kind == 4:
        return rng.choice(EMOJI)
    if kind == 5:
        return rng.choice(CODE)
    if kind == 6:
        return str(rng.randrange(10 ** rng.randrange(1, 12)))
    if kind == 7:
        return "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(1, 6)))
    if kind == 8:
        return rng.choice("aeo한ㄱ") + "".join(
            chr(rng.choice([0x1100, 0x1161, 0x11A7, 0x11A8, 0x345, 0x301, 0x327, 0xAC00, 0x0F71,
                            0x0F74, 0x3099, 0x0338, 0x1D165, 0x1D16E, 0x06E1, 0x0653, 0x10D24]) +
                rng.randrange(3)) for _ in range(rng.randrange(1, 5)))
    if kind in (9, 10):
        return "".join(any_code_point(rng) for _ in range(rng.randrange(1, 8)))
    if kind == 11:
        return "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randrange(1, 9)))
    return rng.choice(["", " ", "-", ""]) + rng.choice(WORDS)


def texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(part(rng) for _ in range(rng.randrange(0, 9)))


def long_texts():
    rng = random.Random(5)
    yield ""
    for unit in [" ", "\n", "a", "\u0301", "é", "<", "<|im_start", "ab", "1", "'", " a", "\u3000"]:
        yield unit * 2000
    yield "".join(chr(rng.choice([0x301, 0x327, 0x345, 0x334, 0x591])) for _ in range(5000))
    yield "".join(rng.choice("ab \n\u0301") for _ in range(4000))
    yield "".join(chr(c) for c in range(0, 0x3400, 3))


def source_texts():
    for path in sorted((ROOT / "scripts").glob("*.py")) + sorted((ROOT / "data").glob("**/*.cpp")):
        yield path.read_text(encoding="utf-8")


# ---- the two sides

def run_trainer(folder, lines, *flags):
    done = subprocess.run([TRAINER, "tokenize", "--model_name_or_path", str(folder), *flags],
                          input="".join(json.dumps(line) + "\n" for line in lines).encode(),
                          capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]


def compare_ids(folder, strings):
    strings = list(strings)
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = [e.ids for e in theirs.encode_batch(strings, add_special_tokens=False)]
    ours = run_trainer(folder, strings)
    assert len(ours) == len(expected)
    wrong = [i for i, (a, b) in enumerate(zip(ours, expected)) if a != b]
    assert not wrong, (f"{len(wrong)} of {len(strings)} differ; the first: {strings[wrong[0]]!r}\n"
                       f"ours   {ours[wrong[0]]}\ntheirs {expected[wrong[0]]}")


def compare_decoding(folder, count, seed):
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    top = max(theirs.get_vocab(with_added_tokens=True).values()) + 1
    rng = random.Random(seed)
    rows = [[rng.randrange(top if rng.random() < 0.9 else top + 50)
             for _ in range(rng.randrange(12))] for _ in range(count)]
    bytes_of = [theirs.token_to_id(t) for t in (f"<0x{b:02X}>" for b in range(256))]
    if None not in bytes_of:
        rows += [[rng.choice(bytes_of) if rng.random() < 0.8 else rng.randrange(top)
                  for _ in range(rng.randrange(12))] for _ in range(count)]
    else:
        rows += [[rng.randrange(256) for _ in range(rng.randrange(12))] for _ in range(count)]
    expected = [theirs.decode(row, skip_special_tokens=False) for row in rows]
    ours = run_trainer(folder, rows, "--decode")
    for row, a, b in zip(rows, ours, expected):
        assert a == b, row


def check(folder, count, seed):
    compare_ids(folder, [*texts(count, seed), *long_texts()])
    compare_decoding(folder, max(200, count // 20), seed)


# ---- the tokenizers

@functools.lru_cache
def corpus():
    words = list(texts(3000, 1))
    return words + list(source_texts())[:40]


def train(folder, *, pre, normalizer=None, decoder=None, post=None, added=(), byte_level=True,
          size=1500, model=None, edit=None):
    tokenizer = Tokenizer(models.BPE(**(model or {})))
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet,
                                  special_tokens=(["<unk>", "<s>", "</s>"] +
                                                  ([] if byte_level else
                                                   [f"<0x{b:02X}>" for b in range(256)])))
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.decoder = decoder or decoders.ByteLevel()
    if post:
        tokenizer.post_processor = post
    tokenizer.add_tokens(list(added))
    text = tokenizer.to_str()
    if edit:
        data = json.loads(text)
        edit(data)
        text = json.dumps(data)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return folder


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior, invert),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False,
                                                             use_regex=False)])


def chat_tokens():
    return [AddedToken(t, normalized=False, special=True)
            for t in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]]


def odd_tokens():
    return chat_tokens() + [
        AddedToken("<tool_call>", normalized=False),
        AddedToken("[odd]", lstrip=True, rstrip=True, normalized=False),
        AddedToken("<mark>", lstrip=True, normalized=True),
        AddedToken("foo", single_word=True, normalized=False),
        AddedToken("food", single_word=True, rstrip=True, normalized=True),
        AddedToken("nai\u0308ve", normalized=True),
        AddedToken(" x", normalized=False), AddedToken("\n\n", rstrip=True, normalized=False),
        AddedToken("ʰ", normalized=True), AddedToken("Ġ", normalized=False)]


def legacy_merges(data):
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]


def ignore_merges(data):
    data["model"]["ignore_merges"] = True


def metaspace_decoder():
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                              decoders.Strip(" ", 1, 0)])


LLAMA2_MODEL = dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
STYLES = {
    "qwen": dict(pre=split(QWEN_PATTERN), normalizer=normalizers.NFC(), added=chat_tokens()),
    "llama3": dict(pre=split(LLAMA3_PATTERN), added=chat_tokens(), edit=ignore_merges,
                   post=processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])),
    "gpt2": dict(pre=pre_tokenizers.ByteLevel(add_prefix_space=False), edit=legacy_merges),
    "gpt2_prefix": dict(pre=pre_tokenizers.ByteLevel(add_prefix_space=True), added=odd_tokens()),
    "smollm": dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    "digits_prefix": dict(pre=pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)])),
    "qwen35": dict(pre=split(QWEN35_PATTERN), normalizer=normalizers.NFC()),
    "cl100k": dict(pre=split(CL100K_PATTERN, "removed", True)),
    "o200k": dict(pre=split(O200K_PATTERN), added=chat_tokens()),
    "tekken": dict(pre=split(TEKKEN_PATTERN)),
    "odd_tokens": dict(pre=split(QWEN_PATTERN), normalizer=normalizers.NFC(), added=odd_tokens()),
    "nfd": dict(pre=split(QWEN_PATTERN), normalizer=normalizers.NFD(), added=odd_tokens()),
    "letters_removed": dict(pre=split(r"\p{L}+", "removed")),
    "letters_contiguous": dict(pre=split(r"\p{L}+|\p{N}", "contiguous")),
    "spaces_previous": dict(pre=split(r"\s+", "merged_with_previous")),
    "numbers_previous": dict(pre=split(r"\p{N}", "merged_with_previous")),
    "numbers_next": dict(pre=split(r"\p{N}", "merged_with_next")),
    "gaps_next": dict(pre=split(r"\p{N}", "merged_with_next", True)),
    "no_unk": dict(pre=split(QWEN_PATTERN), byte_level=False, size=700),
    "llama2": dict(pre=pre_tokenizers.Metaspace("▁", "always", False), byte_level=False,
                   decoder=metaspace_decoder(), model=LLAMA2_MODEL, added=odd_tokens()),
    "llama2_first": dict(pre=pre_tokenizers.Metaspace("▁", "first", False), byte_level=False,
                         decoder=metaspace_decoder(), model=LLAMA2_MODEL, added=odd_tokens()),
    "llama2_normalizer": dict(
        pre=pre_tokenizers.Split(" ", "merged_with_previous"), byte_level=False,
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=metaspace_decoder(), model=LLAMA2_MODEL, added=odd_tokens()),
    "metaspace_split": dict(pre=pre_tokenizers.Metaspace(), byte_level=False,
                            decoder=decoders.Metaspace(), model=dict(unk_token="<unk>")),
    "unk_not_fused": dict(pre=pre_tokenizers.Metaspace("▁", "never", True), byte_level=False,
                          decoder=decoders.Metaspace("▁", "never", True), size=400,
                          model=dict(unk_token="<unk>", fuse_unk=False)),
}


@pytest.mark.skipif(not QWEN.exists(), reason="the shared reference folder is not there")
@pytest.mark.parametrize("seed", range(4))
def test_qwen_ids(seed):
    compare_ids(QWEN, texts(50_000, 100 + seed))


@pytest.mark.skipif(not QWEN.exists(), reason="the shared reference folder is not there")
def test_qwen_long_texts_and_decoding():
    compare_ids(QWEN, [*long_texts(), *source_texts()])
    compare_decoding(QWEN, 5000, 9)


@pytest.mark.skipif(QWEN.exists(), reason="the real vocabulary is used")
@pytest.mark.parametrize("seed", range(4))
def test_qwen_ids_without_the_real_vocabulary(tmp_path, seed):
    compare_ids(train(tmp_path, size=4000, **STYLES["qwen"]), texts(50_000, 100 + seed))


@pytest.mark.parametrize("style", STYLES)
def test_style(tmp_path, style):
    check(train(tmp_path, **STYLES[style]), 1500, 3)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_style_at_length(tmp_path, style):
    folder = train(tmp_path, **STYLES[style])
    check(folder, 20_000, 4)
    compare_ids(folder, source_texts())


def test_every_code_point_between_letters(tmp_path):
    folder = train(tmp_path, **STYLES["odd_tokens"])
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    compare_ids(folder, ("".join(f"a{chr(c)}foo{chr(c)} {chr(c)}1 " for c in codes[i:i + 64])
                         for i in range(0, len(codes), 64)))


def test_every_pair_of_marks_is_normalised(tmp_path):
    folder = train(tmp_path, **STYLES["qwen"])
    normal = normalizers.NFD()
    pieces = sorted({c for code in range(0x30000) if not 0xD800 <= code < 0xE000
                     for c in normal.normalize_str(chr(code)) if normal.normalize_str(chr(code)) != chr(code)})
    rng = random.Random(4)
    compare_ids(folder, ("".join(rng.choice(pieces) for _ in range(8)) for _ in range(20_000)))


# ---- SentencePiece models, as the Llama tokenizer of transformers reads them

TOKEN = dict(lstrip=False, rstrip=False, single_word=False)
LLAMA_CONFIGS = {
    "none": None,
    "bos": dict(add_bos_token=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>"),
    "legacy": dict(legacy=True, add_eos_token=True),
    "no_bos": dict(legacy=False, add_bos_token=False),
    "added": dict(legacy=False, pad_token="<pad>", added_tokens_decoder={
        "0": dict(TOKEN, content="<unk>", normalized=True, special=True),
        "1": dict(TOKEN, content="<s>", normalized=False, special=True),
        "2": dict(TOKEN, content="</s>", normalized=False, special=True),
        "{n}": dict(TOKEN, content="<new>", normalized=True, special=False),
        "{m}": dict(TOKEN, content="<pad>", normalized=False, special=True, lstrip=True)}),
}


@functools.lru_cache
def sentencepiece_model(folder):
    spm = pytest.importorskip("sentencepiece")
    lines = [line for text in corpus() for line in text.splitlines()
             if line.strip() and all(ord(c) < 0x180 for c in line)]
    (folder / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "tokenizer"), vocab_size=2000,
        model_type="bpe", byte_fallback=True, split_digits=True, character_coverage=0.99,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, max_sentence_length=100000, minloglevel=2,
        user_defined_symbols=["<tool_call>", "[usr]"], control_symbols=["<ctl>"])
    return (folder / "tokenizer.model").read_bytes()


@pytest.mark.parametrize("name", LLAMA_CONFIGS)
def test_sentencepiece_like_the_llama_tokenizer(tmp_path, tmp_path_factory, name):
    transformers = pytest.importorskip("transformers")
    model = sentencepiece_model(tmp_path_factory.getbasetemp())
    (tmp_path / "tokenizer.model").write_bytes(model)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    if LLAMA_CONFIGS[name] is not None:
        text = json.dumps(dict(LLAMA_CONFIGS[name], tokenizer_class="LlamaTokenizer"))
        text = text.replace("{n}", "2000").replace("{m}", "2001")
        (tmp_path / "tokenizer_config.json").write_text(text)
    theirs = transformers.LlamaTokenizer.from_pretrained(tmp_path).backend_tokenizer
    marks = ["<s>", "<unk>", "</s>", "<ctl>", "<new>", " <pad> ", "[usr]", "<0x41>", "\u2581", "  "]
    rng = random.Random(6)
    strings = [t + rng.choice(marks) + t[:5] for t in texts(2000, 8)] + ["", " ", "  a", "\u2581b"]
    ours = run_trainer(tmp_path, strings)
    for text, a in zip(strings, ours):
        assert a == theirs.encode(text, add_special_tokens=False).ids, text
    rows = [ids[1:] if rng.random() < 0.2 else ids for ids in ours]
    rows += [[rng.randrange(2005) for _ in range(8)] for _ in range(500)]
    rows += [[rng.randrange(6, 262) for _ in range(8)] for _ in range(500)]
    for row, a in zip(rows, run_trainer(tmp_path, rows, "--decode")):
        assert a == theirs.decode(row, skip_special_tokens=False), row


def test_malformed_lines_are_refused_with_their_number(tmp_path):
    folder = train(tmp_path, **STYLES["gpt2"])
    for bad in [b'"\\ud800"', b'"a', b"a", b'"a" "b"', b"", b"[1]", b'"\xff"']:
        done = subprocess.run([TRAINER, "tokenize", "--model_name_or_path", str(folder)],
                              input=b'"fine"\n' + bad + b"\n", capture_output=True)
        assert done.returncode == 65 and b":2:" in done.stderr, (bad, done.stderr)
