// A safetensors file from a stranger: refused with exit code 65, or every tensor has its bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "core/finite_scan.h"
#include "core/safetensors.h"

namespace {

void check(const isogrid::SafetensorsHeader& header, isogrid::ByteSpan file) {
  uint64_t total = 0;
  for (const isogrid::TensorEntry& entry : header.tensors()) {
    if (header.find(entry.name) != &entry) std::abort();
    if (isogrid::tensor_bytes(entry.dtype, entry.shape) != entry.bytes()) std::abort();
    total += entry.bytes();
    // Out of bounds, the sanitizer speaks.
    isogrid::first_non_finite(entry.dtype,
                              file.subspan(header.data_begin() + entry.begin, entry.bytes()));
  }
  if (header.data_begin() + total != file.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const isogrid::ByteSpan file{reinterpret_cast<const std::byte*>(data), size};
  try {
    check(isogrid::parse_safetensors(file, "f"), file);
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
