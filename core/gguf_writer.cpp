#include "core/gguf_writer.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/safetensors.h"

namespace isogrid {
namespace {

constexpr uint32_t kVersion = 3;

template <typename T>
void append_number(std::string& to, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);
  to.append(bytes, sizeof bytes);
}

void append_string(std::string& to, std::string_view text) {
  append_number(to, uint64_t{text.size()});
  to += text;
}

std::string begun(GgufKind kind) {
  std::string value;
  append_number(value, static_cast<uint32_t>(kind));
  return value;
}

std::string begun_array(GgufKind element, uint64_t count) {
  std::string value = begun(GgufKind::array);
  append_number(value, static_cast<uint32_t>(element));
  append_number(value, count);
  return value;
}

template <typename T>
std::string scalar(GgufKind kind, T number) {
  std::string value = begun(kind);
  append_number(value, number);
  return value;
}

template <typename T>
std::string number_array(GgufKind element, std::span<const T> numbers) {
  std::string value = begun_array(element, numbers.size());
  value += as_text(std::as_bytes(numbers));
  return value;
}

uint64_t padding_behind(uint64_t place) {
  return (kDefaultGgufAlignment - place % kDefaultGgufAlignment) % kDefaultGgufAlignment;
}

}  // namespace

void GgufMetadata::put(std::string_view key, std::string value) {
  if (key.empty() || key.size() > kMaxGgufKey)
    fail(ExitCode::internal, "a GGUF key of ", key.size(), " bytes");
  for (Entry& entry : entries_)
    if (entry.key == key) {
      entry.value = std::move(value);
      return;
    }
  entries_.push_back({std::string(key), std::move(value)});
}

void GgufMetadata::add(std::string_view key, uint16_t value) {
  put(key, scalar(GgufKind::u16, value));
}
void GgufMetadata::add(std::string_view key, uint32_t value) {
  put(key, scalar(GgufKind::u32, value));
}
void GgufMetadata::add(std::string_view key, int32_t value) {
  put(key, scalar(GgufKind::i32, value));
}
void GgufMetadata::add(std::string_view key, float value) {
  put(key, scalar(GgufKind::f32, value));
}
void GgufMetadata::add(std::string_view key, bool value) {
  put(key, scalar(GgufKind::boolean, static_cast<uint8_t>(value)));
}
void GgufMetadata::add(std::string_view key, std::string_view value) {
  std::string bytes = begun(GgufKind::string);
  append_string(bytes, value);
  put(key, std::move(bytes));
}
void GgufMetadata::add(std::string_view key, std::span<const std::string> values) {
  std::string bytes = begun_array(GgufKind::string, values.size());
  for (const std::string& value : values) append_string(bytes, value);
  put(key, std::move(bytes));
}
void GgufMetadata::add(std::string_view key, std::span<const int32_t> values) {
  put(key, number_array(GgufKind::i32, values));
}
void GgufMetadata::add(std::string_view key, std::span<const float> values) {
  put(key, number_array(GgufKind::f32, values));
}
void GgufMetadata::add(const GgufValue& value) {
  std::string bytes =
      value.kind == GgufKind::array ? begun_array(value.element, value.count) : begun(value.kind);
  if (value.kind == GgufKind::string)
    append_string(bytes, as_text(value.bytes));
  else
    bytes += as_text(value.bytes);
  put(value.key, std::move(bytes));
}

void GgufMetadata::remove(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}

bool GgufMetadata::has(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.key == key; });
}

std::string GgufMetadata::bytes() const {
  std::string all;
  for (const Entry& entry : entries_) {
    append_string(all, entry.key);
    all += entry.value;
  }
  return all;
}

GgufLayout plan_gguf(const GgufMetadata& metadata, std::vector<GgufTensor> tensors) {
  GgufLayout layout;
  std::string& header = layout.header;
  header = "GGUF";
  append_number(header, kVersion);
  append_number(header, uint64_t{tensors.size()});
  append_number(header, metadata.count());
  header += metadata.bytes();
  uint64_t place = 0;
  for (GgufTensor& tensor : tensors) {
    const auto bytes = gguf_tensor_bytes(tensor);
    if (!bytes || tensor.rank < 1 || tensor.name.empty() || !is_tensor_name(tensor.name) ||
        tensor.name.size() > kMaxGgufTensorName)
      fail(ExitCode::internal, "tensor '", tensor.name, "' cannot be stored as GGUF");
    tensor.begin = place;
    tensor.bytes = *bytes;
    append_string(header, tensor.name);
    append_number(header, tensor.rank);
    for (uint32_t i = 0; i < tensor.rank; ++i)
      append_number(header, static_cast<uint64_t>(tensor.dims[i]));
    append_number(header, tensor.type->id);
    append_number(header, tensor.begin);
    if (__builtin_add_overflow(place, tensor.bytes, &place) || place >> 62 != 0)
      fail(ExitCode::internal, "tensor '", tensor.name, "': the file would exceed 2^62 bytes");
    place += padding_behind(place);
  }
  header.append(padding_behind(header.size()), '\0');
  layout.tensors = std::move(tensors);
  layout.file_size = header.size() + place;
  return layout;
}

void append_gguf(OutputFile& file, const GgufLayout& layout, const GgufProducer& produce) {
  const uint64_t start = file.bytes_so_far() + layout.header.size();
  file.append(as_bytes(layout.header));
  for (const GgufTensor& tensor : layout.tensors) {
    produce(tensor, file);
    const uint64_t came = file.bytes_so_far() - start - tensor.begin;
    if (came != tensor.bytes)
      fail(ExitCode::internal, "tensor '", tensor.name, "': ", came, " bytes produced, ",
           tensor.bytes, " announced");
    file.append(as_bytes(std::string(padding_behind(file.bytes_so_far() - start), '\0')));
  }
}

}  // namespace isogrid
