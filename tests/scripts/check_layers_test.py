"""Each rule of scripts/check_layers finds what it is there for, and nothing else."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "check_layers"
HEADER = "#pragma once\n"


def findings(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, str(SCRIPT), folder], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if ": note: " not in line]
    assert done.returncode == (1 if lines else 0), (done.returncode, done.stdout, done.stderr)
    return lines


class CheckLayers(unittest.TestCase):
    def assert_clean(self, files):
        self.assertEqual(findings(files), [])

    def assert_found(self, files, place):
        found = findings(files)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(place + ": "), found)

    def test_a_folder_includes_what_lies_below_it(self):
        self.assert_clean({"models/a.cpp": '#include "models/a.h"\n#include "quant/b.h"\n#include "core/error.h"\n'})

    def test_a_folder_does_not_include_what_lies_above_it(self):
        self.assert_found({"core/a.cpp": '#include "core/a.h"\n#include "models/b.h"\n'}, "core/a.cpp:2")

    def test_of_data_the_models_see_the_batch_alone(self):
        self.assert_clean({"models/a.cpp": '#include "data/batch.h"\n'})
        self.assert_found({"models/a.cpp": '#include "data/rows.h"\n'}, "models/a.cpp:1")

    def test_of_data_the_exporters_see_the_tokenizer_alone(self):
        self.assert_clean({"export/a.cpp": '#include "data/tokenizer.h"\n'})
        self.assert_found({"export/a.cpp": '#include "data/rows.h"\n'}, "export/a.cpp:1")

    def test_the_trainer_knows_no_quantisation_and_its_commands_know_everything(self):
        self.assert_found({"trainer/step.cpp": '#include "quant/registry.h"\n'}, "trainer/step.cpp:1")
        self.assert_found({"trainer/loss/a.cpp": '#include "export/registry.h"\n'}, "trainer/loss/a.cpp:1")
        self.assert_clean({"trainer/main.cpp": '#include "export/registry.h"\n',
                           "trainer/commands/a.cpp": '#include "calibrate/gptq.h"\n'})

    def test_a_library_does_not_include_a_command(self):
        self.assert_found({"trainer/step.cpp": '#include "trainer/commands/a.h"\n'}, "trainer/step.cpp:1")

    def test_kernels_and_cu_files_see_no_libtorch(self):
        self.assert_found({"kernels/a.cpp": "#include <ATen/core/Tensor.h>\n"}, "kernels/a.cpp:1")
        self.assert_found({"quant/a.cu": "#include <c10/util/Half.h>\n"}, "quant/a.cu:1")

    def test_umbrella_headers_are_found_everywhere_and_heavy_ones_in_headers(self):
        self.assert_found({"models/a.cpp": "#include <torch/torch.h>\n"}, "models/a.cpp:1")
        self.assert_found({"models/a.h": HEADER + "#include <ATen/ATen.h>\n"}, "models/a.h:2")
        self.assert_clean({"models/a.cpp": "#include <torch/csrc/autograd/custom_function.h>\n"})

    def test_backtracking_and_pickle_are_found(self):
        self.assert_found({"data/a.cpp": "std::regex pattern;\n"}, "data/a.cpp:1")
        self.assert_found({"models/a.cpp": "auto x = torch::jit::load(path);\n"}, "models/a.cpp:1")

    def test_includes_start_at_the_root(self):
        self.assert_found({"core/a.cpp": '#include "error.h"\n'}, "core/a.cpp:1")

    def test_a_header_guards_itself(self):
        self.assert_found({"core/a.h": "int f();\n"}, "core/a.h:1")

    def test_a_file_has_at_most_400_lines(self):
        self.assert_clean({"core/a.cpp": "\n" * 400})
        self.assert_found({"core/a.cpp": "\n" * 401}, "core/a.cpp:1")

    def test_paths_of_one_machine_are_found_in_every_text(self):
        home = "/" + "home/ada/models"
        self.assert_found({"docs/a.md": f"Run it on {home}.\n"}, "docs/a.md:1")
        self.assert_clean({"docs/a.md": "In ~/work/models or https://example.org/home/page.\n"})


if __name__ == "__main__":
    unittest.main()
