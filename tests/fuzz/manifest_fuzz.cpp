// A manifest from a stranger: refused with exit code 65, or plain names with hashes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "core/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto manifest =
        isogrid::parse_manifest({reinterpret_cast<const char*>(data), size}, "MANIFEST.json");
    for (const auto& [name, file] : manifest.files)
      if (!isogrid::is_plain_file_name(name) || file.sha256.size() != 64) std::abort();
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
