#pragma once
#include <cstdint>
#include <string>

namespace isogrid {

/// A safetensors file from its JSON and data, its length field true unless given.
inline std::string safetensors_bytes(const std::string& json, const std::string& data = "") {
  std::string file;
  for (int i = 0; i < 8; ++i)
    file += static_cast<char>(static_cast<uint64_t>(json.size()) >> (8 * i) & 0xff);
  return file + json + data;
}

inline std::string length_field(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes;
}

}  // namespace isogrid
