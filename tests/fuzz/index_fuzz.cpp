// A shard index from a stranger: refused with exit code 65, or every file in it has a plain name.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "models/weight_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto index =
        isogrid::parse_shard_index({reinterpret_cast<const char*>(data), size}, "index.json");
    for (const auto& [tensor, file] : index.file_of)
      if (!isogrid::is_plain_file_name(file) || !isogrid::is_tensor_name(tensor)) std::abort();
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
