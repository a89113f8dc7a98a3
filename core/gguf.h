#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_types.h"
#include "core/io.h"

namespace isogrid {

/// Types of metadata values, by their number in the file.
enum class GgufKind : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64,
};
const char* gguf_kind_name(GgufKind kind);  // "u32"
uint64_t gguf_kind_bytes(GgufKind kind);    // of one value; 0 for strings and arrays

/// One checked metadata value: a view of the file's bytes.
struct GgufValue {
  std::string_view key;
  GgufKind kind = GgufKind::u8;
  GgufKind element = GgufKind::u8;  // of an array
  uint64_t count = 1;               // elements of an array
  ByteSpan bytes;                   // of the value, of the text of a string, of all elements

  bool is_integer() const;
  std::optional<uint64_t> natural() const;  // an integer of any width, zero or more
  std::optional<double> number() const;     // any integer or real
  std::optional<bool> boolean() const;
  std::optional<std::string_view> text() const;
  std::vector<std::string_view> texts() const;  // of an array of strings; else empty
  std::vector<double> numbers() const;          // of an array of numbers; else empty
};

struct GgufTensor {
  std::string name;
  const GgufType* type = nullptr;
  std::array<int64_t, 4> dims{1, 1, 1, 1};  // fastest first, as in the file
  uint32_t rank = 0;
  uint64_t begin = 0;  // bytes from the start of the data section
  uint64_t bytes = 0;

  std::vector<int64_t> shape() const;  // row-major: [out, in]
  int64_t columns() const { return dims[0]; }
  int64_t rows() const { return dims[1] * dims[2] * dims[3]; }
};

/// Bytes of a tensor; nothing if rows are no whole blocks, a dimension is not positive, or the
/// size does not fit 63 bits.
std::optional<uint64_t> gguf_tensor_bytes(const GgufTensor& tensor);

inline constexpr uint64_t kMaxGgufTensors = 1'000'000;
inline constexpr uint64_t kMaxGgufKeys = 100'000;
inline constexpr uint64_t kMaxGgufKey = 65'535;
inline constexpr uint64_t kMaxGgufTensorName = 63;  // llama.cpp keeps 64 bytes
inline constexpr uint64_t kDefaultGgufAlignment = 32;

/// The checked beginning of one file. It views the bytes it was read from.
class GgufHeader {
 public:
  GgufHeader(std::string name, std::vector<GgufValue> values, std::vector<GgufTensor> tensors,
             uint64_t data_begin, uint64_t alignment);

  const std::string& name() const { return name_; }                    // the file, for messages
  const std::vector<GgufValue>& values() const { return values_; }     // in the file's order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in the file's order
  uint64_t data_begin() const { return data_begin_; }
  uint64_t alignment() const { return alignment_; }
  const GgufValue* find(std::string_view key) const;
  const GgufTensor* find_tensor(std::string_view tensor) const;

  /// Values that must or may be there; one of another type is refused (65).
  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::string text(std::string_view key) const;
  uint64_t natural(std::string_view key) const;
  double number(std::string_view key) const;
  std::string text_or(std::string_view key, std::string fallback) const;
  uint64_t natural_or(std::string_view key, uint64_t fallback) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  [[noreturn]] void refuse(std::string_view key, const std::string& allowed) const;

 private:
  const GgufValue& wanted(std::string_view key, const char* allowed) const;

  std::string name_;
  std::vector<GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::vector<uint32_t> values_by_key_, tensors_by_name_;  // sorted
  uint64_t data_begin_;
  uint64_t alignment_;
};

/// Checks a whole file of version 2 or 3: every count and length against the bytes that are there,
/// every number before it becomes a type, names for doubles, and that the tensors tile the data in
/// the file's order. Anything else is refused (65) with `name` and the field.
GgufHeader parse_gguf(ByteSpan file, const std::string& name);

/// Does a file begin like GGUF?
bool begins_like_gguf(ByteSpan beginning);
/// The same of a path, or it is named like one. Missing: exit code 66.
bool is_gguf_file(const std::string& path);

class GgufFile {
 public:
  explicit GgufFile(const std::string& path);
  GgufFile(const FileDescriptor& file, const std::string& name);

  const GgufHeader& header() const { return header_; }
  const std::string& name() const { return mapping_.name(); }
  ByteSpan file_bytes() const { return mapping_.bytes(); }
  uint64_t file_size() const { return mapping_.bytes().size(); }
  ByteSpan bytes(const GgufTensor& tensor) const {
    return mapping_.bytes().subspan(header_.data_begin() + tensor.begin, tensor.bytes);
  }

 private:
  MappedFile mapping_;
  GgufHeader header_;
};

}  // namespace isogrid
