#include "data/tokenizer/sentencepiece.h"

#include "core/error.h"

namespace isogrid {

std::shared_ptr<TokenizerParts> read_sentencepiece_folder(const std::filesystem::path& folder) {
  fail(ExitCode::refused_input, folder.string(), ": SentencePiece");
}

}  // namespace isogrid
