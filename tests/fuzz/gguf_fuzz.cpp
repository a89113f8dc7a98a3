// A GGUF file from a stranger: refused with exit code 65, or every tensor has its bytes, and what
// it says of a model, a tokenizer or an importance matrix is read without harm.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "core/gguf.h"
#include "core/gguf_config.h"
#include "core/gguf_tokenizer.h"
#include "core/imatrix_file.h"
#include "core/log.h"
#include "data/tokenizer/tokenizer.h"

namespace {

/// Runs one reader; only refusals are expected of it.
template <typename Read>
bool reads(Read read) {
  try {
    read();
    return true;
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
    return false;
  }
}

void check(const isogrid::GgufHeader& header, isogrid::ByteSpan file) {
  unsigned sum = 0;
  for (const isogrid::GgufTensor& tensor : header.tensors()) {
    if (header.find_tensor(tensor.name) != &tensor) std::abort();
    if (isogrid::gguf_tensor_bytes(tensor) != tensor.bytes) std::abort();
    // Out of bounds, the sanitizer speaks.
    for (const std::byte each : file.subspan(header.data_begin() + tensor.begin, tensor.bytes))
      sum += static_cast<unsigned>(each);
  }
  for (const isogrid::GgufValue& value : header.values()) {
    if (header.find(value.key) != &value) std::abort();
    sum += static_cast<unsigned>(value.texts().size() + value.numbers().size());
    if (const auto text = value.text()) sum += static_cast<unsigned>(text->size());
  }
  [[maybe_unused]] static volatile unsigned kept;
  kept = sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  isogrid::set_log_level(isogrid::LogLevel::error);
  const isogrid::ByteSpan file{reinterpret_cast<const std::byte*>(data), size};
  reads([&] { isogrid::parse_imatrix(file, "f"); });
  reads([&] {
    const isogrid::GgufHeader header = isogrid::parse_gguf(file, "f");
    check(header, file);
    reads([&] { isogrid::gguf_model_config(header, file).dump(); });
    reads([&] { isogrid::gguf_generation_config(header).dump(); });
    if (!isogrid::has_gguf_tokenizer(header)) return;
    reads([&] { isogrid::gguf_tokenizer_config(header).dump(); });
    reads([&] {
      const std::string json = isogrid::gguf_tokenizer_json(header);
      const auto tokenizer = isogrid::Tokenizer::from_json({json.data(), json.size()}, "t");
      tokenizer.decode(tokenizer.encode_with_specials("It's 2024 <|im_end|>\n"));
    });
  });
  return 0;
}
