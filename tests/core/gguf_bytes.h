#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "core/io.h"

namespace isogrid {

/// Writes GGUF by hand, right or wrong.
class GgufBytes {
 public:
  GgufBytes& raw(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  template <typename T>
  GgufBytes& number(T value) {
    char text[sizeof(T)];
    std::memcpy(text, &value, sizeof value);
    return raw({text, sizeof text});
  }
  GgufBytes& text(std::string_view value) { return number(uint64_t{value.size()}).raw(value); }
  GgufBytes& zeros(size_t count) { return raw(std::string(count, '\0')); }
  GgufBytes& pad(size_t alignment = 32) {
    return zeros((alignment - bytes_.size() % alignment) % alignment);
  }

  GgufBytes& begin(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return raw("GGUF").number(version).number(tensors).number(keys);
  }
  template <typename T>
  GgufBytes& key(std::string_view name, uint32_t kind, T value) {
    return text(name).number(kind).number(value);
  }
  GgufBytes& text_key(std::string_view name, std::string_view value) {
    return text(name).number(uint32_t{8}).text(value);
  }
  GgufBytes& array_key(std::string_view name, uint32_t element, uint64_t count) {
    return text(name).number(uint32_t{9}).number(element).number(count);
  }
  GgufBytes& tensor(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type,
                    uint64_t offset) {
    text(name).number(static_cast<uint32_t>(dims.size()));
    for (const uint64_t size : dims) number(size);
    return number(type).number(offset);
  }

  const std::string& str() const { return bytes_; }
  ByteSpan span() const { return as_bytes(bytes_); }

 private:
  std::string bytes_;
};

}  // namespace isogrid
