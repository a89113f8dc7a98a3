#include "core/gguf.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/foreign_files.h"
#include "core/safetensors.h"
#include "core/utf8.h"

namespace isogrid {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kLeastAlignment = 8, kMostAlignment = 4096;
// A key, its kind and one byte; a name, its rank, one dimension, type and offset.
constexpr uint64_t kShortestValue = 8 + 1 + 4 + 1, kShortestTensor = 8 + 1 + 4 + 8 + 4 + 8;

/// Takes the file apart front to back; whatever is asked for must be there.
class GgufReader {
 public:
  GgufReader(ByteSpan file, const std::string& name) : file_(file), name_(name) {}

  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ExitCode::refused_input, name_, ": ", parts...);
  }

  uint64_t left() const { return file_.size() - at_; }
  uint64_t at() const { return at_; }

  ByteSpan take(uint64_t bytes, std::string_view field) {
    if (bytes > left())
      refuse(field, ": needs ", bytes, " bytes, but only ", left(),
             " follow; is the file cut off?");
    const ByteSpan taken = file_.subspan(at_, bytes);
    at_ += bytes;
    return taken;
  }
  template <typename T>
  T number(std::string_view field) {
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }
  ByteSpan string(std::string_view field) {
    const uint64_t length = number<uint64_t>(field);
    return take(length, field);
  }
  /// A count of things of at least `least` bytes each.
  uint64_t count(std::string_view field, uint64_t most, uint64_t least) {
    const uint64_t value = number<uint64_t>(field);
    if (value > most) refuse(field, ": came ", value, ", allowed are ", most);
    if (value > left() / least)
      refuse(field, ": came ", value, ", but the ", left(), " bytes that follow cannot hold them");
    return value;
  }
  GgufKind kind(const std::string& field) {
    const uint32_t value = number<uint32_t>(field);
    if (value > static_cast<uint32_t>(GgufKind::f64))
      refuse(field, ": type: came ", value, ", allowed are 0 to 12");
    return static_cast<GgufKind>(value);
  }

 private:
  ByteSpan file_;
  const std::string& name_;
  uint64_t at_ = 0;
};

void check_beginning(GgufReader& reader, ByteSpan file) {
  if (!begins_like_gguf(file)) reader.refuse("magic: the file does not begin with 'GGUF'");
  reader.take(kMagic.size(), "magic");
  const auto version = reader.number<uint32_t>("version");
  if (version == 0x02000000 || version == 0x03000000)
    reader.refuse("version: the file is big-endian; convert it on the machine it came from");
  if (version != 2 && version != 3)
    reader.refuse("version: came ", version, ", allowed are 2 and 3",
                  version == 1 ? " (files of 2023 must be made again)" : "");
}

/// An array's elements, walked where they have lengths of their own.
void read_array(GgufReader& reader, const std::string& field, GgufValue& value) {
  value.element = reader.kind(field + ": element");
  if (value.element == GgufKind::array) reader.refuse(field, ": arrays of arrays are not allowed");
  const bool strings = value.element == GgufKind::string;
  const uint64_t size = strings ? sizeof(uint64_t) : gguf_kind_bytes(value.element);
  value.count = reader.count(field + ": length", UINT64_MAX, size);
  if (!strings) {
    value.bytes = reader.take(value.count * size, field);
    if (value.element == GgufKind::boolean)
      for (const std::byte each : value.bytes)
        if (each > std::byte{1}) reader.refuse(field, ": a bool is neither 0 nor 1");
    return;
  }
  GgufReader start = reader;
  const uint64_t begin = reader.at();
  for (uint64_t i = 0; i < value.count; ++i) reader.string(field);
  value.bytes = start.take(reader.at() - begin, field);
}

GgufValue read_value(GgufReader& reader, uint64_t index) {
  GgufValue value;
  const std::string place = concat("key ", index);
  const uint64_t length = reader.number<uint64_t>(place);
  if (length == 0 || length > kMaxGgufKey)
    reader.refuse(place, ": its name has ", length, " bytes, allowed are 1 to ", kMaxGgufKey);
  value.key = as_text(reader.take(length, place));
  const std::string field = "key '" + shown_text(value.key) + "'";
  value.kind = reader.kind(field);
  if (value.kind == GgufKind::array) {
    read_array(reader, field, value);
  } else if (value.kind == GgufKind::string) {
    value.bytes = reader.string(field);
  } else {
    value.bytes = reader.take(gguf_kind_bytes(value.kind), field);
    if (value.kind == GgufKind::boolean && value.bytes[0] > std::byte{1})
      reader.refuse(field, ": a bool is neither 0 nor 1");
  }
  return value;
}

GgufTensor read_tensor(GgufReader& reader, uint64_t index) {
  GgufTensor tensor;
  const std::string place = concat("tensor ", index);
  const uint64_t length = reader.number<uint64_t>(place + ": name");
  if (length == 0 || length > kMaxGgufTensorName)
    reader.refuse(place, ": name: has ", length, " bytes, allowed are 1 to ", kMaxGgufTensorName);
  tensor.name = as_text(reader.take(length, place + ": name"));
  if (!is_tensor_name(tensor.name)) reader.refuse(place, ": name: holds control characters");
  if (!is_utf8(tensor.name)) reader.refuse(place, ": name: is no UTF-8");
  const std::string field = "tensor '" + tensor.name + "'";
  tensor.rank = reader.number<uint32_t>(field + ": n_dims");
  if (tensor.rank < 1 || tensor.rank > tensor.dims.size())
    reader.refuse(field, ": n_dims: came ", tensor.rank, ", allowed are 1 to 4");
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    const auto size = reader.number<uint64_t>(field + ": dims");
    if (size == 0 || size > uint64_t{INT64_MAX})
      reader.refuse(field, ": dims[", i, "]: came ", size, ", allowed are 1 to 2^63 - 1");
    tensor.dims[i] = static_cast<int64_t>(size);
  }
  const auto id = reader.number<uint32_t>(field + ": type");
  tensor.type = find_gguf_type(id);
  if (tensor.type == nullptr) reader.refuse(field, ": type: came ", id, ", which is not known");
  const auto bytes = gguf_tensor_bytes(tensor);
  if (!bytes && tensor.dims[0] % tensor.type->block != 0)
    reader.refuse(field, ": dims[0]: came ", tensor.dims[0], ", ", tensor.type->name,
                  " needs a multiple of ", tensor.type->block);
  if (!bytes) reader.refuse(field, ": dims: its size does not fit 63 bits");
  tensor.bytes = *bytes;
  tensor.begin = reader.number<uint64_t>(field + ": offset");
  return tensor;
}

/// By name; refuses doubles.
template <typename Item, typename Name>
void refuse_doubles(const GgufReader& reader, const std::vector<Item>& items,
                    const std::vector<uint32_t>& order, Name name, const char* what) {
  for (size_t i = 1; i < order.size(); ++i)
    if (name(items[order[i - 1]]) == name(items[order[i]]))
      reader.refuse(what, " '", shown_text(name(items[order[i]])), "' appears twice");
}

template <typename Item, typename Name>
std::vector<uint32_t> sorted_order(const std::vector<Item>& items, Name name) {
  std::vector<uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return name(items[a]) < name(items[b]); });
  return order;
}

std::string_view key_of(const GgufValue& value) { return value.key; }
std::string_view name_of(const GgufTensor& tensor) { return tensor.name; }

uint64_t alignment_of(const GgufReader& reader, const std::vector<GgufValue>& values) {
  for (const GgufValue& value : values) {
    if (value.key != "general.alignment") continue;
    if (value.kind != GgufKind::u32)
      reader.refuse("key 'general.alignment': came ", gguf_kind_name(value.kind),
                    ", allowed is u32");
    const uint64_t alignment = *value.natural();
    if (alignment < kLeastAlignment || alignment > kMostAlignment ||
        (alignment & (alignment - 1)) != 0)
      reader.refuse("key 'general.alignment': came ", alignment,
                    ", allowed are powers of two from 8 to 4096");
    return alignment;
  }
  return kDefaultGgufAlignment;
}

/// The data begins at the next multiple and every tensor at the next one behind the one before it.
/// Behind the last tensor nothing follows but its padding, which some writers leave out.
uint64_t check_layout(GgufReader& reader, const std::vector<GgufTensor>& tensors,
                      uint64_t alignment) {
  const uint64_t padding = (alignment - reader.at() % alignment) % alignment;
  if (tensors.empty()) {
    if (reader.left() > padding)
      reader.refuse("data: ", reader.left(), " bytes follow, but there is no tensor");
    return reader.at();
  }
  reader.take(padding, "padding before the data");
  const uint64_t size = reader.left();
  uint64_t place = 0;
  for (const GgufTensor& tensor : tensors) {
    if (tensor.begin != place)
      reader.refuse("tensor '", tensor.name, "': offset: came ", tensor.begin, ", expected is ",
                    place, ": tensors follow each other, padded to ", alignment, " bytes");
    if (place > size || tensor.bytes > size - place)
      reader.refuse("tensor '", tensor.name, "': offset: its ", tensor.bytes, " bytes end ",
                    tensor.bytes - (size - std::min(place, size)),
                    " bytes behind the end of the file; is the file cut off?");
    place += tensor.bytes;
    place += (alignment - place % alignment) % alignment;
  }
  if (size > place)
    reader.refuse("data: ", size - place, " bytes follow the last tensor, '", tensors.back().name,
                  "'");
  return reader.at();
}

const FileDescriptor& native_gguf(const FileDescriptor& file, const std::string& name) {
  refuse_foreign_file(file, name);
  return file;
}

}  // namespace

std::vector<int64_t> GgufTensor::shape() const { return {dims.rend() - rank, dims.rend()}; }

std::optional<uint64_t> gguf_tensor_bytes(const GgufTensor& tensor) {
  if (std::any_of(tensor.dims.begin(), tensor.dims.end(), [](int64_t size) { return size < 1; }))
    return std::nullopt;
  // The number of elements must fit as well, whatever few bits each has.
  uint64_t elements = 1;
  for (const int64_t size : tensor.dims)
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements)) return {};
  if (elements >> 63 != 0) return std::nullopt;
  auto bytes = tensor.type->row_bytes(static_cast<uint64_t>(tensor.dims[0]));
  if (!bytes) return std::nullopt;
  const uint64_t rows = elements / static_cast<uint64_t>(tensor.dims[0]);
  if (__builtin_mul_overflow(*bytes, rows, &*bytes) || *bytes >> 62 != 0) return std::nullopt;
  return bytes;
}

bool begins_like_gguf(ByteSpan beginning) {
  return beginning.size() >= kMagic.size() &&
         as_text(beginning.subspan(0, kMagic.size())) == kMagic;
}

bool is_gguf_file(const std::string& path) {
  if (path.ends_with(".gguf")) return true;
  return begins_like_gguf(MappedFile(path).bytes());
}

GgufHeader::GgufHeader(std::string name, std::vector<GgufValue> values,
                       std::vector<GgufTensor> tensors, uint64_t data_begin, uint64_t alignment)
    : name_(std::move(name)),
      values_(std::move(values)),
      tensors_(std::move(tensors)),
      values_by_key_(sorted_order(values_, key_of)),
      tensors_by_name_(sorted_order(tensors_, name_of)),
      data_begin_(data_begin),
      alignment_(alignment) {}

const GgufValue* GgufHeader::find(std::string_view key) const {
  const auto found =
      std::lower_bound(values_by_key_.begin(), values_by_key_.end(), key,
                       [this](uint32_t i, std::string_view k) { return values_[i].key < k; });
  return found != values_by_key_.end() && values_[*found].key == key ? &values_[*found] : nullptr;
}

const GgufTensor* GgufHeader::find_tensor(std::string_view tensor) const {
  const auto found =
      std::lower_bound(tensors_by_name_.begin(), tensors_by_name_.end(), tensor,
                       [this](uint32_t i, std::string_view n) { return tensors_[i].name < n; });
  return found != tensors_by_name_.end() && tensors_[*found].name == tensor ? &tensors_[*found]
                                                                            : nullptr;
}

GgufHeader parse_gguf(ByteSpan file, const std::string& name) {
  GgufReader reader(file, name);
  check_beginning(reader, file);
  const uint64_t tensor_count = reader.count("tensor count", kMaxGgufTensors, kShortestTensor);
  const uint64_t value_count = reader.count("key count", kMaxGgufKeys, kShortestValue);
  std::vector<GgufValue> values;
  values.reserve(value_count);
  for (uint64_t i = 0; i < value_count; ++i) values.push_back(read_value(reader, i));
  refuse_doubles(reader, values, sorted_order(values, key_of), key_of, "key");
  const uint64_t alignment = alignment_of(reader, values);
  if (tensor_count > reader.left() / kShortestTensor)
    reader.refuse("tensor count: came ", tensor_count, ", but the ", reader.left(),
                  " bytes behind the keys cannot hold them");
  std::vector<GgufTensor> tensors;
  tensors.reserve(tensor_count);
  for (uint64_t i = 0; i < tensor_count; ++i) tensors.push_back(read_tensor(reader, i));
  refuse_doubles(reader, tensors, sorted_order(tensors, name_of), name_of, "tensor");
  const uint64_t data_begin = check_layout(reader, tensors, alignment);
  return {name, std::move(values), std::move(tensors), data_begin, alignment};
}

GgufFile::GgufFile(const std::string& path) : GgufFile(open_regular_file(path), path) {}

GgufFile::GgufFile(const FileDescriptor& file, const std::string& name)
    : mapping_(native_gguf(file, name), name), header_(parse_gguf(mapping_.bytes(), name)) {}

}  // namespace isogrid
