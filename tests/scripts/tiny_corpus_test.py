"""The bundled data is what its scripts write, and says what it should and no more."""

import itertools
import json
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import make_tiny_corpus  # noqa: E402
import make_tiny_tokenizer  # noqa: E402


def rows(name):
    return json.loads((ROOT / "data" / name).read_text())


class TinyCorpus(unittest.TestCase):
    def assert_written(self, name, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / name
            with mock.patch.object(sys, "argv", ["", str(made), *arguments]):
                make_tiny_corpus.main()
            self.assertEqual(made.read_bytes(), (ROOT / "data" / name).read_bytes())

    def test_the_bundled_texts_are_the_ones_the_script_writes(self):
        self.assert_written("tiny_text.jsonl", "--seed", "7", "--megabytes", "0.1")
        self.assert_written("tiny_chat.json", "--seed", "8", "--pairs", "150")

    def test_the_tokenizer_is_the_one_the_script_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder) / "tokenizer.json"
            make_tiny_tokenizer.write(made)
            self.assertEqual(made.read_bytes(), (ROOT / "data/tiny/tokenizer.json").read_bytes())

    def test_who_the_assistant_is_stands_nowhere_in_it(self):
        held_out = [row["instruction"] for row in rows("zen_identity_heldout.json")]
        for body in itertools.islice(make_tiny_corpus.documents(1, 10**9), 4000):
            self.assertIsNone(re.search(r"\b(Zen|Nano)\b", body))
            for question in held_out:
                self.assertNotIn(question, body)

    def test_every_pattern_is_filled(self):
        for body in itertools.islice(make_tiny_corpus.documents(2, 10**9), 4000):
            self.assertIsNone(re.search(r"[{}$]|  |\ba [aeio]|\bNone\b", body), body)

    def test_held_out_questions_are_not_trained(self):
        trained = [row["instruction"] for row in rows("zen_identity.json")]
        self.assertGreaterEqual(len(trained), 150)
        self.assertEqual(len(set(trained)), len(trained))
        for row in rows("zen_identity_heldout.json"):
            self.assertNotIn(row["instruction"], trained)
            self.assertTrue(row["output"].isascii())


if __name__ == "__main__":
    unittest.main()
