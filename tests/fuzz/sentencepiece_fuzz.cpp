// A tokenizer.model from a stranger: refused with exit code 65, or it encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "data/tokenizer/sentencepiece.h"
#include "data/tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using isogrid::Json;
  const std::string_view model(reinterpret_cast<const char*>(data), size);
  try {
    const isogrid::Tokenizer tokenizer(
        isogrid::read_sentencepiece(model, "tokenizer.model", Json(), Json()));
    for (const char* text : {"ab \xC3\xA9 <s>\n  a", "\xFF\xE2\x96\x81zz"})
      tokenizer.decode(tokenizer.encode_with_specials(text));
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
