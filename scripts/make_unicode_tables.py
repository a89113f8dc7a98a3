#!/usr/bin/env python3
"""Writes data/tokenizer/unicode_tables.inc: what Hugging Face tokenizers takes each code point for.

The package is asked about every code point, because its parts disagree on the Unicode version: the
splitting patterns, the word test of added tokens and the normal forms each carry their own tables.
Needs the `tokenizers` package; run it again when that package changes its mind.
"""
import pathlib
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# The order is that of the bits in data/tokenizer/unicode_classes.h.
PATTERNS = [r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"\s"]


def regex_members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))}


def digit_members():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str("a" + chr(c))) == 2}


def word_members():
    """A single-word token is found after a code point unless that is a word character."""
    tokenizer = Tokenizer(models.BPE(vocab={"<u>": 0}, merges=[], unk_token="<u>"))
    tokenizer.add_tokens([AddedToken("!x!", single_word=True, normalized=False)])
    found = tokenizer.token_to_id("!x!")
    return {c for c in CODE_POINTS if found not in tokenizer.encode(chr(c) + "!x!").ids}


def class_ranges():
    # Digits has a bit of its own: that pre-tokeniser knows more numbers than \p{N} of the patterns.
    sets = [regex_members(p) for p in PATTERNS] + [word_members(), digit_members()]
    ranges = []
    for code in range(0x110000):
        bits = sum(1 << i for i, members in enumerate(sets) if code in members)
        if ranges and ranges[-1][1] == bits:
            continue
        ranges.append((code, bits))
    return ranges


def decompositions():
    """One step of the canonical decomposition: (code point, first, second or 0)."""
    nfd = normalizers.NFD()
    rows = []
    for code in CODE_POINTS:
        if 0xAC00 <= code < 0xAC00 + 11172 or nfd.normalize_str(chr(code)) == chr(code):
            continue
        parts = [int(p, 16) for p in unicodedata.decomposition(chr(code)).split()]
        rows.append((code, parts[0], parts[1] if len(parts) > 1 else 0))
    return rows


def combining_classes():
    """Code points that move behind U+0345 (class 240) or in front of it when decomposed."""
    nfd = normalizers.NFD()
    ranges = []
    for code in CODE_POINTS:
        order = unicodedata.combining(chr(code))
        if order == 0:
            continue
        low = nfd.normalize_str("a\u0345" + chr(code)) != "a\u0345" + chr(code)
        high = nfd.normalize_str("a" + chr(code) + "\u0334") != "a" + chr(code) + "\u0334"
        if not low and not high and order != 1:
            continue  # newer than the package's normal forms
        if ranges and ranges[-1][1] + 1 == code and ranges[-1][2] == order:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, order])
    return ranges


def compositions(rows):
    """Indices of the decompositions that NFC takes back."""
    nfc = normalizers.NFC()
    return [second != 0 and nfc.normalize_str(chr(first) + chr(second)) == chr(code)
            for code, first, second in rows]


def table(name, kind, rows):
    out, line = [f"constexpr {kind} {name}[] = {{"], "   "
    for row in rows:
        text = " {" + ", ".join(str(v) if v < 10 else hex(v) for v in row) + "},"
        if len(line) + len(text) > 100:
            out.append(line)
            line = "   "
        line += text
    return out + [line, "};", ""]


def main():
    target = pathlib.Path(__file__).resolve().parent.parent / "data/tokenizer/unicode_tables.inc"
    rows = decompositions()
    keeps = compositions(rows)
    lines = [f"// Written by scripts/make_unicode_tables.py from tokenizers {tokenizers.__version__}.", ""]
    lines += ["// From this code point on, until the next row: these class bits."]
    lines += table("kClassRanges", "ClassRange", class_ranges())
    lines += ["// Code point, first and second part (0: none), whether NFC puts them together again."]
    lines += table("kDecompositions", "Decomposition", [r + (int(k),) for r, k in zip(rows, keeps)])
    lines += ["// First, last, canonical combining class."]
    lines += table("kCombiningRanges", "CombiningRange", combining_classes())
    target.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
