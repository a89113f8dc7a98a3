#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf.h"
#include "core/io_writer.h"

namespace isogrid {

/// The keys of a GGUF file to be, in the order they are added. A key added twice keeps its first
/// place and takes the later value.
class GgufMetadata {
 public:
  void add(std::string_view key, uint16_t value);
  void add(std::string_view key, uint32_t value);
  void add(std::string_view key, int32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }
  void add(std::string_view key, std::span<const std::string> values);
  void add(std::string_view key, std::span<const int32_t> values);
  void add(std::string_view key, std::span<const float> values);
  /// As it stands in another file.
  void add(const GgufValue& value);
  void remove(std::string_view key);
  bool has(std::string_view key) const;

  uint64_t count() const { return entries_.size(); }
  std::string bytes() const;

 private:
  struct Entry {
    std::string key;
    std::string value;  // kind and bytes
  };
  void put(std::string_view key, std::string value);

  std::vector<Entry> entries_;
};

/// Where everything goes in a file, decided before a byte is written.
struct GgufLayout {
  std::string header;               // everything before the data, padding included
  std::vector<GgufTensor> tensors;  // in file order, sizes and offsets filled in
  uint64_t file_size = 0;
};

/// `tensors` need name, type, dims and rank and keep their order.
GgufLayout plan_gguf(const GgufMetadata& metadata, std::vector<GgufTensor> tensors);

/// Called once for each tensor in file order; appends exactly its bytes.
using GgufProducer = std::function<void(const GgufTensor&, OutputFile&)>;

void append_gguf(OutputFile& file, const GgufLayout& layout, const GgufProducer& produce);

}  // namespace isogrid
