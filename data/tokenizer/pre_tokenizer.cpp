#include "data/tokenizer/pre_tokenizer.h"

#include "core/error.h"

namespace isogrid {

void replace_all(std::string_view text, std::string_view from, std::string_view to, size_t most,
                 std::string& out) {
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string_view::npos; at = hit + from.size()) {
    if (out.size() > most)
      fail(ExitCode::refused_input, "the tokenizer's replacements make more than ", most,
           " bytes of a text or token");
    out.append(text, at, hit - at).append(to);
  }
  out.append(text, at);
}

}  // namespace isogrid
