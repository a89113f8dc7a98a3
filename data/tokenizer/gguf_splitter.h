#pragma once
#include "core/gguf_splitter.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {

/// The splitter a tokenizer.json asks for. `frames_text`: its post-processor puts a token in front.
/// Error 65 where the engine has none that cuts alike.
const GgufSplitter& gguf_splitter_of(const SectionFields& file, bool frames_text);

}  // namespace isogrid
