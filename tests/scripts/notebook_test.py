"""The notebook is one that a notebook server opens, and its cells are Python."""

import json
import pathlib
import unittest

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "colab.ipynb"


class Notebook(unittest.TestCase):
    def test_its_cells_are_whole(self):
        notebook = json.loads(PATH.read_text())
        self.assertEqual(notebook["nbformat"], 4)
        for cell in notebook["cells"]:
            self.assertIn(cell["cell_type"], ("markdown", "code"))
            self.assertIsInstance(cell["metadata"], dict)
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                self.assertEqual((cell["outputs"], cell["execution_count"]), ([], None))
                compile(source, "cell", "exec")


if __name__ == "__main__":
    unittest.main()
