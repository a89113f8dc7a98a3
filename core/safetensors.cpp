#include "core/safetensors.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/foreign_files.h"
#include "core/json_reader.h"

namespace isogrid {
namespace {

constexpr uint64_t kLengthField = 8;
/// `"":{"dtype":"U8","shape":[],"data_offsets":[0,0]},` bounds how many tensors a header can hold.
constexpr uint64_t kShortestEntry = 50;

uint64_t read_header_length(ByteSpan file, const std::string& name) {
  if (file.size() < kLengthField)
    fail(ExitCode::refused_input, name, ": header length: the file has ", file.size(),
         " bytes, a safetensors file has at least 8");
  uint64_t length = 0;
  for (size_t i = kLengthField; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(file[i]);
  if (length > kMaxSafetensorsHeader)
    fail(ExitCode::refused_input, name, ": header length: came ", length, " bytes, allowed are ",
         kMaxSafetensorsHeader);
  if (length > file.size() - kLengthField)
    fail(ExitCode::refused_input, name, ": header length: came ", length, " bytes, but only ",
         file.size() - kLengthField, " follow; is the file cut off?");
  return length;
}

Dtype read_dtype(JsonReader& reader, const std::string& tensor) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::string)
    reader.refuse("tensor '", tensor, "': dtype: came ", describe(kind), ", allowed are ",
                  all_dtype_names());
  const std::string_view name = reader.string();
  const std::optional<Dtype> dtype = find_dtype(name);
  if (!dtype)
    reader.refuse("tensor '", tensor, "': dtype: came '", name.substr(0, 40), "', allowed are ",
                  all_dtype_names());
  return *dtype;
}

std::vector<int64_t> read_shape(JsonReader& reader, const std::string& tensor) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::array)
    reader.refuse("tensor '", tensor, "': shape: came ", describe(kind), ", allowed is an array");
  std::vector<int64_t> shape;
  reader.begin_array();
  while (reader.next_element()) {
    if (shape.size() == kMaxTensorRank)
      reader.refuse("tensor '", tensor, "': shape: allowed are ", kMaxTensorRank, " dimensions");
    const uint64_t size = reader.natural("shape");
    if (size > uint64_t{std::numeric_limits<int64_t>::max()})
      reader.refuse("tensor '", tensor, "': shape: came ", size, ", which is more than 2^63 - 1");
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

void read_offsets(JsonReader& reader, TensorEntry& entry) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::array)
    reader.refuse("tensor '", entry.name, "': data_offsets: came ", describe(kind),
                  ", allowed is [begin, end]");
  size_t count = 0;
  reader.begin_array();
  while (reader.next_element()) {
    if (count == 2) reader.refuse("tensor '", entry.name, "': data_offsets: more than two numbers");
    (count++ == 0 ? entry.begin : entry.end) = reader.natural("data_offsets");
  }
  if (count != 2)
    reader.refuse("tensor '", entry.name, "': data_offsets: came ", count,
                  " numbers, allowed are 2");
  if (entry.begin > entry.end)
    reader.refuse("tensor '", entry.name, "': data_offsets: begin ", entry.begin,
                  " lies behind end ", entry.end);
}

void check_size(const JsonReader& reader, const TensorEntry& entry) {
  const std::optional<uint64_t> bytes = tensor_bytes(entry.dtype, entry.shape);
  if (!bytes)
    reader.refuse("tensor '", entry.name, "': shape: its size in ", dtype_name(entry.dtype),
                  " is no whole number of bytes below 2^63");
  if (*bytes != entry.bytes())
    reader.refuse("tensor '", entry.name, "': data_offsets: came ", entry.bytes(),
                  " bytes, its shape and dtype need ", *bytes);
}

TensorEntry read_entry(JsonReader& reader, std::string name) {
  TensorEntry entry{.name = std::move(name), .shape = {}};
  bool has_dtype = false, has_shape = false, has_offsets = false;
  const auto once = [&](bool& seen, std::string_view key) {
    if (std::exchange(seen, true))
      reader.refuse("tensor '", entry.name, "': key '", key, "' appears twice");
  };
  if (const JsonKind kind = reader.peek(); kind != JsonKind::object)
    reader.refuse("tensor '", entry.name, "': came ", describe(kind),
                  ", allowed is an object of dtype, shape and data_offsets");
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (key == "dtype") {
      once(has_dtype, key);
      entry.dtype = read_dtype(reader, entry.name);
    } else if (key == "shape") {
      once(has_shape, key);
      entry.shape = read_shape(reader, entry.name);
    } else if (key == "data_offsets") {
      once(has_offsets, key);
      read_offsets(reader, entry);
    } else {
      reader.refuse("tensor '", entry.name, "': key '", key.substr(0, 40),
                    "': allowed are dtype, shape and data_offsets");
    }
  }
  const char* missing = !has_dtype     ? "dtype"
                        : !has_shape   ? "shape"
                        : !has_offsets ? "data_offsets"
                                       : nullptr;
  if (missing != nullptr) reader.refuse("tensor '", entry.name, "': ", missing, " is missing");
  check_size(reader, entry);
  return entry;
}

SafetensorsMetadata read_metadata(JsonReader& reader) {
  if (const JsonKind kind = reader.peek(); kind != JsonKind::object)
    reader.refuse("__metadata__: came ", describe(kind), ", allowed is an object of strings");
  SafetensorsMetadata metadata;
  reader.begin_object();
  for (std::string_view view; reader.next_key(view);) {
    const std::string key(view);
    if (metadata.contains(key)) reader.refuse("__metadata__: key '", key, "' appears twice");
    if (const JsonKind kind = reader.peek(); kind != JsonKind::string)
      reader.refuse("__metadata__: key '", key, "': came ", describe(kind),
                    ", allowed is a string");
    metadata.emplace(key, reader.string());
  }
  return metadata;
}

/// In the order of their offsets the tensors must follow each other without gap or overlap.
void check_coverage(const std::vector<TensorEntry>& tensors, uint64_t data_bytes,
                    const std::string& name) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto earlier = [&](uint32_t a, uint32_t b) {
    return std::pair(tensors[a].begin, tensors[a].end) <
           std::pair(tensors[b].begin, tensors[b].end);
  };
  if (!std::is_sorted(order.begin(), order.end(), earlier))
    std::sort(order.begin(), order.end(), earlier);
  uint64_t covered = 0;
  for (const uint32_t i : order) {
    if (tensors[i].begin != covered)
      fail(ExitCode::refused_input, name, ": tensor '", tensors[i].name,
           "': data_offsets: begins at ", tensors[i].begin, ", which ",
           tensors[i].begin < covered ? "overlaps" : "leaves a hole after",
           " the data before it, ending at ", covered);
    covered = tensors[i].end;
  }
  if (covered != data_bytes)
    fail(ExitCode::refused_input, name, ": data_offsets: the tensors end at ", covered,
         ", the data in the file at ", data_bytes,
         covered > data_bytes ? "; is the file cut off?" : "");
}

/// The file itself, unless it is something that must not be opened at all.
const FileDescriptor& native(const FileDescriptor& file, const std::string& name) {
  refuse_foreign_file(file, name);
  return file;
}

}  // namespace

std::optional<uint64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape) {
  uint64_t bits = dtype_bits(dtype);
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    empty = empty || size == 0;
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(std::max<int64_t>(size, 1)), &bits))
      return std::nullopt;
  }
  if (empty) return 0;
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

bool is_tensor_name(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return name.size() <= kMaxTensorName && std::none_of(name.begin(), name.end(), is_control);
}

SafetensorsHeader::SafetensorsHeader(std::vector<TensorEntry> tensors, SafetensorsMetadata metadata,
                                     uint64_t data_begin)
    : tensors_(std::move(tensors)),
      by_name_(tensors_.size()),
      metadata_(std::move(metadata)),
      data_begin_(data_begin) {
  std::iota(by_name_.begin(), by_name_.end(), 0U);
  std::sort(by_name_.begin(), by_name_.end(),
            [this](uint32_t a, uint32_t b) { return tensors_[a].name < tensors_[b].name; });
}

const TensorEntry* SafetensorsHeader::find(std::string_view name) const {
  const auto found = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](uint32_t i, std::string_view wanted) { return tensors_[i].name < wanted; });
  if (found == by_name_.end() || tensors_[*found].name != name) return nullptr;
  return &tensors_[*found];
}

const std::string* SafetensorsHeader::duplicate_name() const {
  const auto found = std::adjacent_find(
      by_name_.begin(), by_name_.end(),
      [this](uint32_t a, uint32_t b) { return tensors_[a].name == tensors_[b].name; });
  return found == by_name_.end() ? nullptr : &tensors_[*found].name;
}

SafetensorsHeader parse_safetensors(ByteSpan file, const std::string& name) {
  const uint64_t length = read_header_length(file, name);
  const std::string_view json = as_text(file.subspan(kLengthField, length));
  if (json.empty() || json.front() != '{')
    fail(ExitCode::refused_input, name, ": header: must be JSON that starts with '{'");
  JsonReader reader(json, name + ":header", /*max_depth=*/3);
  std::vector<TensorEntry> tensors;
  tensors.reserve(std::min(length / kShortestEntry, kMaxTensors));
  std::optional<SafetensorsMetadata> metadata;
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (key == "__metadata__") {
      if (metadata) reader.refuse("key '__metadata__' appears twice");
      metadata = read_metadata(reader);
      continue;
    }
    if (!is_tensor_name(key))
      reader.refuse("a tensor's name: came one of ", key.size(), " bytes, allowed are ",
                    kMaxTensorName, " without control characters");
    if (tensors.size() == kMaxTensors) reader.refuse("allowed are ", kMaxTensors, " tensors");
    tensors.push_back(read_entry(reader, std::string(key)));
  }
  reader.finish();
  const uint64_t data_begin = kLengthField + length;
  check_coverage(tensors, file.size() - data_begin, name);
  SafetensorsHeader header(std::move(tensors), std::move(metadata).value_or(SafetensorsMetadata{}),
                           data_begin);
  if (const std::string* twice = header.duplicate_name())
    fail(ExitCode::refused_input, name, ": tensor '", *twice, "' appears twice in the header");
  return header;
}

SafetensorsFile::SafetensorsFile(const std::string& path)
    : SafetensorsFile(open_regular_file(path), path) {}

SafetensorsFile::SafetensorsFile(const FileDescriptor& file, const std::string& name)
    : mapping_(native(file, name), name), header_(parse_safetensors(mapping_.bytes(), name)) {}

}  // namespace isogrid
