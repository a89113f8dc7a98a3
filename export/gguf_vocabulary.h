#pragma once
#include "core/gguf_writer.h"
#include "models/folder.h"

namespace isogrid {

/// The tokenizer.* keys of a model's folder, as llama.cpp's converter writes them. `vocabulary` is
/// the config's vocab_size: ids without a token become unused ones. Error 65 for a tokenizer that
/// GGUF cannot tell.
void add_vocabulary(const ModelFolder& folder, int64_t vocabulary, GgufMetadata& metadata);

}  // namespace isogrid
