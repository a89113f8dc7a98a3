"""llama.cpp's own converter on a folder: python llama_converter.py ROOT FOLDER OUT TYPE SPLITTER

A process of its own, because the converter brings its own reader of GGUF. SPLITTER: it knows tokenizers of the
hub by a hash of what they make of a text; those of the tests are not among them.
"""

import pathlib
import sys

root, folder, out, kind, splitter = sys.argv[1:]
sys.path[:0] = [root, root + "/gguf-py"]

import conversion  # noqa: E402
import conversion.base as base  # noqa: E402
import gguf  # noqa: E402
import torch  # noqa: E402

types = gguf.LlamaFileType
file_type = {"f32": types.ALL_F32, "f16": types.MOSTLY_F16, "bf16": types.MOSTLY_BF16, "q8_0": types.MOSTLY_Q8_0}[kind]
settings = base.ModelBase.load_hparams(pathlib.Path(folder), False)
model = conversion.get_model_class(base.get_model_architecture(settings, base.ModelType.TEXT))
model.get_vocab_base_pre = lambda self, tokenizer: splitter
with torch.inference_mode():
    model(pathlib.Path(folder), file_type, pathlib.Path(out)).write()
