"""llama.cpp itself, through the C functions that the package xllamacpp exports.

Structs of parameters go by value and grow with every release: here they are opaque, larger than any of them, and
made by the engine's own *_default_params().
"""

import ctypes
import importlib.util
import pathlib

import numpy as np

LIBRARY = next(pathlib.Path(importlib.util.find_spec("xllamacpp").origin).parent.glob("xllamacpp*.so"))


class Opaque(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint8 * 1024)]


# Of the pinned release, in numbers of 32 bits: flash attention, the evaluation callback, types of the cache.
FLASH_ATTENTION, CALLBACK, CACHE_TYPES = 13, 22, (26, 27)


class GraphTensor(ctypes.Structure):
    """What a callback is shown."""


GraphTensor._fields_ = [
    ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(GraphTensor) * 10), ("view_src", ctypes.c_void_p), ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64)]
Watch = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.POINTER(GraphTensor), ctypes.c_bool, ctypes.c_void_p)


def exact_context(watch=None):
    """Parameters of a context whose cache is float32: what is left are the engine's products."""
    parameters = library.llama_context_default_params()
    numbers = ctypes.cast(ctypes.pointer(parameters), ctypes.POINTER(ctypes.c_int32))
    assert (numbers[FLASH_ATTENTION], *(numbers[i] for i in CACHE_TYPES)) == (-1, 1, 1), "another release"
    numbers[FLASH_ATTENTION] = 0
    for place in CACHE_TYPES:
        numbers[place] = 0
    if watch is not None:
        ctypes.cast(numbers, ctypes.POINTER(ctypes.c_void_p))[CALLBACK // 2] = ctypes.cast(watch, ctypes.c_void_p).value
    return parameters


class TokenBatch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embedding", ctypes.c_void_p),
                ("position", ctypes.POINTER(ctypes.c_int32)), ("sequences", ctypes.POINTER(ctypes.c_int32)),
                ("sequence", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("wanted", ctypes.POINTER(ctypes.c_int8))]


def load_library():
    library = ctypes.CDLL(str(LIBRARY))
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
    for name, result, *arguments in [
        ("llama_model_default_params", Opaque), ("llama_context_default_params", Opaque),
        ("llama_model_load_from_file", pointer, text, Opaque), ("llama_init_from_model", pointer, pointer, Opaque),
        ("llama_model_get_vocab", pointer, pointer), ("llama_vocab_n_tokens", integer, pointer),
        ("llama_tokenize", integer, pointer, text, integer, pointer, integer, ctypes.c_bool, ctypes.c_bool),
        ("llama_batch_init", TokenBatch, integer, integer, integer), ("llama_decode", integer, pointer, TokenBatch),
        ("llama_batch_free", None, TokenBatch),
        ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), pointer, integer),
        ("llama_free", None, pointer), ("llama_model_free", None, pointer),
        ("llama_adapter_lora_init", pointer, pointer, text),
        ("llama_set_adapters_lora", integer, pointer, pointer, ctypes.c_size_t, pointer),
        ("ggml_quantize_init", None, integer),
        ("ggml_quantize_chunk", ctypes.c_size_t, integer, pointer, pointer, ctypes.c_int64, ctypes.c_int64,
         ctypes.c_int64, pointer),
        ("ggml_op_desc", ctypes.c_char_p, ctypes.POINTER(GraphTensor)),
        ("ggml_row_size", ctypes.c_size_t, integer, ctypes.c_int64),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


library = load_library()
_said = []


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _hear(level, text, _):
    _said.append((level, text.decode(errors="replace")))


library.llama_log_set(_hear, None)
library.llama_backend_init()
WARNING, ERROR = 3, 4


class Engine:
    """One GGUF file, loaded."""

    def __init__(self, path):
        _said.clear()
        self.model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        assert self.model, "".join(text for _, text in _said[-20:])
        self.warnings = [text for level, text in _said if level in (WARNING, ERROR)]
        self.vocabulary = library.llama_model_get_vocab(self.model)
        self.size = library.llama_vocab_n_tokens(self.vocabulary)

    def close(self):
        library.llama_model_free(self.model)

    def tokenize(self, text, add_special=False):
        data = text.encode()
        room = len(data) + 16
        ids = (ctypes.c_int32 * room)()
        count = library.llama_tokenize(self.vocabulary, data, len(data), ids, room, add_special, True)
        assert count >= 0
        return list(ids[:count])

    def inputs_of_linears(self, ids):
        """{"blk.0.attn_q.weight": float32 [tokens, columns]} of one sequence."""
        seen = {}

        def look(tensor, asks, _):
            result = tensor.contents
            if not library.ggml_op_desc(tensor) == b"MUL_MAT":
                return False
            weight, inputs = result.src[0].contents, result.src[1].contents
            name = weight.name.decode()
            if not (name.startswith("blk.") and name.endswith(".weight")):
                return False
            if not asks:
                columns, rows = inputs.ne[0], inputs.ne[1]
                values = ctypes.cast(inputs.data, ctypes.POINTER(ctypes.c_float))
                seen[name] = np.ctypeslib.as_array(values, (rows, columns)).copy()
            return True

        self.logits(ids, watch=Watch(look))
        return seen

    def logits(self, ids, adapter=None, watch=None):
        """[len, vocabulary] of one sequence."""
        context = library.llama_init_from_model(self.model, exact_context(watch))
        assert context
        if adapter is not None:
            loaded = library.llama_adapter_lora_init(self.model, str(adapter).encode())
            assert loaded, "".join(text for _, text in _said[-10:])
            scale = ctypes.c_float(1.0)
            held = ctypes.c_void_p(loaded)
            assert library.llama_set_adapters_lora(context, ctypes.byref(held), 1, ctypes.byref(scale)) == 0
        batch = library.llama_batch_init(len(ids), 0, 1)
        batch.count = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.position[place], batch.wanted[place] = token, place, 1
            batch.sequences[place] = 1
            batch.sequence[place][0] = 0
        assert library.llama_decode(context, batch) == 0
        rows = [np.ctypeslib.as_array(library.llama_get_logits_ith(context, row), (self.size,)).copy()
                for row in range(len(ids))]
        library.llama_batch_free(batch)
        library.llama_free(context)
        return np.stack(rows)


def quantised(type_id, values, importance=None):
    """The blocks llama.cpp makes of float32 rows."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    rows, columns = values.shape
    blocks = np.empty(rows * library.ggml_row_size(type_id, columns), dtype=np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    library.ggml_quantize_init(type_id)
    used = library.ggml_quantize_chunk(type_id, values.ctypes.data, blocks.ctypes.data, 0, rows, columns,
                                       None if weights is None else weights.ctypes.data)
    assert used == blocks.size
    return blocks


def rms_ratio(ours, theirs):
    """How far apart, as a part of what is told apart."""
    return float(np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean()))
