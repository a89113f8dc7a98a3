#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/io.h"

namespace isogrid {

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;  // row-major; empty for a scalar
  uint64_t begin = 0;          // bytes from the start of the data section
  uint64_t end = 0;

  uint64_t bytes() const { return end - begin; }
};

/// Bytes of a tensor of this shape; nothing if that does not fit 63 bits or is no whole number of
/// bytes. Zero dimensions count as one for the overflow check, so that strides are safe too.
std::optional<uint64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape);

using SafetensorsMetadata = std::map<std::string, std::string>;

/// The checked header of one file. The tensors tile the data section exactly.
class SafetensorsHeader {
 public:
  SafetensorsHeader(std::vector<TensorEntry> tensors, SafetensorsMetadata metadata,
                    uint64_t data_begin);

  const std::vector<TensorEntry>& tensors() const { return tensors_; }  // in the header's order
  const SafetensorsMetadata& metadata() const { return metadata_; }
  uint64_t data_begin() const { return data_begin_; }  // offset of the data section in the file
  const TensorEntry* find(std::string_view name) const;
  /// A name that two tensors have, or null.
  const std::string* duplicate_name() const;

 private:
  std::vector<TensorEntry> tensors_;
  std::vector<uint32_t> by_name_;  // sorted
  SafetensorsMetadata metadata_;
  uint64_t data_begin_;
};

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;
inline constexpr uint64_t kMaxTensors = 1'000'000;
inline constexpr size_t kMaxTensorName = 1024;
inline constexpr size_t kMaxTensorRank = 8;

/// Checks a whole file (header and size of the data) under the rules above; anything else is
/// refused with exit code 65 and a message naming `name`, tensor and field.
SafetensorsHeader parse_safetensors(ByteSpan file, const std::string& name);

/// UTF-8 without control characters, at most 1,024 bytes.
bool is_tensor_name(std::string_view name);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  SafetensorsFile(const FileDescriptor& file, const std::string& name);

  const SafetensorsHeader& header() const { return header_; }
  const std::string& name() const { return mapping_.name(); }
  uint64_t file_size() const { return mapping_.bytes().size(); }
  ByteSpan bytes(const TensorEntry& entry) const {
    return mapping_.bytes().subspan(header_.data_begin() + entry.begin, entry.bytes());
  }

 private:
  MappedFile mapping_;
  SafetensorsHeader header_;
};

}  // namespace isogrid
