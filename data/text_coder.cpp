#include "data/text_coder.h"

#include "core/gguf_folder.h"
#include "core/hash.h"
#include "data/tokenizer/limits.h"

namespace isogrid {

TextCoder open_text_coder(const std::string& folder) {
  const auto directory = open_model_directory(folder);
  const InputDirectory& files = *directory;
  TextCoder coder{.tokenizer = Tokenizer::load(folder), .edges = {}, .sha256 = {}};
  coder.edges = read_edge_texts(files, coder.tokenizer);
  const std::string name = files.has("tokenizer.json") ? "tokenizer.json" : "tokenizer.model";
  coder.sha256 = to_hex(sha256(as_bytes(files.read(name, kTokenizerFileBytes))));
  return coder;
}

}  // namespace isogrid
