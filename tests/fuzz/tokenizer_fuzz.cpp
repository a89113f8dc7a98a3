// A tokenizer.json from a stranger: refused with exit code 65, or it encodes and decodes any text
// without harm, the same in one go and as a stream.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "data/tokenizer/stream_decoder.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/utf8.h"

namespace {

constexpr const char* kTexts[] = {
    "It's 2024, WE'LL see: \t\n\n  na\xC3\xAFve e\xCC\x81\xCC\xA3 <|im_start|> \xF0\x9F\x98\x80!",
    "\xFF\xC3 <x> abc ab a\xE2\x96\x81 \xE3\x80\x80 \xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"};

void use(const isogrid::Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode_with_specials(text);
  const std::string whole = tokenizer.decode(ids);
  if (isogrid::utf8_valid_until(whole) != whole.size()) std::abort();
  isogrid::StreamDecoder decoder(tokenizer);
  std::string parts;
  for (const int32_t id : ids) decoder.push(id, parts);
  decoder.finish(parts);
  if (parts != whole) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isogrid::set_log_level(isogrid::LogLevel::error);
  const std::string json(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = isogrid::Tokenizer::from_json(json, "tokenizer.json");
    for (const char* text : kTexts) use(tokenizer, text);
    use(tokenizer, json.substr(0, 512));
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
