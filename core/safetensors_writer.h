#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "core/safetensors.h"

namespace isogrid {

/// Where everything goes in a safetensors file, decided before a byte is written. Tensors by
/// descending dtype, then by name; equal input gives equal bytes, whatever order it came in.
struct SafetensorsLayout {
  std::string header;                // length field, JSON, padding
  std::vector<TensorEntry> tensors;  // in file order, offsets filled in
  uint64_t file_size = 0;
};

/// `tensors` need name, dtype and shape. The same name twice, or a shape whose size does not fit,
/// is an internal error: it is our own mistake.
SafetensorsLayout plan_safetensors(std::vector<TensorEntry> tensors,
                                   const SafetensorsMetadata& metadata = {{"format", "pt"}});

/// Called once for each tensor in file order; appends exactly its bytes.
using TensorProducer = std::function<void(const TensorEntry&, OutputFile&)>;

void append_safetensors(OutputFile& file, const SafetensorsLayout& layout,
                        const TensorProducer& produce);
WrittenFile write_safetensors(const std::string& path, const SafetensorsLayout& layout,
                              const TensorProducer& produce, IoCalls& io = IoCalls::system());

}  // namespace isogrid
