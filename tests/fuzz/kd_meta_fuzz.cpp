// meta.json of a teacher's cache from a stranger: refused with exit code 65, or numbers whose
// products fit.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "data/kd_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const isogrid::KdMeta meta =
        isogrid::parse_kd_meta({reinterpret_cast<const char*>(data), size}, "meta.json");
    if (meta.shards() < 1 || meta.end_document(meta.shards() - 1) != meta.documents) std::abort();
    if (meta.top_k > meta.vocabulary || meta.bytes_per_label() == 0) std::abort();
  } catch (const isogrid::Error& error) {
    if (error.code() != isogrid::ExitCode::refused_input) std::abort();
  }
  return 0;
}
